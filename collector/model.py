"""What the stages hand to each other. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

Row = dict[str, Any]
"""One record as the vendor sent it; sub-replies sit under the name of the call that gave them."""

GAP_KEY = "$gap"
"""In a stored row, ``{"$gap": {...}}`` stands where a sub-reply was refused."""


class Outcome(StrEnum):
    """What a check concluded about one resource."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    SKIP = "SKIP"
    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"


class GapKind(StrEnum):
    """Why something could not be read."""

    DENIED = "denied"
    UNAUTHENTICATED = "unauthenticated"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    SERVER_ERROR = "server-error"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    REPEATED_TOKEN = "repeated-token"  # noqa: S105
    PAGE_CAP = "page-cap"
    OVERSIZED = "oversized"
    DUPLICATE = "duplicate"
    ABSENT_PROGRAM = "absent-program"
    UNPROVEN = "unproven"
    NO_IDENTITY = "no-identity"
    UNDECLARED = "undeclared"
    CRASHED = "crashed"
    INTERRUPTED = "interrupted"
    LEFT_OUT = "left-out"


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset to read in one scope. Strings only, so that any executor can carry it."""

    dataset: str
    """Dataset id, for instance ``aws.s3.buckets``."""
    connection: str
    """Name of the connection in the configuration."""
    account: str = ""
    """Account the connection assumes a role in; empty where the connection has only its own."""
    region: str = ""
    """Region, for a dataset that is read per region."""

    @property
    def scope(self) -> str:
        """``connection[/account][/region]``: where the dataset was read."""
        return "/".join(part for part in (self.connection, self.account, self.region) if part)

    @property
    def account_scope(self) -> str:
        """The scope without its region."""
        return "/".join(part for part in (self.connection, self.account) if part)

    @property
    def id(self) -> str:
        """``dataset@scope``, unique within a run."""
        return f"{self.dataset}@{self.scope}"


@dataclass(frozen=True, slots=True)
class Gap:
    """Something planned that could not be read; every check that needed it answers UNKNOWN."""

    dataset: str
    """Dataset that is incomplete."""
    scope: str
    """Where."""
    kind: GapKind
    """Why, as one word."""
    reason: str
    """Why, as a sentence an auditor can quote."""
    operation: str = ""
    """The request that was refused, for instance ``s3:GetBucketPolicy``."""
    resources: tuple[str, ...] = ()
    """Resources whose sub-reply is missing; empty when the population itself is incomplete."""


class Unavailable(Exception):  # noqa: N818
    """A fact a source or a check asked for could not be read."""

    def __init__(self, kind: GapKind, reason: str, operation: str = "") -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.operation = operation


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """Stands in a row where a sub-reply was refused; every use of it raises :class:`Unavailable`."""

    kind: GapKind
    reason: str
    operation: str

    def unavailable(self) -> Unavailable:
        """The error that says why the fact is missing."""
        return Unavailable(self.kind, self.reason, self.operation)

    def _refuse(self, *_: object) -> NoReturn:
        raise self.unavailable()

    __getitem__ = __iter__ = __len__ = __bool__ = __contains__ = __eq__ = _refuse
    __hash__ = None  # type: ignore[assignment]
    get = keys = values = items = __str__ = __lt__ = __gt__ = _refuse

    def as_row(self) -> Row:
        """How it is written in a stored row."""
        return {GAP_KEY: {"kind": str(self.kind), "reason": self.reason, "operation": self.operation}}


class Record(dict[str, Any]):
    """A row as a check sees it: reading a refused part raises, a missing part is a ``KeyError``."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        return _open(super().__getitem__(key))

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` where the API leaves the field out; refused parts raise."""
        return _open(super().get(key, default))

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        """The values; a refused one raises."""
        return (_open(value) for value in super().values())

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """Names and values; a refused value raises."""
        return ((key, _open(value)) for key, value in super().items())


class Traced(Record):
    """A record that notes which of its fields were read, so that a finding cites the replies it rests on."""

    __slots__ = ("touched",)

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(dict.items(row) if isinstance(row, dict) else row)  # as it stands: copying reads no field
        self.touched: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.touched.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default``; noted as read either way."""
        self.touched.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.touched.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.touched.update(self.keys())
        return super().__iter__()

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        """The values; all are noted as read."""
        self.touched.update(self.keys())
        return super().values()

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """Names and values; all are noted as read."""
        self.touched.update(self.keys())
        return super().items()


class Table:
    """A whole dataset that stands beside a record: to go through, or to find records in by a field."""

    __slots__ = ("_indexes", "_note", "_rows")

    def __init__(
        self,
        rows: Sequence[Record],
        *,
        indexes: dict[str, dict[str, list[int]]] | None = None,
        note: Callable[[int | None, Traced | None], None] = lambda number, row: None,
    ) -> None:
        self._rows = rows
        self._indexes: dict[str, dict[str, list[int]]] = {} if indexes is None else indexes
        self._note = note

    def __iter__(self) -> Iterator[Record]:
        if not self._rows:
            self._note(None, None)
        return (self._told(number) for number in range(len(self._rows)))

    def where(self, path: str, value: str) -> list[Record]:
        """The records whose field is this text, or a list that holds it; the case of letters does not count.

        ``path`` is the name of a field, or names with ``/`` between them.

        Raises:
            Unavailable: the field of some record was refused, so nobody knows which records these are.
        """
        if path not in self._indexes:
            self._indexes[path] = self._indexed(path)
        found = self._indexes[path].get(value.casefold(), [])
        if not found:
            self._note(None, None)
        records: list[Record] = [self._told(number) for number in found]
        for one in records:
            one.get(path.partition("/")[0])
        return records

    def _indexed(self, path: str) -> dict[str, list[int]]:
        index: dict[str, list[int]] = {}
        for number, row in enumerate(self._rows):
            held: Any = row
            for name in path.split("/"):
                held = held.get(name) if isinstance(held, Record) else None
            for item in held if isinstance(held, list) else [held]:
                if isinstance(item, str | int) and item != "":
                    index.setdefault(str(item).casefold(), []).append(number)
        return index

    def _told(self, number: int) -> Traced:
        row = Traced(self._rows[number])
        self._note(number, row)
        return row


def _open(value: Any) -> Any:
    if isinstance(value, Refused):
        raise value.unavailable()
    return value


def record(row: Mapping[str, Any]) -> Record:
    """The row with every mapping in it a :class:`Record` and every gap marker a :class:`Refused`."""
    converted = _convert(row)
    if not isinstance(converted, Record):
        raise TypeError("a row is a mapping, not a gap marker")
    return converted


def _convert(value: Any) -> Any:
    if isinstance(value, Mapping):
        gap = value.get(GAP_KEY) if len(value) == 1 else None
        if isinstance(gap, Mapping):
            return Refused(GapKind(gap["kind"]), gap["reason"], gap.get("operation", ""))
        return Record({key: _convert(item) for key, item in value.items()})
    if isinstance(value, list):
        return [_convert(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of the rows it was given; the judge decides what may be concluded from it."""

    outcome: Outcome
    reason: str

    def __post_init__(self) -> None:
        if self.outcome not in (Outcome.PASS, Outcome.FAIL, Outcome.SKIP):
            raise ValueError("a check says ok, fail or skip; UNKNOWN and ERROR happen by themselves")
        if not self.reason.strip():
            raise ValueError("a verdict needs a reason an auditor can quote")


@dataclass(frozen=True, slots=True)
class Population:
    """How completely one dataset was read in one scope."""

    task: Task
    rows: int
    """Records listed."""
    basis: str
    """``terminal-page`` when every list was read to its last page, else ``unproven``."""
    gap: Gap | None = None
    """Why it is incomplete."""
    partial: tuple[Gap, ...] = ()
    """Sub-replies refused for some of its records."""
    replies: tuple[int, ...] = ()
    """Every reply it was read from, as manifest line numbers."""
    root: str = ""
    """RFC 6962 root, in hex, over the sorted keys of its records: what was in it cannot be changed later."""
    operations: tuple[str, ...] = ()
    """Every operation that was asked for it."""
    apart_s: int = 0
    """By how many seconds the clock of a server that told of it was ahead of ours, the most; negative: behind."""
    dated: bool = False
    """Whether a server said what time it was there."""
    left_out: tuple[tuple[str, int], ...] = ()
    """Records that were read and are not of it: the rule that leaves them out, in words, and how many."""

    @property
    def proven(self) -> bool:
        """True when the population may carry a PASS."""
        return self.gap is None and self.basis in PROVEN


PROVEN = frozenset({"terminal-page", "count-reconciled", "independent-source"})
"""Bases on which a population may carry a PASS."""


class Proof:
    """That populations were read to their end. Nothing else makes one, and a PASS needs one."""

    __slots__ = ("populations",)

    def __init__(self, *populations: Population) -> None:
        if not populations or not all(population.proven for population in populations):
            raise ValueError("only populations that were read to their end prove anything")
        self.populations = populations


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows of one dataset in one scope, as a file of JSON lines, and how complete they are."""

    population: Population
    path: Path | None
    """File of lines ``{"key", "refs", "parts", "row"}``; ``None`` when nothing was read."""

    @property
    def task(self) -> Task:
        """What was read."""
        return self.population.task


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check concluded about one resource."""

    check: str
    resource: str
    """The record's key; ``(none)`` for an empty list, ``(all)`` for one that was not read."""
    scope: str
    outcome: Outcome
    reason: str
    evidence: tuple[int, ...]
    """Manifest line numbers of the replies the verdict rests on."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The limits it was judged by."""
    proof: Proof | None = field(default=None, compare=False, repr=False)
    """What a PASS rests on."""
    seen: str = ""
    """Outcome that was stopped because what it rests on is not proven; empty otherwise."""

    def __post_init__(self) -> None:
        if self.outcome is Outcome.PASS and self.proof is None:
            raise ValueError("a PASS needs the proof that its population was read to the end")

    def as_row(self) -> Row:
        """How it is written in ``results.ndjson`` and in reports."""
        return {
            "kind": "finding",
            "check": self.check,
            "resource": self.resource,
            "scope": self.scope,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "evidence": list(self.evidence),
            "params": dict(self.params),
            **({"seen": self.seen} if self.seen else {}),
        }


RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond: ``2026-02-01T02:00:03.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text: str) -> datetime:
    """The aware UTC time a reply wrote as RFC 3339.

    Raises:
        ValueError: it is not RFC 3339 with a zone.
    """
    if not RFC3339.fullmatch(text):
        raise ValueError(f"not an RFC 3339 time with a zone: {text!r}")
    return datetime.fromisoformat(text).astimezone(UTC)
