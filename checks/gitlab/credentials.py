"""What acts for machines on GitLab: tokens, keys, variables and webhooks. No value of a secret is kept."""

from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from collector.api import Http, Record, Redaction, Row, Verdict, check, days_between, fail, instant, ok, skip, source

PROJECTS = Redaction(
    "gitlab:GET *",
    "credentials",
    regex=r'"(?:runners_token|import_url|service_desk_address|avatar_url|token)"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
)
KEYS = Redaction("gitlab:GET *", "a key is told by its id", regex=r'"key"\s*:\s*"(?P<secret>ssh-(?:[^"\\]|\\.)*)"')
VALUES = Redaction("gitlab:GET *", "the secret itself", regex=r'"value"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"')
ADDRESSES = Redaction(
    "gitlab:GET */hooks",
    "the path of a receiver is often its credential",
    regex=r'"url"\s*:\s*"https?://(?:[^/"@]*(?=/))?(?P<secret>[^"]+)"',
)
LISTED: dict[str, Any] = {
    "include_subgroups": True, "with_shared": False, "order_by": "id", "sort": "asc", "per_page": 100,
}  # fmt: skip


def _both(gitlab: Http, what: str) -> Iterator[Row]:
    """What the group and each of its subgroups has of its own, then what each project that is not archived has."""
    for item in gitlab.pages(f"/api/v4/groups/{{id}}/{what}", id=gitlab.account, per_page=100):
        yield {"Key": f"{gitlab.account}/{_told(item)}", **item}
    below: dict[str, Any] = {"order_by": "id", "sort": "asc", "per_page": 100}
    for group in gitlab.pages("/api/v4/groups/{id}/descendant_groups", id=gitlab.account, **below):
        for item in gitlab.pages(f"/api/v4/groups/{{id}}/{what}", id=group["id"], per_page=100):
            yield {"Key": f"{group['full_path']}/{_told(item)}", **item}
    yield from _projects(gitlab, what)


def _projects(gitlab: Http, what: str) -> Iterator[Row]:
    for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
        if project["archived"]:
            gitlab.leave_out("archived projects")
            continue
        for item in gitlab.pages(f"/api/v4/projects/{{id}}/{what}", id=project["id"], per_page=100):
            yield {"Key": f"{project['path_with_namespace']}/{_told(item)}", **item}


def _told(item: Row) -> str:
    """What tells it apart: a variable has no number, and may exist once for each environment."""
    return str(item["id"]) if "id" in item else f"{item['key']}@{item['environment_scope']}"


@source("gitlab.access-tokens", key="Key", per="account", permissions=("read_api",), redactions=(PROJECTS,))
def access_tokens(gitlab: Http) -> Iterator[Row]:
    """Every access token of the group, its subgroups and its projects that are not archived, without its value."""
    yield from _both(gitlab, "access_tokens")


@source("gitlab.deploy-tokens", key="Key", per="account", permissions=("read_api",), redactions=(PROJECTS,))
def deploy_tokens(gitlab: Http) -> Iterator[Row]:
    """Every deploy token of the group, its subgroups and its projects that are not archived, without its value."""
    yield from _both(gitlab, "deploy_tokens")


@source("gitlab.deploy-keys", key="Key", per="account", permissions=("read_api",), redactions=(PROJECTS, KEYS))
def deploy_keys(gitlab: Http) -> Iterator[Row]:
    """Every deploy key of every project that is not archived."""
    yield from _projects(gitlab, "deploy_keys")


@source("gitlab.variables", key="Key", per="account", permissions=("read_api",), redactions=(PROJECTS, VALUES))
def variables(gitlab: Http) -> Iterator[Row]:
    """Every CI/CD variable of the group, its subgroups and its projects that are not archived, without its value."""
    yield from _both(gitlab, "variables")


@source(
    "gitlab.webhooks",
    key="Key",
    per="account",
    permissions=("read_api",),
    redactions=(PROJECTS, VALUES, ADDRESSES),
)
def webhooks(gitlab: Http) -> Iterator[Row]:
    """Every webhook of the group and its subgroups, as paid plans have, and of its projects that are not archived."""
    yield from _both(gitlab, "hooks")


