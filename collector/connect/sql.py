"""SQL databases: one read-only statement at a time, its whole result on record before it is read.

What is kept of a reply is a JSON document that we spell, since the bytes of a wire protocol are no evidence anybody
could read: columns with their types, rows, their number, and the server's own word for what it did. Its spelling is
canonical (names sorted, no white space), so that the same result has the same digest. Numbers and truth values are JSON
ones, decimals are text, moments are RFC 3339 in UTC, and what has no zone stays as the server spelt it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Protocol

import orjson

from collector.connect.base import Connection, Limits
from collector.connect.retry import TRANSIENT, Retry, Retryable
from collector.connect.wire import Answer, Ask, Exchange, Wire
from collector.model import GapKind, Unavailable

RESULT, REFUSAL = 0, 1
"""Status of a reply that is a result, and of one that is an error of the server."""

LITERAL = r"'(?:[^']|'')*'"
FORBIDDEN = re.compile(
    r"[;#$\"`]|--|/\*|\b(?:into|for\s+(?:no\s+key\s+)?(?:update|share|key)|lock\s+in|nextval|setval|set_config|dblink"
    r"|lo_\w+|pg_(?:read|write|ls|stat)_(?:binary_)?(?:file|dir)\w*|pg_terminate_backend|pg_cancel_backend|pg_sleep\w*"
    r"|pg_reload_conf|pg_rotate_logfile|pg_(?:try_)?advisory\w*|load_file|sleep|benchmark|get_lock)\b",
    re.IGNORECASE,
)
"""What no statement holds outside quotes; the rights of the account and a read-only transaction do the rest."""
PARAMETER = re.compile(rf"{LITERAL}|::|:([a-z][a-z0-9_]*)")
TABLES = re.compile(r"\b(?:from|join)\s+([a-z_][\w.]*)(?![\w.]|\s*\()", re.IGNORECASE)

POSTGRESQL = (
    ("28", GapKind.UNAUTHENTICATED), ("42501", GapKind.DENIED), ("57014", GapKind.TIMEOUT), ("55P03", GapKind.TIMEOUT),
    ("53300", GapKind.THROTTLED), ("53", GapKind.SERVER_ERROR), ("57P", GapKind.SERVER_ERROR),
    ("58", GapKind.SERVER_ERROR), ("XX", GapKind.SERVER_ERROR), ("42P01", GapKind.UNSUPPORTED),
    ("42703", GapKind.UNSUPPORTED), ("42704", GapKind.UNSUPPORTED), ("42883", GapKind.UNSUPPORTED),
    ("0A", GapKind.UNSUPPORTED),
)  # fmt: skip
MARIADB = tuple(
    (str(code), kind)
    for kind, codes in (
        (GapKind.UNAUTHENTICATED, (1045, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 4151)),
        (GapKind.DENIED, (1044, 1142, 1143, 1227, 1370, 1410)),
        (GapKind.THROTTLED, (1040, 1203, 1226)),
        (GapKind.TIMEOUT, (1205, 1317, 1969)),
        (GapKind.SERVER_ERROR, (1021, 1037, 1041, 1053, 1105, 1180)),
        (GapKind.UNSUPPORTED, (1054, 1064, 1109, 1128, 1146, 1193, 1305)),
    )
    for code in codes
)
"""Kind of gap by the beginning of the server's error code: SQLSTATE, or the number of the error."""
CODES = {"postgresql": POSTGRESQL, "mariadb": MARIADB}


class Server(Protocol):
    """One database server and the account for it; safe to use from several threads."""

    name: str
    """The account, and where its secret is kept."""
    endpoint: str

    def ask(self, sql: str, params: Mapping[str, Any], limits: Limits) -> Answer:
        """The answer to one statement, asked in a session and a read-only transaction of its own."""


class OversizedError(Exception):
    """A result is larger than allowed."""


