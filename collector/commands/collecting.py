"""Commands from a configuration to a sealed run, and the demo of them all."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from collector.api import Check
from collector.commands.opening import configured, writable_store
from collector.config import Config
from collector.console import Progress, say
from collector.errors import ConfigError
from collector.model import stamp

if TYPE_CHECKING:
    from collector.run import Workbench

Arguments = argparse.Namespace


def demo(arguments: Arguments) -> int:
    """The whole story on an embedded estate."""
    from collector.demo.story import tell

    return tell(arguments.keep)


def init(arguments: Arguments) -> int:
    """A configuration and a key."""
    from collector.starter import init as start

    started = start(arguments.folder)
    for path in started.files:
        print(f"wrote {path}")
    print(f"key fingerprint {started.fingerprint}")
    print(
        "next: give the fingerprint to your auditor, correct the connections in the configuration, then: affidavit plan"
    )
    return 0


def doctor(arguments: Arguments) -> int:
    """Everything a run needs, looked at before; 3 when something is a problem."""
    from collector.doctor import examine
    from collector.signing import signer

    bench = _prepare(arguments)
    lines = []
    for line in examine(bench, lambda: signer(bench.config)):
        lines.append(line)
        if not arguments.json:
            print(line)
    if arguments.json:
        print(json.dumps({"schema": "affidavit.doctor/1", "lines": [asdict(line) for line in lines]}))
    return 3 if any(line.state == "problem" for line in lines) else 0


def plan(arguments: Arguments) -> int:
    """What a run would ask."""
    from collector import plan as planning
    from collector.permissions import policy

    bench = _prepare(arguments)
    made = planning.make(
        bench.config,
        bench.library,
        datetime.now(UTC),
        wanted=_wanted(arguments, bench),
        connections=_connections(arguments, bench.config),
    )
    if arguments.permissions:
        print(json.dumps(policy(made, bench.library), indent=2))
    elif arguments.json:
        print(
            json.dumps(
                {
                    "schema": "affidavit.plan-view/1",
                    **{k: made.document[k] for k in ("places", "tasks", "checks", "sources")},
                },
                default=list,
            )
        )
    else:
        for task in made.tasks:
            print(task.id)
        say(f"{len(made.tasks)} tasks for {len(made.checks)} checks")
    return 0


def run(arguments: Arguments) -> int:
    """Collect, judge, seal and store, once."""
    from collector import plan as planning
    from collector import run as running

    bench = _prepare(arguments)
    wanted, connections = _wanted(arguments, bench), _connections(arguments, bench.config)
    # A selection that leaves nothing to ask is refused before there is a store.
    planning.make(bench.config, bench.library, datetime.now(UTC), wanted=wanted, connections=connections)
    with _signalled() as stop, writable_store(bench.config) as store, Progress() as progress:
        sealed = running.run(
            bench,
            store,
            trigger="command line",
            stop=stop,
            wanted=wanted,
            selection=_selection(arguments),
            connections=connections,
            reason=arguments.reason,
            progress=progress.finished,
            planned=progress.planned,
        )
    results = sealed.results
    summary = {
        "schema": "affidavit.run/1",
        "run": sealed.number,
        "outcome": "incomplete" if results.incomplete else "complete",
        "counts": dict(results.counts),
        "gaps": len(results.gaps),
        "store": str(bench.config.store.path),
        "unattested": [failure.what for failure in (*sealed.attested.forks, *sealed.attested.failures)],
    }
    if arguments.json:
        print(json.dumps(summary))
    else:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in results.counts.items() if count)
        print(
            f"run {sealed.number} is sealed in {bench.config.store.path}: "
            f"{counts or 'no findings'}; {len(results.gaps)} gaps"
        )
        print(f"next: affidavit report --config {arguments.config}")
    sealed.attested.tell()
    return sealed.attested.forks[0].exit_code if sealed.attested.forks else results.exit_code


def daemon(arguments: Arguments) -> int:
    """Run on schedule until SIGTERM."""
    from collector.service import serve
    from collector.signing import signer

    bench = _prepare(arguments)
    if bench.config.daemon is None:
        raise ConfigError(
            f"{arguments.config} has no daemon section", "add daemon.schedules, as in config.example.yaml"
        )
    key = signer(bench.config)  # once: each slot opens the store anew
    return serve(bench, bench.config.daemon, lambda: writable_store(bench.config, key), reason=arguments.reason)


def _prepare(arguments: Arguments) -> Workbench:
    from collector.run import prepare

    return prepare(configured(arguments.config))


def _wanted(arguments: Arguments, bench: Workbench) -> Callable[[Check], bool]:
    patterns = arguments.check
    controls = set(arguments.control)
    known = {row.control for row in bench.mappings.rows}
    if unknown := controls - {control.id for control in bench.catalogues.controls.values()}:
        raise ConfigError(f"there is no control {sorted(unknown)[0]}", "affidavit list controls shows their ids")
    if controls and not controls & known:
        raise ConfigError(
            f"no check is mapped to {', '.join(sorted(controls))}",
            "ask a person: affidavit list controls --json tells how",
        )
    if unmatched := [p for p in patterns if not any(fnmatchcase(name, p) for name in bench.library.checks)]:
        raise ConfigError(f"no check matches {unmatched[0]}", "affidavit list checks shows their ids")
    mapped = {row.check for row in bench.mappings.rows if row.control in controls}
    return lambda check: (
        (not patterns or any(fnmatchcase(check.id, p) for p in patterns)) and (not controls or check.id in mapped)
    )


def _connections(arguments: Arguments, config: Config) -> tuple[str, ...]:
    names = [connection.name for connection in config.connections]
    for name in arguments.connection:
        if name not in names:
            raise ConfigError(f"there is no connection {name}", f"choose one of {', '.join(names)}")
    return tuple(arguments.connection)


def _selection(arguments: Arguments) -> str:
    parts = [
        f"{name} {', '.join(values)}"
        for name, values in (
            ("checks", arguments.check),
            ("controls", arguments.control),
            ("connections", arguments.connection),
        )
        if values
    ]
    return "; ".join(parts)


@contextmanager
def _signalled() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT interrupts as usual."""
    stop = threading.Event()

    def ask(number: int, _: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        say(f"stopping after the requests under way ({stamp(datetime.now(UTC))})")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
