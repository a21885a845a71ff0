"""How this machine is read: made-up machines, real programs, and the machine of the tests as it is."""

from __future__ import annotations

import json
import os
import pickle
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector import plugins
from collector.connect.base import Limits
from collector.model import Finding, Outcome, Shard, Unavailable
from tests.host_tls_worlds import HostWorld, ThisMachine, findings, outcome
from tests.servers import program
from tests.worlds import Reading

DATASETS = sorted(dataset for dataset in plugins.load().sources if dataset.startswith("host."))
NOBODY = 65534


@pytest.fixture
def machine(tmp_path: Path) -> HostWorld:
    """A made-up machine with nothing but an empty /etc."""
    return HostWorld(tmp_path)


def same_again(machine: Any, reading: Reading) -> None:
    """The recording gives the same rows, from the same replies, and nothing is left over."""
    again = machine.replay(reading)
    assert again.shard.path is not None
    assert reading.shard.path is not None
    assert again.shard.path.read_bytes() == reading.shard.path.read_bytes()
    assert again.shard.population == reading.shard.population
    assert again.unused == []


CHRONY = (
    "Reference ID    : C0000201 (192.0.2.1)\nRef time (UTC)  : Sun May 31 00:00:00 2026\n"
    "System time     : 0.001 seconds slow of NTP time\nLeap status     : Normal\n"
)


def test_the_first_time_service_that_answers_is_asked(machine: HostWorld) -> None:
    machine.program("chronyc", output="506 Cannot talk to daemon\n", status=1)
    machine.program("timedatectl", script='[ "$1" = show ] && echo NTPSynchronized=yes || exit 1')
    reading = machine.read("host.time")
    assert reading.row("clock")["Program"] == "timedatectl show"
    assert outcome(reading, "host.time.synchronised")[0] == Outcome.PASS
    assert outcome(reading, "host.time.offset-small")[0] == Outcome.UNKNOWN
    same_again(machine, reading)
    machine.program("chronyc", CHRONY)
    assert outcome(machine.read("host.time"), "host.time.offset-small") == (
        Outcome.PASS,
        "the clock is off by -1.000 ms",
    )


def test_without_a_time_service_nothing_is_known_and_all_are_named(machine: HostWorld) -> None:
    machine.program("chronyc", "506 Cannot talk to daemon\n", status=1)
    machine.program("ntpq", status=1, error="ntpq: read: Connection refused")
    word, reason = outcome(machine.read("host.time"), "host.time.synchronised")
    assert word == Outcome.UNKNOWN
    assert "chronyc -n tracking ended with status 1: 506 Cannot talk to daemon; " in reason
    assert "there is no timedatectl on this machine" in reason
    assert "ntpq -c rv ended with status 1: ntpq: read: Connection refused" in reason


IN_RELEASE = "Origin: Debian\nLabel: Debian-Security\nDate: Fri, 20 Nov 2026 00:12:41 UTC\n"


def test_updates_are_read_with_the_age_of_their_lists(machine: HostWorld) -> None:
    machine.folder_of("/etc/apt")
    machine.file("/var/lib/apt/lists/x_debian-security_dists_stable-security_InRelease", IN_RELEASE)
    machine.file("/var/lib/apt/lists/x_debian_dists_stable_InRelease", "Date: Thu, 01 Jan 1970 00:00:00 UTC\n")
    machine.program("apt-get", "Inst bash [1] (2 Debian-Security:12/stable-security [amd64])\n")
    reading = machine.read("host.updates")
    assert [part["Date"] for part in reading.row("apt")["Lists"]] == ["2026-11-20T00:12:41Z"]
    assert outcome(reading, "host.updates.security-applied")[0] == Outcome.FAIL
    same_again(machine, reading)
    machine.program("apt-get", status=100, error="E: The value '/-security$/' is invalid for APT::Default-Release")
    assert (
        "is invalid for APT::Default-Release"
        in outcome(machine.read("host.updates"), "host.updates.security-applied")[1]
    )


