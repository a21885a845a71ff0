"""Attacks of an insider, and for each the mechanism that shows it; docs/threat-model.md names these tests."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ORIGIN
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence_store import layout, timestamps
from evidence_store.anchors import Folder, copy
from evidence_store.cosignature import Witness
from evidence_store.cosigner import Cosigner, cosign
from evidence_store.errors import ForkError
from evidence_store.keys import FileSigner
from evidence_store.note import verifier_key
from evidence_store.store import Store
from evidence_store.timestamps import Authority
from evidence_store.verify import NO_ANCHOR, OPEN_END, Verification, verify_store
from evidence_store.witness import WitnessServer, parse_logs
from tests.local_tsa import Tsa, serving


@dataclass
class World:
    """A store whose runs were stamped, witnessed and copied as they were made."""

    root: Path
    signer: FileSigner
    authority: Authority
    cosigner: Cosigner
    drop: Path

    def run(self, root: Path, body: bytes = b"body", *, ago: timedelta = timedelta(), attest: bool = True) -> None:
        with Store.open(root, signer=self.signer, clock=lambda: datetime.now(UTC) - ago) as store:
            collect(store, body)
            if attest:
                self.attest(store)

    def attest(self, store: Store) -> None:
        timestamps.stamp(store, [self.authority], name_them=False)
        cosign(store, self.cosigner)
        copy(store, Folder(self.drop))
        store.anchor()

    def locally(self, root: Path) -> Verification:
        """What somebody sees who has the key's fingerprint and nothing else."""
        return verify_store(root, key=self.signer.keyid)

    def auditor(self, root: Path, *, copies: bool = False) -> Verification:
        """What somebody sees who pinned the authority and the witness."""
        return verify_store(
            root, key=self.signer.keyid, tsa_roots=self.authority.roots,
            witnesses=[self.cosigner.witness.verifier_key()], against=[self.drop] if copies else [],
        )  # fmt: skip


def collect(store: Store, body: bytes) -> None:
    run = store.begin({}, b"{}")
    run.add_reply({"sha256": run.add_object(body)})
    run.close([{"outcome": "FAIL"}], {})


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def world(ram: Path, signer: FileSigner, tsa: Tsa) -> Iterator[World]:
    key = FileSigner(Ed25519PrivateKey.generate())
    witness = Witness("auditor.example/w1", key.public)
    server = WitnessServer(
        ram / "witness", witness, key, parse_logs([verifier_key(ORIGIN, signer.public)]), create=True
    )
    http = server.listen("127.0.0.1", 0)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    (ram / "drop").mkdir()
    with serving(tsa) as url:
        cosigner = Cosigner(f"http://127.0.0.1:{http.server_port}", witness)
        made = World(ram / "s", signer, Authority("local", url, tsa.roots), cosigner, ram / "drop")
        Store.create(made.root, origin=ORIGIN, signer=signer).close()
        for _ in range(3):
            made.run(made.root)
        yield made
    http.shutdown()
    http.server_close()
    server.close()


def cut(world: World, root: Path, runs: int) -> None:
    """The tail is cut off as somebody without the key can: entries, checkpoints, what attests them, and runs."""
    from evidence_store.log import frames

    with Store.open(root) as store:
        last = store.run(runs).closing["index"]
    entries = (root / layout.ENTRIES).read_bytes()
    ends = [end for end, _ in frames(entries)]
    (root / layout.ENTRIES).write_bytes(entries[: ends[last]])
    for path in (root / layout.CHECKPOINTS).iterdir():
        if path.name[:12].isdigit() and int(path.name[:12]) > last + 1:
            path.unlink()
    for path in (root / layout.RUNS).iterdir():
        if int(path.name) > runs:
            shutil.rmtree(path)


def test_an_honest_store_passes_and_says_who_attests(world: World) -> None:
    found = world.auditor(world.root, copies=True)
    assert found.ok, found.problems
    assert found.warnings == (), "the newest copy covers the last run"
    assert world.auditor(world.root).warnings == (OPEN_END,), "without copies, nothing tells that no run is cut off"
    older = sorted(world.drop.rglob("*.note"))[1]
    found = verify_store(world.root, key=world.signer.keyid, against=[older])
    assert found.ok
    assert [w for w in found.warnings if OPEN_END in w] == [
        f"run 3 is covered by no outside anchor that was checked, and could be cut off unseen; {OPEN_END}"
    ], "a copy covers what came before it, and no more"
    found = world.auditor(world.root, copies=True)
    assert len(found.stamps) == len(found.cosignatures) == len(found.copies) == 3


