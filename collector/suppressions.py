"""What an auditor was not shown, and what changed in the way things are measured. Pure.

The *ruler* of a run is the collector itself, its configuration, its checks with their examples, its mappings and its
catalogues. A run whose ruler is not that of the run before is preceded by a signed ``config-change`` leaf that says
what changed; verification demands it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from collector.model import Row

IN_A_LEAF = 12
"""Changes a leaf spells out; the plans of both runs hold them all."""

LONGEST = 140
"""Characters of one change in a leaf."""

WORDS_ONLY = "the configuration file, in words or order only"
NOBODY = "nobody said why"
NOT_COMPARED = "the configuration file; the plan before does not hold its settings, so nobody can say which"


def ruler(document: Mapping[str, Any]) -> str:
    """SHA-256 in hex of what a plan measures with, whatever part of it was asked for this time."""
    parts = [document[part] for part in ("collector", "config", "code", "examples", "files")]
    if "settings" in document:  # what a file holds that the configuration only names is part of it
        parts.append(document["settings"])
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def change_leaf(
    old: Mapping[str, Any] | None, old_ruler: str, new: Mapping[str, Any], by: str, reason: str
) -> dict[str, Any]:
    """The predicate of the leaf that goes before the first run under a new ruler."""
    changed = [text[:LONGEST] for text in changes(old, new)] if old else ["the plan before could not be read"]
    nothing = WORDS_ONLY if old and "settings" in old and "settings" in new else NOT_COMPARED
    return {
        "from": old_ruler,
        "to": ruler(new),
        "by": by,
        "reason": reason,
        "changes": changed[:IN_A_LEAF] or [nothing],
        "more": max(0, len(changed) - IN_A_LEAF),
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Every way in which the ruler of one plan is not that of another, in words."""
    if old["collector"] != new["collector"]:
        versions = [document["collector"]["version"] for document in (old, new)]
        same = "the collector's own code changed, its version did not"
        yield f"collector {' -> '.join(versions)}" if versions[0] != versions[1] else same
    yield from _disabled(old, new)
    before, after = _whole(old), _whole(new)
    earlier, now = (before["checks"], after["checks"]) if before and after else (_limits(old), _limits(new))
    told: set[str] = set()
    for check in (check for check in now if check in earlier):
        for name, value in now[check].items():
            if name in earlier[check] and earlier[check][name] != value:
                told.add(f"checks.parameters.{check}.{name}")
                yield f"limit {name} of {check}: {earlier[check][name]} -> {value}"
    if before and after:
        yield from _came_and_went("check", set(before["checks"]), set(after["checks"]))
        yield from _came_and_went("scope", set(before["scopes"]), set(after["scopes"]))
        yield from _came_and_went("redaction", set(before["redactions"]), set(after["redactions"]))
    yield from _settings(old, new, told)
    for kind in ("code", "examples", "files"):
        yield from _files(old[kind], new[kind])
    for name, value in new["limits"].items():
        if old["limits"].get(name) != value:
            yield f"collection.{name}: {old['limits'].get(name)} -> {value}"


def moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    """Connections that both plans have and that are not set alike: what is read there may be another thing."""
    if "settings" in old and "settings" in new:
        before, after = _connections(old["settings"]), _connections(new["settings"])
    else:
        before, after = ({place["name"]: place for place in plan.get("places", ())} for plan in (old, new))
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


