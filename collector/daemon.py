"""Runs on schedule for years: one at a time, stopped cleanly, and with every slot that was missed on record."""

from __future__ import annotations

import json
import os
import re
import signal
import socketserver
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging import CRITICAL, getLogger
from socket import AF_INET6
from time import monotonic
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from collector.address import Address, is_loopback
from collector.config import DaemonConfig, Schedule
from collector.continuity import paused_ahead
from collector.cron import Cron, next_slot, slots_between
from collector.errors import AffidavitError, ConfigError
from evidence_store.errors import StoreError

BEAT_S = 15
"""Seconds between two heartbeats. Each also makes the scheduler look at the wall clock again after a suspend."""

_GAP = re.compile(r"schedule ([a-z0-9-]+): ")


class RunOnce(Protocol):
    """One run for one slot; returns early, with what it has recorded as aborted, once ``stop`` is set."""

    def __call__(self, schedule: str, scheduled_for: datetime, stop: threading.Event, /) -> object:
        """Collect, judge, seal; raise when the run could not be made."""


class RecordGap(Protocol):
    """Puts on record that slots were missed. Never called while a run is going."""

    def __call__(self, start: datetime, end: datetime, missed: int, reason: str, /) -> object:
        """``start`` and ``end`` are the first and last slot missed; the reason begins with the schedule."""


class Pauses(Protocol):
    """Every pause that is on record, with the moment it was recorded."""

    def __call__(self) -> Sequence[Mapping[str, Any]]:
        """Read anew at each call, without holding the store: a pause may be recorded at any time."""


class LastSlot(Protocol):
    """The latest slot of a schedule that is on record, as a run or as the end of a gap."""

    def __call__(self, schedule: str, /) -> datetime | None:
        """None when the schedule never had one."""


def gap_schedule(reason: str) -> str | None:
    """The schedule that a gap recorded here belongs to; None for other gaps."""
    found = _GAP.match(reason)
    return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Timetable:
    """When the slots of one schedule are, and when each is started."""

    cron: Cron
    zone: ZoneInfo
    jitter_s: int
    seed: str
    """What makes the delay of this installation differ from another's."""

    def fires_at(self, slot: datetime) -> datetime:
        """When the run for a slot starts: late by the same delay whenever it is asked."""
        draw = int.from_bytes(sha256(f"{self.seed} {slot.isoformat()}".encode()).digest()[:8])
        return slot + timedelta(seconds=draw / 2**64 * self.jitter_s)

    def due(self, after: datetime, now: datetime) -> list[datetime]:
        """The slots after ``after`` whose start is not later than ``now``, in order."""
        return [slot for slot in slots_between(self.cron, self.zone, after, now) if self.fires_at(slot) <= now]

    def next_fire(self, now: datetime) -> datetime | None:
        """The first start after ``now``."""
        slot = next_slot(self.cron, self.zone, now - timedelta(seconds=self.jitter_s))
        while slot and self.fires_at(slot) <= now:
            slot = next_slot(self.cron, self.zone, slot)
        return self.fires_at(slot) if slot else None


@dataclass(slots=True)
class _Line:
    """A schedule, and how far its slots are accounted for."""

    schedule: Schedule
    timetable: Timetable
    handled: datetime

    @property
    def name(self) -> str:
        return self.schedule.name


@dataclass(slots=True)
class _State:
    """What /healthz tells."""

    started: datetime
    running: str | None = None
    last_run: dict[str, Any] | None = None
    last_error: dict[str, Any] | None = None
    beat: float = field(default_factory=monotonic)


