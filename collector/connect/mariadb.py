"""MariaDB through PyMySQL: a session for each statement, in a read-only transaction that is never committed."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions
from pymysql.cursors import SSCursor

from collector.address import Address
from collector.connect.base import Limits
from collector.connect.sql import OversizedError, broken, failed, filled, refused, result
from collector.connect.wire import Answer
from collector.model import GapKind
from collector.secrets import Secret

WHOLE = {
    FIELD_TYPE.TINY: "tinyint", FIELD_TYPE.SHORT: "smallint", FIELD_TYPE.INT24: "mediumint", FIELD_TYPE.LONG: "int",
    FIELD_TYPE.LONGLONG: "bigint", FIELD_TYPE.YEAR: "year",
}  # fmt: skip
NAMES = {
    **WHOLE, FIELD_TYPE.FLOAT: "float", FIELD_TYPE.DOUBLE: "double", FIELD_TYPE.DECIMAL: "decimal",
    FIELD_TYPE.NEWDECIMAL: "decimal", FIELD_TYPE.TIMESTAMP: "timestamp", FIELD_TYPE.DATETIME: "datetime",
    FIELD_TYPE.DATE: "date", FIELD_TYPE.TIME: "time", FIELD_TYPE.STRING: "char", FIELD_TYPE.VAR_STRING: "varchar",
    FIELD_TYPE.BLOB: "text", FIELD_TYPE.MEDIUM_BLOB: "text", FIELD_TYPE.LONG_BLOB: "text", FIELD_TYPE.TINY_BLOB: "text",
    FIELD_TYPE.NULL: "null", FIELD_TYPE.BIT: "bit",
}  # fmt: skip
"""Names of types by their number in the protocol."""
ENCODERS = {kind: write for kind, write in conversions.items() if not isinstance(kind, int)}
"""Values come as the text of the server; what is filled in is quoted as usual."""


class MariaDb:
    """One MariaDB server, and the account that asks."""

    def __init__(self, address: Address, user: str, password: Secret, *, name: str, tls: Any = None) -> None:
        self.name = name
        self.endpoint = str(address)
        self._password = password
        self._options = {
            "host": address.host, "port": address.port, "user": user, "charset": "utf8mb4", "conv": ENCODERS,
            "program_name": "affidavit", **({"ssl": tls} if tls else {"ssl_disabled": True}),
        }  # fmt: skip

    def ask(self, sql: str, params: Mapping[str, Any], limits: Limits) -> Answer:
        """The result of one statement, or the error that the server or the network told."""
        text = filled(sql.replace("%", "%%"), params, lambda name: f"%({name})s")
        wait = limits.timeout_s
        session: Any = None
        try:
            session = pymysql.connect(
                password=self._password.reveal().encode(), connect_timeout=max(1, round(wait)), read_timeout=wait,
                write_timeout=wait, **self._options,
            )  # fmt: skip
            with session.cursor() as cursor:
                cursor.execute("SET SESSION time_zone = '+00:00', SESSION max_statement_time = %s", (wait,))
                cursor.execute("START TRANSACTION READ ONLY")
            with session.cursor(SSCursor) as cursor:
                cursor.execute(text, {**params})
                columns = [(name, NAMES.get(kind, f"type {kind}")) for name, kind, *_ in cursor.description or ()]
                return result(columns, _read(cursor, limits), None)
        except pymysql.MySQLError as error:
            return _failure(error, wait)
        except OversizedError:
            return failed(GapKind.OVERSIZED, f"the result is larger than {limits.max_reply_bytes} bytes")
        except OSError as error:
            return broken((error,), wait)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, struct.error):
            return failed(GapKind.MALFORMED, "the server does not speak the protocol of MariaDB")
        finally:
            if session is not None:
                with suppress(pymysql.MySQLError, OSError):
                    session.close()


def _read(cursor: SSCursor, limits: Limits) -> list[list[Any]]:
    """The rows, one by one, within the limits of size and time."""
    kinds = [column[1] for column in cursor.description or ()]
    deadline, left, rows = time.monotonic() + limits.timeout_s, limits.max_reply_bytes, []
    while (row := cursor.fetchone()) is not None:
        left -= sum(len(value) for value in row if value is not None)
        if left < 0:
            raise OversizedError
        if time.monotonic() > deadline:
            raise TimeoutError
        rows.append([_value(kind, value) for kind, value in zip(kinds, row, strict=True)])
    return rows


def _value(kind: int, value: Any) -> Any:
    if value is None:
        return None
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if kind in WHOLE:
        return int(text)
    if kind in (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE):
        return float(text)
    return f"{text.replace(' ', 'T')}Z" if kind == FIELD_TYPE.TIMESTAMP and text[:4] != "0000" else text


def _failure(error: pymysql.MySQLError, timeout_s: float) -> Answer:
    """The numbers from 2000 to 2999 are those of the client, which tell of the network; the others are the server's."""
    code, message = (*error.args, "", "")[:2]
    if isinstance(code, int) and (1000 <= code < 2000 or code >= 3000):
        return refused(str(code), str(message))
    if code == 2026:
        return failed(GapKind.REJECTED, "the server does not offer TLS")
    if code in (2059, 2061):
        return failed(GapKind.UNAUTHENTICATED, "the server asks for a kind of login that is not supported")
    return broken((getattr(error, "original_exception", None), error.__cause__, error.__context__), timeout_s)
