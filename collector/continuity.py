"""Whether a period has silent holes: every slot that was committed ahead, and what became of it. Pure.

A timetable holds from the leaf that commits it to the next such leaf. Time for which none was committed is a hole of
its own: no slot of it can be missing, and nothing speaks for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from collector.config import DaemonConfig
from collector.cron import Cron, next_slot, slots_between
from collector.model import Row, instant, stamp

LATE = timedelta(minutes=15)
"""A run that opens later than this after its slot, beyond the schedule's own jitter, is late."""


class State(StrEnum):
    """What became of a slot."""

    RUN = "run"
    LATE = "late"
    BACKFILLED = "backfilled"
    FAILED = "failed"
    GAP = "gap"
    PAUSED = "paused"
    PAUSED_AFTERWARDS = "paused afterwards"
    MISSING = "missing"
    INVALID = "invalid"


COVERED = frozenset({State.RUN, State.LATE})
"""States of a slot for which there is evidence of its own time."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One moment at which a run was due."""

    schedule: str
    at: datetime
    state: State
    run: int | None = None
    reason: str = ""

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {
            "schedule": self.schedule,
            "at": stamp(self.at),
            "state": str(self.state),
            "run": self.run,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch without evidence."""

    schedule: str
    """Empty where no timetable was committed."""
    start: datetime
    """The last covered slot before it, the end of what was committed, or the begin of the period."""
    end: datetime
    """The first covered slot after it, the next commitment, or the end of the period."""

    @property
    def hours(self) -> float:
        """How long it is."""
        return round((self.end - self.start) / timedelta(hours=1), 2)

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {"schedule": self.schedule, "from": stamp(self.start), "to": stamp(self.end), "hours": self.hours}

    def __str__(self) -> str:
        whose = f"schedule {self.schedule}" if self.schedule else "no timetable"
        return f"{whose}: {stamp(self.start)} to {stamp(self.end)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A schedule that was not what it had been, as a leaf within the period says."""

    at: datetime
    """When the leaf was recorded."""
    leaf: int
    by: str
    """Who committed it; empty where the leaf does not say."""
    schedule: str
    old: str
    """Its rule before; empty where it had none."""
    new: str
    """Its rule from then on; empty where it has none."""
    reason: str = ""
    """Why, where the leaf says it."""

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {
            "at": stamp(self.at), "leaf": self.leaf, "by": self.by, "schedule": self.schedule, "old": self.old,
            "new": self.new, "reason": self.reason,
        }  # fmt: skip

    def __str__(self) -> str:
        by = f", by {self.by}" if self.by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"schedule {self.schedule}: {self.old or 'none'} -> {self.new or 'none'} (leaf {self.leaf}{by}){why}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the period, and the timetable that held in it."""

    start: datetime
    """Exclusive."""
    end: datetime
    """Inclusive."""
    timetable: Mapping[str, Any] | None
    """The leaf that commits it; ``None`` where there is none, or one without a schedule."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """All slots of a period."""

    start: datetime
    end: datetime
    slots: tuple[Slot, ...]
    """In order of time."""
    stretches: tuple[Stretch, ...]
    """The whole period, in order."""
    rules: tuple[Rule, ...]
    """What changed of the timetable within the period."""

    @property
    def uncommitted(self) -> tuple[Hole, ...]:
        """Time for which no timetable was committed."""
        return tuple(Hole("", part.start, part.end) for part in self.stretches if part.timetable is None)

    @property
    def longest_hole(self) -> Hole | None:
        """Longest stretch between covered slots in which at least one was not, or without a timetable."""
        holes = [*self.uncommitted, *_holes(self.slots, self.start, self.end)]
        return max(holes, key=lambda hole: hole.end - hole.start, default=None)

    @property
    def counts(self) -> dict[str, int]:
        """Slots by state."""
        counted = Counter(str(slot.state) for slot in self.slots)
        return {str(state): counted[str(state)] for state in State}

    def share(self, covered: Iterable[int] | None = None) -> float | None:
        """Part of the period's time with evidence (by one of the runs ``covered``, when given), from 0 to 1.

        The time under each timetable counts with the part of its slots that are covered: not at all where none was due,
        as none of it where no timetable was committed. ``None`` without slots.
        """
        if not self.slots:
            return None
        runs = None if covered is None else set(covered)
        good = 0.0
        for part in self.stretches:
            first, last = (bisect_right(self.slots, at, key=lambda slot: slot.at) for at in (part.start, part.end))
            slots = self.slots[first:last]
            if slots:
                held = sum(slot.state in COVERED and (runs is None or slot.run in runs) for slot in slots)
                good += held / len(slots) * ((part.end - part.start) / (self.end - self.start))
        return round(good, 4)

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {
            "from": stamp(self.start),
            "to": stamp(self.end),
            "counts": self.counts,
            "share": self.share(),
            "longestHole": self.longest_hole.as_row() if self.longest_hole else None,
            "uncommitted": [hole.as_row() for hole in self.uncommitted],
            "timetableChanges": [rule.as_row() for rule in self.rules],
            "slots": [slot.as_row() for slot in self.slots],
        }


def commitment(config: DaemonConfig) -> dict[str, Any]:
    """The predicate of the leaf that commits a timetable ahead."""
    return {
        "zone": str(config.time_zone),
        "schedules": [
            {"name": item.name, "cron": item.cron.text, "jitterS": item.jitter_s, "connections": [*item.connections]}
            for item in config.schedules
        ],
    }


def committed(notes: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The timetable that holds now: what the newest schedule leaf says."""
    found = [note for note in notes if note["kind"] == "schedule"]
    return {name: found[-1][name] for name in ("zone", "schedules")} if found else None


def calendar(
    notes: Sequence[Mapping[str, Any]],
    runs: Iterable[Mapping[str, Any]],
    start: datetime,
    end: datetime,
    invalid: Iterable[int] = (),
) -> Calendar:
    """Every slot that was committed for a period, and what became of it.

    Args:
        notes: leaves that record a fact: ``schedule``, ``gap`` and ``pause`` count here.
        runs: ``{"number", "state", "trigger", "scheduledFor", "openedOn"}`` of every run.
        start: the period, exclusive.
        end: the period, inclusive.
        invalid: runs that do not verify.
    """
    broken = set(invalid)
    by_slot: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["scheduledFor"]:
            by_slot.setdefault(
                (run["trigger"].removeprefix("schedule "), stamp(instant(run["scheduledFor"]))), []
            ).append(run)
    stretches = tuple(_stretches(notes, start, end))
    told = [note for note in notes if note["kind"] in ("gap", "pause")]
    due = sorted(_due(stretches), key=lambda item: (item[1], item[0]))
    slots = tuple(
        _slot(name, at, following, jitter, by_slot.get((name, stamp(at)), []), told, broken)
        for name, at, following, jitter in due
    )
    return Calendar(start, end, slots, stretches, tuple(_rules(notes, start, end)))


def paused_ahead(notes: Iterable[Mapping[str, Any]], at: datetime) -> Mapping[str, Any] | None:
    """The pause a slot falls into, if it was on record by then: the slot ends as that pause."""
    ahead = (note for note in notes if note["kind"] == "pause" and instant(note["recordedOn"]) <= at)
    return next((note for note in ahead if _within(note, at)), None)


def _stretches(notes: Sequence[Mapping[str, Any]], start: datetime, end: datetime) -> Iterator[Stretch]:
    """The period, divided where a timetable was committed."""
    since: datetime = start
    held: Mapping[str, Any] | None = None
    for note in (note for note in notes if note["kind"] == "schedule"):
        at = min(instant(note["recordedOn"]), end)
        if at > since:
            yield Stretch(since, at, held)
            since = at
        held = note if note["schedules"] else None
    if since < end:
        yield Stretch(since, end, held)


def _rules(notes: Sequence[Mapping[str, Any]], start: datetime, end: datetime) -> Iterator[Rule]:
    """Each schedule that came, went or changed within the period."""
    before: dict[str, str] = {}
    for note in (note for note in notes if note["kind"] == "schedule"):
        after = {item["name"]: _in_words(item, note["zone"]) for item in note["schedules"]}
        at = instant(note["recordedOn"])
        if start < at <= end:
            for name in sorted(before.keys() | after.keys()):
                old, new = before.get(name, ""), after.get(name, "")
                if old != new:
                    by, why = (str(note.get(part, "")) for part in ("by", "reason"))
                    yield Rule(at, note["index"], by, name, old, new, why)
        before = after


def _in_words(item: Mapping[str, Any], zone: str) -> str:
    jitter = f", up to {item['jitterS']} s later" if item["jitterS"] else ""
    connections = f", only {', '.join(item['connections'])}" if item["connections"] else ""
    return f"{item['cron']} {zone}{jitter}{connections}"


def _due(stretches: Iterable[Stretch]) -> Iterator[tuple[str, datetime, datetime | None, timedelta]]:
    """Schedule, slot, the slot after it by the same timetable, and its jitter, as committed at that time."""
    for part in stretches:
        if part.timetable is None:
            continue
        zone = ZoneInfo(part.timetable["zone"])
        for item in part.timetable["schedules"]:
            cron = Cron.parse(item["cron"])
            slots = list(slots_between(cron, zone, part.start, part.end))
            following = [*slots[1:], next_slot(cron, zone, slots[-1])] if slots else []
            for slot, after in zip(slots, following, strict=True):
                yield item["name"], slot, after, timedelta(seconds=item["jitterS"])


def _slot(
    name: str,
    at: datetime,
    following: datetime | None,
    jitter: timedelta,
    runs: Sequence[Mapping[str, Any]],
    notes: Sequence[Mapping[str, Any]],
    broken: set[int],
) -> Slot:
    complete = [run for run in runs if run["state"] == "complete"]
    if complete:
        run = complete[-1]
        number, opened = run["number"], instant(run["openedOn"])
        if number in broken:
            return Slot(name, at, State.INVALID, number, "the run does not verify")
        if following and opened >= following:
            return Slot(
                name, at, State.BACKFILLED, number, f"collected at {stamp(opened)}, after the next slot was due"
            )
        if opened - at > LATE + jitter:
            return Slot(name, at, State.LATE, number, f"collected at {stamp(opened)}")
        return Slot(name, at, State.RUN, number)
    if runs:
        return Slot(name, at, State.FAILED, runs[-1]["number"], f"the run is {runs[-1]['state']}")
    if pause := paused_ahead(notes, at):
        return Slot(name, at, State.PAUSED, None, _told(pause))
    within = [note for note in notes if _within(note, at)]
    after = [f"{_told(note)}, after it was due" for note in within if note["kind"] == "pause"]
    for note in within:
        if note["kind"] == "gap" and _of_schedule(note, name):
            return Slot(name, at, State.GAP, None, "; ".join([f"{note['reason']} (leaf {note['index']})", *after]))
    if after:
        return Slot(name, at, State.PAUSED_AFTERWARDS, None, "; ".join(["no run", *after]))
    return Slot(name, at, State.MISSING, None, "no run, no record of why")


def _told(pause: Mapping[str, Any]) -> str:
    return f"{pause['reason']}, by {pause['by']} (leaf {pause['index']}), recorded {pause['recordedOn']}"


def _within(note: Mapping[str, Any], at: datetime) -> bool:
    return instant(note["from"]) <= at <= instant(note["to"])


def _of_schedule(gap: Mapping[str, Any], name: str) -> bool:
    reason = str(gap["reason"])
    return not reason.startswith("schedule ") or reason.startswith(f"schedule {name}: ")


def _holes(slots: Sequence[Slot], start: datetime, end: datetime) -> Iterator[Hole]:
    """Stretches of each schedule between covered slots in which at least one was not."""
    for name in sorted({slot.schedule for slot in slots}):
        since, open_since = start, False
        for slot in (slot for slot in slots if slot.schedule == name):
            if slot.state in COVERED:
                if open_since:
                    yield Hole(name, since, slot.at)
                since, open_since = slot.at, False
            else:
                open_since = True
        if open_since:
            yield Hole(name, since, end)
