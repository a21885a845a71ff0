"""What the doctor says of its rights in databases and directories: against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.connect.retry import Retry
from collector.connect.sql import Sql
from collector.doctor import databases, directories
from collector.doctor.rights import Look, Rights, named
from collector.doctor.rights import told as lines_of
from collector.model import GapKind, Refused, Task
from tests.database_servers import PASSWORD, Running, mariadb_server, postgresql  # noqa: F401 - a fixture
from tests.doctor_bench import content, looked, secret, states
from tests.ldap_servers import PASSWORD as LDAP_PASSWORD
from tests.ldap_servers import Slapd
from tests.worlds import LIMITS

LDIF = (Path(__file__).parent / "checks" / "ldap" / "directory.ldif").read_text("utf8")


BARE: dict[str, Any] = {"retry": Retry(attempts=1), "limits": LIMITS}


def alone(kind: str) -> list[str]:
    """The datasets of a kind that some check asks for alone."""
    library = content()[0]
    found = {one.datasets[0] for one in library.checks.values() if len(set(one.datasets)) == 1}
    return sorted(name for name in found if library.sources[name].connection == kind)


def look(folder: Path, running: Running, user: str, *datasets: str, password: str = PASSWORD) -> list[tuple[str, str]]:
    """State and words of what is said of an account's rights, after who asks."""
    connection = {
        "name": "there", "kind": running.kind, "host": f"localhost:{running.port}", "user": user,
        "password": secret(folder, "password", password), "roots": str(running.roots),
        **({"database": "orders"} if running.kind == "postgresql" else {}),
    }  # fmt: skip
    lines = looked(folder, connection, datasets or (f"{running.kind}.roles",))
    assert not any("PASSWORD" in line.what or "*FB31" in line.what for line in lines)
    return [line for line in states(lines) if not line[1].startswith("asks as")]


# PostgreSQL


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[Running]:
    """PostgreSQL of its own, up: what other tests furnish gives everybody rights."""
    with postgresql() as running:
        yield running


@contextmanager
def made(running: Running, make: list[str], undo: list[str]) -> Iterator[None]:
    """Something of the administrator's, gone after the block: the next test asks the same server."""
    try:
        running.administer(*make)
        yield
    finally:
        running.administer(*undo)


@pytest.fixture
def clerk(postgresql_server: Running) -> Iterator[Running]:
    """PostgreSQL with a role that only signs in."""
    undo = ["DROP OWNED BY clerk", "DROP ROLE clerk"]
    with made(postgresql_server, [f"CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}'"], undo):
        yield postgresql_server


def test_the_auditor_of_the_docs_has_what_it_needs_and_nothing_more(
    postgresql_server: Running, tmp_path: Path
) -> None:
    said = "allowed all 17 rights it needs in orders, and none that changes things"
    assert look(tmp_path, postgresql_server, "auditor", *alone("postgresql")) == [("ok", said)]


def test_what_a_role_lacks_is_a_problem(clerk: Running, tmp_path: Path) -> None:
    assert look(tmp_path, clerk, "clerk", "postgresql.hba-rules") == [
        ("problem", "not allowed: SELECT ON pg_hba_file_rules, EXECUTE ON pg_hba_file_rules()"),
    ]
    [(state, what)] = look(tmp_path, clerk, "clerk", "postgresql.settings")
    assert (state, what) == ("problem", "not allowed: pg_read_all_settings")


@pytest.mark.parametrize(
    ("make", "undo", "told"),
    [
        (["ALTER ROLE clerk CREATEDB CREATEROLE"], [], "CREATEROLE, CREATEDB"),
        (["GRANT pg_write_all_data TO clerk"], ["REVOKE pg_write_all_data FROM clerk"], "pg_write_all_data"),
        (["GRANT pg_signal_backend TO clerk"], ["REVOKE pg_signal_backend FROM clerk"], "pg_signal_backend"),
        (
            ["CREATE ROLE team NOINHERIT REPLICATION", "GRANT team TO clerk"], ["DROP ROLE team"],
            "REPLICATION as team",
        ),
        (["CREATE TABLE t1 (a int)", "GRANT DELETE ON t1 TO clerk"], ["DROP TABLE t1"], "write to public.t1"),
        (["CREATE TABLE t1 (a int)", "GRANT UPDATE (a) ON t1 TO clerk"], ["DROP TABLE t1"], "write to public.t1"),
        (["CREATE TABLE t1 (a int)", "ALTER TABLE t1 OWNER TO clerk"], [], "write to public.t1"),
        (["CREATE SEQUENCE s1", "GRANT USAGE ON SEQUENCE s1 TO clerk"], ["DROP SEQUENCE s1"], "write to public.s1"),
        (
            [f"CREATE TABLE t{n} (a int)" for n in range(7)] + ["GRANT INSERT ON t0, t1, t2, t3, t4, t5, t6 TO clerk"],
            [f"DROP TABLE t{n}" for n in range(7)],
            ", ".join(f"write to public.t{n}" for n in range(5)) + " and 1 more",
        ),
        (["CREATE SCHEMA shop", "GRANT CREATE ON SCHEMA shop TO clerk"], ["DROP SCHEMA shop"], "CREATE in schema shop"),
        (["GRANT CREATE ON DATABASE orders TO clerk"], [], "CREATE in database orders"),
    ],
)  # fmt: skip
def test_what_a_role_may_change_is_warned_of(
    clerk: Running, make: list[str], undo: list[str], told: str
) -> None:
    with made(clerk, make, undo):
        asked = Sql(Look(Task("doctor.rights", "there")), "postgresql", clerk.server("clerk"), **BARE)
        found = databases.rights(asked, "postgresql", ["SELECT ON pg_roles"], "orders")
    assert ([line.state for line in lines_of("there", found)], named(found.changes)) == (["warning"], told)


