"""Members of a GitLab group held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, approved, no_leaver, owned, owner

BOTS = ("project_*_bot*", "group_*_bot*")
"""Names GitLab gives to the users of project and group tokens."""
OWNER = 50
"""Access level of owners."""


@check(
    "joins.gitlab.leavers",
    title="Nobody who left is a member of the GitLab group",
    severity="critical",
    each="gitlab.members",
    beside=PEOPLE,
)
def leavers(
    member: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An active member belongs to nobody who left more than ``max_days`` before the day of collection.

    GitLab's list shows no address, so a member is matched by a row of identities.csv.
    Source: List all members of a group (``username``, ``state``, ``access_level``); people.csv, identities.csv.
    Remedy: remove the member from the group.
    """
    if member["state"] != "active":
        return skip(f"the account is {member['state']}")
    name = member["username"]
    held = f"{name} is a member of the group, access level {member['access_level']}"
    return no_leaver(owner(people, identities, (scope, "gitlab"), name, (), as_of, rules), held, as_of, max_days)


@check(
    "joins.gitlab.owned",
    title="Every GitLab member is a person of the register",
    severity="medium",
    each="gitlab.members",
    beside=PEOPLE,
)
def members_owned(
    member: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = BOTS,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An active member is declared to be a person, or its name is one of ``service_accounts`` (with ``*``).

    Source: List all members of a group (``username``, ``state``); people.csv, identities.csv.
    Remedy: remove the member, or write the person into identities.csv.
    """
    if member["state"] != "active":
        return skip(f"the account is {member['state']}")
    name = member["username"]
    return owned(owner(people, identities, (scope, "gitlab"), name, (), as_of, rules), name, service_accounts)


@check(
    "joins.gitlab.privileged-approved",
    title="Owners of the GitLab group were approved by somebody else",
    severity="high",
    each="gitlab.members",
    beside=(*PEOPLE, "register.access-requests"),
)
def owners_approved(
    member: Record,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An owner has a request for privileged access, approved by somebody else, not refused and not ended.

    Source: List all members of a group (``access_level``, 50 for an owner); access-requests.csv.
    Remedy: give a lower role, or have the role requested and approved.
    """
    if member["access_level"] != OWNER:
        return skip("is no owner")
    name = member["username"]
    found = owner(people, identities, (scope, "gitlab"), name, (), as_of, rules)
    return approved(requests, people, found, name, (scope, "gitlab"), as_of)
