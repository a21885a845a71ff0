"""People's data: found to the byte when sealed, left out later, proven one by one, erased; rerun says what is lost."""

from __future__ import annotations

import json
import re
import shutil
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import plugins, privacy
from collector.api import Personal
from collector.config import PrivacyConfig
from collector.left_out import LeftOut
from collector.privacy import find
from collector.rerun import rerun
from evidence_store.__main__ import main as auditor
from evidence_store.bundles.run import Bundle
from evidence_store.bundles.verify import verify_bundle
from evidence_store.redaction import RedactedRun
from evidence_store.spans import MASK
from evidence_store.verify import verify_store
from tests.small_cloud import ALL, Office, affidavit, cloud, files_of, two_lines
from tests.test_rerun import add_house


def cut(body: bytes, *fields: Personal, operation: str = "x:Get") -> list[bytes] | None:
    found = find(fields, operation, body)
    return None if found is None else found.pieces(body)[1::2]


def by_json(path: str) -> Personal:
    return Personal("x:*", json=path)


def by_xml(name: str) -> Personal:
    return Personal("x:*", xml=name)


# Finding fields


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("[].profile.email", [b'"a@b.example"', b'"c@d.example"']),
        ("[].profile.*", [b'"a@b.example"', b'"Ada \\"B\\""', b'"c@d.example"', b"null"]),
        ("**.email", [b'"a@b.example"', b'"c@d.example"']),
        ("[].profile", [b'"a@b.example"', b'"Ada \\"B\\""', b'"c@d.example"', b"null"]),
        ("[].tags[]", [b'"x"', b"7"]),
        ("profile.email", None),
        ("**.profile.email", [b'"a@b.example"', b'"c@d.example"']),
        ("[].none", None),
    ],
)
def test_json_fields_are_found_to_the_byte(path: str, found: list[bytes] | None) -> None:
    body = (
        b' [ {"profile":{ "email" : "a@b.example", "name":"Ada \\"B\\""}, "tags":["x",7]},\n'
        b'{"profile":{"email":"c@d.example","name":null},"tags":[]}]'
    )
    assert cut(body, by_json(path)) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("DisplayName", [b"Ada &amp; B", b"c<!-- x -->d", b"<![CDATA[e]]>", b"<b>f</b>"]),
        ("Owner/DisplayName", [b"Ada &amp; B"]),
        ("ID", [b"1"]),
        ("Nothing", None),
    ],
)
def test_xml_elements_are_found_to_the_byte(name: str, found: list[bytes] | None) -> None:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<R xmlns="urn:x" xmlns:n="urn:y"><Owner a="ü>"><ID>1</ID>'
        "<n:DisplayName >"
        "Ada &amp; B</n:DisplayName></Owner><DisplayName/><DisplayName></DisplayName>"
        "<DisplayName>c<!-- x -->d</DisplayName>"
        "<DisplayName><![CDATA[e]]></DisplayName><DisplayName><b>f</b></DisplayName></R>"
    ).encode()
    assert cut(body, by_xml(name)) == found


def test_lines_of_text_are_found_by_their_group() -> None:
    passwd = b"root:x:0:0:root:/root:/bin/sh\nada:x:1:1:Ada B\xfc:/home/ada:/bin/sh\nbob:x:2:2::/:/bin/sh\n"
    assert cut(passwd, *privacy.DEFAULTS, operation="host:read") == [b"root", b"Ada B\xfc"]


@pytest.mark.parametrize(
    "body",
    [b'{"a":', b"plain", b"\x1f\x8b\x08gzip", b"<a><b></a>", b'{"email":1}x', b"<!DOCTYPE a [<!ENTITY x 'y'>]><a/>"],
)
def test_what_cannot_be_searched_is_one_field(body: bytes) -> None:
    found = find([by_json("**.email"), by_xml("DisplayName")], "x:Get", body)
    assert found is not None
    assert (found.form, found.ranges) == ("whole", ((0, len(body)),))


def test_what_declares_nothing_is_left_alone() -> None:
    assert find([by_json("**.email")], "y:Get", b'{"email":"a"}') is None
    assert find([by_json("**.email")], "x:Get", b"") is None
    assert find((), "x:Get", b'{"email":"a"}') is None
    assert cut(b'{"email":"REDACTED","b":{"email":"q"}}', by_json("**.email")) == [b'"q"'], "it was taken out already"


