"""A waiver is a second fact beside a finding: it ends, it can be withdrawn, and nothing passes by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.diff import Cause, Change, _beside, _told
from collector.errors import ConfigError
from collector.model import stamp
from collector.suppressions import suppressed
from collector.waivers import LONGEST, beside, facts, holds, waivers
from tests.report_sample import LATER, sample, waiver_of
from tests.test_suppressions import PLAN

FINDING = {"check": "aws.s3.versioning", "resource": "logs", "scope": "prod/eu", "outcome": "FAIL", "reason": "off"}
BACK = {"kind": "waiver", "index": 60, "recordedOn": "2026-02-20T00:00:00.000Z", "withdraws": 52, "by": "R. Roe",
        "reason": "mended"}  # fmt: skip
NOW = datetime(2026, 2, 10, 8, tzinfo=UTC)


def state(*notes: dict[str, Any], at: datetime = LATER) -> str:
    (row,) = beside([FINDING], waivers(notes, at)[0], at)
    assert row["outcome"] == "FAIL"
    return str(row["waiver"]["state"]) if "waiver" in row else ""


def test_a_waiver_holds_until_its_last_day_is_over_or_it_is_withdrawn() -> None:
    given = waiver_of(FINDING)
    assert state(given) == "active"
    assert state(given, at=datetime(2026, 5, 31, 23, 59, tzinfo=UTC)) == "active"
    assert state(given, at=datetime(2026, 6, 1, tzinfo=UTC)) == "expired"
    assert state(given, BACK) == "withdrawn"
    assert state(given, BACK, at=datetime(2026, 2, 19, tzinfo=UTC)) == "active", "as of a day before"
    assert state(given, at=datetime(2026, 2, 10, 8, tzinfo=UTC)) == "", "it was not recorded yet"


@pytest.mark.parametrize(
    "other",
    [
        {"check": "aws.s3.encryption"}, {"resource": "log"}, {"scope": "prod/us"}, {"outcome": "UNKNOWN"},
        {"outcome": "PASS"}, {"outcome": "ERROR"},
    ],
)  # fmt: skip
def test_it_speaks_of_one_exception_and_of_nothing_unread(other: dict[str, str]) -> None:
    given = waivers([waiver_of(FINDING, scope="prod/eu")], LATER)[0]
    assert holds(beside([FINDING], given, LATER)[0])
    assert beside([{**FINDING, **other}], given, LATER) == [{**FINDING, **other}]


def test_one_that_holds_is_told_before_one_that_ended() -> None:
    old, new = waiver_of(FINDING, 52), waiver_of(FINDING, 53, until="2026-02-12T00:00:00.000Z")
    (row,) = beside([FINDING], waivers([old, new], LATER)[0], LATER)
    assert (row["waiver"]["leaf"], row["waiver"]["state"]) == (52, "active")


def test_a_leaf_of_another_shape_is_named_and_waives_nothing() -> None:
    assert waivers([{"kind": "waiver", "index": 7, "recordedOn": "2026-02-10T00:00:00.000Z", "id": "W-1"}], LATER) == (
        [], [7],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"until": NOW}, "would have ended"),
        ({"until": NOW + LONGEST + timedelta(seconds=1)}, "more than 366 days"),
        ({"reason": " "}, "a reason"),
        ({"by": ""}, "a name"),
    ],
)
def test_a_waiver_ends_and_says_why_and_by_whom(changes: dict[str, Any], what: str) -> None:
    given: dict[str, Any] = {
        "check": "c", "resource": "r", "scope": "", "until": NOW + LONGEST, "reason": "moving", "by": "J. Doe",
        "ticket": "", "now": NOW,
    }  # fmt: skip
    assert facts(**given)["until"] == stamp(NOW + LONGEST)
    with pytest.raises(ConfigError, match=what):
        facts(**{**given, **changes})


def test_no_waiver_makes_a_pass_or_a_control_met() -> None:
    made = sample()
    failing = [line for line in made.lines if line["kind"] == "finding" and line["outcome"] == "FAIL"]
    plain = made.report()
    told = made.report(notes=[waiver_of(line, 50 + n) for n, line in enumerate(failing)], at=LATER)
    assert told.waived == len(failing) > 1
    assert told.counts == plain.counts
    assert told.frameworks == plain.frameworks
    hit = [row for row in told.controls if row["waived"]]
    assert hit
    for row in hit:
        assert (row["result"], row["waived"]) == ("exceptions", row["failing"])
    assert all(finding["outcome"] == "FAIL" for finding in told.findings if "waiver" in finding)


def test_the_page_of_what_was_not_shown_lists_waivers_and_what_was_taken_back() -> None:
    rows = suppressed(PLAN, [waiver_of(FINDING), BACK])
    assert [(row["what"], row["reason"]) for row in rows if row.get("leaf") in (52, 60)] == [
        ("waiver", "aws.s3.versioning on logs until 2026-06-01T00:00:00.000Z: being moved (CHG-7)"),
        ("waiver withdrawn", "leaf 52 no longer holds: mended"),
    ]


def test_a_report_tells_of_waivers_that_came_after_the_run_and_of_no_other_later_leaf() -> None:
    late = {"kind": "gap", "index": 70, "recordedOn": "2026-02-20T00:00:00.000Z", "reason": "host was down"}
    told = sample().report(notes=[waiver_of(FINDING), late], at=LATER)
    assert {row["leaf"] for row in told.suppressions if "leaf" in row} == {52}


def test_diff_tells_what_was_let_stand_between_two_runs() -> None:
    given = waivers([waiver_of(FINDING), BACK], LATER)[0]
    early, between, late = (datetime(2026, month, 15, tzinfo=UTC) for month in (1, 2, 7))
    assert list(_told(given, early, between)) == [
        "waived: aws.s3.versioning logs under leaf 52 by J. Doe until 2026-06-01T00:00:00.000Z: being moved"
    ]
    assert list(_told(given, between, late)) == [
        "waiver withdrawn: aws.s3.versioning logs under leaf 52 by R. Roe: mended"
    ]
    kept = waivers([waiver_of(FINDING)], late)[0]
    assert list(_told(kept, between, late)) == [
        "waiver ended: aws.s3.versioning logs under leaf 52 at 2026-06-01T00:00:00.000Z"
    ]
    change = Change("aws.s3.versioning", "logs", "prod/eu", Cause.WORLD, "PASS", "FAIL", "off")
    assert str(_beside(change, kept, LATER)).endswith("; off; waived under leaf 52 until 2026-06-01T00:00:00.000Z")
    assert _beside(change, kept, late) == change
