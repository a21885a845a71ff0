"""The connection to REST APIs: every reply on record, every list to its end, and the same rows in a replay."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from collector.api import Cursor, Field, Http, Link, Offset, Pages, Redaction, Row, Source, Token, source
from collector.collect import collect
from collector.config import HttpConnection, load
from collector.connect import credential as credentials
from collector.connect import opening, rights
from collector.connect.base import Limits
from collector.connect.credential import ClientCredentials, NoCredentialError
from collector.connect.http import Site, _after_s, open_session
from collector.connect.wire import LiveWire, ReplayWire, Wire
from collector.errors import ConfigError
from collector.model import GapKind, Refused, Task, Unavailable
from collector.paging import Page, Pager, Turn
from collector.plan import _place
from collector.secrets import Secret
from tests.http_world import TOKEN, HttpWorld, Reply, Request, basic_of, packed, same, worlds
from tests.worlds import MemoryLedger, Reading

THINGS = [{"id": f"t{number}"} for number in range(5)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpWorld]:
    yield from worlds(HttpWorld, tmp_path)


def things(pager: Pager = Link(), *, rows: str = "", redactions: tuple[Redaction, ...] = (), **query: Any) -> Source:  # noqa: B008
    """A source that lists ``/things``."""

    @source("acme.t.things", key="id", per="connection", permissions=("GET /things",), redactions=redactions)
    def declared(http: Http) -> Iterator[Row]:
        """Every thing."""
        yield from http.pages("/things", rows=rows, pager=pager, **query)

    return declared


def one(ask: Callable[[Http], Any]) -> Source:
    """A source of one row, with what ``ask`` gives as ``reply``."""

    @source("acme.t.one", key="Id", per="connection", permissions=("GET /*",))
    def declared(http: Http) -> Iterator[Row]:
        """One thing."""
        yield {"Id": "one", "reply": ask(http)}

    return declared


def gap_of(reading: Reading) -> tuple[str, str]:
    gap = reading.shard.population.gap
    assert gap is not None
    assert not reading.shard.population.proven
    return str(gap.kind), gap.reason


# Lists


def test_pages_are_read_to_the_last_and_replay_to_the_same_rows(world: HttpWorld) -> None:
    world.paged("/things", THINGS)
    reading = world.read_source(things(limit=2, active=True))
    assert reading.rows == THINGS
    assert reading.shard.population.proven
    first, second, third = reading.ledger.lines
    assert (first["op"], first["params"], first["method"]) == ("acme:GET /things", {"limit": 2, "active": True}, "GET")
    assert (first["endpoint"], first["status"], first["caller"]) == (world.origin, 200, "token env:ACME_TOKEN")
    assert [line["page"] for line in reading.ledger.lines] == [1, 2, 3]
    assert (second["tokenIn"], third["tokenIn"]) == (first["tokenOut"], second["tokenOut"])
    assert [line["last"] for line in reading.ledger.lines] == [False, False, True]
    assert reading.ledger.objects[first["sha256"]] == json.dumps(THINGS[:2]).encode()
    assert [request.query["active"] for request in world.requests] == ["true"] * 3
    same(world, reading, things(limit=2, active=True))


def test_an_empty_list_is_read_to_its_end(world: HttpWorld) -> None:
    world.paged("/things", [])
    reading = world.read_source(things())
    assert (reading.rows, reading.shard.population.proven, len(reading.ledger.lines)) == ([], True, 1)


def in_body(world: HttpWorld, body: Callable[[Request], Any]) -> None:
    world.route("/things", lambda request: Reply(body=body(request)))


def by_field(world: HttpWorld) -> Pager:
    def body(request: Request) -> Any:
        start = int(request.query.get("$skip", 0))
        more = {"@odata.nextLink": f"{world.origin}/things?$skip={start + 2}"} if start + 2 < 5 else {}
        return {"data": {"items": THINGS[start : start + 2]}, **more}

    in_body(world, body)
    return Field("@odata.nextLink")


def by_token(world: HttpWorld) -> Pager:
    def body(request: Request) -> Any:
        start = int(request.query.get("pageToken", 0))
        last = start + 2 >= 5
        return {
            "data": {"items": THINGS[start : start + 2]},
            "nextPageToken": "" if last else str(start + 2),
            "isLast": last,
        }

    in_body(world, body)
    return Token("nextPageToken", "pageToken", last="isLast")


def by_cursor(world: HttpWorld) -> Pager:
    def body(request: Request) -> Any:
        start = int(request.query.get("after", "t-1")[1:]) + 1
        return {"data": {"items": THINGS[start : start + 2]}, "has_more": start + 2 < 5}

    in_body(world, body)
    return Cursor("id", "after", more="has_more")


def by_offset(world: HttpWorld) -> Pager:
    def body(request: Request) -> Any:
        start = int(request.query["startAt"])
        assert request.query["max"] == "2"
        return {"data": {"items": THINGS[start : start + 2]}, "total": 5}

    in_body(world, body)
    return Offset("startAt", "max", size=2, total="total")


def by_offset_without_total(world: HttpWorld) -> Pager:
    in_body(world, lambda r: {"data": {"items": THINGS[int(r.query["first"]) : int(r.query["first"]) + 1]}})
    return Offset("first", "max", size=100)


def by_number(world: HttpWorld) -> Pager:
    def body(request: Request) -> Any:
        start = 2 * (int(request.query["page"]) - 1)
        return {"data": {"items": THINGS[start : start + 2]}}

    in_body(world, body)
    return Pages("page", "per_page", size=2)


@pytest.mark.parametrize("furnish", [by_field, by_token, by_cursor, by_offset, by_offset_without_total, by_number])
def test_each_way_of_paging_reads_all_and_replays(world: HttpWorld, furnish: Callable[[HttpWorld], Pager]) -> None:
    declared = things(furnish(world), rows="data/items")
    reading = world.read_source(declared)
    assert reading.rows == THINGS
    assert reading.shard.population.proven
    assert [line["last"] for line in reading.ledger.lines] == [False] * (len(reading.ledger.lines) - 1) + [True]
    same(world, reading, declared)


def page(
    body: Any = None, *, rows: int = 1, read: int = 1, number: int = 1, total: int | None = None, link: str = ""
) -> Page:
    return Page(body, {"link": link} if link else {}, [{"id": f"r{n}"} for n in range(rows)], read, number, total)


@pytest.mark.parametrize(
    ("pager", "shown", "token"),
    [
        (Link(), page(), None),
        (Link(), page(link='</a>; rel="self", </b>; rel="next"'), "/b"),
        (Link(), page(link='</b?x=1,2;3>; title="a, b; rel=no"; rel=next'), "/b?x=1,2;3"),
        (Link(), page(link='</b>; rel="last next"'), "/b"),
        (Link(), page(link='</b>; rel="prev"'), None),
        (Field("a/b"), page({"a": {"b": "/n"}}), "/n"),
        (Field("a/b"), page({"a": None}), None),
        (Token("t", "p"), page({"t": 7}), "7"),
        (Token("t", "p"), page({"t": None}), None),
        (Token("t", "p", last="l"), page({"t": "x", "l": True}), None),
        (Token("t", "p", more="m"), page({"t": "x", "m": True}), "x"),
        (Token("t", "p", more="m"), page({"t": "x", "m": False}), None),
        (Cursor("id", "p", more="m"), page({"m": True}, rows=2), "r1"),
        (Cursor("id", "p", more="m"), page({"m": False}, rows=0), None),
        (Offset("o", "l", total="t"), page({"t": 2}, read=1), "1"),
        (Offset("o", "l", total="t"), page({"t": 2}, read=2, total=2), None),
        (Offset("o", "l", total="t"), page({"t": 0}, rows=0, read=0), None),
        (Offset("o", "l"), page(rows=1, read=1), "1"),
        (Offset("o", "l"), page(rows=0, read=1), None),
        (Pages("p", "l", first=0), page(number=1), "1"),
        (Pages("p", "l"), page(number=1), "2"),
        (Pages("p", "l", total="t"), page({"t": 1}, read=1), None),
    ],
)
def test_what_follows_a_page(pager: Pager, shown: Page, token: str | None) -> None:
    turn = pager.following(shown)
    assert (turn.token if turn else None) == token


@pytest.mark.parametrize(
    ("pager", "shown", "kind"),
    [
        (Link(), page(link='</a>; rel="next", </b>; rel="next"'), "malformed"),
        (Link(), page(link='</b; rel="next"'), "malformed"),
        (Field("n"), page({"n": {"href": "/b"}}), "malformed"),
        (Field("n"), page({"n": True}), "malformed"),
        (Token("t", "p", last="l"), page({"l": False}), "truncated"),
        (Token("t", "p", last="l"), page({"t": "x"}), "malformed"),
        (Token("t", "p", more="m"), page({"t": "x", "m": "yes"}), "malformed"),
        (Cursor("id", "p", more="m"), page({"m": True}, rows=0), "truncated"),
        (Cursor("id", "p", more="m"), page({}), "malformed"),
        (Offset("o", "l", total="t"), page({}), "malformed"),
        (Offset("o", "l", total="t"), page({"t": True}), "malformed"),
        (Offset("o", "l", total="t"), page({"t": 3}, read=2, total=4), "truncated"),
        (Offset("o", "l", total="t"), page({"t": 1}, read=2), "truncated"),
        (Pages("p", "l", total="t"), page({"t": 3}, rows=0, read=2), "truncated"),
    ],
)
def test_a_page_that_contradicts_itself_ends_the_list_unproven(pager: Pager, shown: Page, kind: str) -> None:
    with pytest.raises(Unavailable) as caught:
        pager.following(shown)
    assert str(caught.value.kind) == kind


@pytest.mark.parametrize(
    "link", ["https://evil.example.org/things", "http://127.0.0.1:1/things", "//evil.example.org/", "http://[/x"]
)
def test_a_next_link_to_another_host_is_refused(world: HttpWorld, link: str) -> None:
    world.route("/things", lambda request: Reply(body=THINGS[:2], links=(f'<{link}>; rel="next"',)))
    reading = world.read_source(things())
    assert gap_of(reading)[0] == "malformed"
    assert reading.rows == [], "a page that breaks the chain gives nothing"
    assert len(world.requests) == 1
    same(world, reading, things())


def test_a_link_with_another_scheme_or_a_user_is_refused(world: HttpWorld) -> None:
    host = world.origin.removeprefix("http://")
    for link in (f"https://{host}/things", f"http://me:pw@{host}/things", "ftp://x/y"):
        world.routes.clear()
        world.route("/things", lambda request, link=link: Reply(body=THINGS, links=(f'<{link}>; rel="next"',)))
        assert gap_of(world.read_source(things()))[0] == "malformed"
    assert len(world.requests) == 3


def test_a_relative_next_link_is_followed(world: HttpWorld) -> None:
    world.route(
        "/things",
        lambda r: (
            Reply(body=THINGS[3:]) if "after" in r.query else Reply(body=THINGS[:3], links=('<?after=3>; rel="next"',))
        ),
    )
    assert world.read_source(things()).rows == THINGS


def test_a_loop_of_next_links_is_noticed(world: HttpWorld) -> None:
    def loop(request: Request) -> Reply:
        here = request.query.get("after", "0")
        link = f'<{world.origin}/things?after={ {"0": "1", "1": "2", "2": "1"}[here] }>; rel="next"'
        return Reply(body=[{"id": f"t{here}"}], links=(link,))

    world.route("/things", loop)
    reading = world.read_source(things())
    assert gap_of(reading)[0] == "repeated-token"
    assert len(world.requests) == 3
    same(world, reading, things())


def test_more_pages_than_allowed_are_a_gap(world: HttpWorld) -> None:
    world.paged("/things", THINGS, size=1)
    limits = Limits(max_pages=3, timeout_s=10)
    reading = world.read_source(things(), limits=limits)
    assert gap_of(reading) == ("page-cap", "acme:GET /things has more than 3 pages")
    same(world, reading, things(), limits=limits)


def test_a_record_that_comes_twice_is_a_gap(world: HttpWorld) -> None:
    world.paged("/things", [*THINGS, THINGS[0]])
    assert gap_of(world.read_source(things()))[0] == "duplicate"


@pytest.mark.parametrize(
    ("body", "rows", "words"),
    [
        (b"<html>busy</html>", "", "not JSON"),
        (b"", "", "not JSON"),
        (b'[{"id": "t1"}', "", "not JSON"),
        ({"value": []}, "", "without a list"),
        ({"values": []}, "value", "without value"),
        ({"value": None}, "value", "without value"),
        ([], "value", "without value"),
    ],
)
def test_a_reply_without_its_list_is_malformed_not_empty(world: HttpWorld, body: Any, rows: str, words: str) -> None:
    world.route("/things", lambda request: Reply(body=body))
    kind, reason = gap_of(world.read_source(things(rows=rows)))
    assert kind == "malformed"
    assert words in reason


def test_a_count_that_moves_is_a_gap(world: HttpWorld) -> None:
    in_body(world, lambda r: {"data": THINGS[int(r.query["o"]) :][:2], "total": 5 if r.query["o"] == "0" else 6})
    declared = things(Offset("o", "l", size=2, total="total"), rows="data")
    reading = world.read_source(declared)
    assert gap_of(reading)[0] == "truncated"
    same(world, reading, declared)


# Refusals


@pytest.mark.parametrize(
    ("status", "body", "kind", "asked", "words"),
    [
        (401, {"errorCode": "E0000011"}, "unauthenticated", 1, "the credential is not valid (401 E0000011)"),
        (403, {"errorCode": "E0000006"}, "denied", 1, "was refused (403 E0000006)"),
        (403, b"<html>secret page</html>", "denied", 1, "was refused (403)"),
        (404, {"error": {"code": "itemNotFound"}}, "rejected", 1, "was rejected (404 itemNotFound)"),
        (400, {"error": {"message": "free text"}}, "rejected", 1, "was rejected (400)"),
        (302, b"", "rejected", 1, "which is not followed"),
        (202, {}, "rejected", 1, "was rejected (202)"),
        (206, [], "rejected", 1, "was rejected (206)"),
        (501, b"", "unsupported", 1, "is not supported here"),
        (429, {"errorCode": "E0000047"}, "throttled", 3, "was throttled (429 E0000047) (3 attempts)"),
        (403, {"error": {"errors": [{"reason": "rateLimitExceeded"}]}}, "throttled", 3, "rateLimitExceeded"),
        (408, b"", "timeout", 3, "timed out"),
        (500, b"oops", "server-error", 3, "failed on the server (500)"),
        (503, b"", "server-error", 3, "failed on the server (503)"),
    ],
)
def test_a_refusal_is_named_kept_and_only_a_passing_one_is_tried_again(
    world: HttpWorld, status: int, body: Any, kind: str, asked: int, words: str
) -> None:
    world.faults["/things"] = lambda request, number: Reply(status, body, {"Location": "https://evil.example.org/"})
    reading = world.read_source(things(), attempts=3)
    found = gap_of(reading)
    assert found[0] == kind
    assert words in found[1]
    assert len(world.requests) == asked == len(reading.ledger.lines)
    for line in reading.ledger.lines:
        assert (line["status"], line["error"]["kind"], line["last"]) == (status, kind, False)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert reading.ledger.objects[line["sha256"]] == sent
    same(world, reading, things(), attempts=3)


def test_403_with_a_spent_limit_is_throttling(world: HttpWorld) -> None:
    world.paged("/things", THINGS)
    world.faults["/things"] = lambda r, n: Reply(403, {}, {"X-RateLimit-Remaining": "0"}) if n == 1 else None
    assert world.read_source(things()).rows == THINGS


@pytest.mark.parametrize("first", [Reply(429, {}, {"Retry-After": "0"}), Reply(500, b"oops"), Reply(200, [], cut=True)])
def test_what_passes_by_itself_is_tried_again_in_one_place(world: HttpWorld, first: Reply) -> None:
    first = Reply(first.status, THINGS, first.headers, cut=first.cut)
    world.paged("/things", THINGS)
    world.faults["/things"] = lambda request, number: first if number == 2 else None
    reading = world.read_source(things())
    assert reading.rows == THINGS
    assert reading.shard.population.proven
    assert [line["attempt"] for line in reading.ledger.lines] == [1, 1, 2, 1]
    same(world, reading, things())


def test_a_token_that_expires_in_mid_run_leaves_the_list_unproven(world: HttpWorld) -> None:
    world.paged("/things", THINGS)
    world.faults["/things"] = lambda r, n: Reply(401, {"errorCode": "E0000011"}) if n == 2 else None
    reading = world.read_source(things())
    assert gap_of(reading)[0] == "unauthenticated"
    assert reading.rows == THINGS[:2]
    same(world, reading, things())


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=9), usegmt=True)}, 0.0),
        ({"x-rate-limit-reset": str(int(NOW.timestamp()) + 30)}, 30.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_pause_is_the_one_the_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert _after_s({"date": format_datetime(NOW, usegmt=True), **headers}) == seconds


def test_a_server_that_does_not_answer_is_a_gap_without_its_library_text(world: HttpWorld) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{free.getsockname()[1]}"
    site = Site("acme", origin, credential=world.credential(), session=open_session("acme", workers=2))
    kind, reason = gap_of(world.read_source(things(), site=site))
    assert kind == "unreachable"
    assert reason == "acme:GET /things got no usable reply: ConnectionRefusedError: Connection refused (2 attempts)"


def test_a_server_that_is_slow_is_a_timeout(world: HttpWorld) -> None:
    stop = threading.Event()
    world.route("/things", lambda request: Reply(body=[stop.wait(2)]))
    kind, reason = gap_of(world.read_source(things(), site=world.site(timeout_s=0.2), attempts=1))
    stop.set()
    assert (kind, "no answer within 0.2 s" in reason) == ("timeout", True)


def test_a_certificate_that_is_not_trusted_is_refused(world: HttpWorld) -> None:
    site = Site(
        "acme",
        world.origin.replace("http:", "https:"),
        credential=world.credential(),
        session=open_session("acme", workers=2),
    )
    assert gap_of(world.read_source(things(), site=site, attempts=1))[0] == "unreachable"
    assert open_session("acme", workers=2).verify is True
    assert world.requests == []


def test_a_reply_that_is_too_large_is_a_gap(world: HttpWorld) -> None:
    world.route("/things", lambda request: Reply(body=[{"id": "x" * 5000}]))
    reading = world.read_source(things(), limits=Limits(max_reply_bytes=4096, timeout_s=10))
    assert gap_of(reading)[0] == "oversized"
    same(world, reading, things(), limits=Limits(max_reply_bytes=4096, timeout_s=10))


def test_compression_nobody_asked_for_is_undone_and_noted(world: HttpWorld) -> None:
    world.faults["/things"] = lambda request, number: packed(THINGS)
    reading = world.read_source(things())
    assert reading.rows == THINGS
    assert "decoded from gzip" in reading.ledger.lines[0]["detail"]
    assert world.requests[0].headers["accept-encoding"] == "identity"
    same(world, reading, things())


def test_declared_parts_are_taken_out_before_anything_sees_them(world: HttpWorld) -> None:
    hide = Redaction("acme:GET /things", "not needed", json="[].phone")
    world.paged("/things", [{"id": "t1", "phone": "555-0101"}, {"id": "t2", "phone": None}])
    world.faults["/things"] = lambda r, n: Reply(500, b"<html>555-0101</html>") if n == 1 else None
    declared = things(redactions=(hide,))
    reading = world.read_source(declared)
    assert [row["phone"] for row in reading.rows] == ["REDACTED", "REDACTED"]
    assert b"555" not in b"".join(reading.ledger.objects.values())
    assert [line["redactions"][0]["count"] for line in reading.ledger.lines] == [1, 2]
    same(world, reading, declared)


# Single replies


def test_one_reply_now_and_one_deferred(world: HttpWorld) -> None:
    world.route(
        "/things/{id}/parts", lambda request: Reply(body={"of": request.query["{id}"], "q": request.query["q"]})
    )
    for ask in (
        one(lambda http: http.get("/things/{id}/parts", id="a/b c", q="x&y")),
        one(lambda http: http.attempt("/things/{id}/parts", id="a/b c", q="x&y")),
    ):
        reading = world.read_source(ask)
        assert reading.row("one")["reply"] == {"of": "a%2Fb%20c", "q": "x&y"}
        (line,) = reading.ledger.lines
        assert (line["op"], line["params"]) == ("acme:GET /things/{id}/parts", {"id": "a/b c", "q": "x&y"})
        same(world, reading, ask)


def test_absent_is_none_and_anything_else_stands_in_the_row(world: HttpWorld) -> None:
    world.route("/no-content", lambda request: Reply(204))
    world.route("/gone", lambda request: Reply(400, {"errorCode": "E0000123"}))
    world.route("/denied", lambda request: Reply(403, {"errorCode": "E0000006"}))
    ask = one(
        lambda http: {
            "missing": http.attempt("/missing", absent=(404,)),
            "code": http.attempt("/gone", absent=("E0000123",)),
            "list": http.attempt_all("/missing/list", absent=(404,)),
            "empty": http.attempt("/no-content"),
            "now": http.get("/missing/now", absent=(404,)),
            "denied": http.attempt("/denied", absent=(404,)),
        }
    )
    reading = world.read_source(ask)
    reply = reading.row("one")["reply"]
    assert [reply[name] for name in ("missing", "code", "list", "empty", "now")] == [None, None, None, {}, None]
    assert isinstance(dict(dict.items(reply))["denied"], Refused)
    with pytest.raises(Unavailable, match=r"acme:GET /denied was refused \(403 E0000006\)"):
        reply["denied"]
    assert [gap.kind for gap in reading.shard.population.partial] == ["denied"]
    kinds = {line["op"]: line.get("error", {}).get("kind") for line in reading.ledger.lines}
    assert kinds["acme:GET /missing"] == "absent"
    same(world, reading, ask)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=[1], links=('</x?after=1>; rel="next"',)),
        Reply(body={"value": [], "@odata.nextLink": "/x"}),
        Reply(body={"items": [], "nextPageToken": "abc"}),
    ],
)
def test_a_first_page_is_not_taken_for_the_whole(world: HttpWorld, reply: Reply) -> None:
    world.route("/things", lambda request: reply)
    assert gap_of(world.read_source(one(lambda http: http.get("/things"))))[0] == "truncated"


def test_deferred_lists_are_whole_and_cite_their_replies(world: HttpWorld) -> None:
    world.paged("/things", THINGS)
    world.paged("/things/{id}/parts", THINGS, size=3)

    @source("acme.t.things", key="id", per="connection", permissions=("GET /things", "GET /things/{id}/parts"))
    def declared(http: Http) -> Iterator[Row]:
        """Every thing and its parts."""
        for thing in http.pages("/things"):
            yield {**thing, "parts": http.attempt_all("/things/{id}/parts", id=thing["id"])}

    reading = world.read_source(declared)
    assert [row["parts"] for row in reading.rows] == [THINGS] * 5
    assert len(reading.ledger.lines) == 3 + 5 * 2
    same(world, reading, declared)


def test_the_time_of_asking_is_on_record(world: HttpWorld) -> None:
    world.route("/log", lambda request: Reply(body={"until": request.query["until"]}))
    ask = one(lambda http: http.get("/log", until=http.now().isoformat()))
    reading = world.read_source(ask)
    assert datetime.now(UTC) - datetime.fromisoformat(reading.row("one")["reply"]["until"]) < timedelta(minutes=1)
    same(world, reading, ask)


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        ("things", {}, "is not a path"),
        ("//evil.example.org/things", {}, "is not a path"),
        ("/things?a=b", {}, "is not a path"),
        ("/things/{id}", {}, "needs id"),
        ("/things/{id}", {"id": ".."}, "cannot stand in a path"),
        ("/things/{id}", {"id": ""}, "cannot stand in a path"),
        ("/things/{id}", {"id": None}, "cannot stand in a path"),
        ("/things", {"access_token": "x"}, "would carry a secret"),
        ("/things", {"Private_Token": "x"}, "would carry a secret"),
        ("/things", {"q": None}, "has no value"),
    ],
)
def test_a_source_that_asks_wrongly_crashes_and_nothing_is_sent(
    world: HttpWorld, path: str, params: dict[str, Any], words: str
) -> None:
    kind, reason = gap_of(world.read_source(one(lambda http: http.get(path, **params))))
    assert kind == "crashed"
    assert words in reason
    assert world.requests == []


# Credentials


def test_no_secret_reaches_record_or_row(world: HttpWorld) -> None:
    world.paged("/things", THINGS)
    world.faults["/things"] = lambda r, n: (
        Reply(403, {"errorCode": "E0000006"}, {"Set-Cookie": "sid=1"}) if n == 2 else None
    )
    reading = world.read_source(things())
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in world.requests)
    assert all("cookie" not in request.headers for request in world.requests)
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    assert TOKEN.encode() not in kept
    assert b"sid=1" not in kept


def test_netrc_does_not_replace_the_credential(
    world: HttpWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    world.paged("/things", THINGS)
    assert world.read_source(things()).shard.population.proven


def test_a_token_that_cannot_be_sent_is_refused_without_repeating_it() -> None:
    for value in ("abc\ndef", "schlüssel", " abc"):
        with pytest.raises(ConfigError) as caught:
            credentials.token("env:T", "Authorization: Bearer {token}", Secret(value))
        assert value not in str(caught.value)


def test_a_user_with_a_password(world: HttpWorld) -> None:
    world.allowed = lambda request: None if basic_of(request) == "me@example.org:pw" else Reply(401, {})  # type: ignore[method-assign]
    world.paged("/things", THINGS)
    held = credentials.basic("me@example.org", "env:PW", Secret("pw"))
    reading = world.read_source(things(), site=world.site(held))
    assert reading.rows == THINGS
    assert reading.ledger.lines[0]["caller"] == "me@example.org, env:PW"


class TokenServer:
    """Hands out tokens that the world accepts until they are spent."""

    def __init__(self, world: HttpWorld, lifetime_s: float = 3600) -> None:
        self.forms: list[dict[str, str]] = []
        self.lifetime_s = lifetime_s
        self.answer: Reply | None = None
        self._world = world
        world.allowed = self._allowed  # type: ignore[method-assign]
        world.route("/token", self._hand_out)

    def client(self, **proof: Any) -> ClientCredentials:
        return ClientCredentials(
            token_url=f"{self._world.origin}/token", client_id="c1", scopes=("a.read", "b.read"),
            post=credentials.poster(open_session("acme", workers=2), 5), **proof,
        )  # fmt: skip

    def _allowed(self, request: Request) -> Reply | None:
        current = f"Bearer access-{len(self.forms)}"
        return None if request.path == "/token" or request.headers.get("authorization") == current else Reply(401, {})

    def _hand_out(self, request: Request) -> Reply:
        from urllib.parse import parse_qsl

        self.forms.append(dict(parse_qsl(request.body.decode())))
        body = {"access_token": f"access-{len(self.forms)}", "token_type": "Bearer", "expires_in": self.lifetime_s}
        return self.answer or Reply(body=body)


def test_a_client_fetches_its_token_once_and_nothing_of_it_is_recorded(world: HttpWorld) -> None:
    server = TokenServer(world)
    world.paged("/things", THINGS)
    site = world.site(server.client(client_secret=Secret("hush")))
    reading = world.read_source(things(), site=site)
    assert reading.rows == THINGS
    assert server.forms == [
        {"grant_type": "client_credentials", "client_id": "c1", "scope": "a.read b.read", "client_secret": "hush"}
    ]
    assert [line["op"] for line in reading.ledger.lines] == ["acme:GET /things"] * 3
    assert reading.ledger.lines[0]["caller"] == "client c1"
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    assert b"hush" not in kept
    assert b"access-" not in kept
    same(world, reading, things())


def test_a_token_is_renewed_before_it_runs_out(world: HttpWorld) -> None:
    server = TokenServer(world, lifetime_s=0)
    world.paged("/things", THINGS)
    assert world.read_source(things(), site=world.site(server.client(client_secret=Secret("s")))).rows == THINGS
    assert len(server.forms) == 3


def test_a_token_that_was_refused_is_not_tried_again_but_the_next_request_has_another(world: HttpWorld) -> None:
    server = TokenServer(world)
    world.paged("/things", THINGS)
    site = world.site(server.client(client_secret=Secret("s")))
    world.faults["/things"] = lambda request, number: Reply(401, {}) if number == 1 else None
    assert gap_of(world.read_source(things(), site=site))[0] == "unauthenticated"
    assert world.read_source(things(), site=site).rows == THINGS
    assert len(server.forms) == 2


def test_a_client_signs_with_its_key(world: HttpWorld) -> None:
    import base64

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    server = TokenServer(world)
    world.paged("/things", THINGS)
    assert (
        world.read_source(things(), site=world.site(server.client(private_key=Secret(pem), key_id="k1"))).rows == THINGS
    )
    (form,) = server.forms
    assert "client_secret" not in form
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in form["client_assertion"].split("."))
    signed = form["client_assertion"].rpartition(".")[0].encode()
    key.public_key().verify(signature, signed, padding.PKCS1v15(), SHA256())
    assert json.loads(head) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    told = json.loads(claims)
    assert (told["iss"], told["sub"], told["aud"]) == ("c1", "c1", f"{world.origin}/token")
    assert told["exp"] - told["iat"] == 300
    with pytest.raises(ConfigError, match="not an unencrypted RSA key"):
        server.client(private_key=Secret("not a key"))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            Reply(401, {"error": "invalid_client", "error_description": "hush"}),
            "unauthenticated",
            "(401 invalid_client)",
        ),
        (Reply(400, b"nonsense"), "unauthenticated", "(400)"),
        (Reply(200, {"token_type": "Bearer"}), "unauthenticated", "without a bearer token"),
        (Reply(200, {"access_token": "x", "token_type": "mac"}), "unauthenticated", "without a bearer token"),
        (Reply(200, {"access_token": "a b", "expires_in": 5}), "unauthenticated", "cannot be sent"),
        (Reply(302, b"", {"Location": "https://evil.example.org/"}), "unauthenticated", "(302)"),
        (Reply(429, b""), "throttled", "status 429"),
        (Reply(503, b""), "server-error", "status 503"),
    ],
)
def test_a_token_that_is_not_given_is_a_gap_on_record(world: HttpWorld, answer: Reply, kind: str, words: str) -> None:
    server = TokenServer(world)
    server.answer = answer
    world.paged("/things", THINGS)
    reading = world.read_source(things(), site=world.site(server.client(client_secret=Secret("s"))))
    found = gap_of(reading)
    assert found[0] == kind
    assert words in found[1]
    assert "hush" not in json.dumps(reading.ledger.lines)
    assert {request.path for request in world.requests} == {"/token"}
    assert len(reading.ledger.lines) == (2 if kind in ("throttled", "server-error") else 1)
    same(world, reading, things())


def test_a_token_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    post = credentials.poster(open_session("acme", workers=1), 1)
    with pytest.raises(NoCredentialError, match="could not be asked for a token") as caught:
        post("http://127.0.0.1:1/token", {"client_secret": "hush"})
    assert caught.value.kind is GapKind.UNREACHABLE

    def slow(*_: object, **__: object) -> None:
        raise requests.ReadTimeout

    session = open_session("acme", workers=1)
    monkeypatch.setattr(session, "post", slow)
    with pytest.raises(NoCredentialError, match="did not answer in time"):
        credentials.poster(session, 1)("http://127.0.0.1:1/token", {})


# From the configuration to the connection and back

HEAD = """\
version: 1
organisation: Example Ltd
store: {path: evidence, origin: log.example.org/a}
key: {file: a.key, passphrase: env:PASS}
collection: {attempts: 2, timeout_s: 5}
connections:
"""


def configured(folder: Path, text: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(HEAD + text)
    return load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: okta, base_url: https://a.example", "token, basic and oauth are missing"),
        ("kind: okta, token: env:T", "base_url is missing"),
        ("kind: okta, base_url: http://a.example, token: env:T", "unencrypted"),
        ("kind: okta, base_url: https://a.example/?x=1, token: env:T", "holds a query"),
        ("kind: okta, base_url: https://me:pw@a.example, token: env:T", "user name or password"),
        ("kind: okta, base_url: https://a.example, token: abc", "literal value"),
        (
            "kind: okta, base_url: https://a.example, token: env:T, basic: {user: u, secret: env:S}",
            "stands beside token",
        ),
        ("kind: okta, base_url: https://a.example, token: env:T, provider: acme", "does not belong to the kind okta"),
        ("kind: okta, base_url: https://a.example, token: env:T, regions: [x]", "unknown key"),
        ("kind: http, base_url: https://a.example, token: env:T", "provider is missing"),
        ("kind: http, provider: okta, base_url: https://a.example", "is a kind of its own"),
        ("kind: http, provider: Acme, base_url: https://a.example", "wrong form"),
        ("kind: http, provider: acme, base_url: https://a.example, send_token: 'X: {token}'", "no token to send"),
        ("kind: http, provider: acme, base_url: https://a.example, token: env:T, send_token: 'X: abc'", "wrong form"),
        (
            "kind: entra, base_url: https://a.example, oauth: {token_url: https://b.example, client_id: c}",
            "are missing",
        ),
        (
            "kind: entra, base_url: https://a.example, oauth: "
            "{token_url: http://b.example, client_id: c, client_secret: env:S}",
            "unencrypted",
        ),
        (
            "kind: entra, base_url: https://a.example, oauth: "
            "{token_url: https://b.example, client_id: c, client_secret: env:S, private_key: env:K}",
            "stands beside client_secret",
        ),
    ],
)
def test_a_wrong_connection_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, f"  - {{name: a, {text}}}\n")
    assert words in caught.value.what
    assert caught.value.next_step


def test_every_form_of_credential_opens(world: HttpWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration, plan, collection and replay of one connection for each form."""
    server = TokenServer(world)
    own = server._allowed
    world.allowed = lambda r: own(r) if r.headers.get("authorization", "").startswith("Bearer a") else None  # type: ignore[method-assign]
    world.paged("/things", THINGS)
    monkeypatch.setenv("T", TOKEN)
    base = f"base_url: {world.origin}"
    config = configured(
        tmp_path,
        f"  - {{name: one, kind: http, provider: acme, {base}, token: env:T, send_token: 'X-Api-Key: {{token}}'}}\n"
        f"  - {{name: two, kind: http, provider: acme, {base}, basic: {{user: u, secret: env:T}}, timeout_s: 3}}\n"
        f"  - {{name: three, kind: http, provider: acme, {base}, "
        f"oauth: {{token_url: {world.origin}/token, client_id: c, client_secret: env:T, scopes: [r]}}}}\n"
        f"  - {{name: four, kind: http, provider: acme, {base}}}\n"
        f"  - {{name: five, kind: gitlab, {base}, token: env:T, accounts: [example]}}\n"
        f"  - {{name: six, kind: okta, {base}, token: env:MISSING}}\n",
    )
    assert [connection.kind for connection in config.connections] == ["acme"] * 4 + ["gitlab", "okta"]
    assert isinstance(config.connections[1], HttpConnection)
    declared = things()
    tasks = [Task(declared.id, connection.name) for connection in config.connections]
    ledger = MemoryLedger()

    def live(task: Task, caller: str) -> Wire:
        return LiveWire(task, ledger)

    with ThreadPoolExecutor(4) as pool:
        opener = opening.live(config, pool=pool, stop=threading.Event())
        shards = collect(tasks, {declared.id: declared}, live, opener, tmp_path, workers=2, stop=threading.Event())
    assert [shard.population.proven for shard in shards] == [True] * 5 + [False]
    gap = shards[5].population.gap
    assert gap is not None
    assert "MISSING is not set" in gap.reason
    callers = {line["task"].rpartition("@")[2]: line["caller"] for line in ledger.lines}
    assert callers == {
        "one": "token env:T",
        "two": "u, env:T",
        "three": "client c",
        "four": "anonymous",
        "five": "token env:T",
        "six": "",
    }
    sent = [request.headers for request in world.requests]
    assert any(headers.get("x-api-key") == TOKEN for headers in sent)
    assert any(headers.get("private-token") == TOKEN for headers in sent)
    assert TOKEN not in json.dumps(ledger.lines)

    class Sealed:
        def __init__(self) -> None:
            self.limits = {"max_pages": 10_000, "max_reply_bytes": 1 << 20, "timeout_s": 5, "attempts": 2}

        def place(self, name: str) -> Any:
            return next(_place(item) for item in config.connections if item.name == name)

    def recorded(task: Task, caller: str) -> Wire:
        return ReplayWire(task, [line for line in ledger.lines if line["task"] == task.id], ledger.objects.__getitem__)

    again = collect(
        tasks[:5], {declared.id: declared}, recorded, opening.recorded(Sealed()),  # type: ignore[arg-type]
        tmp_path, workers=1, stop=threading.Event(),
    )  # fmt: skip
    assert [shard.population for shard in again] == [shard.population for shard in shards[:5]]


