"""What a run will ask, settled and written down before the first request."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

import collector
from collector.api import Check
from collector.config import (
    AwsConnection,
    Collection,
    Config,
    Connection,
    HostConnection,
    HttpConnection,
    KubernetesConnection,
    LdapConnection,
    RegisterConnection,
    SqlConnection,
    TlsConnection,
)
from collector.errors import ConfigError, RerunError
from collector.judge import Parameters
from collector.model import Task, instant, stamp
from collector.plugins import Library
from collector.settings import settings

SCHEMA = "affidavit.plan/1"

NOT_INSTALLED = "rerun with the version that sealed it, or with --sealed-code if you trust the run"

IDENTITY = {
    "aws": "aws.sts.caller-identity", "github": "github.caller", "gitlab": "gitlab.caller", "okta": "okta.caller",
    "jira": "jira.caller", "ldap": "ldap.caller", "active-directory": "active-directory.caller",
    "postgresql": "postgresql.caller", "mariadb": "mariadb.caller",
}  # fmt: skip
"""Dataset that tells with which identity a connection asks; it is read before everything else there.

Its one record says so under ``Arn``, or under ``Caller``, which is empty where the credential belongs to nobody.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What a connection is, without anything secret: enough to replay what it recorded."""

    name: str
    kind: str
    home: str = ""
    """Region asked for what is not regional; of a directory, the entry under which everything is read."""
    endpoints: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    """Accounts declared; empty for the credentials' own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks of a run, the checks that will judge them, and their limits."""

    organisation: str
    as_of: datetime
    places: tuple[Place, ...]
    tasks: tuple[Task, ...]
    """Identity tasks first, then by scope and dataset."""
    checks: tuple[Check, ...]
    parameters: Parameters
    limits: Mapping[str, Any]
    """Bounds of the collection: attempts, pages and bytes; a replay needs the same."""
    document: Mapping[str, Any]
    """What is sealed as ``plan.json``."""

    @property
    def raw(self) -> bytes:
        """The exact bytes of ``plan.json``."""
        return orjson.dumps(self.document, option=orjson.OPT_INDENT_2)

    def place(self, name: str) -> Place:
        """The connection of that name."""
        return next(place for place in self.places if place.name == name)


def make(
    config: Config,
    library: Library,
    as_of: datetime,
    *,
    wanted: Callable[[Check], bool] = lambda check: True,
    connections: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    selection: str = "",
) -> Plan:
    """The plan for the checks that are wanted, over the connections named (all, when none is).

    Only datasets that a wanted check asks for are planned, and checks that hold those against another source: a verdict
    is the same whether all was asked for or a part. ``files`` are the mappings, catalogues and schemas used;
    ``selection`` says in words what was asked for when it was less than everything.

    Raises:
        ConfigError: nothing would be asked.
    """
    chosen = [connection for connection in config.connections if not connections or connection.name in connections]
    disabled = {item.id: item for item in config.checks.disabled}
    kinds = {connection.kind for connection in chosen}
    possible = [
        check
        for check in sorted(library.checks.values(), key=lambda check: check.id)
        if check.id not in disabled and not check.retired
    ]
    able = [check for check in possible if _kinds(check, library) <= kinds]
    checks = _with_witnesses([check for check in able if wanted(check)], able)
    if not checks:
        raise ConfigError(
            "no check is left to run", "name other checks or connections; affidavit list checks shows what there is"
        )
    datasets = {dataset for check in checks for dataset in check.datasets}
    tasks = tuple(task for connection in chosen for task in _tasks(connection, datasets, library))
    places = tuple(_place(connection) for connection in chosen)
    as_of = instant(stamp(as_of))
    used = {task.dataset for task in tasks}
    declared = _declared(checks, chosen)
    parameters = _parameters(declared, config)
    limits = _plain(config.collection)
    document = {
        "schema": SCHEMA,
        "organisation": config.organisation,
        "asOf": stamp(as_of),
        "collector": {"name": "affidavit", "version": collector.__version__, "sha256": _own_code()},
        "config": {"sha256": config.sha256},
        "selection": selection,
        "limits": limits,
        "places": [_plain(place) for place in places],
        "tasks": [{"id": task.id, **_plain(task)} for task in tasks],
        "checks": [
            {
                "id": check.id,
                "title": check.title,
                "severity": check.severity,
                "datasets": list(check.datasets),
                "each": check.each,
                "module": check.module,
                "description": check.description,
                "params": {**check.params, **parameters.get(check.id, {})},
                "defaults": {**check.params, **declared.get(check.id, {})},
            }
            for check in checks
        ],
        "disabled": [{"id": item.id, "reason": item.reason, "by": item.by} for item in disabled.values()],
        "sources": [
            {
                "id": source.id,
                "definition": source.definition,
                "filters": source.filters,
                "permissions": list(source.permissions),
                "key": source.key,
                "per": source.per,
                "kind": source.kind,
                "fresh": source.fresh,
                "maxAgeH": source.max_age_h,
                "windowDays": source.window_days,
                "module": source.module,
                "redactions": [
                    {"operation": item.operation, "path": item.json or item.regex, "reason": item.reason}
                    for item in source.redactions
                ],
            }
            for source in sorted(library.sources.values(), key=lambda source: source.id)
            if source.id in used
        ],
        "code": _digests(library.code),
        "examples": _digests(library.examples),
        "files": _digests(files or {}),
        "settings": settings(config),
        "whole": _whole(config, library, possible),
    }
    plain = orjson.loads(orjson.dumps(document, default=list))  # as whoever reads it back compares it
    return Plan(config.organisation, as_of, places, tasks, checks, parameters, limits, plain)


