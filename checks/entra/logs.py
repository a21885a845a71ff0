"""What happened in a Microsoft Entra tenant over a period: changes to roles and policies, and sign-ins the old way."""

from collections.abc import Iterator
from datetime import timedelta

from collector.api import (
    Field,
    Http,
    Personal,
    Record,
    Redaction,
    Row,
    Verdict,
    check,
    fail,
    ok,
    skip,
    source,
)
from collector.model import stamp

DAYS = 30
"""How long a tenant with Entra ID P1 keeps its logs."""

DAYS_WITHOUT = 7
"""How long one without keeps them."""

CATEGORIES = ("ApplicationManagement", "Policy", "RoleManagement")

ACCOUNTS = ("Disable account", "Enable account")
"""Of the many events about users, those after which an account cannot, or can, sign in."""

LEGACY = (
    "AutoDiscover", "Authenticated SMTP", "Exchange ActiveSync", "Exchange Online PowerShell", "Exchange Web Services",
    "IMAP4", "IMAP", "MAPI Over HTTP", "Offline Address Book", "Other clients", "Outlook Anywhere (RPC over HTTP)",
    "POP3", "POP", "Reporting Web Services", "SMTP", "Universal Outlook",
)  # fmt: skip
"""Clients that hand over a password and know no second factor, as the log spells them."""

PREMIUM = ("AAD_PREMIUM", "AAD_PREMIUM_P2")


@source(
    "entra.directory-audits",
    key="id",
    per="connection",
    permissions=("AuditLog.Read.All", "Organization.Read.All"),
    kind="period",
    redactions=tuple(
        Redaction("entra:GET /v1.0/auditLogs/directoryAudits", "who acted is told by id and user name", json=path)
        for path in (
            "value[].initiatedBy.user.displayName", "value[].initiatedBy.user.ipAddress",
            "value[].targetResources[].displayName", "value[].additionalDetails[].value",
        )
    ),
    personal=(
        Personal("entra:GET /v1.0/auditLogs/directoryAudits", "email", json="**.userPrincipalName"),
    ),
    filters="the period, and the categories of change that a check reads",
)  # fmt: skip
def directory_audits(entra: Http) -> Iterator[Row]:
    """Events of the 30 days before the collection, 7 without Entra ID P1: roles, policies, applications, accounts.

    A tenant without Entra ID P1 keeps no more, which the log does not tell, so the products subscribed to are asked
    first. Each kind of event is asked for on its own; both ends of the period are named, so that the list ends.
    """
    products = list(entra.pages("/v1.0/subscribedSkus", rows="value", pager=Field("@odata.nextLink")))
    plans = {
        plan["servicePlanName"]
        for product in products
        if product["capabilityStatus"] == "Enabled"
        for plan in product["servicePlans"]
        if plan["provisioningStatus"] == "Success"
    }
    now = entra.now()
    since = now - timedelta(days=DAYS if plans & set(PREMIUM) else DAYS_WITHOUT)
    period = f"activityDateTime ge {stamp(since)} and activityDateTime le {stamp(now)}"
    kinds = [f"category eq '{category}'" for category in CATEGORIES]
    kinds += [f"category eq 'UserManagement' and activityDisplayName eq '{activity}'" for activity in ACCOUNTS]
    for kind in kinds:
        yield from entra.pages(
            "/v1.0/auditLogs/directoryAudits",
            rows="value",
            pager=Field("@odata.nextLink"),
            **{"$filter": f"{period} and {kind}", "$top": 999},
        )


