"""Fixtures that more than one test module uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds import AwsWorld


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
