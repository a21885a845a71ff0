"""``affidavit init``: a folder that works at once, and nothing overwritten."""

import stat
from pathlib import Path

import pytest

from collector import config, starter
from collector.errors import ConfigError
from evidence_store.errors import KeyFileError
from evidence_store.keys import load_key_file


def test_init_writes_a_configuration_that_opens_its_key(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    started = starter.init(folder)
    assert sorted(p.name for p in started.files) == ["affidavit.key", "affidavit.passphrase", "config.yaml"]
    assert sorted(folder.iterdir()) == sorted(started.files)
    read = config.load(folder / "config.yaml")
    passphrase = read.key.passphrase.resolve(read.folder).reveal()
    assert len(passphrase) >= 40
    assert load_key_file(read.key.file, passphrase.encode()).public.fingerprint == started.fingerprint
    for name in ("affidavit.key", "affidavit.passphrase"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    example = Path(__file__).parent.parent / "config.example.yaml"
    assert (folder / "config.yaml").read_bytes() == example.read_bytes()


def test_two_folders_share_nothing(tmp_path: Path) -> None:
    first, second = starter.init(tmp_path / "a"), starter.init(tmp_path / "b")
    assert first.fingerprint != second.fingerprint
    assert (tmp_path / "a/affidavit.passphrase").read_bytes() != (tmp_path / "b/affidavit.passphrase").read_bytes()


def test_a_passphrase_of_the_caller_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = starter.init(tmp_path, b"chosen by a person")
    assert [p.name for p in started.files] == ["config.yaml", "affidavit.key"]
    assert all(b"chosen by a person" not in p.read_bytes() for p in tmp_path.iterdir())
    read = config.load(tmp_path / "config.yaml")
    assert str(read.key.passphrase) == "env:AFFIDAVIT_KEY_PASSPHRASE"
    monkeypatch.setenv("AFFIDAVIT_KEY_PASSPHRASE", "chosen by a person")
    passphrase = read.key.passphrase.resolve(read.folder).reveal().encode()
    assert load_key_file(read.key.file, passphrase).public.fingerprint == started.fingerprint


@pytest.mark.parametrize("name", ["config.yaml", "affidavit.key", "affidavit.passphrase"])
def test_what_is_there_is_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} is there already"):
        starter.init(tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, "mine")]


def test_a_dangling_link_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is there already"):
        starter.init(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_when_it_fails_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError):
        starter.init(tmp_path, b"")
    assert list(tmp_path.iterdir()) == []

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("collector.starter.os.fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        starter.init(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file cannot be written: (File exists|Not a directory)"):
        starter.init(tmp_path / "file")


def test_someone_who_is_faster_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that appears after we looked is refused by the file system itself."""
    monkeypatch.setattr("collector.starter.os.path.lexists", lambda path: False)
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="File exists"):
        starter.init(tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("config.yaml", "mine")]