# What a source may ask


ASKS: dict[str, Callable[[Http], Any]] = {
    "get": lambda http: http.get("/others/{id}", id="o1"),
    "part": lambda http: http.get("/others/{id}", id="o1", part=True),
    "pages": lambda http: list(http.pages("/others/{id}", id="o1")),
    "attempt": lambda http: http.attempt("/others/{id}", id="o1"),
    "attempt_all": lambda http: http.attempt_all("/others/{id}", id="o1"),
}


def asking(ask: Callable[[Http], Any], *permissions: str, name: str = "acme.t.things") -> Source:
    """A source that lists ``/things`` and asks for something else beside it."""

    @source(name, key="id", per="connection", permissions=permissions, parts="something else")
    def declared(http: Http) -> Iterator[Row]:
        """Every thing, and something else."""
        for thing in http.pages("/things"):
            yield {**thing, "more": ask(http)}

    return declared


@pytest.mark.parametrize("way", ASKS)
def test_what_is_not_declared_is_not_asked_whatever_the_way(world: HttpWorld, way: str) -> None:
    world.paged("/things", THINGS)
    world.route("/others/{id}", lambda request: Reply(body=[{"id": "o1"}]))
    ours = asking(ASKS[way], "GET /things")
    reading = world.read_source(ours)
    told = "acme:GET /others/{id} was not asked: the source does not declare GET /others/{id}"
    assert gap_of(reading) == ("undeclared", told)
    assert {request.path for request in world.requests} == {"/things"}
    same(world, reading, ours)
    declared = asking(ASKS[way], "GET /things", "GET /others/{id}")
    assert world.read_source(declared).shard.population.proven


