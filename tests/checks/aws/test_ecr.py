"""How ECR repositories are read."""

from __future__ import annotations

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld


def test_repositories_are_read_with_the_scanning_that_applies(aws_world: AwsWorld) -> None:
    ecr = aws_world.client("ecr")
    for name, mutability in (("web", "IMMUTABLE"), ("scratch", "MUTABLE")):
        ecr.create_repository(repositoryName=name, imageTagMutability=mutability)
    rule = {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": "web", "filterType": "WILDCARD"}]}
    ecr.put_registry_scanning_configuration(scanType="BASIC", rules=[rule])
    reading = read_whole(aws_world, "aws.ecr.repositories")
    found = {
        row["repositoryName"]: (row["imageTagMutability"], scanning["scanFrequency"])
        for row in reading.rows
        for scanning in row["BatchGetRepositoryScanningConfiguration"]["scanningConfigurations"]
    }
    assert found == {"web": ("IMMUTABLE", "SCAN_ON_PUSH"), "scratch": ("MUTABLE", "MANUAL")}


def test_two_pages(aws_world: AwsWorld) -> None:
    for name in ("web", "worker"):
        aws_world.client("ecr").create_repository(repositoryName=name)
    first, second = ({"repositories": [{"repositoryName": name}]} for name in ("web", "worker"))
    pages = Answers({**first, "nextToken": "t1"}, second)
    aws_world.faults["ecr:DescribeRepositories"] = pages
    assert [row["repositoryName"] for row in read_whole(aws_world, "aws.ecr.repositories").rows] == ["web", "worker"]
    assert ["t1" in sent for sent in pages.sent] == [False, True]


def test_refused_scanning_stands_in_the_row(aws_world: AwsWorld) -> None:
    aws_world.client("ecr").create_repository(repositoryName="web")
    assert_refused_in_rows(aws_world, "aws.ecr.repositories", "ecr:BatchGetRepositoryScanningConfiguration", "web")


def test_no_repositories(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.ecr.repositories")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.ecr.repositories", "ecr:DescribeRepositories")
