"""Re-performs a sealed run: its recorded replies through sources and checks, to the same findings or an error."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from collector import plan as planning
from collector.api import Check
from collector.catalogue import load_catalogues, load_mappings
from collector.collect import collect
from collector.connect import opening
from collector.connect.wire import ReplayWire, Wire
from collector.errors import RerunError
from collector.examples import parse
from collector.left_out import LeftOut, mark
from collector.model import Shard, Task
from collector.plugins import Library, load, load_folders
from collector.results import Results, conclude
from collector.schemas import schemas
from evidence_store.bundles.run import BundleRun
from evidence_store.redaction import RedactedRun
from evidence_store.run import SealedRun

Evidence = SealedRun | RedactedRun | BundleRun
"""A run as it was sealed, or as far as it is shown."""
SEALED_ONLY = ("i", "salt")
"""What the store adds to a line: no part of what was concluded."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A line that came out otherwise."""

    sealed: Mapping[str, Any] | None
    again: Mapping[str, Any] | None

    def __str__(self) -> str:
        line = self.sealed or self.again or {}
        name = " ".join(
            str(line.get(part, "")) for part in ("check", "resource", "dataset", "id", "scope") if line.get(part)
        )
        before = self.sealed and (self.sealed.get("outcome") or self.sealed.get("result") or self.sealed.get("gap"))
        after = self.again and (self.again.get("outcome") or self.again.get("result") or self.again.get("gap"))
        reasons = (
            f" ({self.sealed.get('reason')} / {self.again.get('reason')})"
            if self.sealed and self.again and before == after
            else ""
        )
        return f"{line.get('kind')} {name}: sealed {before or 'absent'}, now {after or 'absent'}{reasons}"


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a re-performance came to."""

    number: int
    lines: int
    """Result lines compared."""
    findings: int
    replies: int
    differences: tuple[Difference, ...]
    changed_code: tuple[str, ...]
    """Check modules that are not those the run was judged with."""
    changed_files: tuple[str, ...]
    """Mappings, catalogues and schemas that are not those of the run."""
    unused: int
    """Recorded replies that nobody asked for this time."""
    not_reperformable: tuple[int, ...] = ()
    """Numbers of the findings that rest on what is left out, withheld or erased: nothing can be said of them here."""

    @property
    def equal(self) -> bool:
        """True when every line that can be re-performed came out as it was sealed, from all replies."""
        return not self.differences and not self.unused


def rerun(run: Evidence, *, sealed_code: bool = False, folders: Sequence[Path] = ()) -> Rerun:
    """Re-perform a run without a network, a clock or the configuration.

    Mappings and catalogues are those sealed with the run. Checks are those installed here, or those in ``folders``,
    or with ``sealed_code`` the code inside the run, which is executed: for runs you trust.

    Raises:
        RerunError: the run is not complete, or names what is not installed.
        TamperedError: something in the store is not what was sealed.
    """
    document = shown_part(plan_of(run), run)
    with code_of(run, sealed=sealed_code, folders=folders) as library:
        done = perform(run, document, library, examples_of(run, document))
        again = [_comparable(line) for line in done.results.lines()]
        numbers = {_about(line): line["i"] for line in run.results()}
        sealed = [_comparable(line) for line in run.results()]
        found = list(_differences(sealed, again))
        told = LeftOut.of(run).excused([(one.sealed, one.again) for one in found], done.checks, done.masked)
        lost = [one.sealed for one, excused in zip(found, told, strict=True) if excused and one.sealed]
        return Rerun(
            run.number,
            len(sealed),
            sum(line["kind"] == "finding" for line in sealed),
            done.replies,
            tuple(one for one, excused in zip(found, told, strict=True) if not excused),
            changed(document["code"], library.code),
            _changed_mappings(document["files"]),
            done.unused,
            tuple(sorted(numbers[_about(line)] for line in lost if line["kind"] == "finding")),
        )


def shown_part(document: Mapping[str, Any], run: Evidence) -> dict[str, Any]:
    """The plan of what a restricted bundle shows: tasks whose population is shown, checks of which anything is."""
    if not isinstance(run, BundleRun) or not run.restricted:
        return dict(document)
    lines = list(run.results())
    tasks = {line["task"] for line in lines if line["kind"] == "population"}
    checks = {line["check"] for line in lines if line["kind"] in ("finding", "certificate")}
    return {
        **document,
        "tasks": [task for task in document["tasks"] if task["id"] in tasks],
        "checks": [check for check in document["checks"] if check["id"] in checks],
    }


@dataclass(frozen=True, slots=True)
class Performed:
    """What the recorded replies of a run give under some ruler."""

    results: Results
    replies: int
    unused: int
    checks: Mapping[str, Check]
    """What judged, by the ids they went by in the run."""
    masked: frozenset[str] = frozenset()
    """Tasks whose records are known by what is left out."""


def perform(
    run: Evidence,
    document: Mapping[str, Any],
    library: Library,
    example_files: Mapping[str, bytes],
    look: Callable[[Sequence[Shard]], None] = lambda shards: None,
) -> Performed:
    """Judge the recorded replies of ``run`` by the plan in ``document``, which need not be its own, with ``library``.

    ``look`` is shown the rows while they are there.

    Raises:
        RerunError: the plan names what the library does not hold.
        TamperedError: something in the store is not what was sealed.
    """
    with tempfile.TemporaryDirectory(prefix="affidavit-") as name:
        folder = Path(name)
        plan = planning.read(document, library)
        _write(run, document["files"], folder)
        catalogues = load_catalogues(folder / "mappings")
        mappings = load_mappings(folder / "mappings", None, None, catalogues)
        replies: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in run.replies():
            replies[line["task"]].append(line)
        wires: list[ReplayWire] = []

        def wire(task: Task, caller: str) -> Wire:
            replay = ReplayWire(task, replies.get(task.id, ()), run.object)
            replay.caller = caller
            replay.permissions = frozenset(library.sources[task.dataset].permissions)
            wires.append(replay)
            return replay

        rows = folder / "rows"
        rows.mkdir()
        shards = collect(
            plan.tasks, library.sources, wire, opening.recorded(plan), rows, workers=1, stop=threading.Event()
        )
        tasks = LeftOut.of(run).tasks
        masked = mark(shards, tasks)
        look(shards)
        checks = {check.id: check for check in plan.checks}
        examples = parse(example_files, checks, only_known=True)
        results = conclude(plan, shards, catalogues, mappings, examples)
        unused = sum(len(one.unused()) for one in wires if one.task.id not in tasks)
        return Performed(results, sum(map(len, replies.values())), unused, checks, masked)


def plan_of(run: Evidence) -> dict[str, Any]:
    """The plan a complete run was sealed with.

    Raises:
        RerunError: the run is not complete, or its plan is of another schema.
    """
    if run.state != "complete":
        raise RerunError(
            f"run {run.number} is {run.state}: it concluded nothing that could be re-performed", "name a complete run"
        )
    document: dict[str, Any] = orjson.loads(run.plan())
    if document.get("schema") != planning.SCHEMA:
        raise RerunError(
            f"the plan is of schema {document.get('schema')!r}, not {planning.SCHEMA!r}",
            "rerun with the version that sealed it",
        )
    return document


@contextmanager
def code_of(run: Evidence, *, sealed: bool = False, folders: Sequence[Path] = ()) -> Iterator[Library]:
    """Checks to judge with: those installed, those in ``folders``, or those sealed with the run, which are executed."""
    if not sealed:
        yield load_folders(tuple(folders)) if folders else load()
        return
    with tempfile.TemporaryDirectory(prefix="affidavit-") as name:
        folder = Path(name)
        _write(run, plan_of(run)["code"], folder)
        yield load_folders(tuple(sorted(path for path in folder.iterdir() if path.is_dir())))


def examples_of(run: Evidence, document: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of examples sealed with a run."""
    return {item["file"]: run.object(item["sha256"]) for item in document["examples"]}


