"""Runs the tasks of a plan, several at a time, and gives one shard for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from pathlib import Path

from collector.api import Source
from collector.connect.opening import Opener
from collector.connect.wire import Wire
from collector.errors import AffidavitError
from collector.fetch import fetch, not_fetched
from collector.judge import read_rows
from collector.model import Gap, GapKind, Shard, Task, Unavailable
from collector.plan import IDENTITY

WINDOW = 64
"""Tasks that exist as futures at once."""

Wires = Callable[[Task, str], Wire]
"""The wire of a task, given the identity its requests are made with."""

Progress = Callable[[Shard], None]


def collect(
    tasks: Sequence[Task],
    sources: Mapping[str, Source],
    wires: Wires,
    opener: Opener,
    folder: Path,
    *,
    workers: int,
    stop: threading.Event,
    progress: Progress = lambda shard: None,
) -> list[Shard]:
    """One shard for every task, in the order of the tasks; rows are written into ``folder``.

    Identities are read first: a connection whose identity is not known gives gaps, since nobody could say whose
    replies they were.
    """
    order = {task: number for number, task in enumerate(tasks)}
    shards: dict[Task, Shard] = {}
    callers: dict[str, str | Shard] = {}

    def one(task: Task) -> Shard:
        if stop.is_set():
            return not_fetched(task, GapKind.INTERRUPTED, "the run was stopped before this was asked")
        caller = callers.get(task.account_scope, "")
        if isinstance(caller, Shard):
            reason = caller.population.gap.reason if caller.population.gap else "it names no caller"
            return not_fetched(
                task, GapKind.NO_IDENTITY, f"the identity of {task.account_scope} is not known: {reason}"
            )
        wire = wires(task, caller)
        try:
            connection = opener(task, wire)
        except (AffidavitError, Unavailable) as error:
            refs = wire.not_opened(str(error))
            return not_fetched(task, GapKind.UNAUTHENTICATED, f"the connection could not be opened: {error}", refs)
        return fetch(task, sources[task.dataset], connection, folder / f"{order[task]:06}.rows")

    def done(shard: Shard) -> None:
        shards[shard.task] = shard
        progress(shard)

    identities = [task for task in tasks if task.dataset in IDENTITY.values()]
    with ThreadPoolExecutor(workers, thread_name_prefix="task") as executor:
        for task, shard in zip(identities, executor.map(one, identities), strict=True):
            shard = _named(shard)
            callers[task.account_scope] = shard if shard.population.gap else _caller(shard)
            done(shard)
        _windowed(executor, one, iter([task for task in tasks if task not in shards]), done)
    return [shards[task] for task in tasks]


def _windowed(
    executor: ThreadPoolExecutor, job: Callable[[Task], Shard], tasks: Iterator[Task], done: Callable[[Shard], None]
) -> None:
    running: set[Future[Shard]] = {executor.submit(job, task) for task in islice(tasks, WINDOW)}
    while running:
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            try:
                done(future.result())
            except BaseException:  # also when interrupted: what is under way ends, nothing new begins; raised on
                executor.shutdown(cancel_futures=True)
                raise
            running |= {executor.submit(job, task) for task in islice(tasks, 1)}


def _caller(shard: Shard) -> str:
    """The identity; empty where the credential belongs to nobody, whose name the connection tells then."""
    return next(str(read.row["Arn"] if "Arn" in read.row else read.row["Caller"]) for read in read_rows(shard))


def _named(shard: Shard) -> Shard:
    """The identity shard, refused when the credentials are those of another account than the one declared."""
    population = shard.population
    if population.gap is not None:
        return shard
    accounts = [str(read.row.get("Account", "")) for read in read_rows(shard)]
    reason = ""
    if len(accounts) != 1:
        reason = f"the identity call named {len(accounts)} identities"
    elif shard.task.account and accounts != [shard.task.account]:
        reason = f"the credentials are those of account {accounts[0]}, the configuration names {shard.task.account}"
    if not reason:
        return shard
    gap = Gap(shard.task.dataset, shard.task.scope, GapKind.NO_IDENTITY, reason)
    return replace(shard, population=replace(population, basis="unproven", gap=gap))
