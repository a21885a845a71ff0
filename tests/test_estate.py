"""The demo's AWS estate, read once and then replayed with every operation refused in turn."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collector import plan as planning
from collector import plugins
from collector.collect import collect
from collector.config import load as load_config
from collector.connect import opening
from collector.connect.wire import LiveWire, ReplayWire, Wire
from collector.demo import estate
from collector.demo.story import CONFIG
from collector.judge import ALL, Bench, judge
from collector.model import Finding, Shard, Task
from collector.plan import Plan
from collector.plugins import Library
from tests.worlds import MemoryLedger

Alter = Callable[[Mapping[str, Any]], tuple[int, bytes] | None]
"""Status and body that stand in place of a recorded reply; ``None`` leaves it."""


@dataclass
class Baseline:
    """The estate as it was read, and what was concluded."""

    plan: Plan
    library: Library
    ledger: MemoryLedger
    shards: list[Shard]
    findings: list[Finding]
    expected: list[dict[str, str]]
    tmp: Path
    count: int = 0

    def replay(self, alter: Alter, tasks: list[Task] | None = None) -> tuple[list[Shard], list[Finding]]:
        """Read and judge again from the recording, with some replies altered."""
        lines = defaultdict(list)
        bodies = dict(self.ledger.objects)
        for line in self.ledger.lines:
            other = alter(line)
            if other:
                bodies["altered"] = other[1]
                headers = {"content-type": line["media"] or ""}
                line = {**line, "status": other[0], "sha256": "altered", "headers": headers}
            lines[line["task"]].append(line)

        def wire(task: Task, caller: str) -> Wire:
            return ReplayWire(task, lines[task.id], bodies.__getitem__)

        self.count += 1
        folder = self.tmp / str(self.count)
        folder.mkdir()
        chosen = self.plan.tasks if tasks is None else tasks
        shards = collect(
            chosen, self.library.sources, wire, opening.recorded(self.plan), folder, workers=1, stop=threading.Event()
        )
        datasets = {task.dataset for task in chosen}
        checks = [check for check in self.plan.checks if datasets & set(check.datasets)]
        return shards, list(judge(checks, shards, Bench(self.plan.as_of, self.plan.parameters)))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baseline]:
    tmp = tmp_path_factory.mktemp("estate")
    emulator = subprocess.Popen([sys.executable, "-m", "collector.demo.emulator", str(tmp)], stdin=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 90
        while not (tmp / "ready.json").exists():
            assert emulator.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ready = json.loads((tmp / "ready.json").read_text())
        for name in ("aws-key-id", "aws-secret"):
            (tmp / name).touch(mode=0o600)
            (tmp / name).write_text("testing")
        (tmp / "config.yaml").write_text(CONFIG.format(endpoint=ready["endpoint"], tls="127.0.0.1:1"))
        config = load_config(tmp / "config.yaml")
        library = plugins.load()
        plan = planning.make(config, library, datetime.now(UTC), connections=("demo",))
        ledger = MemoryLedger()
        stop = threading.Event()

        def wire(task: Task, caller: str) -> Wire:
            live = LiveWire(task, ledger, library.sources[task.dataset].redactions)
            live.caller = caller
            return live

        (tmp / "live").mkdir()
        with ThreadPoolExecutor(8) as pool:
            opener = opening.live(config, pool=pool, stop=stop)
            shards = collect(plan.tasks, library.sources, wire, opener, tmp / "live", workers=8, stop=stop)
        findings = list(judge(plan.checks, shards, Bench(plan.as_of, plan.parameters)))
        expected = json.loads((tmp / "expected.json").read_text())
        own = [item for item in expected if item["check"] in {check.id for check in plan.checks}]
        yield Baseline(plan, library, ledger, shards, findings, own, tmp)
    finally:
        emulator.communicate()


def test_every_planted_fault_is_found_and_every_virtue_passes(baseline: Baseline) -> None:
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    for finding in baseline.findings:
        said[finding.check, finding.resource].add(str(finding.outcome))
    wrong = [
        (item, said[item["check"], item["resource"]])
        for item in baseline.expected
        if item["outcome"] not in said[item["check"], item["resource"]]
    ]
    assert not wrong
    assert len({item["check"] for item in baseline.expected}) >= 40
    assert Counter(item["outcome"] for item in baseline.expected)["FAIL"] >= 40


def test_everything_planned_was_read(baseline: Baseline) -> None:
    assert not [shard.population.gap for shard in baseline.shards if shard.population.gap]
    assert not [f for f in baseline.findings if f.outcome in ("ERROR", "UNKNOWN")]


def test_p15_nothing_is_asked_twice(baseline: Baseline) -> None:
    asked = Counter(
        (line["op"], json.dumps(line["params"], sort_keys=True), line["region"], line["tokenIn"], line["attempt"])
        for line in baseline.ledger.lines
    )
    again = {key: count for key, count in asked.items() if count > 1 and key[0] != "iam:GenerateCredentialReport"}
    assert not again


def test_p15_one_question_asks_only_what_it_needs(baseline: Baseline) -> None:
    config = load_config(baseline.tmp / "config.yaml")
    plan = planning.make(
        config, baseline.library, baseline.plan.as_of, wanted=lambda check: check.id == "aws.iam.password-policy-length"
    )
    assert [task.dataset for task in plan.tasks] == ["aws.sts.caller-identity", "aws.iam.password-policy"]


def test_p13_every_reply_names_its_caller_and_account(baseline: Baseline) -> None:
    lines = [line for line in baseline.ledger.lines if line["op"] != "sts:GetCallerIdentity"]
    assert len(lines) > 100
    assert {line["caller"] for line in lines} == {f"arn:aws:sts::{estate.ACCOUNT}:user/moto"}


def test_secrets_reach_no_body_and_no_row(baseline: Baseline) -> None:
    secret = estate.SECRET_VALUE.encode()
    assert not [name for name, body in baseline.ledger.objects.items() if secret in body]
    assert not [shard for shard in baseline.shards if shard.path and secret in shard.path.read_bytes()]
    assert any(line["redactions"] for line in baseline.ledger.lines)


def test_a_replay_gives_the_same_findings(baseline: Baseline) -> None:
    _, findings = baseline.replay(lambda line: None)
    assert findings == baseline.findings


def refusal(line: Mapping[str, Any]) -> tuple[int, bytes]:
    """AccessDenied in the format of the reply it stands for."""
    media = line["media"] or ""
    if "json" in media:
        return 403, b'{"__type": "AccessDeniedException", "Code": "AccessDenied", "message": "no"}'
    if line["op"].startswith("ec2:"):
        return (
            403,
            b"<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors><RequestID>r</RequestID></Response>",
        )
    if line["op"].startswith("s3:"):
        return 403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    return (
        403,
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>",
    )


def refused_if(operation: str, line: Mapping[str, Any]) -> tuple[int, bytes] | None:
    return refusal(line) if line["op"] == operation else None


def test_p1_deny_each_operation_in_turn(baseline: Baseline, capsys: pytest.CaptureFixture[str]) -> None:
    """No finding that rests on a refused reply is PASS or FAIL, and nothing disappears."""
    operations = sorted({line["op"] for line in baseline.ledger.lines} - {"sts:GetCallerIdentity"})
    numbers = {
        operation: {line["i"] for line in baseline.ledger.lines if line["op"] == operation} for operation in operations
    }
    tasks_of = {
        operation: {line["task"] for line in baseline.ledger.lines if line["op"] == operation}
        for operation in operations
    }
    stopped = 0
    for operation in operations:
        touched = {task.dataset for task in baseline.plan.tasks if task.id in tasks_of[operation]}
        checks = [check for check in baseline.plan.checks if touched & set(check.datasets)]
        needed = {dataset for check in checks for dataset in check.datasets} | touched
        tasks = [
            task for task in baseline.plan.tasks if task.dataset in needed or task.dataset == "aws.sts.caller-identity"
        ]
        shards, findings = baseline.replay(partial(refused_if, operation), tasks)
        now = {(f.check, f.resource, f.scope): f for f in findings}
        unread = {(f.check, f.scope) for f in findings if f.resource == ALL}
        mine = {check.id for check in checks}
        for before in (f for f in baseline.findings if f.check in mine):
            after = now.get((before.check, before.resource, before.scope))
            assert after or (before.check, before.scope) in unread, f"{operation} refused: {before} vanished"
            if set(before.evidence) & numbers[operation] and after:
                assert after.outcome not in ("PASS", "FAIL", "ERROR"), f"{operation} refused: {after}"
                stopped += after.outcome == "UNKNOWN"
        gaps = [gap for shard in shards for gap in (shard.population.gap, *shard.population.partial) if gap]
        assert any(gap.operation == operation for gap in gaps), operation
    with capsys.disabled():
        print(f"\n{len(operations)} operations refused in turn, {stopped} conclusions stopped, 0 false ones")


def test_p2_everything_denied_gives_a_gap_for_every_task(baseline: Baseline) -> None:
    shards, findings = baseline.replay(lambda line: refusal(line) if line["op"] != "sts:GetCallerIdentity" else None)
    assert all(
        shard.population.gap or shard.population.partial
        for shard in shards
        if shard.task.dataset != "aws.sts.caller-identity"
    )
    assert {str(f.outcome) for f in findings} == {"UNKNOWN"}
    assert {f.check for f in findings} == {check.id for check in baseline.plan.checks}


def test_an_unknown_identity_stops_everything_in_its_account(baseline: Baseline) -> None:
    shards, findings = baseline.replay(lambda line: refusal(line) if line["op"] == "sts:GetCallerIdentity" else None)
    assert all(shard.population.gap for shard in shards)
    assert {str(f.outcome) for f in findings} == {"UNKNOWN"}


def test_p3_a_denied_region_is_named(baseline: Baseline) -> None:
    def away(line: Mapping[str, Any]) -> tuple[int, bytes] | None:
        return refusal(line) if line["region"] == estate.AWAY and line["op"] == "cloudtrail:DescribeTrails" else None

    _, findings = baseline.replay(away)
    trail = next(f for f in findings if f.check == "aws.cloudtrail.multi-region-logging")
    assert trail.outcome == "UNKNOWN"
    assert any(f.outcome == "UNKNOWN" and estate.AWAY in f.scope for f in findings)
