"""The command line: exit codes, errors in two lines, and nothing started by what is wrong."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import collector
from collector import cli
from collector.commands import COMMANDS, function
from evidence_store.keys import load_key_file
from tests.small_cloud import (
    ALL,
    LOGS,
    Cloud,
    Office,
    affidavit,
    clean_environment,
    cloud,
    program,
    two_lines,
)


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def office(aws: Cloud, tmp_path: Path) -> Office:
    aws.requests.clear()
    aws.faults.clear()
    aws.password_length = 16
    return Office(tmp_path / "office", aws.endpoint)


# ------------------------------------------------------------------------------------------------------ exit codes


def test_exit_0_when_all_was_read_and_conforms(office: Office) -> None:
    said = office.run("--check", "aws.iam.password-policy-*")
    assert said.code == 0
    assert said.out.startswith(f"run 1 is sealed in {office.store}: 3 PASS; 0 gaps\n")


def test_exit_1_when_something_fails(office: Office, aws: Cloud) -> None:
    aws.password_length = 8
    said = office.run("--check", "aws.iam.password-policy-*")
    assert said.code == 1
    assert "2 PASS, 1 FAIL; 0 gaps" in said.out


def test_exit_3_when_something_was_not_read_even_where_something_fails(office: Office, aws: Cloud) -> None:
    aws.password_length = 8
    aws.refuse("DescribeLogGroups", "AccessDeniedException", 400)
    said = office.run(*ALL)
    assert said.code == 3
    assert "1 FAIL" in said.out
    assert "2 gaps" in said.out
    report = affidavit("report", "--config", str(office.config))
    assert report.code == 0
    assert "logs:DescribeLogGroups was refused" in report.out


def test_exit_4_when_a_store_does_not_verify(office: Office) -> None:
    assert office.run(*LOGS).code == 1
    path = office.store / "runs/00000001/results.ndjson.zst"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    said = affidavit("verify", str(office.store), "--key", office.fingerprint)
    assert said.code == 4
    assert "problem: runs/00000001/results.ndjson.zst" in said.out
    told = affidavit("verify", str(office.store), "--key", office.fingerprint, "--json", "--no-read-data")
    assert (told.code, told.json["ok"]) == (4, False)
    assert office.rerun().code == 4
    report = affidavit("report", "--config", str(office.config))
    assert report.code == 4


def test_p9_a_report_reads_the_seal_first_and_says_what_it_found(office: Office) -> None:
    assert office.run(*LOGS).code == 1
    as_json = ("report", "--format", "json", "--store", str(office.store))
    assert affidavit(*as_json).json["seal"]["words"] == "consistent, signer not authenticated"
    assert affidavit(*as_json, "--key", office.fingerprint).json["seal"]["words"] == "verified"
    wrong = affidavit(*as_json, "--key", "ab" * 32)
    assert (wrong.code, wrong.json["seal"]["words"]) == (4, "NOT VERIFIED")
    (office.store / "runs/00000001/note.txt").write_text("added")
    tampered = affidavit(*as_json, "--key", office.fingerprint)
    assert tampered.code == 4
    assert "note.txt" in tampered.json["seal"]["problems"][0]


def test_exit_130_when_interrupted_before_anything_began(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("collector.commands.installed.list_", interrupted)
    said = affidavit("list", "checks")
    assert (said.code, two_lines(said)) == (130, True)


def test_an_unforeseen_failure_is_not_taken_for_a_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError("a secret may stand here")

    monkeypatch.setattr("collector.commands.installed.list_", broken)
    said = affidavit("list", "checks")
    assert (said.code, two_lines(said)) == (3, True)
    assert "a secret" not in said.err
    assert "ZeroDivisionError" in affidavit("list", "checks", "--debug").err


def test_a_closed_pipe_is_not_a_success() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "collector", "list", "controls", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.read(1) == b"{"
    process.stdout.close()  # the document is longer than a pipe holds
    assert process.wait(timeout=20) == 3


# ------------------------------------------------------------------------------------------------- wrong from the start

WRONG = {
    "no such file": lambda text: None,
    "not yaml": lambda text: text + "a: [",
    "unknown key": lambda text: text + "scope: everything\n",
    "another version": lambda text: text.replace("version: 1", "version: 2"),
    "unknown kind": lambda text: text.replace("kind: aws", "kind: gcp"),
    "a literal secret": lambda text: text.replace("file:secret", "hunter2"),
    "no regions": lambda text: text.replace("[eu-central-1, eu-west-1]", "[]"),
    "a disabled check that is not there": lambda text: (
        text + "checks: {disabled: [{id: aws.logs.gone, reason: r, by: me}]}\n"
    ),
    "a parameter that is not there": lambda text: text + "checks: {parameters: {aws.logs.retention: {days: 3}}}\n",
    "a mapping that is not there": lambda text: text.replace("[iso-27001]", "[iso-99999]"),
    "a folder that is not there": lambda text: text + "plugins: {folders: [nowhere]}\n",
    "a check folder that does not load": lambda text: text + "plugins: {folders: [broken]}\n",
    "no key": lambda text: text.replace("signing.key", "other.key"),
    "another passphrase": lambda text: text.replace("file:passphrase", "file:secret"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_exit_2_a_wrong_config_starts_nothing(office: Office, aws: Cloud, kind: str) -> None:
    (office.folder / "broken").mkdir()
    (office.folder / "broken" / "a.py").write_text("from nowhere import nothing\n")
    text = WRONG[kind](office.config.read_text())
    if text is None:
        office.config.unlink()
    else:
        office.config.write_text(text)
    said = office.run(*LOGS)
    assert (said.code, two_lines(said)) == (2, True), said
    assert "hunter2" not in said.err
    assert not office.store.exists()
    assert aws.requests == []


def test_p16_a_key_that_others_may_read_is_refused(office: Office, aws: Cloud) -> None:
    key = office.folder / "signing.key"
    for mode in (0o644, 0o640, 0o604):
        key.chmod(mode)
        said = office.run(*LOGS)
        assert (said.code, two_lines(said)) == (2, True)
        assert "signing.key" in said.err
    key.chmod(0o600)
    (office.folder / "passphrase").chmod(0o644)
    assert office.run(*LOGS).code == 2
    assert not office.store.exists()
    assert aws.requests == []


def test_p16_a_key_that_is_not_encrypted_is_refused(office: Office) -> None:
    plain = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (office.folder / "signing.key").write_bytes(plain)
    said = office.run(*LOGS)
    assert (said.code, two_lines(said)) == (2, True)
    assert not office.store.exists()


def test_p16_init_makes_an_encrypted_key_nobody_else_may_read(tmp_path: Path) -> None:
    said = affidavit("init", str(tmp_path / "new"))
    assert said.code == 0
    for name in ("affidavit.key", "affidavit.passphrase"):
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o600
    assert (tmp_path / "new" / "affidavit.key").read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    fingerprint = said.out.split("key fingerprint ")[1].split()[0]
    passphrase = (tmp_path / "new" / "affidavit.passphrase").read_bytes().strip()
    assert load_key_file(tmp_path / "new" / "affidavit.key", passphrase).keyid == fingerprint
    assert affidavit("plan", "--config", str(tmp_path / "new" / "config.yaml")).code == 0
    again = affidavit("init", str(tmp_path / "new"))
    assert (again.code, two_lines(again)) == (2, True)


# ---------------------------------------------------------------------------------------------------------- selections


def _tasks(office: Office, *options: str) -> list[str]:
    said = affidavit(*office.command("plan", *options))
    assert said.code == 0, said.err
    return said.out.split()


def test_selections_plan_only_what_they_need(office: Office) -> None:
    identity, policy = "aws.sts.caller-identity@cloud", "aws.iam.password-policy@cloud"
    groups = ["aws.logs.groups@cloud/eu-central-1", "aws.logs.groups@cloud/eu-west-1"]
    assert _tasks(office, "--check", "aws.logs.retention") == [identity, *groups]
    assert _tasks(office, "--check", "aws.iam.password-policy-length", *LOGS) == [identity, policy, *groups]
    everything = _tasks(office)
    assert len(everything) > 30
    assert _tasks(office, "--connection", "cloud") == everything
    mapped = affidavit("list", "mappings", "--json", "--config", str(office.config)).json["mappings"]
    control = next(row["control"] for row in mapped if row["check"] == "aws.iam.password-policy-length")
    chosen = _tasks(office, "--control", control)
    assert policy in chosen
    assert len(chosen) < len(everything)
    assert _tasks(office, "--control", control, "--check", "aws.iam.password-policy-length") == [identity, policy]


def test_a_selection_by_connection_leaves_the_others_alone(aws: Cloud, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", aws.endpoint)
    text = office.config.read_text()
    office.config.write_text(text.replace("connections:\n", "connections:\n  - {name: here, kind: host}\n"))
    assert {task.rpartition("@")[2] for task in _tasks(office, "--connection", "here")} == {"here"}
    assert {task.rpartition("@")[2].partition("/")[0] for task in _tasks(office)} == {"here", "cloud"}
    said = office.run("--connection", "cloud", "--check", "aws.iam.password-policy-*")
    assert said.code == 0
    with office.sealed() as run:
        assert json.loads(run.plan())["selection"] == "checks aws.iam.password-policy-*; connections cloud"


@pytest.mark.parametrize(
    ("options", "what", "step"),
    [
        (("--check", "aws.logs.gone"), "no check matches aws.logs.gone", "affidavit list checks"),
        ((*LOGS, "--check", "zz.*"), "no check matches zz.*", "affidavit list checks"),
        (("--control", "A.99.1"), "there is no control A.99.1", "affidavit list controls"),
        (("--control", "A.7.3"), "no check is mapped to A.7.3", "affidavit list controls --json"),
        (("--connection", "away"), "there is no connection away", "choose one of cloud"),
        (("--check", "host.*"), "no check is left to run", "affidavit list checks"),
    ],
)
def test_exit_2_an_unknown_selection_names_the_next_step(
    office: Office, options: tuple[str, ...], what: str, step: str
) -> None:
    for command in ("run", "plan"):
        said = affidavit(*office.command(command, *options))
        assert (said.code, two_lines(said)) == (2, True)
        assert what in said.err.splitlines()[0]
        assert step in said.err.splitlines()[1]
    assert not office.store.exists()


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nothing",),
        ("run", "--chec", "x"),
        ("run", "--sealed"),
        ("list",),
        ("list", "secrets"),
        ("rerun",),
        ("report", "--format", "pdf"),
        ("report", "one"),
        ("verify",),
    ],
)
def test_exit_2_for_wrong_usage(argv: tuple[str, ...]) -> None:
    said = affidavit(*argv)
    assert (said.code, said.out) == (2, "")
    assert "usage:" in said.err


# ------------------------------------------------------------------------------------------------------- small commands

LOADED = """
import sys
from collector.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("argv", [("--version",), ("--help",), ("run", "--help"), ("demo", "--help")])
def test_version_and_help_import_no_sdk(argv: tuple[str, ...], tmp_path: Path) -> None:
    said = program(LOADED, *argv, cwd=tmp_path)
    assert said.code == 0
    assert (collector.__version__ if argv == ("--version",) else "usage: affidavit") in said.out
    loaded = set(said.err.split())
    assert not loaded & {"boto3", "botocore", "requests", "yaml", "moto", "kubernetes", "cryptography", "rich"}
    assert "collector" in loaded


