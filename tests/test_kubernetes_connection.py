"""The connection to Kubernetes: lists of one revision to their end, nothing secret kept, and the same in a replay."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from cryptography import x509

from collector.api import Kubernetes, Row, Source, source
from collector.config import KubernetesConnection, load
from collector.connect.base import Limits
from collector.connect.kubernetes import METADATA, open_cluster, permission
from collector.errors import ConfigError
from collector.model import Unavailable
from collector.plan import _place
from collector.workloads import minor, named, quantity, selects
from tests.http_world import Reply, Request, same, worlds
from tests.kubernetes_world import RECORDED, KubernetesWorld, status
from tests.servers import Authority
from tests.worlds import Reading

PODS = "/api/v1/pods"


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": {"phase": "Running"}}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubernetesWorld]:
    """A cluster with five pods, two to a page."""
    for world in worlds(KubernetesWorld, tmp_path):
        world.contract = None  # what is sent here is broken on purpose
        world.lists[PODS] += [pod(f"p{number}") for number in range(5)]
        yield world


def listing(path: str = PODS, *, needs: tuple[str, ...] = ("list pods",), **options: Any) -> Source:
    """A source that lists a path."""

    @source("kubernetes.t.things", key="Key", per="connection", permissions=needs)
    def declared(kubernetes: Kubernetes) -> Iterator[Row]:
        """Every thing."""
        yield from kubernetes.pages(path, **options)

    return declared


def one(ask: Callable[[Kubernetes], Any], *needs: str) -> Source:
    """A source of one row, with what ``ask`` gives as ``reply``."""

    @source("kubernetes.t.one", key="Key", per="connection", permissions=needs)
    def declared(kubernetes: Kubernetes) -> Iterator[Row]:
        """One thing."""
        yield {"Key": "one", "reply": ask(kubernetes)}

    return declared


def gap_of(reading: Reading) -> tuple[str, str]:
    gap = reading.shard.population.gap
    assert gap is not None
    assert not reading.shard.population.proven
    return str(gap.kind), gap.reason


def keys(reading: Reading) -> list[str]:
    return [row["Key"] for row in reading.rows]


ALL = [f"shop/p{number}" for number in range(5)]


# Lists


def test_a_list_is_read_in_chunks_at_one_revision(cluster: KubernetesWorld) -> None:
    reading = cluster.read_source(listing())
    assert keys(reading) == ALL
    assert [one.query.get("limit") for one in cluster.requests] == ["500"] * 3
    lines = reading.ledger.lines
    assert [line["page"] for line in lines] == [1, 2, 3]
    assert [line["last"] for line in lines] == [False, False, True]
    assert lines[1]["tokenIn"] == lines[0]["tokenOut"] != lines[2]["tokenIn"]
    assert {json.loads(body)["metadata"]["resourceVersion"] for body in reading.ledger.objects.values()} == {"1614"}
    assert reading.shard.population.basis == "terminal-page"
    same(cluster, reading, listing())


def test_rows_are_as_sent_but_for_the_fields_each_writer_manages(cluster: KubernetesWorld) -> None:
    entry = {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}}
    cluster.lists[PODS][0]["metadata"]["managedFields"] = [entry]
    row = cluster.read_source(listing()).row("shop/p0")
    assert row["metadata"]["managedFields"] == [
        {"manager": "kubectl", "operation": "Update", "time": "2026-01-01T00:00:00Z"}
    ]
    assert row["spec"] == {}


def compacted(world: KubernetesWorld, times: int) -> Callable[[Request, int], Reply | None]:
    """The second page is lost that often; each time the cluster has moved on."""
    left = [times]

    def fault(request: Request, number: int) -> Reply | None:
        if "continue" in request.query and left[0]:
            left[0] -= 1
            world.revision += 10
            world.lists[PODS] = [one for one in world.lists[PODS] if one["metadata"]["name"] != "p0"]
            words = "The provided continue parameter is too old to display a consistent list result."
            return status(410, "Expired", words, **{"continue": "inconsistent"})
        return None

    return fault


def test_a_list_the_server_loses_is_begun_again_and_nothing_comes_twice(cluster: KubernetesWorld) -> None:
    cluster.faults[PODS] = compacted(cluster, 2)
    reading = cluster.read_source(listing())
    assert keys(reading) == ALL[1:], "what was read before is not mixed with what is there now"
    lines = reading.ledger.lines
    assert [line["page"] for line in lines] == [1, 2, 1, 2, 1, 2]
    assert [line["status"] for line in lines] == [200, 410, 200, 410, 200, 200]
    assert [line.get("error", {}).get("code") for line in lines] == [None, "Expired", None, "Expired", None, None]
    assert reading.shard.population.proven
    assert reading.shard.population.replies == (0, 1, 2, 3, 4, 5), "all of them are on record"
    same(cluster, reading, listing())


def test_a_revision_that_is_compacted_in_earnest(cluster: KubernetesWorld) -> None:
    def move(request: Request, number: int) -> None:
        if number == 2:
            cluster.revision, cluster.oldest = 2000, 1900

    cluster.faults[PODS] = move  # type: ignore[assignment]
    reading = cluster.read_source(listing())
    assert keys(reading) == ALL
    assert [line["status"] for line in reading.ledger.lines] == [200, 410, 200, 200, 200]


def test_a_list_that_is_lost_again_and_again_is_a_gap(cluster: KubernetesWorld) -> None:
    cluster.faults[PODS] = compacted(cluster, 9)
    reading = cluster.read_source(listing())
    assert gap_of(reading) == (
        "truncated", "kubernetes:GET /api/v1/pods was lost by the server in the middle, 3 times (410)",
    )  # fmt: skip
    assert reading.rows == []
    assert len(reading.ledger.lines) == 6
    same(cluster, reading, listing())


def page(size: int, rest: int | None = None, token: str = "", revision: str | None = "7", **more: Any) -> Reply:
    about: dict[str, Any] = {"continue": token} if token else {}
    if revision is not None:
        about["resourceVersion"] = revision
    if rest is not None:
        about["remainingItemCount"] = rest
    found = [pod(f"{token}{number}") for number in range(size)]
    return Reply(body={"kind": "PodList", "apiVersion": "v1", "metadata": about, "items": found, **more})


@pytest.mark.parametrize(
    ("replies", "kind", "words"),
    [
        ((page(2, 2, "t"), page(2, revision="8")), "truncated", "pages of two revisions, 7 and another"),
        ((page(2, 3, "t"), page(2)), "truncated", "counted 3 objects more, then gave 2 and counts 0"),
        ((page(2, 3, "t"), page(2, 2, "u"), page(2)), "truncated", "then gave 2 and counts 2"),
        ((page(2, 1),), "truncated", "counts 1 objects more and gives no next page"),
        ((page(2, None, "t"), page(2, None, "t")), "repeated-token", "a second time on page 2"),
        ((page(1, kind="Status"),), "malformed", "without a list"),
        ((page(1, metadata=None),), "malformed", "without a list"),
        ((Reply(body={"kind": "PodList", "metadata": {}}),), "malformed", "without a list"),
        ((Reply(body=[]),), "malformed", "without a list"),
        ((page(1, items={}),), "malformed", "objects that have no name"),
        ((page(1, items=[{"metadata": {}}]),), "malformed", "objects that have no name"),
        ((page(1, metadata={"continue": 7}),), "malformed", "does not say what follows"),
        ((page(1, metadata={"remainingItemCount": "7"}),), "malformed", "does not say what follows"),
        ((Reply(body=b"<html>"),), "malformed", "not JSON"),
        ((Reply(302, None, {"Location": "https://elsewhere.example.org/"}),), "rejected", "sent elsewhere"),
        ((status(400, "BadRequest", "no"),), "rejected", "(400 BadRequest)"),
        ((status(404, "NotFound", "no"),), "rejected", "(404 NotFound)"),
        ((page(2, 2, "t"), Reply(cut=True, body={"kind": "PodList"})), "unreachable", "no usable reply"),
    ],
)  # fmt: skip
def test_a_page_that_proves_nothing_ends_the_list(
    cluster: KubernetesWorld, replies: tuple[Reply, ...], kind: str, words: str
) -> None:
    asked = iter(replies)
    last = [replies[-1]]
    cluster.faults[PODS] = lambda request, number: next(asked, last[0])
    reading = cluster.read_source(listing())
    assert gap_of(reading)[0] == kind
    assert words in gap_of(reading)[1]
    assert reading.rows == []
    same(cluster, reading, listing())


@pytest.mark.parametrize(
    ("replies", "rows"),
    [
        ((page(0, items=None),), 0),
        ((page(2, None, "t"), page(1)), 3),
        ((page(2, 1, "t", revision=None), page(1, revision=None)), 3),
        ((page(0, None, "t"), page(1)), 1),
        ((page(2, 3, "t"), page(1, None, "u"), page(2)), 5),
        ((page(2, 0),), 2),
    ],
)
def test_what_a_server_may_leave_out(cluster: KubernetesWorld, replies: tuple[Reply, ...], rows: int) -> None:
    asked = iter(replies)
    cluster.faults[PODS] = lambda request, number: next(asked)
    reading = cluster.read_source(listing())
    assert reading.shard.population.gap is None
    assert len(reading.rows) == rows
    same(cluster, reading, listing())


def test_a_list_has_an_end_and_a_reply_a_size(cluster: KubernetesWorld) -> None:
    reading = cluster.read_source(listing(), limits=Limits(max_pages=2))
    assert gap_of(reading) == ("page-cap", "kubernetes:GET /api/v1/pods has more than 2 pages")
    reading = cluster.read_source(listing(), limits=Limits(max_reply_bytes=100))
    assert gap_of(reading)[0] == "oversized"


# Refusals


@pytest.mark.parametrize(
    ("code", "reason"), [(429, "TooManyRequests"), (500, "InternalError"), (503, "x"), (504, "Timeout")]
)
def test_what_may_pass_is_tried_again(cluster: KubernetesWorld, code: int, reason: str) -> None:
    busy = status(code, reason, "later")
    busy.headers["Retry-After"] = "1"
    cluster.faults[PODS] = lambda request, number: busy if number == 1 else None
    reading = cluster.read_source(listing())
    assert keys(reading) == ALL
    assert [line["attempt"] for line in reading.ledger.lines] == [1, 2, 1, 1]
    assert reading.ledger.lines[0]["headers"]["retry-after"] == "1"
    same(cluster, reading, listing())


def test_a_refusal_says_why_in_the_words_of_the_server_and_is_final(cluster: KubernetesWorld) -> None:
    cluster.rules = []
    reading = cluster.read_source(listing())
    assert gap_of(reading) == ("denied", "kubernetes:GET /api/v1/pods was refused (403 Forbidden)")
    assert len(cluster.requests) == 1
    assert b"cannot list pods" in next(iter(reading.ledger.objects.values())), "the whole refusal is on record"


def test_what_may_be_absent_is_nothing(cluster: KubernetesWorld) -> None:
    gone = listing("/apis/nosuch.example/v1/things", needs=("list nosuch.example/things",), absent=(404,))
    reading = cluster.read_source(gone)
    assert reading.shard.population.proven
    assert (reading.rows, reading.ledger.lines[0]["error"]["kind"]) == ([], "absent")
    same(cluster, reading, gone)
    gone = listing("/apis/nosuch.example/v1/things", needs=("list nosuch.example/things",))
    assert gap_of(cluster.read_source(gone))[0] == "rejected"


def test_the_request_is_named_as_in_the_audit_log(cluster: KubernetesWorld) -> None:
    cluster.faults[PODS] = lambda request, number: Reply(body=page(1).body, headers={"Audit-Id": "2073b846"})
    assert cluster.read_source(listing()).ledger.lines[0]["requestId"] == "2073b846"


def test_a_whole_list_may_stand_in_a_row_and_so_may_its_refusal(cluster: KubernetesWorld) -> None:
    whole = one(lambda kubernetes: kubernetes.attempt_all(PODS), "list pods")
    cluster.faults[PODS] = compacted(cluster, 1)
    reading = cluster.read_source(whole)
    assert [item["Key"] for item in reading.rows[0]["reply"]] == ALL[1:]
    same(cluster, reading, whole)
    cluster.faults[PODS] = lambda request, number: status(403, "Forbidden", "no")
    reading = cluster.read_source(whole)
    with pytest.raises(Unavailable, match="was refused"):
        reading.rows[0]["reply"]
    assert reading.shard.population.partial


def test_a_first_page_is_not_taken_for_the_whole(cluster: KubernetesWorld) -> None:
    got = one(lambda kubernetes: kubernetes.get(PODS), "list pods")
    assert gap_of(cluster.read_source(got)) == (
        "truncated",
        "kubernetes:GET /api/v1/pods answered with a first page only",
    )
    counted = one(lambda kubernetes: kubernetes.count(PODS), "list pods")
    reading = cluster.read_source(counted)
    assert reading.rows[0]["reply"]["metadata"]["remainingItemCount"] == 4
    assert reading.rows[0]["reply"]["kind"] == "PartialObjectMetadataList"
    same(cluster, reading, counted)


# Extensions


def extension(*versions: str) -> Source:
    @source(
        "kubernetes.t.ext", key="Key", per="connection", permissions=("list velero.io/backups", "nonresource /apis")
    )
    def declared(kubernetes: Kubernetes) -> Iterator[Row]:
        """Every backup."""
        yield from kubernetes.extension("velero.io", "backups", versions)

    return declared


def test_an_extension_is_read_in_a_version_that_is_served(cluster: KubernetesWorld) -> None:
    cluster.lists["/apis/velero.io/v1/backups"].append(pod("b1"))
    assert keys(cluster.read_source(extension("v2", "v1"))) == ["shop/b1"]
    kind, reason = gap_of(cluster.read_source(extension("v2")))
    assert (kind, reason) == ("unsupported", "the cluster serves velero.io as v1; read here is v2")
    cluster.faults["/apis/velero.io/v1/backups"] = lambda request, number: Reply(503, b"service unavailable\n")
    assert gap_of(cluster.read_source(extension("v1")))[0] == "server-error", "down is not absent"
    cluster.extensions = dict.fromkeys(cluster.extensions, False)
    assert cluster.read_source(extension("v1")).shard.population.proven


# Least of all


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/secrets",
        "/api/v1/configmaps",
        "/api/v1/namespaces/shop/secrets",
        "/api/v1/namespaces/shop/secrets/db",
        "/api/v1/watch/secrets",
        "/api/v1/namespaces/shop/pods/p0/exec",
        "/api/v1/namespaces/shop/pods/p0/log",
        "/api/v1/nodes/n1/proxy/metrics",
        "/api/v1/namespaces/shop/services/web/proxy",
    ],
)
def test_what_would_bring_a_secret_or_act_is_not_asked(cluster: KubernetesWorld, path: str) -> None:
    reading = cluster.read_source(one(lambda kubernetes: kubernetes.get(path), "*"))
    assert gap_of(reading)[0] == "crashed"
    assert "ValueError" in gap_of(reading)[1]
    assert cluster.requests == []


def test_a_kind_that_is_filled_in_cannot_get_around_it(cluster: KubernetesWorld) -> None:
    sly = one(lambda kubernetes: list(kubernetes.pages("/api/v1/{kind}", kind="secrets")), "*")
    assert "would bring secrets" in gap_of(cluster.read_source(sly))[1]
    assert cluster.requests == []


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "SecretList", "metadata": {}, "items": [{"metadata": {"name": "a"}, "data": {"p": "aHVzaA=="}}]},
        {
            "kind": "PartialObjectMetadataList",
            "metadata": {},
            "items": [{"metadata": {"name": "a"}, "data": {"p": "aHVzaA=="}}],
        },
        {"kind": "aHVzaA== is here", "metadata": {}, "items": []},
        b"aHVzaA==",
        ["aHVzaA=="],
    ],
)
def test_a_reply_with_more_than_metadata_is_kept_nowhere(cluster: KubernetesWorld, body: Any) -> None:
    metadata = listing("/api/v1/secrets", needs=("list secrets",), metadata_only=True)
    cluster.faults["/api/v1/secrets"] = lambda request, number: Reply(body=body)
    reading = cluster.read_source(metadata)
    assert gap_of(reading)[0] == "rejected"
    assert "the reply was not kept" in gap_of(reading)[1]
    assert b"aHVz" not in json.dumps(reading.ledger.lines).encode() + b"".join(reading.ledger.objects.values())
    same(cluster, reading, metadata)


def test_a_source_asks_for_nothing_it_does_not_declare(cluster: KubernetesWorld) -> None:
    reading = cluster.read_source(listing(needs=("list nodes",)))
    assert gap_of(reading) == ("undeclared", "the source does not declare that it needs to list pods")
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/api/v1/pods", "list pods"),
        ("/api/v1/namespaces", "list namespaces"),
        ("/api/v1/namespaces/shop", "get namespaces"),
        ("/api/v1/namespaces/shop/pods", "list pods"),
        ("/api/v1/namespaces/shop/pods/p0", "get pods"),
        ("/apis/apps/v1/deployments", "list apps/deployments"),
        ("/apis/apps/v1/namespaces/shop/deployments/web", "get apps/deployments"),
        ("/apis", "nonresource /apis"),
        ("/apis/apps/v1", "nonresource /apis/apps/v1"),
        ("/version", "nonresource /version"),
    ],
)
def test_what_a_path_needs(path: str, needed: str) -> None:
    assert permission(path) == needed


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=1",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadataList;v=v1",
        "application/json;as=PartialObjectMetadataLists;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "text/html",
    ],
)
def test_a_header_that_a_server_does_not_know_is_refused_and_a_gap(
    cluster: KubernetesWorld, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr("collector.connect.kubernetes.METADATA", MappingProxyType({"Accept": accept}))
    cluster.lists["/api/v1/secrets"] = [{**pod("db"), "data": {"p": "aHVzaA=="}}]
    metadata = listing("/api/v1/secrets", needs=("list secrets",), metadata_only=True)
    reading = cluster.read_source(metadata)
    assert gap_of(reading) == ("rejected", "kubernetes:GET /api/v1/secrets was rejected (406 NotAcceptable)")
    assert reading.rows == []
    same(cluster, reading, metadata)
    counted = one(lambda kubernetes: kubernetes.count(PODS), "list pods")
    assert gap_of(cluster.read_source(counted))[0] == "rejected"


def test_parameters_of_a_header_that_are_not_known_ask_for_nothing(
    cluster: KubernetesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt ``as`` brings the whole objects from a real server: they are not kept."""
    accept = "application/json;As=PartialObjectMetadataList"
    monkeypatch.setattr("collector.connect.kubernetes.METADATA", MappingProxyType({"Accept": accept}))
    cluster.lists["/api/v1/secrets"] = [{**pod("db"), "data": {"p": "aHVzaA=="}}]
    reading = cluster.read_source(listing("/api/v1/secrets", needs=("list secrets",), metadata_only=True))
    assert "answered with SecretList where only metadata was asked for; the reply was not kept" in gap_of(reading)[1]
    assert b"aHVz" not in b"".join(reading.ledger.objects.values())


