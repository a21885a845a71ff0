"""Commands that hold what is sealed against itself: verify it, re-perform it, compare two runs."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from collector.commands.opening import verified
from collector.commands.period import moment
from collector.console import say
from collector.errors import ConfigError
from collector.report.text import visible

if TYPE_CHECKING:
    from evidence_store.store import Store

Arguments = argparse.Namespace


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

    if missing := [folder for folder in arguments.checks if not folder.is_dir()]:
        raise ConfigError(f"{missing[0]} is not a folder", "name a folder of check modules with --checks")
    if is_bundle(arguments.path):
        from collector.commands.bundle import run_in_bundle

        with run_in_bundle(arguments) as sealed:
            outcome = perform(sealed, sealed_code=arguments.sealed_code, folders=arguments.checks)
    else:
        if arguments.key:
            verified(arguments.path, arguments.key)
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
            print(visible(difference))
        for name in (*outcome.changed_code, *outcome.changed_files):
            say(f"note: {name} is not the one the run was made with")
        if outcome.unused:
            print(f"{outcome.unused} recorded replies were not asked for")
        lost = outcome.not_reperformable
        these = f"{outcome.findings - len(lost)} of {outcome.findings}" if lost else f"{outcome.findings}"
        print(
            f"run {outcome.number}: {these} findings from {outcome.replies} replies re-performed offline, "
            + ("all equal" if outcome.equal else f"{len(outcome.differences)} lines differ")
        )
        if lost:
            print(f"not re-performable, for what they rest on is left out or erased: {len(lost)} findings")
            print(f"their numbers: {' '.join(map(str, lost))}")
    if not outcome.equal and not arguments.checks:
        return 4
    return 3 if outcome.not_reperformable else 0


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
        print(visible(change))
    for limit in found.limits:
        print(f"limit changed: {visible(limit)}")
    for told in found.waivers:
        print(visible(told))
    for module in found.modules:
        print(f"code changed: {module}")
    causes = Counter(str(change.cause) for change in found.changes)
    print(
        f"runs {found.old} and {found.new}: {found.same} findings alike"
        + "".join(f", {n} {c}" for c, n in causes.items())
    )
    return 0


def _run_as_of(store: Store, text: str) -> int:
    """Number of the newest complete run that was opened at or before a date (its end) or a moment."""
    until = moment(text, end_of_day=True)
    older = [run for run in store.runs() if run.state == "complete" and run.opened_on <= until]
    if not older:
        raise ConfigError(
            f"no complete run is as old as {text}", "affidavit report shows the newest; name a later date"
        )
    return older[-1].number
