"""How PostgreSQL is read: a real server on loopback, asked by the auditor that docs/databases.md makes."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from collector.connect.sql import refused
from collector.model import Unavailable
from tests import promises
from tests.database_servers import Running, SqlWorld, postgresql_server  # noqa: F401

KEYS: dict[str, list[str]] = {
    "postgresql.archiver": ["archiver"],
    "postgresql.caller": ["caller"],
    "postgresql.databases": ["closed", "orders", "postgres", "template0", "template1"],
    "postgresql.definer-functions": [
        "public.dblink_connect_u(text)", "public.dblink_connect_u(text,text)", "shop.close_month(integer)",
        "shop.close_year(integer)",
    ],
    "postgresql.extensions": ["dblink", "plpgsql"],
    "postgresql.hba-rules": [f"line {n}" for n in (2, 3, 5, 6)],
    "postgresql.role-memberships": [
        "app in pg_execute_server_program by postgres", "app in readers by postgres",
        "auditor in pg_monitor by postgres",
        "pg_monitor in pg_read_all_settings by postgres", "pg_monitor in pg_read_all_stats by postgres",
        "pg_monitor in pg_stat_scan_tables by postgres",
    ],
    "postgresql.roles": [],
    "postgresql.schemas": ["information_schema", "pg_catalog", "public", "shop"],
    "postgresql.sessions": [],
    "postgresql.settings": [],
    "postgresql.tables": ["public.prices", "shop.customers", "shop.\"Odd.Name\""],
}  # fmt: skip
"""Keys of each dataset; empty where they depend on the version or the moment."""

HBA = """\
# TYPE DATABASE USER ADDRESS METHOD
local all all trust
host all all 127.0.0.1/32 scram-sha-256

host all app,deploy 10.0.0.0/8 md5
hostssl orders app 0.0.0.0/0 ldap ldapserver=ldap.example.org ldapbasedn=dc=x ldapbindpasswd=only-for-the-directory
"""

SEED = (
    "CREATE ROLE dba SUPERUSER LOGIN",
    "CREATE ROLE app LOGIN PASSWORD 'app' VALID UNTIL '2020-06-01 02:00:00+02'",
    "CREATE ROLE deploy LOGIN CREATEROLE",
    "CREATE ROLE readers NOLOGIN",
    "GRANT readers, pg_execute_server_program TO app",
    "CREATE DATABASE closed",
    "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    "CREATE SCHEMA shop",
    "GRANT CREATE, USAGE ON SCHEMA shop TO PUBLIC",
    "CREATE TABLE shop.customers (id int, name text)",
    "GRANT SELECT (id) ON shop.customers TO PUBLIC",
    'CREATE TABLE shop."Odd.Name" (id int)',
    'GRANT DELETE ON shop."Odd.Name" TO PUBLIC',
    "CREATE TABLE public.prices (id int)",
    "CREATE FUNCTION shop.close_month(int) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "CREATE FUNCTION shop.close_year(int) RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = shop"
    " AS 'SELECT 1'",
    "CREATE FUNCTION shop.plain() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'dblink'",
    "SELECT pg_switch_wal()",
)


def furnish(world: SqlWorld) -> None:
    """Put roles, objects and rules into the server, once."""
    _furnished(world.running)


@cache
def _furnished(running: Running) -> None:
    running.administer(*SEED)
    hba = running.folder / "data" / "pg_hba.conf"
    hba.write_text(HBA)
    running.administer("SELECT pg_reload_conf()")
    hba.write_text(HBA.replace("local all", "locall all"))  # not taken up: the view tells of the file
    for _ in range(100):
        if (running.folder / "data" / "pg_wal" / "archive_status").is_dir() and _archived(running):
            return
        time.sleep(0.05)


def _archived(running: Running) -> bool:
    status = running.folder / "data" / "pg_wal" / "archive_status"
    return any(name.suffix == ".done" for name in status.iterdir())


@pytest.fixture
def world(postgresql_server: Running, tmp_path: Path) -> SqlWorld:  # noqa: F811
    """A furnished server."""
    world = SqlWorld(postgresql_server, tmp_path)
    furnish(world)
    return world


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == promises.sources_of("postgresql")


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_by_the_auditor_of_the_docs_and_replays(world: SqlWorld, dataset: str) -> None:
    secrets = (b"SCRAM-SHA-256$", b"only-for-", b"ldapbindpasswd")
    keys = KEYS[dataset] or None
    promises.read_whole(world, dataset, keys, asked=("postgresql:",), personal=secrets, ordered=False)


def test_a_dataset_with_nothing_in_it_is_a_complete_empty_list(world: SqlWorld, tmp_path: Path) -> None:
    empty = SqlWorld(world.running, tmp_path, database="postgres")
    for dataset in ("postgresql.tables", "postgresql.definer-functions"):
        promises.nothing_there(empty, dataset)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("42501", "denied"), ("28P01", "unauthenticated"), ("57014", "timeout"), ("53300", "throttled"),
     ("53200", "server-error"), ("42P01", "unsupported"), ("25006", "rejected")],
)  # fmt: skip
@pytest.mark.parametrize("dataset", KEYS)
def test_a_refused_list_is_a_gap(world: SqlWorld, dataset: str, code: str, kind: str) -> None:
    promises.refused(world, dataset, refused(code, "no"), kind, where="SELECT")


def test_without_the_grants_of_the_docs_nothing_is_mistaken_for_absent(
    world: SqlWorld, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A role with no right at all is shown less: every dataset is either complete, or says what it lacks."""
    world.running.administer("CREATE ROLE nobody LOGIN PASSWORD 'only-for-these-tests'")
    request.addfinalizer(lambda: world.running.administer("DROP ROLE nobody"))
    nobody = SqlWorld(world.running, tmp_path, user="nobody")
    refused_rules = nobody.read("postgresql.hba-rules").shard.population.gap
    assert refused_rules is not None
    assert refused_rules.kind == "denied"
    with world.running.session() as other:
        sessions = nobody.read("postgresql.sessions")
        others = [row for row in sessions.rows if row["usename"] == "postgres" and row["datname"] == "orders"]
        assert [row["pid"] for row in others] == [other]
        with pytest.raises(Unavailable, match="pg_read_all_stats"):
            others[0]["remote"]
        promises.same(nobody, sessions)
    settings = {row["name"] for row in nobody.read("postgresql.settings").rows}
    assert "shared_preload_libraries" not in settings
    assert {"ssl", "log_connections"} <= settings
    shown_less = {"postgresql.hba-rules", "postgresql.sessions", "postgresql.settings"}
    for dataset in set(KEYS) - shown_less - {"postgresql.caller"}:
        assert nobody.read(dataset).rows == world.read(dataset).rows, dataset


