"""Reviews of access rights held against the systems: that each system had one, and by somebody without the rights."""

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from collector.api import Check, Record, Table, Verdict, check, fail, ok, skip
from collector.registers.facts import before_period, person
from collector.registers.matching import PEOPLE, RULES, Owner, certain, owner, reviewed


def _reviewed(name: str, each: str, what: str, named: str) -> Check:
    """A check that access to a system was reviewed of late; the one record of a dataset of it stands for it."""
    system = each.partition(".")[0]

    def of_late(
        _: Record, reviews: Table, *, as_of: datetime, scope: str, max_days: int = 366, max_privileged_days: int = 184
    ) -> Verdict:
        return reviewed(reviews, (scope, system), as_of, max_days, max_privileged_days)

    of_late.__doc__ = f"""
    The last review of access was held within ``max_days``, of privileged access within ``max_privileged_days``.

    A review names the system as the connection, or ``{system}``{named}
    Source: access-reviews.csv (``system``, ``privileged``, ``held``, ``reviewer``).
    Remedy: hold the review.
    """
    title = f"Access to the {what} was reviewed of late"
    return check(name, title=title, severity="high", each=each, beside=("register.access-reviews",))(of_late)


REVIEWED = (
    _reviewed("joins.okta.reviewed", "okta.support-access", "Okta organisation",
              ". The one record of the organisation stands for it."),
    _reviewed("joins.aws.reviewed", "aws.sts.caller-identity", "AWS account",
              ", and speaks of all accounts of it."),
    _reviewed("joins.github.reviewed", "github.organisation", "GitHub organisation",
              ", and speaks of all organisations of it."),
    _reviewed("joins.gitlab.reviewed", "gitlab.group", "GitLab group",
              ", and speaks of all groups of it."),
    _reviewed("joins.entra.reviewed", "entra.organisation", "Entra tenant",
              ". Reviews held in Entra itself are another check."),
)  # fmt: skip


def _not_meant(review: Record, systems: tuple[str, ...], as_of: datetime, period_days: int) -> str:
    """Why a review is not asked about; empty when it is."""
    if not any(fnmatchcase(review["system"].casefold(), pattern.casefold()) for pattern in systems):
        return f"a review of {review['system']}"
    if review["privileged"] != "yes":
        return "not a review of privileged rights"
    if not review["held"] or not review["reviewer"]:
        return "it was not held, or by nobody named"
    return before_period(review["held"], as_of, period_days)


def _independent(review: Record, people: Table, holders: Iterable[Owner], as_of: datetime) -> Verdict:
    """Whether none of the accounts that hold the rights is the reviewer's."""
    reviewer = person(people, review["reviewer"], as_of)
    if reviewer is None:
        return fail(f"{review['reviewer']}, who reviewed on {review['held']}, is not in people.csv")
    owners = list(holders)
    for found in owners:
        if found.person is not None and found.person["id"] == reviewer["id"]:
            return fail(f"{review['reviewer']} reviewed on {review['held']} rights that they hold ({found.how})")
    count, nobody = len(owners), sum(certain(found) is None for found in owners)
    told = f"{review['reviewer']}, who reviewed on {review['held']}, holds none of {count} privileged accounts"
    return ok(f"{told}, {nobody} of which belong to nobody in the register" if nobody else told)


@check(
    "joins.okta.reviewer-independent",
    title="Who reviewed Okta administrators is none",
    severity="high",
    each="register.access-reviews",
    beside=("okta.administrators", "okta.users", *PEOPLE),
)
def okta_reviewer_independent(
    review: Record,
    admins: Table,
    users: Table,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    systems: tuple[str, ...] = ("okta*",),
    period_days: int = 366,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Who reviewed the privileged rights of one of ``systems`` holds no active administrator role today.

    Roles held on the day of the review and taken away since are not seen.
    Source: access-reviews.csv (``reviewer``), List roles of a user, List users; people.csv, identities.csv.
    Remedy: have somebody else review.
    """
    if other := _not_meant(review, systems, as_of, period_days):
        return skip(other)
    logins = (
        (user["profile"]["login"], user["profile"]["email"])
        for admin in admins
        if any(role["status"] == "ACTIVE" for role in admin["listAssignedRolesForUser"])
        for user in users.where("id", admin["id"])
    )
    system = (review["system"], "okta")
    holders = (owner(people, identities, system, it[0], it, as_of, rules) for it in logins)
    return _independent(review, people, holders, as_of)


@check(
    "joins.github.reviewer-independent",
    title="Who reviewed owners of the GitHub organisation is none",
    severity="high",
    each="register.access-reviews",
    beside=("github.members", *PEOPLE),
)
def github_reviewer_independent(
    review: Record,
    members: Table,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    systems: tuple[str, ...] = ("github*",),
    period_days: int = 366,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """Who reviewed the privileged rights of one of ``systems`` owns no organisation today.

    Source: access-reviews.csv (``reviewer``), List organization members (``role``); people.csv, identities.csv.
    Remedy: have somebody else review.
    """
    if other := _not_meant(review, systems, as_of, period_days):
        return skip(other)
    system, logins = (review["system"], "github"), (one["login"] for one in members.where("Role", "admin"))
    holders = (owner(people, identities, system, name, (), as_of, rules) for name in logins)
    return _independent(review, people, holders, as_of)
