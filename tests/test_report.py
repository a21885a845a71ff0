"""Reports say what was sealed, the seal first, and hide nothing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.controls import Result
from collector.model import Outcome
from collector.report import (
    CONSISTENT,
    NOT_VERIFIED,
    OUTCOMES,
    RESULTS,
    UNCHECKED,
    VERIFIED,
    ReportData,
    from_run,
    json_,
    page,
    terminal,
)
from collector.report.text import visible
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.report_sample import (
    FINGERPRINT,
    FORMERLY,
    HOSTILE,
    LATER,
    NO_ANCHOR,
    Problem,
    Verification,
    aborted,
    attached,
    sample,
)

BROKEN = Verification(ok=False, problems=(Problem("runs/00000012/objects.pack", "is not what its leaf says"),))
UNSIGNED = Verification(ok=False, authenticated=False, warnings=("no key was given",))


def test_every_outcome_and_result_has_a_place():
    assert set(OUTCOMES) == set(Outcome)
    assert set(RESULTS) == set(Result)


@pytest.mark.parametrize(
    ("verification", "words", "verified", "authenticated"),
    [
        (Verification(), VERIFIED, True, True),
        (UNSIGNED, CONSISTENT, False, False),
        (BROKEN, NOT_VERIFIED, False, True),
        (None, NOT_VERIFIED, False, False),
        (Verification(ok=True, authenticated=False), CONSISTENT, False, False),
        (Verification(ok=True, problems=BROKEN.problems), NOT_VERIFIED, False, True),
    ],
)
def test_p9_every_report_says_what_became_of_the_seal(verification, words, verified, authenticated):
    report = sample().report(verification)
    assert (report.seal.words, report.seal.verified, report.seal.authenticated) == (words, verified, authenticated)
    seal = json.loads(json_.render(report))["seal"]
    assert (seal["verified"], seal["authenticated"]) == (verified, authenticated)
    assert terminal.render(report).splitlines()[0] == f"Seal: {words}"
    assert f"<strong>{words}</strong>" in page.render(report)


def test_p9_problems_and_warnings_of_the_seal_stand_in_every_format():
    report = sample().report(replace(BROKEN, warnings=(NO_ANCHOR,)))
    for text in (json_.render(report), terminal.render(report), page.render(report).partition("<nav")[0]):
        assert "runs/00000012/objects.pack: is not what its leaf says" in text
        assert NO_ANCHOR in text
    assert UNCHECKED in terminal.render(sample().report(None))


def test_an_aborted_run_says_so_first_and_names_all_that_is_missing():
    plan = sample().plan_document()
    report = aborted().report(Verification(), plan)
    assert terminal.render(report).startswith("ABORTED: this run was aborted (the process was killed)")
    assert re.search(r'id="aborted"[^>]*><strong>Aborted:</strong> this run was aborted', page.render(report))
    document = json_.document(report)
    assert document["state"] == "aborted"
    assert "killed" in document["aborted"]
    assert {(gap["dataset"], gap["scope"], gap["kind"]) for gap in document["gaps"]} == {
        (task["dataset"], task["id"].partition("@")[2], "interrupted") for task in plan["tasks"]
    }
    assert document["silent_checks"] == [check["id"] for check in plan["checks"]]
    assert len(report.replies) == 3
    assert "was read to its end" not in terminal.render(report)


def test_a_complete_run_that_lost_a_task_says_so():
    made = sample()
    plan = made.plan_document()
    lost = made.lines.index(next(line for line in made.lines if line["kind"] == "population"))
    del made.lines[lost]
    report = made.report(plan=plan)
    assert [(gap["dataset"], gap["kind"]) for gap in report.gaps[:1]] == [("aws.s3.buckets", "unproven")]


def test_p14_a_check_without_a_finding_is_said_to_be_unread():
    report = sample().report()
    assert report.silent_checks == ("aws.backup.plan-exists",)
    assert "Not read, no result at all: aws.backup.plan-exists" in terminal.render(report)
    assert json_.document(report)["silent_checks"] == ["aws.backup.plan-exists"]


def test_unread_comes_first_and_the_order_of_the_seal_is_kept():
    report = sample().report()
    outcomes = [finding["outcome"] for finding in report.findings]
    assert outcomes == sorted(outcomes, key=[str(outcome) for outcome in OUTCOMES].index)
    for outcome in OUTCOMES:
        lines = [finding["i"] for finding in report.findings if finding["outcome"] == outcome]
        assert lines == sorted(lines)


def test_the_json_document_keeps_its_promise():
    report = sample().report()
    document = json.loads(json_.render(report))
    assert document == json.loads(json.dumps(json_.document(report)))
    assert document["schema"] == "affidavit.report/1"
    assert (document["run"], document["state"]) == (12, "complete")
    assert document["seal"]["fingerprint"] == FINGERPRINT
    assert document["counts"] == {"ERROR": 1, "UNKNOWN": 5, "FAIL": 7, "PASS": 116, "SKIP": 2}
    assert sum(document["counts"].values()) == len(document["findings"])
    for finding in document["findings"]:
        assert {"check", "resource", "scope", "outcome", "reason", "evidence"} <= finding.keys()
    for gap in document["gaps"]:
        assert {"dataset", "scope", "kind", "reason"} <= gap.keys()
        assert gap["kind"] == "denied"
    for control in document["controls"]:
        assert {"framework", "edition", "id", "result", "strength"} <= control.keys()
    assert sum(control["id"].startswith("A.") for control in document["controls"]) == 93
    assert {row["basis"] for row in document["populations"]} == {"terminal-page", "unproven"}
    assert "salt" not in json_.render(report)


def test_a_result_line_of_an_unknown_kind_is_not_swallowed():
    made = sample()
    made.lines += [{"kind": "weather", "i": 9999}] * 2
    report = made.report()
    assert any("2 result lines are of the kind 'weather'" in warning for warning in report.seal.warnings)


def test_an_empty_run_claims_nothing():
    made = replace(sample(), lines=[], asked=[])
    report = made.report(Verification())
    assert report.counts == dict.fromkeys(map(str, OUTCOMES), 0)
    assert not report.frameworks
    assert "None" not in terminal.render(report)


def test_a_run_without_gaps_says_that_everything_was_read():
    made = sample()
    made.lines = [line for line in made.lines if line["kind"] != "gap"]
    assert "Everything that was planned was read to its end." in terminal.render(made.report())


def test_a_finding_of_a_check_outside_the_plan_is_shown():
    plan = sample().plan_document()
    plan["checks"] = plan["checks"][1:]
    text = terminal.render(sample().report(plan=plan))
    assert re.search(r"aws\.s3\.default-encryption .* not in the plan of this run", text)


def test_terminal_shows_controls_checks_and_what_did_not_pass():
    text = terminal.render(sample().report())
    assert re.search(r"A\.8\.24 +exceptions +supports", text)
    assert re.search(r"A\.8\.2 +met +demonstrates implementation", text)
    assert re.search(r"AKIAEXAMPLE1 +prod/123456789012 +the key is 412 days old, the limit is 90", text)
    assert "ec2:DescribeSecurityGroups  the whole list" in text
    assert "115 without a check in this run" in text
    assert (
        text.index("What could not be read")
        < text.index("did not pass")
        < text.index("By control")
        < text.index("By check")
    )
    assert "compliant" not in text.lower()


def test_what_a_terminal_leaves_out_is_counted():
    made = sample(buckets=900)
    text = terminal.render(made.report())
    assert re.search(r"and \d+ more: see --format json", text)


def test_no_name_steers_the_terminal():
    plain = terminal.render(sample(organisation="\x1b]0;owned\x07").report())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", plain)
    assert "\\u{1b}]0;owned\\u{7}" in plain
    coloured = terminal.render(sample(organisation="\x1b[31mred[/]").report(), color=True, width=140)
    assert "\x1b[1;32mSeal: verified" in coloured
    assert "\\u{1b}[31mred[/]" in coloured


def test_only_a_terminal_gets_colour():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    watched, piped = Terminal(), io.StringIO()
    for out in (watched, piped):
        terminal.show(sample(organisation="Example").report(), out)
    assert "\x1b[" in watched.getvalue()
    assert "\x1b" not in piped.getvalue()


def test_visible_keeps_ordinary_text_and_spells_out_the_rest():
    assert visible("Grüße, 世界 🔒") == "Grüße, 世界 🔒"
    assert visible("a\u202eb\x00\u200b\u2066\ud800") == r"a\u{202e}b\u{0}\u{200b}\u{2066}\u{d800}"


def test_data_cannot_leave_its_script_element():
    report = sample().report()
    text = page.render(report)
    inside = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert not re.search("[<>&\u2028\u2029]", inside)
    resources = {finding["resource"] for finding in json.loads(inside)["findings"]}
    assert set(HOSTILE) <= resources
    assert text.count("<script") == text.count("</script>") == 2


def test_the_static_part_of_the_page_is_escaped():
    text = page.render(sample(organisation=HOSTILE[0] + "\u202e$data").report(None))
    assert "window.pwned=1</script>" not in text
    assert r"&lt;/script&gt;&lt;script&gt;window.pwned=1&lt;/script&gt;\u{202e}$data" in text


def test_the_page_asks_nothing_of_the_outside():
    text = page.render(sample().report())
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in text
    static = text.replace(text.split('id="data">')[1].split("</script>")[0], "")
    assert not re.search(
        r"(?:src|href)\s*=\s*[\"']?(?:https?:|//)|url\(|@import|fetch\(|XMLHttpRequest|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(",
        static,
    )


def test_p13_every_reply_on_the_page_carries_its_custody():
    for reply in page.contents(sample().report())["replies"]:
        assert {
            "op",
            "params",
            "caller",
            "t",
            "received",
            "status",
            "requestId",
            "sha256",
            "page",
            "last",
            "attempt",
            "redactions",
        } <= reply.keys()


def test_numbers_of_evidence_are_not_rounded_by_the_browser():
    made = sample()
    made.asked[1]["params"] = {"Max": 2**63 - 1}
    assert page.contents(made.report())["replies"][1]["params"] == '{"Max":9223372036854775807}'


def test_limits_stand_in_a_finding_only_where_they_differ_from_the_plan():
    made = sample()
    line = next(line for line in made.lines if line.get("check") == "aws.iam.key-rotated")
    same = page.contents(made.report())["findings"]
    line["params"] = {"max_age_days": 7}
    other = page.contents(made.report())["findings"]
    assert not any("params" in finding for finding in same)
    assert [finding["params"] for finding in other if "params" in finding] == ['{"max_age_days":7}']


def test_a_framework_of_ours_and_a_house_framework_have_names():
    assert page.name("iso-27001") == "ISO/IEC 27001"
    assert page.name("house-rules") == "house-rules"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A real store of two runs: a whole one, and one that was aborted."""
    root = tmp_path / "store"
    made = sample()
    plan = json.dumps(made.plan_document()).encode()
    with Store.create(root, origin="evidence.example/test", signer=FileSigner(Ed25519PrivateKey.generate())) as opened:
        for kept in (made.asked, made.asked[:3]):
            writer = opened.begin({"trigger": "by hand"}, plan)
            for line in kept:
                writer.add_object(f"body {line['i']}".encode())
                writer.add_reply({name: value for name, value in line.items() if name not in ("i", "salt")})
            if kept is made.asked:
                lines = (
                    {name: value for name, value in line.items() if name not in ("i", "salt")} for line in made.lines
                )
                writer.close(lines, {"outcome": "incomplete"})
            else:
                writer.abort("stopped by a signal")
    return root


