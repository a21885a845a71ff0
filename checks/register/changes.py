"""Changes to systems in operation: asked for, approved, tested, and undone if need be."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, is_one, moment, not_known, not_yet


@source("register.changes", key="id", per="connection", permissions=("read changes.csv",), kind="period")
def changes(registers: Registers) -> Iterator[Row]:
    """Every change in changes.csv, those not implemented included."""
    yield from registers.table("changes")


def _not_meant(change: Record, as_of: datetime, period_days: int, kinds: tuple[str, ...]) -> Verdict | None:
    """Why a change is not judged: not implemented, long ago, or of another kind."""
    if not change["implemented"]:
        return skip("it was not implemented")
    if early := before_period(change["implemented"], as_of, period_days):
        return skip(early)
    if change["kind"] not in kinds:
        return skip(f"a change of the kind {change['kind']}")
    return None


@check(
    "register.changes.approved-before",
    title="Changes were approved before they went into operation",
    severity="high",
    each="register.changes",
)
def approved_before(
    change: Record, *, as_of: datetime, period_days: int = 366, kinds: tuple[str, ...] = ("normal",)
) -> Verdict:
    """A change of one of ``kinds`` that was implemented within ``period_days`` was approved no later than that.

    An approval that is dated ahead of the collection is none.
    Source: changes.csv (``approved``, ``implemented``). The list begins with what was asked for, not with what changed.
    Remedy: hold changes until they are approved.
    """
    if not_meant := _not_meant(change, as_of, period_days, kinds):
        return not_meant
    approved = change["approved"]
    if not approved:
        return fail(f"implemented at {change['implemented']}, never approved")
    if ahead := not_yet(approved, as_of):
        return fail(f"approval {ahead}")
    told = f"approved at {approved}, implemented at {change['implemented']}"
    return ok(told) if moment(approved) <= moment(change["implemented"]) else fail(told)


@check(
    "register.changes.approved-by-another",
    title="Nobody approved a change of their own",
    severity="high",
    each="register.changes",
    beside=("register.people",),
)
def approved_by_another(
    change: Record,
    people: Table,
    *,
    as_of: datetime,
    period_days: int = 366,
    kinds: tuple[str, ...] = ("normal", "emergency"),
) -> Verdict:
    """The approver of a change of one of ``kinds`` is neither who asked for it nor who implemented it.

    Who is not in people.csv is nobody known, and so not known to be somebody else.
    Source: changes.csv (``approver``, ``approved``, ``requester``, ``implementer``), of those implemented within
    ``period_days``; people.csv.
    Remedy: have another approve.
    """
    if not_meant := _not_meant(change, as_of, period_days, kinds):
        return not_meant
    approver, implementer = change["approver"], change["implementer"]
    if not approver or not implementer:
        return fail(f"approver {approver or 'not named'}, implementer {implementer or 'not named'}")
    if ahead := not_yet(change["approved"], as_of):
        return fail(f"approval {ahead}")
    if any(is_one(people, approver, own, as_of) for own in (implementer, change["requester"])):
        return fail(f"{approver} approved a change of their own")
    if unknown := not_known(people, approver, as_of):
        return fail(f"approved by nobody known: {unknown}")
    return ok(f"approved by {approver}, asked for by {change['requester']}, implemented by {implementer}")


@check(
    "register.changes.tested-before",
    title="Changes were tested before they went into operation",
    severity="medium",
    each="register.changes",
)
def was_tested_before(
    change: Record, *, as_of: datetime, period_days: int = 366, kinds: tuple[str, ...] = ("normal",)
) -> Verdict:
    """A change of one of ``kinds`` that was implemented within ``period_days`` was tested no later than that.

    A test that is dated ahead of the collection is none.
    Source: changes.csv (``tested``, ``implemented``).
    Remedy: test changes, and record when.
    """
    if not_meant := _not_meant(change, as_of, period_days, kinds):
        return not_meant
    tested = change["tested"]
    if not tested:
        return fail("never tested")
    if ahead := not_yet(tested, as_of):
        return fail(f"test {ahead}")
    told = f"tested at {tested}, implemented at {change['implemented']}"
    return ok(told) if moment(tested) <= moment(change["implemented"]) else fail(told)


@check(
    "register.changes.can-be-undone",
    title="Changes had a plan to undo them",
    severity="medium",
    each="register.changes",
)
def can_be_undone(
    change: Record, *, as_of: datetime, period_days: int = 366, kinds: tuple[str, ...] = ("normal",)
) -> Verdict:
    """A change of one of ``kinds`` that was implemented within ``period_days`` names a plan to undo it.

    Source: changes.csv (``rollback``).
    Remedy: write down how it can be undone.
    """
    if not_meant := _not_meant(change, as_of, period_days, kinds):
        return not_meant
    return ok(f"plan: {change['rollback']}") if change["rollback"] else fail("no plan to undo it")


@check(
    "register.changes.emergency-reviewed",
    title="Emergency changes were reviewed afterwards",
    severity="medium",
    each="register.changes",
)
def emergency_reviewed(
    change: Record,
    *,
    as_of: datetime,
    period_days: int = 366,
    max_days: int = 5,
    kinds: tuple[str, ...] = ("emergency",),
) -> Verdict:
    """A change of one of ``kinds`` was reviewed at most ``max_days`` after it was implemented.

    Source: changes.csv (``implemented``, ``reviewed``), of those implemented within ``period_days``.
    Remedy: review emergencies in the week they happen.
    """
    if not_meant := _not_meant(change, as_of, period_days, kinds):
        return not_meant
    done = change["reviewed"]
    days = days_after(change["implemented"], done or as_of.isoformat())
    if not done and days <= max_days:
        return skip(f"implemented {days} days ago, and the {max_days} days for its review are not over")
    told = f"reviewed {days} days after it, limit {max_days}" if done else f"not reviewed for {days} days"
    return ok(told) if done and 0 <= days <= max_days else fail(told)


@check(
    "register.changes.critical-watched",
    title="Operations that cannot be undone were watched over by a second person",
    severity="high",
    each="register.changes",
    beside=("register.people",),
)
def critical_watched(
    change: Record,
    people: Table,
    *,
    as_of: datetime,
    period_days: int = 366,
    kinds: tuple[str, ...] = ("standard", "normal", "emergency"),
) -> Verdict:
    """A critical change that was implemented within ``period_days`` names a second person, not the implementer.

    Who is not in people.csv is nobody known, and so not known to be a second person.
    Source: changes.csv (``critical``, ``second_person``, ``implementer``), people.csv.
    Remedy: have somebody watch over deletions and the like.
    """
    if change["critical"] == "no":
        return skip("not critical")
    if not_meant := _not_meant(change, as_of, period_days, kinds):
        return not_meant
    second, implementer = change["second_person"], change["implementer"]
    told = f"implemented by {implementer or 'nobody named'}, watched over by {second or 'nobody named'}"
    if not second or not implementer or is_one(people, second, implementer, as_of):
        return fail(told)
    unknown = not_known(people, second, as_of)
    return fail(f"{told}; {unknown}") if unknown else ok(told)
