"""Keycloak users held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, Owner, no_leaver, owned, owner


def _owner(
    user: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    name = user["username"]
    addresses = (name, user.get("email"))  # left out where the user has none
    return owner(people, identities, (scope, "keycloak"), name, addresses, as_of, rules)


def _not_meant(user: Record, realms: tuple[str, ...]) -> str:
    """Why an account is not asked about."""
    if realms and user["Realm"] not in realms:
        return f"the realm {user['Realm']} is none of {', '.join(realms)}"
    return "" if user["enabled"] else "the account is disabled"


@check(
    "joins.keycloak.leavers",
    title="Nobody who left has a live Keycloak account",
    severity="critical",
    each="keycloak.users",
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
    """An enabled user of any realm is nobody who left more than ``max_days`` before the day of collection.

    Source: Get users (``enabled``, ``username``, ``email``), Get credentials (``type``); people.csv, identities.csv.
    Remedy: disable the user and sign all sessions out.
    """
    if other := _not_meant(user, ()):
        return skip(other)
    kinds = ", ".join(sorted({credential["type"] for credential in user["getCredentials"]})) or "no credential here"
    held = f"the account {user['username']} in the realm {user['Realm']} is enabled with {kinds}"
    return no_leaver(_owner(user, people, identities, scope, as_of, rules), held, as_of, max_days)


@check(
    "joins.keycloak.owned",
    title="Every live Keycloak account of the organisation belongs to a person of the register",
    severity="medium",
    each="keycloak.users",
    beside=PEOPLE,
)
def accounts_owned(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    realms: tuple[str, ...] = (),
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled user is matched with a person, or its name is one of ``service_accounts`` (with ``*``).

    Realms of customers hold nobody of the organisation: ``realms`` names those meant; empty means all.
    Source: Get users (``enabled``, ``username``, ``email``); people.csv, identities.csv.
    Remedy: disable the user, or write its person into identities.csv.
    """
    if other := _not_meant(user, realms):
        return skip(other)
    return owned(_owner(user, people, identities, scope, as_of, rules), user["username"], service_accounts)
