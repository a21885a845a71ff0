"""Deploy keys and webhooks on GitHub: machines that read or change code, and where events are sent."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Http, Record, Redaction, Row, Verdict, check, days_between, fail, instant, ok, skip, source

REPOS = (
    Redaction("github:GET /orgs/{org}/repos", "a credential", json="[].temp_clone_token"),
    Redaction("github:GET /orgs/{org}/repos", "not needed to tell owners apart", json="[].owner.avatar_url"),
)


@source(
    "github.deploy-keys",
    key="Key",
    per="account",
    permissions=("administration:read", "metadata:read"),
    redactions=(
        *REPOS,
        Redaction("github:GET /repos/{owner}/{repo}/keys", "a key is told by its id", json="[].key"),
    ),
)
def deploy_keys(github: Http) -> Iterator[Row]:
    """Every deploy key of every repository that is not archived."""
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
        for item in github.pages("/repos/{owner}/{repo}/keys", per_page=100, **where):
            yield {"Key": f"{repo['full_name']}/{item['id']}", **item}


@source(
    "github.webhooks",
    key="Key",
    per="account",
    permissions=("metadata:read", "organization_hooks:read", "repository_hooks:read"),
    redactions=(
        *REPOS,
        *(
            Redaction(
                operation,
                "the path of a receiver is often its credential, and GitHub masks the secret",
                regex=regex,
            )
            for operation in ("github:GET /orgs/{org}/hooks", "github:GET /repos/{owner}/{repo}/hooks")
            for regex in (
                r'"secret"\s*:\s*"(?P<secret>[^"]+)"',
                r'"url"\s*:\s*"https?://(?:[^/"@]*(?=/))?(?P<secret>[^"]+)"',
            )
        ),
    ),
)
def webhooks(github: Http) -> Iterator[Row]:
    """Every webhook of the organisation and of every repository that is not archived."""
    for item in github.pages("/orgs/{org}/hooks", org=github.account, per_page=100):
        yield {"Key": f"{github.account}/{item['id']}", **item}
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
        for item in github.pages("/repos/{owner}/{repo}/hooks", per_page=100, **where):
            yield {"Key": f"{repo['full_name']}/{item['id']}", **item}


@check(
    "github.deploy-keys.read-only",
    title="GitHub deploy keys can only read",
    severity="high",
    each="github.deploy-keys",
)
def read_only(key: Record, *, approved: tuple[str, ...] = ()) -> Verdict:
    """A deploy key cannot write, or its title is in ``approved``.

    Source: List deploy keys (``read_only``, ``title``).
    Remedy: replace it with a key that can only read, or with an app.
    """
    if key["read_only"]:
        return ok("the key can only read")
    known = key["title"] in approved
    return ok("the key can write, and is approved") if known else fail("the key can write, and is not approved")


@check(
    "github.deploy-keys.in-use",
    title="GitHub deploy keys are used",
    severity="low",
    each="github.deploy-keys",
)
def in_use(key: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A deploy key was used within ``max_unused_days``, or is younger than that.

    Source: List deploy keys (``last_used``, which GitHub leaves null until the first use, ``created_at``).
    Remedy: delete the key.
    """
    last = key.get("last_used") or key["created_at"]
    idle = days_between(instant(last), as_of)
    told = f"last used {idle} days ago, limit {max_unused_days}"
    return ok(told) if idle <= max_unused_days else fail(told)


@check(
    "github.webhooks.encrypted",
    title="GitHub sends events over encrypted ways only",
    severity="medium",
    each="github.webhooks",
)
def encrypted(hook: Record) -> Verdict:
    """An active webhook goes to an https address, and the certificate of the receiver is verified.

    Source: List webhooks (``config.url``, ``config.insecure_ssl``).
    Remedy: Settings, Webhooks: an https address, with SSL verification.
    """
    if not hook["active"]:
        return skip("the webhook is off")
    config = hook["config"]
    if not config["url"].casefold().startswith("https://"):
        return fail("the address is not https")
    verified = str(config["insecure_ssl"]) == "0"
    return ok("https, and the certificate is verified") if verified else fail("the certificate is not verified")


@check(
    "github.webhooks.signed",
    title="Receivers can tell that events come from GitHub",
    severity="low",
    each="github.webhooks",
)
def signed(hook: Record) -> Verdict:
    """An active webhook has a secret that its events are signed with.

    Source: List webhooks (``config.secret``, which GitHub leaves out where there is none).
    Remedy: Settings, Webhooks: set a secret, and verify the signature.
    """
    if not hook["active"]:
        return skip("the webhook is off")
    return ok("events are signed") if hook["config"].get("secret") else fail("events are not signed")
