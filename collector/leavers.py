"""Who left and can still get in: one screen over the systems of a run, each line with the reply that shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from collector.judge import SEEN
from collector.model import Outcome
from collector.registers.matching import AND
from collector.report.text import visible
from evidence_store.run import SealedRun

CHECK = re.compile(r"joins\.[a-z-]+\.leavers(?:-[a-z-]+)?")
"""Checks that hold live accounts against the people who left."""
OTHERWISE = "the check tells it in words of its own"
"""Why nobody is named: a check that is not ours may word its reason as it likes."""
PERSON = re.compile(
    r"person (\S+) \((.+?)\) left(?: on ([0-9-]{10}), ([0-9]+) days ago"
    r"| by its status, though its end ([0-9-]{10}) is still to come)?.*?; (.+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply on record."""

    i: int
    operation: str
    received: str
    sha256: str
    asked: tuple[str, ...]
    """What was asked for by name: the values of its parameters."""


@dataclass(frozen=True, slots=True)
class Access:
    """One live account of somebody who left."""

    scope: str
    """Where: ``connection[/account][/region]``."""
    held: str
    """What it can do, in the words of the finding."""
    how: str
    """How it is known whose it is."""
    check: str
    replies: tuple[Reply, ...]
    """Every reply the finding rests on."""

    def telling(self) -> tuple[Reply, ...]:
        """The registers, and what was asked about the account by name; where nothing was, the last of its list."""
        registers = tuple(reply for reply in self.replies if reply.operation.startswith("register:"))
        others = tuple(reply for reply in self.replies if reply not in registers)
        words = {word.strip(",;") for word in self.held.split()}
        return registers + (tuple(reply for reply in others if words & set(reply.asked)) or others[-1:])


@dataclass(frozen=True, slots=True)
class Leaver:
    """One person who left, with everything that is still live."""

    person: str
    left: str
    """Last day of work; empty where the register does not say."""
    days: int | None
    """From that day to the collection; ``None`` where no day is told, or it is still to come."""
    access: tuple[Access, ...]

    def shared(self) -> tuple[Reply, ...]:
        """Replies that all of it rests on: the registers, where there are several accounts."""
        first, *rest = self.access
        return tuple(reply for reply in first.telling() if rest and all(reply in one.telling() for one in rest))


@dataclass(frozen=True, slots=True)
class Leavers:
    """What a run shows of people who left."""

    run: int
    people: tuple[Leaver, ...]
    asked: tuple[str, ...]
    """Scopes in which accounts were held against the register."""
    unknown: tuple[tuple[str, str, str], ...]
    """Check, scope and reason of every account of which nothing could be said."""
    otherwise: tuple[Access, ...] = ()
    """What failed and does not say who left in the words we read: its whole reason, under nobody's name."""

    def as_row(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def leavers(run: SealedRun) -> Leavers:
    """Everybody who left and still has a live account, by how long they are gone.

    Raises:
        TamperedError: a file of the run is not what was sealed.
    """
    found = [row for row in run.results() if row["kind"] == "finding" and CHECK.fullmatch(row["check"])]
    live = [row for row in found if row["outcome"] == Outcome.FAIL]
    cited = {number for row in live for number in row["evidence"]}
    replies = {line["i"]: line for line in run.replies() if line["i"] in cited}
    people: dict[str, list[tuple[re.Match[str], Access]]] = {}
    otherwise: list[Access] = []
    for row in live:
        cites = tuple(_replies(row["evidence"], replies))
        parts = [PERSON.fullmatch(reason) for reason in row["reason"].split(AND)]
        if None in parts:
            otherwise.append(Access(row["scope"], row["reason"], OTHERWISE, row["check"], cites))
            continue
        for told in filter(None, parts):
            access = Access(row["scope"], told[6], told[2], row["check"], cites)
            people.setdefault(told[1], []).append((told, access))
    every = (_leaver(who, accounts) for who, accounts in people.items())
    unknown = ((row["check"], row["scope"], row["reason"]) for row in found if row["outcome"] in ("UNKNOWN", "ERROR"))
    return Leavers(
        run.number,
        tuple(sorted(every, key=lambda one: (-(one.days or 0), one.person))),
        tuple(sorted({row["scope"] for row in found})),
        tuple(sorted(unknown)),
        tuple(sorted(otherwise, key=lambda one: (one.check, one.scope, one.held))),
    )


def screen(shown: Leavers) -> str:
    """All of it as text for a terminal."""
    lines = [f"Run {shown.run}: people who left and still have a live account"]
    if not shown.asked:
        lines.append("No account was held against a register of people; configure a connection of kind register.")
    for one in shown.people:
        when = "left, nobody wrote when"
        if one.left:
            when = f"left on {one.left}, {one.days} days before the collection"
            if one.days is None:
                when = f"left by the status, though the last day {one.left} is still to come"
        lines += ["", f"{one.person}  {when}"]
        shared = one.shared()
        lines += [f"    {_told(reply)}" for reply in shared]
        for access in one.access:
            lines += [f"  {access.scope}: {access.held}", f"    matched: {access.how}"]
            lines += [f"    {_told(reply)}" for reply in access.telling() if reply not in shared]
    for access in shown.otherwise:
        lines += ["", f"no name, {access.how}: {access.check}", f"  {access.scope}: {access.held}"]
        lines += [f"    {_told(reply)}" for reply in access.telling()]
    if shown.asked:
        how_many = "1 person" if len(shown.people) == 1 else f"{len(shown.people)} people"
        lines += ["", f"{how_many}; places asked: {', '.join(shown.asked)}"]
    untold = Counter((check, scope, reason.partition(SEEN)[0]) for check, scope, reason in shown.unknown)
    for (check, scope, reason), times in untold.items():
        lines.append(f"not known: {check} in {scope}: {reason}" + (f" ({times} times)" if times > 1 else ""))
    return "\n".join(map(visible, lines))


def _told(reply: Reply) -> str:
    return f"reply {reply.i}: {reply.operation} at {reply.received}, sha256 {reply.sha256[:12]}"


def _leaver(person: str, told: Iterable[tuple[re.Match[str], Access]]) -> Leaver:
    every = sorted(told, key=lambda item: (item[1].scope, item[1].held))
    first = every[0][0]
    left, days = first[3] or first[5] or "", int(first[4]) if first[4] else None
    return Leaver(person, left, days, tuple(access for _, access in every))


def _replies(numbers: Iterable[int], lines: Mapping[int, Mapping[str, Any]]) -> Iterable[Reply]:
    for number in numbers:
        line = lines[number]
        if line.get("sha256") and line["op"] != "register:git-log":  # tells of the file, not of the account
            asked = tuple(str(value) for value in line["params"].values())
            yield Reply(number, line["op"], line["received"], line["sha256"], asked)
