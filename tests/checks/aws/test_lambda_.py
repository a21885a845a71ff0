"""How Lambda functions are read."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def functions(aws_world: AwsWorld) -> AwsWorld:
    """Two functions; one has a variable that must not be kept, and may be invoked by anyone."""
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Statement": [statement]})
    role = aws_world.client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context):\n    return 1\n")
    code = {"Runtime": "python3.13", "Handler": "handler.handle", "Code": {"ZipFile": package.getvalue()}}
    awslambda = aws_world.client("lambda")
    for name, environment in (("resize", {}), ("sync", {"Environment": {"Variables": {"DB_PASSWORD": SECRET}}})):
        awslambda.create_function(FunctionName=name, Role=role, **code, **environment)
    awslambda.add_permission(FunctionName="sync", StatementId="open", Action="lambda:InvokeFunction", Principal="*")
    return aws_world


def test_functions_are_read_with_their_policy_and_without_values(functions: AwsWorld) -> None:
    reading = read_whole(functions, "aws.lambda.functions")
    assert reading.row("resize")["GetPolicy"] is None
    assert json.loads(reading.row("sync")["GetPolicy"]["Policy"])["Statement"][0]["Sid"] == "open"
    assert reading.row("sync")["Environment"]["Variables"] == {"DB_PASSWORD": "REDACTED"}
    assert (reading.row("sync")["Runtime"], reading.row("sync")["PackageType"]) == ("python3.13", "Zip")
    assert not any(SECRET.encode() in body for body in reading.ledger.objects.values())
    assert SECRET not in json.dumps(reading.ledger.lines)


def test_two_pages(functions: AwsWorld) -> None:
    first, second = ({"Functions": [{"FunctionName": name}]} for name in ("resize", "sync"))
    pages = Answers({**first, "NextMarker": "m1"}, second)
    functions.faults["lambda:ListFunctions"] = pages
    assert [row["FunctionName"] for row in read_whole(functions, "aws.lambda.functions").rows] == ["resize", "sync"]
    assert ["Marker=m1" in sent for sent in pages.sent] == [False, True]


def test_a_refused_policy_stands_in_the_row(functions: AwsWorld) -> None:
    functions.client("lambda").delete_function(FunctionName="sync")
    assert_refused_in_rows(functions, "aws.lambda.functions", "lambda:GetPolicy", "resize")


def test_no_functions(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.lambda.functions")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.lambda.functions", "lambda:ListFunctions")
