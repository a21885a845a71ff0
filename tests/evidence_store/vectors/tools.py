"""What the makers of vectors share: keys, a clock, a history, and what only the holder of a key can do."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence_store import layout, merkle, sigstore, sshsig
from evidence_store.bundles import build as bundle
from evidence_store.bundles import format as form
from evidence_store.bundles import lines as bundle_lines
from evidence_store.dsse import Statement, open_envelope, open_statement, sign_statement
from evidence_store.keys import FileSigner, PublicKey, Signer, low_s
from evidence_store.note import Checkpoint, sign_note
from evidence_store.store import Store

ORIGIN = "evidence.acme.example/prod"
A, B = (FileSigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)) for seed in (7, 8))
FEBRUARY, MARCH = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
VERIFIED, UNKNOWN_SIGNER, NOT_VERIFIED = "verified", "consistent, signer not authenticated", "NOT verified"
ALL, SOME = "all", "all but verify.sh"
"""Whether coreutils and openssl alone can see what is wrong: they see neither the tree nor the runs."""


class P256Signer:
    """A P-256 key in memory."""

    def __init__(self, secret: int) -> None:
        self._key = ec.derive_private_key(secret, ec.SECP256R1())
        self.public = PublicKey(self._key.public_key())

    @property
    def keyid(self) -> str:
        return self.public.fingerprint

    def sign(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes

        return low_s(self._key.sign(message, ec.ECDSA(hashes.SHA256())))


P = P256Signer(0xAFF1DA517)


class Clock:
    """Goes one second further at each look."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@dataclass(frozen=True)
class Vector:
    """One bundle and how it is to be judged."""

    name: str
    result: str
    key: str | None = A.keyid
    by: str = ALL
    witnesses: tuple[str, ...] = ()
    """Verifier keys that are given."""

    def path(self, folder: Path) -> Path:
        return folder / self.name


