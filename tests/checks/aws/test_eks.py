"""How EKS clusters are read."""

from __future__ import annotations

from typing import Any

from tests.checks.aws.asking import assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld, FakeResponse

CLUSTERS, LIST = "aws.eks.clusters", "eks:ListClusters"


def seed(world: AwsWorld, *names: str) -> None:
    for name in names:
        world.client("eks").create_cluster(
            name=name,
            roleArn="arn:aws:iam::123456789012:role/eks",
            resourcesVpcConfig={"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]},
            logging={"clusterLogging": [{"types": ["audit"], "enabled": True}]},
        )


def test_clusters_are_read_with_their_settings(aws_world: AwsWorld) -> None:
    seed(aws_world, "shop", "jobs")
    reading = read_whole(aws_world, CLUSTERS)
    assert sorted(row["name"] for row in reading.rows) == ["jobs", "shop"]
    cluster = reading.row("shop")["DescribeCluster"]["cluster"]
    assert cluster["status"] == "ACTIVE"
    assert cluster["identity"]["oidc"]["issuer"].startswith("https://oidc.eks.")
    assert cluster["resourcesVpcConfig"]["publicAccessCidrs"] == ["0.0.0.0/0"]
    assert cluster["logging"] == {"clusterLogging": [{"types": ["audit"], "enabled": True}]}


def test_two_pages(aws_world: AwsWorld) -> None:
    seed(aws_world, "shop", "jobs")

    def page(request: Any) -> FakeResponse:
        second = "nextToken=t1" in request.url
        body = b'{"clusters": ["jobs"]}' if second else b'{"clusters": ["shop"], "nextToken": "t1"}'
        return FakeResponse(200, body, {"content-type": "application/json"})

    aws_world.faults[LIST] = page
    reading = read_whole(aws_world, CLUSTERS)
    assert [row["name"] for row in reading.rows] == ["shop", "jobs"]
    assert reading.operations.count(LIST) == 2


def test_a_refused_description_stands_in_its_row(aws_world: AwsWorld) -> None:
    seed(aws_world, "shop")
    assert_refused_in_rows(aws_world, CLUSTERS, "eks:DescribeCluster", "shop")


def test_no_clusters(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, CLUSTERS)


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, CLUSTERS, LIST)
