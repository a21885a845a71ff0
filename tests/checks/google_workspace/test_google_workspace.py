"""How Google Workspace is read: against a world whose every request and reply is held against Google's description."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from collector import config, plugins
from collector.connect.credential import NoCredentialError, poster
from collector.connect.google import SCOPES, Delegated
from collector.connect.http import Site, open_session
from collector.errors import ConfigError
from collector.model import instant
from collector.secrets import Secret
from tests import promises
from tests.google_world import GoogleWorld, refusal
from tests.http_world import Reply, Request, worlds

G = "google-workspace"
SOURCES = promises.sources_of(G)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[GoogleWorld]:
    """A furnished customer; what it answered is held against the description afterwards."""
    for world in worlds(GoogleWorld, tmp_path):
        furnish(world)
        yield world
        promises.conforms(world)


def furnish(world: GoogleWorld) -> None:
    """A customer with invented people, in replies cut down from Google's."""
    world.fill(Path(__file__).parent / "customer.json")


ALL = ["1", "2", "3", "4", "5"]
KEYS = {
    f"{G}.admin-activities": [f"admin/2026-05-0{n}T10:00:00.000Z/{q}" for n, q in ((1, -1), (2, 2), (3, 3))],
    f"{G}.app-passwords": ALL,
    f"{G}.chrome-devices": ["c0", "c1", "c2"],
    f"{G}.domains": ["example.org"],
    f"{G}.groups": ["g1", "g2", "g3"],
    f"{G}.login-warnings": ["suspicious_login/2026-05-22T08:00:00.000Z/5", "2sv_disable/2026-05-21T08:00:00.000Z/4"],
    f"{G}.mobile-devices": ["m0", "m1", "m2"],
    f"{G}.org-units": ["id:ou1", "id:ou2"],
    f"{G}.policies": [f"policies/p{n}" for n in range(1, 12)],
    f"{G}.role-assignments": ["201", "202", "203"],
    f"{G}.roles": ["101", "102", "103"],
    f"{G}.sign-ins": [f"login_success/2026-05-20T{n:02}:00:00.000Z/{n - 7}" for n in (8, 9, 10)],
    f"{G}.tokens": ALL,
    f"{G}.users": ALL,
}
LISTS = [name for name, keys in KEYS.items() if len(keys) > 2]
"""Datasets whose list has a second page here."""
ASKED = (f"{G}:GET /admin/", f"{G}:GET /v1/policies")
PERSONAL = (b"Invented", b"15550100", b"198.51.100.7", b"Ada's", b"00-example-token")


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(google: GoogleWorld, dataset: str) -> None:
    paged = "" if dataset in LISTS else None
    clock = (promises.CLOCK,)
    promises.read_whole(google, dataset, KEYS[dataset], asked=ASKED, personal=PERSONAL, paged=paged, beside=clock)
    promises.described(google)


@pytest.mark.parametrize("dataset", KEYS)
def test_nothing_there_is_a_complete_empty_list_though_it_is_left_out(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(GoogleWorld, tmp_path):
        promises.nothing_there(empty, dataset)


def test_a_list_under_another_name_is_not_an_empty_one(google: GoogleWorld) -> None:
    google.faults[".*"] = lambda request, number: Reply(body={"people": [{"id": "1"}]})
    reading = google.read(f"{G}.users")
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == "malformed"


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [
        *((dataset, refusal(403, "forbidden"), "denied") for dataset in KEYS),
        (f"{G}.users", refusal(401, "authError"), "unauthenticated"),
        (f"{G}.users", refusal(404, "notFound"), "rejected"),
        (f"{G}.users", refusal(403, "userRateLimitExceeded"), "throttled"),
        (f"{G}.policies", refusal(429, "rateLimitExceeded", **{"Retry-After": "0"}), "throttled"),
        (f"{G}.users", Reply(503, b"<html>"), "server-error"),
    ],
)
def test_a_refused_list_is_a_gap(google: GoogleWorld, dataset: str, reply: Reply, kind: str) -> None:
    promises.refused(google, dataset, reply, kind)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_off_at_its_second_page_is_unproven(google: GoogleWorld, dataset: str) -> None:
    def late(request: Request) -> bool:
        return "pageToken" in request.query and "members" not in request.path

    promises.broken_off(google, dataset, late, refusal(401, "authError"), rows=(2,))


@pytest.mark.parametrize(
    ("dataset", "path", "row", "field"),
    [
        ("groups", "/groups/g1/members", "g1", "listMembers"),
        ("tokens", "/users/2/tokens", "2", "listTokens"),
        ("app-passwords", "/users/2/asps", "2", "listAsps"),
    ],
)
def test_a_refused_sub_reply_stands_in_its_row(
    google: GoogleWorld, dataset: str, path: str, row: str, field: str
) -> None:
    there = f"/admin/directory/v1{path}"
    promises.refused_part(google, f"{G}.{dataset}", there, refusal(403, "forbidden"), row, field)


