"""C2SP cosignatures: a witness' dated signature over a checkpoint it has seen grow (c2sp.org/tlog-cosignature)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence_store.errors import UsageError, VerificationError
from evidence_store.heads import NAME, signature_line
from evidence_store.keys import PublicKey, Signer
from evidence_store.spelling import b64, unb64

COSIGNATURE_V1 = b"\x04"
"""Signature type of an Ed25519 cosignature."""
TIME_LIMIT = 1 << 40
ASK_AGAIN = "ask the witness for its key again; 'affidavit witness' prints it when it starts"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness as those know it who trust it: a name and a key."""

    name: str
    """A URL without scheme, such as ``witness.example.org/w1``."""
    key: PublicKey
    """Its Ed25519 key, used for nothing but cosignatures."""

    @classmethod
    def parse(cls, text: str) -> Witness:
        """The witness in a verifier key, ``name+keyid+base64``.

        Raises:
            UsageError: it is not the verifier key of a cosigner.
        """
        name, _, rest = text.strip().partition("+")
        keyid, _, encoded = rest.partition("+")
        try:
            raw = unb64(encoded)
            if raw[:1] != COSIGNATURE_V1 or len(raw) != 33 or not NAME.fullmatch(name):
                raise ValueError("another type of key")
            witness = cls(name, PublicKey(Ed25519PublicKey.from_public_bytes(raw[1:])))
        except ValueError as error:
            raise UsageError(f"{text[:80]!r} is not the key of a witness", ASK_AGAIN) from error
        if witness.keyid != keyid:
            raise UsageError(f"the key of witness {name} does not belong to its key id {keyid[:16]!r}", ASK_AGAIN)
        return witness

    @property
    def keyid(self) -> str:
        """Eight hex digits that stand before its signatures and in file names."""
        return self._id.hex()

    @property
    def _id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE_V1 + self.key.raw).digest()[:4]

    def verifier_key(self) -> str:
        """The spelling that others pin."""
        return f"{self.name}+{self.keyid}+{b64(COSIGNATURE_V1 + self.key.raw)}"

    def cosign(self, text: str, signer: Signer, moment: datetime) -> bytes:
        """The signature line over a checkpoint's text."""
        seconds = int(moment.timestamp())
        signature = signer.sign(_message(seconds, text))
        return f"— {self.name} {b64(self._id + struct.pack('>Q', seconds) + signature)}\n".encode()

    def opened(self, line: bytes, text: str) -> datetime:
        """When this witness signed exactly this text.

        Raises:
            VerificationError: the line is not its signature over it, or spelt another way.
        """
        try:
            name, body = signature_line(line)
            seconds = struct.unpack(">Q", body[4:12])[0]
        except (ValueError, struct.error) as error:
            raise VerificationError("is not a cosignature", "compare with the witness") from error
        if name != self.name or body[:4] != self._id or len(body) != 76 or not 0 < seconds < TIME_LIMIT:
            raise VerificationError(f"is not a cosignature of {self.name}", "compare with the witness")
        if not self.key.verifies(body[12:], _message(seconds, text)):
            raise VerificationError(f"does not verify as a cosignature of {self.name}", "compare with the witness")
        return datetime.fromtimestamp(seconds, UTC)


def pick(lines: Iterable[bytes], witness: Witness) -> bytes | None:
    """The line of a witness among others', by name and key id."""
    for line in lines:
        name, body = signature_line(line)
        if name == witness.name and body[:4].hex() == witness.keyid:
            return line
    return None


def _message(seconds: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
