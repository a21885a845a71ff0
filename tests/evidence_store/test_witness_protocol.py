"""A witness over HTTP: signs what extends what it saw, refuses everything else, and remembers across restarts."""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ORIGIN, Clock, fill
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence_store import cosigner, layout
from evidence_store.cosignature import Witness
from evidence_store.cosigner import Cosigner, cosign
from evidence_store.errors import AnchorError, ForkError, LockedError, UsageError, VerificationError
from evidence_store.heads import signed_by, split_note
from evidence_store.keys import FileSigner, PublicKey
from evidence_store.merkle import consistency_proof
from evidence_store.note import Checkpoint, sign_note, verifier_key
from evidence_store.spelling import b64, unb64
from evidence_store.store import Store
from evidence_store.verify import verify_store
from evidence_store.witness import REFUSED_LIMIT, REQUEST_LIMIT, WitnessServer, parse_log_key, parse_logs

NAME = "witness.example.org/w1"


@pytest.fixture(scope="module")
def witness_key() -> FileSigner:
    return FileSigner(Ed25519PrivateKey.from_private_bytes(b"\x09" * 32))


@pytest.fixture(scope="module")
def witness(witness_key: FileSigner) -> Witness:
    return Witness(NAME, witness_key.public)


@pytest.fixture
def server(ram: Path, witness: Witness, witness_key: FileSigner, signer: FileSigner) -> Iterator[WitnessServer]:
    made = WitnessServer(
        ram / "witness", witness, witness_key, parse_logs([verifier_key(ORIGIN, signer.public)]), create=True
    )
    yield made
    made.close()


@pytest.fixture
def url(server: WitnessServer) -> Iterator[str]:
    http_server = server.listen("127.0.0.1", 0)
    threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{http_server.server_port}"
    http_server.shutdown()
    http_server.server_close()


def growth(root: Path, signer: FileSigner) -> tuple[list[bytes], dict[int, bytes]]:
    """Leaf hashes and notes of a filled store."""
    with Store.open(root, signer=signer) as store:
        hashes = store.leaf_hashes()
    notes = {size: (root / layout.note_name(size)).read_bytes() for size in range(1, len(hashes) + 1)}
    return hashes, notes


def ask(old: int, proof: list[bytes], note: bytes) -> bytes:
    return "".join([f"old {old}\n", *(b64(step) + "\n" for step in proof), "\n"]).encode() + note


def test_it_signs_a_log_that_grows_and_the_line_verifies(
    server: WitnessServer, sealed: Path, signer: FileSigner, witness: Witness
) -> None:
    hashes, notes = growth(sealed, signer)
    old = 0
    for size in (1, 2, 3, 5, 8):
        proof = consistency_proof(old, hashes[:size]) if old else []
        answer = server.add(ask(old, proof, notes[size]))
        assert answer.status == 200
        text, _ = split_note(notes[size])
        assert abs(witness.opened(answer.body, text) - datetime.now(UTC)).total_seconds() < 5
        raw = unb64(answer.body.decode().split(" ")[2].strip())
        message = f"cosignature/v1\ntime {int.from_bytes(raw[4:12])}\n{ORIGIN}\n{size}\n{text.splitlines()[2]}\n"
        ed25519.Ed25519PublicKey.from_public_bytes(witness.key.raw).verify(raw[12:], message.encode())
        assert raw[:4] == hashlib.sha256(f"{NAME}\n".encode() + b"\x04" + witness.key.raw).digest()[:4]
        with pytest.raises(VerificationError, match="does not verify"):
            witness.opened(answer.body, text.replace(f"\n{size}\n", f"\n{size + 1}\n"))
        old = size
    assert server.add(ask(8, [], notes[8])).status == 200, "the same head again is signed again"


