"""What a store's log says, read back and checked: identity, leaves, checkpoints, and the runs they tell of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from evidence_store import layout, merkle
from evidence_store.errors import TamperedError, VerificationError
from evidence_store.fs import read_file
from evidence_store.keychain import KeyChain
from evidence_store.keys import PublicKey
from evidence_store.log import (
    GENESIS,
    KEY_REVOCATION,
    KEY_TRANSITION,
    LOG_LIMIT,
    REDACTION,
    RUN_ABORT,
    RUN_CLOSE,
    RUN_OPEN,
    Leaf,
    frames,
    open_leaf,
)
from evidence_store.merkle import Frontier
from evidence_store.note import NOTE_LIMIT, Checkpoint, open_checkpoint
from evidence_store.spelling import HEX256, b64, dump, load, unb64
from evidence_store.unordered import LIST_KEY

State = Literal["complete", "aborted", "open"]
Report = Callable[[str, str], None]
"""Takes a path inside the store and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run as the log tells it."""

    number: int
    """From 1, without gaps."""
    state: State
    """``open`` while it is collected, or after a crash until the store is next opened for writing."""
    opening: dict[str, Any]
    """Predicate of its run-open leaf."""
    closing: dict[str, Any]
    """Predicate of its run-close or run-abort leaf; empty while it is open."""
    opened_on: datetime
    """When the run-open leaf was written."""
    closed_on: datetime | None
    """When the closing leaf was written; ``None`` while it is open."""
    subject: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by file name, of the closing leaf; only the plan's while it is open."""
    leaf: bytes = b""
    """The closing leaf, exactly; empty while it is open."""
    erased: Mapping[str, int] = field(default_factory=dict)
    """Bodies that were erased after it ended, by SHA-256, with the leaf that says so."""
    repacked: Mapping[str, int] | None = None
    """What its pack holds since a body of it was erased; ``None`` when it is as it was sealed."""

    @property
    def objects(self) -> Any:
        """What the log says its pack holds: ``count`` and ``size``."""
        return self.closing.get("objects") if self.repacked is None else dict(self.repacked)

    @property
    def lists(self) -> Mapping[str, str]:
        """Digest of the records of each unordered list, by list; both in hex."""
        told = self.closing.get("lists")
        found = told if isinstance(told, dict) else {}
        return {
            key: sha256
            for key, sha256 in found.items()
            if LIST_KEY.fullmatch(key) and isinstance(sha256, str) and HEX256.fullmatch(sha256)
        }

    @property
    def kept(self) -> bool:
        """Whether the run has a folder: not when it is open, nor when its spool was gone at recovery."""
        return layout.PACK in self.subject


@dataclass(slots=True)
class History:
    """The log of one store, as far as it was read and found good."""

    origin: str
    """Name of the log."""
    keys: KeyChain
    """The keys the log says it is signed with; only a pin from outside makes them trusted."""
    leaves: list[Leaf]
    """All leaves that are whole."""
    tree: Frontier
    """The tree over them."""
    end: int
    """Where the last whole leaf ends in ``log/entries``, in bytes."""
    torn: int
    """Bytes after it."""
    checkpoint: Checkpoint
    """The newest published head."""
    note: bytes
    """Its file."""
    runs: dict[int, RunInfo]
    """By number."""
    trust_stale: bool = False
    """Whether ``keys/trust.json`` still says what it said before the newest leaf about keys."""

    @property
    def key(self) -> PublicKey:
        """The key that signs now."""
        return self.keys.current

    @property
    def signers(self) -> list[PublicKey]:
        """All keys that sign or have signed, the present one last."""
        return [*self.keys.keys]

    @property
    def policy(self) -> dict[str, Any]:
        """What the genesis leaf demands of every verification."""
        return dict(self.leaves[0].predicate["policy"])

    def learn(self, leaf: Leaf) -> None:
        """Take in a leaf that was just written."""
        self.keys.take(leaf)
        self.leaves.append(leaf)
        self.tree.add(merkle.leaf_hash(leaf.data))
        tell(self.runs, leaf)


def store_json(origin: str, created: str) -> bytes:
    """Content of ``STORE.json``."""
    return dump({"format": layout.FORMAT, "origin": origin, "hash": "sha256", "created": created})


def genesis_facts(origin: str, key: PublicKey, policy: Mapping[str, Any]) -> dict[str, Any]:
    """The predicate of leaf 0."""
    return {"origin": origin, "key": {"scheme": key.scheme, "spki": b64(key.spki)}, "policy": dict(policy)}


def stop(where: str, what: str) -> None:
    """Report a problem by raising it.

    Raises:
        TamperedError: always.
    """
    raise TamperedError(where, what)


def note_sizes(root: Path) -> list[int]:
    """Sizes for which a checkpoint file stands in the store, ascending."""
    try:
        names = [f"{layout.CHECKPOINTS}/{path.name}" for path in (root / layout.CHECKPOINTS).iterdir()]
    except OSError as error:
        raise TamperedError(layout.CHECKPOINTS, f"cannot be read ({error.strerror})") from error
    return sorted(int(found[1]) for name in names if (found := layout.NOTE_FILE.fullmatch(name)))


