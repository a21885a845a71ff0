"""Kubernetes storage classes: how they are read, and what we require of the volumes made from them."""

from collections.abc import Iterator

from collector.api import Kubernetes, Record, Redaction, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import APPLIED


@source(
    "kubernetes.storage-classes",
    key="Key",
    per="connection",
    permissions=("list storage.k8s.io/storageclasses",),
    redactions=(
        APPLIED,
        *(
            Redaction("kubernetes:GET *", "some drivers take a password here", json=f"items[].parameters.{name}")
            for name in ("password", "restuserkey", "secret")
        ),
    ),
)
def storage_classes(cluster: Kubernetes) -> Iterator[Row]:
    """Every class that volumes are made from."""
    yield from cluster.pages("/apis/storage.k8s.io/v1/storageclasses")


@check(
    "kubernetes.storage-classes.encrypted",
    title="Volumes that Kubernetes makes are encrypted",
    severity="high",
    each="kubernetes.storage-classes",
)
def encrypted(
    kind: Record, *, asked: tuple[str, ...] = ("driver.longhorn.io", "ebs.csi.aws.com", "kubernetes.io/aws-ebs")
) -> Verdict:
    """A class whose driver is in ``asked`` sets the parameter encrypted to true.

    These drivers encrypt only what they are asked to, unless the account has a default. Other drivers are skipped:
    some encrypt always, some never, and their classes do not tell.
    Source: StorageClass (``provisioner``, ``parameters``, left out where there are none).
    Remedy: make a class with encrypted: "true", and move the volumes.
    """
    if kind["provisioner"] not in asked:
        return skip(f"classes of {kind['provisioner']} do not tell")
    said = (kind.get("parameters") or {}).get("encrypted", "not set")
    return ok("encrypted is true") if said == "true" else fail(f"encrypted is {said}")
