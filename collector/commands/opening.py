"""What commands open, and where they write: the configuration, its key and its store, a store that must verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import Config, load
from collector.console import say
from collector.errors import AffidavitError, ConfigError

if TYPE_CHECKING:
    from evidence_store.keys import Signer
    from evidence_store.store import Store


class NotVerifiedError(AffidavitError):
    """A store or a bundle is not what was sealed, or not by the key that was given."""

    exit_code = 4


def configured(path: Path) -> Config:
    """The configuration in a file.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no configuration at {path}", "make one with: affidavit init, or name it with --config"
        )
    return load(path)


def stored(config: Config) -> Path:
    """The folder of the store that a configuration names.

    Raises:
        ConfigError: nothing is there yet.
    """
    if not config.store.path.exists():
        raise ConfigError(f"there is no store at {config.store.path} yet", "make it with: affidavit run")
    return config.store.path


def writable_store(config: Config, key: Signer | None = None) -> Store:
    """The store of a configuration, to be written to; made, where there is none. Without ``key`` its own is opened."""
    from collector.signing import bucket, signer
    from evidence_store.store import Store

    key = key or signer(config)
    path, remote = config.store.path, bucket(config)
    if not (path / "STORE.json").exists() and not (remote and remote.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        lag = {"timestamp": {"maxLagHours": config.timestamps.max_lag_h}} if config.timestamps.authorities else {}
        return Store.create(path, origin=config.store.origin, signer=key, policy=lag, remote=remote)
    store = Store.open(path, signer=key, remote=remote)
    for number in store.recovered:
        say(f"run {number} had not ended; it is now on record as aborted, with what it had read")
    if store.origin != config.store.origin:
        store.close()
        raise ConfigError(
            f"the store at {path} is {store.origin}, the configuration says {config.store.origin}",
            "correct store.origin, or name another folder",
        )
    return store


def verified(path: Path, key: str) -> None:
    """A store is what was sealed, by that key.

    Raises:
        NotVerifiedError: it is not.
    """
    from evidence_store.verify import verify_store

    verification = verify_store(path, key=key)
    if not verification.ok:
        problem = verification.problems[0] if verification.problems else "the signer is not authenticated"
        raise NotVerifiedError(
            f"the store does not verify: {problem}",
            "do not rely on it; affidavit verify shows everything that is wrong",
        )


def content(path: Path, what: str = "a file") -> bytes:
    """The bytes of a file that a person named.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", f"name {what}") from error


def write(path: Path, content: bytes) -> None:
    """Put the result of a command into the file a person named.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror}", "name a file in a folder that you may write to"
        ) from error
