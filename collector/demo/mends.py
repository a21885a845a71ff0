"""Puts right what moto 5.2 says that no account would.

Of IAM: a credential report of 2015, without the root user. Of AWS Config: that a recorder never succeeds, and that a
query finds nothing. Of EKS: one issuer for all clusters of a region, and another one in each process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any


def date_reports() -> None:
    """Credential reports are made now, not in 2015."""
    from moto.iam.responses import IamResponse

    original: Callable[[Any], Any] = IamResponse.get_credential_report

    def dated(response: Any) -> Any:
        answer = original(response)
        answer.result["GeneratedTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return answer

    setattr(IamResponse, "get_credential_report", dated)  # noqa: B010


def name_root(line: str) -> None:
    """The report begins with this line, of the root user."""
    from moto.iam.models import IAMBackend

    original: Callable[[Any], str] = IAMBackend.get_credential_report

    def with_root(backend: Any) -> str:
        header, _, users = original(backend).partition("\n")
        return f"{header}\n{line}\n{users}"

    setattr(IAMBackend, "get_credential_report", with_root)  # noqa: B010


def succeed_recorders() -> None:
    """A recorder of AWS Config that was started has recorded something."""
    from moto.config.models import ConfigRecorderStatus

    original: Callable[[Any], None] = ConfigRecorderStatus.start

    def started(status: Any) -> None:
        original(status)
        status.last_status = "SUCCESS"

    setattr(ConfigRecorderStatus, "start", started)  # noqa: B010


def tell_clusters_apart() -> None:
    """Each cluster of EKS has an issuer of its own, the same in every process."""
    from moto.eks.models import Cluster

    original: Callable[..., None] = Cluster.__init__

    def made(cluster: Any, *args: Any, **named: Any) -> None:
        original(cluster, *args, **named)
        region = cluster.arn.split(":")[3]
        own = sha256(cluster.arn.encode()).hexdigest()[:32].upper()
        cluster.identity = {"oidc": {"issuer": f"https://oidc.eks.{region}.amazonaws.com/id/{own}"}}

    setattr(Cluster, "__init__", made)  # noqa: B010


def tell_discovered(items: Mapping[str, Sequence[str]]) -> None:
    """Whatever AWS Config is asked in a region, these are the results, page by page."""
    from moto.config.responses import ConfigResponse

    def select(response: Any) -> str:
        asked = json.loads(response.body)
        known, start = items.get(response.region, ()), int(asked.get("NextToken", 0))
        end = start + asked["Limit"]
        more = {"NextToken": str(end)} if end < len(known) else {}
        return json.dumps({"Results": known[start:end], "QueryInfo": {"SelectFields": []}, **more})

    setattr(ConfigResponse, "select_resource_config", select)  # noqa: B010
