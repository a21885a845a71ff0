"""A crash at any moment loses nothing that was acknowledged, and nothing half-written ever looks whole.

The traced disk records every operation of a session. From the record a model of a POSIX file system is replayed up to
each operation, and the states a power cut could leave are built and opened: data that was not synced is lost, kept,
torn or zeroed, names that were not synced are lost, kept or mixed.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evidence_store import layout
from evidence_store.errors import StoreError, TamperedError
from evidence_store.fs import Disk
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"


PROJECT = f"{Path(layout.__file__).parents[1]}{os.sep}"
EXTRA = int(os.environ.get("CRASH_VARIANTS", "8"))
"""Random states for each operation, beside seven chosen ones: data of each file and each name on their own."""


class QuickDisk(Disk):
    """Does not wait for the disk; the model decides what survives."""

    def sync(self, handle: int, path: Path) -> None:
        pass

    def sync_folder(self, path: Path) -> None:
        pass


def stack() -> frozenset[tuple[str, int]]:
    """File and line of every call in the project that led here."""
    frame, found = sys._getframe(1), set()
    while frame is not None:
        found.add((frame.f_code.co_filename.removeprefix(PROJECT), frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return frozenset(found)


class TracedDisk(QuickDisk):
    """Writes down every operation, and of a sync who asked for it."""

    def __init__(self) -> None:
        self.trace: list[tuple[Any, ...]] = []

    def mkdir(self, path: Path) -> None:
        super().mkdir(path)
        self.trace.append(("mkdir", path))

    def open_new(self, path: Path) -> int:
        handle = super().open_new(path)
        self.trace.append(("new", path))
        return handle

    def write(self, handle: int, path: Path, data: bytes) -> None:
        super().write(handle, path, data)
        self.trace.append(("write", path, data))

    def sync(self, handle: int, path: Path) -> None:
        self.trace.append(("sync", path, stack()))

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self.trace.append(("truncate", path, size))

    def sync_folder(self, path: Path) -> None:
        self.trace.append(("sync_folder", path, stack()))

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.trace.append(("rename", old, new))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.trace.append(("unlink", path))

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.trace.append(("unlink", path))


@dataclass(eq=False)
class Node:
    """A file (bytes) or folder (names to nodes), as it is and as it surely is on disk."""

    live: Any
    safe: Any
    folder: bool = field(default=False)


class Model:
    """A file system that remembers what was synced."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = self._read(base)
        self.moved: list[tuple[Node, Node, str]] = []
        """What was renamed, from which folder, from which name."""

    def _read(self, path: Path) -> Node:
        if path.is_dir():
            names = {child.name: self._read(child) for child in path.iterdir()}
            return Node(names, dict(names), True)
        data = path.read_bytes()
        return Node(data, data)

    def _at(self, path: Path) -> Node:
        node = self.root
        for name in path.relative_to(self.base).parts:
            node = node.live[name]
        return node

    def apply(self, operation: tuple[Any, ...]) -> None:
        kind, path, *rest = operation
        if kind == "mkdir":
            self._at(path.parent).live[path.name] = Node({}, {}, True)
        elif kind == "new":
            self._at(path.parent).live[path.name] = Node(b"", b"")
        elif kind == "write":
            self._at(path).live += rest[0]
        elif kind == "truncate":
            node = self._at(path)
            node.live = node.live[: rest[0]]
        elif kind == "sync":
            node = self._at(path)
            node.safe = node.live
        elif kind == "sync_folder":
            node = self._at(path)
            node.safe = dict(node.live)
        elif kind == "rename":
            node = self._at(path.parent).live.pop(path.name)
            self.moved.append((node, self._at(path.parent), path.name))
            self._at(rest[0].parent).live[rest[0].name] = node
        elif kind == "unlink":
            self._at(path.parent).live.pop(path.name)

    def settle(self, build: Path, data: Callable[[bytes, bytes], bytes], names: Callable[[Any, Any], Any]) -> None:
        """Write down what a power cut leaves, by the given choices."""

        chosen: dict[int, dict[str, Node]] = {}

        def choose(node: Node) -> None:
            if node.folder:
                chosen[id(node)] = dict(names(node.safe, node.live))
                for child in {id(c): c for c in [*node.safe.values(), *node.live.values()]}.values():
                    choose(child)

        choose(self.root)
        # A rename is one step on any journalling file system: never gone from the old name without being at the new.
        for node, folder, name in self.moved:
            if folder.safe.get(name) is node and not any(node in found.values() for found in chosen.values()):
                chosen[id(folder)][name] = node

        def put(node: Node, path: Path) -> None:
            if node.folder:
                path.mkdir()
                for name, child in chosen[id(node)].items():
                    put(child, path / name)
            else:
                path.write_bytes(node.live if node.live == node.safe else data(node.safe, node.live))

        put(self.root, build)


