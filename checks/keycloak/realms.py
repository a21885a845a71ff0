"""Keycloak realms: how their settings are read, and what we require of them."""

import re
from collections.abc import Iterator

from collector.api import GapKind, Http, Record, Redaction, Row, Unavailable, Verdict, check, fail, ok, skip, source

DAY_S = 24 * 60 * 60
USUAL = {"length": 8, "passwordHistory": 3}
"""What Keycloak takes where a rule names no number."""


@source(
    "keycloak.realms",
    key="realm",
    per="connection",
    permissions=("view-realm",),
    redactions=(
        Redaction("keycloak:GET /admin/realms", "may hold a password", json="[].smtpServer.*"),
        Redaction("keycloak:GET /admin/realms/{realm}", "may hold a password", json="smtpServer.*"),
    ),
)
def realms(keycloak: Http) -> Iterator[Row]:
    """Every realm that the client is shown; its settings stand under ``getRealm``."""
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        yield {"realm": name, "getRealm": keycloak.attempt("/admin/realms/{realm}", realm=name)}


@check(
    "keycloak.realms.tls-required",
    title="Keycloak realms require TLS, at least of public addresses",
    severity="high",
    each="keycloak.realms",
)
def tls_required(realm: Record, *, accepted: tuple[str, ...] = ("all", "external")) -> Verdict:
    """The realm requires TLS, of all clients or of those with a public address.

    Source: Get realm (``sslRequired``). A proxy in front that takes TLS off is not seen; behind one that hides the
    address of the client, everybody may look private.
    Remedy: *Realm settings, General, Require SSL*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    told = f"TLS is required of: {settings['sslRequired'].lower()}"
    return ok(told) if settings["sslRequired"].lower() in accepted else fail(f"{told}; accepted: {', '.join(accepted)}")


@check(
    "keycloak.realms.brute-force-detection",
    title="Keycloak realms lock accounts after failed sign-ins",
    severity="high",
    each="keycloak.realms",
)
def brute_force_detection(realm: Record, *, max_failures: int = 10) -> Verdict:
    """Brute-force detection is on and locks an account after at most ``max_failures`` failures.

    Source: Get realm (``bruteForceProtected``, ``failureFactor``).
    Remedy: *Realm settings, Security defenses, Brute force detection*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    if not settings["bruteForceProtected"]:
        return fail("brute-force detection is off")
    told = f"accounts are locked after {settings['failureFactor']} failures, limit {max_failures}"
    return ok(told) if settings["failureFactor"] <= max_failures else fail(told)


@check(
    "keycloak.realms.password-length",
    title="Keycloak realms ask for long passwords",
    severity="medium",
    each="keycloak.realms",
)
def password_length(realm: Record, *, min_length: int = 12) -> Verdict:
    """The password policy of the realm asks for at least ``min_length`` characters.

    Source: Get realm (``passwordPolicy``, rule ``length``; left out where no policy was ever set).
    Remedy: *Authentication, Policies, Password policy*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    length = _rules(settings).get("length")
    if length is None:
        return fail(f"the policy asks for no length, at least {min_length} wanted")
    told = f"passwords have at least {length} characters, at least {min_length} wanted"
    return ok(told) if int(length) >= min_length else fail(told)


@check(
    "keycloak.realms.password-history",
    title="Keycloak realms refuse earlier passwords",
    severity="low",
    each="keycloak.realms",
)
def password_history(realm: Record, *, min_remembered: int = 5) -> Verdict:
    """The password policy of the realm remembers at least ``min_remembered`` passwords.

    Source: Get realm (``passwordPolicy``, rule ``passwordHistory``).
    Remedy: *Authentication, Policies, Password policy*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    remembered = int(_rules(settings).get("passwordHistory", 0))
    told = f"{remembered} earlier passwords are refused, at least {min_remembered} wanted"
    return ok(told) if remembered >= min_remembered else fail(told)


@check(
    "keycloak.realms.password-blacklist",
    title="Keycloak realms refuse passwords that are known to be common",
    severity="medium",
    each="keycloak.realms",
)
def password_blacklist(realm: Record) -> Verdict:
    """The password policy of the realm names a list of passwords that are refused.

    Source: Get realm (``passwordPolicy``, rule ``passwordBlacklist``). What is in the list is not seen.
    Remedy: put a list on the server and add *Password blacklist* to the password policy.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    named = _rules(settings).get("passwordBlacklist")
    return ok(f"the list {named} is refused") if named else fail("the policy names no list of refused passwords")


@check(
    "keycloak.realms.session-lifetime",
    title="Keycloak sessions end",
    severity="medium",
    each="keycloak.realms",
)
def session_lifetime(realm: Record, *, max_idle_min: int = 60, max_session_h: int = 12) -> Verdict:
    """A session ends after ``max_idle_min`` minutes without use, and after ``max_session_h`` hours in any case.

    Source: Get realm (``ssoSessionIdleTimeout``, ``ssoSessionMaxLifespan``, seconds). Clients may set shorter times;
    offline sessions and "remember me" are not looked at.
    Remedy: *Realm settings, Sessions*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    idle_s, session_s = settings["ssoSessionIdleTimeout"], settings["ssoSessionMaxLifespan"]
    told = f"sessions end after {idle_s / 60:g} idle minutes and {session_s / 3600:g} hours"
    told += f", limits {max_idle_min} and {max_session_h}"
    return ok(told) if 0 < idle_s <= max_idle_min * 60 and 0 < session_s <= max_session_h * 3600 else fail(told)