def test_list_and_plan_import_no_sdk(office: Office) -> None:
    for argv in (("list", "checks"), office.command("plan", *LOGS)):
        said = program(LOADED, *argv)
        assert said.code == 0
        assert not set(said.err.split()) & {"boto3", "botocore", "moto", "kubernetes"}


def test_both_ways_to_start_the_program() -> None:
    for start in ([sys.executable, "-m", "collector"], [str(Path(sys.executable).parent / "affidavit")]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stdout) == (0, f"affidavit {collector.__version__}\n")


@pytest.mark.parametrize("what", ["checks", "sources", "controls", "mappings"])
def test_lists_have_one_line_for_each(office: Office, what: str) -> None:
    plain = affidavit("list", what)
    rows = affidavit("list", what, "--json").json[what]
    assert plain.code == 0
    assert len(plain.out.splitlines()) == len(rows) > 20
    name = "check" if what == "mappings" else "id"
    assert {row[name] for row in rows} <= set(plain.out.split())


def test_the_folders_of_a_configuration_are_listed_too(aws: Cloud, tmp_path: Path) -> None:
    from tests.test_rerun import add_house

    office = Office(tmp_path / "office", aws.endpoint, more="plugins: {folders: [house]}")
    add_house(office)
    assert "aws.house.named" in affidavit("list", "checks", "--config", str(office.config)).out
    assert "aws.house.named" not in affidavit("list", "checks").out


