"""A small AWS account on loopback that can be slow, refuse and lie, and a folder to run the program in."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from collector import cli
from evidence_store.keys import create_key_file
from evidence_store.run import SealedRun
from evidence_store.store import Store
from evidence_store.verify import Verification, verify_store

ACCOUNT = "111122223333"
HOME, AWAY = "eu-central-1", "eu-west-1"
LOGS = ("--check", "aws.logs.*")
ALL = (*LOGS, "--check", "aws.iam.password-policy-*")

Fault = Callable[["Request"], tuple[int, str] | None]
"""Status and error code of the next reply to an operation; ``None`` answers it."""


@dataclass
class Request:
    """What was asked, and with which key."""

    operation: str
    region: str
    key: str
    params: dict[str, Any]


def _page(request: Request) -> int:
    """Number of the page that is asked for, from 0 on."""
    return int(request.params.get("nextToken", "t0")[1:])


@dataclass
class Cloud:
    """What the server answers: log groups in pages, a password policy, an identity, roles."""

    account: str = ACCOUNT
    pages: int = 2
    """Pages of log groups in each region, of two groups each."""
    retention: int | None = 400
    password_length: int = 16
    slow_s: float = 0.0
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    asked: threading.Condition = field(default_factory=threading.Condition)
    endpoint: str = ""

    def refuse(
        self, operation: str, code: str = "AccessDenied", status: int = 403, after: int = 0, page: int = 0
    ) -> None:
        """Refuse an operation, after some replies were given, and from this page of each list on.

        Regions are read at the same time: how far each comes in so many replies is open, in so many pages it is not.
        """
        left = [after]

        def fault(request: Request) -> tuple[int, str] | None:
            if _page(request) < page:
                return None
            left[0] -= 1
            return (status, code) if left[0] < 0 else None

        self.faults[operation] = fault

    def wait_for(self, count: int, timeout_s: float = 20) -> None:
        """Return when so many requests have arrived."""
        with self.asked:
            assert self.asked.wait_for(lambda: len(self.requests) >= count, timeout_s), f"{len(self.requests)} requests"

    def answer(self, request: Request) -> tuple[int, str, str]:
        """Status, media type and body."""
        with self.asked:
            self.requests.append(request)
            self.asked.notify_all()
        time.sleep(self.slow_s)
        fault = self.faults.get(request.operation)
        refused = fault(request) if fault else None
        if request.operation == "DescribeLogGroups":
            if refused:
                return refused[0], "application/x-amz-json-1.1", json.dumps({"__type": refused[1], "message": "no"})
            return 200, "application/x-amz-json-1.1", json.dumps(self._log_groups(request))
        if refused:
            error = f"<Error><Type>Sender</Type><Code>{refused[1]}</Code><Message>no</Message></Error>"
            return refused[0], "text/xml", f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"
        name = request.operation
        result = getattr(self, f"_{name}")(request)
        metadata = "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
        return 200, "text/xml", f"<{name}Response><{name}Result>{result}</{name}Result>{metadata}</{name}Response>"

    def _log_groups(self, request: Request) -> dict[str, Any]:
        page = _page(request)
        kept = {"retentionInDays": self.retention} if self.retention else {}
        groups = [
            {"logGroupName": f"/{request.region}/{page}/{n}", "creationTime": 1_700_000_000_000, **kept}
            for n in range(2)
        ]
        return {"logGroups": groups, **({"nextToken": f"t{page + 1}"} if page + 1 < self.pages else {})}

    def _GetCallerIdentity(self, request: Request) -> str:  # noqa: N802
        arn = f"arn:aws:iam::{self.account}:user/{request.key}"
        return f"<Arn>{arn}</Arn><UserId>{request.key}</UserId><Account>{self.account}</Account>"

    def _GetAccountPasswordPolicy(self, _: Request) -> str:  # noqa: N802
        asked = "".join(
            f"<Require{kind}>true</Require{kind}>"
            for kind in ("UppercaseCharacters", "LowercaseCharacters", "Numbers", "Symbols")
        )
        return (
            f"<PasswordPolicy><MinimumPasswordLength>{self.password_length}</MinimumPasswordLength>{asked}"
            "<PasswordReusePrevention>24</PasswordReusePrevention></PasswordPolicy>"
        )

    def _AssumeRole(self, request: Request) -> str:  # noqa: N802
        return (
            "<Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-secret-7f3a</SecretAccessKey>"
            "<SessionToken>role-token-7f3a</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
            f"<AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId><Arn>{request.params['RoleArn']}</Arn></AssumedRoleUser>"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        params = json.loads(body) if target else {name: values[0] for name, values in parse_qs(body).items()}
        scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/", self.headers.get("Authorization", ""))
        assert scope
        cloud: Cloud = self.server.cloud  # type: ignore[attr-defined]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            status, media, text = cloud.answer(Request(target or params["Action"], scope[2], scope[1], params))
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("x-amzn-RequestId", "r-1")
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def cloud(**facts: Any) -> Iterator[Cloud]:
    """The server, while the context lasts; what it answers may be changed at any time."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.cloud = Cloud(endpoint=f"http://127.0.0.1:{server.server_port}", **facts)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.cloud  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


