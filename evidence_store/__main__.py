"""``python -m evidence_store verify STORE --key FINGERPRINT``: an auditor's check, without the collector."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evidence_store.bundles.source import is_bundle
from evidence_store.bundles.verify import verify_bundle
from evidence_store.cosignature import Witness
from evidence_store.disclose import check_with_note
from evidence_store.errors import StoreError, UsageError
from evidence_store.revocation import checked_roots
from evidence_store.verify import CHAIN_ONLY, LINES_ONLY, Verification, verify_store

NOT_VERIFIED = 4
SHOWN = "This shows what the collector recorded, in full and in order; not that the recorded answers were true."
SHOWN_BY_THE_LINES = (
    "This shows what the collector did, in full and in order; not that the bodies it received are the sealed ones, nor "
    "that they were true."
)
SHOWN_BY_THE_CHAIN = (
    "This shows that the log is whole, and that the plans, replies and results of its runs are the files it names; not "
    "what stands in them, nor that any body is there."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 verified, 4 not verified, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m evidence_store", description=__doc__.partition(":")[2].strip())
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="say whether a store or a bundle is what was sealed")
    verify.add_argument("store", type=Path, metavar="STORE", help="a store, or a bundle: folder, zip, tar.zst")
    verify.add_argument("--key", metavar="FINGERPRINT", help="hex SHA-256 of the signer's public key")
    verify.add_argument("--tsa-roots", type=Path, metavar="PEM", help="root certificates of the time-stamp authorities")
    verify.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="key of a witness; it must have cosigned"
    )
    verify.add_argument(
        "--against", action="append", default=[], type=Path, metavar="NOTE",
        help="a checkpoint held elsewhere, or a folder of them, that the log must extend",
    )  # fmt: skip
    verify.add_argument("--since", metavar="WORDS_OR_NOTE", help="an earlier head that a bundle must extend")
    verify.add_argument("--max-stamp-lag-h", type=float, default=24, metavar="HOURS")
    verify.add_argument("--no-read-data", action="store_true", help="check log and manifests only, not every body")
    verify.add_argument("--chain-only", action="store_true", help="log, signatures and sealed files; no line, no body")
    verify.add_argument("--json", action="store_true", help="print one JSON document")
    proven = commands.add_parser("verify-disclosure", help="say whether the proof of one reply or field holds")
    proven.add_argument("proof", type=Path, metavar="PROOF")
    proven.add_argument("--checkpoint", type=Path, required=True, metavar="NOTE", help="a checkpoint that was kept")
    proven.add_argument("--key", required=True, metavar="FINGERPRINT", help="hex SHA-256 of the signer's public key")
    given = parser.parse_args(arguments)
    try:
        if given.command == "verify-disclosure":
            shown = check_with_note(_bytes(given.proof), _bytes(given.checkpoint), given.key)
            print(json.dumps(shown.as_row(), indent=2))
            return 0
        found = _verify(given)
    except StoreError as error:
        print(f"error: {error.what}\nnext:  {error.next_step}", file=sys.stderr)
        return error.exit_code
    if given.json:
        print(json.dumps({"schema": "affidavit/verification/1", "ok": found.ok, **asdict(found)}, indent=2))
    else:
        print(in_words(found))
    return 0 if found.ok else NOT_VERIFIED


def _verify(given: argparse.Namespace) -> Verification:
    """A bundle is told from a store by what it is."""
    roots = _read(given.tsa_roots)
    if not is_bundle(given.store):
        if given.since is not None:
            raise UsageError("an earlier head is given for a store", "hold a store against a note with --against")
        return verify_store(
            given.store,
            key=given.key,
            read_data=not given.no_read_data,
            chain_only=given.chain_only,
            tsa_roots=roots,
            max_stamp_lag_h=given.max_stamp_lag_h,
            witnesses=given.witness,
            against=given.against,
        )
    if given.against:
        raise UsageError(
            f"--against is for a store, and {given.store} is a bundle", "hold it against an earlier head with --since"
        )
    if given.no_read_data or given.chain_only:
        option = "--chain-only" if given.chain_only else "--no-read-data"
        raise UsageError(f"{option} is for a store, and {given.store} is a bundle", "leave it out: all of it is read")
    return verify_bundle(
        given.store,
        key=given.key,
        tsa_roots=roots,
        max_stamp_lag_h=given.max_stamp_lag_h,
        since=since_text(given.since),
        witnesses=[Witness.parse(key) for key in given.witness],
    )


def since_text(given: str | None) -> str | None:
    """The words, or the text of the note file that is named.

    Raises:
        UsageError: the file cannot be read.
    """
    if given is None or len(given.split()) > 1:
        return given
    try:
        return Path(given).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the note {given!r}", "give twelve words, or name a note file") from error


def in_words(found: Verification) -> str:
    """A verification for a person to read."""
    text = [f"{name:<12} {_told(value)}" for name, value in found.facts.items()]
    text += [f"problem: {problem}" for problem in found.problems]
    text += [f"warning: {warning}" for warning in found.warnings]
    text += [f"stamp: checkpoint {s['checkpointSize']} at {s['time']} by {s['authority']}" for s in found.stamps]
    text += [f"cosigned: checkpoint {s['checkpointSize']} at {s['time']} by {s['witness']}" for s in found.cosignatures]
    text += [f"extends: {copy['where']} ({copy['size']} leaves)" for copy in found.copies]
    counts = f"{found.leaves} leaves, {found.runs} runs, {found.replies} replies, {found.objects} objects"
    if found.ok:
        text.append(f"verified: {counts}")
        parts = {CHAIN_ONLY: SHOWN_BY_THE_CHAIN, LINES_ONLY: SHOWN_BY_THE_LINES}
        text.append(next((told for warning, told in parts.items() if warning in found.warnings), SHOWN))
    else:
        reason = f"{len(found.problems)} problems" if found.problems else "the signer is not authenticated"
        text.append(f"NOT verified ({reason}): {counts}")
    return "\n".join(text)


def _told(value: Any) -> str:
    """A fact for people: ``5 complete, 0 aborted``, ``controls A.8.13, A.8.15``."""
    if isinstance(value, Mapping):
        named = ((name, part) for name, part in value.items() if part != [])
        return ", ".join(f"{part} {name}" if isinstance(part, int) else f"{name} {_told(part)}" for name, part in named)
    return ", ".join(map(_told, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name a file") from error


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return checked_roots(path.read_bytes(), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name a file of PEM certificates") from error


if __name__ == "__main__":
    sys.exit(main())
