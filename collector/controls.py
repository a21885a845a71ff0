"""What the findings of a run show for each control. Pure, and never more than the weakest part shows.

Rules, in the order they apply to one mapping row and then to a control:

1. A FAIL is never hidden: ``exceptions``, and ``incomplete`` beside it when something was not read as well.
2. What was not read outranks what passed: ``not_collected``. UNKNOWN, ERROR, a gap in the list, a check that
   did not run and a check without any finding are all "not read".
3. A list read to its end that holds nothing is ``no_occurrence``, never ``met``. In a control it is no aspect that is
   needed, unless the row speaks of operation: then nothing was seen to operate, and the control is ``no_occurrence``.
4. ``met`` needs every counted row to be read, and one of those met to demonstrate something. Rows that only support
   cannot show that a control exists: they bring exceptions and doubt, never ``met``. Rows of context do not count.
5. The strength of a control is the weakest among its counted rows that saw something.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from collector.catalogue import STRENGTHS, Control, ControlKey, MappingRow
from collector.model import Finding, Gap, Outcome, Row

NAMED_SCOPES = 3
"""How many of the places that were not read a reason names."""


class Result(StrEnum):
    """What we say of a control. Whether it conforms is for the auditor."""

    MET = "met"
    EXCEPTIONS = "exceptions"
    NO_OCCURRENCE = "no_occurrence"
    NOT_COLLECTED = "not_collected"
    INHERITED = "inherited"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Counts:
    """Findings of one check, by outcome."""

    PASS: int = 0
    FAIL: int = 0
    SKIP: int = 0
    UNKNOWN: int = 0
    ERROR: int = 0

    @property
    def looked_at(self) -> int:
        """Resources about which something was concluded."""
        return self.PASS + self.FAIL


@dataclass(frozen=True, slots=True)
class Statement:
    """A person's word that a control is inherited or does not apply. It never replaces what was read."""

    key: ControlKey
    result: Result
    """``inherited`` or ``not_applicable``."""
    reason: str
    reference: str
    """Row of the Statement of Applicability, or report of the provider with its period."""

    def __post_init__(self) -> None:
        if self.result not in (Result.INHERITED, Result.NOT_APPLICABLE):
            raise ValueError("a statement says inherited or not_applicable; the rest must be read")
        if not (self.reason.strip() and self.reference.strip()):
            raise ValueError("a statement needs a reason and a reference")


