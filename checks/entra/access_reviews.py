"""Microsoft Entra access reviews: which are set up, and whether each round was decided, carried out and considered."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from collector.api import (
    Field,
    Http,
    Personal,
    Record,
    Redaction,
    Row,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

ROLES = ("62e90394-69f5-4237-9190-012177145e10", "e8611ab8-c189-46e8-94e1-60213ab1f814")
"""Global Administrator, Privileged Role Administrator."""

SYSTEM = "00000000-0000-0000-0000-000000000000"
"""Who decides when nobody did."""

DAYS = {
    "daily": 1, "weekly": 7, "absoluteMonthly": 31, "relativeMonthly": 31, "absoluteYearly": 366, "relativeYearly": 366,
}  # fmt: skip
"""Days between two rounds at most, by the pattern of the recurrence."""
WINDOW_DAYS = 366
DEFINITIONS = "/v1.0/identityGovernance/accessReviews/definitions"


@source(
    "entra.access-reviews",
    key="id",
    per="connection",
    permissions=("AccessReview.Read.All",),
    redactions=tuple(
        Redaction(f"entra:GET {DEFINITIONS}", "texts and names are not needed", json=f"value[].{name}")
        for name in ("descriptionForAdmins", "descriptionForReviewers", "createdBy.displayName")
    ),
    personal=(Personal(f"entra:GET {DEFINITIONS}", "email", json="**.userPrincipalName"),),
)
def access_reviews(entra: Http) -> Iterator[Row]:
    """Every access review that is set up, with its settings; needs Entra ID P2 or Governance."""
    yield from entra.pages(DEFINITIONS, rows="value", pager=Field("@odata.nextLink"))


@source(
    "entra.access-review-rounds",
    key="id",
    per="connection",
    permissions=("AccessReview.Read.All",),
    kind="period",
    window_days=WINDOW_DAYS,
    redactions=tuple(
        Redaction(
            f"entra:GET {DEFINITIONS}/{{id}}/instances/{{round}}/decisions",
            "people are told apart by id and user name",
            json=f"value[].{name}.displayName",
        )
        for name in ("reviewedBy", "appliedBy", "principal")
    ),
    personal=(Personal(f"entra:GET {DEFINITIONS}*", "email", json="**.userPrincipalName"),),
)
def access_review_rounds(entra: Http) -> Iterator[Row]:
    """Every round of an access review that is open or ended in the last 366 days, with its decisions."""
    since = entra.now() - timedelta(days=WINDOW_DAYS)
    for review in entra.pages(
        DEFINITIONS, rows="value", pager=Field("@odata.nextLink"), **{"$select": "id,displayName,settings"}
    ):
        for item in entra.pages(
            f"{DEFINITIONS}/{{id}}/instances", rows="value", pager=Field("@odata.nextLink"), id=review["id"]
        ):
            if instant(item["endDateTime"]) < since:
                continue
            decisions = entra.attempt_all(
                f"{DEFINITIONS}/{{id}}/instances/{{round}}/decisions",
                rows="value",
                pager=Field("@odata.nextLink"),
                id=review["id"],
                round=item["id"],
            )
            yield {**item, "Review": review, "listDecisions": decisions}


@check(
    "entra.access-reviews.wide-roles-recur",
    title="Who holds the widest Entra roles is reviewed again and again",
    severity="medium",
    over=("entra.access-reviews",),
)
def wide_roles_recur(
    reviews: Iterator[Record], *, as_of: datetime, roles: tuple[str, ...] = ROLES, max_interval_days: int = 186
) -> Verdict:
    """For each of the ``roles`` a review goes on that comes again after ``max_interval_days`` at most.

    Source: List access review definitions (``scope``, ``instanceEnumerationScope``, ``status``,
    ``settings.recurrence``). A role is reviewed where its id stands in the scope, unless only those who do not sign in,
    or only guests, are.
    Remedy: Identity Governance, Privileged Identity Management: new access review.
    """
    reviewed: dict[str, int] = {}
    for review in reviews:
        interval = _interval(review, as_of)
        if review["status"] not in ("InProgress", "Initializing", "Starting", "NotStarted") or interval is None:
            continue
        texts = " ".join(_texts([review["scope"], review["instanceEnumerationScope"]])).lower()
        if "accessreviewinactiveusersqueryscope" in texts or "usertype eq 'guest'" in texts:
            continue
        for role in roles:
            if role in texts:
                reviewed[role] = min(interval, reviewed.get(role, interval))
    late = sorted(role for role in roles if reviewed.get(role, max_interval_days + 1) > max_interval_days)
    if late:
        told = f"{len(late)} of {len(roles)} roles are not reviewed every {max_interval_days} days"
        return fail(f"{told}: {', '.join(late)}")
    return ok(f"all {len(roles)} roles are reviewed, at least every {max(reviewed.values(), default=0)} days")


def _interval(review: Record, as_of: datetime) -> int | None:
    """Days between two rounds at most; ``None`` where no further round comes."""
    recurrence = review["settings"]["recurrence"]
    if not recurrence or not recurrence["pattern"]:
        return None
    span, pattern = recurrence["range"], recurrence["pattern"]
    if span["type"] == "endDate" and instant(f"{span['endDate']}T23:59:59Z") < as_of:
        return None
    return DAYS[pattern["type"]] * int(pattern["interval"])


def _texts(value: Any) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)


def _over(item: Record, as_of: datetime, days: int = 0) -> bool:
    return instant(item["endDateTime"]) + timedelta(days=days) <= as_of


@check(
    "entra.access-review-rounds.decided",
    title="People decide on every right before a review round ends",
    severity="medium",
    each="entra.access-review-rounds",
)
def decided(item: Record, *, as_of: datetime, max_undecided_pct: int = 0) -> Verdict:
    """Of a round that is over, at most ``max_undecided_pct`` per cent of the rights were not decided by a person.

    What the system decided in place of silent reviewers counts as undecided. Source: List decisions (``decision``,
    ``reviewedBy.id``, ``reviewedDateTime``), ``endDateTime`` of the instance.
    Remedy: remind reviewers, name others, and have the rights that were left reviewed.
    """
    if not _over(item, as_of):
        return skip(f"the round ends on {item['endDateTime'][:10]}")
    decisions = item["listDecisions"]
    if not decisions:
        return skip("there was nothing to decide")
    left = sum(
        one["decision"] in ("NotReviewed", "DontKnow")
        or not one["reviewedBy"]
        or one["reviewedBy"]["id"] == SYSTEM
        or instant(one["reviewedDateTime"]) > instant(item["endDateTime"])
        for one in decisions
    )
    told = f"{left} of {len(decisions)} rights were not decided by a person, limit {max_undecided_pct} per cent"
    return ok(told) if left * 100 <= max_undecided_pct * len(decisions) else fail(told)


@check(
    "entra.access-review-rounds.applied",
    title="What a review round denied is taken away in time",
    severity="high",
    each="entra.access-review-rounds",
)
def applied(item: Record, *, as_of: datetime, max_apply_days: int = 14) -> Verdict:
    """Every right that was denied was taken away at most ``max_apply_days`` after the end of the round.

    Source: List decisions (``decision``, ``applyResult``, ``appliedDateTime``), ``endDateTime`` of the instance.
    Remedy: apply the result of the review, or set it to apply by itself.
    """
    if not _over(item, as_of, max_apply_days):
        return skip(f"the round ended on {item['endDateTime'][:10]}, {max_apply_days} days are not over")
    denied = [one for one in item["listDecisions"] if one["decision"] == "Deny"]
    if not denied:
        return skip("nothing was denied")
    due = instant(item["endDateTime"]) + timedelta(days=max_apply_days)
    late = sum(
        one["applyResult"] not in ("AppliedSuccessfully", "AppliedSuccessfullyButObjectNotFound")
        or instant(one["appliedDateTime"]) > due
        for one in denied
    )
    told = f"{late} of {len(denied)} denied rights were not taken away within {max_apply_days} days"
    return fail(told) if late else ok(told)


@check(
    "entra.access-review-rounds.considered",
    title="Nobody approves a whole review round in one stroke",
    severity="low",
    each="entra.access-review-rounds",
)
def considered(item: Record, *, min_decisions: int = 10, min_seconds_each: int = 5) -> Verdict:
    """A reviewer who approved all of ``min_decisions`` rights or more took ``min_seconds_each`` for each at least.

    The time is that from the first to the last decision of the reviewer. A stroke is a question to the reviewer, no
    proof. Source: List decisions (``decision``, ``reviewedBy``, ``reviewedDateTime``).
    Remedy: ask for a reason with each approval; let those decide who know the work.
    """
    by: dict[str, list[Record]] = {}
    for one in item["listDecisions"]:
        if one["reviewedBy"] and one["reviewedBy"]["id"] != SYSTEM and one["decision"] != "NotReviewed":
            by.setdefault(one["reviewedBy"]["userPrincipalName"], []).append(one)
    many = {name: found for name, found in by.items() if len(found) >= min_decisions}
    if not many:
        return skip(f"no reviewer decided on {min_decisions} rights or more")
    quick = []
    for name, found in sorted(many.items()):
        times = sorted(instant(one["reviewedDateTime"]) for one in found)
        seconds = (times[-1] - times[0]).total_seconds()
        if all(one["decision"] == "Approve" for one in found) and seconds < min_seconds_each * (len(found) - 1):
            quick.append(f"{name} approved {len(found)} rights in {seconds:.0f} s")
    if quick:
        return fail(f"{'; '.join(quick)}, at least {min_seconds_each} s each wanted")
    return ok(f"{len(many)} reviewers with {min_decisions} rights or more took their time, or denied some")


@check(
    "entra.access-review-rounds.held",
    title="Access reviews were held in the period",
    severity="medium",
    over=("entra.access-review-rounds",),
)
def held(rounds: Iterator[Record], *, as_of: datetime, max_days_since: int = 186) -> Verdict:
    """The last round with a person's decision in it ended at most ``max_days_since`` before the day of collection.

    Source: List instances (``endDateTime``), List decisions (``reviewedBy``). Which rights are reviewed is told by
    entra.access-reviews.wide-roles-recur.
    Remedy: set up reviews that recur.
    """
    ended = [
        instant(item["endDateTime"])
        for item in rounds
        if _over(item, as_of)
        and any(one["reviewedBy"] and one["reviewedBy"]["id"] != SYSTEM for one in item["listDecisions"])
    ]
    if not ended:
        return fail("no round with a person's decision ended in the period")
    days = days_between(max(ended), as_of)
    told = f"{len(ended)} rounds ended in the period, the last {days} days ago, limit {max_days_since}"
    return ok(told) if days <= max_days_since else fail(told)
