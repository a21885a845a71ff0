"""Microsoft Entra conditional access: the policies in force, whom they leave out, and the locations they trust."""

from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_network
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

ADMINISTRATORS = (
    "62e90394-69f5-4237-9190-012177145e10",  # Global Administrator
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
)
SYNCHRONISATION = "d29b2b05-8046-44ba-8758-1e26182fcf32"
"""Directory Synchronization Accounts, which cannot answer a second factor."""

UNDERSTOOD = {
    "applications", "clientAppTypes", "locations", "platforms", "signInRiskLevels", "userRiskLevels", "users",
}  # fmt: skip
"""Conditions that are looked at one by one; any other that is set narrows a policy."""

MEMBERS: dict[str, Any] = {"$select": "id", "$top": 999}


@source(
    "entra.conditional-access",
    key="id",
    per="connection",
    permissions=("GroupMember.Read.All", "Policy.Read.All"),
)
def conditional_access(entra: Http) -> Iterator[Row]:
    """Every conditional access policy, whatever its state, with the members of each group it leaves out."""
    members: dict[str, object] = {}
    for policy in entra.pages(
        "/v1.0/identity/conditionalAccess/policies", rows="value", pager=Field("@odata.nextLink")
    ):
        left_out = policy["conditions"]["users"]["excludeGroups"] if policy["conditions"]["users"] else []
        for group in left_out:
            if group not in members:
                members[group] = entra.attempt_all(
                    "/v1.0/groups/{id}/members",
                    rows="value",
                    pager=Field("@odata.nextLink"),
                    id=group,
                    **MEMBERS,
                )
        yield {**policy, "listMembers": [{"group": group, "members": members[group]} for group in left_out]}


@source(
    "entra.named-locations",
    key="id",
    per="connection",
    permissions=("Policy.Read.All",),
    redactions=(
        Redaction(
            "entra:GET /v1.0/identity/conditionalAccess/namedLocations",
            "the name of a place is not needed",
            json="value[].displayName",
        ),
    ),
)
def named_locations(entra: Http) -> Iterator[Row]:
    """Every named location of conditional access, trusted or not."""
    yield from entra.pages(
        "/v1.0/identity/conditionalAccess/namedLocations", rows="value", pager=Field("@odata.nextLink")
    )


def _narrowed(conditions: Record, accepted_apps: tuple[str, ...] = ()) -> list[str]:
    """Why a policy does not hold for every sign-in to every application; user and kind of client apart."""
    found: list[str] = []
    apps = conditions["applications"] or {"includeApplications": [], "excludeApplications": []}
    if "All" not in apps["includeApplications"]:
        found.append("it does not include all applications")
    if spared := sorted(set(apps["excludeApplications"]) - set(accepted_apps)):
        found.append(f"it leaves out {len(spared)} applications")
    if apps.get("applicationFilter"):  # left out where there is none
        found.append("it filters applications")
    platforms, locations = conditions["platforms"], conditions["locations"]
    if platforms and ("all" not in platforms["includePlatforms"] or platforms["excludePlatforms"]):
        found.append("it holds on some platforms only")
    if locations and ("All" not in locations["includeLocations"] or locations["excludeLocations"]):
        found.append("it leaves out locations")
    for name in ("signInRiskLevels", "userRiskLevels"):
        if conditions[name]:
            found.append("it holds at some risks only")
    for name in sorted(conditions.keys() - UNDERSTOOD):
        if "@" not in name and _told(conditions[name]):  # devices, flows, and whatever is added to the API
            found.append(f"it is narrowed by {name}")
    return found


def _told(condition: Any) -> bool:
    """Whether a condition says anything."""
    return any(condition.values()) if isinstance(condition, dict) else bool(condition)


def _spared(policy: Record, accepted_roles: tuple[str, ...], max_excluded: int) -> list[str]:
    """Whom a policy leaves out, where that is more than some users by name."""
    users, found = policy["conditions"]["users"], []
    people = set(users["excludeUsers"]) - {"GuestsOrExternalUsers"}
    for held in policy["listMembers"]:
        people |= {member["id"] for member in held["members"]}
        if any(member.get("@odata.type") == "#microsoft.graph.group" for member in held["members"]):
            found.append(f"the group {held['group']} it leaves out holds further groups")
    if len(people) > max_excluded:
        found.append(f"it leaves out {len(people)} users, limit {max_excluded}")
    if "GuestsOrExternalUsers" in users["excludeUsers"] or users["excludeGuestsOrExternalUsers"]:
        found.append("it leaves out guests")
    if set(users["excludeRoles"]) - set(accepted_roles):
        found.append("it leaves out holders of roles")
    return found


