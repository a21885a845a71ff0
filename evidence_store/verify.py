"""Says whether a store is what was sealed, and names every file that is not."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import stat
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evidence_store import attachments, layout, lines, pack
from evidence_store.attested import check_chains, check_copies, check_cosignatures, check_freshness
from evidence_store.backends.s3 import downloaded, uri_of
from evidence_store.bodies import Bodies, Subset
from evidence_store.cosignature import Witness
from evidence_store.dsse import ENVELOPE_LIMIT
from evidence_store.errors import StoreError, TamperedError, UsageError, VerificationError
from evidence_store.fs import open_file, read_file
from evidence_store.history import History, RunInfo, read_history
from evidence_store.keychain import Attested
from evidence_store.keys import fingerprint_of
from evidence_store.log import ANCHOR, GAP, REDACTION, RUN_OPEN, Leaf
from evidence_store.objects import Objects
from evidence_store.redaction import check_fields
from evidence_store.run import PLAN_LIMIT, SealedRun, check_digest
from evidence_store.seal import facts_of
from evidence_store.spelling import lasting, now, stamp, unstamp
from evidence_store.tokens import TOKEN_LIMIT, Token, anchored, copies_named, token_digests

LAG_LIMIT_H = 100_000
SEALED_FILES = (layout.PLAN, layout.MANIFEST + layout.PACKED, layout.RESULTS + layout.PACKED)
"""Files of every run that are small beside its pack."""
CLOCK_SKEW = timedelta(minutes=5)
OTHER_FILES = (
    layout.NOTE_FILE, layout.TOKEN_FILE, layout.COSIGNATURE_FILE, layout.CHAIN_FILE,
    layout.SPOOL_FILE, layout.SPOOL_LINES, layout.SPOOL_PACK, layout.ATTACHMENT_FILE,
)  # fmt: skip
PROBLEM_LIMIT = 1000
"""A store that is broken in more places is reported no further."""
NO_ANCHOR = (
    "no outside anchor: nothing here shows that the log was not cut short or rewritten whole by the holder of its key; "
    "compare with a checkpoint held elsewhere; time stamps bound a rewriting, and show no cut"
)
OPEN_END = (
    "nothing shown here says what came after the last leaf: what attests the rest still holds when a tail is cut off; "
    "compare with a newer checkpoint held elsewhere"
)
UNLOGGED = "is not in the log"
UNLOGGED_END = (
    "is not in the log, where its run is open: a run that was interrupted while it was sealed is finished by opening "
    "the store for writing; or else the log was cut"
)
CHAIN_ONLY = (
    "the chain only was checked: no line of a run was read, and no body; packs were not looked at, not even whether "
    "they are there, and of attachments only whether they are there"
)
LINES_ONLY = "no body was read: one that was altered within its pack does not show"
NO_KEY = "consistent, signer not authenticated: no key was given to verify with"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was sealed."""

    path: str
    """File or folder inside the store."""
    what: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found; the facts hold only as far as there is no problem."""

    problems: tuple[Problem, ...]
    """Everything that is not as it was sealed, in order of path."""
    warnings: tuple[str, ...]
    """What could not be shown by this verification."""
    facts: dict[str, Any]
    """Origin, key, counts and times."""
    authenticated: bool
    """Whether a key was given and everything is signed by it."""
    runs: int
    replies: int
    objects: int
    leaves: int
    checkpoint: str
    """Text of the newest checkpoint, as signed."""
    stamps: tuple[dict[str, Any], ...] = field(default=())
    """Time stamps that were checked: checkpoint size, authority, time, by what."""
    cosignatures: tuple[dict[str, Any], ...] = field(default=())
    """Cosignatures that were checked: checkpoint size, witness, key id, time."""
    copies: tuple[dict[str, Any], ...] = field(default=())
    """Checkpoints held elsewhere that the log extends: where, and over how many leaves."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong and the signer is who he was expected to be."""
        return self.authenticated and not self.problems


