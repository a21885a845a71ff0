"""What people state as evidence, with a file or in words: what each says, and how it stands on a day. Pure.

It stands beside what was read from systems and never changes a verdict: a person's word is evidence of another kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from collector.catalogue import ControlKey
from collector.errors import ConfigError
from collector.model import Row, instant, stamp

SOON = timedelta(days=30)
"""From so long before its end a statement is said to expire."""

BACKDATED = timedelta(days=30)
"""A statement effective longer than this before it was recorded is worth a question."""

LONGEST = 400
"""Characters of a title, a name or a role: a leaf is signed in one piece."""


class State(StrEnum):
    """How a statement stands."""

    VALID = "valid"
    EXPIRING = "expires soon"
    NOT_YET = "not yet valid"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


STANDING = frozenset({State.VALID, State.EXPIRING})
"""States in which a statement is evidence."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment leaf, and the leaf that withdraws it, if there is one."""

    leaf: int
    recorded: datetime
    form: str
    """``file`` or ``statement``."""
    name: str
    """Of the file; empty for a statement."""
    title: str
    sha256: str
    size: int
    controls: tuple[ControlKey, ...]
    start: datetime
    """The period it speaks of."""
    end: datetime
    """The first moment after it."""
    effective: datetime
    """From when it holds, apart from when it was recorded."""
    valid_until: datetime
    """The first moment at which it is no evidence any more."""
    by: str
    role: str
    withdrawn: Mapping[str, Any] | None = None
    """The leaf that withdraws it."""
    erased: int | None = None
    """The leaf under which its bytes were erased."""

    def state(self, at: datetime) -> State:
        """How it stands at a moment."""
        if self.withdrawn is not None:
            return State.WITHDRAWN
        if self.erased is not None:
            return State.ERASED
        if at >= self.valid_until:
            return State.EXPIRED
        if at < self.effective:
            return State.NOT_YET
        return State.EXPIRING if self.valid_until - at <= SOON else State.VALID

    def words(self, at: datetime) -> str:
        """The same with its dates."""
        match self.state(at):
            case State.WITHDRAWN:
                ended = self.withdrawn or {}
                return f"withdrawn under leaf {ended['index']} by {ended['by']}: {ended['reason']}"
            case State.ERASED:
                return f"erased under leaf {self.erased}"
            case State.EXPIRED:
                return f"expired {_days(at - self.valid_until)} ago"
            case State.NOT_YET:
                return f"not yet valid, effective in {_days(self.effective - at)}"
            case State.EXPIRING:
                return f"expires in {_days(self.valid_until - at)}"
        return "valid"

    @property
    def flags(self) -> tuple[str, ...]:
        """What an auditor may ask about its dates."""
        late = self.recorded - self.effective
        found = []
        if late > BACKDATED:
            found.append(f"effective {_days(late)} before it was recorded")
        if late < timedelta(0):
            found.append(f"recorded {_days(-late)} before it takes effect")
        if self.end > self.recorded:
            found.append(f"speaks of {_days(self.end - self.recorded)} that had not come when it was recorded")
        if self.valid_until <= self.recorded:
            found.append("had expired when it was recorded")
        return tuple(found)

    def as_row(self, at: datetime) -> Row:
        """How it is written in reports."""
        return {
            "leaf": self.leaf, "recordedOn": stamp(self.recorded), "form": self.form, "name": self.name,
            "title": self.title, "sha256": self.sha256, "size": self.size,
            "controls": [dict(zip(("framework", "edition", "id"), key, strict=True)) for key in self.controls],
            "from": stamp(self.start), "to": stamp(self.end), "effective": stamp(self.effective),
            "validUntil": stamp(self.valid_until), "by": self.by, "role": self.role, "state": str(self.state(at)),
            "standing": self.state(at) in STANDING, "words": self.words(at), "flags": list(self.flags),
        }  # fmt: skip


def facts(
    *, form: str, name: str, title: str, controls: Sequence[ControlKey], start: datetime | None, end: datetime | None,
    effective: datetime | None, valid_until: datetime, by: str, role: str, now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """The predicate of an attachment leaf, but for its object.

    When nothing else is said it is effective from now on, and speaks of the time from then until now.

    Raises:
        ConfigError: its dates contradict each other, or it does not say who states it.
    """
    effective = effective or start or now
    start, told = start or effective, end is not None
    end = end or (now if start <= now else valid_until)
    if not by.strip():
        raise ConfigError("nobody states it", "give the name, or the role, of who does with --by")
    for text in (name, title, by, role):
        if len(text) > LONGEST or not text.isprintable():
            raise ConfigError(f"{text[:40]!r} cannot stand in a leaf", f"give at most {LONGEST} visible characters")
    if end < start or (told and end == start):  # it ends with the moment before
        raise ConfigError("the period ends before it begins", "correct --from and --to")
    if valid_until <= effective:
        raise ConfigError("it would expire before it takes effect", "correct --effective and --valid-until")
    return {
        "form": form, "name": name, "title": title or name,
        "controls": [dict(zip(("framework", "edition", "id"), key, strict=True)) for key in controls],
        "from": stamp(start), "to": stamp(end), "effective": stamp(effective), "validUntil": stamp(valid_until),
        "by": by, "role": role,
    }  # fmt: skip


def attachments(notes: Iterable[Mapping[str, Any]], at: datetime) -> tuple[list[Attachment], list[int]]:
    """What was attached until a moment, oldest first, and the numbers of leaves this release cannot read."""
    found: dict[int, Attachment] = {}
    unread: list[int] = []
    for note in notes:
        if instant(note["recordedOn"]) > at:
            continue
        if note["kind"] == "redaction":
            for index, one in found.items():
                if one.sha256 in note["objects"] and one.erased is None:
                    found[index] = replace(one, erased=note["index"])
        elif note["kind"] == "attachment" and "withdraws" in note:
            if note["withdraws"] in found:
                found[note["withdraws"]] = replace(found[note["withdraws"]], withdrawn=note)
        elif note["kind"] == "attachment":
            try:
                found[note["index"]] = _read(note)
            except (KeyError, TypeError, ValueError):
                unread.append(note["index"])
    return list(found.values()), unread


def _read(note: Mapping[str, Any]) -> Attachment:
    return Attachment(
        note["index"], instant(note["recordedOn"]), note["form"], note["name"], note["title"],
        note["object"]["sha256"], note["object"]["size"],
        tuple((key["framework"], key["edition"], key["id"]) for key in note["controls"]),
        instant(note["from"]), instant(note["to"]), instant(note["effective"]), instant(note["validUntil"]),
        note["by"], note["role"],
    )  # fmt: skip


def evidence(control: Mapping[str, Any], human: Sequence[Mapping[str, Any]]) -> str:
    """Which kinds of evidence there are for a control: what systems showed, and what people state that stands."""
    machine = any(
        row.get("planned", True) and row["result"] in ("met", "exceptions", "no_occurrence") for row in control["rows"]
    )
    stands = any(one["standing"] for one in human)
    if machine:
        return "machine and human evidence" if stands else "machine evidence"
    if stands:
        return "human evidence only"
    return "human evidence, none of it valid" if human else "none"


def _days(span: timedelta) -> str:
    days = round(span / timedelta(days=1))
    return "less than a day" if days < 1 else "1 day" if days == 1 else f"{days} days"
