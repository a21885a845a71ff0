"""The Okta System Log: what was done in the organisation over a period."""

from collections.abc import Iterator
from datetime import timedelta

from collector.api import Http, Record, Redaction, Row, Verdict, check, fail, ok, source
from collector.model import stamp

DAYS = 90
"""How long Okta keeps the log."""

EVENTS = ("policy.", "user.account.privilege.", "user.lifecycle.", "user.session.impersonation.", "system.api_token.")
"""Kinds of event that are read: changes to accounts, roles, policies and tokens, and entries by support."""


@source(
    "okta.system-log",
    key="uuid",
    per="connection",
    permissions=("okta.logs.read",),
    kind="period",
    window_days=DAYS,
    redactions=tuple(
        Redaction("okta:GET /api/v1/logs", "who acted is told by id and login, when by the time", json=f"[].{path}")
        for path in (
            "actor.displayName", "client.ipAddress", "client.userAgent.rawUserAgent", "client.geographicalContext.*",
            "client.geographicalContext.geolocation.*", "debugContext.debugData.*", "request.ipChain[].ip",
            "request.ipChain[].geographicalContext.*", "request.ipChain[].geographicalContext.geolocation.*",
            "target[].displayName",
        )
    ),
    filters="the period, and the types of event that a check reads",
)  # fmt: skip
def system_log(okta: Http) -> Iterator[Row]:
    """Events of the 90 days before the collection: changes to accounts, roles, policies, tokens; entries by support.

    The filter on the kind of event is part of the request. Both ends of the period are named, so that the list ends.
    """
    now = okta.now()
    yield from okta.pages(
        "/api/v1/logs",
        since=stamp(now - timedelta(days=DAYS)),
        until=stamp(now),
        filter=" or ".join(f'eventType sw "{kind}"' for kind in EVENTS),
        sortOrder="ASCENDING",
        limit=1000,
    )


@check(
    "okta.system-log.no-support-entry",
    title="Nobody of the vendor's support entered the Okta organisation",
    severity="medium",
    over=("okta.system-log",),
)
def no_support_entry(events: Iterator[Record], *, max_entries: int = 0) -> Verdict:
    """In the period at most ``max_entries`` sessions of the vendor's support began.

    Source: System Log (``eventType`` user.session.impersonation.initiate, ``outcome.result``).
    Remedy: hold each entry against a case of your own, and record it.
    """
    found = _times(events, ("user.session.impersonation.initiate",))
    return _few(found, max_entries, "entries by support")


@check(
    "okta.system-log.policies-kept",
    title="No Okta policy was switched off or deleted",
    severity="medium",
    over=("okta.system-log",),
)
def policies_kept(events: Iterator[Record], *, max_events: int = 0) -> Verdict:
    """In the period at most ``max_events`` policies or rules were deactivated or deleted.

    Source: System Log (``eventType`` policy.lifecycle.deactivate, policy.lifecycle.delete, policy.rule.deactivate,
    policy.rule.delete). An event is an exception until it is held against an approved change.
    Remedy: show the approved change for each event.
    """
    kinds = ("policy.lifecycle.deactivate", "policy.lifecycle.delete", "policy.rule.deactivate", "policy.rule.delete")
    return _few(_times(events, kinds), max_events, "policies or rules switched off or deleted")


def _times(events: Iterator[Record], kinds: tuple[str, ...]) -> list[str]:
    """When the events of these kinds that succeeded took place."""
    return [
        item["published"] for item in events if item["eventType"] in kinds and item["outcome"]["result"] == "SUCCESS"
    ]


def _few(found: list[str], limit: int, what: str) -> Verdict:
    told = f"{len(found)} {what} in the period, limit {limit}"
    if len(found) <= limit:
        return ok(told)
    return fail(f"{told}: {', '.join(sorted(found)[:10])}")
