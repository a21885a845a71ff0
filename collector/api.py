"""All a check module needs: declare a source, declare a check, say ok, fail or skip."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal, Protocol

from collector.model import GapKind, Outcome, Record, Refused, Row, Table, Unavailable, Verdict, instant
from collector.paging import Cursor, Field, Link, Newest, Offset, Pager, Pages, Token

__all__ = [
    "Aws",
    "Check",
    "Cursor",
    "Field",
    "GapKind",
    "Host",
    "Http",
    "Kubernetes",
    "Ldap",
    "Link",
    "Newest",
    "Offset",
    "Pages",
    "Record",
    "Redaction",
    "Refused",
    "Registers",
    "Row",
    "Source",
    "Sql",
    "Table",
    "Tls",
    "Token",
    "Unavailable",
    "Verdict",
    "check",
    "days_between",
    "fail",
    "instant",
    "ok",
    "skip",
    "source",
]

Severity = Literal["low", "medium", "high", "critical"]
Per = Literal["connection", "account", "region"]
Across = Literal["region", "account", "run"]
Basis = Literal["count-reconciled", "independent-source", ""]


class Aws(Protocol):
    """What a source may ask of an AWS account. Operations are spelt as boto3 spells them; replies as the API does.

    Times in replies are RFC 3339 strings in UTC (see :func:`instant`), bytes are base64.
    """

    region: str
    """Region that is asked unless a call names another with ``region=``."""

    def pages(self, service: str, operation: str, *, rows: str, region: str = "", **params: Any) -> Iterator[Any]:
        """The records under ``rows`` of every page, to the last one; breaks off as a gap otherwise."""

    def call(self, service: str, operation: str, *, absent: Sequence[str] = (), region: str = "", **params: Any) -> Any:
        """One reply, now; ``None`` for an ``absent`` error code. A refusal ends the source: for what all rows need."""

    def attempt(
        self, service: str, operation: str, *, absent: Sequence[str] = (), region: str = "", **params: Any
    ) -> Any:
        """One reply, deferred, to be put in a row; ``None`` for an ``absent`` error code. A refusal: checks UNKNOWN."""

    def attempt_all(
        self, service: str, operation: str, *, rows: str, absent: Sequence[str] = (), region: str = "", **params: Any
    ) -> Any:
        """A whole list, deferred: to be put in a row."""

    def ahead(self, items: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The tuples in order with deferred parts awaited, several under way; a refused part ends the source."""

    def pause(self, wanted_s: float) -> None:
        """Wait before asking again for what the other side is still preparing; not at all in a replay."""


class Host(Protocol):
    """What a source may ask of the machine it runs on: files and programs, nothing that changes either.

    Nothing is deferred: an ``attempt_`` that failed gives a ``Refused``, which a source may ask for its ``kind``.
    """

    def read(self, path: str) -> str:
        """Content of a file. A refusal or an absent file ends the source."""

    def attempt_read(self, path: str, *, absent_ok: bool = False) -> Any:
        """Content of a file, to be put in a row; with ``absent_ok`` ``None`` where there is no such file."""

    def list(self, path: str, *, absent_ok: bool = False) -> Any:
        """Names in a folder, sorted; with ``absent_ok`` ``None`` where there is no such folder."""

    def run(self, *argv: str, ok: Sequence[int] = (0,)) -> str:
        """Output of a program. An absent program or another exit status ends the source."""

    def attempt_run(self, *argv: str, ok: Sequence[int] = (0,)) -> Any:
        """Output of a program, to be put in a row; absent, or another exit status, makes its checks UNKNOWN."""

    def attempt_first(self, *programs: Sequence[str]) -> tuple[Sequence[str], Any]:
        """The first program that answers, and its output, to be put in a row; no program, and why, where none does."""


