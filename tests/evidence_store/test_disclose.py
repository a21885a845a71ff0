"""A disclosure proves one reply or one field, and nothing that was changed in it passes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence_store.disclose import Disclosed, check, check_with_note, disclose
from evidence_store.errors import ErasedError, UsageError, VerificationError
from evidence_store.keys import FileSigner
from evidence_store.merkle import tree_root
from evidence_store.note import Checkpoint
from evidence_store.spans import Cut
from evidence_store.store import Store

ORIGIN = "evidence.acme.example/prod"
BODIES = [b'{"n":%d,"email":"p%d@acme.example","tail":"\xff"}' % (n, n) for n in range(5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, signer: FileSigner) -> Path:
    """Two runs; every other reply has a field."""
    path = tmp_path_factory.mktemp("disclose") / "store"
    with Store.create(path, origin=ORIGIN, signer=signer) as store:
        for _ in range(2):
            run = store.begin({}, b"{}")
            for number, body in enumerate(BODIES):
                start = body.index(b'"p')
                cut = Cut("text", ((start, start + len(b'"p0@acme.example"')),))
                spans = run.add_spans(body, cut) if number % 2 else {}
                run.add_reply({"op": "x:Get", "sha256": run.add_object(body), **spans})
            run.add_reply({"op": "x:Denied", "sha256": None})
            run.close([], {})
    return path


def prove(path: Path, number: int, reply: int, span: int | None, size: int = 0) -> tuple[bytes, Checkpoint]:
    with Store.open(path) as store:
        size = size or store.size
        proof = disclose(store.run(number), store.leaves, store.key_chain, ORIGIN, reply, span=span, size=size)
        return proof, Checkpoint(ORIGIN, size, tree_root(store.leaf_hashes()[:size]))


def test_a_field_is_proven_and_nothing_else_is_shown(store: Path) -> None:
    proof, head = prove(store, 1, 3, 1)
    found = check(proof, head)
    assert (found.run, found.reply, found.span) == (1, 3, 1)
    assert found.content == b'"p3@acme.example"'
    assert found.line["op"] == "x:Get"
    assert b'"n":3' not in proof
    with Store.open(store) as opened:
        line = list(opened.run(1).replies())[3]
    assert line["sha256"].encode() not in proof, "the digest of the whole body would let it be guessed"
    assert check(prove(store, 1, 3, 0)[0], head).content == b'{"n":3,"email":'
    assert check(prove(store, 1, 3, 2)[0], head).content == b',"tail":"\xff"}'


@pytest.mark.parametrize("reply", [0, 3])
def test_a_whole_reply_is_proven(store: Path, reply: int) -> None:
    proof, head = prove(store, 2, reply, None)
    found = check(proof, head)
    assert (found.run, found.reply, found.span, found.content) == (2, reply, None, BODIES[reply])


def test_an_older_head_will_do_if_it_covers_the_run(store: Path, signer: FileSigner) -> None:
    proof, head = prove(store, 1, 1, 1, size=3)
    assert check(proof, head).content == b'"p1@acme.example"'
    note = (store / "log/checkpoints/000000000003.note").read_bytes()
    assert check_with_note(proof, note, signer.keyid).content == b'"p1@acme.example"'
    with pytest.raises(UsageError, match="does not cover run 2"):
        prove(store, 2, 1, 1, size=3)
    newest = (store / "log/checkpoints/000000000005.note").read_bytes()
    with pytest.raises(VerificationError, match="against a head of 3 leaves, this is another, of 5"):
        check_with_note(proof, newest, signer.keyid)


def test_the_pinned_key_must_have_signed_the_head(store: Path, signer: FileSigner, other_signer: FileSigner) -> None:
    proof, _ = prove(store, 1, 1, 1)
    note = (store / "log/checkpoints/000000000005.note").read_bytes()
    assert check_with_note(proof, note, signer.keyid).reply == 1
    with pytest.raises(VerificationError, match="signed by"):
        check_with_note(proof, note, other_signer.keyid)
    with pytest.raises(VerificationError):
        check_with_note(proof, note.replace(b"prod", b"test"), signer.keyid)
    with pytest.raises(UsageError):
        check_with_note(proof, note, "not a fingerprint")


def test_what_cannot_be_disclosed(store: Path, tmp_path: Path, signer: FileSigner) -> None:
    for reply, span, words in ((9, 1, "no reply 9"), (0, 1, "sealed whole"), (1, 7, "no span 7"), (5, None, "no body")):
        with pytest.raises(UsageError, match=words):
            prove(store, 1, reply, span)
    path = tmp_path / "s"
    with Store.create(path, origin=ORIGIN, signer=signer) as other:
        run = other.begin({}, b"{}")
        sha256 = run.add_object(BODIES[0])
        run.add_reply({"op": "x", "sha256": sha256})
        run.close([], {})
        other.erase([sha256], basis="asked", approved_by="DPO")
    with pytest.raises(ErasedError, match="erased under leaf 3"):
        prove(path, 1, 0, None)


# Forgery


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every scalar of a document."""
    if isinstance(value, dict):
        return [place for name, item in value.items() for place in _places(item, (*path, name))]
    if isinstance(value, list):
        return [place for number, item in enumerate(value) for place in _places(item, (*path, number))]
    return [path]


