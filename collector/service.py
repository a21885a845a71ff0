"""Joins the daemon's timetable to runs and gaps in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from collector import run as running
from collector.config import DaemonConfig
from collector.continuity import commitment, committed
from collector.daemon import Daemon, gap_schedule
from collector.model import instant
from collector.run import Workbench
from evidence_store.store import Store


def serve(bench: Workbench, config: DaemonConfig, open_store: Callable[[], Store]) -> int:
    """Run until SIGTERM; the store is held only while something is written to it."""
    connections = {schedule.name: schedule.connections for schedule in config.schedules}

    def run_once(schedule: str, scheduled_for: datetime, stop: threading.Event) -> None:
        with open_store() as store:
            sealed = running.run(
                bench, store, trigger=f"schedule {schedule}", stop=stop, scheduled_for=scheduled_for,
                connections=connections[schedule],
            )  # fmt: skip
        sealed.attested.tell()
        if sealed.attested.forks:
            raise sealed.attested.forks[0]

    def record_gap(start: datetime, end: datetime, missed: int, reason: str) -> None:
        with open_store() as store:
            store.gap(start=start, end=end, missed=missed, reason=reason)

    def last_slot(schedule: str) -> datetime | None:
        with open_store() as store:
            slots = [
                instant(run.opening["scheduledFor"]) for run in store.runs()
                if run.opening.get("trigger") == f"schedule {schedule}" and run.opening.get("scheduledFor")
            ]  # fmt: skip
            slots += [instant(gap["to"]) for gap in store.gaps() if gap_schedule(gap["reason"]) == schedule]
        return max(slots, default=None)

    with open_store() as store:
        if committed(store.notes()) != commitment(config):
            store.append("schedule", commitment(config))
    return Daemon(
        config, run_once=run_once, record_gap=record_gap, last_slot=last_slot, seed=bench.config.store.origin
    ).run()
