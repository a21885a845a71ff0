"""How Active Directory is read and judged: against a domain controller of Samba, with the real schema and rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector import examples, plugins
from collector.api import Ldap, Row
from collector.connect import ldap as ldap_module
from collector.connect.ldap import Ldap as AnyLdap
from collector.connect.retry import Retry
from collector.doctor import directories
from collector.doctor.rights import Look, Rights
from collector.judge import Bench, judge
from collector.model import Outcome, Task, Unavailable
from tests.ldap_servers import Domain, same
from tests.worlds import LIMITS, Reading

HERE = Path(__file__).parent
PASSWORDS = {name: f"Correct-Horse-{name}-1" for name in ("auditor", "anna", "berta", "carl", "dora", "ed")}
SOURCES = sorted(name for name in plugins.load().sources if name.startswith("active-directory."))
SUFFIX = "DC=corp,DC=example"

KEYS = {
    "active-directory.caller": ["caller"],
    "active-directory.computers": [
        f"CN=DC1,OU=Domain Controllers,{SUFFIX}", f"CN=WS1,CN=Computers,{SUFFIX}", f"CN=WS2,CN=Computers,{SUFFIX}",
    ],
    "active-directory.domain": [SUFFIX],
    "active-directory.managed-accounts": [f"CN=web,CN=Managed Service Accounts,{SUFFIX}"],
    "active-directory.password-settings": [f"CN=weak,CN=Password Settings Container,CN=System,{SUFFIX}"],
    "active-directory.privileged-groups": [
        *(f"CN={name} Operators,CN=Builtin,{SUFFIX}" for name in ("Account", "Backup", "Print", "Server")),
        f"CN=Administrators,CN=Builtin,{SUFFIX}",
        *(f"CN={name},CN=Users,{SUFFIX}" for name in ("Domain Admins", "Enterprise Admins", "Protected Users")),
        f"CN=Schema Admins,CN=Users,{SUFFIX}",
    ],
    "active-directory.server": ["server"],
    "active-directory.trusts": [f"CN=partner.example,CN=System,{SUFFIX}"],
    "active-directory.users": [
        *(f"CN={name},CN=Users,{SUFFIX}" for name in ("Administrator", "Guest", "dns-dc1", "krbtgt")),
        *(f"CN={name},OU=People,{SUFFIX}" for name in ("Anna (Sales)", "auditor", "berta", "carl", "dora", "ed")),
    ],
}  # fmt: skip


def furnish(world: Domain) -> None:
    """Put the entries of the files into a domain that is not running."""
    world.seed((HERE / "domain.ldif").read_text("utf8"), PASSWORDS, (HERE / "changes.ldif").read_text("utf8"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Domain]:
    folder = tmp_path_factory.mktemp("samba")
    world = Domain(folder, folder)
    world.password = "Adm1n-Secret-0"
    world.provision()
    furnish(world)
    world.start()
    yield world
    world.stop()


@pytest.fixture
def domain(server: Domain, tmp_path: Path) -> Domain:
    """The domain, asked by an ordinary user."""
    server._tmp = tmp_path
    server.bind_dn, server.password = Domain.bind_dn, PASSWORDS["auditor"]
    return server


@pytest.fixture
def ruled(domain: Domain) -> Domain:
    """The domain, asked by its administrator: it alone sees fine-grained policies."""
    domain.bind_dn, domain.password = domain.administrator, "Adm1n-Secret-0"
    return domain


def keys_of(reading: Reading) -> list[str]:
    assert reading.shard.path is not None
    return [json.loads(line)["key"] for line in reading.shard.path.read_bytes().splitlines()]


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_and_replays(ruled: Domain, dataset: str) -> None:
    reading = ruled.read(dataset)
    assert (reading.shard.population.gap, reading.shard.population.partial) == (None, ())
    assert sorted(keys_of(reading)) == sorted(KEYS[dataset])
    kept = json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    for secret in (b"unicodePwd", b"supplementalCredentials", b"Adm1n-Secret-0"):
        assert secret not in kept
    same(ruled, reading)


@pytest.mark.parametrize("dataset", [name for name in KEYS if name != "active-directory.password-settings"])
def test_an_ordinary_user_may_read_all_but_fine_grained_policies(domain: Domain, dataset: str) -> None:
    reading = domain.read(dataset)
    assert (reading.shard.population.gap, reading.shard.population.partial) == (None, ())
    assert sorted(keys_of(reading)) == sorted(KEYS[dataset])


def test_hidden_policies_are_a_gap_and_no_empty_list(domain: Domain) -> None:
    reading = domain.read("active-directory.password-settings")
    assert reading.shard.population.gap is not None
    assert str(reading.shard.population.gap.kind) == "denied"
    assert not reading.shard.population.proven
    same(domain, reading)


@pytest.mark.parametrize("dataset", ["active-directory.users", "active-directory.computers"])
def test_the_list_is_read_page_by_page(domain: Domain, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_module, "PAGE_SIZE", 2)
    reading = domain.read(dataset)
    assert sorted(keys_of(reading)) == sorted(KEYS[dataset])
    pages = [line["page"] for line in reading.ledger.lines]
    assert pages == [*range(1, len(pages) + 1)], "Samba ends with an empty page where the last one was full"
    assert len(pages) == len(KEYS[dataset]) // 2 + 1
    same(domain, reading)


def test_members_are_found_nested_and_by_primary_group(domain: Domain) -> None:
    reading = domain.read("active-directory.privileged-groups")
    members = {row["sAMAccountName"][0]: {m["sAMAccountName"][0] for m in row["Members"]} for row in reading.rows}
    assert members["Domain Admins"] == {"Administrator", "carl", "dora", "ed", "tier0"}
    assert members["Administrators"] >= {"Administrator", "carl", "dora", "ed", "tier0", "Domain Admins"}
    assert members["Account Operators"] == {"anna"}
    assert members["Backup Operators"] == set()
    assert members["Protected Users"] == {"dora"}


def test_where_members_may_not_be_read_nobody_is_not_the_answer() -> None:
    class Blind:
        """A directory that finds nobody by ``memberOf``, as one that hides it does."""

        base = SUFFIX

        def entry(self, base: str, *, attributes: Any) -> Row:
            return {"dn": base, "objectSid": ["S-1-5-21-1-2-3"]}

        def entries(self, filter: str, **_: Any) -> Iterator[Row]:  # noqa: A002
            if "memberOf" not in filter:
                yield {"dn": f"CN=Administrators,CN=Builtin,{SUFFIX}", "objectSid": ["S-1-5-32-544"]}

    read = plugins.load().sources["active-directory.privileged-groups"]
    with pytest.raises(Unavailable, match="memberOf may not be read"):
        list(read(Blind()))


def test_values_that_come_in_part_are_read_to_the_end(domain: Domain) -> None:
    def rows(directory: Ldap) -> Iterator[Row]:
        group = f"CN=Domain Admins,CN=Users,{SUFFIX}"
        yield from directory.entries("(objectClass=group)", attributes=("member;range=0-1",), base=group, scope="base")

    source = replace(plugins.load().sources["active-directory.trusts"], function=rows)
    reading = domain.read_source(source)
    (row,) = reading.rows
    names = [name.partition(",")[0] for name in sorted(row["member"])]
    assert names == ["CN=Administrator", "CN=Tier0 (all)", "CN=carl"]
    assert len(reading.ledger.lines) == 2
    same(domain, reading, source)


def test_an_attribute_without_its_witness_is_not_taken_for_absent(domain: Domain) -> None:
    def rows(directory: Ldap) -> Iterator[Row]:
        yield from directory.entries(
            "(sAMAccountName=anna)",
            attributes=("sAMAccountName",),
            optional=("userPrincipalName", "homeDirectory"),
            witness={"userPrincipalName": "objectGUID", "homeDirectory": "objectGUID"},
        )

    reading = domain.read_source(replace(plugins.load().sources["active-directory.trusts"], function=rows))
    (row,) = reading.rows
    for name in ("userPrincipalName", "homeDirectory"):
        with pytest.raises(Unavailable, match="nothing shows that there is none"):
            row[name]


def test_an_optional_attribute_without_any_witness_is_an_error_of_the_source(domain: Domain) -> None:
    def rows(directory: Ldap) -> Iterator[Row]:
        yield from directory.entries("(sAMAccountName=anna)", attributes=("objectGUID",), optional=("mail",))

    reading = domain.read_source(replace(plugins.load().sources["active-directory.trusts"], function=rows))
    assert reading.shard.population.gap is not None
    assert "name a witness for mail" in reading.shard.population.gap.reason


def test_a_wrong_password_is_told(domain: Domain) -> None:
    domain.password = "wrong"
    reading = domain.read("active-directory.users")
    assert reading.shard.population.gap is not None
    assert str(reading.shard.population.gap.kind) == "unauthenticated"
    (line,) = reading.ledger.lines
    assert b"data 52e" in reading.ledger.objects[line["sha256"]]
    same(domain, reading)


def test_who_asks_is_left_to_the_connection_where_the_server_does_not_tell(domain: Domain) -> None:
    reading = domain.read("active-directory.caller")
    assert [line["caller"] for line in reading.ledger.lines] == [domain.bind_dn]
    assert reading.rows == [{"Id": "caller", "Caller": ""}], "Samba does not know this request; Windows does"


def test_the_doctor_sees_what_may_be_written(domain: Domain) -> None:
    """It is here, and not with the other tests of the doctor, because there is one domain on a machine."""

    def rights() -> Rights:
        wire = Look(Task("doctor.rights", "there"))
        ldap = AnyLdap(wire, domain.kind, domain.base, domain.directory(), retry=Retry(attempts=1), limits=LIMITS)
        return directories.rights(ldap, domain.kind)

    ordinary = rights()
    assert (ordinary.missing, ordinary.changes) == ((), ())
    assert re.fullmatch(rf"may write nothing of {SUFFIX} and of the \d+ entries directly below it", ordinary.fine)
    domain.bind_dn, domain.password = domain.administrator, "Adm1n-Secret-0"
    found = rights().changes
    assert {f"write the access rules of {SUFFIX}", f"write the access rules of CN=Users,{SUFFIX}"} <= {*found}
    assert any(re.fullmatch(rf"make \w+ and \d+ more below OU=People,{SUFFIX}", change) for change in found)
    assert any(re.fullmatch(rf"write \w+ and \d+ more of {SUFFIX}", change) for change in found)


def judged(world: Domain, prefix: str, as_of: datetime) -> list[Any]:
    chosen = [check for check in plugins.load().checks.values() if check.id.startswith(prefix)]
    wanted = {dataset for check in chosen for dataset in check.datasets}
    readings = [world.read(dataset) for dataset in sorted(wanted)]
    lines = [line for reading in readings for line in reading.ledger.lines]
    requests = [(line["op"], json.dumps(line["params"]), line["tokenIn"]) for line in lines]
    roots = sum(line["params"].get("scope") == "base" for line in lines)
    assert len(requests) - len(set(requests)) <= roots, "nothing but the root of the domain is asked twice in a run"
    return list(judge(chosen, [reading.shard for reading in readings], Bench(as_of, {})))


def test_the_domain_is_judged_as_it_is(ruled: Domain) -> None:
    findings = judged(ruled, "active-directory.", datetime.now(UTC))
    assert {finding.outcome for finding in findings} <= {Outcome.PASS, Outcome.FAIL, Outcome.SKIP}
    failed = {
        (finding.check.removeprefix("active-directory."), finding.resource.partition(",")[0])
        for finding in findings
        if finding.outcome is Outcome.FAIL
    }
    assert failed == {
        ("computers.no-delegation", "CN=WS1"),
        ("computers.supported-system", "CN=WS1"),
        ("domain.join-restricted", "DC=corp"),
        ("domain.length", "DC=corp"),
        ("domain.lockout", "DC=corp"),
        ("managed-accounts.renewed", "CN=web"),
        ("password-settings.length", "CN=weak"),
        ("password-settings.lockout", "CN=weak"),
        ("privileged-groups.accounts-enabled", "active-directory"),
        ("privileged-groups.no-service-names", "active-directory"),
        ("privileged-groups.not-delegated", "active-directory"),
        ("privileged-groups.operators-empty", "CN=Account Operators"),
        ("privileged-groups.protected", "active-directory"),
        ("trusts.filtered", "CN=partner.example"),
        ("users.irreversible", "CN=berta"),
        ("users.no-delegation", "CN=berta"),
        ("users.no-des", "CN=berta"),
        ("users.password-expires", "CN=berta"),
        ("users.password-expires", "CN=ed"),
        ("users.password-required", "CN=berta"),
        ("users.preauthentication", "CN=berta"),
    }
    told = {finding.check: finding.reason for finding in findings}
    assert told["active-directory.privileged-groups.no-service-names"] == "1 of 4 have one, limit none: dora"
    assert told["active-directory.server.clear-passwords-refused"].endswith("8 strongerAuthRequired")
    assert told["active-directory.server.anonymous-refused"].endswith("(1 operationsError)")


def test_time_passes(domain: Domain) -> None:
    later = judged(domain, "active-directory.users.", datetime.now(UTC) + timedelta(days=400))
    failed = {f.resource.partition(",")[0] for f in later if f.check.endswith("in-use") and f.outcome is Outcome.FAIL}
    assert failed == {"CN=Administrator", "CN=dns-dc1", "CN=Anna (Sales)", "CN=auditor", "CN=berta", "CN=dora", "CN=ed"}
    (key,) = judged(domain, "active-directory.domain.ticket-key", datetime.now(UTC) + timedelta(days=182))
    assert (key.outcome, key.reason) == (Outcome.FAIL, "set 182 days ago, limit 180")


def test_every_field_an_example_has_is_one_a_source_asks_for(ruled: Domain) -> None:
    """Examples are rows, cut down: what stands in one and came from no server was invented."""
    library = plugins.load()
    given = {dataset: {name for row in ruled.read(dataset).rows for name in row} for dataset in SOURCES}
    checks = {check.id: check for check in library.checks.values() if check.id.startswith("active-directory.")}
    for example in examples.load(HERE, checks):
        check = checks[example.check]
        for dataset, rows in zip(check.datasets, example.rows, strict=True):
            for row in [rows] if check.each else rows:
                assert set(row) <= given[dataset], example.check
