"""``index.sqlite``: which body each request gave last. Derived from the manifests, without authority.

It only chooses what a new body is kept as a difference to, and that body is believed after its digest was checked. It
can be deleted at any time and is made anew; when it cannot be written, bodies are merely kept whole.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import orjson

from evidence_store.errors import TamperedError
from evidence_store.layout import INDEX
from evidence_store.spelling import HEX256

SCHEMA = 1
NAMES = ("task", "op", "params", "region", "page")
"""What makes two requests the same on different days; page tokens change from day to day, page numbers do not."""
TABLES = """
CREATE TABLE latest (request BLOB PRIMARY KEY, sha256 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE known (origin TEXT NOT NULL, runs INTEGER NOT NULL);
"""

Replies = Callable[[int], Iterable[Mapping[str, Any]]]
"""Gives the reply lines of a sealed run."""
Lists = Callable[[int], Mapping[str, str]]
"""Gives what the closing leaf of a sealed run says of its unordered lists: digest by :func:`list_key`, both in hex."""


def request_key(line: Mapping[str, Any]) -> bytes:
    """What is the same for the same request on another day."""
    asked = orjson.dumps([line.get(name) for name in NAMES], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(asked).digest()[:16]


def list_key(line: Mapping[str, Any]) -> bytes:
    """What is the same for all pages of a list, on every day."""
    return request_key({**line, "page": "all"})


class Index:
    """The last body of each request, up to the newest sealed run."""

    def __init__(self, root: Path, origin: str) -> None:
        self._path = root / INDEX
        self._origin = origin
        self._fresh: dict[bytes, bytes] = {}
        self._database: sqlite3.Connection | None = None

    def open(self, runs: Iterable[int], replies: Replies, lists: Lists = lambda number: {}) -> None:
        """Take in what was sealed since it was last written; a file that is damaged or of another store is replaced."""
        numbers = sorted(runs)
        for attempt in (1, 2):
            try:
                self._database = self._opened()
                self._catch_up(numbers, replies, lists)
                return
            except (sqlite3.Error, OSError):
                self.close()
                if attempt == 1:
                    self._remove()

    def earlier(self, line: Mapping[str, Any]) -> str | None:
        """Digest of the body this request gave last, in this run or an earlier one; for a page of an unordered list,
        that of the last run's list."""
        try:
            key = list_key(line) if line.get("unordered") else request_key(line)
        except TypeError:
            return None
        return self.last(key)

    def last(self, key: bytes) -> str | None:
        """Digest of what was last noted under a key."""
        if (found := self._fresh.get(key)) is None and self._database is not None:
            try:
                row = self._database.execute("SELECT sha256 FROM latest WHERE request = ?", (key,)).fetchone()
            except sqlite3.Error:
                return None
            found = row[0] if row else None
        return found.hex() if isinstance(found, bytes) else None

    def note(self, line: Mapping[str, Any]) -> None:
        """Remember what a request gave; refusals and errors are not worth a difference."""
        sha256, status = line.get("sha256"), line.get("status")
        if isinstance(sha256, str) and HEX256.fullmatch(sha256) and not (isinstance(status, int) and status >= 300):
            self._fresh[request_key(line)] = bytes.fromhex(sha256)

    def note_list(self, key: bytes, sha256: str) -> None:
        """Remember the records of an unordered list."""
        self._fresh[key] = bytes.fromhex(sha256)

    def save(self, run: int) -> None:
        """Write down what was noted; the index knows everything up to this run."""
        if self._database is not None:
            try:
                with self._database:
                    self._database.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?)", self._fresh.items())
                    self._database.execute("UPDATE known SET runs = ?", (run,))
            except sqlite3.Error:
                self.close()
        self._fresh.clear()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
        try:
            # Nothing here outlives a power cut on purpose: it can be made anew, and no other file appears beside it.
            database.execute("PRAGMA journal_mode = MEMORY")
            database.execute("PRAGMA synchronous = OFF")
            if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                database.executescript(TABLES)
                with database:
                    database.execute("INSERT INTO known VALUES (?, 0)", (self._origin,))
                    database.execute(f"PRAGMA user_version = {SCHEMA}")
            known = database.execute("SELECT origin FROM known").fetchone()
            if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA or known != (self._origin,):
                raise sqlite3.DatabaseError("is the index of something else")
        except BaseException:  # also when interrupted: closed whatever happened; raised on
            database.close()
            raise
        return database

    def _catch_up(self, numbers: list[int], replies: Replies, lists: Lists) -> None:
        assert self._database is not None
        known = self._database.execute("SELECT runs FROM known").fetchone()[0]
        if not isinstance(known, int) or known > max(numbers, default=0):
            raise sqlite3.DatabaseError("knows runs the log does not")
        for number in numbers:
            if number <= known:
                continue
            try:
                for line in replies(number):
                    self.note(line)
                for key, sha256 in lists(number).items():
                    self.note_list(bytes.fromhex(key), sha256)
            except (TamperedError, ValueError):
                # Found and reported by verify; here it costs a difference.
                self._fresh.clear()
            self.save(number)
            if self._database is None:
                return

    def _remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()


def entries(root: Path) -> int:
    """How many requests the index knows; 0 when there is none."""
    if not (root / INDEX).is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{root / INDEX}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM latest").fetchone()[0])
    except sqlite3.Error:
        return 0
