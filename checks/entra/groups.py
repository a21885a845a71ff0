"""Microsoft Entra groups: how they are read, and what we require of them."""

from collections.abc import Iterator
from typing import Any

from collector.api import Field, Http, Record, Row, Verdict, check, fail, ok, skip, source

FIELDS = "id,displayName,groupTypes,isAssignableToRole,mailEnabled,securityEnabled,visibility,onPremisesSyncEnabled"
MEMBERS: dict[str, Any] = {"$select": "id", "$top": 999}


@source("entra.groups", key="id", per="connection", permissions=("GroupMember.Read.All",))
def groups(entra: Http) -> Iterator[Row]:
    """Every group of the tenant with its owners (up to 20), and the members of those that can be given roles.

    A group that can be given roles holds no further groups.
    """
    for group in entra.pages(
        "/v1.0/groups",
        rows="value",
        pager=Field("@odata.nextLink"),
        **{"$select": FIELDS, "$expand": "owners($select=id)", "$top": 999},
    ):
        if group["isAssignableToRole"]:
            group["listMembers"] = entra.attempt_all(
                "/v1.0/groups/{id}/members",
                rows="value",
                pager=Field("@odata.nextLink"),
                id=group["id"],
                **MEMBERS,
            )
        yield group


@check(
    "entra.groups.owned",
    title="Entra groups that people are put into by hand have an owner",
    severity="low",
    each="entra.groups",
)
def owned(group: Record, *, min_owners: int = 1) -> Verdict:
    """A group with assigned members that is managed in the cloud has at least ``min_owners`` owners.

    Source: List groups (``owners``, ``groupTypes``, ``mailEnabled``, ``onPremisesSyncEnabled``,
    ``isAssignableToRole``). Groups by rule or from the premises are ruled elsewhere; those that can be given roles are
    ruled by administrators. Of distribution and mail-enabled security groups Exchange keeps the owners, and Graph does
    not show them.
    Remedy: name owners, who then answer for its members.
    """
    if group["onPremisesSyncEnabled"]:
        return skip("the group is managed on the premises")
    if "DynamicMembership" in group["groupTypes"]:
        return skip("its members follow a rule")
    if group["isAssignableToRole"]:
        return skip("administrators of roles rule its members")
    if group["mailEnabled"] and "Unified" not in group["groupTypes"]:
        return skip("a group of Exchange, whose owners Graph does not show")
    told = f"{group['displayName']} has {len(group['owners'])} owners, at least {min_owners} wanted"
    return ok(told) if len(group["owners"]) >= min_owners else fail(told)


@check(
    "entra.groups.not-public",
    title="Nobody can join an Entra group that opens access by himself",
    severity="medium",
    each="entra.groups",
)
def not_public(group: Record) -> Verdict:
    """A group that is used for access (``securityEnabled``) and managed in the cloud is not open to everybody.

    Source: List groups (``visibility``, ``securityEnabled``, ``groupTypes``). Only Microsoft 365 groups have a
    visibility that lets people join. Remedy: set the privacy of the group to Private.
    """
    if not group["securityEnabled"]:
        return skip("not used for access")
    if "Unified" not in group["groupTypes"]:
        return skip("no Microsoft 365 group: members are put in by others")
    told = f"{group['displayName']} is {group['visibility'] or 'of no visibility told'}"
    return fail(told) if group["visibility"] not in ("Private", "HiddenMembership") else ok(told)
