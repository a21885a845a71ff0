"""Changes on GitHub: what was deployed, merged and pushed in a period, and who approved it.

The population starts from what reached production, not from what was reviewed.
"""

from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from collector.api import (
    GapKind,
    Http,
    Newest,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    instant,
    ok,
    skip,
    source,
)
from collector.model import stamp

MOST = 10
"""Names that a reason lists at most."""

DAYS = 30
"""Days before the collection that are read; daily runs overlap, and together cover a year."""

PRODUCTION = ("prod*", "live*", "*-prod", "*-production", "*-live")
"""Names of environments that count as production, beside those a deployment calls so itself."""

RELEASES = ("release/*", "release-*", "hotfix/*")
"""Branches that count as reviewed way into production, beside the default branch."""

NOT_NEEDED = (
    Redaction(
        "github:GET *",
        "people are told apart by id and login; what they wrote is not needed",
        regex=r'"(?:avatar_url|gravatar_id|email|temp_clone_token|body|summary|text)"'
        r'\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
    ),
    *(
        Redaction("github:GET /repos/{owner}/{repo}/commits", "names its author", json=f"[].commit.{path}")
        for path in ("author.name", "committer.name", "message", "verification.payload", "verification.signature")
    ),
)
READ = ("checks:read", "metadata:read", "pull_requests:read", "statuses:read")


def _change(github: Http, where: dict[str, Any], pull: Row) -> Row:
    """A pull request with its reviews, and what was checked at its last commit."""
    ref = pull["head"]["sha"]
    return {
        **{name: pull[name] for name in ("number", "state", "title", "user", "created_at", "merged_at", "html_url")},
        "head": {"ref": pull["head"]["ref"], "sha": ref},
        "base": {"ref": pull["base"]["ref"]},
        "listReviews": github.attempt_all(
            "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", pull_number=pull["number"], per_page=100, **where
        ),
        "listForRef": github.attempt_all(
            "/repos/{owner}/{repo}/commits/{ref}/check-runs", rows="check_runs", ref=ref, per_page=100, **where
        ),
        "getCombinedStatusForRef": github.attempt(
            "/repos/{owner}/{repo}/commits/{ref}/status", ref=ref, per_page=100, **where
        ),
    }


def _production(deployment: Row) -> bool:
    name = deployment["environment"].casefold()
    return bool(deployment.get("production_environment")) or any(fnmatchcase(name, one) for one in PRODUCTION)


@source(
    "github.deployments",
    key="Key",
    per="account",
    permissions=("deployments:read", *READ),
    kind="period",
    window_days=DAYS,
    redactions=(
        *NOT_NEEDED,
        Redaction("github:GET /repos/{owner}/{repo}/deployments", "may hold anything", json="[].payload"),
        Redaction("github:GET /repos/{owner}/{repo}/deployments", "may hold anything", json="[].payload.*"),
    ),
)
def deployments(github: Http) -> Iterator[Row]:
    """Every deployment of the 30 days before the collection, in every repository that is not archived.

    To production, each with its statuses and, under ``Changes``, the merged pull requests its commit came from; null
    where GitHub knows no such commit. Production is what the deployment itself calls so, and what is named ``prod*``,
    ``live*``, ``*-prod``, ``*-production`` or ``*-live``. GitHub knows no filter on time; the list comes newest first
    and is read until it reaches back before the period.
    """
    since = github.now() - timedelta(days=DAYS)

    def found() -> Iterator[tuple[Any, ...]]:
        for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
            if repo["archived"]:
                github.leave_out("archived repositories")
                continue
            where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
            changes: dict[Any, Row] = {}
            pulls: dict[str, Any] = {}
            path = "/repos/{owner}/{repo}/deployments"
            for item in github.pages(path, pager=Newest("created_at", since), per_page=100, **where):
                if instant(item["created_at"]) >= since:
                    sha = item["sha"]
                    if _production(item) and sha not in pulls:
                        pulls[sha] = _pulls(github, where, sha)
                    yield repo, where, item, pulls.get(sha), changes

    for repo, where, item, pulls, changes in github.ahead(found()):
        row = {
            "Key": f"{repo['full_name']}/{item['id']}",
            "Repository": repo["full_name"],
            "DefaultBranch": repo["default_branch"],
            "Production": _production(item),
            **item,
        }
        if _production(item):
            row["listDeploymentStatuses"] = github.attempt_all(
                "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
                deployment_id=item["id"],
                per_page=100,
                **where,
            )
            for pull in pulls or ():
                if pull["merged_at"] and pull["number"] not in changes:
                    changes[pull["number"]] = _change(github, where, pull)
            merged = [pull["number"] for pull in pulls or () if pull["merged_at"]]
            row["Changes"] = None if pulls is None else [changes[number] for number in merged]
        yield row


