"""Google groups and the domains of the customer: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Http, Personal, Record, Row, Token, Verdict, check, fail, ok, skip, source

PAGER = Token("nextPageToken", "pageToken")
GROUPS = "google-workspace:GET /admin/directory/v1/groups"


@source(
    "google-workspace.groups",
    key="id",
    per="connection",
    permissions=("https://www.googleapis.com/auth/admin.directory.group.readonly",),
    personal=(Personal(f"{GROUPS}/{{groupKey}}/members", "email", json="members[].email"),),
)
def groups(google: Http) -> Iterator[Row]:
    """Every group of the customer, and its direct members."""
    for group in google.pages(
        "/admin/directory/v1/groups",
        rows="groups", pager=PAGER, customer="my_customer", maxResults=200,
        fields="nextPageToken,groups(id,email,name,directMembersCount,adminCreated)",
    ):  # fmt: skip
        members = google.attempt_all(
            "/admin/directory/v1/groups/{groupKey}/members",
            rows="members", pager=PAGER, groupKey=group["id"], maxResults=200,
            fields="nextPageToken,members(id,email,role,type,status)",
        )  # fmt: skip
        yield {**group, "listMembers": members}


@source(
    "google-workspace.domains",
    key="domainName",
    per="connection",
    permissions=("https://www.googleapis.com/auth/admin.directory.domain.readonly",),
)
def domains(google: Http) -> Iterator[Row]:
    """Every domain of the customer, with its aliases."""
    yield from google.pages("/admin/directory/v1/customer/{customer}/domains", rows="domains", customer="my_customer")


@check(
    "google-workspace.groups.no-external-members",
    title="Google groups hold nobody from outside",
    severity="medium",
    over=("google-workspace.groups", "google-workspace.domains"),
)
def no_external_members(
    groups: Iterator[Record], domains: Iterator[Record], *, open_groups: tuple[str, ...] = ()
) -> Verdict:
    """No group but ``open_groups``, named by address, has a direct member outside the domains of the customer.

    Service accounts of Google Cloud have addresses outside too. Source: members.list (``email``, left out for
    "everybody in the domain", whose ``type`` is CUSTOMER), domains.list (``domainName``, ``domainAliases``, left out
    where there are none).
    Remedy: remove the member, or name the group as one that is meant for others, with an owner who reviews it.
    """
    own = set()
    for domain in domains:
        own |= {domain["domainName"].lower()}
        own |= {alias["domainAliasName"].lower() for alias in domain.get("domainAliases", [])}
    number, outside = 0, []
    known = {name.lower() for name in open_groups}
    for group in groups:
        number += 1
        if group["email"].lower() not in known:
            addresses = [member["email"] for member in group["listMembers"] if member["type"] != "CUSTOMER"]
            outside += [f"{one} in {group['email']}" for one in addresses if one.rpartition("@")[2].lower() not in own]
    if outside:
        return fail(f"{len(outside)} members from outside: {', '.join(sorted(outside)[:20])}")
    return ok(f"{number} groups have no member outside {len(own)} domains, groups declared open left aside")


@check(
    "google-workspace.groups.owned",
    title="Google groups have an owner",
    severity="low",
    each="google-workspace.groups",
)
def owned(group: Record) -> Verdict:
    """A group with members has one with the role OWNER.

    Source: members.list (``role``).
    Remedy: name an owner, who answers for who is in it.
    """
    if not group["listMembers"]:
        return skip("the group has no member")
    owners = sum(member["role"] == "OWNER" for member in group["listMembers"])
    return (
        ok(f"{owners} owners among {len(group['listMembers'])} members") if owners else fail("the group has no owner")
    )


@check(
    "google-workspace.groups.reconciled",
    title="The evidence agrees on the members of groups: list and count of each group",
    severity="high",
    over=("google-workspace.groups",),
    reconciles=("google-workspace.groups",),
)
def reconciled(groups: Iterator[Record]) -> Verdict:
    """The direct members listed of each group are as many as Google counts.

    Source: groups.list (``directMembersCount``), members.list.
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    number, differ = 0, []
    for group in groups:
        number += 1
        listed, counted = len(group["listMembers"]), int(group["directMembersCount"])
        if listed != counted:
            differ.append(f"{group['email']}: {listed} listed, {counted} counted")
    if differ:
        return fail(f"{len(differ)} of {number} groups differ, limit none: {'; '.join(sorted(differ)[:10])}")
    return ok(f"in all {number} groups as many members are listed as Google counts")
