"""How AWS Config recorders are read."""

from __future__ import annotations

import pytest

from tests.checks.aws.asking import assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld


@pytest.fixture
def recorder(aws_world: AwsWorld) -> AwsWorld:
    """A recorder that was never started."""
    group = {"allSupported": True, "includeGlobalResourceTypes": True}
    default = {"name": "default", "roleARN": "arn:aws:iam::123456789012:role/config", "recordingGroup": group}
    aws_world.client("config").put_configuration_recorder(ConfigurationRecorder=default)
    return aws_world


def test_a_recorder_is_read_with_its_status(recorder: AwsWorld) -> None:
    row = read_whole(recorder, "aws.config.recorders").row("default")
    [status] = row["DescribeConfigurationRecorderStatus"]["ConfigurationRecordersStatus"]
    assert row["Region"] == "eu-central-1"
    assert (row["recordingGroup"]["allSupported"], status["name"], status["recording"]) == (True, "default", False)


def test_a_refused_status_stands_in_the_row(recorder: AwsWorld) -> None:
    assert_refused_in_rows(recorder, "aws.config.recorders", "config:DescribeConfigurationRecorderStatus", "default")


def test_no_recorder(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.config.recorders")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.config.recorders", "config:DescribeConfigurationRecorders")
