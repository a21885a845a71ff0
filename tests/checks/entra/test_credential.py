"""How an application signs in to Entra: Microsoft's own library against a token server over TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from collector.config import EntraApplication, HttpConnection, load
from collector.connect.http import open_session
from collector.connect.microsoft import Certificate, EntraClient, Sender
from collector.connect.opening import _open_site
from collector.errors import ConfigError
from collector.secrets import Secret
from tests import promises
from tests.checks.entra.test_entra import furnish
from tests.entra_world import EntraWorld, refusal
from tests.http_world import worlds
from tests.servers import DAY, NOW, issue
from tests.small_cloud import files_of
from tests.worlds import LIMITS

CLIENT = "11112222-3333-4444-5555-666677778888"
PROOF = "s3cret~proof"
WRONG = {"error": "invalid_client", "error_description": "AADSTS7000215: words", "error_codes": [7000215]}


@cache
def _certificates() -> tuple[bytes, bytes]:
    """A root, and a certificate for loopback with its key, as strict as clients want them since Python 3.13."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Example Root", "127.0.0.1")]
    made = []
    for number in (0, 1):
        builder = (
            x509.CertificateBuilder().subject_name(names[number]).issuer_name(names[0])
            .public_key(keys[number].public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(number == 0, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(keys[number].public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )  # fmt: skip
        if number:
            alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            builder = builder.add_extension(alternative, critical=False)
        else:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    key = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made[0], made[1] + key


class TokenServer:
    """Says where tokens are to be had, and hands them out."""

    def __init__(self, folder: Path) -> None:
        root, pair = _certificates()
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(root)
        shown = folder / "server.pem"
        shown.write_bytes(pair)
        self.forms: list[dict[str, str]] = []
        self.discoveries = 0
        self.answer: Callable[[int], tuple[int, Any]] = lambda number: (200, self.token("00-example-token"))
        self.discovered: Callable[[int], tuple[int, Any]] = lambda number: (200, self.document(self.origin))
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                world.discoveries += 1
                self._send(*world.discovered(world.discoveries))

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                world.forms.append({**dict(parse_qsl(text)), "path": self.path})
                self._send(*world.answer(len(world.forms)))

            def _send(self, status: int, body: Any) -> None:
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.origin = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def document(self, origin: str) -> dict[str, str]:
        return {
            "authorization_endpoint": f"{origin}/t1/oauth2/v2.0/authorize",
            "token_endpoint": f"{origin}/t1/oauth2/v2.0/token",
            "issuer": f"{origin}/t1/v2.0",
        }

    def token(self, value: str) -> dict[str, Any]:
        return {"token_type": "Bearer", "expires_in": 3599, "access_token": value}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self, proof: Secret | Certificate | None = None, *, roots: bool = True) -> EntraClient:
        session = open_session("entra", workers=1, roots=self.roots if roots else None)
        return EntraClient(
            authority=self.origin, tenant="t1", client_id=CLIENT, scope="https://graph.example/.default",
            proof=proof or Secret(PROOF), sender=Sender(session, self.origin, 5.0),
        )  # fmt: skip


@pytest.fixture
def login(tmp_path: Path) -> Iterator[TokenServer]:
    server = TokenServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def entra(tmp_path: Path) -> Iterator[EntraWorld]:
    for world in worlds(EntraWorld, tmp_path):
        furnish(world)
        yield world


def site_reading(entra: EntraWorld, client: EntraClient, dataset: str = "entra.users", attempts: int = 2) -> Any:
    return entra.read(dataset, site=entra.site(client), attempts=attempts)


def test_a_run_signs_in_once_and_keeps_neither_secret_nor_token(
    entra: EntraWorld, login: TokenServer, tmp_path: Path
) -> None:
    connection = (
        f"name: tenant, kind: entra, base_url: '{entra.origin}', authority: '{login.origin}', "
        f"tenant: t1, client_id: {CLIENT}, client_secret: file:secret, roots: {login.roots}"
    )
    office = promises.connected(tmp_path, connection, secret=f"{PROOF}\n")
    said = office.run("--json", "--check", "entra.role-*", "--check", "entra.users.*")
    assert said.code == 1, said.err
    assert said.json["counts"]["UNKNOWN"] == said.json["counts"]["ERROR"] == 0
    assert (login.discoveries, len(login.forms)) == (1, 1)
    form = login.forms[0]
    assert (form["path"], form["grant_type"], form["client_id"]) == (
        "/t1/oauth2/v2.0/token", "client_credentials", CLIENT,
    )  # fmt: skip
    assert form["scope"] == f"{entra.origin}/.default"
    with office.sealed() as run:
        assert {line["caller"] for line in run.replies()} == {f"client {CLIENT} of tenant t1"}
    kept = b"".join(files_of(office.store).values()) + said.out.encode() + said.err.encode()
    assert PROOF.encode() not in kept
    assert b"00-example-token" not in kept
    assert office.rerun().code == 0


def test_a_certificate_signs_for_the_application(entra: EntraWorld, login: TokenServer) -> None:
    held = issue("application", key=rsa.generate_private_key(65537, 2048))
    thumbprint = hashlib.sha1(held.certificate.public_bytes(Encoding.DER)).hexdigest()
    client = login.client(Certificate(Secret(held.key_pem.decode()), thumbprint))
    assert site_reading(entra, client).shard.population.proven
    assert "client_secret" not in login.forms[0]
    head, claims, signature = login.forms[0]["client_assertion"].split(".")
    held.key.public_key().verify(_raw(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert _raw(json.loads(_raw(head))["x5t"].rstrip("=")).hex() == thumbprint
    told = json.loads(_raw(claims))
    assert (told["iss"], told["aud"]) == (CLIENT, f"{login.origin}/t1/oauth2/v2.0/token")


def _raw(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((401, WRONG), "unauthenticated", "gave no access token (invalid_client AADSTS7000215)"),
        ((400, {"error": "unauthorized_client", "error_codes": [700016]}), "unauthenticated", "AADSTS700016"),
        ((400, {"error": PROOF + " <b>"}), "unauthenticated", "gave no access token (no error told)"),
        ((200, {"token_type": "Bearer", "expires_in": 3599, "access_token": "a\nb"}), "unauthenticated", "cannot be"),
        ((200, b"<html>"), "unauthenticated", "does not answer as a token server"),
        ((503, b""), "server-error", "gave no access token (status 503)"),
        ((429, b""), "throttled", "gave no access token (status 429)"),
    ],
)
def test_a_refused_sign_in_is_a_gap_and_nothing_is_asked(
    entra: EntraWorld, login: TokenServer, answer: tuple[int, Any], kind: str, words: str
) -> None:
    login.answer = lambda number: answer
    gap = site_reading(entra, login.client()).shard.population.gap
    assert gap is not None
    assert str(gap.kind) == kind
    assert words in gap.reason
    assert PROOF not in gap.reason
    assert entra.requests == []


def test_an_unknown_tenant_is_told(entra: EntraWorld, login: TokenServer) -> None:
    login.discovered = lambda number: (400, {"error": "invalid_tenant"})
    gap = site_reading(entra, login.client()).shard.population.gap
    assert gap is not None
    assert str(gap.kind) == "unauthenticated"
    assert "does not know the tenant" in gap.reason
    assert login.forms == []


def test_the_secret_goes_to_the_configured_server_only(entra: EntraWorld, login: TokenServer) -> None:
    login.discovered = lambda number: (200, login.document("https://login.example.net"))
    gap = site_reading(entra, login.client()).shard.population.gap
    assert gap is not None
    assert "sends us to another server for the token" in gap.reason
    assert login.forms == []


def test_a_server_of_another_authority_is_not_trusted(entra: EntraWorld, login: TokenServer) -> None:
    gap = site_reading(entra, login.client(roots=False)).shard.population.gap
    assert gap is not None
    assert str(gap.kind) == "unreachable"
    assert "SSLError" in gap.reason
    assert login.forms == []


def test_what_fails_for_a_moment_is_asked_again(entra: EntraWorld, login: TokenServer) -> None:
    login.answer = lambda number: (503, b"") if number == 1 else (200, login.token("00-example-token"))
    assert site_reading(entra, login.client()).shard.population.proven
    assert len(login.forms) == 2


def test_a_token_that_is_refused_is_not_used_again(entra: EntraWorld, login: TokenServer) -> None:
    login.answer = lambda number: (200, login.token(f"token-{number}"))
    entra.token = "token-1"
    client = login.client()
    assert site_reading(entra, client).shard.population.proven
    entra.token = "token-2"
    gap = site_reading(entra, client).shard.population.gap
    assert gap is not None
    assert str(gap.kind) == "unauthenticated"
    assert site_reading(entra, client).shard.population.proven
    assert [form["path"] for form in login.forms] == ["/t1/oauth2/v2.0/token"] * 2


def test_one_token_serves_the_whole_run(entra: EntraWorld, login: TokenServer) -> None:
    client = login.client()
    for dataset in ("entra.users", "entra.groups", "entra.domains"):
        assert site_reading(entra, client, dataset).shard.population.proven
    assert len(login.forms) == 1


def test_a_slow_or_absent_server_is_told(login: TokenServer) -> None:
    class Slow(requests.Session):
        def request(self, *_: Any, **__: Any) -> Any:
            raise requests.ReadTimeout

    client = EntraClient(
        authority=login.origin, tenant="t1", client_id=CLIENT, scope="s", proof=Secret(PROOF),
        sender=Sender(Slow(), login.origin, 1.0),
    )  # fmt: skip
    with pytest.raises(Exception, match="did not answer in time"):
        client.headers()


# Configuration


CONFIG = """\
version: 1
organisation: Example Ltd
store: {path: evidence, origin: evidence.example.org/prod}
key: {file: affidavit.key, passphrase: env:PASS}
connections:
  - {name: acme, kind: entra, %s}
"""
RIGHT = f"tenant: t1.example, client_id: {CLIENT}"
THUMB = "A1:B2:C3:D4:E5:F6:07:18:29:3A:4B:5C:6D:7E:8F:90:01:12:23:34"


@contextmanager
def configured(folder: Path, text: str) -> Iterator[HttpConnection]:
    (folder / "config.yaml").write_text(CONFIG % text)
    found = load(folder / "config.yaml").connections[0]
    assert isinstance(found, HttpConnection)
    yield found


def test_what_is_left_out_is_the_worldwide_cloud(tmp_path: Path) -> None:
    with configured(tmp_path, f"{RIGHT}, client_secret: env:S") as found:
        assert found.base_url == "https://graph.microsoft.com"
        assert found.entra is not None
        assert (found.entra.authority, found.entra.tenant) == ("https://login.microsoftonline.com", "t1.example")


def test_another_cloud_and_a_certificate(tmp_path: Path) -> None:
    text = (
        f"{RIGHT}, certificate: {{private_key: file:key.pem, thumbprint: '{THUMB}'}}, "
        "base_url: https://graph.microsoft.us, authority: https://login.microsoftonline.us/"
    )
    with configured(tmp_path, text) as found:
        application = found.entra
    assert isinstance(application, EntraApplication)
    assert (application.authority, application.thumbprint) == (
        "https://login.microsoftonline.us", THUMB.replace(":", ""),
    )  # fmt: skip
    (tmp_path / "key.pem").touch(mode=0o600)
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(ConfigError, match=r"certificate\.private_key is not an unencrypted RSA key"):
        _open_site(found, tmp_path, LIMITS, 1)
    (tmp_path / "key.pem").write_bytes(issue("a", key=rsa.generate_private_key(65537, 2048)).key_pem)
    site = _open_site(found, tmp_path, LIMITS, 1)
    assert site.credential is not None
    assert site.credential.name == f"client {CLIENT} of tenant t1.example"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tenant: t1, client_secret: env:S", "client_id is missing"),
        (f"client_id: {CLIENT}, client_secret: env:S", "tenant is missing"),
        ("base_url: https://graph.microsoft.com", "tenant is missing"),
        (RIGHT, "client_secret and certificate are missing"),
        (
            f"{RIGHT}, client_secret: env:S, certificate: {{private_key: env:K, thumbprint: '{THUMB}'}}",
            "certificate: stands beside client_secret",
        ),
        (f"{RIGHT}, client_secret: env:S, token: env:T", "tenant: stands beside token"),
        (f"{RIGHT}, client_secret: hush", "a literal value stands where a reference to a secret"),
        (f"{RIGHT}, client_secret: env:S, base_url: https://graph.microsoft.com/v1.0", "base_url: holds a path"),
        (f"{RIGHT}, client_secret: env:S, authority: http://127.0.0.1", "authority: not https with a host"),
        (f"{RIGHT}, client_secret: env:S, authority: https://a.example/t1", "authority: not https with a host"),
        (f"{RIGHT}, certificate: {{private_key: env:K, thumbprint: abc}}", "has the wrong form"),
        (f"kind2: x, {RIGHT}, client_secret: env:S", "unknown key"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught, configured(tmp_path, text):
        pass
    assert words in caught.value.what


def test_other_kinds_know_no_tenant(tmp_path: Path) -> None:
    text = CONFIG.replace("kind: entra, %s", f"kind: okta, base_url: https://a.example, {RIGHT}, client_secret: env:S")
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="tenant: belongs to the kind entra"):
        load(tmp_path / "config.yaml")


def test_without_the_library_the_next_step_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with configured(tmp_path, f"{RIGHT}, client_secret: env:S") as found, pytest.raises(ConfigError) as caught:
        _open_site(found, tmp_path, LIMITS, 1)
    assert "msal, which is not installed" in caught.value.what
    assert "affidavit[entra]" in caught.value.next_step


def test_a_401_of_graph_reads_as_such(entra: EntraWorld, login: TokenServer) -> None:
    entra.faults[".*"] = lambda request, number: refusal(401, "InvalidAuthenticationToken")
    gap = site_reading(entra, login.client()).shard.population.gap
    assert gap is not None
    assert "the credential is not valid (401 InvalidAuthenticationToken)" in gap.reason
