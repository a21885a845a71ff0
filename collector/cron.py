"""Which moments a cron line names, exactly and for ever: daylight saving neither loses one nor doubles one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Self

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_RANGES = {"minute": (0, 59), "hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 7)}
_NAMES = {"month": {n: i for i, n in enumerate(_MONTHS, 1)}, "day of week": {n: i for i, n in enumerate(_WEEKDAYS)}}
_ITEM = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/([0-9]{1,2}))?", re.ASCII)
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_HORIZON = timedelta(days=366 * 9)
"""29 February may be eight years away."""


@dataclass(frozen=True, slots=True)
class Cron:
    """The five fields of a cron line, as sets of numbers."""

    text: str
    """The line as it was written."""
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday, as in crontab(5)."""
    every_hour: bool
    """True: each hour that passes counts, so that the hour repeated in autumn has its own slots."""
    either_day: bool
    """True: day of month or day of week suffices, because both are restricted; as in crontab(5)."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The meaning of ``minute hour day-of-month month day-of-week``; names, lists, ranges and steps are known.

        Raises:
            ValueError: the line is malformed or names no day that exists.
        """
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"{len(fields)} fields where five are needed")
        minutes, hours, days, months, weekdays = (
            _numbers(name, field) for name, field in zip(_RANGES, fields, strict=True)
        )
        either_day = not fields[2].startswith("*") and not fields[4].startswith("*")
        if not either_day and not any(day <= _LONGEST_MONTH.get(month, 31) for month in months for day in days):
            raise ValueError("no such day exists in the months named")
        weekdays = frozenset(number % 7 for number in weekdays)
        return cls(text, minutes, hours, days, months, weekdays, len(hours) == 24, either_day)

    def on(self, day: date) -> bool:
        """True when the line names this day."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (by_date or by_weekday) if self.either_day else (by_date and by_weekday)


def slots_between(cron: Cron, zone: tzinfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield in UTC the slots after ``start`` up to and including ``end``, in order.

    A wall time that the clocks skip in spring is due when it would have been without the change (02:15 at 03:15);
    one that comes twice in autumn is due once, the first time. A line for every hour follows the hours that pass.
    """
    last = start.astimezone(UTC)
    end = end.astimezone(UTC)
    day = last.astimezone(zone).date() - timedelta(days=1)
    final = end.astimezone(zone).date()
    while day <= final:
        if cron.on(day):
            for slot in _slots_on(cron, zone, day):
                if last < slot <= end:
                    yield slot
                    last = slot
        day += timedelta(days=1)


def next_slot(cron: Cron, zone: tzinfo, after: datetime) -> datetime | None:
    """The first slot after a moment; None when there is none for nine years."""
    return next(slots_between(cron, zone, after, after + _HORIZON), None)


def shortest_interval(cron: Cron, zone: tzinfo) -> timedelta:
    """The least time between two slots, over the first slots of the year 2026."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    shortest = previous = None
    for count, slot in enumerate(slots_between(cron, zone, start, start + _HORIZON)):
        if previous is not None:
            shortest = min(shortest or _HORIZON, slot - previous)
        if count > 200:
            break
        previous = slot
    return shortest or _HORIZON


def _slots_on(cron: Cron, zone: tzinfo, day: date) -> list[datetime]:
    found = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            wall = datetime.combine(day, time(hour, minute), zone)
            slot = wall.astimezone(UTC)
            if not cron.every_hour:
                found.add(slot)
                continue
            if slot.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
                found |= {slot, wall.replace(fold=1).astimezone(UTC)}
    return sorted(found)


def _numbers(name: str, field: str) -> frozenset[int]:
    low, high = _RANGES[name]
    found: set[int] = set()
    for item in field.split(","):
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(f"{name}: {item!r} is not a number, range or step")
        star, first, last, step = match.groups()
        begin = low if star else _number(name, first)
        stop = _number(name, last) if last else high if star or step else begin
        if name == "day of week" and stop == 0 < begin:
            stop = 7
        if not low <= begin <= stop <= high:
            raise ValueError(f"{name}: {item!r} is not within {low}-{high}")
        if step and not int(step):
            raise ValueError(f"{name}: {item!r} has a step of nothing")
        found.update(range(begin, stop + 1, int(step or 1)))
    return frozenset(found)


def _number(name: str, text: str) -> int:
    if text.isdecimal():
        return int(text)
    value = _NAMES.get(name, {}).get(text.lower())
    if value is None:
        raise ValueError(f"{name}: {text!r} is not known")
    return value
