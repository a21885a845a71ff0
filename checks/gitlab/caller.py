"""Who asks GitLab: the user, or the bot, a token belongs to."""

from collections.abc import Iterator

from collector.api import Http, Redaction, Row, source


@source(
    "gitlab.caller",
    key="Id",
    per="account",
    permissions=("read_api",),
    redactions=(
        Redaction(
            "gitlab:GET /api/v4/user",
            "the identity is told by id and username",
            regex=r'"(?:\w*email|name|bio|location|pronouns|skype|linkedin|twitter|discord|website_url|organization'
            r'|job_title|\w*sign_in_ip|avatar_url|extern_uid|work_information)"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
        ),
    ),
)
def caller(gitlab: Http) -> Iterator[Row]:
    """One record: the user the token belongs to; tokens of a group or project belong to a bot of their own."""
    user = gitlab.get("/api/v4/user")
    named = f"{user['id']} {user['username']}"
    yield {"Id": "caller", "Account": gitlab.account, "Caller": named, "currentUser": user}
