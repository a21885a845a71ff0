"""What every kind of evidence promises of its sources; the tests of a kind bring its world and its facts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from collector import examples, plugins
from collector.judge import Bench, Parameters, judge
from collector.model import Finding, Gap, Outcome, Unavailable
from tests.database_servers import SqlWorld
from tests.http_world import SPECS, HttpWorld, Reply, Request
from tests.small_cloud import Office, files_of
from tests.worlds import Reading

World = HttpWorld | SqlWorld
CLOCK = "collector:clock"
TRIED_AGAIN = ("server-error", "throttled", "timeout")
"""Kinds of refusal that may be gone a moment later; the worlds try such a request twice."""


def sources_of(kind: str) -> list[str]:
    """The datasets of a kind, by name."""
    return sorted(name for name in plugins.load().sources if name.startswith(f"{kind}."))


def keys_of(reading: Reading) -> list[str]:
    """The keys of the rows, in the order they were read."""
    assert reading.shard.path is not None
    return [json.loads(line)["key"] for line in reading.shard.path.read_bytes().splitlines()]


def same(world: World, reading: Reading) -> None:
    """The recording gives the same rows and population, nothing is sent for it, and nothing recorded is left over."""
    sent = len(_sent(world))
    again = world.replay(reading)
    assert reading.shard.path is not None
    assert again.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert (again.shard.population, again.unused) == (reading.shard.population, [])
    assert len(_sent(world)) == sent


def read_whole(
    world: World,
    dataset: str,
    keys: Sequence[str] | None,
    *,
    asked: tuple[str, ...],
    personal: Iterable[bytes],
    paged: str | None = None,
    beside: Container[str] = (),
    ordered: bool = True,
) -> Reading:
    """All of it is read and replays; nothing is asked twice, and no personal value is kept.

    Args:
        keys: what there is; None where that depends on the machine, though there is something.
        asked: what operations begin with, but for the time of day.
        personal: values that stand in the replies and nowhere in what is kept.
        paged: what the operation ends with whose list has a second page here; empty for any.
        beside: operations that may be asked again.
        ordered: whether the keys come in that order.
    """
    reading = world.read(dataset)
    population = reading.shard.population
    assert population.gap is None
    assert population.partial == ()
    assert population.proven
    assert reading.rows
    if keys is not None:
        assert _ranked(keys_of(reading), ordered) == _ranked(keys, ordered)
    lines = reading.ledger.lines
    assert all(line["op"].startswith((*asked, CLOCK)) for line in lines)
    assert paged is None or 2 in {line["page"] for line in lines if line["op"].endswith(paged)}
    kept = json.dumps(lines).encode() + b"".join(reading.ledger.objects.values())
    assert [value for value in personal if value in kept] == []
    asked_once([reading], beside=beside)
    same(world, reading)
    return reading


def conforms(world: Any, *, beside: str | None = None) -> None:
    """No request and no reply departs from the vendor's description; paths that begin with ``beside`` are not in it."""
    if world.contract:
        assert world.contract.faults == []
        paths = [request.path for request in world.requests]
        described = [path for path in paths if beside is None or not path.startswith(beside)]
        assert world.contract.held or not described or world.faults


def described(world: Any) -> None:
    """Skips what was held against no description, since there is none."""
    if world.contract is None:
        pytest.skip(f"{SPECS} is absent: requests and replies were not held against the vendor's description")


def nothing_there(world: World, dataset: str, rows: int = 0) -> None:
    """Nothing is a complete empty list; ``rows`` where something is always told."""
    reading = world.read(dataset)
    assert reading.shard.population.proven
    assert len(reading.rows) == rows
    same(world, reading)


def refused(world: World, dataset: str, answer: Any, kind: str, *, where: str = ".*", before: int = 0) -> Gap:
    """A refused list is a gap of that kind, and asked again only where that may help.

    Args:
        where: what the world refuses: a pattern of paths, or words of a statement.
        before: how many requests are answered first.
    """
    world.faults[where] = _always(world, answer)
    reading = world.read(dataset)
    gap = reading.shard.population.gap
    assert gap is not None
    assert (reading.rows, str(gap.kind)) == ([], kind)
    assert len(_sent(world)) == before + (2 if kind in TRIED_AGAIN else 1)
    same(world, reading)
    return gap


def broken_off(
    world: HttpWorld, dataset: str, late: Callable[[Request], object], answer: Reply, rows: Container[int]
) -> None:
    """A list whose later pages are refused for want of a valid credential is unproven, with as many rows as came."""
    world.faults[".*"] = lambda request, number: answer if late(request) else None
    reading = world.read(dataset)
    population = reading.shard.population
    assert population.gap is not None
    assert population.gap.kind == "unauthenticated"
    assert not population.proven
    assert len(reading.rows) in rows
    same(world, reading)


