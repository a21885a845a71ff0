"""Questions every source is asked, and pages made by hand where the emulator cannot turn them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector.model import Unavailable
from tests.worlds import AwsWorld, FakeResponse, Reading

TYPES = {dict: "application/x-amz-json-1.1", str: "text/xml"}


class Answers:
    """Answers in the server's place: one body a request, in order; ``sent`` keeps what was asked."""

    def __init__(self, *bodies: dict[str, Any] | str) -> None:
        self._bodies = list(bodies)
        self.sent: list[str] = []

    def __call__(self, request: Any) -> FakeResponse:
        body = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        self.sent.append(f"{request.url} {body}")
        answer = self._bodies.pop(0)
        data = answer if isinstance(answer, str) else json.dumps(answer)
        return FakeResponse(200, data.encode(), {"content-type": TYPES[type(answer)]})


def xml(**elements: str) -> str:
    """Elements one after the other, each around its text."""
    return "".join(f"<{name}>{text}</{name}>" for name, text in elements.items())


def query(operation: str, **elements: str) -> str:
    """A reply of a service that speaks XML."""
    parts = {f"{operation}Result": xml(**elements), "ResponseMetadata": xml(RequestId="r")}
    return xml(**{f"{operation}Response": xml(**parts)})


def read_whole(world: AwsWorld, dataset: str, region: str = "") -> Reading:
    """The reading of a list that can be read to its end, and that replays to the same rows with nothing left over."""
    reading = world.read(dataset, region)
    population = reading.shard.population
    assert population.proven, population.gap
    again = world.replay(reading)
    assert reading.shard.path is not None
    assert again.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert again.shard.population == population
    assert again.unused == []
    return reading


def assert_no_rows(world: AwsWorld, dataset: str) -> None:
    """An empty list is a list that was read to its end."""
    reading = read_whole(world, dataset)
    assert reading.rows == []
    assert reading.shard.population.basis == "terminal-page"


def assert_denied(world: AwsWorld, dataset: str, operation: str) -> None:
    """A refused list proves nothing, and says who refused."""
    world.deny(operation)
    population = world.read(dataset).shard.population
    assert not population.proven
    assert population.gap is not None
    assert (population.gap.kind, population.gap.operation) == ("denied", operation)


def assert_refused_in_rows(world: AwsWorld, dataset: str, operation: str, key: str) -> None:
    """A refused sub-reply stands in its row under the name of its call; the list stays whole."""
    world.deny(operation)
    reading = world.read(dataset)
    with pytest.raises(Unavailable, match=f"{operation} was refused"):
        reading.row(key)[operation.partition(":")[2]]
    assert reading.shard.population.proven
    assert [(gap.operation, gap.resources) for gap in reading.shard.population.partial] == [(operation, (key,))]
