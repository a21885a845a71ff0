"""Who administers Google Workspace: roles and their assignments, how they are read, and what we require."""

from collections.abc import Iterator

from collector.api import Http, Record, Row, Token, Verdict, check, fail, ok, skip, source

PAGER = Token("nextPageToken", "pageToken")
READS = ("https://www.googleapis.com/auth/admin.directory.rolemanagement.readonly",)


@source("google-workspace.roles", key="roleId", per="connection", permissions=READS)
def roles(google: Http) -> Iterator[Row]:
    """Every administrator role, those of Google and those made here."""
    yield from google.pages(
        "/admin/directory/v1/customer/{customer}/roles",
        rows="items", pager=PAGER, customer="my_customer", maxResults=100,
    )  # fmt: skip


@source("google-workspace.role-assignments", key="roleAssignmentId", per="connection", permissions=READS)
def role_assignments(google: Http) -> Iterator[Row]:
    """Every assignment of an administrator role to a user, a group or a service account."""
    yield from google.pages(
        "/admin/directory/v1/customer/{customer}/roleassignments",
        rows="items", pager=PAGER, customer="my_customer", maxResults=200,
    )  # fmt: skip


@check(
    "google-workspace.administrators.super-few",
    title="Few Google Workspace users are super administrators",
    severity="high",
    over=("google-workspace.users",),
)
def super_few(users: Iterator[Record], *, max_super_admins: int = 4) -> Verdict:
    """At most ``max_super_admins`` users who are neither suspended nor archived are super administrators.

    Source: users.list (``isAdmin``, ``suspended``, ``archived``).
    Remedy: give a narrower role instead.
    """
    found = sorted(user["primaryEmail"] for user in users if user["isAdmin"] and _on(user))
    told = f"{len(found)} users are super administrators, limit {max_super_admins}"
    return ok(told) if len(found) <= max_super_admins else fail(f"{told}: {', '.join(found[:20])}")


@check(
    "google-workspace.administrators.super-substituted",
    title="More than one Google Workspace user is super administrator",
    severity="medium",
    over=("google-workspace.users",),
)
def super_substituted(users: Iterator[Record], *, min_super_admins: int = 2) -> Verdict:
    """At least ``min_super_admins`` users who are neither suspended nor archived are super administrators.

    Source: users.list (``isAdmin``, ``suspended``, ``archived``).
    Remedy: name a deputy.
    """
    held = sum(user["isAdmin"] and _on(user) for user in users)
    told = f"{held} users are super administrators, at least {min_super_admins} wanted"
    return ok(told) if held >= min_super_admins else fail(told)


@check(
    "google-workspace.administrators.second-step",
    title="Google Workspace administrators have a second step and cannot do without",
    severity="critical",
    over=("google-workspace.users",),
)
def second_step(users: Iterator[Record]) -> Verdict:
    """Every administrator neither suspended nor archived is enrolled in 2-step verification, and it is enforced.

    Source: users.list (``isAdmin``, ``isDelegatedAdmin``, ``isEnrolledIn2Sv``, ``isEnforcedIn2Sv``).
    Remedy: have each enrol a security key or passkey, and enforce 2-step verification for them.
    """
    held = [user for user in users if (user["isAdmin"] or user["isDelegatedAdmin"]) and _on(user)]
    without = sorted(user["primaryEmail"] for user in held if not (user["isEnrolledIn2Sv"] and user["isEnforcedIn2Sv"]))
    if not held:
        return skip("no user who can sign in is an administrator")
    if without:
        return fail(f"{len(without)} of {len(held)} administrators are not held to it: {', '.join(without[:20])}")
    return ok(f"all {len(held)} administrators are enrolled and held to it")


@check(
    "google-workspace.administrators.accounts-on",
    title="No Google Workspace administrator role is left with an account that is off",
    severity="high",
    over=("google-workspace.users", "google-workspace.role-assignments"),
)
def accounts_on(users: Iterator[Record], assignments: Iterator[Record]) -> Verdict:
    """No suspended or archived user has an administrator role.

    Source: users.list (``suspended``, ``archived``), roleAssignments.list (``assignedTo``).
    Remedy: take the role away when the account is suspended.
    """
    off = {user["id"]: user["primaryEmail"] for user in users if user["suspended"] or user["archived"]}
    if not off:
        return skip("no account is suspended or archived")
    held = {assignment["assignedTo"] for assignment in assignments}
    left = sorted(off[id] for id in held & off.keys())  # noqa: A001
    if left:
        return fail(f"{len(left)} accounts that are off have a role: {', '.join(left[:20])}")
    return ok(f"none of {len(off)} accounts that are off has one of the assigned roles")


@check(
    "google-workspace.administrators.super-reconciled",
    title="The evidence agrees on the super administrators: users and role assignments",
    severity="high",
    over=("google-workspace.users", "google-workspace.roles", "google-workspace.role-assignments"),
    reconciles=("google-workspace.users", "google-workspace.role-assignments"),
)
def super_reconciled(users: Iterator[Record], roles: Iterator[Record], assignments: Iterator[Record]) -> Verdict:
    """The users marked as super administrators are those with an assignment of the super administrator role.

    Source: users.list (``isAdmin``), roles.list (``isSuperAdminRole``, left out where it is not),
    roleAssignments.list (``roleId``, ``assignedTo``).
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    marked = {user["id"] for user in users if user["isAdmin"]}
    super_roles = {role["roleId"] for role in roles if role.get("isSuperAdminRole")}
    assigned = {item["assignedTo"] for item in assignments if item["roleId"] in super_roles}
    if marked != assigned:
        return fail(
            f"marked and not assigned: {', '.join(sorted(marked - assigned)) or 'none'}; "
            f"assigned and not marked: {', '.join(sorted(assigned - marked)) or 'none'}, limit none of either"
        )
    return ok(f"{len(marked)} super administrators are marked, the same as are assigned the role")


def _on(user: Record) -> bool:
    """Whether a user can sign in."""
    return not user["suspended"] and not user["archived"]
