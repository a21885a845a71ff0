"""A folder of registers: what is read, what is refused, and that a replay needs no folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import plugins, terminology
from collector.api import Registers, Row, Source, source
from collector.catalogue import load_catalogues
from collector.config import RegisterConnection, load
from collector.connect.base import Limits
from collector.connect.register import Register
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire
from collector.fetch import fetch
from collector.model import Task
from collector.plugins import content_root
from collector.registers import document, table
from collector.registers.shape import NAMES, shape
from tests.register_world import RegisterWorld, same
from tests.small_cloud import Office, affidavit, two_lines
from tests.worlds import LIMITS, MemoryLedger, Reading

PEOPLE = b"id,email,status,kind,start,end,manager,department\np-1,a@example.org,active,employee,2024-03-01,,,it\n"
POLICY = """\
---
id: POL-01
title: Information security policy
version: 3.10
status: approved
owner: p-1
author: p-2
approver: p-3
approved: 2026-01-15
next_review: 2027-01-15
classification: internal
topics: [information-security, acceptable-use]
---
# Policy

Control A.9.2.1 of ISO/IEC 27001:2022 is met.
"""


@pytest.fixture
def folder(tmp_path: Path) -> RegisterWorld:
    return RegisterWorld(tmp_path)


def why(reading: Reading) -> str:
    assert reading.shard.population.gap is not None
    return reading.shard.population.gap.reason


def test_a_file_is_recorded_byte_for_byte_and_read_as_it_stands(folder: RegisterWorld) -> None:
    folder.write("people.csv", PEOPLE)
    reading = folder.read("register.people")
    assert reading.shard.population.proven
    assert reading.rows == [{
        "id": "p-1", "email": "a@example.org", "status": "active", "kind": "employee", "start": "2024-03-01",
        "end": None,
        "manager": None, "department": "it",
    }]  # fmt: skip
    (line, history) = reading.ledger.lines
    assert (line["op"], line["params"], line["sha256"]) == (
        "register:read", {"path": "people.csv"}, hashlib.sha256(PEOPLE).hexdigest(),
    )  # fmt: skip
    assert (history["op"], reading.ledger.objects[history["sha256"]]) == ("register:git-log", b"{}")
    assert line["caller"].startswith("uid ")
    same(folder, reading)


@pytest.mark.parametrize("dataset", [name for name in plugins.load().sources if name.startswith("register.")])
def test_an_absent_file_is_a_gap_and_a_header_alone_a_complete_empty_list(folder: RegisterWorld, dataset: str) -> None:
    reading = folder.read(dataset)
    assert not reading.shard.population.proven
    assert why(reading).startswith("there is no ")
    assert "in the folder of registers" in why(reading)
    same(folder, reading)
    for name in NAMES:
        folder.write(f"{name}.csv", ",".join(shape(name).columns) + "\n")
    reading = folder.read(dataset)
    assert (reading.shard.population.proven, reading.rows) == (True, [])
    same(folder, reading)


def test_a_row_with_a_fault_makes_the_list_unproven_and_the_sound_rows_stay(folder: RegisterWorld) -> None:
    bad = b"p-2,b@example.org,gone,employee,2024/03/01,,,\n"
    folder.write("people.csv", PEOPLE + bad + PEOPLE.splitlines()[1].replace(b"p-1", b"p-3").replace(b"a@", b"c@"))
    reading = folder.read("register.people")
    assert [row["id"] for row in reading.rows] == ["p-1", "p-3"]
    assert why(reading) == (
        "people.csv:3: column 3 (status): 'gone' is not known here; write active or leave or planned or left, "
        "and 1 more faults"
    )
    same(folder, reading)


HEAD = "id,email,status,kind,start,end,manager,department\n"
ROW = "p-1,a@example.org,active,employee,2024-03-01,,,\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "people.csv:1: is empty; begin with: id,email,status"),
        ("\ufeff" + HEAD, ""),
        (HEAD.replace(",", ";") + ROW.replace(",", ";"), ""),
        (HEAD + '"p-1",a@example.org,active,employee,2024-03-01,,,"it, ""new"""\r\n\r\n,,,,,,,\r\n', ""),
        (HEAD.encode("utf-16"), "people.csv:1: is UTF-16; save it as UTF-8"),
        (HEAD.encode() + ROW.replace("a@", "ä@").encode("latin-1"), "people.csv:2: byte 0xE4 is not UTF-8"),
        (HEAD + ROW.replace("p-1", "p\x001"), "people.csv:2: holds a NUL byte"),
        (
            HEAD.replace("end", "ended"),
            "people.csv:1: column 6 (ended): is no column of this register; the columns are",
        ),
        (HEAD.replace("email", "id"), "people.csv:1: column 2 (id): stands here a second time"),
        (HEAD.replace(",department", ""), "people.csv:1: the column department is missing"),
        (HEAD + ROW.replace(",,,", ",,"), "people.csv:2: has 7 cells where the first line has 8"),
        (HEAD + ROW.replace("p-1", '"p-1'), "people.csv:2: cannot be read as CSV"),
        (HEAD + ROW.replace("p-1", ""), "people.csv:2: column 1 (id): is empty; write for example p-17"),
        (
            HEAD + ROW.replace("2024-03-01", "2024-02-30"),
            "column 5 (start): '2024-02-30' is not a day; write for example",
        ),
        (HEAD + ROW.replace("2024-03-01", "20240301"), "column 5 (start): '20240301' is not a day"),
        (HEAD + ROW.replace("a@example.org", "a.example.org"), "column 2 (email): 'a.example.org' has the wrong form"),
        (HEAD + ROW.replace("p-1", "=cmd|' /C calc'!A0"), "column 1 (id): begins with =, so that a spreadsheet"),
        (HEAD + ROW.replace("p-1", "@SUM(A1)"), "begins with @"),
        (HEAD + ROW.replace("p-1", "p\u202e1"), "column 1 (id): holds U+202E, which nobody can see"),
        (HEAD + ROW.replace("p-1", '"p\n1"') + ROW, "people.csv:2: column 1 (id): holds U+000A"),
        (HEAD + ROW.replace("p-1", "p" * 301), "has more than 300 characters; shorten it"),
        (
            HEAD + ROW + ROW.replace("p-1", "P-1"),
            "people.csv:3: column 1 (id): P-1 stands here a second time, first in line 2",
        ),
        (
            HEAD + '"a\nb",,,,,,,\n' + ROW.replace("active", "on"),
            "people.csv:4: column 3 (status): 'on' is not known here",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place_and_what_to_write(content: bytes | str, told: str) -> None:
    found = table.read("people", content.encode() if isinstance(content, str) else content)
    if told:
        assert found.faults
        assert told in "\n".join(map(str, found.faults))
    else:
        assert found.faults == ()


def test_times_words_and_numbers_are_held_to_their_form() -> None:
    form = shape("changes")
    good = [form.example(name) for name in form.columns]
    head = ",".join(form.columns)
    assert table.read("changes", f"{head}\n{','.join(good)}\n".encode()).faults == ()
    bad = ",".join(good).replace("2026-03-01T09:00:00Z", "2026-03-01 09:00")
    (fault,) = table.read("changes", f"{head}\n{bad}\n".encode()).faults
    assert "'2026-03-01 09:00' is not a time with its zone; write for example 2026-03-01T09:00:00Z" in str(fault)
    form = shape("suppliers")
    row = ",".join(form.example(name) for name in form.columns)
    found = table.read(
        "suppliers", f"{','.join(form.columns)}\n{row.replace('confidentiality', 'audit | exit')}\n".encode()
    )
    assert found.rows[0]["clauses"] == ["audit", "exit"]
    found = table.read(
        "suppliers", f"{','.join(form.columns)}\n{row.replace('confidentiality', 'audit|audit')}\n".encode()
    )
    assert "names one word twice" in str(found.faults[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_its_examples_hold(name: str) -> None:
    from jsonschema import Draft202012Validator

    form = shape(name)
    Draft202012Validator.check_schema(dict(form.schema))
    assert form.schema["title"] == f"{name}.csv"
    assert set(form.schema["required"]) | set(form.key) <= set(form.columns)
    row = ",".join(form.example(column) for column in form.columns)
    found = table.read(name, f"{','.join(form.columns)}\n{row}\n".encode())
    assert (found.faults, len(found.rows)) == ((), 1)
    for column, rule in form.schema["properties"].items():
        assert rule["description"], column


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: (HEAD + text).encode("utf-8", "replace")))
def test_nothing_in_a_file_breaks_the_reader_and_no_row_is_lost_in_silence(raw: bytes) -> None:
    found = table.read("people", raw)
    if not found.faults:
        assert all(row["id"] and row["start"] for row in found.rows)
    assert all(fault.what and fault.write and fault.line >= 1 for fault in found.faults)
    row, _, faults = document.read("documents/a.md", raw)
    assert bool(faults) == (row is None)


def test_a_document_is_read_from_its_head_and_its_text_is_searched(folder: RegisterWorld) -> None:
    folder.write("documents/policies/pol-01.md", POLICY)
    folder.write("documents/README", "not a document")
    folder.write("documents.csv", ",".join(shape("documents").columns) + "\nP-2,Other,1,draft,,,,,,,,wiki\n")
    reading = folder.read("register.documents")
    assert reading.shard.population.proven
    first, second = reading.rows
    assert (first["id"], first["version"], first["location"]) == ("POL-01", "3.10", "documents/policies/pol-01.md")
    assert first["topics"] == ["information-security", "acceptable-use"]
    assert first["Terminology"] == [
        {"line": 16, "found": "A.9.2.1", "write": "a number of the 2013 edition; in 2022 it is A.5.16"}
    ]
    assert (second["id"], second["Terminology"], second["topics"]) == ("P-2", None, [])
    assert [line["params"] for line in reading.ledger.lines if line["op"] == "register:read"] == [
        {"path": "documents.csv"}, {"path": "documents/policies/pol-01.md"},
    ]  # fmt: skip
    same(folder, reading)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no head", "documents/a.md:1: has no head; begin with a line ---"),
        ("---\nid: x\n", "has no head"),
        ("---\nid: [x\n---\n", "documents/a.md:3: the head is no well-formed YAML"),
        (
            POLICY.replace("status: approved", "status: ok"),
            "documents/a.md:5: column 1 (status): 'ok' is not known here",
        ),
        (POLICY.replace("owner: p-1", "ownr: p-1"), "documents/a.md:6: column 1 (ownr): is no entry of the head"),
        (POLICY.replace("owner: p-1", "id: p-1"), "documents/a.md:6: column 1 (id): stands here a second time"),
        (POLICY.replace("owner: p-1", "owner: {a: b}"), "is neither text nor a list of words"),
        (POLICY.replace("owner: p-1", "owner: [a]"), "column 1 (owner): is a list where one value belongs"),
        (POLICY.replace("version: 3.10\n", ""), "documents/a.md:1: version is empty; write for example 3.1"),
        (POLICY.replace("2026-01-15", "15.1.2026"), "'15.1.2026' is not a day"),
        (POLICY.replace("[information-security, ", "[Information Security, "), "has the wrong form"),
    ],
)
def test_what_is_wrong_with_a_head_is_told_with_its_place(text: str, told: str) -> None:
    row, _, faults = document.read("documents/a.md", text.encode())
    assert row is None
    assert told in "\n".join(map(str, faults))


