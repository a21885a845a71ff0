"""Amazon RDS database instances and manual snapshots: how they are read, and what we require of them."""

from collections.abc import Iterator
from typing import Any

from collector.api import Aws, Record, Redaction, Row, Unavailable, Verdict, check, fail, ok, skip, source
from collector.model import GapKind

PASSWORD = Redaction(
    operation="rds:DescribeDB*",
    regex=r"<MasterUserPassword>(?P<secret>[^<]*)</MasterUserPassword>",
    reason="a password that is about to change; no check needs it",
)


@source(
    "aws.rds.instances",
    key="DBInstanceIdentifier",
    per="region",
    permissions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"),
    redactions=(PASSWORD,),
)
def instances(aws: Aws) -> Iterator[Row]:
    """Every database instance of the region, with the cluster it is a member of under ``DescribeDBClusters``.

    Instances of Aurora, DocumentDB and Neptune are among them. ``DescribeDBClusters`` is ``None`` for an instance that
    stands alone. A cluster without instances has no row.
    """
    found = aws.pages("rds", "describe_db_clusters", rows="DBClusters")
    clusters = {cluster["DBClusterIdentifier"]: cluster for cluster in found}
    for instance in aws.pages("rds", "describe_db_instances", rows="DBInstances"):
        member_of = instance.get("DBClusterIdentifier")  # left out for an instance that stands alone
        if member_of and member_of not in clusters:
            raise Unavailable(GapKind.UNPROVEN, f"rds:DescribeDBClusters does not list {member_of}, which has a member")
        yield {**instance, "DescribeDBClusters": clusters[member_of] if member_of else None}


@source(
    "aws.rds.snapshots",
    key="DBSnapshotIdentifier",
    per="region",
    permissions=("rds:DescribeDBSnapshots", "rds:DescribeDBSnapshotAttributes"),
    filters="manual snapshots, no automated ones",
)
def snapshots(aws: Aws) -> Iterator[Row]:
    """Every manual snapshot of a database instance in the region; automatic ones cannot be shared."""
    for snapshot in aws.pages("rds", "describe_db_snapshots", rows="DBSnapshots", SnapshotType="manual"):
        name = snapshot["DBSnapshotIdentifier"]
        yield {
            **snapshot,
            "DescribeDBSnapshotAttributes": aws.attempt(
                "rds", "describe_db_snapshot_attributes", DBSnapshotIdentifier=name
            ),
        }


@source(
    "aws.rds.cluster-snapshots",
    key="DBClusterSnapshotIdentifier",
    per="region",
    permissions=("rds:DescribeDBClusterSnapshots", "rds:DescribeDBClusterSnapshotAttributes"),
    filters="manual snapshots, no automated ones",
)
def cluster_snapshots(aws: Aws) -> Iterator[Row]:
    """Every manual snapshot of a database cluster in the region; automatic ones cannot be shared."""
    for snapshot in aws.pages("rds", "describe_db_cluster_snapshots", rows="DBClusterSnapshots", SnapshotType="manual"):
        name = snapshot["DBClusterSnapshotIdentifier"]
        yield {
            **snapshot,
            "DescribeDBClusterSnapshotAttributes": aws.attempt(
                "rds", "describe_db_cluster_snapshot_attributes", DBClusterSnapshotIdentifier=name
            ),
        }


@check(
    "aws.rds.storage-encrypted",
    title="Database storage is encrypted",
    severity="high",
    each="aws.rds.instances",
)
def storage_encrypted(instance: Record) -> Verdict:
    """The instance's storage is encrypted.

    Source: DescribeDBInstances (``StorageEncrypted``).
    Remedy: restore an encrypted copy of a snapshot; encryption cannot be switched on later.
    """
    return ok("storage is encrypted") if instance["StorageEncrypted"] else fail("storage is not encrypted")


@check(
    "aws.rds.not-public",
    title="Databases have no public address",
    severity="critical",
    each="aws.rds.instances",
)
def not_public(instance: Record) -> Verdict:
    """The instance is not publicly accessible.

    Source: DescribeDBInstances (``PubliclyAccessible``).
    Remedy: ``aws rds modify-db-instance --no-publicly-accessible``.
    """
    public = instance["PubliclyAccessible"]
    return fail("the database is publicly accessible") if public else ok("the database is not publicly accessible")


