"""A store: create it, open it, begin a run, note a fact, read a sealed run."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evidence_store import attachments, layout, rotation
from evidence_store.backends import ConflictError, Remote
from evidence_store.backends.s3 import downloaded, uri_of
from evidence_store.erase import erase
from evidence_store.errors import LockedError, TamperedError, UsageError
from evidence_store.fs import Disk, disk_errors, read_file
from evidence_store.history import (
    History,
    RunInfo,
    genesis_facts,
    read_history,
    store_json,
)
from evidence_store.index import Index, list_key
from evidence_store.keychain import KeyChain
from evidence_store.keys import PublicKey, Signer, fingerprint_of
from evidence_store.log import ANCHOR, GAP, GENESIS, NOTED, RUN_ABORT, RUN_CLOSE, RUN_OPEN, Leaf
from evidence_store.merkle import EMPTY_ROOT, Frontier, leaf_hash
from evidence_store.note import Checkpoint
from evidence_store.objects import Objects
from evidence_store.recover import recover
from evidence_store.run import PLAN_LIMIT, RunWriter, SealedRun
from evidence_store.spelling import load, now, stamp
from evidence_store.tokens import (
    CHAIN_LIMIT,
    COSIGNATURE_LIMIT,
    TOKEN_LIMIT,
    anchored,
    chain_paths,
    chains_named,
    cosignature_digests,
    cosignatures_named,
    token_digests,
)
from evidence_store.writer import LogWriter, own_and_given

ABANDONED = timedelta(hours=24)
"""A run another machine opened that long ago, and did not end, is recorded as aborted."""
ANCHORS_A_LEAF = 8
"""Entries of at most 400 bytes: a leaf is signed in one piece."""


class Store:
    """One folder of sealed evidence. Open for writing by one process at a time, for reading by any number."""

    def __init__(self, root: Path, history: History, log: LogWriter | None, lock: int | None) -> None:
        self.root = root
        """The folder."""
        self.recovered: list[int] = []
        """Runs that were recorded as aborted when the store was opened."""
        self._history = history
        self._log = log
        self._lock = lock
        self._open: RunWriter | None = None
        self._index: Index | None = None
        self._copy: AbstractContextManager[Any] | None = None
        self._objects = Objects(root, [run.number for run in history.runs.values() if run.kept])

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        origin: str,
        signer: Signer,
        policy: Mapping[str, Any] | None = None,
        disk: Disk | None = None,
        clock: Callable[[], datetime] = now,
        remote: Remote | None = None,
    ) -> Self:
        """A new store stands at ``path``, complete with its genesis leaf, and is open for writing.

        Args:
            path: a folder that does not exist yet, or is empty.
            origin: name of the log, unique in the world, such as ``evidence.acme.example/prod``.
            signer: the key all leaves and checkpoints are signed with.
            policy: what every later verification demands; ``{"timestamp": {"required": true, "maxLagHours": 24}}``.
            disk: the file system to write through.
            clock: gives the present time, aware.
            remote: where sealed files are final; the folder is then a working copy.

        Raises:
            UsageError: the origin is not usable, or something stands at ``path`` or at the remote.
            StoreError: the disk refused.
        """
        root, disk = Path(path).absolute(), disk or Disk()
        if not layout.ORIGIN.fullmatch(origin):
            raise UsageError(f"{origin!r} cannot name a log", "use visible ASCII, no space, no plus")
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UsageError(f"{root} exists", "name a new folder, or open the store that is there")
        # Built under another name, so that a crash never leaves half a store behind.
        draft = root.with_name(f".{root.name}.creating")
        if draft.exists():
            disk.remove_folder(draft)
        for name in ("", *layout.FOLDERS):
            disk.mkdir(draft / name)
        identity = {
            layout.STORE: _begun(remote, origin) or store_json(origin, stamp(clock())),
            layout.TRUST: KeyChain([signer.public]).trust(origin),
        }
        for name, data in (identity | {layout.ENTRIES: b""}).items():
            disk.create(draft / name, data)
        if remote is not None:
            remote.begin(identity)
        head = Checkpoint(origin, 0, EMPTY_ROOT)
        history = History(origin, KeyChain([signer.public]), [], Frontier(), 0, 0, head, b"", {})
        subject = {name: hashlib.sha256(data).hexdigest() for name, data in identity.items()}
        facts = genesis_facts(origin, signer.public, policy or {})
        LogWriter(draft, history, signer, disk, clock, remote).append(GENESIS, facts, subject)
        for name in (*reversed(layout.FOLDERS), ""):
            disk.sync_folder(draft / name)
        disk.rename(draft, root)
        disk.sync_folder(root.parent)
        return cls.open(root, signer=signer, disk=disk, clock=clock, remote=remote)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        signer: Signer | None = None,
        key: str | None = None,
        disk: Disk | None = None,
        clock: Callable[[], datetime] = now,
        remote: Remote | None = None,
    ) -> Self:
        """The store at ``path``; with a signer it is locked, recovered from a crash if there was one, and writable.

        Args:
            path: the store; ``s3://bucket/prefix`` can be read, from a fresh copy that :meth:`close` removes.
            signer: the key that signs the store now; ``None`` opens it for reading.
            key: fingerprint of a key the store is or was signed with; a signer implies its own.
            disk: the file system to write through.
            clock: gives the present time, aware.
            remote: where sealed files are final; the folder is then a working copy, and made when there is none.

        Raises:
            LockedError: another process or another machine writes to it.
            TamperedError: it is not what was sealed, or is signed by another key.
            StoreError: there is no store, or the disk refused.
        """
        if (uri := uri_of(path)) is not None:
            return cls._open_copy(uri, signer, key)
        root = Path(path).absolute()
        if remote is not None and signer is not None and not root.exists():
            root.mkdir(mode=0o700, parents=True)
        elif remote is None and not (root / layout.STORE).is_file():
            raise UsageError(f"{root} is not a store", "name a folder that holds STORE.json, or create a store")
        if signer is not None:
            _check_remote(root, remote)
        pinned = signer.keyid if signer else fingerprint_of(key) if key else None
        lock = _lock(root) if signer else None
        try:
            if remote is not None and signer is not None:
                remote.sync(root)
            history = read_history(root)
            if signer and (ended := history.keys.retired_by(signer.keyid)) is not None:
                raise UsageError(
                    f"key {signer.keyid} no longer signs {root}: leaf {ended} retired it",
                    f"open the store with key {history.key.fingerprint}",
                )
            if pinned and (why := history.keys.refuses(pinned)):
                raise TamperedError(layout.ENTRIES, why, "use the key this store is signed with")
            if signer is None:
                return cls(root, history, None, None)
            if remote is not None:
                _not_taken(root, history, clock(), remote)
            log = LogWriter(root, history, signer, disk or Disk(), clock, remote)
            store = cls(root, history, log, lock)
            store.recovered = recover(log, store._objects)
            store._objects = Objects(root, [run.number for run in history.runs.values() if run.kept])
        except BaseException:  # also when interrupted: the lock goes back whatever happened; raised on
            if lock is not None:
                os.close(lock)
            raise
        return store

    @classmethod
    def _open_copy(cls, uri: str, signer: Signer | None, key: str | None) -> Self:
        """A store in a bucket, to be read from a copy of its own."""
        if signer is not None:
            raise UsageError(f"{uri} cannot be written to by its name", "name a folder for the working copy as well")
        copy = downloaded(uri)
        root, _ = copy.__enter__()
        try:
            store = cls.open(root, key=key)
        except BaseException:  # also when interrupted: the copy is removed whatever happened; raised on
            copy.__exit__(None, None, None)
            raise
        store._copy = copy
        return store

    @property
    def origin(self) -> str:
        """Name of the log."""
        return self._history.origin

    @property
    def fingerprint(self) -> str:
        """The key the log says it is signed with now."""
        return self._history.key.fingerprint

    @property
    def keys(self) -> list[PublicKey]:
        """All keys of the log, the present one last."""
        return [*self._history.keys.keys]

    @property
    def key_chain(self) -> KeyChain:
        """All keys of the log, where each begins, and what was revoked."""
        return self._history.keys.copy()

    @property
    def size(self) -> int:
        """Number of leaves that have a checkpoint."""
        return self._history.checkpoint.size

    @property
    def checkpoint(self) -> bytes:
        """The newest checkpoint file: keep a copy where the store's owner cannot reach it."""
        return self._history.note

    @property
    def policy(self) -> dict[str, Any]:
        """What the genesis leaf demands of every verification."""
        return self._history.policy

    def begin(self, opening: Mapping[str, Any], plan: bytes) -> RunWriter:
        """Open a run; that it was opened, and with which plan, is on disk and signed before this returns.

        Raises:
            UsageError: another run is open.
            StoreError: the opening is too long to be signed, or the disk refused.
        """
        log = self._writable()
        if self._open is not None:
            raise UsageError(f"run {self._open.number} is still open", "close or abort it first")
        if len(plan) > PLAN_LIMIT:
            raise UsageError(f"the plan is longer than {PLAN_LIMIT} bytes", "split the collection into several")
        self.anchor()
        number = len(self._history.runs) + 1
        facts = own_and_given({"run": number, **self._freshness()}, opening)
        subject = {layout.PLAN: hashlib.sha256(plan).hexdigest()}
        leaf = log.make(RUN_OPEN, facts, subject)
        disk, folder = log.disk, self.root / layout.spool_name(number)
        self._clear_spool(number)
        disk.mkdir(folder)
        disk.create(folder / layout.PLAN, plan)
        disk.create(folder / layout.PACK, b"")
        disk.create(self.root / layout.spool_lines_name(number), b"")
        disk.sync_folder(folder)
        disk.sync_folder(self.root / layout.SPOOL)
        try:
            log.commit(leaf)
        except ConflictError:
            # The number is another collector's now, and so this spool is nobody's.
            self._clear_spool(number)
            raise
        self._open = RunWriter(log, self._objects, self._latest(), number, self._ended)
        return self._open

    def gap(self, *, start: datetime, end: datetime, missed: int, reason: str) -> None:
        """Record that nothing was collected from ``start`` to ``end`` though ``missed`` runs were due.

        Raises:
            StoreError: the disk refused.
        """
        self.append(GAP, {"from": stamp(start), "to": stamp(end), "missed": missed, "reason": reason})

    def append(self, kind: str, predicate: Mapping[str, Any], subject: Mapping[str, str] | None = None) -> int:
        """Record a fact in the log; its place is returned.

        Args:
            kind: one of ``gap``, ``anchor``, ``waiver``, ``config-change``, ``schedule``, ``pause``, ``export``.
            predicate: the fact.
            subject: SHA-256 in hex by name, of what it speaks about.

        Raises:
            UsageError: the kind is not one of these.
            StoreError: the fact is too long to be signed, or the disk refused.
        """
        log = self._writable()
        if kind not in NOTED:
            raise UsageError(f"{kind!r} is not a kind of leaf that can be appended", f"use one of {', '.join(NOTED)}")
        return log.append(kind, own_and_given({}, predicate), dict(subject or {})).index

    def attach(self, facts: Mapping[str, Any], content: bytes) -> int:
        """Keep what a person states or hands over, and record who does; the place of the leaf is returned.

        Raises:
            UsageError: it is empty, too long, or was erased before.
            StoreError: the disk refused.
        """
        return attachments.attach(self._writable(), facts, content).index

    def withdraw(self, index: int, facts: Mapping[str, Any]) -> int:
        """Record that an attachment or a waiver no longer holds; the place of the leaf is returned.

        Raises:
            UsageError: leaf ``index`` is neither, or was withdrawn before.
            StoreError: the disk refused.
        """
        return attachments.withdraw(self._writable(), index, facts).index

    def attached(self, sha256: str) -> bytes:
        """What was attached, by its digest.

        Raises:
            ErasedError: it was erased.
            TamperedError: it is missing, or is not what was attached.
        """
        return attachments.content_of(self.root, self.leaves, sha256)

    @property
    def leaves(self) -> list[Leaf]:
        """All leaves that have a checkpoint."""
        return self._history.leaves[: self.size]

    def leaf_hashes(self) -> list[bytes]:
        """Hash of each leaf that has a checkpoint: what proofs are made from."""
        return [leaf_hash(leaf.data) for leaf in self._history.leaves[: self.size]]

    def rotate(self, new: Signer, reason: str) -> int:
        """``new`` signs from now on; the place of the leaf that hands over, signed by both keys, is returned.

        Raises:
            UsageError: a run is open, or this key has signed the log before.
            StoreError: a signer or the disk refused; open the store again, with the old key or else the new one.
        """
        log = self._writable()
        if self._open is not None:
            raise UsageError(f"run {self._open.number} is still open", "close or abort it first")
        return rotation.rotate(log, new, reason).index

    def revoke(self, key: str, last_good_index: int, reason: str) -> int:
        """Signatures of a retired key count no longer after ``last_good_index``; the place of the leaf is returned.

        Raises:
            UsageError: the key cannot be revoked from there on.
            StoreError: the signer or the disk refused.
        """
        return rotation.revoke(self._writable(), key, last_good_index, reason).index

    def keep_token(self, size: int, authority: str, reply: bytes, *, name_it: bool = True) -> None:
        """Keep a time-stamp reply for the checkpoint over ``size`` leaves, and name it in the log, now or later.

        Raises:
            UsageError: there is no such checkpoint, or it has a reply of this authority.
            StoreError: the disk refused.
        """
        log = self._writable()
        name = layout.token_name(size, authority)
        if not layout.TOKEN_FILE.fullmatch(name) or not 0 < len(reply) <= TOKEN_LIMIT:
            raise UsageError(f"{authority!r} cannot name a time-stamp authority", "use a-z, 0-9 and dashes, at most 32")
        if not (self.root / layout.note_name(size)).is_file() or (self.root / name).exists():
            raise UsageError(f"{name} cannot be kept", "stamp a checkpoint that exists and has no such token")
        log.place(layout.SPOOLED_REPLY, name, reply)
        if name_it:
            self.anchor()

    def keep_cosignature(self, size: int, keyid: str, line: bytes) -> None:
        """Keep a witness' signature line over the checkpoint over ``size`` leaves; :meth:`anchor` names it.

        Raises:
            UsageError: there is no such checkpoint, or it has a cosignature of this key.
            StoreError: the disk refused.
        """
        log = self._writable()
        name = layout.cosignature_name(size, keyid)
        if not layout.COSIGNATURE_FILE.fullmatch(name) or not 0 < len(line) <= COSIGNATURE_LIMIT:
            raise UsageError(f"{keyid!r} cannot be the key id of a witness", "give eight hex digits")
        if not (self.root / layout.note_name(size)).is_file() or (self.root / name).exists():
            raise UsageError(f"{name} cannot be kept", "cosign a checkpoint that exists and has none of this witness")
        log.place(layout.SPOOLED_REPLY, name, line)

    def keep_chain(self, data: bytes, *, crl: bool = False) -> None:
        """Keep certificates of a time-stamp authority, or its revocation list, once however often it comes.

        Raises:
            UsageError: it is empty, or longer than is kept.
            StoreError: the disk refused.
        """
        log = self._writable()
        sha256 = hashlib.sha256(data).hexdigest()
        name = layout.crl_name(sha256) if crl else layout.chain_name(sha256)
        if not 0 < len(data) <= CHAIN_LIMIT:
            raise UsageError(f"{len(data)} bytes cannot be a chain that is kept", f"give 1 to {CHAIN_LIMIT} bytes")
        if not (self.root / name).exists():
            log.place(layout.SPOOLED_REPLY, name, data)

    def anchor(self, copies: Sequence[Mapping[str, Any]] = ()) -> None:
        """Name in the log what others attest and is not named yet, and the copies; without any, nothing is written.

        Args:
            copies: where the newest checkpoint was put: ``checkpointSize``, ``kind``, ``where``, ``sha256``.
        """
        log, leaves = self._writable(), self._history.leaves
        tokens, cosignatures = anchored(leaves), cosignatures_named(leaves)
        fresh: list[dict[str, Any]] = [
            {"checkpointSize": size, "kind": "tsr", "authority": authority, "sha256": sha256}
            for (size, authority), sha256 in token_digests(self.root).items()
            if (size, authority) not in tokens
        ]
        fresh += [
            {"checkpointSize": size, "kind": "cosig", "keyid": keyid, "sha256": sha256}
            for (size, keyid), sha256 in cosignature_digests(self.root).items()
            if (size, keyid) not in cosignatures
        ]
        for name in sorted(chain_paths(self.root) - chains_named(leaves)):
            kind = "crl" if name.endswith(".crl") else "chain"
            fresh.append({"checkpointSize": self.size, "kind": kind, "sha256": Path(name).name.partition(".")[0]})
        fresh += [dict(copy) for copy in copies]
        for first in range(0, len(fresh), ANCHORS_A_LEAF):
            log.append(ANCHOR, {"anchors": fresh[first : first + ANCHORS_A_LEAF]}, {})

    def _freshness(self) -> dict[str, Any]:
        """Digests of the newest attestations held: what begins now began after them."""
        held = {"tsr": token_digests(self.root), "cosig": cosignature_digests(self.root)}
        newest = {kind: found[max(found)] for kind, found in held.items() if found}
        return {"freshness": newest} if newest else {}

    def erase(self, sha256s: Sequence[str], *, basis: str, approved_by: str) -> int:
        """The bodies are gone for good, and the log says why; the place of that leaf is returned.

        Raises:
            UsageError: no reply names a body, it is not there, a run is open, or the words are missing.
            StoreError: the disk refused; the next opening finishes it or takes it back.
        """
        log = self._writable()
        kept = [self.run(run.number) for run in self._history.runs.values() if run.kept]
        told = [line for run in kept for line in run.replies() if line.get("sha256") in sha256s]
        lists = {list_key(line).hex() for line in told if line.get("unordered")}
        named = {line["sha256"] for line in told}
        named |= attachments.objects_in(self.leaves).keys() & set(sha256s)
        leaf = erase(log, self._objects, sha256s, basis=basis, approved_by=approved_by, named=named, lists=lists)
        self._objects = Objects(self.root, [run.number for run in kept])
        return leaf.index

    def notes(self) -> list[dict[str, Any]]:
        """Every leaf but those of runs and the genesis, oldest first: its predicate, with its ``kind``."""
        runs = {GENESIS, RUN_OPEN, RUN_CLOSE, RUN_ABORT, ANCHOR}
        return [{**leaf.predicate, "kind": leaf.kind} for leaf in self._history.leaves if leaf.kind not in runs]

    def gaps(self) -> list[dict[str, Any]]:
        """What was recorded as not collected, oldest first: ``from``, ``to``, ``missed``, ``reason``."""
        return [leaf.predicate for leaf in self._history.leaves if leaf.kind == GAP]

    def runs(self) -> list[RunInfo]:
        """All runs, oldest first."""
        return list(self._history.runs.values())

    def run(self, number: int | None = None) -> SealedRun:
        """A sealed run; without a number, the newest complete one.

        Raises:
            UsageError: there is none, or it is not sealed.
        """
        if number is None:
            complete = [run for run in self._history.runs.values() if run.state == "complete"]
            if not complete:
                raise UsageError(f"{self.root} holds no complete run", "collect one first")
            return SealedRun(self.root, complete[-1], self._objects)
        info = self._history.runs.get(number)
        if info is None or not info.kept:
            state = "is not in the log" if info is None else f"is {info.state} and has nothing sealed"
            raise UsageError(f"run {number} of {self.root} {state}", f"choose one of 1 to {len(self._history.runs)}")
        return SealedRun(self.root, info, self._objects)

    def close(self) -> None:
        """Release the lock; an open run stays open and is recorded as aborted at the next opening."""
        if self._open is not None:
            self._open.release()
            self._open = None
        self._log = None
        if self._copy is not None:
            self._copy.__exit__(None, None, None)
            self._copy = None
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _writable(self) -> LogWriter:
        if self._log is None:
            raise UsageError(f"{self.root} is not open for writing", "open it with the signing key")
        return self._log

    def _latest(self) -> Index:
        """What each request gave last, opened when it is first needed."""
        if self._index is None:
            self._index = Index(self.root, self.origin)
            self._index.open(
                [run.number for run in self._history.runs.values() if run.kept],
                lambda number: self.run(number).replies(),
                lambda number: self._history.runs[number].lists,
            )
        return self._index

    def _ended(self, _number: int) -> None:
        self._open = None

    def _clear_spool(self, number: int) -> None:
        """Remove what an earlier :meth:`begin` of this number left when the disk refused."""
        log = self._writable()
        for folder in (self.root / layout.spool_name(number), self.root / layout.spool_rows_name(number)):
            if folder.exists():
                log.disk.remove_folder(folder)
        if (self.root / layout.spool_lines_name(number)).exists():
            log.disk.unlink(self.root / layout.spool_lines_name(number))


