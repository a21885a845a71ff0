"""What a database says of the rights of the account that asks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from collector.connect.sql import Sql
from collector.doctor.rights import Rights, unique
from collector.model import Unavailable

ROLES = (
    "SELECT rolname, rolname = current_user AS own, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    " FROM pg_roles WHERE pg_has_role(oid, 'MEMBER') ORDER BY own DESC, rolname"
)
"""What the account is, and what it may become with SET ROLE; a superuser may become anything."""
ATTRIBUTES = {
    "rolsuper": "SUPERUSER", "rolcreaterole": "CREATEROLE", "rolcreatedb": "CREATEDB", "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}  # fmt: skip
PREDEFINED = frozenset(
    {"pg_create_subscription", "pg_database_owner", "pg_execute_server_program", "pg_maintain",
     "pg_signal_autovacuum_worker", "pg_signal_backend", "pg_write_all_data", "pg_write_server_files"}
)  # fmt: skip
"""Roles of every server whose members change something."""
WRITES_ALL = "pg_write_all_data"
TABLES = (
    "SELECT n.nspname, c.relname, count(*) OVER () AS total"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
    " AND NOT (n.nspname = 'pg_catalog' AND c.relname = 'pg_settings')"
    " AND (pg_has_role(c.relowner, 'USAGE') OR CASE WHEN c.relkind = 'S'"
    " THEN has_sequence_privilege(c.oid, 'USAGE, UPDATE')"
    " ELSE has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
    " OR has_any_column_privilege(c.oid, 'INSERT, UPDATE') END)"
    " ORDER BY n.nspname, c.relname LIMIT 5"
)
"""Everybody may UPDATE ``pg_settings``, which sets what holds for the own session only."""
PLACES = (
    "SELECT 'schema' AS what, nspname AS name FROM pg_namespace WHERE has_schema_privilege(oid, 'CREATE') UNION ALL"
    " SELECT 'database', datname FROM pg_database WHERE has_database_privilege(oid, 'CREATE') ORDER BY 1, 2 LIMIT 100"
)
TABLE = (
    "SELECT needed AS name, has_table_privilege(CAST(to_regclass(needed) AS oid), 'SELECT') AS held"
    " FROM unnest(string_to_array(:names, ' ')) AS needed"
)
"""``held`` is null where there is no such table: a version of the server may lack it."""
FUNCTION = (
    "SELECT needed AS name, has_function_privilege(CAST(to_regprocedure(needed) AS oid), 'EXECUTE') AS held"
    " FROM unnest(string_to_array(:names, ' ')) AS needed"
)

READS = frozenset(
    {"BINLOG MONITOR", "PROCESS", "REPLICA MONITOR", "REPLICATION CLIENT", "REPLICATION REPLICA", "REPLICATION SLAVE",
     "SELECT", "SHOW CREATE ROUTINE", "SHOW DATABASES", "SHOW VIEW", "SLAVE MONITOR", "USAGE"}
)  # fmt: skip
"""Privileges of MariaDB that change nothing."""
NAME = r"(?:`(?:[^`]|``)*`|\*)"
GRANT = re.compile(
    r"GRANT (?P<what>.+?) ON (?:(?:TABLE|FUNCTION|PROCEDURE|PACKAGE BODY|PACKAGE) )?"
    rf"(?P<where>{NAME}(?:[.@]{NAME})?) TO "
)
ROLE = re.compile(r"GRANT `(?P<role>(?:[^`]|``)+)` TO ")
MOST_ROLES = 50


@dataclass(frozen=True, slots=True)
class _Held:
    """A privilege of MariaDB."""

    privilege: str
    where: str
    """``*.*``, ``schema.*`` or ``schema.table``."""

    def __str__(self) -> str:
        return f"{self.privilege} ON {self.where}"


def rights(sql: Sql, kind: str, needed: Sequence[str], database: str) -> Rights:
    """What the account may do: in one database of PostgreSQL and on its server, or on a server of MariaDB."""
    return _postgresql(sql, needed, database) if kind == "postgresql" else _mariadb(sql, needed)


def _postgresql(sql: Sql, needed: Sequence[str], database: str) -> Rights:
    roles = list(sql.rows(ROLES))
    [own] = [role for role in roles if role["own"]]
    if own["rolsuper"]:
        return Rights(changes=("everything, as SUPERUSER",))
    changes = [
        word if role["own"] else f"{word} as {role['rolname']}"
        for role in roles
        for name, word in ATTRIBUTES.items()
        if role[name]
    ]
    given = {role["rolname"] for role in roles}
    changes += sorted(given & PREDEFINED)
    untold: list[str] = []
    written = [] if WRITES_ALL in given else _seen(sql, TABLES, untold)
    changes += [f"write to {table['nspname']}.{table['relname']}" for table in written]
    if written and written[0]["total"] > len(written):
        changes.append(f"write to {written[0]['total'] - len(written)} further tables")
    changes += [f"CREATE in {row['what']} {row['name']}" for row in _seen(sql, PLACES, untold)]
    fine = f"allowed all {len(needed)} rights it needs in {database}, and none that changes things"
    return Rights(
        missing=tuple(_lacking(sql, needed, given)),
        changes=tuple(changes),
        untold=tuple(untold),
        fine="" if untold else fine,
    )


def _seen(sql: Sql, statement: str, untold: list[str]) -> list[Any]:
    """The rows; none where the account may not ask, which is noted."""
    try:
        return list(sql.rows(statement))
    except Unavailable as error:
        untold.append(f"postgresql did not tell all that it may change ({error.reason})")
        return []


def _lacking(sql: Sql, needed: Sequence[str], roles: set[str]) -> Iterator[str]:
    """What is needed and not held."""
    for start, statement in (("SELECT ON ", TABLE), ("EXECUTE ON ", FUNCTION)):
        names = [need.removeprefix(start) for need in needed if need.startswith(start)]
        if names:
            found = sql.rows(statement, names=" ".join(names))
            yield from (f"{start}{row['name']}" for row in found if row["held"] is False)
    yield from (need for need in needed if " ON " not in need and need not in roles)


def _mariadb(sql: Sql, needed: Sequence[str]) -> Rights:
    held, unread = _granted(sql)
    changes = unique(str(one) for one in held if one.privilege not in READS)
    untold = (f"mariadb told {unread} grants and roles of this account that were not read",) if unread else ()
    return Rights(
        missing=() if untold else tuple(need for need in needed if not any(_covers(one, need) for one in held)),
        changes=changes,
        untold=untold,
        fine="" if untold else f"allowed all {len(needed)} rights it needs, and none that changes things",
    )


def _granted(sql: Sql) -> tuple[list[_Held], int]:
    """The privileges of the account, of everybody, and of the roles it may take; how many grants are not among them.

    No grant is given on as it stands: behind TO there may be the hash of a password.
    """
    held: list[_Held] = []
    unread = 0
    seen: set[str] = set()
    waiting = [""]
    while waiting and len(seen) < MOST_ROLES:
        role = waiting.pop()
        seen.add(role)
        for row in sql.rows("SHOW GRANTS FOR :role", role=role) if role else sql.rows("SHOW GRANTS"):
            line = str(next(iter(row.values())))
            if given := ROLE.match(line):
                waiting += {given["role"].replace("``", "`")} - seen - {*waiting}
            elif grant := GRANT.match(line):
                held += _privileges(grant, line.endswith("WITH GRANT OPTION"))
            else:
                unread += line.startswith("GRANT ")
    return held, unread + len(waiting)


def _privileges(grant: re.Match[str], passes_on: bool) -> list[_Held]:
    """Each privilege of a grant, without the columns it is for, and on what."""
    words = re.sub(r"\s*\([^)]*\)", "", grant["what"]).split(", ")
    return [_Held(word, grant["where"].replace("`", "")) for word in (*words, *(("GRANT OPTION",) * passes_on))]


def _covers(held: _Held, need: str) -> bool:
    """Whether a privilege allows what is needed, of some columns at least."""
    privilege, _, table = need.partition(" ON ")
    schema = table.partition(".")[0]
    if schema == "information_schema":
        return True  # everybody may ask it; where that shows too little, PROCESS is needed beside it
    places = {"*.*", f"{schema}.*", table} if table else {"*.*"}
    return held.privilege in (privilege, "ALL PRIVILEGES") and held.where in places
