"""Erases bodies from a store: the leaf that says so comes first, the digests stay, everything else still verifies.

New packs are written beside the old ones, a ``redaction`` leaf names their digests, and each takes the place of the old
one in a single rename. A crash before the leaf leaves drafts that are removed; a crash after it is finished when the
store is next opened for writing. A body that stood as a difference to an erased one is kept whole first.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from io import BufferedReader
from typing import Any

from evidence_store import attachments, layout, pack, seal
from evidence_store.errors import UsageError
from evidence_store.fs import open_file
from evidence_store.log import REDACTION, Leaf
from evidence_store.objects import Objects
from evidence_store.pack import LENGTHS, Frame
from evidence_store.spelling import HEX256, dump
from evidence_store.writer import LogWriter

AT_ONCE = 8
"""Most bodies that one leaf erases: a leaf is signed in one piece."""
TEXT_LIMIT = 400


def erase(
    log: LogWriter, objects: Objects, sha256s: Sequence[str], *, basis: str, approved_by: str, named: Collection[str],
    lists: Collection[str] = (),
) -> Leaf:  # fmt: skip
    """The bodies are gone from every pack when this returns; the leaf that says so is given back.

    Args:
        log: the store's log.
        objects: finds the bodies that others stand on.
        sha256s: what is to go.
        basis: why it must go, in words; it stays in the log for ever, so it names nobody.
        approved_by: who decided.
        named: digests that replies and attachments name; nothing else can be erased.
        lists: unordered lists that one of the bodies is a page of, by their key in closing leaves; their records go.

    Raises:
        UsageError: a body is not there, is no reply's, or the words are missing or too long.
        StoreError: the disk refused.
    """
    _check(log, sha256s, basis, approved_by, named)
    if log.remote is not None:
        raise UsageError(
            f"{log.remote.uri} keeps every object under a compliance lock",
            "nothing is erased there before its retention ends; redact the bundle instead",
        )
    kept = {sha256 for sha256 in sha256s if (log.root / layout.attachment_name(sha256)).exists()}
    if missing := [sha256 for sha256 in sha256s if sha256 not in kept and not objects.has(sha256)]:
        raise UsageError(f"no pack holds body {missing[0]}", "it was erased before, or never kept")
    # The records of an unordered list are copies of what stands on its pages, and no reply names them.
    copies = (sha256 for run in log.history.runs.values() for key, sha256 in run.lists.items() if key in lists)
    gone = frozenset((*sha256s, *copies))
    packs: list[dict[str, Any]] = []
    subject: dict[str, str] = {}
    for run in [run for run in log.history.runs.values() if run.kept]:
        name = f"{layout.run_name(run.number)}/{layout.PACK}"
        with open_file(log.root, name) as file:
            frames = list(pack.scan(file, os.fstat(file.fileno()).st_size))
            if any(frame.sha256 in gone or frame.base in gone for frame in frames):
                count, size, subject[name] = _rewrite(log, objects, run.number, file, frames, gone)
                packs.append({"run": run.number, "count": count, "size": size})
    log.disk.sync_folder(log.root / layout.SPOOL)
    # From here on the drafts stay whatever happens: only the next opening can tell whether the leaf was written.
    leaf = log.append(
        REDACTION, {"objects": list(sha256s), "basis": basis, "approvedBy": approved_by, "packs": packs}, subject
    )
    finish_erasure(log)
    return leaf


def finish_erasure(log: LogWriter) -> None:
    """Every pack that a redaction leaf promises stands in its place; drafts that no leaf names are removed.

    Raises:
        StoreError: the disk refused.
    """
    attachments.finish_erasure(log)
    for path in sorted((log.root / layout.SPOOL).iterdir()):
        name = f"{layout.SPOOL}/{path.name}"
        if not (found := layout.SPOOL_PACK.fullmatch(name)):
            continue
        run = log.history.runs.get(int(found[1]))
        if run is None or run.repacked is None or seal.file_digest(log.root, name) != run.subject[layout.PACK]:
            _drop(log, name)
            continue
        # Its content was safe before the leaf; should its old name come back after a power cut, this is done once more.
        target = log.root / layout.run_name(run.number)
        log.disk.rename(path, target / layout.PACK)
        log.disk.sync_folder(target)


def _check(log: LogWriter, sha256s: Sequence[str], basis: str, approved_by: str, named: Collection[str]) -> None:
    log.check_usable()
    if not 0 < len(sha256s) <= AT_ONCE or len(set(sha256s)) != len(sha256s):
        raise UsageError(f"{len(sha256s)} bodies cannot be erased at once", f"name 1 to {AT_ONCE} different ones")
    for sha256 in sha256s:
        if not HEX256.fullmatch(sha256):
            raise UsageError(f"{sha256!r} is not a digest", "give the sha256 of a reply line")
        if sha256 not in named:
            raise UsageError(f"no reply names body {sha256}", "give the sha256 of a reply line or of an attachment")
    for words, what in ((basis, "basis"), (approved_by, "approver")):
        if not words.strip() or len(words.encode()) > TEXT_LIMIT:
            raise UsageError(f"the {what} is empty or longer than {TEXT_LIMIT} bytes", "say it in one sentence")
    if any(run.state == "open" for run in log.history.runs.values()):
        raise UsageError("a run is open", "erase when it is over")


def _rewrite(
    log: LogWriter, objects: Objects, number: int, file: BufferedReader, frames: Sequence[Frame], gone: Collection[str]
) -> tuple[int, int, str]:
    """Write the pack of a run without what is to go; its number of bodies, its size and its digest."""
    path = log.root / layout.spool_pack_name(number)
    if path.exists():
        log.disk.unlink(path)
    digest, count, size = hashlib.sha256(), 0, 0
    handle = log.disk.open_new(path)
    try:
        for data in _kept(objects, file, frames, gone):
            log.disk.write(handle, path, data)
            digest.update(data)
            count, size = count + 1, size + len(data)
        log.disk.sync(handle, path)
    finally:
        log.disk.close(handle, path)
    return count, size, digest.hexdigest()


def _kept(objects: Objects, file: BufferedReader, frames: Sequence[Frame], gone: Collection[str]) -> Iterator[bytes]:
    for frame in frames:
        if frame.sha256 in gone:
            continue
        if frame.base in gone:
            yield pack.encode(objects.body(frame.sha256), frame.sha256)
            continue
        header = dump({"sha256": frame.sha256, "size": frame.size} | ({"base": frame.base} if frame.base else {}))
        yield LENGTHS.pack(len(header), frame.length) + header + pack.read_data(file, frame)


def _drop(log: LogWriter, name: str) -> None:
    if (log.root / name).exists():
        log.disk.unlink(log.root / name)
