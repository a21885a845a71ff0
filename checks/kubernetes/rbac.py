"""Kubernetes roles and bindings: how they are read, and what we require of rights."""

from collections.abc import Iterator, Mapping
from typing import Any

from collector.api import Kubernetes, Personal, Record, Row, Verdict, check, fail, ok, skip, source
from collector.workloads import APPLIED, named

RBAC = "/apis/rbac.authorization.k8s.io/v1"
BUILT_IN = ("admin", "cluster-admin", "edit", "view")
ESCALATES = ("bind", "escalate", "impersonate")
READS = frozenset({"get", "list", "watch"})
ESCALATED = ("clusterroles", "groups", "roles", "serviceaccounts", "users")


@source(
    "kubernetes.roles",
    key="Key",
    per="connection",
    permissions=("list rbac.authorization.k8s.io/roles",),
    redactions=(APPLIED,),
)
def roles(cluster: Kubernetes) -> Iterator[Row]:
    """Every role of every namespace."""
    yield from cluster.pages(f"{RBAC}/roles")


@source(
    "kubernetes.role-bindings",
    key="Key",
    per="connection",
    permissions=("list rbac.authorization.k8s.io/rolebindings",),
    redactions=(APPLIED,),
    personal=(Personal(f"kubernetes:GET {RBAC}/rolebindings", "name", json="items[].subjects[].name"),),
)
def role_bindings(cluster: Kubernetes) -> Iterator[Row]:
    """Every role binding of every namespace."""
    yield from cluster.pages(f"{RBAC}/rolebindings")


@source(
    "kubernetes.cluster-roles",
    key="Key",
    per="connection",
    permissions=("list rbac.authorization.k8s.io/clusterroles",),
    redactions=(APPLIED,),
)
def cluster_roles(cluster: Kubernetes) -> Iterator[Row]:
    """Every cluster role, those that Kubernetes brings included."""
    yield from cluster.pages(f"{RBAC}/clusterroles")


@source(
    "kubernetes.cluster-role-bindings",
    key="Key",
    per="connection",
    permissions=("list rbac.authorization.k8s.io/clusterrolebindings",),
    redactions=(APPLIED,),
    personal=(Personal(f"kubernetes:GET {RBAC}/clusterrolebindings", "name", json="items[].subjects[].name"),),
)
def cluster_role_bindings(cluster: Kubernetes) -> Iterator[Row]:
    """Every cluster role binding, those that Kubernetes brings included."""
    yield from cluster.pages(f"{RBAC}/clusterrolebindings")


def _built_in(item: Record) -> bool:
    """Whether Kubernetes keeps it as it ships it: by label, and by a name that others do not give by accident."""
    about = item["metadata"]
    shipped = (about.get("labels") or {}).get("kubernetes.io/bootstrapping") == "rbac-defaults"
    return bool(shipped) and (about["name"] in BUILT_IN or about["name"].startswith("system:"))


def _rules(role: Record) -> list[Record]:
    return list(role["rules"] or ())  # null where a role has none


def _subjects(binding: Record) -> list[Record]:
    return list(binding.get("subjects") or ())  # left out where a binding has none


def _added(binding: Record) -> list[Record]:
    """The subjects of a binding that somebody put there: of one that Kubernetes brings, those that are not its own."""
    return [one for one in _subjects(binding) if not (_built_in(binding) and _own(one))]


def _own(subject: Mapping[str, Any]) -> bool:
    """Whether a subject is one of Kubernetes itself."""
    return bool(subject["name"].startswith("system:") or subject.get("namespace") == "kube-system")


ACCOUNT, ACCOUNTS = "system:serviceaccount:", "system:serviceaccounts"


def _places(subject: Mapping[str, Any], name: str = "") -> list[str]:
    """Namespace of the service account a subject is, or of those it stands for, ``*`` for all; none for others.

    Service accounts can be named as such, by their user name, and by the groups they are in. With ``name`` only
    accounts of that name count.
    """
    kind, told = subject["kind"], subject["name"]
    if kind == "ServiceAccount":
        return [subject["namespace"]] if not name or told == name else []
    if kind == "User" and told.startswith(ACCOUNT):
        place, _, account = told.removeprefix(ACCOUNT).partition(":")
        return [place] if not name or account == name else []
    if kind == "Group" and (told == ACCOUNTS or told.startswith(f"{ACCOUNTS}:")):
        return [told.removeprefix(ACCOUNTS).removeprefix(":") or "*"]
    return []


