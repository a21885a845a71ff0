"""Rights on databases, and memberships in roles, of a MariaDB server."""

import re
from collections.abc import Iterator

from collector.api import Record, Row, Sql, Verdict, check, fail, ok, skip, source


@source("mariadb.database-grants", key="grant", per="connection", permissions=("SELECT ON mysql.db",))
def database_grants(mariadb: Sql) -> Iterator[Row]:
    """Every grant on a database or a pattern of databases; an empty account is anonymous, PUBLIC is everybody."""
    yield from mariadb.rows(
        """
        SELECT CONCAT(User, '@', Host, ' on ', Db) AS 'grant', User, Host, Db, Select_priv, Insert_priv, Update_priv,
            Delete_priv, Create_priv, Drop_priv, Grant_priv, Alter_priv, Execute_priv, Trigger_priv
        FROM mysql.db
        """
    )


@source("mariadb.role-members", key="membership", per="connection", permissions=("SELECT ON mysql.roles_mapping",))
def role_members(mariadb: Sql) -> Iterator[Row]:
    """Every account and role that is a member of a role."""
    yield from mariadb.rows(
        """
        SELECT CONCAT(User, '@', Host, ' in ', Role) AS membership, User, Host, Role, Admin_option
        FROM mysql.roles_mapping
        """
    )


CHANGES = (
    "Insert_priv", "Update_priv", "Delete_priv", "Create_priv", "Drop_priv", "Grant_priv", "Alter_priv", "Trigger_priv",
)  # fmt: skip


@check(
    "mariadb.database-grants.system-untouched",
    title="No MariaDB account may change the server's own tables",
    severity="critical",
    each="mariadb.database-grants",
)
def system_untouched(grant: Record, *, declared: tuple[str, ...] = ()) -> Verdict:
    """A grant whose pattern covers the database mysql, where accounts and rights are kept, changes nothing there.

    Source: mysql.db. Rights over the whole server are the matter of another check. ``declared`` has entries like
    ``backup@localhost on mysql``.
    Remedy: ``REVOKE ... ON mysql.* FROM ...``.
    """
    if not re.fullmatch(_pattern(grant["Db"]), "mysql", re.IGNORECASE):
        return skip(f"{grant['Db']} is not the database mysql")
    held = [name.removesuffix("_priv") for name in CHANGES if grant[name] == "Y"]
    if not held:
        return ok("may change nothing there")
    told = f"holds {', '.join(held)} on {grant['Db']}"
    return ok(f"{told}, declared") if grant["grant"] in declared else fail(told)


def _pattern(db: str) -> str:
    """The pattern of a grant as a regular expression: ``%`` is anything, ``_`` one character, a backslash quotes."""
    parts = re.findall(r"\\.|.", db, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(part) or re.escape(part[-1]) for part in parts)


@check(
    "mariadb.database-grants.none-to-everybody",
    title="No right on a MariaDB database is everybody's",
    severity="high",
    each="mariadb.database-grants",
)
def none_to_everybody(grant: Record) -> Verdict:
    """A grant is to a named account or role, not to PUBLIC and not to an anonymous account.

    Source: mysql.db (``User``). Remedy: ``REVOKE ... FROM PUBLIC``, or ``DROP USER ''@'...'``.
    """
    if grant["User"] in ("", "PUBLIC"):
        return fail(f"the grant on {grant['Db']} is to {grant['User'] or 'an anonymous account'}")
    return ok(f"the grant on {grant['Db']} is to {grant['User']}")


@check(
    "mariadb.role-members.admins-declared",
    title="Who may hand on a MariaDB role is declared",
    severity="medium",
    each="mariadb.role-members",
)
def admins_declared(member: Record, *, declared: tuple[str, ...] = ("root@localhost",)) -> Verdict:
    """A member that may give the role to others (WITH ADMIN OPTION) is one of ``declared``.

    Source: mysql.roles_mapping. Whoever creates a role has this right.
    Remedy: ``REVOKE ADMIN OPTION FOR ... FROM ...``.
    """
    if member["Admin_option"] != "Y":
        return skip("may not give the role to others")
    who = f"{member['User']}@{member['Host']}"
    return ok(f"{who} is declared") if who in declared else fail(f"{who} may give {member['Role']} to others")
