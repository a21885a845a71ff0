"""How MariaDB is read: a real server on loopback, asked by the auditor that docs/databases.md makes."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from collector.connect.sql import refused
from collector.model import Finding, Outcome, Unavailable
from tests import promises
from tests.database_servers import PASSWORD, Running, SqlWorld, mariadb_server  # noqa: F401

KEYS: dict[str, list[str]] = {
    "mariadb.accounts": [],
    "mariadb.caller": ["caller"],
    "mariadb.database-grants": ["PUBLIC@ on open", "free@% on mysql", "app@10.1.% on shop"],
    "mariadb.plugins": [],
    "mariadb.role-members": ["app@10.1.% in readers", "root@localhost in readers"],
    "mariadb.tablespaces": [],
    "mariadb.variables": [],
}
"""Keys of each dataset; empty where they depend on the version or the machine."""

SEED = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id int) ENGINE=InnoDB",
    "CREATE TABLE shop.cards (id int) ENGINE=InnoDB ENCRYPTED=YES",
    "CREATE USER app@'10.1.%' IDENTIFIED VIA ed25519 USING PASSWORD('only-for-these-tests') REQUIRE SSL",
    "CREATE USER free@'%' IDENTIFIED BY ''",
    "CREATE USER ''@'10.9.9.9' IDENTIFIED VIA unix_socket",
    "CREATE USER locked@localhost ACCOUNT LOCK",
    "CREATE USER either@localhost IDENTIFIED VIA unix_socket"
    " OR mysql_native_password USING PASSWORD('only-for-these-tests')",
    "CREATE USER half@localhost IDENTIFIED VIA unix_socket OR mysql_native_password",
    "CREATE USER root@'%' IDENTIFIED BY 'only-for-these-tests'",
    "GRANT FILE ON *.* TO app@'10.1.%'",
    "GRANT SELECT, INSERT ON shop.* TO app@'10.1.%'",
    "GRANT UPDATE ON mysql.* TO free@'%'",
    "GRANT SELECT ON open.* TO PUBLIC",
    "CREATE ROLE readers",
    "GRANT readers TO app@'10.1.%' WITH ADMIN OPTION",
    "INSTALL SONAME 'simple_password_check'",
    "SET GLOBAL simple_password_check_digits = 0, GLOBAL simple_password_check_letters_same_case = 0",
)


def furnish(world: SqlWorld) -> None:
    """Put accounts, grants and tables into the server, once."""
    _furnished(world.running)


@cache
def _furnished(running: Running) -> None:
    running.administer(*SEED)


@pytest.fixture
def world(mariadb_server: Running, tmp_path: Path) -> SqlWorld:  # noqa: F811
    """A furnished server."""
    world = SqlWorld(mariadb_server, tmp_path)
    furnish(world)
    return world


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == promises.sources_of("mariadb")


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_by_the_auditor_of_the_docs_and_replays(world: SqlWorld, dataset: str) -> None:
    secrets = [PASSWORD.encode(), *(hashed.encode() for hashed in _hashes(world.running))]
    promises.read_whole(world, dataset, KEYS[dataset] or None, asked=("mariadb:",), personal=secrets, ordered=False)


def _hashes(running: Running) -> list[str]:
    import pymysql

    there = str(running.folder / "socket")
    with pymysql.connect(unix_socket=there, user="root", password=PASSWORD) as session, session.cursor() as cursor:
        cursor.execute("SELECT JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv")
        found = [row[0] for row in cursor.fetchall() if row[0] and len(row[0]) > 20]
    assert len(found) > 3
    return found


@pytest.mark.parametrize(
    ("code", "kind"),
    [("1142", "denied"), ("1045", "unauthenticated"), ("1969", "timeout"), ("1040", "throttled"),
     ("1053", "server-error"), ("1146", "unsupported"), ("1792", "rejected")],
)  # fmt: skip
@pytest.mark.parametrize("dataset", KEYS)
def test_a_refused_list_is_a_gap(world: SqlWorld, dataset: str, code: str, kind: str) -> None:
    accounts = dataset == "mariadb.accounts"
    where = "mysql.user" if accounts else "SELECT"
    promises.refused(world, dataset, refused(code, "no"), kind, where=where, before=accounts)


def test_refused_logins_stand_in_the_rows_of_the_accounts(world: SqlWorld) -> None:
    world.faults["global_priv"] = refused("1142", "SELECT command denied")
    reading = world.read("mariadb.accounts")
    assert reading.shard.population.gap is None
    (gap,) = reading.shard.population.partial
    assert len(gap.resources) == len(reading.rows) > 5
    with pytest.raises(Unavailable, match="was refused"):
        reading.row("app@10.1.%")["global_priv"]
    promises.same(world, reading)


def test_without_the_grants_of_the_docs_nothing_is_mistaken_for_absent(
    world: SqlWorld, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An account with no right at all is shown less: every dataset is either complete, or says what it lacks."""
    world.running.administer("CREATE USER nobody@'%' IDENTIFIED BY 'only-for-these-tests'")
    request.addfinalizer(lambda: world.running.administer("DROP USER nobody@'%'"))
    nobody = SqlWorld(world.running, tmp_path, user="nobody")
    for dataset in ("mariadb.accounts", "mariadb.database-grants", "mariadb.role-members", "mariadb.tablespaces"):
        gap = nobody.read(dataset).shard.population.gap
        assert gap is not None, dataset
        assert gap.kind == "denied", gap.reason
    for dataset in ("mariadb.plugins", "mariadb.variables"):
        assert nobody.read(dataset).rows == world.read(dataset).rows


