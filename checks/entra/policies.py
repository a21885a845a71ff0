"""Microsoft Entra: what holds for everybody in the tenant, and what users and guests may do by themselves."""

from collections.abc import Iterator

from collector.api import GapKind, Http, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source

RESTRICTED_GUEST = "2af84b1e-32c8-42b7-82bc-daa82404023b"
LIMITED_GUEST = "10dae51f-b6af-4016-8d66-8c2a99b929b3"


@source("entra.authentication-methods", key="id", per="connection", permissions=("Policy.Read.AuthenticationMethod",))
def authentication_methods(entra: Http) -> Iterator[Row]:
    """Every authentication method that the policy of the tenant knows, enabled or not.

    With each stands how far the tenant has moved to that policy: until it has, the older settings hold beside it.
    """
    policy = entra.get("/v1.0/policies/authenticationMethodsPolicy")
    for method in policy["authenticationMethodConfigurations"]:
        yield {**method, "policyMigrationState": policy.get("policyMigrationState")}  # left out by some tenants


@source("entra.authorization-policy", key="Id", per="connection", permissions=("Policy.Read.All",))
def authorization_policy(entra: Http) -> Iterator[Row]:
    """One record: what users and guests may do by default."""
    yield {"Id": "authorization-policy", **entra.get("/v1.0/policies/authorizationPolicy")}


@source("entra.security-defaults", key="Id", per="connection", permissions=("Policy.Read.All",))
def security_defaults(entra: Http) -> Iterator[Row]:
    """One record: whether security defaults are on."""
    yield {"Id": "security-defaults", **entra.get("/v1.0/policies/identitySecurityDefaultsEnforcementPolicy")}


@source("entra.admin-consent", key="Id", per="connection", permissions=("Policy.Read.All",))
def admin_consent(entra: Http) -> Iterator[Row]:
    """One record: whether users can ask an administrator for an application, and who decides."""
    yield {"Id": "admin-consent", **entra.get("/v1.0/policies/adminConsentRequestPolicy")}


@check(
    "entra.authentication-methods.phishing-resistant-offered",
    title="Entra offers a method that withstands phishing",
    severity="medium",
    over=("entra.authentication-methods",),
)
def phishing_resistant_offered(
    methods: Iterator[Record], *, resistant: tuple[str, ...] = ("Fido2", "X509Certificate")
) -> Verdict:
    """At least one method in ``resistant`` is enabled.

    Source: authenticationMethodsPolicy (``authenticationMethodConfigurations``: ``id``, ``state``). For whom it is
    enabled is not looked at. Remedy: Authentication methods, Policies: enable passkeys (FIDO2).
    """
    enabled = sorted(one["id"] for one in methods if one["state"] == "enabled" and one["id"] in resistant)
    return ok(f"enabled: {', '.join(enabled)}") if enabled else fail(f"none of {', '.join(resistant)} is enabled")


@check(
    "entra.authentication-methods.weak-off",
    title="Entra does not offer codes by text message or telephone call",
    severity="medium",
    each="entra.authentication-methods",
)
def weak_off(method: Record, *, weak: tuple[str, ...] = ("Sms", "Voice")) -> Verdict:
    """A method in ``weak`` is disabled, and no older setting can offer it beside the policy.

    Source: authenticationMethodsPolicy (``authenticationMethodConfigurations``: ``id``, ``state``;
    ``policyMigrationState``, null where a tenant never had the older settings for MFA and password reset). Before the
    migration is complete those settings, which the API does not show, may offer what the policy does not.
    Remedy: move its users to Microsoft Authenticator or passkeys, then disable it; complete the migration.
    """
    if method["id"] not in weak:
        return skip(f"{method['id']} is not among {', '.join(weak)}")
    told = f"{method['id']} is {method['state']}"
    if method["state"] != "disabled":
        return fail(told)
    if method["policyMigrationState"] not in (None, "migrationComplete"):
        reason = f"{told} in the policy, and the older settings hold beside it ({method['policyMigrationState']})"
        raise Unavailable(GapKind.UNPROVEN, reason)
    return ok(told)


@check(
    "entra.authorization-policy.applications-by-administrators",
    title="Entra users may not register applications",
    severity="medium",
    each="entra.authorization-policy",
)
def applications_by_administrators(policy: Record) -> Verdict:
    """Users without a role may not create application registrations.

    Source: authorizationPolicy (``defaultUserRolePermissions.allowedToCreateApps``).
    Remedy: User settings: Users can register applications: No.
    """
    if policy["defaultUserRolePermissions"]["allowedToCreateApps"]:
        return fail("every user may register applications")
    return ok("users may not register applications")


