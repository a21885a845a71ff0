"""Seals an open run: compresses its lines, signs what it holds, and moves it into place in one rename."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evidence_store import layout, lines, pack
from evidence_store.fs import open_file, read_file
from evidence_store.history import RunInfo
from evidence_store.lines import Lines
from evidence_store.spans import SEED_LENGTH, PublicStream
from evidence_store.writer import LogWriter, own_and_given


def seal_run(
    log: LogWriter, number: int, kind: str, given: Mapping[str, Any], results: Iterable[Mapping[str, Any]]
) -> RunInfo:
    """The open run is sealed and acknowledged when this returns.

    Every file is on disk before the folder gets its name, and the folder before the leaf that speaks of it. A crash
    in between is finished, or recorded as an abort, by :mod:`evidence_store.recover`.
    """
    log.check_usable()
    root, disk = log.root, log.disk
    spool = layout.spool_name(number)
    folder = root / spool
    for name in (layout.MANIFEST + layout.PACKED, layout.RESULTS + layout.PACKED, layout.STATEMENT):
        if (folder / name).exists():
            disk.unlink(folder / name)
    with open_file(root, layout.spool_lines_name(number)) as file:
        manifest = lines.store(disk, folder / (layout.MANIFEST + layout.PACKED), (line for line, _ in lines.raw(file)))
    spelt = (lines.spell(index, line) for index, line in enumerate(results))
    result = lines.store(disk, folder / (layout.RESULTS + layout.PACKED), spelt)
    disk.sync_file(folder / layout.PACK)
    own: dict[str, Any] = {
        "run": number,
        "openIndex": log.history.runs[number].opening["index"],
        "manifest": facts_of(manifest),
        "results": facts_of(result),
        "objects": _objects(root, f"{spool}/{layout.PACK}"),
    }
    subject = {
        layout.PLAN: file_digest(root, f"{spool}/{layout.PLAN}"),
        layout.MANIFEST: manifest.sha256,
        layout.RESULTS: result.sha256,
        layout.MANIFEST + layout.PACKED: manifest.stored,
        layout.RESULTS + layout.PACKED: result.stored,
        layout.PACK: file_digest(root, f"{spool}/{layout.PACK}"),
    }
    if (public := _public(root, number)) is not None:
        own["spans"] = public
        subject[layout.SEED] = file_digest(root, f"{spool}/{layout.SEED}")
    elif (folder / layout.SEED).exists():
        disk.unlink(folder / layout.SEED)
    leaf = log.make(kind, own_and_given(own, given), subject)
    disk.create(folder / layout.STATEMENT, leaf)
    disk.sync_folder(folder)
    disk.rename(folder, root / layout.run_name(number))
    disk.sync_folder(root / layout.RUNS)
    # No crash can show it: should the old name come back beside the new one, the next opening removes it.
    disk.sync_folder(root / layout.SPOOL)
    log.commit(leaf)
    disk.unlink(root / layout.spool_lines_name(number))
    return log.history.runs[number]


def _public(root: Path, number: int) -> dict[str, Any] | None:
    """What the closing leaf says of the replies with personal fields; ``None`` when there is none."""
    stream: PublicStream | None = None
    with open_file(root, layout.spool_lines_name(number)) as file:
        for place, (line, _) in enumerate(lines.raw(file)):
            if b'"spans":' in line and "spans" in (value := lines.parse(place, line)):
                stream = stream or PublicStream(
                    read_file(root, f"{layout.spool_name(number)}/{layout.SEED}", SEED_LENGTH)
                )
                stream.add(value)
    return stream.facts() if stream else None


def facts_of(found: Lines) -> dict[str, Any]:
    """What the closing leaf says of a stream of lines, beside its digest."""
    return {"leaves": found.leaves, "root": found.root, "size": found.size}


def file_digest(root: Path, name: str) -> str:
    """SHA-256 of a file of the store, read in pieces."""
    with open_file(root, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _objects(root: Path, name: str) -> dict[str, int]:
    with open_file(root, name) as file:
        size = os.fstat(file.fileno()).st_size
        return {"count": sum(1 for _ in pack.scan(file, size)), "size": size}
