"""Kubernetes service accounts and Secrets: how they are read, never their content, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import (
    Kubernetes,
    Record,
    Redaction,
    Row,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)
from collector.workloads import APPLIED, SYSTEM

LAST_USED = "kubernetes.io/legacy-token-last-used"


@source(
    "kubernetes.service-accounts", key="Key", per="connection", permissions=("list serviceaccounts",),
    redactions=(APPLIED,),
)  # fmt: skip
def service_accounts(cluster: Kubernetes) -> Iterator[Row]:
    """Every service account of every namespace."""
    yield from cluster.pages("/api/v1/serviceaccounts")


@source(
    "kubernetes.secrets",
    key="Key",
    per="connection",
    permissions=("list secrets",),
    redactions=(
        APPLIED,
        Redaction(
            "kubernetes:GET /api/v1/secrets", "tools keep content of a Secret in annotations",
            json="items[].metadata.annotations.*",
        ),
    ),
    filters="secrets that are no token of a service account",
)  # fmt: skip
def secrets(cluster: Kubernetes) -> Iterator[Row]:
    """The metadata of every Secret of every namespace but those with a token of a service account; no content."""
    yield from cluster.pages(
        "/api/v1/secrets", metadata_only=True, fieldSelector="type!=kubernetes.io/service-account-token"
    )


@source(
    "kubernetes.service-account-tokens",
    key="Key",
    per="connection",
    permissions=("list secrets",),
    redactions=(
        APPLIED,
        Redaction(
            "kubernetes:GET /api/v1/secrets", "tools keep content of a Secret in annotations",
            json="items[].metadata.annotations.*",
        ),
    ),
    filters="secrets that are a token of a service account",
)  # fmt: skip
def service_account_tokens(cluster: Kubernetes) -> Iterator[Row]:
    """The metadata of every Secret with a token of a service account that never runs out; no content."""
    yield from cluster.pages(
        "/api/v1/secrets", metadata_only=True, fieldSelector="type=kubernetes.io/service-account-token"
    )


@check(
    "kubernetes.service-accounts.default-without-token",
    title="Kubernetes default service accounts hand out no token",
    severity="medium",
    each="kubernetes.service-accounts",
)
def default_without_token(account: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """A service account called default has automountServiceAccountToken set to false.

    Source: ServiceAccount (``automountServiceAccountToken``, left out where it is not set: then a token is mounted).
    Remedy: ``kubectl patch serviceaccount default -p '{"automountServiceAccountToken": false}'``.
    """
    about = account["metadata"]
    if about["name"] != "default" or about["namespace"] in exempt_namespaces:
        return skip("not a default account of a namespace for workloads")
    if account.get("automountServiceAccountToken") is False:
        return ok("a token is mounted only where a pod asks for it")
    return fail("a token is mounted unless a pod asks for none")


@check(
    "kubernetes.service-account-tokens.renewed",
    title="Kubernetes tokens that never run out are renewed",
    severity="high",
    each="kubernetes.service-account-tokens",
)
def tokens_renewed(token: Record, *, as_of: datetime, max_age_days: int = 90) -> Verdict:
    """A Secret with a token of a service account was made at most ``max_age_days`` before the day of collection.

    Source: Secret, metadata only (``metadata.creationTimestamp``), chosen by its type.
    Remedy: use tokens of the TokenRequest API, which run out; delete the Secret.
    """
    age = days_between(instant(token["metadata"]["creationTimestamp"]), as_of)
    told = f"the token is {age} days old, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)


@check(
    "kubernetes.service-account-tokens.in-use",
    title="Kubernetes tokens that never run out are in use",
    severity="medium",
    each="kubernetes.service-account-tokens",
)
def tokens_in_use(token: Record, *, as_of: datetime, max_unused_days: int = 90) -> Verdict:
    """A token of a service account was used within ``max_unused_days``, or is younger than that.

    Source: Secret, metadata only (the label kubernetes.io/legacy-token-last-used, a day, which the API server sets from
    version 1.28 on; left out where it saw no use).
    Remedy: delete the Secret.
    """
    about = token["metadata"]
    used = (about.get("labels") or {}).get(LAST_USED)
    since = instant(f"{used}T00:00:00Z") if used else instant(about["creationTimestamp"])
    days = days_between(since, as_of)
    told = f"last used {days} days ago" if used else f"made {days} days ago and never seen in use"
    told += f", limit {max_unused_days}"
    return ok(told) if days <= max_unused_days else fail(told)


@check(
    "kubernetes.secrets.renewed",
    title="Kubernetes Secrets are renewed",
    severity="low",
    each="kubernetes.secrets",
)
def secrets_renewed(secret: Record, *, as_of: datetime, max_age_days: int = 365) -> Verdict:
    """Something last wrote a Secret at most ``max_age_days`` before the day of collection.

    A later write may have changed a label and not the content, so this is the most recent the content can be. What Helm
    keeps of a release is no credential, and skipped.
    Source: Secret, metadata only (``metadata.creationTimestamp``, ``metadata.managedFields[].time``).
    Remedy: renew the credential where it was issued, then the Secret.
    """
    about = secret["metadata"]
    if about["name"].startswith("sh.helm.release.") and (about.get("labels") or {}).get("owner") == "helm":
        return skip("the record of a release of Helm")
    times = [entry["time"] for entry in about.get("managedFields") or () if entry.get("time")]
    age = days_between(max(map(instant, [*times, about["creationTimestamp"]])), as_of)
    told = f"last written {age} days ago, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)
