"""What GitLab recorded over a period: changes to protections, and weaknesses its scanners found."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from collector.api import Http, Record, Redaction, Row, Verdict, check, days_between, fail, instant, ok, skip, source
from collector.model import stamp

MOST = 10
"""Names that a reason lists at most."""

DAYS = 90
"""Days before the collection whose audit events are read."""

REDACTED = Redaction(
    "gitlab:GET *",
    "credentials, and people beyond id",
    regex=r'"(?:runners_token|import_url|service_desk_address|avatar_url|author_name|author_email|ip_address|\w*email)"'
    r'\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
)
LISTED: dict[str, Any] = {
    "include_subgroups": True, "with_shared": False, "order_by": "id", "sort": "asc", "per_page": 100,
}  # fmt: skip


@source(
    "gitlab.audit-events", key="Key", per="account", permissions=("read_api",), kind="period", window_days=DAYS,
    redactions=(REDACTED,),
    filters="the period",
)  # fmt: skip
def audit_events(gitlab: Http) -> Iterator[Row]:
    """Every audit event of the 90 days before the collection, of the group and of its projects; paid plans only."""
    now = gitlab.now()
    period = {"created_after": stamp(now - timedelta(days=DAYS)), "created_before": stamp(now)}
    asked: dict[str, Any] = {**period, "pagination": "keyset", "per_page": 100}
    for item in gitlab.pages("/api/v4/groups/{id}/audit_events", id=gitlab.account, **asked):
        yield {"Key": f"group/{item['id']}", **item}
    for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
        for item in gitlab.pages("/api/v4/projects/{id}/audit_events", id=project["id"], **asked):
            yield {"Key": f"project/{item['id']}", **item}


@source(
    "gitlab.vulnerabilities",
    key="path_with_namespace",
    per="account",
    permissions=("read_api",),
    kind="period",
    redactions=(REDACTED,),
)
def vulnerabilities(gitlab: Http) -> Iterator[Row]:
    """Every project that is not archived, with every weakness ever found in it, open or closed; Ultimate only."""
    for project in gitlab.pages("/api/v4/groups/{id}/projects", id=gitlab.account, **LISTED):
        if project["archived"]:
            gitlab.leave_out("archived projects")
            continue
        path = "/api/v4/projects/{id}/vulnerabilities"
        yield {**project, "vulnerabilities": gitlab.attempt_all(path, id=project["id"], per_page=100)}


@check(
    "gitlab.audit-events.protection-kept",
    title="Protections on GitLab were not changed",
    severity="high",
    over=("gitlab.audit-events",),
)
def protection_kept(
    events: Iterator[Record],
    *,
    max_events: int = 0,
    about: tuple[str, ...] = (
        "*approval*", "*force push*", "*protected*branch*", "*protected_branch*", "*two_factor*", "*two-factor*",
        "*visibility*",
    ),
) -> Verdict:  # fmt: skip
    """In the period at most ``max_events`` events were ``about`` branch protection, approvals, sign-in or visibility.

    Source: Audit events (``details``: ``add``, ``remove``, ``change``, ``custom_message``, ``event_name``, of which
    GitLab sends those that apply). An event is an exception until it is held against an approved change.
    Remedy: show the approved change for each event.
    """
    found = []
    for event in events:
        details = event["details"]
        told = [str(details.get(name, "")) for name in ("add", "remove", "change", "custom_message", "event_name")]
        if any(fnmatchcase(text.casefold(), pattern) for text in told for pattern in about):
            found.append(f"{event['created_at']} {next(filter(None, told))}")
    reason = f"{len(found)} changes to protections in the period, limit {max_events}"
    return ok(reason) if len(found) <= max_events else fail(f"{reason}: {'; '.join(sorted(found)[:MOST])}")


@check(
    "gitlab.vulnerabilities.fixed-in-time",
    title="Weaknesses GitLab found are fixed in time",
    severity="high",
    each="gitlab.vulnerabilities",
)
def fixed_in_time(
    project: Record,
    *,
    as_of: datetime,
    critical_days: int = 7,
    high_days: int = 30,
    medium_days: int = 90,
    period_days: int = 90,
) -> Verdict:
    """No weakness was open longer than the days for its severity, among those open in the last ``period_days``.

    A dismissal closes it too: whether its reason holds is for a person. An empty list does not show that anything
    scans. Source: List project vulnerabilities (``severity``, ``created_at``, ``resolved_at``, ``dismissed_at``).
    Remedy: fix it, or dismiss it with a reason.
    """
    limits = {"critical": critical_days, "high": high_days, "medium": medium_days}  # low, info and unknown: no limit
    late, counted = [], 0
    for item in project["vulnerabilities"]:
        end = item["resolved_at"] or item["dismissed_at"]
        if item["severity"] not in limits or (end and days_between(instant(end), as_of) > period_days):
            continue
        counted += 1
        took = days_between(instant(item["created_at"]), instant(end) if end else as_of)
        if took > limits[item["severity"]]:
            late.append(f"{item['id']} {'closed after' if end else 'open for'} {took} days")
    if late:
        return fail(f"{len(late)} of {counted} weaknesses of the period were late: {'; '.join(late[:MOST])}")
    return ok(f"none of {counted} weaknesses of the period was late") if counted else skip("none in the period")
