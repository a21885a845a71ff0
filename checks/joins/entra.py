"""Microsoft Entra accounts held against the organisation's own registers."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import GapKind, Record, Table, Unavailable, Verdict, check, fail, skip
from collector.registers.matching import (
    PEOPLE,
    RULES,
    Owner,
    accounts,
    approved,
    every,
    long_gone,
    names_of,
    no_leaver,
    owned,
    owner,
    removal,
    switched_off,
    who_left,
)

ROLES = (
    "62e90394-69f5-4237-9190-012177145e10",  # Global Administrator
    "e8611ab8-c189-46e8-94e1-60213ab1f814",  # Privileged Role Administrator
    "7be44c8a-adaf-4e2a-84d6-ab2649e08a13",  # Privileged Authentication Administrator
    "194ae4cb-b126-40b2-bd5b-6091b380977d",  # Security Administrator
)
"""Roles that give rights to others, or loosen the protection of the tenant; their ids are the same in every tenant."""


def _owner(
    user: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    name = user["userPrincipalName"]
    return owner(people, identities, (scope, "entra"), name, (name, user["mail"]), as_of, rules)


def _other(user: Record, guest: bool) -> str:
    """Why an account is not asked about: it is off, or of the other kind. Old members have no type."""
    if not user["accountEnabled"]:
        return "the account is disabled"
    return "" if (user["userType"] == "Guest") is guest else f"user type is {user['userType'] or 'not set'}"


@check(
    "joins.entra.leavers",
    title="Nobody who left has a live Entra account",
    severity="critical",
    each="entra.users",
    beside=PEOPLE,
)
def leavers(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """The enabled account of a member belongs to nobody who left more than ``max_days`` before the day of collection.

    Source: List users (``accountEnabled``, ``userType``, ``userPrincipalName``, ``mail``); people.csv, identities.csv.
    Remedy: block sign-in and end the sessions; correct people.csv where the person is still here.
    """
    if other := _other(user, guest=False):
        return skip(other)
    held = f"the account {user['userPrincipalName']} is enabled"
    return no_leaver(_owner(user, people, identities, scope, as_of, rules), held, as_of, max_days)


@check(
    "joins.entra.leavers-guests",
    title="Nobody who left is still a guest in Entra",
    severity="high",
    each="entra.users",
    beside=PEOPLE,
)
def leavers_guests(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled guest is nobody who left more than ``max_days`` before the day of collection.

    Source: List users (``accountEnabled``, ``userType``, ``mail``); people.csv, identities.csv.
    Remedy: delete the guest.
    """
    if other := _other(user, guest=True):
        return skip(other)
    held = f"the guest {user['mail'] or user['userPrincipalName']} is enabled"
    return no_leaver(_owner(user, people, identities, scope, as_of, rules), held, as_of, max_days)


