"""Every sync is needed: without any one of them a crash shows, or a comment beside it says why none can.

All places in the source where something is made durable are listed, and each is left out in turn. Where the store
writes through :class:`Disk`, sessions that were traced are replayed without that sync, and a power cut is looked for
that breaks a promise; where other code calls ``os.fsync`` itself, it is watched that nothing gets its final name, and
no function returns, before it is safe.

``pytest tests/evidence_store/test_every_sync.py -v -s`` prints what shows each.
"""

from __future__ import annotations

import ast
import copy
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import test_attach_crash as attaching
import test_erase_crash as erasing
import test_key_crash as rotating
import test_store_crash as storing
import test_witness_crash as witnessing
from conftest import ORIGIN, fill
from test_key_rotation import A, B
from test_store_crash import Model, QuickDisk, TracedDisk, stack

from collector import starter
from evidence_store import anchors, layout
from evidence_store.backends.s3 import Bucket, Findings, Version
from evidence_store.errors import StoreError, VerificationError
from evidence_store.fs import Disk
from evidence_store.keys import FileSigner, create_key_file
from evidence_store.spans import Cut
from evidence_store.store import Store

ROOT = Path(layout.__file__).parents[1]
ALL = bool(os.environ.get("EVERY_SYNC"))
"""Look for a crash that shows an explained sync as well, at every operation: minutes more."""
EXPLAINED = "# No crash can show it:"
Trace = list[tuple[Any, ...]]
Stack = frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Site:
    """A place in the source that asks for a sync."""

    file: str
    first: int
    last: int
    text: str
    explained: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.first} {self.text}"

    def asked(self, callers: Stack) -> bool:
        return any(file == self.file and self.first <= line <= self.last for file, line in callers)


def syncs(node: ast.AST) -> bool:
    """Whether it is a call that makes something durable; an empty file has no content to lose."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in ("_sync", "_sync_file", "_sync_all")
    if not isinstance(node.func, ast.Attribute):
        return False
    owner = ast.unparse(node.func.value)
    if node.func.attr == "create" and owner.endswith("disk"):
        return ast.unparse(node.args[1]) != "b''"
    return node.func.attr == "fsync" or (
        node.func.attr in ("sync", "sync_file", "sync_folder") and (owner.endswith("disk") or owner == "self")
    )


def sites() -> Iterator[Site]:
    for path in sorted([*(ROOT / "evidence_store").rglob("*.py"), *(ROOT / "collector").rglob("*.py")]):
        text = path.read_text()
        if "sync" not in text and ".create(" not in text:
            continue
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if syncs(node):
                assert isinstance(node, ast.Call)
                above = node.lineno - 2
                comment = []
                while lines[above].lstrip().startswith("#"):
                    comment.append(lines[above].strip())
                    above -= 1
                explained = any(line.startswith(EXPLAINED) for line in comment)
                name = ast.unparse(node)
                yield Site(str(path.relative_to(ROOT)), node.lineno, node.end_lineno or 0, name, explained)


# Power cuts in traced sessions


@dataclass(frozen=True)
class Session:
    """What was written, from which state on, and what must hold wherever it ends."""

    name: str
    start: Model
    trace: Trace
    check: Callable[[Path, int], object]
    """Fails where a promise is broken; is given what is left, and the number of operations done."""
    begun: int = 0
    """The power is cut after this many operations at least."""

    def asks(self, site: Site) -> bool:
        return any(step[0].startswith("sync") and site.asked(step[2]) for step in self.trace[self.begun :])

    def broken(self, folder: Path, site: Site, *, at_the_end: bool = False) -> str | None:
        """The first promise that a power cut, or one at the end, breaks without a site's syncs, and not with them."""
        left_out = [
            ("skip", step[1]) if step[0].startswith("sync") and site.asked(step[2]) else step for step in self.trace
        ]
        first = next(place for place, step in enumerate(left_out) if step[0] == "skip")
        model = copy.deepcopy(self.start)
        for done, step in enumerate(left_out, 1):
            model.apply(step)
            if done <= max(first, self.begun) or (at_the_end and done < len(left_out)):
                continue
            for variant in range(VARIANTS):
                if (what := self._cut(model, done, variant, folder)) is not None:
                    whole = copy.deepcopy(self.start)
                    for each in self.trace[:done]:
                        whole.apply(each)
                    assert self._cut(whole, done, variant, folder) is None, "a crash shows it with the sync as well"
                    return f"{self.name}, power cut after {done} of {len(left_out)} operations: {what}"
        return None

    def _cut(self, model: Model, done: int, variant: int, folder: Path) -> str | None:
        data, names = list(storing.choices(random.Random(f"{done} {variant}")))[variant + 2 * (variant > 0)]
        model.settle(folder / "cut", data, names)
        try:
            self.check(folder / "cut", done)
        except (AssertionError, StoreError, VerificationError, OSError) as error:
            return str(error).partition("\n")[0]
        finally:
            shutil.rmtree(folder / "cut")
        return None


VARIANTS = 5
"""All lost; data zeroed; data lost; names lost; names mixed. What is all kept shows no missing sync."""


