"""How RDS instances and snapshots are read."""

from __future__ import annotations

import pytest

from tests.checks.aws.asking import (
    Answers,
    assert_denied,
    assert_no_rows,
    assert_refused_in_rows,
    query,
    read_whole,
    xml,
)
from tests.worlds import AwsWorld

ADMIN = {"MasterUsername": "adm", "MasterUserPassword": "not-for-evidence"}
POSTGRES = {"DBInstanceClass": "db.t3.medium", "Engine": "postgres", "AllocatedStorage": 20, **ADMIN}
AURORA = {"Engine": "aurora-postgresql", "DBClusterIdentifier": "shop"}


def _instances(world: AwsWorld, *pages: str) -> Answers:
    """The world lists these instances, a page each, instead of its own."""
    last = len(pages) - 1
    replies = (
        query("DescribeDBInstances", DBInstances=xml(DBInstance=page), **({} if number == last else {"Marker": "m1"}))
        for number, page in enumerate(pages)
    )
    world.faults["rds:DescribeDBInstances"] = answers = Answers(*replies)
    return answers


def test_instances_are_read_with_their_cluster(aws_world: AwsWorld) -> None:
    rds = aws_world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier="orders", BackupRetentionPeriod=9, **POSTGRES)
    rds.create_db_cluster(BackupRetentionPeriod=3, **AURORA, **ADMIN)
    rds.create_db_instance(DBInstanceIdentifier="shop-1", DBInstanceClass="db.r5.large", **AURORA)
    reading = read_whole(aws_world, "aws.rds.instances")
    assert reading.row("orders")["DescribeDBClusters"] is None
    assert reading.row("orders")["BackupRetentionPeriod"] == 9
    assert reading.row("shop-1")["DescribeDBClusters"]["BackupRetentionPeriod"] == 3
    assert reading.row("shop-1")["DescribeDBClusters"]["DBClusterArn"].endswith(":cluster:shop")
    assert reading.operations == ["rds:DescribeDBClusters", "rds:DescribeDBInstances"]


def test_a_password_about_to_change_is_taken_out(aws_world: AwsWorld) -> None:
    pending = xml(MasterUserPassword="not-for-evidence")
    _instances(aws_world, xml(DBInstanceIdentifier="orders", PendingModifiedValues=pending))
    reading = read_whole(aws_world, "aws.rds.instances")
    assert reading.row("orders")["PendingModifiedValues"] == {"MasterUserPassword": "REDACTED"}
    assert not any(b"not-for-evidence" in body for body in reading.ledger.objects.values())


def test_instances_on_two_pages(aws_world: AwsWorld) -> None:
    pages = _instances(aws_world, xml(DBInstanceIdentifier="orders"), xml(DBInstanceIdentifier="people"))
    rows = read_whole(aws_world, "aws.rds.instances").rows
    assert [row["DBInstanceIdentifier"] for row in rows] == ["orders", "people"]
    assert ["m1" in sent for sent in pages.sent] == [False, True]


def test_a_member_of_a_cluster_that_is_not_listed_is_a_gap(aws_world: AwsWorld) -> None:
    _instances(aws_world, xml(DBInstanceIdentifier="shop-1", DBClusterIdentifier="shop"))
    population = aws_world.read("aws.rds.instances").shard.population
    assert population.gap is not None
    assert population.gap.reason == "rds:DescribeDBClusters does not list shop, which has a member"


def test_manual_snapshots_are_read_with_whom_they_are_shared(aws_world: AwsWorld) -> None:
    rds = aws_world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier="orders", **POSTGRES)
    for name in ("kept", "open"):
        rds.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier=name)
    for name, who in (("kept", "210987654321"), ("open", "all")):
        rds.modify_db_snapshot_attribute(DBSnapshotIdentifier=name, AttributeName="restore", ValuesToAdd=[who])
    reading = read_whole(aws_world, "aws.rds.snapshots")
    for name, who in (("kept", "210987654321"), ("open", "all")):
        result = reading.row(name)["DescribeDBSnapshotAttributes"]["DBSnapshotAttributesResult"]
        assert result["DBSnapshotAttributes"] == [{"AttributeName": "restore", "AttributeValues": [who]}]


def test_manual_cluster_snapshots_are_read_with_whom_they_are_shared(aws_world: AwsWorld) -> None:
    snapshot = xml(DBClusterSnapshot=xml(DBClusterSnapshotIdentifier="shop-may"))
    attribute = xml(AttributeName="restore", AttributeValues=xml(AttributeValue="all"))
    attributes = xml(DBClusterSnapshotAttributes=xml(DBClusterSnapshotAttribute=attribute))
    for operation, elements in (
        ("DescribeDBClusterSnapshots", {"DBClusterSnapshots": snapshot}),
        ("DescribeDBClusterSnapshotAttributes", {"DBClusterSnapshotAttributesResult": attributes}),
    ):
        aws_world.faults[f"rds:{operation}"] = Answers(query(operation, **elements))
    row = read_whole(aws_world, "aws.rds.cluster-snapshots").row("shop-may")
    result = row["DescribeDBClusterSnapshotAttributes"]["DBClusterSnapshotAttributesResult"]
    assert result["DBClusterSnapshotAttributes"] == [{"AttributeName": "restore", "AttributeValues": ["all"]}]


def test_a_refused_sub_reply_stands_in_the_row(aws_world: AwsWorld) -> None:
    rds = aws_world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier="orders", **POSTGRES)
    rds.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier="kept")
    assert_refused_in_rows(aws_world, "aws.rds.snapshots", "rds:DescribeDBSnapshotAttributes", "kept")


@pytest.mark.parametrize("dataset", ["aws.rds.instances", "aws.rds.snapshots", "aws.rds.cluster-snapshots"])
def test_nothing_there(aws_world: AwsWorld, dataset: str) -> None:
    assert_no_rows(aws_world, dataset)


@pytest.mark.parametrize(
    ("dataset", "operation"),
    [
        ("aws.rds.instances", "rds:DescribeDBInstances"),
        ("aws.rds.instances", "rds:DescribeDBClusters"),
        ("aws.rds.snapshots", "rds:DescribeDBSnapshots"),
        ("aws.rds.cluster-snapshots", "rds:DescribeDBClusterSnapshots"),
    ],
)
def test_a_refused_list_is_a_gap(aws_world: AwsWorld, dataset: str, operation: str) -> None:
    assert_denied(aws_world, dataset, operation)
