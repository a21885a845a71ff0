"""How the instances, networks and storage of EC2 are read."""

from __future__ import annotations

from typing import Any

import pytest

from collector import plugins
from collector.judge import Bench, judge
from collector.model import Outcome, Unavailable, instant
from tests.worlds import AwsWorld, FakeResponse, Reading, error_reply

BENCH = Bench(instant("2026-06-01T00:00:00Z"), {})

LISTS = {
    "aws.ec2.instances": (
        "DescribeInstances",
        "reservationSet",
        "<instancesSet><item><instanceId>i-first</instanceId></item></instancesSet>",
    ),
    "aws.ec2.security-groups": (
        "DescribeSecurityGroups",
        "securityGroupInfo",
        "<groupId>sg-first</groupId><ipPermissions/>",
    ),
    "aws.ec2.vpcs": ("DescribeVpcs", "vpcSet", "<vpcId>vpc-first</vpcId>"),
    "aws.ec2.volumes": ("DescribeVolumes", "volumeSet", "<volumeId>vol-first</volumeId>"),
    "aws.ec2.snapshots": ("DescribeSnapshots", "snapshotSet", "<snapshotId>snap-first</snapshotId>"),
    "aws.ec2.images": ("DescribeImages", "imagesSet", "<imageId>ami-first</imageId>"),
}
"""Each list: its operation, its element in the reply, and one item of it."""


def outcomes(reading: Reading) -> dict[str, dict[str, Outcome]]:
    """Outcomes by check and resource."""
    found: dict[str, dict[str, Outcome]] = {}
    checks = [check for check in plugins.load_checks().values() if check.datasets == (reading.shard.task.dataset,)]
    for finding in judge(checks, [reading.shard], BENCH):
        found.setdefault(finding.check.removeprefix("aws.ec2."), {})[finding.resource] = finding.outcome
    return found


def assert_replays(world: AwsWorld, reading: Reading) -> None:
    assert reading.shard.population.proven
    again = world.replay(reading)
    assert again.shard.path is not None
    assert reading.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert (again.shard.population, again.unused) == (reading.shard.population, [])


def xml(operation: str, content: str) -> FakeResponse:
    body = f'<{operation}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>{content}</{operation}Response>'
    return FakeResponse(200, body.encode(), {"content-type": "text/xml"})


def subnet(ec2: Any) -> tuple[str, str]:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return vpc, ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]


def test_lists_of_two_pages_are_read_to_their_end(aws_world: AwsWorld) -> None:
    for dataset, (operation, element, item) in LISTS.items():
        last = xml(operation, f"<{element}><item>{item.replace('first', 'second')}</item></{element}>")
        first = xml(operation, f"<{element}><item>{item}</item></{element}><nextToken>t1</nextToken>")
        aws_world.faults = {
            f"ec2:{operation}": lambda request, a=first, b=last: b if "NextToken=t1" in str(request.body) else a,
            "ec2:DescribeFlowLogs": lambda request: xml("DescribeFlowLogs", "<flowLogSet/>"),
            "ec2:DescribeSnapshotAttribute": lambda request: error_reply(request, "InvalidSnapshot.NotFound", 400),
        }
        reading = aws_world.read(dataset)
        key = plugins.load().sources[dataset].key
        assert [row[key].partition("-")[2] for row in reading.rows] == ["first", "second"], dataset
        assert reading.operations.count(f"ec2:{operation}") == 2, dataset
        assert_replays(aws_world, reading)


def test_an_empty_list_is_complete_a_refused_or_malformed_one_is_a_gap(aws_world: AwsWorld) -> None:
    aws_world.faults["ec2:DescribeFlowLogs"] = lambda request: xml("DescribeFlowLogs", "<flowLogSet/>")
    for dataset, (operation, element, _) in LISTS.items():
        name, empty, malformed = f"ec2:{operation}", xml(operation, f"<{element}/>"), xml(operation, "")
        aws_world.faults[name] = lambda request, a=empty: a
        reading = aws_world.read(dataset)
        assert reading.rows == [], dataset
        assert_replays(aws_world, reading)
        aws_world.faults[name] = lambda request, a=malformed: a
        gap = aws_world.read(dataset).shard.population.gap
        assert gap is not None, dataset
        assert (gap.kind, gap.operation) == ("malformed", name)
        aws_world.deny(name, "UnauthorizedOperation")
        gap = aws_world.read(dataset).shard.population.gap
        assert gap is not None, dataset
        assert (gap.kind, gap.operation) == ("denied", name)


