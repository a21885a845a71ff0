"""Writes the reference pages that follow from the code: docs/checks.md, docs/sources.md, docs/cli.md."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from collector import examples, plugins
from collector.catalogue import load_catalogues, load_mappings
from collector.cli import EPILOG, parser

DOCS = Path(__file__).parent
MARK = "<!-- written by make docs; do not edit -->\n\n"


def checks_page() -> str:
    """Every check: what passes, its limits, the controls it evidences, an example of each outcome."""
    library = plugins.load()
    root = plugins.content_root() / "mappings"
    mappings = load_mappings(root, None, library.checks, load_catalogues(root))
    controls = defaultdict(list)
    for row in mappings.rows:
        controls[row.check].append(f"{row.framework} {row.edition} {row.control} ({row.strength})")
    shown = defaultdict(list)
    for example in examples.load(DOCS.parent / "tests" / "checks", library.checks):
        shown[example.check].append(f"{example.outcome}: {example.run(library.checks[example.check])[1]}")
    text = [
        MARK + "# Checks\n",
        f"{len(library.checks)} checks. A limit is changed under `checks.parameters` in the configuration.\n",
    ]
    for check in sorted(library.checks.values(), key=lambda check: check.id):
        text += [
            f"## {check.id}\n",
            f"{check.title}. Severity {check.severity}; asks {', '.join(check.datasets)}; in `{check.module}`.\n",
        ]
        text += [check.description + "\n"]
        if check.params:
            text += ["Limits: " + ", ".join(f"`{name}` = {value!r}" for name, value in check.params.items()) + "\n"]
        text += [
            "Evidence for: " + "; ".join(controls[check.id]) + "\n",
            *(f"* {line}" for line in shown[check.id]),
            "",
        ]
    return "\n".join(text)


def sources_page() -> str:
    """Every dataset: its population, its key, and the permissions it needs."""
    library = plugins.load()
    text = [
        MARK + "# Sources\n",
        f"{len(library.sources)} datasets. No filters are used unless the definition says so.\n",
    ]
    text += ["| dataset | population | per | key | kind | permissions |", "|---|---|---|---|---|---|"]
    for source in sorted(library.sources.values(), key=lambda source: source.id):
        text.append(
            f"| {source.id} | {source.definition} | {source.per} | {source.key} | {source.kind} "
            f"| {', '.join(source.permissions)} |"
        )
    return "\n".join(text) + "\n"


def commands(top: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command by its name, those of a group one by one."""
    groups = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in groups[0].choices.items() if groups else ():
        inner = [*commands(command, f"{before}{name} ")]
        yield from inner or [(f"{before}{name}", command)]


def cli_page() -> str:
    """Every command and option."""
    text = [MARK + "# Command line\n", "```", EPILOG, "```\n"]
    for name, command in commands(parser()):
        text += [f"## affidavit {name}\n", f"{command.description}\n", "| option | meaning |", "|---|---|"]
        for action in command._actions:
            if action.help and action.help != argparse.SUPPRESS:
                value = f" {action.metavar}" if action.metavar and action.option_strings else ""
                label = ", ".join(action.option_strings) or str(action.metavar or action.dest)
                text.append(f"| `{label}{value}` | {action.help} |")
        text.append("")
    return "\n".join(text)


def main() -> None:
    """Write the pages."""
    for name, page in (("checks.md", checks_page), ("sources.md", sources_page), ("cli.md", cli_page)):
        (DOCS / name).write_text(page(), "utf8")


if __name__ == "__main__":
    main()
