"""AWS CloudTrail trails: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, fail, instant, ok, skip, source
from collector.model import GapKind

BOTH = frozenset({"read", "write"})


@source(
    "aws.cloudtrail.trails",
    key="TrailARN",
    per="region",
    permissions=("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"),
)
def trails(aws: Aws) -> Iterator[Row]:
    """Every trail that covers the region: those at home in it with their sub-replies, copies of others without.

    ``Region`` is the region that was asked; a trail is judged where that is its ``HomeRegion``. Copies (AWS calls them
    shadow trails) are listed because a trail of the organisation is one in a member account, and so that a trail whose
    home is not collected is not taken for missing.
    """
    for trail in aws.pages("cloudtrail", "describe_trails", rows="trailList", includeShadowTrails=True):
        row = {**trail, "Region": aws.region}
        if trail["HomeRegion"] == aws.region:
            row["GetTrailStatus"] = aws.attempt("cloudtrail", "get_trail_status", Name=trail["TrailARN"])
            row["GetEventSelectors"] = aws.attempt("cloudtrail", "get_event_selectors", TrailName=trail["TrailARN"])
        yield row


@check(
    "aws.cloudtrail.multi-region-logging",
    title="A trail logs management events of every region",
    severity="high",
    over=("aws.cloudtrail.trails",),
)
def multi_region_logging(trails: Iterator[Record]) -> Verdict:
    """At least one trail is multi-region, is logging, and selects all reads and writes of management events.

    Source: DescribeTrails (``IsMultiRegionTrail``), GetTrailStatus (``IsLogging``), GetEventSelectors.
    Remedy: ``aws cloudtrail create-trail --is-multi-region-trail``, then ``start-logging``.
    """
    found: dict[str, str] = {}
    away: dict[str, str] = {}
    for trail in trails:
        if _is_copy(trail):
            away[trail["TrailARN"]] = trail["HomeRegion"]
            continue
        fault = _fault(trail)
        if not fault:
            return ok(f"{trail['Name']} logs management events of every region")
        found[trail["TrailARN"]] = f"{trail['Name']} {fault}"
    for arn in sorted(away.keys() - found.keys()):
        reason = f"{arn} covers the account from {away[arn]}, a region that was not read"
        raise Unavailable(GapKind.UNPROVEN, reason, "cloudtrail:GetTrailStatus")
    if not found:
        return fail("there is no trail")
    return fail(f"no trail logs management events of every region: {'; '.join(found.values())}")


@check(
    "aws.cloudtrail.log-file-validation",
    title="Trails write digests that reveal a changed log file",
    severity="medium",
    each="aws.cloudtrail.trails",
)
def log_file_validation(trail: Record) -> Verdict:
    """Log file validation is on.

    Source: DescribeTrails (``LogFileValidationEnabled``). Copies are judged where the trail lives.
    Remedy: ``aws cloudtrail update-trail --enable-log-file-validation``.
    """
    if _is_copy(trail):
        return _elsewhere(trail)
    return ok("log file validation is on") if trail["LogFileValidationEnabled"] else fail("log file validation is off")


@check(
    "aws.cloudtrail.delivery-succeeds",
    title="Trails deliver their log files",
    severity="high",
    each="aws.cloudtrail.trails",
)
def delivery_succeeds(trail: Record, *, as_of: datetime, max_age_hours: int = 24) -> Verdict:
    """The trail is logging, reports no delivery error, and delivered a file within ``max_age_hours`` of collection.

    Source: GetTrailStatus of the home region (``IsLogging``, ``LatestDeliveryError``, ``LatestDeliveryTime``).
    Remedy: correct the policy of the bucket, then ``aws cloudtrail start-logging``.
    """
    if _is_copy(trail):
        return _elsewhere(trail)
    status = trail["GetTrailStatus"]
    if not status["IsLogging"]:
        return fail("logging is switched off")
    error = status.get("LatestDeliveryError")  # left out, or empty, while deliveries succeed
    if error:
        return fail(f"the latest delivery failed with {error}")
    latest = status.get("LatestDeliveryTime")  # left out before the first delivery
    if latest is None:
        return fail("no log file has been delivered yet")
    age = as_of - instant(latest)
    hours = max(0, age // timedelta(hours=1))
    reason = f"the latest log file was delivered {hours} hours before collection, limit {max_age_hours}"
    return fail(reason) if age > timedelta(hours=max_age_hours) else ok(reason)


@check(
    "aws.cloudtrail.log-encryption",
    title="Trails encrypt log files with a key of the customer",
    severity="medium",
    each="aws.cloudtrail.trails",
)
def log_encryption(trail: Record) -> Verdict:
    """The trail names a KMS key.

    Source: DescribeTrails (``KmsKeyId``, left out where log files have only the encryption of S3).
    Remedy: ``aws cloudtrail update-trail --kms-key-id``.
    """
    if _is_copy(trail):
        return _elsewhere(trail)
    key = trail.get("KmsKeyId")  # left out when the trail has no key
    return ok(f"log files are encrypted with {key}") if key else fail("no KMS key is set for log files")


@check(
    "aws.cloudtrail.management-events",
    title="Trails select all management events",
    severity="medium",
    each="aws.cloudtrail.trails",
)
def management_events(trail: Record, *, allowed_exclusions: tuple[str, ...] = ()) -> Verdict:
    """The trail's selectors take in reads and writes of management events, of all sources but ``allowed_exclusions``.

    Source: GetEventSelectors. A trail without selectors of its own logs all management events. A selector that
    narrows by anything else than ``readOnly`` or ``eventSource`` is not counted.
    Remedy: ``aws cloudtrail put-event-selectors``.
    """
    if _is_copy(trail):
        return _elsewhere(trail)
    missing = BOTH - _covered(trail, allowed_exclusions)
    if missing:
        return fail(f"{' and '.join(sorted(missing))} management events are not selected, or are filtered")
    return ok("read and write management events are selected")


def _is_copy(trail: Record) -> bool:
    return bool(trail["Region"] != trail["HomeRegion"])


def _elsewhere(trail: Record) -> Verdict:
    return skip(f"a copy of a trail of {trail['HomeRegion']}, where it is judged")


def _fault(trail: Record) -> str:
    """What keeps a trail from logging all management events of every region; empty when nothing does."""
    if not trail["IsMultiRegionTrail"]:
        return f"covers {trail['HomeRegion']} only"
    if not trail["GetTrailStatus"]["IsLogging"]:
        return "is not logging"
    return "" if _covered(trail, ()) == BOTH else "does not select all management events"


def _covered(trail: Record, allowed_exclusions: tuple[str, ...]) -> frozenset[str]:
    """Which of read and write management events the selectors take in without a filter."""
    reply = trail["GetEventSelectors"]
    advanced = reply.get("AdvancedEventSelectors", [])  # the API answers with one of the two kinds
    basic = reply.get("EventSelectors", []) if "AdvancedEventSelectors" in reply else reply["EventSelectors"]
    if not basic and not advanced and not trail["HasCustomEventSelectors"]:
        return BOTH  # documented: without selectors of its own a trail logs all management events
    parts = [_basic(item, allowed_exclusions) for item in basic]
    parts += [_advanced(item, allowed_exclusions) for item in advanced]
    return frozenset().union(*parts)


def _basic(selector: Record, allowed_exclusions: tuple[str, ...]) -> frozenset[str]:
    excluded = set(selector.get("ExcludeManagementEventSources", []))  # left out where nothing is excluded
    if not selector["IncludeManagementEvents"] or excluded - set(allowed_exclusions):
        return frozenset()
    return {"All": BOTH, "ReadOnly": frozenset({"read"}), "WriteOnly": frozenset({"write"})}[selector["ReadWriteType"]]


def _advanced(selector: Record, allowed_exclusions: tuple[str, ...]) -> frozenset[str]:
    fields: dict[str, dict[str, Any]] = {field["Field"]: field for field in selector["FieldSelectors"]}
    if fields.pop("eventCategory")["Equals"] != ["Management"]:
        return frozenset()
    excluded = fields.pop("eventSource", {"NotEquals": []})  # without the field no source is excluded
    if not set(excluded.get("NotEquals", ["*"])) <= set(allowed_exclusions) or set(excluded) - {"Field", "NotEquals"}:
        return frozenset()
    only = fields.pop("readOnly", {"Equals": ["true", "false"]})["Equals"]  # without the field reads and writes
    return frozenset() if fields else frozenset({"true": "read", "false": "write"}[value] for value in only)
