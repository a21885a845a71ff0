"""Amazon EC2 instances: how they are read, and what we require of them."""

from collections.abc import Iterator
from ipaddress import ip_address

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, skip, source

GONE = ("shutting-down", "terminated")
"""States of an instance that is no more, or is about to be; it stays listed for an hour."""


@source(
    "aws.ec2.instances",
    key="InstanceId",
    per="region",
    permissions=("ec2:DescribeInstances",),
    unordered="ec2:DescribeInstances",
)
def instances(aws: Aws) -> Iterator[Row]:
    """Every instance of the region, terminated ones included while the API lists them."""
    yield from aws.pages("ec2", "describe_instances", rows="Reservations[].Instances[]", MaxResults=1000)


@check(
    "aws.ec2.imdsv2-required",
    title="EC2 instances answer metadata requests of a session only",
    severity="high",
    each="aws.ec2.instances",
)
def imdsv2_required(instance: Record) -> Verdict:
    """The metadata service asks for a session token (IMDSv2), or is switched off.

    Source: DescribeInstances (``MetadataOptions``).
    Remedy: ``aws ec2 modify-instance-metadata-options --http-tokens required``.
    """
    state = instance["State"]["Name"]
    if state in GONE:
        return skip(f"the instance is {state}")
    options = instance["MetadataOptions"]
    if options["HttpEndpoint"] == "disabled":
        return ok("the metadata service is switched off")
    tokens = options["HttpTokens"]
    return ok("session tokens are required") if tokens == "required" else fail(f"session tokens are {tokens}")


@check(
    "aws.ec2.instance-without-public-address",
    title="EC2 instances have no public address",
    severity="medium",
    each="aws.ec2.instances",
)
def instance_without_public_address(instance: Record) -> Verdict:
    """No network interface of the instance has a public IPv4 or a global IPv6 address.

    Source: DescribeInstances (``PublicIpAddress``, ``NetworkInterfaces``).
    Remedy: place it behind a load balancer or a NAT gateway, in a subnet that assigns no public addresses.
    """
    state = instance["State"]["Name"]
    if state in GONE:
        return skip(f"the instance is {state}")
    # PublicIpAddress and Association are omitted where there is none.
    addresses = {instance["PublicIpAddress"]} if "PublicIpAddress" in instance else set()
    for interface in instance["NetworkInterfaces"]:
        private = interface["PrivateIpAddresses"]
        addresses |= {address["Association"]["PublicIp"] for address in private if "Association" in address}
        addresses |= {v6["Ipv6Address"] for v6 in interface["Ipv6Addresses"] if ip_address(v6["Ipv6Address"]).is_global}
    if addresses:
        return fail(f"the instance has {', '.join(sorted(addresses))}")
    return ok("no interface has a public address")
