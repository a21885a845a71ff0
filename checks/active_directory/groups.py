"""Privileged groups of an Active Directory domain: how their members are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import GapKind, Ldap, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source
from collector.directory import escaped

IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Matching rule: member, however deeply nested."""

OWN = {512: "Domain Admins", 518: "Schema Admins", 519: "Enterprise Admins", 525: "Protected Users"}
"""By relative identifier, since names are translated; the second and third stand in the first domain of a forest."""
BUILTIN = {
    544: "Administrators", 548: "Account Operators", 549: "Server Operators", 550: "Print Operators",
    551: "Backup Operators",
}  # fmt: skip

DISABLED = 0x2
NOT_DELEGATED = 0x100000


@source(
    "active-directory.privileged-groups",
    key="dn",
    per="connection",
    permissions=("read objectClass", "read objectSid", "read sAMAccountName", "read memberOf", "read primaryGroupID"),
    filters="groups that are in one of the groups Windows itself gives power to, however deep",
)
def privileged_groups(directory: Ldap) -> Iterator[Row]:
    """The built-in groups that rule a domain, and Protected Users, each with all its members.

    Members are found however deeply they are nested, and through their primary group as well, which is in no list of
    members. Groups of a customer's own that carry privileges are not among them.
    """
    domain = directory.entry(directory.base, attributes=("objectSid",))["objectSid"][0]
    sids = [*(f"{domain}-{rid}" for rid in OWN), *(f"S-1-5-32-{rid}" for rid in BUILTIN)]
    wanted = "".join(f"(objectSid={sid})" for sid in sids)
    groups = list(directory.entries(f"(|{wanted})", attributes=("objectSid", "sAMAccountName")))
    _members_are_shown(directory, groups)
    for group in groups:
        below = f"(memberOf:{IN_CHAIN}:={escaped(group['dn'])})"
        nested = list(directory.entries(f"(&(objectClass=group){below})", attributes=("objectSid",)))
        own = [sid for one in (group, *nested) for sid in one["objectSid"] if sid.startswith(f"{domain}-")]
        primary = "".join(f"(primaryGroupID={sid.rpartition('-')[2]})" for sid in own)
        yield {
            **group,
            "Members": directory.attempt_entries(
                f"(|{below}{primary})",
                attributes=("objectClass", "objectSid"),
                optional=("sAMAccountName",),
                witness={"sAMAccountName": "objectSid"},
            ),
        }


def _members_are_shown(directory: Ldap, groups: list[Row]) -> None:
    """Members are found by a search, which finds nobody where ``memberOf`` may not be read: so one must be found.

    Administrators always has a member, the account with the relative identifier 500 at least.

    Raises:
        Unavailable: nobody is found in it.
    """
    for group in groups:
        if group["objectSid"] == ["S-1-5-32-544"]:
            below = f"(memberOf:{IN_CHAIN}:={escaped(group['dn'])})"
            if not list(directory.entries(below, attributes=("objectSid",))):  # read to its end, as any list is
                reason = f"no member of {group['dn']} is found, and it has one always: memberOf may not be read"
                raise Unavailable(GapKind.DENIED, reason, "active-directory:search")


def _rid(group: Record) -> int:
    return int(group["objectSid"][0].rpartition("-")[2])


def _people(group: Record) -> dict[str, str]:
    """Its members that are no groups: security identifier to name."""
    return {
        member["objectSid"][0]: (member["sAMAccountName"] or [member["dn"]])[0]
        for member in group["Members"]
        if "group" not in member["objectClass"]
    }


def _rulers(groups: list[Record]) -> dict[str, str]:
    """Everybody in a group that rules the domain.

    Raises:
        Unavailable: Domain Admins or Administrators is not among the groups, or nobody is in any of them.
    """
    ruling = [group for group in groups if _rid(group) in (512, 518, 519, 544)]
    if not {512, 544} <= {_rid(group) for group in ruling}:
        raise Unavailable(GapKind.UNPROVEN, "Domain Admins or Administrators is not among the groups that were read")
    found = {sid: name for group in ruling for sid, name in _people(group).items()}
    if not found:
        raise Unavailable(GapKind.UNPROVEN, "nobody is found who rules the domain, and somebody always does")
    return found


def _named(names: list[str]) -> str:
    return ", ".join(sorted(names)[:20])


@check(
    "active-directory.privileged-groups.few-members",
    title="Few accounts rule the domain",
    severity="high",
    over=("active-directory.privileged-groups",),
)
def few_members(groups: Iterator[Record], *, max_members: int = 10) -> Verdict:
    """Domain Admins, Enterprise Admins, Schema Admins and Administrators have ``max_members`` accounts between them.

    Source: members by the in-chain rule and by primary group. Accounts count once, disabled ones too.
    Remedy: delegate narrower rights.
    """
    rulers = _rulers(list(groups))
    told = f"{len(rulers)} accounts, limit {max_members}: {_named(list(rulers.values()))}"
    return ok(told) if len(rulers) <= max_members else fail(told)


