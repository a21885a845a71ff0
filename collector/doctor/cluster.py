"""What a cluster says of the rights of whoever asks: each need is reviewed alone, the rest by its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from collector.connect.kubernetes import Kubernetes
from collector.doctor.rights import Rights
from collector.model import Unavailable

WRITES = frozenset(
    {"create", "update", "patch", "delete", "deletecollection", "escalate", "bind", "impersonate", "approve", "sign",
     "*"}
)  # fmt: skip
"""Verbs that change something, or lend more rights."""
WRITTEN = frozenset({"post", "put", "patch", "delete", "*"})
"""The same for paths that are no resources."""
ACTS = frozenset({"pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy"})
"""Even ``get`` does more there than read."""
REVIEWS = frozenset(
    {"authorization.k8s.io/selfsubjectaccessreviews", "authorization.k8s.io/selfsubjectrulesreviews",
     "authentication.k8s.io/selfsubjectreviews"}
)  # fmt: skip
"""Everybody who is signed in may create these, and nothing is made."""
ASKED = (
    "create pods", "delete pods", "create pods/exec", "update secrets", "delete namespaces", "update apps/deployments",
    "create rbac.authorization.k8s.io/clusterrolebindings", "escalate rbac.authorization.k8s.io/clusterroles",
    "impersonate users", "create serviceaccounts/token",
)  # fmt: skip
"""Asked one by one where a cluster does not tell all its rules."""
MOST = 20
"""Namespaces whose rules are looked at."""


def rights(kubernetes: Kubernetes, needed: Sequence[str]) -> Rights:
    """What is allowed in the whole cluster of ``needed``, and what could be changed in its namespaces."""
    untold: list[str] = []
    spaces = _namespaces(kubernetes, untold)
    reviews = {name: kubernetes.review("SelfSubjectRulesReview", namespace=name) for name in spaces}
    changes = [_placed(right, where, spaces) for right, where in _by_right(reviews).items()]
    if any(review.get("incomplete") is not False for review in reviews.values()):
        untold.append("kubernetes does not tell all rules that hold for this identity (incomplete)")
        changes += [right for right in ASKED if right not in changes and _allowed(kubernetes, right)]
    return Rights(
        missing=tuple(_missing(kubernetes, needed)),
        changes=tuple(changes),
        untold=tuple(untold),
        fine="" if untold else f"allowed all {len(needed)} rights it needs, and in {len(spaces)} namespaces none that "
        "changes things",
    )  # fmt: skip


def _namespaces(kubernetes: Kubernetes, untold: list[str]) -> list[str]:
    """Where rules are looked at: rules of a role hold in its namespace alone."""
    try:
        found = [item["metadata"]["name"] for item in kubernetes.pages("/api/v1/namespaces", metadata_only=True)]
    except Unavailable as error:
        untold.append(f"kubernetes told its rights in the namespace default alone ({error.reason})")
        return ["default"]
    if len(found) > MOST:
        untold.append(f"its rights were looked at in {MOST} of {len(found)} namespaces")
    return list(islice(found, MOST)) or ["default"]


def _by_right(reviews: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each right to change something, with the namespaces it holds in."""
    held: dict[str, list[str]] = {}
    for namespace, review in reviews.items():
        for right in sorted(set(_written(review))):
            held.setdefault(right, []).append(namespace)
    return held


def _written(review: Mapping[str, Any]) -> Iterator[str]:
    for rule in review.get("resourceRules") or ():
        for resource in rule.get("resources") or ("*",):
            for group in rule.get("apiGroups") or ("",):
                what = f"{group}/{resource}" if group else resource
                verbs = set(rule["verbs"]) & WRITES
                if what in REVIEWS:
                    verbs -= {"create"}
                if what in ACTS and "get" in rule["verbs"]:
                    verbs.add("get")
                yield from (_spelt(verb, what) for verb in verbs)
    for rule in review.get("nonResourceRules") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield from (_spelt(verb, path) for verb in set(rule["verbs"]) & WRITTEN)


def _spelt(verb: str, what: str) -> str:
    return f"every verb on {what}" if verb == "*" else f"{verb} {what}"


def _placed(right: str, where: Sequence[str], spaces: Sequence[str]) -> str:
    """The right, with the namespace where it does not hold in all of them."""
    if len(where) == len(spaces):
        return right
    return f"{right} in {where[0]}" + (f" and {len(where) - 1} other namespaces" if len(where) > 1 else "")


def _missing(kubernetes: Kubernetes, needed: Sequence[str]) -> list[str]:
    """What is needed and not allowed; of an API group that the cluster does not serve nothing is needed."""
    denied = [need for need in needed if not _allowed(kubernetes, need)]
    groups = {need: "" if need.startswith("nonresource ") else _parts(need)[1] for need in denied}
    if not any(groups.values()):
        return denied
    try:
        served = {group["name"] for group in kubernetes.get("/apis")["groups"]}
    except Unavailable:
        return denied
    return [need for need, group in groups.items() if group in ("", *served)]


def _allowed(kubernetes: Kubernetes, need: str) -> bool:
    """Whether the server allows it, in all namespaces."""
    verb, group, resource, sub = _parts(need)
    attributes: dict[str, dict[str, str]]
    if verb == "nonresource":
        attributes = {"nonResourceAttributes": {"path": need.partition(" ")[2], "verb": "get"}}
    else:
        about = {"verb": verb, "group": group, "resource": resource}
        attributes = {"resourceAttributes": {**about, "subresource": sub} if sub else about}
    return kubernetes.review("SelfSubjectAccessReview", **attributes)["allowed"] is True


def _parts(need: str) -> tuple[str, str, str, str]:
    """Verb, API group, resource and what is below it: ``list apps/deployments``, ``create pods/exec``.

    A group of the core has no name, and one that could be taken for a resource is one of these four.
    """
    verb, _, what = need.partition(" ")
    first, _, rest = what.partition("/")
    if not rest or not ("." in first or first in ("apps", "batch", "autoscaling", "policy")):
        return verb, "", first, rest
    resource, _, sub = rest.partition("/")
    return verb, first, resource, sub
