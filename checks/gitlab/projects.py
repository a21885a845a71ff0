"""GitLab projects: who sees them, and what is required before code gets into their default branch."""

from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from collector.api import (
    Http,
    Record,
    Redaction,
    Row,
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
    Redaction(
        "gitlab:GET *",
        "credentials, and people beyond id and username",
        regex=r'"(?:avatar_url|email|public_email|runners_token|import_url|service_desk_address|author_name|author_email'
        r'|committer_name|committer_email)"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
    ),
    Redaction(
        "gitlab:GET *",
        "people are told apart by id and username",
        regex=r'"username"\s*:\s*"[^"]*"\s*,(?:\s*"public_email"\s*:\s*[^,]*,)?\s*"name"\s*:\s*"(?P<secret>[^"]*)"',
    ),
)
LISTED: dict[str, Any] = {
    "include_subgroups": True, "with_shared": False, "order_by": "id", "sort": "asc", "per_page": 100,
}  # fmt: skip


@source("gitlab.projects", key="path_with_namespace", per="account", permissions=("read_api",), redactions=REDACTED)
def projects(gitlab: Http) -> Iterator[Row]:
    """Every project of the group and its subgroups, archived ones included."""
    yield from gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED)


@source(
    "gitlab.default-branches",
    key="path_with_namespace",
    per="account",
    permissions=("read_api",),
    redactions=REDACTED,
)
def default_branches(gitlab: Http) -> Iterator[Row]:
    """Every project that is not archived and has code, with protected branches, approval settings and push rules."""
    for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
        if project["archived"] or not project["default_branch"]:
            gitlab.leave_out("archived projects" if project["archived"] else "projects without code")
            continue
        at = "/api/v4/projects/{id}"
        one = project["id"]
        yield {
            **project,
            "protected_branches": gitlab.attempt_all(f"{at}/protected_branches", id=one, per_page=100),
            "approvals": gitlab.attempt(f"{at}/approvals", id=one),
            "approval_rules": gitlab.attempt_all(f"{at}/approval_rules", id=one, per_page=100),
            "push_rule": gitlab.attempt(f"{at}/push_rule", id=one),
        }


@check(
    "gitlab.projects.not-public",
    title="GitLab projects are not public, or meant to be",
    severity="high",
    each="gitlab.projects",
)
def not_public(project: Record, *, approved: tuple[str, ...] = ()) -> Verdict:
    """A project is private or internal, or its path is in ``approved`` (``*`` as wild card).

    Source: List a group's projects (``visibility``).
    Remedy: make it private, or approve the publication.
    """
    seen = project["visibility"]
    if seen != "public":
        return ok(f"visibility is {seen}")
    known = any(fnmatchcase(project["path_with_namespace"], pattern) for pattern in approved)
    return ok("public, and approved") if known else fail("visibility is public, and it is not approved")


@check(
    "gitlab.projects.pipeline-required",
    title="A merge on GitLab waits for its pipeline",
    severity="medium",
    each="gitlab.projects",
)
def pipeline_required(project: Record) -> Verdict:
    """A merge request is merged only when its pipeline succeeded, and one that was skipped does not count.

    Source: List a group's projects (``only_allow_merge_if_pipeline_succeeds``, ``allow_merge_on_skipped_pipeline``,
    null where it was never set).
    Remedy: Settings, Merge requests: pipelines must succeed.
    """
    if project["archived"]:
        return skip("the project is archived")
    if not project["only_allow_merge_if_pipeline_succeeds"]:
        return fail("a merge does not wait for the pipeline")
    skipped = project["allow_merge_on_skipped_pipeline"]
    return fail("a skipped pipeline suffices") if skipped else ok("the pipeline must succeed")


@check(
    "gitlab.projects.job-token-limited",
    title="Jobs of other GitLab projects have no access by their token",
    severity="medium",
    each="gitlab.projects",
)
def job_token_limited(project: Record) -> Verdict:
    """Only jobs of projects that were named can use their token on a project.

    Source: List a group's projects (``ci_inbound_job_token_scope_enabled``).
    Remedy: Settings, CI/CD, Job token permissions: only this project and named ones.
    """
    if project["archived"]:
        return skip("the project is archived")
    limited = project["ci_inbound_job_token_scope_enabled"]
    return ok("named projects only") if limited else fail("jobs of every project that the user sees have access")


@check(
    "gitlab.projects.in-use",
    title="GitLab projects that nobody works on are archived",
    severity="low",
    each="gitlab.projects",
)
def in_use(project: Record, *, as_of: datetime, max_idle_days: int = 730) -> Verdict:
    """Something happened in a project that is not archived within ``max_idle_days``.

    Source: List a group's projects (``last_activity_at``, ``archived``).
    Remedy: archive it.
    """
    if project["archived"]:
        return skip("the project is archived")
    idle = days_between(instant(project["last_activity_at"]), as_of)
    told = f"last activity {idle} days ago, limit {max_idle_days}"
    return ok(told) if idle <= max_idle_days else fail(told)


