"""The configuration: what is right is read as written, and what is wrong is named with its place, key and next step."""

import json
import re
from dataclasses import dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import config_faults, yamlpos
from collector.address import Address, is_loopback
from collector.config import (
    AwsAccount,
    AwsConnection,
    Collection,
    Config,
    HostConnection,
    TlsConnection,
    check_parameters,
    load,
)
from collector.errors import ConfigError
from collector.secrets import SecretRef

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.yaml"

RIGHT = """\
version: 1
organisation: Example Ltd
store: {path: evidence, origin: log.example.org/a}
key: {file: a.key, passphrase: env:PASS}
timestamps:
  authorities:
    - url: https://tsa.example.org/tsr
      roots: roots.pem
  max_lag_h: 12
mappings: [iso-27001, iso-27017-2015]
connections:
  - name: prod
    kind: aws
    regions: [eu-central-1]
    endpoint_url: http://127.0.0.1:5000
    access_key_id: env:ID
    secret_access_key: file:secret
    session_token: env:TOKEN
    accounts:
      - id: "123456789012"
        role: arn:aws:iam::123456789012:role/audit
        external_id: env:EXTERNAL
  - {name: here, kind: host}
  - name: web
    kind: tls
    endpoints: [www.example.org:443, "[2001:db8::1]:8443"]
    roots: /etc/roots.pem
    timeout_s: 5
checks:
  disabled:
    - {id: aws.rds.multi-az, reason: accepted risk, by: J. Doe}
  parameters:
    aws.iam.access-key-rotated: {max_age_days: 30}
plugins: {folders: [house]}
collection: {workers: 2, max_pages: 7, max_reply_bytes: 2048, timeout_s: 1.5, attempts: 3}
daemon:
  time_zone: Europe/Berlin
  healthz: 127.0.0.1:9464
  schedules:
    - {name: nightly, cron: 15 2 * * *, jitter_s: 300, connections: [prod, here]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_a_right_configuration_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = write(tmp_path, RIGHT)
    config = load(path)
    assert (config.path, config.folder, config.raw) == (path, tmp_path, RIGHT.encode())
    assert config.sha256 == sha256(RIGHT.encode()).hexdigest()
    assert config.organisation == "Example Ltd"
    assert (config.store.path, config.store.origin) == (tmp_path / "evidence", "log.example.org/a")
    assert (config.key.file, config.key.passphrase) == (tmp_path / "a.key", SecretRef("env", "PASS"))
    assert [(a.url, a.roots) for a in config.timestamps.authorities] == [
        ("https://tsa.example.org/tsr", tmp_path / "roots.pem")
    ]
    assert config.timestamps.max_lag_h == 12
    assert config.mappings == ("iso-27001", "iso-27017-2015")
    assert config.connections == (
        AwsConnection(
            "prod", ("eu-central-1",), "http://127.0.0.1:5000", None, SecretRef("env", "ID"),
            SecretRef("file", "secret"), SecretRef("env", "TOKEN"),
            (AwsAccount("123456789012", "arn:aws:iam::123456789012:role/audit", SecretRef("env", "EXTERNAL")),),
        ),
        HostConnection("here"),
        TlsConnection(
            "web", (Address("www.example.org", 443), Address("2001:db8::1", 8443)), Path("/etc/roots.pem"), 5.0
        ),
    )  # fmt: skip
    assert [c.kind for c in config.connections] == ["aws", "host", "tls"]
    assert [(d.id, d.reason, d.by) for d in config.checks.disabled] == [("aws.rds.multi-az", "accepted risk", "J. Doe")]
    assert config.checks.parameters == {"aws.iam.access-key-rotated": {"max_age_days": 30}}
    assert config.plugins == (tmp_path / "house",)
    assert config.collection == Collection(2, 7, 2048, 1.5, 3)
    assert config.daemon is not None
    (schedule,) = config.daemon.schedules
    assert (schedule.name, schedule.cron.text, schedule.jitter_s, schedule.connections) == (
        "nightly", "15 2 * * *", 300, ("prod", "here"),
    )  # fmt: skip
    assert (config.daemon.time_zone.key, str(config.daemon.healthz)) == ("Europe/Berlin", "127.0.0.1:9464")


def test_a_key_may_be_named_by_a_uri(tmp_path: Path) -> None:
    plain = "key: {file: a.key, passphrase: env:PASS}"
    config = load(write(tmp_path, RIGHT.replace(plain, "key: {uri: awskms:alias/affidavit}")))
    assert (config.key.uri, config.key.file, config.key.passphrase) == ("awskms:alias/affidavit", None, None)
    config = load(write(tmp_path, RIGHT.replace(plain, "key: {uri: 'hsm:2?label=audit', pin: env:PIN}")))
    assert (config.key.uri, config.key.pin) == ("hsm:2?label=audit", SecretRef("env", "PIN"))


LEAST = """\
version: 1
organisation: Example Ltd
store: {path: evidence, origin: log.example.org/a}
key: {file: a.key, passphrase: env:PASS}
connections: [{name: here, kind: host}]
daemon: {schedules: [{name: nightly, cron: 15 2 * * *}]}
"""


def test_what_is_left_out_has_the_default_that_the_schema_states(tmp_path: Path) -> None:
    config = load(write(tmp_path, LEAST))
    properties = config_faults.schema()["properties"]
    assert config.daemon is not None
    stated = {name: node["default"] for name, node in properties["collection"]["properties"].items()}
    assert {f.name: getattr(config.collection, f.name) for f in fields(Collection)} == stated
    assert config.timestamps.max_lag_h == properties["timestamps"]["properties"]["max_lag_h"]["default"]
    assert config.timestamps.authorities == ()
    daemon = properties["daemon"]["properties"]
    assert config.daemon.time_zone.key == daemon["time_zone"]["default"]
    assert str(config.daemon.healthz) == daemon["healthz"]["default"]
    assert (config.daemon.schedules[0].jitter_s, config.daemon.schedules[0].connections) == (0, ())
    assert (config.mappings, config.plugins, config.checks.disabled, config.checks.parameters) == ((), (), (), {})


def test_without_a_daemon_section_there_is_no_daemon(tmp_path: Path) -> None:
    assert load(write(tmp_path, LEAST.rpartition("daemon:")[0])).daemon is None


# @ stands where the error must point, and is not part of the file
WRONG: list[tuple[str, str, str, str, str]] = [
    # what is wrong with it, in RIGHT this, becomes this, key, words of the error
    ("unknown key at the top", "plugins:", "@plugin:", "plugin", "unknown key"),
    ("unknown key inside", "{path: evidence, ", "{path: evidence, @orgin: x, ", "store.orgin", "unknown key"),
    ("unknown key in a connection", "regions: [eu", "@region: [eu", "connections[0].region", "unknown key"),
    (
        "key of another kind",
        "kind: host}",
        "kind: host, @regions: [eu-west-1]}",
        "connections[1].regions",
        "unknown key",
    ),
    (
        "unknown key in a list",
        "{name: nightly,",
        "{name: nightly, @when: x,",
        "daemon.schedules[0].when",
        "unknown key",
    ),
    ("missing key", "@version: 1\n", "@", "", "version is missing"),
    (
        "missing key inside",
        "store: {path: evidence, origin: log.example.org/a}",
        "@store: {path: evidence}",
        "store",
        "origin is missing",
    ),
    (
        "missing passphrase",
        "key: {file: a.key, passphrase: env:PASS}",
        "@key: {file: a.key}",
        "key",
        "passphrase is missing",
    ),
    (
        "a PIN without a token",
        "key: {file: a.key, passphrase: env:PASS}",
        "key: {file: a.key, passphrase: env:PASS, @pin: env:PIN}",
        "key.pin",
        "does not belong to a key in a file",
    ),
    (
        "a file beside a KMS",
        "key: {file: a.key, passphrase: env:PASS}",
        "key: {uri: awskms:alias/x, @file: a.key}",
        "key.file",
        "does not belong to a key in a KMS",
    ),
    (
        "a token without PIN",
        "key: {file: a.key, passphrase: env:PASS}",
        "@key: {uri: 'hsm:1?label=audit'}",
        "key",
        "pin is missing",
    ),
    (
        "another kind of key",
        "key: {file: a.key, passphrase: env:PASS}",
        "key: {@uri: gnupg:abc}",
        "key.uri",
        "",
    ),
    ("no kind", "  - {name: here, kind: host}", "  - @{name: here}", "connections[1]", "kind is missing"),
    (
        "no regions",
        "- name: prod\n    kind: aws\n    regions: [eu-central-1]",
        "- @name: prod\n    kind: aws",
        "connections[0]",
        "regions is missing",
    ),
    (
        "half a key pair",
        "- name: prod\n    kind: aws\n    regions: [eu-central-1]\n    endpoint_url: http://127.0.0.1:5000\n"
        "    access_key_id: env:ID\n    secret_access_key: file:secret",
        "- @name: prod\n    kind: aws\n    regions: [eu-central-1]\n    access_key_id: env:ID",
        "connections[0]",
        "secret_access_key is missing",
    ),
    ("version of the future", "version: 1", "@version: 2", "version", "'2' is not known here"),
    (
        "text for a number",
        "max_lag_h: 12",
        "@max_lag_h: twelve",
        "timestamps.max_lag_h",
        "text stands where a whole number",
    ),
    (
        "true for a number",
        "workers: 2",
        "@workers: true",
        "collection.workers",
        "true or false stands where a whole number",
    ),
    (
        "number for text",
        "organisation: Example Ltd",
        "@organisation: 4711",
        "organisation",
        "a whole number stands where text",
    ),
    (
        "account number without quotes",
        'id: "123456789012"',
        "@id: 123456789012",
        "connections[0].accounts[0].id",
        "a whole number stands where text",
    ),
    ("account number too short", 'id: "123456789012"', '@id: "1234"', "connections[0].accounts[0].id", "wrong form"),
    (
        "text for a list",
        "regions: [eu-central-1]",
        "@regions: eu-central-1",
        "connections[0].regions",
        "text stands where a list",
    ),
    (
        "list for a mapping",
        "plugins: {folders: [house]}",
        "@plugins: [house]",
        "plugins",
        "a list stands where a mapping",
    ),
    ("nothing for a mapping", "plugins: {folders: [house]}", "@plugins:", "plugins", "nothing stands where a mapping"),
    ("number below", "workers: 2", "@workers: 0", "collection.workers", "out of range"),
    ("number above", "attempts: 3", "@attempts: 99", "collection.attempts", "out of range"),
    ("empty list", "regions: [eu-central-1]", "@regions: []", "connections[0].regions", "empty"),
    ("empty text", "organisation: Example Ltd", '@organisation: ""', "organisation", "empty"),
    ("text too long", "organisation: Example Ltd", f"@organisation: {'x' * 201}", "organisation", "longer than 200"),
    ("not a region", "[eu-central-1]", "[@Frankfurt]", "connections[0].regions[0]", "wrong form"),
    ("region twice", "[eu-central-1]", "[eu-central-1, @eu-central-1]", "connections[0].regions[1]", "a second time"),
    ("unknown kind", "kind: host", "@kind: hots", "connections[1].kind", "'hots' is not known here"),
    ("origin with a scheme", "origin: log", "@origin: https://log", "store.origin", "wrong form"),
    ("not a name", "name: here", "@name: This Host", "connections[1].name", "wrong form"),
    (
        "not a role",
        "role: arn:aws:iam::123456789012:role/audit",
        "@role: audit",
        "connections[0].accounts[0].role",
        "wrong form",
    ),
    ("not an address on the web", "url: https://tsa", "@url: tsa", "timestamps.authorities[0].url", "wrong form"),
    (
        "address on the web with a broken host",
        "url: https://tsa.example.org",
        "@url: https://[::1",
        "timestamps.authorities[0].url",
        "not a well-formed address",
    ),
    (
        "address on the web without a host",
        "url: https://tsa.example.org",
        "@url: https://:80",
        "timestamps.authorities[0].url",
        "names no host",
    ),
    (
        "not a check id",
        "aws.iam.access-key-rotated:",
        "@Access Keys:",
        "checks.parameters.Access Keys",
        "not the id of a check",
    ),
    (
        "parameters without a value",
        "rotated: {max_age_days: 30}",
        "rotated: {@max_age_days: }",
        "checks.parameters.aws.iam.access-key-rotated.max_age_days",
        "nothing stands where a single value",
    ),
    (
        "no parameters",
        "aws.iam.access-key-rotated: {max_age_days: 30}",
        "@aws.iam.access-key-rotated: {}",
        "checks.parameters.aws.iam.access-key-rotated",
        "empty",
    ),
    (
        "a check disabled without a reason",
        "{id: aws.rds.multi-az, reason: accepted risk, by: J. Doe}",
        "@{id: aws.rds.multi-az, by: J. Doe}",
        "checks.disabled[0]",
        "reason is missing",
    ),
    ("literal secret", "passphrase: env:PASS", "@passphrase: hunter2", "key.passphrase", "literal value"),
    (
        "literal secret of a connection",
        "secret_access_key: file:secret",
        "@secret_access_key: hunter2",
        "connections[0].secret_access_key",
        "literal value",
    ),
    (
        "number as a secret",
        "session_token: env:TOKEN",
        "@session_token: 815",
        "connections[0].session_token",
        "literal value",
    ),
    (
        "malformed reference",
        "passphrase: env:PASS",
        "@passphrase: env:MY-PASS",
        "key.passphrase",
        "not a well-formed reference",
    ),
    (
        "reference to no file",
        "passphrase: env:PASS",
        "@passphrase: 'file:'",
        "key.passphrase",
        "not a well-formed reference",
    ),
    (
        "password in an address",
        "endpoint_url: http://127",
        "@endpoint_url: http://me:hunter2@127",
        "connections[0].endpoint_url",
        "user name or password",
    ),
    (
        "connection name twice",
        "{name: here,",
        "{@name: prod,",
        "connections[1].name",
        "a second connection has the name prod",
    ),
    (
        "account twice",
        "  - {name: here",
        '      - {@id: "123456789012", role: "arn:aws:iam::123456789012:role/b"}\n  - {name: here',
        "connections[0].accounts[1].id",
        "a second account",
    ),
    (
        "role of another account",
        "role: arn:aws:iam::123456789012",
        "@role: arn:aws:iam::210987654321",
        "connections[0].accounts[0].role",
        "the role is of account 210987654321",
    ),
    (
        "profile and key",
        "access_key_id: env:ID",
        "@profile: p\n    access_key_id: env:ID",
        "connections[0].profile",
        "stands beside access_key_id",
    ),
    (
        "endpoint without a port",
        "[www.example.org:443,",
        "[@www.example.org,",
        "connections[2].endpoints[0]",
        "wrong form",
    ),
    (
        "endpoint with a port too high",
        "[www.example.org:443,",
        "[@www.example.org:70000,",
        "connections[2].endpoints[0]",
        "port within 1-65535",
    ),
    (
        "endpoint with a broken address",
        '"[2001:db8::1]:8443"',
        '@"[2001:db8]:8443"',
        "connections[2].endpoints[1]",
        "not host:port",
    ),
    (
        "check disabled twice",
        "  parameters:",
        "    - {@id: aws.rds.multi-az, reason: again, by: J. Doe}\n  parameters:",
        "checks.disabled[1].id",
        "a second check",
    ),
    ("key in the store", "file: a.key", "@file: evidence/a.key", "key.file", "inside the store"),
    (
        "passphrase in the store",
        "passphrase: env:PASS",
        "@passphrase: file:evidence/../evidence/p",
        "key.passphrase",
        "inside the store",
    ),
    ("store around this file", "path: evidence", "@path: .", "store.path", "would hold this file"),
    ("text over two lines", "organisation: Example Ltd", "@organisation: >\n  Example\n", "organisation", "line break"),
    ("white space around", "path: evidence", "@path: ' evidence'", "store.path", "white space"),
    (
        "unknown time zone",
        "time_zone: Europe/Berlin",
        "@time_zone: Europe/Belrin",
        "daemon.time_zone",
        "not a known time zone",
    ),
    (
        "time zone that is a path",
        "time_zone: Europe/Berlin",
        "@time_zone: ../../etc/passwd",
        "daemon.time_zone",
        "not a known time zone",
    ),
    ("health for all the world", "healthz: 127.0.0.1", "@healthz: 0.0.0.0", "daemon.healthz", "not a loopback address"),
    ("health at a name", "healthz: 127.0.0.1", "@healthz: localhost", "daemon.healthz", "not a loopback address"),
    ("health without a port", "healthz: 127.0.0.1:9464", "@healthz: 127.0.0.1", "daemon.healthz", "is not host:port"),
    ("cron with six fields", "cron: 15 2 * * *", "@cron: 0 15 2 * * *", "daemon.schedules[0].cron", "6 fields"),
    ("cron out of range", "cron: 15 2 * * *", "@cron: 15 24 * * *", "daemon.schedules[0].cron", "within 0-23"),
    (
        "cron in other words",
        "cron: 15 2 * * *",
        "@cron: 15 2 * * someday",
        "daemon.schedules[0].cron",
        "'someday' is not known",
    ),
    (
        "cron of a day that never comes",
        "cron: 15 2 * * *",
        "@cron: 15 2 31 2 *",
        "daemon.schedules[0].cron",
        "no such day",
    ),
    (
        "schedule for no connection",
        "[prod, here]",
        "[prod, @there]",
        "daemon.schedules[0].connections[1]",
        "no connection has the name there",
    ),
    (
        "schedule name twice",
        "connections: [prod, here]}",
        "connections: [prod, here]}\n    - {@name: nightly, cron: 0 0 * * *}",
        "daemon.schedules[1].name",
        "a second schedule",
    ),
    (
        "jitter into the next run",
        "cron: 15 2 * * *, jitter_s: 300",
        "cron: '*/5 * * * *', @jitter_s: 300",
        "daemon.schedules[0].jitter_s",
        "300 s between two runs",
    ),
    (
        "key twice",
        "  max_lag_h: 12",
        "  max_lag_h: 12\n  @max_lag_h: 13",
        "timestamps.max_lag_h",
        "a second time, first in line 9",
    ),
    ("tab", "  max_lag_h: 12", "@\tmax_lag_h: 12", "", "a tab stands"),
    (
        "bracket left open",
        "mappings: [iso-27001, iso-27017-2015]\nconnections:",
        "mappings: [iso-27001, iso-27017-2015\nconnections@:",
        "",
        "not well-formed YAML",
    ),
    ("colon too many", "organisation: Example Ltd", "organisation: Example@: Ltd", "", "not well-formed YAML"),
    ("anchor", "organisation: Example Ltd", "organisation: @&name Example Ltd", "", "anchor or alias"),
    ("alias", "organisation: Example Ltd", "organisation: @*name", "", "anchor or alias"),
    ("tag", "organisation: Example Ltd", "organisation: @!!python/object:os.system x", "", "a tag (!)"),
    ("second document", "mappings:", "@---\nmappings:", "", "second document"),
    ("list as a key", "mappings:", "? @[a]\n:", "", "used as a key"),
    ("control character", "Example Ltd", "Example @\x07Ltd", "", "control character U+0007"),
    ("not UTF-8", "Example Ltd", "Example @\udcffLtd", "", "not UTF-8"),
    (
        "nested without end",
        "organisation: Example Ltd",
        "organisation: " + "[" * 30 + "@[" + "]" * 31,
        "",
        "more than 32",
    ),
    ("a list, not a mapping", RIGHT, "@- version: 1\n", "", "a list stands where a mapping"),
    ("empty file", RIGHT, "@", "", "nothing stands where a mapping"),
]


@pytest.mark.parametrize(("old", "new", "key", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_configuration_is_refused_where_it_is_wrong(
    tmp_path: Path, old: str, new: str, key: str, words: str
) -> None:
    assert RIGHT.count(old.replace("@", "")) == 1, "the case fits the text"
    marked = RIGHT.replace(old.replace("@", ""), new)
    at = marked.rindex("@") if "me:hunter2@" not in marked else marked.index("@")
    before = marked[:at]
    text = before + marked[at + 1 :]
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    place = f"{path}:{line}:{column}: " + (f"{key}: " if key else "")
    assert caught.value.what.startswith(place), caught.value.what
    assert words in caught.value.what
    assert len(caught.value.next_step) > 8
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.what + caught.value.next_step, "two lines when printed"
    assert "hunter2" not in caught.value.what + caught.value.next_step, "a secret in the wrong place is not repeated"


def test_there_are_enough_kinds_of_wrong() -> None:
    assert len({name for name, *_ in WRONG}) == len(WRONG) >= 30


NEXT = [
    ("plugins:", "plugin:", "did you mean plugins?"),
    ("kind: host", "kind: hots", "did you mean host?"),
    ("kind: host", "kind: zzz", "use a known value: active-directory, aws, entra"),
    ("version: 1", "version: 2", "use the value 1"),
    ('id: "123456789012"', "id: 123456789012", "put the value in quotes"),
    ("workers: 2", "workers: 0", "use a value from 1 to 256"),
    ("workers: 2", "workers: many", "write for example workers: 16"),
    (
        "store: {path: evidence, origin: log.example.org/a}",
        "store: {path: e}",
        "add it, for example origin: evidence.example",
    ),
    ("time_zone: Europe/Berlin", "time_zone: Europe/Belrin", "did you mean Europe/Berlin?"),
    ("time_zone: Europe/Berlin", "time_zone: Qqq/Xyzzy", "use a name of the IANA database"),
    ("[prod, here]", "[prod, hero]", "did you mean here?"),
    (
        "passphrase: env:PASS",
        "passphrase: hunter2",
        "write for example passphrase: env:AFFIDAVIT_KEY_PASSPHRASE; if it was",
    ),
    (
        "aws.iam.access-key-rotated: {max_age_days: 30}",
        "aws.iam.access-key-rotated: {}",
        "aws.iam.access-key-rotated: {max_age",
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), NEXT)
def test_the_next_step_can_be_taken(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, RIGHT.replace(old, new)))
    assert words in caught.value.next_step


def test_of_several_faults_the_first_in_the_file_is_named(tmp_path: Path) -> None:
    text = RIGHT.replace("max_lag_h: 12", "max_lag_h: 0").replace("workers: 2", "workers: 0").replace("house", "''")
    with pytest.raises(ConfigError, match=r":9:3: timestamps\.max_lag_h: "):
        load(write(tmp_path, text))


def test_a_missing_folder_and_large_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        load(write(tmp_path, RIGHT + "#" * yamlpos.MAX_BYTES))


def test_missing_time_zone_data_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_faults, "available_timezones", set)
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, RIGHT.replace("Europe/Berlin", "Europe/Belrin")))
    assert "tzdata" in caught.value.next_step


def test_a_tab_further_on_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":3:1: a tab"):
        yamlpos.load(write(tmp_path, "a:\n  b: 1\n\tc: 2\n"))


def test_scalars_are_read_as_yaml_1_2_reads_them(tmp_path: Path) -> None:
    text = ["no", "on", "12:30", "2026-01-31", "0123", "0x10", "1e3", "1_000", ".inf", "=", "9999999999999999999"]
    data = yamlpos.load(write(tmp_path, f"a: [{', '.join(text)}, '1']\nb: [1, -2, 1.5, true, null, ~]\n")).data
    assert data == {"a": [*text, "1"], "b": [1, -2, 1.5, True, None, None]}
    assert yamlpos.load(write(tmp_path, "1: a\nno: b\n")).data == {"1": "a", "no": "b"}


def test_positions_count_characters_from_one(tmp_path: Path) -> None:
    document = yamlpos.load(write(tmp_path, '\ufeff# ä\nß: {"ü": [é, {k: 1}]}\n'))
    assert document.data == {"ß": {"ü": ["é", {"k": 1}]}}
    assert document.position(("ß", "ü")) == (2, 5)
    assert document.position(("ß", "ü", 1, "k")) == (2, 15)
    assert document.position(("ß", "none", 7)) == (2, 1), "what is missing stands at what is around it"
    assert yamlpos.dotted(("a", 0, "b", 1)) == "a[0].b[1]"
    assert document.sha256 == sha256(document.raw).hexdigest()


PIECES = st.sampled_from(
    [
        *"abc01 \n\t:-[]{},&*!?|>'\"%@`#~\\\x85\u2028\ufeffé",
        "\n  ",
        "- ",
        ": ",
        "<<: ",
        "---",
        "...",
        "\U0001f600",
        "\0",
    ]
)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=40).map("".join) | st.binary(max_size=40))
def test_whatever_the_file_holds_it_is_read_or_refused(text: str | bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        refused = None
        try:
            document = yamlpos.load(path)
        except ConfigError as error:
            refused = error
        if refused:
            assert re.match(rf"{path}:\d+:\d+: .", refused.what)
            assert refused.next_step
        else:
            json.dumps(document.data)
            assert document.positions[()]


# Checks and their parameters


@dataclass(frozen=True, slots=True)
class Facts:
    id: str
    params: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))


CHECKS = {
    "aws.rds.multi-az": Facts("aws.rds.multi-az"),
    "aws.iam.access-key-rotated": Facts(
        "aws.iam.access-key-rotated",
        MappingProxyType(
            {
                "max_age_days": 90,
                "share": 0.5,
                "strict": False,
                "word": "a",
                "names": (),
                "ports": (22, 80),
                "any": None,
            }
        ),
    ),
}


def configured(folder: Path, text: str) -> Config:
    return load(write(folder, RIGHT.replace("{max_age_days: 30}", text)))


@pytest.mark.parametrize(
    "text",
    [
        "{max_age_days: 30}",
        "{share: 1}",
        "{share: 0.25}",
        "{strict: true}",
        "{word: b}",
        "{names: [a, b]}",
        "{names: []}",
        "{ports: [443]}",
        "{any: 1, share: 1}",
    ],
)
def test_a_parameter_of_the_type_of_its_default_is_taken(tmp_path: Path, text: str) -> None:
    config = configured(tmp_path, text)
    check_parameters(config, CHECKS)
    assert config.checks.parameters["aws.iam.access-key-rotated"]


def test_a_list_becomes_a_tuple(tmp_path: Path) -> None:
    parameters = configured(tmp_path, "{names: [a, b]}").checks.parameters
    assert parameters["aws.iam.access-key-rotated"]["names"] == ("a", "b")


@pytest.mark.parametrize(
    ("text", "place", "words", "hint"),
    [
        ("{@max_age_day: 30}", "max_age_day", "no such parameter", "did you mean max_age_days?"),
        ("{@max_age_days: '30'}", "max_age_days", "text stands where a value like the default", "max_age_days: 90"),
        ("{@max_age_days: true}", "max_age_days", "true or false stands", "max_age_days: 90"),
        ("{@max_age_days: 1.5}", "max_age_days", "a number stands", "max_age_days: 90"),
        ("{@share: false}", "share", "true or false stands", "share: 0.5"),
        ("{@strict: 1}", "strict", "a whole number stands", "strict: false"),
        ("{@word: [a]}", "word", "a list stands", "word: a"),
        ("{@names: a}", "names", "text stands", "names: []"),
        ("{@ports: [ssh]}", "ports", "a list stands", "ports: [22, 80]"),
    ],
)
def test_a_wrong_parameter_is_refused(tmp_path: Path, text: str, place: str, words: str, hint: str) -> None:
    config = configured(tmp_path, text.replace("@", ""))
    with pytest.raises(ConfigError) as caught:
        check_parameters(config, CHECKS)
    prefix = f"{config.path}:33:34: checks.parameters.aws.iam.access-key-rotated.{place}: "
    assert caught.value.what.startswith(prefix)
    assert words in caught.value.what
    assert hint in caught.value.next_step


def test_an_unknown_check_is_refused(tmp_path: Path) -> None:
    config = load(write(tmp_path, RIGHT.replace("id: aws.rds.multi-az", "id: aws.rds.multi-ax")))
    with pytest.raises(ConfigError, match=r":31:8: checks\.disabled\[0\]\.id: no check has this id") as caught:
        check_parameters(config, CHECKS)
    assert caught.value.next_step == "did you mean aws.rds.multi-az?"
    config = load(write(tmp_path, RIGHT.replace("aws.iam.access-key-rotated", "house.own")))
    with pytest.raises(ConfigError, match=r":33:5: checks\.parameters\.house\.own: no check has this id") as caught:
        check_parameters(config, CHECKS)
    assert caught.value.next_step == "use an id from affidavit list checks"
    config = load(write(tmp_path, RIGHT.replace("aws.iam.access-key-rotated", "aws.rds.multi-az")))
    with pytest.raises(ConfigError, match="no such parameter") as caught:
        check_parameters(config, CHECKS)
    assert caught.value.next_step == "delete it: this check has no parameters"


# Example, schema and docs agree


def entries(node: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every key that the schema knows, dotted, with what the schema says of it; ``[]`` stands for a list item."""
    definitions = config_faults.schema()["$defs"]
    if "$ref" in node:
        node = {**definitions[node["$ref"].rpartition("/")[2]], **node}
    found = {}
    for name, child in node.get("properties", {}).items():
        found[f"{prefix}{name}"] = {**child, "needed": name in node.get("required", ())}
        found |= entries(child, f"{prefix}{name}.")
    if "items" in node:
        found |= entries(node["items"], prefix.removesuffix(".") + "[].")
    for branch in node.get("allOf", ()):
        name = branch["then"]["$ref"].rpartition("/")[2]
        found |= entries(definitions[name], f"{prefix.removesuffix('.')}({name}).")
    return found


