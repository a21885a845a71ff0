"""Packs a bundle's folder: a zip that opens everywhere, or a ``tar.zst`` that is many times smaller."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from evidence_store.bundles.source import CHUNK, WINDOW_LOG
from evidence_store.pack import LEVEL, zstd

MOMENT = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644


def pack_zip(folder: Path, target: Path, top: str, order: Iterable[str]) -> None:
    """Every file of ``order``, deflated, under one top folder."""
    with _private(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in order:
            entry = zipfile.ZipInfo(f"{top}/{name}", MOMENT)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, MODE << 16, 3
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, archive.open(entry, "w") as out:
                while chunk := source.read(CHUNK):
                    out.write(chunk)


def pack_tar(folder: Path, target: Path, top: str, order: Iterable[str]) -> None:
    """Every file of ``order``, in this order: versions of one body stand together and cost little."""
    with _private(target) as file, _Packer(file) as packer:
        with tarfile.open(fileobj=packer, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
            for name in order:
                entry = tarfile.TarInfo(f"{top}/{name}")
                entry.size, entry.mode = (folder / name).stat().st_size, 0o644
                with (folder / name).open("rb") as source:
                    archive.addfile(entry, source)
        packer.finish()


def _private(target: Path) -> IO[bytes]:
    """A new file that only its owner reads, as the folder of a bundle is only its owner's."""
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


class _Packer(io.RawIOBase):
    """Compresses what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: LEVEL,
            zstd.CompressionParameter.window_log: WINDOW_LOG,
            zstd.CompressionParameter.enable_long_distance_matching: 1,
        }
        self._packer = zstd.ZstdCompressor(options=options)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._file.write(self._packer.compress(data))
        return len(data)

    def finish(self) -> None:
        """Write what is left."""
        self._file.write(self._packer.flush())
