"""What changed in the way of measuring, told anew from the sealed plans: a leaf has room for some of it only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import orjson

from collector.suppressions import changes
from evidence_store.errors import StoreError


class Opened(Protocol):
    """A run, as far as it is needed here."""

    @property
    def opening(self) -> Mapping[str, Any]:
        """What was written down before the first request."""
        ...

    def plan(self) -> bytes:
        """What was planned."""
        ...


def in_full(notes: Iterable[Mapping[str, Any]], runs: Iterable[Opened]) -> dict[int, tuple[str, ...]]:
    """Everything that changed, by leaf that announces a change, where the plans of both runs are at hand.

    Args:
        notes: the leaves that record a fact, oldest first.
        runs: the runs whose plans are kept, oldest first.
    """
    measured = [run for run in runs if "ruler" in run.opening]
    found: dict[int, tuple[str, ...]] = {}
    for note in notes:
        if note["kind"] != "config-change":
            continue
        before = [run for run in measured if run.opening["index"] < note["index"]][-1:]
        after = [run for run in measured if run.opening["index"] > note["index"]][:1]
        if [run.opening["ruler"] for run in (*before, *after)] == [note["from"], note["to"]]:
            old, new = (readable(run) for run in (*before, *after))
            with suppress(LookupError, TypeError):  # a plan that is none of ours: the leaf stands as it is
                if old is not None and new is not None:
                    found[note["index"]] = tuple(changes(old, new))
    return found


def readable(run: Opened) -> Mapping[str, Any] | None:
    """The plan of a run beside the one that is shown; ``None`` when it is not as it was sealed, as the seal says."""
    try:
        found = orjson.loads(run.plan())
    except (StoreError, ValueError):
        return None
    return found if isinstance(found, dict) else None
