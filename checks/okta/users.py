"""Okta users: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Http, Record, Redaction, Row, Verdict, check, days_between, fail, instant, ok, skip, source

SIGN_IN = ("ACTIVE", "LOCKED_OUT", "PASSWORD_EXPIRED", "RECOVERY")
"""Statuses of accounts that are in use, or will be again when the lock or the password is renewed."""

PERSONAL = (
    "firstName",
    "lastName",
    "middleName",
    "displayName",
    "nickName",
    "mobilePhone",
    "primaryPhone",
    "secondEmail",
)


@source(
    "okta.users",
    key="id",
    per="connection",
    permissions=("okta.users.read",),
    redactions=(
        *(
            Redaction("okta:GET /api/v1/users", "accounts are told apart by id and login", json=f"[].profile.{name}")
            for name in PERSONAL
        ),
        *(
            Redaction("okta:GET /api/v1/users/{userId}/factors", reason, json=f"[].profile.{name}")
            for name, reason in (
                ("phoneNumber", "that a telephone is enrolled is the fact, not its number"),
                ("email", "that an address is enrolled is the fact, not the address"),
                ("questionText", "part of a credential"),
                ("name", "names of devices name their owners"),
            )
        ),
    ),
)
def users(okta: Http) -> Iterator[Row]:
    """Every user of the organisation, deprovisioned ones included, and the factors of those not deprovisioned.

    Without a filter Okta leaves deprovisioned users out, so we ask for all that were changed since 1970. Only status,
    times, login and e-mail are asked for.
    """
    for user in okta.pages(
        "/api/v1/users",
        filter='lastUpdated gt "1970-01-01T00:00:00.000Z"',
        fields="status,created,activated,statusChanged,lastLogin,lastUpdated,passwordChanged,profile:(login,email)",
        limit=200,
    ):
        if user["status"] != "DEPROVISIONED":
            user["listFactors"] = okta.attempt_all("/api/v1/users/{userId}/factors", userId=user["id"])
        yield user


@check(
    "okta.users.second-factor",
    title="Okta users have a second factor",
    severity="high",
    each="okta.users",
)
def second_factor(user: Record, *, not_counted: tuple[str, ...] = ("question",)) -> Verdict:
    """A user who can sign in has an active factor of a type that is not in ``not_counted``.

    Source: List factors (``factorType``, ``status``). Okta lists the factors that the enrolment policy of the user
    allows; it evaluates that policy for the client that asks.
    Remedy: have the user enrol a factor, or require one in the authenticator enrolment policy.
    """
    if user["status"] not in SIGN_IN:
        return skip(f"status is {user['status']}")
    active = sorted({factor["factorType"] for factor in user["listFactors"] if factor["status"] == "ACTIVE"})
    counted = [kind for kind in active if kind not in not_counted]
    if counted:
        return ok(f"active factors: {', '.join(counted)}")
    return fail(f"no active second factor; not counted: {', '.join(active) or 'none'}")


@check(
    "okta.users.factor-beyond-telephone",
    title="No Okta user relies on telephone or e-mail alone as second factor",
    severity="medium",
    each="okta.users",
)
def factor_beyond_telephone(user: Record, *, weak: tuple[str, ...] = ("call", "email", "question", "sms")) -> Verdict:
    """A user with active factors has one that is not in ``weak``, the types that can be intercepted or guessed.

    Source: List factors (``factorType``, ``status``). Users without a factor are the matter of another check.
    Remedy: have the user enrol Okta Verify or a security key.
    """
    if user["status"] not in SIGN_IN:
        return skip(f"status is {user['status']}")
    active = sorted({factor["factorType"] for factor in user["listFactors"] if factor["status"] == "ACTIVE"})
    if not active:
        return skip("no active factor")
    strong = [kind for kind in active if kind not in weak]
    return (
        ok(f"active factors: {', '.join(strong)}") if strong else fail(f"active factors are only {', '.join(active)}")
    )


@check(
    "okta.users.in-use",
    title="Okta accounts that can sign in are used",
    severity="medium",
    each="okta.users",
)
def in_use(user: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A user who can sign in did so within ``max_unused_days`` before the day of collection, or is younger than that.

    Source: List users (``lastLogin``, ``created``).
    Remedy: suspend or deactivate the account, or record why it stays.
    """
    if user["status"] not in SIGN_IN:
        return skip(f"status is {user['status']}")
    last = user["lastLogin"]
    unused = days_between(instant(last or user["created"]), as_of)
    told = f"last sign-in {unused} days ago" if last else f"created {unused} days ago and never signed in"
    told += f", limit {max_unused_days}"
    return ok(told) if unused <= max_unused_days else fail(told)


@check(
    "okta.users.invitation-fresh",
    title="Okta accounts that were never activated are not old",
    severity="low",
    each="okta.users",
)
def invitation_fresh(user: Record, *, as_of: datetime, max_pending_days: int = 30) -> Verdict:
    """A user who waits for activation was created at most ``max_pending_days`` before the day of collection.

    Source: List users (``status``, ``created``).
    Remedy: delete the account; create it again when the person starts.
    """
    if user["status"] not in ("STAGED", "PROVISIONED"):
        return skip(f"status is {user['status']}")
    age = days_between(instant(user["created"]), as_of)
    told = f"{user['status'].lower()} for {age} days, limit {max_pending_days}"
    return ok(told) if age <= max_pending_days else fail(told)


@check(
    "okta.users.suspension-settled",
    title="Suspended Okta accounts are restored or removed in time",
    severity="low",
    each="okta.users",
)
def suspension_settled(user: Record, *, as_of: datetime, max_suspended_days: int = 90) -> Verdict:
    """A suspended user has been so for at most ``max_suspended_days``.

    Source: List users (``status``, ``statusChanged``).
    Remedy: deactivate the account, or lift the suspension.
    """
    if user["status"] != "SUSPENDED":
        return skip(f"status is {user['status']}")
    age = days_between(instant(user["statusChanged"]), as_of)
    told = f"suspended for {age} days, limit {max_suspended_days}"
    return ok(told) if age <= max_suspended_days else fail(told)