def sessions(folder: Path, signer: FileSigner) -> Iterator[Session]:
    """Everything that writes: a store that is made, statements, erasures, other keys, runs, a witness."""

    def place(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name / "store"

    def ended(check: Callable[..., object], trace: Trace, *more: object) -> Callable[[Path, int], object]:
        return lambda cut, done: check(cut / "store", signer, *more, done == len(trace))

    path = place("made")
    start, trace = Model(path.parent), storing.creation(path, signer)
    yield Session("a store is made", start, trace, ended(storing.check_created, trace))

    start, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        store.attach({"by": "J. Doe"}, attaching.CONTENT)
    yield Session("something is attached", start, disk.trace, ended(attaching.check_attached, disk.trace))

    start, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        store.erase([attaching.SHA256], basis="asked", approved_by="DPO")
    yield Session("an attachment is erased", start, disk.trace, ended(attaching.check_erased, disk.trace))

    path, gone = erasing.two_runs(place("erased"), signer)
    start, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        store.erase([gone], basis="asked", approved_by="DPO")
    yield Session("a body is erased", start, disk.trace, ended(erasing.check_erased, disk.trace, gone))

    start, disk = Model(path.parent), TracedDisk()
    with Store.open(path, signer=signer, disk=disk) as store:
        run = store.begin({}, b"{}")
        body = b'{"email":"ada@acme.example"}'
        run.add_reply({"op": "x", "sha256": run.add_object(body), **run.add_spans(body, Cut("json", ((9, 27),)))})
        run.close([], {})
    yield Session("a run with personal fields", start, disk.trace, ended(erasing.check_fields, disk.trace))

    path = place("rotated")
    Store.create(path, origin=ORIGIN, signer=A, disk=QuickDisk()).close()
    start = Model(path.parent)
    trace, changes = rotating.session(path, A, B)
    yield Session(
        "another key signs", start, trace,
        lambda cut, done: rotating.check(cut / "store", (A, B), [one for one in changes if one[0] <= done][-1]),
    )  # fmt: skip

    path = place("watched")
    with Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()) as store:
        fill(store)
    (folder / "witness").mkdir()
    start = Model(folder / "witness")
    trace, heads = witnessing.cosigning(folder / "witness" / "witness", signer, path)
    yield Session(
        "a witness signs", start, trace,
        lambda cut, done: witnessing.check_signed(cut / "witness", signer, witnessing.promised_by(heads, done)),
    )  # fmt: skip

    path = place("runs")
    Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()).close()
    start = Model(path.parent)
    trace, promises = storing.session(path, signer)
    yield Session(
        "runs", start, trace,
        lambda cut, done: storing.check_promises(cut / "store", signer, storing.promised_by(promises, done)),
    )  # fmt: skip
    yield from recoveries(start, trace, promises, folder, signer)
    model = copy.deepcopy(start)
    for done, step in enumerate(trace, 1):
        model.apply(step)
        if step[0] == "write" and step[1].name == "entries":
            model.settle(folder / "torn", storing.torn, storing.kept)
            torn = Model(folder / "torn")
            mended, after = storing.recovery(folder / "torn", signer)
            shutil.rmtree(folder / "torn")
            check = reopened(promises, done, after, mended, signer)
            yield Session(f"a leaf torn after {done} operations is cut", torn, mended, check)


def recoveries(
    start: Model, trace: Trace, promises: list[storing.Promise], folder: Path, signer: FileSigner
) -> Iterator[Session]:
    """The store is opened again after its writer was killed, and the power is cut then."""
    for done, build in storing.killed(copy.deepcopy(start), trace, folder):
        mended, after = storing.recovery(build, signer)
        whole = [*trace[:done], *(storing.rebased(step, build, start.base) for step in mended)]
        check = reopened(promises, done, after, whole, signer)
        yield Session(f"killed after {done} operations and opened again", start, whole, check, done)


def reopened(
    promises: list[storing.Promise], done: int, after: storing.Promise, trace: Trace, signer: FileSigner
) -> Callable[[Path, int], None]:
    """What was promised before holds, and after the last operation what the second opening promised."""

    def check(cut: Path, at: int) -> None:
        promised = after if at == len(trace) else storing.promised_by(promises, done)
        storing.check_promises(cut / "store", signer, promised)

    return check


# Code that calls os.fsync itself


class Watched:
    """What was synced and renamed, in order; the syncs of one site are left out."""

    def __init__(self, patch: pytest.MonkeyPatch, without: Site | None) -> None:
        self.done: list[tuple[str, ...]] = []
        rename = os.rename

        def fsync(handle: int) -> None:
            if without is None or not without.asked(stack()):
                self.done.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))

        def renamed(old: Path, new: Path) -> None:
            self.done.append(("rename", str(old), str(new)))
            rename(old, new)

        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "rename", renamed)

    def safe(self, *paths: Path, before: int | None = None) -> None:
        """These were synced, before operation number ``before`` if one is named.

        Raises:
            AssertionError: one was not.
        """
        for path in paths:
            assert ("sync", str(path)) in self.done[:before], f"{path.name} is not safe"

    def renames(self) -> list[tuple[int, Path, Path]]:
        return [(at, Path(step[1]), Path(step[2])) for at, step in enumerate(self.done) if step[0] == "rename"]


