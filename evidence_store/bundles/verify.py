"""Says whether a bundle is what was sealed, in one pass over its files; nothing is unpacked to disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evidence_store import layout, words
from evidence_store.bundles import format as form
from evidence_store.bundles.attested import Outsiders
from evidence_store.bundles.check import Check, Contents
from evidence_store.bundles.files import check_lists, read_files
from evidence_store.bundles.log import check_log
from evidence_store.bundles.runs import check_runs
from evidence_store.bundles.seal import check_seal
from evidence_store.bundles.source import WHOLE, Limits, Source, open_source
from evidence_store.cosignature import Witness
from evidence_store.errors import UsageError
from evidence_store.keys import fingerprint_of
from evidence_store.log import GAP
from evidence_store.note import Checkpoint
from evidence_store.spelling import lasting, stamp, unstamp
from evidence_store.verify import (
    CLOCK_SKEW,
    LAG_LIMIT_H,
    NO_KEY,
    Verification,
    timestamp_policy,
    unattested,
)  # fmt: skip


def verify_bundle(
    path: Path,
    *,
    key: str | None,
    tsa_roots: bytes | None = None,
    max_stamp_lag_h: float = 24,
    since: str | None = None,
    witnesses: Sequence[Witness] = (),
    limits: Limits | None = None,
) -> Verification:
    """Check every file of a bundle against its seal, its log and a key that came from elsewhere.

    Args:
        path: folder, zip or ``tar.zst``.
        key: fingerprint of the signer, obtained outside the bundle; without it nothing is authenticated.
        tsa_roots: PEM root certificates of the time-stamp authorities.
        max_stamp_lag_h: a run that was stamped later than this is a problem, unless the log's own policy is stricter.
        since: an earlier head, which this bundle must extend: twelve words, or the text of a note.
        witnesses: whose cosignatures count.
        limits: what a hostile bundle can cost.

    Raises:
        UsageError: there is no bundle at ``path``, or an argument is malformed.
    """
    return examine(
        path, key=key, tsa_roots=tsa_roots, max_stamp_lag_h=max_stamp_lag_h, since=since, witnesses=witnesses,
        limits=limits,
    )[0]  # fmt: skip


def examine(
    path: Path,
    *,
    key: str | None,
    tsa_roots: bytes | None = None,
    max_stamp_lag_h: float = 24,
    since: str | None = None,
    witnesses: Sequence[Witness] = (),
    limits: Limits | None = None,
) -> tuple[Verification, Contents]:
    """:func:`verify_bundle`, and what was found on the way."""
    pinned = fingerprint_of(key) if key is not None else None
    if not 0 < max_stamp_lag_h <= LAG_LIMIT_H:
        raise UsageError(f"a lag of {max_stamp_lag_h} hours is impossible", "give hours above 0, such as 24")
    wanted = _since(since) if since is not None else None
    limits = limits or Limits()
    with open_source(Path(path), limits) as source:
        return _examined(source, limits, pinned, tsa_roots, timedelta(hours=max_stamp_lag_h), wanted, witnesses)


def _examined(
    source: Source,
    limits: Limits,
    pinned: str | None = None,
    roots: bytes | None = None,
    lag: timedelta = timedelta(hours=24),
    since: bytes | Checkpoint | None = None,
    witnesses: Sequence[Witness] = (),
) -> tuple[Verification, Contents]:
    check = Check(limits)
    with check.noting(WHOLE):
        read_files(check, source.entries(check.report))
    check_lists(check)
    check_log(check)
    check_seal(check)
    check_runs(check)
    attested = _outsiders(check, roots, lag, witnesses)
    if since is not None:
        _extends(check, since)
    _unattested(check, attested)
    trusted = _pinned(check, pinned, attested)
    return _outcome(check, trusted), check.found


def _since(text: str) -> bytes | Checkpoint:
    return words.read_head(text) if "\n" in text.strip() and len(text.split()) != words.COUNT else words.read(text)


def _outsiders(
    check: Check, roots: bytes | None, limit: timedelta, witnesses: Sequence[Witness]
) -> Sequence[tuple[int, datetime]]:
    """What outsiders attest holds, and runs were stamped in time; what was seen outside, and when, is returned."""
    if not check.found.leaves:
        return []
    files = {name: file.content for name, file in check.files.items() if file.content is not None}
    outside = Outsiders(files, check.found.leaves, check.report, check.noting, check.warnings)
    outside.check(roots, witnesses)
    check.stamped, check.cosigned = outside.stamps, outside.cosignatures
    _lag(check, limit)
    if check.chain is not None:
        for what in check.chain.discounted(outside.attested):
            check.report("log/entries", what)
    return outside.attested


def _unattested(check: Check, attested: Sequence[tuple[int, datetime]]) -> None:
    """Say what nobody outside has shown; an earlier head that was given covers what came before it, and no more."""
    kept = check.since or 0
    covered = max((kept, *(size for size, _ in attested)))
    runs = check.found.runs.values()
    bare = [run.number for run in runs if run.ending is not None and run.ending.index >= covered]
    check.warnings += unattested(covered, kept, check.found.leaves, bare)


def _lag(check: Check, limit: timedelta) -> None:
    demanded: dict[str, Any] = {}
    with check.noting("log/entries"):
        demanded = timestamp_policy(check.found.policy)
    if "maxLagHours" in demanded:
        limit = min(limit, timedelta(hours=demanded["maxLagHours"]))
    for run in check.found.runs.values():
        if run.ending is None:
            continue
        closed = run.ending.recorded_on
        times = [unstamp(one["time"]) for one in check.stamped if one["checkpointSize"] > run.ending.index]
        where = layout.run_name(run.number)
        if not times and demanded.get("required") is True:
            check.report(where, "no time stamp that was checked covers it, and the log's policy demands one")
        if times and min(times) - closed > limit:
            check.report(where, f"was stamped {lasting(min(times) - closed)} after the time it claims")
        if times and closed - min(times) > CLOCK_SKEW:
            check.report(where, f"claims a time {lasting(closed - min(times))} after the stamp that covers it")


def _extends(check: Check, wanted: bytes | Checkpoint) -> None:
    """The head that somebody kept is in this log's past."""
    head, facts = check.found.head, check.found.facts
    if head is None or facts is None:
        check.report(form.PROOF, "cannot be held against the earlier head")
        return
    for size, root in check.found.roots.items():
        rebuilt = Checkpoint(head.origin, size, root)
        if size and wanted in (rebuilt, words.digest(rebuilt)):
            check.since = size
            return
    newer = isinstance(wanted, Checkpoint) and wanted.size > head.size
    check.report(
        form.PROOF,
        "does not reach the earlier head: it is newer than this bundle" if newer
        else "does not extend the earlier head: the log was rewritten, or the bundle has no proof from it",
    )  # fmt: skip


