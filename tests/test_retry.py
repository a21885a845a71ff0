"""Only what may pass by itself is tried again, with growing pauses, and never beyond a request to stop."""

from __future__ import annotations

import threading
import time

import pytest

from collector.connect.retry import TRANSIENT, Retry, Retryable
from collector.model import GapKind, Unavailable


class Attempts:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, kind: GapKind = GapKind.THROTTLED, after_s: float | None = None) -> None:
        self.failures = failures
        self.kind = kind
        self.after_s = after_s
        self.asked: list[int] = []

    def __call__(self, number: int) -> str:
        self.asked.append(number)
        if len(self.asked) <= self.failures:
            raise Retryable(self.kind, "x:Y was throttled", "x:Y", self.after_s)
        return "here"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(Retry, "pause", lambda self, wanted_s: waited.append(min(wanted_s, self.cap_s)))
    return waited


def test_what_passes_by_itself_is_tried_again_with_growing_pauses(pauses: list[float]) -> None:
    attempts = Attempts(4)
    assert Retry(attempts=5, base_s=1.0, cap_s=4.0).run(attempts) == "here"
    assert attempts.asked == [1, 2, 3, 4, 5]
    for pause, limit in zip(pauses, (1.0, 2.0, 4.0, 4.0), strict=True):
        assert limit / 2 <= pause <= limit


def test_the_last_failure_says_how_often_it_was_tried(pauses: list[float]) -> None:
    with pytest.raises(Unavailable, match=r"x:Y was throttled \(3 attempts\)") as error:
        Retry(attempts=3).run(Attempts(9))
    assert not isinstance(error.value, Retryable)
    assert (error.value.kind, error.value.operation) == (GapKind.THROTTLED, "x:Y")
    assert len(pauses) == 2


def test_what_the_server_asks_for_is_waited_for_up_to_the_cap(pauses: list[float]) -> None:
    assert Retry(attempts=2, base_s=0.1, cap_s=20).run(Attempts(1, after_s=7)) == "here"
    assert Retry(attempts=2, base_s=0.1, cap_s=20).run(Attempts(1, after_s=9999)) == "here"
    assert pauses == [7, 20]


def test_a_refusal_is_final() -> None:
    asked = []

    def refused(number: int) -> None:
        asked.append(number)
        raise Unavailable(GapKind.DENIED, "x:Y was refused", "x:Y")

    with pytest.raises(Unavailable, match="was refused"):
        Retry(attempts=5).run(refused)
    assert asked == [1]
    assert GapKind.DENIED not in TRANSIENT
    assert GapKind.UNAUTHENTICATED not in TRANSIENT


def test_a_request_to_stop_ends_the_attempts_and_the_pause() -> None:
    stop = threading.Event()
    retry = Retry(attempts=5, base_s=30, cap_s=30, stop=stop)
    threading.Timer(0.05, stop.set).start()
    started = time.monotonic()
    attempts = Attempts(9)
    with pytest.raises(Unavailable, match=r"\(2 attempts\)"):
        retry.run(attempts)
    assert time.monotonic() - started < 5
    assert attempts.asked == [1, 2]


def test_a_replay_repeats_the_attempts_and_does_not_wait() -> None:
    started = time.monotonic()
    retry = Retry(attempts=4, base_s=60, cap_s=60, waits=False)
    assert retry.run(Attempts(3)) == "here"
    retry.pause(60)
    assert time.monotonic() - started < 1


def test_a_live_pause_waits_and_is_capped() -> None:
    started = time.monotonic()
    Retry(cap_s=0.05).pause(60)
    assert 0.04 <= time.monotonic() - started < 5


def test_no_attempt_at_all_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        Retry(attempts=0).run(Attempts(0))
