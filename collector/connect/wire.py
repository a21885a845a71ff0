"""Records every reply a source receives, and gives recorded replies back so that the source cannot tell.

A reply passes through :meth:`Wire.exchange`; when the connection has parsed it, it is concluded with what only the
parser knows: the next page's token, whether this was the last page, and what was refused.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from collector import privacy
from collector.apart import offset_s
from collector.api import Personal, Redaction
from collector.connect import redact
from collector.model import GapKind, Task, Unavailable, stamp
from evidence_store.errors import ErasedError
from evidence_store.spans import Cut

KEPT_HEADERS = (
    "content-type",
    "content-encoding",
    "date",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "server",
    "x-request-id",
)
REQUEST_IDS = (
    "x-amzn-requestid",
    "x-amz-request-id",
    "x-request-id",
    "x-okta-request-id",
    "x-github-request-id",
    "request-id",
    "audit-id",
)
"""Headers in which the other side names the request, so that it can be found in its own log."""
KEPT_PREFIXES = ("x-amz", "x-ratelimit", "x-rate-limit", "strict-transport")


class Ledger(Protocol):
    """Where an open run keeps bodies and reply lines (``evidence_store.store.RunWriter``)."""

    def add_object(self, data: bytes, *, request: Mapping[str, Any] | None = None) -> str:
        """Keep a body that came for this request; return its SHA-256 in hex."""

    def add_reply(self, line: Mapping[str, Any]) -> int:
        """Keep one reply line; return its number."""

    def add_spans(self, body: bytes, cut: Cut) -> dict[str, Any]:
        """Commit to the personal fields of a body; return what its reply line says of them."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of the outside."""

    operation: str
    """``service:Operation``, as the permission and the audit log of the other side spell it."""
    params: Mapping[str, Any]
    """All parameters, without page tokens."""
    endpoint: str = ""
    """Host asked."""
    method: str = ""
    region: str = ""
    page: int = 1
    token_in: str | None = None
    """Page token it is asked with."""
    attempt: int = 1

    @property
    def key(self) -> str:
        """What makes two requests the same request."""
        return request_key(self.operation, self.params, self.region, digest(self.token_in))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as it stood on the wire."""

    status: int | None
    """Status of the protocol; ``None`` when nothing came back."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names."""
    endpoint: str = ""
    """Host that answered; for HTTP with its scheme."""
    failure: str = ""
    """Kind of transport failure, a :class:`GapKind` value; empty when something came back."""
    detail: str = ""
    """Text of the failure, or what a command wrote to its error output."""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was asked and stays open: an answer, or the rest of a list."""

    operation: str
    request: str
    """What was asked, whatever the page."""
    kind: GapKind | None
    """Why there was no answer; ``None`` where the answer names a further page."""
    handed: bool = True
    """Whether the source was given the reply, so that the row which tells of it rests on it."""


@dataclass(slots=True)
class Exchange:
    """One reply on its way into the record."""

    line: dict[str, Any]
    answer: Answer
    number: int | None = None
    """Manifest line number, known once concluded."""


def left_before_its_end(operation: str) -> Unavailable:
    """The gap where a source went away from a list."""
    return Unavailable(GapKind.TRUNCATED, f"the list of {operation} was left before its end", operation)


def digest(token: str | None) -> str | None:
    """``sha256:...`` of a page token: enough to prove the chain, useless to resume it."""
    return None if token is None else "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def request_key(operation: str, params: Mapping[str, Any], region: str, token_in: str | None) -> str:
    """Key under which a recorded reply is found again."""
    return json.dumps([operation, params, region, token_in], sort_keys=True, separators=(",", ":"))


WEB_PAGE = "tls:head"
"""What a web server shows to everybody may come out of a cache, with the date it was put there."""

OPENING = Ask("connection:open", {})
"""What stands on record where a connection could not be opened, so that a replay comes to the same gap."""


class Wire(ABC):
    """The path of one task's replies; safe to use from several threads."""

    live: bool

    def __init__(self, task: Task) -> None:
        self.task = task
        self.caller = ""
        """Identity the requests are made with; set once known."""
        self.numbers: list[int] = []
        self.operations: set[str] = set()
        """Every operation that was asked."""
        self.permissions: frozenset[str] | None = None
        """What the source declares it needs; ``None`` where nobody holds it to that."""
        self.refused: Unavailable | None = None
        """The first request that was not made because the source does not declare what it needs."""
        self.parts: set[str] = set()
        """Operations of which a first page was taken for what it says of the whole."""
        self.apart_s = 0
        """By how many seconds the clock of a server was ahead of ours, of all replies the most; negative: behind."""
        self.dated = False
        """Whether a server said what time it was there."""
        self._loose_ends: dict[int, Left] = {}
        self._following: dict[tuple[str, str], int] = {}
        self._open: list[Exchange] = []
        self._lock = threading.Lock()

    @abstractmethod
    def exchange(self, ask: Ask, send: Callable[[], Answer]) -> Exchange:
        """Get one reply, live or recorded."""

    @abstractmethod
    def _number(self, exchange: Exchange) -> int:
        """Put the finished line on record, or find the number it has."""

    def conclude(
        self,
        exchange: Exchange,
        *,
        token_out: str | None = None,
        last: bool = True,
        error: str = "",
        code: str = "",
        part: bool = False,
        handed: bool = True,
    ) -> int:
        """Finish the line of a reply and return its number.

        ``part``: it is the first page of a list, taken for what it says of the whole. Not ``handed``: nobody is given
        the reply, so that no row can name it.
        """
        with self._lock:
            if exchange.number is None:
                exchange.line |= {"tokenOut": digest(token_out), "last": last}
                if error:
                    exchange.line["error"] = {"kind": error, "code": code}
                if part and self.live:
                    exchange.line["part"] = True
                exchange.number = self._number(exchange)
                self.operations.add(str(exchange.line["op"]))
                self.numbers.append(exchange.number)
                if exchange in self._open:
                    self._open.remove(exchange)
                self._account(exchange.number, exchange.line, digest(token_out), error, handed=handed)
            return exchange.number

    def _account(
        self, number: int, line: Mapping[str, Any], token_out: str | None, error: str, *, handed: bool
    ) -> None:
        """Note what a reply leaves to be done, and what it makes good."""
        operation, request = str(line["op"]), request_key(line["op"], line["params"], line["region"], None)
        if operation != WEB_PAGE and (off := offset_s(line)) is not None:
            self.dated = True
            self.apart_s = max(self.apart_s, off, key=abs)
        if line.get("part"):
            self.parts.add(operation)
        if line["tokenIn"]:
            self._loose_ends.pop(self._following.pop((request, line["tokenIn"]), -1), None)
        if error and error != "absent":
            self._loose_ends[number] = Left(operation, request, GapKind(error), handed=handed)
            return
        for earlier in [one for one, left in self._loose_ends.items() if left.request == request and left.kind]:
            del self._loose_ends[earlier]
        if token_out and not line.get("part"):
            self._loose_ends[number] = Left(operation, request, None)
            self._following[request, token_out] = number

    def told(self, operation: str, numbers: Collection[int]) -> None:
        """A row that rests on these replies says that an operation gave nothing, or not all."""
        with self._lock:
            for number in [
                one
                for one, left in self._loose_ends.items()
                if left.operation == operation and (one in numbers or not left.handed)
            ]:
                del self._loose_ends[number]

    def stood_in_for(self, numbers: Iterable[int]) -> None:
        """Another way to ask the same was answered, so that nothing is missing for want of these replies."""
        with self._lock:
            for number in numbers:
                self._loose_ends.pop(number, None)

    def left(self) -> Unavailable | None:
        """The first thing that was asked and not answered, or not to its end, and that no row tells of."""
        for _, left in sorted(self._loose_ends.items()):
            if left.kind is None:
                return left_before_its_end(left.operation)
            reason = f"{left.operation} was not answered ({left.kind}), and the source went on without it"
            return Unavailable(left.kind, reason, left.operation)
        return None

    def undeclared(self, error: Unavailable) -> Unavailable:
        """Note a request that the source may not make, so that it is told even where the source hides it."""
        self.refused = self.refused or error
        return error

    def not_opened(self, reason: str) -> tuple[int, ...]:
        """Put on record that the connection could not be opened, and why; return the number of that line."""
        kind = str(GapKind.UNAUTHENTICATED)
        with suppress(Unavailable):  # asked to stop
            exchange = self.exchange(OPENING, lambda: Answer(None, failure=kind, detail=reason))
            self.conclude(exchange, last=False, error=kind)
        return self.finish()

    def finish(self) -> tuple[int, ...]:
        """Conclude what a crash left open; return all line numbers of the task, in order."""
        for exchange in list(self._open):
            self.conclude(exchange, last=False, error=str(GapKind.CRASHED))
        return tuple(sorted(self.numbers))