def read(root: Path, number: int, key: str | None) -> ReportData:
    verification = verify_store(root, key=key)
    with Store.open(root) as opened:
        return from_run(opened.run(number), verification, key=opened.fingerprint)


def fingerprint(root: Path) -> str:
    with Store.open(root) as opened:
        return opened.fingerprint


def test_a_really_sealed_run_reads_back_as_it_was(store: Path):
    report = read(store, 1, fingerprint(store))
    expected = sample().report()
    assert report.seal.words == VERIFIED
    assert any("no outside anchor" in warning for warning in report.seal.warnings)
    assert (report.findings, report.gaps, report.populations) == (
        expected.findings,
        expected.gaps,
        expected.populations,
    )
    assert (report.controls, report.replies) == (expected.controls, expected.replies)


def test_p9_a_really_sealed_run_without_a_key_is_not_called_verified(store: Path):
    assert terminal.render(read(store, 1, None)).startswith(f"Seal: {CONSISTENT}\n")
    assert read(store, 1, "0" * 64).seal.words == NOT_VERIFIED


def test_p9_one_altered_byte_elsewhere_in_the_store_is_on_top_of_the_report(store: Path):
    key = fingerprint(store)
    pack = store / "runs" / "00000002" / "plan.json"
    raw = bytearray(pack.read_bytes())
    raw[10] ^= 1
    pack.write_bytes(raw)
    report = read(store, 1, key)
    assert terminal.render(report).startswith(f"Seal: {NOT_VERIFIED}\n  problem: runs/00000002/plan.json: ")


