"""The Kubernetes control plane and its nodes: how far the API shows them, and what we require of them."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    GapKind,
    Kubernetes,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)
from collector.workloads import APPLIED, minor, named


@source(
    "kubernetes.version", key="Key", per="connection", permissions=("nonresource /version",), redactions=(APPLIED,)
)
def version(cluster: Kubernetes) -> Iterator[Row]:
    """The API server, with its version."""
    yield {"Key": "version", **cluster.get("/version")}


@source(
    "kubernetes.api-groups", key="name", per="connection", permissions=("nonresource /apis",), redactions=(APPLIED,)
)
def api_groups(cluster: Kubernetes) -> Iterator[Row]:
    """Every API group the cluster serves, those of extensions included, with its versions."""
    yield from cluster.get("/apis")["groups"]


@source("kubernetes.nodes", key="Key", per="connection", permissions=("list nodes",), redactions=(APPLIED,))
def nodes(cluster: Kubernetes) -> Iterator[Row]:
    """Every node."""
    yield from cluster.pages("/api/v1/nodes")


@source(
    "kubernetes.api-servers",
    key="Key",
    per="connection",
    permissions=("list pods",),
    redactions=(
        APPLIED,
        Redaction(
            "kubernetes:GET *", "environment variables may hold credentials: of a proxy, for instance",
            json="items[].spec.*[].env[].value",
        ),
    ),
    filters="pods of kube-system with the label component=kube-apiserver",
)  # fmt: skip
def api_servers(cluster: Kubernetes) -> Iterator[Row]:
    """Every API server that runs as a pod of kube-system, with its options; none where a provider runs it unseen."""
    yield from cluster.pages(
        "/api/v1/namespaces/{namespace}/pods", namespace="kube-system", labelSelector="component=kube-apiserver"
    )


@check(
    "kubernetes.version.supported",
    title="The Kubernetes API server is of a release that is supported",
    severity="high",
    each="kubernetes.version",
)
def supported(
    server: Record,
    *,
    as_of: datetime,
    end_of_support: tuple[str, ...] = (
        "1.33=2026-06-28", "1.34=2026-10-27", "1.35=2027-02-28", "1.36=2027-06-28", "1.37=2027-10-28",
    ),
) -> Verdict:
    """The release of the API server has not reached its day in ``end_of_support``; releases before the first have.

    A release after the last is UNKNOWN until its day is added. A vendor's longer support goes into the same list.
    Source: /version (``gitVersion``); the days are those kubernetes.io names.
    Remedy: upgrade, one minor version at a time.
    """  # fmt: skip
    ends = {minor(item.partition("=")[0]): item.partition("=")[2] for item in end_of_support}
    release = minor(server["gitVersion"])
    if release in ends:
        left = days_between(as_of, instant(f"{ends[release]}T00:00:00Z"))
        told = f"{server['gitVersion']} is supported until {ends[release]}"
        return ok(told) if left > 0 else fail(f"{server['gitVersion']} was supported until {ends[release]}")
    if release > max(ends):
        reason = f"the end of support of {server['gitVersion']} is not known here; add it to end_of_support"
        raise Unavailable(GapKind.UNSUPPORTED, reason)
    return fail(f"{server['gitVersion']} is older than every release that is supported")


@check(
    "kubernetes.api-groups.no-alpha",
    title="Kubernetes serves no interface that may change from day to day",
    severity="low",
    each="kubernetes.api-groups",
)
def no_alpha(group: Record) -> Verdict:
    """A group of Kubernetes itself is served in no alpha version, which is off unless somebody switches it on.

    Source: /apis (``groups[].versions``). Groups of others are skipped: what a version means there is theirs.
    Remedy: take it out of --runtime-config.
    """
    if "." in group["name"] and not group["name"].endswith(".k8s.io"):
        return skip("not a group of Kubernetes")
    versions = [item["version"] for item in group["versions"]]
    early = [one for one in versions if "alpha" in one]
    return fail(f"serves {', '.join(early)}, limit none") if early else ok(f"serves {', '.join(versions)}")


def _server(servers: Iterator[Record]) -> str:
    """The version of the API server.

    Raises:
        Unavailable: it was not told.
    """
    told = next(servers, None)
    if told is None:
        raise Unavailable(GapKind.UNPROVEN, "the version of the API server was not told")
    return str(told["gitVersion"])


def _reported(node: Record, field: str) -> str:
    """What the kubelet reported of its node; empty until it does: the API server fills every field with "" before."""
    return str((node["status"].get("nodeInfo") or {}).get(field) or "")


def _silent(nodes: list[str], field: str) -> Unavailable:
    """That nodes were registered and their kubelets have not reported."""
    return Unavailable(GapKind.UNPROVEN, f"{len(nodes)} nodes have not reported their {field}: {named(nodes)}")


@check(
    "kubernetes.nodes.version-skew",
    title="Kubernetes nodes are of a version the API server works with",
    severity="medium",
    over=("kubernetes.version", "kubernetes.nodes"),
)
def version_skew(servers: Iterator[Record], nodes: Iterator[Record], *, max_minors_behind: int = 3) -> Verdict:
    """No kubelet is newer than the API server, nor more than ``max_minors_behind`` minor versions older.

    While a node has not reported its version, no more than a failure of another one can be concluded.
    Source: /version (``gitVersion``), Node (``status.nodeInfo.kubeletVersion``).
    Remedy: upgrade the nodes after the control plane.
    """
    server = _server(servers)
    major, newest = minor(server)
    number, wrong, silent = 0, [], []
    for node in nodes:
        number += 1
        kubelet = _reported(node, "kubeletVersion")
        if not kubelet:
            silent.append(node["Key"])
        elif not (major, newest - max_minors_behind) <= minor(kubelet) <= (major, newest):
            wrong.append(f"{node['Key']} {kubelet}")
    told = f"API server {server}, kubelets at most {max_minors_behind} minor versions behind"
    if wrong:
        return fail(f"{told}: {len(wrong)} of {number} nodes are not: {named(wrong)}")
    if silent:
        raise _silent(silent, "kubeletVersion")
    return ok(f"{told}: all {number} nodes are") if number else skip("there is no node")


@check(
    "kubernetes.nodes.alike",
    title="Kubernetes nodes run the same software",
    severity="low",
    over=("kubernetes.nodes",),
)
def alike(nodes: Iterator[Record], *, max_builds: int = 2) -> Verdict:
    """The nodes run at most ``max_builds`` combinations of kubelet, runtime, operating system and kernel.

    While a node has not reported what it runs, no more than a failure of the others can be concluded.
    Source: Node (``status.nodeInfo``). Two are usual while nodes are being replaced.
    Remedy: replace the nodes that lag behind.
    """
    fields = ("kubeletVersion", "containerRuntimeVersion", "osImage", "kernelVersion")
    builds: Counter[str] = Counter()
    silent = []
    for node in nodes:
        told = [_reported(node, field) for field in fields]
        if all(told):
            builds[", ".join(told)] += 1
        else:
            silent.append(node["Key"])
    said = f"{builds.total()} nodes run {len(builds)} builds, limit {max_builds}"
    if len(builds) > max_builds:
        return fail(f"{said}: {named(builds)}")
    if silent:
        raise _silent(silent, "nodeInfo")
    return ok(said) if builds else skip("there is no node")


@check(
    "kubernetes.nodes.zones",
    title="Kubernetes nodes stand in more than one zone",
    severity="medium",
    over=("kubernetes.nodes",),
)
def zones(nodes: Iterator[Record], *, min_zones: int = 2) -> Verdict:
    """The nodes that take pods stand in at least ``min_zones`` zones.

    Source: Node (the label topology.kubernetes.io/zone, ``spec.unschedulable``).
    Remedy: add nodes in another zone.
    """
    held = [
        (node["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone")
        for node in nodes
        if not node["spec"].get("unschedulable")
    ]
    if not held:
        return skip("no node takes pods")
    found = {zone for zone in held if zone}
    told = f"{len(held)} nodes stand in {len(found)} zones that are named, at least {min_zones} wanted"
    return ok(told) if len(found) >= min_zones else fail(told)


def _condition(node: Record, kind: str) -> str:
    """Status of a condition: True, False or Unknown."""
    return next((item["status"] for item in node["status"].get("conditions") or () if item["type"] == kind), "Unknown")


@check(
    "kubernetes.nodes.ready",
    title="Kubernetes nodes are ready",
    severity="medium",
    each="kubernetes.nodes",
)
def ready(node: Record) -> Verdict:
    """The condition Ready of a node is True.

    Source: Node (``status.conditions``).
    Remedy: see the kubelet of the node, or take the node out.
    """
    said = _condition(node, "Ready")
    return ok("Ready is True") if said == "True" else fail(f"Ready is {said}")


@check(
    "kubernetes.nodes.no-pressure",
    title="Kubernetes nodes have memory, disk and processes left",
    severity="medium",
    each="kubernetes.nodes",
)
def no_pressure(node: Record) -> Verdict:
    """The conditions MemoryPressure, DiskPressure and PIDPressure of a node are False.

    Source: Node (``status.conditions``).
    Remedy: add a node, or move pods.
    """
    said = {kind: _condition(node, kind) for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")}
    wrong = [f"{kind} is {status}" for kind, status in said.items() if status != "False"]
    return fail(", ".join(wrong)) if wrong else ok("no pressure is told")


@check(
    "kubernetes.nodes.runtime",
    title="Kubernetes nodes run a container runtime that is recent enough",
    severity="medium",
    each="kubernetes.nodes",
)
def runtime(node: Record, *, min_versions: tuple[str, ...] = ("containerd=1.7", "cri-o=1.31")) -> Verdict:
    """The container runtime of a node is among ``min_versions``, and no older.

    Source: Node (``status.nodeInfo.containerRuntimeVersion``).
    Remedy: replace the node by one with a newer image.
    """
    told = _reported(node, "containerRuntimeVersion")
    if not told:
        raise _silent([node["Key"]], "containerRuntimeVersion")
    name, _, number = told.partition("://")
    least = dict(item.split("=") for item in min_versions).get(name)
    if least is None:
        return fail(f"{told} is none of {', '.join(item.partition('=')[0] for item in min_versions)}")
    told += f", at least {least} wanted"
    return ok(told) if minor(number) >= minor(least) else fail(told)


def _options(pod: Record) -> dict[str, str]:
    """The options an API server was started with; one without a value is true."""
    found = {}
    for container in pod["spec"]["containers"]:
        if container["name"] == "kube-apiserver":
            for word in [*(container.get("command") or ()), *(container.get("args") or ())]:
                if option := re.fullmatch(r"--([a-z0-9-]+)(?:=(.*))?", word, re.DOTALL):
                    found[option[1]] = "true" if option[2] is None else option[2]
    if not found:
        raise Unavailable(GapKind.UNPROVEN, "the pod shows no options of the API server")
    return found


@check(
    "kubernetes.api-servers.audit",
    title="Kubernetes API servers write an audit log",
    severity="high",
    each="kubernetes.api-servers",
)
def audit(server: Record) -> Verdict:
    """An API server has an audit policy, and a file or webhook for the log.

    Source: Pod (the options --audit-policy-file, --audit-log-path, --audit-webhook-config-file).
    Remedy: set them.
    """
    options = _options(server)
    if "audit-policy-file" not in options:
        return fail("there is no audit policy, so nothing is logged")
    goes = [name for name in ("audit-log-path", "audit-webhook-config-file") if options.get(name)]
    return ok(f"the audit log goes to {', '.join(goes)}") if goes else fail("the audit log goes nowhere")


@check(
    "kubernetes.api-servers.audit-kept",
    title="Kubernetes API servers keep their audit log",
    severity="medium",
    each="kubernetes.api-servers",
)
def audit_kept(server: Record, *, min_days: int = 30) -> Verdict:
    """Audit log files of an API server are kept for at least ``min_days``, or the log is sent away.

    Source: Pod (the options --audit-log-maxage in days, nought or none for no limit, and --audit-webhook-config-file).
    Where an age is set, the size and number of files may still end them sooner (--audit-log-maxsize,
    --audit-log-maxbackup); where none is, a number of files (--audit-log-maxbackup) promises no days.
    Remedy: set --audit-log-maxage.
    """
    options = _options(server)
    if "audit-policy-file" not in options:
        return skip("there is no audit policy, so nothing is logged")
    if options.get("audit-webhook-config-file"):
        return ok("the log is sent away")
    if not options.get("audit-log-path"):
        return skip("no audit log file is written")
    days = int(options.get("audit-log-maxage", "0"))
    if not days and int(options.get("audit-log-maxbackup", "0")):
        return fail(f"the last {options['audit-log-maxbackup']} files are kept, for no number of days")
    if not days:
        return ok("neither age nor number is set at which a file is deleted")
    told = f"files are kept for {days} days, at least {min_days} wanted"
    return ok(told) if days >= min_days else fail(told)


@check(
    "kubernetes.api-servers.secrets-encrypted",
    title="Kubernetes API servers encrypt what they store",
    severity="high",
    each="kubernetes.api-servers",
)
def secrets_encrypted(server: Record) -> Verdict:
    """An API server has a configuration for encryption at rest.

    Source: Pod (the option --encryption-provider-config). What the file says is not visible: which objects it covers,
    and whether its first provider encrypts at all.
    Remedy: write an EncryptionConfiguration for Secrets, and rewrite them.
    """
    file = _options(server).get("encryption-provider-config")
    return ok(f"encryption is configured in {file}") if file else fail("no encryption at rest is configured")


@check(
    "kubernetes.api-servers.no-anonymous",
    title="Kubernetes API servers answer nobody who has not signed in",
    severity="medium",
    each="kubernetes.api-servers",
)
def no_anonymous(server: Record) -> Verdict:
    """Anonymous requests to an API server are switched off, or left to a file that names where they are allowed.

    Source: Pod (the options --anonymous-auth, which is true where it is left out, and --authentication-config).
    Remedy: set --anonymous-auth=false, or allow it for the health addresses in --authentication-config.
    """
    options = _options(server)
    if options.get("authentication-config"):
        return skip("a file decides, which is not visible")
    said = options.get("anonymous-auth", "true")
    return ok("anonymous requests are refused") if said == "false" else fail("anonymous requests are let in")


@check(
    "kubernetes.api-servers.authorization",
    title="Kubernetes API servers decide by roles",
    severity="critical",
    each="kubernetes.api-servers",
)
def authorization(server: Record) -> Verdict:
    """The authorization modes of an API server include Node and RBAC, and not AlwaysAllow.

    Source: Pod (the options --authorization-mode and --authorization-config).
    Remedy: set --authorization-mode=Node,RBAC.
    """
    options = _options(server)
    if options.get("authorization-config"):
        return skip("a file decides, which is not visible")
    modes = options.get("authorization-mode", "AlwaysAllow").split(",")
    right = {"Node", "RBAC"} <= set(modes) and "AlwaysAllow" not in modes
    told = f"the modes are {', '.join(modes)}"
    return ok(told) if right else fail(f"{told}, wanted Node and RBAC without AlwaysAllow")


@check(
    "kubernetes.api-servers.nodes-restricted",
    title="Kubernetes API servers let nodes change themselves only",
    severity="high",
    each="kubernetes.api-servers",
)
def nodes_restricted(server: Record) -> Verdict:
    """NodeRestriction is among the admission plug-ins of an API server, and PodSecurity is not switched off.

    Source: Pod (the options --enable-admission-plugins, --disable-admission-plugins).
    Remedy: set --enable-admission-plugins=NodeRestriction.
    """
    options = _options(server)
    if "NodeRestriction" not in options.get("enable-admission-plugins", "").split(","):
        return fail("NodeRestriction is not among the admission plug-ins")
    off = {"NodeRestriction", "PodSecurity"} & set(options.get("disable-admission-plugins", "").split(","))
    return fail(f"{named(off)} is switched off") if off else ok("NodeRestriction is among the admission plug-ins")


@check(
    "kubernetes.api-servers.tls",
    title="Kubernetes API servers refuse old TLS",
    severity="medium",
    each="kubernetes.api-servers",
)
def tls(server: Record) -> Verdict:
    """The least TLS version of an API server is 1.2, which it is by default, or later.

    Source: Pod (the option --tls-min-version).
    Remedy: set --tls-min-version=VersionTLS12.
    """
    least = _options(server).get("tls-min-version") or "VersionTLS12"
    told = f"the least version is {least}"
    return ok(told) if least in ("VersionTLS12", "VersionTLS13") else fail(f"{told}, at least VersionTLS12 wanted")
