"""The clock of this machine: who keeps it, and how far it is off."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from collector.api import GapKind, Host, Record, Refused, Row, Unavailable, Verdict, check, fail, ok, source

CHRONY = ("chronyc", "-n", "tracking")
NTPD = ("ntpq", "-c", "rv")
TIMESYNCD = ("timedatectl", "timesync-status")
SYSTEMD = ("timedatectl", "show")

OWN_CLOCK = "7F7F0101"
"""Reference ID that chronyd gives itself when it has no other source (127.127.1.1)."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}


@source(
    "host.time",
    key="Id",
    per="connection",
    permissions=tuple("host:run " + " ".join(argv) for argv in (CHRONY, NTPD, TIMESYNCD, SYSTEMD)),
)
def clock(host: Host) -> Iterator[Row]:
    """The clock of this machine, in the words of the first time service that answers."""
    program, reply = host.attempt_first(CHRONY, NTPD, TIMESYNCD, SYSTEMD)
    if isinstance(reply, Refused):
        reply = Refused(reply.kind, f"no time service answers: {reply.reason}", reply.operation)
    yield {"Id": "clock", "Program": " ".join(program) or None, "Reply": reply}


@check(
    "host.time.synchronised",
    title="The clock is kept by a time service",
    severity="medium",
    each="host.time",
)
def synchronised(clock: Record, *, as_of: datetime, max_update_age_h: int = 24) -> Verdict:
    """The time service follows an outside source, and chronyd heard of it within ``max_update_age_h`` hours.

    Source: ``chronyc tracking`` (Leap status, Reference ID, Ref time), ``ntpq -c rv`` (leap, sync_*),
    ``timedatectl timesync-status`` (Leap, Packet count) or ``timedatectl show`` (NTPSynchronized).
    Remedy: give chrony, ntpd or systemd-timesyncd a server that this machine can reach.
    """
    state = _state(clock)
    if state.fault:
        return fail(state.fault)
    if state.updated is not None:
        age_h = (as_of - state.updated).total_seconds() / 3600
        if age_h > max_update_age_h:
            return fail(f"the last update is {age_h:.1f} h old; the limit is {max_update_age_h} h")
    return ok(f"{clock['Program']} says that the clock is synchronised")


@check(
    "host.time.offset-small",
    title="The clock is close to the time of its source",
    severity="medium",
    each="host.time",
)
def offset_small(clock: Record, *, max_offset_ms: float = 500.0) -> Verdict:
    """The measured offset of a synchronised clock is at most ``max_offset_ms``, early or late.

    Source: ``chronyc tracking`` (System time), ``ntpq -c rv`` (offset) or ``timedatectl timesync-status`` (Offset).
    Remedy: find why the time service does not correct the clock.
    """
    state = _state(clock)
    if state.fault:
        raise Unavailable(GapKind.UNPROVEN, f"{state.fault}, so nothing measures its offset")
    if state.offset_ms is None:
        raise Unavailable(GapKind.UNSUPPORTED, f"{clock['Program']} tells no offset")
    observed = f"the clock is off by {state.offset_ms:.3f} ms"
    return (
        ok(observed)
        if abs(state.offset_ms) <= max_offset_ms
        else fail(f"{observed}; the limit is {max_offset_ms:g} ms")
    )


@dataclass(frozen=True, slots=True)
class State:
    """What a time service says of the clock."""

    fault: str
    """Why it is not synchronised; empty when it is."""
    offset_ms: float | None = None
    updated: datetime | None = None


def _state(clock: Record) -> State:
    program, _, rest = (clock["Program"] or "").partition(" ")
    text = clock["Reply"]
    if program == "chronyc":
        return _chrony(text)
    if program == "ntpq":
        return _ntpd(text)
    return _timesyncd(text) if rest == "timesync-status" else _systemd(text)


def _chrony(text: str) -> State:
    said = _labels(text)
    amount, _, direction = said["System time"].partition(" seconds ")
    offset_ms = float(amount) * 1000 * (-1 if direction.startswith("slow") else 1)
    _, month, day, time_of_day, year = said["Ref time (UTC)"].split()
    hour, minute, second = map(int, time_of_day.split(":"))
    updated = datetime(int(year), MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)
    if said["Leap status"] == "Not synchronised":
        return State("chronyd is not synchronised")
    if said["Reference ID"].startswith(OWN_CLOCK):
        return State("chronyd follows its own clock only")
    return State("", offset_ms, updated)


def _ntpd(text: str) -> State:
    leap, offset_ms = _number(r"\bleap=(\d+)", text), _number(r"\boffset=([-+]?[\d.]+)", text)
    if leap == 11:  # both bits of the leap indicator: alarm
        return State("ntpd is not synchronised")
    if "sync_local" in text:
        return State("ntpd follows its own clock only")
    return State("", offset_ms)


def _timesyncd(text: str) -> State:
    said = _labels(text)
    if said["Packet count"] == "0":
        return State("systemd-timesyncd has no answer from a server yet")
    if said["Leap"] == "not synchronized":
        return State("the server of systemd-timesyncd is not synchronised")
    sign = -1 if said["Offset"].startswith("-") else 1
    parts = re.findall(r"([\d.]+)([a-z]+)", said["Offset"])
    return State("", sign * sum(float(amount) * UNITS_MS[unit] for amount, unit in parts))


def _systemd(text: str) -> State:
    said = dict(line.split("=", 1) for line in text.splitlines())
    return State("" if said["NTPSynchronized"] == "yes" else "the kernel says that the clock is not synchronised")


def _labels(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {label.strip(): value.strip() for label, _, value in pairs}


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise Unavailable(GapKind.MALFORMED, f"ntpq answered without {pattern[2:].partition('=')[0]}")
    return float(found[1])
