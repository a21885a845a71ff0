"""Real directories on loopback: OpenLDAP's slapd, and a domain controller of Samba's Active Directory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.api import Source
from collector.connect.base import Limits
from collector.connect.ldap import Directory, Ldap
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire
from collector.fetch import fetch
from collector.model import Task
from collector.secrets import Secret
from tests.servers import Authority, free_port, program
from tests.worlds import LIMITS, MemoryLedger, Reading

PASSWORD = "correct horse battery staple"


class LdapWorld:
    """A directory; ``read`` runs a source of ours against it, ``replay`` runs it again from what was recorded."""

    kind = "ldap"
    base = "dc=acme,dc=example"
    bind_dn = "cn=auditor,dc=acme,dc=example"

    def __init__(self, tmp: Path) -> None:
        self.url = ""
        self.start_tls = False
        self.roots: Path | None = None
        self.password = PASSWORD
        self.timeout_s = 10.0
        self._tmp = tmp
        self._pool = ThreadPoolExecutor(4)
        self._runs = 0

    def directory(self, **other: Any) -> Directory:
        given = {
            "bind_dn": self.bind_dn, "password": Secret(self.password), "start_tls": self.start_tls,
            "roots": self.roots, "timeout_s": self.timeout_s,
        }  # fmt: skip
        return Directory(other.pop("url", self.url), **{**given, **other})

    def read(self, dataset: str, **options: Any) -> Reading:
        """Run the source of ``dataset`` against the directory."""
        return self.read_source(plugins.load().sources[dataset], **options)

    def read_source(
        self, source: Source, *, limits: Limits = LIMITS, attempts: int = 2, directory: Directory | None = None
    ) -> Reading:
        ledger = MemoryLedger()
        wire = LiveWire(Task(source.id, self.kind), ledger, source.redactions)
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.01)
        server = directory or self.directory()
        connection = Ldap(wire, self.kind, self.base, server, retry=retry, limits=limits, pool=self._pool)
        self._runs += 1
        return Reading(fetch(wire.task, source, connection, self._tmp / f"{self._runs}.live"), ledger)

    def replay(
        self, reading: Reading, source: Source | None = None, *, limits: Limits = LIMITS, attempts: int = 2
    ) -> Reading:
        """Run the same source again from what was recorded, with nothing to connect to."""
        task = reading.shard.task
        source = source or plugins.load().sources[task.dataset]
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        retry = Retry(attempts=attempts, waits=False)
        connection = Ldap(wire, self.kind, self.base, None, retry=retry, limits=limits)
        self._runs += 1
        again = fetch(task, source, connection, self._tmp / f"{self._runs}.replay")
        return Reading(again, reading.ledger, wire.unused())


def same(world: LdapWorld, reading: Reading, source: Source | None = None, **options: Any) -> None:
    """The replay comes to the same rows and the same population from all replies."""
    again = world.replay(reading, source, **options)
    assert reading.shard.path is not None
    assert again.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert (again.shard.population, again.unused) == (reading.shard.population, [])


SUDO = "".join(
    f"attributetype ( 1.3.6.1.4.1.15953.9.1.{number} NAME '{name}' EQUALITY caseExactMatch\n"
    "  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
    for number, name in ((1, "sudoUser"), (3, "sudoCommand"), (5, "sudoOption"))
) + (
    "objectclass ( 1.3.6.1.4.1.15953.9.2.1 NAME 'sudoRole' SUP top STRUCTURAL MUST cn\n"
    "  MAY ( sudoUser $ sudoCommand $ sudoOption ) )\n"
)
"""The part of sudo's schema that is read."""


