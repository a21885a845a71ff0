"""Facts told by two replies, from replies as they come, and with one of the two made to say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector import plugins
from collector.judge import Bench
from collector.model import Outcome, Shard
from collector.reconcile import reconcile
from tests.worlds import AwsWorld

CHECKS = plugins.load().checks
REGIONS = ("eu-central-1", "eu-west-1")


def concluded(name: str, shards: list[Shard], **limits: Any) -> tuple[Outcome, str, list[str]]:
    """Outcome, reason, and what each list rests on after it."""
    bench = Bench(datetime.now(UTC) + timedelta(minutes=1), {name: limits})
    marked, [finding] = reconcile([CHECKS[name]], shards, bench)
    return finding.outcome, finding.reason, [one.population.basis for one in marked]


def altered(shard: Shard, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], tmp: Path) -> Shard:
    """The shard with other rows."""
    assert shard.path
    path = tmp / f"altered-{len(list(tmp.iterdir()))}"
    lines = change([orjson.loads(line) for line in shard.path.read_bytes().splitlines()])
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return replace(shard, path=path)


def test_trails_are_told_of_by_every_region(aws_world: AwsWorld, tmp_path: Path) -> None:
    name = "aws.cloudtrail.trails-reconciled"
    aws_world.client("s3").create_bucket(
        Bucket="trail", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    aws_world.client("cloudtrail").create_trail(Name="everywhere", S3BucketName="trail", IsMultiRegionTrail=True)
    home, away = (aws_world.read("aws.cloudtrail.trails", region).shard for region in REGIONS)
    outcome, reason, bases = concluded(name, [home, away], collected_regions=REGIONS)
    assert (outcome, bases) == (Outcome.PASS, ["independent-source", "independent-source"]), reason

    short = altered(away, lambda lines: [], tmp_path)
    outcome, reason, bases = concluded(name, [home, short], collected_regions=REGIONS)
    assert (outcome, bases, "in eu-west-1" in reason) == (Outcome.FAIL, ["unproven", "unproven"], True)

    def without_bucket(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**line, "row": {**line["row"], "S3BucketName": "elsewhere"}} for line in lines]

    outcome, reason, _ = concluded(name, [home, altered(away, without_bucket, tmp_path)])
    assert (outcome, reason.startswith("S3BucketName of ")) == (Outcome.FAIL, True)


def test_instances_volumes_groups_and_vpcs_point_at_each_other(aws_world: AwsWorld, tmp_path: Path) -> None:
    ec2 = aws_world.client("ec2")
    image = ec2.register_image(
        Name="base", RootDeviceName="/dev/sda1", Architecture="x86_64", VirtualizationType="hvm"
    )["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, InstanceType="t3.micro")
    for name, datasets in (
        ("aws.ec2.attachments-reconciled", ("aws.ec2.instances", "aws.ec2.volumes")),
        ("aws.ec2.default-groups-reconciled", ("aws.ec2.vpcs", "aws.ec2.security-groups")),
    ):
        shards = [aws_world.read(dataset).shard for dataset in datasets]
        outcome, reason, bases = concluded(name, shards)
        assert (outcome, bases) == (Outcome.PASS, ["terminal-page", "terminal-page"]), reason
        for place in (0, 1):  # one record of either list is kept back
            told = list(shards)
            told[place] = altered(shards[place], lambda lines: lines[1:], tmp_path)
            outcome, reason, bases = concluded(name, told)
            assert (outcome, bases) == (Outcome.FAIL, ["unproven", "unproven"]), (name, place, reason)


def test_a_certificate_in_use_is_listed_as_in_use(aws_world: AwsWorld, tmp_path: Path) -> None:
    name, ec2, elb = "aws.acm.certificates-reconciled", aws_world.client("ec2"), aws_world.client("elbv2")
    arn = aws_world.client("acm").request_certificate(DomainName="www.example.org")["CertificateArn"]
    subnets = ec2.describe_subnets()["Subnets"][:2]
    balancer = elb.create_load_balancer(
        Name="shop", Subnets=[subnet["SubnetId"] for subnet in subnets], Type="application"
    )["LoadBalancers"][0]["LoadBalancerArn"]
    target = elb.create_target_group(Name="shop", Protocol="HTTP", Port=80, VpcId=subnets[0]["VpcId"])
    action = {"Type": "forward", "TargetGroupArn": target["TargetGroups"][0]["TargetGroupArn"]}
    elb.create_listener(
        LoadBalancerArn=balancer, Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": arn}],
        DefaultActions=[action],
    )  # fmt: skip
    listed, balancers = (aws_world.read(one).shard for one in ("aws.acm.certificates", "aws.elbv2.load-balancers"))
    assert concluded(name, [listed, balancers])[0] is Outcome.PASS

    def unused(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**line, "row": {**line["row"], "InUse": False}} for line in lines]

    def nothing(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return []

    for change in (unused, nothing):
        outcome, reason, bases = concluded(name, [altered(listed, change, tmp_path), balancers])
        assert (outcome, bases, arn in reason) == (Outcome.FAIL, ["unproven", "terminal-page"], True)


@pytest.mark.parametrize(("line", "outcome"), [("false", Outcome.PASS), ("true", Outcome.FAIL)])
def test_summary_and_report_agree_on_root(aws_world: AwsWorld, tmp_path: Path, line: str, outcome: Outcome) -> None:
    aws_world.client("iam").create_user(UserName="anna")
    summary, report = (aws_world.read(one).shard for one in ("aws.iam.account-summary", "aws.iam.credential-report"))
    row = {"user": "<root_account>", "mfa_active": "false", "access_key_1_active": line, "access_key_2_active": "false",
           "cert_1_active": "false", "cert_2_active": "false", "GeneratedTime": "2026-06-01T00:00:00Z"}  # fmt: skip

    def with_root(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*lines, {**lines[0], "key": row["user"], "row": {**lines[0]["row"], **row}}]

    shards = [summary, altered(report, with_root, tmp_path)]
    found, reason, bases = concluded("aws.iam.root-reconciled", shards)
    expected = "independent-source" if outcome is Outcome.PASS else "unproven"
    assert (found, bases) == (outcome, [expected, "terminal-page"]), reason
