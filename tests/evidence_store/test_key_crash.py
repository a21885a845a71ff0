"""A power cut at any moment of a rotation leaves a log of the old key or of the new one: never of both, or neither."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_key_p256 import p256
from test_key_rotation import A, B
from test_store_crash import Model, QuickDisk, TracedDisk, choices, crash_states

from evidence_store import layout
from evidence_store.errors import StoreError, TamperedError, UsageError
from evidence_store.keys import Signer
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
Promise = tuple[int, int, bytes, int]
"""Operations done; then leaves, newest checkpoint and number of keys that had been acknowledged."""


def session(path: Path, old: Signer, new: Signer) -> tuple[list[tuple[Any, ...]], list[Promise]]:
    """A fact, a rotation, a run by the new key, a revocation of the old one."""
    first, second = TracedDisk(), TracedDisk()
    promises: list[Promise] = []
    with Store.open(path, signer=old, disk=first) as store:

        def promise(keys: int) -> None:
            done = len(first.trace) + len(second.trace)
            promises.append((done, store.size, store.checkpoint, keys))

        promises.append((0, store.size, store.checkpoint, 1))
        store.append("waiver", {"id": "W-1"})
        promise(1)
        store.rotate(new, "yearly")
        promise(2)
    with Store.open(path, signer=new, disk=second) as store:
        run = store.begin({}, b"{}")
        run.close([], {})
        promise(2)
        store.revoke(old.keyid, 1, "lost")
        promise(3)
    return first.trace + second.trace, promises


def check(path: Path, signers: tuple[Signer, Signer], promise: Promise) -> None:
    """The store opens with exactly one of the keys, keeps what was acknowledged, and verifies.

    Raises:
        AssertionError: it does not.
    """
    _, size, checkpoint, keys = promise
    by_name = {signer.keyid: signer for signer in signers}
    try:
        with Store.open(path) as reader:
            current = by_name[reader.fingerprint]
        with Store.open(path, signer=current, disk=QuickDisk()) as store:
            chain = store.key_chain
            assert len(chain.keys) + len(chain.revocations) >= keys, "an acknowledged change of keys is gone"
    except StoreError as error:
        raise AssertionError(f"does not open: {error}") from error
    for other in signers:
        if other is not current:
            with pytest.raises((UsageError, TamperedError), match=r"no longer signs|not by"):
                Store.open(path, signer=other, disk=QuickDisk())
    assert (path / layout.note_name(size)).read_bytes() == checkpoint
    assert (path / layout.TRUST).read_bytes() == chain.trust(ORIGIN)
    found = verify_store(path, key=current.keyid)
    if chain.revocations:
        assert not found.ok, "nobody outside saw the leaves of the revoked key"
        assert all("which leaf" in problem.what for problem in found.problems), found.problems
    else:
        assert found.ok, found.problems
    assert list((path / layout.SPOOL).iterdir()) == []


@pytest.fixture(params=["p256 to ed25519", "ed25519 to p256"])
def signers(request: pytest.FixtureRequest) -> tuple[Signer, Signer]:
    return (p256(), B) if request.param.startswith("p256") else (A, p256())


@pytest.fixture
def start(ram: Path, signers: tuple[Signer, Signer]) -> Path:
    path = ram / "live" / "store"
    path.parent.mkdir()
    Store.create(path, origin=ORIGIN, signer=signers[0], disk=QuickDisk()).close()
    return path


def test_a_power_cut_at_any_operation_of_a_rotation(start: Path, ram: Path, signers: tuple[Signer, Signer]) -> None:
    model = Model(start.parent)
    trace, promises = session(start, *signers)
    states = 0
    for done, variant, build in crash_states(model, trace, ram, random.Random(3)):
        if (done + variant) % 4:
            continue
        try:
            check(build / "store", signers, [promise for promise in promises if promise[0] <= done][-1])
        except AssertionError as error:
            raise AssertionError(
                f"after {done} operations ({trace[done - 1][:2]}), variant {variant}: {error}"
            ) from error
        states += 1
    assert states > 120


def test_a_power_cut_while_the_list_of_keys_is_put_right(
    start: Path, ram: Path, signers: tuple[Signer, Signer]
) -> None:
    """Recovery is cut as well, at any of its operations."""
    outer = Model(start.parent)
    trace, promises = session(start, *signers)
    by_name = {signer.keyid: signer for signer in signers}
    states = 0
    for done, variant, build in crash_states(outer, trace, ram, random.Random(4)):
        if variant != 1 or done % 2:
            continue
        promise = [promise for promise in promises if promise[0] <= done][-1]
        model, disk = Model(build), TracedDisk()
        current = by_name[Store.open(build / "store").fingerprint]
        Store.open(build / "store", signer=current, disk=disk).close()
        dice = random.Random(done)
        for operation in disk.trace:
            model.apply(operation)
            if dice.random() > 0.3:
                continue
            data, names = dice.choice(list(choices(dice)))
            model.settle(ram / "again", data, names)
            check(ram / "again" / "store", signers, promise)
            shutil.rmtree(ram / "again")
            states += 1
    assert states > 50


@pytest.mark.parametrize(
    "forgotten", [("sync", "log/entries"), ("sync", "spool/trust.json"), ("sync_folder", "store/keys")]
)
def test_the_model_notices_a_forgotten_sync(ram: Path, forgotten: tuple[str, str]) -> None:
    """The list of keys is written anew without a sync: it may be torn, which recovery must not find acknowledged."""
    path = ram / "live" / "store"
    path.parent.mkdir()
    Store.create(path, origin=ORIGIN, signer=A, disk=QuickDisk()).close()
    model = Model(path.parent)
    trace, promises = session(path, A, B)
    trace = [
        ("skip", step[1]) if step[0] == forgotten[0] and str(step[1]).endswith(forgotten[1]) else step for step in trace
    ]

    def all_states() -> None:
        for done, variant, build in crash_states(model, trace, ram, random.Random(5)):
            if (done + variant) % 2:
                continue
            check(build / "store", (A, B), [promise for promise in promises if promise[0] <= done][-1])

    if forgotten == ("sync_folder", "store/keys"):
        all_states()  # explained: a lost rename leaves the list of before, which recovery makes anew from the log
    else:
        with pytest.raises((AssertionError, FileNotFoundError)):
            all_states()
