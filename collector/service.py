"""Joins the daemon's timetable to runs and gaps in the store."""

from __future__ import annotations

import getpass
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from collector import run as running
from collector.config import DaemonConfig
from collector.continuity import commitment, committed
from collector.daemon import Daemon, gap_schedule
from collector.model import instant
from collector.run import Workbench
from evidence_store.store import Store


def serve(bench: Workbench, config: DaemonConfig, open_store: Callable[[], Store], *, reason: str = "") -> int:
    """Run until SIGTERM; the store is held only while something is written to it.

    ``reason`` is why checks, limits, configuration or timetable are not those of before, where they are not.
    """
    every = {connection.name for connection in bench.config.connections}
    connections = {schedule.name: schedule.connections for schedule in config.schedules}

    def run_once(schedule: str, scheduled_for: datetime, stop: threading.Event) -> None:
        chosen = connections[schedule]
        part = f"connections {', '.join(chosen)}" if chosen and set(chosen) != every else ""
        with open_store() as store:
            sealed = running.run(
                bench, store, trigger=f"schedule {schedule}", stop=stop, scheduled_for=scheduled_for,
                connections=chosen, selection=part, reason=reason,
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

    def pauses() -> list[dict[str, Any]]:
        with Store.open(bench.config.store.path) as store:
            return [note for note in store.notes() if note["kind"] == "pause"]

    with open_store() as store:
        if committed(store.notes()) != commitment(config):
            by = f"{getpass.getuser()}@{socket.gethostname()}"
            store.append("schedule", {**commitment(config), "by": by, **({"reason": reason} if reason else {})})
    return Daemon(
        config, run_once=run_once, record_gap=record_gap, last_slot=last_slot, pauses=pauses,
        seed=bench.config.store.origin,
    ).run()  # fmt: skip