@check(
    "joins.entra.owned",
    title="Every live Entra account of a member belongs to a person of the register",
    severity="medium",
    each="entra.users",
    beside=PEOPLE,
)
def members_owned(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled member is matched with a person, or its name is one of ``service_accounts`` (with ``*``).

    Source: List users (``accountEnabled``, ``userType``, ``userPrincipalName``, ``mail``); people.csv, identities.csv.
    Remedy: block the account, or write its person into identities.csv.
    """
    if other := _other(user, guest=False):
        return skip(other)
    return owned(_owner(user, people, identities, scope, as_of, rules), user["userPrincipalName"], service_accounts)


@check(
    "joins.entra.guests-owned",
    title="Every Entra guest is known to the register of people",
    severity="low",
    each="entra.users",
    beside=PEOPLE,
)
def guests_owned(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    expected: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled guest is matched with a person, or the address is one of ``expected`` (``*@partner.example``).

    Source: List users (``accountEnabled``, ``userType``, ``mail``); people.csv, identities.csv.
    Remedy: delete the guest, or write the person into people.csv.
    """
    if other := _other(user, guest=True):
        return skip(other)
    found = _owner(user, people, identities, scope, as_of, rules)
    return owned(found, user["mail"] or user["userPrincipalName"], expected)


def _holders(assignment: Record, users: Table, groups: Table) -> Iterator[Record]:
    """The users behind an assignment: its holder, or the members of the group that holds it."""
    held = [assignment["principalId"]]
    for group in groups.where("id", assignment["principalId"]):
        held = [member["id"] for member in group["listMembers"]]
    for one in held:
        yield from users.where("id", one)


@check(
    "joins.entra.privileged-approved",
    title="Holders of Entra roles that rule the tenant were approved by somebody else",
    severity="high",
    each="entra.role-assignments",
    beside=("entra.users", "entra.groups", *PEOPLE, "register.access-requests"),
)
def privileged_approved(
    assignment: Record,
    users: Table,
    groups: Table,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    roles: tuple[str, ...] = ROLES,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Each user who holds one of ``roles`` now, alone or in a group, has a request approved by somebody else.

    The request is for privileged access to this system, was not refused and has not ended. Applications are skipped.
    Source: List roleAssignments (``principalId``, ``roleDefinitionId``), List groups (members), List users;
    access-requests.csv.
    Remedy: take the role away, or have it requested and approved.
    """
    if assignment["roleDefinitionId"] not in roles:
        return skip("a role that does not rule the tenant")

    def ask(user: Record) -> Verdict:
        found = _owner(user, people, identities, scope, as_of, rules)
        return approved(requests, people, found, user["userPrincipalName"], (scope, "entra"), as_of)

    return every(_holders(assignment, users, groups), ask)


@check(
    "joins.entra.leavers-devices",
    title="No managed device is still enrolled for somebody who left",
    severity="high",
    each="entra.devices",
    beside=PEOPLE,
)
def leavers_devices(
    device: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 7,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A device in Intune is enrolled for nobody who left more than ``max_days`` before the day of collection.

    Source: List managedDevices (``userPrincipalName``, empty for a shared device, ``serialNumber``); people.csv.
    Remedy: collect the device, or wipe it; then retire it in Intune.
    """
    name = device["userPrincipalName"]
    if not name:
        return skip("enrolled for nobody in particular")
    found = owner(people, identities, (scope, "entra"), name, (name,), as_of, rules)
    return no_leaver(found, f"the device {device['serialNumber']} is enrolled for {name}", as_of, max_days)


OFF, ON = "Disable account", "Enable account"


def _off_since(user: Record, events: Table) -> str:
    """Since when an account is disabled; empty where it is not.

    Raises:
        Unavailable: it is, and the log does not say since when.
    """
    if user["accountEnabled"]:
        return ""
    since = switched_off(
        (event["activityDateTime"], event["activityDisplayName"] == ON)
        for event in events
        if event["activityDisplayName"] in (OFF, ON)
        and event["result"] == "success"
        and any(target["id"] == user["id"] for target in event["targetResources"])
    )
    if not since:
        reason = f"{user['userPrincipalName']} is disabled, and the log does not reach back to when that was done"
        raise Unavailable(GapKind.UNPROVEN, reason)
    return since


@check(
    "joins.entra.removed-in-time",
    title="Entra accounts of leavers were disabled in time",
    severity="high",
    each="register.leavers",
    beside=("entra.users", "entra.directory-audits", *PEOPLE),
)
def removed_in_time(
    leaver: Record,
    users: Table,
    events: Table,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    max_days: int = 1,
    period_days: int = 28,
    systems: tuple[str, ...] = ("entra*",),
) -> Verdict:
    """Each account of who left within ``period_days`` was disabled at most ``max_days`` after the last day.

    An account is the leaver's by address, or by a row of identities.csv whose system is one of ``systems``. The time is
    that of the first event since which it is disabled; the log reaches back 30 days, so that daily runs cover a year.
    An account that was deleted is not seen. Source: List directoryAudits (``activityDisplayName`` Disable account,
    ``activityDateTime``, ``targetResources``), List users (``accountEnabled``); leavers.csv, people.csv.
    Remedy: have the feed of people disable accounts.
    """
    if early := long_gone(leaver, as_of, period_days):
        return skip(early)
    who = who_left(people, leaver)
    if who is None:
        return fail(f"{leaver['person']} left on {leaver['left']} and is not in people.csv")
    names = names_of(people, identities, who, systems, as_of)
    held = (
        (user["userPrincipalName"], "disabled" if (off := _off_since(user, events)) else "enabled", off)
        for user in accounts(users, names, ("userPrincipalName", "mail"))
    )
    return removal(leaver, held, as_of, max_days)
