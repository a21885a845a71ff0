"""Amazon GuardDuty detectors: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source(
    "aws.guardduty.detectors",
    key="DetectorId",
    per="region",
    permissions=("guardduty:ListDetectors", "guardduty:GetDetector"),
)
def detectors(aws: Aws) -> Iterator[Row]:
    """The detector of the region, if there is one."""
    for detector in aws.pages("guardduty", "list_detectors", rows="DetectorIds"):
        yield {"DetectorId": detector, "GetDetector": aws.attempt("guardduty", "get_detector", DetectorId=detector)}


@check(
    "aws.guardduty.detector-on",
    title="GuardDuty watches the region",
    severity="medium",
    over=("aws.guardduty.detectors",),
    across="region",
)
def detector_on(detectors: Iterator[Record]) -> Verdict:
    """A detector is enabled.

    Source: GetDetector (``Status``). Which protection plans it has is not asked.
    Remedy: ``aws guardduty create-detector --enable``.
    """
    found = {detector["DetectorId"]: detector["GetDetector"]["Status"] for detector in detectors}
    enabled = [name for name, status in found.items() if status == "ENABLED"]
    if enabled:
        return ok(f"the detector {enabled[0]} is enabled")
    return fail(f"the detector {', '.join(found)} is disabled" if found else "there is no detector")
