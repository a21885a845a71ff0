"""How Kubernetes is read: against a world whose every request and reply is held against a real server's description."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector import examples, plugins
from collector import plan as planning
from collector.config import load as load_config
from collector.connect.kubernetes import METADATA
from collector.judge import Bench, judge
from collector.model import Outcome, instant
from collector.permissions import cluster_role, policy
from collector.reconcile import reconcile
from tests.http_world import SPECS, Reply, Request, same, worlds
from tests.kubernetes_world import ISSUER, KINDS, RECORDED, KubernetesWorld, negotiated, recorded, status
from tests.small_cloud import Office, files_of
from tests.worlds import Reading

SOURCES = sorted(name for name in plugins.load().sources if name.startswith("kubernetes."))
CHECKS = [check for check in plugins.load().checks.values() if check.id.startswith("kubernetes.")]
AS_OF = instant("2026-06-01T00:00:00Z")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubernetesWorld]:
    """A furnished cluster; what it answered is held against the description afterwards."""
    for world in worlds(KubernetesWorld, tmp_path):
        furnish(world)
        yield world
        if world.contract:
            assert world.contract.faults == []
            described = any(request.path in KINDS for request in world.requests)
            assert world.contract.held or not described or world.faults or world.rules is not None


def furnish(world: KubernetesWorld) -> None:
    """Put the objects of the file into the world: invented workloads, shaped as a real server sends them."""
    for path, objects in json.loads((Path(__file__).parent / "cluster.json").read_text("utf8")).items():
        world.lists[path].extend(objects)


KEYS = {
    "kubernetes.admission-policies": ["one", "three", "two"],
    "kubernetes.api-groups": [
        "admissionregistration.k8s.io",
        "apps",
        "aquasecurity.github.io",
        "batch",
        "cert-manager.io",
        "constraints.gatekeeper.sh",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "velero.io",
        "wgpolicyk8s.io",
    ],
    "kubernetes.api-servers": [
        "kube-system/kube-apiserver-cp1",
        "kube-system/kube-apiserver-cp2",
        "kube-system/kube-apiserver-cp3",
    ],
    "kubernetes.certificates": ["shop/late", "shop/new", "shop/web"],
    "kubernetes.cluster-role-bindings": [
        "cluster-admin",
        "everybody-views",
        "operator",
        "robot-admin",
        "system:public-info-viewer",
    ],
    "kubernetes.cluster-roles": [
        "cluster-admin",
        "empty",
        "impersonator",
        "metrics",
        "operator",
        "system:public-info-viewer",
        "view",
    ],
    "kubernetes.counts": [
        "kubernetes.namespaces",
        "kubernetes.nodes",
        "kubernetes.pods",
        "kubernetes.service-accounts",
        "kubernetes.network-policies",
        "kubernetes.role-bindings",
        "kubernetes.cluster-roles",
        "kubernetes.cluster-role-bindings",
    ],
    "kubernetes.cron-jobs": ["legacy/old-dump", "shop/db-backup", "shop/report"],
    "kubernetes.daemon-sets": ["kube-system/logs", "legacy/watch", "shop/gpu"],
    "kubernetes.deployments": ["legacy/single", "shop/web", "velero/velero"],
    "kubernetes.gatekeeper-constraints": [
        "K8sRequiredLabels/cost",
        "K8sRequiredLabels/owner",
        "K8sRequiredLabels/team",
    ],
    "kubernetes.ingresses": ["legacy/any", "legacy/plain", "shop/web"],
    "kubernetes.issuers": [ISSUER],
    "kubernetes.limit-ranges": ["other/limits", "shop/limits", "velero/limits"],
    "kubernetes.mutating-webhooks": ["empty", "inject", "outside"],
    "kubernetes.namespaces": ["kube-system", "legacy", "shop", "velero"],
    "kubernetes.network-policies": ["legacy/allow-all", "shop/default-deny", "velero/default-deny"],
    "kubernetes.nodes": ["n1", "n2", "n3"],
    "kubernetes.pod-disruption-budgets": ["shop/db", "shop/other", "shop/web"],
    "kubernetes.pods": [
        "kube-system/kube-apiserver-cp1",
        "kube-system/kube-apiserver-cp2",
        "kube-system/kube-apiserver-cp3",
        "legacy/done",
        "legacy/evil",
        "shop/web-5f4-a",
        "shop/web-5f4-b",
        "velero/velero-7",
    ],
    "kubernetes.policy-reports": ["legacy/r2", "legacy/r3", "shop/r1", "cluster"],
    "kubernetes.resource-quotas": ["legacy/quota", "shop/quota", "velero/quota"],
    "kubernetes.role-bindings": ["legacy/all", "legacy/gone", "legacy/nobody", "shop/deployer"],
    "kubernetes.roles": ["legacy/all", "legacy/binder", "shop/deployer"],
    "kubernetes.secrets": ["legacy/old", "shop/db", "shop/tls"],
    "kubernetes.service-account-tokens": ["legacy/robot-token", "shop/ci-token", "shop/new-token"],
    "kubernetes.service-accounts": ["legacy/default", "shop/default", "shop/shop", "velero/velero"],
    "kubernetes.services": ["legacy/node", "legacy/open", "shop/edge", "shop/web"],
    "kubernetes.stateful-sets": ["legacy/queue", "shop/db", "shop/off"],
    "kubernetes.storage-classes": ["fast", "shared", "slow"],
    "kubernetes.validating-webhooks": ["empty", "loose", "policy"],
    "kubernetes.velero-backups": ["velero/daily-28", "velero/daily-29", "velero/daily-30"],
    "kubernetes.velero-restores": ["velero/drill", "velero/failed", "velero/older"],
    "kubernetes.velero-schedules": ["velero/daily", "velero/paused", "velero/stuck"],
    "kubernetes.version": ["version"],
    "kubernetes.vulnerability-reports": [
        "legacy/replicaset-old",
        "shop/replicaset-web-5f4-app",
        "shop/statefulset-db",
    ],
}
SINGLE = ("kubernetes.version", "kubernetes.api-groups", "kubernetes.issuers")
"""Datasets of one reply."""
LISTS = [name for name in KEYS if name not in (*SINGLE, "kubernetes.counts", "kubernetes.gatekeeper-constraints")]
"""Datasets that begin with a list, each with a second page here."""
EXTENDED = [name for name in KEYS if "nonresource /apis" in plugins.load().sources[name].permissions]


def first(dataset: str) -> str:
    """Path of the first list that is asked for a dataset."""
    with_words = {"kubernetes.api-servers": "/api/v1/namespaces/kube-system/pods"}
    needs = [item for item in plugins.load().sources[dataset].permissions if item.startswith("list ")]
    group, _, resource = needs[0].removeprefix("list ").rpartition("/")
    return with_words.get(dataset, f"/apis/{re.escape(group)}/[^/]+/{resource}" if group else f"/api/v1/{resource}")


def keys_of(reading: Reading) -> list[str]:
    assert reading.shard.path is not None
    return [json.loads(line)["key"] for line in reading.shard.path.read_bytes().splitlines()]


def kept(reading: Reading) -> bytes:
    return json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())


def test_every_dataset_is_tried() -> None:
    assert sorted(KEYS) == SOURCES
    assert len(SOURCES) >= 20
    assert len(CHECKS) >= 45


@pytest.mark.parametrize("dataset", KEYS)
def test_all_of_it_is_read_conforms_to_the_description_and_replays(cluster: KubernetesWorld, dataset: str) -> None:
    reading = cluster.read(dataset)
    assert reading.shard.population.gap is None
    assert reading.shard.population.partial == ()
    assert keys_of(reading) == KEYS[dataset]
    assert all(line["op"].startswith("kubernetes:GET /") for line in reading.ledger.lines)
    assert {line["caller"] for line in reading.ledger.lines} == {"context audit of kubeconfig"}
    if dataset in LISTS:
        assert 2 in {line["page"] for line in reading.ledger.lines}
    for secret in (b"hush-hush", b"aHVzaC1odXNo", cluster.token.encode()):
        assert secret not in kept(reading)
    assert {request.method for request in cluster.requests} == {"GET"}
    same(cluster, reading)
    if cluster.contract is None:
        pytest.skip(f"{SPECS} is absent: requests and replies were not held against the description")


@pytest.mark.parametrize("dataset", KEYS)
def test_nothing_there_is_a_complete_empty_list(tmp_path: Path, dataset: str) -> None:
    for empty in worlds(KubernetesWorld, tmp_path):
        reading = empty.read(dataset)
        assert reading.shard.population.proven
        always = {
            "kubernetes.version": 1, "kubernetes.issuers": 1, "kubernetes.api-groups": 12, "kubernetes.counts": 8,
        }  # fmt: skip
        assert len(reading.rows) == always.get(dataset, 0)


@pytest.mark.parametrize("dataset", EXTENDED)
def test_an_extension_that_is_not_installed_is_nothing_and_passes_nothing(
    cluster: KubernetesWorld, dataset: str
) -> None:
    cluster.extensions = dict.fromkeys(cluster.extensions, False)
    reading = cluster.read(dataset)
    if dataset == "kubernetes.api-groups":
        assert "velero.io" not in keys_of(reading)
        return
    assert reading.shard.population.proven
    assert reading.rows == []
    found = judge([one for one in CHECKS if one.each and one.datasets[0] == dataset], [reading.shard], Bench(AS_OF, {}))
    assert {finding.outcome for finding in found} <= {Outcome.SKIP}
    same(cluster, reading)


REFUSALS = [
    (status(401, "Unauthorized", "Unauthorized"), "unauthenticated"),
    (status(403, "Forbidden", 'pods is forbidden: User "nobody" cannot list resource "pods"'), "denied"),
    (Reply(429, {"kind": "Status", "reason": "TooManyRequests", "code": 429}, {"Retry-After": "1"}), "throttled"),
    (status(500, "InternalError", "etcdserver: leader changed"), "server-error"),
    (Reply(503, b"service unavailable\n", {"Content-Type": "text/plain"}), "server-error"),
]


@pytest.mark.parametrize(
    ("dataset", "reply", "kind"),
    [*((dataset, *REFUSALS[1]) for dataset in LISTS), *(("kubernetes.pods", *refusal) for refusal in REFUSALS)],
)
def test_a_list_that_is_refused_is_a_gap(cluster: KubernetesWorld, dataset: str, reply: Reply, kind: str) -> None:
    cluster.faults[first(dataset)] = lambda request, number: reply
    reading = cluster.read(dataset)
    assert reading.shard.population.gap is not None
    assert reading.shard.population.gap.kind == kind
    assert reading.rows == []
    same(cluster, reading)


@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_breaks_at_its_second_page_yields_nothing(cluster: KubernetesWorld, dataset: str) -> None:
    def broken(request: Request, number: int) -> Reply | None:
        return status(403, "Forbidden", "no") if "continue" in request.query else None

    cluster.faults[first(dataset)] = broken
    reading = cluster.read(dataset)
    assert reading.shard.population.gap is not None
    assert (reading.shard.population.gap.kind, reading.rows) == ("denied", [])
    same(cluster, reading)


FAILED = [
    "kubernetes.admission-policies.fail-closed two",
    "kubernetes.api-servers.audit-kept kube-system/kube-apiserver-cp1",
    "kubernetes.api-servers.no-anonymous kube-system/kube-apiserver-cp1",
    "kubernetes.api-servers.no-anonymous kube-system/kube-apiserver-cp2",
    "kubernetes.api-servers.secrets-encrypted kube-system/kube-apiserver-cp1",
    "kubernetes.certificates.not-expiring shop/late",
    "kubernetes.certificates.not-expiring shop/new",
    "kubernetes.certificates.ready shop/late",
    "kubernetes.certificates.ready shop/new",
    "kubernetes.cluster-role-bindings.administrators-few kubernetes",
    "kubernetes.cluster-role-bindings.administrators-no-workload robot-admin",
    "kubernetes.cluster-role-bindings.exec-few kubernetes",
    "kubernetes.cluster-role-bindings.no-anonymous everybody-views",
    "kubernetes.cluster-role-bindings.no-everybody everybody-views",
    "kubernetes.cluster-roles.no-escalation impersonator",
    "kubernetes.cluster-roles.no-escalation operator",
    "kubernetes.cluster-roles.no-node-proxy metrics",
    "kubernetes.cluster-roles.no-wildcard operator",
    "kubernetes.cron-jobs.backup-on legacy/old-dump",
    "kubernetes.cron-jobs.backup-succeeds legacy/old-dump",
    "kubernetes.daemon-sets.everywhere legacy/watch",
    "kubernetes.deployments.available legacy/single",
    "kubernetes.deployments.replicated legacy/single",
    "kubernetes.deployments.replicated velero/velero",
    "kubernetes.gatekeeper-constraints.enforced K8sRequiredLabels/team",
    "kubernetes.gatekeeper-constraints.no-violations K8sRequiredLabels/team",
    "kubernetes.ingresses.hosts-named legacy/any",
    "kubernetes.ingresses.tls legacy/any",
    "kubernetes.ingresses.tls legacy/plain",
    "kubernetes.limit-ranges.everywhere kubernetes",
    "kubernetes.mutating-webhooks.inside outside",
    "kubernetes.namespaces.owned legacy",
    "kubernetes.namespaces.pod-security-enforced legacy",
    "kubernetes.namespaces.pod-security-watched legacy",
    "kubernetes.network-policies.default-deny-egress kubernetes",
    "kubernetes.network-policies.default-deny-ingress kubernetes",
    "kubernetes.network-policies.no-allow-all legacy/allow-all",
    "kubernetes.nodes.no-pressure n3",
    "kubernetes.nodes.ready n3",
    "kubernetes.nodes.runtime n3",
    "kubernetes.nodes.version-skew kubernetes",
    "kubernetes.pod-disruption-budgets.cover kubernetes",
    "kubernetes.pods.capabilities-dropped legacy/evil",
    "kubernetes.pods.default-account-without-token legacy/evil",
    "kubernetes.pods.image-pinned legacy/evil",
    "kubernetes.pods.image-registry legacy/evil",
    "kubernetes.pods.image-versioned legacy/evil",
    "kubernetes.pods.no-added-capabilities legacy/evil",
    "kubernetes.pods.no-debug-containers legacy/evil",
    "kubernetes.pods.no-escalation legacy/evil",
    "kubernetes.pods.no-host-namespaces legacy/evil",
    "kubernetes.pods.no-host-paths legacy/evil",
    "kubernetes.pods.no-host-ports legacy/evil",
    "kubernetes.pods.not-privileged legacy/evil",
    "kubernetes.pods.not-root legacy/evil",
    "kubernetes.pods.resources-bounded legacy/evil",
    "kubernetes.pods.root-read-only legacy/evil",
    "kubernetes.pods.secrets-not-in-environment legacy/evil",
    "kubernetes.pods.system-calls-filtered legacy/evil",
    "kubernetes.policy-reports.no-errors legacy/r3",
    "kubernetes.policy-reports.no-failures legacy/r2",
    "kubernetes.resource-quotas.headroom legacy/quota",
    "kubernetes.role-bindings.accounts-exist kubernetes",
    "kubernetes.role-bindings.no-anonymous legacy/all",
    "kubernetes.role-bindings.no-cluster-admin legacy/all",
    "kubernetes.role-bindings.roles-exist kubernetes",
    "kubernetes.roles.no-escalation legacy/binder",
    "kubernetes.roles.no-wildcard legacy/all",
    "kubernetes.secrets.renewed legacy/old",
    "kubernetes.service-account-tokens.in-use legacy/robot-token",
    "kubernetes.service-account-tokens.renewed legacy/robot-token",
    "kubernetes.service-accounts.default-without-rights kubernetes",
    "kubernetes.service-accounts.default-without-token legacy/default",
    "kubernetes.services.load-balancers-restricted legacy/open",
    "kubernetes.services.no-external-addresses legacy/node",
    "kubernetes.services.no-node-ports legacy/node",
    "kubernetes.stateful-sets.ready legacy/queue",
    "kubernetes.storage-classes.encrypted slow",
    "kubernetes.validating-webhooks.fail-closed loose",
    "kubernetes.validating-webhooks.inside loose",
    "kubernetes.velero-backups.success kubernetes",
    "kubernetes.velero-schedules.active velero/paused",
    "kubernetes.velero-schedules.everywhere kubernetes",
    "kubernetes.velero-schedules.kept velero/paused",
    "kubernetes.velero-schedules.recent velero/stuck",
    "kubernetes.vulnerability-reports.fresh legacy/replicaset-old",
    "kubernetes.vulnerability-reports.none-to-mend legacy/replicaset-old",
]


def test_the_cluster_is_judged_as_it_is(cluster: KubernetesWorld) -> None:
    readings = [cluster.read(dataset) for dataset in KEYS]
    bench = Bench(AS_OF, {})
    shards, about_evidence = reconcile(CHECKS, [reading.shard for reading in readings], bench)
    findings = list(judge([one for one in CHECKS if not one.reconciles], shards, bench))
    assert {finding.outcome for finding in about_evidence} == {Outcome.PASS}
    assert {shard.population.basis for shard in shards if shard.task.dataset == "kubernetes.pods"} == {
        "count-reconciled"
    }
    assert {finding.outcome for finding in findings} <= {Outcome.PASS, Outcome.FAIL, Outcome.SKIP}
    failed = sorted(f"{one.check} {one.resource}" for one in findings if one.outcome is Outcome.FAIL)
    assert failed == FAILED
    passed = {one.check for one in findings if one.outcome is Outcome.PASS}
    assert {check.id for check in CHECKS if not check.reconciles} - passed - {one.check for one in findings
            if one.outcome is Outcome.FAIL} == set()  # fmt: skip


def test_nothing_is_asked_twice_but_what_the_cluster_serves(cluster: KubernetesWorld) -> None:
    lines = [line for dataset in KEYS for line in cluster.read(dataset).ledger.lines]
    asked = [
        (line["op"], json.dumps(line["params"]), line["tokenIn"])
        for line in lines
        if line["op"] != "kubernetes:GET /apis"
    ]
    assert len(asked) == len(set(asked))


def test_an_empty_list_in_place_of_pods_is_noticed_by_the_count(cluster: KubernetesWorld) -> None:
    cluster.faults["/api/v1/pods"] = lambda request, number: (
        Reply(body={"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1614"}, "items": []})
        if "Partial" not in request.headers["accept"]
        else None
    )
    shards = [cluster.read(dataset).shard for dataset in ("kubernetes.pods", "kubernetes.counts")]
    marked, findings = reconcile(CHECKS, shards, Bench(AS_OF, {}))
    told = {one.check: one for one in findings if one.outcome is Outcome.FAIL}
    assert set(told) == {"kubernetes.pods.reconciled"}
    assert "0 pods are listed, the API server counts 8" in told["kubernetes.pods.reconciled"].reason
    assert not marked[0].population.proven


# Rights


def needs(*prefixes: str) -> list[str]:
    sources = plugins.load().sources.values()
    return sorted(
        {need for one in sources if one.id.startswith(prefixes or ("kubernetes.",)) for need in one.permissions}
    )


def test_the_cluster_role_of_a_plan_is_exact(tmp_path: Path) -> None:
    office = Office(tmp_path / "office", "http://127.0.0.1:1")
    text = office.config.read_text()
    declared = "connections: [{name: prod, kind: kubernetes, kubeconfig: kubeconfig, context: audit}]\n"
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", declared, text, flags=re.MULTILINE))

    def role(prefix: str) -> Any:
        library = plugins.load()
        plan = planning.make(
            load_config(office.config),
            library,
            datetime(2026, 6, 1, tzinfo=UTC),
            wanted=lambda one: one.id.startswith(prefix),
        )
        return policy(plan, library)["kubernetes"]

    assert role("kubernetes.cron-jobs.") == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "affidavit"},
        "rules": [{"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["list"]}],
    }
    counted = needs("kubernetes.nodes", "kubernetes.version", "kubernetes.counts")
    assert role("kubernetes.nodes.version-skew") == cluster_role(counted), "the list is held against its count"
    whole = role("kubernetes.")
    beside_aws = {"nonresource /.well-known/openid-configuration"}  # asked where EKS tells of clusters
    assert whole == cluster_role(set(needs()) - beside_aws)
    assert {verb for rule in whole["rules"] for verb in rule["verbs"]} == {"get", "list"}
    assert [rule for rule in whole["rules"] if "*" in rule.get("resources", ())] == [
        {"apiGroups": ["constraints.gatekeeper.sh"], "resources": ["*"], "verbs": ["list"]}
    ], "Gatekeeper makes a kind for each template; everything else is named"
    assert "watch" not in json.dumps(whole)
    docs = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text("utf8")
    shown = json.loads(re.search(r"```json\n(.*?)```", docs, re.DOTALL)[1])  # type: ignore[index]
    assert shown == whole, "the role in docs/kubernetes.md is the one that is printed"


def test_the_role_it_asks_for_meets_what_it_asks_of_roles(cluster: KubernetesWorld) -> None:
    own = cluster_role(needs())
    about = {"name": own["metadata"]["name"], "creationTimestamp": "2026-01-01T00:00:00Z"}
    subject = {"kind": "ServiceAccount", "name": "affidavit", "namespace": "audit"}
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": about["name"]}
    cluster.lists["/apis/rbac.authorization.k8s.io/v1/clusterroles"] = [{"metadata": about, "rules": own["rules"]}]
    cluster.lists["/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"] = [
        {"metadata": about, "roleRef": to, "subjects": [subject]}
    ]
    shards = [cluster.read(f"kubernetes.cluster-role{what}").shard for what in ("s", "-bindings")]
    read = {shard.task.dataset for shard in shards}
    asked = [one for one in CHECKS if read.issuperset(one.datasets)]
    found = list(judge(asked, shards, Bench(AS_OF, {})))
    assert len(asked) >= 8
    assert {one.outcome for one in found} <= {Outcome.PASS, Outcome.SKIP}
    assert {one.check for one in found if one.outcome is Outcome.PASS} >= {"kubernetes.cluster-roles.no-wildcard"}


def test_with_this_role_everything_is_answered(cluster: KubernetesWorld) -> None:
    cluster.rules = cluster_role(needs())["rules"]
    for dataset in KEYS:
        assert cluster.read(dataset).shard.population.gap is None, dataset
        cluster.rules = cluster_role(plugins.load().sources[dataset].permissions)["rules"]
        assert cluster.read(dataset).shard.population.gap is None, "what a source declares is enough for it"
        cluster.rules = cluster_role(needs())["rules"]


def test_without_any_part_of_the_role_something_is_denied(cluster: KubernetesWorld) -> None:
    for need in needs():
        cluster.rules = cluster_role(item for item in needs() if item != need)["rules"]
        users = [one for one in KEYS if need in plugins.load().sources[one].permissions]
        gap = cluster.read(users[0]).shard.population.gap
        assert gap is not None, need
        assert gap.kind == "denied"
        assert "(403 Forbidden)" in gap.reason


# What a real server sent


@pytest.fixture
def real(tmp_path: Path) -> Iterator[KubernetesWorld]:
    """A world that holds what a real API server sent."""
    if not RECORDED.is_file():
        pytest.skip(f"{RECORDED} is absent: recorded replies were not read")
    for world in worlds(KubernetesWorld, tmp_path):
        world.extensions = dict.fromkeys(world.extensions, False)
        replies = recorded()
        for path in KINDS:
            world.lists[path] += replies.get(path, {"items": []})["items"]
        path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        world.lists[path] += replies[f"{path}?limit=20"]["items"]
        world.version = replies["/version"]
        yield world
        assert world.contract is not None
        assert world.contract.faults == []


def test_what_a_real_server_sent_is_read_judged_and_replayed(real: KubernetesWorld) -> None:
    readings = {dataset: real.read(dataset) for dataset in KEYS}
    for dataset, reading in readings.items():
        assert reading.shard.population.gap is None, dataset
        same(real, reading)
    findings = list(judge(CHECKS, [one.shard for one in readings.values()], Bench(instant("2026-11-23T00:00:00Z"), {})))
    assert [one for one in findings if one.outcome in (Outcome.ERROR, Outcome.UNKNOWN)] == []
    failed = {(one.check, one.resource) for one in findings if one.outcome is Outcome.FAIL}
    assert {
        ("kubernetes.pods.not-privileged", "legacy/evil"),
        ("kubernetes.pods.no-host-namespaces", "legacy/evil"),
        ("kubernetes.pods.image-versioned", "legacy/evil"),
    } <= failed
    assert ("kubernetes.version.supported", "version") not in failed


def test_a_page_of_a_real_server_is_told_as_a_first_page(real: KubernetesWorld) -> None:
    replies = recorded()
    page = replies["/api/v1/pods?limit=3"]
    assert page["metadata"]["remainingItemCount"] + len(page["items"]) == len(replies["/api/v1/pods"]["items"])
    real.page_size = 500
    token = page["metadata"]["continue"]
    rest = {**replies["/api/v1/pods"], "items": replies["/api/v1/pods"]["items"][3:]}
    real.faults["/api/v1/pods"] = lambda request, number: Reply(
        body=rest if request.query.get("continue") == token else page
    )
    reading = real.read("kubernetes.pods")
    assert len(reading.rows) == len(replies["/api/v1/pods"]["items"])
    assert reading.shard.population.proven


# Sealed


def test_a_run_is_sealed_and_reperformed(cluster: KubernetesWorld, tmp_path: Path) -> None:
    office = Office(tmp_path / "office", cluster.origin)
    (office.folder / "kubeconfig").write_text(cluster.kubeconfig.read_text())
    text = office.config.read_text()
    declared = "connections: [{name: prod, kind: kubernetes, kubeconfig: kubeconfig, context: audit}]\n"
    office.config.write_text(re.sub(r"^connections:\n(  .*\n)+", declared, text, flags=re.MULTILINE))
    said = office.run("--json", "--check", "kubernetes.*")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    with office.sealed() as run:
        lines = list(run.replies())
    assert {line["caller"] for line in lines} == {"context audit of kubeconfig"}
    sealed = b"".join(files_of(office.store).values())
    assert cluster.token.encode() not in sealed
    assert office.verify().ok
    again = office.rerun()
    assert again.code == 0, again.err
    (office.folder / "kubeconfig").unlink()
    assert office.run("--json", "--check", "kubernetes.*").code == 3
    assert {gap["gap"] for gap in office.lines("gap")} == {"unauthenticated"}
    assert office.rerun("2").code == 0


# Fields


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and "$gap" not in value:
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if not (isinstance(item, dict) and "$gap" in item):
            yield from _names(item)


def test_every_field_an_example_has_is_one_that_is_sent(cluster: KubernetesWorld) -> None:
    """Examples are replies, cut down: what stands in one, in no row and not in the description, was invented."""
    if cluster.contract is None:
        pytest.skip(f"{SPECS} is absent: examples were not compared")
    described = json.dumps(cluster.contract.document["components"])
    sent = {
        name for dataset in KEYS for row in cluster.read(dataset).rows for name in _names(json.loads(json.dumps(row)))
    }
    data = re.compile(r".*[./].*|(limits|requests)\.(cpu|memory)|cpu|memory|pods|team|owner|cost|app|a|list|encrypted")
    found = examples.load(Path(__file__).parent, {check.id: check for check in CHECKS})
    used = {name for example in found for name in _names(list(example.rows))}
    unknown = {name for name in used - sent if f'"{name}": {{' not in described and not data.fullmatch(name)}
    assert unknown == set()


def test_every_source_takes_out_what_kubectl_kept() -> None:
    for name in SOURCES:
        assert any("last-applied" in item.regex for item in plugins.load().sources[name].redactions), name


def test_secrets_are_only_ever_asked_as_metadata(cluster: KubernetesWorld) -> None:
    for dataset in KEYS:
        cluster.read(dataset)
    asked = [one for one in cluster.requests if "secrets" in one.path or "configmaps" in one.path]
    assert asked
    assert {one.headers["accept"] for one in asked} == {METADATA["Accept"]}
    assert negotiated(METADATA["Accept"]) == "PartialObjectMetadataList"


def test_a_server_that_hands_out_secrets_all_the_same_is_not_recorded(cluster: KubernetesWorld) -> None:
    cluster.obeys_accept = False
    for dataset in ("kubernetes.secrets", "kubernetes.service-account-tokens"):
        reading = cluster.read(dataset)
        gap = reading.shard.population.gap
        assert gap is not None
        assert gap.kind == "rejected"
        assert "answered with SecretList where only metadata was asked for; the reply was not kept" in gap.reason
        assert set(reading.ledger.objects.values()) == {b""}
        same(cluster, reading)


def test_the_redactions_are_on_record(cluster: KubernetesWorld) -> None:
    (line, *_) = cluster.read("kubernetes.secrets").ledger.lines
    assert sum(item["count"] for item in line["redactions"]) >= 1
    source = replace(plugins.load().sources["kubernetes.secrets"], redactions=())
    reading = cluster.read_source(source)
    assert b"hush-hush" in kept(reading), "the other annotation is declared by the source"
    assert b"aHVzaC1odXNo" not in kept(reading), "what kubectl keeps is taken out whatever a source declares"