def _whole(config: Config, library: Library, possible: Sequence[Check]) -> dict[str, Any]:
    """What the configuration asks when nothing is left out, in brief: a run over a part is measured by the same."""
    kinds = {connection.kind for connection in config.connections}
    checks = [check for check in possible if _kinds(check, library) <= kinds]
    parameters = _parameters(_declared(checks, config.connections), config)
    datasets = {dataset for check in checks for dataset in check.datasets}
    tasks = [task for connection in config.connections for task in _tasks(connection, datasets, library)]
    used = sorted({task.dataset for task in tasks})
    return {
        "checks": {check.id: {**check.params, **parameters.get(check.id, {})} for check in checks},
        "scopes": list(dict.fromkeys(task.scope for task in tasks)),
        "redactions": [
            f"{name} {item.json or item.regex}" for name in used for item in library.sources[name].redactions
        ],
    }


def _kinds(check: Check, library: Library) -> set[str]:
    """Kinds of connection that a check reads."""
    return {library.sources[dataset].connection for dataset in check.datasets}


def _parameters(declared: Mapping[str, Mapping[str, Any]], config: Config) -> dict[str, dict[str, Any]]:
    """Limits that are not those a check is shipped with: what is read, and what the configuration says."""
    return {
        id: {**declared.get(id, {}), **config.checks.parameters.get(id, {})}
        for id in sorted({*declared, *config.checks.parameters})  # noqa: A001
    }


def _with_witnesses(wanted: Sequence[Check], able: Sequence[Check]) -> tuple[Check, ...]:
    """The checks wanted, and every one that can tell a list of theirs, or of such a one, to be short."""
    found = {check.id for check in wanted}
    datasets = {dataset for check in wanted for dataset in check.datasets}
    while more := [check for check in able if check.id not in found and datasets.intersection(check.reconciles)]:
        found |= {check.id for check in more}
        datasets |= {dataset for check in more for dataset in check.datasets}
    return tuple(check for check in able if check.id in found)


def read(document: Mapping[str, Any], library: Library) -> Plan:
    """The plan of a sealed run, to be re-performed with the checks of ``library``.

    Raises:
        RerunError: it names a check or a source that the library does not hold.
    """
    checks: list[Check] = []
    parameters: dict[str, dict[str, Any]] = {}
    for item in document["checks"]:
        check = library.checks.get(item["id"]) or _aliased(item["id"], library.checks.values())
        if check is None:
            raise RerunError(f"the run used the check {item['id']}, which is not installed", NOT_INSTALLED)
        checks.append(replace(check, id=item["id"]))
        parameters[item["id"]] = {name: _frozen(value) for name, value in item["params"].items()}
    tasks = tuple(
        Task(item["dataset"], item["connection"], item["account"], item["region"]) for item in document["tasks"]
    )
    for task in tasks:
        if task.dataset not in library.sources:
            raise RerunError(f"the run read {task.dataset}, which no installed source gives", NOT_INSTALLED)
    places = tuple(
        Place(item["name"], item["kind"], item["home"], tuple(item["endpoints"]), tuple(item["accounts"]))
        for item in document["places"]
    )
    return Plan(
        document["organisation"],
        instant(document["asOf"]),
        places,
        tasks,
        tuple(checks),
        parameters,
        document["limits"],
        document,
    )


