"""PostgreSQL through pg8000: a session for each statement, in a read-only transaction that is never committed."""

from __future__ import annotations

import json
import math
import re
import struct
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import scramp
from pg8000.converters import int_array_in, string_array_in
from pg8000.core import CoreConnection
from pg8000.exceptions import DatabaseError, InterfaceError

from collector.address import Address
from collector.connect.base import Limits
from collector.connect.sql import OversizedError, broken, failed, filled, refused, result
from collector.connect.wire import Answer
from collector.model import GapKind
from collector.secrets import Secret


def _float(text: str) -> float | str:
    """A number, as JSON has it; ``NaN`` and ``Infinity`` stay text."""
    return float(text) if math.isfinite(float(text)) else text


def _moment(text: str) -> str:
    """A moment in UTC as RFC 3339; ``infinity`` and years that it does not know stay as they are."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00", text)
    return f"{found[1]}T{found[2]}Z" if found else text


TYPES: dict[int, tuple[str, Any]] = {
    16: ("bool", lambda text: text == "t"),
    20: ("int8", int), 21: ("int2", int), 23: ("int4", int), 26: ("oid", int), 28: ("xid", int),
    700: ("float4", _float), 701: ("float8", _float), 1700: ("numeric", str),
    18: ("char", str), 19: ("name", str), 25: ("text", str), 1042: ("bpchar", str), 1043: ("varchar", str),
    114: ("json", json.loads), 3802: ("jsonb", json.loads), 869: ("inet", str), 650: ("cidr", str), 2950: ("uuid", str),
    1082: ("date", str), 1114: ("timestamp", str), 1184: ("timestamptz", _moment), 1186: ("interval", str),
    1003: ("name[]", string_array_in), 1009: ("text[]", string_array_in), 1015: ("varchar[]", string_array_in),
    1034: ("aclitem[]", string_array_in), 1007: ("int4[]", int_array_in), 1028: ("oid[]", int_array_in),
}  # fmt: skip
"""Name and reader of a type by its oid; others keep the text of the server."""

SETTINGS = {
    "client_encoding": "UTF8", "DateStyle": "ISO", "TimeZone": "UTC",
    "search_path": "pg_catalog", "default_transaction_read_only": "on", "extra_float_digits": "3",
}  # fmt: skip
"""With which a session begins; names without a schema are those of the system, whatever others have made."""


class _Session(CoreConnection):  # type: ignore[misc]
    """A session that gives up at a size and at a moment, and keeps the server's word for what it did."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        self._deadline = time.monotonic() + limits.timeout_s
        self._left = limits.max_reply_bytes
        self.command = ""
        super().__init__(timeout=limits.timeout_s, **options)
        self.pg_types = defaultdict(lambda: str, {oid: read for oid, (_, read) in TYPES.items()})

    def handle_DATA_ROW(self, data: bytes, context: Any) -> None:  # noqa: N802
        self._left -= len(data)
        if self._left < 0:
            raise OversizedError
        if time.monotonic() > self._deadline:
            raise TimeoutError
        super().handle_DATA_ROW(data, context)

    def handle_COMMAND_COMPLETE(self, data: bytes, context: Any) -> None:  # noqa: N802
        self.command = data.rstrip(b"\0").decode("ascii", "replace")
        super().handle_COMMAND_COMPLETE(data, context)

    def close(self) -> None:
        """Say goodbye, if anybody still listens."""
        with suppress(InterfaceError, OSError):
            super().close()


class PostgreSql:
    """One database of a PostgreSQL server, and the role that asks."""

    def __init__(
        self, address: Address, database: str, user: str, password: Secret, *, name: str, tls: Any = None
    ) -> None:
        self.name = name
        self.endpoint = f"{address}/{database}"
        self._password = password
        self._options = {
            "host": address.host, "port": address.port, "database": database, "user": user,
            "ssl_context": tls or False, "application_name": "affidavit",
        }  # fmt: skip

    def ask(self, sql: str, params: Mapping[str, Any], limits: Limits) -> Answer:
        """The result of one statement, or the error that the server or the network told."""
        names: list[str] = []

        def mark(name: str) -> str:
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}"

        text = filled(sql, params, mark)
        wait_ms = str(max(1, round(limits.timeout_s * 1000)))
        own = {**SETTINGS, "statement_timeout": wait_ms, "lock_timeout": wait_ms}
        session: _Session | None = None
        try:
            session = _Session(limits, password=self._password.reveal(), startup_params=own, **self._options)
            session.execute_simple("BEGIN TRANSACTION READ ONLY")
            # The extended protocol takes one statement only, whatever the text holds.
            context = session.execute_unnamed(text, tuple(params[name] for name in names))
        except DatabaseError as error:
            told = error.args[0]
            return refused(str(told.get("C", "")), str(told.get("M", "")))
        except scramp.ScramException:
            return failed(GapKind.UNAUTHENTICATED, "the server did not accept the password, or could not prove itself")
        except InterfaceError as error:
            if "refuses SSL" in str(error):
                return failed(GapKind.REJECTED, "the server does not offer TLS")
            if str(error).startswith(("Authentication method", "server requesting")):
                return failed(GapKind.UNAUTHENTICATED, "the server asks for a kind of login that is not supported")
            return broken((error.__cause__, error.__context__), limits.timeout_s)
        except OversizedError:
            return failed(GapKind.OVERSIZED, f"the result is larger than {limits.max_reply_bytes} bytes")
        except OSError as error:
            return broken((error,), limits.timeout_s)
        except (KeyError, ValueError, IndexError, struct.error):
            return failed(GapKind.MALFORMED, "the server does not speak the protocol of PostgreSQL")
        finally:
            if session is not None:
                session.close()
        columns = [(column["name"], _type(column["type_oid"])) for column in context.columns or ()]
        return result(columns, context.rows or [], session.command)


def _type(oid: int) -> str:
    return TYPES[oid][0] if oid in TYPES else f"oid {oid}"
