"""Examples of what a check passes, fails and cannot know: its tests, its documentation, its proof that it can fail.

An examples file (``tests/checks/aws/s3.yaml`` for ``checks/aws/s3.py``) maps a check id to a list of examples:
``outcome`` (pass, fail, skip, unknown), the ``row`` (with ``beside``, dataset to list of rows, where the check asks
for some) or ``rows`` (likewise, for a question about whole populations), and optionally ``reason`` (words its reason
contains), ``params``, ``as_of`` and ``scope``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from collector.api import Check
from collector.errors import ConfigError
from collector.judge import Bench, answer
from collector.model import Outcome, Table, instant, record

AS_OF = "2026-06-01T00:00:00Z"
"""Time of collection of an example that names none."""


@dataclass(frozen=True, slots=True)
class Example:
    """One thing a check must say."""

    check: str
    outcome: Outcome
    rows: tuple[Any, ...]
    """One record, if any with a list of records for each dataset beside it, or a list for each dataset."""
    reason: str = ""
    as_of: datetime = instant(AS_OF)  # noqa: RUF009 - a constant
    params: Mapping[str, Any] = field(default_factory=dict)
    scope: str = "somewhere"

    def run(self, check: Check) -> tuple[Outcome, str]:
        """What the check says of it."""
        bench = Bench(self.as_of, {check.id: self.params})
        if check.each:
            tables = [Table([record(row) for row in rows]) for rows in self.rows[1:]]
            return answer(check, (record(self.rows[0]), *tables), bench, self.scope)
        return answer(check, tuple(iter([record(row) for row in rows]) for rows in self.rows), bench, self.scope)


class _Loader(yaml.CSafeLoader):
    """Times stay text, as they are in a reply."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load(folder: Path, checks: Mapping[str, Check]) -> Iterator[Example]:
    """Every example in the files under ``folder``; see :func:`parse`."""
    return parse({str(path): path.read_bytes() for path in sorted(folder.rglob("*.yaml"))}, checks)


def parse(files: Mapping[str, bytes], checks: Mapping[str, Check], *, only_known: bool = False) -> Iterator[Example]:
    """Every example in these files; with ``only_known``, those of checks that are not in ``checks`` are passed over.

    Raises:
        ConfigError: a file is malformed, or an example names a check or a dataset that does not exist.
    """
    for name in sorted(files):
        if only_known and not any(check_id.encode() in files[name] for check_id in checks):
            continue
        try:
            document = yaml.load(files[name].decode("utf8"), _Loader)  # noqa: S506 - a safe loader
            for check_id, examples in document.items():
                if only_known and check_id not in checks:
                    continue
                check = checks[check_id]
                for item in examples:
                    yield _example(check, item)
        except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{name} holds an example that cannot be read: {type(error).__name__}: {error}",
                "write outcome, and row (or rows by dataset), under the id of a check that exists",
            ) from error


def _example(check: Check, item: Mapping[str, Any]) -> Example:
    if check.each:
        rows = (item["row"], *(item["beside"][dataset] for dataset in check.beside))
    else:
        rows = tuple(item["rows"][dataset] for dataset in check.datasets)
    as_of = instant(item.get("as_of", AS_OF))
    return Example(
        check.id, Outcome(item["outcome"].upper()), rows, item.get("reason", ""), as_of, item.get("params", {}),
        item.get("scope", "somewhere"),
    )  # fmt: skip
