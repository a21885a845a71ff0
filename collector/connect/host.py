"""The Linux machine this program runs on: files and the output of programs, read and never changed."""

from __future__ import annotations

import json
import os
import pwd
import selectors
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from collector.connect.base import Connection, Limits
from collector.connect.retry import Retry
from collector.connect.transport import PIECE, gathered
from collector.connect.wire import Answer, Ask, Wire
from collector.model import GapKind, Refused, Unavailable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for, whatever the environment says."""

MAX_STDERR = 2000
DENIAL = ("permission denied", "operation not permitted", "must be root", "must be superuser")
"""What programs say when they lack a privilege; it decides between two words for a gap, never about a verdict."""


class Host(Connection):
    """One task's view of the machine. What is read is read at once; only the answer on record tells what was found."""

    def __init__(
        self,
        wire: Wire,
        *,
        retry: Retry,
        limits: Limits,
        pool: Executor | None = None,
        root: Path = Path("/"),
        path: str = PATH,
    ) -> None:
        super().__init__(wire, retry=retry, limits=limits, pool=pool)
        self._root = root
        self._path = path
        if wire.live and not wire.caller:
            wire.caller = identity()

    def read(self, path: str) -> str:
        """Content of a file, as UTF-8 with replacement of what is not.

        Raises:
            Unavailable: refused, absent, not a regular file, or larger than allowed.
        """
        return _text(self._file("host:read", path, lambda: self._read(path)) or b"")

    def attempt_read(self, path: str, *, absent_ok: bool = False) -> Any:
        """Like :meth:`read`, to be put in a row: a refusal is a :class:`Refused`.

        With ``absent_ok`` an absent file is ``None``.
        """

        def ask() -> str | None:
            body = self._file("host:read", path, lambda: self._read(path), absent_ok)
            return None if body is None else _text(body)

        return _refused(ask)

    def list(self, path: str, *, absent_ok: bool = False) -> Any:
        """Names in a folder, sorted; with ``absent_ok`` ``None`` where there is no such folder.

        Raises:
            Unavailable: refused, absent, or not a folder.
        """
        body = self._file("host:list", path, lambda: self._list(path), absent_ok)
        return None if body is None else json.loads(body)

    def run(self, *argv: str, ok: Sequence[int] = (0,)) -> str:
        """What a program wrote to its standard output; it gets no input, no shell and an environment of four names.

        Raises:
            Unavailable: absent, too slow, too talkative, or it ended with a status that is not in ``ok``.
        """
        params = {"argv": [*argv]}
        self.require("host", "host:run", params)
        exchange = self.wire.exchange(Ask("host:run", params, _hostname()), lambda: self._run(argv))
        answer = exchange.answer
        error = _run_error(argv, answer, ok)
        self.trail.note(self.wire.conclude(exchange, last=error is None, error=str(error.kind) if error else ""))
        if error:
            raise error
        return _text(answer.body)

    def attempt_run(self, *argv: str, ok: Sequence[int] = (0,)) -> Any:
        """Like :meth:`run`, to be put in a row: a failure is a :class:`Refused`."""
        return _refused(lambda: self.run(*argv, ok=ok))

    def attempt_first(self, *programs: Sequence[str]) -> tuple[Sequence[str], Any]:
        """The first program that answers, and its output; no program, and why, where none does.

        The others are ways to ask the same, so that nothing is missing where they are not there.
        """
        silent: list[int] = []
        refusals: list[Refused] = []
        for argv in programs:
            before = set(self.wire.numbers)
            reply = self.attempt_run(*argv)
            if not isinstance(reply, Refused):
                self.wire.stood_in_for(silent)
                return argv, reply
            silent += set(self.wire.numbers) - before
            refusals.append(reply)
        kinds = [refusal.kind for refusal in refusals if refusal.kind != GapKind.ABSENT_PROGRAM]
        reason = "; ".join(refusal.reason for refusal in refusals)
        return (), Refused(kinds[0] if kinds else GapKind.ABSENT_PROGRAM, reason, "host:run")

    def _file(self, operation: str, path: str, send: Callable[[], Answer], absent_ok: bool = False) -> bytes | None:
        self.require("host", operation, {"path": path})
        exchange = self.wire.exchange(Ask(operation, {"path": path}, _hostname()), send)
        answer = exchange.answer
        absent = answer.failure == GapKind.REJECTED and answer.detail == ABSENT
        error = "absent" if absent and absent_ok else answer.failure
        self.trail.note(self.wire.conclude(exchange, last=not answer.failure, error=error))
        if absent and absent_ok:
            return None
        if answer.failure:
            raise Unavailable(GapKind(answer.failure), f"{path} could not be read: {answer.detail}", operation)
        return answer.body

    def _read(self, path: str) -> Answer:
        try:
            with open(self._at(path), "rb", opener=_open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return _failed(GapKind.REJECTED, "it is not a regular file")
                body = gathered(iter(lambda: file.read(PIECE), b""), self.limits.max_reply_bytes)
        except OSError as error:
            return _os_failure(error)
        if isinstance(body, GapKind):
            return _failed(body, f"it is larger than {self.limits.max_reply_bytes} bytes")
        return Answer(0, body)

    def _list(self, path: str) -> Answer:
        try:
            names = sorted(os.listdir(self._at(path)))  # noqa: PTH208 - names, as bytes may stand in them
        except OSError as error:
            return _os_failure(error)
        return Answer(0, json.dumps(names).encode())

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def _run(self, argv: Sequence[str]) -> Answer:
        program = shutil.which(argv[0], path=self._path)
        if program is None:
            return _failed(GapKind.ABSENT_PROGRAM, f"there is no {argv[0]} on this machine")
        environment = {"PATH": self._path, "LC_ALL": "C", "LANG": "C", "TZ": "UTC"}
        try:
            process = subprocess.Popen(
                argv, executable=program, env=environment, cwd="/", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            return _os_failure(error)
        with process:
            answer = _collect(process, self.limits)
            if answer.failure:
                _kill(process)
        return answer


ABSENT = "there is no such file or folder"


def identity() -> str:
    """Who reads: user id, name and machine."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "unnamed"
    return f"uid {uid} ({name}) on {_hostname()}"


def _hostname() -> str:
    return os.uname().nodename


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _refused(ask: Callable[[], Any]) -> Any:
    """What was asked for, or its refusal, to be put in a row; what the source may not ask ends the list."""
    try:
        return ask()
    except Unavailable as error:
        if error.kind is GapKind.UNDECLARED:
            raise
        return Refused(error.kind, error.reason, error.operation)


def _open_at_once(path: str, flags: int) -> int:
    """A pipe without a writer must not hold the run."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _failed(kind: GapKind, detail: str) -> Answer:
    return Answer(None, failure=str(kind), detail=detail)


def _os_failure(error: OSError) -> Answer:
    if isinstance(error, FileNotFoundError):
        return _failed(GapKind.REJECTED, ABSENT)
    if isinstance(error, PermissionError):
        return _failed(GapKind.DENIED, "access was denied")
    return _failed(GapKind.REJECTED, error.strerror or type(error).__name__)


def _collect(process: subprocess.Popen[bytes], limits: Limits) -> Answer:
    """Output and status of a program, within the limits of time and size."""
    assert process.stdout
    assert process.stderr
    deadline = time.monotonic() + limits.timeout_s
    output = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    out, err = output.values()
    with selectors.DefaultSelector() as selector:
        for number in output:
            selector.register(number, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return _failed(GapKind.TIMEOUT, f"it took longer than {limits.timeout_s:g} s")
            for key, _ in ready:
                piece = os.read(key.fd, PIECE)
                if not piece:
                    selector.unregister(key.fd)
                output[key.fd] += piece
            del err[MAX_STDERR * 4 :]
            if len(out) > limits.max_reply_bytes:
                return _failed(GapKind.OVERSIZED, f"it wrote more than {limits.max_reply_bytes} bytes")
            if time.monotonic() > deadline:
                return _failed(GapKind.TIMEOUT, f"it took longer than {limits.timeout_s:g} s")
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return _failed(GapKind.TIMEOUT, f"it took longer than {limits.timeout_s:g} s")
    return Answer(status, bytes(out), detail=err.decode("utf-8", "replace").strip()[:MAX_STDERR])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _run_error(argv: Sequence[str], answer: Answer, ok: Sequence[int]) -> Unavailable | None:
    command = " ".join(argv)
    if answer.failure:
        return Unavailable(GapKind(answer.failure), f"{command} gave no output: {answer.detail}", "host:run")
    if answer.status in ok:
        return None
    said = (answer.detail or _text(answer.body)).strip().partition("\n")[0][:200]
    kind = GapKind.DENIED if any(word in answer.detail.lower() for word in DENIAL) else GapKind.REJECTED
    status = answer.status or 0
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return Unavailable(kind, f"{command} {how}{': ' + said if said else ''}".rstrip("."), "host:run")
