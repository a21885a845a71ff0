"""Kubernetes through its API server: lists of one revision, and of Secrets only metadata.

Sources only GET. What the doctor asks before a run, which rights it has, is a POST that makes nothing.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import orjson
import urllib3

import collector
from collector.address import is_loopback
from collector.config import KubernetesConnection
from collector.connect.base import Limits
from collector.connect.credential import Fixed, claims
from collector.connect.http import Http, RefusalError, Request, Site, body_of, is_absent
from collector.connect.retry import Retry
from collector.connect.rights import permission
from collector.connect.transport import PIECE, cause, failed, origin_of, received
from collector.connect.wire import Answer, Ask, LiveWire, Wire
from collector.errors import ConfigError
from collector.model import GapKind, Unavailable
from collector.paging import Turn, member
from collector.workloads import APPLIED

LIMIT = 500
"""Objects asked for in one page."""
BEGINNINGS = 3
"""How often a list is begun that the server loses in the middle."""

METADATA = MappingProxyType({"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"})
"""Asks for the metadata of objects and for nothing else of them."""

WITHHELD = re.compile(r"/api/v1/(?:watch/)?(?:namespaces/[^/]+/)?(?:secrets|configmaps)(?:/|$)")
"""What is asked for as metadata only."""
ACTS = re.compile(r"/(?:pods|services|nodes)/[^/]+/(?:attach|exec|log|portforward|proxy)(?:/|$)")
"""What a GET does more with than read objects."""
REVIEWS = frozenset({"SelfSubjectAccessReview", "SelfSubjectRulesReview"})
"""Questions about one's own rights, open to everybody who is signed in: a POST, which makes nothing."""


@dataclass(frozen=True, slots=True)
class Access:
    """A way to one API server, as a kubeconfig or the pod describes it."""

    host: str
    pool: Any
    """urllib3 pool that holds the trusted roots and the client certificate."""
    authorization: Callable[[], str | None]
    """The header that says who asks, renewed where the credential says so; ``None`` for a client certificate."""
    user: str
    """Whom the credential says it is of; nobody but the server has verified that."""


