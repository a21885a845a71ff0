"""The daemon: every slot ends as a run or as a gap on record, one run at a time, and it stops when told."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from zoneinfo import ZoneInfo

import pytest

from collector.address import Address
from collector.config import DaemonConfig, Schedule
from collector.cron import Cron
from collector.daemon import BEAT_S, Daemon, Timetable, _Trigger, gap_schedule
from collector.errors import AffidavitError, ConfigError
from collector.model import stamp
from evidence_store.errors import LockedError

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class World:
    """A clock that is set by hand, and a store that remembers what it was told."""

    def __init__(self, now: str, *lines: tuple[str, str], jitter_s: int = 0, last: dict[str, datetime] | None = None):
        self.now = at(now)
        self.runs: list[tuple[str, datetime]] = []
        self.gaps: list[tuple[datetime, datetime, int, str]] = []
        self.last = dict(last or {})
        self.paused: list[dict[str, str]] = []
        self.during: Callable[[threading.Event], None] = lambda stop: None
        self.refuse_gaps = False
        self.config = DaemonConfig(
            tuple(Schedule(name, Cron.parse(line), jitter_s) for name, line in lines),
            BERLIN,
            Address("127.0.0.1", free_port()),
        )
        self.daemon = Daemon(
            self.config,
            run_once=self.run_once,
            record_gap=self.record_gap,
            last_slot=self.last.get,
            pauses=self.pauses,
            clock=lambda: self.now,
        )

    def run_once(self, schedule: str, scheduled_for: datetime, stop: threading.Event) -> None:
        self.runs.append((schedule, scheduled_for))
        self.last[schedule] = scheduled_for
        self.during(stop)

    def record_gap(self, start: datetime, end: datetime, missed: int, reason: str) -> None:
        if self.refuse_gaps:
            raise LockedError("another process writes to the store: 4711", "wait for it")
        self.gaps.append((start, end, missed, reason))

    def pause(self, start: str, end: str) -> None:
        """A pause, recorded now."""
        times = {"from": stamp(at(start)), "to": stamp(at(end)), "recordedOn": stamp(self.now)}
        self.paused.append({"kind": "pause", **times})

    def pauses(self) -> list[dict[str, str]]:
        if self.refuse_gaps:
            raise LockedError("another process writes to the store: 4711", "wait for it")
        return self.paused

    def fire(self, name: str, now: str) -> None:
        self.now = at(now)
        self.daemon.fire(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Slots, runs and gaps, under a clock set by hand


def test_a_slot_becomes_a_run() -> None:
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
    world.daemon.catch_up()
    world.fire("nightly", "2026-01-01T01:15")
    world.fire("nightly", "2026-01-01T01:16")
    assert world.runs == [("nightly", at("2026-01-01T01:15"))]
    assert world.gaps == []


def test_slots_missed_while_it_was_down_are_one_gap() -> None:
    world = World("2026-01-05T12:00", ("nightly", "15 2 * * *"), last={"nightly": at("2026-01-02T01:15")})
    world.daemon.catch_up()
    assert world.gaps == [
        (at("2026-01-03T01:15"), at("2026-01-05T01:15"), 3, "schedule nightly: the daemon was not running")
    ]
    world.fire("nightly", "2026-01-06T01:15")
    assert world.runs == [("nightly", at("2026-01-06T01:15"))]
    assert len(world.gaps) == 1


def test_missed_slots_are_counted_across_a_change_of_the_clocks() -> None:
    world = World("2026-10-26T12:00", ("hourly", "0 * * * *"), last={"hourly": at("2026-10-24T22:00")})
    world.daemon.catch_up()
    assert [gap[2] for gap in world.gaps] == [38], "the day has 25 hours"


def test_a_slot_in_a_pause_that_was_recorded_before_makes_no_run_and_no_gap(capsys: pytest.CaptureFixture[str]) -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    world.daemon.catch_up()
    world.pause("2026-01-01T00:30", "2026-01-01T02:30")
    for hour in (1, 2, 3):
        world.fire("hourly", f"2026-01-01T0{hour}:00")
    assert [slot.hour for _, slot in world.runs] == [3]
    assert world.gaps == []
    said = capsys.readouterr().err
    assert "schedule hourly: no run for 2026-01-01T02:00:00Z: a pause is on record" in said
    assert "run for 2026-01-01T02:00:00Z starts" not in said


def test_a_pause_recorded_after_its_slot_does_not_keep_the_run_from_being_made() -> None:
    world = World("2026-01-01T01:01", ("hourly", "0 * * * *"), last={"hourly": at("2026-01-01T00:00")})
    world.pause("2026-01-01T00:30", "2026-01-01T01:30")
    world.daemon.fire("hourly")
    assert world.runs == [], "a new daemon answers for slots after its start"
    world.daemon.catch_up()
    assert [gap[:3] for gap in world.gaps] == [(at("2026-01-01T01:00"), at("2026-01-01T01:00"), 1)]
    slow = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    slow.daemon.catch_up()
    slow.now = at("2026-01-01T01:01")
    slow.pause("2026-01-01T00:30", "2026-01-01T01:30")
    slow.daemon.fire("hourly")
    assert slow.runs == [("hourly", at("2026-01-01T01:00"))]


def test_slots_that_were_paused_are_no_gap_after_a_restart() -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"), last={"hourly": at("2026-01-01T00:00")})
    world.pause("2026-01-01T00:30", "2026-01-01T03:30")
    world.now = at("2026-01-01T05:30")
    world.daemon.catch_up()
    assert world.gaps == [
        (at("2026-01-01T04:00"), at("2026-01-01T05:00"), 2, "schedule hourly: the daemon was not running")
    ]


def test_a_store_whose_pauses_cannot_be_read_lets_the_run_tell_why() -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    world.daemon.catch_up()
    world.pause("2026-01-01T00:30", "2026-01-01T02:30")
    world.refuse_gaps = True
    world.fire("hourly", "2026-01-01T01:00")
    assert world.runs == [("hourly", at("2026-01-01T01:00"))]


def test_a_store_that_is_new_has_no_gap() -> None:
    world = World("2026-01-05T12:00", ("nightly", "15 2 * * *"))
    world.daemon.catch_up()
    assert world.gaps == []


def test_evidence_from_the_future_stops_the_start() -> None:
    world = World("2026-01-05T12:00", ("nightly", "15 2 * * *"), last={"nightly": at("2026-02-01T01:15")})
    with pytest.raises(
        AffidavitError, match="2026-02-01T01:15:00Z, but this machine's clock says 2026-01-05T12:00:00Z"
    ):
        world.daemon.catch_up()


def test_after_a_suspend_the_last_slot_runs_and_the_others_are_a_gap() -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    world.daemon.catch_up()
    world.fire("hourly", "2026-01-01T05:30")
    assert world.runs == [("hourly", at("2026-01-01T05:00"))]
    assert world.gaps == [
        (at("2026-01-01T01:00"), at("2026-01-01T04:00"), 4, "schedule hourly: the daemon did not wake in time")
    ]


def test_slots_during_a_run_of_their_own_schedule_are_a_gap_after_it() -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    world.daemon.catch_up()

    def long_run(stop: threading.Event) -> None:
        world.now = at("2026-01-01T03:30")
        assert world.gaps == [], "nothing is written to the store while a run has it"

    world.during = long_run
    world.fire("hourly", "2026-01-01T01:00")
    assert world.gaps == [
        (
            at("2026-01-01T02:00"), at("2026-01-01T03:00"), 2,
            "schedule hourly: the run for 2026-01-01T01:00:00Z was still going",
        )
    ]  # fmt: skip
    world.during = lambda stop: None
    world.fire("hourly", "2026-01-01T04:00")
    assert [slot for _, slot in world.runs] == [at("2026-01-01T01:00"), at("2026-01-01T04:00")]
    assert len(world.gaps) == 1


def test_a_slot_during_a_run_of_another_schedule_is_a_gap_after_it() -> None:
    world = World("2026-01-01T00:00", ("a", "0 2 * * *"), ("b", "30 2 * * *"))
    world.daemon.catch_up()

    def meanwhile(stop: threading.Event) -> None:
        world.fire("b", "2026-01-01T01:30")
        assert world.gaps == []
        assert world.daemon.health()[1]["running"] == "a"

    world.during = meanwhile
    world.fire("a", "2026-01-01T01:00")
    assert world.runs == [("a", at("2026-01-01T01:00"))]
    assert world.gaps == [
        (at("2026-01-01T01:30"), at("2026-01-01T01:30"), 1, "schedule b: a run of schedule a was still going")
    ]


def test_a_run_that_could_not_be_made_is_a_gap() -> None:
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
    world.daemon.catch_up()

    def broken(stop: threading.Event) -> None:
        del world.last["nightly"]
        raise LockedError("another process writes to the store: 4711", "wait for it")

    world.during = broken
    with pytest.raises(LockedError):
        world.fire("nightly", "2026-01-01T01:15")
    assert [(gap[0], gap[3]) for gap in world.gaps] == [
        (
            at("2026-01-01T01:15"),
            "schedule nightly: the run could not be made: another process writes to the store: 4711",
        )
    ]
    status, document = world.daemon.health()
    assert (status, document["status"]) == (503, "last run failed")
    assert document["last_run"]["error"] == "another process writes to the store: 4711"
    world.during = lambda stop: None
    world.fire("nightly", "2026-01-02T01:15")
    assert world.daemon.health()[0] == 200, "the next good run heals it"


def test_a_run_that_was_recorded_before_it_failed_is_no_gap() -> None:
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
    world.daemon.catch_up()

    def broken(stop: threading.Event) -> None:
        raise ValueError("password=hunter2")

    world.during = broken
    with pytest.raises(ValueError, match="hunter2"):
        world.fire("nightly", "2026-01-01T01:15")
    assert world.gaps == []
    assert world.daemon.health()[1]["last_run"]["error"] == "ValueError", "foreign words may hold anything"
    assert "hunter2" not in json.dumps(world.daemon.health()[1])


def test_a_gap_that_cannot_be_written_is_written_later(capsys: pytest.CaptureFixture[str]) -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    world.daemon.catch_up()
    world.refuse_gaps = True
    with pytest.raises(LockedError):
        world.fire("hourly", "2026-01-01T02:00")
    assert world.runs == [("hourly", at("2026-01-01T02:00"))], "the run itself was made"
    status, document = world.daemon.health()
    assert (status, document["status"], document["unrecorded_gaps"]) == (503, "gaps not recorded", 1)
    with pytest.raises(LockedError):
        world.daemon.beat()
    world.refuse_gaps = False
    world.daemon.beat()
    assert [gap[:3] for gap in world.gaps] == [(at("2026-01-01T01:00"), at("2026-01-01T01:00"), 1)]
    assert world.daemon.health()[0] == 200
    world.daemon.beat()
    assert len(world.gaps) == 1
    assert (
        "schedule hourly: 1 missed up to 2026-01-01T01:00:00Z: the daemon did not wake in time"
        in capsys.readouterr().err
    )


def test_when_the_clock_is_set_back_no_slot_runs_twice() -> None:
    world = World("2026-01-01T00:00", ("hourly", "0 * * * *"))
    world.daemon.catch_up()
    world.fire("hourly", "2026-01-01T05:00")
    world.fire("hourly", "2026-01-01T03:00")
    world.fire("hourly", "2026-01-01T05:00")
    world.fire("hourly", "2026-01-01T06:00")
    assert [slot.hour for _, slot in world.runs] == [5, 6]


def test_when_a_scheduler_is_dead_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
    assert world.daemon.health()[0] == 200
    now = time.monotonic()
    monkeypatch.setattr("collector.daemon.monotonic", lambda: now + 5 * BEAT_S)
    status, document = world.daemon.health()
    assert (status, document["status"]) == (503, "scheduler dead")
    world.daemon.beat()
    assert world.daemon.health()[0] == 200


def test_a_gap_names_its_schedule() -> None:
    assert gap_schedule("schedule nightly-2: the daemon was not running") == "nightly-2"
    assert gap_schedule("somebody's words") is None


def test_the_delay_of_a_slot_is_always_the_same_and_within_its_bounds() -> None:
    table = Timetable(Cron.parse("0 * * * *"), BERLIN, 600, "here")
    other = Timetable(Cron.parse("0 * * * *"), BERLIN, 600, "there")
    slots = [at("2026-01-01T00:00") + timedelta(hours=n) for n in range(200)]
    delays = [(table.fires_at(slot) - slot).total_seconds() for slot in slots]
    assert delays == [(table.fires_at(slot) - slot).total_seconds() for slot in slots]
    assert 0 <= min(delays) < 60
    assert 540 < max(delays) < 600
    assert delays != [(other.fires_at(slot) - slot).total_seconds() for slot in slots]
    for slot in slots:
        fires = table.fires_at(slot)
        just_before = fires - timedelta(microseconds=1)
        assert table.due(slot - timedelta(minutes=1), just_before) == []
        assert table.due(slot - timedelta(minutes=1), fires) == [slot]
        assert table.next_fire(slot - timedelta(seconds=1)) == fires
        assert table.next_fire(just_before) == fires
        assert table.next_fire(fires) == table.fires_at(slot + timedelta(hours=1))
    trigger = _Trigger(table)
    assert trigger.get_next_fire_time(None, slots[0] - timedelta(seconds=1)) == table.fires_at(slots[0])


# The real thing


def get(port: int, path: str = "/healthz") -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


def until(what: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Started:
    """A daemon with the real clock in a thread of its own."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.code = self.daemon.run()

    def stop(self) -> None:
        self.daemon.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_apscheduler_starts_a_run_when_its_slot_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots are whole minutes, so the delay is bent to make one start within a second."""
    made, asked_to_stop = threading.Event(), threading.Event()
    now = datetime.now(UTC)
    minute, first = now.replace(second=0, microsecond=0), now + timedelta(seconds=0.4)
    monkeypatch.setattr(Timetable, "fires_at", lambda self, slot: slot + (first - minute))
    monkeypatch.setattr(Timetable, "next_fire", lambda self, at: first if at < first else first + timedelta(hours=1))

    def run_once(schedule: str, scheduled_for: datetime, stop: threading.Event) -> None:
        made.set()
        assert stop.wait(10)
        asked_to_stop.set()

    port = free_port()
    config = DaemonConfig((Schedule("m", Cron.parse("* * * * *"), 60),), BERLIN, Address("127.0.0.1", port))
    previous = minute - timedelta(minutes=1)
    started = Started(Daemon(config, run_once=run_once, record_gap=lambda *gap: None, last_slot=lambda name: previous))
    assert made.wait(10)
    assert get(port)[1]["running"] == "m"
    started.stop()
    assert asked_to_stop.is_set(), "it waited for the run"
    assert started.code == 0


def test_an_error_in_a_job_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))

    class Event:
        job_id = "schedule nightly"
        exception = LockedError("another process writes to the store: 4711", "wait for it")

    world.daemon._failed(Event())
    err = capsys.readouterr().err
    assert "error: schedule nightly: another process writes" in err
    assert "next:  wait for it" in err
    assert "another process" in world.daemon.health()[1]["last_error"]["what"]


def test_only_loopback_is_served() -> None:
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
    config = DaemonConfig(world.config.schedules, BERLIN, Address("0.0.0.0", free_port()))
    daemon = Daemon(config, run_once=world.run_once, record_gap=world.record_gap, last_slot=world.last.get)
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0:\d+ is not a loopback address"):
        daemon.run()


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = DaemonConfig(
            (Schedule("n", Cron.parse("15 2 * * *")),), BERLIN, Address("127.0.0.1", taken.getsockname()[1])
        )
        world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
        daemon = Daemon(config, run_once=world.run_once, record_gap=world.record_gap, last_slot=world.last.get)
        with pytest.raises(ConfigError, match="cannot be used: Address already in use"):
            daemon.run()


def test_healthz_on_ipv6_loopback() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    config = DaemonConfig((Schedule("n", Cron.parse("15 2 * * *")),), BERLIN, Address("::1", port))
    world = World("2026-01-01T00:00", ("nightly", "15 2 * * *"))
    started = Started(Daemon(config, run_once=world.run_once, record_gap=world.record_gap, last_slot=lambda name: None))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://[::1]:{port}/healthz", timeout=5) as reply:
                return bool(reply.status == 200)
        except URLError:
            return False

    until(answers)
    started.stop()


PROGRAM = """
import sys, threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo
from collector import daemon
from collector.address import Address
from collector.config import DaemonConfig, Schedule
from collector.cron import Cron

