"""A store in a bucket with Object Lock: every sealed file is an object in compliance mode, written once.

Names are those of the folder, but for the log: S3 cannot append, so each leaf is an object
``log/entries/000000000012.dsse.json``. It is written on condition that the name is free, after the files it speaks of
and before anything else changes; so of two collectors exactly one writes leaf 12. The first version of a name is the
sealed one: whoever may write later can put a version or a delete marker above it, and a reader
of this module goes past that and reports it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from evidence_store import layout
from evidence_store.backends import ConflictError
from evidence_store.errors import StoreError, TamperedError, UsageError
from evidence_store.fs import disk_errors
from evidence_store.log import LOG_LIMIT, RUN_ABORT, RUN_CLOSE, RUN_OPEN, Leaf, frame, frames, open_leaf

COMPLIANCE = "COMPLIANCE"
RETENTION_DAYS = 2557
"""Seven years."""
PUT_LIMIT = 5 << 30
"""Largest object S3 takes in one request."""
WORKERS = 8
WHOLE = "what was sealed before is whole"
NEEDED = {
    True: "s3:PutObject and s3:PutObjectRetention",
    False: "s3:ListBucketVersions, s3:GetObjectVersion and s3:GetObjectRetention",
}
"""Permissions by whether something is written."""
LEAF = re.compile(r"log/entries/([0-9]{12})\.dsse\.json")
RUN_FILE = re.compile(r"runs/([0-9]{8})/([a-z][a-z0-9.-]{0,63})")
BESIDE = (layout.NOTE_FILE, layout.TOKEN_FILE, layout.COSIGNATURE_FILE, layout.CHAIN_FILE, layout.ATTACHMENT_FILE)
RENEWED = (layout.TRUST,)
"""Convenience copies: written anew when the log says something new, and checked against it."""
URI = re.compile(r"s3:/{1,2}([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


def uri_of(path: str | Path) -> str | None:
    """``s3://bucket/prefix`` if that is what was named, also after :class:`Path` made ``s3:/`` of it."""
    found = URI.fullmatch(str(path))
    return None if found is None else f"s3://{found[1]}/{(found[2] or '').strip('/')}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Version:
    """The first version of an object, which is the sealed one."""

    id: str
    size: int
    covered: bool
    """Whether another version or a delete marker was put above it."""