def _told(subject: Mapping[str, Any]) -> str:
    place = f"{subject['namespace']}/" if subject.get("namespace") else ""
    return f"{subject['kind']} {place}{subject['name']}"


def _allows(rule: Record, verbs: tuple[str, ...], resources: tuple[str, ...]) -> bool:
    """Whether a rule gives one of the verbs on one of the resources of the core group, whatever their names."""
    groups, named_only = rule.get("apiGroups") or (), rule.get("resourceNames") or ()
    return (
        not named_only
        and bool({"*", *verbs} & set(rule["verbs"]))
        and bool({"", "*"} & set(groups))
        and bool({"*", *resources} & set(rule.get("resources") or ()))
    )


def _holders(
    bindings: Iterator[Record], roles: Iterator[Record], verbs: tuple[str, ...], resources: tuple[str, ...]
) -> set[str]:
    """Whom a binding gives one of the verbs on one of the resources, everywhere, but for what Kubernetes brings."""
    giving = {
        role["metadata"]["name"] for role in roles if any(_allows(rule, verbs, resources) for rule in _rules(role))
    }
    return {
        _told(subject)
        for binding in bindings
        if binding["roleRef"]["name"] in giving
        for subject in _added(binding)
    }


def _wide(rule: Record, readable_groups: tuple[str, ...]) -> bool:
    """Whether a rule gives every verb or every resource, but for reading what is in ``readable_groups`` alone.

    The core group, where the Secrets are, and all groups at once are never read whole.
    """
    if "*" not in (rule.get("resources") or ()):
        return "*" in rule["verbs"]
    groups = set(rule["apiGroups"])
    return not (set(rule["verbs"]) <= READS and groups and groups <= set(readable_groups) - {"", "*"})


def _no_wildcard(role: Record, readable_groups: tuple[str, ...] = ()) -> Verdict:
    if _built_in(role):
        return skip("Kubernetes brings this role")
    rules = _rules(role)
    wide = [rule for rule in rules if _wide(rule, readable_groups)]
    if wide:
        return fail(f"{len(wide)} of {len(rules)} rules give every verb or every resource, limit none")
    return ok(f"each of {len(rules)} rules names its verbs and resources")


@check(
    "kubernetes.roles.no-wildcard",
    title="Kubernetes roles name what they allow",
    severity="medium",
    each="kubernetes.roles",
)
def roles_no_wildcard(role: Record) -> Verdict:
    """No rule of a role gives ``*`` as verb or resource; roles that Kubernetes brings are skipped.

    Source: Role (``rules``). A wildcard also gives what is added to the cluster later.
    Remedy: name the verbs and resources.
    """
    return _no_wildcard(role)


@check(
    "kubernetes.cluster-roles.no-wildcard",
    title="Kubernetes cluster roles name what they allow",
    severity="high",
    each="kubernetes.cluster-roles",
)
def cluster_roles_no_wildcard(
    role: Record, *, readable_groups: tuple[str, ...] = ("constraints.gatekeeper.sh",)
) -> Verdict:
    """No rule of a cluster role gives ``*`` as verb or resource; roles that Kubernetes brings are skipped.

    A rule that does no more than get, list or watch in ``readable_groups`` may say ``*`` for the resources: Gatekeeper
    makes a kind for each of its templates, so that nobody can name them beforehand, and keeps rules in them alone. The
    core group, where the Secrets are, and ``*`` are no such groups, whatever stands there.
    Source: ClusterRole (``rules``). A wildcard also gives what is added to the cluster later.
    Remedy: name the verbs and resources.
    """
    return _no_wildcard(role, readable_groups)


def _no_escalation(role: Record) -> Verdict:
    if _built_in(role):
        return skip("Kubernetes brings this role")
    found = set()
    for rule in _rules(role):
        found |= set(ESCALATES) & set(rule["verbs"])
        if "*" in rule["verbs"] and {"*", *ESCALATED} & set(rule.get("resources") or ()):
            found.add("*")
    if found:
        return fail(f"gives {', '.join(sorted(found))}, limit none of {', '.join(ESCALATES)}")
    return ok(f"gives none of {', '.join(ESCALATES)}")


@check(
    "kubernetes.roles.no-escalation",
    title="Kubernetes roles do not let their holders take further rights",
    severity="high",
    each="kubernetes.roles",
)
def roles_no_escalation(role: Record) -> Verdict:
    """No rule of a role gives ``escalate``, ``bind`` or ``impersonate``, by name or by ``*`` on what they act on.

    Source: Role (``rules``). Roles that Kubernetes brings are skipped.
    Remedy: take the verb out; let a pipeline that is reviewed change rights.
    """
    return _no_escalation(role)