def test_the_period_of_activities_is_named_at_both_ends(google: GoogleWorld) -> None:
    for dataset, days in (("admin-activities", 90), ("sign-ins", 30), ("login-warnings", 90)):
        google.requests.clear()
        google.read(f"{G}.{dataset}")
        query = google.requests[0].query
        assert (instant(query["endTime"]) - instant(query["startTime"])).days == days


FAILED = {
    "google-workspace.admin-activities.no-self-grant": [G],
    "google-workspace.admin-activities.security-kept": [G],
    "google-workspace.administrators.accounts-on": [G],
    "google-workspace.app-passwords.none": ["2"],
    "google-workspace.chrome-devices.supported": ["c2"],
    "google-workspace.chrome-devices.verified-boot": ["c1"],
    "google-workspace.groups.no-external-members": [G],
    "google-workspace.groups.owned": ["g2"],
    "google-workspace.login-warnings.none-suspicious": [G],
    "google-workspace.login-warnings.second-step-kept": [G],
    "google-workspace.mobile-devices.protected": ["m1"],
    "google-workspace.policies.drive-publishing": [G],
    "google-workspace.policies.drive-sharing": [G],
    "google-workspace.policies.no-auto-forwarding": [G],
    "google-workspace.policies.password-length": [G],
    "google-workspace.policies.second-step-enforced": [G],
    "google-workspace.policies.session-length": [G],
    "google-workspace.sign-ins.second-step": [G],
    "google-workspace.tokens.scopes-limited": ["2"],
    "google-workspace.users.in-use": ["4"],
    "google-workspace.users.second-step-enforced": ["2"],
    "google-workspace.users.second-step-enrolled": ["2"],
}


def test_the_customer_is_judged_as_it_is(google: GoogleWorld) -> None:
    readings = [google.read(dataset) for dataset in KEYS]
    findings = promises.judged(readings, FAILED, instant("2026-06-01T00:00:00Z"))
    told = {finding.check: finding.reason for finding in findings}
    assert "1 of 2 are not: /Sales: off" in told[f"{G}.policies.second-step-enforced"]
    assert "/: NO_TELEPHONY" in told[f"{G}.policies.second-step-factors"]
    promises.asked_once(readings, beside=(promises.CLOCK,))


def test_only_the_vendors_own_address_has_further_hosts() -> None:
    site = Site(G, "https://admin.googleapis.com")
    assert site.address("/v1/policies") == "https://cloudidentity.googleapis.com"
    assert site.address("/admin/directory/v1/users") == "https://admin.googleapis.com"
    assert Site(G, "https://gateway.example.org").address("/v1/policies") == "https://gateway.example.org"
    assert Site("okta", "https://admin.googleapis.com").address("/v1/policies") == "https://admin.googleapis.com"


