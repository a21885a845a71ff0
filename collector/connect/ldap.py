"""LDAP directories, Active Directory among them: only searches, every page on record before it is read.

An LDAP reply is a train of BER messages, one for each entry, and no reader, redaction or selective disclosure of ours
works on BER; so what is kept is not what stood on the wire. Kept is one JSON document per page, in one spelling (keys
sorted, UTF-8, no white space): the result code with its name, ``matchedDN``, ``diagnosticMessage``, the referrals, a
digest of the cookie (empty on the last page), and the entries in the order they came, with the names of the attributes
and their values as they were sent. A value is text where its bytes are valid UTF-8, else ``{"base64": ...}``: its
bytes can be had back exactly. Lost are message numbers, lengths and the cookie itself, which means nothing later.

A directory leaves out an attribute that an entry does not have, and just so one that the reader may not see. So that
missing is never taken for "no", an attribute that an entry did not come with is one of two things in a row: where the
source names it ``optional`` and something shows that there is none, an empty list; else a gap. What shows it:

* LDAP: the server itself lists the entry under ``(!(attribute=*))``. Where the reader may not search the attribute
  that filter is undefined (RFC 4511, 4.5.1.7), and so is its negation: the entry is listed under neither.
* Active Directory treats what may not be read as not existing in filters, too (MS-ADTS 3.1.1.4.3), so that proves
  nothing there. A source names a ``witness`` instead: an attribute that every such entry has and that the same
  property set opens to the reader. A right that is denied for one attribute of a set alone stays unnoticed.
"""

from __future__ import annotations

import base64
import hashlib
import math
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from collector import directory
from collector.connect.base import Connection, Limits
from collector.connect.retry import Retry, Retryable
from collector.connect.wire import Answer, Ask, Exchange, Wire
from collector.model import GapKind, Refused, Row, Unavailable
from collector.secrets import Secret

PAGE_SIZE = 500
"""Entries of a page; it stands in every request, so that recordings made with another number are not found."""
DOMAIN_SCOPE = "1.2.840.113556.1.4.1339"
"""Control of Active Directory: no referrals to other partitions, which are populations of their own."""
WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"

KINDS = {
    3: GapKind.TIMEOUT, 4: GapKind.TRUNCATED, 8: GapKind.UNAUTHENTICATED, 10: GapKind.TRUNCATED,
    11: GapKind.TRUNCATED, 12: GapKind.UNSUPPORTED, 13: GapKind.UNAUTHENTICATED, 48: GapKind.UNAUTHENTICATED,
    49: GapKind.UNAUTHENTICATED, 50: GapKind.DENIED,
}  # fmt: skip
"""What a result code means here; any other that is not success means: rejected."""
PASSING = frozenset({51, 52})
"""busy, unavailable: worth another attempt."""
SAID = {
    3: "timeLimitExceeded", 4: "sizeLimitExceeded", 10: "referral", 11: "adminLimitExceeded",
}  # fmt: skip
SIDS = frozenset({"objectsid", "securityidentifier"})
"""Attributes that hold a security identifier, in lower case."""


