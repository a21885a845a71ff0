"""What a policy grants is read from its text as IAM would read it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import iam_policy as policy

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
DOCUMENT = {"Version": "2012-10-17", "Statement": [ALLOW]}
TEXT = json.dumps(DOCUMENT)
ANYONE = {**ALLOW, "Principal": "*"}


@pytest.mark.parametrize(
    "document",
    [DOCUMENT, TEXT, quote(TEXT), {**DOCUMENT, "Statement": ALLOW}, " " + TEXT],
    ids=["object", "json", "url", "single", "space"],
)
def test_every_spelling_of_a_document_gives_the_same_statements(document: Any) -> None:
    assert policy.statements(document) == [ALLOW]


@pytest.mark.parametrize(
    ("document", "error"), [("[]", ValueError), ("{", ValueError), ({}, KeyError), (3, ValueError)]
)
def test_a_shape_nobody_knows_is_an_error_not_an_empty_policy(document: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        policy.statements(document)


def test_a_percent_sign_inside_json_is_left_alone() -> None:
    document = json.dumps({"Statement": {**ALLOW, "Resource": "arn:aws:s3:::a/%2A"}})
    assert policy.statements(document)[0]["Resource"] == "arn:aws:s3:::a/%2A"


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", {"AWS": ["*"]}),
        ({"AWS": "123456789012"}, {"AWS": ["123456789012"]}),
        ({"Service": ["ec2.amazonaws.com"], "AWS": ["*"]}, {"Service": ["ec2.amazonaws.com"], "AWS": ["*"]}),
    ],
)
def test_principals_are_lists_by_kind(principal: Any, expected: dict[str, list[str]]) -> None:
    assert policy.principals({**ALLOW, "Principal": principal}) == expected
    assert policy.principals(ALLOW) == {}


@pytest.mark.parametrize(
    ("principal", "account"),
    [
        ("123456789012", "123456789012"),
        ("arn:aws:iam::123456789012:root", "123456789012"),
        ("arn:aws:sts::123456789012:assumed-role/a/b", "123456789012"),
        ("*", ""),
        ("AIDAJQABLZS4A3QDU576Q", ""),
        ("arn:aws:iam::123456789012", ""),
    ],
)
def test_the_account_of_a_principal(principal: str, account: str) -> None:
    assert policy.account_of(principal) == account


@pytest.mark.parametrize(
    "principal", ["*", {"AWS": "*"}, {"AWS": ["arn:aws:iam::123456789012:root", "*"]}, {"Federated": "*"}]
)
def test_a_star_is_public(principal: Any) -> None:
    assert policy.is_public({**ALLOW, "Principal": principal})
    assert not policy.is_public({**ALLOW, "Principal": principal, "Effect": "Deny"})


def test_all_but_some_is_public_and_a_named_principal_is_not() -> None:
    assert policy.is_public({**ALLOW, "NotPrincipal": {"AWS": "123456789012"}})
    assert not policy.is_public({**ALLOW, "Principal": {"AWS": "123456789012"}})
    assert not policy.is_public(ALLOW)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
        {"StringEquals": {"AWS:SourceOwner": "123456789012"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:123456789012:*"}},
        {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::one-bucket"}},
        {"StringEquals": {"aws:SourceVpce": ["vpce-1a2b3c4d", "vpce-5e6f7a8b"]}},
        {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/*"}},
        {"StringLike": {"aws:userid": "AROAEXAMPLEID:*"}},
        {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}},
        {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        {"IpAddress": {"aws:SourceIp": "2001:db8::/32"}},
        {"StringEquals": {"kms:CallerAccount": "123456789012", "kms:ViaService": "s3.eu-central-1.amazonaws.com"}},
    ],
    ids=str,
)
def test_a_condition_that_names_callers_narrows(condition: Any) -> None:
    assert not policy.is_public({**ANYONE, "Condition": condition})


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"sts:ExternalId": "guess-me"}},
        {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        {"Bool": {"aws:SecureTransport": "true"}},
        {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
        {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
        {"StringNotEquals": {"aws:SourceAccount": "123456789012"}},
        {"StringLike": {"aws:PrincipalOrgID": "*"}},
        {"StringLike": {"aws:PrincipalOrgID": "o-*"}},
        {"StringEquals": {"aws:SourceAccount": ["123456789012", "*"]}},
        {"StringEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}},
        {"StringEquals": {"aws:SourceAccount": ""}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:topic"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}},
        {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
        {"IpAddress": {"aws:SourceIp": "10.0.0.0/7"}},
        {"IpAddress": {"aws:SourceIp": "2001::/31"}},
        {"Null": {"aws:SourceVpce": "false"}},
    ],
    ids=str,
)
def test_any_other_condition_does_not(condition: Any) -> None:
    assert policy.is_public({**ANYONE, "Condition": condition})


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"Action": "iam:PassRole"}, True),
        ({"Action": ["s3:Get*", "IAM:passrole"]}, True),
        ({"Action": "iam:*"}, True),
        ({"Action": "iam:Pass????"}, True),
        ({"Action": "*"}, True),
        ({"Action": "iam:Pass"}, False),
        ({"Action": "iam.PassRole"}, False),
        ({"Action": "iam:[P]assRole"}, False),
        ({"NotAction": "s3:*"}, True),
        ({"NotAction": ["s3:*", "iam:Pass*"]}, False),
    ],
    ids=str,
)
def test_actions_match_as_iam_matches_them(element: dict[str, Any], expected: bool) -> None:
    statement = {"Effect": "Allow", "Resource": "*", **element}
    assert policy.allows(statement, "iam:PassRole") is expected
    assert policy.covers({**statement, "Effect": "Deny"}, "iam:PassRole") is expected
    assert not policy.allows({**statement, "Effect": "Deny"}, "iam:PassRole")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"Action": ["s3:*", "*"]}, True),
        ({"Action": "*:*"}, True),
        ({"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}, True),
        ({"Resource": ["arn:aws:s3:::a", "arn:aws:*:*:*:*"]}, True),
        ({"Resource": "arn:aws-us-gov:*"}, True),
        ({"Action": "iam:*"}, False),
        ({"Resource": "arn:aws:s3:::*"}, False),
        ({"Resource": "arn:aws:iam::*:role/*"}, False),
        ({"Effect": "Deny"}, False),
    ],
    ids=str,
)
def test_everything_on_everything(change: dict[str, Any], expected: bool) -> None:
    assert policy.grants_all({"Effect": "Allow", "Action": "*", "Resource": "*", **change}) is expected


def test_all_but_some_actions_is_not_everything_but_all_but_some_resources_is() -> None:
    assert not policy.grants_all({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})
    assert policy.grants_all({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::a"})


def test_condition_values_are_found_under_any_case_and_operator() -> None:
    condition = {"StringLike": {"STS:externalid": "a*"}, "Bool": {"aws:SecureTransport": "true"}}
    statement = {**ANYONE, "Condition": condition}
    assert list(policy.condition_values(statement, "sts:ExternalId")) == [("StringLike", ["a*"])]
    assert list(policy.condition_values(ANYONE, "sts:ExternalId")) == []


ACTIONS = st.text("abcAB:*?.[]", max_size=6)


@given(ACTIONS, ACTIONS)
def test_a_pattern_without_wildcards_matches_itself_only(pattern: str, action: str) -> None:
    plain = pattern.replace("*", "").replace("?", "")
    assert policy.covers({"Action": plain}, plain)
    assert policy.covers({"Action": plain}, action) == (plain.lower() == action.lower())
