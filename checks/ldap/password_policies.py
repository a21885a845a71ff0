"""Password policies of an LDAP directory (ppolicy): how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Ldap, Record, Row, Verdict, check, fail, ok, source

LIMITS = (
    "pwdMinLength",
    "pwdCheckQuality",
    "pwdInHistory",
    "pwdLockout",
    "pwdMaxFailure",
    "pwdMustChange",
)


@source(
    "ldap.password-policies",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in ("objectClass", "pwdAttribute", *LIMITS)),
    filters="entries of the class pwdPolicy",
)
def password_policies(ldap: Ldap) -> Iterator[Row]:
    """Every password policy under the base (pwdPolicy of draft-behera-ldap-password-policy).

    Which of them is the default stands in the configuration of the server, which this does not read.
    """
    yield from ldap.entries("(objectClass=pwdPolicy)", attributes=("objectClass", "pwdAttribute"), optional=LIMITS)


def _number(policy: Record, name: str) -> int:
    """The number a policy sets; where it sets none, 0, as the draft says."""
    return int(policy[name][0]) if policy[name] else 0


@check(
    "ldap.password-policies.present",
    title="The LDAP directory has a password policy",
    severity="high",
    over=("ldap.password-policies",),
)
def present(policies: Iterator[Record]) -> Verdict:
    """At least one policy for ``userPassword`` exists.

    Source: entries of class ``pwdPolicy``, ``pwdAttribute``. That the overlay uses it is not shown by the entry.
    Remedy: load the overlay ppolicy and write a default policy.
    """
    count = sum(bool({"userpassword", "2.5.4.35"} & {name.lower() for name in one["pwdAttribute"]}) for one in policies)
    return ok(f"{count} password policies") if count else fail("no password policy, limit at least 1")


@check(
    "ldap.password-policies.length",
    title="LDAP password policies ask for long passwords, and check them",
    severity="medium",
    each="ldap.password-policies",
)
def length(policy: Record, *, min_length: int = 12, min_check_quality: int = 2) -> Verdict:
    """A policy asks for at least ``min_length`` characters and checks with at least ``min_check_quality``.

    Source: ``pwdMinLength``, ``pwdCheckQuality``: 0 checks nothing, 1 lets pass what it cannot check (a password that
    arrives hashed), 2 refuses that.
    Remedy: set both in the policy.
    """
    wanted, checked = _number(policy, "pwdMinLength"), _number(policy, "pwdCheckQuality")
    if checked < min_check_quality:
        return fail(f"pwdCheckQuality {checked}, limit {min_check_quality}; pwdMinLength {wanted}")
    told = f"pwdMinLength {wanted}, limit {min_length}; pwdCheckQuality {checked}"
    return ok(told) if wanted >= min_length else fail(told)


@check(
    "ldap.password-policies.lockout",
    title="LDAP password policies lock an account after failed attempts",
    severity="high",
    each="ldap.password-policies",
)
def lockout(policy: Record, *, max_attempts: int = 10) -> Verdict:
    """A policy locks an account after at most ``max_attempts`` wrong passwords.

    Source: ``pwdLockout``, ``pwdMaxFailure`` (0: never).
    Remedy: ``pwdLockout: TRUE`` and ``pwdMaxFailure`` in the policy.
    """
    if policy["pwdLockout"] != ["TRUE"]:
        return fail("pwdLockout is not TRUE")
    attempts = _number(policy, "pwdMaxFailure")
    told = f"pwdMaxFailure {attempts}, limit {max_attempts} and not 0"
    return ok(told) if 0 < attempts <= max_attempts else fail(told)


@check(
    "ldap.password-policies.history",
    title="LDAP password policies remember former passwords",
    severity="low",
    each="ldap.password-policies",
)
def history(policy: Record, *, min_remembered: int = 5) -> Verdict:
    """A policy refuses the last ``min_remembered`` passwords at least.

    Source: ``pwdInHistory``.
    Remedy: set it in the policy.
    """
    remembered = _number(policy, "pwdInHistory")
    told = f"pwdInHistory {remembered}, limit {min_remembered}"
    return ok(told) if remembered >= min_remembered else fail(told)


@check(
    "ldap.password-policies.first-use",
    title="LDAP password policies have a password set by another changed at first use",
    severity="medium",
    each="ldap.password-policies",
)
def first_use(policy: Record) -> Verdict:
    """A policy has a user change a password that an administrator set.

    Source: ``pwdMustChange``.
    Remedy: ``pwdMustChange: TRUE`` in the policy.
    """
    return ok("pwdMustChange is TRUE") if policy["pwdMustChange"] == ["TRUE"] else fail("pwdMustChange is not TRUE")
