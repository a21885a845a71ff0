"""What people state is kept under its digest, withdrawn by later leaves, erased on the record, never overwritten."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from evidence_store import attachments, layout
from evidence_store.errors import ErasedError, TamperedError, UsageError
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.evidence_store.conftest import ORIGIN, Clock, fill

SAID = {"name": "policy.pdf", "by": "J. Doe"}
POLICY = b"we lock our doors"
NAME = layout.attachment_name(hashlib.sha256(POLICY).hexdigest())


@pytest.fixture
def store(tmp_path: Path, signer: FileSigner) -> Store:
    return Store.create(tmp_path / "store", origin=ORIGIN, signer=signer, clock=Clock())


def problems(store: Store, signer: FileSigner) -> list[str]:
    return [str(problem) for problem in verify_store(store.root, key=signer.keyid).problems]


def test_a_leaf_signs_what_was_attached_and_by_whom(store: Store, signer: FileSigner) -> None:
    index = store.attach(SAID, POLICY)
    leaf = store.leaves[index]
    assert leaf.kind == "attachment"
    assert leaf.predicate["object"] == {"sha256": hashlib.sha256(POLICY).hexdigest(), "size": len(POLICY)}
    assert leaf.predicate["by"] == "J. Doe"
    assert leaf.statement.subject[NAME] == hashlib.sha256(POLICY).hexdigest()
    assert store.attached(hashlib.sha256(POLICY).hexdigest()) == POLICY
    assert store.notes()[-1]["kind"] == "attachment"
    assert problems(store, signer) == []


def test_the_same_bytes_are_kept_once_and_stated_twice(store: Store, signer: FileSigner) -> None:
    first, second = store.attach(SAID, POLICY), store.attach({**SAID, "by": "R. Roe"}, POLICY)
    assert (first, second) == (1, 2)
    assert [path.name for path in (store.root / layout.ATTACHMENTS).iterdir()] == [NAME.rpartition("/")[2]]
    assert problems(store, signer) == []


@pytest.mark.parametrize("content", [b"", bytes(attachments.SIZE_LIMIT + 1)])
def test_nothing_and_too_much_are_refused(store: Store, content: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be attached"):
        store.attach(SAID, content)
    assert store.size == 1


@pytest.mark.parametrize("kind", ["altered", "missing", "longer"])
def test_a_file_that_is_not_what_was_attached_is_a_problem(store: Store, signer: FileSigner, kind: str) -> None:
    store.attach(SAID, POLICY)
    path = store.root / NAME
    match kind:
        case "altered":
            path.write_bytes(POLICY.replace(b"lock", b"open"))
        case "longer":
            path.write_bytes(POLICY + b" and windows")
        case _:
            path.unlink()
    assert [problem.partition(":")[0] for problem in problems(store, signer)] == [NAME]
    with pytest.raises(TamperedError):
        store.attached(hashlib.sha256(POLICY).hexdigest())
    if kind != "missing":
        with pytest.raises(TamperedError, match="other content"):
            store.attach(SAID, POLICY)


def test_a_file_that_no_leaf_names_is_told_and_counts_for_nothing(store: Store, signer: FileSigner) -> None:
    store.attach(SAID, POLICY)
    (store.root / layout.attachment_name("ab" * 32)).write_bytes(b"nobody said this")
    found = verify_store(store.root, key=signer.keyid)
    assert found.problems == ()
    assert any("named by no leaf" in warning for warning in found.warnings)
    (store.root / "attachments/notes.txt").write_text("x")
    assert problems(store, signer) == ["attachments/notes.txt: is not part of a store"]


def test_a_later_leaf_withdraws_and_the_earlier_one_stays(store: Store, signer: FileSigner) -> None:
    policy = store.attach(SAID, POLICY)
    waiver = store.append("waiver", {"check": "x", "resource": "y"})
    assert store.withdraw(policy, {"by": "J. Doe", "reason": "replaced"}) == 3
    store.withdraw(waiver, {"by": "J. Doe", "reason": "mended"})
    assert [leaf.kind for leaf in store.leaves[1:]] == ["attachment", "waiver", "attachment", "waiver"]
    assert store.leaves[3].predicate["withdraws"] == policy
    assert store.attached(hashlib.sha256(POLICY).hexdigest()) == POLICY
    assert problems(store, signer) == []
    for index, what in ((policy, "withdrawn before"), (0, "neither"), (3, "neither"), (99, "neither"), (-1, "neither")):
        with pytest.raises(UsageError, match=what):
            store.withdraw(index, {"by": "J. Doe"})


def test_what_withdraws_nothing_of_its_kind_is_a_problem(store: Store, signer: FileSigner) -> None:
    policy = store.attach(SAID, POLICY)
    store.append("waiver", {"withdraws": policy, "by": "J. Doe"})
    assert problems(store, signer) == ["log/entries: leaf 2 withdraws what is nothing of its kind"]


def test_erased_bytes_are_gone_and_do_not_come_back(store: Store, signer: FileSigner) -> None:
    fill(store)
    store.attach(SAID, POLICY)
    sha256 = hashlib.sha256(POLICY).hexdigest()
    assert store.erase([sha256], basis="request", approved_by="officer") == store.size - 1
    assert not (store.root / NAME).exists()
    found = verify_store(store.root, key=signer.keyid)
    assert found.problems == ()
    assert "1 attachments were erased; their leaves remain" in found.warnings
    with pytest.raises(ErasedError, match="was erased under leaf"):
        store.attached(sha256)
    with pytest.raises(UsageError, match="were erased"):
        store.attach(SAID, POLICY)


def test_an_erasure_that_was_interrupted_is_finished(store: Store, signer: FileSigner) -> None:
    store.attach(SAID, POLICY)
    store.erase([hashlib.sha256(POLICY).hexdigest()], basis="request", approved_by="officer")
    (store.root / NAME).write_bytes(POLICY)  # as if the process had ended between the leaf and the removal
    found = verify_store(store.root, key=signer.keyid)
    assert any("opening for writing removes it" in warning for warning in found.warnings)
    store.close()
    Store.open(store.root, signer=signer).close()
    assert not (store.root / NAME).exists()


def test_a_crash_before_the_leaf_leaves_a_store_that_takes_it_again(store: Store, signer: FileSigner) -> None:
    (store.root / layout.SPOOLED_ATTACHMENT).write_bytes(b"half")
    store.close()
    with Store.open(store.root, signer=signer) as opened:
        assert not (store.root / layout.SPOOLED_ATTACHMENT).exists()
        opened.attach(SAID, POLICY)
        assert problems(opened, signer) == []
