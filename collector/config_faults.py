"""What is wrong with a configuration: each fault with its key, in plain words, and the next step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from collector.address import Address, is_loopback
from collector.cron import Cron, shortest_interval
from collector.yamlpos import Keys

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


HTTP_KINDS = ("okta", "github", "gitlab", "entra", "keycloak", "jira", "http")
"""Kinds of connection that are REST APIs; ``http`` is any other, with a provider of its own."""

SQL_PORTS = {"postgresql": 5432, "mariadb": 3306}
"""Kinds of connection that are database servers, each with its usual port."""

ACCOUNT_KINDS = {"github": "the organisations", "gitlab": "the top-level groups"}
"""Kinds whose credential may see more than what is to be read, and what is named for each."""

LDAP_KINDS = ("ldap", "active-directory")
"""Kinds of connection that are directories."""


class Fault(NamedTuple):
    """A fault of one entry."""

    keys: Keys
    what: str
    next_step: str


class CheckFacts(Protocol):
    """What is needed of a check to judge its parameters."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Its parameters with their defaults."""


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration."""
    text = files("collector").joinpath("config.schema.json").read_text("utf-8")
    return dict(json.loads(text))


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def schema_faults(data: Any) -> Iterator[Fault]:
    """What the schema refuses. A missing key is told only where no unknown one may be its misspelling."""
    errors = list(_validator().iter_errors(data))
    misspelt = {tuple(error.absolute_path) for error in errors if error.validator == "additionalProperties"}
    for error in errors:
        if error.validator != "required" or tuple(error.absolute_path) not in misspelt:
            yield _explained(error)


_TYPES = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "a mapping",
}  # fmt: skip


def _explained(error: Any) -> Fault:
    """A fault in the words of this program. A value that may be a secret is never repeated."""
    keys: Keys = tuple(error.absolute_path)
    notes = _notes(error)
    value, rule = error.instance, error.validator_value
    example = notes["examples"][0] if "examples" in notes else None
    hint = f"write for example {_spelt(keys, example)}" if example is not None else "see docs/configuration.md"
    if notes.get("secret"):
        what = "a literal value stands where a reference to a secret is needed"
        if isinstance(value, str) and value.startswith(("env:", "file:")):
            what = "not a well-formed reference to a secret"
        return Fault(keys, what, f"{hint}; if it was the secret itself, replace the secret")
    if "propertyNames" in error.absolute_schema_path:
        return Fault((*keys, str(value)), "not the id of a check", "use an id from affidavit list checks")
    match error.validator:
        case "additionalProperties":
            known = list(error.schema["properties"])
            unknown = next(key for key in value if key not in known)
            return Fault((*keys, unknown), "unknown key", _nearest(unknown, known, "key"))
        case "required" | "dependentRequired":
            wanted = rule if error.validator == "required" else [n for k in rule if k in value for n in rule[k]]
            missing = next(name for name in wanted if name not in value)
            example = error.schema["properties"][missing].get("examples", [None])[0]
            example = _spelt((missing,), example) if example is not None else f"{missing}:"
            return Fault(keys, f"{missing} is missing", f"add it, for example {example}")
        case "type":
            wanted = _TYPES[rule] if isinstance(rule, str) else "a single value or a list"
            if rule == "string" and isinstance(value, int | float):
                hint = "put the value in quotes"
            return Fault(keys, f"{_kind(value)} stands where {wanted} is needed", hint)
        case "enum" | "const":
            known = [str(item) for item in (rule if error.validator == "enum" else [rule])]
            return Fault(keys, f"{_shown(value)} is not known here", _nearest(str(value), known, "value"))
        case "pattern":
            return Fault(keys, f"{_shown(value)} has the wrong form", hint)
        case "minimum" | "maximum":
            low, high = error.schema["minimum"], error.schema["maximum"]
            return Fault(keys, f"{_shown(value)} is out of range", f"use a value from {low} to {high}")
        case "minLength" | "minItems" | "minProperties":
            return Fault(keys, "empty, or too short", hint)
        case "maxLength":
            return Fault(keys, f"longer than {rule} characters", "shorten it")
        case "uniqueItems":
            twice = next(i for i, item in enumerate(value) if item in value[:i])
            return Fault((*keys, twice), f"{_shown(value[twice])} stands here a second time", "keep one of the two")
    raise NotImplementedError(f"no words for {error.validator} at {error.json_path}")


def _notes(error: Any) -> dict[str, Any]:
    """Examples nearest to a refused value in the schema, and whether it is a secret."""
    node: Any = schema()
    found: dict[str, Any] = {}
    for step in error.absolute_schema_path:
        if isinstance(node, dict) and step not in node:  # jsonschema leaves "$ref" out of the path
            name = node["$ref"].rpartition("/")[2]
            node = schema()["$defs"][name]
            found["secret"] = name == "secret"
        node = node[step]
        if isinstance(node, dict) and "examples" in node:
            found = {"examples": node["examples"]}
    return found


def _spelt(keys: Keys, example: Any) -> str:
    """An entry as YAML spells it on one line."""
    text = json.dumps(example, ensure_ascii=False)
    if isinstance(example, str) and not example.isdecimal():
        text = example
    elif isinstance(example, dict | list):
        text = re.sub(r'"([A-Za-z][^"]*)"', r"\1", text)
    return f"{keys[-1]}: {text}" if keys and isinstance(keys[-1], str) else text


def _nearest(word: str, known: list[str], noun: str) -> str:
    close = get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"use the {noun} {known[0]}" if len(known) == 1 else f"use a known {noun}: {', '.join(sorted(known))}"


def _kind(value: Any) -> str:
    kinds = {type(None): "nothing", bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return kinds.get(type(value), "a list" if isinstance(value, list | tuple) else "a mapping")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return _kind(value)
    text = str(value)
    return f"'{text[:60]}...'" if len(text) > 60 else f"'{text}'"


def meaning_faults(data: dict[str, Any], path: Path) -> Iterator[Fault]:
    """What the schema cannot know: names that do not meet, and values that make no sense together."""
    yield from _text_faults((), data)
    yield from _repeated(("connections",), data["connections"], "name", "connection")
    for index, connection in enumerate(data["connections"]):
        keys: Keys = ("connections", index)
        if connection["kind"] == "aws":
            yield from _aws_faults(keys, connection)
        if connection["kind"] == "google-workspace" and "base_url" in connection:
            yield from _api_faults((*keys, "base_url"), connection["base_url"])
        if connection["kind"] == "kubernetes":
            yield from _kubernetes_faults(keys, connection)
        if connection["kind"] in HTTP_KINDS:
            yield from _http_faults(keys, connection)
        if connection["kind"] in LDAP_KINDS:
            yield from _ldap_faults(keys, connection)
        if connection["kind"] in SQL_PORTS:
            yield from _sql_faults(keys, connection)
        for number, endpoint in enumerate(connection.get("endpoints", ())):
            yield from _address_faults((*keys, "endpoints", number), endpoint, "www.example.org:443")
    for index, authority in enumerate(data.get("timestamps", {}).get("authorities", ())):
        yield from url_faults(("timestamps", "authorities", index, "url"), authority["url"])
    for index, authority in enumerate(data.get("timestamps", {}).get("authorities", ())):
        if "crl" in authority:
            yield from url_faults(("timestamps", "authorities", index, "crl"), authority["crl"])
    yield from _anchor_faults(data.get("anchors", {}))
    yield from _repeated(("checks", "disabled"), data.get("checks", {}).get("disabled", []), "id", "check")
    yield from _key_faults(data["key"])
    for index, field in enumerate(data.get("privacy", {}).get("fields", ())):
        yield from _privacy_faults(("privacy", "fields", index), field)
    yield from _store_faults(data, path)
    if "daemon" in data:
        yield from _daemon_faults(data["daemon"], [connection["name"] for connection in data["connections"]])


def _anchor_faults(anchors: dict[str, Any]) -> Iterator[Fault]:
    """Witnesses whose key cannot be one, and copies that go nowhere, or to two places."""
    yield from _repeated(("anchors", "witnesses"), anchors.get("witnesses", []), "key", "witness")
    for index, witness in enumerate(anchors.get("witnesses", ())):
        from evidence_store.cosignature import Witness  # only where a witness is named
        from evidence_store.errors import UsageError

        keys: Keys = ("anchors", "witnesses", index)
        yield from url_faults((*keys, "url"), witness["url"])
        try:
            Witness.parse(witness["key"])
        except UsageError as error:
            yield Fault((*keys, "key"), "not the key of a witness", error.next_step)
    for index, copy in enumerate(anchors.get("copies", ())):
        keys = ("anchors", "copies", index)
        kinds = [kind for kind in _COPY_OPTIONS if kind in copy]
        if len(kinds) != 1:
            yield Fault(keys, "names not exactly one place", "give one of folder, git and s3, and an entry to each")
            continue
        for option in copy.keys() - {kinds[0]} - _COPY_OPTIONS[kinds[0]]:
            yield Fault((*keys, option), f"means nothing for a copy in {kinds[0]}", "delete it")
        if "endpoint_url" in copy:
            yield from url_faults((*keys, "endpoint_url"), copy["endpoint_url"])
        if "git" in copy and re.match("[a-z]+://[^/]*:[^/]*@|https?://[^/]*@", copy["git"]):
            what = "holds a user name or password"
            yield Fault((*keys, "git"), what, "take it out, let git's credential helper know it, and replace it")


_COPY_OPTIONS = {"folder": set[str](), "git": {"branch"}, "s3": {"endpoint_url", "profile", "retention_days"}}


def _text_faults(keys: Keys, value: Any) -> Iterator[Fault]:
    """Line breaks and surrounding space, which no value here needs and every pattern overlooks."""
    if isinstance(value, str) and (value != value.strip() or len(value.splitlines()) > 1):
        yield Fault(keys, "has a line break in it, or white space around it", "write it on one line; end > with >-")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _text_faults((*keys, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _text_faults((*keys, index), item)


def _privacy_faults(keys: Keys, field: dict[str, Any]) -> Iterator[Fault]:
    ways = [name for name in ("json", "xml", "regex") if name in field]
    if len(ways) != 1:
        yield Fault(keys, "a field is found in one way", "give one of json, xml and regex")
    if "regex" in field:
        try:
            groups = re.compile(field["regex"], re.MULTILINE).groupindex
        except re.error as error:
            yield Fault((*keys, "regex"), f"not a pattern ({error})", "write it as Python's re does")
            return
        if "personal" not in groups:
            yield Fault((*keys, "regex"), "has no group that is the field", "write it as (?P<personal>...)")


def _repeated(keys: Keys, items: list[dict[str, Any]], name: str, noun: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item[name] in seen:
            yield Fault((*keys, index, name), f"a second {noun} has the {name} {item[name]}", f"change one {name}")
        seen.add(item[name])


def _aws_faults(keys: Keys, connection: dict[str, Any]) -> Iterator[Fault]:
    if "profile" in connection and "access_key_id" in connection:
        yield Fault((*keys, "profile"), "stands beside access_key_id", "keep either the profile or the key")
    if "endpoint_url" in connection:
        yield from url_faults((*keys, "endpoint_url"), connection["endpoint_url"])
    accounts = connection.get("accounts", [])
    yield from _repeated((*keys, "accounts"), accounts, "id", "account")
    for index, account in enumerate(accounts):
        owner = account["role"].split(":")[4]
        if owner != account["id"]:
            here = (*keys, "accounts", index, "role")
            yield Fault(here, f"the role is of account {owner}, not {account['id']}", "correct the id or the role")


def _kubernetes_faults(keys: Keys, connection: dict[str, Any]) -> Iterator[Fault]:
    """One way to one cluster: the current context of a kubeconfig may be another one tomorrow."""
    if connection.get("in_cluster", False):
        for name in ("kubeconfig", "context"):
            if name in connection:
                yield Fault((*keys, name), "stands beside in_cluster", f"keep either {name} or in_cluster")
        return
    if "kubeconfig" not in connection:
        hint = "add kubeconfig: audit.kubeconfig with a context, or in_cluster: true"
        yield Fault(keys, "kubeconfig and in_cluster are missing", hint)
    elif "context" not in connection:
        yield Fault(keys, "context is missing", "add it, for example context: prod")


def _http_faults(keys: Keys, connection: dict[str, Any]) -> Iterator[Fault]:
    kind, own = connection["kind"], connection["kind"] == "http"
    if "base_url" in connection:
        yield from _api_faults((*keys, "base_url"), connection["base_url"])
    elif kind != "entra":
        yield Fault(keys, "base_url is missing", "add it, for example base_url: https://example.okta.com")
    forms = [form for form in ("token", "basic", "oauth", "tenant") if form in connection]
    yield from _entra_faults(keys, connection)
    if not forms and kind == "entra":
        hint = "add it, for example tenant: example.onmicrosoft.com, with client_id and client_secret"
        yield Fault(keys, "tenant is missing", hint)
    elif not forms and not own:
        yield Fault(keys, "token, basic and oauth are missing", "add one of them, for example token: env:API_TOKEN")
    for form in forms[1:]:
        yield Fault((*keys, form), f"stands beside {forms[0]}", f"keep either {forms[0]} or {form}")
    if own and "provider" not in connection:
        yield Fault(keys, "provider is missing", "add it, for example provider: acme")
    if not own and "provider" in connection:
        yield Fault((*keys, "provider"), f"does not belong to the kind {kind}", "delete it, or write kind: http")
    if kind in ACCOUNT_KINDS and "accounts" not in connection:
        yield Fault(keys, "accounts is missing", f"name {ACCOUNT_KINDS[kind]}, for example accounts: [example]")
    if kind not in ACCOUNT_KINDS and "accounts" in connection:
        yield Fault((*keys, "accounts"), f"does not belong to the kind {kind}", "delete it")
    kinds = schema()["$defs"]["connection"]["properties"]["kind"]["enum"]
    if own and connection.get("provider") in kinds:
        what = f"{connection['provider']} is a kind of its own"
        yield Fault((*keys, "provider"), what, f"write kind: {connection['provider']} without provider")
    if "send_token" in connection and "token" not in connection:
        yield Fault((*keys, "send_token"), "there is no token to send", "add token, or delete it")
    if oauth := connection.get("oauth"):
        yield from _api_faults((*keys, "oauth", "token_url"), oauth["token_url"])
        proofs = [name for name in ("client_secret", "private_key") if name in oauth]
        if not proofs:
            hint = "add one of them, for example client_secret: env:CLIENT_SECRET"
            yield Fault((*keys, "oauth"), "client_secret and private_key are missing", hint)
        if len(proofs) == 2:
            yield Fault((*keys, "oauth", "private_key"), "stands beside client_secret", "keep one of the two")


def _sql_faults(keys: Keys, connection: dict[str, Any]) -> Iterator[Fault]:
    """A password goes over the network only to a server whose certificate was verified."""
    example = f"db.example.org:{SQL_PORTS[connection['kind']]}"
    faults = list(_address_faults((*keys, "host"), connection["host"], example))
    yield from faults
    encrypted = connection.get("tls", True)
    if not faults and not encrypted and not is_loopback(Address.parse(connection["host"]).host):
        what = "would send what is asked, and the password, unencrypted"
        yield Fault((*keys, "tls"), what, "delete it; tls: false is for a loopback address only, like 127.0.0.1")
    if not encrypted and "roots" in connection:
        yield Fault((*keys, "roots"), "means nothing where tls is false", "delete one of the two")
    if connection["kind"] == "mariadb" and "database" in connection:
        yield Fault((*keys, "database"), "belongs to the kind postgresql", "delete it: MariaDB is read as a whole")


def _entra_faults(keys: Keys, connection: dict[str, Any]) -> Iterator[Fault]:
    """An application has a tenant, a name, and either a secret or a certificate; other kinds know none of it."""
    given = [name for name in _ENTRA if name in connection]
    if connection["kind"] != "entra":
        for name in given:
            yield Fault((*keys, name), "belongs to the kind entra", "delete it, or write it under oauth")
        return
    if urlsplit(connection.get("base_url", "")).path.strip("/"):
        hint = "write scheme and host, for example https://graph.microsoft.com"
        yield Fault((*keys, "base_url"), "holds a path, which the checks put there themselves", hint)
    if given and "tenant" not in connection:
        yield Fault(keys, "tenant is missing", "add it, for example tenant: example.onmicrosoft.com")
    if "tenant" not in connection:
        return
    if "client_id" not in connection:
        hint = "add it, for example client_id: 11112222-3333-4444-5555-666677778888"
        yield Fault(keys, "client_id is missing", hint)
    proofs = [name for name in ("client_secret", "certificate") if name in connection]
    if not proofs:
        hint = "add one of them, for example client_secret: env:ENTRA_SECRET"
        yield Fault(keys, "client_secret and certificate are missing", hint)
    if len(proofs) == 2:
        yield Fault((*keys, "certificate"), "stands beside client_secret", "keep one of the two")
    if "authority" in connection:
        faults = list(url_faults((*keys, "authority"), connection["authority"]))
        yield from faults
        parts = urlsplit(connection["authority"]) if not faults else None
        if parts and (parts.scheme != "https" or parts.path.strip("/") or parts.query or parts.fragment):
            hint = "write for example https://login.microsoftonline.us"
            yield Fault((*keys, "authority"), "not https with a host and nothing else", hint)


_ENTRA = ("tenant", "client_id", "client_secret", "certificate", "authority")


def _ldap_faults(keys: Keys, connection: dict[str, Any]) -> Iterator[Fault]:
    """An address that is none, and a password that would travel in the clear."""
    faults = list(url_faults((*keys, "url"), connection["url"]))
    yield from faults
    if faults:
        return
    parts, start_tls = urlsplit(connection["url"]), connection.get("start_tls", False)
    if parts.scheme == "ldaps" and start_tls:
        yield Fault((*keys, "start_tls"), "ldaps has TLS from the beginning", "delete it, or write ldap://")
    own = parts.hostname == "localhost" or is_loopback(parts.hostname or "")
    if parts.scheme == "ldap" and not start_tls and not own:
        what = "would send the password unencrypted"
        yield Fault((*keys, "url"), what, "write ldaps://, or add start_tls: true")


def _api_faults(keys: Keys, url: str) -> Iterator[Fault]:
    """Faults of an address that a credential is sent to."""
    faults = list(url_faults(keys, url))
    yield from faults
    if faults:
        return
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname != "localhost" and not is_loopback(parts.hostname or ""):
        yield Fault(keys, "would send the credential unencrypted", "write https://; http:// is for this machine only")
    if parts.query or parts.fragment:
        yield Fault(keys, "holds a query or a fragment", "write scheme, host and path: https://api.example.org/v1")


def url_faults(keys: Keys, url: str) -> Iterator[Fault]:
    """What is wrong with an address."""
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        yield Fault(keys, "not a well-formed address", "write scheme, host and path: https://tsa.example.org/path")
        return
    if not sound:
        yield Fault(keys, "names no host, or port 0", "write scheme, host and path: https://tsa.example.org/path")
    if "@" in parts.netloc:
        yield Fault(keys, "holds a user name or password", "take it out, and replace the password if it was one")


def _address_faults(keys: Keys, text: str, example: str) -> Iterator[Fault]:
    try:
        Address.parse(text)
    except ValueError:
        what = f"{_shown(text)} is not host:port with a port within 1-65535"
        yield Fault(keys, what, f"write for example {example}")


def _key_faults(key: dict[str, Any]) -> Iterator[Fault]:
    """A file with its passphrase, a token's URI with its PIN, or the URI of a KMS alone."""
    kind = key.get("uri", "file").partition(":")[0]
    needed = {"file": ("file", "passphrase"), "hsm": ("pin",)}.get(kind, ())
    where = {"file": "in a file", "hsm": "in an HSM"}.get(kind, "in a KMS")
    examples = {"file": "affidavit.key", "passphrase": "env:AFFIDAVIT_KEY_PASSPHRASE", "pin": "file:affidavit.pin"}
    for name, example in examples.items():
        if name in needed and name not in key:
            yield Fault(("key",), f"{name} is missing", f"add it, for example {name}: {example}")
        if name in key and name not in needed:
            yield Fault(("key", name), f"does not belong to a key {where}", f"delete {name}, or correct the rest")