def test_a_role_that_only_signs_in_changes_nothing(clerk: Running, tmp_path: Path) -> None:
    said = "allowed all 2 rights it needs in orders, and none that changes things"
    with made(clerk, ["CREATE TABLE t1 (a int)", "GRANT SELECT ON t1 TO clerk"], ["DROP TABLE t1"]):
        assert look(tmp_path, clerk, "clerk") == [("ok", said)]


def test_a_superuser_may_change_everything(postgresql_server: Running, tmp_path: Path) -> None:
    said = [("warning", "holds rights to change things: everything, as SUPERUSER")]
    assert look(tmp_path, postgresql_server, "postgres") == said


def test_a_table_that_a_version_lacks_is_no_missing_right(postgresql_server: Running) -> None:
    asked = Sql(Look(Task("doctor.rights", "there")), "postgresql", postgresql_server.server(), **BARE)
    needed = ["SELECT ON pg_never_was", "SELECT ON pg_authid", "EXECUTE ON pg_never_was()", "pg_monitor", "pg_nobody"]
    assert [*databases._lacking(asked, needed, {"pg_monitor"})] == ["SELECT ON pg_authid", "pg_nobody"]


def test_a_server_that_tells_part_of_it_is_not_called_fine(postgresql_server: Running, tmp_path: Path) -> None:
    table = "pg_catalog.pg_database"
    with made(postgresql_server, [f"REVOKE SELECT ON {table} FROM PUBLIC"], [f"GRANT SELECT ON {table} TO PUBLIC"]):
        [(state, what)] = look(tmp_path, postgresql_server, "auditor")
    assert state == "warning"
    assert what.startswith("postgresql did not tell all that it may change (postgresql:SELECT pg_namespace pg_data")


# MariaDB


def test_the_auditor_of_mariadb_has_what_it_needs_and_nothing_more(mariadb_server: Running, tmp_path: Path) -> None:  # noqa: F811
    [(state, what)] = look(tmp_path, mariadb_server, "auditor", *alone("mariadb"))
    assert (state, what) == ("ok", "allowed all 9 rights it needs, and none that changes things")


@pytest.mark.parametrize(
    ("grants", "told"),
    [
        (["GRANT FILE ON *.* TO clerk@'%'"], "FILE ON *.*"),
        (["GRANT INSERT (User), SELECT ON mysql.db TO clerk@'%'"], "INSERT ON mysql.db"),
        (["GRANT ALL ON `my shop`.* TO clerk@'%'"], "ALL PRIVILEGES ON my shop.*"),
        (["GRANT SELECT ON mysql.db TO clerk@'%' WITH GRANT OPTION"], "GRANT OPTION ON mysql.db"),
        (["GRANT EXECUTE ON PROCEDURE mysql.AddGeometryColumn TO clerk@'%'"], "EXECUTE ON mysql.addgeometrycolumn"),
        (["GRANT DELETE ON shop.* TO inner_role", "GRANT inner_role TO outer_role", "GRANT outer_role TO clerk@'%'"],
         "DELETE ON shop.*"),
    ],
)  # fmt: skip
def test_what_an_account_of_mariadb_may_change_is_warned_of(
    mariadb_server: Running, tmp_path: Path, grants: list[str], told: str  # noqa: F811
) -> None:  # fmt: skip
    make = ["CREATE ROLE inner_role", "CREATE ROLE outer_role", f"CREATE USER clerk@'%' IDENTIFIED BY '{PASSWORD}'"]
    undo = ["DROP USER clerk@'%'", "DROP ROLE outer_role", "DROP ROLE inner_role"]
    with made(mariadb_server, [*make, *grants, "GRANT SELECT ON mysql.* TO clerk@'%'"], undo):
        said = look(tmp_path, mariadb_server, "clerk", "mariadb.database-grants")
        assert said == [("warning", f"holds rights to change things: {told}")]