def _pulls(github: Http, where: dict[str, Any], sha: str) -> Any:
    """The pull requests a commit came from; null where the repository has no such commit."""
    path = "/repos/{owner}/{repo}/commits/{commit_sha}/pulls"
    return github.attempt_all(path, commit_sha=sha, absent=(422,), per_page=100, **where)


@source(
    "github.changes",
    key="Key",
    per="account",
    permissions=READ,
    kind="period",
    window_days=DAYS,
    redactions=NOT_NEEDED,
    filters="pull requests that are closed, into the default branch",
)
def changes(github: Http) -> Iterator[Row]:
    """Every pull request merged into a default branch in the 30 days before the collection; no archived repository.

    GitHub knows no filter on the time of the merge; the list comes last updated first and is read until it reaches back
    before the period.
    """
    since = github.now() - timedelta(days=DAYS)
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
        for pull in github.pages(
            "/repos/{owner}/{repo}/pulls",
            pager=Newest("updated_at", since),
            state="closed",
            base=repo["default_branch"],
            sort="updated",
            direction="desc",
            per_page=100,
            **where,
        ):
            if pull["merged_at"] and instant(pull["merged_at"]) >= since:
                yield {"Key": f"{repo['full_name']}#{pull['number']}", **_change(github, where, pull)}


@source(
    "github.commits",
    key="Key",
    per="account",
    permissions=("contents:read", "metadata:read", "pull_requests:read"),
    kind="period",
    window_days=DAYS,
    redactions=NOT_NEEDED,
    filters="the period, and the default branch",
)
def commits(github: Http) -> Iterator[Row]:
    """Every commit on a default branch dated in the 30 days before the collection, with the pull requests it came from.

    The date is that of the committer, who can set it. Archived repositories are left out.
    """
    now = github.now()
    since = stamp(now - timedelta(days=DAYS))

    def found() -> Iterator[tuple[Any, ...]]:
        for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
            if repo["archived"]:
                github.leave_out("archived repositories")
                continue
            where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
            asked = {"sha": repo["default_branch"], "since": since, "until": stamp(now), "per_page": 100}
            listed = github.attempt_all("/repos/{owner}/{repo}/commits", absent=(409,), **asked, **where)
            yield repo, where, listed

    for repo, where, listed in github.ahead(found()):
        for item in listed or ():  # null where the repository is empty
            yield {
                "Key": f"{repo['full_name']}@{item['sha']}",
                "DefaultBranch": repo["default_branch"],
                **item,
                "listPullRequestsAssociatedWithCommit": _pulls(github, where, item["sha"]),
            }


def _author(change: Record) -> str:
    user = change["user"]
    if user is None:
        raise Unavailable(GapKind.UNPROVEN, f"the account that opened #{change['number']} is gone, so it is not known")
    return str(user["login"])


def _approvers(change: Record, *, last_commit: bool) -> list[str]:
    """Who approved, other than the author, and did not take it back; ``last_commit``: the code as it was merged.

    The approval of a bot is nobody's.
    """
    author, last = _author(change), {}
    for review in change["listReviews"]:  # oldest first
        decided = review["state"] in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED")
        if decided and review["user"] is not None and review["user"]["type"] != "Bot":
            last[review["user"]["login"]] = review
    return sorted(
        login
        for login, review in last.items()
        if login != author
        and review["state"] == "APPROVED"
        and instant(review["submitted_at"]) <= instant(change["merged_at"])
        and (not last_commit or review["commit_id"] == change["head"]["sha"])
    )


