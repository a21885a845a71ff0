"""How MFA devices and regions are read, and what agreement and dispute do to what may be concluded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector import plan as planning
from collector import plugins
from collector.api import check, fail, ok, skip
from collector.config import load as load_config
from collector.judge import Bench
from collector.model import Outcome, Population, Shard, Task, instant
from collector.reconcile import reconcile
from collector.suppressions import suppressed
from tests.checks.aws.asking import read_whole
from tests.worlds import AwsWorld

LIBRARY = plugins.load()


def test_devices_are_those_that_are_assigned(aws_world: AwsWorld) -> None:
    iam = aws_world.client("iam")
    for name in ("anna", "bert"):
        iam.create_user(UserName=name)
    serial = iam.create_virtual_mfa_device(VirtualMFADeviceName="anna")["VirtualMFADevice"]["SerialNumber"]
    iam.enable_mfa_device(
        UserName="anna", SerialNumber=serial, AuthenticationCode1="234567", AuthenticationCode2="987654"
    )
    iam.create_virtual_mfa_device(VirtualMFADeviceName="spare")
    reading = read_whole(aws_world, "aws.iam.virtual-mfa-devices")
    assert [(row["User"]["UserName"], row["SerialNumber"]) for row in reading.rows] == [("anna", serial)]
    assert reading.rows[0]["EnableDate"]


def test_regions_are_asked_for_whether_enabled_or_not(aws_world: AwsWorld) -> None:
    reading = read_whole(aws_world, "aws.ec2.regions")
    assert {"eu-central-1", "us-east-1"} <= {row["RegionName"] for row in reading.rows}
    assert [line["params"] for line in reading.ledger.lines] == [{"AllRegions": True}]


@pytest.mark.parametrize(
    ("dataset", "operation"),
    [
        ("aws.iam.virtual-mfa-devices", "iam:ListVirtualMFADevices"),
        ("aws.ec2.regions", "ec2:DescribeRegions"),
    ],
)
def test_a_refusal_leaves_the_list_unproven(aws_world: AwsWorld, dataset: str, operation: str) -> None:
    aws_world.client("iam").create_user(UserName="anna")
    aws_world.deny(operation)
    population = aws_world.read(dataset).shard.population
    assert not population.proven
    assert population.gap
    assert population.gap.operation == operation


def _shard(tmp: Path, dataset: str, keys: list[str], scope: str = "c") -> Shard:
    path = tmp / f"{dataset}-{scope}"
    lines = [orjson.dumps({"key": key, "refs": [1], "parts": {}, "row": {"Id": key}}) for key in keys]
    path.write_bytes(b"\n".join(lines))
    return Shard(Population(Task(dataset, scope), len(keys), "terminal-page", replies=(1,)), path)


@check("t.a.agree", title="They agree", severity="high", over=("t.a.things", "t.a.count"), reconciles=("t.a.things",))
def agree(things: Any, count: Any) -> Any:
    """As many of one as of the other."""
    few, many = len(list(things)), len(list(count))
    return ok("as many") if few == many else fail(f"{few} things, counted {many}")


def test_agreement_is_a_better_basis_and_a_dispute_is_none(tmp_path: Path) -> None:
    shards = [
        _shard(tmp_path, "t.a.things", ["1", "2"]), _shard(tmp_path, "t.a.count", ["1", "2"]),
        _shard(tmp_path, "t.a.things", ["1"], "d"), _shard(tmp_path, "t.a.count", ["1", "2"], "d"),
    ]  # fmt: skip
    marked, findings = reconcile([agree], shards, Bench(instant("2026-06-01T00:00:00Z"), {}))
    assert [str(one.outcome) for one in findings] == ["PASS", "FAIL"]
    assert [shard.population.basis for shard in marked] == [
        "count-reconciled", "terminal-page", "unproven", "terminal-page",
    ]  # fmt: skip
    gap = marked[2].population.gap
    assert gap
    assert (gap.reason, gap.scope) == ("its records are in dispute (t.a.agree): 1 things, counted 2", "d")


def test_what_is_not_known_to_agree_stays_as_it_is(tmp_path: Path) -> None:
    things, count = _shard(tmp_path, "t.a.things", ["1"]), _shard(tmp_path, "t.a.count", ["1"])
    unread = replace(count, population=replace(count.population, basis="unproven"))
    bench = Bench(instant("2026-06-01T00:00:00Z"), {})
    marked, (finding,) = reconcile([agree], [things, unread], bench)
    assert (finding.outcome, marked[0].population.basis) == (Outcome.UNKNOWN, "terminal-page")
    marked, (finding,) = reconcile(
        [agree], [things, count], replace(bench, uncertified={"t.a.agree": "it cannot fail"})
    )
    assert (finding.outcome, marked[0].population.basis) == (Outcome.UNKNOWN, "terminal-page")


def test_a_flawed_check_agrees_to_nothing_and_its_skip_is_not_silent(tmp_path: Path) -> None:
    shards = [_shard(tmp_path, "t.a.things", ["1"]), _shard(tmp_path, "t.a.count", ["1"])]
    neutered = replace(agree, function=lambda *_, **__: skip("does not apply"))
    bench = Bench(instant("2026-06-01T00:00:00Z"), {}, {"t.a.agree": "the check does not do what its examples say"})
    marked, (finding,) = reconcile([neutered], shards, bench)
    assert (finding.outcome, marked[0].population.basis) == (Outcome.UNKNOWN, "terminal-page")
    assert finding.reason.startswith("the check does not do what its examples say; seen here: SKIP")


@check(
    "t.a.others", title="They agree", severity="high", over=("t.a.count", "t.a.others"),
    reconciles=("t.a.count", "t.a.others"),
)  # fmt: skip
def others(count: Any, other: Any) -> Any:
    """As many of one as of another."""
    return agree.function(count, other)


@pytest.mark.parametrize("checks", [(agree, others), (others, agree)])
def test_a_list_in_dispute_carries_no_agreement_of_another_check(tmp_path: Path, checks: tuple[Any, ...]) -> None:
    """Two of three lists agree, and the third disputes one of them: nobody knows which are right."""
    shards = [
        _shard(tmp_path, "t.a.things", ["1"]), _shard(tmp_path, "t.a.count", ["1"]),
        _shard(tmp_path, "t.a.others", ["1", "2"]),
    ]  # fmt: skip
    marked, findings = reconcile(checks, shards, Bench(instant("2026-06-01T00:00:00Z"), {}))
    said = {one.check: (str(one.outcome), one.reason) for one in findings}
    dispute = "its records are in dispute (t.a.others): 1 things, counted 2"
    assert said == {
        "t.a.others": ("FAIL", "1 things, counted 2"),
        "t.a.agree": ("UNKNOWN", f"the list is incomplete: {dispute}; seen here: PASS (as many)"),
    }
    assert [shard.population.basis for shard in marked] == ["terminal-page", "unproven", "unproven"]


def test_a_check_reconciles_only_what_it_asks_for() -> None:
    with pytest.raises(TypeError, match="reconciles a dataset it does not ask for"):
        check("t.a.b", title="T", severity="low", over=("t.a.things",), reconciles=("t.a.other",))(agree.function)


CONFIG = """\
version: 1
organisation: Example Ltd
store: {path: store, origin: example.org/affidavit}
key: {file: affidavit.key, passphrase: env:PASSPHRASE}
connections:
  - name: one
    kind: aws
    regions: [eu-central-1, eu-west-1]
    accounts: [{id: "111122223333", role: "arn:aws:iam::111122223333:role/audit"}]
  - name: two
    kind: aws
    regions: [eu-west-1, us-east-1]
    accounts: [{id: "444455556666", role: "arn:aws:iam::444455556666:role/audit"}]