def test_instances(aws_world: AwsWorld) -> None:
    ec2 = aws_world.client("ec2")
    _, inside = subnet(ec2)
    image = ec2.register_image(Name="base", RootDeviceName="/dev/sda1")["ImageId"]
    settings = {
        "good": {"MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"}, "SubnetId": inside},
        "bad": {
            "MetadataOptions": {"HttpTokens": "optional", "HttpEndpoint": "enabled"},
            "NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": inside, "AssociatePublicIpAddress": True}],
        },
        "gone": {"SubnetId": inside},
    }
    made = {
        name: ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, **extra)["Instances"][0]["InstanceId"]
        for name, extra in settings.items()
    }
    ec2.terminate_instances(InstanceIds=[made["gone"]])
    reading = aws_world.read("aws.ec2.instances")
    assert_replays(aws_world, reading)
    expected = {made["good"]: Outcome.PASS, made["bad"]: Outcome.FAIL, made["gone"]: Outcome.SKIP}
    assert outcomes(reading) == {"imdsv2-required": expected, "instance-without-public-address": expected}


def test_security_groups_and_their_prefix_lists(aws_world: AwsWorld) -> None:
    ec2 = aws_world.client("ec2")
    vpc, _ = subnet(ec2)
    everyone = ec2.create_managed_prefix_list(
        PrefixListName="everyone",
        MaxEntries=2,
        AddressFamily="IPv4",
        Entries=[{"Cidr": "0.0.0.0/1"}, {"Cidr": "128.0.0.0/1"}],
    )["PrefixList"]["PrefixListId"]
    rules = {
        "ssh": {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        "rdp": {"IpProtocol": "tcp", "FromPort": 3389, "ToPort": 3389, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        "all": {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        "list": {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "PrefixListIds": [{"PrefixListId": everyone}]},
        "same-list": {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "PrefixListIds": [{"PrefixListId": everyone}]},
        "inside": {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
    }
    made = {}
    for name, rule in rules.items():
        made[name] = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        ec2.authorize_security_group_ingress(GroupId=made[name], IpPermissions=[rule])
    reading = aws_world.read("aws.ec2.security-groups")
    assert reading.operations.count("ec2:GetManagedPrefixListEntries") == 1, "named by two groups, asked for once"
    assert_replays(aws_world, reading)
    found = outcomes(reading)
    failing = {check: {name for name in made if by[made[name]] is Outcome.FAIL} for check, by in found.items()}
    assert failing == {
        "ssh-not-public": {"ssh", "all", "same-list"},
        "rdp-not-public": {"rdp", "all"},
        "databases-not-public": {"all", "list"},
        "all-ports-not-public": {"all"},
        "default-security-group-closed": set(),
    }
    assert found["ssh-not-public"][made["inside"]] is Outcome.PASS
    assert Outcome.FAIL in found["default-security-group-closed"].values(), "a new default group lets everything out"

    aws_world.deny("ec2:GetManagedPrefixListEntries", "UnauthorizedOperation")
    refused = aws_world.read("aws.ec2.security-groups")
    assert refused.shard.population.proven
    found = outcomes(refused)
    assert found["databases-not-public"][made["list"]] is Outcome.UNKNOWN
    assert found["ssh-not-public"][made["list"]] is Outcome.PASS, "the rule opens another port, whoever is on the list"
    assert found["ssh-not-public"][made["ssh"]] is Outcome.FAIL


def test_vpcs_and_their_flow_logs(aws_world: AwsWorld) -> None:
    ec2 = aws_world.client("ec2")
    aws_world.client("logs").create_log_group(logGroupName="flow")
    made = {
        name: ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        for name in ("logged", "half", "failing", "silent")
    }
    role = {"DeliverLogsPermissionArn": "arn:aws:iam::123456789012:role/flow", "ResourceType": "VPC"}
    ec2.create_flow_logs(ResourceIds=[made["logged"]], TrafficType="ALL", LogGroupName="flow", **role)
    ec2.create_flow_logs(ResourceIds=[made["half"]], TrafficType="REJECT", LogGroupName="flow", **role)
    ec2.create_flow_logs(ResourceIds=[made["failing"]], TrafficType="ALL", LogGroupName="no-such-group", **role)
    reading = aws_world.read("aws.ec2.vpcs")
    assert reading.operations.count("ec2:DescribeFlowLogs") == 1
    assert [log["ResourceId"] for log in reading.row(made["logged"])["DescribeFlowLogs"]] == [made["logged"]]
    assert_replays(aws_world, reading)
    found = outcomes(reading)["vpc-flow-logs"]
    assert [name for name in made if found[made[name]] is Outcome.PASS] == ["logged"]
    assert [name for name in made if found[made[name]] is Outcome.FAIL] == ["half", "failing", "silent"]

    aws_world.deny("ec2:DescribeFlowLogs", "UnauthorizedOperation")
    assert outcomes(aws_world.read("aws.ec2.vpcs")) == {"vpc-flow-logs": {"(all)": Outcome.UNKNOWN}}


def test_volumes_and_snapshots(aws_world: AwsWorld) -> None:
    ec2 = aws_world.client("ec2")
    volumes = [
        ec2.create_volume(AvailabilityZone="eu-central-1a", Size=8, Encrypted=on)["VolumeId"] for on in (True, False)
    ]
    private, shared = (ec2.create_snapshot(VolumeId=volume)["SnapshotId"] for volume in volumes)
    ec2.modify_snapshot_attribute(
        SnapshotId=private, Attribute="createVolumePermission", OperationType="add", UserIds=["111122223333"]
    )
    ec2.modify_snapshot_attribute(
        SnapshotId=shared, Attribute="createVolumePermission", OperationType="add", GroupNames=["all"]
    )
    reading = aws_world.read("aws.ec2.volumes")
    assert_replays(aws_world, reading)
    assert outcomes(reading) == {"volume-encrypted": dict(zip(volumes, (Outcome.PASS, Outcome.FAIL), strict=True))}
    reading = aws_world.read("aws.ec2.snapshots")
    assert_replays(aws_world, reading)
    assert {line["params"].get("OwnerIds", [""])[0] for line in reading.ledger.lines} == {"self", ""}
    expected = {private: Outcome.PASS, shared: Outcome.FAIL}
    assert outcomes(reading) == {"snapshot-encrypted": expected, "snapshot-not-public": expected}

    aws_world.deny("ec2:DescribeSnapshotAttribute", "UnauthorizedOperation")
    refused = aws_world.read("aws.ec2.snapshots")
    with pytest.raises(Unavailable, match="ec2:DescribeSnapshotAttribute was refused"):
        refused.row(shared)["DescribeSnapshotAttribute"]
    found = outcomes(refused)
    assert found["snapshot-not-public"] == {private: Outcome.UNKNOWN, shared: Outcome.UNKNOWN}
    assert found["snapshot-encrypted"] == expected


def test_images(aws_world: AwsWorld) -> None:
    ec2 = aws_world.client("ec2")
    kept, shared = (ec2.register_image(Name=name, RootDeviceName="/dev/sda1")["ImageId"] for name in ("kept", "shared"))
    ec2.modify_image_attribute(ImageId=shared, LaunchPermission={"Add": [{"Group": "all"}]})
    reading = aws_world.read("aws.ec2.images")
    assert_replays(aws_world, reading)
    assert reading.ledger.lines[0]["params"]["Owners"] == ["self"]
    assert outcomes(reading) == {"image-not-public": {kept: Outcome.PASS, shared: Outcome.FAIL}}


def test_encryption_by_default(aws_world: AwsWorld) -> None:
    name = "ebs-encryption-default"
    reading = aws_world.read("aws.ec2.ebs-encryption-default")
    assert_replays(aws_world, reading)
    assert outcomes(reading) == {"ebs-default-encryption": {name: Outcome.FAIL}}
    aws_world.client("ec2").enable_ebs_encryption_by_default()
    assert outcomes(aws_world.read("aws.ec2.ebs-encryption-default")) == {
        "ebs-default-encryption": {name: Outcome.PASS}
    }
    assert outcomes(aws_world.read("aws.ec2.ebs-encryption-default", region="eu-west-1")) == {
        "ebs-default-encryption": {name: Outcome.FAIL}
    }
    aws_world.deny("ec2:GetEbsEncryptionByDefault", "UnauthorizedOperation")
    assert outcomes(aws_world.read("aws.ec2.ebs-encryption-default")) == {
        "ebs-default-encryption": {name: Outcome.UNKNOWN}
    }
