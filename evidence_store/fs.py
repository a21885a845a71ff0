"""Every write of the store goes through :class:`Disk`, so that a test can crash it after any operation."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from evidence_store.errors import StoreError, TamperedError

FULL = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Disk:
    """The file system as the store writes it; files 0600 and folders 0700."""

    def mkdir(self, path: Path) -> None:
        """Make one folder that did not exist."""
        with disk_errors(path):
            path.mkdir(mode=0o700)

    def open_new(self, path: Path) -> int:
        """Open a file that did not exist; an existing one is an error, never overwritten."""
        with disk_errors(path):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def open_append(self, path: Path) -> int:
        """Open an existing file for appending."""
        with disk_errors(path):
            return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, handle: int, path: Path, data: bytes) -> None:
        """Write all of ``data``, or raise; a part of it may then stand in the file."""
        rest = memoryview(data)
        with disk_errors(path):
            while rest:
                rest = rest[os.write(handle, rest) :]

    def sync(self, handle: int, path: Path) -> None:
        """Content of the file survives a power cut."""
        with disk_errors(path):
            os.fsync(handle)

    def close(self, handle: int, path: Path) -> None:
        """Close a handle."""
        with disk_errors(path):
            os.close(handle)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to ``size`` bytes."""
        with disk_errors(path):
            os.truncate(path, size)

    def sync_folder(self, path: Path) -> None:
        """Names in the folder survive a power cut."""
        with disk_errors(path):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder its final name in one step."""
        with disk_errors(new):
            old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a file that was never sealed."""
        with disk_errors(path):
            path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove a folder that was never sealed."""
        with disk_errors(path):
            shutil.rmtree(path)

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file whose content survives a power cut; its name needs :meth:`sync_folder` as well."""
        handle = self.open_new(path)
        try:
            self.write(handle, path, data)
            self.sync(handle, path)
        finally:
            self.close(handle, path)

    def sync_file(self, path: Path) -> None:
        """Content of a file written by somebody else, or by a process that died, survives a power cut."""
        handle = self.open_append(path)
        try:
            self.sync(handle, path)
        finally:
            self.close(handle, path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one a person can act on.

    Raises:
        StoreError: what the system refused, for which path, and what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            step = "free some space and run again; what was sealed before is whole"
        elif error.errno in READ_ONLY:
            step = "check owner, mode and mount options of the store; what was sealed before is whole"
        else:
            step = "check the file system of the store; what was sealed before is whole"
        raise StoreError(f"cannot write {path}: {error.strerror or error}", step) from error


def open_file(root: Path, name: str) -> BufferedReader:
    """Open a regular file of the store for reading; symbolic links and devices are refused.

    Raises:
        TamperedError: it is missing, or not a regular file.
    """
    try:
        handle = os.open(f"{root}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TamperedError(name, f"cannot be read ({error.strerror or error})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise TamperedError(name, "is not a regular file")
    return os.fdopen(handle, "rb")


def read_file(root: Path, name: str, limit: int) -> bytes:
    """Content of a file of the store of at most ``limit`` bytes.

    Raises:
        TamperedError: it is missing, not a regular file, or longer.
    """
    try:
        with open_file(root, name) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise TamperedError(name, f"cannot be read ({error.strerror or error})") from error
    if len(data) > limit:
        raise TamperedError(name, f"is longer than {limit} bytes")
    return data
