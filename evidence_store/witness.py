"""C2SP tlog-witness: a small server that signs a log's head only if it extends the last one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evidence_store import note as notes
from evidence_store.cosignature import Witness
from evidence_store.errors import LockedError, StoreError, UsageError, VerificationError
from evidence_store.fs import Disk, disk_errors, read_file
from evidence_store.heads import Head, signed_by, split_note
from evidence_store.keys import PublicKey, Signer
from evidence_store.merkle import EMPTY_ROOT, verify_consistency
from evidence_store.spelling import dump, load, now, unb64

REQUEST_LIMIT = 16384
PROOF_LIMIT = 63
CONNECTIONS = 32
"""Requests served at a time; more are closed unread."""
REFUSED_LIMIT = 256
"""Refused requests that are kept as evidence."""
IDLE_S = 10
WITNESS_JSON = "WITNESS.json"
STATE_LIMIT = 1 << 20
LOST = "put it back as it was; if it is gone, the witness must take a new key and a new name"
SIZE_TYPE = "text/x.tlog.size"

Logs = Mapping[str, tuple[PublicKey, ...]]
"""Keys a witness trusts, by the origin of the log."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the witness says to one request."""

    status: int
    body: bytes = b""
    media: str = "text/plain; charset=utf-8"


class RefusedError(Exception):
    """A request the witness does not sign."""

    def __init__(self, answer: Answer, *, evidence: bool = False) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.evidence = evidence
        """Whether the log signed something it should not have: the request is kept."""


def parse_logs(keys: Iterable[str]) -> dict[str, tuple[PublicKey, ...]]:
    """Logs by origin, from their verifier keys; a log may have several keys.

    Raises:
        UsageError: one is not the verifier key of a log.
    """
    logs: dict[str, tuple[PublicKey, ...]] = {}
    for text in keys:
        origin, key = parse_log_key(text)
        logs[origin] = (*logs.get(origin, ()), key)
    return logs


def parse_log_key(text: str) -> tuple[str, PublicKey]:
    """Origin and key in a log's verifier key.

    Raises:
        UsageError: it is none.
    """
    name, _, rest = text.strip().partition("+")
    try:
        raw = unb64(rest.partition("+")[2])
        if raw[:1] == notes.ED25519:
            key = PublicKey(Ed25519PublicKey.from_public_bytes(raw[1:]))
        else:
            key = PublicKey.from_spki(raw[1:])
        if notes.verifier_key(name, key) != text.strip():
            raise ValueError("another key id, or type of key")
    except (ValueError, VerificationError) as error:
        raise UsageError(
            f"{text[:80]!r} is not the verifier key of a log", "copy it from keys/trust.json of the store"
        ) from error
    return name, key