def lost(safe: Any, _live: Any) -> Any:
    return safe


def kept(_safe: Any, live: Any) -> Any:
    return live


def torn(safe: bytes, live: bytes) -> bytes:
    return live[: (len(safe) + len(live) + 1) // 2] if len(live) > len(safe) else safe


def zeroed(safe: bytes, live: bytes) -> bytes:
    return safe + bytes(max(0, len(live) - len(safe)))


def mixed(dice: random.Random) -> Callable[[Any, Any], Any]:
    def choose(safe: dict[str, Node], live: dict[str, Node]) -> dict[str, Node]:
        found = {}
        for name in sorted({*safe, *live}):
            node = dice.choice([safe.get(name), live.get(name)]) if safe.get(name) is not live.get(name) else live[name]
            if node is not None:
                found[name] = node
        return found

    return choose


def choices(dice: random.Random) -> Iterator[tuple[Callable[[bytes, bytes], bytes], Callable[[Any, Any], Any]]]:
    yield lost, lost
    yield kept, kept
    yield torn, kept
    yield zeroed, kept
    yield lost, kept
    yield kept, lost
    yield kept, mixed(dice)
    for _ in range(EXTRA):
        yield lambda s, v: dice.choice([lost, kept, torn, zeroed])(s, v), mixed(dice)


@dataclass(frozen=True)
class Promise:
    """What the store had acknowledged when the trace was this long."""

    length: int
    runs: dict[int, str]
    replies: dict[int, int]
    size: int
    note: bytes


def session(path: Path, signer: FileSigner) -> tuple[list[tuple[Any, ...]], list[Promise]]:
    """A complete run, an aborted one, a gap, and a run that shares a body; with what was promised when."""
    disk = TracedDisk()
    runs: dict[int, str] = {}
    replies: dict[int, int] = {}
    promises: list[Promise] = []
    with Store.open(path, signer=signer, disk=disk) as store:

        def promise() -> None:
            promises.append(Promise(len(disk.trace), dict(runs), dict(replies), store.size, store.checkpoint))

        promises.append(Promise(0, {}, {}, store.size, store.checkpoint))
        for number, end in ((1, "complete"), (2, "aborted"), (3, "complete")):
            run = store.begin({"scheduledFor": "2026-02-01T02:00:00Z"}, b'{"plan":%d}' % number)
            runs[number] = "open"
            promise()
            run.rows()
            for body in (b"shared", b"own %d" % number):
                run.add_reply({"op": "x", "sha256": run.add_object(body)})
                replies[number] = replies.get(number, 0) + 1
                promise()
            if end == "complete":
                run.close([{"check": "c", "outcome": "PASS"}], {})
            else:
                run.abort("stopped")
            runs[number] = end
            promise()
            if number == 2:
                day = datetime(2026, 1, 1, tzinfo=UTC)
                store.gap(start=day, end=day, missed=1, reason="x")
                promise()
    return disk.trace, promises


def check_promises(path: Path, signer: FileSigner, promised: Promise, *, process_died: bool = False) -> None:
    """The store opens, verifies, and keeps every promise; after the death of a process alone, every reply too.

    Raises:
        AssertionError: it does not.
    """
    try:
        with Store.open(path, signer=signer, disk=QuickDisk()) as store:
            runs = {run.number: run.state for run in store.runs()}
            gaps = [leaf for leaf in store._history.leaves if leaf.kind == "gap"]
    except StoreError as error:
        raise AssertionError(f"does not open: {error}") from error
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    assert "open" not in runs.values()
    assert list((path / layout.SPOOL).iterdir()) == []
    assert (path / layout.note_name(promised.size)).read_bytes() == promised.note, "an acknowledged checkpoint changed"
    assert promised.size < 7 or gaps
    reader = Store.open(path)
    for number, state in promised.runs.items():
        assert number in runs, f"run {number} was acknowledged and is gone"
        assert state in ("open", runs[number]), f"run {number} was {state} and is {runs[number]}"
        assert number in {run.number for run in reader.runs() if run.kept}, f"run {number} lost its plan"
        assert reader.run(number).plan() == b'{"plan":%d}' % number
        if state != "open" or process_died:
            assert len(list(reader.run(number).replies())) >= promised.replies.get(number, 0)
        if runs[number] == "complete":
            assert [line["outcome"] for line in reader.run(number).results()] == ["PASS"]


def crash_states(
    base: Model, trace: list[tuple[Any, ...]], folder: Path, dice: random.Random
) -> Iterator[tuple[int, int, Path]]:
    """Every state a power cut can leave after each operation: operations done, variant, and where it stands."""
    for done in range(len(trace) + 1):
        if done:
            base.apply(trace[done - 1])
        for variant, (data, names) in enumerate(choices(dice)):
            build = folder / "crashed"
            base.settle(build, data, names)
            yield done, variant, build
            shutil.rmtree(build)


def promised_by(promises: list[Promise], done: int) -> Promise:
    return [promise for promise in promises if promise.length <= done][-1]


@pytest.fixture
def start(ram: Path, signer: FileSigner) -> Path:
    path = ram / "live" / "store"
    path.parent.mkdir()
    Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()).close()
    return path


