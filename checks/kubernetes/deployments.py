"""Kubernetes workloads: how deployments and their like are read, and what we require of their redundancy."""

from collections.abc import Iterator

from collector.api import Kubernetes, Record, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import APPLIED, SYSTEM, named, pod_redactions, selects

TEMPLATE = pod_redactions("items[].spec.template.spec")


@source(
    "kubernetes.deployments", key="Key", per="connection", permissions=("list apps/deployments",), redactions=TEMPLATE
)
def deployments(cluster: Kubernetes) -> Iterator[Row]:
    """Every deployment of every namespace."""
    yield from cluster.pages("/apis/apps/v1/deployments")


@source(
    "kubernetes.stateful-sets", key="Key", per="connection", permissions=("list apps/statefulsets",),
    redactions=TEMPLATE,
)  # fmt: skip
def stateful_sets(cluster: Kubernetes) -> Iterator[Row]:
    """Every stateful set of every namespace."""
    yield from cluster.pages("/apis/apps/v1/statefulsets")


@source(
    "kubernetes.daemon-sets", key="Key", per="connection", permissions=("list apps/daemonsets",), redactions=TEMPLATE
)
def daemon_sets(cluster: Kubernetes) -> Iterator[Row]:
    """Every daemon set of every namespace."""
    yield from cluster.pages("/apis/apps/v1/daemonsets")


@source(
    "kubernetes.pod-disruption-budgets",
    key="Key",
    per="connection",
    permissions=("list policy/poddisruptionbudgets",),
    redactions=(APPLIED,),
)
def pod_disruption_budgets(cluster: Kubernetes) -> Iterator[Row]:
    """Every pod disruption budget of every namespace."""
    yield from cluster.pages("/apis/policy/v1/poddisruptionbudgets")


@check(
    "kubernetes.deployments.replicated",
    title="Kubernetes deployments run more than once",
    severity="medium",
    each="kubernetes.deployments",
)
def replicated(
    deployment: Record, *, min_replicas: int = 2, exempt_namespaces: tuple[str, ...] = SYSTEM
) -> Verdict:
    """A deployment that is not switched off wants at least ``min_replicas`` pods.

    Source: Deployment (``spec.replicas``, which the API server fills in).
    Remedy: raise spec.replicas.
    """
    wanted = deployment["spec"]["replicas"]
    if deployment["metadata"]["namespace"] in exempt_namespaces:
        return skip("the namespace is exempt")
    if not wanted:
        return skip("the deployment is scaled to nought")
    told = f"{wanted} pods are wanted, at least {min_replicas} required"
    return ok(told) if wanted >= min_replicas else fail(told)


@check(
    "kubernetes.deployments.available",
    title="Kubernetes deployments have all their pods",
    severity="medium",
    each="kubernetes.deployments",
)
def available(deployment: Record) -> Verdict:
    """A deployment has as many available pods as it wants.

    Source: Deployment (``spec.replicas``, ``status.availableReplicas``, left out where it is nought).
    Remedy: ``kubectl describe`` it and see what holds its pods up.
    """
    wanted, there = deployment["spec"]["replicas"], deployment["status"].get("availableReplicas") or 0
    if not wanted:
        return skip("the deployment is scaled to nought")
    told = f"{there} of {wanted} pods are available"
    return ok(told) if there >= wanted else fail(told)


@check(
    "kubernetes.stateful-sets.ready",
    title="Kubernetes stateful sets have all their pods",
    severity="medium",
    each="kubernetes.stateful-sets",
)
def ready(workload: Record) -> Verdict:
    """A stateful set has as many ready pods as it wants.

    Source: StatefulSet (``spec.replicas``, ``status.readyReplicas``, left out where it is nought).
    Remedy: ``kubectl describe`` it and see what holds its pods up.
    """
    wanted, there = workload["spec"]["replicas"], workload["status"].get("readyReplicas") or 0
    if not wanted:
        return skip("the stateful set is scaled to nought")
    told = f"{there} of {wanted} pods are ready"
    return ok(told) if there >= wanted else fail(told)


@check(
    "kubernetes.daemon-sets.everywhere",
    title="Kubernetes daemon sets run on every node they are meant for",
    severity="medium",
    each="kubernetes.daemon-sets",
)
def everywhere(workload: Record) -> Verdict:
    """A daemon set is ready on every node that should have it: agents for logs, networks and watching run so.

    Source: DaemonSet (``status.desiredNumberScheduled``, ``status.numberReady``).
    Remedy: see which node has no ready pod.
    """
    status = workload["status"]
    wanted, there = status["desiredNumberScheduled"], status["numberReady"]
    if not wanted:
        return skip("no node should have it")
    told = f"ready on {there} of {wanted} nodes"
    return ok(told) if there >= wanted else fail(told)


@check(
    "kubernetes.pod-disruption-budgets.cover",
    title="Kubernetes workloads that run more than once keep some pods through maintenance",
    severity="medium",
    over=("kubernetes.deployments", "kubernetes.stateful-sets", "kubernetes.pod-disruption-budgets"),
)
def budgets_cover(
    deployments: Iterator[Record],
    sets: Iterator[Record],
    budgets: Iterator[Record],
    *,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """Every deployment and stateful set with two pods or more is chosen by a disruption budget.

    Source: Deployment, StatefulSet (``spec.template.metadata.labels``), PodDisruptionBudget (``spec.selector``).
    Remedy: add a PodDisruptionBudget with minAvailable.
    """
    held: dict[str, list[Record]] = {}
    for budget in budgets:
        held.setdefault(budget["metadata"]["namespace"], []).append(budget["spec"].get("selector"))
    number, loose = 0, []
    for workload in (*deployments, *sets):
        place, spec = workload["metadata"]["namespace"], workload["spec"]
        if place in exempt_namespaces or spec["replicas"] < 2:
            continue
        number += 1
        labels = spec["template"]["metadata"].get("labels") or {}
        if not any(selects(one, labels) for one in held.get(place, ())):
            loose.append(workload["Key"])
    if loose:
        return fail(f"{len(loose)} of {number} workloads have no disruption budget: {named(loose)}")
    return ok(f"each of {number} workloads has a disruption budget") if number else skip("nothing runs more than once")
