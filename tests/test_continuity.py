"""Every slot ends as a run, a signed failure or a signed pause; whatever else is named for what it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from collector.commands.period import of_store, over_period
from collector.config import load as load_config
from collector.continuity import Calendar, State, calendar, commitment, committed
from collector.errors import ConfigError
from collector.model import stamp
from evidence_store.keys import FileSigner, create_key_file, load_key_file
from evidence_store.store import Store
from evidence_store.verify import verify_store

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NIGHTLY = {
    "kind": "schedule", "index": 1, "recordedOn": stamp(START), "zone": "UTC",
    "schedules": [{"name": "nightly", "cron": "15 2 * * *", "jitterS": 300, "connections": []}],
}  # fmt: skip


def slot(day: int) -> datetime:
    return START + timedelta(days=day, hours=2, minutes=15)


def run(number: int, day: int, late: timedelta = timedelta(0), state: str = "complete") -> dict[str, Any]:
    at = slot(day)
    return {
        "number": number,
        "state": state,
        "trigger": "schedule nightly",
        "scheduledFor": stamp(at),
        "openedOn": stamp(at + late),
    }


def note(kind: str, first: int, last: int, reason: str) -> dict[str, Any]:
    return {"kind": kind, "index": 9, "from": stamp(slot(first)), "to": stamp(slot(last)), "reason": reason}


def states(found: Calendar) -> list[str]:
    return [str(each.state) for each in found.slots]


def test_every_state_is_told_apart() -> None:
    runs = [
        run(1, 0), run(2, 1, timedelta(minutes=19)), run(3, 2, timedelta(hours=3)), run(4, 3, timedelta(hours=30)),
        run(5, 4, state="aborted"), run(6, 5),
    ]  # fmt: skip
    notes = [
        NIGHTLY,
        note("gap", 6, 6, "schedule nightly: the daemon was not running"),
        note("pause", 7, 7, "migration"),
        note("gap", 8, 8, "schedule other: not ours"),
    ]
    found = calendar(notes, runs, START, START + 9 * DAY, invalid=[6])
    assert states(found) == ["run", "run", "late", "backfilled", "failed", "invalid", "gap", "paused", "missing"]
    assert found.counts["run"] == 2
    assert found.share() == round(3 / 9, 4)
    assert found.longest_hole is not None
    assert (found.longest_hole.start, found.longest_hole.end) == (slot(2), START + 9 * DAY)


def test_a_period_without_a_commitment_has_no_slots_and_no_share() -> None:
    found = calendar([], [run(1, 0)], START, START + DAY)
    assert found.slots == ()
    assert found.share() is None


def test_a_changed_timetable_counts_from_the_day_it_was_committed() -> None:
    hourly = {
        **NIGHTLY,
        "recordedOn": stamp(START + DAY),
        "schedules": [{"name": "nightly", "cron": "0 * * * *", "jitterS": 0, "connections": []}],
    }
    found = calendar([NIGHTLY, hourly], [], START, START + 2 * DAY)
    assert len(found.slots) == 1 + 24
    assert set(states(found)) == {"missing"}


@given(st.sets(st.integers(0, 27)))
def test_deleting_any_slot_is_seen(deleted: set[int]) -> None:
    runs = [run(number + 1, number) for number in range(28) if number not in deleted]
    found = calendar([NIGHTLY], runs, START, START + 28 * DAY)
    assert {number for number, each in enumerate(found.slots) if each.state is State.MISSING} == deleted
    assert found.share() == round((28 - len(deleted)) / 28, 4)
    assert (found.longest_hole is None) == (not deleted)
    assert json.loads(json.dumps(found.as_row()))["counts"]["missing"] == len(deleted)


def test_a_store_commits_its_timetable_and_shows_its_holes(tmp_path: Path) -> None:
    create_key_file(tmp_path / "key", b"for this test only")
    (tmp_path / "pass").touch(mode=0o600)
    (tmp_path / "pass").write_text("for this test only")
    (tmp_path / "config.yaml").write_text("""version: 1
organisation: Test
store: {path: store, origin: test.example.org/calendar}
key: {file: key, passphrase: file:pass}
connections: [{name: here, kind: host}]
daemon: {schedules: [{name: nightly, cron: "15 2 * * *"}]}
""")
    config = load_config(tmp_path / "config.yaml")
    assert config.daemon is not None
    clock = [START]
    signer = load_key_file(tmp_path / "key", b"for this test only")
    with Store.create(
        tmp_path / "store", origin="test.example.org/calendar", signer=signer, clock=lambda: clock[0]
    ) as store:
        assert committed(store.notes()) is None
        store.append("schedule", commitment(config.daemon))
        assert committed(store.notes()) == commitment(config.daemon)
        clock[0] = slot(0)
        opening = {"trigger": "schedule nightly", "scheduledFor": stamp(slot(0))}
        store.begin(opening, b"{}").close([], {})
        clock[0] = slot(2)
        store.gap(start=slot(1), end=slot(1), missed=1, reason="schedule nightly: the daemon was not running")
        store.append("pause", {"from": stamp(slot(3)), "to": stamp(slot(3)), "by": "J. Doe", "reason": "migration"})
        found = of_store(store, START, START + 5 * DAY)
    assert states(found) == ["run", "gap", "missing", "paused", "missing"]


@pytest.mark.parametrize(("text", "words"), [("tomorrow", "is not a date"), ("2026-13-01", "is not a date")])
def test_a_wrong_date_is_named(text: str, words: str) -> None:
    from collector.commands.period import moment
    from collector.errors import ConfigError

    with pytest.raises(ConfigError, match=words):
        moment(text)


def test_a_period_tells_for_each_control_in_how_many_slots_it_was_read_whole(tmp_path: Path) -> None:
    signer = FileSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
    now = [datetime(2026, 2, 1, tzinfo=UTC)]
    schedule = {"name": "daily", "cron": "0 2 * * *", "jitterS": 0, "connections": []}
    read = {"kind": "control", "framework": "iso-27001", "edition": "2022+amd1", "result": "met", "incomplete": False}
    with Store.create(tmp_path / "store", origin="o", signer=signer, clock=lambda: now[0]) as store:
        store.append("schedule", {"zone": "UTC", "schedules": [schedule]})
        for day, changes in ((1, {}), (2, {"incomplete": True}), (3, {"result": "not_collected"}), (4, {})):
            now[0] = datetime(2026, 2, day, 2, 1, tzinfo=UTC)
            slot = f"2026-02-0{day}T02:00:00.000Z"
            run = store.begin({"trigger": "schedule daily", "scheduledFor": slot}, b"{}")
            run.close([{**read, "id": "A.8.13"}, {**read, "id": "A.8.15", **changes}], {"outcome": "complete"})
        found = verify_store(store.root, key=signer.keyid)
        told = over_period(store, found, datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 6, tzinfo=UTC))
        assert (told["share"], len(told["slots"])) == (0.8, 5)
        shares = {row["id"]: (row["occurrences"], row["share"]) for row in told["controls"]}
        assert shares == {"A.8.13": (4, 0.8), "A.8.15": (2, 0.4)}
        with pytest.raises(ConfigError, match="is empty"):
            over_period(store, found, datetime(2099, 1, 1, tzinfo=UTC), datetime(2099, 2, 1, tzinfo=UTC))
