"""What an auditor was not shown, and what changed in the way things are measured. Pure.

The *ruler* of a run is the collector itself, its configuration, its checks with their examples, its mappings and its
catalogues. A run whose ruler is not that of the run before is preceded by a signed ``config-change`` leaf that says
what changed; verification demands it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from collector.model import Row

IN_A_LEAF = 12
"""Changes a leaf spells out; the plans of both runs hold them all."""

LONGEST = 140
"""Characters of one change in a leaf."""


def ruler(document: Mapping[str, Any]) -> str:
    """SHA-256 in hex of what a plan measures with, whatever part of it was asked for this time."""
    parts = [document[part] for part in ("collector", "config", "code", "examples", "files")]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def change_leaf(
    old: Mapping[str, Any] | None, old_ruler: str, new: Mapping[str, Any], by: str, reason: str
) -> dict[str, Any]:
    """The predicate of the leaf that goes before the first run under a new ruler."""
    changed = [text[:LONGEST] for text in changes(old, new)] if old else ["the plan before could not be read"]
    return {
        "from": old_ruler,
        "to": ruler(new),
        "by": by,
        "reason": reason,
        "changes": changed[:IN_A_LEAF] or ["the configuration file, in words or order only"],
        "more": max(0, len(changed) - IN_A_LEAF),
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Every way in which the ruler of one plan is not that of another, in words."""
    if old["collector"] != new["collector"]:
        versions = [document["collector"]["version"] for document in (old, new)]
        same = "the collector's own code changed, its version did not"
        yield f"collector {' -> '.join(versions)}" if versions[0] != versions[1] else same
    yield from _disabled(old, new)
    before = {check["id"]: check for check in old["checks"]}
    for check in new["checks"]:
        earlier = before.get(check["id"], check)["params"]
        for name, value in check["params"].items():
            if name in earlier and earlier[name] != value:
                yield f"limit {name} of {check['id']}: {earlier[name]} -> {value}"
    if not old["selection"] and not new["selection"]:
        yield from _came_and_went("check", {c["id"] for c in old["checks"]}, {c["id"] for c in new["checks"]})
        yield from _came_and_went("scope", _scopes(old), _scopes(new))
    yield from _came_and_went("redaction", _redactions(old), _redactions(new))
    for kind in ("code", "examples", "files"):
        yield from _files(old[kind], new[kind])
    for name, value in new["limits"].items():
        if old["limits"].get(name) != value:
            yield f"collection.{name}: {old['limits'].get(name)} -> {value}"


def suppressed(document: Mapping[str, Any], leaves: Iterable[Mapping[str, Any]]) -> list[Row]:
    """What the run of this plan did not show, and every recorded change of the measurement up to it.

    Args:
        document: the plan of the run.
        leaves: ``{"kind", "index", ...predicate}`` of the leaves that only record a fact, oldest first.
    """
    rows: list[Row] = [
        {
            "side": "measurement",
            "what": "check disabled",
            "name": item["id"],
            "reason": item["reason"],
            "by": item["by"],
        }
        for item in document.get("disabled", ())
    ]
    if document.get("selection"):
        rows.append(
            {"side": "measurement", "what": "part only", "name": document["selection"], "reason": "asked for", "by": ""}
        )
    for check in document.get("checks", ()):
        for name, default in check.get("defaults", {}).items():
            if check["params"].get(name) != default:
                told = f"{default} by default, {check['params'].get(name)} here"
                rows.append(
                    {
                        "side": "measurement",
                        "what": "limit changed",
                        "name": f"{check['id']} {name}",
                        "reason": told,
                        "by": "",
                    }
                )
    for source in document.get("sources", ()):
        for item in source.get("redactions", ()):
            name = f"{source['id']} {item['path']}"
            rows.append({"side": "measurement", "what": "redacted", "name": name, "reason": item["reason"], "by": ""})
    rows += [_leaf(leaf) for leaf in leaves if leaf["kind"] in _LEAVES or "withdraws" in leaf]
    return rows


_LEAVES = {
    "config-change": "measurement changed", "waiver": "waiver", "redaction": "erased", "key-transition": "key changed",
    "key-revocation": "key revoked", "gap": "not collected",
}  # fmt: skip


def _leaf(leaf: Mapping[str, Any]) -> Row:
    told, what = leaf.get("reason") or leaf.get("basis") or "", _LEAVES.get(leaf["kind"], leaf["kind"])
    if "withdraws" in leaf:
        what, told = f"{leaf['kind']} withdrawn", f"leaf {leaf['withdraws']} no longer holds: {told}"
    elif leaf["kind"] == "waiver" and "until" in leaf:
        where = f" in {leaf['scope']}" if leaf.get("scope") else ""
        ticket = f" ({leaf['ticket']})" if leaf.get("ticket") else ""
        told = f"{leaf['check']} on {leaf['resource']}{where} until {leaf['until']}: {told}{ticket}"
    if leaf["kind"] == "config-change":
        told = "; ".join(leaf["changes"]) + (f"; and {leaf['more']} more" if leaf["more"] else "")
        told += f" (why: {leaf['reason'] or 'not stated'})"
    by = leaf.get("by") or leaf.get("approvedBy") or ""
    side = "environment" if leaf["kind"] == "gap" else "measurement"
    return {
        "side": side, "what": what, "name": f"leaf {leaf['index']}", "reason": told, "by": by,
        "when": leaf.get("recordedOn", ""), "leaf": leaf["index"],
    }  # fmt: skip


def estate_changes(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Lists that hold another number of records, or other records, than in an earlier run: the environment changed."""
    before = {row["task"]: row for row in old}
    rows: list[Row] = []
    for row in new:
        earlier = before.get(row["task"])
        if earlier and "unproven" not in (earlier["basis"], row["basis"]) and earlier.get("root") != row.get("root"):
            told = (
                f"{earlier['rows']} -> {row['rows']} records"
                if earlier["rows"] != row["rows"]
                else "other records than before"
            )
            rows.append(
                {"side": "environment", "what": "estate changed", "name": row["task"], "reason": told, "by": ""}
            )
    return rows


def _disabled(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before = {item["id"]: item for item in old["disabled"]}
    after = {item["id"]: item for item in new["disabled"]}
    for name in sorted(after.keys() - before.keys()):
        yield f"check {name} disabled by {after[name]['by']}: {after[name]['reason']}"
    for name in sorted(before.keys() - after.keys()):
        yield f"check {name} enabled again"


def _came_and_went(kind: str, old: set[str], new: set[str]) -> Iterator[str]:
    yield from (f"{kind} dropped: {name}" for name in sorted(old - new))
    yield from (f"{kind} added: {name}" for name in sorted(new - old))


def _scopes(document: Mapping[str, Any]) -> set[str]:
    parts = ("connection", "account", "region")
    return {"/".join(task[part] for part in parts if task[part]) for task in document["tasks"]}


def _redactions(document: Mapping[str, Any]) -> set[str]:
    return {f"{source['id']} {item['path']}" for source in document["sources"] for item in source["redactions"]}


def _files(old: Iterable[Mapping[str, str]], new: Iterable[Mapping[str, str]]) -> Iterator[str]:
    before = {item["file"]: item["sha256"] for item in old}
    after = {item["file"]: item["sha256"] for item in new}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} {'added' if name not in before else 'dropped' if name not in after else 'changed'}"
