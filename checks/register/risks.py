"""Risks: who answers for them, and what was accepted."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import is_past, moment, not_working, same_person


@source("register.risks", key="id", per="connection", permissions=("read risks.csv",))
def risks(registers: Registers) -> Iterator[Row]:
    """Every risk in risks.csv, closed ones included."""
    yield from registers.table("risks")


@check(
    "register.risks.owner-active",
    title="Risks have an owner who belongs to the organisation",
    severity="medium",
    each="register.risks",
    beside=("register.people",),
)
def owner_active(risk: Record, people: Table, *, as_of: datetime) -> Verdict:
    """The owner of an open risk is in people.csv and works here today.

    Source: risks.csv (``owner``), people.csv (``status``, ``end``).
    Remedy: name an owner.
    """
    if risk["status"] == "closed":
        return skip("it is closed")
    wrong = not_working(people, risk["owner"], as_of)
    return fail(f"no owner: {wrong}") if wrong else ok(f"owned by {risk['owner']}")


@check(
    "register.risks.accepted-by-owner",
    title="What remains of a risk was accepted by its owner",
    severity="high",
    each="register.risks",
)
def accepted_by_owner(
    risk: Record, *, as_of: datetime, treatments: tuple[str, ...] = ("accept", "reduce", "share")
) -> Verdict:
    """Of an open risk with one of ``treatments``, what remains was accepted by the owner on a day that has come.

    Source: risks.csv (``treatment``, ``accepted_by``, ``accepted``).
    Remedy: have the owner of the risk accept what remains.
    """
    if risk["status"] == "closed":
        return skip("it is closed")
    if risk["treatment"] not in treatments:
        return skip(f"its treatment is to {risk['treatment']} it")
    who, day = risk["accepted_by"], risk["accepted"]
    if not who or not day or moment(day) > as_of:
        return fail(f"accepted by {who or 'nobody'} on {day or 'no day'}")
    told = f"accepted by {who} on {day}, owner {risk['owner'] or 'nobody'}"
    return ok(told) if same_person(who, risk["owner"]) else fail(told)


@check(
    "register.risks.review-in-time",
    title="Risks are reviewed in time",
    severity="medium",
    each="register.risks",
)
def review_in_time(risk: Record, *, as_of: datetime) -> Verdict:
    """The next review of an open risk is named and has not passed.

    Source: risks.csv (``next_review``).
    Remedy: review it, and set the next day.
    """
    if risk["status"] == "closed":
        return skip("it is closed")
    due = risk["next_review"]
    if not due:
        return fail("no next review is named")
    return fail(f"its review was due on {due}") if is_past(due, as_of) else ok(f"next review on {due}")