@check(
    "kubernetes.cluster-roles.no-escalation",
    title="Kubernetes cluster roles do not let their holders take further rights",
    severity="critical",
    each="kubernetes.cluster-roles",
)
def cluster_roles_no_escalation(role: Record) -> Verdict:
    """No rule gives ``escalate``, ``bind`` or ``impersonate``, by name or by ``*`` on what they act on.

    Source: ClusterRole (``rules``). Roles that Kubernetes brings are skipped.
    Remedy: take the verb out; let a pipeline that is reviewed change rights.
    """
    return _no_escalation(role)


@check(
    "kubernetes.cluster-roles.no-node-proxy",
    title="Kubernetes cluster roles do not reach past the API server",
    severity="high",
    each="kubernetes.cluster-roles",
)
def cluster_roles_no_node_proxy(role: Record) -> Verdict:
    """No rule of a role gives ``nodes/proxy``, which runs commands in every pod of a node without an audit entry.

    Source: ClusterRole (``rules``; ``*/proxy`` gives it too). Roles that Kubernetes brings are skipped; rules with
    ``*`` are the matter of kubernetes.cluster-roles.no-wildcard.
    Remedy: name nodes/metrics or nodes/stats instead.
    """
    if _built_in(role):
        return skip("Kubernetes brings this role")
    found = [rule for rule in _rules(role) if {"*/proxy", "nodes/proxy"} & set(rule.get("resources") or ())]
    return fail(f"{len(found)} rules give nodes/proxy, limit none") if found else ok("no rule gives nodes/proxy")


@check(
    "kubernetes.cluster-role-bindings.administrators-few",
    title="Few subjects may do everything in a Kubernetes cluster",
    severity="critical",
    over=("kubernetes.cluster-role-bindings", "kubernetes.cluster-roles"),
)
def administrators_few(bindings: Iterator[Record], roles: Iterator[Record], *, max_subjects: int = 5) -> Verdict:
    """At most ``max_subjects`` users, groups and service accounts hold a role with every verb on every resource.

    Counted is every role with such a rule, whatever it is called. The group system:masters, which Kubernetes binds
    itself, is not counted; who is in it, and in the other groups, only their issuer knows.
    Source: ClusterRoleBinding (``subjects``, ``roleRef``), ClusterRole (``rules``).
    Remedy: replace the role by a narrower one.
    """
    wide = {
        role["metadata"]["name"]
        for role in roles
        if any(
            "*" in rule["verbs"] and "*" in (rule.get("resources") or ()) and "*" in (rule.get("apiGroups") or ())
            for rule in _rules(role)
        )
    }
    held = {
        _told(subject)
        for binding in bindings
        if binding["roleRef"]["name"] in wide
        for subject in _subjects(binding)
        if subject["name"] != "system:masters"
    }
    told = f"{len(held)} subjects may do everything, limit {max_subjects}"
    return fail(f"{told}: {named(held)}") if len(held) > max_subjects else ok(told)


@check(
    "kubernetes.cluster-role-bindings.administrators-no-workload",
    title="No workload administers the Kubernetes cluster",
    severity="critical",
    each="kubernetes.cluster-role-bindings",
)
def administrators_no_workload(
    binding: Record, *, exempt_namespaces: tuple[str, ...] = ("kube-system",)
) -> Verdict:
    """No service account outside ``exempt_namespaces`` holds cluster-admin, by its name or by a group of accounts.

    Source: ClusterRoleBinding (``subjects``, ``roleRef``).
    Remedy: give the workload a role with what it uses.
    """
    if binding["roleRef"]["name"] != "cluster-admin":
        return skip(f"gives {binding['roleRef']['name']}")
    found = [
        _told(subject)
        for subject in _subjects(binding)
        if any(place not in exempt_namespaces for place in _places(subject))
    ]
    return fail(f"cluster-admin is held by {named(found)}") if found else ok("cluster-admin is held by no workload")


def _no_anonymous(binding: Record, allowed_roles: tuple[str, ...]) -> Verdict:
    nobody = ("system:anonymous", "system:unauthenticated")
    found = [subject["name"] for subject in _subjects(binding) if subject["name"] in nobody]
    if not found:
        return ok("gives nothing to somebody who has not signed in")
    role = binding["roleRef"]["name"]
    told = f"{role} is given to {', '.join(found)}"
    return ok(f"{told}, as allowed") if role in allowed_roles else fail(told)


