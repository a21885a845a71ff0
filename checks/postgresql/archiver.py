"""Archiving of the write-ahead log of a PostgreSQL server: what a backup to a point in time rests on."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Record, Row, Sql, Verdict, check, fail, instant, ok, skip, source


@source("postgresql.archiver", key="id", per="connection", permissions=("SELECT ON pg_stat_archiver",))
def archiver(postgresql: Sql) -> Iterator[Row]:
    """One record: what the archiver of the server did, since the statistics were last reset."""
    yield from postgresql.rows(
        """
        SELECT 'archiver' AS id, current_setting('archive_mode') AS archive_mode, pg_is_in_recovery() AS in_recovery,
            archived_count, last_archived_time, failed_count, last_failed_time, stats_reset
        FROM pg_stat_archiver
        """
    )


@check(
    "postgresql.archiver.works",
    title="PostgreSQL archives its write-ahead log",
    severity="high",
    each="postgresql.archiver",
)
def works(row: Record, *, as_of: datetime, max_age_h: int = 24) -> Verdict:
    """Archiving is on, the last success is later than the last failure and at most ``max_age_h`` hours old.

    Source: pg_stat_archiver. A backup by replication or by snapshots is not seen here; an idle server without
    ``archive_timeout`` archives rarely. A standby archives only in the mode always.
    Remedy: see the server's log for what ``archive_command`` says; set ``archive_mode = on``.
    """
    if row["archive_mode"] == "off":
        return fail("archive_mode is off")
    if row["in_recovery"] and row["archive_mode"] != "always":
        return skip("a standby, which archives in the mode always only")
    last, failure = row["last_archived_time"], row["last_failed_time"]
    if last is None:
        return fail("nothing was archived since the statistics were reset")
    if failure is not None and instant(failure) >= instant(last):
        return fail(f"the last attempt failed at {failure}; the last success was at {last}")
    age_h = int((as_of - instant(last)).total_seconds() // 3600)
    told = f"last archived {max(0, age_h)} hours ago, limit {max_age_h}"
    return ok(told) if as_of.timestamp() - instant(last).timestamp() <= max_age_h * 3600 else fail(told)
