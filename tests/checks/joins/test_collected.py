"""Clusters and tenants that AWS tells of, held against those that were read, from the request to the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collector import plan, plugins
from collector.config import load
from collector.demo.estate import metadata
from collector.judge import Bench, judge
from collector.model import Outcome, Shard
from tests.checks.entra.test_entra import SHOPS, TENANT
from tests.checks.entra.test_entra import furnish as entra_furnish
from tests.checks.keycloak.test_keycloak import furnish as keycloak_furnish
from tests.entra_world import EntraWorld
from tests.http_world import worlds
from tests.keycloak_world import KeycloakWorld
from tests.kubernetes_world import KubernetesWorld, status
from tests.worlds import AwsWorld

LIBRARY = plugins.load()
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
AWS = "{name: cloud, kind: aws, regions: [eu-central-1]}"
OTHERS = {
    "kubernetes": "{name: shop, kind: kubernetes, in_cluster: true}",
    "keycloak": "{name: sso, kind: keycloak, base_url: 'https://sso.example.org', token: env:T}",
}
CONFIG = """\
version: 1
organisation: Example Ltd
store: {{path: evidence, origin: log.example.org/a}}
key: {{file: a.key, passphrase: env:PASS}}
connections: [{}]
"""


def beside(folder: Path, name: str) -> Path:
    """A folder for a second world, which would name its files like the first."""
    (folder / name).mkdir()
    return folder / name


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubernetesWorld]:
    """A cluster with the issuer that the emulator of AWS gives the clusters of its region."""
    yield from worlds(KubernetesWorld, beside(tmp_path, "cluster"))


def said(check: str, *shards: Shard) -> dict[str, tuple[Outcome, str]]:
    """What a check says, by the end of the name of each resource."""
    found = judge([LIBRARY.checks[check]], shards, Bench(AS_OF, {}))
    return {one.resource.rpartition("/")[2]: (one.outcome, one.reason) for one in found}


def seed_cluster(world: AwsWorld, region: str = "") -> None:
    role = "arn:aws:iam::123456789012:role/eks"
    world.client("eks", region).create_cluster(name="shop", roleArn=role, resourcesVpcConfig={})


@pytest.mark.parametrize(
    ("region", "outcome"), [("eu-central-1", Outcome.PASS), ("eu-west-1", Outcome.FAIL)]
)
def test_a_cluster_is_the_one_with_its_issuer_however_it_is_reached(
    aws_world: AwsWorld, cluster: KubernetesWorld, region: str, outcome: Outcome
) -> None:
    seed_cluster(aws_world, region)
    listed, read = aws_world.read("aws.eks.clusters", region), cluster.read("kubernetes.issuers")
    found = said("joins.aws.clusters-collected", listed.shard, read.shard)
    assert {name: told[0] for name, told in found.items()} == {"shop": outcome}, found
    assert f"https://oidc.eks.{region}.amazonaws.com/id/" in found["shop"][1]


def test_a_cluster_that_does_not_say_who_it_is_leaves_it_unknown(
    aws_world: AwsWorld, cluster: KubernetesWorld
) -> None:
    seed_cluster(aws_world)
    cluster.faults["/.well-known/.*"] = lambda request, number: status(403, "Forbidden", "no")
    listed, read = aws_world.read("aws.eks.clusters"), cluster.read("kubernetes.issuers")
    assert said("joins.aws.clusters-collected", listed.shard, read.shard)["shop"][0] is Outcome.UNKNOWN


def test_tenants_and_realms_that_aws_trusts_are_found_among_those_read(aws_world: AwsWorld, tmp_path: Path) -> None:
    iam = aws_world.client("iam")
    for name, entity in (
        ("staff", f"https://sts.windows.net/{TENANT}/"),
        ("shops", f"https://sts.windows.net/{SHOPS}/"),
        ("acme", "https://sso.example.org/realms/acme"),
        ("lost", "https://sso.example.org/realms/lost"),
    ):
        iam.create_saml_provider(SAMLMetadataDocument=metadata(entity), Name=name)
    trusted = aws_world.read("aws.iam.identity-providers").shard
    for tenant in worlds(EntraWorld, beside(tmp_path, "entra")):
        entra_furnish(tenant)
        found = said("joins.aws.entra-tenants-collected", trusted, tenant.read("entra.organisation").shard)
    assert {name: str(told[0]) for name, told in found.items()} == {
        "staff": "PASS", "shops": "FAIL", "acme": "SKIP", "lost": "SKIP",
    }  # fmt: skip
    for server in worlds(KeycloakWorld, beside(tmp_path, "keycloak")):
        keycloak_furnish(server)
        found = said("joins.aws.keycloak-realms-collected", trusted, server.read("keycloak.issuers").shard)
    assert {name: str(told[0]) for name, told in found.items()} == {
        "staff": "SKIP", "shops": "SKIP", "acme": "PASS", "lost": "FAIL",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("connections", "clusters", "kinds"),
    [
        ([AWS], (), ("aws",)),
        ([AWS, *OTHERS.values()], ("shop",), ("aws", "keycloak", "kubernetes")),
    ],
)
def test_what_is_collected_is_what_the_plan_reads_and_asked_even_where_nothing_is(
    tmp_path: Path, connections: list[str], clusters: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.format(", ".join(connections)))
    wanted = {
        "aws.eks.clusters-collected": ("collected_clusters", clusters),
        "aws.iam.identity-providers-collected": ("collected_kinds", kinds),
    }
    made = plan.make(load(tmp_path / "config.yaml"), LIBRARY, AS_OF, wanted=lambda check: check.id in wanted)
    assert {check.id for check in made.checks} == set(wanted)
    assert {check: made.parameters[check] for check in wanted} == {
        check: {name: value} for check, (name, value) in wanted.items()
    }