@check(
    "kubernetes.cluster-role-bindings.no-anonymous",
    title="Nobody has rights in a Kubernetes cluster without signing in",
    severity="critical",
    each="kubernetes.cluster-role-bindings",
)
def cluster_no_anonymous(
    binding: Record, *, allowed_roles: tuple[str, ...] = ("system:public-info-viewer",)
) -> Verdict:
    """system:anonymous and system:unauthenticated hold no role but those in ``allowed_roles``.

    Source: ClusterRoleBinding (``subjects``, ``roleRef``). Kubernetes itself lets everybody read health and version.
    Remedy: delete the binding.
    """
    return _no_anonymous(binding, allowed_roles)


@check(
    "kubernetes.role-bindings.no-anonymous",
    title="Nobody has rights in a Kubernetes namespace without signing in",
    severity="critical",
    each="kubernetes.role-bindings",
)
def no_anonymous(
    binding: Record, *, allowed_roles: tuple[str, ...] = ("kubeadm:bootstrap-signer-clusterinfo",)
) -> Verdict:
    """system:anonymous and system:unauthenticated hold no role but those in ``allowed_roles``.

    Source: RoleBinding (``subjects``, ``roleRef``). kubeadm lets nodes that join read the address of the cluster.
    Remedy: delete the binding.
    """
    return _no_anonymous(binding, allowed_roles)


@check(
    "kubernetes.cluster-role-bindings.no-everybody",
    title="No right in a Kubernetes cluster is given to everybody who signs in",
    severity="high",
    each="kubernetes.cluster-role-bindings",
)
def no_everybody(
    binding: Record,
    *,
    allowed_roles: tuple[str, ...] = (
        "system:basic-user", "system:discovery", "system:public-info-viewer", "system:service-account-issuer-discovery",
    ),
) -> Verdict:
    """system:authenticated and system:serviceaccounts hold no role but those in ``allowed_roles``.

    Source: ClusterRoleBinding (``subjects``, ``roleRef``).
    Remedy: bind the role to those who need it.
    """  # fmt: skip
    found = [
        subject["name"]
        for subject in _subjects(binding)
        if subject["name"] in ("system:authenticated", "system:serviceaccounts")
    ]
    if not found:
        return ok("is given to named subjects only")
    role = binding["roleRef"]["name"]
    told = f"{role} is given to {', '.join(found)}"
    return ok(f"{told}, as allowed") if role in allowed_roles else fail(told)


@check(
    "kubernetes.cluster-role-bindings.secret-readers-few",
    title="Few subjects can read every Secret of a Kubernetes cluster",
    severity="high",
    over=("kubernetes.cluster-role-bindings", "kubernetes.cluster-roles"),
)
def secret_readers_few(bindings: Iterator[Record], roles: Iterator[Record], *, max_subjects: int = 10) -> Verdict:
    """At most ``max_subjects`` subjects hold a cluster role that gets, lists or watches Secrets in all namespaces.

    Rules for named Secrets are not counted, nor the subjects that Kubernetes brings.
    Source: ClusterRoleBinding (``subjects``, ``roleRef``), ClusterRole (``rules``).
    Remedy: bind the role in the namespaces that need it.
    """
    held = _holders(bindings, roles, ("get", "list", "watch"), ("secrets",))
    told = f"{len(held)} subjects read every Secret, limit {max_subjects}"
    return fail(f"{told}: {named(held)}") if len(held) > max_subjects else ok(told)


@check(
    "kubernetes.cluster-role-bindings.exec-few",
    title="Few subjects can enter every pod of a Kubernetes cluster",
    severity="high",
    over=("kubernetes.cluster-role-bindings", "kubernetes.cluster-roles"),
)
def exec_few(bindings: Iterator[Record], roles: Iterator[Record], *, max_subjects: int = 5) -> Verdict:
    """At most ``max_subjects`` subjects hold a cluster role that may execute in, or attach to, pods everywhere.

    Subjects that Kubernetes brings are not counted.
    Source: ClusterRoleBinding (``subjects``, ``roleRef``), ClusterRole (``rules``).
    Remedy: give the right for a time and a namespace, and log its use.
    """
    held = _holders(bindings, roles, ("create", "get"), ("*/attach", "*/exec", "pods/attach", "pods/exec"))
    told = f"{len(held)} subjects may enter every pod, limit {max_subjects}"
    return fail(f"{told}: {named(held)}") if len(held) > max_subjects else ok(told)


