"""``affidavit bundle``, and what an auditor does with it: verify, re-perform, hold it against an earlier head."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector import plugins
from collector import registers as registers_package
from collector.left_out import LeftOut
from collector.registers.shape import shape
from tests.small_cloud import ALL, Cloud, Office, affidavit, cloud, files_of, two_lines

TODAY = datetime.now(UTC).date().isoformat()
PERIOD = ("--from", "2020-01-01", "--to", "2099-12-31")


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A store with a complete run and one with a gap."""
    with cloud() as aws:
        made = Office(tmp_path_factory.mktemp("bundle") / "office", aws.endpoint)
        assert made.run(*ALL).code == 1
        aws.refuse("DescribeLogGroups", "AccessDeniedException", 400, page=1)
        assert made.run(*ALL).code == 3
    return made


def build(office: Office, out: Path, *options: str) -> dict[str, object]:
    """A bundle of everything the store holds."""
    said = affidavit("bundle", *PERIOD, "-c", str(office.config), "-o", str(out), "--json", *options)
    assert said.code == 0, said
    told = said.json
    assert told["schema"] == "affidavit.bundle/1"
    return dict(told)


@pytest.mark.parametrize("form", ["folder", "zip", "tar.zst"])
def test_a_bundle_verifies_and_comes_to_the_same_findings(office: Office, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"acme.{form}"
    told = build(office, out, "--form", form, "--recipient", "An Auditor")
    assert told["recipient"] == "An Auditor"
    assert told["fingerprint"] == office.fingerprint
    assert told["runs"] == {"complete": 2, "aborted": 0, "open": 0}
    said = affidavit("verify", str(out), "--key", office.fingerprint)
    assert (said.code, said.err) == (0, "")
    assert str(told["words"]) in said.out
    alone = subprocess.run(
        [sys.executable, "-m", "evidence_store", "verify", str(out), "--key", office.fingerprint, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.returncode == 0
    assert json.loads(alone.stdout)["ok"] is True
    assert affidavit("verify", str(out)).code == 4, "the signer is not authenticated"
    assert affidavit("verify", str(out), "--key", "ab" * 32).code == 4
    for number in ("1", "2"):
        again = affidavit("rerun", str(out), number, "--key", office.fingerprint, "--json")
        assert again.code == 0, again
        assert again.json["equal"] is True
        assert again.json["findings"] == len(office.lines("finding", int(number)))
    assert affidavit("rerun", str(out), "--key", "ab" * 32).code == 4
    assert affidavit("rerun", str(out), "7").code == 2


def test_reports_are_in_it_and_nothing_in_them_is_a_formula(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    told = build(office, out)
    page = (out / "data/reports/index.html").read_text("utf8")
    assert office.fingerprint in page
    assert str(told["words"]) in page
    rows = list(csv.reader(io.StringIO((out / "data/reports/findings.csv").read_text("utf-8-sig"))))
    assert len(rows) == 1 + len(office.lines("finding", 2))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert json.loads((out / "data/reports/report.json").read_text("utf8"))["seal"]["verified"] is True
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"data/code/checks/aws/logs.py", "data/config/config.yaml"} <= names
    assert any(name.startswith("data/mappings/") for name in names)


def test_what_is_not_selected_is_withheld_and_counted(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    told = build(office, out, "--controls", "A.5.17")
    assert told["selection"] == {"controls": ["A.5.17"], "scopes": []}
    withheld = told["withheld"]
    assert isinstance(withheld, dict)
    assert withheld["replies"] > 0
    assert withheld["results"] > 0
    lines = [json.loads(line) for line in (out / "data/runs/00000001/results.ndjson").read_text().splitlines()]
    hidden = [line for line in lines if "withheld" in line]
    shown = [line for line in lines if "withheld" not in line]
    assert all(set(line) == {"i", "withheld"} for line in hidden)
    assert {line["id"] for line in shown if line["kind"] == "control"} == {"A.5.17"}
    assert {line["check"] for line in shown if line["kind"] == "finding"} <= {
        "aws.iam.password-policy-length", "aws.iam.password-policy-complexity", "aws.iam.password-policy-reuse",
    }  # fmt: skip
    assert b"DescribeLogGroups" not in (out / "data/runs/00000001/manifest.ndjson").read_bytes()
    with office.sealed(1) as run:
        bodies = {line["sha256"] for line in run.replies() if "DescribeLogGroups" in line["op"]}
    assert bodies
    assert not bodies & {path.name for path in (out / "data/objects").rglob("*")}, "nor are their bodies there"
    said = affidavit("verify", str(out), "--key", office.fingerprint)
    assert said.code == 0, said
    assert "A.5.17" in said.out
    again = affidavit("rerun", str(out), "1", "--key", office.fingerprint, "--json")
    assert again.code == 0, again
    assert again.json["findings"] == len([line for line in shown if line["kind"] == "finding"])
    report = json.loads((out / "data/reports/report.json").read_text("utf8"))
    assert any("restricted to A.5.17" in warning for warning in report["seal"]["warnings"])
    assert not [gap for gap in report["gaps"] if "no record" in gap["reason"]], "what is withheld is not lost"


def test_scopes_are_selected_too(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    scopes = {line["scope"] for line in office.lines("population", 1)}
    chosen = sorted(scope for scope in scopes if "eu-west-1" in scope)[0]
    told = build(office, out, "--scopes", chosen)
    assert told["selection"] == {"controls": [], "scopes": [chosen]}
    lines = [json.loads(line) for line in (out / "data/runs/00000001/results.ndjson").read_text().splitlines()]
    findings = [line for line in lines if line.get("kind") == "finding"]
    assert findings
    assert {line["scope"] for line in findings} == {chosen}
    assert affidavit("verify", str(out), "--key", office.fingerprint).code == 0
    again = affidavit("rerun", str(out), "1", "--key", office.fingerprint, "--json")
    assert again.code == 0, again
    assert again.json["findings"] == len(findings)


def test_the_next_bundle_extends_the_head_of_the_last(office: Office, tmp_path: Path) -> None:
    first = build(office, tmp_path / "first")
    second = build(office, tmp_path / "second")
    words = str(first["words"])
    assert words != second["words"]
    said = affidavit("verify", str(tmp_path / "second"), "--key", office.fingerprint, "--since", words)
    assert said.code == 0, said
    assert "extends the head of" in said.out
    note = tmp_path / "note"
    note.write_text(str(first["head"]))
    assert affidavit("verify", str(tmp_path / "second"), "--key", office.fingerprint, "--since", str(note)).code == 0
    newer = affidavit("verify", str(tmp_path / "first"), "--key", office.fingerprint, "--since", str(second["words"]))
    assert newer.code == 4
    note.write_text(str(first["head"]).replace("\n", "\n1", 1))
    forged = affidavit("verify", str(tmp_path / "second"), "--key", office.fingerprint, "--since", str(note))
    assert forged.code == 4
    swapped = " ".join(sorted(words.split()))
    assert affidavit("verify", str(tmp_path / "second"), "--key", office.fingerprint, "--since", swapped).code in (2, 4)
    assert affidavit("verify", str(tmp_path / "second"), "--since", "one two").code == 2
    assert affidavit("verify", str(office.store), "--since", words).code == 2


def test_usage(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    build(office, out)

    def said(*options: str) -> int:
        return affidavit("bundle", "-c", str(office.config), *options).code

    assert said(*PERIOD, "-o", str(out)) == 2, "nothing is overwritten"
    assert said("--from", "2020-01-01", "--to", "2020-02-01", "-o", str(tmp_path / "x")) == 2, "nothing recorded then"
    assert said("--from", "yesterday", "--to", "2020-02-01", "-o", str(tmp_path / "x")) == 2
    assert said(*PERIOD, "-o", str(tmp_path / "x"), "--controls", "A.99") == 2
    assert said(*PERIOD, "-o", str(tmp_path / "x"), "--since", "no words") == 2
    assert not (tmp_path / "x").exists()
    assert not list(tmp_path.glob(".*")), "nothing is left behind"


def test_p9_a_store_that_does_not_verify_gives_no_bundle(office: Office, tmp_path: Path) -> None:
    pack = next(office.store.glob("runs/00000001/objects.pack"))
    good = pack.read_bytes()
    pack.write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
    try:
        said = affidavit("bundle", *PERIOD, "-c", str(office.config), "-o", str(tmp_path / "x"))
    finally:
        pack.write_bytes(good)
    assert said.code == 4
    assert not (tmp_path / "x").exists()


def test_a_selection_holds_what_its_lists_were_held_against(office: Office) -> None:
    from collector.bundling import Selection
    from collector.config import load as load_config

    library = plugins.load()
    chosen = Selection.of(load_config(office.config), ["A.5.18"], [])
    read = {name for check in chosen.checks for name in library.checks[check].datasets}
    witnesses = {check.id for check in library.checks.values() if not read.isdisjoint(check.reconciles)}
    assert witnesses
    assert witnesses <= chosen.checks
    assert read <= chosen.datasets


def test_a_count_that_is_withheld_excuses_a_weaker_basis_and_nothing_else() -> None:
    line = {"kind": "population", "task": "a@p", "dataset": "a", "scope": "p", "rows": 3, "root": "r", "gap": None,
            "replies": [0], "basis": "count-reconciled"}  # fmt: skip
    weaker = {**line, "basis": "terminal-page"}
    some, nothing = (LeftOut(frozenset(), hidden, {}) for hidden in (5, 0))
    assert some.excused([(line, weaker)], {}, frozenset()) == [True]
    assert nothing.excused([(line, weaker)], {}, frozenset()) == [False]
    for changed in ({"rows": 2}, {"root": "s"}, {"basis": "unproven", "gap": "unproven"}):
        assert some.excused([(line, {**weaker, **changed})], {}, frozenset()) == [False]
    assert some.excused([(weaker, line)], {}, frozenset()) == [False]
    by_a_source = {**line, "basis": "independent-source"}
    assert some.excused([(by_a_source, line), (by_a_source, weaker)], {}, frozenset()) == [True, True]
    assert some.excused([(line, by_a_source)], {}, frozenset()) == [False]


def test_the_schemas_of_what_was_read_are_in_it(aws: Cloud, tmp_path: Path) -> None:
    """Those of mappings and catalogues, and of registers where the configuration names any."""
    office = Office(
        tmp_path / "office", aws.endpoint, connection="  - {name: registers, kind: register, folder: registers}"
    )
    (office.folder / "registers").mkdir()
    (office.folder / "registers" / "documents.csv").write_text(",".join(shape("documents").columns) + "\n")
    assert office.run("--check", "register.documents.labelled").code == 0
    out = tmp_path / "bundle"
    build(office, out)
    found = files_of(out, ("data/mappings/schema",))
    own = plugins.content_root() / "mappings/schema"
    wanted = {f"data/mappings/schema/{path.name}": path.read_bytes() for path in own.glob("*.json")}
    registers = Path(registers_package.__file__).parent / "schema"
    wanted |= {f"data/mappings/schema/registers/{path.name}": path.read_bytes() for path in registers.glob("*.json")}
    assert len(wanted) > 10
    assert found == wanted
    with office.sealed() as run:
        named = {item["file"]: item["sha256"] for item in json.loads(run.plan())["files"]}
    assert {f"data/{name}" for name in named} >= wanted.keys()
    said = affidavit("rerun", str(out), "--key", office.fingerprint, "--json")
    assert (said.code, said.json["equal"], said.json["changedFiles"]) == (0, True, [])
    assert affidavit("verify", str(out), "--key", office.fingerprint).code == 0


def test_no_register_no_schema_of_registers(office: Office, tmp_path: Path) -> None:
    build(office, tmp_path / "bundle")
    names = {Path(name).name for name in files_of(tmp_path / "bundle", ("data/mappings/schema",))}
    assert names == {"mapping.schema.json", "catalogue.schema.json"}


def test_a_scope_that_matches_nothing_is_refused(office: Office, tmp_path: Path) -> None:
    """Else everything would be withheld for a slip of the pen."""
    for scopes, wrong in (("nothing/*", "'nothing/*'"), ("cloud/*,clout", "'clout'")):
        said = affidavit(
            "bundle", *PERIOD, "-c", str(office.config), "-o", str(tmp_path / "x"), "--scopes", scopes
        )
        assert said.code == 2
        assert f"error: no scope of the period matches {wrong}\n" in said.err
        assert "cloud/eu-central-1" in said.err
        assert not (tmp_path / "x").exists()


def test_a_place_that_is_not_there_is_told_as_that(office: Office, tmp_path: Path) -> None:
    said = affidavit("bundle", *PERIOD, "-c", str(office.config), "-o", str(tmp_path / "none/x"))
    assert said.code == 2
    assert f"error: there is no folder {tmp_path / 'none'}\n" in said.err


@pytest.mark.parametrize("form", ["zip", "tar.zst"])
def test_a_packed_bundle_is_only_its_owners(office: Office, tmp_path: Path, form: str) -> None:
    umask = os.umask(0o022)
    try:
        build(office, tmp_path / "bundle", "--form", form)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o600


def test_options_for_stores_are_named_when_they_are_given_for_a_bundle(office: Office, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    build(office, out)
    for options in (("--against", str(tmp_path)), ("--no-read-data",), ("--chain-only",)):
        said = affidavit("verify", str(out), *options)
        assert two_lines(said)
        assert said.code == 2
        assert said.err.startswith(f"error: {options[0]} is for a store, and {out} is a bundle\n")
    said = affidavit("store", "check", str(out))
    assert two_lines(said)
    assert said.err == f"error: {out} is a bundle, not a store\nnext:  affidavit verify {out} --key FINGERPRINT\n"
    assert said.code == 2


def test_p9_a_pack_that_is_missing_is_what_is_told(aws: Cloud, tmp_path: Path) -> None:
    """Not one of the lines that name its bodies, nor the fields of one that nobody can look at."""
    private = "privacy: {fields: [{operation: 'logs:*', json: 'logGroups[].creationTime'}]}"
    office = Office(tmp_path / "office", aws.endpoint, more=private)
    assert office.run(*ALL).code == 1
    (office.store / "runs/00000001/objects.pack").unlink()
    said = affidavit("bundle", *PERIOD, "-c", str(office.config), "-o", str(tmp_path / "x"))
    assert said.code == 4
    assert said.err.startswith("error: runs/00000001/objects.pack: cannot be read (No such file or directory)\nnext:  ")
    assert str(office.store) in said.err
    told = affidavit("verify", str(office.store), "--key", office.fingerprint)
    assert "commits to other fields" not in told.out
    assert "commits to fields of a body that is missing or damaged" in told.out


def test_the_report_of_a_bundle_tells_every_change_of_the_ruler(tmp_path: Path, aws: Cloud) -> None:
    """A leaf has room for some of them; the plans of both runs hold them all."""
    made = Office(tmp_path / "office", aws.endpoint)
    assert made.run(*ALL).code == 1
    limits = "checks:\n  parameters: {aws.logs.retention: {min_days: 30}}\n"
    made.config.write_text(limits + made.config.read_text())
    assert made.run(*ALL).code == 1
    build(made, tmp_path / "b")
    report = json.loads((tmp_path / "b/data/reports/report.json").read_text("utf8"))
    (row,) = [one for one in report["suppressions"] if one["what"] == "measurement changed"]
    assert row["changes"] == ["limit min_days of aws.logs.retention: 365 -> 30"]
