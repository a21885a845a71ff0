"""A log's head as others hold it: a checkpoint with the log's signature and perhaps cosignatures below it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from evidence_store.errors import VerificationError
from evidence_store.keys import PublicKey
from evidence_store.note import Checkpoint, key_id
from evidence_store.spelling import b64, unb64

NAME = re.compile(r"[!-*,-~]{1,128}")
"""A key's name: visible ASCII without space or plus."""
LINES_LIMIT = 16
"""Signature lines read of one note; one with more is refused."""


@dataclass(frozen=True, slots=True)
class Head:
    """A log's head as a witness reads it; lines after the third are the log's own affair."""

    origin: str
    size: int
    root: bytes
    text: str
    """What is signed."""

    @classmethod
    def parse(cls, text: str) -> Head:
        """The head in a checkpoint's text.

        Raises:
            ValueError: it is none.
        """
        lines = text.split("\n")
        if len(lines) < 4 or not re.fullmatch("0|[1-9][0-9]{0,17}", lines[1]) or not all(lines[:-1]):
            raise ValueError("not a checkpoint")
        root = unb64(lines[2])
        if len(root) != 32:
            raise ValueError("not a root")
        return cls(lines[0], int(lines[1]), root, text)


def signature_line(line: bytes) -> tuple[str, bytes]:
    """Name, and key id with signature, of a note's signature line in its only spelling.

    Raises:
        ValueError: it is not one.
    """
    name, _, encoded = line.decode("utf-8").removeprefix("— ").removesuffix("\n").partition(" ")
    body = unb64(encoded)
    if len(body) < 5 or not NAME.fullmatch(name) or f"— {name} {b64(body)}\n".encode() != line:
        raise ValueError("not a signature line")
    return name, body


def split_note(data: bytes) -> tuple[str, list[bytes]]:
    """The text of a note and its signature lines, which are not checked.

    Raises:
        ValueError: it is not a note.
    """
    text, gap, rest = data.decode("utf-8").rpartition("\n\n")
    lines = [line + "\n" for line in rest.removesuffix("\n").split("\n")]
    if not gap or not rest.endswith("\n") or not 0 < len(lines) <= LINES_LIMIT:
        raise ValueError("not a note")
    encoded = [line.encode() for line in lines]
    for line in encoded:
        signature_line(line)
    return text + "\n", encoded


def signed_by(origin: str, key: PublicKey, text: str, lines: Iterable[bytes]) -> bool:
    """Whether one of the lines is the log's own signature over the text, by this key."""
    for line in lines:
        name, body = signature_line(line)
        if name == origin and body[:4] == key_id(origin, key) and key.verifies(body[4:], text.encode()):
            return True
    return False


def head_of(note: bytes, origin: str, keys: Iterable[PublicKey]) -> Checkpoint:
    """The checkpoint in a note of this log; cosignatures may stand below the log's own signature.

    Raises:
        VerificationError: it is of another log, or not signed by one of ``keys``.
    """
    try:
        text, lines = split_note(note)
        head = Head.parse(text)
    except ValueError as error:
        raise VerificationError("is not a checkpoint", "name a checkpoint of this log") from error
    if head.origin != origin:
        raise VerificationError(f"is a checkpoint of the log {head.origin[:80]!a}", "name one of this log")
    if not any(signed_by(origin, key, text, lines) for key in keys):
        raise VerificationError("is not signed by the key of this log", "compare with who gave it to you")
    return Checkpoint(origin, head.size, head.root)