def test_what_is_asked_for_as_metadata_is_spelt_as_a_real_server_took_it() -> None:
    if not RECORDED.is_file():
        pytest.skip(f"{RECORDED} is absent: headers were not compared")
    taken = [item for item in json.loads(RECORDED.read_text("utf8")) if item["accept"] and item["status"] == 200]

    def parameters(header: str) -> dict[str, str]:
        media, *words = header.split(";")
        return {"media": media, **dict(word.split("=") for word in words)}

    assert taken
    for item in taken:
        assert parameters(METADATA["Accept"]) == {**parameters(item["accept"]), "as": "PartialObjectMetadataList"}


# Who asks


def kubeconfig(path: Path, server: str, user: dict[str, Any], **more: Any) -> KubernetesConnection:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **more}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "audit", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return KubernetesConnection("prod", path, "audit")


def opened(connection: KubernetesConnection) -> Any:
    return open_cluster(connection, workers=2, timeout_s=5)


def test_a_token_that_runs_out_in_mid_run_is_loaded_anew_and_the_refused_request_is_a_gap(
    cluster: KubernetesWorld,
) -> None:
    def renew(request: Request, number: int) -> None:
        if number == 2:
            cluster.token = "01-example-token"
            cluster.kubeconfig.write_text(cluster._kubeconfig())

    cluster.faults[PODS] = renew  # type: ignore[assignment]
    first = cluster.read_source(listing())
    assert gap_of(first)[0] == "unauthenticated"
    assert first.rows == []
    assert keys(cluster.read_source(listing())) == ALL
    same(cluster, first, listing())


