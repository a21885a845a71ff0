"""How secrets are listed."""

from __future__ import annotations

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, read_whole
from tests.worlds import AwsWorld


def test_secrets_are_listed_without_their_values(aws_world: AwsWorld) -> None:
    secrets = aws_world.client("secretsmanager")
    for name in ("orders/db", "wiki/db"):
        secrets.create_secret(Name=name, SecretString="not-for-evidence")
    aws_world.client("secretsmanager").rotate_secret(SecretId="orders/db", RotationRules={"AutomaticallyAfterDays": 30})
    reading = read_whole(aws_world, "aws.secretsmanager.secrets")
    rotated = reading.row("orders/db")
    assert (rotated["RotationEnabled"], rotated["RotationRules"]["AutomaticallyAfterDays"]) == (True, 30)
    assert rotated["CreatedDate"].endswith("Z")
    assert not reading.row("wiki/db").get("RotationEnabled")
    assert reading.operations == ["secretsmanager:ListSecrets"]
    assert not any(b"not-for-evidence" in body for body in reading.ledger.objects.values())


def test_two_pages(aws_world: AwsWorld) -> None:
    pages = Answers({"SecretList": [{"Name": "orders/db"}], "NextToken": "t1"}, {"SecretList": [{"Name": "wiki/db"}]})
    aws_world.faults["secretsmanager:ListSecrets"] = pages
    assert [row["Name"] for row in read_whole(aws_world, "aws.secretsmanager.secrets").rows] == ["orders/db", "wiki/db"]
    assert ["t1" in sent for sent in pages.sent] == [False, True]


def test_no_secrets(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.secretsmanager.secrets")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.secretsmanager.secrets", "secretsmanager:ListSecrets")
