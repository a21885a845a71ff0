"""Members of a GitHub organisation held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, approved, no_leaver, owned, owner


@check(
    "joins.github.leavers",
    title="Nobody who left is a member of the GitHub organisation",
    severity="critical",
    each="github.members",
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
    """A member belongs to nobody who left more than ``max_days`` before the day of collection.

    GitHub shows no address of work, so a member is matched by a row of identities.csv.
    Source: List organization members (``login``, ``role``); people.csv, identities.csv.
    Remedy: remove the member from the organisation.
    """
    login = member["login"]
    held = f"{login} is {'an owner' if member['Role'] == 'admin' else 'a member'} of the organisation"
    return no_leaver(owner(people, identities, (scope, "github"), login, (), as_of, rules), held, as_of, max_days)


@check(
    "joins.github.leavers-outside",
    title="Nobody who left still works on a repository from outside",
    severity="high",
    each="github.outside-collaborators",
    beside=PEOPLE,
)
def leavers_outside(
    collaborator: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An outside collaborator is nobody who left more than ``max_days`` before the day of collection.

    Source: List outside collaborators (``login``); people.csv, identities.csv.
    Remedy: remove the collaborator from the repositories.
    """
    login = collaborator["login"]
    held = f"{login} is an outside collaborator"
    return no_leaver(owner(people, identities, (scope, "github"), login, (), as_of, rules), held, as_of, max_days)


@check(
    "joins.github.owned",
    title="Every GitHub member is a person of the register",
    severity="medium",
    each="github.members",
    beside=PEOPLE,
)
def members_owned(
    member: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A member is declared in identities.csv to be a person, or its login is one of ``service_accounts`` (with ``*``).

    Source: List organization members (``login``); people.csv, identities.csv.
    Remedy: remove the member, or write the person into identities.csv.
    """
    login = member["login"]
    return owned(owner(people, identities, (scope, "github"), login, (), as_of, rules), login, service_accounts)


@check(
    "joins.github.privileged-approved",
    title="Owners of the GitHub organisation were approved by somebody else",
    severity="high",
    each="github.members",
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

    Source: List organization members (``role``); access-requests.csv.
    Remedy: make the owner a member, or have the role requested and approved.
    """
    if member["Role"] != "admin":
        return skip("is no owner")
    login = member["login"]
    found = owner(people, identities, (scope, "github"), login, (), as_of, rules)
    return approved(requests, people, found, login, (scope, "github"), as_of)