def test_a_source_that_hides_what_it_may_not_ask_is_told_of_all_the_same(world: HttpWorld) -> None:
    world.paged("/things", THINGS)

    def quiet(http: Http) -> Any:
        try:
            return http.get("/others/{id}", id="o1")
        except Unavailable:
            return None

    ours = asking(quiet, "GET /things")
    reading = world.read_source(ours)
    assert [row["id"] for row in reading.rows] == [thing["id"] for thing in THINGS]
    assert gap_of(reading)[0] == "undeclared"
    same(world, reading, ours)


def test_a_vendor_with_a_table_is_held_to_its_rights(world: HttpWorld) -> None:
    world.kind = "jira"
    world.route("/rest/api/3/myself", lambda request: Reply(body={"accountId": "a1"}))
    world.route("/rest/api/3/project", lambda request: Reply(body={"id": 1}))

    def held(path: str, *permissions: str) -> str:
        @source("jira.t.one", key="Id", per="connection", permissions=permissions)
        def declared(http: Http) -> Iterator[Row]:
            """One thing."""
            yield {"Id": "one", "reply": http.get(path)}

        world.requests.clear()
        reading = world.read_source(declared)
        same(world, reading, declared)
        assert bool(world.requests) == reading.shard.population.proven
        return "" if reading.shard.population.proven else ": ".join(gap_of(reading))

    refused = "undeclared: jira:GET {} was not asked: the source does not declare {}"
    myself, other = "/rest/api/3/myself", "/rest/api/3/project"
    assert held(myself, "read:jira-user") == ""
    assert held(myself, "read:jira-work") == refused.format(myself, "read:jira-user")
    assert held(other, "read:jira-user", "read:jira-work") == refused.format(other, f"GET {other}")
    assert held(other, f"GET {other}") == "", "what the table does not know is declared as it is asked"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("Bearer x.eyJzdWIiOiAiYW5uYSJ9.y", {"sub": "anna"}),
        ("Bearer x.eyJzdWIiOiJhIn0.y", {"sub": "a"}),
        ("Bearer x.WyJhIl0.y", {}),
        ("Bearer opaque", {}),
        ("Bearer x.!!!.y", {}),
        ("", {}),
    ],
)
def test_a_token_that_is_a_json_web_token_says_something_of_itself(header: str, told: dict[str, str]) -> None:
    assert credentials.claims(header) == told


