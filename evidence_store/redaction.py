"""A run with its personal fields left out: what may leave the store, and what has to stay behind with them.

A reply whose fields are left out gives way to its public line and its spans. Whatever else in the run spells the value
of such a field (a parameter, another reply, a result about a person) is withheld as a whole.
"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from evidence_store import layout, lines
from evidence_store.errors import ErasedError, TamperedError
from evidence_store.merkle import leaf_hash
from evidence_store.run import SealedRun
from evidence_store.spans import Cut, PublicStream, Spans, open_redacted, public_line

SHORTEST = 4
"""Values of fewer characters are no names; looking for them elsewhere would withhold everything."""
WORD = re.compile(r"\w+")
OTHER_FIELDS = "commits to other fields than its body has"
LEFT_OUT = "its fields are left out of this bundle"
WITHHELD = "it is withheld from this bundle"


def check_fields(run: SealedRun, read_data: bool, report: Callable[[str, str], None]) -> None:
    """Report replies whose commitment is not to the fields of their body, and public lines the log does not promise.

    Raises:
        TamperedError: the seed, or the manifest, is not what was sealed.
    """
    folder = layout.run_name(run.number)
    if (seed := run.seed()) is None:
        raise TamperedError(f"{folder}/{layout.SEED}", "is not named by its leaf, though the run has personal fields")
    stream = PublicStream(seed)
    for line in run.replies():
        if "spans" not in line:
            continue
        stream.add(line)
        if read_data and (wrong := _uncommitted(run, seed, line)):
            report(f"{folder}/{layout.MANIFEST}", f"line {line['i']} {wrong}")
    if stream.facts() != run.closing.get("spans"):
        report(f"{folder}/{layout.SEED}", "does not give the public lines the log promises")


def _uncommitted(run: SealedRun, seed: bytes, line: dict[str, Any]) -> str:
    """Why a line does not commit to the fields of its body; empty where it does, or the body was erased."""
    try:
        spans = spans_of(run, seed, line)
    except ErasedError:
        return ""
    except TamperedError:
        return "commits to fields of a body that is missing or damaged"
    except (KeyError, TypeError, ValueError):
        return OTHER_FIELDS
    return "" if spans.root() == line["spans"] and len(spans.pieces) == line.get("spanCount") else OTHER_FIELDS


def spans_of(run: SealedRun, seed: bytes, line: dict[str, Any]) -> Spans:
    """The spans of a reply, secret ones too.

    Raises:
        ErasedError: the body was erased.
        TamperedError: the body or its cut is missing.
        ValueError: they do not belong together.
    """
    return Spans.of(seed, run.object(line["sha256"]), Cut.read(run.object(line["cut"])))


class Values:
    """Values that are left out, to be looked for elsewhere. Case does not matter."""

    def __init__(self) -> None:
        self._by_word: dict[str, set[str]] = defaultdict(set)

    def add(self, spans: Spans) -> None:
        """The fields of a reply."""
        if spans.form == "whole":
            return
        for piece in spans.pieces[1::2]:
            for text in _texts(spans.form, piece):
                words = WORD.findall(text)
                if len(text) >= SHORTEST and words:
                    self._by_word[max(words, key=len)].add(text)

    def spelt_in(self, text: str) -> bool:
        """Whether one of them stands in ``text``."""
        text = text.casefold()
        return any(value in text for word in set(WORD.findall(text)) for value in self._by_word.get(word, ()))


def _texts(form: str, piece: bytes) -> Iterator[str]:
    text = piece.decode("utf-8", "replace")
    if form == "json":
        value = orjson.loads(piece)
        yield (value if isinstance(value, str) else text).strip().casefold()
    else:
        yield text.strip().casefold()
        yield html.unescape(text).strip().casefold()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, bool):
        yield str(value)


@dataclass(slots=True)
class RedactedRun:
    """A sealed run as it may be shown; it reads like :class:`SealedRun`, so it can be reported and re-performed."""

    run: SealedRun
    values: Values
    hidden: frozenset[int]
    """Numbers of replies that are withheld as a whole."""
    _roots: dict[str, int] = field(default_factory=dict)
    """Reply by spans root, of those whose fields are left out."""

    @classmethod
    def of(cls, run: SealedRun, *, everywhere: Values | None = None) -> RedactedRun:
        """The view of a run; ``everywhere`` collects values over all runs of a bundle, and is asked for all of them.

        Raises:
            TamperedError: something of the run is not what was sealed.
        """
        values = everywhere or values_of([run])
        hidden, roots = set(), {}
        for line in run.replies():
            if "spans" in line:
                shown = orjson.loads(public_line(0, line, b""))
                if any(values.spelt_in(text) for text in _strings(shown)) or _is_gone(run, line):
                    hidden.add(line["i"])
                else:
                    roots[line["spans"]] = line["i"]
            elif any(values.spelt_in(text) for text in _strings(line)) or _spells(run, line, values):
                hidden.add(line["i"])
        return cls(run, values, frozenset(hidden), roots)

    @property
    def number(self) -> int:
        """From 1, without gaps."""
        return self.run.number

    @property
    def state(self) -> str:
        """``complete`` or ``aborted``."""
        return self.run.state

    @property
    def opening(self) -> dict[str, Any]:
        """Predicate of the run-open leaf."""
        return self.run.opening

    @property
    def closing(self) -> dict[str, Any]:
        """Predicate of the leaf that ended it."""
        return self.run.closing

    @property
    def left_out(self) -> int:
        """How many replies are shown without their fields."""
        return sum(1 for line in self.run.replies() if "spans" in line and line["i"] not in self.hidden)

    def plan(self) -> bytes:
        """The plan; it is never left out."""
        return self.run.plan()

    def replies(self) -> Iterator[dict[str, Any]]:
        """The lines that are shown; where fields are left out, ``redacted`` stands for the body."""
        for line in self.run.replies():
            if line["i"] in self.hidden:
                continue
            yield shown_reply(orjson.loads(public_line(0, line, b""))) if "spans" in line else line

    def absent(self) -> dict[int, str]:
        """Why, by number of each reply that is not shown whole."""
        left_out = {line["i"]: LEFT_OUT for line in self.run.replies() if "spans" in line}
        return left_out | dict.fromkeys(self.hidden, WITHHELD) | self.run.absent()

    def hidden_results(self) -> int:
        """How many result lines are withheld."""
        return sum(1 for _ in self.run.results()) - sum(1 for _ in self.results())

    def results(self) -> Iterator[dict[str, Any]]:
        """The result lines that spell nothing that is left out."""
        for line in self.run.results():
            if not any(self.values.spelt_in(text) for text in _strings(line)):
                yield line

    def object(self, name: str) -> bytes:
        """A body by its digest, or by its spans root with a word in place of each field.

        Raises:
            ErasedError: it was erased, or nothing of it is shown.
        """
        if name not in self._roots:
            return self.run.object(name)
        return masked(self.redacted(name), name)

    def redacted(self, root: str) -> bytes:
        """The file ``data/redacted/HH/ROOT.json`` of a reply."""
        line = next(line for line in self.run.replies() if line.get("spans") == root)
        return spans_of(self.run, self._seed(), line).without_fields()

    def redacted_files(self) -> Iterator[tuple[str, bytes]]:
        """Spans root and file of each reply whose fields are left out; once each."""
        seen: set[str] = set()
        for line in self.run.replies():
            if "spans" in line and line["i"] not in self.hidden and line["spans"] not in seen:
                seen.add(line["spans"])
                yield line["spans"], spans_of(self.run, self._seed(), line).without_fields()

    def manifest_lines(self) -> Iterator[bytes]:
        """``manifest.ndjson`` as it is shown: exact lines, and leaf hashes for the others."""
        for number, line in enumerate(self.run.lines_of(layout.MANIFEST)):
            hide = number in self.hidden or "spans" in lines.parse(number, line)
            yield withheld_line(number, line) if hide else line

    def results_lines(self) -> Iterator[bytes]:
        """``results.ndjson`` as it is shown."""
        for number, line in enumerate(self.run.lines_of(layout.RESULTS)):
            spelt = any(self.values.spelt_in(text) for text in _strings(lines.parse(number, line)))
            yield withheld_line(number, line) if spelt else line

    def public_lines(self) -> Iterator[bytes]:
        """``spans.ndjson`` as it is shown; empty for a run without personal fields."""
        found = (line for line in self.run.replies() if "spans" in line)
        for number, line in enumerate(found):
            public = public_line(number, line, self._seed())
            yield withheld_line(number, public) if line["i"] in self.hidden else public

    def _seed(self) -> bytes:
        seed = self.run.seed()
        if seed is None:
            raise TamperedError(layout.run_name(self.number), "has replies with personal fields and no seed")
        return seed


def shown_reply(public: dict[str, Any]) -> dict[str, Any]:
    """A public line in the shape of a reply line: ``redacted`` names its spans, and there is no digest of its body."""
    line = {name: value for name, value in public.items() if name not in ("i", "reply", "spans")}
    return {"i": public["reply"], **line, "sha256": None, "size": None, "redactions": [], "redacted": public["spans"]}


def masked(data: bytes, root: str) -> bytes:
    """The body in a file of ``data/redacted``, with a word in place of each field.

    Raises:
        ErasedError: nothing of it is shown.
        VerificationError: it is not what ``root`` promised.
    """
    try:
        return open_redacted(data, root).masked()
    except ValueError as error:
        raise ErasedError("its whole body is left out of this bundle", "ask for it to be disclosed") from error


def withheld_line(number: int, line: bytes) -> bytes:
    """What stands for a line that is not shown: its leaf hash, which its salt keeps from being guessed."""
    return b'{"i":%d,"withheld":"%s"}' % (number, leaf_hash(line).hex().encode())


def values_of(runs: Iterable[SealedRun]) -> Values:
    """Every value that stands in a personal field of these runs.

    Raises:
        TamperedError: something of a run is not what was sealed.
    """
    values = Values()
    for run in runs:
        seed = run.seed()
        for line in run.replies() if seed is not None else ():
            if seed is not None and "spans" in line and not _is_gone(run, line):
                values.add(spans_of(run, seed, line))
    return values


def _is_gone(run: SealedRun, line: dict[str, Any]) -> bool:
    try:
        run.object(line["sha256"])
    except ErasedError:
        return True
    return False


def _spells(run: SealedRun, line: dict[str, Any], values: Values) -> bool:
    sha256 = line.get("sha256")
    if not sha256 or sha256 in run.info.erased:
        return False
    return values.spelt_in(run.object(sha256).decode("utf-8", "replace"))
