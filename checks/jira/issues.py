"""Jira tickets: changes, incidents, access requests and exceptions, with everything that happened to them.

Which tickets these are, saved filters say, which an administrator makes once: ``affidavit changes``,
``affidavit incidents``, ``affidavit access-requests`` and ``affidavit exceptions``. Their JQL goes on record.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from collector.api import (
    GapKind,
    Http,
    Offset,
    Record,
    Redaction,
    Row,
    Token,
    Unavailable,
    Verdict,
    check,
    fail,
    instant,
    ok,
    skip,
    source,
)  # fmt: skip

PAGES = Offset("startAt", "maxResults", size=100, total="total")
FIELDS = "created,updated,resolutiondate,duedate,status,priority,issuetype,reporter,assignee"
REASON = "people are told apart by accountId and address"
SEARCH, LOG, FILTERS = "GET /rest/api/3/search/jql", "GET /rest/api/3/issue/{issueIdOrKey}/changelog", "filter/search"
REDACTIONS = tuple(
    Redaction(f"jira:{operation}", REASON, json=f"{path}.{name}")
    for operation, path in (
        (SEARCH, "issues[].fields.reporter"), (SEARCH, "issues[].fields.assignee"),
        (SEARCH, "issues[].changelog.histories[].author"), (LOG, "values[].author"),
        (f"GET /rest/api/3/{FILTERS}", "values[].owner"),
    )
    for name in ("displayName", "avatarUrls.*")
)  # fmt: skip
SCOPES = ("read:jira-work",)


def _tickets(jira: Http, kind: str) -> Iterator[Row]:
    """Tickets of the filter ``affidavit KIND``: not done, or changed within 366 days; each with its changelog."""
    name = f"affidavit {kind}"
    found = [
        one for one in jira.pages(
            "/rest/api/3/filter/search", rows="values", pager=PAGES, filterName=name, expand="jql,owner"
        )
        if one["name"].casefold() == name
    ]  # fmt: skip
    if len(found) != 1:
        many = "no filter is" if not found else f"{len(found)} filters are"
        raise Unavailable(
            GapKind.UNPROVEN, f"{many} named {name!r} and shared with the caller, so nobody knows which tickets count"
        )
    for issue in jira.pages(
        "/rest/api/3/search/jql",
        rows="issues",
        pager=Token("nextPageToken", "nextPageToken", last="isLast"),
        jql=f"filter = {found[0]['id']} AND (updated >= -366d OR statusCategory != Done) ORDER BY created ASC, key ASC",
        fields=FIELDS,
        expand="changelog",
        maxResults=100,
    ):
        log = issue.pop("changelog")
        histories = log["histories"]
        if log["total"] != len(histories):
            histories = jira.attempt_all(
                "/rest/api/3/issue/{issueIdOrKey}/changelog", rows="values", pager=PAGES, issueIdOrKey=issue["id"]
            )
        yield {**issue, "getChangeLogs": histories}


@source(
    "jira.changes", key="key", per="connection", permissions=SCOPES, kind="period", redactions=REDACTIONS,
    filters="the saved filter of that name, and what is open or was updated in the period",
)  # fmt: skip
def changes(jira: Http) -> Iterator[Row]:
    """Every ticket of the filter "affidavit changes" that the caller sees, open or changed within 366 days."""
    yield from _tickets(jira, "changes")


@source(
    "jira.incidents", key="key", per="connection", permissions=SCOPES, kind="period", redactions=REDACTIONS,
    filters="the saved filter of that name, and what is open or was updated in the period",
)  # fmt: skip
def incidents(jira: Http) -> Iterator[Row]:
    """Every ticket of the filter "affidavit incidents" that the caller sees, open or changed within 366 days."""
    yield from _tickets(jira, "incidents")


@source(
    "jira.access-requests", key="key", per="connection", permissions=SCOPES, kind="period", redactions=REDACTIONS,
    filters="the saved filter of that name, and what is open or was updated in the period",
)  # fmt: skip
def access_requests(jira: Http) -> Iterator[Row]:
    """Every ticket of the filter "affidavit access-requests" that the caller sees, open or changed within 366 days."""
    yield from _tickets(jira, "access-requests")


@source(
    "jira.exceptions", key="key", per="connection", permissions=SCOPES, kind="period", redactions=REDACTIONS,
    filters="the saved filter of that name, and what is open or was updated in the period",
)  # fmt: skip
def exceptions(jira: Http) -> Iterator[Row]:
    """Every ticket of the filter "affidavit exceptions" that the caller sees, open or changed within 366 days."""
    yield from _tickets(jira, "exceptions")


class Step(NamedTuple):
    """A ticket came into a status."""

    at: datetime
    status: str
    by: str
    """Account id; empty where Jira itself did it."""


def _when(text: str) -> datetime:
    """A time as Jira spells it: ``2026-03-01T09:00:00.000+0000``."""
    return instant(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text))


def _steps(ticket: Record) -> list[Step]:
    """Every change of the status, oldest first."""
    found = []
    for entry in ticket["getChangeLogs"]:
        for item in entry["items"]:
            if item["field"] == "status":
                author = entry.get("author") or {}  # absent where an automation of Jira did it
                found.append(Step(_when(entry["created"]), item["toString"], author.get("accountId", "")))
    return sorted(found)


def _last(steps: list[Step], statuses: tuple[str, ...], until: datetime | None = None) -> Step | None:
    """The last step into one of these statuses, up to a time."""
    found = [step for step in steps if step.status in statuses and (until is None or step.at <= until)]
    return found[-1] if found else None


def _account(person: Record | None) -> str:
    return str(person["accountId"]) if person else ""


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


APPROVED = ("Approved",)
DONE = ("Implemented", "Done", "Closed")
GRANTED = ("Granted", "Fulfilled", "Done", "Closed")
REFUSED = ("Canceled", "Cancelled", "Declined", "Rejected", "Withdrawn")
CLOSING = ("Done", "Closed")
"""Statuses in which also what was refused comes to its end."""


def _approved_before(
    ticket: Record, as_of: datetime, days: int, approved: tuple[str, ...], done: tuple[str, ...],
    refused: tuple[str, ...],
) -> Verdict:  # fmt: skip
    """The last decision before the first step that carries it out was to approve it."""
    steps = _steps(ticket)
    carried = next((step for step in steps if step.status in done), None)
    decided = _last(steps, (*approved, *refused), carried.at if carried else None)
    if decided and decided.status in refused and (carried is None or carried.status in CLOSING):
        return skip(f"{decided.status} at {_told(decided.at)}")
    if carried is None:
        return skip(f"it never came to {' or '.join(done)}")
    if as_of - carried.at > timedelta(days=days):
        return skip(f"{carried.status} at {_told(carried.at)}, before the period of {days} days")
    told = f"{carried.status} at {_told(carried.at)}"
    if decided is None:
        return fail(f"{told}, not {' or '.join(approved)} before that")
    told = f"{decided.status} at {_told(decided.at)}, {told}"
    return fail(told) if decided.status in refused else ok(told)


def _approved_by_another(
    ticket: Record, as_of: datetime, days: int, approved: tuple[str, ...], done: tuple[str, ...]
) -> Verdict:
    """Who brought it to approval, the last time before it was carried out, neither reported nor carried it out."""
    steps = _steps(ticket)
    first = next((step for step in steps if step.status in done), None)
    approval = (_last(steps, approved, first.at) if first else None) or _last(steps, approved)
    if approval is None:
        return skip(f"it never came to {' or '.join(approved)}")
    if as_of - approval.at > timedelta(days=days):
        return skip(f"{approval.status} at {_told(approval.at)}, before the period of {days} days")
    if not approval.by:
        return fail(f"{approval.status} at {_told(approval.at)} by nobody: Jira itself did it")
    carried = [step.by for step in steps if step.status in done and step.at >= approval.at]
    if not ticket["fields"]["reporter"]:
        raise Unavailable(GapKind.UNPROVEN, "it has no reporter, so that nothing shows that another approved it")
    others = [_account(ticket["fields"]["reporter"]), *carried]
    if approval.by in others:
        return fail(f"{approval.by} approved it, and {'reported' if approval.by == others[0] else 'carried'} it too")
    return ok(f"approved by {approval.by}, reported by {others[0]}")


@check(
    "jira.changes.approved-before",
    title="Changes in Jira were approved before they were carried out",
    severity="high",
    each="jira.changes",
)
def changes_approved_before(
    ticket: Record,
    *,
    as_of: datetime,
    approved_statuses: tuple[str, ...] = APPROVED,
    done_statuses: tuple[str, ...] = DONE,
    period_days: int = 366,
    refused_statuses: tuple[str, ...] = REFUSED,
) -> Verdict:
    """A change came into one of ``approved_statuses`` before it first came into one of ``done_statuses``.

    One that came into ``refused_statuses`` after that is not approved; it is skipped where it was only closed (Done,
    Closed).
    Source: changelog of the ticket (``status``), of those carried out within ``period_days``. The list begins with
    tickets, not with what changed.
    Remedy: have the workflow ask for approval.
    """
    return _approved_before(ticket, as_of, period_days, approved_statuses, done_statuses, refused_statuses)


@check(
    "jira.changes.approved-by-another",
    title="Nobody approved a change of their own in Jira",
    severity="high",
    each="jira.changes",
)
def changes_approved_by_another(
    ticket: Record,
    *,
    as_of: datetime,
    approved_statuses: tuple[str, ...] = APPROVED,
    done_statuses: tuple[str, ...] = DONE,
    period_days: int = 366,
) -> Verdict:
    """Who brought a change into ``approved_statuses`` neither reported it nor brought it into ``done_statuses``.

    Source: changelog (author of the step), ``reporter``, of those approved within ``period_days``.
    Remedy: have the workflow refuse the reporter and the assignee as approver.
    """
    return _approved_by_another(ticket, as_of, period_days, approved_statuses, done_statuses)


@check(
    "jira.access-requests.approved-before",
    title="Access requests in Jira were approved before access was granted",
    severity="high",
    each="jira.access-requests",
)
def requests_approved_before(
    ticket: Record,
    *,
    as_of: datetime,
    approved_statuses: tuple[str, ...] = APPROVED,
    done_statuses: tuple[str, ...] = GRANTED,
    period_days: int = 366,
    refused_statuses: tuple[str, ...] = REFUSED,
) -> Verdict:
    """A request came into one of ``approved_statuses`` before it first came into one of ``done_statuses``.

    One that came into ``refused_statuses`` after that is not approved; it is skipped where it was only closed (Done,
    Closed).
    Source: changelog of the ticket (``status``), of those carried out within ``period_days``.
    Remedy: have the workflow ask for approval.
    """
    return _approved_before(ticket, as_of, period_days, approved_statuses, done_statuses, refused_statuses)


@check(
    "jira.access-requests.approved-by-another",
    title="Nobody approved an access request of their own in Jira",
    severity="high",
    each="jira.access-requests",
)
def requests_approved_by_another(
    ticket: Record,
    *,
    as_of: datetime,
    approved_statuses: tuple[str, ...] = APPROVED,
    done_statuses: tuple[str, ...] = GRANTED,
    period_days: int = 366,
) -> Verdict:
    """Who brought a request into ``approved_statuses`` neither reported it nor brought it into ``done_statuses``.

    Source: changelog (author of the step), ``reporter``, of those approved within ``period_days``.
    Remedy: have the workflow refuse the reporter as approver.
    """
    return _approved_by_another(ticket, as_of, period_days, approved_statuses, done_statuses)


def _target(targets: tuple[str, ...], ticket: Record) -> tuple[str, int | None]:
    """Priority of a ticket, and the hours that it allows; targets are spelt ``High:24``."""
    priority = ticket["fields"].get("priority")  # left out where a project has none
    name = priority["name"] if priority else "none"
    return name, next((int(one.rpartition(":")[2]) for one in targets if one.rpartition(":")[0] == name), None)


def _in_time(start: datetime, done: datetime | None, as_of: datetime, limit_h: int, what: str) -> Verdict:
    hours = ((done or as_of) - start).total_seconds() / 3600
    if done is None and hours <= limit_h:
        return skip(f"not {what} yet, and the {limit_h} hours for it are not over")
    told = f"{what} after {hours:.1f} hours" if done else f"not {what} for {hours:.1f} hours"
    return ok(f"{told}, limit {limit_h}") if done and hours <= limit_h else fail(f"{told}, limit {limit_h}")


@check(
    "jira.incidents.triaged-in-time",
    title="Incidents in Jira were looked at in time",
    severity="high",
    each="jira.incidents",
)
def triaged_in_time(ticket: Record, *, as_of: datetime, max_hours: int = 8, period_days: int = 366) -> Verdict:
    """The status of an incident changed for the first time at most ``max_hours`` after it was created.

    Source: changelog of the ticket (``status``), ``created``, of those created within ``period_days``.
    Remedy: have somebody on call who decides on each.
    """
    created = _when(ticket["fields"]["created"])
    if as_of - created > timedelta(days=period_days):
        return skip(f"created at {_told(created)}, before the period of {period_days} days")
    steps = _steps(ticket)
    return _in_time(created, steps[0].at if steps else None, as_of, max_hours, "triaged")


@check(
    "jira.incidents.resolved-in-time",
    title="Incidents in Jira were resolved within their target",
    severity="high",
    each="jira.incidents",
)
def resolved_in_time(
    ticket: Record, *, as_of: datetime, max_hours: tuple[str, ...] = ("Highest:24", "High:72"), period_days: int = 366
) -> Verdict:
    """An incident was resolved within the hours that ``max_hours`` gives for its priority.

    Source: ``created``, ``resolutiondate``, ``priority`` of the ticket, of those created within ``period_days``.
    Remedy: find out what held the response up.
    """
    created = _when(ticket["fields"]["created"])
    if as_of - created > timedelta(days=period_days):
        return skip(f"created at {_told(created)}, before the period of {period_days} days")
    name, limit = _target(max_hours, ticket)
    if limit is None:
        return skip(f"no target for the priority {name}")
    resolved = ticket["fields"]["resolutiondate"]
    return _in_time(created, _when(resolved) if resolved else None, as_of, limit, "resolved")


@check(
    "jira.exceptions.end",
    title="Exceptions in Jira have an end, and none is open after it",
    severity="high",
    each="jira.exceptions",
)
def exceptions_end(ticket: Record, *, as_of: datetime, max_days: int = 366) -> Verdict:
    """An exception that is not done is due at most ``max_days`` after it was created, and the day has not passed.

    Source: ``duedate``, ``created``, ``status`` of the ticket.
    Remedy: close it, or decide on it again.
    """
    fields = ticket["fields"]
    if fields["status"]["statusCategory"]["key"] == "done":
        return skip(f"its status is {fields['status']['name']}")
    due = fields.get("duedate")  # left out where a project has none
    if not due:
        return fail("it has no due date")
    if due < as_of.date().isoformat():
        return fail(f"it was due on {due} and is {fields['status']['name']}")
    days = (instant(f"{due}T00:00:00Z") - _when(fields["created"])).days
    told = f"due on {due}, {days} days after it was created, limit {max_days}"
    return ok(told) if days <= max_days else fail(told)


@check(
    "jira.exceptions.approved-by-another",
    title="Exceptions in Jira were approved by somebody who did not ask for them",
    severity="high",
    each="jira.exceptions",
)
def exceptions_approved(
    ticket: Record,
    *,
    as_of: datetime,
    approved_statuses: tuple[str, ...] = ("Approved", "Accepted"),
    max_pending_days: int = 30,
) -> Verdict:
    """Who brought an open exception into ``approved_statuses`` did not report it; none waits ``max_pending_days``.

    Source: changelog (author of the step), ``reporter``, ``created``.
    Remedy: decide on it.
    """
    status = ticket["fields"]["status"]
    if status["statusCategory"]["key"] == "done":
        return skip(f"its status is {status['name']}")
    approval = _last(_steps(ticket), approved_statuses)
    if approval is None:
        waits = (as_of - _when(ticket["fields"]["created"])).days
        told = f"not approved for {waits} days, limit {max_pending_days}"
        return skip(told) if waits <= max_pending_days else fail(told)
    reporter = _account(ticket["fields"]["reporter"])
    told = f"approved by {approval.by or 'nobody'}, reported by {reporter or 'nobody'}"
    if not approval.by or approval.by == reporter:
        return fail(told)
    if not reporter:
        raise Unavailable(GapKind.UNPROVEN, "it has no reporter, so that nothing shows that another approved it")
    return ok(told)