def test_plan_tells_tasks_permissions_and_itself(office: Office) -> None:
    told = affidavit(*office.command("plan", "--json", *LOGS)).json
    assert told["schema"] == "affidavit.plan-view/1"
    assert [task["id"].partition("@")[0] for task in told["tasks"]] == [
        "aws.sts.caller-identity", "aws.logs.groups", "aws.logs.groups",
    ]  # fmt: skip
    assert {check["id"] for check in told["checks"]} == {"aws.logs.retention", "aws.logs.encryption"}
    rights = affidavit(*office.command("plan", "--permissions", *LOGS)).json
    assert rights["aws"]["Statement"][0]["Action"] == ["logs:DescribeLogGroups", "sts:GetCallerIdentity"]
    assert not office.store.exists()


def test_reports_are_written_where_they_are_wanted(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    assert office.run(*LOGS).code == 1
    monkeypatch.chdir(office.folder)
    assert affidavit("report", "--format", "html").out == "report-1.html\n"
    assert "<html" in (office.folder / "report-1.html").read_text()
    table = affidavit("report")
    assert "aws.logs.retention" in table.out
    assert affidavit("report", "-o", "table.txt").code == 0
    assert (office.folder / "table.txt").read_text() == table.out
    assert affidavit("report", "--format", "json", "-o", "r.json").out == "r.json\n"
    assert json.loads((office.folder / "r.json").read_text())["run"] == 1
    assert affidavit("report", "7").code == 2


def test_daemon_needs_schedules(office: Office) -> None:
    said = affidavit(*office.command("daemon"))
    assert (said.code, two_lines(said)) == (2, True)
    assert "has no daemon section" in said.err


def test_signal_handlers_are_put_back(office: Office) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert office.run("--check", "aws.iam.password-policy-*").code == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_every_command_has_a_function_and_no_other_is_named() -> None:
    names = set()
    choices = cli.parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert choices is not None
    for name, command in dict(choices).items():  # type: ignore[call-overload]
        groups = [action for action in command._actions if action.dest == "action"]
        for action in groups[0].choices if groups else [""]:
            said = affidavit(name, *([action] if action else []), "--help")
            assert (said.code, said.out.startswith("usage: affidavit")) == (0, True)
            names.add(f"{name} {action}".strip())
            assert callable(function(f"{name} {action}".strip()))
    assert names == set(COMMANDS)


# ------------------------------------------------------------------------------------------- what a person gets wrong

TYPED = {
    "a period that ends before it begins": (
        "observe --from 2026-02-01 --to 2026-01-01", "ends before it begins", "correct --from and --to"),
    "a bundle of one": ("bundle --from 2026-02-01 --to 2026-01-01 -o b", "ends before it begins", "correct --from"),
    "a report of one": ("report --from 2026-02-01 --to 2026-01-01", "ends before it begins", "correct --from"),
    "a calendar of one": ("continuity --from 2026-02-01 --to 2026-01-01", "ends before it begins", "correct --from"),
    "a day no clock comes to": ("report --from 2026-01-01 --to 9999-12-31", "9999-12-31 is too far", "1970 to 9998"),
    "a day before all clocks": ("status --as-of 0001-01-01T00:00:00+05:00", "is too far from now", "1970 to 9998"),
    "a statement beyond them": (
        "attach --statement s --control A.5.4 --by me --valid-until 9999-12-31", "9999-12-31 is too far", "1970"),
    "a statement that says nothing": (
        "attach --statement _ --control A.5.4 --by me --valid-until 2026-12-31", "nothing is attached", "--statement"),
    "a pause nobody decided": ("pause --from 2026-02-01 --to 2026-02-02 --by _ --reason r", "a pause needs", "--by"),
    "a pause without a why": ("pause --from 2026-02-01 --to 2026-02-02 --by me --reason _", "a pause needs", "--by"),
    "bytes that are no text": (
        "waive aws.logs.retention --resource \udcff --until 2026-12-31 --reason r --by b", r"'\udcff' is not UTF-8",
        "UTF-8"),
}  # fmt: skip
"""What is typed (``_`` is a blank), and words of what is said to it."""


@pytest.mark.parametrize("kind", TYPED)
def test_what_is_typed_wrong_is_told_before_there_is_a_store(office: Office, kind: str) -> None:
    line, what, step = TYPED[kind]
    said = affidavit(*(" " if word == "_" else word for word in office.command(*line.split())))
    assert (said.code, two_lines(said)) == (2, True), said
    error, following = said.err.splitlines()
    assert what in error
    assert step in following
    assert not office.store.exists()


@pytest.mark.parametrize("line", [
    "status", "report", "leavers", "attachments", "observe --from 2026-01-01 --to 2026-01-02",
    "continuity --from 2026-01-01 --to 2026-01-02",
])  # fmt: skip
def test_before_the_first_run_it_is_said_how_to_make_one(office: Office, line: str) -> None:
    said = affidavit(*office.command(*line.split()))
    assert (said.code, said.out) == (2, "")
    assert said.err == f"error: there is no store at {office.store} yet\nnext:  make it with: affidavit run\n"


def test_a_result_that_cannot_be_written_says_where(office: Office, tmp_path: Path) -> None:
    assert office.run(*LOGS).code == 1
    told = ("attach", "--statement", "s", "--control", "A.5.4", "--by", "me", "--valid-until", "2099-01-01")
    assert affidavit(*office.command(*told)).code == 0
    leaf = affidavit(*office.command("attachments", "--json")).json["attachments"][0]["leaf"]
    nowhere, full = str(tmp_path / "nowhere" / "file"), tmp_path / "full"
    full.write_text("x")
    for line in (
        office.command("report", "--output", nowhere), office.command("report", "--format", "html", "-o", nowhere),
        office.command("report", "--format", "json", "-o", str(tmp_path)),
        office.command("attachments", "--save", str(leaf), "-o", nowhere),
        ("disclose", str(office.store), "--run", "1", "--reply", "0", "-o", nowhere),
        ("registers", "init", str(full)), ("demo", "--keep", str(full)),
    ):  # fmt: skip
        said = affidavit(*line)
        assert (said.code, two_lines(said)) == (2, True), (line, said)
        assert "write" in said.err.splitlines()[0] or "written" in said.err.splitlines()[0], said
        assert "next:  name a " in said.err


def test_checks_to_judge_with_must_be_a_folder(office: Office) -> None:
    said = affidavit("rerun", str(office.store), "--checks", str(office.config))
    assert (said.code, two_lines(said)) == (2, True)
    assert said.err.endswith("is not a folder\nnext:  name a folder of check modules with --checks\n")


def test_a_status_that_is_not_verified_says_why(office: Office) -> None:
    assert office.run(*LOGS).code == 1
    (office.store / "runs/00000001/note.txt").write_text("added")
    said = affidavit(*office.command("status"))
    assert said.code == 4
    assert "seal: NOT VERIFIED" in said.out
    assert said.err.startswith("problem: runs/00000001/note.txt: ")
    assert said.err.endswith("; affidavit verify shows everything that is wrong\n")


def test_roots_that_hold_no_certificate_are_wrong_usage(office: Office) -> None:
    assert office.run(*LOGS).code in (0, 1)
    shown = ("report", "--store", str(office.store), "--key", office.fingerprint)
    for command in (("verify", str(office.store)), shown):
        said = affidavit(*command, "--tsa-roots", str(office.config))
        assert two_lines(said)
        assert said.code == 2
        assert said.err.startswith(f"error: {office.config} holds no PEM certificate\n")


def test_a_short_passphrase_is_warned_of(tmp_path: Path) -> None:
    for secret, warned in (("pw", True), ("seven77", True), ("eight888", False)):
        (tmp_path / "secret").touch(mode=0o600)
        (tmp_path / "secret").write_text(secret)
        said = affidavit("key", "new", str(tmp_path / secret), "--secret", f"file:{tmp_path / 'secret'}")
        assert said.code == 0, said.err
        assert said.out.startswith("key fingerprint ")
        assert (f"warning: the passphrase has {len(secret)} characters" in said.err) is warned
        assert secret not in said.err.replace(str(tmp_path / secret), "")
