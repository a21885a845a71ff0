"""AWS KMS keys: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, fail, ok, skip, source
from collector.iam_policy import is_public, statements
from collector.model import GapKind

NO_STATUS = ("UnsupportedOperationException", "KMSInvalidStateException")
LEAVING = ("PendingDeletion", "PendingReplicaDeletion")


@source(
    "aws.kms.keys",
    key="KeyId",
    per="region",
    permissions=("kms:ListKeys", "kms:DescribeKey", "kms:GetKeyRotationStatus", "kms:GetKeyPolicy"),
)
def keys(aws: Aws) -> Iterator[Row]:
    """Every KMS key of the region, those that AWS manages included."""
    for key in aws.pages("kms", "list_keys", rows="Keys"):
        name = key["KeyId"]
        yield {
            **key,
            "DescribeKey": aws.attempt("kms", "describe_key", KeyId=name),
            "GetKeyRotationStatus": aws.attempt("kms", "get_key_rotation_status", KeyId=name, absent=NO_STATUS),
            "GetKeyPolicy": aws.attempt("kms", "get_key_policy", KeyId=name, PolicyName="default"),
        }


@check(
    "aws.kms.rotation",
    title="Keys of the customer are rotated by AWS",
    severity="medium",
    each="aws.kms.keys",
)
def rotation(key: Record, *, max_period_days: int = 365) -> Verdict:
    """Automatic rotation is on, with a period of at most ``max_period_days``.

    Source: DescribeKey (``KeyManager``, ``KeyState``, ``KeySpec``, ``Origin``), GetKeyRotationStatus. Keys that AWS
    manages, keys about to be deleted, and keys that cannot rotate by themselves (asymmetric, HMAC, imported, in a
    custom key store) are skipped.
    Remedy: ``aws kms enable-key-rotation``.
    """
    facts = key["DescribeKey"]["KeyMetadata"]
    if facts["KeyManager"] == "AWS":
        return skip("the key is managed by AWS")
    if facts["KeyState"] in LEAVING:
        return skip(f"the key is in state {facts['KeyState']}")
    if facts["KeySpec"] != "SYMMETRIC_DEFAULT":
        return skip(f"a key of kind {facts['KeySpec']} cannot rotate by itself")
    if facts["Origin"] != "AWS_KMS":
        return skip(f"a key of origin {facts['Origin']} cannot rotate by itself")
    status = key["GetKeyRotationStatus"]
    if status is None:
        reason = f"KMS gives no rotation status for a key in state {facts['KeyState']}"
        raise Unavailable(GapKind.UNSUPPORTED, reason, "kms:GetKeyRotationStatus")
    if not status["KeyRotationEnabled"]:
        return fail("automatic rotation is off")
    period = status.get("RotationPeriodInDays", 365)  # documented default
    reason = f"automatic rotation is on, every {period} days, limit {max_period_days}"
    return fail(reason) if period > max_period_days else ok(reason)


@check(
    "aws.kms.policy-not-public",
    title="Key policies do not admit everyone",
    severity="critical",
    each="aws.kms.keys",
)
def policy_not_public(key: Record) -> Verdict:
    """No statement of the key policy allows any principal without a condition that narrows it.

    Source: GetKeyPolicy (``Policy``). Keys that AWS manages are skipped: their policy is AWS's.
    Remedy: ``aws kms put-key-policy``, naming principals or adding ``kms:CallerAccount``.
    """
    if key["DescribeKey"]["KeyMetadata"]["KeyManager"] == "AWS":
        return skip("the key is managed by AWS")
    found = statements(key["GetKeyPolicy"]["Policy"])
    public = [each.get("Sid", f"number {place}") for place, each in enumerate(found, 1) if is_public(each)]
    if public:
        return fail(f"the key policy admits everyone in statement {', '.join(public)}")
    return ok(f"none of {len(found)} statements of the key policy admits everyone")


@check(
    "aws.kms.not-pending-deletion",
    title="No key of the customer is waiting for its deletion",
    severity="medium",
    each="aws.kms.keys",
)
def not_pending_deletion(key: Record) -> Verdict:
    """The key is not scheduled for deletion.

    Source: DescribeKey (``KeyState``, ``DeletionDate``). Keys that AWS manages cannot be deleted and are skipped.
    Remedy: ``aws kms cancel-key-deletion``, unless the deletion is approved.
    """
    facts = key["DescribeKey"]["KeyMetadata"]
    if facts["KeyManager"] == "AWS":
        return skip("the key is managed by AWS")
    if facts["KeyState"] not in LEAVING:
        return ok(f"the key is in state {facts['KeyState']}")
    when = facts.get("DeletionDate", "once its replicas are gone")  # left out while replicas wait for theirs
    return fail(f"the key is in state {facts['KeyState']}; deletion: {when}")
