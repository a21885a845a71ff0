"""What else than the user reaches a Google account: applications with a grant, and application passwords."""

from collections.abc import Iterator

from collector.api import Http, Personal, Record, Redaction, Row, Token, Verdict, check, fail, ok, source

READS = (
    "https://www.googleapis.com/auth/admin.directory.user.readonly",
    "https://www.googleapis.com/auth/admin.directory.user.security",
)
"""The second could also revoke what it reads; Google has no narrower one."""

USERS = Personal("google-workspace:GET /admin/directory/v1/users", "email", json="users[].primaryEmail")

WIDE = (
    "https://mail.google.com/",
    "https://www.googleapis.com/auth/admin.directory.user",
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/drive",
    "https://www.googleapis.com/auth/drive.readonly",
    "https://www.googleapis.com/auth/gmail.modify",
    "https://www.googleapis.com/auth/gmail.readonly",
)
"""Scopes with which an application reads all mail or all files, or changes the directory or the cloud."""


@source("google-workspace.tokens", key="id", per="connection", permissions=READS, personal=(USERS,))
def tokens(google: Http) -> Iterator[Row]:
    """Every user of the customer, and the applications the user let in; what is secret in a grant is never sent."""
    for user in _users(google, "id,primaryEmail,suspended,archived"):
        grants = google.attempt_all("/admin/directory/v1/users/{userKey}/tokens", rows="items", userKey=user["id"])
        yield {**user, "listTokens": grants}


@source(
    "google-workspace.app-passwords",
    key="id",
    per="connection",
    permissions=READS,
    redactions=(
        Redaction(
            "google-workspace:GET /admin/directory/v1/users/{userKey}/asps",
            "users name it as they like",
            json="items[].name",
        ),
    ),
    personal=(USERS,),
)
def app_passwords(google: Http) -> Iterator[Row]:
    """Every user of the customer, and the application passwords of the user, without the passwords."""
    for user in _users(google, "id,primaryEmail"):
        held = google.attempt_all("/admin/directory/v1/users/{userKey}/asps", rows="items", userKey=user["id"])
        yield {**user, "listAsps": held}


def _users(google: Http, fields: str) -> Iterator[Row]:
    yield from google.pages(
        "/admin/directory/v1/users",
        rows="users", pager=Token("nextPageToken", "pageToken"), customer="my_customer", maxResults=500,
        fields=f"nextPageToken,users({fields})",
    )  # fmt: skip


@check(
    "google-workspace.tokens.scopes-limited",
    title="Applications reach no Google account as a whole",
    severity="high",
    each="google-workspace.tokens",
)
def scopes_limited(user: Record, *, wide: tuple[str, ...] = WIDE, approved: tuple[str, ...] = ()) -> Verdict:
    """No application but those whose client id is ``approved`` holds a grant of the user with a scope in ``wide``.

    Source: tokens.list (``clientId``, ``scopes``).
    Remedy: revoke the grant, and restrict the scope under *Security, API controls*; or record the approval.
    """
    found = sorted(
        f"{grant['displayText']} ({grant['clientId']})"
        for grant in user["listTokens"]
        if grant["clientId"] not in approved and set(grant["scopes"]) & set(wide)
    )
    if found:
        return fail(f"{len(found)} of {len(user['listTokens'])} applications reach all: {', '.join(found[:10])}")
    return ok(f"{len(user['listTokens'])} applications let in, none beyond approval with a scope that reaches all")


@check(
    "google-workspace.app-passwords.none",
    title="Google accounts have no application passwords",
    severity="medium",
    each="google-workspace.app-passwords",
)
def none_(user: Record, *, max_passwords: int = 0) -> Verdict:
    """A user has at most ``max_passwords`` application passwords, with which the second step is passed by.

    Source: asps.list.
    Remedy: revoke them, and use applications that sign in with OAuth.
    """
    told = f"{len(user['listAsps'])} application passwords, limit {max_passwords}"
    return ok(told) if len(user["listAsps"]) <= max_passwords else fail(told)
