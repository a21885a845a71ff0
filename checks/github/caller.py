"""Who asks GitHub: the user a token belongs to."""

from collections.abc import Iterator

from collector.api import Http, Redaction, Row, source


@source(
    "github.caller",
    key="Id",
    per="account",
    permissions=("metadata:read",),
    redactions=tuple(
        Redaction("github:GET /user", "the identity is told by id and login", json=name)
        for name in (
            "name", "company", "blog", "location", "email", "notification_email", "bio", "twitter_username",
            "avatar_url", "gravatar_id", "ldap_dn",
        )
    ),
)  # fmt: skip
def caller(github: Http) -> Iterator[Row]:
    """One record: the user the token belongs to; the token of an app is no user's, so that the connection names it."""
    user = github.get("/user", absent=(403,))
    named = "" if user is None else f"{user['id']} {user['login']}"
    yield {"Id": "caller", "Account": github.account, "Caller": named, "getAuthenticated": user}