class Sql(Connection):
    """One task's view of a database: what it may ask is what its source declares."""

    def __init__(
        self,
        wire: Wire,
        kind: str,
        server: Server | None,
        *,
        retry: Retry,
        limits: Limits,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self._kind = kind
        self._server = server
        """``None`` in a replay."""
        if server and not wire.caller:
            wire.caller = server.name

    def rows(self, sql: str, /, **params: Any) -> Iterator[Any]:
        """Yield the rows of a SELECT or SHOW, whose ``:names`` are filled from ``params``; the result is complete.

        Raises:
            Unavailable: refused, broken off, larger than allowed, or the source does not declare what it asks.
        """
        refs: list[int] = []
        try:
            found = self._ask(sql, params, refs)
        finally:
            self.trail.note(*refs)
        with self.trail.listing(named(self._kind, sql)[0]) as at:
            at(refs[-1])
            yield from found

    def attempt_rows(self, sql: str, /, **params: Any) -> Any:
        """All rows as one deferred list, to be put in a row. A refusal stands there and makes checks UNKNOWN."""
        return self.defer(lambda refs: self._ask(sql, params, refs))

    def _ask(self, sql: str, params: Mapping[str, Any], refs: list[int]) -> list[dict[str, Any]]:
        name, _ = named(self._kind, sql)
        self.require(self._kind, name, {"sql": sql})
        filled(sql, params, lambda _: "")
        endpoint = self._server.endpoint if self._server else ""

        def attempt(number: int) -> list[dict[str, Any]]:
            ask = Ask(name, {"sql": sql, **params}, endpoint, attempt=number)
            exchange = self.wire.exchange(ask, lambda: self._send(sql, params))
            return self._read(name, exchange, refs)

        return self.retry.run(attempt)

    def _send(self, sql: str, params: Mapping[str, Any]) -> Answer:
        if self._server is None:
            raise AssertionError("a replay sends nothing")
        return self._server.ask(sql, params, self.limits)

    def _read(self, name: str, exchange: Exchange, refs: list[int]) -> list[dict[str, Any]]:
        code = ""
        try:
            document = _document(name, exchange.answer)
            if exchange.answer.status == REFUSAL:
                code = str(document["error"]["code"])
                raise _refusal(self._kind, name, code, str(document["error"]["message"]))
            rows = _whole(name, document)
        except Unavailable as error:
            refs.append(self.wire.conclude(exchange, last=False, error=str(error.kind), code=code))
            raise
        refs.append(self.wire.conclude(exchange))
        return rows


def named(kind: str, sql: str) -> tuple[str, set[str]]:
    """What the record calls a statement, and the rights it needs: ``SELECT ON`` each table after FROM and JOIN.

    Raises:
        ValueError: it is not one SELECT or SHOW that only reads; the source is wrong.
    """
    text = re.sub(LITERAL, "''", sql).strip()
    if found := FORBIDDEN.search(text) or re.search(r"\\", sql):
        raise ValueError(f"a statement may not hold {found.group()!r}: {sql!r}")
    words = text.split(None, 3)
    if words and words[0].upper() == "SHOW":
        return f"{kind}:SHOW {' '.join(words[1:3]).upper()}", set()
    if not words or words[0].upper() != "SELECT":
        raise ValueError(f"a statement is one SELECT or SHOW: {sql!r}")
    tables = list(dict.fromkeys(TABLES.findall(text)))
    return f"{kind}:SELECT {' '.join(tables)}".strip(), {f"SELECT ON {table}" for table in tables}


def filled(sql: str, params: Mapping[str, Any], mark: Any) -> str:
    """The statement with what ``mark(name)`` gives in the place of each ``:name``.

    Raises:
        ValueError: names and values do not meet, or a value is no text and no whole number.
    """
    used: set[str] = set()

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        used.add(match[1])
        return str(mark(match[1]))

    text = PARAMETER.sub(put, sql)
    if used != set(params):
        raise ValueError(f"{sql!r} names {sorted(used)} and is given {sorted(params)}")
    if wrong := [name for name, value in params.items() if type(value) not in (str, int)]:
        raise ValueError(f"the parameter {wrong[0]} is no text and no whole number")
    return text


def result(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], command: str | None) -> Answer:
    """A complete result as an answer; ``columns`` are names and types, ``command`` is the server's word for the end."""
    names = [name for name, _ in columns]
    document = {
        "columns": [{"name": name, "type": kind} for name, kind in columns],
        "rows": [dict(zip(names, row, strict=True)) for row in rows],
        "count": len(rows),
        "command": command,
    }
    if len(set(names)) < len(names):
        return failed(GapKind.MALFORMED, "two columns of the result have one name")
    return Answer(RESULT, orjson.dumps(document, option=orjson.OPT_SORT_KEYS), {"content-type": "application/json"})


