"""Local accounts of this machine; password hashes are taken out before anything is stored."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from collector.api import (
    GapKind,
    Host,
    Record,
    Redaction,
    Refused,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    ok,
    skip,
    source,
)  # fmt: skip

PASSWD = ("pw_name", "pw_passwd", "pw_uid", "pw_gid", "pw_gecos", "pw_dir", "pw_shell")
SHADOW = ("sp_namp", "sp_pwdp", "sp_lstchg", "sp_min", "sp_max", "sp_warn", "sp_inact", "sp_expire", "sp_flag")
"""Fields of passwd(5) and shadow(5), as the C library names them."""
IN_SHADOW = "x"
REQUIRED = frozenset({"pw_uid", "pw_gid"})
NUMBERS = REQUIRED | {"sp_lstchg", "sp_min", "sp_max", "sp_warn", "sp_inact", "sp_expire"}


@source(
    "host.accounts",
    key="pw_name",
    per="connection",
    permissions=("host:read /etc/passwd", "host:read /etc/shadow"),
    redactions=(
        # Whatever stands in the second field, except the marks for "locked" (!, *) and "see shadow" (x).
        Redaction(
            operation="host:read",
            regex=r"^[^:\n]+:[!*]*(?!x(?::|$))(?P<secret>[^:!*\n][^:\n]*)",
            reason="a password hash; that there is one is enough",
        ),
        # The fifth of exactly seven fields.
        Redaction(
            operation="host:read",
            regex=r"^(?:[^:\n]*:){4}(?P<secret>[^:\n]+)(?::[^:\n]*){2}$",
            reason="the name of a person; the account is enough",
        ),
    ),
)
def accounts(host: Host) -> Iterator[Row]:
    """Every local account of /etc/passwd, with its line of /etc/shadow; accounts of a directory are not local."""
    text = host.attempt_read("/etc/shadow")
    shadow = (
        text if isinstance(text, Refused) else {entry["sp_namp"]: entry for entry in _entries(text, SHADOW, "shadow")}
    )
    for user in _entries(host.read("/etc/passwd"), PASSWD, "passwd"):
        yield {**user, "shadow": shadow if isinstance(shadow, Refused) else shadow.get(user["pw_name"])}


def _entries(text: str, names: tuple[str, ...], file: str) -> Iterator[dict[str, Any]]:
    """The lines of a file, its numbers as such; a number that is left out is ``None``."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(":")
        if len(fields) != len(names):
            raise Unavailable(
                GapKind.MALFORMED, f"line {number} of /etc/{file} has {len(fields)} fields instead of {len(names)}"
            )
        entry: dict[str, Any] = dict(zip(names, fields, strict=True))
        for name in NUMBERS & entry.keys():
            if not re.fullmatch(r"-?\d+" if name in REQUIRED else r"(-?\d+)?", entry[name]):
                raise Unavailable(GapKind.MALFORMED, f"line {number} of /etc/{file} has no number in {name}")
            entry[name] = int(entry[name]) if entry[name] else None
        yield entry


def _password(account: Record) -> str | None:
    """What stands where the password belongs, its hash taken out; ``None`` where there is no line for it."""
    if account["pw_passwd"] != IN_SHADOW:
        return str(account["pw_passwd"])
    shadow = account["shadow"]
    return None if shadow is None else str(shadow["sp_pwdp"])


@check(
    "host.accounts.no-empty-password",
    title="No local account can be used without a password",
    severity="critical",
    each="host.accounts",
)
def no_empty_password(account: Record) -> Verdict:
    """The password field of the account is not empty.

    Source: /etc/passwd (second field) and, where that is ``x``, /etc/shadow.
    Remedy: ``passwd --lock NAME``, or set a password.
    """
    password = _password(account)
    if password is None:
        return skip("the account has no line in /etc/shadow")
    if password == "":
        return fail("the password is empty")
    return ok("no password can be used" if password.startswith(("!", "*")) else "a password is set")


@check(
    "host.accounts.password-ageing",
    title="Passwords of local accounts expire",
    severity="low",
    each="host.accounts",
)
def password_ageing(account: Record, *, max_password_age_days: int = 365) -> Verdict:
    """A password that can be used has to be changed after at most ``max_password_age_days``.

    Source: /etc/shadow (fifth field). Accounts without a usable password are skipped.
    Remedy: ``chage --maxdays DAYS NAME``, and PASS_MAX_DAYS in /etc/login.defs for new accounts.
    """
    password = _password(account)
    if password is None or password.startswith(("!", "*")):
        return skip("no password can be used")
    if account["pw_passwd"] != IN_SHADOW:
        return fail("the password stands in /etc/passwd, where none expires")
    longest = account["shadow"]["sp_max"]
    if longest is None or longest < 0:
        return fail(f"the password never expires; the limit is {max_password_age_days} days")
    observed = f"the password expires after {longest} days"
    return (
        ok(observed) if longest <= max_password_age_days else fail(f"{observed}; the limit is {max_password_age_days}")
    )


@check(
    "host.accounts.single-superuser",
    title="Only root has user id 0",
    severity="critical",
    over=("host.accounts",),
)
def single_superuser(accounts: Iterable[Record]) -> Verdict:
    """The one local account with user id 0 is root.

    Source: /etc/passwd (first and third field).
    Remedy: give the other accounts a user id of their own, and sudo where they need it.
    """
    superusers = [account["pw_name"] for account in accounts if account["pw_uid"] == 0]
    if superusers == ["root"]:
        return ok("root alone has user id 0")
    return fail(f"user id 0 belongs to {', '.join(superusers) or 'no account'}; it is for root alone")
