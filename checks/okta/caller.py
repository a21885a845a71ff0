"""Who asks Okta: the user an API token belongs to."""

from collections.abc import Iterator

from collector.api import Http, Redaction, Row, source

REASON = "the identity is told by id and login"


@source(
    "okta.caller",
    key="Id",
    per="connection",
    permissions=("okta.users.read",),
    redactions=tuple(
        Redaction("okta:GET /api/v1/users/{id}", REASON, json=f"profile.{name}")
        for name in ("firstName", "lastName", "mobilePhone", "primaryPhone", "secondEmail", "displayName")
    ),
)
def caller(okta: Http) -> Iterator[Row]:
    """One record: the user the API token belongs to; a service app is no user, so that the connection names it."""
    user = okta.get("/api/v1/users/{id}", id="me", absent=(403, 404))
    named = "" if user is None else f"{user['id']} {user['profile']['login']}"
    yield {"Id": "caller", "Caller": named, "getUser": user}
