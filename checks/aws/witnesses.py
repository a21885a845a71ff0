"""Facts that two replies tell which are read anyway: both are kept, and where they differ neither is believed.

No request is made for these checks. Two lists that point at each other can show that one is short, and not that it is
whole, so those checks can only dispute (``basis=""``).
"""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Unavailable, Verdict, check, fail, instant, ok, skip
from collector.model import GapKind

ROOT = "<root_account>"
GONE = ("shutting-down", "terminated")
FLAG = {"true": True, "false": False}
TRAIL = (
    "HomeRegion", "IsMultiRegionTrail", "IsOrganizationTrail", "S3BucketName", "KmsKeyId", "LogFileValidationEnabled",
)  # fmt: skip
"""What every region tells of a trail; the key is left out alike where there is none."""


@check(
    "aws.iam.root-reconciled",
    title="The evidence agrees on the root user: account summary and credential report",
    severity="high",
    over=("aws.iam.account-summary", "aws.iam.credential-report"),
    reconciles=("aws.iam.account-summary",),
    basis="independent-source",
)
def root_reconciled(summaries: Iterator[Record], report: Iterator[Record]) -> Verdict:
    """Both tell the same of the root user's second factor, and the summary knows of what is active by the report.

    The report does not tell an inactive key or certificate from none, so the summary may know of more. A change after
    the report was made is told as a disagreement. Source: GetAccountSummary (``AccountMFAEnabled``,
    ``AccountAccessKeysPresent``, ``AccountSigningCertificatesPresent``), the credential report of ``<root_account>``
    (``mfa_active``, ``access_key_N_active``, ``cert_N_active``).
    Remedy: collect again four hours later, when the report is made anew; if it stays, find out which reply is wrong.
    """
    (row,) = summaries
    summary = row["GetAccountSummary"]["SummaryMap"]
    lines = [line for line in report if line["user"] == ROOT]
    if len(lines) != 1:
        raise Unavailable(GapKind.UNPROVEN, f"the credential report has {len(lines)} lines for the root user, not 1")
    [root] = lines
    differ = []
    if {0: False, 1: True}[summary["AccountMFAEnabled"]] != FLAG[root["mfa_active"]]:
        differ.append(f"AccountMFAEnabled is {summary['AccountMFAEnabled']}, mfa_active {root['mfa_active']}")
    for present, columns in (
        ("AccountAccessKeysPresent", ("access_key_1_active", "access_key_2_active")),
        ("AccountSigningCertificatesPresent", ("cert_1_active", "cert_2_active")),
    ):
        active = [column for column in columns if FLAG[root[column]]]
        if active and summary[present] == 0:
            differ.append(f"{present} is 0, yet {' and '.join(active)} in the report")
    if differ:
        return fail(f"account summary and credential report differ on the root user: {'; '.join(differ)}")
    return ok("account summary and credential report agree on second factor, access keys and certificates of root")


@check(
    "aws.cloudtrail.trails-reconciled",
    title="Every region tells the same of the trails that cover it",
    severity="high",
    over=("aws.cloudtrail.trails",),
    reconciles=("aws.cloudtrail.trails",),
    basis="independent-source",
)
def trails_reconciled(trails: Iterator[Record], *, collected_regions: tuple[str, ...] = ()) -> Verdict:
    """A trail of every region is listed in each of ``collected_regions``, and in the same words.

    Unless it is set, ``collected_regions`` is what the plan reads. A trail of one region is told of by that region
    alone: nothing is concluded while there is one. A trail changed minutes ago is perhaps not the same everywhere yet.
    Source: DescribeTrails of each region, copies included.
    Remedy: collect again; if it stays, find out which region leaves a trail out, or tells it otherwise.
    """
    told: dict[str, dict[str, list[object]]] = {}
    everywhere: dict[str, None] = {}
    for trail in trails:
        facts = [trail.get(name) for name in TRAIL]
        told.setdefault(trail["TrailARN"], {})[trail["Region"]] = facts
        if trail["IsMultiRegionTrail"]:
            everywhere[trail["TrailARN"]] = None
    missing = [f"{arn} in {region}" for arn in everywhere for region in collected_regions if region not in told[arn]]
    if missing:
        return fail(f"trails of every region that a region does not list: {', '.join(missing)}, limit none")
    for arn, regions in told.items():
        for number, name in enumerate(TRAIL):
            if any(facts[number] != next(iter(regions.values()))[number] for facts in regions.values()):
                said = ", ".join(f"{facts[number]} in {region}" for region, facts in sorted(regions.items()))
                return fail(f"{name} of {arn} is told in different ways: {said}")
    alone = [arn for arn, regions in told.items() if len(regions) == 1]
    if alone or not told:
        return skip(f"{len(alone)} of {len(told)} trails are told of by one region only: {', '.join(alone) or 'none'}")
    return ok(f"all {len(told)} trails are told of by {min(map(len, told.values()))} regions at least, in equal words")


