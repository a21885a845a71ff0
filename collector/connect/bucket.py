"""A bucket for copies of checkpoints: in another account, best with Object Lock; objects are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from evidence_store.anchors import Check, newest_of
from evidence_store.errors import AnchorError
from evidence_store.note import NOTE_LIMIT

REFUSED = ("AccessDenied", "403", "AllAccessDisabled")
EXISTS = ("PreconditionFailed", "412", "ConditionalRequestConflict")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where and how; the credentials are those of the environment or of a profile."""

    url: str
    """``s3://bucket/prefix``."""
    endpoint_url: str | None = None
    profile: str | None = None
    retention_days: int | None = None
    """Days for which nobody can delete a copy (Object Lock, compliance mode); None: as the bucket does by default."""

    @property
    def kind(self) -> str:
        """What the log calls it."""
        return "s3" if self.retention_days is None else "objectlock"

    @property
    def where(self) -> str:
        """Its address."""
        return self.url

    def keep(self, log: str, name: str, note: bytes, check: Check) -> None:
        """As :meth:`evidence_store.anchors.Place.keep`; credentials that may only add leave the check out."""
        parts = urlsplit(self.url)
        folder = "/".join(part for part in (parts.path.strip("/"), log) if part)
        try:
            client = self._client()
            newest = self._newest(client, parts.netloc, folder)
            if newest is not None:
                check(newest)
            self._put(client, parts.netloc, f"{folder}/{name}", note, check)
        except (ClientError, BotoCoreError) as error:
            raise AnchorError(
                f"cannot put a checkpoint into {self.url}: {_said(error)}",
                "nothing is lost: the next run puts a newer one; s3:PutObject (and s3:PutObjectRetention) is needed",
            ) from error

    def _client(self) -> Any:
        limits = Config(connect_timeout=10, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
        session = boto3.Session(profile_name=self.profile)
        return session.client("s3", endpoint_url=self.endpoint_url, config=limits)

    def _newest(self, client: Any, bucket: str, folder: str) -> bytes | None:
        try:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
            names = [item["Key"].rpartition("/")[2] for page in pages for item in page.get("Contents", ())]
            newest = newest_of(names)
            return None if newest is None else self._read(client, bucket, f"{folder}/{newest}")
        except ClientError as error:
            if error.response["Error"]["Code"] in REFUSED:
                return None
            raise

    def _read(self, client: Any, bucket: str, key: str) -> bytes:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        found: bytes = body.read(NOTE_LIMIT + 1)
        return found

    def _put(self, client: Any, bucket: str, key: str, note: bytes, check: Check) -> None:
        lock: dict[str, Any] = {}
        if self.retention_days is not None:
            until = datetime.now(UTC) + timedelta(days=self.retention_days)
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        try:
            client.put_object(
                Bucket=bucket, Key=key, Body=note, ContentType="text/plain; charset=utf-8", IfNoneMatch="*",
                ChecksumAlgorithm="SHA256", **lock,
            )  # fmt: skip
        except ClientError as error:
            if error.response["Error"]["Code"] not in EXISTS:
                raise
            check(self._read(client, bucket, key))


def _said(error: Exception) -> str:
    if isinstance(error, ClientError):
        said = error.response["Error"]
        return f"{said.get('Code')} {said.get('Message', '')}".strip()[:200]
    return f"{type(error).__name__}: {error}"[:200]
