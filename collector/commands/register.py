"""Commands about the organisation's own registers: what is wrong with them, and templates to begin with."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collector.console import say
from collector.errors import ConfigError
from collector.registers import document, table
from collector.registers.shape import NAMES, Fault, shape
from collector.report.text import visible

SCHEMA = "affidavit.registers/1"


def registers_check(arguments: argparse.Namespace) -> int:
    """Every fault and every wrong term of a folder; 3 where a register could not be used, 1 for wrong terms only."""
    from collector.terminology import findings

    folder: Path = arguments.folder
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder", "name the folder of the registers, or: affidavit registers init")
    faults: list[Fault] = []
    terms: list[dict[str, Any]] = []
    rows: dict[str, int] = {}
    for name in NAMES:
        if (raw := _content(folder, f"{name}.csv", faults)) is not None:
            found = table.read(name, raw)
            rows[f"{name}.csv"] = len(found.rows)
            faults += found.faults
    faults += _misspelt(folder, {f"{name}.csv" for name in NAMES})
    seen: dict[str, str] = {}
    for path in _documents(folder, faults):
        if (raw := _content(folder, path, faults)) is not None:
            row, text, wrong = document.read(path, raw)
            faults += wrong
            terms += [{"file": path, **one} for one in findings(text)]
            if row is not None and (first := seen.setdefault(row["id"].casefold(), path)) != path:
                what = f"{row['id']} is the id of {first} too"
                faults.append(Fault(path, 1, 0, "", what, "give each document an id of its own"))
            rows[path] = int(row is not None)
    if not rows and not faults:
        raise ConfigError(f"{folder} holds no register", "write them from templates: affidavit registers init FOLDER")
    if arguments.json:
        told = {
            "schema": SCHEMA,
            "rows": rows,
            "faults": [
                {name: getattr(fault, name) for name in ("file", "line", "column", "name", "what", "write")}
                for fault in faults
            ],
            "terms": terms,
        }
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for fault in faults:
            print(visible(fault))
        for one in terms:
            print(visible(f"{one['file']}:{one['line']}: {one['found']}; {one['write']}"))
        say(f"{len(rows)} files, {sum(rows.values())} sound rows, {len(faults)} faults, {len(terms)} wrong terms")
    return 3 if faults else int(bool(terms))


def registers_init(arguments: argparse.Namespace) -> int:
    """Templates with the columns of every register and nothing below, and a page that explains them."""
    folder: Path = arguments.folder
    files = {f"{name}.csv": ",".join(shape(name).columns) + "\n" for name in NAMES if name != "documents"}
    files |= {"documents/README": _head(), "README.md": _explained()}
    if there := [name for name in files if (folder / name).exists()]:
        raise ConfigError(f"{folder / there[0]} exists", "name a new folder; nothing is overwritten")
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be written: {error.strerror}", "name a folder that you may write to"
        ) from error
    say(f"wrote {len(files)} files to {folder}; delete those you keep no register of: each that is absent is a gap")
    print(folder)
    return 0


def _misspelt(folder: Path, names: set[str]) -> Iterator[Fault]:
    """A file that has nearly the name of a register is read by nobody."""
    for file in sorted({path.name for path in folder.iterdir()} - names):
        if near := difflib.get_close_matches(file.casefold(), names, 1, cutoff=0.85):
            yield Fault(file, 1, 0, "", "is the name of no register, so nobody reads it", f"call it {near[0]}")


def _content(folder: Path, path: str, faults: list[Fault]) -> bytes | None:
    """The bytes of a file; ``None`` where it is absent, or cannot be read, which is a fault."""
    from collector.connect.register import file_in

    try:
        answer = file_in(folder, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        faults.append(Fault(path, 1, 0, "", f"cannot be read ({error.strerror})", "put a plain file in its place"))
        return None
    if answer.failure:
        faults.append(
            Fault(path, 1, 0, "", f"cannot be read: {answer.detail}", "put a plain, smaller file in its place")
        )
        return None
    return answer.body


def _documents(folder: Path, faults: list[Fault]) -> Iterator[str]:
    from collector.connect.register import DOCUMENTS, documents_in

    try:
        answer = documents_in(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        faults.append(
            Fault(DOCUMENTS, 1, 0, "", f"cannot be read ({error.strerror})", "put a plain folder in its place")
        )
        return
    if answer.failure:
        faults.append(Fault(DOCUMENTS, 1, 0, "", answer.detail, "keep plain files and folders there"))
        return
    yield from json.loads(answer.body)


def _head() -> str:
    """What a document begins with."""
    form = shape("documents")
    lines = [f"{name}: {form.example(name)}" for name in form.columns if name not in ("topics", "location")]
    topics = f"topics: [{form.example('topics')}]"
    return "\n".join(["Each document is a file ending in .md that begins so:", "", "---", *lines, topics, "---", ""])


def _explained() -> str:
    """The registers and their columns, for who fills them in."""
    lines = [
        "# Registers",
        "",
        "One CSV file each, UTF-8, comma or semicolon, the first line as it stands. A column with * is needed in each.",
        "Days are 2026-01-31, times 2026-01-31T12:00:00Z; words in a cell stand with | between them. People are",
        "named by their id, or their address, in people.csv. `affidavit registers check FOLDER` tells what is wrong.",
    ]
    for name in NAMES:
        form = shape(name)
        place = "documents/*.md, or documents.csv" if name == "documents" else f"{name}.csv"
        lines += [
            "",
            f"## {place}",
            "",
            f"{form.schema['description']}.",
            "",
            "| Column | What it says | Example |",
            "|---|---|---|",
        ]
        for column, rule in form.schema["properties"].items():
            needed = "\\*" if column in form.schema["required"] else ""
            words = f" ({', '.join(rule['enum'])})" if "enum" in rule else ""
            lines.append(f"| {column}{needed} | {rule['description']}{words} | {form.example(column)} |")
    return "\n".join(lines) + "\n"
