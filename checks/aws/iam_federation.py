"""Identity providers an AWS account trusts: whose they are, and whether systems of that kind are collected."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from collector.api import Aws, GapKind, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source
from collector.identity_providers import WORKLOADS, provider


@source(
    "aws.iam.identity-providers",
    key="Arn",
    per="account",
    permissions=(
        "iam:ListSAMLProviders",
        "iam:GetSAMLProvider",
        "iam:ListOpenIDConnectProviders",
        "iam:GetOpenIDConnectProvider",
    ),
)
def identity_providers(aws: Aws) -> Iterator[Row]:
    """Every SAML provider and every OpenID Connect provider of the account, with what it is known by."""
    for found in aws.call("iam", "list_saml_providers")["SAMLProviderList"]:
        which = {"SAMLProviderArn": found["Arn"]}
        yield {**found, "GetSAMLProvider": aws.attempt("iam", "get_saml_provider", **which)}
    for found in aws.call("iam", "list_open_id_connect_providers")["OpenIDConnectProviderList"]:
        which = {"OpenIDConnectProviderArn": found["Arn"]}
        yield {**found, "GetOpenIDConnectProvider": aws.attempt("iam", "get_open_id_connect_provider", **which)}


@check(
    "aws.iam.identity-providers-collected",
    title="Identity providers that AWS trusts are systems of a kind that is collected",
    severity="high",
    each="aws.iam.identity-providers",
)
def identity_providers_collected(
    row: Record,
    *,
    collected_kinds: tuple[str, ...] = (),
    workloads: tuple[str, ...] = WORKLOADS,
    accounted_for: tuple[str, ...] = (),
) -> Verdict:
    """A tenant, organisation or realm that signs people in to the account is of one of ``collected_kinds``.

    Unless it is set, ``collected_kinds`` is what the plan reads: the kinds of its connections. Whether it is this very
    tenant that is collected is held by joins.aws.entra-tenants-collected and joins.aws.keycloak-realms-collected;
    of Okta and Google nothing in these replies names the organisation. ``workloads`` sign tokens for programs and hold
    no people; ``accounted_for`` (issuers, with ``*``) are known and judged in another way: both are skipped. Whose an
    issuer is that nobody knows by its name remains unknown.
    Source: GetSAMLProvider (``entityID`` in ``SAMLMetadataDocument``), GetOpenIDConnectProvider (``Url``). The provider
    behind IAM Identity Center is not seen.
    Remedy: add a connection to the provider; or delete it, where nobody should sign in with it.
    """
    found = provider(row, workloads)
    if any(fnmatchcase(found.issuer, pattern) for pattern in accounted_for):
        return skip(f"{found.issuer} is accounted for")
    if found.kind in ("aws", "workload"):
        return skip(f"{found.issuer} is {found.what}")
    if not found.kind:
        raise Unavailable(GapKind.UNPROVEN, f"nothing tells whose {found.issuer} is")
    if found.kind in collected_kinds:
        return ok(f"{found.issuer} is {found.what}, and connections of kind {found.kind} are collected")
    return fail(f"{found.issuer} is {found.what}, and not collected; collected: {', '.join(collected_kinds) or 'none'}")