def verify_store(
    path: Path | str,
    *,
    key: str | None,
    read_data: bool = True,
    chain_only: bool = False,
    subset: Subset | None = None,
    tsa_roots: bytes | None = None,
    max_stamp_lag_h: float = 24,
    witnesses: Sequence[str] = (),
    against: Sequence[Path] = (),
) -> Verification:
    """Check every file of a store against its log, and the log against a key that came from elsewhere.

    Args:
        path: the store, a folder or ``s3://bucket/prefix``.
        key: fingerprint of the signer, obtained outside the store; without it nothing is authenticated.
        read_data: unpack and hash every body, not only the packs' headers.
        chain_only: the log with all its signatures, and the digest of every sealed file but the packs: no line is read,
            and no body.
        subset: only these of the bodies.
        tsa_roots: PEM root certificates of the time-stamp authorities.
        max_stamp_lag_h: a run that was stamped later than this is a problem, unless the store's own policy is stricter.
        witnesses: verifier keys of witnesses, obtained outside the store; each must have cosigned.
        against: checkpoints held elsewhere, or folders of them; the log must extend each.

    Raises:
        UsageError: there is nothing to verify at ``path``, or the key is not a fingerprint.
    """
    if (uri := uri_of(path)) is not None:
        with downloaded(uri) as (copy, seen):
            found = verify_store(
                copy,
                key=key,
                read_data=read_data,
                chain_only=chain_only,
                subset=subset,
                tsa_roots=tsa_roots,
                max_stamp_lag_h=max_stamp_lag_h,
                witnesses=witnesses,
                against=against,
            )
        problems = (*(Problem(name, what) for name, what in seen.problems), *found.problems)
        return replace(found, problems=problems, warnings=(*seen.warnings, *found.warnings))
    root = Path(path).absolute()
    pinned = fingerprint_of(key) if key is not None else None
    cosigners = [Witness.parse(text) for text in witnesses]
    if not 0 < max_stamp_lag_h <= LAG_LIMIT_H:
        raise UsageError(f"a lag of {max_stamp_lag_h} hours is impossible", "give hours above 0, such as 24")
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder", "name the folder of a store")
    check = _Check(root)
    history = check.history()
    if history is None:
        return check.outcome(None, False, ())
    whole = read_data and not chain_only
    attachments.check(root, history.leaves, check.listed, check.report, check.warnings.append, read_data=whole)
    if chain_only:
        check.sealed_files(history)
    else:
        check.runs(history, read_data, subset)
        if not read_data:
            check.warnings.append(LINES_ONLY)
    stamps = check.stamps(history, tsa_roots)
    cosignatures = check.cosignatures(history, cosigners)
    copies = tuple(check_copies(history, against, check.report, check.warnings.append))
    check.outside(history, stamps, cosignatures, copies, tsa_roots, timedelta(hours=max_stamp_lag_h))
    check.clock(history)
    check.rulers(history)
    attested = [(entry["checkpointSize"], unstamp(entry["time"])) for entry in (*stamps, *cosignatures)]
    check.keys(history, pinned, attested)
    return check.outcome(history, pinned is not None and not history.keys.refuses(pinned), stamps, cosignatures, copies)


