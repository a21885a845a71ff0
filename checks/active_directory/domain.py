"""An Active Directory domain and its password policies: how they are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    GapKind,
    Ldap,
    Record,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    ok,
    source,
)
from collector.directory import filetime, interval

COMPLEX = 0x1
REVERSIBLE = 0x10

ATTRIBUTES = (
    "objectSid",
    "minPwdLength",
    "pwdHistoryLength",
    "pwdProperties",
    "lockoutThreshold",
    "lockoutDuration",
    "ms-DS-MachineAccountQuota",
)


@source(
    "active-directory.domain",
    key="dn",
    per="connection",
    permissions=(*(f"read {name}" for name in ATTRIBUTES), "read pwdLastSet", "read sAMAccountName"),
    filters="the domain, and the account krbtgt",
)
def domain(directory: Ldap) -> Iterator[Row]:
    """The domain: the policy for all passwords without a policy of their own, and the account krbtgt."""
    row = directory.entry(directory.base, attributes=ATTRIBUTES)
    krbtgt = f"(objectSid={row['objectSid'][0]}-502)"
    yield {**row, "krbtgt": directory.attempt_entries(krbtgt, attributes=("sAMAccountName", "pwdLastSet"))}


PSO = (
    "cn",
    "msDS-MinimumPasswordLength",
    "msDS-PasswordHistoryLength",
    "msDS-PasswordReversibleEncryptionEnabled",
    "msDS-LockoutThreshold",
    "msDS-PasswordSettingsPrecedence",
)


@source(
    "active-directory.password-settings",
    key="dn",
    per="connection",
    permissions=(
        "read the Password Settings Container and what is in it", "read whenCreated", *(f"read {name}" for name in PSO),
    ),
    filters="fine-grained password settings",
)
def password_settings(directory: Ldap) -> Iterator[Row]:
    """Every fine-grained password policy of the domain (msDS-PasswordSettings).

    By default only Domain Admins see any. So the container is read first: where it is hidden, this list is a gap, not
    an empty one. A policy that hides itself in a container that is open stays unseen.
    """
    container = f"CN=Password Settings Container,CN=System,{directory.base}"
    marker = directory.entry(container, attributes=("whenCreated",))
    if not marker["whenCreated"]:
        raise Unavailable(GapKind.DENIED, "the Password Settings Container may not be read", "active-directory:search")
    yield from directory.entries(
        "(objectClass=msDS-PasswordSettings)", attributes=PSO, base=container, scope="level"
    )


def _long(wanted: int, min_length: int) -> Verdict:
    told = f"at least {wanted} characters, limit {min_length}"
    return ok(told) if wanted >= min_length else fail(told)


def _locks(attempts: int, max_attempts: int) -> Verdict:
    told = f"locked after {attempts} attempts, limit {max_attempts} and not 0"
    return ok(told) if 0 < attempts <= max_attempts else fail(told)


@check(
    "active-directory.domain.length",
    title="The domain asks for long passwords",
    severity="medium",
    each="active-directory.domain",
)
def length(domain: Record, *, min_length: int = 12) -> Verdict:
    """The domain's policy asks for at least ``min_length`` characters.

    Source: ``minPwdLength``. Fine-grained policies may say otherwise for some; another check looks there.
    Remedy: set the minimum length in the Default Domain Policy.
    """
    return _long(int(domain["minPwdLength"][0]), min_length)


@check(
    "active-directory.domain.complexity",
    title="The domain refuses simple passwords",
    severity="low",
    each="active-directory.domain",
)
def complexity(domain: Record) -> Verdict:
    """The domain's policy asks for several kinds of characters and refuses the user's name.

    Source: ``pwdProperties`` (DOMAIN_PASSWORD_COMPLEX, 0x1).
    Remedy: switch it on in the Default Domain Policy.
    """
    on = int(domain["pwdProperties"][0]) & COMPLEX
    return ok("DOMAIN_PASSWORD_COMPLEX is set") if on else fail("DOMAIN_PASSWORD_COMPLEX is not set")


@check(
    "active-directory.domain.irreversible",
    title="The domain keeps no password that can be decrypted",
    severity="high",
    each="active-directory.domain",
)
def irreversible(domain: Record) -> Verdict:
    """The domain's policy does not keep passwords with reversible encryption.

    Source: ``pwdProperties`` (DOMAIN_PASSWORD_STORE_CLEARTEXT, 0x10).
    Remedy: switch it off in the Default Domain Policy, and have passwords changed.
    """
    told = "DOMAIN_PASSWORD_STORE_CLEARTEXT is"
    return fail(f"{told} set") if int(domain["pwdProperties"][0]) & REVERSIBLE else ok(f"{told} not set")


@check(
    "active-directory.domain.history",
    title="The domain remembers former passwords",
    severity="low",
    each="active-directory.domain",
)
def history(domain: Record, *, min_remembered: int = 5) -> Verdict:
    """The domain's policy refuses the last ``min_remembered`` passwords at least.

    Source: ``pwdHistoryLength``.
    Remedy: set it in the Default Domain Policy.
    """
    remembered = int(domain["pwdHistoryLength"][0])
    told = f"{remembered} passwords remembered, limit {min_remembered}"
    return ok(told) if remembered >= min_remembered else fail(told)


@check(
    "active-directory.domain.lockout",
    title="The domain locks an account after failed attempts",
    severity="high",
    each="active-directory.domain",
)
def lockout(domain: Record, *, max_attempts: int = 10, min_lock_minutes: int = 15) -> Verdict:
    """The domain's policy locks an account after at most ``max_attempts`` wrong passwords, for long enough.

    Source: ``lockoutThreshold`` (0: never), ``lockoutDuration`` (at least ``min_lock_minutes``, or until unlocked).
    Remedy: set both in the Default Domain Policy.
    """
    locked = interval(domain["lockoutDuration"][0])
    minutes = int(locked.total_seconds() // 60) if locked else None
    if minutes is not None and minutes < min_lock_minutes:
        return fail(f"locked for {minutes} minutes, limit {min_lock_minutes}")
    return _locks(int(domain["lockoutThreshold"][0]), max_attempts)


@check(
    "active-directory.domain.join-restricted",
    title="Ordinary users cannot join computers to the domain",
    severity="medium",
    each="active-directory.domain",
)
def join_restricted(domain: Record, *, max_quota: int = 0) -> Verdict:
    """A user without further rights may make at most ``max_quota`` computer accounts.

    Source: ``ms-DS-MachineAccountQuota``. Rights given by group policy or on an organisational unit are not seen here.
    Remedy: set it to 0.
    """
    quota = int(domain["ms-DS-MachineAccountQuota"][0])
    told = f"quota {quota}, limit {max_quota}"
    return ok(told) if quota <= max_quota else fail(told)


@check(
    "active-directory.domain.ticket-key-renewed",
    title="The key of all Kerberos tickets is renewed",
    severity="high",
    each="active-directory.domain",
)
def ticket_key_renewed(domain: Record, *, as_of: datetime, max_age_days: int = 180) -> Verdict:
    """The password of krbtgt was set within ``max_age_days`` before the day of collection.

    Source: ``pwdLastSet`` of the account with the relative identifier 502. That it was set twice is not seen.
    Remedy: reset it twice, with the lifetime of a ticket in between.
    """
    accounts = domain["krbtgt"]
    if len(accounts) != 1:
        raise Unavailable(GapKind.UNPROVEN, f"{len(accounts)} accounts have the relative identifier 502, 1 expected")
    changed = filetime(accounts[0]["pwdLastSet"][0])
    if changed is None:
        return fail("the password of krbtgt was never set")
    age = days_between(changed, as_of)
    told = f"set {age} days ago, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "active-directory.password-settings.length",
    title="Fine-grained password policies ask for long passwords",
    severity="medium",
    each="active-directory.password-settings",
)
def settings_length(policy: Record, *, min_length: int = 12) -> Verdict:
    """A policy asks for at least ``min_length`` characters.

    Source: ``msDS-MinimumPasswordLength``. To whom it applies is not read.
    Remedy: set it in the policy.
    """
    return _long(int(policy["msDS-MinimumPasswordLength"][0]), min_length)


@check(
    "active-directory.password-settings.lockout",
    title="Fine-grained password policies lock an account after failed attempts",
    severity="high",
    each="active-directory.password-settings",
)
def settings_lockout(policy: Record, *, max_attempts: int = 10) -> Verdict:
    """A policy locks an account after at most ``max_attempts`` wrong passwords.

    Source: ``msDS-LockoutThreshold`` (0: never).
    Remedy: set it in the policy.
    """
    return _locks(int(policy["msDS-LockoutThreshold"][0]), max_attempts)


@check(
    "active-directory.password-settings.irreversible",
    title="Fine-grained password policies keep no password that can be decrypted",
    severity="high",
    each="active-directory.password-settings",
)
def settings_irreversible(policy: Record) -> Verdict:
    """A policy does not keep passwords with reversible encryption.

    Source: ``msDS-PasswordReversibleEncryptionEnabled``.
    Remedy: switch it off in the policy, and have passwords changed.
    """
    told = f"reversible encryption is {policy['msDS-PasswordReversibleEncryptionEnabled'][0]}, limit FALSE"
    return ok(told) if policy["msDS-PasswordReversibleEncryptionEnabled"] == ["FALSE"] else fail(told)
