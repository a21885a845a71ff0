"""How TLS endpoints are read, and what is concluded about real servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from collector.connect import hello
from collector.connect.base import Limits
from collector.connect.certificate import certificate, staple
from collector.model import Finding, Outcome, Unavailable
from tests.host_tls_worlds import TlsWorld, findings
from tests.servers import DAY, Authority, Issued, Site, free_port, issue, nginx, ocsp_answer, peer, secured
from tests.worlds import Reading

HSTS = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
RESPONDER = "http://ocsp.example.org"
PASS, FAIL, SKIP, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.UNKNOWN
GOOD = {
    "certificate-valid": PASS, "days-left": PASS, "chain-trusted": PASS, "name-matches": PASS, "modern-protocols": PASS,
    "strong-key": PASS, "hsts": PASS, "ocsp-stapled": SKIP,
}  # fmt: skip
"""What is concluded about a server without a fault."""

DIFFERENT: dict[str, dict[str, Outcome]] = {
    "good": {},
    "stapled": {"ocsp-stapled": PASS},
    "not-stapled": {"ocsp-stapled": FAIL},
    "one-three-only": {"ocsp-stapled": UNKNOWN},
    "expired": {"certificate-valid": FAIL, "days-left": FAIL, "chain-trusted": FAIL},
    "not-yet-valid": {"certificate-valid": FAIL, "chain-trusted": FAIL},
    "seven-days-left": {"days-left": FAIL},
    "self-signed": {"chain-trusted": FAIL},
    "no-intermediate": {"chain-trusted": FAIL},
    "wrong-host": {"name-matches": FAIL},
    "rsa-1024": {"strong-key": FAIL},
    "old-only": {"modern-protocols": FAIL},
    "old-too": {"modern-protocols": FAIL},
    "no-hsts": {"hsts": FAIL},
    "short-hsts": {"hsts": FAIL},
    "not-http": {"hsts": SKIP},
    "closes": dict.fromkeys(GOOD, UNKNOWN),
    "plain-http": dict.fromkeys(GOOD, UNKNOWN),
    "nobody-listens": dict.fromkeys(GOOD, UNKNOWN),
}
"""Server to what differs from a good one."""


def sites(ca: Authority) -> dict[str, Site]:
    def site(leaf: Issued | None = None, chain: tuple[Issued, ...] = (ca.intermediate,), **options: object) -> Site:
        return Site(leaf or ca.leaf("localhost", "127.0.0.1"), chain, **{"headers": HSTS, **options})  # type: ignore[arg-type]

    stapled = ca.leaf("localhost", responder=RESPONDER)
    return {
        "good": site(),
        "stapled": site(stapled, staple=ocsp_answer(stapled, ca.intermediate)),
        "not-stapled": site(stapled),
        "one-three-only": site(stapled, protocols="TLSv1.3"),
        "expired": site(ca.leaf("localhost", begins=-30 * DAY, ends=-DAY)),
        "not-yet-valid": site(ca.leaf("localhost", begins=DAY)),
        "seven-days-left": site(ca.leaf("localhost", ends=7 * DAY)),
        "self-signed": site(issue("localhost", names=("localhost",)), ()),
        "no-intermediate": site(chain=()),
        "wrong-host": site(ca.leaf("other.example.org")),
        "rsa-1024": site(ca.leaf("localhost", key=ca.weak_key)),
        "old-only": site(protocols="TLSv1 TLSv1.1"),
        "old-too": site(protocols="TLSv1.1 TLSv1.2"),
        "no-hsts": site(headers={}),
        "short-hsts": site(headers={"Strict-Transport-Security": "max-age=300"}),
        "plain-http": site(plain=True),
    }


class Estate:
    """All servers, read once."""

    def __init__(self, world: TlsWorld, reading: Reading, endpoints: dict[str, str]) -> None:
        self.world = world
        self.reading = reading
        self.endpoints = endpoints
        self.findings = findings(reading)

    def concluded(self, server: str) -> dict[str, Finding]:
        mine = [finding for finding in self.findings if finding.resource == self.endpoints[server]]
        return {finding.check.removeprefix("tls.endpoint."): finding for finding in mine}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def estate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("tls")
    (folder / "roots.pem").write_bytes(b"# Example Root, S\xc3\xa3o\n" + authority.root.pem)
    banner = secured(folder, (authority.leaf("localhost"), authority.intermediate), b"* OK IMAP4rev1 ready\r\n")
    world = sites(authority)
    with nginx(folder, world), peer(banner) as not_http, peer(lambda connection: None) as closes:
        ports = {name: site.port for name, site in world.items()}
        ports |= {"not-http": not_http, "closes": closes, "nobody-listens": free_port()}
        endpoints = {name: f"localhost:{port}" for name, port in ports.items()}
        tls = TlsWorld(folder, list(endpoints.values()), folder / "roots.pem")
        yield Estate(tls, tls.read("tls.endpoints"), endpoints)


@pytest.mark.parametrize("server", DIFFERENT)
def test_what_is_concluded_about_a_server(estate: Estate, server: str) -> None:
    found = estate.concluded(server)
    reasons = {name: finding.reason for name, finding in found.items()}
    assert {name: finding.outcome for name, finding in found.items()} == GOOD | DIFFERENT[server], reasons
    assert all(finding.evidence for finding in found.values())


@pytest.mark.parametrize(
    ("server", "check", "words"),
    [
        ("expired", "chain-trusted", "certificate has expired (code 10)"),
        ("not-yet-valid", "chain-trusted", "certificate is not yet valid (code 9)"),
        ("self-signed", "chain-trusted", "self-signed certificate (code 18)"),
        ("no-intermediate", "chain-trusted", "unable to get local issuer certificate (code 20)"),
        ("wrong-host", "name-matches", "the certificate is for other.example.org, not for localhost"),
        ("rsa-1024", "strong-key", "has 1024 bits; the limit is 2048"),
        ("old-only", "modern-protocols", "offers TLSv1 and TLSv1.1"),
        ("old-too", "modern-protocols", "offers TLSv1.1;"),
        ("seven-days-left", "days-left", "6 days are left; the limit is 14"),
        ("one-three-only", "ocsp-stapled", "does not offer TLSv1.2"),
        ("closes", "chain-trusted", "closed the connection (2 attempts)"),
        ("plain-http", "chain-trusted", "does not speak TLS"),
        ("nobody-listens", "modern-protocols", "Connection refused (2 attempts)"),
    ],
)
def test_the_reason_names_the_fault(estate: Estate, server: str, check: str, words: str) -> None:
    assert words in estate.concluded(server)[check].reason


def test_every_endpoint_is_a_row_and_the_recording_gives_the_same_rows(estate: Estate) -> None:
    assert estate.reading.shard.population.proven
    assert [row["Endpoint"] for row in estate.reading.rows] == list(estate.endpoints.values())
    again = estate.world.replay(estate.reading)
    assert again.shard.path is not None
    assert estate.reading.shard.path is not None
    assert again.shard.path.read_bytes() == estate.reading.shard.path.read_bytes()
    assert again.shard.population == estate.reading.shard.population
    assert again.unused == []


def test_the_chain_and_the_roots_are_on_record(estate: Estate, authority: Authority) -> None:
    row = estate.reading.row(estate.endpoints["good"])
    assert [part["Subject"] for part in row["Handshake"]["Chain"]] == ["CN=localhost", "CN=Example Intermediate"]
    assert authority.root.pem in b"".join(estate.reading.ledger.objects.values())


def test_a_server_that_closes_on_old_versions_refuses_them(
    estate: Estate, authority: Authority, tmp_path: Path
) -> None:
    """A closed connection is asked for twice, and then it is an answer; as long as a modern version is offered."""

    def picky(connection: socket.socket) -> None:
        first = connection.recv(1 << 14)
        if first[9:11] == b"\x03\x03":
            with socket.create_connection(("127.0.0.1", behind)) as real:
                real.sendall(first)
                connection.sendall(real.recv(1 << 14))

    behind = int(estate.endpoints["good"].rpartition(":")[2])
    with peer(picky) as port:
        reading = TlsWorld(tmp_path, [f"localhost:{port}"], None).read("tls.endpoints")
    row = reading.row(f"localhost:{port}")
    assert row["TLSv1.1"] == {"Offered": False, "Answer": "the connection was closed", "Staple": None}
    assert row["TLSv1.3"]["Offered"]
    old = [line["attempt"] for line in reading.ledger.lines if line["params"].get("version") == "TLSv1.1"]
    assert old == [1, 2]


@pytest.mark.parametrize("piece", [b"", b"\x16"])
def test_a_server_that_holds_the_line_is_unknown_in_bounded_time(tmp_path: Path, piece: bytes) -> None:
    """It says nothing, or a byte now and then."""

    def slow(connection: socket.socket) -> None:
        while True:
            connection.sendall(piece)
            time.sleep(0.1)

    with peer(slow) as port:
        started = time.monotonic()
        world = TlsWorld(tmp_path, [f"127.0.0.1:{port}"], None, Limits(timeout_s=0.4), attempts=1)
        reading = world.read("tls.endpoints")
    assert time.monotonic() - started < 5
    assert {finding.outcome for finding in findings(reading)} == {UNKNOWN}
    assert {gap.kind for gap in reading.shard.population.partial} <= {"timeout", "rejected", "malformed"}


def test_without_trusted_roots_the_chain_is_unknown_and_the_rest_is_read(estate: Estate, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text("no certificates here")
    reading = TlsWorld(tmp_path, [estate.endpoints["good"]], tmp_path / "roots.pem").read("tls.endpoints")
    concluded = {finding.check.removeprefix("tls.endpoint."): finding for finding in findings(reading)}
    assert {name: f.outcome for name, f in concluded.items()} == GOOD | {"chain-trusted": UNKNOWN}
    assert "trusted roots could not be read" in concluded["chain-trusted"].reason


def test_an_empty_list_is_read_to_its_end(tmp_path: Path) -> None:
    reading = TlsWorld(tmp_path, [], None).read("tls.endpoints")
    assert reading.shard.population.proven
    assert {finding.outcome for finding in findings(reading)} == {SKIP}


def test_a_name_that_cannot_exist_is_unknown(tmp_path: Path) -> None:
    reading = TlsWorld(tmp_path, ["a..b:443"], None, attempts=1).read("tls.endpoints")
    with pytest.raises(Unavailable):
        reading.row("a..b:443")["Handshake"]["Chain"]


def test_cookies_are_not_kept(authority: Authority, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=hunter2\r\nStrict-Transport-Security: max-age=1\r\n\r\n"
    with peer(secured(tmp_path, (authority.leaf("localhost"),), answer)) as port:
        reading = TlsWorld(tmp_path, [f"localhost:{port}"], None, attempts=1).read("tls.endpoints")
    assert reading.row(f"localhost:{port}")["HEAD"] == {
        "Status": 200,
        "Headers": {"strict-transport-security": "max-age=1"},
    }
    assert "hunter2" not in str(reading.ledger.lines) + str(reading.ledger.objects)


@pytest.mark.parametrize(
    ("data", "flight"),
    [
        (b"", hello.Flight()),
        (b"\x15\x03\x01\x00\x02\x02\x46", hello.Flight(alert=70, complete=True)),
        (b"\x15\x03\x01\x00\x02\x01\x70", hello.Flight()),  # a warning: the server goes on
        (b"\x15\x03\x01\x00\x02\x01\x00", hello.Flight(alert=0, complete=True)),
        (b"\x16\x03\x01\x00\x40\x02", hello.Flight()),
    ],
)
def test_what_a_server_says_to_a_hello(data: bytes, flight: hello.Flight) -> None:
    assert hello.read_flight(data) == flight


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400", b"\x15\x03\x01\x00\x01\x02", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x03"]
)
def test_what_is_not_tls_is_malformed(data: bytes) -> None:
    with pytest.raises(hello.MalformedError):
        hello.read_flight(data)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x50", "ended with alert 80, which says nothing about the version"),
        (b"\x16\x03\x01\x00\x40\x02\x00", "broke off half-way (2 attempts)"),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x03", "the server's hello is too short"),
    ],
)
def test_an_answer_that_says_nothing_about_the_version_is_unknown(tmp_path: Path, answer: bytes, words: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1 << 14)
        connection.sendall(answer)

    with peer(talk) as port:
        reading = TlsWorld(tmp_path, [f"127.0.0.1:{port}"], None).read("tls.endpoints")
    (finding,) = [finding for finding in findings(reading) if finding.check == "tls.endpoint.modern-protocols"]
    assert finding.outcome == UNKNOWN
    assert words in finding.reason


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), {"Type": "RSA", "Bits": 2048}),
        (lambda: ec.generate_private_key(ec.SECP384R1()), {"Type": "EC", "Bits": 384}),
        (lambda: dsa.generate_private_key(2048), {"Type": "DSA", "Bits": 2048}),
        (ed25519.Ed25519PrivateKey.generate, {"Type": "Ed25519", "Bits": 256}),
        (ed448.Ed448PrivateKey.generate, {"Type": "Ed448", "Bits": 456}),
    ],
)
def test_the_kind_of_a_key_is_told(authority: Authority, key: Callable[[], object], facts: dict[str, object]) -> None:
    leaf = authority.leaf("www.example.org", "192.0.2.1", key=key(), responder=RESPONDER)
    told = certificate(leaf.certificate.public_bytes(Encoding.DER))
    assert told["PublicKey"] == facts
    assert (told["DNSNames"], told["IPAddresses"], told["OCSP"]) == (["www.example.org"], ["192.0.2.1"], [RESPONDER])
    assert (told["SignatureHash"], told["Issuer"]) == ("sha256", "CN=Example Intermediate")


def test_an_ocsp_answer_may_be_an_error() -> None:
    answer = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert staple(answer.public_bytes(Encoding.DER)) == {"Status": "try_later"}
