"""What a run no longer shows (left out, withheld, erased), and what therefore cannot be re-performed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from collector.api import Check
from collector.model import GAP_KEY, GapKind, Outcome, Shard
from collector.plan import IDENTITY
from evidence_store.spans import MASK

REASON = "the field is left out of what is shown of this run"
WEAKER = {
    "count-reconciled": ("terminal-page",), "independent-source": ("count-reconciled", "terminal-page"),
}  # fmt: skip
"""What a population rests on where a list or count it was held against is not shown."""


class Shown(Protocol):
    """A run as far as it is shown: from a store, from a bundle, or with fields left out."""

    def absent(self) -> Mapping[int, str]:
        """Why, by number of each reply that is not shown whole."""

    def hidden_results(self) -> int:
        """How many result lines are withheld."""

    def replies(self) -> Iterator[dict[str, Any]]:
        """The reply lines that are shown."""

    def results(self) -> Iterator[dict[str, Any]]:
        """The result lines that are shown."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Which tasks of a run were read from replies that are not shown whole."""

    tasks: frozenset[str]
    hidden_results: int
    why: Mapping[int, str]
    """By number of the reply."""

    @classmethod
    def of(cls, run: Shown) -> LeftOut:
        """What is left out of a run."""
        why = run.absent()
        if not why:
            return cls(frozenset(), run.hidden_results(), why)
        populations = [line for line in run.results() if line["kind"] == "population"]
        tasks = {str(line["task"]) for line in run.replies() if line["i"] in why}
        tasks |= {str(line["task"]) for line in populations if not why.keys().isdisjoint(line["replies"])}
        # Nothing is read by a connection that cannot say any more with which identity it asked.
        nameless = {place for name, _, place in (task.partition("@") for task in tasks) if name in IDENTITY.values()}
        tasks |= {str(line["task"]) for line in populations if any(_within(line["scope"], one) for one in nameless)}
        return cls(frozenset(tasks), run.hidden_results(), why)

    def excused(
        self,
        pairs: Sequence[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]],
        checks: Mapping[str, Check],
        masked: frozenset[str],
    ) -> list[bool]:
        """Whether each difference, as sealed and as it came out again, only says that something is not shown.

        A verdict that came out PASS or FAIL, and otherwise than it was sealed, is never excused.
        """
        silent: set[str] = set()
        told = []
        for sealed, again in pairs:
            line = sealed or again or {}
            told.append(self._excused(line, again, checks, masked))
            if told[-1] and line["kind"] == "finding":
                silent.add(line["check"])
        unheld = {dataset for check in silent if check in checks for dataset in checks[check].reconciles}
        for place, (sealed, again) in enumerate(pairs):
            line = sealed or again or {}
            if line["kind"] == "control" and not silent.isdisjoint(row["check"] for row in line["rows"]):
                told[place] = True
            elif line["kind"] == "population" and line["dataset"] in unheld:
                told[place] = told[place] or again in _weaker(line)
        unseen = [place for place, (sealed, _) in enumerate(pairs) if sealed is None and not told[place]]
        # Withheld lines come out again, and there is nothing to compare them with.
        if len(unseen) <= self.hidden_results:
            for place in unseen:
                told[place] = True
            more = sum(1 for sealed, _ in pairs if sealed is None)
            for place, (sealed, again) in enumerate(pairs):
                if sealed and again and sealed["kind"].endswith(" lines"):
                    told[place] = 0 < int(again["kind"].split()[0]) - int(sealed["kind"].split()[0]) == more
        return told

    def _excused(
        self,
        line: Mapping[str, Any],
        again: Mapping[str, Any] | None,
        checks: Mapping[str, Check],
        masked: frozenset[str],
    ) -> bool:
        match line["kind"]:
            case "finding":
                unknown = again is None or again["outcome"] == Outcome.UNKNOWN or MASK.search(again["resource"])
                return bool(unknown) and self._rests_on(checks.get(line["check"]), line)
            case "gap":
                return f"{line['dataset']}@{line['scope']}" in self.tasks
            case "population":
                if self.hidden_results and again in _weaker(line):
                    return True  # what it was held against is withheld; the list itself came out the same
                unread = again is not None and (again["gap"] is not None or line["task"] in masked)
                return unread and line["task"] in self.tasks
        return False

    def _rests_on(self, check: Check | None, line: Mapping[str, Any]) -> bool:
        """Whether a finding cites what is left out, or its check reads a list there that is not shown whole."""
        if not self.why.keys().isdisjoint(line["evidence"]):
            return True
        for task in self.tasks if check else ():
            dataset, _, place = task.partition("@")
            if check and dataset in check.beside:  # it stands beside each record from wherever it was read
                return True
            if check and dataset in check.datasets and (line["scope"] == "run" or _within(place, line["scope"])):
                return True
        return False


def _within(scope: str, place: str) -> bool:
    """Whether a scope is a place, or lies below it."""
    return scope == place or scope.startswith(f"{place}/")


def _weaker(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A population as it is told where what it was held against is not shown."""
    return [{**line, "basis": basis} for basis in WEAKER.get(line["basis"], ())]


def mark(shards: Sequence[Shard], tasks: frozenset[str]) -> frozenset[str]:
    """Fields that are left out become refused parts of their rows; the tasks whose record keys are left out."""
    masked = set()
    for shard in shards:
        if shard.path is None or shard.task.id not in tasks:
            continue
        lines = [orjson.loads(line) for line in shard.path.read_bytes().splitlines()]
        if any(MASK.search(line["key"]) for line in lines):
            masked.add(shard.task.id)
        for line in lines:
            line["row"] = {name: _marked(value) for name, value in line["row"].items()}
        shard.path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return frozenset(masked)


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        gap = {"kind": str(GapKind.LEFT_OUT), "reason": REASON, "operation": ""}
        return {GAP_KEY: gap} if MASK.search(value) else value
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        if any(MASK.search(name) for name in value):
            return _marked("".join(value))
        return {name: _marked(item) for name, item in value.items()}
    return value
