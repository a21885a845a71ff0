"""Opens the connection a task needs: to the outside, or to what was recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from collector.config import (
    AwsConnection,
    Config,
    EntraApplication,
    HostConnection,
    HttpConnection,
    KubernetesConnection,
    LdapConnection,
    RegisterConnection,
    SqlConnection,
    TlsConnection,
)
from collector.connect.base import Connection, Limits
from collector.connect.retry import Retry
from collector.connect.wire import ReplayWire, Wire
from collector.errors import ConfigError
from collector.model import Task
from collector.plan import Plan

if TYPE_CHECKING:
    from requests import Session

    from collector.connect.aws import AwsAccount
    from collector.connect.credential import Credential
    from collector.connect.http import Site
    from collector.connect.kubernetes import Cluster
    from collector.connect.ldap import Directory
    from collector.connect.sql import Server
    from collector.secrets import Secret

Opener = Callable[[Task, Wire], Connection]
"""Gives the connection of a task, whose replies go through the wire."""


def limits_of(config: Config) -> Limits:
    """The bounds the configuration sets."""
    collection = config.collection
    return Limits(collection.max_pages, collection.max_reply_bytes, collection.timeout_s)


def live(config: Config, *, pool: Executor, stop: threading.Event) -> Opener:
    """Connections to the outside, with the credentials the configuration refers to.

    Accounts are shared by their tasks; a secret is resolved when the first of them is opened.
    """
    limits = limits_of(config)
    retry = Retry(attempts=config.collection.attempts, stop=stop)
    connections = {connection.name: connection for connection in config.connections}
    accounts: dict[tuple[str, str], AwsAccount] = {}
    sites: dict[str, Site] = {}
    clusters: dict[str, Cluster] = {}
    directories: dict[str, Directory] = {}
    lock = threading.Lock()

    def account(connection: AwsConnection, id: str) -> AwsAccount:  # noqa: A002
        with lock:
            if (connection.name, id) not in accounts:
                accounts[connection.name, id] = _open_aws(
                    connection, id, config.folder, limits, config.collection.workers
                )
            return accounts[connection.name, id]

    def site(connection: HttpConnection, own: Limits) -> Site:
        with lock:
            if connection.name not in sites:
                sites[connection.name] = _open_site(connection, config.folder, own, config.collection.workers)
            return sites[connection.name]

    def directory(connection: LdapConnection, own: Limits) -> Directory:
        with lock:
            if connection.name not in directories:
                directories[connection.name] = _open_directory(connection, config.folder, own)
            return directories[connection.name]

    def cluster(connection: KubernetesConnection, own: Limits) -> Cluster:
        from collector.connect.kubernetes import open_cluster

        with lock:
            if connection.name not in clusters:
                workers = config.collection.workers
                clusters[connection.name] = open_cluster(connection, workers=workers, timeout_s=own.timeout_s)
            return clusters[connection.name]

    def open_one(task: Task, wire: Wire) -> Connection:
        connection = connections[task.connection]
        match connection:
            case AwsConnection():
                from collector.connect.aws import Aws

                region = task.region or connection.regions[0]
                return Aws(wire, account(connection, task.account), region, retry=retry, limits=limits, pool=pool)
            case HostConnection():
                from collector.connect.host import Host

                return Host(wire, retry=retry, limits=limits, pool=pool)
            case RegisterConnection():
                from collector.connect.register import Register

                if not connection.folder.is_dir():
                    told = f"{connection.folder}, the folder of {connection.name}, is not there, or no folder"
                    raise ConfigError(told, "correct its folder, or mount it")
                return Register(wire, connection.folder, retry=retry, limits=limits, pool=pool)
            case TlsConnection():
                from collector.connect.tls import Tls

                own = Limits(limits.max_pages, limits.max_reply_bytes, connection.timeout_s or limits.timeout_s)
                endpoints = tuple(str(endpoint) for endpoint in connection.endpoints)
                return Tls(wire, endpoints, connection.roots, retry=retry, limits=own, pool=pool)
            case KubernetesConnection():
                from collector.connect.kubernetes import Kubernetes

                own = Limits(limits.max_pages, limits.max_reply_bytes, connection.timeout_s or limits.timeout_s)
                return Kubernetes(wire, cluster(connection, own), retry=retry, limits=own, pool=pool)
            case HttpConnection():
                from collector.connect.http import Http

                own = Limits(limits.max_pages, limits.max_reply_bytes, connection.timeout_s or limits.timeout_s)
                return Http(wire, site(connection, own), retry=retry, limits=own, pool=pool)
            case LdapConnection():
                from collector.connect.ldap import Ldap

                own = Limits(limits.max_pages, limits.max_reply_bytes, connection.timeout_s or limits.timeout_s)
                place = directory(connection, own)
                return Ldap(wire, connection.kind, connection.base, place, retry=retry, limits=own, pool=pool)
            case SqlConnection():
                from collector.connect.sql import Sql

                own = Limits(limits.max_pages, limits.max_reply_bytes, connection.timeout_s or limits.timeout_s)
                server = _open_server(connection, config.folder)
                return Sql(wire, connection.kind, server, retry=retry, limits=own, pool=pool)

    return open_one


def recorded(plan: Plan) -> Opener:
    """Connections whose every reply comes from the recording; nothing is sent, no secret is needed."""
    limits = Limits(plan.limits["max_pages"], plan.limits["max_reply_bytes"], plan.limits["timeout_s"])
    retry = Retry(attempts=plan.limits["attempts"], waits=False)
    shared: list[AwsAccount] = []

    def open_one(task: Task, wire: Wire) -> Connection:
        if isinstance(wire, ReplayWire):
            wire.check_opened()
        place = plan.place(task.connection)
        if place.kind == "aws":
            from collector.connect.aws import Aws, AwsAccount

            if not shared:
                shared.append(AwsAccount(None, endpoint_url=None, limits=limits, workers=1))
            return Aws(wire, shared[0], task.region or place.home, retry=retry, limits=limits)
        if place.kind == "host":
            from collector.connect.host import Host

            return Host(wire, retry=retry, limits=limits)
        if place.kind == "register":
            from collector.connect.register import Register

            return Register(wire, None, retry=retry, limits=limits)
        if place.kind == "tls":
            from collector.connect.tls import Tls

            return Tls(wire, place.endpoints, None, retry=retry, limits=limits)
        if place.kind in ("ldap", "active-directory"):
            from collector.connect.ldap import Ldap

            return Ldap(wire, place.kind, place.home, None, retry=retry, limits=limits)
        if place.kind in ("postgresql", "mariadb"):
            from collector.connect.sql import Sql

            return Sql(wire, place.kind, None, retry=retry, limits=limits)
        if place.kind == "kubernetes":
            from collector.connect.kubernetes import Kubernetes, recorded_site

            return Kubernetes(wire, recorded_site(), retry=retry, limits=limits)
        from collector.connect.http import Http, Site

        return Http(wire, Site(place.kind, place.endpoints[0]), retry=retry, limits=limits)

    return open_one


def _open_aws(connection: AwsConnection, account: str, base: Path, limits: Limits, workers: int) -> AwsAccount:
    from collector.connect.aws import open_account

    declared = next((item for item in connection.accounts if item.id == account), None)
    secret = {
        name: reference.resolve(base).reveal() if reference else None
        for name, reference in (
            ("access_key_id", connection.access_key_id),
            ("secret_access_key", connection.secret_access_key),
            ("session_token", connection.session_token),
            ("external_id", declared.external_id if declared else None),
        )
    }
    return open_account(
        limits=limits, workers=workers, endpoint_url=connection.endpoint_url, profile=connection.profile,
        role=declared.role if declared else None, region=connection.regions[0], **secret,
    )  # fmt: skip


def _open_directory(connection: LdapConnection, base: Path, limits: Limits) -> Directory:
    """The server a connection names; nothing is opened yet, each list has a session of its own."""
    from importlib.util import find_spec

    from collector.connect.ldap import Directory

    if find_spec("ldap3") is None:
        told = f"{connection.name} needs ldap3, which is not installed"
        raise ConfigError(told, "pip install 'affidavit[directories]'")
    return Directory(
        connection.url, bind_dn=connection.bind_dn, password=connection.password.resolve(base),
        start_tls=connection.start_tls, roots=connection.roots, timeout_s=limits.timeout_s,
    )  # fmt: skip


def _open_server(connection: SqlConnection, base: Path) -> Server:
    """The server a connection names; nothing is opened yet, each statement has a session of its own."""
    from collector.connect.sql import verified

    name = f"{connection.user} with {connection.password}"
    tls = verified(connection.roots) if connection.tls else None
    secret = connection.password.resolve(base)
    try:
        if connection.kind == "postgresql":
            from collector.connect.postgresql import PostgreSql

            return PostgreSql(connection.host, connection.database, connection.user, secret, name=name, tls=tls)
        from collector.connect.mariadb import MariaDb

        return MariaDb(connection.host, connection.user, secret, name=name, tls=tls)
    except ModuleNotFoundError as error:
        told = f"{connection.name} needs {error.name}, which is not installed"
        raise ConfigError(told, "pip install 'affidavit[databases]'") from None


def _open_site(connection: HttpConnection, base: Path, limits: Limits, workers: int) -> Site:
    from collector.connect import credential
    from collector.connect.http import Site, dialect, open_session

    session = open_session(connection.kind, workers=workers, roots=connection.roots)
    held: credential.Credential
    if connection.token:
        spelling = connection.send_token or dialect(connection.kind).token
        held = credential.token(f"token {connection.token}", spelling, connection.token.resolve(base))
    elif connection.basic:
        held = credential.basic(
            connection.basic.user, str(connection.basic.secret), connection.basic.secret.resolve(base)
        )
    elif connection.oauth:
        oauth = connection.oauth
        held = credential.ClientCredentials(
            token_url=oauth.token_url, client_id=oauth.client_id, scopes=oauth.scopes,
            post=credential.poster(session, limits.timeout_s),
            client_secret=oauth.client_secret.resolve(base) if oauth.client_secret else None,
            private_key=oauth.private_key.resolve(base) if oauth.private_key else None, key_id=oauth.key_id,
        )  # fmt: skip
    elif connection.service_account:
        from collector.connect.google import SCOPES, Delegated

        account = connection.service_account
        held = Delegated(
            account.key.resolve(base), subject=account.subject, scopes=account.scopes or SCOPES,
            post=credential.poster(session, limits.timeout_s),
        )  # fmt: skip
    elif connection.entra:
        held = _entra(connection, connection.entra, base, session, limits)
    else:
        held = credential.anonymous()
    return Site(connection.kind, connection.base_url, credential=held, session=session, timeout_s=limits.timeout_s)


def _entra(
    connection: HttpConnection, application: EntraApplication, base: Path, session: Session, limits: Limits
) -> Credential:
    from importlib.util import find_spec

    from collector.connect.credential import rsa_key
    from collector.connect.microsoft import Certificate, EntraClient, Sender

    if find_spec("msal") is None:
        what = f"connection {connection.name} needs Microsoft's library msal, which is not installed"
        raise ConfigError(what, "pip install 'affidavit[entra]', or write oauth: instead of tenant:")
    proof: Secret | Certificate
    if application.private_key:
        proof = Certificate(application.private_key.resolve(base), application.thumbprint)
        rsa_key(proof.private_key, "certificate.private_key")
    elif application.client_secret:
        proof = application.client_secret.resolve(base)
    else:
        raise AssertionError("the configuration was checked")
    return EntraClient(
        authority=application.authority, tenant=application.tenant, client_id=application.client_id,
        scope=f"{connection.base_url.rstrip('/')}/.default", proof=proof,
        sender=Sender(session, application.authority, limits.timeout_s),
    )  # fmt: skip
