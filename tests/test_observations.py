"""Crammed evidence raises questions; honest evidence raises none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from collector.observations import Sight, observe

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=365)


def run(
    number: int, day: float, rows: int = 7, root: str = "", reasons: int = 3, fact_days: float | None = None
) -> Sight:
    opened = START + timedelta(days=day)
    populations = [{"task": "aws.s3.buckets@p", "rows": rows, "root": root or f"r{number}"}]
    findings: list[dict[str, Any]] = [
        {"check": "c", "outcome": "PASS", "reason": f"size {n % reasons}"} for n in range(40)
    ]
    fact = None if fact_days is None else opened - timedelta(days=fact_days)
    return Sight(number, opened, populations, findings, fact)


def kinds(runs: list[Sight]) -> set[str]:
    return {each.kind for each in observe(runs, START, END)}


def test_an_honest_year_raises_no_question() -> None:
    assert kinds([run(number, number * 7.0, rows=7 + number % 3) for number in range(52)]) == set()


def test_evidence_made_for_the_audit_is_seen() -> None:
    crammed = [run(number, 340 + number, rows=100, root="same", reasons=1, fact_days=40) for number in range(12)]
    found = observe(crammed, START, END)
    assert {each.kind for each in found} == {
        "clustered before the audit", "a list that never changes", "identical in every case",
        "older than its collection", "a round number",
    }  # fmt: skip
    told = {each.kind: each.statistic for each in found}
    assert told["clustered before the audit"] == "12 of 12 runs in the last 30 of 365 days"
    assert told["a list that never changes"] == "the same 100 records in 12 runs"
    assert told["identical in every case"] == "40 of 40 resources pass as: size 0"
    assert told["older than its collection"] == "its facts are 40 days older than the run"


def test_few_runs_prove_nothing() -> None:
    assert "clustered before the audit" not in kinds([run(1, 350), run(2, 351)])
    assert observe([], START, END) == []
