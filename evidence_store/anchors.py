"""Copies of the newest checkpoint where the store's owner does not rule alone: a folder, a git remote, a bucket."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evidence_store.errors import AnchorError, ForkError, VerificationError
from evidence_store.fs import read_file
from evidence_store.heads import head_of
from evidence_store.keys import PublicKey
from evidence_store.merkle import Frontier
from evidence_store.note import NOTE_LIMIT
from evidence_store.store import Store

COPY = re.compile(r"([0-9]{12})\.note")
"""File name of a copy; its folder is named after the log."""
GIT_TIMEOUT_S = 60
TRIES = 3
WHERE_LIMIT = 160

Check = Callable[[bytes], None]
"""Raises :class:`ForkError` when the store does not extend a note."""


class Place(Protocol):
    """Where copies are put; nothing there is ever overwritten or removed."""

    @property
    def kind(self) -> str:
        """``folder``, ``git``, ``s3`` or ``objectlock``."""

    @property
    def where(self) -> str:
        """Its address, without credentials."""

    def keep(self, log: str, name: str, note: bytes, check: Check) -> None:
        """The note stands in folder ``log`` under ``name``; the newest one there passed ``check`` before.

        Raises:
            AnchorError: the place was not reached, or refused.
            ForkError: the store does not extend what is there.
        """


def copy(store: Store, place: Place) -> dict[str, Any]:
    """The newest checkpoint stands in ``place``; returned is what the log says about it.

    Raises:
        AnchorError: the place was not reached, or refused.
        ForkError: a head of this log is there that the store does not extend.
    """
    size, note, roots = store.size, store.checkpoint, prefix_roots(store.leaf_hashes())
    where = place.where.encode("ascii", "replace").decode()[:WHERE_LIMIT]

    def check(held: bytes) -> None:
        try:
            must_extend(held, store.origin, store.keys, roots)
        except ForkError as error:
            raise ForkError(f"the copy in {where} {error.what}", error.next_step) from error
        except VerificationError as error:
            raise ForkError(
                f"the newest copy in {where} {error.what}", "find out who changed it, and move it aside"
            ) from error

    place.keep(folder_of(store.origin), f"{size:012d}.note", note, check)
    return {"checkpointSize": size, "kind": place.kind, "where": where, "sha256": hashlib.sha256(note).hexdigest()}


def prefix_roots(hashes: Iterable[bytes]) -> list[bytes]:
    """Root over the first n leaves, for every n from 0."""
    tree = Frontier()
    roots = [tree.root()]
    for hashed in hashes:
        tree.add(hashed)
        roots.append(tree.root())
    return roots


def must_extend(note: bytes, origin: str, keys: Sequence[PublicKey], roots: Sequence[bytes]) -> int:
    """The log with these roots extends the checkpoint in a note held elsewhere; its size is returned.

    Raises:
        ForkError: it does not.
        VerificationError: the note is not a checkpoint of this log.
    """
    head = head_of(note, origin, keys)
    step = "keep both as they are and compare; tell the auditor"
    held = len(roots) - 1
    if head.size > held:
        raise ForkError(
            f"covers {head.size} leaves, the store holds {held}: its tail was cut, or it is an older copy", step
        )
    if roots[head.size] != head.root:
        raise ForkError(f"covers {head.size} leaves that are not the first {head.size} of the store", step)
    return head.size


def folder_of(origin: str) -> str:
    """Folder name for the copies of a log: readable, and different for every origin."""
    return f"{re.sub('[^A-Za-z0-9-]', '_', origin)[:64]}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder, best on a disk of another owner that can only be added to."""

    path: Path
    kind: str = "folder"

    @property
    def where(self) -> str:
        """Its path."""
        return str(self.path)

    def keep(self, log: str, name: str, note: bytes, check: Check) -> None:
        """As :meth:`Place.keep`; the folder itself must exist, so that a missing mount is noticed."""
        if not self.path.is_dir():
            raise AnchorError(f"there is no folder {self.path} for copies", "mount it, or correct anchors.copies")
        try:
            folder = self.path / log
            folder.mkdir(exist_ok=True)
            if _put(folder, name, note, check):
                _sync(folder)
                _sync(self.path)
        except OSError as error:
            raise AnchorError(
                f"cannot put a checkpoint into {self.path}: {error.strerror or error}",
                "nothing is lost: the next run puts a newer one; check owner, mode and space",
            ) from error


