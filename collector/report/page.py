"""The report as one HTML page that needs nothing else: no network, no folder beside it, no server.

The page is written once, from a template, a style sheet and a script that lie beside this module. Everything from
outside reaches it as escaped text or as JSON that the script shows with ``textContent``; a name cannot become markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import orjson

from collector.grades import MEANING
from collector.model import Row
from collector.report import ReportData
from collector.report.json_ import document
from collector.report.text import visible

HERE = Path(__file__).parent

_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(report: ReportData) -> str:
    """The page, complete."""
    seal = report.seal
    organisation = visible(report.plan.get("organisation", "")) or "Organisation not named"
    aborted = escape(visible(report.aborted))
    stale = escape(visible(age(report)))
    problems = "".join(f"<li>Problem: {escape(visible(problem))}</li>" for problem in seal.problems)
    attested = "".join(f"<li>{escape(visible(line))}</li>" for line in seal.attested)
    warnings = "".join(f"<li>Warning: {escape(visible(warning))}</li>" for warning in seal.warnings)
    return Template((HERE / "page.html").read_text("utf-8")).substitute(
        title=escape(f"Run {report.run}, {organisation}: evidence report"),
        style=(HERE / "page.css").read_text("utf-8"),
        script=(HERE / "page.js").read_text("utf-8"),
        run=int(report.run),
        organisation=escape(organisation),
        state=escape(visible(report.state)),
        as_of=escape(visible(_readable(report.plan.get("asOf", "a time that is not recorded")))),
        aborted=f'<p class="notice bad" id="aborted"><strong>Aborted:</strong> {aborted}.</p>' if aborted else "",
        stale=f'<p class="notice warn" id="age"><strong>Stale:</strong> {stale}.</p>' if stale else "",
        tone="good" if seal.verified else "bad" if seal.problems else "warn",
        seal=escape(seal.words),
        problems=f'<ul class="problems">{problems}</ul>' if problems else "",
        attested=f'<ul class="attested">{attested}</ul>' if attested else "",
        warnings=f'<ul class="warnings">{warnings}</ul>' if warnings else "",
        data=in_script(contents(report)),
    )


def age(report: ReportData) -> str:
    """What a report of evidence that is too old begins with; empty for any other."""
    if not report.stale:
        return ""
    unknown, total = report.standing["UNKNOWN"], len(report.findings)
    lists = f"{len(report.stale)} of {len(report.populations)} lists were read too long before {_readable(report.at)}"
    return f"{lists}; {unknown} of {total} findings stand as UNKNOWN then, whatever the run concluded"


def contents(report: ReportData) -> Row:
    """What the script of the page shows."""
    plan = report.plan
    limits = {check["id"]: check["params"] for check in plan.get("checks", ())}
    return document(report) | {
        "findings": [_finding(row, limits.get(row["check"])) for row in report.findings],
        "controls": [row | {"framework_name": name(row["framework"])} for row in report.controls],
        "replies": [row | {"params": _text(row.get("params", {}))} for row in report.replies],
        "checks": [check | {"params": _text(check["params"])} for check in plan.get("checks", ())],
        "sources": plan.get("sources", []),
        "tasks": plan.get("tasks", []),
        "places": plan.get("places", []),
        "disabled": plan.get("disabled", []),
        "selection": plan.get("selection", ""),
        "grades": MEANING,
        "config": plan.get("config", {}).get("sha256", ""),
        "code": {item["file"]: item["sha256"] for item in (*plan.get("code", ()), *plan.get("files", ()))},
    }


def in_script(value: Mapping[str, Any]) -> str:
    """JSON that may stand inside a ``script`` element: nothing in it can end the element or open a comment."""
    return re.sub("[<>&\u2028\u2029]", lambda found: _IN_SCRIPT[found[0]], orjson.dumps(value).decode())


def name(framework: str) -> str:
    """How a framework is written in a title: ``iso-27001`` is ``ISO/IEC 27001``."""
    return re.sub(r"^iso-(\d+)$", r"ISO/IEC \1", framework)


def _finding(row: Row, limits: Mapping[str, Any] | None) -> Row:
    """The finding; its limits stand in it only where they are not those of the plan."""
    params = row.get("params", {})
    same = row.get("standing") == row["outcome"]
    drop = {"params", *(("standing", "standing_reason") if same else ())}
    short = {key: value for key, value in row.items() if key not in drop}
    return short if params == limits else short | {"params": _text(params)}


def _readable(time: str) -> str:
    return re.sub(r"^(\S+)T(\S+)Z$", r"\1 \2 UTC", time)


def _text(value: object) -> str:
    """JSON as text, so that the browser cannot round a number."""
    return orjson.dumps(value).decode()
