"""The tree agrees with Certificate Transparency's roots and with a naive tree, and no altered proof passes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from evidence_store import merkle

CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 2.1, word by word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def leaves_of(size: int) -> list[bytes]:
    return [b"leaf %d" % index for index in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_certificate_transparency(size: int) -> None:
    assert merkle.tree_root(map(merkle.leaf_hash, CT_LEAVES[:size])).hex() == CT_ROOTS[size - 1]


def test_a_root_equals_the_naive_root_at_every_size() -> None:
    tree = merkle.Frontier()
    assert tree.root() == naive([])
    for size in range(1, 70):
        tree.add(merkle.leaf_hash(leaves_of(size)[-1]))
        assert (tree.size, tree.root()) == (size, naive(leaves_of(size)))


def test_every_inclusion_proof_holds_and_no_altered_one() -> None:
    for size in range(1, 34):
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves_of(size)]
        root = naive(leaves_of(size))
        for index in range(size):
            proof = merkle.inclusion_proof(index, hashes)
            assert merkle.verify_inclusion(index, size, hashes[index], proof, root)
            assert not merkle.verify_inclusion(index, size, merkle.leaf_hash(b"other"), proof, root)
            assert not merkle.verify_inclusion(index, size, hashes[index], [*proof, root], root)
            assert not merkle.verify_inclusion(index, size, hashes[index], proof, bytes(32))
            if proof:
                assert not merkle.verify_inclusion(index, size, hashes[index], proof[:-1], root)
                assert not merkle.verify_inclusion((index + 1) % size, size, hashes[index], proof, root)
    assert not merkle.verify_inclusion(1, 1, root, [], root)
    with pytest.raises(IndexError):
        merkle.inclusion_proof(3, hashes[:3])


def test_every_consistency_proof_holds_and_no_altered_one() -> None:
    for new in range(1, 34):
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves_of(new)]
        new_root = naive(leaves_of(new))
        for old in range(1, new + 1):
            old_root = naive(leaves_of(old))
            proof = merkle.consistency_proof(old, hashes)
            assert merkle.verify_consistency(old, new, old_root, new_root, proof)
            assert not merkle.verify_consistency(old, new, bytes(32), new_root, proof)
            assert not merkle.verify_consistency(old, new, old_root, bytes(32), proof)
            assert not merkle.verify_consistency(old, new, old_root, new_root, [*proof, bytes(32)])
            if proof:
                assert not merkle.verify_consistency(old, new, old_root, new_root, proof[:-1])
    assert not merkle.verify_consistency(0, 3, new_root, new_root, [])
    with pytest.raises(IndexError):
        merkle.consistency_proof(0, hashes)
