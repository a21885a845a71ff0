"""What was switched off is on record, and a history that hides it does not verify."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from collector.report.measured import in_full
from collector.suppressions import (
    IN_A_LEAF,
    NOT_COMPARED,
    WORDS_ONLY,
    change_leaf,
    changes,
    estate_changes,
    moved,
    ruler,
    suppressed,
)
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store

PLAN: dict[str, Any] = {
    "collector": {"name": "affidavit", "version": "1.0.0", "sha256": "k1"},
    "config": {"sha256": "c1"},
    "selection": "",
    "disabled": [],
    "limits": {"attempts": 5},
    "code": [{"file": "checks/aws/s3.py", "sha256": "s1"}],
    "examples": [],
    "files": [{"file": "mappings/iso-27001/aws.s3.yaml", "sha256": "m1"}],
    "checks": [{"id": "aws.iam.x", "params": {"max_age_days": 90}, "defaults": {"max_age_days": 90}}],
    "sources": [{"id": "aws.iam.users", "redactions": [{"operation": "*", "path": "a", "reason": "personal"}]}],
    "tasks": [{"connection": "prod", "account": "", "region": region} for region in ("eu", "us")],
}


def altered(**parts: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PLAN), **parts}


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (
            altered(checks=[{**PLAN["checks"][0], "params": {"max_age_days": 365}}]),
            "limit max_age_days of aws.iam.x: 90 -> 365",
        ),
        (
            altered(disabled=[{"id": "aws.iam.y", "reason": "noisy", "by": "J. Doe"}]),
            "check aws.iam.y disabled by J. Doe: noisy",
        ),
        (altered(checks=[]), "check dropped: aws.iam.x"),
        (altered(tasks=PLAN["tasks"][:1]), "scope dropped: prod/us"),
        (altered(code=[{"file": "checks/aws/s3.py", "sha256": "s2"}]), "checks/aws/s3.py changed"),
        (altered(files=[]), "mappings/iso-27001/aws.s3.yaml dropped"),
        (altered(sources=[]), "redaction dropped: aws.iam.users a"),
        (
            altered(collector={"name": "affidavit", "version": "1.1.0", "sha256": "k2"}),
            "collector 1.0.0 -> 1.1.0",
        ),
        (
            altered(collector={"name": "affidavit", "version": "1.0.0", "sha256": "k2"}),
            "the collector's own code changed, its version did not",
        ),
        (altered(limits={"attempts": 1}), "collection.attempts: 5 -> 1"),
    ],
)
def test_every_change_of_the_ruler_is_told(plan: dict[str, Any], told: str) -> None:
    assert list(changes(PLAN, plan)) == [told]
    assert told in change_leaf(PLAN, "r0", plan, "me@here", "")["changes"]


@pytest.mark.parametrize("part", ["collector", "config", "code", "examples", "files"])
def test_whatever_judges_is_part_of_the_ruler(part: str) -> None:
    assert ruler(altered(**{part: "another"})) != ruler(PLAN)


def test_a_part_that_was_asked_for_is_no_change_of_the_ruler() -> None:
    assert list(changes(PLAN, altered(selection="checks aws.s3.*", checks=[], tasks=[]))) == []
    assert ruler(PLAN) == ruler(altered(selection="checks aws.s3.*", checks=[], tasks=[]))
    assert ruler(PLAN) != ruler(altered(config={"sha256": "c2"}))


def test_many_changes_are_counted_where_a_leaf_has_no_room() -> None:
    leaf = change_leaf(PLAN, "r0", altered(code=[{"file": f"f{n}", "sha256": "x"} for n in range(40)]), "me", "upgrade")
    assert len(leaf["changes"]) == IN_A_LEAF
    assert leaf["more"] == 41 - IN_A_LEAF
    assert len(json.dumps(leaf)) < 2500


def test_the_page_of_what_was_not_shown() -> None:
    plan = altered(
        checks=[{**PLAN["checks"][0], "params": {"max_age_days": 365}}], selection="controls A.8.13",
        disabled=[{"id": "aws.iam.y", "reason": "noisy", "by": "J. Doe"}],
    )  # fmt: skip
    leaves = [
        {
            "kind": "config-change",
            "index": 4,
            "changes": ["limit"],
            "more": 2,
            "reason": "",
            "by": "me@here",
            "recordedOn": "t",
        },
        {"kind": "gap", "index": 5, "reason": "the daemon was not running", "recordedOn": "t"},
        {"kind": "schedule", "index": 6},
    ]
    rows = [(row["side"], row["what"], row["reason"]) for row in suppressed(plan, leaves)]
    assert rows == [
        ("measurement", "check disabled", "noisy"),
        ("measurement", "part only", "asked for"),
        ("measurement", "limit changed", "90 by default, 365 here; no leaf tells since when, or why"),
        ("measurement", "redacted", "personal"),
        ("measurement", "measurement changed", "limit; and 2 more (nobody said why)"),
        ("environment", "not collected", "the daemon was not running"),
    ]


SETTINGS: dict[str, Any] = {
    "connections": ["prod", "web"],
    "connections.prod.kind": "github",
    "connections.prod.base_url": "https://api.example.org",
    "connections.web.kind": "tls",
    "connections.web.endpoints": ["a:443", "b:443"],
    "privacy.defaults": True,
    "checks.parameters.aws.iam.x.max_age_days": 90,
}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        (
            {"connections.prod.base_url": "https://other.example.org"},
            ["setting connections.prod.base_url: https://api.example.org -> https://other.example.org"],
        ),
        ({"connections.web.endpoints": ["a:443"]}, ["setting connections.web.endpoints: dropped b:443"]),
        (
            {"connections.web.endpoints": ["b:443", "a:443"]},
            ["setting connections.web.endpoints: a:443, b:443 -> b:443, a:443"],
        ),
        ({"privacy.defaults": False}, ["setting privacy.defaults: True -> False"]),
        (
            {"connections": ["web", "prod.b"], "connections.prod.b.url": "x", "connections.web.roots": "r"},
            ["connection dropped: prod", "connection added: prod.b", "setting connections.web.roots: not set -> r"],
        ),
        ({"plugins": ["house"]}, ["setting plugins: added house"]),
        ({"anchors.copies": ["/mnt"], "anchors.copies./mnt.branch": "main"}, ["setting anchors.copies: added /mnt"]),
        (
            {"connections": ["new", "prod", "web"], "connections.new.kind": "host", "connections.new.timeout_s": 5.0},
            ["connection added: new"],
        ),
    ],
)
def test_every_setting_that_differs_is_told(setting: dict[str, Any], told: list[str]) -> None:
    old, new = altered(settings=SETTINGS), altered(settings=SETTINGS | setting, config={"sha256": "c2"})
    assert list(changes(old, new)) == told
    assert change_leaf(old, "r0", new, "me", "")["changes"] == told
    assert ruler(old) != ruler(altered(settings=SETTINGS | setting)), "a file it names may have changed alone"


def test_a_configuration_that_asks_the_same_in_other_words_is_the_only_one_that_is_said_to() -> None:
    other = altered(settings=SETTINGS, config={"sha256": "c2"})
    assert change_leaf(altered(settings=SETTINGS), "r0", other, "me", "")["changes"] == [WORDS_ONLY]
    assert change_leaf(PLAN, "r0", other, "me", "")["changes"] == [NOT_COMPARED]


def test_a_limit_is_told_once() -> None:
    name = "checks.parameters.aws.iam.x.max_age_days"
    new = altered(checks=[{**PLAN["checks"][0], "params": {"max_age_days": 365}}], settings=SETTINGS | {name: 365})
    assert list(changes(altered(settings=SETTINGS), new)) == ["limit max_age_days of aws.iam.x: 90 -> 365"]
    off: dict[str, Any] = {"checks.disabled": ["aws.iam.y"]}
    off |= {"checks.disabled.aws.iam.y.reason": "noisy", "checks.disabled.aws.iam.y.by": "J. Doe"}
    disabled = [{"id": "aws.iam.y", "reason": "noisy", "by": "J. Doe"}]
    old, new = altered(settings=SETTINGS), altered(settings=SETTINGS | off, disabled=disabled)
    assert list(changes(old, new)) == ["check aws.iam.y disabled by J. Doe: noisy"]
    again = altered(settings=SETTINGS | off | {"checks.disabled.aws.iam.y.by": "R. Roe"}, disabled=disabled)
    assert list(changes(new, again)) == ["setting checks.disabled.aws.iam.y.by: J. Doe -> R. Roe"]


def whole(days: int, scopes: tuple[str, ...] = ("prod/eu", "prod/us")) -> dict[str, Any]:
    return {"checks": {"aws.iam.x": {"max_age_days": days}}, "scopes": [*scopes], "redactions": ["aws.iam.users a"]}


def test_a_run_over_a_part_launders_nothing_and_drops_nothing() -> None:
    nothing: dict[str, Any] = {"checks": [], "tasks": [], "sources": []}
    full = altered(whole=whole(90))
    part = altered(selection="checks x.*", whole=whole(365, ("prod/eu",)), **nothing)
    told = ["limit max_age_days of aws.iam.x: 90 -> 365", "scope dropped: prod/us"]
    assert list(changes(full, part)) == told
    after = altered(checks=[{**PLAN["checks"][0], "params": {"max_age_days": 365}}], tasks=PLAN["tasks"][:1],
                    whole=whole(365, ("prod/eu",)))  # fmt: skip
    assert list(changes(part, after)) == []
    assert list(changes(PLAN, part)) == told, "a plan of before, over everything, is its own whole"
    older = altered(selection="checks x.*", **nothing)
    assert list(changes(PLAN, older)) == list(changes(older, full)) == []


def test_what_a_leaf_has_no_room_for_is_told_from_the_plans() -> None:
    class Run:
        def __init__(self, index: int, plan: bytes, measured: str) -> None:
            self.opening = {"index": index, "ruler": measured}
            self._plan = plan

        def plan(self) -> bytes:
            return self._plan

    new = altered(code=[{"file": f"f{n:02}", "sha256": "x"} for n in range(40)])
    runs = [Run(1, b"not read", "q"), Run(3, json.dumps(PLAN).encode(), "r0"), Run(6, json.dumps(new).encode(), "r1")]
    leaf = {"kind": "config-change", "index": 5, "recordedOn": "t", **change_leaf(PLAN, "r0", new, "me", "upgrade")}
    leaf["to"] = "r1"
    spelt = in_full([leaf], runs)
    assert list(spelt) == [5]
    assert len(spelt[5]) == 41
    (row,) = [row for row in suppressed(PLAN, [leaf], spelt) if row["what"] == "measurement changed"]
    assert row["changes"][:IN_A_LEAF] == leaf["changes"]
    assert "f39 added" in row["changes"]
    assert "and 29 more (why: upgrade)" in row["reason"]
    assert in_full([leaf | {"from": "another"}], runs) == in_full([leaf], runs[2:]) == {}
    assert in_full([leaf], [Run(3, b"{}", "r0"), runs[2]]) == {}, "a plan that is no plan of ours"


def test_a_limit_names_who_set_it_and_when_as_far_as_a_leaf_does() -> None:
    plan = altered(checks=[{**PLAN["checks"][0], "params": {"max_age_days": 365}}])
    leaf = {"kind": "config-change", "index": 4, "recordedOn": "t4", **change_leaf(PLAN, "r0", plan, "me@here", "")}
    (row,) = [row for row in suppressed(plan, [leaf]) if row["what"] == "limit changed"]
    assert (row["by"], row["when"], row["leaf"]) == ("me@here", "t4", 4)
    assert row["reason"] == "90 by default, 365 here (nobody said why)"
    hidden = leaf | {"changes": ["x"], "more": 30, "reason": "agreed"}
    (row,) = [row for row in suppressed(plan, [hidden], {4: leaf["changes"]}) if row["what"] == "limit changed"]
    assert (row["by"], row["reason"]) == ("me@here", "90 by default, 365 here (why: agreed)")
    other = leaf | {"index": 6, "changes": ["limit max_age_days of aws.iam.x: 365 -> 400"]}
    (row,) = [row for row in suppressed(plan, [leaf, other]) if row["what"] == "limit changed"]
    assert (row["by"], "leaf" in row) == ("", False)


def test_pauses_and_other_timetables_stand_on_the_page() -> None:
    rule = {"name": "nightly", "cron": "15 2 * * *", "jitterS": 0, "connections": []}
    monthly = [rule | {"cron": "15 2 1 * *", "connections": ["web"]}]
    pause = {"kind": "pause", "from": "2026-06-02T00:00:00.000Z", "to": "2026-06-03T00:00:00.000Z", "by": "J. Doe"}
    leaves: list[dict[str, Any]] = [
        {"kind": "schedule", "index": 1, "recordedOn": "t1", "zone": "UTC", "schedules": [rule]},
        pause | {"index": 2, "recordedOn": "2026-06-01T00:00:00.000Z", "reason": "move"},
        pause | {"index": 3, "recordedOn": "2026-06-05T00:00:00.000Z", "reason": "forgotten"},
        {"kind": "schedule", "index": 4, "recordedOn": "t4", "zone": "UTC", "schedules": monthly, "by": "me@here"},
        {"kind": "schedule", "index": 5, "recordedOn": "t5", "zone": "Europe/Berlin", "schedules": []},
    ]
    rows = [row for row in suppressed(PLAN, leaves) if "leaf" in row]
    between = "from 2026-06-02T00:00:00.000Z to 2026-06-03T00:00:00.000Z"
    assert [(row["leaf"], row["side"], row["what"], row["reason"], row["by"]) for row in rows] == [
        (2, "measurement", "paused", f"{between}: move", "J. Doe"),
        (3, "measurement", "paused", f"{between}, recorded after it began: forgotten", "J. Doe"),
        (
            4, "measurement", "timetable changed", "schedule nightly, when: 15 2 * * * -> 15 2 1 * *; "
            "schedule nightly, connections: none -> web (nobody said why)", "me@here",
        ),
        (
            5, "measurement", "timetable changed",
            "time zone: UTC -> Europe/Berlin; schedule dropped: nightly (nobody said why)", "",
        ),
    ]  # fmt: skip
    assert [row["when"] for row in rows] == [leaf["recordedOn"] for leaf in leaves[1:]]


def test_what_changed_where_we_looked_elsewhere_is_no_change_of_the_estate() -> None:
    def lists(rows: int) -> list[dict[str, Any]]:
        facts = {"rows": rows, "root": str(rows), "basis": "terminal-page"}
        return [{"task": f"tls.endpoints@{name}", **facts} for name in ("web", "shop")]

    narrowed = SETTINGS | {"connections.web.endpoints": ["a:443"]}
    ours = moved(altered(settings=SETTINGS), altered(settings=narrowed))
    assert ours == {"web"}
    assert [(row["side"], row["what"], row["name"]) for row in estate_changes(lists(2), lists(1), ours)] == [
        ("measurement", "list changed", "tls.endpoints@web"),
        ("environment", "estate changed", "tls.endpoints@shop"),
    ]
    places = [{"name": "web", "endpoints": ["a:443"]}, {"name": "shop", "endpoints": []}]
    assert moved(altered(places=places), altered(places=[{"name": "web", "endpoints": []}, places[1]])) == {"web"}


def test_a_changed_estate_is_the_environment() -> None:
    def population(rows: int, root: str, basis: str = "terminal-page") -> dict[str, Any]:
        return {"task": "t", "rows": rows, "root": root, "basis": basis}

    assert [row["reason"] for row in estate_changes([population(3, "a")], [population(4, "b")])] == ["3 -> 4 records"]
    assert [row["side"] for row in estate_changes([population(3, "a")], [population(3, "b")])] == ["environment"]
    assert estate_changes([population(3, "a")], [population(3, "a")]) == []
    assert estate_changes([population(3, "a")], [population(0, "b", "unproven")]) == []


def test_a_ruler_that_changes_without_a_leaf_does_not_verify(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = FileSigner(Ed25519PrivateKey.generate())
    with Store.create(tmp_path / "store", origin="test.example.org/ruler", signer=signer) as store:
        store.begin({"ruler": "a"}, b"{}").close([], {})
        store.begin({"ruler": "a"}, b"{}").close([], {})
        store.append("config-change", {"from": "a", "to": "b", "by": "me", "reason": "", "changes": ["x"], "more": 0})
        store.begin({"ruler": "b"}, b"{}").close([], {})
        assert verify_store(tmp_path / "store", key=signer.keyid).ok
        store.begin({"ruler": "c"}, b"{}").close([], {})
        found = verify_store(tmp_path / "store", key=signer.keyid)
    assert not found.ok
    assert any("measures otherwise" in problem.what for problem in found.problems)
