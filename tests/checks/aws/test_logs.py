"""How log groups are read."""

from __future__ import annotations

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, read_whole
from tests.worlds import AwsWorld


def test_groups_are_read_as_they_are_set(aws_world: AwsWorld) -> None:
    logs = aws_world.client("logs")
    key = "arn:aws:kms:eu-central-1:123456789012:key/5d1b7c1e-0000-4000-8000-000000000001"
    logs.create_log_group(logGroupName="/app/web", kmsKeyId=key)
    logs.put_retention_policy(logGroupName="/app/web", retentionInDays=400)
    logs.create_log_group(logGroupName="/app/ledger")
    reading = read_whole(aws_world, "aws.logs.groups")
    assert (reading.row("/app/web")["retentionInDays"], reading.row("/app/web")["kmsKeyId"]) == (400, key)
    assert not {"retentionInDays", "kmsKeyId"} & reading.row("/app/ledger").keys()


def test_two_pages(aws_world: AwsWorld) -> None:
    logs = aws_world.client("logs")
    for number in range(51):
        logs.create_log_group(logGroupName=f"/app/{number:02}")
    reading = read_whole(aws_world, "aws.logs.groups")
    assert [row["logGroupName"] for row in reading.rows] == [f"/app/{number:02}" for number in range(51)]
    assert reading.operations == ["logs:DescribeLogGroups"] * 2


def test_a_token_that_comes_back_is_a_gap(aws_world: AwsWorld) -> None:
    pages = ({"logGroups": [{"logGroupName": name}], "nextToken": "t"} for name in ("/a", "/b"))
    aws_world.faults["logs:DescribeLogGroups"] = Answers(*pages)
    population = aws_world.read("aws.logs.groups").shard.population
    assert population.gap is not None
    assert population.gap.kind == "repeated-token"


def test_no_groups(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.logs.groups")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.logs.groups", "logs:DescribeLogGroups")
