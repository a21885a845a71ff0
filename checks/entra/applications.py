"""Applications in Microsoft Entra: their credentials, their owners, and what they may do without a user."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from collector.api import (
    Field,
    Http,
    Record,
    Redaction,
    Row,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

MICROSOFT = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
"""Tenant in which Microsoft's own services are registered."""

HIGH = (
    "AppRoleAssignment.ReadWrite.All", "Application.ReadWrite.All", "Directory.AccessAsUser.All",
    "Directory.ReadWrite.All", "Domain.ReadWrite.All", "Files.ReadWrite.All", "Group.ReadWrite.All",
    "GroupMember.ReadWrite.All", "Mail.ReadWrite", "Mail.Send", "Policy.ReadWrite.ConditionalAccess",
    "PrivilegedAccess.ReadWrite.AzureADGroup", "PrivilegedAssignmentSchedule.ReadWrite.AzureADGroup",
    "PrivilegedEligibilitySchedule.ReadWrite.AzureADGroup", "RoleAssignmentSchedule.ReadWrite.Directory",
    "RoleEligibilitySchedule.ReadWrite.Directory", "RoleManagement.ReadWrite.Directory",
    "RoleManagementPolicy.ReadWrite.Directory", "Sites.FullControl.All", "User.ReadWrite.All",
    "UserAuthenticationMethod.ReadWrite.All", "full_access_as_app",
)  # fmt: skip
"""Permissions that lead to the whole tenant, or change everybody's mail and files; none that only reads."""

LONG: dict[str, Any] = {"$top": 999}

SECRETS = (
    ("passwordCredentials[].hint", "the first letters of a secret"),
    ("passwordCredentials[].secretText", "a secret"),
    ("passwordCredentials[].customKeyIdentifier", "may hold a name given by hand"),
    ("keyCredentials[].key", "the key is not needed, its dates are"),
)


@source(
    "entra.applications",
    key="id",
    per="connection",
    permissions=("Application.Read.All",),
    redactions=tuple(Redaction("entra:GET /v1.0/applications", why, json=f"value[].{path}") for path, why in SECRETS),
)
def applications(entra: Http) -> Iterator[Row]:
    """Every application registered in the tenant, with its credentials (not their values) and its owners (up to 20)."""
    yield from entra.pages(
        "/v1.0/applications",
        rows="value",
        pager=Field("@odata.nextLink"),
        **{
            "$select": "id,appId,displayName,createdDateTime,signInAudience,passwordCredentials,keyCredentials",
            "$expand": "owners($select=id)",
            "$top": 999,
        },
    )


@source("entra.service-principals", key="id", per="connection", permissions=("Application.Read.All",))
def service_principals(entra: Http) -> Iterator[Row]:
    """Every application and managed identity that is present in the tenant, and the app roles it holds."""
    for principal in entra.pages(
        "/v1.0/servicePrincipals",
        rows="value",
        pager=Field("@odata.nextLink"),
        **{
            "$select": "id,appId,displayName,accountEnabled,servicePrincipalType,appOwnerOrganizationId,appRoles",
            "$top": 999,
        },
    ):
        held = entra.attempt_all(
            "/v1.0/servicePrincipals/{id}/appRoleAssignments",
            rows="value",
            pager=Field("@odata.nextLink"),
            id=principal["id"],
            **LONG,
        )
        yield {**principal, "listAppRoleAssignments": held}


@source(
    "entra.permission-grants", key="id", per="connection", permissions=("DelegatedPermissionGrant.Read.All",)
)
def permission_grants(entra: Http) -> Iterator[Row]:
    """Every delegated permission that was granted to an application, for one user or for all."""
    yield from entra.pages(
        "/v1.0/oauth2PermissionGrants", rows="value", pager=Field("@odata.nextLink"), **{"$top": 999}
    )


@check(
    "entra.applications.credentials-bounded",
    title="Secrets and certificates of Entra applications are made for a bounded time",
    severity="medium",
    each="entra.applications",
)
def credentials_bounded(
    app: Record, *, as_of: datetime, max_secret_days: int = 365, max_certificate_days: int = 730
) -> Verdict:
    """A secret that is valid was made for ``max_secret_days``, a certificate for ``max_certificate_days`` at most.

    Source: List applications (``passwordCredentials``, ``keyCredentials``: ``startDateTime``, ``endDateTime``).
    Remedy: make a credential that ends earlier, move the application to it, then delete the old one; better use a
    managed identity or federation, which have none.
    """
    kinds = (
        ("secret", app["passwordCredentials"], max_secret_days),
        ("certificate", app["keyCredentials"], max_certificate_days),
    )
    found, long = 0, []
    for kind, credentials, limit in kinds:
        for one in credentials:
            if instant(one["endDateTime"]) <= as_of:
                continue
            found += 1
            days = days_between(instant(one["startDateTime"]), instant(one["endDateTime"]))
            if days > limit:
                long.append(f"a {kind} for {days} days, limit {limit}")
    if not found:
        return skip("no credential is valid")
    return fail(f"{app['displayName']} has {'; '.join(long)}") if long else ok(f"all {found} are within the limits")


