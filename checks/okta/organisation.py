"""The Okta organisation: its protection against attacks, its support access, and where its log goes."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Http, Record, Row, Verdict, check, fail, instant, ok, source


@source("okta.threat-insight", key="Id", per="connection", permissions=("okta.threatInsights.read",))
def threat_insight(okta: Http) -> Iterator[Row]:
    """One record: what Okta does with requests from addresses that attack."""
    yield {"Id": "threat-insight", "getCurrentConfiguration": okta.attempt("/api/v1/threats/configuration")}


@source("okta.support-access", key="Id", per="connection", permissions=("okta.orgs.read",))
def support_access(okta: Http) -> Iterator[Row]:
    """One record: whether the vendor's support may enter the organisation."""
    yield {"Id": "support-access", "getOrgOktaSupportSettings": okta.attempt("/api/v1/org/privacy/oktaSupport")}


@source("okta.log-streams", key="id", per="connection", permissions=("okta.logStreams.read",))
def log_streams(okta: Http) -> Iterator[Row]:
    """Every log stream of the organisation, active or not."""
    yield from okta.pages("/api/v1/logStreams", limit=200)


@source("okta.network-zones", key="id", per="connection", permissions=("okta.networkZones.read",))
def network_zones(okta: Http) -> Iterator[Row]:
    """Every network zone of the organisation."""
    yield from okta.pages("/api/v1/zones", limit=200)


@check(
    "okta.threat-insight.blocks",
    title="Okta blocks sign-ins from addresses that attack",
    severity="medium",
    each="okta.threat-insight",
)
def blocks(row: Record) -> Verdict:
    """ThreatInsight blocks, it does not only log.

    Source: Retrieve the ThreatInsight configuration (``action``).
    Remedy: Security, General, Okta ThreatInsight: log and enforce.
    """
    action = row["getCurrentConfiguration"]["action"]
    return {"block": ok, "audit": fail, "none": fail}[action](f"action is {action}")


@check(
    "okta.support-access.off",
    title="The vendor's support has no standing access to Okta",
    severity="medium",
    each="okta.support-access",
)
def off(row: Record, *, as_of: datetime, max_hours: int = 24) -> Verdict:
    """Support access is disabled, or ends within ``max_hours`` of the collection.

    Source: Retrieve the Okta Support settings (``support``, ``expiration``).
    Remedy: Settings, Account: revoke support access when the case is closed.
    """
    reply = row["getOrgOktaSupportSettings"]
    if reply["support"] == "DISABLED":
        return ok("support access is disabled")
    if reply["expiration"] is None:
        return fail("support access is enabled without an end")
    hours = (instant(reply["expiration"]) - as_of).total_seconds() / 3600
    told = f"support access is enabled for {max(0.0, hours):.0f} more hours, limit {max_hours}"
    return ok(told) if hours <= max_hours else fail(told)


@check(
    "okta.log-streams.active",
    title="The Okta log is streamed out of Okta",
    severity="medium",
    over=("okta.log-streams",),
)
def active(streams: Iterator[Record]) -> Verdict:
    """At least one log stream is active, since Okta keeps its log for a limited time only.

    Source: List log streams (``status``). A collector that fetches the log by itself is not seen here.
    Remedy: Reports, Log Streaming: add a stream.
    """
    found = [(stream["name"], stream["status"]) for stream in streams]
    running = sorted(name for name, status in found if status == "ACTIVE")
    if running:
        return ok(f"active: {', '.join(running)}")
    return fail(f"none of {len(found)} log streams is active")


@check(
    "okta.network-zones.blocklist",
    title="Okta refuses networks on a blocklist",
    severity="low",
    over=("okta.network-zones",),
)
def blocklist(zones: Iterator[Record]) -> Verdict:
    """At least one active network zone is a blocklist and holds an entry; Okta makes an empty one for everybody.

    Source: List network zones (``usage``, ``status``; by kind of zone ``gateways``, ``asns``, ``locations``,
    ``proxyType``, ``ipServiceCategories``, left out or null where there are none).
    Remedy: Security, Networks: add the networks nobody may sign in from to a blocklist.
    """
    lists = [zone for zone in zones if zone["usage"] == "BLOCKLIST" and zone["status"] == "ACTIVE"]
    found = sorted(zone["name"] for zone in lists if _filled(zone))
    if found:
        return ok(f"active blocklists: {', '.join(found)}")
    return fail(f"none of {len(lists)} active blocklists holds an entry" if lists else "no active zone is a blocklist")


def _filled(zone: Record) -> bool:
    """Whether a zone names an address, a network, a place or a kind of proxy."""
    for name in ("gateways", "proxies", "asns", "locations", "proxyType", "ipServiceCategories"):
        held = zone.get(name)
        if held.get("include") if isinstance(held, dict) else held not in (None, "", "null", []):
            return True
    return False
