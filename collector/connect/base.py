"""What every connection shares: deferred sub-requests, and which replies a row came from."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from collector.connect.retry import Retry
from collector.connect.rights import covers, needed
from collector.connect.wire import Wire, left_before_its_end
from collector.model import GapKind, Refused, Row, Unavailable

T = TypeVar("T")

WINDOW = 32
"""Rows whose sub-requests may be under way at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one reply and one list may be."""

    max_pages: int = 10_000
    max_reply_bytes: int = 64 * 1024 * 1024
    timeout_s: float = 60.0


class Inline(Executor):
    """Runs each job at once in the caller's thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future that is already done."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@dataclass(frozen=True, slots=True)
class Told:
    """A value and the replies that told it."""

    value: Any
    refs: tuple[int, ...]


class Pending:
    """A sub-reply that is under way; the engine waits for it when the row is written."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Told]) -> None:
        self._future = future

    def told(self) -> Told:
        """The value, or a :class:`Refused`, and its replies; waits for them."""
        return self._future.result()


class Trail:
    """Which replies the next row rests on.

    Replies read before the first row count for every row, a page counts for the rows read from it, and what is read
    between two rows counts for the later one.
    """

    def __init__(self) -> None:
        self.base: set[int] = set()
        self.pages: dict[object, int] = {}
        """The page that each list under way is at."""
        self.begun: dict[object, str] = {}
        """The operation of each list that was begun and not read to its end, unless it was the list that broke off."""
        self.recent: set[int] = set()
        self._yielded = False

    def note(self, *refs: int) -> None:
        """Replies were read."""
        (self.recent if self._yielded else self.base).update(refs)

    @contextmanager
    def listing(self, operation: str) -> Iterator[Callable[[int], None]]:
        """Within, what is given is told each page of a list. Its last page counts for the row after the list, too.

        A list that is left before its end leaves no page behind that rows of another list would seem to rest on.
        """
        own = object()
        self.begun[own] = operation

        def at(page: int) -> None:
            self.pages[own] = page

        try:
            yield at
            del self.begun[own]
        except Unavailable:
            del self.begun[own]
            raise
        finally:
            if (last := self.pages.pop(own, None)) is not None:
                self.note(last)

    def take(self) -> set[int]:
        """The replies of the row that is being written."""
        refs = self.base | self.recent | set(self.pages.values())
        self.recent = set()
        self._yielded = True
        return refs


class Connection:
    """One task's view of the outside. Not to be shared between tasks."""

    def __init__(self, wire: Wire, *, retry: Retry, limits: Limits, pool: Executor | None = None) -> None:
        self.wire = wire
        self.retry = retry
        self.limits = limits
        self.trail = Trail()
        self._pool = pool or Inline()
        self._under_way: set[Future[Told]] = set()
        self.left_out: Counter[str] = Counter()
        """Records that were read and are not of the population, by the rule that leaves them out."""

    def settle(self) -> None:
        """Wait for all that was asked, also for what no row holds: it belongs on record before the source ends."""
        wait(list(self._under_way))

    def leave_out(self, rule: str) -> None:
        """Count a record that was read and is not of the population, by the rule in words ("archived repositories")."""
        self.left_out[rule] += 1

    def left(self) -> Unavailable | None:
        """What was asked and not answered, or not read to its end, without a word of it in a row; ``None`` if nothing.

        To be asked once the source has ended.
        """
        if left := self.wire.left():
            return left
        operation = next(iter(self.trail.begun.values()), None)
        return left_before_its_end(operation) if operation else None

    def defer(self, ask: Callable[[list[int]], Any]) -> Any:
        """What ``ask(refs)`` will tell, once a worker is free; a refusal becomes a :class:`Refused`.

        ``ask`` appends the number of every reply it read to ``refs``.
        """

        def job() -> Told:
            refs: list[int] = []
            try:
                value = ask(refs)
            except Unavailable as error:
                value = Refused(error.kind, error.reason, error.operation)
            return Told(value, tuple(refs))

        future = self._pool.submit(job)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return Pending(future)

    def ahead(self, items: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The tuples in order, deferred parts resolved, with a window of requests under way.

        Raises:
            Unavailable: when a deferred part was refused; use it for parts the row cannot do without.
        """
        window: deque[tuple[tuple[Any, ...], set[int]]] = deque()
        broken: Unavailable | None = None
        rows = iter(items)
        while broken is None:
            try:
                window.append((next(rows), set(self.trail.pages.values())))
            except StopIteration:
                break
            except Unavailable as error:  # the list broke off; what was read before it is kept
                broken = error
            if len(window) >= WINDOW:
                yield self._resolved(*window.popleft())
        while window:
            yield self._resolved(*window.popleft())
        if broken:
            raise broken

    def pause(self, wanted_s: float) -> None:
        """Wait before asking again for what the other side is still preparing; not at all in a replay."""
        self.retry.pause(wanted_s)

    def require(self, kind: str, operation: str, params: Mapping[str, Any]) -> None:
        """Return when the source declares the rights that a request of this kind of connection needs.

        Raises:
            Unavailable: it does not (kind ``undeclared``).
        """
        if (missing := self.lacks(kind, operation, params)) is not None:
            told = f"{operation} was not asked: the source does not declare {missing}"
            raise self.wire.undeclared(Unavailable(GapKind.UNDECLARED, told, operation))

    def lacks(self, kind: str, operation: str, params: Mapping[str, Any]) -> str | None:
        """The first right a request needs and the source does not declare; ``None`` where nobody holds it to that."""
        declared = self.wire.permissions
        if declared is None:
            return None
        return next((right for right in needed(kind, operation, params) if not covers(kind, declared, right)), None)

    def _resolved(self, item: tuple[Any, ...], pages: set[int]) -> tuple[Any, ...]:
        values = []
        for part in item:
            if isinstance(part, Pending):
                told = part.told()
                if isinstance(told.value, Refused):
                    raise told.value.unavailable()
                self.trail.note(*told.refs)
                part = told.value
            values.append(part)
        self.trail.recent |= pages
        return tuple(values)


@dataclass(frozen=True, slots=True)
class Read:
    """A row and the replies it rests on, as manifest line numbers."""

    row: Row
    refs: tuple[int, ...]
    """Replies the whole row rests on: its page, and what was asked before it."""
    parts: dict[str, tuple[int, ...]]
    """Replies that one field of the row rests on alone, by its name."""


def stream(connection: Connection, rows: Iterable[Row]) -> Iterator[Read]:
    """Rows of a source with the replies they rest on; deferred parts are awaited in order.

    Raises:
        Unavailable: the list broke off; every row read before that has been yielded.
    """
    window: deque[tuple[Row, set[int]]] = deque()
    broken: Unavailable | None = None
    try:
        for row in rows:
            window.append((row, connection.trail.take()))
            if len(window) >= WINDOW:
                yield _settled(*window.popleft())
    except Unavailable as error:
        broken = error
    while window:
        yield _settled(*window.popleft())
    if broken:
        raise broken


def _settled(row: Row, refs: set[int]) -> Read:
    settled: Row = {}
    parts: dict[str, tuple[int, ...]] = {}
    for name, value in row.items():
        told: set[int] = set()
        settled[name] = _settle(value, told)
        if told:
            parts[name] = tuple(sorted(told))
    return Read(settled, tuple(sorted(refs)), parts)


def _settle(value: Any, refs: set[int]) -> Any:
    if isinstance(value, Pending):
        told = value.told()
        refs.update(told.refs)
        value = told.value
    if isinstance(value, Refused):
        return value.as_row()
    if isinstance(value, dict):
        return {name: _settle(item, refs) for name, item in value.items()}
    if isinstance(value, list):
        return [_settle(item, refs) for item in value]
    return value