@check(
    "aws.rds.backup-retention",
    title="Automatic backups of databases are kept long enough",
    severity="high",
    each="aws.rds.instances",
)
def backup_retention(instance: Record, *, min_days: int = 7) -> Verdict:
    """Automatic backups are kept for at least ``min_days``.

    Source: ``BackupRetentionPeriod`` of DescribeDBInstances, for a member of a cluster of DescribeDBClusters; 0 means
    that there are none. Read replicas are skipped: their source is what is backed up.
    Remedy: ``aws rds modify-db-instance --backup-retention-period``.
    """
    if _replica_of(instance):
        return skip(f"a read replica of {_replica_of(instance)}")
    days = _settings(instance)["BackupRetentionPeriod"]
    reason = f"automatic backups are kept for {days} days, minimum {min_days}"
    return fail(reason) if days < min_days else ok(reason)


@check(
    "aws.rds.multi-az",
    title="Databases span more than one availability zone",
    severity="medium",
    each="aws.rds.instances",
)
def multi_az(instance: Record) -> Verdict:
    """The database has a standby, or its cluster an instance, in another zone.

    Source: ``MultiAZ`` of DescribeDBInstances, for a member of a cluster of DescribeDBClusters. Read replicas are
    skipped.
    Remedy: ``aws rds modify-db-instance --multi-az``, or add an instance to the cluster.
    """
    if _replica_of(instance):
        return skip(f"a read replica of {_replica_of(instance)}")
    return ok("in more than one zone") if _settings(instance)["MultiAZ"] else fail("in one zone only")


@check(
    "aws.rds.deletion-protection",
    title="Databases cannot be deleted by mistake",
    severity="medium",
    each="aws.rds.instances",
)
def deletion_protection(instance: Record) -> Verdict:
    """Deletion protection is on.

    Source: ``DeletionProtection`` of DescribeDBInstances, for a member of a cluster of DescribeDBClusters.
    Remedy: ``aws rds modify-db-instance --deletion-protection`` (or ``modify-db-cluster``).
    """
    protected = _settings(instance)["DeletionProtection"]
    return ok("deletion protection is on") if protected else fail("deletion protection is off")


@check(
    "aws.rds.minor-upgrades",
    title="Databases install minor upgrades by themselves",
    severity="medium",
    each="aws.rds.instances",
)
def minor_upgrades(instance: Record) -> Verdict:
    """Minor engine upgrades are installed automatically.

    Source: DescribeDBInstances (``AutoMinorVersionUpgrade``).
    Remedy: ``aws rds modify-db-instance --auto-minor-version-upgrade``.
    """
    automatic = instance["AutoMinorVersionUpgrade"]
    return ok("automatic minor upgrades are on") if automatic else fail("automatic minor upgrades are off")


@check(
    "aws.rds.snapshot-not-public",
    title="Database snapshots are not shared with everyone",
    severity="critical",
    each="aws.rds.snapshots",
)
def snapshot_not_public(snapshot: Record) -> Verdict:
    """The snapshot's ``restore`` attribute does not name ``all``.

    Source: DescribeDBSnapshotAttributes.
    Remedy: ``aws rds modify-db-snapshot-attribute --attribute-name restore --values-to-remove all``.
    """
    return _sharing(snapshot["DescribeDBSnapshotAttributes"]["DBSnapshotAttributesResult"]["DBSnapshotAttributes"])


@check(
    "aws.rds.cluster-snapshot-not-public",
    title="Database cluster snapshots are not shared with everyone",
    severity="critical",
    each="aws.rds.cluster-snapshots",
)
def cluster_snapshot_not_public(snapshot: Record) -> Verdict:
    """The snapshot's ``restore`` attribute does not name ``all``.

    Source: DescribeDBClusterSnapshotAttributes.
    Remedy: ``aws rds modify-db-cluster-snapshot-attribute --attribute-name restore --values-to-remove all``.
    """
    reply = snapshot["DescribeDBClusterSnapshotAttributes"]
    return _sharing(reply["DBClusterSnapshotAttributesResult"]["DBClusterSnapshotAttributes"])


def _settings(instance: Record) -> Any:
    """Where the settings of an instance are kept: in its cluster when it is a member of one."""
    cluster = instance["DescribeDBClusters"]
    return instance if cluster is None else cluster


def _replica_of(instance: Record) -> str:
    """What the instance, or its cluster, is a read replica of; the API leaves the fields out where it is none."""
    cluster = instance["DescribeDBClusters"]
    if cluster is not None:
        return str(cluster.get("ReplicationSourceIdentifier", ""))
    source_cluster = instance.get("ReadReplicaSourceDBClusterIdentifier", "")
    return str(instance.get("ReadReplicaSourceDBInstanceIdentifier", source_cluster))


def _sharing(attributes: list[Record]) -> Verdict:
    shared = {attribute["AttributeName"]: attribute["AttributeValues"] for attribute in attributes}["restore"]
    if "all" in shared:
        return fail("anyone may restore the snapshot")
    return ok(f"shared with {len(shared)} accounts" if shared else "not shared")
