"""Time-stamp replies beside the checkpoints, and the leaves that name them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from evidence_store import layout
from evidence_store.errors import TamperedError
from evidence_store.fs import read_file
from evidence_store.log import ANCHOR, Leaf
from evidence_store.spelling import HEX256

TOKEN_LIMIT = 65536
Token = tuple[int, str]
"""Checkpoint size and authority."""


def anchored(leaves: Sequence[Leaf]) -> dict[Token, str]:
    """SHA-256 of each time-stamp reply that a leaf names.

    Raises:
        TamperedError: a leaf names one in a way this release does not read.
    """
    named: dict[Token, str] = {}
    for leaf in leaves:
        if leaf.kind != ANCHOR:
            continue
        try:
            for entry in leaf.predicate.get("anchors", []):
                if entry["kind"] == "tsr":
                    size, authority, sha256 = entry["checkpointSize"], entry["authority"], entry["sha256"]
                    if not layout.TOKEN_FILE.fullmatch(layout.token_name(size, authority)) or not HEX256.fullmatch(
                        sha256
                    ):
                        raise ValueError("not a token")
                    named[size, authority] = sha256
        except (KeyError, TypeError, ValueError) as error:
            raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} names a time stamp that cannot be one") from error
    return named


def token_digests(root: Path) -> dict[Token, str]:
    """SHA-256 of each time-stamp reply that stands in the store, in order of size."""
    found: dict[Token, str] = {}
    for path in sorted((root / layout.CHECKPOINTS).iterdir()):
        name = f"{layout.CHECKPOINTS}/{path.name}"
        if match := layout.TOKEN_FILE.fullmatch(name):
            found[int(match[1]), match[2]] = hashlib.sha256(read_file(root, name, TOKEN_LIMIT)).hexdigest()
    return found
