"""A power cut at any moment of attaching or erasing, or of a run with unordered lists, leaves a store that is whole."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from test_store_crash import Model, QuickDisk, TracedDisk, crash_states
from test_store_unordered import frames

from evidence_store import layout
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
CONTENT = b"the minutes of the review"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def check_attached(path: Path, signer: FileSigner, acknowledged: bool) -> bool:
    """The attachment is there with its leaf, or can be attached; whether it is there."""
    with Store.open(path, signer=signer, disk=QuickDisk()) as store:
        attached = store.size == 2
        assert attached or not acknowledged
        if not attached:
            store.attach({"by": "J. Doe"}, CONTENT)
        assert store.attached(SHA256) == CONTENT
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    assert not list((path / "spool").iterdir())
    return attached


def check_erased(path: Path, signer: FileSigner, acknowledged: bool) -> bool:
    """The attachment is gone with a leaf that says so, or is there; whether it is gone."""
    there = (path / layout.attachment_name(SHA256)).exists()
    assert not (there and acknowledged), "what is gone does not come back, whether the store is opened or not"
    Store.open(path, signer=signer, disk=QuickDisk()).close()
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    erased = found.leaves == 3
    assert (path / layout.attachment_name(SHA256)).exists() is not erased
    assert erased or not acknowledged
    return erased


def test_a_power_cut_never_parts_a_leaf_from_what_it_attaches(ram: Path, signer: FileSigner) -> None:
    path = ram / "live" / "store"
    path.parent.mkdir()
    Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()).close()
    model, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        store.attach({"by": "J. Doe"}, CONTENT)
    told = {True: 0, False: 0}
    for done, _, build in crash_states(model, disk.trace, ram, random.Random(5)):
        told[check_attached(build / "store", signer, done == len(disk.trace))] += 1
    assert min(told.values()) > 10, told


def test_a_power_cut_in_an_erasure_leaves_it_done_or_undone(ram: Path, signer: FileSigner) -> None:
    path = ram / "live" / "store"
    path.parent.mkdir()
    with Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()) as store:
        store.attach({"by": "J. Doe"}, CONTENT)
    model, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        store.erase([SHA256], basis="asked", approved_by="DPO")
    told = {True: 0, False: 0}
    for done, _, build in crash_states(model, disk.trace, ram, random.Random(6)):
        told[check_erased(build / "store", signer, done == len(disk.trace))] += 1
    assert min(told.values()) > 5, told


LINE = {"task": "t@c", "op": "ec2:DescribeInstances", "params": {}, "unordered": True}


def page_of(*order: int) -> bytes:
    rows = (b'{"Id":%d,"Tag":"%s"}' % (one, random.Random(one).randbytes(150).hex().encode()) for one in order)
    return b'{"Rows":[%s]}' % b",".join(rows)


def listed(store: Store, order: tuple[int, ...]) -> None:
    """A run of one page of a list that comes in another order each time."""
    run = store.begin({}, b"{}")
    sha256 = run.add_object(page_of(*order), request=LINE)
    run.add_reply({**LINE, "sha256": sha256})
    run.close([], {})


def test_a_power_cut_in_a_run_with_an_unordered_list_and_an_attachment_leaves_both_whole_or_absent(
    ram: Path, signer: FileSigner
) -> None:
    path = ram / "live" / "store"
    path.parent.mkdir()
    with Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()) as store:
        listed(store, (1, 2, 3))
    model, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        listed(store, (3, 1, 4))
        run_ended = len(disk.trace)
        store.attach({"by": "J. Doe"}, CONTENT)
        (first,) = store.run(1).info.lists.values()
        assert [frame.base for frame in frames(store, 2)] == [first] * 2, "page and records stand on those of run 1"
    told = {"complete": 0, "aborted": 0, "attached": 0, "absent": 0}
    for done, variant, build in crash_states(model, disk.trace, ram, random.Random(7)):
        with Store.open(build / "store", signer=signer, disk=QuickDisk()) as store:
            attached = store.leaves[-1].kind == "attachment"
            second = [run for run in store.runs() if run.number == 2]
            assert second or done < run_ended
            for run in second:
                assert done < run_ended or run.state == "complete"
                assert (run.lists != {}) is (run.state == "complete")
                bodies = [store.run(2).object(line["sha256"]) for line in store.run(2).replies()]
                assert bodies in ([], [page_of(3, 1, 4)])
                told[run.state] += 1
            told["attached" if attached else "absent"] += 1
            assert attached or done < len(disk.trace)
            assert not attached or store.attached(SHA256) == CONTENT
            if variant < 2:
                listed(store, (2, 3, 1))
        found = verify_store(build / "store", key=signer.keyid)
        assert found.ok, found.problems
        assert not list((build / "store/spool").iterdir())
    assert min(told.values()) > 10, told
