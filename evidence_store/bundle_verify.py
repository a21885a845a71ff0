"""Says whether a bundle is what was sealed, in one pass over its files; nothing is unpacked to disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from evidence_store import attachments, layout, merkle, sigstore, sshsig, words
from evidence_store import bundle_format as form
from evidence_store.bundle_attested import Outsiders
from evidence_store.bundle_lines import SPANS, STREAMS, LineSummary, Named, objects_of, readable
from evidence_store.bundle_source import WHOLE, Entry, Limits, Source, open_source, printable
from evidence_store.cosignature import Witness
from evidence_store.dsse import Envelope, open_envelope, open_statement
from evidence_store.errors import StoreError, TamperedError, UsageError, VerificationError
from evidence_store.history import genesis_facts
from evidence_store.keychain import KeyChain
from evidence_store.keys import PublicKey, fingerprint_of
from evidence_store.log import GAP, GENESIS, REDACTION, RUN_ABORT, RUN_CLOSE, RUN_OPEN, Leaf, open_leaf
from evidence_store.note import Checkpoint, open_checkpoint, verifier_key
from evidence_store.spans import open_redacted
from evidence_store.spelling import stamp, unb64, unstamp
from evidence_store.verify import (
    CLOCK_SKEW,
    LAG_LIMIT_H,
    NO_ANCHOR,
    NO_KEY,
    PROBLEM_LIMIT,
    Problem,
    Verification,
    timestamp_policy,
)

ENDS_EARLY = "the last leaf was recorded before the period ends: nothing here shows what was recorded after it"


@dataclass(slots=True)
class File:
    """What the one pass over the files kept of one."""

    size: int
    sha256: str
    content: bytes | None
    """Whole content of what is small and needed; ``None`` of the rest."""
    lines: LineSummary | None = None
    """Of a stream of lines."""
    copies: Mapping[str, str] | None = None
    """Of a plan that names objects: digest by path of the readable copy."""
    spans: int = 0
    """Of a reply whose fields are left out: how many spans it has."""


@dataclass(slots=True)
class Run:
    """A run as the leaves of the range tell it."""

    number: int
    opening: Leaf
    ending: Leaf | None = None

    @property
    def state(self) -> str:
        """``complete``, ``aborted`` or ``open``."""
        if self.ending is None:
            return "open"
        return "complete" if self.ending.kind == RUN_CLOSE else "aborted"

    @property
    def subject(self) -> Mapping[str, str]:
        """Digests that the ending leaf names."""
        return self.ending.statement.subject if self.ending else {}

    @property
    def kept(self) -> bool:
        """Whether its files are in the bundle."""
        return layout.PACK in self.subject


@dataclass(slots=True)
class Contents:
    """What a bundle was found to hold; to be relied on only when its verification has no problem."""

    facts: form.Facts | None = None
    """What the seal says."""
    keys: KeyChain | None = None
    leaves: list[Leaf] = field(default_factory=list)
    """Of the range."""
    head: Checkpoint | None = None
    """The newest."""
    note: bytes = b""
    """Its file."""
    roots: dict[int, bytes] = field(default_factory=dict)
    """Root by size, of every head that was rebuilt or proven."""
    runs: dict[int, Run] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)
    """Leaf that says so, by digest of a body that was erased."""
    attached: dict[str, tuple[str, int]] = field(default_factory=dict)
    """File of its leaf, and size, by digest of what was attached."""


def verify_bundle(
    path: Path,
    *,
    key: str | None,
    tsa_roots: bytes | None = None,
    max_stamp_lag_h: float = 24,
    since: str | None = None,
    witnesses: Sequence[Witness] = (),
    limits: Limits | None = None,
) -> Verification:
    """Check every file of a bundle against its seal, its log and a key that came from elsewhere.

    Args:
        path: folder, zip or ``tar.zst``.
        key: fingerprint of the signer, obtained outside the bundle; without it nothing is authenticated.
        tsa_roots: PEM root certificates of the time-stamp authorities.
        max_stamp_lag_h: a run that was stamped later than this is a problem, unless the log's own policy is stricter.
        since: an earlier head, which this bundle must extend: twelve words, or the text of a note.
        witnesses: whose cosignatures count.
        limits: what a hostile bundle can cost.

    Raises:
        UsageError: there is no bundle at ``path``, or an argument is malformed.
    """
    return examine(
        path, key=key, tsa_roots=tsa_roots, max_stamp_lag_h=max_stamp_lag_h, since=since, witnesses=witnesses,
        limits=limits,
    )[0]  # fmt: skip


def examine(
    path: Path,
    *,
    key: str | None,
    tsa_roots: bytes | None = None,
    max_stamp_lag_h: float = 24,
    since: str | None = None,
    witnesses: Sequence[Witness] = (),
    limits: Limits | None = None,
) -> tuple[Verification, Contents]:
    """:func:`verify_bundle`, and what was found on the way."""
    pinned = fingerprint_of(key) if key is not None else None
    if not 0 < max_stamp_lag_h <= LAG_LIMIT_H:
        raise UsageError(f"a lag of {max_stamp_lag_h} hours is impossible", "give hours above 0, such as 24")
    wanted = _since(since) if since is not None else None
    limits = limits or Limits()
    with open_source(Path(path), limits) as source:
        return _examined(source, limits, pinned, tsa_roots, timedelta(hours=max_stamp_lag_h), wanted, witnesses)


def _examined(
    source: Source,
    limits: Limits,
    pinned: str | None = None,
    roots: bytes | None = None,
    lag: timedelta = timedelta(hours=24),
    since: bytes | Checkpoint | None = None,
    witnesses: Sequence[Witness] = (),
) -> tuple[Verification, Contents]:
    check = _Check(limits)
    with check.noting(WHOLE):
        check.read(source.entries(check.report))
    check.bag()
    check.log()
    check.seal()
    check.runs()
    attested = check.outsiders(roots, lag, witnesses, since is not None)
    trusted = check.pin(pinned, attested)
    if since is not None:
        check.extends(since)
    return check.outcome(trusted), check.found


def _since(text: str) -> bytes | Checkpoint:
    return words.read_head(text) if "\n" in text.strip() and len(text.split()) != words.COUNT else words.read(text)


class _Check:
    """One verification in progress."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.problems: dict[Problem, None] = {}
        self.warnings: list[str] = []
        self.files: dict[str, File] = {}
        self.found = Contents()
        self.stamped: list[dict[str, Any]] = []
        self.cosigned: list[dict[str, Any]] = []
        self.since: int | None = None
        self._named = Named(limits.files)
        self._chain: KeyChain | None = None

    def report(self, path: str, what: str) -> None:
        if len(self.problems) < PROBLEM_LIMIT:
            self.problems[Problem(path, what)] = None

    @contextmanager
    def noting(self, path: str) -> Iterator[None]:
        """Every way in which reading can fail becomes a problem."""
        try:
            yield
        except TamperedError as error:
            where = path if error.where == layout.ENTRIES else error.where
            self.report(where, error.problem)
        except VerificationError as error:
            self.report(path, error.what)
        except (StoreError, ValueError, OverflowError, RecursionError) as error:
            self.report(path, str(error))

    # ------------------------------------------------------------------------------------------- 1 names and content

    def read(self, entries: Iterator[Entry]) -> None:
        """The one pass: every file is hashed, what is needed is kept or summed up."""
        seen: set[str] = set()
        held = 0
        for entry in entries:
            name = entry.name
            if name.lower() in seen:
                self.report(printable(name), "occurs twice")
                continue
            seen.add(name.lower())
            limit = form.limit_of(name)
            if limit is None or entry.size > limit:
                self.report(printable(name), f"is longer than {limit} bytes" if limit else "is not part of a bundle")
                continue
            hold = not name.startswith(("data/", "verify/"))
            held += entry.size if hold else 0
            if held > self.limits.held:
                raise TamperedError(name, f"and what was read before it are longer than {self.limits.held} bytes")
            with self.noting(name):
                self.files[name] = self._file(name, entry, hold)

    def _file(self, name: str, entry: Entry, hold: bool) -> File:
        digest, kept = hashlib.sha256(), []
        run_file, redacted = form.RUN_FILE.fullmatch(name), form.REDACTED.fullmatch(name)
        stream = run_file[2] if run_file else ""
        summary = LineSummary(name, stream, self._named) if stream in STREAMS else None
        # Plans and redacted replies may be large: what is needed of them is noted now, and they are let go.
        brief = stream == layout.PLAN or redacted is not None
        for chunk in entry.chunks():
            digest.update(chunk)
            if summary is not None:
                summary.take(chunk)
            if hold or brief:
                kept.append(chunk)
        content = b"".join(kept)
        file = File(entry.size, digest.hexdigest(), content if hold else None, summary)
        if summary is not None:
            summary.end()
        with self.noting(name):
            if stream == layout.PLAN:
                file.copies = readable(content)
                for sha256 in objects_of(content):
                    self._named.body(sha256, name)
            if redacted is not None:
                file.spans = len(open_redacted(content, redacted[2]).pieces)
            if (found := form.OBJECT.fullmatch(name)) and file.sha256 != found[2]:
                raise ValueError("has other content than its name")
        return file

    # ------------------------------------------------------------------------------------------------------- 2 the bag

    def bag(self) -> None:
        """The three lists name every file, with its digest, and no other."""
        for name in form.REQUIRED:
            if name not in self.files:
                self.report(name, "is missing")
        if (bagit := self._content(form.BAGIT)) is not None and bagit != form.BAGIT_TEXT:
            self.report(form.BAGIT, "is not spelt as BagIt 1.0")
        lists: dict[str, dict[str, str]] = {form.MANIFEST: {}, form.TAGS: {}, form.SEAL_LIST: {}}
        for name in lists:
            if (data := self._content(name)) is None:
                continue
            with self.noting(name):
                lists[name] = form.read_list(data)
        for name, listed in lists.items():
            if name not in self.files:
                continue
            for path, sha256 in listed.items():
                if form.part_of(path) != name or form.limit_of(path) is None:
                    self.report(name, f"lists {printable(path)[:200]}, which is not part of it")
                elif path not in self.files:
                    self.report(path, "is missing")
                elif self.files[path].sha256 != sha256:
                    self.report(path, "has other content than listed")
            for path in self.files:
                if form.part_of(path) == name and path not in listed:
                    self.report(path, "is not listed")
        payload = [file.size for name, file in self.files.items() if name.startswith("data/")]
        if (data := self._content(form.INFO)) is not None:
            with self.noting(form.INFO):
                if form.read_bag_info(data)["Payload-Oxum"] != f"{sum(payload)}.{len(payload)}":
                    raise ValueError("states another Payload-Oxum than was counted")

    # ------------------------------------------------------------------------------------------------------- 3 the log

    def log(self) -> None:
        """The leaves of the range are signed, in place, and grow the tree from one signed head to the other."""
        if (data := self._content(form.PROOF)) is None:
            return
        with self.noting(form.PROOF):
            proof = form.Proof.read(data)
            leaves, apart = self._leaves(proof)
            self._keys(proof, leaves, apart)
            if self._chain is None or len(leaves) != proof.end - proof.start:
                return
            self._tree(proof, leaves)
            self._apart(proof, apart)
            self.found.leaves = leaves
            for entry in proof.earlier:
                self._earlier(proof, *entry)

    def _leaves(self, proof: form.Proof) -> tuple[list[Leaf], dict[str, Leaf]]:
        found: dict[int, Leaf] = {}
        apart: dict[str, Leaf] = {}
        for name, file in sorted(self.files.items()):
            entry, key_leaf = form.ENTRY.fullmatch(name), form.KEY_LEAF.fullmatch(name)
            match = entry or key_leaf
            if match is None or file.content is None:
                continue
            with self.noting(name):
                index = int(match[1])
                leaf = open_leaf(index, file.content)
                if leaf.kind != match[2]:
                    raise ValueError(f"is a {leaf.kind} leaf")
                if (proof.start <= index < proof.end) != (entry is not None):
                    raise ValueError("is not in the range" if entry else "is in the range")
                if entry and index in found:
                    raise ValueError("is a second leaf of this number")
                if entry:
                    found[index] = leaf
                else:
                    apart[name] = leaf
        if len(found) != proof.end - proof.start:
            holes = (index for index in range(proof.start, proof.end) if index not in found)
            self.report("log/entries", f"leaf {next(holes)} is missing")
        return [found[index] for index in sorted(found)], apart

    def _keys(self, proof: form.Proof, leaves: list[Leaf], apart: dict[str, Leaf]) -> None:
        """Walk the keys from leaf 0 through all leaves that are here, in order."""
        named = {form.entry_name(leaf.index, leaf.kind): leaf for leaf in leaves} | apart
        for name, leaf in sorted(named.items(), key=lambda pair: pair[1].index):
            with self.noting(name):
                if leaf.index == 0:
                    self._genesis(proof, leaf)
                if self._chain is None:
                    continue
                if leaf.index and leaf.kind == GENESIS:
                    raise ValueError("is a second genesis statement")
                self._chain.take(leaf)
                if leaf.kind == REDACTION:
                    self.found.erased |= dict.fromkeys(leaf.predicate["objects"], leaf.index)
                if (attached := attachments.object_of(leaf)) is not None:
                    self.found.attached[attached.sha256] = (name, attached.size)
        if self._chain is None:
            self.report("keys/leaves", "leaf 0 is missing")
            return
        chain = self.found.keys = self._chain
        expected = "".join(verifier_key(proof.origin, key) + "\n" for key in chain.keys).encode()
        ssh = f'{form.PRINCIPAL} namespaces="{form.NAMESPACE}" {sshsig.ssh_key(chain.current)}\n'.encode()
        for name, content in ((form.VKEY, expected), (form.SIGNER, chain.current.pem().encode()), (form.ALLOWED, ssh)):
            if (data := self._content(name)) is not None and data != content:
                self.report(name, "is not what the leaves say")

    def _genesis(self, proof: form.Proof, leaf: Leaf) -> None:
        try:
            facts = leaf.predicate
            key = PublicKey.from_spki(unb64(facts["key"]["spki"]))
            if leaf.kind != GENESIS or facts != facts | genesis_facts(proof.origin, key, facts["policy"]):
                raise ValueError("other fields")
            policy = dict(facts["policy"])
        except (KeyError, TypeError, ValueError, AttributeError, VerificationError) as error:
            raise ValueError("is not the genesis statement of this log") from error
        self._chain = KeyChain([key])
        self.found.policy = policy

    def _tree(self, proof: form.Proof, leaves: list[Leaf]) -> None:
        """Rebuild every head from the frontier and the leaves."""
        notes = {int(found[1]): name for name in self.files if (found := form.NOTE.fullmatch(name))}
        marked = {
            int(found[1])
            for name in self.files
            if (found := form.TOKEN.fullmatch(name) or form.COSIGNATURE.fullmatch(name))
        }
        for size, name in notes.items():
            if not proof.start <= size <= proof.end or not size or size not in {proof.start, proof.end} | marked:
                self.report(name, "is not part of a bundle")
        for size in sorted(({proof.start, proof.end} | marked) - notes.keys() - {0}):
            self.report(layout.note_name(size), "is missing")
        tree = merkle.Frontier()
        tree.size, tree.hashes = proof.start, list(proof.frontier)
        for leaf in (None, *leaves):
            if leaf is not None:
                if leaf.index in notes and leaf.index:
                    self._follows(leaf, notes[leaf.index])
                tree.add(merkle.leaf_hash(leaf.data))
            self.found.roots[tree.size] = tree.root()
            if tree.size in notes:
                self._note(proof, notes[tree.size], tree)
        if proof.start:
            held = merkle.verify_consistency(
                proof.start, proof.end, self.found.roots[proof.start], tree.root(), proof.consistency
            )
        else:
            held = not proof.consistency
        if not held:
            self.report(form.PROOF, "has a consistency proof that does not hold")

    def _follows(self, leaf: Leaf, name: str) -> None:
        if leaf.statement.subject.get(layout.note_name(leaf.index)) != self.files[name].sha256:
            self.report(form.entry_name(leaf.index, leaf.kind), "does not name the checkpoint it was written after")

    def _note(self, proof: form.Proof, name: str, tree: merkle.Frontier) -> None:
        content = self.files[name].content or b""
        with self.noting(name):
            assert self._chain is not None
            head = open_checkpoint(content, proof.origin, self._chain.at(tree.size))
            if head.size != tree.size or head.root != tree.root():
                raise ValueError("is not the root over the leaves")
            if tree.size == proof.end:
                self.found.head, self.found.note = head, content

    def _apart(self, proof: form.Proof, apart: dict[str, Leaf]) -> None:
        """Leaves about keys that are not in the range are in the same tree, or came after it."""
        root = self.found.roots[proof.end]
        before = {leaf.index for leaf in apart.values() if leaf.index < proof.start}
        if set(proof.inclusion) != before:
            self.report(form.PROOF, "has inclusion proofs of other leaves than stand under keys/")
        for name, leaf in apart.items():
            path = proof.inclusion.get(leaf.index, ())
            hashed = merkle.leaf_hash(leaf.data)
            if leaf.index in before and not merkle.verify_inclusion(leaf.index, proof.end, hashed, path, root):
                self.report(name, "is not in the log")

    def _earlier(self, proof: form.Proof, size: int, root: bytes, path: Sequence[bytes]) -> None:
        if not size < proof.start or not merkle.verify_consistency(
            size, proof.end, root, self.found.roots[proof.end], path
        ):
            self.report(form.PROOF, f"has a proof from {size} leaves that does not hold")
        else:
            self.found.roots[size] = root

    # ------------------------------------------------------------------------------------------------------ 4 the seal

    def seal(self) -> None:
        """The tag manifest is signed by the newest key, three times over, and the facts beside it are so."""
        tags, data = self._content(form.TAGS), self._content(form.SEAL)
        if data is None:
            return
        envelope: Envelope | None = None
        with self.noting(form.SEAL):
            envelope = open_envelope(data)
            statement = open_statement(envelope.payload)
            if statement.kind != form.KIND or list(statement.subject) != [form.TAGS] or len(envelope.signatures) != 1:
                raise ValueError("is not the seal of a bundle")
            facts = self.found.facts = form.Facts.read(statement.predicate)
            if tags is not None and statement.subject[form.TAGS] != hashlib.sha256(tags).hexdigest():
                self.report(form.TAGS, "is not what was sealed")
            if self._chain is not None and not envelope.signed_by(self._chain.current):
                raise ValueError("has a signature that does not verify")
            self._sealed_facts(facts)
            if facts.stamped != (form.SEAL_TOKEN in self.files):
                self.report(form.SEAL_TOKEN, "is missing" if facts.stamped else "is not part of this bundle")
        if (signature := self._content(form.SSH)) is not None and tags is not None and self._chain is not None:
            with self.noting(form.SSH):
                sshsig.verify(signature, tags, form.NAMESPACE, self._chain.current)
        if (copy := self._content(form.SIGSTORE)) is not None and envelope is not None:
            with self.noting(form.SIGSTORE):
                token = sigstore.read(copy, envelope)
                if self._stamped() not in (None, token is not None):
                    raise ValueError("holds a time stamp against what is sealed, or lacks it")

    def _stamped(self) -> bool | None:
        return None if self.found.facts is None else self.found.facts.stamped

    def _sealed_facts(self, facts: form.Facts) -> None:
        head = self.found.head
        if head is None:
            return
        if (facts.origin, facts.end, facts.root) != (head.origin, head.size, head.root.hex()):
            self.report(form.SEAL, "speaks of another head than the log")
        if self.found.leaves and facts.start != self.found.leaves[0].index:
            self.report(form.SEAL, "speaks of another range than the log")
        identity = " ".join(head.text().split("\n")[:3])
        with suppress(ValueError):
            if form.read_bag_info(self._content(form.INFO) or b"")["External-Identifier"] != identity:
                self.report(form.INFO, "names another head than the log")

    # --------------------------------------------------------------------------------------------- 5 runs and objects

    def runs(self) -> None:
        """Every run of the range is whole, its lines are those of its tree, and every body is there."""
        leaves, facts = self.found.leaves, self.found.facts
        last = None
        for leaf in leaves:
            with self.noting(form.entry_name(leaf.index, leaf.kind)):
                last = self._tell(leaf, last)
        kept = {run.number for run in self.found.runs.values() if run.kept}
        for name in self.files:
            if leaves and (match := form.RUN_FILE.fullmatch(name)) and int(match[1]) not in kept:
                self.report(name, "belongs to no run of the bundle")
        withheld = dict.fromkeys((layout.MANIFEST, layout.RESULTS), 0)
        for run in self.found.runs.values():
            if run.kept:
                self._run(run, withheld)
        if leaves:
            self._objects(kept)
        if facts is not None and leaves:
            states = [run.state for run in self.found.runs.values()]
            if facts.runs != {state: states.count(state) for state in ("complete", "aborted", "open")}:
                self.report(form.SEAL, "speaks of other runs than the log")
            if (facts.withheld_replies, facts.withheld_results) != tuple(withheld.values()):
                self.report(form.SEAL, "speaks of another number of withheld lines")
            begin, end = map(unstamp, facts.period)
            if not any(begin <= leaf.recorded_on < end for leaf in leaves):
                self.report(form.SEAL, "speaks of a period in which nothing of the range was recorded")
            if leaves[-1].recorded_on < end:
                self.warnings.append(ENDS_EARLY)
            if leaves[0].index and leaves[0].recorded_on >= begin:
                self.report(form.entry_name(leaves[0].index, leaves[0].kind), "begins after the period does")
        for before, after in pairwise(leaves):
            if after.recorded_on < before.recorded_on:
                self.warnings.append(f"the clock went back between leaf {before.index} and leaf {after.index}")

    def _tell(self, leaf: Leaf, last: int | None) -> int | None:
        """Take in a leaf; the number of the newest run is passed along.

        Raises:
            ValueError: it contradicts the leaves before it.
        """
        runs, leaves, number = self.found.runs, self.found.leaves, leaf.predicate.get("run")
        if leaf.kind not in (RUN_OPEN, RUN_CLOSE, RUN_ABORT):
            return last
        if type(number) is not int or not 0 < number < 10**8:
            raise ValueError("names no run")
        current = runs.get(last) if last is not None else None
        if leaf.kind == RUN_OPEN:
            expected = last + 1 if last is not None else 1 if not leaves[0].index else number
            if number != expected or (current is not None and current.ending is None):
                raise ValueError("opens a run out of turn")
            if layout.PLAN not in leaf.statement.subject:
                raise ValueError("opens a run without a plan")
            facts = self.found.facts
            if facts is None or leaf.recorded_on < unstamp(facts.period[1]) or leaf is not leaves[-1]:
                runs[number] = Run(number, leaf)
            return number
        if current is None and leaf is leaves[0]:
            return number
        if current is None or current.ending is not None or number != current.number:
            raise ValueError("ends a run that is not open")
        current.ending = leaf
        if leaf.predicate.get("openIndex") != current.opening.index:
            raise ValueError("ends a run opened by another leaf")
        subject, plan = leaf.statement.subject, current.opening.statement.subject[layout.PLAN]
        if (layout.PACK not in subject and leaf.kind == RUN_CLOSE) or subject.get(layout.PLAN, plan) != plan:
            raise ValueError("ends a run without its files, or with another plan")
        return number

    def _run(self, run: Run, withheld: dict[str, int]) -> None:
        plan = form.run_file(run.number, layout.PLAN)
        if plan not in self.files:
            self.report(plan, "is missing")
        elif self.files[plan].sha256 != run.opening.statement.subject[layout.PLAN]:
            self.report(plan, "is not what was sealed")
        assert run.ending is not None
        for stream in STREAMS:
            name = form.run_file(run.number, stream)
            facts = run.ending.predicate.get(stream.removesuffix(".ndjson"))
            if name not in self.files or (summary := self.files[name].lines) is None:
                if stream != SPANS or (facts is not None and self._redacted):
                    self.report(name, "is missing")
                continue
            if stream in withheld:
                withheld[stream] += len(summary.withheld)
            with self.noting(name):
                if summary.problem:
                    raise ValueError(summary.problem)
                if not isinstance(facts, dict):
                    raise ValueError("is not described by its leaf")
                if (summary.root, summary.count) != (facts.get("root"), facts.get("leaves")):
                    raise ValueError("is not the root over the leaves")
                file = self.files[name]
                if stream == SPANS:
                    self._beside(summary, self.files.get(form.run_file(run.number, layout.MANIFEST)))
                elif not summary.withheld and (file.sha256, file.size) != (run.subject.get(stream), facts.get("size")):
                    raise ValueError("is not what was sealed")

    @property
    def _redacted(self) -> bool:
        """Whether fields are left out of this bundle."""
        return any(form.REDACTED.fullmatch(name) or name.endswith(f"/{SPANS}") for name in self.files)

    def _beside(self, public: LineSummary, manifest: File | None) -> None:
        """Every public line stands for a reply that is withheld, and for one of its own."""
        hidden = set(manifest.lines.withheld) if manifest is not None and manifest.lines is not None else set()
        if len(set(public.replies)) != len(public.replies) or not hidden.issuperset(public.replies):
            raise ValueError("stands for a reply that is shown, or twice for one")

    def _objects(self, kept: set[int]) -> None:
        present = {found[2] for name in self.files if (found := form.OBJECT.fullmatch(name))}
        gone: dict[int, int] = {}
        for digest, where in self._named.bodies.items():
            if (sha256 := digest.hex()) in present:
                continue
            if sha256 in self.found.erased:
                gone[self.found.erased[sha256]] = gone.get(self.found.erased[sha256], 0) + 1
            else:
                self.report(form.object_name(sha256), f"is missing, though {where} names it")
        self._attached(present, gone)
        for leaf, count in sorted(gone.items()):
            self.warnings.append(
                f"{count} bodies were erased under leaf {leaf}: what rests on them cannot be re-performed"
            )
        for sha256 in present:
            if bytes.fromhex(sha256) not in self._named.bodies and sha256 not in self.found.attached:
                self.report(form.object_name(sha256), "is named by nothing")
        for root, count in self._named.redacted.items():
            name = form.redacted_name(root.hex())
            if name not in self.files:
                self.report(name, "is missing")
            elif self.files[name].spans != count:
                self.report(name, "has another number of spans than its line says")
        for name in self.files:
            match = form.REDACTED.fullmatch(name)
            if match and bytes.fromhex(match[2]) not in self._named.redacted:
                self.report(name, "is named by nothing")
        copies: Mapping[str, str] = {}
        for number in sorted(kept, reverse=True):
            file = self.files.get(form.run_file(number, layout.PLAN))
            if file is not None and file.copies is not None:
                copies = file.copies
                break
        for name, file in self.files.items():
            if form.READABLE.fullmatch(name) and copies.get(name) != file.sha256:
                self.report(name, "is not what the newest plan names")

    def _attached(self, present: set[str], gone: dict[int, int]) -> None:
        """What people attached is there, was erased, or is left out and counted in the seal."""
        left_out = 0
        stated = self.found.facts.withheld_attachments if self.found.facts is not None else 0
        for sha256, (name, size) in self.found.attached.items():
            if sha256 in present:
                if self.files[form.object_name(sha256)].size != size:
                    self.report(form.object_name(sha256), f"has another size than {name} says")
            elif sha256 in self.found.erased:
                if bytes.fromhex(sha256) not in self._named.bodies:
                    gone[self.found.erased[sha256]] = gone.get(self.found.erased[sha256], 0) + 1
            else:
                left_out += 1
                if not stated:
                    self.report(form.object_name(sha256), f"is missing, though {name} names it")
        if stated != left_out and stated:
            self.report(form.SEAL, "speaks of another number of attachments that are left out")

    # --------------------------------------------------------------------------------------------------- 6 time stamps

    def outsiders(
        self, roots: bytes | None, limit: timedelta, witnesses: Sequence[Witness], since: bool
    ) -> Sequence[tuple[int, datetime]]:
        """What outsiders attest holds, and runs were stamped in time; what was seen outside, and when, is returned."""
        if not self.found.leaves:
            return []
        files = {name: file.content for name, file in self.files.items() if file.content is not None}
        outside = Outsiders(files, self.found.leaves, self.report, self.noting, self.warnings)
        outside.check(roots, witnesses)
        self.stamped, self.cosigned = outside.stamps, outside.cosignatures
        self._lag(limit)
        if self._chain is not None:
            for what in self._chain.discounted(outside.attested):
                self.report("log/entries", what)
        if not outside.attested and not since:
            self.warnings.append(NO_ANCHOR)
        return outside.attested

    def _lag(self, limit: timedelta) -> None:
        demanded: dict[str, Any] = {}
        with self.noting("log/entries"):
            demanded = timestamp_policy(self.found.policy)
        if "maxLagHours" in demanded:
            limit = min(limit, timedelta(hours=demanded["maxLagHours"]))
        for run in self.found.runs.values():
            if run.ending is None:
                continue
            closed = run.ending.recorded_on
            times = [unstamp(one["time"]) for one in self.stamped if one["checkpointSize"] > run.ending.index]
            where = layout.run_name(run.number)
            if not times and demanded.get("required") is True:
                self.report(where, "no time stamp that was checked covers it, and the log's policy demands one")
            if times and min(times) - closed > limit:
                self.report(where, f"was stamped {min(times) - closed} after the time it claims")
            if times and closed - min(times) > CLOCK_SKEW:
                self.report(where, f"claims a time {closed - min(times)} after the stamp that covers it")

    # ------------------------------------------------------------------------------------------------ 7 earlier heads

    def extends(self, wanted: bytes | Checkpoint) -> None:
        """The head that somebody kept is in this log's past."""
        head, facts = self.found.head, self.found.facts
        if head is None or facts is None:
            self.report(form.PROOF, "cannot be held against the earlier head")
            return
        for size, root in self.found.roots.items():
            rebuilt = Checkpoint(head.origin, size, root)
            if size and wanted in (rebuilt, words.digest(rebuilt)):
                self.since = size
                return
        newer = isinstance(wanted, Checkpoint) and wanted.size > head.size
        self.report(
            form.PROOF,
            "does not reach the earlier head: it is newer than this bundle" if newer
            else "does not extend the earlier head: the log was rewritten, or the bundle has no proof from it",
        )  # fmt: skip

    def pin(self, pinned: str | None, attested: Sequence[tuple[int, datetime]]) -> bool:
        """Whether everything is signed by a key the reader named."""
        if pinned is None:
            self.warnings.append(NO_KEY)
            return False
        if self._chain is None:
            return False
        if why := self._chain.refuses(pinned, attested):
            self.report(form.SIGNER, why)
            return False
        return True

    def outcome(self, trusted: bool) -> Verification:
        found, facts = self.found, self.found.facts
        told: dict[str, Any] = {}
        if self._chain is not None:
            told["key"] = self._chain.current.fingerprint
        if found.head is not None:
            told = {"origin": found.head.origin, **told, "size": found.head.size, "root": found.head.root.hex()}
            told["words"] = words.spell(found.head)
        if facts is not None:
            told |= {
                "organisation": facts.organisation,
                "recipient": facts.recipient,
                "period": f"{facts.period[0]} to {facts.period[1]}",
                "range": f"leaves {facts.start} to {facts.end - 1}",
                "runs": dict(facts.runs),
                "withheld": facts.predicate()["withheld"],
            }
            if facts.controls or facts.scopes:
                told["selection"] = {"controls": list(facts.controls), "scopes": list(facts.scopes)}
        if self.since is not None:
            told["since"] = f"extends the head of {self.since} leaves"
        if found.leaves:
            told |= {"first": stamp(found.leaves[0].recorded_on), "last": stamp(found.leaves[-1].recorded_on)}
            told["gaps"] = sum(leaf.kind == GAP for leaf in found.leaves)
        problems = tuple(sorted(self.problems, key=lambda problem: (problem.path, problem.what)))
        manifests = [
            file.lines for name, file in self.files.items() if file.lines is not None and name.endswith(layout.MANIFEST)
        ]
        return Verification(
            problems, tuple(self.warnings), told, trusted and not problems, len(found.runs),
            sum(lines.count - len(lines.withheld) for lines in manifests),
            sum(form.OBJECT.fullmatch(name) is not None for name in self.files), len(found.leaves),
            found.head.text() if found.head else "", tuple(self.stamped),
            tuple(self.cosigned),
        )  # fmt: skip

    def _content(self, name: str) -> bytes | None:
        file = self.files.get(name)
        return None if file is None else file.content
