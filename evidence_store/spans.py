"""A body cut into spans, each committed to with a salt of its own: some can be left out later and the root still holds.

The body is cut at its fields: shown, field, shown, field, ..., shown, so that spans at odd places are fields. A span's
leaf is ``SHA-256(0x00 || salt || span)``; the RFC 6962 root over the leaves stands in the sealed line of the reply. The
salts come from a seed that never leaves the store, so a leaf tells nothing of a span that could be guessed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from evidence_store.errors import VerificationError
from evidence_store.merkle import Frontier, leaf_hash, tree_root
from evidence_store.spelling import HEX256, b64, dump, load, unb64

SEED_LENGTH = 32
SALT_LENGTH = 16
SPAN_LIMIT = 2_000_001
"""Most spans of one body."""
FORMS = ("json", "text", "whole")
"""What a field is: a JSON scalar, a piece of text, or the whole body."""
MASK = re.compile(r"affidavitleftout[0-9]{7}x")
"""What stands for a field that is left out when a source reads the reply again; no two of a reply are alike."""

WITHHELD_FACTS = ("i", "salt", "sha256", "size", "cut", "headers", "redactions")
"""What the public line of a reply does not repeat: whatever the body could be guessed from, and what is its own."""
KEPT_HEADERS = ("content-type", "date", "link", "location", "retry-after", "server")
"""Headers that say nothing about the body's content."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the fields of a body stand."""

    form: str
    """One of :data:`FORMS`."""
    ranges: tuple[tuple[int, int], ...]
    """First byte, and the byte behind the last, of each field; ascending, not overlapping."""

    def __post_init__(self) -> None:
        place = 0
        for start, end in self.ranges:
            if not place <= start <= end:
                raise ValueError("fields out of order")
            place = end
        if self.form not in FORMS or not self.ranges or 2 * len(self.ranges) + 1 > SPAN_LIMIT:
            raise ValueError("not a cut")

    def spelt(self) -> bytes:
        """How it is kept in the store, as an object."""
        return dump({"form": self.form, "ranges": [list(pair) for pair in self.ranges]})

    @classmethod
    def read(cls, data: bytes) -> Cut:
        """What :meth:`spelt` wrote.

        Raises:
            ValueError: it is anything else.
        """
        value = load(data)
        try:
            cut = cls(value["form"], tuple((start, end) for start, end in value["ranges"]))
        except (KeyError, TypeError) as error:
            raise ValueError("not a cut") from error
        if cut.spelt() != data:
            raise ValueError("not a cut as this store spells it")
        return cut

    def pieces(self, body: bytes) -> list[bytes]:
        """The spans of a body, fields at odd places.

        Raises:
            ValueError: the body is shorter than the cut.
        """
        if self.ranges[-1][1] > len(body):
            raise ValueError("the cut is longer than the body")
        places = [0, *(place for pair in self.ranges for place in pair), len(body)]
        return [body[start:end] for start, end in pairwise(places)]


@dataclass(frozen=True, slots=True)
class Spans:
    """A body's spans with their salts: the secret side of a commitment."""

    form: str
    pieces: tuple[bytes, ...]
    salts: tuple[bytes, ...]

    @classmethod
    def of(cls, seed: bytes, body: bytes, cut: Cut) -> Spans:
        """The spans of a body. The salts differ for every body and every cut.

        Raises:
            ValueError: the cut does not fit the body.
        """
        pieces = cut.pieces(body)
        about = hashlib.sha256(body).digest() + hashlib.sha256(cut.spelt()).digest()
        own = hmac.digest(seed, b"spans\x00" + about, "sha256")
        salts = (hashlib.sha256(own + place.to_bytes(8, "big")).digest()[:SALT_LENGTH] for place in range(len(pieces)))
        return cls(cut.form, tuple(pieces), tuple(salts))

    def leaves(self) -> list[bytes]:
        """The leaf hash of each span."""
        return [span_leaf(salt, piece) for salt, piece in zip(self.salts, self.pieces, strict=True)]

    def root(self) -> str:
        """What stands in the sealed line, in hex."""
        return tree_root(self.leaves()).hex()

    def without_fields(self) -> bytes:
        """The reply as a redacted bundle shows it: every field only as its leaf hash."""
        entries = [
            {"leaf": leaf.hex()} if place % 2 else {"salt": url64(salt), **_content(piece)}
            for place, (leaf, salt, piece) in enumerate(zip(self.leaves(), self.salts, self.pieces, strict=True))
        ]
        return dump({"form": self.form, "spans": entries})


