"""The configuration: read once, checked whole, and refused with the line, the key and the next step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from collector import yamlpos
from collector.address import Address
from collector.api import Personal
from collector.config_faults import (
    HTTP_KINDS,
    LDAP_KINDS,
    CheckFacts,
    Fault,
    check_faults,
    meaning_faults,
    schema_faults,
    url_faults,
)
from collector.cron import Cron
from collector.errors import ConfigError
from collector.privacy import DEFAULTS
from collector.secrets import SecretRef
from collector.yamlpos import Document

GRAPH = "https://graph.microsoft.com"
"""Microsoft Graph of the worldwide cloud."""

LOGIN = "https://login.microsoftonline.com"
"""Its token server."""


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """A bucket with Object Lock that holds the store."""

    uri: str
    """``s3://bucket/prefix``."""
    retention_days: int = 2557
    region: str | None = None
    endpoint_url: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where the sealed evidence is kept."""

    path: Path
    origin: str
    """Name of the log in every checkpoint."""
    bucket: BucketConfig | None = None
    """Where sealed files are final; None: the folder is the store."""


@dataclass(frozen=True, slots=True)
class KeyConfig:
    """The key that signs: in a file, or named by a URI."""

    file: Path | None = None
    passphrase: SecretRef | None = None
    uri: str | None = None
    """``awskms:...`` or ``hsm:...``; None: the key is in the file."""
    pin: SecretRef | None = None
    """Of the HSM's token."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamp authority."""

    url: str
    roots: Path
    """PEM file with the certificates its answers must lead to."""
    chain: Path | None = None
    """PEM file with the certificates between it and its root."""
    crl: str | None = None
    """Address of the revocation list of its issuer."""


@dataclass(frozen=True, slots=True)
class TimestampConfig:
    """Who attests when the evidence existed."""

    authorities: tuple[Authority, ...] = ()
    max_lag_h: int = 24
    """Hours after which a missing time stamp is reported."""


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """A witness that signs the head of the log."""

    url: str
    key: str
    """Its verifier key."""


@dataclass(frozen=True, slots=True)
class CopyConfig:
    """Where checkpoints are copied: a folder, a git remote or a bucket."""

    folder: Path | None = None
    git: str | None = None
    branch: str = "main"
    """Of the git remote."""
    s3: str | None = None
    """``s3://bucket/prefix``."""
    endpoint_url: str | None = None
    profile: str | None = None
    retention_days: int | None = None
    """Days that Object Lock keeps a copy in the bucket."""


