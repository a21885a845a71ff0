"""Proves one reply, or one field of it, against a head of the log: nothing else of the run is shown.

The proof climbs three trees: the span in its reply, the line in its run, the leaf that ended the run in the log. A
field is proven through the public line of its reply, so that the digest of the whole body stays unsaid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evidence_store import layout, lines
from evidence_store.errors import UsageError, VerificationError
from evidence_store.keychain import KeyChain
from evidence_store.keys import PublicKey, fingerprint_of
from evidence_store.log import RUN_ABORT, RUN_CLOSE, Leaf, open_leaf
from evidence_store.merkle import inclusion_proof, leaf_hash, tree_root, verify_inclusion
from evidence_store.note import Checkpoint, open_checkpoint
from evidence_store.redaction import spans_of
from evidence_store.run import SealedRun
from evidence_store.spans import SPAN_LIMIT, open_span, public_line, shown_span, span_leaf
from evidence_store.spelling import HEX256, b64, dump, load, unb64

SCHEMA = "affidavit.disclosure/1"
PROOF_LIMIT = 512 << 20
FIELDS = ("schema", "origin", "size", "root", "key", "run", "reply", "leaf", "line", "shown")


@dataclass(frozen=True, slots=True)
class Disclosed:
    """What a proof showed."""

    run: int
    reply: int
    """Number of its line in the manifest of the run."""
    recorded_on: str
    """When the run was sealed, by the clock of the collector."""
    line: dict[str, Any]
    """What was asked, by whom, when, and what came back, without the body."""
    span: int | None
    """Which span of the reply; ``None`` when the whole body is shown."""
    spans: str
    """Root over the spans of the reply; empty when the whole body is shown."""
    leaf: bytes
    """Hash of the span; empty when the whole body is shown."""
    content: bytes
    """The field, or the body, exactly as received."""

    def as_row(self) -> dict[str, Any]:
        """How it is printed; bytes that are not UTF-8 are escaped."""
        return {
            "schema": "affidavit.disclosed/1",
            "run": self.run,
            "reply": self.reply,
            "recordedOn": self.recorded_on,
            "span": self.span,
            "operation": self.line.get("op"),
            "task": self.line.get("task"),
            "sent": self.line.get("t"),
            "content": self.content.decode("utf-8", "backslashreplace"),
        }


def disclose(
    run: SealedRun, leaves: Sequence[Leaf], keys: KeyChain, origin: str, reply: int, *, span: int | None, size: int
) -> bytes:
    """The proof of one reply, or one of its spans, against the head over the first ``size`` leaves.

    Raises:
        UsageError: there is no such reply, span or head, or the reply was sealed whole.
        ErasedError: the body was erased.
        TamperedError: something in the store is not what was sealed.
    """
    if not run.closing or not run.closing["index"] < size <= len(leaves):
        raise UsageError(f"the head over {size} leaves does not cover run {run.number}", "name a later checkpoint")
    exact = list(run.lines_of(layout.MANIFEST))
    if not 0 <= reply < len(exact):
        raise UsageError(f"run {run.number} has no reply {reply}", f"choose one of 0 to {len(exact) - 1}")
    line = lines.parse(reply, exact[reply])
    shown: dict[str, Any]
    if span is None:
        if not line.get("sha256"):
            raise UsageError(f"reply {reply} has no body", "its line is in the manifest")
        body = run.object(line["sha256"])
        stream, number, shown = layout.MANIFEST, reply, {"body": b64(body)}
        hashes, text = [leaf_hash(one) for one in exact], exact[reply]
    else:
        seed = run.seed()
        if seed is None or "spans" not in line:
            raise UsageError(f"reply {reply} was sealed whole", "disclose it without --span or --field")
        spans = spans_of(run, seed, line)
        if not 0 <= span < len(spans.pieces):
            fields = f"fields are the odd ones up to {len(spans.pieces) - 2}"
            raise UsageError(f"reply {reply} has no span {span}", fields)
        replies = [parsed for place, one in enumerate(exact) if "spans" in (parsed := lines.parse(place, one))]
        public = [public_line(place, one, seed) for place, one in enumerate(replies)]
        number = next(place for place, one in enumerate(replies) if one["i"] == reply)
        stream, hashes, text = "spans", [leaf_hash(one) for one in public], public[number]
        proof = _hexes(inclusion_proof(span, spans.leaves()))
        shown = {"span": span, **shown_span(spans, span), "proof": proof}
    tree = [leaf_hash(leaf.data) for leaf in leaves[:size]]
    index = run.closing["index"]
    return dump(
        {
            "schema": SCHEMA,
            "origin": origin,
            "size": size,
            "root": tree_root(tree).hex(),
            "key": b64(keys.at(size).spki),
            "run": run.number,
            "reply": reply,
            "leaf": {
                "index": index,
                "envelope": leaves[index].data.decode(),
                "proof": _hexes(inclusion_proof(index, tree)),
            },
            "line": {
                "stream": stream.removesuffix(".ndjson"),
                "number": number,
                "text": text.decode(),
                "proof": _hexes(inclusion_proof(number, hashes)),
            },
            "shown": shown,
        }
    )


def check(proof: bytes, head: Checkpoint) -> Disclosed:
    """What a proof shows, once it holds against a head that is trusted.

    Raises:
        VerificationError: it does not, whatever is wrong with it.
    """
    try:
        return _checked(_value(proof), head)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _wrong(f"is not one this release can read ({type(error).__name__})") from error


def check_with_note(proof: bytes, note: bytes, key: str) -> Disclosed:
    """What a proof shows, against a checkpoint file that was kept elsewhere and a fingerprint.

    Raises:
        VerificationError: the note is not signed by that key, or the proof does not hold.
        UsageError: the fingerprint is none.
    """
    try:
        value = _value(proof)
        signer = PublicKey.from_spki(unb64(value["key"]))
        origin = str(value["origin"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _wrong("is not one this release can read") from error
    if signer.fingerprint != fingerprint_of(key):
        raise _wrong(f"is for a checkpoint signed by {signer.fingerprint}, not by {fingerprint_of(key)}")
    return check(proof, open_checkpoint(note, origin, signer))


def _value(proof: bytes) -> dict[str, Any]:
    if len(proof) > PROOF_LIMIT:
        raise ValueError("too long")
    value = load(proof)
    if tuple(value) != FIELDS or value["schema"] != SCHEMA or dump(value) != proof:
        raise ValueError("other fields")
    return value


def _checked(value: dict[str, Any], head: Checkpoint) -> Disclosed:
    if value["origin"] != head.origin:
        raise _wrong(f"is of the log {value['origin']!a}, the head is of {head.origin}")
    if value["size"] != head.size or value["root"] != head.root.hex():
        raise _wrong(f"is against a head of {value['size']} leaves, this is another, of {head.size}")
    entry, line, shown = value["leaf"], value["line"], value["shown"]
    data = entry["envelope"].encode()
    if not verify_inclusion(_number(entry["index"]), head.size, leaf_hash(data), _bytes(entry["proof"]), head.root):
        raise _wrong("names a leaf that is not in the log")
    leaf = open_leaf(entry["index"], data)
    if leaf.kind not in (RUN_CLOSE, RUN_ABORT) or leaf.predicate["run"] != _number(value["run"]):
        raise _wrong("names a leaf that does not end this run")
    whole = set(shown) == {"body"}
    stream = "manifest" if whole else "spans"
    facts = leaf.predicate.get(stream)
    if line["stream"] != stream or not isinstance(facts, dict):
        raise _wrong("names lines that the run does not have")
    text, root = line["text"].encode(), bytes.fromhex(facts["root"])
    if not verify_inclusion(_number(line["number"]), facts["leaves"], leaf_hash(text), _bytes(line["proof"]), root):
        raise _wrong("names a line that is not in the run")
    told = lines.parse(line["number"], text)
    if told["i" if whole else "reply"] != _number(value["reply"]):
        raise _wrong("is of another reply than it says")
    recorded_on = str(leaf.predicate["recordedOn"])
    if whole:
        body = unb64(shown["body"])
        if hashlib.sha256(body).hexdigest() != told["sha256"]:
            raise _wrong("shows another body than was received")
        return Disclosed(value["run"], value["reply"], recorded_on, told, None, "", b"", body)
    if set(shown) not in ({"span", "salt", "text", "proof"}, {"span", "salt", "data", "proof"}):
        raise _wrong("shows nothing")
    salt, content = open_span({name: shown[name] for name in shown if name not in ("span", "proof")})
    hashed, count = span_leaf(salt, content), _number(told["spanCount"])
    if count > SPAN_LIMIT or not verify_inclusion(
        _number(shown["span"]), count, hashed, _bytes(shown["proof"]), bytes.fromhex(told["spans"])
    ):
        raise _wrong("shows another span than was received")
    return Disclosed(value["run"], value["reply"], recorded_on, told, shown["span"], told["spans"], hashed, content)


def _number(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a number")
    return value


def _hexes(hashes: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in hashes]


def _bytes(hexes: Sequence[str]) -> list[bytes]:
    if len(hexes) > 64 or not all(HEX256.fullmatch(one) for one in hexes):
        raise ValueError("not hashes")
    return [bytes.fromhex(one) for one in hexes]


def _wrong(what: str) -> VerificationError:
    return VerificationError(f"the disclosure {what}", "ask for it again, against a checkpoint that you hold")