def read_history(root: Path, report: Report = stop, *, every_note: bool = False) -> History:
    """The log of a store, with every signature, digest and place in it checked.

    Args:
        root: the store.
        report: is told of each problem; the default raises it.
        every_note: read all checkpoints, not only the newest.

    Raises:
        TamperedError: so much is wrong that nothing can be said.
    """
    # Checkpoints are listed before entries are read: a writer at work only ever adds entries behind them.
    sizes = note_sizes(root)
    if not sizes:
        raise TamperedError(layout.CHECKPOINTS, "holds no checkpoint")
    entries = read_file(root, layout.ENTRIES, LOG_LIMIT)
    leaves: list[Leaf] = []
    end = 0
    for place, data in frames(entries):
        try:
            leaves.append(open_leaf(len(leaves), data))
        except TamperedError as error:
            report(error.where, error.problem)
            break
        end = place
    if not leaves:
        raise TamperedError(layout.ENTRIES, "does not begin with a whole leaf")
    origin, key = _identity(root, leaves[0], report)
    keys, trust_stale = _walk_keys(root, origin, KeyChain([key]), leaves, report)
    if sizes[-1] > len(leaves):
        report(layout.ENTRIES, f"holds {len(leaves)} whole leaves, {note_name_of(sizes[-1])} covers {sizes[-1]}")
    tree, checkpoint, note = _check_notes(root, origin, keys, leaves, sizes, report, every_note)
    runs: dict[int, RunInfo] = {}
    for leaf in leaves:
        try:
            tell(runs, leaf)
        except TamperedError as error:
            report(error.where, error.problem)
    return History(origin, keys, leaves, tree, end, len(entries) - end, checkpoint, note, runs, trust_stale)


def note_name_of(size: int) -> str:
    """File name of a checkpoint, without its folder."""
    return layout.note_name(size).rpartition("/")[2]


def _identity(root: Path, genesis: Leaf, report: Report) -> tuple[str, PublicKey]:
    try:
        facts = genesis.predicate
        origin, key = facts["origin"], PublicKey.from_spki(unb64(facts["key"]["spki"]))
        expected = genesis_facts(origin, key, facts["policy"])
        if genesis.kind != GENESIS or not layout.ORIGIN.fullmatch(origin) or facts != facts | expected:
            raise ValueError("other fields")
    except (ValueError, KeyError, TypeError, VerificationError) as error:
        raise TamperedError(layout.ENTRIES, "leaf 0 is not a genesis statement") from error
    try:
        data = read_file(root, layout.STORE, 65536)
        if data != store_json(origin, load(data).get("created", "")) or not _named(genesis, layout.STORE, data):
            report(layout.STORE, "is not what the genesis leaf says")
    except (TamperedError, ValueError) as error:
        report(layout.STORE, error.problem if isinstance(error, TamperedError) else "is not JSON")
    if not _named(genesis, layout.TRUST, KeyChain([key]).trust(origin)):
        report(layout.ENTRIES, "leaf 0 does not name its own key as the first of the store")
    return origin, key


def _named(leaf: Leaf, name: str, data: bytes) -> bool:
    return leaf.statement.subject.get(name) == hashlib.sha256(data).hexdigest()


def _walk_keys(root: Path, origin: str, keys: KeyChain, leaves: list[Leaf], report: Report) -> tuple[KeyChain, bool]:
    """The keys after all leaves, each leaf checked; and whether the list of keys beside the log is one of before."""
    lists = [keys.trust(origin)]
    for leaf in leaves:
        try:
            keys.take(leaf)
        except TamperedError as error:
            report(error.where, error.problem)
            continue
        if leaf.kind in (KEY_TRANSITION, KEY_REVOCATION):
            lists.append(keys.trust(origin))
    found = lists[-1]
    try:
        found = read_file(root, layout.TRUST, 65536)
        if found not in lists:
            report(layout.TRUST, "is not what the log says")
    except TamperedError as error:
        report(error.where, error.problem)
    return keys, found != lists[-1] and found in lists


