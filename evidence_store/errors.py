"""Errors of the store: what is wrong, where, and what to do next."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what was asked; what was sealed before is untouched."""

    exit_code = 3
    """Exit code a command line should use."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.what = what
        """What is wrong and where: one sentence, lower case, no full stop."""
        self.next_step = next_step
        """What the reader does next."""


class UsageError(StoreError):
    """The caller asked for something the store does not do; nothing was changed."""

    exit_code = 2


class ErasedError(StoreError):
    """A body is not there because it was erased or left out, and the record says so."""


class KeyFileError(StoreError):
    """A key file is missing, readable by others, unencrypted, or does not open."""

    exit_code = 2


class SignerError(StoreError):
    """A key that is kept elsewhere, in a KMS or an HSM, did not sign; what was sealed before is whole."""


class LockedError(StoreError):
    """Another process writes to the store."""

    exit_code = 2


class StampError(StoreError):
    """A time-stamp authority gave no usable token; the log stays as it is and can be stamped later."""


class VerificationError(StoreError):
    """Bytes are not what a signature, a digest or a format promised."""

    exit_code = 4


class TamperedError(VerificationError):
    """Sealed content differs from what was sealed."""

    def __init__(self, where: str, what: str, next_step: str = "") -> None:
        super().__init__(
            f"{where}: {what}",
            next_step or "keep the store as it is, run 'python -m evidence_store verify' on it, compare with a copy",
        )
        self.where = where
        """Path inside the store."""
        self.problem = what
        """What is wrong with it."""


class AnchorError(StoreError):
    """A witness or a place for copies was not reached, or refused; the log stays as it is and can be anchored later."""


class ForkError(VerificationError):
    """Somebody outside holds a head of this log that the store does not extend: its history was cut or rewritten."""
