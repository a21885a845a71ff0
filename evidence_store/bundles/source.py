"""The files of a bundle, from a folder, a zip or a ``tar.zst``: one after the other, in bounded memory."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

from evidence_store.errors import TamperedError, UsageError
from evidence_store.pack import zstd

CHUNK = 1 << 20
FOLDER_DEPTH = 12
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZIP_MAGIC = b"PK\x03\x04"
WINDOW_LOG = 27
WHOLE = "."
"""Path under which problems of the container itself are named."""

Report = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a hostile bundle can cost."""

    files: int = 500_000
    """Most files, and most different bodies that lines may name."""
    total: int = 64 << 30
    """Most bytes, unpacked."""
    ratio: int = 2000
    """Most times that an archive may grow when unpacked."""
    grace: int = 64 << 20
    """Bytes that may be unpacked whatever the ratio."""
    held: int = 256 << 20
    """Most bytes of lists, log and keys, which are held in memory."""

    def unpacked(self, packed: int) -> int:
        """Most bytes an archive of ``packed`` bytes may unpack to."""
        return min(self.total, self.grace + self.ratio * packed)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file."""

    name: str
    """Path from the top of the bundle."""
    size: int
    """Its length, as the container says; :attr:`chunks` yields exactly as many bytes, or raises."""
    chunks: Callable[[], Iterator[bytes]]
    """Its content, once, before the next entry is asked for."""


class Source(Protocol):
    """A bundle as a container of files."""

    def entries(self, report: Report) -> Iterator[Entry]:
        """Every regular file; what is neither file nor folder is reported.

        Raises:
            TamperedError: the container is broken; what follows cannot be read.
        """


@contextmanager
def open_source(path: Path, limits: Limits) -> Iterator[Source]:
    """The bundle at ``path``, by what it is, not by how it is called.

    Raises:
        UsageError: there is no bundle.
    """
    if path.is_dir():
        yield _Folder(path, limits)
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "name a bundle: a folder, a zip or a tar.zst"
        ) from error
    with file:
        magic = file.read(4)
        file.seek(0)
        if magic == ZIP_MAGIC:
            yield _Zip(file, limits)
        elif magic == ZSTD_MAGIC:
            yield _Tar(file, limits)
        else:
            raise UsageError(f"{path} is neither a zip nor a tar.zst", "name a bundle: a folder, a zip or a tar.zst")


def is_bundle(path: Path) -> bool:
    """Whether a path is to be read as a bundle rather than as a store."""
    return path.is_file() or (path / "bagit.txt").exists() or (path / "seal").is_dir()


def printable(name: str) -> str:
    """A file name that does nothing to a terminal."""
    return name if name.isascii() and name.isprintable() else name.encode("unicode_escape", "replace").decode("ascii")


class _Folder:
    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits

    def entries(self, report: Report) -> Iterator[Entry]:
        count = total = 0
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with _os_errors(folder or WHOLE), os.scandir(self._root / folder) as listed:
                found = sorted(listed, key=lambda one: one.name)
            if not found:
                report(folder or WHOLE, "is not part of a bundle")
            for one in reversed(found):
                name = f"{folder}/{one.name}" if folder else one.name
                with _os_errors(name):
                    status = one.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    if name.count("/") < FOLDER_DEPTH:
                        waiting.append(name)
                    else:
                        report(printable(name), "is not part of a bundle")
                elif not stat.S_ISREG(status.st_mode):
                    report(printable(name), "is neither a file nor a folder")
                else:
                    count, total = count + 1, total + status.st_size
                    _bounded(count, total, self._limits.files, self._limits.total)
                    yield Entry(name, status.st_size, lambda name=name, size=status.st_size: self._chunks(name, size))  # type: ignore[misc]

    def _chunks(self, name: str, size: int) -> Iterator[bytes]:
        with _os_errors(name):
            handle = os.open(self._root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                left = size
                while data := file.read(CHUNK):
                    left -= len(data)
                    yield data
        if left:
            raise TamperedError(printable(name), "changed while it was read")


END = struct.Struct("<IHHHHIIH")
END64_PLACE = struct.Struct("<IIQI")
END64 = struct.Struct("<IQHHIIQQQQ")
CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
LOCAL = struct.Struct("<IHHHHHIIIHH")
DIRECTORY_LIMIT = 128 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    offset: int


class _Zip:
    """A zip read through its central directory; every number in it is doubted."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._limits = limits

    def entries(self, report: Report) -> Iterator[Entry]:
        try:
            members, directory = self._directory(report)
            places = self._places(members, directory)
        except (struct.error, ValueError, OSError) as error:
            raise TamperedError(WHOLE, f"is not a whole zip ({error})") from error
        strip = _Top()
        for member, place in zip(members, places, strict=True):
            if member.name.endswith("/") and not member.size:
                continue
            name = strip(member.name)
            yield Entry(name, member.size, lambda m=member, p=place, n=name: self._chunks(m, p, n))  # type: ignore[misc]

    def _read(self, place: int, size: int) -> bytes:
        if place < 0 or size < 0 or place + size > self._size:
            raise ValueError("a place outside the file")
        self._file.seek(place)
        return self._file.read(size)

    def _directory(self, report: Report) -> tuple[list[_Member], int]:
        tail = min(self._size, END.size + 65535)
        data = self._read(self._size - tail, tail)
        at = len(data)
        while (at := data.rfind(b"PK\x05\x06", 0, at)) >= 0:
            if at + END.size <= len(data) and at + END.size + int.from_bytes(data[at + 20 : at + 22], "little") == len(
                data
            ):
                break
        if at < 0:
            raise ValueError("no end record")
        place = self._size - tail + at
        _, disk, first_disk, here, count, size, offset, _ = END.unpack_from(data, at)
        if 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
            magic, disk64, end64, disks = END64_PLACE.unpack(self._read(place - END64_PLACE.size, END64_PLACE.size))
            if magic != 0x07064B50 or disk64 or disks != 1 or end64 + END64.size != place - END64_PLACE.size:
                raise ValueError("a wrong zip64 locator")
            magic, length, _, _, disk, first_disk, here, count, size, offset = END64.unpack(
                self._read(end64, END64.size)
            )
            if magic != 0x06064B50 or length != END64.size - 12:
                raise ValueError("a wrong zip64 record")
            place = end64
        if disk or first_disk or here != count or count > self._limits.files or size > DIRECTORY_LIMIT:
            raise ValueError("several disks, or too many files")
        if offset + size != place:
            raise ValueError("a gap before its end")
        members = list(self._members(self._read(offset, size), count, report))
        _bounded(count, sum(one.size for one in members), self._limits.files, self._limits.unpacked(self._size))
        return members, offset

    def _members(self, data: bytes, count: int, report: Report) -> Iterator[_Member]:
        place = 0
        for _ in range(count):
            fields = CENTRAL.unpack_from(data, place)
            magic, made, _, flags, method, _, _, crc, packed, size = fields[:10]
            long_name, long_extra, long_comment, disk, _, outer, offset = fields[10:]
            place += CENTRAL.size
            name, extra = data[place : place + long_name], data[place + long_name : place + long_name + long_extra]
            place += long_name + long_extra + long_comment
            if magic != 0x02014B50 or disk or place > len(data) or flags & 0x2041 or method not in (0, 8):
                raise ValueError("an entry of another kind")
            size, packed, offset = _zip64(extra, size, packed, offset)
            text = name.decode("ascii")
            kind = stat.S_IFMT(outer >> 16) if made >> 8 == 3 else 0
            if kind not in (0, stat.S_IFREG) and not (text.endswith("/") and kind == stat.S_IFDIR):
                report(printable(text), "is neither a file nor a folder")
            if "\\" in text or "\0" in text or text.startswith("/") or (not method and size != packed):
                raise ValueError("an entry of another kind")
            yield _Member(text, method, flags, crc, packed, size, offset)
        if place != len(data):
            raise ValueError("bytes after its last entry")

    def _places(self, members: list[_Member], directory: int) -> list[int]:
        """Where each entry's data begins; the local headers say the same as the directory, and nothing overlaps."""
        places: dict[int, int] = {}
        end = 0
        # In order of place, so that no byte is looked at for two entries.
        for member in sorted(members, key=lambda one: one.offset):
            if member.offset < end:
                raise ValueError("entries that overlap")
            header = LOCAL.unpack(self._read(member.offset, LOCAL.size))
            magic, _, flags, method, _, _, crc, packed, size, long_name, long_extra = header
            name = self._read(member.offset + LOCAL.size, long_name)
            extra = self._read(member.offset + LOCAL.size + long_name, long_extra)
            size, packed, _ = _zip64(extra, size, packed, 0)
            if magic != 0x04034B50 or name != member.name.encode() or (flags, method) != (member.flags, member.method):
                raise ValueError(f"two headers that differ, of {printable(member.name)}")
            if (crc, packed, size) != (member.crc, member.packed, member.size) and not (
                flags & 8 and (crc, packed, size) in ((0, 0, 0), (member.crc, 0, 0))
            ):
                raise ValueError(f"two headers that differ, of {printable(member.name)}")
            places[member.offset] = member.offset + LOCAL.size + long_name + long_extra
            end = places[member.offset] + member.packed
        if end > directory:
            raise ValueError("entries that overlap")
        return [places[member.offset] for member in members]

    def _chunks(self, member: _Member, place: int, name: str) -> Iterator[bytes]:
        unpack = zlib.decompressobj(-15) if member.method else None
        left, packed, crc = member.size, member.packed, 0
        try:
            rest = b""
            while packed or rest:
                if not rest:
                    # Sought each time: another entry may have been read since the last piece of this one.
                    self._file.seek(place + member.packed - packed)
                    rest = self._file.read(min(CHUNK, packed))
                    packed -= len(rest)
                    if not rest:
                        raise ValueError("cut short")
                if unpack is None:
                    data, rest = rest, b""
                else:
                    data, rest = unpack.decompress(rest, CHUNK), unpack.unconsumed_tail
                    if unpack.unused_data or (unpack.eof and packed):
                        raise ValueError("bytes after its end")
                left -= len(data)
                crc = zlib.crc32(data, crc)
                if left < 0:
                    raise ValueError("longer than stated")
                if data:
                    yield data
            while unpack is not None and not unpack.eof:
                if not (data := unpack.decompress(b"", CHUNK)):
                    raise ValueError("cut short")
                left -= len(data)
                crc = zlib.crc32(data, crc)
                if left < 0:
                    raise ValueError("longer than stated")
                yield data
            if left or crc != member.crc:
                raise ValueError("other content than stated")
        except (zlib.error, ValueError, OSError) as error:
            raise TamperedError(printable(name), f"does not unpack ({error})") from error


