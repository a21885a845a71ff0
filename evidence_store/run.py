"""One run: written line by line while it is open, read back only after its files were checked."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from evidence_store import layout, lines, pack
from evidence_store.errors import ErasedError, StoreError, TamperedError, UsageError
from evidence_store.fs import open_file, read_file
from evidence_store.history import RunInfo, State
from evidence_store.index import Index, list_key
from evidence_store.log import RUN_ABORT, RUN_CLOSE
from evidence_store.objects import Objects
from evidence_store.seal import seal_run
from evidence_store.spans import SEED_LENGTH, Cut, Spans
from evidence_store.spelling import HEX256
from evidence_store.unordered import Lists
from evidence_store.writer import LogWriter, own_and_given

PLAN_LIMIT = 256 << 20


class RunWriter:
    """An open run. Bodies and reply lines are on file as soon as they are added, and sealed by :meth:`close`.

    Safe to use from several threads.
    """

    def __init__(
        self, log: LogWriter, objects: Objects, index: Index, number: int, ended: Callable[[int], None]
    ) -> None:
        self.number = number
        """From 1, without gaps."""
        self._log = log
        self._objects = objects
        self._index = index
        self._ended = ended
        self._lock = threading.RLock()
        self._over = False
        self._replies = 0
        self._held: set[str] = set()
        self._seed: bytes | None = None
        self._lists = Lists(pack.DELTA_LIMIT)
        self._pack = _Spool(log, log.root / layout.spool_name(number) / layout.PACK)
        self._lines = _Spool(log, log.root / layout.spool_lines_name(number))
        self._rows = log.root / layout.spool_rows_name(number)

    def add_object(
        self, data: bytes, *, base: str | None = None, request: Mapping[str, Any] | None = None
    ) -> str:
        """Keep a body, once however often it comes; return its SHA-256 in hex.

        Args:
            data: the body, exactly as received.
            base: digest of an earlier body of the same request; the body is then kept as a difference to it.
            request: the reply line it will belong to, as far as it is known; the base is then found by it. Where it
                says ``unordered``, the body is a page of a list that comes in another order each time.

        Raises:
            StoreError: the run is over, the body is too long, or the disk refused.
        """
        if len(data) > pack.OBJECT_LIMIT:
            raise StoreError(f"a body is {len(data)} bytes, more than {pack.OBJECT_LIMIT}", "read it in pages")
        sha256 = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._check_open()
            if request is not None and request.get("unordered"):
                self._lists.add(list_key(request), data)
            if sha256 in self._held or self._sealed(sha256) == data:
                return sha256
            if base is None and request is not None:
                base = self._index.earlier(request)
            self._keep(data, sha256, base)
        return sha256

    def _keep(self, data: bytes, sha256: str, base: str | None, limit: int = pack.CHAIN_LIMIT) -> None:
        earlier = self._usable(base, limit) if len(data) <= pack.DELTA_LIMIT else None
        self._pack.write(pack.encode(data, sha256, earlier))
        self._held.add(sha256)
        self._objects.hold(sha256, data)

    def rows(self) -> Path:
        """A folder for what is derived from the bodies while the run is open; when it ends, or after a crash, it goes.

        Raises:
            StoreError: the run is over, or the disk refused.
        """
        with self._lock:
            self._check_open()
            if not self._rows.exists():
                self._log.disk.mkdir(self._rows)
        return self._rows

    def add_reply(self, line: Mapping[str, Any]) -> int:
        """Keep one line of the manifest; return its number.

        A ``sha256`` in the line names a body that was added before.

        Raises:
            StoreError: the run is over, the line is not plain JSON, its body is not kept, or the disk refused.
        """
        with self._lock:
            self._check_open()
            sha256 = line.get("sha256")
            if sha256 is not None and sha256 not in self._held and not self._objects.has(sha256):
                raise UsageError(f"a reply names body {sha256}, which is not kept", "add the object before the reply")
            number = self._replies
            self._lines.write(lines.spell(number, line) + b"\n")
            self._replies += 1
            self._index.note(line)
        return number

    def add_spans(self, body: bytes, cut: Cut) -> dict[str, Any]:
        """Commit to the fields of a body, so that they can be left out later; what the reply's line says of it.

        Raises:
            UsageError: the cut does not fit the body.
            StoreError: the run is over, or the disk refused.
        """
        with self._lock:
            self._check_open()
            if self._seed is None:
                self._seed = self._new_seed()
            try:
                spans = Spans.of(self._seed, body, cut)
            except ValueError as error:
                raise UsageError(f"a body cannot be cut: {error}", "cut it where its own fields stand") from error
            return {"spans": spans.root(), "spanCount": len(spans.pieces), "cut": self.add_object(cut.spelt())}

    def _new_seed(self) -> bytes:
        """A seed that survives a power cut before the first line that needs it."""
        seed, folder = secrets.token_bytes(SEED_LENGTH), self._log.root / layout.spool_name(self.number)
        self._log.disk.create(folder / layout.SEED, seed)
        self._log.disk.sync_folder(folder)
        return seed

    def close(self, results: Iterable[Mapping[str, Any]], closing: Mapping[str, Any]) -> RunInfo:
        """The run is complete and sealed when this returns.

        Raises:
            StoreError: it could not be sealed; it is still open and can be closed again or aborted.
        """
        with self._lock:
            self._check_open()
            lists = self._keep_lists()
        return self._seal(RUN_CLOSE, own_and_given({"lists": lists}, closing) if lists else closing, results)

    def abort(self, reason: str, closing: Mapping[str, Any] | None = None) -> RunInfo:
        """The run is recorded as aborted; what was fetched is sealed with it, and no results are.

        Raises:
            StoreError: it could not be sealed; the next opening of the store records the abort.
        """
        return self._seal(RUN_ABORT, own_and_given({"reason": reason}, closing or {}), ())

    def _keep_lists(self) -> dict[str, str]:
        """Keep the records of each unordered list; their digests by list."""
        kept = {}
        for key, data in self._lists.bodies():
            sha256 = kept[key.hex()] = hashlib.sha256(data).hexdigest()
            if sha256 not in self._held and self._sealed(sha256) != data:
                # One less than the longest chain, so that the pages of the next run can stand on it.
                self._keep(data, sha256, self._index.last(key), pack.CHAIN_LIMIT - 1)
        return kept

    def _seal(self, kind: str, facts: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> RunInfo:
        with self._lock:
            self._check_open()
            info = seal_run(self._log, self.number, kind, facts, results)
            self.release()
            self._objects.learn(self.number)
            for key, sha256 in info.lists.items():
                self._index.note_list(bytes.fromhex(key), sha256)
            self._index.save(self.number)
            self._ended(self.number)
            return info

    def release(self) -> None:
        """Close the files and remove what was derived from them; the run can no longer be added to."""
        with self._lock:
            if not self._over:
                self._over = True
                self._pack.close()
                self._lines.close()
                if self._rows.exists():
                    # Should the disk refuse, the run is sealed all the same, and the next opening removes them.
                    with suppress(StoreError):
                        self._log.disk.remove_folder(self._rows)

    def _check_open(self) -> None:
        if self._over:
            raise UsageError(f"run {self.number} is over", "begin another run")

    def _sealed(self, sha256: str) -> bytes | None:
        """The same body in an earlier run, if it is there and whole."""
        if self._objects.has(sha256):
            with suppress(TamperedError):
                return self._objects.body(sha256)
        return None

    def _usable(self, base: str | None, limit: int) -> tuple[str, bytes] | None:
        """A sealed body a difference can stand on, unless its chain is already long."""
        if base is None or not self._objects.has(base) or self._objects.depth(base) >= limit:
            return None
        with suppress(TamperedError):
            body = self._objects.body(base)
            return (base, body) if pack.BASE_LEAST <= len(body) <= pack.DELTA_LIMIT else None
        return None


class _Spool:
    """A file of the open run that only grows; a write that fails is taken back."""

    def __init__(self, log: LogWriter, path: Path) -> None:
        self._disk = log.disk
        self._path = path
        self._size = 0
        self._handle = log.disk.open_append(path)

    def write(self, data: bytes) -> None:
        try:
            self._disk.write(self._handle, self._path, data)
        except StoreError:
            self._disk.truncate(self._path, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        self._disk.close(self._handle, self._path)


class SealedRun:
    """A run as it was sealed. Nothing is yielded from a file that differs from what the log promises."""

    def __init__(self, root: Path, info: RunInfo, objects: Objects) -> None:
        self._root = root
        self._objects = objects
        self.info = info
        """What the log says of it."""

    @property
    def number(self) -> int:
        """From 1, without gaps."""
        return self.info.number

    @property
    def state(self) -> State:
        """``complete`` or ``aborted``."""
        return self.info.state

    @property
    def opening(self) -> dict[str, Any]:
        """Predicate of the run-open leaf."""
        return self.info.opening

    @property
    def closing(self) -> dict[str, Any]:
        """Predicate of the run-close or run-abort leaf."""
        return self.info.closing

    def plan(self) -> bytes:
        """The plan, as it was given to :meth:`Store.begin`.

        Raises:
            TamperedError: the file is not what was sealed.
        """
        name = f"{layout.run_name(self.number)}/{layout.PLAN}"
        data = read_file(self._root, name, PLAN_LIMIT)
        if hashlib.sha256(data).hexdigest() != self.info.subject[layout.PLAN]:
            raise TamperedError(name, "is not what was sealed")
        return data

    def replies(self) -> Iterator[dict[str, Any]]:
        """The lines of the manifest, in order.

        Raises:
            TamperedError: the file is not what was sealed.
        """
        return self._lines(layout.MANIFEST)

    def results(self) -> Iterator[dict[str, Any]]:
        """The lines of the results, in order.

        Raises:
            TamperedError: the file is not what was sealed.
        """
        return self._lines(layout.RESULTS)

    def object(self, sha256: str) -> bytes:
        """A body, from this run or the earlier one that first kept it.

        Raises:
            TamperedError: it is missing, or its content has another digest.
            ErasedError: it was erased, and the log says so.
        """
        if not HEX256.fullmatch(sha256):
            raise UsageError(f"{sha256!r} is not a digest", "give the sha256 of a reply line")
        if sha256 in self.info.erased and not self._objects.has(sha256):
            leaf = self.info.erased[sha256]
            raise ErasedError(f"the body was erased under leaf {leaf}", "read that leaf for the basis")
        return self._objects.body(sha256)

    def absent(self) -> dict[int, str]:
        """Why, by number of each reply whose body was erased."""
        if not self.info.erased:
            return {}
        gone = {sha256: leaf for sha256, leaf in self.info.erased.items() if not self._objects.has(sha256)}
        return {
            line["i"]: f"its body was erased under leaf {gone[line['sha256']]}"
            for line in self.replies()
            if line.get("sha256") in gone
        }

    def hidden_results(self) -> int:
        """No result line of a store is withheld."""
        return 0

    def seed(self) -> bytes | None:
        """The secret that salts the personal fields of this run; ``None`` when it has none. Never to be exported.

        Raises:
            TamperedError: the file is not what was sealed.
        """
        if layout.SEED not in self.info.subject:
            return None
        name = f"{layout.run_name(self.number)}/{layout.SEED}"
        data = read_file(self._root, name, SEED_LENGTH)
        if hashlib.sha256(data).hexdigest() != self.info.subject[layout.SEED]:
            raise TamperedError(name, "is not what was sealed")
        return data

    def lines_of(self, stream: str) -> Iterator[bytes]:
        """The exact bytes of the lines of ``manifest.ndjson`` or ``results.ndjson``, without their newlines.

        Raises:
            TamperedError: the file is not what was sealed.
        """
        name = f"{layout.run_name(self.number)}/{stream}{layout.PACKED}"
        with open_file(self._root, name) as file, tampered(name):
            check_digest(file, self.info.subject[stream + layout.PACKED])
            yield from lines.read(file, self.info.closing[stream.removesuffix(".ndjson")]["size"])

    def _lines(self, stream: str) -> Iterator[dict[str, Any]]:
        name = f"{layout.run_name(self.number)}/{stream}{layout.PACKED}"
        with open_file(self._root, name) as file, tampered(name):
            check_digest(file, self.info.subject[stream + layout.PACKED])
            size = self.info.closing[stream.removesuffix(".ndjson")]["size"]
            for number, line in enumerate(lines.read(file, size)):
                yield lines.parse(number, line)


def check_digest(file: BufferedReader, sha256: str) -> None:
    """The file's content has this digest; the file stands at its beginning again.

    Raises:
        ValueError: it has another.
    """
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        raise ValueError("is not what was sealed")
    file.seek(0)


@contextmanager
def tampered(name: str) -> Iterator[None]:
    """Errors of reading and parsing become a :class:`TamperedError` that names the file."""
    try:
        yield
    except (ValueError, KeyError, OSError) as error:
        raise TamperedError(name, str(error)) from error
