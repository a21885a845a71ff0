"""Okta policies: passwords, sign-on and sessions, authentication for applications."""

from collections.abc import Iterator

from collector.api import GapKind, Http, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source


def _policies(okta: Http, kind: str) -> Iterator[Row]:
    for policy in okta.pages("/api/v1/policies", type=kind):
        yield {
            **policy,
            "listPolicyRules": okta.attempt_all("/api/v1/policies/{policyId}/rules", policyId=policy["id"]),
        }


@source(
    "okta.password-policies", key="id", per="connection", permissions=("okta.policies.read",),
    filters="policies of the type PASSWORD",
)  # fmt: skip
def password_policies(okta: Http) -> Iterator[Row]:
    """Every password policy."""
    yield from okta.pages("/api/v1/policies", type="PASSWORD")


@source(
    "okta.sign-on-policies", key="id", per="connection", permissions=("okta.policies.read",),
    filters="policies of the type OKTA_SIGN_ON",
)  # fmt: skip
def sign_on_policies(okta: Http) -> Iterator[Row]:
    """Every sign-on policy (in Identity Engine: global session policy), with its rules."""
    yield from _policies(okta, "OKTA_SIGN_ON")


@source(
    "okta.authentication-policies", key="id", per="connection", permissions=("okta.policies.read",),
    filters="policies of the type ACCESS_POLICY",
)  # fmt: skip
def authentication_policies(okta: Http) -> Iterator[Row]:
    """Every authentication policy for applications, with its rules; Identity Engine only."""
    yield from _policies(okta, "ACCESS_POLICY")


def _off(policy: Record) -> Verdict | None:
    return None if policy["status"] == "ACTIVE" else skip(f"the policy is {policy['status'].lower()}")


@check(
    "okta.password-policies.length",
    title="Okta password policies ask for a minimum length",
    severity="medium",
    each="okta.password-policies",
)
def length(policy: Record, *, min_length: int = 12) -> Verdict:
    """An active policy asks for passwords of at least ``min_length`` characters; it binds new passwords only.

    Source: List policies (``settings.password.complexity.minLength``).
    Remedy: Security, Authenticators, Password: raise the minimum length.
    """
    if off := _off(policy):
        return off
    found = policy["settings"]["password"]["complexity"]["minLength"]
    told = f"passwords have at least {found} characters, limit {min_length}"
    return ok(told) if found >= min_length else fail(told)


@check(
    "okta.password-policies.history",
    title="Okta password policies refuse recent passwords",
    severity="low",
    each="okta.password-policies",
)
def history(policy: Record, *, min_remembered: int = 5) -> Verdict:
    """An active policy refuses the last ``min_remembered`` passwords of a user.

    Source: List policies (``settings.password.age.historyCount``; 0 means none).
    Remedy: Security, Authenticators, Password: enforce password history.
    """
    if off := _off(policy):
        return off
    found = policy["settings"]["password"]["age"]["historyCount"]
    told = f"the last {found} passwords are refused, limit {min_remembered}"
    return ok(told) if found >= min_remembered else fail(told)


@check(
    "okta.password-policies.lockout",
    title="Okta locks an account after wrong passwords",
    severity="medium",
    each="okta.password-policies",
)
def lockout(policy: Record, *, max_attempts: int = 10) -> Verdict:
    """An active policy locks an account after at most ``max_attempts`` wrong passwords.

    Source: List policies (``settings.password.lockout.maxAttempts``; 0 means never).
    Remedy: Security, Authenticators, Password: set the lockout.
    """
    if off := _off(policy):
        return off
    found = policy["settings"]["password"]["lockout"]["maxAttempts"]
    if found == 0:
        return fail(f"accounts are never locked, limit {max_attempts} attempts")
    told = f"accounts are locked after {found} attempts, limit {max_attempts}"
    return ok(told) if found <= max_attempts else fail(told)


@check(
    "okta.password-policies.common-refused",
    title="Okta password policies refuse common passwords",
    severity="medium",
    each="okta.password-policies",
)
def common_refused(policy: Record) -> Verdict:
    """An active policy refuses passwords of Okta's list of common ones.

    Source: List policies (``settings.password.complexity.dictionary.common.exclude``).
    Remedy: Security, Authenticators, Password: restrict use of common passwords.
    """
    if off := _off(policy):
        return off
    excluded = policy["settings"]["password"]["complexity"]["dictionary"]["common"]["exclude"]
    return {True: ok("common passwords are refused"), False: fail("common passwords are accepted")}[excluded]