def the_disk(folder: Path, watched: Watched) -> None:
    disk = Disk()
    disk.create(folder / "file", b"x")
    watched.safe(folder / "file")
    watched.done.clear()
    disk.sync_file(folder / "file")
    watched.safe(folder / "file")
    disk.sync_folder(folder)
    watched.safe(folder)


def a_key(folder: Path, watched: Watched) -> None:
    create_key_file(folder / "key", b"a passphrase of some length")
    watched.safe(folder / "key", folder)


def a_starter(folder: Path, watched: Watched) -> None:
    watched.safe(*starter.init(folder).files)


def a_copy(folder: Path, watched: Watched) -> None:
    anchors.Folder(folder).keep("log", "000000000001.note", b"note", lambda note: None)
    ((at, draft, target),) = watched.renames()
    assert target == folder / "log" / "000000000001.note"
    watched.safe(draft, before=at)
    watched.done[:at] = []
    watched.safe(target.parent, folder)


class Copied(Bucket):
    """A bucket whose objects stand in a folder."""

    def __init__(self, source: Path) -> None:
        super().__init__("s3://evidence", client=object())
        self._source = source
        with Store.open(source) as store:
            self._leaves = {f"log/entries/{leaf.index:012}.dsse.json": leaf.data for leaf in store.leaves}

    def _versions(self, prefix: str) -> dict[str, Version]:
        files = [path for path in self._source.rglob("*") if path.is_file()]
        names = {str(path.relative_to(self._source)) for path in files} - {layout.ENTRIES, layout.LOCK, layout.INDEX}
        return {name: Version("1", 1, covered=False) for name in sorted(names | self._leaves.keys())}

    def _fetch(self, names: Iterable[str], seen: dict[str, Version], root: Path, found: Findings) -> None:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(self._leaves.get(name) or (self._source / name).read_bytes())


def a_working_copy(folder: Path, watched: Watched) -> None:
    with Store.create(folder / "source", origin=ORIGIN, signer=A, disk=QuickDisk()) as store:
        fill(store)
    watched.done.clear()
    Copied(folder / "source").sync(folder / "copy")
    watched.safe(folder / "copy" / layout.ENTRIES)
    renames = watched.renames()
    assert len(renames) > 8
    for at, old, new in renames:
        watched.safe(old, *((old / path.name for path in new.iterdir()) if new.is_dir() else ()), before=at)


DUTIES: Sequence[Callable[[Path, Watched], None]] = (the_disk, a_key, a_starter, a_copy, a_working_copy)


def left_undone(duty: Callable[[Path, Watched], None], folder: Path, site: Site | None) -> str | None:
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(patch, site)
        try:
            duty(Path(tempfile.mkdtemp(dir=folder)), watched)
        except AssertionError as error:
            return f"{duty.__name__}: {str(error).partition(chr(10))[0]}"
    return None


# All of them


@pytest.fixture(scope="module")
def traced() -> Iterator[tuple[Path, list[Session]]]:
    """A folder in memory, and every session."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder, list(sessions(folder, A))
    shutil.rmtree(folder)


@pytest.mark.parametrize("duty", DUTIES, ids=lambda duty: duty.__name__)
def test_with_all_syncs_nothing_is_left_undone(duty: Callable[[Path, Watched], None], ram: Path) -> None:
    assert left_undone(duty, ram, None) is None


@pytest.mark.parametrize("site", list(sites()), ids=str)
def test_without_this_sync_a_crash_shows_or_a_comment_says_why_not(
    site: Site, traced: tuple[Path, list[Session]], ram: Path
) -> None:
    folder, all_sessions = traced
    asking = [session for session in all_sessions if session.asks(site)]
    # What was acknowledged is lost at the end of a session, if it is lost at all; what is only signed, on the way.
    whats = itertools.chain(
        (left_undone(duty, ram, site) for duty in DUTIES),
        (session.broken(folder, site, at_the_end=True) for session in asking),
        (session.broken(folder, site) for session in asking if ALL or not site.explained),
    )
    shown = next(filter(None, whats), None)
    print(f"\n  {site}\n    {'explained beside it' if site.explained else shown}")
    assert not (site.explained and shown), f"the comment is wrong: {shown}"
    assert site.explained or shown, f"nothing shows that {site} is needed; {len(asking)} sessions ask for it"
    assert asking or shown, f"no session comes by {site}"


def test_the_list_is_that_of_the_source() -> None:
    """As many as are written: a sync spelt in another way would be missed."""
    found = list(sites())
    assert len(found) > 35
    texts = [path.read_text() for part in ("evidence_store", "collector") for path in (ROOT / part).rglob("*.py")]
    for name in ("os.fsync(", ".sync_folder(", ".sync_file("):
        assert sum(name in site.text for site in found) == sum(text.count(name) for text in texts)