@check(
    "entra.applications.credentials-current",
    title="Credentials of Entra applications are renewed before they run out, and removed after",
    severity="low",
    each="entra.applications",
)
def credentials_current(app: Record, *, as_of: datetime, min_days_left: int = 14) -> Verdict:
    """Every credential of an application is valid for at least ``min_days_left`` days after the day of collection.

    Source: List applications (``passwordCredentials``, ``keyCredentials``: ``endDateTime``). One that ran out and is
    still there shows that nobody looks after the application.
    Remedy: renew it, or delete it.
    """
    ends = [instant(one["endDateTime"]) for one in (*app["passwordCredentials"], *app["keyCredentials"])]
    if not ends:
        return skip("the application has no credential")
    left = (min(ends) - as_of).days
    told = f"of {len(ends)} credentials the first ends in {left} days, at least {min_days_left} wanted"
    if left < 0:
        told = f"of {len(ends)} credentials the first ran out {-left} days ago"
    return ok(told) if left >= min_days_left else fail(told)


@check(
    "entra.applications.owned",
    title="Entra applications have an owner",
    severity="medium",
    each="entra.applications",
)
def owned(app: Record, *, min_owners: int = 1) -> Verdict:
    """An application registration has at least ``min_owners`` owners.

    Source: List applications (``owners``). An owner can add credentials: keep them few and privileged where the
    application is. Remedy: name those who answer for it.
    """
    told = f"{app['displayName']} has {len(app['owners'])} owners, at least {min_owners} wanted"
    return ok(told) if len(app["owners"]) >= min_owners else fail(told)


@check(
    "entra.service-principals.high-permissions-few",
    title="Few applications hold permissions that lead to the whole Entra tenant",
    severity="critical",
    over=("entra.service-principals",),
)
def high_permissions_few(
    principals: Iterator[Record],
    *,
    high: tuple[str, ...] = HIGH,
    max_applications: int = 0,
    trusted_tenants: tuple[str, ...] = (MICROSOFT,),
) -> Verdict:
    """At most ``max_applications`` enabled service principals hold an app role in ``high``.

    Services of the ``trusted_tenants`` are not counted. Source: List servicePrincipals (``appRoles``,
    ``appOwnerOrganizationId``, ``accountEnabled``), List appRoleAssignments (``resourceId``, ``appRoleId``).
    Remedy: replace the permission by a narrower one; confine mail and sites to what is needed.
    """
    names: dict[tuple[str, str], str] = {}
    held: list[tuple[str, list[tuple[str, str]]]] = []
    for one in principals:
        names |= {(one["id"], role["id"]): role["value"] for role in one["appRoles"] if role["value"] in high}
        if one["accountEnabled"] and one["appOwnerOrganizationId"] not in trusted_tenants:
            assigned = one["listAppRoleAssignments"]
            held.append((one["displayName"], [(item["resourceId"], item["appRoleId"]) for item in assigned]))
    found = [
        f"{name} ({', '.join(values)})"
        for name, roles in sorted(held)
        if (values := sorted({names[role] for role in roles if role in names}))
    ]
    told = f"{len(found)} of {len(held)} applications hold a high permission, limit {max_applications}"
    return ok(told) if len(found) <= max_applications else fail(f"{told}: {', '.join(found[:20])}")


@check(
    "entra.permission-grants.for-all-narrow",
    title="No application may do everything in the name of everybody",
    severity="high",
    each="entra.permission-grants",
)
def for_all_narrow(grant: Record, *, high: tuple[str, ...] = HIGH) -> Verdict:
    """A permission granted for all users holds no scope in ``high``.

    Source: List oauth2PermissionGrants (``consentType``, ``scope``). The application acts only with a user who is
    signed in. Remedy: revoke the grant, and grant it for those who need it.
    """
    if grant["consentType"] != "AllPrincipals":
        return skip("granted for one user")
    found = sorted(set((grant["scope"] or "").split()) & set(high))
    if found:
        return fail(f"the application {grant['clientId']} has for all users {', '.join(found)}")
    return ok(f"no high permission for the application {grant['clientId']}")
