"""Reports of the Trivy operator in Kubernetes, where it is installed: vulnerabilities of what runs."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Kubernetes, Record, Row, Verdict, check, days_between, fail, instant, ok, skip, source
from collector.workloads import APPLIED, SYSTEM, named, running

GROUP = "aquasecurity.github.io"
LABEL = "trivy-operator"
SCANNED = ("DaemonSet", "ReplicaSet", "StatefulSet")


@source(
    "kubernetes.vulnerability-reports",
    key="Key",
    per="connection",
    permissions=(f"list {GROUP}/vulnerabilityreports", "nonresource /apis"),
    redactions=(APPLIED,),
)
def vulnerability_reports(cluster: Kubernetes) -> Iterator[Row]:
    """Every report of the Trivy operator on the image of a container; none where it is not installed."""
    yield from cluster.extension(GROUP, "vulnerabilityreports", ("v1alpha1",))


@check(
    "kubernetes.vulnerability-reports.none-to-mend",
    title="Images in Kubernetes have no grave vulnerability that could be mended",
    severity="high",
    each="kubernetes.vulnerability-reports",
)
def none_to_mend(
    report: Record, *, severities: tuple[str, ...] = ("CRITICAL",), max_open: int = 0
) -> Verdict:
    """At most ``max_open`` vulnerabilities of ``severities`` are told of for which a mended version exists.

    Source: VulnerabilityReport (``report.vulnerabilities[].severity``, ``fixedVersion``, empty where there is none).
    Remedy: build the image anew from a mended base.
    """
    found = {
        item["vulnerabilityID"]
        for item in report["report"]["vulnerabilities"]
        if item["severity"] in severities and item["fixedVersion"]
    }
    told = f"{len(found)} vulnerabilities ({', '.join(severities).lower()}) have a mended version, limit {max_open}"
    return ok(told) if len(found) <= max_open else fail(f"{told}: {named(found)}")


@check(
    "kubernetes.vulnerability-reports.fresh",
    title="Images in Kubernetes are searched for vulnerabilities again and again",
    severity="medium",
    each="kubernetes.vulnerability-reports",
)
def fresh(report: Record, *, as_of: datetime, max_age_days: int = 7) -> Verdict:
    """A report was written at most ``max_age_days`` before the day of collection.

    Source: VulnerabilityReport (``report.updateTimestamp``).
    Remedy: let the operator renew its reports (operator.scannerReportTTL).
    """
    age = days_between(instant(report["report"]["updateTimestamp"]), as_of)
    told = f"written {age} days ago, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "kubernetes.vulnerability-reports.everywhere",
    title="Every image that runs in Kubernetes was searched for vulnerabilities",
    severity="high",
    over=("kubernetes.pods", "kubernetes.vulnerability-reports", "kubernetes.api-groups"),
)
def everywhere(
    pods: Iterator[Record],
    reports: Iterator[Record],
    groups: Iterator[Record],
    *,
    min_pct: int = 95,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """At least ``min_pct`` per cent of the containers that run have a report, where the Trivy operator is installed.

    Containers of pods that a replica set, stateful set or daemon set made: the operator reports on what made the pod.
    Source: Pod (``metadata.ownerReferences``, ``spec.containers``), VulnerabilityReport (``metadata.labels``), /apis.
    Remedy: see the log of the operator; give it access to the registry.
    """
    if GROUP not in {group["name"] for group in groups}:
        return skip("the Trivy operator is not installed")
    known = set()
    for report in reports:
        labels = report["metadata"].get("labels") or {}
        known.add(tuple(labels.get(f"{LABEL}.{name}") for name in
                        ("resource.namespace", "resource.kind", "resource.name", "container.name")))  # fmt: skip
    wanted = {
        (pod["metadata"]["namespace"], owner["kind"], owner["name"], container["name"])
        for pod in running(pods)
        for owner in pod["metadata"].get("ownerReferences") or ()
        for container in pod["spec"]["containers"]
        if owner["kind"] in SCANNED and pod["metadata"]["namespace"] not in exempt_namespaces
    }
    if not wanted:
        return skip("no such container runs")
    left = wanted - known
    told = f"{len(wanted) - len(left)} of {len(wanted)} containers have a report, at least {min_pct} per cent wanted"
    if (len(wanted) - len(left)) * 100 >= min_pct * len(wanted):
        return ok(told)
    return fail(f"{told}; none for {named('/'.join(one) for one in left)}")
