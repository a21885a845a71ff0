"""Exceptions a person lets stand for a time: a second fact beside a finding, which stays FAIL. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from collector.errors import ConfigError
from collector.model import Outcome, Row, instant, stamp

LONGEST = timedelta(days=366)
"""A waiver ends: what shall stand for longer is a rule to be changed, not an exception."""

ACTIVE, EXPIRED, WITHDRAWN = "active", "expired", "withdrawn"


@dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver leaf, and the leaf that withdraws it, if there is one."""

    leaf: int
    recorded: datetime
    check: str
    resource: str
    scope: str
    """Empty: wherever the resource is found."""
    until: datetime
    """The first moment at which it no longer holds."""
    reason: str
    by: str
    ticket: str
    withdrawn: Mapping[str, Any] | None = None
    """The leaf that withdraws it."""

    def state(self, at: datetime) -> str:
        """``active``, ``expired`` or ``withdrawn``."""
        if self.withdrawn is not None and instant(self.withdrawn["recordedOn"]) <= at:
            return WITHDRAWN
        return EXPIRED if at >= self.until else ACTIVE

    def covers(self, finding: Mapping[str, Any]) -> bool:
        """Whether it speaks of this finding. Only a FAIL can be waived: what is not known cannot be let stand."""
        same = (finding["check"], finding["resource"]) == (self.check, self.resource)
        return same and self.scope in ("", finding["scope"]) and finding["outcome"] == Outcome.FAIL

    def as_row(self, at: datetime) -> Row:
        """How it is written in reports."""
        ended = self.withdrawn or {}
        return {
            "leaf": self.leaf, "recordedOn": stamp(self.recorded), "check": self.check, "resource": self.resource,
            "scope": self.scope, "until": stamp(self.until), "reason": self.reason, "by": self.by,
            "ticket": self.ticket, "state": self.state(at), "withdrawnBy": ended.get("by", ""),
            "withdrawnWhy": ended.get("reason", ""), "withdrawnLeaf": ended.get("index"),
        }  # fmt: skip


def facts(
    check: str, resource: str, scope: str, until: datetime, reason: str, by: str, ticket: str, now: datetime
) -> dict[str, Any]:
    """The predicate of a waiver leaf.

    Raises:
        ConfigError: it would never end, has ended, or does not say why or by whom.
    """
    if not (reason.strip() and by.strip() and resource.strip()):
        raise ConfigError("a waiver needs a resource, a reason and a name", "say what is let stand, why and by whom")
    if until <= now:
        raise ConfigError(f"the waiver would have ended at {stamp(until)}", "name a later day with --until")
    if until - now > LONGEST:
        raise ConfigError(
            f"the waiver would hold until {stamp(until)}, more than {LONGEST.days} days",
            "name an earlier day; to change the rule itself, change its limit or disable the check with a reason",
        )
    return {
        "check": check, "resource": resource, "scope": scope, "until": stamp(until), "reason": reason, "by": by,
        "ticket": ticket,
    }  # fmt: skip


def waivers(notes: Iterable[Mapping[str, Any]], at: datetime) -> tuple[list[Waiver], list[int]]:
    """The waivers recorded until a moment, oldest first, and the numbers of leaves this release cannot read."""
    found: dict[int, Waiver] = {}
    unread: list[int] = []
    for note in notes:
        if note["kind"] != "waiver" or instant(note["recordedOn"]) > at:
            continue
        if "withdraws" in note:
            if note["withdraws"] in found:
                found[note["withdraws"]] = replace(found[note["withdraws"]], withdrawn=note)
            continue
        try:
            found[note["index"]] = Waiver(
                note["index"], instant(note["recordedOn"]), note["check"], note["resource"], note["scope"],
                instant(note["until"]), note["reason"], note["by"], note["ticket"],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            unread.append(note["index"])
    return list(found.values()), unread


def beside(findings: Iterable[Row], given: Sequence[Waiver], at: datetime) -> list[Row]:
    """The findings, a FAIL with the waiver that speaks of it: one that holds, or else the newest that held."""
    rows = []
    by_subject: dict[tuple[str, str], list[Waiver]] = {}
    for waiver in given:
        by_subject.setdefault((waiver.check, waiver.resource), []).append(waiver)
    for finding in findings:
        fitting = [one for one in by_subject.get((finding["check"], finding["resource"]), ()) if one.covers(finding)]
        best = max(fitting, key=lambda one: (one.state(at) == ACTIVE, one.leaf), default=None)
        rows.append(finding if best is None else {**finding, "waiver": best.as_row(at)})
    return rows


def holds(finding: Mapping[str, Any]) -> bool:
    """Whether a finding of a report is an exception that is waived at the moment of the report."""
    return bool(finding.get("waiver")) and finding["waiver"]["state"] == ACTIVE
