"""A Kubernetes API server on loopback: lists in chunks of one revision, Status objects, metadata only, RBAC."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collector import plugins
from collector.api import Source
from collector.config import KubernetesConnection
from collector.connect.base import Limits
from collector.connect.http import Site
from collector.connect.kubernetes import Cluster, Kubernetes, open_cluster, permission, recorded_site
from collector.connect.retry import Retry
from collector.connect.wire import LiveWire, ReplayWire
from collector.fetch import fetch
from collector.model import Task
from tests.http_world import SPECS, Contract, HttpWorld, Reply, Request
from tests.worlds import LIMITS, MemoryLedger, Reading

SPEC = "kubernetes-collector.openapi.json"
RECORDED = SPECS / "k8s-recorded" / "kube-apiserver-1.36.2.json"

KINDS = {
    "/api/v1/limitranges": "LimitRange",
    "/api/v1/namespaces": "Namespace",
    "/api/v1/nodes": "Node",
    "/api/v1/pods": "Pod",
    "/api/v1/resourcequotas": "ResourceQuota",
    "/api/v1/secrets": "Secret",
    "/api/v1/serviceaccounts": "ServiceAccount",
    "/api/v1/services": "Service",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": "MutatingWebhookConfiguration",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies": "ValidatingAdmissionPolicy",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": "ValidatingWebhookConfiguration",
    "/apis/apps/v1/daemonsets": "DaemonSet",
    "/apis/apps/v1/deployments": "Deployment",
    "/apis/apps/v1/statefulsets": "StatefulSet",
    "/apis/batch/v1/cronjobs": "CronJob",
    "/apis/networking.k8s.io/v1/ingresses": "Ingress",
    "/apis/networking.k8s.io/v1/networkpolicies": "NetworkPolicy",
    "/apis/policy/v1/poddisruptionbudgets": "PodDisruptionBudget",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": "ClusterRoleBinding",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": "ClusterRole",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings": "RoleBinding",
    "/apis/rbac.authorization.k8s.io/v1/roles": "Role",
    "/apis/storage.k8s.io/v1/storageclasses": "StorageClass",
}
EXTENSIONS = {
    "/apis/aquasecurity.github.io/v1alpha1/vulnerabilityreports": "VulnerabilityReport",
    "/apis/cert-manager.io/v1/certificates": "Certificate",
    "/apis/constraints.gatekeeper.sh/v1beta1/k8srequiredlabels": "K8sRequiredLabels",
    "/apis/velero.io/v1/backups": "Backup",
    "/apis/velero.io/v1/restores": "Restore",
    "/apis/velero.io/v1/schedules": "Schedule",
    "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports": "ClusterPolicyReport",
    "/apis/wgpolicyk8s.io/v1alpha2/policyreports": "PolicyReport",
}
"""Kinds a cluster may lack; they are not in the description of the API server."""

VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "98b35193b2ac7a23a673325f5e9b830ecd5ba406",
    "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.27.3", "compiler": "gc",
    "platform": "linux/amd64",
}  # fmt: skip

ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/B323263C57F3B4A2EBC8470D71D23148"
"""Of the cluster shop that the emulator of AWS has in that region: it is this one."""

DISCOVERY = {
    "issuer": ISSUER, "jwks_uri": "https://192.0.2.1:443/openid/v1/jwks", "response_types_supported": ["id_token"],
    "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
}  # fmt: skip
"""What an API server says of the tokens it gives; not in its description, which says only that it is JSON."""


SERVED = {
    ("", "", ""),
    ("PartialObjectMetadata", "meta.k8s.io", "v1"),
    ("PartialObjectMetadataList", "meta.k8s.io", "v1"),
}
"""What an Accept header may ask for with ``as``, ``g`` and ``v``."""


def not_acceptable(message: str = "only the following media types are accepted: application/json") -> Reply:
    """What a server says that cannot give what the Accept header asks for."""
    return status(406, "NotAcceptable", message)


def status(code: int, reason: str, message: str, **about: Any) -> Reply:
    """An error as the API server tells it."""
    body = {
        "kind": "Status", "apiVersion": "v1", "metadata": about, "status": "Failure", "message": message,
        "reason": reason, "code": code,
    }  # fmt: skip
    return Reply(code, body)


def negotiated(header: str) -> str | None:
    """The kind a list is turned into: empty for the list itself, ``None`` where nothing that is asked for is served.

    Read as the API server reads it: the first clause it can serve counts, parameters it does not know do not.
    """
    for clause in header.split(","):
        media, *words = (word.strip() for word in clause.split(";"))
        told = dict(word.split("=", 1) for word in words if "=" in word)
        wanted = tuple(told.get(name, "") for name in ("as", "g", "v"))
        if media in ("application/json", "*/*") and wanted in SERVED:
            return wanted[0]
    return None


class KubernetesContract(Contract):
    """The description of an API server; parameters of all its verbs stand beside them."""

    def __init__(self) -> None:
        super().__init__(SPEC, "https://127.0.0.1:16443")
        for path in self.document["paths"].values():
            shared = path.get("parameters", [])
            for verb, operation in path.items():
                if verb != "parameters":
                    operation["parameters"] = [*operation.get("parameters", []), *shared]

    @property
    def described(self) -> Mapping[str, Any]:
        """What is described, by path."""
        return dict(self.document["paths"])


class KubernetesWorld(HttpWorld):
    """Objects by the path that lists them; each reply is held against the description of a real API server."""

    kind = "kubernetes"
    _contract: KubernetesContract | None = None

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.lists: dict[str, list[dict[str, Any]]] = {path: [] for path in KINDS}
        self.extensions = dict.fromkeys(EXTENSIONS, True)
        """Kinds of extensions, and whether they are installed."""
        self.lists |= {path: [] for path in EXTENSIONS}
        self.version = dict(VERSION)
        self.revision = 1614
        self.oldest = 0
        """Revisions before this one are compacted: their lists cannot go on."""
        self.rules: Sequence[Mapping[str, Any]] | None = None
        """Rules of the one role the caller has; None: everything is allowed."""
        self.page_size = 2
        """Most objects in a page, whatever is asked for."""
        self.obeys_accept = True
        if SPECS.is_dir() and KubernetesWorld._contract is None:
            KubernetesWorld._contract = KubernetesContract()
        self.contract = KubernetesWorld._contract
        if self.contract:
            self.contract.faults, self.contract.held = [], 0
        self.kubeconfig = tmp / "kubeconfig"
        self.kubeconfig.write_text(self._kubeconfig())
        self._cluster: Cluster | None = None

    def _kubeconfig(self, user: str = "") -> str:
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "other",
                "clusters": [{"name": "c", "cluster": {"server": self.origin}}],
                "users": [{"name": "auditor", "user": {"token": user or self.token}}],
                "contexts": [{"name": "audit", "context": {"cluster": "c", "user": "auditor"}}],
            }
        )

    def _reply(self, request: Request, number: int) -> Reply:
        for pattern, fault in self.faults.items():
            if re.fullmatch(pattern, request.path) and (reply := fault(request, number)):
                return reply
        reply = self.allowed(request) or self._answered(request)
        self.checked(request, request.path, reply)
        return reply

    def allowed(self, request: Request) -> Reply | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if (scheme.lower(), token) != ("bearer", self.token):
            return status(401, "Unauthorized", "Unauthorized")
        needed = permission(request.path)
        if self.rules is None or any(_grants(rule, needed) for rule in self.rules):
            return None
        return status(403, "Forbidden", f'{needed} is forbidden: User "collector" cannot {needed} at the cluster scope')

    def checked(self, request: Request, template: str, reply: Reply) -> None:
        if not self.contract:
            return
        path = re.sub(r"^/api/v1/namespaces/[^/]+/", "/api/v1/namespaces/{namespace}/", request.path)
        path = {"/version": "/version/"}.get(path, path)
        if path in self.contract.described or path in KINDS:
            here = path if path == "/version/" else request.path
            if reply.status == 200 and reply.body["kind" if "kind" in reply.body else "major"].startswith("Partial"):
                here = path = "/api/v1/namespaces"  # the same lists and metadata, and nothing that is required
            with self._lock:
                self.contract.hold(Request(request.method, here, request.query, request.headers), path, reply)

    def _answered(self, request: Request) -> Reply:
        if request.path == "/version":
            return Reply(body=self.version)
        if request.path == "/.well-known/openid-configuration":
            return Reply(body=DISCOVERY)
        if request.path == "/apis":
            return Reply(body={"kind": "APIGroupList", "apiVersion": "v1", "groups": self._groups()})
        if found := re.fullmatch(r"/apis/([^/]+)/([^/]+)", request.path):
            return self._resources(*found.groups())
        namespace = ""
        path = request.path
        if found := re.fullmatch(r"(/api/v1)/namespaces/([^/]+)/([^/]+)", path):
            path, namespace = f"{found[1]}/{found[3]}", found[2]
        kind = KINDS.get(path) or (EXTENSIONS.get(path) if self.extensions.get(path) else None)
        if kind is None:
            return Reply(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        return self._listed(request, path, kind, namespace)

    def _groups(self) -> list[dict[str, Any]]:
        served: dict[str, list[str]] = {}
        paths = [*KINDS, *(path for path, there in self.extensions.items() if there)]
        for path in paths:
            if found := re.match(r"/apis/([^/]+)/([^/]+)/", path):
                versions = served.setdefault(found[1], [])
                if found[2] not in versions:
                    versions.append(found[2])
        return [
            {
                "name": name,
                "versions": [{"groupVersion": f"{name}/{version}", "version": version} for version in versions],
                "preferredVersion": {"groupVersion": f"{name}/{versions[0]}", "version": versions[0]},
            }
            for name, versions in sorted(served.items())
        ]

    def _resources(self, group: str, version: str) -> Reply:
        start = f"/apis/{group}/{version}/"
        found = [path for path in EXTENSIONS if path.startswith(start) and self.extensions[path]]
        if not found:
            return Reply(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        resources = []
        for path in found:
            name, kind = path.removeprefix(start), EXTENSIONS[path]
            told = {"singularName": "", "namespaced": False, "kind": kind}
            resources.append({"name": name, **told, "verbs": ["delete", "get", "list", "watch"]})
            resources.append({"name": f"{name}/status", **told, "verbs": ["get", "patch", "update"]})
        about = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}"}
        return Reply(body={**about, "resources": resources})

    def _listed(self, request: Request, path: str, kind: str, namespace: str) -> Reply:
        items = sorted(self.lists[path], key=_name)
        if namespace:
            items = [item for item in items if item["metadata"]["namespace"] == namespace]
        selected = [item for item in items if _selected(item, request)]
        start, revision = "", self.revision
        if token := request.query.get("continue"):
            try:
                held = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
                start, revision = held["start"], held["rv"]
            except ValueError:
                return status(400, "BadRequest", "invalid continue token: continue key is not valid")
            if revision < self.oldest:
                words = "The provided continue parameter is too old to display a consistent list result."
                return status(410, "Expired", words, **{"continue": "inconsistent"})
        left = [item for item in selected if _name(item) >= start]
        size = min(int(request.query.get("limit", 1 << 30)), self.page_size)
        page, rest = left[:size], left[size:]
        about: dict[str, Any] = {"resourceVersion": str(revision)}
        if rest:
            held = {"v": "meta.k8s.io/v1", "rv": revision, "start": _name(rest[0])}
            about["continue"] = base64.urlsafe_b64encode(json.dumps(held).encode()).decode().rstrip("=")
            if not {"fieldSelector", "labelSelector"} & set(request.query):
                about["remainingItemCount"] = len(rest)
        group = re.match(r"/apis/([^/]+/[^/]+)/", path)
        version = group[1] if group else "v1"
        wanted = negotiated(request.headers.get("accept", "*/*")) if self.obeys_accept else ""
        if wanted is None:
            return not_acceptable()
        if wanted == "PartialObjectMetadata":
            return not_acceptable(f"you requested {wanted}, but the requested object is a list (*core.{kind}List)")
        if wanted:
            page = [
                {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
                for item in page
            ]
            return Reply(
                body={
                    "kind": "PartialObjectMetadataList",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": about,
                    "items": page,
                }
            )
        return Reply(body={"kind": f"{kind}List", "apiVersion": version, "metadata": about, "items": page})

    def cluster(self) -> Cluster:
        """The API server, through the kubeconfig as a user has it."""
        if self._cluster is None:
            connection = KubernetesConnection("kubernetes", self.kubeconfig, "audit")
            self._cluster = open_cluster(connection, workers=8, timeout_s=10)
        return self._cluster

    def site(self, credential: Any = None, timeout_s: float = 10.0) -> Site:
        return self.cluster()

    def connect(self, source: Source, ledger: MemoryLedger, site: Site, limits: Limits, attempts: int) -> Kubernetes:
        wire = LiveWire(Task(source.id, self.kind), ledger, source.redactions)
        wire.permissions = frozenset(source.permissions)
        retry = Retry(attempts=attempts, base_s=0.001, cap_s=0.01)
        return Kubernetes(wire, site, retry=retry, limits=limits, pool=self._pool)

    def replay(
        self, reading: Reading, source: Source | None = None, *, limits: Limits = LIMITS, attempts: int = 2
    ) -> Reading:
        task = reading.shard.task
        source = source or plugins.load().sources[task.dataset]
        wire = ReplayWire(task, reading.ledger.lines, reading.ledger.objects.__getitem__)
        wire.permissions = frozenset(source.permissions)
        connection = Kubernetes(wire, recorded_site(), retry=Retry(attempts=attempts, waits=False), limits=limits)
        self._runs += 1
        return Reading(
            fetch(task, source, connection, self._tmp / f"{self._runs}.replay"), reading.ledger, wire.unused()
        )


def _name(item: dict[str, Any]) -> str:
    about = item["metadata"]
    return f"{about.get('namespace', '')}/{about['name']}\0".removeprefix("/")


def _selected(item: dict[str, Any], request: Request) -> bool:
    for wanted in filter(None, request.query.get("fieldSelector", "").split(",")):
        name, differs, value = re.fullmatch(r"([\w.]+?)(!?)=(.*)", wanted).groups()  # type: ignore[union-attr]
        if (item.get(name) == value) is bool(differs):
            return False
    for wanted in filter(None, request.query.get("labelSelector", "").split(",")):
        name, _, value = wanted.partition("=")
        if item["metadata"].get("labels", {}).get(name) != value:
            return False
    return True


def _grants(rule: Mapping[str, Any], needed: str) -> bool:
    verb, _, what = needed.partition(" ")
    if verb == "nonresource":
        return "get" in rule["verbs"] and what in rule.get("nonResourceURLs", ())
    group, _, resource = what.rpartition("/")
    allowed = rule.get("resources", ())
    return verb in rule["verbs"] and group in rule.get("apiGroups", ()) and (resource in allowed or "*" in allowed)


def recorded() -> dict[str, Any]:
    """Replies of a real API server to the administrator, by path; read where they are, never copied."""
    found = {}
    for item in json.loads(RECORDED.read_text("utf8")):
        if item["token"] == "admin-token" and item["accept"] is None:
            found.setdefault(item["path"], copy.deepcopy(item["body"]))
    return found
