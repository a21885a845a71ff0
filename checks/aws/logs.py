"""Amazon CloudWatch Logs: how log groups are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source("aws.logs.groups", key="logGroupName", per="region", permissions=("logs:DescribeLogGroups",))
def groups(aws: Aws) -> Iterator[Row]:
    """Every log group of the region, of any class."""
    yield from aws.pages("logs", "describe_log_groups", rows="logGroups")


@check(
    "aws.logs.retention",
    title="Log groups are kept long enough",
    severity="medium",
    each="aws.logs.groups",
)
def retention(group: Record, *, min_days: int = 365) -> Verdict:
    """Events are kept for at least ``min_days``, or never expire.

    Source: DescribeLogGroups (``retentionInDays``, left out where events never expire).
    Remedy: ``aws logs put-retention-policy``.
    """
    days = group.get("retentionInDays")  # left out where events never expire
    if days is None:
        return ok(f"events never expire, minimum {min_days} days")
    reason = f"events are kept for {days} days, minimum {min_days}"
    return fail(reason) if days < min_days else ok(reason)


@check(
    "aws.logs.encryption",
    title="Log groups are encrypted with a key of the customer",
    severity="low",
    each="aws.logs.groups",
)
def encryption(group: Record) -> Verdict:
    """The group names a KMS key; AWS encrypts every group with a key of its own otherwise.

    Source: DescribeLogGroups (``kmsKeyId``, left out where no key is associated).
    Remedy: ``aws logs associate-kms-key``.
    """
    key = group.get("kmsKeyId")  # left out where no key is associated
    return ok(f"events are encrypted with {key}") if key else fail("no KMS key is associated")
