"""Erasure: the body is gone, the proof stays whole, and nothing else may be missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from evidence_store.dsse import Statement, sign_statement
from evidence_store.errors import ErasedError, StoreError, TamperedError, UsageError
from evidence_store.fs import Disk
from evidence_store.keys import FileSigner
from evidence_store.log import REDACTION
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
WHY = {"basis": "request of a person, GDPR art. 17", "approved_by": "data protection officer"}


def bodies(count: int) -> list[bytes]:
    """Versions of one reply, each a small difference to the one before."""
    rows = [b'{"name":"person %d","id":%d}' % (n, n * 7919) for n in range(400)]
    return [b"[" + b",".join(row.replace(b"person", b"nobody") if n == k else row for n, row in enumerate(rows)) + b"]"
            for k in range(count)]  # fmt: skip


@pytest.fixture
def chained(ram: Path, signer: FileSigner, clock: Any) -> tuple[Path, list[str]]:
    """Four runs; each body stands as a difference to the one before."""
    path, names = ram / "chained", []
    with Store.create(path, origin=ORIGIN, signer=signer, clock=clock) as store:
        for body in bodies(4):
            run = store.begin({}, b"{}")
            names.append(run.add_object(body, base=names[-1] if names else None))
            run.add_reply({"op": "x:List", "sha256": names[-1]})
            run.add_reply({"op": "x:Other", "sha256": run.add_object(b"other %d" % len(names))})
            run.close([], {})
    return path, names


def test_an_erased_body_is_gone_and_the_store_verifies(chained: tuple[Path, list[str]], signer: FileSigner) -> None:
    path, names = chained
    size = (path / "runs/00000002/objects.pack").stat().st_size
    with Store.open(path, signer=signer) as store:
        index = store.erase([names[1]], **WHY)
        with pytest.raises(ErasedError, match=f"erased under leaf {index}"):
            store.run(2).object(names[1])
        assert store.run(2).absent() == {0: f"its body was erased under leaf {index}"}
        assert store.run(1).absent() == {}
        for number, body in ((1, 0), (3, 2), (4, 3)):
            assert store.run(number).object(names[body]) == bodies(4)[body]
        assert store.leaves[index].kind == REDACTION
        assert store.leaves[index].predicate["objects"] == [names[1]]
        assert [entry["run"] for entry in store.leaves[index].predicate["packs"]] == [2, 3], (
            "its own, and what stood on it"
        )
    assert (path / "runs/00000002/objects.pack").stat().st_size < size
    found = verify_store(path, key=signer.keyid)
    assert found.problems == ()
    assert found.ok
    assert f"1 replies rest on a body that was erased under leaf {index}" in found.warnings
    assert found.facts["erasures"] == 1
    assert not list((path / "spool").iterdir())
    with Store.open(path, signer=signer) as store:
        assert store.recovered == []


def test_several_at_once_and_the_head_of_a_chain(chained: tuple[Path, list[str]], signer: FileSigner) -> None:
    path, names = chained
    with Store.open(path, signer=signer) as store:
        store.erase([names[0], names[2]], **WHY)
        store.erase([names[1]], **WHY)
        assert store.run(4).object(names[3]) == bodies(4)[3]
    found = verify_store(path, key=signer.keyid)
    assert found.problems == ()
    assert found.facts["erasures"] == 2


def test_anything_else_that_is_missing_is_still_a_problem(chained: tuple[Path, list[str]], signer: FileSigner) -> None:
    path, names = chained
    before = (path / "runs/00000003/objects.pack").read_bytes()
    with Store.open(path, signer=signer) as store:
        store.erase([names[1]], **WHY)
    pack = path / "runs/00000003/objects.pack"
    pack.write_bytes(before)
    assert any(
        problem.path == "runs/00000003/objects.pack" for problem in verify_store(path, key=signer.keyid).problems
    )
    pack.write_bytes(b"")
    assert any(
        "which no pack up to this run holds" in one.what for one in verify_store(path, key=signer.keyid).problems
    )


def test_the_old_pack_in_the_place_of_the_new_one_is_named(chained: tuple[Path, list[str]], signer: FileSigner) -> None:
    path, names = chained
    pack = path / "runs/00000002/objects.pack"
    before = pack.read_bytes()
    with Store.open(path, signer=signer) as store:
        store.erase([names[1]], **WHY)
    pack.write_bytes(before)
    problems = verify_store(path, key=signer.keyid).problems
    assert "runs/00000002/objects.pack: is not what was sealed" in map(str, problems)


def test_a_body_that_comes_again_is_kept_again(chained: tuple[Path, list[str]], signer: FileSigner) -> None:
    path, names = chained
    with Store.open(path, signer=signer) as store:
        store.erase([names[1]], **WHY)
        run = store.begin({}, b"{}")
        assert run.add_object(bodies(4)[1]) == names[1]
        run.add_reply({"op": "x:List", "sha256": names[1]})
        run.close([], {})
        assert store.run(5).object(names[1]) == bodies(4)[1]
        store.erase([names[1]], **WHY)
    assert verify_store(path, key=signer.keyid).problems == ()


def test_a_run_that_ended_after_the_erasure_cannot_lean_on_it(ram: Path, signer: FileSigner) -> None:
    """A line of a later run that names a body nobody holds is a problem, whatever was erased before."""
    path = ram / "s"
    with Store.create(path, origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        sha256 = run.add_object(b"a person")
        run.add_reply({"op": "x", "sha256": sha256})
        run.close([], {})
        store.erase([sha256], **WHY)
        run = store.begin({}, b"{}")
        run._held.add(sha256)  # a writer that does not check
        run.add_reply({"op": "x", "sha256": sha256})
        run.close([], {})
    (problem,) = verify_store(path, key=signer.keyid).problems
    assert problem.path == "runs/00000002/manifest.ndjson.zst"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sha256s": ["0" * 64]}, "no reply names"),
        ({"sha256s": ["../x"]}, "not a digest"),
        ({"sha256s": []}, "0 bodies"),
        ({"basis": " "}, "basis is empty"),
        ({"approved_by": "x" * 401}, "approver is empty or longer"),
    ],
)
def test_what_cannot_be_erased_changes_nothing(
    chained: tuple[Path, list[str]], signer: FileSigner, given: dict[str, Any], words: str
) -> None:
    path, names = chained
    with Store.open(path, signer=signer) as store:
        size = store.size
        with pytest.raises(UsageError, match=words):
            store.erase(**{"sha256s": [names[0]], **WHY, **given})
        assert store.size == size
        run = store.begin({}, b"{}")
        with pytest.raises(UsageError, match="open"):
            store.erase([names[0]], **WHY)
        run.abort("enough")
        store.erase([names[0]], **WHY)
        with pytest.raises(UsageError, match="no pack holds"):
            store.erase([names[0]], **WHY)
    with Store.open(path) as store, pytest.raises(UsageError, match="not open for writing"):
        store.erase([names[1]], **WHY)


def test_what_a_run_was_performed_with_cannot_be_erased(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        code = run.add_object(b"def check(): ...")
        run.close([], {})
        with pytest.raises(UsageError, match="no reply names"):
            store.erase([code], **WHY)


class Stops(Disk):
    """A disk that fails at the n-th operation, as a crash would end the process."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StoreError("the power went", "")

    def _counted(name: str) -> Any:  # noqa: N805
        def operation(self: Any, *args: Any) -> Any:
            self._count()
            return getattr(Disk, name)(self, *args)

        return operation

    open_new, open_append = _counted("open_new"), _counted("open_append")
    write, sync, sync_folder = _counted("write"), _counted("sync"), _counted("sync_folder")
    rename, unlink, truncate = _counted("rename"), _counted("unlink"), _counted("truncate")


