"""Access rights: requests, reviews, and exceptions from rules."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, is_one, is_past, moment, not_known, not_yet


@source(
    "register.access-requests", key="id", per="connection", permissions=("read access-requests.csv",), kind="period"
)
def access_requests(registers: Registers) -> Iterator[Row]:
    """Every request in access-requests.csv, refused and open ones included."""
    yield from registers.table("access-requests")


@source("register.access-reviews", key="id", per="connection", permissions=("read access-reviews.csv",), kind="period")
def access_reviews(registers: Registers) -> Iterator[Row]:
    """Every review of access rights in access-reviews.csv, those not held included."""
    yield from registers.table("access-reviews")


@source("register.exceptions", key="id", per="connection", permissions=("read exceptions.csv",), kind="period")
def exceptions(registers: Registers) -> Iterator[Row]:
    """Every exception from a rule in exceptions.csv, closed ones included."""
    yield from registers.table("exceptions")


def _not_meant(request: Record, as_of: datetime, period_days: int) -> Verdict | None:
    """Why a request is not judged: nothing was granted, or long ago."""
    if not request["granted"]:
        return skip("nothing was granted")
    early = before_period(request["granted"], as_of, period_days)
    return skip(early) if early else None


@check(
    "register.access-requests.approved-before",
    title="Access was approved before it was granted",
    severity="high",
    each="register.access-requests",
)
def approved_before(request: Record, *, as_of: datetime, period_days: int = 366) -> Verdict:
    """A right that was granted within ``period_days`` was approved no later than that, and not refused.

    An approval that is dated ahead of the collection is none.

    Source: access-requests.csv (``approved``, ``granted``, ``refused``). Rights without a request are not seen here.
    Remedy: hold the grant until the approval is there.
    """
    if not_meant := _not_meant(request, as_of, period_days):
        return not_meant
    if request["refused"]:
        return fail(f"refused at {request['refused']}, and granted at {request['granted']}")
    approved = request["approved"]
    if not approved:
        return fail(f"granted at {request['granted']}, never approved")
    if ahead := not_yet(approved, as_of):
        return fail(f"approval {ahead}")
    told = f"approved at {approved}, granted at {request['granted']}"
    return ok(told) if moment(approved) <= moment(request["granted"]) else fail(told)


@check(
    "register.access-requests.approved-by-another",
    title="Nobody approved access for themselves, or granted what they approved",
    severity="high",
    each="register.access-requests",
    beside=("register.people",),
)
def approved_by_another(
    request: Record, people: Table, *, as_of: datetime, period_days: int = 366, granter_may_approve: bool = False
) -> Verdict:
    """The approver is not the person the right is for and, unless ``granter_may_approve``, not who granted it.

    Who is not in people.csv is nobody known, and so not known to be somebody else.
    Source: access-requests.csv (``person``, ``approver``, ``approved``, ``granter``), of those granted within
    ``period_days``; people.csv.
    Remedy: have another approve.
    """
    if not_meant := _not_meant(request, as_of, period_days):
        return not_meant
    approver = request["approver"]
    if not approver:
        return fail("no approver is named")
    if ahead := not_yet(request["approved"], as_of):
        return fail(f"approval {ahead}")
    if is_one(people, approver, request["person"], as_of):
        return fail(f"{approver} approved access for themselves")
    if not granter_may_approve and not request["granter"]:
        return fail(f"approved by {approver}, and nobody is named who granted it")
    if not granter_may_approve and is_one(people, approver, request["granter"], as_of):
        return fail(f"{approver} approved and granted it")
    if unknown := not_known(people, approver, as_of):
        return fail(f"approved by nobody known: {unknown}")
    return ok(f"for {request['person']}, approved by {approver}, granted by {request['granter'] or 'nobody named'}")


@check(
    "register.access-requests.privileged-end",
    title="Privileged access is granted for a time",
    severity="medium",
    each="register.access-requests",
)
def privileged_end(request: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 366) -> Verdict:
    """A privileged right that was granted within ``period_days`` ends at most ``max_days`` after that.

    Source: access-requests.csv (``privileged``, ``granted``, ``expires``).
    Remedy: grant it for a time, and renew it.
    """
    if request["privileged"] == "no":
        return skip("not a privileged right")
    if not_meant := _not_meant(request, as_of, period_days):
        return not_meant
    ends = request["expires"]
    if not ends:
        return fail("it has no end")
    days = days_after(request["granted"], ends)
    told = f"granted for {days} days, limit {max_days}"
    return ok(told) if days <= max_days else fail(told)


@check(
    "register.access-reviews.held-in-time",
    title="Access rights were reviewed when it was due",
    severity="high",
    each="register.access-reviews",
)
def held_in_time(review: Record, *, as_of: datetime, period_days: int = 366, grace_days: int = 14) -> Verdict:
    """A review that was due within ``period_days`` was completed at most ``grace_days`` later, by somebody named.

    Source: access-reviews.csv (``due``, ``held``, ``reviewer``).
    Remedy: hold it.
    """
    if early := before_period(review["due"], as_of, period_days):
        return skip(early)
    held = review["held"]
    if ahead := not_yet(held, as_of):
        return fail(ahead)
    late = days_after(review["due"], held or as_of.date().isoformat())
    if not held and late <= grace_days:
        return skip(f"due on {review['due']}, and the {grace_days} days after it are not over")
    if held and not review["reviewer"]:
        return fail(f"held on {held} by nobody named")
    told = f"due on {review['due']}, " + (f"held on {held}" if held else f"not held for {late} days")
    return ok(f"{told} by {review['reviewer']}") if held and late <= grace_days else fail(f"{told}, limit {grace_days}")


@check(
    "register.access-reviews.privileged-interval",
    title="Privileged rights are reviewed often",
    severity="high",
    over=("register.access-reviews",),
)
def privileged_interval(reviews: Iterator[Record], *, as_of: datetime, max_interval_days: int = 100) -> Verdict:
    """Of each system, the last review of privileged rights was held within ``max_interval_days``.

    Systems that are not in access-reviews.csv are not seen.
    Source: access-reviews.csv (``system``, ``privileged``, ``held``).
    Remedy: review those that are named.
    """
    last: dict[str, str] = {}
    for review in reviews:
        if review["privileged"] == "yes":
            held = "" if not_yet(review["held"], as_of) else review["held"] or ""
            last[review["system"]] = max(last.get(review["system"], ""), held)
    if not last:
        return skip("no review of privileged rights is planned or was held")
    today = as_of.date().isoformat()
    late = sorted(
        f"{system} ({day or 'never'})"
        for system, day in last.items()
        if not day or days_after(day, today) > max_interval_days
    )
    if late:
        return fail(
            f"{len(late)} of {len(last)} systems not reviewed for {max_interval_days} days: {', '.join(late[:10])}"
        )
    return ok(f"all {len(last)} systems were reviewed within {max_interval_days} days")


@check(
    "register.access-reviews.acted-upon",
    title="What reviews decided was carried out in time",
    severity="high",
    each="register.access-reviews",
)
def acted_upon(review: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 5) -> Verdict:
    """Where a review decided to take rights away, the last was taken away at most ``max_days`` later.

    Source: access-reviews.csv (``revoked``, ``held``, ``revocations_done``), of those held within ``period_days``.
    Remedy: take them away.
    """
    if not review["held"]:
        return skip("it was not held")
    if early := before_period(review["held"], as_of, period_days):
        return skip(early)
    if review["revoked"] is None or review["reviewed"] is None:
        return fail("how many rights were decided on, and how many taken away, is not recorded")
    if int(review["revoked"]) == 0:
        return skip(f"none of {review['reviewed']} rights was to be taken away")
    done = review["revocations_done"]
    if ahead := not_yet(done, as_of):
        return fail(ahead)
    days = days_after(review["held"], done or as_of.date().isoformat())
    if not done and days <= max_days:
        return skip(f"held {days} days ago, and the {max_days} days for it are not over")
    told = f"{review['revoked']} of {review['reviewed']} rights "
    told += f"taken away {days} days later" if done else f"not taken away for {days} days"
    return ok(f"{told}, limit {max_days}") if done and days <= max_days else fail(f"{told}, limit {max_days}")


@check(
    "register.exceptions.approved-by-another",
    title="Exceptions from rules were approved by somebody else",
    severity="high",
    each="register.exceptions",
    beside=("register.people",),
)
def exception_approved(exception: Record, people: Table, *, as_of: datetime, max_pending_days: int = 30) -> Verdict:
    """An open exception was approved by another than its owner; one that waits waits ``max_pending_days`` at most.

    The approver is in people.csv, and the approval not dated ahead of the collection.
    Source: exceptions.csv (``owner``, ``approver``, ``approved``, ``requested``); people.csv.
    Remedy: decide on it.
    """
    if exception["closed"]:
        return skip(f"closed on {exception['closed']}")
    approver, day = exception["approver"], exception["approved"]
    if not day:
        waits = days_after(exception["requested"], as_of.date().isoformat())
        told = f"asked for {waits} days ago and not approved, limit {max_pending_days}"
        return skip(told) if waits <= max_pending_days else fail(told)
    if ahead := not_yet(day, as_of):
        return fail(f"approval {ahead}")
    if not approver or is_one(people, approver, exception["owner"], as_of):
        return fail(f"approved by {approver or 'nobody named'}, owner {exception['owner']}")
    if unknown := not_known(people, approver, as_of):
        return fail(f"approved by nobody known: {unknown}")
    return ok(f"approved by {approver} on {day}")


@check(
    "register.exceptions.end",
    title="Exceptions from rules end, and none is used after its end",
    severity="high",
    each="register.exceptions",
)
def exception_ends(exception: Record, *, as_of: datetime, max_days: int = 366) -> Verdict:
    """An exception that was approved and is open ends at most ``max_days`` after that, and its end has not passed.

    Source: exceptions.csv (``approved``, ``expires``, ``closed``).
    Remedy: close it, or decide on it again.
    """
    if exception["closed"]:
        return skip(f"closed on {exception['closed']}")
    if not exception["approved"]:
        return skip("it is not approved")
    ends = exception["expires"]
    if not ends:
        return fail("it has no end")
    if is_past(ends, as_of):
        return fail(f"it ended on {ends} and is not closed")
    days = days_after(exception["approved"], ends)
    told = f"ends on {ends}, {days} days after its approval, limit {max_days}"
    return ok(told) if days <= max_days else fail(told)
