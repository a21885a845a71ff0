"""What was recorded of every kind of system, once, to be read again with faults.

The worlds of HTTP, registers and a made-up machine are asked here and now. What real servers said (slapd, Samba's
domain controller, PostgreSQL, MariaDB, nginx) stands in ``tests/fault_recordings``: starting all of them takes a
minute. ``python -m tests.fault_worlds`` asks them anew, after a source asks something else of them.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.api import Check
from collector.connect import ldap as ldap_module
from collector.connect.base import Connection, Limits
from collector.connect.retry import Retry
from collector.connect.wire import ReplayWire, Wire, request_key
from collector.fetch import fetch
from collector.judge import Bench, judge
from collector.model import Finding, Shard, Task, instant, record
from collector.reconcile import reconcile
from tests.http_world import HttpWorld
from tests.worlds import LIMITS, Reading

LIBRARY = plugins.load()
STORED = Path(__file__).parent / "fault_recordings"
WRITTEN = instant("2026-06-01T00:00:00Z")
"""The day that most made-up organisations were written for."""

Line = Mapping[str, Any]
Key = tuple[str, str, str]
RETRY = Retry(attempts=2, waits=False)


@dataclass
class World:
    """What was recorded of one kind of system."""

    kind: str
    as_of: datetime
    connect: Callable[[Task, Wire, Limits], Connection]
    lines: dict[Task, list[Line]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        """Take in one reading; line numbers are unique over all worlds, since findings cite them."""
        first = next_number()
        lines: list[Line] = [{**line, "i": first + n} for n, line in enumerate(reading.ledger.lines)]
        next_number(len(lines))
        self.lines[reading.shard.task] = lines
        self.bodies |= reading.ledger.objects

    def body(self, line: Line) -> bytes:
        """The body of a reply."""
        return self.bodies[line["sha256"]] if line["sha256"] else b""


_NUMBERS = [1_000_000]


def next_number(used: int = 0) -> int:
    """The first line number that no world has."""
    _NUMBERS[0] += used
    return _NUMBERS[0]


@dataclass
class Estate:
    """All worlds, and what is concluded from them as they stand."""

    worlds: Sequence[World]
    tmp: Path
    checks: Sequence[Check]
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shards: dict[Task, Shard] = field(default_factory=dict)
    findings: dict[Key, Finding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.of = {task: world for world in self.worlds for task in world.lines}
        self._as_of = {world.kind: world.as_of for world in self.worlds}
        self.shards = {task: self.read(task, self.lines(task), f"{n}.rows") for n, task in enumerate(self.of)}
        self.findings = {key(one): one for one in self.conclude(self.checks, self.shards.values())}

    def lines(self, task: Task) -> list[Line]:
        """What was recorded of a task."""
        return self.of[task].lines[task]

    def read(
        self, task: Task, lines: Sequence[Line], name: str = "altered.rows", limits: Limits = LIMITS,
        wire: type[ReplayWire] = ReplayWire,
    ) -> Shard:  # fmt: skip
        """Run the source of a task against these lines."""
        world, source = self.of[task], LIBRARY.sources[task.dataset]
        replay = wire(task, lines, world.bodies.__getitem__)
        replay.permissions = frozenset(source.permissions)
        return fetch(task, source, world.connect(task, replay, limits), self.tmp / name)

    def conclude(self, checks: Iterable[Check], shards: Iterable[Shard]) -> list[Finding]:
        """What the checks say, those that hold evidence against evidence first; each kind at its own time."""
        marked, found = list(shards), []
        by_time: dict[datetime, list[Check]] = {}
        for check in checks:
            by_time.setdefault(self._as_of[check.datasets[0].partition(".")[0]], []).append(check)
        for as_of, group in by_time.items():
            marked, about = reconcile(group, marked, Bench(as_of, self.parameters))
            found += about
        for as_of, group in by_time.items():
            found += judge([one for one in group if not one.reconciles], marked, Bench(as_of, self.parameters))
        return found

    def bearing(self, *datasets: str) -> tuple[list[Check], set[str]]:
        """The checks that ask for one of the datasets or reconcile what they ask for, and all they need."""
        checks = [check for check in self.checks if set(datasets) & set(check.datasets)]
        needed = {*datasets, *(dataset for check in checks for dataset in check.datasets)}
        checks += [check for check in self.checks if needed & set(check.reconciles) and check not in checks]
        return checks, needed | {dataset for check in checks for dataset in check.datasets}

    def with_instead(self, shard: Shard) -> tuple[list[Check], list[Finding]]:
        """The checks a task bears on, and what they say with this shard in its place."""
        checks, needed = self.bearing(shard.task.dataset)
        shards = [shard if task == shard.task else self.shards[task] for task in self.shards if task.dataset in needed]
        return checks, self.conclude(checks, shards)


def key(finding: Finding) -> Key:
    """What a finding is about."""
    return finding.check, finding.resource, finding.scope


def request_of(line: Line) -> str:
    """What makes two requests the same request."""
    return request_key(line["op"], line["params"], line["region"], line["tokenIn"])


# ------------------------------------------------------------------------------------------------ asked here and now


def _http(kind: str, world: type[HttpWorld], furnish: Callable[[Any], None], datasets: Iterable[str]) -> World:
    from collector.connect.http import Http, Site
    from collector.connect.kubernetes import Kubernetes, recorded_site

    with tempfile.TemporaryDirectory() as folder:
        live = world(Path(folder))
        try:
            furnish(live)
            vars(live)["contract"] = None  # the kind's own tests hold the replies against the description
            site = Site(kind, live.origin)

            def connect(task: Task, wire: Wire, limits: Limits) -> Connection:
                if kind == "kubernetes":
                    return Kubernetes(wire, recorded_site(), retry=RETRY, limits=limits)
                return Http(wire, site, retry=RETRY, limits=limits)

            dated = kind in ("entra", "github", "gitlab")  # their files are as old as on the day they were written
            made = World(kind, datetime.now(UTC) if dated else WRITTEN, connect)
            for dataset in datasets:
                made.add(live.read(dataset))
            return made
        finally:
            live.stop()


def _okta() -> World:
    from tests.checks.okta.test_okta import KEYS, furnish
    from tests.http_world import OktaWorld

    return _http("okta", OktaWorld, furnish, KEYS)


def _entra() -> World:
    from tests.checks.entra.test_entra import KEYS, furnish
    from tests.entra_world import EntraWorld

    return _http("entra", EntraWorld, furnish, KEYS)


def _google() -> World:
    from tests.checks.google_workspace.test_google_workspace import KEYS, furnish
    from tests.google_world import GoogleWorld

    return _http("google-workspace", GoogleWorld, furnish, KEYS)


def _keycloak() -> World:
    from tests.checks.keycloak.test_keycloak import KEYS, furnish
    from tests.keycloak_world import KeycloakWorld

    return _http("keycloak", KeycloakWorld, furnish, KEYS)


def _github() -> World:
    from tests.checks.github.test_github import KEYS, furnish
    from tests.github_world import GitHubWorld

    return _http("github", GitHubWorld, furnish, KEYS)


def _gitlab() -> World:
    from tests.checks.gitlab.test_gitlab import KEYS, furnish
    from tests.gitlab_world import GitLabWorld

    return _http("gitlab", GitLabWorld, furnish, KEYS)


def _jira() -> World:
    from tests.checks.jira.test_jira import KEYS, furnish
    from tests.jira_world import JiraWorld

    return _http("jira", JiraWorld, furnish, KEYS)


def _kubernetes() -> World:
    from tests.checks.kubernetes.test_kubernetes import KEYS, furnish
    from tests.kubernetes_world import KubernetesWorld

    return _http("kubernetes", KubernetesWorld, furnish, KEYS)


def _register() -> World:
    from collector.connect.register import Register
    from tests.checks.register.test_register import KEYS, furnish
    from tests.register_world import RegisterWorld

    made = World("register", WRITTEN, lambda task, wire, limits: Register(wire, None, retry=RETRY, limits=limits))
    with tempfile.TemporaryDirectory() as folder:
        live = RegisterWorld(Path(folder))
        furnish(live)
        for dataset in KEYS:
            made.add(live.read(dataset))
    return made


SUDOERS = {
    "Defaults": [{"Options": [{"env_reset": True}]}],
    "User_Specs": [
        {
            "User_List": [{"usergroup": "sudo"}],
            "Host_List": [{"hostname": "ALL"}],
            "Cmnd_Specs": [{"runasusers": [{"username": "ALL"}], "Commands": [{"command": "ALL"}]}],
        }
    ],
}
HOST_FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n",
    "/etc/shadow": "root:*:20228:0:99999:7:::\nann:$y$j9T$abcdefgh$0123456789:20228:0:90:7:::\n",
    "/etc/sudoers": "",
    "/etc/apt/sources.list": "",
    "/var/lib/apt/lists/x_debian-security_dists_stable-security_InRelease": (
        "Origin: Debian\nLabel: Debian-Security\nDate: Sun, 31 May 2026 00:12:41 UTC\n"
    ),
    "/proc/sys/kernel/randomize_va_space": "2\n",
    "/proc/sys/net/ipv4/tcp_syncookies": "1\n",
    "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n",
    "/etc/ssh/sshd_config.d/a.conf": "Match Address 192.0.2.0/24\nPermitRootLogin no\nPasswordAuthentication no\n",
    "/usr/lib/systemd/journald.conf.d/10.conf": "[Journal]\nStorage=persistent\n",
    "/etc/rsyslog.d/50-forward.conf": "*.* @@logs.example.org:6514\n",
    "/var/log/syslog": "",
}
HOST_PROGRAMS = {
    "chronyc": (
        "Reference ID    : C0000201 (192.0.2.1)\nRef time (UTC)  : Sun May 31 00:00:00 2026\n"
        "System time     : 0.001 seconds slow of NTP time\nLeap status     : Normal\n"
    ),
    "apt-get": "Inst bash [1] (2 Debian:12/stable [amd64])\n",
    "sshd": (
        "permitrootlogin no\npasswordauthentication no\nkbdinteractiveauthentication no\n"
        "ciphers chacha20-poly1305@openssh.com\nmacs hmac-sha2-512\nkexalgorithms curve25519-sha256\n"
    ),
    "ss": 'tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=612,fd=3))\n',
    "auditctl": "enabled 1\npid 5\n",
    "systemctl": "".join(f"{name}.service loaded active running x\n" for name in ("systemd-journald", "rsyslog")),
    "cvtsudoers": json.dumps(SUDOERS),
}


def _host() -> World:
    from collector.connect.host import Host
    from tests.host_tls_worlds import HostWorld

    made = World("host", WRITTEN, lambda task, wire, limits: Host(wire, retry=RETRY, limits=limits))
    with tempfile.TemporaryDirectory() as folder:
        live = HostWorld(Path(folder))
        for path, text in HOST_FILES.items():
            live.file(path, text)
        for name, output in HOST_PROGRAMS.items():
            live.program(name, output)
        for dataset in sorted(name for name in LIBRARY.sources if name.startswith("host.")):
            made.add(live.read(dataset))
    return made


# ------------------------------------------------------------------------------------------- what real servers said

BASES = {"ldap": "dc=acme,dc=example", "active-directory": "DC=corp,DC=example"}
PAGE = 2
"""Entries of a page in the recordings of directories, so that lists have several."""


@contextmanager
def small_pages() -> Iterator[None]:
    """Directories are asked for pages of :data:`PAGE` entries, as in the recordings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ldap_module, "PAGE_SIZE", PAGE)
        yield


