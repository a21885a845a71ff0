"""Secrets stay references until the moment they are used, and then hide themselves."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, Self

from collector.errors import ConfigError

MAX_BYTES = 64 * 1024
"""No key or token is larger."""

_REFERENCE = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):([^\x00-\x1f]+)")


class Secret:
    """A value that shows itself only when asked by name, and never leaves the process."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: pass it on, keep it nowhere."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere: pass its reference")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is to be found: ``env:NAME`` or ``file:PATH``; safe to print and to store."""

    kind: Literal["env", "file"]
    name: str
    """Name of the environment variable, or path relative to the folder of the configuration."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference that ``text`` spells.

        Raises:
            ConfigError: it spells none; the text is not repeated, since it may be the secret itself.
        """
        found = _REFERENCE.fullmatch(text)
        if not found:
            raise ConfigError(
                "a literal value stands where a reference to a secret is needed",
                "write env:NAME or file:PATH; if it was the secret itself, replace the secret",
            )
        return cls("env", found[2]) if found[1] else cls("file", found[4])

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    def resolve(self, base: Path) -> Secret:
        """The secret as it is now; a relative path starts at ``base``. One line break at the end of a file is dropped.

        Raises:
            ConfigError: it is missing, empty, or in a file that others may read.
        """
        value = self._from_environment() if self.kind == "env" else self._from_file(base / self.name)
        if not value:
            raise self._error("is empty", "put the secret there")
        return Secret(value)

    def _from_environment(self) -> str:
        value = os.environ.get(self.name)
        if value is None:
            raise self._error("is not set", f"set the environment variable {self.name} for this program")
        return value

    def _from_file(self, path: Path) -> str:
        try:
            file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}", f"put the secret into {path}, mode 0600") from None
        with file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise self._error("is not a plain file", "name a plain file")
            if status.st_mode & 0o077:
                raise self._error(f"may be used by others: mode {status.st_mode & 0o777:04o}", f"chmod 600 {path}")
            if status.st_uid not in (0, os.geteuid()):
                raise self._error(f"belongs to user {status.st_uid}", f"make {path} belong to the user that runs this")
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise self._error(f"is larger than {MAX_BYTES} bytes", "name the right file")
        try:
            return raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raw = b""
        raise self._error("is not UTF-8 text", "name the right file; a passphrase or token is text")

    def _error(self, what: str, next_step: str) -> ConfigError:
        return ConfigError(f"secret {self} {what}", next_step)


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe without a writer must not hold us up."""
    return os.open(path, flags | os.O_NONBLOCK)
