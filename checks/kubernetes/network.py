"""Kubernetes networks: how policies, ingresses and services are read, and what we require of what can reach what."""

from collections.abc import Iterator, Mapping
from typing import Any

from collector.api import Kubernetes, Record, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import APPLIED, SYSTEM, named, running, selects


@source(
    "kubernetes.network-policies",
    key="Key",
    per="connection",
    permissions=("list networking.k8s.io/networkpolicies",),
    redactions=(APPLIED,),
)
def network_policies(cluster: Kubernetes) -> Iterator[Row]:
    """Every network policy of every namespace; policies of a network plug-in's own kinds are not among them."""
    yield from cluster.pages("/apis/networking.k8s.io/v1/networkpolicies")


@source(
    "kubernetes.ingresses",
    key="Key",
    per="connection",
    permissions=("list networking.k8s.io/ingresses",),
    redactions=(APPLIED,),
)
def ingresses(cluster: Kubernetes) -> Iterator[Row]:
    """Every ingress of every namespace; routes of the Gateway API are not among them."""
    yield from cluster.pages("/apis/networking.k8s.io/v1/ingresses")


@source("kubernetes.services", key="Key", per="connection", permissions=("list services",), redactions=(APPLIED,))
def services(cluster: Kubernetes) -> Iterator[Row]:
    """Every service of every namespace."""
    yield from cluster.pages("/api/v1/services")


def _types(policy: Record) -> list[str]:
    """What a policy isolates; the API server fills it in."""
    spec = policy["spec"]
    return list(spec.get("policyTypes") or ("Ingress", *(("Egress",) if spec.get("egress") else ())))


def _everything(policy: Record) -> bool:
    """Whether a policy is for every pod of its namespace."""
    selector = policy["spec"].get("podSelector") or {}
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def _default_deny(
    way: str, namespaces: Iterator[Record], pods: Iterator[Record], policies: Iterator[Record], exempt: tuple[str, ...]
) -> Verdict:
    closed = {
        policy["metadata"]["namespace"]
        for policy in policies
        if _everything(policy) and way in _types(policy) and not policy["spec"].get(way.lower())
    }
    used = {pod["metadata"]["namespace"] for pod in running(pods)}
    judged = [one["Key"] for one in namespaces if one["Key"] in used and one["Key"] not in exempt]
    loose = [name for name in judged if name not in closed]
    if loose:
        return fail(f"{len(loose)} of {len(judged)} namespaces with pods deny nothing by default: {named(loose)}")
    return ok(f"each of {len(judged)} namespaces with pods denies by default") if judged else skip("no pod runs there")


