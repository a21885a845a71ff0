"""Lists that come in another order each time cost what changed in them, not the whole list."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from evidence_store import layout, pack, unordered
from evidence_store.fs import open_file
from evidence_store.keys import FileSigner
from evidence_store.pack import Frame
from evidence_store.store import Store
from evidence_store.unordered import Lists, records
from evidence_store.verify import verify_store
from tests.evidence_store.conftest import ORIGIN

PAGES, SIZE = 6, 60
REQUEST = {"task": "t@c", "op": "ec2:DescribeInstances", "params": {}, "region": "eu-central-1", "unordered": True}


def pages(day: int) -> list[bytes]:
    """All records but one are those of the day before, in another order."""
    rows = []
    for number in range(PAGES * SIZE):
        dice = random.Random(number if number != day else -day - 1)
        rows.append({"Id": number, "Arn": dice.randbytes(60).hex(), "Tags": [{"Key": "k", "Value": dice.random()}]})
    random.Random(day).shuffle(rows)
    return [json.dumps({"Rows": rows[at : at + SIZE]}).encode() for at in range(0, len(rows), SIZE)]


def collect(store: Store, day: int, line: dict[str, object] = REQUEST) -> list[str]:
    run, names = store.begin({"day": day}, b"{}"), []
    for number, page in enumerate(pages(day)):
        names.append(run.add_object(page, request={**line, "page": number}))
        run.add_reply({**line, "page": number, "status": 200, "sha256": names[-1], "size": len(page)})
    run.close([], {})
    return names


def frames(store: Store, run: int) -> list[Frame]:
    name = f"{layout.run_name(run)}/{layout.PACK}"
    with open_file(store.root, name) as file:
        return list(pack.scan(file, (store.root / name).stat().st_size))


@pytest.fixture
def store(ram: Path, signer: FileSigner) -> Iterator[Store]:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as opened:
        yield opened


def cost(store: Store, run: int) -> int:
    return sum(frame.length for frame in frames(store, run))


def test_a_list_in_another_order_costs_a_fraction_and_comes_back_byte_for_byte(
    ram: Path, store: Store, signer: FileSigner
) -> None:
    with Store.create(ram / "plain", origin=ORIGIN, signer=signer) as plain:
        for day in range(4):
            names = collect(store, day)
            collect(plain, day, {name: value for name, value in REQUEST.items() if name != "unordered"})
            assert [store.run(day + 1).object(name) for name in names] == pages(day)
        assert cost(store, 4) < cost(plain, 4) / 4
    (first,), (second,) = store.run(1).info.lists.values(), store.run(2).info.lists.values()
    assert {frame.base for frame in frames(store, 2)} == {first}, "pages and records stand on the records of run 1"
    assert {frame.base for frame in frames(store, 3)} == {second}
    assert verify_store(store.root, key=signer.keyid).ok


def test_an_index_that_was_deleted_finds_the_lists_again(store: Store, signer: FileSigner) -> None:
    collect(store, 0)
    (first,) = store.run(1).info.lists.values()
    store.close()
    (store.root / layout.INDEX).unlink()
    with Store.open(store.root, signer=signer) as again:
        collect(again, 1)
        assert {frame.base for frame in frames(again, 2)} == {first}


def test_chains_stay_within_their_limit(store: Store, signer: FileSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "CHAIN_LIMIT", 3)
    for day in range(9):
        collect(store, day)
    assert verify_store(store.root, key=signer.keyid).ok
    whole = [run for run in range(1, 10) if any(frame.base is None for frame in frames(store, run))]
    assert whole == [1, 4, 7], "pages always stand on the records before them"


def test_an_erased_page_is_gone_from_the_records_too(store: Store, signer: FileSigner) -> None:
    names = [collect(store, day) for day in range(3)]
    lists = {sha256 for run in range(1, 4) for sha256 in store.run(run).info.lists.values()}
    store.erase([names[0][0]], basis="request of a person", approved_by="officer")
    held = {frame.sha256 for run in range(1, 4) for frame in frames(store, run)}
    assert not held & {*lists, names[0][0]}
    assert [store.run(3).object(name) for name in names[2]] == pages(2)
    assert verify_store(store.root, key=signer.keyid).ok
    collect(store, 3)
    assert verify_store(store.root, key=signer.keyid).ok


def test_no_byte_of_the_records_kept_beside_a_list_changes_unseen(store: Store, signer: FileSigner) -> None:
    for day in range(2):
        collect(store, day)
    (sha256,) = store.run(2).info.lists.values()
    path = store.root / layout.run_name(2) / layout.PACK
    (frame,) = (one for one in frames(store, 2) if one.sha256 == sha256)
    good = path.read_bytes()
    for place in range(frame.offset, frame.offset + frame.length, frame.length // 20):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        found = verify_store(store.root, key=signer.keyid)
        assert {problem.path for problem in found.problems} == {f"{layout.run_name(2)}/{layout.PACK}"}, place
    path.write_bytes(good)
    assert verify_store(store.root, key=signer.keyid).ok


def test_an_aborted_run_keeps_its_pages_only(store: Store, signer: FileSigner) -> None:
    run = store.begin({}, b"{}")
    name = run.add_object(pages(0)[0], request={**REQUEST, "page": 0})
    run.abort("stopped")
    assert store.run(1).info.lists == {}
    assert [frame.sha256 for frame in frames(store, 1)] == [name]
    assert verify_store(store.root, key=signer.keyid).ok


def test_records_are_cut_where_they_stand() -> None:
    text = b'{"a":{"x":[1]},"U":[{"n":"]}","k":[{"z":1}]}, {"n":2}],"t":"x"}'
    assert records(text) == [b'{"n":"]}","k":[{"z":1}]}', b'{"n":2}']
    nested = b"<r>\n<s><item><a/><item>1</item></item><item>2</item></s></r>"
    assert records(nested) == [b"<item><a/><item>1</item></item>", b"<item>2</item>"]
    for other in (b"", b"text", b'{"a":1}]', b'[{"a":1}', b"<item>", b'{"a":[1,2]}', b"</item><item></item>"):
        assert records(other) == [other]


@pytest.mark.parametrize("piece", [b'\\"', b'["', b'"a', b"{", b"<item>", b"</item>", b'[{"a":"\\', b"\xff\x00"])
def test_a_page_that_never_ends_is_looked_at_once(piece: bytes) -> None:
    page = b'["' + piece * 200_000
    assert records(page) == [page]
    assert records(b"<a>" + page) == [b"<a>" + page]


def test_what_is_too_large_or_too_many_is_given_up() -> None:
    lists = Lists(limit=10)
    lists.add(b"k", b'[{"a":1}]')
    assert list(lists.bodies()) == [(b"k", unordered.HEAD + b'\n{"a":1}')]
    lists.add(b"k", b'[{"a":2}]')
    lists.add(b"k", b'[{"a":3}]')
    assert list(lists.bodies()) == []
    for number in range(unordered.LISTS_LIMIT + 5):
        lists.add(b"%d" % number, b"x")
    assert len(list(lists.bodies())) == unordered.LISTS_LIMIT - 1
