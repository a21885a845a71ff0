"""How the account summary, the password policy and the caller's identity are read."""

from __future__ import annotations

import pytest

from collector import plugins
from collector.examples import Example
from collector.model import Outcome
from tests.worlds import AwsWorld, Reading


def replayed(world: AwsWorld, reading: Reading) -> Reading:
    """The reading, once it has replayed to itself."""
    again = world.replay(reading)
    assert again.shard.path is not None
    assert reading.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert again.shard.population == reading.shard.population
    assert again.unused == []
    return reading


def test_the_summary_is_one_record(aws_world: AwsWorld) -> None:
    aws_world.client("iam").create_user(UserName="anna")
    reading = replayed(aws_world, aws_world.read("aws.iam.account-summary"))
    assert reading.shard.population.proven
    summary = reading.row("account-summary")["GetAccountSummary"]["SummaryMap"]
    assert (summary["Users"], summary["AccountMFAEnabled"], summary["AccountAccessKeysPresent"]) == (1, 0, 0)


def test_an_account_without_a_password_policy_still_has_a_record_to_fail(aws_world: AwsWorld) -> None:
    reading = replayed(aws_world, aws_world.read("aws.iam.password-policy"))
    assert reading.shard.population.proven
    assert reading.rows == [{"Id": "password-policy", "GetAccountPasswordPolicy": None}]


def test_a_password_policy_is_read_as_the_api_spells_it(aws_world: AwsWorld) -> None:
    aws_world.client("iam").update_account_password_policy(MinimumPasswordLength=12, RequireSymbols=True)
    reading = replayed(aws_world, aws_world.read("aws.iam.password-policy"))
    policy = reading.row("password-policy")["GetAccountPasswordPolicy"]["PasswordPolicy"]
    assert (policy["MinimumPasswordLength"], policy["RequireSymbols"], policy["RequireNumbers"]) == (12, True, False)


def test_the_caller_is_one_record(aws_world: AwsWorld) -> None:
    reading = replayed(aws_world, aws_world.read("aws.sts.caller-identity"))
    assert reading.row("123456789012")["Arn"].startswith("arn:aws:sts::123456789012:")


@pytest.mark.parametrize(
    ("dataset", "operation"),
    [
        ("aws.iam.account-summary", "iam:GetAccountSummary"),
        ("aws.iam.password-policy", "iam:GetAccountPasswordPolicy"),
        ("aws.sts.caller-identity", "sts:GetCallerIdentity"),
    ],
)
def test_a_refusal_is_a_gap_and_no_record(aws_world: AwsWorld, dataset: str, operation: str) -> None:
    aws_world.deny(operation)
    reading = replayed(aws_world, aws_world.read(dataset))
    gap = reading.shard.population.gap
    assert gap is not None
    assert (gap.kind, gap.operation, reading.rows) == ("denied", operation, [])


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ("aws.iam.root-no-access-keys", {"GetAccountSummary": {"SummaryMap": {"AccountMFAEnabled": 1}}}),
        ("aws.iam.password-policy-length", {"GetAccountPasswordPolicy": {"PasswordPolicy": {}}}),
        ("aws.iam.password-policy-complexity", {"GetAccountPasswordPolicy": {"PasswordPolicy": {}}}),
        ("aws.iam.console-user-mfa", {"user": "emil", "password_enabled": "true", "mfa_active": ""}),
        ("aws.iam.single-active-access-key", {"user": "e", "access_key_1_active": "on", "access_key_2_active": "off"}),
        ("aws.iam.access-key-rotated", {"UserName": "e", "Status": "Suspended", "CreateDate": "2026-05-02T00:00:00Z"}),
        ("aws.iam.role-in-use", {"Path": "/", "CreateDate": "2026-05-02T00:00:00Z"}),
        ("aws.iam.no-admin-policies", {"AttachmentCount": 1, "PolicyVersionList": []}),
        ("aws.iam.no-direct-user-policies", {"UserName": "emil", "GroupList": []}),
    ],
)
def test_what_the_api_never_said_before_is_an_error_not_a_verdict(check: str, rows: dict[str, object]) -> None:
    assert Example(check, Outcome.ERROR, (rows,)).run(plugins.load_checks()[check])[0] == Outcome.ERROR


@pytest.mark.parametrize(
    ("summary", "report"),
    [
        ({"AccountMFAEnabled": 1}, [{"user": "<root_account>", "mfa_active": "yes"}]),
        ({"AccountMFAEnabled": 2}, [{"user": "<root_account>", "mfa_active": "true"}]),
        ({}, [{"user": "<root_account>", "mfa_active": "true"}]),
    ],
)
def test_root_mfa_knows_only_the_words_it_knows(summary: dict[str, int], report: list[dict[str, str]]) -> None:
    rows = ([{"GetAccountSummary": {"SummaryMap": summary}}], report)
    example = Example("aws.iam.root-mfa", Outcome.ERROR, rows)
    assert example.run(plugins.load_checks()["aws.iam.root-mfa"])[0] == Outcome.ERROR
