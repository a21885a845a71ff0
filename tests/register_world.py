"""A folder of registers on a real disk, read and replayed as a run does it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collector import plugins
from collector.api import Source
from collector.connect.base import Limits
from collector.connect.register import Register
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire
from collector.fetch import fetch
from collector.model import Task
from collector.registers.shape import shape
from tests.worlds import LIMITS, MemoryLedger, Reading


class RegisterWorld:
    """A folder that sources are run against."""

    kind = "register"

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.root = tmp / "registers"
        self.root.mkdir(parents=True)
        self._runs = 0

    def stop(self) -> None:
        """Nothing is running."""

    def write(self, name: str, content: bytes | str) -> None:
        """A file of the folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A register with these rows; what a row leaves out is an empty cell."""
        out = io.StringIO()
        columns = shape(name).columns
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "|".join(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)
        self.write(f"{name}.csv", out.getvalue())

    def read(self, dataset: str, *, limits: Limits = LIMITS) -> Reading:
        """Run the source of ``dataset`` against the folder."""
        return self.read_source(plugins.load().sources[dataset], limits=limits)

    def read_source(self, source: Source, *, limits: Limits = LIMITS) -> Reading:
        """Run a source against the folder."""
        ledger = MemoryLedger()
        wire = LiveWire(Task(source.id, "registers"), ledger, source.redactions)
        self._runs += 1
        connection = Register(wire, self.root, retry=Retry(attempts=1), limits=limits)
        return Reading(fetch(wire.task, source, connection, self.tmp / f"{self._runs}.live"), ledger)

    def replay(self, reading: Reading, source: Source | None = None, *, limits: Limits = LIMITS) -> Reading:
        """Run the same source again from what was recorded, without a folder."""
        task = reading.shard.task
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        self._runs += 1
        connection = Register(wire, None, retry=Retry(attempts=1, waits=False), limits=limits)
        chosen = source or plugins.load().sources[task.dataset]
        again = fetch(task, chosen, connection, self.tmp / f"{self._runs}.replay")
        return Reading(again, reading.ledger, wire.unused())


def same(world: RegisterWorld, reading: Reading, **options: Any) -> None:
    """The replay comes to the same rows and the same population from all replies."""
    again = world.replay(reading, **options)
    assert reading.shard.path is not None
    assert again.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert (again.shard.population, again.unused) == (reading.shard.population, [])
