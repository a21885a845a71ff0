"""The demo's AWS account as a process of its own: moto on loopback, seeded, its ages set back.

``python -m collector.demo.emulator FOLDER`` writes ``FOLDER/expected.json`` and then ``FOLDER/ready.json``
(endpoint and number of resources), and serves until its standard input is closed. Three operations of AWS Backup
that moto 5.2 does not have, the root user's line of the credential report, and what AWS Config has discovered are
added here.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"


def main(folder: Path) -> None:
    """Serve until standard input is closed."""
    import boto3
    from moto.iam.models import iam_backends
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    from collector.demo import estate, mends

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    mends.date_reports()
    mends.name_root(estate.ROOT_LINE)
    mends.succeed_recorders()
    mends.tell_clusters_apart()
    application = WithBackups(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.port}"
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")
    clients: dict[tuple[str, str], Any] = {}

    def client(service: str, region: str) -> Any:
        if (service, region) not in clients:
            clients[service, region] = session.client(service, region_name=region, endpoint_url=endpoint)
        return clients[service, region]

    seeded = estate.seed(client)
    estate.back_date(iam_backends[estate.ACCOUNT]["aws"])
    mends.tell_discovered({estate.HOME: list(estate.discovered(client))})
    (folder / "expected.json").write_text(json.dumps(seeded.expected, indent=1), "utf8")
    ready = folder / "ready.json.part"
    ready.write_text(json.dumps({"endpoint": endpoint, "resources": seeded.resources}), "utf8")
    ready.rename(folder / "ready.json")
    sys.stdin.read()
    server.shutdown()


class WithBackups:
    """Answers what moto has no answer to, from the estate; everything else goes to moto."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        from collector.demo import estate

        credential = environ.get("HTTP_AUTHORIZATION", "")
        if environ["REQUEST_METHOD"] == "GET" and "/backup/aws4_request" in credential:
            answer = estate.backups(environ["PATH_INFO"], home=f"/{estate.HOME}/" in credential)
            if answer is not None:
                body = json.dumps(answer).encode()
                start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
                return [body]
        return self._application(environ, start)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