class _Check:
    """One verification in progress."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: dict[Problem, None] = {}
        self.warnings: list[str] = []
        self.replies = 0
        self.bodies = 0
        self.listed: list[str] = []
        """All files and folders of the store."""
        self.erased: dict[int, int] = {}
        """Replies whose body was erased, by the leaf that says so."""

    def report(self, path: str, what: str) -> None:
        if len(self.problems) < PROBLEM_LIMIT:
            self.problems[Problem(path, what)] = None

    @contextmanager
    def noting(self, path: str) -> Iterator[None]:
        """Every way in which reading can fail becomes a problem."""
        try:
            yield
        except TamperedError as error:
            self.report(error.where, error.problem)
        except VerificationError as error:
            self.report(path, error.what)
        except (StoreError, ValueError) as error:
            self.report(path, str(error))
        except OSError as error:
            self.report(path, f"cannot be read ({error.strerror})")

    def rulers(self, history: History) -> None:
        """A run that says its ruler is not that of the run before is announced by a leaf between the two."""
        ruler = announced = None
        for leaf in history.leaves:
            if leaf.kind == "config-change":
                announced = leaf.predicate.get("to")
            elif leaf.kind == RUN_OPEN and "ruler" in leaf.predicate:
                if ruler not in (None, leaf.predicate["ruler"]) and announced != leaf.predicate["ruler"]:
                    what = f"leaf {leaf.index} opens a run that measures otherwise, and no leaf announces it"
                    self.report(layout.ENTRIES, what)
                ruler = leaf.predicate["ruler"]

    def history(self) -> History | None:
        """Read the log, and look for files that belong to nothing."""
        listed: list[tuple[str, int]] = []
        with self.noting(layout.STORE):
            # Listed before the log is read: a writer at work has then logged all that was there but its newest run.
            listed += walk(self.root)
        self.listed = [name for name, _ in listed]
        history = self._read()
        self.names(history, listed)
        if history is not None and history.tree.size > history.checkpoint.size:
            missing = layout.note_name(history.tree.size)
            self._unfinished(missing, f"is missing, though leaf {history.tree.size - 1} is written")
        if history is not None and history.trust_stale:
            self._unfinished(layout.TRUST, "does not say yet what the newest leaf about keys says")
        if history is not None and history.torn:
            self._unfinished(layout.ENTRIES, f"{history.torn} bytes after leaf {history.tree.size - 1} are not a leaf")
        return history

    def _read(self) -> History | None:
        with self.noting(layout.ENTRIES):
            return read_history(self.root, self.report, every_note=True)
        return None

    def _unfinished(self, path: str, what: str) -> None:
        if _being_written(self.root):
            self.warnings.append(f"{path}: {what}; a writer is at work")
        else:
            self.report(path, f"{what}; an interrupted write is put right by opening the store for writing")

    def names(self, history: History | None, listed: Iterable[tuple[str, int]]) -> None:
        """Report everything that no store has, and every link; what is missing shows when it is read."""
        runs = history.runs if history else {}
        expected = {layout.run_name(run.number) for run in runs.values() if run.kept}
        files = {*layout.FILES, layout.LOCK, layout.INDEX, layout.REMOTE}
        files |= {layout.SPOOLED_NOTE, layout.SPOOLED_REPLY, layout.SPOOLED_TRUST, layout.SPOOLED_ATTACHMENT}
        files |= {f"{run}/{name}" for run in expected for name in layout.RUN_FILES}
        files |= {f"{layout.run_name(run.number)}/{layout.SEED}" for run in runs.values() if layout.SEED in run.subject}
        folders = {*layout.FOLDERS, layout.ATTACHMENTS} | expected
        open_runs = [run.number for run in runs.values() if run.state == "open"]
        half_sealed = {layout.run_name(number) for number in open_runs}
        if _being_written(self.root):
            # A run gets its name before its leaf is written.
            folders |= half_sealed
            files |= {f"{run}/{file}" for run in half_sealed for file in (*layout.RUN_FILES, layout.SEED)}
        spooled = False
        unknown: set[str] = set()
        for name, mode in listed:
            if name.rpartition("/")[0] in unknown:
                unknown.add(name)
                continue
            if stat.S_ISDIR(mode):
                spooled |= (spool := layout.SPOOL_FOLDER.fullmatch(name) is not None)
                if layout.RUN_FOLDER.fullmatch(name) and name not in folders:
                    unknown.add(name)
                    self.report(name, UNLOGGED_END if name in half_sealed else UNLOGGED)
                elif name not in folders and not spool:
                    unknown.add(name)
                    self.report(name, "is not part of a store")
            elif not stat.S_ISREG(mode):
                self.report(name, "is neither a file nor a folder")
            elif name not in files and not any(pattern.fullmatch(name) for pattern in OTHER_FILES):
                self.report(name, "is not part of a store")
        if any(layout.SPOOL_PACK.fullmatch(name) for name, _ in listed):
            self.warnings.append("an erasure was interrupted; opening the store for writing finishes or undoes it")
        if open_runs or spooled:
            which = f" {open_runs[-1]}" if open_runs else ""
            self.warnings.append(f"run{which} is open; what it holds is not sealed yet")

    def sealed_files(self, history: History) -> None:
        """Check the digest of every file that a leaf must name, but for the packs."""
        self.warnings.append(CHAIN_ONLY)
        for run in history.runs.values():
            if run.kept:
                self._statement(run)
                for file in (*SEALED_FILES, *((layout.SEED,) if layout.SEED in run.subject else ())):
                    name = f"{layout.run_name(run.number)}/{file}"
                    with self.noting(name), open_file(self.root, name) as opened:
                        check_digest(opened, _subject(run, file))

    def _statement(self, run: RunInfo) -> None:
        name = f"{layout.run_name(run.number)}/{layout.STATEMENT}"
        with self.noting(name):
            if read_file(self.root, name, ENVELOPE_LIMIT) != run.leaf:
                raise ValueError(f"is not leaf {run.closing['index']} of the log")

    def runs(self, history: History, read_data: bool, subset: Subset | None) -> None:
        """Check the files of every sealed run, oldest first."""
        bodies = Bodies(self.root)
        objects = Objects(self.root, [run.number for run in history.runs.values() if run.kept])
        for run in history.runs.values():
            if not run.kept:
                continue
            folder = layout.run_name(run.number)
            self._statement(run)
            with self.noting(f"{folder}/{layout.PLAN}"), open_file(self.root, f"{folder}/{layout.PLAN}") as file:
                if os.fstat(file.fileno()).st_size > PLAN_LIMIT:
                    raise ValueError("is too long")
                check_digest(file, _subject(run, layout.PLAN))
            name = f"{folder}/{layout.PACK}"
            with self.noting(name), open_file(self.root, name) as file:
                if read_data:
                    # Looked through all the same: then the bodies that are damaged are named too.
                    with self.noting(name):
                        check_digest(file, _subject(run, layout.PACK))
                size = os.fstat(file.fileno()).st_size
                count = 0
                for frame in pack.scan(file, size):
                    count += 1
                    bodies.add(run.number, frame)
                self.bodies += count
                if run.objects != {"count": count, "size": size}:
                    raise ValueError("does not hold as many objects as the log says")
            self._lines(run, layout.RESULTS, None)
            self._lines(run, layout.MANIFEST, bodies)
            if layout.SEED in run.subject or "spans" in run.closing:
                with self.noting(f"{folder}/{layout.SEED}"):
                    check_fields(SealedRun(self.root, run, objects), read_data, self.report)
        if read_data:
            bodies.check(self.report, subset)
        for leaf, count in sorted(self.erased.items()):
            self.warnings.append(f"{count} replies rest on a body that was erased under leaf {leaf}")

    def _lines(self, run: RunInfo, stream: str, places: Container[str] | None) -> None:
        """Check one stream of lines; with ``places``, that the bodies they name are kept."""
        name = f"{layout.run_name(run.number)}/{stream}{layout.PACKED}"
        facts = run.closing.get(stream.removesuffix(".ndjson"))
        with self.noting(name), open_file(self.root, name) as file:
            if not isinstance(facts, dict) or type(facts.get("size")) is not int:
                raise ValueError("is not described by its leaf")
            check_digest(file, _subject(run, stream + layout.PACKED))
            look = functools.partial(self._look, name, places, run.erased)
            found = lines.check(file, facts["size"], look)
            if found.sha256 != _subject(run, stream) or facts_of(found) != facts:
                raise ValueError("does not hold the lines the log promises")

    def _look(
        self, name: str, places: Container[str] | None, erased: Mapping[str, int], first: int, some: list[bytes]
    ) -> None:
        """Lines are lines, and the bodies they name are kept."""
        found = lines.parse_all(first, some)
        if places is None:
            return
        self.replies += len(found)
        for number, line in enumerate(found, first):
            sha256 = line.get("sha256")
            if type(sha256) is str and sha256 in places:
                continue
            if isinstance(sha256, str) and sha256 in erased:
                self.erased[erased[sha256]] = self.erased.get(erased[sha256], 0) + 1
            elif sha256 is not None:
                self.report(name, f"line {number} names body {str(sha256)[:64]!a}, which no pack up to this run holds")

    def stamps(self, history: History, roots: bytes | None) -> tuple[dict[str, Any], ...]:
        """Check time stamps: those the log names must be there, and each must be over its checkpoint, in time."""
        named: dict[Token, str] = {}
        present: dict[Token, str] = {}
        with self.noting(layout.ENTRIES):
            named = anchored(history.leaves)
        with self.noting(layout.CHECKPOINTS):
            present = token_digests(self.root)
        for token, sha256 in named.items():
            if token not in present:
                self.report(layout.token_name(*token), "is named in the log and missing")
            elif present[token] != sha256:
                self.report(layout.token_name(*token), "is not the reply the log names")
        for token in present.keys() - named.keys():
            self.warnings.append(f"{layout.token_name(*token)} is not named in the log yet")
        chain, revoked = b"", dict[Any, datetime]()
        with self.noting(layout.CHECKPOINTS):
            chain, revoked = check_chains(self.root, history, roots, self.report, self.warnings.append)
        checked = []
        for token in sorted(present):
            with self.noting(layout.token_name(*token)):
                checked += self._token(*token, roots, chain, revoked)
        if present and roots is None:
            self.warnings.append(f"{len(present)} time stamps are present, but no roots were given to check them with")
        return tuple(checked)

    def _token(
        self, size: int, authority: str, roots: bytes | None, chain: bytes, revoked: Mapping[Any, datetime]
    ) -> list[dict[str, Any]]:
        # Imported here: a store without time stamps verifies without the library for them.
        from evidence_store.timestamps import check_token, note_of, read_imprint, signer_of

        note = note_of(self.root, size)
        reply = read_file(self.root, layout.token_name(size, authority), TOKEN_LIMIT)
        if roots is None:
            if read_imprint(reply) != hashlib.sha256(note).digest():
                raise ValueError("is not a time stamp over its checkpoint")
            return []
        found = check_token(reply, note, roots, chain)
        moment = revoked.get(signer_of(reply))
        if moment is not None and moment <= found.time:
            raise ValueError(f"was signed with a certificate that was revoked on {stamp(moment)}")
        return [{"checkpointSize": size, "authority": authority, "time": stamp(found.time), "by": found.checked_by}]

    def cosignatures(self, history: History, witnesses: Sequence[Witness]) -> tuple[dict[str, Any], ...]:
        """Check cosignatures: those the log names must be there, and those of pinned witnesses must verify."""
        with self.noting(layout.CHECKPOINTS):
            return tuple(check_cosignatures(self.root, history, witnesses, self.report, self.warnings.append))
        return ()

    def outside(
        self,
        history: History,
        stamps: Sequence[Mapping[str, Any]],
        cosignatures: Sequence[Mapping[str, Any]],
        copies: Sequence[Mapping[str, Any]],
        roots: bytes | None,
        limit: timedelta,
    ) -> None:
        """Hold the times that runs claim against those of others, and say what nobody outside has seen."""
        demanded: dict[str, Any] = {}
        with self.noting(layout.ENTRIES):
            demanded = timestamp_policy(history.policy)
        if "maxLagHours" in demanded:
            limit = min(limit, timedelta(hours=demanded["maxLagHours"]))
        seen = [(entry["checkpointSize"], unstamp(entry["time"])) for entry in (*stamps, *cosignatures)]
        stamped = max((entry["checkpointSize"] for entry in stamps), default=0)
        covered = max((*(size for size, _ in seen), *(copy["size"] for copy in copies)), default=0)
        bare = []
        for run in history.runs.values():
            if run.closed_on is None:
                continue
            end, where = run.closing["index"], layout.run_name(run.number)
            times = [moment for size, moment in seen if size > end]
            if end >= stamped and demanded.get("required") is True:
                self.report(where, "no time stamp that was checked covers it, and the store's policy demands one")
            elif end >= stamped and roots is not None and "maxLagHours" in demanded and now() - run.closed_on > limit:
                what = f"no time stamp covers it, and the store's policy demands one within {lasting(limit)}"
                self.report(where, what)
            if times and min(times) - run.closed_on > limit:
                self.report(where, f"was stamped {lasting(min(times) - run.closed_on)} after the time it claims")
            if times and run.closed_on - min(times) > CLOCK_SKEW:
                late = lasting(run.closed_on - min(times))
                self.report(where, f"claims a time {late} after the stamp that covers it")
            bare += [run.number] if end >= covered else []
        kept = max((copy["size"] for copy in copies), default=0)
        self.warnings += unattested(covered, kept, history.leaves, bare)
        with self.noting(layout.CHECKPOINTS):
            check_freshness(self.root, history, stamps, cosignatures, CLOCK_SKEW, self.report)

    def keys(self, history: History, pinned: str | None, attested: Attested) -> None:
        """Report what hangs on a revoked key, and a pin that leads nowhere."""
        if pinned is None:
            self.warnings.append(NO_KEY)
        elif why := history.keys.refuses(pinned, attested):
            self.report(layout.ENTRIES, why)
        for what in history.keys.discounted(attested):
            self.report(layout.ENTRIES, what)

    def _copies(self, history: History) -> dict[str, Any]:
        """Where the log says that copies of checkpoints are: where an auditor asks for them."""
        with self.noting(layout.ENTRIES):
            named = copies_named(history.leaves)
            return {"copies": named} if named else {}
        return {}

    def clock(self, history: History) -> None:
        """Warn where the writer's clock went back."""
        for before, after in zip(history.leaves, history.leaves[1:], strict=False):
            if after.recorded_on < before.recorded_on:
                self.warnings.append(f"the clock went back between leaf {before.index} and leaf {after.index}")

    def outcome(
        self,
        history: History | None,
        pinned: bool,
        stamps: tuple[dict[str, Any], ...],
        cosignatures: tuple[dict[str, Any], ...] = (),
        copies: tuple[dict[str, Any], ...] = (),
    ) -> Verification:
        facts: dict[str, Any] = {}
        if history is not None:
            states = [run.state for run in history.runs.values()]
            facts = {
                "origin": history.origin,
                "key": history.key.fingerprint,
                **history.keys.earlier(),
                "size": history.checkpoint.size,
                "root": history.checkpoint.root.hex(),
                "first": stamp(history.leaves[0].recorded_on),
                "last": stamp(history.leaves[-1].recorded_on),
                "runs": {state: states.count(state) for state in ("complete", "aborted", "open")},
                "gaps": sum(leaf.kind == GAP for leaf in history.leaves),
                **self._copies(history),
                "erasures": sum(leaf.kind == REDACTION for leaf in history.leaves),
            }
        problems = tuple(sorted(self.problems, key=lambda problem: (problem.path, problem.what)))
        return Verification(
            problems,
            tuple(self.warnings),
            facts,
            pinned and not any(problem.path.startswith("log/") for problem in problems),
            len(history.runs) if history else 0,
            self.replies,
            self.bodies,
            len(history.leaves) if history else 0,
            history.checkpoint.text() if history else "",
            stamps,
            cosignatures,
            copies,
        )