@pytest.fixture
def model(start: Path) -> Model:
    return Model(start.parent)


def test_a_power_cut_after_any_operation_loses_nothing_acknowledged(
    start: Path, model: Model, signer: FileSigner, ram: Path
) -> None:
    trace, promises = session(start, signer)
    states = 0
    for done, variant, build in crash_states(model, trace, ram, random.Random(1)):
        try:
            check_promises(build / "store", signer, promised_by(promises, done), process_died=variant == 1)
        except AssertionError as error:
            raise AssertionError(
                f"after {done} operations ({trace[done - 1][:2]}), variant {variant}: {error}"
            ) from error
        states += 1
    assert states > 100 * (7 + EXTRA)


def test_a_power_cut_during_recovery_loses_nothing_either(
    start: Path, model: Model, signer: FileSigner, ram: Path
) -> None:
    trace, promises = session(start, signer)
    dice = random.Random(2)
    double = 0
    for done, variant, build in crash_states(model, trace, ram, dice):
        if dice.random() > 0.07:
            continue
        second, disk = Model(build), TracedDisk()
        Store.open(build / "store", signer=signer, disk=disk).close()
        for step, operation in enumerate(disk.trace):
            second.apply(operation)
            if dice.random() > 0.3:
                continue
            data, names = dice.choice(list(choices(dice)))
            again = ram / "again"
            second.settle(again, data, names)
            try:
                check_promises(again / "store", signer, promised_by(promises, done))
            except AssertionError as error:
                raise AssertionError(
                    f"{done} operations, variant {variant}, {step + 1} of recovery: {error}"
                ) from error
            shutil.rmtree(again)
            double += 1
    assert double > 200


def check_created(path: Path, signer: FileSigner, acknowledged: bool) -> bool:
    """No store stands there and one can be made, or a whole one does; whether it does.

    Raises:
        AssertionError: neither.
    """
    there = path.exists()
    assert there or not acknowledged, "a store that was acknowledged is gone"
    try:
        if there:
            Store.open(path, signer=signer, disk=QuickDisk()).close()
        else:
            Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()).close()
    except StoreError as error:
        raise AssertionError(f"is neither a store nor free for one: {error}") from error
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    assert found.leaves == 1
    return there


def creation(path: Path, signer: FileSigner) -> list[tuple[Any, ...]]:
    disk = TracedDisk()
    Store.create(path, origin=ORIGIN, signer=signer, disk=disk).close()
    return disk.trace