def _protections(project: Record) -> list[Record]:
    """Protections of the default branch; a name may be a pattern, and all that match hold together."""
    branch = project["default_branch"]
    return [item for item in project["protected_branches"] if fnmatchcase(branch, item["name"])]


@check(
    "gitlab.default-branches.history-kept",
    title="The default branch on GitLab is protected and its history stays",
    severity="high",
    each="gitlab.default-branches",
)
def history_kept(project: Record) -> Verdict:
    """The default branch is protected, and no protection of it allows force pushes.

    Source: List protected branches (``name``, ``allow_force_push``).
    Remedy: Settings, Repository, Protected branches.
    """
    found = _protections(project)
    if not found:
        return fail(f"{project['default_branch']} is not protected")
    forced = any(item["allow_force_push"] for item in found)
    return fail("force pushes are allowed") if forced else ok("protected, and force pushes are refused")


@check(
    "gitlab.default-branches.no-direct-push",
    title="Code reaches the default branch on GitLab through a merge request",
    severity="high",
    each="gitlab.default-branches",
)
def no_direct_push(project: Record) -> Verdict:
    """Nobody may push to the default branch directly.

    Source: List protected branches (``push_access_levels``: 0 is nobody).
    Remedy: Settings, Repository, Protected branches: allowed to push: no one.
    """
    found = _protections(project)
    if not found:
        return fail(f"{project['default_branch']} is not protected")
    levels = [level for item in found for level in item["push_access_levels"]]
    may = sorted({level["access_level_description"] for level in levels if not _shut(level)})
    return fail(f"may push: {', '.join(may)}") if may else ok("nobody may push")


def _shut(level: Record) -> bool:
    named = any(level.get(who) for who in ("user_id", "group_id", "deploy_key_id"))  # left out in the free plan
    return level["access_level"] == 0 and not named


@check(
    "gitlab.default-branches.review-required",
    title="A merge on GitLab needs an approval",
    severity="high",
    each="gitlab.default-branches",
)
def review_required(project: Record, *, min_approvals: int = 1) -> Verdict:
    """An approval rule that covers the default branch asks for at least ``min_approvals``.

    Source: Get project-level rules (``approvals_required``, ``rule_type``, ``protected_branches``; without branches a
    rule covers all). Rules of reports apply only when a report finds something, and do not count.
    Remedy: Settings, Merge requests: approval rules.
    """
    branch = project["default_branch"]
    counts = [
        rule["approvals_required"]
        for rule in project["approval_rules"]
        if rule["rule_type"] in ("any_approver", "regular") and _covers(rule, branch)
    ]
    most = max(counts, default=0)
    told = f"{most} approvals are required, at least {min_approvals} wanted"
    return ok(told) if most >= min_approvals else fail(told)


def _covers(rule: Record, branch: str) -> bool:
    names = [item["name"] for item in rule["protected_branches"]]
    return not names or any(fnmatchcase(branch, name) for name in names)


@check(
    "gitlab.default-branches.self-approval-off",
    title="Nobody approves their own change on GitLab",
    severity="high",
    each="gitlab.default-branches",
)
def self_approval_off(project: Record) -> Verdict:
    """Neither the author of a merge request nor who committed to it can approve it, and its rules stand.

    Source: Get configuration of approvals (``merge_requests_author_approval``,
    ``merge_requests_disable_committers_approval``, ``disable_overriding_approvers_per_merge_request``).
    Remedy: Settings, Merge requests: approval settings.
    """
    settings = project["approvals"]
    loose = [
        what
        for what, allowed in (
            ("approval by its author", settings["merge_requests_author_approval"]),
            ("approval by who committed", not settings["merge_requests_disable_committers_approval"]),
            ("other rules in a merge request", not settings["disable_overriding_approvers_per_merge_request"]),
        )
        if allowed
    ]
    return fail(f"allowed: {', '.join(loose)}") if loose else ok("neither author nor committers can approve")


@check(
    "gitlab.default-branches.approvals-current",
    title="An approval on GitLab falls when the code changes after it",
    severity="medium",
    each="gitlab.default-branches",
)
def approvals_current(project: Record) -> Verdict:
    """A push to a merge request takes its approvals back.

    Source: Get configuration of approvals (``reset_approvals_on_push``).
    Remedy: Settings, Merge requests: remove all approvals when commits are added.
    """
    reset = project["approvals"]["reset_approvals_on_push"]
    return ok("a push takes approvals back") if reset else fail("an approval stays when code is pushed after it")


@check(
    "gitlab.default-branches.secrets-refused",
    title="GitLab refuses files that look like secrets",
    severity="medium",
    each="gitlab.default-branches",
)
def secrets_refused(project: Record) -> Verdict:
    """The push rules of a project refuse files whose names are those of credentials.

    Source: Get project push rules (``prevent_secrets``; null where there are none).
    Remedy: Settings, Repository, Push rules: prevent pushing secret files.
    """
    rules = project["push_rule"]
    if rules is None:
        return fail("there are no push rules")
    return ok("files of credentials are refused") if rules["prevent_secrets"] else fail("nothing is refused")
