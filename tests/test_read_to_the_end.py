"""No list is taken for whole that its source left, passed over or read in part; the same from the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.api import Host, Http, Record, Row, Source, Verdict, check, ok, source
from collector.connect.aws import Aws, AwsAccount
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire, Wire
from collector.fetch import fetch
from collector.judge import Bench, judge
from collector.model import Refused, Shard, Task, Unavailable, instant
from collector.rerun import _differences
from collector.results import Results
from tests.host_tls_worlds import HostWorld
from tests.http_world import HttpWorld, Reply, same, worlds
from tests.worlds import LIMITS, MemoryLedger, Reading

USERS = [{"id": f"u{number}"} for number in range(7)]
LEFT = ("truncated", "the list of acme:GET /users was left before its end")
PASSED_OVER = ("denied", "acme:GET /denied was not answered (denied), and the source went on without it")
PART = (
    "truncated",
    "of acme:GET /users only the first page was asked for, and the source does not declare what for",
)
PERMISSIONS = ("GET /users", "GET /alone", "GET /denied", "GET /missing", "GET /flaky", "GET /of/{id}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpWorld]:
    for made in worlds(HttpWorld, tmp_path):
        made.paged("/users", USERS)
        made.paged("/alone", USERS, 100)
        made.route("/denied", lambda _: Reply(403, {"error": "forbidden"}))
        made.route("/missing", lambda _: Reply(404, {"error": "there is none"}))
        made.route("/of/{id}", lambda request: Reply(403 if request.query["{id}"] == "u1" else 200, {"error": "no"}))
        made.faults["/flaky"] = lambda _, number: Reply(503, {}) if number == 1 else Reply(200, {"fine": True})
        yield made


def reading(world: HttpWorld, rows: Callable[[Http], Iterator[Row]], parts: str = "") -> Reading:
    """What a source reads, which is the same from the record."""
    rows.__doc__ = "All users."
    declared = source("acme.t.users", key="id", per="connection", permissions=PERMISSIONS, parts=parts)(rows)
    live = world.read_source(declared, attempts=2)
    same(world, live, declared)
    return live


def gap_of(live: Reading) -> tuple[str, str] | None:
    gap = live.shard.population.gap
    assert (live.shard.population.basis == "terminal-page") == (gap is None)
    return (str(gap.kind), gap.reason) if gap else None


def breaks(http: Http) -> Iterator[Row]:
    for number, user in enumerate(http.pages("/users")):
        if number == 4:
            break
        yield user


def slices(http: Http) -> Iterator[Row]:
    yield from islice(http.pages("/users"), 4)


def slices_a_page(http: Http) -> Iterator[Row]:
    yield from islice(http.pages("/alone"), 4)


def keeps_the_rest(http: Http) -> Iterator[Row]:
    pages = http.pages("/alone")
    http.kept = pages  # type: ignore[attr-defined]
    yield next(pages)


def swallows(http: Http) -> Iterator[Row]:
    yield from http.pages("/users")
    with suppress(Unavailable):
        http.get("/denied")


def throws_away(http: Http) -> Iterator[Row]:
    yield from http.pages("/users")
    http.attempt("/denied")


def names_another(http: Http) -> Iterator[Row]:
    """A gap of a row speaks for its own request, not for another of the same operation that no row tells of."""
    http.attempt("/of/{id}", id="u1")
    for user in http.pages("/users"):
        yield {**user, "of": http.attempt("/of/{id}", id=user["id"])}


def takes_a_part(http: Http) -> Iterator[Row]:
    yield from http.get("/users", part=True)


@pytest.mark.parametrize(
    ("rows", "gap"),
    [
        (breaks, LEFT),
        (slices, LEFT),
        (slices_a_page, ("truncated", "the list of acme:GET /alone was left before its end")),
        (keeps_the_rest, ("truncated", "the list of acme:GET /alone was left before its end")),
        (swallows, PASSED_OVER),
        (throws_away, PASSED_OVER),
        (names_another,
         ("denied", "acme:GET /of/{id} was not answered (denied), and the source went on without it")),
        (takes_a_part, PART),
    ],
)  # fmt: skip
def test_what_was_not_read_is_a_gap(
    world: HttpWorld, rows: Callable[[Http], Iterator[Row]], gap: tuple[str, str]
) -> None:
    assert gap_of(reading(world, rows)) == gap


@pytest.mark.parametrize("absent", [401, 403, "Forbidden", "access_denied", "*"])
def test_a_refusal_is_never_there_is_none(world: HttpWorld, absent: int | str) -> None:
    def rows(http: Http) -> Iterator[Row]:
        yield from http.get("/denied", absent=(absent,)) or ()
        yield {"id": "y"}

    kind, reason = gap_of(reading(world, rows)) or ("", "")
    assert kind == "crashed"
    assert f"{absent} means refused, not that there is none; take it out of absent=" in reason


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "Throttling"])
def test_a_refusal_of_aws_is_never_there_is_none(code: str) -> None:
    account = AwsAccount(None, endpoint_url=None, limits=LIMITS, workers=1)
    wire = ReplayWire(Task("aws.s3.buckets", "c"), [], {}.__getitem__)
    aws = Aws(wire, account, "eu-central-1", retry=Retry(attempts=1, waits=False), limits=LIMITS)
    with pytest.raises(ValueError, match=f"{code} means refused"):
        aws.call("s3", "get_bucket_policy", absent=("NoSuchBucketPolicy", code), Bucket="b")


def whole(http: Http) -> Iterator[Row]:
    yield from http.pages("/users")


def told_in_the_row(http: Http) -> Iterator[Row]:
    for user in http.pages("/users"):
        yield {**user, "of": http.attempt("/of/{id}", id=user["id"])}


def told_once(http: Http) -> Iterator[Row]:
    try:
        http.get("/denied")
    except Unavailable as error:
        refused = Refused(error.kind, error.reason, error.operation)
    for user in http.pages("/users"):
        yield {**user, "more": refused}


def none_there(http: Http) -> Iterator[Row]:
    yield from http.get("/missing", absent=(404,)) or ()


def tried_again(http: Http) -> Iterator[Row]:
    yield {"id": "one", **http.get("/flaky")}


@pytest.mark.parametrize("rows", [whole, told_in_the_row, told_once, none_there, tried_again])
def test_what_was_answered_or_stands_in_a_row_is_no_gap_of_the_list(
    world: HttpWorld, rows: Callable[[Http], Iterator[Row]]
) -> None:
    assert gap_of(reading(world, rows)) is None


def test_a_part_that_is_declared_says_so_on_its_line(world: HttpWorld) -> None:
    def rows(http: Http) -> Iterator[Row]:
        yield {"id": "count", "first": len(http.get("/users", part=True))}

    live = reading(world, rows, parts="how many there are at least")
    assert gap_of(live) is None
    assert [(line["part"], line["last"]) for line in live.ledger.lines] == [(True, False)]
    assert all("part" not in line for line in reading(world, whole).ledger.lines)


def test_only_counts_come_from_a_part() -> None:
    library = plugins.load()
    parts = {name for name, one in library.sources.items() if one.parts}
    others = {
        dataset
        for one in library.checks.values()
        for dataset in one.datasets
        if dataset in parts and not (one.reconciles and dataset not in one.reconciles)
    }
    assert parts == {"entra.user-count", "kubernetes.counts", "ldap.accounts"}
    assert others == {"ldap.accounts"}, "its part tells whether sign-ins are recorded; its rows are read whole"


def test_records_that_a_rule_leaves_out_are_counted_and_sealed(world: HttpWorld) -> None:
    def rows(http: Http) -> Iterator[Row]:
        for user in http.pages("/users"):
            if user["id"] in ("u1", "u3"):
                http.leave_out("users of old")
                continue
            yield user

    live = reading(world, rows)
    population = live.shard.population
    assert (gap_of(live), population.rows, population.left_out) == (None, 5, (("users of old", 2),))
    sealed = Results([], [], [live.shard, reading(world, whole).shard], (), ())
    assert [line.get("leftOut") for line in sealed.lines()] == [{"users of old": 2}, None]


def test_a_run_from_before_such_records_were_counted_is_no_different() -> None:
    before = {"kind": "population", "task": "t", "rows": 5}
    now = {**before, "leftOut": {"users of old": 2}}
    assert list(_differences([before], [now])) == []
    assert list(_differences([{**before, "leftOut": {"users of old": 1}}], [now])) != []
    assert list(_differences([now], [before])) != []


@check("acme.t.there", title="Users are there", severity="low", each="acme.t.users")
def there(user: Record) -> Verdict:
    """It is there."""
    return ok(f"{user['id']} is there")


def test_nothing_passes_that_nothing_on_record_shows(world: HttpWorld) -> None:
    def rows(http: Http) -> Iterator[Row]:
        yield {"id": "invented"}
        yield from http.pages("/users")

    live = reading(world, rows)
    first, second, *_ = judge([there], [live.shard], Bench(instant("2026-06-01T00:00:00Z"), {}))
    assert (first.resource, str(first.outcome), first.evidence) == ("invented", "UNKNOWN", ())
    assert first.reason == "nothing on record shows it; seen here: PASS (invented is there)"
    assert (second.resource, str(second.outcome)) == ("u0", "PASS")


def machine(tmp_path: Path, declared: Source) -> Shard:
    """What a source reads of a made-up machine, which is the same from the record."""
    made, ledger, task = HostWorld(tmp_path), MemoryLedger(), Task(declared.id, "here")
    made.program("second", script="echo 12")

    def read(wire: Wire, name: str) -> Shard:
        return fetch(task, declared, made.connect(wire, Retry(attempts=1, waits=False)), tmp_path / name)

    live = read(LiveWire(task, ledger), "live")
    assert read(ReplayWire(task, ledger.lines, ledger.objects.__getitem__), "again").population == live.population
    return live


@pytest.mark.parametrize("programs", [("first", "second"), ("first", "third")])
def test_of_several_ways_to_ask_one_answer_is_enough(tmp_path: Path, programs: tuple[str, ...]) -> None:
    told: dict[str, Any] = {}

    @source("host.t", key="Id", per="connection", permissions=())
    def first(host: Host) -> Iterator[Row]:
        """One thing."""
        told["argv"], reply = host.attempt_first(*((name,) for name in programs))
        yield {"Id": "one", "reply": reply}

    shard = machine(tmp_path, first)
    assert shard.population.gap is None
    assert told["argv"] == (("second",) if "second" in programs else ())
    assert bool(shard.population.partial) == ("second" not in programs)


def test_a_program_that_is_passed_over_without_a_word_is_a_gap(tmp_path: Path) -> None:
    @source("host.t", key="Id", per="connection", permissions=())
    def quiet(host: Host) -> Iterator[Row]:
        """One thing."""
        host.attempt_run("first")
        yield {"Id": "one", "reply": host.run("second")}

    gap = machine(tmp_path, quiet).population.gap
    assert gap
    assert (gap.kind, gap.operation) == ("absent-program", "host:run")
