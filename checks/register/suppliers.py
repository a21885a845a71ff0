"""Suppliers: who they are, what was agreed, and whether they are looked after."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Registers, Row, Table, Verdict, check, fail, ok, skip, source
from collector.registers.facts import days_after, is_past, moment, not_working

CRITICAL = ("high", "critical")


@source("register.suppliers", key="id", per="connection", permissions=("read suppliers.csv",))
def suppliers(registers: Registers) -> Iterator[Row]:
    """Every supplier in suppliers.csv, those whose service ended included."""
    yield from registers.table("suppliers")


def _not_meant(supplier: Record, levels: tuple[str, ...]) -> Verdict | None:
    """Why a supplier is not judged: its service ended, or it is not critical enough."""
    if supplier["ended"]:
        return skip(f"its service ended on {supplier['ended']}")
    if supplier["criticality"] not in levels:
        return skip(f"its criticality is {supplier['criticality']}")
    return None


@check(
    "register.suppliers.owner-active",
    title="Suppliers have an owner who belongs to the organisation",
    severity="medium",
    each="register.suppliers",
    beside=("register.people",),
)
def owner_active(supplier: Record, people: Table, *, as_of: datetime) -> Verdict:
    """The owner of a supplier whose service has not ended is in people.csv and works here today.

    Source: suppliers.csv (``owner``), people.csv (``status``, ``end``).
    Remedy: name an owner.
    """
    if supplier["ended"]:
        return skip(f"its service ended on {supplier['ended']}")
    wrong = not_working(people, supplier["owner"], as_of)
    return fail(f"no owner: {wrong}") if wrong else ok(f"owned by {supplier['owner']}")


@check(
    "register.suppliers.assessed-before-agreement",
    title="Suppliers were assessed before the agreement",
    severity="medium",
    each="register.suppliers",
)
def assessed_before_agreement(supplier: Record, *, levels: tuple[str, ...] = ("medium", "high", "critical")) -> Verdict:
    """The security of a supplier with a criticality in ``levels`` was assessed on or before the day of the agreement.

    Source: suppliers.csv (``assessed``, ``agreement``).
    Remedy: assess suppliers before you sign.
    """
    if not_meant := _not_meant(supplier, levels):
        return not_meant
    assessed, signed = supplier["assessed"], supplier["agreement"]
    if not assessed or not signed:
        return fail(f"assessed {assessed or 'on no day'}, agreement {signed or 'of no day'}")
    told = f"assessed on {assessed}, agreement of {signed}"
    return ok(told) if assessed <= signed else fail(told)


@check(
    "register.suppliers.agreement-in-force",
    title="Critical suppliers have an agreement in force",
    severity="high",
    each="register.suppliers",
)
def agreement_in_force(supplier: Record, *, as_of: datetime, levels: tuple[str, ...] = CRITICAL) -> Verdict:
    """A supplier with a criticality in ``levels`` has an agreement that was signed and has not ended.

    Source: suppliers.csv (``agreement``, ``agreement_ends``; empty: no end).
    Remedy: sign, or renew, the agreement.
    """
    if not_meant := _not_meant(supplier, levels):
        return not_meant
    signed, ends = supplier["agreement"], supplier["agreement_ends"]
    if not signed or moment(signed) > as_of:
        return fail(f"agreement of {signed or 'no day'}")
    if ends and is_past(ends, as_of):
        return fail(f"its agreement ended on {ends}")
    return ok(f"agreement of {signed}, ends {ends or 'on no day'}")


@check(
    "register.suppliers.passes-on-clauses",
    title="Critical suppliers agreed to pass security on to their own suppliers",
    severity="medium",
    each="register.suppliers",
)
def passes_on_clauses(
    supplier: Record,
    *,
    clauses: tuple[str, ...] = ("incident-notice", "sub-suppliers"),
    levels: tuple[str, ...] = CRITICAL,
) -> Verdict:
    """The clauses agreed with a supplier with a criticality in ``levels`` hold all of ``clauses``.

    What a clause says, a person reads.
    Source: suppliers.csv (``clauses``).
    Remedy: agree on the clauses that are missing.
    """
    if not_meant := _not_meant(supplier, levels):
        return not_meant
    missing = [clause for clause in clauses if clause not in supplier["clauses"]]
    if missing:
        return fail(f"not agreed: {', '.join(missing)}")
    return ok(f"agreed: {', '.join(clauses)}")


@check(
    "register.suppliers.review-in-time",
    title="Critical suppliers are reviewed in time",
    severity="medium",
    each="register.suppliers",
)
def review_in_time(
    supplier: Record, *, as_of: datetime, max_interval_days: int = 366, levels: tuple[str, ...] = CRITICAL
) -> Verdict:
    """A supplier in ``levels`` was reviewed within ``max_interval_days``, and its next review has not passed.

    A supplier with an agreement younger than that, and no review yet, is counted from the agreement.
    Source: suppliers.csv (``last_review``, ``next_review``, ``agreement``).
    Remedy: review it, and set the next day.
    """
    if not_meant := _not_meant(supplier, levels):
        return not_meant
    last, due = supplier["last_review"] or supplier["agreement"], supplier["next_review"]
    if not last or not due:
        return fail(f"last review {last or 'on no day'}, next review {due or 'on no day'}")
    if is_past(due, as_of):
        return fail(f"its review was due on {due}")
    age = days_after(last, as_of.date().isoformat())
    told = f"last looked at {age} days ago, limit {max_interval_days}; next review on {due}"
    return ok(told) if age <= max_interval_days else fail(told)


@check(
    "register.suppliers.certificate-valid",
    title="Critical suppliers show a certificate or report that is still valid",
    severity="medium",
    each="register.suppliers",
)
def certificate_valid(supplier: Record, *, as_of: datetime, levels: tuple[str, ...] = CRITICAL) -> Verdict:
    """The certificate or report of a supplier with a criticality in ``levels`` has not run out.

    Source: suppliers.csv (``certificate_valid_until``). That it was read, and covers the service, is not seen.
    Remedy: get the new one, and read it.
    """
    if not_meant := _not_meant(supplier, levels):
        return not_meant
    until = supplier["certificate_valid_until"]
    if not until:
        return fail("no certificate or report is recorded")
    return fail(f"ran out on {until}") if is_past(until, as_of) else ok(f"valid until {until}")


@check(
    "register.suppliers.exit-plan",
    title="There is a plan for leaving each critical cloud service",
    severity="medium",
    each="register.suppliers",
)
def exit_plan(supplier: Record, *, levels: tuple[str, ...] = CRITICAL) -> Verdict:
    """A cloud service with a criticality in ``levels`` names a plan for leaving it.

    Source: suppliers.csv (``cloud``, ``exit_plan``).
    Remedy: write the plan, and name it.
    """
    if not_meant := _not_meant(supplier, levels):
        return not_meant
    if supplier["cloud"] == "no":
        return skip("not a cloud service")
    plan = supplier["exit_plan"]
    return ok(f"plan {plan}") if plan else fail("no plan is named")


@check(
    "register.suppliers.responsibilities-split",
    title="For each cloud service a document in force says who is responsible for what",
    severity="high",
    each="register.suppliers",
    beside=("register.documents",),
)
def responsibilities_split(supplier: Record, documents: Table, *, as_of: datetime) -> Verdict:
    """A cloud service names a document with the split of responsibilities; it is approved, its review not overdue.

    Source: suppliers.csv (``cloud``, ``responsibilities``), the register of documents (``status``, ``next_review``).
    Remedy: write the split down, have it approved, and name it.
    """
    if supplier["ended"]:
        return skip(f"its service ended on {supplier['ended']}")
    if supplier["cloud"] == "no":
        return skip("not a cloud service")
    name = supplier["responsibilities"]
    found = documents.where("id", name) if name else []
    if not found:
        return fail(f"{name} is not in the register of documents" if name else "no document is named")
    status, due = found[0]["status"], found[0]["next_review"]
    if status != "approved" or not due or is_past(due, as_of):
        return fail(f"{name} has the status {status} and its next review {due or 'on no day'}")
    return ok(f"{name} {found[0]['version']}, next review on {due}")


@check(
    "register.suppliers.data-returned",
    title="Suppliers whose service ended returned and deleted the data",
    severity="high",
    each="register.suppliers",
)
def data_returned(supplier: Record, *, as_of: datetime, max_days: int = 60) -> Verdict:
    """A supplier whose service ended confirmed the return and deletion of data at most ``max_days`` later.

    Source: suppliers.csv (``ended``, ``data_returned``).
    Remedy: ask for the confirmation.
    """
    ended, done = supplier["ended"], supplier["data_returned"]
    if not ended or not is_past(ended, as_of):
        return skip("its service has not ended")
    late = days_after(ended, done or as_of.date().isoformat())
    if not done and late <= max_days:
        return skip(f"ended on {ended}, and the {max_days} days for it are not over")
    told = f"ended on {ended}, " + (f"confirmed {late} days later" if done else f"not confirmed for {late} days")
    return ok(f"{told}, limit {max_days}") if done and late <= max_days else fail(f"{told}, limit {max_days}")
