"""Okta administrators: how their roles are read, and what we require of those who hold them."""

from collections.abc import Iterator

from collector.api import Field, GapKind, Http, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source


@source("okta.administrators", key="id", per="connection", permissions=("okta.roles.read",))
def administrators(okta: Http) -> Iterator[Row]:
    """Every user with an administrator role, and the roles, those assigned through groups included."""
    for user in okta.pages("/api/v1/iam/assignees/users", rows="value", pager=Field("_links/next/href"), limit=100):
        roles = okta.attempt_all("/api/v1/users/{userId}/roles", userId=user["id"])
        yield {**user, "listAssignedRolesForUser": roles}


@source("okta.groups", key="id", per="connection", permissions=("okta.groups.read", "okta.roles.read"))
def groups(okta: Http) -> Iterator[Row]:
    """Every group of the organisation, and the administrator roles it confers."""
    for group in okta.pages("/api/v1/groups", limit=200):
        yield {
            **group,
            "listGroupAssignedRoles": okta.attempt_all("/api/v1/groups/{groupId}/roles", groupId=group["id"]),
        }


def _active(roles: list[Record]) -> list[Record]:
    return [role for role in roles if role["status"] == "ACTIVE"]


@check(
    "okta.administrators.super-few",
    title="Few Okta users are super administrators",
    severity="high",
    over=("okta.administrators", "okta.groups"),
)
def super_few(admins: Iterator[Record], groups: Iterator[Record], *, max_super_admins: int = 4) -> Verdict:
    """At most ``max_super_admins`` users hold the role SUPER_ADMIN, of their own or through a group.

    Source: List users with role assignments, List roles of a user (``type``, ``status``, ``assignmentType``), List
    roles of a group. Where a group confers the role and no user is listed with it through a group, nothing is
    concluded: the list of users would miss somebody.
    Remedy: replace the role by a narrower one.
    """
    holders, through_group = 0, False
    for admin in admins:
        ways = [
            role["assignmentType"]
            for role in _active(admin["listAssignedRolesForUser"])
            if role["type"] == "SUPER_ADMIN"
        ]
        holders += bool(ways)
        through_group |= "GROUP" in ways
    for group in groups:
        confers = any(role["type"] == "SUPER_ADMIN" for role in _active(group["listGroupAssignedRoles"]))
        if confers and not through_group:
            reason = f"the group {group['id']} confers SUPER_ADMIN, and no user is listed with it through a group"
            raise Unavailable(GapKind.UNPROVEN, reason)
    told = f"{holders} users are super administrators, limit {max_super_admins}"
    return ok(told) if holders <= max_super_admins else fail(told)


@check(
    "okta.administrators.super-substituted",
    title="More than one Okta user is super administrator",
    severity="medium",
    over=("okta.administrators", "okta.users"),
)
def super_substituted(admins: Iterator[Record], users: Iterator[Record], *, min_super_admins: int = 2) -> Verdict:
    """At least ``min_super_admins`` users in use hold the role SUPER_ADMIN, so that one can stand in for another.

    Source: List roles of a user (``type``, ``status``), List users (``status``: neither SUSPENDED nor DEPROVISIONED,
    and activated).
    Remedy: name a deputy.
    """
    held = {
        admin["id"]
        for admin in admins
        if any(role["type"] == "SUPER_ADMIN" for role in _active(admin["listAssignedRolesForUser"]))
    }
    status = {user["id"]: user["status"] for user in users if user["id"] in held}
    _complete(held, set(status))
    off = ("DEPROVISIONED", "PROVISIONED", "STAGED", "SUSPENDED")
    holders = sum(one not in off for one in status.values())
    told = f"{holders} users are super administrators, at least {min_super_admins} wanted"
    return ok(told) if holders >= min_super_admins else fail(told)


@check(
    "okta.administrators.phishing-resistant",
    title="Okta administrators have a factor that withstands phishing",
    severity="critical",
    over=("okta.administrators", "okta.users"),
)
def phishing_resistant(
    admins: Iterator[Record],
    users: Iterator[Record],
    *,
    resistant: tuple[str, ...] = ("signed_nonce", "u2f", "webauthn"),
) -> Verdict:
    """Every user with an active administrator role has an active factor of a type in ``resistant``.

    Source: List users with role assignments, List factors (``factorType``, ``status``). The factor is there; that
    it is asked for is a matter of the authentication policies.
    Remedy: have each enrol a security key, a passkey or Okta FastPass.
    """
    wanted = {admin["id"] for admin in admins if _active(admin["listAssignedRolesForUser"])}
    if not wanted:
        return skip("no user has an active administrator role")
    without, found = [], set()
    for user in users:
        if user["id"] in wanted:
            found.add(user["id"])
            factors = [] if user["status"] == "DEPROVISIONED" else user["listFactors"]
            if not any(item["factorType"] in resistant and item["status"] == "ACTIVE" for item in factors):
                without.append(user["profile"]["login"])
    _complete(wanted, found)
    if without:
        return fail(f"{len(without)} of {len(wanted)} administrators have none: {', '.join(sorted(without)[:20])}")
    return ok(f"all {len(wanted)} administrators have one")


@check(
    "okta.administrators.accounts-active",
    title="No Okta administrator role is left with an account that is off",
    severity="high",
    over=("okta.administrators", "okta.users"),
)
def accounts_active(admins: Iterator[Record], users: Iterator[Record]) -> Verdict:
    """No user who is suspended or deprovisioned holds an active administrator role.

    Source: List users with role assignments, List users (``status``).
    Remedy: take the role away when the account is suspended.
    """
    wanted = {admin["id"] for admin in admins if _active(admin["listAssignedRolesForUser"])}
    if not wanted:
        return skip("no user has an active administrator role")
    off, found = [], set()
    for user in users:
        if user["id"] in wanted:
            found.add(user["id"])
            if user["status"] in ("SUSPENDED", "DEPROVISIONED"):
                off.append(f"{user['profile']['login']} ({user['status'].lower()})")
    _complete(wanted, found)
    if off:
        return fail(f"{len(off)} of {len(wanted)} administrators are off: {', '.join(sorted(off)[:20])}")
    return ok(f"none of {len(wanted)} administrators is suspended or deprovisioned")


def _complete(wanted: set[str], found: set[str]) -> None:
    if missing := sorted(wanted - found):
        reason = f"the administrators {', '.join(missing[:5])} are not in the list of users, so the lists do not agree"
        raise Unavailable(GapKind.UNPROVEN, reason)
