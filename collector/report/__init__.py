"""What a sealed run says, arranged for a reader. Pure: the same sealed bytes and seal result, the same report.

Nothing is judged here again. What was planned and has no record in the run is added to the gaps, so that nothing that
was promised is silently missing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from collector.controls import Result
from collector.grades import graded
from collector.model import GapKind, Outcome, Row
from collector.suppressions import estate_changes, suppressed

OUTCOMES = (Outcome.ERROR, Outcome.UNKNOWN, Outcome.FAIL, Outcome.PASS, Outcome.SKIP)
"""Unread first: the order of every list in a report."""

RESULTS = (
    Result.EXCEPTIONS, Result.NOT_COLLECTED, Result.NO_OCCURRENCE, Result.MET, Result.INHERITED, Result.NOT_APPLICABLE,
)  # fmt: skip
"""The order of control results in a report."""

COMPLETE = "complete"

VERIFIED = "verified"
CONSISTENT = "consistent, signer not authenticated"
NOT_VERIFIED = "NOT VERIFIED"

UNCHECKED = "nobody has checked the seal of this run"
NOT_SEALED = ("salt",)
"""Fields of a line that serve the seal and tell a reader nothing."""


class Problem(Protocol):
    """Something about the store that is not as it was sealed."""

    @property
    def path(self) -> str:
        """File inside the store."""
        ...

    @property
    def what(self) -> str:
        """What is wrong with it."""
        ...


class Verification(Protocol):
    """What ``evidence_store.verify`` found."""

    @property
    def ok(self) -> bool:
        """No problem, and the signer is the one that was asked for."""
        ...

    @property
    def authenticated(self) -> bool:
        """A fingerprint from outside the store was given, and everything is signed by it."""
        ...

    @property
    def problems(self) -> Sequence[Problem]:
        """What is not as it was sealed."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader must know although nothing is broken."""
        ...

    @property
    def stamps(self) -> Sequence[Mapping[str, Any]]:
        """Time stamps that were checked."""
        ...

    @property
    def cosignatures(self) -> Sequence[Mapping[str, Any]]:
        """Cosignatures of witnesses that were checked."""
        ...


class SealedRun(Protocol):
    """One run of a store, as ``evidence_store`` reads it back."""

    @property
    def number(self) -> int:
        """From 1."""
        ...

    @property
    def state(self) -> str:
        """``complete`` or ``aborted``."""
        ...

    @property
    def opening(self) -> Mapping[str, Any]:
        """What was written down before the first request."""
        ...

    @property
    def closing(self) -> Mapping[str, Any]:
        """What was written down at the end."""
        ...

    def plan(self) -> bytes:
        """What was planned."""
        ...

    def replies(self) -> Iterator[dict[str, Any]]:
        """Every reply line."""
        ...

    def absent(self) -> Mapping[int, str]:
        """Why, by number of each reply that is not shown whole."""
        ...

    def results(self) -> Iterator[dict[str, Any]]:
        """Every result line."""
        ...


