"""The report as one JSON document: an interface others script against. Fields are added, never changed."""

from __future__ import annotations

import orjson

from collector.model import Row
from collector.report import ReportData

SCHEMA = "affidavit.report/1"


def document(report: ReportData) -> Row:
    """The report as plain data; the seal comes first."""
    return {
        "schema": SCHEMA,
        "run": report.run,
        "state": report.state,
        "aborted": report.aborted,
        "seal": report.seal.as_row(),
        "organisation": report.plan.get("organisation", ""),
        "as_of": report.plan.get("asOf", ""),
        "collector": report.plan.get("collector", {}),
        "opening": dict(report.opening),
        "closing": dict(report.closing),
        "counts": report.counts,
        "gaps": list(report.gaps),
        "silent_checks": list(report.silent_checks),
        "stopped_passes": report.stopped_passes,
        "flawed_checks": list(report.flawed_checks),
        "findings": list(report.findings),
        "controls": list(report.controls),
        "populations": list(report.populations),
        "not_shown": [{"reply": row["i"], "why": row["notShown"]} for row in report.replies if "notShown" in row],
        "certificates": list(report.certificates),
        "suppressions": list(report.suppressions),
        "at": report.at,
        "waived": report.waived,
        "waivers": list(report.waivers),
        "attachments": list(report.attachments),
        "standing": {"at": report.at, "counts": report.standing, "stale": list(report.stale)},
        "continuity": report.continuity,
        "permissions": list(report.permissions),
    }


def render(report: ReportData) -> str:
    """The document as text, indented, ending with a newline."""
    return orjson.dumps(document(report), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
