"""Kubernetes pods: how they are read, without what may be a credential, and what we require of what runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from collector.api import Kubernetes, Record, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import FINISHED, SYSTEM, containers, named, pod_redactions


@source(
    "kubernetes.pods",
    key="Key",
    per="connection",
    permissions=("list pods",),
    redactions=pod_redactions("items[].spec"),
)
def pods(cluster: Kubernetes) -> Iterator[Row]:
    """Every pod of every namespace, whatever made it, those that have finished included."""
    yield from cluster.pages("/api/v1/pods")


def _passed_over(pod: Record, exempt: tuple[str, ...]) -> str:
    """Why a pod is not judged; empty where it is."""
    if pod["metadata"]["namespace"] in exempt:
        return "the namespace is exempt"
    return "the pod has finished" if pod["status"]["phase"] in FINISHED else ""


def _judge(pod: Record, exempt: tuple[str, ...], wrong: list[str], right: str) -> Verdict:
    if why := _passed_over(pod, exempt):
        return skip(why)
    return fail(named(wrong)) if wrong else ok(right)


def _own(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """The security context of a container; left out where nothing is set."""
    found: Mapping[str, Any] = container.get("securityContext") or {}
    return found


def _set(pod: Record, container: Mapping[str, Any], name: str) -> Any:
    """A setting of a container, or of its pod where the container has none."""
    own = _own(container).get(name)
    return own if own is not None else (pod["spec"].get("securityContext") or {}).get(name)


def _parsed(image: str) -> tuple[str, str, str]:
    """Registry, tag and digest of the name of an image; each empty where it names none."""
    name, _, digest = image.partition("@")
    first, slash, _ = name.partition("/")
    registry = first if slash and (set(".:") & set(first) or first == "localhost") else ""
    _, _, tag = name.rpartition("/")[2].partition(":")
    return registry, tag, digest


@check(
    "kubernetes.pods.not-privileged",
    title="Kubernetes pods are not privileged",
    severity="critical",
    each="kubernetes.pods",
)
def not_privileged(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """No container of a pod that runs is privileged, those that start it included, nor a process of a Windows node.

    Source: Pod (``securityContext.privileged``, ``securityContext.windowsOptions.hostProcess`` of the container or of
    its pod; left out where not set). Finished pods are skipped.
    Remedy: take privileged out; add the one capability that is needed.
    """
    wrong = [
        f"{one['name']} is privileged"
        for one in containers(pod["spec"])
        if _own(one).get("privileged") or (_set(pod, one, "windowsOptions") or {}).get("hostProcess")
    ]
    return _judge(pod, exempt_namespaces, wrong, "no container is privileged")


@check(
    "kubernetes.pods.no-escalation",
    title="Kubernetes pods cannot gain privileges",
    severity="high",
    each="kubernetes.pods",
)
def no_escalation(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every container of a pod that runs has allowPrivilegeEscalation set to false.

    Source: Pod (``securityContext.allowPrivilegeEscalation``, left out where not set: then it is allowed).
    Remedy: set it to false.
    """
    wrong = [
        f"{one['name']} may gain privileges"
        for one in containers(pod["spec"])
        if _own(one).get("allowPrivilegeEscalation") is not False
    ]
    return _judge(pod, exempt_namespaces, wrong, "no container may gain privileges")


