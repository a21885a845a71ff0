"""Every way a list or a reply can go wrong becomes a gap with its reason; nothing short passes as whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import ProtocolError

from collector import plan as planning
from collector import plugins
from collector.api import Aws as AwsApi
from collector.api import Redaction, Source, source
from collector.config import load as load_config
from collector.connect.aws import Aws, AwsAccount, open_account
from collector.connect.base import Limits
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire
from collector.errors import ConfigError
from collector.fetch import fetch
from collector.model import GapKind, Row, Shard, Task, instant, record
from collector.suppressions import changes, ruler
from tests.worlds import FakeResponse, MemoryLedger

LIMITS = Limits(max_pages=5, max_reply_bytes=50_000, timeout_s=5)
TASK = Task("aws.logs.groups", "aws", region="eu-central-1")


@source("aws.logs.groups", key="logGroupName", per="region", permissions=("logs:DescribeLogGroups",))
def groups(aws: AwsApi) -> Iterator[Row]:
    """Every log group of the region."""
    yield from aws.pages("logs", "describe_log_groups", rows="logGroups")


@source(
    "aws.lambda.functions", key="FunctionName", per="region", permissions=("lambda:ListFunctions", "lambda:GetPolicy")
)
def functions(aws: AwsApi) -> Iterator[Row]:
    """Every function of the region, with its policy."""
    for function in aws.pages("lambda", "list_functions", rows="Functions"):
        yield {
            **function,
            "GetPolicy": aws.attempt(
                "lambda", "get_policy", absent=("ResourceNotFoundException",), FunctionName=function["FunctionName"]
            ),
        }


class Script:
    """Answers requests from a list, one after the other; the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[Any] = []

    def send(self, request: Any) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def page(names: list[str], token: str | None = None, **more: Any) -> FakeResponse:
    body = {
        "logGroups": [{"logGroupName": name, "creationTime": 1} for name in names],
        **({"nextToken": token} if token else {}),
        **more,
    }
    return FakeResponse(
        200,
        json.dumps(body).encode(),
        {
            "Content-Type": "application/x-amz-json-1.1",
            "Date": "Sun, 01 Mar 2026 10:00:00 GMT",
            "x-amzn-RequestId": "r-1",
        },
    )


def json_reply(body: bytes) -> FakeResponse:
    return FakeResponse(200, body, {"Content-Type": "application/x-amz-json-1.1"})


def refusal(code: str, status: int = 400, headers: dict[str, str] | None = None) -> FakeResponse:
    return FakeResponse(
        status,
        json.dumps({"__type": code, "message": "no"}).encode(),
        {"Content-Type": "application/x-amz-json-1.1", **(headers or {})},
    )


class Run:
    """A source run against a script, live and again from the recording."""

    def __init__(
        self, tmp_path: Path, script: Script, what: Source = groups, limits: Limits = LIMITS, attempts: int = 3
    ) -> None:
        self.ledger = MemoryLedger()
        account = open_account(limits=limits, workers=2, access_key_id="k", secret_access_key="s")
        account.http = script  # type: ignore[assignment]
        self.script = script
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.002)
        wire = LiveWire(TASK, self.ledger, what.redactions)
        self.shard = fetch(
            TASK, what, Aws(wire, account, "eu-central-1", retry=retry, limits=limits), tmp_path / "live"
        )
        replay = ReplayWire(TASK, self.ledger.lines, self.ledger.objects.__getitem__)
        offline = AwsAccount(None, endpoint_url=None, limits=limits, workers=1)
        retry = Retry(attempts=attempts, waits=False)
        self.again = fetch(
            TASK, what, Aws(replay, offline, "eu-central-1", retry=retry, limits=limits), tmp_path / "again"
        )
        self.unused = replay.unused()

    @property
    def kind(self) -> GapKind | None:
        return self.shard.population.gap.kind if self.shard.population.gap else None

    def same(self) -> bool:
        return (
            self.again.population == self.shard.population and rows(self.again) == rows(self.shard) and not self.unused
        )


def rows(shard: Shard) -> list[bytes]:
    assert shard.path is not None
    return shard.path.read_bytes().splitlines()


def test_pages_are_read_to_the_last_one(tmp_path: Path) -> None:
    run = Run(tmp_path, Script(page(["a", "b"], "t1"), page(["c"], "t2"), page([])))
    assert run.kind is None
    assert run.shard.population.rows == 3
    assert run.shard.population.basis == "terminal-page"
    assert run.same()
    chain = [(line["page"], line["tokenIn"], line["tokenOut"], line["last"]) for line in run.ledger.lines]
    assert chain[0][1] is None
    assert chain[0][2] == chain[1][1]
    assert chain[1][2] == chain[2][1]
    assert [last for *_, last in chain] == [False, False, True]
    assert all("t1" not in json.dumps(line) for line in run.ledger.lines)


