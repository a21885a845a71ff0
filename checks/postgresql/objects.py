"""Databases, schemas, tables and functions of PostgreSQL, and what everybody may do with them."""

from collections.abc import Iterator

from collector.api import Record, Row, Sql, Verdict, check, fail, ok, skip, source


@source("postgresql.databases", key="datname", per="connection", permissions=("SELECT ON pg_database",))
def databases(postgresql: Sql) -> Iterator[Row]:
    """Every database of the server, templates included, and what PUBLIC may do with it."""
    yield from postgresql.rows(
        """
        SELECT datname, pg_get_userbyid(datdba) AS owner, datistemplate, datallowconn, datconnlimit,
            has_database_privilege('public', oid, 'CONNECT') AS public_connect,
            has_database_privilege('public', oid, 'CREATE') AS public_create
        FROM pg_database ORDER BY datname
        """
    )


@source(
    "postgresql.schemas", key="nspname", per="connection", permissions=("SELECT ON pg_namespace",),
    filters="no schemas for temporary and for oversized values",
)  # fmt: skip
def schemas(postgresql: Sql) -> Iterator[Row]:
    """Every schema of the database that is read, but those for temporary and oversized values."""
    yield from postgresql.rows(
        """
        SELECT nspname, pg_get_userbyid(nspowner) AS owner,
            has_schema_privilege('public', oid, 'CREATE') AS public_create,
            has_schema_privilege('public', oid, 'USAGE') AS public_usage
        FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp_|toast_temp_)' ORDER BY nspname
        """
    )


@source(
    "postgresql.tables", key="table", per="connection", permissions=("SELECT ON pg_class", "SELECT ON pg_namespace"),
    filters="tables and views outside the schemas of PostgreSQL itself",
)
def tables(postgresql: Sql) -> Iterator[Row]:
    """Every table and view of the database that is read, outside the system's own schemas."""
    yield from postgresql.rows(
        """
        SELECT concat(quote_ident(n.nspname), '.', quote_ident(c.relname)) AS table, c.relkind,
            pg_get_userbyid(c.relowner) AS owner, c.relrowsecurity,
            has_schema_privilege('public', n.oid, 'USAGE') AS public_schema,
            has_any_column_privilege('public', c.oid, 'SELECT') AS public_read,
            has_any_column_privilege('public', c.oid, 'INSERT, UPDATE')
                OR has_table_privilege('public', c.oid, 'DELETE, TRUNCATE, TRIGGER') AS public_write
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        ORDER BY 1
        """
    )


@source(
    "postgresql.definer-functions",
    key="function",
    per="connection",
    permissions=("SELECT ON pg_proc", "SELECT ON pg_namespace", "SELECT ON pg_depend", "SELECT ON pg_extension"),
    filters="functions with the rights of their owner, outside the schemas of PostgreSQL itself",
)
def definer_functions(postgresql: Sql) -> Iterator[Row]:
    """Every function of the database read here that runs as its owner, outside the system's schemas."""
    yield from postgresql.rows(
        """
        SELECT p.oid::regprocedure::text AS function, pg_get_userbyid(p.proowner) AS owner,
            (SELECT max(substr(c, 13)) FROM unnest(p.proconfig) AS c WHERE c LIKE 'search_path=%') AS search_path,
            has_function_privilege('public', p.oid, 'EXECUTE') AS public_execute,
            (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') AS extension
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1
        """
    )


@check(
    "postgresql.databases.closed-to-public",
    title="PostgreSQL databases are open to named roles only",
    severity="low",
    each="postgresql.databases",
)
def databases_closed_to_public(
    database: Record, *, exempt: tuple[str, ...] = ("postgres",), exempt_templates: bool = True
) -> Verdict:
    """PUBLIC may neither connect to a database that takes sessions nor create schemas in it.

    Source: pg_database. The server grants CONNECT to PUBLIC when a database is made.
    Remedy: ``REVOKE CONNECT ON DATABASE ... FROM PUBLIC``, and grant it to the roles that need it.
    """
    if not database["datallowconn"]:
        return skip("takes no sessions")
    if database["datname"] in exempt or (exempt_templates and database["datistemplate"]):
        return skip("is exempt")
    held = [name for name, column in (("CONNECT", "public_connect"), ("CREATE", "public_create")) if database[column]]
    return fail(f"PUBLIC holds {', '.join(held)}") if held else ok("PUBLIC holds neither CONNECT nor CREATE")


@check(
    "postgresql.schemas.no-public-create",
    title="Not everybody may create objects in a PostgreSQL schema",
    severity="medium",
    each="postgresql.schemas",
)
def no_public_create(schema: Record) -> Verdict:
    """PUBLIC may not create objects in a schema: they could take the place of those that others call.

    Source: pg_namespace. Before PostgreSQL 15 PUBLIC held this right on the schema public from the start.
    Remedy: ``REVOKE CREATE ON SCHEMA ... FROM PUBLIC``.
    """
    return fail("PUBLIC holds CREATE") if schema["public_create"] else ok("PUBLIC does not hold CREATE")


@check(
    "postgresql.tables.closed-to-public",
    title="PostgreSQL tables are open to named roles only",
    severity="medium",
    each="postgresql.tables",
)
def tables_closed_to_public(
    table: Record,
    *,
    readable: tuple[str, ...] = ("public.pg_stat_statements", "public.pg_stat_statements_info"),
) -> Verdict:
    """PUBLIC may neither change nor read a table or view, but those in ``readable``, which it may read.

    Source: pg_class (rights on the table and on any column of it), pg_namespace (USAGE of its schema).
    Remedy: ``REVOKE ALL ON TABLE ... FROM PUBLIC``.
    """
    if not table["public_schema"]:
        return ok("PUBLIC may not use its schema")
    if table["public_write"]:
        return fail("PUBLIC may change it")
    if table["public_read"] and table["table"] not in readable:
        return fail("PUBLIC may read it")
    return ok("PUBLIC may read it, as declared" if table["public_read"] else "PUBLIC may neither change nor read it")


@check(
    "postgresql.definer-functions.path-fixed",
    title="PostgreSQL functions with the rights of their owner fix where names are looked up",
    severity="medium",
    each="postgresql.definer-functions",
)
def path_fixed(function: Record) -> Verdict:
    """A function declared SECURITY DEFINER sets its own ``search_path``: no caller can put other objects first.

    Source: pg_proc (``proconfig``). Functions that came with an extension are its makers' matter.
    Remedy: ``ALTER FUNCTION ... SET search_path = ...``.
    """
    if function["extension"]:
        return skip(f"came with the extension {function['extension']}")
    if function["search_path"] is None:
        return fail(f"runs as {function['owner']} with the search_path of its caller")
    return ok(f"runs as {function['owner']} with search_path {function['search_path'] or 'empty'}")
