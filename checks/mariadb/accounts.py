"""Accounts of a MariaDB server: how they log in, from where, and which rights over the whole server they hold."""

import json
from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    GapKind,
    Record,
    Refused,
    Row,
    Sql,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

LOCAL = ("localhost", "127.0.0.1", "::1")
PASSWORD = ("", "mysql_native_password", "mysql_old_password", "ed25519", "parsec")
"""Plugins with which an account without a password lets anybody in."""


@source(
    "mariadb.accounts",
    key="account",
    per="connection",
    permissions=("SELECT ON mysql.user", "SELECT ON mysql.global_priv"),
)
def accounts(mariadb: Sql) -> Iterator[Row]:
    """Every account and every role of the server, with what mysql.global_priv says of how it logs in.

    No hash of a password is asked for: the server itself says whether there is one.
    """
    logins: dict[str, Row] | Refused
    try:
        logins = {
            row["account"]: row
            for row in mariadb.rows(
                """
                SELECT CONCAT(User, '@', Host) AS account, JSON_VALUE(Priv, '$.plugin') AS plugin,
                    COALESCE(JSON_VALUE(Priv, '$.authentication_string'), '') = '' AS without_password,
                    JSON_EXTRACT(Priv, '$.auth_or[*].plugin') AS further_plugins,
                    COALESCE(JSON_CONTAINS(JSON_EXTRACT(Priv, '$.auth_or[*].authentication_string'), '""'), 0)
                        AS further_without_password,
                    COALESCE(JSON_EXTRACT(Priv, '$.account_locked') = true, 0) AS locked,
                    DATE_FORMAT(FROM_UNIXTIME(JSON_VALUE(Priv, '$.password_last_changed')), '%Y-%m-%dT%H:%i:%sZ')
                        AS password_last_changed
                FROM mysql.global_priv
                """
            )
        }
    except Unavailable as error:
        logins = Refused(error.kind, error.reason, error.operation)
    for row in mariadb.rows(
        """
        SELECT CONCAT(User, '@', Host) AS account, User, Host, is_role, ssl_type, Select_priv, Insert_priv, Update_priv,
            Delete_priv, Drop_priv, Reload_priv, Shutdown_priv, Process_priv, File_priv, Grant_priv, Super_priv,
            Create_user_priv, Repl_slave_priv
        FROM mysql.user
        """
    ):
        yield {**row, "global_priv": logins if isinstance(logins, Refused) else _login(logins, row["account"])}


def _login(logins: dict[str, Row], account: str) -> Row | Refused:
    if account in logins:
        return logins[account]
    why = f"mysql.global_priv has no row for {account}, which mysql.user lists"
    return Refused(GapKind.MALFORMED, why, "mariadb:SELECT mysql.global_priv")


def _ways(login: Record) -> list[str]:
    """Plugins by which an account may log in; an empty name is the default one."""
    return [login["plugin"] or "", *json.loads(login["further_plugins"] or "[]")]


@check(
    "mariadb.accounts.password-set",
    title="No MariaDB account lets in without a password",
    severity="critical",
    each="mariadb.accounts",
)
def password_set(account: Record) -> Verdict:
    """An account that is not locked and logs in by password has one, in each of the ways it may log in.

    Source: mysql.global_priv, where the server says whether the password is empty.
    Remedy: ``ALTER USER ... IDENTIFIED VIA ...``, or ``DROP USER``.
    """
    if account["is_role"] == "Y":
        return skip("is a role, which nobody logs in as")
    login = account["global_priv"]
    if login["locked"]:
        return skip("is locked")
    ways = ", ".join(way or "the default plugin" for way in _ways(login))
    if (login["without_password"] and _ways(login)[0] in PASSWORD) or login["further_without_password"]:
        return fail(f"lets in without a password, by {ways}")
    return ok(f"logs in by {ways}, and none is a password that is empty")


@check(
    "mariadb.accounts.none-anonymous",
    title="No MariaDB account is anonymous",
    severity="high",
    each="mariadb.accounts",
)
def none_anonymous(account: Record) -> Verdict:
    """An account has a name: without one it is anybody's.

    Source: mysql.user (``User``). Remedy: ``DROP USER ''@'...'``.
    """
    if account["is_role"] == "Y":
        return skip("is a role")
    return ok("has a name") if account["User"] else fail(f"has no name, and is anybody at {account['Host']}")


@check(
    "mariadb.accounts.root-local",
    title="MariaDB's root logs in on the machine itself only",
    severity="high",
    each="mariadb.accounts",
)
def root_local(account: Record, *, names: tuple[str, ...] = ("root",)) -> Verdict:
    """An account of one of ``names`` is for a local host.

    Source: mysql.user (``User``, ``Host``). Remedy: ``DROP USER 'root'@'...'``.
    """
    if account["User"] not in names or account["is_role"] == "Y":
        return skip(f"is not one of {', '.join(names)}")
    return (ok if account["Host"] in LOCAL else fail)(f"may come from {account['Host']}")


