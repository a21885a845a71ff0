"""How Jira is read: tickets of saved filters, page by page, with the whole of what happened to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import examples, plugins
from collector.judge import Bench, judge
from collector.model import Outcome, Unavailable, instant
from tests.http_world import Reply, Request, same, worlds
from tests.jira_world import USER, JiraWorld
from tests.small_cloud import Office, files_of
from tests.test_contract import _differences
from tests.worlds import Reading

SOURCES = sorted(name for name in plugins.load().sources if name.startswith("jira."))
KEYS = {
    "jira.access-requests": ["ACC-1", "ACC-2", "ACC-3"],
    "jira.caller": ["caller"],
    "jira.changes": ["CHG-1", "CHG-2", "CHG-3"],
    "jira.exceptions": ["EXC-1", "EXC-2", "EXC-3"],
    "jira.incidents": ["INC-1", "INC-2", "INC-3"],
}
LISTS = [name for name in KEYS if name != "jira.caller"]


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


def keys_of(reading: Reading) -> list[str]:
    assert reading.shard.path is not None
    return [json.loads(line)["key"] for line in reading.shard.path.read_bytes().splitlines()]


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_and_replays(jira: JiraWorld, dataset: str) -> None:
    reading = jira.read(dataset)
    assert reading.shard.population.gap is None
    assert reading.shard.population.partial == ()
    assert keys_of(reading) == KEYS[dataset]
    assert all(line["op"].startswith("jira:GET /rest/api/3/") for line in reading.ledger.lines)
    if dataset in LISTS:
        assert 2 in {line["page"] for line in reading.ledger.lines if line["op"].endswith("search/jql")}
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    for personal in (b"Ada", b"Rita", b"Olive", b"avatar.example", b"00-example-token"):
        assert personal not in kept
    same(jira, reading)


def test_the_definition_of_the_filter_is_on_record(jira: JiraWorld) -> None:
    reading = jira.read("jira.changes")
    (body,) = [reading.ledger.objects[line["sha256"]] for line in reading.ledger.lines if "filter" in line["op"]]
    assert json.loads(body)["values"][0]["jql"] == "project = CHA"


def test_a_long_changelog_is_read_to_its_end_and_a_short_one_is_taken_as_it_came(jira: JiraWorld) -> None:
    reading = jira.read("jira.changes")
    assert [len(row["getChangeLogs"]) for row in reading.rows] == [2, 2, 5]
    asked = [request.path for request in jira.requests if request.path.endswith("/changelog")]
    assert asked == ["/rest/api/3/issue/3/changelog"] * 3
    same(jira, reading)


@pytest.mark.parametrize("dataset", LISTS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(JiraWorld, tmp_path):
        furnish(empty)
        empty.tickets = {}
        reading = empty.read(dataset)
        assert reading.shard.population.proven
        assert reading.rows == []
        same(empty, reading)


@pytest.mark.parametrize("dataset", LISTS)
def test_without_the_filter_or_with_two_of_them_nobody_knows_which_tickets_count(jira: JiraWorld, dataset: str) -> None:
    name = f"affidavit {dataset.removeprefix('jira.')}"
    held = jira.filters
    jira.filters = [one for one in held if one["name"] != name] + [{**held[0], "id": "7", "name": f"{name} of old"}]
    reading = jira.read(dataset)
    assert reading.shard.population.gap is not None
    assert "no filter is named" in reading.shard.population.gap.reason
    same(jira, reading)
    jira.filters = [*held, {**held[0], "id": "8", "name": name.upper()}]
    reading = jira.read(dataset)
    assert reading.shard.population.gap is not None
    assert "2 filters are named" in reading.shard.population.gap.reason
    same(jira, reading)


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, Reply(403, {"errorMessages": ["no"]}), "denied") for dataset in KEYS),
        ("jira.changes", Reply(401, {"errorMessages": ["no"]}), "unauthenticated"),
        ("jira.changes", Reply(404, {"errorMessages": ["no"]}), "rejected"),
        ("jira.changes", Reply(429, b"", {"Retry-After": "0"}), "throttled"),
        ("jira.changes", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(jira: JiraWorld, dataset: str, reply: Reply, kind: str) -> None:
    jira.faults[".*"] = lambda request, number: reply
    reading = jira.read(dataset)
    assert reading.shard.population.gap is not None
    assert (reading.rows, str(reading.shard.population.gap.kind)) == ([], kind)
    assert len(jira.requests) == (2 if kind in ("throttled", "server-error") else 1)
    same(jira, reading)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(jira: JiraWorld, dataset: str) -> None:
    def expired(request: Request, _: int) -> Reply | None:
        return Reply(401, {"errorMessages": ["expired"]}) if "nextPageToken" in request.query else None

    jira.faults[".*"] = expired
    reading = jira.read(dataset)
    assert reading.shard.population.gap is not None
    assert (reading.shard.population.gap.kind, len(reading.rows)) == ("unauthenticated", 2)
    same(jira, reading)


def test_a_page_without_its_end_and_a_token_that_repeats_are_gaps(jira: JiraWorld) -> None:
    for body, kind in (
        ({"issues": [], "isLast": False}, "truncated"),
        ({"issues": []}, "malformed"),
        ({"issues": [], "isLast": False, "nextPageToken": "again"}, "repeated-token"),
    ):
        jira.faults["/rest/api/3/search/jql"] = lambda request, number, body=body: Reply(body=body)
        reading = jira.read("jira.changes")
        assert reading.shard.population.gap is not None
        assert reading.shard.population.gap.kind == kind
        same(jira, reading)


def test_a_refused_changelog_stands_in_its_row(jira: JiraWorld) -> None:
    jira.faults["/rest/api/3/issue/3/changelog"] = lambda request, number: Reply(403, {"errorMessages": ["no"]})
    reading = jira.read("jira.changes")
    with pytest.raises(Unavailable, match="was refused"):
        reading.row("CHG-3")["getChangeLogs"]
    assert [gap.resources for gap in reading.shard.population.partial] == [("CHG-3",)]
    same(jira, reading)


def test_the_site_is_judged_as_it_is(jira: JiraWorld) -> None:
    checks = [check for check in plugins.load().checks.values() if check.id.startswith("jira.")]
    readings = [jira.read(dataset) for dataset in KEYS]
    found = list(judge(checks, [reading.shard for reading in readings], Bench(instant("2026-06-01T00:00:00Z"), {})))
    assert {finding.outcome for finding in found} <= {Outcome.PASS, Outcome.FAIL, Outcome.SKIP}
    assert {(finding.check, finding.resource) for finding in found if finding.outcome is Outcome.FAIL} == {
        ("jira.access-requests.approved-by-another", "ACC-3"),
        ("jira.changes.approved-before", "CHG-2"),
        ("jira.changes.approved-by-another", "CHG-3"),
        ("jira.exceptions.approved-by-another", "EXC-3"),
        ("jira.exceptions.end", "EXC-2"),
        ("jira.exceptions.end", "EXC-3"),
        ("jira.incidents.resolved-in-time", "INC-2"),
        ("jira.incidents.triaged-in-time", "INC-2"),
    }
    requests = [(line["op"], json.dumps(line["params"]), line["tokenIn"]) for r in readings for line in r.ledger.lines]
    assert len(requests) == len(set(requests)), "nothing is asked twice in a run"


def test_a_run_knows_who_asked_and_is_reperformed(jira: JiraWorld, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", jira.origin)
    (office.folder / "token").touch(mode=0o600)
    (office.folder / "token").write_text(f"{jira.token}\n")
    credential = f"{{user: {USER}, secret: file:token}}"
    declared = f"connections: [{{name: tickets, kind: jira, base_url: '{jira.origin}', basic: {credential}}}]\n"
    text = office.config.read_text()
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", declared, text, flags=re.MULTILINE))
    said = office.run("--json")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    with office.sealed() as run:
        callers = {line["caller"] for line in run.replies()}
    assert callers == {f"{USER}, file:token", "acc-audit auditor@example.org"}
    assert jira.token.encode() not in b"".join(files_of(office.store).values())
    assert office.rerun().code == 0


def test_every_permission_reads_and_none_writes() -> None:
    for dataset in SOURCES:
        assert set(plugins.load().sources[dataset].permissions) <= {"read:jira-work", "read:jira-user"}


def test_every_field_an_example_has_comes_from_the_source(jira: JiraWorld) -> None:
    checks = {check.id: check for check in plugins.load().checks.values() if check.id.startswith("jira.")}
    rows = {dataset: list(jira.read(dataset).rows) for dataset in LISTS}
    problems = []
    for example in examples.load(Path(__file__).parent, checks):
        (dataset,) = checks[example.check].datasets
        problems += [f"{example.check}: {one}" for one in _differences(example.rows[0], rows[dataset], dataset)]
    assert sorted(set(problems)) == []