@dataclass(frozen=True, slots=True)
class AnchorsConfig:
    """Who outside holds the head of the log."""

    witnesses: tuple[WitnessConfig, ...] = ()
    copies: tuple[CopyConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class AwsAccount:
    """An account that is read through a role."""

    id: str
    role: str
    external_id: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class AwsConnection:
    """Amazon Web Services, with the credentials of the environment, of a profile or of a key."""

    name: str
    regions: tuple[str, ...]
    endpoint_url: str | None = None
    profile: str | None = None
    access_key_id: SecretRef | None = None
    secret_access_key: SecretRef | None = None
    session_token: SecretRef | None = None
    accounts: tuple[AwsAccount, ...] = ()
    """Empty: the account of the credentials."""
    kind: Literal["aws"] = "aws"


@dataclass(frozen=True, slots=True)
class HostConnection:
    """The Linux host this program runs on."""

    name: str
    kind: Literal["host"] = "host"


@dataclass(frozen=True, slots=True)
class TlsConnection:
    """TLS servers, each asked with real handshakes."""

    name: str
    endpoints: tuple[Address, ...]
    roots: Path | None = None
    """None: the trusted roots of this machine."""
    timeout_s: float | None = None
    """None: that of the collection."""
    kind: Literal["tls"] = "tls"


@dataclass(frozen=True, slots=True)
class Basic:
    """A user with a password or an API token."""

    user: str
    secret: SecretRef


@dataclass(frozen=True, slots=True)
class OAuth:
    """A client that fetches its own tokens."""

    token_url: str
    client_id: str
    client_secret: SecretRef | None = None
    private_key: SecretRef | None = None
    """RSA key in PEM that signs a statement instead of a secret."""
    key_id: str = ""
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntraApplication:
    """An application of a Microsoft Entra tenant that signs in for itself."""

    tenant: str
    client_id: str
    authority: str
    """Token server: scheme and host."""
    client_secret: SecretRef | None = None
    private_key: SecretRef | None = None
    """RSA key in PEM of the certificate, instead of a secret."""
    thumbprint: str = ""
    """SHA-1 of that certificate in hex."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A Google service account that asks in the name of a user."""

    key: SecretRef
    """Its key file in JSON."""
    subject: str
    """E-mail address of the user; the customer that is read is the user's."""
    scopes: tuple[str, ...] = ()
    """Empty: those of :data:`collector.connect.google.SCOPES`."""


@dataclass(frozen=True, slots=True)
class HttpConnection:
    """A REST API."""

    name: str
    kind: str
    """First word of its datasets: ``okta``, or the provider of a connection of kind ``http``."""
    base_url: str
    token: SecretRef | None = None
    basic: Basic | None = None
    oauth: OAuth | None = None
    send_token: str | None = None
    """``Header: form of {token}``; None: as the vendor of that kind wants it."""
    roots: Path | None = None
    """None: the trusted roots of this machine."""
    timeout_s: float | None = None
    """None: that of the collection."""
    entra: EntraApplication | None = None
    service_account: ServiceAccount | None = None
    """Kind google-workspace only, and the one way there."""
    accounts: tuple[str, ...] = ()
    """Organisations or groups that are read, each for itself; empty for a kind that has none."""


@dataclass(frozen=True, slots=True)
class SqlConnection:
    """A database server."""

    name: str
    kind: Literal["postgresql", "mariadb"]
    host: Address
    user: str
    password: SecretRef
    database: str = "postgres"
    """PostgreSQL only: what is not of the whole server is read in this one."""
    tls: bool = True
    """False on this machine only; else encrypted, and the certificate is verified."""
    roots: Path | None = None
    """None: the trusted roots of this machine."""
    timeout_s: float | None = None
    """None: that of the collection."""


@dataclass(frozen=True, slots=True)
class LdapConnection:
    """A directory server, and who asks it."""

    name: str
    kind: str
    """``ldap`` or ``active-directory``."""
    url: str
    base: str
    """Entry under which everything is read."""
    bind_dn: str
    password: SecretRef
    start_tls: bool = False
    roots: Path | None = None
    """None: the trusted roots of this machine."""
    timeout_s: float | None = None
    """None: that of the collection."""


@dataclass(frozen=True, slots=True)
class RegisterConnection:
    """A folder with the organisation's own registers."""

    name: str
    folder: Path
    kind: Literal["register"] = "register"


@dataclass(frozen=True, slots=True)
class KubernetesConnection:
    """A cluster, as a kubeconfig or the pod this program runs in knows it."""

    name: str
    kubeconfig: Path | None = None
    """None: ``in_cluster``."""
    context: str | None = None
    """Of the kubeconfig."""
    in_cluster: bool = False
    timeout_s: float | None = None
    """None: that of the collection."""
    kind: Literal["kubernetes"] = "kubernetes"


Connection = (
    RegisterConnection
    | AwsConnection
    | HostConnection
    | TlsConnection
    | HttpConnection
    | SqlConnection
    | LdapConnection
    | KubernetesConnection
)


@dataclass(frozen=True, slots=True)
class DisabledCheck:
    """A check that is not run, with the reason an auditor reads."""

    id: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """Deviations from the checks as they are shipped."""

    disabled: tuple[DisabledCheck, ...] = ()
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Check id, then parameter and value; a list is a tuple here."""


@dataclass(frozen=True, slots=True)
class Collection:
    """How hard it is tried."""

    workers: int = 16
    max_pages: int = 10_000
    max_reply_bytes: int = 64 * 1024 * 1024
    timeout_s: float = 60.0
    attempts: int = 5
    max_age_h: int = 26
    """Hours after which what was read no longer tells how things stand; a source may declare its own."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to collect from which connections."""

    name: str
    cron: Cron
    jitter_s: int = 0
    connections: tuple[str, ...] = ()
    """Empty: all."""


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """What the daemon does."""

    schedules: tuple[Schedule, ...]
    time_zone: ZoneInfo
    """Zone of the cron lines."""
    healthz: Address
    """Loopback address where /healthz answers."""


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """Which fields of replies tell of people."""

    defaults: bool = True
    """Whether the fields that are known to do so are among them."""
    fields: tuple[Personal, ...] = ()

    @property
    def selected(self) -> tuple[Personal, ...]:
        """All of them."""
        return (*(DEFAULTS if self.defaults else ()), *self.fields)


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that is valid in itself; what it refers to may still be missing."""

    document: Document
    organisation: str
    store: StoreConfig
    key: KeyConfig
    connections: tuple[Connection, ...]
    timestamps: TimestampConfig
    mappings: tuple[str, ...]
    """Empty: all that are shipped."""
    checks: CheckConfig
    plugins: tuple[Path, ...]
    """Folders with check modules of the customer."""
    collection: Collection
    daemon: DaemonConfig | None
    privacy: PrivacyConfig = PrivacyConfig()
    anchors: AnchorsConfig = AnchorsConfig()

    @property
    def path(self) -> Path:
        """The file, as the caller named it."""
        return self.document.path

    @property
    def folder(self) -> Path:
        """Where relative paths start, those of secrets too."""
        return self.document.path.absolute().parent

    @property
    def raw(self) -> bytes:
        """The file, byte for byte."""
        return self.document.raw

    @property
    def sha256(self) -> str:
        """Digest of the file in hex."""
        return self.document.sha256


def load(path: Path) -> Config:
    """The configuration in a file; no secret is resolved and nothing it refers to is opened.

    Raises:
        ConfigError: the first fault in the file, with line, column, key and next step.
    """
    document = yamlpos.load(path)
    _refuse_first(document, schema_faults(document.data))
    _refuse_first(document, meaning_faults(document.data, path.absolute()))
    return _built(document)


def check_parameters(config: Config, checks: Mapping[str, CheckFacts]) -> None:
    """Every check the configuration names exists, has the parameters it sets, and takes values of that type.

    Raises:
        ConfigError: the first fault in the file.
    """
    _refuse_first(config.document, check_faults(config.document.data.get("checks", {}), checks))


def _refuse_first(document: Document, faults: Iterator[Fault]) -> None:
    """Raise for the fault that stands first in the file, so that people correct it from top to bottom."""
    if first := min(faults, key=lambda fault: document.position(fault.keys), default=None):
        raise document.error(*first)


def _built(document: Document) -> Config:
    data = document.data
    folder = document.path.absolute().parent
    stamps, checks, daemon = (data.get(name, {}) for name in ("timestamps", "checks", "daemon"))
    limits = dict(data.get("collection", {}))
    for name, value in limits.items():
        limits[name] = float(value) if name == "timeout_s" else int(value)
    return Config(
        document=document,
        organisation=data["organisation"],
        store=_store(data["store"], folder),
        key=KeyConfig(
            folder / data["key"]["file"] if "file" in data["key"] else None,
            _secret(data["key"].get("passphrase")),
            data["key"].get("uri"),
            _secret(data["key"].get("pin")),
        ),
        connections=tuple(_connection(item, folder) for item in data["connections"]),
        timestamps=TimestampConfig(
            tuple(_authority(item, folder) for item in stamps.get("authorities", ())),
            int(stamps.get("max_lag_h", 24)),
        ),
        mappings=tuple(data.get("mappings", ())),
        checks=CheckConfig(
            tuple(DisabledCheck(item["id"], item["reason"], item["by"]) for item in checks.get("disabled", ())),
            {
                check: {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
                for check, values in checks.get("parameters", {}).items()
            },
        ),
        plugins=tuple(folder / item for item in data.get("plugins", {}).get("folders", ())),
        privacy=PrivacyConfig(
            data.get("privacy", {}).get("defaults", True),
            tuple(Personal(**item) for item in data.get("privacy", {}).get("fields", ())),
        ),
        anchors=_anchors(data.get("anchors", {}), folder),
        collection=Collection(**limits),
        daemon=_daemon(daemon) if daemon else None,
    )


def _authority(item: dict[str, Any], folder: Path) -> Authority:
    chain = folder / item["chain"] if "chain" in item else None
    return Authority(item["url"], folder / item["roots"], chain, item.get("crl"))


def _anchors(data: dict[str, Any], folder: Path) -> AnchorsConfig:
    return AnchorsConfig(
        tuple(WitnessConfig(item["url"], item["key"]) for item in data.get("witnesses", ())),
        tuple(
            CopyConfig(**({**item, "folder": folder / item["folder"]} if "folder" in item else item))
            for item in data.get("copies", ())
        ),
    )


def _store(item: dict[str, Any], folder: Path) -> StoreConfig:
    bucket = dict(item["bucket"]) if "bucket" in item else None
    if bucket and "retention_days" in bucket:
        bucket["retention_days"] = int(bucket["retention_days"])
    return StoreConfig(folder / item["path"], item["origin"], BucketConfig(**bucket) if bucket else None)


def _connection(item: dict[str, Any], folder: Path) -> Connection:
    name = item["name"]
    match item["kind"]:
        case "host":
            return HostConnection(name)
        case "tls":
            timeout_s = item.get("timeout_s")
            return TlsConnection(
                name,
                tuple(Address.parse(text) for text in item["endpoints"]),
                folder / item["roots"] if "roots" in item else None,
                None if timeout_s is None else float(timeout_s),
            )
        case "register":
            return RegisterConnection(name, folder / item["folder"])
        case "google-workspace":
            return _google(item, folder)
        case "kubernetes":
            return _kubernetes(item, folder)
        case "postgresql" | "mariadb":
            return _sql(item, folder)
        case kind if kind in HTTP_KINDS:
            return _http(item, folder)
        case kind if kind in LDAP_KINDS:
            return _ldap(item, folder)
    return AwsConnection(
        name,
        tuple(item["regions"]),
        item.get("endpoint_url") or _endpoint(),
        item.get("profile"),
        _secret(item.get("access_key_id")),
        _secret(item.get("secret_access_key")),
        _secret(item.get("session_token")),
        tuple(
            AwsAccount(account["id"], account["role"], _secret(account.get("external_id")))
            for account in item.get("accounts", ())
        ),
    )


def _endpoint() -> str | None:
    """The endpoint for AWS that the environment names: a setting like one that is written, and sealed with them.

    Raises:
        ConfigError: it is no address, or holds a password.
    """
    url = os.environ.get("AWS_ENDPOINT_URL") or None
    for fault in url_faults((), url) if url else ():
        raise ConfigError(f"the environment variable AWS_ENDPOINT_URL: {fault.what}", fault.next_step)
    return url


def _http(item: dict[str, Any], folder: Path) -> HttpConnection:
    basic, oauth, timeout_s = item.get("basic"), item.get("oauth"), item.get("timeout_s")
    return HttpConnection(
        item["name"],
        item.get("provider", item["kind"]),
        item.get("base_url", GRAPH),
        _secret(item.get("token")),
        Basic(basic["user"], SecretRef.parse(basic["secret"])) if basic else None,
        OAuth(
            oauth["token_url"],
            oauth["client_id"],
            _secret(oauth.get("client_secret")),
            _secret(oauth.get("private_key")),
            oauth.get("key_id", ""),
            tuple(oauth.get("scopes", ())),
        )
        if oauth
        else None,
        item.get("send_token"),
        folder / item["roots"] if "roots" in item else None,
        None if timeout_s is None else float(timeout_s),
        _entra(item) if "tenant" in item else None,
        accounts=tuple(item.get("accounts", ())),
    )


def _entra(item: dict[str, Any]) -> EntraApplication:
    certificate = item.get("certificate", {})
    return EntraApplication(
        item["tenant"],
        item["client_id"],
        item.get("authority", LOGIN).rstrip("/"),
        _secret(item.get("client_secret")),
        _secret(certificate.get("private_key")),
        certificate.get("thumbprint", "").replace(":", ""),
    )


def _sql(item: dict[str, Any], folder: Path) -> SqlConnection:
    timeout_s = item.get("timeout_s")
    return SqlConnection(
        item["name"],
        item["kind"],
        Address.parse(item["host"]),
        item["user"],
        SecretRef.parse(item["password"]),
        item.get("database", "postgres"),
        item.get("tls", True),
        folder / item["roots"] if "roots" in item else None,
        None if timeout_s is None else float(timeout_s),
    )


def _kubernetes(item: dict[str, Any], folder: Path) -> KubernetesConnection:
    timeout_s = item.get("timeout_s")
    return KubernetesConnection(
        item["name"],
        folder / item["kubeconfig"] if "kubeconfig" in item else None,
        item.get("context"),
        item.get("in_cluster", False),
        None if timeout_s is None else float(timeout_s),
    )


def _google(item: dict[str, Any], folder: Path) -> HttpConnection:
    timeout_s = item.get("timeout_s")
    return HttpConnection(
        item["name"],
        item["kind"],
        item.get("base_url", "https://admin.googleapis.com"),
        service_account=ServiceAccount(
            SecretRef.parse(item["service_account"]), item["subject"], tuple(item.get("scopes", ()))
        ),
        roots=folder / item["roots"] if "roots" in item else None,
        timeout_s=None if timeout_s is None else float(timeout_s),
    )


def _ldap(item: dict[str, Any], folder: Path) -> LdapConnection:
    timeout_s = item.get("timeout_s")
    return LdapConnection(
        item["name"], item["kind"], item["url"].rstrip("/"), item["base"], item["bind_dn"],
        SecretRef.parse(item["password"]), bool(item.get("start_tls", False)),
        folder / item["roots"] if "roots" in item else None,
        None if timeout_s is None else float(timeout_s),
    )  # fmt: skip


def _secret(text: str | None) -> SecretRef | None:
    return None if text is None else SecretRef.parse(text)


def _daemon(item: dict[str, Any]) -> DaemonConfig:
    def schedule(entry: dict[str, Any]) -> Schedule:
        cron, jitter_s = Cron.parse(entry["cron"]), int(entry.get("jitter_s", 0))
        return Schedule(entry["name"], cron, jitter_s, tuple(entry.get("connections", ())))

    return DaemonConfig(
        tuple(schedule(entry) for entry in item["schedules"]),
        ZoneInfo(item.get("time_zone", "UTC")),
        Address.parse(item.get("healthz", "127.0.0.1:9464")),
    )
