"""``affidavit demo --keep DIR`` holds its story and leaves what an auditor takes away."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from collector.demo import estate, registers, story
from collector.errors import ConfigError
from collector.registers.shape import NAMES
from evidence_store.store import Store
from tests.small_cloud import Said, affidavit, clean_environment, files_of, two_lines


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, Path]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    done = subprocess.run(
        [sys.executable, "-m", "collector", "demo", "--keep", str(folder)],
        capture_output=True, text=True, timeout=150, env=clean_environment(),
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr), folder


@pytest.fixture(scope="module")
def taken(told: tuple[Said, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The store and the fingerprint, on another desk."""
    desk = tmp_path_factory.mktemp("auditor")
    shutil.copytree(told[1] / "store", desk / "store")
    return desk, (told[1] / "fingerprint").read_text().strip()


def test_the_story_holds(told: tuple[Said, Path]) -> None:
    said, folder = told
    assert said.code == 0, said.err
    assert [int(number) for number in re.findall(r"^(\d+)\. ", said.out, re.MULTILINE)] == list(range(1, 9))
    assert re.search(r"All \d\d+ planted faults were found, and all \d\d\d planted virtues hold", said.out)
    assert re.search(
        r"One bit of one sealed reply is flipped in a copy; verify says:\n   runs/\S+/objects\.pack", said.out
    )
    assert re.search(r"buckets that passed are now UNKNOWN, none vanished", said.out)
    assert f"Read it: {folder / 'report.html'}" in said.out


def test_the_story_names_who_left_and_can_still_get_in(told: tuple[Said, Path]) -> None:
    screen = told[0].out.partition("4. Who left")[2].partition("\n5. ")[0]
    assert re.findall(r"^(p-\S+)  left on \S+, (\d+) days before", screen, re.MULTILINE) == [(registers.GONE, "23")]
    ways = re.findall(r"^  demo: (.+)\n +matched: (.+)\n((?: +reply .+\n)+)", screen, re.MULTILINE)
    assert [(held.split(" ")[1], how) for held, how, _ in ways] == [
        ("IAM", "declared in identities.csv"), ("access", "declared in identities.csv"),
    ]  # fmt: skip
    assert all(estate.LEAVER in held for held, _, _ in ways)
    assert [re.findall(r"iam:\w+", replies) for _, _, replies in ways] == [
        ["iam:GetCredentialReport"], ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"],
    ]  # fmt: skip
    assert screen.count("register:read") == 2


def test_the_registers_have_no_fault_and_leave_no_gap(told: tuple[Said, Path], taken: tuple[Path, str]) -> None:
    checked = affidavit("registers", "check", str(told[1] / "registers"), "--json").json
    assert (checked["faults"], len(checked["terms"])) == ([], 1)
    assert {f"{name}.csv" for name in NAMES} <= set(checked["rows"])
    assert min(checked["rows"].values()) > 0
    report = affidavit("report", "--store", str(taken[0] / "store"), "--key", taken[1], "--format", "json").json
    unread = [row for row in report["gaps"] if "register" in json.dumps(row)]
    unread += [
        row for row in report["findings"]
        if row["check"].startswith(("register.", "joins.")) and row["outcome"] in ("UNKNOWN", "ERROR")
    ]  # fmt: skip
    assert unread == []


def test_what_is_planted_in_the_registers(tmp_path: Path) -> None:
    planted = registers.write(tmp_path / "registers").expected
    outcomes = Counter(item["outcome"] for item in planted if item["check"].startswith("register."))
    assert 10 <= outcomes["FAIL"] <= 15
    assert outcomes["PASS"] >= 20


def test_a_statement_stands_beside_the_machine_evidence(taken: tuple[Path, str]) -> None:
    desk, fingerprint = taken
    report = affidavit("report", "--store", str(desk / "store"), "--key", fingerprint, "--format", "json").json
    [minutes] = report["attachments"]
    assert (minutes["name"], minutes["state"], minutes["flags"]) == ("minutes.md", "valid", [])
    [control] = [one for one in report["controls"] if (one["framework"], one["id"]) == ("iso-27001", "A.5.4")]
    assert control["human"] == [minutes["leaf"]]
    assert control["evidence"] == "human evidence only"


def test_it_leaves_what_others_script_against(told: tuple[Said, Path]) -> None:
    _, folder = told
    kept = ("config.yaml", "registers/people.csv", "store/STORE.json", "fingerprint", "report.html", "expected.json")
    for name in kept:
        assert (folder / name).is_file(), name
    assert re.fullmatch(r"[0-9a-f]{64}\n", (folder / "fingerprint").read_text())
    page = (folder / "report.html").read_text()
    assert page.startswith(("<!doctype html>", "<!DOCTYPE html>"))
    assert len(json.loads((folder / "expected.json").read_text())) > 100


def test_an_auditor_verifies_reperforms_and_reads_it_elsewhere(
    taken: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, fingerprint = taken
    monkeypatch.chdir(desk)
    assert affidavit("verify", "store", "--key", fingerprint).code == 0
    again = affidavit("rerun", "store", "--key", fingerprint, "--json")
    assert again.code == 0
    assert again.json["equal"] is True
    assert again.json["findings"] > 400
    report = affidavit("report", "--store", "store", "--key", fingerprint, "--format", "json")
    assert report.code == 0
    assert report.json["seal"]["words"] == "verified"
    assert {control["result"] for control in report.json["controls"]} <= {
        "met", "exceptions", "no_occurrence", "not_collected",
    }  # fmt: skip


def test_every_planted_fault_is_in_the_sealed_report(told: tuple[Said, Path], taken: tuple[Path, str]) -> None:
    desk, fingerprint = taken
    report = affidavit("report", "--store", str(desk / "store"), "--key", fingerprint, "--format", "json").json
    said: dict[tuple[str, str], set[str]] = {}
    for finding in report["findings"]:
        said.setdefault((finding["check"], finding["resource"]), set()).add(finding["outcome"])
    expected = json.loads((told[1] / "expected.json").read_text())
    assert [e for e in expected if e["outcome"] not in said.get((e["check"], e["resource"]), ())] == []


def test_no_planted_secret_is_in_the_store(taken: tuple[Path, str]) -> None:
    desk, _ = taken
    secrets = [b"correct-horse-battery-staple", b"not-for-evidence", b"Demo-passw0rd!"]
    seeder = Path(estate.__file__).read_bytes()
    assert all(secret in seeder for secret in secrets)
    kept = b"".join(files_of(desk / "store").values())
    with Store.open(desk / "store") as store:
        run = store.run()
        bodies = [run.object(line["sha256"]) for line in run.replies() if line["sha256"]]
        kept += b"".join(bodies) + json.dumps([*run.replies(), *run.results()]).encode() + run.plan()
    assert len(bodies) > 150
    assert not [secret for secret in secrets if secret in kept]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    said = affidavit("demo", "--keep", str(tmp_path))
    assert (said.code, two_lines(said)) == (2, True)
    assert files_of(tmp_path) == {"mine.txt": b"mine"}


def test_without_the_emulator_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(story, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs the emulator") as error:
        story.tell(tmp_path / "new")
    assert "affidavit[demo]" in error.value.next_step
    assert not (tmp_path / "new").exists()