def test_a_parameter_may_need_a_further_right() -> None:
    plain = rights.needed("entra", "entra:GET /v1.0/users", {"$select": "id,signInActivityOfOthers"})
    assert plain == ("User.Read.All",)
    more = rights.needed("entra", "entra:GET /v1.0/users", {"$select": "id,signInActivity", "$top": 1})
    assert more == ("User.Read.All", "AuditLog.Read.All")
    assert rights.needed("keycloak", "keycloak:GET /admin/realms", {}) == ()
    assert rights.needed("acme", "collector:clock", {}) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no table"),
        ("- /things", "holds no table"),
        ("/things:", "names no right"),
        ("/things: [read, 7]", "names no right"),
        ("/things: {read: all}", "names no right"),
        ("things: read", "is no path"),
        ("/things: read\n/things?select: more", "is no path"),
        ("/things?select=secret: more\n/things: read", "stands before /things itself"),
        ("/things: read\n/things: write", "stands here a second time"),
    ],
)
def test_a_malformed_table_says_where(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "acme.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        rights.read(tmp_path / "acme.yaml")
    assert "acme.yaml" in caught.value.what
    assert caught.value.next_step


def test_a_turn_carries_its_parameters() -> None:
    assert Offset("startAt", "maxResults", size=50).opening() == {"maxResults": 50, "startAt": 0}
    assert Offset("startAt", "maxResults", size=50).following(page(read=7)) == Turn(
        "7", query={"maxResults": 50, "startAt": 7}
    )
