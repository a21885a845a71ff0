"""One honest run: plan, open the record, ask, judge, seal."""

from __future__ import annotations

import getpass
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from collector import plan as planning
from collector import sealing
from collector.api import Check
from collector.catalogue import Catalogues, Mappings, load_catalogues, load_mappings
from collector.clocks import PeerDates
from collector.collect import Progress, collect
from collector.config import Config, RegisterConnection, check_parameters
from collector.connect import opening
from collector.connect.wire import Ledger, LiveWire, Wire
from collector.errors import AffidavitError
from collector.examples import parse
from collector.model import Task, stamp
from collector.plan import Plan
from collector.plugins import Library, content_root, load
from collector.results import Results, conclude
from collector.schemas import schemas
from collector.suppressions import change_leaf, ruler
from evidence_store.errors import StoreError
from evidence_store.store import Store


@dataclass(frozen=True, slots=True)
class Workbench:
    """Everything a configuration loads before anything is asked: a fault in any of it starts nothing."""

    config: Config
    library: Library
    catalogues: Catalogues
    mappings: Mappings

    @property
    def files(self) -> dict[str, bytes]:
        """Mappings, catalogues and the schemas of what is read, by name: they are sealed with each run."""
        registers = any(isinstance(connection, RegisterConnection) for connection in self.config.connections)
        read = {f"mappings/{file.name}": file.raw for file in (*self.catalogues.files, *self.mappings.files)}
        return schemas(registers=registers) | read


def prepare(config: Config) -> Workbench:
    """Load and validate checks, limits, catalogues and mappings.

    Raises:
        ConfigError: any of them is wrong.
    """
    library = load(config.plugins)
    check_parameters(config, library.checks)
    root = content_root() / "mappings"
    catalogues = load_catalogues(root)
    mappings = load_mappings(root, config.mappings or None, library.checks, catalogues)
    return Workbench(config, library, catalogues, mappings)


class InterruptedRunError(AffidavitError):
    """The run was stopped; what had been read is kept as an aborted run."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class Sealed:
    """A run that is in the store."""

    number: int
    results: Results
    attested: sealing.Attested
    """Who outside has its seal, and who could not be reached."""


def run(
    bench: Workbench,
    store: Store,
    *,
    trigger: str,
    stop: threading.Event,
    scheduled_for: datetime | None = None,
    wanted: Callable[[Check], bool] = lambda check: True,
    selection: str = "",
    connections: Sequence[str] = (),
    reason: str = "",
    progress: Progress = lambda shard: None,
    planned: Callable[[Plan], None] = lambda plan: None,
) -> Sealed:
    """Collect, judge and seal once.

    When the checks, mappings or configuration are not those of the run before, a leaf says so first; ``reason`` is
    what a person gives as the why.

    Raises:
        ConfigError: nothing would be asked, or a certificate is missing; nothing was recorded.
        InterruptedRunError: ``stop`` was set; the run is recorded as aborted with what it had read.
        StoreError: the store could not take it.
    """
    started = datetime.now(UTC)
    config = bench.config
    outside = sealing.outside(config)
    plan = planning.make(
        config, bench.library, started, wanted=wanted, connections=connections, files=bench.files, selection=selection
    )
    planned(plan)
    _announce(store, plan, reason)
    opening_facts = {
        "trigger": trigger,
        "scheduledFor": stamp(scheduled_for) if scheduled_for else None,
        "host": socket.gethostname(),
        "config": {"sha256": config.sha256},
        "collector": dict(plan.document["collector"]),
        "ruler": ruler(plan.document),
    }
    writer = store.begin(opening_facts, plan.raw)
    try:
        attested = sealing.opened(store, outside)
        clocks = PeerDates(writer)
        results = _collect_and_judge(bench, plan, clocks, writer.rows(), stop, progress)
        if stop.is_set():
            writer.abort("stopped by a signal")
            raise InterruptedRunError(
                f"run {writer.number} was stopped; what it had read is kept as an aborted run", "run again when ready"
            )
        writer.close(results.lines(), _closing(results) | {"clock": clocks.facts()})
    except InterruptedRunError:
        raise
    except BaseException as error:  # the run is on record as aborted whatever happened; raised on
        # What failed first is what a person can mend; where the abort cannot be written, the next opening does it.
        with suppress(StoreError):
            writer.abort(f"the collector failed: {type(error).__name__}")
        raise
    ended = sealing.closed(store, outside)
    return Sealed(writer.number, results, sealing.Attested([*attested.failures, *ended.failures], ended.forks))


def _announce(store: Store, plan: Plan, reason: str) -> None:
    """Put on record that this run measures otherwise than the one before."""
    earlier = next((run for run in reversed(store.runs()) if "ruler" in run.opening), None)
    if earlier is None or earlier.opening["ruler"] == ruler(plan.document):
        return
    before = orjson.loads(store.run(earlier.number).plan()) if earlier.kept else None
    by = f"{getpass.getuser()}@{socket.gethostname()}"
    store.append("config-change", change_leaf(before, earlier.opening["ruler"], plan.document, by, reason))


def _collect_and_judge(
    bench: Workbench, plan: Plan, writer: Ledger, folder: Path, stop: threading.Event, progress: Progress
) -> Results:
    library = bench.library
    for content in (bench.config.raw, *bench.files.values(), *library.code.values(), *library.examples.values()):
        writer.add_object(content)
    sources = bench.library.sources

    def wire(task: Task, caller: str) -> Wire:
        source = sources[task.dataset]
        personal = (*bench.config.privacy.selected, *source.personal)
        live = LiveWire(
            task, writer, source.redactions, stop=stop, personal=personal, unordered=source.unordered
        )
        live.caller = caller
        live.permissions = frozenset(source.permissions)
        return live

    workers = bench.config.collection.workers
    with ThreadPoolExecutor(workers, thread_name_prefix="ask") as pool:
        opener = opening.live(bench.config, pool=pool, stop=stop)
        shards = collect(plan.tasks, sources, wire, opener, folder, workers=workers, stop=stop, progress=progress)
    planned = {check.id: check for check in plan.checks}
    examples = parse(library.examples, planned, only_known=True)
    return conclude(plan, shards, bench.catalogues, bench.mappings, examples)


def _closing(results: Results) -> dict[str, Any]:
    kinds = [shard.population.gap.kind for shard in results.shards if shard.population.gap]
    denied = sum(kind == "denied" for kind in kinds)
    return {
        "outcome": "incomplete" if results.incomplete else "complete",
        "coverage": {
            "planned": len(results.shards),
            "ok": len(results.shards) - len(kinds),
            "denied": denied,
            "error": len(kinds) - denied,
        },
        "counts": dict(results.counts),
    }