class WitnessServer:
    """Remembers the newest head of each log it knows, and signs a newer one only with a proof that it extends it."""

    def __init__(
        self,
        folder: Path,
        witness: Witness,
        signer: Signer,
        logs: Logs,
        *,
        create: bool = False,
        clock: Callable[[], datetime] = now,
        disk: Disk | None = None,
    ) -> None:
        """Take the state in ``folder`` into use, alone.

        Args:
            folder: holds the newest head of each log.
            witness: its name and key.
            signer: the private half of that key.
            logs: the logs it answers for.
            create: begin with nothing seen; only right for a key that has signed nothing yet.
            clock: gives the time that is signed.
            disk: the file system to write through.

        Raises:
            UsageError: the state or a part of it is missing, it exists although it should be new, or it is that of
                another witness.
            LockedError: another process uses it.
        """
        self._folder, self._witness, self._signer, self._logs = folder.absolute(), witness, signer, logs
        self._clock, self._disk = clock, disk or Disk()
        if any(key.raw == witness.key.raw for keys in logs.values() for key in keys):
            raise UsageError("the witness would sign with the key of a log", "give it a key of its own")
        self._lock = threading.Lock()
        if create:
            self._begin()
        elif not (self._folder / WITNESS_JSON).is_file():
            raise UsageError(
                f"{folder} holds no state of a witness",
                "start a new witness with --init; one that lost its state must take a new key and a new name",
            )
        with disk_errors(self._folder / "lock"):
            self._held = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._held)
            raise LockedError(f"another process uses {folder}", "stop it first") from error
        try:
            self._signed = self._known()
        except BaseException:  # also when interrupted: the lock goes back whatever happened; raised on
            self.close()
            raise

    def _begin(self) -> None:
        """A state in which nothing was seen."""
        if (self._folder / WITNESS_JSON).exists():
            raise UsageError(f"{self._folder} holds the state of a witness", "start it without --init")
        if not self._folder.exists():
            self._disk.mkdir(self._folder)
        self._disk.sync_folder(self._folder.parent)
        self._write(WITNESS_JSON, self._identity(()))

    def _identity(self, origins: Iterable[str]) -> bytes:
        """Whose state it is, and of which logs it has signed a head."""
        return dump({"witness": self._witness.verifier_key(), "signed": sorted(origins)}) + b"\n"

    def _known(self) -> frozenset[str]:
        """The logs of which a head was signed.

        Raises:
            UsageError: the state is that of another witness, or lacks the head of such a log.
        """
        try:
            state = load(read_file(self._folder, WITNESS_JSON, STATE_LIMIT).strip())
            signed = frozenset(map(str, state.get("signed", ())))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self._folder / WITNESS_JSON} is not what was written", LOST) from error
        if state.get("witness") != self._witness.verifier_key():
            raise UsageError(
                f"{self._folder} is the state of another witness", "name the state and the key that belong"
            )
        held = {origin for origin in self._logs if (self._folder / _state_name(origin)).exists()}
        if lost := sorted((signed & self._logs.keys()) - held):
            name = self._folder / _state_name(lost[0])
            raise UsageError(f"{name} is missing, the head of {lost[0]} that this witness has signed", LOST)
        if "signed" not in state and held:
            # An earlier release made this state without the list: what it holds heads of is what it has signed.
            self._write(WITNESS_JSON, self._identity(held))
            return frozenset(held)
        return signed

    def close(self) -> None:
        """Release the state."""
        os.close(self._held)

    def add(self, body: bytes) -> Answer:
        """Answer ``add-checkpoint``: the new head is on disk before it is signed.

        Raises:
            StoreError: the disk refused; nothing was signed.
        """
        try:
            old, proof, note = _parse_request(body)
            origin, head = self._opened(note)
            with self._lock:
                self._check(origin, head, old, proof)
                self._write(_state_name(origin), note)
                self._learn(origin)
                line = self._witness.cosign(head.text, self._signer, self._clock())
            return Answer(200, line)
        except RefusedError as refusal:
            if refusal.evidence:
                with self._lock:
                    self._keep(body)
            return refusal.answer

    def _opened(self, note: bytes) -> tuple[str, Head]:
        """The head in a note that a key of its log signed; signatures of others are ignored."""
        try:
            text, lines = split_note(note)
            head = Head.parse(text)
        except ValueError as error:
            raise RefusedError(Answer(400, b"not a checkpoint\n")) from error
        keys = self._logs.get(head.origin)
        if keys is None:
            raise RefusedError(Answer(404, b"this witness does not know the log\n"))
        if not any(signed_by(head.origin, key, text, lines) for key in keys):
            raise RefusedError(Answer(403, b"no signature of a key that is trusted for this log\n"))
        return head.origin, head

    def _check(self, origin: str, head: Head, old: int, proof: list[bytes]) -> None:
        last = self._last(origin)
        size, root = (last.size, last.root) if last else (0, EMPTY_ROOT)
        if old > head.size:
            raise RefusedError(Answer(400, b"the old size is above the size of the checkpoint\n"))
        if old != size:
            raise RefusedError(Answer(409, b"%d\n" % size, SIZE_TYPE))
        if head.size == size and last is not None and head.root != root:
            raise RefusedError(Answer(409, b"%d\n" % size, SIZE_TYPE), evidence=True)
        if old == 0:
            sound = not proof and (head.size > 0 or head.root == EMPTY_ROOT)
        else:
            sound = verify_consistency(old, head.size, root, head.root, proof)
        if not sound:
            raise RefusedError(Answer(422, b"the proof does not show that the log was only added to\n"), evidence=True)

    def _last(self, origin: str) -> Head | None:
        name = _state_name(origin)
        if not (self._folder / name).exists():
            if origin in self._signed:
                raise VerificationError(f"{self._folder / name} is missing", LOST)
            return None
        text, lines = split_note(read_file(self._folder, name, REQUEST_LIMIT))
        head = Head.parse(text)
        if head.origin != origin or not any(signed_by(origin, key, text, lines) for key in self._logs[origin]):
            raise VerificationError(f"{self._folder / name} is not what was written", "restore it; sign nothing before")
        return head

    def _learn(self, origin: str) -> None:
        """A head of this log may be signed: from now on nothing is, should its file be missing."""
        if origin not in self._signed:
            self._write(WITNESS_JSON, self._identity(self._signed | {origin}))
            self._signed |= {origin}

    def _write(self, name: str, data: bytes) -> None:
        """A file of the state has this content, before and after a power cut."""
        draft = self._folder / "draft"
        if draft.exists():
            self._disk.unlink(draft)
        self._disk.create(draft, data)
        self._disk.rename(draft, self._folder / name)
        self._disk.sync_folder(self._folder)

    def _keep(self, body: bytes) -> None:
        """A signed head that contradicts an earlier one is evidence against the log's owner."""
        path = self._folder / f"refused-{hashlib.sha256(body).hexdigest()[:16]}.txt"
        if not path.exists() and len(list(self._folder.glob("refused-*.txt"))) < REFUSED_LIMIT:
            self._write(path.name, body)

    def listen(self, host: str, port: int) -> ThreadingHTTPServer:
        """An HTTP server over this witness; ``serve_forever`` starts it."""
        witness = self

        class Handler(_Handler):
            answer = staticmethod(witness.add)

        return _Server((host, port), Handler)


