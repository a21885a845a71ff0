"""The rights a plan needs, from what its sources declare: nothing more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collector.plan import Plan
from collector.plugins import Library


def policy(plan: Plan, library: Library) -> dict[str, Any]:
    """An IAM policy for AWS, a ClusterRole for Kubernetes, and the needs of the other kinds in words."""
    needed: dict[str, set[str]] = {}
    for task in plan.tasks:
        source = library.sources[task.dataset]
        needed.setdefault(source.connection, set()).update(source.permissions)
    document: dict[str, Any] = {"schema": "affidavit.permissions/1"}
    if actions := needed.pop("aws", None):
        statement = {"Sid": "AffidavitRead", "Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
        document["aws"] = {"Version": "2012-10-17", "Statement": [statement]}
    if verbs := needed.pop("kubernetes", None):
        document["kubernetes"] = cluster_role(verbs)
    return document | {kind: sorted(items) for kind, items in sorted(needed.items())}


def cluster_role(needed: Iterable[str]) -> dict[str, Any]:
    """The ClusterRole that allows what Kubernetes sources declare, and nothing more.

    A need is spelt ``list pods``, ``list apps/deployments`` or ``nonresource /version``.
    """
    resources: dict[tuple[str, str], set[str]] = {}
    paths: set[str] = set()
    for need in needed:
        verb, _, what = need.partition(" ")
        group, _, resource = what.rpartition("/")
        if verb == "nonresource":
            paths.add(what)
        else:
            resources.setdefault((group, verb), set()).add(resource)
    rules: list[dict[str, list[str]]] = [
        {"apiGroups": [group], "resources": sorted(found), "verbs": [verb]}
        for (group, verb), found in sorted(resources.items())
    ]
    if paths:
        rules.append({"nonResourceURLs": sorted(paths), "verbs": ["get"]})
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "affidavit"},
        "rules": rules,
    }
