"""How a service account asks Google in the name of a user: domain-wide delegation, through google-auth."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from collector.address import is_loopback
from collector.connect.credential import NoCredentialError, Post
from collector.errors import ConfigError
from collector.model import GapKind
from collector.secrets import Secret

if TYPE_CHECKING:
    from google.oauth2.service_account import Credentials

PREFIX = "https://www.googleapis.com/auth/"

SCOPES = tuple(
    PREFIX + name
    for name in (
        "admin.directory.user.readonly", "admin.directory.group.readonly", "admin.directory.orgunit.readonly",
        "admin.directory.rolemanagement.readonly", "admin.directory.domain.readonly",
        "admin.directory.device.mobile.readonly", "admin.directory.device.chromeos.readonly",
        "admin.reports.audit.readonly", "cloud-identity.policies.readonly",
    )
)  # fmt: skip
"""Scopes that are asked for unless the configuration names others: all of them read only."""


class Delegated:
    """A token for ``subject``, which the service account fetches with a statement it signs."""

    def __init__(self, key: Secret, *, subject: str, scopes: Sequence[str], post: Post) -> None:
        self._account = _account(key, subject, scopes)
        self._transport = _Transport(post)
        self._lock = threading.Lock()
        self.name = f"service account {self._account.service_account_email} for {subject}"

    def headers(self) -> Mapping[str, str]:
        """The token that is valid now; fetched when there is none.

        Raises:
            NoCredentialError: Google gave none.
        """
        from google.auth.exceptions import GoogleAuthError

        with self._lock:
            if not self._account.valid:
                try:
                    self._account.refresh(self._transport)  # type: ignore[no-untyped-call]
                except GoogleAuthError:
                    detail = f"{self._transport.host} gave no access token ({self._transport.said})"
                    raise NoCredentialError(GapKind.UNAUTHENTICATED, detail) from None
            token = self._account.token
            if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
                self._account.token = None
                detail = f"{self._transport.host} answered with a token that cannot be sent"
                raise NoCredentialError(GapKind.UNAUTHENTICATED, detail)
            return {"Authorization": f"Bearer {token}"}

    def refused(self) -> None:
        """The next request fetches another token; the refused one is not tried again."""
        with self._lock:
            self._account.token = None


class _Transport:
    """What google-auth sends through: our session, which follows no redirect and verifies certificates."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.host = ""
        self.said = ""
        """Status of the last answer and its word for the error; nothing secret."""

    def __call__(self, url: str, method: str = "GET", body: bytes | None = None, **_: Any) -> _Answer:
        """The answer to a form.

        Raises:
            NoCredentialError: it was throttled, or failed on the server: the caller tries again later.
        """
        from urllib.parse import parse_qsl

        if method != "POST" or not body:
            raise AssertionError("a service account only posts forms")
        self.host = urlsplit(url).netloc
        status, data = self._post(url, dict(parse_qsl(body.decode())))
        if status == 429 or status >= 500:
            kind = GapKind.THROTTLED if status == 429 else GapKind.SERVER_ERROR
            raise NoCredentialError(kind, f"{self.host} gave no access token (status {status})")
        self.said = " ".join((str(status), _word(data))).strip()
        return _Answer(status, data)


class _Answer:
    """An answer as google-auth reads it."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self.data = data


def _word(data: bytes) -> str:
    """The code of an OAuth error, if it is one; nothing else of the answer, which may hold a token."""
    try:
        error = orjson.loads(data)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    known = isinstance(error, str) and error.replace("_", "").isalnum() and len(error) < 64
    return error if known else ""


def _account(key: Secret, subject: str, scopes: Sequence[str]) -> Credentials:
    """The account in a key file.

    Raises:
        ConfigError: it is none, or google-auth is not installed; nothing of the file is repeated.
    """
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.oauth2.service_account import Credentials
    except ImportError:
        raise ConfigError(
            "a connection of kind google-workspace needs google-auth", "pip install 'affidavit[google]'"
        ) from None
    try:
        info = orjson.loads(key.reveal())
        account: Credentials = Credentials.from_service_account_info(info, scopes=list(scopes), subject=subject)  # type: ignore[no-untyped-call]
        where = urlsplit(info["token_uri"])
    except (GoogleAuthError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            "service_account is not the key of a Google service account in JSON", "put such a key there"
        ) from None
    if where.scheme != "https" and not is_loopback(where.hostname or ""):
        raise ConfigError(
            "token_uri in the key of the service account is not https", "fetch the key from Google again"
        )
    return account
