"""Rebuilds the log of a bundle: its keys, its leaves, its tree, and the heads it grew through."""

from __future__ import annotations

from collections.abc import Sequence

from evidence_store import attachments, layout, merkle, sshsig
from evidence_store.bundles import format as form
from evidence_store.bundles.check import Check
from evidence_store.errors import VerificationError
from evidence_store.history import genesis_facts
from evidence_store.keychain import KeyChain
from evidence_store.keys import PublicKey
from evidence_store.log import GENESIS, REDACTION, Leaf, open_leaf
from evidence_store.note import open_checkpoint, verifier_key
from evidence_store.spelling import HEX256, unb64


def check_log(check: Check) -> None:
    """The leaves of the range are signed, in place, and grow the tree from one signed head to the other."""
    if (data := check.content(form.PROOF)) is None:
        return
    with check.noting(form.PROOF):
        proof = form.Proof.read(data)
        leaves, apart = _leaves(check, proof)
        _keys(check, proof, leaves, apart)
        if check.chain is None or len(leaves) != proof.end - proof.start:
            return
        _tree(check, proof, leaves)
        _apart(check, proof, apart)
        check.found.leaves = leaves
        for entry in proof.earlier:
            _earlier(check, proof, *entry)


def _leaves(check: Check, proof: form.Proof) -> tuple[list[Leaf], dict[str, Leaf]]:
    found: dict[int, Leaf] = {}
    apart: dict[str, Leaf] = {}
    for name, file in sorted(check.files.items()):
        entry, key_leaf = form.ENTRY.fullmatch(name), form.KEY_LEAF.fullmatch(name)
        match = entry or key_leaf
        if match is None or file.content is None:
            continue
        with check.noting(name):
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
        check.report("log/entries", f"leaf {next(holes)} is missing")
    return [found[index] for index in sorted(found)], apart


def _keys(check: Check, proof: form.Proof, leaves: list[Leaf], apart: dict[str, Leaf]) -> None:
    """Walk the keys from leaf 0 through all leaves that are here, in order."""
    named = {form.entry_name(leaf.index, leaf.kind): leaf for leaf in leaves} | apart
    for name, leaf in sorted(named.items(), key=lambda pair: pair[1].index):
        with check.noting(name):
            if leaf.index == 0:
                _genesis(check, proof, leaf)
            if check.chain is None:
                continue
            if leaf.index and leaf.kind == GENESIS:
                raise ValueError("is a second genesis statement")
            check.chain.take(leaf)
            if leaf.kind == REDACTION:
                check.found.erased |= dict.fromkeys(_erased(leaf), leaf.index)
            if (attached := attachments.object_of(leaf)) is not None:
                check.found.attached[attached.sha256] = (name, attached.size)
    if check.chain is None:
        check.report("keys/leaves", "leaf 0 is missing")
        return
    chain = check.found.keys = check.chain
    expected = "".join(verifier_key(proof.origin, key) + "\n" for key in chain.keys).encode()
    ssh = f'{form.PRINCIPAL} namespaces="{form.NAMESPACE}" {sshsig.ssh_key(chain.current)}\n'.encode()
    for name, content in ((form.VKEY, expected), (form.SIGNER, chain.current.pem().encode()), (form.ALLOWED, ssh)):
        if (data := check.content(name)) is not None and data != content:
            check.report(name, "is not what the leaves say")


def _erased(leaf: Leaf) -> list[str]:
    named = leaf.predicate.get("objects")
    if not isinstance(named, list) or not named:
        raise ValueError("does not say what was erased")
    if not all(isinstance(sha256, str) and HEX256.fullmatch(sha256) for sha256 in named):
        raise ValueError("does not say what was erased")
    return named


def _genesis(check: Check, proof: form.Proof, leaf: Leaf) -> None:
    try:
        facts = leaf.predicate
        key = PublicKey.from_spki(unb64(facts["key"]["spki"]))
        if leaf.kind != GENESIS or facts != facts | genesis_facts(proof.origin, key, facts["policy"]):
            raise ValueError("other fields")
        policy = dict(facts["policy"])
    except (KeyError, TypeError, ValueError, AttributeError, VerificationError) as error:
        raise ValueError("is not the genesis statement of this log") from error
    check.chain = KeyChain([key])
    check.found.policy = policy


def _tree(check: Check, proof: form.Proof, leaves: list[Leaf]) -> None:
    """Rebuild every head from the frontier and the leaves."""
    notes = {int(found[1]): name for name in check.files if (found := form.NOTE.fullmatch(name))}
    marked = {
        int(found[1])
        for name in check.files
        if (found := form.TOKEN.fullmatch(name) or form.COSIGNATURE.fullmatch(name))
    }
    for size, name in notes.items():
        if not proof.start <= size <= proof.end or not size or size not in {proof.start, proof.end} | marked:
            check.report(name, "is not part of a bundle")
    for size in sorted(({proof.start, proof.end} | marked) - notes.keys() - {0}):
        check.report(layout.note_name(size), "is missing")
    tree = merkle.Frontier()
    tree.size, tree.hashes = proof.start, list(proof.frontier)
    for leaf in (None, *leaves):
        if leaf is not None:
            if leaf.index:
                _follows(check, leaf)
            tree.add(merkle.leaf_hash(leaf.data))
        check.found.roots[tree.size] = tree.root()
        if tree.size in notes:
            _note(check, proof, notes[tree.size], tree)
    if proof.start:
        held = merkle.verify_consistency(
            proof.start, proof.end, check.found.roots[proof.start], tree.root(), proof.consistency
        )
    else:
        held = not proof.consistency
    if not held:
        check.report(form.PROOF, "has a consistency proof that does not hold")


def _follows(check: Check, leaf: Leaf) -> None:
    name = layout.note_name(leaf.index)
    named = leaf.statement.subject.get(name)
    if named is None or (name in check.files and named != check.files[name].sha256):
        check.report(form.entry_name(leaf.index, leaf.kind), "does not name the checkpoint it was written after")


def _note(check: Check, proof: form.Proof, name: str, tree: merkle.Frontier) -> None:
    content = check.files[name].content or b""
    with check.noting(name):
        assert check.chain is not None
        head = open_checkpoint(content, proof.origin, check.chain.at(tree.size))
        if head.size != tree.size or head.root != tree.root():
            raise ValueError("is not the root over the leaves")
        if tree.size == proof.end:
            check.found.head, check.found.note = head, content


def _apart(check: Check, proof: form.Proof, apart: dict[str, Leaf]) -> None:
    """Leaves about keys that are not in the range are in the same tree, or came after it."""
    root = check.found.roots[proof.end]
    before = {leaf.index for leaf in apart.values() if leaf.index < proof.start}
    if set(proof.inclusion) != before:
        check.report(form.PROOF, "has inclusion proofs of other leaves than stand under keys/")
    for name, leaf in apart.items():
        path = proof.inclusion.get(leaf.index, ())
        hashed = merkle.leaf_hash(leaf.data)
        if leaf.index in before and not merkle.verify_inclusion(leaf.index, proof.end, hashed, path, root):
            check.report(name, "is not in the log")


def _earlier(check: Check, proof: form.Proof, size: int, root: bytes, path: Sequence[bytes]) -> None:
    if not size < proof.start or not merkle.verify_consistency(
        size, proof.end, root, check.found.roots[proof.end], path
    ):
        check.report(form.PROOF, f"has a proof from {size} leaves that does not hold")
    else:
        check.found.roots[size] = root