def test_fields_that_overlap_are_one() -> None:
    two = (Personal("x:*", regex=r"(?P<personal>Ada B)"), Personal("x:*", regex=r"(?P<personal>a Byron)"))
    assert cut(b"name Ada Byron!", *two) == [b"Ada Byron"]
    mixed = find([by_json("a"), Personal("x:*", regex="(?P<personal>b)")], "x:Get", b'{"a":"b"}')
    assert mixed is not None
    assert mixed.form == "whole", "a pattern and a path on one body cannot both be masked"


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=120) | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.text(), x)).map(lambda x: json.dumps(x, ensure_ascii=False).encode("utf-8", "surrogatepass")))  # fmt: skip
def test_any_body_is_cut_or_left_alone(body: bytes) -> None:
    found = find([by_json("**.a"), by_xml("a"), Personal("x:*", regex="(?P<personal>a+)")], "x:Get", body)
    if found is not None:
        assert b"".join(found.pieces(body)) == body


def test_the_shipped_selection_can_be_switched_off() -> None:
    own = (by_json("a"),)
    assert PrivacyConfig().selected == privacy.DEFAULTS
    assert PrivacyConfig(True, own).selected == (*privacy.DEFAULTS, *own)
    assert PrivacyConfig(False, own).selected == own
    owner = b"<ListAllMyBucketsResult><Owner><ID>7</ID><DisplayName>ada</DisplayName></Owner></ListAllMyBucketsResult>"
    assert cut(owner, *privacy.DEFAULTS, operation="s3:ListBuckets") == [b"ada"]


# A run, end to end

NOT_JUDGED, JUDGED, KEY = "logGroups[].creationTime", "logGroups[].retentionInDays", "logGroups[].logGroupName"


def privately(folder: Path, path: str) -> Office:
    """An office with one sealed run whose replies have a personal field at ``path``."""
    more = f"privacy: {{defaults: false, fields: [{{operation: 'logs:*', json: '{path}'}}]}}"
    with cloud() as aws:
        office = Office(folder / "office", aws.endpoint, more=more)
        assert office.run(*ALL).code == 1
    return office


TODAY = tuple(
    part for option, by in (("--from", -1), ("--to", 1))
    for part in (option, str((datetime.now(UTC) + timedelta(days=by)).date()))
)  # fmt: skip


@pytest.fixture(scope="module")
def offices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Office]:
    return {path: privately(tmp_path_factory.mktemp("privacy"), path) for path in (NOT_JUDGED, JUDGED, KEY)}


def test_a_run_with_fields_verifies_and_is_reperformed_from_the_store(offices: dict[str, Office]) -> None:
    for office in offices.values():
        assert office.verify().ok
        assert office.rerun().code == 0
        with office.sealed() as run:
            lines = [line for line in run.replies() if line["op"] == "logs:DescribeLogGroups"]
            assert all(len(line["spans"]) == 64 and line["spanCount"] == 5 for line in lines)


def test_what_no_verdict_rests_on_is_left_out_and_all_verdicts_stand(offices: dict[str, Office]) -> None:
    with offices[NOT_JUDGED].sealed() as run:
        view = RedactedRun.of(run)
        assert len(view.absent()) == 4
        done = rerun(view)
    assert done.differences == ()
    assert done.not_reperformable == ()
    assert done.equal


def test_verdicts_on_what_is_left_out_are_named_and_the_others_are_equal(offices: dict[str, Office]) -> None:
    office = offices[JUDGED]
    with office.sealed() as run:
        done = rerun(RedactedRun.of(run))
        findings = [line for line in run.results() if line["kind"] == "finding"]
        wanted = {line["i"] for line in findings if line["check"] == "aws.logs.retention"}
    assert done.differences == ()
    assert len(wanted) == 8
    assert set(done.not_reperformable) == wanted
    assert done.findings > len(wanted)


def test_records_that_are_known_by_what_is_left_out_cannot_be_judged_again(offices: dict[str, Office]) -> None:
    with offices[KEY].sealed() as run:
        view = RedactedRun.of(run)
        assert view.hidden_results() >= 8, "their results spell the name, and are withheld too"
        done = rerun(view)
        shown = [line["resource"] for line in view.results() if line["kind"] == "finding"]
        assert not any(name.startswith("/eu-") for name in shown)
    assert done.differences == ()


