"""Tokens for Microsoft Graph, fetched with Microsoft's own library; they stay in this process."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from collector.connect.credential import MAX_TOKEN_REPLY, NoCredentialError
from collector.model import GapKind
from collector.secrets import Secret


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that the application is known by."""

    private_key: Secret
    """RSA key in PEM."""
    thumbprint: str
    """SHA-1 in hex, as the portal shows it."""


class EntraClient:
    """An application of a tenant that signs in with its secret or its certificate (client credentials)."""

    def __init__(
        self,
        *,
        authority: str,
        tenant: str,
        client_id: str,
        scope: str,
        proof: Secret | Certificate,
        sender: Sender,
    ) -> None:
        self.name = f"client {client_id} of tenant {tenant}"
        self._authority = f"{authority}/{tenant}"
        self._host = urlsplit(authority).netloc
        self._client_id = client_id
        self._scope = scope
        self._proof = proof
        self._sender = sender
        self._lock = threading.Lock()
        self._application: Any = None

    def headers(self) -> Mapping[str, str]:
        """The token that is valid now; the library fetches another one before it runs out.

        Raises:
            NoCredentialError: the token server gave none.
        """
        with self._lock:
            reply = self._asked()
        access = reply.get("access_token")
        if not isinstance(access, str):
            raise NoCredentialError(GapKind.UNAUTHENTICATED, f"{self._host} gave no access token ({_said(reply)})")
        if not access.isascii() or not access.isprintable() or " " in access or not access:
            raise NoCredentialError(
                GapKind.UNAUTHENTICATED, f"{self._host} answered with a token that cannot be sent"
            )
        return {"Authorization": f"Bearer {access}"}

    def refused(self) -> None:
        """The next request fetches another token; the refused one is not tried again."""
        with self._lock:
            self._application = None

    def _asked(self) -> dict[str, Any]:
        import msal

        try:
            if self._application is None:
                self._application = msal.ConfidentialClientApplication(
                    self._client_id, client_credential=self._spelt(), authority=self._authority,
                    instance_discovery=False, http_client=self._sender,
                )  # fmt: skip
            return dict(self._application.acquire_token_for_client([self._scope]))
        except (ValueError, KeyError, TypeError, RuntimeError):
            detail = f"{self._host} does not know the tenant, or does not answer as a token server"
            raise NoCredentialError(GapKind.UNAUTHENTICATED, detail) from None

    def _spelt(self) -> str | dict[str, str]:
        if isinstance(self._proof, Certificate):
            return {"private_key": self._proof.private_key.reveal(), "thumbprint": self._proof.thumbprint}
        return self._proof.reveal()


class Sender:
    """Carries the library's requests over a session of ours; nothing is recorded, since the replies are secrets.

    The client's proof goes to the token server that was configured and to no other, whatever its directory says.
    """

    def __init__(self, session: requests.Session, authority: str, timeout_s: float) -> None:
        self._session = session
        self._origin = authority
        self._timeout_s = timeout_s

    def get(self, url: str, **options: Any) -> Received:
        """A document of the token server."""
        return self._send("GET", url, options)

    def post(self, url: str, **options: Any) -> Received:
        """The answer to a form."""
        return self._send("POST", url, options)

    def close(self) -> None:
        """Nothing: the session belongs to the connection."""

    def _send(self, method: str, url: str, options: Mapping[str, Any]) -> Received:
        host = urlsplit(self._origin).netloc
        if not url.startswith(f"{self._origin}/"):
            raise NoCredentialError(GapKind.UNAUTHENTICATED, f"{host} sends us to another server for the token")
        try:
            with self._session.request(
                method, url, params=options.get("params"), data=options.get("data"), headers=options.get("headers"),
                auth=lambda request: request, allow_redirects=False, stream=True, verify=self._session.verify,
                timeout=(min(10.0, self._timeout_s), self._timeout_s),
            ) as response:  # fmt: skip
                status = response.status_code
                body = response.raw.read(MAX_TOKEN_REPLY, decode_content=True)
        except requests.Timeout:
            raise NoCredentialError(GapKind.TIMEOUT, f"{host} did not answer in time") from None
        except (requests.RequestException, OSError) as error:
            detail = f"{host} could not be asked for a token ({type(error).__name__})"
            raise NoCredentialError(GapKind.UNREACHABLE, detail) from None
        if status == 429 or status >= 500:
            kind = GapKind.THROTTLED if status == 429 else GapKind.SERVER_ERROR
            raise NoCredentialError(kind, f"{host} gave no access token (status {status})")
        return Received(status, body.decode("utf-8", "replace"), {"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class Received:
    """A reply as the library reads it."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Statuses are read where they matter."""


def _said(reply: Mapping[str, Any]) -> str:
    """The server's words for a refusal: its error and its number, no sentence of it."""
    error, numbers = reply.get("error"), reply.get("error_codes") or ()
    known = isinstance(error, str) and error.replace("_", "").isalnum() and len(error) < 64
    told = [f"AADSTS{number}" for number in numbers if isinstance(number, int)]
    return " ".join([error if known and isinstance(error, str) else "no error told", *told[:3]])
