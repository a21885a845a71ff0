"""How Okta is read: against a world whose every request and reply is held against the vendor's description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.model import instant
from tests import promises
from tests.http_world import SPECS, OktaWorld, Reply, worlds

SOURCES = promises.sources_of("okta")


@pytest.fixture
def okta(tmp_path: Path) -> Iterator[OktaWorld]:
    """A furnished organisation; what it answered is held against the vendor's description afterwards."""
    for world in worlds(OktaWorld, tmp_path):
        furnish(world)
        yield world
        promises.conforms(world)


def furnish(world: OktaWorld) -> None:
    """Put the organisation of the file into the world: invented people, in replies cut down from the vendor's."""
    for name, content in json.loads((Path(__file__).parent / "organisation.json").read_text("utf8")).items():
        held = getattr(world, name)
        if name == "me":
            world.me = content
        elif isinstance(held, list):
            held.extend(content)
        else:
            held.update(content)


KEYS = {
    "okta.administrators": ["00u1", "00u2", "00u5"],
    "okta.api-tokens": ["00T0", "00T1", "00T2"],
    "okta.app-users": ["0oa0/00u1", "0oa0/00u2", "0oa0/00u3"],
    "okta.authentication-policies": ["00a1"],
    "okta.authenticators": ["aut-okta_password", "aut-webauthn", "aut-security_question"],
    "okta.caller": ["caller"],
    "okta.groups": ["00g0", "00g1", "00g2"],
    "okta.log-streams": ["0oaS"],
    "okta.network-zones": ["nzo1"],
    "okta.password-policies": ["00p0", "00p1", "00p2"],
    "okta.sign-on-policies": ["00s1"],
    "okta.support-access": ["support-access"],
    "okta.system-log": ["u0", "u1", "u2"],
    "okta.threat-insight": ["threat-insight"],
    "okta.user-counts": ["00gE"],
    "okta.users": ["00u1", "00u2", "00u3", "00u4", "00u5"],
}
WHOLE = ("okta.api-tokens", "okta.authenticators")
"""Lists that Okta gives in one piece."""
LISTS = [name for name, keys in KEYS.items() if len(keys) > 2 and name not in WHOLE]
"""Datasets whose list has a second page here."""
ONE = ("okta.caller", "okta.threat-insight", "okta.support-access")
"""Datasets of one record."""
PERSONAL = (b"Ada", b"555 0100", b"555-0101", b"hush", b"198.51.100.7", b"Mozilla", b"00-example-token", b"Town")


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(okta: OktaWorld, dataset: str) -> None:
    paged = "" if dataset in LISTS else None
    promises.read_whole(okta, dataset, KEYS[dataset], asked=("okta:GET /api/v1/",), personal=PERSONAL, paged=paged)
    promises.described(okta)


