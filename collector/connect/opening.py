"""Opens the connection a task needs: to the outside, or to what was recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import AwsConnection, Config, HostConnection, TlsConnection
from collector.connect.base import Connection, Limits
from collector.connect.retry import Retry
from collector.connect.wire import ReplayWire, Wire
from collector.model import Task
from collector.plan import Plan

if TYPE_CHECKING:
    from collector.connect.aws import AwsAccount

Opener = Callable[[Task, Wire], Connection]
"""Gives the connection of a task, whose replies go through the wire."""


def limits_of(config: Config) -> Limits:
    """The bounds the configuration sets."""
    collection = config.collection
    return Limits(collection.max_pages, collection.max_reply_bytes, collection.timeout_s)


def live(config: Config, *, pool: Executor, stop: threading.Event) -> Opener:
    """Connections to the outside, with the credentials the configuration refers to.

    Accounts are shared by their tasks; a secret is resolved when the first of them is opened.
    """
    limits = limits_of(config)
    retry = Retry(attempts=config.collection.attempts, stop=stop)
    connections = {connection.name: connection for connection in config.connections}
    accounts: dict[tuple[str, str], AwsAccount] = {}
    lock = threading.Lock()

    def account(connection: AwsConnection, id: str) -> AwsAccount:  # noqa: A002
        with lock:
            if (connection.name, id) not in accounts:
                accounts[connection.name, id] = _open_aws(
                    connection, id, config.folder, limits, config.collection.workers
                )
            return accounts[connection.name, id]

    def open_one(task: Task, wire: Wire) -> Connection:
        connection = connections[task.connection]
        match connection:
            case AwsConnection():
                from collector.connect.aws import Aws

                region = task.region or connection.regions[0]
                return Aws(wire, account(connection, task.account), region, retry=retry, limits=limits, pool=pool)
            case HostConnection():
                from collector.connect.host import Host

                return Host(wire, retry=retry, limits=limits, pool=pool)
            case TlsConnection():
                from collector.connect.tls import Tls

                own = Limits(limits.max_pages, limits.max_reply_bytes, connection.timeout_s or limits.timeout_s)
                endpoints = tuple(str(endpoint) for endpoint in connection.endpoints)
                return Tls(wire, endpoints, connection.roots, retry=retry, limits=own, pool=pool)

    return open_one


def recorded(plan: Plan) -> Opener:
    """Connections whose every reply comes from the recording; nothing is sent, no secret is needed."""
    limits = Limits(plan.limits["max_pages"], plan.limits["max_reply_bytes"], plan.limits["timeout_s"])
    retry = Retry(attempts=plan.limits["attempts"], waits=False)
    shared: list[AwsAccount] = []

    def open_one(task: Task, wire: Wire) -> Connection:
        if isinstance(wire, ReplayWire):
            wire.check_opened()
        place = plan.place(task.connection)
        if place.kind == "aws":
            from collector.connect.aws import Aws, AwsAccount

            if not shared:
                shared.append(AwsAccount(None, endpoint_url=None, limits=limits, workers=1))
            return Aws(wire, shared[0], task.region or place.home, retry=retry, limits=limits)
        if place.kind == "host":
            from collector.connect.host import Host

            return Host(wire, retry=retry, limits=limits)
        from collector.connect.tls import Tls

        return Tls(wire, place.endpoints, None, retry=retry, limits=limits)

    return open_one


def _open_aws(connection: AwsConnection, account: str, base: Path, limits: Limits, workers: int) -> AwsAccount:
    from collector.connect.aws import open_account

    declared = next((item for item in connection.accounts if item.id == account), None)
    secret = {
        name: reference.resolve(base).reveal() if reference else None
        for name, reference in (
            ("access_key_id", connection.access_key_id),
            ("secret_access_key", connection.secret_access_key),
            ("session_token", connection.session_token),
            ("external_id", declared.external_id if declared else None),
        )
    }
    return open_account(
        limits=limits, workers=workers, endpoint_url=connection.endpoint_url, profile=connection.profile,
        role=declared.role if declared else None, region=connection.regions[0], **secret,
    )  # fmt: skip
