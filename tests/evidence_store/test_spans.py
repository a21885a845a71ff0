"""A body cut into spans: what is left out tells nothing, what is shown is proven, and no other bytes are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence_store import layout
from evidence_store.errors import UsageError, VerificationError
from evidence_store.keys import FileSigner
from evidence_store.redaction import RedactedRun, Values, values_of
from evidence_store.spans import MASK, Cut, Redacted, Spans, open_redacted, span_leaf
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
SEED = b"\x05" * 32
BODY = b'{"Users":[{"Name":"Ada Byron","Email":"ada@acme.example"},{"Name":"Bob","Email":"bob@acme.example"}]}'


def cut_at(body: bytes, *values: bytes, form: str = "json") -> Cut:
    ranges = [(at := body.index(value), at + len(value)) for value in values]
    return Cut(form, tuple(sorted((start, end) for start, end in ranges)))


EMAILS = cut_at(BODY, b'"ada@acme.example"', b'"bob@acme.example"')


def person(run: Any, body: bytes = BODY, cut: Cut = EMAILS, **facts: Any) -> int:
    sha256 = run.add_object(body)
    line = {"task": "hr.people@hr", "op": "hr:ListPeople", "params": {}, "sha256": sha256, "size": len(body)}
    return int(run.add_reply({**line, "headers": {"etag": '"abc"'}, **run.add_spans(body, cut), **facts}))


@pytest.fixture
def store(ram: Path, signer: FileSigner, clock: Callable[[], Any]) -> Path:
    """One run with a reply that has fields, one that has none, and one that spells a field's value elsewhere."""
    path = ram / "people"
    with Store.create(path, origin=ORIGIN, signer=signer, clock=clock) as store:
        run = store.begin({}, b"{}")
        person(run)
        run.add_reply({"task": "a@b", "op": "x:List", "sha256": run.add_object(b'{"plain":true}')})
        run.add_reply({"task": "a@b", "op": "x:Get", "params": {"who": "Ada@Acme.Example"}, "sha256": None})
        run.add_reply({"task": "a@b", "op": "x:Log", "sha256": run.add_object(b"login of bob@acme.example, 3 times")})
        lines = [
            {"kind": "finding", "check": "hr.x", "resource": "1", "reason": "fine"},
            {"kind": "finding", "check": "hr.x", "resource": "ada@acme.example", "reason": "fine"},
        ]
        run.close(lines, {})
    return path


# The commitment


def test_fields_are_left_out_and_the_root_still_holds() -> None:
    spans = Spans.of(SEED, BODY, EMAILS)
    assert b"".join(spans.pieces) == BODY
    assert spans.pieces[1::2] == (b'"ada@acme.example"', b'"bob@acme.example"')
    data = spans.without_fields()
    assert b"ada@" not in data
    assert hashlib.sha256(BODY).hexdigest().encode() not in data
    found = open_redacted(data, spans.root())
    assert [piece is None for piece in found.pieces] == [False, True, False, True, False]
    masked = json.loads(found.masked())
    assert masked["Users"][0]["Name"] == "Ada Byron"
    words = [user["Email"] for user in masked["Users"]]
    assert len(set(words)) == 2
    assert all(MASK.fullmatch(word) for word in words)


def test_the_root_is_rfc_6962_over_salted_leaves() -> None:
    spans = Spans.of(SEED, BODY, EMAILS)
    assert spans.leaves()[1] == hashlib.sha256(b"\x00" + spans.salts[1] + b'"ada@acme.example"').digest()

    def root(hashes: list[bytes]) -> bytes:
        if len(hashes) == 1:
            return hashes[0]
        split = 1 << ((len(hashes) - 1).bit_length() - 1)
        return hashlib.sha256(b"\x01" + root(hashes[:split]) + root(hashes[split:])).digest()

    assert spans.root() == root(spans.leaves()).hex()


def test_no_salt_serves_twice() -> None:
    """The same seed, other bytes or another cut: a salt that was shown once helps to guess nothing else."""
    other = BODY.replace(b"Bob", b"Bib")
    cuts = [EMAILS, cut_at(BODY, b'"Ada Byron"', b'"bob@acme.example"'), Cut("text", EMAILS.ranges)]
    sets = [Spans.of(SEED, BODY, cut).salts for cut in cuts] + [Spans.of(SEED, other, EMAILS).salts]
    salts = [salt for each in sets for salt in each]
    assert len(set(salts)) == len(salts)
    assert Spans.of(b"\x06" * 32, BODY, EMAILS).root() != Spans.of(SEED, BODY, EMAILS).root()
    assert Spans.of(SEED, BODY, EMAILS) == Spans.of(SEED, BODY, EMAILS)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.data())
