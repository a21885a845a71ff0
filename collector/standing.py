"""How findings stand on a day after their run: what was read too long ago tells nothing about that day. Pure.

A verdict is of its run: sealed, and never changed. How it *stands* is another fact, told as of the moment of the
report: whatever rests on a list that was read longer ago than its maximum age counts as UNKNOWN there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collector.controls import Result
from collector.grades import scopes
from collector.model import Outcome, Row, instant, stamp

MAX_AGE_H = 26
"""Hours, where a run sealed none: a day between two runs, and two hours for being late and for the reading itself."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A list that was read too long ago."""

    dataset: str
    scope: str
    read: datetime
    """When the first of its replies was asked for."""
    limit_h: int
    age_h: int

    @property
    def reason(self) -> str:
        """In words."""
        return f"stale: last read {stamp(self.read)}, {self.age_h} hours before, limit {self.limit_h}"

    def as_row(self) -> Row:
        """How it is written in reports."""
        return {
            "dataset": self.dataset, "scope": self.scope, "read": stamp(self.read), "limit_h": self.limit_h,
            "age_h": self.age_h, "reason": self.reason,
        }  # fmt: skip


def stale_lists(
    plan: Mapping[str, Any],
    populations: Iterable[Mapping[str, Any]],
    replies: Iterable[Mapping[str, Any]],
    at: datetime,
) -> list[Stale]:
    """The lists of a run that are older at a moment than they may be; a list without a reply is of the run's begin."""
    sent = {reply["i"]: reply["t"] for reply in replies if reply.get("t")}
    usual = int(plan.get("limits", {}).get("max_age_h", MAX_AGE_H))
    own = {source["id"]: source["maxAgeH"] for source in plan.get("sources", ()) if source.get("maxAgeH")}
    found = []
    for population in populations:
        times = [sent[number] for number in population["replies"] if number in sent] or [plan.get("asOf")]
        if times[0] is None:
            continue
        read, limit = min(map(instant, times)), own.get(population["dataset"], usual)
        if at - read > timedelta(hours=limit):
            hours = int((at - read) / timedelta(hours=1))
            found.append(Stale(population["dataset"], population["scope"], read, limit, hours))
    return found


def standing(
    findings: Iterable[Mapping[str, Any]], checks: Mapping[str, Mapping[str, Any]], stale: Sequence[Stale]
) -> list[Row]:
    """The findings, each with the outcome it stands with, and why where that is not the one of the run."""
    by_place: dict[tuple[str, str], Stale] = {}
    anywhere: dict[str, Stale] = {}
    for one in stale:
        anywhere.setdefault(one.dataset, one)
        for scope in scopes(one.scope):
            by_place.setdefault((one.dataset, scope), one)
    rows: list[Row] = []
    for finding in findings:
        check = checks.get(finding["check"], {})
        datasets = check.get("datasets", ())
        found = [by_place.get((dataset, finding["scope"])) for dataset in datasets]
        if check.get("each"):
            found += [anywhere.get(dataset) for dataset in datasets[1:]]
        old = next((one for one in found if one is not None), None)
        if old is None or finding["outcome"] == Outcome.ERROR:
            rows.append({**finding, "standing": finding["outcome"], "standing_reason": ""})
        else:
            rows.append({**finding, "standing": str(Outcome.UNKNOWN), "standing_reason": old.reason})
    return rows


def control_standing(control: Mapping[str, Any], findings: Iterable[Mapping[str, Any]]) -> str:
    """The result a control stands with: what is stale is not read, and an exception that still stands is never hidden.

    Args:
        control: as sealed.
        findings: of the checks its counted rows name, as :func:`standing` gave them.
    """
    outcomes = Counter(str(finding["standing"]) for finding in findings)
    old = any(finding["standing_reason"] for finding in findings)
    if not old:
        return str(control["result"])
    return str(Result.EXCEPTIONS if outcomes[Outcome.FAIL] else Result.NOT_COLLECTED)


def counted(control: Mapping[str, Any]) -> set[str]:
    """The checks a control depends on."""
    return {
        row["check"] for row in control["rows"] if row.get("planned", True) and row.get("strength") != "context"
    }
