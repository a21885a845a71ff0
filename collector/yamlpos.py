"""YAML a person wrote, read strictly: one document, plain data, and the line and column of every entry."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from collector.errors import ConfigError

MAX_BYTES = 1024 * 1024
"""No file written by hand is larger."""

MAX_DEPTH = 32
"""Mappings and lists inside one another."""

Keys = tuple[str | int, ...]
"""The way to an entry: ``("connections", 0, "name")``."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SILENT = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{1,17}")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """The data of one YAML file, and where each entry of it stands."""

    path: Path
    """As the caller named it; errors repeat it."""
    raw: bytes = field(repr=False)
    """The file, byte for byte."""
    data: Any = field(repr=False)
    """Mappings, lists, text, whole and decimal numbers, true, false and null; nothing else."""
    positions: dict[Keys, tuple[int, int]] = field(repr=False)
    """Line and column, from 1, of the key of each mapping entry and of each list item."""

    @property
    def sha256(self) -> str:
        """Digest of the file in hex."""
        return sha256(self.raw).hexdigest()

    def position(self, keys: Keys) -> tuple[int, int]:
        """Line and column of an entry; of the nearest one around it where the entry is missing."""
        while keys not in self.positions:
            keys = keys[:-1]
        return self.positions[keys]

    def error(self, keys: Keys, what: str, next_step: str) -> ConfigError:
        """An error that names file, line, column and key."""
        name = f"{dotted(keys)}: " if keys else ""
        return ConfigError(f"{_place(self.path, self.position(keys))}: {name}{what}", next_step)


def dotted(keys: Keys) -> str:
    """A key as people write it: ``connections[0].name``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def load(path: Path, *, max_bytes: int = MAX_BYTES) -> Document:
    """The only document of a YAML file, as plain data.

    Scalars are read as YAML 1.2 reads them: ``no``, ``12:30``, ``2026-01-31`` and ``0123`` are text. Keys are
    always text. Anchors, aliases and tags are refused, so the data is never larger than the file.

    Raises:
        ConfigError: the file cannot be read, is too large, is not UTF-8 or not well-formed, or repeats a key.
    """
    raw = _read(path, max_bytes)
    text = _decode(path, raw)
    try:
        data, positions = _build(path, yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if _character(text, line, column) == "\t":
            raise ConfigError(
                f"{_place(path, (line, column))}: a tab stands where YAML wants spaces", "indent with spaces"
            ) from None
        while_doing = f" {error.context}" if error.context else ""
        raise ConfigError(
            f"{_place(path, (line, column))}: not well-formed YAML{while_doing}: {error.problem}",
            "correct the line, or the one above it: look for a missing colon, bracket, quote or space",
        ) from None
    return Document(path, raw, data, positions)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", "name a file that exists and that you may read"
        ) from None
    if len(raw) > max_bytes:
        raise ConfigError(
            f"{path}: larger than {max_bytes} bytes", "name the right file; one written by hand is smaller than that"
        )
    return raw


def _decode(path: Path, raw: bytes) -> str:
    """The text of the file, when every character of it is one YAML allows."""
    bad, text = -1, ""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad, text = error.start, raw[: error.start].decode("utf-8")
    if bad >= 0:
        raise ConfigError(f"{_place(path, _end(text))}: not UTF-8 text", "save the file as UTF-8")
    if found := _UNPRINTABLE.search(text):
        raise ConfigError(
            f"{_place(path, _end(text[: found.start()]))}: control character U+{ord(found[0]):04X}",
            "delete the character",
        )
    return text


def _build(path: Path, events: Iterator[Any]) -> tuple[Any, dict[Keys, tuple[int, int]]]:
    """Data and positions, without recursion, so that no nesting can exhaust the stack."""
    root: list[Any] = []
    positions: dict[Keys, tuple[int, int]] = {(): (1, 1)}
    stack: list[tuple[dict[str, Any] | list[Any], Keys]] = [(root, ())]
    key: str | None = None
    documents = 0
    for event in events:
        where = (event.start_mark.line + 1, event.start_mark.column + 1)
        refuse = partial(_refuse, path, where)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise refuse("a second document starts here", "keep one document in a file: delete the --- line")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise refuse("an anchor or alias (& or *) is used", "write the value out in each place")
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif not isinstance(event, _SILENT):
            if event.tag is not None:
                raise refuse("a tag (!) is used", "write the plain value, in quotes if it starts with !")
            container, keys = stack[-1]
            scalar = isinstance(event, yaml.ScalarEvent)
            if isinstance(container, dict) and key is None:
                if not scalar:
                    raise refuse("a mapping or list is used as a key", "use text as the key")
                key = event.value
                if key in container:
                    first = positions[(*keys, key)]
                    raise refuse(
                        f"{dotted((*keys, key))}: stands here a second time, first in line {first[0]}",
                        "keep one of the two",
                    )
                positions[(*keys, key)] = where
                container[key] = None
                continue
            value: Any = _scalar(event) if scalar else {} if isinstance(event, yaml.MappingStartEvent) else []
            if isinstance(container, dict):
                assert key is not None
                here: Keys = (*keys, key)
                container[key] = value
                key = None
            else:
                here = () if container is root else (*keys, len(container))
                positions[here] = where
                container.append(value)
            if not scalar:
                stack.append((value, here))
                if len(stack) > MAX_DEPTH:
                    raise refuse(f"more than {MAX_DEPTH} mappings and lists inside one another", "nest less deeply")
    return (root[0] if root else None), positions


def _refuse(path: Path, where: tuple[int, int], what: str, next_step: str) -> ConfigError:
    return ConfigError(f"{_place(path, where)}: {what}", next_step)


def _scalar(event: Any) -> Any:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _character(text: str, line: int, column: int) -> str:
    with suppress(IndexError):
        return text.splitlines()[line - 1][column - 1]
    return ""


def _end(text: str) -> tuple[int, int]:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _place(path: Path, position: tuple[int, int]) -> str:
    return f"{path}:{position[0]}:{position[1]}"
