"""Requests about data, warnings on threats, and security in projects."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, is_past, not_known, not_yet


@source("register.requests", key="id", per="connection", permissions=("read requests.csv",), kind="period")
def requests(registers: Registers) -> Iterator[Row]:
    """Every request about data in requests.csv: for deletion, by data subjects, for copies to test with."""
    yield from registers.table("requests")


@source("register.advisories", key="id", per="connection", permissions=("read advisories.csv",), kind="period")
def advisories(registers: Registers) -> Iterator[Row]:
    """Every warning and report on threats in advisories.csv that was received."""
    yield from registers.table("advisories")


@source("register.projects", key="id", per="connection", permissions=("read projects.csv",), kind="period")
def projects(registers: Registers) -> Iterator[Row]:
    """Every project in projects.csv, those under way included."""
    yield from registers.table("projects")


def _done_in_time(request: Record, as_of: datetime, period_days: int) -> Verdict:
    """A request that was due within the period was done by that day, and a record is named."""
    if early := before_period(request["due"], as_of, period_days):
        return skip(early)
    done = request["done"]
    if ahead := not_yet(done, as_of):
        return fail(ahead)
    if not done and not is_past(request["due"], as_of):
        return skip(f"due on {request['due']}")
    told = f"due on {request['due']}, done on {done or 'no day'}, record {request['record'] or 'not named'}"
    return ok(told) if done and done <= request["due"] and request["record"] else fail(told)


@check(
    "register.requests.deleted-in-time",
    title="Information was deleted by the day it was due",
    severity="medium",
    each="register.requests",
)
def deleted_in_time(request: Record, *, as_of: datetime, period_days: int = 366) -> Verdict:
    """A deletion that was due within ``period_days`` was done by that day, and a record of it is named.

    Source: requests.csv (``kind`` deletion, ``due``, ``done``, ``record``).
    Remedy: delete it everywhere, copies too, and keep the record.
    """
    if request["kind"] != "deletion":
        return skip(f"a request of the kind {request['kind']}")
    return _done_in_time(request, as_of, period_days)


@check(
    "register.requests.data-subjects-answered",
    title="Requests of data subjects were answered by the day they were due",
    severity="high",
    each="register.requests",
)
def data_subjects_answered(request: Record, *, as_of: datetime, period_days: int = 366) -> Verdict:
    """A request of a data subject that was due within ``period_days`` was answered by that day, with a record.

    Source: requests.csv (``kind`` data-subject, ``due``, ``done``, ``record``).
    Remedy: answer it.
    """
    if request["kind"] != "data-subject":
        return skip(f"a request of the kind {request['kind']}")
    return _done_in_time(request, as_of, period_days)


@check(
    "register.requests.test-data-approved",
    title="Copies of data for tests were approved, masked and removed",
    severity="high",
    each="register.requests",
    beside=("register.people",),
)
def data_for_tests_approved(request: Record, people: Table, *, as_of: datetime, period_days: int = 366) -> Verdict:
    """A copy for tests was approved before it was made, masked, and removed by the day it was due.

    The approver is in people.csv, and no day is ahead of the collection.
    Source: requests.csv (``kind`` test-data, ``approved``, ``approver``, ``done``, ``masked``, ``removed``, ``due``).
    Remedy: approve copies first, mask them, and remove them after the test.
    """
    if request["kind"] != "test-data":
        return skip(f"a request of the kind {request['kind']}")
    made = request["done"]
    if not made:
        return skip("no copy was made")
    if early := before_period(made, as_of, period_days):
        return skip(early)
    approved = request["approved"]
    if not approved or not request["approver"] or approved > made:
        return fail(f"made on {made}, approved {'on ' + approved if approved else 'on no day'}")
    if ahead := not_yet(made, as_of):
        return fail(ahead)
    if unknown := not_known(people, request["approver"], as_of):
        return fail(f"approved by nobody known: {unknown}")
    if request["masked"] != "yes":
        return fail(f"made on {made}, masked: {request['masked'] or 'not recorded'}")
    removed = request["removed"]
    if ahead := not_yet(removed, as_of):
        return fail(f"removal {ahead}")
    if not removed and not is_past(request["due"], as_of):
        return ok(f"approved on {approved}, masked, to be removed by {request['due']}")
    told = f"to be removed by {request['due']}, removed {'on ' + removed if removed else 'on no day'}"
    return ok(told) if removed and removed <= request["due"] else fail(told)


@check(
    "register.advisories.assessed-in-time",
    title="Warnings on threats were assessed in time",
    severity="medium",
    each="register.advisories",
)
def assessed_in_time(advisory: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 5) -> Verdict:
    """A warning that came within ``period_days`` was assessed at most ``max_days`` later, with a decision.

    Source: advisories.csv (``received``, ``assessed``, ``relevant``).
    Remedy: assess it.
    """
    if early := before_period(advisory["received"], as_of, period_days):
        return skip(early)
    done = advisory["assessed"]
    if ahead := not_yet(done, as_of):
        return fail(ahead)
    days = days_after(advisory["received"], done or as_of.date().isoformat())
    if not done and days <= max_days:
        return skip(f"received {days} days ago, and the {max_days} days for it are not over")
    if done and not advisory["relevant"]:
        return fail(f"assessed on {done}, and whether it is relevant is not recorded")
    told = f"assessed {days} days after it came" if done else f"not assessed for {days} days"
    return ok(f"{told}, limit {max_days}") if done and days <= max_days else fail(f"{told}, limit {max_days}")


@check(
    "register.advisories.acted-upon",
    title="Warnings that concern the organisation led to action",
    severity="medium",
    each="register.advisories",
)
def acted_upon(advisory: Record, *, as_of: datetime, period_days: int = 366, max_days: int = 30) -> Verdict:
    """A relevant warning names the action decided, and it was done at most ``max_days`` after the assessment.

    Source: advisories.csv (``relevant``, ``action``, ``done``), of those that came within ``period_days``.
    Remedy: decide, and do it.
    """
    if early := before_period(advisory["received"], as_of, period_days):
        return skip(early)
    if advisory["relevant"] != "yes" or not advisory["assessed"]:
        return skip("it was not found relevant")
    action, done = advisory["action"], advisory["done"]
    if ahead := not_yet(done, as_of):
        return fail(ahead)
    days = days_after(advisory["assessed"], done or as_of.date().isoformat())
    if not action:
        return fail("no action is named")
    if not done and days <= max_days:
        return skip(f"{action} is under way for {days} days, limit {max_days}")
    told = f"{action}, " + (f"done {days} days later" if done else f"not done for {days} days")
    return ok(f"{told}, limit {max_days}") if done and days <= max_days else fail(f"{told}, limit {max_days}")


@check(
    "register.advisories.groups-heard",
    title="Warnings of groups and authorities keep coming",
    severity="low",
    over=("register.advisories",),
)
def groups_heard(
    advisories: Iterator[Record],
    *,
    as_of: datetime,
    max_gap_days: int = 92,
    kinds: tuple[str, ...] = ("cert", "interest-group"),
) -> Verdict:
    """The last warning from a source of one of ``kinds`` came within ``max_gap_days``.

    Source: advisories.csv (``kind``, ``received``).
    Remedy: join a group, subscribe to its warnings, and record them.
    """
    days = [one["received"] for one in advisories if one["kind"] in kinds]
    if not days:
        return fail(f"no warning from {' or '.join(kinds)} is recorded")
    age = days_after(max(days), as_of.date().isoformat())
    told = f"the last of {len(days)} came on {max(days)}, {age} days ago, limit {max_gap_days}"
    return ok(told) if 0 <= age <= max_gap_days else fail(told)


RISKY = ("medium", "high", "critical")


def _not_meant(project: Record, as_of: datetime, period_days: int, levels: tuple[str, ...]) -> Verdict | None:
    """Why a project is not judged: not in operation, long ago, or of little risk."""
    if not project["go_live"] or not is_past(project["go_live"], as_of):
        return skip("it has not gone into operation")
    if early := before_period(project["go_live"], as_of, period_days):
        return skip(early)
    if project["risk"] not in levels:
        return skip(f"its risk is {project['risk']}")
    return None


def _before(project: Record, field: str, limit: str, what: str) -> Verdict:
    """Something was done on or before another day of the project."""
    told = f"{what} on {project[field] or 'no day'}, {limit} on {project[limit]}"
    return ok(told) if project[field] and project[field] <= project[limit] else fail(told)


@check(
    "register.projects.risks-assessed",
    title="Security risks of projects were assessed, and what remained was accepted",
    severity="medium",
    each="register.projects",
)
def risks_assessed(
    project: Record, *, as_of: datetime, period_days: int = 366, levels: tuple[str, ...] = RISKY, max_days: int = 30
) -> Verdict:
    """The risks of a project in ``levels`` were assessed ``max_days`` after its start at most, and accepted.

    Source: projects.csv (``started``, ``assessed``, ``accepted_by``), of those in operation within ``period_days``.
    Remedy: assess risks when a project starts.
    """
    if not_meant := _not_meant(project, as_of, period_days, levels):
        return not_meant
    if not project["assessed"] or not project["accepted_by"]:
        return fail(f"assessed on {project['assessed'] or 'no day'}, accepted by {project['accepted_by'] or 'nobody'}")
    late = days_after(project["started"], project["assessed"])
    told = f"assessed {late} days after its start, limit {max_days}, accepted by {project['accepted_by']}"
    return ok(told) if late <= max_days else fail(told)


@check(
    "register.projects.requirements-approved",
    title="Security requirements of projects were approved before operation",
    severity="medium",
    each="register.projects",
)
def requirements_approved(
    project: Record, *, as_of: datetime, period_days: int = 366, levels: tuple[str, ...] = RISKY
) -> Verdict:
    """The security requirements of a project in ``levels`` were approved on or before the day of operation.

    Source: projects.csv (``requirements_approved``, ``go_live``), of those in operation within ``period_days``.
    Remedy: approve requirements before anything is built or bought.
    """
    if not_meant := _not_meant(project, as_of, period_days, levels):
        return not_meant
    return _before(project, "requirements_approved", "go_live", "approved")


@check(
    "register.projects.design-reviewed",
    title="Designs of projects were reviewed before operation",
    severity="medium",
    each="register.projects",
)
def design_reviewed(
    project: Record, *, as_of: datetime, period_days: int = 366, levels: tuple[str, ...] = RISKY
) -> Verdict:
    """The design of a project in ``levels`` was held against the principles on or before the day of operation.

    Source: projects.csv (``design_reviewed``, ``go_live``), of those in operation within ``period_days``.
    Remedy: review designs.
    """
    if not_meant := _not_meant(project, as_of, period_days, levels):
        return not_meant
    return _before(project, "design_reviewed", "go_live", "reviewed")


@check(
    "register.projects.tested",
    title="Projects passed their security tests before operation",
    severity="high",
    each="register.projects",
)
def passed_tests(
    project: Record, *, as_of: datetime, period_days: int = 366, levels: tuple[str, ...] = RISKY
) -> Verdict:
    """The security tests of a project in ``levels`` were passed on or before the day of operation.

    Source: projects.csv (``tested``, ``go_live``), of those in operation within ``period_days``.
    Remedy: test before operation.
    """
    if not_meant := _not_meant(project, as_of, period_days, levels):
        return not_meant
    return _before(project, "tested", "go_live", "passed")


@check(
    "register.projects.outsourced-accepted",
    title="What others developed was tested and accepted before operation",
    severity="medium",
    each="register.projects",
)
def outsourced_accepted(
    project: Record,
    *,
    as_of: datetime,
    period_days: int = 366,
    levels: tuple[str, ...] = ("low", "medium", "high", "critical"),
) -> Verdict:
    """What others developed for a project in ``levels`` was accepted on or before the day of operation.

    Source: projects.csv (``outsourced``, ``deliverables_accepted``, ``go_live``).
    Remedy: test what is delivered, and record the acceptance.
    """
    if project["outsourced"] == "no":
        return skip("nobody else developed it")
    if not_meant := _not_meant(project, as_of, period_days, levels):
        return not_meant
    return _before(project, "deliverables_accepted", "go_live", "accepted")
