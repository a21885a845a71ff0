"""How GitHub is read: against a world whose every request and reply is held against the vendor's description."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.model import GAP_KEY, Unavailable, instant
from tests import promises
from tests.github_world import ORG, GitHubWorld
from tests.http_world import SPECS, Reply, worlds

SOURCES = promises.sources_of("github")
A, B, C = (f"{ORG}/shop@{letter * 40}" for letter in "abc")
LIVE = [f"{ORG}/shop", f"{ORG}/portal", f"{ORG}/fresh"]


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubWorld]:
    """A furnished organisation; what it answered is held against the vendor's description afterwards."""
    for world in worlds(GitHubWorld, tmp_path):
        furnish(world)
        yield world
        promises.conforms(world)


def furnish(world: GitHubWorld) -> None:
    """Put the organisation of the file into the world: invented people, in replies cut down from the vendor's."""
    world.furnish(Path(__file__).parent / "organisation.json")


KEYS = {
    "github.actions": [ORG],
    "github.audit-log": ["ev1", "ev2", "ev3", "ev4"],
    "github.caller": ["caller"],
    "github.changes": [f"{ORG}/shop#7", f"{ORG}/shop#8"],
    "github.code-owners": LIVE,
    "github.code-scanning-alerts": LIVE,
    "github.collaborators-without-two-factor": ["xia"],
    "github.commits": [A, B, C],
    "github.credential-authorizations": ["1", "2", "3"],
    "github.default-branches": LIVE,
    "github.dependabot-alerts": LIVE,
    "github.deploy-keys": [f"{ORG}/shop/1", f"{ORG}/shop/2", f"{ORG}/shop/3"],
    "github.deployments": [f"{ORG}/shop/{number}" for number in (11, 12, 13, 14)],
    "github.environments": [f"{ORG}/{name}" for name in
                            ("shop:production", "shop:staging", "shop:pr-preview", "portal:live")],
    "github.installations": ["1", "2", "3"],
    "github.members": ["alice", "bob", "carol", "dave", "erin"],
    "github.members-without-two-factor": ["dave"],
    "github.organisation": [ORG],
    "github.organisations": [ORG, "example-labs", "example-past"],
    "github.outside-collaborators": ["zoe", "yan", "xia"],
    "github.personal-access-tokens": ["1", "2", "3"],
    "github.repositories": [*LIVE, f"{ORG}/old"],
    "github.repository-access": LIVE,
    "github.secret-scanning-alerts": LIVE,
    "github.teams": ["builders", "everybody", "readers"],
    "github.webhooks": [f"{ORG}/1", f"{ORG}/2", f"{ORG}/3", f"{ORG}/shop/4", f"{ORG}/shop/5"],
}  # fmt: skip
WHOLE = (
    "github.actions", "github.caller", "github.organisation", "github.members-without-two-factor",
    "github.collaborators-without-two-factor",
)  # fmt: skip
"""Datasets without a second page here."""
LISTS = [name for name in KEYS if name not in WHOLE]
ONE = ("github.actions", "github.caller", "github.organisation")
"""Datasets of one record."""
PERSONAL = (b"Ada", b"ada@example.com", b"avatars.example.com", b"hush", b"Town", b"00-example-token")


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(github: GitHubWorld, dataset: str) -> None:
    paged = "" if dataset in LISTS else None
    promises.read_whole(github, dataset, KEYS[dataset], asked=("github:GET /",), personal=PERSONAL, paged=paged)
    promises.described(github)