class LiveWire(Wire):
    """Asks the outside and keeps every reply."""

    live = True

    def __init__(
        self,
        task: Task,
        ledger: Ledger,
        redactions: Iterable[Redaction] = (),
        *,
        stop: threading.Event | None = None,
        personal: Iterable[Personal] = (),
        unordered: str = "",
    ) -> None:
        super().__init__(task)
        self._ledger = ledger
        self._unordered = unordered
        self._redactions = tuple(redactions)
        self._personal = tuple(personal)
        self._stop = stop or threading.Event()

    def redact_too(self, *redactions: Redaction) -> None:
        """Take out what this kind of connection never keeps, whatever its sources declare."""
        self._redactions = tuple(dict.fromkeys((*self._redactions, *redactions)))

    def exchange(self, ask: Ask, send: Callable[[], Answer]) -> Exchange:
        """Send one request; the body is kept, redacted where declared, before it is given back.

        Raises:
            Unavailable: the run was asked to stop, or the body cannot be searched for declared secrets.
        """
        if self._stop.is_set():
            raise Unavailable(GapKind.INTERRUPTED, "the run was stopped before this was asked", ask.operation)
        sent, started = datetime.now(UTC), time.monotonic()
        answer = send()
        elapsed_ms = round((time.monotonic() - started) * 1000, 3)
        received = datetime.now(UTC)
        line: dict[str, Any] = {
            "task": self.task.id,
            "caller": self.caller,
            "op": ask.operation,
            "params": dict(ask.params),
            "region": ask.region,
            "endpoint": answer.endpoint or ask.endpoint,
            "method": ask.method,
            "page": ask.page,
            "tokenIn": digest(ask.token_in),
            "attempt": ask.attempt,
            "t": stamp(sent),
            "received": stamp(received),
            "ms": elapsed_ms,
            "date": answer.headers.get("date"),
            "status": answer.status,
            "requestId": next((answer.headers[name] for name in REQUEST_IDS if name in answer.headers), None),
            "media": answer.headers.get("content-type"),
            "headers": kept_headers(answer.headers),
            **({"unordered": True} if ask.operation == self._unordered else {}),
        }
        try:
            body, redactions = redact.apply(self._redactions, ask.operation, answer.body)
        except Unavailable as error:
            if (answer.status or 0) < 400:
                refused = Exchange({**line, "sha256": None, "size": 0, "redactions": []}, answer)
                self.conclude(refused, last=False, error=str(error.kind), handed=False)
                raise
            body, redactions = b"", [{"path": "", "reason": "an error page that cannot be searched", "count": 1}]
        line |= {
            "sha256": self._ledger.add_object(body, request=line) if answer.status is not None else None,
            "size": len(body),
            "redactions": redactions,
        }
        if answer.status is not None and (cut := privacy.find(self._personal, ask.operation, body)):
            line |= self._ledger.add_spans(body, cut)
        if answer.failure or answer.detail:
            line |= {"failure": answer.failure, "detail": answer.detail}
        kept = Answer(answer.status, body, kept_headers(answer.headers), answer.endpoint, answer.failure, answer.detail)
        exchange = Exchange(line, kept)
        with self._lock:
            self._open.append(exchange)
        return exchange

    def _number(self, exchange: Exchange) -> int:
        return self._ledger.add_reply(exchange.line)


