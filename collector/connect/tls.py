"""TLS endpoints: handshakes with servers as they are, whatever they offer; nothing is sent but ``HEAD /``."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from collector.address import Address
from collector.connect import hello
from collector.connect.base import Connection, Limits
from collector.connect.certificate import certificate, staple
from collector.connect.retry import Retry, Retryable
from collector.connect.wire import Answer, Ask, Wire
from collector.model import GapKind, Refused, Unavailable

T = TypeVar("T")

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Linux distributions keep the trusted roots."""

MAX_HEAD = 1 << 16
NOT_HTTP = "the endpoint does not speak HTTP"
NOT_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
OP_LEGACY_SERVER_CONNECT = 0x4
"""Talk to servers without secure renegotiation too; has a name in ``ssl`` from Python 3.12."""


class Tls(Connection):
    """One task's view of the endpoints. The list and the trusted roots are on record, so a replay needs neither."""

    def __init__(
        self,
        wire: Wire,
        endpoints: Sequence[str],
        roots: Path | None,
        *,
        retry: Retry,
        limits: Limits,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self._endpoints = endpoints
        self._listed: tuple[str, ...] | None = None
        self._roots_file = roots
        self._roots: tuple[str | Unavailable, int] | None = None
        self._lock = threading.Lock()

    @property
    def endpoints(self) -> Sequence[str]:
        """``host:port``, as configured at the time."""
        if self._listed is None:
            self.require("tls", "tls:endpoints", {})
            configured = json.dumps([*self._endpoints]).encode()
            exchange = self.wire.exchange(Ask("tls:endpoints", {}), lambda: Answer(0, configured))
            self.trail.note(self.wire.conclude(exchange))
            self._listed = tuple(json.loads(exchange.answer.body))
        return self._listed

    def attempt_handshake(self, endpoint: str, *, version: str = "") -> Any:
        """A handshake, deferred: to be put in a row.

        Without ``version`` whatever both sides can: ``Version``, ``Cipher``, ``Chain`` as the server sent it, and
        ``Verify``, what OpenSSL says of that chain under the trusted roots. With ``version`` ("TLSv1.1") the opening of
        one that offers only this version: whether it was ``Offered``, the server's ``Answer``, its OCSP ``Staple``.
        """
        return self.defer(
            lambda refs: self._opening(endpoint, version, refs) if version else self._full(endpoint, refs)
        )

    def attempt_head(self, endpoint: str) -> Any:
        """``Status`` and ``Headers`` of ``HEAD /``, deferred; ``None`` where the endpoint does not speak HTTP."""
        timeout_s = self.limits.timeout_s
        return self.defer(
            lambda refs: self._ask("tls:head", endpoint, {}, lambda: _head(endpoint, timeout_s), _read_head, refs)
        )

    def _full(self, endpoint: str, refs: list[int]) -> Any:
        roots, number = self._trusted()
        refs.append(number)
        pem = roots if isinstance(roots, str) else None
        value = self._ask(
            "tls:handshake",
            endpoint,
            {},
            lambda: _handshake(endpoint, pem, self.limits.timeout_s),
            _read_handshake,
            refs,
        )
        if isinstance(roots, Unavailable):
            value["Verify"] = Refused(roots.kind, roots.reason, roots.operation)
        return value

    def _opening(self, endpoint: str, version: str, refs: list[int]) -> Any:
        tries = min(2, self.retry.attempts)
        return self._ask(
            "tls:hello", endpoint, {"version": version}, lambda: _hello(endpoint, version, self.limits.timeout_s),
            lambda answer, number: _read_hello(answer, version, endpoint, number < tries), refs,
        )  # fmt: skip

    def _ask(
        self,
        operation: str,
        endpoint: str,
        params: dict[str, str],
        send: Callable[[], Answer],
        read: Callable[[Answer, int], T],
        refs: list[int],
    ) -> T:
        self.require("tls", operation, params)

        def attempt(number: int) -> T:
            ask = Ask(operation, {"endpoint": endpoint, **params}, endpoint, attempt=number)
            exchange = self.wire.exchange(ask, send)
            try:
                _raise_failure(f"{operation} {endpoint}", operation, exchange.answer)
                value = read(exchange.answer, number)
            except Unavailable as error:
                refs.append(self.wire.conclude(exchange, last=False, error=str(error.kind)))
                raise
            refs.append(self.wire.conclude(exchange))
            return value

        return self.retry.run(attempt)

    def _trusted(self) -> tuple[str | Unavailable, int]:
        """The trusted roots as PEM, or why there are none, and the reply that told it; read once."""
        with self._lock:
            if self._roots is None:
                self.require("tls", "tls:roots", {})
                exchange = self.wire.exchange(Ask("tls:roots", {}), lambda: _roots(self._roots_file, self.limits))
                answer = exchange.answer
                number = self.wire.conclude(exchange, last=not answer.failure, error=answer.failure)
                reason = f"the trusted roots could not be read: {answer.detail}"
                text = answer.body.decode("ascii", "ignore")
                self._roots = (
                    Unavailable(GapKind(answer.failure), reason, "tls:roots") if answer.failure else text,
                    number,
                )
            return self._roots


def _roots(file: Path | None, limits: Limits) -> Answer:
    path = file or next((Path(name) for name in BUNDLES if Path(name).is_file()), None)
    if path is None:
        return Answer(
            None, failure=str(GapKind.UNSUPPORTED), detail="this machine has no file of trusted roots that is known"
        )
    try:
        body = path.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=body.decode("ascii", "ignore"))
    except PermissionError:
        return Answer(None, failure=str(GapKind.DENIED), detail=f"access to {path} was denied")
    except OSError as error:  # an SSLError is one, too
        return Answer(None, failure=str(GapKind.REJECTED), detail=f"{path} holds none ({type(error).__name__})")
    if len(body) > limits.max_reply_bytes:
        return Answer(
            None, failure=str(GapKind.OVERSIZED), detail=f"{path} is larger than {limits.max_reply_bytes} bytes"
        )
    return Answer(0, body, detail=str(path))


