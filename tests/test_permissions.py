"""The rights a plan prints are those its sources declare, read only, and enough."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector import plan as planning
from collector import plugins
from collector.config import load as load_config
from collector.permissions import policy

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
