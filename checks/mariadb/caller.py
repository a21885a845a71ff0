"""Who asks MariaDB."""

from collections.abc import Iterator

from collector.api import Row, Sql, source


@source("mariadb.caller", key="Id", per="connection", permissions=())
def caller(mariadb: Sql) -> Iterator[Row]:
    """One record: the account that asks, as the server matched it, and the version of the server."""
    for row in mariadb.rows("SELECT CURRENT_USER() AS account, VERSION() AS version, @@version_comment AS comment"):
        yield {"Id": "caller", "Caller": row["account"], **row}