def test_dnf_is_asked_from_its_cache(machine: HostWorld) -> None:
    machine.folder_of("/etc/dnf")
    metadata = '<repomd><revision>1780185600</revision><data type="updateinfo"/></repomd>'
    machine.file("/var/cache/dnf/baseos-0123456789abcdef/repodata/repomd.xml", metadata)
    machine.file("/var/cache/dnf/tempfiles.json", "{}")
    machine.program("dnf", "EXSA-2026:0001 Important/Sec. kernel-5.14.0-1.x86_64\n")
    reading = machine.read("host.updates")
    assert [part["Date"] for part in reading.row("dnf")["Lists"]] == ["2026-05-31T00:00:00Z"]
    assert "--cacheonly" in reading.ledger.lines[-1]["params"]["argv"]
    assert "kernel-5.14.0-1.x86_64" in outcome(reading, "host.updates.security-applied")[1]
    same_again(machine, reading)


def test_an_unknown_package_manager_is_unknown(machine: HostWorld) -> None:
    assert findings(machine.read("host.updates"))[0].outcome == Outcome.UNKNOWN


SSHD = (
    "permitrootlogin no\npasswordauthentication no\nchallengeresponseauthentication no\n"
    "ciphers a\nmacs b\nkexalgorithms c\n"
)


def test_match_blocks_are_followed_into_included_files(machine: HostWorld) -> None:
    machine.program("sshd", SSHD)
    machine.file(
        "/etc/ssh/sshd_config",
        "Include /etc/ssh/sshd_config.d/*.conf\n#PermitRootLogin yes\nMatch User backup\n"
        "  PermitRootLogin=forced-commands-only\nMatch Group web\n  Include extra/web\n",
    )
    machine.file("/etc/ssh/sshd_config.d/a.conf", "Match Address 192.0.2.0/24\nChallengeResponseAuthentication yes\n")
    machine.file("/etc/ssh/sshd_config.d/b.off", "Match all\nPermitRootLogin yes\n")
    machine.file("/etc/ssh/extra/web", 'PasswordAuthentication "yes"\n')
    reading = machine.read("host.sshd")
    blocks = [(block["Criteria"], dict(block["Settings"])) for block in reading.row("sshd")["Match"]]
    assert blocks == [
        ("Address 192.0.2.0/24", {"kbdinteractiveauthentication": "yes"}),
        ("User backup", {"permitrootlogin": "forced-commands-only"}),
        ("Group web", {"passwordauthentication": "yes"}),
    ]
    concluded = {finding.check: finding.outcome for finding in findings(reading)}
    assert concluded["host.sshd.no-root-login"] == concluded["host.sshd.no-password-login"] == Outcome.FAIL
    assert concluded["host.sshd.strong-ciphers"] == Outcome.PASS
    same_again(machine, reading)


def test_an_include_leads_to_the_crypto_policies_and_never_to_a_host_key(machine: HostWorld) -> None:
    machine.program("sshd", SSHD)
    policies = "/etc/crypto-policies/back-ends/opensshserver.config"
    machine.file(policies, "Match all\nCiphers 3des-cbc\n")
    machine.file("/etc/ssh/sshd_config", f"Include {policies}\n")
    assert machine.read("host.sshd").row("sshd")["Match"][0]["File"] == policies
    machine.file("/etc/ssh/ssh_host_rsa_key", "secret")
    machine.file("/etc/ssh/sub/a", "")
    for include in ("ssh_host_rsa_key", "sub/../ssh_host_rsa_*", "/etc/crypto-policies/back-ends/../../ssh/ssh_host_*"):
        machine.file("/etc/ssh/sshd_config", f"Include {include}\n")
        reading = machine.read("host.sshd")
        assert reading.shard.population.gap is not None
        assert str(reading.shard.population.gap.kind) == "undeclared"
        assert b"secret" not in reading.ledger.objects.values()
        same_again(machine, reading)


