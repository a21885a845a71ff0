"""How AWS Config is asked what it knows, and what that does to the lists it is held against."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector import plugins
from collector.api import check, fail, ok
from collector.judge import Bench
from collector.model import Outcome, Population, Shard, Task
from collector.reconcile import reconcile
from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, read_whole
from tests.worlds import AwsWorld

LIBRARY = plugins.load()
LISTED = {
    check.id: check.datasets[0] for check in LIBRARY.checks.values() if "aws.config.discovered" in check.datasets
}
ASKED = "config:SelectResourceConfig"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def known(kind: str, name: str, arn: str = "", **more: str) -> str:
    """A result as Config writes it: JSON in a string."""
    item = {"resourceType": kind, "resourceId": name, "resourceName": name, "arn": arn or f"arn:aws:x:::{name}"}
    when = {"configurationItemCaptureTime": "2026-03-01T08:00:00.000Z", "configurationItemStatus": "OK"}
    return json.dumps({**item, **when, **more})


def test_all_kinds_are_one_question_of_several_pages(aws_world: AwsWorld) -> None:
    first = {"Results": [known("AWS::EC2::Volume", "vol-1"), known("AWS::S3::Bucket", "vol-1")], "NextToken": "t1"}
    pages = Answers(first, {"Results": [known("AWS::KMS::Key", "k")], "QueryInfo": {"SelectFields": []}})
    aws_world.faults[ASKED] = pages
    reading = read_whole(aws_world, "aws.config.discovered")
    keys = [row["Key"] for row in reading.rows]
    assert keys == ["AWS::EC2::Volume/vol-1", "AWS::S3::Bucket/vol-1", "AWS::KMS::Key/k"]
    assert {row["Region"] for row in reading.rows} == {"eu-central-1"}
    assert len(reading.ledger.lines) == 2
    asked = reading.ledger.lines[0]["params"]
    assert (asked["Limit"], "t1" in pages.sent[1]) == (100, True)
    assert "'AWS::RDS::DBInstance'" in asked["Expression"]
    assert "configurationItemStatus IN ('OK', 'ResourceDiscovered')" in asked["Expression"]
    assert len(asked["Expression"]) <= 4096, "the most that the API takes"


def test_a_region_in_which_config_was_never_on_costs_one_request(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.config.discovered")
    assert aws_world.read("aws.config.discovered").operations == [ASKED]


def test_a_refused_query_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.config.discovered", ASKED)


@pytest.mark.parametrize("second", [{"Results": ["{"]}, {"Results": [known("AWS::EC2::Volume", "vol-1")]}, {}])
def test_a_page_that_is_cut_repeated_or_empty_proves_nothing(aws_world: AwsWorld, second: dict[str, Any]) -> None:
    aws_world.faults[ASKED] = Answers({"Results": [known("AWS::EC2::Volume", "vol-1")], "NextToken": "t1"}, second)
    population = aws_world.read("aws.config.discovered").shard.population
    assert not population.proven
    assert population.gap


# ------------------------------------------------------------------------- the lists of a small account, and Config


KEYS = {
    "aws.ec2.instances": ("AWS::EC2::Instance", "InstanceId"),
    "aws.ec2.volumes": ("AWS::EC2::Volume", "VolumeId"),
    "aws.ec2.security-groups": ("AWS::EC2::SecurityGroup", "GroupId"),
    "aws.ec2.vpcs": ("AWS::EC2::VPC", "VpcId"),
    "aws.s3.buckets": ("AWS::S3::Bucket", "Name"),
    "aws.rds.instances": ("AWS::RDS::DBInstance", "DBInstanceArn"),
    "aws.kms.keys": ("AWS::KMS::Key", "KeyArn"),
    "aws.lambda.functions": ("AWS::Lambda::Function", "FunctionArn"),
    "aws.elbv2.load-balancers": ("AWS::ElasticLoadBalancingV2::LoadBalancer", "LoadBalancerArn"),
}
"""What Config and the service call a resource of each list."""


def furnish(world: AwsWorld) -> None:
    """Resources of most kinds, and a recorder at work."""
    ec2, elb = world.client("ec2"), world.client("elbv2")
    image = ec2.register_image(
        Name="base", RootDeviceName="/dev/sda1", Architecture="x86_64", VirtualizationType="hvm"
    )["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
    elb.create_load_balancer(Name="shop", Subnets=subnets, Type="application")
    world.client("s3").create_bucket(
        Bucket="invoices", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    world.client("kms").create_key(Description="own")
    world.client("rds").create_db_instance(
        DBInstanceIdentifier="orders", DBInstanceClass="db.t3.micro", Engine="postgres", AllocatedStorage=20,
        MasterUsername="adm", MasterUserPassword="demo-password-1",
    )  # fmt: skip
    config = world.client("config")
    group = {"allSupported": True, "includeGlobalResourceTypes": True}
    role = "arn:aws:iam::123456789012:role/config"
    config.put_configuration_recorder(
        ConfigurationRecorder={"name": "default", "roleARN": role, "recordingGroup": group}
    )
    config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "invoices"})
    config.start_configuration_recorder(ConfigurationRecorderName="default")


def test_agreement_confirms_every_list_and_an_empty_one_is_in_dispute(
    aws_world: AwsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.config.models import ConfigRecorderStatus

    assert set(KEYS) == set(LISTED.values())
    monkeypatch.setattr(ConfigRecorderStatus, "start", started)
    furnish(aws_world)
    lists = {dataset: aws_world.read(dataset) for dataset in KEYS}
    results = [
        known(kind, row[key].rpartition(":")[2], row[key])
        for dataset, (kind, key) in KEYS.items()
        for row in lists[dataset].rows
    ]
    aws_world.faults[ASKED] = Answers({"Results": results})
    beside = [aws_world.read("aws.config.discovered").shard, aws_world.read("aws.config.recorders").shard]
    bench = Bench(datetime.now(UTC) + timedelta(minutes=1), {})
    checks = [LIBRARY.checks[name] for name in LISTED]

    marked, findings = reconcile(checks, [*(reading.shard for reading in lists.values()), *beside], bench)
    assert {(one.outcome, one.scope) for one in findings} == {(Outcome.PASS, "aws/eu-central-1"), (Outcome.PASS, "aws")}
    assert {one.population.basis for one in marked[:-2]} == {"independent-source"}

    for reading in lists.values():  # each comes back empty, whole and without a refusal
        assert reading.shard.path
        reading.shard.path.write_bytes(b"")
    marked, findings = reconcile(checks, [*(reading.shard for reading in lists.values()), *beside], bench)
    disputed = {LISTED[one.check] for one in findings if one.outcome is Outcome.FAIL}
    assert set(KEYS) - disputed == {"aws.lambda.functions"}, "Config knows no function either"
    assert {one.task.dataset for one in marked if one.population.gap} == disputed
    assert all("its records are in dispute" in one.population.gap.reason for one in marked if one.population.gap)
    assert [one.population.basis for one in marked[-2:]] == ["terminal-page", "terminal-page"]


def started(status: Any) -> None:
    """A recorder that has recorded something."""
    status.recording, status.last_status = True, "SUCCESS"


# ------------------------------------------------------------------------------------------- what a basis is worth


def _shard(tmp: Path, dataset: str, keys: list[str]) -> Shard:
    path = tmp / dataset
    path.write_bytes(b"\n".join(orjson.dumps({"key": k, "refs": [1], "parts": {}, "row": {"Id": k}}) for k in keys))
    return Shard(Population(Task(dataset, "c"), len(keys), "terminal-page", replies=(1,)), path)


def _check(name: str, basis: Any) -> Any:
    @check(
        f"t.a.{name}", title="They agree", severity="high", over=("t.a.things", "t.a.others"),
        reconciles=("t.a.things",), basis=basis,
    )  # fmt: skip
    def agree(things: Any, others: Any) -> Any:
        """As many of one as of the other."""
        few, many = len(list(things)), len(list(others))
        return ok("as many") if few == many else fail(f"{few} things, {many} others")

    return agree


@pytest.mark.parametrize(
    ("bases", "basis"),
    [
        (["count-reconciled"], "count-reconciled"),
        (["independent-source"], "independent-source"),
        (["count-reconciled", "independent-source", ""], "independent-source"),
        ([""], "terminal-page"),
    ],
)
def test_the_strongest_witness_makes_the_basis_and_one_that_only_disputes_makes_none(
    tmp_path: Path, bases: list[str], basis: str
) -> None:
    checks = [_check(f"agree-{number}", name) for number, name in enumerate(bases)]
    shards = [_shard(tmp_path, "t.a.things", ["1"]), _shard(tmp_path, "t.a.others", ["1"])]
    marked, _ = reconcile(checks, shards, Bench(NOW, {}))
    assert [one.population.basis for one in marked] == [basis, "terminal-page"]


def test_one_that_only_disputes_disputes(tmp_path: Path) -> None:
    shards = [_shard(tmp_path, "t.a.things", ["1"]), _shard(tmp_path, "t.a.others", [])]
    marked, [finding] = reconcile([_check("agree", "")], shards, Bench(NOW, {}))
    assert (finding.outcome, marked[0].population.basis) == (Outcome.FAIL, "unproven")