@pytest.mark.parametrize("dataset", KEYS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(GitHubWorld, tmp_path):
        furnish(empty)
        empty.held = {path: reply for path, reply in empty.held.items() if isinstance(reply, dict)}
        promises.nothing_there(empty, dataset, rows=dataset in ONE)


def refusal(status: int, message: str = "Resource not accessible by personal access token") -> Reply:
    return Reply(status, {"message": message, "documentation_url": "https://docs.github.com", "status": str(status)})


FIRST = [name for name in KEYS if name not in ("github.actions", "github.caller")]
"""Datasets whose first reply is all or nothing."""


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, refusal(403), "denied") for dataset in FIRST),
        ("github.members", refusal(401, "Bad credentials"), "unauthenticated"),
        ("github.members", refusal(404, "Not Found"), "rejected"),
        ("github.caller", refusal(401, "Bad credentials"), "unauthenticated"),
        ("github.members", Reply(429, {"message": "slow down"}, {"Retry-After": "0"}), "throttled"),
        ("github.members", refusal(403, "You have exceeded a secondary rate limit."), "throttled"),
        ("github.members", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(github: GitHubWorld, dataset: str, reply: Reply, kind: str) -> None:
    promises.refused(github, dataset, reply, kind)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(github: GitHubWorld, dataset: str) -> None:
    expired, rows = refusal(401, "Bad credentials"), range(len(KEYS[dataset]) + 1)
    promises.broken_off(github, dataset, lambda request: {"page", "after"} & set(request.query), expired, rows)


SHOP = f"/repos/{ORG}/shop"


@pytest.mark.parametrize(
    ("dataset", "path", "row", "field"),
    [
        ("github.actions", f"/orgs/{ORG}/actions/permissions", ORG, "getPermissions"),
        ("github.teams", f"/orgs/{ORG}/teams/builders/members", "builders", "listMembersInOrg"),
        ("github.repository-access", f"{SHOP}/collaborators", f"{ORG}/shop", "Direct"),
        ("github.code-owners", f"{SHOP}/codeowners/errors", f"{ORG}/shop", "codeownersErrors"),
        ("github.default-branches", f"{SHOP}/branches/main/protection", f"{ORG}/shop", "getBranchProtection"),
        ("github.dependabot-alerts", f"{SHOP}/dependabot/alerts", f"{ORG}/shop", "listAlertsForRepo"),
        ("github.code-scanning-alerts", f"{SHOP}/code-scanning/alerts", f"{ORG}/shop", "listAlertsForRepo"),
        ("github.secret-scanning-alerts", f"{SHOP}/secret-scanning/alerts", f"{ORG}/shop", "listAlertsForRepo"),
        ("github.changes", f"{SHOP}/pulls/7/reviews", f"{ORG}/shop#7", "listReviews"),
        ("github.commits", f"{SHOP}/commits/{'a' * 40}/pulls", A, "listPullRequestsAssociatedWithCommit"),
        ("github.deployments", f"{SHOP}/deployments/11/statuses", f"{ORG}/shop/11", "listDeploymentStatuses"),
    ],
)
def test_a_refused_sub_reply_stands_in_its_row(
    github: GitHubWorld, dataset: str, path: str, row: str, field: str
) -> None:
    promises.refused_part(github, dataset, path, refusal(403), row, field)


def test_who_brought_a_commit_is_needed_for_every_deployment(github: GitHubWorld) -> None:
    github.faults[f"{SHOP}/commits/.*/pulls"] = lambda request, number: refusal(403)
    assert str(github.read("github.deployments").shard.population.gap).count("was refused (403)")


@pytest.mark.parametrize(
    "dataset", ["github.dependabot-alerts", "github.code-scanning-alerts", "github.secret-scanning-alerts"]
)
def test_what_is_not_set_up_is_a_fact_and_what_is_refused_is_not(github: GitHubWorld, dataset: str) -> None:
    reading = github.read(dataset)
    assert reading.row(f"{ORG}/portal")["listAlertsForRepo"] is None
    assert reading.row(f"{ORG}/shop")["listAlertsForRepo"]
    said = {line.get("error", {}).get("kind") for line in reading.ledger.lines}
    assert "absent" in said
    for status in (403, 404):
        reply = refusal(status)
        github.faults[".*/alerts"] = lambda request, number: reply  # noqa: B023 - asked before the next one
        with pytest.raises(Unavailable):
            github.read(dataset).row(f"{ORG}/portal")["listAlertsForRepo"]


def test_a_branch_without_protection_is_told_from_one_that_may_not_be_seen(github: GitHubWorld) -> None:
    path = f"{SHOP}/branches/main/protection"
    assert github.read("github.default-branches").row(f"{ORG}/shop")["getBranchProtection"] is None
    for message, seen in (("Not Found", False), ("Upgrade to GitHub Pro or make this repository public", True)):
        reply = refusal(403 if seen else 404, message)
        github.faults[path] = lambda request, number: reply  # noqa: B023 - asked before the next one
        row = github.read("github.default-branches").row(f"{ORG}/shop")
        if seen:
            assert row["getBranchProtection"] is None
        else:
            with pytest.raises(Unavailable):
                row["getBranchProtection"]


def test_deployments_are_read_until_the_list_reaches_back_before_the_period(github: GitHubWorld) -> None:
    older = {**github.held[f"{SHOP}/deployments"][-1], "created_at": "2020-01-01T00:00:00Z"}
    github.held[f"{SHOP}/deployments"] += [{**older, "id": 900 + number} for number in range(8)]
    reading = github.read("github.deployments")
    assert promises.keys_of(reading) == KEYS["github.deployments"]
    pages = [line for line in reading.ledger.lines if line["op"].endswith("/deployments")]
    assert [line["last"] for line in pages if line["params"]["repo"] == "shop"] == [False, False, True]


def test_a_list_in_another_order_ends_as_a_gap(github: GitHubWorld) -> None:
    held = github.held[f"{SHOP}/deployments"]
    held[0], held[1] = held[1], held[0]
    gap = github.read("github.deployments").shard.population.gap
    assert gap is not None
    assert "is not ordered by created_at, newest first" in gap.reason


def test_the_caller_is_the_user_of_the_token_or_left_to_the_connection(github: GitHubWorld) -> None:
    row = github.read("github.caller").row("caller")
    assert (row["Caller"].split()[1], row["Account"]) == ("auditor", ORG)
    github.faults["/user"] = lambda request, number: refusal(403, "Resource not accessible by integration")
    row = github.read("github.caller").row("caller")
    assert (row["Caller"], row["getAuthenticated"]) == ("", None)


FAILED = {
    "github.actions.restricted": [ORG],
    "github.audit-log.protection-kept": [f"github/{ORG}"],
    "github.changes.approved": [f"{ORG}/shop#8"],
    "github.changes.checks-passed": [f"{ORG}/shop#8"],
    "github.changes.security-tested": [f"{ORG}/shop#8"],
    "github.code-owners.declared": [f"{ORG}/portal", f"{ORG}/fresh"],
    "github.code-scanning-alerts.enabled": [f"{ORG}/portal", f"{ORG}/fresh"],
    "github.code-scanning-alerts.fixed-in-time": [f"{ORG}/shop"],
    "github.commits.through-review": [C],
    "github.credential-authorizations.in-use": ["2", "3"],
    "github.default-branches.approvals-current": [f"{ORG}/portal"],
    "github.default-branches.checks-required": [f"{ORG}/portal"],
    "github.default-branches.history-kept": [f"{ORG}/portal"],
    "github.default-branches.review-required": [f"{ORG}/portal"],
    "github.dependabot-alerts.enabled": [f"{ORG}/portal"],
    "github.dependabot-alerts.fixed-in-time": [f"{ORG}/shop"],
    "github.deploy-keys.in-use": [f"{ORG}/shop/2"],
    "github.deploy-keys.read-only": [f"{ORG}/shop/2"],
    "github.deployments.change-approved": [f"{ORG}/shop/12", f"{ORG}/shop/14"],
    "github.deployments.checks-passed": [f"{ORG}/shop/12", f"{ORG}/shop/14"],
    "github.deployments.duties-separated": [f"{ORG}/shop/12", f"{ORG}/shop/14"],
    "github.environments.branches-limited": [f"{ORG}/portal:live"],
    "github.environments.reviewed": [f"{ORG}/portal:live"],
    "github.environments.separate": [f"github/{ORG}"],
    "github.installations.administration-narrow": ["2"],
    "github.installations.repositories-selected": ["2"],
    "github.members.two-factor": [f"github/{ORG}"],
    "github.organisation.base-permission-narrow": [ORG],
    "github.organisation.publishing-restricted": [ORG],
    "github.organisations.collected": ["github"],
    "github.outside-collaborators.two-factor": [f"github/{ORG}"],
    "github.personal-access-tokens.expire": ["2"],
    "github.repositories.in-use": [f"{ORG}/portal"],
    "github.repositories.not-public": [f"{ORG}/portal"],
    "github.repositories.push-protected": [f"{ORG}/portal"],
    "github.repository-access.outsiders-limited": [f"{ORG}/portal"],
    "github.repository-access.through-teams": [f"{ORG}/portal"],
    "github.secret-scanning-alerts.enabled": [f"{ORG}/portal"],
    "github.secret-scanning-alerts.not-forced-in": [f"{ORG}/shop"],
    "github.secret-scanning-alerts.resolved-in-time": [f"{ORG}/shop"],
    "github.teams.administrators-few": ["everybody"],
    "github.webhooks.encrypted": [f"{ORG}/shop/4", f"{ORG}/shop/5"],
    "github.webhooks.signed": [f"{ORG}/2", f"{ORG}/shop/4"],
}


def test_the_organisation_is_judged_as_it_is(github: GitHubWorld) -> None:
    if github.contract is None:
        pytest.skip(f"{SPECS} is absent: the replies are cut down and lack fields that GitHub always sends")
    parameters = {"github.organisations.collected": {"collected_organisations": (ORG,)}}
    promises.judged([github.read(dataset) for dataset in KEYS], FAILED, github.now, parameters)


def test_a_run_is_sealed_and_reperformed_and_each_organisation_is_a_scope(github: GitHubWorld, tmp_path: Path) -> None:
    connection = f"name: code, kind: github, base_url: {github.origin}, token: file:token, accounts: [{ORG}, absent]"
    office = promises.connected(tmp_path, connection, token=f"{github.token}\n")
    said = office.run("--json", "--check", "github.organisation*", "--check", "github.members.*")
    assert said.code == 3, said.err
    with office.sealed() as run:
        lines = list(run.replies())
    callers = {line["caller"] for line in lines if line["task"].startswith("github.members@")}
    assert {caller.split()[-1] for caller in callers} == {"auditor"}
    gaps = {(line["dataset"], line["scope"]) for line in office.lines("gap")}
    assert ("github.organisation", "code/absent") in gaps
    assert ("github.organisation", f"code/{ORG}") not in gaps
    found = [line for line in office.lines("finding") if line["check"] == "github.organisations.collected"]
    assert [(line["scope"], line["outcome"]) for line in found] == [("code", "FAIL")]
    assert "example-labs, example-past" in found[0]["reason"]
    promises.reperformed(office, github.token)


def test_every_permission_reads_only() -> None:
    for dataset in SOURCES:
        assert all(item.endswith(":read") for item in plugins.load().sources[dataset].permissions)


SUB = {
    "Direct": "/repos/{owner}/{repo}/collaborators",
    "Outside": "/repos/{owner}/{repo}/collaborators",
    "codeownersErrors": "/repos/{owner}/{repo}/codeowners/errors",
    "getBranch": "/repos/{owner}/{repo}/branches/{branch}",
    "getBranchProtection": "/repos/{owner}/{repo}/branches/{branch}/protection",
    "getBranchRules": "/repos/{owner}/{repo}/rules/branches/{branch}",
    "getCombinedStatusForRef": "/repos/{owner}/{repo}/commits/{ref}/status",
    "getDefaultWorkflowPermissions": "/orgs/{org}/actions/permissions/workflow",
    "getPermissions": "/orgs/{org}/actions/permissions",
    "listDeploymentStatuses": "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
    "listMembersInOrg": "/orgs/{org}/teams/{team_slug}/members",
    "listPullRequestsAssociatedWithCommit": "/repos/{owner}/{repo}/commits/{commit_sha}/pulls",
    "listReposInOrg": "/orgs/{org}/teams/{team_slug}/repos",
    "listReviews": "/repos/{owner}/{repo}/pulls/{pull_number}/reviews",
}
"""What answers under each name of ours; three more are lists in lists."""
MAIN = {
    "github.audit-log": "/orgs/{org}/audit-log",
    "github.changes": "/repos/{owner}/{repo}/pulls",
    "github.collaborators-without-two-factor": "/orgs/{org}/outside_collaborators",
    "github.commits": "/repos/{owner}/{repo}/commits",
    "github.credential-authorizations": "/orgs/{org}/credential-authorizations",
    "github.deploy-keys": "/repos/{owner}/{repo}/keys",
    "github.deployments": "/repos/{owner}/{repo}/deployments",
    "github.environments": "/repos/{owner}/{repo}/environments",
    "github.installations": "/orgs/{org}/installations",
    "github.members": "/orgs/{org}/members",
    "github.members-without-two-factor": "/orgs/{org}/members",
    "github.organisation": "/orgs/{org}",
    "github.organisations": "/user/orgs",
    "github.outside-collaborators": "/orgs/{org}/outside_collaborators",
    "github.personal-access-tokens": "/orgs/{org}/personal-access-tokens",
    "github.teams": "/orgs/{org}/teams",
    "github.webhooks": "/repos/{owner}/{repo}/hooks",
}
"""What gives the records; the other datasets have repositories."""
OURS = {"DefaultBranch", "Id", "Key", "Production", "Repository", "Role"}


def test_every_field_of_an_example_is_in_the_description_at_that_place(github: GitHubWorld) -> None:
    """Examples are replies, cut down: what the description does not have there was invented."""
    if github.schemas is None:
        pytest.skip(f"{SPECS} is absent: examples were not compared")
    schemas = github.schemas

    def hold(template: str, value: Any, item: bool = False) -> None:
        schema: Any = schemas.body(template)
        if item and schema.get("type") != "array":
            lists = [part for part in schemas.properties(schema).values() if part.get("type") == "array"]
            schema = lists[0] if lists and template not in ("/orgs/{org}",) else {"items": schema}
        schemas.whole(schema["items"] if item else schema, value, named=True, where=template)

    def row_of(dataset: str, row: dict[str, Any]) -> None:
        alerts = f"/repos/{{owner}}/{{repo}}/{dataset.removeprefix('github.').removesuffix('-alerts')}/alerts"
        rest = {}
        for name, value in row.items():
            if value is None or (isinstance(value, dict) and GAP_KEY in value):
                continue
            if name == "Changes":
                for change in value:
                    row_of("github.changes", change)
            elif name == "getRulesets":
                for one in value:
                    hold("/repos/{owner}/{repo}/rulesets/{ruleset_id}", one)
            elif name == "listForRef":
                hold("/repos/{owner}/{repo}/commits/{ref}/check-runs", {"check_runs": value})
            elif name == "listAlertsForRepo":
                hold(alerts, value)
            elif name in SUB:
                hold(SUB[name], value)
            elif name not in OURS:
                rest[name] = value
        hold(MAIN.get(dataset, "/orgs/{org}/repos"), rest, item=True)

    seen = 0
    for _, dataset, row in promises.shown(Path(__file__).parent, "github"):
        if dataset.startswith("github."):
            row_of(dataset, row)
            seen += 1
    assert seen > 200


def test_the_period_is_named_at_both_ends_where_github_takes_it(github: GitHubWorld) -> None:
    github.read("github.commits")
    query = next(request.query for request in github.requests if request.path == f"{SHOP}/commits")
    assert instant(query["until"]) - instant(query["since"]) == timedelta(days=30)
    github.read("github.audit-log")
    phrases = [request.query["phrase"] for request in github.requests if "phrase" in request.query]
    assert all(re.fullmatch(r"action:\w+\.\w+ created:>=\d{4}-\d\d-\d\d", phrase) for phrase in phrases)
