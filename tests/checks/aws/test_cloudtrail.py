"""How CloudTrail trails are read."""

from __future__ import annotations

import pytest

from tests.checks.aws.asking import assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld

ARN = "arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"


@pytest.fixture
def trail(aws_world: AwsWorld) -> AwsWorld:
    """A multi-region trail that is logging."""
    where = {"LocationConstraint": "eu-central-1"}
    aws_world.client("s3").create_bucket(Bucket="trail-logs", CreateBucketConfiguration=where)
    cloudtrail = aws_world.client("cloudtrail")
    cloudtrail.create_trail(Name="main", S3BucketName="trail-logs", IsMultiRegionTrail=True)
    cloudtrail.start_logging(Name="main")
    return aws_world


def test_a_trail_is_read_in_full_where_it_lives(trail: AwsWorld) -> None:
    row = read_whole(trail, "aws.cloudtrail.trails").row(ARN)
    assert row["HomeRegion"] == row["Region"] == "eu-central-1"
    assert row["GetTrailStatus"]["IsLogging"] is True
    assert row["GetTrailStatus"]["LatestDeliveryTime"].endswith("Z")
    assert row["GetEventSelectors"]["TrailARN"] == ARN
    assert "KmsKeyId" not in row


def test_elsewhere_it_is_listed_as_a_copy(trail: AwsWorld) -> None:
    reading = read_whole(trail, "aws.cloudtrail.trails", region="eu-west-1")
    assert (reading.row(ARN)["Region"], reading.row(ARN)["HomeRegion"]) == ("eu-west-1", "eu-central-1")
    assert reading.operations == ["cloudtrail:DescribeTrails"]


@pytest.mark.parametrize("operation", ["cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"])
def test_a_refused_sub_reply_stands_in_the_row(trail: AwsWorld, operation: str) -> None:
    assert_refused_in_rows(trail, "aws.cloudtrail.trails", operation, ARN)


def test_no_trails(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.cloudtrail.trails")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.cloudtrail.trails", "cloudtrail:DescribeTrails")
