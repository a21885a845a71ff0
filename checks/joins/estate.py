"""Clusters and tenants that one system tells of, held against those that are collected.

A failure here says nothing of the estate but that a part of it was not looked at.
"""

from collector.api import Record, Table, Verdict, check, fail, ok, skip
from collector.identity_providers import provider

GONE = ("CREATING", "DELETING", "FAILED", "PENDING")
"""States in which an EKS cluster runs nothing, or nothing any more."""


@check(
    "joins.aws.clusters-collected",
    title="Every EKS cluster is among the Kubernetes clusters that are collected",
    severity="high",
    each="aws.eks.clusters",
    beside=("kubernetes.issuers",),
)
def clusters_collected(row: Record, issuers: Table) -> Verdict:
    """The issuer of a cluster in use is that of the cluster a connection of this run reads.

    The issuer is made with the cluster and is of no other, and it does not matter by which address the cluster is
    reached. Where no connection of kind kubernetes is configured, aws.eks.clusters-collected says so.
    Source: DescribeCluster (``status``, ``identity.oidc.issuer``); of the API server
    ``/.well-known/openid-configuration`` (``issuer``).
    Remedy: add a connection of kind kubernetes to the cluster.
    """
    cluster = row["DescribeCluster"]["cluster"]
    if cluster["status"] in GONE:
        return skip(f"the cluster is {cluster['status'].lower()}")
    issuer = cluster["identity"]["oidc"]["issuer"]
    if issuers.where("issuer", issuer):
        return ok(f"the cluster is collected: one that a connection reads has the issuer {issuer}")
    return fail(
        f"the cluster is {cluster['status'].lower()} and not collected; {_number(issuers)} clusters are, "
        f"and none has the issuer {issuer}"
    )


@check(
    "joins.aws.entra-tenants-collected",
    title="Every Entra tenant that AWS trusts is among those that are collected",
    severity="high",
    each="aws.iam.identity-providers",
    beside=("entra.organisation",),
)
def entra_tenants_collected(row: Record, tenants: Table) -> Verdict:
    """The tenant that signs people in to the account is one that a connection of this run reads.

    Where no connection of kind entra is configured, aws.iam.identity-providers-collected says so.
    Source: GetSAMLProvider (``entityID`` in ``SAMLMetadataDocument``), GetOpenIDConnectProvider (``Url``), which name
    the tenant's id; List organization (``id``).
    Remedy: add a connection of kind entra for the tenant; or delete the provider, where nobody should sign in with it.
    """
    found = provider(row)
    if found.kind != "entra":
        return skip(f"{found.issuer} does not name an Entra tenant")
    if tenants.where("id", found.tenant):
        return ok(f"{found.what} is collected")
    return fail(f"{found.what} is trusted and not collected; {_number(tenants)} tenants are")


@check(
    "joins.aws.keycloak-realms-collected",
    title="Every Keycloak realm that AWS trusts is among those that are collected",
    severity="high",
    each="aws.iam.identity-providers",
    beside=("keycloak.issuers",),
)
def keycloak_realms_collected(row: Record, realms: Table) -> Verdict:
    """The realm that signs people in to the account is one that a connection of this run is shown.

    Where no connection of kind keycloak is configured, aws.iam.identity-providers-collected says so.
    Source: GetSAMLProvider (``entityID`` in ``SAMLMetadataDocument``), GetOpenIDConnectProvider (``Url``); of each
    realm ``/.well-known/openid-configuration`` (``issuer``), which is its entity id too.
    Remedy: add a connection of kind keycloak, or give its client sight of the realm; or delete the provider, where
    nobody should sign in with it.
    """
    found = provider(row)
    if found.kind != "keycloak":
        return skip(f"{found.issuer} does not name a Keycloak realm")
    if realms.where("getWellKnown/issuer", found.issuer):
        return ok(f"{found.what} is collected")
    return fail(f"{found.what} is trusted and not collected; {_number(realms)} realms are")


def _number(table: Table) -> int:
    return sum(1 for _ in table)
