"""The default branch of GitHub repositories: what is required before code gets there."""

from collections.abc import Iterator
from typing import Any

from collector.api import GapKind, Http, Record, Redaction, Row, Unavailable, Verdict, check, fail, ok, skip, source

PLAN = "Upgrade to *"
"""How GitHub says that the plan has no protection for private repositories: a fact, not a refusal."""

PEOPLE = Redaction(
    "github:GET *",
    "people are told apart by id and login",
    regex=r'"(?:avatar_url|gravatar_id|email|temp_clone_token)"\s*:\s*"(?P<secret>[^"]*)"',
)


@source(
    "github.default-branches",
    key="full_name",
    per="account",
    permissions=("administration:read", "contents:read", "metadata:read"),
    redactions=(
        PEOPLE,
        *(
            Redaction("github:GET /repos/{owner}/{repo}/branches/{branch}", "not needed", json=f"commit.commit.{path}")
            for path in (
                "author.name", "committer.name", "message", "verification.payload", "verification.signature",
            )
        ),
    ),
)  # fmt: skip
def default_branches(github: Http) -> Iterator[Row]:
    """Every repository that is not archived: its default branch, the rules in effect there and their rulesets."""

    def found() -> Iterator[tuple[Any, ...]]:
        for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
            if repo["archived"]:
                github.leave_out("archived repositories")
                continue
            where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
            branch = repo["default_branch"]
            path = "/repos/{owner}/{repo}/rules/branches/{branch}"
            yield repo, where, github.attempt_all(path, branch=branch, absent=(PLAN,), per_page=100, **where)

    for repo, where, rules in github.ahead(found()):
        here = {"branch": repo["default_branch"], **where}
        path = "/repos/{owner}/{repo}/rulesets/{ruleset_id}"
        sets = sorted({rule["ruleset_id"] for rule in rules or ()})
        yield {
            **repo,
            "getBranch": github.attempt("/repos/{owner}/{repo}/branches/{branch}", absent=(404,), **here),
            "getBranchRules": rules or [],
            "getBranchProtection": github.attempt(
                "/repos/{owner}/{repo}/branches/{branch}/protection",
                absent=("Branch not protected", "Branch not found", PLAN),
                **here,
            ),
            "getRulesets": [
                github.attempt(path, ruleset_id=number, includes_parents=True, **where) for number in sets
            ],
        }


EMPTY = "the default branch has no commit"


def _rules(repo: Record, kind: str) -> list[Record]:
    return [rule for rule in repo["getBranchRules"] if rule["type"] == kind]


def _reviews(repo: Record) -> Record | None:
    """What classic protection requires of reviews; GitHub leaves the part out where it requires nothing."""
    protection = repo["getBranchProtection"]
    found: Record | None = protection.get("required_pull_request_reviews") if protection else None
    return found


def _either(repo: Record, rule: str, classic: str) -> bool:
    """Whether a rule in effect, or classic protection, requires something of reviews."""
    reviews = _reviews(repo)
    ruled = any(item["parameters"][rule] for item in _rules(repo, "pull_request"))
    return ruled or (reviews is not None and reviews.get(classic, False))


@check(
    "github.default-branches.review-required",
    title="Code reaches the default branch through a review",
    severity="high",
    each="github.default-branches",
)
def review_required(repo: Record, *, min_approvals: int = 1) -> Verdict:
    """At least ``min_approvals`` approving reviews are required before a merge, by a ruleset or by branch protection.

    Source: Get rules for a branch (``pull_request``), Get branch protection (``required_pull_request_reviews``).
    Remedy: Settings, Rules: require a pull request and approvals.
    """
    if repo["getBranch"] is None:
        return skip(EMPTY)
    counts = [rule["parameters"]["required_approving_review_count"] for rule in _rules(repo, "pull_request")]
    if (reviews := _reviews(repo)) is not None:
        counts.append(reviews.get("required_approving_review_count", 0))
    most = max(counts, default=0)
    told = f"{most} approvals are required, at least {min_approvals} wanted"
    return ok(told) if most >= min_approvals else fail(told)


