"""Google Workspace accounts held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, Owner, approved, no_leaver, owned, owner

KIND = "google-workspace"


def _owner(
    user: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    name = user["primaryEmail"]
    addresses = (name, *user.get("aliases", ()))  # left out where there are none
    return owner(people, identities, (scope, KIND), name, addresses, as_of, rules)


def _off(user: Record) -> str:
    """Why nobody can sign in; empty where somebody can."""
    return "suspended" if user["suspended"] else "archived" if user["archived"] else ""


@check(
    "joins.google-workspace.leavers",
    title="Nobody who left has a live Google Workspace account",
    severity="critical",
    each="google-workspace.users",
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
    """An account neither suspended nor archived belongs to nobody who left more than ``max_days`` before the day.

    Source: users.list (``primaryEmail``, ``aliases``, ``suspended``, ``archived``); people.csv, identities.csv.
    Remedy: suspend the account; correct people.csv where the person is still here.
    """
    if off := _off(user):
        return skip(f"the account is {off}")
    factor = "with" if user["isEnrolledIn2Sv"] else "without"
    held = f"the account {user['primaryEmail']} is live, {factor} a second step"
    return no_leaver(_owner(user, people, identities, scope, as_of, rules), held, as_of, max_days)


@check(
    "joins.google-workspace.owned",
    title="Every live Google Workspace account belongs to a person of the register",
    severity="medium",
    each="google-workspace.users",
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
    """An account neither suspended nor archived is matched with a person, or is one of ``service_accounts``.

    Source: users.list (``primaryEmail``, ``aliases``, ``suspended``, ``archived``); people.csv, identities.csv.
    Remedy: suspend the account, or write its person into identities.csv.
    """
    if off := _off(user):
        return skip(f"the account is {off}")
    return owned(_owner(user, people, identities, scope, as_of, rules), user["primaryEmail"], service_accounts)


@check(
    "joins.google-workspace.privileged-approved",
    title="Google Workspace administrators were approved by somebody else",
    severity="high",
    each="google-workspace.users",
    beside=(*PEOPLE, "register.access-requests"),
)
def privileged_approved(
    user: Record,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A live account with an administrator role has a request for privileged access approved by somebody else.

    Source: users.list (``isAdmin``, ``isDelegatedAdmin``); access-requests.csv.
    Remedy: take the role away, or have it requested and approved.
    """
    if off := _off(user):
        return skip(f"the account is {off}")
    if not user["isAdmin"] and not user["isDelegatedAdmin"]:
        return skip("no administrator role")
    found = _owner(user, people, identities, scope, as_of, rules)
    return approved(requests, people, found, user["primaryEmail"], (scope, KIND), as_of)