"""
REGIONS, ACCOUNTS = "aws.ec2.regions-collected", "aws.organizations.accounts-collected"


def _plan(tmp_path: Path, more: str = "") -> planning.Plan:
    (tmp_path / "config.yaml").write_text(CONFIG + more)
    return planning.make(load_config(tmp_path / "config.yaml"), LIBRARY, datetime(2026, 6, 1, tzinfo=UTC))


def test_a_plan_tells_the_checks_what_it_reads(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    assert plan.parameters[REGIONS] == {"collected_regions": ("eu-west-1",)}  # read in every account
    assert plan.parameters[ACCOUNTS] == {"collected_accounts": ("111122223333", "444455556666")}
    document = orjson.loads(plan.raw)
    again = planning.read(document, LIBRARY)
    assert again.parameters[REGIONS] == plan.parameters[REGIONS]
    assert again.parameters[ACCOUNTS] == plan.parameters[ACCOUNTS]
    assert not [row for row in suppressed(document, ()) if row["what"] == "limit changed"]


def test_what_the_configuration_sets_is_kept_and_told(tmp_path: Path) -> None:
    plan = _plan(tmp_path, f"checks: {{parameters: {{{REGIONS}: {{collected_regions: [us-east-1]}}}}}}\n")
    assert list(plan.parameters[REGIONS]["collected_regions"]) == ["us-east-1"]
    told = [row["name"] for row in suppressed(orjson.loads(plan.raw), ()) if row["what"] == "limit changed"]
    assert told == [f"{REGIONS} collected_regions"]
