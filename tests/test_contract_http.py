"""What sources and checks speak of is what the systems have, over every kind but AWS (see ``test_contract.py``).

The rows are those that sources made of recorded replies. Each kind's own tests hold the same replies of its world
against the vendor's description, where there is one; so a field that stands in a row stands in the description, and
one that a check reads and no row has was invented.

What a source may ask for is held at run time where an operation tells which right it needs: AWS (action), Kubernetes
(verb and resource), databases (table), directories (attribute), registers (file), TLS endpoints (kind of request).
For the OAuth scopes of REST APIs only Okta's description has a table from operation to scope, which is compared here;
those of GitHub, GitLab, Google, Microsoft, Keycloak and Atlassian were taken from the vendors' reference by hand, and
nothing but the vendor can hold a source to them: the credential is refused where they are too few.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from collector import examples
from collector.api import Check
from collector.examples import Example
from collector.judge import Bench, answer
from collector.model import GAP_KEY, Record, Refused, Table, Task, Traced, record
from collector.registers.shape import NAMES, shape
from tests.fault_injections import OURS
from tests.fault_worlds import KINDS, LIBRARY, Estate, rows_of, small_pages, world_of
from tests.http_world import SPECS

HERE = Path(__file__).parent
EXAMPLES = list(examples.load(HERE / "checks", LIBRARY.checks))
Path_ = tuple[str, ...]


@functools.cache
def _rows(dataset: str) -> tuple[dict[str, Any], ...]:
    """What the source of a dataset made of what was recorded."""
    return tuple(row for task, shard in _estate().shards.items() if task.dataset == dataset for row in rows_of(shard))


@functools.cache
def _estate() -> Estate:
    import tempfile

    with small_pages():
        return Estate([world_of(kind) for kind in KINDS], Path(tempfile.mkdtemp()), [])


class Watched(Record):
    """A record that notes which fields are read, however deep."""

    __slots__ = ("path", "told")

    def __init__(self, row: Mapping[str, Any], path: Path_, told: set[Path_]) -> None:
        super().__init__({name: _watched(value, (*path, name), told) for name, value in dict(row).items()})
        self.path = path
        self.told = told

    def __getitem__(self, name: str) -> Any:
        self.told.add((*self.path, name))
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.told.add((*self.path, name))
        return super().get(name, default)


def _watched(value: Any, path: Path_, told: set[Path_]) -> Any:
    if isinstance(value, Refused):
        return value
    if isinstance(value, Mapping):
        return Watched(value, path, told)
    return [_watched(item, path, told) for item in value] if isinstance(value, list) else value


def _read_by(check: Check, example: Example) -> set[Path_]:
    """The fields a check reads while an example runs: dataset, then the names on the way."""
    told: set[Path_] = set()
    bench = Bench(example.as_of, {check.id: example.params})

    def rows(dataset: str, given: list[Any]) -> list[Record]:
        return [Watched(record(row), (dataset,), told) for row in given]

    def note(dataset: str) -> Any:
        def at(number: int | None, row: Traced | None) -> None:
            noted.append((dataset, row))

        return at

    noted: list[tuple[str, Traced | None]] = []
    names, given = check.datasets, example.rows
    if check.each:
        tables = [Table(rows(name, held), note=note(name)) for name, held in zip(names[1:], given[1:], strict=True)]
        asked: tuple[Any, ...] = (rows(names[0], [given[0]])[0], *tables)
    else:
        asked = tuple(iter(rows(name, held)) for name, held in zip(names, given, strict=True))
    answer(check, asked, bench, example.scope)
    return told | {(dataset, name) for dataset, row in noted if row is not None for name in row.touched}


DATA = {
    ("kubernetes.*", "metadata", "labels"), ("kubernetes.*", "metadata", "annotations"), ("*", "aliases"),
    ("host.sshd", "sshd -T"), ("host.sshd", "Match", "Settings"), ("tls.endpoints", "head", "Headers"),
}  # fmt: skip
"""Objects whose names are data."""

UNSEEN: dict[Path_, str] = {}
"""Fields that a check reads and that no recorded row has, and where they are described."""


def _seen(path: Path_) -> bool | None:
    """Whether a field stands in some row; ``None`` where nothing tells: what holds it is empty in all of them."""
    dataset, *names = path
    held: list[Any] = list(_rows(dataset))
    for depth, name in enumerate(names):
        above = (dataset, *names[:depth])
        if any(fnmatchcase("/".join(above), "/".join(one)) for one in DATA):
            return True
        objects = [one for one in _flat(held) if isinstance(one, Mapping)]
        if not objects:
            return None
        held = [one[name] for one in objects if name in one]
        if not held:
            return False
    return True


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


@pytest.mark.parametrize("kind", (*KINDS, "joins"))
def test_p8_every_field_a_check_reads_is_one_its_source_yields(kind: str) -> None:
    problems: dict[Path_, set[str]] = defaultdict(set)
    read = 0
    for example in EXAMPLES:
        if not example.check.startswith(f"{kind}."):
            continue
        check = LIBRARY.checks[example.check]
        for path in _read_by(check, example):
            if path[0].startswith("aws."):
                continue
            read += 1
            if path not in UNSEEN and _seen(path) is False:
                problems[path].add(check.id)
    told = [f"{'/'.join(path)}: {', '.join(sorted(checks))}" for path, checks in sorted(problems.items())]
    assert not told, "\n".join(told)
    assert read
