"""What Google Workspace recorded over a period: what administrators did, and how users signed in."""

from collections.abc import Iterator
from datetime import timedelta

from collector.api import Http, Personal, Record, Redaction, Row, Token, Verdict, check, fail, ok, skip, source
from collector.model import stamp

PATH = "/admin/reports/v1/activity/users/{userKey}/applications/{applicationName}"
READS = ("https://www.googleapis.com/auth/admin.reports.audit.readonly",)
REDACTIONS = tuple(
    Redaction(
        f"google-workspace:GET {PATH}", "who acted is told by id and address, when by the time", json=f"items[].{name}"
    )
    for name in ("ipAddress", "networkInfo.*", "networkInfo.ipAsn[]", "userDeviceInfo.*")
)
PERSONAL = (
    Personal(f"google-workspace:GET {PATH}", "email", json="items[].actor.email"),
    Personal(f"google-workspace:GET {PATH}", "value", json="items[].events[].parameters"),
)
WARNINGS = (
    "suspicious_login", "suspicious_login_less_secure_app", "account_disabled_hijacked",
    "account_disabled_password_leak", "gov_attack_warning", "2sv_disable",
)  # fmt: skip

NO_STEP = ("access_to_preregistered_email", "captcha", "login_location", "none", "other", "password", "time_delay")
"""Challenges beside the password that are no second factor, as the log spells them."""

RIDDLE = "knowledge_"
"""How the names of questions about the user begin."""


@source(
    "google-workspace.admin-activities", key="Key", per="connection", permissions=READS, kind="period", window_days=90,
    redactions=REDACTIONS, personal=PERSONAL,
    filters="the period",
)  # fmt: skip
def admin_activities(google: Http) -> Iterator[Row]:
    """What administrators did in the admin console in the 90 days before the collection; Google keeps six months."""
    yield from _activities(google, "admin", 90)


@source(
    "google-workspace.sign-ins", key="Key", per="connection", permissions=READS, kind="period", window_days=30,
    redactions=REDACTIONS, personal=PERSONAL,
    filters="the period, and sign-ins that succeeded",
)  # fmt: skip
def sign_ins(google: Http) -> Iterator[Row]:
    """Sign-ins that succeeded in the 30 days before the collection; the kind of event is part of the request."""
    yield from _activities(google, "login", 30, "login_success")


@source(
    "google-workspace.login-warnings", key="Key", per="connection", permissions=READS, kind="period", window_days=90,
    redactions=REDACTIONS, personal=PERSONAL,
    filters="the period, and the warnings that a check reads",
)  # fmt: skip
def login_warnings(google: Http) -> Iterator[Row]:
    """Suspicious sign-ins, accounts Google closed, and second steps turned off, in the 90 days before the collection.

    Each kind of event is asked for by its name.
    """
    for name in WARNINGS:
        yield from _activities(google, "login", 90, name)


def _activities(google: Http, application: str, days: int, event: str = "") -> Iterator[Row]:
    """Activities with a key each; both ends of the period are named, so that the list ends."""
    now = google.now()
    for activity in google.pages(
        PATH,
        rows="items", pager=Token("nextPageToken", "pageToken"), userKey="all", applicationName=application,
        maxResults=1000, startTime=stamp(now - timedelta(days=days)), endTime=stamp(now),
        **({"eventName": event} if event else {}),
    ):  # fmt: skip
        told = activity["id"]
        yield {"Key": f"{event or application}/{told['time']}/{told['uniqueQualifier']}", **activity}


@check(
    "google-workspace.admin-activities.security-kept",
    title="Nobody changed the security settings of Google Workspace",
    severity="medium",
    over=("google-workspace.admin-activities",),
)
def security_kept(
    activities: Iterator[Record], *, kinds: tuple[str, ...] = ("SECURITY_SETTINGS",), max_events: int = 0
) -> Verdict:
    """In the period at most ``max_events`` settings of the ``kinds`` were changed.

    An event is an exception until it is held against an approved change. Source: activities.list of admin (``type``,
    ``name``).
    Remedy: show the approved change for each event.
    """
    found = [
        f"{activity['id']['time'][:10]} {event['name']}"
        for activity in activities
        for event in activity["events"]
        if event["type"] in kinds
    ]
    told = f"{len(found)} changes in the period, limit {max_events}"
    return ok(told) if len(found) <= max_events else fail(f"{told}: {', '.join(sorted(found)[:10])}")