def collect(store: Store, number: int) -> None:
    """A run of three replies: one body of its own, one that every run has, one without a body."""
    plan = {"schema": "affidavit.plan/1", "asOf": "2026"}
    code = b"def check(): return %d\n" % (number // 10)
    config = b"organisation: Acme\n"
    names = {"config": {"sha256": hashlib.sha256(config).hexdigest()}, "files": [],
             "code": [{"file": "checks/aws/x.py", "sha256": hashlib.sha256(code).hexdigest()}]}  # fmt: skip
    run = store.begin({"trigger": "test"}, json.dumps({**plan, **names}).encode())
    for content in (code, config):
        run.add_object(content)
    for page, body in enumerate((b'{"Users":[%d]}' % number, b'{"Users":[]}'), 1):
        run.add_reply(
            {"op": "iam:ListUsers", "page": page, "task": "aws.iam.users@prod", "sha256": run.add_object(body)}
        )
    run.add_reply({"op": "s3:ListBuckets", "status": 403, "task": "aws.s3.buckets@prod", "sha256": None})
    run.close(
        [{"kind": "finding", "check": "x", "scope": "prod", "outcome": "PASS"}, {"kind": "gap"}],
        {"outcome": "complete"},
    )


def history(path: Path, clock: Clock, signer: Signer = A) -> Store:
    """A store with a run in February and an aborted one and a gap; open for writing."""
    Store.create(path, origin=ORIGIN, signer=signer, clock=clock).close()
    store = Store.open(path, signer=signer, clock=clock)
    collect(store, 1)
    run = store.begin({}, b"{}")
    run.add_reply({"op": "iam:ListUsers", "task": "t@p", "sha256": run.add_object(b"half")})
    run.abort("interrupted")
    store.gap(start=clock.time, end=clock.time + timedelta(hours=1), missed=1, reason="host was down")
    return store


def sealed(store: Store, out: Path, signer: Signer = A, start: datetime = FEBRUARY, **options: Any) -> Path:
    """A bundle of the month that begins at ``start``."""
    end = MARCH if start == FEBRUARY else datetime(2026, 4, 1, tzinfo=UTC)
    chosen = bundle.choose(store, start, end)
    if options.pop("redact", False):
        options["shown"] = bundle.views(store, chosen, redact=True)
    wish = bundle.Wish("Acme", "An Auditor")
    made = bundle.build(
        store, out, chosen, signer, wish=wish, clock=lambda: datetime(2026, 4, 2, tzinfo=UTC), **options
    )
    return made.path


# ------------------------------------------------------------------------------------------- what a key holder can do


def relist(folder: Path) -> None:
    """The three lists are made anew, as anybody can."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    for part in (form.MANIFEST, form.TAGS, form.SEAL_LIST):
        listed = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names if form.part_of(n) == part}
        (folder / part).write_bytes(form.spell_list(listed))


def reseal(folder: Path, signer: Signer = A, **facts: Any) -> None:
    """The lists, the count of the payload and the seal are made anew, as only the holder of the key can."""
    from dataclasses import replace

    statement = open_statement(open_envelope((folder / form.SEAL).read_bytes()).payload)
    said = replace(form.Facts.read(statement.predicate), **facts)
    payload = [path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file()]
    counted = b"Payload-Oxum: %d.%d" % (sum(payload), len(payload))
    info = folder / form.INFO
    info.write_bytes(re.sub(rb"Payload-Oxum: \d+\.\d+", counted, info.read_bytes()))
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    relist(folder)
    tags = (folder / form.TAGS).read_bytes()
    seal = sign_statement(
        Statement(form.KIND, {form.TAGS: hashlib.sha256(tags).hexdigest()}, said.predicate()), [signer]
    )
    (folder / form.SEAL).write_bytes(seal)
    (folder / form.SIGSTORE).write_bytes(sigstore.spell(open_envelope(seal), None))
    (folder / form.SSH).write_bytes(sshsig.sign(tags, form.NAMESPACE, signer))
    relist(folder)


def renumber(folder: Path) -> None:
    """A leaf is taken out and those behind it move up, with new names but the content they had."""
    entries = sorted((folder / "log/entries").iterdir())
    entries[5].unlink()
    for path in entries[6:]:
        index, _, rest = path.name.partition("-")
        path.rename(path.with_name(f"{int(index) - 1:012d}-{rest}"))


def rewrite(
    folder: Path, kind: str, change: Callable[[Statement], Statement], *signers: Signer,
    sealer: Signer = A, last: bool = False,
) -> None:  # fmt: skip
    """A leaf of a bundle that begins at leaf 0 says something else; tree, newest note and seal are made to fit.

    Args:
        folder: the bundle.
        kind: of the leaf; the first of this kind.
        change: what it says instead.
        signers: who sign it.
        sealer: who signs the newest note, and seals.
        last: the last of its kind instead.
    """
    entries = sorted((folder / "log/entries").iterdir())
    path = [entry for entry in entries if entry.name[13:] == f"{kind}.dsse.json"][-1 if last else 0]
    said = open_statement(open_envelope(path.read_bytes()).payload)
    path.write_bytes(sign_statement(change(said), list(signers)))
    refit(folder, sealer)


def refit(folder: Path, signer: Signer) -> None:
    """The newest note is made over the leaves that are there, and everything is sealed again."""
    leaves = [path.read_bytes() for path in sorted((folder / "log/entries").iterdir())]
    head = Checkpoint(ORIGIN, len(leaves), merkle.tree_root([merkle.leaf_hash(data) for data in leaves]))
    (folder / layout.note_name(head.size)).write_bytes(sign_note(head.text(), ORIGIN, signer))
    info = folder / form.INFO
    named = "External-Identifier: " + " ".join(head.text().split("\n")[:3])
    info.write_text(re.sub("External-Identifier: .*", lambda found: named, info.read_text("utf8")), "utf8")
    reseal(folder, signer, root=head.root.hex())


def behead(folder: Path) -> None:
    """The newest note is signed anew, over another root."""
    note = max((folder / "log/checkpoints").glob("*.note"))
    size = int(note.name[:12])
    note.write_bytes(sign_note(Checkpoint(ORIGIN, size, hashlib.sha256(b"else").digest()).text(), ORIGIN, A))


def add_object(folder: Path, data: bytes, sha256: str = "") -> None:
    """A body that no line names, perhaps under the name of another."""
    path = folder / form.object_name(sha256 or hashlib.sha256(data).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def hide(data: bytes, number: int) -> bytes:
    """A line is withheld."""
    lines = data.split(b"\n")
    lines[number] = bundle_lines.withheld(number, lines[number])
    return b"\n".join(lines)


def swap_hash(data: bytes, name: str) -> bytes:
    """A hash of the proof becomes another."""
    proof = json.loads(data)
    proof[name][0] = hashlib.sha256(b"else").hexdigest()
    return json.dumps(proof, separators=(",", ":")).encode() + b"\n"
