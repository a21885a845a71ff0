"""Training: courses people were to take, and took."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, is_past, not_working, not_yet, person

COURSES = ("security-awareness",)


@source("register.training", key="Key", per="connection", permissions=("read training.csv",), kind="period")
def training(registers: Registers) -> Iterator[Row]:
    """Every course in training.csv that a person was to complete by a day."""
    yield from registers.table("training")


@check(
    "register.training.on-time",
    title="Courses were completed in time",
    severity="medium",
    each="register.training",
)
def on_time(course: Record, *, as_of: datetime, period_days: int = 366, grace_days: int = 0) -> Verdict:
    """A course that was due within ``period_days`` was completed at most ``grace_days`` after that day.

    Source: training.csv (``due``, ``completed``).
    Remedy: have the course completed, and follow up who is late.
    """
    if early := before_period(course["due"], as_of, period_days):
        return skip(early)
    done = course["completed"]
    if ahead := not_yet(done, as_of):
        return fail(ahead)
    if not done and not is_past(course["due"], as_of):
        return skip(f"due on {course['due']}")
    late = days_after(course["due"], done or as_of.date().isoformat())
    told = f"{course['course']} due on {course['due']}, "
    told += f"completed on {done}, limit {grace_days} days later" if done else f"not completed for {late} days"
    return ok(told) if done and late <= grace_days else fail(told)


def _trained(
    training: Iterator[Record], staff: Table, courses: tuple[str, ...], as_of: datetime
) -> dict[str, list[Record]]:
    """Completed courses of these names, by person."""
    found: dict[str, list[Record]] = {}
    for one in training:
        who = person(staff, one["person"], as_of)
        done = one["completed"] if one["course"] in courses else None
        if who is not None and done and not not_yet(done, as_of):
            found.setdefault(who["id"], []).append(one)
    return found


@check(
    "register.training.joiners",
    title="Who starts is trained soon",
    severity="medium",
    over=("register.training", "register.people"),
)
def joiners_trained(
    training: Iterator[Record],
    people: Iterator[Record],
    *,
    as_of: datetime,
    courses: tuple[str, ...] = COURSES,
    period_days: int = 366,
    max_days: int = 30,
) -> Verdict:
    """Who started within ``period_days`` completed one of ``courses`` at most ``max_days`` after the first day.

    Who left or is on leave, or whose time is not over, is not counted.
    Source: training.csv (``completed``), people.csv (``start``).
    Remedy: have those who are named take the course.
    """
    staff = Table(list(people))
    found = _trained(training, staff, courses, as_of)
    today = as_of.date().isoformat()
    due = [
        one for one in staff
        if one["status"] != "leave" and not not_working(staff, one["id"], as_of)
        and not before_period(one["start"], as_of, period_days)
        and days_after(one["start"], today) > max_days
    ]  # fmt: skip
    if not due:
        return skip(f"nobody started between {max_days} and {period_days} days ago")
    missing = [
        one["id"] for one in due
        if not any(days_after(one["start"], done["completed"]) <= max_days for done in found.get(one["id"], ()))
    ]  # fmt: skip
    if missing:
        return fail(f"{len(missing)} of {len(due)} not trained within {max_days} days: {', '.join(missing[:10])}")
    return ok(f"all {len(due)} who started were trained within {max_days} days")


@check(
    "register.training.valid",
    title="Everybody's training is still valid",
    severity="medium",
    over=("register.training", "register.people"),
)
def valid(
    training: Iterator[Record],
    people: Iterator[Record],
    *,
    as_of: datetime,
    courses: tuple[str, ...] = COURSES,
    min_pct: int = 98,
    due_days: int = 30,
) -> Verdict:
    """At least ``min_pct`` of those who have worked here for ``due_days`` hold one of ``courses`` that is still valid.

    Source: training.csv (``completed``, ``valid_until``), people.csv. A course without ``valid_until`` is not valid.
    Who is on leave is not counted.
    Remedy: have those who are named take the course.
    """
    staff = Table(list(people))
    found = _trained(training, staff, courses, as_of)
    today = as_of.date().isoformat()
    due = [
        one["id"] for one in staff
        if one["status"] != "leave" and not not_working(staff, one["id"], as_of)
        and days_after(one["start"], today) >= due_days
    ]  # fmt: skip
    if not due:
        return skip(f"nobody has been here for {due_days} days")
    holding = {
        who for who, courses in found.items()
        if any(one["valid_until"] and not is_past(one["valid_until"], as_of) for one in courses)
    }  # fmt: skip
    missing = [who for who in due if who not in holding]
    told = f"{len(due) - len(missing)} of {len(due)} hold a valid course, at least {min_pct} % wanted"
    if 100 * (len(due) - len(missing)) < min_pct * len(due):
        return fail(f"{told}; not: {', '.join(missing[:10])}")
    return ok(told)