def test_a_verdict_that_came_out_otherwise_is_never_excused(offices: dict[str, Office]) -> None:
    with offices[JUDGED].sealed() as run:
        left = LeftOut.of(RedactedRun.of(run))
        sealed = next(line for line in run.results() if line.get("check") == "aws.logs.retention")
    checks = plugins.load().checks
    for again, excused in (
        (sealed | {"outcome": "UNKNOWN"}, True), (None, True), (sealed | {"outcome": "FAIL"}, False),
        (sealed | {"outcome": "PASS", "reason": "x"}, False), (sealed | {"outcome": "ERROR"}, False),
    ):  # fmt: skip
        assert left.excused([(sealed, again)], checks, frozenset()) == [excused]
    elsewhere = sealed | {"scope": "other/region", "outcome": "UNKNOWN", "evidence": [0]}
    assert left.excused([(elsewhere, elsewhere)], checks, frozenset()) == [False]
    certificate = {"kind": "certificate", "check": "aws.logs.retention"}
    assert left.excused([(certificate, certificate)], checks, frozenset()) == [False]


def test_a_list_is_held_against_less_where_its_witness_cannot_speak() -> None:
    """The basis of a population is weaker then, and that is no difference; of another list it is one."""
    checks = plugins.load().checks
    check = next(one for one in checks.values() if one.reconciles and one.basis == "count-reconciled")
    left = LeftOut(frozenset(), 0, {7: "it is withheld from this bundle"})
    silent: dict[str, Any] = {
        "kind": "finding", "check": check.id, "resource": "run", "scope": "run", "outcome": "PASS", "reason": "",
        "evidence": [7], "params": {},
    }  # fmt: skip
    line: dict[str, Any] = {
        "kind": "population", "task": "x@p", "dataset": check.reconciles[0], "scope": "p", "rows": 3, "root": "r",
        "gap": None, "replies": [0], "basis": "count-reconciled",
    }  # fmt: skip
    pairs: list[tuple[dict[str, Any], dict[str, Any]]]
    pairs = [(line, line | {"basis": "terminal-page"}), (silent, silent | {"outcome": "UNKNOWN"})]
    assert left.excused(pairs, checks, frozenset()) == [True, True]
    pairs[0] = (line, line | {"basis": "terminal-page", "rows": 2})
    assert left.excused(pairs, checks, frozenset()) == [False, True]
    other = line | {"dataset": "aws.logs.groups"}
    pairs[0] = (other, other | {"basis": "terminal-page"})
    assert left.excused(pairs, checks, frozenset()) == [False, True]
    pairs[1] = (silent, silent | {"outcome": "FAIL"})
    assert left.excused(pairs, checks, frozenset()) == [False, False]


def copied(office: Office, folder: Path) -> Office:
    """An office that may be changed."""
    shutil.copytree(office.folder, folder)
    made = copy(office)
    made.folder, made.config, made.store = folder, folder / "config.yaml", folder / "store"
    return made


# A join across connections

PEOPLE = "id,email,status,kind,start,end,manager,department\n"
ASSETS = ("id,name,kind,owner,holder,classification,location,off_site,encrypted,licence,checked,disposed,"
          "disposal_method,disposal_record\n")  # fmt: skip
