"""Accounts of LDAP directories and Active Directory domains held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, Owner, approved, no_leaver, owned, owner

LOCKED_FOR_GOOD = "000001010000Z"
"""Value of ``pwdAccountLockedTime`` in an account that only an administrator unlocks."""

DISABLED = 0x2
"""Flag of ``userAccountControl``."""

RULING = (512, 518, 519, 544, 548, 549, 550, 551)
"""Relative identifiers of the built-in groups that rule a domain, in every language."""


def _name(account: Record) -> str:
    """What an account of an LDAP directory is called; its whole name where it has no uid."""
    return str((account["uid"] or [account["dn"]])[0])


def _ldap_owner(
    account: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    return owner(people, identities, (scope, "ldap"), _name(account), (*account["mail"], *account["uid"]), as_of, rules)


def _ad_owner(
    user: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    addresses = (*user["mail"], *user["userPrincipalName"])
    return owner(people, identities, (scope, "active-directory"), user["sAMAccountName"][0], addresses, as_of, rules)


def _is_disabled(user: Record) -> bool:
    return bool(int(user["userAccountControl"][0]) & DISABLED)


@check(
    "joins.ldap.leavers",
    title="Nobody who left has a live account in the LDAP directory",
    severity="critical",
    each="ldap.accounts",
    beside=PEOPLE,
)
def ldap_leavers(
    account: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An account not locked for good belongs to nobody who left more than ``max_days`` before the day of collection.

    Source: ``uid``, ``mail``, ``pwdAccountLockedTime``; people.csv, identities.csv. That it has a password is not seen.
    Remedy: lock or delete the account.
    """
    if LOCKED_FOR_GOOD in account["pwdAccountLockedTime"]:
        return skip("the account is locked for good")
    found = _ldap_owner(account, people, identities, scope, as_of, rules)
    return no_leaver(found, f"the account {_name(account)} is not locked", as_of, max_days)


@check(
    "joins.ldap.owned",
    title="Every live account in the LDAP directory belongs to a person of the register",
    severity="medium",
    each="ldap.accounts",
    beside=PEOPLE,
)
def ldap_owned(
    account: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An account not locked for good is matched with a person, or its name is one of ``service_accounts``.

    Source: ``uid``, ``mail``, ``pwdAccountLockedTime``; people.csv, identities.csv.
    Remedy: lock or delete the account, or write its person into identities.csv.
    """
    if LOCKED_FOR_GOOD in account["pwdAccountLockedTime"]:
        return skip("the account is locked for good")
    return owned(_ldap_owner(account, people, identities, scope, as_of, rules), _name(account), service_accounts)


@check(
    "joins.active-directory.leavers",
    title="Nobody who left has a live account in Active Directory",
    severity="critical",
    each="active-directory.users",
    beside=PEOPLE,
)
def ad_leavers(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled user belongs to nobody who left more than ``max_days`` before the day of collection.

    Source: ``userAccountControl``, ``sAMAccountName``, ``mail``, ``userPrincipalName``; people.csv, identities.csv.
    Remedy: ``Disable-ADAccount``.
    """
    if _is_disabled(user):
        return skip("the user is disabled")
    found = _ad_owner(user, people, identities, scope, as_of, rules)
    return no_leaver(found, f"the user {user['sAMAccountName'][0]} is enabled", as_of, max_days)


@check(
    "joins.active-directory.owned",
    title="Every enabled Active Directory user belongs to a person of the register",
    severity="medium",
    each="active-directory.users",
    beside=PEOPLE,
)
def ad_owned(
    user: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = (),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled user is matched with a person, or its name is one of ``service_accounts`` (with ``*``).

    Source: ``userAccountControl``, ``sAMAccountName``, ``mail``, ``userPrincipalName``; people.csv, identities.csv.
    Remedy: disable the user, or write its person into identities.csv.
    """
    if _is_disabled(user):
        return skip("the user is disabled")
    return owned(_ad_owner(user, people, identities, scope, as_of, rules), user["sAMAccountName"][0], service_accounts)


@check(
    "joins.active-directory.privileged-approved",
    title="Users who rule the Active Directory domain were approved by somebody else",
    severity="high",
    each="active-directory.users",
    beside=("active-directory.privileged-groups", *PEOPLE, "register.access-requests"),
)
def ad_privileged_approved(
    user: Record,
    groups: Table,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An enabled user in a built-in group that rules the domain has a request approved by somebody else.

    Membership counts however deeply it is nested. The request is for privileged access and still in force.
    Source: members of the built-in groups (``objectSid``), ``userAccountControl``; access-requests.csv.
    Remedy: take the user out of the group, or have the membership requested and approved.
    """
    if _is_disabled(user):
        return skip("the user is disabled")
    sid = user["objectSid"][0]
    held = any(
        int(group["objectSid"][0].rpartition("-")[2]) in RULING
        and any(sid in member["objectSid"] for member in group["Members"])
        for group in groups
    )
    if not held:
        return skip("in no group that rules the domain")
    found = _ad_owner(user, people, identities, scope, as_of, rules)
    return approved(requests, people, found, user["sAMAccountName"][0], (scope, "active-directory"), as_of)
