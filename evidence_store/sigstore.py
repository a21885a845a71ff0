"""A seal as a Sigstore bundle v0.3, for verifiers of that world; made from the envelope, so it can say nothing else."""

from __future__ import annotations

from evidence_store.dsse import PAYLOAD_TYPE, Envelope
from evidence_store.errors import VerificationError
from evidence_store.spelling import b64, dump, load, unb64

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def spell(envelope: Envelope, token: bytes | None) -> bytes:
    """The file for an envelope with one signature, and a time stamp over the bytes of that signature."""
    ((keyid, signature),) = envelope.signatures
    stamps = [] if token is None else [{"signedTimestamp": b64(token)}]
    return dump(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {
                "publicKey": {"hint": keyid},
                "tlogEntries": [],
                "timestampVerificationData": {"rfc3161Timestamps": stamps},
            },
            "dsseEnvelope": {
                "payload": b64(envelope.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": b64(signature), "keyid": keyid}],
            },
        }
    )


def read(data: bytes, envelope: Envelope) -> bytes | None:
    """The time stamp in the file of this envelope, if it holds one; it is not checked yet.

    Raises:
        VerificationError: the file is not that of this envelope.
    """
    try:
        stamps = load(data)["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
        token = unb64(stamps[0]["signedTimestamp"]) if stamps else None
        if spell(envelope, token) != data:
            raise ValueError("other content")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise VerificationError(
            "is not spelt as the Sigstore bundle of the seal", "compare with a copy held elsewhere"
        ) from error
    return token
