"""Microsoft Entra roles: who holds them, for how long, and what we require of those who do."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    Field,
    GapKind,
    Http,
    Record,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    instant,
    ok,
    skip,
    source,
)

GLOBAL = "62e90394-69f5-4237-9190-012177145e10"
"""Global Administrator; built-in roles have the same id in every tenant."""

WIDE = (
    GLOBAL,
    "e8611ab8-c189-46e8-94e1-60213ab1f814",  # Privileged Role Administrator
    "7be44c8a-adaf-4e2a-84d6-ab2649e08a13",  # Privileged Authentication Administrator
    "194ae4cb-b126-40b2-bd5b-6091b380977d",  # Security Administrator
    "b1be1c3e-b65d-4f19-8427-f6fa0d97feb9",  # Conditional Access Administrator
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",  # Application Administrator
    "158c047a-c907-4556-b7ef-446551a6b5f7",  # Cloud Application Administrator
    "c4e39bd9-1100-46d3-8c65-fb160da0071f",  # Authentication Administrator
    "fe930be7-5e62-47db-91af-98c3a49a38b1",  # User Administrator
    "29232cdf-9323-42fd-ade2-1d097af3e4de",  # Exchange Administrator
    "f28a1f50-f6e7-4571-818b-6a12f2af6b6c",  # SharePoint Administrator
    "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2",  # Hybrid Identity Administrator
    "3a2c62db-5318-420d-8d74-23affee5d9d5",  # Intune Administrator
)
"""Roles that rule identities, security settings, mail, files or devices of the whole tenant."""

RESISTANT = (
    "fido2", "fido2SecurityKey", "macOsSecureEnclaveKey", "passKeyDeviceBound", "passKeyDeviceBoundAuthenticator",
    "passKeyDeviceBoundWindowsHello", "passKeySynced", "windowsHelloForBusiness",
)  # fmt: skip
"""Methods that a look-alike site cannot pass on."""


@source("entra.role-assignments", key="id", per="connection", permissions=("RoleManagement.Read.Directory",))
def role_assignments(entra: Http) -> Iterator[Row]:
    """Every role of the directory that a user, group or application holds now, activated ones included."""
    yield from entra.pages(
        "/v1.0/roleManagement/directory/roleAssignments", rows="value", pager=Field("@odata.nextLink")
    )


@source("entra.role-schedules", key="id", per="connection", permissions=("RoleAssignmentSchedule.Read.Directory",))
def role_schedules(entra: Http) -> Iterator[Row]:
    """Every role held now, with its end, and whether it was activated or given outright; needs Entra ID P2."""
    yield from entra.pages(
        "/v1.0/roleManagement/directory/roleAssignmentScheduleInstances", rows="value", pager=Field("@odata.nextLink")
    )


@source("entra.role-eligibilities", key="id", per="connection", permissions=("RoleEligibilitySchedule.Read.Directory",))
def role_eligibilities(entra: Http) -> Iterator[Row]:
    """Every role that somebody may activate now, with its end; needs Entra ID P2."""
    yield from entra.pages(
        "/v1.0/roleManagement/directory/roleEligibilityScheduleInstances", rows="value", pager=Field("@odata.nextLink")
    )


def _holders(items: Iterator[Record], groups: Iterator[Record], roles: tuple[str, ...]) -> set[str]:
    """Ids of those who hold one of the roles, of their own or as members of a group."""
    direct = {item["principalId"] for item in items if item["roleDefinitionId"] in roles}
    through = {
        member["id"]
        for group in groups
        if group["isAssignableToRole"] and group["id"] in direct
        for member in group["listMembers"]
    }
    return direct | through


def _people(
    items: Iterator[Record], groups: Iterator[Record], users: Iterator[Record], roles: tuple[str, ...]
) -> list[Record]:
    """The users among the holders; whoever is not in the list of users is an application or a group."""
    holders = _holders(items, groups, roles)
    return [user for user in users if user["id"] in holders]


@check(
    "entra.role-assignments.global-administrators-few",
    title="Few Entra users are Global Administrator",
    severity="high",
    over=("entra.role-assignments", "entra.groups", "entra.users"),
)
def global_administrators_few(
    items: Iterator[Record], groups: Iterator[Record], users: Iterator[Record], *, max_global_admins: int = 5
) -> Verdict:
    """At most ``max_global_admins`` users hold Global Administrator now, of their own or through a group.

    Source: List roleAssignments (``roleDefinitionId``, ``principalId``), List groups (members), List users. Users who
    may activate the role, or membership of such a group, and have not are not counted.
    Remedy: replace the role by a narrower one.
    """
    held = _people(items, groups, users, (GLOBAL,))
    told = f"{len(held)} users are Global Administrator, limit {max_global_admins}"
    return ok(told) if len(held) <= max_global_admins else fail(told)


@check(
    "entra.role-assignments.global-administrators-substituted",
    title="More than one Entra user is Global Administrator",
    severity="medium",
    over=("entra.role-assignments", "entra.groups", "entra.users"),
)
def global_administrators_substituted(
    items: Iterator[Record], groups: Iterator[Record], users: Iterator[Record], *, min_global_admins: int = 2
) -> Verdict:
    """At least ``min_global_admins`` enabled users hold Global Administrator, so that one can stand in for another.

    Source: List roleAssignments, List groups (members), List users (``accountEnabled``).
    Remedy: name a deputy, or keep two accounts for emergencies.
    """
    held = [user for user in _people(items, groups, users, (GLOBAL,)) if user["accountEnabled"]]
    told = f"{len(held)} enabled users are Global Administrator, at least {min_global_admins} wanted"
    return ok(told) if len(held) >= min_global_admins else fail(told)


@check(
    "entra.role-assignments.no-guests",
    title="No guest holds a wide Entra role",
    severity="high",
    over=("entra.role-assignments", "entra.groups", "entra.users"),
)
def no_guests(
    items: Iterator[Record], groups: Iterator[Record], users: Iterator[Record], *, roles: tuple[str, ...] = WIDE
) -> Verdict:
    """No user of type Guest holds one of the ``roles``, of his own or through a group.

    Source: List roleAssignments, List groups (members), List users (``userType``).
    Remedy: give the person an account of the tenant for the role, or take the role away.
    """
    held = _people(items, groups, users, roles)
    return _none("are guests", [user for user in held if user["userType"] == "Guest"], held)


@check(
    "entra.role-assignments.cloud-only",
    title="Accounts with wide Entra roles do not come from the premises",
    severity="high",
    over=("entra.role-assignments", "entra.groups", "entra.users"),
)
def cloud_only(
    items: Iterator[Record], groups: Iterator[Record], users: Iterator[Record], *, roles: tuple[str, ...] = WIDE
) -> Verdict:
    """No holder of one of the ``roles`` is synchronised from the premises, whose administrators would hold it too.

    Source: List roleAssignments, List groups (members), List users (``onPremisesSyncEnabled``).
    Remedy: give administrators an account of the cloud for the role.
    """
    held = _people(items, groups, users, roles)
    return _none("are synchronised from the premises", [user for user in held if user["onPremisesSyncEnabled"]], held)


@check(
    "entra.role-assignments.accounts-active",
    title="No wide Entra role is left with an account that is off",
    severity="high",
    over=("entra.role-assignments", "entra.groups", "entra.users"),
)
def accounts_active(
    items: Iterator[Record], groups: Iterator[Record], users: Iterator[Record], *, roles: tuple[str, ...] = WIDE
) -> Verdict:
    """No disabled account holds one of the ``roles``.

    Source: List roleAssignments, List groups (members), List users (``accountEnabled``).
    Remedy: take the role away when the account is disabled.
    """
    held = _people(items, groups, users, roles)
    return _none("are disabled", [user for user in held if not user["accountEnabled"]], held)


def _none(what: str, found: list[Record], held: list[Record]) -> Verdict:
    if not held:
        return skip("no user holds one of the roles")
    if found:
        names = ", ".join(sorted(user["userPrincipalName"] for user in found)[:20])
        return fail(f"{len(found)} of the {len(held)} holders of wide roles {what}: {names}")
    return ok(f"none of the {len(held)} holders of wide roles {what}")


@check(
    "entra.role-assignments.applications-few",
    title="Few applications hold a wide Entra role",
    severity="high",
    over=("entra.role-assignments", "entra.service-principals"),
)
def applications_few(
    items: Iterator[Record],
    principals: Iterator[Record],
    *,
    roles: tuple[str, ...] = WIDE,
    max_applications: int = 0,
) -> Verdict:
    """At most ``max_applications`` service principals hold one of the ``roles`` of their own.

    Source: List roleAssignments, List servicePrincipals. Nobody is asked for a second factor when an application acts.
    One that holds the role as member of a group is not seen: Graph v1.0 does not list applications among the members.
    Remedy: give the application the narrow permission it needs instead.
    """
    holders = {item["principalId"] for item in items if item["roleDefinitionId"] in roles}
    found = sorted(one["displayName"] for one in principals if one["id"] in holders)
    told = f"{len(found)} applications hold a wide role, limit {max_applications}"
    return ok(told) if len(found) <= max_applications else fail(f"{told}: {', '.join(found[:20])}")


@check(
    "entra.role-assignments.phishing-resistant",
    title="Holders of wide Entra roles have a method that withstands phishing",
    severity="critical",
    over=("entra.role-assignments", "entra.groups", "entra.users", "entra.registrations"),
)
def phishing_resistant(
    items: Iterator[Record],
    groups: Iterator[Record],
    users: Iterator[Record],
    report: Iterator[Record],
    *,
    roles: tuple[str, ...] = WIDE,
    resistant: tuple[str, ...] = RESISTANT,
) -> Verdict:
    """Every enabled user who holds one of the ``roles`` has registered a method in ``resistant``.

    Source: List roleAssignments, List groups (members), List users, List userRegistrationDetails
    (``methodsRegistered``). The method is there; that it is asked for is a matter of conditional access.
    Remedy: have each register a passkey or a security key.
    """
    return _resistant(_people(items, groups, users, roles), report, resistant)


@check(
    "entra.role-eligibilities.phishing-resistant",
    title="Those who may activate wide Entra roles have a method that withstands phishing",
    severity="high",
    over=("entra.role-eligibilities", "entra.groups", "entra.users", "entra.registrations"),
)
def eligible_phishing_resistant(
    items: Iterator[Record],
    groups: Iterator[Record],
    users: Iterator[Record],
    report: Iterator[Record],
    *,
    roles: tuple[str, ...] = WIDE,
    resistant: tuple[str, ...] = RESISTANT,
) -> Verdict:
    """Every enabled user who may activate one of the ``roles`` has registered a method in ``resistant``.

    Source: List roleEligibilityScheduleInstances, List groups (members), List users, List userRegistrationDetails.
    Remedy: have each register a passkey or a security key.
    """
    return _resistant(_people(items, groups, users, roles), report, resistant)


def _resistant(held: list[Record], report: Iterator[Record], resistant: tuple[str, ...]) -> Verdict:
    able = {user["id"]: user["userPrincipalName"] for user in held if user["accountEnabled"]}
    if not able:
        return skip("no enabled user is among them")
    methods = {row["id"]: set(row["methodsRegistered"]) for row in report if row["id"] in able}
    if missing := sorted(name for id_, name in able.items() if id_ not in methods):
        raise Unavailable(GapKind.UNPROVEN, f"not in the registration report: {', '.join(missing[:5])}")
    without = sorted(name for id_, name in able.items() if not methods[id_] & set(resistant))
    if without:
        return fail(f"{len(without)} of {len(able)} have none: {', '.join(without[:20])}")
    return ok(f"all {len(able)} have one")


@check(
    "entra.role-schedules.standing-few",
    title="Wide Entra roles are activated when needed, not held for good",
    severity="high",
    over=("entra.role-schedules", "entra.groups", "entra.users"),
)
def standing_few(
    items: Iterator[Record],
    groups: Iterator[Record],
    users: Iterator[Record],
    *,
    roles: tuple[str, ...] = WIDE,
    max_standing: int = 2,
) -> Verdict:
    """At most ``max_standing`` users hold one of the ``roles`` outright and without end: the accounts for emergencies.

    Source: List roleAssignmentScheduleInstances (``assignmentType``, ``endDateTime``), List groups (members), List
    users. Activated roles end by themselves.
    Remedy: make the others eligible, so that they activate the role for some hours.
    """
    standing = (item for item in items if item["assignmentType"] == "Assigned" and item["endDateTime"] is None)
    held = _people(standing, groups, users, roles)
    told = f"{len(held)} users hold a wide role for good, limit {max_standing}"
    if len(held) <= max_standing:
        return ok(told)
    return fail(f"{told}: {', '.join(sorted(user['userPrincipalName'] for user in held)[:20])}")


@check(
    "entra.role-schedules.activation-short",
    title="Activated Entra roles end within hours",
    severity="medium",
    each="entra.role-schedules",
)
def activation_short(item: Record, *, max_active_h: int = 10) -> Verdict:
    """A role that was activated ends at most ``max_active_h`` hours after it began.

    Source: List roleAssignmentScheduleInstances (``assignmentType``, ``startDateTime``, ``endDateTime``).
    Remedy: shorten the activation in the settings of the role.
    """
    if item["assignmentType"] != "Activated":
        return skip(f"the role is {item['assignmentType'].lower()}, not activated")
    if item["endDateTime"] is None:
        return fail(f"activated without an end, limit {max_active_h} hours")
    hours = (instant(item["endDateTime"]) - instant(item["startDateTime"])).total_seconds() / 3600
    told = f"activated for {hours:.1f} hours, limit {max_active_h}"
    return ok(told) if hours <= max_active_h else fail(told)


@check(
    "entra.role-eligibilities.bounded",
    title="The right to activate an Entra role runs out",
    severity="low",
    each="entra.role-eligibilities",
)
def bounded(item: Record, *, as_of: datetime, max_days: int = 365) -> Verdict:
    """The right to activate a role ends at most ``max_days`` after the day of collection, so that it is decided anew.

    Source: List roleEligibilityScheduleInstances (``endDateTime``). Where recurring reviews decide, an end is not
    needed; then this check is to be disabled with that reason.
    Remedy: set an end, or a maximum in the settings of the role.
    """
    end = item["endDateTime"]
    if end is None:
        return fail(f"without an end, limit {max_days} days")
    days = (instant(end) - as_of).days
    told = f"ends in {days} days, limit {max_days}"
    return ok(told) if days <= max_days else fail(told)
