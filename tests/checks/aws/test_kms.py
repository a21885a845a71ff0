"""How KMS keys are read."""

from __future__ import annotations

import pytest

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld, error_reply


def test_keys_are_read_with_their_rotation_and_policy(aws_world: AwsWorld) -> None:
    kms = aws_world.client("kms")
    rotated = kms.create_key()["KeyMetadata"]["KeyId"]
    signing = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=rotated)
    aws_world.faults["kms:GetKeyRotationStatus"] = lambda request: (
        error_reply(request, "UnsupportedOperationException", 400) if signing in str(request.body) else None
    )
    reading = read_whole(aws_world, "aws.kms.keys")
    assert reading.row(rotated)["DescribeKey"]["KeyMetadata"]["KeyManager"] == "CUSTOMER"
    assert reading.row(rotated)["GetKeyRotationStatus"]["KeyRotationEnabled"] is True
    assert '"Statement"' in reading.row(rotated)["GetKeyPolicy"]["Policy"]
    assert reading.row(signing)["GetKeyRotationStatus"] is None


def test_two_pages(aws_world: AwsWorld) -> None:
    kms = aws_world.client("kms")
    first, second = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    truncated = {"Keys": [{"KeyId": first}], "Truncated": True, "NextMarker": "m1"}
    pages = Answers(truncated, {"Keys": [{"KeyId": second}], "Truncated": False})
    aws_world.faults["kms:ListKeys"] = pages
    assert [row["KeyId"] for row in read_whole(aws_world, "aws.kms.keys").rows] == [first, second]
    assert ["m1" in sent for sent in pages.sent] == [False, True]


@pytest.mark.parametrize("operation", ["kms:DescribeKey", "kms:GetKeyRotationStatus", "kms:GetKeyPolicy"])
def test_a_refused_sub_reply_stands_in_the_row(aws_world: AwsWorld, operation: str) -> None:
    key = aws_world.client("kms").create_key()["KeyMetadata"]["KeyId"]
    assert_refused_in_rows(aws_world, "aws.kms.keys", operation, key)


def test_no_keys(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.kms.keys")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.kms.keys", "kms:ListKeys")
