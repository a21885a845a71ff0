"""The rights a plan needs, from what its sources declare: nothing more."""

from __future__ import annotations

from typing import Any

from collector.plan import Plan
from collector.plugins import Library


def policy(plan: Plan, library: Library) -> dict[str, Any]:
    """An IAM policy document for the AWS datasets of the plan, and the needs of the other kinds in words."""
    needed: dict[str, set[str]] = {}
    for task in plan.tasks:
        source = library.sources[task.dataset]
        needed.setdefault(source.connection, set()).update(source.permissions)
    document: dict[str, Any] = {"schema": "affidavit.permissions/1"}
    if actions := needed.pop("aws", None):
        statement = {"Sid": "AffidavitRead", "Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
        document["aws"] = {"Version": "2012-10-17", "Statement": [statement]}
    return document | {kind: sorted(items) for kind, items in sorted(needed.items())}
