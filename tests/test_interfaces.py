"""The JSON others script against: fields may be added, never changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.small_cloud import ALL, LOGS, Cloud, Office, affidavit, cloud

OUTCOMES = {"PASS", "FAIL", "SKIP", "UNKNOWN", "ERROR"}
RESULTS = {"met", "exceptions", "no_occurrence", "not_collected", "inherited", "not_applicable"}
STRENGTHS = {"context", "supports", "demonstrates_design", "demonstrates_implementation", "demonstrates_operation"}


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture(scope="module")
def office(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """One complete run and one with a gap."""
    office = Office(tmp_path_factory.mktemp("interfaces") / "office", aws.endpoint)
    assert office.run(*ALL).code == 1
    aws.refuse("DescribeLogGroups", "AccessDeniedException", 400)
    assert office.run(*ALL).code == 3
    aws.faults.clear()
    return office


def _listed(what: str) -> list[dict[str, Any]]:
    told = affidavit("list", what, "--json")
    assert told.code == 0
    assert told.err == ""
    assert re.fullmatch(r"affidavit\.list\.\w+/1", told.json["schema"])
    assert isinstance(told.json[what], list)
    return list(told.json[what])


def test_list_checks() -> None:
    checks = _listed("checks")
    for check in checks:
        assert {"id", "title", "severity", "datasets", "module"} <= set(check)
        assert check["severity"] in {"low", "medium", "high", "critical"}
        assert isinstance(check["datasets"], list)
        assert check["datasets"]
    assert len({check["id"] for check in checks}) == len(checks)


def test_list_sources() -> None:
    sources = _listed("sources")
    for source in sources:
        assert {"id", "permissions", "key", "per"} <= set(source)
        assert source["per"] in {"connection", "account", "region"}
        assert all(isinstance(permission, str) for permission in source["permissions"])
    needed = {dataset for check in _listed("checks") for dataset in check["datasets"]}
    assert needed <= {source["id"] for source in sources}


def test_list_controls() -> None:
    controls = _listed("controls")
    checks = {check["id"] for check in _listed("checks")}
    for control in controls:
        assert {"framework", "edition", "id", "title", "checks", "method"} <= set(control)
        assert set(control["checks"]) <= checks
        assert set(control["method"]) <= {"examine", "interview", "observe", "test"}
        assert control["method"]
    annex = {c["id"] for c in controls if c["framework"] == "iso-27001" and re.fullmatch(r"A\.[5-8]\.\d+", c["id"])}
    assert len(annex) == 93


def test_list_mappings() -> None:
    mappings = _listed("mappings")
    fields = {"framework", "edition", "control", "check", "aspect", "strength", "coverage", "party", "does_not_show"}
    controls = {(c["framework"], c["edition"], c["id"]) for c in _listed("controls")}
    for row in mappings:
        assert fields <= set(row)
        assert row["strength"] in STRENGTHS
        assert (row["framework"], row["edition"], row["control"]) in controls
    assert {row["check"] for row in mappings} == {check["id"] for check in _listed("checks")}


def test_run_json(office: Office) -> None:
    said = office.run(*LOGS, "--json")
    told = said.json
    assert told["schema"] == "affidavit.run/1"
    assert told["run"] == len(office.states())
    assert told["outcome"] == "complete"
    assert set(told["counts"]) == OUTCOMES
    assert all(isinstance(count, int) for count in told["counts"].values())
    assert (told["gaps"], told["store"]) == (0, str(office.store))
    assert said.out.count("\n") == 1


def test_report_json_of_a_complete_run(office: Office) -> None:
    told = affidavit("report", "1", "--config", str(office.config), "--format", "json").json
    assert len(told["findings"]) == 19
    for finding in told["findings"]:
        assert {"check", "resource", "scope", "outcome", "reason", "evidence"} <= set(finding)
        assert finding["outcome"] in OUTCOMES
        assert all(isinstance(number, int) for number in finding["evidence"])
    assert told["gaps"] == []
    for control in told["controls"]:
        assert {"framework", "edition", "id", "result", "strength"} <= set(control)
        assert control["result"] in RESULTS
        assert control["strength"] is None or control["strength"] in STRENGTHS
    assert {control["result"] for control in told["controls"]} & {"met", "exceptions"}


def test_report_json_of_an_incomplete_run(office: Office) -> None:
    told = affidavit("report", "2", "--config", str(office.config), "--format", "json").json
    assert len(told["gaps"]) == 2
    for gap in told["gaps"]:
        assert {"dataset", "scope", "kind", "reason"} <= set(gap)
        assert (gap["dataset"], gap["kind"]) == ("aws.logs.groups", "denied")
    assert {gap["scope"] for gap in told["gaps"]} == {"cloud/eu-central-1", "cloud/eu-west-1"}


def test_the_endpoint_may_come_from_the_environment(
    aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path / "office", aws.endpoint)
    text = office.config.read_text()
    office.config.write_text(text.replace(f"    endpoint_url: {aws.endpoint}\n", ""))
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    seen = len(aws.requests)
    assert office.run("--check", "aws.iam.password-policy-*").code == 0
    assert len(aws.requests) == seen + 2


def test_the_endpoint_of_the_configuration_comes_first(
    aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    office = Office(tmp_path / "office", aws.endpoint)
    assert office.run("--check", "aws.iam.password-policy-*").code == 0