def test_p6_a_really_aborted_run_is_told_from_a_whole_one(store: Path):
    report = read(store, 2, fingerprint(store))
    assert report.seal.verified
    assert terminal.render(report).startswith("ABORTED: this run was aborted (stopped by a signal)")
    assert len(report.gaps) == len(report.plan["tasks"])


def test_what_stands_beside_a_control_is_told_in_its_line() -> None:
    made = sample()
    plan = made.plan_document()
    for source in plan["sources"]:
        if source["id"] == "aws.backup.plans":
            source |= {"kind": "period", "windowDays": 30}
    for line in made.lines:
        for row in line.get("rows", ()) if line["kind"] == "control" else ():
            if row["check"] == "aws.backup.plan-exists":
                row["strength"] = "demonstrates_operation"
    events = sum(line["rows"] for line in made.lines if line.get("dataset") == "aws.backup.plans")
    share = {"framework": "iso-27001", "edition": "2022+amd1", "id": "A.8.13", "occurrences": 88, "share": 0.9778}
    covered = {"from": "2026-01-01T00:00:00.000Z", "to": "2026-04-01T00:00:00.000Z", "share": 0.99,
               "counts": {"run": 89, "missing": 1}, "slots": [], "controls": [share]}  # fmt: skip
    told = made.report(plan=plan, notes=[attached(50, "A.8.13")], at=LATER, formerly=FORMERLY, continuity=covered)
    text = terminal.render(told, width=900)
    line = next(line for line in text.splitlines() if line.startswith("A.8.13 "))
    assert f"{events} occurrences from 2026-01-02T02:00:00.000Z to 2026-02-01T02:00:00.000Z: Every record of" in line
    assert "read whole in 88 slots of the period, 97.8%" in line
    assert "(leaf 50)" in line
    assert "Period 2026-01-01 to 2026-03-31: 89 run, 1 missing, 99.0% covered" in text
    assert "formerly A.9.2.3 (2013)" in next(line for line in text.splitlines() if line.startswith("A.8.2 "))
    document = json_.document(told)
    rows = [row for control in document["controls"] for row in control["rows"]]
    (row,) = [row for row in rows if row["check"] == "aws.backup.plan-exists"]
    assert row["operation"]["occurrences"] == events
    assert document["continuity"] == covered


