"""Microsoft Entra ID Protection: users it holds to be at risk, and whether somebody saw to them."""

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
    "entra.risky-users",
    key="id",
    per="connection",
    permissions=("IdentityRiskyUser.Read.All",),
    redactions=(
        Redaction(
            "entra:GET /v1.0/identityProtection/riskyUsers",
            "people are told apart by id and user name",
            json="value[].userDisplayName",
        ),
    ),
    personal=(Personal("entra:GET /v1.0/identityProtection/*", "email", json="value[].userPrincipalName"),),
)
def risky_users(entra: Http) -> Iterator[Row]:
    """Every user for whom a risk was ever found, settled or not; needs Entra ID P2."""
    yield from entra.pages("/v1.0/identityProtection/riskyUsers", rows="value", pager=Field("@odata.nextLink"))


@check(
    "entra.risky-users.settled",
    title="Users held to be at risk are seen to in time",
    severity="high",
    each="entra.risky-users",
)
def settled(
    user: Record, *, as_of: datetime, levels: tuple[str, ...] = ("medium", "high"), max_open_days: int = 7
) -> Verdict:
    """A user at a risk in ``levels`` has been so, unchanged, for at most ``max_open_days``.

    Source: List riskyUsers (``riskState``, ``riskLevel``, ``riskLastUpdatedDateTime``: since when the first finding
    stands is not told). Without the licence the level is hidden, so nothing is concluded. Dismissed by hand counts as
    settled; who looked at it is for the auditor to see.
    Remedy: confirm or dismiss the risk, and have the password changed.
    """
    if user["isDeleted"]:
        return skip("the user is deleted")
    if user["riskState"] not in ("atRisk", "confirmedCompromised"):
        return ok(f"the risk is {user['riskState']}")
    if user["riskLevel"] == "hidden" and user["riskState"] == "atRisk":
        raise Unavailable(GapKind.UNSUPPORTED, "the level of the risk is hidden: the tenant lacks the licence")
    if user["riskState"] == "atRisk" and user["riskLevel"] not in levels:
        return skip(f"the risk is {user['riskLevel']}")
    days = days_between(instant(user["riskLastUpdatedDateTime"]), as_of)
    told = f"{user['riskState']} ({user['riskLevel']}) for {days} days, limit {max_open_days}"
    return ok(told) if days <= max_open_days else fail(told)