class Cluster(Site):
    """One API server and the credential for it; shared by the tasks of a connection, safe in several threads.

    No redirect is followed, and certificates are always verified.
    """

    def __init__(self, name: str, load: Callable[[], Access], *, timeout_s: float = 60.0) -> None:
        self._load = load
        self._access = load()
        self._stale = False
        self._lock = threading.Lock()
        caller = f"{name}, {self._access.user}" if self._access.user else name
        super().__init__("kubernetes", self._access.host, credential=Fixed(caller, {}), timeout_s=timeout_s)

    def send(
        self, url: str, max_bytes: int, headers: Mapping[str, str] = MappingProxyType({}), *, review: bytes = b""
    ) -> Answer:
        """The answer to one GET, or to the POST of a ``review``, as it stood on the wire.

        A reply that holds more than the metadata that was asked for is not given on, so that it is kept nowhere.
        """
        origin = origin_of(urlsplit(url))
        try:
            access, authorization = self._held()
        except ConfigError as error:
            return Answer(None, endpoint=origin, failure=str(GapKind.UNAUTHENTICATED), detail=str(error))
        sent = {
            "User-Agent": f"affidavit/{collector.__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **({"Authorization": authorization} if authorization else {}),
            **({"Content-Type": "application/json"} if review else {}),
            **headers,
        }
        answer = self._received(access.pool, url, origin, sent, max_bytes, review)
        if answer.status == 401:
            with self._lock:
                self._stale = True
        if answer.status == 200 and dict(headers) == METADATA and (said := _more_than_metadata(answer.body)):
            return Answer(200, b"", {}, origin, str(GapKind.REJECTED), said)
        return answer

    def _held(self) -> tuple[Access, str | None]:
        """The access, with a credential that was not refused.

        Raises:
            ConfigError: there is none any more.
        """
        with self._lock:
            if self._stale:
                self._access = self._load()
                self._stale = False
            return self._access, self._access.authorization()

    def _received(
        self, pool: Any, url: str, origin: str, headers: Mapping[str, str], max_bytes: int, review: bytes
    ) -> Answer:
        deadline = time.monotonic() + self._timeout_s
        timeout = urllib3.Timeout(connect=min(10.0, self._timeout_s), read=self._timeout_s)
        response = None
        try:
            response = pool.request(
                "POST" if review else "GET", url, body=review or None, headers=headers, preload_content=False,
                retries=False, redirect=False, timeout=timeout,
            )  # fmt: skip
            told = {name.lower(): value for name, value in response.headers.items()}
            pieces = response.stream(PIECE, decode_content=True)
            return received(response.status, told, pieces, origin, max_bytes, self._timeout_s, deadline)
        except urllib3.exceptions.NewConnectionError as error:  # counts as a time-out to urllib3
            return failed(origin, GapKind.UNREACHABLE, cause(error))
        except urllib3.exceptions.TimeoutError:
            return failed(origin, GapKind.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return failed(origin, GapKind.UNREACHABLE, cause(error))
        finally:
            if response is not None:
                response.close()


def _more_than_metadata(body: bytes) -> str:
    """Why a reply is not what was asked for; empty when every object in it is metadata only."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    kind = member(document, "kind")
    if kind != "PartialObjectMetadataList":
        named = kind if isinstance(kind, str) and re.fullmatch(r"\w{1,64}", kind) else "something else"
        return f"answered with {named} where only metadata was asked for; the reply was not kept"
    for item in document.get("items") or ():
        if not isinstance(item, dict) or item.keys() - {"kind", "apiVersion", "metadata"}:
            return "answered with more than the metadata that was asked for; the reply was not kept"
    return ""


def open_cluster(connection: KubernetesConnection, *, workers: int, timeout_s: float) -> Cluster:
    """The API server a kubeconfig names, or that of the pod this program runs in.

    Raises:
        ConfigError: there is no way to it, or none that is safe.
    """
    file = Path(connection.kubeconfig or "")
    name = "service account of the pod" if connection.in_cluster else f"context {connection.context} of {file.name}"
    return Cluster(name, lambda: _access(connection, workers), timeout_s=timeout_s)


def _access(connection: KubernetesConnection, workers: int) -> Access:
    import yaml
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

    where = "in_cluster" if connection.in_cluster else f"the kubeconfig {connection.kubeconfig}"
    next_step = "see that kubectl works with it and the context"
    if connection.in_cluster:
        next_step = "run in a pod that mounts the token of its service account, or name a kubeconfig instead"
    configuration = Configuration()
    try:
        if connection.in_cluster:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            load_kube_config(  # type: ignore[no-untyped-call]
                str(connection.kubeconfig), connection.context, configuration, persist_config=False
            )  # a program that only reads writes no renewed token back
    except (ConfigException, OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        said = str(error) if isinstance(error, ConfigException | FileNotFoundError) else type(error).__name__
        raise ConfigError(f"{where} cannot be used: {said}", next_step) from None
    _safe(where, configuration)
    configuration.connection_pool_maxsize = workers
    pool = ApiClient(configuration).rest_client.pool_manager

    def authorization() -> str | None:
        try:
            held = configuration.auth_settings().get("BearerToken", {}).get("value")
        except (ConfigException, OSError, ValueError) as error:
            raise ConfigError(
                f"{where} gives no credential any more ({type(error).__name__})", "see that kubectl works with it"
            ) from None
        scheme, _, token = str(held or "").strip().partition(" ")
        if token:
            return f"{scheme} {token}"
        if configuration.cert_file:
            return None
        raise ConfigError(  # a request without a credential would be answered as to anybody
            f"{where} gives no credential: no token and no client certificate",
            next_step if connection.in_cluster else "see that its exec plugin works for the user this program runs as",
        )

    held = authorization()
    user = _subject(held) if held else _certified(Path(str(configuration.cert_file)))
    return Access(configuration.host.rstrip("/"), pool, authorization, user)


def _subject(authorization: str) -> str:
    """Whom a token that is a JWT names; empty for any other."""
    subject = claims(authorization).get("sub")
    return f"token of {subject}" if isinstance(subject, str) and subject.isprintable() and len(subject) < 300 else ""


def _certified(file: Path) -> str:
    """Whom a client certificate names."""
    from cryptography import x509

    try:
        subject = x509.load_pem_x509_certificate(file.read_bytes()).subject
    except (OSError, ValueError):
        return ""
    return f"certificate of {subject.rfc4514_string()}"


def _safe(where: str, configuration: Any) -> None:
    parts = urlsplit(configuration.host)
    if not configuration.verify_ssl:
        raise ConfigError(f"{where} does not verify the certificate", "take insecure-skip-tls-verify out of it")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ConfigError(f"{where} names a server without https", "name it with https")


class Kubernetes(Http):
    """One task's view of a cluster: each list is read at one revision to its end, or not at all."""

    def __init__(self, wire: Wire, site: Site, *, retry: Retry, limits: Limits, pool: Executor | None = None) -> None:
        super().__init__(wire, site, retry=retry, limits=limits, pool=pool)
        if isinstance(wire, LiveWire):
            wire.redact_too(APPLIED)

    def pages(
        self, path: str, /, *, metadata_only: bool = False, absent: Sequence[int | str] = (), **params: Any
    ) -> Iterator[Any]:
        """Yield the objects of a list, all of one revision; nothing where the list itself is ``absent``.

        Each has its ``Key`` (``namespace/name``) and no ``fieldsV1``. Nothing is yielded before the last page was
        read: a list the server loses in the middle (410) is begun again.

        Raises:
            Unavailable: refused, pages of two revisions, a count that does not add up, or too many pages.
        """
        request = self._list(path, params, metadata_only)
        with self.trail.listing(request.operation) as at:
            for body, ref in self._listed(request, None, absent):
                at(ref)
                yield from _objects(body)

    def attempt_all(
        self, path: str, /, *, metadata_only: bool = False, absent: Sequence[int | str] = (), **params: Any
    ) -> Any:
        """The whole list as one deferred value, to put in a row; empty where it is ``absent``."""
        request = self._list(path, params, metadata_only)

        def ask(refs: list[int]) -> list[Any]:
            return [one for body, _ in self._listed(request, refs, absent) for one in _objects(body)]

        return self.defer(ask)

    def count(self, path: str, /) -> Any:
        """The first object of a list, as metadata, with what the server counts after it (``remainingItemCount``)."""
        return self.get(path, headers=METADATA, part=True, limit=1)

    def extension(self, group: str, resource: str, versions: Sequence[str]) -> Iterator[Any]:
        """The objects of an API group that a cluster may lack: none where it is absent.

        Raises:
            Unavailable: as :meth:`pages`; or the group is served in none of ``versions``.
        """
        served = self.served(group)
        version = next((item for item in versions if item in served), None)
        if version:
            yield from self.pages(f"/apis/{group}/{version}/{resource}", absent=(404,))
        elif served:
            reason = f"the cluster serves {group} as {', '.join(served)}; read here is {', '.join(versions)}"
            raise Unavailable(GapKind.UNSUPPORTED, reason, "kubernetes:GET /apis")

    def served(self, group: str) -> list[str]:
        """The versions in which an API group is served; empty where there is no such group."""
        groups = {item["name"]: item for item in self.get("/apis")["groups"]}
        return [item["version"] for item in groups[group]["versions"]] if group in groups else []

    def review(self, kind: str, **spec: Any) -> dict[str, Any]:
        """What the server says of the rights of whoever asks: a POST that makes nothing, and that no source may make.

        Raises:
            ValueError: a source asks for it, or it is no review of oneself.
            Unavailable: refused, or not readable.
        """
        site = self._site
        if kind not in REVIEWS or self.wire.permissions is not None or not isinstance(site, Cluster):
            raise ValueError(f"{kind} is no review that may be asked for here")
        path = f"/apis/authorization.k8s.io/v1/{kind.lower()}s"
        document = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        ask = Ask(f"kubernetes:POST {path}", spec, method="POST")
        url, body = site.base_url + path, orjson.dumps(document)

        def attempt(number: int) -> dict[str, Any]:
            exchange = self.wire.exchange(
                replace(ask, attempt=number), lambda: site.send(url, self.limits.max_reply_bytes, review=body)
            )
            self.wire.conclude(exchange)
            answer = exchange.answer
            made = replace(answer, status=200) if answer.status == 201 else answer  # "created", though nothing is kept
            told = member(body_of(ask.operation, made), "status")
            if not isinstance(told, dict):
                raise Unavailable(GapKind.MALFORMED, f"{ask.operation} answered without a status", ask.operation)
            return told

        return self.retry.run(attempt)

    def _list(self, path: str, params: Mapping[str, Any], metadata_only: bool) -> Request:
        return self._request(path, {"limit": LIMIT, **params}, METADATA if metadata_only else {})

    def _permitted(self, request: Request) -> None:
        """Return when the request may be made.

        Raises:
            ValueError: the source is wrong: it would bring secrets, or do more than read.
            Unavailable: the source does not declare what it needs.
        """
        path = request.operation.partition(":GET ")[2]
        asked = request.url.removeprefix(self._site.base_url)
        if WITHHELD.search(asked) and dict(request.headers) != METADATA:
            raise ValueError(f"{path} would bring secrets; ask for it with metadata_only=True")
        if ACTS.search(asked):
            raise ValueError(f"{path} does more than read an object")
        if missing := self.lacks("kubernetes", request.operation, request.params):
            told = f"the source does not declare that it needs to {missing}"
            raise self.wire.undeclared(Unavailable(GapKind.UNDECLARED, told, path))

    def _listed(
        self, request: Request, refs: list[int] | None, absent: Sequence[int | str]
    ) -> list[tuple[bytes, int]]:
        """The bodies of all pages, with the numbers of their lines."""
        for _ in range(BEGINNINGS):
            try:
                return self._once(request, refs, absent)
            except RefusalError as error:
                if is_absent(error, absent):
                    return []
                if error.status != 410:
                    raise
        reason = f"{request.operation} was lost by the server in the middle, {BEGINNINGS} times (410)"
        raise Unavailable(GapKind.TRUNCATED, reason, request.operation)

    def _once(self, request: Request, refs: list[int] | None, absent: Sequence[int | str]) -> list[tuple[bytes, int]]:
        pages: list[tuple[bytes, int]] = []
        turn: Turn | None = None
        revision: str | None = None
        expected: int | None = None
        seen: set[str] = set()
        for number in range(1, self.limits.max_pages + 1):
            token = turn.token if turn else None
            url = request.address(turn)
            exchange, body = self._ask(request, url, page=number, token=token, refs=refs, absent=absent)
            with self._chain(request.operation, exchange, refs):
                about, found = _page(body, metadata_only=dict(request.headers) == METADATA)
                if number > 1 and about.get("resourceVersion") != revision:
                    raise Unavailable(GapKind.TRUNCATED, f"gave pages of two revisions, {revision} and another")
                revision = about.get("resourceVersion")
                following, remaining = about.get("continue") or "", about.get("remainingItemCount")
                if remaining and not following:
                    raise Unavailable(GapKind.TRUNCATED, f"counts {remaining} objects more and gives no next page")
                if expected is not None and len(found) + (remaining or 0) != expected and (remaining or not following):
                    counted = f"counted {expected} objects more, then gave {len(found)} and counts {remaining or 0}"
                    raise Unavailable(GapKind.TRUNCATED, counted)
                expected = remaining or None
                if following in seen:
                    raise Unavailable(GapKind.REPEATED_TOKEN, f"gave a next page a second time on page {number}")
                seen.add(following)
                turn = Turn(following, query={"continue": following}) if following else None
            ref = self.wire.conclude(exchange, token_out=following or None, last=turn is None)
            if refs is not None:
                refs.append(ref)
            pages.append((exchange.answer.body, ref))
            if turn is None:
                return pages
        reason = f"{request.operation} has more than {self.limits.max_pages} pages"
        raise Unavailable(GapKind.PAGE_CAP, reason, request.operation)


def _page(body: Any, *, metadata_only: bool) -> tuple[Mapping[str, Any], list[Any]]:
    """What a page says of its list, and its objects.

    Raises:
        Unavailable: it is no page of a list, or not one of metadata where that was asked for.
    """
    kind, about = member(body, "kind"), member(body, "metadata")
    if not isinstance(kind, str) or not kind.endswith("List") or not isinstance(about, Mapping) or "items" not in body:
        raise Unavailable(GapKind.MALFORMED, "answered without a list")
    if metadata_only and kind != "PartialObjectMetadataList":
        raise Unavailable(GapKind.REJECTED, f"answered with {kind} where only metadata was asked for")
    found = [] if body["items"] is None else body["items"]  # how Go spells a list without elements
    if not isinstance(found, list) or not all(isinstance(member(item, "metadata/name"), str) for item in found):
        raise Unavailable(GapKind.MALFORMED, "answered with objects that have no name")
    remaining = about.get("remainingItemCount")
    if not isinstance(about.get("continue") or "", str) or not isinstance(remaining or 0, int):
        raise Unavailable(GapKind.MALFORMED, "answered with a page that does not say what follows")
    return about, found


def _objects(body: bytes) -> Iterator[dict[str, Any]]:
    """The objects of a page as rows: what was sent, without the list of fields that each writer manages."""
    for item in orjson.loads(body)["items"] or ():
        about = dict(item["metadata"])
        if "managedFields" in about:
            about["managedFields"] = [
                {name: value for name, value in entry.items() if name != "fieldsV1"} for entry in about["managedFields"]
            ]
        key = f"{about['namespace']}/{about['name']}" if about.get("namespace") else about["name"]
        yield {"Key": key, **item, "metadata": about}


def recorded_site() -> Site:
    """Where a replay asks: nowhere."""
    return Site("kubernetes", "https://kubernetes")


__all__ = ["METADATA", "Cluster", "Kubernetes", "open_cluster", "permission", "recorded_site"]
