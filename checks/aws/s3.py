"""Amazon S3 buckets: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source(
    "aws.s3.buckets",
    key="Name",
    per="account",
    permissions=("s3:ListAllMyBuckets", "s3:GetEncryptionConfiguration"),
)
def buckets(aws: Aws) -> Iterator[Row]:
    """Every bucket of the account; each sub-reply sits under the name of the API call that gave it."""
    for bucket in aws.pages("s3", "list_buckets", rows="Buckets", MaxBuckets=1000):
        where = {"Bucket": bucket["Name"], "region": bucket.get("BucketRegion", "")}
        yield {
            **bucket,
            "GetBucketEncryption": aws.attempt(
                "s3", "get_bucket_encryption", absent=("ServerSideEncryptionConfigurationNotFoundError",), **where
            ),
        }


@check(
    "aws.s3.default-encryption",
    title="S3 buckets encrypt new objects by default",
    severity="high",
    each="aws.s3.buckets",
)
def default_encryption(bucket: Record) -> Verdict:
    """A bucket names an encryption algorithm for objects written without one.

    Remedy: ``aws s3api put-bucket-encryption``.
    """
    reply = bucket["GetBucketEncryption"]
    if reply is None:
        return fail("no default encryption configuration")
    rules = reply["ServerSideEncryptionConfiguration"]["Rules"]
    algorithm = rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    return ok(f"new objects are encrypted with {algorithm}")
