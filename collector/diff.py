"""What changed between two runs: the world, or the ruler it is measured with.

What differs is what was sealed. Why, four judgements tell, made of every finding both runs can have: old replies and
new replies, each under the old ruler (checks and limits) and the new one. A verdict that changes with the ruler over
the same replies was not a change of the world, however much better it looks. The installed checks may be neither those
of the old run nor those of the new: where they judge otherwise than was sealed, code that differs between the runs
counts as the ruler, and the change says that only the sealed code can show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from collector.model import instant, stamp
from collector.rerun import code_of, examples_of, perform, plan_of
from collector.waivers import ACTIVE, Waiver, waivers
from evidence_store.run import SealedRun

Key = tuple[str, str, str]
"""Check, resource, scope."""

UNLIKE = "the installed checks judge otherwise than was sealed; --sealed-code executes those of each run"
"""Said of a change whose cause the installed checks cannot show."""


class Cause(StrEnum):
    """Why a finding is not what it was."""

    WORLD = "world"
    RULER = "ruler"
    BOTH = "both"
    APPEARED = "appeared"
    VANISHED = "vanished"
    CHECK_ADDED = "check added"
    CHECK_DROPPED = "check dropped"


@dataclass(frozen=True, slots=True)
class Change:
    """One finding that is not what it was."""

    check: str
    resource: str
    scope: str
    cause: Cause
    old: str
    """Outcome in the older run; empty where there was none."""
    new: str
    reason: str
    """Reason of the newer finding, or of the older one that is gone."""
    waived: str = ""
    """Waiver that lets the newer FAIL stand, in words; it is no change of the verdict."""
    hint: str = ""
    """What to do where the cause is not shown by what was executed."""

    def __str__(self) -> str:
        change = f"{self.old or '-'} -> {self.new or '-'}"
        waived = f"; {self.waived}" if self.waived else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.cause}: {self.check} {self.resource} ({self.scope}): {change}; {self.reason}{waived}{hint}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    old: int
    new: int
    changes: tuple[Change, ...]
    limits: tuple[str, ...]
    """Limits that differ: check, name, old value, new value, in words."""
    modules: tuple[str, ...]
    """Check modules whose code differs."""
    same: int
    """Findings that were sealed with the same outcome in both."""
    waivers: tuple[str, ...] = ()
    """Waivers that were given, withdrawn or ended between the two runs, in words."""


def compare(
    old: SealedRun, new: SealedRun, *, sealed_code: bool = False, notes: Iterable[Mapping[str, Any]] = ()
) -> Comparison:
    """Compare what was sealed of two complete runs of any stores.

    With ``sealed_code`` each ruler is the code sealed with its run, which is executed; otherwise causes are sought
    with the installed checks, under the limits of each run. ``notes`` are the leaves of their store: waivers are told
    beside.

    Raises:
        RerunError: a run is not complete, or its checks are not installed.
        TamperedError: something is not what was sealed.
    """
    plans = {"old": plan_of(old), "new": plan_of(new)}
    runs = {"old": old, "new": new}
    said: dict[tuple[str, str], dict[Key, Mapping[str, Any]]] = {}
    for ruler in ("old", "new"):
        with code_of(runs[ruler], sealed=sealed_code) as library:
            for world in ("old", "new"):
                document = _measured(plans[world], plans[ruler])
                examples = examples_of(runs[ruler], plans[ruler])
                done = perform(runs[world], document, library, examples)
                said[world, ruler] = {(f.check, f.resource, f.scope): f.as_row() for f in done.results.findings}
    before, after = sealed = _sealed(old), _sealed(new)
    same = sum(before[key]["outcome"] == after[key]["outcome"] for key in before.keys() & after.keys())
    given, _ = waivers(notes, instant(plans["new"]["asOf"]))
    changes = [_beside(change, given, instant(plans["new"]["asOf"])) for change in _changes(plans, sealed, said)]
    if sealed_code:
        changes = [replace(change, hint="") for change in changes]
    between = tuple(_told(given, instant(plans["old"]["asOf"]), instant(plans["new"]["asOf"])))
    return Comparison(
        old.number, new.number, tuple(changes), tuple(_limits(plans["old"], plans["new"])),
        tuple(_modules(plans["old"], plans["new"])), same, between,
    )  # fmt: skip


def _beside(change: Change, given: Sequence[Waiver], at: datetime) -> Change:
    finding = {"check": change.check, "resource": change.resource, "scope": change.scope, "outcome": change.new}
    for waiver in reversed(given):
        if waiver.covers(finding) and waiver.state(at) == ACTIVE:
            return replace(change, waived=f"waived under leaf {waiver.leaf} until {stamp(waiver.until)}")
    return change


def _told(given: Sequence[Waiver], old: datetime, new: datetime) -> Iterator[str]:
    """Waivers that came, went or ended after one moment and until another."""
    for waiver in given:
        what = f"{waiver.check} {waiver.resource} under leaf {waiver.leaf}"
        if old < waiver.recorded <= new:
            yield f"waived: {what} by {waiver.by} until {stamp(waiver.until)}: {waiver.reason}"
        ended = waiver.withdrawn
        if ended is not None and old < instant(ended["recordedOn"]) <= new:
            yield f"waiver withdrawn: {what} by {ended['by']}: {ended['reason']}"
        elif ended is None and old < waiver.until <= new:
            yield f"waiver ended: {what} at {stamp(waiver.until)}"


def _measured(world: Mapping[str, Any], ruler: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of one run, judged by the checks and limits of another as far as it read what they ask for."""
    read = {task["dataset"] for task in world["tasks"]}
    checks = [check for check in ruler["checks"] if set(check["datasets"]) <= read]
    return {**world, "checks": checks}


