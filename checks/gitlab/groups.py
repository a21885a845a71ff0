"""GitLab groups: their settings, their members, and which of them are read at all."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    GapKind,
    Http,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    source,
)

MOST = 10
"""Names that a reason lists at most."""

REDACTED = Redaction(
    "gitlab:GET *",
    "credentials, and people beyond id and username",
    regex=r'"(?:avatar_url|email|public_email|runners_token|extern_uid|service_desk_address)"'
    r'\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
)
NAMES = tuple(
    Redaction(f"gitlab:GET /api/v4/groups/{{id}}/{path}", "people are told apart by id and username", json="[].name")
    for path in ("members/all", "billable_members")
)
OWNER = 50
"""Access level of owners."""


@source("gitlab.group", key="full_path", per="account", permissions=("read_api",), redactions=(REDACTED,))
def group(gitlab: Http) -> Iterator[Row]:
    """One record: the top-level group and its settings."""
    yield gitlab.get("/api/v4/groups/{id}", id=gitlab.account, with_projects=False)


@source(
    "gitlab.groups", key="full_path", per="connection", permissions=("read_api",), redactions=(REDACTED,),
    filters="groups in which the credential has at least the role Guest",
)  # fmt: skip
def groups(gitlab: Http) -> Iterator[Row]:
    """Every top-level group the owner of the token is a member of."""
    yield from gitlab.pages(
        "/api/v4/groups", top_level_only=True, min_access_level=10, order_by="id", sort="asc", per_page=100
    )


@source("gitlab.members", key="id", per="account", permissions=("read_api",), redactions=(REDACTED, *NAMES))
def members(gitlab: Http) -> Iterator[Row]:
    """Every member of the top-level group, invited groups included; members of a subgroup or project alone are not."""
    yield from gitlab.pages("/api/v4/groups/{id}/members/all", id=gitlab.account, per_page=100)


@source("gitlab.billable-members", key="id", per="account", permissions=("read_api",), redactions=(REDACTED, *NAMES))
def billable_members(gitlab: Http) -> Iterator[Row]:
    """Everybody who takes a seat in the group, its subgroups and projects; paid plans only, told to owners only."""
    yield from gitlab.pages("/api/v4/groups/{id}/billable_members", id=gitlab.account, per_page=100)


def _shown(row: Record, name: str) -> object:
    """A setting of the group, which GitLab leaves out for who may not see it, or where the plan has it not."""
    value = row.get(name)
    if value is None:
        raise Unavailable(GapKind.DENIED, f"GitLab does not show {name} to the caller")
    return value


@check(
    "gitlab.group.two-factor-required",
    title="The GitLab group requires two-factor authentication",
    severity="critical",
    each="gitlab.group",
)
def two_factor_required(group: Record, *, max_grace_h: int = 48) -> Verdict:
    """Members must have a second factor, at most ``max_grace_h`` hours after they joined.

    Source: Details of a group (``require_two_factor_authentication``, ``two_factor_grace_period``). Sign-in through an
    identity provider is not seen.
    Remedy: Settings, General, Permissions: all users in this group must set up two-factor authentication.
    """
    if not _shown(group, "require_two_factor_authentication"):
        return fail("a second factor is not required")
    grace = group["two_factor_grace_period"]
    told = f"a second factor is required after {grace} hours, limit {max_grace_h}"
    return ok(told) if grace <= max_grace_h else fail(told)


@check(
    "gitlab.group.sharing-restricted",
    title="Other groups cannot be invited into the GitLab group",
    severity="medium",
    each="gitlab.group",
)
def sharing_restricted(group: Record) -> Verdict:
    """Groups outside the hierarchy cannot be invited into the group; those invited before stay.

    Source: Details of a group (``prevent_sharing_groups_outside_hierarchy``).
    Remedy: Settings, General, Permissions: prevent sharing outside the hierarchy.
    """
    shut = _shown(group, "prevent_sharing_groups_outside_hierarchy")
    return ok("other groups cannot be invited") if shut else fail("other groups can be invited")


@check(
    "gitlab.groups.collected",
    title="Every GitLab group the credential sees is collected",
    severity="medium",
    over=("gitlab.groups",),
)
def collected(groups: Iterator[Record], *, collected_groups: tuple[str, ...] = ()) -> Verdict:
    """Every top-level group the owner of the token is a member of is one of ``collected_groups``, by path or number.

    Unless it is set, that is what the configuration names. A list without any of those named proves nothing.
    Source: List groups (``full_path``, ``id``).
    Remedy: name the group under ``accounts``, or set the parameter and say why it stays out.
    """
    known = {name.casefold() for name in collected_groups}
    seen = {group["full_path"]: {group["full_path"].casefold(), str(group["id"])} & known for group in groups}
    if not any(seen.values()):
        raise Unavailable(GapKind.UNPROVEN, "GitLab lists none of the groups that are read for this token")
    if left := sorted(path for path, found in seen.items() if not found):
        return fail(f"{len(left)} of {len(seen)} groups are not collected: {', '.join(left[:MOST])}")
    return ok(f"all {len(seen)} groups are collected")


@check(
    "gitlab.members.owners-few",
    title="Few members own the GitLab group",
    severity="high",
    over=("gitlab.members",),
)
def owners_few(members: Iterator[Record], *, max_owners: int = 5) -> Verdict:
    """At most ``max_owners`` active members are owners.

    Source: List all members of a group (``access_level`` 50, ``state``).
    Remedy: give them the narrower role that their work needs.
    """
    owners = _owners(members)
    told = f"{owners} owners, limit {max_owners}"
    return ok(told) if owners <= max_owners else fail(told)


@check(
    "gitlab.members.owners-substituted",
    title="The GitLab group has more than one owner",
    severity="medium",
    over=("gitlab.members",),
)
def owners_substituted(members: Iterator[Record], *, min_owners: int = 2) -> Verdict:
    """At least ``min_owners`` active members are owners, so that one can stand in for another.

    Source: List all members of a group (``access_level`` 50, ``state``).
    Remedy: name a deputy.
    """
    owners = _owners(members)
    told = f"{owners} owners, at least {min_owners} wanted"
    return ok(told) if owners >= min_owners else fail(told)


def _owners(members: Iterator[Record]) -> int:
    return sum(member["access_level"] == OWNER and member["state"] == "active" for member in members)


@check(
    "gitlab.billable-members.in-use",
    title="People with access to GitLab use it",
    severity="medium",
    each="gitlab.billable-members",
)
def in_use(member: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A member was active within ``max_unused_days`` before the day of collection, or is younger than that.

    Source: List all billable members of a group (``last_activity_on``, ``created_at``).
    Remedy: take the seat away, or record why it stays.
    """
    day = member["last_activity_on"]
    unused = days_between(instant(f"{day}T00:00:00Z" if day else member["created_at"]), as_of)
    told = f"last active {unused} days ago" if day else f"never active in {unused} days"
    told = f"{member['username']} {told}, limit {max_unused_days}"
    return ok(told) if unused <= max_unused_days else fail(told)
