"""The tutorial for a new SaaS works as it is written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from collector import examples, plan, plugins
from collector.catalogue import load_catalogues, load_mappings
from collector.config import load
from collector.model import instant
from tests.http_world import HttpWorld, Reply, Request, same, worlds

ROOT = Path(__file__).parent.parent


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The files of the page, beside a copy of our catalogues."""
    shutil.copytree(ROOT / "mappings" / "catalogues", tmp_path / "mappings" / "catalogues")
    page = (ROOT / "docs" / "tutorial-saas.md").read_text("utf8")
    written = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert list(written) == ["config.yaml", "house/acme.py", "tests/acme.yaml", "mappings/house/acme.yaml"]
    for name, text in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf8")
    return tmp_path


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[HttpWorld]:
    """The service of the page, with five members."""
    for world in worlds(HttpWorld, tmp_path):
        members = [{"id": f"m{n}", "phone": "555-0101", "blocked": n == 3, "two_factor": n < 3} for n in range(5)]

        def listed(request: Request, members: list[dict[str, object]] = members) -> Reply:
            start = int(request.query.get("cursor", 0))
            more = {"next": str(start + 2)} if start + 2 < 5 else {}
            return Reply(body={"members": members[start : start + 2], **more})

        world.route("/v2/members", listed)
        world.paged("/v2/members/{id}/keys", [{"id": f"k{n}", "created_at": "2026-01-01T00:00:00Z"} for n in range(3)])
        yield world


def test_the_module_is_small_and_its_examples_and_rows_hold(house: Path) -> None:
    assert len((house / "house" / "acme.py").read_text().splitlines()) < 80
    library = plugins.load_folders((house / "house",))
    assert sorted(library.checks) == ["acme.members.keys-rotated", "acme.members.second-factor"]
    shown = list(examples.load(house / "tests", library.checks))
    assert len(shown) == 8
    for example in shown:
        outcome, reason = example.run(library.checks[example.check])
        assert outcome == example.outcome, reason
        assert example.reason in reason
    rows = load_mappings(house / "mappings", None, library.checks, load_catalogues(house / "mappings")).rows
    assert {row.check for row in rows} == set(library.checks)


def test_the_configuration_plans_it(house: Path) -> None:
    config = load(house / "config.yaml")
    made = plan.make(config, plugins.load(config.plugins), instant("2026-06-01T00:00:00Z"))
    assert [(task.dataset, task.connection) for task in made.tasks] == [("acme.members", "acme-prod")]
    assert (made.place("acme-prod").kind, made.place("acme-prod").endpoints) == ("acme", ("https://api.acme.example",))


def test_the_source_reads_a_real_server(house: Path, acme: HttpWorld) -> None:
    library = plugins.load_folders((house / "house",))
    members = library.sources["acme.members"]
    reading = acme.read_source(members)
    assert reading.shard.population.proven
    assert [row["id"] for row in reading.rows] == ["m0", "m1", "m2", "m3", "m4"]
    assert [len(row["listKeys"]) for row in reading.rows] == [3] * 5
    assert b"555" not in b"".join(reading.ledger.objects.values())
    second_factor = library.checks["acme.members.second-factor"]
    asked = {"as_of": instant("2026-06-01T00:00:00Z"), "scope": "acme", "params": MappingProxyType({})}
    said = [str(second_factor(row, **asked).outcome) for row in reading.rows]  # type: ignore[arg-type]
    assert said == ["PASS", "PASS", "PASS", "SKIP", "FAIL"]
    same(acme, reading, members)
