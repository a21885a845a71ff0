"""Controls of each framework, and which check is evidence for which of them. Data only; nothing here judges."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from collector import yamlpos
from collector.errors import ConfigError
from collector.plugins import content_root
from collector.yamlpos import Document, Keys

STRENGTHS = (
    "context",
    "supports",
    "demonstrates_design",
    "demonstrates_implementation",
    "demonstrates_operation",
)
"""What evidence can show, weakest first. ``context`` is never counted."""

NOT_MAPPINGS = frozenset({"catalogues", "schema"})
"""Folders beside the mapping sets."""

Method = Literal["examine", "interview", "observe", "test"]
Kind = Literal["heading", "clause", "control", "cloud-specific", "cloud-guidance", "pii-guidance"]
ControlKey = tuple[str, str, str]
"""Framework, edition, id."""

_BORROWED = ("method", "ask", "documents", "sample", "cadence", "guard", "api_evidence", "strongest", "attributes")
"""What a row that leaves it out takes from the row named by ``like``."""


class MappingError(ConfigError):
    """A catalogue or mapping file is wrong; nothing was started."""


class CheckFacts(Protocol):
    """What a mapping needs to know of a check."""

    @property
    def id(self) -> str:
        """``aws.s3.default-encryption``."""
        ...

    @property
    def each(self) -> bool:
        """Whether it is asked of every record of its first dataset."""
        ...

    @property
    def dataset_kinds(self) -> tuple[str, ...]:
        """``snapshot`` or ``period`` for each dataset it asks for."""
        ...

    @property
    def params(self) -> Mapping[str, object]:
        """Its limits, with their defaults."""
        ...


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was read; it is sealed with the run."""

    name: str
    """Path below the mappings folder, with ``/``."""
    raw: bytes = field(repr=False)
    sha256: str
    """Digest of ``raw`` in hex."""


@dataclass(frozen=True, slots=True)
class Control:
    """One row of a catalogue: a control, a clause or a heading, and how a person tests it."""

    framework: str
    edition: str
    id: str
    title: str
    theme: str
    kind: Kind
    binds: tuple[str, ...]
    """Whom the edition addresses: ``customer``, ``provider``; empty where it makes no difference."""
    method: tuple[Method, ...]
    """What a person does, the weightiest first; never empty."""
    ask: str
    """What to look for, in our own words."""
    documents: str
    """What to ask for that no system can show; may be empty."""
    sample: str
    cadence: str
    guard: str
    """The overclaim to avoid; may be empty."""
    api_evidence: Literal["full", "partial", "none"]
    """How far systems can show it at all."""
    strongest: str
    """The most that evidence from systems can show; see ``STRENGTHS``."""
    attributes: Mapping[str, tuple[str, ...]]
    """The five attribute sets of ISO/IEC 27002:2022; empty where the row has none."""
    confidence: str
    """How sure we are of identifier, title and kind."""
    note: str

    @property
    def key(self) -> ControlKey:
        """Framework, edition, id."""
        return self.framework, self.edition, self.id


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The controls of one edition of a framework, in its own order."""

    framework: str
    edition: str
    title: str
    sources: str
    """Where identifiers and titles come from."""
    confidence: str
    not_listed: str
    """Parts of the edition that are left out, and why."""
    controls: tuple[Control, ...]
    file: SourceFile


@dataclass(frozen=True, slots=True)
class Catalogues:
    """Every catalogue of a folder."""

    all: Mapping[tuple[str, str], Catalogue]
    """By framework and edition."""
    controls: Mapping[ControlKey, Control]

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """What was read."""
        return tuple(catalogue.file for catalogue in self.all.values())


@dataclass(frozen=True, slots=True)
class Criterion:
    """The organisation's own rule that a result is measured by."""

    ref: str
    """Its document, or ``rule:NAME`` while the organisation has not named one."""
    param: str
    """Limit of the check that carries it; empty where the check has none."""
    default: object
    """The limit when nobody sets one."""


