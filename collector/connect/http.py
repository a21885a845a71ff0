"""REST APIs over HTTPS: only GET, every reply on record before it is read, every list read to its proven end."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

import collector
from collector.connect.base import Connection, Limits
from collector.connect.credential import Credential, NoCredentialError, claims
from collector.connect.retry import TRANSIENT, Retry, Retryable
from collector.connect.transport import PIECE, cause, failed, origin_of, received
from collector.connect.wire import Answer, Ask, Exchange, Wire
from collector.model import GapKind, Unavailable, instant, stamp
from collector.paging import Link, Page, Pager, Turn, member


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one vendor's API wants of every request."""

    token: str = "Authorization: Bearer {token}"  # noqa: S105
    """How a token is sent."""
    headers: tuple[tuple[str, str], ...] = ()
    home: str = ""
    """Address of the API, where it is the same for every customer."""
    elsewhere: tuple[tuple[str, str], ...] = ()
    """What further hosts of the vendor answer, beside ``home`` only: beginning of the path, address."""
    omits_empty: bool = False
    """Whether a list without records is left out of the body."""


DIALECTS = {
    "github": Dialect(headers=(("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28"))),
    "gitlab": Dialect(token="PRIVATE-TOKEN: {token}"),  # noqa: S106
    "google-workspace": Dialect(
        home="https://admin.googleapis.com",
        elsewhere=(("/v1/", "https://cloudidentity.googleapis.com"),),
        omits_empty=True,
    ),
    "okta": Dialect(token="Authorization: SSWS {token}"),  # noqa: S106
}
"""By kind of connection; the others speak the default."""

SECRET_PARAMS = frozenset(
    {"access_token", "api_key", "apikey", "auth", "authorization", "client_secret", "password", "private_token",
     "secret", "token"}
)  # fmt: skip
"""Parameters that would carry a credential into the record."""

EMPTY = frozenset({"kind", "etag", "nextPageToken"})
"""All that stands in a list of Google's whose records are left out because there are none."""

GOOGLE_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})
"""Google throttles with status 403 and one of these reasons."""

UNSUPPORTED = {
    "AadPremiumLicenseRequired": "needs a licence that the tenant does not have",
    "Authentication_RequestFromNonPremiumTenantOrB2CTenant": "needs a licence that the tenant does not have",
    "Request_UnsupportedQuery": "is not supported here",
}
"""What a vendor's own words for "not here" mean, whatever status they come with."""

SECRET_HEADERS = frozenset({"authorization", "cookie", "private-token", "proxy-authorization", "x-api-key"})
"""Headers that would carry a credential into the record."""

REFUSALS = frozenset({"401", "403", "access_denied", "accessdenied", "forbidden", "insufficientpermissions",
                      "unauthorized"})  # fmt: skip
"""Statuses and words that say "not allowed"."""

OF_NOBODY = frozenset({"github.caller", "okta.caller"})
"""Datasets of who asks: refused to a credential that belongs to nobody, and that is the answer."""

MORE = ("@odata.nextLink", "nextPageToken", "nextLink", "_links/next/href", "metadata/continue")
"""Members of a body that say there is a further page."""


