"""What a person sees while a run goes on: a bar on a terminal, otherwise one line for each finished source."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from collector.model import Shard
from collector.plan import Plan


def say(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Progress of one run; use it as a context."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._total = 0
        self._done = 0

    def planned(self, plan: Plan) -> None:
        """The run is about to ask this."""
        self._total = len(plan.tasks)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("reading", total=self._total)

    def finished(self, shard: Shard) -> None:
        """A dataset was read, or was not."""
        self._done += 1
        gap = shard.population.gap
        text = f"{shard.task.id}: {f'GAP, {gap.reason}' if gap else f'{shard.population.rows} rows'}"
        if self._bar:
            self._bar.update(self._task, advance=1, description=shard.task.dataset)
            if gap:
                self._bar.console.print(text, highlight=False, markup=False)
        else:
            say(f"[{self._done}/{self._total}] {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
