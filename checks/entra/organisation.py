"""A Microsoft Entra tenant: who is told of trouble, what is synchronised, and the rules of its domains."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    Field,
    GapKind,
    Http,
    Personal,
    Record,
    Redaction,
    Row,
    Unavailable,
    Verdict,
    check,
    fail,
    instant,
    ok,
    skip,
    source,
)

REASON = "who is behind the tenant is known; addresses and telephones are not needed"
NEVER = 2147483647
"""How the API spells that a password does not run out."""


@source(
    "entra.organisation",
    key="id",
    per="connection",
    permissions=("Organization.Read.All",),
    redactions=tuple(
        Redaction("entra:GET /v1.0/organization", REASON, json=f"value[].{name}")
        for name in (
            "street", "postalCode", "businessPhones[]", "securityComplianceNotificationPhones[]",
            "marketingNotificationEmails[]",
        )
    ),
    personal=(Personal("entra:GET /v1.0/organization", "email", json="**.technicalNotificationMails"),),
)  # fmt: skip
def organisation(entra: Http) -> Iterator[Row]:
    """One record: the tenant."""
    yield from entra.pages("/v1.0/organization", rows="value", pager=Field("@odata.nextLink"))


@source("entra.domains", key="id", per="connection", permissions=("Domain.Read.All",))
def domains(entra: Http) -> Iterator[Row]:
    """Every domain of the tenant, verified or not."""
    yield from entra.pages("/v1.0/domains", rows="value", pager=Field("@odata.nextLink"))


@check(
    "entra.organisation.technical-contact",
    title="Somebody is told of trouble with the Entra tenant",
    severity="low",
    each="entra.organisation",
)
def technical_contact(tenant: Record) -> Verdict:
    """The tenant names at least one address for technical notices.

    Source: List organization (``technicalNotificationMails``).
    Remedy: Microsoft Entra admin centre, Overview, Properties: technical contact; use a mailbox of a team.
    """
    found = tenant["technicalNotificationMails"]
    return ok(f"{len(found)} addresses are named") if found else fail("no address is named")


@check(
    "entra.organisation.synchronised",
    title="Changes of accounts on the premises reach Entra ID in time",
    severity="medium",
    each="entra.organisation",
)
def synchronised(tenant: Record, *, as_of: datetime, max_age_h: int = 3) -> Verdict:
    """A tenant that takes accounts from the premises did so within ``max_age_h`` hours before the collection.

    Source: List organization (``onPremisesSyncEnabled``, ``onPremisesLastSyncDateTime``). Until then a leaver who was
    disabled on the premises can still sign in to the cloud.
    Remedy: see to the synchronisation service.
    """
    if not tenant["onPremisesSyncEnabled"]:
        return skip("no accounts come from the premises")
    last = tenant["onPremisesLastSyncDateTime"]
    if last is None:
        return fail("never synchronised")
    hours = (as_of - instant(last)).total_seconds() / 3600
    told = f"last synchronised {hours:.1f} hours before the collection, limit {max_age_h}"
    return ok(told) if hours <= max_age_h else fail(told)


@check(
    "entra.domains.password-lifetime",
    title="Passwords of an Entra domain last as long as the organisation's rule says",
    severity="low",
    each="entra.domains",
)
def password_lifetime(domain: Record, *, min_days: int = 365, max_days: int = NEVER) -> Verdict:
    """Passwords of a verified, managed domain run out after ``min_days`` to ``max_days`` days; 2147483647 means never.

    The defaults take the view that a password is changed on suspicion, not by the calendar; an organisation with
    another rule sets its own limits. Source: List domains (``passwordValidityPeriodInDays``). Where it is not set,
    Microsoft's default of 90 days holds in old tenants and none in new ones, so nothing is concluded.
    Remedy: ``Update-MgDomain -PasswordValidityPeriodInDays``.
    """
    if not domain["isVerified"]:
        return skip("the domain is not verified")
    if domain["authenticationType"] != "Managed":
        return skip(f"passwords are ruled elsewhere: the domain is {domain['authenticationType'].lower()}")
    days = domain["passwordValidityPeriodInDays"]
    if days is None:
        raise Unavailable(GapKind.UNPROVEN, "the lifetime is not set on the domain, so the default of the tenant holds")
    told = f"{'never' if days == NEVER else f'after {days} days'}, from {min_days} to {max_days} wanted"
    return ok(f"passwords run out {told}") if min_days <= days <= max_days else fail(f"passwords run out {told}")
