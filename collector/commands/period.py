"""Commands over a period: was it covered, and pauses that are decided ahead."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from collector.config import Config
from collector.continuity import Calendar, State, calendar
from collector.errors import ConfigError
from collector.model import Row, stamp

if TYPE_CHECKING:
    from evidence_store.store import Store
    from evidence_store.verify import Verification


def moment(text: str, *, end_of_day: bool = False) -> datetime:
    """A date, or a moment with a zone; a date means its begin, or its end.

    Raises:
        ConfigError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a date", "write it like 2026-03-31 or 2026-03-31T12:00:00Z") from None
    if len(text) <= len("2026-03-31") and end_of_day:
        found += timedelta(days=1)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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


def continuity(arguments: argparse.Namespace, config: Config) -> int:
    """Every slot of a period, and what became of it; 3 when one is without evidence of its own time."""
    from evidence_store.store import Store
    from evidence_store.verify import verify_store

    start, end = moment(arguments.start), min(moment(arguments.end, end_of_day=True), datetime.now(UTC))
    if end <= start:
        raise ConfigError(
            f"the period from {arguments.start} to {arguments.end} is empty", "name a period that has begun"
        )
    verification = verify_store(config.store.path, key=None, read_data=False)
    with Store.open(config.store.path) as store:
        found = of_store(store, start, end, _invalid(verification))
        controls = _controls(store, found)
    if arguments.json:
        print(json.dumps({"schema": "affidavit.continuity/1", **found.as_row(), "controls": controls}))
    else:
        _show(found)
        for row in controls:
            if row["share"] is not None:
                print(f"{row['framework']} {row['id']}: read whole in {row['occurrences']} slots, {row['share']:.1%}")
    covered = found.counts[State.RUN] + found.counts[State.LATE]
    return 0 if found.slots and covered == len(found.slots) else 3


def over_period(store: Store, verification: Verification, start: datetime, end: datetime) -> Row:
    """Slots of a period and what became of them, with the share of each control, for a report.

    Raises:
        ConfigError: the period has not begun, or ends before it begins.
    """
    until = min(end, datetime.now(UTC))
    if until <= start:
        raise ConfigError(f"the period from {stamp(start)} to {stamp(end)} is empty", "name a period that has begun")
    end = until
    found = of_store(store, start, end, _invalid(verification))
    return {**found.as_row(), "controls": _controls(store, found)}


def _invalid(verification: Verification) -> tuple[int, ...]:
    """Runs that do not verify."""
    broken = {problem.path.split("/")[1] for problem in verification.problems if problem.path.startswith("runs/")}
    return tuple(int(number) for number in broken if number.isdecimal())


def pause(arguments: argparse.Namespace, open_store: Callable[[], Store]) -> int:
    """Put a pause on record."""
    start, end = moment(arguments.start), moment(arguments.end, end_of_day=True)
    if end <= start:
        raise ConfigError("the pause ends before it begins", "correct --from and --to")
    with open_store() as store:
        leaf = store.append(
            "pause", {"from": stamp(start), "to": stamp(end), "by": arguments.by, "reason": arguments.reason}
        )
    print(f"leaf {leaf}: nothing is collected from {stamp(start)} to {stamp(end)}, by {arguments.by}")
    return 0


def observe(arguments: argparse.Namespace, config: Config) -> int:
    """What an auditor may ask about the evidence of a period; always 0, since nothing here is a verdict."""
    from collector.attachments import attachments
    from collector.observations import observe as look
    from collector.observations import sight
    from evidence_store.store import Store

    start, end = moment(arguments.start), moment(arguments.end, end_of_day=True)
    audit = moment(arguments.audit) if arguments.audit else None
    with Store.open(config.store.path) as store:
        runs = [run for run in store.runs() if run.state == "complete" and start <= run.opened_on <= end]
        found = look(
            [sight(run.number, run.opened_on, store.run(run.number).results()) for run in runs], start, end, audit,
            attachments(store.notes(), end)[0],
        )  # fmt: skip
    if arguments.json:
        rows = [asdict(each) for each in found]
        print(json.dumps({"schema": "affidavit.observations/1", "runs": len(runs), "observations": rows}))
        return 0
    for each in found:
        print(f"{each.kind}: {each.about}: {each.statistic}")
    print(f"{len(found)} observations over {len(runs)} runs; each is a question, none is a verdict")
    return 0


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
    for slot in found.slots:
        if slot.state is not State.RUN:
            run = f" run {slot.run}" if slot.run else ""
            print(f"{stamp(slot.at)}  {slot.schedule}  {slot.state}{run}: {slot.reason}")
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    share = found.share()
    covered = "no slot was committed" if share is None else f"{share:.1%} covered"
    print(f"{len(found.slots)} slots from {stamp(found.start)} to {stamp(found.end)}: {counts or 'none'}; {covered}")
    if hole := found.longest_hole:
        print(f"longest hole: {hole.hours} hours, schedule {hole.schedule}, {stamp(hole.start)} to {stamp(hole.end)}")
