"""Users of an Active Directory domain: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Ldap, Personal, Record, Row, Verdict, check, days_between, fail, ok, skip, source
from collector.directory import NEVER, filetime, generalized

DISABLED = 0x2
TRUST = 0x800
PASSWORD_NOT_REQUIRED = 0x20
REVERSIBLE = 0x80
NEVER_EXPIRES = 0x10000
SMARTCARD_REQUIRED = 0x40000
TRUSTED_FOR_DELEGATION = 0x80000
DES_ONLY = 0x200000
NO_PREAUTHENTICATION = 0x400000

ATTRIBUTES = (
    "sAMAccountName",
    "objectSid",
    "objectGUID",
    "userAccountControl",
    "pwdLastSet",
    "whenCreated",
    "msDS-UserPasswordExpiryTimeComputed",
)
WITNESSES = {
    "mail": "objectGUID",
    "userPrincipalName": "objectGUID",
    "servicePrincipalName": "objectGUID",
    "lastLogonTimestamp": "logonCount",
    "logonCount": "logonCount",
}
"""Optional attributes, each with one of its property set that every user has: Public Information, Logon Information."""


@source(
    "active-directory.users",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in (*ATTRIBUTES, *WITNESSES)),
    personal=(Personal("active-directory:search", "email", json="entries[].attributes.mail"),),
    filters="people and other user accounts, no computers",
)
def users(directory: Ldap) -> Iterator[Row]:
    """Every user object of the domain: also disabled ones, service accounts and trusts; no computers, no contacts.

    A user that the reader may not see at all is in no answer: ask as a member of Domain Users without denials.
    """
    for row in directory.entries(
        "(&(objectCategory=person)(objectClass=user))",
        attributes=ATTRIBUTES,
        optional=tuple(WITNESSES),
        witness=WITNESSES,
    ):
        row.pop("logonCount")
        yield row


def _has(user: Record, flag: int) -> bool:
    return bool(int(user["userAccountControl"][0]) & flag)


def _off(user: Record) -> Verdict | None:
    """Why a rule for users does not apply: nobody signs in, or another domain does, with a key that is renewed."""
    if _has(user, DISABLED):
        return skip("the user is disabled")
    return skip("the account stands for a trust with another domain") if _has(user, TRUST) else None


@check(
    "active-directory.users.password-required",
    title="Active Directory users need a password",
    severity="high",
    each="active-directory.users",
)
def password_required(user: Record) -> Verdict:
    """An enabled user may not have an empty password.

    Source: ``userAccountControl`` (PASSWD_NOTREQD, 0x20). The flag allows an empty password; it does not say there is
    one. Disabled users and trusts are skipped.
    Remedy: ``Set-ADUser -PasswordNotRequired $false``.
    """
    if off := _off(user):
        return off
    return fail("PASSWD_NOTREQD is set") if _has(user, PASSWORD_NOT_REQUIRED) else ok("PASSWD_NOTREQD is not set")


@check(
    "active-directory.users.password-expires",
    title="Passwords of Active Directory users expire",
    severity="low",
    each="active-directory.users",
)
def password_expires(user: Record, *, expiry: bool = True) -> Verdict:
    """The password of an enabled user has a day on which it expires, by whatever policy applies to the user.

    Where the organisation's rule is that passwords are changed on suspicion only, ``expiry`` is set to false, and
    nothing is judged.
    Source: ``msDS-UserPasswordExpiryTimeComputed``, which the domain controller works out from flags and policies;
    ``userAccountControl``. Disabled users, trusts and users of smart cards are skipped.
    Remedy: take "password never expires" off, or record why it stays.
    """
    if off := _off(user):
        return off
    if not expiry:
        return skip("the organisation's rule asks for no expiry")
    if _has(user, SMARTCARD_REQUIRED):
        return skip("the user needs a smart card")
    text = user["msDS-UserPasswordExpiryTimeComputed"][0]
    if int(text) == NEVER:
        why = "by its own flag" if _has(user, NEVER_EXPIRES) else "by the policy that applies"
        return fail(f"the password never expires {why}")
    expires = filetime(text)
    return ok(f"the password expires on {expires:%Y-%m-%d}" if expires else "the password must be changed at next use")


@check(
    "active-directory.users.password-renewed",
    title="Passwords of Active Directory users are not too old",
    severity="medium",
    each="active-directory.users",
)
def password_renewed(user: Record, *, as_of: datetime, max_age_days: int = 365) -> Verdict:
    """The password of an enabled user was set within ``max_age_days`` before the day of collection.

    Source: ``pwdLastSet`` (0: it must be changed at next use, and counts from ``whenCreated``). Disabled users and
    trusts are skipped.
    Remedy: have the password changed.
    """
    if off := _off(user):
        return off
    changed = filetime(user["pwdLastSet"][0])
    age = days_between(changed or generalized(user["whenCreated"][0]), as_of)
    told = f"password set {age} days ago" if changed else f"password to be changed since {age} days"
    told += f", limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "active-directory.users.irreversible",
    title="No Active Directory user has a password that can be decrypted",
    severity="high",
    each="active-directory.users",
)
def irreversible(user: Record) -> Verdict:
    """The password of a user is not kept with reversible encryption.

    Source: ``userAccountControl`` (ENCRYPTED_TEXT_PWD_ALLOWED, 0x80). A policy may ask for it as well; another check
    looks there.
    Remedy: take the flag off and have the password changed.
    """
    told = "ENCRYPTED_TEXT_PWD_ALLOWED is"
    return fail(f"{told} set") if _has(user, REVERSIBLE) else ok(f"{told} not set")


@check(
    "active-directory.users.preauthentication",
    title="Active Directory users prove themselves before Kerberos answers",
    severity="high",
    each="active-directory.users",
)
def preauthentication(user: Record) -> Verdict:
    """Kerberos pre-authentication is asked of an enabled user: nobody else gets what a password can be guessed from.

    Source: ``userAccountControl`` (DONT_REQ_PREAUTH, 0x400000). Disabled users and trusts are skipped.
    Remedy: ``Set-ADAccountControl -DoesNotRequirePreAuth $false``.
    """
    if off := _off(user):
        return off
    return fail("DONT_REQ_PREAUTH is set") if _has(user, NO_PREAUTHENTICATION) else ok("DONT_REQ_PREAUTH is not set")


@check(
    "active-directory.users.no-des",
    title="No Active Directory user is tied to DES",
    severity="medium",
    each="active-directory.users",
)
def no_des(user: Record) -> Verdict:
    """An enabled user is not limited to DES keys for Kerberos.

    Source: ``userAccountControl`` (USE_DES_KEY_ONLY, 0x200000). Disabled users and trusts are skipped.
    Remedy: ``Set-ADAccountControl -UseDESKeyOnly $false``, and have the password changed.
    """
    if off := _off(user):
        return off
    return fail("USE_DES_KEY_ONLY is set") if _has(user, DES_ONLY) else ok("USE_DES_KEY_ONLY is not set")


@check(
    "active-directory.users.no-delegation",
    title="No Active Directory user may act as anybody",
    severity="high",
    each="active-directory.users",
)
def no_delegation(user: Record) -> Verdict:
    """No enabled user is trusted for unconstrained delegation.

    Source: ``userAccountControl`` (TRUSTED_FOR_DELEGATION, 0x80000). Disabled users and trusts are skipped.
    Remedy: use constrained delegation, or none.
    """
    if off := _off(user):
        return off
    told = "TRUSTED_FOR_DELEGATION is"
    return fail(f"{told} set") if _has(user, TRUSTED_FOR_DELEGATION) else ok(f"{told} not set")


@check(
    "active-directory.users.in-use",
    title="Active Directory users who can sign in do so",
    severity="medium",
    each="active-directory.users",
)
def in_use(user: Record, *, as_of: datetime, max_unused_days: int = 90, lag_days: int = 14) -> Verdict:
    """An enabled user signed in within ``max_unused_days`` before the day of collection, or is younger than that.

    Source: ``lastLogonTimestamp``, ``whenCreated``. The domain writes the first up to ``lag_days`` late
    (``msDS-LogonTimeSyncInterval``), so that many are taken off. Disabled users and trusts are skipped.
    Remedy: disable the account, or record why it stays.
    """
    if off := _off(user):
        return off
    stamps = [moment for text in user["lastLogonTimestamp"] if (moment := filetime(text))]
    if not stamps:
        age = days_between(generalized(user["whenCreated"][0]), as_of)
        told = f"created {age} days ago and never signed in, limit {max_unused_days}"
        return ok(told) if age <= max_unused_days else fail(told)
    unused = days_between(stamps[0], as_of)
    told = f"last sign-in on record {unused} days ago, limit {max_unused_days} and {lag_days} of lag"
    return ok(told) if unused <= max_unused_days + lag_days else fail(told)