class Site:
    """One API and the credential for it; shared by the tasks of a connection and safe to use from several threads.

    No cookie is kept, no ``.netrc`` is read, no redirect is followed, and certificates are always verified.
    """

    def __init__(
        self,
        kind: str,
        base_url: str,
        *,
        credential: Credential | None = None,
        session: requests.Session | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.kind = kind
        """First word of its datasets."""
        self.base_url = base_url.rstrip("/")
        self.credential = credential
        """``None`` in a replay."""
        self._session = session
        self._timeout_s = timeout_s

    def address(self, path: str) -> str:
        """What ``path`` is put behind: the base address, or the further host of the vendor that answers such a path.

        A base address of one's own (a gateway, a test) answers for all of them.
        """
        own = dialect(self.kind)
        if self.base_url == own.home:
            return next((address for start, address in own.elsewhere if path.startswith(start)), self.base_url)
        return self.base_url

    def send(self, url: str, max_bytes: int, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        """The answer to one GET, as it stood on the wire."""
        if self._session is None or self.credential is None:
            raise AssertionError("a replay sends nothing")
        origin = origin_of(urlsplit(url))
        try:
            held = self.credential.headers()
        except NoCredentialError as error:
            return Answer(None, endpoint=origin, failure=str(error.kind), detail=error.detail)

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers.update(held)
            return request

        deadline = time.monotonic() + self._timeout_s
        timeout = (min(10.0, self._timeout_s), self._timeout_s)
        try:
            with self._session.get(
                url, headers=headers, auth=sign, allow_redirects=False, stream=True, timeout=timeout,
                verify=self._session.verify,  # else REQUESTS_CA_BUNDLE would outweigh the configured roots
            ) as response:  # fmt: skip
                status, headers_of = response.status_code, {name.lower(): v for name, v in response.headers.items()}
                if status == 401:
                    self.credential.refused()
                pieces = response.raw.stream(PIECE, decode_content=True)
                answer = received(status, headers_of, pieces, origin, max_bytes, self._timeout_s, deadline)
        except (requests.Timeout, ReadTimeoutError):
            return failed(origin, GapKind.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        except (requests.RequestException, HTTPError, OSError) as error:
            return failed(origin, GapKind.UNREACHABLE, cause(error))
        coding = answer.headers.get("content-encoding", "identity")
        if coding == "identity":
            return answer
        return replace(answer, detail=f"the body is kept decoded from {coding}, which was not asked for")


def open_session(kind: str, *, workers: int, roots: Path | None = None) -> requests.Session:
    """A session that carries nothing from one request to the next; ``roots`` are trusted instead of the usual ones."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.headers["User-Agent"] = f"affidavit/{collector.__version__}"
    session.headers["Accept"] = "application/json"
    session.headers["Accept-Encoding"] = "identity"  # what is kept is what was sent
    session.headers.update(dialect(kind).headers)
    session.verify = str(roots) if roots else True
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=workers, max_retries=0))
    return session


def dialect(kind: str) -> Dialect:
    """What the API of that kind wants."""
    return DIALECTS.get(kind, Dialect())


class RefusalError(Unavailable):
    """An error reply, with its status and the vendor's own code."""

    def __init__(self, kind: GapKind, reason: str, operation: str, status: int, code: str) -> None:
        super().__init__(kind, reason, operation)
        self.status = status
        self.code = code
        self.message = ""
        """The vendor's own sentence, where it is all that tells "not set up" from "not allowed"."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, without page tokens."""

    operation: str
    url: str
    query: Mapping[str, Any]
    params: Mapping[str, Any]
    """Everything that was filled in, for the record."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every page, and on record among ``params``."""

    def address(self, turn: Turn | None) -> str:
        """Where it is asked: the first page, or the page ``turn`` names by parameters."""
        query = {**self.query, **(turn.query if turn else {})}
        text = urlencode({name: _spelt(value) for name, value in query.items()}, doseq=True, quote_via=quote, safe="$")
        return f"{self.url}?{text}" if text else self.url


class Http(Connection):
    """One task's view of a REST API: read only, each reply recorded, each list read to its end."""

    def __init__(self, wire: Wire, site: Site, *, retry: Retry, limits: Limits, pool: Executor | None = None) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self.account = wire.task.account
        self._site = site
        if site.credential and not wire.caller:
            wire.caller = site.credential.name

    def get(
        self,
        path: str,
        /,
        *,
        absent: Sequence[int | str] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
        part: bool = False,
        **params: Any,
    ) -> Any:
        """The reply to one request; ``None`` for an ``absent`` status or error code, ``{}`` for "no content".

        Words in braces in ``path`` are filled from ``params``, the rest of ``params`` is the query. ``headers`` go on
        record with them. ``part`` takes the first page of a list, for what it says of the whole: a count.

        Raises:
            Unavailable: refused, or not readable; also when the reply is only the first page of a list.
        """
        refs: list[int] = []
        try:
            return self._whole(refs, self._request(path, params, headers), absent, part=part)
        finally:
            self.trail.note(*refs)

    def attempt(self, path: str, /, *, absent: Sequence[int | str] = (), **params: Any) -> Any:
        """Like :meth:`get`, but deferred: put it in a row. A refusal stands in the row and makes checks UNKNOWN."""
        request = self._request(path, params)
        return self.defer(lambda refs: self._whole(refs, request, absent))

    def pages(self, path: str, /, *, rows: str = "", pager: Pager = Link(), **params: Any) -> Iterator[Any]:  # noqa: B008
        """Yield the records of a list, page by page, to the last one.

        ``rows`` names the list in the body; empty where the body is the list.

        Raises:
            Unavailable: refused, a repeated token, a foreign link, a count that does not add up, or too many pages.
        """
        request = self._request(path, {**pager.opening(), **params})
        with self.trail.listing(request.operation) as at:
            for found, ref in self._pages(request, rows, pager, None):
                at(ref)
                yield from found

    def attempt_all(
        self,
        path: str,
        /,
        *,
        rows: str = "",
        pager: Pager = Link(),  # noqa: B008
        absent: Sequence[int | str] = (),
        **params: Any,
    ) -> Any:
        """The whole list as one deferred value, to put in a row."""
        request = self._request(path, {**pager.opening(), **params})

        def ask(refs: list[int]) -> list[Any] | None:
            found: list[Any] = []
            try:
                for records, _ in self._pages(request, rows, pager, refs, absent):
                    found += records
            except RefusalError as error:
                if is_absent(error, absent):
                    return None
                raise
            return found

        return self.defer(ask)

    def granted(self) -> frozenset[str]:
        """The rights that the token names itself; none where it is no JSON Web Token, or could not be fetched.

        Unverified: it is our own, and only looked at before a run.
        """
        if self._site.credential is None:
            return frozenset()
        try:
            return frozenset(_rights(claims(self._site.credential.headers().get("Authorization", ""))))
        except (NoCredentialError, AttributeError, TypeError):
            return frozenset()

    def now(self) -> datetime:
        """The time of asking, on record, so that a replay asks for the same period."""
        exchange = self.wire.exchange(Ask("collector:clock", {}), lambda: Answer(0, stamp(datetime.now(UTC)).encode()))
        self.trail.note(self.wire.conclude(exchange))
        return instant(exchange.answer.body.decode())

    def _request(
        self, path: str, params: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})
    ) -> Request:
        """The request a source spelt.

        Raises:
            Unavailable: the source does not declare what it needs.
            ValueError: it is not one that may be made; the source is wrong.
        """
        if not path.startswith("/") or path.startswith("//") or set("?#") & set(path):
            raise ValueError(f"{path!r} is not a path; write /api/things/{{id}} and the query as arguments")
        names = set(re.findall(r"{(\w+)}", path))
        if missing := sorted(names - set(params)):
            raise ValueError(f"{path} needs {', '.join(missing)}")
        query = {name: value for name, value in params.items() if name not in names}
        for name, value in query.items():
            if name.lower() in SECRET_PARAMS:
                raise ValueError(f"the parameter {name} would carry a secret into the record; configure a credential")
            if value is None:
                raise ValueError(f"the parameter {name} has no value")
        if secret := sorted(SECRET_HEADERS & {name.lower() for name in headers}):
            raise ValueError(f"the header {secret[0]} would carry a secret into the record; configure a credential")
        url = self._site.address(path) + re.sub(r"{(\w+)}", lambda match: _segment(params[match[1]]), path)
        told = {**params, **{f"header {name}": value for name, value in headers.items()}}
        request = Request(f"{self._site.kind}:GET {path}", url, query, told, headers)
        self._permitted(request)
        return request

    def _permitted(self, request: Request) -> None:
        """Return when the source declares the rights that the request needs; pages that follow need no others.

        Raises:
            Unavailable: it does not (kind ``undeclared``).
        """
        self.require(self._site.kind, request.operation, request.params)

    def _whole(self, refs: list[int], request: Request, absent: Sequence[int | str], *, part: bool = False) -> Any:
        try:
            exchange, body = self._ask(request, request.address(None), refs=refs, absent=absent)
        except RefusalError as error:
            if is_absent(error, absent):
                return None
            raise
        name = request.operation
        with self._chain(name, exchange, refs):
            page = Page(body, exchange.answer.headers, [], 0, 1)
            more = bool(Link().following(page) or any(member(body, path) for path in MORE))
            if more and not part:
                raise Unavailable(GapKind.TRUNCATED, "answered with a first page only")
        refs.append(self.wire.conclude(exchange, last=not more, part=part))
        return body

    def _pages(
        self,
        request: Request,
        rows: str,
        pager: Pager,
        refs: list[int] | None,
        absent: Sequence[int | str] = (),
    ) -> Iterator[tuple[list[Any], int]]:
        name = request.operation
        turn: Turn | None = None
        url = request.address(None)
        seen: set[str] = set()
        read = 0
        last: list[Any] = []
        for number in range(1, self.limits.max_pages + 1):
            token = turn.token if turn else None
            exchange, body = self._ask(request, url, page=number, token=token, refs=refs, absent=absent)
            with self._chain(name, exchange, refs):
                found = [] if self._left_out(body) else member(body, rows)
                if not isinstance(found, list):
                    raise Unavailable(GapKind.MALFORMED, f"answered without {rows or 'a list'}")
                if found and found == last:
                    raise Unavailable(GapKind.DUPLICATE, f"gave the records of page {number - 1} once more")
                last = found
                read += len(found)
                total = turn.total if turn else None
                turn = pager.following(Page(body, exchange.answer.headers, found, read, number, total))
                if turn and turn.token in seen:
                    raise Unavailable(GapKind.REPEATED_TOKEN, f"gave a next page a second time on page {number}")
                if turn:
                    seen.add(turn.token)
                    url = self._linked(url, turn.url) if turn.url else request.address(turn)
            ref = self.wire.conclude(exchange, token_out=turn.token if turn else None, last=turn is None)
            if refs is not None:
                refs.append(ref)
            yield found, ref
            if turn is None:
                return
        raise Unavailable(GapKind.PAGE_CAP, f"{name} has more than {self.limits.max_pages} pages", name)

    def _linked(self, here: str, link: str) -> str:
        """Where a link leads, if that is the API we were told to ask: nobody else gets the credential.

        Raises:
            Unavailable: it leads elsewhere.
        """
        try:
            target = urlsplit(urljoin(here, link))
            own = origin_of(target) == origin_of(urlsplit(here))
        except ValueError:
            raise Unavailable(GapKind.MALFORMED, "gave a next page whose address cannot be read") from None
        if not own or "@" in target.netloc:
            raise Unavailable(GapKind.MALFORMED, "gave a next page on another host, which was not asked")
        return target._replace(fragment="").geturl()

    def _left_out(self, body: Any) -> bool:
        """True where the vendor leaves an empty list out: a body that holds anything else is not one."""
        return dialect(self._site.kind).omits_empty and isinstance(body, Mapping) and body.keys() <= EMPTY

    @contextlib.contextmanager
    def _chain(self, name: str, exchange: Exchange, refs: list[int] | None) -> Iterator[None]:
        """What is wrong with a page is told of its operation, and stands on its line."""
        try:
            yield
        except Unavailable as error:
            self._note(self.wire.conclude(exchange, last=False, error=str(error.kind), code=name), refs)
            raise Unavailable(error.kind, f"{name} {error.reason}", name) from None

    def _note(self, ref: int, refs: list[int] | None) -> None:
        if refs is not None:
            refs.append(ref)
        else:
            self.trail.note(ref)

    def _ask(
        self,
        request: Request,
        url: str,
        *,
        page: int = 1,
        token: str | None = None,
        refs: list[int] | None = None,
        absent: Sequence[int | str] = (),
    ) -> tuple[Exchange, Any]:
        """The open exchange of a reply and its body as JSON.

        Raises:
            Unavailable: refused or not readable; every reply of the attempts has been concluded.
            ValueError: a refusal is to be taken for "there is none"; the source is wrong.
        """
        if (wrong := _refusals(absent)) and self.wire.task.dataset not in OF_NOBODY:
            raise ValueError(f"{wrong} means refused, not that there is none; take it out of absent=")
        ask = Ask(request.operation, request.params, origin_of(urlsplit(url)), "GET", page=page, token_in=token)

        def attempt(number: int) -> tuple[Exchange, Any]:
            exchange = self.wire.exchange(
                replace(ask, attempt=number),
                lambda: self._site.send(url, self.limits.max_reply_bytes, request.headers),
            )
            try:
                return exchange, body_of(request.operation, exchange.answer)
            except Unavailable as error:
                kind = "absent" if is_absent(error, absent) else str(error.kind)
                code = error.code if isinstance(error, RefusalError) else ""
                self._note(self.wire.conclude(exchange, last=False, error=kind, code=code), refs)
                raise

        return self.retry.run(attempt)


def body_of(name: str, answer: Answer) -> Any:
    """The body as JSON.

    Raises:
        Unavailable: there is none, or it tells of an error.
    """
    if answer.failure:
        kind = GapKind(answer.failure)
        asked = "was not asked" if kind is GapKind.UNAUTHENTICATED else "got no usable reply"
        kinds = Retryable if kind in TRANSIENT else Unavailable
        raise kinds(kind, f"{name} {asked}: {answer.detail}", name)
    if answer.status == 204:
        return {}
    if answer.status != 200:
        refusal = _refusal(name, answer)
        if isinstance(refusal, RefusalError):
            refusal.message = _message(answer.body)
        raise refusal
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise Unavailable(GapKind.MALFORMED, f"{name} answered with something that is not JSON", name) from None


def _refusal(name: str, answer: Answer) -> Unavailable:
    status, headers = answer.status or 0, answer.headers
    code = _code(answer.body)
    said = f"{status} {code}" if code else f"{status}"
    spent = "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or code in GOOGLE_LIMITS
    spent |= "rate limit" in _message(answer.body)
    if status == 429 or (status == 403 and spent):
        return Retryable(GapKind.THROTTLED, f"{name} was throttled ({said})", name, _after_s(headers))
    if code in UNSUPPORTED:
        return RefusalError(GapKind.UNSUPPORTED, f"{name} {UNSUPPORTED[code]} ({said})", name, status, code)
    if status == 401:
        reason = f"{name} was refused: the credential is not valid ({said})"
        return RefusalError(GapKind.UNAUTHENTICATED, reason, name, status, code)
    if status == 403:
        return RefusalError(GapKind.DENIED, f"{name} was refused ({said})", name, status, code)
    if status == 408:
        return Retryable(GapKind.TIMEOUT, f"{name} timed out ({said})", name, _after_s(headers))
    if status == 501:
        return RefusalError(GapKind.UNSUPPORTED, f"{name} is not supported here ({said})", name, status, code)
    if status >= 500:
        return Retryable(GapKind.SERVER_ERROR, f"{name} failed on the server ({said})", name, _after_s(headers))
    if 300 <= status < 400:
        reason = f"{name} was sent elsewhere ({said}), which is not followed"
        return RefusalError(GapKind.REJECTED, reason, name, status, code)
    return RefusalError(GapKind.REJECTED, f"{name} was rejected ({said})", name, status, code)


def is_absent(error: Unavailable, absent: Sequence[int | str]) -> bool:
    """Whether the source takes an error reply for "there is none", by its status, code or sentence."""
    if not isinstance(error, RefusalError):
        return False
    said = [item for item in absent if isinstance(item, str)]
    return error.status in absent or error.code in absent or any(fnmatchcase(error.message, item) for item in said)


def _refusals(absent: Sequence[int | str]) -> str:
    """The first word of ``absent`` that a refusal could go by, or that anything could; empty where there is none."""
    words = (str(item) for item in absent)
    return next((word for word in words if not word.strip("*?") or word.strip("*?").casefold() in REFUSALS), "")


def _message(body: bytes) -> str:
    """The vendor's sentence about an error; empty when there is none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    said = member(document, "message")
    return said if isinstance(said, str) else ""


def _code(body: bytes) -> str:
    """The vendor's word for an error, if it is one word."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    for path in ("errorCode", "error/errors/0/reason", "error/code", "error/status", "error", "reason", "code"):
        value = _element(document, path)
        if isinstance(value, str | int) and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", str(value)):
            return str(value)
    return ""


def _element(document: Any, path: str) -> Any:
    head, numbered, tail = path.partition("/0/")
    found = member(document, head)
    return member(found[0], tail) if numbered and isinstance(found, list) and found else None if numbered else found


def _after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks us to wait, by its own clock where it tells the time."""
    after = headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,9}(\.\d+)?", after):
        return float(after)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    if until := _date(after):
        return max(0.0, (until - now).total_seconds())
    reset = headers.get("x-rate-limit-reset") or headers.get("x-ratelimit-reset") or ""
    if re.fullmatch(r"\d{1,12}", reset):
        return max(0.0, int(reset) - now.timestamp()) if int(reset) > 1_000_000_000 else float(reset)
    return None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _segment(value: Any) -> str:
    """A value as one segment of a path.

    Raises:
        ValueError: it is none, or leads elsewhere.
    """
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or text in ("", ".", ".."):
        raise ValueError(f"{value!r} cannot stand in a path")
    return quote(text, safe="")


def _spelt(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _rights(told: Mapping[str, Any]) -> Iterator[str]:
    """What a token allows, as Okta, Microsoft and Keycloak write it into its claims."""
    for name in ("scp", "scope", "roles"):
        value = told.get(name, [])
        yield from value.split() if isinstance(value, str) else map(str, value)
    for client in told.get("resource_access", {}).values():
        yield from map(str, client.get("roles", []))