class Daemon:
    """Starts the runs of all schedules, until it is told to stop."""

    def __init__(
        self,
        config: DaemonConfig,
        *,
        run_once: RunOnce,
        record_gap: RecordGap,
        last_slot: LastSlot,
        pauses: Pauses = tuple,
        seed: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._run_once, self._record_gap, self._last_slot = run_once, record_gap, last_slot
        self._pauses = pauses
        self._clock = clock
        self._healthz = config.healthz
        self._lines = {
            schedule.name: _Line(
                schedule,
                Timetable(schedule.cron, config.time_zone, schedule.jitter_s, f"{seed} {schedule.name}"),
                clock(),
            )
            for schedule in config.schedules
        }
        self._state = _State(clock())
        self._state_lock = threading.Lock()
        self._store_lock = threading.Lock()
        """Held by the run that goes, or while gaps are written: never both."""
        self._gaps: deque[tuple[datetime, datetime, int, str]] = deque()
        self._stop = threading.Event()
        self._awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def run(self) -> int:
        """Serve until SIGTERM, SIGINT or :meth:`stop`; wait for the run that goes; return the exit code.

        Raises:
            ConfigError: /healthz cannot be served at its address.
            AffidavitError: the clock is behind the evidence.
        """
        with ExitStack() as stack:
            stack.enter_context(self._signals())
            stack.enter_context(_serve(self._healthz, self.health))
            self.catch_up()
            scheduler = self._scheduler()
            scheduler.start()
            stack.callback(scheduler.shutdown, wait=True)
            os.read(self._awake, 1)
            _say("stopping: no new run starts, the one that goes is asked to end")
            self._stop.set()
        return 0

    def stop(self) -> None:
        """End :meth:`run` as SIGTERM does; from any thread."""
        os.write(self._wake, b"\0")

    def catch_up(self) -> None:
        """Put the slots on record that came due while this program was not running.

        Raises:
            AffidavitError: a slot is on record that lies in the future, so the clock cannot be right.
        """
        now = self._clock()
        for line in self._lines.values():
            last = self._last_slot(line.name)
            if last and last > now:
                raise AffidavitError(
                    f"the last slot of schedule {line.name} is {_z(last)}, but this machine's clock says {_z(now)}",
                    "correct the clock, then start again",
                )
            line.handled = last or now
            missed = line.timetable.due(line.handled, now)
            self._note_missed(line, missed, "the daemon was not running")
        self._flush()

    def fire(self, name: str) -> None:
        """Make the run that is due for a schedule, or put on record why there is none; a pause is on record already."""
        line = self._lines[name]
        due = line.timetable.due(line.handled, self._clock())
        if not due or self._stop.is_set():
            return
        *missed, slot = due
        self._note_missed(line, missed, "the daemon did not wake in time")
        if not self._unpaused([slot]):
            line.handled = slot
            _say(f"schedule {line.name}: no run for {_z(slot)}: a pause is on record")
            return
        with self._state_lock:
            running, self._state.running = self._state.running, self._state.running or line.name
        if running:
            self._note_missed(line, [slot], f"a run of schedule {running} was still going")
            return
        line.handled = slot
        with self._store_lock, self._running(line, slot):
            self._run_once(line.name, slot, self._stop)

    def health(self) -> tuple[int, dict[str, Any]]:
        """HTTP status and document of /healthz: 200 while the scheduler lives and the last run was made."""
        now = self._clock()
        fires = [(at, line.name) for line in self._lines.values() if (at := line.timetable.next_fire(now))]
        with self._state_lock:
            state = self._state
            status = "ok"
            if self._stop.is_set():
                status = "stopping"
            elif monotonic() - state.beat > 4 * BEAT_S:
                status = "scheduler dead"
            elif state.last_run and state.last_run["error"]:
                status = "last run failed"
            elif self._gaps and not state.running:
                status = "gaps not recorded"
            document = {
                "schema": "affidavit.healthz/1",
                "status": status,
                "started": _z(state.started),
                "running": state.running,
                "last_run": state.last_run and dict(state.last_run),
                "next_run": {"schedule": min(fires)[1], "at": _z(min(fires)[0])} if fires else None,
                "last_error": state.last_error,
                "unrecorded_gaps": len(self._gaps),
            }
        return (200 if status in ("ok", "stopping") else 503), document

    def beat(self) -> None:
        """Show that the scheduler lives, and record the gaps that are waiting."""
        with self._state_lock:
            self._state.beat = monotonic()
        if self._gaps and self._store_lock.acquire(blocking=False):
            try:
                self._flush()
            finally:
                self._store_lock.release()

    @contextmanager
    def _running(self, line: _Line, slot: datetime) -> Iterator[None]:
        """A run is visible in /healthz from start to end; what it kept from running is on record after it."""
        record: dict[str, Any] = {
            "schedule": line.name,
            "scheduled_for": _z(slot),
            "started": _z(self._clock()),
            "ended": None,
            "error": None,
        }
        with self._state_lock:
            self._state.last_run = record
        _say(f"schedule {line.name}: run for {_z(slot)} starts")
        made = False
        try:
            yield
            made = True
        finally:
            error = None if made else _text(sys.exception())
            with self._state_lock:
                record |= {"ended": _z(self._clock()), "error": error}
                self._state.running = None
            _say(f"schedule {line.name}: run for {_z(slot)} {'ended' if made else f'failed: {error}'}")
            late = line.timetable.due(line.handled, self._clock())
            if not self._stop.is_set():
                self._note_missed(line, late, f"the run for {_z(slot)} was still going")
            if not made and self._last_slot(line.name) != slot:
                self._gaps.appendleft(_gap(line, [slot], f"the run could not be made: {error}"))
            self._flush()

    def _note_missed(self, line: _Line, slots: list[datetime], reason: str) -> None:
        if slots:
            line.handled = slots[-1]
        if missed := self._unpaused(slots):
            self._gaps.append(_gap(line, missed, reason))
            _say(f"schedule {line.name}: {len(missed)} missed up to {_z(missed[-1])}: {reason}")

    def _unpaused(self, slots: Sequence[datetime]) -> list[datetime]:
        """Slots that no pause covers which was on record when they came due."""
        if not slots:
            return []
        try:
            pauses = self._pauses()
        except (AffidavitError, StoreError, OSError):
            return [*slots]  # the run that is tried, or the gap that is written, tells what is wrong with the store
        return [slot for slot in slots if not paused_ahead(pauses, slot)]

    def _flush(self) -> None:
        """Every gap known so far is on record; one that cannot be written stays for the next heartbeat."""
        while self._gaps:
            self._record_gap(*self._gaps[0])
            self._gaps.popleft()

    def _scheduler(self) -> Any:
        getLogger("apscheduler").setLevel(CRITICAL)  # its errors are told by _failed, without a traceback
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(len(self._lines) + 1)},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        scheduler.add_listener(self._failed, EVENT_JOB_ERROR)
        scheduler.add_job(self.beat, IntervalTrigger(seconds=BEAT_S, timezone=UTC), id="beat")
        for line in self._lines.values():
            scheduler.add_job(self.fire, _Trigger(line.timetable), id=f"schedule {line.name}", args=[line.name])
        return scheduler

    def _failed(self, event: Any) -> None:
        text = _text(event.exception)
        with self._state_lock:
            self._state.last_error = {"at": _z(self._clock()), "what": f"{event.job_id}: {text}"}
        _say(f"error: {event.job_id}: {text}")
        if next_step := getattr(event.exception, "next_step", None):
            _say(f"next:  {next_step}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT write a byte into our pipe, which needs no lock and so cannot hang."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, lambda *_: None) for number in wanted}
        descriptor = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)


