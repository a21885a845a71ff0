"""How load balancers are read."""

from __future__ import annotations

from typing import Any

import pytest

from collector.model import Unavailable
from tests.checks.aws.asking import (
    Answers,
    assert_denied,
    assert_no_rows,
    assert_refused_in_rows,
    query,
    read_whole,
    xml,
)
from tests.worlds import AwsWorld

DATASET = "aws.elbv2.load-balancers"


@pytest.fixture
def shop(aws_world: AwsWorld) -> AwsWorld:
    """A load balancer with an HTTPS listener, and an HTTP one that redirects to it."""
    ec2, elb = aws_world.client("ec2"), aws_world.client("elbv2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
    certificate = aws_world.client("acm").request_certificate(DomainName="www.example.org")["CertificateArn"]
    balancer = elb.create_load_balancer(Name="shop", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    names = ("Issuer", "AuthorizationEndpoint", "TokenEndpoint", "UserInfoEndpoint")
    secret = {**dict.fromkeys(names, "https://id.example.org"), "ClientId": "shop", "ClientSecret": "not-for-evidence"}
    sign_in: list[dict[str, Any]] = [
        {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": secret},
        {"Type": "fixed-response", "Order": 2, "FixedResponseConfig": {"StatusCode": "200"}},
    ]
    redirect = {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
    tls = {"SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06", "Certificates": [{"CertificateArn": certificate}]}
    elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTPS", Port=443, DefaultActions=sign_in, **tls)
    elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[redirect])
    return aws_world


def test_a_balancer_is_read_with_its_listeners_and_the_rules_of_http(shop: AwsWorld) -> None:
    reading = read_whole(shop, DATASET)
    row = reading.row("shop")
    attributes = {each["Key"]: each["Value"] for each in row["DescribeLoadBalancerAttributes"]["Attributes"]}
    assert (row["Type"], attributes["deletion_protection.enabled"]) == ("application", "false")
    listeners = {each["Protocol"]: each for each in row["DescribeListeners"]}
    assert listeners["HTTPS"]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert "DescribeRules" not in listeners["HTTPS"]
    [rule] = listeners["HTTP"]["DescribeRules"]
    assert rule["Actions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"
    assert reading.operations.count("elasticloadbalancing:DescribeRules") == 1


def test_the_secret_of_a_listener_is_taken_out(shop: AwsWorld) -> None:
    reading = read_whole(shop, DATASET)
    assert not any(b"not-for-evidence" in body for body in reading.ledger.objects.values())


def test_two_pages(aws_world: AwsWorld) -> None:
    def page(name: str, **marker: str) -> str:
        arn = f"arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/{name}/1"
        member = xml(member=xml(LoadBalancerName=name, LoadBalancerArn=arn, Type="network"))
        return query("DescribeLoadBalancers", LoadBalancers=member, **marker)

    pages = Answers(page("mail", NextMarker="m1"), page("time"))
    listeners, attributes = (
        query("DescribeListeners", Listeners=""),
        query("DescribeLoadBalancerAttributes", Attributes=""),
    )
    aws_world.faults["elasticloadbalancing:DescribeLoadBalancers"] = pages
    aws_world.faults["elasticloadbalancing:DescribeListeners"] = Answers(listeners, listeners)
    aws_world.faults["elasticloadbalancing:DescribeLoadBalancerAttributes"] = Answers(attributes, attributes)
    reading = read_whole(aws_world, DATASET)
    assert [(row["LoadBalancerName"], row["DescribeListeners"]) for row in reading.rows] == [("mail", []), ("time", [])]
    assert ["m1" in sent for sent in pages.sent] == [False, True]


def test_refused_attributes_stand_in_the_row(shop: AwsWorld) -> None:
    assert_refused_in_rows(shop, DATASET, "elasticloadbalancing:DescribeLoadBalancerAttributes", "shop")


def test_refused_rules_stand_in_their_listener(shop: AwsWorld) -> None:
    shop.deny("elasticloadbalancing:DescribeRules")
    reading = shop.read(DATASET)
    [http] = [each for each in reading.row("shop")["DescribeListeners"] if each["Protocol"] == "HTTP"]
    with pytest.raises(Unavailable, match="elasticloadbalancing:DescribeRules was refused"):
        http["DescribeRules"]
    assert [gap.resources for gap in reading.shard.population.partial] == [("shop",)]


def test_refused_listeners_end_the_list(shop: AwsWorld) -> None:
    assert_denied(shop, DATASET, "elasticloadbalancing:DescribeListeners")


def test_no_balancers(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, DATASET)


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, DATASET, "elasticloadbalancing:DescribeLoadBalancers")
