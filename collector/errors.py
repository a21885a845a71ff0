"""Errors a person reads: what is wrong, and what to do next."""


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
