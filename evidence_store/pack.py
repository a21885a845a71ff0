"""``objects.pack``: bodies as zstd frames, each behind a header that names its digest.

A frame is ``u32be header length | u32be data length | header | zstd``; the header is
``{"sha256":"...","size":N}`` with an optional ``"base"``: the digest of an earlier body the frame is a difference to
(``zstd -d --patch-from=BASE`` decodes it).
"""

from __future__ import annotations

import hashlib
import re
import struct
import sys
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import NamedTuple

from evidence_store.spelling import dump

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

OBJECT_LIMIT = 256 << 20
"""Largest body, in bytes."""
DATA_LIMIT = OBJECT_LIMIT + (OBJECT_LIMIT >> 7) + 1024
"""Largest zstd frame: what does not compress grows a little."""
HEADER_LIMIT = 512
CHAIN_LIMIT = 30
"""Most differences between a body and its key frame."""
BASE_LEAST = 8
"""Shortest body a difference stands on, in bytes: zstd takes no shorter one as a dictionary."""
DELTA_LIMIT = 16 << 20
"""Largest body that is kept as a difference: unpacking one holds it and its base in memory."""
LEVEL = 3
CHUNK = 1 << 20
LENGTHS = struct.Struct(">II")
HEADER = re.compile(rb'\{"sha256":"([0-9a-f]{64})","size":(0|[1-9][0-9]{0,8})(?:,"base":"([0-9a-f]{64})")?\}')
"""The only spelling of a header."""
IN_MEMORY = 8 << 20
"""A pack up to this size is scanned in one read."""


class Frame(NamedTuple):
    """Where one body stands in a pack. A tuple, because a store has a hundred thousand of them."""

    sha256: str
    """Digest of the body."""
    size: int
    """Length of the body, in bytes."""
    base: str | None
    """Digest of the body this one is a difference to; ``None`` for a key frame."""
    offset: int
    """Where the zstd data begins."""
    length: int
    """Length of the zstd data."""

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + self.length


def encode(data: bytes, sha256: str, base: tuple[str, bytes] | None = None) -> bytes:
    """The frame of a body; with ``base``, a difference to that earlier body of ``BASE_LEAST`` bytes or more."""
    header: dict[str, object] = {"sha256": sha256, "size": len(data)}
    if base is None:
        packed = zstd.compress(data, LEVEL)
    else:
        header["base"] = base[0]
        window = max(10, min(27, (len(data) + len(base[1])).bit_length()))
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: LEVEL,
            zstd.CompressionParameter.window_log: window,
            zstd.CompressionParameter.enable_long_distance_matching: 1,
        }
        packed = zstd.compress(data, options=options, zstd_dict=zstd.ZstdDict(base[1], is_raw=True).as_prefix)
    spelt = dump(header)
    return LENGTHS.pack(len(spelt), len(packed)) + spelt + packed


def scan(file: BufferedReader, size: int) -> Iterator[Frame]:
    """The frames of a pack of ``size`` bytes, by their headers alone; bodies are not read.

    Raises:
        ValueError: from here on the bytes are not frames.
    """
    whole = b""
    if size <= IN_MEMORY:
        file.seek(0)
        whole = file.read(size)
    place = 0
    while place < size:
        # A header follows the lengths at once; what is read beyond it is not looked at.
        piece, at = (whole, place) if whole else (_piece(file, place), 0)
        if len(piece) - at < LENGTHS.size:
            raise ValueError(f"frame at byte {place} is cut short")
        header, data = LENGTHS.unpack_from(piece, at)
        if not 0 < header <= HEADER_LIMIT or not 0 < data <= DATA_LIMIT:
            raise ValueError(f"frame at byte {place} has an impossible length")
        offset = place + LENGTHS.size + header
        if offset + data > size:
            raise ValueError(f"frame at byte {place} is cut short")
        found = HEADER.fullmatch(piece, at + LENGTHS.size, at + LENGTHS.size + header)
        if found is None or (length := int(found[2])) > OBJECT_LIMIT:
            raise ValueError(f"frame header before byte {offset} is not one")
        yield Frame(found[1].decode(), length, found[3].decode() if found[3] else None, offset, data)
        place = offset + data


