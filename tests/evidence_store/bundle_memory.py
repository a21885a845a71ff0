"""Bundles in memory, so that thousands of altered ones can be verified without touching a disk."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evidence_store import verify_one_file
from evidence_store.bundles import verify as bundle_verify
from evidence_store.bundles.source import Entry, Limits, Report
from evidence_store.verify import Verification

Files = Mapping[str, bytes]


class Memory:
    """A bundle as a container of files."""

    def __init__(self, files: Files | list[tuple[str, bytes]]) -> None:
        self.files = list(files.items()) if isinstance(files, Mapping) else files

    def entries(self, report: Report) -> Iterator[Entry]:
        for name, data in self.files:
            yield Entry(name, len(data), lambda data=data: iter([data] if data else []))


def load(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def judged(files: Files | list[tuple[str, bytes]], key: str, **options: Any) -> Verification:
    """What the package says."""
    return bundle_verify._examined(Memory(files), Limits(), key, **options)[0]


def judged_alone(
    files: Files | list[tuple[str, bytes]], key: str, witnesses: Sequence[str] = ()
) -> dict[str, Any]:
    """What the verifier that ships with the bundle says."""

    class Given:
        def __init__(self, name: str, data: bytes) -> None:
            self.name, self.size, self.chunks = name, len(data), lambda: iter([data] if data else [])

    entries = [Given(name, data) for name, data in (files.items() if isinstance(files, Mapping) else files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify_one_file, "folder_entries", lambda path, report: iter(entries))
        patch.setattr(verify_one_file.os.path, "isdir", lambda path: True)
        given = [verify_one_file.Witness(text) for text in witnesses]
        return dict(verify_one_file.verify("memory", key, witnesses=given))


@pytest.fixture(scope="session", autouse=True)
def remembered() -> Iterator[None]:
    """Pure Python is slow at signatures, and a check of one is a pure function."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ed25519_verifies", "p256_verifies", "self_test"):
            patch.setattr(verify_one_file, name, functools.lru_cache(maxsize=None)(getattr(verify_one_file, name)))
        yield
