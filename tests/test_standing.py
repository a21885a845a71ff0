"""A verdict is of its run; how it stands later is another fact, and stale evidence tells nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from collector.controls import Result
from collector.model import instant
from collector.standing import MAX_AGE_H, Stale, control_standing, stale_lists, standing
from tests.report_sample import AS_OF, LATER, sample

READ = instant("2026-02-01T02:00:05.000Z")
REPLIES = [{"i": 0, "t": "2026-02-01T02:00:09.000Z"}, {"i": 1, "t": "2026-02-01T02:00:05.000Z"}]
LIST = {"dataset": "aws.s3.buckets", "scope": "prod/1", "replies": [0, 1]}


def stale(at: datetime, plan: dict[str, Any] | None = None) -> list[Stale]:
    return stale_lists(plan or {"asOf": AS_OF}, [LIST], REPLIES, at)


def test_a_list_is_stale_after_its_age_counted_from_its_first_reply() -> None:
    limit = timedelta(hours=MAX_AGE_H)
    assert stale(READ + limit) == []
    (one,) = stale(READ + limit + timedelta(milliseconds=1))
    assert one.reason == "stale: last read 2026-02-01T02:00:05.000Z, 26 hours before, limit 26"


@pytest.mark.parametrize(
    ("plan", "hours"),
    [
        ({"limits": {"max_age_h": 3}}, 3),
        ({"limits": {"max_age_h": 3}, "sources": [{"id": "aws.s3.buckets", "maxAgeH": 200}]}, 200),
        ({"limits": {"max_age_h": 3}, "sources": [{"id": "aws.s3.buckets", "maxAgeH": 0}]}, 3),
        ({"sources": [{"id": "aws.iam.users", "maxAgeH": 200}]}, MAX_AGE_H),
    ],
)
def test_the_limit_is_that_of_the_source_or_else_of_the_sealed_configuration(plan: dict[str, Any], hours: int) -> None:
    assert stale(READ + timedelta(hours=hours), plan) == []
    assert [one.limit_h for one in stale(READ + timedelta(hours=hours, seconds=1), plan)] == [hours]


def test_a_list_whose_replies_are_not_shown_is_as_old_as_its_run() -> None:
    lists = [{**LIST, "replies": [7]}]
    at = instant(AS_OF) + timedelta(hours=MAX_AGE_H)
    assert stale_lists({"asOf": AS_OF}, lists, REPLIES, at) == []
    assert len(stale_lists({"asOf": AS_OF}, lists, REPLIES, at + timedelta(seconds=1))) == 1


def finding(scope: str, outcome: str = "PASS", check: str = "c") -> dict[str, Any]:
    return {"check": check, "resource": "r", "scope": scope, "outcome": outcome}


def test_what_rests_on_a_stale_list_stands_as_unknown_and_nothing_else_does() -> None:
    old = Stale("aws.s3.buckets", "prod/1/eu", READ, 26, 30)
    checks = {
        "c": {"datasets": ["aws.s3.buckets"], "each": True},
        "joined": {"datasets": ["hr.people", "aws.s3.buckets"], "each": True},
        "other": {"datasets": ["aws.iam.users"], "each": True},
    }
    rows = standing(
        [
            finding("prod/1/eu"), finding("prod/1/us"), finding("prod/1", "FAIL"), finding("run", "SKIP"),
            finding("prod/1/eu", "ERROR"), finding("hr", check="joined"), finding("prod/1/eu", check="other"),
        ],
        checks, [old],
    )  # fmt: skip
    assert [row["standing"] for row in rows] == ["UNKNOWN", "PASS", "UNKNOWN", "UNKNOWN", "ERROR", "UNKNOWN", "PASS"]
    assert [bool(row["standing_reason"]) for row in rows] == [True, False, True, True, False, True, False]
    assert [row["outcome"] for row in rows][:3] == ["PASS", "PASS", "FAIL"], "the verdict of the run stays"


def test_a_control_stands_as_not_read_unless_an_exception_still_stands() -> None:
    fresh = {"standing": "PASS", "standing_reason": ""}
    old = {"standing": "UNKNOWN", "standing_reason": "stale"}
    bad = {"standing": "FAIL", "standing_reason": ""}
    assert control_standing({"result": "met"}, [fresh]) == Result.MET
    assert control_standing({"result": "met"}, [fresh, old]) == Result.NOT_COLLECTED
    assert control_standing({"result": "exceptions"}, [old]) == Result.NOT_COLLECTED
    assert control_standing({"result": "exceptions"}, [old, bad]) == Result.EXCEPTIONS


def test_a_report_long_after_its_run_says_so_and_keeps_what_was_sealed() -> None:
    then, later = sample().report(), sample().report(at=LATER)
    assert then.standing == then.counts == later.counts
    assert (then.stale, then.at) == ((), AS_OF)
    assert later.standing["UNKNOWN"] == sum(later.counts.values()) - later.counts["ERROR"]
    assert later.standing["PASS"] == later.standing["FAIL"] == 0
    assert later.frameworks == then.frameworks, "results as sealed"
    changed = [row for row in later.controls if row["standing"] != row["result"]]
    assert changed
    assert {row["standing"] for row in changed} == {"not_collected"}
