"""Kubernetes namespaces: how they and their bounds are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Kubernetes, Record, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import APPLIED, SYSTEM, named, quantity, running

ENFORCE, AUDIT, WARN = (f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn"))


@source(
    "kubernetes.namespaces", key="Key", per="connection", permissions=("list namespaces",), redactions=(APPLIED,)
)
def namespaces(cluster: Kubernetes) -> Iterator[Row]:
    """Every namespace."""
    yield from cluster.pages("/api/v1/namespaces")


@source(
    "kubernetes.resource-quotas",
    key="Key",
    per="connection",
    permissions=("list resourcequotas",),
    redactions=(APPLIED,),
)
def resource_quotas(cluster: Kubernetes) -> Iterator[Row]:
    """Every resource quota of every namespace, with what is used of it."""
    yield from cluster.pages("/api/v1/resourcequotas")


@source(
    "kubernetes.limit-ranges", key="Key", per="connection", permissions=("list limitranges",), redactions=(APPLIED,)
)
def limit_ranges(cluster: Kubernetes) -> Iterator[Row]:
    """Every limit range of every namespace."""
    yield from cluster.pages("/api/v1/limitranges")


@check(
    "kubernetes.namespaces.pod-security-enforced",
    title="Kubernetes namespaces enforce a Pod Security Standard",
    severity="high",
    each="kubernetes.namespaces",
)
def pod_security_enforced(
    namespace: Record,
    *,
    levels: tuple[str, ...] = ("baseline", "restricted"),
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """The label pod-security.kubernetes.io/enforce of a namespace is one of ``levels``.

    A default that the API server is started with is not visible here, nor what another admission controller enforces.
    Source: Namespace (``metadata.labels``).
    Remedy: ``kubectl label namespace NAME pod-security.kubernetes.io/enforce=baseline``.
    """
    if namespace["Key"] in exempt_namespaces:
        return skip("the namespace is exempt")
    level = (namespace["metadata"].get("labels") or {}).get(ENFORCE)
    told = f"enforced is {level}" if level else "nothing is enforced"
    return ok(told) if level in levels else fail(f"{told}, wanted {' or '.join(levels)}")


@check(
    "kubernetes.namespaces.pod-security-watched",
    title="Kubernetes namespaces tell of pods that are not restricted",
    severity="low",
    each="kubernetes.namespaces",
)
def pod_security_watched(namespace: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """A namespace enforces the level restricted, or audits or warns of what does not reach it.

    Source: Namespace (``metadata.labels``).
    Remedy: ``kubectl label namespace NAME pod-security.kubernetes.io/audit=restricted``.
    """
    if namespace["Key"] in exempt_namespaces:
        return skip("the namespace is exempt")
    labels = namespace["metadata"].get("labels") or {}
    modes = [name.rpartition("/")[2] for name in (ENFORCE, AUDIT, WARN) if labels.get(name) == "restricted"]
    if modes:
        return ok(f"restricted is set to {', '.join(modes)}")
    return fail("restricted is neither enforced nor audited nor warned of")


@check(
    "kubernetes.namespaces.owned",
    title="Kubernetes namespaces name their owner",
    severity="low",
    each="kubernetes.namespaces",
)
def owned(
    namespace: Record,
    *,
    owner_labels: tuple[str, ...] = ("owner", "team"),
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """A namespace has one of ``owner_labels`` as label or annotation, and it is not empty.

    Source: Namespace (``metadata.labels``, ``metadata.annotations``).
    Remedy: ``kubectl label namespace NAME owner=TEAM``.
    """
    if namespace["Key"] in exempt_namespaces:
        return skip("the namespace is exempt")
    about = namespace["metadata"]
    told = {**(about.get("annotations") or {}), **(about.get("labels") or {})}
    owners = [f"{name} is {told[name]}" for name in owner_labels if told.get(name)]
    return ok(owners[0]) if owners else fail(f"none of {', '.join(owner_labels)} is set")


def _without(
    namespaces: Iterator[Record], pods: Iterator[Record], bounded: set[str], exempt: tuple[str, ...]
) -> tuple[int, list[str]]:
    """How many namespaces have running pods, and which of them are not bounded."""
    used = {pod["metadata"]["namespace"] for pod in running(pods)}
    judged = [one["Key"] for one in namespaces if one["Key"] in used and one["Key"] not in exempt]
    return len(judged), [name for name in judged if name not in bounded]


@check(
    "kubernetes.resource-quotas.everywhere",
    title="Kubernetes namespaces with pods have a quota",
    severity="medium",
    over=("kubernetes.namespaces", "kubernetes.pods", "kubernetes.resource-quotas"),
)
def quotas_everywhere(
    namespaces: Iterator[Record],
    pods: Iterator[Record],
    quotas: Iterator[Record],
    *,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """Every namespace in which pods run has a quota for memory or processor time.

    Source: Namespace, Pod, ResourceQuota (``spec.hard``).
    Remedy: add a ResourceQuota with limits.cpu and limits.memory.
    """
    words = ("cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory")
    bounded = {quota["metadata"]["namespace"] for quota in quotas if set(words) & set(quota["spec"].get("hard") or ())}
    number, without = _without(namespaces, pods, bounded, exempt_namespaces)
    if without:
        return fail(f"{len(without)} of {number} namespaces with pods have no quota: {named(without)}")
    return ok(f"each of {number} namespaces with pods has a quota") if number else skip("no namespace has pods")


@check(
    "kubernetes.limit-ranges.everywhere",
    title="Kubernetes namespaces with pods give containers a limit by default",
    severity="low",
    over=("kubernetes.namespaces", "kubernetes.pods", "kubernetes.limit-ranges"),
)
def limits_everywhere(
    namespaces: Iterator[Record],
    pods: Iterator[Record],
    ranges: Iterator[Record],
    *,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """Every namespace in which pods run has a limit range with a default memory limit for containers.

    Source: Namespace, Pod, LimitRange (``spec.limits``).
    Remedy: add a LimitRange of type Container with default.memory.
    """
    bounded = {
        one["metadata"]["namespace"]
        for one in ranges
        for item in one["spec"]["limits"] or ()  # null where a range has none
        if item["type"] == "Container" and "memory" in (item.get("default") or ())
    }
    number, without = _without(namespaces, pods, bounded, exempt_namespaces)
    if without:
        return fail(f"{len(without)} of {number} namespaces with pods have no default limit: {named(without)}")
    return ok(f"each of {number} namespaces with pods has a default limit") if number else skip("no namespace has pods")


@check(
    "kubernetes.resource-quotas.headroom",
    title="Kubernetes quotas are not used up",
    severity="low",
    each="kubernetes.resource-quotas",
)
def headroom(quota: Record, *, max_used_pct: int = 90) -> Verdict:
    """At most ``max_used_pct`` per cent of each amount of a quota are used.

    Source: ResourceQuota (``status.hard``, ``status.used``). An amount of nought forbids and is not counted.
    Remedy: raise the quota, or use less.
    """
    hard, used = quota["status"].get("hard") or {}, quota["status"].get("used") or {}
    shares = {
        name: 100 * quantity(used[name]) / quantity(amount) for name, amount in hard.items() if quantity(amount) > 0
    }
    if not shares:
        return skip("the quota bounds no amount")
    name = max(shares, key=lambda one: shares[one])
    told = f"{name} is used to {shares[name]:.0f} per cent, limit {max_used_pct}"
    return ok(told) if shares[name] <= max_used_pct else fail(told)
