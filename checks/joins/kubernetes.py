"""People who rule a Kubernetes cluster held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, Owner, approved, every, no_leaver, owned, owner

ROLES = ("cluster-admin",)


def _users(binding: Record, roles: tuple[str, ...]) -> list[str]:
    """Users whom a binding gives one of the roles; subjects are left out of a binding that has none."""
    if binding["roleRef"]["name"] not in roles:
        return []
    return [subject["name"] for subject in binding.get("subjects") or () if subject["kind"] == "User"]


def _owner(name: str, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]) -> Owner:
    """The person; what stands before the last ``:`` or ``#`` is a prefix that a cluster puts before names."""
    bare = name.replace("#", ":").rpartition(":")[2]
    return owner(people, identities, (scope, "kubernetes"), name, (name, bare), as_of, rules)


@check(
    "joins.kubernetes.leavers",
    title="Nobody who left rules the Kubernetes cluster",
    severity="critical",
    each="kubernetes.cluster-role-bindings",
    beside=PEOPLE,
)
def leavers(
    binding: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    roles: tuple[str, ...] = ROLES,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """No user bound to one of ``roles`` left more than ``max_days`` before the day of collection.

    Groups and certificates are not seen from here: who is in a group, the identity provider knows.
    Source: ClusterRoleBinding (``subjects``, ``roleRef``); people.csv, identities.csv.
    Remedy: take the subject out of the binding.
    """
    users = _users(binding, roles)
    if not users:
        return skip("gives no user such a role")
    role = binding["roleRef"]["name"]

    def ask(name: str) -> Verdict:
        found = _owner(name, people, identities, scope, as_of, rules)
        return no_leaver(found, f"{name} is bound to {role}", as_of, max_days)

    return every(users, ask)


@check(
    "joins.kubernetes.owned",
    title="Every user who rules the Kubernetes cluster is a person of the register",
    severity="high",
    each="kubernetes.cluster-role-bindings",
    beside=PEOPLE,
)
def users_owned(
    binding: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    roles: tuple[str, ...] = ROLES,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Each user bound to one of ``roles`` is matched with a person, or is one of ``service_accounts`` (with ``*``).

    Source: ClusterRoleBinding (``subjects``, ``roleRef``); people.csv, identities.csv.
    Remedy: take the subject out of the binding, or write the person into identities.csv.
    """
    users = _users(binding, roles)
    if not users:
        return skip("gives no user such a role")

    def ask(name: str) -> Verdict:
        return owned(_owner(name, people, identities, scope, as_of, rules), name, service_accounts)

    return every(users, ask)


@check(
    "joins.kubernetes.privileged-approved",
    title="Users who rule the Kubernetes cluster were approved by somebody else",
    severity="high",
    each="kubernetes.cluster-role-bindings",
    beside=(*PEOPLE, "register.access-requests"),
)
def privileged_approved(
    binding: Record,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    roles: tuple[str, ...] = ROLES,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Each user bound to one of ``roles`` has a request for privileged access approved by somebody else, in force.

    Source: ClusterRoleBinding (``subjects``, ``roleRef``); access-requests.csv.
    Remedy: take the subject out of the binding, or have the access requested and approved.
    """
    users = _users(binding, roles)
    if not users:
        return skip("gives no user such a role")

    def ask(name: str) -> Verdict:
        found = _owner(name, people, identities, scope, as_of, rules)
        return approved(requests, people, found, name, (scope, "kubernetes"), as_of)

    return every(users, ask)