@pytest.mark.parametrize("include", ["Include /etc/ssh/*/x.conf", "Include sshd_config"])
def test_an_include_that_cannot_be_followed_is_a_gap(machine: HostWorld, include: str) -> None:
    machine.program("sshd", SSHD)
    machine.file("/etc/ssh/sshd_config", include)
    assert {finding.outcome for finding in findings(machine.read("host.sshd"))} == {Outcome.UNKNOWN}


def real_sshd(machine: HostWorld, lines: str) -> None:
    """The real server's own parser, with this configuration."""
    config = machine.file("/etc/ssh/sshd_config", lines)
    key = machine.folder / "host_key"
    if not key.exists():
        keygen = program("ssh-keygen", "openssh-client")
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    if os.geteuid() == 0:  # made by the service when it starts
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    machine.program("sshd", script=f'exec {program("sshd", "openssh-server")} "$@" -f {config} -h {key}')


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("PermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", "PASS PASS PASS"),
        ("PermitRootLogin prohibit-password\nCiphers aes128-cbc,aes256-ctr\n", "FAIL FAIL FAIL"),
        (
            "PermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "Match User root\nPermitRootLogin yes\nPasswordAuthentication yes\n",
            "FAIL FAIL PASS",
        ),
        ("NoSuchKeyword yes\n", "UNKNOWN UNKNOWN UNKNOWN"),
    ],
)
def test_what_the_real_sshd_says_of_its_settings(machine: HostWorld, lines: str, expected: str) -> None:
    real_sshd(machine, lines)
    reading = machine.read("host.sshd")
    concluded = {finding.check: str(finding.outcome) for finding in findings(reading)}
    order = ("host.sshd.no-root-login", "host.sshd.no-password-login", "host.sshd.strong-ciphers")
    assert [concluded[check] for check in order] == expected.split()
    same_again(machine, reading)


def test_sudoers_are_read_by_their_own_parser(machine: HostWorld) -> None:
    rules = (
        "Defaults env_reset\nCmnd_Alias EVERYTHING = ALL\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n"
        "ann ALL=(ALL) NOPASSWD: EVERYTHING\nci ALL=(root) NOPASSWD: /usr/bin/true\nDefaults:web !authenticate\n"
    )
    file = machine.file("/etc/sudoers", rules)
    file.chmod(0o440)
    # the real parser, at the place of the made-up file
    machine.program("cvtsudoers", script=f'exec {program("cvtsudoers", "sudo")} -c "" -e -f json {file}')
    reading = machine.read("host.sudoers")
    concluded = {finding.resource: str(finding.outcome) for finding in findings(reading)}
    assert concluded == {
        "Defaults 1": "SKIP", "Defaults 2": "FAIL",
        "rule 1": "SKIP", "rule 2": "PASS", "rule 3": "FAIL", "rule 4": "PASS",
    }  # fmt: skip
    same_again(machine, reading)


def test_a_machine_without_sudoers_has_no_rules(machine: HostWorld) -> None:
    reading = machine.read("host.sudoers")
    assert reading.shard.population.proven
    assert [finding.outcome for finding in findings(reading)] == [Outcome.SKIP]
    machine.file("/etc/sudoers", "")
    assert [finding.outcome for finding in findings(machine.read("host.sudoers"))] == [Outcome.UNKNOWN]


HASHES = (
    "$y$j9T$abcdefgh$0123456789",
    "$6$salt$HASHHASH",
    "$2b$12$abcdefghijklmnopqrstuv",
    "abJnggxhB/yWI",
    "_J9..rasmBYk8r9A",
)


