"""The rights a plan prints are those its sources declare, read only, and enough; a run tells which of them it used."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector import plan as planning
from collector import plugins
from collector.config import load as load_config
from collector.permissions import policy
from collector.report.permissions import permissions
from tests.small_cloud import Office, affidavit

READ_ONLY = re.compile(
    r"[a-z0-9-]+:(Get|List|Describe|BatchGet|GenerateCredentialReport|Head|SelectResourceConfig)[A-Za-z]*"
)
EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"


def _policy(prefix: str = "") -> dict:  # type: ignore[type-arg]
    config = load_config(EXAMPLE)
    plan = planning.make(
        config, plugins.load(), datetime(2026, 6, 1, tzinfo=UTC), wanted=lambda check: check.id.startswith(prefix)
    )
    return policy(plan, plugins.load())


def test_the_policy_is_what_the_planned_sources_declare_and_nothing_more() -> None:
    library = plugins.load()
    document = _policy()
    declared = {
        permission
        for source in library.sources.values()
        if source.connection == "aws"
        for permission in source.permissions
    }
    (statement,) = document["aws"]["Statement"]
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) <= declared
    assert statement["Action"] == sorted(set(statement["Action"]))
    assert document["schema"] == "affidavit.permissions/1"


def test_a_smaller_plan_needs_fewer_rights() -> None:
    assert _policy("aws.logs.retention")["aws"]["Statement"][0]["Action"] == [
        "logs:DescribeLogGroups", "sts:GetCallerIdentity",
    ]  # fmt: skip
    assert "aws" not in _policy("host.")
    assert _policy("host.")["host"]


@pytest.mark.parametrize("dataset", sorted(name for name in plugins.load().sources if name.startswith("aws.")))
def test_every_permission_only_reads(dataset: str) -> None:
    source = plugins.load().sources[dataset]
    assert source.permissions
    for permission in source.permissions:
        assert READ_ONLY.fullmatch(permission), permission
        assert "*" not in permission


# ---------------------------------------------------------------------------------------------- what a run used of them

HOUSE = """
from collector.api import Host, Record, Unavailable, check, ok, source

@source("host.house-names", key="Id", per="connection", permissions=("host:read /etc/passwd", "host:read /nowhere/*"))
def names(host: Host):
    \"\"\"One record, whatever else can be read.\"\"\"
    first = host.read("/etc/passwd").partition(":")[0]
    try:
        first += host.read("/etc/hosts")
    except Unavailable:
        pass
    yield {"Id": first}

@check("host.house-names.told", title="The machine has names", severity="low", each="host.house-names")
def told(row: Record):
    \"\"\"It has one.\"\"\"
    return ok(row["Id"])
"""


def test_a_run_that_asks_what_no_source_declares_is_incomplete_even_where_the_source_hides_it(tmp_path: Path) -> None:
    machine, more = "  - {name: here, kind: host}", "plugins: {folders: [house]}"
    office = Office(tmp_path / "office", "http://127.0.0.1:9", connection=machine, more=more)
    (office.folder / "house").mkdir()
    (office.folder / "house" / "names.py").write_text(HOUSE)
    said = office.run("--connection", "here", "--check", "host.house-names.*")
    assert said.code == 3
    (gap,) = office.lines("gap")
    reason = "host:read was not asked: the source does not declare host:read /etc/hosts"
    assert (gap["gap"], gap["operation"], gap["reason"]) == ("undeclared", "host:read", reason)
    assert office.rerun("--sealed-code").code == 0, "it comes to the same from the record"
    report = ("report", "--store", str(office.store))
    assert affidavit(*report, "--format", "json").json["permissions"] == [
        {
            "dataset": "host.house-names", "used": ["host:read /etc/passwd"], "unused": ["host:read /nowhere/*"],
            "not_derivable": [], "undeclared": [{"operation": "host:read", "reason": reason}],
        }
    ]  # fmt: skip
    text = affidavit(*report).out
    assert f"Not declared by host.house-names: {reason}" in text
    assert "no request of this run needed: 1: host:read /nowhere/* (host.house-names)" in text


def rows(kind: str, declared: list[str], *lines: dict[str, Any], whole: bool = True) -> dict[str, Any]:
    """What is told of one dataset in two scopes."""
    tasks = [{"id": f"{kind}.x@{scope}", "dataset": f"{kind}.x", "connection": "c"} for scope in "ab"]
    plan = {
        "places": [{"name": "c", "kind": kind}], "tasks": tasks,
        "sources": [{"id": f"{kind}.x", "permissions": declared}],
    }  # fmt: skip
    asked = [{"task": tasks[number % 2]["id"], **line} for number, line in enumerate(lines)]
    (row,) = permissions(plan, asked, [], [{"task": task["id"]} for task in tasks[: 2 if whole else 1]])
    return row


def test_what_is_used_is_told_over_all_scopes() -> None:
    listed, clock = {"op": "s3:ListBuckets", "params": {}}, {"op": "collector:clock", "params": {}}
    row = rows("aws", ["s3:ListAllMyBuckets", "s3:GetBucketAcl"], listed, clock)
    assert (row["used"], row["unused"], row["undeclared"]) == (["s3:ListAllMyBuckets"], ["s3:GetBucketAcl"], [])
    users = {"op": "okta:GET /api/v1/users", "params": {}}
    roles = {"op": "okta:GET /api/v1/users/{userId}/roles", "params": {"userId": "u1"}}
    row = rows("okta", ["okta.users.read", "okta.roles.read", "okta.logs.read"], users, roles)
    assert (row["used"], row["unused"]) == (["okta.users.read", "okta.roles.read"], ["okta.logs.read"])
    assert rows("acme", ["GET /v2/*"], {"op": "acme:GET /v2/members", "params": {}})["used"] == ["GET /v2/*"]


def test_what_no_request_can_show_is_not_said_to_be_unused() -> None:
    asked = {"op": "postgresql:SELECT pg_authid", "params": {"sql": "SELECT rolname FROM pg_authid"}}
    row = rows("postgresql", ["SELECT ON pg_authid", "SELECT ON pg_roles", "pg_read_all_stats"], asked)
    assert (row["used"], row["unused"]) == (["SELECT ON pg_authid"], ["SELECT ON pg_roles"])
    assert row["not_derivable"] == ["pg_read_all_stats"]
    half = rows("host", ["host:read /a", "host:read /b"], {"op": "host:read", "params": {"path": "/a"}}, whole=False)
    assert (half["used"], half["unused"], half["not_derivable"]) == (["host:read /a"], [], ["host:read /b"])


def test_a_request_that_was_made_without_a_declaration_is_told() -> None:
    row = rows("github", ["metadata:read"], {"op": "github:GET /repos/{owner}/{repo}/keys", "params": {}})
    operation = "github:GET /repos/{owner}/{repo}/keys"
    reason = f"{operation} was asked: the source does not declare administration:read"
    assert row["undeclared"] == [{"operation": operation, "reason": reason}]
    assert row["unused"] == ["metadata:read"]
