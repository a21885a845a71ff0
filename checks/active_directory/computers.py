"""Computers of an Active Directory domain: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import GapKind, Ldap, Record, Row, Unavailable, Verdict, check, days_between, fail, ok, skip, source
from collector.directory import filetime, generalized

DISABLED = 0x2
CONTROLLER = 0x2000
TRUSTED_FOR_DELEGATION = 0x80000

ATTRIBUTES = ("sAMAccountName", "objectSid", "userAccountControl", "pwdLastSet", "whenCreated")
WITNESSES = {"lastLogonTimestamp": "logonCount", "operatingSystem": "whenCreated", "logonCount": "logonCount"}
"""Optional attributes, each with one that every computer has: of Logon Information, and of no property set."""

UNSUPPORTED = (
    "Hyper-V Server 2008", "Hyper-V Server 2012", "Windows 10", "Windows 2000", "Windows 7", "Windows 8", "Windows NT",
    "Windows Server 2003", "Windows Server 2008", "Windows Server 2012", "Windows Storage Server 2008",
    "Windows Storage Server 2012", "Windows Vista", "Windows XP",
)  # fmt: skip
"""Beginnings of names of systems whose regular support by the vendor is over, as of 2026-06."""

LONG_TERM = ("LTSB", "LTSC")
"""Words in the names of editions that are supported for longer; which of them still are, the name does not tell."""


@source(
    "active-directory.computers",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in (*ATTRIBUTES, *WITNESSES)),
    filters="computer accounts",
)
def computers(directory: Ldap) -> Iterator[Row]:
    """Every computer object of the domain, controllers and disabled ones included; no managed service account."""
    for row in directory.entries(
        "(objectCategory=computer)", attributes=ATTRIBUTES, optional=tuple(WITNESSES), witness=WITNESSES
    ):
        row.pop("logonCount")
        yield row


def _has(computer: Record, flag: int) -> bool:
    return bool(int(computer["userAccountControl"][0]) & flag)


@check(
    "active-directory.computers.in-use",
    title="Active Directory computers that are enabled exist",
    severity="low",
    each="active-directory.computers",
)
def in_use(computer: Record, *, as_of: datetime, max_unused_days: int = 90, lag_days: int = 14) -> Verdict:
    """An enabled computer signed in within ``max_unused_days``, or is younger than that.

    Source: ``lastLogonTimestamp``, ``whenCreated``; the first is written up to ``lag_days`` late. Disabled computers
    are skipped.
    Remedy: disable the account, and delete it later.
    """
    if _has(computer, DISABLED):
        return skip("the computer is disabled")
    stamps = [moment for text in computer["lastLogonTimestamp"] if (moment := filetime(text))]
    if not stamps:
        age = days_between(generalized(computer["whenCreated"][0]), as_of)
        told = f"created {age} days ago and never signed in, limit {max_unused_days}"
        return ok(told) if age <= max_unused_days else fail(told)
    unused = days_between(stamps[0], as_of)
    told = f"last sign-in on record {unused} days ago, limit {max_unused_days} and {lag_days} of lag"
    return ok(told) if unused <= max_unused_days + lag_days else fail(told)


@check(
    "active-directory.computers.password-renewed",
    title="Active Directory computers renew their password",
    severity="low",
    each="active-directory.computers",
)
def password_renewed(computer: Record, *, as_of: datetime, max_age_days: int = 90) -> Verdict:
    """An enabled computer set its password within ``max_age_days``; by default it does so every 30.

    Source: ``pwdLastSet`` (0: never, counted from ``whenCreated``). Disabled computers are skipped.
    Remedy: find out whether the computer exists, and whether renewal was switched off.
    """
    if _has(computer, DISABLED):
        return skip("the computer is disabled")
    changed = filetime(computer["pwdLastSet"][0])
    age = days_between(changed or generalized(computer["whenCreated"][0]), as_of)
    told = f"password {'set' if changed else 'not set since the account was made'} {age} days ago, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "active-directory.computers.no-delegation",
    title="No computer but a domain controller may act as anybody",
    severity="high",
    each="active-directory.computers",
)
def no_delegation(computer: Record) -> Verdict:
    """No computer is trusted for unconstrained delegation. Domain controllers always are, and are skipped.

    Source: ``userAccountControl`` (TRUSTED_FOR_DELEGATION, 0x80000; SERVER_TRUST_ACCOUNT, 0x2000). Disabled computers
    are skipped as well.
    Remedy: use constrained delegation, or none.
    """
    if _has(computer, DISABLED):
        return skip("the computer is disabled")
    if _has(computer, CONTROLLER):
        return skip("the computer is a domain controller")
    told = "TRUSTED_FOR_DELEGATION is"
    return fail(f"{told} set") if _has(computer, TRUSTED_FOR_DELEGATION) else ok(f"{told} not set")


@check(
    "active-directory.computers.supported-system",
    title="Active Directory computers run a system that is still supported",
    severity="high",
    each="active-directory.computers",
)
def supported_system(computer: Record, *, unsupported: tuple[str, ...] = UNSUPPORTED) -> Verdict:
    """The system an enabled computer names does not begin with one of ``unsupported``.

    Source: ``operatingSystem``, as the computer itself wrote it when it joined or last changed; signs of trade marks in
    it do not count. A computer that names none is skipped, and so are disabled ones. Of editions for the long term
    nothing is concluded. Paid extended support is not visible here.
    Remedy: upgrade or retire it, or record why it stays.
    """
    if _has(computer, DISABLED):
        return skip("the computer is disabled")
    if not computer["operatingSystem"]:
        return skip("the computer names no operating system")
    (system,) = computer["operatingSystem"]
    told = f"operating system {system}"
    name = "".join(sign for sign in system if sign not in "\N{REGISTERED SIGN}\N{TRADE MARK SIGN}")
    if not name.startswith(tuple(unsupported)):
        return ok(told)
    if any(word in name for word in LONG_TERM):
        raise Unavailable(GapKind.UNPROVEN, f"{told}: until when it is supported depends on its version")
    return fail(f"{told}, which is no longer supported")
