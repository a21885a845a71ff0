"""Amazon Web Services through boto3: every HTTP reply passes the wire before the SDK's own parser sees it."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.session
import jmespath
import orjson
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from collector.connect.base import Connection, Limits
from collector.connect.retry import TRANSIENT, Retry, Retryable
from collector.connect.transport import gathered, oversized
from collector.connect.wire import Answer, Ask, Exchange, Wire
from collector.model import GapKind, Unavailable, stamp

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "AuthorizationError",
        "AuthorizationErrorException",
        "Forbidden",
        "OperationNotPermitted",
    }
)
UNAUTHENTICATED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "IncompleteSignature",
        "InvalidSignatureException",
    }
)
THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "EC2ThrottledException",
    }
)
UNSUPPORTED = frozenset(
    {
        "UnknownOperationException",
        "InvalidAction",
        "NotImplemented",
        "UnsupportedOperation",
        "OptInRequired",
        "SubscriptionRequiredException",
        "UnsupportedOperationException",
    }
)
TIMED_OUT = frozenset({"RequestTimeout", "RequestTimeoutException"})


@dataclass(slots=True)
class _Call:
    """The call that is under way in this thread."""

    wire: Wire
    ask: Ask
    max_bytes: int
    http: URLLib3Session | None
    model: Any
    """botocore's model of the operation."""
    exchanges: list[Exchange] = field(default_factory=list)


_CALL: ContextVar[_Call] = ContextVar("aws_call")


def _answer_from_wire(request: Any, **_: object) -> AWSResponse:
    """Handler of botocore's ``before-send``: the reply comes from the wire, live or recorded."""
    call = _CALL.get()

    def send() -> Answer:
        if call.http is None:
            raise AssertionError("a replay sends nothing")
        return _send(call.http, request, call.max_bytes)

    ask = replace(call.ask, method=request.method, endpoint="/".join(request.url.split("/", 3)[:3]))
    exchange = call.wire.exchange(ask, send)
    call.exchanges.append(exchange)
    answer = exchange.answer
    if answer.failure and not answer.endpoint:
        raise _NotSentError(GapKind(answer.failure), answer.detail)
    if answer.failure:
        raise _TransportError(GapKind(answer.failure), answer.detail)
    if answer.status == 200 and not _well_formed(call.model, answer.body):
        raise _TransportError(GapKind.MALFORMED, "its body is cut short or not of the documented format")
    response = AWSResponse(request.url, answer.status, HeadersDict(answer.headers), io.BytesIO(answer.body))
    response._content = answer.body
    return response


def _well_formed(model: Any, body: bytes) -> bool:
    """False for a body the SDK would take for an empty reply: a cut JSON document, or nothing at all."""
    shape = model.output_shape
    in_body = shape is not None and any("location" not in member.serialization for member in shape.members.values())
    if not body:
        return not in_body
    payload = shape.members.get(shape.serialization.get("payload", "")) if shape is not None else None
    is_text = payload is not None and payload.type_name == "string"  # a policy, as GetBucketPolicy answers it
    if not is_text and ("json" not in model.service_model.protocol or model.has_streaming_output):
        return True
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False


class _TransportError(HTTPClientError):  # type: ignore[misc]
    """Nothing usable came back."""

    fmt = "{detail}"

    def __init__(self, kind: GapKind, detail: str) -> None:
        super().__init__(detail=detail)
        self.kind = kind


class _NotSentError(_TransportError):
    """The recording says that this was not sent, and why."""


def _send(http: URLLib3Session, request: Any, max_bytes: int) -> Answer:
    request.stream_output = True  # read in bounded pieces below
    endpoint = "/".join(request.url.split("/", 3)[:3])
    try:
        response = http.send(request)
        body = gathered(response.raw.stream(1 << 20), max_bytes)
        if isinstance(body, GapKind):
            response.raw.close()
            return oversized(response.status_code, endpoint, max_bytes)
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        return Answer(None, endpoint=endpoint, failure=str(GapKind.TIMEOUT), detail=_plain(error))
    except (HTTPClientError, BotoCoreError) as error:
        return Answer(None, endpoint=endpoint, failure=str(GapKind.UNREACHABLE), detail=_plain(error))
    except (HTTPError, OSError) as error:
        return Answer(
            None,
            endpoint=endpoint,
            failure=str(GapKind.UNREACHABLE),
            detail=f"the reply broke off ({type(error).__name__})",
        )
    return Answer(response.status_code, body, {k.lower(): v for k, v in response.headers.items()}, endpoint)