@dataclass(slots=True)
class Findings:
    """What was seen of a bucket while it was read."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    """Name and what is wrong with it."""
    warnings: list[str] = field(default_factory=list)
    objects: int = 0
    unlocked: int = 0
    """Objects whose lock is not in force, or could not be seen."""


class Bucket:
    """A bucket, or a part of one, that holds one store."""

    def __init__(
        self,
        uri: str,
        *,
        retention_days: int = RETENTION_DAYS,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        client: Any = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if (named := uri_of(uri)) is None:
            raise UsageError(f"{uri!r} does not name a bucket", "write s3://BUCKET/PREFIX")
        self.uri = named
        """``s3://bucket/prefix``."""
        self._bucket, _, prefix = named.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._retention = timedelta(days=retention_days)
        self._clock = clock
        self._client = client or _client(region, profile, endpoint_url)

    def created(self) -> bytes | None:
        """``STORE.json``, if a store was begun here."""
        version = self._versions(layout.STORE).get(layout.STORE)
        return None if version is None else self._read(layout.STORE, version)

    def exists(self) -> bool:
        """Whether a store with at least its genesis leaf stands here."""
        return bool(self._versions(_leaf_name(0)))

    def begin(self, identity: Mapping[str, bytes]) -> None:
        """A store may begin here; what an interrupted beginning left is taken over when it is the same."""
        for name, data in identity.items():
            self._put(name, data, hashlib.sha256(data).digest(), once=True)

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file beside the log; the same content may be given again."""
        self._put(name, data, hashlib.sha256(data).digest(), once=name not in RENEWED)

    def commit(self, root: Path, leaf: Leaf) -> None:
        """Keep the files of the run the leaf ends, its statement last, then the leaf."""
        if leaf.kind in (RUN_CLOSE, RUN_ABORT) and layout.PACK in leaf.statement.subject:
            folder = layout.run_name(leaf.predicate["run"])
            names = sorted(path.name for path in (root / folder).iterdir())
            for name in sorted(names, key=lambda name: name == layout.STATEMENT):
                self._upload(root, f"{folder}/{name}")
        name = _leaf_name(leaf.index)
        self._put(name, leaf.data, hashlib.sha256(leaf.data).digest(), once=True)

    def sync(self, root: Path) -> None:
        """The folder holds everything sealed here; a folder that does not exist yet is made."""
        with disk_errors(root):
            for name in ("", *layout.FOLDERS):
                (root / name).mkdir(mode=0o700, parents=not name, exist_ok=True)
            (root / layout.REMOTE).write_text(f"{self.uri}\n")
        seen = self._versions("")
        for stale in root.parent.glob(f".{root.name}.fetching-*"):
            shutil.rmtree(stale, ignore_errors=True)
        fetched = Path(tempfile.mkdtemp(prefix=f".{root.name}.fetching-", dir=root.parent))
        try:
            self._catch_up(root, fetched, seen)
            wanted = [
                name for name in seen if not (root / name).exists() and any(form.fullmatch(name) for form in BESIDE)
            ]
            wanted += [name for name in (layout.STORE, *RENEWED) if name in seen and not (root / name).exists()]
            runs = {folder: names for folder, names in _runs(seen).items() if not (root / folder).exists()}
            found = Findings()
            self._fetch([*wanted, *(name for names in runs.values() for name in names)], seen, fetched, found)
            for folder in runs:
                _sync_all(fetched / folder)
                (fetched / folder).rename(root / folder)
            for name in wanted:
                _sync_file(fetched / name)
                (root / name).parent.mkdir(mode=0o700, exist_ok=True)
                (fetched / name).rename(root / name)
        except OSError as error:
            raise StoreError(
                f"cannot copy {self.uri} to {root}: {error.strerror or error}", "make room or choose another folder"
            ) from error
        finally:
            shutil.rmtree(fetched, ignore_errors=True)

    def download(self, root: Path) -> Findings:
        """Everything of the store stands in a new folder; what the bucket shows of itself is returned."""
        found = Findings()
        seen = self._settled()
        if not seen:
            raise UsageError(f"{self.uri} holds no store", "name the bucket and prefix of a store")
        for name in ("", *layout.FOLDERS):
            (root / name).mkdir(mode=0o700, parents=not name, exist_ok=True)
        (root / layout.ENTRIES).touch()
        known: list[str] = []
        for name, version in seen.items():
            if _known(name):
                known.append(name)
                if version.covered and name not in RENEWED:
                    what = "was covered by another version or a delete marker; the first version is read"
                    found.problems.append((name, what))
            elif RUN_FILE.fullmatch(name):
                found.warnings.append(f"{name} was left by an upload that did not end; it is not read")
            else:
                found.problems.append((_printable(name), "is not part of a store"))
        runs = _runs(seen)
        known = [name for name in known if not RUN_FILE.fullmatch(name) or name.rpartition("/")[0] in runs]
        self._fetch([name for name in known if not LEAF.fullmatch(name)], seen, root, found)
        self._catch_up(root, root, seen, found)
        _set_aside(root, found)
        if found.unlocked:
            found.warnings.append(
                f"{found.unlocked} of {found.objects} objects show no compliance lock in force: "
                "they may have expired, or this identity may not see locks (s3:GetObjectRetention)"
            )
        return found

    def _settled(self) -> dict[str, Version]:
        """What is there, between two writes of a collector at work if that can be had."""
        for pause_s in (0.5, 2.0, 0.0):
            seen = self._versions("")
            leaves = sum(LEAF.fullmatch(name) is not None for name in seen)
            if layout.note_name(leaves) in seen:
                break
            time.sleep(pause_s)
        return seen

    def _catch_up(self, root: Path, fetched: Path, seen: dict[str, Version], found: Findings | None = None) -> None:
        """Append to the folder's log what the bucket has more.

        Raises:
            TamperedError: the bucket lacks a leaf, or the folder's log is not the beginning of the bucket's.
        """
        names = sorted(name for name in seen if LEAF.fullmatch(name))
        if names != [_leaf_name(index) for index in range(len(names))]:
            absent = next(index for index in range(len(names)) if _leaf_name(index) not in seen)
            raise TamperedError(layout.ENTRIES, f"leaf {absent} is missing from {self.uri}")
        path = root / layout.ENTRIES
        own = path.read_bytes() if path.exists() else b""
        if len(own) > LOG_LIMIT:
            raise TamperedError(layout.ENTRIES, "is too long")
        have, end = [], 0
        for place, data in frames(own):
            have.append(data)
            end = place
        if len(have) > len(names):
            raise TamperedError(layout.ENTRIES, f"holds {len(have)} leaves, {self.uri} holds {len(names)}")
        if have and self._read(names[len(have) - 1], seen[names[len(have) - 1]]) != have[-1]:
            raise TamperedError(
                layout.ENTRIES,
                f"is another history than that of {self.uri}",
                "this folder is not a copy of that bucket: name another folder",
            )
        missing = names[len(have) :]
        if not missing and end == len(own):
            return
        leaves = fetched / "leaves"
        self._fetch(missing, seen, leaves, found or Findings())
        with open(path, "r+b" if path.exists() else "xb", opener=_private) as file:
            file.truncate(end)
            file.seek(end)
            for name in missing:
                file.write(frame((leaves / name).read_bytes()))
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(leaves, ignore_errors=True)

    def _upload(self, root: Path, name: str) -> None:
        with (root / name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > PUT_LIMIT:
                raise StoreError(f"{name} is {size} bytes, more than S3 takes at once", "split the collection")
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            self._put(name, file, digest, once=True)

    def _put(self, name: str, body: bytes | BinaryIO, digest: bytes, *, once: bool) -> None:
        """Write an object under lock; S3 compares the digest with what it received."""
        condition = {"IfNoneMatch": "*"} if once else {}
        with self._errors("write", name):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=body,
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64.b64encode(digest).decode(),
                    ObjectLockMode=COMPLIANCE,
                    ObjectLockRetainUntilDate=self._clock() + self._retention,
                    **condition,
                )
                return
            except self._client.exceptions.ClientError as error:
                if _code(error) not in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                    raise
        # The name is taken: by ourselves, when an answer was lost, or by another collector.
        version = self._versions(name).get(name)
        if version is None or hashlib.sha256(self._read(name, version)).digest() != digest:
            raise ConflictError(
                f"another collector wrote {name} of {self.uri} first",
                f"open the store again; {WHOLE}, and what this run read was not added to it",
            )

    def _versions(self, prefix: str) -> dict[str, Version]:
        """The first version of every name that begins like this, hidden or not."""
        found: dict[str, Version] = {}
        newest: dict[str, Version] = {}
        counts: dict[str, int] = {}
        with self._errors("list", prefix or "the store"):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for marker in page.get("DeleteMarkers", ()):
                    name = marker["Key"].removeprefix(self._prefix)
                    counts[name] = counts.get(name, 0) + 1
                # Newest first: what stays is the first that was written.
                for entry in page.get("Versions", ()):
                    name = entry["Key"].removeprefix(self._prefix)
                    counts[name] = counts.get(name, 0) + 1
                    found[name] = Version(entry["VersionId"], entry["Size"], covered=False)
                    newest.setdefault(name, found[name])
        return {
            name: newest[name] if name in RENEWED else Version(first.id, first.size, counts[name] > 1)
            for name, first in found.items()
        }

    def _read(self, name: str, version: Version) -> bytes:
        with self._errors("read", name):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=version.id)
            data: bytes = answer["Body"].read()
        return data

    def _fetch(self, names: Iterable[str], seen: dict[str, Version], root: Path, found: Findings) -> None:
        """Download objects under their names."""

        def one(name: str) -> bool:
            path = root / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._errors("read", name):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, VersionId=seen[name].id)
                with open(path, "xb", opener=_private) as file:
                    shutil.copyfileobj(answer["Body"], file, 1 << 20)
            until = answer.get("ObjectLockRetainUntilDate")
            return answer.get("ObjectLockMode") == COMPLIANCE and until is not None and until > self._clock()

        with ThreadPoolExecutor(WORKERS) as pool:
            locked = list(pool.map(one, names))
        found.objects += len(locked)
        found.unlocked += locked.count(False)

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        """Errors of S3 and of the way to it become one a person can act on."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except ClientError as error:
            code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            what = f"cannot {doing} {name} in {self.uri}: {code}"
            if code in ("NoSuchBucket", "InvalidBucketName"):
                raise UsageError(what, "make the bucket with Object Lock, or correct its name") from error
            if status in (401, 403):
                raise StoreError(what, f"allow this identity {NEEDED[doing == 'write']} there; {WHOLE}") from error
            if code in ("InvalidRequest", "ObjectLockConfigurationNotFoundError") and doing == "write":
                raise UsageError(what, "the bucket must have been made with Object Lock enabled") from error
            raise StoreError(f"{what} ({status})", f"try again; {WHOLE}") from error
        except (BotoCoreError, HTTPClientError) as error:
            kind = type(error).__name__
            raise StoreError(
                f"cannot {doing} {name} in {self.uri}: {kind}", f"check network, endpoint and credentials; {WHOLE}"
            ) from error


