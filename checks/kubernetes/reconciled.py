"""Kubernetes lists held against what the API server counts.

A failure here says nothing of the cluster. It says that two replies about the same thing disagree, so that neither may
be relied on until it is known why.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from collector.api import (
    Check,
    GapKind,
    Kubernetes,
    Record,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    instant,
    ok,
    source,
)
from collector.workloads import APPLIED

RBAC = "/apis/rbac.authorization.k8s.io/v1"
COUNTED = {
    "kubernetes.namespaces": "/api/v1/namespaces",
    "kubernetes.nodes": "/api/v1/nodes",
    "kubernetes.pods": "/api/v1/pods",
    "kubernetes.service-accounts": "/api/v1/serviceaccounts",
    "kubernetes.network-policies": "/apis/networking.k8s.io/v1/networkpolicies",
    "kubernetes.role-bindings": f"{RBAC}/rolebindings",
    "kubernetes.cluster-roles": f"{RBAC}/clusterroles",
    "kubernetes.cluster-role-bindings": f"{RBAC}/clusterrolebindings",
}


@source(
    "kubernetes.counts",
    key="Key",
    per="connection",
    permissions=(
        "list namespaces",
        "list nodes",
        "list pods",
        "list serviceaccounts",
        "list networking.k8s.io/networkpolicies",
        "list rbac.authorization.k8s.io/rolebindings",
        "list rbac.authorization.k8s.io/clusterroles",
        "list rbac.authorization.k8s.io/clusterrolebindings",
    ),
    redactions=(APPLIED,),
    parts="the number of objects that the API server counts in each list",
)
def counts(cluster: Kubernetes) -> Iterator[Row]:
    """For each list that is counted, its first object as metadata and the number the API server says are left."""
    for dataset, path in COUNTED.items():
        yield {"Key": dataset, "list": cluster.count(path)}


def _counted(counts: Iterator[Record], dataset: str) -> int:
    """How many objects the API server counts.

    Raises:
        Unavailable: it was not asked (kind ``unproven``), or does not count (kind ``unsupported``).
    """
    reply = next((row["list"] for row in counts if row["Key"] == dataset), None)
    if reply is None:
        raise Unavailable(GapKind.UNPROVEN, "there is no count of the API server")
    about = reply["metadata"]
    if about.get("continue") and about.get("remainingItemCount") is None:
        raise Unavailable(GapKind.UNSUPPORTED, "the API server does not say how many objects are left")
    return len(reply["items"] or ()) + int(about.get("remainingItemCount") or 0)


def _agree(
    dataset: str, listed: Iterator[Record], counts: Iterator[Record], as_of: datetime, moving_min: int
) -> Verdict:
    """Whether list and count agree, but for objects that were being made or deleted meanwhile."""
    number = moving = 0
    for item in listed:
        number += 1
        about = item["metadata"]
        made = instant(about["creationTimestamp"])
        moving += bool(about.get("deletionTimestamp")) or made >= as_of - timedelta(minutes=moving_min)
    counted = _counted(counts, dataset)
    what = dataset.partition(".")[2].replace("-", " ")
    if number == counted:
        return ok(f"{number} {what} are listed, as many as the API server counts")
    told = f"{number} {what} are listed, the API server counts {counted}"
    if abs(number - counted) <= moving:
        return ok(f"{told}; {moving} were made within {moving_min} minutes or are being deleted")
    return fail(f"{told}, and {moving} were made within {moving_min} minutes or are being deleted")


def _reconciled(dataset: str) -> Check:
    """A check that a list and the count of it agree."""
    what = dataset.partition(".")[2].replace("-", " ")

    def reconciled(
        listed: Iterator[Record], counts: Iterator[Record], *, as_of: datetime, moving_min: int = 10
    ) -> Verdict:
        return _agree(dataset, listed, counts, as_of, moving_min)

    reconciled.__doc__ = f"""The {what} listed are as many as the API server counts in another reply.

    They may differ by the number of those made within ``moving_min`` minutes before the collection or later, and of
    those being deleted. Source: the list (``metadata``), and its first page (``metadata.remainingItemCount``).
    Remedy: collect again; if it stays, find out which reply is short before relying on either.
    """
    return check(
        f"{dataset}.reconciled",
        title=f"The evidence agrees on the Kubernetes {what}: list and count",
        severity="high",
        over=(dataset, "kubernetes.counts"),
        reconciles=(dataset,),
    )(reconciled)


RECONCILED = tuple(_reconciled(dataset) for dataset in COUNTED)
