"""System variables of a MariaDB server: what it accepts, what it encrypts, and what it keeps."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from collector.api import GapKind, Record, Row, Sql, Unavailable, Verdict, check, fail, instant, ok, source

ON = ("ON", "1", "YES", "TRUE", "FORCE")


@source(
    "mariadb.variables",
    key="VARIABLE_NAME",
    per="connection",
    permissions=("SELECT ON information_schema.GLOBAL_VARIABLES",),
    filters="the variables that a check reads",
)
def variables(mariadb: Sql) -> Iterator[Row]:
    """The global variables named in the statement, and those of the plugins for audit and passwords, as they stand now.

    Variables that may hold a secret or a path to one are not asked for.
    """
    yield from mariadb.rows(
        """
        SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES
        WHERE VARIABLE_NAME LIKE 'server_audit_%' AND VARIABLE_NAME NOT LIKE '%syslog_info'
            OR VARIABLE_NAME LIKE 'simple_password_check_%' OR VARIABLE_NAME LIKE 'password_reuse_check_%'
            OR VARIABLE_NAME IN (
                'have_ssl', 'require_secure_transport', 'tls_version', 'ssl_cipher', 'local_infile', 'secure_file_priv',
                'sql_mode', 'old_passwords', 'secure_auth', 'strict_password_validation', 'default_password_lifetime',
                'disconnect_on_expired_password', 'max_password_errors', 'skip_name_resolve', 'skip_networking',
                'bind_address', 'log_bin', 'expire_logs_days', 'binlog_expire_logs_seconds', 'sync_binlog',
                'innodb_flush_log_at_trx_commit', 'innodb_encrypt_tables', 'innodb_encrypt_log',
                'innodb_encrypt_temporary_tables', 'aria_encrypt_tables', 'encrypt_binlog', 'encrypt_tmp_files',
                'encrypt_tmp_disk_tables', 'general_log', 'slow_query_log', 'log_warnings', 'log_output', 'read_only',
                'version', 'version_comment', 'character_set_server', 'time_zone', 'system_time_zone')
        ORDER BY VARIABLE_NAME
        """
    )


def _found(rows: Iterable[Record]) -> dict[str, str]:
    """Values by name in lower case; an empty one is ``""``."""
    return {row["VARIABLE_NAME"].lower(): row["VARIABLE_VALUE"] or "" for row in rows}


def _shown(found: dict[str, str], *names: str) -> list[str]:
    """The values of these variables.

    Raises:
        Unavailable: the server has no variable of that name: its version, or a plugin, does not know it.
    """
    for name in names:
        if name not in found:
            raise Unavailable(GapKind.UNSUPPORTED, f"the server has no variable {name}")
    return [found[name] for name in names]


@check(
    "mariadb.variables.tls-version",
    title="MariaDB agrees to recent versions of TLS only",
    severity="medium",
    over=("mariadb.variables",),
)
def tls_version(rows: Iterator[Record], *, accepted: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")) -> Verdict:
    """TLS is in use and every version of ``tls_version`` is one of ``accepted``.

    Source: global variables ``have_ssl``, ``tls_version``.
    Remedy: ``tls_version = TLSv1.2,TLSv1.3`` with a certificate in place.
    """
    able, versions = _shown(_found(rows), "have_ssl", "tls_version")
    if able != "YES":
        return fail(f"have_ssl is {able}")
    offered = [item.strip() for item in versions.split(",") if item.strip()]
    old = [item for item in offered if item not in accepted]
    told = f"tls_version is {versions or 'empty'}; accepted: {', '.join(accepted)}"
    return fail(told) if old or not offered else ok(told)


@check(
    "mariadb.variables.no-local-infile",
    title="MariaDB does not ask clients for files",
    severity="medium",
    over=("mariadb.variables",),
)
def no_local_infile(rows: Iterator[Record]) -> Verdict:
    """The variable ``local_infile`` is OFF.

    Source: global variables. Remedy: ``local_infile = OFF``; load files with a tool that needs no such right.
    """
    (value,) = _shown(_found(rows), "local_infile")
    return (fail if value in ON else ok)(f"local_infile is {value}")


@check(
    "mariadb.variables.files-confined",
    title="MariaDB reads and writes files in one folder only",
    severity="medium",
    over=("mariadb.variables",),
)
def files_confined(rows: Iterator[Record]) -> Verdict:
    """The variable ``secure_file_priv`` names a folder; empty, accounts with FILE reach every file of the server.

    Source: global variables. Remedy: set ``secure_file_priv`` and restart the server.
    """
    (folder,) = _shown(_found(rows), "secure_file_priv")
    return (ok if folder.strip("/") else fail)(f"secure_file_priv is {folder or 'empty'}")


@check(
    "mariadb.variables.binary-log-kept",
    title="MariaDB keeps a binary log long enough",
    severity="medium",
    over=("mariadb.variables",),
)
def binary_log_kept(rows: Iterator[Record], *, min_days: float = 7.0) -> Verdict:
    """The binary log is on and is kept for at least ``min_days``; 0 seconds means for ever.

    Source: global variables ``log_bin``, ``binlog_expire_logs_seconds`` (MariaDB 10.6 or newer), else
    ``expire_logs_days``. Without a full backup the log restores nothing.
    Remedy: ``log_bin`` and ``binlog_expire_logs_seconds`` in the configuration, then a restart.
    """
    found = _found(rows)
    if found["log_bin"] not in ON:
        return fail(f"log_bin is {found['log_bin']}")
    if "binlog_expire_logs_seconds" in found:
        days = int(found["binlog_expire_logs_seconds"]) / 86400
    elif "expire_logs_days" in found:
        days = float(found["expire_logs_days"])
    else:
        raise Unavailable(GapKind.UNSUPPORTED, "the server has no variable that says how long the binary log is kept")
    if not days:
        return ok("the binary log is on and never expires by itself")
    told = f"the binary log is kept for {days:g} days, limit {min_days:g}"
    return ok(told) if days >= min_days else fail(told)


@check(
    "mariadb.variables.strict-mode",
    title="MariaDB refuses values that do not fit",
    severity="low",
    over=("mariadb.variables",),
)
def strict_mode(rows: Iterator[Record]) -> Verdict:
    """``sql_mode`` holds STRICT_ALL_TABLES or STRICT_TRANS_TABLES, so that values are not cut silently.

    Source: global variables. A session may set another mode for itself.
    Remedy: add STRICT_TRANS_TABLES to ``sql_mode``.
    """
    (mode,) = _shown(_found(rows), "sql_mode")
    strict = {"STRICT_ALL_TABLES", "STRICT_TRANS_TABLES"} & set(mode.split(","))
    return ok(f"sql_mode holds {min(strict)}") if strict else fail(f"sql_mode is {mode or 'empty'}")


@check(
    "mariadb.variables.encrypts-at-rest",
    title="MariaDB encrypts new tables and its logs",
    severity="medium",
    over=("mariadb.variables",),
)
def encrypts_at_rest(
    rows: Iterator[Record],
    *,
    required: tuple[str, ...] = ("innodb_encrypt_tables", "innodb_encrypt_log", "encrypt_binlog"),
) -> Verdict:
    """Each variable of ``required`` is ON or FORCE.

    Source: global variables. Tables made before may be unencrypted (mariadb.tablespaces); encryption below the server,
    of the disk, is not seen here.
    Remedy: load a plugin for keys, set the variables, and rebuild the tables.
    """
    values = dict(zip(required, _shown(_found(rows), *required), strict=True))
    told = ", ".join(f"{name} is {value}" for name, value in values.items())
    return ok(told) if all(value in ON for value in values.values()) else fail(told)


@check(
    "mariadb.variables.old-passwords-off",
    title="MariaDB takes no passwords of the kind from before 4.1",
    severity="high",
    over=("mariadb.variables",),
)
def old_passwords_off(rows: Iterator[Record]) -> Verdict:
    """``old_passwords`` is OFF and ``secure_auth`` is ON.

    Source: global variables. Remedy: take both lines out of the configuration and have old passwords set anew.
    """
    old, secure = _shown(_found(rows), "old_passwords", "secure_auth")
    told = f"old_passwords is {old}, secure_auth is {secure}"
    return ok(told) if old not in ON and secure in ON else fail(told)


@check(
    "mariadb.variables.version-supported",
    title="The version of MariaDB is supported by its makers",
    severity="high",
    over=("mariadb.variables",),
)
def version_supported(
    rows: Iterator[Record],
    *,
    as_of: datetime,
    ends: tuple[str, ...] = ("10.6 2026-07-06", "10.11 2028-02-16", "11.4 2029-05-29", "11.8 2028-06-04"),
) -> Verdict:
    """The series is one of ``ends`` (series, last day of support), and that day has not passed.

    Source: global variable ``version``; the days are those the foundation publishes for its long-term series. A series
    older than all in the list is not supported, of another one nothing is known here. Minor releases are not judged.
    Remedy: upgrade to a supported series.
    """
    (version,) = _shown(_found(rows), "version")
    series = ".".join(version.split(".")[:2])
    known = {item.split()[0]: item.split()[1] for item in ends}
    oldest = min(known, key=_number)
    if series not in known and _number(series) > _number(oldest):
        raise Unavailable(GapKind.UNSUPPORTED, f"the list of supported series does not have {series}")
    if series not in known:
        return fail(f"series {series} is older than {oldest}, the oldest in the list")
    told = f"series {series} is supported until {known[series]}"
    return ok(told) if as_of < instant(f"{known[series]}T23:59:59Z") else fail(told)


def _number(series: str) -> tuple[int, ...]:
    return tuple(int(part) for part in series.split("."))
