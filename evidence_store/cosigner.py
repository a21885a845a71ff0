"""Asks a witness (c2sp.org/tlog-witness) to sign the newest checkpoint, and tells a refusal from a fork."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from evidence_store.cosignature import Witness, pick
from evidence_store.errors import AnchorError, ForkError, UsageError, VerificationError
from evidence_store.heads import split_note
from evidence_store.merkle import consistency_proof
from evidence_store.spelling import b64, now
from evidence_store.store import Store
from evidence_store.tokens import cosignature_digests

ANSWER_LIMIT = 16384
SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness and where it is asked."""

    url: str
    """Submission prefix; ``/add-checkpoint`` is put behind it."""
    witness: Witness
    """Its name and key, obtained from who runs it."""


def cosign(store: Store, cosigner: Cosigner, *, timeout_s: float = 10, clock: Callable[[], datetime] = now) -> None:
    """The newest checkpoint carries a cosignature of this witness; no leaf names it yet.

    The witness is asked even where it signed before: it tells whether it has seen more than this store holds.

    Raises:
        AnchorError: the witness did not answer, or does not know the log.
        ForkError: the witness has seen a history that this store does not extend.
    """
    witness, size = cosigner.witness, store.size
    seen = [held for held, keyid in cosignature_digests(store.root) if keyid == witness.keyid]
    hashes, note = store.leaf_hashes(), store.checkpoint
    old = max(seen, default=0)
    status, body = _post(cosigner, _request(old, hashes, note), timeout_s)
    if status == 409 and (known := _size(body)) is not None and known != old:
        if known > size:
            raise _fork(
                witness, f"has signed {known} leaves of {store.origin}, the store holds {size}: its tail was cut, "
                "or an older copy was put in its place"
            )  # fmt: skip
        status, body = _post(cosigner, _request(known, hashes, note), timeout_s)
    if status == 422 or (status == 409 and _size(body) is not None):
        raise _fork(witness, f"refuses the head of {store.origin}: it has seen another history of this log")
    if status != 200:
        hints = {403: "does not trust the key of this log", 404: "does not know this log"}
        raise AnchorError(
            f"witness {witness.name} {hints.get(status, f'answered {status}')}",
            "give its operator the verifier key of the log ('affidavit key show')" if status in hints
            else "nothing is lost: it is asked again with the next run",
        )  # fmt: skip
    try:
        text, _ = split_note(note)
        lines = [line + b"\n" for line in body.removesuffix(b"\n").split(b"\n")]
        line = pick(lines, witness)
        if line is None:
            raise VerificationError("is signed by another key", "compare the key with its operator")
        moment = witness.opened(line, text)
        if abs(moment - clock()) > SKEW:
            raise VerificationError(f"has the time {moment:%Y-%m-%dT%H:%M:%SZ}", "compare the clocks")
    except (ValueError, VerificationError) as error:
        raise AnchorError(
            f"the answer of witness {witness.name} {error}", "check the address and the key of the witness"
        ) from error
    if size not in seen:
        store.keep_cosignature(size, witness.keyid, line)


def _fork(witness: Witness, what: str) -> ForkError:
    return ForkError(f"witness {witness.name} {what}", "keep store and witness as they are and compare; tell auditors")


def _request(old: int, hashes: list[bytes], note: bytes) -> bytes:
    proof = consistency_proof(old, hashes) if old else []
    return "".join([f"old {old}\n", *(f"{b64(step)}\n" for step in proof), "\n"]).encode() + note


def _size(body: bytes) -> int | None:
    return int(body) if re.fullmatch(rb"(0|[1-9][0-9]{0,17})\n", body) else None


def _post(cosigner: Cosigner, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    url = f"{cosigner.url.rstrip('/')}/add-checkpoint"
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{cosigner.url!r} is not an http address", "correct the address of the witness")
    request = urllib.request.Request(url, body, {"Content-Type": "text/plain"})  # noqa: S310 - the scheme was checked
    try:
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310
                return reply.status, reply.read(ANSWER_LIMIT)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read(ANSWER_LIMIT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AnchorError(
            f"witness {cosigner.witness.name} did not answer: {error}",
            "nothing is lost: it is asked again with the next run",
        ) from error