def test_any_cut_of_any_bytes_comes_back(body: bytes, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), min_size=2, max_size=20)))
    pairs = tuple(zip(places[::2], places[1::2], strict=False))
    cut = Cut("text", pairs)
    assert Cut.read(cut.spelt()) == cut
    spans = Spans.of(SEED, body, cut)
    found = open_redacted(spans.without_fields(), spans.root())
    shown = [piece for piece in found.pieces if piece is not None]
    assert shown == list(spans.pieces[::2])
    assert list(found.leaves) == [span_leaf(s, p) for s, p in zip(spans.salts, spans.pieces, strict=True)]


FORGED = orjson.loads(Spans.of(SEED, BODY, EMAILS).without_fields())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_forged_value_salt_place_or_spelling_is_refused(data: st.DataObject) -> None:
    root = Spans.of(SEED, BODY, EMAILS).root()
    value = json.loads(json.dumps(FORGED))
    entries = value["spans"]
    match data.draw(st.sampled_from(["text", "salt", "leaf", "swap", "drop", "double", "bytes"])):
        case "text":
            one = entries[data.draw(st.sampled_from([0, 2, 4]))]
            one["text"] = data.draw(st.text(max_size=20).filter(lambda text: text != one["text"]))
        case "salt":
            one = entries[data.draw(st.sampled_from([0, 2, 4]))]
            one["salt"] = data.draw(st.sampled_from(["A" * 22, "", one["salt"][:-1], one["salt"][::-1]]))
        case "leaf":
            entries[1]["leaf"] = data.draw(st.binary(min_size=32, max_size=32)).hex()
        case "swap":
            a, b = data.draw(st.permutations(range(5)))[:2]
            entries[a], entries[b] = entries[b], entries[a]
        case "drop":
            del entries[data.draw(st.integers(0, 4))]
        case "double":
            entries.insert(0, entries[0])
        case "bytes":
            raw = bytearray(orjson.dumps(FORGED))
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
            with suppress(VerificationError):
                # What passes (a flip in the name of the form) is how it is shown to a source, not what is proven.
                found, good = open_redacted(bytes(raw), root), open_redacted(orjson.dumps(FORGED), root)
                assert (found.pieces, found.leaves) == (good.pieces, good.leaves)
            return
    with pytest.raises(VerificationError):
        open_redacted(orjson.dumps(value), root)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers(-(2**60), 2**60) | st.text(), st.lists).map(orjson.dumps)
)
def test_whatever_the_file_holds_it_is_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(VerificationError):
        open_redacted(data, "0" * 64)


def test_a_cut_that_is_none_is_refused() -> None:
    for ranges in ((), ((5, 3),), ((0, 4), (3, 6)), ((4, 6), (0, 2))):
        with pytest.raises(ValueError, match=r"."):
            Cut("json", ranges)
    with pytest.raises(ValueError, match="not a cut"):
        Cut("xml", ((0, 1),))
    with pytest.raises(ValueError, match="longer"):
        Cut("json", ((0, 9),)).pieces(b"short")
    for data in (b"{}", b"[]", b'{"form":"json","ranges":[[0,1]] }', b'{"form":"json","ranges":[[0]]}'):
        with pytest.raises(ValueError, match=r"."):
            Cut.read(data)


def test_a_body_that_is_left_out_whole_shows_nothing() -> None:
    spans = Spans.of(SEED, b"secret", Cut("whole", ((0, 6),)))
    found = open_redacted(spans.without_fields(), spans.root())
    assert found.pieces == (b"", None, b"")
    with pytest.raises(ValueError, match="nothing"):
        found.masked()


def test_binary_spans_are_shown_as_base64() -> None:
    body = b"\xff\xfe|name|\x00"
    spans = Spans.of(SEED, body, cut_at(body, b"name", form="text"))
    assert b'"data":"//58"' in spans.without_fields()
    assert isinstance(open_redacted(spans.without_fields(), spans.root()), Redacted)


# In a store


def test_the_store_commits_to_fields_and_verifies(store: Path, signer: FileSigner) -> None:
    found = verify_store(store, key=signer.keyid)
    assert found.problems == ()
    with Store.open(store, key=signer.keyid) as opened:
        run = opened.run(1)
        line = next(run.replies())
        seed = run.seed()
        assert seed is not None
        assert len(seed) == 32
        assert line["spans"] == Spans.of(seed, BODY, EMAILS).root()
        assert line["spanCount"] == 5
        assert run.closing["spans"]["leaves"] == 1
        assert (store / "runs/00000001/spans.seed").stat().st_mode & 0o777 == 0o600


