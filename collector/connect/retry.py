"""The one place that tries again: throttling and time-outs, with back-off and jitter. Refusals are final."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from collector.model import GapKind, Unavailable

T = TypeVar("T")

TRANSIENT = frozenset({GapKind.THROTTLED, GapKind.TIMEOUT, GapKind.UNREACHABLE, GapKind.SERVER_ERROR})
"""Kinds of failure that may pass by themselves."""


class Retryable(Unavailable):
    """A transient failure, with the pause the server asked for."""

    def __init__(self, kind: GapKind, reason: str, operation: str, after_s: float | None = None) -> None:
        super().__init__(kind, reason, operation)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently a transient failure is tried again."""

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 20.0
    stop: threading.Event | None = None
    """Set when the run is asked to stop: no further attempt is made."""
    waits: bool = True
    """False in a replay: the attempts are repeated, the pauses are not."""

    def run(self, attempt: Callable[[int], T]) -> T:
        """What ``attempt(n)`` returns, n = 1, 2, ...

        Raises:
            Unavailable: refused, or still failing at the last attempt.
        """
        for number in range(1, self.attempts + 1):
            try:
                return attempt(number)
            except Retryable as error:
                if number == self.attempts or (self.stop and self.stop.is_set()):
                    raise Unavailable(error.kind, f"{error.reason} ({number} attempts)", error.operation) from error
                self._pause(number, error.after_s)
        raise AssertionError("attempts is at least 1")

    def pause(self, wanted_s: float) -> None:
        """Wait, no longer than ``cap_s`` and not beyond a request to stop; a replay does not wait."""
        if self.waits:
            (self.stop or threading.Event()).wait(min(wanted_s, self.cap_s))

    def _pause(self, number: int, after_s: float | None) -> None:
        backoff = min(self.cap_s, self.base_s * 2 ** (number - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
        self.pause(max(backoff, after_s or 0.0))