def _raise_failure(what: str, operation: str, answer: Answer) -> None:
    if not answer.failure or answer.detail == NOT_HTTP:
        return
    kind = GapKind(answer.failure)
    reason = f"{what} failed: {answer.detail}"
    if kind in (GapKind.TIMEOUT, GapKind.UNREACHABLE):
        raise Retryable(kind, reason, operation)
    raise Unavailable(kind, reason, operation)


def _server_name(host: str) -> str:
    """The name to indicate; empty for an address.

    Raises:
        UnicodeError: it is not a host name.
    """
    try:
        ip_address(host)
    except ValueError:
        return host.rstrip(".").encode("idna").decode("ascii")
    return ""


def _open_context(roots: str | None) -> ssl.SSLContext:
    """A client that accepts every version and cipher this library has, so that weak servers can be described."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE if roots is None else ssl.CERT_REQUIRED
    if roots is not None:
        context.load_verify_locations(cadata=roots)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
    context.options |= OP_LEGACY_SERVER_CONNECT
    return context


@contextmanager
def _connected(endpoint: str, timeout_s: float) -> Any:
    address = Address.parse(endpoint)
    with socket.create_connection((address.host, address.port), timeout_s) as plain:
        yield plain, _server_name(address.host)


def _secured(endpoint: str, roots: str | None, timeout_s: float, use: Callable[[ssl.SSLSocket], T]) -> T:
    with (
        _connected(endpoint, timeout_s) as (plain, name),
        _open_context(roots).wrap_socket(plain, server_hostname=name or None) as secure,
    ):
        return use(secure)


def _failures(send: Callable[[], Answer], timeout_s: float) -> Answer:
    """The answer, or the failure of the socket as one."""
    try:
        return send()
    except TimeoutError:
        return Answer(None, failure=str(GapKind.TIMEOUT), detail=f"no answer within {timeout_s:g} s")
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError):
        return Answer(None, failure=str(GapKind.UNREACHABLE), detail="the server closed the connection")
    except ssl.SSLError as error:
        said = (error.reason or "unknown").lower().replace("_", " ")
        kind = GapKind.MALFORMED if error.reason in NOT_TLS else GapKind.REJECTED
        detail = f"the server does not speak TLS ({said})" if kind == GapKind.MALFORMED else f"no handshake ({said})"
        return Answer(None, failure=str(kind), detail=detail)
    except OSError as error:
        return Answer(None, failure=str(GapKind.UNREACHABLE), detail=error.strerror or type(error).__name__)
    except UnicodeError:
        return Answer(None, failure=str(GapKind.REJECTED), detail="the name of the endpoint is not a host name")


def _handshake(endpoint: str, roots: str | None, timeout_s: float) -> Answer:
    """A handshake under the trusted roots, and where they do not lead to the certificate, a second without them."""

    def facts(verify: dict[str, Any] | None) -> Callable[[ssl.SSLSocket], Answer]:
        def use(secure: ssl.SSLSocket) -> Answer:
            cipher = secure.cipher()
            chain = [base64.b64encode(der).decode() for der in _chain(secure)]
            told = {"version": secure.version(), "cipher": cipher and cipher[0], "chain": chain, "verify": verify}
            return Answer(0, json.dumps(told).encode())

        return use

    def send() -> Answer:
        verify: dict[str, Any] | None = None
        if roots is not None:
            try:
                return _secured(endpoint, roots, timeout_s, facts({"code": 0, "message": "ok"}))
            except ssl.SSLCertVerificationError as error:
                verify = {"code": error.verify_code, "message": error.verify_message}
        return _secured(endpoint, None, timeout_s, facts(verify))

    return _failures(send, timeout_s)


def _chain(secure: Any) -> list[bytes]:
    """The certificates as the server sent them, its own first."""
    if hasattr(secure, "get_unverified_chain"):  # public from Python 3.13
        return list(secure.get_unverified_chain())
    der = 2  # _ssl.ENCODING_DER; the same call stands on the inner object since 3.10
    return [part.public_bytes(der) for part in secure._sslobj.get_unverified_chain()]


def _hello(endpoint: str, version: str, timeout_s: float) -> Answer:
    def send() -> Answer:
        deadline = time.monotonic() + timeout_s
        with _connected(endpoint, timeout_s) as (plain, name):
            plain.sendall(hello.client_hello(version, name))
            return Answer(0, _receive(plain, deadline, hello.MAX_FLIGHT, _enough))

    def send_or_closed() -> Answer:
        try:
            return send()
        except (ConnectionResetError, BrokenPipeError):  # after the connection stood: an answer of its own
            return Answer(0, b"")

    return _failures(send_or_closed, timeout_s)


def _enough(data: bytes) -> bool:
    try:
        return hello.read_flight(data).complete
    except hello.MalformedError:
        return True


def _receive(peer: socket.socket, deadline: float, size: int, enough: Callable[[bytes], bool]) -> bytes:
    """What the peer sends until it is enough, it closes, or the size is reached.

    Raises:
        TimeoutError: the deadline passed, however steadily it trickles.
    """
    data = b""
    while len(data) < size and not (data and enough(data)):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        peer.settimeout(left_s)
        piece = peer.recv(1 << 14)
        if not piece:
            break
        data += piece
    return data


def _head(endpoint: str, timeout_s: float) -> Answer:
    request = (
        f"HEAD / HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: affidavit\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )

    def use(secure: ssl.SSLSocket) -> Answer:
        secure.sendall(request.encode("idna" if not request.isascii() else "ascii"))
        deadline = time.monotonic() + timeout_s
        return _parsed_head(
            _receive(secure, deadline, MAX_HEAD, lambda data: b"\r\n\r\n" in data or data[:5] != b"HTTP/"[: len(data)])
        )

    return _failures(lambda: _secured(endpoint, None, timeout_s, use), timeout_s)


def _parsed_head(data: bytes) -> Answer:
    """Status and headers as an answer; cookies and the like are dropped by the wire."""
    if not data:
        return Answer(
            None, failure=str(GapKind.UNREACHABLE), detail="the server closed the connection without an answer"
        )
    first, _, rest = data.partition(b"\r\n")
    words = first.split(b" ", 2)
    if not first.startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
        return Answer(None, failure=str(GapKind.REJECTED), detail=NOT_HTTP)
    headers: dict[str, str] = {}
    try:
        for name, value in http.client.parse_headers(io.BytesIO(rest)).items():
            headers.setdefault(name.lower(), value)  # the first counts (RFC 6797, 8.1)
    except http.client.HTTPException:
        return Answer(None, failure=str(GapKind.MALFORMED), detail="the headers cannot be read")
    return Answer(int(words[1]), b"", headers)


def _read_handshake(answer: Answer, _: int) -> dict[str, Any]:
    told = json.loads(answer.body)
    try:
        chain = [certificate(base64.b64decode(part)) for part in told["chain"]]
    except ValueError as error:
        raise Unavailable(GapKind.MALFORMED, f"a certificate cannot be read: {error}", "tls:handshake") from error
    verify = told["verify"] and {"Code": told["verify"]["code"], "Message": told["verify"]["message"]}
    return {"Version": told["version"], "Cipher": told["cipher"], "Chain": chain, "Verify": verify}


def _read_hello(answer: Answer, version: str, endpoint: str, again: bool) -> dict[str, Any]:
    """Whether the version was offered. A closed connection counts as a refusal the second time only.

    Raises:
        Unavailable: the answer says neither that it is offered nor that it is not.
    """
    what = f"tls:hello {endpoint} ({version})"
    if not answer.body:
        if again:
            raise Retryable(GapKind.UNREACHABLE, f"{what} failed: the server closed the connection", "tls:hello")
        return {"Offered": False, "Answer": "the connection was closed", "Staple": None}
    try:
        flight = hello.read_flight(answer.body)
        stapled = staple(flight.staple) if flight.staple else None
    except ValueError as error:
        raise Unavailable(GapKind.MALFORMED, f"{what} cannot be read: {error}", "tls:hello") from error
    if flight.alert is not None:
        if flight.alert not in hello.REFUSALS:
            reason = f"{what} ended with alert {flight.alert}, which says nothing about the version"
            raise Unavailable(GapKind.REJECTED, reason, "tls:hello")
        return {"Offered": False, "Answer": f"alert {flight.alert} ({hello.REFUSALS[flight.alert]})", "Staple": None}
    if not flight.complete:
        raise Retryable(GapKind.TRUNCATED, f"{what} broke off half-way", "tls:hello")
    return {"Offered": flight.version == version, "Answer": f"server hello {flight.version}", "Staple": stapled}


def _read_head(answer: Answer, _: int) -> dict[str, Any] | None:
    if answer.detail == NOT_HTTP:
        return None
    return {"Status": answer.status, "Headers": dict(answer.headers)}