def test_the_auditor_can_change_nothing(world: SqlWorld) -> None:
    import pg8000.native
    from pg8000.exceptions import DatabaseError

    from collector.connect.sql import verified

    with pg8000.native.Connection(
        "auditor", host="localhost", port=world.running.port, database="orders", password="only-for-these-tests",
        ssl_context=verified(world.running.roots),
    ) as session:  # fmt: skip
        for statement in (
            "CREATE TABLE shop.own (id int)", "CREATE TABLE public.own (id int)",
            "INSERT INTO public.prices VALUES (1)", "SELECT pg_rotate_logfile()", "SELECT pg_switch_wal()",
            "UPDATE shop.customers SET id = 1", "ALTER SYSTEM SET ssl = off", "CREATE ROLE own", "DROP TABLE prices",
            "SELECT pg_reload_conf()", "SELECT pg_read_file('/etc/passwd')", "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT * FROM pg_authid", "ALTER ROLE postgres NOLOGIN", "SELECT * FROM public.prices",
        ):  # fmt: skip
            with pytest.raises(DatabaseError) as caught:
                session.run(statement)
            assert caught.value.args[0]["C"] in ("42501", "25006"), statement


FAILED = {
    "postgresql.databases.closed-to-public": ["orders"],
    "postgresql.definer-functions.path-fixed": ["shop.close_month(integer)"],
    "postgresql.extensions.current": ["dblink"],
    "postgresql.extensions.none-reaches-out": ["dblink"],
    "postgresql.hba-rules.encrypted": ["line 5"],
    "postgresql.hba-rules.networks-named": ["line 6"],
    "postgresql.hba-rules.readable": ["line 2"],
    "postgresql.hba-rules.strong-methods": ["line 5"],
    "postgresql.role-memberships.powerful-declared": ["app in pg_execute_server_program by postgres"],
    "postgresql.roles.attributes-declared": ["deploy"],
    "postgresql.roles.password-ends": ["auditor", "dba", "deploy"],
    "postgresql.roles.superusers-declared": ["dba"],
    "postgresql.schemas.no-public-create": ["shop"],
    "postgresql.settings.log-lines-attributed": ["postgresql"],
    "postgresql.settings.sessions-logged": ["postgresql"],
    "postgresql.settings.statements-logged": ["postgresql"],
    "postgresql.tables.closed-to-public": ["shop.customers", 'shop."Odd.Name"'],
}


def test_the_estate_is_judged_as_it_is(world: SqlWorld) -> None:
    with world.running.session():
        readings = [world.read(dataset) for dataset in KEYS]
    findings = promises.judged(readings, FAILED, datetime.now(UTC), ordered=False)
    promises.asked_once(readings)
    assert len(world.asked) == len(set(world.asked)), "nothing is asked twice in a run"
    passed = {finding.check for finding in findings if finding.outcome == "PASS"}
    assert "postgresql.archiver.works" in passed
    assert "postgresql.caller.reads-only" in passed


def test_moments_are_utc_whatever_the_zone_of_the_server(world: SqlWorld) -> None:
    assert world.read("postgresql.roles").row("app")["rolvaliduntil"] == "2020-06-01T00:00:00Z"


def test_every_field_of_an_example_is_one_the_source_yields(world: SqlWorld) -> None:
    from tests.test_contract import _differences

    possible = {dataset: [dict(row) for row in world.read(dataset).rows] for dataset in KEYS}
    for check, dataset, row in promises.shown(Path(__file__).parent, "postgresql"):
        unknown = set(row) - {name for one in possible[dataset] for name in one}
        assert not unknown, (check, unknown)
        told = {name for one in possible[dataset] for name, value in one.items() if value is not None}
        known = {name: value for name, value in row.items() if name in told}
        assert list(_differences(known, possible[dataset], dataset)) == [], check
