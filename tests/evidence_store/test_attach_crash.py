"""A power cut at any moment of attaching, or of erasing what was attached, leaves a store that is whole."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from test_store_crash import Model, QuickDisk, TracedDisk, crash_states

from evidence_store import layout
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
CONTENT = b"the minutes of the review"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_power_cut_never_parts_a_leaf_from_what_it_attaches(ram: Path, signer: FileSigner) -> None:
    path = ram / "live" / "store"
    path.parent.mkdir()
    Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()).close()
    model, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        store.attach({"by": "J. Doe"}, CONTENT)
    told = {True: 0, False: 0}
    for done, _, build in crash_states(model, disk.trace, ram, random.Random(5)):
        with Store.open(build / "store", signer=signer, disk=QuickDisk()) as store:
            attached = store.size == 2
            assert attached or done < len(disk.trace)
            if not attached:
                store.attach({"by": "J. Doe"}, CONTENT)
            assert store.attached(SHA256) == CONTENT
        found = verify_store(build / "store", key=signer.keyid)
        assert found.ok, found.problems
        assert not list((build / "store/spool").iterdir())
        told[attached] += 1
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
        Store.open(build / "store", signer=signer, disk=QuickDisk()).close()
        found = verify_store(build / "store", key=signer.keyid)
        assert found.ok, found.problems
        erased = found.leaves == 3
        assert (build / "store" / layout.attachment_name(SHA256)).exists() is not erased
        assert erased or done < len(disk.trace)
        told[erased] += 1
    assert min(told.values()) > 5, told
