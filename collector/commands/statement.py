"""Commands by which people state something: evidence of their own, and exceptions they let stand."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.attachments import attachments, facts
from collector.catalogue import load_catalogues
from collector.commands.control import resolve
from collector.commands.opening import configured, content, stored, writable_store, write
from collector.commands.period import moment
from collector.config import Config
from collector.console import say
from collector.errors import ConfigError
from collector.model import stamp
from collector.plugins import content_root, load
from collector.predecessors import predecessors
from collector.report.text import until, visible

if TYPE_CHECKING:
    from evidence_store.store import Store

Arguments = argparse.Namespace
FILE_LIMIT = 64 << 20
"""Largest file that can be attached, in bytes: what ``evidence_store.attachments`` takes."""


def attach(arguments: Arguments) -> int:
    """Seal files or a statement as what a person states; or withdraw what was stated."""
    config = configured(arguments.config)
    if arguments.withdraw is not None:
        return _withdraw(arguments, config, "attachment")
    statement = arguments.statement if arguments.statement.strip() else ""
    if bool(arguments.files) == bool(statement):
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
    if statement:
        title = arguments.title or statement[:80].split("\n")[0]
        told = facts(form="statement", name="", title=title, **shared)
        stated.append((told, statement.encode()))
    for path in arguments.files:
        told = facts(form="file", name=path.name, title=arguments.title or path.name, **shared)
        stated.append((told, _content(path)))
    with writable_store(config) as store:
        for told, raw in stated:
            leaf = store.attach(told, raw)
            names = ", ".join(control["id"] for control in told["controls"])
            print(f"leaf {leaf}: {visible(told['title'])}, {len(raw)} bytes, for {names}, by {visible(told['by'])}")
        found, _ = attachments(store.notes(), datetime.now(UTC))
        for one in found[-len(stated) :]:
            for flag in one.flags:
                say(f"note: leaf {one.leaf}: {flag}")
    say("it stands beside what systems show, and changes no verdict; names in a leaf stay for ever")
    return 0


def listing(arguments: Arguments) -> int:
    """Everything that was attached, and how it stands; or the bytes of one."""
    from evidence_store.store import Store

    now = datetime.now(UTC)
    with Store.open(stored(configured(arguments.config))) as store:
        found, unread = attachments(store.notes(), now)
        if arguments.save is not None:
            one = next((one for one in found if one.leaf == arguments.save), None)
            if one is None:
                raise ConfigError(f"leaf {arguments.save} attaches nothing", "affidavit attachments lists what does")
            if arguments.output is None or arguments.output.exists():
                raise ConfigError("--output must name a new file", "nothing is overwritten")
            write(arguments.output, store.attached(one.sha256))
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


def waive(arguments: Arguments) -> int:
    """Let an exception stand for a time, on record; or take that back."""
    from collector.waivers import facts as waiver

    config = configured(arguments.config)
    if arguments.withdraw is not None:
        return _withdraw(arguments, config, "waiver")
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
    with writable_store(config) as store:
        failing = _failing(store, told)
        leaf = store.append("waiver", told)
    print(f"leaf {leaf}: {arguments.check} on {visible(arguments.resource)} is waived until {until(told['until'])}")
    if not failing:
        say("note: the newest run holds no FAIL that it speaks of")
    say("the finding stays FAIL, and no control is met by a waiver")
    return 0


def _withdraw(arguments: Arguments, config: Config, kind: str) -> int:
    if not (arguments.by.strip() and arguments.reason.strip()):
        raise ConfigError("withdrawing needs a name and a reason", "give --by and --reason")
    with writable_store(config) as store:
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
    if path.is_file() and path.stat().st_size > FILE_LIMIT:
        raise ConfigError(f"{path} is longer than {FILE_LIMIT} bytes", "attach a part of it, or what points to it")
    return content(path)