class Http(Protocol):
    """What a source may ask of a REST API: only GET.

    Words in braces in a path (``/users/{userId}/factors``) are filled from the parameters, the rest of the parameters
    is the query. ``rows`` names the list in the body (``value``, ``data/items``), or is empty where the body is it.
    ``absent`` holds statuses, error codes and patterns of the vendor's sentence (``"Branch not protected*"``) that mean
    that there is none.
    """

    account: str
    """Organisation or group that is read, as configured; empty where the connection names none."""

    def get(
        self,
        path: str,
        /,
        *,
        absent: Sequence[int | str] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
        part: bool = False,
        **params: Any,
    ) -> Any:
        """One reply, now; ``None`` for an ``absent`` status or error code. A refusal ends the source.

        ``headers`` go on record; ``part`` takes the first page of a list, for what it says of the whole: a count.
        """

    def attempt(self, path: str, /, *, absent: Sequence[int | str] = (), **params: Any) -> Any:
        """One reply, deferred, to be put in a row; ``None`` where ``absent``. A refusal makes its checks UNKNOWN."""

    def pages(self, path: str, /, *, rows: str = "", pager: Pager = Link(), **params: Any) -> Iterator[Any]:  # noqa: B008
        """The records of every page, to the last one; breaks off as a gap otherwise."""

    def attempt_all(
        self,
        path: str,
        /,
        *,
        rows: str = "",
        pager: Pager = Link(),  # noqa: B008
        absent: Sequence[int | str] = (),
        **params: Any,
    ) -> Any:
        """A whole list, deferred: to be put in a row."""

    def ahead(self, items: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The tuples in order with deferred parts awaited, several under way; a refused part ends the source."""

    def leave_out(self, rule: str) -> None:
        """Count a record that was read and is not of the population, by the rule in words ("archived repositories")."""

    def now(self) -> datetime:
        """The time of asking, on record: for the period of a list of events."""


class Ldap(Protocol):
    """What a source may ask of a directory: only searches. Filters are spelt as RFC 4515 does.

    A row is ``{"dn": ..., attribute: [values]}`` with the names as they were asked for; values are text, or
    ``{"base64": ...}`` where they are none. Each of the ``attributes`` is one that every entry has: where it did not
    come it may not be read, and stands as refused. Each of ``optional`` is an empty list where the server lists the
    entry as having none; in Active Directory, where its ``witness`` came, an attribute that every such entry has under
    the same property set (MS-ADA). Else it stands as refused, too: what may not be seen looks like what is not there.
    """

    base: str
    """Name of the entry under which everything is read."""

    def entries(
        self,
        filter: str,  # noqa: A002
        *,
        attributes: Sequence[str],
        optional: Sequence[str] = (),
        witness: Mapping[str, str] | None = None,
        base: str = "",
        scope: str = "subtree",
    ) -> Iterator[Row]:
        """Every entry that matches, to the last page; breaks off as a gap otherwise."""

    def attempt_entries(
        self,
        filter: str,  # noqa: A002
        *,
        attributes: Sequence[str],
        optional: Sequence[str] = (),
        witness: Mapping[str, str] | None = None,
        base: str = "",
        scope: str = "subtree",
    ) -> Any:
        """A whole list, deferred: to be put in a row."""

    def first(self, filter: str, *, attributes: Sequence[str]) -> Row | None:  # noqa: A002
        """An entry that matches, ``None`` where there is none: for what one shows of all (``parts`` of the source)."""

    def entry(self, base: str, *, attributes: Sequence[str]) -> Row:
        """One entry, now; what the server says of itself where ``base`` is empty. A refusal ends the source."""

    def whoami(self) -> str:
        """The identity the server knows us by; empty where it does not tell."""

    def attempt_anonymous_search(self) -> Any:
        """``resultCode`` and ``entries`` of a search by nobody, to be put in a row."""

    def attempt_clear_bind(self) -> Any:
        """``connected`` and ``resultCode`` of an invented name and password without TLS, to be put in a row."""


class Sql(Protocol):
    """What a source may ask of a database: one SELECT or SHOW at a time, spelt as a constant, never a change.

    Words behind a colon (``WHERE name = :name``) are filled from the parameters. A row is what the columns are called:
    numbers and truth values as such, moments RFC 3339 in UTC, everything else text. Tables after FROM and JOIN are
    declared as permissions, ``SELECT ON pg_roles``.
    """

    def rows(self, sql: str, /, **params: Any) -> Iterator[Any]:
        """Every row of the result, which is complete. A refusal ends the source."""

    def attempt_rows(self, sql: str, /, **params: Any) -> Any:
        """All rows as one list, deferred, to be put in a row. A refusal makes its checks UNKNOWN."""

    def ahead(self, items: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The tuples in order with deferred parts awaited, several under way; a refused part ends the source."""


class Registers(Protocol):
    """What a source may ask of the organisation's own registers: files of a folder, nothing else.

    A row has every column of the schema in ``collector/registers/schema``: text as it stands in the cell, ``None`` for
    an empty cell, a list for a column of words.
    """

    def table(self, name: str) -> Iterator[Row]:
        """The rows of ``name.csv``; a row with a fault, like a file that is absent, makes the whole list a gap."""

    def documents(self) -> Iterator[tuple[Row, str]]:
        """Every document with a head, and every row of documents.csv, with its text; empty where that is elsewhere."""

    def now(self) -> datetime:
        """The time of asking, on record: for the period of a list of occurrences."""


class Kubernetes(Protocol):
    """What a source may ask of a cluster: only GET, and each list at one revision.

    Objects come as the API server sends them, with ``Key`` (``namespace/name``) and without ``fieldsV1``. Secrets and
    ConfigMaps can be asked for with ``metadata_only`` and in no other way.
    """

    def get(self, path: str, /, *, absent: Sequence[int | str] = (), **params: Any) -> Any:
        """One reply, now; ``None`` for an ``absent`` status or reason. A refusal ends the source."""

    def attempt(self, path: str, /, *, absent: Sequence[int | str] = (), **params: Any) -> Any:
        """One reply, deferred, to be put in a row; ``None`` where ``absent``. A refusal makes its checks UNKNOWN."""

    def pages(
        self, path: str, /, *, metadata_only: bool = False, absent: Sequence[int | str] = (), **params: Any
    ) -> Iterator[Any]:
        """The objects of a list, to its last page, all of one revision; breaks off as a gap otherwise."""

    def attempt_all(
        self, path: str, /, *, metadata_only: bool = False, absent: Sequence[int | str] = (), **params: Any
    ) -> Any:
        """A whole list, deferred: to be put in a row."""

    def extension(self, group: str, resource: str, versions: Sequence[str]) -> Iterator[Any]:
        """The objects of an API group that a cluster may lack, in the first of ``versions`` it serves."""

    def served(self, group: str) -> list[str]:
        """The versions in which the cluster serves an API group; none where it lacks the group."""

    def count(self, path: str, /) -> Any:
        """The first page of a list of one, as metadata, with what the server counts after it."""

    def now(self) -> datetime:
        """The time of asking, on record: for the period of a list of events."""


class Tls(Protocol):
    """What a source may ask of TLS endpoints."""

    endpoints: Sequence[str]
    """``host:port``, as configured."""

    def attempt_handshake(self, endpoint: str, *, version: str = "") -> Any:
        """A handshake, to be put in a row; with ``version`` ("TLSv1.1") only that version is offered."""

    def attempt_head(self, endpoint: str) -> Any:
        """Status and headers of ``HEAD /``, to be put in a row."""


def ok(reason: str) -> Verdict:
    """The resource conforms; the reason states the observed value."""
    return Verdict(Outcome.PASS, reason)


def fail(reason: str) -> Verdict:
    """The resource does not conform; the reason states the observed value, then the limit."""
    return Verdict(Outcome.FAIL, reason)


def skip(reason: str) -> Verdict:
    """The rule does not apply to this resource."""
    return Verdict(Outcome.SKIP, reason)


def days_between(earlier: datetime, later: datetime) -> int:
    """Whole days from ``earlier`` to ``later``, never negative."""
    return max(0, (later - earlier).days)


@dataclass(frozen=True, slots=True)
class Redaction:
    """A part of a reply that is taken out before anything is stored and before the source sees it."""

    operation: str
    """Operation it applies to, with ``*`` as wild card: ``lambda:ListFunctions*``."""
    reason: str
    """Why it is not needed as evidence."""
    json: str = ""
    """Path of JSON scalars: ``Functions[].Environment.Variables.*``."""
    regex: str = ""
    """Pattern over the bytes as Latin-1 text, multi-line; its group ``secret`` is taken out."""

    def applies(self, operation: str) -> bool:
        """True when a reply to ``operation`` is covered."""
        return fnmatchcase(operation, self.operation)


@dataclass(frozen=True, slots=True)
class Personal:
    """A field of a reply that tells of a person: it is kept, and can be left out of a bundle with the proof intact."""

    operation: str
    """Operation it applies to, with ``*`` as wild card: ``okta:GET */users*``."""
    kind: str = ""
    """What it is, in a word: ``email``, ``name``, ``phone``."""
    json: str = ""
    """Path of JSON values: ``Users[].Email``; ``**.email`` wherever it stands. What lies under it belongs to it."""
    xml: str = ""
    """Name of XML elements: ``Owner/DisplayName``."""
    regex: str = ""
    """Pattern over the bytes as Latin-1 text, multi-line; its group ``personal`` is the field."""

    def applies(self, operation: str) -> bool:
        """True when a reply to ``operation`` is covered."""
        return fnmatchcase(operation, self.operation)


@dataclass(frozen=True, slots=True)
class Source:
    """Code that asks, and the facts about what it asks."""

    id: str
    key: str
    """Field that names a record within one scope."""
    per: Per
    """What it is read once for."""
    permissions: tuple[str, ...]
    """Every permission its requests need: read only, nothing more."""
    kind: Literal["snapshot", "period"]
    """A state at one moment, or events over a period."""
    redactions: tuple[Redaction, ...]
    function: Callable[[Any], Iterator[Row]]
    module: str = ""
    """File it was loaded from, relative to its folder."""
    personal: tuple[Personal, ...] = ()
    """Fields of its replies that tell of people."""
    fresh: str = ""
    """Field with the time its facts are of, where that is not the time of collection."""
    max_age_h: int = 0
    """Hours after which such a fact is stale: nothing is concluded from it. Without ``fresh``, hours after which what
    was read no longer tells how things stand; 0 for what the configuration says of all."""
    window_days: int = 0
    """Days of events that a list over a period goes back; 0 where its definition says it in words only."""
    unordered: str = ""
    """Operation whose list comes in another order each time: of it the store keeps what changed in the records."""
    filters: str = "none"
    """What its requests leave out of the population by asking for a part of it alone, in words."""
    parts: str = ""
    """What it takes from the first page of a list alone, in words; elsewhere such a page is a gap."""

    @property
    def connection(self) -> str:
        """The kind of connection it needs: the first word of its id."""
        return self.id.partition(".")[0]

    @property
    def definition(self) -> str:
        """What the population is, in words."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def __call__(self, connection: Any) -> Iterator[Row]:
        return self.function(connection)


@dataclass(frozen=True, slots=True)
class Check:
    """A pure question about rows, and the facts about it."""

    id: str
    title: str
    severity: Severity
    datasets: tuple[str, ...]
    each: bool
    """True: asked of every record of the first dataset, the others beside it; False: once of whole populations."""
    across: Across
    """For a question about whole populations: what it is answered once for."""
    params: Mapping[str, Any]
    """Limits someone may change, with their defaults."""
    wants_as_of: bool
    wants_scope: bool
    """Whether it is told where the record was read: ``connection[/account][/region]``."""
    aliases: tuple[str, ...]
    retired: str
    function: Callable[..., Verdict]
    dataset_kinds: tuple[str, ...] = ()
    """Kind of each dataset, known once the sources are loaded."""
    module: str = ""
    reconciles: tuple[str, ...] = ()
    """Datasets it holds against an independent list or count: its subject is the evidence."""
    basis: Basis = "count-reconciled"
    """What their populations rest on where it passes; empty where it can only dispute them."""

    @property
    def description(self) -> str:
        """Its docstring: criteria, source, remedy."""
        return inspect.getdoc(self.function) or ""

    @property
    def beside(self) -> tuple[str, ...]:
        """Datasets that stand whole beside each record, from everywhere they were read in the run."""
        return self.datasets[1:] if self.each else ()

    def __call__(self, *rows: Any, as_of: datetime, scope: str, params: Mapping[str, Any]) -> Verdict:
        keywords = {**self.params, **params}
        if self.wants_as_of:
            keywords["as_of"] = as_of
        if self.wants_scope:
            keywords["scope"] = scope
        return self.function(*rows, **keywords)


def source(
    id: str,  # noqa: A002
    *,
    key: str,
    per: Per,
    permissions: tuple[str, ...],
    kind: Literal["snapshot", "period"] = "snapshot",
    redactions: tuple[Redaction, ...] = (),
    personal: tuple[Personal, ...] = (),
    fresh: str = "",
    max_age_h: int = 0,
    unordered: str = "",
    window_days: int = 0,
    filters: str = "none",
    parts: str = "",
) -> Callable[[Callable[[Any], Iterator[Row]]], Source]:
    """Declare a generator of rows as the dataset ``id``.

    ``fresh`` names a field with the time the facts of a row are of; older than ``max_age_h`` hours, they are stale.
    Without it ``max_age_h`` says for how long after it was read a list tells how things stand. ``window_days`` says how
    far back a list of events goes. ``filters`` says in words how its requests narrow what is listed ("owner is this
    account"), ``parts`` what it takes from the first page of a list alone ("the number the directory counts").
    """

    def declare(function: Callable[[Any], Iterator[Row]]) -> Source:
        if not inspect.getdoc(function):
            raise TypeError(f"source {id} needs a docstring that defines its population")
        if fresh and not max_age_h:
            raise TypeError(f"source {id} names fresh= without max_age_h=")
        if not filters:
            raise TypeError(f"source {id} names filters= without a word; leave it out where nothing is filtered")
        if window_days and kind != "period":
            raise TypeError(f"source {id} names window_days= and is no list over a period")
        return Source(
            id, key, per, permissions, kind, redactions, function, "", personal, fresh, max_age_h, window_days,
            unordered, filters, parts,
        )  # fmt: skip

    return declare


def check(
    id: str,  # noqa: A002
    *,
    title: str,
    severity: Severity,
    each: str = "",
    beside: tuple[str, ...] = (),
    over: tuple[str, ...] = (),
    across: Across = "account",
    aliases: tuple[str, ...] = (),
    retired: str = "",
    reconciles: tuple[str, ...] = (),
    basis: Basis = "count-reconciled",
) -> Callable[[Callable[..., Verdict]], Check]:
    """Declare a function of one record (``each``) or of whole datasets (``over``) as the check ``id``.

    A function of one record is also given a :class:`Table` for each dataset that stands ``beside`` it: whatever of
    that dataset was read in the run, in whichever connection.

    Keyword-only arguments with a default are limits someone may change; ``as_of`` is the time of collection, ``scope``
    where the record was read. A check
    that ``reconciles`` datasets it asks for speaks of the evidence: if it fails, nothing that rests on them passes. If
    it passes they rest on ``basis``: an independent count of the same service, an independent source that tells the
    same one by one, or what they rested on before, where it is empty.
    """

    def declare(function: Callable[..., Verdict]) -> Check:
        if bool(each) == bool(over):
            raise TypeError(f"check {id} names either each= or over=")
        if beside and not each:
            raise TypeError(f"check {id} names beside= without each=")
        if not set(reconciles) <= set(over):
            raise TypeError(f"check {id} reconciles a dataset it does not ask for with over=")
        if not inspect.getdoc(function):
            raise TypeError(f"check {id} needs a docstring that states its criterion")
        keywords = {
            name: parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        wants_as_of = keywords.pop("as_of", None) is not None
        wants_scope = keywords.pop("scope", None) is not None
        for name, default in keywords.items():
            if default is inspect.Parameter.empty:
                raise TypeError(f"check {id}: limit {name} needs a default")
        return Check(
            id,
            title,
            severity,
            (each, *beside) if each else tuple(over),
            bool(each),
            across,
            keywords,
            wants_as_of,
            wants_scope,
            aliases,
            retired,
            function,
            reconciles=reconciles,
            basis=basis,
        )

    return declare
