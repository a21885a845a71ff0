"""What Keycloak recorded over a period: sign-ins of users, and what administrators did."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from collector.api import (
    GapKind,
    Http,
    Offset,
    Personal,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    ok,
    skip,
    source,
)

DAYS = 30
"""Whole days that are read; how long events are kept is a setting of the realm."""

DAY_S = 24 * 60 * 60
EVENTS = "keycloak:GET /admin/realms/{realm}/events"
ADMIN_EVENTS = "keycloak:GET /admin/realms/{realm}/admin-events"
DESIGN = ("REALM", "AUTH_FLOW", "AUTH_EXECUTION", "AUTH_EXECUTION_FLOW", "AUTHENTICATOR_CONFIG", "REQUIRED_ACTION")
"""Kinds of resource that decide how users sign in."""


@source(
    "keycloak.events",
    key="Key",
    per="connection",
    permissions=("view-events",),
    kind="period",
    redactions=(Redaction(EVENTS, "who signed in is told by the id, where by the address", json="[].details.*"),),
    personal=(Personal(EVENTS, "address", json="[].ipAddress"),),
    filters="the period, and the types of event that a check reads",
)
def events(keycloak: Http) -> Iterator[Row]:
    """Sign-ins of every realm the client is shown, failed ones too, of the 30 whole days before the day of collection.

    The kinds of event and both ends of the period are part of the request; a day begins when it does for the server.
    Only what a realm saves is there: see keycloak.realms.events-kept.
    """
    period = _period(keycloak.now())
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        found = keycloak.pages(
            "/admin/realms/{realm}/events",
            realm=name, type=["LOGIN", "LOGIN_ERROR"], **period, pager=Offset("first", "max", 1000),
        )  # fmt: skip
        for number, event in enumerate(found):
            yield {"Key": f"{name}/{event.get('id', number)}", "Realm": name, **event}  # no id before Keycloak 24


@source(
    "keycloak.admin-events",
    key="Key",
    per="connection",
    permissions=("view-events",),
    kind="period",
    redactions=(
        Redaction(ADMIN_EVENTS, "what was changed may hold secrets and personal data", json="[].representation"),
        Redaction(ADMIN_EVENTS, "may name people", json="[].details.*"),
    ),
    personal=(Personal(ADMIN_EVENTS, "address", json="[].authDetails.ipAddress"),),
    filters="the period",
)
def admin_events(keycloak: Http) -> Iterator[Row]:
    """What administrators did in every realm the client is shown in the 30 whole days before the day of collection.

    Both ends of the period are part of the request; a day begins when it does for the server. Only what a realm saves
    is there: see keycloak.realms.admin-events-kept.
    """
    period = _period(keycloak.now())
    for realm in keycloak.pages("/admin/realms", briefRepresentation=True):
        name = realm["realm"]
        found = keycloak.pages(
            "/admin/realms/{realm}/admin-events", realm=name, **period, pager=Offset("first", "max", 1000)
        )
        for number, event in enumerate(found):
            yield {"Key": f"{name}/{event.get('id', number)}", "Realm": name, **event}


def _period(now: datetime) -> dict[str, str]:
    """First and last day: days that are over, so that the list does not grow while it is read."""
    return {"dateFrom": f"{now - timedelta(days=DAYS):%Y-%m-%d}", "dateTo": f"{now - timedelta(days=1):%Y-%m-%d}"}


@check(
    "keycloak.events.lockout-works",
    title="Keycloak locked accounts that somebody guessed at",
    severity="high",
    over=("keycloak.events",),
)
def lockout_works(events: Iterator[Record], *, max_failures: int = 10, pause_s: int = 60) -> Verdict:
    """Accounts were locked in the period, and none took more than ``max_failures`` wrong passwords in a row.

    A row ends with a sign-in, with a refusal because of the lock, or with a pause of ``pause_s`` seconds, for which a
    lock would have lasted. Skipped where nobody came near the limit: nothing was tried. A realm that saves no events
    is not seen here, but by keycloak.realms.events-kept. Source: Get events (``time``, ``type``, ``error``,
    ``userId``, left out where the user is not known).
    Remedy: *Realm settings, Security defenses, Brute force detection*.
    """
    accounts: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    locked = 0
    for event in events:
        if "userId" in event:
            told = event["error"] if event["type"] == "LOGIN_ERROR" else "signed in"
            accounts[event["Realm"], event["userId"]].append((event["time"], told))
            locked += told == "user_temporarily_disabled"
    beyond = []
    for (realm, user), history in sorted(accounts.items()):
        longest = _longest_row(sorted(history), pause_s * 1000)
        if longest > max_failures:
            beyond.append(f"{user} in {realm} took {longest}")
    if beyond:
        return fail(f"{len(beyond)} accounts took more wrong passwords, limit {max_failures}: {'; '.join(beyond[:10])}")
    if not locked:
        return skip(f"none of {len(accounts)} accounts that were signed in to was locked, nor came to the limit")
    since = min(time for history in accounts.values() for time, _ in history)
    return ok(
        f"{locked} sign-ins were refused by a lock since {datetime.fromtimestamp(since / 1000, UTC):%Y-%m-%d}, "
        f"no account took more wrong passwords than the limit {max_failures}"
    )


@check(
    "keycloak.events.guessing",
    title="Nobody tries passwords in Keycloak in great number",
    severity="medium",
    over=("keycloak.realms", "keycloak.events"),
)
def guessing(realms: Iterator[Record], events: Iterator[Record], *, max_failures_per_day: int = 100) -> Verdict:
    """On no day of the period did more than ``max_failures_per_day`` sign-ins fail that came from one address.

    Many users behind one address look alike: see what it is. Source: Get events (``time``, ``type``, ``ipAddress``).
    Remedy: block the address, look for sign-ins that succeeded from it, and record the incident.
    """
    _saving(realms, "LOGIN_ERROR")
    failures: Counter[tuple[str, str]] = Counter()
    total = 0
    for event in events:
        total += 1
        if event["type"] == "LOGIN_ERROR":
            day = datetime.fromtimestamp(event["time"] / 1000, UTC)
            failures[event["ipAddress"], f"{day:%Y-%m-%d}"] += 1
    many = sorted(
        f"{count} from {address} on {day}" for (address, day), count in failures.items() if count > max_failures_per_day
    )
    told = f"limit {max_failures_per_day} failures from one address a day"
    if many:
        return fail(f"{'; '.join(many[:10])}, {told}")
    return ok(f"at most {max(failures.values(), default=0)} in {total} sign-ins, {told}")


@check(
    "keycloak.admin-events.design-kept",
    title="Nobody changed how Keycloak users sign in",
    severity="medium",
    over=("keycloak.realms", "keycloak.admin-events"),
)
def design_kept(
    realms: Iterator[Record],
    events: Iterator[Record],
    *,
    design: tuple[str, ...] = DESIGN,
    max_events: int = 0,
) -> Verdict:
    """In the period at most ``max_events`` changes were made to settings of realms, flows and required actions.

    An event is an exception until it is held against an approved change. Source: Get admin events (``operationType``,
    ``resourceType``, ``error``, left out where the operation succeeded).
    Remedy: show the approved change for each event.
    """
    _saving(realms)
    found = [
        f"{_day(event)} {event['operationType']} {event['resourceType']} in {event['Realm']}"
        for event in events
        if event["resourceType"] in design and event["operationType"] != "ACTION" and "error" not in event
    ]
    told = f"{len(found)} changes in the period, limit {max_events}"
    return ok(told) if len(found) <= max_events else fail(f"{told}: {', '.join(sorted(found)[:10])}")


@check(
    "keycloak.admin-events.no-self-grant",
    title="No Keycloak administrator gave himself a role",
    severity="high",
    over=("keycloak.admin-events",),
)
def no_self_grant(events: Iterator[Record]) -> Verdict:
    """Roles given and groups joined in the period were given by somebody else than who got them.

    Source: Get admin events (``operationType`` CREATE, ``resourceType``, ``resourcePath``, ``authDetails``). Skipped
    where nothing was given. Roles given to a group one is in are not seen, nor what a realm did not save or no longer
    keeps: see keycloak.realms.admin-events-kept.
    Remedy: find out why, take the role away, and let another administrator decide.
    """
    given = [
        event
        for event in events
        if event["resourceType"] in ("REALM_ROLE_MAPPING", "CLIENT_ROLE_MAPPING", "GROUP_MEMBERSHIP")
        and event["operationType"] == "CREATE"
        and "error" not in event
    ]
    if not given:
        return skip("no role was given in the period")
    own = [event for event in given if event["resourcePath"].startswith(f"users/{event['authDetails']['userId']}/")]
    if own:
        listed = sorted(f"{event['authDetails']['userId']} on {_day(event)}" for event in own)
        return fail(f"{len(own)} of {len(given)} were taken by the administrator himself: {', '.join(listed[:10])}")
    return ok(f"{len(given)} roles and memberships were given, none by who got it")


def _saving(realms: Iterator[Record], kind: str = "") -> None:
    """Every enabled realm keeps the events of the period: those of users of the ``kind``, or those of administrators.

    Raises:
        Unavailable: one does not, so that an empty list proves nothing.
    """
    for realm in realms:
        settings, name = realm["getRealm"], realm["realm"]
        if "eventsEnabled" not in settings:
            raise Unavailable(GapKind.DENIED, f"the client is shown only a part of the realm {name}")
        if not settings["enabled"]:
            continue
        kinds = settings.get("enabledEventTypes", [])  # none for all
        if not settings["eventsEnabled" if kind else "adminEventsEnabled"] or (kind and kinds and kind not in kinds):
            raise Unavailable(GapKind.UNPROVEN, f"the realm {name} does not save such events")
        if kind:
            kept_s = settings.get("eventsExpiration", 0)  # 0 or left out: without end
        else:
            kept_s = int(settings.get("attributes", {}).get("adminEventsExpiration") or 0)
        if 0 < kept_s < DAYS * DAY_S:
            told = f"the realm {name} keeps events for {kept_s // DAY_S} days, the period has {DAYS}"
            raise Unavailable(GapKind.UNPROVEN, told)


def _longest_row(history: list[tuple[int, str]], wait_ms: int) -> int:
    """How many wrong passwords came in a row, at most."""
    longest = row = last = 0
    for time, told in history:
        if told != "invalid_user_credentials":
            row = 0 if told in ("signed in", "user_temporarily_disabled", "user_disabled") else row
            continue
        row = row + 1 if row and time - last < wait_ms else 1
        longest, last = max(longest, row), time
    return longest


def _day(event: Record) -> str:
    return f"{datetime.fromtimestamp(event['time'] / 1000, UTC):%Y-%m-%d}"