@dataclass(frozen=True, slots=True)
class MappingRow:
    """One check as evidence for one aspect of one control."""

    framework: str
    edition: str
    control: str
    check: str
    aspect: str
    """True when the check passes."""
    strength: str
    """The most a passing check can show; see ``STRENGTHS``."""
    coverage: Literal["full", "partial"]
    remainder: tuple[str, ...]
    """What remains to be shown by other means; empty when coverage is full."""
    criterion: Criterion | None
    party: Literal["customer", "provider", "partner", "inherited"]
    """Who owns the evidence."""
    does_not_show: str
    author: str
    reviewed: str
    rationale: str
    file: str
    """Path of the file below the mappings folder."""
    line: int

    @property
    def key(self) -> ControlKey:
        """Framework, edition and id of its control."""
        return self.framework, self.edition, self.control


@dataclass(frozen=True, slots=True)
class Mappings:
    """Mapping rows in the order of their files, and the files."""

    rows: tuple[MappingRow, ...]
    files: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class Correspondence:
    """One control of an older edition and what became of it."""

    old: str
    """Empty when the control is new."""
    new: str
    """Empty when the control was dropped."""
    relation: str
    note: str


def load_catalogues(root: Path) -> Catalogues:
    """The catalogues in ``root/catalogues``, each field that a row leaves out taken from the row it is ``like``.

    Raises:
        MappingError: a file is malformed, an edition or control stands twice, or ``like`` names no row.
    """
    documents = [_read(path, "catalogue") for path in sorted((root / "catalogues").glob("*.yaml"))]
    if not documents:
        raise MappingError(f"{root / 'catalogues'}: no catalogue there", "name the folder that holds catalogues/")
    editions: dict[tuple[str, str], Document] = {}
    places: dict[ControlKey, tuple[Document, int]] = {}
    for document in documents:
        edition = document.data["framework"], document.data["edition"]
        if edition in editions:
            raise _error(
                document, ("edition",),
                f"{' '.join(edition)} is already described by {editions[edition].path.name}",
                "keep one of the two files",
            )  # fmt: skip
        editions[edition] = document
        for index, row in enumerate(document.data["controls"]):
            if (key := (*edition, row["id"])) in places:
                raise _error(document, ("controls", index, "id"), f"{row['id']} stands here twice", "keep one of them")
            places[key] = document, index
    controls = {key: _control(key, places) for key in places}
    return Catalogues(
        MappingProxyType({
            edition: Catalogue(
                framework=edition[0], edition=edition[1], title=document.data["title"],
                sources=document.data["sources"], confidence=document.data["confidence"],
                not_listed=document.data.get("not_listed", ""),
                controls=tuple(controls[*edition, row["id"]] for row in document.data["controls"]),
                file=_source_file(document, root),
            )
            for edition, document in editions.items()
        }),
        MappingProxyType(controls),
    )  # fmt: skip


def load_mappings(
    root: Path,
    names: Sequence[str] | None,
    checks: Mapping[str, CheckFacts] | None,
    catalogues: Catalogues | None = None,
) -> Mappings:
    """The mapping sets ``names`` (folders of ``root``; all when ``None``), every row proven against what it names.

    A customer's folder loads the same way; it passes our ``catalogues``, or brings its own in ``root/catalogues``.
    Without ``checks``, rows are taken as they are: mappings sealed with a run were proven against the checks of then.

    Raises:
        MappingError: a set or file is missing or malformed, or a row names something unknown or claims too much.
    """
    catalogues = catalogues or load_catalogues(root)
    rows: dict[tuple[str, ...], MappingRow] = {}
    files = []
    for name in _sets(root) if names is None else names:
        for path in _files(root, name):
            document = _read(path, "mapping")
            files.append(_source_file(document, root))
            for row in _rows(document, files[-1].name, checks, catalogues):
                key = (*row.key, row.check, row.aspect)
                if key in rows:
                    twin = f"{rows[key].file}:{rows[key].line}"
                    raise MappingError(
                        f"{path}:{row.line}: {row.control} {row.check}: the same row stands in {twin}",
                        "keep one of the two, or name another aspect",
                    )
                rows[key] = row
    return Mappings(tuple(rows.values()), tuple(files))


def load_correspondence(path: Path) -> tuple[Correspondence, ...]:
    """The rows of a table in ``catalogues/correspondence``.

    Raises:
        MappingError: the file is missing or not such a table.
    """
    try:
        table = csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""))
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: cannot be read: {error}", "name a table in catalogues/correspondence") from None
    if table.fieldnames != ["from", "to", "relation", "note"]:
        raise MappingError(f"{path}:1: not a correspondence", "write the columns from,to,relation,note")
    rows = []
    for row in table:
        if None in row or None in row.values() or not (row["from"] or row["to"]) or not row["relation"]:
            raise MappingError(f"{path}:{table.line_num}: the row is incomplete", "fill from or to, and relation")
        rows.append(Correspondence(row["from"], row["to"], row["relation"], row["note"]))
    return tuple(rows)


