"""Puts right what moto 5.2 says of IAM that no account would: a credential report of 2015, without the root user."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
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
