"""Every reply is on record before a source sees it, and comes back to the request that received it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable

import pytest

from collector.api import Redaction
from collector.connect.wire import Answer, Ask, LiveWire, ReplayWire, digest, kept_headers, request_key
from collector.model import GapKind, Task, Unavailable
from tests.worlds import MemoryLedger

TASK = Task("t.a.things", "here", account="1", region="home")
ASK = Ask("x:List", {"Limit": 5}, endpoint="https://x.example.org", method="GET", region="home", token_in="t1", page=2)


def never() -> Answer:
    raise AssertionError("nothing is sent")


def answer(body: bytes = b"{}", status: int | None = 200, **more: str) -> Callable[[], Answer]:
    return lambda: Answer(status, body, {"content-type": "application/json", **more})


def test_a_reply_line_says_what_was_asked_and_what_came_back() -> None:
    ledger = MemoryLedger()
    wire = LiveWire(TASK, ledger)
    wire.caller = "arn:someone"
    exchange = wire.exchange(ASK, answer(b'{"a": 1}', **{"date": "Mon", "x-request-id": "r-9", "set-cookie": "secret"}))
    assert ledger.lines == []
    assert ledger.objects == {hashlib.sha256(b'{"a": 1}').hexdigest(): b'{"a": 1}'}
    assert wire.conclude(exchange, token_out="t2", last=False) == 0
    line = ledger.lines[0]
    names = ("task", "caller", "op", "params", "region", "endpoint", "method", "page")
    assert {name: line[name] for name in names} == {
        "task": "t.a.things@here/1/home", "caller": "arn:someone", "op": "x:List", "params": {"Limit": 5},
        "region": "home", "endpoint": "https://x.example.org", "method": "GET", "page": 2,
    }  # fmt: skip
    assert (line["tokenIn"], line["tokenOut"], line["last"]) == (digest("t1"), digest("t2"), False)
    assert (line["status"], line["requestId"], line["date"], line["size"]) == (200, "r-9", "Mon", 8)
    assert line["sha256"] == hashlib.sha256(b'{"a": 1}').hexdigest()
    assert "secret" not in json.dumps(line)
    assert "error" not in line
    assert wire.finish() == (0,)


def test_a_reply_is_concluded_once() -> None:
    ledger = MemoryLedger()
    wire = LiveWire(TASK, ledger)
    exchange = wire.exchange(ASK, answer())
    assert wire.conclude(exchange, error="denied", code="No") == wire.conclude(exchange, last=True) == 0
    assert [line["error"] for line in ledger.lines] == [{"kind": "denied", "code": "No"}]


def test_what_a_crash_left_open_is_concluded_as_such() -> None:
    ledger = MemoryLedger()
    wire = LiveWire(TASK, ledger)
    wire.exchange(ASK, answer(b"one"))
    wire.exchange(ASK, answer(b"two"))
    assert wire.finish() == (0, 1)
    assert [(line["last"], line["error"]["kind"]) for line in ledger.lines] == [(False, "crashed")] * 2


def test_nothing_is_sent_after_a_request_to_stop() -> None:
    stop = threading.Event()
    ledger = MemoryLedger()
    wire = LiveWire(TASK, ledger, stop=stop)
    stop.set()
    with pytest.raises(Unavailable) as error:
        wire.exchange(ASK, never)
    assert error.value.kind == GapKind.INTERRUPTED
    assert wire.not_opened("no secret") == ()
    assert (ledger.lines, ledger.objects) == ([], {})


def test_a_failure_without_a_reply_has_no_body() -> None:
    ledger = MemoryLedger()
    wire = LiveWire(TASK, ledger)
    wire.conclude(
        wire.exchange(ASK, lambda: Answer(None, failure="timeout", detail="60 s")), last=False, error="timeout"
    )
    line = ledger.lines[0]
    assert (line["status"], line["sha256"], line["size"]) == (None, None, 0)
    assert (line["failure"], line["detail"]) == ("timeout", "60 s")
    assert ledger.objects == {}


def test_a_replay_gives_each_request_its_replies_in_order() -> None:
    ledger = MemoryLedger()
    live = LiveWire(TASK, ledger)
    for body in (b"first", b"second"):
        live.conclude(live.exchange(ASK, answer(body, etag="e")), error="")
    other = Ask("x:List", {"Limit": 6}, region="home")
    live.conclude(live.exchange(other, answer(b"other")))
    replay = ReplayWire(TASK, ledger.lines, ledger.objects.__getitem__)
    assert replay.unused() == [0, 1, 2]
    told = [replay.exchange(ask, never) for ask in (other, ASK, ASK)]
    assert [exchange.answer.body for exchange in told] == [b"other", b"first", b"second"]
    assert told[1].answer.headers["etag"] == "e"
    assert [replay.conclude(exchange) for exchange in told] == [2, 0, 1]
    assert replay.unused() == []
    with pytest.raises(Unavailable, match="the recording holds no reply"):
        replay.exchange(ASK, never)


def test_requests_differ_by_what_is_asked_where_and_from_which_page() -> None:
    keys = {
        ASK.key,
        Ask("x:Get", {"Limit": 5}, region="home", token_in="t1").key,
        Ask("x:List", {"Limit": 6}, region="home", token_in="t1").key,
        Ask("x:List", {"Limit": 5}, region="away", token_in="t1").key,
        Ask("x:List", {"Limit": 5}, region="home", token_in="t2").key,
        Ask("x:List", {"Limit": 5}, region="home").key,
    }
    assert len(keys) == 6
    assert request_key("x:List", {"b": 1, "a": 2}, "", None) == request_key("x:List", {"a": 2, "b": 1}, "", None)


def test_page_tokens_are_proven_and_not_kept() -> None:
    assert digest(None) is None
    assert digest("") != digest("t")
    assert "t1" not in ASK.key


def test_a_body_that_cannot_be_searched_for_secrets_is_refused_alike_in_a_replay() -> None:
    ledger = MemoryLedger()
    rule = Redaction("x:*", "may hold secrets", json="A.B")
    live = LiveWire(TASK, ledger, [rule])
    with pytest.raises(Unavailable) as first:
        live.exchange(ASK, answer(b"<hunter2/>"))
    assert ledger.objects == {}
    assert (ledger.lines[0]["status"], ledger.lines[0]["sha256"]) == (200, None)
    replay = ReplayWire(TASK, ledger.lines, ledger.objects.__getitem__)
    with pytest.raises(Unavailable) as again:
        replay.exchange(ASK, never)
    assert (first.value.kind, first.value.reason) == (again.value.kind, again.value.reason)
    assert replay.unused() == []
    assert replay.finish() == (0,)


def test_a_connection_that_was_not_opened_is_not_opened_in_a_replay() -> None:
    ledger = MemoryLedger()
    live = LiveWire(TASK, ledger)
    assert live.not_opened("secret env:X is not set") == (0,)
    assert ledger.lines[0]["error"]["kind"] == "unauthenticated"
    replay = ReplayWire(TASK, ledger.lines, ledger.objects.__getitem__)
    with pytest.raises(Unavailable, match="secret env:X is not set") as error:
        replay.check_opened()
    assert error.value.kind == GapKind.UNAUTHENTICATED
    assert replay.not_opened("secret env:X is not set") == (0,)
    assert replay.unused() == []
    ReplayWire(TASK, [], ledger.objects.__getitem__).check_opened()


def test_only_headers_of_use_are_kept() -> None:
    sent = {"date": "d", "x-amzn-requestid": "r", "x-ratelimit-reset": "1", "set-cookie": "c", "authorization": "a"}
    assert kept_headers(sent) == {"date": "d", "x-amzn-requestid": "r", "x-ratelimit-reset": "1"}


def test_the_pages_of_an_unordered_list_say_so_and_no_other_reply_does() -> None:
    ledger = MemoryLedger()
    wire = LiveWire(TASK, ledger, unordered="x:List")
    for operation in ("x:List", "x:Get"):
        wire.conclude(wire.exchange(Ask(operation, {}), lambda: Answer(200, b"{}")))
    assert [line.get("unordered") for line in ledger.lines] == [True, None]