def _sealed(run: SealedRun) -> dict[Key, Mapping[str, Any]]:
    """The findings of a run as they were sealed."""
    lines = (line for line in run.results() if line["kind"] == "finding")
    return {(line["check"], line["resource"], line["scope"]): line for line in lines}


def _changes(
    plans: Mapping[str, Any],
    sealed: tuple[Mapping[Key, Any], Mapping[Key, Any]],
    said: Mapping[tuple[str, str], Mapping[Key, Any]],
) -> Iterator[Change]:
    before, after = sealed
    checks = {name: {check["id"] for check in plan["checks"]} for name, plan in plans.items()}
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old and new and old["outcome"] == new["outcome"]:
            continue
        was, now = (str(found["outcome"]) if found else "" for found in (old, new))
        cause, hint = _came_or_went(key[0], checks, gone=new is None), ""
        if old and new:
            unlike = (was, now) != (_outcome(said["old", "old"], key), _outcome(said["new", "new"], key))
            cause, hint = _cause(key, plans, said, unlike=unlike), UNLIKE if unlike else ""
        yield Change(*key, cause, was, now, (new or old or {}).get("reason", ""), hint=hint)


def _outcome(found: Mapping[Key, Any], key: Key) -> str | None:
    return str(found[key]["outcome"]) if key in found else None


def _cause(
    key: Key, plans: Mapping[str, Any], said: Mapping[tuple[str, str], Mapping[Key, Any]], *, unlike: bool
) -> Cause:
    def outcome(world: str, ruler: str) -> str | None:
        return _outcome(said[world, ruler], key)

    by_ruler = outcome("old", "new") != outcome("old", "old") or outcome("new", "old") != outcome("new", "new")
    by_world = outcome("new", "old") != outcome("old", "old") or outcome("new", "new") != outcome("old", "new")
    if unlike and not by_ruler:
        modules = {*_modules(plans["old"], plans["new"])}
        own = {check["module"] for plan in plans.values() for check in plan["checks"] if check["id"] == key[0]}
        by_ruler = not modules.isdisjoint(own) or (bool(modules) and not by_world)
    if by_ruler and by_world:
        return Cause.BOTH
    return Cause.RULER if by_ruler else Cause.WORLD


def _came_or_went(check: str, checks: Mapping[str, set[str]], *, gone: bool) -> Cause:
    if gone:
        return Cause.VANISHED if check in checks["new"] else Cause.CHECK_DROPPED
    return Cause.APPEARED if check in checks["old"] else Cause.CHECK_ADDED


def _limits(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {check["id"]: check["params"] for check in old["checks"]}
    for check in new["checks"]:
        for name, value in check["params"].items():
            earlier = before.get(check["id"], {}).get(name, value)
            if earlier != value:
                yield f"{check['id']} {name}: {earlier} -> {value}"


def _modules(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {item["file"]: item["sha256"] for item in old["code"]}
    after = {item["file"]: item["sha256"] for item in new["code"]}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield name
