"""Accounts of PostgreSQL and MariaDB servers held against the organisation's own registers."""

from datetime import datetime

from collector.api import Record, Table, Verdict, check, skip
from collector.registers.matching import PEOPLE, RULES, Owner, approved, no_leaver, owned, owner

SERVER = ("mariadb.sys", "mysql")
"""Accounts that MariaDB makes for itself."""


def _role(role: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]) -> Owner:
    name = role["rolname"]
    return owner(people, identities, (scope, "postgresql"), name, (name,), as_of, rules)


def _account(
    account: Record, people: Table, identities: Table, scope: str, as_of: datetime, rules: tuple[str, ...]
) -> Owner:
    """By the name, or by name and host, as identities.csv has it."""
    system, name = (scope, "mariadb"), account["User"]
    found = owner(people, identities, system, account["account"], (name,), as_of, rules)
    return found if found.person or found.disputed else owner(people, identities, system, name, (name,), as_of, rules)


def _no_login(account: Record) -> str:
    """Why nobody logs in as this account; empty where somebody may."""
    if account["is_role"] == "Y":
        return "is a role, which nobody logs in as"
    return "is locked" if account["global_priv"]["locked"] else ""


@check(
    "joins.postgresql.leavers",
    title="Nobody who left can log in to the PostgreSQL server",
    severity="critical",
    each="postgresql.roles",
    beside=PEOPLE,
)
def postgresql_leavers(
    role: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A role that can log in belongs to nobody who left more than ``max_days`` before the day of collection.

    Source: pg_roles (``rolname``, ``rolcanlogin``, ``rolsuper``); people.csv, identities.csv.
    Remedy: ``ALTER ROLE ... NOLOGIN``, then hand its objects over and drop it.
    """
    if not role["rolcanlogin"]:
        return skip("cannot log in")
    held = f"the role {role['rolname']} can log in{' as superuser' if role['rolsuper'] else ''}"
    return no_leaver(_role(role, people, identities, scope, as_of, rules), held, as_of, max_days)


@check(
    "joins.postgresql.owned",
    title="Every PostgreSQL role that can log in belongs to a person, or to a declared service",
    severity="medium",
    each="postgresql.roles",
    beside=PEOPLE,
)
def postgresql_owned(
    role: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = ("postgres",),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A role that can log in is matched with a person, or its name is one of ``service_accounts`` (with ``*``).

    Source: pg_roles (``rolname``, ``rolcanlogin``); people.csv, identities.csv.
    Remedy: drop the role, write its person into identities.csv, or declare the service.
    """
    if not role["rolcanlogin"]:
        return skip("cannot log in")
    return owned(_role(role, people, identities, scope, as_of, rules), role["rolname"], service_accounts)


@check(
    "joins.postgresql.privileged-approved",
    title="PostgreSQL superusers of people were approved by somebody else",
    severity="high",
    each="postgresql.roles",
    beside=(*PEOPLE, "register.access-requests"),
)
def postgresql_privileged_approved(
    role: Record,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    exempt: tuple[str, ...] = ("postgres",),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """A superuser that can log in and is not ``exempt`` has a request approved by somebody else, still in force.

    Source: pg_roles (``rolsuper``, ``rolcanlogin``); access-requests.csv.
    Remedy: ``ALTER ROLE ... NOSUPERUSER``, or have it requested and approved.
    """
    if not role["rolcanlogin"] or not role["rolsuper"]:
        return skip("is no superuser that can log in")
    if role["rolname"] in exempt:
        return skip("is exempt")
    found = _role(role, people, identities, scope, as_of, rules)
    return approved(requests, people, found, role["rolname"], (scope, "postgresql"), as_of)


@check(
    "joins.mariadb.leavers",
    title="Nobody who left can log in to the MariaDB server",
    severity="critical",
    each="mariadb.accounts",
    beside=PEOPLE,
)
def mariadb_leavers(
    account: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    max_days: int = 1,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An account that is not locked belongs to nobody who left more than ``max_days`` before the day of collection.

    identities.csv names the account as ``User`` or as ``User@Host``.
    Source: mysql.user (``User``, ``Host``), mysql.global_priv (``account_locked``); people.csv, identities.csv.
    Remedy: ``ALTER USER ... ACCOUNT LOCK``, then ``DROP USER``.
    """
    if off := _no_login(account):
        return skip(off)
    held = f"the account {account['account']} is not locked"
    return no_leaver(_account(account, people, identities, scope, as_of, rules), held, as_of, max_days)


@check(
    "joins.mariadb.owned",
    title="Every MariaDB account belongs to a person, or to a declared service",
    severity="medium",
    each="mariadb.accounts",
    beside=PEOPLE,
)
def mariadb_owned(
    account: Record,
    people: Table,
    identities: Table,
    *,
    as_of: datetime,
    scope: str,
    service_accounts: tuple[str, ...] = SERVER,
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An account that is not locked is matched with a person, or its name is one of ``service_accounts``.

    Source: mysql.user (``User``, ``Host``), mysql.global_priv (``account_locked``); people.csv, identities.csv.
    Remedy: drop the account, write its person into identities.csv, or declare the service.
    """
    if off := _no_login(account):
        return skip(off)
    return owned(_account(account, people, identities, scope, as_of, rules), account["User"], service_accounts)


@check(
    "joins.mariadb.privileged-approved",
    title="MariaDB accounts with rights over the whole server were approved by somebody else",
    severity="high",
    each="mariadb.accounts",
    beside=(*PEOPLE, "register.access-requests"),
)
def mariadb_privileged_approved(
    account: Record,
    people: Table,
    identities: Table,
    requests: Table,
    *,
    as_of: datetime,
    scope: str,
    exempt: tuple[str, ...] = (*SERVER, "root"),
    rules: tuple[str, ...] = RULES,
) -> Verdict:
    """An account with SUPER, CREATE USER or GRANT on everything, not locked and not ``exempt``, has a request.

    The request was approved by somebody else and is still in force.
    Source: mysql.user (``Super_priv``, ``Create_user_priv``, ``Grant_priv``); access-requests.csv.
    Remedy: ``REVOKE``, or have the rights requested and approved.
    """
    if off := _no_login(account):
        return skip(off)
    held = [name for name in ("Super_priv", "Create_user_priv", "Grant_priv") if account[name] == "Y"]
    if not held or account["User"] in exempt:
        return skip("is exempt" if held else "has no such right over the whole server")
    found = _account(account, people, identities, scope, as_of, rules)
    return approved(requests, people, found, account["User"], (scope, "mariadb"), as_of)
