"""What people state: how it stands on a day, what is odd about its dates, and that it is no part of a verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.attachments import LONGEST, State, attachments, evidence, facts
from collector.errors import ConfigError
from collector.observations import observe
from tests.report_sample import LATER, STATED, attached, body, sample

KEY = ("iso-27001", "2022+amd1", "A.7.1")
NOW = datetime(2026, 2, 10, 8, tzinfo=UTC)


def only(*notes: dict[str, Any], at: datetime = LATER) -> Any:
    found, unread = attachments(notes, at)
    assert unread == []
    (one,) = found
    return one


@pytest.mark.parametrize(
    ("at", "state", "words"),
    [
        ("2026-03-01T00:00:00Z", State.VALID, "valid"),
        ("2026-11-30T23:59:59Z", State.VALID, "valid"),
        ("2026-12-01T00:00:00Z", State.EXPIRING, "expires in 30 days"),
        ("2026-12-30T23:00:00Z", State.EXPIRING, "expires in less than a day"),
        ("2026-12-31T00:00:00Z", State.EXPIRED, "expired less than a day ago"),
        ("2027-01-10T00:00:00Z", State.EXPIRED, "expired 10 days ago"),
    ],
)
def test_a_statement_is_valid_until_its_last_day_is_over(at: str, state: State, words: str) -> None:
    one = only(attached(50, "A.7.1"))
    moment = datetime.fromisoformat(at)
    assert (one.state(moment), one.words(moment)) == (state, words)
    assert one.as_row(moment)["standing"] is (state in (State.VALID, State.EXPIRING))


def test_what_is_not_yet_effective_withdrawn_or_erased_is_no_evidence() -> None:
    future = only(attached(50, "A.7.1", effective="2026-04-01T00:00:00.000Z"))
    assert future.words(LATER) == "not yet valid, effective in 31 days"
    back = {"kind": "attachment", "index": 51, "recordedOn": "2026-02-20T00:00:00.000Z", "withdraws": 50,
            "by": "R. Roe", "reason": "replaced"}  # fmt: skip
    assert only(attached(50, "A.7.1"), back).words(LATER) == "withdrawn under leaf 51 by R. Roe: replaced"
    before = datetime(2026, 2, 19, tzinfo=UTC)
    assert only(attached(50, "A.7.1"), back, at=before).state(before) is State.VALID, "as of a day before"
    gone = {"kind": "redaction", "index": 52, "recordedOn": "2026-02-21T00:00:00.000Z", "objects": [body(950)]}
    assert only(attached(50, "A.7.1"), gone).words(LATER) == "erased under leaf 52"
    for note in (back, gone):
        assert only(attached(50, "A.7.1"), note).as_row(LATER)["standing"] is False


def test_a_statement_counts_only_from_when_it_was_recorded() -> None:
    assert attachments(STATED, datetime(2026, 2, 10, 7, tzinfo=UTC)) == ([], [])
    assert len(attachments(STATED, LATER)[0]) == 2


def test_a_leaf_that_cannot_be_read_is_named() -> None:
    broken = attached(50, "A.7.1")
    del broken["validUntil"]
    assert attachments([broken], LATER) == ([], [50])
    report = sample().report(notes=[broken], at=LATER)
    assert any("leaf 50 states something" in warning for warning in report.seal.warnings)


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"effective": "2026-01-11T08:00:00.000Z"}, []),
        ({"effective": "2026-01-11T07:00:00.000Z"}, ["effective 30 days before it was recorded"]),
        ({"effective": "2026-02-11T08:00:00.000Z"}, ["recorded 1 day before it takes effect"]),
        (
            {"effective": "2026-02-10T08:00:00.000Z", "to": "2026-03-12T08:00:00.000Z"},
            ["speaks of 30 days that had not come when it was recorded"],
        ),
        (
            {"effective": "2026-02-09T08:00:00.000Z", "validUntil": "2026-02-10T08:00:00.000Z"},
            ["had expired when it was recorded"],
        ),
    ],
)
def test_dates_that_do_not_fit_are_told(changes: dict[str, str], flags: list[str]) -> None:
    one = only(attached(50, "A.7.1", **changes))
    assert list(one.flags) == flags
    told = observe([], datetime(2026, 1, 1, tzinfo=UTC), LATER, None, [one])
    assert [each.statistic.partition(": ")[2] for each in told] == flags


def test_statements_that_come_just_before_the_audit_are_worth_a_question() -> None:
    start = datetime(2025, 9, 1, tzinfo=UTC)
    stated = attachments([attached(n, "A.7.1", effective="2026-02-10T00:00:00.000Z") for n in range(3)], LATER)[0]
    told = observe([], start, LATER, None, stated)
    assert [(each.kind, each.statistic) for each in told] == [
        ("clustered before the audit", "3 of 3 in the last 30 of 181 days")
    ]
    assert observe([], start, LATER, None, stated[:2]) == [], "two say nothing"


def stated(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "form": "file", "name": "a.pdf", "title": "", "controls": [KEY], "start": None, "end": None,
        "effective": None, "valid_until": NOW + timedelta(days=300), "by": "J. Doe", "role": "", "now": NOW,
    }  # fmt: skip
    return facts(**{**given, **changes})


def test_what_is_not_said_is_taken_from_the_moment_of_recording() -> None:
    told = stated()
    assert (told["title"], told["from"], told["to"], told["effective"]) == ("a.pdf", *["2026-02-10T08:00:00.000Z"] * 3)
    assert told["controls"] == [{"framework": "iso-27001", "edition": "2022+amd1", "id": "A.7.1"}]
    early = stated(effective=NOW - timedelta(days=9))
    assert (early["from"], early["to"]) == ("2026-02-01T08:00:00.000Z", "2026-02-10T08:00:00.000Z")
    late = stated(effective=NOW + timedelta(days=9))
    assert (late["from"], late["to"]) == ("2026-02-19T08:00:00.000Z", late["validUntil"])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"by": " "}, "nobody states it"),
        ({"title": "x" * (LONGEST + 1)}, "cannot stand in a leaf"),
        ({"role": "a\nb"}, "cannot stand in a leaf"),
        ({"start": NOW, "end": NOW - timedelta(seconds=1)}, "ends before it begins"),
        ({"effective": NOW + timedelta(days=300)}, "expire before it takes effect"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        stated(**changes)


def test_a_word_beside_a_control_changes_nothing_that_was_read() -> None:
    plain, told = sample().report(at=LATER), sample().report(notes=STATED, at=LATER)
    before = {(row["framework"], row["edition"], row["id"]): row for row in plain.controls}
    for row in told.controls:
        old = before[row["framework"], row["edition"], row["id"]]
        for name in ("result", "strength", "incomplete", "reason", "standing"):
            assert row[name] == old[name], row["id"]
    assert told.counts == plain.counts
    by_id = {row["id"]: row for row in told.controls if row["framework"] == "iso-27001"}
    assert (by_id["A.7.1"]["evidence"], by_id["A.7.1"]["human"]) == ("human evidence only", [50])
    assert by_id["A.7.1"]["result"] == "not_collected"
    assert (by_id["A.7.2"]["evidence"], by_id["A.7.2"]["human"]) == ("human evidence, none of it valid", [51])
    assert (by_id["A.7.3"]["evidence"], by_id["A.7.3"]["human"]) == ("none", [])
    assert by_id["A.8.3"]["evidence"] == "machine evidence"


def test_both_kinds_of_evidence_are_told_apart() -> None:
    row = {"check": "c", "planned": True, "result": "met"}
    valid, expired = {"standing": True}, {"standing": False}
    assert evidence({"rows": [row]}, [valid]) == "machine and human evidence"
    assert evidence({"rows": [row]}, [expired]) == "machine evidence"
    assert evidence({"rows": [{**row, "planned": False}]}, [valid]) == "human evidence only"
    assert evidence({"rows": [{**row, "result": "not_collected"}]}, [valid]) == "human evidence only"
