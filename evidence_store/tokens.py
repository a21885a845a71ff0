"""What others attest beside the checkpoints: time stamps, cosignatures, chains; and the leaves that name them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evidence_store import layout
from evidence_store.errors import TamperedError
from evidence_store.fs import read_file
from evidence_store.log import ANCHOR, Leaf
from evidence_store.spelling import HEX256

TOKEN_LIMIT = 65536
COSIGNATURE_LIMIT = 1024
CHAIN_LIMIT = 1 << 20
"""Longest chain or revocation list that is kept, in bytes."""
Token = tuple[int, str]
"""Checkpoint size and authority."""
Cosignature = tuple[int, str]
"""Checkpoint size and key id of the witness."""
COPY_KINDS = ("folder", "git", "s3", "objectlock")
"""Where a copy of a checkpoint may have been put."""


def anchored(leaves: Sequence[Leaf]) -> dict[Token, str]:
    """SHA-256 of each time-stamp reply that a leaf names.

    Raises:
        TamperedError: a leaf names one in a way this release does not read.
    """
    return {
        (entry["checkpointSize"], entry["authority"]): entry["sha256"]
        for entry in _entries(leaves)
        if entry["kind"] == "tsr"
    }


def cosignatures_named(leaves: Sequence[Leaf]) -> dict[Cosignature, str]:
    """SHA-256 of each cosignature that a leaf names.

    Raises:
        TamperedError: a leaf names one in a way this release does not read.
    """
    return {
        (entry["checkpointSize"], entry["keyid"]): entry["sha256"]
        for entry in _entries(leaves)
        if entry["kind"] == "cosig"
    }


def chains_named(leaves: Sequence[Leaf]) -> set[str]:
    """Path of each chain and revocation list that a leaf names; the path holds the SHA-256.

    Raises:
        TamperedError: a leaf names one in a way this release does not read.
    """
    return {_chain_path(entry) for entry in _entries(leaves) if entry["kind"] in ("chain", "crl")}


def copies_named(leaves: Sequence[Leaf]) -> dict[str, int]:
    """Where copies of checkpoints were put by the log's own account, and the largest size put there.

    Raises:
        TamperedError: a leaf names one in a way this release does not read.
    """
    places: dict[str, int] = {}
    for entry in _entries(leaves):
        if entry["kind"] in COPY_KINDS:
            places[entry["where"]] = max(places.get(entry["where"], 0), entry["checkpointSize"])
    return places


def _entries(leaves: Sequence[Leaf]) -> Iterator[dict[str, Any]]:
    """What the anchor leaves name, one by one, each with the fields of its kind; kinds of later releases pass."""
    for leaf in leaves:
        if leaf.kind != ANCHOR:
            continue
        try:
            anchors = leaf.predicate.get("anchors", [])
            if not isinstance(anchors, list):
                raise TypeError("not a list")
            for entry in anchors:
                size, kind, sha256 = entry.get("checkpointSize"), entry["kind"], entry.get("sha256")
                if kind == "tsr":
                    sound = layout.TOKEN_FILE.fullmatch(layout.token_name(size, entry["authority"]))
                elif kind == "cosig":
                    sound = layout.COSIGNATURE_FILE.fullmatch(layout.cosignature_name(size, entry["keyid"]))
                elif kind in ("chain", "crl"):
                    sound = layout.CHAIN_FILE.fullmatch(_chain_path(entry))
                elif kind in COPY_KINDS:
                    sound = re.fullmatch(r"[ -~]{1,256}", entry["where"])
                else:
                    continue
                if sound is None or type(size) is not int or not HEX256.fullmatch(sha256):
                    raise ValueError("not an anchor")
                yield entry
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} names an anchor that cannot be one") from error


def _chain_path(entry: dict[str, Any]) -> str:
    sha256 = str(entry["sha256"])
    return layout.chain_name(sha256) if entry["kind"] == "chain" else layout.crl_name(sha256)


def token_digests(root: Path) -> dict[Token, str]:
    """SHA-256 of each time-stamp reply that stands in the store, in order of size."""
    return _digests(root, layout.TOKEN_FILE, TOKEN_LIMIT)


def cosignature_digests(root: Path) -> dict[Cosignature, str]:
    """SHA-256 of each cosignature that stands in the store, in order of size."""
    return _digests(root, layout.COSIGNATURE_FILE, COSIGNATURE_LIMIT)


def chain_paths(root: Path) -> set[str]:
    """Path of each chain and revocation list that stands in the store."""
    return {name for name in _names(root) if layout.CHAIN_FILE.fullmatch(name)}


def _digests(root: Path, pattern: re.Pattern[str], limit: int) -> dict[tuple[int, str], str]:
    found: dict[tuple[int, str], str] = {}
    for name in sorted(_names(root)):
        if match := pattern.fullmatch(name):
            found[int(match[1]), match[2]] = hashlib.sha256(read_file(root, name, limit)).hexdigest()
    return found


def _names(root: Path) -> list[str]:
    return [f"{layout.CHECKPOINTS}/{path.name}" for path in (root / layout.CHECKPOINTS).iterdir()]