def refused(code: str, message: str) -> Answer:
    """An error that the server told, as an answer."""
    body = orjson.dumps({"error": {"code": code, "message": message}}, option=orjson.OPT_SORT_KEYS)
    return Answer(REFUSAL, body, {"content-type": "application/json"})


def failed(kind: GapKind, detail: str) -> Answer:
    """Nothing that could be read came back."""
    return Answer(None, failure=str(kind), detail=detail)


def broken(causes: Iterable[BaseException | None], timeout_s: float) -> Answer:
    """A connection that failed, by the first cause that is a failure of the network."""
    for error in causes:
        if isinstance(error, ssl.SSLCertVerificationError):
            return failed(GapKind.REJECTED, f"the certificate of the server is not trusted: {error.verify_message}")
        if isinstance(error, TimeoutError):
            return failed(GapKind.TIMEOUT, f"no answer within {timeout_s:g} s")
        if isinstance(error, ssl.SSLError):
            said = (error.reason or "unknown").lower().replace("_", " ")
            return failed(GapKind.UNREACHABLE, f"no handshake ({said})")
        if isinstance(error, OSError):
            return failed(GapKind.UNREACHABLE, error.strerror or type(error).__name__)
    return failed(GapKind.UNREACHABLE, "the connection broke off")


def verified(roots: Path | None) -> ssl.SSLContext:
    """Certificates lead to the roots and are for the host that is asked; nothing older than TLS 1.2."""
    context = ssl.create_default_context(cafile=str(roots) if roots else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _document(name: str, answer: Answer) -> dict[str, Any]:
    if answer.failure:
        kind = GapKind(answer.failure)
        kinds = Retryable if kind in TRANSIENT else Unavailable
        raise kinds(kind, f"{name} got no usable reply: {answer.detail}", name)
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = None
    wanted = {"error"} if answer.status == REFUSAL else {"rows", "count", "command"}
    if not isinstance(document, dict) or not wanted <= set(document):
        raise Unavailable(GapKind.MALFORMED, f"the reply to {name} cannot be read", name)
    return document


def _whole(name: str, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows, if they are as many as was counted and as the server says it sent.

    Raises:
        Unavailable: they are not.
    """
    rows: list[dict[str, Any]] = document["rows"]
    told = re.fullmatch(r"SELECT (\d+)", document["command"] or "")
    if len(rows) != document["count"] or (told and int(told[1]) != len(rows)):
        reason = f"{name} gave {len(rows)} rows, and the server says {document['command'] or document['count']}"
        raise Unavailable(GapKind.TRUNCATED, reason, name)
    return rows


def _refusal(kind: str, name: str, code: str, message: str) -> Unavailable:
    """The gap an error of the server is; transient ones are tried again."""
    why = next((why for start, why in CODES[kind] if code.startswith(start)), GapKind.REJECTED)
    words = {
        GapKind.UNAUTHENTICATED: "was refused: the account is not let in",
        GapKind.DENIED: "was refused",
        GapKind.TIMEOUT: "took longer than allowed, or was cancelled",
        GapKind.THROTTLED: "was not answered, too many are connected",
        GapKind.SERVER_ERROR: "failed on the server",
        GapKind.UNSUPPORTED: "is not supported by this version of the server",
    }
    kinds = Retryable if why in TRANSIENT else Unavailable
    said = " ".join(message.split()).rstrip(".")
    return kinds(why, f"{name} {words.get(why, 'was rejected')} ({code}: {said})", name)