mode, port = sys.argv[1], int(sys.argv[2])

def run_once(schedule, scheduled_for, stop):
    print("run", flush=True)
    if mode == "fail":
        raise RuntimeError("password=hunter2")
    stop.wait(30)
    print("asked to stop" if stop.is_set() else "never asked", flush=True)

def record_gap(start, end, missed, reason):
    print("gap", missed, reason, flush=True)

now = datetime.now(UTC)
minute, first = now.replace(second=0, microsecond=0), now + timedelta(seconds=1)
if mode != "idle":
    daemon.Timetable.fires_at = lambda self, slot: slot + (first - minute)
    daemon.Timetable.next_fire = lambda self, at: first if at < first else first + timedelta(hours=1)
last = minute - timedelta(minutes=1)
config = DaemonConfig((Schedule("m", Cron.parse("* * * * *" if mode != "idle" else "0 0 1 1 *")),), ZoneInfo("UTC"),
                      Address("127.0.0.1", port))
sys.exit(daemon.Daemon(config, run_once=run_once, record_gap=record_gap,
                       last_slot=lambda name: last if mode != "idle" else datetime(2020, 6, 1, tzinfo=UTC)).run())
"""


def start(mode: str, port: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, mode, str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        try:
            return get(port)[0] > 0
        except URLError:
            return False

    until(answers, 15)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_daemon_with_0(number: signal.Signals) -> None:
    port = free_port()
    process = start("idle", port)
    assert get(port, "/other")[0] == 404
    status, document = get(port)
    assert (status, document["status"], document["schema"]) == (200, "ok", "affidavit.healthz/1")
    assert document["next_run"]["at"].endswith("-01-01T00:00:00Z")
    assert document["last_run"] is None
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert "the daemon was not running" in out
    assert "Traceback" not in err


def test_sigterm_during_a_run_asks_it_to_stop_and_waits() -> None:
    port = free_port()
    process = start("wait", port)
    assert process.stdout
    assert process.stdout.readline() == "run\n"
    assert get(port)[1]["running"] == "m"
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert out == "asked to stop\n"
    assert process.returncode == 0, err
    assert "stopping" in err


def test_healthz_is_503_after_a_failed_run_and_the_daemon_goes_on() -> None:
    port = free_port()
    process = start("fail", port)
    until(lambda: get(port)[0] == 503)
    until(lambda: get(port)[1]["last_error"] is not None)
    status, document = get(port)
    assert (status, document["status"], document["last_run"]["error"]) == (503, "last run failed", "RuntimeError")
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "gap 1 schedule m: the run could not be made: RuntimeError" in out
    assert "hunter2" not in out + err + json.dumps(document)
    assert "Traceback" not in err