def refused_part(
    world: HttpWorld, dataset: str, path: str, answer: Reply, row: str, field: str, *, parts: int = 1
) -> Reading:
    """A refused sub-reply stands in its row, and in no other; ``parts`` of a row may rest on it."""
    world.faults[path] = _always(world, answer)
    reading = world.read(dataset)
    with pytest.raises(Unavailable, match="was refused"):
        reading.row(row)[field]
    assert [gap.resources for gap in reading.shard.population.partial] == [(row,)] * parts
    same(world, reading)
    return reading


def asked_once(readings: Iterable[Reading], *, beside: Container[str] = ()) -> None:
    """Nothing is asked twice in all of these, but for operations that are named."""
    lines = [line for reading in readings for line in reading.ledger.lines if line["op"] not in beside]
    asked = [(line["op"], json.dumps(line["params"]), line["tokenIn"]) for line in lines]
    assert [one for one, times in Counter(asked).items() if times > 1] == []


def judged(
    readings: Sequence[Reading],
    failed: Mapping[str, Sequence[str]],
    now: datetime,
    parameters: Parameters | None = None,
    *,
    beside: Callable[[Finding], bool] = lambda finding: False,
    ordered: bool = True,
) -> list[Finding]:
    """Every check of the kind comes to a result, and just these fail for just these resources.

    Args:
        failed: resources by check.
        beside: failures that depend on the machine.
        ordered: whether the resources of a check come in that order.
    """
    kind = readings[0].shard.task.dataset.partition(".")[0]
    checks = [check for check in plugins.load().checks.values() if check.id.startswith(f"{kind}.")]
    findings = list(judge(checks, [reading.shard for reading in readings], Bench(now, parameters or {})))
    known = (Outcome.PASS, Outcome.FAIL, Outcome.SKIP)
    assert [(one.check, one.resource, one.reason) for one in findings if one.outcome not in known] == []
    found: dict[str, list[str]] = {}
    for finding in findings:
        if finding.outcome is Outcome.FAIL and not beside(finding):
            found.setdefault(finding.check, []).append(finding.resource)
    told, expected = ({check: _ranked(ids, ordered) for check, ids in one.items()} for one in (found, failed))
    assert told == expected
    assert {finding.check for finding in findings if finding.outcome is Outcome.PASS} - set(failed)
    return findings


def shown(folder: Path, kind: str) -> Iterator[tuple[str, str, Any]]:
    """Every row of the examples in a folder, with its check and dataset."""
    checks = {check.id: check for check in plugins.load().checks.values() if check.id.startswith(f"{kind}.")}
    for example in examples.load(folder, checks):
        check = checks[example.check]
        for number, (dataset, held) in enumerate(zip(check.datasets, example.rows, strict=True)):
            for row in [held] if check.each and not number else held:
                yield example.check, dataset, row


def drawn_from(rows: Mapping[str, list[Any]], folder: Path, *, optional: Container[str] = ()) -> set[str]:
    """What stands in an example stands in a row that its source yields: otherwise it was invented.

    Args:
        rows: what sources yield, by dataset; examples of other datasets are passed over.
        optional: names that replies hold where they apply.

    Returns:
        The datasets of which examples hold a row.
    """
    from tests.test_contract import _differences  # a slow module

    problems, used = set(), set()
    for check, dataset, row in shown(folder, next(iter(rows)).partition(".")[0]):
        if dataset in rows:
            used.add(dataset)
            told = _differences(row, rows[dataset], dataset)
            problems |= {f"{check}: {one}" for one in told if one.split(" ")[0].rpartition(".")[2] not in optional}
    assert not problems, "\n".join(sorted(problems))
    return used


def connected(folder: Path, connection: str, **files: str) -> Office:
    """An office with this connection and no other, and the files that hold its secrets."""
    office = Office(folder / "office", "http://127.0.0.1:1")
    for name, content in files.items():
        (office.folder / name).touch(mode=0o600)
        (office.folder / name).write_text(content)
    declared = f"connections: [{{{connection}}}]\n"
    text = office.config.read_text()
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", lambda _: declared, text, flags=re.MULTILINE))
    return office


def sealed(office: Office, *secrets: str) -> list[dict[str, Any]]:
    """A run comes to a result everywhere, is sealed and re-performed, and keeps no secret.

    Returns:
        What was asked.
    """
    said = office.run("--json")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    reperformed(office, *secrets)
    with office.sealed() as run:
        return list(run.replies())


def reperformed(office: Office, *secrets: str) -> None:
    """The store verifies, its run comes out the same again, and no secret is in it."""
    stored = b"".join(files_of(office.store).values())
    assert [secret for secret in secrets if secret.encode() in stored] == []
    assert office.verify().ok
    again = office.rerun()
    assert again.code == 0, again.err


def _ranked(names: Sequence[str], ordered: bool) -> list[str]:
    return list(names) if ordered else sorted(names)


def _sent(world: World) -> Sequence[object]:
    return world.asked if isinstance(world, SqlWorld) else world.requests


def _always(world: World, answer: Any) -> Any:
    return answer if isinstance(world, SqlWorld) else lambda request, number: answer
