"""Microsoft Entra users: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from collector.api import (
    Field,
    Http,
    Personal,
    Record,
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

FIELDS = (
    "id,userPrincipalName,mail,employeeId,accountEnabled,userType,createdDateTime,externalUserState,"
    "externalUserStateChangeDateTime,lastPasswordChangeDateTime,onPremisesSyncEnabled,passwordPolicies"
)
"""Asked for by name, so that names, telephones and addresses of people are never sent."""


@source(
    "entra.users",
    key="id",
    per="connection",
    permissions=("User.Read.All",),
    personal=(
        Personal("entra:GET /v1.0/users", "email", json="value[].userPrincipalName"),
        Personal("entra:GET /v1.0/users", "email", json="value[].mail"),
    ),
)
def users(entra: Http) -> Iterator[Row]:
    """Every user of the tenant, members and guests, enabled or not; deleted ones are in no list."""
    yield from entra.pages(
        "/v1.0/users", rows="value", pager=Field("@odata.nextLink"), **{"$select": FIELDS, "$top": 999}
    )


@source(
    "entra.user-count", key="Id", per="connection", permissions=("User.Read.All",),
    parts="the number of users that the directory counts",
)  # fmt: skip
def user_count(entra: Http) -> Iterator[Row]:
    """One record: the number of users the directory counts in its index, apart from the list."""
    query: dict[str, Any] = {"$count": True, "$select": "id", "$top": 1}
    counted = entra.get("/v1.0/users", headers={"ConsistencyLevel": "eventual"}, part=True, **query)
    yield {"Id": "user-count", "listUser": {"@odata.count": counted["@odata.count"]}}


@source(
    "entra.user-activity",
    key="id",
    per="connection",
    permissions=("AuditLog.Read.All", "User.Read.All"),
    personal=(Personal("entra:GET /v1.0/users", "email", json="value[].userPrincipalName"),),
)
def user_activity(entra: Http) -> Iterator[Row]:
    """Every user of the tenant with the time of the last sign-in; needs Entra ID P1, so that it is apart from the list.

    The directory tells successful sign-ins since December 2023, some hours late.
    """
    yield from entra.pages(
        "/v1.0/users",
        rows="value",
        pager=Field("@odata.nextLink"),
        **{"$select": "id,userPrincipalName,accountEnabled,userType,createdDateTime,signInActivity", "$top": 120},
    )


@check(
    "entra.users.reconciled",
    title="The evidence agrees on the users: list and count of the directory",
    severity="high",
    over=("entra.users", "entra.user-count"),
    reconciles=("entra.users",),
)
def reconciled(users: Iterator[Record], counts: Iterator[Record], *, max_difference: int = 0) -> Verdict:
    """The users listed are as many as the directory counts, give or take ``max_difference``.

    The count comes from an index that follows the directory some minutes later, so that accounts made in between may
    be told as a disagreement. Source: List users, and its ``@odata.count`` with ConsistencyLevel eventual.
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    (row,) = counts
    counted = row["listUser"]["@odata.count"]
    listed = sum(1 for _ in users)
    told = f"{listed} users are listed, the directory counts {counted}, difference allowed {max_difference}"
    return ok(told) if abs(listed - counted) <= max_difference else fail(told)


@check(
    "entra.users.invitation-settled",
    title="Entra guests accept their invitation, or it is withdrawn",
    severity="low",
    each="entra.users",
)
def invitation_settled(user: Record, *, as_of: datetime, max_pending_days: int = 30) -> Verdict:
    """A guest who has not accepted was invited at most ``max_pending_days`` before the day of collection.

    Source: List users (``userType``, ``externalUserState``, ``externalUserStateChangeDateTime``, ``createdDateTime``).
    Remedy: delete the guest; invite again when the person is expected.
    """
    if user["userType"] != "Guest":
        return skip(f"user type is {user['userType'] or 'not set'}")
    if user["externalUserState"] != "PendingAcceptance":
        return skip(f"the invitation is {user['externalUserState'] or 'not told'}")
    since = user["externalUserStateChangeDateTime"] or user["createdDateTime"]
    age = days_between(instant(since), as_of)
    told = f"invited {age} days ago and not accepted, limit {max_pending_days}"
    return ok(told) if age <= max_pending_days else fail(told)


@check(
    "entra.users.strong-password",
    title="No Entra account is exempt from the rules for strong passwords",
    severity="medium",
    each="entra.users",
)
def strong_password(user: Record) -> Verdict:
    """The password policies of a user do not hold DisableStrongPassword.

    Source: List users (``passwordPolicies``, ``onPremisesSyncEnabled``). The password of a synchronised user follows
    the rules of the directory it comes from. Remedy: ``Update-MgUser -PasswordPolicies None``.
    """
    if user["onPremisesSyncEnabled"]:
        return skip("the password comes from the directory on the premises")
    held = [part.strip() for part in (user["passwordPolicies"] or "None").split(",")]
    told = f"password policies are {', '.join(held)}"
    return fail(told) if "DisableStrongPassword" in held else ok(told)


@check(
    "entra.user-activity.members-in-use",
    title="Entra accounts of members that can sign in are used",
    severity="medium",
    each="entra.user-activity",
)
def members_in_use(user: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """An enabled member signed in within ``max_unused_days`` before the day of collection, or is younger than that.

    Source: List users (``signInActivity.lastSuccessfulSignInDateTime``, ``createdDateTime``). Attempts that failed do
    not count as use; activity is left out for users who never signed in.
    Remedy: disable the account, or record why it stays.
    """
    if user["userType"] == "Guest":
        return skip("a guest, whom entra.user-activity.guests-in-use looks at")
    return _in_use(user, as_of, max_unused_days)


@check(
    "entra.user-activity.guests-in-use",
    title="Entra accounts of guests that can sign in are used",
    severity="medium",
    each="entra.user-activity",
)
def guests_in_use(user: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """An enabled guest signed in within ``max_unused_days`` before the day of collection, or is younger than that.

    Source: List users (``signInActivity.lastSuccessfulSignInDateTime``, ``createdDateTime``).
    Remedy: delete the guest, or record who vouches for the account.
    """
    if user["userType"] != "Guest":
        return skip(f"user type is {user['userType'] or 'not set'}")
    return _in_use(user, as_of, max_unused_days)


def _in_use(user: Record, as_of: datetime, limit: int) -> Verdict:
    if not user["accountEnabled"]:
        return skip("the account is disabled")
    last = user.get("signInActivity", {}).get("lastSuccessfulSignInDateTime")  # both left out until there was one
    unused = days_between(instant(last or user["createdDateTime"]), as_of)
    told = f"last sign-in {unused} days ago" if last else f"created {unused} days ago, and no sign-in since is told"
    told += f", limit {limit}"
    return ok(told) if unused <= limit else fail(told)
