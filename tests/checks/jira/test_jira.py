"""How Jira is read: tickets of saved filters, page by page, with the whole of what happened to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.model import instant
from tests import promises
from tests.http_world import Reply, worlds
from tests.jira_world import USER, JiraWorld

SOURCES = promises.sources_of("jira")
KEYS = {
    "jira.access-requests": ["ACC-1", "ACC-2", "ACC-3"],
    "jira.caller": ["caller"],
    "jira.changes": ["CHG-1", "CHG-2", "CHG-3"],
    "jira.exceptions": ["EXC-1", "EXC-2", "EXC-3"],
    "jira.incidents": ["INC-1", "INC-2", "INC-3"],
}
LISTS = [name for name in KEYS if name != "jira.caller"]
ASKED = ("jira:GET /rest/api/3/",)
PERSONAL = (b"Ada", b"Rita", b"Olive", b"avatar.example", b"00-example-token")
NO = Reply(403, {"errorMessages": ["no"]})


def furnish(world: JiraWorld) -> None:
    """Put the site of the file into the world: invented people, in replies cut down from the vendor's."""
    site = json.loads((Path(__file__).parent / "site.json").read_text("utf8"))
    world.me = site["me"]
    for kind, tickets in site["tickets"].items():
        for short in tickets:
            person = {
                "accountId": short["reporter"], "displayName": "Rita Reporter", "emailAddress": "rita@example.org",
                "active": True, "avatarUrls": {"48x48": "https://avatar.example/rita"},
            }  # fmt: skip
            histories = [
                {
                    "id": f"{short['id']}-{number}", "created": at,
                    "author": {"accountId": who, "displayName": "Ada Author", "emailAddress": f"{who}@example.org"},
                    "items": [{
                        "field": "status", "fieldtype": "jira", "fieldId": "status", "from": "1", "fromString": "Open",
                        "to": "2", "toString": status,
                    }],
                }
                for number, (at, status, who) in enumerate(short["steps"])
            ]  # fmt: skip
            fields = {
                "created": "2026-05-01T09:00:00.000+0000", "updated": "2026-05-04T09:00:00.000+0000",
                "resolutiondate": short.get("resolutiondate"), "duedate": short.get("duedate"),
                "status": {"name": "Open", "id": "1", "statusCategory": {"key": "new", "name": "To Do"}},
                "priority": {"name": short.get("priority", "Medium"), "id": "3"},
                "issuetype": {"name": "Task", "id": "5"},
                "reporter": person, "assignee": None,
            }  # fmt: skip
            world.add(kind, {"id": short["id"], "key": short["key"], "fields": fields, "histories": histories})


@pytest.fixture
def jira(tmp_path: Path) -> Iterator[JiraWorld]:
    for world in worlds(JiraWorld, tmp_path):
        furnish(world)
        yield world


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_and_replays(jira: JiraWorld, dataset: str) -> None:
    paged = "search/jql" if dataset in LISTS else None
    promises.read_whole(jira, dataset, KEYS[dataset], asked=ASKED, personal=PERSONAL, paged=paged)


def test_the_definition_of_the_filter_is_on_record(jira: JiraWorld) -> None:
    reading = jira.read("jira.changes")
    (body,) = [reading.ledger.objects[line["sha256"]] for line in reading.ledger.lines if "filter" in line["op"]]
    assert json.loads(body)["values"][0]["jql"] == "project = CHA"


def test_a_long_changelog_is_read_to_its_end_and_a_short_one_is_taken_as_it_came(jira: JiraWorld) -> None:
    reading = jira.read("jira.changes")
    assert [len(row["getChangeLogs"]) for row in reading.rows] == [2, 2, 5]
    asked = [request.path for request in jira.requests if request.path.endswith("/changelog")]
    assert asked == ["/rest/api/3/issue/3/changelog"] * 3
    promises.same(jira, reading)


