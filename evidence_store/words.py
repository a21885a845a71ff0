"""A log's head in twelve words: short enough for an auditor's own report, and 128 bits of it are bound.

The list is the English one of BIP-39, because its first four letters are unique and it is known to many tools; it comes
from python-mnemonic, copyright 2013-2016 Pavol Rusnak, MIT licence (``words.LICENSE``). The words are no wallet's seed.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from evidence_store.errors import UsageError, VerificationError
from evidence_store.note import Checkpoint
from evidence_store.spelling import b64, unb64

COUNT = 12
BITS = 11
LIST_SHA256 = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
DOMAIN = b"affidavit head 1\n"
SHORTEST = 4
"""Letters that tell a word from every other."""


def word_file() -> bytes:
    """The 2,048 words, one a line.

    Raises:
        VerificationError: the file of this installation is another.
    """
    data = files(__package__).joinpath("words.txt").read_bytes()
    if hashlib.sha256(data).hexdigest() != LIST_SHA256:
        raise VerificationError("words.txt is not the list of this format", "install this package again")
    return data


@cache
def _words() -> tuple[str, ...]:
    return tuple(word_file().decode("ascii").split())


def digest(head: Checkpoint) -> bytes:
    """The 16 bytes that the words of a head spell."""
    return hashlib.sha256(DOMAIN + head.text().encode()).digest()[:16]


def spell(head: Checkpoint) -> str:
    """The twelve words of a head."""
    data = digest(head)
    number = int.from_bytes(data, "big") << 4 | hashlib.sha256(data).digest()[0] >> 4
    words = _words()
    return " ".join(words[number >> shift & 2047] for shift in range((COUNT - 1) * BITS, -1, -BITS))


def read(text: str) -> bytes:
    """The 16 bytes that twelve words spell; capitals, line breaks and words cut to four letters are forgiven.

    Raises:
        UsageError: they are not twelve words of the list, or one of them was copied wrongly.
    """
    given = text.lower().split()
    if len(given) != COUNT:
        raise UsageError(f"{len(given)} words are given, a head has {COUNT}", "copy all twelve, or name a note file")
    places = {word[:SHORTEST]: (number, word) for number, word in enumerate(_words())}
    value = 0
    for place, short in enumerate(given, 1):
        number, word = places.get(short[:SHORTEST], (0, ""))
        if not word or not word.startswith(short):
            raise UsageError(f"word {place}, {short!a}, is not in the list", "compare it with the report")
        value = value << BITS | number
    data = (value >> 4).to_bytes(16, "big")
    if hashlib.sha256(data).digest()[0] >> 4 != value & 15:
        raise UsageError("the twelve words do not fit together", "compare each with the report: one is wrong")
    return data


def read_head(text: str) -> Checkpoint:
    """The head in a note file, or in its first three lines; its signature is not looked at: whoever kept it, trusts it.

    Raises:
        UsageError: there is no head.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    try:
        if len(lines) < 3 or not lines[1].isascii() or not lines[1].isdigit() or len(lines[1]) > 12:
            raise ValueError("not a head")
        head = Checkpoint(lines[0], int(lines[1]), unb64(lines[2]))
    except ValueError as error:
        raise UsageError(
            "this is not the head of a log", "give a note file, its three lines, or twelve words"
        ) from error
    if len(head.root) != hashlib.sha256().digest_size or str(head.size) != lines[1] or b64(head.root) != lines[2]:
        raise UsageError("this is not the head of a log", "give a note file, its three lines, or twelve words")
    return head