class ReplayWire(Wire):
    """Gives a task's recorded replies back, each to the request that received it."""

    live = False

    def __init__(self, task: Task, lines: Iterable[Mapping[str, Any]], body: Callable[[str], bytes]) -> None:
        super().__init__(task)
        self._body = body
        self._lines: dict[str, deque[Mapping[str, Any]]] = defaultdict(deque)
        for line in lines:
            self._lines[request_key(line["op"], line["params"], line["region"], line["tokenIn"])].append(line)

    def exchange(self, ask: Ask, send: Callable[[], Answer]) -> Exchange:  # noqa: ARG002 - nothing is sent
        """The recorded reply to this request.

        Raises:
            Unavailable: the recording holds no reply to it; the source asks what it did not ask then.
        """
        with self._lock:
            waiting = self._lines.get(ask.key)
            if not waiting:
                raise Unavailable(GapKind.MALFORMED, "the recording holds no reply to this request", ask.operation)
            line = waiting.popleft()
        if "redacted" in line:
            return Exchange(dict(line), self._answer(line, ask, line["redacted"]))
        if line["sha256"] is None and line["status"] is not None:
            malformed = Exchange(dict(line), Answer(line["status"]))
            self.conclude(malformed, last=False, error=str(GapKind.MALFORMED), handed=False)
            raise Unavailable(GapKind.MALFORMED, "the reply is not JSON, so its secrets cannot be found", ask.operation)
        return Exchange(dict(line), self._answer(line, ask, line["sha256"]))

    def _answer(self, line: Mapping[str, Any], ask: Ask, body: str | None) -> Answer:
        """What was received; a body that was erased, or left out whole, is a gap that says so."""
        try:
            content = self._body(body) if body else b""
        except ErasedError as error:
            self.conclude(Exchange(dict(line), Answer(line["status"])), last=False)
            raise Unavailable(GapKind.LEFT_OUT, error.what, ask.operation) from error
        return Answer(
            line["status"], content, line["headers"], line["endpoint"], line.get("failure", ""), line.get("detail", "")
        )

    def _number(self, exchange: Exchange) -> int:
        return int(exchange.line["i"])

    def check_opened(self) -> None:
        """Return when the connection was opened then.

        Raises:
            Unavailable: it could not be opened.
        """
        if waiting := self._lines.get(OPENING.key):
            raise Unavailable(GapKind.UNAUTHENTICATED, waiting[0]["detail"])

    def unused(self) -> list[int]:
        """Numbers of recorded replies nobody asked for."""
        return sorted(int(line["i"]) for lines in self._lines.values() for line in lines)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers a parser or an auditor needs; cookies and the like are left out."""
    return {
        name: value for name, value in sorted(headers.items()) if name in KEPT_HEADERS or name.startswith(KEPT_PREFIXES)
    }
