"""Google Workspace users: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    Http,
    Personal,
    Record,
    Row,
    Token,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

NEVER = "1970-01-01T00:00:00.000Z"
"""What Google writes as last sign-in of a user who never signed in."""

FIELDS = (
    "id,primaryEmail,aliases,isAdmin,isDelegatedAdmin,isEnrolledIn2Sv,isEnforcedIn2Sv,suspended,suspensionReason,"
    "archived,creationTime,lastLoginTime,orgUnitPath"
)
USERS = "google-workspace:GET /admin/directory/v1/users"


@source(
    "google-workspace.users",
    key="id",
    per="connection",
    permissions=("https://www.googleapis.com/auth/admin.directory.user.readonly",),
    personal=(Personal(USERS, "email", json="users[].primaryEmail"), Personal(USERS, "email", json="users[].aliases")),
)
def users(google: Http) -> Iterator[Row]:
    """Every user of the customer, suspended and archived ones included, deleted ones not.

    Only address, status, times, rights and 2-step verification are asked for; names and telephones are not.
    """
    yield from google.pages(
        "/admin/directory/v1/users",
        rows="users", pager=Token("nextPageToken", "pageToken"), customer="my_customer", maxResults=500,
        fields=f"nextPageToken,users({FIELDS})",
    )  # fmt: skip


@check(
    "google-workspace.users.second-step-enrolled",
    title="Google Workspace users have a second step",
    severity="high",
    each="google-workspace.users",
)
def second_step_enrolled(user: Record) -> Verdict:
    """A user who is neither suspended nor archived is enrolled in 2-step verification.

    Source: users.list (``isEnrolledIn2Sv``). Where an identity provider of the organisation's own signs users in, the
    second factor is that provider's.
    Remedy: have the user enrol, or enforce it.
    """
    if off := _off(user):
        return skip(off)
    return (
        ok("enrolled in 2-step verification")
        if user["isEnrolledIn2Sv"]
        else fail("not enrolled in 2-step verification")
    )


@check(
    "google-workspace.users.second-step-enforced",
    title="Google Workspace users cannot do without a second step",
    severity="high",
    each="google-workspace.users",
)
def second_step_enforced(user: Record) -> Verdict:
    """2-step verification is enforced for a user who is neither suspended nor archived.

    Source: users.list (``isEnforcedIn2Sv``).
    Remedy: *Security, Authentication, 2-step verification, Enforcement* for the user's organisational unit.
    """
    if off := _off(user):
        return skip(off)
    return (
        ok("2-step verification is enforced") if user["isEnforcedIn2Sv"] else fail("2-step verification is voluntary")
    )


@check(
    "google-workspace.users.in-use",
    title="Google Workspace accounts that can sign in are used",
    severity="medium",
    each="google-workspace.users",
)
def in_use(user: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A user who is not off signed in within ``max_unused_days`` before the collection, or is younger than that.

    Source: users.list (``lastLoginTime``, 1970 for never; ``creationTime``). Mail that is fetched is no sign-in.
    Remedy: suspend or archive the account, or record why it stays.
    """
    if off := _off(user):
        return skip(off)
    never = user["lastLoginTime"] == NEVER
    unused = days_between(instant(user["creationTime" if never else "lastLoginTime"]), as_of)
    told = f"created {unused} days ago and never signed in" if never else f"last sign-in {unused} days ago"
    told += f", limit {max_unused_days}"
    return ok(told) if unused <= max_unused_days else fail(told)


def _off(user: Record) -> str:
    """Why a user cannot sign in; empty for one who can."""
    return "the account is suspended" if user["suspended"] else "the account is archived" if user["archived"] else ""
