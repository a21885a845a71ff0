"""Group managed service accounts of an Active Directory domain: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Ldap, Record, Row, Verdict, check, days_between, fail, ok, skip, source
from collector.directory import filetime, generalized

DISABLED = 0x2
ATTRIBUTES = (
    "sAMAccountName",
    "objectSid",
    "userAccountControl",
    "pwdLastSet",
    "whenCreated",
    "msDS-ManagedPasswordInterval",
)


@source(
    "active-directory.managed-accounts",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in ATTRIBUTES),
    filters="group managed service accounts",
)
def managed_accounts(directory: Ldap) -> Iterator[Row]:
    """Every group managed service account of the domain. The password itself is not asked for."""
    yield from directory.entries("(objectClass=msDS-GroupManagedServiceAccount)", attributes=ATTRIBUTES)


@check(
    "active-directory.managed-accounts.renewed",
    title="Passwords of managed service accounts are renewed",
    severity="low",
    each="active-directory.managed-accounts",
)
def renewed(account: Record, *, as_of: datetime, max_interval_days: int = 30) -> Verdict:
    """The password is due at most every ``max_interval_days``, and was set within twice that.

    Source: ``msDS-ManagedPasswordInterval`` (days), ``pwdLastSet`` (0: counted from ``whenCreated``). The domain renews
    it when a host next asks for it. Disabled accounts are skipped.
    Remedy: make the account anew with a shorter interval; it cannot be changed.
    """
    if int(account["userAccountControl"][0]) & DISABLED:
        return skip("the account is disabled")
    interval_days = int(account["msDS-ManagedPasswordInterval"][0])
    if interval_days > max_interval_days:
        return fail(f"due every {interval_days} days, limit {max_interval_days}")
    age = days_between(filetime(account["pwdLastSet"][0]) or generalized(account["whenCreated"][0]), as_of)
    told = f"due every {interval_days} days, set {age} days ago, limit {2 * max_interval_days}"
    return ok(told) if age <= 2 * max_interval_days else fail(told)
