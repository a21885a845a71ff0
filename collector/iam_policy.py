"""What an AWS policy document grants, read from its text alone; a shape nobody knows raises, and becomes an ERROR."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

Statement = dict[str, Any]

NARROWING = frozenset({
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc",
    "aws:sourcevpce", "aws:userid", "aws:vpcsourceip", "kms:calleraccount", "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
})  # fmt: skip
"""Condition keys that name who or where a caller is; in lower case, as IAM does not tell the cases apart."""

_OPERATORS = frozenset({
    "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress",
})  # fmt: skip
"""Condition operators that hold only when the key is present and has one of the values."""

_NETWORK_BITS = {4: 8, 6: 32}
"""Shortest prefix that still names a network rather than the internet, by version of the protocol."""


def statements(document: str | Mapping[str, Any]) -> list[Statement]:
    """The statements of a policy document, given as an object, as JSON, or as JSON in URL encoding.

    Raises:
        ValueError: it is none of these.
        KeyError: it has no ``Statement``.
    """
    if isinstance(document, str):
        document = json.loads(unquote(document) if document.lstrip()[:1] == "%" else document)
    if not isinstance(document, Mapping):
        raise ValueError("a policy document is a JSON object")
    found = document["Statement"]
    return [dict(statement) for statement in ([found] if isinstance(found, Mapping) else found)]


def principals(statement: Mapping[str, Any]) -> dict[str, list[str]]:
    """The principals a statement names, by kind: ``{"AWS": [...], "Service": [...], "Federated": [...]}``.

    A bare ``"*"`` is written ``{"AWS": ["*"]}``. Empty where the statement names none.
    """
    named = statement.get("Principal", {})  # identity policies have no principal, NotPrincipal takes its place
    if isinstance(named, str):
        named = {"AWS": named}
    return {kind: listed(who) for kind, who in named.items()}


def account_of(principal: str) -> str:
    """The account id in an AWS principal (an ARN or the bare id); empty for ``*`` and for ids of deleted principals."""
    if re.fullmatch(r"\d{12}", principal):
        return principal
    part = principal.split(":")
    return part[4] if part[0] == "arn" and len(part) > 5 else ""


def is_public(statement: Mapping[str, Any]) -> bool:
    """True when an allowing statement lets in anyone: ``*``, or all but some, and no condition names who or where."""
    if statement["Effect"] != "Allow":
        return False
    anyone = "NotPrincipal" in statement or any("*" in who for who in principals(statement).values())
    return anyone and not is_narrowed(statement)


def is_narrowed(statement: Mapping[str, Any]) -> bool:
    """True when a condition holds only for callers, accounts, organisations or networks it names.

    An operator ending in ``IfExists`` or beginning with ``ForAllValues`` holds when the key is absent, so it narrows
    nothing; nor does a value that begins with a wildcard.
    """
    for operator, keys in statement.get("Condition", {}).items():  # a condition is optional
        if operator.lower().removeprefix("foranyvalue:") not in _OPERATORS:
            continue
        for key, values in keys.items():
            if key.lower() in NARROWING and all(_is_fixed(str(value)) for value in listed(values)):
                return True
    return False


def covers(statement: Mapping[str, Any], action: str) -> bool:
    """True when a statement, of whatever effect, speaks of ``action`` (``iam:PassRole``).

    Case and wildcards are read as IAM reads them.
    """
    if "NotAction" in statement:
        return not any(_matches(pattern, action) for pattern in listed(statement["NotAction"]))
    return any(_matches(pattern, action) for pattern in listed(statement["Action"]))


def allows(statement: Mapping[str, Any], action: str) -> bool:
    """True when an allowing statement covers ``action``, on whatever resource and condition."""
    return statement["Effect"] == "Allow" and covers(statement, action)


def on_everything(statement: Mapping[str, Any]) -> bool:
    """True when a statement speaks of every resource: ``*``, an ARN of nothing but ``*``, or all resources but some."""
    if "NotResource" in statement:
        return True
    everything = re.compile(r"\*+|arn(:\*+)+|arn:aws[a-z-]*(:\*+)+")
    return any(everything.fullmatch(resource) for resource in listed(statement["Resource"]))


def grants_all(statement: Mapping[str, Any]) -> bool:
    """True when an allowing statement grants every action on every resource, even if under a condition."""
    if statement["Effect"] != "Allow" or "Action" not in statement or not on_everything(statement):
        return False
    return any(re.fullmatch(r"\*+(:\*+)?", action) for action in listed(statement["Action"]))


def condition_values(statement: Mapping[str, Any], key: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each operator under which a condition names ``key``, with the values it compares."""
    for operator, keys in statement.get("Condition", {}).items():  # a condition is optional
        for name, values in keys.items():
            if name.lower() == key.lower():
                yield operator, [str(value) for value in listed(values)]


def listed(value: Any) -> list[Any]:
    """The value as a list: IAM lets a single one stand alone."""
    return list(value) if isinstance(value, list) else [value]


def _matches(pattern: str, action: str) -> bool:
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, action, re.IGNORECASE) is not None


def _is_fixed(value: str) -> bool:
    """True when a condition's value names an account, an organisation, a resource or a network."""
    if value.startswith("arn:"):
        account = value.split(":")[4:5]
        return not re.search(r"[*?$]", value) or bool(account and re.fullmatch(r"\d{12}", account[0]))
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        first = re.split(r"[/:]", value)[0]
        return bool(first) and not re.search(r"[*?$]", first)
    return network.prefixlen >= _NETWORK_BITS[network.version]
