"""Commands that show a run: its report, how it stands now, and who left and can still get in."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from collector.attachments import State
from collector.catalogue import load_catalogues
from collector.commands.opening import configured, content, stored, verified, write
from collector.commands.period import moment, over_period, period
from collector.console import say
from collector.errors import ConfigError
from collector.plugins import content_root
from collector.predecessors import predecessors
from collector.report.text import visible

Arguments = argparse.Namespace
STALE = 10
"""Stale lists that are named; the rest is counted."""


def report(arguments: Arguments) -> int:
    """Verify a run, then show it."""
    from collector.report import from_run, json_, page, terminal
    from collector.report.measured import in_full
    from collector.sealing import outside
    from collector.signing import signer
    from evidence_store.revocation import checked_roots
    from evidence_store.store import Store
    from evidence_store.verify import verify_store

    if bool(arguments.start) != bool(arguments.end):
        raise ConfigError("a period has two ends", "give --from and --to together")
    between = period(arguments.start, arguments.end) if arguments.start else None
    at = _at(arguments.as_of)
    path, key, witnesses = arguments.store, arguments.key, arguments.witness
    roots = None
    if arguments.tsa_roots:
        roots = checked_roots(content(arguments.tsa_roots, "a file of PEM certificates"), arguments.tsa_roots)
    if path is None:
        config = configured(arguments.config)
        path = stored(config)
        key = key or signer(config).keyid
        who = outside(config)
        roots, witnesses = roots or who.roots, witnesses or who.witnesses
    verification = verify_store(path, key=key, tsa_roots=roots, witnesses=witnesses)
    root = content_root() / "mappings"
    formerly = predecessors(root, load_catalogues(root)).of
    with Store.open(path) as store:
        shown = store.run(arguments.run)
        before = [run.number for run in store.runs() if run.state == "complete" and run.number < shown.number]
        earlier = store.run(before[-1]) if before else None
        covered = over_period(store, verification, *between) if between else None
        spelt = in_full(store.notes(), (store.run(run.number) for run in store.runs() if run.kept))
        data = from_run(
            shown, verification, key=store.fingerprint, notes=store.notes(), earlier=earlier, at=at,
            formerly=formerly, continuity=covered, spelt=spelt,
        )  # fmt: skip
    if arguments.format == "html":
        target = arguments.output or Path(f"report-{data.run}.html")
        write(target, page.render(data).encode())
        print(target)
    elif arguments.format == "json" and arguments.output:
        write(arguments.output, json_.render(data).encode())
        print(arguments.output)
    elif arguments.format == "json":
        sys.stdout.write(json_.render(data))
    elif arguments.output:
        write(arguments.output, terminal.render(data).encode())
    else:
        terminal.show(data, sys.stdout)
    return 4 if verification.problems or (key and not verification.ok) else 0


def status(arguments: Arguments) -> int:
    """How the newest run stands now: 3 when something is stale or unread, 1 when something fails, 0 otherwise."""
    from collector.report import from_run
    from collector.sealing import outside
    from collector.signing import signer
    from evidence_store.store import Store
    from evidence_store.verify import verify_store

    at = _at(arguments.as_of)
    config = configured(arguments.config)
    path, who = stored(config), outside(config)
    key = signer(config).keyid
    verification = verify_store(path, key=key, read_data=False, tsa_roots=who.roots, witnesses=who.witnesses)
    with Store.open(path) as store:
        data = from_run(store.run(), verification, key=store.fingerprint, notes=store.notes(), at=at)
    standing = data.standing
    row = {
        "schema": "affidavit.status/1", "run": data.run, "at": data.at, "as_of": data.plan.get("asOf", ""),
        "seal": data.seal.words, "counts": data.counts, "standing": standing, "waived": data.waived,
        "stale": list(data.stale), "gaps": len(data.gaps),
        "attachments": [
            one for one in data.attachments if one["state"] in (State.EXPIRED, State.EXPIRING, State.NOT_YET)
        ],
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(row))
    else:
        print(f"run {data.run} of {row['as_of']}, seal: {data.seal.words}")
        print("at the run:  " + ", ".join(f"{count} {outcome}" for outcome, count in data.counts.items()))
        print(f"now:         {', '.join(f'{count} {outcome}' for outcome, count in standing.items())} ({data.at})")
        if data.waived:
            print(f"waived:      {data.waived} of the {data.counts['FAIL']} FAIL of the run; they stay FAIL")
        for one in data.stale[:STALE]:
            print(f"stale:       {one['dataset']} in {visible(one['scope'])}: {one['reason'].removeprefix('stale: ')}")
        if len(data.stale) > STALE:
            print(f"             and {len(data.stale) - STALE} more lists; --json names them")
        for one in row["attachments"]:
            print(f"statement:   leaf {one['leaf']} {visible(one['title'])}: {one['words']}")
    if data.seal.problems:
        say(f"problem: {visible(data.seal.problems[0])}; affidavit verify shows everything that is wrong")
        return 4
    if standing["UNKNOWN"] or standing["ERROR"] or data.gaps or data.silent_checks:
        return 3
    return 1 if standing["FAIL"] else 0


def leavers(arguments: Arguments) -> int:
    """Who left and can still get in; nothing is shown of a store that does not verify."""
    from collector.leavers import leavers as of_run
    from collector.leavers import screen
    from collector.signing import signer
    from evidence_store.store import Store

    path, key = arguments.store, arguments.key
    if path is None:
        config = configured(arguments.config)
        path, key = stored(config), key or signer(config).keyid
    if key:
        verified(path, key)
    else:
        say("note: no key was given, so nobody says who signed this; give one with --key")
    with Store.open(path, key=key) as store:
        shown = of_run(store.run(arguments.run))
    print(json.dumps({"schema": "affidavit.leavers/1", **shown.as_row()}) if arguments.json else screen(shown))
    return 3 if shown.unknown or not shown.asked else 1 if shown.people or shown.otherwise else 0


def _at(text: str | None) -> datetime:
    """The moment a report speaks of."""
    return moment(text, end_of_day=True) if text else datetime.now(UTC)