@dataclass(frozen=True, slots=True)
class Git:
    """A branch of a git repository; only commits are added, as the user that git is configured with."""

    url: str
    branch: str = "main"
    kind: str = "git"

    @property
    def where(self) -> str:
        """Address and branch."""
        return f"{self.url} {self.branch}"

    def keep(self, log: str, name: str, note: bytes, check: Check) -> None:
        """As :meth:`Place.keep`; when somebody else pushes first, it is tried again on top of that."""
        for last in (False,) * (TRIES - 1) + (True,):
            with tempfile.TemporaryDirectory(prefix="affidavit-") as folder:
                if self._push(Path(folder), log, name, note, check, last):
                    return

    def _push(self, folder: Path, log: str, name: str, note: bytes, check: Check, last: bool) -> bool:
        _git(folder, "init", "--quiet", f"--initial-branch={self.branch}")
        _git(folder, "remote", "add", "origin", self.url)
        if _git(folder, "ls-remote", "--heads", "origin", f"refs/heads/{self.branch}").strip():
            _git(folder, "fetch", "--quiet", "--depth=1", "origin", f"refs/heads/{self.branch}")
            _git(folder, "checkout", "--quiet", "-B", self.branch, "FETCH_HEAD")
        (folder / log).mkdir(exist_ok=True)
        if not _put(folder / log, name, note, check):
            return True
        _git(folder, "add", "--", f"{log}/{name}")
        _git(folder, "commit", "--quiet", "--no-gpg-sign", "-m", f"Checkpoint {name.removesuffix('.note')} of {log}")
        try:
            _git(folder, "push", "--quiet", "origin", f"HEAD:refs/heads/{self.branch}")
        except AnchorError:
            if last:
                raise
            return False
        return True


def newest_of(names: Sequence[str]) -> str | None:
    """The copy over most leaves among file names."""
    return max((name for name in names if COPY.fullmatch(name)), default=None)


def _put(folder: Path, name: str, note: bytes, check: Check) -> bool:
    """Check the newest note in a folder, then add this one; whether it was not there yet."""
    newest = newest_of([path.name for path in folder.iterdir()])
    if newest is not None:
        check(read_file(folder, newest, NOTE_LIMIT))
    target = folder / name
    if target.exists():
        return False
    handle, draft = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o444)
        Path(draft).rename(target)
    except OSError:
        with suppress(OSError):
            Path(draft).unlink()
        raise
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _git(folder: Path, *arguments: str) -> str:
    """Output of git, which never asks anybody anything.

    Raises:
        AnchorError: it failed.
    """
    outer = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "LC_ALL": "C"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    try:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *arguments],
            cwd=folder, capture_output=True, timeout=GIT_TIMEOUT_S, check=False, env=environment,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise AnchorError("git is not installed", "install git, or remove the git copy from anchors.copies") from error
    except subprocess.TimeoutExpired as error:
        raise AnchorError(
            f"git {arguments[0]} did not end within {GIT_TIMEOUT_S} s", "nothing is lost; check the remote"
        ) from error
    if done.returncode:
        text = done.stderr.decode("utf-8", "replace").strip().splitlines()
        # What went wrong stands before the first empty line; after it, git gives advice.
        told = [line for line in itertools.takewhile(str.strip, text) if not line.startswith(("hint:", "To "))]
        why = "; ".join(line.strip() for line in told) or "without a word"
        raise AnchorError(
            f"git {arguments[0]} failed: {why[:300]}",
            "nothing is lost: check that git push to this remote works for this user, and that user.name is set",
        )
    return done.stdout.decode("utf-8", "replace")
