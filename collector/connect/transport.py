"""What connections that read bytes share: a body within its bounds, and how a failure on the way is told."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult

from collector.connect.wire import Answer
from collector.model import GapKind

PIECE = 1 << 16
"""Bytes asked for at a time: the kernel answers "cannot allocate memory" to who asks for megabytes of /proc/sys."""


def gathered(pieces: Iterable[bytes], max_bytes: int, deadline: float = math.inf) -> bytes | GapKind:
    """All the bytes, or why no more were waited for: ``oversized``, ``timeout``."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > max_bytes:
            return GapKind.OVERSIZED
        if time.monotonic() > deadline:
            return GapKind.TIMEOUT
    return bytes(body)


def received(
    status: int, headers: Mapping[str, str], pieces: Iterable[bytes], origin: str, max_bytes: int,
    timeout_s: float, deadline: float,
) -> Answer:  # fmt: skip
    """The answer a server gives piece by piece; a failure where it is too large or too slow."""
    body = gathered(pieces, max_bytes, deadline)
    if body is GapKind.OVERSIZED:
        return oversized(status, origin, max_bytes)
    if isinstance(body, GapKind):
        return failed(origin, body, f"the reply took longer than {timeout_s:g} s")
    return Answer(status, body, headers, origin)


def oversized(status: int, origin: str, max_bytes: int) -> Answer:
    """A reply that was not read to its end."""
    return Answer(status, b"", {}, origin, str(GapKind.OVERSIZED), f"the reply is larger than {max_bytes} bytes")


def failed(origin: str, kind: GapKind, detail: str) -> Answer:
    """Nothing usable came back."""
    return Answer(None, endpoint=origin, failure=str(kind), detail=detail)


def cause(error: BaseException) -> str:
    """The innermost reason of a failure, the same at every attempt; no address, no object, no header."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((item for item in error.args if isinstance(item, BaseException)), error.__cause__)
        if inner is None:
            break
        error = inner
    text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or ""
    return f"{type(error).__name__}: {text}" if text else f"the connection broke off ({type(error).__name__})"


def origin_of(parts: SplitResult) -> str:
    """Scheme, host and port, spelt in one way."""
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = port == {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + ("" if usual else f":{port}")
