"""Commands that show what is installed: checks and whether they do what they say, sources, controls, mappings."""

from __future__ import annotations

import argparse
import json
from typing import Any

from collector.catalogue import load_catalogues, load_mappings
from collector.commands.control import evidenced
from collector.commands.opening import configured
from collector.plugins import content_root, load

Arguments = argparse.Namespace


def checks(arguments: Arguments) -> int:
    """Do the checks do what their examples say."""
    from collector.examples import parse
    from collector.falsify import certify

    config = configured(arguments.config) if arguments.config else None
    library = load(config.plugins if config else ())
    certificates = certify(library.checks.values(), parse(library.examples, library.checks))
    flawed = [certificate for certificate in certificates if certificate.flaw]
    if arguments.json:
        rows = [certificate.as_row() for certificate in certificates]
        print(json.dumps({"schema": "affidavit.checks/1", "certificates": rows}))
    else:
        for certificate in flawed:
            print(f"{certificate.check}: {certificate.flaw}")
        shown = sum(sum(certificate.shown.values()) for certificate in certificates)
        print(
            f"{len(certificates)} checks on {shown} examples: "
            f"{len(certificates) - len(flawed)} as they say, {len(flawed)} not"
        )
    return 3 if flawed else 0


def list_(arguments: Arguments) -> int:
    """What is installed."""
    config = configured(arguments.config) if arguments.config else None
    library = load(config.plugins if config else ())
    root = content_root() / "mappings"
    rows: Any
    if arguments.what == "checks":
        rows = [
            {
                "id": check.id,
                "title": check.title,
                "severity": check.severity,
                "datasets": check.datasets,
                "module": check.module,
                "params": dict(check.params),
                "description": check.description,
                "retired": check.retired,
            }
            for _, check in sorted(library.checks.items())
        ]
    elif arguments.what == "sources":
        rows = [
            {
                "id": source.id,
                "permissions": source.permissions,
                "key": source.key,
                "per": source.per,
                "kind": source.kind,
                "definition": source.definition,
                "module": source.module,
            }
            for _, source in sorted(library.sources.items())
        ]
    else:
        catalogues = load_catalogues(root)
        mappings = load_mappings(root, (config.mappings or None) if config else None, library.checks, catalogues)
        if arguments.what == "mappings":
            rows = [_mapping_row(row) for row in mappings.rows]
        else:
            mapped = evidenced(mappings)
            rows = [
                {
                    "framework": control.framework,
                    "edition": control.edition,
                    "id": control.id,
                    "title": control.title,
                    "checks": mapped.get(control.key, []),
                    "method": control.method,
                    "ask": control.ask,
                    "kind": control.kind,
                }
                for control in catalogues.controls.values()
            ]
    if arguments.json:
        print(json.dumps({"schema": f"affidavit.list.{arguments.what}/1", arguments.what: rows}, default=tuple))
        return 0
    for row in rows:
        print(*(str(row[name]) for name in _COLUMNS[arguments.what]), sep="  ")
    return 0


_COLUMNS = {
    "checks": ("id", "severity", "title"),
    "sources": ("id", "per", "definition"),
    "controls": ("framework", "edition", "id", "title"),
    "mappings": ("framework", "control", "check", "strength", "aspect"),
}


def _mapping_row(row: Any) -> dict[str, Any]:
    fields = (
        "framework",
        "edition",
        "control",
        "check",
        "aspect",
        "strength",
        "coverage",
        "remainder",
        "party",
        "does_not_show",
        "file",
    )
    criterion = row.criterion and {
        "ref": row.criterion.ref,
        "param": row.criterion.param,
        "default": row.criterion.default,
    }
    return {**{name: getattr(row, name) for name in fields}, "criterion": criterion}
