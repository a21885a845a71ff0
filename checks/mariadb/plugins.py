"""Plugins of a MariaDB server: audit, rules for passwords, and how mature the rest is."""

from collections.abc import Iterator

from collector.api import GapKind, Record, Row, Sql, Unavailable, Verdict, check, fail, ok, skip, source


@source("mariadb.plugins", key="plugin", per="connection", permissions=("SELECT ON information_schema.PLUGINS",))
def plugins(mariadb: Sql) -> Iterator[Row]:
    """Every plugin that is built in or loaded, active or not."""
    yield from mariadb.rows(
        """
        SELECT CONCAT(PLUGIN_TYPE, '/', PLUGIN_NAME) AS plugin, PLUGIN_NAME, PLUGIN_TYPE, PLUGIN_STATUS, PLUGIN_VERSION,
            PLUGIN_LIBRARY, PLUGIN_MATURITY, LOAD_OPTION
        FROM information_schema.PLUGINS
        """
    )


def _active(plugins: Iterator[Record]) -> set[str]:
    return {row["PLUGIN_NAME"].lower() for row in plugins if row["PLUGIN_STATUS"] == "ACTIVE"}


@check(
    "mariadb.plugins.audit-active",
    title="MariaDB audits sessions and changes of structure",
    severity="medium",
    over=("mariadb.plugins", "mariadb.variables"),
)
def audit_active(plugins: Iterator[Record], variables: Iterator[Record]) -> Verdict:
    """The plugin server_audit is active, logs, and its events hold sessions and statements of structure and rights.

    Source: information_schema.PLUGINS, global variables ``server_audit_logging``, ``server_audit_events`` (empty means
    all). It leaves nobody out (``server_audit_incl_users``, ``server_audit_excl_users``).
    Remedy: ``INSTALL SONAME 'server_audit'``, ``SET GLOBAL server_audit_logging = ON``.
    """
    found = {row["VARIABLE_NAME"].lower(): row["VARIABLE_VALUE"] or "" for row in variables}
    if "server_audit" not in _active(plugins):
        return fail("the plugin server_audit is not active")
    if found["server_audit_logging"] != "ON":
        return fail(f"server_audit_logging is {found['server_audit_logging']}")
    events = {word.strip().upper() for word in found["server_audit_events"].split(",")} - {""}
    whole = not events or "QUERY" in events or {"QUERY_DDL", "QUERY_DCL"} <= events
    told = f"server_audit_events is {', '.join(sorted(events)) or 'empty, which is all'}"
    if only := found["server_audit_incl_users"]:
        return fail(f"{told}, and only of {only}")
    if excluded := found["server_audit_excl_users"]:
        return fail(f"{told}, and left out are {excluded}")
    return ok(told) if whole and (not events or "CONNECT" in events) else fail(told)


@check(
    "mariadb.plugins.passwords-checked",
    title="MariaDB holds new passwords to a rule",
    severity="medium",
    over=("mariadb.plugins", "mariadb.variables"),
)
def passwords_checked(plugins: Iterator[Record], variables: Iterator[Record], *, min_length: int = 12) -> Verdict:
    """A plugin that checks new passwords is active; where it is simple_password_check, it asks for ``min_length``.

    Source: information_schema.PLUGINS, global variable ``simple_password_check_minimal_length``.
    Remedy: ``INSTALL SONAME 'simple_password_check'``, or cracklib_password_check.
    """
    found = {row["VARIABLE_NAME"].lower(): row["VARIABLE_VALUE"] for row in variables}
    active = _active(plugins) & {"simple_password_check", "cracklib_password_check"}
    if not active:
        return fail("no plugin that checks new passwords is active")
    if "simple_password_check" not in active:
        return ok("cracklib_password_check is active")
    if "simple_password_check_minimal_length" not in found:
        raise Unavailable(GapKind.UNSUPPORTED, "the server has no variable simple_password_check_minimal_length")
    length = int(found["simple_password_check_minimal_length"])
    told = f"simple_password_check asks for {length} characters, limit {min_length}"
    return ok(told) if length >= min_length else fail(told)


@check(
    "mariadb.plugins.mature",
    title="MariaDB runs mature plugins only",
    severity="low",
    each="mariadb.plugins",
)
def mature(plugin: Record, *, accepted: tuple[str, ...] = ("Stable",)) -> Verdict:
    """The maturity of a plugin that was loaded from a file and is active is one of ``accepted``.

    Source: information_schema.PLUGINS (``PLUGIN_MATURITY``). What is built in came with the server.
    Remedy: ``UNINSTALL PLUGIN ...``; ``plugin_maturity = stable`` refuses others.
    """
    if plugin["PLUGIN_STATUS"] != "ACTIVE" or plugin["PLUGIN_LIBRARY"] is None:
        return skip("is built in, or not active")
    told = f"{plugin['PLUGIN_LIBRARY']} has the maturity {plugin['PLUGIN_MATURITY']}"
    return ok(told) if plugin["PLUGIN_MATURITY"] in accepted else fail(told)
