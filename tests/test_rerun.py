"""A sealed run comes to the same findings again, offline and at another time; what differs is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.errors import RerunError
from collector.rerun import Difference, rerun
from tests.small_cloud import ALL, Office, Said, affidavit, cloud, program, two_lines

HOUSE = '''\
"""A check of the house."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source("aws.house.groups", key="logGroupName", per="region", permissions=("logs:DescribeLogGroups",))
def groups(aws: Aws) -> Iterator[Row]:
    """Every log group of the region."""
    yield from aws.pages("logs", "describe_log_groups", rows="logGroups")


@check("aws.house.named", title="Groups are named", severity="low", each="aws.house.groups")
def named(group: Record, *, starts: str = "/") -> Verdict:
    """The name starts as agreed."""
    return ok("it is") if group["logGroupName"].startswith(starts) else fail("it is not")
'''

HOUSE_EXAMPLES = """\
aws.house.named:
  - {outcome: pass, row: {logGroupName: /app}}
  - {outcome: fail, row: {logGroupName: app}}
  - {outcome: unknown, row: {logGroupName: {$gap: {kind: denied, reason: it was refused, operation: "logs:X"}}}}
"""

ELSEWHERE = """
import datetime, socket, sys, time

def hook(event, args):
    if event.startswith("socket."):
        raise RuntimeError(f"{event} {args}")
sys.addaudithook(hook)
shift = float(sys.argv.pop(1))
real = time.time
time.time = lambda: real() + shift

class Elsewhere(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=shift)

    @classmethod
    def utcnow(cls):
        return super().utcnow() + datetime.timedelta(seconds=shift)

datetime.datetime = Elsewhere
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except RuntimeError:
    pass
else:
    sys.exit("the hook does not hold")
from collector.cli import main
sys.exit(main(sys.argv[1:]))
"""


def add_house(office: Office) -> None:
    """A folder of checks of the house's own, as its configuration names it."""
    (office.folder / "house" / "examples").mkdir(parents=True)
    (office.folder / "house" / "groups.py").write_text(HOUSE)
    (office.folder / "house" / "examples" / "groups.yaml").write_text(HOUSE_EXAMPLES)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A store with two sealed runs; tests only read it."""
    with cloud() as aws:
        made = Office(tmp_path_factory.mktemp("rerun") / "office", aws.endpoint)
        assert made.run(*ALL).code == 1
        aws.refuse("DescribeLogGroups", "AccessDeniedException", 400, page=1)
        assert made.run(*ALL).code == 3
    return made


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of checks and mappings that is used in place of ours."""
    for name in ("checks", "mappings"):
        shutil.copytree(
            plugins.content_root() / name, tmp_path / "content" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    monkeypatch.setattr("collector.plugins.content_root", lambda: tmp_path / "content")
    return tmp_path / "content"


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), "utf8")


@pytest.mark.parametrize("days", [-400, 4000])
def test_equal_findings_without_a_network_and_at_another_time(office: Office, tmp_path: Path, days: int) -> None:
    for number, replies in (("1", 6), ("2", 6)):
        said = program(ELSEWHERE, str(days * 86400), "rerun", str(office.store), number, "--json", cwd=tmp_path)
        assert said.code == 0, said
        told = said.json
        assert told["schema"] == "affidavit.rerun/1"
        assert told["equal"] is True
        assert (told["run"], told["replies"], told["differences"], told["unused"]) == (int(number), replies, [], 0)
        assert told["findings"] == len(office.lines("finding", int(number)))


def test_the_newest_complete_run_is_taken_and_the_key_is_checked_first(office: Office) -> None:
    said = office.rerun("--key", office.fingerprint)
    assert (said.code, said.out) == (
        0, "run 2: 15 findings from 6 replies re-performed offline, all equal\n",
    )  # fmt: skip
    wrong = office.rerun("--key", "ab" * 32)
    assert (wrong.code, two_lines(wrong)) == (4, True)
    assert "the store does not verify" in wrong.err


def test_a_changed_check_is_named_with_the_findings_that_differ(office: Office, content: Path) -> None:
    _edit(content / "checks/aws/logs.py", "min_days: int = 365", "min_days: int = 365, extra: int = 0")
    _edit(content / "checks/aws/logs.py", "if days < min_days else", "if days < min_days + 100 else")
    said = office.rerun("1")
    assert said.code == 4
    lines = said.out.splitlines()
    findings = [line for line in lines if line.startswith("finding")]
    assert len(findings) == 8
    assert all(line.startswith("finding aws.logs.retention /eu-") for line in findings)
    assert all("sealed PASS, now FAIL" in line for line in findings)
    assert any(line.startswith("control") for line in lines)
    assert lines[-1].startswith("run 1: 19 findings from 6 replies re-performed offline, ")
    assert lines[-1].endswith("lines differ")
    assert "note: checks/aws/logs.py is not the one the run was made with" in said.err
    assert office.rerun("1", "--json").json["changedCode"] == ["checks/aws/logs.py"]
    sealed = office.rerun("1", "--sealed-code", "--json")
    assert (sealed.code, sealed.json["equal"], sealed.json["changedCode"]) == (0, True, [])


def test_a_source_that_asks_for_less_leaves_replies_unused(office: Office, content: Path) -> None:
    _edit(
        content / "checks/aws/logs.py",
        'yield from aws.pages("logs", "describe_log_groups", rows="logGroups")',
        'aws.pages("logs", "describe_log_groups", rows="logGroups")\n    yield from ()',
    )
    said = office.rerun("1")
    assert said.code == 4
    assert "4 recorded replies were not asked for" in said.out


def test_a_changed_mapping_is_named_and_changes_nothing(office: Office, content: Path) -> None:
    path = next(path for path in (content / "mappings" / "iso-27001").glob("*.yaml"))
    path.write_text(path.read_text("utf8") + "\n# later\n", "utf8")
    said = office.rerun("1")
    assert said.code == 0
    assert f"note: mappings/iso-27001/{path.name} is not the one the run was made with" in said.err


def test_what_is_not_installed_any_more_is_said_with_the_way_out(office: Office, content: Path) -> None:
    shutil.rmtree(content / "mappings" / "iso-27001")
    (content / "checks/aws/logs.py").unlink()
    said = office.rerun("1")
    assert (said.code, two_lines(said)) == (4, True)
    assert "the run used the check aws.logs.encryption, which is not installed" in said.err
    assert "--sealed-code" in said.err
    assert office.rerun("1", "--sealed-code").code == 0


def test_checks_of_a_house_are_sealed_and_reperformed_from_the_seal(tmp_path: Path) -> None:
    with cloud() as aws:
        office = Office(tmp_path / "office", aws.endpoint, more="plugins: {folders: [house]}")
        add_house(office)
        said = office.run("--check", "aws.house.*")
    assert said.code == 0, said
    assert {finding["outcome"] for finding in office.lines("finding")} == {"PASS"}
    shutil.rmtree(office.folder / "house")
    assert office.rerun().code == 4
    assert office.rerun("--sealed-code").code == 0


def test_a_body_that_was_altered_stops_the_rerun(office: Office, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(office.store, copy)
    pack = copy / "runs/00000001/objects.pack"
    content = bytearray(pack.read_bytes())
    content[-20] ^= 1  # replies stand behind the code that read them
    pack.chmod(0o600)
    pack.write_bytes(content)
    said = affidavit("rerun", str(copy), "1")
    assert (said.code, two_lines(said)) == (4, True)
    assert "runs/00000001/objects.pack" in said.err


def test_a_run_that_is_not_there_or_not_complete_is_refused(office: Office) -> None:
    assert [office.rerun("9").code, affidavit("rerun", "/nowhere").code] == [2, 2]

    class Aborted:
        number, state = 3, "aborted"

    with pytest.raises(RerunError, match="run 3 is aborted: it concluded nothing"):
        rerun(Aborted())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "affidavit.plan/9"}, "the plan is of schema 'affidavit.plan/9'"),
        ({"files": [{"file": "../../evil", "sha256": "0" * 64}]}, "names a file outside its folder: ../../evil"),
        ({"files": [{"file": "/etc/evil", "sha256": "0" * 64}]}, "names a file outside its folder: /etc/evil"),
    ],
)
def test_a_plan_that_cannot_be_trusted_is_refused(office: Office, change: dict[str, object], words: str) -> None:
    with office.sealed(1) as run:

        class Forged:
            def plan(self) -> bytes:
                return json.dumps({**json.loads(run.plan()), **change}).encode()

            def __getattr__(self, name: str) -> Any:
                return getattr(run, name)

        with pytest.raises(RerunError, match=words):
            rerun(Forged())  # type: ignore[arg-type]


def test_a_difference_names_what_it_is_about() -> None:
    finding = {"kind": "finding", "check": "t.a", "resource": "r", "scope": "s", "outcome": "PASS", "reason": "fine"}
    assert str(Difference(finding, {**finding, "outcome": "FAIL"})) == "finding t.a r s: sealed PASS, now FAIL"
    assert str(Difference(finding, None)) == "finding t.a r s: sealed PASS, now absent"
    assert str(Difference(None, finding)) == "finding t.a r s: sealed absent, now PASS"
    assert str(Difference(finding, {**finding, "reason": "good"})).endswith("now PASS (fine / good)")


def test_other_commands_tell_the_state_of_the_same_store(office: Office) -> None:
    verified = affidavit("verify", str(office.store), "--key", office.fingerprint)
    assert verified.code == 0
    assert _last_code(affidavit("verify", str(office.store))) == 4
    assert affidavit("verify", str(office.store), "--key", "cd" * 32).code == 4
    assert affidavit("verify", str(office.store), "--key", "not a key").code == 2


def _last_code(said: Said) -> int:
    assert "the signer is not authenticated" in said.out
    return said.code
