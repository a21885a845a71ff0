"""Asks the checks and concludes no more than what was read allows. Pure: same rows, same findings, for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import orjson

from collector.apart import apart
from collector.api import Check
from collector.errors import crash
from collector.model import (
    Finding,
    Outcome,
    Population,
    Proof,
    Record,
    Shard,
    Table,
    Traced,
    Unavailable,
    Verdict,
    instant,
    record,
    stamp,
)

Parameters = Mapping[str, Mapping[str, Any]]
"""Limits that differ from a check's defaults, by check id."""

NONE = "(none)"
ALL = "(all)"
CONCLUSIONS = (Outcome.PASS, Outcome.FAIL, Outcome.SKIP)
SEEN = "; seen here: "
"""Stands in a reason between why nothing is concluded and what was seen of it."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every judgement of a run shares."""

    as_of: datetime
    """Time of collection."""
    parameters: Parameters
    uncertified: Mapping[str, str] = field(default_factory=dict)
    """Checks whose examples no longer come out as they say, and why: only their FAIL counts."""

    apart: str = ""
    """Why the time of collection is not to be relied on anywhere; empty where it is."""

    fresh: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Datasets whose facts have a time of their own: its field, and how many hours old they may be."""

    def stale(self, dataset: str, row: Record) -> str:
        """Why nothing may be concluded from a record; empty when its facts are fresh enough."""
        if dataset not in self.fresh:
            return ""
        name, hours = self.fresh[dataset]
        try:
            of = instant(row[name])
        except (KeyError, TypeError, ValueError, Unavailable):
            return f"the record does not say when it was true ({name})"
        if self.as_of - of <= timedelta(hours=hours):
            return ""
        return f"stale: the facts are of {stamp(of)}, more than {hours} hours before the collection"

    def untimely(self, check: Check, populations: Sequence[Population]) -> str:
        """Why nothing that depends on the time of collection may be concluded; empty when it may, or nothing does."""
        timed = check.wants_as_of or "period" in check.dataset_kinds or self.fresh.keys() & set(check.datasets)
        return (self.apart or apart(populations)) if timed else ""

    def limits(self, check: Check) -> dict[str, Any]:
        """The limits a check is judged by."""
        return {**check.params, **self.parameters.get(check.id, {})}


def judge(checks: Iterable[Check], shards: Sequence[Shard], bench: Bench) -> Iterator[Finding]:
    """Yield the findings of every check over every shard it asks for: at least one for each pair.

    Order: checks of single records by shard, then questions about whole populations; stable for equal input.
    """
    checks = [check for check in checks if not check.retired]
    by_dataset: dict[str, list[Check]] = {}
    for check in checks:
        if check.each:
            by_dataset.setdefault(check.datasets[0], []).append(check)
    whole = {dataset: _Whole(dataset, shards, bench) for check in checks for dataset in check.beside}
    for shard in shards:
        if shard.task.dataset in by_dataset:
            yield from _judge_shard(by_dataset[shard.task.dataset], shard, bench, whole)
    for check in checks:
        if not check.each:
            yield from _judge_over(check, shards, bench)


def _judge_shard(
    checks: Sequence[Check], shard: Shard, bench: Bench, whole: Mapping[str, _Whole]
) -> Iterator[Finding]:
    population = shard.population
    seen = False
    for read in read_rows(shard):
        seen = True
        for check in checks:
            yield _ask_each(check, read, bench, shard, [whole[name] for name in check.beside])
    for check in checks:
        limits = bench.limits(check)
        if population.gap:
            yield Finding(
                check.id,
                ALL,
                shard.task.scope,
                Outcome.UNKNOWN,
                f"the list could not be read: {population.gap.reason}",
                population.replies,
                limits,
            )
        elif not seen:
            told = f"no records in {shard.task.dataset}; the list is complete"
            # Which period a list is of, our clock says; an empty list of how things stand is empty at any time.
            untimely = bench.untimely(check, [population]) if check.dataset_kinds[:1] == ("period",) else ""
            yield Finding(
                check.id,
                NONE,
                shard.task.scope,
                Outcome.UNKNOWN if untimely else Outcome.SKIP,
                untimely or told,
                population.replies,
                limits,
            )


class _Whole:
    """Whatever of a dataset was read in the run, kept once for all the records it stands beside."""

    def __init__(self, dataset: str, shards: Sequence[Shard], bench: Bench) -> None:
        self.dataset = dataset
        self.shards = [shard for shard in shards if shard.task.dataset == dataset]
        self._bench = bench
        self._indexes: dict[str, dict[str, list[int]]] = {}

    @cached_property
    def reads(self) -> list[StoredRow]:
        """Its rows, over all shards."""
        return [read for shard in self.shards for read in read_rows(shard)]

    @cached_property
    def rows(self) -> list[Record]:
        """The records."""
        return [read.row for read in self.reads]

    def table(self, look: _Look) -> Table:
        """How one check sees it, about one record."""

        def note(number: int | None, row: Traced | None) -> None:
            if number is None or row is None:  # that there is none rests on all of it
                look.refs.update(ref for shard in self.shards for ref in shard.population.replies)
            else:
                look.seen.append((self.reads[number], row))
                look.stale = look.stale or self._bench.stale(self.dataset, row)

        return Table(self.rows, indexes=self._indexes, note=note)


@dataclass(slots=True)
class _Look:
    """What the answer about one record rests on beside it, noted while the check reads."""

    stale: str
    refs: set[int] = field(default_factory=set)
    seen: list[tuple[StoredRow, Traced]] = field(default_factory=list)

    def all_refs(self) -> tuple[int, ...]:
        """The replies, in order."""
        return tuple(sorted({*self.refs, *(ref for read, row in self.seen for ref in read.refs_for(row.touched))}))


def _ask_each(check: Check, read: StoredRow, bench: Bench, shard: Shard, whole: Sequence[_Whole]) -> Finding:
    about = read.key, shard.task.scope
    if missing := [one.dataset for one in whole if not one.shards]:
        reason = f"not read in this run: {', '.join(missing)}"
        return Finding(check.id, *about, Outcome.UNKNOWN, reason, read.refs, bench.limits(check))
    row = Traced(read.row)
    look = _Look(bench.stale(shard.task.dataset, read.row), seen=[(read, row)])
    populations = [shard.population, *(other.population for one in whole for other in one.shards)]
    rows = (row, *(one.table(look) for one in whole))
    return _ask(check, rows, bench, about, look.all_refs, populations, lambda: look.stale)


def _judge_over(check: Check, shards: Sequence[Shard], bench: Bench) -> Iterator[Finding]:
    groups: dict[str, list[Shard]] = {}
    for shard in shards:
        if shard.task.dataset in check.datasets:
            groups.setdefault(_group(check, shard), []).append(shard)
    for scope, group in groups.items():
        missing = [dataset for dataset in check.datasets if all(shard.task.dataset != dataset for shard in group)]
        if missing:
            refs = tuple(sorted({ref for shard in group for ref in shard.population.replies}))
            reason = f"not read here: {', '.join(missing)}"
            yield Finding(check.id, scope, scope, Outcome.UNKNOWN, reason, refs, bench.limits(check))
            continue
        rest = _Rest(bench)
        rows = tuple(rest.rows(group, dataset) for dataset in check.datasets)
        yield _ask(check, rows, bench, (scope, scope), rest.refs, [shard.population for shard in group], rest.stale)


class _Rest:
    """What the answer to a question about whole populations rests on, noted while the check reads them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._stale = ""
        self._refs: set[int] = set()
        self._fields: list[tuple[Mapping[str, Sequence[int]], set[str]]] = []

    def rows(self, group: Sequence[Shard], dataset: str) -> Iterator[Record]:
        """The records of a dataset, over all shards of the group."""
        for shard in group:
            if shard.task.dataset == dataset:
                if not shard.population.rows:
                    self._refs.update(shard.population.replies)
                for read in read_rows(shard):
                    row = Traced(read.row)
                    self._stale = self._stale or self._bench.stale(dataset, read.row)
                    self._refs.update(read.refs)
                    if read.parts:
                        self._fields.append((read.parts, row.touched))
                    yield row

    def stale(self) -> str:
        """Why nothing may be concluded: one of the records read was stale."""
        return self._stale

    def refs(self) -> tuple[int, ...]:
        """The replies that were read from, in order."""
        deferred = (ref for parts, touched in self._fields for name in touched for ref in parts.get(name, ()))
        return tuple(sorted({*self._refs, *deferred}))