def test_a_plug_in_gives_the_token(cluster: KubernetesWorld, tmp_path: Path) -> None:
    program = tmp_path / "plug-in"
    given = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": cluster.token},
    }
    program.write_text(f"#!/bin/sh\ncat <<'X'\n{json.dumps(given)}\nX\n")
    program.chmod(0o755)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}
    }
    connection = kubeconfig(tmp_path / "k", cluster.origin, user)
    assert keys(cluster.read_source(listing(), site=opened(connection))) == ALL
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ConfigError, match="gives no credential"):
        opened(connection)


def test_the_caller_is_named_by_the_credential(tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(b'{"sub": "system:serviceaccount:audit:affidavit"}').decode().rstrip("=")
    connection = kubeconfig(tmp_path / "k", "https://127.0.0.1:1", {"token": f"e30.{claims}.c2ln"})
    said = "context audit of k, token of system:serviceaccount:audit:affidavit"
    assert opened(connection).credential.name == said
    connection = kubeconfig(tmp_path / "k", "https://127.0.0.1:1", {"token": "opaque"})
    assert opened(connection).credential.name == "context audit of k"


def test_a_client_certificate_is_a_credential_and_names_the_caller(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "auditor")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + timedelta(days=1))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    user = {
        "client-certificate-data": base64.b64encode(pem).decode(), "client-key-data": base64.b64encode(secret).decode(),
    }  # fmt: skip
    connection = kubeconfig(tmp_path / "k", "https://127.0.0.1:1", user)
    assert opened(connection).credential.name == "context audit of k, certificate of CN=auditor"


