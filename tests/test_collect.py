"""Every task of a plan gives a shard, in its order, whatever happens to the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector.api import Row, Source, source
from collector.collect import collect
from collector.connect.base import WINDOW, Connection, Inline, Limits, stream
from collector.connect.retry import Retry
from collector.connect.wire import Answer, Ask, LiveWire, ReplayWire, Wire
from collector.errors import ConfigError
from collector.fetch import fetch
from collector.model import GapKind, Refused, Shard, Task, Unavailable
from evidence_store.errors import StoreError
from tests.worlds import MemoryLedger

RETRY = Retry(attempts=1)


class Things(Connection):
    """A connection that asks for numbered things."""

    def ask(self, name: str, *, fail: Unavailable | None = None) -> str:
        exchange = self.wire.exchange(Ask(f"t:{name}", {}), lambda: Answer(200, name.encode()))
        self.trail.note(self.wire.conclude(exchange, error=str(fail.kind) if fail else ""))
        if fail:
            raise fail
        return name

    def later(self, name: str, *, fail: Unavailable | None = None) -> Any:
        def ask(refs: list[int]) -> str:
            exchange = self.wire.exchange(Ask(f"t:{name}", {}), lambda: Answer(200, name.encode()))
            refs.append(self.wire.conclude(exchange))
            if fail:
                raise fail
            return name

        return self.defer(ask)


def _declare(name: str, function: Any) -> Source:
    function.__doc__ = "Things."
    return source(name, key="Id", per="account", permissions=())(function)


def _identity(connection: Things) -> Iterator[Row]:
    connection.ask("who")
    yield {"Id": "1", "Arn": "arn:someone", "Account": "1"}


def _good(connection: Things) -> Iterator[Row]:
    connection.ask("list")
    yield {"Id": "a"}


def _crashing(connection: Things) -> Iterator[Row]:
    connection.ask("list")
    yield from ({"Id": str(n)} for n in range(WINDOW + 5))
    raise KeyError("typo")


SOURCES = {
    "aws.sts.caller-identity": _declare("aws.sts.caller-identity", _identity),
    "t.a.good": _declare("t.a.good", _good),
    "t.a.crashing": _declare("t.a.crashing", _crashing),
}


class Bench:
    """Collects tasks with what a test wants to go wrong."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.ledger: Any = MemoryLedger()
        self.stop = threading.Event()
        self.refuse: dict[str, Exception] = {}
        self.callers: dict[str, str] = {}
        self.finished: list[Shard] = []

    def collect(self, *tasks: Task, sources: dict[str, Source] = SOURCES, workers: int = 4) -> list[Shard]:
        def wire(task: Task, caller: str) -> Wire:
            self.callers[task.id] = caller
            live = LiveWire(task, self.ledger, stop=self.stop)
            live.caller = caller
            return live

        def opener(task: Task, wire: Wire) -> Connection:
            if task.connection in self.refuse:
                raise self.refuse[task.connection]
            return Things(wire, retry=RETRY, limits=Limits())

        return collect(
            tasks, sources, wire, opener, self.folder, workers=workers, stop=self.stop, progress=self.finished.append
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _gap(shard: Shard) -> tuple[str, str]:
    gap = shard.population.gap
    return (str(gap.kind), gap.reason) if gap else ("", "")


def test_shards_come_in_the_order_of_the_tasks(bench: Bench) -> None:
    tasks = [Task("t.a.good", f"c{n}") for n in range(150)]
    shards = bench.collect(*tasks)
    assert [shard.task for shard in shards] == tasks
    assert {shard.task for shard in bench.finished} == set(tasks)
    assert all(shard.population.proven and shard.population.rows == 1 for shard in shards)
    assert len({shard.path for shard in shards}) == 150


def test_identities_are_read_first_and_named_on_every_request(bench: Bench) -> None:
    shards = bench.collect(Task("t.a.good", "c"), Task("aws.sts.caller-identity", "c"), Task("t.a.good", "other"))
    assert all(shard.population.proven for shard in shards)
    assert bench.callers["t.a.good@c"] == "arn:someone"
    assert bench.callers["t.a.good@other"] == ""
    assert bench.finished[0].task.dataset == "aws.sts.caller-identity"


def test_an_identity_of_another_account_stops_its_account_only(bench: Bench) -> None:
    wrong, right = Task("aws.sts.caller-identity", "c", "2"), Task("aws.sts.caller-identity", "c", "1")
    shards = bench.collect(wrong, right, Task("t.a.good", "c", "2"), Task("t.a.good", "c", "1"))
    assert [_gap(shard)[0] for shard in shards] == ["no-identity", "", "no-identity", ""]
    assert "those of account 1, the configuration names 2" in _gap(shards[2])[1]
    assert "t.a.good@c/2" not in bench.callers


@pytest.mark.parametrize("rows", [0, 2])
def test_an_identity_call_names_one_identity(bench: Bench, rows: int) -> None:
    def unclear(connection: Things) -> Iterator[Row]:
        connection.ask("who")
        yield from ({"Id": str(n), "Arn": "a", "Account": str(n)} for n in range(rows))

    sources = {**SOURCES, "aws.sts.caller-identity": _declare("aws.sts.caller-identity", unclear)}
    shards = bench.collect(Task("aws.sts.caller-identity", "c"), Task("t.a.good", "c"), sources=sources)
    assert _gap(shards[0]) == ("no-identity", f"the identity call named {rows} identities")
    assert _gap(shards[1])[0] == "no-identity"


def test_a_connection_that_cannot_be_opened_is_a_gap_on_record(bench: Bench) -> None:
    bench.refuse = {"c": ConfigError("secret env:X is not set", "set it"), "d": Unavailable(GapKind.DENIED, "no")}
    shards = bench.collect(Task("t.a.good", "c"), Task("t.a.good", "d"), Task("t.a.good", "e"))
    assert _gap(shards[0]) == ("unauthenticated", "the connection could not be opened: secret env:X is not set")
    assert _gap(shards[1]) == ("unauthenticated", "the connection could not be opened: no")
    assert shards[2].population.proven
    for shard in shards[:2]:
        (number,) = shard.population.replies
        assert bench.ledger.lines[number]["failure"] == "unauthenticated"
        assert bench.ledger.lines[number]["task"] == shard.task.id


def test_a_crash_of_one_source_leaves_the_others_alone(bench: Bench) -> None:
    shards = bench.collect(Task("t.a.crashing", "c"), Task("t.a.good", "c"))
    assert _gap(shards[0])[0] == "crashed"
    assert "KeyError at test_collect.py" in _gap(shards[0])[1]
    assert shards[0].population.rows >= 5
    assert shards[0].population.basis == "unproven"
    assert shards[1].population.proven


def test_a_request_to_stop_asks_nothing_more_and_accounts_for_every_task(bench: Bench) -> None:
    def stopping(connection: Things) -> Iterator[Row]:
        connection.ask("list")
        bench.stop.set()
        yield {"Id": "a"}
        connection.ask("more")

    sources = {**SOURCES, "t.a.stopping": _declare("t.a.stopping", stopping)}
    tasks = [Task("t.a.stopping", "c"), *(Task("t.a.good", f"c{n}") for n in range(100))]
    shards = bench.collect(*tasks, sources=sources, workers=1)
    assert [shard.task for shard in shards] == tasks
    assert {_gap(shard)[0] for shard in shards} == {"interrupted"}
    assert shards[0].population.rows == 1
    assert len(bench.ledger.lines) == 1


def test_what_cannot_be_recorded_ends_the_collection_at_once(bench: Bench) -> None:
    class Full(MemoryLedger):
        def add_reply(self, line: Any) -> int:
            if len(self.lines) == 3:
                raise StoreError("cannot write the manifest", "free some space")
            return super().add_reply(line)

    def slow(connection: Things) -> Iterator[Row]:
        time.sleep(0.005)
        yield from _good(connection)

    bench.ledger = Full()
    sources = {"t.a.slow": _declare("t.a.slow", slow)}
    with pytest.raises(StoreError, match="cannot write the manifest"):
        bench.collect(*(Task("t.a.slow", f"c{n}") for n in range(500)), sources=sources, workers=2)
    assert len(bench.ledger.objects) <= 1
    assert len(bench.callers) < 20


# ------------------------------------------------------------------------------------------------- rows and references


def _connection(pool: Any = None) -> tuple[Things, MemoryLedger]:
    ledger = MemoryLedger()
    return Things(LiveWire(Task("t.a.x", "c"), ledger), retry=RETRY, limits=Limits(), pool=pool), ledger


def test_a_row_rests_on_what_was_asked_before_it_and_a_field_on_its_own_reply() -> None:
    things, _ = _connection()

    def rows() -> Iterator[Row]:
        things.ask("first")
        yield {"Id": "a", "Part": things.later("part-a")}
        things.ask("between")
        yield {"Id": "b", "Parts": [things.later("part-b"), {"Deep": things.later("part-c")}]}

    first, second = stream(things, rows())
    assert (first.refs, first.parts) == ((0,), {"Part": (1,)})
    assert (second.refs, second.parts) == ((0, 2), {"Parts": (3, 4)})
    assert second.row == {"Id": "b", "Parts": ["part-b", {"Deep": "part-c"}]}


def test_rows_keep_their_order_while_their_parts_are_fetched_ahead() -> None:
    with ThreadPoolExecutor(8) as pool:
        things, ledger = _connection(pool)

        def rows() -> Iterator[Row]:
            for n in range(3 * WINDOW):
                yield {"Id": n, "Part": things.later(f"p{n}")}

        told = list(stream(things, rows()))
    assert [read.row for read in told] == [{"Id": n, "Part": f"p{n}"} for n in range(3 * WINDOW)]
    for n, read in enumerate(told):
        assert [ledger.lines[ref]["op"] for ref in read.parts["Part"]] == [f"t:p{n}"]


def test_a_list_that_breaks_off_gives_the_rows_before_it() -> None:
    things, _ = _connection()

    def rows() -> Iterator[Row]:
        yield {"Id": "a"}
        things.ask("more", fail=Unavailable(GapKind.TRUNCATED, "cut short", "t:more"))

    reading = stream(things, rows())
    assert next(reading).row == {"Id": "a"}
    with pytest.raises(Unavailable, match="cut short"):
        next(reading)


def test_a_refused_part_stands_in_its_row() -> None:
    things, _ = _connection()
    row = {"Id": "a", "Part": things.later("p", fail=Unavailable(GapKind.DENIED, "no", "t:p"))}
    (read,) = stream(things, [row])
    assert read.row["Part"] == {"$gap": {"kind": "denied", "reason": "no", "operation": "t:p"}}
    assert read.parts == {"Part": (0,)}
    assert next(iter(stream(things, [{"Id": "b", "Part": Refused(GapKind.DENIED, "n", "o")}]))).row["Part"]["$gap"]


def test_parts_that_rows_cannot_do_without_are_awaited_in_order_and_end_the_source() -> None:
    things, _ = _connection()
    pairs = [(n, things.later(f"p{n}")) for n in range(WINDOW + 3)]
    assert list(things.ahead(pairs)) == [(n, f"p{n}") for n in range(WINDOW + 3)]
    with pytest.raises(Unavailable, match="no"):
        list(things.ahead([(1, things.later("p", fail=Unavailable(GapKind.DENIED, "no", "t:p")))]))


def test_what_was_asked_and_stands_in_no_row_is_on_record_all_the_same(tmp_path: Path) -> None:
    def dropping(connection: Things) -> Iterator[Row]:
        connection.ask("list")
        connection.defer(lambda refs: time.sleep(0.05) or connection.ask("dropped"))
        yield {"Id": "a"}

    with ThreadPoolExecutor(2) as pool:
        things, ledger = _connection(pool)
        shard = fetch(Task("t.a.x", "c"), _declare("t.a.x", dropping), things, tmp_path / "rows")
    assert [line["op"] for line in ledger.lines] == ["t:list", "t:dropped"]
    assert shard.population.replies == (0, 1)


def test_without_a_pool_a_part_is_asked_for_at_once() -> None:
    assert Inline().submit(lambda n: n + 1, 1).result() == 2


def test_a_replayed_body_that_was_altered_ends_the_rerun(tmp_path: Path) -> None:
    ledger = MemoryLedger()
    task = Task("t.a.good", "c")
    live = Things(LiveWire(task, ledger), retry=RETRY, limits=Limits())
    assert fetch(task, SOURCES["t.a.good"], live, tmp_path / "live").population.proven

    def altered(sha256: str) -> bytes:
        raise StoreError(f"{sha256} is not what was sealed", "compare with a copy")

    replay = Things(ReplayWire(task, ledger.lines, altered), retry=RETRY, limits=Limits())
    with pytest.raises(StoreError, match="is not what was sealed"):
        fetch(task, SOURCES["t.a.good"], replay, tmp_path / "again")


def test_a_record_without_its_key_breaks_the_list(tmp_path: Path) -> None:
    def nameless(connection: Things) -> Iterator[Row]:
        connection.ask("list")
        yield {"Id": "a"}
        yield {"Id": ""}

    task = Task("t.a.x", "c")
    connection = Things(LiveWire(task, MemoryLedger()), retry=RETRY, limits=Limits())
    shard = fetch(task, _declare("t.a.x", nameless), connection, tmp_path / "x")
    assert _gap(shard) == ("malformed", "a record of t.a.x has no Id")
    assert [orjson.loads(line)["key"] for line in (tmp_path / "x").read_bytes().splitlines()] == ["a"]


def test_a_list_left_before_its_end_says_nothing_of_the_rows_of_the_next() -> None:
    """Whether a row named the reply of such a list depended once on where the memory of the next one lay."""
    things = Things(LiveWire(Task("t", "x"), MemoryLedger()), retry=RETRY, limits=Limits())

    def listed(*names: str) -> Iterator[Row]:
        with things.trail.listing("t:list") as at:
            for name in names:
                at(things.wire.conclude(things.wire.exchange(Ask(f"t:{name}", {}), lambda: Answer(200))))
                yield {"Id": name}

    def rows() -> Iterator[Row]:
        yield from listed("0")
        next(listed("1", "2"))
        yield from listed("2", "3", "4")

    assert [(read.row["Id"], read.refs) for read in stream(things, rows())] == [
        ("0", (0,)),
        ("2", (0, 1, 2)),
        ("3", (3,)),
        ("4", (4,)),
    ]