def unattested(covered: int, kept: int, leaves: Sequence[Leaf], bare: Sequence[int]) -> list[str]:
    """What nobody outside has shown, in one line; nothing where a head that was kept elsewhere covers the end.

    Args:
        covered: size of the largest head that somebody outside attests, or holds.
        kept: size of the largest head that somebody holds elsewhere: only that shows where the log ends.
        leaves: of the log, or of the range that is shown.
        bare: numbers of the runs that end at or after ``covered``.
    """
    if not covered:
        return [NO_ANCHOR]
    if kept > max((leaf.index for leaf in leaves if leaf.kind != ANCHOR), default=0):
        return []
    if not bare:
        return [OPEN_END]
    runs = f"run {bare[0]} is" if len(bare) == 1 else f"runs {bare[0]} to {bare[-1]} are"
    return [f"{runs} covered by no outside anchor that was checked, and could be cut off unseen; {OPEN_END}"]


def timestamp_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What a store's policy says of time stamps.

    Raises:
        ValueError: it says it in a way this release does not read.
    """
    demanded = policy.get("timestamp", {})
    if not isinstance(demanded, dict) or not set(demanded) <= {"required", "maxLagHours"}:
        raise ValueError("leaf 0 demands of time stamps what this release does not know")
    hours = demanded.get("maxLagHours", 24)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= LAG_LIMIT_H:
        raise ValueError("leaf 0 has an impossible maxLagHours")
    return demanded


def walk(root: Path) -> Iterator[tuple[str, int]]:
    """Name and mode of everything under a folder; links are named, not followed.

    Raises:
        OSError: a folder cannot be read.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        # A writer at work may remove what it spooled between two looks.
        with suppress(FileNotFoundError), os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                with suppress(FileNotFoundError):
                    mode = entry.stat(follow_symlinks=False).st_mode
                    yield _printable(name), mode
                    if stat.S_ISDIR(mode) and name.count("/") < 4:
                        waiting.append(name)


def _printable(name: str) -> str:
    """A file name that does nothing to a terminal."""
    return name if name.isascii() and name.isprintable() else name.encode("unicode_escape").decode("ascii")


def _subject(run: RunInfo, name: str) -> str:
    sha256 = run.subject.get(name)
    if sha256 is None:
        raise ValueError("is not named by its leaf")
    return sha256


def _being_written(root: Path) -> bool:
    """Whether another process holds the writer's lock."""
    try:
        with open_file(root, layout.LOCK) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (TamperedError, OSError):
        return False
    return False
