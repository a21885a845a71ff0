"""What sources and checks speak of is what the systems have, over every kind but AWS (see ``test_contract.py``).

The rows are those that sources made of recorded replies. Each kind's own tests hold the same replies of its world
against the vendor's description, where there is one; so a field that stands in a row stands in the description, and
one that a check reads and no row has was invented.

What a source may ask for is held at run time where an operation tells which right it needs: AWS (action), Kubernetes
(verb and resource), databases (table), directories (attribute), registers (file), TLS endpoints (kind of request).
For the OAuth scopes of REST APIs only Okta's description has a table from operation to scope, which is compared here;
those of GitHub, GitLab, Google, Microsoft, Keycloak and Atlassian were taken from the vendors' reference by hand, and
nothing but the vendor can hold a source to them: the credential is refused where they are too few.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from collector import examples
from collector.api import Check
from collector.connect.kubernetes import permission
from collector.connect.sql import named
from collector.examples import Example
from collector.judge import Bench, answer
from collector.model import GAP_KEY, Record, Refused, Table, Traced, record
from tests import sample
from tests.fault_injections import OURS
from tests.fault_worlds import KINDS, LIBRARY, Estate, rows_of, small_pages, world_of
from tests.http_world import SPECS

HERE = Path(__file__).parent
EXAMPLES = list(examples.load(HERE / "checks", LIBRARY.checks))
Path_ = tuple[str, ...]


@functools.cache
def _rows(dataset: str) -> tuple[dict[str, Any], ...]:
    """What the source of a dataset made of what was recorded."""
    return tuple(row for task, shard in _estate().shards.items() if task.dataset == dataset for row in rows_of(shard))


@functools.cache
def _estate() -> Estate:
    import tempfile

    with small_pages():
        return Estate([world_of(kind) for kind in KINDS], Path(tempfile.mkdtemp()), [])


class Watched(Record):
    """A record that notes which fields are read, however deep."""

    __slots__ = ("path", "told")

    def __init__(self, row: Mapping[str, Any], path: Path_, told: set[Path_]) -> None:
        super().__init__({name: _watched(value, (*path, name), told) for name, value in dict(row).items()})
        self.path = path
        self.told = told

    def __getitem__(self, name: str) -> Any:
        self.told.add((*self.path, name))
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.told.add((*self.path, name))
        return super().get(name, default)


def _watched(value: Any, path: Path_, told: set[Path_]) -> Any:
    if isinstance(value, Refused):
        return value
    if isinstance(value, Mapping):
        return Watched(value, path, told)
    return [_watched(item, path, told) for item in value] if isinstance(value, list) else value


def _read_by(check: Check, example: Example) -> set[Path_]:
    """The fields a check reads while an example runs: dataset, then the names on the way."""
    told: set[Path_] = set()
    bench = Bench(example.as_of, {check.id: example.params})

    def rows(dataset: str, given: list[Any]) -> list[Record]:
        return [Watched(record(row), (dataset,), told) for row in given]

    def note(dataset: str) -> Any:
        def at(number: int | None, row: Traced | None) -> None:
            noted.append((dataset, row))

        return at

    noted: list[tuple[str, Traced | None]] = []
    names, given = check.datasets, example.rows
    if check.each:
        tables = [Table(rows(name, held), note=note(name)) for name, held in zip(names[1:], given[1:], strict=True)]
        asked: tuple[Any, ...] = (rows(names[0], [given[0]])[0], *tables)
    else:
        asked = tuple(iter(rows(name, held)) for name, held in zip(names, given, strict=True))
    answer(check, asked, bench, example.scope)
    return told | {(dataset, name) for dataset, row in noted if row is not None for name in row.touched}


DESCRIBED = {
    "okta": "okta", "entra": "graph", "google-workspace": "google-workspace", "github": "github",
    "keycloak": "keycloak", "kubernetes": "kubernetes",
}  # fmt: skip
"""Kinds whose vendor describes the API, and the word the description is named by."""

REFERENCE = {
    ("gitlab.audit-events", "details", "event_name"): "Audit events API: left out of events before version 16",
    ("host.sudoers", "Binding"): "cvtsudoers(1): what the Defaults are for, left out where for all",
    ("host.sudoers", "Cmnd_Specs", "Options"): "cvtsudoers(1): left out where there are none",
    ("host.sudoers", "Options", "authenticate"): "sudoers(5)",
    ("kubernetes.network-policies", "spec", "egress", "from"): "a rule for the other direction has it",
    ("kubernetes.network-policies", "spec", "ingress", "to"): "a rule for the other direction has it",
    ("kubernetes.velero-schedules", "spec", "template", "labelSelector"): "Velero, BackupSpec",
    ("kubernetes.pod-disruption-budgets", "spec", "selector", "matchExpressions"): "LabelSelector",
}  # fmt: skip
"""Fields that a check reads, that no recorded row has and no description at hand: where they are told of."""


def _known(path: Path_) -> bool:
    """Whether a field stands in some row, in the vendor's description, or in the reference that is named for it."""
    if any(path[: len(told)] == told for told in REFERENCE):
        return True
    dataset, *names = path
    held: list[Any] = list(_rows(dataset))
    for depth, name in enumerate(names):
        objects = [one for one in _flat(held) if isinstance(one, Mapping)]
        held = [one[name] for one in objects if name in one]
        if not held:
            return _described(dataset, names, depth) or not objects
    return True


