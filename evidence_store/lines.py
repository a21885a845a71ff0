"""``*.ndjson.zst``: lines whose exact bytes are the leaves of a run's own hash tree."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any

from orjson import dumps, loads

from evidence_store.errors import StoreError
from evidence_store.fs import Disk
from evidence_store.merkle import Frontier, leaf_hash, leaf_hashes
from evidence_store.pack import CHUNK, LEVEL, zstd
from evidence_store.spelling import dump, load

LINE_LIMIT = 16 << 20
"""Longest line, in bytes."""
STREAM_LIMIT = 64 << 30
"""Longest stream of lines, in bytes."""
RESERVED = ("i", "salt")
SALT_LENGTH = 22


@dataclass(frozen=True, slots=True)
class Lines:
    """What a run-close statement says of one stream of lines."""

    sha256: str
    """Digest of all lines with their newlines."""
    root: str
    """RFC 6962 root over the lines without their newlines, in hex."""
    leaves: int
    """Number of lines."""
    size: int
    """Length of all lines with their newlines, in bytes."""
    stored: str
    """Digest of the file as stored, compressed; empty when it was only measured."""


def spell(number: int, line: Mapping[str, Any]) -> bytes:
    """A line as it is kept: its number first, a fresh 128-bit salt last.

    Raises:
        StoreError: it is not plain JSON, too long, or uses a name the store gives itself.
    """
    if any(name in line for name in RESERVED):
        raise StoreError("a line has its own 'i' or 'salt'", "leave both to the store")
    try:
        data = dump({"i": number, **line, "salt": secrets.token_urlsafe(16)})
    except ValueError as error:
        raise StoreError(f"line {number} is {error}", "pass strings, numbers, lists and dicts") from error
    if len(data) > LINE_LIMIT:
        raise StoreError(
            f"line {number} is longer than {LINE_LIMIT} bytes", "split it, or keep the long part as object"
        )
    return data


def parse(number: int, line: bytes) -> dict[str, Any]:
    """The content of line ``number``.

    Raises:
        ValueError: it is not JSON, names another number, or has no salt.
    """
    value = load(line)
    if type(value.get("i")) is not int or value["i"] != number:
        raise ValueError(f"line {number} does not bear its number")
    salt = value.get("salt")
    if not isinstance(salt, str) or len(salt) != SALT_LENGTH:
        raise ValueError(f"line {number} has no salt")
    return value


def parse_all(first: int, some: Sequence[bytes]) -> list[dict[str, Any]]:
    """:func:`parse` of each line from number ``first`` on, in less time.

    Raises:
        ValueError: one of them is not a line of this place.
    """
    try:
        values: list[Any] = [loads(line) for line in some]
        # Spelt as we spell it, each has its names once; a line of another spelling goes the long way.
        whole = (
            set(map(type, values)) <= {dict}
            and [dumps(value) for value in values] == some
            and [value.get("i") for value in values] == [*range(first, first + len(values))]
            and {type(value["i"]) for value in values} <= {int}
            and {type(value.get("salt")) for value in values} <= {str}
            and {len(value["salt"]) for value in values} <= {SALT_LENGTH}
        )
    except (ValueError, TypeError):  # what is nested too deeply is read, and cannot be spelt
        whole = False
    return values if whole else [parse(number, line) for number, line in enumerate(some, first)]


def store(disk: Disk, path: Path, lines: Iterable[bytes]) -> Lines:
    """Write lines to a new compressed file, as they come; its content survives a power cut when this returns."""
    stored = hashlib.sha256()
    packer = zstd.ZstdCompressor(LEVEL)
    handle = disk.open_new(path)

    def put(data: bytes) -> None:
        if data:
            stored.update(data)
            disk.write(handle, path, data)

    def passing() -> Iterator[bytes]:
        for line in lines:
            put(packer.compress(line + b"\n"))
            yield line

    try:
        found = measure(passing())
        put(packer.flush())
        disk.sync(handle, path)
    finally:
        disk.close(handle, path)
    return replace(found, stored=stored.hexdigest())


def measure(lines: Iterable[bytes]) -> Lines:
    """What a closing leaf would say of these lines; nothing is written."""
    plain, frontier, size = hashlib.sha256(), Frontier(), 0
    for line in lines:
        frontier.add(leaf_hash(line))
        plain.update(line + b"\n")
        size += len(line) + 1
    return Lines(plain.hexdigest(), frontier.root().hex(), frontier.size, size, "")


def check(file: BufferedReader, size: int, look: Callable[[int, list[bytes]], None]) -> Lines:
    """What a closing leaf would say of the lines of a compressed file; memory is bounded.

    Args:
        file: the compressed file.
        size: length of its lines, unpacked.
        look: is given the number of the first line and some lines, again and again.

    Raises:
        ValueError: it does not unpack to exactly that many bytes of whole lines, or ``look`` raised it.
    """
    plain, frontier = hashlib.sha256(), Frontier()
    for some in _batches(file, size, plain.update):
        look(frontier.size, some)
        frontier.extend(leaf_hashes(some))
    return Lines(plain.hexdigest(), frontier.root().hex(), frontier.size, size, "")


def read(file: BufferedReader, size: int) -> Iterator[bytes]:
    """The lines of a compressed file of ``size`` unpacked bytes, without their newlines; memory is bounded.

    Raises:
        ValueError: it does not unpack to exactly that many bytes of whole lines.
    """
    for some in _batches(file, size, lambda piece: None):
        yield from some


def _batches(file: BufferedReader, size: int, see: Callable[[bytes], None]) -> Iterator[list[bytes]]:
    if not 0 <= size <= STREAM_LIMIT:
        raise ValueError("impossible length")
    rest, left = b"", size
    for piece in _unpacked(file, size):
        see(piece)
        left -= len(piece)
        *whole, rest = (rest + piece).split(b"\n")
        if whole:
            yield whole
        if len(rest) > LINE_LIMIT:
            raise ValueError("a line is too long")
    if left or rest:
        raise ValueError("does not unpack to whole lines of the stated length")


def _unpacked(file: BufferedReader, size: int) -> Iterator[bytes]:
    unpacker, left = zstd.ZstdDecompressor(), size
    try:
        while not unpacker.eof:
            data = file.read(CHUNK) if unpacker.needs_input else b""
            if unpacker.needs_input and not data:
                raise ValueError("ends in the middle")
            piece = unpacker.decompress(data, max_length=min(CHUNK, left + 1))
            left -= len(piece)
            if left < 0:
                raise ValueError("unpacks to more than the stated length")
            yield piece
    except zstd.ZstdError as error:
        raise ValueError("does not unpack") from error
    if unpacker.unused_data or file.read(1):
        raise ValueError("has bytes after its end")


def raw(file: BufferedReader) -> Iterator[tuple[bytes, bool]]:
    """The lines of an uncompressed spool, each with whether it is whole."""
    while line := file.readline(LINE_LIMIT + 2):
        whole = line.endswith(b"\n")
        yield (line[:-1] if whole else line), whole
        if not whole:
            return