@check(
    "entra.authorization-policy.tenants-by-administrators",
    title="Entra users may not create tenants",
    severity="low",
    each="entra.authorization-policy",
)
def tenants_by_administrators(policy: Record) -> Verdict:
    """Users without a role may not create tenants, whose rulers they would be.

    Source: authorizationPolicy (``defaultUserRolePermissions.allowedToCreateTenants``).
    Remedy: User settings: Restrict non-admin users from creating tenants: Yes.
    """
    if policy["defaultUserRolePermissions"]["allowedToCreateTenants"]:
        return fail("every user may create tenants")
    return ok("users may not create tenants")


@check(
    "entra.authorization-policy.consent-restricted",
    title="Entra users may not open data to any application",
    severity="high",
    each="entra.authorization-policy",
)
def consent_restricted(
    policy: Record, *, accepted: tuple[str, ...] = ("microsoft-user-default-low", "microsoft-user-default-recommended")
) -> Verdict:
    """Users consent to applications by themselves not at all, or by policies in ``accepted`` only.

    Source: authorizationPolicy (``defaultUserRolePermissions.permissionGrantPoliciesAssigned``); what stands after
    ``ManagePermissionGrantsForSelf.`` is a consent policy; the case of its letters differs from tenant to tenant. What
    microsoft-user-default-recommended lets through is Microsoft's to change: take it out of ``accepted`` where the
    organisation decides itself.
    Remedy: Consent and permissions: do not allow user consent, or for verified publishers and selected permissions.
    """
    own = "managepermissiongrantsforself."
    assigned = [name.lower() for name in policy["defaultUserRolePermissions"]["permissionGrantPoliciesAssigned"]]
    held = [name.removeprefix(own) for name in assigned if name.startswith(own)]
    wide = sorted(set(held) - {name.lower() for name in accepted})
    if wide:
        return fail(f"users consent by {', '.join(wide)}, accepted {', '.join(accepted)}")
    return ok(f"users consent by {', '.join(held)}" if held else "users do not consent by themselves")


@check(
    "entra.authorization-policy.invitations-restricted",
    title="Guests are invited to the Entra tenant by those named for it",
    severity="medium",
    each="entra.authorization-policy",
)
def invitations_restricted(
    policy: Record, *, accepted: tuple[str, ...] = ("adminsAndGuestInviters", "none")
) -> Verdict:
    """Who may invite guests is one of ``accepted``.

    Source: authorizationPolicy (``allowInvitesFrom``).
    Remedy: External collaboration settings: guest invite settings.
    """
    told = f"guests are invited by {policy['allowInvitesFrom']}, accepted {', '.join(accepted)}"
    return ok(told) if policy["allowInvitesFrom"] in accepted else fail(told)


@check(
    "entra.authorization-policy.guests-restricted",
    title="Guests see less of the Entra directory than members",
    severity="medium",
    each="entra.authorization-policy",
)
def guests_restricted(policy: Record, *, accepted: tuple[str, ...] = (RESTRICTED_GUEST, LIMITED_GUEST)) -> Verdict:
    """The rights of guests are those of a role in ``accepted``: restricted, or limited.

    Source: authorizationPolicy (``guestUserRoleId``); any other role, as that of members, opens the directory.
    Remedy: External collaboration settings: guest user access.
    """
    told = f"guests have the rights of role {policy['guestUserRoleId']}"
    return ok(told) if policy["guestUserRoleId"] in accepted else fail(f"{told}, accepted {', '.join(accepted)}")


@check(
    "entra.admin-consent.decided",
    title="Requests for applications reach somebody who decides",
    severity="low",
    each="entra.admin-consent",
)
def decided(policy: Record, *, min_reviewers: int = 1) -> Verdict:
    """Users can request an application, and at least ``min_reviewers`` reviewers are named, who are told of it.

    Source: adminConsentRequestPolicy (``isEnabled``, ``notifyReviewers``, ``reviewers``).
    Remedy: Consent and permissions, Admin consent settings.
    """
    if not policy["isEnabled"]:
        return fail("users cannot request an application")
    if not policy["notifyReviewers"]:
        return fail("reviewers are not told of requests")
    told = f"{len(policy['reviewers'])} reviewers are named, at least {min_reviewers} wanted"
    return ok(told) if len(policy["reviewers"]) >= min_reviewers else fail(told)


@check(
    "entra.security-defaults.or-conditional-access",
    title="Security defaults are on, or conditional access is in force",
    severity="high",
    over=("entra.security-defaults", "entra.conditional-access"),
)
def or_conditional_access(defaults: Iterator[Record], policies: Iterator[Record]) -> Verdict:
    """Security defaults are on, or at least one conditional access policy is enabled.

    Source: identitySecurityDefaultsEnforcementPolicy (``isEnabled``), List conditionalAccessPolicies (``state``). What
    the policies require is the matter of other checks.
    Remedy: turn security defaults on, or put policies in force.
    """
    (row,) = defaults
    enabled = sum(policy["state"] == "enabled" for policy in policies)
    told = f"security defaults are {'on' if row['isEnabled'] else 'off'}, {enabled} policies are in force"
    return ok(told) if row["isEnabled"] or enabled else fail(told)
