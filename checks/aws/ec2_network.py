"""Amazon EC2 networks: security groups and VPCs, how they are read, and what we require of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, skip, source

DATABASE_PORTS = (1433, 1521, 3306, 5432, 5439, 6379, 9042, 9200, 11211, 27017)
"""SQL Server, Oracle, MySQL, PostgreSQL, Redshift, Redis, Cassandra, OpenSearch, memcached, MongoDB."""

PROTOCOLS = {"tcp": ("-1", "tcp", "6"), "udp": ("-1", "udp", "17")}
"""How a rule may name a protocol; ``-1`` is all of them."""

INTERNET4, INTERNET6 = IPv4Network("0.0.0.0/0"), IPv6Network("2000::/3")
"""Every IPv4 address; every IPv6 address that is given out for the internet, which ``::/0`` contains."""


@source(
    "aws.ec2.security-groups",
    key="GroupId",
    per="region",
    permissions=("ec2:DescribeSecurityGroups", "ec2:GetManagedPrefixListEntries"),
    unordered="ec2:DescribeSecurityGroups",
)
def security_groups(aws: Aws) -> Iterator[Row]:
    """Every security group of the region, with the entries of each prefix list that its inbound rules name."""
    entries: dict[str, Any] = {}
    for group in aws.pages("ec2", "describe_security_groups", rows="SecurityGroups", MaxResults=1000):
        named = {prefixes["PrefixListId"] for rule in group["IpPermissions"] for prefixes in rule["PrefixListIds"]}
        for name in sorted(named - set(entries)):  # a list that many groups name is asked for once
            entries[name] = aws.attempt_all(
                "ec2", "get_managed_prefix_list_entries", rows="Entries", PrefixListId=name, MaxResults=100
            )
        yield {**group, "GetManagedPrefixListEntries": {name: entries[name] for name in sorted(named)}}


@source("aws.ec2.vpcs", key="VpcId", per="region", permissions=("ec2:DescribeFlowLogs", "ec2:DescribeVpcs"))
def vpcs(aws: Aws) -> Iterator[Row]:
    """Every VPC of the region, with the flow logs that are set on the VPC as a whole."""
    logs = defaultdict(list)
    for log in aws.pages("ec2", "describe_flow_logs", rows="FlowLogs", MaxResults=1000):
        logs[log["ResourceId"]].append(log)
    for vpc in aws.pages("ec2", "describe_vpcs", rows="Vpcs", MaxResults=1000):
        yield {**vpc, "DescribeFlowLogs": logs[vpc["VpcId"]]}


@check(
    "aws.ec2.ssh-not-public", title="SSH is not open to the internet", severity="high", each="aws.ec2.security-groups"
)
def ssh_not_public(group: Record, *, ports: Sequence[int] = (22,)) -> Verdict:
    """No rule, nor rules together, let any address reach the ports of SSH.

    Source: DescribeSecurityGroups (``IpPermissions``), GetManagedPrefixListEntries.
    Remedy: ``aws ec2 revoke-security-group-ingress``; administer through Session Manager or a VPN.
    """
    return _closed(group, ports)


@check(
    "aws.ec2.rdp-not-public", title="RDP is not open to the internet", severity="high", each="aws.ec2.security-groups"
)
def rdp_not_public(group: Record, *, ports: Sequence[int] = (3389,)) -> Verdict:
    """No rule, nor rules together, let any address reach the ports of the remote desktop protocol.

    Source: DescribeSecurityGroups (``IpPermissions``), GetManagedPrefixListEntries.
    Remedy: ``aws ec2 revoke-security-group-ingress``; administer through Session Manager or a VPN.
    """
    return _closed(group, ports)


@check(
    "aws.ec2.databases-not-public",
    title="Database ports are not open to the internet",
    severity="high",
    each="aws.ec2.security-groups",
)
def databases_not_public(group: Record, *, ports: Sequence[int] = DATABASE_PORTS) -> Verdict:
    """No rule, nor rules together, let any address reach a port that databases listen on.

    Source: DescribeSecurityGroups (``IpPermissions``), GetManagedPrefixListEntries.
    Remedy: ``aws ec2 revoke-security-group-ingress``; admit the security groups of the applications instead.
    """
    return _closed(group, ports)


@check(
    "aws.ec2.all-ports-not-public",
    title="No security group opens every port to the internet",
    severity="critical",
    each="aws.ec2.security-groups",
)
def all_ports_not_public(group: Record) -> Verdict:
    """No inbound rule opens all protocols, or all TCP or all UDP ports (1 to 65535), to any address.

    Source: DescribeSecurityGroups (``IpPermissions``), GetManagedPrefixListEntries.
    Remedy: ``aws ec2 revoke-security-group-ingress``; admit the ports that are needed.
    """
    opened = {name: network for name in PROTOCOLS if (network := _anyone(group, name, 1, 65535))}
    if opened:
        return fail(", ".join(f"{network} may reach every {name} port" for name, network in opened.items()))
    return ok("no rule opens every port to any address")


@check(
    "aws.ec2.default-security-group-closed",
    title="Default security groups carry no rules",
    severity="medium",
    each="aws.ec2.security-groups",
)
def default_security_group_closed(group: Record) -> Verdict:
    """The default security group of a VPC has no rule, so that a resource without a group of its own gets no access.

    Source: DescribeSecurityGroups (``GroupName``, ``IpPermissions``, ``IpPermissionsEgress``).
    Remedy: revoke its rules; give each resource a group of its own.
    """
    if group["GroupName"] != "default":
        return skip("not a default security group")
    inbound, outbound = len(group["IpPermissions"]), len(group["IpPermissionsEgress"])
    if inbound or outbound:
        return fail(f"the default group has {inbound} inbound and {outbound} outbound rules, limit 0")
    return ok("the default group has no rules")


@check("aws.ec2.vpc-flow-logs", title="VPCs log their traffic", severity="medium", each="aws.ec2.vpcs")
def vpc_flow_logs(vpc: Record, *, traffic: Sequence[str] = ("ACCEPT", "REJECT")) -> Verdict:
    """Active flow logs on the VPC record ``traffic``, and the last delivery did not fail.

    A log of type ALL records accepted and rejected traffic. Logs set on subnets or interfaces only are not counted.
    Source: DescribeFlowLogs (``FlowLogStatus``, ``TrafficType``, ``DeliverLogsStatus``).
    Remedy: ``aws ec2 create-flow-logs --resource-type VPC --traffic-type ALL``.
    """
    recorded: set[str] = set()
    failing = []
    for log in vpc["DescribeFlowLogs"]:
        if log.get("DeliverLogsStatus") == "FAILED":  # omitted until something was delivered
            failing.append(log["FlowLogId"])
        elif log["FlowLogStatus"] == "ACTIVE":
            recorded |= {"ACCEPT", "REJECT"} if log["TrafficType"] == "ALL" else {log["TrafficType"]}
    missing = [kind for kind in traffic if kind not in recorded]
    if missing:
        broken = f"; delivery of {', '.join(failing)} fails" if failing else ""
        return fail(f"no active flow log records traffic of type {', '.join(missing)}{broken}")
    return ok(f"flow logs record traffic of type {', '.join(traffic)}")


def _closed(group: Record, ports: Sequence[int]) -> Verdict:
    """A verdict on single TCP ports."""
    opened = {port: network for port in ports if (network := _anyone(group, "tcp", port, port))}
    if opened:
        return fail(", ".join(f"{network} may reach port {port}" for port, network in opened.items()))
    return ok(f"no rule opens port {', '.join(map(str, ports))} to any address")


def _anyone(group: Record, protocol: str, first: int, last: int) -> str:
    """The network, as large as the internet, whose every address may reach all these ports; empty where there is none.

    Prefix lists are looked at only where the ranges in the rules themselves do not decide, so that one whose entries
    were refused leaves no more unknown than it must.
    """
    rules = [rule for rule in group["IpPermissions"] if _opens(rule, protocol, first, last)]
    ranges = [IPv4Network(block["CidrIp"], strict=False) for rule in rules for block in rule["IpRanges"]]
    ranges6 = [IPv6Network(block["CidrIpv6"], strict=False) for rule in rules for block in rule["Ipv6Ranges"]]
    found = _internet(ranges, ranges6)
    if found:
        return found
    for rule in rules:
        for prefixes in rule["PrefixListIds"]:
            for entry in group["GetManagedPrefixListEntries"][prefixes["PrefixListId"]]:
                if ":" in entry["Cidr"]:
                    ranges6.append(IPv6Network(entry["Cidr"], strict=False))
                else:
                    ranges.append(IPv4Network(entry["Cidr"], strict=False))
    return _internet(ranges, ranges6)


def _opens(rule: Record, protocol: str, first: int, last: int) -> bool:
    """True when a rule admits every port from ``first`` to ``last``."""
    if rule["IpProtocol"] not in PROTOCOLS[protocol]:
        return False
    return rule["IpProtocol"] == "-1" or bool(rule["FromPort"] <= first <= last <= rule["ToPort"])


def _internet(ranges: Sequence[IPv4Network], ranges6: Sequence[IPv6Network]) -> str:
    """The network that holds every address of the internet once the ranges are joined; empty where there is none."""
    for network in collapse_addresses(ranges):
        if INTERNET4.subnet_of(network):
            return str(network)
    for network6 in collapse_addresses(ranges6):
        if INTERNET6.subnet_of(network6):
            return str(network6)
    return ""
