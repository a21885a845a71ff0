"""Thousands of faults, put into recorded replies: no PASS survives that rests on one, and no resource vanishes.

Every source of AWS and Okta is recorded once and replayed with one fault at a time. Two kinds of fault cannot be seen
in the reply itself: an empty list in place of a refused one, and a count that is not true. They are found where a
second reply tells the same fact (``reconciles`` of a check), and nowhere else: see :data:`RECONCILED`.
"""

from __future__ import annotations

import base64
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.api import Check, Source
from collector.connect import opening
from collector.connect.base import Connection
from collector.connect.http import Http, Site
from collector.connect.retry import Retry
from collector.connect.wire import ReplayWire, Wire, request_key
from collector.fetch import fetch
from collector.judge import ALL, Bench, judge
from collector.model import Finding, Outcome, Shard, Task
from collector.reconcile import reconcile
from tests.checks.okta.test_okta import KEYS, furnish
from tests.http_world import OktaWorld, worlds
from tests.test_estate import Baseline, baseline, refusal
from tests.worlds import LIMITS

__all__ = ["baseline"]

FAULTS = 2000
"""Detectable faults, over both worlds."""
FOR_EVER = 12
"""More replies than there are attempts."""

NOBODY = ("okta.caller", "okta:GET /api/v1/users/{id}")
"""Refused to every credential that belongs to no user: that is the answer, and no check rests on it."""

RECONCILED = {
    "aws.iam.access-keys", "aws.iam.credential-report", "aws.iam.groups", "aws.iam.policies", "aws.iam.roles",
    "aws.iam.users",
}  # fmt: skip
"""Datasets that a second reply speaks of. A list of any other that is empty, or short of whole records, while its
pages are whole and say that they are the last, cannot be told from a true one: that needs another witness."""

Line = Mapping[str, Any]
Key = tuple[str, str, str]


@dataclass
class World:
    """What was recorded of one system, and what is concluded from it as it stands."""

    name: str
    sources: Mapping[str, Source]
    checks: Sequence[Check]
    bench: Bench
    open: Callable[[Task, Wire], Connection]
    lines: dict[Task, list[Line]]
    bodies: dict[str, bytes]
    tmp: Path
    deny: Callable[[Line], tuple[int, bytes]]
    shards: dict[Task, Shard] = field(default_factory=dict)
    findings: dict[Key, Finding] = field(default_factory=dict)

    def settle(self) -> None:
        """Read and judge what was recorded, unaltered."""
        self.shards = {task: self.read(task, lines, f"{n}.rows") for n, (task, lines) in enumerate(self.lines.items())}
        self.findings = self.conclude(self.checks, self.shards)

    def read(self, task: Task, lines: Sequence[Line], name: str) -> Shard:
        wire = ReplayWire(task, lines, self.bodies.__getitem__)
        source = self.sources[task.dataset]
        return fetch(task, source, self.open(task, wire), self.tmp / name)

    def conclude(self, checks: Sequence[Check], shards: Mapping[Task, Shard]) -> dict[Key, Finding]:
        marked, about_evidence = reconcile(checks, list(shards.values()), self.bench)
        found = [*judge([check for check in checks if not check.reconciles], marked, self.bench), *about_evidence]
        return {(one.check, one.resource, one.scope): one for one in found}

    def altered(self, task: Task, lines: Sequence[Line]) -> tuple[Shard, list[Check], dict[Key, Finding]]:
        """The task read again with other replies, the checks it bears on, and what they say now."""
        shard = self.read(task, lines, "altered.rows")
        checks = [check for check in self.checks if task.dataset in check.datasets]
        needed = {task.dataset, *(dataset for check in checks for dataset in check.datasets)}
        checks += [check for check in self.checks if needed & set(check.reconciles) and check not in checks]
        needed |= {dataset for check in checks for dataset in check.datasets}
        shards = {
            other: shard if other == task else self.shards[other] for other in self.shards if other.dataset in needed
        }
        return shard, checks, self.conclude(checks, shards)