def _store_faults(data: dict[str, Any], path: Path) -> Iterator[Fault]:
    """The store holds sealed evidence and nothing else: no key, no configuration."""
    store = (path.parent / data["store"]["path"]).resolve()
    if path.resolve().is_relative_to(store):
        yield Fault(("store", "path"), "the store would hold this file", "give the store a folder of its own")
    key = data["key"]
    inside: dict[Keys, str] = {("key", "file"): key["file"]} if "file" in key else {}
    for name in ("passphrase", "pin"):
        if key.get(name, "").startswith("file:"):
            inside[("key", name)] = key[name].removeprefix("file:")
    for keys, name in inside.items():
        if (path.parent / name).resolve().is_relative_to(store):
            yield Fault(keys, "lies inside the store, which is given to others", "keep it outside store.path")


def _daemon_faults(daemon: dict[str, Any], connections: list[str]) -> Iterator[Fault]:
    zone = None
    name = daemon.get("time_zone", "UTC")
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        known = sorted(available_timezones())
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "use a name of the IANA database, for example Europe/Berlin"
        yield Fault(
            ("daemon", "time_zone"), f"{_shown(name)} is not a known time zone",
            hint if known else "install the time zone data of this system (package tzdata)",
        )  # fmt: skip
    address = daemon.get("healthz", "127.0.0.1:9464")
    faults = list(_address_faults(("daemon", "healthz"), address, "127.0.0.1:9464"))
    yield from faults
    if not faults and not is_loopback(Address.parse(address).host):
        what = f"{_shown(address)} is not a loopback address"
        yield Fault(("daemon", "healthz"), what, "write for example 127.0.0.1:9464")
    yield from _repeated(("daemon", "schedules"), daemon["schedules"], "name", "schedule")
    for index, schedule in enumerate(daemon["schedules"]):
        keys: Keys = ("daemon", "schedules", index)
        for number, wanted in enumerate(schedule.get("connections", ())):
            if wanted not in connections:
                here = (*keys, "connections", number)
                yield Fault(here, f"no connection has the name {wanted}", _nearest(wanted, connections, "name"))
        try:
            cron = Cron.parse(schedule["cron"])
        except ValueError as error:
            hint = "write minute, hour, day of month, month and day of week, for example 15 2 * * *"
            yield Fault((*keys, "cron"), f"{_shown(schedule['cron'])} is not a cron line: {error}", hint)
            continue
        if zone and schedule.get("jitter_s", 0) >= (shortest := shortest_interval(cron, zone).total_seconds()):
            what = f"not less than the {shortest:.0f} s between two runs"
            yield Fault((*keys, "jitter_s"), what, "use a smaller value, so that no run meets the next")