@pytest.mark.parametrize("dataset", KEYS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(OktaWorld, tmp_path):
        empty.single |= {"/api/v1/threats/configuration": {"action": "none"}, "/api/v1/org/privacy/oktaSupport": {}}
        promises.nothing_there(empty, dataset, rows=dataset in ONE)


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, Reply(403, {"errorCode": "E0000006"}), "denied") for dataset in KEYS if dataset not in ONE),
        ("okta.caller", Reply(401, {"errorCode": "E0000011"}), "unauthenticated"),
        ("okta.users", Reply(401, {"errorCode": "E0000011"}), "unauthenticated"),
        ("okta.users", Reply(429, {"errorCode": "E0000047"}, {"Retry-After": "0"}), "throttled"),
        ("okta.users", Reply(500, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(okta: OktaWorld, dataset: str, reply: Reply, kind: str) -> None:
    promises.refused(okta, dataset, reply, kind)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(okta: OktaWorld, dataset: str) -> None:
    expired = Reply(401, {"errorCode": "E0000011"})
    promises.broken_off(okta, dataset, lambda request: "after" in request.query, expired, rows=(2,))


@pytest.mark.parametrize(
    ("dataset", "path", "row", "field"),
    [
        ("okta.users", "/api/v1/users/00u2/factors", "00u2", "listFactors"),
        ("okta.administrators", "/api/v1/users/00u2/roles", "00u2", "listAssignedRolesForUser"),
        ("okta.groups", "/api/v1/groups/00g1/roles", "00g1", "listGroupAssignedRoles"),
        ("okta.sign-on-policies", "/api/v1/policies/00s1/rules", "00s1", "listPolicyRules"),
        ("okta.threat-insight", "/api/v1/threats/configuration", "threat-insight", "getCurrentConfiguration"),
        ("okta.support-access", "/api/v1/org/privacy/oktaSupport", "support-access", "getOrgOktaSupportSettings"),
    ],
)
def test_a_refused_sub_reply_stands_in_its_row(okta: OktaWorld, dataset: str, path: str, row: str, field: str) -> None:
    promises.refused_part(okta, dataset, path, Reply(403, {"errorCode": "E0000006"}), row, field)


def test_the_caller_is_the_user_of_the_token_or_left_to_the_connection(okta: OktaWorld) -> None:
    assert okta.read("okta.caller").row("caller")["Caller"] == "00u1 00u1@example.com"
    okta.me = None
    reading = okta.read("okta.caller")
    assert (reading.row("caller")["Caller"], reading.row("caller")["getUser"]) == ("", None)
    promises.same(okta, reading)


def test_the_period_of_the_log_is_named_at_both_ends(okta: OktaWorld) -> None:
    okta.read("okta.system-log")
    query = okta.requests[0].query
    assert (instant(query["until"]) - instant(query["since"])).days == 90
    assert 'eventType sw "user.session.impersonation."' in query["filter"]


FAILED = {
    "okta.administrators.accounts-active": ["okta"],
    "okta.administrators.phishing-resistant": ["okta"],
    "okta.api-tokens.network-restricted": ["00T0", "00T1", "00T2"],
    "okta.api-tokens.owners-active": ["okta"],
    "okta.app-users.none-of-leavers": ["okta"],
    "okta.app-users.through-groups": ["okta"],
    "okta.authenticators.weak-off": ["aut-security_question"],
    "okta.password-policies.history": ["00p0", "00p1", "00p2"],
    "okta.sign-on-policies.session-lifetime": ["00s1"],
    "okta.system-log.policies-kept": ["okta"],
    "okta.threat-insight.blocks": ["threat-insight"],
    "okta.users.factor-beyond-telephone": ["00u2"],
    "okta.users.invitation-fresh": ["00u4"],
}


def test_the_organisation_is_judged_as_it_is(okta: OktaWorld) -> None:
    readings = [okta.read(dataset) for dataset in KEYS]
    promises.judged(readings, FAILED, instant("2026-06-01T00:00:00Z"))
    promises.asked_once(readings)


def test_a_run_is_sealed_and_reperformed_and_knows_who_asked(okta: OktaWorld, tmp_path: Path) -> None:
    connection = f"name: okta-prod, kind: okta, base_url: {okta.origin}, token: file:token"
    office = promises.connected(tmp_path, connection, token=f"{okta.token}\n")
    lines = promises.sealed(office, okta.token)
    assert {line["caller"] for line in lines} == {"token file:token", "00u1 00u1@example.com"}
    assert [line["op"] for line in lines if line["caller"] == "token file:token"] == ["okta:GET /api/v1/users/{id}"]
    okta.token = "revoked"
    assert office.run("--json").code == 3
    assert {gap["gap"] for gap in office.lines("gap")} == {"unauthenticated", "no-identity"}
    assert office.rerun("2").code == 0


def test_every_permission_is_a_scope_of_the_description_and_none_writes(okta: OktaWorld) -> None:
    library = plugins.load()
    for dataset in SOURCES:
        assert all(permission.endswith(".read") for permission in library.sources[dataset].permissions)
    if okta.contract is None:
        pytest.skip(f"{SPECS} is absent: scopes were not compared")
    for dataset in SOURCES:
        needed = set()
        for line in okta.read(dataset).ledger.lines:
            if line["op"].startswith("okta:GET "):
                operation = okta.contract.document["paths"][line["op"].removeprefix("okta:GET ")]["get"]
                needed |= {scope for item in operation["security"] for scope in item.get("oauth2", [])}
        assert set(library.sources[dataset].permissions) == needed


def test_every_field_an_example_has_is_a_field_of_the_description(okta: OktaWorld) -> None:
    """Examples are replies, cut down: what stands in one and not in the description was invented."""
    if okta.contract is None:
        pytest.skip(f"{SPECS} is absent: examples were not compared")
    schemas = json.dumps(okta.contract.document["components"])
    ours = {"Id", "Key", "App", "$gap", "listFactors", "listPolicyRules", "listAssignedRolesForUser"}
    ours |= {"listGroupAssignedRoles", "getCurrentConfiguration", "getOrgOktaSupportSettings"}

    def names(value: Any) -> Iterator[str]:
        if isinstance(value, dict) and "$gap" not in value:
            yield from value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            if not (isinstance(item, dict) and "$gap" in item):
                yield from names(item)

    used = {name for _, _, row in promises.shown(Path(__file__).parent, "okta") for name in names(row)}
    assert {name for name in used - ours if f'"{name}": {{' not in schemas} == set()
