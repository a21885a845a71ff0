"""One run, end to end: it is sealed whole, recorded as aborted, or nothing was started."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector import run as running
from collector.config import load as load_config
from evidence_store.errors import StoreError
from evidence_store.fs import Disk, disk_errors
from evidence_store.store import Store
from tests.small_cloud import ALL, HOME, INTERRUPTS, LOGS, Cloud, Office, Said, affidavit, cloud, files_of, two_lines

ROLE = '    accounts: [{id: "111122223333", role: "arn:aws:iam::111122223333:role/audit"}]'


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def office(aws: Cloud, tmp_path: Path) -> Office:
    return Office(tmp_path / "office", aws.endpoint)


def _gaps(office: Office, number: int | None = None) -> dict[str, tuple[str, str, str]]:
    return {gap["dataset"]: (gap["gap"], gap["operation"], gap["reason"]) for gap in office.lines("gap", number)}


def test_a_whole_run_is_sealed_verified_and_reperformed(office: Office, aws: Cloud) -> None:
    said = office.run(*ALL, "--json")
    assert said.code == 1
    assert said.json["counts"] == {"PASS": 11, "FAIL": 8, "SKIP": 0, "UNKNOWN": 0, "ERROR": 0}
    assert office.states() == ["complete"]
    assert office.verify().ok
    assert office.rerun().code == 0
    with office.sealed() as run:
        assert run.closing["coverage"] == {"planned": 4, "ok": 4, "denied": 0, "error": 0}
        assert run.opening["trigger"] == "command line"
        assert run.opening["config"]["sha256"] == load_config(office.config).sha256
        assert run.object(load_config(office.config).sha256) == office.config.read_bytes()
        assert json.loads(run.plan())["selection"] == f"checks {', '.join(ALL[1::2])}"
    assert not (office.store / "spool" / "00000001").exists()


def test_no_secret_of_the_connection_reaches_the_store(aws: Cloud, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", aws.endpoint, connection=ROLE)
    assert office.run(*ALL).code == 1
    bodies = [office.config.read_bytes()]
    with office.sealed() as run:
        for line in run.replies():
            bodies += [run.object(line["sha256"]), orjson.dumps(line)]
        bodies += [orjson.dumps(line) for line in run.results()]
    kept = b"".join([*bodies, *files_of(office.store).values()])
    for secret in (b"sk-4d1f9e", b"role-secret-7f3a", b"role-token-7f3a", b"a passphrase of this test only"):
        assert secret not in kept
    assert b"/eu-central-1/0/0" in kept


def test_p12_a_second_run_the_same_day_is_a_new_run_and_overwrites_nothing(office: Office, aws: Cloud) -> None:
    assert office.run(*ALL).code == 1
    before = files_of(office.store, ("runs", "log", "keys"))
    aws.retention = 30
    assert office.run(*ALL).code == 1
    after = files_of(office.store, ("runs", "log", "keys"))
    assert after["log/entries"].startswith(before.pop("log/entries"))
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[1] for name in after if name.startswith("runs/")} == {"00000001", "00000002"}
    assert office.states() == ["complete", "complete"]
    retained = [
        {line["reason"].partition(",")[0] for line in office.lines("finding", n) if line["check"].endswith("retention")}
        for n in (1, 2)
    ]
    assert retained == [{"events are kept for 400 days"}, {"events are kept for 30 days"}]
    assert office.verify().ok
    assert office.rerun("1").code == office.rerun("2").code == 0


def test_p19_a_second_run_with_the_api_unreachable_carries_nothing_over(tmp_path: Path) -> None:
    with cloud() as aws:
        office = Office(tmp_path / "office", aws.endpoint)
        assert office.run(*ALL).code == 1
    with office.sealed(1) as run:
        first = {line["sha256"] for line in run.replies()}
    said = office.run(*ALL, "--json")
    assert said.code == 3
    assert said.json["counts"] == {"PASS": 0, "FAIL": 0, "SKIP": 0, "UNKNOWN": 7, "ERROR": 0}
    assert {kind for kind, *_ in _gaps(office, 2).values()} == {"unreachable", "no-identity"}
    with office.sealed(2) as run:
        replies = list(run.replies())
    assert [(line["status"], line["sha256"], line["failure"]) for line in replies] == [(None, None, "unreachable")]
    assert first.isdisjoint({line["sha256"] for line in replies})
    assert all(line["rows"] == 0 for line in office.lines("population", 2))
    assert office.rerun("2").code == 0
    report = affidavit("report", "2", "--config", str(office.config), "--format", "json").json
    assert {finding["outcome"] for finding in report["findings"]} == {"UNKNOWN"}
    assert not [c for c in report["controls"] if c["result"] in ("met", "exceptions")]


def test_p17_a_verdict_rests_on_replies_only(office: Office) -> None:
    assert office.run(*ALL).code == 1
    with office.sealed() as run:
        task_of = {line["i"]: line["task"] for line in run.replies()}
        datasets = {check["id"]: check["datasets"] for check in orjson.loads(run.plan())["checks"]}
    findings = office.lines("finding")
    assert len(findings) == 19
    for finding in findings:
        assert finding["evidence"], finding
        for number in finding["evidence"]:
            assert task_of[number].partition("@")[0] in datasets[finding["check"]]


@pytest.mark.parametrize("key", ["inventory", "findings", "resources", "evidence"])
def test_p17_no_inventory_can_be_handed_in(office: Office, key: str) -> None:
    (office.folder / "inventory.json").write_text('[{"logGroupName": "/ok", "retentionInDays": 4000}]')
    office.config.write_text(office.config.read_text() + f"{key}: inventory.json\n")
    said = office.run(*LOGS)
    assert (said.code, two_lines(said)) == (2, True)
    assert f"{key}" in said.err
    assert not office.store.exists()
    assert affidavit(*office.command("run", f"--{key}", "inventory.json")).code == 2


def test_an_account_that_is_not_the_declared_one_has_no_identity(aws: Cloud, tmp_path: Path) -> None:
    aws.account = "999988887777"
    office = Office(tmp_path / "office", aws.endpoint, connection=ROLE)
    assert office.run(*ALL).code == 3
    gaps = _gaps(office)
    assert set(gaps) == {"aws.sts.caller-identity", "aws.iam.password-policy", "aws.logs.groups"}
    assert {kind for kind, *_ in gaps.values()} == {"no-identity"}
    assert all("account 999988887777, the configuration names 111122223333" in reason for *_, reason in gaps.values())
    assert {request.operation for request in aws.requests} == {"AssumeRole", "GetCallerIdentity"}
    assert {finding["outcome"] for finding in office.lines("finding")} == {"UNKNOWN"}
    assert office.rerun().code == 0


def test_a_role_is_assumed_and_its_identity_is_on_every_reply(aws: Cloud, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", aws.endpoint, connection=ROLE)
    assert office.run(*ALL).code == 1
    assert [r.key for r in aws.requests if r.operation == "AssumeRole"] == ["AKIATEST"]
    assert {r.key for r in aws.requests if r.operation != "AssumeRole"} == {"ASIAROLE"}
    with office.sealed() as run:
        callers = {line["caller"] for line in run.replies() if line["op"] != "sts:GetCallerIdentity"}
    assert callers == {"arn:aws:iam::111122223333:user/ASIAROLE"}
    assert {finding["scope"].split("/")[1] for finding in office.lines("finding")} == {"111122223333"}


def test_a_refused_role_is_a_gap_that_names_it_and_reperforms(aws: Cloud, tmp_path: Path) -> None:
    aws.refuse("AssumeRole")
    office = Office(tmp_path / "office", aws.endpoint, connection=ROLE)
    assert office.run(*ALL).code == 3
    gaps = _gaps(office)
    assert gaps["aws.sts.caller-identity"] == (
        "denied", "sts:AssumeRole", "sts:AssumeRole was refused (AccessDenied)",
    )  # fmt: skip
    assert gaps["aws.logs.groups"][0] == "no-identity"
    assert office.rerun().code == 0


def test_a_throttled_role_is_asked_for_again_and_each_attempt_is_on_record(aws: Cloud, tmp_path: Path) -> None:
    aws.refuse("AssumeRole", "Throttling", 400)
    office = Office(tmp_path / "office", aws.endpoint, connection=ROLE, attempts=2)
    assert office.run(*LOGS).code == 3
    assert _gaps(office)["aws.sts.caller-identity"][2] == "sts:AssumeRole was throttled (Throttling) (2 attempts)"
    with office.sealed() as run:
        assert [(line["attempt"], line["failure"]) for line in run.replies()] == [(1, "throttled"), (2, "throttled")]
    assert office.rerun().code == 0


def test_a_credential_that_expires_in_mid_run_is_a_gap_and_what_was_read_is_kept(office: Office, aws: Cloud) -> None:
    aws.pages = 4
    aws.refuse("DescribeLogGroups", "ExpiredTokenException", 400, after=3)
    assert office.run(*ALL).code == 3
    gaps = office.lines("gap")
    assert {gap["gap"] for gap in gaps} == {"unauthenticated"}
    assert all("the credential is not valid (ExpiredTokenException)" in gap["reason"] for gap in gaps)
    assert {gap["scope"] for gap in gaps} == {"cloud/eu-central-1", "cloud/eu-west-1"}
    assert sum(line["rows"] for line in office.lines("population") if line["dataset"] == "aws.logs.groups") == 6
    said = {(finding["check"].split(".")[1], finding["outcome"]) for finding in office.lines("finding")}
    assert said == {("iam", "PASS"), ("logs", "UNKNOWN")}
    assert office.rerun().code == 0


def test_a_missing_secret_is_a_gap_of_its_connection_and_reperforms(office: Office, aws: Cloud) -> None:
    (office.folder / "secret").unlink()
    assert office.run(*LOGS).code == 3
    gap = _gaps(office)["aws.sts.caller-identity"]
    assert gap[0] == "unauthenticated"
    assert "the connection could not be opened: secret file:secret cannot be read" in gap[2]
    assert aws.requests == []
    assert office.rerun().code == 0


def test_an_unknown_profile_is_a_gap(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    office = Office(tmp_path / "office", aws.endpoint)
    text = office.config.read_text().replace("    access_key_id: file:id\n    secret_access_key: file:secret\n", "")
    office.config.write_text(text.replace("kind: aws\n", "kind: aws\n    profile: nobody\n"))
    assert office.run(*LOGS).code == 3
    assert "nobody" in _gaps(office)["aws.sts.caller-identity"][2]
    assert office.rerun().code == 0


@pytest.mark.parametrize("number", INTERRUPTS)
def test_p6_a_signal_ends_the_run_on_record_with_what_it_had_read(number: signal.Signals, tmp_path: Path) -> None:
    with cloud(pages=60, slow_s=0.05) as aws:
        office = Office(tmp_path / "office", aws.endpoint)
        process = office.start("run", *ALL)
        aws.wait_for(8)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "error: run 1 was stopped; what it had read is kept as an aborted run\nnext:  " in err
    assert len(aws.requests) < 60
    assert office.states() == ["aborted"]
    with office.sealed(1) as run:
        assert run.closing["reason"] == "stopped by a signal"
        bodies = [run.object(line["sha256"]) for line in run.replies() if line["status"] == 200]
        assert list(run.results()) == []
    assert len(bodies) >= 6
    assert any(b"/0/0" in body for body in bodies)
    assert office.verify().ok
    for style in ("table", "json", "html"):
        page = office.folder / f"report.{style}"
        report = affidavit("report", "1", "--config", str(office.config), "--format", style, "-o", str(page))
        assert report.code == 0
        assert "this run was aborted (stopped by a signal)" in page.read_text()
    assert office.rerun("1").code == 4


def test_p6_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    with cloud(slow_s=1.5) as aws:
        office = Office(tmp_path / "office", aws.endpoint)
        process = office.start("run", *LOGS)
        aws.wait_for(1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "stopping" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert office.states() == ["aborted"]


def test_kill_9_at_random_moments_loses_nothing_that_was_sealed(tmp_path: Path) -> None:
    moments = random.Random(20260601)
    with cloud(pages=20, slow_s=0.01) as aws:
        office = Office(tmp_path / "office", aws.endpoint)
        assert office.run(*ALL).code == 1
        sealed = files_of(office.store, ("runs/00000001",))
        opened = killed = 0
        for round_ in range(11):
            before, seen = len(office.states()), len(aws.requests)
            process = office.start("run", *LOGS)
            if round_ % 2:
                time.sleep(moments.uniform(0.2, 0.8))
            else:
                aws.wait_for(seen + moments.randint(1, 14))
            process.kill()
            killed += process.wait(timeout=10) == -signal.SIGKILL
            process.communicate()
            opened += len(office.states()) - before
        assert killed >= 10
        assert opened >= 5
        aws.slow_s = 0
        last = office.run(*ALL)
    assert last.code == 1
    states = office.states()
    assert states[0] == states[-1] == "complete"
    assert "open" not in states
    assert states.count("aborted") >= 5
    assert ("it is now on record as aborted" in last.err) == (states[-2] == "aborted")
    assert files_of(office.store, ("runs/00000001",)) == sealed
    assert office.verify().ok
    assert office.rerun("1").code == office.rerun().code == 0


def test_kill_9_leaves_no_row_behind_once_the_store_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows hold personal data: they lie in the store, which is swept, and never in a folder that nobody empties."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with cloud(pages=20, slow_s=0.05) as aws:
        office = Office(tmp_path / "office", aws.endpoint)
        process = office.start("run", *LOGS)
        while not (rows := [path for path in office.store.glob("spool/*.rows/*.rows") if path.stat().st_size]):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        assert {path.parent.stat().st_mode & 0o777 for path in rows} == {0o700}
        busy = office.verify()
        assert busy.ok, busy.problems
        process.kill()
        process.communicate(timeout=10)
        assert process.returncode == -signal.SIGKILL
        assert list(temporary.iterdir()) == []
        left = office.verify()
        assert left.ok, left.problems
        assert any("run 1 is open" in warning for warning in left.warnings)
        aws.slow_s = 0
        assert [path.name for path in office.store.glob("spool/*.rows")] == ["00000001.rows"]
        office.run(*LOGS)
    assert office.states() == ["aborted", "complete"]
    assert list((office.store / "spool").iterdir()) == []
    assert list(temporary.iterdir()) == []


class _FullDisk(Disk):
    """A disk that is full from the n-th write on."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def write(self, handle: int, path: Path, data: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            with disk_errors(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(handle, path, data)


