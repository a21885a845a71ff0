"""PostgreSQL and MariaDB on loopback with TLS, each in a folder of its own, and the worlds that read them."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.address import Address
from collector.api import Source
from collector.connect.base import Limits
from collector.connect.mariadb import MariaDb
from collector.connect.postgresql import PostgreSql
from collector.connect.retry import Retry
from collector.connect.sql import Sql, verified
from collector.connect.wire import LiveWire, ReplayWire, Wire
from collector.model import Task
from collector.secrets import Secret
from tests.host_tls_worlds import LIMITS, World
from tests.servers import Authority, free_port, program
from tests.worlds import MemoryLedger, Reading

PASSWORD = "only-for-these-tests"
DOCS = Path(__file__).parent.parent / "docs" / "databases.md"


def grants(kind: str) -> str:
    """The statements that docs/databases.md prints for an auditor, as they stand there."""
    block = DOCS.read_text("utf-8").partition(f"```sql\n-- {kind}\n")[2].partition("```")[0]
    assert "GRANT" in block, f"docs/databases.md has no grants for {kind}"
    return block.replace("'...'", f"'{PASSWORD}'")


@dataclass(frozen=True)
class Running:
    """A server that is up: where, and the roots its certificate leads to."""

    kind: str
    port: int
    roots: Path
    folder: Path

    def server(
        self,
        user: str = "auditor",
        password: str = PASSWORD,
        *,
        database: str = "orders",
        host: str = "localhost",
        roots: Path | None = None,
        tls: Any = ...,
    ) -> Any:
        """The account, as a connection asks in its name."""
        address, name = Address(host, self.port), f"{user} with file:password"
        tls = verified(roots or self.roots) if tls is ... else tls
        if self.kind == "postgresql":
            return PostgreSql(address, database, user, Secret(password), name=name, tls=tls)
        return MariaDb(address, user, Secret(password), name=name, tls=tls)

    def administer(self, *statements: str, database: str = "orders") -> None:
        """Run statements as the one who may do everything."""
        if self.kind == "postgresql":
            import pg8000.native

            with pg8000.native.Connection(
                "postgres", host="localhost", port=self.port, database=database, password=PASSWORD,
                ssl_context=verified(self.roots),
            ) as session:  # fmt: skip
                for statement in statements:
                    session.run(statement)
            return
        import pymysql

        socket_file = str(self.folder / "socket")
        with pymysql.connect(unix_socket=socket_file, user="root", password=PASSWORD, autocommit=True) as session:
            for statement in statements:
                with session.cursor() as cursor:
                    cursor.execute(statement)


    @contextmanager
    def session(self) -> Iterator[int]:
        """A session of the superuser in ``orders`` that stays open; gives its number."""
        import pg8000.native

        with pg8000.native.Connection(
            "postgres", host="localhost", port=self.port, database="orders", password=PASSWORD,
            ssl_context=verified(self.roots),
        ) as held:  # fmt: skip
            yield held.run("SELECT pg_backend_pid()")[0][0]


class SqlWorld(World):
    """A running server that sources ask as an auditor; ``faults`` answer in its place, by words of the statement."""

    def __init__(self, running: Running, folder: Path, limits: Limits = LIMITS, **account: str) -> None:
        super().__init__(folder, limits)
        self.kind = running.kind
        self.running = running
        self.faults: dict[str, Any] = {}
        self.asked: list[str] = []
        self._sources: dict[str, Source] = {}
        self._real = running.server(**account)
        self.name, self.endpoint = self._real.name, self._real.endpoint
        self._pool = ThreadPoolExecutor(4)

    def read(self, dataset: str) -> Reading:
        """Run the source of ``dataset``."""
        return self.read_source(_library().sources[dataset])

    def read_source(self, source: Source) -> Reading:
        """Run a source, perhaps one that a test made."""
        self._sources[source.id] = source
        ledger = MemoryLedger()
        wire = LiveWire(Task(source.id, self.kind), ledger, source.redactions)
        return self._read(source, wire, Retry(attempts=self.attempts, base_s=0.001, cap_s=0.01), ledger)

    def replay(self, reading: Reading) -> Reading:
        """Run the same source again from what was recorded."""
        task = reading.shard.task
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        again = self._read(self._sources[task.dataset], wire, Retry(self.attempts, waits=False), reading.ledger)
        again.unused = wire.unused()
        return again

    def ask(self, sql: str, params: Any, limits: Limits) -> Any:
        """The server's answer, or that of a fault."""
        self.asked.append(sql)
        for words, fault in self.faults.items():
            if words in sql and (answer := fault() if callable(fault) else fault):
                return answer
        return self._real.ask(sql, params, limits)

    def connect(self, wire: Wire, retry: Retry) -> Sql:
        wire.permissions = frozenset(self._sources[wire.task.dataset].permissions)
        server = self if wire.live else None
        return Sql(wire, self.kind, server, retry=retry, limits=self.limits, pool=self._pool if wire.live else None)


@cache
def _library() -> plugins.Library:
    return plugins.load()


@cache
def _authority() -> Authority:
    return Authority()


def _certificate(folder: Path, owner: str) -> Path:
    """Certificate and key of ``localhost`` in the folder; the file of the roots."""
    authority = _authority()
    leaf = authority.leaf("localhost")
    (folder / "server.crt").write_bytes(leaf.pem + authority.intermediate.pem)
    (folder / "server.key").write_bytes(leaf.key_pem)
    (folder / "roots.pem").write_bytes(authority.root.pem)
    (folder / "server.key").chmod(0o600)
    for name in ("server.crt", "server.key"):
        _give(folder / name, owner)
    return folder / "roots.pem"