def _group(check: Check, shard: Shard) -> str:
    if check.across == "region":
        return shard.task.scope
    return shard.task.account_scope if check.across == "account" else "run"


def _ask(
    check: Check,
    rows: tuple[Any, ...],
    bench: Bench,
    about: tuple[str, str],
    refs: Callable[[], tuple[int, ...]],
    populations: Sequence[Population],
    stale: Callable[[], str],
) -> Finding:
    """The finding about a resource in a scope; what is not proven is told as seen, and concludes nothing."""
    outcome, reason = answer(check, rows, bench, about[1])
    evidence, limits = refs(), bench.limits(check)
    unproven = next((population for population in populations if not population.proven), None)
    why = ""
    if unproven:
        gap = unproven.gap
        why = f"the list is incomplete: {gap.reason if gap else 'nothing shows that it is complete'}"
    elif outcome in (Outcome.PASS, Outcome.FAIL) and stale():
        why = stale()
    elif outcome in CONCLUSIONS and (untimely := bench.untimely(check, populations)):
        why = untimely
    elif outcome in (Outcome.PASS, Outcome.SKIP) and check.id in bench.uncertified:
        why = bench.uncertified[check.id]
    elif outcome is Outcome.PASS and not evidence:
        why = "nothing on record shows it"
    if why:
        # A check may break on the part of a list that came: then that part told nothing.
        told = why if outcome is Outcome.ERROR else f"{why}{SEEN}{outcome} ({reason})"
        return Finding(check.id, *about, Outcome.UNKNOWN, told, evidence, limits, seen=str(outcome))
    return Finding(check.id, *about, outcome, reason, evidence, limits, Proof(*populations))


