"""Appends to the log: a leaf is acknowledged only when it and the checkpoint over it survive a power cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from evidence_store import layout
from evidence_store.backends import Remote
from evidence_store.dsse import Statement, sign_statement
from evidence_store.errors import StoreError, TamperedError, UsageError
from evidence_store.fs import Disk
from evidence_store.history import History, tell
from evidence_store.keys import Signer
from evidence_store.log import SET_BY_STORE, Leaf, frame, leaf_predicate, open_leaf
from evidence_store.merkle import Frontier, leaf_hash
from evidence_store.note import Checkpoint, open_checkpoint, sign_note


class LogWriter:
    """The one hand that writes to a store's log."""

    def __init__(
        self,
        root: Path,
        history: History,
        signer: Signer,
        disk: Disk,
        clock: Callable[[], datetime],
        remote: Remote | None = None,
    ) -> None:
        self.root = root
        self.history = history
        self.signer = signer
        self.disk = disk
        self.clock = clock
        self.remote = remote
        """Where a leaf or file must be before it counts; ``None`` where the folder is the store."""
        self._failed = False

    def check_usable(self) -> None:
        """No earlier write has failed.

        Raises:
            StoreError: one has.
        """
        if self._failed:
            raise StoreError(f"an earlier write to {self.root} failed", "close the store and open it again")

    def make(
        self, kind: str, facts: dict[str, Any], subject: Mapping[str, str], beside: Sequence[Signer] = ()
    ) -> bytes:
        """The next leaf, signed but not yet written; it names the checkpoint it will follow.

        ``beside`` are signers whose signatures stand behind that of the store's own.

        Raises:
            StoreError: an earlier write failed, or the statement cannot be signed.
        """
        self.check_usable()
        index = len(self.history.leaves)
        if index:
            subject = {**subject, layout.note_name(index): hashlib.sha256(self.history.note).hexdigest()}
        predicate = leaf_predicate(index, self.clock(), facts)
        return sign_statement(Statement(kind, subject, predicate), [self.signer, *beside])

    def commit(self, data: bytes) -> Leaf:
        """Write a leaf that :meth:`make` gave, and publish the checkpoint over it.

        Raises:
            StoreError: the disk refused; the leaf counts as not written and the next opening sets things right.
        """
        history, disk, path = self.history, self.disk, self.root / layout.ENTRIES
        leaf = open_leaf(len(history.leaves), data)
        tell(dict(history.runs), leaf)
        # A KMS or HSM may answer with something that is no signature of its key: that must never reach the log.
        keys = history.keys.copy()
        keys.take(leaf)
        tree = history.tree.copy()
        tree.add(leaf_hash(data))
        framed = frame(data)
        try:
            if self.remote is not None:
                self.remote.commit(self.root, leaf)
            handle = disk.open_append(path)
            try:
                disk.write(handle, path, framed)
                disk.sync(handle, path)
            finally:
                disk.close(handle, path)
            self.publish(tree)
        except BaseException:  # raised on, once nothing can follow what was not acknowledged
            # Also when a person interrupts: the next leaf must never follow one that was not acknowledged.
            self._failed = True
            if not self._published(tree.size):
                with suppress(StoreError):
                    disk.truncate(path, history.end)
            raise
        history.end += len(framed)
        history.learn(leaf)
        return leaf

    def append(self, kind: str, facts: dict[str, Any], subject: Mapping[str, str]) -> Leaf:
        """Make and commit a leaf."""
        return self.commit(self.make(kind, facts, subject))

    def publish(self, tree: Frontier) -> None:
        """Publish the checkpoint over a tree; a size that has one is never signed again.

        Raises:
            StoreError: the disk refused, or the size has a checkpoint already.
        """
        history = self.history
        head = Checkpoint(history.origin, tree.size, tree.root())
        if self._published(head.size):
            raise TamperedError(layout.note_name(head.size), "exists before the leaf it covers")
        note = sign_note(head.text(), history.origin, self.signer)
        open_checkpoint(note, history.origin, self.signer.public)
        self.place(layout.SPOOLED_NOTE, layout.note_name(head.size), note)
        history.checkpoint, history.note = head, note

    def settle_trust(self) -> None:
        """``keys/trust.json`` says what the log says."""
        self.place(layout.SPOOLED_TRUST, layout.TRUST, self.history.keys.trust(self.history.origin))
        self.history.trust_stale = False

    def place(self, draft: str, name: str, data: bytes) -> None:
        """Give a file beside the log its name, with its content already safe; nothing is overwritten."""
        if self.remote is not None:
            self.remote.keep(name, data)
        if (self.root / draft).exists():
            self.disk.unlink(self.root / draft)
        self.disk.create(self.root / draft, data)
        self.disk.rename(self.root / draft, self.root / name)
        self.disk.sync_folder((self.root / name).parent)

    def _published(self, size: int) -> bool:
        return (self.root / layout.note_name(size)).exists()


def own_and_given(own: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A predicate of the store's facts followed by the caller's.

    Raises:
        UsageError: the caller uses a name the store sets itself.
    """
    taken = sorted(name for name in given if name in own or name in SET_BY_STORE)
    if taken:
        raise UsageError(f"the store sets {', '.join(taken)} itself", "leave these names out")
    return own | dict(given)