def _connect_stored(kind: str) -> Callable[[Task, Wire, Limits], Connection]:
    def connect(task: Task, wire: Wire, limits: Limits) -> Connection:
        if kind in BASES:
            from collector.connect.ldap import Ldap

            return Ldap(wire, kind, BASES[kind], None, retry=RETRY, limits=limits)
        if kind == "tls":
            from collector.connect.tls import Tls

            return Tls(wire, (), None, retry=RETRY, limits=limits)
        from collector.connect.sql import Sql

        return Sql(wire, kind, None, retry=RETRY, limits=limits)

    return connect


def _stored(kind: str) -> World:
    told = json.loads((STORED / f"{kind}.json").read_text("utf8"))
    made = World(kind, instant(told["as_of"]), _connect_stored(kind))
    for dataset, recorded in told["tasks"].items():
        task, first = Task(dataset, kind), next_number()
        made.lines[task] = []
        for line in recorded:
            name = None if "body" not in line else f"{kind}-{first + len(made.lines[task])}"
            if name:
                held = line["body"]
                made.bodies[name] = held.encode() if isinstance(held, str) else base64.b64decode(held["base64"])
            number = first + len(made.lines[task])
            made.lines[task].append({**line, "sha256": name, "i": number, "task": task.id})
        next_number(len(recorded))
    return made