def _asks_for_factor(policy: Record) -> bool:
    """Whether no user gets through without a second factor: alone, or together with other controls."""
    grant = policy["grantControls"]
    if not grant or not policy["conditions"]["users"]:  # null for policies of workloads
        return False
    controls = set(grant["builtInControls"])
    strength = grant.get("authenticationStrength")  # left out by default
    strong = bool(strength) and strength["requirementsSatisfied"] == "mfa"
    others = controls - {"mfa"} or grant["customAuthenticationFactors"] or grant["termsOfUse"]
    return ("mfa" in controls or strong) and (grant["operator"] == "AND" or not others)


def _clients(policy: Record) -> set[str]:
    held = set(policy["conditions"]["clientAppTypes"])
    whole = {"browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other"}
    return whole if "all" in held else held | ({"exchangeActiveSync"} if "easSupported" in held else set())


def _nearest(what: str, reasons: dict[str, list[str]]) -> Verdict:
    """A refusal that tells what is missing in the policies that come nearest."""
    near = sorted(reasons.items(), key=lambda item: (len(item[1]), item[0]))[:3]
    told = "; ".join(f"{name}: {', '.join(why)}" for name, why in near)
    return fail(f"no policy in force {what}" + (f" ({told})" if told else ""))


@check(
    "entra.conditional-access.second-factor-for-all",
    title="Entra asks everybody for a second factor, whatever the application",
    severity="critical",
    over=("entra.conditional-access",),
)
def second_factor_for_all(
    policies: Iterator[Record],
    *,
    max_excluded_users: int = 4,
    accepted_roles: tuple[str, ...] = (SYNCHRONISATION,),
    accepted_apps: tuple[str, ...] = (),
) -> Verdict:
    """An enabled policy asks all users for a second factor in all applications, leaving out no more than a few users.

    A policy that only reports does not count, nor one that holds at some places, platforms, risks or devices only, that
    leaves out guests, further roles or applications, or that is content with another control instead. Members of
    excluded groups are counted one by one against ``max_excluded_users``. Security defaults ask for a second factor
    when Microsoft deems it needed, which is less: entra.security-defaults.or-conditional-access speaks of them.
    Source: List conditionalAccessPolicies, members of the excluded groups.
    Remedy: one policy for All users and All resources with a grant of MFA; exclude the accounts for emergencies only.
    """
    reasons: dict[str, list[str]] = {}
    for policy in policies:
        if not _asks_for_factor(policy):
            continue
        conditions = policy["conditions"]
        why = [] if policy["state"] == "enabled" else [f"its state is {policy['state']}"]
        if "All" not in conditions["users"]["includeUsers"]:
            why.append("it does not include all users")
        if not {"browser", "mobileAppsAndDesktopClients"} <= _clients(policy):
            why.append("it does not hold for browsers and apps alike")
        why += _narrowed(conditions, accepted_apps) + _spared(policy, accepted_roles, max_excluded_users)
        if not why:
            return ok(f"{policy['displayName']} asks everybody, leaving out at most {max_excluded_users} users")
        reasons[policy["displayName"]] = why
    return _nearest("asks everybody for a second factor", reasons)


@check(
    "entra.conditional-access.second-factor-for-administrators",
    title="Entra asks holders of wide roles for a second factor, whatever the application",
    severity="critical",
    over=("entra.conditional-access", "entra.security-defaults"),
)
def second_factor_for_administrators(
    policies: Iterator[Record],
    defaults: Iterator[Record],
    *,
    roles: tuple[str, ...] = ADMINISTRATORS,
    max_excluded_users: int = 4,
) -> Verdict:
    """Enabled policies together ask holders of each of the ``roles`` for a second factor in all applications.

    What does not count is told at entra.conditional-access.second-factor-for-all. Security defaults ask administrators
    at every sign-in, so they suffice.
    Source: List conditionalAccessPolicies, members of the excluded groups, identitySecurityDefaultsEnforcementPolicy.
    Remedy: a policy for these roles with a grant of phishing-resistant MFA.
    """
    reasons: dict[str, list[str]] = {}
    covered: set[str] = set()
    for policy in policies:
        if not _asks_for_factor(policy):
            continue
        conditions = policy["conditions"]
        why = [] if policy["state"] == "enabled" else [f"its state is {policy['state']}"]
        if not {"browser", "mobileAppsAndDesktopClients"} <= _clients(policy):
            why.append("it does not hold for browsers and apps alike")
        why += _narrowed(conditions) + _spared(policy, (SYNCHRONISATION,), max_excluded_users)
        users = conditions["users"]
        if not why:
            covered |= set(roles) if "All" in users["includeUsers"] else set(users["includeRoles"])
        else:
            reasons[policy["displayName"]] = why
    missing = sorted(set(roles) - covered)
    if not missing:
        return ok(f"all {len(roles)} roles are asked")
    if any(row["isEnabled"] for row in defaults):
        return ok("security defaults are on, which ask administrators at every sign-in")
    return _nearest(f"asks {len(missing)} of {len(roles)} roles ({', '.join(missing[:3])})", reasons)


