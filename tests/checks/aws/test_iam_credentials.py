"""How the credential report and the access keys are read."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qs

import pytest

from collector.model import Unavailable
from tests.checks.aws.test_iam_account import replayed
from tests.worlds import AwsWorld, FakeResponse, error_reply

HEADER = "user,arn,password_enabled,password_last_used,mfa_active"
ROOT = "<root_account>,arn:aws:iam::123456789012:root,not_supported,2019-05-01T10:00:00+00:00,true"
ANNA = '"anna, the first",arn:aws:iam::123456789012:user/anna,true,no_information,false'


def iam_reply(operation: str, content: str) -> FakeResponse:
    """A reply as the IAM API writes it."""
    body = (
        f'<{operation}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{operation}Result>{content}'
        f"</{operation}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{operation}Response>"
    )
    return FakeResponse(200, body.encode(), {"content-type": "text/xml"})


def asked(request: Any, name: str) -> str:
    """A parameter of a request to the IAM API."""
    body = request.body
    return parse_qs(body if isinstance(body, str) else body.decode()).get(name, [""])[0]


def report_of(*lines: str) -> Any:
    content = base64.b64encode("\n".join(lines).encode()).decode()
    times = "<ReportFormat>text/csv</ReportFormat><GeneratedTime>2026-05-31T22:00:00Z</GeneratedTime>"
    return lambda _: iam_reply("GetCredentialReport", f"<Content>{content}</Content>{times}")


def states(*answers: str) -> Any:
    waiting = list(answers)
    return lambda _: iam_reply("GenerateCredentialReport", f"<State>{waiting.pop(0)}</State>")


def test_the_report_is_asked_for_until_it_is_made(aws_world: AwsWorld) -> None:
    aws_world.faults["iam:GenerateCredentialReport"] = states("STARTED", "INPROGRESS", "COMPLETE")
    aws_world.faults["iam:GetCredentialReport"] = report_of(HEADER, ROOT, ANNA)
    reading = replayed(aws_world, aws_world.read("aws.iam.credential-report"))
    assert reading.shard.population.proven
    assert reading.operations == ["iam:GenerateCredentialReport"] * 3 + ["iam:GetCredentialReport"]
    assert reading.shard.population.replies == (0, 1, 2, 3)
    assert [row["user"] for row in reading.rows] == ["<root_account>", "anna, the first"]
    assert reading.row("<root_account>")["password_last_used"] == "2019-05-01T10:00:00+00:00"
    assert reading.row("anna, the first")["GeneratedTime"] == "2026-05-31T22:00:00.000Z"


def test_the_report_of_the_emulator(aws_world: AwsWorld) -> None:
    aws_world.client("iam").create_user(UserName="anna")
    aws_world.client("iam").create_login_profile(UserName="anna", Password="An-0ld-password")
    reading = replayed(aws_world, aws_world.read("aws.iam.credential-report"))
    assert {name: reading.row("anna")[name] for name in ("password_enabled", "mfa_active")} == {
        "password_enabled": "true",
        "mfa_active": "false",
    }


def test_a_report_that_is_never_made_is_a_gap(aws_world: AwsWorld) -> None:
    aws_world.faults["iam:GenerateCredentialReport"] = states(*["INPROGRESS"] * 40)
    reading = replayed(aws_world, aws_world.read("aws.iam.credential-report"))
    gap = reading.shard.population.gap
    assert gap is not None
    assert gap.kind == "timeout"
    assert gap.reason == "the credential report was still not made after 40 requests (State is INPROGRESS)"
    assert reading.operations == ["iam:GenerateCredentialReport"] * 40


@pytest.mark.parametrize("line", [ROOT.rpartition(",")[0], ROOT + ",more"], ids=["short", "long"])
def test_a_line_of_another_length_is_a_gap(aws_world: AwsWorld, line: str) -> None:
    aws_world.faults["iam:GenerateCredentialReport"] = states("COMPLETE")
    aws_world.faults["iam:GetCredentialReport"] = report_of(HEADER, ANNA, line)
    reading = replayed(aws_world, aws_world.read("aws.iam.credential-report"))
    gap = reading.shard.population.gap
    assert gap is not None
    assert (gap.kind, gap.operation) == ("malformed", "iam:GetCredentialReport")
    assert [row["user"] for row in reading.rows] == ["anna, the first"]


@pytest.mark.parametrize("operation", ["iam:GenerateCredentialReport", "iam:GetCredentialReport"])
def test_a_refused_report_is_a_gap(aws_world: AwsWorld, operation: str) -> None:
    aws_world.deny(operation)
    population = replayed(aws_world, aws_world.read("aws.iam.credential-report")).shard.population
    assert population.gap is not None
    assert (population.gap.kind, population.gap.operation, population.rows) == ("denied", operation, 0)


def test_access_keys_are_read_from_every_page_of_users(aws_world: AwsWorld) -> None:
    iam = aws_world.client("iam")
    keys = {}
    for name in ("anna", "bela"):
        iam.create_user(UserName=name)
        keys[name] = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    iam.update_access_key(UserName="bela", AccessKeyId=keys["bela"], Status="Inactive")

    def page(request: Any) -> FakeResponse:
        # the second page also lists a user who is deleted before its keys are asked for
        names = ["bela", "gone"] if asked(request, "Marker") == "next" else ["anna"]
        users = "".join(
            f"<member><Path>/</Path><UserName>{name}</UserName><UserId>AIDA{name}</UserId><CreateDate>2026-01-01T00:00:00Z"
            f"</CreateDate><Arn>arn:aws:iam::123456789012:user/{name}</Arn></member>"
            for name in names
        )
        more = "false" if len(names) == 2 else "true"
        marker = "" if len(names) == 2 else "<Marker>next</Marker>"
        return iam_reply("ListUsers", f"<Users>{users}</Users><IsTruncated>{more}</IsTruncated>{marker}")

    aws_world.faults["iam:ListUsers"] = page
    reading = replayed(aws_world, aws_world.read("aws.iam.access-keys"))
    assert reading.shard.population.proven
    assert reading.operations.count("iam:ListUsers") == 2
    assert {row["UserName"]: (row["AccessKeyId"], row["Status"]) for row in reading.rows} == {
        "anna": (keys["anna"], "Active"),
        "bela": (keys["bela"], "Inactive"),
    }
    last_used = reading.row(keys["anna"])["GetAccessKeyLastUsed"]
    assert last_used == {"UserName": "anna", "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}


def test_an_account_without_users_is_read_to_its_end(aws_world: AwsWorld) -> None:
    reading = replayed(aws_world, aws_world.read("aws.iam.access-keys"))
    assert reading.shard.population.proven
    assert reading.rows == []


def test_a_refused_last_use_stands_in_the_row(aws_world: AwsWorld) -> None:
    aws_world.client("iam").create_user(UserName="anna")
    key = aws_world.client("iam").create_access_key(UserName="anna")["AccessKey"]["AccessKeyId"]
    aws_world.deny("iam:GetAccessKeyLastUsed")
    reading = replayed(aws_world, aws_world.read("aws.iam.access-keys"))
    with pytest.raises(Unavailable, match="iam:GetAccessKeyLastUsed was refused"):
        reading.row(key)["GetAccessKeyLastUsed"]
    assert [gap.resources for gap in reading.shard.population.partial] == [(key,)]


def test_keys_refused_for_one_user_break_the_list(aws_world: AwsWorld) -> None:
    for name in ("anna", "bela"):
        aws_world.client("iam").create_user(UserName=name)
        aws_world.client("iam").create_access_key(UserName=name)
    aws_world.faults["iam:ListAccessKeys"] = lambda request: (
        error_reply(request, "AccessDenied") if asked(request, "UserName") == "bela" else None
    )
    reading = replayed(aws_world, aws_world.read("aws.iam.access-keys"))
    gap = reading.shard.population.gap
    assert gap is not None
    assert (gap.kind, gap.operation) == ("denied", "iam:ListAccessKeys")
    assert [row["UserName"] for row in reading.rows] == ["anna"]


def test_refused_users_are_a_gap(aws_world: AwsWorld) -> None:
    aws_world.deny("iam:ListUsers")
    gap = replayed(aws_world, aws_world.read("aws.iam.access-keys")).shard.population.gap
    assert gap is not None
    assert (gap.kind, gap.operation) == ("denied", "iam:ListUsers")
