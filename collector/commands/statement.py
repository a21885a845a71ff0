"""Commands by which people state something: evidence of their own, exceptions they let stand; and how it stands now."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.attachments import State, attachments, facts
from collector.catalogue import Catalogues, Control, ControlKey, load_catalogues, load_mappings
from collector.commands.period import moment
from collector.config import Config
from collector.console import say
from collector.errors import ConfigError
from collector.model import stamp
from collector.plugins import content_root, load
from collector.predecessors import Predecessors, predecessors
from collector.report.text import until, visible

if TYPE_CHECKING:
    from collector.report import ReportData
    from evidence_store.store import Store

Arguments = argparse.Namespace
STALE = 10
"""Stale lists that are named; the rest is counted."""
ANNEX_A = "iso-27001"
FILE_LIMIT = 64 << 20
"""Largest file that can be attached, in bytes: what ``evidence_store.attachments`` takes."""


def attach(arguments: Arguments, open_store: Callable[[], Store]) -> int:
    """Seal files or a statement as what a person states; or withdraw what was stated."""
    if arguments.withdraw is not None:
        return _withdraw(arguments, open_store, "attachment")
    if bool(arguments.files) == bool(arguments.statement):
        raise ConfigError("nothing is attached, or two kinds at once", "name files, or give words with --statement")
    for name in ("control", "by", "valid_until"):
        if not getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} is missing", f"say with {option} for which control, by whom, until when")
    root = content_root() / "mappings"
    catalogues = load_catalogues(root)
    older = predecessors(root, catalogues)
    controls = [resolve(text, catalogues, older) for text in arguments.control]
    now = datetime.now(UTC)
    shared: dict[str, Any] = {
        "controls": list(dict.fromkeys(controls)), "by": arguments.by, "role": arguments.role, "now": now,
        "start": moment(arguments.start) if arguments.start else None,
        "end": moment(arguments.end, end_of_day=True) if arguments.end else None,
        "effective": moment(arguments.effective) if arguments.effective else None,
        "valid_until": moment(arguments.valid_until, end_of_day=True),
    }  # fmt: skip
    stated: list[tuple[dict[str, Any], bytes]] = []
    if arguments.statement:
        title = arguments.title or arguments.statement[:80].split("\n")[0]
        told = facts(form="statement", name="", title=title, **shared)
        stated.append((told, arguments.statement.encode()))
    for path in arguments.files:
        told = facts(form="file", name=path.name, title=arguments.title or path.name, **shared)
        stated.append((told, _content(path)))
    with open_store() as store:
        for told, content in stated:
            leaf = store.attach(told, content)
            names = ", ".join(control["id"] for control in told["controls"])
            print(f"leaf {leaf}: {visible(told['title'])}, {len(content)} bytes, for {names}, by {visible(told['by'])}")
        found, _ = attachments(store.notes(), datetime.now(UTC))
        for one in found[-len(stated) :]:
            for flag in one.flags:
                say(f"note: leaf {one.leaf}: {flag}")
    say("it stands beside what systems show, and changes no verdict; names in a leaf stay for ever")
    return 0


def listing(arguments: Arguments, config: Config) -> int:
    """Everything that was attached, and how it stands; or the bytes of one."""
    from evidence_store.store import Store

    now = datetime.now(UTC)
    with Store.open(config.store.path) as store:
        found, unread = attachments(store.notes(), now)
        if arguments.save is not None:
            one = next((one for one in found if one.leaf == arguments.save), None)
            if one is None:
                raise ConfigError(f"leaf {arguments.save} attaches nothing", "affidavit attachments lists what does")
            if arguments.output is None or arguments.output.exists():
                raise ConfigError("--output must name a new file", "nothing is overwritten")
            arguments.output.write_bytes(store.attached(one.sha256))
            print(f"wrote {arguments.output}: {one.size} bytes, SHA-256 {one.sha256}")
            return 0
    rows = [one.as_row(now) for one in found]
    if arguments.json:
        print(json.dumps({"schema": "affidavit.attachments/1", "at": stamp(now), "attachments": rows}))
        return 0
    for row in rows:
        names = ", ".join(f"{control['framework']} {control['id']}" for control in row["controls"])
        print(f"leaf {row['leaf']}  {row['words']}  {names}  {visible(row['title'])}  by {visible(row['by'])}")
        for flag in row["flags"]:
            print(f"    {flag}")
    for index in unread:
        say(f"warning: leaf {index} is an attachment that this release cannot read")
    standing = sum(row["standing"] for row in rows)
    print(f"{len(rows)} attachments, {standing} of them valid at {stamp(now)}")
    return 0


def waive(arguments: Arguments, config: Config, open_store: Callable[[], Store]) -> int:
    """Let an exception stand for a time, on record; or take that back."""
    from collector.waivers import facts as waiver

    if arguments.withdraw is not None:
        return _withdraw(arguments, open_store, "waiver")
    for name in ("check", "resource", "until", "by", "reason"):
        if not getattr(arguments, name):
            option = name.upper() if name == "check" else f"--{name}"
            raise ConfigError(f"{option} is missing", "say what is let stand, until when, why and by whom")
    library = load(config.plugins)
    if arguments.check not in library.checks:
        near = get_close_matches(arguments.check, library.checks, n=1, cutoff=0.4)
        raise ConfigError(
            f"there is no check {arguments.check}",
            f"write {near[0]}, if that is what you mean" if near else "affidavit list checks shows their ids",
        )
    told = waiver(
        arguments.check, arguments.resource, arguments.scope, moment(arguments.until, end_of_day=True),
        arguments.reason, arguments.by, arguments.ticket, datetime.now(UTC),
    )  # fmt: skip
    with open_store() as store:
        failing = _failing(store, told)
        leaf = store.append("waiver", told)
    print(f"leaf {leaf}: {arguments.check} on {visible(arguments.resource)} is waived until {until(told['until'])}")
    if not failing:
        say("note: the newest run holds no FAIL that it speaks of")
    say("the finding stays FAIL, and no control is met by a waiver")
    return 0


def status(arguments: Arguments, data: ReportData) -> int:
    """How the newest run stands now: 3 when something is stale or unread, 1 when something fails, 0 otherwise."""
    standing = data.standing
    row = {
        "schema": "affidavit.status/1", "run": data.run, "at": data.at, "as_of": data.plan.get("asOf", ""),
        "seal": data.seal.words, "counts": data.counts, "standing": standing, "waived": data.waived,
        "stale": list(data.stale), "gaps": len(data.gaps),
        "attachments": [
            one for one in data.attachments if one["state"] in (State.EXPIRED, State.EXPIRING, State.NOT_YET)
        ],
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(row))
    else:
        print(f"run {data.run} of {row['as_of']}, seal: {data.seal.words}")
        print("at the run:  " + ", ".join(f"{count} {outcome}" for outcome, count in data.counts.items()))
        print(f"now:         {', '.join(f'{count} {outcome}' for outcome, count in standing.items())} ({data.at})")
        if data.waived:
            print(f"waived:      {data.waived} of the {data.counts['FAIL']} FAIL of the run; they stay FAIL")
        for one in data.stale[:STALE]:
            print(f"stale:       {one['dataset']} in {visible(one['scope'])}: {one['reason'].removeprefix('stale: ')}")
        if len(data.stale) > STALE:
            print(f"             and {len(data.stale) - STALE} more lists; --json names them")
        for one in row["attachments"]:
            print(f"statement:   leaf {one['leaf']} {visible(one['title'])}: {one['words']}")
    if data.seal.problems:
        return 4
    if standing["UNKNOWN"] or standing["ERROR"] or data.gaps or data.silent_checks:
        return 3
    return 1 if standing["FAIL"] else 0


def controls(arguments: Arguments, config: Config | None) -> int:
    """One control or all: title, how a person tests it, what it was called before, and which checks speak to it."""
    root = content_root() / "mappings"
    catalogues = load_catalogues(root)
    older = predecessors(root, catalogues)
    library = load(config.plugins if config else ())
    mapped: dict[ControlKey, set[str]] = {}
    mappings = load_mappings(root, (config.mappings or None) if config else None, library.checks, catalogues)
    for one in mappings.rows:
        mapped.setdefault(one.key, set()).add(one.check)
    wanted = _named(arguments.id, catalogues, older) if arguments.id else list(catalogues.controls.values())
    rows: list[dict[str, Any]] = [
        {
            "framework": control.framework, "edition": control.edition, "id": control.id, "title": control.title,
            "kind": control.kind, "method": list(control.method), "ask": control.ask, "documents": control.documents,
            "formerly": [dict(row) for row in older.of.get(control.key, ())],
            "checks": sorted(mapped.get(control.key, ())),
        }
        for control in wanted
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"schema": "affidavit.controls/1", "controls": rows}))
        return 0
    for row in rows:
        before = ", ".join(f"{one['id']} ({one['edition']}, {words(one)})" for one in row["formerly"])
        told = f"  formerly {before}" if before else ""
        print(f"{row['framework']} {row['edition']} {row['id']}  {row['title']}{told}")
        if arguments.id:
            for term in ("method", "ask", "documents", "checks"):
                told = ", ".join(row[term]) if isinstance(row[term], list) else row[term]
                print(f"  {term:<10} {told or 'none'}")
    return 0


def words(row: dict[str, Any]) -> str:
    """How an older control relates to the present one."""
    return str(row["relation"]).replace("_", " ") + (f"; {row['note']}" if row["note"] else "")


def resolve(text: str, catalogues: Catalogues, older: Predecessors) -> ControlKey:
    """The control a person means by ``A.5.4``, ``iso-27002:5.4`` or ``iso-27018/2025:A.10.1``.

    Raises:
        ConfigError: there is none, or more than one.
    """
    named, colon, number = text.rpartition(":")
    framework, _, edition = named.partition("/")
    found = [
        control.key
        for control in catalogues.controls.values()
        if control.id == number and control.kind != "heading"
        and (not colon or (control.framework == framework and edition in ("", control.edition)))
    ]  # fmt: skip
    # A.5.1 is a control of Annex A, whoever else numbers that way; 5.1 alone may be a clause or a control.
    if not colon and number.startswith("A."):
        found = [key for key in found if key[0] == ANNEX_A] or found
    if len(found) == 1:
        return found[0]
    if found:
        ways = [f"{key[0]}/{key[1]}:{key[2]}" for key in found]
        raise ConfigError(f"{number} stands in {len(found)} catalogues", f"write one of {', '.join(ways)}")
    raise _unknown(text, number, catalogues, older)


def _unknown(text: str, number: str, catalogues: Catalogues, older: Predecessors) -> ConfigError:
    for (_, old), rows in older.became.items():
        if old == number and (now := [row for row in rows if row["id"]]):
            return ConfigError(
                f"{number} is a number of the {now[0]['from']} edition",
                f"write {' or '.join(row['id'] for row in now)}, which took its place",
            )
    ids = {control.id for control in catalogues.controls.values() if control.kind != "heading"}
    near = get_close_matches(number, sorted(ids), n=1, cutoff=0.4)
    step = f"write {near[0]}, if that is what you mean" if near else "affidavit list controls shows their ids"
    return ConfigError(f"there is no control {text}", step)


def _named(text: str, catalogues: Catalogues, older: Predecessors) -> list[Control]:
    """Every control of that number, in whatever catalogue; an older number gives those that took its place."""
    named, colon, number = text.rpartition(":")
    framework, _, edition = named.partition("/")

    def fits(name: str, year: str) -> bool:
        return not colon or (name == framework and edition in ("", year))

    found = [one for one in catalogues.controls.values() if one.id == number and fits(one.framework, one.edition)]
    for (name, old), rows in older.became.items():
        for row in rows:
            key = (name, row["edition"], row["id"])
            if old == number and key in catalogues.controls and fits(name, row["edition"]):
                found.append(catalogues.controls[key])
    if not found:
        raise _unknown(text, number, catalogues, older)
    return list({one.key: one for one in found}.values())


def _withdraw(arguments: Arguments, open_store: Callable[[], Store], kind: str) -> int:
    if not (arguments.by and arguments.reason):
        raise ConfigError("withdrawing needs a name and a reason", "give --by and --reason")
    with open_store() as store:
        index = arguments.withdraw
        if not any(note["index"] == index and note["kind"] == kind for note in store.notes()):
            raise ConfigError(f"leaf {index} is no {kind}", f"affidavit {_LISTS[kind]} shows those there are")
        leaf = store.withdraw(index, {"by": arguments.by, "reason": arguments.reason})
    print(f"leaf {leaf}: the {kind} of leaf {index} is withdrawn by {visible(arguments.by)}; it stays on record")
    return 0


_LISTS = {"attachment": "attachments", "waiver": "report"}


def _failing(store: Store, told: dict[str, Any]) -> bool:
    """Whether the newest complete run holds a FAIL that a waiver speaks of."""
    if not any(run.state == "complete" for run in store.runs()):
        return False
    return any(
        line["kind"] == "finding" and line["outcome"] == "FAIL"
        and (line["check"], line["resource"]) == (told["check"], told["resource"])
        and told["scope"] in ("", line["scope"])
        for line in store.run().results()
    )  # fmt: skip


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise ConfigError(f"{path} is longer than {FILE_LIMIT} bytes", "attach a part of it, or what points to it")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "name a file") from error