def _control(key: ControlKey, places: Mapping[ControlKey, tuple[Document, int]]) -> Control:
    document, index = places[key]
    chain = list(_chain(key, places))
    row = chain[0] | {name: next((link[name] for link in chain if name in link), None) for name in _BORROWED}
    for name in ("method", "ask", "api_evidence", "strongest"):
        if row[name] is None:
            raise _error(
                document, ("controls", index), f"{key[2]} has no {name}", f"add {name}, or like: with a row that has it"
            )
    return Control(
        *key, title=row["title"], theme=row["theme"], kind=row["kind"], binds=tuple(row.get("binds", ())),
        method=tuple(row["method"]), ask=row["ask"], documents=row["documents"] or "", sample=row["sample"] or "",
        cadence=row["cadence"] or "", guard=row["guard"] or "", api_evidence=row["api_evidence"],
        strongest=row["strongest"],
        attributes=MappingProxyType({name: tuple(tags) for name, tags in (row["attributes"] or {}).items()}),
        confidence=row.get("confidence", document.data["confidence"]), note=row.get("note", ""),
    )  # fmt: skip


def _chain(key: ControlKey, places: Mapping[ControlKey, tuple[Document, int]]) -> Iterator[dict[str, Any]]:
    """The row, the row it is like, and so on, each once."""
    seen: set[ControlKey] = set()
    while key not in seen:
        seen.add(key)
        document, index = places[key]
        row: dict[str, Any] = document.data["controls"][index]
        yield row
        if "like" not in row:
            return
        framework, edition, control = row["like"].split()
        if (framework, edition, control) not in places:
            raise _error(
                document, ("controls", index, "like"), f"there is no {row['like']}",
                "write framework, edition and id of a row",
            )  # fmt: skip
        key = framework, edition, control


def _sets(root: Path) -> list[str]:
    if not root.is_dir():
        raise MappingError(f"{root}: no such folder", "name the folder that holds the mapping sets")
    return sorted(path.name for path in root.iterdir() if path.is_dir() and path.name not in NOT_MAPPINGS)


def _files(root: Path, name: str) -> list[Path]:
    known = _sets(root)
    if name not in known:
        raise MappingError(f"{root}: there is no mapping set {name}", _instead(name, known))
    paths = sorted((root / name).rglob("*.yaml"))
    if not paths:
        raise MappingError(f"{root / name}: no .yaml file in it", "add a mapping file, or remove the folder")
    return paths


def _rows(
    document: Document, name: str, checks: Mapping[str, CheckFacts] | None, catalogues: Catalogues
) -> Iterator[MappingRow]:
    framework, edition = document.data["framework"], document.data["edition"]
    catalogue = catalogues.all.get((framework, edition))
    if catalogue is None:
        editions = [known for other, known in catalogues.all if other == framework]
        frameworks = sorted({other for other, _ in catalogues.all})
        raise _error(
            document, ("edition" if editions else "framework",),
            f"there is no catalogue of {framework} {edition}",
            f"write one of: {', '.join(editions or frameworks)}",
        )  # fmt: skip
    for index, row in enumerate(document.data["evidence"]):

        def wrong(key: str, what: str, next_step: str, at: int = index) -> MappingError:
            return _error(document, ("evidence", at, key), what, next_step)

        control = catalogues.controls.get((framework, edition, row["control"]))
        if control is None:
            raise wrong(
                "control", f"{framework} {edition} has no {row['control']}",
                _instead(row["control"], [known.id for known in catalogue.controls]),
            )  # fmt: skip
        if checks is not None:
            check = checks.get(row["check"])
            if check is None:
                raise wrong("check", f"there is no check {row['check']}", _instead(row["check"], list(checks)))
            _restrain(row, control, check, wrong)
        yield _row(row, framework, edition, name, document.position(("evidence", index))[0])


