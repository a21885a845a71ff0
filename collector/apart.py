"""How far servers were from our time, and what may not be concluded where that is too far. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from collector.model import Population, instant

APART_S = 15 * 60
"""Seconds that our clock and a server's may differ: what is judged by the time of collection counts in hours and days,
and a host whose clock is further off cannot even sign its requests to a cloud."""


def offset_s(line: Mapping[str, Any]) -> int | None:
    """By how many seconds the server that gave a reply was ahead of us; ``None`` where the reply does not tell."""
    try:
        return round((parsedate_to_datetime(line["date"]) - instant(line["received"])).total_seconds())
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def apart(populations: Iterable[Population]) -> str:
    """That a server which told of one of the populations has another time than we; empty where none has."""
    worst = max((population.apart_s for population in populations), key=abs, default=0)
    if abs(worst) <= APART_S:
        return ""
    return f"this machine's clock and the servers' were {_length(abs(worst))} apart, so that no date can be relied on"


def apart_everywhere(populations: Iterable[Population]) -> str:
    """That it may be our clock which is wrong: what at least half of the connections say whose servers tell the time.

    A server that is alone with its time is wrong itself, and only what it told cannot be relied on.
    """
    told: dict[str, list[Population]] = {}
    for population in populations:
        if population.dated:
            told.setdefault(population.task.connection, []).append(population)
    wrong = [said for group in told.values() if (said := apart(group))]
    return wrong[0] if wrong and 2 * len(wrong) >= len(told) else ""


def warned(closing: Mapping[str, Any]) -> str:
    """What a run's closing leaf says of dates that were too far from ours; empty where none was."""
    dates = (closing.get("clock") or {}).get("peerDates") or {}
    worst = max((off for off in dates.values() if isinstance(off, int)), key=abs, default=0)
    if abs(worst) <= APART_S:
        return ""
    return (
        f"the date of a server and the clock of the collecting machine were {_length(abs(worst))} apart; "
        f"the limit is {APART_S // 60} minutes"
    )


def _length(seconds: int) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or size == 60:
            return f"{round(seconds / size)} {word}s"
    raise AssertionError("a minute is the smallest")