PASSPHRASE = b"a passphrase of this test only"
CONFIG = """\
version: 1
organisation: Test Ltd
store: {{path: store, origin: test.example.org/log}}
key: {{file: signing.key, passphrase: file:passphrase}}
mappings: [iso-27001]
connections:
  - name: cloud
    kind: aws
    regions: [eu-central-1, eu-west-1]
    endpoint_url: {endpoint}
    access_key_id: file:id
    secret_access_key: file:secret
{connection}
{more}
collection: {{attempts: {attempts}, timeout_s: 5, workers: 4}}
"""


@functools.cache
def _key() -> tuple[bytes, str]:
    """An encrypted key file and its fingerprint; made once, since scrypt is slow on purpose."""
    with tempfile.TemporaryDirectory() as name:
        fingerprint = create_key_file(Path(name) / "key", PASSPHRASE)
        return (Path(name) / "key").read_bytes(), fingerprint


@dataclass
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Office:
    """A folder with a configuration, a key and credentials, where commands are run."""

    def __init__(self, folder: Path, endpoint: str, *, connection: str = "", more: str = "", attempts: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "config.yaml"
        self.store = folder / "store"
        key, self.fingerprint = _key()
        for name, content in (
            ("signing.key", key),
            ("passphrase", PASSPHRASE),
            ("id", b"AKIATEST"),
            ("secret", b"sk-4d1f9e"),
        ):
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(content)
        self.config.write_text(CONFIG.format(endpoint=endpoint, connection=connection, more=more, attempts=attempts))

    def command(self, name: str, *options: str) -> list[str]:
        """Arguments of a command that reads the configuration."""
        return [name, "--config", str(self.config), *options]

    def run(self, *options: str) -> Said:
        """``affidavit run`` in this process."""
        return affidavit(*self.command("run", *options))

    def rerun(self, *options: str) -> Said:
        """``affidavit rerun`` in this process."""
        return affidavit("rerun", str(self.store), *options)

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        """A command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "collector", *self.command(name, *options)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(),
        )  # fmt: skip

    def verify(self) -> Verification:
        """What an auditor with the fingerprint sees."""
        return verify_store(self.store, key=self.fingerprint)

    def states(self) -> list[str]:
        """State of every run, oldest first."""
        with Store.open(self.store) as store:
            return [run.state for run in store.runs()]

    @contextlib.contextmanager
    def sealed(self, number: int | None = None) -> Iterator[SealedRun]:
        """A sealed run."""
        with Store.open(self.store) as store:
            yield store.run(number)

    def lines(self, kind: str, number: int | None = None) -> list[dict[str, Any]]:
        """Result lines of a kind."""
        with self.sealed(number) as run:
            return [line for line in run.results() if line["kind"] == kind]


def clean_environment() -> dict[str, str]:
    """The environment without anything an SDK would take credentials or places from."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def affidavit(*argv: str) -> Said:
    """A command in this process; signal handlers are as they were before."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(argv)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def two_lines(said: Said) -> bool:
    """True for an error as the program spells it: what is wrong, then the next step, and nothing on stdout."""
    return bool(re.fullmatch(r"error: [^\n]+\nnext:  [^\n]+\n", said.err)) and not said.out


def program(code: str, *argv: str, cwd: Path | None = None) -> Said:
    """A Python program in a process of its own."""
    argv = (sys.executable, "-c", code, *argv)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=cwd, env=clean_environment())
    return Said(done.returncode, done.stdout, done.stderr)


def files_of(folder: Path, within: Sequence[str] = ("",)) -> dict[str, bytes]:
    """Content of every file below the named parts of a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in within
        for path in sorted((folder / part).rglob("*"))
        if path.is_file()
    }


INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