@pytest.mark.parametrize("mark", ["", "!", "!!", "*"])
@pytest.mark.parametrize("secret", HASHES)
@pytest.mark.parametrize("rest", [":20228:0:99999:7:::", ":20228:0", "", ":0:0:Ann:/home/ann:/bin/sh"])
def test_no_hash_is_stored_or_shown(machine: HostWorld, secret: str, mark: str, rest: str) -> None:
    machine.file("/etc/passwd", f"root:x:0:0:root:/root:/bin/bash\nold:{mark}{secret}:7:7::/:\n")
    machine.file("/etc/shadow", f"root:*:20228:0:99999:7:::\nann:{mark}{secret}{rest}\n")
    reading = machine.read("host.accounts")
    told = json.dumps(reading.ledger.lines) + repr(reading.rows)
    stored = b"".join(reading.ledger.objects.values()) + told.encode()
    assert secret.encode() not in stored
    assert secret[4:].encode() not in stored


def test_accounts_keep_what_a_check_needs(machine: HostWorld) -> None:
    machine.file(
        "/etc/passwd",
        "root:x:0:0:Ruth Root:/root:/bin/bash\nann:x:1000:1000:Ann Example,,,:/home/ann:/bin/sh\nwww:*:33:33::/:\n"
        "guest:x:1001:1001::/:/bin/sh\n",
    )
    machine.file(
        "/etc/shadow",
        "root:!$y$secret:20228:0:99999:7:::\nann:$y$secret:20228:0:90:7:::\nwww:x:20228:0:99999:7:::\n"
        "guest::20228::::::\n",
    )
    reading = machine.read("host.accounts")
    assert {key: dict(reading.row(key)["shadow"])["sp_pwdp"] for key in ("root", "ann", "www", "guest")} == {
        "root": "!REDACTED", "ann": "REDACTED", "www": "x", "guest": "",
    }  # fmt: skip
    assert reading.row("ann")["shadow"]["sp_max"] == 90
    assert reading.row("ann")["pw_gecos"] == "REDACTED"
    assert {line["params"]["path"]: sum(r["count"] for r in line["redactions"]) for line in reading.ledger.lines} == {
        "/etc/shadow": 2, "/etc/passwd": 2,
    }  # fmt: skip
    concluded = {(f.check.rpartition(".")[2], f.resource): str(f.outcome) for f in findings(reading)}
    assert concluded[("no-empty-password", "guest")] == "FAIL"
    assert concluded[("password-ageing", "ann")] == "PASS"
    assert concluded[("password-ageing", "root")] == "SKIP"
    same_again(machine, reading)


@pytest.mark.parametrize("line", ["+::::::", "ann:x:1000", "ann:x:one:1000::/:", "ann:x::1000::/:"])
def test_a_line_that_is_no_account_makes_the_list_incomplete(machine: HostWorld, line: str) -> None:
    machine.file("/etc/shadow", "")
    machine.file("/etc/passwd", f"root:x:0:0:root:/root:/bin/bash\n{line}\n")
    assert {finding.outcome for finding in findings(machine.read("host.accounts"))} == {Outcome.UNKNOWN}


SS = (
    'tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=612,fd=3))\n'
    'tcp   LISTEN 0      128             [::]:22            [::]:*    users:(("sshd",pid=612,fd=4))\n'
    'tcp   LISTEN 0      511                *:80               *:*    users:(("nginx",pid=8,fd=6),("nginx",pid=7,fd=6))'
    "\n"
    "tcp   LISTEN 0      511                *:80               *:*\n"
    "udp   UNCONN 0      0      127.0.0.53%lo:53         0.0.0.0:*\n"
)


def test_sockets_are_listed_once_for_each_address(machine: HostWorld) -> None:
    machine.program("ss", SS)
    reading = machine.read("host.sockets")
    assert {finding.resource: str(finding.outcome) for finding in findings(reading)} == {
        "tcp 0.0.0.0:22": "PASS", "tcp [::]:22": "PASS", "tcp *:80": "FAIL", "udp 127.0.0.53%lo:53": "SKIP",
    }  # fmt: skip
    assert reading.row("tcp *:80")["Processes"] == ["nginx"]
    same_again(machine, reading)
    machine.program("ss", "Netid State  Recv-Q\n")
    assert {finding.outcome for finding in findings(machine.read("host.sockets"))} == {Outcome.UNKNOWN}


