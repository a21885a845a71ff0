"""Holds a log against what outsiders have: cosignatures of witnesses, copies of checkpoints, time stamps it names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evidence_store import layout
from evidence_store.anchors import must_extend, prefix_roots
from evidence_store.cosignature import Witness
from evidence_store.errors import ForkError, TamperedError, UsageError, VerificationError
from evidence_store.fs import read_file
from evidence_store.heads import Head, signature_line, split_note
from evidence_store.history import History, Report
from evidence_store.merkle import leaf_hash
from evidence_store.note import NOTE_LIMIT
from evidence_store.spelling import lasting, stamp, unstamp
from evidence_store.tokens import (
    CHAIN_LIMIT,
    COSIGNATURE_LIMIT,
    chain_paths,
    chains_named,
    cosignature_digests,
    cosignatures_named,
    token_digests,
)

COPIES_LIMIT = 100_000
"""Checkpoints read from one folder of copies."""

Warn = Callable[[str], None]


def check_cosignatures(
    root: Path, history: History, witnesses: Sequence[Witness], report: Report, warn: Warn
) -> list[dict[str, Any]]:
    """Cosignatures that pinned witnesses made: size of the checkpoint, witness, time.

    Those the log names must be there; those of a pinned witness must verify; a pinned witness must have signed
    something. Raises :class:`TamperedError` when the log cannot be read.
    """
    named, present = cosignatures_named(history.leaves), cosignature_digests(root)
    for cosignature, sha256 in named.items():
        if cosignature not in present:
            report(layout.cosignature_name(*cosignature), "is named in the log and missing")
        elif present[cosignature] != sha256:
            report(layout.cosignature_name(*cosignature), "is not the cosignature the log names")
    pinned = {witness.keyid: witness for witness in witnesses}
    checked: list[dict[str, Any]] = []
    strangers: dict[str, str] = {}
    for size, keyid in sorted(present):
        name = layout.cosignature_name(size, keyid)
        try:
            line = read_file(root, name, COSIGNATURE_LIMIT)
            if keyid not in pinned:
                strangers[keyid] = signature_line(line)[0]
                continue
            text, _ = split_note(read_file(root, layout.note_name(size), NOTE_LIMIT))
            moment = pinned[keyid].opened(line, text)
        except TamperedError as error:
            report(error.where, error.problem)
        except VerificationError as error:
            report(name, error.what)
        except ValueError:
            report(name, "is not a cosignature")
        else:
            witness = pinned[keyid].name
            checked.append({"checkpointSize": size, "witness": witness, "keyid": keyid, "time": stamp(moment)})
    for keyid, stranger in strangers.items():
        warn(f"cosignatures of witness {stranger} ({keyid}) were not checked: its key was not given with --witness")
    for keyid, expected in pinned.items():
        if not any(key == keyid for _, key in present):
            report(layout.CHECKPOINTS, f"holds no cosignature of witness {expected.name}, whose key was given")
    return checked


def check_copies(history: History, places: Iterable[Path], report: Report, warn: Warn) -> list[dict[str, Any]]:
    """Checkpoints held elsewhere that the log extends: where, and over how many leaves.

    Raises:
        UsageError: there is nothing at one of ``places``.
    """
    roots = prefix_roots(leaf_hash(leaf.data) for leaf in history.leaves)
    matched: list[dict[str, Any]] = []
    for place in places:
        found = strangers = 0
        for folder, name in _notes(place):
            where = str(folder / name)
            try:
                data = read_file(folder, name, NOTE_LIMIT)
                if place.is_dir() and _origin(data) not in (history.origin, None):
                    strangers += 1
                    continue
                matched.append({"where": where, "size": must_extend(data, history.origin, history.keys.keys, roots)})
                found += 1
            except TamperedError as error:
                report(where, error.problem)
            except (ForkError, VerificationError) as error:
                report(where, error.what)
        if strangers:
            warn(f"{place}: {strangers} checkpoints of other logs were passed over")
        if not found and place.is_dir():
            report(str(place), "holds no checkpoint that this log extends")
    return matched


def check_freshness(
    root: Path,
    history: History,
    stamps: Iterable[Mapping[str, Any]],
    cosignatures: Iterable[Mapping[str, Any]],
    skew: timedelta,
    report: Report,
) -> None:
    """What a run names as the newest attestation held when it began is there, and is not younger than the run claims.

    This bounds the time of a run from below, as the stamp over its end bounds it from above.
    """
    sizes: dict[str, int] = {}
    times: dict[str, datetime] = {}
    for digests, checked, by in (
        (token_digests(root), stamps, "authority"),
        (cosignature_digests(root), cosignatures, "keyid"),
    ):
        for (size, _), sha256 in digests.items():
            sizes[sha256] = min(size, sizes.get(sha256, size))
        times |= {digests[entry["checkpointSize"], entry[by]]: unstamp(entry["time"]) for entry in checked}
    for run in history.runs.values():
        where, named = layout.run_name(run.number), run.opening.get("freshness", {})
        for sha256 in map(str, named.values()) if isinstance(named, dict) else ("",):
            if sizes.get(sha256, run.opening["index"] + 1) > run.opening["index"]:
                report(where, "names an attestation it began after, and the store does not hold it")
            elif sha256 in times and times[sha256] - run.opened_on > skew:
                early = lasting(times[sha256] - run.opened_on)
                report(where, f"claims to have begun {early} before an attestation it names")


def check_chains(
    root: Path, history: History, roots: bytes | None, report: Report, warn: Warn
) -> tuple[bytes, dict[Any, datetime]]:
    """Certificates that may help to reach a root, and what trusted lists revoke.

    What the log names is there, and each file is what its name says. Nothing is revoked when no roots are given.
    """
    from evidence_store.revocation import issued, load_chain, revoked

    present, chains, lists = chain_paths(root), [], {}
    for name in sorted(chains_named(history.leaves) - present):
        report(name, "is named in the log and missing")
    for name in sorted(present):
        data = read_file(root, name, CHAIN_LIMIT)
        if hashlib.sha256(data).hexdigest() != Path(name).name.partition(".")[0]:
            report(name, "is not what its name says")
        elif name.endswith(".crl"):
            lists[name] = data
        else:
            chains.append(data.rstrip(b"\n") + b"\n")
    chain = b"".join(chains)
    gone: dict[Any, datetime] = {}
    if roots is None or not present:
        return chain, gone
    trusted = load_chain(roots)
    trusted += issued(trusted, load_chain(chain))
    for name, data in lists.items():
        try:
            for key, moment in revoked(trusted, [data]).items():
                gone[key] = min(moment, gone.get(key, moment))
        except VerificationError as error:
            warn(f"{name} {error.what}, and was not used")
    return chain, gone


def _notes(place: Path) -> Iterable[tuple[Path, str]]:
    if place.is_file():
        return [(place.parent, place.name)]
    if not place.is_dir():
        raise UsageError(f"there is no checkpoint at {place}", "name a note, or a folder of copies")
    found = sorted(path for path in place.rglob("*.note") if not path.is_symlink())
    if len(found) > COPIES_LIMIT:
        raise UsageError(f"{place} holds more than {COPIES_LIMIT} notes", "name the folder of one log")
    return [(path.parent, path.name) for path in found]


def _origin(note: bytes) -> str | None:
    """The log a note says it is of, whoever says so."""
    try:
        return Head.parse(split_note(note)[0]).origin
    except ValueError:
        return None