def _admitting(policy: Record, action: str) -> list[Record]:
    """The active rules that let somebody in."""
    rules = [rule for rule in policy["listPolicyRules"] if rule["status"] == "ACTIVE"]
    return [rule for rule in rules if {"ALLOW": True, "DENY": False}[rule["actions"][action]["access"]]]


@check(
    "okta.sign-on-policies.factor-required",
    title="Okta sign-on policies require a second factor",
    severity="high",
    each="okta.sign-on-policies",
)
def factor_required(policy: Record) -> Verdict:
    """Every active rule that admits requires a second factor.

    Source: List policy rules (``actions.signon.access``, ``requireFactor``). In Identity Engine a second factor may
    be required by the authentication policies instead: then these rows fail, and those of the other check count.
    Remedy: Security, Global Session Policy: require multifactor authentication in the rule.
    """
    if off := _off(policy):
        return off
    rules = _admitting(policy, "signon")
    if not rules:
        return skip("no active rule admits anybody")
    # Okta documents false where requireFactor is left out.
    without = [rule["name"] for rule in rules if not rule["actions"]["signon"].get("requireFactor", False)]
    if without:
        return fail(f"no second factor is required by {', '.join(without)}")
    return ok(f"all {len(rules)} rules that admit require a second factor")


@check(
    "okta.sign-on-policies.session-lifetime",
    title="Okta sessions end after a set time",
    severity="medium",
    each="okta.sign-on-policies",
)
def session_lifetime(policy: Record, *, max_lifetime_min: int = 720) -> Verdict:
    """Every active rule that admits ends a session at most ``max_lifetime_min`` minutes after sign-in.

    Source: List policy rules (``actions.signon.session.maxSessionLifetimeMinutes``; 0 means no limit).
    Remedy: Security, Global Session Policy: set the maximum session lifetime in the rule.
    """
    return _sessions(policy, "maxSessionLifetimeMinutes", max_lifetime_min, "sessions last")


@check(
    "okta.sign-on-policies.session-idle",
    title="Idle Okta sessions end",
    severity="medium",
    each="okta.sign-on-policies",
)
def session_idle(policy: Record, *, max_idle_min: int = 120) -> Verdict:
    """Every active rule that admits ends a session after at most ``max_idle_min`` idle minutes.

    Source: List policy rules (``actions.signon.session.maxSessionIdleMinutes``).
    Remedy: Security, Global Session Policy: set the idle time in the rule.
    """
    return _sessions(policy, "maxSessionIdleMinutes", max_idle_min, "idle sessions last")


def _sessions(policy: Record, field: str, limit: int, what: str) -> Verdict:
    if off := _off(policy):
        return off
    rules = _admitting(policy, "signon")
    if not rules:
        return skip("no active rule admits anybody")
    found = {rule["name"]: rule["actions"]["signon"]["session"][field] for rule in rules}
    for name, minutes in found.items():
        if minutes == 0:
            return fail(f"{what} without limit by {name}, limit {limit} minutes")
    name, longest = max(found.items(), key=lambda item: item[1])
    told = f"{what} up to {longest} minutes by {name}, limit {limit}"
    return ok(told) if longest <= limit else fail(told)


@check(
    "okta.authentication-policies.two-factors",
    title="Okta authentication policies ask for two factors",
    severity="high",
    each="okta.authentication-policies",
)
def two_factors(policy: Record) -> Verdict:
    """Every active rule that admits asks for two kinds of factor.

    Source: List policy rules (``actions.appSignOn.verificationMethod.factorMode``). Rules that name chains of
    methods say it in another way, which is not judged here.
    Remedy: Security, Authentication Policies: ask for any two factor types in the rule.
    """
    if off := _off(policy):
        return off
    rules = _admitting(policy, "appSignOn")
    if not rules:
        return skip("no active rule admits anybody")
    single, other = [], []
    for rule in rules:
        method = rule["actions"]["appSignOn"]["verificationMethod"]
        if method["type"] != "ASSURANCE":
            other.append(rule["name"])
        elif {"1FA": True, "2FA": False}[method["factorMode"]]:
            single.append(rule["name"])
    if single:
        return fail(f"one factor is enough by {', '.join(single)}")
    if other:
        raise Unavailable(GapKind.UNSUPPORTED, f"the rules {', '.join(other)} name chains of methods")
    return ok(f"all {len(rules)} rules that admit ask for two factors")
