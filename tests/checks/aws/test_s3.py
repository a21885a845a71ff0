"""How S3 buckets are read."""

from __future__ import annotations

import pytest

from collector.model import Unavailable
from tests.worlds import AwsWorld


def test_buckets_are_read_and_replay_to_the_same_rows(aws_world: AwsWorld) -> None:
    s3 = aws_world.client("s3")
    for name in ("plain", "sealed"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket="sealed", ServerSideEncryptionConfiguration={"Rules": [rule]})
    reading = aws_world.read("aws.s3.buckets")
    assert reading.shard.population.proven
    assert reading.row("plain")["GetBucketEncryption"] is None
    assert reading.row("sealed")["GetBucketEncryption"]["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms"}
    again = aws_world.replay(reading)
    assert again.rows == reading.rows
    assert again.shard.population == reading.shard.population
    assert again.unused == []


def test_a_refused_sub_reply_stands_in_the_row(aws_world: AwsWorld) -> None:
    aws_world.client("s3").create_bucket(Bucket="plain", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    aws_world.deny("s3:GetBucketEncryption")
    reading = aws_world.read("aws.s3.buckets")
    with pytest.raises(Unavailable, match=r"s3:GetBucketEncryption was refused"):
        reading.row("plain")["GetBucketEncryption"]
    assert [gap.resources for gap in reading.shard.population.partial] == [("plain",)]


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    aws_world.deny("s3:ListBuckets")
    population = aws_world.read("aws.s3.buckets").shard.population
    assert not population.proven
    assert population.gap is not None
    assert population.gap.kind == "denied"