def _declared(checks: Iterable[Check], connections: Sequence[Connection]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Limits that are what the plan reads, by check: the accounts named, and the regions that every one is read in.

    An account that is read under the credentials' own name only is known when it answers, so it is not among them. A
    cluster goes by the name of its connection.
    """
    clouds = [connection for connection in connections if isinstance(connection, AwsConnection)]
    regions = set.intersection(*(set(cloud.regions) for cloud in clouds)) if clouds else set()
    known = {
        "collected_accounts": tuple(sorted({account.id for cloud in clouds for account in cloud.accounts})),
        "collected_regions": tuple(sorted(regions)),
        "collected_organisations": _named(connections, "github"),
        "collected_groups": _named(connections, "gitlab"),
        "collected_clusters": tuple(sorted(one.name for one in connections if one.kind == "kubernetes")),
        "collected_kinds": tuple(sorted({one.kind for one in connections})),
    }
    return {
        check.id: filled
        for check in checks
        if (filled := {name: known[name] for name, default in check.params.items() if name in known and not default})
    }


def _named(connections: Iterable[Connection], kind: str) -> tuple[str, ...]:
    """The accounts that connections of a kind read."""
    return tuple(sorted({name for one in connections if one.kind == kind for name in _accounts(one)}))


def _aliased(id: str, checks: Iterable[Check]) -> Check | None:  # noqa: A002
    return next((check for check in checks if id in check.aliases), None)


def _tasks(connection: Connection, datasets: set[str], library: Library) -> list[Task]:
    tasks: list[Task] = []
    identity = IDENTITY.get(connection.kind)
    wanted = sorted(dataset for dataset in datasets if library.sources[dataset].connection == connection.kind)
    if identity and wanted:
        wanted = [identity, *(dataset for dataset in wanted if dataset != identity)]
    for account in _accounts(connection) or ("",):
        for dataset in wanted:
            if account and library.sources[dataset].per == "connection":
                continue
            regional = isinstance(connection, AwsConnection) and library.sources[dataset].per == "region"
            regions = connection.regions if isinstance(connection, AwsConnection) and regional else ("",)
            tasks += [Task(dataset, connection.name, account, region) for region in regions]
    if _accounts(connection):
        own = [dataset for dataset in wanted if library.sources[dataset].per == "connection"]
        tasks += [Task(dataset, connection.name) for dataset in own]
    return tasks


def _accounts(connection: Connection) -> tuple[str, ...]:
    """What the connection is read once for each of; empty where it has only its own."""
    if isinstance(connection, AwsConnection):
        return tuple(account.id for account in connection.accounts)
    return connection.accounts if isinstance(connection, HttpConnection) else ()


def _place(connection: Connection) -> Place:
    match connection:
        case AwsConnection():
            return Place(
                connection.name,
                "aws",
                connection.regions[0],
                accounts=tuple(account.id for account in connection.accounts),
            )
        case HostConnection():
            return Place(connection.name, "host")
        case RegisterConnection():
            return Place(connection.name, "register")
        case LdapConnection():
            return Place(connection.name, connection.kind, connection.base, endpoints=(connection.url,))
        case TlsConnection():
            return Place(connection.name, "tls", endpoints=tuple(str(endpoint) for endpoint in connection.endpoints))
        case KubernetesConnection():
            return Place(connection.name, "kubernetes")
        case HttpConnection():
            urls = (connection.base_url,)
            return Place(connection.name, connection.kind, endpoints=urls, accounts=connection.accounts)
        case SqlConnection():
            return Place(connection.name, connection.kind, endpoints=(str(connection.host),))


def _plain(item: Place | Task | Collection) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


@functools.cache
def _own_code() -> str:
    """SHA-256 in hex of what ``sha256sum`` prints of the files of this package, in the order of their names."""
    root = Path(collector.__file__).parent
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    names = sorted(name for name in files if "__pycache__" not in name)
    lines = [f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digests(files: Mapping[str, bytes]) -> list[dict[str, str]]:
    return [{"file": name, "sha256": hashlib.sha256(files[name]).hexdigest()} for name in sorted(files)]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
