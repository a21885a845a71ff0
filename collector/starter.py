"""What ``affidavit init`` leaves behind: a configuration, a key, and the passphrase that opens it."""

import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from collector.errors import ConfigError
from collector.plugins import content_root

CONFIG, KEY, PASSPHRASE = "config.yaml", "affidavit.key", "affidavit.passphrase"
VARIABLE = "AFFIDAVIT_KEY_PASSPHRASE"
"""Environment variable that the configuration refers to when the caller chose the passphrase."""


@dataclass(frozen=True, slots=True)
class Started:
    """What now stands in the folder."""

    files: tuple[Path, ...]
    """Each file that was written."""
    fingerprint: str
    """Of the key: what an auditor passes to ``--key``."""


def init(folder: Path, passphrase: bytes | None = None) -> Started:
    """A folder holds a configuration and a key of its own; nothing that was there is touched.

    Without a passphrase, a random one is made and kept in a file (mode 0600). With one, the configuration refers to
    the environment variable ``AFFIDAVIT_KEY_PASSPHRASE``, and nothing of it is written.

    Raises:
        ConfigError: a file of these names is there already, or the folder cannot be written.
        KeyFileError: the key could not be made.
        After either, no file of ours is left behind.
    """
    from evidence_store.keys import create_key_file

    config, key, secret = folder / CONFIG, folder / KEY, folder / PASSPHRASE
    wanted = (config, key, secret) if passphrase is None else (config, key)
    for path in wanted:
        if os.path.lexists(path):
            raise ConfigError(f"{path} is there already", "use it as it is, or name another folder")
    text = (content_root() / "config.example.yaml").read_text("utf-8")
    with ExitStack() as undo:
        _make_folder(folder)
        if passphrase is None:
            passphrase = secrets.token_urlsafe(32).encode()
            _create(secret, passphrase + b"\n", 0o600)
            undo.callback(secret.unlink)
        else:
            text = _refer_to_environment(text)
        fingerprint = create_key_file(key, passphrase)
        undo.callback(key.unlink)
        _create(config, text.encode(), 0o644)
        undo.pop_all()
    return Started(wanted, fingerprint)


def _refer_to_environment(text: str) -> str:
    reference = f"passphrase: file:{PASSPHRASE}"
    assert reference in text, "config.example.yaml names the passphrase file"
    return text.replace(reference, f"passphrase: env:{VARIABLE}")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _create(path: Path, content: bytes, mode: int) -> None:
    """A new file, whole and on disk before this returns; never an existing one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be written: {error.strerror}", "name a folder that you may write to")
