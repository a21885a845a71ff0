"""What the doctor says of the rights behind a token: missing, too many, or not told; never nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doctor_bench import looked, secret, states
from tests.entra_world import EntraWorld
from tests.github_world import HERE, GitHubWorld
from tests.gitlab_world import GROUP, GitLabWorld
from tests.google_world import D, GoogleWorld
from tests.http_world import HttpWorld, OktaWorld, Reply, Request
from tests.jira_world import USER, JiraWorld
from tests.keycloak_world import KeycloakWorld

COMPARE = "compare them by hand with: affidavit plan --permissions"
ORG = "example-org"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A world of the kind that the test names; nobody else has its token."""
    made = request.param(tmp_path)
    secret(tmp_path, "token", made.token)
    yield made
    made.stop()


def of(kind: type[HttpWorld]) -> Any:
    return pytest.mark.parametrize("world", [kind], indirect=True)


def look(world: Any, datasets: tuple[str, ...], **other: Any) -> list[tuple[str, str]]:
    """State and words of what is said of the world's rights, after who asks."""
    connection = {"name": "there", "kind": world.kind, "base_url": world.origin, "token": "file:token", **other}
    connection = {name: value for name, value in connection.items() if value is not None}
    lines = looked(world._tmp, connection, datasets)
    assert world.token not in "".join(map(str, lines))
    assert all(line.next_step == COMPARE for line in lines if "does not tell" in line.what)
    return [line for line in states(lines) if not line[1].startswith("asks as")]


# Okta

OWNER = {"id": "00u1", "status": "ACTIVE", "profile": {"login": "auditor@example.org"}}
COVER = ("warning", "okta does not tell whether the roles of its token's user cover the scopes it needs")


def role(kind: str, **other: Any) -> dict[str, Any]:
    return {"id": f"ra-{kind}", "type": kind, "label": kind.title(), "status": "ACTIVE", **other}


@of(OktaWorld)
def test_a_token_of_okta_has_the_roles_of_its_user(world: OktaWorld) -> None:
    world.me, world.roles["00u1"] = OWNER, [role("READ_ONLY_ADMIN"), role("REPORT_ADMIN")]
    fine = "its token is of a user with 2 administrator's roles, none of which changes things"
    assert look(world, ("okta.users",)) == [COVER, ("ok", fine)]
    world.roles["00u1"].append(role("HELP_DESK_ADMIN"))
    assert look(world, ("okta.users",)) == [("warning", "holds rights to change things: HELP_DESK_ADMIN"), COVER]
    assert world.contract is None or not world.contract.faults


@of(OktaWorld)
def test_a_role_of_ones_own_making_is_looked_into(world: OktaWorld) -> None:
    world.me, world.roles["00u1"] = OWNER, [role("CUSTOM", role="cr1", label="Auditors")]
    labels = ["okta.users.read", "okta.groups.read"]
    path = "/api/v1/iam/roles/{roleIdOrLabel}/permissions"
    world.route(path, lambda request: Reply(body={"permissions": [{"label": label} for label in labels]}))
    assert [state for state, _ in look(world, ("okta.users",))] == ["warning", "ok"]
    labels.append("okta.users.manage")
    changes = ("warning", "holds rights to change things: okta.users.manage (Auditors)")
    assert look(world, ("okta.users",)) == [changes, COVER]
    world.faults["/api/v1/iam/.*"] = lambda request, number: Reply(403, {"errorCode": "E0000006"})
    untold, cover = look(world, ("okta.users",))
    assert untold[1].startswith("okta does not tell the permissions of the role Auditors (okta:GET /api/v1/iam")
    assert (untold[0], cover) == ("warning", COVER)
    assert world.contract is None or not world.contract.faults


@of(OktaWorld)
def test_only_so_many_roles_are_looked_into(world: OktaWorld) -> None:
    world.me = OWNER
    world.roles["00u1"] = [role("CUSTOM", role=f"cr{number}", label=f"R{number}") for number in range(21)]
    world.route("/api/v1/iam/roles/{roleIdOrLabel}/permissions", lambda request: Reply(body={"permissions": []}))
    (state, what), cover = look(world, ("okta.users",))
    assert (state, what) == ("warning", "okta does not tell the permissions of the role R20 (there are 21 roles)")
    assert cover == COVER
    assert sum("/iam/roles/" in request.path for request in world.requests) == 20


