"""Changes on GitLab: what was deployed and merged in a period, and who approved it.

The population starts from what reached production, not from what was reviewed.
"""

from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, instant, ok, skip, source
from collector.model import stamp

DAYS = 30
"""Days before the collection that are read; daily runs overlap, and together cover a year."""

PRODUCTION = ("prod*", "live*", "*-prod", "*-production", "*-live")
"""Names of environments that count as production, beside those of that tier."""

BOT = ("project_*_bot*", "group_*_bot*", "service_account*")
"""Names GitLab gives to the users of project and group tokens, and to service accounts."""

REDACTED = (
    Redaction(
        "gitlab:GET *",
        "credentials, people beyond id and username, and what they wrote",
        regex=r'"(?:avatar_url|\w*email|runners_token|import_url|service_desk_address|author_name|committer_name|message'
        r'|description|bio|location|skype|linkedin|twitter|website_url|organization)"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
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


def _change(gitlab: Http, project: int, merge: Row) -> Row:
    """A merge request with its approvals and its pipelines."""
    at, iid = "/api/v4/projects/{id}/merge_requests/{merge_request_iid}", merge["iid"]
    kept = ("iid", "state", "title", "author", "merged_at", "target_branch", "sha", "web_url")
    return {
        **{name: merge[name] for name in kept},
        "approvals": gitlab.attempt(f"{at}/approvals", id=project, merge_request_iid=iid),
        "pipelines": gitlab.attempt_all(f"{at}/pipelines", id=project, merge_request_iid=iid, per_page=100),
    }


@source(
    "gitlab.deployments",
    key="Key",
    per="account",
    permissions=("read_api",),
    kind="period",
    window_days=DAYS,
    redactions=REDACTED,
    filters="the period, and deployments that succeeded",
)
def deployments(gitlab: Http) -> Iterator[Row]:
    """Every deployment that succeeded in the 30 days before the collection, in projects that are not archived.

    To production, each with the merged requests its commit came from and those GitLab found new in it, under
    ``Changes``. Production is an environment of that tier, or named ``prod*``, ``live*``, ``*-prod``, ``*-production``
    or ``*-live``.
    """
    now = gitlab.now()
    since, until = stamp(now - timedelta(days=DAYS)), stamp(now)
    asked_for: dict[str, Any] = {
        "status": "success", "updated_after": since, "updated_before": until, "order_by": "updated_at", "sort": "asc",
    }  # fmt: skip

    def listed() -> Iterator[tuple[Any, ...]]:
        for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
            if project["archived"]:
                gitlab.leave_out("archived projects")
                continue
            yield project, gitlab.attempt_all("/api/v4/projects/{id}/environments", id=project["id"], per_page=100)

    def found() -> Iterator[tuple[Any, ...]]:
        for project, environments in gitlab.ahead(listed()):
            tiers = {item["id"]: item["tier"] for item in environments}
            asked: dict[str, Any] = {}
            changes: dict[int, Row] = {}
            at, one = "/api/v4/projects/{id}", project["id"]
            for item in gitlab.pages(f"{at}/deployments", id=one, per_page=100, **asked_for):
                tier = tiers.get(item["environment"]["id"])  # the environment may be gone
                name = item["environment"]["name"].casefold()
                live = tier == "production" or any(fnmatchcase(name, pattern) for pattern in PRODUCTION)
                new = of_commit = None
                if live:
                    path, sha = f"{at}/repository/commits/{{sha}}/merge_requests", item["sha"]
                    if sha not in asked:
                        asked[sha] = gitlab.attempt_all(path, id=one, sha=sha, absent=(404,), per_page=100)
                    of_commit = asked[sha]
                    path = f"{at}/deployments/{{deployment_id}}/merge_requests"
                    new = gitlab.attempt_all(path, id=one, deployment_id=item["id"], per_page=100)
                yield project, item, live, of_commit, new, changes

    for project, item, live, of_commit, new, changes in gitlab.ahead(found()):
        row = {
            "Key": f"{project['path_with_namespace']}/{item['id']}",
            "DefaultBranch": project["default_branch"],
            "Production": live,
            **item,
        }
        if live:
            merged = {merge["iid"]: merge for merge in [*(of_commit or ()), *new] if merge["state"] == "merged"}
            for iid, merge in merged.items():
                if iid not in changes:
                    changes[iid] = _change(gitlab, project["id"], merge)
            row["Changes"] = [changes[iid] for iid in sorted(merged)]
        yield row


@source(
    "gitlab.changes",
    key="Key",
    per="account",
    permissions=("read_api",),
    kind="period",
    window_days=DAYS,
    redactions=REDACTED,
    filters="merge requests that are merged, and were updated in the period",
)
def changes(gitlab: Http) -> Iterator[Row]:
    """Every request merged into a default branch in the 30 days before the collection; no archived project."""
    since = gitlab.now() - timedelta(days=DAYS)
    for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
        if project["archived"] or not project["default_branch"]:
            gitlab.leave_out("archived projects" if project["archived"] else "projects without code")
            continue
        for merge in gitlab.pages(
            "/api/v4/projects/{id}/merge_requests",
            id=project["id"],
            state="merged",
            target_branch=project["default_branch"],
            updated_after=stamp(since),
            order_by="created_at",
            sort="asc",
            per_page=100,
        ):
            if merge["merged_at"] and instant(merge["merged_at"]) >= since:
                key = f"{project['path_with_namespace']}!{merge['iid']}"
                yield {"Key": key, **_change(gitlab, project["id"], merge)}


def _bot(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in BOT)


def _approvers(change: Record) -> list[str]:
    """Who approved, other than the author and bots, and not after the merge where GitLab tells when."""
    merged = instant(change["merged_at"])
    return sorted(
        item["user"]["username"]
        for item in change["approvals"]["approved_by"]
        if item["user"]["username"] != change["author"]["username"] and not _bot(item["user"]["username"])
        and (not item.get("approved_at") or instant(item["approved_at"]) <= merged)  # left out by older versions
    )


def _unproven(change: Record) -> str:
    """What the newest pipeline of a change lacks; empty where it succeeded."""
    newest = max(change["pipelines"], key=lambda pipeline: int(pipeline["id"]), default=None)
    if newest is None:
        return "no pipeline ran"
    return "" if newest["status"] == "success" else f"the last pipeline is {newest['status']}"


def _way(deployment: Record, releases: tuple[str, ...]) -> list[Record]:
    """The merged requests that lead to production: into the default branch or one of ``releases``."""
    branches = (deployment["DefaultBranch"], *releases)
    changes = deployment["Changes"]
    return [change for change in changes if any(fnmatchcase(change["target_branch"], one) for one in branches)]


def _elsewhere(deployment: Record) -> Verdict:
    return skip(f"{deployment['environment']['name']} is not a production environment")


NO_CHANGE = "what was deployed came from no merged request"
RELEASES = ("release/*", "release-*", "hotfix/*")


@check(
    "gitlab.deployments.change-approved",
    title="What was deployed to production on GitLab came from an approved change",
    severity="critical",
    each="gitlab.deployments",
)
def change_approved(deployment: Record, *, releases: tuple[str, ...] = RELEASES, min_approvals: int = 1) -> Verdict:
    """What was deployed came from merged requests, each approved by ``min_approvals`` people beside its author.

    Counted are those the commit came from and those GitLab found new since the deployment before, into the default
    branch and into ``releases``. That the code did not change after the approval is a setting of the project.
    Source: List project deployments, List merge requests associated with a deployment, and with a commit, Approvals.
    Remedy: hold the deployment against an emergency change, or review the change now and record it.
    """
    if not deployment["Production"]:
        return _elsewhere(deployment)
    way = _way(deployment, releases)
    if not way:
        return fail(NO_CHANGE)
    told = []
    for change in way:
        approvers = _approvers(change)
        if len(approvers) < min_approvals:
            return fail(f"!{change['iid']} has {len(approvers)} approvals that count, at least {min_approvals} wanted")
        told.append(f"!{change['iid']} by {', '.join(approvers)}")
    return ok(f"approved: {'; '.join(told)}")


@check(
    "gitlab.deployments.checks-passed",
    title="What was deployed to production on GitLab had passed its pipeline",
    severity="high",
    each="gitlab.deployments",
)
def deployed_checks_passed(deployment: Record, *, releases: tuple[str, ...] = RELEASES) -> Verdict:
    """The last pipeline of every merged request that led to a deployment succeeded.

    Source: List merge request pipelines (``id``, ``status``).
    Remedy: require that pipelines succeed; show why this change went out without.
    """
    if not deployment["Production"]:
        return _elsewhere(deployment)
    way = _way(deployment, releases)
    if not way:
        return fail(NO_CHANGE)
    for change in way:
        if lacking := _unproven(change):
            return fail(f"!{change['iid']}: {lacking}")
    return ok(f"the last pipeline succeeded: {', '.join('!' + str(change['iid']) for change in way)}")


@check(
    "gitlab.deployments.duties-separated",
    title="Nobody wrote, approved and deployed the same change on GitLab",
    severity="high",
    each="gitlab.deployments",
)
def duties_separated(
    deployment: Record, *, releases: tuple[str, ...] = RELEASES, author_may_deploy: bool = True
) -> Verdict:
    """Somebody who neither wrote a change nor deployed it approved it.

    Unless ``author_may_deploy``, its author did not deploy it either. The bot of a token is the pipeline, not a person.
    Source: List project deployments (``user``), List merge requests (``author``), Approvals (``approved_by``).
    Remedy: have another person approve; let the pipeline deploy.
    """
    if not deployment["Production"]:
        return _elsewhere(deployment)
    name = deployment["user"]["username"]
    deployer = "" if _bot(name) else name
    way = _way(deployment, releases)
    if not way:
        return fail(NO_CHANGE)
    for change in way:
        author = change["author"]["username"]
        if not [one for one in _approvers(change) if one != deployer]:
            return fail(f"!{change['iid']} by {author} has no approval of anybody who did not write or deploy it")
        if author == deployer and not author_may_deploy:
            return fail(f"{author} wrote !{change['iid']} and deployed it")
    return ok(f"deployed by {deployer or 'a pipeline'}, approved by another person than wrote it")


@check(
    "gitlab.changes.approved",
    title="What was merged into default branches on GitLab was approved",
    severity="high",
    each="gitlab.changes",
)
def merged_approved(change: Record, *, min_approvals: int = 1) -> Verdict:
    """A merged request was approved by ``min_approvals`` people beside its author.

    Source: List merge requests (``author``, ``merged_at``), Approvals (``approved_by``).
    Remedy: review the change now and record it; require approvals.
    """
    approvers = _approvers(change)
    told = f"{len(approvers)} approvals that count, at least {min_approvals} wanted"
    return ok(f"approved by {', '.join(approvers)}") if len(approvers) >= min_approvals else fail(told)


@check(
    "gitlab.changes.checks-passed",
    title="What was merged into default branches on GitLab had passed its pipeline",
    severity="medium",
    each="gitlab.changes",
)
def merged_checks_passed(change: Record) -> Verdict:
    """The last pipeline of a merged request succeeded.

    Source: List merge request pipelines (``id``, ``status``).
    Remedy: require that pipelines succeed.
    """
    lacking = _unproven(change)
    return fail(lacking) if lacking else ok("the last pipeline succeeded")
