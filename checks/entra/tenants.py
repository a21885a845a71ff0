"""Microsoft Entra tenants that belong together: which there are, and which of them are read at all."""

from collections.abc import Iterator

from collector.api import Field, Http, Record, Row, Table, Verdict, check, fail, ok, skip, source

ORGANISATION = "/v1.0/tenantRelationships/multiTenantOrganization"


@source("entra.tenants", key="tenantId", per="connection", permissions=("MultiTenantOrganization.Read.All",))
def tenants(entra: Http) -> Iterator[Row]:
    """Every tenant of the multitenant organisation, pending ones too; none where the tenant is in no such organisation.

    Microsoft has a multitenant organisation for every tenant; where none was made or joined its state is not active.
    """
    if entra.get(ORGANISATION)["state"] == "active":
        yield from entra.pages(f"{ORGANISATION}/tenants", rows="value", pager=Field("@odata.nextLink"))


@check(
    "entra.tenants.collected",
    title="Every tenant of the multitenant organisation is among those that are collected",
    severity="high",
    each="entra.tenants",
    beside=("entra.organisation",),
)
def collected(tenant: Record, organisations: Table) -> Verdict:
    """An active tenant is one that a connection of this run reads.

    Source: List multiTenantOrganizationMembers (``tenantId``, ``state``), List organization (``id``). Tenants that were
    never put into the multitenant organisation are not seen. Microsoft has such organisations in the worldwide cloud
    only; in any other the list is a gap.
    Remedy: add a connection of kind entra for the tenant.
    """
    if tenant["state"] != "active":
        return skip(f"the tenant is {tenant['state']}")
    if organisations.where("id", tenant["tenantId"]):
        return ok("the tenant is the one that a connection reads")
    return fail(f"the tenant is active and not collected; {sum(1 for _ in organisations)} tenants are")
