"""What a sealed run says, arranged for a reader. Pure: the same sealed bytes and seal result, the same report.

Nothing is judged here again. What was planned and has no record in the run is added to the gaps, so that nothing that
was promised is silently missing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from collector.apart import warned
from collector.attachments import Attachment, attachments, evidence
from collector.catalogue import ControlKey
from collector.controls import Result
from collector.grades import graded
from collector.model import GapKind, Outcome, Row, instant, stamp
from collector.report.measured import readable
from collector.report.permissions import permissions
from collector.standing import control_standing, counted, stale_lists, standing
from collector.suppressions import estate_changes, moved, suppressed
from collector.waivers import Waiver, beside, holds, waivers

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
    """What was not shown, and how the measurement changed up to this run: ``{side, what, name, reason, by}``.

    What a leaf recorded has ``when`` and ``leaf`` too, and an announced change all of its ``changes``.
    """
    at: str = ""
    """The moment the report speaks of, where it speaks of more than the run: statements, waivers, age of evidence."""
    attachments: tuple[Row, ...] = ()
    """What people state as evidence, and how it stands at that moment."""
    waivers: tuple[Row, ...] = ()
    """Exceptions that people let stand, and whether each does at that moment."""
    stale: tuple[Row, ...] = ()
    """Lists that were read too long before that moment: ``{dataset, scope, read, limit_h, age_h, reason}``."""
    continuity: Row | None = None
    """Slots of a period and what became of them, with the share of each control; ``None`` when none was named."""
    permissions: tuple[Row, ...] = ()
    """What was used of the declared rights: ``{dataset, used, unused, not_derivable, undeclared}``."""

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
    def standing(self) -> dict[str, int]:
        """How many findings stand with each outcome at the moment of the report: what is stale is UNKNOWN."""
        found = Counter(finding.get("standing", finding["outcome"]) for finding in self.findings)
        return {str(outcome): found[str(outcome)] for outcome in OUTCOMES}

    @property
    def waived(self) -> int:
        """How many findings are FAIL and let stand by a waiver that holds at the moment of the report."""
        return sum(map(holds, self.findings))

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
    at: datetime | None = None,
    formerly: Mapping[ControlKey, Sequence[Row]] | None = None,
    continuity: Row | None = None,
    spelt: Mapping[int, Sequence[str]] | None = None,
) -> ReportData:
    """The report of a sealed run; with an ``earlier`` one, also of how the estate changed since.

    ``key`` is the fingerprint of the key its store is signed with, ``notes`` are the leaves that record a fact, ``at``
    is the moment the report is made, ``formerly`` says what controls were called, ``continuity`` is of a period,
    ``spelt`` says all that changed by leaf that announces a change (:func:`collector.report.measured.in_full`).
    """
    return build(
        orjson.loads(run.plan()), run.opening, run.closing, run.replies(), run.results(), verification,
        run=run.number, state=run.state, key=key, notes=notes, absent=run.absent(),
        earlier=[line for line in earlier.results() if line["kind"] == "population"] if earlier else (),
        earlier_plan=readable(earlier) if earlier else None,
        at=at, formerly=formerly, continuity=continuity, spelt=spelt,
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
    earlier_plan: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    formerly: Mapping[ControlKey, Sequence[Row]] | None = None,
    continuity: Row | None = None,
    spelt: Mapping[int, Sequence[str]] | None = None,
) -> ReportData:
    """The report of what a run sealed; without a verification its seal counts as not verified.

    Without ``at`` it speaks of the moment the run began.
    """
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
    checks = {check["id"]: check for check in plan.get("checks", ())}
    datasets = {id_: check.get("datasets", ()) for id_, check in checks.items()}
    notes, replies = list(notes), list(replies)
    at = at or (instant(plan["asOf"]) if plan.get("asOf") else None)
    said, let_stand, unread = _stated(notes, at)
    stale = stale_lists(plan, populations, replies, at) if at else []
    anchored = _anchored(verification, closing.get("index", sys.maxsize))
    findings = graded(shelves["finding"], populations, datasets, anchored=anchored)
    findings = standing(findings, checks, stale)
    if at:
        findings = beside(findings, let_stand, at)
    human = [one.as_row(at) for one in said] if at else []
    by_check: dict[str, list[Row]] = {}
    for finding in findings:
        by_check.setdefault(finding["check"], []).append(finding)
    operation = _operation(plan, populations)
    controls = [_control(row, by_check, human, operation, formerly or {}) for row in shelves["control"]]
    return ReportData(
        run, state, plan, opening, closing, _seal(verification, strangers, key, closing, unread),
        tuple(sorted(findings, key=lambda row: order.get(row["outcome"], -1))),
        (*_lost(plan, populations, state), *gaps), tuple(populations), tuple(controls),
        tuple(_without(line, "headers", *NOT_SEALED) | _why(line, absent or {}) for line in replies),
        tuple(shelves["certificate"]),
        (
            *suppressed(plan, (note for note in notes if _belongs(note, closing.get("index", sys.maxsize), at)), spelt),
            *estate_changes(earlier, populations, moved(earlier_plan, plan) if earlier_plan else ()),
        ),
        stamp(at) if at else "", tuple(human), tuple(one.as_row(at) for one in let_stand) if at else (),
        tuple(one.as_row() for one in stale), continuity, tuple(permissions(plan, replies, gaps, populations)),
    )  # fmt: skip


def _stated(
    notes: Sequence[Mapping[str, Any]], at: datetime | None
) -> tuple[list[Attachment], list[Waiver], tuple[int, ...]]:
    """Attachments, waivers, and the leaves of either kind that cannot be read; none without a moment."""
    if at is None:
        return [], [], ()
    said, strange = attachments(notes, at)
    let_stand, stranger = waivers(notes, at)
    return said, let_stand, (*strange, *stranger)


def _belongs(note: Mapping[str, Any], closed: int, at: datetime | None) -> bool:
    """Whether a leaf tells of the run: it came before the run's end, or is a person's word until the report."""
    if note["index"] <= closed:
        return True
    return at is not None and note["kind"] in ("waiver", "attachment") and instant(note["recordedOn"]) <= at


def _operation(plan: Mapping[str, Any], populations: Iterable[Mapping[str, Any]]) -> dict[str, Row]:
    """Per check over events: the period its lists cover, as their source defines it, and how many events they hold."""
    sources = {source["id"]: source for source in plan.get("sources", ()) if source.get("kind") == "period"}
    events: Counter[str] = Counter()
    for population in populations:
        events[population["dataset"]] += population["rows"]
    found: dict[str, Row] = {}
    for check in plan.get("checks", ()):
        named = [sources[dataset] for dataset in check.get("datasets", ()) if dataset in sources]
        if not named:
            continue
        days = min(source.get("windowDays", 0) for source in named)
        end = instant(plan["asOf"]) if days and plan.get("asOf") else None
        found[check["id"]] = {
            "occurrences": sum(events[source["id"]] for source in named),
            "definition": " ".join(source["definition"] for source in named),
            "from": stamp(end - timedelta(days=days)) if end else "",
            "to": stamp(end) if end else "",
        }
    return found


def _control(
    control: Row,
    findings: Mapping[str, Sequence[Row]],
    human: Sequence[Row],
    operation: Mapping[str, Row],
    formerly: Mapping[ControlKey, Sequence[Row]],
) -> Row:
    """A control as sealed, and beside it what people state, what is waived, how it stands, and its older numbers."""
    key = control["framework"], control["edition"], control["id"]
    mine = [finding for check in sorted(counted(control)) for finding in findings.get(check, ())]
    stated = [one for one in human if key in [tuple(other.values()) for other in one["controls"]]]
    rows = [row | {"operation": operation.get(row["check"])} for row in control["rows"]]
    return {
        **control, "rows": rows, "evidence": evidence(control, stated), "human": [one["leaf"] for one in stated],
        "failing": sum(finding["outcome"] == Outcome.FAIL for finding in mine), "waived": sum(map(holds, mine)),
        "standing": control_standing(control, mine), "formerly": [dict(one) for one in formerly.get(key, ())],
    }  # fmt: skip


def _anchored(verification: Verification | None, index: int) -> bool:
    """True when somebody outside attests a checkpoint that holds the closing leaf of the run."""
    if verification is None or verification.problems:
        return False
    outside = (*verification.stamps, *verification.cosignatures)
    return any(entry["checkpointSize"] > index for entry in outside)


def _seal(
    verification: Verification | None, strangers: Mapping[str, int], fingerprint: str, closing: Mapping[str, Any],
    unread: Sequence[int] = (),
) -> Seal:  # fmt: skip
    unknown = tuple(
        f"{count} result lines are of the kind {kind!r}, which this release does not know and does not show"
        for kind, count in sorted(strangers.items())
    )
    unknown += (told,) if (told := warned(closing)) else ()
    unknown += tuple(f"leaf {index} states something this release cannot read and does not show" for index in unread)
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
