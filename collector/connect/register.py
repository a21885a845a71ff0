"""A folder of registers: files below it and nothing else, each byte on record before it is read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from collector.connect.base import Connection, Limits
from collector.connect.host import PATH, identity
from collector.connect.retry import Retry
from collector.connect.wire import Answer, Ask, Wire
from collector.model import GapKind, Row, Unavailable, instant, stamp
from collector.registers import document, table
from collector.registers.shape import Fault

FILE_BYTES = 16 * 1024 * 1024
"""No register that people keep is larger."""
DOCUMENTS = "documents"
"""Folder of documents with a head."""
MOST_DOCUMENTS = 5000
DEEPEST = 8
"""Folders inside one another."""
ABSENT = "there is no such file"
GIT = (
    "git", "--no-pager", "--no-replace-objects", "--literal-pathspecs", "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false",
)  # fmt: skip
"""How git is asked: no pager, no hook, no program that a repository could name."""
GIT_TIMEOUT_S = 20


class Register(Connection):
    """One task's view of a folder of registers."""

    def __init__(
        self, wire: Wire, folder: Path | None, *, retry: Retry, limits: Limits, pool: Executor | None = None
    ) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self._folder = folder
        if wire.live and not wire.caller:
            wire.caller = identity()

    def table(self, name: str) -> Iterator[Row]:
        """Yield the rows of ``name.csv`` that are sound.

        Raises:
            Unavailable: there is no such file, it was refused, or it has a fault; the sound rows come before that.
        """
        file = f"{name}.csv"
        body = self._read(file)
        if body is None:
            raise Unavailable(GapKind.REJECTED, f"there is no {file} in the folder of {self.wire.task.connection}")
        self._history(file)
        found = table.read(name, body)
        yield from found.rows
        _refuse(found.faults)

    def documents(self) -> Iterator[tuple[Row, str]]:
        """Yield each document of the folder ``documents`` and each row of ``documents.csv``, with the text, if known.

        Raises:
            Unavailable: there is neither, one was refused, or one has a fault; the sound ones come before that.
        """
        paths, listed = self._paths(), self._read("documents.csv")
        if paths is None and listed is None:
            place = f"the folder of {self.wire.task.connection}"
            raise Unavailable(GapKind.REJECTED, f"there is no folder {DOCUMENTS} and no documents.csv in {place}")
        faults: list[Fault] = []
        for path in paths or ():
            body = self._read(path)
            if body is None:
                raise Unavailable(GapKind.TRUNCATED, f"{path} was there when it was listed and is gone")
            self._history(path)
            row, text, wrong = document.read(path, body)
            faults += wrong
            if row is not None:
                yield row, text
        if listed is not None:
            self._history("documents.csv")
            found = table.read("documents", listed)
            faults += found.faults
            yield from ((row, "") for row in found.rows)
        _refuse(faults)

    def now(self) -> datetime:
        """The time of asking, on record, so that a replay comes to the same period."""
        exchange = self.wire.exchange(Ask("collector:clock", {}), lambda: Answer(0, stamp(datetime.now(UTC)).encode()))
        self.trail.note(self.wire.conclude(exchange))
        return instant(exchange.answer.body.decode())

    def _read(self, path: str) -> bytes | None:
        limit = min(FILE_BYTES, self.limits.max_reply_bytes)
        return self._asked("register:read", path, lambda folder: file_in(folder, path, limit))

    def _paths(self) -> list[str] | None:
        body = self._asked("register:list", DOCUMENTS, documents_in)
        return None if body is None else [str(path) for path in json.loads(body)]

    def _history(self, path: str) -> None:
        self._asked("register:git-log", path, lambda folder: log_in(folder, path))

    def _asked(self, operation: str, path: str, send: Callable[[Path], Answer]) -> bytes | None:
        """The bytes of the answer; ``None`` where there is no such file.

        Raises:
            Unavailable: refused, or larger than allowed.
        """
        self.require("register", operation, {"path": path})

        def asked() -> Answer:
            if self._folder is None:
                raise AssertionError("a replay reads no file")
            try:
                return send(self._folder)
            except OSError as error:
                return _failure(error)

        answer = (exchange := self.wire.exchange(Ask(operation, {"path": path}), asked)).answer
        absent = answer.detail == ABSENT
        error = "absent" if absent else answer.failure
        self.trail.note(self.wire.conclude(exchange, last=not answer.failure, error=error))
        if answer.failure and not absent:
            raise Unavailable(GapKind(answer.failure), f"{path} could not be read: {answer.detail}", operation)
        return None if absent else answer.body


