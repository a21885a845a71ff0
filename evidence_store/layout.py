"""Names of everything a store may hold; a name that is not here is a problem."""

from __future__ import annotations

import re

FORMAT = "evstore/1"
STORE = "STORE.json"
LOCK = "lock"
TRUST = "keys/trust.json"
ENTRIES = "log/entries"
CHECKPOINTS = "log/checkpoints"
RUNS = "runs"
SPOOL = "spool"
INDEX = "index.sqlite"
"""Derived; no authority, and may be deleted at any time."""
REMOTE = "remote"
"""Names the bucket this folder is a working copy of."""
SPOOLED_NOTE = "spool/checkpoint.note"
"""A checkpoint being written; it gets its own name once its content is safe."""
SPOOLED_TRUST = "spool/trust.json"
"""The list of keys being written anew, after one was added or revoked."""
SPOOLED_REPLY = "spool/reply.tsr"
"""A time-stamp reply being written."""

SPOOLED_ATTACHMENT = "spool/attachment"
"""An attachment being written."""
ATTACHMENTS = "attachments"
"""What people attached, by digest; made when there is the first."""

PLAN = "plan.json"
MANIFEST = "manifest.ndjson"
RESULTS = "results.ndjson"
PACK = "objects.pack"
STATEMENT = "statement.dsse.json"
PACKED = ".zst"
RUN_FILES = (PLAN, MANIFEST + PACKED, RESULTS + PACKED, PACK, STATEMENT)
SEED = "spans.seed"
"""Secret of a run whose replies have personal fields: their salts come from it, and it never leaves the store."""

FOLDERS = ("keys", "log", CHECKPOINTS, RUNS, SPOOL)
FILES = (STORE, TRUST, ENTRIES)

_RUN = r"[0-9]{8}"
NOTE_FILE = re.compile(r"log/checkpoints/([0-9]{12})\.note")
TOKEN_FILE = re.compile(r"log/checkpoints/([0-9]{12})\.note\.([a-z0-9][a-z0-9-]{0,31})\.tsr")
COSIGNATURE_FILE = re.compile(r"log/checkpoints/([0-9]{12})\.note\.([0-9a-f]{8})\.cosig")
"""A witness' signature line over a checkpoint, by the key id of the witness."""
CHAIN_FILE = re.compile(r"log/checkpoints/([0-9a-f]{64})\.(chain\.pem|crl)")
"""Certificates of a time-stamp authority, or its revocation list, by SHA-256: many tokens share one."""
ATTACHMENT_FILE = re.compile(r"attachments/([0-9a-f]{64})")
RUN_FOLDER = re.compile(rf"runs/({_RUN})")
SPOOL_FOLDER = re.compile(rf"spool/({_RUN})(\.rows)?")
SPOOL_LINES = re.compile(rf"spool/({_RUN})\.ndjson")
SPOOL_FILE = re.compile(
    rf"spool/{_RUN}(/({'|'.join(re.escape(name) for name in (*RUN_FILES, SEED))})|\.rows/[0-9]+\.rows)"
)
SPOOL_PACK = re.compile(rf"spool/({_RUN})\.pack")
"""A pack written anew because a body of it is erased; it replaces the old one once the log says so."""

ORIGIN = re.compile(r"[!-*,-~]{1,128}")
"""A log's name: visible ASCII without space or plus, as signed notes want it."""


def note_name(size: int) -> str:
    """Path of the checkpoint over ``size`` leaves."""
    return f"{CHECKPOINTS}/{size:012d}.note"


def token_name(size: int, authority: str) -> str:
    """Path of a time-stamp reply for the checkpoint over ``size`` leaves."""
    return f"{note_name(size)}.{authority}.tsr"


def cosignature_name(size: int, keyid: str) -> str:
    """Path of a witness' signature over the checkpoint over ``size`` leaves."""
    return f"{note_name(size)}.{keyid}.cosig"


def chain_name(sha256: str) -> str:
    """Path of the certificates between a time-stamp authority and its root."""
    return f"{CHECKPOINTS}/{sha256}.chain.pem"


def crl_name(sha256: str) -> str:
    """Path of a revocation list, as the authority's issuer publishes it."""
    return f"{CHECKPOINTS}/{sha256}.crl"


def attachment_name(sha256: str) -> str:
    """Path of what was attached."""
    return f"{ATTACHMENTS}/{sha256}"


def run_name(number: int) -> str:
    """Path of a sealed run."""
    return f"{RUNS}/{number:08d}"


def spool_name(number: int) -> str:
    """Path of the open run."""
    return f"{SPOOL}/{number:08d}"


def spool_rows_name(number: int) -> str:
    """Path of what the open run derives from its bodies; it is removed when the run ends, and never sealed."""
    return f"{SPOOL}/{number:08d}.rows"


def spool_pack_name(number: int) -> str:
    """Path of a run's pack that is being written anew."""
    return f"{SPOOL}/{number:08d}.pack"


def spool_lines_name(number: int) -> str:
    """Path of the open run's reply lines, not yet compressed."""
    return f"{SPOOL}/{number:08d}.ndjson"