def suppressed(
    document: Mapping[str, Any],
    leaves: Iterable[Mapping[str, Any]],
    spelt: Mapping[int, Sequence[str]] | None = None,
) -> list[Row]:
    """What the run of this plan did not show, and every recorded change of the measurement up to it.

    Args:
        document: the plan of the run.
        leaves: ``{"kind", "index", ...predicate}`` of the leaves that only record a fact, oldest first.
        spelt: by leaf that announces a change, everything that changed; a leaf itself has room for some.
    """
    leaves, spelt = list(leaves), spelt or {}
    changed = [leaf for leaf in leaves if leaf["kind"] == "config-change"]
    rows = [
        _row("check disabled", item["id"], item["reason"], item["by"]) for item in document.get("disabled", ())
    ]
    if document.get("selection"):
        rows.append(_row("part only", document["selection"], "asked for"))
    for check in document.get("checks", ()):
        for name, default in check.get("defaults", {}).items():
            if check["params"].get(name) != default:
                rows.append(_limit(check["id"], name, default, check["params"].get(name), changed, spelt))
    for source in document.get("sources", ()):
        for item in source.get("redactions", ()):
            rows.append(_row("redacted", f"{source['id']} {item['path']}", item["reason"]))
    timetable: Mapping[str, Any] | None = None
    for leaf in leaves:
        if leaf["kind"] == "schedule":
            if timetable is not None and (told := list(_timetable(timetable, leaf))):
                rows.append(_leaf({**leaf, "reason": "; ".join(told) + _why(leaf)}))
            timetable = leaf
        elif leaf["kind"] in _LEAVES or "withdraws" in leaf:
            full = {"changes": list(spelt[leaf["index"]])} if leaf["index"] in spelt else {}
            rows.append(_leaf(leaf) | full)
    return rows


_LEAVES = {
    "config-change": "measurement changed", "waiver": "waiver", "redaction": "erased", "key-transition": "key changed",
    "key-revocation": "key revoked", "gap": "not collected", "pause": "paused", "schedule": "timetable changed",
}  # fmt: skip


def _row(what: str, name: str, told: str, by: str = "") -> Row:
    return {"side": "measurement", "what": what, "name": name, "reason": told, "by": by}


def _limit(
    check: str, name: str, default: Any, value: Any, changed: Sequence[Mapping[str, Any]],
    spelt: Mapping[int, Sequence[str]],
) -> Row:  # fmt: skip
    """A limit that is not the shipped one, with who set it, when and why, as far as a leaf says so."""
    told, start, end = f"{default} by default, {value} here", f"limit {name} of {check}: ", f" -> {value}"
    for leaf in reversed(changed):
        text = next((one for one in spelt.get(leaf["index"], leaf["changes"]) if one.startswith(start)), "")
        if text.endswith(end) or len(text) == LONGEST:
            row = _row("limit changed", f"{check} {name}", told + _why(leaf), leaf["by"])
            return row | {"when": leaf["recordedOn"], "leaf": leaf["index"]}
        if text:
            break
    return _row("limit changed", f"{check} {name}", f"{told}; no leaf tells since when, or why")


def _leaf(leaf: Mapping[str, Any]) -> Row:
    told, what = leaf.get("reason") or leaf.get("basis") or "", _LEAVES.get(leaf["kind"], leaf["kind"])
    if "withdraws" in leaf:
        what, told = f"{leaf['kind']} withdrawn", f"leaf {leaf['withdraws']} no longer holds: {told}"
    elif leaf["kind"] == "waiver" and "until" in leaf:
        where = f" in {leaf['scope']}" if leaf.get("scope") else ""
        ticket = f" ({leaf['ticket']})" if leaf.get("ticket") else ""
        told = f"{leaf['check']} on {leaf['resource']}{where} until {leaf['until']}: {told}{ticket}"
    elif leaf["kind"] == "pause":
        late = ", recorded after it began" if leaf.get("recordedOn", "") > leaf["from"] else ""
        told = f"from {leaf['from']} to {leaf['to']}{late}: {told or NOBODY}"
    elif leaf["kind"] == "config-change":
        told = "; ".join(leaf["changes"]) + (f"; and {leaf['more']} more" if leaf["more"] else "") + _why(leaf)
    by = leaf.get("by") or leaf.get("approvedBy") or ""
    side = "environment" if leaf["kind"] == "gap" else "measurement"
    return {
        "side": side, "what": what, "name": f"leaf {leaf['index']}", "reason": told, "by": by,
        "when": leaf.get("recordedOn", ""), "leaf": leaf["index"],
    }  # fmt: skip


def _why(leaf: Mapping[str, Any]) -> str:
    return f" (why: {leaf['reason']})" if leaf.get("reason") else f" ({NOBODY})"