class Slapd(LdapWorld):
    """OpenLDAP with the overlays ppolicy and lastbind, StartTLS and ldaps under an authority of its own."""

    suffix = LdapWorld.base

    def __init__(self, folder: Path, tmp: Path) -> None:
        super().__init__(tmp)
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.rules = "access to attrs=userPassword by * auth\naccess to * by * read\n"
        """Who may see what."""
        self.options = ""
        """Further settings of the database."""
        self.refusals = ""
        """Further settings of the server."""
        self._process: subprocess.Popen[bytes] | None = None
        authority = Authority()
        leaf = authority.leaf("localhost")
        (folder / "server.pem").write_bytes(leaf.pem + authority.intermediate.pem)
        (folder / "server.key").write_bytes(leaf.key_pem)
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(authority.root.pem)
        other = Authority()
        self.strangers = folder / "strangers.pem"
        self.strangers.write_bytes(other.root.pem)
        self.url = f"ldap://localhost:{self.port}"
        self.start_tls = True

    @property
    def secure_url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    def load(self, ldif: str) -> None:
        """Fill the directory, emptied before; it is stopped for that."""
        self.stop()
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        self._configure()
        tool = [program("slapd", "slapd"), "-T", "add", "-f", str(self.folder / "slapd.conf")]
        done = subprocess.run(tool, input=ldif.encode(), capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    def _configure(self) -> None:
        schemas = "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in ("core", "cosine", "inetorgperson"))
        (self.folder / "slapd.conf").write_text(
            f"{schemas}include /etc/ldap/schema/nis.schema\n{SUDO}"
            "modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload ppolicy\nmoduleload lastbind\n"
            f"pidfile {self.folder}/slapd.pid\nargsfile {self.folder}/slapd.args\n"
            f"{self.refusals}TLSCertificateFile {self.folder}/server.pem\n"
            f"TLSCertificateKeyFile {self.folder}/server.key\n"
            f"database mdb\nsuffix {self.suffix}\nrootdn cn=root,{self.suffix}\nrootpw \"{PASSWORD}\"\n"
            f"directory {self.folder}/data\nmaxsize 67108864\nindex objectClass eq\n"
            f"overlay ppolicy\nppolicy_default cn=default,ou=policies,{self.suffix}\noverlay lastbind\n"
            f"{self.options}\n{self.rules}"
        )

    def start(self) -> None:
        self.stop()
        self._configure()
        binary = program("slapd", "slapd")
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        log = (self.folder / "slapd.log").open("ab")
        self._process = subprocess.Popen(
            [binary, "-d", "0", "-f", str(self.folder / "slapd.conf"), "-h", urls], stdout=log, stderr=log
        )
        for port in (self.port, self.tls_port):
            _wait(port, self._process, self.folder / "slapd.log")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def modify(self, ldif: str) -> None:
        """Change it as its administrator."""
        tool = program("ldapmodify", "ldap-utils")
        url, root = f"ldap://127.0.0.1:{self.port}", f"cn=root,{self.suffix}"
        command = [tool, "-x", "-c", "-H", url, "-D", root, "-w", PASSWORD]
        done = subprocess.run(command, input=ldif.encode(), capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()

    def sign_in(self, dn: str, password: str) -> bool:
        """Whether a name and a password are let in."""
        tool = program("ldapwhoami", "ldap-utils")
        command = [tool, "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", dn, "-w", password]
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def _wait(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 20) -> None:
    for _ in range(int(seconds * 20)):
        assert process.poll() is None, f"the server ended at once: {log.read_text(errors='replace')[-2000:]}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


SEED = """
import json, sys
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB
settings = LoadParm()
settings.load(sys.argv[1])
db = SamDB(url=settings.private_path("sam.ldb"), session_info=system_session(settings), lp=settings)
told = json.load(sys.stdin)
for block in told["add"]:
    db.add_ldif(block, controls=["relax:0"])
for name, password in told["passwords"].items():
    db.setpassword(f"(sAMAccountName={name})", password)
for block in told["modify"]:
    db.modify_ldif(block, controls=["relax:0"])
"""
"""Fills a domain that is not running; for the Python that Samba comes with."""


class Domain(LdapWorld):
    """A domain controller of Samba on the fixed ports of loopback: there is one on a machine, and root starts it."""

    kind = "active-directory"
    base = "DC=corp,DC=example"
    bind_dn = "auditor@corp.example"
    administrator = "administrator@corp.example"

    def __init__(self, folder: Path, tmp: Path) -> None:
        super().__init__(tmp)
        self.folder = folder
        self.url = "ldaps://localhost"
        self.roots = folder / "roots.pem"
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "etc" / "smb.conf"

    def provision(self) -> None:
        """Make the domain; it takes 6 to 20 seconds."""
        tool = program("samba-tool", "samba")
        program("samba", "samba-ad-dc")
        if os.geteuid() != 0 or not _free(389) or not _free(636):
            _give_up("Samba needs root, and the ports 389 and 636")
        command = [
            tool, "domain", "provision", f"--targetdir={self.folder}", "--realm=CORP.EXAMPLE", "--domain=CORP",
            "--server-role=dc", f"--adminpass={self.password}", "--dns-backend=NONE", "--host-name=dc1",
            "--host-ip=127.0.0.1", "--option=interfaces=lo", "--option=bind interfaces only=yes",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=300)
        if done.returncode != 0:
            _give_up(f"samba-tool made no domain (packages samba-ad-provision, winbind): {done.stderr.decode()[-300:]}")
        authority = Authority()
        leaf = authority.leaf("localhost")
        (self.folder / "server.pem").write_bytes(leaf.pem + authority.intermediate.pem)
        key = self.folder / "server.key"
        key.touch(mode=0o600)
        key.write_bytes(leaf.key_pem)
        (self.folder / "roots.pem").write_bytes(authority.root.pem)
        lines = [line for line in self._config.read_text().splitlines() if "server services" not in line]
        at = lines.index("[global]") + 1
        lines[at:at] = [
            "server services = rpc, ldap, cldap, kdc", f"log file = {self.folder}/log.%m",
            f"tls certfile = {self.folder}/server.pem", f"tls keyfile = {key}", f"tls cafile = {self.roots}",
        ]  # fmt: skip
        self._config.write_text("\n".join(line for line in lines if "/var/log/samba" not in line) + "\n")

    def seed(self, add: str, passwords: dict[str, str], modify: str) -> None:
        """Put entries into it; it must not be running."""
        told = {
            "add": [f"{block}\n" for block in add.strip().split("\n\n")],
            "passwords": passwords,
            "modify": [f"{block}\n" for block in modify.strip().split("\n\n")],
        }
        command = ["/usr/bin/python3", "-c", SEED, str(self._config)]
        done = subprocess.run(command, input=json.dumps(told).encode(), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    def start(self) -> None:
        binary = program("samba", "samba-ad-dc")
        log = self.folder / "samba.log"
        command = [binary, "-F", "-M", "single", "--no-process-group", "-s", str(self._config)]
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        for port in (389, 636):
            _wait(port, self._process, log, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _give_up(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