def _parse_request(body: bytes) -> tuple[int, list[bytes], bytes]:
    asked, gap, note = body.partition(b"\n\n")
    try:
        first, *lines = asked.decode("ascii").split("\n")
        if not gap or not re.fullmatch("old (0|[1-9][0-9]{0,17})", first) or len(lines) > PROOF_LIMIT:
            raise ValueError("not a request")
        proof = [unb64(line) for line in lines]
        if any(len(step) != 32 for step in proof):
            raise ValueError("not a proof")
    except ValueError as error:
        raise RefusedError(Answer(400, b"not a request as c2sp.org/tlog-witness writes it\n")) from error
    return int(first[4:]), proof, note


def _state_name(origin: str) -> str:
    return f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.note"


class _Handler(BaseHTTPRequestHandler):
    answer: Callable[[bytes], Answer]
    protocol_version = "HTTP/1.1"
    server_version = "witness"
    sys_version = ""
    timeout = IDLE_S

    def do_POST(self) -> None:
        self.close_connection = True
        length = self.headers.get("Content-Length", "")
        if self.path != "/add-checkpoint":
            return self._say(Answer(404, b"only add-checkpoint is served\n"))
        if not re.fullmatch("[0-9]{1,9}", length):
            return self._say(Answer(411, b"the length of the request is missing\n"))
        if int(length) > REQUEST_LIMIT:
            return self._say(Answer(413, b"the request is too long\n"))
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            return None
        try:
            answer = type(self).answer(body)
        except (StoreError, OSError, ValueError) as error:
            self.log_error("cannot answer: %s", error)
            answer = Answer(500, b"the witness cannot use its state\n")
        self.close_connection = False
        return self._say(answer)

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: object, client_address: object) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that goes away is no news."""
