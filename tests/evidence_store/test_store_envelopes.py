"""Signed notes and DSSE envelopes: exact bytes, public vectors, one spelling, closed when in doubt."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence_store import dsse, note, spelling
from evidence_store.dsse import Statement
from evidence_store.errors import StoreError, VerificationError
from evidence_store.keys import FileSigner, PublicKey
from evidence_store.note import Checkpoint

# golang.org/x/mod/sumdb/note, documented example.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""


def test_the_note_of_go_opens_and_its_key_is_spelt_the_same() -> None:
    key = PublicKey(Ed25519PublicKey.from_public_bytes(base64.b64decode(GO_KEY.split("+", 2)[2])[1:]))
    assert note.verifier_key("PeterNeumann", key) == GO_KEY
    assert note.open_note(GO_NOTE.encode(), "PeterNeumann", key).startswith("If you think")


@pytest.fixture
def signed(signer: FileSigner) -> bytes:
    return note.sign_note(Checkpoint("log.example/a", 12, bytes(32)).text(), "log.example/a", signer)


def test_a_checkpoint_comes_back(signed: bytes, signer: FileSigner) -> None:
    assert note.open_checkpoint(signed, "log.example/a", signer.public) == Checkpoint("log.example/a", 12, bytes(32))


def test_no_flipped_bit_of_a_checkpoint_passes(signed: bytes, signer: FileSigner) -> None:
    for place in range(len(signed)):
        for bit in range(8):
            altered = bytearray(signed)
            altered[place] ^= 1 << bit
            with pytest.raises(VerificationError):
                note.open_checkpoint(bytes(altered), "log.example/a", signer.public)


def test_a_checkpoint_of_another_log_or_key_or_with_more_is_refused(
    signed: bytes, signer: FileSigner, other_signer: FileSigner
) -> None:
    line = signed.split(b"\n\n")[1]
    for data, origin, key in (
        (signed, "log.example/b", signer.public),
        (signed, "log.example/a", other_signer.public),
        (signed + line, "log.example/a", signer.public),
        (signed + b"\n", "log.example/a", signer.public),
        (b"x" * 5000, "log.example/a", signer.public),
        (b"", "log.example/a", signer.public),
    ):
        with pytest.raises(VerificationError):
            note.open_checkpoint(data, origin, key)


@pytest.mark.parametrize(
    "text",
    [
        "log.example/a\n012\n" + "A" * 43 + "=\n",
        "log.example/a\n-1\n" + "A" * 43 + "=\n",
        "log.example/a\n1\nAAAA\n",
        "log.example/a\n1\n" + "A" * 42 + "B=\n",
        "log.example/a\n1\n" + "A" * 43 + "=\nextension\n",
        "log.example/b\n1\n" + "A" * 43 + "=\n",
        "log.example/a\n" + "1" * 13 + "\n" + "A" * 43 + "=\n",
    ],
)
def test_signed_text_that_is_not_a_checkpoint_is_refused(text: str, signer: FileSigner) -> None:
    with pytest.raises(VerificationError):
        note.open_checkpoint(note.sign_note(text, "log.example/a", signer), "log.example/a", signer.public)


@pytest.fixture
def envelope(signer: FileSigner) -> bytes:
    return dsse.sign_statement(Statement("gap", {"plan.json": "ab" * 32}, {"index": 3, "n": 1.5}), [signer])


def test_an_envelope_has_the_spelling_others_expect(envelope: bytes, signer: FileSigner) -> None:
    value = json.loads(envelope)
    assert list(value) == ["payloadType", "payload", "signatures"]
    assert json.dumps(value, separators=(",", ":")).encode() == envelope
    statement = json.loads(base64.b64decode(value["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://affidavit.example/evidence/gap/v1"
    assert statement["subject"] == [{"name": "plan.json", "digest": {"sha256": "ab" * 32}}]
    opened = dsse.open_envelope(envelope)
    assert opened.signed_by(signer.public)
    assert dsse.open_statement(opened.payload).predicate == {"index": 3, "n": 1.5}


def test_openssl_verifies_an_envelope_without_us(envelope: bytes, signer: FileSigner, tmp_path: Path) -> None:
    value = json.loads(envelope)
    payload = base64.b64decode(value["payload"])
    (tmp_path / "pae").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload)
    (tmp_path / "sig").write_bytes(base64.b64decode(value["signatures"][0]["sig"]))
    (tmp_path / "key.pem").write_text(signer.public.pem())
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "pae",
        "-sigfile",
        "sig",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "pae").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_no_flipped_bit_of_an_envelope_passes(envelope: bytes, signer: FileSigner) -> None:
    for place in range(len(envelope)):
        altered = bytearray(envelope)
        altered[place] ^= 1 << (place % 8)
        try:
            accepted = dsse.open_envelope(bytes(altered)).signed_by(signer.public)
        except VerificationError:
            accepted = False
        assert not accepted, f"byte {place}"


def test_another_spelling_of_the_same_envelope_is_refused(envelope: bytes) -> None:
    value = json.loads(envelope)
    pretty = json.dumps(value).encode()
    twice = envelope[:-1] + b',"payloadType":"application/vnd.in-toto+json"}'
    tail = json.loads(envelope)
    tail["signatures"][0]["sig"] = tail["signatures"][0]["sig"][:-3] + "R=="
    unsigned = value | {"signatures": [{"keyid": "not hex", "sig": ""}]}
    many = value | {"signatures": value["signatures"] * 9}
    for other in (pretty, envelope + b"\n", twice, b"[]", b"{}", b"[" * 5000, b"", b"x" * 70000):
        with pytest.raises(VerificationError):
            dsse.open_envelope(other)
    for changed in (tail, unsigned, many):
        with pytest.raises(VerificationError):
            dsse.open_envelope(json.dumps(changed, separators=(",", ":")).encode())


def test_an_envelope_without_signature_is_signed_by_nobody(envelope: bytes, signer: FileSigner) -> None:
    value = json.loads(envelope) | {"signatures": []}
    assert not dsse.open_envelope(json.dumps(value, separators=(",", ":")).encode()).signed_by(signer.public)


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b'{"_type":"x","subject":[],"predicateType":"y","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"y","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://affidavit.example/evidence/gap/v1","predicate":[]}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"zz"}}],"predicateType":"https://affidavit.example/evidence/gap/v1","predicate":{}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://affidavit.example/evidence/gap/v1","predicate":{"a":1,"a":2}}',
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://affidavit.example/evidence/gap/v1","predicate":{},"more":1}',
    ],
)
def test_a_payload_that_is_no_statement_is_refused(payload: bytes) -> None:
    with pytest.raises(VerificationError):
        dsse.open_statement(payload)


def test_what_cannot_be_signed_says_so(signer: FileSigner) -> None:
    with pytest.raises(StoreError, match="more than 4096"):
        dsse.sign_statement(Statement("gap", {}, {"long": "x" * 4096}), [signer])
    with pytest.raises(StoreError, match="not plain JSON"):
        dsse.sign_statement(Statement("gap", {}, {"set": {1}}), [signer])


def test_base64_has_one_spelling() -> None:
    assert spelling.unb64("YQ==") == b"a"
    for other in ("YR==", "YQ", "YQ= =", "YQ==\n", "Y_==", "é"):
        with pytest.raises(ValueError, match="base64"):
            spelling.unb64(other)


def test_duplicate_names_and_deep_nesting_are_refused() -> None:
    assert spelling.load(b'{"a": 1, "b": {"a": 2}}') == {"a": 1, "b": {"a": 2}}
    for data in (b'{"a":1,"a":1}', b'{"b":{"a":1, "a":2}}', b"[]", b"{", b'{"a":' + b"[" * 3000, b'{"a":NaN}'):
        with pytest.raises(ValueError):  # noqa: PT011 - any refusal will do
            spelling.load(data)
    for depth in (300, 1000):
        with pytest.raises(ValueError):  # noqa: PT011 - any refusal will do
            spelling.load(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")


def test_times_have_one_spelling() -> None:
    moment = spelling.unstamp("2026-02-01T02:00:03.123Z")
    assert spelling.stamp(moment) == "2026-02-01T02:00:03.123Z"
    for text in ("2026-02-01T02:00:03Z", "2026-02-01T02:00:03.123+00:00", "2026-02-01", None, "Z"):
        with pytest.raises(ValueError):  # noqa: PT011 - any refusal will do
            spelling.unstamp(text)
    with pytest.raises(ValueError, match="zone"):
        spelling.stamp(moment.replace(tzinfo=None))
