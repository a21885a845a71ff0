"""How S3 buckets are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector import plugins
from collector.judge import Bench, judge
from collector.model import Outcome, Unavailable, instant
from tests.worlds import AwsWorld, FakeResponse, Reading

BENCH = Bench(instant("2026-06-01T00:00:00Z"), {})


def make(world: AwsWorld, *names: str) -> Any:
    s3 = world.client("s3")
    for name in names:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return s3


def outcomes(reading: Reading, resource: str) -> dict[str, Outcome]:
    checks = [check for check in plugins.load_checks().values() if check.datasets == (reading.shard.task.dataset,)]
    found = judge(checks, [reading.shard], BENCH)
    return {finding.check: finding.outcome for finding in found if finding.resource == resource}


def test_buckets_are_read_and_replay_to_the_same_rows(aws_world: AwsWorld) -> None:
    s3 = make(aws_world, "plain", "sealed")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket="sealed", ServerSideEncryptionConfiguration={"Rules": [rule]})
    reading = aws_world.read("aws.s3.buckets")
    assert reading.shard.population.proven
    assert reading.row("plain")["GetBucketEncryption"] is None
    assert reading.row("sealed")["GetBucketEncryption"]["ServerSideEncryptionConfiguration"]["Rules"][0][
        "ApplyServerSideEncryptionByDefault"
    ] == {"SSEAlgorithm": "aws:kms"}
    again = aws_world.replay(reading)
    assert again.rows == reading.rows
    assert again.shard.population == reading.shard.population
    assert again.unused == []


def test_a_bucket_with_every_virtue_and_one_with_none_are_told_apart(aws_world: AwsWorld) -> None:
    s3 = make(aws_world, "good", "bad", "logs")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket="good", ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_bucket_versioning(Bucket="good", VersioningConfiguration={"Status": "Enabled"})
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket="good", PublicAccessBlockConfiguration=block)
    s3.put_bucket_acl(Bucket="logs", ACL="log-delivery-write")
    s3.put_bucket_logging(
        Bucket="good", BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "good/"}}
    )
    tls = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::good", "arn:aws:s3:::good/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="good", Policy=json.dumps({"Version": "2012-10-17", "Statement": [tls]}))
    s3.put_bucket_acl(Bucket="bad", ACL="public-read")
    public = {
        "Sid": "pub",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bad/*",
    }
    s3.put_bucket_policy(Bucket="bad", Policy=json.dumps({"Version": "2012-10-17", "Statement": [public]}))
    reading = aws_world.read("aws.s3.buckets")
    assert len(outcomes(reading, "good")) == 7
    assert set(outcomes(reading, "good").values()) == {Outcome.PASS}
    assert set(outcomes(reading, "bad").values()) == {Outcome.FAIL}
    s3.put_bucket_ownership_controls(
        Bucket="bad", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    assert outcomes(aws_world.read("aws.s3.buckets"), "bad")["aws.s3.acl-not-public"] is Outcome.PASS


def test_a_bucket_is_asked_in_its_own_region(aws_world: AwsWorld) -> None:
    make(aws_world, "near")
    aws_world.client("s3", "us-east-1").create_bucket(Bucket="oldest")
    first = (
        b'<?xml version="1.0"?><ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets><Bucket><Name>near</Name>'
        b"<BucketRegion>eu-west-3</BucketRegion></Bucket></Buckets><ContinuationToken>t1</ContinuationToken></ListAllMyBucketsResult>"
    )
    second = (
        first.replace(b"near", b"oldest")
        .replace(b"<BucketRegion>eu-west-3</BucketRegion>", b"")
        .replace(b"<ContinuationToken>t1</ContinuationToken>", b"")
    )
    aws_world.faults["s3:ListBuckets"] = lambda request: FakeResponse(
        200, second if "continuation-token=t1" in request.url else first, {"content-type": "application/xml"}
    )
    reading = aws_world.read("aws.s3.buckets")
    assert reading.shard.population.proven
    regions = {
        (line["params"]["Bucket"], line["op"]): line["region"]
        for line in reading.ledger.lines
        if "Bucket" in line["params"]
    }
    assert regions["near", "s3:GetBucketPolicy"] == "eu-west-3"
    assert regions["oldest", "s3:GetBucketPolicy"] == "us-east-1"
    assert [op for _, op in regions].count("s3:GetBucketLocation") == 1, "asked only where the list does not tell"
    again = aws_world.replay(reading)
    assert (again.rows, again.shard.population, again.unused) == (reading.rows, reading.shard.population, [])


def test_the_oldest_spelling_of_a_region_is_understood(aws_world: AwsWorld) -> None:
    make(aws_world, "relic")
    body = b'<?xml version="1.0"?><LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">EU</LocationConstraint>'
    aws_world.faults["s3:GetBucketLocation"] = lambda request: FakeResponse(
        200, body, {"content-type": "application/xml"}
    )
    lines = aws_world.read("aws.s3.buckets").ledger.lines
    assert {line["region"] for line in lines if line["op"] == "s3:GetBucketAcl"} == {"eu-west-1"}


def test_a_refused_sub_reply_stands_in_the_row(aws_world: AwsWorld) -> None:
    make(aws_world, "plain")
    aws_world.deny("s3:GetBucketEncryption")
    reading = aws_world.read("aws.s3.buckets")
    with pytest.raises(Unavailable, match=r"s3:GetBucketEncryption was refused"):
        reading.row("plain")["GetBucketEncryption"]
    assert [gap.resources for gap in reading.shard.population.partial] == [("plain",)]


@pytest.mark.parametrize("operation", ["s3:GetBucketPolicy", "s3:GetBucketPolicyStatus"])
def test_a_public_policy_that_may_not_be_read_is_unknown(aws_world: AwsWorld, operation: str) -> None:
    public = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::plain/*"}
    make(aws_world, "plain").put_bucket_policy(
        Bucket="plain", Policy=json.dumps({"Version": "2012-10-17", "Statement": [public]})
    )
    aws_world.deny(operation)
    assert outcomes(aws_world.read("aws.s3.buckets"), "plain")["aws.s3.policy-not-public"] is Outcome.UNKNOWN


@pytest.mark.parametrize("operation", ["s3:ListBuckets", "s3:GetBucketLocation"])
def test_a_refused_list_or_region_is_a_gap(aws_world: AwsWorld, operation: str) -> None:
    make(aws_world, "plain")
    aws_world.deny(operation)
    population = aws_world.read("aws.s3.buckets").shard.population
    assert not population.proven
    assert population.gap is not None
    assert (population.gap.kind, population.gap.operation) == ("denied", operation)


def test_an_account_without_buckets_is_read_to_its_end(aws_world: AwsWorld) -> None:
    reading = aws_world.read("aws.s3.buckets")
    assert (reading.rows, reading.shard.population.proven, reading.operations) == ([], True, ["s3:ListBuckets"])
