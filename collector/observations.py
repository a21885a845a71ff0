"""Signs that evidence was made for the audit rather than by the work: statistics an auditor may ask about. Pure.

An observation is a question, never a verdict: each comes with the numbers it rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from collector.attachments import Attachment

CLUSTER_DAYS = 30
"""Days before an audit in which evidence would cluster if it were made for the audit."""

CLUSTER_SHARE = 0.6
"""Part of the runs in those days from which they cluster, where the period is at least three times as long."""

SAME_RUNS = 10
"""Runs over which a list that never changes is worth a question."""

SAME_REASONS = 20
"""Findings with the very same words, over different resources, from which they are worth a question."""

OLD_DAYS = 7
"""Days before its collection from which the age of facts is worth a question."""

ROUND = 50
"""A list of at least this many records whose number is a multiple of it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Something to ask about."""

    kind: str
    about: str
    statistic: str
    """The numbers, in words."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What an observation may look at of one run."""

    number: int
    opened: datetime
    populations: Sequence[Mapping[str, Any]]
    findings: Sequence[Mapping[str, Any]]
    facts: Mapping[str, datetime] = field(default_factory=dict)
    """The latest time that the facts of a task are of, where they say so."""


def observe(
    runs: Sequence[Sight],
    start: datetime,
    end: datetime,
    audit: datetime | None = None,
    stated: Sequence[Attachment] = (),
) -> list[Observation]:
    """Everything worth a question about the complete runs of a period, oldest first, and about what people stated."""
    return [
        *_clustered(runs, start, audit or end), *_unchanging(runs), *_identical(runs), *_older(runs), *_round(runs),
        *_dated(stated, start, audit or end),
    ]  # fmt: skip


def _clustered(runs: Sequence[Sight], start: datetime, audit: datetime) -> Iterator[Observation]:
    period = audit - start
    if len(runs) < 3 or period < 3 * timedelta(days=CLUSTER_DAYS):
        return
    late = sum(run.opened >= audit - timedelta(days=CLUSTER_DAYS) for run in runs)
    if late / len(runs) >= CLUSTER_SHARE:
        told = f"{late} of {len(runs)} runs in the last {CLUSTER_DAYS} of {period.days} days"
        yield Observation("clustered before the audit", "runs", told)


def _unchanging(runs: Sequence[Sight]) -> Iterator[Observation]:
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        for population in run.populations:
            if population["rows"] and population.get("root"):
                seen.setdefault(population["task"], []).append(population)
    for task, lists in sorted(seen.items()):
        if len(lists) >= SAME_RUNS and len({each["root"] for each in lists}) == 1:
            yield Observation(
                "a list that never changes", task, f"the same {lists[0]['rows']} records in {len(lists)} runs"
            )


def _identical(runs: Sequence[Sight]) -> Iterator[Observation]:
    if not runs:
        return
    words = Counter(
        (finding["check"], finding["reason"]) for finding in runs[-1].findings if finding["outcome"] == "PASS"
    )
    totals = Counter(finding["check"] for finding in runs[-1].findings if finding["outcome"] == "PASS")
    for (check, reason), count in sorted(words.items()):
        if count >= SAME_REASONS and count == totals[check]:
            yield Observation("identical in every case", check, f"{count} of {count} resources pass as: {reason}")


def _older(runs: Sequence[Sight]) -> Iterator[Observation]:
    for run in runs:
        for task, newest in sorted(run.facts.items()):
            if run.opened - newest > timedelta(days=OLD_DAYS):
                told = f"its facts are {(run.opened - newest).days} days older than the run"
                yield Observation("older than its collection", f"run {run.number}, {task}", told)


def _round(runs: Sequence[Sight]) -> Iterator[Observation]:
    if not runs:
        return
    for population in runs[-1].populations:
        rows = population["rows"]
        if rows >= ROUND and rows % ROUND == 0:
            yield Observation("a round number", population["task"], f"{rows} records")


def _dated(stated: Sequence[Attachment], start: datetime, audit: datetime) -> Iterator[Observation]:
    """Statements whose dates do not fit the day they were recorded on, and such as came shortly before the audit."""
    for one in stated:
        for flag in one.flags:
            yield Observation("dates of a statement", f"leaf {one.leaf}", f"{one.title}: {flag}")
    late = [one for one in stated if audit - timedelta(days=CLUSTER_DAYS) <= one.recorded <= audit]
    inside = [one for one in stated if start <= one.recorded <= audit]
    enough = len(inside) >= 3 and audit - start >= 3 * timedelta(days=CLUSTER_DAYS)
    if enough and len(late) / len(inside) >= CLUSTER_SHARE:
        told = f"{len(late)} of {len(inside)} in the last {CLUSTER_DAYS} of {(audit - start).days} days"
        yield Observation("clustered before the audit", "statements", told)


def sight(
    number: int, opened: datetime, lines: Iterable[Mapping[str, Any]], facts: Mapping[str, datetime]
) -> Sight:
    """A run as an observation sees it, from its result lines and the newest time that the facts of each task are of."""
    populations, findings = [], []
    for line in lines:
        if line["kind"] == "population":
            populations.append(line)
        elif line["kind"] == "finding":
            findings.append(line)
    return Sight(number, opened, populations, findings, facts)