def _restrain(
    row: Mapping[str, Any], control: Control, check: CheckFacts, wrong: Callable[[str, str, str], MappingError]
) -> None:
    """A row that claims more than its control or its check allows is refused."""
    strength = row["strength"]
    if control.kind == "heading":
        raise wrong("control", f"{control.id} is a heading and asks nothing", "map the check to one of its sub-clauses")
    if STRENGTHS.index(strength) > STRENGTHS.index(control.strongest):
        raise wrong(
            "strength", f"{strength} is more than systems can show for {control.id}",
            f"claim {control.strongest} at most",
        )  # fmt: skip
    # What stands whole beside a record only tells of whom or what the record speaks.
    judged = check.dataset_kinds[:1] if check.each else check.dataset_kinds
    if strength == "demonstrates_operation" and set(judged) != {"period"}:
        raise wrong(
            "strength", f"{check.id} reads a state at one moment, which shows no operation",
            "claim demonstrates_implementation at most, or map a check over events of a period",
        )  # fmt: skip
    if control.binds and row["party"] in ("customer", "provider") and row["party"] not in control.binds:
        raise wrong("party", f"{control.id} does not address the {row['party']}", f"write {' or '.join(control.binds)}")
    criterion = row.get("criterion", {})
    param = criterion.get("param")
    if param is not None and param not in check.params:
        raise wrong("criterion", f"{check.id} has no limit {param}", _instead(param, list(check.params)))
    if "default" in criterion and _plain(check.params[param]) != _plain(criterion["default"]):
        raise wrong(
            "criterion", f"{check.id} has {param}={check.params[param]!r} as its default, not {criterion['default']!r}",
            "write the default of the check",
        )  # fmt: skip


def _row(row: Mapping[str, Any], framework: str, edition: str, name: str, line: int) -> MappingRow:
    criterion = row.get("criterion")
    return MappingRow(
        framework, edition, row["control"], row["check"], row["aspect"], row["strength"], row["coverage"],
        tuple(row.get("remainder", ())),
        Criterion(criterion["ref"], criterion.get("param", ""), criterion.get("default")) if criterion else None,
        row["party"], row["does_not_show"], row.get("author", ""), row.get("reviewed", ""), row.get("rationale", ""),
        name, line,
    )  # fmt: skip


def _read(path: Path, schema: Literal["catalogue", "mapping"]) -> Document:
    try:
        document = yamlpos.load(path)
    except ConfigError as error:
        raise MappingError(error.what, error.next_step) from None
    if wrong := best_match(_validator(schema).iter_errors(document.data)):
        raise _schema_error(document, wrong)
    return document


@cache
def _validator(schema: str) -> Draft202012Validator:
    # Our own schema, also for a customer's folder: the rules travel with the program, not with the data.
    text = (content_root() / "mappings" / "schema" / f"{schema}.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def _schema_error(document: Document, error: ValidationError) -> MappingError:
    keys: Keys = tuple(error.absolute_path)
    found, schema, wanted = cast(Any, error.instance), cast(Any, error.schema), cast(Any, error.validator_value)
    match error.validator:
        case "required":
            missing = next(name for name in wanted if name not in found)
            what, next_step = f"{missing} is missing", f"add {missing}; mappings/README.md explains it"
        case "additionalProperties":
            unknown = next(name for name in found if name not in schema["properties"])
            keys = (*keys, unknown)
            what, next_step = "there is no such key", _instead(unknown, list(schema["properties"]))
        case "enum":
            what, next_step = f"{found!r} is not a known word", f"write one of: {', '.join(wanted)}"
        case "dependentRequired":
            keys = (*keys, "default")
            what, next_step = "a default without param says nothing", "add param, the limit of the check"
        case "not":
            keys = (*keys, "remainder")
            what, next_step = "must not stand here", "remove it: full coverage leaves no remainder"
        case _:
            what, next_step = error.message, "write it as mappings/README.md explains"
    return _error(document, keys, what, next_step)


def _source_file(document: Document, root: Path) -> SourceFile:
    return SourceFile(document.path.relative_to(root).as_posix(), document.raw, document.sha256)


def _error(document: Document, keys: Keys, what: str, next_step: str) -> MappingError:
    error = document.error(keys, what, next_step)
    return MappingError(error.what, error.next_step)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _instead(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    if near:
        return f"write {near[0]}, if that is what you mean"
    return f"write one of: {', '.join(sorted(known))}" if 0 < len(known) <= 12 else "see affidavit list"
