"""Okta's own count of users, and what it says of the list.

A failure here says nothing of the organisation. It says that two replies about the same thing disagree, so that neither
may be relied on until it is known why.
"""

from collections.abc import Iterator

from collector.api import GapKind, Http, Record, Row, Unavailable, Verdict, check, fail, ok, source

EVERYONE = "Everyone"
"""Name of the built-in group that holds all users and that nobody can be taken out of."""


@source(
    "okta.user-counts", key="id", per="connection", permissions=("okta.groups.read",),
    filters="groups that Okta itself made",
)  # fmt: skip
def user_counts(okta: Http) -> Iterator[Row]:
    """Every built-in group with the number of its members; one of them, Everyone, holds all users."""
    yield from okta.pages("/api/v1/groups", filter='type eq "BUILT_IN"', expand="stats", limit=200)


@check(
    "okta.users.reconciled",
    title="The evidence agrees on the users: list and count",
    severity="high",
    over=("okta.users", "okta.user-counts"),
    reconciles=("okta.users",),
)
def reconciled(users: Iterator[Record], groups: Iterator[Record], *, max_moving: int = 0) -> Verdict:
    """The group Everyone counts at least the users listed that are not deprovisioned, and at most all that are listed.

    Okta does not say whether its count holds deprovisioned users, so both are accepted. The numbers may differ by
    ``max_moving`` more, for users made or removed between the replies. Source: List users (``status``), List groups
    (``_embedded.stats.usersCount``).
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    counted = [group["_embedded"]["stats"]["usersCount"] for group in groups if group["profile"]["name"] == EVERYONE]
    if len(counted) != 1:
        raise Unavailable(GapKind.UNPROVEN, f"{len(counted)} built-in groups are called {EVERYONE}, so nothing counts")
    statuses = [user["status"] for user in users]
    present = sum(status != "DEPROVISIONED" for status in statuses)
    told = f"{len(statuses)} users are listed, {present} of them not deprovisioned"
    told += f"; the group {EVERYONE} counts {counted[0]}"
    if present - max_moving <= counted[0] <= len(statuses) + max_moving:
        return ok(told)
    return fail(f"{told}, limit {max_moving} beyond that")