JOIN = "register.assets.owner-active"


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Assets in one connection, whose owners are people of another: their addresses can be left out."""
    two = "".join(f"  - {{name: {name}, kind: register, folder: {name}}}\n" for name in ("hr", "plant"))
    office = Office(tmp_path_factory.mktemp("joined") / "office", "http://127.0.0.1:9", connection=two)
    for name, people, assets in (
        ("hr", "p-1,ada@example.org,active,employee,2020-01-01,,,\n", ""),
        ("plant", "", "a-1,press,hardware,p-1,,internal,,yes,no,,,,,\na-2,lathe,hardware,p-77,,internal,,yes,no,,,,,\n"
                      "a-3,kiln,hardware,p-77,,internal,,yes,no,,,2026-01-01,,\n"),
    ):  # fmt: skip
        (office.folder / name).mkdir()
        (office.folder / name / "people.csv").write_text(PEOPLE + people)
        (office.folder / name / "assets.csv").write_text(ASSETS + assets)
    assert office.run("--check", JOIN).code == 1
    return office


def test_a_join_across_connections_is_excused_where_it_cites_what_is_left_out(joined: Office, tmp_path: Path) -> None:
    """Whether p-77 is somebody's address cannot be told without the addresses, which another connection gave."""
    with joined.sealed() as run:
        found = {line["resource"]: line for line in run.results() if line["kind"] == "finding"}
        done = rerun(RedactedRun.of(run))
    assert {name: found[name]["outcome"] for name in ("a-1", "a-2", "a-3")} == {
        "a-1": "PASS", "a-2": "FAIL", "a-3": "SKIP",
    }  # fmt: skip
    assert done.differences == ()
    assert done.not_reperformable == (found["a-2"]["i"],)
    said = affidavit(*joined.command("bundle", *TODAY, "--redact", "-o", str(tmp_path / "bag")))
    assert (said.code, said.err.count("\n")) == (0, 1), said.err
    listed = json.loads((tmp_path / "bag/data/reports/not-reperformable.json").read_bytes())
    assert listed["findings"] == {"1": [found["a-2"]["i"]]}
    told = affidavit("rerun", str(tmp_path / "bag"), "--key", joined.fingerprint, "--sealed-code")
    assert told.code == 3
    these = f"{len(found) - 1} of {len(found)} findings from 8 replies"
    assert f"run 1: {these} re-performed offline, all equal" in told.out


def test_a_join_is_excused_where_the_list_beside_it_is_not_shown_at_all(joined: Office, tmp_path: Path) -> None:
    """Also where its verdict never looked there: nothing is concluded beside a list that was not read."""
    office = copied(joined, tmp_path / "office")
    with office.sealed() as run:
        found = {line["resource"]: line for line in run.results() if line["kind"] == "finding"}
        people = next(line for line in run.replies() if line["task"] == "register.people@hr")
    assert people["i"] not in found["a-3"]["evidence"]
    why = ("--basis", "a person asked", "--approved-by", "DPO")
    assert affidavit(*office.command("erase", "--object", people["sha256"], *why)).code == 0
    again = office.rerun("--json")
    assert (again.code, again.json["differences"]) == (3, [])
    assert set(again.json["notReperformable"]) == {found[name]["i"] for name in ("a-1", "a-2", "a-3")}


def test_nothing_of_a_connection_is_reperformed_once_its_identity_was_erased(
    offices: dict[str, Office], tmp_path: Path
) -> None:
    office = copied(offices[NOT_JUDGED], tmp_path / "office")
    with office.sealed() as run:
        findings = [line["i"] for line in run.results() if line["kind"] == "finding"]
        identity = next(line for line in run.replies() if line["op"] == "sts:GetCallerIdentity")
    why = ("--basis", "a person asked", "--approved-by", "DPO")
    assert affidavit(*office.command("erase", "--object", identity["sha256"], *why)).code == 0
    again = office.rerun("--json")
    assert (again.code, again.json["differences"]) == (3, [])
    assert again.json["notReperformable"] == findings


