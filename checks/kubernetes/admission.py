"""Kubernetes admission: how webhooks and policies are read, and what we require of what decides over changes."""

from collections.abc import Iterator, Mapping
from typing import Any

from collector.api import Kubernetes, Record, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import APPLIED, named

ADMISSION = "/apis/admissionregistration.k8s.io/v1"


@source(
    "kubernetes.validating-webhooks",
    key="Key",
    per="connection",
    permissions=("list admissionregistration.k8s.io/validatingwebhookconfigurations",),
    redactions=(APPLIED,),
)
def validating_webhooks(cluster: Kubernetes) -> Iterator[Row]:
    """Every configuration of webhooks that may refuse a change."""
    yield from cluster.pages(f"{ADMISSION}/validatingwebhookconfigurations")


@source(
    "kubernetes.mutating-webhooks",
    key="Key",
    per="connection",
    permissions=("list admissionregistration.k8s.io/mutatingwebhookconfigurations",),
    redactions=(APPLIED,),
)
def mutating_webhooks(cluster: Kubernetes) -> Iterator[Row]:
    """Every configuration of webhooks that may alter what is asked for."""
    yield from cluster.pages(f"{ADMISSION}/mutatingwebhookconfigurations")


@source(
    "kubernetes.admission-policies",
    key="Key",
    per="connection",
    permissions=("list admissionregistration.k8s.io/validatingadmissionpolicies",),
    redactions=(APPLIED,),
)
def admission_policies(cluster: Kubernetes) -> Iterator[Row]:
    """Every validating admission policy; none where the API server is older than version 1.30."""
    yield from cluster.pages(f"{ADMISSION}/validatingadmissionpolicies", absent=(404,))


def _webhooks(configuration: Record) -> list[Record]:
    return list(configuration.get("webhooks") or ())  # left out where there is none


def _chosen(selector: Mapping[str, Any]) -> bool:
    """Whether a selector takes only what was labelled for it, rather than all but what was labelled against it."""
    rules = selector.get("matchExpressions") or ()
    return bool(selector.get("matchLabels")) or any(rule["operator"] in ("Exists", "In") for rule in rules)


@check(
    "kubernetes.validating-webhooks.fail-closed",
    title="Kubernetes refuses a change that cannot be checked",
    severity="high",
    each="kubernetes.validating-webhooks",
)
def fail_closed(configuration: Record, *, exempt_configurations: tuple[str, ...] = ()) -> Verdict:
    """Every webhook of a configuration has the failure policy Fail.

    Source: ValidatingWebhookConfiguration (``webhooks[].failurePolicy``, which the API server fills in).
    Remedy: set failurePolicy: Fail, and exempt the namespace the webhook itself runs in.
    """
    if configuration["Key"] in exempt_configurations:
        return skip("the configuration is exempt")
    hooks = _webhooks(configuration)
    loose = [hook["name"] for hook in hooks if hook["failurePolicy"] != "Fail"]
    if loose:
        return fail(f"{len(loose)} of {len(hooks)} let a change pass when they fail: {named(loose)}")
    return ok(f"all {len(hooks)} refuse a change when they fail") if hooks else skip("it has no webhook")


@check(
    "kubernetes.validating-webhooks.pods-checked",
    title="Kubernetes asks something before a pod is made",
    severity="medium",
    over=("kubernetes.validating-webhooks",),
)
def pods_checked(configurations: Iterator[Record]) -> Verdict:
    """At least one webhook with the failure policy Fail is asked when a pod is made, wherever nobody took it out.

    One that is asked only for namespaces or pods that were chosen by label is not counted. What it requires is its own
    matter. Pod Security labels work without a webhook and are the matter of
    kubernetes.namespaces.pod-security-enforced; validating admission policies are not counted, for whether one is bound
    is not read.
    Source: ValidatingWebhookConfiguration (``webhooks[].rules``, ``namespaceSelector``, ``objectSelector``).
    Remedy: install a policy engine, and let it require signed images from known registries.
    """
    found = [
        hook["name"]
        for configuration in configurations
        for hook in _webhooks(configuration)
        if hook["failurePolicy"] == "Fail"
        and not _chosen(hook.get("namespaceSelector") or {})
        and not _chosen(hook.get("objectSelector") or {})
        and any(
            {"*", "CREATE"} & set(rule["operations"])
            and {"", "*"} & set(rule["apiGroups"])
            and {"*", "*/*", "pods"} & set(rule["resources"])
            for rule in hook.get("rules") or ()
        )
    ]
    return ok(f"asked before a pod is made: {named(found)}") if found else fail("nothing is asked before a pod is made")


def _inside(configuration: Record) -> Verdict:
    hooks = _webhooks(configuration)
    outside = [f"{hook['name']} at {hook['clientConfig']['url']}" for hook in hooks if hook["clientConfig"].get("url")]
    if outside:
        return fail(f"{len(outside)} of {len(hooks)} are outside: {named(outside)}")
    return ok(f"all {len(hooks)} are services of the cluster") if hooks else skip("it has no webhook")


@check(
    "kubernetes.validating-webhooks.inside",
    title="Kubernetes asks no webhook outside the cluster whether a change is allowed",
    severity="medium",
    each="kubernetes.validating-webhooks",
)
def validating_inside(configuration: Record) -> Verdict:
    """Every webhook of a configuration is a service of the cluster, not an address.

    Source: ValidatingWebhookConfiguration (``webhooks[].clientConfig``). Objects are sent there, Secrets among them.
    Remedy: name a service.
    """
    return _inside(configuration)


@check(
    "kubernetes.mutating-webhooks.inside",
    title="Kubernetes lets no webhook outside the cluster alter a change",
    severity="high",
    each="kubernetes.mutating-webhooks",
)
def mutating_inside(configuration: Record) -> Verdict:
    """Every webhook of a configuration is a service of the cluster, not an address.

    Source: MutatingWebhookConfiguration (``webhooks[].clientConfig``). Objects are sent there, Secrets among them.
    Remedy: name a service.
    """
    return _inside(configuration)


@check(
    "kubernetes.admission-policies.fail-closed",
    title="Kubernetes admission policies refuse what they cannot judge",
    severity="medium",
    each="kubernetes.admission-policies",
)
def policies_fail_closed(policy: Record) -> Verdict:
    """A validating admission policy has the failure policy Fail.

    Source: ValidatingAdmissionPolicy (``spec.failurePolicy``, which the API server fills in).
    Remedy: set failurePolicy: Fail.
    """
    said = policy["spec"].get("failurePolicy") or "Fail"
    return ok("an error refuses the change") if said == "Fail" else fail("an error lets the change pass")