def _piece(file: BufferedReader, place: int) -> bytes:
    file.seek(place)
    return file.read(LENGTHS.size + HEADER_LIMIT)


def read_data(file: BufferedReader, frame: Frame) -> bytes:
    """The zstd data of a frame.

    Raises:
        ValueError: the file ends before it.
    """
    file.seek(frame.offset)
    data = file.read(frame.length)
    if len(data) != frame.length:
        raise ValueError(f"object {frame.sha256} is cut short")
    return data


def decode(frame: Frame, data: bytes, base: bytes | None) -> bytes:
    """The body of a frame; never more than its stated size is unpacked, and its digest is checked.

    Raises:
        ValueError: the data does not give the body the header promised.
    """
    body = _at_once(frame, data, base) if frame.size < CHUNK else None
    if body is None:
        body = b"".join(_unpack(frame, data, base))
    if hashlib.sha256(body).hexdigest() != frame.sha256:
        raise ValueError(f"object {frame.sha256} has other content than its name")
    return body


def _at_once(frame: Frame, data: bytes, base: bytes | None) -> bytes | None:
    """A small body that is all right, unpacked in one step; for anything else the long way says what is wrong."""
    if (base is None) != (frame.base is None):
        return None
    prefix = None if base is None else zstd.ZstdDict(base, is_raw=True).as_prefix
    unpacker = zstd.ZstdDecompressor(zstd_dict=prefix)
    try:
        body = unpacker.decompress(data, max_length=frame.size + 1)
    except zstd.ZstdError:
        return None
    return body if unpacker.eof and len(body) == frame.size and not unpacker.unused_data else None


def check(frame: Frame, data: bytes) -> None:
    """A key frame's data gives the body its header promised; the body is hashed in pieces and not kept.

    Raises:
        ValueError: it does not.
    """
    digest = hashlib.sha256()
    for piece in _unpack(frame, data, None):
        digest.update(piece)
    if digest.hexdigest() != frame.sha256:
        raise ValueError(f"object {frame.sha256} has other content than its name")


def _unpack(frame: Frame, data: bytes, base: bytes | None) -> Iterator[bytes]:
    if (base is None) != (frame.base is None):
        raise ValueError(f"object {frame.sha256} needs the body it is a difference to")
    prefix = None if base is None else zstd.ZstdDict(base, is_raw=True).as_prefix
    unpacker = zstd.ZstdDecompressor(zstd_dict=prefix)
    left = frame.size
    try:
        while not unpacker.eof:
            if unpacker.needs_input and not data:
                raise ValueError(f"object {frame.sha256} ends in the middle")
            piece = unpacker.decompress(data, max_length=min(CHUNK, left + 1))
            data = b""
            left -= len(piece)
            if left < 0:
                raise ValueError(f"object {frame.sha256} is longer than its header says")
            yield piece
    except zstd.ZstdError as error:
        raise ValueError(f"object {frame.sha256} does not unpack") from error
    if left or unpacker.unused_data:
        raise ValueError(f"object {frame.sha256} is not as long as its header says")


def fetch(
    sha256: str, find: Callable[[str], Frame | None], data_of: Callable[[Frame], bytes], held: dict[str, bytes]
) -> bytes:
    """A body by its digest, through the chain of differences it stands on; no recursion, bounded length.

    Args:
        sha256: what is wanted.
        find: gives the frame of a digest.
        data_of: gives the zstd data of a frame.
        held: bodies already known; the caller bounds it.

    Raises:
        ValueError: a frame is missing or damaged, or the chain is too long or runs in a circle.
    """
    chain: list[Frame] = []
    wanted: str | None = sha256
    body: bytes | None = None
    while wanted is not None:
        if (body := held.get(wanted)) is not None:
            break
        if (frame := find(wanted)) is None:
            raise ValueError(f"object {wanted} is missing")
        chain.append(frame)
        if len(chain) > CHAIN_LIMIT + 1:
            raise ValueError(f"object {sha256} stands on more than {CHAIN_LIMIT} differences")
        wanted = frame.base
    for frame in reversed(chain):
        body = decode(frame, data_of(frame), body)
    if body is None:
        raise ValueError(f"object {sha256} is missing")
    return body