def test_p13_a_reply_line_carries_the_custody_fields(tmp_path: Path) -> None:
    run = Run(tmp_path, Script(page(["a"])))
    line = run.ledger.lines[0]
    assert line["op"] == "logs:DescribeLogGroups"
    assert line["task"] == "aws.logs.groups@aws/eu-central-1"
    assert line["region"] == "eu-central-1"
    assert line["endpoint"] == "https://logs.eu-central-1.amazonaws.com"
    assert line["date"] == "Sun, 01 Mar 2026 10:00:00 GMT"
    assert line["requestId"] == "r-1"
    assert line["status"] == 200
    assert line["t"] <= line["received"]
    assert line["ms"] >= 0
    assert run.ledger.objects[line["sha256"]] == page(["a"])._body
    assert line["size"] == len(page(["a"])._body)


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ([refusal("AccessDeniedException")], "denied", "logs:DescribeLogGroups was refused (AccessDeniedException)"),
        ([refusal("ExpiredTokenException")], "unauthenticated", "the credential is not valid"),
        ([refusal("UnrecognizedClientException")], "unauthenticated", "the credential is not valid"),
        ([refusal("ThrottlingException")], "throttled", "(3 attempts)"),
        ([refusal("Whatever", 429)], "throttled", "(3 attempts)"),
        ([refusal("InternalFailure", 500)], "server-error", "(3 attempts)"),
        ([refusal("RequestTimeout")], "timeout", "(3 attempts)"),
        ([refusal("UnknownOperationException")], "unsupported", "is not supported here"),
        ([refusal("InvalidParameterException")], "rejected", "was rejected (InvalidParameterException)"),
        ([refusal("Odd", 403)], "denied", "status 403"),
        ([page(["a"], "t1"), refusal("AccessDeniedException")], "denied", "was refused"),
        ([page(["a"], "t1"), page(["b"], "t1")], "repeated-token", "a second time on page 2"),
        ([page(["a"], "t1"), page(["b"], "t2"), page(["c"], "t1")], "repeated-token", "a second time on page 3"),
        ([lambda r: page([str(id(r))], f"t{id(r)}{r.body!r}")], "page-cap", "more than 5 pages"),
        ([page(["a"], "t1"), page(["a"])], "duplicate", "listed a twice"),
        ([json_reply(b'{"logGroups": [')], "malformed", "cut short"),
        ([json_reply(b"")], "malformed", "cut short"),
        ([json_reply(b'["logGroups"]')], "malformed", "cut short"),
        ([json_reply(b"{}")], "malformed", "answered without logGroups"),
        ([json_reply(b'{"logGroups": [{"arn": "x"}]}')], "malformed", "has no logGroupName"),
        ([FakeResponse(200, b" " * 60_000, {})], "oversized", "larger than 50000 bytes"),
        ([ProtocolError("cut")], "unreachable", "the reply broke off"),
        ([ConnectionResetError()], "unreachable", "(3 attempts)"),
    ],
)  # fmt: skip
def test_every_failure_is_a_gap_of_its_kind(tmp_path: Path, answers: list[Any], kind: str, words: str) -> None:
    run = Run(tmp_path, Script(*answers))
    assert run.kind == kind
    assert run.shard.population.gap is not None
    assert words in run.shard.population.gap.reason
    assert not run.shard.population.proven
    assert run.same()


def test_refused_access_is_asked_once(tmp_path: Path) -> None:
    run = Run(tmp_path, Script(refusal("AccessDeniedException")))
    assert len(run.script.requests) == 1
    assert run.ledger.lines[0]["error"] == {"kind": "denied", "code": "AccessDeniedException"}


def test_throttling_that_passes_leaves_its_attempts_on_record(tmp_path: Path) -> None:
    run = Run(tmp_path, Script(refusal("ThrottlingException", headers={"Retry-After": "0"}), page(["a"])))
    assert run.kind is None
    assert [(line["attempt"], line["status"]) for line in run.ledger.lines] == [(1, 400), (2, 200)]
    assert run.same()


def test_a_call_whose_list_goes_on_is_truncated(tmp_path: Path) -> None:
    @source("aws.logs.groups", key="logGroupName", per="region", permissions=())
    def first_page_only(aws: AwsApi) -> Iterator[Row]:
        """The first page only."""
        yield from aws.call("logs", "describe_log_groups")["logGroups"]

    assert Run(tmp_path, Script(page(["a"], "more")), first_page_only).kind == "truncated"
    assert Run(tmp_path, Script(page(["a"])), first_page_only).kind is None


