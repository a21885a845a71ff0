"""Runs one source against one connection; whatever happens, the answer is a shard that says how complete it is."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson

from collector.api import Source
from collector.connect.base import Connection, stream
from collector.errors import crash
from collector.model import GAP_KEY, Gap, GapKind, Population, Row, Shard, Task, Unavailable
from evidence_store.errors import StoreError
from evidence_store.merkle import leaf_hash, tree_root


def fetch(task: Task, source: Source, connection: Connection, path: Path) -> Shard:
    """Read a dataset in a scope and write its rows to ``path``, one JSON line each, as they arrive.

    A refusal, a broken list or a crash of the source becomes a gap; so does one that the source passes over, and a
    list that it leaves before its end. The rows read before it are kept; of a source
    that crashed, those but the last few.

    Raises:
        StoreError: a reply could not be recorded, or a recorded one is not what was sealed.
    """
    rows = 0
    gap: Gap | None = None
    partial: dict[tuple[str, str, str], list[str]] = {}
    keys: set[str] = set()
    with path.open("wb") as out:
        try:
            for read in stream(connection, source(connection)):
                row = read.row
                key = resource_key(source, row)
                if key in keys:
                    raise Unavailable(
                        GapKind.DUPLICATE, f"{task.dataset} listed {key} twice, so its list cannot be trusted"
                    )
                keys.add(key)
                out.write(orjson.dumps({"key": key, "refs": read.refs, "parts": read.parts, "row": row}) + b"\n")
                rows += 1
                for operation in _note_gaps(row, key, partial):
                    connection.wire.told(operation, {*read.refs, *itertools.chain(*read.parts.values())})
        except Unavailable as error:
            gap = Gap(task.dataset, task.scope, error.kind, error.reason, error.operation)
        except StoreError:  # what cannot be recorded, or is not what was recorded, ends the run
            raise
        except Exception as error:  # boundary: a broken source must not take the run with it
            gap = Gap(task.dataset, task.scope, GapKind.CRASHED, f"the source crashed: {crash(error)}")
    connection.settle()
    refused = connection.wire.refused
    if refused and gap is None and not any(kind == GapKind.UNDECLARED for kind, _, _ in partial):
        gap = Gap(task.dataset, task.scope, refused.kind, refused.reason, refused.operation)  # the source hid it
    replies = connection.wire.finish()
    if gap is None and (left := connection.left()):
        gap = Gap(task.dataset, task.scope, left.kind, left.reason, left.operation)
    if gap is None and connection.wire.parts and not source.parts:
        operation = min(connection.wire.parts)
        reason = f"of {operation} only the first page was asked for, and the source does not declare what for"
        gap = Gap(task.dataset, task.scope, GapKind.TRUNCATED, reason, operation)
    if gap is None and not replies:
        gap = Gap(
            task.dataset,
            task.scope,
            GapKind.UNPROVEN,
            "the source asked nothing, so nothing shows that its list is complete",
        )
    population = Population(
        task,
        rows,
        "unproven" if gap else "terminal-page",
        gap,
        tuple(
            Gap(task.dataset, task.scope, GapKind(kind), reason, operation, tuple(who))
            for (kind, reason, operation), who in sorted(partial.items())
        ),
        replies,
        tree_root(leaf_hash(key.encode()) for key in sorted(keys)).hex(),
        tuple(sorted(connection.wire.operations)),
        connection.wire.apart_s,
        connection.wire.dated,
        tuple(sorted(connection.left_out.items())),
    )
    return Shard(population, path)


def not_fetched(task: Task, kind: GapKind, reason: str, replies: tuple[int, ...] = ()) -> Shard:
    """The shard of a task that was planned and never asked."""
    gap = Gap(task.dataset, task.scope, kind, reason)
    return Shard(Population(task, 0, "unproven", gap, replies=replies), None)


def resource_key(source: Source, row: Row) -> str:
    """What names the record within its scope.

    Raises:
        Unavailable: the record has no such field (kind ``malformed``).
    """
    value = row.get(source.key)
    if not isinstance(value, str | int) or value == "":
        raise Unavailable(GapKind.MALFORMED, f"a record of {source.id} has no {source.key}")
    return str(value)


def _note_gaps(value: Any, key: str, partial: dict[tuple[str, str, str], list[str]]) -> set[str]:
    """Note the gaps in a row; return the operations they name."""
    operations: set[str] = set()
    if isinstance(value, dict):
        gap = value.get(GAP_KEY) if len(value) == 1 else None
        if isinstance(gap, dict):
            resources = partial.setdefault((gap["kind"], gap["reason"], gap["operation"]), [])
            if not resources or resources[-1] != key:
                resources.append(key)
            return {gap["operation"]}
        for item in value.values():
            operations |= _note_gaps(item, key, partial)
    elif isinstance(value, list):
        for item in value:
            operations |= _note_gaps(item, key, partial)
    return operations
