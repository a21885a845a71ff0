"""Shows, with the very code a run is about to use, that its checks can fail.

Each check is asked its own examples. One that no longer fails on what must fail, or has no such example, may say what
it likes: its PASS counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.api import Check
from collector.examples import Example
from collector.model import Outcome, Row

REQUIRED = (Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN)
"""Every check shows one of each."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a check did on its examples."""

    check: str
    shown: Mapping[str, int]
    """Examples by the outcome they ask for."""
    wrong: tuple[str, ...]
    """Examples that came out otherwise, in words."""

    @property
    def flaw(self) -> str:
        """Why the PASS of this check counts for nothing; empty when it counts."""
        if missing := [str(outcome) for outcome in REQUIRED if not self.shown.get(str(outcome))]:
            return f"nothing shows that the check can tell: it has no example of {', '.join(missing)}"
        if self.wrong:
            return f"the check does not do what its examples say: {self.wrong[0]}"
        return ""

    def as_row(self) -> Row:
        """How it is written in ``results.ndjson``."""
        return {"kind": "certificate", "check": self.check, "examples": dict(self.shown), "flaw": self.flaw}


def certify(checks: Iterable[Check], examples: Iterable[Example]) -> tuple[Certificate, ...]:
    """A certificate for each check, in their order."""
    by_check: dict[str, list[Example]] = {}
    for example in examples:
        by_check.setdefault(example.check, []).append(example)
    return tuple(_certificate(check, by_check.get(check.id, [])) for check in checks)


def _certificate(check: Check, examples: Iterable[Example]) -> Certificate:
    shown: Counter[str] = Counter()
    wrong = []
    for example in examples:
        shown[str(example.outcome)] += 1
        outcome, reason = example.run(check)
        if outcome != example.outcome or example.reason not in reason:
            wrong.append(f"example {shown.total()} should be {example.outcome}, is {outcome} ({reason})")
    return Certificate(check.id, dict(sorted(shown.items())), tuple(wrong))