def test_a_disk_that_fills_up_ends_the_run_in_two_lines_and_leaves_the_store_whole(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(writes: int) -> tuple[Said, _FullDisk]:
        disk = _FullDisk(writes)
        monkeypatch.setattr("evidence_store.store.Disk", lambda: disk)
        return office.run(*LOGS), disk

    assert office.run(*LOGS).code == 1
    said, disk = run(1_000)
    assert said.code == 1
    needed = 1_000 - disk.left
    sealed = files_of(office.store, ("runs",))
    for writes in range(0, needed, max(1, needed // 6)):
        said, _ = run(writes)
        assert (said.code, said.out) == (3, "")
        assert re.search(r"^error: cannot write .*: No space left on device\nnext:  free some", said.err, re.MULTILINE)
        assert "Traceback" not in said.err
        assert set(sealed.items()) <= set(files_of(office.store, ("runs",)).items())
    monkeypatch.undo()
    assert office.run(*LOGS).code == 1
    states = office.states()
    assert states[:2] == ["complete", "complete"]
    assert states[-1] == "complete"
    assert set(states[2:-1]) == {"aborted"}
    assert office.verify().ok
    assert office.rerun("1").code == office.rerun().code == 0


def test_a_disk_that_is_full_at_the_last_step_is_what_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the abort, which needs the same disk, could not be written either; the next opening records it."""

    def run(writes: int) -> tuple[Said, _FullDisk]:
        disk = _FullDisk(writes)
        monkeypatch.setattr("evidence_store.store.Disk", lambda: disk)
        return office.run(*LOGS), disk

    assert office.run(*LOGS).code == 1
    said, disk = run(1_000)
    assert said.code == 1
    needed = 1_000 - disk.left
    for short in range(1, 5):
        said, _ = run(needed - short)
        assert said.code == 3
        told = r"error: cannot write [^\n]*: No space left on device\nnext:  free some [^\n]*\n"
        assert re.fullmatch(told, _end(said))
    monkeypatch.undo()
    assert office.run(*LOGS).code == 1
    states = office.states()
    assert (states[:2], states[-1]) == (["complete"] * 2, "complete")
    assert len(states) == 7
    assert "aborted" in states
    assert office.verify().ok


def _end(said: Said) -> str:
    """The last two lines on stderr."""
    return "".join(said.err.splitlines(keepends=True)[-2:])


def test_a_reply_that_could_not_be_recorded_ends_the_run_even_when_the_disk_recovers(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a sealed run would conclude from a reply that is not in it."""
    assert office.run(*LOGS).code == 1
    monkeypatch.setattr("evidence_store.run.RunWriter.add_reply", _refuse_once("logs:DescribeLogGroups"))
    said = office.run(*LOGS)
    assert said.code == 3
    assert "error: cannot write the manifest" in said.err
    assert office.states() == ["complete", "aborted"]
    assert office.verify().ok


def _refuse_once(operation: str) -> Any:
    from evidence_store.run import RunWriter

    real, refused = RunWriter.add_reply, []

    def add_reply(self: RunWriter, line: Any) -> int:
        if line["op"] == operation and not refused:
            refused.append(line)
            raise StoreError("cannot write the manifest", "free some space")
        return real(self, line)

    return add_reply


def test_a_crash_of_the_judge_is_recorded_as_an_aborted_run(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("collector.run.conclude", broken)
    said = office.run(*LOGS)
    assert (said.code, "error: the program failed: ZeroDivisionError" in said.err) == (3, True)
    assert office.states() == ["aborted"]
    with office.sealed(1) as run:
        assert run.closing["reason"] == "the collector failed: ZeroDivisionError"
        assert len(list(run.replies())) == 5


def test_one_writer_at_a_time(office: Office) -> None:
    assert office.run(*LOGS).code == 1
    from evidence_store.keys import load_key_file

    signer = load_key_file(office.folder / "signing.key", b"a passphrase of this test only")
    with Store.open(office.store, signer=signer):
        said = office.run(*LOGS)
    assert (said.code, two_lines(said)) == (2, True)
    assert "writes to" in said.err


def test_a_store_of_another_name_is_refused(office: Office) -> None:
    assert office.run(*LOGS).code == 1
    office.config.write_text(office.config.read_text().replace("test.example.org/log", "other.example.org/log"))
    said = office.run(*LOGS)
    assert (said.code, two_lines(said)) == (2, True)
    assert "the configuration says other.example.org/log" in said.err
    assert office.states() == ["complete"]


def test_disabled_checks_are_told_and_what_only_they_need_is_not_read(aws: Cloud, tmp_path: Path) -> None:
    disabled = ", ".join(
        f"{{id: aws.logs.{name}, reason: logs are kept elsewhere, by: J. Doe}}" for name in ("retention", "encryption")
    )
    office = Office(tmp_path / "office", aws.endpoint, more=f"checks: {{disabled: [{disabled}]}}")
    assert office.run(*ALL).code == 0
    assert {request.operation for request in aws.requests} == {"GetCallerIdentity", "GetAccountPasswordPolicy"}
    with office.sealed() as run:
        plan = orjson.loads(run.plan())
    assert plan["disabled"] == [
        {"id": f"aws.logs.{name}", "reason": "logs are kept elsewhere", "by": "J. Doe"}
        for name in ("retention", "encryption")
    ]
    assert not [check for check in plan["checks"] if check["id"].startswith("aws.logs")]
    rows = [row for control in office.lines("control") for row in control["rows"]]
    rows = [row for row in rows if row["check"].startswith("aws.logs")]
    assert rows
    assert {row["result"] for row in rows} == {"not_collected"}
    assert all(row["incomplete"] for row in rows)


def test_the_time_of_collection_is_that_of_the_start(office: Office) -> None:
    bench = running.prepare(load_config(office.config))
    assert {name.split("/")[0] for name in bench.files} == {"mappings"}
    assert office.run(*LOGS).code == 1
    with office.sealed() as run:
        as_of = orjson.loads(run.plan())["asOf"]
        times = [line["t"] for line in run.replies()]
    assert as_of <= min(times)
    assert HOME in {line["region"] for line in run.replies()}


def _retention(office: Office, days: int) -> None:
    text = office.config.read_text().partition("\nchecks:")[0]
    office.config.write_text(f"{text}\nchecks: {{parameters: {{aws.logs.retention: {{min_days: {days}}}}}}}\n")


def _announced(office: Office, *options: str) -> list[dict[str, Any]]:
    told = affidavit("report", *options, "--config", str(office.config), "--format", "json").json["suppressions"]
    return [row for row in told if row["what"] in ("measurement changed", "limit changed")]


def test_a_run_over_a_part_does_not_launder_a_limit(office: Office) -> None:
    _retention(office, 100)
    assert office.run(*ALL).code == 1
    (first,) = _announced(office)
    assert first["reason"] == "365 by default, 100 here; no leaf tells since when, or why"
    _retention(office, 30)
    office.run("--check", "aws.iam.password-policy-length")
    office.run(*ALL, "--reason", "not the one that changed it")
    told = "limit min_days of aws.logs.retention: 100 -> 30"
    limit, leaf = _announced(office)
    assert (leaf["reason"], leaf["changes"]) == (f"{told} (nobody said why)", [told])
    assert limit["reason"] == "365 by default, 30 here (nobody said why)"
    assert (limit["by"], limit["when"], limit["leaf"]) == (leaf["by"], leaf["when"], leaf["leaf"])
    assert limit["by"]
    assert office.verify().ok


def test_the_report_names_every_change_where_the_leaf_has_room_for_a_few(office: Office) -> None:
    _retention(office, 100)
    assert office.run(*LOGS).code == 1
    more = "mappings: [iso-27001, iso-27017-2015]"
    office.config.write_text(office.config.read_text().replace("mappings: [iso-27001]", more))
    assert office.run(*LOGS, "--reason", "a framework more").code == 1
    (leaf,) = [row for row in _announced(office) if row["what"] == "measurement changed"]
    assert "setting mappings: added iso-27017-2015" in leaf["reason"]
    assert " more (why: a framework more)" in leaf["reason"]
    added = [line for line in leaf["changes"] if line.startswith("mappings/iso-27017-2015/")]
    assert len(added) > 12
    plan = office.store / "runs" / "00000001" / "plan.json"
    plan.write_bytes(plan.read_bytes().replace(b"Test Ltd", b"Test Inc"))
    said = affidavit("report", "--config", str(office.config), "--format", "json")
    assert said.code == 4
    (alone,) = [row for row in said.json["suppressions"] if row["what"] == "measurement changed"]
    assert (alone["reason"], "changes" in alone) == (leaf["reason"], False)
