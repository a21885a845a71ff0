"""What the doctor says of its rights in a cluster, against an API server that decides by rules of roles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.connect.kubernetes import Kubernetes
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire
from collector.doctor import cluster as looking
from collector.model import Task
from tests.doctor_bench import looked, states
from tests.http_world import Reply, Request
from tests.kubernetes_world import KubernetesWorld, status
from tests.worlds import LIMITS, MemoryLedger

READS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "namespaces"]}
SELF = {
    "verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
}  # fmt: skip
"""What everybody has (the role system:basic-user)."""
OWN = {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}
PATHS = {"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/version"]}
FINE = "allowed all 1 rights it needs, and in 2 namespaces none that changes things"
PODS = ("kubernetes.pods",)


class Ruled(KubernetesWorld):
    """Answers reviews of oneself as RBAC does: rules of the whole cluster, and rules of one namespace alone."""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.rules = [READS, SELF, OWN, PATHS]
        self.inside: dict[str, list[Mapping[str, Any]]] = {}
        self.incomplete = False
        self.lists["/api/v1/namespaces"] = [{"metadata": {"name": name}} for name in ("default", "shop")]

    def allowed(self, request: Request) -> Reply | None:
        return None if request.method == "POST" else super().allowed(request)

    def _answered(self, request: Request) -> Reply:
        if request.method != "POST":
            return super()._answered(request)
        assert request.headers["authorization"] == f"Bearer {self.token}"
        asked = json.loads(request.body)
        assert asked["apiVersion"] == "authorization.k8s.io/v1"
        assert request.path == f"/apis/authorization.k8s.io/v1/{asked['kind'].lower()}s"
        told = self._decided(asked["spec"]) if "Access" in asked["kind"] else self._ruled(asked["spec"]["namespace"])
        return Reply(201, {**asked, "metadata": {"creationTimestamp": None}, "status": told})

    def _ruled(self, namespace: str) -> dict[str, Any]:
        rules = [*(self.rules or ()), *self.inside.get(namespace, ())]
        return {
            "resourceRules": [rule for rule in rules if "resources" in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule] or None,
            "incomplete": self.incomplete,
        }

    def _decided(self, spec: dict[str, Any]) -> dict[str, Any]:
        about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if path:
            allowed = any(
                path["verb"] in rule["verbs"] and _under(path["path"], rule.get("nonResourceURLs", ()))
                for rule in self.rules or ()
            )
            return {"allowed": allowed}
        assert "namespace" not in about, "rights in all namespaces are asked for"
        named = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        return {"allowed": any(_grants(rule, about["verb"], about["group"], named) for rule in self.rules or ())}


def _under(path: str, urls: Sequence[str]) -> bool:
    return any(re.fullmatch(url.replace("*", ".*"), path) for url in urls)


def _grants(rule: Mapping[str, Any], verb: str, group: str, resource: str) -> bool:
    return all(
        {wanted, "*"} & {*rule.get(where, ())}
        for where, wanted in (("verbs", verb), ("apiGroups", group), ("resources", resource))
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Ruled]:
    made = Ruled(tmp_path)
    yield made
    made.stop()


def look(world: Ruled, datasets: tuple[str, ...] = PODS) -> list[tuple[str, str]]:
    connection = {"name": "there", "kind": "kubernetes", "kubeconfig": str(world.kubeconfig), "context": "audit"}
    return states(looked(world._tmp, connection, datasets))


def test_an_identity_that_only_reads_is_fine(world: Ruled) -> None:
    assert look(world) == [("ok", FINE)]
    assert {request.path for request in world.requests if request.method != "GET"} == {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    }, "nothing but reviews of oneself is posted"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"verbs": ["get", "patch"], "apiGroups": ["apps"], "resources": ["deployments"]}, "patch apps/deployments"),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}, "get pods/exec"),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, "every verb on */*"),
        ({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}, "impersonate users"),
        ({"verbs": ["post"], "nonResourceURLs": ["/logs"]}, "post /logs"),
        (
            {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"]},
            "create authorization.k8s.io/subjectaccessreviews",
        ),
    ],
)
def test_a_right_to_change_things_is_warned_of(world: Ruled, rule: dict[str, Any], told: str) -> None:
    world.rules = [*(world.rules or ()), rule]
    assert look(world) == [("warning", f"holds rights to change things: {told}")]


def test_a_right_in_one_namespace_alone_is_seen_there(world: Ruled) -> None:
    world.inside["shop"] = [{"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}]
    assert look(world) == [("warning", "holds rights to change things: delete pods in shop")]


def test_each_need_is_decided_by_the_server(world: Ruled) -> None:
    world.rules = [SELF, PATHS, {**READS, "resources": ["namespaces"]}]
    assert look(world) == [("problem", "not allowed: list pods")]
    assert look(world, ("kubernetes.version",))[0][0] == "ok"
    world.rules = [SELF, {**READS, "resources": ["namespaces"]}]
    assert look(world, ("kubernetes.version",)) == [("problem", "not allowed: nonresource /version")]


def test_what_a_cluster_does_not_serve_is_not_needed(world: Ruled) -> None:
    backups = ("kubernetes.velero-backups",)
    assert look(world, backups) == [("problem", "not allowed: list velero.io/backups")]
    for path in world.extensions:
        world.extensions[path] = not path.startswith("/apis/velero.io/")
    assert look(world, backups)[0][0] == "ok"
    world.faults["/apis"] = lambda request, number: status(403, "Forbidden", "no")
    assert look(world, backups) == [("problem", "not allowed: list velero.io/backups")], "nobody knows what is served"


def test_a_cluster_that_tells_part_of_its_rules_is_asked_for_the_worst(world: Ruled) -> None:
    world.incomplete = True
    untold = ("warning", "kubernetes does not tell all rules that hold for this identity (incomplete)")
    assert look(world) == [untold]
    world._ruled = lambda namespace: {"resourceRules": [], "nonResourceRules": [], "incomplete": True}  # type: ignore[method-assign]
    world.rules = [*(world.rules or ()), {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"]}]
    assert look(world) == [("warning", "holds rights to change things: create pods/exec"), untold]


def test_only_so_many_namespaces_are_looked_at(world: Ruled) -> None:
    world.page_size = 500
    world.lists["/api/v1/namespaces"] = [{"metadata": {"name": f"n{number:02}"}} for number in range(21)]
    assert look(world) == [("warning", "its rights were looked at in 20 of 21 namespaces")]
    world.lists["/api/v1/namespaces"].pop()
    assert look(world) == [("ok", FINE.replace("2 namespaces", "20 namespaces"))]


def test_where_namespaces_may_not_be_listed_one_is_looked_at(world: Ruled) -> None:
    world.rules = [{**READS, "resources": ["pods"]}, SELF, PATHS]
    [(state, what)] = look(world)
    assert state == "warning"
    assert what.startswith("kubernetes told its rights in the namespace default alone (kubernetes:GET /api/v1/name")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (status(403, "Forbidden", "no"), "was refused (403 Forbidden)"),
        (status(401, "Unauthorized", "no"), "the credential is not valid"),
        (Reply(201, {"kind": "SelfSubjectRulesReview"}), "answered without a status"),
        (Reply(201, b"<html>"), "answered with something that is not JSON"),
        (Reply(201, {"status": {"resourceRules": [{"resources": ["pods"]}], "incomplete": False}}), "not as described"),
    ],
)
def test_a_review_that_fails_is_one_warning(world: Ruled, reply: Reply, why: str) -> None:
    world.faults[".*rulesreviews"] = lambda request, number: reply
    [(state, what)] = look(world)
    assert (state, why in what) == ("warning", True), what
    assert what.startswith("the rights of this kubernetes connection could not be looked at (")


@pytest.mark.parametrize(
    ("need", "parts"),
    [
        ("list pods", ("list", "", "pods", "")),
        ("create pods/exec", ("create", "", "pods", "exec")),
        ("list apps/deployments", ("list", "apps", "deployments", "")),
        ("list constraints.gatekeeper.sh/*", ("list", "constraints.gatekeeper.sh", "*", "")),
        ("patch apps/deployments/scale", ("patch", "apps", "deployments", "scale")),
    ],
)
def test_a_need_has_a_verb_a_group_a_resource_and_what_is_below_it(need: str, parts: tuple[str, ...]) -> None:
    assert looking._parts(need) == parts


def test_no_source_may_post(world: Ruled) -> None:
    def opened(permissions: frozenset[str] | None) -> Kubernetes:
        wire = LiveWire(Task("kubernetes.pods", "there"), MemoryLedger())
        wire.permissions = permissions
        return Kubernetes(wire, world.cluster(), retry=Retry(attempts=1), limits=LIMITS)

    with pytest.raises(ValueError, match="no review that may be asked for here"):
        opened(frozenset({"*"})).review("SelfSubjectRulesReview", namespace="default")
    with pytest.raises(ValueError, match="SubjectAccessReview is no review"):
        opened(None).review("SubjectAccessReview", user="anna")
    assert not world.requests
    assert opened(None).review("SelfSubjectRulesReview", namespace="default")["incomplete"] is False