def test_a_document_with_a_fault_and_an_id_used_twice_make_the_list_unproven(folder: RegisterWorld) -> None:
    folder.write("documents/a.md", POLICY)
    folder.write("documents/b.md", "nothing")
    reading = folder.read("register.documents")
    assert ("documents/b.md:1: has no head" in why(reading), len(reading.rows)) == (True, 1)
    same(folder, reading)
    folder.write("documents/b.md", POLICY)
    reading = folder.read("register.documents")
    assert "listed POL-01 twice" in why(reading)


# What lies outside the folder


def test_no_symbolic_link_leads_out_of_the_folder(folder: RegisterWorld) -> None:
    outside = folder.tmp / "secret.csv"
    outside.write_bytes(PEOPLE)
    (folder.root / "people.csv").symlink_to(outside)
    reading = folder.read("register.people")
    assert why(reading) == "people.csv could not be read: a symbolic link stands in its place, or in the way to it"
    assert b"a@example.org" not in b"".join(reading.ledger.objects.values())
    same(folder, reading)
    (folder.tmp / "elsewhere").mkdir()
    (folder.tmp / "elsewhere" / "a.md").write_text(POLICY)
    (folder.root / "documents").symlink_to(folder.tmp / "elsewhere")
    assert "documents could not be read: a symbolic link" in why(folder.read("register.documents"))
    (folder.root / "documents").unlink()
    for name in ("documents/linked", "documents/linked.md"):
        folder.write("documents/b.md", POLICY)
        (folder.root / name).symlink_to(folder.tmp / "elsewhere")
        assert f"{name} is a symbolic link" in why(folder.read("register.documents"))
        (folder.root / name).unlink()