@contextmanager
def downloaded(uri: str, *, client: Any = None) -> Iterator[tuple[Path, Findings]]:
    """A fresh copy of a store in a bucket, removed afterwards; nothing kept here earlier is believed."""
    with tempfile.TemporaryDirectory(prefix="affidavit-store-") as folder:
        root = Path(folder) / "store"
        yield root, Bucket(uri, client=client).download(root)


def _client(region: str | None, profile: str | None, endpoint_url: str | None) -> Any:
    # Imported here: whoever keeps evidence in a folder needs no SDK.
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise UsageError("a store in a bucket needs the package boto3", "install boto3") from error
    options = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=WORKERS,
        s3={"addressing_style": "path"} if endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") else None,
    )
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        return session.client("s3", endpoint_url=endpoint_url, config=options)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"no connection to S3: {error}", "check profile, region and endpoint of the store") from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _leaf_name(index: int) -> str:
    return f"{layout.ENTRIES}/{index:012d}.dsse.json"


def _known(name: str) -> bool:
    return (
        name in (layout.STORE, layout.TRUST)
        or LEAF.fullmatch(name) is not None
        or RUN_FILE.fullmatch(name) is not None
        or any(form.fullmatch(name) for form in BESIDE)
    )


def _runs(seen: Iterable[str]) -> dict[str, list[str]]:
    """Files by run folder, of those runs whose upload was finished: the statement comes last."""
    folders: dict[str, list[str]] = {}
    for name in seen:
        if RUN_FILE.fullmatch(name):
            folders.setdefault(name.rpartition("/")[0], []).append(name)
    return {folder: names for folder, names in folders.items() if f"{folder}/{layout.STATEMENT}" in names}


def _set_aside(root: Path, found: Findings) -> None:
    """The newest run is not read while its files are there and the leaf that ends it is not."""
    opened = ended = 0
    for index, (_, data) in enumerate(frames((root / layout.ENTRIES).read_bytes())):
        try:
            kind = open_leaf(index, data).kind
        except TamperedError:
            return
        opened += kind == RUN_OPEN
        ended += kind in (RUN_CLOSE, RUN_ABORT)
    folder = root / layout.run_name(opened)
    if opened > ended and folder.exists():
        shutil.rmtree(folder)
        found.warnings.append(f"run {opened} is uploaded and not ended yet: a collector is at work, or was interrupted")


def _printable(name: str) -> str:
    return name.encode("unicode_escape").decode("ascii")[:200]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_all(folder: Path) -> None:
    for path in folder.iterdir():
        _sync_file(path)
    _sync_file(folder)
