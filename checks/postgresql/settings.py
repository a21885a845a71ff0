"""Settings of a PostgreSQL server: how it is reached, how passwords are kept, and what it logs."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from collector.api import GapKind, Record, Row, Sql, Unavailable, Verdict, check, fail, instant, ok, source


@source(
    "postgresql.settings", key="name", per="connection", permissions=("SELECT ON pg_settings", "pg_read_all_settings"),
    filters="the settings that a check reads",
)
def settings(postgresql: Sql) -> Iterator[Row]:
    """The settings named in the statement and all of pgAudit, as in force for new sessions of the role that asks.

    Settings that may hold a secret (commands, connection strings) are not asked for.
    """
    yield from postgresql.rows(
        """
        SELECT name, setting, unit, source, context, pending_restart FROM pg_settings
        WHERE name LIKE 'pgaudit.%' OR name IN (
            'archive_mode', 'authentication_timeout', 'cluster_name', 'data_checksums', 'event_triggers', 'fsync',
            'full_page_writes', 'hot_standby', 'idle_in_transaction_session_timeout', 'krb_caseins_users',
            'listen_addresses', 'log_checkpoints', 'log_connections', 'log_destination', 'log_disconnections',
            'log_error_verbosity', 'log_file_mode', 'log_hostname', 'log_line_prefix', 'log_lock_waits',
            'log_min_error_statement', 'log_min_messages', 'log_replication_commands', 'log_statement', 'log_timezone',
            'logging_collector', 'max_connections', 'password_encryption', 'port', 'row_security', 'server_version',
            'server_version_num', 'shared_preload_libraries', 'ssl', 'ssl_ciphers', 'ssl_library',
            'ssl_max_protocol_version', 'ssl_min_protocol_version', 'ssl_passphrase_command_supports_reload',
            'ssl_prefer_server_ciphers', 'synchronous_commit', 'wal_level')
        ORDER BY name
        """
    )


def _found(rows: Iterable[Record]) -> dict[str, str]:
    return {row["name"]: row["setting"] for row in rows}


def _shown(found: dict[str, str], *names: str) -> list[str]:
    """The values of these settings.

    Raises:
        Unavailable: the server does not show one: its version does not know it, or the role may not read it.
    """
    for name in names:
        if name not in found:
            raise Unavailable(GapKind.UNSUPPORTED, f"the server shows no setting {name} to this role")
    return [found[name] for name in names]


@check(
    "postgresql.settings.tls-on",
    title="PostgreSQL offers TLS",
    severity="high",
    over=("postgresql.settings",),
)
def tls_on(rows: Iterator[Record]) -> Verdict:
    """The setting ``ssl`` is on. That sessions must use it is decided by the rules of pg_hba.conf.

    Source: pg_settings. Remedy: ``ALTER SYSTEM SET ssl = on`` with a certificate in place.
    """
    (ssl,) = _shown(_found(rows), "ssl")
    return ok("ssl is on") if ssl == "on" else fail(f"ssl is {ssl}")


@check(
    "postgresql.settings.tls-version",
    title="PostgreSQL agrees to recent versions of TLS only",
    severity="medium",
    over=("postgresql.settings",),
)
def tls_version(rows: Iterator[Record], *, accepted: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")) -> Verdict:
    """The least version of TLS that the server agrees to is one of ``accepted``.

    Source: pg_settings (``ssl_min_protocol_version``, PostgreSQL 12 or newer; empty means any).
    Remedy: ``ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2'``.
    """
    (least,) = _shown(_found(rows), "ssl_min_protocol_version")
    told = f"the least version is {least or 'not set'}; accepted: {', '.join(accepted)}"
    return ok(told) if least in accepted else fail(told)


@check(
    "postgresql.settings.passwords-scram",
    title="New PostgreSQL passwords are kept as SCRAM verifiers",
    severity="high",
    over=("postgresql.settings",),
)
def passwords_scram(rows: Iterator[Record]) -> Verdict:
    """The setting ``password_encryption`` is scram-sha-256.

    Source: pg_settings. A password set earlier keeps its form until it is set anew; the forms stand in pg_authid, which
    is not read.
    Remedy: ``ALTER SYSTEM SET password_encryption = 'scram-sha-256'``, then have passwords set anew.
    """
    (kept,) = _shown(_found(rows), "password_encryption")
    return (ok if kept == "scram-sha-256" else fail)(f"password_encryption is {kept}")


@check(
    "postgresql.settings.sessions-logged",
    title="PostgreSQL logs when sessions begin and end",
    severity="medium",
    over=("postgresql.settings",),
)
def sessions_logged(rows: Iterator[Record]) -> Verdict:
    """The settings ``log_connections`` and ``log_disconnections`` are on.

    Source: pg_settings; from PostgreSQL 18 ``log_connections`` is a list of what is logged, where on, all,
    authentication and authorization say who came.
    Remedy: ``ALTER SYSTEM SET log_connections = on`` and ``log_disconnections = on``.
    """
    begins, ends = _shown(_found(rows), "log_connections", "log_disconnections")
    told = f"log_connections is {begins or 'empty'}, log_disconnections is {ends}"
    who = {"all", "authentication", "authorization", "on"} & {word.strip() for word in begins.split(",")}
    return ok(told) if who and ends == "on" else fail(told)


@check(
    "postgresql.settings.statements-logged",
    title="PostgreSQL logs changes of structure and of rights",
    severity="medium",
    over=("postgresql.settings",),
)
def statements_logged(rows: Iterator[Record]) -> Verdict:
    """``log_statement`` is ddl, mod or all, or pgAudit is loaded and logs the classes ddl and role.

    Source: pg_settings. A role or a database may be set otherwise (pg_db_role_setting), which is not read here.
    Remedy: ``ALTER SYSTEM SET log_statement = 'ddl'``, or load pgAudit with ``pgaudit.log = 'ddl, role'``.
    """
    found = _found(rows)
    level, loaded = _shown(found, "log_statement", "shared_preload_libraries")
    if level in ("ddl", "mod", "all"):
        return ok(f"log_statement is {level}")
    classes = {word.strip().lower() for word in found.get("pgaudit.log", "").split(",")} - {"", "none"}
    told = f"log_statement is {level}, pgaudit.log is {', '.join(sorted(classes)) or 'not set'}"
    covered = ("all" in classes or {"ddl", "role"} <= classes) and not classes & {"-ddl", "-role", "-all"}
    return ok(told) if "pgaudit" in loaded and covered else fail(told)


@check(
    "postgresql.settings.log-lines-attributed",
    title="Lines of the PostgreSQL log say when, who and from where",
    severity="low",
    over=("postgresql.settings",),
)
def log_lines_attributed(rows: Iterator[Record]) -> Verdict:
    """``log_line_prefix`` holds a time, the user, the database and the remote host, or the log is in CSV or JSON.

    Source: pg_settings (``log_line_prefix``, ``log_destination``, ``logging_collector``).
    Remedy: ``ALTER SYSTEM SET log_line_prefix = '%m [%p] %u@%d %h '``.
    """
    prefix, destination, collected = _shown(_found(rows), "log_line_prefix", "log_destination", "logging_collector")
    structured = [word.strip() for word in destination.split(",") if word.strip() in ("csvlog", "jsonlog")]
    if structured and collected == "on":
        return ok(f"the log is written as {structured[0]}, which has them in every line")
    wanted = {"a time": "[mtn]", "the user": "u", "the database": "d", "the remote host": "[hr]"}
    absent = [name for name, letter in wanted.items() if not re.search(f"%-?[0-9]*{letter}", prefix)]
    told = f"log_line_prefix is {prefix!r}"
    return fail(f"{told}, without {', '.join(absent)}") if absent else ok(told)


@check(
    "postgresql.settings.listeners-declared",
    title="PostgreSQL listens on declared addresses",
    severity="low",
    over=("postgresql.settings",),
)
def listeners_declared(rows: Iterator[Record], *, refused: tuple[str, ...] = ("*", "0.0.0.0", "::")) -> Verdict:  # noqa: S104
    """No item of ``listen_addresses`` is one of ``refused``, which stand for every interface of the machine.

    Source: pg_settings. Remedy: name the addresses in ``listen_addresses`` and restart the server.
    """
    (listened,) = _shown(_found(rows), "listen_addresses")
    wide = [item.strip() for item in listened.split(",") if item.strip() in refused]
    told = f"listen_addresses is {listened or 'empty'}"
    return fail(f"{told}, which is every interface") if wide else ok(told)


@check(
    "postgresql.settings.checksums-on",
    title="PostgreSQL notices damaged pages",
    severity="low",
    over=("postgresql.settings",),
)
def checksums_on(rows: Iterator[Record]) -> Verdict:
    """The setting ``data_checksums`` is on.

    Source: pg_settings. Remedy: ``pg_checksums --enable`` while the server is stopped.
    """
    (checksums,) = _shown(_found(rows), "data_checksums")
    return (ok if checksums == "on" else fail)(f"data_checksums is {checksums}")


@check(
    "postgresql.settings.in-force",
    title="No changed PostgreSQL setting waits for a restart",
    severity="low",
    over=("postgresql.settings",),
)
def in_force(rows: Iterator[Record]) -> Verdict:
    """No setting that is read here has another value in the files than the server runs with.

    Source: pg_settings (``pending_restart``, known since the files were last loaded).
    Remedy: restart the server, or take the change back.
    """
    waiting = sorted(row["name"] for row in rows if row["pending_restart"])
    if waiting:
        return fail(f"wait for a restart: {', '.join(waiting)}")
    return ok("no setting that is read waits for a restart")


@check(
    "postgresql.settings.version-supported",
    title="The version of PostgreSQL is supported by its makers",
    severity="high",
    over=("postgresql.settings",),
)
def version_supported(
    rows: Iterator[Record],
    *,
    as_of: datetime,
    ends: tuple[str, ...] = (
        "13 2025-11-13", "14 2026-11-12", "15 2027-11-11", "16 2028-11-09", "17 2029-11-08", "18 2030-11-14",
    ),
) -> Verdict:  # fmt: skip
    """The major version is one of ``ends`` (version, last day of support), and that day has not passed.

    Source: pg_settings (``server_version_num``); the days are those the project publishes. A version older than
    all in the list is not supported, of a newer one nothing is known here. Minor releases are not judged.
    Remedy: upgrade with pg_upgrade or by replication.
    """
    (number,) = _shown(_found(rows), "server_version_num")
    major = int(number) // 10000
    known = {int(item.split()[0]): item.split()[1] for item in ends}
    if major not in known and major > min(known):
        raise Unavailable(GapKind.UNSUPPORTED, f"the list of supported versions does not have {major}")
    if major not in known:
        return fail(f"version {major} is older than {min(known)}, the oldest in the list")
    told = f"version {major} is supported until {known[major]}"
    return ok(told) if as_of < instant(f"{known[major]}T23:59:59Z") else fail(told)
