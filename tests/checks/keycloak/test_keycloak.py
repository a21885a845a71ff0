"""How Keycloak is read: against a world whose every request and reply is held against a description of its API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import examples, plugins
from collector.judge import Bench, judge
from collector.model import Outcome, Unavailable, instant
from tests.http_world import SPECS, Reply, Request, same, worlds
from tests.keycloak_world import KeycloakWorld
from tests.small_cloud import Office, files_of
from tests.test_contract import _differences
from tests.worlds import Reading

SOURCES = sorted(name for name in plugins.load().sources if name.startswith("keycloak."))
R = "/admin/realms/{realm}"


@pytest.fixture
def keycloak(tmp_path: Path) -> Iterator[KeycloakWorld]:
    """A furnished server; what it answered is held against the description afterwards."""
    for world in worlds(KeycloakWorld, tmp_path):
        furnish(world)
        yield world
        if world.contract:
            assert world.contract.faults == []
            assert world.contract.held or not world.requests or world.faults


def furnish(world: KeycloakWorld) -> None:
    """Two realms with invented people, in replies cut down from Keycloak's."""
    world.fill(Path(__file__).parent / "server.json")


KEYS = {
    "keycloak.admin-events": ["acme/ad0", "acme/ad3", "acme/ad1", "acme/ad2"],
    "keycloak.clients": ["c-rm", "c-shop", "c-app", "c-old", "c-cli", "c-acme-realm"],
    "keycloak.events": [f"acme/ev{number}" for number in (0, 1, 2, 3, 4, 6, 7)],
    "keycloak.flows": ["acme/browser", "acme/direct grant", "master/browser"],
    "keycloak.groups": [
        "acme/staff", "acme/staff/sales", "acme/staff/support", "acme/operators", "acme/operators/night", "acme/empty",
    ],
    "keycloak.identity-providers": ["acme/partner", "acme/branch"],
    "keycloak.issuers": ["acme", "master"],
    "keycloak.realms": ["acme", "master"],
    "keycloak.required-actions": ["acme/CONFIGURE_TOTP", "acme/UPDATE_PASSWORD", "master/CONFIGURE_TOTP"],
    "keycloak.roles": [
        "acme/default-roles-acme", "acme/helpdesk", "acme/offline_access",
        "master/admin", "master/default-roles-master",
    ],
    "keycloak.user-counts": ["acme", "master"],
    "keycloak.user-federation": ["l1"],
    "keycloak.users": ["u1", "u2", "u3", "u4", "u5", "m1"],
}  # fmt: skip
LISTS = ("admin-events", "clients", "events", "groups", "roles", "users")
"""Datasets whose list has a second page here."""


def keys_of(reading: Reading) -> list[str]:
    assert reading.shard.path is not None
    return [json.loads(line)["key"] for line in reading.shard.path.read_bytes().splitlines()]


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(keycloak: KeycloakWorld, dataset: str) -> None:
    reading = keycloak.read(dataset)
    assert reading.shard.population.gap is None
    assert reading.shard.population.partial == ()
    assert keys_of(reading) == KEYS[dataset]
    asked = ("keycloak:GET /admin/", "keycloak:GET /realms/", "collector:clock")
    assert all(line["op"].startswith(asked) for line in reading.ledger.lines)
    if dataset.removeprefix("keycloak.") in LISTS:
        assert 2 in {line["page"] for line in reading.ledger.lines}
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    for personal in (b"Ada", b"Invented", b"555 0100", b"hush", b"00-example-token"):
        assert personal not in kept
    same(keycloak, reading)
    if keycloak.contract is None:
        pytest.skip(f"{SPECS} is absent: requests and replies were not held against the description")


