"""How RDS instances and snapshots are read."""

from __future__ import annotations

import pytest

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, assert_refused_in_rows, query, read_whole
from tests.worlds import AwsWorld

COMMON = {"DBInstanceClass": "db.t3.medium", "MasterUsername": "adm", "MasterUserPassword": "not-for-evidence"}


def test_instances_are_read_with_their_cluster(aws_world: AwsWorld) -> None:
    rds = aws_world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier="orders", Engine="postgres", AllocatedStorage=20, BackupRetentionPeriod=9, **COMMON)
    cluster = {"MasterUsername": "adm", "MasterUserPassword": "not-for-evidence", "BackupRetentionPeriod": 3}
    rds.create_db_cluster(DBClusterIdentifier="shop", Engine="aurora-postgresql", **cluster)
    rds.create_db_instance(DBInstanceIdentifier="shop-1", Engine="aurora-postgresql", DBClusterIdentifier="shop", DBInstanceClass="db.r5.large")
    reading = read_whole(aws_world, "aws.rds.instances")
    assert reading.row("orders")["DescribeDBClusters"] is None
    assert reading.row("orders")["BackupRetentionPeriod"] == 9
    assert reading.row("shop-1")["DescribeDBClusters"]["BackupRetentionPeriod"] == 3
    assert reading.row("shop-1")["DescribeDBClusters"]["DBClusterArn"].endswith(":cluster:shop")
    assert reading.operations == ["rds:DescribeDBClusters", "rds:DescribeDBInstances"]


def test_a_password_about_to_change_is_taken_out(aws_world: AwsWorld) -> None:
    pending = "<PendingModifiedValues><MasterUserPassword>not-for-evidence</MasterUserPassword></PendingModifiedValues>"
    instance = f"<DBInstance><DBInstanceIdentifier>orders</DBInstanceIdentifier>{pending}</DBInstance>"
    aws_world.faults["rds:DescribeDBInstances"] = Answers(query("DescribeDBInstances", f"<DBInstances>{instance}</DBInstances>"))
    reading = read_whole(aws_world, "aws.rds.instances")
    assert reading.row("orders")["PendingModifiedValues"] == {"MasterUserPassword": "REDACTED"}
    assert not any(b"not-for-evidence" in body for body in reading.ledger.objects.values())


def test_instances_on_two_pages(aws_world: AwsWorld) -> None:
    def page(name: str, marker: str) -> str:
        return query("DescribeDBInstances", f"{marker}<DBInstances><DBInstance><DBInstanceIdentifier>{name}</DBInstanceIdentifier></DBInstance></DBInstances>")

    pages = Answers(page("orders", "<Marker>m1</Marker>"), page("people", ""))
    aws_world.faults["rds:DescribeDBInstances"] = pages
    assert [row["DBInstanceIdentifier"] for row in read_whole(aws_world, "aws.rds.instances").rows] == ["orders", "people"]
    assert ["m1" in sent for sent in pages.sent] == [False, True]


def test_a_member_of_a_cluster_that_is_not_listed_is_a_gap(aws_world: AwsWorld) -> None:
    member = "<DBInstance><DBInstanceIdentifier>shop-1</DBInstanceIdentifier><DBClusterIdentifier>shop</DBClusterIdentifier></DBInstance>"
    aws_world.faults["rds:DescribeDBInstances"] = Answers(query("DescribeDBInstances", f"<DBInstances>{member}</DBInstances>"))
    population = aws_world.read("aws.rds.instances").shard.population
    assert population.gap is not None
    assert population.gap.reason == "rds:DescribeDBClusters does not list shop, which has a member"


def test_manual_snapshots_are_read_with_whom_they_are_shared(aws_world: AwsWorld) -> None:
    rds = aws_world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier="orders", Engine="postgres", AllocatedStorage=20, **COMMON)
    for name in ("kept", "open"):
        rds.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier=name)
    for name, who in (("kept", "210987654321"), ("open", "all")):
        rds.modify_db_snapshot_attribute(DBSnapshotIdentifier=name, AttributeName="restore", ValuesToAdd=[who])
    reading = read_whole(aws_world, "aws.rds.snapshots")
    shared = {
        row["DBSnapshotIdentifier"]: row["DescribeDBSnapshotAttributes"]["DBSnapshotAttributesResult"]["DBSnapshotAttributes"]
        for row in reading.rows
    }
    assert shared == {
        "kept": [{"AttributeName": "restore", "AttributeValues": ["210987654321"]}],
        "open": [{"AttributeName": "restore", "AttributeValues": ["all"]}],
    }


def test_manual_cluster_snapshots_are_read_with_whom_they_are_shared(aws_world: AwsWorld) -> None:
    snapshot = "<DBClusterSnapshot><DBClusterSnapshotIdentifier>shop-may</DBClusterSnapshotIdentifier></DBClusterSnapshot>"
    aws_world.faults["rds:DescribeDBClusterSnapshots"] = Answers(
        query("DescribeDBClusterSnapshots", f"<DBClusterSnapshots>{snapshot}</DBClusterSnapshots>")
    )
    values = "<AttributeValues><AttributeValue>all</AttributeValue></AttributeValues>"
    attribute = f"<DBClusterSnapshotAttribute><AttributeName>restore</AttributeName>{values}</DBClusterSnapshotAttribute>"
    attributes = f"<DBClusterSnapshotAttributes>{attribute}</DBClusterSnapshotAttributes>"
    aws_world.faults["rds:DescribeDBClusterSnapshotAttributes"] = Answers(
        query("DescribeDBClusterSnapshotAttributes", f"<DBClusterSnapshotAttributesResult>{attributes}</DBClusterSnapshotAttributesResult>")
    )
    row = read_whole(aws_world, "aws.rds.cluster-snapshots").row("shop-may")
    result = row["DescribeDBClusterSnapshotAttributes"]["DBClusterSnapshotAttributesResult"]
    assert result["DBClusterSnapshotAttributes"] == [{"AttributeName": "restore", "AttributeValues": ["all"]}]


def test_a_refused_sub_reply_stands_in_the_row(aws_world: AwsWorld) -> None:
    rds = aws_world.client("rds")
    rds.create_db_instance(DBInstanceIdentifier="orders", Engine="postgres", AllocatedStorage=20, **COMMON)
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