def test_a_power_cut_while_a_store_is_made_leaves_a_whole_one_or_none(ram: Path, signer: FileSigner) -> None:
    (ram / "live").mkdir()
    model = Model(ram / "live")
    trace = creation(ram / "live" / "store", signer)
    told = {True: 0, False: 0}
    for done, variant, build in crash_states(model, trace, ram, random.Random(8)):
        try:
            told[check_created(build / "store", signer, done == len(trace))] += 1
        except AssertionError as error:
            raise AssertionError(
                f"after {done} operations ({trace[done - 1][:2]}), variant {variant}: {error}"
            ) from error
    assert min(told.values()) > 20, told


def rebased(operation: tuple[Any, ...], old: Path, new: Path) -> tuple[Any, ...]:
    """The same operation in another folder."""
    return tuple(new / part.relative_to(old) if isinstance(part, Path) else part for part in operation)


def killed(base: Model, trace: list[tuple[Any, ...]], folder: Path) -> Iterator[tuple[int, Path]]:
    """What a process that is killed after each operation leaves to the next: all it wrote, and perhaps not on disk."""
    for done in range(len(trace) + 1):
        if done:
            base.apply(trace[done - 1])
        build = folder / "killed"
        base.settle(build, kept, kept)
        yield done, build
        shutil.rmtree(build)


def recovery(build: Path, signer: FileSigner) -> tuple[list[tuple[Any, ...]], Promise]:
    """What the next opening does, and what it then promises."""
    disk = TracedDisk()
    with Store.open(build / "store", signer=signer, disk=disk) as store:
        runs = {run.number: run.state for run in store.runs() if run.kept}
        replies = {number: len(list(store.run(number).replies())) for number in runs}
        return disk.trace, Promise(len(disk.trace), dict(runs), replies, store.size, store.checkpoint)


def test_a_power_cut_after_a_process_was_killed_and_the_store_opened_again(
    start: Path, model: Model, signer: FileSigner, ram: Path
) -> None:
    """What the dead process wrote may be readable and not on disk: what recovery signs must not outlive it."""
    trace, promises = session(start, signer)
    dice, states = random.Random(9), 0
    for done, build in killed(model, trace, ram):
        second, (mended, after) = copy.deepcopy(model), recovery(build, signer)
        for step, operation in enumerate(mended, 1):
            second.apply(rebased(operation, build, model.base))
            if step < len(mended) and dice.random() > 0.1:
                continue
            data, names = dice.choice(list(choices(dice)))
            second.settle(ram / "again", data, names)
            try:
                promised = after if step == len(mended) else promised_by(promises, done)
                check_promises(ram / "again/store", signer, promised)
            except AssertionError as error:
                raise AssertionError(f"killed after {done} operations, {step} of recovery: {error}") from error
            shutil.rmtree(ram / "again")
            states += 1
    assert states > 200, states


