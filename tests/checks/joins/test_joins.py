"""What the examples of joins show of other systems is what their sources yield, in worlds held against the vendors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collector import examples, plugins
from tests.checks.entra.test_entra import furnish as entra
from tests.checks.github.test_github import furnish as github
from tests.checks.gitlab.test_gitlab import furnish as gitlab
from tests.checks.google_workspace.test_google_workspace import furnish as google
from tests.checks.jira.test_jira import furnish as jira
from tests.checks.keycloak.test_keycloak import furnish as keycloak
from tests.checks.kubernetes.test_kubernetes import furnish as kubernetes
from tests.checks.okta.test_okta import furnish as okta
from tests.checks.register.test_register import furnish as register
from tests.entra_world import EntraWorld
from tests.github_world import GitHubWorld
from tests.gitlab_world import GitLabWorld
from tests.google_world import GoogleWorld
from tests.http_world import OktaWorld
from tests.jira_world import JiraWorld
from tests.keycloak_world import KeycloakWorld
from tests.kubernetes_world import KubernetesWorld
from tests.register_world import RegisterWorld
from tests.test_contract import _differences

WORLDS: dict[str, tuple[Callable[[Path], Any], Callable[[Any], None]]] = {
    "entra": (EntraWorld, entra),
    "github": (GitHubWorld, github),
    "gitlab": (GitLabWorld, gitlab),
    "google-workspace": (GoogleWorld, google),
    "jira": (JiraWorld, jira),
    "keycloak": (KeycloakWorld, keycloak),
    "kubernetes": (KubernetesWorld, kubernetes),
    "okta": (OktaWorld, okta),
    "register": (RegisterWorld, register),
}
LIBRARY = plugins.load()


def shown() -> dict[str, list[Any]]:
    """Every record of the examples, by dataset."""
    found: dict[str, list[Any]] = defaultdict(list)
    for example in examples.load(Path(__file__).parent, LIBRARY.checks):
        first, *beside = example.rows
        datasets = LIBRARY.checks[example.check].datasets
        for dataset, rows in zip(datasets, ([first], *beside), strict=True):
            found[dataset] += rows
    return found


SHOWN = shown()


@pytest.mark.parametrize("kind", WORLDS)
def test_every_field_of_an_example_is_one_that_a_source_yields(kind: str, tmp_path: Path) -> None:
    make, furnish = WORLDS[kind]
    world = make(tmp_path)
    try:
        furnish(world)
        problems = set()
        for dataset in (name for name in SHOWN if name.startswith(f"{kind}.")):
            held = [dict(row) for row in world.read(dataset).rows]
            assert held, dataset
            problems |= {told for row in SHOWN[dataset] for told in _differences(row, held, dataset)}
        # A field that is null in the world is there; of what type it may be, the vendor's description says.
        assert {told for told in problems if not told.endswith("a reply has NoneType")} == set()
    finally:
        world.stop()


def test_every_kind_that_is_joined_is_held_against_its_world() -> None:
    own = {"active-directory", "ldap", "mariadb", "postgresql"}  # real servers: their own tests read these fields
    aws = {"aws"}  # held against the SDK's own descriptions by tests/test_contract.py, which takes every example
    assert {name.partition(".")[0] for name in SHOWN} - own - aws == set(WORLDS)
