"""What a crash left behind is finished or recorded when the store is next opened for writing.

Everything that is adopted is first made safe against a power cut: a process that was killed leaves data that is
readable and yet not on disk, and a signature over it would outlive it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from evidence_store import layout, pack, seal
from evidence_store.dsse import ENVELOPE_LIMIT
from evidence_store.erase import finish_erasure
from evidence_store.errors import TamperedError
from evidence_store.fs import open_file, read_file
from evidence_store.history import RunInfo, tell
from evidence_store.lines import parse, raw
from evidence_store.log import RUN_ABORT, open_leaf
from evidence_store.merkle import Frontier, leaf_hash
from evidence_store.objects import Objects
from evidence_store.writer import LogWriter

DRAFTS = (layout.SPOOLED_NOTE, layout.SPOOLED_REPLY, layout.SPOOLED_TRUST, layout.SPOOLED_ATTACHMENT)
ENDED = "the process ended before the run was closed"
SPOOL_GONE = "the process ended before the run was closed, and its spool is gone"


def recover(log: LogWriter, objects: Objects) -> list[int]:
    """The store is whole; the numbers of the runs that were recorded as aborted.

    Raises:
        TamperedError: what is there cannot come from a crash; nothing more is written.
        StoreError: the disk refused.
    """
    _make_safe(log)
    _settle_log(log)
    if log.history.trust_stale:
        log.settle_trust()
    finish_erasure(log)
    _check_folders(log)
    aborted = []
    last = log.history.runs.get(len(log.history.runs))
    if last is not None and last.state == "open":
        if (log.root / layout.run_name(last.number)).exists():
            _adopt(log, last)
        elif (log.root / layout.spool_name(last.number)).exists():
            _abort(log, objects, last)
        else:
            facts = {"run": last.number, "openIndex": last.opening["index"], "reason": SPOOL_GONE}
            log.append(RUN_ABORT, facts, {})
        if log.history.runs[last.number].state == "aborted":
            aborted.append(last.number)
    _sweep(log)
    return aborted


def _make_safe(log: LogWriter) -> None:
    log.disk.sync_file(log.root / layout.ENTRIES)
    for name in (layout.CHECKPOINTS, layout.RUNS, layout.SPOOL):
        log.disk.sync_folder(log.root / name)


def _settle_log(log: LogWriter) -> None:
    """Cut a leaf that was never whole; publish the checkpoint over one that is."""
    history = log.history
    beyond = len(history.leaves) - history.checkpoint.size
    if beyond < 0 or beyond > 1:
        raise TamperedError(layout.ENTRIES, f"{abs(beyond)} leaves stand between it and the newest checkpoint")
    if history.torn:
        log.disk.truncate(log.root / layout.ENTRIES, history.end)
        # No crash can show it: what was torn and comes back is cut again, and the next leaf is synced with the cut.
        log.disk.sync_file(log.root / layout.ENTRIES)
        history.torn = 0
    if beyond:
        tree = Frontier()
        for leaf in history.leaves:
            tree.add(leaf_hash(leaf.data))
        log.publish(tree)


def _check_folders(log: LogWriter) -> None:
    """Refuse to write after a log that was cut: a run's folder outlives its leaf only when it is the newest."""
    known = {layout.run_name(run.number) for run in log.history.runs.values() if run.state == "open" or run.kept}
    for path in sorted((log.root / layout.RUNS).iterdir()):
        if f"{layout.RUNS}/{path.name}" not in known:
            raise TamperedError(f"{layout.RUNS}/{path.name}", "is not in the log: that was cut, or this put there")