class _Trigger(BaseTrigger):  # type: ignore[misc]
    """Tells APScheduler the starts of a timetable."""

    def __init__(self, timetable: Timetable) -> None:
        self._timetable = timetable

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:  # noqa: ARG002
        return self._timetable.next_fire(now)


@contextmanager
def _serve(address: Address, health: Callable[[], tuple[int, dict[str, Any]]]) -> Iterator[None]:
    """/healthz answers on a loopback address, in threads of its own."""
    if not is_loopback(address.host):
        raise ConfigError(f"daemon.healthz: {address} is not a loopback address", "write for example 127.0.0.1:9464")

    class Handler(BaseHTTPRequestHandler):
        timeout = 5
        server_version, sys_version = "affidavit", ""

        def do_GET(self) -> None:
            status, document = health() if self.path == "/healthz" else (404, {"status": "only /healthz is served"})
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Not logged: it would be asked every few seconds."""

    class Server(ThreadingHTTPServer):
        address_family = AF_INET6 if ":" in address.host else ThreadingHTTPServer.address_family
        daemon_threads = True

        def server_bind(self) -> None:
            socketserver.TCPServer.server_bind(self)  # HTTPServer's would ask DNS for a name

    try:
        server = Server((address.host, address.port), Handler)
    except OSError as error:
        raise ConfigError(
            f"daemon.healthz: {address} cannot be used: {error.strerror}",
            "stop the other daemon, or choose another port",
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="healthz", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _gap(line: _Line, slots: list[datetime], reason: str) -> tuple[datetime, datetime, int, str]:
    return slots[0], slots[-1], len(slots), f"schedule {line.name}: {reason}"


def _text(error: BaseException | None) -> str:
    """An error in one line: our own words, or only the name of a foreign one, whose words may hold anything."""
    return error.what if isinstance(error, AffidavitError | StoreError) else type(error).__name__


def _z(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