@check(
    "active-directory.privileged-groups.operators-empty",
    title="The operator groups of Active Directory are empty",
    severity="medium",
    each="active-directory.privileged-groups",
)
def operators_empty(group: Record, *, max_members: int = 0) -> Verdict:
    """Account, Server, Print and Backup Operators have at most ``max_members``: each has a way to rule the domain.

    Source: members by the in-chain rule. Other groups are skipped.
    Remedy: take the members out, and delegate what they need.
    """
    if _rid(group) not in (548, 549, 550, 551):
        return skip("not a group of operators")
    people = _people(group)
    told = f"{len(people)} members, limit {max_members}"
    return ok(told) if len(people) <= max_members else fail(f"{told}: {_named(list(people.values()))}")


@check(
    "active-directory.privileged-groups.accounts-enabled",
    title="No disabled account keeps the rule over the domain",
    severity="medium",
    over=("active-directory.privileged-groups", "active-directory.users"),
)
def accounts_enabled(groups: Iterator[Record], users: Iterator[Record]) -> Verdict:
    """No member of a group that rules the domain is disabled.

    Source: members by the in-chain rule; ``userAccountControl``.
    Remedy: take the account out of the groups when it is disabled.
    """
    rulers = _rulers(list(groups))
    off = [
        rulers[user["objectSid"][0]]
        for user in _of(users, rulers)
        if int(user["userAccountControl"][0]) & DISABLED
    ]
    if off:
        return fail(f"{len(off)} of {len(rulers)} are disabled, limit none: {_named(off)}")
    return ok(f"none of {len(rulers)} accounts is disabled")


@check(
    "active-directory.privileged-groups.no-service-names",
    title="No account that rules the domain runs a service",
    severity="high",
    over=("active-directory.privileged-groups", "active-directory.users"),
)
def no_service_names(groups: Iterator[Record], users: Iterator[Record]) -> Verdict:
    """No enabled user in a group that rules the domain has a service principal name.

    Anybody in the domain may ask for a ticket to such a name, and guess the password from it at leisure.
    Source: members by the in-chain rule; ``servicePrincipalName``.
    Remedy: run the service as a managed service account without these rights.
    """
    rulers = _rulers(list(groups))
    served = [
        rulers[user["objectSid"][0]]
        for user in _of(users, rulers)
        if user["servicePrincipalName"] and not int(user["userAccountControl"][0]) & DISABLED
    ]
    if served:
        return fail(f"{len(served)} of {len(rulers)} have one, limit none: {_named(served)}")
    return ok(f"none of {len(rulers)} accounts has a service principal name")


@check(
    "active-directory.privileged-groups.not-delegated",
    title="No service can act as an account that rules the domain",
    severity="high",
    over=("active-directory.privileged-groups", "active-directory.users"),
)
def not_delegated(groups: Iterator[Record], users: Iterator[Record]) -> Verdict:
    """Every enabled user in a group that rules the domain is in Protected Users, or marked as not to be delegated.

    Source: members by the in-chain rule; ``userAccountControl`` (NOT_DELEGATED, 0x100000).
    Remedy: put the account into Protected Users, or mark it as sensitive.
    """
    held = list(groups)
    rulers = _rulers(held)
    protected = {sid for group in held if _rid(group) == 525 for sid in _people(group)}
    open_ = [
        rulers[user["objectSid"][0]]
        for user in _of(users, rulers)
        if user["objectSid"][0] not in protected and not int(user["userAccountControl"][0]) & (DISABLED | NOT_DELEGATED)
    ]
    if open_:
        return fail(f"{len(open_)} of {len(rulers)} can be delegated, limit none: {_named(open_)}")
    return ok(f"none of {len(rulers)} accounts can be delegated")


@check(
    "active-directory.privileged-groups.protected",
    title="Accounts that rule the domain are in Protected Users",
    severity="medium",
    over=("active-directory.privileged-groups", "active-directory.users"),
)
def protected(
    groups: Iterator[Record], users: Iterator[Record], *, exempt: tuple[str, ...] = ("500",)
) -> Verdict:
    """Every enabled user in a group that rules the domain is in Protected Users.

    ``exempt`` are relative identifiers or names left out: 500 is the built-in Administrator, kept for emergencies.
    Source: members by the in-chain rule.
    Remedy: put the account into Protected Users.
    """
    held = list(groups)
    rulers = _rulers(held)
    kept = {sid for group in held if _rid(group) == 525 for sid in _people(group)}
    asked, outside = 0, []
    for user in _of(users, rulers):
        sid = user["objectSid"][0]
        if int(user["userAccountControl"][0]) & DISABLED or {sid.rpartition("-")[2], rulers[sid]} & set(exempt):
            continue
        asked += 1
        if sid not in kept:
            outside.append(rulers[sid])
    if outside:
        return fail(f"{len(outside)} of {asked} are not, limit none: {_named(outside)}")
    return ok(f"all {asked} are") if asked else skip("no enabled account but those exempt rules the domain")


def _of(users: Iterator[Record], rulers: dict[str, str]) -> list[Record]:
    """The users among those who rule.

    Raises:
        Unavailable: somebody who rules is not in the list of users: a computer, somebody of another domain, or hidden.
    """
    found = [user for user in users if user["objectSid"][0] in rulers]
    if missing := rulers.keys() - {user["objectSid"][0] for user in found}:
        names = _named([rulers[sid] for sid in missing])
        raise Unavailable(GapKind.UNPROVEN, f"{names} rules the domain and is not in the list of its users")
    return found
