"""What was switched off is on record, and a history that hides it does not verify."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from collector.suppressions import IN_A_LEAF, change_leaf, changes, estate_changes, ruler, suppressed
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
        ("measurement", "limit changed", "90 by default, 365 here"),
        ("measurement", "redacted", "personal"),
        ("measurement", "measurement changed", "limit; and 2 more (why: not stated)"),
        ("environment", "not collected", "the daemon was not running"),
    ]


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
