"""Security updates that this machine knows of and has not installed."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from collector.api import (
    GapKind,
    Host,
    Record,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    source,
)  # fmt: skip

APT = (
    "apt-get", "--simulate", "--ignore-hold", "-o", "Debug::NoLocking=true", "-o", "Dir::Cache::pkgcache=",
    "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Default-Release=/-security$/", "dist-upgrade",
)  # fmt: skip
"""What a full upgrade would install: no lock and no cache is written. The security archive is preferred, since
apt names only the archive of the newest version, which hides a security update that a later update contains."""

DNF = ("dnf", "--quiet", "--cacheonly", "--setopt=logfilelevel=0", "updateinfo", "list", "--security")
"""Advisories that are not applied, from metadata already on this machine."""


@source(
    "host.updates",
    key="Manager",
    per="connection",
    permissions=(
        "host:list /etc", "host:list /var/lib/apt/lists", "host:read /var/lib/apt/lists/*",
        "host:run " + " ".join(APT), "host:list /var/cache/dnf", "host:read /var/cache/dnf/*/repodata/repomd.xml",
        "host:run " + " ".join(DNF),
    ),
)  # fmt: skip
def updates(host: Host) -> Iterator[Row]:
    """The package managers of this machine, each with the pending updates it knows and the age of its lists."""
    configured = {"apt", "dnf"} & set(host.list("/etc"))
    if not configured:
        raise Unavailable(
            GapKind.UNSUPPORTED, "neither apt nor dnf is set up on this machine; no other manager is read"
        )
    if "apt" in configured:
        yield {"Manager": "apt", "Lists": list(_apt_lists(host)), "Pending": host.attempt_run(*APT)}
    if "dnf" in configured:
        yield {"Manager": "dnf", "Lists": list(_dnf_lists(host)), "Pending": host.attempt_run(*DNF)}


def _apt_lists(host: Host) -> Iterator[Row]:
    folder = "/var/lib/apt/lists"
    for name in host.list(folder, absent_ok=True) or ():
        if "security" in name and name.endswith(("_InRelease", "_Release")):
            found = re.search(r"^Date: (.+)$", host.read(f"{folder}/{name}"), re.MULTILINE)
            yield {"File": name, "Date": _rfc3339(parsedate_to_datetime(found[1])) if found else None}


def _dnf_lists(host: Host) -> Iterator[Row]:
    folder = "/var/cache/dnf"
    for name in host.list(folder, absent_ok=True) or ():
        if re.fullmatch(r".+-[0-9a-f]{16}", name):
            text = host.read(f"{folder}/{name}/repodata/repomd.xml")
            found = re.search(r"<revision>(\d{10})</revision>", text)
            if 'type="updateinfo"' in text:
                made = datetime.fromtimestamp(int(found[1]), UTC) if found else None
                yield {"File": f"{name}/repodata/repomd.xml", "Date": _rfc3339(made) if made else None}


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@check(
    "host.updates.security-applied",
    title="No security update is pending",
    severity="high",
    each="host.updates",
)
def security_applied(manager: Record, *, as_of: datetime, max_list_age_days: int = 7) -> Verdict:
    """Every known security update is installed, and the list of them is at most ``max_list_age_days`` old.

    Source: ``apt-get --simulate dist-upgrade`` (Inst lines from a ``-security`` archive, holds ignored) and the Date of
    the security list; ``dnf updateinfo list --security`` and the revision of the metadata. A stale list proves nothing,
    so it can show that updates are missing but not that none is. A restart that is still due is not seen.
    Remedy: ``apt-get update && apt-get upgrade``, or ``dnf upgrade --security``.
    """
    pending = _apt_pending(manager["Pending"]) if manager["Manager"] == "apt" else _dnf_pending(manager["Pending"])
    if pending:
        named = ", ".join(pending[:5]) + (", ..." if len(pending) > 5 else "")
        return fail(f"{len(pending)} security updates are pending: {named}; the limit is 0")
    dates = [part["Date"] for part in manager["Lists"]]
    if not dates or None in dates:
        raise Unavailable(
            GapKind.UNPROVEN, f"{manager['Manager']} has no dated list of security updates on this machine"
        )
    oldest = min(instant(date) for date in dates)
    age_days = days_between(oldest, as_of)
    if age_days > max_list_age_days:
        raise Unavailable(
            GapKind.UNPROVEN, f"the list of security updates is {age_days} days old; the limit is {max_list_age_days}"
        )
    return ok(f"no security update is pending; the list is {age_days} days old")


def _apt_pending(text: str) -> list[str]:
    """Packages of ``Inst name [old] (new Label:1/suite, Label:2/suite [arch])`` that come from a security archive."""
    lines = (re.match(r"Inst (\S+) [^(]*\((\S+) ([^)\[]*)", line) for line in text.splitlines())
    return sorted({found[1] for found in lines if found and re.search(r"-security\b", found[3], re.IGNORECASE)})


def _dnf_pending(text: str) -> list[str]:
    """Packages of ``RHSA-2026:0001 Important/Sec. name-1.2-3.x86_64``."""
    lines = (line.split() for line in text.splitlines())
    return sorted({words[2] for words in lines if len(words) >= 3 and words[1].endswith("Sec.")})