@pytest.mark.parametrize("dataset", KEYS)
def test_a_server_that_shows_no_realm_gives_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(KeycloakWorld, tmp_path):
        reading = empty.read(dataset)
        assert reading.shard.population.proven
        assert reading.rows == []


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, Reply(403, {"error": "HTTP 403 Forbidden"}), "denied") for dataset in KEYS),
        ("keycloak.users", Reply(401, {"error": "HTTP 401 Unauthorized"}), "unauthenticated"),
        ("keycloak.users", Reply(404, {"error": "Realm not found."}), "rejected"),
        ("keycloak.users", Reply(429, {"error": "slow down"}, {"Retry-After": "0"}), "throttled"),
        ("keycloak.users", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(keycloak: KeycloakWorld, dataset: str, reply: Reply, kind: str) -> None:
    keycloak.faults[".*"] = lambda request, number: reply
    reading = keycloak.read(dataset)
    assert reading.shard.population.gap is not None
    assert (reading.rows, str(reading.shard.population.gap.kind)) == ([], kind)
    assert len(keycloak.requests) == (2 if kind in ("throttled", "server-error") else 1)
    same(keycloak, reading)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(keycloak: KeycloakWorld, name: str) -> None:
    def expired(request: Request, _: int) -> Reply | None:
        late = request.query.get("first", "0") != "0" and request.path.endswith(f"/{name}")
        return Reply(401, {"error": "HTTP 401 Unauthorized"}) if late else None

    keycloak.faults[".*"] = expired
    reading = keycloak.read(f"keycloak.{name}")
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == "unauthenticated"
    assert 2 <= len(reading.rows) < len(KEYS[f"keycloak.{name}"])
    same(keycloak, reading)


@pytest.mark.parametrize(
    ("dataset", "path", "row", "field"),
    [
        ("realms", "", "acme", "getRealm"),
        ("flows", "/authentication/flows/browser/executions", "acme/browser", "getExecutions"),
        ("users", "/users/u2/credentials", "u2", "getCredentials"),
        ("users", "/users/u2/role-mappings", "u2", "getRoleMappings"),
        ("user-counts", "/users/count", "acme", "countUsers"),
        ("groups", "/groups/g1/members", "acme/staff", "getMembers"),
        ("roles", "/roles/helpdesk/composites", "acme/helpdesk", "getComposites"),
    ],
)
def test_a_refused_sub_reply_stands_in_its_row(
    keycloak: KeycloakWorld, dataset: str, path: str, row: str, field: str
) -> None:
    keycloak.faults[f"/admin/realms/acme{path}"] = lambda request, number: Reply(403, {"error": "HTTP 403 Forbidden"})
    reading = keycloak.read(f"keycloak.{dataset}")
    with pytest.raises(Unavailable, match="was refused"):
        reading.row(row)[field]
    assert [gap.resources for gap in reading.shard.population.partial] == [(row,)]
    same(keycloak, reading)


def test_what_a_realm_says_to_everybody_stands_in_its_row(keycloak: KeycloakWorld) -> None:
    there = "/realms/acme/.well-known/openid-configuration"
    keycloak.faults[there] = lambda request, number: Reply(403, {"error": "HTTP 403 Forbidden"})
    reading = keycloak.read("keycloak.issuers")
    with pytest.raises(Unavailable, match="was refused"):
        reading.row("acme")["getWellKnown"]
    assert reading.row("master")["getWellKnown"]["issuer"] == "https://sso.example.org/realms/master"
    same(keycloak, reading)


def test_groups_of_older_versions_come_with_those_below_them(keycloak: KeycloakWorld) -> None:
    acme = keycloak.realms["acme"]
    for group in acme["groups"]:
        group["subGroups"] = acme["children"].pop(group["id"], [])
        del group["subGroupCount"]
    reading = keycloak.read("keycloak.groups")
    assert keys_of(reading) == KEYS["keycloak.groups"]
    assert not any("children" in request.path for request in keycloak.requests)


def test_events_of_older_versions_have_no_id_and_are_told_apart(keycloak: KeycloakWorld) -> None:
    for event in keycloak.realms["acme"]["events"]:
        del event["id"]
    assert keys_of(keycloak.read("keycloak.events")) == [f"acme/{number}" for number in range(7)]


def test_the_period_of_events_is_over_and_named_at_both_ends(keycloak: KeycloakWorld) -> None:
    reading = keycloak.read("keycloak.admin-events")
    asked = next(line for line in reading.ledger.lines if line["op"].endswith("/admin-events"))["params"]
    assert (instant(f"{asked['dateTo']}T00:00:00Z") - instant(f"{asked['dateFrom']}T00:00:00Z")).days == 29
    types = [line["params"].get("type") for line in keycloak.read("keycloak.events").ledger.lines]
    assert ["LOGIN", "LOGIN_ERROR"] in types


def test_the_server_is_judged_as_it_is(keycloak: KeycloakWorld) -> None:
    library = plugins.load()
    checks = [check for check in library.checks.values() if check.id.startswith("keycloak.")]
    readings = [keycloak.read(dataset) for dataset in KEYS]
    bench = Bench(instant("2026-06-01T00:00:00Z"), {})
    findings = list(judge(checks, [reading.shard for reading in readings], bench))
    assert {finding.outcome for finding in findings} <= {Outcome.PASS, Outcome.FAIL, Outcome.SKIP}
    failed = {(finding.check, finding.resource) for finding in findings if finding.outcome is Outcome.FAIL}
    assert failed == {
        ("keycloak.admin-events.design-kept", "keycloak"),
        ("keycloak.admin-events.no-self-grant", "keycloak"),
        ("keycloak.administrators.second-factor", "keycloak"),
        ("keycloak.clients.no-implicit-flow", "c-old"),
        ("keycloak.clients.no-password-grant", "c-old"),
        ("keycloak.clients.pkce", "c-shop"),
        ("keycloak.clients.redirects-exact", "c-shop"),
        ("keycloak.clients.scope-limited", "c-old"),
        ("keycloak.flows.second-factor", "keycloak"),
        ("keycloak.identity-providers.email-not-trusted", "acme/partner"),
        ("keycloak.identity-providers.signatures", "acme/branch"),
        ("keycloak.realms.brute-force-detection", "master"),
        ("keycloak.realms.email-verified", "acme"),
        ("keycloak.realms.password-blacklist", "master"),
        ("keycloak.realms.password-history", "master"),
        ("keycloak.realms.password-length", "master"),
        ("keycloak.realms.session-lifetime", "master"),
        ("keycloak.realms.tls-required", "master"),
        ("keycloak.required-actions.enrolment", "keycloak"),
        ("keycloak.user-federation.encrypted", "l1"),
        ("keycloak.users.second-factor", "m1"),
        ("keycloak.users.second-factor", "u2"),
    }
    told = {finding.check: finding.reason for finding in findings}
    assert "2 of 4 administrators have none: bert in acme, root" in told["keycloak.administrators.second-factor"]
    assert "1 sign-ins were refused by a lock" in told["keycloak.events.lockout-works"]
    asked = [
        (line["op"], json.dumps(line["params"]), line["tokenIn"])
        for reading in readings
        for line in reading.ledger.lines
        if line["op"] not in ("keycloak:GET /admin/realms", "collector:clock")
    ]
    assert len(asked) == len(set(asked)), "nothing but the list of realms is asked twice in a run"


def test_a_realm_shown_in_part_is_not_judged(keycloak: KeycloakWorld) -> None:
    """Keycloak shows the name of a realm to a client that may not see more of it."""
    keycloak.realms["acme"]["settings"] = {"realm": "acme"}
    library = plugins.load()
    needed = [f"keycloak.{name}" for name in ("realms", "flows", "required-actions", "events", "admin-events")]
    checks = [c for c in library.checks.values() if c.datasets[0] == "keycloak.realms"]
    shards = [keycloak.read(dataset).shard for dataset in needed]
    findings = list(judge(checks, shards, Bench(instant("2026-06-01T00:00:00Z"), {})))
    of_acme = {finding.outcome for finding in findings if finding.resource != "master"}
    assert of_acme == {Outcome.UNKNOWN}


def test_a_run_is_sealed_and_reperformed_with_fetched_tokens(keycloak: KeycloakWorld, tmp_path: Path) -> None:
    def token(request: Request) -> Reply:
        assert b"client_secret=hush-hush" in request.body
        return Reply(body={"access_token": keycloak.token, "expires_in": 60, "token_type": "Bearer"})

    keycloak.faults["/realms/master/protocol/openid-connect/token"] = lambda request, number: token(request)
    office = Office(tmp_path / "office", keycloak.origin)
    (office.folder / "secret").touch(mode=0o600)
    (office.folder / "secret").write_text("hush-hush\n")
    text = office.config.read_text()
    declared = (
        f"connections: [{{name: sso, kind: keycloak, base_url: {keycloak.origin}, oauth: {{client_id: affidavit, "
        f"token_url: {keycloak.origin}/realms/master/protocol/openid-connect/token, client_secret: file:secret}}}}]\n"
    )
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", declared, text, flags=re.MULTILINE))
    said = office.run("--json")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    with office.sealed() as run:
        assert {line["caller"] for line in run.replies()} == {"client affidavit"}
    stored = b"".join(files_of(office.store).values())
    assert keycloak.token.encode() not in stored
    assert b"hush-hush" not in stored
    assert office.verify().ok
    again = office.rerun()
    assert again.code == 0, again.err


def test_every_permission_is_a_role_that_only_reads() -> None:
    library = plugins.load()
    for dataset in SOURCES:
        assert all(role.startswith(("view-", "query-")) for role in library.sources[dataset].permissions)


@pytest.mark.parametrize("dataset", SOURCES)
def test_examples_hold_only_what_a_source_yields(keycloak: KeycloakWorld, dataset: str) -> None:
    """The world's replies conform to the description; what stands in an example and in no reply was invented."""
    rows: list[Any] = [json.loads(json.dumps(row)) for row in keycloak.read(dataset).rows]
    checks = {check.id: check for check in plugins.load().checks.values() if check.id.startswith("keycloak.")}
    problems, used = [], 0
    for example in examples.load(Path(__file__).parent, checks):
        check = checks[example.check]
        for name, given in zip(check.datasets, example.rows, strict=True):
            for row in ([given] if check.each else given) if name == dataset else ():
                used += 1
                problems += [f"{example.check}: {text}" for text in _differences(row, rows, dataset)]
    assert not problems, "\n".join(sorted(set(problems)))
    assert used or dataset == "keycloak.issuers", "no check of its own, only a join"
