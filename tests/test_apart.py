"""What is judged by the time of collection is UNKNOWN where our clock and the servers' were far apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from collector.apart import APART_S, apart, apart_everywhere, warned
from collector.api import Http, Record, Row, Verdict, check, days_between, fail, instant, ok, skip, source
from collector.judge import Bench, judge
from collector.model import Population, Task
from tests.http_world import HttpWorld, Reply, same, worlds
from tests.worlds import Reading

MADE = "2026-01-01T00:00:00Z"
TOLD = "this machine's clock and the servers' were 300 days apart, so that no date can be relied on"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpWorld]:
    yield from worlds(HttpWorld, tmp_path)


@source("acme.t.keys", key="id", per="connection", permissions=("GET /keys",))
def keys(acme: Http) -> Iterator[Row]:
    """Every key."""
    yield from acme.pages("/keys")


@check("acme.t.young", title="Keys are young", severity="low", each="acme.t.keys")
def young(key: Record, *, as_of: datetime, max_age_days: int = 90) -> Verdict:
    """A key is young."""
    if key["idle"]:
        return skip("the key is idle")
    age = days_between(instant(key["made"]), as_of)
    return ok(f"{age} days") if age <= max_age_days else fail(f"{age} days")


@check("acme.t.named", title="Keys are named", severity="low", each="acme.t.keys")
def named(key: Record) -> Verdict:
    """A key has a name."""
    return ok("named") if key["id"] else fail("not named")


def read(world: HttpWorld, off: timedelta) -> Reading:
    """The keys of a server whose clock differs by so much; the same from the record."""

    told = [{"id": "k1", "made": MADE, "idle": False}, {"id": "k2", "made": MADE, "idle": True}]
    world.route("/keys", lambda _: Reply(200, told))

    def dated(*_: object) -> str:
        return format_datetime(datetime.now(UTC) + off, usegmt=True)

    vars(world)["_server"].RequestHandlerClass.date_time_string = dated
    reading = world.read_source(keys)
    same(world, reading, keys)
    return reading


def outcomes(reading: Reading, *, day: str, fresh: bool = False, whole: str = "") -> list[tuple[str, str]]:
    """What the checks say on a day: young of both keys, named of both keys."""
    bench = Bench(instant(f"{day}T00:00:00Z"), {}, apart=whole, fresh={"acme.t.keys": ("made", 9999)} if fresh else {})
    said = sorted(judge([young, named], [reading.shard], bench), key=lambda one: (one.check, one.resource))
    return [(str(one.outcome), one.reason) for one in reversed(said)]


def test_a_clock_that_is_wrong_makes_nothing_young(world: HttpWorld) -> None:
    reading = read(world, timedelta(days=300))
    assert outcomes(reading, day="2026-01-26") == [
        ("UNKNOWN", f"{TOLD}; seen here: SKIP (the key is idle)"),
        ("UNKNOWN", f"{TOLD}; seen here: PASS (25 days)"),
        ("PASS", "named"),
        ("PASS", "named"),
    ]
    assert outcomes(reading, day="2026-11-22")[1] == ("UNKNOWN", f"{TOLD}; seen here: FAIL (325 days)")
    stale = f"{TOLD}; seen here: PASS (named)"
    assert outcomes(reading, day="2026-01-26", fresh=True)[2:] == [("UNKNOWN", stale)] * 2, "fresh by which clock?"


@pytest.mark.parametrize(("kind", "outcome"), [("period", "UNKNOWN"), ("snapshot", "SKIP")])
def test_an_empty_list_of_another_period_is_no_empty_period(world: HttpWorld, kind: str, outcome: str) -> None:
    world.route("/keys", lambda _: Reply(200, []))
    empty = world.read_source(keys).shard
    off = replace(empty, population=replace(empty.population, apart_s=86400 * 300))
    bench = Bench(instant("2026-01-26T00:00:00Z"), {})
    asked = replace(named, dataset_kinds=(kind,))
    assert [str(one.outcome) for one in judge([asked], [off], bench)] == [outcome]
    assert [str(one.outcome) for one in judge([asked], [empty], bench)] == ["SKIP"]


def test_clocks_that_differ_by_minutes_are_relied_on(world: HttpWorld) -> None:
    for off in (timedelta(), timedelta(seconds=APART_S - 60), timedelta(seconds=60 - APART_S)):
        world.routes.clear()
        assert outcomes(read(world, off), day="2026-01-26")[1] == ("PASS", "25 days")
    for off in (timedelta(seconds=APART_S + 60), timedelta(seconds=-APART_S - 60)):
        world.routes.clear()
        outcome, reason = outcomes(read(world, off), day="2026-01-26")[1]
        assert outcome == "UNKNOWN"
        assert "this machine's clock and the servers' were 1" in reason
        assert " minutes apart" in reason


def test_a_server_without_a_time_is_judged_by_what_the_others_say(world: HttpWorld) -> None:
    reading = read(world, timedelta())
    undated = replace(reading.shard, population=replace(reading.shard.population, dated=False))
    told = replace(undated.population, task=Task("x.y.z", "other"), dated=True, apart_s=-86400 * 300)
    whole = apart_everywhere([undated.population, told])
    assert whole == TOLD
    assert outcomes(replace(reading, shard=undated), day="2026-01-26", whole=whole)[1][0] == "UNKNOWN"


def population(connection: str, apart_s: int, *, dated: bool = True) -> Population:
    return Population(Task("x.y.z", connection), 1, "terminal-page", apart_s=apart_s, dated=dated)


def test_a_server_that_is_alone_with_its_time_is_wrong_itself() -> None:
    off = population("a", 86400 * 300)
    assert apart_everywhere([off, population("b", 3), population("c", -2)]) == ""
    assert apart_everywhere([off, population("b", 3), population("b", -2)]) == TOLD, "one says so, one does not"
    assert apart_everywhere([off, population("b", 0, dated=False)]) == TOLD
    assert apart_everywhere([population("b", 0, dated=False)]) == apart_everywhere([]) == ""
    assert apart([population("b", 3), off]) == TOLD


def test_the_seal_of_a_report_warns_of_dates_that_were_far_off() -> None:
    def told(least: int | None, most: int | None) -> str:
        return warned({"clock": {"ntpOffsetMs": None, "peerDates": {"min": least, "max": most}}})

    assert told(0, 25919999) == (
        "the date of a server and the clock of the collecting machine were 300 days apart; the limit is 15 minutes"
    )
    assert "2 hours apart" in told(-7200, 3)
    assert told(-900, 900) == told(None, None) == warned({}) == warned({"clock": {}}) == ""
