"""Packs and line files from hostile hands: bounded, and refused unless they are exactly what they say."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence_store import lines, pack
from evidence_store.pack import zstd


def frame_of(data: bytes) -> tuple[pack.Frame, bytes]:
    spelt = pack.encode(data, hashlib.sha256(data).hexdigest())
    (frame,) = pack.scan(io.BufferedReader(io.BytesIO(spelt)), len(spelt))
    return frame, spelt[frame.offset :]


def raw_frame(header: bytes, data: bytes) -> bytes:
    return struct.pack(">II", len(header), len(data)) + header + data


def scan(spelt: bytes) -> list[pack.Frame]:
    return list(pack.scan(io.BufferedReader(io.BytesIO(spelt)), len(spelt)))


@given(st.binary(max_size=5000))
def test_a_body_comes_back(data: bytes) -> None:
    frame, packed = frame_of(data)
    assert pack.decode(frame, packed, None) == data
    pack.check(frame, packed)


SHA = "ab" * 32


@pytest.mark.parametrize(
    "spelt",
    [
        bytes(8),
        bytes(100),
        b"\0\0\0",
        raw_frame(b'{"sha256":"%s","size":1}' % SHA.encode(), b"x")[:-1],
        raw_frame(b'{"sha256":"%s", "size":1}' % SHA.encode(), b"x"),
        raw_frame(b'{"size":1,"sha256":"%s"}' % SHA.encode(), b"x"),
        raw_frame(b'{"sha256":"%s","size":-1}' % SHA.encode(), b"x"),
        raw_frame(b'{"sha256":"%s","size":true}' % SHA.encode(), b"x"),
        raw_frame(b'{"sha256":"%s","size":99999999999}' % SHA.encode(), b"x"),
        raw_frame(b'{"sha256":"%s","size":1,"base":"zz"}' % SHA.encode(), b"x"),
        raw_frame(b'{"sha256":"%s","size":1,"more":1}' % SHA.encode(), b"x"),
        raw_frame(b'{"sha256":7,"size":1}', b"x"),
        raw_frame(b"[]", b"x"),
        raw_frame(b"x" * 600, b"x"),
        struct.pack(">II", 10, 0xFFFFFFFF) + b"x" * 50,
    ],
)
def test_what_is_no_frame_is_refused(spelt: bytes) -> None:
    with pytest.raises(ValueError, match="frame"):
        scan(spelt)


def test_a_bomb_unpacks_no_further_than_its_header_says() -> None:
    bomb = zstd.compress(bytes(200 << 20))
    assert len(bomb) < 20_000
    frame = pack.Frame(SHA, 1000, None, 0, len(bomb))
    for reading in (lambda: pack.decode(frame, bomb, None), lambda: pack.check(frame, bomb)):
        with pytest.raises(ValueError, match="longer than its header"):
            reading()
    with pytest.raises(ValueError, match="more than the stated"):
        list(lines.read(io.BufferedReader(io.BytesIO(bomb)), 1000))


def test_damage_to_a_body_is_named() -> None:
    data = b"content " * 50
    frame, packed = frame_of(data)
    _, other_packed = frame_of(b"x" * len(data))
    with pytest.raises(ValueError, match="other content"):
        pack.decode(frame, other_packed, None)
    with pytest.raises(ValueError, match="other content"):
        pack.check(frame, other_packed)
    for wrong in (packed[:-3], packed + packed, packed + b"x", b"", b"not zstd at all"):
        with pytest.raises(ValueError, match=frame.sha256):
            pack.decode(frame, wrong, None)
    with pytest.raises(ValueError, match="not as long"):
        pack.decode(pack.Frame(frame.sha256, frame.size + 1, None, 0, 0), packed, None)
    with pytest.raises(ValueError, match="difference"):
        pack.decode(frame, packed, b"base")
    with pytest.raises(ValueError, match="cut short"):
        pack.read_data(io.BufferedReader(io.BytesIO(b"abc")), frame)


def test_a_chain_of_differences_is_bounded_and_never_a_circle() -> None:
    circle = {"a": pack.Frame("a", 1, "b", 0, 0), "b": pack.Frame("b", 1, "a", 0, 0)}
    with pytest.raises(ValueError, match="more than 30"):
        pack.fetch("a", circle.get, lambda _: b"", {})
    with pytest.raises(ValueError, match="missing"):
        pack.fetch("c", circle.get, lambda _: b"", {})
    assert pack.fetch("c", circle.get, lambda _: b"", {"c": b"held"}) == b"held"


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd command is not installed")
def test_the_zstd_command_decodes_a_difference(tmp_path: Path) -> None:
    base = os.urandom(300_000)
    data = base[:1000] + b"inserted" + base[1000:]
    spelt = pack.encode(data, hashlib.sha256(data).hexdigest(), (hashlib.sha256(base).hexdigest(), base))
    (frame,) = scan(spelt)
    (tmp_path / "base").write_bytes(base)
    (tmp_path / "delta.zst").write_bytes(spelt[frame.offset :])
    done = subprocess.run(
        ["zstd", "-d", "--patch-from=base", "delta.zst", "-c"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == data


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0),
        (b"junk", 4),
        (zstd.compress(b"a\nb\n"), 3),
        (zstd.compress(b"a\nb\n"), 5),
        (zstd.compress(b"a\nb"), 3),
        (zstd.compress(b"a\n")[:-1], 2),
        (zstd.compress(b"a\n") + b"x", 2),
        (zstd.compress(b"a\n") + zstd.compress(b"b\n"), 4),
        (zstd.compress(b"a\n"), -1),
        (zstd.compress(b"a\n"), 1 << 60),
    ],
)
def test_a_line_file_that_is_not_exactly_whole_lines_is_refused(data: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"length|end|unpack"):
        list(lines.read(io.BufferedReader(io.BytesIO(data)), size))


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 1 << 20)
    packed = zstd.compress(bytes(4 << 20))
    with pytest.raises(ValueError, match="too long"):
        list(lines.read(io.BufferedReader(io.BytesIO(packed)), 4 << 20))
    with pytest.raises(lines.StoreError, match="longer"):
        lines.spell(0, {"x": "y" * (2 << 20)})


SALT = b"x" * 22


@pytest.mark.parametrize(
    "line",
    [
        b"{}", b'{"i":1,"salt":"%s"}' % SALT, b'{"i":0}', b'{"i":0,"salt":"x"}', b'{"i":false,"salt":"%s"}' % SALT,
        b"[]", b"",
    ],
)  # fmt: skip
def test_a_line_without_its_number_or_salt_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any refusal will do
        lines.parse(0, line)
