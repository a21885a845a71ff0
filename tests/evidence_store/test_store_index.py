"""The index, differences to earlier bodies, sizes, and the check of a part: derived things that prove nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import cli
from evidence_store import layout, pack, stats
from evidence_store.bodies import Bodies, Subset
from evidence_store.errors import StoreError
from evidence_store.fs import open_file
from evidence_store.index import Index, entries, request_key
from evidence_store.keys import FileSigner
from evidence_store.pack import Frame
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.evidence_store.conftest import ORIGIN

PAGES = 3
KEYS = ("abc", "def", "ghi")


def body(page: int, day: int) -> bytes:
    """A page that changes a little every day."""
    return json.dumps({"Users": [{"n": n, "seen": day if n == 7 else n * page} for n in range(400)]}).encode()


def collect(store: Store, day: int) -> None:
    run = store.begin({"day": day}, b"{}")
    for page in range(PAGES):
        request = {"task": "iam.users@prod", "op": "iam:ListUsers", "params": {"A": 1}, "region": "", "page": page}
        sha256 = run.add_object(body(page, day), request=request)
        run.add_reply({**request, "status": 200, "sha256": sha256, "size": len(body(page, day))})
    run.close([{"check": "c", "outcome": "PASS"}], {})


@pytest.fixture
def store(ram: Path, signer: FileSigner) -> Iterator[Store]:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as opened:
        yield opened


def frames(store: Store, run: int) -> list[Frame]:
    with open_file(store.root, f"{layout.run_name(run)}/{layout.PACK}") as file:
        return list(pack.scan(file, (store.root / layout.run_name(run) / layout.PACK).stat().st_size))


def test_the_next_body_of_a_request_is_kept_as_a_difference(store: Store, signer: FileSigner) -> None:
    for day in range(3):
        collect(store, day)
    first, second = frames(store, 1), frames(store, 2)
    assert [frame.base for frame in first] == [None] * PAGES
    assert [frame.base for frame in second] == [frame.sha256 for frame in first]
    assert sum(frame.length for frame in second) < sum(frame.length for frame in first) / 5
    for day in range(3):
        for line in store.run(day + 1).replies():
            assert store.run(day + 1).object(line["sha256"]) == body(line["page"], day)
    assert verify_store(store.root, key=signer.keyid).ok


def test_a_key_frame_stands_after_thirty_differences(store: Store, signer: FileSigner) -> None:
    for day in range(34):
        collect(store, day)
    keys = [number for number in range(1, 35) if frames(store, number)[0].base is None]
    assert keys == [1, 32]
    assert verify_store(store.root, key=signer.keyid).ok


def test_a_refusal_is_no_base_and_another_page_is_another_request(store: Store) -> None:
    line = {"task": "t", "op": "x", "params": {"B": 2, "A": 1}, "region": "r", "page": 1}
    index = Index(store.root, ORIGIN)
    index.note({**line, "status": 200, "sha256": "ab" * 32})
    index.note({**line, "status": 403, "sha256": "cd" * 32})
    assert index.earlier({**line, "params": {"A": 1, "B": 2}, "attempt": 2}) == "ab" * 32
    for other in ({"page": 2}, {"region": "q"}, {"task": "u"}, {"op": "y"}, {"params": {}}):
        assert index.earlier({**line, **other}) is None
        assert request_key({**line, **other}) != request_key(line)


@pytest.mark.parametrize("harm", ["deleted", "garbage", "other store", "ahead", "folder of its name", "empty"])
def test_an_index_that_is_gone_or_wrong_is_made_anew_and_costs_nothing_but_time(
    store: Store, signer: FileSigner, harm: str
) -> None:
    collect(store, 0)
    store.close()
    path = store.root / layout.INDEX
    assert entries(store.root) == PAGES
    if harm == "garbage":
        path.write_bytes(b"SQLite format 3\0" + bytes(5000))
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm in ("other store", "ahead"):
        with sqlite3.connect(path) as database:
            database.execute("UPDATE known SET origin = 'x'" if harm == "other store" else "UPDATE known SET runs = 99")
        database.close()
    else:
        path.unlink()
    if harm.endswith("name"):
        path.mkdir()
    with Store.open(store.root, signer=signer) as again:
        collect(again, 1)
        based = [frame.base is not None for frame in frames(again, 2)]
    assert based == [not harm.endswith("name")] * PAGES
    if harm.endswith("name"):
        path.rmdir()
    assert verify_store(store.root, key=signer.keyid).ok


def test_an_index_that_lies_is_not_believed(store: Store, signer: FileSigner) -> None:
    collect(store, 0)
    store.close()
    with sqlite3.connect(store.root / layout.INDEX) as database:
        database.execute("UPDATE latest SET sha256 = ?", (bytes(32),))
    database.close()
    with Store.open(store.root, signer=signer) as again:
        collect(again, 1)
        assert [frame.base for frame in frames(again, 2)] == [None] * PAGES
    assert verify_store(store.root, key=signer.keyid).ok


def test_an_unsealed_run_leaves_nothing_in_the_index(store: Store, signer: FileSigner) -> None:
    collect(store, 0)
    run = store.begin({}, b"{}")
    run.add_reply({"op": "y", "sha256": run.add_object(b"never sealed by close")})
    store.close()
    assert entries(store.root) == PAGES
    with Store.open(store.root, signer=signer) as again:
        collect(again, 1)
    assert entries(store.root) == PAGES + 1, "the abort at recovery sealed it"


def test_a_large_body_is_kept_whole(store: Store, monkeypatch: pytest.MonkeyPatch, signer: FileSigner) -> None:
    monkeypatch.setattr(pack, "DELTA_LIMIT", 100)
    for day in range(2):
        collect(store, day)
    assert [frame.base for frame in frames(store, 2)] == [None] * PAGES


@pytest.mark.parametrize("first", [b"", b"5", b"[]", b"{}", b"1234567", b"12345678"])
def test_a_list_that_was_empty_yesterday_is_full_today(store: Store, signer: FileSigner, first: bytes) -> None:
    """A body may be shorter than anything a difference can stand on; what comes after it is then kept whole."""
    later = b'[{"id": "12345678"}]'
    for data in (first, later, first, later + b" "):
        run = store.begin({}, b"{}")
        ask = {"op": "x:List", "params": {}, "region": "", "tokenIn": None, "attempt": 1, "status": 200}
        run.add_reply({**ask, "sha256": run.add_object(data, request=ask)})
        run.close([], {})
    assert [frame.base is not None for frame in frames(store, 2)] == [len(first) >= pack.BASE_LEAST]
    runs = [store.run(number) for number in (1, 2)]
    assert [run.object(line["sha256"]) for run in runs for line in run.replies()] == [first, later]
    assert verify_store(store.root, key=signer.keyid).ok


def test_stats_say_what_is_stored_and_what_it_would_have_taken(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(4):
        collect(store, day)
    run = store.begin({}, b"{}")
    run.add_object(b"a mapping")
    run.add_reply({"task": "iam.users@prod", "op": "iam:ListUsers", "sha256": run.add_object(body(0, 0)), "size": 5})
    run.close([], {})
    sizes = stats.measure(store.root)
    total = sum(len(body(page, day)) for page in range(PAGES) for day in range(4))
    assert sizes.bodies == 4 * PAGES + 1
    assert sizes.raw == total + len(b"a mapping")
    assert sizes.deltas == 3 * PAGES
    assert sizes.stored == sum(frame.length for number in range(1, 6) for frame in frames(store, number))
    assert sizes.delta_ratio > sizes.ratio > 2
    assert sizes.datasets["iam.users"].replies == 4 * PAGES + 1
    assert sizes.datasets["iam.users"].bodies == 4 * PAGES
    assert sizes.datasets["iam.users"].asked == total + 5
    assert sizes.datasets[stats.UNNAMED].raw == len(b"a mapping")
    assert sizes.runs[5].bodies == 1
    assert cli.main(["store", "stats", str(store.root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "affidavit.store-stats/1"
    assert document["bodies"] == sizes.bodies
    assert cli.main(["store", "stats", str(store.root)]) == 0
    assert "iam.users" in capsys.readouterr().out


def damage(store: Store, run: int, place: int) -> Frame:
    """Flip a byte inside the data of a frame; the digest of the pack is then wrong too."""
    frame = frames(store, run)[place]
    path = store.root / layout.run_name(run) / layout.PACK
    data = bytearray(path.read_bytes())
    data[frame.end - 3] ^= 1
    path.write_bytes(data)
    return frame


def test_check_reads_structure_or_data_or_a_part_of_it(
    store: Store, signer: FileSigner, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(3):
        collect(store, day)
    check = ["store", "check", str(store.root), "--key", signer.keyid]
    assert cli.main(check) == 0
    assert cli.main([*check, "--read-data"]) == 0
    broken = damage(store, 2, 1)
    assert cli.main(check) == 0, "structure alone does not read bodies"
    capsys.readouterr()
    assert cli.main([*check, "--read-data", "--json"]) == 4
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert {problem["path"] for problem in problems} == {"runs/00000002/objects.pack", "runs/00000003/objects.pack"}
    what = " ".join(problem["what"] for problem in problems)
    assert broken.sha256 in what
    assert "stands on one that is damaged" in what
    assert cli.main(["store", "check", str(store.root)]) == 4, "nobody said whose key it should be"
    assert cli.main([*check, "--subset", "3/2"]) == 2
    assert cli.main([*check, "--subset", "a/2"]) == 2


def test_parts_together_are_the_whole_and_apart_share_nothing(store: Store) -> None:
    for day in range(3):
        collect(store, day)
    broken = [damage(store, 1, place).sha256 for place in range(PAGES)]
    bodies = Bodies(store.root)
    for number in (1, 2, 3):
        for frame in frames(store, number):
            bodies.add(number, frame)
    seen: list[set[str]] = []
    for part in range(1, 5):
        found: list[str] = []
        bodies.check(lambda _, what, found=found: found.append(what), Subset(part, 4))  # type: ignore[misc]
        seen.append({sha256 for sha256 in broken if any(sha256 in what for what in found)})
    assert set().union(*seen) == set(broken)
    assert sum(map(len, seen)) == len(broken)


def test_bodies_refuse_what_stands_on_nothing_or_on_too_much(ram: Path) -> None:
    bodies = Bodies(ram)
    names = [f"{number:064x}" for number in range(40)]
    with pytest.raises(ValueError, match="is missing"):
        bodies.add(1, Frame(names[0], 1, names[1], 0, 1))
    bodies.add(1, Frame(names[0], 1, None, 0, 1))
    for number in range(1, pack.CHAIN_LIMIT + 1):
        bodies.add(1, Frame(names[number], 1, names[number - 1], 0, 1))
    with pytest.raises(ValueError, match="more than 30 differences"):
        bodies.add(1, Frame(names[31], 1, names[30], 0, 1))
    assert names[30] in bodies
    assert names[31] not in bodies
    assert len(bodies) == 31


def test_a_tree_of_differences_is_read_once_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several bodies may stand on one; none is unpacked twice."""
    base = body(1, 0)
    run = store.begin({}, b"{}")
    key = run.add_object(base)
    run.close([], {})
    run = store.begin({}, b"{}")
    children = [run.add_object(body(1, day), base=key) for day in range(1, 6)]
    run.close([], {})
    run = store.begin({}, b"{}")
    run.add_object(body(1, 9), base=children[2])
    run.close([], {})
    bodies, unpacked, real = Bodies(store.root), [], pack.decode

    def counting(frame: Frame, data: bytes, onto: bytes | None) -> bytes:
        unpacked.append(frame.sha256)
        return real(frame, data, onto)

    monkeypatch.setattr(pack, "decode", counting)
    for number in (1, 2, 3):
        for frame in frames(store, number):
            bodies.add(number, frame)
    problems: list[str] = []
    bodies.check(lambda _, what: problems.append(what))
    assert problems == []
    assert sorted(unpacked) == sorted({*unpacked})
    assert len(unpacked) == 7


def test_a_store_that_is_not_there_has_no_sizes(ram: Path) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        stats.measure(ram / "none")