def _give(path: Path, owner: str) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, owner, pwd.getpwnam(owner).pw_gid)


def _as(owner: str) -> dict[str, Any]:
    """How a process runs as the user a server insists on, when we are root."""
    if os.geteuid() != 0:
        return {}
    group = pwd.getpwnam(owner).pw_gid
    return {"user": owner, "group": group, "extra_groups": [group]}


def _run(owner: str, *argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=120, **_as(owner))
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"


@contextmanager
def _folder(owner: str) -> Iterator[Path]:
    """A short path, since sockets have names of about a hundred bytes, that the owner may enter."""
    with tempfile.TemporaryDirectory(prefix="db-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _give(folder, owner)
        yield folder


def _up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        if process.poll() is not None:
            raise AssertionError(f"the server ended at once: {log.read_text('utf-8')[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}: {log.read_text('utf-8')[-2000:]}")


def _postgres(name: str) -> str:
    """A program of PostgreSQL; Debian keeps them outside the search path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return str(folders[-1] / name) if folders else program(name, "postgresql")


@contextmanager
def postgresql() -> Iterator[Running]:
    """PostgreSQL with TLS and SCRAM, an empty database ``orders``, and the auditor of the docs."""
    initdb = _postgres("initdb")
    with _folder("postgres") as folder:
        data, port, log = folder / "data", free_port(), folder / "log"
        secret = folder / "password"
        secret.write_text(PASSWORD)
        _give(secret, "postgres")
        _run("postgres", initdb, "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", "--no-sync", "-k",
             "-E", "UTF8", "--locale=C", f"--pwfile={secret}")  # fmt: skip
        roots = _certificate(folder, "postgres")
        settings = {
            "listen_addresses": "127.0.0.1", "port": port, "ssl": "on", "ssl_cert_file": folder / "server.crt",
            "ssl_key_file": folder / "server.key", "unix_socket_directories": folder, "fsync": "off",
            "TimeZone": "Asia/Kolkata", "archive_mode": "on", "archive_command": "true", "log_connections": "on",
        }  # fmt: skip
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [_postgres("postgres"), "-D", str(data), *options], stdout=out, stderr=out, cwd="/", **_as("postgres")
            )
        try:
            _up(port, process, log)
            running = Running("postgresql", port, roots, folder)
            _ready(running)
            running.administer("CREATE DATABASE orders", database="postgres")
            running.administer(*_statements(grants("PostgreSQL")))
            yield running
        finally:
            process.send_signal(signal.SIGINT)  # waits for no session
            process.wait(20)


@contextmanager
def mariadb() -> Iterator[Running]:
    """MariaDB with TLS and the auditor of the docs."""
    install, server = program("mariadb-install-db", "mariadb-server"), program("mariadbd", "mariadb-server")
    with _folder("mysql") as folder:
        data, port, log = folder / "data", free_port(), folder / "log"
        _run("mysql", install, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--innodb-log-file-size=8M",
             "--auth-root-authentication-method=normal")  # fmt: skip
        roots = _certificate(folder, "mysql")
        keys = folder / "keys"
        keys.write_text(f"1;{'a1' * 32}\n")
        _give(keys, "mysql")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [server, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
                 f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", f"--ssl-cert={folder / 'server.crt'}",
                 f"--ssl-key={folder / 'server.key'}", "--default-time-zone=+05:30", "--innodb-log-file-size=8M",
                 "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--skip-log-bin",
                 "--plugin-load-add=server_audit;auth_ed25519;file_key_management",
                 f"--file-key-management-filename={keys}",
                 "--server-audit-logging=ON", f"--server-audit-file-path={folder / 'audit'}"],
                stdout=out, stderr=out, cwd="/", **_as("mysql"),
            )  # fmt: skip
        try:
            _up(port, process, log)
            running = Running("mariadb", port, roots, folder)
            import pymysql

            with pymysql.connect(unix_socket=str(folder / "socket"), user="root") as session:
                session.query(f"ALTER USER root@localhost IDENTIFIED BY '{PASSWORD}'")
            running.administer(*_statements(grants("MariaDB")))
            yield running
        finally:
            process.terminate()
            process.wait(20)


def _statements(text: str) -> list[str]:
    lines = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return [statement.strip() for statement in lines.split(";") if statement.strip()]


def _ready(running: Running) -> None:
    """PostgreSQL listens a moment before it takes sessions."""
    import pg8000.exceptions

    for _ in range(100):
        try:
            running.administer("SELECT 1", database="postgres")
        except pg8000.exceptions.DatabaseError as error:
            if error.args[0].get("C") != "57P03":
                raise
            time.sleep(0.05)
        else:
            return


_STARTED = ExitStack()


@cache
def started(kind: str) -> Running:
    """The one server of that kind; it runs until the tests end, in whichever modules they are."""
    running = _STARTED.enter_context({"postgresql": postgresql, "mariadb": mariadb}[kind]())
    atexit.register(_STARTED.close)  # after the folder's own, so that it comes before
    return running


@pytest.fixture
def postgresql_server() -> Running:
    """PostgreSQL, up."""
    return started("postgresql")


@pytest.fixture
def mariadb_server() -> Running:
    """MariaDB, up."""
    return started("mariadb")
