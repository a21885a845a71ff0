"""Who asks PostgreSQL, and what that role may do."""

from collections.abc import Iterator

from collector.api import Record, Row, Sql, Verdict, check, fail, ok, source


@source(
    "postgresql.caller", key="Id", per="connection", permissions=("SELECT ON pg_roles", "SELECT ON pg_auth_members"),
    filters="the role that asks",
)
def caller(postgresql: Sql) -> Iterator[Row]:
    """One record: the role that asks, its attributes, the roles it is a direct member of, and the server's version."""
    for row in postgresql.rows(
        """
        SELECT r.rolname, current_database() AS database, version() AS version, pg_is_in_recovery() AS in_recovery,
            r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls,
            ARRAY(SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid
                ORDER BY g.rolname) AS member_of
        FROM pg_roles r WHERE r.rolname = session_user
        """
    ):
        yield {"Id": "caller", "Caller": f"{row['rolname']} in {row['database']}", **row}


ATTRIBUTES = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")


@check(
    "postgresql.caller.reads-only",
    title="The role that collects evidence from PostgreSQL can change nothing",
    severity="high",
    each="postgresql.caller",
)
def reads_only(
    row: Record, *, reading_roles: tuple[str, ...] = ("pg_monitor", "pg_read_all_settings", "pg_read_all_stats")
) -> Verdict:
    """The role that asks has no attribute beyond login and is a member of ``reading_roles`` only.

    Source: pg_roles, pg_auth_members. Rights on tables are not looked at here.
    Remedy: make the role as docs/databases.md prints it.
    """
    held = [name for name in ATTRIBUTES if row[name]]
    held += [f"member of {role}" for role in row["member_of"] if role not in reading_roles]
    if held:
        return fail(f"{row['rolname']} has {', '.join(held)}")
    return ok(f"{row['rolname']} has no attribute that changes anything, and is a member of reading roles only")