def _plain(error: Exception) -> str:
    """The text of an SDK error without what differs from one attempt to the next."""
    return str(error).split("\n", 1)[0][:300]


class AwsAccount:
    """Credentials of one account, and its clients; shared by the tasks of that account.

    Sessions are not thread-safe, clients are: clients are made under a lock and kept, the least recently used are
    dropped. All sessions share one loader of service models (1 MiB a client instead of 12).
    """

    def __init__(
        self, session: boto3.Session | None, *, endpoint_url: str | None, limits: Limits, workers: int
    ) -> None:
        self._session = session or boto3.Session(
            aws_access_key_id="replay",
            aws_secret_access_key="replay",
            botocore_session=_core_session(),
        )
        self._endpoint_url = endpoint_url
        self._clients: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._config = _config(limits, workers)
        self.http = (
            None
            if session is None
            else URLLib3Session(timeout=(min(10.0, limits.timeout_s), limits.timeout_s), max_pool_connections=workers)
        )

    def client(self, service: str, region: str) -> Any:
        """The client of a service in a region."""
        with self._lock:
            if (service, region) in self._clients:
                self._clients.move_to_end((service, region))
                return self._clients[service, region]
            client = self._session.client(
                service, region_name=region, endpoint_url=self._endpoint_url, config=self._config
            )
            client.meta.events.register("before-send", _answer_from_wire)
            self._clients[service, region] = client
            if len(self._clients) > 64:
                self._clients.popitem(last=False)
            return client


@functools.cache
def _loader() -> Any:
    return botocore.session.Session().get_component("data_loader")


def _core_session() -> botocore.session.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", _loader())
    return core


def _config(limits: Limits, workers: int = 1) -> Config:
    """The SDK does not try again by itself: every attempt is ours, and on record.

    Nor does it take an endpoint from the environment or a profile: no seal would show that another cloud answered.
    """
    return Config(
        retries={"total_max_attempts": 1},
        connect_timeout=min(10.0, limits.timeout_s),
        read_timeout=limits.timeout_s,
        max_pool_connections=workers,
        user_agent_appid="affidavit",
        ignore_configured_endpoint_urls=True,
    )


def open_account(
    *,
    limits: Limits,
    workers: int,
    endpoint_url: str | None = None,
    profile: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    role: str | None = None,
    external_id: str | None = None,
    region: str | None = None,
) -> AwsAccount:
    """Credentials of an account, taken from the usual chain or given; with ``role`` they are assumed and renewed.

    ``region`` is where the role is asked for.

    Raises:
        Unavailable: the profile does not exist, or its credentials cannot be used.
    """
    core = _core_session()
    try:
        if profile:
            core.set_config_variable("profile", profile)
            core.get_scoped_config()
        if access_key_id:
            core.set_credentials(access_key_id, secret_access_key, session_token)
        if role:
            _assume(core, role, external_id, endpoint_url, region, limits)
    except BotoCoreError as error:
        raise Unavailable(GapKind.UNAUTHENTICATED, _plain(error)) from error
    return AwsAccount(boto3.Session(botocore_session=core), endpoint_url=endpoint_url, limits=limits, workers=workers)


