"""DSSE envelopes around in-toto statements: the exact bytes that are signed, and one spelling of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evidence_store.errors import StoreError, VerificationError
from evidence_store.keys import PublicKey, Signer
from evidence_store.spelling import HEX256, b64, dump, load, unb64

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX = "https://affidavit.example/evidence/"
SIGNED_LIMIT = 4096
"""Bytes a KMS signs in one piece."""
ENVELOPE_LIMIT = 65536


@dataclass(frozen=True, slots=True)
class Statement:
    """What a leaf of the log says."""

    kind: str
    """Leaf kind, the last but one part of the predicate type."""
    subject: Mapping[str, str]
    """SHA-256 in hex by name."""
    predicate: Mapping[str, Any]
    """The facts."""

    def payload(self) -> bytes:
        """The JSON that is signed."""
        return dump(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in self.subject.items()],
                "predicateType": predicate_type(self.kind),
                "predicate": dict(self.predicate),
            }
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A statement's bytes with the signatures over them."""

    payload: bytes
    """The statement, exactly as signed."""
    signatures: tuple[tuple[str, bytes], ...]
    """Key id and signature, in the order of the file."""

    def file(self) -> bytes:
        """The only spelling of the envelope."""
        signatures = ",".join(f'{{"keyid":"{keyid}","sig":"{b64(sig)}"}}' for keyid, sig in self.signatures)
        text = f'{{"payloadType":"{PAYLOAD_TYPE}","payload":"{b64(self.payload)}","signatures":[{signatures}]}}'
        return text.encode("ascii")

    def signed_by(self, *keys: PublicKey) -> bool:
        """Whether exactly these keys signed, each once and in this order, and all signatures verify."""
        message = pae(self.payload)
        if not keys or [keyid for keyid, _ in self.signatures] != [key.fingerprint for key in keys]:
            return False
        return all(key.verifies(sig, message) for key, (_, sig) in zip(keys, self.signatures, strict=True))


def predicate_type(kind: str) -> str:
    """The URI that says what a statement's predicate means."""
    return f"{PREDICATE_PREFIX}{kind}/v1"


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and length stand before the payload."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def sign_statement(statement: Statement, signers: Sequence[Signer]) -> bytes:
    """The envelope file of a statement, signed by each signer.

    Raises:
        StoreError: the statement is not plain JSON, or too long to be signed in one piece.
    """
    try:
        payload = statement.payload()
    except ValueError as error:
        raise StoreError(f"a {statement.kind} statement is {error}", "pass strings, numbers and lists") from error
    message = pae(payload)
    if len(message) > SIGNED_LIMIT:
        raise StoreError(
            f"a {statement.kind} statement is {len(message)} bytes, more than {SIGNED_LIMIT}",
            "put the long part into the plan or the results and name its sha256 here",
        )
    return Envelope(payload, tuple((signer.keyid, signer.sign(message)) for signer in signers)).file()


def open_envelope(data: bytes) -> Envelope:
    """Parse an envelope file; its signatures are not checked yet.

    Raises:
        VerificationError: it is not an envelope, or not spelt as this package spells one.
    """
    if len(data) > ENVELOPE_LIMIT:
        raise _wrong("is too long")
    try:
        value = load(data)
        payload = unb64(value["payload"])
        signatures = tuple((str(entry["keyid"]), unb64(entry["sig"])) for entry in value["signatures"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong("is not a DSSE envelope") from error
    envelope = Envelope(payload, signatures)
    if len(signatures) > 8 or any(not HEX256.fullmatch(keyid) for keyid, _ in signatures) or envelope.file() != data:
        raise _wrong("is not spelt as a DSSE envelope of this store")
    return envelope


def open_statement(payload: bytes) -> Statement:
    """Parse a statement.

    Raises:
        VerificationError: it is not an in-toto statement of this store.
    """
    try:
        value = load(payload)
        if list(value) != ["_type", "subject", "predicateType", "predicate"] or value["_type"] != STATEMENT_TYPE:
            raise ValueError("other fields")
        kind = value["predicateType"].removeprefix(PREDICATE_PREFIX).removesuffix("/v1")
        subject = {entry["name"]: entry["digest"]["sha256"] for entry in value["subject"]}
        subjects = [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subject.items()]
        if value["predicateType"] != predicate_type(kind) or value["subject"] != subjects:
            raise ValueError("other spelling")
        if not all(isinstance(name, str) and HEX256.fullmatch(sha256) for name, sha256 in subject.items()):
            raise ValueError("not a name and a digest")
        return Statement(kind, subject, load(dump(value["predicate"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong("holds no statement of this store") from error


def _wrong(what: str) -> VerificationError:
    return VerificationError(f"the envelope {what}", "compare with a copy held elsewhere")
