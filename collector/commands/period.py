"""Commands over a period: was it covered, and pauses that are decided ahead."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from collector.commands.opening import configured, stored, writable_store
from collector.console import say
from collector.continuity import Calendar, State, calendar
from collector.errors import ConfigError, RerunError
from collector.model import Record, Row, Unavailable, instant, stamp
from collector.report.text import visible

if TYPE_CHECKING:
    from collector.config import Config
    from collector.model import Shard
    from evidence_store.run import SealedRun
    from evidence_store.store import Store
    from evidence_store.verify import Verification


FIRST, LAST = 1970, 9998
"""Years that can be named: a day, or a zone, more or less leads nowhere a clock cannot."""


def moment(text: str, *, end_of_day: bool = False) -> datetime:
    """A date, or a moment with a zone; a date means its begin, or its end.

    Raises:
        ConfigError: it is neither, or too far from now.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a date", "write it like 2026-03-31 or 2026-03-31T12:00:00Z") from None
    if not FIRST <= found.year <= LAST:
        raise ConfigError(f"{text} is too far from now", f"name a day of the years {FIRST} to {LAST}")
    if len(text) <= len("2026-03-31") and end_of_day:
        found += timedelta(days=1)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def period(start: str, end: str) -> tuple[datetime, datetime]:
    """Begin and end of the time from one date to another, each as :func:`moment` reads it.

    Raises:
        ConfigError: one is no date, or it ends before it begins.
    """
    begun, ended = moment(start), moment(end, end_of_day=True)
    if ended <= begun:
        raise ConfigError(f"the period from {start} to {end} ends before it begins", "correct --from and --to")
    return begun, ended


def of_store(store: Store, start: datetime, end: datetime, invalid: tuple[int, ...] = ()) -> Calendar:
    """The calendar of a store for a period."""
    runs = [
        {
            "number": run.number, "state": str(run.state), "trigger": run.opening.get("trigger", ""),
            "scheduledFor": run.opening.get("scheduledFor"), "openedOn": stamp(run.opened_on),
        }
        for run in store.runs()
    ]  # fmt: skip
    return calendar(store.notes(), runs, start, end, invalid)


def continuity(arguments: argparse.Namespace) -> int:
    """Every slot of a period, and what became of it; 3 when one, or a part of the period, is without evidence."""
    from evidence_store.store import Store
    from evidence_store.verify import LINES_ONLY, verify_store

    start, end = period(arguments.start, arguments.end)
    path = stored(configured(arguments.config))
    until = _begun(start, end)
    verification = verify_store(path, key=None, read_data=False)
    with Store.open(path) as store:
        found = of_store(store, start, until, _invalid(verification))
        controls = _controls(store, found)
    if arguments.json:
        told = {**found.as_row(), "controls": controls, "warnings": [LINES_ONLY]}
        print(json.dumps({"schema": "affidavit.continuity/1", **told}))
    else:
        _show(found)
        for row in controls:
            if row["share"] is not None:
                print(f"{row['framework']} {row['id']}: read whole in {row['occurrences']} slots, {row['share']:.1%}")
        print(f"warning: {LINES_ONLY}; affidavit verify reads every body")
    covered = found.counts[State.RUN] + found.counts[State.LATE]
    return 0 if found.slots and covered == len(found.slots) and not found.uncommitted else 3


def over_period(store: Store, verification: Verification, start: datetime, end: datetime) -> Row:
    """Slots of a period and what became of them, with the share of each control, for a report.

    Raises:
        ConfigError: the period has not begun, or ends before it begins.
    """
    found = of_store(store, start, _begun(start, end), _invalid(verification))
    return {**found.as_row(), "controls": _controls(store, found)}


def _begun(start: datetime, end: datetime) -> datetime:
    """The end of a period, or now where that has not come."""
    until = min(end, datetime.now(UTC))
    if until <= start:
        raise ConfigError(f"the period from {stamp(start)} to {stamp(end)} is empty", "name a period that has begun")
    return until


def _invalid(verification: Verification) -> tuple[int, ...]:
    """Runs that do not verify."""
    broken = {problem.path.split("/")[1] for problem in verification.problems if problem.path.startswith("runs/")}
    return tuple(int(number) for number in broken if number.isdecimal())