def _timetable(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """How a committed timetable differs from the one before it."""
    if old["zone"] != new["zone"]:
        yield f"time zone: {old['zone']} -> {new['zone']}"
    before, after = ({item["name"]: item for item in one["schedules"]} for one in (old, new))
    yield from _came_and_went("schedule", set(before), set(after))
    for name in (name for name in after if name in before and after[name] != before[name]):
        for part, called in _RULES.items():
            rules = [one[name].get(part) for one in (before, after)]
            if rules[0] != rules[1]:
                yield f"schedule {name}, {called}: {_shown(rules[0])} -> {_shown(rules[1])}"


_RULES = {"cron": "when", "jitterS": "seconds of jitter", "connections": "connections"}


def estate_changes(
    old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]], moved: Collection[str] = ()
) -> list[Row]:
    """Lists that hold another number of records, or other records, than in an earlier run: the environment changed.

    In the connections ``moved`` it was we who changed where or how to look, so nothing follows about the environment.
    """
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
            connection = row["task"].partition("@")[2].partition("/")[0]
            if connection in moved:
                ours = f"{told}; the settings of the connection {connection} changed since the run before"
                rows.append(_row("list changed", row["task"], ours))
            else:
                rows.append(_row("estate changed", row["task"], told) | {"side": "environment"})
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


def _whole(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the configuration of a plan asks in full; ``None`` where an older plan over a part does not say."""
    if "whole" in document:
        whole: Mapping[str, Any] = document["whole"]
        return whole
    if document["selection"]:
        return None
    parts = ("connection", "account", "region")
    return {
        "checks": _limits(document),
        "scopes": ["/".join(task[part] for part in parts if task[part]) for task in document["tasks"]],
        "redactions": [
            f"{source['id']} {item['path']}" for source in document["sources"] for item in source["redactions"]
        ],
    }


def _limits(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {check["id"]: check["params"] for check in document["checks"]}


def _settings(old: Mapping[str, Any], new: Mapping[str, Any], told: Collection[str]) -> Iterator[str]:
    """Settings that differ, but for those that are told otherwise: limits, disabled checks, and the collection.

    Of what came or went as a whole the name is told; the plans hold the rest.
    """
    if "settings" not in old or "settings" not in new:
        return
    before, after = old["settings"], new["settings"]
    keys = sorted(before.keys() | after.keys())
    lists = {
        key: [set(map(str, one.get(key, ()))) for one in (before, after)]
        for key in keys
        if isinstance(before.get(key, []), list) and isinstance(after.get(key, []), list)
    }
    yield from _came_and_went("connection", *lists.get("connections", (set(), set())))
    whole = tuple(f"{key}.{name}." for key, (one, other) in lists.items() for name in one ^ other)
    stayed = tuple(f"{key}.{name}." for key, (one, other) in lists.items() for name in one & other)
    for key in keys:
        if key in ("connections", "checks.disabled") or key in told or key.startswith("collection."):
            continue
        if before.get(key) != after.get(key) and (key.startswith(stayed) or not key.startswith(whole)):
            yield from _setting(key, before.get(key), after.get(key))


def _setting(key: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, list | None) and isinstance(new, list | None):
        before, after = old or [], new or []
        less, more = [one for one in before if one not in after], [one for one in after if one not in before]
        if less or more:
            yield from (f"setting {key}: dropped {one}" for one in less)
            yield from (f"setting {key}: added {one}" for one in more)
            return
    yield f"setting {key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)


def _connections(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each connection, by its name."""
    names = settings.get("connections", ())
    return {name: {key: settings[key] for key in settings if key.startswith(f"connections.{name}.")} for name in names}


def _files(old: Iterable[Mapping[str, str]], new: Iterable[Mapping[str, str]]) -> Iterator[str]:
    before = {item["file"]: item["sha256"] for item in old}
    after = {item["file"]: item["sha256"] for item in new}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} {'added' if name not in before else 'dropped' if name not in after else 'changed'}"
