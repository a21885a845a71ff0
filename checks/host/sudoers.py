"""Who may become another user with sudo, and whether a password is asked for."""

import json
from collections.abc import Iterator

from collector.api import Host, Record, Row, Verdict, check, fail, ok, skip, source

COMMAND = ("cvtsudoers", "-c", "", "-e", "-f", "json", "/etc/sudoers")
"""Sudo's own parser: include files followed, aliases expanded, no configuration of its own."""


@source(
    "host.sudoers",
    key="Id",
    per="connection",
    permissions=("host:list /etc", "host:run " + " ".join(COMMAND)),
)
def rules(host: Host) -> Iterator[Row]:
    """Every Defaults line and every rule of the local sudoers files; empty where there is no /etc/sudoers."""
    if "sudoers" not in host.list("/etc"):
        return
    policy = json.loads(host.run(*COMMAND))
    # cvtsudoers leaves a part out when it is empty
    for number, defaults in enumerate(policy.get("Defaults", ()), 1):
        yield {"Id": f"Defaults {number}", **defaults}
    for number, rule in enumerate(policy.get("User_Specs", ()), 1):
        yield {"Id": f"rule {number}", **rule}


@check(
    "host.sudoers.no-passwordless-all",
    title="Sudo asks for a password before it allows everything",
    severity="high",
    each="host.sudoers",
)
def no_passwordless_all(rule: Record) -> Verdict:
    """No rule grants all commands without a password, and no Defaults line turns passwords off.

    Source: ``cvtsudoers -e -f json /etc/sudoers`` (Defaults, User_Specs). Rules for root itself are skipped.
    Rules from a directory service are not in these files.
    Remedy: drop ``NOPASSWD`` or ``!authenticate``, or name the commands that need it.
    """
    if "Cmnd_Specs" not in rule:
        off = any(option.get("authenticate") is False for option in rule["Options"])  # one option each, by its name
        if not off:
            return skip("these Defaults do not concern passwords")
        return fail(f"Defaults turn passwords off for {_names(rule['Binding']) if 'Binding' in rule else 'everyone'}")
    if rule["User_List"] == [{"username": "root"}]:
        return skip("root needs no sudo")
    for spec in rule["Cmnd_Specs"]:
        options = spec.get("Options", ())  # left out when a rule has none
        free = any(option.get("authenticate") is False for option in options)
        if free and {"command": "ALL"} in spec["Commands"]:
            return fail(f"{_names(rule['User_List'])} may run all commands without a password")
    return ok(f"{_names(rule['User_List'])} may not run all commands without a password")


def _names(members: list[Record]) -> str:
    return ", ".join(
        ("%" if kind == "usergroup" else "") + str(name) for member in members for kind, name in member.items()
    )
