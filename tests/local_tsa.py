"""A time-stamp authority that `openssl ts` answers for, on loopback."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[tsa]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[web]
extendedKeyUsage = serverAuth
[intermediate]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[lists]
database = index
crlnumber = crlnumber
default_md = sha256
[ts]
default_tsa = here
[here]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
%s
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


class Tsa:
    """A P-256 authority that ``openssl ts`` answers for."""

    def __init__(self, folder: Path, usage: str = "tsa") -> None:
        self.folder = folder
        self.answer = "good"
        self.files: dict[str, bytes] = {}
        folder.mkdir()
        self.include("")
        make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config c.cnf"
        openssl(folder, f"{make} -extensions ca -subj /CN=Root -keyout ca.key -out ca.pem")
        openssl(
            folder, f"{make} -extensions {usage} -subj /CN=Stamps -keyout tsa.key -out tsa.pem -CA ca.pem -CAkey ca.key"
        )
        for name, content in (("serial", "01"), ("index", ""), ("crlnumber", "01")):
            (folder / name).write_text(content)
        self.roots = (folder / "ca.pem").read_bytes()

    def crl(self, *, revoked: bool = False, ca: str = "ca") -> bytes:
        """The revocation list of the issuer; with the authority's certificate on it, or not."""
        arguments = f"-config c.cnf -name lists -cert {ca}.pem -keyfile {ca}.key"
        if revoked:
            openssl(self.folder, f"ca -revoke tsa.pem {arguments}")
        openssl(self.folder, f"ca -gencrl -crldays 30 -out list.pem {arguments}")
        return (self.folder / "list.pem").read_bytes()

    def include(self, certificates: str) -> None:
        (self.folder / "c.cnf").write_text(CONFIG % certificates)

    def reply(self, query: bytes) -> bytes:
        (self.folder / "q").write_bytes(query)
        openssl(self.folder, "ts -reply -config c.cnf -section here -queryfile q -out r")
        return (self.folder / "r").read_bytes()


@contextmanager
def serving(tsa: Tsa) -> Iterator[str]:
    """Its address, while it answers as ``tsa.answer`` says; ``tsa.files`` are served for GET."""
    replayed: list[bytes] = []
    tsa.answer = "good"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            if tsa.answer == "down":
                self.send_error(503)
                return
            body = {"page": b"<html>maintenance</html>", "long": b"x" * 70_000, "empty": b""}.get(tsa.answer)
            if tsa.answer == "replay":
                body = replayed[0]
            if body is None:
                body = tsa.reply(query)
                replayed.append(body)
            self._send(body)

        def do_GET(self) -> None:
            body = tsa.files.get(self.path)
            if body is None:
                self.send_error(404)
            else:
                self._send(body)

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