def test_logging_is_read_with_its_drop_ins(machine: HostWorld) -> None:
    machine.program("auditctl", "enabled 1\npid 5\n")
    running = ("systemd-journald.service", "rsyslog.service")
    machine.program("systemctl", "".join(f"{name} loaded active running x\n" for name in running))
    machine.file("/usr/lib/systemd/journald.conf.d/10.conf", "[Journal]\nStorage=persistent\n")
    machine.file("/usr/lib/systemd/journald.conf.d/20.conf", "[Journal]\nStorage=volatile\n")
    machine.file("/etc/systemd/journald.conf.d/20.conf", "[Journal]\n# the file of the same name is not read\n")
    machine.file("/etc/rsyslog.d/50-forward.conf", "*.* @@logs.example.org:6514\n")
    machine.file("/etc/rsyslog.d/50-forward.conf.bak", "nothing\n")
    machine.folder_of("/var/log")
    reading = machine.read("host.logging")
    assert {str(finding.outcome) for finding in findings(reading)} == {"PASS"}
    same_again(machine, reading)


def test_settings_of_the_kernel_are_read_from_proc(machine: HostWorld) -> None:
    machine.file("/proc/sys/kernel/randomize_va_space", "2\n")
    machine.file("/proc/sys/net/ipv4/tcp_syncookies", "0\n")
    reading = machine.read("host.kernel-settings")
    concluded = {finding.resource: str(finding.outcome) for finding in findings(reading)}
    assert concluded.pop("kernel.randomize_va_space") == "PASS"
    assert concluded.pop("net.ipv4.tcp_syncookies") == "FAIL"
    assert set(concluded.values()) == {"SKIP"}
    same_again(machine, reading)


def told(machine: HostWorld) -> Reading:
    return machine.read("host.sockets")


@pytest.mark.parametrize(
    ("arrange", "kind", "words"),
    [
        (lambda m: None, "absent-program", "there is no ss on this machine"),
        (lambda m: m.program("ss", status=3, error="first\nsecond"), "rejected", "ended with status 3: first"),
        (lambda m: m.program("ss", status=1, error="Operation not permitted."), "denied", "Operation not permitted"),
        (lambda m: m.program("ss", script="kill -9 $$"), "rejected", "was ended by signal 9"),
        (lambda m: m.program("ss", script="exec /bin/cat /dev/zero"), "oversized", "more than 65536 bytes"),
        (lambda m: m.program("ss", script="/bin/sleep 60"), "timeout", "longer than 0.5 s"),
        (lambda m: m.program("ss", script="/bin/sleep 60 >&2 & exec >&- 2>&-; wait"), "timeout", "longer than 0.5 s"),
    ],
)
def test_a_program_that_does_not_answer_is_a_gap(
    tmp_path: Path, arrange: Callable[[HostWorld], None], kind: str, words: str
) -> None:
    machine = HostWorld(tmp_path, Limits(max_reply_bytes=1 << 16, timeout_s=0.5))
    arrange(machine)
    started = time.monotonic()
    reading = told(machine)
    assert time.monotonic() - started < 5
    gap = reading.shard.population.gap
    assert gap is not None
    assert (gap.kind, words in gap.reason, gap.operation) == (kind, True, "host:run"), gap.reason
    assert len(reading.ledger.lines) == 1  # never tried again
    same_again(machine, reading)