def test_the_answers_are_those_of_the_specification(
    server: WitnessServer, sealed: Path, signer: FileSigner, other_signer: FileSigner
) -> None:
    hashes, notes = growth(sealed, signer)
    proof = consistency_proof(3, hashes[:6])
    stranger = sign_note(split_note(notes[3])[0], ORIGIN, other_signer)
    unknown = sign_note("other.example/log\n1\n" + b64(b"\0" * 32) + "\n", "other.example/log", signer)
    assert server.add(ask(0, [], unknown)).status == 404
    assert server.add(ask(0, [], stranger)).status == 403
    assert server.add(ask(0, [b"\0" * 32], notes[3])).status == 422, "from nothing there is no proof"
    assert server.add(ask(0, [], notes[3])).status == 200
    answer = server.add(ask(0, [], notes[6]))
    assert (answer.status, answer.body, answer.media) == (409, b"3\n", "text/x.tlog.size")
    answer = server.add(ask(7, [], notes[6]))
    assert answer.status == 400, "the old size is above the new one"
    assert server.add(ask(3, [], notes[6])).status == 422
    assert server.add(ask(3, [*proof[:-1], b"\1" * 32], notes[6])).status == 422
    assert server.add(ask(3, proof, notes[6])).status == 200
    answer = server.add(ask(3, [], notes[3]))
    assert (answer.status, answer.body) == (409, b"6\n"), "never a smaller tree after a larger one"
    both = notes[6] + sign_note("x\n", "someone.example", other_signer).split(b"\n\n")[1]
    assert server.add(ask(6, [], both)).status == 200, "signatures of others are ignored"
    for body in (
        b"", b"old 6\n", b"old 6\n\n", b"old 06\n\n" + notes[6], b"old -1\n\n" + notes[6], b"new 6\n\n" + notes[6],
        b"old 6\nYR==\n\n" + notes[6], ask(6, [b"\0" * 31], notes[6]), ask(6, [b"\0" * 32] * 64, notes[6]),
        ask(6, [], notes[6][:-1]), ask(6, [], notes[6].replace(b"\n6\n", b"\n06\n")), b"\xff" * 100,
    ):  # fmt: skip
        assert server.add(body).status == 400, body


def test_a_fork_is_refused_and_kept_as_evidence(
    server: WitnessServer, sealed: Path, signer: FileSigner, ram: Path
) -> None:
    hashes, notes = growth(sealed, signer)
    server.add(ask(0, [], notes[6]))
    other = sign_note(Checkpoint(ORIGIN, 6, b"\2" * 32).text(), ORIGIN, signer)
    longer = sign_note(Checkpoint(ORIGIN, 9, b"\3" * 32).text(), ORIGIN, signer)
    assert server.add(ask(6, [], other)).status == 409
    assert server.add(ask(6, consistency_proof(6, hashes), longer)).status == 422
    kept = sorted(path.read_bytes() for path in (ram / "witness").glob("refused-*.txt"))
    assert kept == sorted([ask(6, [], other), ask(6, consistency_proof(6, hashes), longer)])
    for number in range(REFUSED_LIMIT + 5):
        server.add(ask(6, [], sign_note(Checkpoint(ORIGIN, 6, number.to_bytes(32)).text(), ORIGIN, signer)))
    assert len(list((ram / "witness").glob("refused-*.txt"))) == REFUSED_LIMIT, "bounded"


def test_it_remembers_before_it_answers_and_across_a_restart(
    sealed: Path, ram: Path, witness: Witness, witness_key: FileSigner, signer: FileSigner
) -> None:
    _, notes = growth(sealed, signer)
    logs = parse_logs([verifier_key(ORIGIN, signer.public)])
    with pytest.raises(UsageError, match="no state") as caught:
        WitnessServer(ram / "w", witness, witness_key, logs)
    assert "new key" in caught.value.next_step
    first = WitnessServer(ram / "w", witness, witness_key, logs, create=True)
    with pytest.raises(LockedError):
        WitnessServer(ram / "w", witness, witness_key, logs)
    signed: list[bool] = []

    class Watching(FileSigner):
        def sign(self, message: bytes) -> bytes:
            signed.extend(path.read_bytes() == notes[5] for path in (ram / "w").glob("*.note"))
            return super().sign(message)

    first._signer = Watching(Ed25519PrivateKey.from_private_bytes(b"\x09" * 32))
    assert first.add(ask(0, [], notes[5])).status == 200
    assert signed == [True], "the head was on disk when it was signed"
    first.close()
    with pytest.raises(UsageError, match="holds the state"):
        WitnessServer(ram / "w", witness, witness_key, logs, create=True)
    with pytest.raises(UsageError, match="another witness"):
        WitnessServer(ram / "w", Witness("else.example", witness.key), witness_key, logs)
    again = WitnessServer(ram / "w", witness, witness_key, logs)
    assert again.add(ask(0, [], notes[3])).body == b"5\n"
    again.close()


