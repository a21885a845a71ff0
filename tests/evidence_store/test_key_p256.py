"""P-256 keys sign leaves and checkpoints: one spelling only, another signature each time, never twice for one size."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from test_store_crash import Model, QuickDisk, check_promises, crash_states, promised_by, session

from evidence_store import dsse, keys, layout, note
from evidence_store.dsse import Statement
from evidence_store.errors import SignerError, TamperedError, VerificationError
from evidence_store.keys import FileSigner, PublicKey
from evidence_store.note import Checkpoint
from evidence_store.signers import RemoteSigner
from evidence_store.spelling import b64, unb64
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
PUBLIC_NOTES = [
    # The checkpoints and keys that transparency-dev/formats tests its own verifier with (note/note_verifier_test.go).
    (
        "rekor.sigstore.dev",
        "c0d23d6a",
        "AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni"
        "4Qt9DPfkWLc=",
        "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n"
        "— rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUC"
        "RdxwWBHHufk=\n",
    ),
    (
        "pixel6_transparency_log",
        "91c16e30",
        "AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLFI9A4NDdGZcX0aiWVdWM5XJVy0M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC"
        "0H3nN3q6JQ8=",
        "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n"
        "— pixel6_transparency_log kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdgBCe"
        "pB06/+g5O1FmYjXl06owL4\n",
    ),
]


def p256(seed: int = 7) -> RemoteSigner:
    """A key as a KMS has it: random signatures, of which half have the upper ``s``."""
    key = ec.derive_private_key(seed, ec.SECP256R1())
    sign = lambda message: key.sign(message, ec.ECDSA(hashes.SHA256()))  # noqa: E731
    return RemoteSigner(f"awskms:{seed}", PublicKey(key.public_key()), sign)


def other_s(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, keys.P256_ORDER - s)


@pytest.mark.parametrize(("name", "keyid", "material", "text"), PUBLIC_NOTES)
def test_public_checkpoints_signed_with_p256_verify(name: str, keyid: str, material: str, text: str) -> None:
    raw = unb64(material)
    key = PublicKey.from_spki(raw[1:])
    assert note.verifier_key(name, key) == f"{name}+{keyid}+{material}"
    assert note.open_note(text.encode(), name, key) == text[: text.index("\n\n") + 1]
    with pytest.raises(VerificationError, match="does not verify"):
        note.open_note(text.replace("\n1", "\n2", 1).replace("798", "799").encode(), name, key)
    with pytest.raises(VerificationError, match="another key"):
        note.open_note(text.encode(), name, p256().public)


def test_leaves_and_checkpoints_are_signed_and_verify() -> None:
    signer = p256()
    head = Checkpoint(ORIGIN, 3, bytes(32))
    signed = [note.sign_note(head.text(), ORIGIN, signer) for _ in range(2)]
    assert signed[0] != signed[1], "ECDSA with a random nonce"
    assert [note.open_checkpoint(data, ORIGIN, signer.public) for data in signed] == [head, head]
    envelope = dsse.open_envelope(dsse.sign_statement(Statement("gap", {}, {"index": 1}), [signer]))
    assert envelope.signed_by(signer.public)
    assert not envelope.signed_by(p256(8).public)
    assert not envelope.signed_by(signer.public, signer.public)
    assert not envelope.signed_by()


def test_the_other_signature_that_ecdsa_accepts_is_refused() -> None:
    """Malleability: (r, n - s) verifies with every library, and would be a second spelling of the same envelope."""
    signer = p256()
    raw = ec.derive_private_key(7, ec.SECP256R1())
    for _ in range(20):
        signature = signer.sign(b"message")
        assert decode_dss_signature(signature)[1] <= keys.P256_ORDER // 2
        assert signer.public.verifies(signature, b"message")
        upper = other_s(signature)
        raw.public_key().verify(upper, b"message", ec.ECDSA(hashes.SHA256()))
        assert not signer.public.verifies(upper, b"message")
        assert keys.low_s(upper) == signature


def test_a_signature_has_one_der_spelling() -> None:
    public, good = p256().public, p256().sign(b"m")
    r, s = decode_dss_signature(good)
    body = b"\x02\x22\x00\x00" + r.to_bytes(32) + b"\x02\x20" + s.to_bytes(32)
    odd = [
        b"", b"\x30\x00", good + b"\0", good[:-1], b"\x30\x81" + good[1:], b"\x30" + bytes([len(body)]) + body,
        r.to_bytes(32) + s.to_bytes(32), encode_dss_signature(r, s + keys.P256_ORDER), encode_dss_signature(0, s),
        encode_dss_signature(r, 0), encode_dss_signature(r + keys.P256_ORDER, s), bytes(64), bytes(5000),
    ]  # fmt: skip
    assert public.verifies(good, b"m")
    assert not any(public.verifies(signature, b"m") for signature in odd)
    for place in range(len(good)):
        altered = bytearray(good)
        altered[place] ^= 1
        assert not public.verifies(bytes(altered), b"m")


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "curve", [ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP224R1(), ec.BrainpoolP256R1()]
)
def test_a_key_on_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(VerificationError, match=r"neither Ed25519 nor P-256|cannot be read"):
        PublicKey.from_spki(spki(ec.generate_private_key(curve).public_key()))


def test_a_public_key_has_one_spelling() -> None:
    key = p256().public
    assert PublicKey.from_spki(key.spki).fingerprint == hashlib.sha256(key.spki).hexdigest() == key.fingerprint
    assert PublicKey.from_pem(key.pem()).spki == key.spki
    point = key.spki[-65:]
    compressed = bytes([2 + point[-1] % 2]) + point[1:33]
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    with pytest.raises(VerificationError, match="spelling"):
        PublicKey.from_spki(head + compressed)
    off = bytearray(key.spki)
    off[-1] ^= 1
    for data in (bytes(off), key.spki + b"\0", key.spki[:-1]):
        with pytest.raises(VerificationError):
            PublicKey.from_spki(data)
    for text in (
        "",
        "x",
        key.pem() + "\n",
        key.pem().replace("\n", "\r\n"),
        " " + key.pem(),
        key.pem().replace("M", "N"),
    ):
        with pytest.raises(VerificationError):
            PublicKey.from_pem(text)


def test_a_store_signed_with_p256_verifies_and_every_flip_of_its_log_is_seen(ram: Path) -> None:
    signer, path = p256(), ram / "s"
    with Store.create(path, origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        run.add_reply({"op": "x", "sha256": run.add_object(b"body")})
        run.close([{"check": "c", "outcome": "PASS"}], {})
    assert verify_store(path, key=signer.keyid).ok
    assert not verify_store(path, key=p256(8).keyid).ok
    with pytest.raises(TamperedError, match="not by"):
        Store.open(path, signer=p256(8))
    newest = path / layout.note_name(3)
    good, dice = newest.read_bytes(), random.Random(5)
    for place in dice.sample(range(len(good)), 60):
        altered = bytearray(good)
        altered[place] ^= 1 << dice.randrange(8)
        newest.write_bytes(altered)
        found = verify_store(path, key=signer.keyid)
        assert not found.ok
        assert layout.note_name(3) in {problem.path for problem in found.problems}
    text, _, line = good.decode().rpartition("\n\n")
    raw = unb64(line.split()[2])
    newest.write_bytes(f"{text}\n\n— {ORIGIN} {b64(raw[:4] + other_s(raw[4:]))}\n".encode())
    assert not verify_store(path, key=signer.keyid).ok, "malleability shows in the newest checkpoint too"


def test_a_size_that_has_a_checkpoint_is_never_signed_again(ram: Path) -> None:
    """A second signature would be other bytes: what was stamped, cosigned and named in a leaf would not be there."""
    signer, path = p256(), ram / "s"
    asked: list[bytes] = []
    counting = RemoteSigner(signer.uri, signer.public, lambda message: asked.append(message) or signer.sign(message))
    Store.create(path, origin=ORIGIN, signer=counting).close()
    notes = {path.name: path.read_bytes() for path in (path / layout.CHECKPOINTS).iterdir()}
    assert len(asked) == 2, "one leaf, one checkpoint"
    for _ in range(3):
        with Store.open(path, signer=counting) as store:
            writer = store._log
            assert writer is not None
            with pytest.raises(TamperedError, match="exists before"):
                writer.publish(store._history.tree)
    assert len(asked) == 2
    assert {path.name: path.read_bytes() for path in (path / layout.CHECKPOINTS).iterdir()} == notes


def test_p256_keeps_every_promise_over_a_power_cut(ram: Path) -> None:
    """The states of test_store_crash with signatures that differ each time: an acknowledged note keeps its bytes."""
    signer, start = p256(), ram / "live" / "store"
    start.parent.mkdir()
    Store.create(start, origin=ORIGIN, signer=signer, disk=QuickDisk()).close()
    model = Model(start.parent)
    trace, promises = session(start, signer)  # type: ignore[arg-type]
    states = 0
    for done, variant, build in crash_states(model, trace, ram, random.Random(2)):
        if (done + variant) % 5:
            continue
        check_promises(build / "store", signer, promised_by(promises, done), process_died=variant == 1)  # type: ignore[arg-type]
        states += 1
    assert states > 100


@pytest.mark.parametrize("answer", [b"", b"nonsense", bytes(64), b"another"])
def test_what_is_no_signature_never_reaches_the_log(ram: Path, answer: bytes) -> None:
    """An emulator that hashes a digest again, a KMS behind a broken proxy, another key under the same alias."""
    signer, other, path = p256(), p256(8), ram / "s"
    Store.create(path, origin=ORIGIN, signer=signer).close()
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    broken = RemoteSigner(signer.uri, signer.public, lambda m: other.sign(m) if answer == b"another" else answer)
    with Store.open(path, signer=broken) as store, pytest.raises(SignerError):
        store.append("waiver", {"id": "W-1"})
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


class _Careless:
    """A signer that does not look at what it returns."""

    def __init__(self, public: PublicKey, signer: RemoteSigner, good: int) -> None:
        self.public, self._signer, self._good = public, signer, good

    @property
    def keyid(self) -> str:
        return self.public.fingerprint

    def sign(self, message: bytes) -> bytes:
        self._good -= 1
        return self._signer.sign(message) if self._good >= 0 else bytes(70)


@pytest.mark.parametrize("good", [0, 1])
def test_the_log_checks_its_own_signer(ram: Path, good: int) -> None:
    """Bad from the start, or good for the leaf and bad for the checkpoint: the store is as before."""
    signer, path = p256(), ram / "s"
    Store.create(path, origin=ORIGIN, signer=signer).close()
    careless = _Careless(signer.public, signer, good)
    words = r"not signed|does not verify"
    with Store.open(path, signer=careless) as store, pytest.raises(VerificationError, match=words):
        store.append("waiver", {"id": "W-1"})
    assert verify_store(path, key=signer.keyid).ok
    with Store.open(path, signer=signer) as store:
        assert store.append("waiver", {"id": "W-1"}) == 1


def test_an_interrupted_write_is_not_followed_by_another(ram: Path, signer: FileSigner) -> None:
    """Control-C while the checkpoint is signed: the leaf that was not acknowledged is never followed by a second."""
    path = ram / "s"
    Store.create(path, origin=ORIGIN, signer=signer).close()

    class Interrupted(_Careless):
        def sign(self, message: bytes) -> bytes:
            if self._good == 0:
                self._good = 5
                raise KeyboardInterrupt
            return super().sign(message)

    with Store.open(path, signer=Interrupted(signer.public, signer, 1)) as store:  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            store.append("waiver", {"id": "W-1"})
        with pytest.raises(Exception, match="earlier write"):
            store.append("waiver", {"id": "W-2"})
    with Store.open(path, signer=signer) as store:
        assert store.append("waiver", {"id": "W-3"}) == 1
    assert verify_store(path, key=signer.keyid).ok