def test_a_list_that_says_more_without_a_token_is_truncated(tmp_path: Path) -> None:
    @source("aws.iam.users", key="UserName", per="account", permissions=())
    def users(aws: AwsApi) -> Iterator[Row]:
        """Users."""
        yield from aws.pages("iam", "list_users", rows="Users")

    result = b"<ListUsersResult><Users/><IsTruncated>true</IsTruncated></ListUsersResult>"
    body = b"<ListUsersResponse>" + result + b"</ListUsersResponse>"
    assert Run(tmp_path, Script(FakeResponse(200, body, {"Content-Type": "text/xml"})), users).kind == "truncated"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<ListUsersResponse><ListUsersResult><Users><member><UserName>a</UserN", "malformed"),
        (200, b"<!doctype html><p>welcome", "malformed"),
        (500, b"<!doctype html><h1>500 Internal Server Error</h1><br>", "server-error"),
    ],
)
def test_xml_that_is_cut_or_is_none_is_no_crash(tmp_path: Path, status: int, body: bytes, kind: str) -> None:
    @source("aws.iam.users", key="UserName", per="account", permissions=())
    def users(aws: AwsApi) -> Iterator[Row]:
        """Users."""
        yield from aws.pages("iam", "list_users", rows="Users")

    run = Run(tmp_path, Script(FakeResponse(status, body, {"Content-Type": "text/xml"})), users)
    assert run.kind == kind
    assert run.same()


def test_p4_an_empty_list_counts_only_with_its_terminal_page(tmp_path: Path) -> None:
    assert Run(tmp_path, Script(page([]))).shard.population.proven
    assert not Run(tmp_path, Script(page([], "t1"), refusal("AccessDeniedException"))).shard.population.proven


def test_p5_a_page_cap_is_a_gap_and_what_was_read_is_kept(tmp_path: Path) -> None:
    numbers = iter(range(1000))
    run = Run(tmp_path, Script(lambda _: page([f"g{(n := next(numbers))}"], f"t{n}")))
    assert run.kind == "page-cap"
    assert run.shard.population.rows == 5


def test_a_source_that_asks_nothing_proves_nothing(tmp_path: Path) -> None:
    @source("aws.logs.groups", key="logGroupName", per="region", permissions=())
    def silent(aws: AwsApi) -> Iterator[Row]:
        """Nothing."""
        yield from ()

    assert Run(tmp_path, Script(page([])), silent).kind == "unproven"


def test_a_crash_of_the_source_is_a_gap_that_names_the_place(tmp_path: Path) -> None:
    @source("aws.logs.groups", key="logGroupName", per="region", permissions=())
    def broken(aws: AwsApi) -> Iterator[Row]:
        """Broken."""
        for row in aws.pages("logs", "describe_log_groups", rows="logGroups"):
            yield {"logGroupName": row["typo"]}

    run = Run(tmp_path, Script(page(["a"])), broken)
    assert run.kind == "crashed"
    assert run.shard.population.gap is not None
    assert "KeyError at test_aws_connection.py" in run.shard.population.gap.reason
    assert run.same()


