"""Writes the pages that follow from the code and the mappings: checks.md, sources.md, coverage.md, cli.md."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from collector import examples, plugins
from collector.catalogue import STRENGTHS, load_catalogues, load_mappings
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
        f"{len(library.sources)} datasets. Under *asks for* stands how the requests narrow what is listed; where it "
        "says none, they do not.\n",
    ]
    text += ["| dataset | population | asks for | per | key | kind | permissions |", "|---|---|---|---|---|---|---|"]
    for source in sorted(library.sources.values(), key=lambda source: source.id):
        text.append(
            f"| {source.id} | {source.definition} | {source.filters} | {source.per} | {source.key} | {source.kind} "
            f"| {', '.join(source.permissions)} |"
        )
    return "\n".join(text) + "\n"


PARTS = (
    ("iso-27001", "2022+amd1", "ISO/IEC 27001:2022, Annex A", lambda control: control.id.startswith("A.")),
    ("iso-27017", "2015", "ISO/IEC 27017:2015, cloud-specific controls", lambda control: control.id.startswith("CLD.")),
    ("iso-27017", "2026", "ISO/IEC 27017:2026", lambda control: control.kind in ("cloud-specific", "cloud-guidance")),
)
SHORT = {
    "supports": "supports", "demonstrates_design": "design", "demonstrates_implementation": "implementation",
    "demonstrates_operation": "operation",
}  # fmt: skip


def coverage_page() -> str:
    """Every control: which sources evidence it, how strongly at most, and what remains for people to show."""
    library = plugins.load()
    root = plugins.content_root() / "mappings"
    catalogues = load_catalogues(root)
    rows = defaultdict(list)
    for row in load_mappings(root, None, library.checks, catalogues).rows:
        if row.strength != "context":
            rows[row.key].append(row)
    text = [
        MARK + "# Coverage\n",
        "What the checks of this release can show of each control, if they pass: how many checks by source, and the",
        "most that any of them shows. *Operation* is over a period; *supports* alone makes nothing met. Rows of",
        "background are not counted. The last column is what no system shows; each mapping row names more of it.\n",
    ]
    for framework, edition, title, wanted in PARTS:
        controls = [control for control in catalogues.all[framework, edition].controls if wanted(control)]
        best = {c.key: max((STRENGTHS.index(row.strength) for row in rows[c.key]), default=0) for c in controls}
        shown = [control for control in controls if best[control.key]]
        can = [control for control in controls if control.api_evidence != "none"]
        strong = sum(best[control.key] >= STRENGTHS.index("demonstrates_design") for control in controls)
        operating = sum(STRENGTHS[best[control.key]] == "demonstrates_operation" for control in controls)
        text += [
            f"## {title}\n",
            f"{len(controls)} controls, of which {len(can)} can be evidenced by systems at all: **{len(shown)}** have "
            f"at least one row, **{strong}** show design, implementation or operation, **{operating}** show "
            "operation.\n",
            "| control | title | at most | checks by source | remains for people |",
            "|---|---|---|---|---|",
        ]
        for control in controls:
            checks = [library.checks[row.check] for row in rows[control.key]]
            kinds = Counter(library.sources[check.datasets[0]].connection for check in checks)
            by_source = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()))
            most = SHORT.get(STRENGTHS[best[control.key]], "")
            none = "no system shows it" if control.api_evidence == "none" else "nothing yet"
            people = control.documents or control.ask
            text.append(f"| {control.id} | {control.title} | {most or none} | {by_source} | {people} |")
        text.append("")
    return "\n".join(text)


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
    pages = {"checks": checks_page, "sources": sources_page, "coverage": coverage_page, "cli": cli_page}
    for name, page in pages.items():
        (DOCS / f"{name}.md").write_text(page(), "utf8")


if __name__ == "__main__":
    main()