def _assume(
    core: Any, role: str, external_id: str | None, endpoint_url: str | None, region: str | None, limits: Limits
) -> None:
    """Make the session's credentials those of the role, renewed by themselves when they run out."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    source = core.get_credentials()
    if source is None:
        return
    extra = {"RoleSessionName": "affidavit", "DurationSeconds": 3600} | (
        {"ExternalId": external_id} if external_id else {}
    )
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=functools.partial(
            core.create_client, region_name=region, endpoint_url=endpoint_url, config=_config(limits)
        ),
        source_credentials=source,
        role_arn=role,
        extra_args=extra,
    )
    core._credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)


class Aws(Connection):
    """One task's view of an AWS account: read-only calls, each recorded, each list read to its end."""

    def __init__(
        self,
        wire: Wire,
        account: AwsAccount,
        region: str,
        *,
        retry: Retry,
        limits: Limits,
        pool: Executor | None = None,
    ) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self._account = account
        self.region = region
        """Region asked unless a call names another."""

    def call(self, service: str, operation: str, *, absent: Sequence[str] = (), region: str = "", **params: Any) -> Any:
        """The reply to one request, or ``None`` for one of the ``absent`` error codes ("not configured").

        Raises:
            Unavailable: refused, or not readable; also when the reply is only the first page of a list.
        """
        refs: list[int] = []
        try:
            return self._whole(refs, service, operation, absent, region, params)
        finally:
            self.trail.note(*refs)

    def attempt(
        self, service: str, operation: str, *, absent: Sequence[str] = (), region: str = "", **params: Any
    ) -> Any:
        """Like :meth:`call`, but deferred: put it in a row. A refusal stands in the row and makes checks UNKNOWN."""
        return self.defer(lambda refs: self._whole(refs, service, operation, absent, region, params))

    def pages(self, service: str, operation: str, *, rows: str, region: str = "", **params: Any) -> Iterator[Any]:
        """Yield the records of a list (``rows`` names its member in the reply), page by page, to the last one.

        Raises:
            Unavailable: refused, a repeated token, a missing terminal page, or more pages than allowed.
        """
        with self.trail.listing(self._name(service, operation)) as at:
            for reply, ref in self._pages(service, operation, region, params):
                at(ref)
                yield from self._member(reply, rows, service, operation)

    def attempt_all(
        self, service: str, operation: str, *, rows: str, absent: Sequence[str] = (), region: str = "", **params: Any
    ) -> Any:
        """The whole list as one deferred value, to put in a row."""

        def ask(refs: list[int]) -> list[Any] | None:
            found: list[Any] = []
            try:
                for reply, _ in self._pages(service, operation, region, params, refs, absent):
                    found += self._member(reply, rows, service, operation)
            except AwsRefusal as error:
                if error.code in absent:
                    return None
                raise
            return found

        return self.defer(ask)

    def _whole(
        self, refs: list[int], service: str, operation: str, absent: Sequence[str], region: str, params: dict[str, Any]
    ) -> Any:
        try:
            reply, exchange = self._invoke(service, operation, region, params, absent=absent, refs=refs)
        except AwsRefusal as error:
            if error.code in absent:
                return None
            raise
        paging = self._paging(service, operation, region)
        token = paging.token_out(reply) if paging else None
        refs.append(self.wire.conclude(exchange, token_out=token, last=token is None))
        if token is not None:
            name = self._name(service, operation)
            raise Unavailable(GapKind.TRUNCATED, f"{name} answered with a first page only", name)
        return plain(reply)

    def _pages(
        self,
        service: str,
        operation: str,
        region: str,
        params: dict[str, Any],
        refs: list[int] | None = None,
        absent: Sequence[str] = (),
    ) -> Iterator[tuple[Any, int]]:
        name = self._name(service, operation)
        paging = self._paging(service, operation, region)
        token: str | None = None
        seen: set[str] = set()
        for page in range(1, self.limits.max_pages + 1):
            extra = paging.params_for(token) if paging and token is not None else {}
            reply, exchange = self._invoke(
                service, operation, region, params, extra=extra, page=page, token=token, absent=absent, refs=refs
            )
            with self._chain(name, exchange):
                following = paging.token_out(reply) if paging else None
                if paging and following is None and paging.says_more(reply):
                    raise Unavailable(GapKind.TRUNCATED, f"{name} says there is more but gives no token for it", name)
                if following is not None and (following in seen or following == token):
                    raise Unavailable(
                        GapKind.REPEATED_TOKEN, f"{name} gave a page token a second time on page {page}", name
                    )
            ref = self.wire.conclude(exchange, token_out=following, last=following is None)
            if refs is not None:
                refs.append(ref)
            yield plain(reply), ref
            if following is None:
                return
            seen.add(following)
            token = following
        raise Unavailable(GapKind.PAGE_CAP, f"{name} has more than {self.limits.max_pages} pages", name)

    @contextlib.contextmanager
    def _chain(self, name: str, exchange: Exchange) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            self.trail.note(self.wire.conclude(exchange, last=False, error=str(error.kind), code=name))
            raise

    def _invoke(
        self,
        service: str,
        operation: str,
        region: str,
        params: dict[str, Any],
        *,
        extra: dict[str, str] | None = None,
        page: int = 1,
        token: str | None = None,
        absent: Sequence[str] = (),
        refs: list[int] | None = None,
    ) -> tuple[Any, Exchange]:
        """The parsed reply and its open exchange; ``extra`` are the parameters that carry the page token.

        Raises:
            Unavailable: refused or not readable; every reply of the attempt has been concluded.
            ValueError: a refusal is to be taken for "there is none"; the source is wrong.
        """
        client = self._account.client(service, region or self.region)
        name = self._name(service, operation)
        if wrong := sorted((DENIED | UNAUTHENTICATED | THROTTLED).intersection(absent)):
            raise ValueError(f"{wrong[0]} means refused, not that there is none; take it out of absent=")
        self.require("aws", name, params)
        model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])

        def attempt(number: int) -> tuple[Any, Exchange]:
            ask = Ask(
                operation=name,
                params=plain(params),
                region=region or self.region,
                page=page,
                token_in=token,
                attempt=number,
            )
            call = _Call(self.wire, ask, self.limits.max_reply_bytes, self._account.http, model)
            reset = _CALL.set(call)
            try:
                reply = getattr(client, operation)(**params, **(extra or {}))
            except ClientError as error:
                failure = _client_error(name, error, call)
                self._fail(call, refs, failure, "absent" if getattr(failure, "code", None) in absent else failure.kind)
                raise failure from error
            except (BotoCoreError, HTTPClientError, ResponseParserError) as error:
                failure = _transport_error(name, error, call)
                self._fail(call, refs, failure, failure.kind)
                raise failure from error
            finally:
                _CALL.reset(reset)
            return reply, self._settle(call, refs)

        return self.retry.run(attempt)

    def _settle(self, call: _Call, refs: list[int] | None) -> Exchange:
        """Conclude all replies of the call but the last, which the caller concludes."""
        *earlier, final = call.exchanges
        for exchange in earlier:
            number = self.wire.conclude(exchange, last=False)
            if refs is not None:
                refs.append(number)
        return final

    def _fail(self, call: _Call, refs: list[int] | None, error: Unavailable, kind: str) -> None:
        if not call.exchanges:  # nothing was sent, for want of a credential: on record, so that a replay says the same
            answer = Answer(None, failure=str(error.kind), detail=error.reason)
            call.exchanges.append(self.wire.exchange(call.ask, lambda: answer))
        for exchange in call.exchanges:
            number = self.wire.conclude(exchange, last=False, error=str(kind), code=getattr(error, "code", ""))
            if refs is not None:
                refs.append(number)
            else:
                self.trail.note(number)

    def _member(self, reply: dict[str, Any], rows: str, service: str, operation: str) -> list[Any]:
        """The list under ``rows``; a reply that lacks it is malformed, not empty."""
        found = jmespath.search(rows, reply)
        if not isinstance(found, list):
            name = self._name(service, operation)
            raise Unavailable(GapKind.MALFORMED, f"{name} answered without {rows}", name)
        return found

    def _name(self, service: str, operation: str) -> str:
        """``s3:GetBucketEncryption``: the service as IAM spells it, the operation as the API does."""
        meta = self._account.client(service, self.region).meta
        return f"{meta.service_model.signing_name}:{meta.method_to_api_mapping[operation]}"

    def _paging(self, service: str, operation: str, region: str) -> _Paging | None:
        client = self._account.client(service, region or self.region)
        return _paging(service, client.meta.service_model.api_version, client.meta.method_to_api_mapping[operation])


