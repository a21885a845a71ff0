"""Builds a bundle: the sealed evidence of one period, in a form an auditor can check without this package."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from evidence_store import attachments, layout, lines, merkle, sigstore, sshsig, words
from evidence_store.bundles import format as form
from evidence_store.bundles import lines as bundle_lines
from evidence_store.bundles.archive import pack_tar, pack_zip
from evidence_store.bundles.verify import verify_bundle
from evidence_store.cosignature import Witness
from evidence_store.dsse import Statement, open_envelope, sign_statement
from evidence_store.errors import ErasedError, TamperedError, UsageError
from evidence_store.fs import disk_errors, read_file
from evidence_store.keychain import KeyChain
from evidence_store.keys import Signer
from evidence_store.log import (
    ANCHOR,
    EXPORT,
    GENESIS,
    KEY_REVOCATION,
    KEY_TRANSITION,
    REDACTION,
    RUN_ABORT,
    RUN_CLOSE,
    RUN_OPEN,
    Leaf,
)
from evidence_store.note import Checkpoint, verifier_key
from evidence_store.redaction import RedactedRun, values_of
from evidence_store.run import SealedRun
from evidence_store.spelling import load, now, stamp
from evidence_store.store import Store

FORMS = ("folder", "zip", "tar.zst")
TEXT_LIMIT = 200
"""Longest name of an organisation or a recipient."""
EARLIER_LIMIT = 200
"""Most earlier heads that a bundle proves to extend."""

Keep = Callable[[int, str, Mapping[str, Any]], bool]
"""Whether a line is shown: run number, ``manifest.ndjson`` or ``results.ndjson``, and the line."""
KeepAttached = Callable[[Mapping[str, Any]], bool]
"""Whether the bytes of an attachment are shown, by the predicate of its leaf."""
View = SealedRun | RedactedRun
Ask = Callable[[bytes], bytes]
"""Gives the time-stamp reply over some bytes; raises :class:`~evidence_store.errors.StampError`."""


@dataclass(frozen=True, slots=True)
class Range:
    """The leaves of a bundle."""

    start: int
    """The first."""
    end: int
    """The first that is not part of it."""
    period: tuple[datetime, datetime]
    """First moment of the period, and first moment after it."""
    runs: tuple[int, ...]
    """Numbers of the runs that belong to it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """For whom a bundle is made, and what it is restricted to."""

    organisation: str = ""
    recipient: str = ""
    controls: tuple[str, ...] = ()
    """Only named here; :attr:`Bundle.keep` does it."""
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A bundle that was written."""

    path: Path
    facts: form.Facts
    """What its seal says."""
    sha256: str
    """Of its tag manifest: what the export leaf names."""
    head: Checkpoint
    """Of the log, as the bundle shows it."""
    words: str
    """The same, in twelve words."""
    fingerprint: str
    """The key that sealed it."""


def choose(store: Store, start: datetime, end: datetime) -> Range:
    """The leaves for a period: its own, what completes its runs, and one on either side to show where it ends.

    Raises:
        UsageError: nothing was recorded in the period.
    """
    leaves = store.leaves
    inside = [leaf.index for leaf in leaves if start <= leaf.recorded_on < end]
    if start >= end or not inside:
        raise UsageError(
            f"nothing was recorded from {stamp(start)} to {stamp(end)}", "choose a period in which a run was made"
        )
    first, last = inside[0], inside[-1]
    opened: dict[int, int] = {}
    for leaf in leaves:
        if leaf.kind == RUN_OPEN:
            opened[leaf.predicate["run"]] = leaf.index
        elif leaf.kind in (RUN_CLOSE, RUN_ABORT):
            begun = opened[leaf.predicate["run"]]
            if first <= leaf.index <= last:
                first = min(first, begun)
            elif first <= begun <= last:
                last = leaf.index
    while last + 1 < len(leaves) and leaves[last + 1].kind == ANCHOR:
        last += 1
    runs = tuple(number for number, index in opened.items() if first <= index <= last)
    return Range(max(first - 1, 0), min(last + 2, len(leaves)), (start, end), runs)


def head_of(store: Store, chosen: Range) -> Checkpoint:
    """The head of the log that a bundle of this range shows."""
    return Checkpoint(store.origin, chosen.end, merkle.tree_root(store.leaf_hashes()[: chosen.end]))


def views(store: Store, chosen: Range, *, redact: bool = False) -> dict[int, View]:
    """The sealed runs of a range, by number; with ``redact`` as they look with personal fields left out.

    Raises:
        TamperedError: something of a run is not what was sealed.
    """
    ended = (info for info in store.runs() if info.number in chosen.runs and info.kept)
    runs = {info.number: store.run(info.number) for info in ended if info.closing["index"] < chosen.end}
    if not redact:
        return dict(runs)
    values = values_of(runs.values())
    return {number: RedactedRun.of(run, everywhere=values) for number, run in runs.items()}


def build(
    store: Store,
    out: Path,
    chosen: Range,
    signer: Signer,
    *,
    wish: Wish | None = None,
    shown: Mapping[int, View] | None = None,
    keep: Keep = lambda run, stream, line: True,
    keep_attached: KeepAttached = lambda leaf: True,
    reports: Mapping[str, bytes] | None = None,
    ask: Ask | None = None,
    tsa_roots: bytes | None = None,
    witnesses: Iterable[Witness] = (),
    since: str | None = None,
    how: str = "folder",
    clock: Callable[[], datetime] = now,
) -> Built:
    """A bundle stands at ``out``, verified, and the store's log says so.

    Args:
        store: open for writing.
        out: a name that does not exist yet.
        chosen: the leaves, as :func:`choose` gave them.
        signer: the key the log is signed with now.
        wish: for whom, and what was selected.
        shown: the runs, as :func:`views` gave them; without it, as they were sealed.
        keep: what is shown of the lines; the rest stays as counted leaf hashes.
        keep_attached: which attachments are shown; of the rest there is the leaf, and their number in the seal.
        reports: files for ``data/reports``, by name.
        ask: gives time stamps; with it, the bundle is worth nothing without them, and says so.
        tsa_roots: PEM roots of the authorities, put beside the keys for convenience.
        witnesses: whose cosignatures are checked before the bundle is handed out, where it holds any of theirs.
        since: an earlier head the bundle must be shown to extend: twelve words, or the text of a note.
        how: ``folder``, ``zip`` or ``tar.zst``.
        clock: gives the present time, aware.

    Raises:
        UsageError: something stands at ``out``, or an argument is malformed.
        TamperedError: the store lacks something that the bundle needs, or it is not what was sealed.
        StampError: the authority gave no time stamp; no bundle was written.
        StoreError: the disk refused.
    """
    wish = wish or Wish()
    out = Path(out).absolute()
    if how not in FORMS:
        raise UsageError(f"{how!r} is no form of a bundle", f"use one of {', '.join(FORMS)}")
    if out.exists():
        raise UsageError(f"{out} exists", "name a new folder or file: nothing is overwritten")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", f"make it, or name another place for {out.name}")
    for text in (wish.organisation, wish.recipient, *wish.controls, *wish.scopes):
        if len(text) > TEXT_LIMIT or not text.isprintable():
            raise UsageError(
                f"{text[:40]!r} cannot be named in a bundle", f"give at most {TEXT_LIMIT} visible characters"
            )
    draft = out.with_name(f".{out.name}.building")
    with disk_errors(draft):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
    try:
        with disk_errors(draft):
            bag = _Bag(store, draft, chosen, signer, clock(), views(store, chosen) if shown is None else shown)
            built = bag.fill(wish, keep, reports or {}, ask, tsa_roots, since, keep_attached)
        here = [one for one in witnesses if any(name.endswith(f".{one.keyid}.cosig") for name in bag.order)]
        found = verify_bundle(draft, key=signer.keyid, tsa_roots=tsa_roots, since=since, witnesses=here)
        lasting = [problem for problem in found.problems if not problem.path.startswith("runs/")]
        if lasting:
            raise TamperedError(lasting[0].path, lasting[0].what, "verify the store; this bundle was not written")
        store.append(
            EXPORT,
            {"log": {"from": chosen.start, "to": chosen.end, "root": built.head.root.hex()},
             "recipient": wish.recipient,
             "period": {"from": stamp(chosen.period[0]), "to": stamp(chosen.period[1])}},
            {form.TAGS: built.sha256},
        )  # fmt: skip
        with disk_errors(out):
            if how == "folder":
                draft.rename(out)
            else:
                _packed(draft, out, how, bag.order)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return replace(built, path=out)


def _packed(draft: Path, out: Path, how: str, order: Iterable[str]) -> None:
    part = out.with_name(f".{out.name}.packing")
    top = out.name.removesuffix(".zst").removesuffix(".tar").removesuffix(".zip")
    try:
        (pack_zip if how == "zip" else pack_tar)(draft, part, _segment(top), order)
        part.rename(out)
    finally:
        part.unlink(missing_ok=True)


def _segment(text: str) -> str:
    """A name that any archive can hold."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in text)
    return plain.lstrip(".-")[:60] or "bundle"


