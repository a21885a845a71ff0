"""What acts for people and machines on GitHub: apps, personal access tokens, authorised credentials."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Http, Record, Redaction, Row, Verdict, check, days_between, fail, instant, ok, skip, source

PEOPLE = Redaction(
    "github:GET /orgs/*",
    "people are told apart by id and login",
    regex=r'"(?:avatar_url|gravatar_id|email|name|token_last_eight|token_name|single_file_name|authorized_credential_note)"'
    r'\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
)


@source(
    "github.installations",
    key="id",
    per="account",
    permissions=("organization_administration:read",),
    redactions=(PEOPLE,),
)
def installations(github: Http) -> Iterator[Row]:
    """Every app installed in the organisation, with its permissions."""
    path = "/orgs/{org}/installations"
    yield from github.pages(path, rows="installations", org=github.account, per_page=100)


@source(
    "github.personal-access-tokens",
    key="id",
    per="account",
    permissions=("organization_personal_access_tokens:read",),
    redactions=(PEOPLE,),
)
def personal_access_tokens(github: Http) -> Iterator[Row]:
    """Every fine-grained personal access token with access to the organisation; GitHub shows them to apps only."""
    yield from github.pages("/orgs/{org}/personal-access-tokens", org=github.account, per_page=100)


@source(
    "github.credential-authorizations",
    key="credential_id",
    per="account",
    permissions=("organization_administration:read",),
    redactions=(PEOPLE,),
)
def credential_authorizations(github: Http) -> Iterator[Row]:
    """Every token and key a member has authorised for SAML single sign-on; only where the organisation has it."""
    yield from github.pages("/orgs/{org}/credential-authorizations", org=github.account, per_page=100)


@check(
    "github.installations.administration-narrow",
    title="Few apps can change settings of the GitHub organisation",
    severity="high",
    each="github.installations",
)
def administration_narrow(
    app: Record,
    *,
    approved: tuple[str, ...] = (),
    wide: tuple[str, ...] = (
        "administration", "members", "organization_administration", "organization_hooks", "organization_secrets",
        "repository_hooks", "secrets", "workflows",
    ),
) -> Verdict:  # fmt: skip
    """An app has no permission of ``wide`` beyond reading, or its slug is in ``approved``.

    Source: List app installations for an organization (``permissions``, ``app_slug``, ``suspended_at``).
    Remedy: remove the app, or approve it with its permissions.
    """
    slug = app["app_slug"]
    if app["suspended_at"]:
        return skip(f"{slug} is suspended")
    held = sorted(name for name, right in app["permissions"].items() if name in wide and right != "read")
    if not held:
        return ok(f"{slug} can change none of them")
    told = f"{slug} can change {', '.join(held)}"
    return ok(f"{told}, and is approved") if slug in approved else fail(told)


@check(
    "github.installations.repositories-selected",
    title="Apps that change code have access to chosen GitHub repositories only",
    severity="medium",
    each="github.installations",
)
def repositories_selected(app: Record, *, approved: tuple[str, ...] = ()) -> Verdict:
    """An app that can write code is installed for selected repositories, or its slug is in ``approved``.

    Source: List app installations for an organization (``repository_selection``, ``permissions.contents``).
    Remedy: Settings, GitHub Apps, Configure: only select repositories.
    """
    slug = app["app_slug"]
    if app["suspended_at"]:
        return skip(f"{slug} is suspended")
    if app["permissions"].get("contents") != "write":  # left out where it has no right to contents
        return skip(f"{slug} cannot write code")
    if app["repository_selection"] == "selected":
        return ok(f"{slug} writes code in selected repositories")
    told = f"{slug} writes code in all repositories"
    return ok(f"{told}, and is approved") if slug in approved else fail(told)


@check(
    "github.personal-access-tokens.expire",
    title="Personal access tokens to the GitHub organisation run out",
    severity="medium",
    each="github.personal-access-tokens",
)
def tokens_expire(token: Record, *, as_of: datetime, max_days: int = 365) -> Verdict:
    """A token that is valid runs out within ``max_days`` of the day of collection.

    Source: List fine-grained personal access tokens (``token_expires_at``, ``token_expired``).
    Remedy: Settings, Personal access tokens: set a longest lifetime, and revoke this one.
    """
    if token["token_expired"]:
        return skip("the token has run out")
    ends = token["token_expires_at"]
    who = token["owner"]["login"]
    if ends is None:
        return fail(f"a token of {who} never runs out")
    left = days_between(as_of, instant(ends))
    told = f"a token of {who} runs out in {left} days, limit {max_days}"
    return ok(told) if left <= max_days else fail(told)


@check(
    "github.credential-authorizations.in-use",
    title="Credentials authorised for single sign-on on GitHub are used",
    severity="medium",
    each="github.credential-authorizations",
)
def credentials_in_use(credential: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A credential was used within ``max_unused_days``, or authorised since.

    Source: List SAML SSO authorizations (``credential_accessed_at``, ``credential_authorized_at``).
    Remedy: revoke the authorisation.
    """
    last = credential["credential_accessed_at"] or credential["credential_authorized_at"]
    idle = days_between(instant(last), as_of)
    what = f"{credential['credential_type']} of {credential['login']}"
    told = f"{what} last used {idle} days ago, limit {max_unused_days}"
    return ok(told) if idle <= max_unused_days else fail(told)