def test_a_cut_tail_passes_locally_and_is_told_by_witness_and_copy(world: World) -> None:
    cut(world, world.root, 2)
    found = world.locally(world.root)
    assert found.ok, "nothing inside the store can tell"
    assert NO_ANCHOR in found.warnings, "and that is said"
    found = world.auditor(world.root)
    assert found.ok, "stamps and cosignatures of what is left still hold: they cannot tell either"
    assert [w for w in found.warnings if "not named in the log yet" not in w] == [OPEN_END], "and that is said, once"
    problems = world.auditor(world.root, copies=True).problems
    assert [problem.what.partition(":")[0] for problem in problems] == ["covers 9 leaves, the store holds 6"]
    with Store.open(world.root, signer=world.signer) as store, pytest.raises(ForkError, match="tail was cut"):
        cosign(store, world.cosigner)
    state = next((world.root.parent / "witness").glob("*.note"))
    found = verify_store(world.root, key=world.signer.keyid, against=[state])
    assert any("its tail was cut" in problem.what for problem in found.problems), "the witness' own state is a copy"


def test_a_cut_tail_that_is_grown_again_is_refused(world: World) -> None:
    cut(world, world.root, 2)
    world.run(world.root, b"a better answer", attest=False)
    with Store.open(world.root, signer=world.signer) as store:
        for _ in range(4):
            store.append("waiver", {"id": "W-1"})
        assert store.size > 10
        with pytest.raises(ForkError, match="another history"):
            cosign(store, world.cosigner)
        with pytest.raises(ForkError, match="are not the first"):
            copy(store, Folder(world.drop))
    assert not world.auditor(world.root, copies=True).ok


def rewrite(world: World, root: Path, *, ago: timedelta = timedelta()) -> None:
    """The holder of the key makes a whole new history that says something better, under the same name."""
    with Store.create(
        root, origin=ORIGIN, signer=world.signer, clock=lambda: datetime.now(UTC) - ago
    ) as store:
        for _ in range(3):
            collect(store, b"a better answer")
        for _ in range(3):
            store.append("waiver", {"id": "W-1"})


def test_a_full_rewrite_by_the_key_holder_passes_locally_and_nowhere_else(world: World, ram: Path) -> None:
    rewrite(world, ram / "forged")
    found = world.locally(ram / "forged")
    assert found.ok, "the key holder can sign anything"
    assert any("no outside anchor" in warning for warning in found.warnings)
    found = world.auditor(ram / "forged", copies=True)
    assert any("holds no cosignature of witness auditor.example/w1" in problem.what for problem in found.problems)
    assert sum("are not the first" in problem.what for problem in found.problems) == 3, "each copy tells"
    with Store.open(ram / "forged", signer=world.signer) as store, pytest.raises(ForkError, match="another history"):
        cosign(store, world.cosigner)
    for path in (world.root / layout.CHECKPOINTS).iterdir():
        if path.suffix in (".tsr", ".cosig"):
            shutil.copy(path, ram / "forged" / layout.CHECKPOINTS)
    found = world.auditor(ram / "forged")
    names = {problem.path for problem in found.problems}
    assert sum(name.endswith(".tsr") for name in names) == 3, "the old tokens are over other bytes"
    assert sum(name.endswith(".cosig") for name in names) == 3


def test_new_stamps_on_a_rewritten_history_carry_the_day_they_were_made(world: World, ram: Path) -> None:
    rewrite(world, ram / "forged", ago=timedelta(days=30, hours=1))
    with Store.open(ram / "forged", signer=world.signer, clock=lambda: datetime.now(UTC) - timedelta(days=29)) as store:
        assert timestamps.stamp(store, [world.authority]) == []
    found = verify_store(ram / "forged", key=world.signer.keyid, tsa_roots=world.authority.roots)
    assert {problem.path for problem in found.problems} == {f"runs/0000000{n}" for n in (1, 2, 3)}
    assert all("was stamped 30 days" in problem.what for problem in found.problems)


def test_a_fork_is_offered_to_a_witness_in_vain(world: World, ram: Path) -> None:
    shutil.copytree(world.root, ram / "fork")
    world.run(world.root)
    world.run(ram / "fork", b"another answer", attest=False)
    with Store.open(ram / "fork", signer=world.signer) as store:
        with pytest.raises(ForkError):
            cosign(store, world.cosigner)
        store.append("waiver", {"id": "W-1"})
        with pytest.raises(ForkError):
            cosign(store, world.cosigner)
    world.run(world.root)
    assert world.auditor(world.root, copies=True).ok, "the true history goes on"


