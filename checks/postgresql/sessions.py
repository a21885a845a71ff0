"""Sessions at a PostgreSQL server, as they are at the moment of asking."""

from collections.abc import Iterator

from collector.api import GapKind, Record, Refused, Row, Sql, Verdict, check, fail, ok, skip, source


@source(
    "postgresql.sessions",
    key="pid",
    per="connection",
    permissions=("SELECT ON pg_stat_ssl", "SELECT ON pg_stat_activity", "pg_read_all_stats"),
    filters="connections of clients and standbys, no processes of the server itself",
)
def sessions(postgresql: Sql) -> Iterator[Row]:
    """Every session of a client or a standby at that moment, our own included, and whether it is remote.

    Without pg_read_all_stats the server leaves the facts of others' sessions empty, or leaves them out of pg_stat_ssl,
    which must not read as "not remote" or "not there".
    """
    for row in postgresql.rows(
        """
        SELECT a.pid, a.usename, a.datname, a.backend_type, s.ssl, s.version, s.cipher,
            pg_has_role('pg_read_all_stats', 'USAGE') OR pg_has_role(a.usesysid, 'USAGE') AS shown,
            coalesce(NOT (a.client_addr <<= '127.0.0.0/8' OR a.client_addr = '::1'), false) AS remote
        FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s ON s.pid = a.pid
        WHERE a.usesysid IS NOT NULL AND coalesce(a.backend_type, 'walsender') IN ('client backend', 'walsender')
        ORDER BY a.pid
        """
    ):
        if not row["shown"]:
            why = "the server shows the sessions of other roles to members of pg_read_all_stats only"
            row["remote"] = row["ssl"] = Refused(GapKind.DENIED, why, "postgresql:SELECT pg_stat_activity pg_stat_ssl")
        yield row


@check(
    "postgresql.sessions.encrypted",
    title="Remote sessions at PostgreSQL are encrypted",
    severity="high",
    each="postgresql.sessions",
)
def encrypted(session: Record) -> Verdict:
    """A session from another machine uses TLS. It shows what clients do, where the rules show what they may do.

    Source: pg_stat_ssl, pg_stat_activity, at one moment. Encryption by GSSAPI is not seen here.
    Remedy: ``sslmode=verify-full`` at the client, ``hostssl`` in pg_hba.conf.
    """
    if not session["remote"]:
        return skip("the session is local")
    if session["ssl"]:
        return ok(f"{session['usename']} uses {session['version']} with {session['cipher']}")
    return fail(f"{session['usename']} is connected without TLS")
