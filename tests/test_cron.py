"""Slots of cron lines: as crontab(5) reads them, and neither lost nor doubled when the clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.cron import Cron, next_slot, shortest_interval, slots_between

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def slots(line: str, start: str, end: str, zone: ZoneInfo = BERLIN) -> list[str]:
    found = slots_between(Cron.parse(line), zone, at(start), at(end))
    return [slot.strftime("%m-%d %H:%M") for slot in found]


def test_a_nightly_slot_moves_with_summer_time() -> None:
    assert slots("15 3 * * *", "2026-03-27", "2026-03-31") == [
        "03-27 02:15", "03-28 02:15", "03-29 01:15", "03-30 01:15",
    ]  # fmt: skip


def test_a_slot_that_spring_skips_is_due_once() -> None:
    """02:15 does not exist on 29 March 2026: the run starts 75 minutes after 01:00, which the clock calls 03:15."""
    assert slots("15 2 * * *", "2026-03-28T12:00", "2026-03-30T12:00") == ["03-29 01:15", "03-30 00:15"]
    assert slots("15 2,3 * * *", "2026-03-29", "2026-03-29T23:00") == ["03-29 01:15"], "two names of one moment"


def test_a_slot_that_autumn_repeats_is_due_once() -> None:
    assert slots("15 2 * * *", "2026-10-24T12:00", "2026-10-26T12:00") == ["10-25 00:15", "10-26 01:15"]


def test_a_line_for_every_hour_follows_the_hours_that_pass() -> None:
    assert slots("30 * * * *", "2026-03-29T00:00", "2026-03-29T03:00") == ["03-29 00:30", "03-29 01:30", "03-29 02:30"]
    assert slots("30 * * * *", "2026-10-24T23:00", "2026-10-25T03:00") == [
        "10-24 23:30", "10-25 00:30", "10-25 01:30", "10-25 02:30",
    ]  # fmt: skip


def test_a_day_that_a_zone_skipped_is_not_doubled() -> None:
    """Samoa had no 30 December 2011."""
    found = slots("0 12 * * *", "2011-12-28", "2012-01-02", ZoneInfo("Pacific/Apia"))
    assert found == ["12-28 22:00", "12-29 22:00", "12-30 22:00", "12-31 22:00", "01-01 22:00"]


def test_start_is_open_and_end_is_closed() -> None:
    assert slots("0 0 * * *", "2026-01-01", "2026-01-02", ZoneInfo("UTC")) == ["01-02 00:00"]
    assert slots("0 0 * * *", "2026-01-02", "2026-01-01", ZoneInfo("UTC")) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0 * * sun", ["01-04 00:00"]),
        ("0 0 * * 7", ["01-04 00:00"]),
        ("0 0 * * 0", ["01-04 00:00"]),
        ("0 0 * * mon-wed", ["01-05 00:00", "01-06 00:00", "01-07 00:00"]),
        ("0 0 * * sat-sun", ["01-03 00:00", "01-04 00:00"]),
        ("0 0 2-4/2 JAN *", ["01-02 00:00", "01-04 00:00"]),
        ("0 0 6 * fri", ["01-02 00:00", "01-06 00:00"]),
        ("0 */8 2 * *", ["01-02 00:00", "01-02 08:00", "01-02 16:00"]),
        ("5/20 9 2 1 *", ["01-02 09:05", "01-02 09:25", "01-02 09:45"]),
        ("0 0 * feb *", []),
    ],
)
def test_lines_mean_what_crontab_says(line: str, expected: list[str]) -> None:
    assert slots(line, "2026-01-01T00:00", "2026-01-07T12:00", ZoneInfo("UTC")) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("@daily", "1 fields"),
        ("60 * * * *", "minute: '60' is not within 0-59"),
        ("* 5-3 * * *", "hour: '5-3' is not within"),
        ("* * 0 * *", "day of month: '0' is not within 1-31"),
        ("* * * 13 *", "month: '13'"),
        ("* * * * 8", "day of week: '8'"),
        ("*/0 * * * *", "step of nothing"),
        ("1,,2 * * * *", "'' is not a number"),
        ("a * * * *", "minute: 'a' is not known"),
        ("\u0661 * * * *", "is not a number"),
        ("-1 * * * *", "is not a number"),
        ("0 0 30 2 *", "no such day"),
        ("0 0 31 4,6,9,11 *", "no such day"),
    ],
)
def test_a_line_that_means_nothing_is_refused(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Cron.parse(line)


def test_the_rarest_day_is_found() -> None:
    cron = Cron.parse("0 0 29 2 *")
    assert next_slot(cron, ZoneInfo("UTC"), at("2096-03-01")) == at("2104-02-29"), "2100 is no leap year"


def test_the_shortest_interval() -> None:
    assert shortest_interval(Cron.parse("0,5 2 * * *"), BERLIN) == timedelta(minutes=5)
    assert shortest_interval(Cron.parse("* * * * *"), BERLIN) == timedelta(minutes=1)
    assert shortest_interval(Cron.parse("0 0 29 2 *"), BERLIN) > timedelta(days=1000)


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
LINES = st.sampled_from(["15 2 * * *", "*/7 * * * *", "30 1,2,3 * * *", "0 0 1,15 * mon", "59 23 * * 0", "0 */3 * * *"])
ZONES = st.sampled_from([ZoneInfo(z) for z in ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")])


@given(LINES, ZONES, MOMENTS, st.integers(0, 3 * 86400), st.integers(0, 3 * 86400))
def test_cutting_a_span_loses_and_doubles_no_slot(
    line: str, zone: ZoneInfo, start: datetime, first: int, second: int
) -> None:
    cron, middle = Cron.parse(line), start + timedelta(seconds=first)
    end = middle + timedelta(seconds=second)
    whole = list(slots_between(cron, zone, start, end))
    assert whole == [*slots_between(cron, zone, start, middle), *slots_between(cron, zone, middle, end)]
    assert all(earlier < later for earlier, later in pairwise(whole))
    assert all(start < slot <= end for slot in whole)


@given(LINES, ZONES, MOMENTS)
def test_every_local_day_has_the_slots_of_its_line(line: str, zone: ZoneInfo, start: datetime) -> None:
    """An independent reading: walk minute by minute and compare the wall clock, away from any change of the clocks."""
    cron = Cron.parse(line)
    end = start + timedelta(hours=26)
    if start.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset():
        return
    minute = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    walked = []
    while minute <= end:
        wall = minute.astimezone(zone)
        if cron.on(wall.date()) and wall.hour in cron.hours and wall.minute in cron.minutes:
            walked.append(minute)
        minute += timedelta(minutes=1)
    offsets = {(start + timedelta(hours=h)).astimezone(zone).utcoffset() for h in range(-3, 30)}
    if len(offsets) == 1:
        assert list(slots_between(cron, zone, start, end)) == walked
