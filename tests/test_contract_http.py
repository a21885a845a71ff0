"""What sources and checks speak of is what the systems have, over every kind but AWS (see ``test_contract.py``).

The rows are those that sources made of recorded replies. Each kind's own tests hold the same replies of its world
against the vendor's description, where there is one; so a field that stands in a row stands in the description, and
one that a check reads and no row has was invented.

What a source may ask for is held at run time, of every kind, by what a request needs (``collector.connect.rights``): an
action of AWS, a verb and a resource, a table, an attribute, a file, a program, or what a vendor's reference says of a
path. Of those references only Okta's description can be compared with our table here; the other tables were taken from
the vendors' pages by hand, and only the vendor can say that a right is too little: the credential is refused.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector import examples
from collector.api import Check
from collector.connect import rights
from collector.examples import Example
from collector.judge import Bench, answer
from collector.model import GAP_KEY, Record, Refused, Table, Traced, record
from tests import sample
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


def test_the_table_of_okta_is_that_of_the_description() -> None:
    """Each operation names the scope it needs; the table has the same, and no path beyond."""
    file = SPECS / "okta-collector.openapi.json"
    if not file.is_file():
        pytest.skip(f"{file} is absent: scopes were not compared")
    paths = json.loads(file.read_text("utf8"))["paths"]
    for path, row in rights.table("okta").items():
        described = [set(item["oauth2"]) for item in paths[path]["get"]["security"] if "oauth2" in item]
        assert described == [set(row.rights)], path
        assert not row.also


TABLES = sorted(file.stem for file in Path(rights.__file__).parent.glob("*.yaml"))

NOT_NEEDED = {
    ("active-directory.password-settings", "read the Password Settings Container and what is in it"): "a container",
    ("host.logging", "host:read /etc/systemd/journald.conf.d/*"): "a machine without such files",
    ("host.logging", "host:read /run/systemd/journald.conf.d/*"): "a machine without such files",
    ("host.sshd", "host:list /etc/crypto-policies/back-ends"): "where the configuration includes it (Red Hat)",
    ("host.sshd", "host:list /etc/ssh"): "where the configuration includes a file beside it",
    ("host.sshd", "host:read /etc/crypto-policies/back-ends/opensshserver.config"): "where it is included (Red Hat)",
    ("host.time", "host:run ntpq -c rv"): "asked where chronyd does not answer",
    ("host.time", "host:run timedatectl show"): "asked where nothing else answers",
    ("host.time", "host:run timedatectl timesync-status"): "asked where chronyd and ntpd do not answer",
    ("host.updates", "host:list /var/cache/dnf"): "a machine with apt",
    ("host.updates", "host:read /var/cache/dnf/*/repodata/repomd.xml"): "a machine with apt",
    ("host.updates", "host:run dnf --quiet --cacheonly --setopt=logfilelevel=0 updateinfo list --security"):
        "a machine with apt",
    ("keycloak.issuers", "view-realm"): "any role of realm-management shows the realms, and one is needed",
    ("mariadb.tablespaces", "PROCESS"): "a privilege of the account, which no statement names",
    ("postgresql.hba-rules", "EXECUTE ON pg_hba_file_rules()"): "a function behind the view that is asked",
    ("postgresql.sessions", "pg_read_all_stats"): "a role, which no statement names",
    ("postgresql.settings", "pg_read_all_settings"): "a role, which no statement names",
}  # fmt: skip
"""Declared rights that no recorded request needs, and why they are declared all the same."""


def _needed(kind: str, lines: Iterable[Mapping[str, Any]]) -> set[str]:
    """The rights that recorded requests need."""
    return {need for line in lines for need in rights.needed(kind, line["op"], line["params"])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_asks_for_what_it_declares_and_declares_what_it_asks_for(kind: str) -> None:
    """A right that nothing needs is too much, and stands in a list with the reason."""
    for task, lines in world_of(kind).lines.items():
        declared, needed = LIBRARY.sources[task.dataset].permissions, _needed(kind, lines)
        assert {need for need in needed if not rights.covers(kind, declared, need)} == set(), task.dataset
        idle = {item for item in declared if not any(rights.covers(kind, (item,), need) for need in needed)}
        assert idle == {item for dataset, item in NOT_NEEDED if dataset == task.dataset}, task.dataset


def test_what_no_request_can_show_is_among_what_none_needs() -> None:
    hidden = {
        (source.id, right)
        for source in LIBRARY.sources.values()
        for right in source.permissions
        if not rights.shown(source.connection, right)
    }
    assert hidden == {
        (dataset, right)
        for dataset, right in NOT_NEEDED
        if dataset.startswith(("active-directory.", "mariadb.", "postgresql."))
    }


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_has_no_path_that_nobody_asks_for(kind: str) -> None:
    asked = {line["op"].partition(":GET ")[2] for lines in world_of(kind).lines.values() for line in lines}
    assert set(rights.table(kind)) == asked - {""}
    spelt = {right for source in LIBRARY.sources.values() if source.connection == kind for right in source.permissions}
    for row in rights.table(kind).values():
        assert {*row.rights, *(right for _, _, more in row.also for right in more)} <= spelt


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_does_not_declare_what_it_asks_is_not_answered(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One right after the other is taken away: nothing is asked that needs it, and the dataset says why."""
    world, held = world_of(kind), 0
    with small_pages():
        estate = Estate([world], tmp_path, [])
        for task, lines in world.lines.items():
            source, needed = LIBRARY.sources[task.dataset], _needed(kind, lines)
            for right in source.permissions:
                fewer = replace(source, permissions=tuple(one for one in source.permissions if one != right))
                mine = [need for need in needed if rights.covers(kind, (right,), need)]
                if not mine or any(rights.covers(kind, fewer.permissions, need) for need in mine):
                    continue  # nothing needs it here, or another declaration covers it
                monkeypatch.setitem(LIBRARY.sources, task.dataset, fewer)
                shard = estate.read(task, lines)
                gaps = [gap for gap in (shard.population.gap, *shard.population.partial) if gap]
                assert "undeclared" in {str(gap.kind) for gap in gaps}, (task.dataset, right)
                asked = [line for line in lines if line["i"] in shard.population.replies]
                assert not set(mine) & _needed(kind, asked), (task.dataset, right)
                held += 1
            monkeypatch.setitem(LIBRARY.sources, task.dataset, source)
    assert held
