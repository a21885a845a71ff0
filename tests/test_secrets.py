"""Secrets are found where the reference says, refused where others can read them, and shown nowhere."""

import os
import pickle
import traceback
from pathlib import Path

import pytest

from collector.errors import ConfigError
from collector.secrets import MAX_BYTES, Secret, SecretRef

VALUE = "correct horse battery staple"


def file_ref(folder: Path, content: bytes, mode: int = 0o600) -> SecretRef:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return SecretRef.parse("file:secret")


def test_a_reference_is_read_and_written_alike() -> None:
    assert SecretRef.parse("env:A_1") == SecretRef("env", "A_1")
    assert SecretRef.parse("file:a b/c") == SecretRef("file", "a b/c")
    assert str(SecretRef("file", "/etc/x")) == "file:/etc/x"


@pytest.mark.parametrize(
    "text", ["", VALUE, "env:", "env:1A", "env:A-B", "file:", "file:a\nb", "ENV:A", " env:A", "env:A\n"]
)
def test_what_is_no_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SecretRef.parse(text)
    assert "reference" in caught.value.what
    assert caught.value.next_step
    assert VALUE not in caught.value.what + caught.value.next_step


def test_an_environment_variable_is_looked_up_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reference = SecretRef.parse("env:AFFIDAVIT_TEST")
    with pytest.raises(ConfigError, match="secret env:AFFIDAVIT_TEST is not set"):
        reference.resolve(tmp_path)
    monkeypatch.setenv("AFFIDAVIT_TEST", "")
    with pytest.raises(ConfigError, match="env:AFFIDAVIT_TEST is empty"):
        reference.resolve(tmp_path)
    monkeypatch.setenv("AFFIDAVIT_TEST", VALUE)
    assert reference.resolve(tmp_path).reveal() == VALUE


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_is_read_from_the_folder_of_the_configuration(tmp_path: Path, end: str) -> None:
    assert file_ref(tmp_path, f"{VALUE}{end}".encode()).resolve(tmp_path).reveal() == VALUE
    absolute = SecretRef("file", str(tmp_path / "secret"))
    assert absolute.resolve(Path("/nowhere")).reveal() == VALUE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=f"secret file:secret may be used by others: mode {mode:04o}") as caught:
        file_ref(tmp_path, VALUE.encode(), mode).resolve(tmp_path)
    assert caught.value.next_step == f"chmod 600 {tmp_path / 'secret'}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff" + VALUE.encode(), "not UTF-8"),
        (b"a" * (MAX_BYTES + 1), "larger"),
    ],
)
def test_a_file_with_no_secret_in_it_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        file_ref(tmp_path, content).resolve(tmp_path)
    assert "file:secret" in caught.value.what
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_what_is_not_a_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="not a plain file"):
        SecretRef("file", "pipe").resolve(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        SecretRef("file", ".").resolve(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        SecretRef("file", "none").resolve(tmp_path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = file_ref(tmp_path, VALUE.encode())
    owner = (tmp_path / "secret").stat().st_uid
    if owner == 0:
        os.chown(tmp_path / "secret", 12345, -1)
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    with pytest.raises(ConfigError, match="belongs to user"):
        reference.resolve(tmp_path)


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    secret = file_ref(tmp_path, VALUE.encode()).resolve(tmp_path)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]!r}", "%s" % secret):  # noqa: UP031
        assert VALUE not in text
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(Secret(VALUE))
    assert not hasattr(secret, "__dict__")