class AwsRefusal(Unavailable):
    """An error reply, with the vendor's code for it."""

    def __init__(self, kind: GapKind, reason: str, operation: str, code: str) -> None:
        super().__init__(kind, reason, operation)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Paging:
    """How an operation hands out its pages, from botocore's own description."""

    tokens_in: tuple[str, ...]
    tokens_out: tuple[str, ...]
    more: str | None

    def token_out(self, reply: dict[str, Any]) -> str | None:
        """The token of the next page, several parts joined; ``None`` on the last page."""
        if self.more and not jmespath.search(self.more, reply):
            return None
        parts = [jmespath.search(expression, reply) for expression in self.tokens_out]
        if not any(parts):
            return None
        return "\x00".join("" if part is None else str(part) for part in parts)

    def says_more(self, reply: dict[str, Any]) -> bool:
        """True when the reply claims that there are further pages."""
        return bool(self.more and jmespath.search(self.more, reply))

    def params_for(self, token: str) -> dict[str, str]:
        """Request parameters that ask for the page of ``token``."""
        return {name: part for name, part in zip(self.tokens_in, token.split("\x00"), strict=True) if part}


@functools.cache
def _paging(service: str, api_version: str, api_name: str) -> _Paging | None:
    from botocore.exceptions import UnknownServiceError

    try:
        pagination = _loader().load_service_model(service, "paginators-1", api_version)["pagination"].get(api_name)
    except UnknownServiceError:
        pagination = None
    if not pagination:
        return None
    tokens_in, tokens_out = pagination["input_token"], pagination["output_token"]
    return _Paging(
        tuple([tokens_in] if isinstance(tokens_in, str) else tokens_in),
        tuple([tokens_out] if isinstance(tokens_out, str) else tokens_out),
        pagination.get("more_results"),
    )