@pytest.fixture(scope="module")
def pem() -> str:
    """A private key."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(pem: str, token_uri: str) -> str:
    """The key of a service account, as Google gives it."""
    return json.dumps(
        {
            "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem,
            "client_email": "reader@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": token_uri,
        }
    )  # fmt: skip


def delegated(google: GoogleWorld, pem: str) -> Delegated:
    post = poster(open_session(G, workers=1), 5.0)
    key = Secret(key_file(pem, f"{google.origin}/token"))
    return Delegated(key, subject="auditor@example.org", scopes=SCOPES, post=post)


def test_a_run_is_sealed_and_reperformed_in_the_name_of_a_user(google: GoogleWorld, tmp_path: Path, pem: str) -> None:
    claims: list[dict[str, Any]] = []

    def token(request: Request) -> Reply:
        assertion = parse_qs(request.body.decode())["assertion"][0]
        part = assertion.split(".")[1]
        claims.append(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
        return Reply(body={"access_token": google.token, "expires_in": 3600, "token_type": "Bearer"})

    google.faults["/token"] = lambda request, number: token(request)
    connection = (
        f"name: acme, kind: {G}, base_url: {google.origin}, service_account: file:key.json, "
        "subject: auditor@example.org"
    )
    office = promises.connected(tmp_path, connection, **{"key.json": key_file(pem, f"{google.origin}/token")})
    lines = promises.sealed(office, google.token, "PRIVATE KEY")
    assert [(claim["sub"], claim["scope"]) for claim in claims] == [("auditor@example.org", " ".join(SCOPES))]
    callers = {line["caller"] for line in lines}
    assert callers == {"service account reader@p.iam.gserviceaccount.com for auditor@example.org"}


@pytest.mark.parametrize(
    ("reply", "kind", "detail"),
    [
        (
            Reply(401, {"error": "unauthorized_client", "error_description": "00-example-token"}),
            "unauthenticated",
            "unauthorized_client",
        ),
        (Reply(200, {"expires_in": 1}), "unauthenticated", "200"),
        (Reply(200, {"access_token": "a b", "expires_in": 1}), "unauthenticated", "cannot be sent"),
        (Reply(400, b"00-example-token"), "unauthenticated", "400"),
        (Reply(302, b"", {"Location": "https://elsewhere.example.org/"}), "unauthenticated", "302"),
        (Reply(429, {}), "throttled", "429"),
        (Reply(503, {}), "server-error", "503"),
    ],
)
def test_a_token_that_is_not_given_says_why_and_nothing_secret(
    google: GoogleWorld, pem: str, reply: Reply, kind: str, detail: str
) -> None:
    google.faults["/token"] = lambda request, number: reply
    with pytest.raises(NoCredentialError, match=detail) as caught:
        delegated(google, pem).headers()
    assert caught.value.kind == kind
    assert "00-example-token" not in caught.value.detail
    assert len(google.requests) == 1, "tried again by nobody but the one place that retries"


def test_a_token_is_kept_until_it_is_refused(google: GoogleWorld, pem: str) -> None:
    google.faults["/token"] = lambda request, number: Reply(body={"access_token": f"t{number}", "expires_in": 3600})
    held = delegated(google, pem)
    assert held.headers() == held.headers() == {"Authorization": "Bearer t1"}
    held.refused()
    assert held.headers() == {"Authorization": "Bearer t2"}


def test_an_expired_token_in_mid_run_is_fetched_anew(google: GoogleWorld, pem: str) -> None:
    google.faults["/token"] = lambda request, number: Reply(body={"access_token": google.token, "expires_in": 1})
    site = Site(G, google.origin, credential=delegated(google, pem), session=open_session(G, workers=1))
    reading = google.read_source(plugins.load().sources[f"{G}.users"], site=site)
    assert reading.shard.population.proven
    assert sum(request.path == "/token" for request in google.requests) == 3


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("no json", "not the key of a Google service account"),
        ("{}", "not the key"),
        ('{"type": "authorized_user", "client_id": "hush"}', "not the key"),
        ("[]", "not the key"),
    ],
)
def test_what_is_no_key_is_refused_without_a_word_of_it(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        Delegated(Secret(text), subject="a@example.org", scopes=SCOPES, post=lambda url, form: (200, b""))
    assert "hush" not in str(caught.value)


def test_a_key_that_would_send_its_statement_unencrypted_is_refused(pem: str) -> None:
    key = Secret(key_file(pem, "http://oauth2.example.org/token"))
    with pytest.raises(ConfigError, match="is not https"):
        Delegated(key, subject="a@example.org", scopes=SCOPES, post=lambda url, form: (200, b""))


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ("subject: auditor@example.org", "service_account is missing"),
        ("service_account: file:key.json", "subject is missing"),
        ("service_account: file:key.json, subject: auditor", "has the wrong form"),
        ("service_account: '{}', subject: auditor@example.org", "a literal value stands where"),
        ("service_account: file:key.json, subject: a@example.org, token: env:T", "token: unknown key"),
        (
            "service_account: file:key.json, subject: a@example.org, base_url: 'http://gateway.example.org'",
            "would send the credential unencrypted",
        ),
    ],
)
def test_a_connection_that_is_not_whole_is_refused(tmp_path: Path, entry: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config.load(promises.connected(tmp_path, f"name: acme, kind: {G}, {entry}").config)


def test_a_connection_asks_google_itself_with_scopes_that_only_read(tmp_path: Path) -> None:
    connection = f"name: a, kind: {G}, service_account: env:K, subject: a@example.org, timeout_s: 9"
    (found,) = config.load(promises.connected(tmp_path, connection).config).connections
    assert isinstance(found, config.HttpConnection)
    assert found.service_account is not None
    assert (found.base_url, found.timeout_s, found.service_account.scopes) == ("https://admin.googleapis.com", 9.0, ())


def test_permissions_only_read_but_for_the_one_that_is_told() -> None:
    library = plugins.load()
    told = {scope for dataset in SOURCES for scope in library.sources[dataset].permissions}
    beyond = {scope for scope in told if not scope.endswith(".readonly")}
    assert beyond == {"https://www.googleapis.com/auth/admin.directory.user.security"}
    assert set(SCOPES) == told - beyond
    docs = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text("utf8")
    listed = [line.strip() for line in docs.splitlines() if line.startswith("    https://www.googleapis.com/auth/")]
    assert listed == list(SCOPES)


@pytest.mark.parametrize("dataset", SOURCES)
def test_examples_hold_only_what_a_source_yields(google: GoogleWorld, dataset: str) -> None:
    """The world's replies conform to the description; what stands in an example and in no reply was invented."""
    rows: list[Any] = [json.loads(json.dumps(row)) for row in google.read(dataset).rows]
    if dataset == f"{G}.policies":  # a setting's value is an object of its own, and the description leaves it open
        values = {name: value for row in rows for name, value in row["setting"]["value"].items()}
        rows = [{**row, "setting": {**row["setting"], "value": values}} for row in rows]
    assert promises.drawn_from({dataset: rows}, Path(__file__).parent)
