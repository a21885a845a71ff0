"""Lists of services held against what AWS Config, a service of its own, has discovered of the same resources.

A check here fails only where a list is short of what Config knows: then it is in dispute, and nothing passes that
rests on it. What Config does not know yet is lag, and is told. So is a resource that was deleted minutes ago and that
Config still knows: nothing is concluded then, neither agreement nor dispute, while the resource changed within
``settle_hours`` of the collection or no more than ``max_gone`` others are missing. A list that is empty where Config
knows something is always in dispute: that is what a refusal looks like that came as an empty list.

Config is a witness only where a recorder of the customer is on, its last recording succeeded, it records the kind of
resource continuously, and it knows at least ``min_known_pct`` of what is listed. Otherwise the check is skipped and
the list rests on its last page. Users, groups, roles and policies are not compared here: IAM counts them itself, and
Config would send them anew in every region that records them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from collector.api import Aws, Check, Record, Row, Verdict, check, fail, instant, ok, skip, source

DISCOVERED, RECORDERS = "aws.config.discovered", "aws.config.recorders"
KINDS = (
    "AWS::EC2::Instance", "AWS::EC2::SecurityGroup", "AWS::EC2::Volume", "AWS::EC2::VPC",
    "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::KMS::Key", "AWS::Lambda::Function", "AWS::RDS::DBInstance",
    "AWS::S3::Bucket",
)  # fmt: skip
QUERY = (
    "SELECT resourceId, resourceName, resourceType, arn, configurationItemCaptureTime, configurationItemStatus "
    f"WHERE resourceType IN ({', '.join(map(repr, KINDS))}) "
    "AND configurationItemStatus IN ('OK', 'ResourceDiscovered')"
)
"""All kinds in one paged question; a resource that is deleted, or that is not recorded, has another status."""

SETTLE_HOURS, MAX_GONE, MIN_KNOWN_PCT = 6, 2, 90
HERE, NOWHERE = "here", ""
"""Where Config may be expected to know a resource: in the region that is asked about, or not at all."""
GONE = ("shutting-down", "terminated")
LEAVING = ("PendingDeletion", "PendingReplicaDeletion")


@source(DISCOVERED, key="Key", per="region", permissions=("config:SelectResourceConfig",))
def discovered(aws: Aws) -> Iterator[Row]:
    """Every resource of nine kinds that AWS Config knows in the region and has not seen deleted.

    The kinds are those of :data:`KINDS`, whose lists are read too. ``Region`` is the region that was asked.
    """
    for text in aws.pages("config", "select_resource_config", rows="Results", Expression=QUERY, Limit=100):
        item = json.loads(text)
        yield {"Key": f"{item['resourceType']}/{item['resourceId']}", **item, "Region": aws.region}


def _held(
    kind: str,
    own: Mapping[str, str],
    discovered: Iterable[Record],
    recorders: Iterable[Record],
    as_of: datetime,
    settle_hours: int,
    max_gone: int,
    min_known_pct: int,
) -> Verdict:
    """A list, with the region each resource is expected to be known in, held against what Config knows of a kind."""
    regions, faults = set(), []
    for recorder in recorders:
        fault = _fault(recorder, kind)
        if fault:
            faults.append(f"the recorder {recorder['name']} of {recorder['Region']} {fault}")
        else:
            regions.add(recorder["Region"])
    if not regions:
        return skip(f"there is no second list: {'; '.join(faults) or 'AWS Config has no recorder here'}")
    known = {_name(item): item for item in discovered if item["resourceType"] == kind and item["Region"] in regions}
    settled = as_of - timedelta(hours=settle_hours)
    gone = sorted(known.keys() - own.keys())
    old = [name for name in gone if instant(known[name]["configurationItemCaptureTime"]) < settled]
    if len(old) > max_gone or (gone and not own):
        return fail(
            f"AWS Config knows {len(gone)} that are not among the {len(own)} listed: {_named(gone)}; {len(old)} of "
            f"them changed more than {settle_hours} hours ago, limit {max_gone}"
        )
    if gone:
        return skip(
            f"nothing is concluded: AWS Config still knows {_named(gone)}, not listed and perhaps deleted just now"
        )
    expected = {name for name, region in own.items() if region in {HERE, *regions}}
    met = len(expected & known.keys())
    if (own and not known) or met * 100 < min_known_pct * len(expected):
        return skip(
            f"AWS Config knows {met} of {len(expected)} listed, too few to confirm the list, limit {min_known_pct} %"
        )
    more = len(own) - len(known)
    return ok(f"all {len(known)} that AWS Config knows are listed, and {more} that it does not know yet")


def _fault(recorder: Record, kind: str) -> str:
    """Why a recorder is no witness of a kind of resource; empty where it is one."""
    [status] = recorder["DescribeConfigurationRecorderStatus"]["ConfigurationRecordersStatus"]
    last = status.get("lastStatus", "none")  # left out before the first event
    if not status["recording"]:
        return "is stopped"
    if last.upper() != "SUCCESS":
        return f"has not succeeded: its last status is {last}"
    if not _records(recorder["recordingGroup"], kind):
        return f"does not record {kind}"
    mode = recorder.get("recordingMode", {})  # left out by recorders older than the choice: continuous
    frequency = mode.get("recordingFrequency", "CONTINUOUS")
    for override in mode.get("recordingModeOverrides", []):  # optional
        if kind in override["resourceTypes"]:
            frequency = override["recordingFrequency"]
    return "" if frequency == "CONTINUOUS" else f"records {kind} {frequency.lower()}, so it may lag by a day"


def _records(group: Record, kind: str) -> bool:
    """Whether a recording group takes in a kind of resource."""
    excluded = group.get("exclusionByResourceTypes", {}).get("resourceTypes", [])  # left out where nothing is excluded
    if excluded:
        return kind not in excluded
    return bool(group["allSupported"]) or kind in group.get("resourceTypes", [])  # left out where all are recorded


def _name(item: Record) -> str:
    """What the service calls a resource."""
    return str(item[_identifier(item["resourceType"])])


def _identifier(kind: str) -> str:
    """Where Config says what the service calls a resource: by its id in EC2 and S3, by its ARN elsewhere."""
    return "resourceId" if kind.startswith(("AWS::EC2::", "AWS::S3::")) else "arn"


def _named(names: list[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _everywhere(_: Record) -> str:
    """Config may know each of these."""
    return HERE


def _unless_gone(instance: Record) -> str:
    """Config need not know an instance that is terminated."""
    return NOWHERE if instance["State"]["Name"] in GONE else HERE


def _unless_leaving(key: Record) -> str:
    """Config need not know a key of AWS, or one that is about to go."""
    facts = key["DescribeKey"]["KeyMetadata"]
    return HERE if facts["KeyManager"] != "AWS" and facts["KeyState"] not in LEAVING else NOWHERE


def _reconciled(
    name: str,
    kind: str,
    key: str,
    title: str,
    criterion: str,
    service: str,
    asked: str,
    *,
    place: Callable[[Record], str] = _everywhere,
    share: str = "the list.",
) -> Check:
    """A check that the list of a service holds what Config knows of a kind.

    Args:
        name: its id: that of the dataset, and ``-reconciled``.
        kind: what Config calls such a resource.
        key: field of the list with what the service calls one.
        title: of the check.
        criterion: first line of its description.
        service: who ought to find out.
        asked: requests that the list is read with.
        place: where Config may be expected to know a resource that is listed.
        share: what Config has to know most of, to be a witness.
    """
    dataset = name.removesuffix("-reconciled")

    def reconciled(
        listed: Iterator[Record],
        known: Iterator[Record],
        recorders: Iterator[Record],
        *,
        as_of: datetime,
        settle_hours: int = SETTLE_HOURS,
        max_gone: int = MAX_GONE,
        min_known_pct: int = MIN_KNOWN_PCT,
    ) -> Verdict:
        own = {row[key]: place(row) for row in listed}
        return _held(kind, own, known, recorders, as_of, settle_hours, max_gone, min_known_pct)

    reconciled.__doc__ = f"""{criterion}

    At most ``max_gone`` that changed more than ``settle_hours`` ago may have been deleted since, and then nothing is
    concluded; nor where Config knows less than ``min_known_pct`` of {share}
    Source: SelectResourceConfig (``{_identifier(kind)}``, ``configurationItemCaptureTime``), {asked}.
    Remedy: collect again; if it stays, find out why {service} does not list them before relying on its list.
    """
    return check(
        name,
        title=title,
        severity="high",
        over=(dataset, DISCOVERED, RECORDERS),
        across="region",
        reconciles=(dataset,),
        basis="independent-source",
    )(reconciled)


RECONCILED = (
    _reconciled(
        "aws.ec2.instances-reconciled", "AWS::EC2::Instance", "InstanceId",
        "EC2 lists every instance that AWS Config knows",
        "Every instance that Config knows in the region is in the list of EC2.",
        "EC2", "DescribeInstances",
        place=_unless_gone, share="the list. Terminated instances count as listed.",
    ),
    _reconciled(
        "aws.ec2.volumes-reconciled", "AWS::EC2::Volume", "VolumeId",
        "EC2 lists every volume that AWS Config knows",
        "Every EBS volume that Config knows in the region is in the list of EC2.",
        "EC2", "DescribeVolumes",
    ),
    _reconciled(
        "aws.ec2.security-groups-reconciled", "AWS::EC2::SecurityGroup", "GroupId",
        "EC2 lists every security group that AWS Config knows",
        "Every security group that Config knows in the region is in the list of EC2.",
        "EC2", "DescribeSecurityGroups",
    ),
    _reconciled(
        "aws.ec2.vpcs-reconciled", "AWS::EC2::VPC", "VpcId",
        "EC2 lists every VPC that AWS Config knows",
        "Every VPC that Config knows in the region is in the list of EC2.",
        "EC2", "DescribeVpcs",
    ),
    _reconciled(
        "aws.rds.instances-reconciled", "AWS::RDS::DBInstance", "DBInstanceArn",
        "RDS lists every database instance that AWS Config knows",
        "Every database instance that Config knows in the region is in the list of RDS.",
        "RDS", "DescribeDBInstances (``DBInstanceArn``)",
    ),
    _reconciled(
        "aws.lambda.functions-reconciled", "AWS::Lambda::Function", "FunctionArn",
        "Lambda lists every function that AWS Config knows",
        "Every function that Config knows in the region is in the list of Lambda.",
        "Lambda", "ListFunctions (``FunctionArn``)",
    ),
    _reconciled(
        "aws.elbv2.load-balancers-reconciled", "AWS::ElasticLoadBalancingV2::LoadBalancer", "LoadBalancerArn",
        "Elastic Load Balancing lists every load balancer that AWS Config knows",
        "Every load balancer but classic ones that Config knows in the region is in the list of its service.",
        "the service", "DescribeLoadBalancers",
    ),
    _reconciled(
        "aws.kms.keys-reconciled", "AWS::KMS::Key", "KeyArn",
        "KMS lists every key that AWS Config knows",
        "Every key that Config knows in the region is in the list of KMS.",
        "KMS", "ListKeys, DescribeKey",
        place=_unless_leaving, share="the customer's keys that are not about to go.",
    ),
)  # fmt: skip


@check(
    "aws.s3.buckets-reconciled",
    title="S3 lists every bucket that AWS Config knows",
    severity="high",
    over=("aws.s3.buckets", DISCOVERED, RECORDERS),
    reconciles=("aws.s3.buckets",),
    basis="independent-source",
)
def buckets_reconciled(
    listed: Iterator[Record],
    known: Iterator[Record],
    recorders: Iterator[Record],
    *,
    as_of: datetime,
    settle_hours: int = SETTLE_HOURS,
    max_gone: int = MAX_GONE,
    min_known_pct: int = MIN_KNOWN_PCT,
) -> Verdict:
    """Every bucket that Config knows in a region that is read is in the list of S3.

    At most ``max_gone`` that changed more than ``settle_hours`` ago may have been deleted since, and then nothing is
    concluded; nor where Config knows less than ``min_known_pct`` of the buckets of the regions it records. Buckets of
    other regions have no second witness, and are told as unknown to Config.
    Source: SelectResourceConfig (``resourceId``, ``configurationItemCaptureTime``), ListBuckets (``BucketRegion``).
    Remedy: collect again; if it stays, find out why S3 does not list them before relying on its list.
    """
    own = {row["Name"]: row.get("BucketRegion", HERE) for row in listed}  # left out by emulators
    return _held("AWS::S3::Bucket", own, known, recorders, as_of, settle_hours, max_gone, min_known_pct)
