"""The report as text: tables on a terminal, plain columns in a file or a pipe."""

from __future__ import annotations

import io
import sys
from collections import Counter
from typing import TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from collector.grades import MEANING as GRADES
from collector.model import Outcome, Row
from collector.report import OUTCOMES, RESULTS, ReportData
from collector.report.text import day, until, visible, words

STALE = 5
"""Stale lists that are named; the rest is counted."""
CHANGED = 12
"""Lines of what was not shown and how the measurement changed; the rest is counted."""
LONGEST = 300
"""Characters of the words of one such line."""
UNUSED = 5
"""Rights not used that are named; the rest is counted."""
PLAIN_WIDTH = 200
"""Columns of a report that goes into a file or a pipe."""
SHOWN = 50
"""Findings and gaps a terminal shows; the rest is counted, and stands in the other formats."""

STYLES = {
    "ERROR": "bold magenta", "UNKNOWN": "bold yellow", "FAIL": "bold red", "PASS": "green", "SKIP": "dim",
    "exceptions": "bold red", "not_collected": "yellow", "met": "green",
}  # fmt: skip


def show(report: ReportData, out: TextIO) -> None:
    """Write the report, with colour where someone is looking."""
    out.write(render(report, color=out.isatty()))


def render(report: ReportData, *, color: bool = False, width: int | None = None) -> str:
    """Seal, what was not read, exceptions, controls and checks; without ``color`` plain columns and no escape codes."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=color, no_color=None if color else True, highlight=False, markup=False, emoji=False,
        width=width or (None if color else PLAIN_WIDTH),
    )  # fmt: skip
    _head(console, report)
    _gaps(console, report)
    _suppressions(console, report)
    _permissions(console, report)
    _findings(console, report)
    _controls(console, report)
    _attachments(console, report)
    _checks(console, report)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _head(console: Console, report: ReportData) -> None:
    if report.aborted:
        _line(console, f"ABORTED: {report.aborted}", "bold red")
    seal = report.seal
    style = "bold green" if seal.verified else "bold red" if seal.problems else "bold yellow"
    _line(console, f"Seal: {seal.words}", style)
    for problem in seal.problems:
        _line(console, f"  problem: {problem}", "bold red")
    for attestation in seal.attested:
        _line(console, f"  {attestation}")
    for warning in seal.warnings:
        _line(console, f"  WARNING: {warning}", "bold yellow")
    plan = report.plan
    organisation, as_of = plan.get("organisation", ""), plan.get("asOf", "")
    _line(console, f"Run {report.run} of {organisation}, {report.state}, as of {as_of} (UTC)")
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
    waived = f"; exceptions, waived: {report.waived} of {report.counts['FAIL']}" if report.waived else ""
    _line(console, f"Findings: {counts}; gaps: {len(report.gaps)}{waived}")
    if report.stale:
        standing = ", ".join(f"{count} {outcome}" for outcome, count in report.standing.items())
        _line(console, f"STALE: as of {report.at} the findings stand as {standing}", "bold yellow")
        for one in report.stale[:STALE]:
            _line(console, f"  {one['dataset']} in {one['scope']}: {one['reason']}", STYLES["UNKNOWN"])
        if len(report.stale) > STALE:
            _line(console, f"  and {len(report.stale) - STALE} more lists", STYLES["UNKNOWN"])
    if report.waivers:
        states = Counter(row["state"] for row in report.waivers)
        _line(console, "Waivers: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    if grades := Counter(row["grade"] for row in report.findings if "grade" in row):
        told_grades = ", ".join(f"{grades[letter]} {letter} ({GRADES[letter]})" for letter in sorted(grades))
        _line(console, f"Grades, how far findings can be verified: {told_grades}", "dim")
    if report.continuity:
        share, counted = report.continuity["share"], report.continuity["counts"]
        slots = ", ".join(f"{count} {state}" for state, count in counted.items() if count) or "no slot was committed"
        covered = "" if share is None else f", {share:.1%} covered"
        _line(console, f"Period {day(report.continuity['from'])} to {until(report.continuity['to'])}: {slots}{covered}")
        for hole in report.continuity.get("uncommitted", ()):
            _line(console, f"  no timetable: {day(hole['from'])} to {until(hole['to'])}", STYLES["UNKNOWN"])
    if hidden := Counter(row["notShown"] for row in report.replies if "notShown" in row):
        told = "; ".join(f"{count}: {why}" for why, count in hidden.items())
        _line(console, f"Replies that are not shown whole: {told}", "bold yellow")
    _line(console, "Facts that were observed; whether they conform is for the auditor to say.", "dim")


def _gaps(console: Console, report: ReportData) -> None:
    table = _table("What could not be read", "Dataset", "Scope", "Why", "Reason", "Operation", "Missing")
    for gap in report.gaps[:SHOWN]:
        missing = f"{len(gap['resources'])} records" if gap.get("resources") else "the whole list"
        _row(table, gap["dataset"], gap["scope"], gap["kind"], gap["reason"], gap.get("operation", ""), missing)
    if report.gaps:
        _print(console, table, len(report.gaps) - SHOWN)
    elif report.complete:
        _line(console, "\nEverything that was planned was read to its end.")
    if report.stopped_passes:
        _line(console, f"\n{report.stopped_passes} findings would have passed, had what they rest on been read.")
    for flaw in report.flawed_checks:
        _line(console, f"Counts for nothing in this run: {flaw}", STYLES["UNKNOWN"])
    if report.silent_checks:
        _line(console, f"\nNot read, no result at all: {', '.join(report.silent_checks)}", STYLES["UNKNOWN"])


def _suppressions(console: Console, report: ReportData) -> None:
    """What the measurement left out or did otherwise, newest first; of what is redacted and of the estate the number.

    Fields are redacted as the sources declare in every run, so that they would hide what a person changed.
    """
    ours = [row for row in report.suppressions if row["side"] == "measurement"]
    told = [row for row in ours if row["what"] != "redacted"]
    if not report.suppressions:
        return
    estate = len(report.suppressions) - len(ours)
    title = f"Not shown, or measured otherwise: {len(told)}, and {len(ours) - len(told)} kinds of fields redacted"
    _line(console, f"\n{title}; of the environment: {estate}", "bold")
    for row in sorted(told, key=lambda row: -row.get("leaf", sys.maxsize))[:CHANGED]:
        who = f"by {row['by']}" if row["by"] else "nobody is named"
        when = f", {row['when']}" if row.get("when") else ""
        words = row["reason"] if len(row["reason"]) <= LONGEST else f"{row['reason'][:LONGEST]}..."
        _line(console, f"  {row['what']}: {row['name']}: {words} ({who}{when})")
    if len(told) > CHANGED:
        _line(console, f"  and {len(told) - CHANGED} more: --format html", "dim")


def _permissions(console: Console, report: ReportData) -> None:
    """What was asked without a declaration, and what was declared and not used."""
    for row in report.permissions:
        for one in row["undeclared"]:
            _line(console, f"\nNot declared by {row['dataset']}: {one['reason']}", STYLES["UNKNOWN"])
    unused = [f"{right} ({row['dataset']})" for row in report.permissions for right in row["unused"]]
    if unused:
        more = f" and {len(unused) - UNUSED} more, see --format json" if len(unused) > UNUSED else ""
        told = f"Rights that are declared and that no request of this run needed: {len(unused)}"
        _line(console, f"\n{told}: {', '.join(unused[:UNUSED])}{more}", "dim")


def _findings(console: Console, report: ReportData) -> None:
    wanted = [row for row in report.findings if row["outcome"] not in (Outcome.PASS, Outcome.SKIP)]
    table = _table("Findings that did not pass", "Outcome", "Grade", "Check", "Resource", "Scope", "Reason")
    for row in wanted[:SHOWN]:
        cells = row["outcome"], row.get("grade", ""), row["check"], row["resource"], row["scope"], _beside(row)
        _row(table, *cells, style=row["outcome"])
    if wanted:
        _print(console, table, len(wanted) - SHOWN)


def _controls(console: Console, report: ReportData) -> None:
    for key, counts in report.frameworks.items():
        rows = [row for row in report.controls if (row["framework"], row["edition"]) == key]
        spoken = [row for row in rows if row.get("human") or any(part.get("planned", True) for part in row["rows"])]
        told = ", ".join(f"{counts[result]} {words(result)}" for result in RESULTS if counts[result])
        table = _table(f"By control, {' '.join(key)}: {told}", "Control", "Result", "Strength", "Title", "Reason")
        for row in spoken:
            also = ", incomplete" if row["incomplete"] and row["result"] != "not_collected" else ""
            if row.get("waived"):
                also += f", {row['waived']} of {row['failing']} waived"
            if row.get("standing", row["result"]) != row["result"]:
                also += f"; stands as {words(row['standing'])}: stale"
            result, strength = words(row["result"]) + also, words(row["strength"] or "-")
            _row(table, row["id"], result, strength, row["title"], _why(row, report), style=row["result"], at=1)
        _print(console, table, 0)
        if silent := len(rows) - len(spoken):
            _line(console, f"  {silent} without a check in this run: a person asks; --format html says what", "dim")


def _beside(finding: Row) -> str:
    """The reason of a finding, with what stands beside it: a waiver, and that it is stale."""
    told = str(finding["reason"])
    if waiver := finding.get("waiver"):
        ends = f"until {until(waiver['until'])}" if waiver["state"] == "active" else waiver["state"]
        told += f" [waiver, leaf {waiver['leaf']} by {waiver['by']}, {ends}: {waiver['reason']}]"
    return told + (f" [{finding['standing_reason']}]" if finding.get("standing_reason") else "")


def _why(control: Row, report: ReportData) -> str:
    """The reason of a control, the kinds of evidence, its older numbers, its events and its share of the period."""
    parts = [str(control["reason"])]
    if control.get("human"):
        parts.append(f"{control['evidence']} (leaf {', '.join(map(str, control['human']))})")
    for row in control["rows"]:
        if row["strength"] == "demonstrates_operation" and (told := row.get("operation")):
            period = f" from {told['from']} to {told['to']}" if told["from"] else ""
            parts.append(f"{told['occurrences']} occurrences{period}: {told['definition']}")
    for covered in (report.continuity or {}).get("controls", ()):
        same = all(covered[name] == control[name] for name in ("framework", "edition", "id"))
        if same and covered["share"] is not None:
            parts.append(f"read whole in {covered['occurrences']} slots of the period, {covered['share']:.1%}")
    if control.get("formerly"):
        parts.append("formerly " + ", ".join(f"{one['id']} ({one['edition']})" for one in control["formerly"]))
    return "; ".join(dict.fromkeys(parts))  # several checks may speak of the same events


def _attachments(console: Console, report: ReportData) -> None:
    """What people state stands apart from what was read."""
    if not report.attachments:
        return
    table = _table("What people state: beside the evidence of systems, never part of a verdict",
                   "Leaf", "Stands", "Controls", "What", "By", "Dates")  # fmt: skip
    for one in report.attachments[:SHOWN]:
        names = ", ".join(f"{control['framework']} {control['id']}" for control in one["controls"])
        dates = f"recorded {one['recordedOn']}, effective {day(one['effective'])}"
        dates += f", valid until {until(one['validUntil'])}"
        dates += "".join(f"; {flag}" for flag in one["flags"])
        by = one["by"] + (f", {one['role']}" if one["role"] else "")
        _row(table, one["leaf"], one["words"], names, one["title"], by, dates)
    _print(console, table, len(report.attachments) - SHOWN)


def _checks(console: Console, report: ReportData) -> None:
    checks = {check["id"]: check for check in report.plan.get("checks", ())}
    counts: dict[str, Counter[str]] = {id_: Counter() for id_ in checks}
    for finding in report.findings:
        counts.setdefault(finding["check"], Counter())[finding["outcome"]] += 1
    table = _table("By check", "Check", *OUTCOMES, "True when it passes")
    for id_, found in sorted(counts.items(), key=lambda item: (_worst(item[1]), item[0])):
        cells = (Text(str(found[outcome] or "."), STYLES[outcome] if found[outcome] else "dim") for outcome in OUTCOMES)
        title = checks[id_]["title"] if id_ in checks else "not in the plan of this run"
        table.add_row(Text(visible(id_)), *cells, Text(visible(title)))
    _print(console, table, 0)


def _worst(found: Counter[str]) -> int:
    """Place of the worst outcome; a check without any comes first."""
    return min((OUTCOMES.index(Outcome(outcome)) for outcome in found), default=-1)


def _line(console: Console, text: str, style: str = "") -> None:
    start = "\n" if text.startswith("\n") else ""
    console.print(Text(start + visible(text.removeprefix("\n")), style), soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(visible(title)), title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in OUTCOMES else "left", overflow="fold")
    return table


def _row(table: Table, *cells: object, style: str = "", at: int = 0) -> None:
    styles = (STYLES.get(style, "") if place == at else "" for place in range(len(cells)))
    table.add_row(*(Text(visible(cell), style) for cell, style in zip(cells, styles, strict=True)))


def _print(console: Console, table: Table, more: int) -> None:
    console.print()
    if table.row_count and console.is_terminal:
        console.print(table)
    elif table.row_count:
        table.box, table.padding = None, (0, 2, 0, 0)
        console.print(table)
    else:
        console.print(table.title)
    if more > 0:
        _line(console, f"  and {more} more: see --format json or --format html", "dim")
