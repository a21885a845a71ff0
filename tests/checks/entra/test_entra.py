"""How Microsoft Entra ID is read: against a world whose requests and replies are held against a description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.judge import Bench, judge
from collector.model import Outcome, instant, stamp
from collector.reconcile import reconcile
from tests import promises
from tests.entra_world import BEYOND, PARTS, REVIEWS, SINGLES, TOGETHER, EntraWorld, V, refusal
from tests.entra_world import LISTS as LISTED
from tests.http_world import SPECS, Reply, Request, worlds

LIBRARY = plugins.load()
SOURCES = promises.sources_of("entra")
NOW = datetime.now(UTC).replace(microsecond=0)
WRITTEN = instant("2026-06-01T00:00:00Z")
"""The day the file with the tenant was written for."""


@pytest.fixture
def entra(tmp_path: Path) -> Iterator[EntraWorld]:
    """A furnished tenant; what it answered is held against the description afterwards."""
    for world in worlds(EntraWorld, tmp_path):
        furnish(world)
        yield world
        promises.conforms(world, beside=V + TOGETHER)


def furnish(world: EntraWorld) -> None:
    """Put the tenant of the file into the world, as old as it is on the day it was written for."""

    def moved(match: re.Match[str]) -> str:
        return stamp(instant(match[0]) + (NOW - WRITTEN))

    text = (Path(__file__).parent / "tenant.json").read_text("utf8")
    held = json.loads(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moved, text))
    for name in ("lists", "singles", "parts"):
        getattr(world, name).update(held[name])


GRAPH, ROBOT = "f1a20602-66b2-5b9f-a806-b868c7dcf4e0", "8ac4eaf1-29ce-59f7-a045-0f3007bb58a2"

TENANT, SHOPS = "8f14e45f-ceea-4e67-9a2b-1c0de5a1b2c3", "5036a0a0-a7a4-4933-9086-5dd54535dd6e"

KEYS = {
    "entra.access-review-rounds": ["i1", "i2", "i3"],
    "entra.access-reviews": ["r1", "r2", "r3"],
    "entra.admin-consent": ["admin-consent"],
    "entra.applications": ["app1", "app2", "app3"],
    "entra.authentication-methods": ["Fido2", "Sms", "Voice"],
    "entra.authorization-policy": ["authorization-policy"],
    "entra.conditional-access": ["p1", "p2", "p3"],
    "entra.devices": ["m1", "m2", "m3"],
    "entra.directory-audits": ["d4", "d1", "d2", "d3"],
    "entra.domains": ["example.org", "old.example.org", "sso.example.org"],
    "entra.groups": ["g1", "g2", "g3", "g4"],
    "entra.legacy-sign-ins": ["i1", "i2", "i3"],
    "entra.named-locations": ["n1", "n2", "n3"],
    "entra.organisation": [TENANT],
    "entra.permission-grants": ["og1", "og2", "og3"],
    "entra.registrations": ["u1", "u2", "u3", "u5"],
    "entra.risky-users": ["u2", "u1", "u9"],
    "entra.role-assignments": ["a1", "a2", "a3", "a4", "a5", "a6"],
    "entra.role-eligibilities": ["e1", "e2", "e3"],
    "entra.role-schedules": ["s1", "s2", "s3", "s4"],
    "entra.security-defaults": ["security-defaults"],
    "entra.service-principals": [GRAPH, ROBOT, "004002f8-8e6c-530b-9551-9b1002a13ea0"],
    "entra.tenants": [TENANT, SHOPS, "4a12efe6-aa14-4d03-8dff-88fc89e2e2ad"],
    "entra.user-activity": ["u1", "u2", "u3", "u4", "u5"],
    "entra.user-count": ["user-count"],
    "entra.users": ["u1", "u2", "u3", "u4", "u5"],
}
SINGLE = (
    "entra.admin-consent", "entra.authentication-methods", "entra.authorization-policy", "entra.security-defaults",
    "entra.user-count",
)  # fmt: skip
"""Datasets that rest on one reply."""
LISTS = [name for name, keys in KEYS.items() if len(keys) > 2 and name not in SINGLE]
"""Datasets whose list has a second page here."""
PERSONAL = {b"Ada", b" Invented", b"555 0100", b"h7u", b"198.51.100.7", b"Mozilla", b"Town\"", b"00-example"}


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(entra: EntraWorld, dataset: str) -> None:
    paged = "" if dataset in LISTS else None
    personal = PERSONAL - {b"Town\""} if dataset == "entra.organisation" else PERSONAL
    promises.read_whole(entra, dataset, KEYS[dataset], asked=("entra:GET /v1.0/",), personal=personal, paged=paged)
    promises.described(entra)


@pytest.mark.parametrize("dataset", KEYS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(EntraWorld, tmp_path):
        furnish(empty)
        for held in (*empty.lists.values(), *empty.parts.values()):
            held.clear()
        empty.singles["/policies/authenticationMethodsPolicy"]["authenticationMethodConfigurations"] = []
        one = dataset in SINGLE and dataset != "entra.authentication-methods"
        promises.nothing_there(empty, dataset, rows=one)


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, refusal(403, "Authorization_RequestDenied"), "denied") for dataset in KEYS),
        *(
            (dataset, refusal(403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant"), "unsupported")
            for dataset in ("entra.legacy-sign-ins", "entra.registrations", "entra.user-activity")
        ),
        ("entra.role-schedules", refusal(400, "AadPremiumLicenseRequired"), "unsupported"),
        ("entra.user-count", refusal(400, "Request_UnsupportedQuery"), "unsupported"),
        ("entra.users", refusal(401, "InvalidAuthenticationToken"), "unauthenticated"),
        ("entra.users", refusal(404, "ResourceNotFound"), "rejected"),
        ("entra.users", Reply(429, {"error": {"code": "TooManyRequests"}}, {"Retry-After": "0"}), "throttled"),
        ("entra.users", Reply(503, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(entra: EntraWorld, dataset: str, reply: Reply, kind: str) -> None:
    gap = promises.refused(entra, dataset, reply, kind)
    if "Premium" in json.dumps(reply.body, default=str):
        assert "needs a licence that the tenant does not have" in gap.reason


def test_without_a_licence_for_activity_the_users_are_read_all_the_same(entra: EntraWorld) -> None:
    def no_activity(request: Request, _: int) -> Reply | None:
        asked = "signInActivity" in request.query.get("$select", "")
        return refusal(403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant") if asked else None

    entra.faults[".*"] = no_activity
    assert promises.keys_of(entra.read("entra.users")) == KEYS["entra.users"]
    gap = entra.read("entra.user-activity").shard.population.gap
    assert gap is not None
    assert str(gap.kind) == "unsupported"


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(entra: EntraWorld, dataset: str) -> None:
    expired, some = refusal(401, "InvalidAuthenticationToken"), range(len(KEYS[dataset]))
    promises.broken_off(entra, dataset, lambda request: "$skiptoken" in request.query, expired, some)


@pytest.mark.parametrize("link", ["https://graph.example.net/v1.0/users?$skiptoken=2", "again"])
def test_a_link_elsewhere_or_in_a_circle_ends_the_list(entra: EntraWorld, link: str) -> None:
    there = f"{entra.origin}{V}/users?$skiptoken=0" if link == "again" else link
    entra.faults[f"{V}/users"] = lambda request, number: Reply(body={"value": [], "@odata.nextLink": there})
    gap = entra.read("entra.users").shard.population.gap
    assert gap is not None
    assert str(gap.kind) == ("repeated-token" if link == "again" else "malformed")
    assert {request.path for request in entra.requests} == {f"{V}/users"}


@pytest.mark.parametrize(
    ("dataset", "path", "row", "field"),
    [
        ("entra.groups", f"{V}/groups/g1/members", "g1", "listMembers"),
        (
            "entra.service-principals", f"{V}/servicePrincipals/{ROBOT}/appRoleAssignments", ROBOT,
            "listAppRoleAssignments",
        ),
        ("entra.access-review-rounds", f"{V}{REVIEWS}/r1/instances/i1/decisions", "i1", "listDecisions"),
    ],
)  # fmt: skip
def test_a_refused_sub_reply_stands_in_its_row(
    entra: EntraWorld, dataset: str, path: str, row: str, field: str
) -> None:
    promises.refused_part(entra, dataset, path, refusal(403, "Authorization_RequestDenied"), row, field)


def test_who_is_left_out_by_a_group_that_cannot_be_read_is_not_known(entra: EntraWorld) -> None:
    entra.faults[f"{V}/groups/g4/members"] = lambda request, number: refusal(403, "Authorization_RequestDenied")
    reading = entra.read("entra.conditional-access")
    check = LIBRARY.checks["entra.conditional-access.second-factor-for-all"]
    (finding,) = judge([check], [reading.shard], Bench(NOW, {}))
    assert (finding.outcome, "was refused" in finding.reason) == (Outcome.UNKNOWN, True)
    promises.same(entra, reading)


def test_the_count_needs_its_header_which_stands_on_record(entra: EntraWorld) -> None:
    reading = entra.read("entra.user-count")
    assert entra.requests[0].headers["consistencylevel"] == "eventual"
    assert reading.ledger.lines[0]["params"]["header ConsistencyLevel"] == "eventual"
    assert reading.row("user-count")["listUser"] == {"@odata.count": 5}


def test_a_tenant_in_no_multitenant_organisation_is_asked_for_no_list(entra: EntraWorld) -> None:
    entra.singles[TOGETHER]["state"] = "inactive"
    reading = entra.read("entra.tenants")
    assert reading.shard.population.proven
    assert reading.rows == []
    assert [request.path for request in entra.requests] == [V + TOGETHER]
    promises.same(entra, reading)


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_list_that_leaves_somebody_out_is_in_dispute(entra: EntraWorld, hidden: int) -> None:
    entra.hidden = hidden
    shards = [entra.read(dataset).shard for dataset in ("entra.users", "entra.user-count")]
    again, findings = reconcile([LIBRARY.checks["entra.users.reconciled"]], shards, Bench(NOW, {}))
    assert [finding.outcome for finding in findings] == [Outcome.FAIL if hidden else Outcome.PASS]
    assert again[0].population.proven is not bool(hidden)
    assert again[0].population.basis == ("unproven" if hidden else "count-reconciled")


@pytest.mark.parametrize(
    ("dataset", "status", "days"),
    [
        ("entra.directory-audits", "Enabled", 30),
        ("entra.directory-audits", "Suspended", 7),
        ("entra.legacy-sign-ins", "Enabled", 30),
    ],
)
def test_the_period_of_the_logs_is_what_the_tenant_keeps(
    entra: EntraWorld, dataset: str, status: str, days: int
) -> None:
    entra.lists["/subscribedSkus"][0]["capabilityStatus"] = status
    entra.read(dataset)
    asked = [request.query["$filter"] for request in entra.requests if "/auditLogs/" in request.path]
    assert asked
    for text in asked:
        since, until = re.findall(r"DateTime [gl]e (\S+)", text)
        assert instant(until) - instant(since) == timedelta(days=days)


FAILED = {
    "entra.access-review-rounds.applied": ["i3"],
    "entra.access-review-rounds.decided": ["i1"],
    "entra.access-reviews.wide-roles-recur": ["entra"],
    "entra.applications.credentials-bounded": ["app1"],
    "entra.applications.credentials-current": ["app1"],
    "entra.applications.owned": ["app1"],
    "entra.authentication-methods.weak-off": ["Sms"],
    "entra.authorization-policy.applications-by-administrators": ["authorization-policy"],
    "entra.authorization-policy.consent-restricted": ["authorization-policy"],
    "entra.authorization-policy.invitations-restricted": ["authorization-policy"],
    "entra.conditional-access.legacy-blocked": ["entra"],
    "entra.conditional-access.report-only-settled": ["p2"],
    "entra.devices.encrypted": ["m2"],
    "entra.devices.in-contact": ["m2"],
    "entra.devices.not-broken-open": ["m3"],
    "entra.devices.policies-met": ["m2"],
    "entra.devices.users-active": ["entra"],
    "entra.directory-audits.roles-by-activation": ["entra"],
    "entra.domains.password-lifetime": ["old.example.org"],
    "entra.groups.not-public": ["g2"],
    "entra.groups.owned": ["g2"],
    "entra.legacy-sign-ins.none": ["entra"],
    "entra.named-locations.trusted-narrow": ["n2"],
    "entra.organisation.synchronised": [TENANT],
    "entra.permission-grants.for-all-narrow": ["og1"],
    "entra.registrations.beyond-telephone": ["u2"],
    "entra.registrations.second-factor": ["u5"],
    "entra.risky-users.settled": ["u2"],
    "entra.role-assignments.accounts-active": ["entra"],
    "entra.role-assignments.applications-few": ["entra"],
    "entra.role-assignments.cloud-only": ["entra"],
    "entra.role-assignments.no-guests": ["entra"],
    "entra.role-assignments.phishing-resistant": ["entra"],
    "entra.role-eligibilities.bounded": ["e1"],
    "entra.role-eligibilities.phishing-resistant": ["entra"],
    "entra.role-schedules.activation-short": ["s4"],
    "entra.role-schedules.standing-few": ["entra"],
    "entra.service-principals.high-permissions-few": ["entra"],
    "entra.tenants.collected": [SHOPS],
    "entra.user-activity.guests-in-use": ["u3"],
    "entra.user-activity.members-in-use": ["u5"],
    "entra.users.invitation-settled": ["u3"],
}


def test_the_tenant_is_judged_as_it_is(entra: EntraWorld) -> None:
    readings = [entra.read(dataset) for dataset in KEYS]
    findings = promises.judged(readings, FAILED, NOW)
    assert Outcome.SKIP in {finding.outcome for finding in findings}
    promises.asked_once(readings, beside=(promises.CLOCK,))


def test_a_run_is_sealed_and_reperformed_and_names_its_client(entra: EntraWorld, tmp_path: Path) -> None:
    connection = f"name: tenant, kind: entra, base_url: '{entra.origin}', token: file:token"
    office = promises.connected(tmp_path, connection, token=f"{entra.token}\n")
    assert {line["caller"] for line in promises.sealed(office, entra.token)} == {"token file:token"}


def test_every_permission_reads_and_none_writes() -> None:
    for dataset in SOURCES:
        assert LIBRARY.sources[dataset].permissions
        for permission in LIBRARY.sources[dataset].permissions:
            assert ".Read." in permission
            assert "Write" not in permission


def test_every_example_holds_only_what_a_source_yields(entra: EntraWorld) -> None:
    """Examples are replies, cut down; the replies themselves are held against the description."""
    rows: dict[str, list[Any]] = {dataset: list(entra.read(dataset).rows) for dataset in KEYS}
    assert promises.drawn_from(rows, Path(__file__).parent) == set(KEYS)


def test_what_is_asked_beyond_the_description_is_named_one_by_one(entra: EntraWorld) -> None:
    if entra.contract is None:
        pytest.skip(f"{SPECS} is absent")
    asked = [*LISTED, *SINGLES, *PARTS]
    assert [path for path in asked if path not in entra.contract.document["paths"]] == list(BEYOND)


def test_a_header_with_a_secret_is_refused(entra: EntraWorld) -> None:
    from collector.api import source

    @source("acme.things", key="id", per="connection", permissions=("a",))
    def things(http: Any) -> Iterator[dict[str, Any]]:
        """Things."""
        http.get("/v1.0/users", headers={"Authorization": "Bearer stolen"})
        yield {"id": 1}

    reading = entra.read_source(things)
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == "crashed"
    assert entra.requests == []
