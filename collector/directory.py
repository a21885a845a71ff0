"""How directories spell times, security identifiers and filters, read from the text alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NEVER = 0x7FFF_FFFF_FFFF_FFFF
"""A time of Active Directory that does not come."""

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


def filetime(text: str) -> datetime | None:
    """The time in a count of 100 ns since 1601, as Active Directory writes it; ``None`` where it is 0 or never.

    Raises:
        ValueError: it is no count.
    """
    count = int(text)
    if count < 0:
        raise ValueError(f"not a time of Active Directory: {text!r}")
    return None if count in (0, NEVER) else _EPOCH + timedelta(microseconds=count // 10)


def interval(text: str) -> timedelta | None:
    """The span in a negative count of 100 ns; ``None`` where it is 0, or the lowest number there is: no limit.

    Raises:
        ValueError: it is no span.
    """
    count = int(text)
    if count > 0:
        raise ValueError(f"not a span of Active Directory: {text!r}")
    return None if count in (0, -NEVER - 1) else timedelta(microseconds=-count // 10)


def generalized(text: str) -> datetime:
    """The time in ``20260131235959Z`` or ``20260131235959.123Z`` (RFC 4517, with seconds and in UTC).

    Raises:
        ValueError: it is not spelt so.
    """
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or len(whole) != 14 or (fraction and not fraction.isdigit()):
        raise ValueError(f"not a generalised time in UTC: {text!r}")
    found = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return found + timedelta(microseconds=int(fraction[:6].ljust(6, "0"))) if fraction else found


def sid(raw: bytes) -> str:
    """``S-1-5-21-...`` of a security identifier in its binary form (MS-DTYP 2.4.2.2).

    Raises:
        ValueError: it is none.
    """
    if len(raw) < 8 or raw[0] != 1 or len(raw) != 8 + 4 * raw[1]:
        raise ValueError("not a security identifier")
    parts = [int.from_bytes(raw[at : at + 4], "little") for at in range(8, len(raw), 4)]
    return "-".join(["S-1", str(int.from_bytes(raw[2:8], "big")), *map(str, parts)])


def escaped(value: str) -> str:
    """The value as it stands in a filter (RFC 4515)."""
    return "".join(f"\\{ord(char):02x}" if char in "\\*()\x00" else char for char in value)
