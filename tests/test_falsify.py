"""A check that cannot fail cannot pass anybody either."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from collector import examples, plugins
from collector.api import Verdict, fail, ok, skip
from collector.errors import ConfigError
from collector.falsify import certify
from collector.judge import Bench, judge
from collector.model import Population, Shard, Task

LIBRARY = plugins.load()
EXAMPLES = list(examples.parse(LIBRARY.examples, LIBRARY.checks))


def test_every_check_as_shipped_is_certified() -> None:
    flawed = {
        certificate.check: certificate.flaw
        for certificate in certify(LIBRARY.checks.values(), EXAMPLES)
        if certificate.flaw
    }
    assert flawed == {}


@pytest.mark.parametrize("name", LIBRARY.checks)
def test_a_neutered_check_is_caught(name: str) -> None:
    """Whatever one check is made to pass always, its certificate says so."""
    neutered = replace(LIBRARY.checks[name], function=lambda *_, **__: ok("fine"))
    [certificate] = certify([neutered], [example for example in EXAMPLES if example.check == name])
    assert "does not do what its examples say" in certificate.flaw


@pytest.mark.parametrize(
    ("says", "stands"), [(ok("it is"), "UNKNOWN"), (skip("does not apply"), "UNKNOWN"), (fail("it is not"), "FAIL")]
)
def test_of_an_uncertified_check_only_a_fail_stands(tmp_path: Path, says: Verdict, stands: str) -> None:
    check = replace(LIBRARY.checks["aws.s3.versioning"], function=lambda *_, **__: says)
    (tmp_path / "rows").write_bytes(orjson.dumps({"key": "b", "refs": [0], "parts": {}, "row": {"Name": "b"}}) + b"\n")
    shard = Shard(Population(Task("aws.s3.buckets", "c"), 1, "terminal-page"), tmp_path / "rows")
    [certificate] = certify([check], [example for example in EXAMPLES if example.check == check.id])
    bench = Bench(datetime(2026, 6, 1, tzinfo=UTC), {}, {check.id: certificate.flaw})
    [finding] = judge([check], [shard], bench)
    assert (str(finding.outcome), certificate.flaw in finding.reason) == (stands, stands == "UNKNOWN")


def test_the_pass_of_an_uncertified_check_counts_for_nothing(tmp_path: Path) -> None:
    check = LIBRARY.checks["aws.s3.versioning"]
    row = {"Name": "b", "GetBucketVersioning": {"Status": "Enabled"}}
    (tmp_path / "rows").write_bytes(orjson.dumps({"key": "b", "refs": [0], "parts": {}, "row": row}) + b"\n")
    shard = Shard(Population(Task("aws.s3.buckets", "c"), 1, "terminal-page"), tmp_path / "rows")
    now = datetime(2026, 6, 1, tzinfo=UTC)
    [honest] = judge([check], [shard], Bench(now, {}))
    [stopped] = judge([check], [shard], Bench(now, {}, {check.id: "the check does not do what its examples say"}))
    assert (honest.outcome, stopped.outcome, stopped.seen) == ("PASS", "UNKNOWN", "PASS")


def test_a_check_without_a_failing_example_is_flawed() -> None:
    check = LIBRARY.checks["aws.s3.versioning"]
    [certificate] = certify([check], [e for e in EXAMPLES if e.check == check.id and e.outcome != "FAIL"])
    assert "it has no example of FAIL" in certificate.flaw


@pytest.mark.parametrize(
    "text",
    [
        "- a",
        "aws.s3.versioning: [{outcome: pass}]",
        "no.such.check: [{outcome: pass, row: {}}]",
        "a: [",
        "aws.s3.versioning: [{outcome: sometimes, row: {}}]",
    ],
)
def test_a_broken_example_is_named_with_its_file(text: str) -> None:
    with pytest.raises(ConfigError, match=r"examples/x\.yaml holds an example that cannot be read"):
        list(examples.parse({"examples/x.yaml": text.encode()}, LIBRARY.checks))
