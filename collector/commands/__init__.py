"""What each command does; results to standard output, everything else to standard error."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.api import Check
from collector.catalogue import load_catalogues, load_mappings
from collector.config import Config
from collector.config import load as load_config
from collector.console import Progress, say
from collector.errors import AffidavitError, ConfigError
from collector.model import stamp
from collector.plugins import content_root, load

if TYPE_CHECKING:
    from collector.run import Workbench
    from evidence_store.keys import Signer
    from evidence_store.store import Store

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

    bench = _prepare(arguments)
    lines = []
    for line in examine(bench, lambda: _signer(bench.config)):
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
    with _signalled() as stop, _writable_store(bench.config) as store, Progress() as progress:
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

    bench = _prepare(arguments)
    if bench.config.daemon is None:
        raise ConfigError(
            f"{arguments.config} has no daemon section", "add daemon.schedules, as in config.example.yaml"
        )
    signer = _signer(bench.config)
    return serve(bench, bench.config.daemon, lambda: _open_store(bench.config, signer))


def verify(arguments: Arguments) -> int:
    """Check a store."""
    from evidence_store.__main__ import main as verify_main

    options = [str(arguments.path), "--max-stamp-lag-h", str(arguments.max_stamp_lag_h)]
    options += ["--key", arguments.key] if arguments.key else []
    options += ["--tsa-roots", str(arguments.tsa_roots)] if arguments.tsa_roots else []
    options += [part for key in arguments.witness for part in ("--witness", key)]
    options += [part for path in arguments.against for part in ("--against", str(path))]
    options += ["--no-read-data"] if arguments.no_read_data else []
    options += ["--chain-only"] if arguments.chain_only else []
    options += ["--since", arguments.since] if arguments.since else []
    return verify_main(["verify", *options, *(["--json"] if arguments.json else [])])


def rerun(arguments: Arguments) -> int:
    """Re-perform a sealed run."""
    from collector.rerun import rerun as perform
    from evidence_store.bundles.source import is_bundle
    from evidence_store.store import Store

    if is_bundle(arguments.path):
        from collector.commands.bundle import run_in_bundle

        with run_in_bundle(arguments) as sealed:
            outcome = perform(sealed, sealed_code=arguments.sealed_code, folders=arguments.checks)
    else:
        if arguments.key:
            _verified(arguments.path, arguments.key)
        with Store.open(arguments.path, key=arguments.key) as store:
            number = arguments.run if arguments.as_of is None else _run_as_of(store, arguments.as_of)
            outcome = perform(store.run(number), sealed_code=arguments.sealed_code, folders=arguments.checks)
    if arguments.json:
        print(
            json.dumps(
                {
                    "schema": "affidavit.rerun/1",
                    "run": outcome.number,
                    "equal": outcome.equal,
                    "lines": outcome.lines,
                    "findings": outcome.findings,
                    "replies": outcome.replies,
                    "unused": outcome.unused,
                    "differences": [str(one) for one in outcome.differences],
                    "changedCode": list(outcome.changed_code),
                    "changedFiles": list(outcome.changed_files),
                    "notReperformable": list(outcome.not_reperformable),
                }
            )
        )
    else:
        for difference in outcome.differences:
            print(difference)
        for name in (*outcome.changed_code, *outcome.changed_files):
            say(f"note: {name} is not the one the run was made with")
        if outcome.unused:
            print(f"{outcome.unused} recorded replies were not asked for")
        print(
            f"run {outcome.number}: {outcome.findings} findings from {outcome.replies} replies re-performed offline, "
            + ("all equal" if outcome.equal else f"{len(outcome.differences)} lines differ")
        )
        if lost := outcome.not_reperformable:
            print(f"not re-performable, for what they rest on is left out or erased: {len(lost)} findings")
            print(f"their numbers: {' '.join(map(str, lost))}")
    if not outcome.equal and not arguments.checks:
        return 4
    return 3 if outcome.not_reperformable else 0


def _run_as_of(store: Store, text: str) -> int:
    """Number of the newest complete run that was opened at or before a date (its end) or a moment."""
    from collector.commands.period import moment

    until = moment(text, end_of_day=True)
    older = [run for run in store.runs() if run.state == "complete" and run.opened_on <= until]
    if not older:
        raise ConfigError(
            f"no complete run is as old as {text}", "affidavit report shows the newest; name a later date"
        )
    return older[-1].number


def diff(arguments: Arguments) -> int:
    """Two runs side by side."""
    from collector.diff import compare
    from evidence_store.store import Store

    with Store.open(arguments.path) as store:
        found = compare(
            store.run(arguments.old), store.run(arguments.new), sealed_code=arguments.sealed_code, notes=store.notes()
        )
    if arguments.json:
        print(json.dumps({"schema": "affidavit.diff/1", **asdict(found)}))
        return 0
    for change in found.changes:
        print(change)
    for limit in found.limits:
        print(f"limit changed: {limit}")
    for told in found.waivers:
        print(told)
    for module in found.modules:
        print(f"code changed: {module}")
    causes = Counter(str(change.cause) for change in found.changes)
    print(
        f"runs {found.old} and {found.new}: {found.same} findings alike"
        + "".join(f", {n} {c}" for c, n in causes.items())
    )
    return 0


def attach(arguments: Arguments) -> int:
    """What a person states."""
    from collector.commands import statement

    config = load_config(_existing(arguments.config))
    return statement.attach(arguments, lambda: _writable_store(config))


def attachments(arguments: Arguments) -> int:
    """What people stated."""
    from collector.commands import statement

    return statement.listing(arguments, load_config(_existing(arguments.config)))


def waive(arguments: Arguments) -> int:
    """An exception that is let stand."""
    from collector.commands import statement

    config = load_config(_existing(arguments.config))
    return statement.waive(arguments, config, lambda: _writable_store(config))


def controls(arguments: Arguments) -> int:
    """Controls and their older numbers."""
    from collector.commands import statement

    config = load_config(_existing(arguments.config)) if arguments.config else None
    return statement.controls(arguments, config)


def status(arguments: Arguments) -> int:
    """How the newest run stands now."""
    from collector.commands import statement
    from collector.report import from_run
    from collector.sealing import outside
    from evidence_store.store import Store
    from evidence_store.verify import verify_store

    config = load_config(_existing(arguments.config))
    who = outside(config)
    key = _signer(config).keyid
    verification = verify_store(
        config.store.path, key=key, read_data=False, tsa_roots=who.roots, witnesses=who.witnesses
    )
    with Store.open(config.store.path) as store:
        data = from_run(store.run(), verification, key=store.fingerprint, notes=store.notes(), at=_at(arguments.as_of))
    return statement.status(arguments, data)


def _at(text: str | None) -> datetime:
    """The moment a report speaks of."""
    from collector.commands.period import moment

    return moment(text, end_of_day=True) if text else datetime.now(UTC)


def continuity(arguments: Arguments) -> int:
    """Every slot of a period."""
    from collector.commands import period

    return period.continuity(arguments, load_config(_existing(arguments.config)))


def observe(arguments: Arguments) -> int:
    """What an auditor may ask about a period."""
    from collector.commands import period

    return period.observe(arguments, load_config(_existing(arguments.config)))


def pause(arguments: Arguments) -> int:
    """A pause, decided ahead."""
    from collector.commands import period

    config = load_config(_existing(arguments.config))
    return period.pause(arguments, lambda: _writable_store(config))


def checks(arguments: Arguments) -> int:
    """Do the checks do what their examples say."""
    from collector.examples import parse
    from collector.falsify import certify

    config = load_config(_existing(arguments.config)) if arguments.config else None
    library = load(config.plugins if config else ())
    certificates = certify(library.checks.values(), parse(library.examples, library.checks))
    flawed = [certificate for certificate in certificates if certificate.flaw]
    if arguments.json:
        rows = [certificate.as_row() for certificate in certificates]
        print(json.dumps({"schema": "affidavit.checks/1", "certificates": rows}))
    else:
        for certificate in flawed:
            print(f"{certificate.check}: {certificate.flaw}")
        shown = sum(sum(certificate.shown.values()) for certificate in certificates)
        print(
            f"{len(certificates)} checks on {shown} examples: "
            f"{len(certificates) - len(flawed)} as they say, {len(flawed)} not"
        )
    return 3 if flawed else 0


def report(arguments: Arguments) -> int:
    """Verify a run, then show it."""
    from collector.commands.period import moment, over_period
    from collector.predecessors import predecessors
    from collector.report import from_run, json_, page, terminal
    from collector.sealing import outside
    from evidence_store.store import Store
    from evidence_store.verify import verify_store

    path, key, witnesses = arguments.store, arguments.key, arguments.witness
    roots = _bytes(arguments.tsa_roots) if arguments.tsa_roots else None
    if path is None:
        config = load_config(_existing(arguments.config))
        path = config.store.path
        key = key or _signer(config).keyid
        who = outside(config)
        roots, witnesses = roots or who.roots, witnesses or who.witnesses
    verification = verify_store(path, key=key, tsa_roots=roots, witnesses=witnesses)
    if bool(arguments.start) != bool(arguments.end):
        raise ConfigError("a period has two ends", "give --from and --to together")
    root = content_root() / "mappings"
    formerly = predecessors(root, load_catalogues(root)).of
    with Store.open(path) as store:
        shown = store.run(arguments.run)
        before = [run.number for run in store.runs() if run.state == "complete" and run.number < shown.number]
        earlier = store.run(before[-1]) if before else None
        covered = None
        if arguments.start:
            period = moment(arguments.start), moment(arguments.end, end_of_day=True)
            covered = over_period(store, verification, *period)
        data = from_run(
            shown, verification, key=store.fingerprint, notes=store.notes(), earlier=earlier, at=_at(arguments.as_of),
            formerly=formerly, continuity=covered,
        )  # fmt: skip
    if arguments.format == "html":
        target = arguments.output or Path(f"report-{data.run}.html")
        target.write_text(page.render(data), "utf8")
        print(target)
    elif arguments.format == "json":
        _write(arguments.output, json_.render(data))
    elif arguments.output:
        with arguments.output.open("w", encoding="utf8") as out:
            terminal.show(data, out)
    else:
        terminal.show(data, sys.stdout)
    return 4 if verification.problems or (key and not verification.ok) else 0


def leavers(arguments: Arguments) -> int:
    """Who left and can still get in; nothing is shown of a store that does not verify."""
    from collector.leavers import leavers as of_run
    from collector.leavers import screen
    from evidence_store.store import Store

    path, key = arguments.store, arguments.key
    if path is None:
        config = load_config(_existing(arguments.config))
        path, key = config.store.path, key or _signer(config).keyid
    if key:
        _verified(path, key)
    else:
        say("note: no key was given, so nobody says who signed this; give one with --key")
    with Store.open(path, key=key) as store:
        shown = of_run(store.run(arguments.run))
    print(json.dumps({"schema": "affidavit.leavers/1", **shown.as_row()}) if arguments.json else screen(shown))
    return 3 if shown.unknown or not shown.asked else 1 if shown.people else 0


def list_(arguments: Arguments) -> int:
    """What is installed."""
    config = load_config(_existing(arguments.config)) if arguments.config else None
    library = load(config.plugins if config else ())
    root = content_root() / "mappings"
    rows: Any
    if arguments.what == "checks":
        rows = [
            {
                "id": check.id,
                "title": check.title,
                "severity": check.severity,
                "datasets": check.datasets,
                "module": check.module,
                "params": dict(check.params),
                "description": check.description,
                "retired": check.retired,
            }
            for _, check in sorted(library.checks.items())
        ]
    elif arguments.what == "sources":
        rows = [
            {
                "id": source.id,
                "permissions": source.permissions,
                "key": source.key,
                "per": source.per,
                "kind": source.kind,
                "definition": source.definition,
                "module": source.module,
            }
            for _, source in sorted(library.sources.items())
        ]
    else:
        catalogues = load_catalogues(root)
        mappings = load_mappings(root, (config.mappings or None) if config else None, library.checks, catalogues)
        if arguments.what == "mappings":
            rows = [_mapping_row(row) for row in mappings.rows]
        else:
            mapped: dict[tuple[str, str, str], set[str]] = {}
            for row in mappings.rows:
                mapped.setdefault(row.key, set()).add(row.check)
            rows = [
                {
                    "framework": control.framework,
                    "edition": control.edition,
                    "id": control.id,
                    "title": control.title,
                    "checks": sorted(mapped.get(control.key, ())),
                    "method": control.method,
                    "ask": control.ask,
                    "kind": control.kind,
                }
                for control in catalogues.controls.values()
            ]
    if arguments.json:
        print(json.dumps({"schema": f"affidavit.list.{arguments.what}/1", arguments.what: rows}, default=tuple))
        return 0
    for row in rows:
        print(*(str(row[name]) for name in _COLUMNS[arguments.what]), sep="  ")
    return 0


_COLUMNS = {
    "checks": ("id", "severity", "title"),
    "sources": ("id", "per", "definition"),
    "controls": ("framework", "edition", "id", "title"),
    "mappings": ("framework", "control", "check", "strength", "aspect"),
}


def _mapping_row(row: Any) -> dict[str, Any]:
    fields = (
        "framework",
        "edition",
        "control",
        "check",
        "aspect",
        "strength",
        "coverage",
        "remainder",
        "party",
        "does_not_show",
        "file",
    )
    criterion = row.criterion and {
        "ref": row.criterion.ref,
        "param": row.criterion.param,
        "default": row.criterion.default,
    }
    return {**{name: getattr(row, name) for name in fields}, "criterion": criterion}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "name a file of PEM certificates") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(
            f"there is no configuration at {path}", "make one with: affidavit init, or name it with --config"
        )
    return path


def _prepare(arguments: Arguments) -> Workbench:
    from collector.run import prepare

    return prepare(load_config(_existing(arguments.config)))


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


def _signer(config: Config) -> Signer:
    from collector.signing import signer

    return signer(config)


def _open_store(config: Config, signer: Signer) -> Store:
    from collector.signing import bucket
    from evidence_store.store import Store

    path, remote = config.store.path, bucket(config)
    if not (path / "STORE.json").exists() and not (remote and remote.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        lag = {"timestamp": {"maxLagHours": config.timestamps.max_lag_h}} if config.timestamps.authorities else {}
        return Store.create(path, origin=config.store.origin, signer=signer, policy=lag, remote=remote)
    store = Store.open(path, signer=signer, remote=remote)
    for number in store.recovered:
        say(f"run {number} had not ended; it is now on record as aborted, with what it had read")
    if store.origin != config.store.origin:
        store.close()
        raise ConfigError(
            f"the store at {path} is {store.origin}, the configuration says {config.store.origin}",
            "correct store.origin, or name another folder",
        )
    return store


def _writable_store(config: Config) -> Store:
    return _open_store(config, _signer(config))


def _verified(path: Path, key: str) -> None:
    from evidence_store.verify import verify_store

    verification = verify_store(path, key=key)
    if not verification.ok:
        problem = verification.problems[0] if verification.problems else "the signer is not authenticated"
        raise NotVerifiedError(
            f"the store does not verify: {problem}",
            "do not rely on it; affidavit verify shows everything that is wrong",
        )


class NotVerifiedError(AffidavitError):
    """A store that is not what was sealed."""

    exit_code = 4


def _write(path: Path | None, text: str) -> None:
    if path:
        path.write_text(text, "utf8")
        print(path)
    else:
        sys.stdout.write(text)


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