@check(
    "keycloak.realms.no-self-registration",
    title="Nobody makes an account for himself in a Keycloak realm",
    severity="medium",
    each="keycloak.realms",
)
def no_self_registration(realm: Record, *, open_realms: tuple[str, ...] = ()) -> Verdict:
    """Users cannot register themselves, but in the ``open_realms``, which are meant for the public.

    Source: Get realm (``registrationAllowed``).
    Remedy: *Realm settings, Login, User registration*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    if realm["realm"] in open_realms:
        return skip("the realm is declared open to the public")
    return fail("users register themselves") if settings["registrationAllowed"] else ok("registration is off")


@check(
    "keycloak.realms.email-verified",
    title="Keycloak verifies the e-mail addresses it relies on",
    severity="medium",
    each="keycloak.realms",
)
def email_verified(realm: Record) -> Verdict:
    """Where users register themselves or reset a forgotten password by e-mail, addresses are verified first.

    Source: Get realm (``verifyEmail``, ``registrationAllowed``, ``resetPasswordAllowed``).
    Remedy: *Realm settings, Login, Verify email*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    if not settings["registrationAllowed"] and not settings["resetPasswordAllowed"]:
        return skip("neither registration nor the reset of a password relies on an address")
    return ok("addresses are verified") if settings["verifyEmail"] else fail("addresses are relied on and not verified")


@check(
    "keycloak.realms.events-kept",
    title="Keycloak keeps the events of users",
    severity="medium",
    each="keycloak.realms",
)
def events_kept(
    realm: Record,
    *,
    min_days: int = 90,
    types: tuple[str, ...] = ("LOGIN", "LOGIN_ERROR", "LOGOUT", "UPDATE_CREDENTIAL"),
) -> Verdict:
    """The realm saves events of users, the ``types`` among them, for at least ``min_days`` days or without end.

    Source: Get realm (``eventsEnabled``, ``eventsExpiration`` in seconds, 0 or left out without end;
    ``enabledEventTypes``, none for all). Events sent elsewhere by a listener are not looked at. Keycloak before 24
    knows UPDATE_PASSWORD instead of UPDATE_CREDENTIAL.
    Remedy: *Realm settings, Events, User events settings*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    if not settings["eventsEnabled"]:
        return fail("events of users are not saved")
    saved = settings.get("enabledEventTypes", [])
    missing = [name for name in types if name not in saved] if saved else []
    kept_s = settings.get("eventsExpiration", 0)
    told = f"events are kept for {kept_s // DAY_S} days, at least {min_days} wanted" if kept_s else "kept without end"
    if missing:
        return fail(f"not saved: {', '.join(missing)}; {told}")
    return fail(told) if 0 < kept_s < min_days * DAY_S else ok(told)


@check(
    "keycloak.realms.admin-events-kept",
    title="Keycloak keeps the events of administrators",
    severity="high",
    each="keycloak.realms",
)
def admin_events_kept(realm: Record, *, min_days: int = 90) -> Verdict:
    """The realm saves what administrators do, with what was changed, for ``min_days`` days at least or without end.

    Source: Get realm (``adminEventsEnabled``, ``adminEventsDetailsEnabled``; ``attributes``:
    ``adminEventsExpiration`` in seconds, as text, left out or 0 without end).
    Remedy: *Realm settings, Events, Admin events settings*.
    """
    if not (settings := _settings(realm))["enabled"]:
        return skip("the realm is disabled")
    if not settings["adminEventsEnabled"]:
        return fail("events of administrators are not saved")
    if not settings["adminEventsDetailsEnabled"]:
        return fail("events of administrators are saved without what was changed")
    kept_s = int(settings.get("attributes", {}).get("adminEventsExpiration") or 0)
    told = "events of administrators are saved with what was changed, "
    told += f"and kept for {kept_s // DAY_S} days, at least {min_days} wanted" if kept_s else "and kept without end"
    return fail(told) if 0 < kept_s < min_days * DAY_S else ok(told)


def _settings(realm: Record) -> Record:
    """The settings of a realm.

    Raises:
        Unavailable: Keycloak showed only a part of them (kind ``denied``).
    """
    settings: Record = realm["getRealm"]
    if "sslRequired" not in settings:
        raise Unavailable(GapKind.DENIED, "the client is shown only a part of the realm: it lacks the role view-realm")
    return settings


def _rules(settings: Record) -> dict[str, str | int]:
    """The rules of a password policy, ``length(12) and notUsername``, by name."""
    rules: dict[str, str | int] = {}
    for part in settings.get("passwordPolicy", "").split(" and "):
        if found := re.fullmatch(r"(\w+)(?:\((.*)\))?", part.strip()):
            value = found[2] if found[2] not in (None, "", "undefined") else ""
            rules[found[1]] = value or USUAL.get(found[1], "")
    return rules
