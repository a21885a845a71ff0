"""What AWS's policy simulator decides for the identity that asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from collector.doctor.rights import Rights
from collector.model import Unavailable

WRITES = (
    "iam:CreateUser",
    "iam:PutUserPolicy",
    "iam:AttachRolePolicy",
    "iam:CreateAccessKey",
    "s3:PutObject",
    "s3:DeleteBucket",
    "s3:PutBucketPolicy",
    "ec2:RunInstances",
    "ec2:TerminateInstances",
    "ec2:AuthorizeSecurityGroupIngress",
    "kms:ScheduleKeyDeletion",
    "rds:DeleteDBInstance",
    "cloudtrail:StopLogging",
    "lambda:UpdateFunctionCode",
    "secretsmanager:GetSecretValue",
    "organizations:LeaveOrganization",
)
"""Rights nobody needs to collect evidence: each one held is worth a warning."""


def rights(aws: Any, arn: str, needed: Sequence[str]) -> Rights:
    """What the identity ``arn`` is allowed of ``needed`` and of what changes things."""
    try:
        decided = simulate(aws, principal(arn), [*needed, *WRITES])
    except Unavailable as error:
        return Rights(untold=(f"its rights could not be simulated ({error.reason})",))
    return Rights(
        missing=tuple(action for action in needed if decided.get(action) != "allowed"),
        changes=tuple(action for action in WRITES if decided.get(action) == "allowed"),
        fine=f"allowed all {len(needed)} actions it needs, and none of {len(WRITES)} that change things",
    )


def simulate(aws: Any, arn: str, actions: Sequence[str]) -> dict[str, str]:
    """What IAM decides of each action for a principal."""
    decided: dict[str, str] = {}
    for first in range(0, len(actions), 50):
        results: Iterable[Any] = aws.pages(
            "iam",
            "simulate_principal_policy",
            rows="EvaluationResults",
            PolicySourceArn=arn,
            ActionNames=actions[first : first + 50],
        )
        decided |= {result["EvalActionName"]: result["EvalDecision"] for result in results}
    return decided


def principal(arn: str) -> str:
    """The role behind a session: IAM simulates roles and users, not sessions."""
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}" if rest else arn
