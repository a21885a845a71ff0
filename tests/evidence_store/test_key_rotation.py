"""A log changes hands by a leaf that both keys sign and by nothing else; what a revoked key signed late is void."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Clock, fill
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_key_p256 import p256
from test_store_timestamps import Tsa

from evidence_store import layout, log, note, timestamps
from evidence_store.dsse import Statement, open_envelope, sign_statement
from evidence_store.errors import TamperedError, UsageError
from evidence_store.history import genesis_facts, store_json
from evidence_store.keychain import KeyChain, Revocation, transition_facts
from evidence_store.keys import FileSigner, Signer
from evidence_store.merkle import Frontier, leaf_hash
from evidence_store.note import Checkpoint
from evidence_store.spelling import load
from evidence_store.store import Store
from evidence_store.timestamps import Authority
from evidence_store.verify import Verification, verify_store

ORIGIN = "evidence.acme.example/prod"
A, B, C = (FileSigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)) for seed in (7, 8, 9))
P = p256()


def said(found: Verification) -> str:
    return "; ".join(problem.what for problem in found.problems)


def handed_over(path: Path, *signers: Signer, clock: Callable[[], datetime] | None = None) -> Path:
    """A store that each key signed for a while."""
    clock = clock or Clock()
    Store.create(path, origin=ORIGIN, signer=signers[0], clock=clock).close()
    for number, signer in enumerate(signers):
        with Store.open(path, signer=signer, clock=clock) as store:
            run = store.begin({}, b"{}")
            run.add_reply({"op": "x", "sha256": run.add_object(b"body %d" % number)})
            run.close([{"check": "c", "outcome": "PASS"}], {})
            if number + 1 < len(signers):
                store.rotate(signers[number + 1], "yearly")
    return path


@pytest.mark.parametrize("keys", [(A, B), (A, P), (P, A), (A, B, C), (A, P, B)], ids=["AB", "AP", "PA", "ABC", "APB"])
def test_after_a_rotation_the_store_works_and_any_key_of_the_chain_may_be_pinned(
    ram: Path, keys: tuple[Signer, ...]
) -> None:
    path = handed_over(ram / "s", *keys)
    for key in keys:
        found = verify_store(path, key=key.keyid)
        assert found.ok, found.problems
        assert found.facts["key"] == keys[-1].keyid
        assert found.facts["earlierKeys"] == [key.keyid for key in keys[:-1]]
        Store.open(path, key=key.keyid).close()
    for stranger in {A, B, C, P} - {*keys}:
        assert "not by" in said(verify_store(path, key=stranger.keyid))
        with pytest.raises(TamperedError, match="not by"):
            Store.open(path, key=stranger.keyid)
    entries = load((path / layout.TRUST).read_bytes())["keys"]
    assert [(entry["keyid"], entry["scheme"]) for entry in entries] == [(k.keyid, k.public.scheme) for k in keys]
    assert [entry["vkey"] for entry in entries] == [note.verifier_key(ORIGIN, k.public) for k in keys]
    with Store.open(path) as store:
        assert [key.fingerprint for key in store.keys] == [key.keyid for key in keys]
        assert [entry["fromIndex"] for entry in entries] == store.key_chain.starts
        assert store.fingerprint == keys[-1].keyid
        assert len(list(store.run(1).replies())) == 1


def test_the_transition_leaf_is_signed_by_both_and_its_checkpoint_by_the_new_key(ram: Path) -> None:
    path = handed_over(ram / "s", A, B)
    entries = [data for _, data in log.frames((path / layout.ENTRIES).read_bytes())]
    leaf = log.open_leaf(3, entries[3])
    assert leaf.kind == "key-transition"
    assert [keyid for keyid, _ in leaf.envelope.signatures] == [A.keyid, B.keyid]
    assert leaf.envelope.signed_by(A.public, B.public)
    assert {name: leaf.predicate[name] for name in ("oldKey", "newKey", "fromIndex", "reason")} == {
        "oldKey": A.keyid,
        "newKey": {"scheme": "ed25519", "pem": B.public.pem()},
        "fromIndex": 4,
        "reason": "yearly",
    }
    note.open_checkpoint((path / layout.note_name(3)).read_bytes(), ORIGIN, A.public)
    note.open_checkpoint((path / layout.note_name(4)).read_bytes(), ORIGIN, B.public)


def test_a_retired_key_no_longer_opens_the_store_and_never_comes_back(ram: Path) -> None:
    path = handed_over(ram / "s", A, B)
    before = (path / layout.ENTRIES).read_bytes()
    with pytest.raises(UsageError, match=f"{A.keyid} no longer signs .*: leaf 3 retired it") as caught:
        Store.open(path, signer=A)
    assert B.keyid in caught.value.next_step
    with pytest.raises(TamperedError, match="not by"):
        Store.open(path, signer=C)
    with Store.open(path, signer=B) as store:
        for old in (A, B):
            with pytest.raises(UsageError, match="signed this log before"):
                store.rotate(old, "back")
        run = store.begin({}, b"{}")
        with pytest.raises(UsageError, match="still open"):
            store.rotate(C, "too early")
        run.abort("x")
    assert (path / layout.ENTRIES).read_bytes().startswith(before)
    with Store.open(path) as store, pytest.raises(UsageError, match="not open for writing"):
        store.rotate(C, "reader")


Step = tuple[str, dict[str, Any], Sequence[Signer], Signer]
"""Kind, facts, who signs the leaf, who signs the checkpoint over it."""


def forge(path: Path, steps: Sequence[Step], trust: Sequence[Signer] = (A,), starts: Sequence[int] = (0,)) -> Path:
    """A store written byte by byte by somebody who holds these keys and none of our scruples; leaf 0 is by A."""
    for name in ("", *layout.FOLDERS):
        (path / name).mkdir()
    first = KeyChain([A.public]).trust(ORIGIN)
    identity = {layout.STORE: store_json(ORIGIN, "2026-02-01T02:00:00.000Z"), layout.TRUST: first}
    clock, tree, entries, last = Clock(), Frontier(), b"", b""
    subject = {name: hashlib.sha256(data).hexdigest() for name, data in identity.items()}
    for index, (kind, facts, signers, signer) in enumerate(
        [("genesis", genesis_facts(ORIGIN, A.public, {}), [A], A), *steps]
    ):
        if index:
            subject = {layout.note_name(index): hashlib.sha256(last).hexdigest()}
        data = sign_statement(Statement(kind, subject, log.leaf_predicate(index, clock(), dict(facts))), signers)
        tree.add(leaf_hash(data))
        entries += log.frame(data)
        last = note.sign_note(Checkpoint(ORIGIN, index + 1, tree.root()).text(), ORIGIN, signer)
        (path / layout.note_name(index + 1)).write_bytes(last)
    identity |= {layout.ENTRIES: entries, layout.TRUST: KeyChain([k.public for k in trust], [*starts]).trust(ORIGIN)}
    for name, data in identity.items():
        (path / name).write_bytes(data)
    return path


def hand(old: Signer, new: Signer, index: int, signers: Sequence[Signer], by: Signer, **other: Any) -> Step:
    return "key-transition", transition_facts(old.public, new.public, index, "why") | other, signers, by


FACT: dict[str, Any] = {"id": "W-1"}


def test_what_the_forger_writes_as_we_do_verifies(ram: Path) -> None:
    """So that the refusals below are for their reason, and not for a slip of the forger."""
    path = forge(
        ram / "s",
        [("waiver", FACT, [A], A), hand(A, B, 2, [A, B], B), ("waiver", FACT, [B], B), hand(B, P, 4, [B, P], P)],
        [A, B, P],
        [0, 3, 5],
    )
    for key in (A, B, P):
        assert verify_store(path, key=key.keyid).ok, verify_store(path, key=key.keyid).problems


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([hand(A, B, 1, [B], B)], "not signed by both"),
        ([hand(A, B, 1, [A], B)], "not signed by both"),
        ([hand(A, B, 1, [A], A)], "not signed by both"),
        ([hand(A, B, 1, [B, A], B)], "not signed by both"),
        ([hand(A, B, 1, [A, A], B)], "not signed by both"),
        ([hand(A, B, 1, [A, B, B], B)], "not signed by both"),
        ([hand(A, B, 1, [A, C], B)], "not signed by both"),
        ([hand(A, B, 1, [], B)], "not signed by both"),
        ([hand(A, A, 1, [A, A], A)], "was used before"),
        ([hand(A, B, 1, [A, B], B), hand(A, C, 2, [A, C], C)], "no transition from"),
        ([hand(A, B, 1, [A, B], B), hand(B, A, 2, [B, A], A)], "was used before"),
        ([hand(B, C, 1, [B, C], C)], "no transition from"),
        ([hand(A, B, 1, [A, B], B, fromIndex=1)], "no transition from"),
        ([hand(A, B, 1, [A, B], B, fromIndex=True)], "no transition from"),
        ([hand(A, B, 1, [A, B], B, newKey={"scheme": "ed25519", "pem": "x"})], "no transition from"),
        ([hand(A, B, 1, [A, B], B, newKey=[B.public.pem()])], "no transition from"),
        ([hand(A, B, 1, [A, B], B, newKey={"scheme": "other", "pem": B.public.pem()})], "no transition from"),
        ([hand(A, B, 1, [A, B], B, reason=7)], "no transition from"),
        ([hand(A, B, 1, [A, B], B, more=1)], "no transition from"),
        ([hand(A, B, 1, [A, B], A)], "another key"),
        ([hand(A, B, 1, [A, B], B), ("waiver", FACT, [A], B)], f"claims {A.keyid}, which leaf 1 retired"),
        ([hand(A, B, 1, [A, B], B), ("waiver", FACT, [B, A], B)], "is not signed by"),
        ([hand(A, B, 1, [A, B], B), ("waiver", FACT, [B], A)], "another key"),
        ([hand(A, B, 1, [A, B], B), hand(B, C, 2, [A, C], C)], "not signed by both"),
        ([("waiver", FACT, [A], A), ("waiver", FACT, [B], B)], "is not signed by"),
        ([("key-revocation", {"key": A.keyid, "lastGoodIndex": 0, "reason": "x"}, [A], A)], "signs now"),
        ([("key-revocation", {"key": B.keyid, "lastGoodIndex": 0, "reason": "x"}, [A], A)], "never signed"),
    ],
)  # fmt: skip
def test_every_other_way_to_hand_over_is_refused(ram: Path, steps: list[Step], words: str) -> None:
    """New key only, old key only, skipped link, retired key in leaves and in notes, and the spellings around them."""
    path = forge(ram / "s", steps)
    for key in (A, B, C):
        found = verify_store(path, key=key.keyid)
        assert not found.ok
        assert not found.authenticated
        assert words in said(found)
    with pytest.raises(TamperedError):
        Store.open(path)


def test_our_own_writer_does_not_write_them_either(ram: Path) -> None:
    path = handed_over(ram / "s", A, B)
    before = (path / layout.ENTRIES).read_bytes()
    for kind, facts in (
        ("key-transition", transition_facts(B.public, C.public, 6, "x")),
        ("key-revocation", {"key": C.keyid, "lastGoodIndex": 0, "reason": "x"}),
        ("key-revocation", {"key": A.keyid, "lastGoodIndex": "0", "reason": "x"}),
        ("key-revocation", {"key": A.keyid, "lastGoodIndex": 0}),
        ("key-revocation", {"key": A.keyid, "lastGoodIndex": 0, "reason": "x", "more": 1}),
    ):
        with Store.open(path, signer=B) as store:
            writer = store._log
            assert writer is not None
            with pytest.raises(TamperedError, match="leaf 6"):
                writer.append(kind, facts, {})
    with Store.open(path, signer=B) as store:
        for kind in ("key-transition", "key-revocation"):
            with pytest.raises(UsageError, match="not a kind of leaf that can be appended"):
                store.append(kind, {})
    assert (path / layout.ENTRIES).read_bytes() == before


def test_the_list_of_keys_is_made_from_the_log_and_every_change_to_it_shows(ram: Path) -> None:
    path = handed_over(ram / "s", A, B)
    trust = path / layout.TRUST
    good = trust.read_bytes()
    stale, foreign = KeyChain([A.public]).trust(ORIGIN), KeyChain([A.public, C.public], [0, 4]).trust(ORIGIN)
    for bad in (foreign, good[:-1], good + b"\n", good.replace(b'"fromIndex":4', b'"fromIndex":3'), b""):
        trust.write_bytes(bad)
        assert layout.TRUST in {problem.path for problem in verify_store(path, key=B.keyid).problems}
        with pytest.raises(TamperedError, match=r"trust\.json"):
            Store.open(path)
    trust.write_bytes(stale)
    found = verify_store(path, key=B.keyid)
    assert [problem.path for problem in found.problems] == [layout.TRUST]
    assert "opening the store for writing" in said(found)
    Store.open(path).close()
    Store.open(path, signer=B).close()
    assert trust.read_bytes() == good
    assert verify_store(path, key=B.keyid).ok


def test_a_store_made_before_keys_could_change_still_reads(ram: Path) -> None:
    """The first list of keys keeps its spelling: leaf 0 of every store that exists names its digest."""
    path = ram / "s"
    with Store.create(path, origin=ORIGIN, signer=A) as store:
        fill(store)
    assert (path / layout.TRUST).read_bytes() == (
        b'{"keys":[{"keyid":"%s","scheme":"ed25519","fromIndex":0,"pem":"%s","vkey":"%s"}]}'
        % (
            A.keyid.encode(),
            A.public.pem().replace("\n", "\\n").encode(),
            note.verifier_key(ORIGIN, A.public).encode(),
        )
    )
    assert "earlierKeys" not in verify_store(path, key=A.keyid).facts


def chain_of(path: Path) -> KeyChain:
    with Store.open(path) as store:
        return store.key_chain


def test_a_revocation_is_recorded_and_can_only_reach_further_back(ram: Path) -> None:
    path = handed_over(ram / "s", A, B)  # A signs 0 to 3, leaf 3 hands over, B signs 4 and 5
    with Store.open(path, signer=B) as store:
        for key, last_good, words in (
            (B.keyid, 2, "signs now"), (C.keyid, 2, "never signed"), (A.keyid, 4, "last leaf is 3"),
            (A.keyid, -2, "last leaf is 3"), ("no fingerprint", 1, "not a key fingerprint"),
        ):  # fmt: skip
            with pytest.raises(UsageError, match=words):
                store.revoke(key, last_good, "x")
        assert store.revoke(A.keyid, 2, "laptop stolen") == 6
        with pytest.raises(UsageError, match="already revokes"):
            store.revoke(A.keyid, 2, "again")
        assert store.revoke("sha256:" + A.keyid.upper(), 1, "earlier than thought") == 7
    assert chain_of(path).revocations[A.keyid].last_good == 1
    assert load((path / layout.TRUST).read_bytes())["keys"][0]["lastGoodIndex"] == 1
    with Store.open(path, signer=B) as store:
        store.append("waiver", {"id": "the store goes on"})


def test_a_revoked_key_vouches_for_nothing_that_nobody_saw_in_time(ram: Path) -> None:
    path = handed_over(ram / "s", A, B)
    with Store.open(path, signer=B) as store:
        store.revoke(A.keyid, 3, "retired device lost")
    for key in (A, B):
        found = verify_store(path, key=key.keyid)
        assert not found.ok
        assert "leaves 0 to 2 are signed by " in said(found)
        assert "no outside time older than that covers them" in said(found)


def revoked(last_good: int, *, at: int = 6) -> KeyChain:
    """A signs 0 to 4, leaf 4 hands over to B, B signs 5; leaf ``at`` revokes A at noon."""
    return KeyChain([A.public, B.public], [0, 5], {A.keyid: Revocation(A.keyid, last_good, at, NOON)})


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("last_good", "attested", "expected"),
    [
        (4, [], ["leaves 0 to 3 | seen"]),
        (4, [(4, NOON - HOUR)], []),
        (4, [(4, NOON)], []),
        (4, [(4, NOON + HOUR)], ["leaves 0 to 3 | seen"]),
        (4, [(3, NOON - HOUR), (5, NOON + HOUR)], ["leaf 3 | seen"]),
        (2, [(9, NOON - HOUR)], ["leaf 3 | good"]),
        (1, [(9, NOON - HOUR)], ["leaves 2 to 3 | good"]),
        (1, [(1, NOON - HOUR)], ["leaf 1 | seen", "leaves 2 to 3 | good"]),
        (-1, [(9, NOON - HOUR)], ["leaves 0 to 3 | good"]),
        (-1, [], ["leaves 0 to 3 | good"]),
    ],
)
def test_which_leaves_a_revocation_discounts(
    last_good: int, attested: list[tuple[int, datetime]], expected: list[str]
) -> None:
    """The last good leaf counts itself; what came later does not; nor does what nobody had seen by then."""
    found = [
        what.partition(" are ")[0].partition(" is ")[0] + (" | seen" if "no outside" in what else " | good")
        for what in revoked(last_good).discounted(attested)
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("last_good", "attested", "refused"),
    [
        (4, [(5, NOON)], ""),
        (3, [(9, NOON)], "hands over"),
        (4, [(4, NOON)], "no outside"),
        (4, None, ""),
        (3, None, "hands"),
    ],
)
def test_a_pin_on_a_revoked_key_holds_only_while_its_handing_over_does(
    last_good: int, attested: list[tuple[int, datetime]] | None, refused: str
) -> None:
    chain = revoked(last_good)
    assert refused in chain.refuses(A.keyid, attested)
    assert bool(refused) == bool(chain.refuses(A.keyid, attested))
    assert chain.refuses(B.keyid, attested) == "", "the key that followed is not in doubt"
    longer = KeyChain([C.public, *chain.keys], [0, 2, 5], chain.revocations)
    assert bool(longer.refuses(C.keyid, attested)) == bool(refused), "nor does an earlier pin get past a broken link"


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "tsa")


def test_back_dated_use_after_a_revocation_is_detected_and_stamped_history_counts(
    ram: Path, tsa: Tsa, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thief with the retired key and the store cannot write into the past; what was stamped in time still counts."""
    monkeypatch.setattr(timestamps, "ask", lambda authority, data, **_: tsa_reply(tsa, data))
    path, authority = ram / "s", Authority("here", "http://tsa.invalid", tsa.roots)
    Store.create(path, origin=ORIGIN, signer=A).close()
    with Store.open(path, signer=A) as store:
        run = store.begin({}, b"{}")
        run.close([{"check": "c", "outcome": "PASS"}], {})
        assert timestamps.stamp(store, [authority]) == []
        store.rotate(B, "planned")
        with_a = (path / layout.ENTRIES).read_bytes()
        assert timestamps.stamp(store, [authority]) == []
        handover = store.key_chain.starts[1] - 1
        store.revoke(A.keyid, handover, "the old device was sold")
        assert timestamps.stamp(store, [authority]) == []
    for key in (A, B):
        found = verify_store(path, key=key.keyid, tsa_roots=tsa.roots)
        assert found.ok, found.problems
        unchecked = verify_store(path, key=key.keyid)
        assert "no outside time" in said(unchecked), "a token that was not checked attests nothing"

    forged = ram / "forged"
    shutil.copytree(path, forged)
    # The thief cuts the log behind the last leaf that A signed alone, and goes on with A as if nothing had been.
    kept = handover
    for name in list((forged / layout.CHECKPOINTS).iterdir()):
        if int(name.name[:12]) > kept:
            name.unlink()
    frames = [data for _, data in log.frames(with_a)][:kept]
    (forged / layout.ENTRIES).write_bytes(b"".join(log.frame(data) for data in frames))
    (forged / layout.TRUST).write_bytes(KeyChain([A.public]).trust(ORIGIN))
    with Store.open(forged, signer=A) as store:
        store.append("waiver", {"id": "never granted"})
    assert verify_store(forged, key=A.keyid, tsa_roots=tsa.roots).ok, (
        "not stopped here: who still pins the old key and has nothing newer sees a log that ends early"
    )
    caught = verify_store(forged, key=B.keyid, tsa_roots=tsa.roots)
    assert not caught.ok
    assert "not by" in said(caught), "the pin of the key that followed"
    grown = verify_store(path, key=B.keyid, tsa_roots=tsa.roots)
    newest = (path / layout.note_name(grown.leaves)).read_bytes()
    assert note.open_checkpoint(newest, ORIGIN, B.public).size > verify_store(forged, key=A.keyid).leaves, (
        "a copy of any later checkpoint, with an auditor or a witness, shows that the log was cut"
    )


def tsa_reply(tsa: Tsa, data: bytes) -> bytes:
    """A time stamp of the local authority over ``data``, made and checked without a network."""
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    asked = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).cert_request(cert_request=True)
    reply = tsa.reply(asked.build().as_bytes())
    timestamps.check_token(reply, data, tsa.roots)
    return reply


def test_a_signature_swapped_into_another_transition_does_not_count(ram: Path) -> None:
    """Both signatures are over this leaf at this place: none can be carried over from another log or place."""
    later = Clock()
    later.time += timedelta(days=1)
    first, second = handed_over(ram / "a", A, B), handed_over(ram / "b", A, B, clock=later)
    leaves = [[data for _, data in log.frames((p / layout.ENTRIES).read_bytes())][3] for p in (first, second)]
    one, two = (open_envelope(data) for data in leaves)
    assert one.payload != two.payload
    for signatures in ((one.signatures[0], two.signatures[1]), (two.signatures[0], one.signatures[1])):
        assert not replace(one, signatures=signatures).signed_by(A.public, B.public)
    assert one.signed_by(A.public, B.public)
