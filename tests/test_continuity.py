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
from collector.continuity import Calendar, State, calendar, commitment, committed, paused_ahead
from collector.errors import ConfigError
from collector.model import stamp
from collector.report import terminal
from evidence_store.keys import FileSigner, create_key_file, load_key_file
from evidence_store.store import Store
from evidence_store.verify import LINES_ONLY, verify_store
from tests.report_sample import sample
from tests.small_cloud import affidavit

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAILY = {"name": "nightly", "cron": "15 2 * * *", "jitterS": 300, "connections": []}
NIGHTLY = {
    "kind": "schedule", "index": 1, "recordedOn": stamp(START), "zone": "UTC",
    "schedules": [DAILY],
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


def note(kind: str, first: int, last: int, reason: str, recorded: int | None = None) -> dict[str, Any]:
    """A gap or a pause, recorded on a day; without one, at the begin of its first."""
    at = slot(first) - timedelta(hours=1) if recorded is None else slot(recorded) + timedelta(hours=1)
    return {
        "kind": kind, "index": 9, "recordedOn": stamp(at), "from": stamp(slot(first)), "to": stamp(slot(last)),
        "by": "J. Doe", "reason": reason,
    }  # fmt: skip


def timetable(cron: str, day: float, by: str = "", **changes: Any) -> dict[str, Any]:
    """A commitment of the schedule ``nightly``, so many days after the start."""
    schedules = [{**DAILY, "cron": cron, **changes}] if cron else []
    at = START + timedelta(days=day)
    return {**NIGHTLY, "recordedOn": stamp(at), "by": by, "schedules": schedules}


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
        note("pause", 9, 9, "forgotten", recorded=20),
    ]
    found = calendar(notes, runs, START, START + 10 * DAY, invalid=[6])
    told = ["run", "run", "late", "backfilled", "failed", "invalid", "gap", "paused", "missing", "paused afterwards"]
    assert states(found) == told
    assert found.counts["run"] == 2
    assert found.share() == round(3 / 10, 4)
    assert found.longest_hole is not None
    assert (found.longest_hole.start, found.longest_hole.end) == (slot(2), START + 10 * DAY)


def test_a_pause_recorded_after_the_slot_explains_and_does_not_excuse() -> None:
    ahead, after = note("pause", 1, 1, "works"), note("pause", 2, 2, "works", recorded=5)
    found = calendar([NIGHTLY, ahead, after], [run(1, 0), run(2, 3)], START, START + 4 * DAY)
    assert states(found) == ["run", "paused", "paused afterwards", "run"]
    assert found.slots[1].reason == f"works, by J. Doe (leaf 9), recorded {ahead['recordedOn']}"
    said = f"no run; works, by J. Doe (leaf 9), recorded {after['recordedOn']}, after it was due"
    assert found.slots[2].reason == said
    assert found.share() == 0.5
    assert paused_ahead([NIGHTLY, ahead, after], slot(1)) == ahead
    assert paused_ahead([NIGHTLY, ahead, after], slot(2)) is None
    gap = note("gap", 1, 2, "schedule nightly: the daemon was not running", recorded=3)
    both = calendar([NIGHTLY, ahead, gap, after], [], START, START + 4 * DAY)
    assert states(both) == ["missing", "paused", "gap", "missing"], "what the daemon says goes before what people say"
    assert both.slots[2].reason == f"{gap['reason']} (leaf 9); {said.removeprefix('no run; ')}"


def test_the_last_slot_of_a_period_or_a_timetable_is_backfilled_like_any_other() -> None:
    weeks = run(1, 0, timedelta(days=40))
    assert states(calendar([NIGHTLY], [weeks], START, START + DAY)) == ["backfilled"]
    assert states(calendar([NIGHTLY, timetable("0 0 1 1 *", 1)], [weeks], START, START + 2 * DAY)) == ["backfilled"]


def test_a_report_names_the_time_without_a_timetable() -> None:
    found = calendar([timetable("15 2 * * *", 1)], [run(1, 1)], START, START + 2 * DAY)
    told = {**found.as_row(), "controls": []}
    text = terminal.render(sample().report(continuity=told), width=300)
    assert "Period 2026-03-01 to 2026-03-02: 1 run, 50.0% covered" in text
    assert "  no timetable: 2026-03-01 to 2026-03-01" in text


def test_time_before_the_first_timetable_is_a_hole() -> None:
    runs = [run(number + 1, number) for number in range(90, 100)]
    found = calendar([timetable("15 2 * * *", 90)], runs, START, START + 100 * DAY)
    assert set(states(found)) == {"run"}
    assert found.share() == 0.1, "ten days of a hundred, though no slot is without a run"
    assert found.share([91]) == 0.01
    (hole,) = found.uncommitted
    assert (hole.start, hole.end, hole.hours) == (START, START + 90 * DAY, 90 * 24)
    assert str(hole) == "no timetable: 2026-03-01T00:00:00.000Z to 2026-05-30T00:00:00.000Z"
    assert found.longest_hole == hole
    row = found.as_row()
    assert row["longestHole"] == row["uncommitted"][0] == hole.as_row()
    assert hole.as_row()["schedule"] == ""


