"""Whether a period has silent holes: every slot that was committed ahead, and what became of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from collector.config import DaemonConfig
from collector.cron import Cron, slots_between
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
    """A stretch of a schedule without evidence."""

    schedule: str
    start: datetime
    """The last covered slot before it, or the begin of the period."""
    end: datetime
    """The first covered slot after it, or the end of the period."""

    @property
    def hours(self) -> float:
        """How long it is."""
        return round((self.end - self.start) / timedelta(hours=1), 2)

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {"schedule": self.schedule, "from": stamp(self.start), "to": stamp(self.end), "hours": self.hours}


@dataclass(frozen=True, slots=True)
class Calendar:
    """All slots of a period."""

    start: datetime
    end: datetime
    slots: tuple[Slot, ...]
    longest_hole: Hole | None
    """Longest stretch between covered slots in which at least one was not."""

    @property
    def counts(self) -> dict[str, int]:
        """Slots by state."""
        counted = Counter(str(slot.state) for slot in self.slots)
        return {str(state): counted[str(state)] for state in State}

    def share(self, covered: Iterable[int] | None = None) -> float | None:
        """Part of the slots with a run (one of ``covered``, when given), from 0 to 1; ``None`` without slots."""
        runs = None if covered is None else set(covered)
        good = sum(slot.state in COVERED and (runs is None or slot.run in runs) for slot in self.slots)
        return round(good / len(self.slots), 4) if self.slots else None

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {
            "from": stamp(self.start),
            "to": stamp(self.end),
            "counts": self.counts,
            "share": self.share(),
            "longestHole": self.longest_hole.as_row() if self.longest_hole else None,
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
    due = sorted(_due(notes, start, end), key=lambda item: (item[1], item[0]))
    slots = tuple(
        _slot(name, at, following, jitter, by_slot.get((name, stamp(at)), []), notes, broken)
        for name, at, following, jitter in due
    )
    return Calendar(start, end, slots, _longest_hole(slots, start, end))


def _due(
    notes: Sequence[Mapping[str, Any]], start: datetime, end: datetime
) -> Iterator[tuple[str, datetime, datetime | None, timedelta]]:
    """Schedule, slot, the slot after it, and its jitter, as committed at that time."""
    commitments = [note for note in notes if note["kind"] == "schedule"]
    for position, note in enumerate(commitments):
        since = max(start, instant(note["recordedOn"]))
        until = min(end, instant(commitments[position + 1]["recordedOn"])) if position + 1 < len(commitments) else end
        zone = ZoneInfo(note["zone"])
        for item in note["schedules"]:
            slots = list(slots_between(Cron.parse(item["cron"]), zone, since, until))
            for number, slot in enumerate(slots):
                following = slots[number + 1] if number + 1 < len(slots) else None
                yield item["name"], slot, following, timedelta(seconds=item["jitterS"])


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
    for note in notes:
        if note["kind"] in ("gap", "pause") and _covers(note, name, at):
            state = State.GAP if note["kind"] == "gap" else State.PAUSED
            return Slot(name, at, state, None, f"{note['reason']} (leaf {note['index']})")
    return Slot(name, at, State.MISSING, None, "no run, no record of why")


def _covers(note: Mapping[str, Any], name: str, at: datetime) -> bool:
    if not instant(note["from"]) <= at <= instant(note["to"]):
        return False
    reason = str(note["reason"])
    return note["kind"] == "pause" or not reason.startswith("schedule ") or reason.startswith(f"schedule {name}: ")


def _longest_hole(slots: Sequence[Slot], start: datetime, end: datetime) -> Hole | None:
    holes = []
    for name in sorted({slot.schedule for slot in slots}):
        since, open_since = start, False
        for slot in (slot for slot in slots if slot.schedule == name):
            if slot.state in COVERED:
                if open_since:
                    holes.append(Hole(name, since, slot.at))
                since, open_since = slot.at, False
            else:
                open_since = True
        if open_since:
            holes.append(Hole(name, since, end))
    return max(holes, key=lambda hole: hole.hours, default=None)
