"""How far a finding can be verified, as a letter with its reason; see docs/grades.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MEANING = {
    "A": "confirmed by an independent count or source and attested from outside",
    "B": "complete and attested from outside, one source",
    "C": "complete, nobody outside attests when, or the organisation's own record",
    "D": "nothing concluded, or not proven complete",
}
"""Each letter in a few words; docs/grades.md has them in full."""
REGISTERS = "register."
"""Datasets that the organisation writes itself begin with this."""
UNPROVEN = "unproven"
RECONCILED = frozenset({"count-reconciled", "independent-source"})


def grade(finding: Mapping[str, Any], bases: Iterable[str], *, anchored: bool, own: bool = False) -> tuple[str, str]:
    """The grade of a finding and why.

    Args:
        finding: a finding line.
        bases: completeness basis of each list it rests on.
        anchored: whether somebody outside attests when the run existed (time stamp or cosignature that verified).
        own: whether all it rests on is what the organisation wrote into its own registers.
    """
    found = set(bases)
    if finding["outcome"] in ("UNKNOWN", "ERROR"):
        return "D", "nothing was concluded"
    if not found or UNPROVEN in found:
        return "D", "nothing shows that the list it rests on is complete"
    if not finding["evidence"]:
        return "D", "no reply is on record for it"
    if own:
        return "C", "complete list, replies on record; the organisation's own record, which no system confirms"
    if not anchored:
        return "C", "complete list, replies on record; nobody outside attests when"
    if found <= RECONCILED:
        witness = "source" if found == {"independent-source"} else "count"
        return "A", f"complete list, confirmed by an independent {witness}, replies on record, attested from outside"
    return "B", "complete list, replies on record, attested from outside; one source only"


def graded(
    findings: Iterable[Mapping[str, Any]],
    populations: Iterable[Mapping[str, Any]],
    datasets: Mapping[str, Iterable[str]],
    *,
    anchored: bool,
) -> list[dict[str, Any]]:
    """The findings, each with ``grade`` and ``grade_reason``; ``datasets`` are those each check asks for."""
    bases: dict[tuple[str, str], list[str]] = {}
    for population in populations:
        for scope in scopes(str(population["scope"])):
            bases.setdefault((population["dataset"], scope), []).append(population["basis"])
    rows = []
    for finding in findings:
        needed = [
            basis
            for dataset in datasets.get(finding["check"], ())
            for basis in bases.get((dataset, finding["scope"])) or bases.get((dataset, "run"), [])
        ]
        asked = [*datasets.get(finding["check"], ())]
        own = bool(asked) and all(dataset.startswith(REGISTERS) for dataset in asked)
        letter, reason = grade(finding, needed, anchored=anchored, own=own)
        rows.append({**finding, "grade": letter, "grade_reason": reason})
    return rows


def scopes(scope: str) -> Iterable[str]:
    """The scope, every scope above it, and the whole run: a question over an account rests on all its regions."""
    parts = scope.split("/")
    yield from ("/".join(parts[:length]) for length in range(1, len(parts) + 1))
    yield "run"