def test_a_crash_at_any_operation_leaves_all_or_nothing(
    chained: tuple[Path, list[str]], signer: FileSigner, ram: Path
) -> None:
    path, names = chained
    finished = undone = 0
    for at in range(1, 200):
        copy = ram / f"copy{at}"
        shutil.copytree(path, copy)
        disk = Stops(10**9)
        store = Store.open(copy, signer=signer, disk=disk)
        disk.left = at
        try:
            store.erase([names[1]], **WHY)
        except StoreError:
            disk.left = 10**9
        else:
            disk.left = 10**9
            store.close()
            break
        store.close()
        with Store.open(copy, signer=signer) as again:
            assert again.recovered == []
        found = verify_store(copy, key=signer.keyid)
        assert found.problems == (), at
        assert not list((copy / "spool").iterdir()), at
        with Store.open(copy) as again:
            if found.facts["erasures"]:
                finished += 1
                with pytest.raises(ErasedError):
                    again.run(2).object(names[1])
            else:
                undone += 1
                assert again.run(2).object(names[1]) == bodies(4)[1]
            assert again.run(3).object(names[2]) == bodies(4)[2]
        shutil.rmtree(copy)
    else:
        pytest.fail("the erasure never ended")
    assert undone > 5
    assert finished > 2


def test_an_interrupted_erasure_is_told_by_verify(chained: tuple[Path, list[str]], signer: FileSigner) -> None:
    path, _ = chained
    (path / "spool/00000002.pack").write_bytes(b"half")
    found = verify_store(path, key=signer.keyid)
    assert found.problems == ()
    assert any("an erasure was interrupted" in warning for warning in found.warnings)
    Store.open(path, signer=signer).close()
    assert not list((path / "spool").iterdir())


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"objects": ["0" * 64], "basis": "b", "approvedBy": "a", "packs": [], "more": 1},
        {"objects": [], "basis": "b", "approvedBy": "a", "packs": []},
        {"objects": ["0" * 63], "basis": "b", "approvedBy": "a", "packs": []},
        {"objects": ["0" * 64], "basis": "", "approvedBy": "a", "packs": []},
        {"objects": ["0" * 64], "basis": "b", "approvedBy": "a", "packs": [{"run": 9, "count": 0, "size": 0}]},
        {"objects": ["0" * 64], "basis": "b", "approvedBy": "a", "packs": [{"run": 1, "count": 0, "size": 0}]},
        {"objects": 7, "basis": "b", "approvedBy": "a", "packs": [7]},
    ],
)
def test_a_redaction_leaf_that_says_anything_else_is_refused(
    chained: tuple[Path, list[str]], signer: FileSigner, facts: dict[str, Any]
) -> None:
    path, _ = chained
    with Store.open(path, signer=signer) as store:
        log = store._writable()
        with pytest.raises(TamperedError, match="not a redaction that can be read"):
            log.append(REDACTION, facts, {})
    assert verify_store(path, key=signer.keyid).problems == ()
    assert sign_statement(Statement(REDACTION, {}, facts), [signer])
