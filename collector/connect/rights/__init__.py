"""The rights a request needs, spelt as sources declare them: one rule for each kind of connection.

The same function holds a source to its declaration before it asks, live as in a replay, and tells from the record of a
run which of the declared rights it used.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import normpath
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from collector import yamlpos

OURS = frozenset({"collector:clock", "connection:open"})
"""What stands on record and asks nothing of the other side."""

IAM_ACTIONS = {
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
}
"""Operations of AWS whose permission has another name."""

OBJECTS = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)/(?:namespaces/[^/]+/)?(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?"
)
"""A path of Kubernetes that leads to objects."""

FILTERED = re.compile(r"\(([A-Za-z][\w-]*)(?::[^=()]*:)?[~<>]?=")
"""An attribute that a filter of a directory asks about: who is found tells what it holds (RFC 4515)."""
PLAIN = frozenset({"objectClass", "objectCategory"})
"""What an entry is; every search asks about it."""

DIRECTORIES = frozenset({"ldap", "active-directory"})
DATABASES = frozenset({"postgresql", "mariadb"})
EXACT = DATABASES | {"aws"}
"""Kinds whose rights are declared one by one."""

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Row:
    """What opens one path."""

    rights: tuple[str, ...] = ()
    """All of them are needed; none where whoever is let in may ask."""
    also: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Further rights where a parameter names something: parameter, word, rights."""


def needed(kind: str, operation: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """The rights a request of that kind of connection needs; none for what asks nothing of the other side.

    A request that no table knows needs a right of its own, spelt like the request: ``GET /v2/members``.

    Raises:
        ConfigError: the table of the kind is malformed.
        KeyError: ``params`` are not those of the operation.
        ValueError: it is not a request that may be made.
    """
    if operation in OURS:
        return ()
    if kind == "aws":
        return (IAM_ACTIONS.get(operation, operation),)
    if kind == "host":
        told = normpath(params["path"]) if "path" in params else " ".join(params["argv"])
        return (f"{operation} {told}",)
    if kind == "register":
        return (f"read {params['path']}/.md" if operation == "register:list" else f"read {params['path']}",)
    if kind == "tls":
        return (operation,)
    if kind in DIRECTORIES:
        asked = (name.partition(";")[0] for name in params.get("attributes", ()) if name != "1.1")
        filtered = (name for name in FILTERED.findall(params.get("filter", "")) if name not in PLAIN)
        return tuple(f"read {name}" for name in dict.fromkeys((*asked, *filtered)))
    if kind in DATABASES:
        from collector.connect.sql import named

        return tuple(sorted(named(kind, params["sql"])[1]))
    path = operation.partition(":GET ")[2]
    if kind == "kubernetes":
        return (permission(re.sub(r"{(\w+)}", lambda word: quote(str(params[word[1]]), safe=""), path)),)
    return _of_table(table(kind), path, params)


def shown(kind: str, right: str) -> bool:
    """Whether a request can show that it used the right: none names a role, or a container as a whole."""
    if kind in DATABASES:
        return right.startswith("SELECT ON ")
    return kind not in DIRECTORIES or re.fullmatch(r"read \S+", right) is not None


def covers(kind: str, declared: Collection[str], right: str) -> bool:
    """Whether a right is declared; ``*`` in what is declared is anything, but for actions of AWS and for tables."""
    return right in declared if kind in EXACT else any(fnmatchcase(right, item) for item in declared)


def permission(path: str) -> str:
    """What a GET of a path of Kubernetes needs: ``list apps/deployments``, ``nonresource /version``."""
    found = OBJECTS.fullmatch(path)
    if not found:
        return f"nonresource {path}"
    resource = f"{found['group']}/{found['resource']}" if found["group"] else found["resource"]
    return f"{'get' if found['name'] else 'list'} {resource}"


@functools.cache
def table(kind: str) -> Mapping[str, Row]:
    """What opens each path of a REST API, by the vendor's reference; empty for an API nobody wrote a table for.

    Raises:
        ConfigError: the table is malformed.
    """
    file = HERE / f"{kind}.yaml"
    return read(file) if re.fullmatch(r"[a-z][a-z0-9-]*", kind) and file.is_file() else MappingProxyType({})


def read(file: Path) -> Mapping[str, Row]:
    """The rows of a table: a path as sources spell it, and the right or the rights that open it.

    ``/users?$select=lastSeen`` names what is needed beside them where the parameter ``$select`` has the word
    ``lastSeen``.

    Raises:
        ConfigError: it is not such a table.
    """
    document = yamlpos.load(file)
    if not isinstance(document.data, dict) or not document.data:
        raise document.error((), "holds no table", "write a path, a colon, and the right that opens it")
    rows: dict[str, Row] = {}
    for key, value in document.data.items():
        rights = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else None
        if rights is None or not all(isinstance(right, str) and right for right in rights):
            raise document.error((key,), "names no right", "write one right, a list of rights, or [] for none")
        path, asked, condition = key.partition("?")
        name, equals, word = condition.partition("=")
        if not path.startswith("/") or (asked and not (name and equals and word)):
            raise document.error((key,), "is no path", "write /things/{id}, or /things?parameter=word")
        row = rows.get(path)
        if asked and row is None:
            raise document.error((key,), f"stands before {path} itself", f"write a line for {path} above it")
        rows[path] = Row(row.rights, (*row.also, (name, word, rights))) if asked and row else Row(rights)
    return MappingProxyType(rows)


def _of_table(rows: Mapping[str, Row], path: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    row = rows.get(path)
    if row is None:
        return (f"GET {path}",)
    also = (
        right
        for name, word, rights in row.also
        if word in re.split(r"[^\w.]+", str(params.get(name, "")))
        for right in rights
    )
    return tuple(dict.fromkeys((*row.rights, *also)))


__all__ = ["IAM_ACTIONS", "Row", "covers", "needed", "permission", "read", "shown", "table"]
