"""Whose an identity provider is, told from the name it goes by: entity id of SAML, issuer of OpenID Connect. Pure.

Names are matched as their vendors form them. A name that none of them forms is nobody's: what cannot be told is not
guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

from collector.api import GapKind, Unavailable

METADATA = "{urn:oasis:names:tc:SAML:2.0:metadata}EntityDescriptor"

GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

MICROSOFT = (
    "sts.windows.net", "login.microsoftonline.com", "login.microsoftonline.us", "sts.chinacloudapi.cn",
    "login.partner.microsoftonline.cn", "*.ciamlogin.com",
)  # fmt: skip
"""Hosts that stand in the issuers of Entra tenants, of all its clouds."""

OKTA = ("*.okta.com", "*.oktapreview.com", "*.okta-emea.com", "*.okta-gov.com", "*.okta.mil")
"""Hosts of Okta organisations."""

CLUSTERS = ("oidc.eks.*.amazonaws.com", "oidc.eks.*.amazonaws.com.cn", "oidc-eks.*.api.aws")
"""Hosts in the issuers of EKS clusters."""

IDENTITY_CENTER = "portal.sso.*.amazonaws.com*"
"""Host in the entity id of IAM Identity Center."""

WORKLOADS = (
    "token.actions.githubusercontent.com", "gitlab.com", "app.terraform.io", "oidc.circleci.com", "agent.buildkite.com",
    "api.bitbucket.org", "vstoken.dev.azure.com",
)  # fmt: skip
"""Hosts of services that sign tokens for the jobs they run."""


class Provider(NamedTuple):
    """An identity provider, as far as its name tells."""

    kind: str
    """Kind of connection that reads such systems; ``aws`` or ``workload`` for what holds no people; empty: unknown."""
    issuer: str
    """The name it goes by; a URL, but for SAML providers that name themselves in another way."""
    tenant: str
    """What it is called in its own system, where the name tells: of Entra the tenant's id; else empty."""
    what: str
    """In words."""


def provider(row: Mapping[str, Any], workloads: Sequence[str] = WORKLOADS) -> Provider:
    """Whose a record of ``aws.iam.identity-providers`` is.

    Raises:
        Unavailable: its details were refused, or its metadata is not that of one provider.
    """
    if "GetSAMLProvider" in row:
        return told(_entity(row["GetSAMLProvider"]["SAMLMetadataDocument"]), workloads)
    url = row["GetOpenIDConnectProvider"]["Url"]
    return told(url if "://" in url else f"https://{url}", workloads)  # IAM keeps it without the scheme


def _entity(metadata: str) -> str:
    root = None
    if "<!DOCTYPE" not in metadata:  # no metadata has one, and without it nothing can be expanded
        with suppress(ElementTree.ParseError):
            root = ElementTree.fromstring(metadata)  # noqa: S314
    if root is None or root.tag != METADATA or not root.get("entityID"):
        raise Unavailable(GapKind.MALFORMED, "the SAML metadata is not that of one provider", "iam:GetSAMLProvider")
    return str(root.get("entityID"))


def told(issuer: str, workloads: Sequence[str] = WORKLOADS) -> Provider:
    """Whose an issuer is."""
    parts = urlsplit(issuer)
    host, path = (parts.hostname or "").lower(), parts.path.strip("/").split("/")
    if parts.scheme not in ("http", "https"):
        return Provider("", issuer, "", "")
    if _one_of(host, workloads):
        return Provider("workload", issuer, "", "a service that signs tokens for jobs")
    if _one_of(host, CLUSTERS):
        return Provider("workload", issuer, "", "an EKS cluster, which signs tokens for its pods")
    if fnmatchcase(host, IDENTITY_CENTER):
        return Provider("aws", issuer, "", "IAM Identity Center")
    if _one_of(host, MICROSOFT) and GUID.fullmatch(path[0].lower()):
        return Provider("entra", issuer, path[0].lower(), f"the Entra tenant {path[0].lower()}")
    if _one_of(host, OKTA):
        return Provider("okta", issuer, "", "an Okta organisation")
    if host == "accounts.google.com" and parts.path == "/o/saml2":
        return Provider("google-workspace", issuer, "", "a Google Workspace customer")
    if len(path) > 1 and path[-2] == "realms":
        return Provider("keycloak", issuer, path[-1], f"the realm {path[-1]} of a Keycloak at {host}")
    return Provider("", issuer, "", "")


def _one_of(host: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(host, pattern) for pattern in patterns)


__all__ = ["WORKLOADS", "Provider", "provider", "told"]
