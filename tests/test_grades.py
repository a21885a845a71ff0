"""A grade says how far a finding can be checked."""

from __future__ import annotations

from typing import Any

import pytest

from collector.grades import grade, graded

PASS = {"check": "c", "scope": "aws/eu", "outcome": "PASS", "evidence": [1]}


@pytest.mark.parametrize(
    ("finding", "bases", "anchored", "letter"),
    [
        (PASS, ["count-reconciled"], True, "A"),
        (PASS, ["independent-source", "count-reconciled"], True, "A"),
        (PASS, ["count-reconciled", "terminal-page"], True, "B"),
        (PASS, ["terminal-page"], True, "B"),
        (PASS, ["count-reconciled"], False, "C"),
        (PASS, ["terminal-page", "unproven"], True, "D"),
        (PASS, [], True, "D"),
        ({**PASS, "evidence": []}, ["terminal-page"], True, "D"),
        ({**PASS, "outcome": "UNKNOWN"}, ["count-reconciled"], True, "D"),
    ],
)
def test_the_weakest_part_makes_the_grade(
    finding: dict[str, Any], bases: list[str], anchored: bool, letter: str
) -> None:
    found, reason = grade(finding, bases, anchored=anchored)
    assert found == letter
    assert reason


def test_the_reason_tells_a_count_from_another_source() -> None:
    said = {basis: grade(PASS, [basis], anchored=True)[1] for basis in ("count-reconciled", "independent-source")}
    assert "an independent count," in said["count-reconciled"]
    assert "an independent source," in said["independent-source"]


def test_a_question_over_an_account_rests_on_all_its_regions() -> None:
    populations = [
        {"dataset": "d", "scope": "aws/eu", "basis": "terminal-page"},
        {"dataset": "d", "scope": "aws/us", "basis": "unproven"},
    ]
    rows = graded([PASS, {**PASS, "scope": "aws"}, {**PASS, "scope": "run"}], populations, {"c": ["d"]}, anchored=True)
    assert [row["grade"] for row in rows] == ["B", "D", "D"]


def test_what_the_organisation_wrote_itself_is_no_better_than_c() -> None:
    finding = {"check": "c", "scope": "s", "outcome": "PASS", "evidence": [1]}
    both = ("register.a", "okta.users")
    populations = [{"dataset": name, "scope": "s", "basis": "count-reconciled"} for name in both]
    for asked, letter in ((["register.a"], "C"), (["register.a", "okta.users"], "A"), (["okta.users"], "A")):
        (row,) = graded([finding], populations, {"c": asked}, anchored=True)
        assert row["grade"] == letter
        assert ("own record" in row["grade_reason"]) == (letter == "C")
