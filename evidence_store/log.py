"""``log/entries``: the append-only list of leaves, and what each leaf must look like.

A frame is ``u32be length | u32be CRC | leaf``. The CRC is seeded and a length is never zero, so that a tail of zeros
left by a power cut is not mistaken for a frame. The leaf is the exact file of a DSSE envelope.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evidence_store.dsse import ENVELOPE_LIMIT, Envelope, Statement, open_envelope, open_statement
from evidence_store.errors import TamperedError, VerificationError
from evidence_store.layout import ENTRIES
from evidence_store.spelling import stamp, unstamp

CRC_SEED = 0x5EA1
HEAD = struct.Struct(">II")
LOG_LIMIT = 1 << 30
"""Largest log this release reads, in bytes."""

GENESIS = "genesis"
RUN_OPEN = "run-open"
RUN_CLOSE = "run-close"
RUN_ABORT = "run-abort"
GAP = "gap"
ANCHOR = "anchor"
KEY_TRANSITION = "key-transition"
KEY_REVOCATION = "key-revocation"
REDACTION = "redaction"
"""Bodies were erased: the log keeps their digests, the basis and who approved."""
EXPORT = "export"
ATTACHMENT = "attachment"
"""A person states something with a file or in words; or withdraws an earlier statement."""
WAIVER = "waiver"
"""A person lets a finding stand for a time; or takes that back."""
NOTED = (GAP, ANCHOR, WAIVER, "config-change", "schedule", "pause", EXPORT)
"""Kinds that only record a fact."""
KINDS = (GENESIS, RUN_OPEN, RUN_CLOSE, RUN_ABORT, KEY_TRANSITION, KEY_REVOCATION, REDACTION, ATTACHMENT, *NOTED)
"""Kinds this release understands; a log with any other is refused, not guessed at."""
SET_BY_STORE = ("index", "recordedOn")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the log."""

    index: int
    """Place in the log, from 0."""
    data: bytes
    """The exact bytes: an envelope file."""
    envelope: Envelope
    """Payload and signatures."""
    statement: Statement
    """What it says."""

    @property
    def kind(self) -> str:
        """Leaf kind."""
        return self.statement.kind

    @property
    def predicate(self) -> dict[str, Any]:
        """The facts of the statement."""
        return dict(self.statement.predicate)

    @property
    def recorded_on(self) -> datetime:
        """When the store wrote it, by its own clock."""
        return unstamp(self.statement.predicate["recordedOn"])


def frame(leaf: bytes) -> bytes:
    """The bytes appended for one leaf."""
    return HEAD.pack(len(leaf), zlib.crc32(leaf, CRC_SEED)) + leaf


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """End offset and content of each whole frame from the start; stops at the first that is not whole."""
    place = 0
    while place + HEAD.size <= len(data):
        length, crc = HEAD.unpack_from(data, place)
        end = place + HEAD.size + length
        leaf = data[place + HEAD.size : end]
        if not 0 < length <= ENVELOPE_LIMIT or len(leaf) < length or zlib.crc32(leaf, CRC_SEED) != crc:
            return
        yield end, leaf
        place = end


def leaf_predicate(index: int, moment: datetime, facts: dict[str, Any]) -> dict[str, Any]:
    """A predicate as every leaf has it: its place and time first."""
    return {"index": index, "recordedOn": stamp(moment), **facts}


def open_leaf(index: int, data: bytes) -> Leaf:
    """Parse leaf ``index``; its signature is not checked yet.

    Raises:
        TamperedError: it is not a leaf this release understands, at this place.
    """
    try:
        envelope = open_envelope(data)
        leaf = Leaf(index, data, envelope, open_statement(envelope.payload))
        unstamp(leaf.statement.predicate.get("recordedOn"))
    except (VerificationError, ValueError) as error:
        raise TamperedError(ENTRIES, f"leaf {index}: {error}") from error
    place = leaf.statement.predicate.get("index")
    if type(place) is not int or place != index:
        raise TamperedError(ENTRIES, f"leaf {index} was signed for another place in the log")
    if leaf.kind not in KINDS:
        raise TamperedError(
            ENTRIES, f"leaf {index} is of a kind this release does not know", "verify with a newer release"
        )
    return leaf