@check(
    "kubernetes.role-bindings.no-cluster-admin",
    title="No Kubernetes namespace is given away whole",
    severity="medium",
    each="kubernetes.role-bindings",
)
def no_cluster_admin(binding: Record) -> Verdict:
    """A role binding does not give cluster-admin, which in a namespace includes its quotas and its own rights.

    Source: RoleBinding (``roleRef``).
    Remedy: bind admin or edit instead.
    """
    role = binding["roleRef"]["name"]
    return fail(f"gives {role}") if role == "cluster-admin" else ok(f"gives {role}")


@check(
    "kubernetes.role-bindings.roles-exist",
    title="Every Kubernetes binding refers to a role there is",
    severity="medium",
    over=(
        "kubernetes.role-bindings", "kubernetes.cluster-role-bindings", "kubernetes.roles", "kubernetes.cluster-roles",
    ),
)  # fmt: skip
def roles_exist(
    bindings: Iterator[Record], wide: Iterator[Record], roles: Iterator[Record], cluster_roles: Iterator[Record]
) -> Verdict:
    """No binding names a role that does not exist: who can create it decides what the subjects may do.

    Source: RoleBinding, ClusterRoleBinding (``roleRef``), Role, ClusterRole (``metadata.name``).
    Remedy: delete the binding.
    """
    known = {role["Key"] for role in roles} | {f"*/{role['Key']}" for role in cluster_roles}
    number, loose = 0, []
    for binding in (*bindings, *wide):
        number += 1
        place = binding["metadata"]["namespace"] if binding["roleRef"]["kind"] == "Role" else "*"
        if f"{place}/{binding['roleRef']['name']}" not in known:
            loose.append(f"{binding['Key']} ({binding['roleRef']['name']})")
    if loose:
        return fail(f"{len(loose)} of {number} bindings name no role there is: {named(loose)}")
    return ok(f"each of {number} bindings names a role there is") if number else skip("there is no binding")


@check(
    "kubernetes.role-bindings.accounts-exist",
    title="Every Kubernetes binding is for service accounts there are",
    severity="medium",
    over=("kubernetes.role-bindings", "kubernetes.cluster-role-bindings", "kubernetes.service-accounts"),
)
def accounts_exist(bindings: Iterator[Record], wide: Iterator[Record], accounts: Iterator[Record]) -> Verdict:
    """No binding gives rights to a service account that is gone: who makes one of that name gets them.

    Bindings that Kubernetes brings are not looked at: not every cluster runs all its controllers.
    Source: RoleBinding, ClusterRoleBinding (``subjects``), ServiceAccount (``metadata``).
    Remedy: take the subject out of the binding.
    """
    known = {account["Key"] for account in accounts}
    number, gone = 0, []
    for binding in (*bindings, *wide):
        for subject in _subjects(binding):
            if subject["kind"] == "ServiceAccount" and not _built_in(binding):
                number += 1
                if f"{subject['namespace']}/{subject['name']}" not in known:
                    gone.append(f"{subject['namespace']}/{subject['name']} in {binding['Key']}")
    if gone:
        return fail(f"{len(gone)} of {number} are for accounts that are gone: {named(gone)}")
    return ok(f"all {number} are for accounts there are") if number else skip("no binding is for a service account")


@check(
    "kubernetes.service-accounts.default-without-rights",
    title="Kubernetes default service accounts have no rights of their own",
    severity="high",
    over=("kubernetes.role-bindings", "kubernetes.cluster-role-bindings"),
)
def default_without_rights(bindings: Iterator[Record], wide: Iterator[Record]) -> Verdict:
    """No binding names a service account called default, which every pod has that names no other.

    Bindings for a whole group of service accounts, default ones among them, count; those that Kubernetes brings not.
    Source: RoleBinding, ClusterRoleBinding (``subjects``).
    Remedy: make an account for the workload that needs the right.
    """
    number, found = 0, []
    for binding in (*bindings, *wide):
        number += 1
        found += [
            f"{place}/default in {binding['Key']}"
            for subject in _added(binding)
            for place in _places(subject, "default")
        ]
    if found:
        return fail(f"{len(found)} default accounts are bound: {named(found)}")
    return ok(f"none of {number} bindings names a default account") if number else skip("there is no binding")
