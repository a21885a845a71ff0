"""Looks at everything a run needs before a run needs it: key, store, clock, authorities, credentials, rights."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from collector import plan as planning
from collector.collect import collect
from collector.config import (
    Connection,
    HostConnection,
    HttpConnection,
    RegisterConnection,
    SqlConnection,
    TlsConnection,
)
from collector.connect import opening
from collector.connect.http import Http
from collector.connect.kubernetes import Kubernetes
from collector.connect.ldap import Ldap
from collector.connect.sql import Sql
from collector.connect.wire import LiveWire, Wire
from collector.doctor import apis, aws, cluster, databases, directories, machine
from collector.doctor.rights import Line, Look, Looked, Rights, told
from collector.errors import AffidavitError
from collector.model import Shard, Task, Unavailable, instant
from collector.plan import IDENTITY, Plan
from collector.run import Workbench
from evidence_store.errors import StoreError

if TYPE_CHECKING:
    from evidence_store.keys import Signer

SLOW_CLOCK_S = 5
FREE_MB = 500


def examine(bench: Workbench, signer: Callable[[], Signer]) -> Iterator[Line]:
    """Yield what was found, one line each; nothing is written to the store, only identities and rights are asked."""
    config = bench.config
    yield Line(
        "ok", f"configuration, {len(bench.library.checks)} checks and {len(bench.mappings.rows)} mapping rows load"
    )
    key = ""
    try:
        key = signer().keyid
        yield Line("ok", f"the key opens; fingerprint {key}")
    except (AffidavitError, StoreError) as error:
        yield Line("problem", error.what, error.next_step)
    yield from _store(config.store.path, key)
    for authority in config.timestamps.authorities:
        yield _reachable(authority.url)
    if not config.timestamps.authorities:
        yield Line(
            "warning",
            "no time-stamp authority is configured",
            "add timestamps.authorities: without one nobody outside attests when",
        )
    try:
        plan = planning.make(config, bench.library, datetime.now(UTC), files=bench.files)
    except AffidavitError as error:
        yield Line("problem", error.what, error.next_step)
        return
    yield from _connections(bench, plan)


def _store(path: Path, key: str) -> Iterator[Line]:
    from evidence_store.verify import verify_store

    folder = path if path.exists() else path.parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        yield Line("problem", f"{folder} cannot be written to", "give this user the right, or change store.path")
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize // (1 << 20)
    if free < FREE_MB:
        yield Line("warning", f"{free} MB are free at {folder}", "make room before the disk is full")
    if not (path / "STORE.json").is_file():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            yield Line("problem", f"{path} is there and is no store", "name a new folder in store.path")
        else:
            yield Line("ok", f"there is no store at {path} yet; the first run makes it")
        return
    found = verify_store(path, key=key or None, read_data=False)
    if found.problems:
        yield Line("problem", f"the store: {found.problems[0]}", f"read: affidavit verify {path} --key FINGERPRINT")
    else:
        yield Line("ok", f"the store at {path} is consistent: {found.runs} runs, {found.leaves} leaves")


def _reachable(url: str) -> Line:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=10).close()
    except OSError as error:
        return Line(
            "problem", f"{url} does not answer: {error.strerror or error}", "correct the address, or open the way to it"
        )
    return Line("ok", f"the time-stamp authority {parts.hostname} answers on port {port}")


def _connections(bench: Workbench, plan: Plan) -> Iterator[Line]:
    """Who each connection is, how far the clocks are apart, and which rights it has."""
    identities = tuple(task for task in plan.tasks if task.dataset in IDENTITY.values())
    ledgers: dict[Task, Looked] = {}
    stop = threading.Event()

    def wire(task: Task, caller: str) -> Wire:
        ledgers[task] = Looked()
        live = LiveWire(task, ledgers[task], bench.library.sources[task.dataset].redactions, stop=stop)
        live.caller = caller
        return live

    with tempfile.TemporaryDirectory(prefix="affidavit-") as name, ThreadPoolExecutor(4) as pool:
        opener = opening.live(bench.config, pool=pool, stop=stop)
        shards = collect(identities, bench.library.sources, wire, opener, Path(name), workers=4, stop=stop)
        for shard in shards:
            yield from _identity(shard, ledgers.get(shard.task))
            if shard.task.dataset == IDENTITY["aws"] and not shard.population.gap:
                yield from _simulated(bench, plan, shard, opener)
        known = {shard.task.connection: False for shard in shards}
        known |= {shard.task.connection: True for shard in shards if not shard.population.gap}
        for connection in bench.config.connections:
            if connection.kind != "aws" and known.get(connection.name, True):
                yield from told(connection.name, _rights(bench, plan, connection, opener))


def _identity(shard: Shard, ledger: Looked | None) -> Iterator[Line]:
    from collector.judge import read_rows

    where = shard.task.account_scope
    if shard.population.gap:
        yield Line("problem", f"{where}: {shard.population.gap.reason}", "correct the credentials of this connection")
        return
    row = next(read.row for read in read_rows(shard))
    yield Line("ok", f"{where}: asks as {row.get('Arn') or row.get('Caller') or where}")
    for line in ledger.lines if ledger else ():
        if line.get("date"):
            apart = abs((parsedate_to_datetime(line["date"]) - instant(line["received"])).total_seconds())
            if apart > SLOW_CLOCK_S:
                told = f"{where}: this clock and the server's are {apart:.0f} s apart"
                yield Line("problem", told, "synchronise this machine's clock")


def _simulated(bench: Workbench, plan: Plan, shard: Shard, opener: opening.Opener) -> Iterator[Line]:
    """What the policy simulator of AWS says of one account."""
    from collector.judge import read_rows

    arn = next(str(read.row["Arn"]) for read in read_rows(shard))
    connection = opener(shard.task, Look(shard.task))
    yield from told(shard.task.account_scope, aws.rights(connection, arn, _needed(bench, plan, "aws")))


def _rights(bench: Workbench, plan: Plan, connection: Connection, opener: opening.Opener) -> Rights:
    """What one connection may do. A look that fails is told, and ends nothing."""
    task = Task("doctor.rights", connection.name)
    look = Look(task)
    needed = _needed(bench, plan, connection.kind)
    try:
        match connection:
            case HostConnection():
                return machine.host(needed)
            case RegisterConnection():
                return machine.folder(connection.folder, needed)
            case TlsConnection():
                return Rights(fine="a handshake needs no credential: there is no right to hold")
        match opener(task, look):
            case Kubernetes() as opened:  # an Http, too
                return cluster.rights(opened, needed)
            case Http() as opened if isinstance(connection, HttpConnection):
                return apis.rights(connection, opened, look, needed)
            case Ldap() as opened:
                return directories.rights(opened, connection.kind)
            case Sql() as opened if isinstance(connection, SqlConnection):
                return databases.rights(opened, connection.kind, needed, connection.database)
    except (AffidavitError, Unavailable) as error:
        return Rights(untold=(f"the rights of this {connection.kind} connection could not be looked at ({error})",))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        why = f"the reply is not as described: {type(error).__name__}"
        return Rights(untold=(f"the rights of this {connection.kind} connection could not be looked at ({why})",))
    raise AssertionError("every kind of connection is looked at")


def _needed(bench: Workbench, plan: Plan, kind: str) -> list[str]:
    """What the sources that are planned for a kind of connection declare."""
    sources = {bench.library.sources[task.dataset].id: bench.library.sources[task.dataset] for task in plan.tasks}
    return sorted({right for source in sources.values() if source.connection == kind for right in source.permissions})


__all__ = ["Line", "examine"]