@check(
    "aws.ec2.attachments-reconciled",
    title="The evidence agrees on instances and the volumes attached to them",
    severity="high",
    over=("aws.ec2.instances", "aws.ec2.volumes"),
    across="region",
    reconciles=("aws.ec2.instances", "aws.ec2.volumes"),
    basis="",
)
def attachments_reconciled(instances: Iterator[Record], volumes: Iterator[Record], *, as_of: datetime) -> Verdict:
    """A volume that an instance names is in the list of volumes, an instance that a volume names in that of instances.

    Attachments made since the run began are not compared. An instance or a volume deleted between the two replies is
    told as a disagreement. Source: DescribeInstances (``BlockDeviceMappings``), DescribeVolumes (``Attachments``).
    Remedy: collect again; if it stays, find out which list is short before relying on either.
    """
    machines: set[str] = set()
    disks: set[str] = set()
    wanted_machines: set[str] = set()
    wanted_disks: set[str] = set()
    for instance in instances:
        machines.add(instance["InstanceId"])
        if instance["State"]["Name"] not in GONE:
            attached = [mapping["Ebs"] for mapping in instance["BlockDeviceMappings"] if "Ebs" in mapping]
            wanted_disks.update(ebs["VolumeId"] for ebs in attached if _held(ebs["Status"], ebs["AttachTime"], as_of))
    for volume in volumes:
        disks.add(volume["VolumeId"])
        for link in volume["Attachments"]:
            if "InstanceId" in link and _held(link["State"], link["AttachTime"], as_of):  # left out for a service
                wanted_machines.add(link["InstanceId"])
    told = f"{len(wanted_disks)} volumes and {len(wanted_machines)} instances are named by the other list"
    missing = sorted((wanted_disks - disks) | (wanted_machines - machines))
    if missing:
        return fail(f"{told}, {len(missing)} of them are not listed: {', '.join(missing[:10])}, limit none")
    return ok(f"{told}, all are listed") if wanted_disks or wanted_machines else skip("no list names the other")


@check(
    "aws.ec2.default-groups-reconciled",
    title="The evidence agrees on VPCs and their default security groups",
    severity="high",
    over=("aws.ec2.vpcs", "aws.ec2.security-groups"),
    across="region",
    reconciles=("aws.ec2.vpcs", "aws.ec2.security-groups"),
    basis="",
)
def default_groups_reconciled(vpcs: Iterator[Record], groups: Iterator[Record]) -> Verdict:
    """Every VPC of the account has a default security group in the list, and the VPC of every such group is listed.

    A VPC has one that nobody can delete or share. VPCs shared by another account are not compared, unless the account
    shows no default group at all. A VPC made or deleted between the two replies is told as a disagreement.
    Source: DescribeVpcs (``OwnerId``), DescribeSecurityGroups (``GroupName``, ``OwnerId``, ``VpcId``).
    Remedy: collect again; if it stays, find out which list is short before relying on either.
    """
    defaults = [group for group in groups if group["GroupName"] == "default"]
    owners = {group["OwnerId"] for group in defaults}
    named = {group["VpcId"] for group in defaults}
    listed = {vpc["VpcId"]: vpc["OwnerId"] for vpc in vpcs}
    bare = sorted(name for name, owner in listed.items() if name not in named and (owner in owners or not owners))
    unlisted = sorted(named - listed.keys())
    if bare or unlisted:
        return fail(
            f"VPCs without a default group: {', '.join(bare[:10]) or 'none'}; "
            f"VPCs of a default group that are not listed: {', '.join(unlisted[:10]) or 'none'}, limit none of either"
        )
    return ok(f"{len(named)} VPCs have their default group") if named else skip("no VPC and no group is listed")


@check(
    "aws.acm.certificates-reconciled",
    title="The evidence agrees on the certificates that load balancers use",
    severity="high",
    over=("aws.acm.certificates", "aws.elbv2.load-balancers"),
    across="region",
    reconciles=("aws.acm.certificates",),
    basis="",
)
def certificates_reconciled(certificates: Iterator[Record], balancers: Iterator[Record]) -> Verdict:
    """A certificate of ACM that a listener names is in ACM's list, which says that it is in use.

    ACM deletes none that is in use, and a certificate it calls unused is judged by no check. One attached minutes ago
    is told as a disagreement. Nothing is concluded from a listener of which a part was refused.
    Source: ListCertificates (``InUse``), DescribeListeners (``Certificates``).
    Remedy: collect again; if it stays, find out which reply is wrong before relying on either.
    """
    listed = {row["CertificateArn"]: row["InUse"] for row in certificates}
    named = {
        certificate["CertificateArn"]
        for balancer in balancers
        for listener in balancer["DescribeListeners"]
        for certificate in dict(listener.items()).get("Certificates", [])  # left out where the listener has none
        if ":acm:" in certificate["CertificateArn"]
    }
    if not named:
        return skip("no listener names a certificate of ACM")
    missing = sorted(named - listed.keys())
    unused = sorted(name for name in named & listed.keys() if not listed[name])
    if missing or unused:
        return fail(
            f"named by a listener and not listed: {', '.join(missing[:10]) or 'none'}; "
            f"and listed as not in use: {', '.join(unused[:10]) or 'none'}, limit none of either"
        )
    return ok(f"all {len(named)} certificates that listeners name are listed, and in use by ACM's word")


def _held(state: str, since: str, as_of: datetime) -> bool:
    """Whether a volume was attached before the run began."""
    return state == "attached" and instant(since) < as_of