def test_back_dating_is_bounded_from_both_sides(world: World, ram: Path) -> None:
    shutil.copytree(world.root, ram / "back")
    shift = timedelta(days=2, hours=1)
    with Store.open(ram / "back", signer=world.signer, clock=lambda: datetime.now(UTC) - shift) as store:
        collect(store, b"x")
        timestamps.stamp(store, [world.authority])
    said = " ".join(problem.what for problem in world.auditor(ram / "back").problems)
    assert "to have begun 2 days" in said, "it names stamps that are younger than it claims to be"
    assert "was stamped 2 days" in said, "it was stamped long after the time it claims"
    with Store.open(world.root, signer=world.signer, clock=lambda: datetime.now(UTC) + shift) as store:
        collect(store, b"x")
        timestamps.stamp(store, [world.authority])
    said = " ".join(problem.what for problem in world.auditor(world.root).problems)
    assert "after the stamp that covers it" in said, "nor can it claim to be younger"


def test_a_replayed_token_or_cosignature_is_over_other_bytes(world: World) -> None:
    world.run(world.root, attest=False)
    with Store.open(world.root) as store:
        size, old, keyid = store.size, 3, world.cosigner.witness.keyid
    for source, name in (
        (layout.token_name(old, "local"), layout.token_name(size, "local")),
        (layout.cosignature_name(old, keyid), layout.cosignature_name(size, keyid)),
    ):
        shutil.copy(world.root / source, world.root / name)
        found = world.auditor(world.root)
        assert [problem.path for problem in found.problems] == [name]
        (world.root / name).unlink()


def test_a_waiver_made_afterwards_stands_after_its_run_whatever_date_it_bears(world: World, ram: Path) -> None:
    said = {"check": "c", "resource": "r", "until": "2036-01-01", "by": "J. Doe"}
    shutil.copytree(world.root, ram / "dated")
    ago = timedelta(days=9)
    with Store.open(ram / "dated", signer=world.signer, clock=lambda: datetime.now(UTC) - ago) as store:
        index = store.append("waiver", said)
        assert index > store.run(3).closing["index"], "the log has an order of its own"
    found = world.auditor(ram / "dated")
    assert f"the clock went back between leaf {index - 1} and leaf {index}" in found.warnings
    with Store.create(ram / "forged", origin=ORIGIN, signer=world.signer) as store:
        store.append("waiver", said)
        for _ in range(4):
            collect(store, b"body")
    assert world.locally(ram / "forged").ok, "the key holder can put it first in another history"
    for path in (world.root / layout.CHECKPOINTS).iterdir():
        if path.suffix in (".tsr", ".cosig"):
            shutil.copy(path, ram / "forged" / layout.CHECKPOINTS)
    found = world.auditor(ram / "forged", copies=True)
    assert sum(problem.path.endswith(".cosig") for problem in found.problems) == 3, "which no witness has signed"
    assert sum("are not the first" in problem.what for problem in found.problems) == 3, "and of which there is no copy"


def test_what_was_attached_is_not_replaced_nor_taken_back_even_by_the_key_holder(world: World) -> None:
    with Store.open(world.root, signer=world.signer) as store:
        first = store.attach({"name": "minutes.txt", "by": "J. Doe"}, b"we decided nothing")
        world.attest(store)
        digest = store.leaves[first].predicate["object"]["sha256"]
    file = world.root / layout.attachment_name(digest)
    file.write_bytes(b"we decided this")
    assert [problem.path for problem in world.locally(world.root).problems] == [layout.attachment_name(digest)]
    file.write_bytes(b"we decided nothing")
    with Store.open(world.root, signer=world.signer) as store:
        second = store.attach({"name": "minutes.txt", "by": "J. Doe"}, b"we decided this")
        store.withdraw(first, {"by": "J. Doe", "reason": "a better one"})
        assert [store.leaves[place].predicate["name"] for place in (first, second)] == ["minutes.txt"] * 2
        assert store.attached(digest) == b"we decided nothing", "what was withdrawn can still be read"
    assert world.auditor(world.root, copies=True).ok
    cut(world, world.root, 3)
    found = world.auditor(world.root, copies=True)
    assert any("the store holds 9" in problem.what for problem in found.problems), "nor cut off with the tail"


def test_p10_attestations_that_are_removed_are_missed(world: World) -> None:
    for path in sorted((world.root / layout.CHECKPOINTS).iterdir()):
        if path.suffix in (".tsr", ".cosig"):
            content = path.read_bytes()
            path.unlink()
            found = world.locally(world.root)
            assert [p.path for p in found.problems if p.what == "is named in the log and missing"], path.name
            path.write_bytes(content)
    assert world.locally(world.root).ok


def test_runs_that_were_only_opened_are_on_record_before_the_first_answer(world: World) -> None:
    """Running again until the result pleases leaves every attempt in the log, witnessed with the next head."""
    for _ in range(2):
        with Store.open(world.root, signer=world.signer) as store:
            store.begin({}, b"{}").abort("the answer did not please")
    world.run(world.root)
    with Store.open(world.root) as store:
        assert [run.state for run in store.runs()] == ["complete"] * 3 + ["aborted"] * 2 + ["complete"]
    assert world.auditor(world.root, copies=True).ok
