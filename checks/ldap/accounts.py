"""Accounts in an LDAP directory: how they are read, and what we require of them."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    GapKind,
    Ldap,
    Personal,
    Record,
    Refused,
    Row,
    Verdict,
    check,
    days_between,
    fail,
    ok,
    skip,
    source,
)
from collector.directory import generalized

LOCKED_FOR_GOOD = "000001010000Z"
"""Value of ``pwdAccountLockedTime`` in an account that only an administrator unlocks."""

SIGN_INS = ("authTimestamp", "pwdLastSuccess")
"""Where servers keep the last sign-in: the overlay lastbind, and ``lastbind on`` since OpenLDAP 2.5."""

UNRECORDED = Refused(GapKind.UNSUPPORTED, "no sign-in of anybody is on record in this directory", "ldap:search")

ATTRIBUTES = ("objectClass", "createTimestamp")
OPTIONAL = ("uid", "mail", "uidNumber", "pwdChangedTime", "pwdAccountLockedTime", "pwdReset", *SIGN_INS)


@source(
    "ldap.accounts",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in (*ATTRIBUTES, *OPTIONAL)),
    personal=(Personal("ldap:search", "email", json="entries[].attributes.mail"),),
    filters="entries of the classes inetOrgPerson, account, posixAccount and simpleSecurityObject",
    parts="whether the directory records sign-ins at all: one entry shows it",
)
def accounts(ldap: Ldap) -> Iterator[Row]:
    """Every entry under the base that is a person or an account: inetOrgPerson, account, posixAccount, and service
    accounts (simpleSecurityObject).

    An entry the reader may not see at all is in no answer: give it read access to the whole subtree. Of the two places
    of the last sign-in, one that the server does not know is left out where it knows the other; where no entry at all
    has either, sign-ins are not recorded, and nothing is concluded from none. No password hash is asked for.
    """
    recorded = ldap.first("(|(authTimestamp=*)(pwdLastSuccess=*))", attributes=("objectClass",))
    for row in ldap.entries(
        "(|(objectClass=inetOrgPerson)(objectClass=account)(objectClass=posixAccount)"
        "(objectClass=simpleSecurityObject))",
        attributes=ATTRIBUTES,
        optional=OPTIONAL,
    ):
        known = [name for name in SIGN_INS if not isinstance(row[name], Refused)]
        if recorded is None:
            row |= dict.fromkeys(SIGN_INS, UNRECORDED)
        yield {name: value for name, value in row.items() if name not in SIGN_INS or not known or name in known}


def _locked_for_good(account: Record) -> bool:
    return LOCKED_FOR_GOOD in account["pwdAccountLockedTime"]


@check(
    "ldap.accounts.in-use",
    title="LDAP accounts that can sign in are used",
    severity="medium",
    each="ldap.accounts",
)
def in_use(account: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """An account signed in within ``max_unused_days`` before the day of collection, or is younger than that.

    Source: ``authTimestamp`` or ``pwdLastSuccess``, ``createTimestamp``. The overlays write no more often than they are
    configured to. One that is not used, and locked for good (``pwdAccountLockedTime``), is skipped.
    Remedy: lock or delete the account, or record why it stays.
    """
    times = [generalized(text) for name in SIGN_INS for text in account.get(name, ())]
    unused = days_between(max(times) if times else generalized(account["createTimestamp"][0]), as_of)
    told = f"last sign-in {unused} days ago" if times else f"created {unused} days ago and no sign-in on record"
    told += f", limit {max_unused_days}"
    if unused <= max_unused_days:
        return ok(told)
    return skip(f"the account is locked for good; {told}") if _locked_for_good(account) else fail(told)


@check(
    "ldap.accounts.password-renewed",
    title="Passwords of LDAP accounts are not too old",
    severity="low",
    each="ldap.accounts",
)
def password_renewed(account: Record, *, as_of: datetime, max_age_days: int = 365) -> Verdict:
    """The password was set within ``max_age_days`` before the day of collection.

    Source: ``pwdChangedTime``; where the password policy never wrote one, ``createTimestamp``. One that is too old, in
    an account that is locked for good, is skipped. Whether passwords must be renewed at all is for the organisation's
    rule to say.
    Remedy: have the password changed, or set the limit to the organisation's rule.
    """
    changed = account["pwdChangedTime"]
    age = days_between(generalized((changed or account["createTimestamp"])[0]), as_of)
    told = f"set {age} days ago" if changed else f"no change on record since the account was made {age} days ago"
    told = f"password {told}, limit {max_age_days}"
    if age <= max_age_days:
        return ok(told)
    return skip(f"the account is locked for good; {told}") if _locked_for_good(account) else fail(told)


@check(
    "ldap.accounts.reset-settled",
    title="Passwords set by an administrator are soon replaced by their owners",
    severity="medium",
    each="ldap.accounts",
)
def reset_settled(account: Record, *, as_of: datetime, max_pending_days: int = 14) -> Verdict:
    """A password that somebody else set (``pwdReset``) is at most ``max_pending_days`` old.

    Source: ``pwdReset``, ``pwdChangedTime``. An account without such a password is skipped.
    Remedy: lock the account until its owner asks for a new password.
    """
    if account["pwdReset"] != ["TRUE"]:
        return skip("no password set by another is waiting to be changed")
    changed = account["pwdChangedTime"] or account["createTimestamp"]
    age = days_between(generalized(changed[0]), as_of)
    told = f"a password set by another has waited for {age} days, limit {max_pending_days}"
    return ok(told) if age <= max_pending_days else fail(told)


@check(
    "ldap.accounts.not-superuser",
    title="No LDAP account is the superuser of the hosts",
    severity="critical",
    each="ldap.accounts",
)
def not_superuser(account: Record) -> Verdict:
    """No account has the user number 0, with which every host that trusts the directory lets it do anything.

    Source: ``uidNumber``. An account without a number is none of a host and is skipped.
    Remedy: give the account a number of its own, and rights by sudo.
    """
    numbers = account["uidNumber"]
    if not numbers:
        return skip("the account has no user number")
    told = f"user number {', '.join(numbers)}"
    return fail(f"{told}, limit none that is 0") if any(int(number) == 0 for number in numbers) else ok(told)


@check(
    "ldap.accounts.numbers-unique",
    title="No two LDAP accounts share a user number",
    severity="high",
    over=("ldap.accounts",),
)
def numbers_unique(accounts: Iterator[Record]) -> Verdict:
    """Each user number belongs to one account, so that what is done on a host is done by one person.

    Source: ``uidNumber``. Hosts tell accounts apart by number, not by name.
    Remedy: give each account a number of its own.
    """
    numbers = Counter(number for account in accounts for number in account["uidNumber"])
    if not numbers:
        return skip("no account has a user number")
    shared = sorted(number for number, count in numbers.items() if count > 1)
    if shared:
        return fail(f"{len(shared)} numbers are shared, limit none: {', '.join(shared[:20])}")
    return ok(f"{len(numbers)} numbers, none of them shared")
