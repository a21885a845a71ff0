"""What a register must look like: its JSON Schema, and what is wrong with a record in words a person can act on."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from collector.model import instant
from evidence_store.spans import MASK

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, FormatChecker

FORMULA = "=+-@"
"""A cell that begins with one of these is run as a formula by the spreadsheet that opens it."""

HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Classes of characters nobody can see: controls, marks that turn the direction of text, breaks."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a register that is wrong, and what to write instead."""

    file: str
    line: int
    column: int
    """Number of the column, or of the character in a document; 0 where the whole line is meant."""
    name: str
    """Name of the column; empty where the whole line is meant."""
    what: str
    write: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        if self.column:
            place += f": column {self.column}" + (f" ({self.name})" if self.name else "")
        return f"{place}: {self.what}; {self.write}"


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of one register."""

    name: str
    """``people``."""
    schema: Mapping[str, Any]

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names, in the order of the template."""
        return tuple(self.schema["properties"])

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that name a row together."""
        return tuple(self.schema["x-key"])

    @property
    def lists(self) -> frozenset[str]:
        """Columns that hold several words."""
        return frozenset(name for name, rule in self.schema["properties"].items() if rule.get("type") == "array")

    def example(self, column: str) -> str:
        """A cell as it may stand there."""
        value = self.schema["properties"][column]["examples"][0]
        return "|".join(value) if isinstance(value, list) else str(value)

    def key_of(self, record: Mapping[str, Any]) -> str:
        """What names the row; several columns stand with ``/`` between them."""
        return "/".join(str(record.get(name) or "") for name in self.key)

    def problems(self, record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Column, what is wrong and what to write, for all that is wrong with one record; empty cells are left out."""
        unseen = set()
        for name, value in record.items():
            for text in value if isinstance(value, list) else [value]:
                if wrong := _unsafe(text):
                    unseen.add(name)
                    yield name, *wrong
        for error in sorted(_validator(self.name).iter_errors(dict(record)), key=lambda error: error.json_path):
            column = str(error.absolute_path[0]) if error.absolute_path else ""
            if not column:
                column = next((name for name in error.validator_value if name not in record), "")
            text = str(record.get(column, ""))
            if column not in unseen and not MASK.search(text):
                yield column, *self._told(error, column)

    def _told(self, error: Any, column: str) -> tuple[str, str]:
        shown = repr(str(error.instance)[:40])
        example = f"write for example {self.example(column)}" if column in self.schema["properties"] else "delete it"
        match error.validator:
            case "required":
                return "is empty", example
            case "enum":
                return f"{shown} is not known here", f"write {' or '.join(error.validator_value)}"
            case "format":
                kind = "a day" if error.validator_value == "date" else "a time with its zone"
                return f"{shown} is not {kind}", example
            case "maxLength":
                return f"has more than {error.validator_value} characters", "shorten it"
            case "type":
                return "is a list where one value belongs", example
            case "uniqueItems":
                return "names one word twice", "keep it once"
            case "pattern":
                return f"{shown} has the wrong form", example
        return f"{error.validator} does not hold", example


NAMES = (
    "documents", "acknowledgements", "people", "identities", "joiners", "movers", "leavers", "roles", "training",
    "suppliers", "assets", "risks", "changes", "incidents", "access-requests", "exceptions", "access-reviews",
    "restore-tests", "audits", "requests", "advisories", "projects",
)  # fmt: skip
"""Registers there are, as their files are named."""


@cache
def shape(name: str) -> Shape:
    """The register of that name."""
    return Shape(name, json.loads(files("collector").joinpath(f"registers/schema/{name}.json").read_text("utf-8")))


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(shape(name).schema, format_checker=_formats())


def _formats() -> FormatChecker:
    from jsonschema import FormatChecker

    checker = FormatChecker(())

    @checker.checks("date", ValueError)
    def is_date(value: object) -> bool:
        return isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value) and date.fromisoformat(value))

    @checker.checks("date-time", ValueError)
    def is_time(value: object) -> bool:
        return isinstance(value, str) and bool(instant(value))

    return checker


def _unsafe(text: str) -> tuple[str, str] | None:
    """What is wrong with a text whatever column it stands in."""
    hidden = next((letter for letter in text if unicodedata.category(letter) in HIDDEN), "")
    if hidden:
        return f"holds U+{ord(hidden):04X}, which nobody can see", "delete that character"
    if text[:1] and text[0] in FORMULA:
        return f"begins with {text[0]}, so that a spreadsheet runs it as a formula", "begin with another character"
    return None


def repeated(form: Shape, records: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[tuple[int, str, int]]:
    """Line, key and first line of each record whose key stands before it; the case of letters does not count."""
    seen: dict[str, int] = {}
    for line, record in records:
        key = form.key_of(record)
        if first := seen.get(key.casefold()):
            yield line, key, first
        seen.setdefault(key.casefold(), line)
