"""A plan asks what its checks need and nothing else, and is read back as it was written."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

import collector
from collector import plan as planning
from collector import plugins
from collector.api import Check
from collector.config import Config
from collector.config import load as load_config
from collector.errors import ConfigError, RerunError
from collector.model import Task
from collector.suppressions import WORDS_ONLY, change_leaf, changes, ruler

AS_OF = datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)

CONFIG = """\
version: 1
organisation: Test Ltd
store: {path: store, origin: test.example.org/log}
key: {file: k, passphrase: env:P}
connections:
  - name: two
    kind: aws
    regions: [eu-central-1, eu-west-1]
    accounts:
      - {id: "111122223333", role: "arn:aws:iam::111122223333:role/audit"}
      - {id: "444455556666", role: "arn:aws:iam::444455556666:role/audit"}
  - {name: one, kind: aws, regions: [us-east-1]}
  - {name: here, kind: host}
  - {name: web, kind: tls, endpoints: [www.example.org:443, "[2001:db8::1]:8443"]}
checks:
  disabled: [{id: aws.logs.encryption, reason: not needed, by: J. Doe}]
  parameters: {aws.iam.role-trust-known-accounts: {known_accounts: ["1"]}, aws.logs.retention: {min_days: 30}}
collection: {attempts: 2}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.yaml").write_text(CONFIG)
    return load_config(tmp_path / "config.yaml")


def _plan(config: Config, wanted: Callable[[Check], bool] = lambda check: True, **more: Any) -> planning.Plan:
    return planning.make(config, plugins.load(), AS_OF, wanted=wanted, **more)


def _only(*ids: str) -> Callable[[Check], bool]:
    return lambda check: check.id in ids


def test_each_dataset_is_planned_once_per_region_or_account_and_identities_come_first(config: Config) -> None:
    plan = _plan(config, _only("aws.logs.retention", "aws.iam.password-policy-length"), connections=["two"])
    assert [task.id for task in plan.tasks] == [
        f"{dataset}@two/{account}{region}"
        for account in ("111122223333", "444455556666")
        for dataset, region in (
            ("aws.sts.caller-identity", ""), ("aws.iam.password-policy", ""),
            ("aws.logs.groups", "/eu-central-1"), ("aws.logs.groups", "/eu-west-1"),
        )
    ]  # fmt: skip


def test_a_plan_over_everything_asks_nothing_twice_and_only_what_is_needed(config: Config) -> None:
    plan = _plan(config)
    assert len({task.id for task in plan.tasks}) == len(plan.tasks)
    needed = {dataset for check in plan.checks for dataset in check.datasets} | {"aws.sts.caller-identity"}
    assert {task.dataset for task in plan.tasks} == needed
    assert {task.connection for task in plan.tasks} == {"two", "one", "here", "web"}
    assert {task.dataset.split(".")[0] for task in plan.tasks if task.connection == "here"} == {"host"}
    assert [place.name for place in plan.places] == ["two", "one", "here", "web"]
    assert plan.place("web").endpoints == ("www.example.org:443", "[2001:db8::1]:8443")
    assert plan.place("two").accounts == ("111122223333", "444455556666")
    assert plan.place("one").home == "us-east-1"


def test_a_disabled_check_is_told_with_reason_and_person(config: Config) -> None:
    plan = _plan(config, lambda check: check.id.startswith("aws.logs."))
    assert [check.id for check in plan.checks] == ["aws.logs.retention"]
    assert plan.document["disabled"] == [{"id": "aws.logs.encryption", "reason": "not needed", "by": "J. Doe"}]
    with pytest.raises(ConfigError, match="no check is left to run"):
        _plan(config, _only("aws.logs.encryption"))


def test_a_check_needs_a_connection_of_its_kind(config: Config) -> None:
    with pytest.raises(ConfigError, match="no check is left to run"):
        _plan(config, _only("aws.logs.retention"), connections=["here"])
    assert {check.id.split(".")[0] for check in _plan(config, connections=["web"]).checks} == {"tls"}


