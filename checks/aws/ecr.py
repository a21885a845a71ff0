"""Amazon ECR repositories: how they are read, and what we require of them."""

from collections.abc import Iterator

from collector.api import Aws, Record, Row, Verdict, check, fail, ok, source


@source(
    "aws.ecr.repositories",
    key="repositoryName",
    per="region",
    permissions=("ecr:DescribeRepositories", "ecr:BatchGetRepositoryScanningConfiguration"),
)
def repositories(aws: Aws) -> Iterator[Row]:
    """Every private repository of the region, with the scanning that applies to it, whoever set it."""
    for repository in aws.pages("ecr", "describe_repositories", rows="repositories"):
        yield {
            **repository,
            "BatchGetRepositoryScanningConfiguration": aws.attempt(
                "ecr", "batch_get_repository_scanning_configuration", repositoryNames=[repository["repositoryName"]]
            ),
        }


@check(
    "aws.ecr.scan-on-push",
    title="Images are scanned when they are pushed",
    severity="medium",
    each="aws.ecr.repositories",
)
def scan_on_push(repository: Record) -> Verdict:
    """Images are scanned on push, or continuously.

    Source: BatchGetRepositoryScanningConfiguration (``scanOnPush``, ``scanFrequency``), which takes the registry's
    filters into account.
    Remedy: ``aws ecr put-registry-scanning-configuration``.
    """
    [scanning] = repository["BatchGetRepositoryScanningConfiguration"]["scanningConfigurations"]
    if scanning["scanOnPush"] or scanning["scanFrequency"] == "SCAN_ON_PUSH":
        return ok("images are scanned on push")
    if scanning["scanFrequency"] == "CONTINUOUS_SCAN":
        return ok("images are scanned continuously")
    return fail(f"images are not scanned on push; frequency {scanning['scanFrequency']}")


@check(
    "aws.ecr.tags-immutable",
    title="An image tag keeps naming the same image",
    severity="low",
    each="aws.ecr.repositories",
)
def tags_immutable(repository: Record) -> Verdict:
    """No tag can be moved to another image; exceptions by filter do not conform.

    Source: DescribeRepositories (``imageTagMutability``).
    Remedy: ``aws ecr put-image-tag-mutability --image-tag-mutability IMMUTABLE``.
    """
    setting = repository["imageTagMutability"]
    return ok("tags are immutable") if setting == "IMMUTABLE" else fail(f"tags can be moved: {setting}")
