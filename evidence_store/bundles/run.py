"""Runs read from a bundle, as :class:`~evidence_store.run.SealedRun` reads them from a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from evidence_store import layout, lines
from evidence_store.bundles import format as form
from evidence_store.bundles import lines as bundle_lines
from evidence_store.bundles.check import Contents, Run
from evidence_store.bundles.source import Files
from evidence_store.bundles.verify import examine
from evidence_store.cosignature import Witness
from evidence_store.errors import ErasedError, TamperedError, UsageError
from evidence_store.log import Leaf
from evidence_store.note import Checkpoint
from evidence_store.redaction import LEFT_OUT, WITHHELD, masked, shown_reply
from evidence_store.spans import Redacted, open_redacted
from evidence_store.spelling import HEX256
from evidence_store.verify import Verification


class BundleRun:
    """A run of a verified bundle. Lines that are withheld are counted and not yielded."""

    def __init__(self, files: Files, run: Run, erased: Mapping[str, int], restricted: bool) -> None:
        self.restricted = restricted
        """Whether the bundle shows only some controls or scopes."""
        self._files = files
        self._run = run
        self._erased = erased

    @property
    def number(self) -> int:
        """Its number in the log."""
        return self._run.number

    @property
    def state(self) -> str:
        """``complete`` or ``aborted``."""
        return self._run.state

    @property
    def opening(self) -> dict[str, Any]:
        """Predicate of the run-open leaf."""
        return self._run.opening.predicate

    @property
    def closing(self) -> dict[str, Any]:
        """Predicate of the run-close or run-abort leaf."""
        return self._run.ending.predicate if self._run.ending else {}

    @property
    def opened_on(self) -> datetime:
        """When the run-open leaf was written."""
        return self._run.opening.recorded_on

    def plan(self) -> bytes:
        """The plan, as it was sealed."""
        return self._files.read(form.run_file(self.number, layout.PLAN))

    def replies(self) -> Iterator[dict[str, Any]]:
        """The replies that are shown, whole or with fields left out, in order; each bears its number."""
        public = list(self._public())
        for line in self._lines(layout.MANIFEST):
            while public and public[0]["i"] < line["i"]:
                yield public.pop(0)
            yield line
        yield from public

    def results(self) -> Iterator[dict[str, Any]]:
        """The lines of the results that are shown, in order; each bears its number."""
        return self._lines(layout.RESULTS)

    def absent(self) -> dict[int, str]:
        """Why, by number of each reply that is not shown whole."""
        found = dict.fromkeys(self._hidden(layout.MANIFEST), WITHHELD)
        found |= {line["i"]: LEFT_OUT for line in self._public()}
        gone = (line for line in self._lines(layout.MANIFEST) if self._is_gone(line.get("sha256")))
        return found | {line["i"]: f"its body was erased under leaf {self._erased[line['sha256']]}" for line in gone}

    def hidden_results(self) -> int:
        """How many result lines are withheld."""
        return sum(1 for _ in self._hidden(layout.RESULTS))

    def object(self, name: str) -> bytes:
        """A body by its digest, or by its spans root with a word in place of each field.

        Raises:
            TamperedError: it is not in the bundle.
            ErasedError: it was erased, or nothing of it is shown.
        """
        if not HEX256.fullmatch(name):
            raise UsageError(f"{name!r} is not a digest", "give the sha256 of a reply line")
        if form.redacted_name(name) in self._files:
            return masked(self._files.read(form.redacted_name(name)), name)
        if self._is_gone(name):
            raise ErasedError(f"the body was erased under leaf {self._erased[name]}", "read that leaf for the basis")
        return self._files.read(form.object_name(name))

    def redacted(self, root: str) -> Redacted | None:
        """The reply with this spans root, without its fields; ``None`` when the bundle does not hold it."""
        name = form.redacted_name(root)
        return open_redacted(self._files.read(name), root) if name in self._files else None

    def _is_gone(self, sha256: str | None) -> bool:
        return sha256 is not None and sha256 in self._erased and form.object_name(sha256) not in self._files

    def _public(self) -> Iterator[dict[str, Any]]:
        if form.run_file(self.number, bundle_lines.SPANS) in self._files:
            yield from map(shown_reply, self._lines(bundle_lines.SPANS))

    def _hidden(self, stream: str) -> Iterator[int]:
        found = self._files.lines(form.run_file(self.number, stream))
        return (number for number, line in enumerate(found) if bundle_lines.is_withheld(line))

    def _lines(self, stream: str) -> Iterator[dict[str, Any]]:
        name = form.run_file(self.number, stream)
        for number, line in enumerate(self._files.lines(name)):
            if bundle_lines.is_withheld(line):
                continue
            try:
                parsed = lines.parse(number, line)
            except ValueError as error:
                raise TamperedError(name, f"line {number} changed since it was verified ({error})") from error
            yield parsed


class Bundle:
    """A bundle that was verified, open for reading its runs."""

    def __init__(self, files: Files, found: Contents, verification: Verification) -> None:
        self._files = files
        self._found = found
        self.verification = verification
        """What was found; without a key the signer is not authenticated."""

    @classmethod
    def open(
        cls, path: Path, *, key: str | None, tsa_roots: bytes | None = None, witnesses: Sequence[Witness] = ()
    ) -> Bundle:
        """The bundle at ``path``, once everything in it was checked.

        Raises:
            TamperedError: it is not what was sealed.
            UsageError: there is no bundle.
        """
        verification, found = examine(path, key=key, tsa_roots=tsa_roots, witnesses=witnesses)
        if verification.problems:
            problem = verification.problems[0]
            raise TamperedError(problem.path, problem.what, "do not rely on it; verify shows everything that is wrong")
        return cls(Files(path), found, verification)

    @property
    def head(self) -> Checkpoint | None:
        """The newest head of the log that the bundle shows."""
        return self._found.head

    @property
    def leaves(self) -> list[Leaf]:
        """The leaves of the range."""
        return self._found.leaves

    @property
    def fingerprint(self) -> str:
        """The key the seal is signed with; proven only when ``verification.authenticated``."""
        return str(self.verification.facts.get("key", ""))

    def runs(self) -> list[int]:
        """Numbers of the runs whose files are here, oldest first."""
        return sorted(run.number for run in self._found.runs.values() if run.kept)

    def run(self, number: int | None = None) -> BundleRun:
        """A run; without a number, the newest complete one.

        Raises:
            UsageError: the bundle does not hold it.
        """
        held = {run.number: run for run in self._found.runs.values() if run.kept}
        complete = [run.number for run in held.values() if run.state == "complete"]
        if number is None and complete:
            number = max(complete)
        if number not in held:
            what = f"run {number}" if number is not None else "complete run"
            raise UsageError(f"the bundle holds no {what}", f"it holds {', '.join(map(str, sorted(held))) or 'none'}")
        facts = self._found.facts
        restricted = facts is not None and bool(facts.controls or facts.scopes)
        return BundleRun(self._files, held[number], self._found.erased, restricted)

    def close(self) -> None:
        """Give files back."""
        self._files.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