@check(
    "mariadb.accounts.host-named",
    title="MariaDB accounts are for named hosts or networks",
    severity="low",
    each="mariadb.accounts",
)
def host_named(account: Record) -> Verdict:
    """The host of an account is not ``%``, which is every address.

    Source: mysql.user (``Host``). Remedy: ``RENAME USER 'x'@'%' TO 'x'@'10.1.%'``.
    """
    if account["is_role"] == "Y":
        return skip("is a role")
    wide = not account["Host"].strip("%.")
    return fail(f"may come from every address ({account['Host']})") if wide else ok(f"may come from {account['Host']}")


@check(
    "mariadb.accounts.strong-plugin",
    title="MariaDB accounts log in by methods that keep passwords well",
    severity="medium",
    each="mariadb.accounts",
)
def strong_plugin(
    account: Record, *, weak: tuple[str, ...] = ("", "mysql_native_password", "mysql_old_password")
) -> Verdict:
    """No way to log in of an account that is not locked is one of ``weak``; the empty name is the default plugin.

    Source: mysql.global_priv (``plugin``, ``auth_or``). The first two keep unsalted SHA-1 of the password.
    Remedy: ``ALTER USER ... IDENTIFIED VIA ed25519 USING PASSWORD(...)``.
    """
    if account["is_role"] == "Y":
        return skip("is a role")
    login = account["global_priv"]
    if login["locked"]:
        return skip("is locked")
    found = _ways(login)
    bad = [way or "the default plugin" for way in found if way in weak]
    return fail(f"may log in by {', '.join(bad)}") if bad else ok(f"logs in by {', '.join(found)}")


@check(
    "mariadb.accounts.password-renewed",
    title="Passwords of MariaDB accounts are renewed",
    severity="low",
    each="mariadb.accounts",
)
def password_renewed(account: Record, *, as_of: datetime, max_age_days: int = 365) -> Verdict:
    """The password of an account was last changed at most ``max_age_days`` before the day of collection.

    Source: mysql.global_priv (``password_last_changed``, absent where none was ever set). Locked accounts, roles and
    accounts that log in without a password are skipped.
    Remedy: ``ALTER USER ... IDENTIFIED BY ...``.
    """
    if account["is_role"] == "Y":
        return skip("is a role")
    login = account["global_priv"]
    if login["locked"] or (login["plugin"] or "") not in PASSWORD:
        return skip("is locked, or logs in without a password")
    changed = login["password_last_changed"]
    if changed is None:
        return fail("no password was ever set")
    age = days_between(instant(changed), as_of)
    told = f"the password is {age} days old, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "mariadb.accounts.powers-declared",
    title="MariaDB accounts with rights over the whole server are declared",
    severity="high",
    each="mariadb.accounts",
)
def powers_declared(
    account: Record,
    *,
    powers: tuple[str, ...] = (
        "Super_priv", "File_priv", "Grant_priv", "Create_user_priv", "Shutdown_priv", "Reload_priv", "Drop_priv",
        "Insert_priv", "Update_priv", "Delete_priv",
    ),
    declared: tuple[str, ...] = ("root@localhost", "root@127.0.0.1", "root@::1", "mysql@localhost"),
) -> Verdict:  # fmt: skip
    """An account or role that holds one of ``powers`` on everything is one of ``declared``.

    Source: mysql.user. Rights of a role count at the role. The finer administrative rights of MariaDB 10.5 have no
    column there and are not seen.
    Remedy: ``REVOKE ... ON *.* FROM ...``, and grant on the databases that are needed.
    """
    held = [name.removesuffix("_priv") for name in powers if account[name] == "Y"]
    if not held:
        return skip("holds none of these rights on everything")
    told = f"holds {', '.join(held)} on everything"
    return ok(f"{told}, declared") if account["account"] in declared else fail(f"{told} and is not declared")


@check(
    "mariadb.accounts.tls-required",
    title="MariaDB takes sessions from the network over TLS only",
    severity="high",
    over=("mariadb.accounts", "mariadb.variables"),
)
def tls_required(accounts: Iterator[Record], variables: Iterator[Record]) -> Verdict:
    """The server requires secure transport, or every account that may come from another machine requires TLS.

    Source: global variable ``require_secure_transport`` (MariaDB 10.5 or newer), mysql.user (``ssl_type``).
    Remedy: ``require_secure_transport = ON``, or ``ALTER USER ... REQUIRE SSL``.
    """
    found = {row["VARIABLE_NAME"].lower(): row["VARIABLE_VALUE"] for row in variables}
    remote = [row for row in accounts if row["is_role"] != "Y" and row["Host"] not in LOCAL]
    if found.get("require_secure_transport") == "ON":  # absent before 10.5
        return ok("require_secure_transport is ON")
    free = sorted(row["account"] for row in remote if not row["ssl_type"])
    if free:
        return fail(f"the server does not require TLS, and neither do {', '.join(free)}")
    if not remote:
        return skip("no account may come from another machine")
    return ok(f"TLS is required of each of {len(remote)} accounts that may come from another machine")
