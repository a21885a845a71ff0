"""Roles of a PostgreSQL server, and who is a member of which."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Row, Sql, Verdict, check, days_between, fail, instant, ok, skip, source


@source("postgresql.roles", key="rolname", per="connection", permissions=("SELECT ON pg_roles",))
def roles(postgresql: Sql) -> Iterator[Row]:
    """Every role of the server, those that cannot log in and the predefined ones included.

    Whether a role has a password, and in which form, stands in pg_authid, which is not read.
    """
    yield from postgresql.rows(
        """
        SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
            rolconnlimit, rolvaliduntil
        FROM pg_roles ORDER BY rolname
        """
    )


@source(
    "postgresql.role-memberships",
    key="membership",
    per="connection",
    permissions=("SELECT ON pg_auth_members", "SELECT ON pg_roles"),
)
def role_memberships(postgresql: Sql) -> Iterator[Row]:
    """Every direct membership of a role in a role, those that come with the server included."""
    yield from postgresql.rows(
        """
        SELECT concat(m.rolname, ' in ', g.rolname, ' by ', b.rolname) AS membership, m.rolname AS member,
            g.rolname AS role, b.rolname AS grantor, a.admin_option, m.rolcanlogin, g.rolsuper AS role_super
        FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
            LEFT JOIN pg_roles b ON b.oid = a.grantor
        ORDER BY 1
        """
    )


@check(
    "postgresql.roles.superusers-declared",
    title="PostgreSQL superusers are declared",
    severity="critical",
    each="postgresql.roles",
)
def superusers_declared(role: Record, *, declared: tuple[str, ...] = ("postgres",)) -> Verdict:
    """A superuser is one of ``declared``: nothing is refused to it, and it may read and run anything on the machine.

    Source: pg_roles (``rolsuper``). Remedy: ``ALTER ROLE ... NOSUPERUSER``, and grant what is needed.
    """
    if not role["rolsuper"]:
        return skip("is no superuser")
    return ok("is a declared superuser") if role["rolname"] in declared else fail("is a superuser and not declared")


@check(
    "postgresql.roles.attributes-declared",
    title="PostgreSQL roles that create roles, replicate or bypass row security are declared",
    severity="high",
    each="postgresql.roles",
)
def attributes_declared(role: Record, *, declared: tuple[str, ...] = ("postgres",)) -> Verdict:
    """A role with CREATEROLE, REPLICATION or BYPASSRLS that is no superuser is one of ``declared``.

    Source: pg_roles. Remedy: ``ALTER ROLE ... NOCREATEROLE NOREPLICATION NOBYPASSRLS``.
    """
    if role["rolsuper"]:
        return skip("is a superuser, which another check judges")
    columns = {"CREATEROLE": "rolcreaterole", "REPLICATION": "rolreplication", "BYPASSRLS": "rolbypassrls"}
    held = [name for name, column in columns.items() if role[column]]
    if not held:
        return skip("has none of these attributes")
    told = f"has {', '.join(held)}"
    return ok(f"{told}, declared") if role["rolname"] in declared else fail(f"{told} and is not declared")


@check(
    "postgresql.roles.password-ends",
    title="Passwords of PostgreSQL roles end",
    severity="low",
    each="postgresql.roles",
)
def password_ends(
    role: Record, *, as_of: datetime, max_days: int = 366, exempt: tuple[str, ...] = ("postgres",)
) -> Verdict:
    """The password of a role that can log in ends at most ``max_days`` after the day of collection.

    Source: pg_roles (``rolvaliduntil``). It ends the password only, not other ways to log in; that the role has one is
    not visible here. Roles that log in with a certificate or through a directory belong into ``exempt``.
    Remedy: ``ALTER ROLE ... VALID UNTIL '...'``.
    """
    if not role["rolcanlogin"]:
        return skip("cannot log in")
    if role["rolname"] in exempt:
        return skip("is exempt")
    until = role["rolvaliduntil"]
    if until is None or until == "infinity":
        return fail(f"a password would never end, limit {max_days} days")
    if instant(until) <= as_of:
        return ok(f"a password ended on {until}")
    days = days_between(as_of, instant(until))
    told = f"a password ends in {days} days, limit {max_days}"
    return ok(told) if days <= max_days else fail(told)


@check(
    "postgresql.role-memberships.powerful-declared",
    title="Members of powerful PostgreSQL roles are declared",
    severity="high",
    each="postgresql.role-memberships",
)
def powerful_declared(
    row: Record,
    *,
    powerful: tuple[str, ...] = (
        "pg_execute_server_program", "pg_write_server_files", "pg_read_server_files", "pg_write_all_data",
        "pg_read_all_data", "pg_create_subscription", "pg_maintain",
    ),
    declared: tuple[str, ...] = (),
) -> Verdict:  # fmt: skip
    """A membership in a superuser, or in one of ``powerful``, which reach all data or the machine, is in ``declared``.

    A member of a superuser may become it. Source: pg_auth_members, pg_roles. ``declared`` has entries like
    ``backup in pg_read_all_data``. Membership through another role is judged at that role.
    Remedy: ``REVOKE pg_... FROM ...``.
    """
    if not row["role_super"] and row["role"] not in powerful:
        return skip(f"{row['role']} is not one of them")
    entry = f"{row['member']} in {row['role']}"
    return ok(f"{entry} is declared") if entry in declared else fail(f"{entry} is not declared")
