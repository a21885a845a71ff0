"""How the identity providers of an account are read."""

from __future__ import annotations

import pytest

from collector.demo.estate import metadata
from tests.checks.aws.asking import assert_denied, assert_no_rows, assert_refused_in_rows, read_whole
from tests.worlds import AwsWorld

PROVIDERS = "aws.iam.identity-providers"
METADATA = metadata("https://sso.example.org/realms/acme")
SAML = "arn:aws:iam::123456789012:saml-provider/staff"
OIDC = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"


def seed(world: AwsWorld) -> None:
    iam = world.client("iam")
    iam.create_saml_provider(SAMLMetadataDocument=METADATA, Name="staff")
    iam.create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["0" * 40]
    )


def test_both_sorts_are_read_with_what_they_are_known_by(aws_world: AwsWorld) -> None:
    seed(aws_world)
    reading = read_whole(aws_world, PROVIDERS)
    assert [row["Arn"] for row in reading.rows] == [SAML, OIDC]
    assert reading.row(SAML)["GetSAMLProvider"]["SAMLMetadataDocument"] == METADATA
    url = reading.row(OIDC)["GetOpenIDConnectProvider"]["Url"]
    assert url == "token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("operation", "key"), [("iam:GetSAMLProvider", SAML), ("iam:GetOpenIDConnectProvider", OIDC)]
)
def test_refused_details_stand_in_their_row(aws_world: AwsWorld, operation: str, key: str) -> None:
    seed(aws_world)
    assert_refused_in_rows(aws_world, PROVIDERS, operation, key)


def test_no_providers(aws_world: AwsWorld) -> None:
    assert_no_rows(aws_world, PROVIDERS)


@pytest.mark.parametrize("operation", ["iam:ListSAMLProviders", "iam:ListOpenIDConnectProviders"])
def test_a_refused_list_is_a_gap(aws_world: AwsWorld, operation: str) -> None:
    seed(aws_world)
    assert_denied(aws_world, PROVIDERS, operation)
