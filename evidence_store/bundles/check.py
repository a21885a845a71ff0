"""What a verification of a bundle has found so far: files, leaves, runs, and problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from evidence_store import layout
from evidence_store.bundles import format as form
from evidence_store.bundles.lines import LineSummary, Named
from evidence_store.bundles.source import Limits
from evidence_store.errors import StoreError, TamperedError, VerificationError
from evidence_store.keychain import KeyChain
from evidence_store.log import RUN_CLOSE, Leaf
from evidence_store.note import Checkpoint
from evidence_store.verify import PROBLEM_LIMIT, Problem


@dataclass(slots=True)
class File:
    """What the one pass over the files kept of one."""

    size: int
    sha256: str
    content: bytes | None
    """Whole content of what is small and needed; ``None`` of the rest."""
    lines: LineSummary | None = None
    """Of a stream of lines."""
    copies: Mapping[str, str] | None = None
    """Of a plan that names objects: digest by path of the readable copy."""
    spans: int = 0
    """Of a reply whose fields are left out: how many spans it has."""


@dataclass(slots=True)
class Run:
    """A run as the leaves of the range tell it."""

    number: int
    opening: Leaf
    ending: Leaf | None = None

    @property
    def state(self) -> str:
        """``complete``, ``aborted`` or ``open``."""
        if self.ending is None:
            return "open"
        return "complete" if self.ending.kind == RUN_CLOSE else "aborted"

    @property
    def subject(self) -> Mapping[str, str]:
        """Digests that the ending leaf names."""
        return self.ending.statement.subject if self.ending else {}

    @property
    def kept(self) -> bool:
        """Whether its files are in the bundle."""
        return layout.PACK in self.subject


@dataclass(slots=True)
class Contents:
    """What a bundle was found to hold; to be relied on only when its verification has no problem."""

    facts: form.Facts | None = None
    """What the seal says."""
    keys: KeyChain | None = None
    leaves: list[Leaf] = field(default_factory=list)
    """Of the range."""
    head: Checkpoint | None = None
    """The newest."""
    note: bytes = b""
    """Its file."""
    roots: dict[int, bytes] = field(default_factory=dict)
    """Root by size, of every head that was rebuilt or proven."""
    runs: dict[int, Run] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)
    """Leaf that says so, by digest of a body that was erased."""
    attached: dict[str, tuple[str, int]] = field(default_factory=dict)
    """File of its leaf, and size, by digest of what was attached."""


class Check:
    """One verification in progress: what was found, and what is wrong with it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.problems: dict[Problem, None] = {}
        self.warnings: list[str] = []
        self.files: dict[str, File] = {}
        self.found = Contents()
        self.stamped: list[dict[str, Any]] = []
        self.cosigned: list[dict[str, Any]] = []
        self.since: int | None = None
        self.named = Named(limits.files)
        self.chain: KeyChain | None = None

    def report(self, path: str, what: str) -> None:
        """Note a problem."""
        if len(self.problems) < PROBLEM_LIMIT:
            self.problems[Problem(path, what)] = None

    @contextmanager
    def noting(self, path: str) -> Iterator[None]:
        """Every way in which reading can fail becomes a problem."""
        try:
            yield
        except TamperedError as error:
            where = path if error.where == layout.ENTRIES else error.where
            self.report(where, error.problem)
        except VerificationError as error:
            self.report(path, error.what)
        except (StoreError, ValueError, OverflowError, RecursionError) as error:
            self.report(path, str(error))

    def content(self, name: str) -> bytes | None:
        """Of what is small and needed; ``None`` where it is neither, or missing."""
        file = self.files.get(name)
        return None if file is None else file.content