ENTRIES = entries(config_faults.schema())


def test_the_example_is_valid_as_shipped() -> None:
    config = load(EXAMPLE)
    assert [c.kind for c in config.connections] == ["aws", "host", "tls"]
    assert config.daemon is not None


def test_every_key_of_the_schema_appears_in_the_example() -> None:
    text = EXAMPLE.read_text("utf-8")
    for key in ENTRIES:
        name = key.rpartition(".")[2]
        assert re.search(rf"^[ #-]*{name}:", text, re.MULTILINE), key


def test_the_example_holds_when_its_comments_are_taken_up(tmp_path: Path) -> None:
    """What stands there as a comment is right too; what excludes one another stays out."""
    text = EXAMPLE.read_text("utf-8").replace("authorities: []", "authorities:").replace("disabled: []", "disabled:")
    text = re.sub(r"^ *# (profile|uri|pin):.*$", "", text, flags=re.MULTILINE)
    config = load(write(tmp_path, re.sub(r"^( *)# (?= *(- )?[a-z0-9_]+: )", r"\1", text, flags=re.MULTILINE)))
    aws = config.connections[0]
    assert isinstance(aws, AwsConnection)
    assert aws.accounts[0].external_id is not None
    assert config.timestamps.authorities[0].crl
    assert config.anchors.witnesses
    assert [bool(c.folder or c.git or c.s3) for c in config.anchors.copies] == [True] * 3
    assert config.checks.disabled
    assert config.mappings


