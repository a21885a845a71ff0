"""Machines and endpoints that sources run against, and what the checks conclude from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from collector import plugins
from collector.api import Source
from collector.connect.base import Connection, Limits
from collector.connect.host import PATH, Host
from collector.connect.retry import Retry
from collector.connect.tls import Tls
from collector.connect.wire import LiveWire, ReplayWire, Wire
from collector.fetch import fetch
from collector.judge import Bench, judge
from collector.model import Finding, Task
from tests.worlds import MemoryLedger, Reading

LIMITS = Limits(max_reply_bytes=8 << 20, timeout_s=30)


class World:
    """Runs sources of one connection, live and again from the recording."""

    def __init__(self, folder: Path, limits: Limits = LIMITS, attempts: int = 2) -> None:
        self.folder = folder
        self.limits = limits
        self.attempts = attempts
        self._count = itertools.count()

    def connect(self, wire: Wire, retry: Retry) -> Connection:
        """The connection that sources of this world get."""
        raise NotImplementedError

    def read(self, dataset: str) -> Reading:
        """Run the source of ``dataset``."""
        source, ledger = plugins.load().sources[dataset], MemoryLedger()
        wire = LiveWire(Task(dataset, source.connection), ledger, source.redactions)
        wire.permissions = frozenset(source.permissions)
        return self._read(source, wire, Retry(attempts=self.attempts, base_s=0.001, cap_s=0.01), ledger)

    def replay(self, reading: Reading) -> Reading:
        """Run the same source again from what was recorded."""
        task = reading.shard.task
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        wire.permissions = frozenset(plugins.load().sources[task.dataset].permissions)
        again = self._read(
            plugins.load().sources[task.dataset], wire, Retry(self.attempts, waits=False), reading.ledger
        )
        again.unused = wire.unused()
        return again

    def _read(self, source: Source, wire: Wire, retry: Retry, ledger: MemoryLedger) -> Reading:
        path = self.folder / f"{next(self._count)}.rows"
        return Reading(fetch(wire.task, source, self.connect(wire, retry), path), ledger)


class HostWorld(World):
    """A made-up machine: files under ``root``, programs in ``bin``."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        super().__init__(folder, limits)
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.folder_of("/etc")

    def connect(self, wire: Wire, retry: Retry) -> Host:
        return Host(wire, retry=retry, limits=self.limits, root=self.root, path=str(self.bin))

    def folder_of(self, path: str) -> Path:
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def file(self, path: str, text: str) -> Path:
        """A file of the machine."""
        file = self.folder_of(path.rpartition("/")[0]) / path.rpartition("/")[2]
        file.write_text(text)
        return file

    def program(self, name: str, output: str = "", *, status: int = 0, error: str = "", script: str = "") -> None:
        """A program that writes this and ends with this status, or runs a shell script."""
        out, err, file = (self.bin / f".{name}.{kind}" for kind in ("out", "err", "sh"))
        out.write_text(output)
        err.write_text(error)
        file = self.bin / name
        file.write_text(f"#!/bin/sh\n{script or f'/bin/cat {out}; /bin/cat {err} >&2; exit {status}'}\n")
        file.chmod(0o755)


class ThisMachine(World):
    """The machine the tests run on."""

    def connect(self, wire: Wire, retry: Retry) -> Host:
        return Host(wire, retry=retry, limits=self.limits, path=PATH)


class TlsWorld(World):
    """Endpoints on loopback."""

    def __init__(
        self, folder: Path, endpoints: Sequence[str], roots: Path | None, limits: Limits = LIMITS, attempts: int = 2
    ) -> None:
        super().__init__(folder, limits, attempts)
        self.endpoints = endpoints
        self.roots = roots
        self._pool = ThreadPoolExecutor(8)

    def connect(self, wire: Wire, retry: Retry) -> Tls:
        if wire.live:
            return Tls(wire, self.endpoints, self.roots, retry=retry, limits=self.limits, pool=self._pool)
        return Tls(wire, (), None, retry=retry, limits=self.limits)


def findings(reading: Reading, as_of: datetime | None = None) -> list[Finding]:
    """What every check of the dataset concludes."""
    checks = [check for check in plugins.load_checks().values() if check.datasets == (reading.shard.task.dataset,)]
    assert checks
    return list(judge(checks, [reading.shard], Bench(as_of or datetime.now(UTC), {})))


def outcome(reading: Reading, check: str) -> tuple[str, str]:
    """Outcome and reason of the only finding of a check."""
    (found,) = [finding for finding in findings(reading) if finding.check == check]
    return str(found.outcome), found.reason
