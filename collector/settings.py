"""The whole configuration as one flat list of what holds, defaults included and without anything secret.

A plan seals it, so that two runs can be told apart setting by setting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from collector import yamlpos
from collector.address import Address
from collector.api import Personal
from collector.config import Config
from collector.cron import Cron
from collector.errors import ConfigError
from collector.secrets import SecretRef

TRUSTED = ("roots", "chain")
"""Files that decide who is believed: what they hold is a setting."""

NAMES = ("name", "id", "url", "s3", "git", "folder")
"""What an item of a list goes by: the first of these that it has."""


def settings(config: Config) -> dict[str, Any]:
    """Every value of the configuration by its dotted name; what is not set, or is an empty list, is left out.

    A list of things with names stands as those names, and each of them below it. Of a secret only the reference stands
    here, paths are told from the folder of the configuration, and of a file that decides who is believed its digest as
    well.
    """
    found: dict[str, Any] = {}
    for part in fields(config):
        if part.name != "document":
            found |= _flat(part.name, getattr(config, part.name), config.folder)
    return found


def _flat(name: str, value: Any, folder: Path) -> Iterator[tuple[str, Any]]:
    match value:
        case None | ():
            return
        case Cron():
            yield name, value.text
        case SecretRef() | Address() | ZoneInfo():
            yield name, str(value)
        case Path():
            yield from _file(name, value, folder)
        case Mapping():
            for key in value:
                yield from _flat(f"{name}.{key}", value[key], folder)
        case tuple() if any(is_dataclass(item) and not isinstance(item, Address) for item in value):
            items: dict[str, Any] = {}
            for item in value:
                key = _named(item, folder)
                items[key if key not in items else f"{key} ({len(items) + 1})"] = item
            yield name, sorted(items)
            for key, item in items.items():
                yield from _flat(f"{name}.{key}", item, folder)
        case tuple():
            yield name, [_told(item, folder) for item in value]
        case _ if is_dataclass(value):
            for part in fields(value):
                yield from _flat(f"{name}.{part.name}", getattr(value, part.name), folder)
        case _:
            yield name, value


def _file(name: str, path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    yield name, _told(path, folder)
    kind = name.rpartition(".")[2]
    if kind in TRUSTED:
        try:
            yield f"{name}.sha256", hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            yield f"{name}.sha256", "the file cannot be read"
    elif kind == "kubeconfig":
        yield from _clusters(name, path)


def _clusters(name: str, path: Path) -> Iterator[tuple[str, str]]:
    """The servers a kubeconfig names, and nothing else of it: the rest may be secret, and changes with each login."""
    try:
        for item in yamlpos.load(path).data["clusters"]:
            yield f"{name}.{item['name']}.server", str(item["cluster"]["server"])
    except (ConfigError, OSError, LookupError, TypeError):
        yield f"{name}.servers", "the file cannot be read"


def _told(item: Any, folder: Path) -> Any:
    if isinstance(item, Path):
        return str(item.relative_to(folder) if item.is_relative_to(folder) else item)
    return str(item) if isinstance(item, Address) else item


def _named(item: Any, folder: Path) -> str:
    """What an item of a list goes by."""
    if isinstance(item, Personal):
        return f"{item.operation} {item.json or item.xml or item.regex}"
    return next(str(_told(value, folder)) for name in NAMES if (value := getattr(item, name, None)) is not None)
