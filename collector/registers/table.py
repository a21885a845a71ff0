"""Reads a CSV register: the rows that are sound, and a fault for everything that is not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from collector.model import Row
from collector.registers.shape import Fault, Shape, repeated, shape


class BrokenError(Exception):
    """A file breaks off as CSV in the record that begins on this line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, slots=True)
class Read:
    """What a file held."""

    rows: tuple[Row, ...]
    """Rows without a fault, every column in each; an empty cell is ``None``, a column of words a list."""
    faults: tuple[Fault, ...]


def read(name: str, raw: bytes) -> Read:
    """The register ``name`` in the bytes of its file.

    A file that is no UTF-8, no CSV, or has other columns than the schema gives faults and no row.
    """
    form, file = shape(name), f"{name}.csv"
    text, fault = decoded(file, raw)
    if fault:
        return Read((), (fault,))
    try:
        return _read(form, file, text)
    except BrokenError as error:
        what = f"cannot be read as CSV ({error})"
        write = "close every quotation mark, and double one inside a cell"
        if "field larger" in str(error):
            what = f"has a cell of more than {csv.field_size_limit()} characters"
            write = "shorten it; where no cell is so long, close every quotation mark before it"
        return Read((), (Fault(file, error.line, 0, "", what, write),))


def decoded(file: str, raw: bytes) -> tuple[str, Fault | None]:
    """The text of a file, or why it is none."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", Fault(file, 1, 0, "", "is UTF-16", "save it as UTF-8")
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        return "", Fault(file, line, 0, "", "holds a NUL byte", "save it as UTF-8 text")
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return "", Fault(file, line, 0, "", f"byte 0x{raw[error.start]:02X} is not UTF-8", "save it as UTF-8")


def _read(form: Shape, file: str, text: str) -> Read:
    lines = _cells(text)
    line, header = next(lines, (1, []))
    if not header:
        wanted = f"begin with: {','.join(form.columns)}"
        return Read((), (Fault(file, 1, 0, "", "is empty", wanted),))
    if faults := tuple(_header_faults(form, file, line, header)):
        return Read((), faults)
    found: list[tuple[int, Row]] = []
    wrong: list[Fault] = []
    for line, cells in lines:
        if not any(cells):
            continue
        if len(cells) != len(header):
            what = f"has {len(cells)} cells where the first line has {len(header)}"
            wrong.append(Fault(file, line, 0, "", what, "put a cell that holds a comma or semicolon in quotes"))
            continue
        record = {
            name: [word.strip() for word in cell.split("|")] if name in form.lists else cell
            for name, cell in zip(header, cells, strict=True)
            if cell
        }
        problems = [
            Fault(file, line, header.index(column) + 1, column, what, write)
            for column, what, write in form.problems(record)
        ]
        wrong += problems
        if not problems:
            found.append((line, record))
    twice = {line: (key, first) for line, key, first in repeated(form, found)}
    for line, (key, first) in twice.items():
        column = header.index(form.key[0]) + 1
        what = f"{key} stands here a second time, first in line {first}"
        wrong.append(Fault(file, line, column, form.key[0], what, "keep one of the two"))
    return Read(
        tuple(_whole(form, record) for line, record in found if line not in twice),
        tuple(sorted(wrong, key=lambda fault: (fault.line, fault.column))),
    )


def _whole(form: Shape, record: Row) -> Row:
    row: Row = {name: record.get(name, [] if name in form.lists else None) for name in form.columns}
    return row if len(form.key) == 1 else {"Key": form.key_of(record), **row}


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every record that is not blank; the first line tells comma from semicolon."""
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BrokenError(start, str(error)) from None
        if cells:
            yield start, [cell.strip(" \t") for cell in cells]


def _header_faults(form: Shape, file: str, line: int, header: list[str]) -> Iterator[Fault]:
    for number, name in enumerate(header, 1):
        if name not in form.columns:
            wanted = f"the columns are: {','.join(form.columns)}"
            yield Fault(file, line, number, name[:40], "is no column of this register", wanted)
        elif header.index(name) + 1 != number:
            yield Fault(file, line, number, name, "stands here a second time", "delete one of the two")
    for name in form.columns:
        if name not in header:
            what = f"the column {name} is missing"
            yield Fault(
                file, line, 0, "", what, "add it to the first line; its cells may be empty where that is allowed"
            )
