"""How an LDAP directory is read and judged: against a real slapd with ppolicy, lastbind and access rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import examples, plugins
from collector.judge import Bench, judge
from collector.model import Outcome, Unavailable
from tests.ldap_servers import PASSWORD, Slapd, same
from tests.small_cloud import Office, files_of
from tests.worlds import Reading

LDIF = (Path(__file__).parent / "directory.ldif").read_text("utf8")
OPEN = "access to attrs=userPassword by * auth\naccess to * by * read\n"

PEOPLE = "ou=people,dc=acme,dc=example"
KEYS = {
    "ldap.accounts": [
        "cn=auditor,dc=acme,dc=example",
        *(f"uid={name},{PEOPLE}" for name in ("anna", "berta", "carl", "toor")),
    ],
    "ldap.caller": ["caller"],
    "ldap.groups": [f"cn={name},ou=groups,dc=acme,dc=example" for name in ("admins", "operators", "wheel")],
    "ldap.password-policies": [f"cn={name},ou=policies,dc=acme,dc=example" for name in ("default", "services")],
    "ldap.server": ["server"],
    "ldap.sudo-rules": [f"cn={name},ou=sudo,dc=acme,dc=example" for name in ("defaults", "everybody", "web")],
}
SOURCES = sorted(name for name in plugins.load().sources if name.startswith("ldap."))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    folder = tmp_path_factory.mktemp("slapd")
    world = Slapd(folder, folder)
    furnish(world)
    yield world
    world.stop()


@pytest.fixture
def ldap(server: Slapd, tmp_path: Path) -> Slapd:
    """The directory, open to its readers."""
    server._tmp = tmp_path
    if (server.rules, server.refusals) != (OPEN, ""):
        server.rules, server.refusals = OPEN, ""
        server.start()
    return server


def furnish(world: Slapd) -> None:
    """Put the entries of the file into the directory, and have two of them sign in."""
    world.load(LDIF)
    world.start()
    assert world.sign_in(f"uid=anna,{PEOPLE}", "annas long password")
    assert not world.sign_in(f"uid=anna,{PEOPLE}", "a wrong one")


def keys_of(reading: Reading) -> list[str]:
    assert reading.shard.path is not None
    return [json.loads(line)["key"] for line in reading.shard.path.read_bytes().splitlines()]


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_and_replays(ldap: Slapd, dataset: str) -> None:
    reading = ldap.read(dataset)
    assert (reading.shard.population.gap, reading.shard.population.partial) == (None, ())
    assert keys_of(reading) == KEYS[dataset]
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    for personal in (b"Anna", b"Gone", b"long password", b"userPassword:", b"{SSHA}", b"/home/", PASSWORD.encode()):
        assert personal not in kept
    same(ldap, reading)


@pytest.mark.parametrize("dataset", KEYS)
def test_every_permission_is_an_attribute_that_is_asked_for(ldap: Slapd, dataset: str) -> None:
    asked = {name for line in ldap.read(dataset).ledger.lines for name in line["params"].get("attributes", ())}
    granted = plugins.load().sources[dataset].permissions
    assert {f"read {name}" for name in asked - {"1.1"}} == set(granted)


def test_an_empty_directory_is_a_complete_empty_list(ldap: Slapd) -> None:
    ldap.base = "ou=sudo,dc=acme,dc=example"
    try:
        for dataset in ("ldap.accounts", "ldap.groups", "ldap.password-policies"):
            reading = ldap.read(dataset)
            assert (reading.rows, reading.shard.population.proven) == ([], True)
            same(ldap, reading)
    finally:
        del ldap.base


def test_the_policy_locks_and_the_lock_is_seen(ldap: Slapd) -> None:
    for _ in range(5):
        ldap.sign_in(f"uid=berta,{PEOPLE}", "guess")
    assert not ldap.sign_in(f"uid=berta,{PEOPLE}", "bertas long password")
    (moment,) = ldap.read("ldap.accounts").row(f"uid=berta,{PEOPLE}")["pwdAccountLockedTime"]
    assert re.fullmatch(r"\d{14}Z", moment)
    ldap.modify(f"dn: uid=berta,{PEOPLE}\nchangetype: modify\ndelete: pwdAccountLockedTime\n")
    assert ldap.read("ldap.accounts").row(f"uid=berta,{PEOPLE}")["pwdAccountLockedTime"] == []


@pytest.mark.parametrize(
    ("attributes", "rest"),
    [
        (
            "authTimestamp,pwdLastSuccess,pwdChangedTime,pwdReset,uidNumber,member,pwdLockout,pwdMustChange,"
            "pwdInHistory,pwdCheckQuality,pwdAttribute,sudoOption,sudoUser",
            set(),
        ),
        ("pwdAccountLockedTime,memberUid,pwdMinLength,pwdMaxFailure,sudoCommand", {"ldap.groups.privileged-active"}),
    ],
)
def test_nothing_passes_on_what_access_rules_hide(ldap: Slapd, attributes: str, rest: set[str]) -> None:
    hidden = f"access to attrs={attributes} by * none\n"
    ldap.rules = f"access to attrs=userPassword by * auth\n{hidden}access to * by * read\n"
    ldap.start()
    later = datetime.now(UTC) + timedelta(days=400)
    told = [one for one in judged(ldap, "ldap.", later) if ".server." not in one.check]
    assert Outcome.ERROR not in {one.outcome for one in told}
    if not rest:
        assert {one.outcome for one in told if one.outcome is not Outcome.SKIP} == {Outcome.UNKNOWN}
        assert {one.check for one in told if one.outcome is Outcome.UNKNOWN} == {one.check for one in told}
    else:
        passed = {one.check for one in told if one.outcome is Outcome.PASS}
        assert passed.isdisjoint({*rest, "ldap.groups.privileged-few", "ldap.password-policies.lockout"})


def test_an_attribute_that_may_be_searched_and_not_read_is_not_taken_for_absent(ldap: Slapd) -> None:
    ldap.rules = "access to attrs=userPassword by * auth\naccess to attrs=pwdReset by * search\naccess to * by * read\n"
    ldap.start()
    reading = ldap.read("ldap.accounts")
    assert reading.row(f"uid=anna,{PEOPLE}")["pwdReset"] == []
    with pytest.raises(Unavailable):
        reading.row(f"uid=berta,{PEOPLE}")["pwdReset"]


def test_where_no_sign_in_is_recorded_nobody_is_called_unused(ldap: Slapd) -> None:
    ldap.load(LDIF)
    ldap.base = "ou=people,dc=acme,dc=example"  # the auditor, who signs in, is not there
    ldap.start()
    try:
        found = judged(ldap, "ldap.accounts.in-use", datetime.now(UTC) + timedelta(days=400))
        assert {finding.outcome for finding in found} == {Outcome.UNKNOWN}
        assert {finding.reason for finding in found} == {
            "could not be read: no sign-in of anybody is on record in this directory"
        }
    finally:
        del ldap.base
        furnish(ldap)


def judged(world: Slapd, check: str, as_of: datetime) -> list[Any]:
    chosen = [one for one in plugins.load().checks.values() if one.id.startswith(check)]
    wanted = {dataset for one in chosen for dataset in one.datasets}
    readings = [world.read(dataset) for dataset in sorted(wanted)]
    for reading in readings:
        same(world, reading)
    return list(judge(chosen, [reading.shard for reading in readings], Bench(as_of, {})))


def test_the_directory_is_judged_as_it_is(ldap: Slapd) -> None:
    findings = judged(ldap, "ldap.", datetime.now(UTC))
    assert {finding.outcome for finding in findings} <= {Outcome.PASS, Outcome.FAIL, Outcome.SKIP}
    failed = {(one.check, one.resource.partition(",")[0]) for one in findings if one.outcome is Outcome.FAIL}
    assert failed == {
        ("ldap.accounts.not-superuser", "uid=toor"),
        ("ldap.accounts.numbers-unique", "ldap"),
        ("ldap.accounts.password-renewed", "uid=berta"),
        ("ldap.accounts.reset-settled", "uid=berta"),
        ("ldap.groups.privileged-active", "ldap"),
        ("ldap.password-policies.first-use", "cn=services"),
        ("ldap.password-policies.history", "cn=services"),
        ("ldap.password-policies.length", "cn=services"),
        ("ldap.password-policies.lockout", "cn=services"),
        ("ldap.server.anonymous-refused", "server"),
        ("ldap.server.clear-passwords-refused", "server"),
        ("ldap.sudo-rules.not-for-all", "cn=everybody"),
        ("ldap.sudo-rules.password-asked", "cn=defaults"),
    }
    later = judged(ldap, "ldap.accounts.in-use", datetime.now(UTC) + timedelta(days=92))
    assert [finding.outcome for finding in later].count(Outcome.FAIL) == 4
    assert [finding.outcome for finding in later].count(Outcome.SKIP) == 1


@pytest.mark.parametrize(
    ("refusals", "rules", "told"),
    [
        ("disallow bind_anon\n", OPEN, {"anonymous-refused": "FAIL", "clear-passwords-refused": "FAIL"}),
        ("require authc\n", OPEN, {"anonymous-refused": "PASS", "clear-passwords-refused": "FAIL"}),
        ("security simple_bind=128\n", OPEN, {"anonymous-refused": "FAIL", "clear-passwords-refused": "PASS"}),
        (
            "",
            "access to attrs=userPassword by * auth\naccess to * by users read by * none\n",
            {"anonymous-refused": "PASS", "clear-passwords-refused": "FAIL"},
        ),
    ],
)
def test_what_the_server_does_for_strangers(ldap: Slapd, refusals: str, rules: str, told: dict[str, str]) -> None:
    ldap.refusals, ldap.rules = refusals, rules
    ldap.start()
    findings = judged(ldap, "ldap.server.", datetime.now(UTC))
    assert {finding.check.rpartition(".")[2]: str(finding.outcome) for finding in findings} == {
        **told, "contexts-collected": "PASS",
    }  # fmt: skip


def test_a_run_is_sealed_and_reperformed_and_knows_who_asked(ldap: Slapd, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", "http://127.0.0.1:9")
    (office.folder / "password").touch(mode=0o600)
    (office.folder / "password").write_text(f"{PASSWORD}\n")
    (office.folder / "roots.pem").write_bytes(ldap.roots.read_bytes() if ldap.roots else b"")
    text = office.config.read_text()
    declared = (
        f"connections:\n  - name: corp\n    kind: ldap\n    url: {ldap.url}\n    start_tls: true\n"
        f"    base: {ldap.base}\n"
        f"    bind_dn: {ldap.bind_dn}\n    password: file:password\n    roots: roots.pem\n"
    )
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", declared, text, flags=re.MULTILINE))
    said = office.run("--json")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    with office.sealed() as run:
        lines = list(run.replies())
    assert {line["caller"] for line in lines} == {ldap.bind_dn, f"dn:{ldap.bind_dn}"}
    assert PASSWORD.encode() not in b"".join(files_of(office.store).values())
    assert office.verify().ok
    again = office.rerun()
    assert again.code == 0, again.err


def test_every_field_an_example_has_is_one_a_source_asks_for() -> None:
    """Examples are rows, cut down: what stands in one and no source asks for was invented."""
    library = plugins.load()
    known = {
        dataset: {permission.removeprefix("read ") for permission in library.sources[dataset].permissions}
        | {"dn", "Id", "Base", "AnonymousSearch", "ClearBind"}
        for dataset in SOURCES
    }
    checks = {check.id: check for check in library.checks.values() if check.id.startswith("ldap.")}
    for example in examples.load(Path(__file__).parent, checks):
        check = checks[example.check]
        for dataset, rows in zip(check.datasets, example.rows, strict=True):
            for row in [rows] if check.each else rows:
                assert set(row) <= known[dataset], example.check


