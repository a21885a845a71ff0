"""Rules of pg_hba.conf: who is let in from where, over what, and how it is proven."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from collector.api import Record, Row, Sql, Verdict, check, fail, ok, skip, source


@source(
    "postgresql.hba-rules",
    key="rule",
    per="connection",
    permissions=("SELECT ON pg_hba_file_rules", "EXECUTE ON pg_hba_file_rules()"),
)
def hba_rules(postgresql: Sql) -> Iterator[Row]:
    """Every rule of pg_hba.conf as it stands in the file, faulty ones included, under its line.

    The file is what the next reload takes up; it differs from what is in force between a change and the reload. Of the
    options of a rule only ``clientcert`` is asked for, since others may hold secrets.
    """
    yield from postgresql.rows(
        """
        SELECT concat_ws(':', to_jsonb(r) ->> 'file_name', 'line ' || r.line_number) AS rule, r.type, r.database,
            r.user_name, r.address, r.netmask, r.auth_method, r.error,
            (SELECT max(substr(o, 12)) FROM unnest(r.options) AS o WHERE o LIKE 'clientcert=%') AS clientcert
        FROM pg_hba_file_rules r
        """
    )


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - masks that leave nothing of the address
NETWORK = ("host", "hostnossl", "hostnogssenc", "hostssl", "hostgssenc")


def _loopback(rule: Any) -> bool:
    if rule["netmask"] in EVERYWHERE:
        return False
    try:
        return ip_address(rule["address"]).is_loopback
    except ValueError:
        return False


def _told(rule: Record) -> str:
    where = f" from {rule['address']}" + (f"/{rule['netmask']}" if rule["netmask"] else "") if rule["address"] else ""
    return f"{rule['type']} {','.join(rule['database'])} {','.join(rule['user_name'])}{where}"


@check(
    "postgresql.hba-rules.readable",
    title="PostgreSQL understands every rule of pg_hba.conf",
    severity="medium",
    each="postgresql.hba-rules",
)
def readable(rule: Record) -> Verdict:
    """A rule has no error; with one, the server keeps the rules it had and does not start anew.

    Source: pg_hba_file_rules (``error``). Remedy: correct the line, then ``SELECT pg_reload_conf()``.
    """
    if rule["error"]:
        return fail(f"the rule is refused: {rule['error']}")
    return ok(f"the rule is understood: {_told(rule)}")


@check(
    "postgresql.hba-rules.no-trust",
    title="Nobody is let into PostgreSQL without proof",
    severity="critical",
    each="postgresql.hba-rules",
)
def no_trust(rule: Record) -> Verdict:
    """The method of a rule is not ``trust``, local ones included.

    Source: pg_hba_file_rules (``auth_method``). Remedy: ``peer`` for local rules, ``scram-sha-256`` for others.
    """
    if rule["error"]:
        return skip("the rule is faulty")
    told = f"{_told(rule)} is let in by {rule['auth_method']}"
    return fail(told) if rule["auth_method"] == "trust" else ok(told)


@check(
    "postgresql.hba-rules.strong-methods",
    title="PostgreSQL rules use methods that withstand listening and guessing",
    severity="high",
    each="postgresql.hba-rules",
)
def strong_methods(rule: Record, *, weak: tuple[str, ...] = ("password", "md5", "ident", "bsd")) -> Verdict:
    """The method of a rule is not one of ``weak``.

    Source: pg_hba_file_rules (``auth_method``). Under ``md5`` a role whose password is kept as SCRAM verifier uses
    SCRAM all the same; the rule alone does not tell. ``trust`` is the matter of another check.
    Remedy: ``scram-sha-256``, ``cert`` or ``gss``.
    """
    if rule["error"]:
        return skip("the rule is faulty")
    if rule["auth_method"] in ("reject", "trust"):
        return skip(f"the method is {rule['auth_method']}")
    told = f"{_told(rule)} uses {rule['auth_method']}"
    return fail(told) if rule["auth_method"] in weak else ok(told)


@check(
    "postgresql.hba-rules.encrypted",
    title="PostgreSQL takes sessions from the network over encryption only",
    severity="high",
    each="postgresql.hba-rules",
)
def encrypted(rule: Record) -> Verdict:
    """A rule that lets in from the network is of type hostssl or hostgssenc.

    Source: pg_hba_file_rules (``type``). A loopback address is no network, a rule that rejects lets nobody in.
    Remedy: write ``hostssl`` in the place of ``host``.
    """
    if rule["error"]:
        return skip("the rule is faulty")
    if rule["type"] not in NETWORK or rule["auth_method"] == "reject" or _loopback(rule):
        return skip("the rule lets nobody in from the network")
    told = f"{_told(rule)} is let in"
    if rule["type"] in ("hostssl", "hostgssenc"):
        return ok(f"{told} over encryption only")
    return fail(f"{told} without encryption too")


@check(
    "postgresql.hba-rules.networks-named",
    title="PostgreSQL rules name the networks they let in",
    severity="medium",
    each="postgresql.hba-rules",
)
def networks_named(rule: Record) -> Verdict:
    """A rule that lets in from the network does not do so from every address.

    Source: pg_hba_file_rules (``address``, ``netmask``). Remedy: write the networks of the clients.
    """
    if rule["error"]:
        return skip("the rule is faulty")
    if rule["type"] not in NETWORK or rule["auth_method"] == "reject":
        return skip("the rule lets nobody in from the network")
    everywhere = rule["address"] == "all" or rule["netmask"] in EVERYWHERE
    return fail(f"{_told(rule)} is every address") if everywhere else ok(f"{_told(rule)} is a named network")