def _comparable(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in line.items() if name not in SEALED_ONLY}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _differences(sealed: list[dict[str, Any]], again: list[dict[str, Any]]) -> Iterator[Difference]:
    """Lines that differ, matched by what they are about."""
    missing = {_about(line): line for line in sealed}
    for line in again:
        before = missing.pop(_about(line), None)
        if before and "leftOut" not in before:  # sealed before such records were counted
            line = {name: value for name, value in line.items() if name != "leftOut"}
        if before != line:
            yield Difference(before, line)
    for line in missing.values():
        yield Difference(line, None)
    if not missing and len(sealed) != len(again):
        yield Difference({"kind": f"{len(sealed)} lines"}, {"kind": f"{len(again)} lines"})


def _about(line: Mapping[str, Any]) -> tuple[str, ...]:
    names = (
        "kind",
        "check",
        "resource",
        "scope",
        "dataset",
        "task",
        "framework",
        "edition",
        "id",
        "gap",
        "operation",
        "reason",
    )
    keep = names if line["kind"] == "gap" else names[:9]
    return tuple(str(line.get(name, "")) for name in keep)


def _write(run: Evidence, files: list[dict[str, str]], folder: Path) -> None:
    for item in files:
        path = Path(item["file"])
        if path.is_absolute() or ".." in path.parts:
            raise RerunError(f"the plan names a file outside its folder: {item['file']}", "do not trust this run")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(run.object(item["sha256"]))


def changed(sealed: Sequence[Mapping[str, str]], code: Mapping[str, bytes]) -> tuple[str, ...]:
    """Names of the modules a run was judged with that are not among ``code``, or are otherwise there."""
    return tuple(
        item["file"]
        for item in sealed
        if item["file"] not in code or hashlib.sha256(code[item["file"]]).hexdigest() != item["sha256"]
    )


def _changed_mappings(sealed: list[dict[str, str]]) -> tuple[str, ...]:
    from collector.plugins import content_root

    ours = schemas(registers=True)

    def same(item: dict[str, str]) -> bool:
        path, content = content_root() / item["file"], ours.get(item["file"])
        if content is None and path.is_file():
            content = path.read_bytes()
        return content is not None and hashlib.sha256(content).hexdigest() == item["sha256"]

    return tuple(item["file"] for item in sealed if not same(item))