def test_every_mapping_of_the_schema_is_closed_and_every_key_described() -> None:
    def closed(node: Any, where: str) -> None:
        if isinstance(node, list):
            for item in node:
                closed(item, where)
        elif isinstance(node, dict):
            if node.get("type") == "object" and where != "$defs.connection":
                assert "additionalProperties" in node, where
            for name, child in node.items():
                closed(child, f"{where}.{name}".removeprefix("."))

    closed(config_faults.schema(), "")
    branches = config_faults.schema()["$defs"]["connection"]["allOf"]
    kinds = config_faults.schema()["$defs"]["connection"]["properties"]["kind"]["enum"]
    assert [b["if"]["properties"]["kind"]["const"] for b in branches] == kinds, "each kind has its closed branch"
    for key, node in ENTRIES.items():
        if key not in ("connections[].name", "connections[].kind"):
            assert node["description"], key


def test_the_schema_is_a_schema_and_there_are_words_for_all_of_it() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(config_faults.schema())
    source = Path(config_faults.__file__).read_text("utf-8")
    plain = "pattern|enum|const|type|required|dependentRequired|uniqueItems"
    limits = "(?:min|max)(?:Length|Items|Properties|imum)"
    rules = set(re.findall(f'"({plain}|{limits})":', json.dumps(config_faults.schema())))
    assert len(rules) > 12
    assert not [rule for rule in rules if f'"{rule}"' not in source]


def test_the_docs_list_every_key_with_its_description() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    for key, node in ENTRIES.items():
        if key in ("connections[].name", "connections[].kind"):
            continue
        row = next((line for line in text.splitlines() if line.startswith(f"| `{key}` |")), "")
        assert node["description"] in row, key
        assert ("| required |" in row) == node["needed"], key
        if "default" in node and not isinstance(node["default"], dict):
            assert f"`{json.dumps(node['default']).strip(chr(34))}`" in row, key


def test_addresses() -> None:
    assert str(Address.parse("[::1]:80")) == "[::1]:80"
    assert is_loopback("::1")
    assert is_loopback("127.8.9.1")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("localhost")
    for text in ("", "a", ":80", "a:", "a:0", "a:65536", "::1:80", "[x]:80", "a:8 0"):
        with pytest.raises(ValueError, match=r"."):
            Address.parse(text)
