"""Reads one document: the YAML head between two lines of dashes, and the text below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from collector.model import Row
from collector.registers.shape import Fault, shape
from collector.registers.table import decoded

_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Every scalar is text."""


def read(path: str, raw: bytes) -> tuple[Row | None, str, tuple[Fault, ...]]:
    """Row, text below the head, and faults of a document; no row where there is a fault.

    Lines of the text are counted from the first of the file: the head is kept as blank lines.
    """
    form = shape("documents")
    text, fault = decoded(path, raw)
    if fault:
        return None, "", (fault,)
    lines = text.replace("\r\n", "\n").split("\n")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(ends) < 2 or ends[0] != 0:
        what = "has no head"
        write = f"begin with a line ---, then for example id: {form.example('id')}, and end the head with a line ---"
        return None, "", (Fault(path, 1, 0, "", what, write),)
    head, body = "\n".join(lines[1 : ends[1]]), "\n" * (ends[1] + 1) + "\n".join(lines[ends[1] + 1 :])
    places: dict[str, tuple[int, int]] = {}
    record: Row = {}
    try:
        entries = list(_entries(yaml.compose(head, Loader=_LOADER)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 2 if mark else 1
        write = "write name: value on each line, and quotes around a value with a colon"
        return None, body, (Fault(path, line, 0, "", "the head is no well-formed YAML", write),)
    faults = []
    for line, column, name, value in entries:
        if name not in form.columns or name in record or value is None:
            what = "stands here a second time" if name in record else "is no entry of the head"
            if name in form.columns and name not in record:
                what = "is neither text nor a list of words"
            known = f"the entries are: {', '.join(form.columns)}"
            faults.append(Fault(path, line, column, name[:40], what, known))
            continue
        places[name] = (line, column)
        if value:
            words = name in form.lists and isinstance(value, str)
            record[name] = [word.strip() for word in value.split("|")] if words else value
    record.setdefault("location", path)
    for name, what, write in form.problems(record):
        line, column = places.get(name, (1, 0))
        faults.append(Fault(path, line, column, name, what if column else f"{name} {what}", write))
    if faults:
        return None, body, tuple(faults)
    row: Row = {name: record.get(name, [] if name in form.lists else None) for name in form.columns}
    return row, body, ()


def _entries(node: Any) -> Iterator[tuple[int, int, str, Any]]:
    """Line, column, name and value of each entry; ``None`` for what is neither text nor a list of text."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        held: Any = None
        if isinstance(value, yaml.ScalarNode):
            held = value.value
        elif isinstance(value, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in value.value):
            held = [item.value for item in value.value]
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        yield key.start_mark.line + 2, key.start_mark.column + 1, name, held
