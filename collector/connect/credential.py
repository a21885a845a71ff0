"""How a request to a REST API says who asks. Secrets stay inside; what they are called may be told."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from collector.errors import ConfigError
from collector.model import GapKind
from collector.secrets import Secret

MAX_TOKEN_REPLY = 1 << 20
EARLY_S = 60
"""A token is renewed this long before it runs out."""
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Post = Callable[[str, Mapping[str, str]], "tuple[int, bytes]"]
"""Sends a form to an address; gives status and body."""


class NoCredentialError(Exception):
    """There is nothing to ask with; says why, without the secret."""

    def __init__(self, kind: GapKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Credential(Protocol):
    """What goes into the headers of a request."""

    name: str
    """What it is called; no secret."""

    def headers(self) -> Mapping[str, str]:
        """The headers.

        Raises:
            NoCredentialError: there are none now.
        """

    def refused(self) -> None:
        """The server did not take them."""


class Fixed:
    """The same headers for every request."""

    def __init__(self, name: str, headers: Mapping[str, Secret]) -> None:
        self.name = name
        self._headers = dict(headers)

    def headers(self) -> Mapping[str, str]:
        """As given."""
        return {name: value.reveal() for name, value in self._headers.items()}

    def refused(self) -> None:
        """Nothing can be done."""


def claims(header: str) -> Mapping[str, Any]:
    """What a token that is a JSON Web Token says of itself; nothing for any other. Unverified, so it proves nothing."""
    parts = header.split(".")
    try:
        told = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def anonymous() -> Fixed:
    """No credential."""
    return Fixed("anonymous", {})


def token(name: str, spelling: str, secret: Secret) -> Fixed:
    """A token, sent as ``spelling`` says: ``Authorization: Bearer {token}``."""
    header, _, form = spelling.partition(": ")
    return Fixed(name, {header: Secret(form.replace("{token}", _sendable(name, secret)))})


def basic(user: str, name: str, secret: Secret) -> Fixed:
    """A user and a password or API token (RFC 7617)."""
    pair = base64.b64encode(f"{user}:{secret.reveal()}".encode()).decode()
    return Fixed(f"{user}, {name}", {"Authorization": Secret(f"Basic {pair}")})


class ClientCredentials:
    """A token the client fetches for itself (RFC 6749, 4.4), with its secret or with a signed statement (RFC 7523)."""

    def __init__(
        self,
        *,
        token_url: str,
        client_id: str,
        scopes: Sequence[str],
        post: Post,
        client_secret: Secret | None = None,
        private_key: Secret | None = None,
        key_id: str = "",
    ) -> None:
        self.name = f"client {client_id}"
        self._url = token_url
        self._id = client_id
        self._scopes = " ".join(scopes)
        self._post = post
        self._secret = client_secret
        self._key = rsa_key(private_key) if private_key else None
        self._key_id = key_id
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._until = 0.0

    def headers(self) -> Mapping[str, str]:
        """The token that is valid now; fetched when there is none.

        Raises:
            NoCredentialError: the token server gave none.
        """
        with self._lock:
            if self._token is None or time.monotonic() >= self._until:
                self._token, lifetime_s = self._fetched()
                self._until = time.monotonic() + max(0.0, lifetime_s - min(EARLY_S, lifetime_s / 2))
            return {"Authorization": f"Bearer {self._token.reveal()}"}

    def refused(self) -> None:
        """The next request fetches another token; the refused one is not tried again."""
        with self._lock:
            self._token = None

    def _fetched(self) -> tuple[Secret, float]:
        form = {"grant_type": "client_credentials", "client_id": self._id}
        if self._scopes:
            form["scope"] = self._scopes
        if self._key:
            form |= {"client_assertion_type": ASSERTION, "client_assertion": self._statement(self._key)}
        elif self._secret:
            form["client_secret"] = self._secret.reveal()
        status, body = self._post(self._url, form)
        where = urlsplit(self._url).netloc
        try:
            reply = orjson.loads(body)
        except orjson.JSONDecodeError:
            reply = None
        if not isinstance(reply, dict):
            reply = {}
        if status == 429 or status >= 500:
            kind = GapKind.THROTTLED if status == 429 else GapKind.SERVER_ERROR
            raise NoCredentialError(kind, f"{where} gave no access token (status {status})")
        access, lifetime = reply.get("access_token"), reply.get("expires_in", 300)
        if status != 200:
            error = reply.get("error")
            known = isinstance(error, str) and error.replace("_", "").isalnum() and len(error) < 64
            said = f" {error}" if known else ""
            raise NoCredentialError(GapKind.UNAUTHENTICATED, f"{where} gave no access token ({status}{said})")
        if not isinstance(access, str) or str(reply.get("token_type", "bearer")).lower() != "bearer":
            raise NoCredentialError(GapKind.UNAUTHENTICATED, f"{where} answered without a bearer token")
        usable = access.isascii() and access.isprintable() and " " not in access and access
        if not usable or isinstance(lifetime, bool) or not isinstance(lifetime, int | float):
            raise NoCredentialError(GapKind.UNAUTHENTICATED, f"{where} answered with a token that cannot be sent")
        return Secret(access), float(lifetime)

    def _statement(self, key: rsa.RSAPrivateKey) -> str:
        now = int(time.time())
        head = {"alg": "RS256", "typ": "JWT"} | ({"kid": self._key_id} if self._key_id else {})
        claims = {
            "iss": self._id, "sub": self._id, "aud": self._url, "iat": now, "exp": now + 300,
            "jti": secrets.token_urlsafe(16),
        }  # fmt: skip
        signed = b".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        return (signed + b"." + _encoded(key.sign(signed, padding.PKCS1v15(), SHA256()))).decode()


def poster(session: requests.Session, timeout_s: float) -> Post:
    """Posts forms; the reply is not recorded, since it is a secret."""

    def post(url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            with session.post(
                url, data=form, headers={"Accept": "application/json"}, auth=lambda request: request,
                allow_redirects=False, stream=True, timeout=(min(10.0, timeout_s), timeout_s), verify=session.verify,
            ) as response:  # fmt: skip
                return response.status_code, response.raw.read(MAX_TOKEN_REPLY, decode_content=True)
        except requests.Timeout:
            raise NoCredentialError(GapKind.TIMEOUT, f"{urlsplit(url).netloc} did not answer in time") from None
        except (requests.RequestException, OSError) as error:
            detail = f"{urlsplit(url).netloc} could not be asked for a token ({type(error).__name__})"
            raise NoCredentialError(GapKind.UNREACHABLE, detail) from None

    return post


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _sendable(name: str, secret: Secret) -> str:
    """The value, if it can stand in a header: libraries repeat one that cannot in their errors.

    Raises:
        ConfigError: it cannot.
    """
    value = secret.reveal()
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigError(f"the token in {name} holds white space or other signs no token has", "put the token there")
    return value


def rsa_key(secret: Secret, place: str = "oauth.private_key") -> rsa.RSAPrivateKey:
    """The key in a secret.

    Raises:
        ConfigError: it is none, or too weak.
    """
    try:
        key: object = load_pem_private_key(secret.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < 2048:
        raise ConfigError(
            f"{place} is not an unencrypted RSA key of at least 2048 bits in PEM", "put such a key there"
        )
    return key
