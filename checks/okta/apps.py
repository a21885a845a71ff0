"""Okta applications: how assignments are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, skip, source


@source(
    "okta.app-users",
    key="Key",
    per="connection",
    permissions=("okta.apps.read",),
    redactions=(
        *(
            Redaction("okta:GET /api/v1/apps", "settings of an application may hold its credentials", json=f"[].{path}")
            for path in (
                "credentials.oauthClient.client_secret", "credentials.password.value", "settings.app.*",
            )
        ),
        *(
            Redaction("okta:GET /api/v1/apps/{appId}/users", "who is assigned is told by the id", json=f"[].{path}")
            for path in ("profile.*", "profile.*[]", "credentials.userName", "credentials.password.value")
        ),
    ),
    filters="applications that are active",
)  # fmt: skip
def app_users(okta: Http) -> Iterator[Row]:
    """Every assignment of a user to an active application, whether of its own or through a group."""
    for app in okta.pages("/api/v1/apps", filter='status eq "ACTIVE"', limit=200):
        for user in okta.pages("/api/v1/apps/{appId}/users", appId=app["id"], limit=500):
            yield {"Key": f"{app['id']}/{user['id']}", "App": {"id": app["id"], "label": app["label"]}, **user}


@check(
    "okta.app-users.through-groups",
    title="Okta applications are assigned through groups",
    severity="low",
    over=("okta.app-users",),
)
def through_groups(assignments: Iterator[Record], *, max_direct_pct: int = 10) -> Verdict:
    """At most ``max_direct_pct`` per cent of the assignments to active applications are made to a single user.

    Source: List application users (``scope``).
    Remedy: assign the application to a group, and let the group be reviewed.
    """
    direct = total = 0
    for assignment in assignments:
        total += 1
        direct += {"USER": 1, "GROUP": 0}[assignment["scope"]]
    if not total:
        return skip("no application is assigned to anybody")
    told = f"{direct} of {total} assignments are made to a single user, limit {max_direct_pct} per cent"
    return ok(told) if direct * 100 <= max_direct_pct * total else fail(told)


@check(
    "okta.app-users.none-of-leavers",
    title="Users who are off in Okta hold no application",
    severity="high",
    over=("okta.users", "okta.app-users"),
)
def none_of_leavers(users: Iterator[Record], assignments: Iterator[Record]) -> Verdict:
    """No deprovisioned user is still assigned to an active application.

    Source: List users (``status``), List application users (``id``, ``status``). An assignment that is itself
    deprovisioned or revoked does not count.
    Remedy: remove the assignment, and see whether the account behind the application is gone.
    """
    off = {user["id"]: user["profile"]["login"] for user in users if user["status"] == "DEPROVISIONED"}
    if not off:
        return skip("no user is deprovisioned")
    ended = ("DEPROVISIONED", "INACTIVE", "REVOKED", "UNASSIGNED")
    left = [
        f"{off[item['id']]} in {item['App']['label']}"
        for item in assignments
        if item["id"] in off and item["status"] not in ended
    ]
    if left:
        return fail(f"{len(left)} assignments of deprovisioned users remain: {', '.join(sorted(left)[:20])}")
    return ok(f"none of {len(off)} deprovisioned users is assigned to an active application")
