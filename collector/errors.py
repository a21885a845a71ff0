"""Errors a person reads: what is wrong, and what to do next."""

import traceback
from pathlib import Path


class AffidavitError(Exception):
    """Something a person must act on; the command line prints it as two lines."""

    exit_code = 3
    """Evidence is incomplete, unless a subclass knows better (exit codes: docs/cli.md)."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.what = what
        """What is wrong and where: one sentence, lower case, no full stop."""
        self.next_step = next_step
        """What the reader does next."""


class ConfigError(AffidavitError):
    """The configuration, a check module or a mapping is wrong; nothing was started."""

    exit_code = 2


class RerunError(AffidavitError):
    """A sealed run cannot be re-performed as it was recorded."""

    exit_code = 4


def crash(error: BaseException) -> str:
    """Type, place and message of an unexpected error, the same on every machine."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {str(error)[:200]}"