def test_a_bundle_is_not_made_in_silence_of_what_comes_out_otherwise(
    offices: dict[str, Office], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = RedactedRun.object

    def changed(self: RedactedRun, name: str) -> bytes:
        return plain(self, name).replace(b"<MinimumPasswordLength>16<", b"<MinimumPasswordLength>6<")

    monkeypatch.setattr(RedactedRun, "object", changed)
    office = copied(offices[JUDGED], tmp_path / "office")
    said = affidavit(*office.command("bundle", *TODAY, "--redact", "-o", str(tmp_path / "bag")))
    assert said.code == 0, said.err
    told = r"^warning: run 1: [1-9]\d* results come out otherwise .*aws\.iam\.password-policy-length"
    assert re.search(told, said.err, re.MULTILINE)


def test_a_changed_reply_in_a_redacted_run_is_still_a_difference(
    offices: dict[str, Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing hides behind what is left out: a reply that is shown, and changed, is told."""
    plain = RedactedRun.object

    def changed(self: RedactedRun, name: str) -> bytes:
        return plain(self, name).replace(b"<MinimumPasswordLength>16<", b"<MinimumPasswordLength>6<")

    monkeypatch.setattr(RedactedRun, "object", changed)
    with offices[JUDGED].sealed() as run:
        done = rerun(RedactedRun.of(run))
    assert any(one.sealed and one.sealed.get("check", "").startswith("aws.iam") for one in done.differences)
    assert not done.equal


# Bundles


@pytest.fixture(scope="module")
def bundled(offices: dict[str, Office], tmp_path_factory: pytest.TempPathFactory) -> tuple[Office, Path]:
    """A redacted bundle, and the office it comes from."""
    folder = tmp_path_factory.mktemp("bundled")
    office = offices[JUDGED]
    said = affidavit(*office.command("bundle", *TODAY, "--redact", "-o", str(folder / "bag")))
    assert said.code == 0, said.err
    return office, folder / "bag"


def test_a_redacted_bundle_verifies_and_holds_no_field(bundled: tuple[Office, Path]) -> None:
    office, bag = bundled
    assert verify_bundle(bag, key=office.fingerprint).problems == ()
    with office.sealed() as run:
        secret = {line["sha256"] for line in run.replies() if "spans" in line}
        seed = run.seed()
    assert seed is not None
    everything = b"\0".join(files_of(bag).values()) + b"\0".join(map(str.encode, files_of(bag)))
    assert seed not in everything
    assert seed.hex().encode() not in everything
    assert not any(sha256.encode() in everything for sha256 in secret)
    assert b'"retentionInDays":400' not in everything.replace(b"\\", b"")
    assert len(list((bag / "data/redacted").rglob("*.json"))) == 4


def test_a_redacted_bundle_is_reperformed_as_far_as_it_goes(bundled: tuple[Office, Path]) -> None:
    office, bag = bundled
    with Bundle.open(bag, key=office.fingerprint) as bundle:
        done = rerun(bundle.run())
        listed = json.loads((bag / "data/reports/not-reperformable.json").read_bytes())
        assert listed["findings"] == {"1": list(done.not_reperformable)}
        assert bundle.run().absent().keys() == {line["i"] for line in bundle.run().replies() if "redacted" in line}
    assert done.differences == ()
    assert len(done.not_reperformable) == 8
    said = affidavit("rerun", str(bag), "--key", office.fingerprint)
    assert said.code == 3
    assert "8 findings" in said.out


@pytest.mark.parametrize("change", ["value", "leaf", "gone", "extra"])
def test_a_changed_redacted_reply_is_detected(bundled: tuple[Office, Path], tmp_path: Path, change: str) -> None:
    office, bag = bundled
    copy = tmp_path / "bag"
    shutil.copytree(bag, copy)
    path = next((copy / "data/redacted").rglob("*.json"))
    if change == "gone":
        path.unlink()
    elif change == "extra":
        other = copy / "data/redacted/00" / ("0" * 64 + ".json")
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(path.read_bytes())
    else:
        value = json.loads(path.read_bytes())
        value["spans"][0 if change == "value" else 1]["text" if change == "value" else "leaf"] = "0" * 64
        path.write_bytes(json.dumps(value, separators=(",", ":")).encode())
    assert verify_bundle(copy, key=office.fingerprint).problems


def test_what_cannot_be_reperformed_is_found_with_the_checks_of_the_run(tmp_path: Path) -> None:
    """Those of a house, and those of an earlier release, are not the ones that are installed here."""
    more = "plugins: {folders: [house]}\nprivacy: {defaults: false, fields: [{operation: 'logs:*', json: '%s'}]}"
    with cloud() as aws:
        office = Office(tmp_path / "office", aws.endpoint, more=more % NOT_JUDGED)
        add_house(office)
        assert office.run("--check", "aws.house.*").code == 0
    said = affidavit(*office.command("bundle", *TODAY, "--redact", "-o", str(tmp_path / "bag")))
    assert said.code == 0, said.err
    listed = json.loads((tmp_path / "bag/data/reports/not-reperformable.json").read_bytes())
    assert listed["findings"] == {"1": []}
    told = affidavit("rerun", str(tmp_path / "bag"), "--key", office.fingerprint, "--sealed-code")
    assert told.code == 0
    assert re.match(r"run 1: \d+ findings from \d+ replies re-performed offline, all equal\n", told.out)


# Disclosure on the command line


def test_one_field_is_proven_later_against_the_bundle_or_its_checkpoint(
    bundled: tuple[Office, Path], tmp_path: Path
) -> None:
    office, bag = bundled
    with office.sealed() as run:
        reply = next(line["i"] for line in run.replies() if "spans" in line)
    note = max((bag / "log/checkpoints").glob("*.note"))
    prove = ("disclose", str(office.store), "--run", "1", "--reply", str(reply), "--checkpoint", str(note))
    said = affidavit(*prove, "--field", JUDGED, "-o", str(tmp_path / "p"))
    assert two_lines(said), "two groups on the page: it must be said which"
    assert "spans 1, 3" in said.err
    said = affidavit(*prove, "--span", "3", "-o", str(tmp_path / "proof.json"))
    assert said.code == 0, said.err
    proof = tmp_path / "proof.json"
    for against in (("--bundle", str(bag)), ("--checkpoint", str(note))):
        told = affidavit("verify-disclosure", str(proof), *against, "--key", office.fingerprint, "--json")
        assert told.code == 0, told.err
        assert (told.json["content"], told.json["span"], told.json["reply"]) == ("400", 3, reply)
        assert told.json["operation"] == "logs:DescribeLogGroups"
        shown = affidavit("verify-disclosure", str(proof), *against, "--key", office.fingerprint)
        assert "400" in shown.out
        assert affidavit("verify-disclosure", str(proof), *against, "--key", "0" * 64).code == 4
    in_place = affidavit("verify-disclosure", str(proof), "--bundle", str(bag), "--key", office.fingerprint).out
    assert '"retentionInDays": >>>400<<<}' in in_place
    alone = [str(proof), "--checkpoint", str(note), "--key", office.fingerprint]
    assert auditor(["verify-disclosure", *alone]) == 0, "without the collector too"
    assert auditor(["verify-disclosure", str(tmp_path / "none"), *alone[1:]]) == 2
    forged = tmp_path / "forged.json"
    forged.write_bytes(proof.read_bytes().replace(b'"text":"400"', b'"text":"500"'))
    assert affidavit("verify-disclosure", str(forged), "--bundle", str(bag), "--key", office.fingerprint).code == 4
    other = max((office.store / "log/checkpoints").glob("*.note"))
    said = affidavit("verify-disclosure", str(proof), "--checkpoint", str(other), "--key", office.fingerprint)
    assert said.code == 4
    assert "against a head of" in said.err


def test_disclose_says_what_it_cannot_do(offices: dict[str, Office], tmp_path: Path) -> None:
    store = str(offices[JUDGED].store)
    (tmp_path / "there").touch()
    for options, words in (
        (("--reply", "99", "-o", str(tmp_path / "a")), "has no reply 99"),
        (("--reply", "0", "--span", "1", "-o", str(tmp_path / "there")), "exists"),
        (("--reply", "0", "--span", "99", "-o", str(tmp_path / "a")), "reply 0"),
        (("--reply", "0", "--checkpoint", str(tmp_path / "none"), "-o", str(tmp_path / "a")), "cannot read"),
        (("--reply", "0", "--checkpoint", str(tmp_path / "there"), "-o", str(tmp_path / "a")), "not a checkpoint"),
    ):
        said = affidavit("disclose", store, "--run", "1", *options)
        assert two_lines(said), said
        assert words in said.err


# Erasure on the command line


def test_an_erased_reply_is_told_by_verify_and_rerun(tmp_path: Path) -> None:
    office = privately(tmp_path, NOT_JUDGED)
    with office.sealed() as run:
        line = next(line for line in run.replies() if line["op"] == "logs:DescribeLogGroups")
        last = [line for line in run.results() if line["kind"] == "population" and line["dataset"] == "aws.logs.groups"]
    why = ("--basis", "a person asked", "--approved-by", "DPO")
    said = affidavit(*office.command("erase", "--object", line["sha256"], *why))
    assert said.code == 0, said.err
    found = verify_store(office.store, key=office.fingerprint)
    assert found.ok
    assert any("erased under leaf" in warning for warning in found.warnings)
    again = office.rerun("--json")
    assert again.code == 3
    assert again.json["equal"] is True
    assert again.json["differences"] == []
    with office.sealed() as run:
        lost = [row for row in run.results() if row["i"] in again.json["notReperformable"]]
        assert lost
        region = next(row["scope"] for row in last if line["i"] in row["replies"])
        assert {row["scope"] for row in lost} == {region}
        assert {row["check"] for row in lost} >= {"aws.logs.retention"}
    told = office.rerun()
    assert f"not re-performable, for what they rest on is left out or erased: {len(lost)} findings" in told.out
    report = affidavit("report", "--store", str(office.store), "--key", office.fingerprint, "--format", "json")
    assert "erased under leaf" in report.out
    assert MASK.search(report.out) is None
