"""How the accounts and the guardrails of an organisation are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector.model import Unavailable
from tests.checks.aws.test_iam_account import replayed
from tests.worlds import AwsWorld, FakeResponse, error_reply

DATASETS = {
    "aws.organizations.accounts": "organizations:ListAccounts",
    "aws.organizations.policies": "organizations:ListPolicies",
}
GUARD = {"Statement": [{"Effect": "Deny", "Action": "cloudtrail:StopLogging", "Resource": "*"}]}


def test_accounts_are_read_from_every_page_without_their_addresses(aws_world: AwsWorld) -> None:
    def page(request: Any) -> FakeResponse:
        second = json.loads(request.body).get("NextToken") == "next"
        number = "210987654321" if second else "123456789012"
        account = {"Id": number, "Name": "shop", "Email": f"root-{number}@example.com", "State": "ACTIVE"}
        body = {"Accounts": [account]} | ({} if second else {"NextToken": "next"})
        return FakeResponse(200, json.dumps(body).encode(), {"content-type": "application/x-amz-json-1.1"})

    aws_world.faults["organizations:ListAccounts"] = page
    reading = replayed(aws_world, aws_world.read("aws.organizations.accounts"))
    assert reading.shard.population.proven
    assert [row["Id"] for row in reading.rows] == ["123456789012", "210987654321"]
    assert {row["Email"] for row in reading.rows} == {"REDACTED"}
    assert [line["redactions"][0]["count"] for line in reading.ledger.lines] == [1, 1]
    assert not any(b"example.com" in body for body in reading.ledger.objects.values())


def test_the_emulator_s_organisation(aws_world: AwsWorld) -> None:
    organizations = aws_world.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    organizations.create_account(AccountName="shop", Email="shop@example.com")
    root = organizations.list_roots()["Roots"][0]["Id"]
    organizations.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
    made = organizations.create_policy(
        Content=json.dumps(GUARD), Description="-", Name="keep-the-log", Type="SERVICE_CONTROL_POLICY"
    )["Policy"]["PolicySummary"]["Id"]
    organizations.attach_policy(PolicyId=made, TargetId=root)
    accounts = replayed(aws_world, aws_world.read("aws.organizations.accounts"))
    assert sorted(row["Name"] for row in accounts.rows) == ["master", "shop"]
    policies = replayed(aws_world, aws_world.read("aws.organizations.policies"))
    assert policies.shard.population.proven
    policy = policies.row(made)
    assert json.loads(policy["DescribePolicy"]["Policy"]["Content"]) == GUARD
    assert [(target["TargetId"], target["Type"]) for target in policy["ListTargetsForPolicy"]] == [(root, "ROOT")]
    aws_world.deny("organizations:ListTargetsForPolicy", "AccessDeniedException")
    refused = replayed(aws_world, aws_world.read("aws.organizations.policies"))
    with pytest.raises(Unavailable, match="organizations:ListTargetsForPolicy was refused"):
        refused.row(made)["ListTargetsForPolicy"]
    assert refused.row(made)["DescribePolicy"]["Policy"]["PolicySummary"]["Name"] == "keep-the-log"


@pytest.mark.parametrize(("dataset", "operation"), DATASETS.items())
def test_no_organisation_is_an_answer_not_a_gap(aws_world: AwsWorld, dataset: str, operation: str) -> None:
    code = "AWSOrganizationsNotInUseException"
    aws_world.faults[operation] = lambda request: error_reply(request, code, status=400)
    reading = replayed(aws_world, aws_world.read(dataset))
    assert reading.shard.population.proven
    assert reading.rows == []
    assert [line["error"] for line in reading.ledger.lines] == [{"kind": "absent", "code": code}]


@pytest.mark.parametrize(("dataset", "operation"), DATASETS.items())
def test_a_member_account_is_refused_and_that_is_a_gap(aws_world: AwsWorld, dataset: str, operation: str) -> None:
    aws_world.deny(operation, "AccessDeniedException")
    gap = replayed(aws_world, aws_world.read(dataset)).shard.population.gap
    assert gap is not None
    assert (gap.kind, gap.operation) == ("denied", operation)
