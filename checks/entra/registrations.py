"""Microsoft Entra: which ways to sign in people have registered."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    Field,
    GapKind,
    Http,
    Personal,
    Record,
    Redaction,
    Row,
    Table,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)


@source(
    "entra.registrations",
    key="id",
    per="connection",
    permissions=("AuditLog.Read.All",),
    redactions=(
        Redaction(
            "entra:GET /v1.0/reports/authenticationMethods/userRegistrationDetails",
            "people are told apart by id and user name",
            json="value[].userDisplayName",
        ),
    ),
    personal=(Personal("entra:GET /v1.0/reports/*", "email", json="value[].userPrincipalName"),),
)
def registrations(entra: Http) -> Iterator[Row]:
    """Every user in the registration report, with the methods registered; needs Entra ID P1, a day late."""
    yield from entra.pages(
        "/v1.0/reports/authenticationMethods/userRegistrationDetails", rows="value", pager=Field("@odata.nextLink")
    )


@check(
    "entra.registrations.complete",
    title="The evidence agrees on who may sign in: list of users and registration report",
    severity="high",
    over=("entra.registrations", "entra.users"),
    reconciles=("entra.registrations",),
)
def complete(
    report: Iterator[Record], users: Iterator[Record], *, as_of: datetime, max_report_age_days: int = 2
) -> Verdict:
    """Every enabled user who was there ``max_report_age_days`` before the collection is in the registration report.

    Source: List userRegistrationDetails (``id``), List users (``accountEnabled``, ``createdDateTime``). A guest who
    has not accepted cannot register yet and is not expected.
    Remedy: collect again a day later; if it stays, do not rely on the report for those it leaves out.
    """
    told = {row["id"] for row in report}
    expected = {
        user["id"]: user["userPrincipalName"]
        for user in users
        if user["accountEnabled"]
        and user["externalUserState"] != "PendingAcceptance"
        and days_between(instant(user["createdDateTime"]), as_of) > max_report_age_days
    }
    missing = sorted(name for id_, name in expected.items() if id_ not in told)
    if missing:
        return fail(f"{len(missing)} of {len(expected)} enabled users are not in it: {', '.join(missing[:20])}")
    return ok(f"all {len(expected)} enabled users are in it")


@check(
    "entra.registrations.second-factor",
    title="Entra users have a second factor that the policy allows",
    severity="high",
    each="entra.registrations",
    beside=("entra.users",),
)
def second_factor(row: Record, users: Table, *, user_types: tuple[str, ...] = ("member",)) -> Verdict:
    """An enabled user of a type in ``user_types`` has registered a second factor that is allowed by policy.

    Source: List userRegistrationDetails (``isMfaCapable``, ``methodsRegistered``, ``userType``), List users
    (``accountEnabled``). That it is asked for is a matter of conditional access.
    Remedy: have the user register at aka.ms/mfasetup, or open a registration campaign.
    """
    if row["userType"] not in user_types:
        return skip(f"user type is {row['userType']}")
    found = users.where("id", row["id"])
    if not found:
        raise Unavailable(GapKind.UNPROVEN, f"{row['userPrincipalName']} is in the report and not in the list of users")
    if not found[0]["accountEnabled"]:
        return skip("the account is disabled")
    methods = ", ".join(sorted(row["methodsRegistered"])) or "none"
    if row["isMfaCapable"]:
        return ok(f"a second factor is registered and allowed; methods registered: {methods}")
    return fail(f"no second factor that the policy allows; methods registered: {methods}")


@check(
    "entra.registrations.beyond-telephone",
    title="No Entra user relies on telephone or e-mail alone as second factor",
    severity="medium",
    each="entra.registrations",
)
def beyond_telephone(
    row: Record,
    *,
    weak: tuple[str, ...] = (
        "alternateMobilePhone", "email", "mobilePhone", "officePhone", "securityQuestion", "temporaryAccessPass",
    ),
) -> Verdict:  # fmt: skip
    """A user with a second factor has registered one that is not in ``weak``: intercepted, guessed, or soon over.

    Source: List userRegistrationDetails (``isMfaRegistered``, ``methodsRegistered``). Users without a second factor
    are the matter of entra.registrations.second-factor.
    Remedy: have the user add Microsoft Authenticator or a passkey.
    """
    if not row["isMfaRegistered"]:
        return skip("no second factor is registered")
    strong = sorted(set(row["methodsRegistered"]) - set(weak))
    if strong:
        return ok(f"methods registered: {', '.join(strong)}")
    return fail(f"methods registered are only {', '.join(sorted(row['methodsRegistered']))}")
