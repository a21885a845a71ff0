"""Amazon EKS clusters: how their control planes are set up, and how many of them are collected."""

from collections.abc import Iterator
from ipaddress import ip_network

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, skip, source

GONE = ("CREATING", "DELETING", "FAILED", "PENDING")
"""States in which a cluster runs nothing, or nothing any more."""


@source(
    "aws.eks.clusters",
    key="name",
    per="region",
    permissions=("eks:ListClusters", "eks:DescribeCluster"),
)
def clusters(aws: Aws) -> Iterator[Row]:
    """Every EKS cluster of the region, whatever its state; clusters of elsewhere that are only shown in EKS are not."""
    for name in aws.pages("eks", "list_clusters", rows="clusters"):
        yield {"name": name, "DescribeCluster": aws.attempt("eks", "describe_cluster", name=name)}


@check(
    "aws.eks.clusters-collected",
    title="No more EKS clusters are in use than Kubernetes clusters are collected",
    severity="high",
    over=("aws.eks.clusters",),
    across="run",
)
def clusters_collected(clusters: Iterator[Record], *, collected_clusters: tuple[str, ...] = ()) -> Verdict:
    """The clusters of all accounts and regions that are read are at most as many as ``collected_clusters``.

    Unless it is set, ``collected_clusters`` is what the plan reads: the names of the connections of kind kubernetes, of
    which each reads one cluster. Which cluster is the one that answers is held by joins.aws.clusters-collected, where
    there is such a connection. Source: ListClusters, DescribeCluster (``status``).
    Remedy: add a connection of kind kubernetes for each cluster.
    """
    found = sorted(row["name"] for row in clusters if row["DescribeCluster"]["cluster"]["status"] not in GONE)
    if not found:
        return skip("no EKS cluster is in use")
    told = f"{len(found)} clusters are in use ({', '.join(found[:10])}), {len(collected_clusters)} are collected"
    return ok(told) if len(found) <= len(collected_clusters) else fail(told)


@check(
    "aws.eks.endpoint-not-public",
    title="The API servers of EKS clusters do not answer the whole internet",
    severity="high",
    each="aws.eks.clusters",
)
def endpoint_not_public(row: Record, *, min_ipv4_bits: int = 8, min_ipv6_bits: int = 32) -> Verdict:
    """The endpoint is private, or every network it answers has a prefix of at least so many bits.

    Source: DescribeCluster (``resourcesVpcConfig``: ``endpointPublicAccess``, ``publicAccessCidrs``). Who reaches the
    endpoint still has to sign in.
    Remedy: ``aws eks update-cluster-config`` with ``endpointPublicAccess=false`` or a short ``publicAccessCidrs``.
    """
    network = row["DescribeCluster"]["cluster"]["resourcesVpcConfig"]
    if not network["endpointPublicAccess"]:
        return ok("the endpoint is private")
    allowed = network["publicAccessCidrs"]
    bits = {4: min_ipv4_bits, 6: min_ipv6_bits}
    told = f"the public endpoint answers {', '.join(allowed)}; limit /{min_ipv4_bits} of IPv4, /{min_ipv6_bits} of IPv6"
    wide = [one for one in map(ip_network, allowed) if one.prefixlen < bits[one.version]]
    return fail(told) if wide else ok(told)


@check(
    "aws.eks.control-plane-logging",
    title="EKS clusters log who asked the control plane for what",
    severity="medium",
    each="aws.eks.clusters",
)
def control_plane_logging(row: Record, *, types: tuple[str, ...] = ("audit", "authenticator")) -> Verdict:
    """Every log of ``types`` is sent to CloudWatch Logs: ``audit`` and ``authenticator``, unless others are named.

    How long they are kept is judged with the log groups. Source: DescribeCluster (``logging.clusterLogging``).
    Remedy: ``aws eks update-cluster-config --logging``.
    """
    groups = row["DescribeCluster"]["cluster"]["logging"]["clusterLogging"]
    on = sorted(name for group in groups if group["enabled"] for name in group["types"])
    told = f"logs that are on: {', '.join(on) or 'none'}; wanted: {', '.join(types)}"
    return ok(told) if set(types) <= set(on) else fail(told)


@check(
    "aws.eks.secrets-encrypted",
    title="EKS clusters encrypt Secrets with a key of KMS that is the customer's",
    severity="medium",
    each="aws.eks.clusters",
)
def secrets_encrypted(row: Record) -> Verdict:
    """The cluster names a KMS key for Secrets.

    Without one AWS encrypts the disks of the control plane, and since Kubernetes 1.28 all objects, with keys of its
    own, whose use the customer neither sees nor can end. Source: DescribeCluster (``encryptionConfig``, left out where
    no key was ever named).
    Remedy: ``aws eks associate-encryption-config``; it cannot be taken back.
    """
    for one in row["DescribeCluster"]["cluster"].get("encryptionConfig", []):
        if "secrets" in one["resources"]:
            return ok(f"Secrets are encrypted with {one['provider']['keyArn']}")
    return fail("no key of KMS is named for Secrets")
