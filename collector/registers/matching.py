"""Which person an account belongs to, by rules that are declared and shown with every answer. Pure.

Rules, in the order they are tried: ``declared`` (a row of identities.csv names the system and the account) and
``address`` (an address of the account is the address of a person in people.csv; letters' case is ignored). A system is
named by its connection or by its kind: ``github-acme`` or ``github``. Where rows name several people for one account,
no order of rows decides: it is nobody's until they agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeVar

from collector.api import Verdict, fail, instant, ok, skip
from collector.model import GapKind, Outcome, Record, Table, Unavailable
from collector.registers.facts import (
    addressed,
    before_period,
    days_after,
    is_one,
    is_past,
    meant,
    moment,
    named,
    not_known,
    not_working,
    not_yet,
    person,
    shared,
)

PEOPLE = ("register.people", "register.identities")
"""What stands beside an account to say whose it is."""

Account = TypeVar("Account")

RULES = ("declared", "address")
"""All rules; a check takes those it is told, as a limit an auditor sees in each finding."""


ANYTHING = re.compile(r"(?:\[!?\]?[^\]]*\]|[*?\s])*")
"""A pattern that names no thing."""

AND = "; and "
"""Between the parts of a reason that speaks of several accounts."""


class Owner(NamedTuple):
    """Whom an account belongs to."""

    person: Record | None
    how: str
    """The rule that found the person, or why none was found."""
    disputed: bool = False
    """Rows name several people, and it cannot be told which of them it is."""


def owner(
    people: Table,
    identities: Table,
    system: tuple[str, str],
    account: str,
    addresses: Iterable[str | None],
    as_of: datetime,
    rules: Sequence[str] = RULES,
) -> Owner:
    """The person an account belongs to, and how that is known.

    Args:
        people: register.people.
        identities: register.identities.
        system: where the account was read (``connection[/account][/region]``), and the kind of connection.
        account: what the system calls it.
        addresses: addresses the account has; ``None`` and empty ones are passed over.
        as_of: the day on which one of those who share an address works here.
        rules: those to be tried.
    """
    if "declared" in rules:
        names = _called(system)
        claims = {row["person"] for row in identities.where("account", account) if row["system"].casefold() in names}
        if claims:
            return _declared(people, claims, as_of)
    if "address" in rules:
        for address in addresses:
            if address and (found := addressed(people, address, as_of)):
                return _only(address, found, "by address")
    return Owner(None, "no row of identities.csv and no address names a person")


def _declared(people: Table, claims: Iterable[str], as_of: datetime) -> Owner:
    """Whom the rows of identities.csv for one account name."""
    spelt = {who.casefold(): who for who in sorted(claims)}
    found = {who: meant(people, who, as_of) for who in spelt.values()}
    claimants = sorted({one["id"] for several in found.values() for one in several})
    claimants += sorted(who for who, several in found.items() if not several)
    if len(found) > 1 and len(claimants) > 1:
        return Owner(None, f"claimed by {' and '.join(claimants)} in identities.csv", disputed=True)
    who, several = next(iter(found.items()))
    return _only(who, several, "declared in identities.csv") if several else Owner(None, f"{who} is not in people.csv")


def _only(who: str, found: Sequence[Record], how: str) -> Owner:
    return Owner(found[0], how) if len(found) == 1 else Owner(None, shared(who, found), disputed=True)


def certain(found: Owner) -> Record | None:
    """The person an account belongs to, where it belongs to one.

    Raises:
        Unavailable: several people are named, so that nobody can tell whose it is.
    """
    if found.disputed:
        raise Unavailable(GapKind.UNPROVEN, f"whose it is cannot be told: {found.how}")
    return found.person


def no_leaver(found: Owner, held: str, as_of: datetime, max_days: int) -> Verdict:
    """Whether a live account is that of somebody who left more than ``max_days`` ago; ``held`` says what it can do."""
    who = certain(found)
    if who is None:
        return skip(f"nobody to ask the register about: {found.how}")
    told = f"person {who['id']} ({found.how})"
    if who["end"] and is_past(who["end"], as_of):
        days = (as_of - moment(who["end"])).days
        told += f" left on {who['end']}, {days} days ago, limit {max_days}; {held}"
        return fail(told) if days > max_days else ok(told)
    if who["status"] != "left":
        return ok(f"{told} has the status {who['status']}")
    when = f" by its status, though its end {who['end']} is still to come" if who["end"] else ""
    return fail(f"{told} left{when or ', people.csv does not say when'}; {held}")


def owned(found: Owner, account: str, service_accounts: Sequence[str]) -> Verdict:
    """Whether an account belongs to a person of the register, or is declared as one of a service."""
    pattern = next((one for one in service_accounts if fnmatchcase(account.casefold(), one.casefold())), "")
    if pattern:
        return skip(f"{account} is declared as the account of a service ({pattern})")
    if found.disputed:
        return fail(f"whose {account} is cannot be told: {found.how}")
    if found.person is None:
        return fail(f"{account} belongs to nobody in the register: {found.how}")
    return ok(f"{account} belongs to person {found.person['id']} ({found.how})")


def approved(
    requests: Table, people: Table, found: Owner, account: str, system: tuple[str, str], as_of: datetime
) -> Verdict:
    """Whether somebody else approved a request for privileged access for this account or its person, still in force.

    Raises:
        Unavailable: no request will do, and of one it cannot be told whom it is for, or who approved it.
    """
    names, who = _called(system), certain(found)
    seen, unclear = [], None
    for request in requests:
        if request["privileged"] != "yes" or request["system"].casefold() not in names:
            continue
        try:
            if not _asks_for(request, people, who, account, as_of):
                continue
            if lacking := _lacks(request, people, who, account, as_of):
                seen.append(f"{request['id']} {lacking}")
            else:
                return ok(f"{account}: request {request['id']} was approved by {request['approver']}")
        except Unavailable as error:
            unclear = unclear or error
    if unclear:
        raise unclear
    return fail(f"{account}: no approved request for privileged access in force; " + (", ".join(seen) or "none at all"))


def _asks_for(request: Record, people: Table, who: Record | None, account: str, as_of: datetime) -> bool:
    """Whether a request is for an account; one that names an account is for no other of the same person."""
    if request["account"]:
        return bool(request["account"].casefold() == account.casefold())
    if str(request["person"]).casefold() == account.casefold():
        return True
    if who is None or who["id"] not in {one["id"] for one in meant(people, request["person"], as_of)}:
        return False
    return person(people, request["person"], as_of) is not None


def _lacks(request: Record, people: Table, who: Record | None, account: str, as_of: datetime) -> str:
    """What a request lacks; empty where a person of the register, who is somebody else, approved it and it runs."""
    approver = request["approver"]
    if not request["approved"] or request["refused"]:
        return "was not approved"
    if ahead := not_yet(request["approved"], as_of):
        return f"has an approval {ahead}"
    own = (request["person"], *([who["id"]] if who else ()))
    if not approver or approver.casefold() == account.casefold():
        return "was approved by nobody else"
    if any(is_one(people, approver, one, as_of) for one in own):
        return "was approved by nobody else"
    if unknown := not_known(people, approver, as_of):
        return f"was approved by nobody known: {unknown}"
    if request["expires"] and is_past(request["expires"], as_of):
        return f"ended on {request['expires'][:10]}"
    return ""


def who_left(people: Table, leaver: Record) -> Record | None:
    """The person a row of leavers.csv names; of several with one address the one whose last day it tells.

    Raises:
        Unavailable: that is none or several of them.
    """
    found = named(people, leaver["person"])
    if len(found) > 1 and len(last := [one for one in found if one["end"] == leaver["left"]]) == 1:
        return last[0]
    if len(found) > 1:
        raise Unavailable(GapKind.UNPROVEN, shared(leaver["person"], found))
    return found[0] if found else None


def names_of(people: Table, identities: Table, who: Record, systems: Sequence[str], as_of: datetime) -> set[str]:
    """What a person's accounts may be called: the address, and what identities.csv says in systems of these names.

    An address that is somebody else's today is left out. Systems are named with ``*``.

    Raises:
        Unavailable: several people are named for the address or for an account.
    """
    patterns = [pattern.casefold() for pattern in systems]

    def there(rows: list[Record]) -> list[Record]:
        return [row for row in rows if any(fnmatchcase(row["system"].casefold(), pattern) for pattern in patterns)]

    address = [who["email"]] if who["email"] and is_one(people, who["id"], who["email"], as_of) else []
    rows = there([row for name in (who["id"], *address) for row in identities.where("person", name)])
    for account in sorted({row["account"].casefold() for row in rows}):
        claims = {row["person"] for row in there(identities.where("account", account))}
        certain(_declared(people, claims, as_of))
    return {*address, *(row["account"] for row in rows)}


def accounts(users: Table, names: Iterable[str], fields: Sequence[str]) -> list[Record]:
    """The accounts that have one of these names in one of the fields, each once."""
    found = {user["id"]: user for name in sorted(names) if name for path in fields for user in users.where(path, name)}
    return [found[key] for key in sorted(found)]


def long_gone(leaver: Record, as_of: datetime, period_days: int) -> str:
    """Why the removal of access is not asked about: the last day is long ago, or not over; empty when it is."""
    if early := before_period(leaver["left"], as_of, period_days):
        return early
    return "" if is_past(leaver["left"], as_of) else f"the last day is {leaver['left']}"


def switched_off(events: Iterable[tuple[str, bool]]) -> str:
    """Since when an account is off, by the times at which it was switched off (or, where True, on); empty: it is on."""
    since = ""
    for at, on in sorted(events):
        since = "" if on else since or at
    return since


def removal(leaver: Record, held: Iterable[tuple[str, str, str]], as_of: datetime, max_days: int) -> Verdict:
    """Whether each account of a leaver, as name, status and since when it is off, was switched off in time."""
    left, told, late, waiting = leaver["left"], [], False, False
    for name, status, off in held:
        days = ((instant(off) if off else as_of) - moment(left)).days
        told.append(f"{name} " + (f"{status} since {off[:10]}" if off else f"still {status} after {days} days"))
        late, waiting = late or days > max_days, waiting or not off
    if not told:
        return skip(f"left on {left}, and has no account here")
    reason = f"left on {left}: {', '.join(sorted(told))}, limit {max_days} days"
    return fail(reason) if late else skip(f"{reason}, which are not over") if waiting else ok(reason)


def every(accounts: Iterable[Account], ask: Callable[[Account], Verdict]) -> Verdict:
    """One answer for several accounts behind one record: what fails, else what passes, else why nothing was asked.

    Raises:
        Unavailable: none fails, and of one nothing can be told.
    """
    told, unclear = [], None
    for account in accounts:
        try:
            told.append(ask(account))
        except Unavailable as error:
            unclear = unclear or error
    failed = [verdict.reason for verdict in told if verdict.outcome is Outcome.FAIL]
    if failed:
        return fail(AND.join(failed))
    if unclear:
        raise unclear
    if passed := [verdict.reason for verdict in told if verdict.outcome is Outcome.PASS]:
        return ok(AND.join(passed))
    return skip(AND.join(verdict.reason for verdict in told) or "no account is behind it")


def reviewed(
    reviews: Table, system: tuple[str, str], as_of: datetime, max_days: int, max_privileged_days: int
) -> Verdict:
    """Whether the access to a system was reviewed of late, and its privileged rights more often."""
    last = {"yes": "", "no": ""}
    for name in sorted(_called(system)):
        for review in reviews.where("system", name):
            if review["held"] and review["reviewer"] and moment(review["held"]) <= as_of:
                last[review["privileged"]] = max(last[review["privileged"]], review["held"])
    today, told, late = as_of.date().isoformat(), [], False
    for privileged, what, limit in (
        ("no", "access", max_days),
        ("yes", "privileged access", max_privileged_days),
    ):
        day = last[privileged]
        age = days_after(day, today) if day else 0
        told.append(f"{what} was reviewed " + (f"{age} days ago" if day else "never") + f", limit {limit}")
        late = late or not day or age > limit
    return fail("; ".join(told)) if late else ok("; ".join(told))


def inventoried(assets: Table, people: Table, names: Sequence[str], as_of: datetime) -> Verdict:
    """Whether a row of assets.csv stands for something by its id or name (with ``*``), and its owner works here.

    A pattern without a letter or digit of its own would stand for everything, and stands for nothing.
    """
    wanted, unowned = [name.casefold() for name in names], []
    for asset in assets:
        patterns = {str(asset[column]).casefold() for column in ("id", "name") if not ANYTHING.fullmatch(asset[column])}
        if asset["disposed"] or not any(fnmatchcase(name, pattern) for name in wanted for pattern in patterns):
            continue
        if wrong := not_working(people, asset["owner"], as_of):
            unowned.append(f"asset {asset['id']} has no owner: {wrong}")
        else:
            return ok(f"asset {asset['id']}, owned by {asset['owner']}")
    return fail("; ".join(unowned) or f"no row of assets.csv stands for {' or '.join(names)}")


def _called(system: tuple[str, str]) -> set[str]:
    """What registers may call a system: its connection, or its kind."""
    return {system[0].partition("/")[0].casefold(), system[1].casefold()}