class _Bag:
    """A bundle being written into a folder."""

    def __init__(
        self, store: Store, folder: Path, chosen: Range, signer: Signer, moment: datetime, shown: Mapping[int, View]
    ) -> None:
        self.store = store
        self.folder = folder
        self.chosen = chosen
        self.signer = signer
        self.moment = moment
        self.shown = shown
        self.order: list[str] = []
        """All files in the order they were written: bodies of one request stand together."""
        self._digests: dict[str, str] = {}
        self._payload = [0, 0]
        self._hashes = [merkle.leaf_hash(leaf.data) for leaf in store.leaves]

    def fill(
        self,
        wish: Wish,
        keep: Keep,
        reports: Mapping[str, bytes],
        ask: Ask | None,
        roots: bytes | None,
        since: str | None,
        keep_attached: KeepAttached = lambda leaf: True,
    ) -> Built:
        """Write every file; the seal comes last."""
        head = head_of(self.store, self.chosen)
        chain = self._log(since)
        self._key_files(chain, roots)
        states, withheld = self._runs(keep)
        left_out = self._attachments(keep_attached)
        for name, content in sorted(reports.items()):
            self._put(f"data/reports/{name}", content)
        facts = form.Facts(
            self.store.origin, wish.organisation, wish.recipient, stamp(self.moment),
            (stamp(self.chosen.period[0]), stamp(self.chosen.period[1])),
            self.chosen.start, self.chosen.end, head.root.hex(),
            {state: states.count(state) for state in ("complete", "aborted", "open")},
            withheld[layout.MANIFEST], withheld[layout.RESULTS], wish.controls, wish.scopes, ask is not None,
            left_out,
        )  # fmt: skip
        self._put(form.BAGIT, form.BAGIT_TEXT)
        description = f"Sealed evidence, {facts.period[0]} to {facts.period[1]}"
        oxum = f"{self._payload[0]}.{self._payload[1]}"
        self._put(form.INFO, form.bag_info(head, oxum, facts.created_on[:10], description, wish.organisation))
        self._verifiers(facts, head)
        self._put(form.MANIFEST, form.spell_list(self._listed(form.MANIFEST)))
        tags = form.spell_list(self._listed(form.TAGS))
        self._put(form.TAGS, tags)
        sha256 = hashlib.sha256(tags).hexdigest()
        self._seal(facts, tags, ask)
        return Built(self.folder, facts, sha256, head, words.spell(head), self.signer.keyid)

    # ------------------------------------------------------------------------------------------------------------ log

    def _log(self, since: str | None) -> KeyChain:
        """Leaves of the range, leaves that bear on it from outside, checkpoints, what others attest, and the proof."""
        start, end = self.chosen.start, self.chosen.end
        about_keys: dict[int, Leaf] = {}
        chain = self.store.key_chain
        for leaf in self.store.leaves:
            if start <= leaf.index < end:
                self._put(form.entry_name(leaf.index, leaf.kind), leaf.data)
            elif leaf.kind in (GENESIS, KEY_TRANSITION, KEY_REVOCATION, REDACTION) or self._stated(leaf):
                self._put(form.key_leaf_name(leaf.index, leaf.kind), leaf.data)
                about_keys[leaf.index] = leaf
        marked = {start, end} - {0}
        for path in sorted((self.store.root / layout.CHECKPOINTS).iterdir()):
            name = f"{layout.CHECKPOINTS}/{path.name}"
            found = form.TOKEN.fullmatch(name) or form.COSIGNATURE.fullmatch(name)
            if found and start <= int(found[1]) <= end:
                marked.add(int(found[1]))
            elif not form.CHAIN.fullmatch(name):
                continue
            self._put(name, read_file(self.store.root, name, form.limit_of(name) or 0))
        for size in sorted(marked):
            name = layout.note_name(size)
            self._put(name, read_file(self.store.root, name, form.limit_of(name) or 0))
        hashes = self._hashes[:end]
        frontier = merkle.Frontier()
        for hashed in hashes[:start]:
            frontier.add(hashed)
        inclusion = {index: tuple(merkle.inclusion_proof(index, hashes)) for index in about_keys if index < start}
        consistency = tuple(merkle.consistency_proof(start, hashes)) if start else ()
        earlier = tuple(
            (size, merkle.tree_root(hashes[:size]), tuple(merkle.consistency_proof(size, hashes)))
            for size in self._earlier(since)
        )
        proof = form.Proof(self.store.origin, start, end, tuple(frontier.hashes), consistency, inclusion, earlier)
        self._put(form.PROOF, proof.file())
        return chain

    def _stated(self, leaf: Leaf) -> bool:
        """Whether a leaf is a person's word from before the range, or takes one back that the bundle shows."""
        if leaf.kind not in attachments.STATED:
            return False
        return leaf.index < self.chosen.start or leaf.predicate.get("withdraws", self.chosen.end) < self.chosen.end

    def _earlier(self, since: str | None) -> list[int]:
        """Sizes below the range whose heads somebody outside may have kept: those of earlier bundles, and ``since``."""
        sizes = set()
        for leaf in self.store.leaves:
            if leaf.kind == EXPORT:
                with suppress(KeyError, TypeError):
                    sizes.add(int(leaf.predicate["log"]["to"]))
        sizes = {size for size in sizes if 0 < size < self.chosen.start}
        wanted = sorted(sizes)[-EARLIER_LIMIT:]
        if since is None:
            return wanted
        kept = words.read_head(since) if "\n" in since.strip() else words.read(since)
        tree = merkle.Frontier()
        for hashed in self._hashes[: self.chosen.end]:
            tree.add(hashed)
            head = Checkpoint(self.store.origin, tree.size, tree.root())
            if kept in (head, words.digest(head)):
                return sorted({*wanted, tree.size} if tree.size < self.chosen.start else wanted)
        raise UsageError(
            "the earlier head is not in this log before the end of the period", "compare it with the report"
        )

    def _key_files(self, chain: KeyChain, roots: bytes | None) -> None:
        if chain.current.fingerprint != self.signer.keyid:
            raise UsageError("the bundle would be sealed by another key than the log", "use the key of the log")
        origin = self.store.origin
        self._put(form.VKEY, "".join(verifier_key(origin, key) + "\n" for key in chain.keys).encode())
        self._put(form.SIGNER, chain.current.pem().encode())
        ssh = f'{form.PRINCIPAL} namespaces="{form.NAMESPACE}" {sshsig.ssh_key(chain.current)}\n'
        self._put(form.ALLOWED, ssh.encode())
        if roots:
            self._put(form.ROOTS, roots)

    # ----------------------------------------------------------------------------------------------------------- runs

    def _runs(self, keep: Keep) -> tuple[list[str], dict[str, int]]:
        """Plans, lines and bodies of the runs; states, and numbers of withheld lines, are returned."""
        states: list[str] = []
        withheld = dict.fromkeys((layout.MANIFEST, layout.RESULTS), 0)
        wanted: dict[str, int] = {}
        copies: dict[str, str] = {}
        known = {run.number: run for run in self.store.runs()}
        for number in self.chosen.runs:
            info = known[number]
            ended = info.closing and info.closing["index"] < self.chosen.end
            states.append(info.state if ended else "open")
            if number not in self.shown:
                continue
            view = self.shown[number]
            plan = view.plan()
            self._put(form.run_file(number, layout.PLAN), plan)
            for sha256 in bundle_lines.objects_of(plan):
                wanted.setdefault(sha256, number)
            named = bundle_lines.readable(plan)
            copies = copies if named is None else named
            for stream in withheld:
                found = _exact(view, stream)
                exact = _shown(found, lambda value, n=number, s=stream: keep(n, s, value))  # type: ignore[misc]
                noted = _noting(exact, wanted, number) if stream == layout.MANIFEST else exact
                withheld[stream] += self._put_lines(form.run_file(number, stream), noted)
            if isinstance(view, RedactedRun) and "spans" in view.closing:
                self._redacted(view, keep)
        for sha256, number in wanted.items():
            with suppress(ErasedError):
                self._put(form.object_name(sha256), self.store.run(number).object(sha256))
        for path, sha256 in copies.items():
            self._put(path, self.store.run(wanted[sha256]).object(sha256))
        return states, withheld

    def _attachments(self, keep: KeepAttached) -> int:
        """The bytes of what people attached, as far as they are shown; how many are left out is returned."""
        leaves = self.store.leaves
        here = [leaf for leaf in leaves if self.chosen.start <= leaf.index < self.chosen.end or self._stated(leaf)]
        found, erased = attachments.objects_in(here), attachments.erased_in(leaves)
        shown = {
            leaf.predicate["object"]["sha256"]
            for leaf in here
            if attachments.object_of(leaf) is not None and keep(leaf.predicate)
        }
        for sha256 in sorted(shown - erased.keys()):
            if form.object_name(sha256) not in self._digests:
                self._put(form.object_name(sha256), self.store.attached(sha256))
        there = {sha256 for sha256 in found if form.object_name(sha256) in self._digests}
        return len(found.keys() - there - erased.keys())

    def _redacted(self, view: RedactedRun, keep: Keep) -> None:
        """The public lines of replies with fields, and these replies without them."""
        roots: set[str] = set()

        def noting() -> Iterator[bytes]:
            for line in _shown(view.public_lines(), lambda value: keep(view.number, layout.MANIFEST, value)):
                if not bundle_lines.is_withheld(line):
                    roots.add(load(line)["spans"])
                yield line

        self._put_lines(form.run_file(view.number, bundle_lines.SPANS), noting())
        for root, content in view.redacted_files():
            name = form.redacted_name(root)
            if root in roots and name not in self._digests:
                self._put(name, content)

    def _put_lines(self, name: str, found: Iterable[bytes]) -> int:
        digest, size, hidden = hashlib.sha256(), 0, 0
        path = self._place(name)
        with path.open("xb") as file:
            for line in found:
                hidden += bundle_lines.is_withheld(line)
                digest.update(line + b"\n")
                size += file.write(line + b"\n")
        self._note(name, size, digest.hexdigest())
        return hidden

    # -------------------------------------------------------------------------------------------------- ways to verify

    def _verifiers(self, facts: form.Facts, head: Checkpoint) -> None:
        here = files("evidence_store")
        origin, size, root, _ = head.text().split("\n")
        told = {
            "fingerprint": self.signer.keyid, "words": words.spell(head), "origin": origin, "size": size, "root": root,
            "organisation": facts.organisation or "(not named)", "recipient": facts.recipient or "(not named)",
            "start": facts.period[0], "end": facts.period[1], "namespace": form.NAMESPACE, "principal": form.PRINCIPAL,
            "replies": str(facts.withheld_replies), "results": str(facts.withheld_results),
            "attachments": str(facts.withheld_attachments),
            "stamped": "and a time stamp" if facts.stamped else "without a time stamp",
        }  # fmt: skip
        guide = Template(here.joinpath("templates/VERIFY.md").read_text("utf8")).substitute(told)
        self._put(form.GUIDE, guide.encode())
        self._put(form.ONE_FILE, here.joinpath("verify_one_file.py").read_bytes())
        self._put(form.SHELL, here.joinpath("templates/verify.sh").read_bytes())
        page = here.joinpath("templates/verify.html")
        if page.is_file():
            self._put(form.PAGE, page.read_bytes())
        self._put(form.WORDS, words.word_file())
        self._put(form.QR, qr_svg(head))

    def _seal(self, facts: form.Facts, tags: bytes, ask: Ask | None) -> None:
        subject = {form.TAGS: hashlib.sha256(tags).hexdigest()}
        seal = sign_statement(Statement(form.KIND, subject, facts.predicate()), [self.signer])
        envelope = open_envelope(seal)
        self._put(form.SEAL, seal)
        if ask is not None:
            self._put(form.SEAL_TOKEN, ask(seal))
        token = None if ask is None else ask(envelope.signatures[0][1])
        self._put(form.SIGSTORE, sigstore.spell(envelope, token))
        self._put(form.SSH, sshsig.sign(tags, form.NAMESPACE, self.signer))
        self._put(form.SEAL_LIST, form.spell_list(self._listed(form.SEAL_LIST)))

    # ---------------------------------------------------------------------------------------------------------- files

    def _listed(self, part: str) -> dict[str, str]:
        return {name: sha256 for name, sha256 in self._digests.items() if form.part_of(name) == part}

    def _put(self, name: str, content: bytes) -> None:
        path = self._place(name)
        limit = form.limit_of(name)
        if limit is None or len(content) > limit:
            raise UsageError(
                f"{name} cannot be part of a bundle: {'no such file' if limit is None else f'more than {limit} bytes'}",
                "see docs/bundle-format.md for names and sizes",
            )
        with path.open("xb") as file:
            file.write(content)
        self._note(name, len(content), hashlib.sha256(content).hexdigest())

    def _place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _note(self, name: str, size: int, sha256: str) -> None:
        self.order.append(name)
        self._digests[name] = sha256
        if name.startswith("data/"):
            self._payload[0] += size
            self._payload[1] += 1