def pause(arguments: argparse.Namespace) -> int:
    """Put a pause on record."""
    config = configured(arguments.config)
    start, end = period(arguments.start, arguments.end)
    if not (arguments.by.strip() and arguments.reason.strip()):
        raise ConfigError("a pause needs a name and a reason", "give --by and --reason")
    with writable_store(config) as store:
        leaf = store.append(
            "pause", {"from": stamp(start), "to": stamp(end), "by": arguments.by, "reason": arguments.reason}
        )
    print(f"leaf {leaf}: nothing is collected from {stamp(start)} to {stamp(end)}, by {visible(arguments.by)}")
    return 0


def observe(arguments: argparse.Namespace) -> int:
    """What an auditor may ask about the evidence of a period; always 0, since nothing here is a verdict."""
    from collector.attachments import attachments
    from collector.observations import observe as look
    from collector.observations import sight
    from evidence_store.store import Store

    start, end = period(arguments.start, arguments.end)
    audit = moment(arguments.audit) if arguments.audit else None
    config = configured(arguments.config)
    with Store.open(stored(config)) as store:
        runs = [run for run in store.runs() if run.state == "complete" and start <= run.opened_on <= end]
        sights = []
        for run in runs:
            sealed = store.run(run.number)
            sights.append(sight(run.number, run.opened_on, sealed.results(), _facts(sealed, config)))
        found = look(sights, start, end, audit, attachments(store.notes(), end)[0])
    if arguments.json:
        rows = [asdict(each) for each in found]
        print(json.dumps({"schema": "affidavit.observations/1", "runs": len(runs), "observations": rows}))
        return 0
    for each in found:
        print(visible(f"{each.kind}: {each.about}: {each.statistic}"))
    print(f"{len(found)} observations over {len(runs)} runs; each is a question, none is a verdict")
    return 0


def _facts(sealed: SealedRun, config: Config) -> dict[str, datetime]:
    """By task, the newest time that its facts are of, for lists whose records say it; from the recorded replies."""
    from collector.judge import read_rows
    from collector.plan import IDENTITY
    from collector.plugins import load
    from collector.rerun import perform, plan_of

    document = plan_of(sealed)
    times = {source["id"]: source["fresh"] for source in document["sources"] if source.get("fresh")}
    tasks = [task for task in document["tasks"] if task["dataset"] in {*times, *IDENTITY.values()}]
    newest: dict[str, datetime] = {}

    def look(shards: Sequence[Shard]) -> None:
        for shard in shards:
            if name := times.get(shard.task.dataset):
                for read in read_rows(shard):
                    if (of := _time(read.row, name)) is not None:
                        newest[shard.task.id] = max(of, newest.get(shard.task.id, of))

    if any(task["dataset"] in times for task in tasks):
        try:
            perform(sealed, {**document, "tasks": tasks, "checks": []}, load(config.plugins), {}, look)
        except RerunError as error:
            say(f"note: run {sealed.number}: how old its facts are was not looked at: {error.what}")
    return newest


def _time(row: Record, name: str) -> datetime | None:
    """The time a record says that it is of; such as do not are UNKNOWN in the run itself."""
    try:
        return instant(row[name])
    except (KeyError, TypeError, ValueError, Unavailable):
        return None


def _controls(store: Store, found: Calendar) -> list[dict[str, Any]]:
    """For each control, the part of the slots whose run read everything it needs."""
    read: dict[tuple[str, str, str], list[int]] = {}
    for slot in found.slots:
        if slot.run is None or slot.state not in (State.RUN, State.LATE):
            continue
        for line in store.run(slot.run).results():
            if line["kind"] == "control":
                runs = read.setdefault((line["framework"], line["edition"], line["id"]), [])
                if line["result"] != "not_collected" and not line["incomplete"]:
                    runs.append(slot.run)
    return [
        {"framework": key[0], "edition": key[1], "id": key[2], "occurrences": len(runs), "share": found.share(runs)}
        for key, runs in sorted(read.items())
    ]


def _show(found: Calendar) -> None:
    for part in found.uncommitted:
        print(f"{part}, {part.hours} hours")
    for rule in found.rules:
        print(visible(f"{stamp(rule.at)}  {rule}"))
    for slot in found.slots:
        if slot.state is not State.RUN:
            run = f" run {slot.run}" if slot.run else ""
            print(f"{stamp(slot.at)}  {slot.schedule}  {slot.state}{run}: {visible(slot.reason)}")
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    share = found.share()
    covered = "no slot was committed" if share is None else f"{share:.1%} of the period covered"
    print(f"{len(found.slots)} slots from {stamp(found.start)} to {stamp(found.end)}: {counts or 'none'}; {covered}")
    if hole := found.longest_hole:
        print(f"longest hole: {hole.hours} hours, {hole}")