@dataclass(frozen=True, slots=True)
class Seal:
    """What is known of the seal at the moment the report is made."""

    verified: bool
    """Whole, and signed by the key the reader named."""
    authenticated: bool
    """The reader named a key, and it is the signer."""
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    fingerprint: str = ""
    """Of the key that the store says it is signed with; proven only when ``authenticated``."""
    attested: tuple[str, ...] = ()
    """Who outside had seen this run sealed, and when; each was checked."""

    @property
    def words(self) -> str:
        """The seal in the words every report uses."""
        if self.verified:
            return VERIFIED
        return NOT_VERIFIED if self.problems else CONSISTENT

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {
            "verified": self.verified, "authenticated": self.authenticated, "words": self.words,
            "fingerprint": self.fingerprint, "problems": list(self.problems), "warnings": list(self.warnings),
            "attested": list(self.attested),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything a report shows."""

    run: int
    """Its number in its store."""
    state: str
    """``complete`` or ``aborted``."""
    plan: Mapping[str, Any]
    """The sealed ``plan.json``."""
    opening: Mapping[str, Any]
    closing: Mapping[str, Any]
    seal: Seal
    findings: tuple[Row, ...]
    """Unread first, then FAIL, PASS, SKIP; within an outcome as sealed."""
    gaps: tuple[Row, ...]
    """``{dataset, scope, kind, reason, operation, resources}``; what the run lost without a record comes first."""
    populations: tuple[Row, ...]
    controls: tuple[Row, ...]
    """As sealed: by framework, in the order of its catalogue."""
    replies: tuple[Row, ...]
    """Custody of every reply, without bodies and headers."""
    certificates: tuple[Row, ...] = ()
    """Per check: its examples by outcome, and its flaw when it did not do what they say in this run."""
    suppressions: tuple[Row, ...] = ()
    """What was not shown, and how the measurement changed up to this run: ``{side, what, name, reason, by}``."""

    @property
    def complete(self) -> bool:
        """False for a run that was aborted: its report says so before anything else."""
        return self.state == COMPLETE

    @property
    def counts(self) -> dict[str, int]:
        """How many findings have each outcome."""
        found = Counter(finding["outcome"] for finding in self.findings)
        return {str(outcome): found[str(outcome)] for outcome in OUTCOMES}

    @property
    def frameworks(self) -> dict[tuple[str, str], dict[str, int]]:
        """How many controls of each framework and edition have each result."""
        tables: dict[tuple[str, str], dict[str, int]] = {}
        for control in self.controls:
            table = tables.setdefault((control["framework"], control["edition"]), dict.fromkeys(map(str, RESULTS), 0))
            table[control["result"]] += 1
        return tables

    @property
    def stopped_passes(self) -> int:
        """How many findings would have passed, had what they rest on been proven."""
        return sum(finding.get("seen") == "PASS" for finding in self.findings)

    @property
    def flawed_checks(self) -> tuple[str, ...]:
        """Checks whose PASS counted for nothing in this run, with why."""
        return tuple(f"{row['check']}: {row['flaw']}" for row in self.certificates if row["flaw"])

    @property
    def silent_checks(self) -> tuple[str, ...]:
        """Checks that were planned and gave no finding: not read."""
        heard = {finding["check"] for finding in self.findings}
        return tuple(check["id"] for check in self.plan.get("checks", ()) if check["id"] not in heard)

    @property
    def aborted(self) -> str:
        """What a report of an aborted run begins with; empty for a complete one."""
        if self.complete:
            return ""
        reason = self.closing.get("reason") or "the record does not say why"
        return f"this run was {self.state} ({reason}): what was fetched is kept, and nothing follows from the rest"


def from_run(
    run: SealedRun,
    verification: Verification | None,
    *,
    key: str = "",
    notes: Iterable[Mapping[str, Any]] = (),
    earlier: SealedRun | None = None,
) -> ReportData:
    """The report of a sealed run; with an ``earlier`` one, also of how the estate changed since.

    ``key`` is the fingerprint of the key its store is signed with, ``notes`` are the leaves that record a fact.
    """
    return build(
        orjson.loads(run.plan()), run.opening, run.closing, run.replies(), run.results(), verification,
        run=run.number, state=run.state, key=key, notes=notes, absent=run.absent(),
        earlier=[line for line in earlier.results() if line["kind"] == "population"] if earlier else (),
    )  # fmt: skip


def build(
    plan: Mapping[str, Any],
    opening: Mapping[str, Any],
    closing: Mapping[str, Any],
    replies: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    verification: Verification | None,
    *,
    run: int,
    state: str,
    key: str = "",
    notes: Iterable[Mapping[str, Any]] = (),
    absent: Mapping[int, str] | None = None,
    earlier: Iterable[Mapping[str, Any]] = (),
) -> ReportData:
    """The report of what a run sealed; without a verification its seal counts as not verified."""
    shelves: dict[str, list[Row]] = {"finding": [], "gap": [], "population": [], "certificate": [], "control": []}
    strangers: Counter[str] = Counter()
    for line in results:
        kind = str(line.get("kind"))
        if kind in shelves:
            shelves[kind].append(_without(line, "kind", *NOT_SEALED))
        else:
            strangers[kind] += 1
    order = {str(outcome): place for place, outcome in enumerate(OUTCOMES)}
    populations = [row | {"gap": row.get("gap")} for row in shelves["population"]]
    gaps = [{"kind": line.pop("gap", ""), **line} for line in shelves["gap"]]
    datasets = {check["id"]: check.get("datasets", ()) for check in plan.get("checks", ())}
    anchored = _anchored(verification, closing.get("index", sys.maxsize))
    findings = graded(shelves["finding"], populations, datasets, anchored=anchored)
    return ReportData(
        run, state, plan, opening, closing, _seal(verification, strangers, key, closing),
        tuple(sorted(findings, key=lambda row: order.get(row["outcome"], -1))),
        (*_lost(plan, populations, state), *gaps), tuple(populations), tuple(shelves["control"]),
        tuple(_without(line, "headers", *NOT_SEALED) | _why(line, absent or {}) for line in replies),
        tuple(shelves["certificate"]),
        (
            *suppressed(plan, (note for note in notes if note["index"] <= closing.get("index", sys.maxsize))),
            *estate_changes(earlier, populations),
        ),
    )  # fmt: skip


def _anchored(verification: Verification | None, index: int) -> bool:
    """True when somebody outside attests a checkpoint that holds the closing leaf of the run."""
    if verification is None or verification.problems:
        return False
    outside = (*verification.stamps, *verification.cosignatures)
    return any(entry["checkpointSize"] > index for entry in outside)


def _seal(
    verification: Verification | None, strangers: Mapping[str, int], fingerprint: str, closing: Mapping[str, Any]
) -> Seal:
    unknown = tuple(
        f"{count} result lines are of the kind {kind!r}, which this release does not know and does not show"
        for kind, count in sorted(strangers.items())
    )
    if verification is None:
        return Seal(False, False, (UNCHECKED,), unknown, fingerprint)
    problems = tuple(f"{problem.path}: {problem.what}" for problem in verification.problems)
    verified = verification.ok and verification.authenticated and not problems
    return Seal(
        verified, verification.authenticated, problems, (*verification.warnings, *unknown), fingerprint,
        tuple(_attested(verification, closing)),
    )  # fmt: skip


def _attested(verification: Verification, closing: Mapping[str, Any]) -> Iterator[str]:
    """The first attestation of each authority and witness over the leaf that closed the run."""
    for entries, by, words in (
        (verification.stamps, "authority", "time-stamped by {}"),
        (verification.cosignatures, "witness", "witnessed by {}"),
    ):
        first: dict[str, Mapping[str, Any]] = {}
        for entry in sorted(entries, key=lambda entry: str(entry["time"])):
            if "index" in closing and entry["checkpointSize"] > closing["index"]:
                first.setdefault(str(entry[by]), entry)
        for name, entry in first.items():
            yield f"{words.format(name)} at {entry['time']}, checkpoint {entry['checkpointSize']}"


def _lost(plan: Mapping[str, Any], populations: Iterable[Row], state: str) -> Iterator[Row]:
    """A gap for every planned task the run holds no population of."""
    known = {population["task"] for population in populations}
    for task in plan.get("tasks", ()):
        if task["id"] in known:
            continue
        kind, reason = GapKind.UNPROVEN, "planned, and the run holds no record of it"
        if state != COMPLETE:
            kind, reason = GapKind.INTERRUPTED, "planned, and not concluded when the run ended"
        yield {
            "kind": str(kind), "dataset": task["dataset"], "scope": task["id"].partition("@")[2], "reason": reason,
            "operation": "", "resources": [],
        }  # fmt: skip


def _why(line: Mapping[str, Any], absent: Mapping[int, str]) -> Row:
    """Why a reply is not shown whole; nothing for one that is."""
    return {"notShown": absent[line["i"]]} if line["i"] in absent else {}


def _without(line: Mapping[str, Any], *names: str) -> Row:
    return {name: value for name, value in line.items() if name not in names}
