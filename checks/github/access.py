"""Who may do what in GitHub repositories: teams, and people named one by one."""

from collections.abc import Iterator

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

MOST = 10
"""Names that a reason lists at most."""

PEOPLE = Redaction(
    "github:GET *",
    "people are told apart by id and login",
    regex=r'"(?:avatar_url|gravatar_id|email|temp_clone_token)"\s*:\s*"(?P<secret>[^"]*)"',
)
NAMED = ("admin", "maintain")
"""Roles in a repository that can change its settings."""


@source("github.teams", key="slug", per="account", permissions=("members:read", "metadata:read"), redactions=(PEOPLE,))
def teams(github: Http) -> Iterator[Row]:
    """Every team the caller sees, with its members, those of its child teams included, and its repositories."""
    for team in github.pages("/orgs/{org}/teams", org=github.account, per_page=100):
        where = {"org": github.account, "team_slug": team["slug"], "per_page": 100}
        yield {
            **team,
            "listMembersInOrg": github.attempt_all("/orgs/{org}/teams/{team_slug}/members", **where),
            "listReposInOrg": github.attempt_all("/orgs/{org}/teams/{team_slug}/repos", **where),
        }


@source(
    "github.repository-access",
    key="full_name",
    per="account",
    permissions=("metadata:read",),
    redactions=(PEOPLE,),
)
def repository_access(github: Http) -> Iterator[Row]:
    """Every repository that is not archived, with everybody who was named for it in person, members and outsiders."""
    path = "/repos/{owner}/{repo}/collaborators"
    for repo in github.pages("/orgs/{org}/repos", org=github.account, type="all", per_page=100):
        if repo["archived"]:
            github.leave_out("archived repositories")
            continue
        where = {"owner": repo["owner"]["login"], "repo": repo["name"], "per_page": 100}
        yield {
            **repo,
            "Direct": github.attempt_all(path, affiliation="direct", **where),
            "Outside": github.attempt_all(path, affiliation="outside", **where),
        }


@check(
    "github.teams.administrators-few",
    title="Teams that administer GitHub repositories are small",
    severity="medium",
    each="github.teams",
)
def administrators_few(team: Record, *, max_members: int = 10) -> Verdict:
    """A team with the role admin or maintain in a repository has at most ``max_members`` members.

    Source: List team members, List team repositories (``role_name``).
    Remedy: make a smaller team for the settings, and give this one the right to write.
    """
    ruled = sorted(repo["name"] for repo in team["listReposInOrg"] if repo["role_name"] in NAMED)
    if not ruled:
        return skip("the team administers no repository")
    count = len(team["listMembersInOrg"])
    told = f"{count} members administer {len(ruled)} repositories, limit {max_members}"
    return ok(told) if count <= max_members else fail(f"{told}: {', '.join(ruled[:MOST])}")


@check(
    "github.repository-access.outsiders-limited",
    title="No outsider administers a GitHub repository",
    severity="high",
    each="github.repository-access",
)
def outsiders_limited(repo: Record) -> Verdict:
    """No outside collaborator has the role admin or maintain.

    Source: List repository collaborators (``affiliation=outside``, ``role_name``).
    Remedy: give the role write or less.
    """
    outside = repo["Outside"]
    if not outside:
        return skip("no outsider has access")
    wide = sorted(user["login"] for user in outside if user["role_name"] in NAMED)
    if wide:
        return fail(f"{len(wide)} of {len(outside)} outsiders can change its settings: {', '.join(wide[:MOST])}")
    return ok(f"none of {len(outside)} outsiders can change its settings")


@check(
    "github.repository-access.through-teams",
    title="Access to GitHub repositories is given through teams",
    severity="low",
    each="github.repository-access",
)
def through_teams(repo: Record, *, max_direct: int = 5) -> Verdict:
    """At most ``max_direct`` people are named for a repository in person.

    Source: List repository collaborators (``affiliation=direct``).
    Remedy: put them into a team, and let the team be reviewed.
    """
    count = len(repo["Direct"])
    told = f"{count} people are named in person, limit {max_direct}"
    return ok(told) if count <= max_direct else fail(told)