def answer(check: Check, rows: tuple[Any, ...], bench: Bench, scope: str) -> tuple[Outcome, str]:
    """What a check says of rows, with every way it can go wrong as an outcome."""
    try:
        verdict = check(*rows, as_of=bench.as_of, scope=scope, params=bench.limits(check))
        if not isinstance(verdict, Verdict):
            return Outcome.ERROR, f"the check gave {type(verdict).__name__} instead of a verdict"
    except Unavailable as error:
        return Outcome.UNKNOWN, f"could not be read: {error.reason}"
    except Exception as error:  # boundary: a broken check is an ERROR of its own, never a PASS
        return Outcome.ERROR, f"the check broke: {crash(error)}"
    return verdict.outcome, verdict.reason


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row as it was fetched."""

    key: str
    refs: tuple[int, ...]
    """Replies the whole row rests on."""
    parts: Mapping[str, Sequence[int]]
    """Replies one field rests on alone."""
    row: Record

    def refs_for(self, fields: Collection[str]) -> tuple[int, ...]:
        """The replies a conclusion from these fields rests on."""
        return tuple(sorted({*self.refs, *(ref for name in fields for ref in self.parts.get(name, ()))}))


def read_rows(shard: Shard) -> Iterator[StoredRow]:
    """Every row, in the order they were fetched."""
    if shard.path is None:
        return
    with shard.path.open("rb") as lines:
        for line in lines:
            item = orjson.loads(line)
            yield StoredRow(item["key"], tuple(item["refs"]), item["parts"], record(item["row"]))
