"""One spelling only: strict JSON, canonical base64, RFC 3339 times in UTC; lengths of time in words."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

REFUSED = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
HEX256 = re.compile(r"[0-9a-f]{64}")


def dump(value: object) -> bytes:
    """Compact JSON of plain values; keys keep their order.

    Raises:
        ValueError: the value holds something JSON has no word for.
    """
    try:
        return orjson.dumps(value, option=REFUSED)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise ValueError(f"not plain JSON: {error}") from error


def load(data: bytes) -> dict[str, Any]:
    """A JSON object without duplicate names, nested at most 254 deep, as orjson spells; the caller bounds its size.

    Raises:
        ValueError: it is anything else.
    """
    value = orjson.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    # Our own writer's spelling comes back unchanged and so holds no duplicate; anything else is looked at name by name.
    if dump(value) != data:
        try:
            json.loads(data, object_pairs_hook=_unique)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return names


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """Bytes of standard base64 in its only canonical spelling.

    Raises:
        ValueError: another spelling; ``YR==`` and ``YQ==`` give the same byte, one of them is refused.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if b64(data) != text:
        raise ValueError("not canonical base64")
    return data


def now() -> datetime:
    """The time of this machine's clock, aware, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as ``2026-02-01T02:00:03.123Z``.

    Raises:
        ValueError: the time has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unstamp(text: object) -> datetime:
    """The aware time that :func:`stamp` wrote.

    Raises:
        ValueError: another spelling.
    """
    if not isinstance(text, str) or not text.endswith("Z"):
        raise ValueError("not a time in UTC")
    moment = datetime.fromisoformat(text[:-1] + "+00:00")
    if stamp(moment) != text:
        raise ValueError("not a time as this store writes it")
    return moment


def lasting(span: timedelta) -> str:
    """A length of time for people, in its largest unit and the next: ``2 days 3 hours``."""
    left = int(span.total_seconds())
    counts = [(left // 86400, "day"), (left // 3600 % 24, "hour"), (left // 60 % 60, "minute"), (left % 60, "second")]
    first = next((place for place, (count, _) in enumerate(counts) if count), 3)
    told = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts[first : first + 2] if count]
    return " ".join(told) or "less than a second"
