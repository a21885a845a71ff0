"""People who change department or post: their rights are reviewed, and what the new post does not need is taken away.

That the list is whole nothing shows: people.csv tells where somebody works today, not where they did.
"""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, is_one, is_past, named, not_known, not_yet


@source("register.movers", key="Key", per="connection", permissions=("read movers.csv",), kind="period")
def movers(registers: Registers) -> Iterator[Row]:
    """Everybody in movers.csv, with the days on which the duties of a change of post were done."""
    yield from registers.table("movers")


def _not_meant(mover: Record, as_of: datetime, period_days: int) -> Verdict | None:
    """Why a move is not judged: it was long ago, or is still to come."""
    if early := before_period(mover["moved"], as_of, period_days):
        return skip(early)
    return None if is_past(mover["moved"], as_of) else skip(f"moves on {mover['moved']}")


def _done(mover: Record, done: str | None, as_of: datetime, max_days: int, what: str) -> Verdict:
    """Whether something was done at most ``max_days`` after the move."""
    told = f"moved on {mover['moved']}, {what}"
    if not done:
        days = days_after(mover["moved"], as_of.date().isoformat())
        told += f" on no day for {days} days, limit {max_days}"
        return fail(told) if days > max_days else skip(f"{told}, which are not over")
    if ahead := not_yet(done, as_of):
        return fail(f"{what}: {ahead}")
    days = days_after(mover["moved"], done)
    told += f" on {done}, {days} days after it, limit {max_days}"
    return ok(told) if days <= max_days else fail(told)


@check(
    "register.movers.in-people",
    title="The list of movers agrees with the list of people",
    severity="medium",
    each="register.movers",
    beside=("register.people",),
)
def in_people(mover: Record, people: Table, *, as_of: datetime, period_days: int = 366) -> Verdict:
    """Who moved within ``period_days`` is in people.csv, and worked here before that day and on it.

    That everybody who moved is listed is not shown. Source: movers.csv (``person``, ``moved``), people.csv
    (``start``, ``end``).
    Remedy: correct the row, or people.csv.
    """
    who, moved = mover["person"], mover["moved"]
    if not_meant := _not_meant(mover, as_of, period_days):
        return not_meant
    found = named(people, who)
    if not found:
        return fail(f"{who} is not in people.csv")
    if any(one["start"] < moved and (not one["end"] or moved <= one["end"]) for one in found):
        return ok(f"{who} worked here when they moved on {moved}")
    told = ", ".join(sorted(f"{one['start']} to {one['end'] or 'today'}" for one in found))
    return fail(f"{who} moved on {moved}, and works or worked here from {told}")


@check(
    "register.movers.access-reviewed",
    title="The access of who changed posts was reviewed in time by somebody else",
    severity="high",
    each="register.movers",
    beside=("register.people",),
)
def access_reviewed(
    mover: Record, people: Table, *, as_of: datetime, period_days: int = 366, max_days: int = 14
) -> Verdict:
    """The rights of a mover were reviewed at most ``max_days`` before or after the move, by another who is known.

    Source: movers.csv (``access_reviewed``, ``reviewer``), of those who moved within ``period_days``; people.csv.
    Remedy: review the rights of whoever changes posts, and record the day.
    """
    if not_meant := _not_meant(mover, as_of, period_days):
        return not_meant
    held, reviewer = mover["access_reviewed"], mover["reviewer"]
    if not held:
        return _done(mover, held, as_of, max_days, "access reviewed")
    early = days_after(held, mover["moved"])
    if early > max_days:
        return fail(f"access reviewed on {held}, {early} days before the move on {mover['moved']}, limit {max_days}")
    if not reviewer:
        return fail(f"access reviewed on {held} by nobody named")
    if is_one(people, reviewer, mover["person"], as_of):
        return fail(f"{reviewer} reviewed their own access")
    if unknown := not_known(people, reviewer, as_of):
        return fail(f"access reviewed by nobody known: {unknown}")
    return _done(mover, held, as_of, max_days, f"access reviewed by {reviewer}")


@check(
    "register.movers.access-removed",
    title="Rights that the new post does not need were taken away in time",
    severity="high",
    each="register.movers",
)
def access_removed(mover: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 14) -> Verdict:
    """The last right of the former post that was to go was taken away at most ``max_days`` after the move.

    Source: movers.csv (``access_reviewed``, ``rights_to_remove``, ``access_removed``), of those who moved within
    ``period_days``.
    Remedy: take the rights away, and record the day.
    """
    if not_meant := _not_meant(mover, as_of, period_days):
        return not_meant
    if mover["rights_to_remove"] == "no":
        return skip("no right of the former post was to be taken away")
    if mover["access_reviewed"] and not mover["rights_to_remove"]:
        return fail(f"reviewed on {mover['access_reviewed']}, and whether a right was to be taken away is not recorded")
    return _done(mover, mover["access_removed"], as_of, max_days, "access taken away")


@check(
    "register.movers.assets-returned",
    title="Who changed posts returned what the new one does not need in time",
    severity="medium",
    each="register.movers",
)
def assets_returned(mover: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 14) -> Verdict:
    """All assets that the new post does not need were back or wiped at most ``max_days`` after the move.

    Source: movers.csv (``has_assets``, ``assets_returned``), of those who moved within ``period_days``.
    Remedy: collect them, or wipe what cannot be collected.
    """
    if not_meant := _not_meant(mover, as_of, period_days):
        return not_meant
    if mover["has_assets"] == "no":
        return skip("held no assets that the new post does not need")
    return _done(mover, mover["assets_returned"], as_of, max_days, "assets returned")