@check(
    "gitlab.access-tokens.expire",
    title="GitLab access tokens run out",
    severity="medium",
    each="gitlab.access-tokens",
)
def tokens_expire(token: Record, *, as_of: datetime, max_days: int = 365) -> Verdict:
    """An access token that is active runs out within ``max_days`` of the day of collection.

    Source: List access tokens (``expires_at``, ``active``).
    Remedy: rotate the token with a date.
    """
    if not token["active"]:
        return skip("the token is not active")
    return _runs_out(token["expires_at"], as_of, max_days)


def _runs_out(ends: str | None, as_of: datetime, max_days: int) -> Verdict:
    if ends is None:
        return fail("the token never runs out")
    left = days_between(as_of, instant(ends if "T" in ends else f"{ends}T00:00:00Z"))
    told = f"the token runs out in {left} days, limit {max_days}"
    return ok(told) if left <= max_days else fail(told)


@check(
    "gitlab.access-tokens.in-use",
    title="GitLab access tokens are used",
    severity="low",
    each="gitlab.access-tokens",
)
def tokens_in_use(token: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """An access token that is active was used within ``max_unused_days``, or is younger than that.

    Source: List access tokens (``last_used_at``, ``created_at``, ``active``).
    Remedy: revoke the token.
    """
    if not token["active"]:
        return skip("the token is not active")
    idle = days_between(instant(token["last_used_at"] or token["created_at"]), as_of)
    told = f"last used {idle} days ago, limit {max_unused_days}"
    return ok(told) if idle <= max_unused_days else fail(told)


@check(
    "gitlab.deploy-tokens.expire",
    title="GitLab deploy tokens run out",
    severity="medium",
    each="gitlab.deploy-tokens",
)
def deploy_tokens_expire(token: Record, *, as_of: datetime, max_days: int = 365) -> Verdict:
    """A deploy token that is valid runs out within ``max_days`` of the day of collection.

    Source: List deploy tokens (``expires_at``, ``revoked``, ``expired``).
    Remedy: make a new token with a date, and revoke this one.
    """
    if token["revoked"] or token["expired"]:
        return skip("the token is revoked or has run out")
    return _runs_out(token["expires_at"], as_of, max_days)


@check(
    "gitlab.deploy-keys.read-only",
    title="GitLab deploy keys can only read",
    severity="high",
    each="gitlab.deploy-keys",
)
def read_only(key: Record, *, approved: tuple[str, ...] = ()) -> Verdict:
    """A deploy key cannot push, or its title is in ``approved``.

    Source: List deploy keys for a project (``can_push``, ``title``).
    Remedy: take the right to push away.
    """
    if not key["can_push"]:
        return ok("the key can only read")
    known = key["title"] in approved
    return ok("the key can push, and is approved") if known else fail("the key can push, and is not approved")


@check(
    "gitlab.variables.protected",
    title="Secrets in GitLab variables are masked and reach protected branches only",
    severity="high",
    each="gitlab.variables",
)
def variables_protected(
    variable: Record,
    *,
    secret: tuple[str, ...] = ("*credential*", "*passwd*", "*password*", "*private_key*", "*secret*", "*token*"),
) -> Verdict:
    """A variable whose name is like one in ``secret`` is masked in logs, and given to protected branches and tags only.

    Source: List project and group variables (``key``, ``masked``, ``protected``, ``variable_type``; a file cannot be
    masked).
    Remedy: Settings, CI/CD, Variables: protect and mask it; or keep it in a secret store.
    """
    name = variable["key"].casefold()
    if not any(fnmatchcase(name, pattern) for pattern in secret):
        return skip("its name is not that of a secret")
    lacks = [] if variable["protected"] else ["protected"]
    if variable["variable_type"] == "env_var" and not variable["masked"]:
        lacks.append("masked")
    return fail(f"it is not {' and not '.join(lacks)}") if lacks else ok("it is protected, and masked where it can be")


@check(
    "gitlab.webhooks.encrypted",
    title="GitLab sends events over encrypted ways only",
    severity="medium",
    each="gitlab.webhooks",
)
def encrypted(hook: Record) -> Verdict:
    """A webhook goes to an https address, and the certificate of the receiver is verified.

    Source: List webhooks (``url``, ``enable_ssl_verification``).
    Remedy: Settings, Webhooks: an https address, with SSL verification.
    """
    if not hook["url"].casefold().startswith("https://"):
        return fail("the address is not https")
    verified = hook["enable_ssl_verification"]
    return ok("https, and the certificate is verified") if verified else fail("the certificate is not verified")
