"""This machine is read as far as a source declares, and no further, live as from the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.api import Host, Row, Source, source
from collector.connect import host as host_module
from collector.connect.base import Limits
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire, Wire
from collector.fetch import fetch
from collector.model import Shard, Task
from tests.host_tls_worlds import LIMITS, HostWorld
from tests.worlds import MemoryLedger


def asking(ask: Callable[[Host], Any], *permissions: str) -> Source:
    """A source of one row."""

    @source("host.t", key="Id", per="connection", permissions=permissions)
    def declared(host: Host) -> Iterator[Row]:
        """One thing."""
        yield {"Id": "one", "reply": ask(host)}

    return declared


def both(machine: HostWorld, declared: Source) -> tuple[Shard, MemoryLedger]:
    """What a source reads, the same from the record."""
    ledger, retry, task = MemoryLedger(), Retry(attempts=1, waits=False), Task(declared.id, "here")

    def read(wire: Wire, name: str) -> Shard:
        wire.permissions = frozenset(declared.permissions)
        return fetch(task, declared, machine.connect(wire, retry), machine.folder / name)

    live = read(LiveWire(task, ledger), "live")
    again = read(ReplayWire(task, ledger.lines, ledger.objects.__getitem__), "again")
    assert live.population == again.population
    return live, ledger


ASKS: dict[str, tuple[Callable[[Host], Any], str]] = {
    "read": (lambda host: host.read("/etc/a/b"), "host:read /etc/a/b"),
    "attempt_read": (lambda host: host.attempt_read("/etc/a/b"), "host:read /etc/a/b"),
    "list": (lambda host: host.list("/etc/a"), "host:list /etc/a"),
    "run": (lambda host: host.run("tell", "-v"), "host:run tell -v"),
    "attempt_run": (lambda host: host.attempt_run("tell", "-v"), "host:run tell -v"),
}


@pytest.mark.parametrize("way", ASKS)
def test_what_is_not_declared_is_neither_read_nor_run(tmp_path: Path, way: str) -> None:
    machine = HostWorld(tmp_path)
    machine.file("/etc/a/b", "b")
    machine.program("tell", script=f": > {tmp_path}/told")
    ask, right = ASKS[way]
    refused, ledger = both(machine, asking(ask, "host:read /etc/a", "host:list /etc/b*", "host:run tell"))
    gap = refused.population.gap
    assert gap is not None
    operation = right.partition(" ")[0]
    told = f"{operation} was not asked: the source does not declare {right}"
    assert (str(gap.kind), gap.operation, gap.reason) == ("undeclared", operation, told)
    assert ledger.lines == []
    assert not (tmp_path / "told").exists()
    assert both(machine, asking(ask, right))[0].population.proven


def test_a_pattern_covers_what_is_below_and_no_way_out_of_it(tmp_path: Path) -> None:
    machine = HostWorld(tmp_path)
    machine.file("/etc/a/b/c", "c")
    machine.file("/etc/shadow", "s")
    below = asking(lambda host: host.read("/etc/a/b/c"), "host:read /etc/a/*")
    assert both(machine, below)[0].population.proven
    for way in ("/etc/a/../shadow", "/etc/a/b/../../shadow", "/etc/shadow"):
        shard, ledger = both(machine, asking(lambda host, way=way: host.read(way), "host:read /etc/a/*"))
        assert shard.population.gap is not None
        assert str(shard.population.gap.kind) == "undeclared"
        assert ledger.lines == []


def test_a_refusal_by_the_machine_stays_in_the_row(tmp_path: Path) -> None:
    shard, _ = both(HostWorld(tmp_path), asking(lambda host: host.attempt_read("/etc/none"), "host:read /etc/none"))
    assert shard.population.gap is None
    assert [str(gap.kind) for gap in shard.population.partial] == ["rejected"]


@pytest.mark.parametrize(("size", "kind"), [(host_module.PIECE, ""), (host_module.PIECE + 1, "oversized")])
def test_a_file_is_read_to_its_bound(tmp_path: Path, size: int, kind: str) -> None:
    machine = HostWorld(tmp_path, Limits(max_reply_bytes=host_module.PIECE, timeout_s=LIMITS.timeout_s))
    machine.file("/etc/big", "x" * size)
    shard, ledger = both(machine, asking(lambda host: host.read("/etc/big"), "host:read /etc/big"))
    assert str(shard.population.gap.kind if shard.population.gap else "") == kind
    assert ledger.lines[0]["size"] == (0 if kind else size)