def test_keys_are_read_in_one_spelling_only(witness: Witness, signer: FileSigner) -> None:
    good = witness.verifier_key()
    assert Witness.parse(good) == witness or Witness.parse(good).keyid == witness.keyid
    log = verifier_key(ORIGIN, signer.public)
    assert parse_log_key(log)[0] == ORIGIN
    name, keyid, encoded = good.split("+", 2)
    for text in ("", "x", name, f"{name}+{keyid}", f"{name}+{'0' * 8}+{encoded}", f"{name}+{keyid}+{encoded}=", log):
        with pytest.raises(UsageError):
            Witness.parse(text)
    elliptic = PublicKey(ec.generate_private_key(ec.SECP256R1()).public_key())
    assert parse_log_key(verifier_key(ORIGIN, elliptic))[1].fingerprint == elliptic.fingerprint
    for text in (good, log[:-4], log.replace("+", "+0", 1), ""):
        with pytest.raises(UsageError):
            parse_log_key(text)


def test_the_cosignature_of_the_specification_is_read() -> None:
    """The example in c2sp.org/tlog-cosignature; its key is not published, so only the fields are compared."""
    line = (
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZ"
        "qhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    body = unb64(line.split(" ")[2].strip())
    assert len(body) == 76
    assert int.from_bytes(body[4:12]) == 1679315147, "the time line of the example"


def test_the_server_bounds_what_it_reads(url: str, sealed: Path, signer: FileSigner) -> None:
    _, notes = growth(sealed, signer)
    host = url.removeprefix("http://")

    def send(method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection(host, timeout=5)
        try:
            connection.putrequest(method, path)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(body)
            return connection.getresponse().status
        finally:
            connection.close()

    good = ask(0, [], notes[3])
    assert send("POST", "/add-checkpoint", good, {"Content-Length": str(len(good))}) == 200
    assert send("POST", "/other", good, {"Content-Length": str(len(good))}) == 404
    assert send("POST", "/add-checkpoint", b"", {}) == 411
    assert send("POST", "/add-checkpoint", b"", {"Content-Length": "-1"}) == 411
    assert send("POST", "/add-checkpoint", b"", {"Content-Length": str(REQUEST_LIMIT + 1)}) == 413
    assert send("GET", "/add-checkpoint", b"", {}) == 501


@pytest.fixture(scope="module")
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, witness: Witness, witness_key: FileSigner, signer: FileSigner
) -> tuple[WitnessServer, bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    with Store.create(folder / "s", origin=ORIGIN, signer=signer, clock=Clock()) as store:
        fill(store)
    hashes, notes = growth(folder / "s", signer)
    made = WitnessServer(
        folder / "w", witness, witness_key, parse_logs([verifier_key(ORIGIN, signer.public)]), create=True
    )
    made.add(ask(0, [], notes[3]))
    return made, ask(3, consistency_proof(3, hashes), notes[len(hashes)])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_altered_request_is_signed(fuzzed: tuple[WitnessServer, bytes], data: st.DataObject) -> None:
    server, good = fuzzed
    place = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 8))
    body = good[:place] + data.draw(st.binary(max_size=8)) + good[place + length :]
    if body != good:
        assert server.add(body).status in (400, 403, 404, 409, 422)


# The client


@pytest.fixture
def watched(ram: Path, signer: FileSigner) -> Iterator[Store]:
    """A store whose clock is right, unlike that of ``sealed``."""
    with Store.create(ram / "watched", origin=ORIGIN, signer=signer) as store:
        fill(store)
        yield store


