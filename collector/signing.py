"""Opens the key that a configuration, or a command line, names, and the bucket it keeps evidence in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import Config
from collector.errors import ConfigError
from collector.secrets import SecretRef

if TYPE_CHECKING:
    from evidence_store.backends.s3 import Bucket
    from evidence_store.keys import Signer


def signer(config: Config) -> Signer:
    """The key that signs what this configuration collects.

    Raises:
        ConfigError: its passphrase or PIN is not there.
        StoreError: the key does not open.
    """
    key = config.key
    if key.uri is not None:
        return opened(key.uri, key.pin, config.folder)
    assert key.file is not None, "the configuration was checked"
    return opened(str(key.file), key.passphrase, config.folder)


def opened(name: str, secret: SecretRef | None, folder: Path) -> Signer:
    """The key in a file, or the one a URI names; ``secret`` is its passphrase or PIN.

    Raises:
        ConfigError: the secret is not there.
        StoreError: the key does not open.
    """
    if name.startswith(("awskms:", "hsm:")):
        from evidence_store.signers import open_signer

        return open_signer(name, (lambda: secret.resolve(folder).reveal()) if secret else None)
    from evidence_store.keys import load_key_file

    if secret is None:
        raise ConfigError(f"the passphrase of {name} is missing", "name it with --secret env:NAME or file:PATH")
    return load_key_file(Path(name), secret.resolve(folder).reveal().encode())


def bucket(config: Config) -> Bucket | None:
    """The bucket of the store, if it has one."""
    named = config.store.bucket
    if named is None:
        return None
    from evidence_store.backends.s3 import Bucket

    return Bucket(
        named.uri,
        retention_days=named.retention_days,
        region=named.region,
        profile=named.profile,
        endpoint_url=named.endpoint_url,
    )
