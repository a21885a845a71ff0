"""Reports of policy engines in Kubernetes, where one is installed: what they found, and whether they enforce it."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from collector.api import GapKind, Kubernetes, Record, Row, Unavailable, Verdict, check, fail, instant, ok, source
from collector.workloads import APPLIED

REPORTS = "wgpolicyk8s.io"
GATEKEEPER = "constraints.gatekeeper.sh"
RESULTS = ("pass", "fail", "warn", "error", "skip")


@source(
    "kubernetes.policy-reports",
    key="Key",
    per="connection",
    permissions=(f"list {REPORTS}/policyreports", f"list {REPORTS}/clusterpolicyreports", "nonresource /apis"),
    redactions=(APPLIED,),
)
def policy_reports(cluster: Kubernetes) -> Iterator[Row]:
    """Every report of a policy engine (Kyverno and others), of namespaces and of the cluster; none without one."""
    yield from cluster.extension(REPORTS, "policyreports", ("v1beta1", "v1alpha2"))
    yield from cluster.extension(REPORTS, "clusterpolicyreports", ("v1beta1", "v1alpha2"))


@source(
    "kubernetes.gatekeeper-constraints",
    key="Key",
    per="connection",
    permissions=(f"list {GATEKEEPER}/*", "nonresource /apis", f"nonresource /apis/{GATEKEEPER}/v1beta1"),
    redactions=(APPLIED,),
)
def gatekeeper_constraints(cluster: Kubernetes) -> Iterator[Row]:
    """Every constraint of Gatekeeper, whatever its kind, with the violations its audit counts; none without it."""
    if "v1beta1" in cluster.served(GATEKEEPER):
        for kind in cluster.get(f"/apis/{GATEKEEPER}/v1beta1")["resources"]:
            if "list" in kind["verbs"]:
                for constraint in cluster.pages(f"/apis/{GATEKEEPER}/v1beta1/{{plural}}", plural=kind["name"]):
                    yield {**constraint, "Key": f"{kind['kind']}/{constraint['Key']}"}


def _count(report: Record, result: str) -> int:
    """How many results there are of a kind; the summary leaves out what is nought.

    Raises:
        Unavailable: there is no summary; the program that writes the report may do without.
    """
    summary = report.get("summary")
    if summary is None:
        raise Unavailable(GapKind.UNPROVEN, "the report has no summary")
    return int(summary.get(result) or 0)


@check(
    "kubernetes.policy-reports.no-failures",
    title="Kubernetes objects obey the policies they are checked against",
    severity="medium",
    each="kubernetes.policy-reports",
)
def no_failures(report: Record, *, max_failures: int = 0) -> Verdict:
    """A policy report tells of at most ``max_failures`` failures.

    Source: PolicyReport, ClusterPolicyReport (``summary.fail``).
    Remedy: correct the object, or record an exception in the policy.
    """
    told = f"{_count(report, 'fail')} of {sum(_count(report, one) for one in RESULTS)} results are failures"
    told += f", limit {max_failures}"
    return ok(told) if _count(report, "fail") <= max_failures else fail(told)


@check(
    "kubernetes.policy-reports.no-errors",
    title="Kubernetes policies can be evaluated",
    severity="medium",
    each="kubernetes.policy-reports",
)
def no_errors(report: Record) -> Verdict:
    """No rule of a policy ended in an error: then nobody knows whether the object obeys it.

    Source: PolicyReport, ClusterPolicyReport (``summary.error``).
    Remedy: correct the policy.
    """
    errors = _count(report, "error")
    return fail(f"{errors} results are errors, limit none") if errors else ok("no result is an error")


@check(
    "kubernetes.gatekeeper-constraints.no-violations",
    title="Kubernetes objects obey the constraints of Gatekeeper",
    severity="medium",
    each="kubernetes.gatekeeper-constraints",
)
def no_violations(constraint: Record, *, as_of: datetime, max_violations: int = 0, max_age_h: int = 24) -> Verdict:
    """The audit of Gatekeeper, which began within ``max_age_h``, counts at most ``max_violations`` of a constraint.

    Source: the constraint (``status.totalViolations``, ``status.auditTimestamp``, left out until the first audit).
    Remedy: correct the objects it names; see why the audit does not run.
    """
    status = constraint.get("status") or {}
    if status.get("auditTimestamp") is None:
        raise Unavailable(GapKind.UNPROVEN, "Gatekeeper has not held the constraint against anything yet")
    if as_of - instant(status["auditTimestamp"]) > timedelta(hours=max_age_h):
        return fail(f"the last audit began at {status['auditTimestamp']}, more than {max_age_h} hours ago")
    found = status["totalViolations"]
    told = f"{found} violations, limit {max_violations}"
    return ok(told) if found <= max_violations else fail(told)


@check(
    "kubernetes.gatekeeper-constraints.enforced",
    title="Gatekeeper refuses what violates a constraint",
    severity="medium",
    each="kubernetes.gatekeeper-constraints",
)
def enforced(constraint: Record) -> Verdict:
    """The action of a constraint is deny, or scoped with deny at the admission of changes.

    Source: the constraint (``spec.enforcementAction``, left out where it is deny; ``spec.scopedEnforcementActions``).
    Remedy: set enforcementAction: deny, once nothing violates it.
    """
    spec = constraint.get("spec") or {}  # left out where nothing is set
    action = spec.get("enforcementAction") or "deny"
    at_admission = {
        one["action"]
        for one in spec.get("scopedEnforcementActions") or ()
        for point in one["enforcementPoints"]
        if point["name"] in ("*", "validation.gatekeeper.sh")
    }
    if action == "scoped" and "deny" in at_admission:
        return ok("violations are refused at admission")
    return ok("violations are refused") if action == "deny" else fail(f"the action is {action}, wanted deny")
