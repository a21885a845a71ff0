"""The commands: each in the module of its reason, which is imported when the command is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from importlib import import_module

COMMANDS: Mapping[str, str] = {
    "demo": "collecting.demo",
    "init": "collecting.init",
    "doctor": "collecting.doctor",
    "plan": "collecting.plan",
    "run": "collecting.run",
    "daemon": "collecting.daemon",
    "verify": "reviewing.verify",
    "rerun": "reviewing.rerun",
    "diff": "reviewing.diff",
    "continuity": "period.continuity",
    "pause": "period.pause",
    "observe": "period.observe",
    "attach": "statement.attach",
    "attachments": "statement.listing",
    "waive": "statement.waive",
    "report": "reporting.report",
    "status": "reporting.status",
    "leavers": "reporting.leavers",
    "controls": "control.controls",
    "checks": "installed.checks",
    "list": "installed.list_",
    "bundle": "bundle.bundle",
    "registers check": "register.registers_check",
    "registers init": "register.registers_init",
    "key new": "seal.key_new",
    "key show": "seal.key_show",
    "key rotate": "seal.key_rotate",
    "key revoke": "seal.key_revoke",
    "store check": "store.store_check",
    "store stats": "store.store_stats",
    "timestamp renew": "seal.timestamp_renew",
    "witness": "seal.witness",
    "disclose": "privacy.disclose",
    "verify-disclosure": "privacy.verify_disclosure",
    "erase": "privacy.erase",
}
"""Every command, with the module and the function that is it."""


def function(command: str) -> Callable[[argparse.Namespace], int]:
    """What a command does: it prints results to standard output, everything else to standard error.

    It returns the exit code.
    """
    module, _, name = COMMANDS[command].partition(".")
    found: Callable[[argparse.Namespace], int] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
