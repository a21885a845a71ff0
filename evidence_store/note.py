"""C2SP signed notes and checkpoints: a few lines of text and a signature line below them.

An Ed25519 key signs as algorithm 0x01 of the signed-note specification, a P-256 key as 0x02, see docs/adr/0010.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from evidence_store import keys
from evidence_store.errors import VerificationError
from evidence_store.keys import PublicKey, Signer
from evidence_store.spelling import b64, unb64

NOTE_LIMIT = 4096
ED25519 = b"\x01"
ECDSA = b"\x02"
ALGORITHMS = {keys.ED25519: ED25519, keys.P256: ECDSA}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: how many leaves it has, and the root over them."""

    origin: str
    """Name of the log, unique in the world."""
    size: int
    """Number of leaves."""
    root: bytes
    """RFC 6962 root over all leaves."""

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n"


def key_id(name: str, key: PublicKey) -> bytes:
    """First four bytes of ``SHA-256(name || LF || 0x01 || key)`` for Ed25519, of ``SHA-256(SPKI)`` for P-256."""
    if key.scheme == keys.P256:
        return bytes.fromhex(key.fingerprint)[:4]
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + key.raw).digest()[:4]


def verifier_key(name: str, key: PublicKey) -> str:
    """The key in the spelling of Go's ``sumdb/note`` and of witnesses."""
    return f"{name}+{key_id(name, key).hex()}+{b64(ALGORITHMS[key.scheme] + key.raw)}"


def sign_note(text: str, name: str, signer: Signer) -> bytes:
    """A note file: the text, an empty line, one signature line."""
    signature = b64(key_id(name, signer.public) + signer.sign(text.encode()))
    return f"{text}\n— {name} {signature}\n".encode()


def open_note(data: bytes, name: str, key: PublicKey) -> str:
    """The text of a note with exactly one signature line, by this key.

    Raises:
        VerificationError: anything else, also another spelling of the same note.
    """
    if len(data) > NOTE_LIMIT:
        raise _wrong("is too long")
    try:
        text, _, line = data.decode("utf-8").rpartition("\n\n")
        text += "\n"
        signature = unb64(line.removeprefix(f"— {name} ").removesuffix("\n"))
    except ValueError as error:
        raise _wrong("is not a signed note of this log") from error
    if f"{text}\n— {name} {b64(signature)}\n".encode() != data:
        raise _wrong("is not spelt as a signed note of this log")
    if signature[:4] != key_id(name, key):
        raise _wrong("is signed by another key")
    if not key.verifies(signature[4:], text.encode()):
        raise _wrong("has a signature that does not verify")
    return text


def open_checkpoint(data: bytes, origin: str, key: PublicKey) -> Checkpoint:
    """The checkpoint in a signed note of this log.

    Raises:
        VerificationError: it is not one, or not spelt as one.
    """
    text = open_note(data, origin, key)
    lines = text.split("\n")
    try:
        if len(lines) != 4 or not lines[1].isascii() or not lines[1].isdigit() or len(lines[1]) > 12:
            raise ValueError("not three lines with a size")
        checkpoint = Checkpoint(lines[0], int(lines[1]), unb64(lines[2]))
    except ValueError as error:
        raise _wrong("is not a checkpoint") from error
    if checkpoint.origin != origin or len(checkpoint.root) != 32 or checkpoint.text() != text:
        raise _wrong("is not a checkpoint of this log")
    return checkpoint


def _wrong(what: str) -> VerificationError:
    return VerificationError(f"the note {what}", "compare with a copy held elsewhere")
