"""Which person an account belongs to, by rules that are declared and shown with every answer. Pure.

Rules, in the order they are tried: ``declared`` (a row of identities.csv names the system and the account) and
``address`` (an address of the account is the address of a person in people.csv; letters' case is ignored). A system is
named by its connection or by its kind: ``github-acme`` or ``github``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import NamedTuple

from collector.api import Verdict, fail, instant, ok, skip
from collector.model import Outcome, Record, Table
from collector.registers.facts import before_period, days_after, is_past, moment, not_working, person

PEOPLE = ("register.people", "register.identities")
"""What stands beside an account to say whose it is."""

RULES = ("declared", "address")
"""All rules; a check takes those it is told, as a limit an auditor sees in each finding."""


AND = "; and "
"""Between the parts of a reason that speaks of several accounts."""


class Owner(NamedTuple):
    """Whom an account belongs to."""

    person: Record | None
    how: str
    """The rule that found the person, or why none was found."""


def owner(
    people: Table,
    identities: Table,
    system: tuple[str, str],
    account: str,
    addresses: Iterable[str | None] = (),
    rules: Sequence[str] = RULES,
) -> Owner:
    """The person an account belongs to, and how that is known.

    Args:
        people: register.people.
        identities: register.identities.
        system: where the account was read (``connection[/account][/region]``), and the kind of connection.
        account: what the system calls it.
        addresses: addresses the account has; ``None`` and empty ones are passed over.
        rules: those to be tried.
    """
    if "declared" in rules:
        names = _called(system)
        for row in identities.where("account", account):
            if row["system"].casefold() in names:
                found = person(people, row["person"])
                return Owner(found, "declared in identities.csv" if found else f"{row['person']} is not in people.csv")
    if "address" in rules:
        for address in addresses:
            if address and (matched := people.where("email", address)):
                if len(matched) > 1:
                    return Owner(None, f"{len(matched)} people share the address {address}")
                return Owner(matched[0], "by address")
    return Owner(None, "no row of identities.csv and no address names a person")


def no_leaver(found: Owner, held: str, as_of: datetime, max_days: int) -> Verdict:
    """Whether a live account is that of somebody who left more than ``max_days`` ago; ``held`` says what it can do."""
    who = found.person
    if who is None:
        return skip(f"nobody to ask the register about: {found.how}")
    told = f"person {who['id']} ({found.how})"
    gone = bool(who["end"]) and is_past(who["end"], as_of)
    if not gone and who["status"] != "left":
        return ok(f"{told} has the status {who['status']}")
    if not gone:
        return fail(f"{told} left, people.csv does not say when; {held}")
    days = (as_of - moment(who["end"])).days
    told += f" left on {who['end']}, {days} days ago, limit {max_days}; {held}"
    return fail(told) if days > max_days else ok(told)


def owned(found: Owner, account: str, service_accounts: Sequence[str]) -> Verdict:
    """Whether an account belongs to a person of the register, or is declared as one of a service."""
    pattern = next((one for one in service_accounts if fnmatchcase(account.casefold(), one.casefold())), "")
    if pattern:
        return skip(f"{account} is declared as the account of a service ({pattern})")
    if found.person is None:
        return fail(f"{account} belongs to nobody in the register: {found.how}")
    return ok(f"{account} belongs to person {found.person['id']} ({found.how})")


def approved(requests: Table, found: Owner, account: str, system: tuple[str, str], as_of: datetime) -> Verdict:
    """Whether somebody else approved a request for privileged access for this account or its person, still in force."""
    names = _called(system)
    who = {account.casefold(), *_names(found.person)}
    seen = []
    for request in requests:
        if request["account"]:  # a request that names one account approves no other of the same person
            meant = request["account"].casefold() == account.casefold()
        else:
            meant = str(request["person"] or "").casefold() in who
        if request["privileged"] != "yes" or request["system"].casefold() not in names or not meant:
            continue
        if not request["approved"] or request["refused"]:
            seen.append(f"{request['id']} was not approved")
        elif not request["approver"] or str(request["approver"]).casefold() in who:
            seen.append(f"{request['id']} was approved by nobody else")
        elif request["expires"] and is_past(request["expires"], as_of):
            seen.append(f"{request['id']} ended on {request['expires'][:10]}")
        else:
            return ok(f"{account}: request {request['id']} was approved by {request['approver']}")
    return fail(f"{account}: no approved request for privileged access in force; " + (", ".join(seen) or "none at all"))


def declared(identities: Table, who: Record, systems: Sequence[str]) -> set[str]:
    """Accounts that identities.csv gives a person in systems of these names (with ``*``)."""
    return {
        row["account"]
        for name in sorted(_names(who))
        for row in identities.where("person", name)
        if any(fnmatchcase(row["system"].casefold(), pattern.casefold()) for pattern in systems)
    }


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


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """One answer for several accounts behind one record: what fails, else what passes, else why nothing was asked."""
    told = list(verdicts)
    for outcome in (Outcome.FAIL, Outcome.PASS):
        if found := [verdict.reason for verdict in told if verdict.outcome is outcome]:
            return Verdict(outcome, AND.join(found))
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
    """Whether a row of assets.csv stands for something by its id or name (with ``*``), and its owner works here."""
    wanted, unowned = [name.casefold() for name in names], []
    for asset in assets:
        patterns = {str(asset[column]).casefold() for column in ("id", "name")}
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


def _names(who: Record | None) -> set[str]:
    return set() if who is None else {who["id"].casefold(), str(who["email"] or "").casefold()} - {""}
