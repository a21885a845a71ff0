"""Checks every body of a store, chain by chain: each is unpacked once, and memory does not grow with the bodies.

In the order of runs, a body would be needed again days later for its next version, and either all newest versions are
held or whole chains are unpacked again and again. Here a key frame is followed to all that stands on it at once.
"""

from __future__ import annotations

import os
import struct
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from evidence_store import layout, pack
from evidence_store.errors import TamperedError
from evidence_store.fs import open_file
from evidence_store.pack import Frame

NONE = -1
RECORD = struct.Struct("=IQIIq")
"""Run, offset, length, size and place of the base."""
OPEN_PACKS = 64
"""Most files open at once in each thread."""
LARGE = 1 << 20
"""A body above this that nothing stands on is hashed in pieces."""
THREADS = min(4, os.cpu_count() or 1)

Report = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Subset:
    """One of so many parts of all bodies; a check of each part on its own day reads everything."""

    part: int
    """From 1."""
    of: int

    def holds(self, sha256: str) -> bool:
        """Whether the chain that begins with this body is in this part."""
        return int(sha256[:16], 16) % self.of == self.part - 1


class Bodies:
    """All frames of all packs, taken in oldest first; about 200 bytes of memory for each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._first: dict[str, int] = {}
        self._names: list[str] = []
        self._records = bytearray()
        self._depths = bytearray()
        self._children, self._siblings = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._depths)

    def __contains__(self, sha256: object) -> bool:
        """Whether a pack so far names this digest."""
        return sha256 in self._first

    def add(self, number: int, frame: Frame) -> None:
        """Take in a frame of the pack of run ``number``.

        Raises:
            ValueError: what it stands on is in no pack up to here, or its chain is too long.
        """
        base, depth = NONE, 0
        if frame.base is not None:
            base = self._first.get(frame.base, NONE)
            if base == NONE:
                raise ValueError(f"object {frame.base} is missing")
            depth = self._depths[base] + 1
            if depth > pack.CHAIN_LIMIT:
                raise ValueError(f"object {frame.sha256} stands on more than {pack.CHAIN_LIMIT} differences")
        # The index and the list share one string for each name.
        self._names.append(frame.sha256)
        self._first.setdefault(frame.sha256, len(self._depths))
        self._records += RECORD.pack(number, frame.offset, frame.length, frame.size, base)
        self._depths.append(depth)

    def check(self, report: Report, subset: Subset | None = None) -> None:
        """Unpack and hash every body, or those of a part; what is wrong is reported with the pack it is in."""
        keys = iter(self._keys(subset))
        lock = threading.Lock()

        def noted(place: int, what: str) -> None:
            with lock:
                report(_pack_name(self._record(place)[0]), what)

        def work() -> None:
            with _Packs(self._root) as packs:
                while True:
                    with lock:
                        key = next(keys, NONE)
                    if key == NONE:
                        return
                    self._chain(key, packs, noted)

        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(work) for _ in range(THREADS)]:
                done.result()

    def _keys(self, subset: Subset | None) -> list[int]:
        """Places of the key frames to begin with; what stands on each body is listed on the way."""
        found = []
        self._children, self._siblings = array("q", [NONE]) * len(self), array("q", [NONE]) * len(self)
        for place in range(len(self)):
            base = self._record(place)[-1]
            if base != NONE:
                self._siblings[place], self._children[base] = self._children[base], place
            elif subset is None or subset.holds(self._names[place]):
                found.append(place)
        return found

    def _record(self, place: int) -> tuple[int, int, int, int, int]:
        """Run, offset, length, size and place of the base."""
        return RECORD.unpack_from(self._records, place * RECORD.size)

    def _chain(self, key: int, packs: _Packs, report: Callable[[int, str], None]) -> None:
        """A key frame and everything that stands on it."""
        waiting: list[tuple[int, bytes | None]] = [(key, None)]
        while waiting:
            place, base = waiting.pop()
            try:
                body = self._body(place, base, packs)
            except TamperedError as error:
                report(place, error.problem)
            except (ValueError, OSError) as error:
                report(place, str(error))
            else:
                waiting += [(child, body) for child in self._standing_on(place)]
                continue
            lost = [place]
            while lost:
                for child in self._standing_on(lost.pop()):
                    lost.append(child)
                    report(child, f"object {self._names[child]} stands on one that is damaged")

    def _body(self, place: int, base: bytes | None, packs: _Packs) -> bytes:
        """The body at a place, checked; nothing where it is large and nothing stands on it."""
        number, offset, length, size, on = self._record(place)
        named = None if on == NONE else self._names[on]
        frame = Frame(self._names[place], size, named, offset, length)
        data = packs.read(number, frame)
        if named is None and frame.size > LARGE and self._children[place] == NONE:
            pack.check(frame, data)
            return b""
        return pack.decode(frame, data, base)

    def _standing_on(self, place: int) -> Iterator[int]:
        child = self._children[place]
        while child != NONE:
            yield child
            child = self._siblings[child]


class _Packs:
    """Packs that were read lately, open."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[int, int] = OrderedDict()

    def __enter__(self) -> _Packs:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._open.values():
            os.close(handle)

    def read(self, number: int, frame: Frame) -> bytes:
        """The zstd data of a frame."""
        handle = self._open.get(number)
        if handle is None:
            if len(self._open) >= OPEN_PACKS:
                os.close(self._open.popitem(last=False)[1])
            with open_file(self._root, _pack_name(number)) as file:
                handle = self._open[number] = os.dup(file.fileno())
        data = os.pread(handle, frame.length, frame.offset)
        if len(data) != frame.length:
            raise ValueError(f"object {frame.sha256} is cut short")
        return data


def _pack_name(number: int) -> str:
    return f"{layout.run_name(number)}/{layout.PACK}"