def _exact(view: View, stream: str) -> Iterator[bytes]:
    """The lines of a run as its view shows them: exact, or withheld."""
    if isinstance(view, SealedRun):
        return view.lines_of(stream)
    return view.manifest_lines() if stream == layout.MANIFEST else view.results_lines()


def _shown(found: Iterable[bytes], keep: Callable[[Mapping[str, Any]], bool]) -> Iterator[bytes]:
    """The lines, those that ``keep`` does not want withheld as well."""
    for place, line in enumerate(found):
        shown = bundle_lines.is_withheld(line) or keep(lines.parse(place, line))
        yield line if shown else bundle_lines.withheld(place, line)


def _noting(found: Iterable[bytes], wanted: dict[str, int], number: int) -> Iterator[bytes]:
    """The lines; bodies that those shown name are noted on the way."""
    for line in found:
        if not bundle_lines.is_withheld(line) and (sha256 := load(line).get("sha256")) is not None:
            wanted.setdefault(sha256, number)
        yield line


def qr_svg(head: Checkpoint) -> bytes:
    """The three lines of a head as a QR code, for a report."""
    import io

    import segno

    out = io.BytesIO()
    segno.make(head.text(), error="m", micro=False).save(out, kind="svg", scale=4, xmldecl=False)
    return out.getvalue()


def qr_terminal(head: Checkpoint) -> str:
    """The same for a terminal."""
    import io

    import segno

    out = io.StringIO()
    segno.make(head.text(), error="m", micro=False).terminal(out, compact=True)
    return out.getvalue()
