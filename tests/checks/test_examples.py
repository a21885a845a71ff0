"""Every check does on its examples what they say, without a socket, a file or a process."""

from __future__ import annotations

import _strptime  # noqa: F401 - loaded before the hook is armed, as strptime loads it when first used
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector import examples, plugins
from collector.model import Outcome

CHECKS = plugins.load_checks()
EXAMPLES = list(examples.load(Path(__file__).parent, CHECKS))

_forbidden = ("socket.", "open", "subprocess.", "os.system", "os.exec", "os.fork", "time.sleep")
_armed = False


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _armed and event.startswith(_forbidden):
        raise AssertionError(f"a check did {event} {args!r}")


sys.addaudithook(_audit)


@contextmanager
def no_outside() -> Iterator[None]:
    """Any socket, file or process is an error."""
    global _armed
    _armed = True
    try:
        yield
    finally:
        _armed = False


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{e.check}-{e.outcome}-{n}" for n, e in enumerate(EXAMPLES)])
def test_example(example: examples.Example) -> None:
    with no_outside():
        outcome, reason = example.run(CHECKS[example.check])
    assert outcome == example.outcome, reason
    assert example.reason in reason
    assert reason[0] != " "
    assert not reason.endswith(".")


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_a_passing_a_failing_and_an_unknown_example(check: str) -> None:
    shown = Counter(example.outcome for example in EXAMPLES if example.check == check)
    assert {Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN} <= set(shown)


def test_the_hook_refuses_what_a_check_must_not_do() -> None:
    with pytest.raises(AssertionError, match="a check did open"), no_outside():
        Path(__file__).read_text()