KEPT = ("op", "params", "region", "tokenIn", "tokenOut", "status", "headers", "media", "endpoint", "failure", "detail")
"""What of a line a replay needs."""


def store(kind: str, as_of: str, readings: Iterable[Reading]) -> None:
    """Write what a real server said, with the name of this machine taken out."""
    tasks: dict[str, list[dict[str, Any]]] = {}
    for reading in readings:
        assert reading.shard.population.proven, reading.shard.population
        lines = tasks.setdefault(reading.shard.task.dataset, [])
        for line in reading.ledger.lines:
            kept = {name: line[name] for name in KEPT if name in line}
            if line["sha256"]:
                body = reading.ledger.objects[line["sha256"]]
                try:
                    kept["body"] = body.decode("utf8")
                except UnicodeDecodeError:
                    kept["body"] = {"base64": base64.b64encode(body).decode()}
            lines.append(kept)
    text = json.dumps({"as_of": as_of, "tasks": tasks}, indent=1, ensure_ascii=False)
    here = rf"(?<![\w+/]){re.escape(socket.gethostname())}(?![\w+/=])"
    (STORED / f"{kind}.json").write_text(re.sub(here, "server.example.org", text) + "\n", "utf8")


def _store_ldap(folder: Path) -> None:
    from tests.checks.ldap.test_ldap import KEYS, furnish
    from tests.ldap_servers import Slapd

    world = Slapd(folder, folder)
    furnish(world)
    try:
        with small_pages():
            store("ldap", _now(), [world.read(dataset) for dataset in KEYS])
    finally:
        world.stop()