@check(
    "kubernetes.network-policies.default-deny-ingress",
    title="Kubernetes namespaces with pods deny incoming traffic by default",
    severity="high",
    over=("kubernetes.namespaces", "kubernetes.pods", "kubernetes.network-policies"),
)
def default_deny_ingress(
    namespaces: Iterator[Record],
    pods: Iterator[Record],
    policies: Iterator[Record],
    *,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """Every namespace in which pods run has a policy for all its pods of type Ingress that allows nothing.

    Source: Namespace, Pod, NetworkPolicy (``spec``). Whether the network plug-in obeys policies is not visible.
    Remedy: add a NetworkPolicy with podSelector {} and policyTypes [Ingress].
    """
    return _default_deny("Ingress", namespaces, pods, policies, exempt_namespaces)


@check(
    "kubernetes.network-policies.default-deny-egress",
    title="Kubernetes namespaces with pods deny outgoing traffic by default",
    severity="medium",
    over=("kubernetes.namespaces", "kubernetes.pods", "kubernetes.network-policies"),
)
def default_deny_egress(
    namespaces: Iterator[Record],
    pods: Iterator[Record],
    policies: Iterator[Record],
    *,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """Every namespace in which pods run has a policy for all its pods of type Egress that allows nothing.

    Source: Namespace, Pod, NetworkPolicy (``spec``). Whether the network plug-in obeys policies is not visible.
    Remedy: add a NetworkPolicy with podSelector {} and policyTypes [Egress], and one that allows name resolution.
    """
    return _default_deny("Egress", namespaces, pods, policies, exempt_namespaces)


@check(
    "kubernetes.network-policies.pods-isolated",
    title="Kubernetes pods are isolated by a network policy",
    severity="medium",
    over=("kubernetes.pods", "kubernetes.network-policies"),
)
def pods_isolated(
    pods: Iterator[Record],
    policies: Iterator[Record],
    *,
    min_pct: int = 100,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """At least ``min_pct`` per cent of the running pods are chosen by a policy of type Ingress.

    Pods in the network of their node are not counted: no policy is for them.
    Source: Pod (``metadata.labels``, ``spec.hostNetwork``), NetworkPolicy (``spec.podSelector``).
    Remedy: add a policy that chooses them.
    """
    held: dict[str, list[Mapping[str, Any]]] = {}
    for policy in policies:
        if "Ingress" in _types(policy):
            held.setdefault(policy["metadata"]["namespace"], []).append(policy["spec"].get("podSelector") or {})
    number, open_pods = 0, []
    for pod in running(pods):
        about = pod["metadata"]
        if about["namespace"] in exempt_namespaces or pod["spec"].get("hostNetwork"):
            continue
        number += 1
        if not any(selects(one, about.get("labels") or {}) for one in held.get(about["namespace"], ())):
            open_pods.append(pod["Key"])
    if not number:
        return skip("no pod runs there")
    told = f"{number - len(open_pods)} of {number} pods are isolated, at least {min_pct} per cent wanted"
    if (number - len(open_pods)) * 100 >= min_pct * number:
        return ok(told)
    return fail(f"{told}: {named(open_pods)} are not")


@check(
    "kubernetes.network-policies.no-allow-all",
    title="No Kubernetes network policy allows everything",
    severity="medium",
    each="kubernetes.network-policies",
)
def no_allow_all(policy: Record) -> Verdict:
    """No rule of a policy is empty, which allows every peer and every port.

    Source: NetworkPolicy (``spec.ingress``, ``spec.egress``).
    Remedy: name the peers or the ports.
    """
    wide = [
        way
        for way in ("ingress", "egress")
        for rule in policy["spec"].get(way) or ()
        if not rule.get("from") and not rule.get("to") and not rule.get("ports")
    ]
    return fail(f"a rule for {named(wide)} allows everything") if wide else ok("no rule allows everything")


def _every(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts of a TLS entry that names none: all of them, where it names a certificate."""
    return ("*",) if item.get("secretName") else ()


@check(
    "kubernetes.ingresses.tls",
    title="Kubernetes ingresses offer TLS for every host",
    severity="high",
    each="kubernetes.ingresses",
)
def tls(ingress: Record) -> Verdict:
    """Every host of an ingress is among the hosts of its TLS section.

    An entry of that section with a certificate and no hosts is for all of them.
    Source: Ingress (``spec.rules[].host``, ``spec.tls[].hosts``). What a load balancer in front of it does, or a
    certificate the controller has by default, is not visible; nor whether plain HTTP is sent on to TLS.
    Remedy: add the host to spec.tls with a Secret that holds its certificate.
    """
    spec = ingress["spec"]
    covered = {host for item in spec.get("tls") or () for host in item.get("hosts") or _every(item)}
    hosts = {rule.get("host") or "*" for rule in spec.get("rules") or ()} or {"*"}
    bare = [host for host in hosts if not {"*", host} & covered and f"*.{host.partition('.')[2]}" not in covered]
    return fail(f"no TLS for {named(bare)}") if bare else ok(f"TLS for {named(hosts)}")


@check(
    "kubernetes.ingresses.hosts-named",
    title="Kubernetes ingresses answer for named hosts only",
    severity="low",
    each="kubernetes.ingresses",
)
def hosts_named(ingress: Record) -> Verdict:
    """An ingress has no default backend, and each of its rules names one host.

    Source: Ingress (``spec.rules[].host``, ``spec.defaultBackend``).
    Remedy: name the host in every rule.
    """
    spec = ingress["spec"]
    hosts = [rule.get("host") or "" for rule in spec.get("rules") or ()]
    wide = [host for host in hosts if not host or host.startswith("*")]
    if spec.get("defaultBackend"):
        return fail("a default backend answers for every host")
    return fail(f"{len(wide)} of {len(hosts)} rules name no single host") if wide else ok(f"answers for {named(hosts)}")


INTERNAL = {
    "cloud.google.com/load-balancer-type": "internal",
    "networking.gke.io/load-balancer-type": "internal",
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
}
"""Annotations with which a load balancer gets no address that is reached from everywhere."""


@check(
    "kubernetes.services.load-balancers-restricted",
    title="Kubernetes load balancers admit named networks only",
    severity="medium",
    each="kubernetes.services",
)
def load_balancers_restricted(service: Record, *, public_services: tuple[str, ...] = ()) -> Verdict:
    """A service of type LoadBalancer names the networks it admits, and none is every address.

    Services in ``public_services`` (``namespace/name``) are meant for everybody. One that an annotation of AWS, Azure
    or Google makes internal is reached from the networks of the cluster only.
    Source: Service (``spec.type``, ``spec.loadBalancerSourceRanges``, ``metadata.annotations``).
    Remedy: set spec.loadBalancerSourceRanges.
    """
    spec = service["spec"]
    if spec["type"] != "LoadBalancer":
        return skip(f"type is {spec['type']}")
    if service["Key"] in public_services:
        return skip("meant for everybody")
    told = service["metadata"].get("annotations") or {}
    if inside := next((name for name, value in INTERNAL.items() if str(told.get(name, "")).casefold() == value), ""):
        return ok(f"internal, by {inside}")
    ranges = spec.get("loadBalancerSourceRanges") or []
    if not ranges:
        return fail("admits every address: no networks are named")
    if any(one.endswith("/0") for one in ranges):
        return fail(f"admits every address: {named(ranges)}")
    return ok(f"admits {named(ranges)}")


@check(
    "kubernetes.services.no-node-ports",
    title="Kubernetes services open no port on every node",
    severity="low",
    each="kubernetes.services",
)
def no_node_ports(service: Record, *, exempt_services: tuple[str, ...] = ()) -> Verdict:
    """A service is not of type NodePort, unless it is one of ``exempt_services`` (``namespace/name``).

    Source: Service (``spec.type``).
    Remedy: use type ClusterIP behind an ingress.
    """
    if service["Key"] in exempt_services:
        return skip("the service is exempt")
    kind = service["spec"]["type"]
    return fail("a port of every node leads to it") if kind == "NodePort" else ok(f"type is {kind}")


@check(
    "kubernetes.services.no-external-addresses",
    title="Kubernetes services take no address that is not theirs",
    severity="medium",
    each="kubernetes.services",
)
def no_external_addresses(service: Record) -> Verdict:
    """A service names no external addresses: with them it draws traffic to any address to itself.

    Source: Service (``spec.externalIPs``).
    Remedy: take them out; refuse them at admission.
    """
    found = service["spec"].get("externalIPs") or []
    return fail(f"takes {named(found)}") if found else ok("takes no external address")
