"""``attach``, ``attachments``, ``waive``, ``status`` and ``controls``, as people use them, to the auditor's bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import evidence_store
from evidence_store.store import Store
from tests.small_cloud import ALL, Cloud, Office, Said, affidavit, cloud, two_lines

HERE = Path(evidence_store.__file__)
TODAY = datetime.now(UTC).date()
LATER = (TODAY + timedelta(days=200)).isoformat()
FOR = ("--valid-until", LATER, "--by", "J. Doe")
LENGTH = "aws.iam.password-policy-length"


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud(password_length=8) as made:
        yield made


@pytest.fixture(scope="module")
def collected(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Office:
    """An office with one run, in which the password policy fails."""
    made = Office(tmp_path_factory.mktemp("statements") / "office", aws.endpoint)
    assert made.run(*ALL).code == 1
    return made


@pytest.fixture
def office(collected: Office, tmp_path: Path) -> Office:
    """The same, to be written to."""
    shutil.copytree(collected.folder, tmp_path / "office")
    made = object.__new__(Office)
    made.folder, made.fingerprint = tmp_path / "office", collected.fingerprint
    made.config, made.store = made.folder / "config.yaml", made.folder / "store"
    return made


def do(office: Office, name: str, *options: str) -> Said:
    return affidavit(*office.command(name, *options))


def report(office: Office, *options: str) -> dict:  # type: ignore[type-arg]
    said = do(office, "report", "--format", "json", *options)
    assert said.code == 0, said
    return dict(said.json)


def control(told: dict, number: str) -> dict:  # type: ignore[type-arg]
    return next(row for row in told["controls"] if (row["framework"], row["id"]) == ("iso-27001", number))


def test_a_file_is_sealed_listed_shown_and_given_back(office: Office, tmp_path: Path) -> None:
    policy = tmp_path / "policy.pdf"
    policy.write_bytes(b"%PDF the policy")
    said = do(office, "attach", str(policy), "--control", "A.5.1", "--control", "iso-27001:A.5.2", "--role", "CISO",
              "--title", "Policy, version 4", *FOR)  # fmt: skip
    assert said.code == 0, said
    assert "leaf 3: Policy, version 4, 15 bytes, for A.5.1, A.5.2, by J. Doe" in said.out
    assert office.verify().ok
    (one,) = do(office, "attachments", "--json").json["attachments"]
    assert (one["state"], one["words"], one["flags"]) == ("valid", "valid", [])
    assert one["sha256"] == hashlib.sha256(b"%PDF the policy").hexdigest()
    told = report(office)
    for number in ("A.5.1", "A.5.2"):
        row = control(told, number)
        assert (row["result"], row["evidence"], row["human"]) == ("not_collected", "human evidence only", [3])
    text = do(office, "report").out
    assert "What people state: beside the evidence of systems, never part of a verdict" in text
    assert "Policy, version 4" in text
    back = tmp_path / "back.pdf"
    assert do(office, "attachments", "--save", "3", "-o", str(back)).code == 0
    assert back.read_bytes() == b"%PDF the policy"
    assert do(office, "attachments", "--save", "3", "-o", str(back)).code == 2, "nothing is overwritten"
    assert do(office, "attachments", "--save", "2", "-o", str(tmp_path / "x")).code == 2


def test_several_files_are_several_leaves_and_words_are_one(office: Office, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.txt", "b.txt")]
    for path in files:
        path.write_text(path.name)
    assert do(office, "attach", *map(str, files), "--control", "A.6.3", *FOR).code == 0
    past = (TODAY - timedelta(days=90)).isoformat()
    said = do(office, "attach", "--statement", "All were trained.", "--control", "A.6.3", "--effective", past, *FOR)
    assert said.code == 0
    assert "note: leaf 5: effective 9" in said.err
    assert "days before it was recorded" in said.err
    listed = do(office, "attachments")
    assert "3 attachments, 3 of them valid" in listed.out
    assert "    effective 9" in listed.out
    with Store.open(office.store) as store:
        assert [leaf.kind for leaf in store.leaves[3:]] == ["attachment"] * 3
        assert store.attached(hashlib.sha256(b"All were trained.").hexdigest()) == b"All were trained."
    observed = do(office, "observe", "--from", past, "--to", LATER)
    assert "dates of a statement: leaf 5: All were trained.: effective 9" in observed.out


def test_what_was_stated_is_withdrawn_by_a_later_leaf_once(office: Office) -> None:
    assert do(office, "attach", "--statement", "Trained.", "--control", "A.6.3", *FOR).code == 0
    assert do(office, "attach", "--withdraw", "3", "--by", "R. Roe", "--reason", "one was not").code == 0
    (one,) = do(office, "attachments", "--json").json["attachments"]
    assert one["words"] == "withdrawn under leaf 4 by R. Roe: one was not"
    told = report(office)
    assert control(told, "A.6.3")["evidence"] == "human evidence, none of it valid"
    assert ("attachment withdrawn", 4) in {(row["what"], row.get("leaf")) for row in told["suppressions"]}
    again = do(office, "attach", "--withdraw", "3", "--by", "R. Roe", "--reason", "again")
    assert (again.code, two_lines(again)) == (2, True)
    assert do(office, "waive", "--withdraw", "3", "--by", "R. Roe", "--reason", "x").code == 2, "it is no waiver"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--statement", "x", "--control", "A.5.99", *FOR), "write A.5.9"),
        (("--statement", "x", "--control", "A.9.2.3", *FOR), "write A.8.2, which took its place"),
        (("--statement", "x", "--control", "5.1", *FOR), "iso-27002/2022:5.1"),
        (("--statement", "x", "--control", "iso-27001:5.99", *FOR), "write"),
        (("--statement", "x", "--control", "A.5.1", "--by", "J. Doe"), "--valid-until"),
        (("--statement", "x", *FOR), "--control"),
        (("--statement", "x", "--control", "A.5.1", "--valid-until", LATER), "--by"),
        (("--control", "A.5.1", *FOR), "name files"),
        (("nowhere.pdf", "--control", "A.5.1", *FOR), "name a file"),
        (("nowhere.pdf", "--statement", "x", "--control", "A.5.1", *FOR), "name files"),
        (("--statement", "x", "--control", "A.5.1", "--effective", "tomorrow", *FOR), "2026-03-31"),
    ],
)
def test_what_cannot_be_stated_is_refused_and_nothing_is_written(
    collected: Office, options: tuple[str, ...], words: str
) -> None:
    said = do(collected, "attach", *options)
    assert (said.code, two_lines(said)) == (2, True), said
    assert words in said.err.split("\n")[1]
    assert len(list((collected.store / "log/checkpoints").iterdir())) == 3


def test_a_waiver_stands_beside_the_finding_and_ends(office: Office) -> None:
    resource = next(line["resource"] for line in office.lines("finding") if line["check"] == LENGTH)
    said = do(office, "waive", LENGTH, "--resource", resource, "--until", LATER, "--reason", "new policy is coming",
              "--by", "J. Doe", "--ticket", "CHG-7")  # fmt: skip
    assert said.code == 0, said
    assert f"is waived until {LATER}" in said.out
    assert "newest run holds no FAIL" not in said.err
    assert office.verify().ok
    told = report(office)
    (finding,) = [row for row in told["findings"] if row["check"] == LENGTH]
    assert (finding["outcome"], finding["waiver"]["state"], finding["waiver"]["leaf"]) == ("FAIL", "active", 3)
    assert told["waived"] == 1
    assert control(told, "A.5.17")["result"] == "exceptions"
    assert control(told, "A.5.17")["waived"] == 1
    text = do(office, "report").out
    assert f"exceptions, waived: 1 of {told['counts']['FAIL']}" in text
    assert f"[waiver, leaf 3 by J. Doe, until {LATER}: new policy is coming]" in text
    past_it = (TODAY + timedelta(days=201)).isoformat()
    assert report(office, "--as-of", past_it)["waived"] == 0
    assert do(office, "status").code == 1, "a waiver makes nothing conform"
    assert do(office, "waive", "--withdraw", "3", "--by", "J. Doe", "--reason", "mended").code == 0
    assert report(office)["waived"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("aws.iam.password-policy-lenght", "--resource", "x", "--until", LATER), f"write {LENGTH}"),
        ((LENGTH, "--until", LATER), "what is let stand"),
        ((LENGTH, "--resource", "x"), "what is let stand"),
        ((LENGTH, "--resource", "x", "--until", "2020-01-01"), "a later day"),
        ((LENGTH, "--resource", "x", "--until", "2099-01-01"), "change its limit"),
    ],
)
def test_a_waiver_of_nothing_or_for_ever_is_refused(collected: Office, options: tuple[str, ...], words: str) -> None:
    said = do(collected, "waive", *options, "--by", "J. Doe", "--reason", "why")
    assert (said.code, two_lines(said)) == (2, True), said
    assert words in said.err.split("\n")[1]


def test_a_waiver_of_what_does_not_fail_is_told(office: Office) -> None:
    said = do(office, "waive", LENGTH, "--resource", "nobody", "--until", LATER, "--by", "J. Doe", "--reason", "why")
    assert said.code == 0
    assert "the newest run holds no FAIL that it speaks of" in said.err


def test_diff_tells_of_a_waiver_between_two_runs(office: Office, aws: Cloud) -> None:
    resource = next(line["resource"] for line in office.lines("finding") if line["check"] == LENGTH)
    do(office, "waive", LENGTH, "--resource", resource, "--until", LATER, "--reason", "coming", "--by", "J. Doe")
    assert office.run(*ALL).code == 1
    said = affidavit("diff", str(office.store), "1", "2")
    assert said.code == 0, said
    assert f"waived: {LENGTH} {resource} under leaf 3 by J. Doe" in said.out


def test_status_tells_how_the_newest_run_stands_now(collected: Office) -> None:
    now = do(collected, "status", "--json")
    assert now.code == 1
    assert now.json["standing"] == now.json["counts"]
    assert now.json["stale"] == []
    later = do(collected, "status", "--as-of", LATER, "--json")
    assert later.code == 3, "stale evidence tells nothing"
    assert later.json["counts"] == now.json["counts"]
    assert later.json["standing"]["UNKNOWN"] == sum(now.json["counts"].values())
    assert {row["limit_h"] for row in later.json["stale"]} == {26}
    text = do(collected, "status", "--as-of", LATER).out
    assert "stale:       aws.logs.groups in cloud/eu-central-1: last read" in text
    shown = do(collected, "report", "--as-of", LATER)
    assert shown.code == 0
    assert "STALE: as of" in shown.out


def test_a_longer_age_is_sealed_with_the_run(aws: Cloud, tmp_path: Path) -> None:
    made = Office(tmp_path / "office", aws.endpoint)
    made.config.write_text(made.config.read_text().replace("{attempts: 1,", "{attempts: 1, max_age_h: 8000,"))
    assert made.run(*ALL).code == 1
    assert do(made, "status", "--as-of", LATER).code == 1
    made.config.write_text(made.config.read_text().replace("8000", "1"))
    assert do(made, "status", "--as-of", LATER).code == 1, "the run was sealed with the other limit"


def test_controls_are_found_by_their_older_numbers_too() -> None:
    said = affidavit("controls", "A.9.2.3", "--json")
    (row,) = said.json["controls"]
    assert (row["framework"], row["id"]) == ("iso-27001", "A.8.2")
    assert [one["id"] for one in row["formerly"]] == ["A.9.2.3"]
    assert "aws.iam.root-mfa" in row["checks"]
    cloud_control = affidavit("controls", "iso-27017/2026:5.38", "--json").json["controls"]
    assert [one["id"] for one in cloud_control[0]["formerly"]] == ["CLD.6.3.1"]
    assert "formerly A.9.2.3 (2013" in affidavit("controls", "A.8.2").out
    assert len(affidavit("controls", "--json").json["controls"]) > 250
    assert affidavit("controls", "A.99.1").code == 2


def bundle(office: Office, out: Path, *options: str) -> dict:  # type: ignore[type-arg]
    said = do(office, "bundle", "--from", "2020-01-01", "--to", "2099-12-31", "-o", str(out), "--json", *options)
    assert said.code == 0, said
    return dict(said.json)


def verified(office: Office, out: Path) -> None:
    """All ways to verify say the same."""
    key = office.fingerprint
    assert affidavit("verify", str(out), "--key", key).code == 0
    alone = [sys.executable, "-I", str(out / "verify/verify.py"), str(out), "--key", key]
    shell = ["sh", str(out / "verify/verify.sh"), "--key", key, str(out)]
    for command in (alone, shell):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    if node := shutil.which("node"):
        asked = json.dumps({"path": str(out), "key": key})
        script = Path(__file__).parent / "evidence_store/js/verify.mjs"
        done = subprocess.run([node, str(script)], input=asked, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout)
        assert (found["result"], found["problems"]) == ("verified", [])


def test_a_bundle_holds_what_was_stated_and_all_verifiers_agree(office: Office, tmp_path: Path) -> None:
    policy, training = b"the policy of J. Doe", b"trained: R. Roe"
    for name, content, number in (("policy.txt", policy, "A.5.1"), ("training.txt", training, "A.5.17")):
        (tmp_path / name).write_bytes(content)
        assert do(office, "attach", str(tmp_path / name), "--control", number, *FOR).code == 0
    do(office, "pause", "--from", LATER, "--to", LATER, "--by", "J. Doe", "--reason", "move")
    do(office, "waive", LENGTH, "--resource", "x", "--until", LATER, "--by", "J. Doe", "--reason", "why")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in (("p", policy), ("t", training))}

    def there(out: Path) -> set[str]:
        return {name for name, sha in digests.items() if (out / "data/objects" / sha[:2] / sha).is_file()}

    whole, redacted, some = (tmp_path / name for name in ("whole", "redacted", "some"))
    assert bundle(office, whole)["withheld"] == {"replies": 0, "results": 0}
    assert there(whole) == {"p", "t"}
    told = json.loads((whole / "data/reports/report.json").read_text())
    assert [one["title"] for one in told["attachments"]] == ["policy.txt", "training.txt"]
    assert control(told, "A.5.1")["evidence"] == "human evidence only"
    assert "attachments" in bundle(office, redacted, "--redact")["withheld"]
    assert there(redacted) == set(), "nobody can tell which fields of a file are personal"
    assert bundle(office, some, "--controls", "A.5.17")["withheld"]["attachments"] == 1
    assert there(some) == {"t"}
    for out in (whole, redacted, some):
        verified(office, out)
    body = whole / "data/objects" / digests["p"][:2] / digests["p"]
    body.write_bytes(policy.replace(b"policy", b"POLICY"))
    assert affidavit("verify", str(whole), "--key", office.fingerprint).code == 4
    why = ("--basis", "request", "--approved-by", "DPO", "--config", str(office.config))
    erased = affidavit("erase", str(office.store), "--object", digests["p"], *why)
    assert erased.code == 0, erased
    assert bundle(office, tmp_path / "erased")["withheld"] == {"replies": 0, "results": 0}
    assert there(tmp_path / "erased") == {"t"}
    verified(office, tmp_path / "erased")
    (first, _) = do(office, "attachments", "--json").json["attachments"]
    assert first["state"] == "erased"


def test_a_report_of_a_period_tells_the_share_of_each_control(aws: Cloud, tmp_path: Path) -> None:
    made = Office(tmp_path / "office", aws.endpoint, more="daemon: {schedules: [{name: hourly, cron: '0 * * * *'}]}")
    assert made.run(*ALL).code == 1
    told = report(made, "--from", (TODAY - timedelta(days=3)).isoformat(), "--to", LATER)
    assert told["continuity"]["slots"] == [], "nothing was committed ahead"
    assert told["continuity"]["share"] is None
    assert "no slot was committed" in do(made, "report", "--from", "2020-01-01", "--to", LATER).out
    assert do(made, "report", "--from", "2020-01-01").code == 2, "a period has two ends"
    assert do(made, "report", "--from", "2098-01-01", "--to", "2099-01-01").code == 2
