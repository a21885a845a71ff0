"""The opening of a TLS handshake that offers one version only, and what the server says to it.

Written out here because an up-to-date TLS library may be built without the old versions, whose absence has to be
shown, and because Python's gives no access to a stapled OCSP answer. Up to TLS 1.2 the server answers in the clear
(RFC 5246, 7.3), so the bytes on record are all an auditor needs. Nothing is negotiated to the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
NAMES = {code: name for name, code in VERSIONS.items()} | {0x0300: "SSLv3"}

REFUSALS = {40: "handshake_failure", 70: "protocol_version", 71: "insufficient_security", 86: "inappropriate_fallback"}
"""Alerts by which a server turns down what was offered; any other alert says nothing about the version."""

MAX_FLIGHT = 1 << 18

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _SERVER_HELLO_DONE, _CERTIFICATE_STATUS = 2, 14, 22
_STATUS_REQUEST, _SUPPORTED_VERSIONS = 5, 43

_CIPHERS_13 = (0x1301, 0x1302, 0x1303)
_CIPHERS = (
    0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9, 0xCCAA, 0x009E, 0x009F, 0xC023, 0xC024, 0xC027, 0xC028,
    0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039, 0x0067, 0x006B, 0x0032, 0x0038, 0x009C, 0x009D, 0x003C,
    0x003D, 0x002F, 0x0035, 0x0041, 0x0084, 0x0045, 0x0088, 0x0096, 0x009A, 0xC008, 0xC012, 0x0016, 0x0013,
    0x000A, 0xC007, 0xC011, 0x0005, 0x0004, 0x0009, 0x00FF,
)  # fmt: skip
"""From ChaCha20 down to RC4 and DES, so that any server can answer; the last announces secure renegotiation."""

_SIGNATURES = (
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806,
    0x0401, 0x0501, 0x0601, 0x0203, 0x0201, 0x0202, 0x0101,
)  # fmt: skip
_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019)


class MalformedError(ValueError):
    """What came back is not TLS."""


@dataclass(frozen=True, slots=True)
class Flight:
    """What a server said to a hello."""

    version: str = ""
    """Version it chose; empty when it chose none."""
    alert: int | None = None
    """Code of the alert by which it broke off."""
    staple: bytes | None = None
    """OCSP answer it stapled (DER); known up to TLS 1.2 only."""
    complete: bool = False
    """The part of the server's flight that was waited for is there."""


def client_hello(version: str, server_name: str) -> bytes:
    """The record of a ClientHello that offers ``version`` and asks for a stapled OCSP answer.

    ``server_name`` is empty for an address, which has no name to indicate.
    """
    code = VERSIONS[version]
    modern = code == VERSIONS["TLSv1.3"]
    extensions = _extension(10, _sized(2, _codes(_GROUPS))) + _extension(11, b"\x01\x00")
    extensions += _extension(_STATUS_REQUEST, b"\x01\x00\x00\x00\x00")
    if server_name:
        name = server_name.encode("ascii")
        extensions += _extension(0, _sized(2, b"\x00" + _sized(2, name)))
    if code >= VERSIONS["TLSv1.2"]:
        extensions += _extension(13, _sized(2, _codes(_SIGNATURES)))
    if modern:
        extensions += _extension(_SUPPORTED_VERSIONS, _sized(1, _codes((code,))))
        extensions += _extension(51, _sized(2, _codes((_GROUPS[0],)) + _sized(2, os.urandom(32))))
    body = min(code, VERSIONS["TLSv1.2"]).to_bytes(2, "big") + os.urandom(32)
    body += _sized(1, os.urandom(32) if modern else b"")
    body += _sized(2, _codes(_CIPHERS_13 if modern else _CIPHERS)) + b"\x01\x00" + _sized(2, extensions)
    return b"\x16\x03\x01" + _sized(2, b"\x01" + _sized(3, body))


def read_flight(data: bytes) -> Flight:
    """What the server's bytes say; of an incomplete flight, what it says so far.

    Raises:
        MalformedError: the bytes are not TLS.
    """
    messages = b""
    for kind, payload in _records(data):
        if kind == _ALERT:
            if len(payload) != 2:
                raise MalformedError("an alert has two bytes")
            if payload[0] == 2 or payload[1] == 0:
                return Flight(alert=payload[1], complete=True)
        elif kind == _HANDSHAKE:
            messages += payload
        else:
            break  # TLS 1.3 hides the rest
    version, staple, done = "", None, False
    for kind, body in _messages(messages):
        if kind == _SERVER_HELLO:
            version = _chosen(body)
            done = version == "TLSv1.3"
        elif kind == _CERTIFICATE_STATUS and body[:1] == b"\x01":
            staple = _vector(body[1:], 3)[0]
        elif kind == _SERVER_HELLO_DONE:
            done = True
    return Flight(version, None, staple, done)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each whole record."""
    while data:
        if data[0] not in (20, _ALERT, _HANDSHAKE, 23) or (len(data) > 1 and data[1] != 3):
            raise MalformedError("the answer is not TLS")
        if len(data) < 5:
            return
        size = int.from_bytes(data[3:5], "big")
        if len(data) < 5 + size:
            return
        yield data[0], data[5 : 5 + size]
        data = data[5 + size :]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each whole handshake message."""
    while len(data) >= 4:
        size = int.from_bytes(data[1:4], "big")
        if len(data) < 4 + size:
            return
        yield data[0], data[4 : 4 + size]
        data = data[4 + size :]


def _chosen(body: bytes) -> str:
    """Version a ServerHello chose; in TLS 1.3 it stands in an extension."""
    code = int.from_bytes(body[:2], "big")
    if len(body) < 38:
        raise MalformedError("the server's hello is too short")
    _, rest = _vector(body[34:], 1)
    extensions = _vector(rest[3:], 2)[0] if rest[3:] else b""
    while extensions:
        kind = int.from_bytes(extensions[:2], "big")
        value, extensions = _vector(extensions[2:], 2)
        if kind == _SUPPORTED_VERSIONS:
            code = int.from_bytes(value, "big")
    return NAMES.get(code, f"0x{code:04x}")


def _vector(data: bytes, width: int) -> tuple[bytes, bytes]:
    """The content of a vector with a length of ``width`` bytes, and what follows it."""
    end = width + int.from_bytes(data[:width], "big")
    if len(data) < width or len(data) < end:
        raise MalformedError("the answer breaks off inside a field")
    return data[width:end], data[end:]


def _sized(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width, "big") + content


def _codes(codes: tuple[int, ...]) -> bytes:
    return b"".join(code.to_bytes(2, "big") for code in codes)


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _sized(2, content)