def lambda_answer(policy: FakeResponse) -> Callable[[Any], FakeResponse]:
    listing = {
        "Functions": [{"FunctionName": "f", "Environment": {"Variables": {"PASSWORD": 'hun"ter2', "LEVEL": "info"}}}]
    }
    return lambda request: (
        policy
        if "/policy" in request.url
        else FakeResponse(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
    )


def test_sub_replies_absent_and_refused(tmp_path: Path) -> None:
    absent = Run(
        tmp_path,
        Script(
            lambda_answer(refusal("ResourceNotFoundException", 404, {"x-amzn-ErrorType": "ResourceNotFoundException"}))
        ),
        functions,
    )
    assert json.loads(rows(absent.shard)[0])["row"]["GetPolicy"] is None
    assert absent.ledger.lines[1]["error"] == {"kind": "absent", "code": "ResourceNotFoundException"}
    refused = Run(
        tmp_path,
        Script(lambda_answer(refusal("AccessDeniedException", 403, {"x-amzn-ErrorType": "AccessDeniedException"}))),
        functions,
    )
    marker = json.loads(rows(refused.shard)[0])
    assert marker["row"]["GetPolicy"]["$gap"]["kind"] == "denied"
    assert marker["refs"] == [0]
    assert marker["parts"] == {"GetPolicy": [1]}
    assert refused.shard.population.partial[0].resources == ("f",)
    assert refused.same()


def test_declared_secrets_are_out_before_anything_sees_them(tmp_path: Path) -> None:
    rule = Redaction(
        "lambda:ListFunctions*", "environment values may be secrets", json="Functions[].Environment.Variables.*"
    )
    redacted = Source(
        functions.id, functions.key, functions.per, functions.permissions, functions.kind, (rule,), functions.function
    )
    run = Run(tmp_path, Script(lambda_answer(refusal("ResourceNotFoundException", 404))), redacted)
    kept = b"".join(run.ledger.objects.values()) + b"".join(rows(run.shard))
    assert b"ter2" not in kept
    assert b"info" not in kept
    assert b"PASSWORD" in kept
    assert run.ledger.lines[0]["redactions"] == [
        {"path": "Functions[].Environment.Variables.*", "reason": "environment values may be secrets", "count": 2}
    ]
    assert run.same()


def test_a_body_that_cannot_be_searched_for_secrets_is_not_kept(tmp_path: Path) -> None:
    rule = Redaction("logs:*", "made up", json="logGroups[].secret")
    hiding = Source(groups.id, groups.key, groups.per, groups.permissions, groups.kind, (rule,), groups.function)
    run = Run(tmp_path, Script(FakeResponse(200, b"secret=hunter2", {})), hiding)
    assert run.kind == "malformed"
    assert run.ledger.objects == {}
    assert run.same()


def test_a_ten_megabyte_field_is_read_or_is_a_gap(tmp_path: Path) -> None:
    big = page(["a"], note="x" * 10_000_000)
    assert Run(tmp_path, Script(big)).kind == "oversized"
    assert Run(tmp_path, Script(big), limits=Limits(5, 20_000_000, 5)).kind is None


def test_no_credentials_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    account = open_account(limits=LIMITS, workers=1)
    wire = LiveWire(TASK, MemoryLedger())
    shard = fetch(
        TASK, groups, Aws(wire, account, "eu-central-1", retry=Retry(attempts=1), limits=LIMITS), tmp_path / "x"
    )
    assert shard.population.gap is not None
    assert shard.population.gap.kind == "unauthenticated"
    assert "no credentials were found" in shard.population.gap.reason


def test_a_recording_that_lacks_a_reply_is_noticed(tmp_path: Path) -> None:
    run = Run(tmp_path, Script(page(["a"], "t1"), page(["b"])))
    wire = ReplayWire(TASK, run.ledger.lines[:1], run.ledger.objects.__getitem__)
    offline = AwsAccount(None, endpoint_url=None, limits=LIMITS, workers=1)
    again = fetch(
        TASK, groups, Aws(wire, offline, "eu-central-1", retry=Retry(waits=False), limits=LIMITS), tmp_path / "short"
    )
    assert again.population.gap is not None
    assert "the recording holds no reply" in again.population.gap.reason


def test_rows_of_a_replay_are_records(tmp_path: Path) -> None:
    run = Run(tmp_path, Script(page(["a"])))
    assert record(json.loads(rows(run.again)[0])["row"])["logGroupName"] == "a"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_LOGS"])
def test_no_endpoint_of_the_environment_answers_for_the_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Only the configuration names one (it takes AWS_ENDPOINT_URL in, and is sealed): here it names none."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    run = Run(tmp_path, Script(page(["a"])))
    assert [line["endpoint"] for line in run.ledger.lines] == ["https://logs.eu-central-1.amazonaws.com"]
    assert run.same()


def test_no_endpoint_of_a_profile_answers_for_the_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "aws-config"
    shared.write_text("[default]\nendpoint_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(shared))
    run = Run(tmp_path, Script(page(["a"])))
    assert [line["endpoint"] for line in run.ledger.lines] == ["https://logs.eu-central-1.amazonaws.com"]


def test_the_endpoint_of_the_configuration_is_asked_whatever_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LOGS", "http://127.0.0.1:9")
    account = open_account(limits=LIMITS, workers=1, endpoint_url="http://127.0.0.1:8", access_key_id="k")
    assert account.client("logs", "eu-central-1").meta.endpoint_url == "http://127.0.0.1:8"


CONFIG = """\
version: 1
organisation: Test Ltd
store: {path: store, origin: test.example.org/log}
key: {file: k, passphrase: env:P}
connections: [{name: prod, kind: aws, regions: [eu-central-1]}]
"""


def test_the_endpoint_of_the_environment_is_a_setting_and_its_change_a_changed_ruler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)

    def planned(url: str) -> dict[str, Any]:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        as_of = instant("2026-06-01T00:00:00Z")
        return dict(planning.make(load_config(tmp_path / "config.yaml"), plugins.load(), as_of).document)

    plain, moved = planned(""), planned("http://127.0.0.1:8")
    assert ruler(plain) != ruler(moved)
    assert [line for line in changes(plain, moved) if "http://127.0.0.1:8" in line]
    assert ruler(planned("")) == ruler(plain)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL: holds a user name or password"):
        planned("http://me:hunter2@127.0.0.1:8")
