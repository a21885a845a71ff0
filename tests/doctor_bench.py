"""What the tests of the doctor share: a configuration with one connection, made ready without what they do not need."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from collector.catalogue import Catalogues, Mappings, load_catalogues, load_mappings
from collector.config import load as load_config
from collector.doctor import Line, examine
from collector.plugins import Library, content_root, load
from collector.run import Workbench
from evidence_store.keys import Signer, create_key_file, load_key_file

PASSPHRASE = b"for this test only"


@functools.cache
def signer(folder: Path) -> Signer:
    """A key, made and opened once for all tests of a folder."""
    create_key_file(folder / "key", PASSPHRASE)
    return load_key_file(folder / "key", PASSPHRASE)


@functools.cache
def content() -> tuple[Library, Catalogues, Mappings]:
    """Checks, catalogues and mappings as a run loads them, read once for all tests."""
    library, root = load(), content_root() / "mappings"
    catalogues = load_catalogues(root)
    return library, catalogues, load_mappings(root, None, library.checks, catalogues)


def secret(folder: Path, name: str, text: str) -> str:
    """A file that only its owner reads, and the reference to it."""
    (folder / name).touch(mode=0o600)
    (folder / name).write_text(text)
    return f"file:{name}"


def bench(folder: Path, connection: dict[str, Any], datasets: Sequence[str] = ()) -> Workbench:
    """Everything ready for one connection, with the checks that ask for ``datasets`` alone where any are named.

    Nothing is tried a second time: no test waits.
    """
    secret(folder, "pass", PASSPHRASE.decode())
    config = {
        "version": 1, "organisation": "Test", "store": {"path": "store", "origin": "test.example.org/doctor"},
        "key": {"file": "key", "passphrase": "file:pass"}, "collection": {"attempts": 1, "timeout_s": 10},
        "connections": [connection],
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps(config))
    library, catalogues, mappings = content()
    if datasets:
        only = {one.id: one for one in library.checks.values() if set(one.datasets) <= set(datasets)}
        assert {name for one in only.values() for name in one.datasets} == set(datasets)
        library = replace(library, checks=only)
    return Workbench(load_config(folder / "config.yaml"), library, catalogues, mappings)


def looked(folder: Path, connection: dict[str, Any], datasets: Sequence[str] = ()) -> list[Line]:
    """What the doctor says of the connection ``there``."""
    lines = list(examine(bench(folder, connection, datasets), lambda: signer(folder.parent)))
    assert not (folder / "store").exists(), "the doctor writes nothing"
    assert all(line.next_step for line in lines if line.state != "ok")
    return [line for line in lines if line.what.startswith("there: ")]


def states(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """State and words of each line."""
    return [(line.state, line.what.removeprefix("there: ")) for line in lines]
