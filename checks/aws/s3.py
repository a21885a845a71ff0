"""Amazon S3 buckets: how they are read, and what we require of them."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, fail, ok, source
from collector.iam_policy import covers, is_public, listed, principals, statements
from collector.model import GapKind

EVERYONE = ("/global/AllUsers", "/global/AuthenticatedUsers")
"""Ends of the URIs that name the whole internet, and anybody who has an AWS account."""


@source(
    "aws.s3.buckets",
    key="Name",
    per="account",
    permissions=(
        "s3:GetBucketAcl",
        "s3:GetBucketLocation",
        "s3:GetBucketLogging",
        "s3:GetBucketOwnershipControls",
        "s3:GetBucketPolicy",
        "s3:GetBucketPolicyStatus",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration",
        "s3:ListAllMyBuckets",
    ),
)
def buckets(aws: Aws) -> Iterator[Row]:
    """Every general purpose bucket of the account; each sub-reply sits under the name of the API call that gave it."""
    for bucket, location in aws.ahead(_located(aws)):
        where = {"Bucket": bucket["Name"], "region": _region(bucket, location)}
        yield {
            **bucket,
            "GetBucketAcl": aws.attempt("s3", "get_bucket_acl", **where),
            "GetBucketEncryption": aws.attempt(
                "s3", "get_bucket_encryption", absent=("ServerSideEncryptionConfigurationNotFoundError",), **where
            ),
            "GetBucketLogging": aws.attempt("s3", "get_bucket_logging", **where),
            "GetBucketOwnershipControls": aws.attempt(
                "s3", "get_bucket_ownership_controls", absent=("OwnershipControlsNotFoundError",), **where
            ),
            "GetBucketPolicy": aws.attempt("s3", "get_bucket_policy", absent=("NoSuchBucketPolicy",), **where),
            "GetBucketPolicyStatus": aws.attempt(
                "s3", "get_bucket_policy_status", absent=("NoSuchBucketPolicy",), **where
            ),
            "GetBucketVersioning": aws.attempt("s3", "get_bucket_versioning", **where),
            "GetPublicAccessBlock": aws.attempt(
                "s3", "get_public_access_block", absent=("NoSuchPublicAccessBlockConfiguration",), **where
            ),
        }


def _located(aws: Aws) -> Iterator[tuple[Row, Any]]:
    """Each bucket with the reply that tells its region, asked for only where the list does not."""
    for bucket in aws.pages("s3", "list_buckets", rows="Buckets", MaxBuckets=1000):
        known = "BucketRegion" in bucket
        yield bucket, None if known else aws.attempt("s3", "get_bucket_location", Bucket=bucket["Name"])


def _region(bucket: Row, location: Mapping[str, Any] | None) -> str:
    """The region of a bucket; GetBucketLocation spells the two oldest in ways of their own."""
    if location is None:
        return str(bucket["BucketRegion"])
    constraint = location["LocationConstraint"] or "us-east-1"
    return "eu-west-1" if constraint == "EU" else str(constraint)


@check(
    "aws.s3.default-encryption",
    title="S3 buckets encrypt new objects by default",
    severity="high",
    each="aws.s3.buckets",
)
def default_encryption(bucket: Record) -> Verdict:
    """A bucket names an encryption algorithm for objects written without one.

    Source: GetBucketEncryption (``SSEAlgorithm`` of the first rule; S3 allows one).
    Remedy: ``aws s3api put-bucket-encryption``.
    """
    reply = bucket["GetBucketEncryption"]
    if reply is None:
        return fail("no default encryption configuration")
    rules = reply["ServerSideEncryptionConfiguration"]["Rules"]
    algorithm = rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    return ok(f"new objects are encrypted with {algorithm}")


@check(
    "aws.s3.versioning", title="S3 buckets keep earlier versions of objects", severity="medium", each="aws.s3.buckets"
)
def versioning(bucket: Record) -> Verdict:
    """Versioning is on, so that an overwritten or deleted object can be taken back.

    Source: GetBucketVersioning (``Status``).
    Remedy: ``aws s3api put-bucket-versioning --versioning-configuration Status=Enabled``.
    """
    status = bucket["GetBucketVersioning"].get("Status", "never enabled")  # omitted until first set
    return ok("versioning is on") if status == "Enabled" else fail(f"versioning is {status.lower()}")


@check(
    "aws.s3.public-access-blocked",
    title="S3 buckets block public access themselves",
    severity="high",
    each="aws.s3.buckets",
)
def public_access_blocked(bucket: Record) -> Verdict:
    """All four settings of the bucket's own public access block are on.

    A block set for the whole account protects a bucket too and is not looked at here.
    Source: GetPublicAccessBlock (``PublicAccessBlockConfiguration``).
    Remedy: ``aws s3api put-public-access-block``.
    """
    reply = bucket["GetPublicAccessBlock"]
    if reply is None:
        return fail("the bucket has no public access block of its own")
    block = reply["PublicAccessBlockConfiguration"]
    settings = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    off = [setting for setting in settings if not block[setting]]
    if off:
        return fail(f"the bucket's own public access block leaves off {', '.join(off)}")
    return ok("all four settings of the bucket's public access block are on")


@check(
    "aws.s3.policy-not-public",
    title="S3 bucket policies do not admit everyone",
    severity="critical",
    each="aws.s3.buckets",
)
def policy_not_public(bucket: Record) -> Verdict:
    """The bucket policy lets nobody in whom it does not name, by S3's own judgement and by the text of the policy.

    Where S3 calls a policy not public and its text reads otherwise, neither is believed. Whether a public access block
    stands in the way is another question.
    Source: GetBucketPolicyStatus (``IsPublic``), GetBucketPolicy (``Policy``).
    Remedy: name the principals, or the organisation, network or account, that need access.
    """
    policy, status = bucket["GetBucketPolicy"], bucket["GetBucketPolicyStatus"]
    if policy is None and status is None:
        return ok("no bucket policy")
    if policy is None or status is None:
        raise Unavailable(GapKind.UNPROVEN, "one call says that there is a bucket policy, the other that there is none")
    admits = [
        str(statement.get("Sid", f"number {number}"))  # a Sid is optional
        for number, statement in enumerate(statements(policy["Policy"]), 1)
        if is_public(statement)
    ]
    if status["PolicyStatus"]["IsPublic"]:
        return fail(
            f"S3 judges the bucket policy public (statements found to admit everyone: {', '.join(admits) or 'none'})"
        )
    if admits:
        raise Unavailable(
            GapKind.UNPROVEN, f"S3 judges the bucket policy not public, yet it admits everyone in {', '.join(admits)}"
        )
    return ok("the bucket policy admits nobody it does not name")


@check(
    "aws.s3.acl-not-public",
    title="S3 bucket access lists do not admit everyone",
    severity="critical",
    each="aws.s3.buckets",
)
def acl_not_public(bucket: Record) -> Verdict:
    """The bucket's access list grants nothing to all users or all AWS accounts, or access lists are switched off.

    Access lists of single objects are not read. Whether a public access block stands in the way is another question.
    Source: GetBucketAcl (``Grants``), GetBucketOwnershipControls (``ObjectOwnership``).
    Remedy: ``aws s3api put-bucket-ownership-controls`` with BucketOwnerEnforced, or ``put-bucket-acl --acl private``.
    """
    public = [
        f"{grant['Permission']} to {grant['Grantee']['URI'].rpartition('/')[2]}"
        for grant in bucket["GetBucketAcl"]["Grants"]
        if grant["Grantee"].get("URI", "").endswith(EVERYONE)  # only groups have a URI
    ]
    if not public:
        return ok("the access list grants nothing to everyone")
    ownership = bucket["GetBucketOwnershipControls"]
    if ownership and any(
        rule["ObjectOwnership"] == "BucketOwnerEnforced" for rule in ownership["OwnershipControls"]["Rules"]
    ):
        return ok("access lists are switched off (BucketOwnerEnforced)")
    return fail(f"the access list grants {', '.join(public)}")


@check("aws.s3.tls-required", title="S3 buckets refuse requests without TLS", severity="medium", each="aws.s3.buckets")
def tls_required(bucket: Record) -> Verdict:
    """The bucket policy denies every action to everyone on the bucket and on all its objects when TLS is not used.

    Source: GetBucketPolicy (a Deny under ``aws:SecureTransport`` false, and no further condition).
    Remedy: add such a statement to the bucket policy.
    """
    reply = bucket["GetBucketPolicy"]
    if reply is None:
        return fail("no bucket policy, so nothing refuses a request without TLS")
    guarded = [
        str(resource).split(":")[-1]  # what follows arn:aws:s3:::, or a lone *
        for statement in statements(reply["Policy"])
        if _refuses_plain_requests(statement)
        for resource in listed(statement["Resource"])
    ]
    name = bucket["Name"]
    targets = {"the bucket": name, "its objects": f"{name}/*"}
    bare = [what for what, target in targets.items() if not any(fnmatchcase(target, pattern) for pattern in guarded)]
    if bare:
        return fail(f"the bucket policy does not refuse requests without TLS to {' and '.join(bare)}")
    return ok("the bucket policy refuses requests without TLS")


def _refuses_plain_requests(statement: Mapping[str, Any]) -> bool:
    """True when a statement denies everybody everything for no other reason than that TLS is not used."""
    condition = [
        (operator.lower().removesuffix("ifexists"), key.lower(), [str(value).lower() for value in listed(values)])
        for operator, keys in statement.get("Condition", {}).items()  # a condition is optional
        for key, values in keys.items()
    ]
    return (
        statement["Effect"] == "Deny"
        and "*" in principals(statement).get("AWS", [])
        and "Action" in statement
        and covers(statement, "s3:*")
        and "Resource" in statement
        and condition == [("bool", "aws:securetransport", ["false"])]
    )


@check("aws.s3.access-logging", title="S3 buckets log access", severity="medium", each="aws.s3.buckets")
def access_logging(bucket: Record) -> Verdict:
    """Server access logs of the bucket are written to a bucket that is named.

    Object events that CloudTrail may record instead are not looked at here.
    Source: GetBucketLogging (``TargetBucket``).
    Remedy: ``aws s3api put-bucket-logging``.
    """
    logging = bucket["GetBucketLogging"].get("LoggingEnabled")  # omitted while logging is off
    return fail("access logging is off") if logging is None else ok(f"access is logged to {logging['TargetBucket']}")
