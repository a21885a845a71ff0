"""OpenSSH signature files (PROTOCOL.sshsig): for Ed25519 the very bytes that ``ssh-keygen -Y sign`` writes."""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from evidence_store.errors import VerificationError
from evidence_store.keys import PublicKey, Signer
from evidence_store.spelling import b64, unb64

MAGIC = b"SSHSIG"
HASH = b"sha512"
BEGIN, END = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
WIDTH = 70
LIMIT = 8192


def ssh_key(key: PublicKey) -> str:
    """Key type and base64, as a line of ``authorized_keys`` has them."""
    public = serialization.load_der_public_key(key.spki)
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return public.public_bytes(encoding, form).decode("ascii")


def sign(data: bytes, namespace: str, signer: Signer) -> bytes:
    """The signature file of ``data``."""
    return _file(signer.public, namespace, _ssh_signature(signer.public, signer.sign(_message(data, namespace))))


def verify(file: bytes, data: bytes, namespace: str, key: PublicKey) -> None:
    """The file is a signature of ``data`` by this key, for this namespace, in its only spelling.

    Raises:
        VerificationError: it is not.
    """
    try:
        text = file.decode("ascii") if len(file) <= LIMIT else ""
        blob = unb64(text.removeprefix(BEGIN).removesuffix(END).replace("\n", ""))
        signature = _fields(blob[len(MAGIC) + 4 :])[-1]
        spelt = _file(key, namespace, signature)
        plain = _plain_signature(key, signature)
    except ValueError as error:
        raise _wrong("is not an SSH signature") from error
    if spelt != file:
        raise _wrong("is not spelt as an SSH signature by this key for this namespace")
    if not key.verifies(plain, _message(data, namespace)):
        raise _wrong("has a signature that does not verify")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _fields(data: bytes) -> list[bytes]:
    fields = []
    while data:
        if len(data) < 4:
            raise ValueError("cut short")
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise ValueError("cut short")
        fields.append(data[4 : 4 + length])
        data = data[4 + length :]
    if not fields:
        raise ValueError("empty")
    return fields


def _message(data: bytes, namespace: str) -> bytes:
    digest = hashlib.sha512(data).digest()
    return MAGIC + _string(namespace.encode()) + _string(b"") + _string(HASH) + _string(digest)


def _file(key: PublicKey, namespace: str, signature: bytes) -> bytes:
    public = b64decode(ssh_key(key).split()[1])
    parts = (public, namespace.encode(), b"", HASH, signature)
    text = b64(MAGIC + struct.pack(">I", 1) + b"".join(map(_string, parts)))
    lines = "".join(text[start : start + WIDTH] + "\n" for start in range(0, len(text), WIDTH))
    return (BEGIN + lines + END).encode("ascii")


def _ssh_signature(key: PublicKey, signature: bytes) -> bytes:
    kind = ssh_key(key).split()[0].encode()
    if kind == b"ssh-ed25519":
        return _string(kind) + _string(signature)
    r, s = decode_dss_signature(signature)
    return _string(kind) + _string(_string(_integer(r)) + _string(_integer(s)))


def _plain_signature(key: PublicKey, blob: bytes) -> bytes:
    """The signature as :class:`PublicKey` checks it.

    Raises:
        ValueError: it is not one of this kind of key, or spelt otherwise.
    """
    kind, inner = _two(blob)
    if kind.decode("ascii") != ssh_key(key).split()[0]:
        raise ValueError("another kind of key")
    if kind == b"ssh-ed25519":
        return inner
    r, s = _two(inner)
    plain = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    if _ssh_signature(key, plain) != blob:
        raise ValueError("other spelling")
    return plain


def _two(blob: bytes) -> tuple[bytes, bytes]:
    fields = _fields(blob)
    if len(fields) != 2:
        raise ValueError("not two fields")
    return fields[0], fields[1]


def _integer(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _wrong(what: str) -> VerificationError:
    return VerificationError(f"the SSH signature {what}", "compare with a copy held elsewhere")
