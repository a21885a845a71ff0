"""How GitLab is read: against a world in the shape of the vendor's published reference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collector.model import instant
from tests import promises
from tests.gitlab_world import GROUP, GitLabWorld
from tests.http_world import Reply, worlds

SOURCES = promises.sources_of("gitlab")
SHOP, PORTAL, FRESH = "example/shop", "example/web/portal", "example/fresh"
PROJECT = "/api/v4/projects/101"


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLabWorld]:
    """A furnished group; no request may carry a parameter that the reference does not know."""
    for world in worlds(GitLabWorld, tmp_path):
        furnish(world)
        yield world
        assert world.strange == []


def furnish(world: GitLabWorld) -> None:
    """Put the group of the file into the world: invented people, in replies as the reference shows them."""
    world.furnish(Path(__file__).parent / "organisation.json")


KEYS = {
    "gitlab.access-tokens": ["example/1", "example/2", "example/3", "example/tools/5", f"{SHOP}/4"],
    "gitlab.audit-events": ["group/1", "group/2", "group/3", "project/4", "project/5"],
    "gitlab.billable-members": ["510", "307", "529"],
    "gitlab.caller": ["caller"],
    "gitlab.changes": [f"{SHOP}!1", f"{SHOP}!2"],
    "gitlab.default-branches": [SHOP, PORTAL],
    "gitlab.deploy-keys": [f"{SHOP}/1", f"{SHOP}/2", f"{SHOP}/3"],
    "gitlab.deploy-tokens": ["example/1", "example/2", "example/3"],
    "gitlab.deployments": [f"{SHOP}/{number}" for number in (14, 13, 12, 11)],
    "gitlab.environments": [f"{SHOP}:production", f"{SHOP}:staging", f"{SHOP}:cluster-7", f"{PORTAL}:live"],
    "gitlab.group": [GROUP],
    "gitlab.groups": [GROUP, "example-labs", "example-past"],
    "gitlab.members": ["510", "307", "529", "425"],
    "gitlab.projects": [SHOP, PORTAL, FRESH, "example/old"],
    "gitlab.variables": [
        "example/REGION@*", "example/API_TOKEN@*", "example/DB_PASSWORD@*", f"{SHOP}/API_TOKEN@production",
        f"{SHOP}/API_TOKEN@staging",
    ],
    "gitlab.vulnerabilities": [SHOP, PORTAL, FRESH],
    "gitlab.webhooks": ["example/1", "example/2", "example/3", f"{SHOP}/4"],
}  # fmt: skip
ONE = ("gitlab.caller", "gitlab.group")
"""Datasets of one record."""
LISTS = [name for name in KEYS if name not in ONE]
PERSONAL = (b"Ada", b"ada@example.com", b"gravatar", b"hush", b"198.51.100.7", b"00-example-token")
NO = Reply(403, {"message": "403 Forbidden"})


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_and_replays(gitlab: GitLabWorld, dataset: str) -> None:
    paged = "" if dataset in LISTS else None
    promises.read_whole(gitlab, dataset, KEYS[dataset], asked=("gitlab:GET /api/v4/",), personal=PERSONAL, paged=paged)


@pytest.mark.parametrize("dataset", KEYS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(GitLabWorld, tmp_path):
        furnish(empty)
        empty.held = {path: reply for path, reply in empty.held.items() if isinstance(reply, dict)}
        promises.nothing_there(empty, dataset, rows=dataset in ONE)


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, NO, "denied") for dataset in KEYS),
        ("gitlab.members", Reply(401, {"message": "401 Unauthorized"}), "unauthenticated"),
        ("gitlab.members", Reply(404, {"message": "404 Group Not Found"}), "rejected"),
        ("gitlab.members", Reply(429, {"message": "Retry later"}, {"Retry-After": "0"}), "throttled"),
        ("gitlab.members", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(gitlab: GitLabWorld, dataset: str, reply: Reply, kind: str) -> None:
    promises.refused(gitlab, dataset, reply, kind)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(gitlab: GitLabWorld, dataset: str) -> None:
    expired = Reply(401, {"message": "401 Unauthorized"})
    rows = range(len(KEYS[dataset]) + 1)
    promises.broken_off(gitlab, dataset, lambda request: {"page", "cursor"} & set(request.query), expired, rows)


@pytest.mark.parametrize(
    ("dataset", "path", "row", "field"),
    [
        ("gitlab.default-branches", f"{PROJECT}/protected_branches", SHOP, "protected_branches"),
        ("gitlab.default-branches", f"{PROJECT}/approvals", SHOP, "approvals"),
        ("gitlab.default-branches", f"{PROJECT}/approval_rules", SHOP, "approval_rules"),
        ("gitlab.default-branches", f"{PROJECT}/push_rule", SHOP, "push_rule"),
        ("gitlab.vulnerabilities", f"{PROJECT}/vulnerabilities", SHOP, "vulnerabilities"),
        ("gitlab.changes", f"{PROJECT}/merge_requests/1/approvals", f"{SHOP}!1", "approvals"),
        ("gitlab.changes", f"{PROJECT}/merge_requests/1/pipelines", f"{SHOP}!1", "pipelines"),
    ],
)
def test_a_refused_sub_reply_stands_in_its_row(
    gitlab: GitLabWorld, dataset: str, path: str, row: str, field: str
) -> None:
    """Much of it is licensed: what the plan has not is refused, and nothing is concluded from it."""
    promises.refused_part(gitlab, dataset, path, NO, row, field)


def test_what_was_deployed_is_joined_with_the_requests_of_its_commit_and_those_new_in_it(gitlab: GitLabWorld) -> None:
    reading = gitlab.read("gitlab.deployments")
    changes = {row["id"]: [change["iid"] for change in row.get("Changes") or ()] for row in reading.rows}
    assert changes == {14: [], 13: [], 12: [2], 11: [1, 4]}
    assert reading.row(f"{SHOP}/14")["Production"], "by its tier, though its name tells nothing"
    assert not reading.row(f"{SHOP}/13")["Production"]
    query = next(request.query for request in gitlab.requests if request.path == f"{PROJECT}/deployments")
    assert instant(query["updated_before"]) - instant(query["updated_after"]) == timedelta(days=30)


def test_the_caller_is_the_user_or_bot_of_the_token(gitlab: GitLabWorld) -> None:
    row = gitlab.read("gitlab.caller").row("caller")
    assert (row["Caller"].split()[1], row["Account"]) == ("auditor", GROUP)


FAILED = {
    "gitlab.access-tokens.expire": ["example/2", f"{SHOP}/4"],
    "gitlab.access-tokens.in-use": [f"{SHOP}/4"],
    "gitlab.audit-events.protection-kept": [f"gitlab/{GROUP}"],
    "gitlab.billable-members.in-use": ["307"],
    "gitlab.changes.approved": [f"{SHOP}!2"],
    "gitlab.changes.checks-passed": [f"{SHOP}!2"],
    "gitlab.default-branches.approvals-current": [PORTAL],
    "gitlab.default-branches.history-kept": [PORTAL],
    "gitlab.default-branches.no-direct-push": [PORTAL],
    "gitlab.default-branches.review-required": [PORTAL],
    "gitlab.default-branches.secrets-refused": [PORTAL],
    "gitlab.default-branches.self-approval-off": [PORTAL],
    "gitlab.deploy-keys.read-only": [f"{SHOP}/2"],
    "gitlab.deploy-tokens.expire": ["example/2"],
    "gitlab.deployments.change-approved": [f"{SHOP}/14", f"{SHOP}/12"],
    "gitlab.deployments.checks-passed": [f"{SHOP}/14", f"{SHOP}/12"],
    "gitlab.deployments.duties-separated": [f"{SHOP}/14", f"{SHOP}/12"],
    "gitlab.environments.protected": [f"{SHOP}:cluster-7", f"{PORTAL}:live"],
    "gitlab.group.sharing-restricted": [GROUP],
    "gitlab.group.two-factor-required": [GROUP],
    "gitlab.groups.collected": ["gitlab"],
    "gitlab.projects.in-use": [PORTAL],
    "gitlab.projects.job-token-limited": [PORTAL],
    "gitlab.projects.not-public": [PORTAL],
    "gitlab.projects.pipeline-required": [PORTAL, FRESH],
    "gitlab.variables.protected": ["example/DB_PASSWORD@*", f"{SHOP}/API_TOKEN@production"],
    "gitlab.vulnerabilities.fixed-in-time": [SHOP],
    "gitlab.webhooks.encrypted": ["example/3", f"{SHOP}/4"],
}


def test_the_group_is_judged_as_it_is(gitlab: GitLabWorld) -> None:
    readings = [gitlab.read(dataset) for dataset in KEYS]
    promises.judged(readings, FAILED, gitlab.now, {"gitlab.groups.collected": {"collected_groups": (GROUP,)}})


OPTIONAL = {"add", "remove", "change", "custom_message", "event_name"}
"""Of the details of an audit event GitLab sends those that apply."""


def test_every_field_of_an_example_is_one_that_the_sources_yield(gitlab: GitLabWorld) -> None:
    rows: dict[str, list[Any]] = {dataset: [dict(row) for row in gitlab.read(dataset).rows] for dataset in KEYS}
    assert len(promises.drawn_from(rows, Path(__file__).parent, optional=OPTIONAL)) > 12
