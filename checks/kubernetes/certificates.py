"""Certificates that cert-manager renews in Kubernetes, where it is installed, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Kubernetes, Record, Row, Verdict, check, days_between, fail, instant, ok, source
from collector.workloads import APPLIED

GROUP = "cert-manager.io"


@source(
    "kubernetes.certificates",
    key="Key",
    per="connection",
    permissions=(f"list {GROUP}/certificates", "nonresource /apis"),
    redactions=(APPLIED,),
)
def certificates(cluster: Kubernetes) -> Iterator[Row]:
    """Every certificate of cert-manager; none where it is not installed."""
    yield from cluster.extension(GROUP, "certificates", ("v1",))


@check(
    "kubernetes.certificates.ready",
    title="cert-manager has issued each certificate",
    severity="medium",
    each="kubernetes.certificates",
)
def ready(certificate: Record) -> Verdict:
    """The condition Ready of a certificate is True.

    Source: Certificate (``status.conditions``, left out until the first attempt).
    Remedy: ``cmctl status certificate NAME``.
    """
    conditions = (certificate.get("status") or {}).get("conditions") or ()
    found = next((item for item in conditions if item["type"] == "Ready"), None)
    if found is None:
        return fail("nothing was issued")
    return ok("Ready is True") if found["status"] == "True" else fail(f"Ready is {found['status']}: {found['reason']}")


@check(
    "kubernetes.certificates.not-expiring",
    title="cert-manager renews certificates in time",
    severity="high",
    each="kubernetes.certificates",
)
def not_expiring(certificate: Record, *, as_of: datetime, min_days: int = 14) -> Verdict:
    """A certificate is valid for at least ``min_days`` more, or for a third of its life where that is shorter.

    Source: Certificate (``status.notBefore``, ``status.notAfter``, left out where nothing was issued).
    Remedy: ``cmctl renew NAME``; see why it was not renewed by itself.
    """
    status = certificate.get("status") or {}
    if not status.get("notAfter"):
        return fail("nothing was issued")
    ends = instant(status["notAfter"])
    life = days_between(instant(status["notBefore"]), ends) if status.get("notBefore") else min_days * 3
    wanted = min(min_days, life // 3)
    left = days_between(as_of, ends)
    told = f"valid for {left} days, at least {wanted} wanted"
    return ok(told) if ends > as_of and left >= wanted else fail(told)