@of(OktaWorld)
def test_a_refused_look_is_one_warning_and_a_wrong_shape_another(world: OktaWorld) -> None:
    world.me = OWNER
    world.faults["/api/v1/users/00u1/roles"] = lambda request, number: Reply(403, {"errorCode": "E0000006"})
    [(state, what)] = look(world, ("okta.users",))
    reason = "okta:GET /api/v1/users/{userId}/roles was refused (403 E0000006)"
    assert (state, what) == ("warning", f"the rights of this okta connection could not be looked at ({reason})")
    world.faults["/api/v1/users/00u1/roles"] = lambda request, number: Reply(body=[{"kind": "?"}])
    [(state, what)] = look(world, ("okta.users",))
    assert (state, what.partition(" (")[2]) == ("warning", "the reply is not as described: KeyError)")


@of(OktaWorld)
def test_where_nobody_knows_who_asks_no_right_is_looked_at(world: OktaWorld) -> None:
    world.faults[".*"] = lambda request, number: Reply(401, {"errorCode": "E0000011"})
    [(state, what)] = look(world, ("okta.users",))
    assert (state, "credential is not valid" in what) == ("problem", True)
    assert len(world.requests) == 1


# GitHub


class Scoped(GitHubWorld):
    """Tells the scopes of a classic token, where it has any."""

    scopes: str | None = None

    def _reply(self, request: Request, number: int) -> Reply:
        reply = super()._reply(request, number)
        if self.scopes is not None:
            reply.headers["X-OAuth-Scopes"] = self.scopes
        return reply


USER_OF_GITHUB = json.loads((HERE / "organisation.json").read_text("utf8"))["/user"]


def repositories(world: GitHubWorld, **rights: dict[str, bool]) -> None:
    world.held = {
        "/user": USER_OF_GITHUB,
        f"/orgs/{ORG}/repos": [
            {"name": name, "full_name": f"{ORG}/{name}", "permissions": {"pull": True, "admin": False, **held}}
            for name, held in rights.items()
        ],
    }


CLASSIC = ("warning", "github does not tell whether the scopes of a classic token cover the permissions it needs")


@of(Scoped)
def test_a_classic_token_tells_its_scopes(world: Scoped) -> None:
    repositories(world, site={"push": True})
    world.scopes = "read:org, read:audit_log"
    fine = ("ok", "its token has no scope that changes things")
    assert look(world, ("github.members",), accounts=[ORG]) == [CLASSIC, fine]
    world.scopes = "read:org, repo, admin:org_hook"
    changes = ("warning", "holds rights to change things: scope repo, scope admin:org_hook")
    assert look(world, ("github.members",), accounts=[ORG]) == [changes, CLASSIC]
    assert world.contract is None or not world.contract.faults


@of(Scoped)
def test_other_tokens_of_github_keep_theirs_to_themselves(world: Scoped) -> None:
    repositories(world, site={"push": False}, api={"push": False})
    start = "github does not tell the permissions of a token that is not a classic one"
    [told] = look(world, ("github.members",), accounts=[ORG])
    assert told == ("warning", f"{start}; its account may write to none, of 2 repositories listed first")
    repositories(world, site={"push": True}, api={"push": False})
    [(_, what)] = look(world, ("github.members",), accounts=[ORG])
    assert what.endswith(f"; its account may write to {ORG}/site, perhaps by other tokens only, of 2 repositories "
                         "listed first")  # fmt: skip
    repositories(world)
    assert look(world, ("github.members",), accounts=[ORG]) == [("warning", start)]


@of(Scoped)
def test_only_the_first_page_of_repositories_is_asked_for(world: Scoped) -> None:
    repositories(world, **{f"r{number}": {"push": True} for number in range(7)})
    look(world, ("github.members",), accounts=[ORG])
    assert [request.path for request in world.requests] == ["/user", f"/orgs/{ORG}/repos"]


# GitLab


@of(GitLabWorld)
@pytest.mark.parametrize(
    ("scopes", "said"),
    [
        (["read_api"], [("ok", "its token has all 1 scopes it needs, and none that changes things")]),
        (["read_user"], [("problem", "not allowed: read_api")]),
        (["api"], [("warning", "holds rights to change things: scope api")]),
        (
            ["write_repository"],
            [
                ("problem", "not allowed: read_api"),
                ("warning", "holds rights to change things: scope write_repository"),
            ],
        ),
    ],
)
def test_gitlab_tells_the_scopes_of_a_token(world: GitLabWorld, scopes: list[str], said: Any) -> None:
    own = "/api/v4/personal_access_tokens/self"
    world.held = {"/api/v4/user": {"id": 1, "username": "auditor"}, own: {"id": 42, "scopes": scopes}}
    world.route(own, world._one)
    assert look(world, ("gitlab.group",), accounts=[GROUP]) == said


# Jira