def _zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    place = 0
    fields = b""
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            fields = extra[place + 4 : place + 4 + length]
        place += 4 + length
    numbers = []
    for number in (size, packed, offset):
        if number == 0xFFFFFFFF:
            number, fields = struct.unpack("<Q", fields[:8])[0], fields[8:]
        numbers.append(number)
    return numbers[0], numbers[1], numbers[2]


BLOCK = 512


class _Tar:
    """A ustar archive in one zstd frame, read as a stream."""

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file = file
        self._limits = limits
        self._size = os.fstat(file.fileno()).st_size

    def entries(self, report: Report) -> Iterator[Entry]:
        with _tar_errors():
            yield from self._entries(report)

    def _entries(self, report: Report) -> Iterator[Entry]:
        self._file.seek(0)
        stream = _Unpacked(self._file, self._limits.unpacked(self._size))
        strip = _Top()
        count = 0
        while (header := stream.take(BLOCK)) != bytes(BLOCK):
            name, size, kind = _tar_header(header)
            count += 1
            _bounded(count, 0, self._limits.files, 1)
            if kind == b"5" and not size:
                continue
            if kind != b"0":
                report(printable(name), "is neither a file nor a folder")
                raise ValueError("an entry that is not a file")
            part = _Part(stream, size)
            yield Entry(strip(name), size, part.chunks)
            for _ in part.chunks():
                pass
            if any(stream.take(-size % BLOCK)):
                raise ValueError("padding that is not zero")
        while data := stream.some(CHUNK):
            if any(data):
                raise ValueError("bytes after its end")