@pytest.fixture(scope="module")
def aws(baseline: Baseline) -> World:
    lines: dict[Task, list[Line]] = defaultdict(list)
    tasks = {task.id: task for task in baseline.plan.tasks}
    for line in baseline.ledger.lines:
        lines[tasks[line["task"]]].append(line)
    (baseline.tmp / "faults").mkdir()
    world = World(
        "aws", baseline.library.sources, baseline.plan.checks, Bench(baseline.plan.as_of, baseline.plan.parameters),
        opening.recorded(baseline.plan), dict(lines), dict(baseline.ledger.objects), baseline.tmp / "faults", refusal,
    )  # fmt: skip
    world.settle()
    return world


@pytest.fixture(scope="module")
def okta(baseline: Baseline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    library = plugins.load()
    tmp = tmp_path_factory.mktemp("okta")
    lines: dict[Task, list[Line]] = {}
    bodies: dict[str, bytes] = {}
    for live in worlds(OktaWorld, tmp):
        furnish(live)
        for dataset in KEYS:
            reading = live.read(dataset)
            start = sum(map(len, lines.values()))
            lines[reading.shard.task] = [{**line, "i": start + n} for n, line in enumerate(reading.ledger.lines)]
            bodies |= reading.ledger.objects
        retry = Retry(attempts=2, waits=False)
        site = Site("okta", live.origin)
        world = World(
            "okta", library.sources, [check for check in library.checks.values() if check.id.startswith("okta.")],
            Bench(baseline.plan.as_of, {}),
            lambda task, wire, site=site, retry=retry: Http(wire, site, retry=retry, limits=LIMITS),
            lines, bodies, tmp, lambda line: (403, b'{"errorCode": "E0000006", "errorSummary": "no"}'),
        )  # fmt: skip
        world.settle()
        yield world


# ----------------------------------------------------------------------------------------------------------- faults

Fault = Callable[[World, Sequence[Line], int, random.Random], Sequence[Line] | None]
"""The lines of a task with a fault in the reply at an index; ``None`` where it does not apply."""


def _other(world: World, line: Line, status: int | None, body: bytes, **more: Any) -> Line:
    name = f"altered-{status}-{hash(body)}"
    world.bodies[name] = body
    media = {"content-type": line["media"] or ""}
    kept = {**media, **{name: value for name, value in line["headers"].items() if name == "link" and status == 200}}
    return {**line, "status": status, "sha256": name if status else None, "headers": kept, **more}


def _replaced(lines: Sequence[Line], at: int, *instead: Line) -> list[Line]:
    return [*lines[:at], *instead, *lines[at + 1 :]]


def deny(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    return _replaced(lines, at, _other(world, lines[at], *world.deny(lines[at])))


def throttle(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    _, body = world.deny(lines[at])
    for code in (b"AccessDeniedException", b"AccessDenied", b"UnauthorizedOperation", b"E0000006"):
        body = body.replace(code, b"E0000047" if code == b"E0000006" else b"ThrottlingException")
    return _replaced(lines, at, *[_other(world, lines[at], 429, body)] * FOR_EVER)


def fail_500(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    return _replaced(lines, at, *[_other(world, lines[at], 500, b"oops")] * FOR_EVER)


def time_out(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    return _replaced(
        lines, at, *[_other(world, lines[at], None, b"", failure="timeout", detail="no answer")] * FOR_EVER
    )


def truncate(world: World, lines: Sequence[Line], at: int, chance: random.Random) -> Sequence[Line] | None:
    body = _body(world, lines[at]).rstrip()
    if len(body) < 3:
        return None
    return _replaced(lines, at, _other(world, lines[at], lines[at]["status"], body[: chance.randrange(1, len(body))]))


def foreign_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    if lines[at]["status"] != 200:
        return None
    page = (
        b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><br>This network needs you to sign in</body>"
    )
    return _replaced(lines, at, _other(world, lines[at], 200, page))


def drop_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    again = [line for line in lines if _key(line) == _key(lines[at])]
    return None if len(again) > 1 else _replaced(lines, at)  # polling: fewer answers are no fault


def repeat_page(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    line = lines[at]
    before = [
        one for one in lines if line["tokenIn"] and one["tokenOut"] == line["tokenIn"] and one["op"] == line["op"]
    ]
    if not before:
        return None
    return _replaced(lines, at, {**line, "sha256": before[0]["sha256"], "headers": before[0]["headers"]})


TOKEN = re.compile(
    rb'("(?:nextToken|NextToken|Marker|NextMarker|nextMarker)"\s*:\s*")([^"]{2,})(")'
    rb"|(<(?:NextToken|Marker|NextMarker|nextToken|NextContinuationToken)>)([^<]{2,})(<)"
)


def cut_token(world: World, lines: Sequence[Line], at: int, _: random.Random) -> Sequence[Line] | None:
    line = lines[at]
    if not line["tokenOut"]:
        return None
    body = TOKEN.sub(lambda m: (m[1] or m[4]) + (m[2] or m[5])[:-1] + (m[3] or m[6]), _body(world, line))
    link = re.sub(r"(after=\w+?)\w?(>|&[^>]*>)(; rel=\"next\")", r"\1z\2\3", line["headers"].get("link", ""))
    link = link if link != line["headers"].get("link", "") else ""
    if body == _body(world, line) and not link:
        return None
    other = dict(_other(world, line, line["status"], body))
    other["headers"] = {**line["headers"], **({"link": link} if link else {})}
    return _replaced(lines, at, other)


DETECTABLE: tuple[Fault, ...] = (
    deny, throttle, fail_500, time_out, truncate, foreign_page, drop_page, repeat_page, cut_token,
)  # fmt: skip


def _body(world: World, line: Line) -> bytes:
    return world.bodies[line["sha256"]] if line["sha256"] else b""


def _key(line: Line) -> str:
    return request_key(line["op"], line["params"], line["region"], line["tokenIn"])


def injections(of: Sequence[World], chance: random.Random) -> Iterator[tuple[World, Task, int, Fault, Sequence[Line]]]:
    """Every fault of a page in a list of several, then others by chance, every dataset as often as any."""
    choices = [(world, task) for world in of for task in world.lines]
    done = 0
    for world, task in choices:
        for at, line in enumerate(world.lines[task]):
            for fault in (repeat_page, cut_token, drop_page, truncate) if line["tokenIn"] or line["tokenOut"] else ():
                if other := fault(world, world.lines[task], at, chance):
                    done += 1
                    yield world, task, at, fault, other
    for turn in range(FAULTS - done):
        world, task = choices[turn % len(choices)]
        at = chance.randrange(len(world.lines[task]))
        for fault in (chance.choice(DETECTABLE), chance.choice((deny, throttle, fail_500, time_out))):
            if other := fault(world, world.lines[task], at, chance):
                yield world, task, at, fault, other
                break


# ------------------------------------------------------------------------------------------------------------ tests


def test_no_pass_survives_a_fault_and_nothing_vanishes(
    aws: World, okta: World, capsys: pytest.CaptureFixture[str]
) -> None:
    injected: Counter[str] = Counter()
    datasets: set[str] = set()
    false: list[str] = []
    lost: list[str] = []
    started = time.monotonic()
    stopped = 0
    for world, task, at, fault, other in injections([aws, okta], random.Random(20260601)):
        lines = world.lines[task]
        injected[fault.__name__] += 1
        datasets.add(task.dataset)
        shard, checks, now = world.altered(task, other)
        number, mine = lines[at]["i"], {check.id for check in checks}
        told = f"{fault.__name__} of {lines[at]['op']} in {task.id}"
        unread = {(one.check, one.scope) for one in now.values() if one.resource == ALL}
        false += [f"{told}: {one}" for one in now.values() if one.outcome is Outcome.PASS and number in one.evidence]
        for key, before in world.findings.items():
            if before.check not in mine:
                continue
            after = now.get(key)
            if after is None:
                lost += [f"{told}: {key}"] * ((before.check, before.scope) not in unread)
            elif number in before.evidence and after.outcome is Outcome.PASS:
                false.append(f"{told}: {after}")
            else:
                stopped += before.outcome is Outcome.PASS and after.outcome is not Outcome.PASS
        population = shard.population
        nobody = (fault, task.dataset, lines[at]["op"]) == (deny, *NOBODY)
        if not (population.gap or population.partial or nobody):
            false.append(f"{told}: nothing is missing")
    took = time.monotonic() - started
    with capsys.disabled():
        print(
            f"\n{injected.total()} faults in {len(datasets)} datasets ({took:.0f} s): {dict(injected)}; "
            f"{stopped} passes stopped, {len(false)} false passes, {len(lost)} resources lost"
        )
    assert injected.total() >= FAULTS
    assert false == []
    assert lost == []
    assert datasets == {task.dataset for world in (aws, okta) for task in world.lines}


def test_what_is_reconciled_is_written_down_here(aws: World, okta: World) -> None:
    checks = [*aws.checks, *okta.checks]
    assert {dataset for check in checks for dataset in check.reconciles} == RECONCILED
    marked, _ = reconcile(aws.checks, list(aws.shards.values()), aws.bench)
    counted = {shard.task.dataset for shard in marked if shard.population.basis == "count-reconciled"}
    assert counted == RECONCILED
    assert {one.outcome for one in aws.findings.values() if one.check.endswith("-reconciled")} == {Outcome.PASS}


LISTS = re.compile(
    rb"<(UserDetailList|GroupDetailList|RoleDetailList|Policies|Users|AccessKeyMetadata)>.*</\1>", re.DOTALL
)
CONTENT = re.compile(rb"<Content>([^<]*)</Content>")


def _emptied(body: bytes) -> bytes:
    return CONTENT.sub(lambda m: _report(m[1], lambda lines: lines[:2]), LISTS.sub(rb"<\1/>", body))


def _report(content: bytes, change: Callable[[list[str]], list[str]]) -> bytes:
    text = "\n".join(change(base64.b64decode(content).decode().strip().splitlines()))
    return b"<Content>" + base64.b64encode(text.encode()) + b"</Content>"


def lies(world: World) -> Iterator[tuple[str, set[str], Task, Sequence[Line]]]:
    """What is untrue, the datasets nobody may rely on then, the task, and its lines."""
    for task, lines in world.lines.items():
        for at, line in enumerate(lines):
            body = _body(world, line)
            alike = lambda other, lines=lines, at=at, line=line: _replaced(lines, at, _other(world, line, 200, other))  # noqa: E731
            if task.dataset in RECONCILED and line["status"] == 200:
                empty = _emptied(body)
                hidden = b"<Status>Inactive</Status>" in body and b"<Status>Active</Status>" not in body
                if empty != body and not hidden:  # the credential report does not tell an inactive key from none
                    yield f"empty {line['op']}", {task.dataset}, task, alike(empty)
            for match in CONTENT.finditer(body):
                for n in range(2, len(base64.b64decode(match[1]).decode().strip().splitlines())):
                    short = CONTENT.sub(lambda m, n=n: _report(m[1], lambda rows: rows[:n] + rows[n + 1 :]), body)
                    yield "a line less in the report", {"aws.iam.users", task.dataset}, task, alike(short)
            for name in ("Users", "Groups", "Roles", "Policies"):
                told = re.compile(rb"(<key>%s</key>\s*<value>)(\d+)(<)" % name.encode())
                for match in told.finditer(body):
                    for count in {0, int(match[2]) - 1, int(match[2]) + 1, int(match[2]) + 1000} - {int(match[2]), -1}:
                        other = told.sub(rb"\g<1>%d\g<3>" % count, body)
                        yield f"{name} counted as {count}", {f"aws.iam.{name.lower()}"}, task, alike(other)


def test_no_pass_survives_a_lie_about_what_two_replies_tell(aws: World, capsys: pytest.CaptureFixture[str]) -> None:
    told: Counter[str] = Counter()
    false = []
    for what, disputed, task, lines in lies(aws):
        told[what.split(" ")[0] if " counted " not in what else "count"] += 1
        shards = {**aws.shards, task: aws.read(task, lines, "lie.rows")}
        now = aws.conclude(aws.checks, shards)
        about = {check.id for check in aws.checks if disputed & set(check.datasets) and not check.reconciles}
        false += [f"{what}: {one}" for one in now.values() if one.check in about and one.outcome is Outcome.PASS]
        witnesses = [one for one in now.values() if one.check.endswith("-reconciled") and one.outcome is Outcome.FAIL]
        assert witnesses, f"{what}: nobody noticed"
        unread = {one.check for one in now.values() if one.resource == ALL or one.outcome is Outcome.UNKNOWN}
        assert about <= unread, what
    with capsys.disabled():
        print(f"\n{told.total()} lies told: {dict(told)}; {len(false)} false passes")
    assert told.total() >= 25
    assert false == []
