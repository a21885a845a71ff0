"""Extensions in a PostgreSQL database."""

from collections.abc import Iterator

from collector.api import Record, Row, Sql, Verdict, check, fail, ok, source


@source(
    "postgresql.extensions",
    key="extname",
    per="connection",
    permissions=("SELECT ON pg_extension", "SELECT ON pg_namespace", "SELECT ON pg_available_extensions"),
)
def extensions(postgresql: Sql) -> Iterator[Row]:
    """Every extension of the database that is read, and the version that is installed on the machine."""
    yield from postgresql.rows(
        """
        SELECT e.extname, e.extversion, n.nspname AS schema, a.default_version
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
            LEFT JOIN pg_available_extensions a ON a.name = e.extname
        ORDER BY e.extname
        """
    )


@check(
    "postgresql.extensions.current",
    title="PostgreSQL extensions are at the version that is installed",
    severity="low",
    each="postgresql.extensions",
)
def current(extension: Record) -> Verdict:
    """The version in the database is the one the machine has: an update was taken up, not only installed.

    Source: pg_extension, pg_available_extensions. Remedy: ``ALTER EXTENSION ... UPDATE``.
    """
    told = f"version {extension['extversion']}, on the machine {extension['default_version'] or 'none'}"
    return ok(told) if extension["extversion"] == extension["default_version"] else fail(told)


@check(
    "postgresql.extensions.none-reaches-out",
    title="No PostgreSQL extension reaches the machine or the network undeclared",
    severity="medium",
    each="postgresql.extensions",
)
def none_reaches_out(
    extension: Record,
    *,
    reaching: tuple[str, ...] = (
        "adminpack", "dblink", "file_fdw", "http", "plperlu", "plpython3u", "plpythonu", "plsh", "pltclu",
        "postgres_fdw",
    ),
    declared: tuple[str, ...] = (),
) -> Verdict:  # fmt: skip
    """An extension of ``reaching``, with which files, programs or other servers can be reached, is in ``declared``.

    Source: pg_extension. Remedy: ``DROP EXTENSION ...``, or declare it.
    """
    name = extension["extname"]
    if name not in reaching:
        return ok(f"{name} is not among those that reach out")
    return ok(f"{name} reaches out, declared") if name in declared else fail(f"{name} reaches out and is not declared")
