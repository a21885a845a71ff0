"""How Keycloak is read: against a world whose every request and reply is held against a description of its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.judge import Bench, judge
from collector.model import Outcome, instant
from tests import promises
from tests.http_world import Reply, Request, worlds
from tests.keycloak_world import KeycloakWorld

SOURCES = promises.sources_of("keycloak")
R = "/admin/realms/{realm}"


@pytest.fixture
def keycloak(tmp_path: Path) -> Iterator[KeycloakWorld]:
    """A furnished server; what it answered is held against the description afterwards."""
    for world in worlds(KeycloakWorld, tmp_path):
        furnish(world)
        yield world
        promises.conforms(world)


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
ASKED = ("keycloak:GET /admin/", "keycloak:GET /realms/")
PERSONAL = (b"Ada", b"Invented", b"555 0100", b"hush", b"00-example-token")
NO = Reply(403, {"error": "HTTP 403 Forbidden"})


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(keycloak: KeycloakWorld, dataset: str) -> None:
    paged = "" if dataset.removeprefix("keycloak.") in LISTS else None
    promises.read_whole(keycloak, dataset, KEYS[dataset], asked=ASKED, personal=PERSONAL, paged=paged)
    promises.described(keycloak)


@pytest.mark.parametrize("dataset", KEYS)
def test_a_server_that_shows_no_realm_gives_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(KeycloakWorld, tmp_path):
        promises.nothing_there(empty, dataset)


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, NO, "denied") for dataset in KEYS),
        ("keycloak.users", Reply(401, {"error": "HTTP 401 Unauthorized"}), "unauthenticated"),
        ("keycloak.users", Reply(404, {"error": "Realm not found."}), "rejected"),
        ("keycloak.users", Reply(429, {"error": "slow down"}, {"Retry-After": "0"}), "throttled"),
        ("keycloak.users", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(keycloak: KeycloakWorld, dataset: str, reply: Reply, kind: str) -> None:
    promises.refused(keycloak, dataset, reply, kind)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(keycloak: KeycloakWorld, name: str) -> None:
    def late(request: Request) -> bool:
        return request.query.get("first", "0") != "0" and request.path.endswith(f"/{name}")

    dataset, expired = f"keycloak.{name}", Reply(401, {"error": "HTTP 401 Unauthorized"})
    promises.broken_off(keycloak, dataset, late, expired, range(2, len(KEYS[dataset])))


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
    promises.refused_part(keycloak, f"keycloak.{dataset}", f"/admin/realms/acme{path}", NO, row, field)


def test_what_a_realm_says_to_everybody_stands_in_its_row(keycloak: KeycloakWorld) -> None:
    there = "/realms/acme/.well-known/openid-configuration"
    reading = promises.refused_part(keycloak, "keycloak.issuers", there, NO, "acme", "getWellKnown")
    assert reading.row("master")["getWellKnown"]["issuer"] == "https://sso.example.org/realms/master"


def test_groups_of_older_versions_come_with_those_below_them(keycloak: KeycloakWorld) -> None:
    acme = keycloak.realms["acme"]
    for group in acme["groups"]:
        group["subGroups"] = acme["children"].pop(group["id"], [])
        del group["subGroupCount"]
    reading = keycloak.read("keycloak.groups")
    assert promises.keys_of(reading) == KEYS["keycloak.groups"]
    assert not any("children" in request.path for request in keycloak.requests)


def test_events_of_older_versions_have_no_id_and_are_told_apart(keycloak: KeycloakWorld) -> None:
    for event in keycloak.realms["acme"]["events"]:
        del event["id"]
    assert promises.keys_of(keycloak.read("keycloak.events")) == [f"acme/{number}" for number in range(7)]


def test_the_period_of_events_is_over_and_named_at_both_ends(keycloak: KeycloakWorld) -> None:
    reading = keycloak.read("keycloak.admin-events")
    asked = next(line for line in reading.ledger.lines if line["op"].endswith("/admin-events"))["params"]
    assert (instant(f"{asked['dateTo']}T00:00:00Z") - instant(f"{asked['dateFrom']}T00:00:00Z")).days == 29
    types = [line["params"].get("type") for line in keycloak.read("keycloak.events").ledger.lines]
    assert ["LOGIN", "LOGIN_ERROR"] in types


FAILED = {
    "keycloak.admin-events.design-kept": ["keycloak"],
    "keycloak.admin-events.no-self-grant": ["keycloak"],
    "keycloak.administrators.second-factor": ["keycloak"],
    "keycloak.clients.no-implicit-flow": ["c-old"],
    "keycloak.clients.no-password-grant": ["c-old"],
    "keycloak.clients.pkce": ["c-shop"],
    "keycloak.clients.redirects-exact": ["c-shop"],
    "keycloak.clients.scope-limited": ["c-old"],
    "keycloak.flows.second-factor": ["keycloak"],
    "keycloak.identity-providers.email-not-trusted": ["acme/partner"],
    "keycloak.identity-providers.signatures": ["acme/branch"],
    "keycloak.realms.brute-force-detection": ["master"],
    "keycloak.realms.email-verified": ["acme"],
    "keycloak.realms.password-blacklist": ["master"],
    "keycloak.realms.password-history": ["master"],
    "keycloak.realms.password-length": ["master"],
    "keycloak.realms.session-lifetime": ["master"],
    "keycloak.realms.tls-required": ["master"],
    "keycloak.required-actions.enrolment": ["keycloak"],
    "keycloak.user-federation.encrypted": ["l1"],
    "keycloak.users.second-factor": ["u2", "m1"],
}


def test_the_server_is_judged_as_it_is(keycloak: KeycloakWorld) -> None:
    readings = [keycloak.read(dataset) for dataset in KEYS]
    findings = promises.judged(readings, FAILED, instant("2026-06-01T00:00:00Z"))
    told = {finding.check: finding.reason for finding in findings}
    assert "2 of 4 administrators have none: bert in acme, root" in told["keycloak.administrators.second-factor"]
    assert "1 sign-ins were refused by a lock" in told["keycloak.events.lockout-works"]
    promises.asked_once(readings, beside=("keycloak:GET /admin/realms", promises.CLOCK))


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
    connection = (
        f"name: sso, kind: keycloak, base_url: {keycloak.origin}, oauth: {{client_id: affidavit, "
        f"token_url: {keycloak.origin}/realms/master/protocol/openid-connect/token, client_secret: file:secret}}"
    )
    office = promises.connected(tmp_path, connection, secret="hush-hush\n")
    lines = promises.sealed(office, keycloak.token, "hush-hush")
    assert {line["caller"] for line in lines} == {"client affidavit"}


def test_every_permission_is_a_role_that_only_reads() -> None:
    library = plugins.load()
    for dataset in SOURCES:
        assert all(role.startswith(("view-", "query-")) for role in library.sources[dataset].permissions)


@pytest.mark.parametrize("dataset", SOURCES)
def test_examples_hold_only_what_a_source_yields(keycloak: KeycloakWorld, dataset: str) -> None:
    """The world's replies conform to the description; what stands in an example and in no reply was invented."""
    rows: list[Any] = [json.loads(json.dumps(row)) for row in keycloak.read(dataset).rows]
    used = promises.drawn_from({dataset: rows}, Path(__file__).parent)
    assert used or dataset == "keycloak.issuers", "no check of its own, only a join"