@contextmanager
def _tar_errors() -> Iterator[None]:
    """Every way in which reading the archive can fail is one error, for the loop over it and for who reads an entry."""
    try:
        yield
    except (zstd.ZstdError, EOFError, ValueError, OSError) as error:
        raise TamperedError(WHOLE, f"is not a whole tar.zst ({error})") from error


class _Part:
    """The bytes of one tar entry; what nobody reads is passed over."""

    def __init__(self, stream: _Unpacked, size: int) -> None:
        self._stream = stream
        self._left = size

    def chunks(self) -> Iterator[bytes]:
        while self._left:
            with _tar_errors():
                data = self._stream.some(min(CHUNK, self._left))
                if not data:
                    raise ValueError("cut short")
            self._left -= len(data)
            yield data


class _Unpacked:
    """The bytes of a zstd frame, of at most so many."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._left = limit
        self._rest = b""
        self._place = 0
        self._unpacker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})

    def some(self, most: int) -> bytes:
        """At least one byte, or none at the end of the frame."""
        while self._place == len(self._rest) and not self._unpacker.eof:
            data = self._file.read(CHUNK) if self._unpacker.needs_input else b""
            if self._unpacker.needs_input and not data:
                raise ValueError("cut short")
            self._rest, self._place = self._unpacker.decompress(data, max_length=CHUNK), 0
            self._left -= len(self._rest)
            if self._left < 0:
                raise ValueError("unpacks to too much")
        if self._place == len(self._rest) and (self._unpacker.unused_data or self._file.read(1)):
            raise ValueError("bytes after its end")
        data = self._rest[self._place : self._place + most]
        self._place += len(data)
        return data

    def take(self, size: int) -> bytes:
        parts = []
        while size:
            if not (data := self.some(size)):
                raise ValueError("cut short")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)


def _tar_header(header: bytes) -> tuple[str, int, bytes]:
    fields = struct.unpack("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s", header)
    total = sum(header) - sum(fields[6]) + 8 * 0x20
    if fields[9] != b"ustar\0" or fields[10] != b"00" or _octal(fields[6]) != total:
        raise ValueError("not a ustar header")
    name = b"/".join(part for part in (fields[15].rstrip(b"\0"), fields[0].rstrip(b"\0")) if part).decode("ascii")
    if "\\" in name or "\0" in name or name.startswith("/"):
        raise ValueError("not a usable name")
    return name, _octal(fields[4]), b"0" if fields[7] == b"\0" else fields[7]


def _octal(field: bytes) -> int:
    text = field.rstrip(b"\0 ").decode("ascii")
    if not text or any(digit not in "01234567" for digit in text):
        raise ValueError("not an octal number")
    return int(text, 8)


class _Top:
    """Takes the one top folder off every name."""

    def __init__(self) -> None:
        self._top: str | None = None

    def __call__(self, name: str) -> str:
        top, slash, rest = name.partition("/")
        if self._top is None:
            self._top = top
        if not slash or not rest or top != self._top or top in ("", ".", ".."):
            raise TamperedError(WHOLE, f"has more than one top folder: {printable(name)}")
        return rest


def _bounded(count: int, total: int, files: int, most: int) -> None:
    if count > files:
        raise TamperedError(WHOLE, f"holds more than {files} files")
    if total > most:
        raise TamperedError(WHOLE, f"is longer than {most} bytes")


@contextmanager
def _os_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TamperedError(printable(name), f"cannot be read ({reason})") from error


class Files:
    """A verified bundle open for reading any file; a ``tar.zst`` is unpacked into one nameless temporary file."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self._chunks: dict[str, Callable[[], Iterator[bytes]]] = {}
        with ExitStack() as stack:
            source = stack.enter_context(open_source(path, limits or Limits()))
            spool = stack.enter_context(TemporaryFile()) if isinstance(source, _Tar) else None
            for entry in source.entries(lambda where, what: None):
                self._chunks[entry.name] = entry.chunks if spool is None else _kept(spool, entry)
            self._stack = stack.pop_all()

    def __contains__(self, name: str) -> bool:
        return name in self._chunks

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            TamperedError: there is no such file, or it cannot be read.
        """
        if name not in self._chunks:
            raise TamperedError(name, "is missing")
        return b"".join(self._chunks[name]())

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file, without their LF; one line at a time is in memory."""
        rest = b""
        for chunk in self._chunks[name]():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole

    def close(self) -> None:
        """Give files back."""
        self._stack.close()


def _kept(spool: IO[bytes], entry: Entry) -> Callable[[], Iterator[bytes]]:
    start = spool.seek(0, os.SEEK_END)
    for chunk in entry.chunks():
        spool.write(chunk)

    def chunks() -> Iterator[bytes]:
        for place in range(start, start + entry.size, CHUNK):
            spool.seek(place)
            yield spool.read(min(CHUNK, start + entry.size - place))

    return chunks
