"""Looks at everything a run needs before a run needs it: key, store, clock, authorities, credentials, rights."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from collector import plan as planning
from collector.collect import collect
from collector.connect import opening
from collector.connect.wire import LiveWire, Wire
from collector.errors import AffidavitError
from collector.model import Shard, Task, Unavailable, instant
from collector.permissions import policy
from collector.plan import IDENTITY, Plan
from collector.run import Workbench
from evidence_store.errors import StoreError

if TYPE_CHECKING:
    from evidence_store.keys import Signer

WRITES = (
    "iam:CreateUser",
    "iam:PutUserPolicy",
    "iam:AttachRolePolicy",
    "iam:CreateAccessKey",
    "s3:PutObject",
    "s3:DeleteBucket",
    "s3:PutBucketPolicy",
    "ec2:RunInstances",
    "ec2:TerminateInstances",
    "ec2:AuthorizeSecurityGroupIngress",
    "kms:ScheduleKeyDeletion",
    "rds:DeleteDBInstance",
    "cloudtrail:StopLogging",
    "lambda:UpdateFunctionCode",
    "secretsmanager:GetSecretValue",
    "organizations:LeaveOrganization",
)
"""Rights nobody needs to collect evidence: each one held is worth a warning."""

CHANGES = re.compile(
    r"write|manage(?!ment)|create|delete|update|impersonat|full_control|realm-admin|\.user\.security$", re.IGNORECASE
)
"""Words in a scope or role of an API that allow a change."""

SLOW_CLOCK_S = 5
FREE_MB = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    state: str
    """``ok``, ``warning`` or ``problem``."""
    what: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.state:8} {self.what}" + (f"\n         next: {self.next_step}" if self.next_step else "")


@dataclass(slots=True)
class _Looked:
    """A ledger that keeps nothing but the lines: a look is no evidence."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_object(self, data: bytes, *, request: Mapping[str, Any] | None = None) -> str:  # noqa: ARG002 - dropped
        return ""

    def add_spans(self, body: bytes, cut: Any) -> dict[str, Any]:  # noqa: ARG002 - nothing is committed
        return {}

    def add_reply(self, line: Mapping[str, Any]) -> int:
        with self.lock:
            self.lines.append(dict(line))
            return len(self.lines) - 1


def examine(bench: Workbench, signer: Callable[[], Signer]) -> Iterator[Line]:
    """Yield what was found, one line each; nothing is written to the store, and only identities are asked for."""
    config = bench.config
    yield Line(
        "ok", f"configuration, {len(bench.library.checks)} checks and {len(bench.mappings.rows)} mapping rows load"
    )
    yield _key(signer)
    yield from _store(config.store.path)
    for authority in config.timestamps.authorities:
        yield _reachable(authority.url)
    if not config.timestamps.authorities:
        yield Line(
            "warning",
            "no time-stamp authority is configured",
            "add timestamps.authorities: without one nobody outside attests when",
        )
    try:
        plan = planning.make(config, bench.library, datetime.now(UTC), files=bench.files)
    except AffidavitError as error:
        yield Line("problem", error.what, error.next_step)
        return
    yield from _connections(bench, plan)


def _key(signer: Callable[[], Signer]) -> Line:
    try:
        return Line("ok", f"the key opens; fingerprint {signer().keyid}")
    except (AffidavitError, StoreError) as error:
        return Line("problem", error.what, error.next_step)


def _store(path: Path) -> Iterator[Line]:
    from evidence_store.verify import verify_store

    folder = path if path.exists() else path.parent
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        yield Line("problem", f"{folder} cannot be written to", "give this user the right, or change store.path")
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize // (1 << 20)
    if free < FREE_MB:
        yield Line("warning", f"{free} MB are free at {folder}", "make room before the disk is full")
    if not (path / "STORE.json").is_file():
        yield Line("ok", f"there is no store at {path} yet; the first run makes it")
        return
    found = verify_store(path, key=None, read_data=False)
    if found.problems:
        yield Line("problem", f"the store: {found.problems[0]}", f"read: affidavit verify {path} --key FINGERPRINT")
    else:
        yield Line("ok", f"the store at {path} is consistent: {found.runs} runs, {found.leaves} leaves")


def _reachable(url: str) -> Line:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=10).close()
    except OSError as error:
        return Line(
            "problem", f"{url} does not answer: {error.strerror or error}", "correct the address, or open the way to it"
        )
    return Line("ok", f"the time-stamp authority {parts.hostname} answers on port {port}")


