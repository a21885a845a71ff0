"""Finds bodies in the packs of sealed runs; what it finds is believed only after its digest was checked."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from evidence_store import layout, pack
from evidence_store.errors import TamperedError
from evidence_store.fs import open_file
from evidence_store.pack import Frame
from evidence_store.spelling import HEX256

HELD_BYTES = 64 << 20
"""Most memory spent on bodies that may be needed again; the oldest go first."""
PLACE = struct.Struct(">IQII")
"""Run, offset, length and size; the base's digest follows when there is one."""


class Objects:
    """An index over packs, made from their headers; it is derived and holds no authority.

    A place is packed into bytes: a hundred thousand bodies take 30 MB.
    """

    def __init__(self, root: Path, numbers: Iterable[int] = ()) -> None:
        self._root = root
        self._unread = sorted(numbers)
        self._places: dict[bytes, bytes] = {}
        self._held: dict[str, bytes] = {}
        self._held_bytes = 0
        self._lock = threading.RLock()

    def learn(self, number: int) -> None:
        """Take in a run that was just sealed."""
        with self._lock:
            self._unread.append(number)

    def add(self, number: int, frame: Frame) -> bool:
        """Take in one frame of a run's pack; whether it is the first of its digest."""
        base = b"" if frame.base is None else bytes.fromhex(frame.base)
        place = PLACE.pack(number, frame.offset, frame.length, frame.size) + base
        return self._places.setdefault(bytes.fromhex(frame.sha256), place) is place

    def body(self, sha256: str) -> bytes:
        """The body of this digest.

        Raises:
            TamperedError: no pack holds it, or what it holds has another digest.
        """
        with self._lock:
            self._read_headers()
            place = self._places.get(bytes.fromhex(sha256))
            name = layout.RUNS if place is None else _pack_name(PLACE.unpack_from(place)[0])
            try:
                body = pack.fetch(sha256, self._frame, self._data, self._held)
            except (ValueError, OSError) as error:
                raise TamperedError(name, str(error)) from error
            self.hold(sha256, body)
            return body

    def hold(self, sha256: str, body: bytes) -> None:
        """Remember a body that was checked: the next version of it is likely a difference to it."""
        with self._lock:
            if sha256 not in self._held and len(body) <= HELD_BYTES:
                self._held[sha256] = body
                self._held_bytes += len(body)
            while self._held_bytes > HELD_BYTES:
                self._held_bytes -= len(self._held.pop(next(iter(self._held))))

    def has(self, sha256: str) -> bool:
        """Whether a pack names this digest."""
        with self._lock:
            self._read_headers()
            return HEX256.fullmatch(sha256) is not None and bytes.fromhex(sha256) in self._places

    def depth(self, sha256: str) -> int:
        """How many differences stand between this body and its key frame."""
        depth = 0
        while (frame := self._frame(sha256)) is not None and frame.base is not None and depth <= pack.CHAIN_LIMIT:
            sha256, depth = frame.base, depth + 1
        return depth

    def _frame(self, sha256: str) -> Frame | None:
        if (place := self._places.get(bytes.fromhex(sha256))) is None:
            return None
        _, offset, length, size = PLACE.unpack_from(place)
        return Frame(sha256, size, place[PLACE.size :].hex() or None, offset, length)

    def _data(self, frame: Frame) -> bytes:
        number = PLACE.unpack_from(self._places[bytes.fromhex(frame.sha256)])[0]
        with open_file(self._root, _pack_name(number)) as file:
            return pack.read_data(file, frame)

    def _read_headers(self) -> None:
        while self._unread:
            number = self._unread.pop(0)
            # A damaged pack yields the frames before the damage; a body behind it is missing when asked for.
            with suppress(TamperedError, ValueError), open_file(self._root, _pack_name(number)) as file:
                for frame in pack.scan(file, os.fstat(file.fileno()).st_size):
                    self.add(number, frame)


def _pack_name(number: int) -> str:
    return f"{layout.run_name(number)}/{layout.PACK}"