@dataclass(frozen=True, slots=True)
class Redacted:
    """A reply without its fields, whose root was checked."""

    form: str
    pieces: tuple[bytes | None, ...]
    """The spans; ``None`` for a field that is left out."""
    leaves: tuple[bytes, ...]
    """The leaf hash of each."""

    def masked(self) -> bytes:
        """The body with a word in place of each field, for a source to read.

        Raises:
            ValueError: the whole body is left out.
        """
        if self.form == "whole":
            raise ValueError("nothing of it is shown")
        quote = b'"' if self.form == "json" else b""
        return b"".join(
            quote + b"affidavitleftout%07dx" % place + quote if piece is None else piece
            for place, piece in enumerate(self.pieces)
        )


def open_redacted(data: bytes, root: str) -> Redacted:
    """What :meth:`Spans.without_fields` wrote.

    Raises:
        VerificationError: it is anything else, or is not what ``root`` promised.
    """
    try:
        value = load(data)
        if list(value) != ["form", "spans"] or value["form"] not in FORMS or dump(value) != data:
            raise ValueError("other fields")
        if not 3 <= len(value["spans"]) <= SPAN_LIMIT or len(value["spans"]) % 2 == 0:
            raise ValueError("an impossible number of spans")
        found = [_entry(entry, place % 2 == 1) for place, entry in enumerate(value["spans"])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationError("is not spelt as a reply with fields left out", "ask for the bundle again") from error
    leaves = tuple(leaf for _, leaf in found)
    if tree_root(leaves).hex() != root:
        raise VerificationError("is not the root over the leaves", "ask for the bundle again")
    return Redacted(value["form"], tuple(piece for piece, _ in found), leaves)


def _entry(entry: dict[str, Any], field: bool) -> tuple[bytes | None, bytes]:
    if field:
        if set(entry) != {"leaf"} or not HEX256.fullmatch(entry["leaf"]):
            raise ValueError("a field is more than its leaf")
        return None, bytes.fromhex(entry["leaf"])
    salt, piece = open_span(entry)
    return piece, span_leaf(salt, piece)


def open_span(entry: dict[str, Any]) -> tuple[bytes, bytes]:
    """Salt and bytes of ``{"salt", "text"}`` or ``{"salt", "data"}``.

    Raises:
        ValueError: it is neither, or not spelt as this package spells it.
    """
    if list(entry) == ["salt", "text"]:
        piece = str(entry["text"]).encode("utf-8")
    elif list(entry) == ["salt", "data"]:
        piece = unb64(entry["data"])
    else:
        raise ValueError("not a span")
    salt = unurl64(entry["salt"])
    if len(salt) != SALT_LENGTH or _content(piece) != {name: entry[name] for name in entry if name != "salt"}:
        raise ValueError("another spelling of a span")
    return salt, piece


def shown_span(spans: Spans, place: int) -> dict[str, str]:
    """One span as :func:`open_span` reads it."""
    return {"salt": url64(spans.salts[place]), **_content(spans.pieces[place])}


def _content(piece: bytes) -> dict[str, str]:
    try:
        return {"text": piece.decode("utf-8")}
    except UnicodeDecodeError:
        return {"data": b64(piece)}


def span_leaf(salt: bytes, span: bytes) -> bytes:
    """``SHA-256(0x00 || salt || span)``."""
    return leaf_hash(salt + span)


def public_line(number: int, line: dict[str, Any], seed: bytes) -> bytes:
    """The second line of a reply with fields: all facts but those the body could be guessed from.

    It is made from the sealed line and the seed alone, so the store does not keep it; its root stands in the leaf that
    ends the run.
    """
    salt = hmac.digest(seed, b"line\x00" + str(line["salt"]).encode(), "sha256")[:SALT_LENGTH]
    facts = {name: value for name, value in line.items() if name not in WITHHELD_FACTS}
    headers = line.get("headers")
    if isinstance(headers, dict):
        facts["headers"] = {name: value for name, value in headers.items() if name in KEPT_HEADERS}
    return dump({"i": number, "reply": line["i"], **facts, "salt": url64(salt)})


class PublicStream:
    """The public lines of a run, taken in one by one; their text is not kept."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._frontier = Frontier()
        self._size = 0

    def add(self, line: dict[str, Any]) -> None:
        """Take in the sealed line of a reply with fields."""
        public = public_line(self._frontier.size, line, self._seed)
        self._frontier.add(leaf_hash(public))
        self._size += len(public) + 1

    def facts(self) -> dict[str, Any]:
        """What the leaf that ends the run says of them."""
        return {"leaves": self._frontier.size, "root": self._frontier.root().hex(), "size": self._size}


def url64(data: bytes) -> str:
    """URL-safe base64 without padding, as salts are written."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unurl64(text: str) -> bytes:
    """What :func:`url64` wrote.

    Raises:
        ValueError: it is spelt otherwise.
    """
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if url64(data) != text:
        raise ValueError("not canonical base64url")
    return data
