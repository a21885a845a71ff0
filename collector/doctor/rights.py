"""What a connection may do, as far as the other side tells before a run: what lacks, and what is too much."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collector.connect.wire import Answer, Ask, Exchange, LiveWire
from collector.model import Task

FEW = 5
"""As many are named; the others are counted."""

COMPARE = "compare them by hand with: affidavit plan --permissions"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    state: str
    """``ok``, ``warning`` or ``problem``."""
    what: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.state:8} {self.what}" + (f"\n         next: {self.next_step}" if self.next_step else "")


@dataclass(frozen=True, slots=True)
class Rights:
    """What was found out about the rights of one connection."""

    missing: tuple[str, ...] = ()
    """Needed, and not held; where a token names its rights itself: not named, though a wider one may cover it."""
    changes: tuple[str, ...] = ()
    """Held, and good for changing things."""
    untold: tuple[str, ...] = ()
    """What the other side does not tell, each in words."""
    fine: str = ""
    """What is true where nothing is missing and nothing can be changed; empty where nobody could say so."""
    named_by: str = ""
    """What names these rights, where that is not the other side: ``its token``."""


class Looked:
    """A ledger that keeps nothing but the lines: a look is no evidence."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def add_object(self, data: bytes, *, request: Mapping[str, Any] | None = None) -> str:  # noqa: ARG002 - dropped
        return ""

    def add_spans(self, body: bytes, cut: Any) -> dict[str, Any]:  # noqa: ARG002 - nothing is committed
        return {}

    def add_reply(self, line: Mapping[str, Any]) -> int:
        with self._lock:
            self.lines.append(dict(line))
            return len(self.lines) - 1


class Look(LiveWire):
    """The path of a look at rights: nothing of it is kept, and no source declares what it may ask."""

    def __init__(self, task: Task, *, stop: threading.Event | None = None) -> None:
        super().__init__(task, Looked(), stop=stop)
        self.headers: Mapping[str, str] = {}
        """Of the last reply, all of them: what a token may do stands in one that no record holds."""

    def exchange(self, ask: Ask, send: Callable[[], Answer]) -> Exchange:
        """As any wire does, with an eye on the headers."""

        def sent() -> Answer:
            answer = send()
            self.headers = answer.headers
            return answer

        return super().exchange(ask, sent)


def told(where: str, rights: Rights) -> Iterator[Line]:
    """The lines that say it."""
    if rights.missing and rights.named_by:
        step = "grant what affidavit plan --permissions prints, unless a wider right covers it"
        yield Line("warning", f"{where}: {rights.named_by} does not name {named(rights.missing)}", step)
    elif rights.missing:
        step = "grant what affidavit plan --permissions prints"
        yield Line("problem", f"{where}: not allowed: {named(rights.missing)}", step)
    if rights.changes:
        holds = f"{rights.named_by} allows" if rights.named_by else "holds rights"
        step = "take them away: reading is all it does"
        yield Line("warning", f"{where}: {holds} to change things: {named(rights.changes)}", step)
    for what in rights.untold:
        yield Line("warning", f"{where}: {what}", COMPARE)
    if rights.fine and not (rights.missing or rights.changes):
        yield Line("ok", f"{where}: {rights.fine}")


def named(items: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    return ", ".join(items[:FEW]) + (f" and {len(items) - FEW} more" if len(items) > FEW else "")


def unique(items: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order they came."""
    return tuple(dict.fromkeys(items))