def test_the_plan_is_a_document_that_says_everything(config: Config) -> None:
    plan = _plan(config, _only("aws.logs.retention"), files={"mappings/a": b"A"}, selection="checks aws.logs.retention")
    told = orjson.loads(plan.raw)
    assert told["schema"] == "affidavit.plan/1"
    assert (told["organisation"], told["asOf"]) == ("Test Ltd", "2026-06-01T12:00:00.123Z")
    assert told["selection"] == "checks aws.logs.retention"
    assert told["config"] == {"sha256": hashlib.sha256(CONFIG.encode()).hexdigest()}
    assert told["limits"]["attempts"] == 2
    assert told["files"] == [{"file": "mappings/a", "sha256": hashlib.sha256(b"A").hexdigest()}]
    code = {item["file"]: item["sha256"] for item in told["code"]}
    library = plugins.load()
    assert code["checks/aws/logs.py"] == hashlib.sha256(library.code["checks/aws/logs.py"]).hexdigest()
    (check,) = told["checks"]
    assert check["params"] == {"min_days": 30}
    assert check["description"].startswith("Events are kept for at least")
    (groups, identity) = told["sources"]
    assert (groups["id"], identity["id"]) == ("aws.logs.groups", "aws.sts.caller-identity")
    assert (groups["filters"], groups["permissions"]) == ("none", ["logs:DescribeLogGroups"])
    assert plan.as_of == datetime(2026, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def test_redactions_are_told_in_the_plan(config: Config) -> None:
    told = orjson.loads(_plan(config).raw)
    redacted = {source["id"]: source["redactions"] for source in told["sources"] if source["redactions"]}
    assert "aws.lambda.functions" in redacted
    assert all(item["operation"] and item["path"] and item["reason"] for items in redacted.values() for item in items)


def test_a_plan_is_read_back_as_it_was_made(config: Config) -> None:
    made = _plan(config)
    again = planning.read(orjson.loads(made.raw), plugins.load())
    assert again.tasks == made.tasks
    assert again.places == made.places
    assert (again.organisation, again.as_of) == (made.organisation, made.as_of)
    assert [check.id for check in again.checks] == [check.id for check in made.checks]
    assert again.parameters["aws.iam.role-trust-known-accounts"]["known_accounts"] == ("1",)
    for check in made.checks:
        assert dict(again.parameters[check.id]) == {**check.params, **made.parameters.get(check.id, {})}
    assert again.raw == made.raw


def test_a_plan_names_what_is_not_installed(config: Config) -> None:
    library = plugins.load()
    document = orjson.loads(_plan(config, _only("aws.logs.retention")).raw)
    without_check = plugins.Library(library.sources, {}, library.code, *_rest(library))
    with pytest.raises(RerunError, match=r"used the check aws\.logs\.retention, which is not installed"):
        planning.read(document, without_check)
    sources = {name: source for name, source in library.sources.items() if name != "aws.logs.groups"}
    with pytest.raises(RerunError, match=r"the run read aws\.logs\.groups, which no installed source gives") as error:
        planning.read(document, plugins.Library(sources, library.checks, library.code, *_rest(library)))
    assert "--sealed-code" in error.value.next_step


def test_a_renamed_check_is_found_by_its_alias(config: Config) -> None:
    from dataclasses import replace

    library = plugins.load()
    document = orjson.loads(_plan(config, _only("aws.logs.retention")).raw)
    renamed = replace(library.checks["aws.logs.retention"], id="aws.logs.kept", aliases=("aws.logs.retention",))
    plan = planning.read(
        document, plugins.Library(library.sources, {renamed.id: renamed}, library.code, *_rest(library))
    )
    assert [check.id for check in plan.checks] == ["aws.logs.retention"]
    assert plan.checks[0].function is renamed.function


def _rest(library: plugins.Library) -> list[Any]:
    """What a library holds beyond sources, checks and code."""
    return [
        getattr(library, name) for name in library.__dataclass_fields__ if name not in ("sources", "checks", "code")
    ]


def test_a_task_says_where_it_reads() -> None:
    task = Task("aws.logs.groups", "two", "1", "home")
    assert (task.id, task.scope, task.account_scope) == ("aws.logs.groups@two/1/home", "two/1/home", "two/1")
    assert Task("host.time", "here").id == "host.time@here"


def test_a_plan_that_is_read_back_is_the_same_ruler(config: Config) -> None:
    """Limits that are tuples in code came back as lists, and each seemed to have changed since the run before."""
    plan = _plan(config)
    assert any(isinstance(value, list) for check in plan.document["checks"] for value in check["params"].values())
    assert orjson.loads(plan.raw) == plan.document
    assert list(changes(orjson.loads(plan.raw), _plan(config).document)) == []


RICH = CONFIG.replace(
    "  - {name: here, kind: host}",
    """\
  - {name: here, kind: host}
  - {name: code, kind: github, base_url: "https://api.example.org", token: env:CODE_TOKEN, roots: r.pem, accounts: [o]}
  - {name: dir, kind: ldap, url: "ldaps://dir.example.org", base: "dc=x", bind_dn: "cn=x", password: file:dir-password}
  - {name: papers, kind: register, folder: registers}""",
)
RICH += """\
daemon:
  schedules: [{name: nightly, cron: 15 2 * * *, connections: [web]}]
timestamps: {authorities: [{url: "https://tsa.example.org/", roots: tsa.pem}]}
anchors: {copies: [{folder: mirror}]}
privacy: {fields: [{operation: "github:GET /users", json: "[].login", kind: name}]}
"""


def _settled(folder: Path, text: str) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(text)
    return dict(_plan(load_config(folder / "config.yaml")).document)


def test_the_plan_holds_every_setting_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_TOKEN", "s3cr3t-of-this-test")
    (tmp_path / "dir-password").write_text("s3cr3t-of-this-test")
    (tmp_path / "r.pem").write_bytes(b"roots")
    document = _settled(tmp_path, RICH)
    told = document["settings"]
    assert b"s3cr3t" not in orjson.dumps(document)
    expected = {
        "organisation": "Test Ltd",
        "connections": ["code", "dir", "here", "one", "papers", "two", "web"],
        "store.path": "store",
        "key.passphrase": "env:P",
        "connections.code.token": "env:CODE_TOKEN",
        "connections.code.roots": "r.pem",
        "connections.code.roots.sha256": hashlib.sha256(b"roots").hexdigest(),
        "connections.dir.password": "file:dir-password",
        "connections.papers.folder": "registers",
        "connections.two.accounts.111122223333.role": "arn:aws:iam::111122223333:role/audit",
        "connections.web.endpoints": ["www.example.org:443", "[2001:db8::1]:8443"],
        "checks.disabled.aws.logs.encryption.by": "J. Doe",
        "checks.parameters.aws.logs.retention.min_days": 30,
        "daemon.schedules.nightly.cron": "15 2 * * *",
        "daemon.time_zone": "UTC",
        "timestamps.authorities.https://tsa.example.org/.roots.sha256": "the file cannot be read",
        "anchors.copies.mirror.branch": "main",
        "privacy.defaults": True,
        "privacy.fields.github:GET /users [].login.kind": "name",
        "collection.attempts": 2,
    }
    assert {name: told[name] for name in expected} == expected
    again = _settled(tmp_path / "elsewhere", RICH.replace("r.pem", str(tmp_path / "r.pem")))["settings"]
    differing = {name for name in told if told[name] != again[name]}
    assert differing == {"connections.code.roots"}, "where the folder lies is no setting"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("https://api.example.org", "https://other.example.org",
         "setting connections.code.base_url: https://api.example.org -> https://other.example.org"),
        ("ldaps://dir.example.org", "ldaps://dir2.example.org",
         "setting connections.dir.url: ldaps://dir.example.org -> ldaps://dir2.example.org"),
        ("roots: r.pem, ", "", "setting connections.code.roots: r.pem -> not set"),
        ("folder: registers", "folder: papers", "setting connections.papers.folder: registers -> papers"),
        ("privacy: {", "privacy: {defaults: false, ", "setting privacy.defaults: True -> False"),
        ("{folder: mirror}", "{folder: mirror2}", "setting anchors.copies: dropped mirror"),
        ("tsa.example.org", "tsa2.example.org",
         "setting timestamps.authorities: added https://tsa2.example.org/"),
        ("15 2 * * *", "15 2 1 * *", "setting daemon.schedules.nightly.cron: 15 2 * * * -> 15 2 1 * *"),
        (', "[2001:db8::1]:8443"', "", "setting connections.web.endpoints: dropped [2001:db8::1]:8443"),
        ("regions: [us-east-1]", "regions: [us-east-1], endpoint_url: https://aws.example.org",
         "setting connections.one.endpoint_url: not set -> https://aws.example.org"),
        ("env:CODE_TOKEN", "env:OTHER", "setting connections.code.token: env:CODE_TOKEN -> env:OTHER"),
        ("attempts: 2", "attempts: 1", "collection.attempts: 2 -> 1"),
        ("connections: [web]", "connections: [here]", "setting daemon.schedules.nightly.connections: dropped web"),
    ],
)  # fmt: skip
def test_whatever_is_set_otherwise_is_told_by_its_name(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert RICH.count(old) >= 1
    before, after = _settled(tmp_path, RICH), _settled(tmp_path, RICH.replace(old, new))
    assert told in list(changes(before, after))
    assert told in change_leaf(before, "r0", after, "me", "")["changes"]


def test_roots_that_changed_under_the_same_name_are_another_ruler(tmp_path: Path) -> None:
    (tmp_path / "r.pem").write_bytes(b"roots")
    before = _settled(tmp_path, RICH)
    (tmp_path / "r.pem").write_bytes(b"others")
    after = _settled(tmp_path, RICH)
    assert ruler(before) != ruler(after)
    (told,) = changes(before, after)
    assert told.startswith("setting connections.code.roots.sha256: ")


def test_of_a_kubeconfig_only_the_servers_are_told(tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(
        "clusters: [{name: c, cluster: {server: 'https://k.example.org:6443'}}]\n"
        "users: [{name: u, user: {token: s3cr3t}}]"
    )
    more = "  - {name: k, kind: kubernetes, kubeconfig: kube, context: x}\nchecks:"
    told = _settled(tmp_path, CONFIG.replace("checks:", more, 1))["settings"]
    assert told["connections.k.kubeconfig.c.server"] == "https://k.example.org:6443"
    assert b"s3cr3t" not in orjson.dumps(told)


def test_other_words_for_the_same_are_the_same_settings(tmp_path: Path) -> None:
    before = _settled(tmp_path, RICH)
    after = _settled(tmp_path, RICH.replace("folder: registers", "folder: ./registers") + "# a word more\n")
    assert before["settings"] == after["settings"]
    assert change_leaf(before, "r0", after, "me", "")["changes"] == [WORDS_ONLY]


def test_a_plan_over_a_part_says_what_the_whole_would_be(config: Config) -> None:
    full = _plan(config).document
    assert full["whole"] == {
        "checks": {check["id"]: check["params"] for check in full["checks"]},
        "scopes": list(dict.fromkeys(task["id"].partition("@")[2] for task in full["tasks"])),
        "redactions": [f"{one['id']} {item['path']}" for one in full["sources"] for item in one["redactions"]],
    }
    part = _plan(config, _only("tls.endpoint.days-left"), connections=["web"], selection="x").document
    assert [check["id"] for check in part["checks"]] == ["tls.endpoint.days-left"]
    assert (part["whole"], part["settings"]) == (full["whole"], full["settings"])
    assert list(changes(full, part)) == list(changes(part, full)) == []


def test_the_collector_itself_is_part_of_the_plan(config: Config) -> None:
    """What the digest is of can be printed with the tools of any machine."""
    sums = "find . -type f -not -path '*/__pycache__/*' -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(["sh", "-c", sums], cwd=Path(collector.__file__).parent, capture_output=True, check=True)
    assert _plan(config).document["collector"]["sha256"] == said.stdout.split()[0].decode()


def test_a_check_brings_those_that_hold_its_lists_against_another_source(config: Config) -> None:
    """With a part of the checks a list that is short passed, where all of them told that it is."""
    plan = _plan(config, _only("aws.ec2.imdsv2-required"))
    assert [check.id for check in plan.checks] == [
        "aws.ec2.attachments-reconciled",
        "aws.ec2.imdsv2-required",
        "aws.ec2.instances-reconciled",
        "aws.ec2.volumes-reconciled",
    ]
    everything = {check.id: check for check in _plan(config).checks}
    for one in everything:
        part = _plan(config, _only(one))
        lists = {dataset for check in part.checks for dataset in check.datasets}
        holding = {check.id for check in everything.values() if lists & set(check.reconciles)}
        assert holding <= {check.id for check in part.checks}
