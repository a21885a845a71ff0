"""Audits, reviews, tests and exercises; tests of restoring: held when planned, and followed up."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Check, Record, Registers, Row, Severity, Verdict, check, fail, ok, skip, source
from collector.registers.facts import before_period, days_after, is_past, not_yet


@source("register.audits", key="id", per="connection", permissions=("read audits.csv",), kind="period")
def audits(registers: Registers) -> Iterator[Row]:
    """Every audit, review, test and exercise in audits.csv, those not held included."""
    yield from registers.table("audits")


@source("register.restore-tests", key="id", per="connection", permissions=("read restore-tests.csv",), kind="period")
def restore_tests(registers: Registers) -> Iterator[Row]:
    """Every test of restoring data or recovering a service in restore-tests.csv, those not held included."""
    yield from registers.table("restore-tests")


@check(
    "register.audits.held-when-planned",
    title="Audits, reviews, tests and exercises were held when they were planned",
    severity="medium",
    each="register.audits",
)
def held_when_planned(audit: Record, *, as_of: datetime, period_days: int = 366, grace_days: int = 30) -> Verdict:
    """What was planned for a day within ``period_days`` was held at most ``grace_days`` later, and its report is named.

    Source: audits.csv (``planned``, ``held``, ``report``).
    Remedy: hold it, or plan it anew and say why.
    """
    if early := before_period(audit["planned"], as_of, period_days):
        return skip(early)
    held = audit["held"]
    if ahead := not_yet(held, as_of):
        return fail(ahead)
    late = days_after(audit["planned"], held or as_of.date().isoformat())
    if not held and late <= grace_days:
        return skip(f"planned for {audit['planned']}, and the {grace_days} days after it are not over")
    if held and not audit["report"]:
        return fail(f"held on {held}, and no report is named")
    told = f"{audit['kind']} planned for {audit['planned']}, " + (
        f"held on {held}" if held else f"not held for {late} days"
    )
    return ok(told) if held and late <= grace_days else fail(f"{told}, limit {grace_days}")


@check(
    "register.audits.actions-closed",
    title="Actions from audits, reviews, tests and exercises were closed in time",
    severity="high",
    each="register.audits",
)
def actions_closed(audit: Record, *, as_of: datetime, period_days: int = 366, grace_days: int = 0) -> Verdict:
    """Where findings need actions, the last was closed at most ``grace_days`` after the day it was due.

    Source: audits.csv (``findings``, ``actions_due``, ``actions_closed``), of those due within ``period_days``.
    Remedy: close them, or have a new day approved.
    """
    if not audit["held"]:
        return skip("it was not held")
    if audit["findings"] is None:
        return fail("how many findings it had is not recorded")
    if int(audit["findings"]) == 0:
        return skip("it had no findings")
    due, closed = audit["actions_due"], audit["actions_closed"]
    if ahead := not_yet(closed, as_of):
        return fail(ahead)
    if not due:
        return fail(f"{audit['findings']} findings, and no day for the actions")
    if early := before_period(due, as_of, period_days):
        return skip(early)
    if not closed and not is_past(due, as_of):
        return skip(f"actions due on {due}")
    late = days_after(due, closed or as_of.date().isoformat())
    told = f"{audit['findings']} findings, actions due on {due}, " + (f"closed on {closed}" if closed else "still open")
    return ok(told) if closed and late <= grace_days else fail(f"{told}, limit {grace_days} days")


@check(
    "register.audits.auditor-independent",
    title="Internal audits were held by somebody who has no part in the area",
    severity="high",
    each="register.audits",
)
def auditor_independent(
    audit: Record,
    *,
    as_of: datetime,
    period_days: int = 366,
    kinds: tuple[str, ...] = ("internal-audit", "independent-review"),
) -> Verdict:
    """One of ``kinds`` that was held within ``period_days`` names who held it, and that person is independent.

    Source: audits.csv (``by``, ``independent``).
    Remedy: have somebody else audit the area.
    """
    if audit["kind"] not in kinds:
        return skip(f"a {audit['kind']}")
    if not audit["held"]:
        return skip("it was not held")
    if early := before_period(audit["held"], as_of, period_days):
        return skip(early)
    told = f"held by {audit['by'] or 'nobody named'}, independent: {audit['independent']}"
    return ok(told) if audit["by"] and audit["independent"] == "yes" else fail(told)


@check(
    "register.audits.tests-agreed",
    title="Tests of live systems were agreed before they were held",
    severity="medium",
    each="register.audits",
)
def agreed_before(
    audit: Record, *, as_of: datetime, period_days: int = 366, kinds: tuple[str, ...] = ("penetration-test",)
) -> Verdict:
    """One of ``kinds`` that was held within ``period_days`` was agreed with the owner of the system before.

    Source: audits.csv (``agreed``, ``held``).
    Remedy: agree on scope and time in writing first.
    """
    if audit["kind"] not in kinds:
        return skip(f"a {audit['kind']}")
    if not audit["held"]:
        return skip("it was not held")
    if early := before_period(audit["held"], as_of, period_days):
        return skip(early)
    agreed = audit["agreed"]
    told = f"agreed {'on ' + agreed if agreed else 'on no day'}, held on {audit['held']}"
    return ok(told) if agreed and agreed <= audit["held"] else fail(told)


@check(
    "register.audits.supplier-reviews",
    title="Reviews of suppliers led to a report",
    severity="medium",
    each="register.audits",
)
def supplier_reviews(
    audit: Record, *, as_of: datetime, period_days: int = 366, kinds: tuple[str, ...] = ("supplier-review",)
) -> Verdict:
    """A review of a supplier that was held within ``period_days`` names who held it, its findings and its report.

    Source: audits.csv (``by``, ``findings``, ``report``).
    Remedy: write down what was looked at and found.
    """
    if audit["kind"] not in kinds:
        return skip(f"a {audit['kind']}")
    if not audit["held"]:
        return skip("it was not held")
    if early := before_period(audit["held"], as_of, period_days):
        return skip(early)
    missing = [name for name in ("by", "findings", "report") if audit[name] is None]
    if missing:
        return fail(f"review of {audit['subject']} on {audit['held']} without {', '.join(missing)}")
    return ok(f"review of {audit['subject']} on {audit['held']} by {audit['by']}, {audit['findings']} findings")


@check(
    "register.restore-tests.passed",
    title="Tests of restoring were held when planned, and passed",
    severity="high",
    each="register.restore-tests",
)
def passed(test: Record, *, as_of: datetime, period_days: int = 366, grace_days: int = 14) -> Verdict:
    """A test planned for a day within ``period_days`` was held at most ``grace_days`` later, and passed, with a record.

    Source: restore-tests.csv (``planned``, ``held``, ``result``, ``evidence``).
    Remedy: find out why it failed, and test again.
    """
    if early := before_period(test["planned"], as_of, period_days):
        return skip(early)
    held = test["held"]
    if ahead := not_yet(held, as_of):
        return fail(ahead)
    late = days_after(test["planned"], held or as_of.date().isoformat())
    if not held and late <= grace_days:
        return skip(f"planned for {test['planned']}, and the {grace_days} days after it are not over")
    told = f"{test['system']}, planned for {test['planned']}, held {held or 'never'}, {test['result'] or 'no result'}"
    sound = held and late <= grace_days and test["result"] == "passed" and test["evidence"]
    return ok(told) if sound else fail(f"{told}, record {test['evidence'] or 'not named'}")


@check(
    "register.restore-tests.recent",
    title="Restoring was tested not long ago",
    severity="high",
    over=("register.restore-tests",),
)
def recent(tests: Iterator[Record], *, as_of: datetime, max_days: int = 366) -> Verdict:
    """Of each system in the list, a test of restoring passed within ``max_days``.

    Systems that are not in restore-tests.csv are not seen.
    Source: restore-tests.csv (``system``, ``held``, ``result``).
    Remedy: test the systems that are named.
    """
    last: dict[str, str] = {}
    for test in tests:
        day = test["held"] if test["result"] == "passed" and not not_yet(test["held"], as_of) else None
        last[test["system"]] = max(last.get(test["system"], ""), day or "")
    if not last:
        return fail("no test is recorded")
    today = as_of.date().isoformat()
    late = sorted(
        f"{name} ({day or 'never'})" for name, day in last.items() if not day or days_after(day, today) > max_days
    )
    if late:
        return fail(
            f"{len(late)} of {len(last)} systems without a passed test for {max_days} days: {', '.join(late[:10])}"
        )
    return ok(f"a test of each of {len(last)} systems passed within {max_days} days")


@check(
    "register.restore-tests.within-target",
    title="Services were recovered within their target",
    severity="high",
    each="register.restore-tests",
)
def within_target(
    test: Record, *, as_of: datetime, period_days: int = 366, kinds: tuple[str, ...] = ("recovery",)
) -> Verdict:
    """A test of one of ``kinds`` that was held within ``period_days`` passed, and took no longer than its target.

    Source: restore-tests.csv (``result``, ``measured_min``, ``target_min``).
    Remedy: make it faster, or have the target changed by who needs the service.
    """
    if test["kind"] not in kinds:
        return skip(f"a test of the kind {test['kind']}")
    if not test["held"]:
        return skip("it was not held")
    if early := before_period(test["held"], as_of, period_days):
        return skip(early)
    if test["result"] != "passed":
        return fail(f"held on {test['held']}, {test['result'] or 'no result'}")
    took, target = test["measured_min"], test["target_min"]
    if took is None or target is None:
        return fail(f"took {took or 'unmeasured'}, target {target or 'not set'}")
    told = f"took {took} minutes, target {target}"
    return ok(told) if int(took) <= int(target) else fail(told)


def _held(audits: Iterator[Record], as_of: datetime, max_days: int, kinds: tuple[str, ...]) -> Verdict:
    """One of these kinds was held within some days, and has a report."""
    days = [one["held"] for one in audits if one["kind"] in kinds and one["held"] and one["report"]]
    if not days:
        return fail(f"no {' or '.join(kinds)} with a report is recorded")
    age = days_after(max(days), as_of.date().isoformat())
    told = f"the last of {len(days)} was held on {max(days)}, {age} days ago, limit {max_days}"
    return ok(told) if 0 <= age <= max_days else fail(told)


def _regular(name: str, severity: Severity, title: str, what: str, *, days: int = 366) -> Check:
    """A check that something is held every so many days; its kind is called as the check."""

    def held_of_late(
        audits: Iterator[Record],
        *,
        as_of: datetime,
        max_days: int = days,
        kinds: tuple[str, ...] = (name.rpartition(".")[2].removesuffix("-held"),),
    ) -> Verdict:
        return _held(audits, as_of, max_days, kinds)

    held_of_late.__doc__ = f"""{what} was held within ``max_days``, and its report is named.

    Source: audits.csv (``kind``, ``held``, ``report``).
    Remedy: hold it.
    """
    return check(name, title=title, severity=severity, over=("register.audits",))(held_of_late)


REGULAR = (
    _regular("register.audits.internal-audit-held", "high", "Internal audits are held",
             "An internal audit"),
    _regular("register.audits.management-review-held", "high", "Management reviews are held",
             "A review by management"),
    _regular("register.audits.compliance-review-held", "medium", "Areas are reviewed against policies and rules",
             "A review of an area against policies, rules and standards"),
    _regular("register.audits.continuity-exercise-held", "high", "Continuity is exercised",
             "An exercise of continuity"),
    _regular("register.audits.incident-exercise-held", "medium", "The response to incidents is exercised",
             "An exercise of the response to incidents"),
    _regular("register.audits.penetration-test-held", "medium", "Systems are tested by penetration",
             "A penetration test"),
    _regular("register.audits.capacity-review-held", "low", "Capacity is reviewed",
             "A review of capacity and its forecast", days=100),
    _regular("register.audits.clear-desk-walk-held", "low", "Desks and screens are looked at",
             "A walk that looks at desks and screens", days=183),
    _regular("register.audits.alarm-test-held", "low", "Alarms of the premises are tested",
             "A test of the alarms of the premises"),
)  # fmt: skip
