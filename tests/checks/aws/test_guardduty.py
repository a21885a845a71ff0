"""How GuardDuty detectors are read."""

from __future__ import annotations

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld


def test_a_detector_is_read_with_its_status(aws_world: AwsWorld) -> None:
    detector = aws_world.client("guardduty").create_detector(Enable=False)["DetectorId"]
    assert read_whole(aws_world, "aws.guardduty.detectors").row(detector)["GetDetector"]["Status"] == "DISABLED"


def test_two_pages(aws_world: AwsWorld) -> None:
    detector = aws_world.client("guardduty").create_detector(Enable=True)["DetectorId"]
    pages = Answers({"detectorIds": [], "nextToken": "t1"}, {"detectorIds": [detector]})
    aws_world.faults["guardduty:ListDetectors"] = pages
    assert read_whole(aws_world, "aws.guardduty.detectors").row(detector)["GetDetector"]["Status"] == "ENABLED"
    assert ["nextToken=t1" in sent for sent in pages.sent] == [False, True]


def test_a_refused_detector_stands_in_the_row(aws_world: AwsWorld) -> None:
    detector = aws_world.client("guardduty").create_detector(Enable=True)["DetectorId"]
    assert_refused_in_rows(aws_world, "aws.guardduty.detectors", "guardduty:GetDetector", detector)


def test_no_detector(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.guardduty.detectors")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.guardduty.detectors", "guardduty:ListDetectors")