def jira(world: JiraWorld, *held: str) -> list[tuple[str, str]]:
    """What is said where the account has these permissions."""

    def permissions(request: Request) -> Reply:
        keys = request.query["permissions"].split(",")
        assert len(keys) == len(set(keys)) > 20
        return Reply(body={"permissions": {key: {"key": key, "havePermission": key in held} for key in keys}})

    world.routes = [route for route in world.routes if route[0] != "/rest/api/3/mypermissions"]
    world.route("/rest/api/3/mypermissions", permissions)
    basic = {"user": USER, "secret": "file:token"}
    return look(world, ("jira.changes",), token=None, basic=basic)


@of(JiraWorld)
def test_jira_tells_what_the_account_may_do(world: JiraWorld) -> None:
    world.me = {"accountId": "acc-1"}
    read = ("BROWSE_PROJECTS", "USER_PICKER")
    said = "may browse projects, and has none of 29 permissions that change things"
    assert jira(world, *read) == [("ok", said)]
    changes = ("warning", "holds rights to change things: ADMINISTER, EDIT_ISSUES")
    assert jira(world, *read, "EDIT_ISSUES", "ADMINISTER") == [changes]
    assert ("problem", "not allowed: BROWSE_PROJECTS (for read:jira-work)") in jira(world, "USER_PICKER")


# Google Workspace


@pytest.fixture(scope="module")
def pem() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def google(world: GoogleWorld, pem: str, scopes: list[str]) -> list[tuple[str, str]]:
    key = {
        "type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": pem, "client_id": "1",
        "client_email": "reader@p.iam.gserviceaccount.com", "token_uri": f"{world.origin}/token",
    }  # fmt: skip
    reference = secret(world._tmp, "google.json", json.dumps(key))
    asked = {"subject": "auditor@example.org", "scopes": [f"https://www.googleapis.com/auth/{one}" for one in scopes]}
    return look(world, ("google-workspace.users",), token=None, service_account=reference, **asked)


@of(GoogleWorld)
def test_google_gives_the_scopes_that_are_asked_for(world: GoogleWorld, pem: str) -> None:
    given = {"access_token": world.token, "expires_in": 3600, "token_type": "Bearer"}
    world.faults["/token"] = lambda request, number: Reply(body=given)
    world.faults[f"{D}/users/.*"] = lambda request, number: Reply(403, {"error": {"code": 403}})
    (state, key), fine = google(world, pem, ["admin.directory.user.readonly"])
    assert (state, key.startswith("google-workspace does not tell which further scopes")) == ("warning", True)
    assert fine == ("ok", "its tokens are made with 1 scopes, all that it needs and none that changes things")
    start = "its configuration allows to change things: scope https://www.googleapis.com/auth/"
    assert ("warning", f"{start}admin.directory.user") in google(world, pem, ["admin.directory.user"])
    (state, missing), *_ = google(world, pem, ["admin.directory.group.readonly"])
    assert (state, missing.startswith("its configuration does not name https:")) == ("warning", True)


@of(GoogleWorld)
def test_a_key_that_google_does_not_take_is_told(world: GoogleWorld, pem: str) -> None:
    world.faults["/token"] = lambda request, number: Reply(401, {"error": "unauthorized_client"})
    [(state, what)] = google(world, pem, ["admin.directory.user.readonly"])
    assert state == "warning"
    assert what.startswith("the rights of this google-workspace connection could not be looked at (")
    assert "401 unauthorized_client" in what


# Tokens that say nothing


@pytest.mark.parametrize(
    ("world", "dataset"),
    [(EntraWorld, "entra.domains"), (KeycloakWorld, "keycloak.clients")],
    indirect=["world"],
)
def test_a_token_that_names_no_right_is_told_of(world: Any, dataset: str) -> None:
    said = f"{world.kind} does not tell which rights its token has, and the token names none"
    world.faults[".*"] = lambda request, number: Reply(403, {"error": "no"})
    assert look(world, (dataset,)) == [("warning", said)]
    world.faults[".*"] = lambda request, number: Reply(401, {"error": "no"})
    [(state, what)] = look(world, (dataset,))
    assert (state, "could not be looked at" in what, "credential is not valid" in what) == ("warning", True, True)


@of(OktaWorld)
def test_what_cannot_be_opened_is_told_where_nobody_asks_who_it_is(world: OktaWorld) -> None:
    missing = {"name": "there", "kind": "keycloak", "base_url": world.origin, "token": "file:nowhere"}
    [(state, what)] = states(looked(world._tmp, missing, ("keycloak.clients",)))
    assert (state, "the rights of this keycloak connection could not be looked at" in what) == ("warning", True)
    assert "nowhere" in what
