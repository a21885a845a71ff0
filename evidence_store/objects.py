"""Finds bodies in the packs of sealed runs; what it finds is believed only after its digest was checked."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from evidence_store import layout, pack
from evidence_store.errors import TamperedError
from evidence_store.fs import open_file
from evidence_store.pack import Frame

HELD_BYTES = 64 << 20
"""Most memory spent on bodies that may be needed again; the oldest go first."""


class Objects:
    """An index over packs, made from their headers; it is derived and holds no authority."""

    def __init__(self, root: Path, numbers: Iterable[int]) -> None:
        self._root = root
        self._unread = sorted(numbers)
        self._places: dict[str, tuple[str, Frame]] = {}
        self._held: dict[str, bytes] = {}
        self._held_bytes = 0
        self._lock = threading.RLock()

    def learn(self, number: int) -> None:
        """Take in a run that was just sealed."""
        with self._lock:
            self._unread.append(number)

    def body(self, sha256: str) -> bytes:
        """The body of this digest.

        Raises:
            TamperedError: no pack holds it, or what it holds has another digest.
        """
        with self._lock:
            self._read_headers()
            name = self._places[sha256][0] if sha256 in self._places else layout.RUNS
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
            return sha256 in self._places

    def depth(self, sha256: str) -> int:
        """How many differences stand between this body and its key frame."""
        depth = 0
        while (frame := self._frame(sha256)) is not None and frame.base is not None and depth <= pack.CHAIN_LIMIT:
            sha256, depth = frame.base, depth + 1
        return depth

    def _frame(self, sha256: str) -> Frame | None:
        place = self._places.get(sha256)
        return None if place is None else place[1]

    def _data(self, frame: Frame) -> bytes:
        with open_file(self._root, self._places[frame.sha256][0]) as file:
            return pack.read_data(file, frame)

    def _read_headers(self) -> None:
        while self._unread:
            name = f"{layout.run_name(self._unread.pop(0))}/{layout.PACK}"
            # A damaged pack yields the frames before the damage; a body behind it is missing when asked for.
            with suppress(TamperedError, ValueError), open_file(self._root, name) as file:
                for frame in pack.scan(file, os.fstat(file.fileno()).st_size):
                    self._places.setdefault(frame.sha256, (name, frame))
