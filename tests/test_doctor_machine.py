"""What the doctor says of the user it runs as: on its own machine, in a folder of registers, and at TLS endpoints."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.doctor import machine
from collector.doctor.rights import FEW, Rights, named, told
from tests.doctor_bench import looked, states

NOBODY = 65534
PEOPLE = ("read people.csv",)


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who owns nothing, where root runs the tests."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_() -> Iterator[Path]:
    """A folder that everybody may look into; those of pytest are its owner's."""
    with tempfile.TemporaryDirectory(prefix="affidavit-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def registers(open_: Path) -> Path:
    """A folder that everybody may read, and root alone write to."""
    folder = open_ / "registers"
    folder.mkdir()
    (folder / "people.csv").write_text("id\n")
    folder.chmod(0o755 if os.geteuid() == 0 else 0o555)
    (folder / "people.csv").chmod(0o644 if os.geteuid() == 0 else 0o444)
    return folder


def test_a_folder_that_may_be_read_and_not_written_is_fine(registers: Path) -> None:
    with nobody():
        found = machine.folder(registers, PEOPLE)
    assert found == Rights(fine=f"reads {registers}, and may change nothing in it")


def test_a_folder_or_a_file_that_may_be_written_is_warned_of(registers: Path, tmp_path: Path) -> None:
    (registers / "people.csv").chmod(0o666)
    with nobody():
        assert machine.folder(registers, PEOPLE).changes == (f"write to {registers / 'people.csv'}",)
    registers.chmod(0o777)
    with nobody():
        assert machine.folder(registers, ("read roles.csv",)).changes == (f"write to {registers}",)
    connection = {"name": "there", "kind": "register", "folder": str(registers)}
    [(state, what)] = states(looked(tmp_path, connection, ("register.people",)))
    assert (state, what.startswith(f"holds rights to change things: write to {registers}")) == ("warning", True)


def test_a_folder_that_may_not_be_read_is_a_problem(registers: Path) -> None:
    (registers / "people.csv").chmod(0o600 if os.geteuid() == 0 else 0o000)
    with nobody():
        assert machine.folder(registers, PEOPLE).missing == (f"read {registers / 'people.csv'}",)
    registers.chmod(0o700 if os.geteuid() == 0 else 0o000)
    with nobody():
        assert machine.folder(registers, PEOPLE).missing == (f"read {registers}",)
    registers.chmod(0o755)


def test_a_file_that_is_not_there_lacks_no_right(registers: Path) -> None:
    with nobody():
        assert not machine.folder(registers, ("read roles.csv", "read documents/**.md")).missing


def test_root_may_change_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    [(state, what)] = states(looked(tmp_path, {"name": "there", "kind": "host"}, ("host.accounts",)))
    assert state == "warning"
    assert what == "holds rights to change things: everything on this machine, for it runs as root"


def test_another_user_is_told_what_it_may_not_read(open_: Path) -> None:
    (open_ / "shadow").write_text("")
    (open_ / "shadow").chmod(0o600 if os.geteuid() == 0 else 0o000)
    with nobody():
        needed = [f"host:read {open_}/shadow", f"host:read {open_}/absent", "host:read /etc/passwd", "host:list /etc"]
        found = machine.host([*needed, "host:read /proc/sys/**"])
    assert (found.missing, found.changes, found.untold) == ((f"host:read {open_}/shadow",), (), ())
    with nobody():
        found = machine.host(["host:read /etc/passwd", "host:list /etc"])
    assert found == Rights(fine="does not run as root, and may read the files it needs")


def test_programs_do_not_tell_what_they_need() -> None:
    with nobody():
        found = machine.host(["host:read /etc/passwd", "host:run sshd -T", "host:run auditctl -s"])
    assert found.untold == ("no program tells before it runs whether it needs root: auditctl, sshd",)
    assert (found.missing, found.changes) == ((), ())


def test_a_handshake_needs_no_right(tmp_path: Path) -> None:
    connection = {"name": "there", "kind": "tls", "endpoints": ["localhost:9"]}
    said = "a handshake needs no credential: there is no right to hold"
    assert states(looked(tmp_path, connection, ("tls.endpoints",))) == [("ok", said)]


def test_of_many_rights_the_first_are_named() -> None:
    many = tuple(f"r{number}" for number in range(FEW + 2))
    assert named(many) == "r0, r1, r2, r3, r4 and 2 more"
    assert named(many[:FEW]) == "r0, r1, r2, r3, r4"


def test_nothing_is_fine_where_something_is_missing_or_may_be_changed() -> None:
    both = Rights(missing=("a",), changes=("b",), untold=("c is not told",), fine="all is well")
    assert [(line.state, line.what) for line in told("there", both)] == [
        ("problem", "there: not allowed: a"), ("warning", "there: holds rights to change things: b"),
        ("warning", "there: c is not told"),
    ]  # fmt: skip
    assert [line.state for line in told("there", Rights(untold=("c is not told",), fine="the rest is well"))] == [
        "warning", "ok",
    ]  # fmt: skip