def _begun(remote: Remote | None, origin: str) -> bytes | None:
    """``STORE.json`` of a store that was begun at a remote and has no leaf yet.

    Raises:
        UsageError: it is of another store, or has leaves already.
    """
    if remote is None:
        return None
    if remote.exists():
        raise UsageError(f"{remote.uri} holds a store", "open it, or name another prefix")
    data = remote.created()
    if data is not None and store_json(origin, load(data).get("created", "")) != data:
        raise UsageError(f"{remote.uri} was begun as another store", "name another prefix")
    return data


def _check_remote(root: Path, remote: Remote | None) -> None:
    """A working copy is written to together with its bucket, and with no other.

    Raises:
        UsageError: it is a copy of another place than was given.
    """
    path, given = root / layout.REMOTE, remote.uri if remote is not None else "no bucket"
    named = read_file(root, layout.REMOTE, 4096).decode("utf-8", "replace").strip() if path.exists() else ""
    if named and named != given:
        raise UsageError(f"{root} is a working copy of {named}, not of {given}", f"set store.bucket.uri to {named}")


def _not_taken(root: Path, history: History, moment: datetime, remote: Remote) -> None:
    """The open run, if there is one, is of this folder, or so old that nobody is at it any more.

    Raises:
        LockedError: another machine collects.
    """
    last = history.runs.get(len(history.runs))
    if last is None or last.state != "open":
        return
    if (root / layout.spool_name(last.number)).exists() or (root / layout.run_name(last.number)).exists():
        return
    if moment - last.opened_on < ABANDONED:
        host = last.opening.get("host") or "another machine"
        raise LockedError(
            f"{host} opened run {last.number} of {remote.uri} at {stamp(last.opened_on)} and did not end it",
            f"wait for it; {ABANDONED} after its beginning it may be recorded as aborted from here",
        )


def _lock(root: Path) -> int:
    """Take the writer's lock.

    Raises:
        LockedError: another process, or another part of this one, holds it.
    """
    path = root / layout.LOCK
    with disk_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise LockedError(f"process {holder} writes to {root}", "wait for it to end, or stop it") from error
    # The pid is only for people: a full disk must not hide the error that follows from it.
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle
