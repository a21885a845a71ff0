"""AWS Config recorders: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source(
    "aws.config.recorders",
    key="name",
    per="region",
    permissions=("config:DescribeConfigurationRecorders", "config:DescribeConfigurationRecorderStatus"),
)
def recorders(aws: Aws) -> Iterator[Row]:
    """Every configuration recorder the customer manages in the region; those of AWS services are not listed.

    ``Region`` is the region that was asked.
    """
    for recorder in aws.pages("config", "describe_configuration_recorders", rows="ConfigurationRecorders"):
        yield {
            **recorder,
            "Region": aws.region,
            "DescribeConfigurationRecorderStatus": aws.attempt(
                "config", "describe_configuration_recorder_status", ConfigurationRecorderNames=[recorder["name"]]
            ),
        }


@check(
    "aws.config.recorder-on",
    title="AWS Config records the resources of the region",
    severity="medium",
    over=("aws.config.recorders",),
    across="region",
)
def recorder_on(recorders: Iterator[Record]) -> Verdict:
    """At least one recorder is recording, and its latest event did not fail.

    Source: DescribeConfigurationRecorderStatus (``recording``, ``lastStatus``). Which types are recorded is not asked.
    Remedy: ``aws configservice start-configuration-recorder``.
    """
    faults = []
    for recorder in recorders:
        [status] = recorder["DescribeConfigurationRecorderStatus"]["ConfigurationRecordersStatus"]
        last = status.get("lastStatus", "")  # left out before the first event
        if status["recording"] and last.upper() != "FAILURE":
            return ok(f"the recorder {recorder['name']} is recording")
        faults.append(f"{recorder['name']} {'reports a failure' if status['recording'] else 'is stopped'}")
    return fail(f"no recorder is at work: {', '.join(faults)}" if faults else "there is no recorder")