def check_faults(section: dict[str, Any], checks: Mapping[str, CheckFacts]) -> Iterator[Fault]:
    """What the section ``checks`` says of checks and parameters that do not exist or are of another type."""

    def unknown(keys: Keys, name: str) -> Fault:
        close = get_close_matches(name, list(checks), n=1)
        hint = f"did you mean {close[0]}?" if close else "use an id from affidavit list checks"
        return Fault(keys, "no check has this id", hint)

    for index, disabled in enumerate(section.get("disabled", ())):
        if disabled["id"] not in checks:
            yield unknown(("checks", "disabled", index, "id"), disabled["id"])
    for name, values in section.get("parameters", {}).items():
        keys: Keys = ("checks", "parameters", name)
        if name not in checks:
            yield unknown(keys, name)
            continue
        params = checks[name].params
        for key, value in values.items():
            if key not in params:
                hint = _nearest(key, list(params), "parameter") if params else "delete it: this check has no parameters"
                yield Fault((*keys, key), "the check has no such parameter", hint)
            elif not _fits(value, params[key]):
                yield Fault(
                    (*keys, key), f"{_kind(value)} stands where a value like the default is needed",
                    f"write for example {_spelt((key,), _plain(params[key]))}",
                )  # fmt: skip


def _fits(value: Any, default: Any) -> bool:
    """True when a value is of the type of the default; an empty list as default takes any list."""
    match default:
        case bool():
            return isinstance(value, bool)
        case int():
            return isinstance(value, int) and not isinstance(value, bool)
        case float():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case str():
            return isinstance(value, str)
        case tuple() | list() | set() | frozenset():
            first = next(iter(default), None)
            return isinstance(value, list) and (first is None or all(_fits(item, first) for item in value))
    return True


def _plain(default: Any) -> Any:
    return sorted(default) if isinstance(default, tuple | list | set | frozenset) else default
