"""What the checks over registers share: days and times of rows, and people by id or address. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from collector.model import GapKind, Record, Table, Unavailable, instant

WORKING = ("active", "leave")
"""Statuses of people who belong to the organisation today."""


def moment(text: str) -> datetime:
    """The time a cell tells; a day means its first moment in UTC."""
    return instant(text) if "T" in text else datetime.fromisoformat(text).replace(tzinfo=UTC)


def days_after(earlier: str, later: str) -> int:
    """Whole days from one cell to another; negative when the second is before the first."""
    return (moment(later) - moment(earlier)).days


def hours_after(earlier: str, later: str) -> float:
    """Hours from one cell to another; negative when the second is before the first."""
    return (moment(later) - moment(earlier)).total_seconds() / 3600


def is_past(text: str, as_of: datetime) -> bool:
    """True when a time is over; a day is over when it has ended."""
    return moment(text) + timedelta(days="T" not in text) <= as_of


def before_period(text: str, as_of: datetime, period_days: int) -> str:
    """Why an occurrence is not judged: it lies before the period; empty when it does not."""
    age = (as_of - moment(text)).days
    return f"of {text[:10]}, before the period of {period_days} days" if age > period_days else ""


def works(one: Record, as_of: datetime) -> bool:
    """True when a person belongs to the organisation today."""
    return one["status"] in WORKING and not (one["end"] and is_past(one["end"], as_of))


def named(people: Table, who: str) -> list[Record]:
    """Everybody with this id; where nobody has it, everybody with this address."""
    return people.where("id", who) or people.where("email", who)


def addressed(people: Table, address: str, as_of: datetime) -> list[Record]:
    """Whose address it is: of several who share it the one who works here today, where just one does.

    Several are a dispute, which no order of rows decides.
    """
    found = people.where("email", address)
    here = [one for one in found if works(one, as_of)]
    return here if len(here) == 1 else found


def meant(people: Table, who: str, as_of: datetime) -> list[Record]:
    """Whom an id or address means; several are a dispute."""
    return people.where("id", who) or addressed(people, who, as_of)


def shared(who: str, several: Sequence[Record]) -> str:
    """That an id or address means several people."""
    return f"{len(several)} people share {who}: {', '.join(sorted(one['id'] for one in several))}"


def person(people: Table, who: str, as_of: datetime) -> Record | None:
    """The person with this id or address.

    Raises:
        Unavailable: several have it, and it cannot be told who is meant.
    """
    found = meant(people, who, as_of)
    if len(found) > 1:
        raise Unavailable(GapKind.UNPROVEN, shared(who, found))
    return found[0] if found else None


def not_working(people: Table, who: str | None, as_of: datetime) -> str:
    """Why nobody who belongs to the organisation today is named; empty when somebody is."""
    if not who:
        return "nobody is named"
    found = person(people, who, as_of)
    if found is None:
        return f"{who} is not in people.csv"
    if found["status"] not in WORKING:
        return f"{who} has the status {found['status']}"
    return "" if works(found, as_of) else f"{who} left on {found['end']}"


def not_known(people: Table, who: str, as_of: datetime) -> str:
    """Why a name shows nobody to be somebody else: no person of the register has it; empty when one has."""
    return "" if person(people, who, as_of) else f"{who} is not in people.csv"


def is_one(people: Table, who: str, other: str | None, as_of: datetime) -> bool:
    """True when two cells name one person, be it by id or by address; an empty one names nobody.

    Raises:
        Unavailable: it cannot be told, for one of them is not in the register, or an address of several.
    """
    if not other:
        return False
    one, two = person(people, who, as_of), person(people, other, as_of)
    return same_person(who, other) if one is None or two is None else bool(one["id"] == two["id"])


def same_person(one: str | None, other: str | None) -> bool:
    """True when two cells name the same person; an empty one names nobody.

    Raises:
        Unavailable: one is an id and the other an address, so that nothing shows whether they are the same person.
    """
    if not one or not other:
        return False
    if _address(one) != _address(other):
        why = f"{one} and {other} cannot be compared: write both as ids, or both as addresses"
        raise Unavailable(GapKind.UNPROVEN, why)
    return one.casefold() == other.casefold()


def another_person(one: str | None, other: str | None) -> bool:
    """True when two cells name two people for certain: both are named, in the same way, and differ."""
    return bool(one and other) and _address(one) == _address(other) and not same_person(one, other)


def _address(who: str | None) -> bool:
    return "@" in (who or "")


def not_yet(text: str | None, as_of: datetime) -> str:
    """Why what is told as done does not count: its day lies ahead; empty when it does not, time zones allowed for."""
    return f"told as done on {text}, which has not come" if text and moment(text) - timedelta(days=1) > as_of else ""
