"""Code hosts: what is named is read, each account for itself; how their lists end and how they say "there is none"."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector import plan, plugins
from collector.api import Newest, Row, source
from collector.config import HttpConnection, load
from collector.connect.http import Http
from collector.errors import ConfigError
from collector.model import Unavailable
from collector.paging import Page
from tests.http_world import HttpWorld, Reply, Request, same, worlds

CONFIG = """\
version: 1
organisation: Example Ltd
store: {{path: evidence, origin: log.example.org/a}}
key: {{file: a.key, passphrase: env:PASS}}
connections:
  - {{name: code, kind: {kind}, base_url: https://api.example.org, token: env:T{accounts}}}
"""


def configured(folder: Path, kind: str, accounts: str = "") -> Path:
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(kind=kind, accounts=accounts and f", accounts: {accounts}"))
    return path


@pytest.mark.parametrize(
    ("kind", "accounts", "said"),
    [
        ("github", "", "accounts is missing"),
        ("gitlab", "", "accounts is missing"),
        ("github", "[]", "accounts"),
        ("github", "[a, a]", "accounts"),
        ("gitlab", "[example/sub]", "accounts"),
        ("okta", "[example]", "does not belong to the kind okta"),
    ],
)
def test_a_code_host_names_what_is_read_and_nothing_else_does(
    tmp_path: Path, kind: str, accounts: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load(configured(tmp_path, kind, accounts))


def test_each_account_is_a_scope_and_what_belongs_to_the_connection_is_asked_once(tmp_path: Path) -> None:
    config = load(configured(tmp_path, "github", "[two, one]"))
    connection = config.connections[0]
    assert isinstance(connection, HttpConnection)
    assert connection.accounts == ("two", "one")
    wanted = ("github.members.owners-few", "github.organisations.collected")
    made = plan.make(config, plugins.load(), datetime(2026, 6, 1, tzinfo=UTC), wanted=lambda check: check.id in wanted)
    assert [task.id for task in made.tasks] == [
        "github.caller@code/two",
        "github.members@code/two",
        "github.caller@code/one",
        "github.members@code/one",
        "github.organisations@code",
    ]
    assert made.parameters["github.organisations.collected"] == {"collected_organisations": ("one", "two")}
    assert made.places[0].accounts == ("two", "one")
    assert plan.read(made.document, plugins.load()).tasks == made.tasks


SINCE = datetime(2026, 6, 1, tzinfo=UTC)
NEXT = {"link": '<https://api.example.org/x?page=2>; rel="next"'}


def page(*times: Any) -> Page:
    return Page(None, NEXT, [{"at": time} for time in times], len(times), 1)


def test_a_list_that_comes_newest_first_ends_with_the_page_that_reaches_back_before_the_period() -> None:
    pager = Newest("at", SINCE)
    assert pager.opening() == {}
    assert pager.following(page("2026-06-03T00:00:00Z", "2026-06-01T00:00:00Z")) is not None
    assert pager.following(page("2026-06-03T00:00:00Z", "2026-05-31T23:59:59Z")) is None
    assert pager.following(page()) is not None
    assert pager.following(Page(None, {}, [{"at": "2026-06-03T00:00:00Z"}], 1, 1)) is None


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (("2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"), "is not ordered by at, newest first"),
        ((None,), "without a time in at"),
        (("yesterday",), "without a time in at"),
    ],
)
def test_a_page_in_another_order_or_without_times_proves_nothing(times: tuple[Any, ...], said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        Newest("at", SINCE).following(page(*times))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[HttpWorld]:
    yield from worlds(HttpWorld, tmp_path)


@source("acme.things", key="id", per="connection", permissions=("GET /things", "GET /things/{id}/guard"))
def things(acme: Http) -> Iterator[Row]:
    """Every thing with its guard, which may not be set up."""
    for item in acme.pages("/things"):
        yield {**item, "guard": acme.attempt("/things/{id}/guard", id=item["id"], absent=("Guards are off*",))}


@pytest.mark.parametrize(
    ("status", "body", "absent"),
    [
        (403, {"message": "Guards are off for this thing."}, True),
        (404, {"message": "Guards are off"}, True),
        (403, {"message": "You may not see whether Guards are off"}, False),
        (404, {"message": "Not Found"}, False),
        (403, {"message": ["Guards are off"]}, False),
        (403, {}, False),
    ],
)
def test_the_vendors_sentence_tells_not_set_up_from_not_allowed(
    world: HttpWorld, status: int, body: dict[str, Any], absent: bool
) -> None:
    world.paged("/things", [{"id": 1}])
    world.route("/things/{id}/guard", lambda request: Reply(status, body))
    reading = world.read_source(things)
    if absent:
        assert reading.row("1")["guard"] is None
    else:
        with pytest.raises(Unavailable):
            reading.row("1")["guard"]
    same(world, reading, things)


@source("acme.pairs", key="id", per="connection", permissions=("GET /things", "GET /things/{id}/part"))
def pairs(acme: Http) -> Iterator[Row]:
    """Every thing with what it cannot do without."""
    found = ((item, acme.attempt("/things/{id}/part", id=item["id"])) for item in acme.pages("/things"))
    for item, part in acme.ahead(found):
        yield {**item, **part}


def test_what_was_asked_ahead_is_kept_and_on_record_when_the_list_breaks_off(world: HttpWorld) -> None:
    world.paged("/things", [{"id": number} for number in range(6)])
    world.route("/things/{id}/part", lambda request: Reply(body={"size": 1}))

    def broken(request: Request, _: int) -> Reply | None:
        return Reply(403, {}) if request.query.get("after") == "4" else None

    world.faults["/things"] = broken
    reading = world.read_source(pairs)
    assert len(reading.rows) == 4
    assert reading.shard.population.gap is not None
    assert len(reading.shard.population.replies) == 3 + 4
    same(world, reading, pairs)


def test_a_refused_part_ends_the_source_and_the_others_asked_are_on_record(world: HttpWorld) -> None:
    world.paged("/things", [{"id": number} for number in range(6)])
    refused = {"1": Reply(403, {})}
    world.route("/things/{id}/part", lambda request: refused.get(request.query["{id}"], Reply(body={"size": 1})))
    reading = world.read_source(pairs)
    assert [row["id"] for row in reading.rows] == [0]
    assert len(reading.shard.population.replies) == 3 + 6
    same(world, reading, pairs)