def file_in(folder: Path, path: str, limit: int = FILE_BYTES) -> Answer:
    """The bytes of a file below a folder.

    Raises:
        OSError: there is none, it may not be read, or a symbolic link leads there.
    """
    with ExitStack() as stack:
        where = _folder_of(stack, folder, path.split("/")[:-1])
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        number = os.open(path.rpartition("/")[2], flags, dir_fd=where)
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return _failed(GapKind.REJECTED, "it is not a regular file")
            body = file.read(limit + 1)
    if len(body) > limit:
        return _failed(GapKind.OVERSIZED, f"it is larger than {limit} bytes")
    return Answer(0, body)


def documents_in(folder: Path) -> Answer:
    """The paths of the documents below the folder, sorted, as a JSON list.

    Raises:
        OSError: there is no folder of documents, or it may not be read.
    """
    found: list[str] = []
    waiting = [DOCUMENTS]
    while waiting:
        here = waiting.pop()
        with ExitStack() as stack:
            number = _folder_of(stack, folder, here.split("/"))
            with os.scandir(number) as entries:
                for entry in entries:
                    name = f"{here}/{entry.name}"
                    if not entry.name.isprintable():
                        return _failed(GapKind.MALFORMED, f"{name!a} has a name that cannot be printed")
                    if entry.is_symlink():
                        return _failed(GapKind.REJECTED, f"{name} is a symbolic link")
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith("."):
                            waiting.append(name)
                    elif entry.name.endswith(".md"):
                        found.append(name)
        if len(found) > MOST_DOCUMENTS or here.count("/") > DEEPEST:
            what = f"it holds more than {MOST_DOCUMENTS} documents, or folders {DEEPEST} deep"
            return _failed(GapKind.OVERSIZED, what)
    return Answer(0, json.dumps(sorted(found)).encode())


def log_in(folder: Path, path: str) -> Answer:
    """The commit of the work tree, and the last one of the file with the id of its content; empty without git."""
    head = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return Answer(0, b"{}", detail="not under git")
    told = _git(folder, "log", "-1", "--no-color", "--no-mailmap", "--format=%H%n%cI%n%an <%ae>", "--", path)
    blob = _git(folder, "rev-parse", "--verify", "--quiet", f"HEAD:./{path}")
    if not told or not blob or len(lines := told.split("\n")) != 3:
        return Answer(0, b"{}", detail="not in git yet")
    log = {"head": head, "blob": blob, "commit": lines[0], "committed": lines[1], "author": lines[2]}
    return Answer(0, json.dumps(log).encode())


def _folder_of(stack: ExitStack, folder: Path, names: Sequence[str]) -> int:
    """The opened folder below ``folder``; no part of the way may be a symbolic link, nor lead upwards."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    number = os.open(folder, flags)
    stack.callback(os.close, number)
    for name in names:
        if name in ("", ".", ".."):
            raise ValueError(f"{name!r} is no name of a folder")
        number = os.open(name, flags | os.O_NOFOLLOW, dir_fd=number)
        stack.callback(os.close, number)
    return number


def _git(folder: Path, *words: str) -> str:
    """What git answered; empty where there is no git, or it refused."""
    program = shutil.which("git", path=PATH)
    if program is None:
        return ""
    environment = {
        "PATH": PATH, "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C", "TZ": "UTC", "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_CONFIG_NOSYSTEM": "1",
    }  # fmt: skip
    try:
        done = subprocess.run(
            [program, *GIT[1:], *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=GIT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 and len(done.stdout) < 4096 else ""


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        more = f", and {len(faults) - 1} more faults" if len(faults) > 1 else ""
        raise Unavailable(GapKind.MALFORMED, f"{faults[0]}{more}")


def _failed(kind: GapKind, detail: str) -> Answer:
    return Answer(None, failure=str(kind), detail=detail)


def _failure(error: OSError) -> Answer:
    if isinstance(error, FileNotFoundError):
        return _failed(GapKind.REJECTED, ABSENT)
    if isinstance(error, PermissionError):
        return _failed(GapKind.DENIED, "access was denied")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):  # O_NOFOLLOW met a link
        return _failed(GapKind.REJECTED, "a symbolic link stands in its place, or in the way to it")
    return _failed(GapKind.REJECTED, os.strerror(error.errno or 0))
