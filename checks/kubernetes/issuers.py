"""The name by which a Kubernetes cluster is known to those who trust the tokens of its service accounts."""

from collections.abc import Iterator

from collector.api import Kubernetes, Row, source
from collector.workloads import APPLIED

DISCOVERY = "/.well-known/openid-configuration"


@source(
    "kubernetes.issuers", key="issuer", per="connection", permissions=(f"nonresource {DISCOVERY}",),
    redactions=(APPLIED,),
)  # fmt: skip
def issuers(cluster: Kubernetes) -> Iterator[Row]:
    """The issuer of the tokens of service accounts; of a managed cluster, the name its provider gave it alone."""
    yield cluster.get(DISCOVERY)