def test_a_program_gets_no_environment_no_input_and_no_shell(
    machine: HostWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    machine.program("ss", script='/usr/bin/env; read line || echo no input; echo "$@"')
    lines = told(machine).ledger.objects.values()
    words = b"".join(lines).decode().splitlines()
    ours, shell = ("PATH", "LC_ALL", "LANG", "TZ"), ("PWD", "OLDPWD", "SHLVL", "_")
    assert {word.partition("=")[0] for word in words if "=" in word} <= {*ours, *shell}
    assert "no input" in words


@pytest.mark.parametrize(
    ("arrange", "kind"),
    [
        (lambda file: file.unlink(), "rejected"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "rejected"),
        (lambda file: (file.unlink(), file.mkdir()), "rejected"),
        (lambda file: file.write_text("x" * 70_000), "oversized"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_gap(tmp_path: Path, arrange: Callable[[Path], object], kind: str) -> None:
    machine = HostWorld(tmp_path, Limits(max_reply_bytes=1 << 16, timeout_s=1))
    machine.file("/etc/shadow", "")
    arrange(machine.file("/etc/passwd", ""))
    reading = machine.read("host.accounts")
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == kind
    same_again(machine, reading)


def test_bytes_that_are_no_text_are_kept_as_they_are(machine: HostWorld) -> None:
    file = machine.file("/proc/sys/kernel/dmesg_restrict", "")
    file.write_bytes(b"\xff1\n")
    reading = machine.read("host.kernel-settings")
    assert reading.row("kernel.dmesg_restrict")["Value"] == "\ufffd1\n"
    assert b"\xff1\n" in reading.ledger.objects.values()


def test_the_caller_is_on_record(machine: HostWorld) -> None:
    callers = {line["caller"] for line in machine.read("host.kernel-settings").ledger.lines}
    name = pwd.getpwuid(os.geteuid()).pw_name
    assert callers == {f"uid {os.geteuid()} ({name}) on {os.uname().nodename}"}


def as_user(uid: int, folder: Path) -> list[tuple[Shard, list[Finding]]]:
    """What all host sources make of this machine, read by another user in a process of its own."""
    folder.chmod(0o777)
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with os.fdopen(send, "wb") as out:
                pickle.dump([(reading.shard, findings(reading)) for reading in read_all(folder)], out)
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as data:
        result: list[tuple[Shard, list[Finding]]] = pickle.load(data)
    os.waitpid(child, 0)
    return result


def read_all(folder: Path) -> list[Reading]:
    machine = ThisMachine(folder)
    readings = [machine.read(dataset) for dataset in DATASETS]
    for reading in readings:
        same_again(machine, reading)
    return readings


def accounted(shard: Shard, concluded: list[Finding]) -> None:
    """Every check has an answer, and what was concluded names the replies it rests on."""
    checks = {check.id for check in plugins.load_checks().values() if check.datasets == (shard.task.dataset,)}
    assert {finding.check for finding in concluded} == checks
    assert all(finding.outcome != Outcome.ERROR for finding in concluded), concluded
    for finding in concluded:
        assert finding.evidence
        if finding.outcome in (Outcome.PASS, Outcome.FAIL):
            assert shard.population.proven


def test_this_machine_is_read_as_it_is(tmp_path: Path) -> None:
    for reading in read_all(tmp_path):
        accounted(reading.shard, findings(reading))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_needs_root_is_unknown_to_nobody() -> None:
    folder = Path("/tmp") / f"affidavit-nobody-{os.getpid()}"  # pytest's own folders are closed to others
    folder.mkdir()
    try:
        result = as_user(NOBODY, folder)
    finally:
        shutil.rmtree(folder)
    assert len(result) == len(DATASETS)
    concluded = {}
    for shard, found in result:
        accounted(shard, found)
        concluded |= {finding.check: finding for finding in found}
    for check in ("host.accounts.password-ageing", "host.accounts.no-empty-password"):
        assert concluded[check].outcome == Outcome.UNKNOWN
        assert "access was denied" in concluded[check].reason
    assert concluded["host.accounts.single-superuser"].outcome in (Outcome.PASS, Outcome.FAIL)
    for check in ("host.sshd.no-root-login", "host.logging.audit-running"):
        assert concluded[check].outcome == Outcome.UNKNOWN


def test_a_refused_sub_reply_stands_in_the_row(machine: HostWorld) -> None:
    machine.folder_of("/etc/apt")
    reading = machine.read("host.updates")
    with pytest.raises(Unavailable, match="there is no apt-get on this machine"):
        reading.row("apt")["Pending"]
