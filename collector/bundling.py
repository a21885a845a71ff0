"""Makes a bundle for an auditor: what is selected of the sealed runs, with a report of the newest of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import orjson

from collector.catalogue import load_catalogues, load_mappings
from collector.commands.period import over_period
from collector.config import Config
from collector.errors import ConfigError
from collector.model import instant
from collector.plan import IDENTITY
from collector.plugins import content_root, load
from collector.predecessors import predecessors
from collector.report import build as build_report
from collector.report import json_, page
from collector.report.measured import in_full
from collector.report.text import visible
from collector.rerun import Rerun, changed, plan_of, rerun
from collector.sealing import outside
from evidence_store import layout, words
from evidence_store.bundles import build as bundle
from evidence_store.errors import StampError, TamperedError
from evidence_store.keys import Signer
from evidence_store.note import Checkpoint
from evidence_store.store import Store
from evidence_store.timestamps import Authority, ask
from evidence_store.verify import Verification, verify_store

Line = Mapping[str, Any]
STATED = ("attachment", "waiver", "redaction")
"""Leaves that a report tells of also where only a part is shown: they stand in the bundle all the same."""
SHOWN = 5
"""Scopes an error names at most."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula at the start of a cell."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a bundle shows of its runs; everything else stays as counted hashes."""

    controls: tuple[str, ...] = ()
    """Ids; empty for all."""
    scopes: tuple[str, ...] = ()
    """Patterns of scopes, ``prod/*``; a pattern covers what lies below it. Empty for all."""
    checks: frozenset[str] = frozenset()
    """Checks mapped to the controls, and those that hold what these read against an independent count."""
    datasets: frozenset[str] = frozenset()
    """What these checks read, and the identities it was read with."""

    @classmethod
    def of(cls, config: Config, controls: Sequence[str], scopes: Sequence[str]) -> Selection:
        """The selection of controls and scopes, by the mappings that are installed.

        Raises:
            ConfigError: there is no such control, or no check is mapped to any.
        """
        if not controls:
            return cls(scopes=tuple(scopes))
        library = load(config.plugins)
        catalogues = load_catalogues(content_root() / "mappings")
        mappings = load_mappings(content_root() / "mappings", config.mappings or None, library.checks, catalogues)
        if unknown := set(controls) - {control.id for control in catalogues.controls.values()}:
            raise ConfigError(f"there is no control {sorted(unknown)[0]}", "affidavit list controls shows their ids")
        checks = frozenset(row.check for row in mappings.rows if row.control in controls)
        if not checks:
            raise ConfigError(
                f"no check is mapped to {', '.join(controls)}", "affidavit list controls --json tells how"
            )
        # What a list was held against belongs to it: without that nobody could come to the same completeness again.
        more: Set[str] = checks
        while more:
            read = {name for check in more for name in library.checks[check].datasets}
            found = {id_ for id_, check in library.checks.items() if not read.isdisjoint(check.reconciles)}
            more = found - checks
            checks |= more
        datasets = {name for check in checks for name in library.checks[check].datasets} | set(IDENTITY.values())
        return cls(tuple(controls), tuple(scopes), checks, frozenset(datasets))

    def check_scopes(self, plans: Iterable[bytes]) -> None:
        """Every pattern of scopes matches one that was read.

        Raises:
            ConfigError: one matches nothing, and everything would be withheld for it.
        """
        if not self.scopes:
            return
        tasks = [task for plan in plans for task in orjson.loads(plan).get("tasks", ())]
        read = {str(task["id"]).partition("@")[2] for task in tasks}
        for pattern in self.scopes:
            if not any(replace(self, scopes=(pattern,))._scope(scope) for scope in read):
                raise ConfigError(
                    f"no scope of the period matches {pattern!r}",
                    f"name some of these, or a pattern of them: {', '.join(sorted(read)[:SHOWN]) or 'none was read'}",
                )

    @property
    def everything(self) -> bool:
        """Whether nothing is withheld."""
        return not self.controls and not self.scopes

    def keep(self, _run: int, stream: str, line: Line) -> bool:
        """Whether a line is shown. A control's line speaks about all scopes, so it is not shown for some."""
        if self.everything:
            return True
        if stream == "manifest.ndjson":
            dataset, _, scope = str(line["task"]).partition("@")
            return self._dataset(dataset) and self._scope(scope, dataset)
        match line.get("kind"):
            case "finding":
                return self._check(line) and self._scope(line["scope"])
            case "gap" | "population":
                return self._dataset(line["dataset"]) and self._scope(line["scope"], line["dataset"])
            case "control":
                return not self.scopes and line["id"] in self.controls
            case "certificate":
                return self._check(line)
        return False

    def keep_attached(self, leaf: Line, period: tuple[datetime, datetime]) -> bool:
        """Whether the bytes of an attachment are shown: not for other controls, nor such as held at no time of it."""
        if self.scopes or (self.controls and not {one["id"] for one in leaf.get("controls", ())} & set(self.controls)):
            return False
        recorded = instant(leaf["recordedOn"])
        return recorded >= period[0] or "validUntil" not in leaf or instant(leaf["validUntil"]) > period[0]

    def plan(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a plan that is about what is shown."""
        tasks = [
            task
            for task in document.get("tasks", ())
            if self._dataset(task["dataset"]) and self._scope(task["id"].partition("@")[2], task["dataset"])
        ]
        checks = [check for check in document.get("checks", ()) if not self.controls or check["id"] in self.checks]
        return {**document, "tasks": tasks, "checks": checks}

    def _check(self, line: Line) -> bool:
        return not self.controls or line["check"] in self.checks

    def _dataset(self, dataset: str) -> bool:
        return not self.controls or dataset in self.datasets

    def _scope(self, scope: str, dataset: str = "") -> bool:
        """Within a pattern, or for an identity above one."""
        if not self.scopes:
            return True
        parts = scope.split("/")
        above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if any(fnmatchcase(one, pattern) for one in above for pattern in self.scopes):
            return True
        return dataset in IDENTITY.values() and any(
            fnmatchcase(scope, "/".join(pattern.split("/")[: len(parts)])) for pattern in self.scopes
        )


def make(
    config: Config,
    store: Store,
    signer: Signer,
    out: Path,
    period: tuple[datetime, datetime],
    *,
    selection: Selection,
    recipient: str = "",
    how: str = "folder",
    redact: bool = False,
    since: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> bundle.Built:
    """A bundle for the period stands at ``out``.

    Raises:
        TamperedError: the store does not verify, or lacks something.
        UsageError: nothing was recorded in the period, or something stands at ``out``.
        StampError: a time-stamp authority is configured, and gave no time stamp.
    """
    who = outside(config)
    found = verify_store(store.root, key=signer.keyid, tsa_roots=who.roots, witnesses=who.witnesses)
    if found.problems:
        # A pack that is missing or damaged is why all the lines that name its bodies are wrong.
        problem = min(found.problems, key=lambda one: not one.path.endswith(layout.PACK))
        raise TamperedError(
            problem.path, problem.what,
            f"affidavit verify {store.root} tells all that is wrong; no bundle is made of a store that does not verify",
        )  # fmt: skip
    chosen = bundle.choose(store, *period)
    views = bundle.views(store, chosen, redact=redact)
    selection.check_scopes(view.plan() for view in views.values())
    say(f"{len(chosen.runs)} runs, leaves {chosen.start} to {chosen.end - 1}")
    stamps = who.authorities
    continuity = over_period(store, found, *period) if selection.everything else None
    return bundle.build(
        store, out, chosen, signer,
        wish=bundle.Wish(config.organisation, recipient, selection.controls, selection.scopes),
        shown=views,
        keep=selection.keep,
        keep_attached=lambda leaf: not redact and selection.keep_attached(leaf, period),
        reports=reports(
            views, found, signer.keyid, selection, store.notes(), bundle.head_of(store, chosen),
            at=min(period[1], datetime.now(UTC)), continuity=continuity, say=say,
        ),
        ask=_asking(stamps) if stamps else None,
        tsa_roots=who.roots,
        witnesses=[cosigner.witness for cosigner in who.cosigners],
        since=since,
        how=how,
    )  # fmt: skip


def _asking(stamps: Sequence[Authority]) -> bundle.Ask:
    """Time stamps of the first authority that answers."""

    def asking(data: bytes) -> bytes:
        for authority in stamps[:-1]:
            try:
                return ask(authority, data)
            except StampError:
                continue
        return ask(stamps[-1], data)

    return asking


def reports(
    views: Mapping[int, bundle.View],
    found: Verification,
    key: str,
    selection: Selection,
    notes: Sequence[Line],
    head: Checkpoint,
    *,
    at: datetime | None = None,
    continuity: Line | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, bytes]:
    """The report of the newest complete run: a page, a document, and tables; of what is shown only."""
    complete = [number for number, view in views.items() if view.state == "complete"]
    if not complete:
        return {}
    number, root = max(complete), content_root() / "mappings"
    view = views[number]
    lines = [line for line in view.results() if selection.keep(number, "results.ndjson", line)]
    replies = [line for line in view.replies() if selection.keep(number, "manifest.ndjson", line)]
    document = orjson.loads(view.plan())
    if "tasks" not in document:
        return {}
    if not selection.everything:
        what = ", ".join((*selection.controls, *selection.scopes))
        found = replace(found, warnings=(f"this report is restricted to {what}; the rest is withheld", *found.warnings))
        document = selection.plan(document)
    data = build_report(
        document,
        view.opening,
        view.closing,
        replies,
        lines,
        found,
        run=number,
        state=view.state,
        key=key,
        notes=[note for note in notes if selection.everything or note["kind"] in STATED],
        absent=view.absent(),
        at=at,
        formerly=predecessors(root, load_catalogues(root)).of,
        continuity=dict(continuity) if continuity else None,
        spelt=in_full(notes, (views[number] for number in sorted(views))) if selection.everything else None,
    )
    words_of_head = f"head of the log ({head.size} leaves) in twelve words: {words.spell(head)}"
    data = replace(data, seal=replace(data.seal, attested=(*data.seal.attested, words_of_head)))
    again = {n: _again(one) for n, one in views.items() if n in complete and one.absent()}
    for one in again.values():
        _tell(one, say)
    lost = {str(n): list(one.not_reperformable) for n, one in again.items()}
    told = {"schema": "affidavit.not-reperformable/1", "findings": lost}
    return {
        **({"not-reperformable.json": orjson.dumps(told)} if lost else {}),
        "index.html": page.render(data).encode(),
        "report.json": json_.render(data).encode(),
        "findings.csv": _table(
            data.findings, ("check", "resource", "scope", "outcome", "reason", "replies", "grade", "standing")
        ),
        "controls.csv": _table(
            data.controls, ("framework", "edition", "id", "title", "result", "reason", "evidence", "standing", "waived")
        ),
        "statements.csv": _table(
            data.attachments,
            ("leaf", "title", "by", "role", "words", "from", "to", "effective", "recordedOn", "validUntil", "flags"),
        ),
        "waivers.csv": _table(
            data.waivers, ("leaf", "state", "check", "resource", "scope", "until", "reason", "by", "ticket")
        ),
        "gaps.csv": _table(data.gaps, ("dataset", "scope", "kind", "reason", "operation")),
    }


def _again(run: bundle.View) -> Rerun:
    """The re-performance of a run by its own checks: those installed, or where they are others by now, those sealed."""
    return rerun(run, sealed_code=bool(changed(plan_of(run)["code"], load().code)))


def _tell(again: Rerun, say: Callable[[str], None]) -> None:
    """Say what an auditor would see as a difference, though nothing that is left out explains it."""
    if not again.differences:
        return
    say(
        f"warning: run {again.number}: {len(again.differences)} results come out otherwise than they were sealed, and "
        f"not for what is left out; the first: {visible(again.differences[0])}"
    )


def _table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in columns])
    return out.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
