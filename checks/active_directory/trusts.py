"""Trusts of an Active Directory domain: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Ldap, Record, Row, Verdict, check, fail, ok, skip, source

OUTBOUND = 0x2
QUARANTINED = 0x4
FOREST = 0x8
WITHIN_FOREST = 0x20
AS_EXTERNAL = 0x40
TGT_DELEGATION = 0x800

ATTRIBUTES = ("trustPartner", "trustDirection", "trustType", "trustAttributes")


@source(
    "active-directory.trusts",
    key="dn",
    per="connection",
    permissions=tuple(f"read {name}" for name in ATTRIBUTES),
    filters="trusted domains",
)
def trusts(directory: Ldap) -> Iterator[Row]:
    """Every trust between this domain and another (trustedDomain), in either direction."""
    yield from directory.entries(
        "(objectClass=trustedDomain)", attributes=ATTRIBUTES, base=f"CN=System,{directory.base}"
    )


def _outbound(trust: Record) -> bool:
    return bool(int(trust["trustDirection"][0]) & OUTBOUND)


@check(
    "active-directory.trusts.filtered",
    title="A trusted domain cannot claim identities of this one",
    severity="high",
    each="active-directory.trusts",
)
def filtered(trust: Record) -> Verdict:
    """Identifiers that do not belong to the trusted domain are filtered out where it lies outside the forest.

    Source: ``trustAttributes`` (QUARANTINED_DOMAIN, 0x4; FOREST_TRANSITIVE, 0x8; TREAT_AS_EXTERNAL, 0x40). A trust to
    another forest filters unless it is treated as external. Trusts within the forest, and those by which only the other
    side trusts, are skipped.
    Remedy: ``netdom trust /quarantine:yes``, or ``/enablesidhistory:no`` between forests.
    """
    flags = int(trust["trustAttributes"][0])
    if not _outbound(trust):
        return skip("this domain does not trust the other")
    if flags & WITHIN_FOREST:
        return skip("the other domain is of the same forest")
    told = f"trust attributes 0x{flags:x}"
    if flags & FOREST:
        return fail(f"{told}: the forest is treated as external") if flags & AS_EXTERNAL else ok(f"{told}: filtered")
    return ok(f"{told}: filtered") if flags & QUARANTINED else fail(f"{told}: not filtered")


@check(
    "active-directory.trusts.no-ticket-delegation",
    title="Tickets of this domain's users are not handed on in trusted ones",
    severity="high",
    each="active-directory.trusts",
)
def no_ticket_delegation(trust: Record) -> Verdict:
    """Delegation of ticket-granting tickets across the trust is not switched on.

    Source: ``trustAttributes`` (CROSS_ORGANIZATION_ENABLE_TGT_DELEGATION, 0x800). Trusts within the forest are skipped.
    Remedy: ``netdom trust /EnableTGTDelegation:No``.
    """
    flags = int(trust["trustAttributes"][0])
    if flags & WITHIN_FOREST:
        return skip("the other domain is of the same forest")
    told = f"trust attributes 0x{flags:x}"
    return fail(f"{told}: delegation is on") if flags & TGT_DELEGATION else ok(f"{told}: delegation is off")