@check(
    "kubernetes.pods.not-root",
    title="Kubernetes pods do not run as root",
    severity="high",
    each="kubernetes.pods",
)
def not_root(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every container of a pod that runs has runAsNonRoot, or a user other than 0, of its own or from the pod.

    Source: Pod (``securityContext.runAsNonRoot``, ``runAsUser``; left out where not set).
    Remedy: set runAsNonRoot: true.
    """
    wrong = []
    for one in containers(pod["spec"]):
        user = _set(pod, one, "runAsUser")
        if user == 0 or not (user or _set(pod, one, "runAsNonRoot")):
            wrong.append(f"{one['name']} {'runs' if user == 0 else 'may run'} as root")
    return _judge(pod, exempt_namespaces, wrong, "no container may run as root")


@check(
    "kubernetes.pods.no-host-namespaces",
    title="Kubernetes pods keep out of the namespaces of their node",
    severity="high",
    each="kubernetes.pods",
)
def no_host_namespaces(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """A pod that runs uses neither network nor processes nor memory segments of its node.

    Source: Pod (``spec.hostNetwork``, ``hostPID``, ``hostIPC``; left out where not set).
    Remedy: take them out.
    """
    wrong = [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(name)]
    return _judge(pod, exempt_namespaces, wrong, "no namespace of the node is used")


@check(
    "kubernetes.pods.no-host-paths",
    title="Kubernetes pods mount no folder of their node",
    severity="high",
    each="kubernetes.pods",
)
def no_host_paths(
    pod: Record, *, allowed_paths: tuple[str, ...] = (), exempt_namespaces: tuple[str, ...] = SYSTEM
) -> Verdict:
    """No volume of a pod that runs is a path of its node other than ``allowed_paths``.

    Source: Pod (``spec.volumes[].hostPath``).
    Remedy: use a volume of another kind.
    """
    paths = [volume["hostPath"]["path"] for volume in pod["spec"].get("volumes") or () if volume.get("hostPath")]
    wrong = [f"{path} of the node is mounted" for path in paths if path not in allowed_paths]
    return _judge(pod, exempt_namespaces, wrong, f"{len(paths)} paths of the node are mounted, all allowed")


@check(
    "kubernetes.pods.no-host-ports",
    title="Kubernetes pods open no port of their node",
    severity="medium",
    each="kubernetes.pods",
)
def no_host_ports(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """No container of a pod that runs takes a port of its node.

    Source: Pod (``ports[].hostPort``). Ports of pods in the network of the node are the matter of
    kubernetes.pods.no-host-namespaces too.
    Remedy: use a service.
    """
    wrong = [
        f"{one['name']} takes port {port['hostPort']} of the node"
        for one in containers(pod["spec"])
        for port in one.get("ports") or ()
        if port.get("hostPort")
    ]
    return _judge(pod, exempt_namespaces, wrong, "no port of the node is taken")


@check(
    "kubernetes.pods.capabilities-dropped",
    title="Kubernetes pods drop all capabilities",
    severity="medium",
    each="kubernetes.pods",
)
def capabilities_dropped(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every container of a pod that runs drops ALL capabilities.

    Source: Pod (``securityContext.capabilities.drop``).
    Remedy: set capabilities.drop: [ALL], and add back what is needed.
    """
    wrong = [
        f"{one['name']} keeps capabilities"
        for one in containers(pod["spec"])
        if "ALL" not in ((_own(one).get("capabilities") or {}).get("drop") or ())
    ]
    return _judge(pod, exempt_namespaces, wrong, "every container drops all capabilities")


@check(
    "kubernetes.pods.no-added-capabilities",
    title="Kubernetes pods add no capability that is not allowed",
    severity="high",
    each="kubernetes.pods",
)
def no_added_capabilities(
    pod: Record,
    *,
    allowed_capabilities: tuple[str, ...] = ("NET_BIND_SERVICE",),
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """No container of a pod that runs adds a capability that is not in ``allowed_capabilities``.

    Source: Pod (``securityContext.capabilities.add``).
    Remedy: take the capability out.
    """
    wrong = [
        f"{one['name']} adds {capability}"
        for one in containers(pod["spec"])
        for capability in (_own(one).get("capabilities") or {}).get("add") or ()
        if capability not in allowed_capabilities
    ]
    return _judge(pod, exempt_namespaces, wrong, "no capability is added that is not allowed")


@check(
    "kubernetes.pods.system-calls-filtered",
    title="Kubernetes pods filter system calls",
    severity="medium",
    each="kubernetes.pods",
)
def system_calls_filtered(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every container of a pod that runs has the seccomp profile RuntimeDefault or Localhost, of its own or its pod's.

    Source: Pod (``securityContext.seccompProfile.type``). A default of the kubelet is not visible here.
    Remedy: set seccompProfile.type: RuntimeDefault.
    """
    wrong = [
        f"{one['name']} makes any system call"
        for one in containers(pod["spec"])
        if (_set(pod, one, "seccompProfile") or {}).get("type") not in ("Localhost", "RuntimeDefault")
    ]
    return _judge(pod, exempt_namespaces, wrong, "every container has a seccomp profile")


@check(
    "kubernetes.pods.root-read-only",
    title="Kubernetes pods cannot change their own image",
    severity="low",
    each="kubernetes.pods",
)
def root_read_only(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every container of a pod that runs, but those added to look into it, has a root file system it can only read.

    Source: Pod (``securityContext.readOnlyRootFilesystem``, left out where not set).
    Remedy: set it to true, and mount emptyDir volumes where something is written.
    """
    wrong = [
        f"{one['name']} can write to its root"
        for one in containers(pod["spec"], debug=False)
        if not _own(one).get("readOnlyRootFilesystem")
    ]
    return _judge(pod, exempt_namespaces, wrong, "every root file system is read only")


@check(
    "kubernetes.pods.image-versioned",
    title="Kubernetes pods name the version of their images",
    severity="medium",
    each="kubernetes.pods",
)
def image_versioned(pod: Record, *, exempt_namespaces: tuple[str, ...] = ()) -> Verdict:
    """Every image of a pod that runs is named with a digest, or with a tag other than latest.

    Source: Pod (``spec.containers[].image``).
    Remedy: name a version.
    """
    wrong = []
    for one in containers(pod["spec"]):
        _, tag, digest = _parsed(one["image"])
        if not digest and tag in ("", "latest"):
            wrong.append(f"{one['image']} names no version")
    return _judge(pod, exempt_namespaces, wrong, "every image is named with a version")


@check(
    "kubernetes.pods.image-pinned",
    title="Kubernetes pods name their images by digest",
    severity="low",
    each="kubernetes.pods",
)
def image_pinned(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every image of a pod that runs is named with the digest of its content: a tag may mean another image tomorrow.

    Source: Pod (``spec.containers[].image``).
    Remedy: name image@sha256:DIGEST.
    """
    wrong = [
        f"{one['image']} is named without digest" for one in containers(pod["spec"]) if not _parsed(one["image"])[2]
    ]
    return _judge(pod, exempt_namespaces, wrong, "every image is named by digest")


@check(
    "kubernetes.pods.image-registry",
    title="Kubernetes pods take images from named registries",
    severity="medium",
    each="kubernetes.pods",
)
def image_registry(
    pod: Record, *, allowed_registries: tuple[str, ...] = (), exempt_namespaces: tuple[str, ...] = SYSTEM
) -> Verdict:
    """Every image of a pod that runs names its registry, and one of ``allowed_registries`` where any are set.

    An image without registry comes from whatever the node takes for one, usually Docker Hub.
    Source: Pod (``spec.containers[].image``).
    Remedy: name the registry of the organisation.
    """
    found = {one["image"]: _parsed(one["image"])[0] for one in containers(pod["spec"])}
    wrong = [
        f"{image} comes from {registry or 'no named registry'}"
        for image, registry in found.items()
        if not registry or (allowed_registries and registry not in allowed_registries)
    ]
    return _judge(pod, exempt_namespaces, wrong, f"images come from {named(found.values())}")


@check(
    "kubernetes.pods.resources-bounded",
    title="Kubernetes pods state what they need and at most use",
    severity="medium",
    each="kubernetes.pods",
)
def resources_bounded(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """Every container of a pod that runs has a memory limit and requests processor time, or its pod has.

    Source: Pod (``spec.containers[].resources``, ``spec.resources``).
    Remedy: set resources.limits.memory and resources.requests.cpu.
    """
    wrong = []
    for one in pod["spec"]["containers"]:
        for kind, amount in (("limits", "memory"), ("requests", "cpu")):
            given = [(held.get("resources") or {}).get(kind) or {} for held in (one, pod["spec"])]
            if not any(amount in amounts for amounts in given):
                wrong.append(f"{one['name']} has no {amount} in {kind}")
    return _judge(pod, exempt_namespaces, wrong, "every container is bounded")


@check(
    "kubernetes.pods.secrets-not-in-environment",
    title="Kubernetes pods take Secrets as files",
    severity="low",
    each="kubernetes.pods",
)
def secrets_not_in_environment(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """No container of a pod that runs has a Secret in its environment, where every child process and dump has it too.

    Source: Pod (``env[].valueFrom.secretKeyRef``, ``envFrom[].secretRef``).
    Remedy: mount the Secret as a volume.
    """
    wrong = []
    for one in containers(pod["spec"]):
        refs = [(item.get("valueFrom") or {}).get("secretKeyRef") for item in one.get("env") or ()]
        refs += [item.get("secretRef") for item in one.get("envFrom") or ()]
        wrong += [f"{one['name']} has the Secret {ref['name']} in its environment" for ref in refs if ref]
    return _judge(pod, exempt_namespaces, wrong, "no Secret is in the environment")


@check(
    "kubernetes.pods.default-account-without-token",
    title="Kubernetes pods of the default account have no token",
    severity="medium",
    each="kubernetes.pods",
)
def default_account_without_token(pod: Record, *, exempt_namespaces: tuple[str, ...] = SYSTEM) -> Verdict:
    """A pod that runs as the service account default has no token for the API server mounted.

    Source: Pod (``spec.serviceAccountName``, ``spec.volumes[].projected``, as the API server filled them in).
    Remedy: set automountServiceAccountToken: false, or name an account of the workload's own.
    """
    account = pod["spec"].get("serviceAccountName") or "default"
    if account != "default" and not _passed_over(pod, exempt_namespaces):
        return skip(f"the pod runs as {account}")
    wrong = [
        f"the volume {volume['name']} holds a token of the default account"
        for volume in pod["spec"].get("volumes") or ()
        for item in (volume.get("projected") or {}).get("sources") or ()
        if item.get("serviceAccountToken")
    ]
    return _judge(pod, exempt_namespaces, wrong, "no token of the default account is mounted")


@check(
    "kubernetes.pods.no-debug-containers",
    title="Nothing is left in Kubernetes pods to look into them",
    severity="medium",
    each="kubernetes.pods",
)
def no_debug_containers(pod: Record) -> Verdict:
    """A pod that runs has had no ephemeral container added, as kubectl debug does.

    Source: Pod (``spec.ephemeralContainers``, left out where there is none; they stay until the pod ends).
    Remedy: replace the pod; see who added it in the audit log.
    """
    wrong = [f"{one['name']} was added from {one['image']}" for one in pod["spec"].get("ephemeralContainers") or ()]
    return _judge(pod, (), wrong, "no ephemeral container was added")


@check(
    "kubernetes.pods.not-in-default",
    title="Kubernetes workloads have a namespace of their own",
    severity="low",
    each="kubernetes.pods",
)
def not_in_default(pod: Record) -> Verdict:
    """A pod that runs is not in the namespace default.

    Source: Pod (``metadata.namespace``).
    Remedy: move the workload to a namespace of its own.
    """
    place = pod["metadata"]["namespace"]
    return _judge(pod, (), ["the pod is in the namespace default"] * (place == "default"), f"the namespace is {place}")
