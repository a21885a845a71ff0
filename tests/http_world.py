"""A small REST API on loopback that behaves like the vendors': pages, refusals, throttling, and worse."""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from collector import plugins
from collector.api import Source
from collector.connect.base import Limits
from collector.connect.credential import Credential, token
from collector.connect.http import Http, Site, dialect, open_session
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire
from collector.fetch import fetch
from collector.model import Task
from collector.secrets import Secret
from tests.worlds import LIMITS, MemoryLedger, Reading

ROOT = Path(__file__).parent.parent
SPECS = ROOT.parent / "shared" / "specs"
TOKEN = "00-example-token"


@dataclass
class Reply:
    """What the world answers; a string as body goes out as it is."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    """``Link`` headers, each a header of its own, as Okta sends them."""
    cut: bool = False
    """The connection breaks before the body is whole."""


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def url(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path


Handler = Callable[[Request], Reply]
Route = tuple[str, Handler]


class HttpWorld:
    """A real server; ``routes`` say what it holds, ``faults`` answer in its place by path and number of request."""

    kind = "acme"

    def __init__(self, tmp: Path) -> None:
        self.routes: list[Route] = []
        self.faults: dict[str, Callable[[Request, int], Reply | None]] = {}
        self.requests: list[Request] = []
        self.token = TOKEN
        self._tmp = tmp
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(8)
        self._runs = 0
        world = self

        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body leave together
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                query = dict(parse_qsl(parts.query, keep_blank_values=True))
                world._answer(self, Request(self.command, parts.path, query, headers, self.rfile.read(length)))

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        self._server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._pool.shutdown()
        self._server.shutdown()
        self._server.server_close()

    def route(self, path: str, handler: Handler) -> None:
        """``path`` with ``{names}``; the values are given to the handler as part of the query."""
        self.routes.append((path, handler))

    def paged(self, path: str, rows: list[dict[str, Any]] | Handler, size: int = 2) -> None:
        """A list with ``Link`` headers, as Okta and GitHub hand it out."""

        def answer(request: Request) -> Reply:
            found = rows(request).body if callable(rows) else rows
            start = int(request.query.get("after", 0))
            links = [f'<{self.origin}{request.url}>; rel="self"']
            if start + size < len(found):
                query = {name: value for name, value in request.query.items() if not name.startswith("{")}
                links.append(
                    f'<{self.origin}{request.path}?{urlencode({**query, "after": str(start + size)})}>; rel="next"'
                )
            return Reply(body=found[start : start + size], links=tuple(links))

        self.route(path, answer)

    def allowed(self, request: Request) -> Reply | None:
        """The refusal of a request without the right credential."""
        header, _, form = dialect(self.kind).token.partition(": ")
        if request.headers.get(header.lower()) != form.replace("{token}", self.token):
            return Reply(401, {"errorCode": "E0000011", "errorSummary": "Invalid token provided"})
        return None

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        """A place to hold requests and replies against a description of the API."""

    def _answer(self, server: BaseHTTPRequestHandler, request: Request) -> None:
        with self._lock:
            self.requests.append(request)
            self._counts[request.path] += 1
            number = self._counts[request.path]
        reply = self._reply(request, number)
        body = (
            reply.body
            if isinstance(reply.body, bytes)
            else b""
            if reply.body is None
            else json.dumps(reply.body).encode()
        )
        server.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        for name, value in headers.items():
            server.send_header(name, value)
        for link in reply.links:
            server.send_header("Link", link)
        server.send_header("Content-Length", str(len(body)))
        server.end_headers()
        with suppress(OSError):
            server.wfile.write(body[: len(body) // 2] if reply.cut else body)
        if reply.cut:
            server.close_connection = True

    def _reply(self, request: Request, number: int) -> Reply:
        for pattern, fault in self.faults.items():
            if re.fullmatch(pattern, request.path) and (reply := fault(request, number)):
                return reply
        for template, handler in self.routes:
            names = re.findall(r"{(\w+)}", template)
            found = re.fullmatch(re.sub(r"{\w+}", r"([^/]+)", template), request.path)
            if found:
                values = {f"{{{name}}}": value for name, value in zip(names, found.groups(), strict=True)}
                full = Request(request.method, request.path, {**request.query, **values}, request.headers, request.body)
                reply = self.allowed(request) or handler(full)
                self.checked(request, template, reply)
                return reply
        return Reply(404, {"errorCode": "E0000007", "errorSummary": "Not found: Resource not found"})

    def credential(self) -> Credential:
        return token("token env:ACME_TOKEN", dialect(self.kind).token, Secret(self.token))

    def site(self, credential: Credential | None = None, timeout_s: float = 10.0) -> Site:
        session = open_session(self.kind, workers=8)
        return Site(
            self.kind, self.origin, credential=credential or self.credential(), session=session, timeout_s=timeout_s
        )

    def connect(self, source: Source, ledger: MemoryLedger, site: Site, limits: Limits, attempts: int) -> Http:
        wire = LiveWire(Task(source.id, self.kind), ledger, source.redactions)
        wire.permissions = frozenset(source.permissions)
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.01)
        return Http(wire, site, retry=retry, limits=limits, pool=self._pool)

    def read(self, dataset: str, **options: Any) -> Reading:
        """Run the source of ``dataset`` against the world."""
        return self.read_source(plugins.load().sources[dataset], **options)

    def read_source(
        self, source: Source, *, limits: Limits = LIMITS, attempts: int = 2, site: Site | None = None
    ) -> Reading:
        ledger = MemoryLedger()
        connection = self.connect(source, ledger, site or self.site(), limits, attempts)
        self._runs += 1
        return Reading(fetch(connection.wire.task, source, connection, self._tmp / f"{self._runs}.live"), ledger)

    def replay(
        self, reading: Reading, source: Source | None = None, *, limits: Limits = LIMITS, attempts: int = 2
    ) -> Reading:
        """Run the same source again from what was recorded, with nothing to connect to."""
        task = reading.shard.task
        source = source or plugins.load().sources[task.dataset]
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        wire.permissions = frozenset(source.permissions)
        connection = Http(
            wire, Site(self.kind, self.origin), retry=Retry(attempts=attempts, waits=False), limits=limits
        )
        self._runs += 1
        again = fetch(task, source, connection, self._tmp / f"{self._runs}.replay")
        return Reading(again, reading.ledger, wire.unused())


def same(world: HttpWorld, reading: Reading, source: Source | None = None, **options: Any) -> None:
    """The replay comes to the same rows and the same population from all replies."""
    again = world.replay(reading, source, **options)
    assert reading.shard.path is not None
    assert again.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert (again.shard.population, again.unused) == (reading.shard.population, [])


def packed(body: Any) -> Reply:
    """A reply in gzip, though nobody asked for it."""
    return Reply(body=gzip.compress(json.dumps(body).encode()), headers={"Content-Encoding": "gzip"})


def basic_of(request: Request) -> str:
    """User and password of a request."""
    return base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()


class Contract:
    """An OpenAPI description that requests and replies are held against."""

    def __init__(self, file: str, host: str = "https://subdomain.okta.com") -> None:
        from openapi_core import Config, OpenAPI

        self._host = host

        self._api = OpenAPI.from_file_path(str(SPECS / file), config=Config(spec_validator_cls=None))
        self.document = json.loads((SPECS / file).read_text("utf8"))
        self.held = 0
        """Replies that were found to conform."""
        self.faults: list[str] = []

    def hold(self, request: Request, template: str, reply: Reply) -> None:
        """Note what of a request or its reply is not in the description."""
        from openapi_core.datatypes import RequestParameters
        from openapi_core.exceptions import OpenAPIError

        operation = self.document["paths"].get(template, {}).get(request.method.lower())
        if operation is None:
            self.faults.append(f"{request.method} {template} is not in the description")
            return
        known = {self._resolved(item)["name"] for item in operation.get("parameters", [])}
        self.faults += [f"{template} has no parameter {name}" for name in request.query if name not in known]
        if str(reply.status) not in operation["responses"]:
            return
        try:
            self._api.validate_response(_Asked(self._host, request, RequestParameters()), _Replied(reply))
            self.held += 1
        except OpenAPIError as error:
            causes = getattr(error.__cause__, "schema_errors", ())
            self.faults.append(f"{template}: {error}: {[item.message[:300] for item in causes]}")

    def _resolved(self, parameter: dict[str, Any]) -> dict[str, Any]:
        name = parameter.get("$ref", "").rpartition("/")[2]
        return self.document["components"]["parameters"][name] if name else parameter


class _Asked:
    def __init__(self, host: str, request: Request, parameters: Any) -> None:
        self.host_url = host
        self.path = request.path
        self.method = request.method.lower()
        self.content_type = ""
        self.body = None
        self.parameters = parameters


class _Replied:
    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.content_type = "application/json"
        self.headers: dict[str, str] = {}
        self.data = json.dumps(reply.body).encode()


class OktaWorld(HttpWorld):
    """An Okta organisation: lists that a test fills; each reply is held against the vendor's description."""

    kind = "okta"
    _contract: Contract | None = None

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.me: dict[str, Any] | None = None
        self.users: list[dict[str, Any]] = []
        self.factors: dict[str, list[dict[str, Any]]] = {}
        self.roles: dict[str, list[dict[str, Any]]] = {}
        self.groups: list[dict[str, Any]] = []
        self.built_in: list[dict[str, Any]] = []
        self.group_roles: dict[str, list[dict[str, Any]]] = {}
        self.apps: list[dict[str, Any]] = []
        self.app_users: dict[str, list[dict[str, Any]]] = {}
        self.policies: dict[str, list[dict[str, Any]]] = {}
        self.rules: dict[str, list[dict[str, Any]]] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {
            "/api/v1/authenticators": [], "/api/v1/api-tokens": [], "/api/v1/logs": [], "/api/v1/logStreams": [],
            "/api/v1/zones": [],
        }  # fmt: skip
        self.single: dict[str, Any] = {}
        if SPECS.is_dir() and OktaWorld._contract is None:
            OktaWorld._contract = Contract("okta-collector.openapi.json")
        self.contract = OktaWorld._contract
        if self.contract:
            self.contract.faults, self.contract.held = [], 0
        self._furnish()

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        if self.contract:
            with self._lock:
                self.contract.hold(request, template, reply)

    def _furnish(self) -> None:
        def lookup(held: dict[str, list[dict[str, Any]]], name: str) -> Handler:
            return lambda request: Reply(body=held.get(request.query[f"{{{name}}}"], []))

        self.route("/api/v1/users/{id}", self._me)
        self.paged("/api/v1/users", self._listed)
        self.route("/api/v1/users/{userId}/factors", lookup(self.factors, "userId"))
        self.route("/api/v1/users/{userId}/roles", lookup(self.roles, "userId"))
        self.route("/api/v1/iam/assignees/users", self._assignees)
        self.paged("/api/v1/groups", lambda request: Reply(body=self._groups(request)))
        self.route("/api/v1/groups/{groupId}/roles", lookup(self.group_roles, "groupId"))
        self.paged("/api/v1/apps", lambda request: Reply(body=self._filtered(self.apps, request)))
        self.paged("/api/v1/apps/{appId}/users", lookup(self.app_users, "appId"))
        self.paged("/api/v1/policies", lambda request: Reply(body=self.policies.get(request.query["type"], [])))
        self.route("/api/v1/policies/{policyId}/rules", lookup(self.rules, "policyId"))
        for path in self.lists:
            whole = path in ("/api/v1/authenticators", "/api/v1/api-tokens")
            self.paged(path, lambda request, path=path: Reply(body=self.lists[path]), size=1000 if whole else 2)
        for path in ("/api/v1/threats/configuration", "/api/v1/org/privacy/oktaSupport"):
            self.route(path, lambda request, path=path: Reply(body=self.single[path]))

    def _groups(self, request: Request) -> list[dict[str, Any]]:
        return self.built_in if request.query.get("filter") == 'type eq "BUILT_IN"' else self.groups

    def _me(self, request: Request) -> Reply:
        if request.query["{id}"] == "me" and self.me:
            return Reply(body=self.me)
        return Reply(404, {"errorCode": "E0000007", "errorSummary": "Not found: Resource not found: me (User)"})

    def _listed(self, request: Request) -> Reply:
        """Deprovisioned users are left out unless a filter or a search asks for them, as Okta does."""
        everybody = "filter" in request.query or "search" in request.query
        return Reply(body=[user for user in self.users if everybody or user["status"] != "DEPROVISIONED"])

    @staticmethod
    def _filtered(apps: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
        wanted = re.fullmatch(r'status eq "(\w+)"', request.query.get("filter", ""))
        return [app for app in apps if not wanted or app["status"] == wanted[1]]

    def _assignees(self, request: Request) -> Reply:
        ids = sorted(self.roles)
        start = int(request.query.get("after", 0))
        body: dict[str, Any] = {
            "value": [{"id": one, "orn": f"orn:okta:directory:00o1:users:{one}"} for one in ids[start : start + 2]]
        }
        if start + 2 < len(ids):
            body["_links"] = {"next": {"href": f"{self.origin}{request.path}?after={start + 2}&limit=100"}}
        return Reply(body=body)


def worlds(kind: type[HttpWorld], tmp: Path) -> Iterator[Any]:
    """A world that is stopped in the end."""
    world = kind(tmp)
    yield world
    world.stop()