def _adopt(log: LogWriter, run: RunInfo) -> None:
    """Write the leaf of a run that was sealed and named, but not yet logged."""
    name = layout.run_name(run.number)
    data = read_file(log.root, f"{name}/{layout.STATEMENT}", ENVELOPE_LIMIT)
    leaf = open_leaf(len(log.history.leaves), data)
    if not leaf.envelope.signed_by(log.signer.public):
        raise TamperedError(f"{name}/{layout.STATEMENT}", "is not signed by the store's key")
    tell(dict(log.history.runs), leaf)
    seed = (layout.SEED,) if layout.SEED in leaf.statement.subject else ()
    for file in (*layout.RUN_FILES, *seed):
        promised = leaf.statement.subject.get(file)
        if file != layout.STATEMENT and seal.file_digest(log.root, f"{name}/{file}") != promised:
            raise TamperedError(f"{name}/{file}", "is not what its statement says")
        # No crash can show it: sealing synced all of it before it gave the folder this name. A person who put the
        # folder back from a copy did not.
        log.disk.sync_file(log.root / name / file)
    # No crash can show it: as above.
    log.disk.sync_folder(log.root / name)
    log.commit(leaf.data)


def _abort(log: LogWriter, objects: Objects, run: RunInfo) -> None:
    """Seal what was fetched, as far as it is whole."""
    spool = layout.spool_name(run.number)
    held = _mend_pack(log, objects, f"{spool}/{layout.PACK}")
    lost = _mend_lines(log, layout.spool_lines_name(run.number), lambda sha256: sha256 in held or objects.has(sha256))
    try:
        plan = seal.file_digest(log.root, f"{spool}/{layout.PLAN}")
    except TamperedError:
        plan = ""
    if plan != run.subject[layout.PLAN]:
        raise TamperedError(
            f"{spool}/{layout.PLAN}",
            "is not the plan the run was opened with",
            f"keep a copy of {spool}, then remove it; the run is recorded as aborted without it",
        )
    seal.seal_run(log, run.number, RUN_ABORT, {"reason": ENDED, "repliesCutOff": lost}, ())


def _mend_pack(log: LogWriter, objects: Objects, name: str) -> set[str]:
    """Cut a pack behind its last whole body; the digests that remain."""
    path = log.root / name
    if not path.exists():
        log.disk.create(path, b"")
    held: set[str] = set()
    end = 0
    with open_file(log.root, name) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            for frame in pack.scan(file, size):
                base = None if frame.base is None else objects.body(frame.base)
                pack.decode(frame, pack.read_data(file, frame), base)
                held.add(frame.sha256)
                end = frame.end
        except (ValueError, TamperedError):
            log.disk.truncate(path, end)
    return held


def _mend_lines(log: LogWriter, name: str, kept: Callable[[str], bool]) -> int:
    """Cut the reply lines behind the last whole one whose body is kept; the number of lines lost."""
    path = log.root / name
    if not path.exists():
        log.disk.create(path, b"")
    end = lost = 0
    with open_file(log.root, name) as file:
        for number, (line, whole) in enumerate(raw(file)):
            if lost or not whole or not _usable(number, line, kept):
                lost += 1
            else:
                end += len(line) + 1
    if lost:
        log.disk.truncate(path, end)
    return lost


def _usable(number: int, line: bytes, kept: Callable[[str], bool]) -> bool:
    try:
        value = parse(number, line)
    except ValueError:
        return False
    named = [value[name] for name in ("sha256", "cut") if value.get(name) is not None]
    return all(isinstance(sha256, str) and kept(sha256) for sha256 in named)


def _sweep(log: LogWriter) -> None:
    """Remove what was never sealed and is no longer needed; files the store does not know stay and are reported."""
    for name, folder in sorted(_leftovers(log)):
        if folder:
            log.disk.remove_folder(log.root / name)
        else:
            log.disk.unlink(log.root / name)


def _leftovers(log: LogWriter) -> Iterator[tuple[str, bool]]:
    for path in (log.root / layout.SPOOL).iterdir():
        name = f"{layout.SPOOL}/{path.name}"
        if layout.SPOOL_FOLDER.fullmatch(name) and path.is_dir() and not path.is_symlink():
            yield name, True
        elif layout.SPOOL_LINES.fullmatch(name) or layout.SPOOL_PACK.fullmatch(name) or name in DRAFTS:
            yield name, False
