"""Groups in an LDAP directory: how they are read, and what we require of those that carry privileges."""

import re
from collections.abc import Iterator

from collector.api import GapKind, Ldap, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source

PRIVILEGED = ("admin", "administrators", "admins", "sudo", "wheel")
"""Names, in lower case, that commonly carry privileges; an organisation names its own."""

MEMBERS = ("member", "uniqueMember")


@source(
    "ldap.groups",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in ("objectClass", "cn", *MEMBERS, "memberUid")),
    filters="entries of the classes groupOfNames, groupOfUniqueNames and posixGroup",
)
def groups(ldap: Ldap) -> Iterator[Row]:
    """Every entry under the base that is a group: groupOfNames, groupOfUniqueNames, posixGroup."""
    yield from ldap.entries(
        "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
        attributes=("objectClass", "cn"),
        optional=(*MEMBERS, "memberUid"),
    )


def _is_privileged(group: Record, privileged: tuple[str, ...]) -> bool:
    return any(name.lower() in privileged for name in group["cn"])


def _same(dn: str) -> str:
    """A name so spelt that equal ones are equal."""
    return re.sub(r"\s*([,=+])\s*", r"\1", dn).lower()


def _members(group: Record) -> set[str]:
    return {_same(dn) for name in MEMBERS for dn in group[name]}


@check(
    "ldap.groups.privileged-few",
    title="Privileged LDAP groups have few members",
    severity="high",
    each="ldap.groups",
)
def privileged_few(group: Record, *, privileged: tuple[str, ...] = PRIVILEGED, max_members: int = 10) -> Verdict:
    """A group named in ``privileged`` names at most ``max_members`` members of its own.

    Source: ``member``, ``uniqueMember``, ``memberUid``. Members of nested groups are not counted here, nor accounts
    whose own group (``gidNumber``) it is.
    Remedy: take out who does not need the privilege.
    """
    if not _is_privileged(group, privileged):
        return skip("the group is not named as privileged")
    count = len(_members(group)) + len(set(group["memberUid"]))
    told = f"{count} members, limit {max_members}"
    return ok(told) if count <= max_members else fail(told)


@check(
    "ldap.groups.privileged-active",
    title="No privileged LDAP group keeps an account that is locked for good",
    severity="high",
    over=("ldap.groups", "ldap.accounts"),
)
def privileged_active(
    groups: Iterator[Record], accounts: Iterator[Record], *, privileged: tuple[str, ...] = PRIVILEGED
) -> Verdict:
    """Every member of a group named in ``privileged``, nested groups included, is an account that is in use.

    Source: ``member``, ``uniqueMember``, ``memberUid``; ``uid``, ``pwdAccountLockedTime``. Where a member is neither a
    listed account nor a listed group nothing is concluded: it was deleted, or is hidden from the reader. Accounts
    whose own group (``gidNumber``) it is are not looked at.
    Remedy: take the account out of the group when it is locked.
    """
    listed = {_same(group["dn"]): group for group in groups}
    waiting = [dn for dn, group in listed.items() if _is_privileged(group, privileged)]
    if not waiting:
        return skip("no group is named as privileged")
    seen, members, names = set(waiting), set[str](), set[str]()
    while waiting:
        group = listed[waiting.pop()]
        names |= set(group["memberUid"])
        members |= _members(group) - listed.keys()
        nested = (_members(group) & listed.keys()) - seen
        seen |= nested
        waiting += nested
    found, known, locked = set[str](), set[str](), []
    for account in accounts:
        dn, uids = _same(account["dn"]), set(account["uid"])
        if dn in members or uids & names:
            found.add(dn)
            known |= uids
            if "000001010000Z" in account["pwdAccountLockedTime"]:
                locked.append(account["dn"])
    if locked:
        return fail(f"{len(locked)} members are locked for good, limit none: {'; '.join(sorted(locked)[:20])}")
    if missing := sorted((members - found) | (names - known)):
        reason = f"{'; '.join(missing[:5])} is in a privileged group and among no accounts: deleted, or hidden from us"
        raise Unavailable(GapKind.UNPROVEN, reason)
    return ok(f"{len(found)} members, none of them locked for good")