def _connections(bench: Workbench, plan: Plan) -> Iterator[Line]:
    """Who each connection is, how far the clocks are apart, and which rights it has."""
    identities = tuple(task for task in plan.tasks if task.dataset in IDENTITY.values())
    ledgers: dict[Task, _Looked] = {}
    stop = threading.Event()

    def wire(task: Task, caller: str) -> Wire:
        ledgers[task] = _Looked()
        live = LiveWire(task, ledgers[task], bench.library.sources[task.dataset].redactions, stop=stop)
        live.caller = caller
        return live

    with tempfile.TemporaryDirectory(prefix="affidavit-") as name, ThreadPoolExecutor(4) as pool:
        opener = opening.live(bench.config, pool=pool, stop=stop)
        shards = collect(identities, bench.library.sources, wire, opener, Path(name), workers=4, stop=stop)
        for shard in shards:
            yield from _identity(shard, ledgers.get(shard.task))
            if shard.task.dataset == IDENTITY["aws"] and not shard.population.gap:
                yield from _rights(bench, plan, shard, opener)
        for task in {task.account_scope: task for task in plan.tasks}.values():
            yield from _token_rights(bench, plan, task, opener)


def _identity(shard: Shard, ledger: _Looked | None) -> Iterator[Line]:
    from collector.judge import read_rows

    where = shard.task.account_scope
    if shard.population.gap:
        yield Line("problem", f"{where}: {shard.population.gap.reason}", "correct the credentials of this connection")
        return
    row = next(read.row for read in read_rows(shard))
    yield Line("ok", f"{where}: asks as {row.get('Arn') or row.get('Caller') or where}")
    for line in ledger.lines if ledger else ():
        if line.get("date"):
            apart = abs((parsedate_to_datetime(line["date"]) - instant(line["received"])).total_seconds())
            if apart > SLOW_CLOCK_S:
                told = f"{where}: this clock and the server's are {apart:.0f} s apart"
                yield Line("problem", told, "synchronise this machine's clock")


def _rights(bench: Workbench, plan: Plan, shard: Shard, opener: opening.Opener) -> Iterator[Line]:
    from collector.judge import read_rows

    arn = _principal(next(str(read.row["Arn"]) for read in read_rows(shard)))
    where = shard.task.account_scope
    needed = policy(plan, bench.library)["aws"]["Statement"][0]["Action"]
    connection: Any = opener(shard.task, LiveWire(shard.task, _Looked()))
    try:
        decided = _simulate(connection, arn, [*needed, *WRITES])
    except Unavailable as error:
        told = f"{where}: its rights could not be simulated ({error.reason})"
        yield Line("warning", told, f"compare them with: affidavit plan --permissions ({len(needed)} actions)")
        return
    missing = [action for action in needed if decided.get(action) != "allowed"]
    held = [action for action in WRITES if decided.get(action) == "allowed"]
    if missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        yield Line("problem", f"{where}: not allowed: {named}", "grant what affidavit plan --permissions prints")
    if held:
        named = ", ".join(held[:5]) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
        yield Line(
            "warning", f"{where}: holds rights to change things: {named}", "take them away: reading is all it does"
        )
    if not missing and not held:
        yield Line(
            "ok", f"{where}: allowed all {len(needed)} actions it needs, and none of {len(WRITES)} that change things"
        )


def _token_rights(bench: Workbench, plan: Plan, task: Task, opener: opening.Opener) -> Iterator[Line]:
    """What the token of a REST API allows by its own words, against what the plan needs."""
    from collector.connect.http import Http

    try:
        connection = opener(task, LiveWire(task, _Looked()))
    except (AffidavitError, Unavailable):
        return  # told where it is asked who it is, or by the run
    if not isinstance(connection, Http) or not (granted := connection.granted()):
        return
    where = task.connection
    needed = set(policy(plan, bench.library)[plan.place(task.connection).kind])
    if held := sorted(right for right in granted if CHANGES.search(right)):
        told = f"{where}: its token allows to change things: {', '.join(held[:5])}"
        yield Line("warning", told, "take them away: reading is all it does")
    if missing := sorted(needed - granted):
        told = f"{where}: its token does not name {', '.join(missing[:5])}"
        yield Line("warning", told, "grant what affidavit plan --permissions prints, unless a wider right covers it")
    if not held and not missing:
        yield Line("ok", f"{where}: its token names all {len(needed)} rights it needs, and none that changes things")


def _simulate(connection: Any, arn: str, actions: list[str]) -> dict[str, str]:
    """What IAM decides of each action for a principal."""
    decided: dict[str, str] = {}
    for first in range(0, len(actions), 50):
        results = connection.pages(
            "iam",
            "simulate_principal_policy",
            rows="EvaluationResults",
            PolicySourceArn=arn,
            ActionNames=actions[first : first + 50],
        )
        decided |= {result["EvalActionName"]: result["EvalDecision"] for result in results}
    return decided


def _principal(arn: str) -> str:
    """The role behind a session: IAM simulates roles and users, not sessions."""
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}" if rest else arn