def _check_notes(
    root: Path, origin: str, keys: KeyChain, leaves: list[Leaf], sizes: list[int], report: Report, every: bool
) -> tuple[Frontier, Checkpoint, bytes]:
    """Grow the tree leaf by leaf and hold each checkpoint against it; the newest good one is returned."""
    tree, newest = Frontier(), b""
    head = Checkpoint(origin, 0, merkle.EMPTY_ROOT)
    on_disk = set(sizes)
    for size in sorted(on_disk - set(range(1, len(leaves) + 1))):
        if size <= len(leaves):
            report(layout.note_name(size), "is a checkpoint over nothing")
        else:
            report(layout.note_name(size), f"covers {size} leaves, {layout.ENTRIES} holds {len(leaves)}")
    previous = b""
    for leaf in leaves:
        tree.add(merkle.leaf_hash(leaf.data))
        if leaf.index and (every or previous) and not _follows(leaf, previous):
            report(layout.ENTRIES, f"leaf {leaf.index} does not name the checkpoint it was written after")
        previous = b""
        # A writer at work may have added several leaves since the checkpoints were listed, each with its own.
        since = tree.size > sizes[-1] and (root / layout.note_name(tree.size)).is_file()
        if tree.size not in on_disk and not since:
            if tree.size <= sizes[-1] and every:
                report(layout.note_name(tree.size), "is missing")
            continue
        if not every and tree.size != sizes[-1]:
            continue
        name = layout.note_name(tree.size)
        try:
            previous = read_file(root, name, NOTE_LIMIT)
            found = open_checkpoint(previous, origin, keys.at(tree.size))
        except VerificationError as error:
            report(name, error.problem if isinstance(error, TamperedError) else error.what)
            continue
        if found.size != tree.size or found.root != tree.root():
            report(name, "is signed, but is not the root over the leaves in the log")
        else:
            head, newest = found, previous
    return tree, head, newest


def _follows(leaf: Leaf, note: bytes) -> bool:
    return leaf.statement.subject.get(layout.note_name(leaf.index)) == hashlib.sha256(note).hexdigest()


def tell(runs: dict[int, RunInfo], leaf: Leaf) -> None:
    """Let a leaf change what is known of the runs.

    Raises:
        TamperedError: it contradicts the leaves before it.
    """
    if leaf.kind == GENESIS and leaf.index:
        raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} is a second genesis statement")
    if leaf.kind == REDACTION:
        tell_erasure(runs, leaf)
    if leaf.kind not in (RUN_OPEN, RUN_CLOSE, RUN_ABORT):
        return
    number = leaf.predicate.get("run")
    last = runs.get(len(runs))
    if leaf.kind == RUN_OPEN:
        if type(number) is not int or number != len(runs) + 1 or (last and last.state == "open"):
            raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} opens a run out of turn")
        if layout.PLAN not in leaf.statement.subject:
            raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} opens a run without a plan")
        plan = {layout.PLAN: leaf.statement.subject[layout.PLAN]}
        runs[number] = RunInfo(number, "open", leaf.predicate, {}, leaf.recorded_on, None, plan)
        return
    if last is None or last.state != "open" or number != last.number:
        raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} ends a run that is not open")
    if leaf.predicate.get("openIndex") != last.opening["index"]:
        raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} ends a run opened by another leaf")
    subject = leaf.statement.subject
    if layout.PACK not in subject and leaf.kind == RUN_CLOSE:
        raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} completes a run without its files")
    if subject.get(layout.PLAN, last.subject[layout.PLAN]) != last.subject[layout.PLAN]:
        raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} ends a run with another plan")
    state: State = "complete" if leaf.kind == RUN_CLOSE else "aborted"
    runs[last.number] = RunInfo(
        last.number, state, last.opening, leaf.predicate, last.opened_on, leaf.recorded_on, subject, leaf.data
    )


def tell_erasure(runs: dict[int, RunInfo], leaf: Leaf) -> None:
    """Let a redaction leaf change what the runs that ended before it are expected to hold.

    Raises:
        TamperedError: it is not one that this release writes.
    """
    facts, subject = leaf.predicate, dict(leaf.statement.subject)
    subject.pop(layout.note_name(leaf.index), None)
    try:
        if set(facts) != {"index", "recordedOn", "objects", "basis", "approvedBy", "packs"}:
            raise ValueError("other fields")
        if not isinstance(facts["objects"], list) or not facts["objects"]:
            raise ValueError("names no body")
        if not all(HEX256.fullmatch(sha256) for sha256 in facts["objects"]):
            raise ValueError("names no body")
        if not all(isinstance(facts[name], str) and facts[name] for name in ("basis", "approvedBy")):
            raise ValueError("gives no basis")
        packs = {entry["run"]: {"count": entry["count"], "size": entry["size"]} for entry in facts["packs"]}
        if any(set(entry) != {"run", "count", "size"} for entry in facts["packs"]):
            raise ValueError("other fields")
        if {f"{layout.run_name(number)}/{layout.PACK}" for number in packs} != set(subject):
            raise ValueError("names other packs")
        if not all(runs[number].kept for number in packs):
            raise ValueError("a run that has no pack")
    except (ValueError, KeyError, TypeError) as error:
        raise TamperedError(layout.ENTRIES, f"leaf {leaf.index} is not a redaction that can be read") from error
    erased = dict.fromkeys(facts["objects"], leaf.index)
    for number, run in list(runs.items()):
        if run.closed_on is None:
            continue
        runs[number] = replace(run, erased={**run.erased, **erased})
        if number in packs:
            pack = {layout.PACK: subject[f"{layout.run_name(number)}/{layout.PACK}"]}
            runs[number] = replace(runs[number], repacked=packs[number], subject={**run.subject, **pack})
