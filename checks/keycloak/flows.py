"""How Keycloak realms have users sign in, and what we require of it."""

from collections.abc import Iterator, Sequence

from collector.api import GapKind, Http, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source

FACTORS = (
    "auth-otp-form", "auth-recovery-authn-code-form", "webauthn-authenticator", "webauthn-authenticator-passwordless",
)  # fmt: skip
"""Steps that ask for a second factor, or for one that needs no password."""

ELSEWHERE = ("auth-cookie", "identity-provider-redirector", "organization")
"""Steps that let in who signed in before, or send users to sign in with another provider."""

HAVING = {"conditional-credential", "conditional-user-configured"}
"""Conditions of those who have enrolled a factor, and have not used it already."""

ENROLLING = ("CONFIGURE_TOTP", "webauthn-register", "webauthn-register-passwordless")
"""Required actions in which a user enrols one."""


@source("keycloak.flows", key="Key", per="connection", permissions=("view-realm",))
def flows(keycloak: Http) -> Iterator[Row]:
    """Every authentication flow of every realm the client is shown, and its steps, those of sub-flows included."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for flow in keycloak.pages("/admin/realms/{realm}/authentication/flows", realm=name):
            steps = keycloak.attempt_all(
                "/admin/realms/{realm}/authentication/flows/{flowAlias}/executions", realm=name, flowAlias=flow["alias"]
            )
            yield {"Key": f"{name}/{flow['alias']}", "Realm": name, **flow, "getExecutions": steps}


@source("keycloak.required-actions", key="Key", per="connection", permissions=("view-realm",))
def required_actions(keycloak: Http) -> Iterator[Row]:
    """Every action that a realm can require of a user at sign-in."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        for action in keycloak.pages("/admin/realms/{realm}/authentication/required-actions", realm=name):
            yield {"Key": f"{name}/{action['alias']}", "Realm": name, **action}


@check(
    "keycloak.flows.second-factor",
    title="Keycloak asks those who have a second factor for it at sign-in",
    severity="high",
    over=("keycloak.realms", "keycloak.flows"),
)
def second_factor(realms: Iterator[Record], flows: Iterator[Record], *, factors: tuple[str, ...] = FACTORS) -> Verdict:
    """The browser flow of every enabled realm has a step of ``factors``, at least for users who have enrolled one.

    A step that is one choice beside a password does not count, nor one behind a condition other than that the user has
    a factor, nor one beside a way in without it; so does Keycloak itself pass over choices beside steps that are
    required. Flows that a client puts in place of the realm's are not looked at, nor other identity providers.
    Source: Get realm (``browserFlow``), Get executions (``providerId``, ``requirement``, ``level``).
    Remedy: *Authentication, Flows*: put an OTP or WebAuthn step behind the password.
    """
    asked = _asked(realms, flows, factors)
    if not asked:
        return skip("no realm is enabled")
    without = sorted(name for name, whom in asked.items() if whom == "nobody")
    if without:
        told = f"{len(without)} of {len(asked)} realms ask for no second factor, or not on every way in"
        return fail(f"{told}: {', '.join(without)}")
    return ok("; ".join(f"{name} asks {whom}" for name, whom in sorted(asked.items())))


@check(
    "keycloak.required-actions.enrolment",
    title="Keycloak users must enrol a second factor",
    severity="high",
    over=("keycloak.realms", "keycloak.flows", "keycloak.required-actions"),
)
def enrolment(
    realms: Iterator[Record],
    flows: Iterator[Record],
    actions: Iterator[Record],
    *,
    factors: tuple[str, ...] = FACTORS,
    enrolling: tuple[str, ...] = ENROLLING,
) -> Verdict:
    """Every enabled realm asks everybody for a second factor, or makes new users enrol one at their first sign-in.

    Source: Get executions (``requirement``), Get required actions (``enabled``, ``defaultAction``). A default action
    binds users made after it was set; for the others see the credentials of each.
    Remedy: make the step required, or *Configure OTP* a default action.
    """
    asked = _asked(realms, flows, factors)
    made = {
        action["Realm"]
        for action in actions
        if action["alias"] in enrolling and action["enabled"] and action["defaultAction"]
    }
    if not asked:
        return skip("no realm is enabled")
    free = sorted(
        name for name, whom in asked.items() if whom == "nobody" or (whom != "everybody" and name not in made)
    )
    if free:
        return fail(f"{len(free)} of {len(asked)} realms leave it to the user to enrol: {', '.join(free)}")
    return ok(f"in all {len(asked)} realms a second factor is asked of everybody, or new users must enrol one")