def _unproven(change: Record) -> str:
    """What the checks of a change's last commit lack; empty where they all passed."""
    runs = change["listForRef"]
    combined = change["getCombinedStatusForRef"]
    passed = any(run["conclusion"] == "success" for run in runs)
    if not passed and not combined["total_count"] and all(run["conclusion"] == "skipped" for run in runs):
        return "no check ran"
    bad = sorted({run["name"] for run in runs if run["conclusion"] not in ("success", "neutral", "skipped")})
    bad += ["commit statuses"] if combined["total_count"] and combined["state"] != "success" else []
    return f"not passed: {', '.join(bad[:MOST])}" if bad else ""


def _deployed(deployment: Record) -> Verdict | None:
    """Why a deployment changed nothing in production; null where it did."""
    if not deployment["Production"]:
        return skip(f"{deployment['environment']} is not a production environment")
    states = {status["state"] for status in deployment["listDeploymentStatuses"]}
    return None if "success" in states else skip("the deployment did not succeed")


def _way(deployment: Record, releases: tuple[str, ...]) -> list[Record]:
    """The merged pull requests that lead to production: into the default branch or one of ``releases``."""
    branches = (deployment["DefaultBranch"], *releases)
    return [
        change
        for change in deployment["Changes"] or ()
        if any(fnmatchcase(change["base"]["ref"], branch) for branch in branches)
    ]


NO_CHANGE = "the commit that was deployed came from no merged pull request"


@check(
    "github.deployments.change-approved",
    title="What was deployed to production on GitHub came from an approved change",
    severity="critical",
    each="github.deployments",
)
def change_approved(
    deployment: Record, *, releases: tuple[str, ...] = RELEASES, last_commit: bool = True, min_approvals: int = 1
) -> Verdict:
    """The commit deployed came from merged pull requests, each approved by ``min_approvals`` people beside its author.

    An approval counts that a person gave before the merge and did not take back; with ``last_commit`` only when it is
    of the code as it was merged. Whether the person may write, or wrote some of it, is not looked at. Counted are pull
    requests into the default branch and into ``releases``.
    Source: List deployments (``sha``), List deployment statuses (``state``), List pull requests associated with a
    commit, List reviews (``state``, ``user``, ``commit_id``, ``submitted_at``). Commits between this deployment and
    the one before are the matter of github.commits.through-review.
    Remedy: hold the deployment against an emergency change, or review the change now and record it.
    """
    if unchanged := _deployed(deployment):
        return unchanged
    way = _way(deployment, releases)
    if not way:
        return fail(NO_CHANGE)
    told = []
    for change in way:
        approvers = _approvers(change, last_commit=last_commit)
        if len(approvers) < min_approvals:
            count = f"{len(approvers)} approvals that count, at least {min_approvals} wanted"
            return fail(f"#{change['number']} has {count}")
        told.append(f"#{change['number']} by {', '.join(approvers)}")
    return ok(f"approved: {'; '.join(told)}")


@check(
    "github.deployments.checks-passed",
    title="What was deployed to production on GitHub had passed its checks",
    severity="high",
    each="github.deployments",
)
def deployed_checks_passed(deployment: Record, *, releases: tuple[str, ...] = RELEASES) -> Verdict:
    """Every check of the last commit of the pull requests that led to a deployment passed, and there was one.

    Source: List check runs for a Git reference (``conclusion``), Get the combined status (``state``).
    Remedy: require the checks on the branch; show why this change went out without.
    """
    if unchanged := _deployed(deployment):
        return unchanged
    way = _way(deployment, releases)
    if not way:
        return fail(NO_CHANGE)
    for change in way:
        if lacking := _unproven(change):
            return fail(f"#{change['number']}: {lacking}")
    return ok(f"all checks passed: {', '.join('#' + str(change['number']) for change in way)}")


