"""AWS Secrets Manager: how secrets are listed (their values are never asked for), and what we require of them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from collector.api import Aws, Record, Row, Verdict, check, days_between, fail, instant, ok, skip, source


@source("aws.secretsmanager.secrets", key="Name", per="region", permissions=("secretsmanager:ListSecrets",))
def secrets(aws: Aws) -> Iterator[Row]:
    """Every secret of the region that is not waiting for its deletion, without its value."""
    yield from aws.pages("secretsmanager", "list_secrets", rows="SecretList")


@check(
    "aws.secretsmanager.rotation-on",
    title="Secrets are set to rotate",
    severity="medium",
    each="aws.secretsmanager.secrets",
)
def rotation_on(secret: Record) -> Verdict:
    """Automatic rotation is on.

    Source: ListSecrets (``RotationEnabled``, left out where rotation was never set up). Replicas rotate with the secret
    of their primary region and are skipped.
    Remedy: ``aws secretsmanager rotate-secret``.
    """
    if _primary(secret):
        return skip(f"a replica of a secret of {_primary(secret)}")
    enabled = secret.get("RotationEnabled")  # left out where rotation was never set up
    if enabled is None:
        return fail("rotation was never set up")
    return ok("rotation is on") if enabled else fail("rotation is off")


@check(
    "aws.secretsmanager.rotated-on-time",
    title="Secrets were rotated within their own interval",
    severity="medium",
    each="aws.secretsmanager.secrets",
)
def rotated_on_time(secret: Record, *, as_of: datetime, grace_days: int = 2) -> Verdict:
    """The last rotation succeeded within the secret's own interval and ``grace_days`` more.

    Source: ListSecrets (``LastRotatedDate``, left out before the first rotation, when ``CreatedDate`` counts;
    ``RotationRules.AutomaticallyAfterDays``, which the API also derives from schedules). Secrets that do not rotate,
    and replicas, are skipped.
    Remedy: look at the log of the rotation function, then ``aws secretsmanager rotate-secret``.
    """
    if _primary(secret):
        return skip(f"a replica of a secret of {_primary(secret)}")
    if not secret.get("RotationEnabled"):  # left out where rotation was never set up
        return skip("rotation is not on")
    interval = secret["RotationRules"]["AutomaticallyAfterDays"]
    last = secret.get("LastRotatedDate")  # left out before the first rotation
    since = instant(secret["CreatedDate"] if last is None else last)
    reason = "never rotated since creation" if last is None else "last rotated"
    reason += f" {days_between(since, as_of)} days ago, interval {interval} days and {grace_days} of grace"
    return fail(reason) if as_of - since > timedelta(days=interval + grace_days) else ok(reason)


def _primary(secret: Record) -> str:
    """Primary region of a replica; empty for a secret at home. The API leaves it out where there are no replicas."""
    region = str(secret.get("PrimaryRegion", ""))
    return "" if region == secret["ARN"].split(":")[3] else region
