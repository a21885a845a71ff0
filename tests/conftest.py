"""Fixtures that more than one test module uses."""

from __future__ import annotations

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