@check(
    "google-workspace.admin-activities.no-self-grant",
    title="No Google Workspace administrator gave himself a role",
    severity="high",
    over=("google-workspace.admin-activities",),
)
def no_self_grant(
    activities: Iterator[Record], *, grants: tuple[str, ...] = ("ASSIGN_ROLE", "GRANT_ADMIN_PRIVILEGE")
) -> Verdict:
    """Administrator roles given in the period were given by somebody else than who got them.

    Source: activities.list of admin (``name``, ``actor``: ``email``, parameter ``USER_EMAIL``). Skipped where no
    person gave one. A role given by an application, or to a group one is in, is not seen.
    Remedy: find out why, take the role away, and let another administrator decide.
    """
    given = [
        (activity["actor"]["email"], _value(event, "USER_EMAIL"), activity["id"]["time"][:10])
        for activity in activities
        if activity["actor"].get("email")  # Google leaves the address out where an application acted
        for event in activity["events"]
        if event["name"] in grants
    ]
    if not given:
        return skip("no administrator role was given by a person in the period")
    own = sorted(f"{actor} on {day}" for actor, whom, day in given if actor.lower() == whom.lower())
    if own:
        return fail(f"{len(own)} of {len(given)} were taken by the administrator himself: {', '.join(own[:10])}")
    return ok(f"{len(given)} roles were given, none by who got it")


@check(
    "google-workspace.sign-ins.second-step",
    title="Google Workspace asked for a second step at sign-in",
    severity="high",
    over=("google-workspace.sign-ins",),
)
def second_step(
    activities: Iterator[Record],
    *,
    not_counted: tuple[str, ...] = NO_STEP,
    min_second_step_pct: int = 90,
) -> Verdict:
    """Of the sign-ins with a Google password at least ``min_second_step_pct`` per cent took another challenge too.

    Riddles that Google puts when it wonders are no second step. On a device the user has called trusted Google asks
    for the password alone; that sign-in counts as one without.
    Sign-ins through another identity provider are not counted. Source: activities.list of login (parameters
    ``login_type``, ``login_challenge_method``).
    Remedy: enforce 2-step verification, and do not let users trust devices.
    """
    total = with_step = 0
    for activity in activities:
        for event in activity["events"]:
            if event["name"] == "login_success" and _value(event, "login_type") == "google_password":
                total += 1
                with_step += any(not (one in not_counted or one.startswith(RIDDLE)) for one in _methods(event))
    if not total:
        return skip("nobody signed in with a Google password in the period")
    told = f"{with_step} of {total} sign-ins took a second step, at least {min_second_step_pct} per cent wanted"
    return ok(told) if with_step * 100 >= min_second_step_pct * total else fail(told)


@check(
    "google-workspace.login-warnings.second-step-kept",
    title="Nobody in Google Workspace did without the second step again",
    severity="high",
    over=("google-workspace.users", "google-workspace.login-warnings"),
)
def second_step_kept(users: Iterator[Record], activities: Iterator[Record]) -> Verdict:
    """Who turned 2-step verification off in the period has enrolled again, or cannot sign in any more.

    Source: activities.list of login (``2sv_disable``, ``actor``: ``profileId``), users.list (``isEnrolledIn2Sv``).
    Remedy: enforce 2-step verification, so that it cannot be turned off.
    """
    without = {
        user["id"]: user["primaryEmail"]
        for user in users
        if not user["isEnrolledIn2Sv"] and not user["suspended"] and not user["archived"]
    }
    turned = {
        activity["actor"]["profileId"]
        for activity in activities
        if any(event["name"] == "2sv_disable" for event in activity["events"])
    }
    left = sorted(without[id] for id in turned & without.keys())  # noqa: A001
    if left:
        return fail(f"{len(left)} of {len(turned)} who turned it off are without it: {', '.join(left[:20])}")
    return ok(f"{len(turned)} users turned it off in the period, none of them is without it now")


@check(
    "google-workspace.login-warnings.none-suspicious",
    title="Google warned of no sign-in to Google Workspace",
    severity="medium",
    over=("google-workspace.login-warnings",),
)
def none_suspicious(activities: Iterator[Record], *, max_events: int = 0) -> Verdict:
    """In the period at most ``max_events`` sign-ins were suspicious, or accounts closed because they were taken over.

    An event is an exception until it is held against the record of an incident. Source: activities.list of login
    (``name``).
    Remedy: show how each was assessed and closed.
    """
    found = [
        f"{activity['id']['time'][:10]} {event['name']}"
        for activity in activities
        for event in activity["events"]
        if event["name"] != "2sv_disable"
    ]
    told = f"{len(found)} warnings in the period, limit {max_events}"
    return ok(told) if len(found) <= max_events else fail(f"{told}: {', '.join(sorted(found)[:10])}")


def _value(event: Record, name: str) -> str:
    """The text of a parameter; empty where the event does not have it."""
    return next((item["value"] for item in event.get("parameters", []) if item["name"] == name), "")


def _methods(event: Record) -> list[str]:
    """The challenges of a sign-in; none where Google leaves them out."""
    held = (item for item in event.get("parameters", []) if item["name"] == "login_challenge_method")
    return [method for item in held for method in item.get("multiValue", [item.get("value")])]