@check(
    "github.deployments.duties-separated",
    title="Nobody wrote, approved and deployed the same change on GitHub",
    severity="high",
    each="github.deployments",
)
def duties_separated(
    deployment: Record, *, releases: tuple[str, ...] = RELEASES, author_may_deploy: bool = True
) -> Verdict:
    """Somebody who neither wrote a change nor deployed it approved it.

    Unless ``author_may_deploy``, its author did not deploy it either. A bot that deploys is the pipeline, not a
    person. Accounts are compared, not people.
    Source: List deployments (``creator``), List pull requests associated with a commit (``user``), List reviews.
    Remedy: have another person approve; let the pipeline deploy.
    """
    if unchanged := _deployed(deployment):
        return unchanged
    creator = deployment["creator"]
    if creator is None:
        raise Unavailable(GapKind.UNPROVEN, "the account that deployed is gone, so it is not known")
    deployer = "" if creator["type"] == "Bot" else creator["login"]
    way = _way(deployment, releases)
    if not way:
        return fail(NO_CHANGE)
    for change in way:
        author = _author(change)
        third = [login for login in _approvers(change, last_commit=False) if login != deployer]
        if not third:
            return fail(f"#{change['number']} by {author} has no approval of anybody who did not write or deploy it")
        if author == deployer and not author_may_deploy:
            return fail(f"{author} wrote #{change['number']} and deployed it")
    return ok(f"deployed by {deployer or 'a pipeline'}, approved by another person than wrote it")


@check(
    "github.changes.approved",
    title="What was merged into default branches on GitHub was approved",
    severity="high",
    each="github.changes",
)
def merged_approved(change: Record, *, last_commit: bool = True, min_approvals: int = 1) -> Verdict:
    """A merged pull request was approved by ``min_approvals`` people beside its author, before the merge.

    With ``last_commit`` an approval counts only when it is of the code as it was merged.
    Source: List pull requests (``user``, ``merged_at``), List reviews (``state``, ``user``, ``commit_id``).
    Remedy: review the change now and record it; require approvals on the branch.
    """
    approvers = _approvers(change, last_commit=last_commit)
    told = f"{len(approvers)} approvals that count, at least {min_approvals} wanted"
    return ok(f"approved by {', '.join(approvers)}") if len(approvers) >= min_approvals else fail(told)


@check(
    "github.changes.checks-passed",
    title="What was merged into default branches on GitHub had passed its checks",
    severity="medium",
    each="github.changes",
)
def merged_checks_passed(change: Record) -> Verdict:
    """Every check of the last commit of a merged pull request passed, and there was one.

    Source: List check runs for a Git reference (``conclusion``), Get the combined status (``state``).
    Remedy: require the checks on the branch.
    """
    lacking = _unproven(change)
    return fail(lacking) if lacking else ok("all checks passed")


@check(
    "github.changes.security-tested",
    title="What was merged into default branches on GitHub was tested for weaknesses",
    severity="medium",
    each="github.changes",
)
def security_tested(
    change: Record,
    *,
    tests: tuple[str, ...] = ("*codeql*", "*sast*", "*semgrep*", "*snyk*", "*trivy*", "*sonar*", "*security*"),
) -> Verdict:
    """A check whose name is in ``tests`` ran on the last commit of a merged pull request and passed.

    Names are what a house gives them: set ``tests`` to its own. Source: List check runs for a Git reference (``name``,
    ``conclusion``).
    Remedy: let a security test run on every pull request, and require it.
    """
    found = {
        run["name"]: run["conclusion"]
        for run in change["listForRef"]
        if any(fnmatchcase(run["name"].casefold(), pattern) for pattern in tests)
    }
    if not found:
        return fail("no security test is among the checks")
    bad = sorted(name for name, conclusion in found.items() if conclusion != "success")
    return fail(f"not passed: {', '.join(bad)}") if bad else ok(f"passed: {', '.join(sorted(found))}")


@check(
    "github.commits.through-review",
    title="No commit reached a default branch on GitHub without a pull request",
    severity="high",
    each="github.commits",
)
def through_review(commit: Record, *, accepted_authors: tuple[str, ...] = ()) -> Verdict:
    """A commit on the default branch came from a merged pull request into it, or is of one of ``accepted_authors``.

    Source: List commits (``sha``, ``author``), List pull requests associated with a commit (``merged_at``, ``base``).
    Remedy: require a pull request on the branch; review the commit now and record it.
    """
    pulls = commit["listPullRequestsAssociatedWithCommit"] or ()
    merged = [pull for pull in pulls if pull["merged_at"] and pull["base"]["ref"] == commit["DefaultBranch"]]
    if merged:
        return ok(f"came from {', '.join('#' + str(pull['number']) for pull in merged)}")
    login = (commit["author"] or {}).get("login", "an unknown account")
    told = f"{login} pushed it without a pull request"
    return ok(f"{told}, which is accepted") if login in accepted_authors else fail(told)