@source(
    "entra.legacy-sign-ins",
    key="id",
    per="connection",
    permissions=("AuditLog.Read.All",),
    kind="period",
    window_days=DAYS,
    redactions=tuple(
        Redaction("entra:GET /v1.0/auditLogs/signIns", "the person is told by id and user name", json=f"value[].{path}")
        for path in (
            "userDisplayName", "ipAddress", "userAgent", "location.*", "location.geoCoordinates.*",
            "deviceDetail.displayName", "deviceDetail.deviceId",
        )
    ),
    personal=(Personal("entra:GET /v1.0/auditLogs/signIns", "email", json="value[].userPrincipalName"),),
    filters="the period, and clients of legacy authentication",
)  # fmt: skip
def legacy_sign_ins(entra: Http) -> Iterator[Row]:
    """Interactive sign-ins of users in the 30 days before the collection, by clients that know no second factor.

    Needs Entra ID P1. This version of the API does not list the sign-ins that programs repeat without the user. One
    list for each spelling the log is known to have; other clients are not asked for.
    """
    now = entra.now()
    period = f"createdDateTime ge {stamp(now - timedelta(days=DAYS))} and createdDateTime le {stamp(now)}"
    for client in LEGACY:
        yield from entra.pages(
            "/v1.0/auditLogs/signIns",
            rows="value",
            pager=Field("@odata.nextLink"),
            **{"$filter": f"{period} and clientAppUsed eq '{client}'", "$top": 999},
        )


@check(
    "entra.directory-audits.roles-by-activation",
    title="Entra roles are given through Privileged Identity Management",
    severity="high",
    over=("entra.directory-audits",),
)
def roles_by_activation(events: Iterator[Record], *, max_direct: int = 0, service: str = "MS-PIM") -> Verdict:
    """In the period at most ``max_direct`` roles were given by another way than by ``service``.

    Source: List directoryAudits (``activityDisplayName`` Add member to role, ``loggedByService`` Core Directory,
    ``initiatedBy``, ``result``). Roles given to applications and through groups are not among them.
    Remedy: show the approval of each, and make the holder eligible instead.
    """
    given = [
        item
        for item in events
        if item["activityDisplayName"] == "Add member to role"
        and item["loggedByService"] == "Core Directory"
        and item["result"] == "success"
    ]
    if not given:
        return skip("no role was given in the period")
    direct = [item for item in given if (item["initiatedBy"]["app"] or {}).get("displayName") != service]
    told = f"{len(direct)} of {len(given)} roles were given another way in the period, limit {max_direct}"
    if len(direct) <= max_direct:
        return ok(told)
    return fail(f"{told}: {', '.join(sorted(item['activityDateTime'] for item in direct)[:10])}")


@check(
    "entra.directory-audits.policies-kept",
    title="No conditional access policy was deleted",
    severity="medium",
    over=("entra.directory-audits",),
)
def policies_kept(
    events: Iterator[Record],
    *,
    activities: tuple[str, ...] = ("Delete conditional access policy",),
    max_events: int = 0,
) -> Verdict:
    """In the period at most ``max_events`` of the ``activities`` succeeded.

    Source: List directoryAudits (``activityDisplayName``, ``result``). An event is an exception until it is held
    against an approved change. A policy that was loosened and stayed on is not seen.
    Remedy: show the approved change for each event.
    """
    found = [
        f"{item['activityDisplayName']} on {item['activityDateTime']}"
        for item in events
        if item["activityDisplayName"] in activities and item["result"] == "success"
    ]
    told = f"{len(found)} policies were taken away in the period, limit {max_events}"
    return ok(told) if len(found) <= max_events else fail(f"{told}: {', '.join(sorted(found)[:10])}")


@check(
    "entra.legacy-sign-ins.none",
    title="Nobody signed in to Entra by a protocol that knows no second factor",
    severity="high",
    over=("entra.legacy-sign-ins",),
)
def none(sign_ins: Iterator[Record], *, max_sign_ins: int = 0) -> Verdict:
    """In the period at most ``max_sign_ins`` sign-ins by old clients succeeded.

    Source: List signIns (``clientAppUsed``, ``status.errorCode``, 0 for success). Attempts that failed do not count:
    they show that the block works. Exchange ActiveSync with certificates is listed too. Sign-ins that are not
    interactive are not in the list.
    Remedy: move the client to modern authentication, then block the others by conditional access.
    """
    found: dict[str, int] = {}
    tried = 0
    for item in sign_ins:
        tried += 1
        if item["status"]["errorCode"] == 0:
            name = f"{item['userPrincipalName']} by {item['clientAppUsed']}"
            found[name] = found.get(name, 0) + 1
    total = sum(found.values())
    told = f"{total} of {tried} sign-ins by old clients succeeded in the period, limit {max_sign_ins}"
    return ok(told) if total <= max_sign_ins else fail(f"{told}: {', '.join(sorted(found)[:20])}")
