"""People: who works for the organisation, who came and who left, and what was done about it."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import (
    before_period,
    days_after,
    is_one,
    is_past,
    moment,
    named,
    not_working,
    not_yet,
    works,
)


@source("register.people", key="id", per="connection", permissions=("read people.csv",))
def people(registers: Registers) -> Iterator[Row]:
    """Everybody in people.csv, those who left included: statuses and dates only."""
    yield from registers.table("people")


@source("register.identities", key="Key", per="connection", permissions=("read identities.csv",))
def identities(registers: Registers) -> Iterator[Row]:
    """Every account in identities.csv that is declared to belong to a person."""
    yield from registers.table("identities")


@source("register.joiners", key="Key", per="connection", permissions=("read joiners.csv",), kind="period")
def joiners(registers: Registers) -> Iterator[Row]:
    """Everybody in joiners.csv, with the days on which the duties of starting were done."""
    yield from registers.table("joiners")


@source("register.leavers", key="Key", per="connection", permissions=("read leavers.csv",), kind="period")
def leavers(registers: Registers) -> Iterator[Row]:
    """Everybody in leavers.csv, with the days on which the duties of leaving were done."""
    yield from registers.table("leavers")


@source("register.roles", key="role", per="connection", permissions=("read roles.csv",))
def roles(registers: Registers) -> Iterator[Row]:
    """Every role in roles.csv, with its holder and deputy."""
    yield from registers.table("roles")


@check(
    "register.people.consistent",
    title="The list of people agrees with itself",
    severity="medium",
    each="register.people",
)
def consistent(one: Record, *, as_of: datetime) -> Verdict:
    """Who left has a last day that has passed, who works here has started, and nobody ends before the start.

    Source: people.csv (``status``, ``start``, ``end``).
    Remedy: correct the row in the system that people.csv comes from.
    """
    status, end = one["status"], one["end"]
    if end and end < one["start"]:
        return fail(f"ends on {end}, before the start on {one['start']}")
    if status == "left":
        return (
            ok(f"left on {end}")
            if end and is_past(end, as_of)
            else fail(f"left, and the last day is {end or 'not named'}")
        )
    if end and is_past(end, as_of):
        return fail(f"status {status}, and the last day was {end}")
    if status != "planned" and moment(one["start"]) > as_of:
        return fail(f"status {status}, and the first day is {one['start']}")
    return ok(f"status {status} since {one['start']}")


@check(
    "register.people.addresses-distinct",
    title="No two people who work here share an address",
    severity="medium",
    over=("register.people",),
)
def addresses_distinct(people: Iterator[Record], *, as_of: datetime) -> Verdict:
    """Everybody who works here has an address of their own, or none: accounts by it could not be told apart.

    The address of somebody who left may be given again. Apart from the other rules for people.csv, since this alone
    cannot be asked where addresses are left out. Source: people.csv (``email``, ``status``, ``end``).
    Remedy: give each person an address of their own, and shared ones to nobody.
    """
    here = [one for one in people if works(one, as_of)]
    if len(here) < 2:
        return skip("fewer than two people work here")
    told: dict[str, list[str]] = {}
    for one in here:
        if one["email"]:
            told.setdefault(one["email"].casefold(), []).append(one["id"])
    shared = [f"{address} by {' and '.join(sorted(ids))}" for address, ids in sorted(told.items()) if len(ids) > 1]
    if shared:
        return fail(f"{len(shared)} addresses are shared: {', '.join(shared[:10])}")
    return ok(f"{len(told)} addresses of {len(here)} people, none of which is shared")


def _done_by(done: str | None, start: str, as_of: datetime, days: int, what: str) -> Verdict:
    """A duty was done at most ``days`` after a day."""
    if not done:
        return fail(f"{what}: no day is recorded")
    if ahead := not_yet(done, as_of):
        return fail(f"{what}: {ahead}")
    late = days_after(start, done)
    told = f"{what} on {done}, {late} days after {start}, limit {days}"
    return ok(told) if late <= days else fail(told)


@check(
    "register.joiners.screened",
    title="People were screened before they started",
    severity="high",
    each="register.joiners",
)
def screened(joiner: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 0) -> Verdict:
    """Whose role asks for screening was screened at most ``max_days`` after the first day; 0 means before or on it.

    Source: joiners.csv (``screening_needed``, ``screened``), of those who started within ``period_days``.
    Remedy: complete the screening first; keep no result of it here.
    """
    if early := before_period(joiner["started"], as_of, period_days):
        return skip(early)
    if joiner["screening_needed"] == "no":
        return skip("the role asks for no screening")
    return _done_by(joiner["screened"], joiner["started"], as_of, max_days, "screened")


@check(
    "register.joiners.terms-signed",
    title="People signed the terms of employment before they started",
    severity="medium",
    each="register.joiners",
)
def terms_signed(joiner: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 0) -> Verdict:
    """The terms, which name the duties for information security, were signed at most ``max_days`` after the first day.

    Source: joiners.csv (``terms_signed``), of those who started within ``period_days``.
    Remedy: have the terms signed before the first day.
    """
    if early := before_period(joiner["started"], as_of, period_days):
        return skip(early)
    return _done_by(joiner["terms_signed"], joiner["started"], as_of, max_days, "signed")


@check(
    "register.joiners.confidentiality-signed",
    title="People signed a confidentiality agreement before they started",
    severity="medium",
    each="register.joiners",
)
def confidentiality_signed(joiner: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 0) -> Verdict:
    """A confidentiality agreement was signed at most ``max_days`` after the first day.

    Source: joiners.csv (``confidentiality_signed``), of those who started within ``period_days``.
    Remedy: have it signed before access is given.
    """
    if early := before_period(joiner["started"], as_of, period_days):
        return skip(early)
    return _done_by(joiner["confidentiality_signed"], joiner["started"], as_of, max_days, "signed")


@check(
    "register.joiners.complete",
    title="The list of joiners holds everybody who started",
    severity="high",
    over=("register.joiners", "register.people"),
    reconciles=("register.joiners",),
)
def joiners_complete(
    joiners: Iterator[Record], people: Iterator[Record], *, as_of: datetime, period_days: int = 366
) -> Verdict:
    """Everybody in people.csv who started within ``period_days`` stands in joiners.csv with the same day.

    Source: people.csv (``start``), joiners.csv (``started``).
    Remedy: add those who are named; nothing is concluded from joiners.csv until then.
    """
    staff = Table(list(people))
    listed = {(who["id"], one["started"]) for one in joiners for who in named(staff, one["person"])}
    started = [
        (one["id"], one["start"]) for one in staff
        if moment(one["start"]) <= as_of and not before_period(one["start"], as_of, period_days)
    ]  # fmt: skip
    if not started:
        return skip(f"nobody started within {period_days} days")
    missing = [f"{who} ({day})" for who, day in started if (who, day) not in listed]
    if missing:
        return fail(f"{len(missing)} of {len(started)} who started are not listed: {', '.join(missing[:10])}")
    return ok(f"all {len(started)} who started within {period_days} days are listed")


@check(
    "register.leavers.complete",
    title="The list of leavers holds everybody who left",
    severity="high",
    over=("register.leavers", "register.people"),
    reconciles=("register.leavers",),
)
def leavers_complete(
    leavers: Iterator[Record], people: Iterator[Record], *, as_of: datetime, period_days: int = 366
) -> Verdict:
    """Everybody in people.csv whose last day passed within ``period_days`` stands in leavers.csv with the same day.

    Source: people.csv (``end``), leavers.csv (``left``).
    Remedy: add those who are named; nothing is concluded from leavers.csv until then.
    """
    staff = Table(list(people))
    listed = {(who["id"], one["left"]) for one in leavers for who in named(staff, one["person"])}
    left = [
        (one["id"], one["end"]) for one in staff
        if one["end"] and is_past(one["end"], as_of) and not before_period(one["end"], as_of, period_days)
    ]  # fmt: skip
    if not left:
        return skip(f"nobody left within {period_days} days")
    missing = [f"{who} ({day})" for who, day in left if (who, day) not in listed]
    if missing:
        return fail(f"{len(missing)} of {len(left)} who left are not listed: {', '.join(missing[:10])}")
    return ok(f"all {len(left)} who left within {period_days} days are listed")


def _left(leaver: Record, as_of: datetime, period_days: int, max_days: int, done: str | None) -> Verdict | None:
    """Why a leaver is not judged: the last day is long ago, still to come, or the time for the duty runs."""
    if early := before_period(leaver["left"], as_of, period_days):
        return skip(early)
    if not done and days_after(leaver["left"], as_of.date().isoformat()) <= max_days:
        return skip(f"left on {leaver['left']}, and the {max_days} days for it are not over")
    return None


@check(
    "register.leavers.access-removed",
    title="The access of leavers was removed in time",
    severity="high",
    each="register.leavers",
)
def access_removed(leaver: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 1) -> Verdict:
    """The last account of a leaver was switched off at most ``max_days`` after the last day.

    Source: leavers.csv (``access_removed``), of those who left within ``period_days``.
    Remedy: switch off accounts on the last day.
    """
    early = _left(leaver, as_of, period_days, max_days, leaver["access_removed"])
    return early or _done_by(leaver["access_removed"], leaver["left"], as_of, max_days, "access removed")


@check(
    "register.leavers.assets-returned",
    title="Leavers returned what they held in time",
    severity="medium",
    each="register.leavers",
)
def assets_returned(leaver: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 7) -> Verdict:
    """All assets of a leaver were back or wiped at most ``max_days`` after the last day.

    Source: leavers.csv (``has_assets``, ``assets_returned``), of those who left within ``period_days``.
    Remedy: collect them, or wipe what cannot be collected.
    """
    if leaver["has_assets"] == "no":
        return skip("held no assets")
    early = _left(leaver, as_of, period_days, max_days, leaver["assets_returned"])
    return early or _done_by(leaver["assets_returned"], leaver["left"], as_of, max_days, "assets returned")


@check(
    "register.leavers.badge-returned",
    title="Badges and keys of leavers were back or blocked in time",
    severity="medium",
    each="register.leavers",
)
def badge_returned(leaver: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 1) -> Verdict:
    """The badge or key of a leaver was back or blocked at most ``max_days`` after the last day.

    Source: leavers.csv (``has_badge``, ``badge_returned``), of those who left within ``period_days``.
    Remedy: block badges on the last day.
    """
    if leaver["has_badge"] == "no":
        return skip("held no badge")
    early = _left(leaver, as_of, period_days, max_days, leaver["badge_returned"])
    return early or _done_by(leaver["badge_returned"], leaver["left"], as_of, max_days, "badge returned")


@check(
    "register.leavers.duties-reminded",
    title="Leavers were told which duties go on",
    severity="low",
    each="register.leavers",
)
def duties_reminded(leaver: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 0) -> Verdict:
    """A leaver was told which duties outlast the employment at most ``max_days`` after the last day.

    Source: leavers.csv (``duties_reminded``), of those who left within ``period_days``.
    Remedy: tell leavers in the last conversation, and record the day.
    """
    early = _left(leaver, as_of, period_days, max_days, leaver["duties_reminded"])
    return early or _done_by(leaver["duties_reminded"], leaver["left"], as_of, max_days, "told")


@check(
    "register.roles.held",
    title="Roles of information security are held by people who belong to the organisation",
    severity="high",
    each="register.roles",
    beside=("register.people",),
)
def held(role: Record, people: Table, *, as_of: datetime) -> Verdict:
    """The holder of a role is in people.csv and works for the organisation today.

    Source: roles.csv (``holder``), people.csv (``status``, ``end``).
    Remedy: appoint somebody.
    """
    wrong = not_working(people, role["holder"], as_of)
    return fail(f"not held: {wrong}") if wrong else ok(f"held by {role['holder']}")


@check(
    "register.roles.accepted",
    title="Holders of roles accepted them",
    severity="medium",
    each="register.roles",
)
def accepted(role: Record, *, as_of: datetime, max_days: int = 30) -> Verdict:
    """The holder accepted the role at most ``max_days`` after the appointment.

    Source: roles.csv (``appointed``, ``accepted``). Vacant roles are the matter of another check.
    Remedy: have the holder accept the role, and record the day.
    """
    if not role["holder"]:
        return skip("it is vacant")
    if not role["appointed"]:
        return fail("no day of appointment is recorded")
    if not role["accepted"] and days_after(role["appointed"], as_of.date().isoformat()) <= max_days:
        return skip(f"appointed on {role['appointed']}, and the {max_days} days for it are not over")
    return _done_by(role["accepted"], role["appointed"], as_of, max_days, "accepted")


@check(
    "register.roles.deputies",
    title="Roles for incidents have a deputy who belongs to the organisation",
    severity="medium",
    each="register.roles",
    beside=("register.people",),
)
def deputies(
    role: Record, people: Table, *, as_of: datetime, kinds: tuple[str, ...] = ("incident", "continuity")
) -> Verdict:
    """A role of one of ``kinds`` has a deputy who is in people.csv, works here today and is not the holder.

    Source: roles.csv (``kind``, ``deputy``), people.csv.
    Remedy: appoint a deputy.
    """
    if role["kind"] not in kinds:
        return skip(f"a role for {role['kind']}")
    wrong = not_working(people, role["deputy"], as_of)
    if wrong:
        return fail(f"no deputy: {wrong}")
    if is_one(people, role["deputy"], role["holder"], as_of):
        return fail("the holder is the deputy too")
    return ok(f"deputy {role['deputy']}")
