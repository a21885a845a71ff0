"""Sudo rules kept in an LDAP directory: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Ldap, Record, Row, Verdict, check, fail, ok, skip, source

PARTS = ("sudoUser", "sudoCommand", "sudoOption")


@source(
    "ldap.sudo-rules",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in ("objectClass", "cn", *PARTS)),
    filters="entries of the class sudoRole",
)
def sudo_rules(ldap: Ldap) -> Iterator[Row]:
    """Every sudo rule under the base (sudoRole, sudoers.ldap(5))."""
    yield from ldap.entries("(objectClass=sudoRole)", attributes=("objectClass", "cn"), optional=PARTS)


@check(
    "ldap.sudo-rules.not-for-all",
    title="No sudo rule lets everybody run everything",
    severity="critical",
    each="ldap.sudo-rules",
)
def not_for_all(rule: Record) -> Verdict:
    """A rule for ALL users does not allow ALL commands.

    Source: ``sudoUser``, ``sudoCommand``. A rule without users, as the one of defaults, applies to nobody.
    Remedy: name the users or a group, and the commands.
    """
    if "ALL" not in rule["sudoUser"]:
        return ok(f"{len(rule['sudoUser'])} users or groups are named, not ALL")
    if "ALL" in rule["sudoCommand"]:
        return fail("ALL users may run ALL commands")
    return ok(f"ALL users may run {len(rule['sudoCommand'])} commands, not ALL")


@check(
    "ldap.sudo-rules.password-asked",
    title="Sudo rules ask for the password",
    severity="high",
    each="ldap.sudo-rules",
)
def password_asked(rule: Record, *, exempt: tuple[str, ...] = ()) -> Verdict:
    """A rule does not switch off ``authenticate``; rules named in ``exempt`` are skipped.

    Source: ``sudoOption``. The rule named ``defaults`` sets what holds for all others.
    Remedy: delete ``!authenticate`` from the rule.
    """
    if set(rule["cn"]) & set(exempt):
        return skip("the rule is exempt")
    options = {option.replace(" ", "") for option in rule["sudoOption"]}
    return fail("the option !authenticate is set") if "!authenticate" in options else ok("no option !authenticate")