def test_a_run_without_fields_has_no_seed(sealed: Path, signer: FileSigner) -> None:
    with Store.open(sealed, key=signer.keyid) as store:
        assert store.run(1).seed() is None
        assert "spans" not in store.run(1).closing
    assert not list(sealed.rglob(layout.SEED))


def test_a_seed_without_a_line_is_not_sealed(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        run.add_spans(BODY, EMAILS)
        with pytest.raises(UsageError, match="cannot be cut"):
            run.add_spans(b"short", EMAILS)
        run.close([], {})
    assert not list((ram / "s").rglob(layout.SEED))
    assert verify_store(ram / "s", key=signer.keyid).problems == ()


@pytest.mark.parametrize("change", ["flip", "cut", "gone"])
def test_a_changed_seed_is_named(store: Path, signer: FileSigner, change: str) -> None:
    path = store / "runs/00000001/spans.seed"
    data = path.read_bytes()
    path.unlink() if change == "gone" else path.write_bytes(data[:-1] if change == "cut" else b"\x00" + data[1:])
    found = verify_store(store, key=signer.keyid)
    assert [problem.path for problem in found.problems] == ["runs/00000001/spans.seed"]


def test_a_signer_cannot_commit_to_other_fields_than_the_body_has(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        person(run, spans="0" * 64)
        run.close([], {})
    (problem,) = verify_store(ram / "s", key=signer.keyid).problems
    assert problem.what == "line 0 commits to other fields than its body has"
    assert verify_store(ram / "s", key=signer.keyid, read_data=False).problems == ()


def test_a_killed_run_is_sealed_with_its_fields(ram: Path, signer: FileSigner) -> None:
    store = Store.create(ram / "s", origin=ORIGIN, signer=signer)
    person(store.begin({}, b"{}"))
    store.close()
    with Store.open(ram / "s", signer=signer) as again:
        assert again.recovered == [1]
        assert again.run(1).closing["spans"]["leaves"] == 1
    assert verify_store(ram / "s", key=signer.keyid).problems == ()


# What may be shown


def test_a_redacted_run_shows_neither_body_nor_digest_nor_what_spells_a_field(store: Path, signer: FileSigner) -> None:
    with Store.open(store, key=signer.keyid) as opened:
        run = opened.run(1)
        view = RedactedRun.of(run)
        shown = list(view.replies())
        assert [line["i"] for line in shown] == [0, 1]
        assert shown[0]["sha256"] is None
        assert shown[0]["size"] is None
        assert "etag" not in shown[0]["headers"]
        assert "cut" not in shown[0]
        files = dict(view.redacted_files())
        everything = b"".join(
            (*view.manifest_lines(), *view.results_lines(), *view.public_lines(), *files.values(), *map(repr_of, shown))
        ).lower()
        assert b"ada@" not in everything
        assert b"bob@" not in everything
        assert hashlib.sha256(BODY).hexdigest().encode() not in everything
        assert view.absent().keys() == {0, 2, 3}
        assert view.hidden_results() == 1
        assert [line["resource"] for line in view.results()] == ["1"]
        assert json.loads(view.object(shown[0]["redacted"]))["Users"][1]["Name"] == "Bob"
        assert view.object(shown[1]["sha256"]) == b'{"plain":true}'


def test_lines_shown_and_hashes_withheld_give_the_sealed_roots(store: Path, signer: FileSigner) -> None:
    from evidence_store.merkle import leaf_hash, tree_root

    with Store.open(store, key=signer.keyid) as opened:
        view = RedactedRun.of(opened.run(1))
        for lines, name in (
            (view.manifest_lines(), "manifest"), (view.results_lines(), "results"), (view.public_lines(), "spans"),
        ):  # fmt: skip
            hashes = []
            for line in lines:
                value = orjson.loads(line)
                hashes.append(bytes.fromhex(value["withheld"]) if "withheld" in value else leaf_hash(line))
            assert tree_root(hashes).hex() == view.closing[name]["root"], name


def test_values_are_found_whatever_their_case_and_spelling(store: Path, signer: FileSigner) -> None:
    with Store.open(store, key=signer.keyid) as opened:
        values = values_of([opened.run(1)])
    assert values.spelt_in("mail to ADA@acme.example!")
    assert not values.spelt_in("ada at acme")
    values = Values()
    text = b"<n>J &amp; K Ltd</n><m>Al</m>"
    values.add(Spans.of(SEED, text, cut_at(text, b"J &amp; K Ltd", b"Al", form="text")))
    assert values.spelt_in("of j & k ltd here")
    assert not values.spelt_in("Also Al"), "two letters are no name"


def repr_of(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line)
