"""Okta accounts held against the organisation's own registers."""

from datetime import datetime

from collector.api import GapKind, Record, Table, Unavailable, Verdict, check, fail, skip
from collector.registers.matching import (
    PEOPLE,
    RULES,
    Owner,
    accounts,
    approved,
    long_gone,
    names_of,
    no_leaver,
    owned,
    owner,
    removal,
    switched_off,
    who_left,
)

SIGN_IN = ("ACTIVE", "LOCKED_OUT", "PASSWORD_EXPIRED", "RECOVERY")
"""Statuses of accounts that are in use, or will be again when the lock or the password is renewed."""


def _owner(
    profile: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    login = profile["login"]
    return owner(people, identities, (scope, "okta"), login, (login, profile["email"]), as_of, rules)


@check(
    "joins.okta.leavers",
    title="Nobody who left has a live Okta account",
    severity="critical",
    each="okta.users",
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
    """An account that can sign in belongs to nobody who left more than ``max_days`` before the day of collection.

    An account is matched with a person by ``rules``: a row of identities.csv, or the login or e-mail address.
    Source: List users (``status``), List factors; people.csv (``status``, ``end``), identities.csv.
    Remedy: deactivate the account; correct people.csv where the person is still here.
    """
    if user["status"] not in SIGN_IN:
        return skip(f"status is {user['status']}")
    profile = user["profile"]
    found = _owner(profile, people, identities, scope, as_of, rules)
    factors = sorted({factor["factorType"] for factor in user["listFactors"] if factor["status"] == "ACTIVE"})
    held = f"the account {profile['login']} is {user['status']} with {', '.join(factors) or 'no factor'}"
    return no_leaver(found, held, as_of, max_days)


@check(
    "joins.okta.owned",
    title="Every live Okta account belongs to a person of the register",
    severity="medium",
    each="okta.users",
    beside=PEOPLE,
)
def accounts_owned(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An account that can sign in is matched with a person, or its login is one of ``service_accounts`` (with ``*``).

    Source: List users (``status``, ``profile``); people.csv, identities.csv.
    Remedy: deactivate the account, or write its person into identities.csv.
    """
    if user["status"] not in SIGN_IN:
        return skip(f"status is {user['status']}")
    profile = user["profile"]
    found = _owner(profile, people, identities, scope, as_of, rules)
    return owned(found, profile["login"], service_accounts)


@check(
    "joins.okta.privileged-approved",
    title="Okta administrators were approved by somebody else",
    severity="high",
    each="okta.administrators",
    beside=("okta.users", *PEOPLE, "register.access-requests"),
)
def privileged_approved(
    admin: Record,
    users: Table,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A user with an active administrator role has a request for privileged access, approved by somebody else.

    The request names the account or its person, and the system; it was not refused and has not ended.
    Source: List users with role assignments, List roles of a user, List users; access-requests.csv.
    Remedy: take the role away, or have it requested and approved.
    """
    roles = sorted({role["type"] for role in admin["listAssignedRolesForUser"] if role["status"] == "ACTIVE"})
    if not roles:
        return skip("no active administrator role")
    account = next(iter(users.where("id", admin["id"])), None)
    if account is None:
        raise Unavailable(GapKind.UNPROVEN, f"user {admin['id']}, who administers, is in no list of users")
    found = _owner(account["profile"], people, identities, scope, as_of, rules)
    return approved(requests, people, found, account["profile"]["login"], (scope, "okta"), as_of)


OFF = ("user.lifecycle.deactivate", "user.lifecycle.suspend")
ON = ("user.lifecycle.activate", "user.lifecycle.reactivate", "user.lifecycle.unsuspend")
"""Events after which an account cannot, or can, sign in."""


def _off_since(events: Table, account: str) -> str:
    """Since when an account cannot sign in by the log; empty where it can, or the log does not tell."""
    return switched_off(
        (event["published"], event["eventType"] in ON)
        for event in events
        if event["eventType"] in (*OFF, *ON)
        and event["outcome"]["result"] == "SUCCESS"
        and any(target["type"] == "User" and target["id"] == account for target in event["target"] or ())
    )


@check(
    "joins.okta.removed-in-time",
    title="Okta accounts of leavers were switched off in time",
    severity="high",
    each="register.leavers",
    beside=("okta.users", "okta.system-log", *PEOPLE),
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
    period_days: int = 90,
    systems: tuple[str, ...] = ("okta*",),
) -> Verdict:
    """Each account of who left within ``period_days`` was switched off at most ``max_days`` after the last day.

    An account is the leaver's by address, or by a row of identities.csv whose system is one of ``systems``. The time is
    that of the first event since which it cannot sign in; the log reaches back 90 days, before that ``statusChanged``
    tells. An account that was deleted is not seen. Source: System Log (``eventType`` user.lifecycle.*, ``published``),
    List users (``status``, ``statusChanged``); leavers.csv, people.csv, identities.csv.
    Remedy: have the feed of people switch accounts off.
    """
    if early := long_gone(leaver, as_of, period_days):
        return skip(early)
    who = who_left(people, leaver)
    if who is None:
        return fail(f"{leaver['person']} left on {leaver['left']} and is not in people.csv")
    names = names_of(people, identities, who, systems, as_of)
    held = (
        (
            user["profile"]["login"],
            user["status"],
            "" if user["status"] in SIGN_IN else _off_since(events, user["id"]) or user["statusChanged"],
        )
        for user in accounts(users, names, ("profile/login", "profile/email"))
    )
    return removal(leaver, held, as_of, max_days)