@pytest.mark.parametrize("dataset", LISTS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(JiraWorld, tmp_path):
        furnish(empty)
        empty.tickets = {}
        promises.nothing_there(empty, dataset)


@pytest.mark.parametrize("dataset", LISTS)
def test_without_the_filter_or_with_two_of_them_nobody_knows_which_tickets_count(jira: JiraWorld, dataset: str) -> None:
    name = f"affidavit {dataset.removeprefix('jira.')}"
    held = jira.filters
    jira.filters = [one for one in held if one["name"] != name] + [{**held[0], "id": "7", "name": f"{name} of old"}]
    reading = jira.read(dataset)
    assert reading.shard.population.gap is not None
    assert "no filter is named" in reading.shard.population.gap.reason
    promises.same(jira, reading)
    jira.filters = [*held, {**held[0], "id": "8", "name": name.upper()}]
    reading = jira.read(dataset)
    assert reading.shard.population.gap is not None
    assert "2 filters are named" in reading.shard.population.gap.reason
    promises.same(jira, reading)


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, NO, "denied") for dataset in KEYS),
        ("jira.changes", Reply(401, {"errorMessages": ["no"]}), "unauthenticated"),
        ("jira.changes", Reply(404, {"errorMessages": ["no"]}), "rejected"),
        ("jira.changes", Reply(429, b"", {"Retry-After": "0"}), "throttled"),
        ("jira.changes", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(jira: JiraWorld, dataset: str, reply: Reply, kind: str) -> None:
    promises.refused(jira, dataset, reply, kind)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(jira: JiraWorld, dataset: str) -> None:
    expired = Reply(401, {"errorMessages": ["expired"]})
    promises.broken_off(jira, dataset, lambda request: "nextPageToken" in request.query, expired, rows=(2,))


def test_a_page_without_its_end_and_a_token_that_repeats_are_gaps(jira: JiraWorld) -> None:
    for body, kind in (
        ({"issues": [], "isLast": False}, "truncated"),
        ({"issues": []}, "malformed"),
        ({"issues": [], "isLast": False, "nextPageToken": "again"}, "repeated-token"),
    ):
        reply = Reply(body=body)
        jira.faults["/rest/api/3/search/jql"] = lambda request, number: reply  # noqa: B023 - asked before the next one
        reading = jira.read("jira.changes")
        assert reading.shard.population.gap is not None
        assert reading.shard.population.gap.kind == kind
        promises.same(jira, reading)


def test_a_refused_changelog_stands_in_its_row(jira: JiraWorld) -> None:
    there = "/rest/api/3/issue/3/changelog"
    promises.refused_part(jira, "jira.changes", there, NO, "CHG-3", "getChangeLogs")


FAILED = {
    "jira.access-requests.approved-by-another": ["ACC-3"],
    "jira.changes.approved-before": ["CHG-2"],
    "jira.changes.approved-by-another": ["CHG-3"],
    "jira.exceptions.approved-by-another": ["EXC-3"],
    "jira.exceptions.end": ["EXC-2", "EXC-3"],
    "jira.incidents.resolved-in-time": ["INC-2"],
    "jira.incidents.triaged-in-time": ["INC-2"],
}


def test_the_site_is_judged_as_it_is(jira: JiraWorld) -> None:
    readings = [jira.read(dataset) for dataset in KEYS]
    promises.judged(readings, FAILED, instant("2026-06-01T00:00:00Z"))
    promises.asked_once(readings)


def test_a_run_knows_who_asked_and_is_reperformed(jira: JiraWorld, tmp_path: Path) -> None:
    credential = f"{{user: {USER}, secret: file:token}}"
    connection = f"name: tickets, kind: jira, base_url: '{jira.origin}', basic: {credential}"
    office = promises.connected(tmp_path, connection, token=f"{jira.token}\n")
    callers = {line["caller"] for line in promises.sealed(office, jira.token)}
    assert callers == {f"{USER}, file:token", "acc-audit auditor@example.org"}


def test_every_permission_reads_and_none_writes() -> None:
    for dataset in SOURCES:
        assert set(plugins.load().sources[dataset].permissions) <= {"read:jira-work", "read:jira-user"}


def test_every_field_an_example_has_comes_from_the_source(jira: JiraWorld) -> None:
    rows: dict[str, list[Any]] = {dataset: list(jira.read(dataset).rows) for dataset in LISTS}
    assert promises.drawn_from(rows, Path(__file__).parent)
