"""What this machine records about itself, whether it survives a restart, and whether a copy leaves."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from collector.api import GapKind, Host, Record, Refused, Row, Unavailable, Verdict, check, fail, ok, source

SERVICES = ("systemctl", "list-units", "--type=service", "--state=running", "--plain", "--no-legend", "--no-pager")
JOURNALD_FOLDERS = ("/usr/lib/systemd/journald.conf.d", "/run/systemd/journald.conf.d", "/etc/systemd/journald.conf.d")
"""From the weakest to the strongest, as journald.conf(5) orders them; the main file is weaker than all."""

LEGACY_FORWARD = re.compile(r"^[^#\n]*\s(?:@@?(?:\([^)]*\))?|:omrelp:)(?P<target>\[?[\w.:-]+)", re.MULTILINE)
"""An action of rsyslog in its short form: ``*.* @@logs.example.com:6514``."""
ACTION = re.compile(r"^[^#\n]*\baction\s*\((?P<parameters>[^)]*)\)", re.MULTILINE | re.IGNORECASE)
"""One in its long form: ``action(type="omfwd" target="logs.example.com")``."""
SENDING = re.compile(r"""type\s*=\s*"om(?:fwd|relp|elasticsearch|kafka|http)\"""")
LOOPBACK = re.compile(r"""(?:^|target\s*=\s*")(?:127\.|localhost\b|\[?::1\b)""")


@source(
    "host.logging",
    key="Id",
    per="connection",
    permissions=(
        "host:run auditctl -s", "host:run " + " ".join(SERVICES), "host:read /etc/systemd/journald.conf",
        *(f"host:{asked}" for folder in JOURNALD_FOLDERS for asked in (f"list {folder}", f"read {folder}/*")),
        "host:list /var/log", "host:read /etc/rsyslog.conf", "host:list /etc/rsyslog.d", "host:read /etc/rsyslog.d/*",
    ),
)  # fmt: skip
def logging(host: Host) -> Iterator[Row]:
    """The logging of this machine as one record: audit, running services, journald and rsyslog."""
    drop_ins = {name: f"{folder}/{name}" for folder in JOURNALD_FOLDERS for name in _names(host, folder)}
    yield {
        "Id": "logging",
        "auditctl -s": host.attempt_run("auditctl", "-s"),
        "Running": host.attempt_run(*SERVICES),
        "journald.conf": [
            host.attempt_read("/etc/systemd/journald.conf", absent_ok=True),
            *(host.attempt_read(path) for _, path in sorted(drop_ins.items())),
        ],
        "/var/log": host.list("/var/log", absent_ok=True) or [],
        "rsyslog.conf": [
            host.attempt_read("/etc/rsyslog.conf", absent_ok=True),
            *(host.attempt_read(f"/etc/rsyslog.d/{name}") for name in _names(host, "/etc/rsyslog.d")),
        ],
    }


def _names(host: Host, folder: str) -> list[str]:
    return [name for name in host.list(folder, absent_ok=True) or () if name.endswith(".conf")]


@check(
    "host.logging.audit-running",
    title="The audit system records",
    severity="medium",
    each="host.logging",
)
def audit_running(logging: Record) -> Verdict:
    """The kernel's audit is enabled and a daemon takes its records.

    Source: ``auditctl -s`` (enabled, pid). It says nothing of the rules that are loaded.
    Remedy: ``systemctl enable --now auditd``.
    """
    status = dict(line.split(" ", 1) for line in logging["auditctl -s"].splitlines())
    if status["enabled"] == "0":
        return fail("the kernel's audit is off (enabled 0)")
    if status["pid"] == "0":
        return fail("no daemon takes the kernel's audit records (pid 0)")
    return ok(f"audit is on (enabled {status['enabled']}) and process {status['pid']} takes its records")


@check(
    "host.logging.journal-persistent",
    title="The journal survives a restart",
    severity="medium",
    each="host.logging",
)
def journal_persistent(logging: Record) -> Verdict:
    """A running journald keeps the journal on disk: ``Storage=persistent``, or ``auto`` with /var/log/journal.

    Source: ``systemctl list-units``, journald.conf(5) with its drop-in folders, the names in /var/log.
    Remedy: set ``Storage=persistent``.
    """
    if "systemd-journald.service" not in _services(logging):
        return fail("systemd-journald does not run")
    # auto is what journald does when no file says otherwise
    storage = "auto"
    for text in logging["journald.conf"]:
        for value in re.findall(r"^\s*Storage\s*=\s*(\w+)\s*$", _present(text), re.MULTILINE):
            storage = value.lower()
    if storage == "auto":
        kept = "journal" in logging["/var/log"]
        return (
            ok("Storage is auto and /var/log/journal exists")
            if kept
            else fail("Storage is auto and there is no /var/log/journal")
        )
    return (
        ok("Storage is persistent")
        if storage == "persistent"
        else fail(f"Storage is {storage}; the limit is persistent")
    )


@check(
    "host.logging.forwarded",
    title="Logs are sent to another machine",
    severity="medium",
    each="host.logging",
)
def forwarded(
    logging: Record,
    *,
    agents: tuple[str, ...] = (
        "syslog-ng*", "fluent*", "td-agent*", "vector*", "filebeat*", "journalbeat*", "elastic-agent*", "promtail*",
        "alloy*", "otelcol*", "amazon-cloudwatch-agent*", "google-cloud-ops-agent*", "azuremonitoragent*", "splunk*",
        "Splunk*", "nxlog*", "datadog-agent*", "wazuh-agent*",
    ),
) -> Verdict:  # fmt: skip
    """Rsyslog runs with an action that sends to another machine, or systemd-journal-upload runs.

    Source: ``systemctl list-units``, /etc/rsyslog.conf and /etc/rsyslog.d. What another agent (``agents``) sends is not
    read, so where only such a one runs the answer is unknown; so are not files that rsyslog includes from elsewhere.
    That the logs arrive is not shown.
    Remedy: ``*.* @@logs.example.com:6514`` in /etc/rsyslog.d, or set up systemd-journal-upload.
    """
    services = _services(logging)
    if "systemd-journal-upload.service" in services:
        return ok("systemd-journal-upload runs")
    sends = any(_sends(_present(text)) for text in logging["rsyslog.conf"])
    if sends and "rsyslog.service" in services:
        return ok("rsyslog runs and sends to another machine")
    others = [service for service in services if any(fnmatchcase(service, pattern) for pattern in agents)]
    if others:
        raise Unavailable(GapKind.UNSUPPORTED, f"{', '.join(others)} may send logs, and its configuration is not read")
    if sends:
        return fail("rsyslog is set up to send to another machine but does not run")
    return fail(
        "nothing sends logs to another machine: no such action in rsyslog, no systemd-journal-upload, no known agent"
    )


def _sends(text: str) -> bool:
    targets = [found["target"] for found in LEGACY_FORWARD.finditer(text)]
    actions = [found["parameters"] for found in ACTION.finditer(text) if SENDING.search(found["parameters"])]
    return any(not LOOPBACK.search(target) for target in targets + actions)


def _services(logging: Record) -> list[str]:
    return [line.split()[0] for line in logging["Running"].splitlines() if line.strip()]


def _present(text: str | Refused | None) -> str:
    """The text of a file; nothing where there is none. A refused one raises."""
    if isinstance(text, Refused):
        raise text.unavailable()
    return text or ""