@pytest.mark.parametrize(
    "forgotten",
    [
        ("sync", "log/entries"),
        ("sync", "spool/checkpoint.note"),
        ("sync", "objects.pack"),
        ("sync", "plan.json"),
        ("sync", "manifest.ndjson.zst"),
        ("sync", "results.ndjson.zst"),
        ("sync", "statement.dsse.json"),
        ("sync_folder", "spool/00000001"),
        ("sync_folder", "store/spool"),
        ("sync_folder", "log/checkpoints"),
        ("sync_folder", "store/runs"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_model_notices_a_forgotten_sync(
    start: Path, model: Model, signer: FileSigner, ram: Path, forgotten: tuple[str, str]
) -> None:
    """The harness can fail: without this sync some state breaks a promise.

    The one sync not listed is that of the new, empty file for reply lines: what it will hold is promised against the
    death of the process only, and recovery makes a missing one anew.
    """
    trace, promises = session(start, signer)
    trace = [
        ("skip", operation[1])
        if operation[0] == forgotten[0] and str(operation[1]).endswith(forgotten[1])
        else operation
        for operation in trace
    ]

    def all_states() -> None:
        for done, _, build in crash_states(model, trace, ram, random.Random(3)):
            check_promises(build / "store", signer, promised_by(promises, done))

    with pytest.raises((AssertionError, FileNotFoundError)):
        all_states()


def writer(path: Path, signer: FileSigner, acknowledge: int) -> None:
    """Collect for ever; say what was acknowledged."""

    def say(text: str) -> None:
        os.write(acknowledge, text.encode() + b"\n")

    with Store.open(path, signer=signer) as store:
        for round_ in itertools.count():
            run = store.begin({"round": round_}, b"{}")
            say(f"open {run.number}")
            for n in range(5):
                run.add_reply({"n": n, "sha256": run.add_object(os.urandom(300))})
                say(f"reply {run.number}")
            run.close([{"check": "c", "outcome": "PASS"}], {})
            say(f"complete {run.number}")


def test_kill_9_at_random_moments_loses_nothing_acknowledged(tmp_path: Path, signer: FileSigner) -> None:
    path, dice = tmp_path / "store", random.Random()
    Store.create(path, origin=ORIGIN, signer=signer).close()
    acknowledged: dict[int, str] = {}
    replies: dict[int, int] = {}
    aborts = 0
    for _ in range(25):
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            with contextlib.suppress(BaseException):
                writer(path, signer, into)
            os._exit(1)
        os.close(into)
        with os.fdopen(out) as lines:
            said = [lines.readline() for _ in range(dice.randint(0, 20))]
            time.sleep(dice.uniform(0, 0.004))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said += lines.readlines()
        for line in said:
            state, number = line.split()
            if state == "reply":
                replies[int(number)] = replies.get(int(number), 0) + 1
            else:
                acknowledged[int(number)] = state
        with Store.open(path, signer=signer) as store:
            runs = {run.number: run.state for run in store.runs()}
            aborts += len(store.recovered)
            for number in store.recovered:
                assert runs[number] == "aborted"
                assert "ended before" in store.run(number).closing["reason"]
            for number, state in acknowledged.items():
                assert state in ("open", runs[number])
                assert len(list(store.run(number).replies())) >= replies.get(number, 0)
    found = verify_store(path, key=signer.keyid)
    assert found.ok, found.problems
    assert aborts >= 5
    assert "complete" in acknowledged.values()


def test_a_store_that_is_being_written_verifies_all_the_while(tmp_path: Path, signer: FileSigner) -> None:
    path = tmp_path / "store"
    Store.create(path, origin=ORIGIN, signer=signer).close()
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            writer(path, signer, into)
        os._exit(1)
    try:
        os.read(out, 10)
        for _ in range(40):
            found = verify_store(path, key=signer.keyid)
            assert found.ok, found.problems
            Store.open(path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(out)
        os.close(into)
    assert found.runs > 1


def failing(after: int, number: int, partial: bool = False) -> Callable[[int, Any], int]:
    """``os.write`` that fails with this error after so many calls, perhaps with half of the data written."""
    calls, real = itertools.count(), os.write

    def write(handle: int, data: Any) -> int:
        if next(calls) < after:
            return real(handle, data)
        if partial and len(data) > 1:
            real(handle, bytes(data)[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    return write


def collect_two(store: Store, states: dict[int, str]) -> StoreError | None:
    """Two runs, as far as the disk allows; what was acknowledged is put into ``states``."""
    try:
        for number in (2, 3):
            run = store.begin({}, b"{}")
            states[number] = "open"
            run.add_reply({"sha256": run.add_object(b"body")})
            run.close([{"check": "c"}], {})
            states[number] = "complete"
    except StoreError as error:
        return error
    return None


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_or_failing_disk_gives_a_clear_error_and_a_whole_store(
    ram: Path, signer: FileSigner, monkeypatch: pytest.MonkeyPatch, number: int, partial: bool
) -> None:
    failures = 0
    for after in range(60):
        path = ram / str(after)
        with Store.create(path, origin=ORIGIN, signer=signer, disk=QuickDisk()) as store:
            store.begin({}, b"").close([{"check": "c", "outcome": "PASS"}], {})
        store = Store.open(path, signer=signer, disk=QuickDisk())
        states = {1: "complete"}
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing(after, number, partial))
            refused = collect_two(store, states)
            if refused is not None:
                failures += 1
                assert os.strerror(number) in str(refused)
                assert "whole" in refused.next_step
                if after % 2:
                    with contextlib.suppress(StoreError):
                        store.append("waiver", {"id": "after a failure"})
        store.close()
        with Store.open(path, signer=signer, disk=QuickDisk()) as store:
            runs = {run.number: run.state for run in store.runs()}
        assert all(state in ("open", runs[number_]) for number_, state in states.items())
        assert set(runs.values()) <= {"complete", "aborted"}
        assert len(runs) - len(states) in (0, 1), "at most the opening that was not acknowledged"
        assert verify_store(path, key=signer.keyid).ok
    assert failures > 10


def test_a_full_disk_leaves_the_run_open_until_it_can_be_closed(
    ram: Path, signer: FileSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"")
        run.add_reply({"n": 0, "sha256": run.add_object(b"first")})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", failing(0, errno.ENOSPC, partial=True))
            with pytest.raises(StoreError, match="No space left"):
                run.add_object(b"second")
            with pytest.raises(StoreError, match="No space left"):
                run.add_reply({"n": 1})
            with pytest.raises(StoreError, match="No space left"):
                run.close([], {})
        run.add_reply({"n": 1, "sha256": run.add_object(b"second")})
        run.close([], {})
        assert [line["n"] for line in store.run().replies()] == [0, 1]
    assert verify_store(ram / "s", key=signer.keyid).ok


def interrupted(path: Path, signer: FileSigner) -> None:
    """Leave a run open, as a crash does."""
    store = Store.open(path, signer=signer)
    run = store.begin({}, b"{}")
    for n in range(3):
        run.add_reply({"n": n, "sha256": run.add_object(b"body %d" % n)})
    store.close()


def test_recovery_keeps_what_is_whole_and_counts_what_is_not(start: Path, signer: FileSigner) -> None:
    interrupted(start, signer)
    lines = start / layout.spool_lines_name(1)
    lines.write_bytes(lines.read_bytes()[:-5] + bytes(20))
    pack = start / layout.spool_name(1) / layout.PACK
    pack.write_bytes(pack.read_bytes() + bytes(50))
    with Store.open(start, signer=signer) as store:
        assert store.recovered == [1]
        assert [line["n"] for line in store.run(1).replies()] == [0, 1]
        assert store.run(1).closing["repliesCutOff"] == 1
    assert verify_store(start, key=signer.keyid).ok


def test_a_reply_whose_body_was_lost_is_cut_off(start: Path, signer: FileSigner) -> None:
    interrupted(start, signer)
    (start / layout.spool_name(1) / layout.PACK).unlink()
    with Store.open(start, signer=signer) as store:
        assert list(store.run(1).replies()) == []
        assert store.run(1).closing["repliesCutOff"] == 3
    assert verify_store(start, key=signer.keyid).ok


def test_an_open_run_whose_spool_is_gone_is_recorded(start: Path, signer: FileSigner) -> None:
    interrupted(start, signer)
    shutil.rmtree(start / layout.spool_name(1))
    with Store.open(start, signer=signer) as store:
        assert store.recovered == [1]
        assert "spool is gone" in store.runs()[0].closing["reason"]
        with pytest.raises(StoreError, match="nothing sealed"):
            store.run(1)
    assert verify_store(start, key=signer.keyid).ok


def test_a_power_cut_while_files_of_the_spool_that_somebody_removed_are_made_anew(
    start: Path, signer: FileSigner, ram: Path
) -> None:
    interrupted(start, signer)
    (start / layout.spool_name(1) / layout.PACK).unlink()
    (start / layout.spool_lines_name(1)).unlink()
    model, disk = Model(start.parent), TracedDisk()
    with Store.open(start, signer=signer, disk=disk) as store:
        last = store.checkpoint
    for done, variant, build in crash_states(model, disk.trace, ram, random.Random(12)):
        Store.open(build / "store", signer=signer, disk=QuickDisk()).close()
        found = verify_store(build / "store", key=signer.keyid)
        assert found.ok, (done, variant, found.problems)
        assert (build / "store" / layout.note_name(3)).read_bytes() == last or done < len(disk.trace)
        with Store.open(build / "store") as store:
            assert [run.state for run in store.runs()] == ["aborted"]


def test_recovery_refuses_what_no_crash_leaves(start: Path, signer: FileSigner, other_signer: FileSigner) -> None:
    interrupted(start, signer)
    (start / layout.spool_name(1) / layout.PLAN).write_bytes(b"another plan")
    with pytest.raises(TamperedError, match="not the plan") as caught:
        Store.open(start, signer=signer)
    assert "remove it" in caught.value.next_step
    (start / layout.spool_name(1) / layout.PLAN).unlink()
    with pytest.raises(TamperedError, match="not the plan"):
        Store.open(start, signer=signer)


@pytest.mark.parametrize("change", ["file", "signature", "nothing"])
def test_a_run_that_was_named_but_not_logged_is_adopted_only_when_it_is_whole(
    start: Path, signer: FileSigner, other_signer: FileSigner, change: str
) -> None:
    class Dies(QuickDisk):
        def rename(self, old: Path, new: Path) -> None:
            super().rename(old, new)
            if new.parent.name == layout.RUNS:
                raise KeyboardInterrupt

    store = Store.open(start, signer=signer, disk=Dies())
    run = store.begin({}, b"{}")
    with pytest.raises(KeyboardInterrupt):
        run.close([{"check": "c"}], {})
    store.close()
    if change == "file":
        (start / "runs/00000001/results.ndjson.zst").write_bytes(b"x")
    if change == "signature":
        from evidence_store.dsse import Envelope, open_envelope, pae

        statement = start / "runs/00000001/statement.dsse.json"
        payload = open_envelope(statement.read_bytes()).payload
        forged = Envelope(payload, ((other_signer.keyid, other_signer.sign(pae(payload))),)).file()
        statement.write_bytes(forged)
    if change == "nothing":
        with Store.open(start, signer=signer) as again:
            assert again.recovered == []
            assert again.runs()[0].state == "complete"
        assert verify_store(start, key=signer.keyid).ok
    else:
        with pytest.raises(TamperedError, match="statement says" if change == "file" else "not signed"):
            Store.open(start, signer=signer)


def test_a_missing_newest_checkpoint_is_a_problem_until_the_writer_comes_back(start: Path, signer: FileSigner) -> None:
    newest = start / layout.note_name(1)
    with Store.open(start, signer=signer) as store:
        store.append("waiver", {"id": "W-1"})
    good = (start / layout.note_name(2)).read_bytes()
    (start / layout.note_name(2)).unlink()
    assert not verify_store(start, key=signer.keyid).ok
    Store.open(start, signer=signer).close()
    assert (start / layout.note_name(2)).read_bytes() == good
    assert newest.exists()
    with Store.open(start, signer=signer) as store:
        entries = start / layout.ENTRIES
        entries.write_bytes(entries.read_bytes() + bytes(9))
        (start / layout.note_name(2)).unlink()
        busy = verify_store(start, key=signer.keyid)
        assert busy.ok
        assert any("a writer is at work" in warning for warning in busy.warnings)


def test_a_disk_that_refuses_a_folder_is_named(ram: Path, signer: FileSigner) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        Store.create(ram / "none" / "deep", origin=ORIGIN, signer=signer)


def test_an_interrupted_process_leaves_an_abort(tmp_path: Path, signer: FileSigner) -> None:
    """The same with a process of its own that exits without closing anything."""
    Store.create(tmp_path / "s", origin=ORIGIN, signer=signer).close()
    code = (
        "import os,sys;from pathlib import Path;from evidence_store.store import Store;"
        "from evidence_store.keys import FileSigner;"
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as K;"
        "s=Store.open(Path(sys.argv[1]),signer=FileSigner(K.from_private_bytes(bytes([7])*32)));"
        "r=s.begin({},b'');r.add_reply({'n':1,'sha256':r.add_object(b'x')});os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "s"], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 9
    with Store.open(tmp_path / "s", signer=signer) as store:
        assert store.recovered == [1]
        assert len(list(store.run(1).replies())) == 1
