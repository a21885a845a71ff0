"""The command about controls, and which one a person means by a number."""

from __future__ import annotations

import argparse
import json
from difflib import get_close_matches
from typing import Any

from collector.catalogue import Catalogues, Control, ControlKey, Mappings, load_catalogues, load_mappings
from collector.commands.opening import configured
from collector.errors import ConfigError
from collector.plugins import content_root, load
from collector.predecessors import Predecessors, predecessors

Arguments = argparse.Namespace
ANNEX_A = "iso-27001"


def controls(arguments: Arguments) -> int:
    """One control or all: title, how a person tests it, what it was called before, and which checks speak to it."""
    config = configured(arguments.config) if arguments.config else None
    root = content_root() / "mappings"
    catalogues = load_catalogues(root)
    older = predecessors(root, catalogues)
    library = load(config.plugins if config else ())
    mappings = load_mappings(root, (config.mappings or None) if config else None, library.checks, catalogues)
    mapped = evidenced(mappings)
    wanted = _named(arguments.id, catalogues, older) if arguments.id else list(catalogues.controls.values())
    rows: list[dict[str, Any]] = [
        {
            "framework": control.framework, "edition": control.edition, "id": control.id, "title": control.title,
            "kind": control.kind, "method": list(control.method), "ask": control.ask, "documents": control.documents,
            "formerly": [dict(row) for row in older.of.get(control.key, ())],
            "checks": mapped.get(control.key, []),
        }
        for control in wanted
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"schema": "affidavit.controls/1", "controls": rows}))
        return 0
    for row in rows:
        before = ", ".join(f"{one['id']} ({one['edition']}, {words(one)})" for one in row["formerly"])
        told = f"  formerly {before}" if before else ""
        print(f"{row['framework']} {row['edition']} {row['id']}  {row['title']}{told}")
        if arguments.id:
            for term in ("method", "ask", "documents", "checks"):
                told = ", ".join(row[term]) if isinstance(row[term], list) else row[term]
                print(f"  {term:<10} {told or 'none'}")
    return 0


def words(row: dict[str, Any]) -> str:
    """How an older control relates to the present one."""
    return str(row["relation"]).replace("_", " ") + (f"; {row['note']}" if row["note"] else "")


def evidenced(mappings: Mappings) -> dict[ControlKey, list[str]]:
    """The checks that are mapped to each control."""
    mapped: dict[ControlKey, set[str]] = {}
    for row in mappings.rows:
        mapped.setdefault(row.key, set()).add(row.check)
    return {key: sorted(checks) for key, checks in mapped.items()}


def resolve(text: str, catalogues: Catalogues, older: Predecessors) -> ControlKey:
    """The control a person means by ``A.5.4``, ``iso-27002:5.4`` or ``iso-27018/2025:A.10.1``.

    Raises:
        ConfigError: there is none, or more than one.
    """
    named, colon, number = text.rpartition(":")
    framework, _, edition = named.partition("/")
    found = [
        control.key
        for control in catalogues.controls.values()
        if control.id == number and control.kind != "heading"
        and (not colon or (control.framework == framework and edition in ("", control.edition)))
    ]  # fmt: skip
    # A.5.1 is a control of Annex A, whoever else numbers that way; 5.1 alone may be a clause or a control.
    if not colon and number.startswith("A."):
        found = [key for key in found if key[0] == ANNEX_A] or found
    if len(found) == 1:
        return found[0]
    if found:
        ways = [f"{key[0]}/{key[1]}:{key[2]}" for key in found]
        raise ConfigError(f"{number} stands in {len(found)} catalogues", f"write one of {', '.join(ways)}")
    raise _unknown(text, number, catalogues, older)


def _unknown(text: str, number: str, catalogues: Catalogues, older: Predecessors) -> ConfigError:
    for (_, old), rows in older.became.items():
        if old == number and (now := [row for row in rows if row["id"]]):
            return ConfigError(
                f"{number} is a number of the {now[0]['from']} edition",
                f"write {' or '.join(row['id'] for row in now)}, which took its place",
            )
    ids = {control.id for control in catalogues.controls.values() if control.kind != "heading"}
    near = get_close_matches(number, sorted(ids), n=1, cutoff=0.4)
    step = f"write {near[0]}, if that is what you mean" if near else "affidavit list controls shows their ids"
    return ConfigError(f"there is no control {text}", step)


def _named(text: str, catalogues: Catalogues, older: Predecessors) -> list[Control]:
    """Every control of that number, in whatever catalogue; an older number gives those that took its place."""
    named, colon, number = text.rpartition(":")
    framework, _, edition = named.partition("/")

    def fits(name: str, year: str) -> bool:
        return not colon or (name == framework and edition in ("", year))

    found = [one for one in catalogues.controls.values() if one.id == number and fits(one.framework, one.edition)]
    for (name, old), rows in older.became.items():
        for row in rows:
            key = (name, row["edition"], row["id"])
            if old == number and key in catalogues.controls and fits(name, row["edition"]):
                found.append(catalogues.controls[key])
    if not found:
        raise _unknown(text, number, catalogues, older)
    return list({one.key: one for one in found}.values())
