"""What Kubernetes objects have in common, without any I/O: what is not kept of them, and what is in a pod."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from collector.api import Redaction

APPLIED = Redaction(
    "kubernetes:GET *",
    "kubectl keeps the whole object a second time in this annotation, a Secret with its content",
    regex=r'"kubectl\.kubernetes\.io/last-applied-configuration"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)*)"',
)
"""Applied to every reply of a cluster, whatever a source declares."""

SYSTEM = ("kube-node-lease", "kube-public", "kube-system")
"""Namespaces that Kubernetes makes for itself."""

FINISHED = ("Failed", "Succeeded")
"""Phases of a pod in which nothing of it runs any more."""


def pod_redactions(path: str) -> tuple[Redaction, ...]:
    """What is not kept of pods whose specification stands at ``path``: values that may be credentials."""
    why = {
        f"{path}.*[].env[].value": "environment variables may hold credentials",
        f"{path}.*[].command[]": "a command may hold credentials",
        f"{path}.*[].args[]": "arguments may hold credentials",
        f"{path}.*[].*.exec.command[]": "a command may hold credentials",
        f"{path}.*[].lifecycle.*.exec.command[]": "a command may hold credentials",
        f"{path}.*[].*.httpGet.httpHeaders[].value": "headers may hold credentials",
        f"{path}.*[].lifecycle.*.httpGet.httpHeaders[].value": "headers may hold credentials",
        f"{path}.volumes[].*.*.*": "options of a volume driver may hold credentials",
    }
    return (APPLIED, *(Redaction("kubernetes:GET *", reason, json=json) for json, reason in why.items()))


def containers(spec: Mapping[str, Any], *, debug: bool = True) -> list[Mapping[str, Any]]:
    """Every container of a pod: those that start it, those that run, and those added to look into it."""
    begun = spec.get("initContainers") or ()
    added = spec.get("ephemeralContainers") or () if debug else ()  # both left out where there are none
    return [*begun, *spec["containers"], *added]


def named(found: Iterable[str], most: int = 10) -> str:
    """The first names in order, and how many more there are."""
    names = sorted(set(found))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses an object with these labels; an empty one chooses every object, none none."""
    if selector is None:
        return False
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(rule, labels) for rule in selector.get("matchExpressions") or ())


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    name, values = rule["key"], rule.get("values") or ()
    match rule["operator"]:
        case "In":
            return labels.get(name) in values
        case "NotIn":
            return labels.get(name) not in values
        case "Exists":
            return name in labels
        case "DoesNotExist":
            return name not in labels
    raise ValueError(f"a label selector has the operator {rule['operator']!r}")


def running(pods: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The pods that have not finished."""
    return (pod for pod in pods if pod["status"]["phase"] not in FINISHED)


_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?")
_SCALE = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def quantity(text: str) -> Decimal:
    """The number a quantity stands for: ``500m``, ``2Gi``, ``1e3``.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"not a quantity: {text!r}")
    number, exponent, suffix = found.groups()
    if suffix and suffix.endswith("i"):
        return Decimal(number) * Decimal(1024) ** ("KMGTPE".index(suffix[0]) + 1)
    return Decimal(f"{number}{exponent or ''}").scaleb(_SCALE.get(suffix or "", 0))


def minor(version: str) -> tuple[int, int]:
    """Major and minor number of ``v1.36.2`` and of what vendors hang on to it.

    Raises:
        ValueError: there are none.
    """
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if not found:
        raise ValueError(f"not a version of Kubernetes: {version!r}")
    return int(found[1]), int(found[2])
