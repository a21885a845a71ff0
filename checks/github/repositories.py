"""GitHub repositories: who sees them, what is scanned when code arrives, and whose code it is."""

from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase

from collector.api import (
    GapKind,
    Http,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

REDACTED = (
    Redaction("github:GET /orgs/{org}/repos", "a credential", json="[].temp_clone_token"),
    Redaction("github:GET /orgs/{org}/repos", "not needed to tell owners apart", json="[].owner.avatar_url"),
)


@source("github.repositories", key="full_name", per="account", permissions=("metadata:read",), redactions=REDACTED)
def repositories(github: Http) -> Iterator[Row]:
    """Every repository of the organisation that the caller sees, archived ones included."""
    yield from github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100)


@source(
    "github.code-owners",
    key="full_name",
    per="account",
    permissions=("contents:read", "metadata:read"),
    redactions=REDACTED,
)
def code_owners(github: Http) -> Iterator[Row]:
    """Every repository that is not archived, and what is wrong with its file of code owners, if it has one."""
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
        errors = github.attempt("/repos/{owner}/{repo}/codeowners/errors", absent=(404,), **where)
        yield {**repo, "codeownersErrors": errors}


@check(
    "github.repositories.not-public",
    title="GitHub repositories are not public, or meant to be",
    severity="high",
    each="github.repositories",
)
def not_public(repo: Record, *, approved: tuple[str, ...] = ()) -> Verdict:
    """A repository is private or internal, or its full name is in ``approved`` (``*`` as wild card).

    Source: List organization repositories (``visibility``).
    Remedy: make it private, or approve the publication.
    """
    seen = repo["visibility"]
    if seen != "public":
        return ok(f"visibility is {seen}")
    known = any(fnmatchcase(repo["full_name"], pattern) for pattern in approved)
    return ok("public, and approved") if known else fail("visibility is public, and it is not approved")


@check(
    "github.repositories.push-protected",
    title="Secrets are stopped before they reach a GitHub repository",
    severity="high",
    each="github.repositories",
)
def push_protected(repo: Record) -> Verdict:
    """Secret scanning and its push protection are on.

    Source: List organization repositories (``security_and_analysis``, which GitHub shows to administrators only).
    Remedy: Settings, Code security: secret protection and push protection.
    """
    if repo["archived"]:
        return skip("the repository is archived")
    settings = repo.get("security_and_analysis")
    if settings is None:
        raise Unavailable(GapKind.DENIED, "GitHub does not show security_and_analysis to the caller")
    wanted = ("secret_scanning", "secret_scanning_push_protection")  # left out where the plan does not have them
    off = [name for name in wanted if settings.get(name, {"status": "not available"})["status"] != "enabled"]
    return fail(f"not enabled: {', '.join(off)}") if off else ok("secret scanning and push protection are enabled")


@check(
    "github.repositories.in-use",
    title="GitHub repositories that nobody works on are archived",
    severity="low",
    each="github.repositories",
)
def in_use(repo: Record, *, as_of: datetime, max_idle_days: int = 730) -> Verdict:
    """A repository that is not archived was pushed to within ``max_idle_days``.

    Source: List organization repositories (``pushed_at``, ``archived``).
    Remedy: archive it.
    """
    if repo["archived"]:
        return skip("the repository is archived")
    idle = days_between(instant(repo["pushed_at"] or repo["created_at"]), as_of)
    told = f"last push {idle} days ago, limit {max_idle_days}"
    return ok(told) if idle <= max_idle_days else fail(told)


@check(
    "github.code-owners.declared",
    title="GitHub repositories say who answers for which code",
    severity="low",
    each="github.code-owners",
)
def code_owners_declared(repo: Record) -> Verdict:
    """There is a file of code owners, and GitHub finds no error in it.

    Source: List CODEOWNERS errors (404 where there is no such file).
    Remedy: add ``.github/CODEOWNERS``, or correct the line.
    """
    reply = repo["codeownersErrors"]
    if reply is None:
        return fail("there is no CODEOWNERS file")
    kinds = sorted({error["kind"] for error in reply["errors"]})
    if kinds:
        return fail(f"{len(reply['errors'])} lines of CODEOWNERS have no effect: {', '.join(kinds)}")
    return ok("there is a CODEOWNERS file without errors")


@check(
    "github.repositories.reconciled",
    title="The evidence agrees on the repositories: list and count of the organisation",
    severity="high",
    over=("github.repositories", "github.organisation"),
    reconciles=("github.repositories",),
)
def reconciled(repositories: Iterator[Record], organisations: Iterator[Record]) -> Verdict:
    """No fewer repositories are listed than GitHub counts.

    A token for chosen repositories sees those only, and the list does not say so. Source: List organization
    repositories, Get an organization (``public_repos``, ``total_private_repos``, which is shown to owners only).
    Remedy: collect again; if it stays, give the credential read access to all repositories.
    """
    listed = sum(1 for _ in repositories)
    organisation = next(organisations)
    private = organisation.get("total_private_repos")
    if private is None:
        raise Unavailable(GapKind.DENIED, "GitHub does not show total_private_repos to the caller, who is no owner")
    counted = organisation["public_repos"] + private
    told = f"{listed} repositories are listed, GitHub counts {counted}"
    return ok(told) if listed >= counted else fail(told)
