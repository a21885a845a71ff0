"""Small worlds that sources run against, and the faults they can be given."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import orjson

from collector import plugins
from collector.api import Source
from collector.connect import aws as aws_module
from collector.connect.aws import Aws, AwsAccount, open_account
from collector.connect.base import Limits
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire
from collector.demo import mends
from collector.fetch import fetch
from collector.model import Population, Proof, Record, Shard, Task, record

LIMITS = Limits(max_pages=50, max_reply_bytes=8 << 20, timeout_s=10)


PROOF = Proof(Population(Task("t.a.things", "c"), 1, "terminal-page"))
"""For findings that a test makes up."""


class MemoryLedger:
    """A run that keeps its bodies and lines in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add_object(self, data: bytes, *, request: Mapping[str, Any] | None = None) -> str:
        name = hashlib.sha256(data).hexdigest()
        self.objects[name] = data
        return name

    def add_reply(self, line: Mapping[str, Any]) -> int:
        with self._lock:
            self.lines.append({**json.loads(json.dumps(line)), "i": len(self.lines)})
            return len(self.lines) - 1


@dataclass
class Reading:
    """What a source made of a world: its rows, how complete they are, and every reply."""

    shard: Shard
    ledger: MemoryLedger
    unused: list[int] = field(default_factory=list)

    @property
    def rows(self) -> list[Record]:
        assert self.shard.path is not None
        return [record(orjson.loads(line)["row"]) for line in self.shard.path.read_bytes().splitlines()]

    def row(self, key: str) -> Record:
        """The row with this key."""
        assert self.shard.path is not None
        rows = {item["key"]: item["row"] for item in map(orjson.loads, self.shard.path.read_bytes().splitlines())}
        return record(rows[key])

    @property
    def operations(self) -> list[str]:
        return [line["op"] for line in self.ledger.lines]


class _FaultyHttp:
    """Sends requests on, or answers in the server's place, by operation."""

    def __init__(self, real: Any, faults: dict[str, Callable[[Any], Any]]) -> None:
        self._real = real
        self._faults = faults

    def send(self, request: Any) -> Any:
        operation = aws_module._CALL.get().ask.operation
        fault = self._faults.get(operation) or self._faults.get("*")
        return (fault(request) if fault else None) or self._real.send(request)


class FakeResponse:
    """A reply that did not come from the server."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.headers = dict(headers)
        self.raw = self
        self._body = body

    def stream(self, _: int) -> Any:
        yield self._body

    def close(self) -> None:
        pass


def error_reply(request: Any, code: str, status: int = 403, retry_after: str = "") -> FakeResponse:
    """An error as the protocol of the request spells it."""
    kind = str(request.headers.get("Content-Type", ""))
    extra = {"Retry-After": retry_after} if retry_after else {}
    headers = str(request.headers)
    rest_json = any(f"/{service}/aws4_request" in headers for service in ("backup", "guardduty", "lambda"))
    if rest_json or "json" in kind or "application/json" in headers:
        body = json.dumps({"__type": code, "message": "no"}).encode()
        return FakeResponse(
            status, body, {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": code, **extra}
        )
    error = f"<Code>{code}</Code><Message>no</Message>"
    body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>r</RequestID></Response>"
    if "form" in kind and "2016-11-15" not in str(request.body):
        body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>r</RequestId></ErrorResponse>"
    if not kind:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return FakeResponse(status, body.encode(), {"content-type": "text/xml", "x-amzn-errortype": code, **extra})


class AwsWorld:
    """A moto server on loopback; ``client`` seeds it, ``read`` runs a source of ours against it."""

    def __init__(self, server: Any, port: int) -> None:
        self._server = server
        self.endpoint = f"http://127.0.0.1:{port}"
        self._pool = ThreadPoolExecutor(8)
        self.faults: dict[str, Callable[[Any], Any]] = {}
        self.region = "eu-central-1"
        self._tmp = Path()
        self._count = 0

    @classmethod
    def start(cls) -> AwsWorld:
        os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        from moto.server import ThreadedMotoServer

        mends.date_reports()
        mends.tell_clusters_apart()

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        return cls(server, server.get_host_and_port()[1])

    def stop(self) -> None:
        self._pool.shutdown()
        self._server.stop()

    def reset(self, tmp: Path) -> None:
        import requests

        requests.post(f"{self.endpoint}/moto-api/reset", timeout=10).raise_for_status()
        self.faults = {}
        self._tmp = tmp

    def client(self, service: str, region: str = "") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region or self.region,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def deny(self, operation: str, code: str = "AccessDenied") -> None:
        self.faults[operation] = lambda request: error_reply(request, code)

    def account(self, limits: Limits = LIMITS) -> AwsAccount:
        account = open_account(
            limits=limits, workers=8, endpoint_url=self.endpoint, access_key_id="testing", secret_access_key="testing"
        )
        account.http = _FaultyHttp(account.http, self.faults)
        return account

    def read(self, dataset: str, region: str = "", limits: Limits = LIMITS, attempts: int = 2) -> Reading:
        """Run the source of ``dataset`` against the world."""
        return self.read_source(plugins.load().sources[dataset], region, limits, attempts)

    def read_source(self, source: Source, region: str = "", limits: Limits = LIMITS, attempts: int = 2) -> Reading:
        """Run a source against the world."""
        region = region or self.region
        task = Task(source.id, "aws", region=region if source.per == "region" else "")
        ledger = MemoryLedger()
        wire = LiveWire(task, ledger, source.redactions)
        wire.permissions = frozenset(source.permissions)
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.01)
        self._count += 1
        connection = Aws(wire, self.account(limits), region, retry=retry, limits=limits, pool=self._pool)
        return Reading(fetch(task, source, connection, self._tmp / f"{self._count}.live"), ledger)

    def replay(self, reading: Reading, limits: Limits = LIMITS, attempts: int = 2) -> Reading:
        """Run the same source again from what was recorded, with nothing to connect to."""
        task = reading.shard.task
        source = plugins.load().sources[task.dataset]
        account = AwsAccount(None, endpoint_url=None, limits=limits, workers=1)
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        wire.permissions = frozenset(source.permissions)
        retry = Retry(attempts=attempts, waits=False)
        self._count += 1
        connection = Aws(wire, account, task.region or self.region, retry=retry, limits=limits)
        again = fetch(task, source, connection, self._tmp / f"{self._count}.replay")
        return Reading(again, reading.ledger, wire.unused())