def test_what_an_account_of_mariadb_lacks_is_a_problem(mariadb_server: Running, tmp_path: Path) -> None:  # noqa: F811
    make = [f"CREATE USER clerk@'%' IDENTIFIED BY '{PASSWORD}'", "GRANT SELECT (Host) ON mysql.db TO clerk@'%'"]
    with made(mariadb_server, make, ["DROP USER clerk@'%'"]):
        asked = ("mariadb.database-grants", "mariadb.plugins", "mariadb.tablespaces")
        said = look(tmp_path, mariadb_server, "clerk", *asked)
    assert said == [("problem", "not allowed: PROCESS")], "some columns of mysql.db, and nothing of the whole server"


def test_a_grant_nobody_here_can_read_is_told_without_its_words(tmp_path: Path) -> None:
    class Strange:
        def rows(self, sql: str, **_: Any) -> Iterator[dict[str, Any]]:
            yield {"Grants for x@%": "GRANT SOMETHING NEW TO `x`@`%` IDENTIFIED BY PASSWORD '*FB31'"}

    found = databases.rights(Strange(), "mariadb", ["PROCESS"], "")  # type: ignore[arg-type]
    assert found == Rights(untold=("mariadb told 1 grants and roles of this account that were not read",))


# Directories


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    folder = tmp_path_factory.mktemp("slapd")
    world = Slapd(folder, folder)
    world.load(LDIF)
    world.start()
    yield world
    world.stop()


def test_openldap_does_not_tell(slapd: Slapd, tmp_path: Path) -> None:
    connection = {
        "name": "there", "kind": "ldap", "url": slapd.url, "start_tls": True, "base": slapd.base,
        "bind_dn": slapd.bind_dn, "password": secret(tmp_path, "ldap", LDAP_PASSWORD), "roots": str(slapd.roots),
    }  # fmt: skip
    said = states(looked(tmp_path, connection, ("ldap.sudo-rules",)))
    untold = ("warning", "ldap does not tell what this identity may write, nor what it may not read")
    assert said[1:] == [untold], said


class Computed:
    """A directory that computes rights for each reader, as Samba's domain controller was seen to do."""

    base = "DC=corp,DC=example"

    def __init__(self, **more: list[str]) -> None:
        self.more = more

    def _entry(self, dn: str, held: dict[str, list[str]]) -> dict[str, Any]:
        refused = Refused(GapKind.DENIED, "it did not come", "active-directory:search")
        given = {"allowedAttributes": ["cn", "description"], "sDRightsEffective": ["0"], **held}
        return {"dn": dn, **{name: given.get(name, refused) for name in (directories.SHOWS, *directories.EFFECTIVE)}}

    def entry(self, base: str, **_: Any) -> dict[str, Any]:
        return self._entry(base, {})

    def entries(self, _: str, *, scope: str, **__: Any) -> Iterator[dict[str, Any]]:
        assert scope == "level"
        yield self._entry(f"OU=People,{self.base}", self.more)


@pytest.mark.parametrize(
    ("held", "changes"),
    [
        ({}, ()),
        (
            {"allowedAttributesEffective": ["description", "cn"]},
            ("write cn and 1 more of OU=People,DC=corp,DC=example",),
        ),
        (
            {"allowedChildClassesEffective": ["user"]},
            ("make user below OU=People,DC=corp,DC=example",),
        ),
        ({"sDRightsEffective": ["4"]}, ("write the access rules of OU=People,DC=corp,DC=example",)),
    ],
)
def test_active_directory_tells_what_may_be_written(held: dict[str, list[str]], changes: tuple[str, ...]) -> None:
    found = directories.rights(Computed(**held), "active-directory")  # type: ignore[arg-type]
    assert found.changes == changes
    assert found.untold == ("active-directory does not tell which attributes may not be read: they look absent",)
    assert found.fine == "may write nothing of DC=corp,DC=example and of the 1 entries directly below it"


def test_a_directory_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    connection = {
        "name": "there", "kind": "ldap", "url": "ldaps://localhost:9", "base": "dc=acme,dc=example",
        "bind_dn": "cn=auditor", "password": secret(tmp_path, "ldap", LDAP_PASSWORD),
    }  # fmt: skip
    [(state, what)] = states(looked(tmp_path, connection, ("ldap.sudo-rules",)))
    assert (state, "could not be made" in what) == ("problem", True)
