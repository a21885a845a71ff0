"""GitHub environments: what stands between a build and production."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

MOST = 10
"""Names that a reason lists at most."""

PEOPLE = Redaction(
    "github:GET *",
    "people are told apart by id and login",
    regex=r'"(?:avatar_url|gravatar_id|email|temp_clone_token)"\s*:\s*"(?P<secret>[^"]*)"',
)
PRODUCTION = ("prod*", "live*", "*-prod", "*-production", "*-live")
"""Names of environments that count as production."""


@source(
    "github.environments",
    key="Key",
    per="account",
    permissions=("actions:read", "metadata:read"),
    redactions=(PEOPLE,),
)
def environments(github: Http) -> Iterator[Row]:
    """Every environment of every repository that is not archived, with its protection rules."""
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"]}
        path = "/repos/{owner}/{repo}/environments"
        for item in github.pages(path, rows="environments", per_page=100, **where):
            yield {"Key": f"{repo['full_name']}:{item['name']}", "Repository": repo["full_name"], **item}


def _other(environment: Record, production: tuple[str, ...]) -> Verdict | None:
    name = environment["name"]
    known = any(fnmatchcase(name.casefold(), pattern) for pattern in production)
    return None if known else skip(f"{name} is not a production environment")


def _reviewers(environment: Record) -> list[Record]:
    """Rules that ask somebody; GitHub leaves the list out where there is no rule at all."""
    return [rule for rule in environment.get("protection_rules", ()) if rule["type"] == "required_reviewers"]


@check(
    "github.environments.reviewed",
    title="A deployment to production waits for a reviewer",
    severity="high",
    each="github.environments",
)
def reviewed(environment: Record, *, production: tuple[str, ...] = PRODUCTION) -> Verdict:
    """An environment whose name is in ``production`` names reviewers, and who deploys cannot review for themselves.

    Source: List environments (``protection_rules``: ``reviewers``, ``prevent_self_review``).
    Remedy: Settings, Environments: required reviewers, prevent self-review.
    """
    if other := _other(environment, production):
        return other
    rules = _reviewers(environment)
    count = sum(len(rule["reviewers"]) for rule in rules)
    if not count:
        return fail("no reviewer is required")
    told = f"{count} reviewers are named"
    own = not any(rule["prevent_self_review"] for rule in rules)
    return fail(f"{told}, and who deploys may be one") if own else ok(told)


@check(
    "github.environments.branches-limited",
    title="Only named branches are deployed to production",
    severity="medium",
    each="github.environments",
)
def branches_limited(environment: Record, *, production: tuple[str, ...] = PRODUCTION) -> Verdict:
    """An environment whose name is in ``production`` takes deployments from protected or named branches only.

    Source: List environments (``deployment_branch_policy``, null where every branch may be deployed).
    Remedy: Settings, Environments: deployment branches and tags.
    """
    if other := _other(environment, production):
        return other
    policy = environment["deployment_branch_policy"]
    if policy is None:
        return fail("every branch can be deployed")
    return ok("protected branches only" if policy["protected_branches"] else "named branches only")


@check(
    "github.environments.separate",
    title="Code is tried elsewhere before production",
    severity="low",
    over=("github.environments",),
)
def separate(environments: Iterator[Record], *, production: tuple[str, ...] = PRODUCTION) -> Verdict:
    """Every repository with an environment named in ``production`` has one that is not.

    Source: List environments (``name``). Names say nothing of networks, accounts or data.
    Remedy: deploy to a test environment first.
    """
    found: dict[str, set[bool]] = {}
    for item in environments:
        found.setdefault(item["Repository"], set()).add(_other(item, production) is None)
    live = sorted(repo for repo, kinds in found.items() if True in kinds)
    if not live:
        return skip("no repository has a production environment")
    alone = [repo for repo in live if False not in found[repo]]
    if alone:
        return fail(f"{len(alone)} of {len(live)} repositories have nothing but production: {', '.join(alone[:MOST])}")
    return ok(f"all {len(live)} repositories with a production environment have another one")
