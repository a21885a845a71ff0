"""Who asks Jira: the account of the API token."""

from collections.abc import Iterator

from collector.api import Http, Redaction, Row, source


@source(
    "jira.caller",
    key="Id",
    per="connection",
    permissions=("read:jira-user",),
    redactions=tuple(
        Redaction("jira:GET /rest/api/3/myself", "the identity is told by accountId and address", json=name)
        for name in ("displayName", "avatarUrls.*")
    ),
)
def caller(jira: Http) -> Iterator[Row]:
    """One record: the account that the credential belongs to."""
    account = jira.get("/rest/api/3/myself")
    named = f"{account['accountId']} {account.get('emailAddress', '')}".strip()  # the address only where it is shared
    yield {"Id": "caller", "Caller": named, "getCurrentUser": account}