def test_no_path_leads_upwards(folder: RegisterWorld, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(PEOPLE)

    @source("register.upwards", key="id", per="connection", permissions=("read",))
    def upwards(registers: Registers) -> Iterator[Row]:
        """A source that is wrong."""
        yield from registers.table("x/../../people")

    (folder.root / "x").mkdir()
    wire = LiveWire(Task("register.upwards", "registers"), MemoryLedger())
    connection = Register(wire, folder.root, retry=Retry(attempts=1), limits=LIMITS)
    assert isinstance(upwards, Source)
    shard = fetch(wire.task, upwards, connection, tmp_path / "rows")
    assert shard.population.gap is not None
    assert (shard.population.rows, shard.population.gap.kind) == (0, "crashed")


def test_what_is_no_plain_file_too_large_or_forbidden_is_a_gap(folder: RegisterWorld) -> None:
    os.mkfifo(folder.root / "people.csv")
    assert "it is not a regular file" in why(folder.read("register.people"))
    folder.write("roles.csv", b"x" * 2000)
    reading = folder.read("register.roles", limits=Limits(max_reply_bytes=1000))
    assert "larger than 1000 bytes" in why(reading)
    same(folder, reading, limits=Limits(max_reply_bytes=1000))
    folder.write("documents/a\tb.md", POLICY)
    assert "has a name that cannot be printed" in why(folder.read("register.documents"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_denied(folder: RegisterWorld) -> None:
    folder.write("people.csv", PEOPLE)
    (folder.root / "people.csv").chmod(0)
    reading = folder.read("register.people")
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == "denied"


# git


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=A. Smith", "-c", "user.email=a.smith@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_of_a_file_is_recorded_where_there_is_one(folder: RegisterWorld) -> None:
    folder.write("people.csv", PEOPLE)
    folder.write("roles.csv", ",".join(shape("roles").columns) + "\n")
    git(folder.tmp, "init", "-q")
    git(folder.tmp, "add", "registers/people.csv")
    git(folder.tmp, "commit", "-q", "-m", "people")
    reading = folder.read("register.people")
    log = json.loads(reading.ledger.objects[reading.ledger.lines[1]["sha256"]])
    head = git(folder.tmp, "rev-parse", "HEAD")
    assert (log["head"], log["commit"], log["author"]) == (head, head, "A. Smith <a.smith@example.org>")
    content = hashlib.sha1(b"blob %d\0" % len(PEOPLE) + PEOPLE).hexdigest()
    assert log["blob"] == content, "anyone can hold the recorded bytes against the commit"
    same(folder, reading)
    reading = folder.read("register.roles")
    assert reading.ledger.objects[reading.ledger.lines[1]["sha256"]] == b"{}"
    assert reading.shard.population.proven


def test_a_repository_cannot_make_us_run_a_program(folder: RegisterWorld) -> None:
    folder.write("people.csv", PEOPLE)
    git(folder.tmp, "init", "-q")
    git(folder.tmp, "add", "registers/people.csv")
    git(folder.tmp, "commit", "-q", "-m", "people")
    ran = folder.tmp / "ran"
    evil = folder.tmp / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {ran}\n")
    evil.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "gpg.program", "core.sshCommand", "diff.external"):
        git(folder.tmp, "config", name, str(evil))
    git(folder.tmp, "config", "log.showSignature", "true")
    assert folder.read("register.people").shard.population.proven
    assert not ran.exists()


# The configuration and the commands


def test_the_configuration_names_the_folder_and_a_run_is_reperformed(tmp_path: Path) -> None:
    office = Office(tmp_path / "office", "http://127.0.0.1:9")
    folder = office.folder / "registers"
    assert affidavit("registers", "init", str(folder)).code == 0
    (folder / "people.csv").write_bytes(PEOPLE)
    (folder / "documents").joinpath("policy.md").write_text(POLICY)
    (folder / "roles.csv").unlink()
    text = office.config.read_text()
    start, end = text.index("connections:"), text.index("collection:")
    declared = "connections: [{name: registers, kind: register, folder: registers}]\n"
    office.config.write_text(text[:start] + declared + text[end:])
    assert load(office.config).connections == (RegisterConnection("registers", folder),)
    said = office.run("--json")
    assert said.code == 3, said.err
    gaps = {gap["dataset"]: gap["reason"] for gap in office.lines("gap")}
    assert gaps == {"register.roles": "there is no roles.csv in the folder of registers"}
    found = {(one["check"], one["resource"]): one["outcome"] for one in office.lines("finding")}
    assert found["register.documents.information-security-policy", "registers"] == "PASS"
    assert found["register.documents.cryptography", "registers"] == "FAIL"
    assert found["register.documents.terminology", "POL-01"] == "FAIL"
    assert found["register.roles.held", "(all)"] == "UNKNOWN"
    assert found["register.changes.approved-before", "(none)"] == "SKIP"
    assert "ERROR" not in found.values()
    with office.sealed() as run:
        lines = list(run.replies())
    spans = [line for line in lines if line["params"] == {"path": "people.csv"} and line["op"] == "register:read"]
    assert spans
    assert all("spans" in line for line in spans), "addresses can be left out of a bundle"
    assert office.verify().ok
    (folder / "people.csv").unlink()
    assert office.rerun().code == 0
    day = datetime.now(UTC).date()
    period = ("--from", str(day - timedelta(days=1)), "--to", str(day + timedelta(days=1)))
    assert affidavit(*office.command("bundle", *period, "-o", str(tmp_path / "bundle"), "--redact")).code == 0
    assert affidavit("rerun", str(tmp_path / "bundle")).code == 0, "an address that is left out is no fault of its row"
    assert not [
        path for path in tmp_path.joinpath("bundle").rglob("*") if path.is_file() and PEOPLE in path.read_bytes()
    ]


def test_check_prints_every_fault_and_every_wrong_term(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert affidavit("registers", "init", str(folder)).code == 0
    assert two_lines(affidavit("registers", "init", str(folder)))
    said = affidavit("registers", "check", str(folder))
    assert (said.code, said.out) == (0, "")
    (folder / "documents" / "policy.md").write_text(POLICY)
    said = affidavit("registers", "check", str(folder))
    assert (said.code, said.out) == (
        1, "documents/policy.md:16: A.9.2.1; a number of the 2013 edition; in 2022 it is A.5.16\n",
    )  # fmt: skip
    (folder / "documents" / "other.md").write_text(POLICY)
    (folder / "people.csv").write_bytes(PEOPLE.replace(b"active", b"on"))
    (folder / "roles.csv").unlink()
    (folder / "roles.csv").symlink_to(folder / "people.csv")
    said = affidavit("registers", "check", str(folder), "--json")
    assert said.code == 3
    assert [(one["file"], one["line"], one["name"]) for one in said.json["faults"]] == [
        ("people.csv", 2, "status"), ("roles.csv", 1, ""), ("documents/policy.md", 1, ""),
    ]  # fmt: skip
    assert said.json["schema"] == "affidavit.registers/1"
    assert two_lines(affidavit("registers", "check", str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    assert two_lines(affidavit("registers", "check", str(tmp_path / "empty")))


def test_check_names_a_file_that_has_nearly_the_name_of_a_register(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert affidavit("registers", "init", str(folder)).code == 0
    for name in ("poeple.csv", "Assets.csv", "notes.csv", "LICENCE"):
        (folder / name).write_text("id\n")
    said = affidavit("registers", "check", str(folder))
    assert said.code == 3
    assert [line.partition(": ")[0].partition(":")[0] for line in said.out.splitlines()] == ["Assets.csv", "poeple.csv"]
    assert "call it assets.csv" in said.out
    assert "call it people.csv" in said.out


def test_a_cell_that_is_too_long_is_told_as_such() -> None:
    (fault,) = table.read("people", b"id,email,status,kind,start,end,manager,department\n" + b"p" * 200_000).faults
    assert (fault.line, fault.what) == (2, "has a cell of more than 131072 characters")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    office = Office(tmp_path / "office", "http://127.0.0.1:9")
    text = office.config.read_text()
    start, end = text.index("connections:"), text.index("collection:")
    declared = "connections: [{name: registers, kind: register, folder: nowhere}]\n"
    office.config.write_text(text[:start] + declared + text[end:])
    assert office.run("--json", "--check", "register.people.consistent").code == 3
    told = f"{office.folder / 'nowhere'}, the folder of registers, is not there, or no folder"
    gaps = {(gap["gap"], gap["reason"]) for gap in office.lines("gap")}
    assert gaps == {("unauthenticated", f"the connection could not be opened: {told}")}
    assert office.rerun().code == 0


# The linter of terms


@pytest.mark.parametrize(
    ("text", "found", "write"),
    [
        ("ISO/IEC 27001:2017", "27001:2017", "there is no edition of 2017; write ISO/IEC 27001:2022, with /Amd 1:2024"),
        ("THEN ISO/IEC 27001:2017", "27001:2017", "there is no edition of 2017"),
        ("Annex A, in A.12.1", "A.12.1", "Annex A of ISO/IEC 27001:2022 has A.5 to A.8 only"),
        ("ISO/IEC 27001:2013", "27001:2013", "that edition was replaced; write ISO/IEC 27001:2022"),
        ("ISO/IEC 27001-2022", "27001-2022", "write ISO/IEC 27001:2022"),
        ("ISO/IEC 27002:2021", "27002:2021", "there is no edition of 2021; write ISO/IEC 27002:2022"),
        ("ISO27001", "ISO27001", "write ISO/IEC 27001"),
        ("ISO/EIC 27001", "ISO/EIC 27001", "write ISO/IEC 27001"),
        ("ISO 27001", "ISO 27001", "its name is ISO/IEC 27001"),
        ("A.9.2.1", "A.9.2.1", "a number of the 2013 edition; in 2022 it is A.5.16"),
        ("A.18.2.3", "A.18.2.3", "a number of the 2013 edition; in 2022 it is A.5.36 and A.8.8"),
        ("A.9.9.9", "A.9.9.9", "no edition of Annex A has that number"),
        ("A.8.35", "A.8.35", "A.8 of ISO/IEC 27001:2022 ends with A.8.34"),
        ("A.12.1", "A.12.1", "Annex A of ISO/IEC 27001:2022 has A.5 to A.8 only"),
        ("Annex A has 114 controls", "Annex A has 114 controls", "Annex A of ISO/IEC 27001:2022 has 93 controls"),
        ("the 114 controls of Annex A", "114 controls of Annex A", "Annex A of ISO/IEC 27001:2022 has 93 controls"),
        ("ISO/IEC 27002 certified", "27002 certified", "it is guidance, against which nobody is certified"),
        ("certified against ISO/IEC 27002", "certified against ISO/IEC 27002", "it is guidance"),
        ("ISO/IEC 27001:2022/Amd1:2024", "27001:2022/Amd1:2024", "write ISO/IEC 27001:2022/Amd 1:2024"),
        ("ISO/IEC 27001:2022+A1", "27001:2022+A1", "write ISO/IEC 27001:2022/Amd 1:2024"),
        ("ISO/IEC 27001:2022/Amd 1:2023", "27001:2022/Amd 1:2023", "write ISO/IEC 27001:2022/Amd 1:2024"),
        ("ISO/IEC 27017:2026, CLD.6.3.1", "CLD.6.3.1", "a number of ISO/IEC 27017:2015; in 2026 it is 5.38"),
        ("CLD.6.3.2", "CLD.6.3.2", "ISO/IEC 27017:2015 has CLD.6.3.1, CLD.8.1.5"),
        ("Statement of Application", "Statement of Application", "write Statement of Applicability"),
        ("certified by ISO", "certified by ISO", "ISO certifies nobody"),
    ],
)
def test_a_wrong_term_is_found_with_its_line_and_what_to_write(text: str, found: str, write: str) -> None:
    told = terminology.findings(f"# Title\n\nWe follow {text}.\n")
    assert [one["line"] for one in told] == [3] * len(told)
    assert any(one["found"] == found and one["write"].startswith(write) for one in told), told


@pytest.mark.parametrize(
    "text",
    [
        "ISO/IEC 27001:2022, with ISO/IEC 27001:2022/Amd 1:2024, and ISO/IEC 27001:2022 Amendment 1:2024",
        "A.5.1, A.8.34 and A.7.14 of Annex A, which has 93 controls; clauses 6.1.3 and 9.2.2",
        "ISO/IEC 27001:2013 was replaced by the edition of 2022; A.9.2.1 corresponds to A.5.16",
        "We are certified to ISO/IEC 27001 and use the guidance of ISO/IEC 27002:2022",
        "ISO/IEC 27017:2015, CLD.6.3.1; ISO/IEC 27018:2025, A.10.11 and A.2.1",
        "version 1.2.3 of 2013, release A1, room A.12, section A.5.1.1.1",
        "Statement of Applicability",
        "EN ISO/IEC 27001:2023, BS EN ISO/IEC 27001:2023, DIN EN ISO/IEC 27001:2024-01, NEN-EN-ISO/IEC 27002:2017",
        "JIS Q 27001:2023 and AS ISO/IEC 27001:2023",
        "rooms in Appendix A.9.1 of the lease; Table A.12.1",
    ],
)
def test_what_is_right_is_left_alone(text: str) -> None:
    assert terminology.findings(text) == []


def test_the_numbers_are_those_of_the_catalogue() -> None:
    catalogues = load_catalogues(content_root() / "mappings")
    for theme, count in terminology.THEMES.items():
        found = [key for key in catalogues.controls if key[0] == "iso-27001" and key[2].startswith(f"A.{theme}.")]
        assert len(found) == count
    for standard, edition in (("iso-27017", "2015"), ("iso-27017", "2026"), ("iso-27002", "2022")):
        assert (standard, edition) in catalogues.all
        assert edition in terminology.EDITIONS[standard.removeprefix("iso-")]


def test_a_long_line_takes_no_time() -> None:
    import time

    started = time.monotonic()
    for line in ("certified to " + "a" * 200_000, "A." * 100_000, "CLD" + ".1" * 100_000, "27001 controls " * 20_000):
        terminology.findings(line)
    assert time.monotonic() - started < 5
