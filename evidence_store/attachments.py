"""What people state: a leaf that says who, when and about what, and the bytes it rests on, kept once by their digest.

A leaf is never changed. A later one of the same kind withdraws it; an erasure removes the bytes and keeps the leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence_store import layout
from evidence_store.errors import ErasedError, TamperedError, UsageError
from evidence_store.fs import read_file
from evidence_store.log import ATTACHMENT, REDACTION, WAIVER, Leaf
from evidence_store.spelling import HEX256
from evidence_store.writer import LogWriter, own_and_given

SIZE_LIMIT = 64 << 20
"""Largest attachment, in bytes."""
STATED = (ATTACHMENT, WAIVER)
"""Kinds of leaves by which people state something, and which a later one can withdraw."""


@dataclass(frozen=True, slots=True)
class Object:
    """The bytes an attachment leaf names."""

    sha256: str
    size: int


def object_of(leaf: Leaf) -> Object | None:
    """What an attachment leaf names; ``None`` for any other leaf, and for one that withdraws an earlier one.

    Raises:
        ValueError: it is not one that this release writes.
    """
    if leaf.kind != ATTACHMENT or "withdraws" in leaf.predicate:
        return None
    named = leaf.predicate.get("object")
    if not isinstance(named, dict) or set(named) != {"sha256", "size"} or type(named["size"]) is not int:
        raise ValueError("does not say what was attached")
    sha256, size = named["sha256"], named["size"]
    if not isinstance(sha256, str) or not HEX256.fullmatch(sha256) or not 0 < size <= SIZE_LIMIT:
        raise ValueError("does not say what was attached")
    if leaf.statement.subject.get(layout.attachment_name(sha256)) != sha256:
        raise ValueError("does not sign what was attached")
    return Object(sha256, size)


def objects_in(leaves: Iterable[Leaf]) -> dict[str, Object]:
    """Everything that was attached, by digest.

    Raises:
        TamperedError: an attachment leaf cannot be read.
    """
    found = {}
    for leaf in leaves:
        try:
            named = object_of(leaf)
        except ValueError as error:
            raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} {error}") from error
        if named is not None:
            found[named.sha256] = named
    return found


def erased_in(leaves: Iterable[Leaf]) -> dict[str, int]:
    """Leaf that says so, by digest of whatever was erased; one that names nothing in a list is a problem of the log."""
    named = ((leaf.index, leaf.predicate.get("objects")) for leaf in leaves if leaf.kind == REDACTION)
    return {
        sha256: index
        for index, objects in named
        if isinstance(objects, list)
        for sha256 in objects
        if isinstance(sha256, str)
    }


def attach(log: LogWriter, facts: Mapping[str, Any], content: bytes) -> Leaf:
    """The bytes are kept, and a leaf says who states what with them.

    Raises:
        UsageError: nothing is attached, too much, or bytes that were erased before.
        StoreError: the disk refused.
    """
    log.check_usable()
    if not 0 < len(content) <= SIZE_LIMIT:
        raise UsageError(f"{len(content)} bytes cannot be attached", f"give 1 to {SIZE_LIMIT} bytes")
    sha256 = hashlib.sha256(content).hexdigest()
    if (leaf := erased_in(log.history.leaves).get(sha256)) is not None:
        raise UsageError(f"these bytes were erased under leaf {leaf}", "what was erased does not come back")
    name = layout.attachment_name(sha256)
    if not (log.root / layout.ATTACHMENTS).is_dir():
        log.disk.mkdir(log.root / layout.ATTACHMENTS)
        log.disk.sync_folder(log.root)
    if not (log.root / name).exists():
        log.place(layout.SPOOLED_ATTACHMENT, name, content)
    elif read_file(log.root, name, SIZE_LIMIT) != content:
        raise TamperedError(name, "has other content than its name")
    own = {"object": {"sha256": sha256, "size": len(content)}}
    return log.append(ATTACHMENT, own_and_given(own, facts), {name: sha256})


def withdraw(log: LogWriter, index: int, facts: Mapping[str, Any]) -> Leaf:
    """A leaf says that what an earlier one states no longer holds; the earlier one stays as it is.

    Raises:
        UsageError: it is no attachment and no waiver, or was withdrawn before.
        StoreError: the disk refused.
    """
    leaves = log.history.leaves
    leaf = leaves[index] if 0 <= index < len(leaves) else None
    if leaf is None or leaf.kind not in STATED or "withdraws" in leaf.predicate:
        raise UsageError(f"leaf {index} is neither an attachment nor a waiver", "choose one that is listed")
    if any(other.kind == leaf.kind and other.predicate.get("withdraws") == index for other in leaves):
        raise UsageError(f"leaf {index} was withdrawn before", "nothing is left to do")
    return log.append(leaf.kind, own_and_given({"withdraws": index}, facts), {})


def content_of(root: Path, leaves: Sequence[Leaf], sha256: str) -> bytes:
    """The bytes that were attached.

    Raises:
        ErasedError: they were erased.
        TamperedError: they are missing, or are not what was attached.
    """
    if (leaf := erased_in(leaves).get(sha256)) is not None:
        raise ErasedError(f"attachment {sha256} was erased under leaf {leaf}", "ask whoever approved it")
    return _content(root, sha256)


def _content(root: Path, sha256: str) -> bytes:
    name = layout.attachment_name(sha256)
    content = read_file(root, name, SIZE_LIMIT)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TamperedError(name, "has other content than its name")
    return content


def check(
    root: Path,
    leaves: Sequence[Leaf],
    names: Iterable[str],
    report: Callable[[str, str], None],
    warn: Callable[[str], None],
    *,
    read_data: bool = True,
) -> None:
    """Every attachment is there with its digest, unless the log says that it was erased.

    Args:
        root: the store.
        leaves: of its log.
        names: all files of the store.
        report: is told of each problem.
        warn: is told what a reader must know although nothing is broken.
        read_data: hash every one, not only look whether it is there.
    """
    erased = erased_in(leaves)
    named: dict[str, Object] = {}
    for leaf in leaves:
        try:
            if (found := object_of(leaf)) is not None:
                named[found.sha256] = found
        except ValueError as error:
            report(layout.ENTRIES, f"leaf {leaf.index} {error}")
        if "withdraws" in leaf.predicate and leaf.kind in STATED and not _withdraws(leaf, leaves):
            report(layout.ENTRIES, f"leaf {leaf.index} withdraws what is nothing of its kind")
    there = {match[1] for name in names if (match := layout.ATTACHMENT_FILE.fullmatch(name))}
    for sha256, one in sorted(named.items()):
        if sha256 in erased or (sha256 in there and not read_data):
            continue
        try:
            if len(_content(root, sha256)) != one.size:
                report(layout.attachment_name(sha256), "has another size than its leaf says")
        except TamperedError as error:
            report(error.where, error.problem)
    if gone := sum(sha256 in erased for sha256 in named):
        warn(f"{gone} attachments were erased; their leaves remain")
    for sha256 in sorted(there & erased.keys()):
        warn(f"{layout.attachment_name(sha256)} is erased by the log and still there; opening for writing removes it")
    for sha256 in sorted(there - named.keys()):
        warn(f"{layout.attachment_name(sha256)} is named by no leaf: attaching it was interrupted, and it is nothing")


def _withdraws(leaf: Leaf, leaves: Sequence[Leaf]) -> bool:
    index = leaf.predicate["withdraws"]
    if type(index) is not int or not 0 <= index < leaf.index:
        return False
    earlier = leaves[index]
    return earlier.kind == leaf.kind and "withdraws" not in earlier.predicate


def finish_erasure(log: LogWriter) -> None:
    """No bytes stand in the store that the log says were erased.

    Raises:
        StoreError: the disk refused.
    """
    folder = log.root / layout.ATTACHMENTS
    gone = [sha256 for sha256 in erased_in(log.history.leaves) if (folder / sha256).exists()]
    for sha256 in gone:
        log.disk.unlink(folder / sha256)
    if gone:
        log.disk.sync_folder(folder)
