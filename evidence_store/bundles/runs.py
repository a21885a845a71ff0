"""Checks the runs of a bundle: each is whole, its lines are those of its tree, and every body is there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from evidence_store import layout
from evidence_store.bundles import format as form
from evidence_store.bundles.check import Check, File, Run
from evidence_store.bundles.lines import SPANS, STREAMS, LineSummary
from evidence_store.log import RUN_ABORT, RUN_CLOSE, RUN_OPEN, Leaf
from evidence_store.spelling import unstamp

ENDS_EARLY = "the last leaf was recorded before the period ends: nothing here shows what was recorded after it"


def check_runs(check: Check) -> None:
    """Every run of the range is whole, its lines are those of its tree, and every body is there."""
    leaves, facts = check.found.leaves, check.found.facts
    last = None
    for leaf in leaves:
        with check.noting(form.entry_name(leaf.index, leaf.kind)):
            last = _tell(check, leaf, last)
    kept = {run.number for run in check.found.runs.values() if run.kept}
    for name in check.files:
        if leaves and (match := form.RUN_FILE.fullmatch(name)) and int(match[1]) not in kept:
            check.report(name, "belongs to no run of the bundle")
    withheld = dict.fromkeys((layout.MANIFEST, layout.RESULTS), 0)
    for run in check.found.runs.values():
        if run.kept:
            _run(check, run, withheld)
    if leaves:
        _objects(check, kept)
    if facts is not None and leaves:
        states = [run.state for run in check.found.runs.values()]
        if facts.runs != {state: states.count(state) for state in ("complete", "aborted", "open")}:
            check.report(form.SEAL, "speaks of other runs than the log")
        if (facts.withheld_replies, facts.withheld_results) != tuple(withheld.values()):
            check.report(form.SEAL, "speaks of another number of withheld lines")
        begin, end = map(unstamp, facts.period)
        if not any(begin <= leaf.recorded_on < end for leaf in leaves):
            check.report(form.SEAL, "speaks of a period in which nothing of the range was recorded")
        if leaves[-1].recorded_on < end:
            check.warnings.append(ENDS_EARLY)
        if leaves[0].index and leaves[0].recorded_on >= begin:
            check.report(form.entry_name(leaves[0].index, leaves[0].kind), "begins after the period does")
    for before, after in pairwise(leaves):
        if after.recorded_on < before.recorded_on:
            check.warnings.append(f"the clock went back between leaf {before.index} and leaf {after.index}")


def _tell(check: Check, leaf: Leaf, last: int | None) -> int | None:
    """Take in a leaf; the number of the newest run is passed along.

    Raises:
        ValueError: it contradicts the leaves before it.
    """
    runs, leaves, number = check.found.runs, check.found.leaves, leaf.predicate.get("run")
    if leaf.kind not in (RUN_OPEN, RUN_CLOSE, RUN_ABORT):
        return last
    if type(number) is not int or not 0 < number < 10**8:
        raise ValueError("names no run")
    current = runs.get(last) if last is not None else None
    if leaf.kind == RUN_OPEN:
        expected = last + 1 if last is not None else 1 if not leaves[0].index else number
        if number != expected or (current is not None and current.ending is None):
            raise ValueError("opens a run out of turn")
        if layout.PLAN not in leaf.statement.subject:
            raise ValueError("opens a run without a plan")
        facts = check.found.facts
        if facts is None or leaf.recorded_on < unstamp(facts.period[1]) or leaf is not leaves[-1]:
            runs[number] = Run(number, leaf)
        return number
    if current is None and leaf is leaves[0]:
        return number
    if current is None or current.ending is not None or number != current.number:
        raise ValueError("ends a run that is not open")
    current.ending = leaf
    place = leaf.predicate.get("openIndex")
    if type(place) is not int or place != current.opening.index:
        raise ValueError("ends a run opened by another leaf")
    subject, plan = leaf.statement.subject, current.opening.statement.subject[layout.PLAN]
    if (layout.PACK not in subject and leaf.kind == RUN_CLOSE) or subject.get(layout.PLAN, plan) != plan:
        raise ValueError("ends a run without its files, or with another plan")
    return number


def _run(check: Check, run: Run, withheld: dict[str, int]) -> None:
    plan = form.run_file(run.number, layout.PLAN)
    if plan not in check.files:
        check.report(plan, "is missing")
    elif {check.files[plan].sha256} != {run.opening.statement.subject[layout.PLAN], run.subject.get(layout.PLAN)}:
        check.report(plan, "is not what was sealed")
    assert run.ending is not None
    for stream in STREAMS:
        name = form.run_file(run.number, stream)
        facts = run.ending.predicate.get(stream.removesuffix(".ndjson"))
        if name not in check.files or (summary := check.files[name].lines) is None:
            if stream != SPANS or (facts is not None and _redacted(check)):
                check.report(name, "is missing")
            continue
        if stream in withheld:
            withheld[stream] += len(summary.withheld)
        with check.noting(name):
            if summary.problem:
                raise ValueError(summary.problem)
            if not isinstance(facts, dict):
                raise ValueError("is not described by its leaf")
            if type(facts.get("leaves")) is not int or isinstance(facts.get("size"), bool):
                raise ValueError("is not described by its leaf")
            if (summary.root, summary.count) != (facts.get("root"), facts["leaves"]):
                raise ValueError("is not the root over the leaves")
            file = check.files[name]
            if stream == SPANS:
                if not summary.withheld and file.size != facts.get("size"):
                    raise ValueError("is not what was sealed")
                _beside(summary, check.files.get(form.run_file(run.number, layout.MANIFEST)))
            elif not summary.withheld and (file.sha256, file.size) != (run.subject.get(stream), facts.get("size")):
                raise ValueError("is not what was sealed")


def _redacted(check: Check) -> bool:
    """Whether fields are left out of this bundle."""
    return any(form.REDACTED.fullmatch(name) or name.endswith(f"/{SPANS}") for name in check.files)


def _beside(public: LineSummary, manifest: File | None) -> None:
    """Every public line stands for a reply that is withheld, and for one of its own."""
    hidden = set(manifest.lines.withheld) if manifest is not None and manifest.lines is not None else set()
    if len(set(public.replies)) != len(public.replies) or not hidden.issuperset(public.replies):
        raise ValueError("stands for a reply that is shown, or twice for one")


def _objects(check: Check, kept: set[int]) -> None:
    present = {found[2] for name in check.files if (found := form.OBJECT.fullmatch(name))}
    gone: dict[int, int] = {}
    for digest, where in check.named.bodies.items():
        if (sha256 := digest.hex()) in present:
            continue
        if sha256 in check.found.erased:
            gone[check.found.erased[sha256]] = gone.get(check.found.erased[sha256], 0) + 1
        else:
            check.report(form.object_name(sha256), f"is missing, though {where} names it")
    _attached(check, present, gone)
    for leaf, count in sorted(gone.items()):
        check.warnings.append(
            f"{count} bodies were erased under leaf {leaf}: what rests on them cannot be re-performed"
        )
    for sha256 in present:
        if bytes.fromhex(sha256) not in check.named.bodies and sha256 not in check.found.attached:
            check.report(form.object_name(sha256), "is named by nothing")
    for root, count in check.named.redacted.items():
        name = form.redacted_name(root.hex())
        if name not in check.files:
            check.report(name, "is missing")
        elif check.files[name].spans != count:
            check.report(name, "has another number of spans than its line says")
    for name in check.files:
        match = form.REDACTED.fullmatch(name)
        if match and bytes.fromhex(match[2]) not in check.named.redacted:
            check.report(name, "is named by nothing")
    copies: Mapping[str, str] = {}
    for number in sorted(kept, reverse=True):
        file = check.files.get(form.run_file(number, layout.PLAN))
        if file is not None and file.copies is not None:
            copies = file.copies
            break
    for name, file in check.files.items():
        if form.READABLE.fullmatch(name) and copies.get(name) != file.sha256:
            check.report(name, "is not what the newest plan names")


def _attached(check: Check, present: set[str], gone: dict[int, int]) -> None:
    """What people attached is there, was erased, or is left out and counted in the seal."""
    left_out = 0
    stated = check.found.facts.withheld_attachments if check.found.facts is not None else 0
    for sha256, (name, size) in check.found.attached.items():
        if sha256 in present:
            if check.files[form.object_name(sha256)].size != size:
                check.report(form.object_name(sha256), f"has another size than {name} says")
        elif sha256 in check.found.erased:
            if bytes.fromhex(sha256) not in check.named.bodies:
                gone[check.found.erased[sha256]] = gone.get(check.found.erased[sha256], 0) + 1
        else:
            left_out += 1
            if not stated:
                check.report(form.object_name(sha256), f"is missing, though {name} names it")
    if stated != left_out and stated:
        check.report(form.SEAL, "speaks of another number of attachments that are left out")