def test_a_store_is_cosigned_named_and_verified(watched: Store, url: str, signer: FileSigner, witness: Witness) -> None:
    asked = Cosigner(url, witness)
    cosign(watched, asked)
    cosign(watched, asked)
    size = watched.size
    name = layout.cosignature_name(size, witness.keyid)
    assert (watched.root / name).is_file()
    found = verify_store(watched.root, key=signer.keyid, witnesses=[witness.verifier_key()])
    assert found.ok, found.problems
    assert [(one["checkpointSize"], one["witness"]) for one in found.cosignatures] == [(size, NAME)]
    assert not any("no outside anchor" in warning for warning in found.warnings)
    watched.anchor()
    watched.append("waiver", {"id": "W-1"})
    cosign(watched, asked)
    watched.anchor()
    assert verify_store(watched.root, key=signer.keyid, witnesses=[witness.verifier_key()]).ok
    bare = verify_store(watched.root, key=signer.keyid)
    assert bare.ok
    assert any("was not checked" in w or "were not checked" in w for w in bare.warnings), bare.warnings
    assert any("no outside anchor" in warning for warning in bare.warnings), "a witness nobody pinned proves nothing"
    run = watched.begin({}, b"{}")
    run.abort("enough")
    later = verify_store(watched.root, key=signer.keyid, witnesses=[witness.verifier_key()])
    assert later.ok
    assert any("run 4 is covered by no outside anchor" in warning for warning in later.warnings)


def test_p10_a_cosignature_that_is_gone_altered_or_of_another_checkpoint_is_named(
    watched: Store, url: str, signer: FileSigner, witness: Witness
) -> None:
    size = watched.size
    cosign(watched, Cosigner(url, witness))
    watched.anchor()
    name = layout.cosignature_name(size, witness.keyid)
    path, pins = watched.root / name, [witness.verifier_key()]
    good = path.read_bytes()
    for place in range(len(good)):
        altered = bytearray(good)
        altered[place] ^= 1
        path.write_bytes(altered)
        assert name in {problem.path for problem in verify_store(watched.root, key=signer.keyid).problems}
    path.unlink()
    found = verify_store(watched.root, key=signer.keyid, witnesses=pins)
    assert name in {p.path for p in found.problems if p.what == "is named in the log and missing"}
    path.write_bytes(good)
    (watched.root / layout.cosignature_name(3, witness.keyid)).write_bytes(good)
    found = verify_store(watched.root, key=signer.keyid, witnesses=pins)
    assert [p.path for p in found.problems] == [layout.cosignature_name(3, witness.keyid)], "replayed on another head"
    stranger = Witness("other.example/w", FileSigner(Ed25519PrivateKey.generate()).public)
    (watched.root / layout.cosignature_name(3, witness.keyid)).unlink()
    found = verify_store(watched.root, key=signer.keyid, witnesses=[stranger.verifier_key()])
    assert any("holds no cosignature of witness other.example/w" in p.what for p in found.problems)


def test_a_witness_that_is_down_or_strange_loses_nothing(
    watched: Store, url: str, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Witness(NAME, FileSigner(Ed25519PrivateKey.generate()).public)
    for asked, message in (
        (Cosigner("http://127.0.0.1:9", witness), "did not answer"),
        (Cosigner(url, other), "signed by another key"),
        (Cosigner(url + "/x", witness), "does not know"),
    ):
        with pytest.raises(AnchorError, match=message):
            cosign(watched, asked, timeout_s=2)
    with pytest.raises(AnchorError, match="has the time"):
        cosign(watched, Cosigner(url, witness), clock=lambda: datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(UsageError, match="http"):
        cosign(watched, Cosigner("file:///etc", witness))
    for status, body, kind in (
        (409, b"no number", AnchorError), (500, b"", AnchorError), (403, b"", AnchorError), (409, b"99\n", ForkError),
        (422, b"", ForkError), (200, b"", AnchorError),
        (200, "— x\n".encode(), AnchorError), (200, b"\xff\n", AnchorError),
    ):  # fmt: skip
        monkeypatch.setattr(cosigner, "_post", lambda *_, status=status, body=body: (status, body))
        with pytest.raises(kind):
            cosign(watched, Cosigner(url, witness))
    assert not list(watched.root.rglob("*.cosig"))


def test_a_log_signature_alone_is_told_from_a_cosignature(sealed: Path, signer: FileSigner) -> None:
    text, lines = split_note((sealed / layout.note_name(3)).read_bytes())
    assert signed_by(ORIGIN, signer.public, text, lines)
    assert not signed_by("else", signer.public, text, lines)