@check(
    "github.default-branches.approvals-current",
    title="An approval falls when the code changes after it",
    severity="medium",
    each="github.default-branches",
)
def approvals_current(repo: Record) -> Verdict:
    """A push after an approval dismisses it, or needs the approval of somebody other than who pushed.

    Source: Get rules for a branch (``dismiss_stale_reviews_on_push``, ``require_last_push_approval``), Get branch
    protection (``dismiss_stale_reviews``, ``require_last_push_approval``).
    Remedy: Settings, Rules: dismiss stale approvals, or require approval of the most recent push.
    """
    if repo["getBranch"] is None:
        return skip(EMPTY)
    if _either(repo, "dismiss_stale_reviews_on_push", "dismiss_stale_reviews"):
        return ok("a push dismisses approvals")
    if _either(repo, "require_last_push_approval", "require_last_push_approval"):
        return ok("the last push must be approved by another person")
    return fail("an approval stays when code is pushed after it")


@check(
    "github.default-branches.checks-required",
    title="Automatic checks must pass before code reaches the default branch",
    severity="medium",
    each="github.default-branches",
)
def checks_required(repo: Record, *, required: tuple[str, ...] = ()) -> Verdict:
    """At least one status check is required, and every one in ``required``.

    Source: Get rules for a branch (``required_status_checks``), Get branch protection (``required_status_checks``).
    Remedy: Settings, Rules: require status checks to pass.
    """
    if repo["getBranch"] is None:
        return skip(EMPTY)
    names = {
        item["context"]
        for rule in _rules(repo, "required_status_checks")
        for item in rule["parameters"]["required_status_checks"]
    }
    if protection := repo["getBranchProtection"]:
        names |= set(protection.get("required_status_checks", {"contexts": ()})["contexts"])
    if missing := sorted(set(required) - names):
        return fail(f"not required: {', '.join(missing)}")
    return ok(f"required: {', '.join(sorted(names))}") if names else fail("no status check is required")


@check(
    "github.default-branches.history-kept",
    title="The history of the default branch cannot be rewritten or deleted",
    severity="high",
    each="github.default-branches",
)
def history_kept(repo: Record) -> Verdict:
    """Force pushes and deletion of the branch are blocked, by a ruleset or by branch protection.

    Source: Get rules for a branch (``non_fast_forward``, ``deletion``), Get branch protection
    (``allow_force_pushes``, ``allow_deletions``).
    Remedy: Settings, Rules: block force pushes and restrict deletions.
    """
    if repo["getBranch"] is None:
        return skip(EMPTY)
    protection = repo["getBranchProtection"]
    open_to = []
    for what, rule, classic in (
        ("force pushes", "non_fast_forward", "allow_force_pushes"),
        ("deletion", "deletion", "allow_deletions"),
    ):
        if not _rules(repo, rule) and (protection is None or protection[classic]["enabled"]):
            open_to.append(what)
    return fail(f"not blocked: {', '.join(open_to)}") if open_to else ok("force pushes and deletion are blocked")


@check(
    "github.default-branches.nobody-exempt",
    title="Nobody gets around the review of the default branch",
    severity="high",
    each="github.default-branches",
)
def nobody_exempt(repo: Record) -> Verdict:
    """Where an approval is required, no administrator, person, team or app is exempt from it.

    Source: Get branch protection (``enforce_admins``, ``bypass_pull_request_allowances``), Get a repository ruleset
    (``bypass_actors``, which GitHub shows only to who may change the ruleset). One way without exemption suffices.
    Remedy: Settings, Rules: empty the bypass list; with branch protection, do not allow bypassing the settings.
    """
    if repo["getBranch"] is None:
        return skip(EMPTY)
    told = []
    reviews = _reviews(repo)
    if reviews is not None and reviews.get("required_approving_review_count", 0):
        exempt = reviews.get("bypass_pull_request_allowances", {})  # left out where nobody is
        named = sum(len(exempt.get(kind, ())) for kind in ("users", "teams", "apps"))
        if repo["getBranchProtection"]["enforce_admins"]["enabled"] and not named:
            return ok("branch protection holds for administrators too, and names nobody")
        told.append(f"branch protection exempts administrators or {named} named")
    requiring = {
        rule["ruleset_id"]
        for rule in _rules(repo, "pull_request")
        if rule["parameters"]["required_approving_review_count"]
    }
    for ruleset in repo["getRulesets"]:
        if ruleset["id"] in requiring:
            actors = ruleset.get("bypass_actors")
            if actors is None:
                raise Unavailable(GapKind.DENIED, f"GitHub does not show who bypasses the ruleset {ruleset['name']}")
            if not actors:
                return ok(f"the ruleset {ruleset['name']} has no bypass list")
            told.append(f"{len(actors)} may bypass the ruleset {ruleset['name']}")
    return fail("; ".join(told)) if told else skip("no approval is required")
