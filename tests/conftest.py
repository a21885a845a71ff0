"""Fixtures that more than one test module uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from collector.yamlpos import Document
from tests.worlds import AwsWorld

pytest.register_assert_rewrite("tests.promises")


@pytest.fixture(scope="session")
def _aws_server() -> Iterator[AwsWorld]:
    world = AwsWorld.start()
    yield world
    world.stop()


@pytest.fixture
def aws_world(_aws_server: AwsWorld, tmp_path: Path) -> AwsWorld:
    """An empty AWS account on loopback, with faults to order."""
    _aws_server.reset(tmp_path)
    return _aws_server


@pytest.fixture(autouse=True)
def _no_remembered_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 keeps the credentials of its first client for the whole process; each test begins without."""
    if boto3 := sys.modules.get("boto3"):
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture(scope="session", autouse=True)
def _files_proven_once() -> Iterator[None]:
    """Hundreds of commands of a process read the same catalogues and mappings; each is held against its schema once.

    Whether a file is well-formed hangs on its bytes alone. What is wrong is told anew, and every row is proven anew.
    """
    from collector import catalogue

    read = catalogue._read
    held: dict[tuple[str, bytes], Document] = {}

    def once(path: Path, schema: Literal["catalogue", "mapping"]) -> Document:
        with suppress(OSError):
            if found := held.get((schema, path.read_bytes())):
                return replace(found, path=path)
        document = read(path, schema)
        held[schema, document.raw] = document
        return document

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "_read", once)
        yield