def _store_active_directory(folder: Path) -> None:
    from tests.checks.active_directory.test_active_directory import KEYS, furnish
    from tests.ldap_servers import Domain

    world = Domain(folder, folder)
    world.password = "Adm1n-Secret-0"
    world.provision()
    furnish(world)
    world.start()
    try:
        world.bind_dn = world.administrator
        with small_pages():
            store("active-directory", _now(), [world.read(dataset) for dataset in KEYS])
    finally:
        world.stop()


def _store_database(kind: str, folder: Path) -> None:
    from tests.database_servers import SqlWorld, mariadb, postgresql

    if kind == "postgresql":
        from tests.checks.postgresql.test_postgresql import KEYS, furnish

        server = postgresql()
    else:
        from tests.checks.mariadb.test_mariadb import KEYS, furnish

        server = mariadb()
    with server as running:
        world = SqlWorld(running, folder)
        furnish(world)
        store(kind, _now(), [world.read(dataset) for dataset in KEYS])


def _store_tls(folder: Path) -> None:
    from tests.checks.tls.test_endpoints import HSTS
    from tests.host_tls_worlds import TlsWorld
    from tests.servers import DAY, Authority, Site, nginx, ocsp_answer

    ca = Authority()
    leaf = ca.leaf("localhost", responder="http://ocsp.example.org", ends=90 * DAY)
    chain = (ca.intermediate,)
    sites = {
        "good": Site(leaf, chain, headers=HSTS, staple=ocsp_answer(leaf, ca.intermediate)),
        "plain": Site(ca.leaf("localhost", ends=90 * DAY), chain),
    }
    (folder / "roots.pem").write_bytes(ca.root.pem)
    with nginx(folder, sites):
        endpoints = [f"localhost:{site.port}" for site in sites.values()]
        store("tls", _now(), [TlsWorld(folder, endpoints, folder / "roots.pem").read("tls.endpoints")])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


SERVERS: dict[str, Callable[[Path], None]] = {
    "active-directory": _store_active_directory, "ldap": _store_ldap, "tls": _store_tls,
    "mariadb": lambda folder: _store_database("mariadb", folder),
    "postgresql": lambda folder: _store_database("postgresql", folder),
}  # fmt: skip
LIVE: dict[str, Callable[[], World]] = {
    "okta": _okta, "entra": _entra, "google-workspace": _google, "keycloak": _keycloak, "github": _github,
    "gitlab": _gitlab, "jira": _jira, "kubernetes": _kubernetes, "register": _register, "host": _host,
}  # fmt: skip
KINDS = (*LIVE, *SERVERS)
"""Every kind but AWS, whose estate takes an emulator (see ``tests/test_estate.py``)."""


@functools.cache
def world_of(kind: str) -> World:
    """What was recorded of a kind, in this process once."""
    return LIVE[kind]() if kind in LIVE else _stored(kind)


def rows_of(shard: Shard) -> list[dict[str, Any]]:
    """The rows of a shard, as a check is given them."""
    assert shard.path is not None
    return [dict(record(json.loads(line)["row"])) for line in shard.path.read_bytes().splitlines()]


def main(kinds: Sequence[str]) -> None:
    """Ask the real servers anew."""
    os.environ["CI"] = "1"  # a server that is absent is an error
    for kind in kinds or SERVERS:
        with tempfile.TemporaryDirectory() as folder:
            SERVERS[kind](Path(folder))
        print(f"{STORED / kind}.json")


if __name__ == "__main__":
    main(sys.argv[1:])
