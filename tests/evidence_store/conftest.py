"""A signer, a clock that can be set, and a small sealed store."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence_store.keys import FileSigner, PublicKey
from evidence_store.store import Store

ORIGIN = "evidence.acme.example/prod"


class Clock:
    """Goes one second further at each look."""

    def __init__(self) -> None:
        self.time = datetime(2026, 2, 1, 2, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture(autouse=True)
def _remembered_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature check is a pure function, and the tests ask for the same ones thousands of times: remember them."""

    @functools.lru_cache(maxsize=4096)
    def verifies(raw: bytes, signature: bytes, message: bytes) -> bool:
        return plain(keys[raw], signature, message)

    plain, keys = PublicKey.verifies, {}

    def remembered(self: PublicKey, signature: bytes, message: bytes) -> bool:
        keys[self.raw] = self
        return verifies(self.raw, signature, message)

    monkeypatch.setattr(PublicKey, "verifies", remembered)


@pytest.fixture(scope="session")
def signer() -> FileSigner:
    return FileSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))


@pytest.fixture(scope="session")
def other_signer() -> FileSigner:
    return FileSigner(Ed25519PrivateKey.from_private_bytes(b"\x08" * 32))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ram() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of small stores are written there."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def fill(store: Store) -> None:
    """One complete run of two replies, an aborted one, a gap, and a run that needs a body of the first."""
    run = store.begin({"scheduledFor": "2026-02-01T02:00:00Z"}, b'{"tasks":["a","b"]}')
    for page in (1, 2):
        body = b'{"Users":[%d]}' % page
        run.add_reply({"op": "iam:ListUsers", "page": page, "last": page == 2, "sha256": run.add_object(body)})
    run.close([{"check": "aws.iam.mfa", "outcome": "PASS"}], {"outcome": "complete"})
    run = store.begin({}, b"{}")
    run.add_reply({"op": "iam:ListUsers", "sha256": run.add_object(b"half")})
    run.abort("interrupted")
    moment = datetime(2026, 2, 2, 2, 0, tzinfo=UTC)
    store.gap(start=moment, end=moment + timedelta(hours=1), missed=1, reason="host was down")
    run = store.begin({}, b"{}")
    run.add_reply({"op": "iam:ListUsers", "sha256": run.add_object(b'{"Users":[1]}')})
    run.add_reply({"op": "s3:ListBuckets", "status": 403, "sha256": None})
    run.close([], {"outcome": "complete"})


@pytest.fixture
def sealed(ram: Path, signer: FileSigner, clock: Clock) -> Path:
    """The path of a store that :func:`fill` filled."""
    path = ram / "store"
    with Store.create(path, origin=ORIGIN, signer=signer, clock=clock) as store:
        fill(store)
    return path


@pytest.fixture(scope="session")
def vector_folder() -> Iterator[Path]:
    """Bundles, good and bad, with ``expected.json``."""
    from tests.evidence_store.vectors.make import make

    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    make(folder)
    yield folder
    shutil.rmtree(folder)