@pytest.mark.parametrize(
    ("server", "user", "more", "words"),
    [
        ("https://127.0.0.1:1", {}, {}, "gives no credential"),
        ("https://127.0.0.1:1", {"token": "t"}, {"insecure-skip-tls-verify": True}, "does not verify"),
        ("http://cluster.example.org", {"token": "t"}, {}, "without https"),
    ],
)
def test_a_way_that_is_not_safe_is_not_taken(
    tmp_path: Path, server: str, user: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        opened(kubeconfig(tmp_path / "k", server, user, **more))


@pytest.mark.parametrize("text", ["", "a: [", "apiVersion: v1\nkind: Config\n", "- 1\n"])
def test_a_kubeconfig_that_is_none_is_told_with_the_next_step(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(ConfigError, match="cannot be used") as told:
        opened(KubernetesConnection("prod", tmp_path / "k", "audit"))
    assert "kubectl" in told.value.next_step
    with pytest.raises(ConfigError, match="cannot be used"):
        opened(KubernetesConnection("prod", tmp_path / "missing", "audit"))


def test_the_pod_brings_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    inside = KubernetesConnection("here", in_cluster=True)
    with pytest.raises(ConfigError, match="in_cluster cannot be used"):
        opened(inside)
    claims = base64.urlsafe_b64encode(b'{"sub": "system:serviceaccount:audit:affidavit"}').decode().rstrip("=")
    (tmp_path / "token").write_text(f"e30.{claims}.c2ln")
    import certifi

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    cluster = opened(inside)
    assert cluster.base_url == "https://10.96.0.1:443"
    assert cluster.credential.name == "service account of the pod, token of system:serviceaccount:audit:affidavit"


@dataclass(frozen=True)
class Inside:
    """What Kubernetes puts into a pod."""

    folder: Path
    roots: bytes
    token: str

    def opened(self) -> Any:
        return opened(KubernetesConnection("here", in_cluster=True))

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def roots_file(self) -> Path:
        return self.folder / "ca.crt"


@pytest.fixture
def inside(cluster: KubernetesWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A pod of the cluster, whose API server shows a certificate for its address."""
    from kubernetes.config import incluster_config

    authority = Authority()
    leaf = authority.leaf("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(leaf.pem + authority.intermediate.pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    listener = cluster._server.socket
    cluster._server.socket = context.wrap_socket(listener, server_side=True)
    found = Inside(tmp_path, authority.root.pem, cluster.token)
    found.token_file.write_text(cluster.token)
    found.roots_file.write_bytes(found.roots)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(found.token_file))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(found.roots_file))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", cluster.origin.rpartition(":")[2])
    return found


def test_a_pod_asks_the_cluster_it_runs_in(cluster: KubernetesWorld, inside: Inside) -> None:
    site = inside.opened()
    assert site.base_url == cluster.origin.replace("http://", "https://")
    reading = cluster.read_source(listing(), site=site)
    assert keys(reading) == ALL
    assert {line["caller"] for line in reading.ledger.lines} == {"service account of the pod"}
    assert cluster.token.encode() not in json.dumps(reading.ledger.lines).encode()
    same(cluster, reading, listing())


def test_a_pod_trusts_the_authority_of_its_cluster_alone(
    cluster: KubernetesWorld, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.roots_file.write_bytes(Authority().root.pem)
    kind, reason = gap_of(cluster.read_source(listing(), site=inside.opened()))
    assert (kind, "SSLCertVerificationError" in reason) == ("unreachable", True)
    inside.roots_file.write_bytes(b"no certificate")
    assert gap_of(cluster.read_source(listing(), site=inside.opened()))[0] == "unreachable"
    inside.roots_file.write_bytes(inside.roots)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
    kind, reason = gap_of(cluster.read_source(listing(), site=inside.opened()))
    assert (kind, "ostname" in reason) == ("unreachable", True), "the certificate is for another name"
    assert cluster.requests == []


def test_a_token_of_a_pod_that_is_no_longer_good(cluster: KubernetesWorld, inside: Inside) -> None:
    site = inside.opened()
    cluster.token = "02-example-token"
    assert gap_of(cluster.read_source(listing(), site=site))[0] == "unauthenticated"
    inside.token_file.write_text(cluster.token)
    assert keys(cluster.read_source(listing(), site=site)) == ALL, "the kubelet has renewed it"
    cluster.token = "03-example-token"
    assert gap_of(cluster.read_source(listing(), site=site))[0] == "unauthenticated"
    inside.token_file.write_text("\n")
    asked = len(cluster.requests)
    kind, reason = gap_of(cluster.read_source(listing(), site=site))
    assert (kind, "gives no credential" in reason) == ("unauthenticated", True)
    assert len(cluster.requests) == asked, "nobody is asked without a credential: anybody might be answered"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda pod, environ: environ("KUBERNETES_SERVICE_HOST", ""), "set but empty"),
        (lambda pod, environ: environ("KUBERNETES_SERVICE_PORT", ""), "set but empty"),
        (lambda pod, environ: pod.token_file.unlink(), "token file does not exist"),
        (lambda pod, environ: pod.token_file.write_text(""), "empty"),
        (lambda pod, environ: pod.roots_file.unlink(), "certification file does not exist"),
        (lambda pod, environ: pod.roots_file.write_text(""), "empty"),
    ],
)
def test_a_pod_that_lacks_what_it_needs_is_told_so(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., Any], words: str
) -> None:
    spoil(inside, monkeypatch.setenv)
    with pytest.raises(ConfigError, match=words) as told:
        inside.opened()
    assert "service account" in told.value.next_step


@pytest.mark.parametrize("token", [" ", "\n"])
def test_a_blank_token_is_no_credential(inside: Inside, tmp_path: Path, token: str) -> None:
    inside.token_file.write_text(token)
    with pytest.raises(ConfigError, match="gives no credential"):
        inside.opened()
    with pytest.raises(ConfigError, match="gives no credential"):
        opened(kubeconfig(tmp_path / "k", "https://127.0.0.1:1", {"token": token}))


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    for world in worlds(KubernetesWorld, tmp_path):
        site = opened(kubeconfig(tmp_path / "k", "http://127.0.0.1:1", {"token": "t"}))
        reading = world.read_source(listing(), site=site)
        assert gap_of(reading)[0] == "unreachable"
        same(world, reading, listing())


# Configuration

CONFIG = """\
version: 1
organisation: Example Ltd
store: {path: evidence, origin: log.example.org/a}
key: {file: a.key, passphrase: env:PASS}
connections: [{name: prod, kind: kubernetes, %s}]
"""


def configured(tmp_path: Path, text: str) -> Any:
    (tmp_path / "config.yaml").write_text(CONFIG % text)
    return load(tmp_path / "config.yaml").connections[0]


def test_a_connection_is_configured(tmp_path: Path) -> None:
    found = configured(tmp_path, "kubeconfig: k, context: audit, timeout_s: 5")
    assert found == KubernetesConnection("prod", tmp_path / "k", "audit", False, 5.0)
    assert configured(tmp_path, "in_cluster: true") == KubernetesConnection("prod", in_cluster=True)
    assert (_place(found).kind, _place(found).endpoints) == ("kubernetes", ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timeout_s: 5", "kubeconfig and in_cluster are missing"),
        ("kubeconfig: k", "context is missing"),
        ("kubeconfig: k, context: a, in_cluster: true", "stands beside in_cluster"),
        ("in_cluster: true, context: a", "stands beside in_cluster"),
        ("in_cluster: true, token: env:T", "unknown key"),
    ],
)
def test_a_connection_that_is_configured_wrongly(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        configured(tmp_path, text)


# What checks share


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", "1"),
        ("500m", "0.5"),
        ("2Gi", str(2 << 30)),
        ("1Ki", "1024"),
        ("5k", "5000"),
        ("1e3", "1000"),
        ("1.5Mi", "1572864"),
        ("100n", "0.0000001"),
        ("3E", "3" + "0" * 18),
        ("-1", "-1"),
        (".5", "0.5"),
        ("2e-1", "0.2"),
    ],
)
def test_quantities(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


def test_quantities_that_are_none_and_versions() -> None:
    for wrong in ("", "abc", "1Xi", "Gi", "1 Gi"):
        with pytest.raises(ValueError, match="not a quantity"):
            quantity(wrong)
    assert minor("v1.36.2-gke.100") == (1, 36)
    assert minor("1.31") == (1, 31)
    with pytest.raises(ValueError, match="not a version"):
        minor("latest")
    assert named([f"n{number}" for number in range(12)]) == "n0, n1, n10, n11, n2, n3, n4, n5, n6, n7 and 2 more"


def test_selectors() -> None:
    assert selects({}, {})
    assert not selects(None, {})
    with pytest.raises(ValueError, match="operator"):
        selects({"matchExpressions": [{"key": "a", "operator": "Near"}]}, {})
    assert selects({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {})
    assert not selects({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""})
