"""How far clocks were apart during a run: ours from its time server, ours from the servers that answered."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from collector.apart import offset_s

if TYPE_CHECKING:
    from collector.connect.wire import Ledger
    from evidence_store.spans import Cut

STA_NANO = 0x2000
STA_UNSYNC = 0x0040
TIME_ERROR = 5


class PeerDates:
    """Passes replies on to the record, and remembers how far the ``Date`` of each lay from the time it came."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._least: int | None = None
        self._most: int | None = None

    def add_object(self, data: bytes, *, request: Mapping[str, Any] | None = None) -> str:
        """As the record does it."""
        return self._ledger.add_object(data, request=request)

    def add_spans(self, body: bytes, cut: Cut) -> dict[str, Any]:
        """As the record does it."""
        return self._ledger.add_spans(body, cut)

    def add_reply(self, line: Mapping[str, Any]) -> int:
        """As the record does it."""
        if (off := offset_s(line)) is None:
            return self._ledger.add_reply(line)
        with self._lock:
            self._least = min(off, self._least if self._least is not None else off)
            self._most = max(off, self._most if self._most is not None else off)
        return self._ledger.add_reply(line)

    def facts(self) -> dict[str, Any]:
        """What a run's closing leaf says of clocks; seconds and milliseconds, positive when the other is ahead."""
        return {"ntpOffsetMs": ntp_offset_ms(), "peerDates": {"min": self._least, "max": self._most}}


class _Timex(ctypes.Structure):
    """``struct timex`` of Linux, on 64-bit machines."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("constant", ctypes.c_long),
        ("precision", ctypes.c_long), ("tolerance", ctypes.c_long), ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long), ("rest", ctypes.c_long * 32),
    )  # fmt: skip


def ntp_offset_ms() -> int | None:
    """How far the kernel says the clock still is from its time server; ``None`` when it is not kept in step.

    Read with ``adjtimex`` and no modes, which anybody may do and which changes nothing.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        kernel = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)
        found = _Timex()
        state = int(kernel.adjtimex(ctypes.byref(found)))
    except (OSError, AttributeError):
        return None
    if state < 0 or state == TIME_ERROR or found.status & STA_UNSYNC:
        return None
    offset: int = found.offset
    return round(offset / (1_000_000 if found.status & STA_NANO else 1_000))