@dataclass(frozen=True, slots=True)
class RowResult:
    """What one check shows for one aspect of a control."""

    row: MappingRow
    result: Result
    counts: Counts
    incomplete: bool
    """True when something this row needs was not read."""
    reason: str
    """A sentence an auditor can quote."""
    planned: bool
    """False when no connection of the configuration can feed the check: shown, not counted."""

    @property
    def counted(self) -> bool:
        """True when the control depends on this row."""
        return self.planned and self.row.strength != "context"

    def as_row(self) -> Row:
        """How it is written in ``results.ndjson`` and in reports."""
        row = self.row
        return {
            "check": row.check, "aspect": row.aspect, "strength": row.strength, "coverage": row.coverage,
            "remainder": list(row.remainder), "criterion": asdict(row.criterion) if row.criterion else None,
            "party": row.party, "does_not_show": row.does_not_show, "result": str(self.result),
            "incomplete": self.incomplete, "planned": self.planned, "counts": asdict(self.counts),
            "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ControlResult:
    """What the run shows for one control, and what a person still has to do."""

    framework: str
    edition: str
    id: str
    title: str
    result: Result
    strength: str | None
    """Weakest strength among the counted rows that saw something; ``None`` where the run shows nothing."""
    incomplete: bool
    """True when something the control needs was not read."""
    reason: str
    rows: tuple[RowResult, ...]
    method: tuple[str, ...]
    """What a person does: examine, interview, observe, test."""
    ask: str
    documents: str

    def as_row(self) -> Row:
        """How it is written in ``results.ndjson`` and in reports."""
        return {
            "kind": "control", "framework": self.framework, "edition": self.edition, "id": self.id, "title": self.title,
            "result": str(self.result), "strength": self.strength, "incomplete": self.incomplete, "reason": self.reason,
            "rows": [row.as_row() for row in self.rows], "method": list(self.method), "ask": self.ask,
            "documents": self.documents,
        }  # fmt: skip


@dataclass(slots=True)
class _Tally:
    """Everything that was found for one check."""

    outcomes: dict[str, int] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    """Place that was not read to its first reason."""

    def add(self, finding: Finding) -> None:
        self.outcomes[finding.outcome] = self.outcomes.get(finding.outcome, 0) + 1
        if finding.outcome in (Outcome.UNKNOWN, Outcome.ERROR):
            self.unread.setdefault(f"{finding.check} in {finding.scope}", finding.reason)


def outside(datasets: Mapping[str, Collection[str]], kinds: Collection[str]) -> frozenset[str]:
    """Checks that no connection of these kinds (``aws``, ``host``, ...) can feed, by the datasets they need."""
    return frozenset(
        check for check, needed in datasets.items() if not any(name.partition(".")[0] in kinds for name in needed)
    )


def roll_up(
    controls: Iterable[Control],
    rows: Iterable[MappingRow],
    findings: Iterable[Finding],
    gaps: Iterable[Gap],
    *,
    ran: Mapping[str, Collection[str]],
    unplanned: Collection[str] = (),
    statements: Iterable[Statement] = (),
) -> tuple[ControlResult, ...]:
    """One result per control, in the order of ``controls``; headings ask nothing and are left out.

    Args:
        ran: the checks that were asked in this run, each with the datasets it needs. A mapped check that is
            not among them (disabled, or lost) is not read.
        unplanned: checks that no connection of the configuration can feed; see :func:`outside`. Their rows are
            shown as not collected, and do not count.
        statements: what people said; used only where nothing was read that says otherwise.
    """
    tallies: dict[str, _Tally] = {}
    for finding in findings:
        tallies.setdefault(finding.check, _Tally()).add(finding)
    holes: dict[str, dict[str, str]] = {}
    for gap in gaps:
        if not gap.resources:
            holes.setdefault(gap.dataset, {}).setdefault(f"{gap.dataset} in {gap.scope}", gap.reason)
    by_control: dict[ControlKey, list[RowResult]] = {}
    for row in rows:
        if row.check in unplanned and row.check not in tallies:
            result = RowResult(row, Result.NOT_COLLECTED, Counts(), True, "no connection reads this", False)
        else:
            result = _row_result(row, tallies.get(row.check, _Tally()), holes, ran.get(row.check))
        by_control.setdefault(row.key, []).append(result)
    said = {statement.key: statement for statement in statements}
    return tuple(
        _control_result(control, by_control.get(control.key, ()), said.get(control.key))
        for control in controls
        if control.kind != "heading"
    )


def _row_result(
    row: MappingRow, tally: _Tally, holes: Mapping[str, Mapping[str, str]], datasets: Collection[str] | None
) -> RowResult:
    counts = Counts(**tally.outcomes)
    needed = sorted(datasets or ())
    unread = {place: why for name in needed for place, why in holes.get(name, {}).items()} or tally.unread
    if datasets is None:
        unread = {"the check did not run": ""}
    elif not tally.outcomes and not unread:
        unread = {f"nothing was asked of {', '.join(needed)}": ""}
    incomplete = bool(unread)
    seen = f"{counts.looked_at} looked at"
    if counts.FAIL:
        reason = f"{counts.FAIL} of {seen} do not conform" + (f"; not read: {_places(unread)}" if incomplete else "")
        return RowResult(row, Result.EXCEPTIONS, counts, incomplete, reason, True)
    if incomplete:
        return RowResult(row, Result.NOT_COLLECTED, counts, True, f"not read: {_places(unread)}", True)
    if counts.PASS:
        return RowResult(row, Result.MET, counts, False, f"{seen}, none fails, the list is complete", True)
    reason = "nothing the rule applies to; the list is complete"
    return RowResult(row, Result.NO_OCCURRENCE, counts, False, reason, True)


def _places(unread: Mapping[str, str]) -> str:
    named = [f"{place}: {why}" if why else place for place, why in list(unread.items())[:NAMED_SCOPES]]
    more = len(unread) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")


def _control_result(control: Control, rows: Sequence[RowResult], statement: Statement | None) -> ControlResult:
    counted = [row for row in rows if row.counted]
    result, reason = _weakest(rows, counted)
    unread = any(row.incomplete for row in counted)
    if statement is not None:
        if not counted or result is Result.NO_OCCURRENCE:
            result, reason = statement.result, f"stated, not read: {statement.reason} ({statement.reference})"
        else:
            reason += f"; it is stated to be {statement.result} ({statement.reference}), which is not what was read"
    strengths = [row.row.strength for row in counted if row.result in (Result.MET, Result.EXCEPTIONS)]
    return ControlResult(
        *control.key, control.title, result,
        min(strengths, key=STRENGTHS.index) if result in (Result.MET, Result.EXCEPTIONS) else None,
        unread, reason, tuple(rows), control.method, control.ask, control.documents,
    )  # fmt: skip


def _weakest(rows: Sequence[RowResult], counted: Sequence[RowResult]) -> tuple[Result, str]:
    """The result of a control and why, from the rows it depends on."""
    if not counted:
        why = "no check is mapped to it" if not rows else "the mapped checks give context only, or were not planned"
        return Result.NOT_COLLECTED, f"{why}: a person asks"
    total = len(counted)
    if bad := [row for row in counted if row.result is Result.EXCEPTIONS]:
        unread = sum(row.incomplete for row in counted)
        return Result.EXCEPTIONS, f"{len(bad)} of {total} aspects have exceptions" + (
            f", {unread} not read to the end" if unread else ""
        )
    if blind := [row for row in counted if row.result is Result.NOT_COLLECTED]:
        example = f"{blind[0].row.check}: {blind[0].reason}"
        return Result.NOT_COLLECTED, f"{len(blind)} of {total} aspects not read; {example}"
    met = [row for row in counted if row.result is Result.MET]
    idle = [row for row in counted if row.result is Result.NO_OCCURRENCE]
    if still := [row for row in idle if row.row.strength == "demonstrates_operation"]:
        return Result.NO_OCCURRENCE, f"nothing happened in the period that shows: {still[0].row.aspect}"
    if not met:
        return Result.NO_OCCURRENCE, "nothing the rules apply to; the lists are complete"
    if all(row.row.strength == "supports" for row in met):
        return Result.NOT_COLLECTED, f"supporting evidence only, {len(met)} of {total} aspects met: a person asks"
    also = f", {len(idle)} have nothing to apply to" if idle else ""
    return Result.MET, f"{len(met)} of {total} aspects met{also}"


def summary(results: Iterable[ControlResult]) -> dict[str, int]:
    """How many controls have each result; a word nobody has is there with 0."""
    counted: dict[str, Any] = dict.fromkeys(map(str, Result), 0)
    for result in results:
        counted[result.result] += 1
    return counted
