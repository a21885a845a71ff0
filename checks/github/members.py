"""People in a GitHub organisation: members, owners and outside collaborators."""

from collections.abc import Iterator

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, skip, source

MOST = 10
"""Names that a reason lists at most."""

PEOPLE = Redaction(
    "github:GET /orgs/*",
    "people are told apart by id and login",
    regex=r'"(?:avatar_url|gravatar_id|email|name)"\s*:\s*"(?P<secret>[^"]*)"',
)


@source("github.members", key="login", per="account", permissions=("members:read",), redactions=(PEOPLE,))
def members(github: Http) -> Iterator[Row]:
    """Every member of the organisation with the role there: ``admin`` is an owner, ``member`` everybody else."""
    for role in ("admin", "member"):
        for user in github.pages("/orgs/{org}/members", org=github.account, role=role, per_page=100):
            yield {**user, "Role": role}


@source(
    "github.members-without-two-factor",
    key="login",
    per="account",
    permissions=("members:read",),
    redactions=(PEOPLE,),
    filters="members whose two-factor authentication is off",
)
def members_without_two_factor(github: Http) -> Iterator[Row]:
    """Every member without a second factor, by GitHub's own filter, which it answers to owners only."""
    yield from github.pages("/orgs/{org}/members", org=github.account, filter="2fa_disabled", per_page=100)


@source("github.outside-collaborators", key="login", per="account", permissions=("members:read",), redactions=(PEOPLE,))
def outside_collaborators(github: Http) -> Iterator[Row]:
    """Everybody who has access to a repository and is no member of the organisation."""
    yield from github.pages("/orgs/{org}/outside_collaborators", org=github.account, per_page=100)


@source(
    "github.collaborators-without-two-factor",
    key="login",
    per="account",
    permissions=("members:read",),
    redactions=(PEOPLE,),
    filters="outside collaborators whose two-factor authentication is off",
)
def collaborators_without_two_factor(github: Http) -> Iterator[Row]:
    """Every outside collaborator without a second factor, by GitHub's own filter, which it answers to owners only."""
    path = "/orgs/{org}/outside_collaborators"
    yield from github.pages(path, org=github.account, filter="2fa_disabled", per_page=100)


def _listed(without: Iterator[Record], everybody: Iterator[Record], what: str) -> Verdict:
    lacking = sorted(user["login"] for user in without)
    total = sum(1 for _ in everybody)
    if lacking:
        return fail(f"{len(lacking)} of {total} {what} have no second factor: {', '.join(lacking[:MOST])}")
    return ok(f"all {total} {what} have a second factor") if total else skip(f"there are no {what}")


@check(
    "github.members.two-factor",
    title="Every member of the GitHub organisation has a second factor",
    severity="high",
    over=("github.members-without-two-factor", "github.members"),
)
def members_two_factor(without: Iterator[Record], members: Iterator[Record]) -> Verdict:
    """No member is in GitHub's list of those without two-factor authentication.

    Source: List organization members (``filter=2fa_disabled``). Where people sign in through an identity provider, its
    factors are another matter.
    Remedy: require two-factor authentication in the settings of the organisation.
    """
    return _listed(without, members, "members")


@check(
    "github.outside-collaborators.two-factor",
    title="Every outside collaborator on GitHub has a second factor",
    severity="high",
    over=("github.collaborators-without-two-factor", "github.outside-collaborators"),
)
def outsiders_two_factor(without: Iterator[Record], outsiders: Iterator[Record]) -> Verdict:
    """No outside collaborator is in GitHub's list of those without two-factor authentication.

    Source: List outside collaborators (``filter=2fa_disabled``).
    Remedy: require two-factor authentication in the settings of the organisation.
    """
    return _listed(without, outsiders, "outside collaborators")


@check(
    "github.members.owners-few",
    title="Few members own the GitHub organisation",
    severity="high",
    over=("github.members",),
)
def owners_few(members: Iterator[Record], *, max_owners: int = 5) -> Verdict:
    """At most ``max_owners`` members are owners.

    Source: List organization members (``role=admin``).
    Remedy: make them members, with the narrower role that their work needs.
    """
    owners = sum(user["Role"] == "admin" for user in members)
    told = f"{owners} owners, limit {max_owners}"
    return ok(told) if owners <= max_owners else fail(told)


@check(
    "github.members.owners-substituted",
    title="The GitHub organisation has more than one owner",
    severity="medium",
    over=("github.members",),
)
def owners_substituted(members: Iterator[Record], *, min_owners: int = 2) -> Verdict:
    """At least ``min_owners`` members are owners, so that one can stand in for another.

    Source: List organization members (``role=admin``).
    Remedy: name a deputy.
    """
    owners = sum(user["Role"] == "admin" for user in members)
    told = f"{owners} owners, at least {min_owners} wanted"
    return ok(told) if owners >= min_owners else fail(told)