def _pinned(check: Check, pinned: str | None, attested: Sequence[tuple[int, datetime]]) -> bool:
    """Whether everything is signed by a key the reader named."""
    if pinned is None:
        check.warnings.append(NO_KEY)
        return False
    if check.chain is None:
        return False
    if why := check.chain.refuses(pinned, attested):
        check.report(form.SIGNER, why)
        return False
    return True


def _outcome(check: Check, trusted: bool) -> Verification:
    found, facts = check.found, check.found.facts
    told: dict[str, Any] = {}
    if check.chain is not None:
        told["key"] = check.chain.current.fingerprint
    if found.head is not None:
        told = {"origin": found.head.origin, **told, "size": found.head.size, "root": found.head.root.hex()}
        told["words"] = words.spell(found.head)
    if facts is not None:
        told |= {
            "organisation": facts.organisation,
            "recipient": facts.recipient,
            "period": f"{facts.period[0]} to {facts.period[1]}",
            "range": f"leaves {facts.start} to {facts.end - 1}",
            "runs": dict(facts.runs),
            "withheld": facts.predicate()["withheld"],
        }
        if facts.controls or facts.scopes:
            told["selection"] = {"controls": list(facts.controls), "scopes": list(facts.scopes)}
    if check.since is not None:
        told["since"] = f"extends the head of {check.since} leaves"
    if found.leaves:
        told |= {"first": stamp(found.leaves[0].recorded_on), "last": stamp(found.leaves[-1].recorded_on)}
        told["gaps"] = sum(leaf.kind == GAP for leaf in found.leaves)
    problems = tuple(sorted(check.problems, key=lambda problem: (problem.path, problem.what)))
    manifests = [
        file.lines for name, file in check.files.items() if file.lines is not None and name.endswith(layout.MANIFEST)
    ]
    return Verification(
        problems, tuple(check.warnings), told, trusted and not problems, len(found.runs),
        sum(lines.count - len(lines.withheld) for lines in manifests),
        sum(form.OBJECT.fullmatch(name) is not None for name in check.files), len(found.leaves),
        found.head.text() if found.head else "", tuple(check.stamped),
        tuple(check.cosigned),
    )  # fmt: skip
