"""Whatever is done to the files of a store, it is told, within bounded time and memory, and nothing else escapes.

``FUZZ_CASES=100000`` (``make fuzz``) runs that many; the default is a few hundred. A failure names seed and case.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import struct
import time
from pathlib import Path

import pytest

from evidence_store import layout, pack
from evidence_store.errors import StoreError
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.evidence_store.conftest import ORIGIN, fill

CASES = int(os.environ.get("FUZZ_CASES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "20261122"))
CASE_LIMIT_S = 20
MEMORY_LIMIT = 400 << 20
"""More than the process may grow by."""


def bomb(size: int, stated: int, claimed: int | None = None) -> bytes:
    """A frame of so many zeros that states another size; perhaps with a wrong length of its data."""
    body = bytes(size)
    packed = pack.zstd.compress(body, 19)
    header = b'{"sha256":"%s","size":%d}' % (hashlib.sha256(body).hexdigest().encode(), stated)
    return struct.pack(">II", len(header), len(packed) if claimed is None else claimed) + header + packed


HOSTILE = [
    bomb(32 << 20, 10),
    bomb(10, 32 << 20),
    bomb(16 << 20, 16 << 20),
    bomb(10, 10, 0),
    bomb(10, 10, 0xFFFFFFFF),
    pack.zstd.compress(b"\n" * (16 << 20), 19),
    pack.zstd.compress(b"[" * (1 << 20), 19),
    b"[" * 5000,
    b'{"a":' * 2000,
    b"\0" * 4096,
    b"\xff" * 64,
]


@pytest.fixture
def tiny(ram: Path, signer: FileSigner) -> Path:
    """A store with an aborted run, a gap, and bodies that stand on others."""
    with Store.create(ram / "store", origin=ORIGIN, signer=signer) as store:
        fill(store)
        base = ""
        for day in range(3):
            run = store.begin({}, b"{}")
            base = run.add_object(b'{"Users":[%d]}' % day + b" " * 3000, base=base or None)
            run.add_reply({"op": "x", "sha256": base})
            run.close([{"check": "c"}], {})
    return ram / "store"


def alter(dice: random.Random, root: Path, names: list[str]) -> list[str]:
    """Change one or two files in one of many ways; their names are returned."""
    name, other = dice.choice(names), dice.choice(names)
    path = root / name
    good = path.read_bytes()
    start = dice.randrange(len(good) + 1)
    end = min(len(good), start + dice.choice([0, 1, 1, 8, 64, 4096]))
    match dice.randrange(9):
        case 0:
            flipped = bytearray(good)
            if good:
                flipped[start % len(good)] ^= 1 << dice.randrange(8)
            path.write_bytes(flipped)
        case 1:
            path.write_bytes(good[:start])
        case 2:
            path.write_bytes(good[:start] + dice.randbytes(dice.randrange(65)) + good[end:])
        case 3:
            path.write_bytes(good[:start] + dice.choice(HOSTILE) + good[end:])
        case 4:
            path.write_bytes(dice.choice(HOSTILE))
        case 5:
            path.write_bytes(good + good[start:end])
        case 6:
            theirs = (root / other).read_bytes()
            path.write_bytes(theirs)
            (root / other).write_bytes(good)
            return [name, other]
        case 7:
            path.unlink()
        case _:
            path.write_bytes(good[:start] + good[end:])
    return [name]


def read_all(root: Path) -> None:
    """Use the store without verifying it first."""
    store = Store.open(root)
    for info in store.runs():
        run = store.run(info.number)
        run.plan()
        for line in [*run.replies(), *run.results()]:
            if line.get("sha256"):
                run.object(line["sha256"])


def test_no_change_passes_and_nothing_but_our_errors_escapes(tiny: Path, signer: FileSigner) -> None:
    kept = tiny.with_name("kept")
    shutil.copytree(tiny, kept)
    derived = {layout.LOCK, layout.INDEX}
    names = sorted(str(path.relative_to(tiny)) for path in tiny.rglob("*") if path.is_file())
    names = [name for name in names if name not in derived]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    changed = 0
    for case in range(CASES):
        dice = random.Random(f"{SEED}/{case}")
        touched = alter(dice, tiny, names)
        same = all((tiny / n).exists() and (tiny / n).read_bytes() == (kept / n).read_bytes() for n in touched)
        started = time.monotonic()
        try:
            found = verify_store(tiny, key=signer.keyid)
            assert found.ok == same, f"seed {SEED}, case {case}: {touched}"
            try:
                read_all(tiny)
            except StoreError:
                assert not same
        except StoreError as error:
            raise AssertionError(f"seed {SEED}, case {case}: verify raised {error!r}") from error
        except Exception as error:
            raise AssertionError(f"seed {SEED}, case {case}: {type(error).__name__} escaped") from error
        took = time.monotonic() - started
        assert took < CASE_LIMIT_S, f"seed {SEED}, case {case}: {touched} took {took:.1f} s"
        changed += not same
        for name in touched:
            shutil.copyfile(kept / name, tiny / name)
    assert changed > CASES * 0.8
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MEMORY_LIMIT, f"grew by {grown >> 20} MB"
