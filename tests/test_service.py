"""The daemon's slots become runs and gaps of the store, and are found again there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import run as running
from collector import service
from collector.config import load as load_config
from collector.run import InterruptedRunError
from evidence_store.keys import load_key_file
from evidence_store.store import Store
from tests.small_cloud import PASSPHRASE, Cloud, Office, cloud

SLOT = datetime(2026, 6, 1, 2, 15, tzinfo=UTC)
SCHEDULES = """\
daemon:
  schedules:
    - {name: nightly, cron: 15 2 * * *, connections: [cloud]}
    - {name: weekly, cron: 15 3 * * 0}
"""


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


class Served:
    """What the service gave the daemon."""

    def __init__(self, office: Office, monkeypatch: pytest.MonkeyPatch, reason: str = "") -> None:
        config = load_config(office.config)
        signer = load_key_file(office.folder / "signing.key", PASSPHRASE)
        given = {}

        class Daemon:
            def __init__(self, config: Any, **functions: Any) -> None:
                given.update(functions)

            def run(self) -> int:
                return 0

        def open_store() -> Store:
            if office.store.exists():
                return Store.open(office.store, signer=signer)
            return Store.create(office.store, origin=config.store.origin, signer=signer)

        monkeypatch.setattr(service, "Daemon", Daemon)
        assert config.daemon is not None
        assert service.serve(running.prepare(config), config.daemon, open_store, reason=reason) == 0
        self.run_once, self.record_gap, self.last_slot = (
            given[name] for name in ("run_once", "record_gap", "last_slot")
        )
        self.seed = given["seed"]


@pytest.fixture
def office(aws: Cloud, tmp_path: Path) -> Office:
    return Office(tmp_path / "office", aws.endpoint, more=SCHEDULES)


@pytest.fixture
def served(office: Office, monkeypatch: pytest.MonkeyPatch) -> Served:
    real = running.run

    def smaller(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **options, wanted=lambda check: check.id == "aws.logs.retention")

    monkeypatch.setattr(running, "run", smaller)
    return Served(office, monkeypatch)


def test_a_slot_becomes_a_run_that_says_so_and_is_found_again(served: Served, office: Office) -> None:
    assert served.last_slot("nightly") is None
    served.run_once("nightly", SLOT, threading.Event())
    with office.sealed() as run:
        assert run.opening["trigger"] == "schedule nightly"
        assert run.opening["scheduledFor"] == "2026-06-01T02:15:00.000Z"
    assert served.last_slot("nightly") == SLOT
    assert served.last_slot("weekly") is None
    assert served.seed == "test.example.org/log"
    assert office.verify().ok


def test_a_missed_slot_becomes_a_gap_that_is_found_again(served: Served, office: Office) -> None:
    end = SLOT + timedelta(days=2)
    served.record_gap(SLOT, end, 3, "schedule nightly: the machine was off")
    assert served.last_slot("nightly") == end
    assert served.last_slot("weekly") is None
    with Store.open(office.store) as store:
        (gap,) = store.gaps()
    assert (gap["missed"], gap["reason"]) == (3, "schedule nightly: the machine was off")
    served.run_once("nightly", SLOT, threading.Event())
    assert served.last_slot("nightly") == end


def test_a_stop_aborts_the_run_of_the_slot(served: Served, office: Office) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedRunError):
        served.run_once("nightly", SLOT, stop)
    assert office.states() == ["aborted"]
    assert served.last_slot("nightly") == SLOT


def test_the_store_is_held_only_while_something_is_written(served: Served, office: Office) -> None:
    served.run_once("weekly", SLOT, threading.Event())
    with Store.open(office.store, signer=load_key_file(office.folder / "signing.key", PASSPHRASE)) as store:
        assert [run.opening["trigger"] for run in store.runs()] == ["schedule weekly"]


def test_a_schedule_over_some_connections_is_a_part_and_the_reason_given_is_that_of_the_changes(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = office.config.read_text()
    office.config.write_text(text.replace("connections:\n", "connections:\n  - {name: here, kind: host}\n", 1))
    said: list[dict[str, Any]] = []
    real = running.run

    def noted(*arguments: Any, **options: Any) -> Any:
        said.append(options)
        return real(*arguments, **options, wanted=lambda check: check.id == "aws.logs.retention")

    monkeypatch.setattr(running, "run", noted)
    served = Served(office, monkeypatch, reason="CHG-7")
    served.run_once("nightly", SLOT, threading.Event())
    served.run_once("weekly", SLOT, threading.Event())
    assert [(one["selection"], one["reason"]) for one in said] == [("connections cloud", "CHG-7"), ("", "CHG-7")]
    with office.sealed(1) as run:
        assert b'"selection": "connections cloud"' in run.plan()
    with Store.open(office.store) as store:
        (timetable,) = [note for note in store.notes() if note["kind"] == "schedule"]
    assert timetable["reason"] == "CHG-7"
