"""How certificates are read."""

from __future__ import annotations

from tests.checks.aws.asking import Answers, assert_denied, assert_no_rows, read_whole
from tests.worlds import AwsWorld


def test_certificates_are_read_from_the_list_alone(aws_world: AwsWorld) -> None:
    made = aws_world.client("acm").request_certificate(DomainName="www.example.org")["CertificateArn"]
    reading = read_whole(aws_world, "aws.acm.certificates")
    row = reading.row(made)
    assert (row["Status"], row["KeyAlgorithm"], row["InUse"]) == ("PENDING_VALIDATION", "RSA_2048", False)
    assert row["NotAfter"].endswith("Z")
    assert reading.operations == ["acm:ListCertificates"]


def test_two_pages_and_what_is_asked(aws_world: AwsWorld) -> None:
    arns = [f"arn:aws:acm:eu-central-1:123456789012:certificate/{number}" for number in range(2)]
    first, second = ({"CertificateSummaryList": [{"CertificateArn": arn}]} for arn in arns)
    pages = Answers({**first, "NextToken": "t1"}, second)
    aws_world.faults["acm:ListCertificates"] = pages
    assert [row["CertificateArn"] for row in read_whole(aws_world, "aws.acm.certificates").rows] == arns
    assert ["t1" in sent for sent in pages.sent] == [False, True]
    assert all(word in pages.sent[0] for word in ("RSA_1024", "RSA_4096", "EC_secp521r1", "CUSTOMER_PROVIDED", "ACME"))


def test_no_certificates(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, "aws.acm.certificates")


def test_a_refused_list_is_a_gap(aws_world: AwsWorld) -> None:
    assert_denied(aws_world, "aws.acm.certificates", "acm:ListCertificates")