def _set(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _same(found: Disclosed, good: Disclosed) -> bool:
    return found == good


@pytest.mark.parametrize("span", [None, 1, 2])
def test_no_forged_value_place_salt_or_hash_passes(store: Path, span: int | None) -> None:
    proof, head = prove(store, 2, 3, span)
    good, document = check(proof, head), orjson.loads(proof)
    places = [place for place in _places(document) if place != ("key",)]

    @settings(max_examples=250, deadline=None)
    @given(st.data())
    def forge(data: st.DataObject) -> None:
        forged = copy.deepcopy(document)
        place = data.draw(st.sampled_from(places))
        old = _get(forged, place)
        if isinstance(old, int):
            new: Any = data.draw(st.sampled_from([old + 1, old - 1, 0, -1, 2**62, str(old), None, True]))
        else:
            at = data.draw(st.integers(0, len(old)))
            new = data.draw(
                st.sampled_from(
                    [old[:at] + "0" + old[at + 1 :], old[:at] + old[at + 1 :], old + "0", "", None, [], 7, {}]
                )
            )
        if new == old and type(new) is type(old):
            return
        _set(forged, place, new)
        with pytest.raises(VerificationError):
            check(orjson.dumps(forged), head)

    forge()
    assert check(proof, head) == good


def test_parts_of_another_proof_do_not_fit(store: Path) -> None:
    """A span of reply 3 under the line of reply 1, a line of run 2 under the leaf of run 1, and the like."""
    proofs = [orjson.loads(prove(store, run, reply, 1)[0]) for run in (1, 2) for reply in (1, 3)]
    head = prove(store, 1, 1, 1)[1]
    for first in proofs:
        for second in proofs:
            for part in ("shown", "line", "leaf", "reply", "run"):
                mixed = {**first, part: second[part]}
                if mixed in proofs:
                    assert check(orjson.dumps(mixed), head)
                    continue
                with pytest.raises(VerificationError):
                    check(orjson.dumps(mixed), head)


def test_a_whole_reply_is_not_a_span_nor_the_other_way(store: Path) -> None:
    whole, head = prove(store, 1, 3, None)
    part, _ = prove(store, 1, 3, 1)
    one, two = orjson.loads(whole), orjson.loads(part)
    for mixed in ({**one, "shown": two["shown"]}, {**two, "shown": one["shown"]}, {**one, "line": two["line"]}):
        with pytest.raises(VerificationError):
            check(orjson.dumps(mixed), head)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.dictionaries(st.text(max_size=8), st.text(max_size=8)).map(orjson.dumps))
def test_whatever_the_file_holds_it_is_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(VerificationError):
        check(data, Checkpoint(ORIGIN, 1, b"\0" * 32))
    with pytest.raises(VerificationError):
        check_with_note(data, b"note", "0" * 64)


def test_no_flipped_byte_passes(store: Path) -> None:
    proof, head = prove(store, 1, 3, 1)
    good = check(proof, head)
    for at in range(len(proof)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(proof)
            changed[at] ^= bit
            try:
                found = check(bytes(changed), head)
            except VerificationError:
                continue
            # The key is for a note; without one it proves nothing and nothing hangs on it.
            assert _same(found, good)
            assert b'"key":"' in proof[max(0, at - 70) : at]