@check(
    "entra.conditional-access.legacy-blocked",
    title="Entra blocks protocols that know no second factor",
    severity="high",
    over=("entra.conditional-access", "entra.security-defaults"),
)
def legacy_blocked(
    policies: Iterator[Record], defaults: Iterator[Record], *, max_excluded_users: int = 4
) -> Verdict:
    """Enabled policies block Exchange ActiveSync and other old clients for all users in all applications.

    Leaving out up to ``max_excluded_users`` counts as all; security defaults block old clients and suffice.
    Source: List conditionalAccessPolicies (``conditions.clientAppTypes``, ``grantControls.builtInControls``),
    identitySecurityDefaultsEnforcementPolicy.
    Remedy: a policy for All users, All resources and the client apps Exchange ActiveSync and Other that blocks.
    """
    reasons: dict[str, list[str]] = {}
    blocked: set[str] = set()
    for policy in policies:
        conditions = policy["conditions"]
        if not policy["grantControls"] or "block" not in policy["grantControls"]["builtInControls"]:
            continue
        if not conditions["users"]:  # null for policies of workloads
            continue
        kinds = _clients(policy) & {"exchangeActiveSync", "other"}
        if not kinds:
            continue
        why = [] if policy["state"] == "enabled" else [f"its state is {policy['state']}"]
        if "All" not in conditions["users"]["includeUsers"]:
            why.append("it does not include all users")
        why += _narrowed(conditions) + _spared(policy, (), max_excluded_users)
        if why:
            reasons[policy["displayName"]] = why
        else:
            blocked |= kinds
    if len(blocked) == 2:
        return ok("Exchange ActiveSync and other old clients are blocked for everybody")
    if any(row["isEnabled"] for row in defaults):
        return ok("security defaults are on, which block old clients")
    return _nearest("blocks old clients for everybody", reasons)


@check(
    "entra.conditional-access.report-only-settled",
    title="A conditional access policy that only reports is decided upon",
    severity="low",
    each="entra.conditional-access",
)
def report_only_settled(policy: Record, *, as_of: datetime, max_trial_days: int = 60) -> Verdict:
    """A policy that only reports was made or changed at most ``max_trial_days`` before the day of collection.

    Source: List conditionalAccessPolicies (``state``, ``modifiedDateTime``, ``createdDateTime``). Such a policy looks
    like protection and is none. Remedy: put it in force, or delete it.
    """
    if policy["state"] != "enabledForReportingButNotEnforced":
        return skip(f"the policy is {policy['state']}")
    days = days_between(instant(policy["modifiedDateTime"] or policy["createdDateTime"]), as_of)
    told = f"{policy['displayName']} only reports, unchanged for {days} days, limit {max_trial_days}"
    return ok(told) if days <= max_trial_days else fail(told)


@check(
    "entra.named-locations.trusted-narrow",
    title="Locations that Entra trusts are narrow",
    severity="medium",
    each="entra.named-locations",
)
def trusted_narrow(location: Record, *, min_prefix_v4: int = 16, min_prefix_v6: int = 32) -> Verdict:
    """No range of a trusted location is wider than ``/min_prefix_v4`` (IPv4) or ``/min_prefix_v6`` (IPv6).

    Source: List namedLocations (``isTrusted``, ``ipRanges``). Whose networks they are is not told. Countries are never
    trusted as such. Remedy: name the addresses the organisation goes out by.
    """
    if location["@odata.type"] == "#microsoft.graph.countryNamedLocation":
        return skip("a country, which is not trusted as such")
    if not location["isTrusted"]:
        return skip("not trusted")
    networks = [ip_network(item["cidrAddress"], strict=False) for item in location["ipRanges"]]
    wide = [str(one) for one in networks if one.prefixlen < (min_prefix_v4 if one.version == 4 else min_prefix_v6)]
    told = f"of {len(networks)} ranges {len(wide)} are wider than /{min_prefix_v4} or /{min_prefix_v6}"
    return fail(f"{told}: {', '.join(wide[:10])}") if wide else ok(told)
