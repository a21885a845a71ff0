"""Runs read from a bundle, as :class:`~evidence_store.run.SealedRun` reads them from a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evidence_store import bundle_format as form
from evidence_store import bundle_lines, layout, lines
from evidence_store.bundle_source import Files
from evidence_store.bundle_verify import Contents, Run, examine
from evidence_store.cosignature import Witness
from evidence_store.errors import ErasedError, TamperedError, UsageError
from evidence_store.redaction import LEFT_OUT, WITHHELD, masked, shown_reply
from evidence_store.spans import Redacted, open_redacted
from evidence_store.spelling import HEX256
from evidence_store.verify import Verification


ERASED = "its body was erased before this bundle was made"


class BundleRun:
    """A run of a verified bundle. Lines that are withheld are counted and not yielded."""

    def __init__(self, files: Files, run: Run) -> None:
        self._files = files
        self._run = run

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

    def plan(self) -> bytes:
        """The plan, as it was sealed."""
        return self._files.read(form.run_file(self.number, layout.PLAN))

    def replies(self) -> Iterator[dict[str, Any]]:
        """The lines of the manifest that are shown, in order; each bears its number."""
        public = self._public()
        for number, line in enumerate(self._files.lines(form.run_file(self.number, layout.MANIFEST))):
            if not bundle_lines.is_withheld(line):
                yield lines.parse(number, line)
            elif number in public:
                yield shown_reply(public[number])

    def results(self) -> Iterator[dict[str, Any]]:
        """The lines of the results that are shown, in order; each bears its number."""
        return self._lines(layout.RESULTS)

    def withheld(self) -> dict[str, int]:
        """How many lines of each stream are withheld."""
        return {
            stream: sum(map(bundle_lines.is_withheld, self._files.lines(form.run_file(self.number, stream))))
            for stream in (layout.MANIFEST, layout.RESULTS)
        }

    def redacted(self, root: str) -> Redacted | None:
        """A reply whose fields are left out, by its spans root; ``None`` when it is not in the bundle."""
        name = form.redacted_name(root)
        return open_redacted(self._files.read(name), root) if name in self._files else None

    def absent(self) -> dict[int, str]:
        """Why, by number of each reply that is not shown whole."""
        public, why = self._public(), {}
        for number, line in enumerate(self._files.lines(form.run_file(self.number, layout.MANIFEST))):
            if bundle_lines.is_withheld(line):
                why[number] = LEFT_OUT if number in public else WITHHELD
            elif (sha256 := lines.parse(number, line).get("sha256")) and form.object_name(sha256) not in self._files:
                why[number] = ERASED
        return why

    def hidden_results(self) -> int:
        """How many result lines are withheld."""
        return self.withheld()[layout.RESULTS]

    def object(self, sha256: str) -> bytes:
        """A body; by its spans root, one with a word in place of each field that is left out.

        Raises:
            ErasedError: it was erased, or nothing of it is shown.
        """
        if (name := form.redacted_name(sha256)) in self._files:
            return masked(self._files.read(name), sha256)
        if HEX256.fullmatch(sha256) and form.object_name(sha256) not in self._files:
            raise ErasedError(ERASED, "the log of the bundle says on which basis")
        if not HEX256.fullmatch(sha256):
            raise UsageError(f"{sha256!r} is not a digest", "give the sha256 of a reply line")
        return self._files.read(form.object_name(sha256))

    def _public(self) -> dict[int, dict[str, Any]]:
        """The public lines that are shown, by number of the reply each stands for."""
        name = form.run_file(self.number, bundle_lines.SPANS)
        found = self._files.lines(name) if name in self._files else iter(())
        shown = [lines.parse(number, line) for number, line in enumerate(found) if not bundle_lines.is_withheld(line)]
        return {line["reply"]: line for line in shown}

    def _lines(self, stream: str) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._files.lines(form.run_file(self.number, stream))):
            if not bundle_lines.is_withheld(line):
                yield lines.parse(number, line)


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
        return BundleRun(self._files, held[number])

    def close(self) -> None:
        """Give files back."""
        self._files.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
