"""Amazon EBS volumes and snapshots, and machine images: how they are read, and what we require of them."""

from collections.abc import Iterator
from typing import Any

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source(
    "aws.ec2.volumes",
    key="VolumeId",
    per="region",
    permissions=("ec2:DescribeVolumes",),
    unordered="ec2:DescribeVolumes",
)
def volumes(aws: Aws) -> Iterator[Row]:
    """Every EBS volume of the region, attached or not."""
    yield from aws.pages("ec2", "describe_volumes", rows="Volumes", MaxResults=1000)


@source(
    "aws.ec2.snapshots",
    key="SnapshotId",
    per="region",
    permissions=("ec2:DescribeSnapshotAttribute", "ec2:DescribeSnapshots"),
    unordered="ec2:DescribeSnapshots",
    filters="owner is this account",
)
def snapshots(aws: Aws) -> Iterator[Row]:
    """Every EBS snapshot in the region that the account owns, with who may make volumes of it."""
    for snapshot in aws.pages("ec2", "describe_snapshots", rows="Snapshots", OwnerIds=["self"], MaxResults=1000):
        which = {"Attribute": "createVolumePermission", "SnapshotId": snapshot["SnapshotId"]}
        yield {**snapshot, "DescribeSnapshotAttribute": aws.attempt("ec2", "describe_snapshot_attribute", **which)}


@source(
    "aws.ec2.images", key="ImageId", per="region", permissions=("ec2:DescribeImages",),
    filters="owner is this account",
)  # fmt: skip
def images(aws: Aws) -> Iterator[Row]:
    """Every machine image in the region that the account owns, deprecated and disabled ones included."""
    shown: dict[str, Any] = {"Owners": ["self"], "IncludeDeprecated": True, "IncludeDisabled": True}
    yield from aws.pages("ec2", "describe_images", rows="Images", MaxResults=1000, **shown)


@source("aws.ec2.ebs-encryption-default", key="Id", per="region", permissions=("ec2:GetEbsEncryptionByDefault",))
def ebs_encryption_default(aws: Aws) -> Iterator[Row]:
    """The account's setting for new EBS volumes of the region: one record."""
    yield {
        "Id": "ebs-encryption-default",
        "GetEbsEncryptionByDefault": aws.attempt("ec2", "get_ebs_encryption_by_default"),
    }


@check("aws.ec2.volume-encrypted", title="EBS volumes are encrypted", severity="medium", each="aws.ec2.volumes")
def volume_encrypted(volume: Record) -> Verdict:
    """A volume is encrypted at rest.

    Source: DescribeVolumes (``Encrypted``).
    Remedy: copy its snapshot with encryption, make a volume of the copy, and exchange the two.
    """
    return ok("the volume is encrypted") if volume["Encrypted"] else fail("the volume is not encrypted")


@check("aws.ec2.snapshot-encrypted", title="EBS snapshots are encrypted", severity="medium", each="aws.ec2.snapshots")
def snapshot_encrypted(snapshot: Record) -> Verdict:
    """A snapshot is encrypted at rest.

    Source: DescribeSnapshots (``Encrypted``).
    Remedy: ``aws ec2 copy-snapshot --encrypted``, then delete the original.
    """
    return ok("the snapshot is encrypted") if snapshot["Encrypted"] else fail("the snapshot is not encrypted")


@check(
    "aws.ec2.snapshot-not-public",
    title="EBS snapshots are not shared with everyone",
    severity="critical",
    each="aws.ec2.snapshots",
)
def snapshot_not_public(snapshot: Record) -> Verdict:
    """Not every AWS account may make a volume of the snapshot.

    Single accounts it is shared with are counted in the reason and are no exception here.
    Source: DescribeSnapshotAttribute (``CreateVolumePermissions``).
    Remedy: ``aws ec2 modify-snapshot-attribute --operation-type remove --group-names all``.
    """
    permissions = snapshot["DescribeSnapshotAttribute"]["CreateVolumePermissions"]
    if any(permission.get("Group") == "all" for permission in permissions):  # each names a group or an account
        return fail("every AWS account may make a volume of the snapshot")
    return ok(f"the snapshot is shared with {len(permissions)} other accounts, and not with everyone")


@check(
    "aws.ec2.image-not-public",
    title="Machine images are not shared with everyone",
    severity="high",
    each="aws.ec2.images",
)
def image_not_public(image: Record) -> Verdict:
    """Not every AWS account may launch the image.

    Source: DescribeImages (``Public``).
    Remedy: ``aws ec2 modify-image-attribute --launch-permission 'Remove=[{Group=all}]'``.
    """
    return fail("every AWS account may launch the image") if image["Public"] else ok("the image is not public")


@check(
    "aws.ec2.ebs-default-encryption",
    title="New EBS volumes are encrypted without being asked",
    severity="medium",
    each="aws.ec2.ebs-encryption-default",
)
def ebs_default_encryption(setting: Record) -> Verdict:
    """Encryption by default is on in the region, so that new volumes and copies of snapshots are encrypted.

    Source: GetEbsEncryptionByDefault (``EbsEncryptionByDefault``).
    Remedy: ``aws ec2 enable-ebs-encryption-by-default``.
    """
    on = setting["GetEbsEncryptionByDefault"]["EbsEncryptionByDefault"]
    return ok("encryption by default is on") if on else fail("encryption by default is off")
