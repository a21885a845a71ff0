"""Real servers on loopback, each in a folder of its own, and the certificates they show."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def program(name: str, package: str) -> str:
    """Path of a program; without it the test fails in CI and is skipped elsewhere."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        reason = f"{name} is not on this machine: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(
    name: str,
    by: Issued | None = None,
    *,
    names: tuple[str, ...] = (),
    begins: timedelta = -DAY,
    ends: timedelta = 90 * DAY,
    key: Any = None,
    responder: str = "",
) -> Issued:
    """A certificate: for a server when it has names, else for an authority; its own issuer without ``by``."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins).not_valid_after(NOW + ends)
        .add_extension(x509.BasicConstraints(not names, None), critical=True)
    )  # fmt: skip
    if names:
        listed = [x509.IPAddress(ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    if responder:
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


def ocsp_answer(leaf: Issued, by: Issued) -> bytes:
    """An OCSP answer that says the certificate is good (DER)."""
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf.certificate, by.certificate, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW - DAY, NOW + 5 * DAY, None, None
    )
    answer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate).sign(by.key, hashes.SHA256())
    return answer.public_bytes(Encoding.DER)


class Authority:
    """A root, an intermediate, and what they issue."""

    def __init__(self) -> None:
        self.root = issue("Example Root")
        self.intermediate = issue("Example Intermediate", self.root)

    @cached_property
    def weak_key(self) -> Any:
        return rsa.generate_private_key(65537, 1024)

    def leaf(self, *names: str, **options: Any) -> Issued:
        return issue(names[0], self.intermediate, names=names, **options)


@dataclass
class Site:
    """One server of nginx: what it shows and what it agrees to."""

    leaf: Issued
    chain: tuple[Issued, ...] = ()
    protocols: str = "TLSv1.2 TLSv1.3"
    headers: dict[str, str] = field(default_factory=dict)
    staple: bytes = b""
    ciphers: str = "ALL:!aNULL:@SECLEVEL=0"
    plain: bool = False
    port: int = field(default_factory=free_port)

    def config(self, folder: Path) -> str:
        if self.plain:
            return f"server {{ listen 127.0.0.1:{self.port}; return 204; }}"
        stem = folder / str(self.port)
        stem.with_suffix(".pem").write_bytes(b"".join(part.pem for part in (self.leaf, *self.chain)))
        stem.with_suffix(".key").write_bytes(self.leaf.key_pem)
        stem.with_suffix(".ocsp").write_bytes(self.staple)
        lines = [
            f"listen 127.0.0.1:{self.port} ssl", f"ssl_certificate {stem}.pem", f"ssl_certificate_key {stem}.key",
            f"ssl_protocols {self.protocols}", f"ssl_ciphers {self.ciphers}",
            *(f'add_header {name} "{value}" always' for name, value in self.headers.items()),
            *([f"ssl_stapling on; ssl_stapling_file {stem}.ocsp"] if self.staple else []),
            "return 204",
        ]  # fmt: skip
        return "server { " + "; ".join(lines) + "; }"


@contextmanager
def nginx(folder: Path, sites: dict[str, Site]) -> Iterator[None]:
    """Nginx with these sites, up when the block begins and gone when it ends."""
    binary = program("nginx", "nginx-light")
    temporary = " ".join(f"{kind}_temp_path {folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    servers = "\n".join(site.config(folder) for site in sites.values())
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off; {temporary}\n{servers}\n}}\n"
    )
    process = subprocess.Popen([binary, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")])
    try:
        for site in sites.values():
            _wait(site.port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "nginx ended at once; see its error.log"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose every connection is handled by ``talk``; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, talk), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(connection, talk), daemon=True).start()


def _talk(connection: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    with connection:
        try:
            talk(connection)
        except OSError:
            return


def secured(folder: Path, chain: tuple[Issued, ...], words: bytes) -> Callable[[socket.socket], None]:
    """Says ``words`` over TLS, then hears the other side out."""
    pair = folder / "peer.pem"
    pair.write_bytes(b"".join(part.pem for part in chain) + chain[0].key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)

    def over_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(words)
            secure.recv(1 << 14)

    return over_tls
