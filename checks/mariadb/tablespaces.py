"""Tablespaces of a MariaDB server, and whether they are encrypted."""

from collections.abc import Iterator

from collector.api import Record, Row, Sql, Verdict, check, fail, ok, skip, source


@source(
    "mariadb.tablespaces",
    key="SPACE",
    per="connection",
    permissions=(
        "SELECT ON information_schema.INNODB_SYS_TABLESPACES",
        "SELECT ON information_schema.INNODB_TABLESPACES_ENCRYPTION",
        "PROCESS",
    ),
)
def tablespaces(mariadb: Sql) -> Iterator[Row]:
    """Every tablespace of InnoDB, with its encryption; one that the server says nothing of is not encrypted."""
    yield from mariadb.rows(
        """
        SELECT t.SPACE, t.NAME, e.ENCRYPTION_SCHEME, e.MIN_KEY_VERSION, e.CURRENT_KEY_VERSION, e.CURRENT_KEY_ID
        FROM information_schema.INNODB_SYS_TABLESPACES t
            LEFT JOIN information_schema.INNODB_TABLESPACES_ENCRYPTION e ON e.SPACE = t.SPACE
        ORDER BY t.SPACE
        """
    )


@check(
    "mariadb.tablespaces.encrypted",
    title="MariaDB tables are encrypted",
    severity="medium",
    each="mariadb.tablespaces",
)
def encrypted(space: Record, *, exempt: tuple[str, ...] = ("innodb_temporary",)) -> Verdict:
    """A tablespace has an encryption scheme, and no page of it is under key version 0, which is none.

    Source: information_schema.INNODB_TABLESPACES_ENCRYPTION. Encryption below the server, of the disk, is not seen.
    Remedy: ``ALTER TABLE ... ENCRYPTED=YES``, or ``innodb_encrypt_tables`` with encryption threads.
    """
    if space["NAME"] in exempt:
        return skip("is exempt")
    if not space["ENCRYPTION_SCHEME"]:
        return fail(f"{space['NAME']} is not encrypted")
    if not space["MIN_KEY_VERSION"]:
        return fail(f"{space['NAME']} has pages that are not encrypted yet")
    return ok(f"{space['NAME']} is encrypted, with key {space['CURRENT_KEY_ID']}")
