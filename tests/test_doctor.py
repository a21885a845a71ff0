"""What a run needs is looked at before a run needs it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from collector import doctor
from collector import run as running
from collector.config import HttpConnection
from collector.config import load as load_config
from collector.doctor import Line, aws, examine
from collector.doctor.aws import WRITES, principal, simulate
from collector.doctor.rights import Rights
from collector.errors import ConfigError
from collector.model import GapKind, Unavailable
from collector.run import Workbench
from evidence_store.store import Store
from tests.doctor_bench import bench, content, looked, secret, signer
from tests.github_world import GitHubWorld
from tests.http_world import OktaWorld, worlds
from tests.worlds import AwsWorld

CONFIG = """version: 1
organisation: Test
store: {{path: store, origin: test.example.org/doctor}}
key: {{file: key, passphrase: file:pass}}
collection: {{attempts: 1}}
connections:
  - {{name: prod, kind: aws, regions: [eu-central-1], endpoint_url: "{endpoint}",
     access_key_id: file:id, secret_access_key: file:id}}
timestamps: {{authorities: [{{url: "http://127.0.0.1:9/tsr", roots: roots.pem}}]}}
"""


def ready(folder: Path, endpoint: str) -> Workbench:
    secret(folder, "pass", "for this test only")
    secret(folder, "id", "testing")
    (folder / "config.yaml").write_text(CONFIG.format(endpoint=endpoint))
    return Workbench(load_config(folder / "config.yaml"), *content())


def look(folder: Path, endpoint: str) -> list[Line]:
    return list(examine(ready(folder, endpoint), lambda: signer(folder.parent)))


def test_a_working_connection_is_named_and_what_is_missing_is_a_problem(aws_world: AwsWorld, tmp_path: Path) -> None:
    ready(tmp_path, aws_world.endpoint)
    prepared = running.prepare(load_config(tmp_path / "config.yaml"))
    lines = list(examine(prepared, lambda: signer(tmp_path.parent)))
    told = {line.what: line.state for line in lines}
    assert told["prod: asks as arn:aws:sts::123456789012:user/moto"] == "ok"
    assert any(what.startswith("the key opens") for what in told)
    assert any("does not answer" in what and state == "problem" for what, state in told.items())
    assert any("could not be simulated" in what and state == "warning" for what, state in told.items())
    assert not (tmp_path / "store").exists()
    assert all(line.next_step for line in lines if line.state != "ok")


def test_an_account_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    lines = [line for line in look(tmp_path, "http://127.0.0.1:9") if line.what.startswith("prod: ")]
    assert [line.state for line in lines] == ["problem"], "no right is looked at of an account nobody could sign in to"
    assert lines[0].what.startswith("prod: sts:GetCallerIdentity got no usable reply")


def test_a_key_that_does_not_open_is_a_problem(tmp_path: Path) -> None:
    prepared = ready(tmp_path, "http://127.0.0.1:9")

    def refuse() -> Any:
        raise ConfigError("the passphrase is not there", "put it there")

    assert Line("problem", "the passphrase is not there", "put it there") in list(examine(prepared, refuse))


def test_what_stands_where_the_store_should_is_looked_at(tmp_path: Path) -> None:
    prepared = ready(tmp_path, "http://127.0.0.1:9")
    (tmp_path / "other").mkdir()

    def told(kept: Path, keys: Path = tmp_path.parent) -> tuple[str, str]:
        lines = examine(prepared, lambda: signer(keys))  # looked at as far as the store
        line = next(one for one in lines if str(kept) in one.what or "the store" in one.what)
        return line.state, line.what

    kept = tmp_path / "store"
    assert told(kept) == ("ok", f"there is no store at {kept} yet; the first run makes it")
    kept.write_text("a file")
    assert told(kept) == ("problem", f"{kept} is there and is no store")
    kept.unlink()
    kept.mkdir()
    assert told(kept)[0] == "ok", "an empty folder is taken"
    (kept / "notes.txt").touch()
    assert told(kept) == ("problem", f"{kept} is there and is no store")
    (kept / "notes.txt").unlink()
    Store.create(kept, origin="test.example.org/doctor", signer=signer(tmp_path.parent)).close()
    assert told(kept) == ("ok", f"the store at {kept} is consistent: 0 runs, 1 leaves")
    assert told(kept, tmp_path / "other")[0] == "problem", "another key signed it"


class Simulator:
    """IAM's policy simulator, as a source sees it."""

    def __init__(self, allowed: set[str]) -> None:
        self.allowed = allowed
        self.asked: list[int] = []

    def pages(self, service: str, operation: str, *, rows: str, ActionNames: list[str], **_: Any) -> Any:  # noqa: N803
        assert (service, operation, rows) == ("iam", "simulate_principal_policy", "EvaluationResults")
        self.asked.append(len(ActionNames))
        for name in ActionNames:
            yield {"EvalActionName": name, "EvalDecision": "allowed" if name in self.allowed else "implicitDeny"}