def _described(dataset: str, names: list[str], seen: int) -> bool:
    """Whether a reply to what is asked for the dataset has the field; its first ``seen`` names may be ours."""
    schemas = _schemas(DESCRIBED.get(dataset.partition(".")[0], ""))
    if schemas is None:
        return False
    estate = _estate()
    for line in (line for task in estate.shards if task.dataset == dataset for line in estate.lines(task)):
        template = line["op"].partition(":GET ")[2].removeprefix("/v1.0").replace("{roleName}", "{role-name}")
        try:
            body = schemas.body(template)
        except KeyError:
            continue
        if any(_walks(schemas, part, names[first:]) for first in range(seen + 1) for part in _items(schemas, body)):
            return True
    return False


def _items(schemas: Schemas, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema of a reply, and those of the records in it."""
    yield schema
    for part in (*schemas.properties(schema).values(), schema):
        part = schemas.resolved(part)
        if part.get("type") == "array":
            yield part["items"]


def _walks(schemas: Schemas, schema: Mapping[str, Any], names: list[str], *, kinds: bool = True) -> bool:
    """Whether the names lead somewhere; ``kinds``: also in what a discriminator says it may be."""
    schema = schemas.resolved(schema)
    if not names:
        return True
    if schema.get("type") == "array":
        return _walks(schemas, schema["items"], names)
    choices = [*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("allOf", ())]
    if any(_walks(schemas, one, names, kinds=kinds) for one in choices):
        return True
    mapped = schema.get("discriminator", {}).get("mapping", {}).values() if kinds else ()
    if any(_walks(schemas, {"$ref": one}, names, kinds=False) for one in mapped):
        return True
    found = schemas.properties(schema).get(names[0])
    if found is not None:
        return _walks(schemas, found, names[1:])
    more = schema.get("additionalProperties", not schema.get("properties") and schema.get("type") == "object")
    return _walks(schemas, more, names[1:]) if isinstance(more, Mapping) else bool(more)


class Schemas(sample.Schemas):
    """With the one step that walking needs."""

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema itself, where it is named by another."""
        return self._resolved(schema)


@functools.cache
def _schemas(name: str) -> Schemas | None:
    file = SPECS / f"{name}-collector.openapi.json"
    if not name or not file.is_file():
        return None
    document = json.loads(file.read_text("utf8"))
    if name == "github":
        beyond = json.loads((HERE / "checks" / "github" / "beyond.json").read_text("utf8"))
        document["paths"] |= beyond["paths"]
        document["components"]["schemas"] |= beyond["schemas"]
    return Schemas(document)


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


@pytest.mark.parametrize("kind", [*KINDS, "joins"])
def test_p8_every_field_a_check_reads_is_one_its_source_yields(kind: str) -> None:
    problems: dict[Path_, set[str]] = defaultdict(set)
    read = 0
    for example in EXAMPLES:
        if not example.check.startswith(f"{kind}."):
            continue
        check = LIBRARY.checks[example.check]
        for path in _read_by(check, example):
            if path[0].startswith("aws."):
                continue
            read += 1
            if not _known(path):
                problems[path].add(check.id)
    if problems and not SPECS.is_dir():
        pytest.skip(f"{SPECS} is absent: {len(problems)} fields were not looked up in the vendor's description")
    told = [f"{'/'.join(path)}: {', '.join(sorted(checks))}" for path, checks in sorted(problems.items())]
    assert not told, "\n".join(told)
    assert read


def test_p8_a_field_that_was_invented_is_noticed() -> None:
    assert _known(("okta.users", "profile", "login"))
    assert _known(("okta.users", "profile", "costCenter")), "a profile has what the customer gave it"
    assert not _known(("okta.users", "nobody"))
    assert not _known(("gitlab.members", "acces_level"))
    if SPECS.is_dir():
        assert _known(("kubernetes.pods", "spec", "containers", "securityContext", "windowsOptions", "hostProcess"))
        assert not _known(("kubernetes.pods", "spec", "containers", "securityContext", "privilegd"))


def test_a_watched_record_tells_what_is_read_of_it() -> None:
    told: set[Path_] = set()
    row = Watched(record({"a": {"b": [{"c": 1}]}, "x": {GAP_KEY: {"kind": "denied", "reason": "no"}}}), ("d",), told)
    assert row["a"]["b"][0].get("c") == 1
    assert told == {("d", "a"), ("d", "a", "b"), ("d", "a", "b", "c")}


# -------------------------------------------------------------------------------------------------- what may be asked


def test_the_scopes_of_okta_are_those_of_the_description() -> None:
    """Each operation names the scope it needs; a source declares those of what it asks for, and no other."""
    file = SPECS / "okta-collector.openapi.json"
    if not file.is_file():
        pytest.skip(f"{file} is absent: scopes were not compared")
    paths = json.loads(file.read_text("utf8"))["paths"]
    for task, lines in world_of("okta").lines.items():
        asked = {line["op"].removeprefix("okta:GET ") for line in lines if line["op"] not in OURS}
        needed = {
            scope for path in asked for item in paths[path]["get"]["security"] for scope in item.get("oauth2", ())
        }
        assert set(LIBRARY.sources[task.dataset].permissions) == needed, task.dataset


def _needed(kind: str, line: Mapping[str, Any]) -> set[str]:
    """The rights that a recorded request needs, where its operation tells."""
    operation, params = line["op"], line["params"]
    if kind == "kubernetes":
        path = operation.partition(":GET ")[2]
        return {permission(path.format(**{name: str(value) for name, value in params.items()}))}
    if kind in ("postgresql", "mariadb"):
        return named(kind, params["sql"])[1]
    if kind in ("ldap", "active-directory"):
        return {f"read {name.partition(';')[0]}" for name in params.get("attributes", ()) if name != "1.1"}
    if kind == "register":
        return {f"read {params['path']}"} if operation != "register:list" else {"read documents/x.md"}
    if kind == "host":
        return {f"{operation} {params['path'] if 'path' in params else ' '.join(params['argv'])}"}
    return {operation}


HELD = ("kubernetes", "postgresql", "mariadb", "ldap", "active-directory", "register", "tls")
"""Kinds whose connection holds a source to what it declares."""


@pytest.mark.parametrize("kind", [*HELD, "host"])
def test_a_source_asks_for_what_it_declares_and_for_nothing_else(kind: str) -> None:
    for task, lines in world_of(kind).lines.items():
        declared = LIBRARY.sources[task.dataset].permissions
        needed = {need for line in lines if line["op"] != "collector:clock" for need in _needed(kind, line)}
        undeclared = {need for need in needed if not any(fnmatchcase(need, item) for item in declared)}
        assert undeclared == set(), task.dataset


@pytest.mark.parametrize("kind", HELD)
def test_a_source_that_does_not_declare_what_it_asks_is_not_answered(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One right after the other is taken away: nothing is asked that needs it, and the dataset says why."""
    world, held = world_of(kind), 0
    with small_pages():
        estate = Estate([world], tmp_path, [])
        for task, lines in world.lines.items():
            source = LIBRARY.sources[task.dataset]
            needed = {need for line in lines if line["op"] != "collector:clock" for need in _needed(kind, line)}
            for right in source.permissions:
                if not any(fnmatchcase(need, right) for need in needed):
                    continue  # a role, or what only some servers are asked for
                fewer = replace(source, permissions=tuple(one for one in source.permissions if one != right))
                mine = [need for need in needed if fnmatchcase(need, right)]
                if any(fnmatchcase(need, item) for item in fewer.permissions for need in mine):
                    continue  # another declaration covers it
                monkeypatch.setitem(LIBRARY.sources, task.dataset, fewer)
                shard = estate.read(task, lines)
                gaps = [gap for gap in (shard.population.gap, *shard.population.partial) if gap]
                assert "undeclared" in {str(gap.kind) for gap in gaps}, (task.dataset, right)
                held += 1
            monkeypatch.setitem(LIBRARY.sources, task.dataset, source)
    assert held

