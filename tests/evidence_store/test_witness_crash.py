"""A power cut at any moment leaves a witness that knows every head it has signed, or refuses to sign at all."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ORIGIN
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_store_crash import Model, QuickDisk, TracedDisk, crash_states
from test_witness_protocol import NAME, ask, growth

from evidence_store.cosignature import Witness
from evidence_store.errors import UsageError, VerificationError
from evidence_store.keys import FileSigner
from evidence_store.merkle import consistency_proof
from evidence_store.note import Checkpoint, sign_note, verifier_key
from evidence_store.witness import WITNESS_JSON, WitnessServer, parse_logs

KEY = FileSigner(Ed25519PrivateKey.from_private_bytes(b"\x09" * 32))
OTHER = "evidence.acme.example/test"


class Signing(FileSigner):
    """Says how much of the trace there was when it signed."""

    def __init__(self, disk: TracedDisk) -> None:
        super().__init__(Ed25519PrivateKey.from_private_bytes(b"\x09" * 32))
        self.disk = disk
        self.at: list[int] = []

    def sign(self, message: bytes) -> bytes:
        self.at.append(len(self.disk.trace))
        return super().sign(message)


@dataclass(frozen=True)
class Signed:
    """What was promised when the trace was this long."""

    length: int
    heads: dict[str, int]
    """Size of the newest signed head, by log."""
    refused: int
    """Refused requests that are kept."""


def open_witness(folder: Path, log: FileSigner, *, create: bool = False, disk: Any = None) -> WitnessServer:
    logs = parse_logs([verifier_key(origin, log.public) for origin in (ORIGIN, OTHER)])
    signer = Signing(disk) if isinstance(disk, TracedDisk) else KEY
    return WitnessServer(
        folder, Witness(NAME, KEY.public), signer, logs, create=create, disk=disk or QuickDisk()
    )


def cosigning(folder: Path, log: FileSigner, sealed: Path) -> tuple[list[tuple[Any, ...]], list[Signed]]:
    """A new witness signs three heads of a log and one of another, and refuses a fork."""
    hashes, notes = growth(sealed, log)
    disk = TracedDisk()
    server = open_witness(folder, log, create=True, disk=disk)
    promises = [Signed(len(disk.trace), {}, 0)]

    def ask_for(origin: str, size: int, body: bytes) -> None:
        assert server.add(body).status == 200
        assert isinstance(server._signer, Signing)
        # Promised from the moment it is signed: an answer that is lost may have been read all the same.
        promises.append(Signed(server._signer.at[-1], {**promises[-1].heads, origin: size}, 0))

    for old, size in ((0, 2), (2, 5)):
        ask_for(ORIGIN, size, ask(old, consistency_proof(old, hashes[:size]) if old else [], notes[size]))
    head = sign_note(Checkpoint(OTHER, 3, b"\1" * 32).text(), OTHER, log)
    ask_for(OTHER, 3, ask(0, [], head))
    ask_for(ORIGIN, 6, ask(5, consistency_proof(5, hashes[:6]), notes[6]))
    fork = sign_note(Checkpoint(ORIGIN, 6, b"\2" * 32).text(), ORIGIN, log)
    assert server.add(ask(6, [], fork)).status == 409
    promises.append(Signed(len(disk.trace), promises[-1].heads, 1))
    server.close()
    return disk.trace, promises


def check_signed(folder: Path, log: FileSigner, promised: Signed | None) -> None:
    """The witness opens, or was never acknowledged and can be begun; no head it signed is lost, and none can be.

    Raises:
        AssertionError: otherwise.
    """
    if not folder.exists() and promised is None:
        return
    try:
        server = open_witness(folder, log, create=promised is None and not (folder / WITNESS_JSON).exists())
    except (UsageError, VerificationError) as error:
        raise AssertionError(f"does not open: {error}") from error
    try:
        for origin, size in (promised.heads if promised else {}).items():
            last = server._last(origin)
            assert last is not None, f"the head of {origin} is gone"
            assert last.size >= size, f"{origin} is remembered at {last.size}, and was signed at {size}"
    finally:
        server.close()
    assert len(list(folder.glob("refused-*.txt"))) >= (promised.refused if promised else 0), "evidence is gone"
    assert all(path.read_bytes().startswith(b"old 6\n\n" + ORIGIN.encode()) for path in folder.glob("refused-*.txt"))
    if promised and promised.heads:
        for path in folder.glob("*.note"):
            path.unlink()
        with pytest.raises(UsageError, match="is missing, the head of"):
            open_witness(folder, log)


def promised_by(promises: list[Signed], done: int) -> Signed | None:
    return next((promise for promise in reversed(promises) if promise.length <= done), None)


def test_a_power_cut_never_takes_a_head_that_was_signed(ram: Path, sealed: Path, signer: FileSigner) -> None:
    (ram / "live").mkdir()
    model = Model(ram / "live")
    trace, promises = cosigning(ram / "live" / "witness", signer, sealed)
    states = 0
    for done, variant, build in crash_states(model, trace, ram, random.Random(10)):
        try:
            check_signed(build / "witness", signer, promised_by(promises, done))
        except AssertionError as error:
            raise AssertionError(
                f"after {done} operations ({trace[done - 1][:2]}), variant {variant}: {error}"
            ) from error
        states += 1
    assert states > 300


# State that is lost in other ways


@pytest.fixture
def signed(ram: Path, sealed: Path, signer: FileSigner) -> Path:
    """The state of a witness that signed heads of two logs."""
    cosigning(ram / "witness", signer, sealed)
    return ram / "witness"


def test_a_witness_that_lost_a_head_signs_no_other_history(signed: Path, signer: FileSigner) -> None:
    regrown = ask(0, [], sign_note(Checkpoint(ORIGIN, 9, b"\3" * 32).text(), ORIGIN, signer))
    server = open_witness(signed, signer)
    for path in signed.glob("*.note"):
        path.unlink()
    with pytest.raises(VerificationError, match="is missing"):
        server.add(regrown)
    server.close()
    with pytest.raises(UsageError, match=rf"\.note is missing, the head of {ORIGIN} ") as caught:
        open_witness(signed, signer)
    assert "a new key and a new name" in caught.value.next_step
    with pytest.raises(UsageError, match="holds the state"):
        open_witness(signed, signer, create=True)
    others = parse_logs([verifier_key("third.example/log", signer.public)])
    with pytest.raises(UsageError, match="another witness"):
        WitnessServer(signed, Witness("else.example", KEY.public), KEY, others)
    WitnessServer(signed, Witness(NAME, KEY.public), KEY, others).close()


def test_a_state_of_an_earlier_release_learns_what_it_has_signed(signed: Path, signer: FileSigner) -> None:
    state = signed / WITNESS_JSON
    state.write_bytes(b'{"witness":"%s"}\n' % Witness(NAME, KEY.public).verifier_key().encode())
    open_witness(signed, signer).close()
    next(signed.glob("*.note")).unlink()
    with pytest.raises(UsageError, match="is missing, the head of"):
        open_witness(signed, signer)


@pytest.mark.parametrize("content", [b"", b"{", b'{"witness":1,"signed":1}', b"[]", bytes(40)])
def test_a_spoiled_state_is_refused(signed: Path, signer: FileSigner, content: bytes) -> None:
    (signed / WITNESS_JSON).write_bytes(content)
    with pytest.raises(UsageError, match="not what was written"):
        open_witness(signed, signer)