def test_rights_are_simulated_in_pieces_that_iam_accepts() -> None:
    simulator = Simulator({"s3:PutObject"})
    decided = simulate(simulator, "arn:aws:iam::1:role/r", [f"a:{n}" for n in range(60)] + list(WRITES))
    assert decided["s3:PutObject"] == "allowed"
    assert decided["a:1"] == "implicitDeny"
    assert max(simulator.asked) <= 50


@pytest.mark.parametrize(
    ("arn", "named"),
    [
        ("arn:aws:sts::123456789012:assumed-role/affidavit/session", "arn:aws:iam::123456789012:role/affidavit"),
        ("arn:aws:iam::123456789012:user/affidavit", "arn:aws:iam::123456789012:user/affidavit"),
    ],
)
def test_a_session_is_simulated_as_its_role(arn: str, named: str) -> None:
    assert principal(arn) == named


def test_a_refused_simulation_is_no_proof(aws_world: AwsWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise Unavailable(GapKind.DENIED, "iam:SimulatePrincipalPolicy was refused (AccessDenied)", "iam:Simulate")

    monkeypatch.setattr(aws, "simulate", refuse)
    [line] = [line for line in look(tmp_path, aws_world.endpoint) if "could not be simulated" in line.what]
    assert line.state == "warning"
    assert "affidavit plan --permissions" in line.next_step
    allowed = dict.fromkeys(WRITES, "allowed")
    monkeypatch.setattr(aws, "simulate", lambda *_: allowed)
    told = {line.state: line.what for line in look(tmp_path, aws_world.endpoint) if "prod: " in line.what}
    assert "not allowed: acm:ListCertificates" in told["problem"]
    assert "holds rights to change things: iam:CreateUser" in told["warning"]


def test_an_account_that_may_read_all_and_change_nothing_is_fine() -> None:
    found = aws.rights(Simulator({"s3:ListAllMyBuckets"}), "arn:aws:iam::1:role/r", ["s3:ListAllMyBuckets"])
    assert (found.missing, found.changes, found.untold) == ((), (), ())
    assert found.fine == "allowed all 1 actions it needs, and none of 16 that change things"


@pytest.mark.parametrize(
    ("claims", "state", "told"),
    [
        ({"scp": ["okta.users.read"]}, "ok", "names all 1 rights it needs, and none that changes things"),
        ({"scp": "okta.users.read okta.users.manage"}, "warning", "allows to change things: okta.users.manage"),
        ({"scope": "okta.groups.read"}, "warning", "does not name okta.users.read"),
        ({"roles": ["User.ReadWrite.All", "okta.users.read"]}, "warning", "change things: User.ReadWrite.All"),
        ({"resource_access": {"realm-management": {"roles": ["manage-users"]}}}, "warning", "things: manage-users"),
    ],
)
def test_what_a_token_allows_by_its_own_words_is_told(
    tmp_path: Path, claims: dict[str, Any], state: str, told: str
) -> None:
    for world in worlds(OktaWorld, tmp_path):
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        world.token = f"e30.{body}.sig"
        secret(tmp_path, "token", world.token)
        connection = {"name": "there", "kind": "okta", "base_url": world.origin, "token": "file:token"}
        lines = looked(tmp_path, connection, ("okta.users",))
        assert [request.path for request in world.requests] == ["/api/v1/users/me"], "the token says it all"
    assert any(line.state == state and told in line.what for line in lines), lines
    assert world.token not in "".join(map(str, lines))


def test_each_connection_is_looked_at_once_however_many_accounts_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def rights(connection: HttpConnection, *_: Any) -> Rights:
        seen.append(connection.name)
        return Rights(fine="nothing is wrong")

    monkeypatch.setattr(doctor.apis, "rights", rights)
    for world in worlds(GitHubWorld, tmp_path):
        world.held = {"/user": {"id": 1, "login": "auditor"}}
        secret(tmp_path, "token", world.token)
        connection = {
            "name": "there", "kind": "github", "base_url": world.origin, "token": "file:token",
            "accounts": ["one", "two"],
        }  # fmt: skip
        prepared = bench(tmp_path, connection, ("github.members",))
        lines = [line.what for line in examine(prepared, lambda: signer(tmp_path.parent))]
    assert {"there/one: asks as 1 auditor", "there/two: asks as 1 auditor", "there: nothing is wrong"} <= {*lines}
    assert seen == ["there"]
