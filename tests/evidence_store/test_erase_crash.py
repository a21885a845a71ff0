"""A power cut at any moment of an erasure, or of a run with personal fields, leaves a store that is whole."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from test_store_crash import Model, QuickDisk, TracedDisk, choices, crash_states

from evidence_store import layout
from evidence_store.errors import ErasedError
from evidence_store.keys import FileSigner
from evidence_store.spans import Cut
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
FIRST, SECOND, OTHER = b"a person" * 40, b"a person" * 39 + b"somebody", b"other"


@pytest.fixture
def start(ram: Path, signer: FileSigner) -> tuple[Path, str]:
    (ram / "live").mkdir()
    return two_runs(ram / "live" / "store", signer)


def two_runs(path: Path, signer: FileSigner) -> tuple[Path, str]:
    """A store of two runs, the second a difference to the first; and what will be erased."""
    with Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()) as store:
        base = None
        for body in (FIRST, SECOND):
            run = store.begin({}, b"{}")
            base = run.add_object(body, base=base)
            run.add_reply({"op": "x", "sha256": base})
            run.add_reply({"op": "y", "sha256": run.add_object(OTHER)})
            run.close([], {})
        gone = next(store.run(1).replies())["sha256"]
    return path, gone


def check_erased(path: Path, signer: FileSigner, gone: str, acknowledged: bool) -> bool:
    """The store opens and verifies, with the body or without it, and with everything else."""
    if acknowledged:
        pack = (path / "runs/00000001/objects.pack").read_bytes()
        assert gone.encode() not in pack, "what is gone does not come back, whether the store is opened or not"
    Store.open(path, signer=signer, disk=QuickDisk()).close()
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    assert not list((path / "spool").iterdir())
    erased = bool(found.facts["erasures"])
    assert erased or not acknowledged
    with Store.open(path) as store:
        if erased:
            with pytest.raises(ErasedError):
                store.run(1).object(gone)
            assert gone.encode() not in (path / "runs/00000001/objects.pack").read_bytes()
        else:
            assert store.run(1).object(gone) == FIRST
        assert [store.run(2).object(line["sha256"]) for line in store.run(2).replies()] == [SECOND, OTHER]
    return erased


def test_a_power_cut_in_an_erasure_leaves_it_done_or_undone(
    start: tuple[Path, str], signer: FileSigner, ram: Path
) -> None:
    path, gone = start
    model, disk, dice = Model(path.parent), TracedDisk(), random.Random(3)
    with Store.open(path, signer=signer, disk=disk) as store:
        store.erase([gone], basis="asked", approved_by="DPO")
    told: dict[bool, int] = {True: 0, False: 0}
    double = 0
    for done, _, build in crash_states(model, disk.trace, ram, dice):
        if dice.random() < 0.15:
            second, again = Model(build), TracedDisk()
            Store.open(build / "store", signer=signer, disk=again).close()
            for operation in again.trace:
                second.apply(operation)
                data, names = dice.choice(list(choices(dice)))
                second.settle(ram / "again", data, names)
                check_erased(ram / "again/store", signer, gone, done == len(disk.trace))
                shutil.rmtree(ram / "again")
                double += 1
        told[check_erased(build / "store", signer, gone, done == len(disk.trace))] += 1
    assert told[True] > 50
    assert told[False] > 50
    assert double > 50


def check_fields(path: Path, signer: FileSigner, acknowledged: bool) -> bool:
    """The last run has lines with personal fields and their seed, or neither; whether it has them."""
    Store.open(path, signer=signer, disk=QuickDisk()).close()
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    with Store.open(path) as store:
        last = store.runs()[-1]
        assert (layout.SEED in last.subject) == ("spans" in last.closing)
        assert not acknowledged or last.state == "complete"
        return "spans" in last.closing


def test_a_power_cut_in_a_run_with_fields_never_parts_a_line_from_its_seed(
    start: tuple[Path, str], signer: FileSigner, ram: Path
) -> None:
    path, _ = start
    model, disk = Model(path.parent), TracedDisk()
    body = b'{"email":"ada@acme.example"}'
    with Store.open(path, signer=signer, disk=disk) as store:
        run = store.begin({}, b"{}")
        run.add_reply({"op": "x", "sha256": run.add_object(body), **run.add_spans(body, Cut("json", ((9, 27),)))})
        run.close([], {})
    with_fields = 0
    for done, _, build in crash_states(model, disk.trace, ram, random.Random(4)):
        with_fields += check_fields(build / "store", signer, done == len(disk.trace))
    assert with_fields > 50
