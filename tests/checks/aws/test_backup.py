"""How AWS Backup is read. Jobs, selections and protected resources are made by hand: the emulator knows none."""

from __future__ import annotations

from typing import Any

import pytest

from collector import plugins
from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld

JOB = {"BackupJobId": "j-1", "State": "COMPLETED", "CreationDate": 1780196400.0, "ResourceType": "RDS"}
DATABASE = "arn:aws:rds:eu-central-1:123456789012:db:orders"
PROTECTED = {"ResourceArn": DATABASE, "ResourceType": "RDS", "LastBackupTime": 1780196400.5}


def _plan(world: AwsWorld) -> str:
    rule = {"RuleName": "nightly", "TargetBackupVaultName": "main", "ScheduleExpression": "cron(0 3 * * ? *)"}
    made = world.client("backup").create_backup_plan(BackupPlan={"BackupPlanName": "databases", "Rules": [rule]})
    return str(made["BackupPlanId"])


def test_plans_are_read_with_their_rules_and_all_their_selections(aws_world: AwsWorld) -> None:
    plan = _plan(aws_world)
    first, second = ({"BackupSelectionsList": [{"SelectionId": name}]} for name in ("s-1", "s-2"))
    pages = Answers({**first, "NextToken": "t1"}, second)
    aws_world.faults["backup:ListBackupSelections"] = pages
    row = read_whole(aws_world, "aws.backup.plans").row(plan)
    assert [rule["RuleName"] for rule in row["GetBackupPlan"]["BackupPlan"]["Rules"]] == ["nightly"]
    assert row["ListBackupSelections"] == [{"SelectionId": "s-1"}, {"SelectionId": "s-2"}]
    assert ["nextToken=t1" in sent for sent in pages.sent] == [False, True]


@pytest.mark.parametrize("operation", ["backup:GetBackupPlan", "backup:ListBackupSelections"])
def test_a_refused_sub_reply_stands_in_the_row(aws_world: AwsWorld, operation: str) -> None:
    plan = _plan(aws_world)
    aws_world.faults["backup:ListBackupSelections"] = Answers({"BackupSelectionsList": []})
    assert_refused_in_rows(aws_world, "aws.backup.plans", operation, plan)


def test_vaults_are_read(aws_world: AwsWorld) -> None:
    key = "arn:aws:kms:eu-central-1:123456789012:key/5d1b7c1e-0000-4000-8000-000000000001"
    aws_world.client("backup").create_backup_vault(BackupVaultName="main", EncryptionKeyArn=key)
    assert read_whole(aws_world, "aws.backup.vaults").row("main")["EncryptionKeyArn"] == key


PAGED: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("aws.backup.jobs", "backup:ListBackupJobs", "BackupJobs", "BackupJobId", JOB),
    ("aws.backup.protected-resources", "backup:ListProtectedResources", "Results", "ResourceArn", PROTECTED),
    ("aws.backup.vaults", "backup:ListBackupVaults", "BackupVaultList", "BackupVaultName", {"BackupVaultName": "main"}),
]


@pytest.mark.parametrize(("dataset", "operation", "member", "key", "record"), PAGED)
def test_two_pages(
    aws_world: AwsWorld, dataset: str, operation: str, member: str, key: str, record: dict[str, Any]
) -> None:
    pages = Answers({member: [record], "NextToken": "t1"}, {member: [record | {key: "second"}]})
    aws_world.faults[operation] = pages
    assert [row[key] for row in read_whole(aws_world, dataset).rows] == [record[key], "second"]
    assert ["nextToken=t1" in sent for sent in pages.sent] == [False, True]


def test_times_of_jobs_and_backups_are_instants(aws_world: AwsWorld) -> None:
    aws_world.faults["backup:ListBackupJobs"] = Answers({"BackupJobs": [JOB]})
    aws_world.faults["backup:ListProtectedResources"] = Answers({"Results": [PROTECTED]})
    assert aws_world.read("aws.backup.jobs").row("j-1")["CreationDate"] == "2026-05-31T03:00:00.000Z"
    resource = aws_world.read("aws.backup.protected-resources").row(DATABASE)
    assert resource["LastBackupTime"] == "2026-05-31T03:00:00.500Z"


def test_jobs_are_events_over_a_period() -> None:
    assert plugins.load().sources["aws.backup.jobs"].kind == "period"
    assert plugins.load_checks()["aws.backup.job-success"].dataset_kinds == ("period",)


@pytest.mark.parametrize(
    ("dataset", "operation", "answer"),
    [
        ("aws.backup.plans", "", {}),
        ("aws.backup.vaults", "", {}),
        ("aws.backup.jobs", "backup:ListBackupJobs", {"BackupJobs": []}),
        ("aws.backup.protected-resources", "backup:ListProtectedResources", {"Results": []}),
    ],
)
def test_nothing_there(aws_world: AwsWorld, dataset: str, operation: str, answer: dict[str, Any]) -> None:
    if operation:
        aws_world.faults[operation] = Answers(answer)
    assert_no_rows(aws_world, dataset)


@pytest.mark.parametrize(
    ("dataset", "operation"), [("aws.backup.plans", "backup:ListBackupPlans"), *(p[:2] for p in PAGED)]
)
def test_a_refused_list_is_a_gap(aws_world: AwsWorld, dataset: str, operation: str) -> None:
    assert_denied(aws_world, dataset, operation)
