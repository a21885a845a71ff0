"""What a run used of the rights its sources declare, told from the ledger by the rule that holds sources to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from collector.connect import rights
from collector.model import GapKind, Row


def permissions(
    plan: Mapping[str, Any], replies: Iterable[Mapping[str, Any]], gaps: Iterable[Mapping[str, Any]],
    populations: Iterable[Mapping[str, Any]],
) -> Iterator[Row]:  # fmt: skip
    """Yield for each dataset, over all its scopes, which declared rights were used, and which requests had none.

    ``unused`` rights are those no request needed in this run, for instance because there was nothing to ask about.
    Of ``not_derivable`` ones nothing can be told: no request shows a role, or a right on a container as a whole, and
    not every request of the dataset may be at hand. ``undeclared`` are the requests refused for want of a
    declaration, and those made all the same.
    """
    kinds = {place["name"]: place["kind"] for place in plan.get("places", ())}
    tasks = {task["id"]: (task["dataset"], kinds.get(task["connection"], "")) for task in plan.get("tasks", ())}
    needs: dict[str, dict[str, str]] = {}
    shown = {population["task"] for population in populations}
    unread = {dataset for id_, (dataset, _) in tasks.items() if id_ not in shown}
    for line in replies:
        dataset, kind = tasks.get(line.get("task", ""), ("", ""))
        try:
            needed = rights.needed(kind, line["op"], line["params"]) if kind else ()
        except (KeyError, ValueError):  # what is left out of a line tells nothing
            unread.add(dataset)
            continue
        for right in needed:
            needs.setdefault(dataset, {}).setdefault(right, line["op"])
    refused: dict[str, dict[tuple[str, str], None]] = {}
    for gap in gaps:
        if gap["kind"] == GapKind.UNDECLARED:
            refused.setdefault(gap["dataset"], {})[gap["operation"], gap["reason"]] = None
    for source in plan.get("sources", ()):
        dataset, kind = source["id"], next((kind for name, kind in tasks.values() if name == source["id"]), "")
        yield _row(dataset, kind, source["permissions"], needs.get(dataset, {}), refused.get(dataset, {}), unread)


def _row(
    dataset: str, kind: str, declared: Sequence[str], needs: Mapping[str, str],
    refused: Iterable[tuple[str, str]], unread: set[str],
) -> Row:  # fmt: skip
    used = [one for one in declared if any(rights.covers(kind, (one,), right) for right in needs)]
    hidden = [one for one in declared if one not in used and (dataset in unread or not rights.shown(kind, one))]
    made = [
        (operation, f"{operation} was asked: the source does not declare {right}")
        for right, operation in needs.items()
        if not rights.covers(kind, declared, right)
    ]
    return {
        "dataset": dataset,
        "used": used,
        "unused": [one for one in declared if one not in used and one not in hidden],
        "not_derivable": hidden,
        "undeclared": [{"operation": operation, "reason": reason} for operation, reason in (*refused, *made)],
    }