def test_each_finding_that_did_not_pass_shows_its_grade_and_the_letters_are_explained() -> None:
    text = terminal.render(sample().report(), width=300)
    assert "Grades, how far findings can be verified: " in text
    assert "D (nothing concluded, or not proven complete)" in text
    rows = [line for line in text.splitlines() if line.startswith(("UNKNOWN  ", "FAIL  "))]
    assert rows
    assert {line.split()[1] for line in rows} <= set("ABCD")


def test_the_terminal_tells_what_was_not_shown_newest_first_and_counts_the_rest() -> None:
    plan = sample().plan_document()
    plan["sources"][0]["redactions"] = [{"operation": "*", "path": "SecretKey", "reason": "a secret"}]
    leaves = [
        {"kind": "config-change", "index": index, "recordedOn": f"2026-01-{index:02}T00:00:00.000Z",
         "by": "me@here", "reason": "", "changes": [f"change {index} " + "x" * 400], "more": 0}
        for index in range(2, 22)
    ]  # fmt: skip
    text = terminal.render(sample().report(plan=plan, notes=leaves))
    lines = text.splitlines()
    start = lines.index("Not shown, or measured otherwise: 21, and 1 kinds of fields redacted; of the environment: 0")
    assert lines[start + 1].startswith("  check disabled: aws.kms.rotation: keys are held by the provider (by j.doe, ")
    assert lines[start + 2].startswith("  measurement changed: leaf 21: change 21 xxx")
    assert lines[start + 2].endswith("... (by me@here, 2026-01-21T00:00:00.000Z)")
    assert lines[start + 13] == "  and 9 more: --format html"
    assert "change 10 " not in text
    bare = sample().plan_document() | {"disabled": []}
    assert "measured otherwise" not in terminal.render(sample().report(plan=bare))


def test_a_list_that_changed_with_the_settings_of_its_connection_is_not_laid_on_the_estate() -> None:
    made = sample()
    plan = made.plan_document() | {"settings": {"connections": ["prod"], "connections.prod.regions": ["eu"]}}
    before = plan | {"settings": plan["settings"] | {"connections.prod.regions": ["eu", "us"]}}
    earlier = [{**line, "root": "another"} for line in made.lines if line["kind"] == "population"]
    for line in made.lines:
        if line["kind"] == "population":
            line["root"] = "this"
    same = made.report(plan=plan, earlier=earlier, earlier_plan=plan).suppressions
    moved = made.report(plan=plan, earlier=earlier, earlier_plan=before).suppressions
    prod = {row["name"] for row in same if row["side"] == "environment" and "@prod" in row["name"]}
    assert prod
    assert {row["name"] for row in moved if row["what"] == "list changed"} == prod
    assert all("@prod" not in row["name"] for row in moved if row["side"] == "environment")
