"""Kubernetes through its API server: only GET, lists of one revision, and of Secrets only metadata."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from fnmatch import fnmatchcase
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
from collector.connect.credential import Fixed
from collector.connect.http import Http, RefusalError, Site, _absent, _cause, _failed, _origin, _Request
from collector.connect.retry import Retry
from collector.connect.wire import Answer, LiveWire, Wire
from collector.errors import ConfigError
from collector.model import GapKind, Unavailable
from collector.paging import Turn, member
from collector.workloads import APPLIED

LIMIT = 500
"""Objects asked for in one page."""
BEGINNINGS = 3
"""How often a list is begun that the server loses in the middle."""

METADATA = MappingProxyType({"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=1"})
"""Asks for the metadata of objects and for nothing else of them."""

WITHHELD = re.compile(r"/api/v1/(?:watch/)?(?:namespaces/[^/]+/)?(?:secrets|configmaps)(?:/|$)")
"""What is asked for as metadata only."""
ACTS = re.compile(r"/(?:pods|services|nodes)/[^/]+/(?:attach|exec|log|portforward|proxy)(?:/|$)")
"""What a GET does more with than read objects."""
OBJECTS = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)/(?:namespaces/[^/]+/)?(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?"
)


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

    def send(self, url: str, max_bytes: int, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        """The answer to one GET, as it stood on the wire.

        A reply that holds more than the metadata that was asked for is not given on, so that it is kept nowhere.
        """
        origin = _origin(urlsplit(url))
        try:
            access, authorization = self._held()
        except ConfigError as error:
            return Answer(None, endpoint=origin, failure=str(GapKind.UNAUTHENTICATED), detail=str(error))
        sent = {
            "User-Agent": f"affidavit/{collector.__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **({"Authorization": authorization} if authorization else {}),
            **headers,
        }
        answer = self._received(access.pool, url, origin, sent, max_bytes)
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

    def _received(self, pool: Any, url: str, origin: str, headers: Mapping[str, str], max_bytes: int) -> Answer:
        deadline = time.monotonic() + self._timeout_s
        timeout = urllib3.Timeout(connect=min(10.0, self._timeout_s), read=self._timeout_s)
        response = None
        try:
            response = pool.request(
                "GET", url, headers=headers, preload_content=False, retries=False, redirect=False, timeout=timeout
            )
            received = {name.lower(): value for name, value in response.headers.items()}
            body = b""
            for piece in response.stream(1 << 16, decode_content=True):
                body += piece
                if len(body) > max_bytes:
                    detail = f"the reply is larger than {max_bytes} bytes"
                    return Answer(response.status, b"", {}, origin, str(GapKind.OVERSIZED), detail)
                if time.monotonic() > deadline:
                    return _failed(origin, GapKind.TIMEOUT, f"the reply took longer than {self._timeout_s:g} s")
        except urllib3.exceptions.NewConnectionError as error:  # counts as a time-out to urllib3
            return _failed(origin, GapKind.UNREACHABLE, _cause(error))
        except urllib3.exceptions.TimeoutError:
            return _failed(origin, GapKind.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return _failed(origin, GapKind.UNREACHABLE, _cause(error))
        finally:
            if response is not None:
                response.close()
        return Answer(response.status, body, received, origin)


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
        raise ConfigError(f"{where} cannot be used: {said}", "see that kubectl works with it and the context") from None
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
        return str(held).strip() if held else None

    held = authorization()
    if not held and not configuration.cert_file:
        raise ConfigError(
            f"{where} gives no credential: no token and no client certificate",
            "see that its exec plugin works for the user this program runs as",
        )
    user = _subject(held) if held else _certified(Path(str(configuration.cert_file)))
    return Access(configuration.host.rstrip("/"), pool, authorization, user)


def _subject(authorization: str) -> str:
    """Whom a token that is a JWT names; empty for any other."""
    parts = authorization.split(".")
    try:
        subject = member(orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))), "sub")
    except (IndexError, ValueError):
        return ""
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
        with self.trail.listing() as at:
            for body, ref in self._listed(self._list(path, params, metadata_only), None, absent):
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

    def _list(self, path: str, params: Mapping[str, Any], metadata_only: bool) -> _Request:
        return self._request(path, {"limit": LIMIT, **params}, METADATA if metadata_only else {})

    def _request(
        self, path: str, params: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})
    ) -> _Request:
        """The request a source spelt.

        Raises:
            ValueError: it is not one that may be made.
            Unavailable: the source does not declare what it needs.
        """
        request = super()._request(path, params, headers)
        asked = request.url.removeprefix(self._site.base_url)
        if WITHHELD.search(asked) and dict(headers) != METADATA:
            raise ValueError(f"{path} would bring secrets; ask for it with metadata_only=True")
        if ACTS.search(asked):
            raise ValueError(f"{path} does more than read an object")
        needed = permission(asked)
        declared = self.wire.permissions
        if declared is not None and not any(fnmatchcase(needed, item) for item in declared):
            raise Unavailable(GapKind.UNDECLARED, f"the source does not declare that it needs to {needed}", path)
        return request

    def _listed(
        self, request: _Request, refs: list[int] | None, absent: Sequence[int | str]
    ) -> list[tuple[bytes, int]]:
        """The bodies of all pages, with the numbers of their lines."""
        for _ in range(BEGINNINGS):
            try:
                return self._once(request, refs, absent)
            except RefusalError as error:
                if _absent(error, absent):
                    return []
                if error.status != 410:
                    raise
        reason = f"{request.operation} was lost by the server in the middle, {BEGINNINGS} times (410)"
        raise Unavailable(GapKind.TRUNCATED, reason, request.operation)

    def _once(self, request: _Request, refs: list[int] | None, absent: Sequence[int | str]) -> list[tuple[bytes, int]]:
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


def permission(path: str) -> str:
    """What a GET of a path needs, as sources declare it: ``list apps/deployments``, ``nonresource /version``."""
    found = OBJECTS.fullmatch(path)
    if not found:
        return f"nonresource {path}"
    resource = f"{found['group']}/{found['resource']}" if found["group"] else found["resource"]
    return f"{'get' if found['name'] else 'list'} {resource}"


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