class Directory:
    """One directory server and the credential for it; shared by the tasks of a connection.

    Each list has a session of its own, for a server keeps the place in a list with its session. Once the server has
    refused the credential nobody tries it again, lest the account be locked.
    """

    def __init__(
        self,
        url: str,
        *,
        bind_dn: str,
        password: Secret,
        start_tls: bool = False,
        roots: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.secure = parts.scheme == "ldaps"
        self.port = parts.port or (636 if self.secure else 389)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.bind_dn = bind_dn
        self.start_tls = start_tls
        self.timeout_s = timeout_s
        self._password = password
        self._roots = roots
        self._refused: Answer | None = None
        self._lock = threading.Lock()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that ends with the block."""
        with closing(Session(self)) as opened:
            yield opened

    def bound(self) -> Any:
        """A connection that is signed in.

        Raises:
            _BindError: it was refused.
        """
        with self._lock:
            if self._refused:
                raise _BindError(self._refused)
            connection = self.plain(self.bind_dn, self._password.reveal())
            connection.bind()
            if connection.result["result"] != 0:
                answer = _answered(connection.result, self.origin, operation="bind")
                if KINDS.get(answer.status or 0) is GapKind.UNAUTHENTICATED:
                    self._refused = answer
                _close(connection)
                raise _BindError(answer)
            return connection

    def plain(self, name: str = "", password: str = "", *, encrypted: bool = True, port: int = 0) -> Any:
        """A connection with TLS as configured (without it where not ``encrypted``), not signed in yet."""
        import ldap3

        secure = encrypted and self.secure
        server = ldap3.Server(
            self.host, port or self.port, use_ssl=secure, get_info=ldap3.NONE,
            tls=_verified(self.host, self._roots), connect_timeout=min(10.0, self.timeout_s),
        )  # fmt: skip
        connection = ldap3.Connection(
            server, name or None, password or None, auto_referrals=False, auto_range=False, check_names=False,
            read_only=True, receive_timeout=math.ceil(self.timeout_s), return_empty_attributes=False,
            raise_exceptions=False,
        )  # fmt: skip
        connection.open(read_server_info=False)
        if encrypted and self.start_tls:
            connection.start_tls(read_server_info=False)
        return connection


class _BindError(Exception):
    """The server did not let us in; its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("bind refused")
        self.answer = answer


class Session:
    """The requests of one list, over one connection that is opened with the first of them."""

    def __init__(self, server: Directory) -> None:
        self._server = server
        self._connection: Any = None
        self._cookie = b""
        self._lost: Answer | None = None

    def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            _close(self._connection)
            self._connection = None

    def search(self, request: _Request, *, first: bool, max_bytes: int) -> Answer:
        """One page of a search; the next one where it is not the ``first``."""
        if self._lost and not first:
            return self._lost  # what comes after a lost page cannot be asked for in another session
        answer = self._try(lambda: self._page(request, first, max_bytes))
        if answer.failure:
            self._lost = answer
            self.close()
        return answer

    def who_am_i(self) -> Answer:
        """The identity the server knows us by (RFC 4532)."""

        def ask() -> Answer:
            self._open().extended(WHO_AM_I)
            result = self._connection.result
            value = result.get("responseValue") or b""
            return _answered(result, self._server.origin, authzId=value.decode("utf-8", "replace"))

        return self._try(ask)

    def anonymous_search(self, base: str) -> Answer:
        """The first entry of the tree that somebody who gives no name is shown."""

        def ask() -> Answer:
            self._connection = self._server.plain()
            return self._sent(base, "(objectClass=*)", "subtree", ("1.1",), size_limit=1)

        return self._try(ask)

    def clear_bind(self, base: str) -> Answer:
        """What the server says to an invented name and password that come without TLS."""
        port = 389 if self._server.secure else self._server.port

        def ask() -> Answer:
            try:
                socket.create_connection((self._server.host, port), min(10.0, self._server.timeout_s)).close()
            except ConnectionRefusedError:
                return Answer(0, _spelt({"connected": False}), JSON, self._server.origin)
            name, password = f"cn=affidavit-probe,{base}", "no-password-of-anybody"
            self._connection = self._server.plain(name, password, encrypted=False, port=port)
            self._connection.bind()
            return _answered(self._connection.result, self._server.origin, connected=True)

        return self._try(ask)

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._server.bound()
        return self._connection

    def _page(self, request: _Request, first: bool, max_bytes: int) -> Answer:
        self._open()
        answer = self._sent(
            request.base, request.filter, request.scope, request.attributes,
            paged_size=request.size, cookie=b"" if first else self._cookie, controls=request.controls,
        )  # fmt: skip
        if len(answer.body) > max_bytes:
            detail = f"the page is larger than {max_bytes} bytes"
            return replace(answer, body=b"", failure=str(GapKind.OVERSIZED), detail=detail)
        return answer

    def _sent(
        self,
        base: str,
        filter: str,  # noqa: A002 - its name in the protocol
        scope: str,
        attributes: Sequence[str],
        *,
        size_limit: int = 0,
        paged_size: int | None = None,
        cookie: bytes = b"",
        controls: Sequence[str] = (),
    ) -> Answer:
        import ldap3

        scopes = {"base": ldap3.BASE, "level": ldap3.LEVEL, "subtree": ldap3.SUBTREE}
        self._connection.search(
            base, filter, scopes[scope], ldap3.DEREF_NEVER, list(attributes), size_limit,
            controls=[(oid, True, None) for oid in controls], paged_size=paged_size, paged_criticality=True,
            paged_cookie=cookie or None,
        )  # fmt: skip
        result, response = self._connection.result, self._connection.response or []
        told = (result.get("controls") or {}).get("1.2.840.113556.1.4.319")
        self._cookie = told["value"]["cookie"] if told else b""
        page: dict[str, Any] = {
            "entries": [_entry(item) for item in response if item["type"] == "searchResEntry"],
            "references": [uri for item in response if item["type"] == "searchResRef" for uri in item["uri"]],
        }
        if paged_size is not None:
            digest = hashlib.sha256(self._cookie).hexdigest() if self._cookie else ""
            page["cookie"] = digest if told else None
        return _answered(result, self._server.origin, **page)

    def _try(self, ask: Callable[[], Answer]) -> Answer:
        """The answer, or what became of the connection as one."""
        import ldap3

        origin, failed = self._server.origin, ldap3.core.exceptions
        try:
            return ask()
        except _BindError as error:
            return error.answer
        except failed.LDAPResponseTimeoutError:
            return _failed(origin, GapKind.TIMEOUT, f"no answer within {self._server.timeout_s:g} s")
        except (failed.LDAPCommunicationError, failed.LDAPStartTLSError, OSError) as error:
            return _broken(origin, error, self._server.timeout_s)
        except (failed.LDAPExceptionError, ValueError, LookupError, TypeError) as error:
            return _failed(origin, GapKind.MALFORMED, f"the reply cannot be read ({type(error).__name__})")


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked, without cookies."""

    operation: str
    base: str
    filter: str
    attributes: tuple[str, ...]
    scope: str
    size: int | None
    """Entries of a page; ``None`` where the whole answer comes at once."""
    controls: tuple[str, ...] = ()

    @property
    def params(self) -> dict[str, Any]:
        """Everything that is asked, for the record."""
        return {
            "base": self.base, "scope": self.scope, "filter": self.filter, "attributes": list(self.attributes),
            "size": self.size, "controls": list(self.controls),
        }  # fmt: skip


class Ldap(Connection):
    """One task's view of a directory: read only, each page recorded, each list read to its end."""

    def __init__(
        self,
        wire: Wire,
        kind: str,
        base: str,
        server: Directory | None,
        *,
        retry: Retry,
        limits: Limits,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self.base = base
        self._kind = kind
        self._server = server
        """``None`` in a replay."""
        if server and not wire.caller:
            wire.caller = server.bind_dn

    def entries(
        self,
        filter: str,  # noqa: A002 - its name in the protocol
        *,
        attributes: Sequence[str],
        optional: Sequence[str] = (),
        witness: Mapping[str, str] | None = None,
        base: str = "",
        scope: str = "subtree",
    ) -> Iterator[Row]:
        """Yield ``{"dn": ..., attribute: [values]}`` for every entry under the base that matches, to the last page.

        Every entry has the ``attributes``; one that did not come is a gap. One of ``optional`` that did not come is an
        empty list where the server lists the entry as having none, or, in Active Directory, where its ``witness`` came.

        Raises:
            Unavailable: refused, limited, referred elsewhere, or too many pages.
        """
        request = self._request(filter, (*attributes, *optional), base, scope)
        absent = self._absent(request, optional, witness, None)
        with self.trail.listing(request.operation) as at:
            for found, ref in self._pages(request, None):
                at(ref)
                for entry in found:
                    row, refs = self._row(request, entry, absent, None)
                    self.trail.recent |= refs
                    yield row

    def attempt_entries(
        self,
        filter: str,  # noqa: A002 - its name in the protocol
        *,
        attributes: Sequence[str],
        optional: Sequence[str] = (),
        witness: Mapping[str, str] | None = None,
        base: str = "",
        scope: str = "subtree",
    ) -> Any:
        """Like :meth:`entries`, the whole list as one deferred value, to put in a row."""
        request = self._request(filter, (*attributes, *optional), base, scope)

        def ask(refs: list[int]) -> list[Row]:
            absent = self._absent(request, optional, witness, refs)
            rows = []
            for found, _ in self._pages(request, refs):
                rows += [self._row(request, entry, absent, refs)[0] for entry in found]
            return rows

        return self.defer(ask)

    def first(self, filter: str, *, attributes: Sequence[str]) -> Row | None:  # noqa: A002 - its name in the protocol
        """An entry under the base that matches, for what one shows of all; ``None`` where there is none.

        No page is asked for after one that holds it, and its line says so.

        Raises:
            Unavailable: refused, limited, or referred elsewhere.
        """
        request = self._request(filter, attributes, "", "subtree")
        with closing(self._pages(request, None, part=True)) as pages:
            for found, ref in pages:
                self.trail.note(ref)
                for entry in found:
                    return self._row(request, entry, {}, None)[0]
        return None

    def entry(self, base: str, *, attributes: Sequence[str]) -> Row:
        """One entry, now; the root of the server's own information where ``base`` is empty.

        Raises:
            Unavailable: refused, or not there.
        """
        request = replace(self._request("(objectClass=*)", attributes, base, "base"), base=base, size=None, controls=())
        refs: list[int] = []
        try:
            found = [entry for page, _ in self._pages(request, refs) for entry in page]
            if len(found) != 1:
                reason = f"{request.operation} gave {len(found)} entries for {base or 'the root'}"
                raise Unavailable(GapKind.MALFORMED, reason, request.operation)
            return self._row(request, found[0], {}, refs)[0]
        finally:
            self.trail.note(*refs)

    def whoami(self) -> str:
        """The identity the server knows us by; empty where it does not tell.

        Raises:
            Unavailable: the credential was refused, or the server cannot be reached.
        """
        operation, refs = f"{self._kind}:whoami", list[int]()
        ask = Ask(operation, {}, method="EXTENDED")
        try:
            told = self._single(ask, lambda session: session.who_am_i(), refs, accepted=(2, 53))
            return str(told.get("authzId", "")) if told["resultCode"] == 0 else ""
        finally:
            self.trail.note(*refs)

    def attempt_anonymous_search(self) -> Any:
        """``resultCode`` and ``entries`` of a search by nobody, limited to one entry; deferred, to be put in a row."""
        ask = Ask(f"{self._kind}:search-anonymously", {"base": self.base}, method="SEARCH")
        refusals = (0, 1, 4, 8, 10, 13, 32, 48, 49, 50, 53)
        return self.defer(
            lambda refs: self._single(ask, lambda session: session.anonymous_search(self.base), refs, accepted=refusals)
        )

    def attempt_clear_bind(self) -> Any:
        """Whether port and password without TLS find an ear (``connected``, ``resultCode``), with an invented name.

        No credential of ours is sent. Deferred, to be put in a row.
        """
        ask = Ask(f"{self._kind}:bind-in-clear", {"base": self.base}, method="BIND")
        accepted = (0, 8, 13, 32, 34, 48, 49, 50, 53)
        return self.defer(
            lambda refs: self._single(ask, lambda session: session.clear_bind(self.base), refs, accepted=accepted)
        )

    def _request(self, filter: str, attributes: Sequence[str], base: str, scope: str) -> _Request:  # noqa: A002
        """The request a source spelt.

        Raises:
            ValueError: it names no attributes, or all of them; the source is wrong.
        """
        if not attributes or {"*", "+"} & set(attributes):
            raise ValueError("name the attributes; all of them would hold more than anybody needs")
        controls = (DOMAIN_SCOPE,) if self._kind == "active-directory" else ()
        name, base = f"{self._kind}:search", base or self.base
        self.require(self._kind, name, {"attributes": attributes, "filter": filter})
        return _Request(name, base, filter, tuple(attributes), scope, PAGE_SIZE, controls)

    def _absent(
        self, request: _Request, optional: Sequence[str], witness: Mapping[str, str] | None, refs: list[int] | None
    ) -> dict[str, Callable[[Mapping[str, Any]], set[int] | None]]:
        """For each optional attribute: the replies that show that an entry has none, or ``None`` where nothing does."""
        if self._kind == "active-directory":
            if missing := set(optional) - set(witness or {}):
                raise ValueError(f"name a witness for {', '.join(sorted(missing))}")
            return {name: _witnessed((witness or {})[name]) for name in optional}
        return {name: self._listed_without(request, name, refs) for name in optional}

    def _listed_without(
        self, request: _Request, name: str, refs: list[int] | None
    ) -> Callable[[Mapping[str, Any]], set[int] | None]:
        negated = replace(request, filter=f"(&{request.filter}(!({name}=*)))", attributes=("1.1",))
        listed = {entry["dn"]: ref for found, ref in self._pages(negated, refs) for entry in found}
        return lambda entry: {listed[entry["dn"]]} if entry["dn"] in listed else None

    def _row(
        self,
        request: _Request,
        entry: Mapping[str, Any],
        absent: Mapping[str, Callable[[Mapping[str, Any]], set[int] | None]],
        refs: list[int] | None,
    ) -> tuple[Row, set[int]]:
        """The row of an entry, and the replies its empty lists rest on."""
        sent = {name.lower(): name for name in entry["attributes"]}
        row: Row = {"dn": entry["dn"]}
        proofs: set[int] = set()
        for asked in request.attributes:
            name = asked.partition(";")[0]
            if ranged := next((key for key in sent if key.startswith(f"{name.lower()};range=")), ""):
                values, rest = self._rest(request, entry, sent[ranged], refs)
                proofs |= rest
            elif name.lower() in sent:
                values = entry["attributes"][sent[name.lower()]]
            elif asked in absent and (shown := absent[asked](entry)) is not None:
                values = []
                proofs |= shown
            else:
                row[name] = _hidden(request, name, asked in absent)
                continue
            row[name] = [directory.sid(_bytes(value)) for value in values] if name.lower() in SIDS else list(values)
        return row, proofs

    def _rest(
        self, request: _Request, entry: Mapping[str, Any], name: str, refs: list[int] | None
    ) -> tuple[list[Any], set[int]]:
        """All values of an attribute that came in part (MS-ADTS 3.1.1.3.1.3.3), and the replies with the rest."""
        values = list(entry["attributes"][name])
        bare, _, span = name.partition(";range=")
        seen: list[int] = []
        while not span.endswith("-*"):
            end = span.partition("-")[2]
            if not end.isdecimal() or int(end) != len(values) - 1:
                raise Unavailable(GapKind.MALFORMED, f"{request.operation} gave {bare} in a range that does not add up")
            asked = (f"{bare};range={len(values)}-*",)
            single = replace(
                request, base=entry["dn"], scope="base", filter="(objectClass=*)", attributes=asked, size=None
            )
            found = [item for page, _ in self._pages(single, seen) for item in page]
            more = [(key, part) for item in found for key, part in item["attributes"].items() if ";range=" in key]
            if len(more) != 1 or not more[0][1] or not more[0][0].lower().startswith(bare.lower()):
                raise Unavailable(GapKind.TRUNCATED, f"{request.operation} gave {bare} in part, and not the rest")
            span = more[0][0].lower().partition(";range=")[2]
            values += more[0][1]
        if refs is not None:
            refs += seen
        return values, set(seen)

    def _pages(
        self, request: _Request, refs: list[int] | None, *, part: bool = False
    ) -> Generator[tuple[list[dict[str, Any]], int], None, None]:
        """The entries of each page and the number of its reply, to the last page; of a ``part``, to the first entry."""
        token: str | None = None
        seen: set[str] = set()
        with self._server.session() if self._server else nullcontext() as session:
            for number in range(1, self.limits.max_pages + 1):
                ask = Ask(request.operation, request.params, method="SEARCH", page=number, token_in=token)
                send = self._sender(session, request, number == 1)
                exchange, page = self._ask(ask, send, refs)
                try:
                    _fresh(request, page, seen)
                    token = _following(request, page, number)
                except Unavailable as error:
                    self._note(self.wire.conclude(exchange, last=False, error=str(error.kind)), refs)
                    raise
                enough = part and bool(page["entries"]) and token is not None
                ref = self.wire.conclude(exchange, token_out=token, last=token is None, part=enough)
                if refs is not None:
                    refs.append(ref)
                yield page["entries"], ref
                if token is None:
                    return
        reason = f"{request.operation} has more than {self.limits.max_pages} pages"
        raise Unavailable(GapKind.PAGE_CAP, reason, request.operation)

    def _sender(self, session: Session | None, request: _Request, first: bool) -> Callable[[], Answer]:
        def send() -> Answer:
            if session is None:
                raise AssertionError("a replay sends nothing")
            return session.search(request, first=first, max_bytes=self.limits.max_reply_bytes)

        return send

    def _single(
        self, ask: Ask, send: Callable[[Session], Answer], refs: list[int], *, accepted: Sequence[int]
    ) -> dict[str, Any]:
        """The one reply to a request; result codes in ``accepted`` are answers, too."""

        def sent() -> Answer:
            if self._server is None:
                raise AssertionError("a replay sends nothing")
            with self._server.session() as session:
                return send(session)

        exchange, told = self._ask(ask, sent, refs, accepted)
        refs.append(self.wire.conclude(exchange))
        return told

    def _ask(
        self, ask: Ask, send: Callable[[], Answer], refs: list[int] | None, accepted: Sequence[int] = ()
    ) -> tuple[Exchange, dict[str, Any]]:
        """The open exchange of a reply and its document.

        Raises:
            Unavailable: refused or not readable; every reply of the attempts has been concluded.
        """

        def attempt(number: int) -> tuple[Exchange, dict[str, Any]]:
            exchange = self.wire.exchange(replace(ask, attempt=number), send)
            try:
                return exchange, _read(ask.operation, exchange.answer, accepted)
            except Unavailable as error:
                code = "" if exchange.answer.status is None else str(exchange.answer.status)
                self._note(self.wire.conclude(exchange, last=False, error=str(error.kind), code=code), refs)
                raise

        return self.retry.run(attempt)

    def _note(self, ref: int, refs: list[int] | None) -> None:
        if refs is not None:
            refs.append(ref)
        else:
            self.trail.note(ref)


JSON = {"content-type": "application/json"}


def _witnessed(witness: str) -> Callable[[Mapping[str, Any]], set[int] | None]:
    """Whether the witness came with an entry; the reply that shows it is the one the entry came with."""
    return lambda entry: set() if witness.lower() in map(str.lower, entry["attributes"]) else None


def _hidden(request: _Request, name: str, optional: bool) -> Refused:
    """Stands where an attribute did not come."""
    if optional:
        why = "and nothing shows that there is none"
        return Refused(GapKind.UNPROVEN, f"{request.operation} gave no {name}, {why}", request.operation)
    why = "which every such entry has: it may not be read"
    return Refused(GapKind.DENIED, f"{request.operation} gave no {name}, {why}", request.operation)


def _fresh(request: _Request, page: Mapping[str, Any], seen: set[str]) -> None:
    """Note the entries of a page.

    Raises:
        Unavailable: one was listed before, so that another may be left out.
    """
    for entry in page["entries"]:
        if entry["dn"] in seen:
            reason = f"{request.operation} listed {entry['dn']} twice, so its list cannot be trusted"
            raise Unavailable(GapKind.DUPLICATE, reason, request.operation)
        seen.add(entry["dn"])


def _following(request: _Request, page: Mapping[str, Any], number: int) -> str | None:
    """What proves the next page; ``None`` on the last.

    Raises:
        Unavailable: part of the list lies elsewhere, or nothing says whether there is more.
    """
    if page["references"]:
        where = ", ".join(urlsplit(uri).netloc or "elsewhere" for uri in page["references"][:3])
        reason = f"{request.operation} was referred to {where} for part of the list, which is not followed"
        raise Unavailable(GapKind.TRUNCATED, reason, request.operation)
    if request.size is None:
        return None
    if page["cookie"] is None:
        reason = f"{request.operation} does not say whether there is more"
        raise Unavailable(GapKind.MALFORMED, reason, request.operation)
    return f"{number}:{page['cookie']}" if page["cookie"] else None


def _read(name: str, answer: Answer, accepted: Sequence[int]) -> dict[str, Any]:
    """The document of a reply.

    Raises:
        Unavailable: there is none, or it tells of a refusal.
    """
    if answer.failure:
        kind, reason = GapKind(answer.failure), f"{name} got no usable reply: {answer.detail}"
        passing = kind in (GapKind.UNREACHABLE, GapKind.TIMEOUT)
        raise (Retryable if passing else Unavailable)(kind, reason, name)
    told: dict[str, Any] = orjson.loads(answer.body)
    code = told.get("resultCode", 0)
    bind = told.get("operation") == "bind"
    if code == 0 or (code in accepted and not bind):
        return told
    result = f"{code} {told['result']}"
    if code in PASSING:
        raise Retryable(GapKind.SERVER_ERROR, f"{name} failed on the server ({result})", name)
    kind = KINDS.get(code, GapKind.REJECTED)
    if bind:
        raise Unavailable(kind, f"{name} was refused: the directory did not let us sign in ({result})", name)
    if code in SAID:
        raise Unavailable(kind, f"{name} was cut off by the server ({result})", name)
    raise Unavailable(kind, f"{name} was {'refused' if kind is GapKind.DENIED else 'rejected'} ({result})", name)


def _answered(result: Mapping[str, Any], origin: str, **told: Any) -> Answer:
    """A result and what came with it, as the document that is kept."""
    code = int(result["result"])
    document = {
        "resultCode": code, "result": str(result["description"]), "matchedDN": str(result["dn"] or ""),
        "diagnosticMessage": str(result["message"] or "").rstrip("\0"), "referrals": result.get("referrals") or [],
    }  # fmt: skip
    return Answer(code, _spelt(document | told), JSON, origin)


def _spelt(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _entry(item: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {str(name): [_value(one) for one in values or ()] for name, values in item["raw_attributes"].items()}
    return {"dn": bytes(item["raw_dn"]).decode("utf-8"), "attributes": attributes}


def _value(raw: bytes) -> str | dict[str, str]:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _bytes(value: str | Mapping[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])


def _verified(host: str, roots: Path | None) -> Any:
    """TLS as Python itself verifies it: chain, dates and name; ldap3's own comparison of names is not used."""
    import ldap3

    class Verified(ldap3.Tls):  # type: ignore[misc]
        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002
            context = ssl.create_default_context(cafile=str(roots) if roots else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            connection.socket = context.wrap_socket(connection.socket, server_hostname=host)

    return Verified(validate=ssl.CERT_REQUIRED)


def _close(connection: Any) -> None:
    import ldap3

    try:
        connection.unbind()
    except (ldap3.core.exceptions.LDAPExceptionError, OSError):
        return


def _broken(origin: str, error: BaseException, timeout_s: float) -> Answer:
    """A connection that could not be made, or broke, in words that are the same at every attempt."""
    text = str(error)
    if "certificate verify failed" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0].partition(". (")[0]
        return _failed(origin, GapKind.REJECTED, f"the certificate of the server does not hold ({why})")
    if "timed out" in text or "Errno 11]" in text:
        return _failed(origin, GapKind.TIMEOUT, f"no answer within {timeout_s:g} s")
    if "startTLS" in text:
        return _failed(origin, GapKind.UNSUPPORTED, "the server did not start TLS")
    if "ssl" in text.lower():
        return _failed(origin, GapKind.UNREACHABLE, "the TLS handshake failed")
    return _failed(origin, GapKind.UNREACHABLE, "the connection could not be made, or broke off")


def _failed(origin: str, kind: GapKind, detail: str) -> Answer:
    return Answer(None, endpoint=origin, failure=str(kind), detail=detail)
