"""Incidents: what was reported, decided, done and learnt."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, hours_after, moment, not_yet

SEVERE = ("high", "critical")


@source("register.incidents", key="id", per="connection", permissions=("read incidents.csv",), kind="period")
def incidents(registers: Registers) -> Iterator[Row]:
    """Every event in incidents.csv that was reported, also where it turned out to be no incident."""
    yield from registers.table("incidents")


def _within(start: str, done: str | None, as_of: datetime, limit_h: int, what: str) -> Verdict:
    """Something was done at most some hours after a time; while they run, nothing is concluded."""
    hours = hours_after(start, done or as_of.isoformat())
    if ahead := not_yet(done, as_of):
        return fail(ahead)
    if not done and hours <= limit_h:
        return skip(f"not {what} yet, and the {limit_h} hours for it are not over")
    told = f"{what} {hours:.1f} hours after" if done else f"not {what} for {hours:.1f} hours"
    return ok(f"{told}, limit {limit_h}") if done and hours <= limit_h else fail(f"{told}, limit {limit_h}")


def _limit(limits: tuple[str, ...], severity: str) -> int | None:
    """Hours allowed for a severity; limits are spelt ``critical:4``."""
    return next((int(one.partition(":")[2]) for one in limits if one.partition(":")[0] == severity), None)


@check(
    "register.incidents.reported-in-time",
    title="Events were reported soon after they were noticed",
    severity="medium",
    each="register.incidents",
)
def reported_in_time(event: Record, *, as_of: datetime, period_days: int = 366, max_hours: int = 24) -> Verdict:
    """An event that was noticed within ``period_days`` was reported at most ``max_hours`` later.

    Source: incidents.csv (``detected``, ``reported``).
    Remedy: make the channel known, and ask why it took long.
    """
    if early := before_period(event["detected"], as_of, period_days):
        return skip(early)
    if hours_after(event["detected"], event["reported"]) < 0:
        return fail(f"reported at {event['reported']}, before it was noticed at {event['detected']}")
    return _within(event["detected"], event["reported"], as_of, max_hours, "reported")


@check(
    "register.incidents.classified-in-time",
    title="It was decided in time whether events are incidents",
    severity="high",
    each="register.incidents",
)
def classified_in_time(event: Record, *, as_of: datetime, period_days: int = 366, max_hours: int = 8) -> Verdict:
    """An event has a severity, who decided on it, and the decision came at most ``max_hours`` after the report.

    Source: incidents.csv (``severity``, ``classified``, ``decided_by``), of those reported within ``period_days``.
    Remedy: decide on each event, and record who did.
    """
    if early := before_period(event["reported"], as_of, period_days):
        return skip(early)
    if event["classified"] and hours_after(event["reported"], event["classified"]) < 0:
        return fail(f"classified at {event['classified']}, before it was reported at {event['reported']}")
    if event["classified"] and (not event["severity"] or not event["decided_by"]):
        return fail(f"severity {event['severity'] or 'not set'}, decided by {event['decided_by'] or 'nobody'}")
    return _within(event["reported"], event["classified"], as_of, max_hours, "classified")


@check(
    "register.incidents.contained-in-time",
    title="Incidents were contained within their target",
    severity="high",
    each="register.incidents",
)
def contained_in_time(
    event: Record,
    *,
    as_of: datetime,
    period_days: int = 366,
    max_hours: tuple[str, ...] = ("critical:4", "high:24", "medium:72"),
) -> Verdict:
    """An incident was contained within the hours that ``max_hours`` gives for its severity, from its report on.

    Source: incidents.csv (``severity``, ``reported``, ``contained``), of those reported within ``period_days``.
    Remedy: find out what held the response up.
    """
    if early := before_period(event["reported"], as_of, period_days):
        return skip(early)
    limit = _limit(max_hours, event["severity"] or "")
    if limit is None:
        return skip(f"no target for the severity {event['severity'] or 'not set'}")
    return _within(event["reported"], event["contained"], as_of, limit, "contained")


@check(
    "register.incidents.lessons-recorded",
    title="Lessons of severe incidents were recorded",
    severity="medium",
    each="register.incidents",
)
def lessons_recorded(
    event: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 14, levels: tuple[str, ...] = SEVERE
) -> Verdict:
    """Of an incident in ``levels``, causes and lessons were recorded at most ``max_days`` after it was closed.

    Source: incidents.csv (``closed``, ``lessons``), of those closed within ``period_days``.
    Remedy: hold a review of each severe incident.
    """
    if event["severity"] not in levels:
        return skip(f"its severity is {event['severity'] or 'not set'}")
    if not event["closed"]:
        return skip("it is not closed")
    if early := before_period(event["closed"], as_of, period_days):
        return skip(early)
    done = event["lessons"]
    days = days_after(event["closed"], done or as_of.isoformat())
    if not done and days <= max_days:
        return skip(f"closed {days} days ago, and the {max_days} days for it are not over")
    told = f"recorded {days} days after it was closed" if done else f"not recorded for {days} days"
    return ok(f"{told}, limit {max_days}") if done and days <= max_days else fail(f"{told}, limit {max_days}")


@check(
    "register.incidents.evidence-secured",
    title="Evidence of severe incidents was secured",
    severity="medium",
    each="register.incidents",
)
def evidence_secured(
    event: Record, *, as_of: datetime, period_days: int = 366, levels: tuple[str, ...] = SEVERE
) -> Verdict:
    """A contained incident in ``levels`` names a custody record of the evidence.

    Source: incidents.csv (``evidence``), of those reported within ``period_days``.
    Remedy: secure evidence before you clean up, and record who had it.
    """
    if event["severity"] not in levels:
        return skip(f"its severity is {event['severity'] or 'not set'}")
    if early := before_period(event["reported"], as_of, period_days):
        return skip(early)
    if not event["contained"]:
        return skip("it is not contained yet")
    return ok(f"custody record {event['evidence']}") if event["evidence"] else fail("no custody record is named")


@check(
    "register.incidents.authorities-told",
    title="Authorities were told before the deadline",
    severity="high",
    each="register.incidents",
)
def authorities_told(event: Record, *, as_of: datetime, period_days: int = 366) -> Verdict:
    """Where a deadline for telling an authority is named, it was told before the deadline.

    Source: incidents.csv (``notify_by``, ``notified``), of deadlines within ``period_days``.
    Remedy: tell the authority, and say why it is late.
    """
    due, done = event["notify_by"], event["notified"]
    if not due:
        return skip("no duty to tell an authority is recorded")
    if early := before_period(due, as_of, period_days):
        return skip(early)
    if not done and moment(due) > as_of:
        return skip(f"to be told by {due}")
    told = f"told at {done}, deadline {due}" if done else f"not told, deadline {due}"
    return ok(told) if done and moment(done) <= moment(due) else fail(told)