def test_the_auditor_can_change_nothing(world: SqlWorld) -> None:
    import pymysql

    from collector.connect.sql import verified

    with pymysql.connect(
        host="localhost", port=world.running.port, user="auditor", password=PASSWORD, autocommit=True,
        ssl=verified(world.running.roots),
    ) as session, session.cursor() as cursor:  # fmt: skip
        for statement in (
            "CREATE DATABASE own", "CREATE TABLE shop.own (id int)", "INSERT INTO shop.orders VALUES (1)",
            "UPDATE mysql.global_priv SET Priv = ''", "SET GLOBAL local_infile = ON", "CREATE USER own",
            "SELECT 1 INTO OUTFILE '/tmp/affidavit-test'", "DROP TABLE shop.orders", "SELECT * FROM shop.orders",
            "SELECT LOAD_FILE('/etc/passwd') IS NULL OR 1/0", "SHUTDOWN", "KILL 1",
            "SELECT authentication_string FROM mysql.user", "SELECT Password FROM mysql.user",
            "GRANT SELECT ON shop.* TO auditor@'%'", "INSTALL SONAME 'disks'",
        ):  # fmt: skip
            if statement.startswith("SELECT LOAD_FILE"):  # without FILE it answers NULL
                cursor.execute(statement)
                assert cursor.fetchall() == ((1,),)
                continue
            with pytest.raises(pymysql.MySQLError) as caught:
                cursor.execute(statement)
            assert caught.value.args[0] in (1044, 1045, 1142, 1143, 1227, 1094, 1095), (statement, caught.value)


FAILED = {
    "mariadb.accounts.host-named": ["auditor@%", "free@%", "root@%"],
    "mariadb.accounts.none-anonymous": ["@10.9.9.9"],
    "mariadb.accounts.password-set": ["free@%", "half@localhost"],
    "mariadb.accounts.powers-declared": ["app@10.1.%"],
    "mariadb.accounts.root-local": ["root@%"],
    "mariadb.accounts.strong-plugin": [
        "auditor@%", "either@localhost", "free@%", "half@localhost", "root@%", "root@localhost",
    ],
    "mariadb.accounts.tls-required": ["mariadb"],
    "mariadb.database-grants.none-to-everybody": ["PUBLIC@ on open"],
    "mariadb.database-grants.system-untouched": ["free@% on mysql"],
    "mariadb.plugins.passwords-checked": ["mariadb"],
    "mariadb.role-members.admins-declared": ["app@10.1.% in readers"],
    "mariadb.variables.binary-log-kept": ["mariadb"],
    "mariadb.variables.encrypts-at-rest": ["mariadb"],
    "mariadb.variables.files-confined": ["mariadb"],
    "mariadb.variables.no-local-infile": ["mariadb"],
}  # fmt: skip


def _of_this_machine(finding: Finding) -> bool:
    roots = ("root@127.0.0.1", "root@::1", f"root@{socket.gethostname().lower()}")
    return finding.check == "mariadb.tablespaces.encrypted" or finding.resource in roots


def test_the_estate_is_judged_as_it_is(world: SqlWorld) -> None:
    readings = [world.read(dataset) for dataset in KEYS]
    findings = promises.judged(readings, FAILED, datetime.now(UTC), beside=_of_this_machine, ordered=False)
    spaces = {finding.reason for finding in findings if finding.check == "mariadb.tablespaces.encrypted"}
    assert "shop/cards is encrypted, with key 1" in spaces
    assert "shop/orders is not encrypted" in spaces
    assert {f.outcome for f in findings if f.check == "mariadb.plugins.audit-active"} == {Outcome.PASS}
    promises.asked_once(readings)
    assert len(world.asked) == len(set(world.asked)), "nothing is asked twice in a run"


def test_moments_are_utc_whatever_the_zone_of_the_server(world: SqlWorld) -> None:
    changed = world.read("mariadb.accounts").row("auditor@%")["global_priv"]["password_last_changed"]
    assert abs((datetime.now(UTC) - datetime.fromisoformat(changed)).total_seconds()) < 600


def test_an_account_with_ed25519_may_ask(world: SqlWorld, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    world.running.administer(f"CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')")
    request.addfinalizer(lambda: world.running.administer("DROP USER ed@'%'"))
    assert SqlWorld(world.running, tmp_path, user="ed").read("mariadb.caller").row("caller")["Caller"] == "ed@%"


def test_every_field_of_an_example_is_one_the_source_yields(world: SqlWorld) -> None:
    rows: dict[str, list[Any]] = {dataset: [dict(row) for row in world.read(dataset).rows] for dataset in KEYS}
    assert promises.drawn_from(rows, Path(__file__).parent)