def _client_error(name: str, error: ClientError, call: _Call) -> Unavailable:
    code = str(error.response["Error"].get("Code", "unknown"))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    headers = call.exchanges[-1].answer.headers if call.exchanges else {}
    after = headers.get("retry-after", "")
    after_s = float(after) if after.isdigit() else None
    if error.operation_name == "AssumeRole":
        name, absent_code = "sts:AssumeRole", ""  # whatever its code is, it says nothing of what was asked for
    else:
        absent_code = code
    if code in DENIED:
        return AwsRefusal(GapKind.DENIED, f"{name} was refused ({code})", name, absent_code)
    if code in UNAUTHENTICATED:
        return AwsRefusal(
            GapKind.UNAUTHENTICATED, f"{name} was refused: the credential is not valid ({code})", name, code
        )
    if code in THROTTLED or status == 429:
        return Retryable(GapKind.THROTTLED, f"{name} was throttled ({code})", name, after_s)
    if code in TIMED_OUT:
        return Retryable(GapKind.TIMEOUT, f"{name} timed out ({code})", name, after_s)
    if code in UNSUPPORTED or status == 501:
        return AwsRefusal(GapKind.UNSUPPORTED, f"{name} is not supported here ({code})", name, absent_code)
    if status >= 500:
        return Retryable(GapKind.SERVER_ERROR, f"{name} failed on the server ({code}, status {status})", name, after_s)
    if status == 403:
        return AwsRefusal(GapKind.DENIED, f"{name} was refused ({code}, status 403)", name, absent_code)
    return AwsRefusal(GapKind.REJECTED, f"{name} was rejected ({code})", name, absent_code)


def _transport_error(name: str, error: Exception, call: _Call) -> Unavailable:
    if isinstance(error, _NotSentError):
        text = str(error)
        kinds = Retryable if error.kind in TRANSIENT else Unavailable
        return kinds(error.kind, text, text.partition(" ")[0])
    if isinstance(error, _TransportError):
        text = f"{name} got no usable reply: {error}"
        if error.kind in (GapKind.TIMEOUT, GapKind.UNREACHABLE):
            return Retryable(error.kind, text, name)
        return Unavailable(error.kind, text, name)
    if isinstance(error, ResponseParserError):
        status = call.exchanges[-1].answer.status or 0
        if status >= 500:  # a gateway's error page
            return Retryable(GapKind.SERVER_ERROR, f"{name} failed on the server (status {status})", name)
        return Unavailable(GapKind.MALFORMED, f"{name} answered with something that cannot be parsed", name)
    if isinstance(error, NoCredentialsError):
        return Unavailable(GapKind.UNAUTHENTICATED, f"{name} was not asked: no credentials were found", name)
    if isinstance(error, ParamValidationError):
        raise error  # the source is wrong: a crash, not a refusal
    if isinstance(error, HTTPClientError):
        return Retryable(GapKind.UNREACHABLE, f"{name} was not asked: {_plain(error)}", name)
    return Unavailable(
        GapKind.REJECTED if call.exchanges else GapKind.UNAUTHENTICATED, f"{name} was not asked: {_plain(error)}", name
    )


def plain(value: Any) -> Any:
    """A parsed reply as JSON can hold it: times as RFC 3339 in UTC, bytes as base64, no response metadata."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "ResponseMetadata"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return stamp(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value
