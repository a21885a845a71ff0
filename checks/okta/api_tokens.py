"""Okta API tokens: who holds them, how old they are, and from where they work."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    GapKind,
    Http,
    Record,
    Row,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)


@source("okta.api-tokens", key="id", per="connection", permissions=("okta.apiTokens.read",))
def api_tokens(okta: Http) -> Iterator[Row]:
    """Every active API token of the organisation, without its value."""
    yield from okta.pages("/api/v1/api-tokens")


@check(
    "okta.api-tokens.rotated",
    title="Okta API tokens are renewed",
    severity="medium",
    each="okta.api-tokens",
)
def rotated(token: Record, *, as_of: datetime, max_age_days: int = 365) -> Verdict:
    """A token was created at most ``max_age_days`` before the day of collection.

    Source: List API tokens (``created``). A token that is used does not run out by itself.
    Remedy: create a second token, move its users, then revoke this one; or use a service app with scopes.
    """
    age = days_between(instant(token["created"]), as_of)
    told = f"{token['name']} is {age} days old, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "okta.api-tokens.network-restricted",
    title="Okta API tokens work from named networks only",
    severity="medium",
    each="okta.api-tokens",
)
def network_restricted(token: Record) -> Verdict:
    """A token is bound to network zones.

    Source: List API tokens (``network.connection``, ``network.include``).
    Remedy: Security, API, Tokens: restrict the token to network zones.
    """
    network = token["network"]
    if network["connection"] == "ANYWHERE":
        return fail(f"{token['name']} works from anywhere")
    zones = network.get("include") or []  # left out where only zones are excluded
    if not zones:
        return fail(f"{token['name']} names no zone it works from")
    return ok(f"{token['name']} works from {len(zones)} zones only")


@check(
    "okta.api-tokens.owners-active",
    title="Okta API tokens belong to accounts in use",
    severity="high",
    over=("okta.api-tokens", "okta.users"),
)
def owners_active(tokens: Iterator[Record], users: Iterator[Record]) -> Verdict:
    """No API token belongs to a user who is suspended or deprovisioned; a token has all rights of its owner.

    Source: List API tokens (``userId``), List users (``status``).
    Remedy: revoke the token.
    """
    held = {token["name"]: token["userId"] for token in tokens}
    if not held:
        return skip("there is no API token")
    owners = set(held.values())
    status = {user["id"]: user["status"] for user in users if user["id"] in owners}
    if missing := sorted(name for name, owner in held.items() if owner not in status):
        reason = f"the owners of {', '.join(missing[:5])} are not in the list of users"
        raise Unavailable(GapKind.UNPROVEN, reason)
    off = sorted(
        f"{name} ({status[owner].lower()})"
        for name, owner in held.items()
        if status[owner] in ("SUSPENDED", "DEPROVISIONED")
    )
    if off:
        return fail(f"{len(off)} of {len(held)} tokens belong to accounts that are off: {', '.join(off[:20])}")
    return ok(f"none of {len(held)} tokens belongs to an account that is off")
