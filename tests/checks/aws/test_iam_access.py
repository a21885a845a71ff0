"""How users, groups, roles and policies are read."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.checks.aws.test_iam_account import replayed
from tests.checks.aws.test_iam_credentials import asked, iam_reply
from tests.worlds import AwsWorld, FakeResponse

GRANT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
TRUST = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
DATASETS = ("aws.iam.users", "aws.iam.groups", "aws.iam.roles", "aws.iam.policies")


def seed(world: AwsWorld) -> None:
    iam = world.client("iam")
    iam.create_group(GroupName="engineers")
    iam.put_group_policy(GroupName="engineers", PolicyName="read", PolicyDocument=json.dumps(GRANT))
    iam.create_user(UserName="anna")
    iam.add_user_to_group(GroupName="engineers", UserName="anna")
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(TRUST))
    policy = iam.create_policy(PolicyName="read", PolicyDocument=json.dumps(GRANT))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=json.dumps(GRANT), SetAsDefault=True)
    iam.attach_role_policy(RoleName="web", PolicyArn=policy)


def test_each_dataset_is_one_filter_and_its_documents_are_decoded(aws_world: AwsWorld) -> None:
    seed(aws_world)
    users, groups, roles, policies = (replayed(aws_world, aws_world.read(dataset)) for dataset in DATASETS)
    assert users.row("anna")["GroupList"] == ["engineers"]
    assert groups.row("engineers")["GroupPolicyList"] == [{"PolicyName": "read", "PolicyDocument": GRANT}]
    assert roles.row("web")["AssumeRolePolicyDocument"] == TRUST
    assert roles.row("web")["RoleLastUsed"] == {}
    arn = "arn:aws:iam::123456789012:policy/read"
    assert [policy["PolicyArn"] for policy in roles.row("web")["AttachedManagedPolicies"]] == [arn]
    versions = policies.row(arn)["PolicyVersionList"]
    assert [version["Document"] for version in versions if version["IsDefaultVersion"]] == [GRANT]
    assert len(policies.rows) == 1
    asked_for = [line["params"] for reading in (users, groups, roles, policies) for line in reading.ledger.lines]
    assert [params["Filter"] for params in asked_for] == [["User"], ["Group"], ["Role"], ["LocalManagedPolicy"]]


def test_an_empty_account_is_read_to_its_end(aws_world: AwsWorld) -> None:
    for dataset in DATASETS:
        reading = replayed(aws_world, aws_world.read(dataset))
        assert reading.shard.population.proven
        assert reading.rows == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_refusal_is_a_gap(aws_world: AwsWorld, dataset: str) -> None:
    aws_world.deny("iam:GetAccountAuthorizationDetails")
    gap = replayed(aws_world, aws_world.read(dataset)).shard.population.gap
    assert gap is not None
    assert (gap.kind, gap.operation) == ("denied", "iam:GetAccountAuthorizationDetails")


def role(name: str) -> str:
    return (
        f"<member><Path>/</Path><RoleName>{name}</RoleName><RoleId>AROA{name}</RoleId><CreateDate>2026-01-01T00:00:00Z"
        f"</CreateDate><Arn>arn:aws:iam::123456789012:role/{name}</Arn><AssumeRolePolicyDocument>"
        f"{quote(json.dumps(TRUST))}</AssumeRolePolicyDocument><RolePolicyList/><AttachedManagedPolicies/>"
        "<RoleLastUsed><LastUsedDate>2026-05-01T00:00:00Z</LastUsedDate><Region>eu-central-1</Region></RoleLastUsed></member>"
    )


def pages(first_marker: str) -> Any:
    """Two pages of roles; ``first_marker`` is what the first hands out."""

    def page(request: Any) -> FakeResponse:
        second = asked(request, "Marker") == "next"
        roles, more = (role("second"), "false") if second else (role("first"), "true")
        marker = "" if second else first_marker
        return iam_reply(
            "GetAccountAuthorizationDetails",
            f"<RoleDetailList>{roles}</RoleDetailList><IsTruncated>{more}</IsTruncated>{marker}",
        )

    return page


def test_roles_are_read_from_every_page(aws_world: AwsWorld) -> None:
    aws_world.faults["iam:GetAccountAuthorizationDetails"] = pages("<Marker>next</Marker>")
    reading = replayed(aws_world, aws_world.read("aws.iam.roles"))
    assert reading.shard.population.proven
    assert [row["RoleName"] for row in reading.rows] == ["first", "second"]
    assert reading.row("second")["AssumeRolePolicyDocument"] == TRUST
    assert reading.row("second")["RoleLastUsed"]["LastUsedDate"] == "2026-05-01T00:00:00.000Z"


def test_a_first_page_without_a_way_on_is_not_the_list(aws_world: AwsWorld) -> None:
    aws_world.faults["iam:GetAccountAuthorizationDetails"] = pages("")
    gap = replayed(aws_world, aws_world.read("aws.iam.roles")).shard.population.gap
    assert gap is not None
    assert gap.kind == "truncated"