def _asked(realms: Iterator[Record], flows: Iterator[Record], factors: Sequence[str]) -> dict[str, str]:
    """Whom the browser flow of each enabled realm asks for a second factor, by realm.

    Raises:
        Unavailable: a realm names a flow that is not in the list, or is shown in part only.
    """
    bound = {}
    for realm in realms:
        settings = realm["getRealm"]
        if "browserFlow" not in settings:
            raise Unavailable(GapKind.DENIED, f"the client is shown only a part of the realm {realm['realm']}")
        if settings["enabled"]:
            bound[realm["realm"]] = settings["browserFlow"]
    steps = {flow["Realm"]: flow["getExecutions"] for flow in flows if bound.get(flow["Realm"]) == flow["alias"]}
    if missing := sorted(bound.keys() - steps.keys()):
        raise Unavailable(GapKind.UNPROVEN, f"the browser flow of {', '.join(missing)} is not in the list of flows")
    return {name: _whom(steps[name], factors) for name in bound}


def _whom(steps: Sequence[Record], factors: Sequence[str]) -> str:
    """Whom a flow asks for one of the factors, on every way through it."""
    return ("nobody", "those who have one", "everybody")[_asks(steps, factors)]


def _asks(steps: Sequence[Record], factors: Sequence[str]) -> int:
    """Whom the steps of a flow ask: 0 nobody, 1 those who have a factor, 2 everybody."""
    parts = [part for part in _parts(steps) if part[0]["requirement"] != "DISABLED" and not _condition(part[0])]
    needed = [part for part in parts if part[0]["requirement"] != "ALTERNATIVE"]
    if needed:  # Keycloak passes over alternatives beside them
        return max(_asked_by(*part, factors) for part in needed)
    return min((_asked_by(*part, factors) for part in parts if not _elsewhere(*part)), default=0)


def _asked_by(step: Record, below: Sequence[Record], factors: Sequence[str]) -> int:
    """Whom one step, or the sub-flow it stands for, asks."""
    if not below:
        return 2 if step.get("providerId") in factors else 0  # an empty sub-flow has no provider
    whom = _asks(below, factors)
    if step["requirement"] != "CONDITIONAL":
        return whom
    conditions = {
        part["providerId"] for part, _ in _parts(below) if _condition(part) and part["requirement"] != "DISABLED"
    }
    return min(whom, 1) if "conditional-user-configured" in conditions and conditions <= HAVING else 0


def _parts(steps: Sequence[Record]) -> list[tuple[Record, Sequence[Record]]]:
    """The steps of the uppermost level, each with those below it."""
    starts = [number for number, step in enumerate(steps) if step["level"] == steps[0]["level"]]
    return [(steps[start], steps[start + 1 : end]) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def _condition(step: Record) -> bool:
    return str(step.get("providerId", "")).startswith("conditional-")


def _elsewhere(step: Record, below: Sequence[Record]) -> bool:
    """Whether all that this way does is to let in who signed in before, or to send the user elsewhere."""
    doing = [one for one in (step, *below) if one["requirement"] != "DISABLED" and not _condition(one)]
    named = [one["providerId"] for one in doing if "providerId" in one]
    return bool(named) and set(named) <= set(ELSEWHERE)