def test_a_timetable_without_a_schedule_commits_nothing() -> None:
    notes = [timetable("15 2 * * *", 0), timetable("", 2), timetable("15 2 * * *", 6)]
    runs = [run(number + 1, number) for number in (0, 1, 6, 7)]
    found = calendar(notes, runs, START, START + 8 * DAY)
    assert [(hole.start, hole.end) for hole in found.uncommitted] == [(START + 2 * DAY, START + 6 * DAY)]
    assert found.share() == 0.5
    assert [(rule.at, rule.old, rule.new) for rule in found.rules] == [
        (START + 2 * DAY, "15 2 * * * UTC, up to 300 s later", ""),
        (START + 6 * DAY, "", "15 2 * * * UTC, up to 300 s later"),
    ]


def test_a_thinned_timetable_is_listed_and_lowers_the_share() -> None:
    thin = timetable("0 0 1 1 *", 1, by="root@here", jitterS=0, connections=["cloud"]) | {"reason": "winter"}
    runs = [
        {**run(number, 0), "scheduledFor": stamp(START + timedelta(hours=number)),
         "openedOn": stamp(START + timedelta(hours=number))} for number in range(1, 25)
    ]  # fmt: skip
    found = calendar([timetable("0 * * * *", 0), thin], runs, START, START + 10 * DAY)
    assert len(found.slots) == 24
    assert set(states(found)) == {"run"}
    assert found.uncommitted == ()
    assert found.share() == 0.1, "nothing speaks for nine days under a timetable by which nothing was due"
    (rule,) = found.rules
    assert rule.as_row() == {
        "at": stamp(START + DAY), "leaf": 1, "by": "root@here", "schedule": "nightly",
        "old": "0 * * * * UTC, up to 300 s later", "new": "0 0 1 1 * UTC, only cloud",
        "reason": "winter",
    }  # fmt: skip
    assert str(rule) == (
        "schedule nightly: 0 * * * * UTC, up to 300 s later -> 0 0 1 1 * UTC, only cloud (leaf 1, by root@here): winter"
    )
    again = [timetable("0 * * * *", 0), timetable("0 * * * *", 3), timetable("0 * * * *", 20)]
    assert calendar(again, [], START, START + 10 * DAY).rules == (), "the same again, and what is after the period"


def test_each_timetable_counts_by_its_time_not_by_its_slots() -> None:
    often = [timetable("0 * * * *", 0), timetable("15 2 * * *", 1)]
    runs = [
        {**run(number, 0), "scheduledFor": stamp(START + timedelta(hours=number))} for number in range(1, 25)
    ]
    found = calendar(often, [{**one, "openedOn": one["scheduledFor"]} for one in runs], START, START + 10 * DAY)
    assert found.counts["run"] == 24
    assert found.counts["missing"] == 9
    assert found.share() == 0.1, "24 of 33 slots, and one day of ten"


def test_a_period_without_a_commitment_has_no_slots_and_no_share() -> None:
    found = calendar([], [run(1, 0)], START, START + DAY)
    assert found.slots == ()
    assert found.share() is None
    assert found.longest_hole is not None
    assert str(found.longest_hole) == "no timetable: 2026-03-01T00:00:00.000Z to 2026-03-02T00:00:00.000Z"


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


def furnished(tmp_path: Path) -> Path:
    """A configuration with a schedule; its store is not there yet."""
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
    return tmp_path / "config.yaml"


def test_a_store_commits_its_timetable_and_shows_its_holes(tmp_path: Path) -> None:
    config = load_config(furnished(tmp_path))
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


def test_the_command_tells_holes_changes_and_what_it_did_not_read(tmp_path: Path) -> None:
    config = furnished(tmp_path)
    signer = load_key_file(tmp_path / "key", b"for this test only")
    clock = [START + 2 * DAY]
    origin = "test.example.org/calendar"
    with Store.create(tmp_path / "store", origin=origin, signer=signer, clock=lambda: clock[0]) as store:
        store.append("schedule", {name: NIGHTLY[name] for name in ("zone", "schedules")} | {"by": "root@here"})
        for day in (2, 3):
            clock[0] = slot(day)
            opening = {"trigger": "schedule nightly", "scheduledFor": stamp(slot(day))}
            store.begin(opening, b"{}").close([], {})
    asked = ("continuity", "--config", str(config), "--from", "2026-03-01", "--to", "2026-03-04")
    said = affidavit(*asked)
    assert said.code == 3, "two days are without a timetable"
    assert said.out.splitlines() == [
        "no timetable: 2026-03-01T00:00:00.000Z to 2026-03-03T00:00:00.000Z, 48.0 hours",
        "2026-03-03T00:00:00.000Z  schedule nightly: none -> 15 2 * * * UTC, up to 300 s later (leaf 1, by root@here)",
        "2 slots from 2026-03-01T00:00:00.000Z to 2026-03-05T00:00:00.000Z: 2 run; 50.0% of the period covered",
        "longest hole: 48.0 hours, no timetable: 2026-03-01T00:00:00.000Z to 2026-03-03T00:00:00.000Z",
        f"warning: {LINES_ONLY}; affidavit verify reads every body",
    ]
    told = affidavit(*asked, "--json").json
    assert (told["share"], told["warnings"]) == (0.5, [LINES_ONLY])
    assert [hole["hours"] for hole in told["uncommitted"]] == [48.0]
    assert [change["by"] for change in told["timetableChanges"]] == ["root@here"]
    whole = affidavit("continuity", "--config", str(config), "--from", "2026-03-03", "--to", "2026-03-04")
    assert whole.code == 0, whole


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
