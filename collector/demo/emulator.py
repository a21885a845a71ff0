"""The demo's AWS account as a process of its own: moto on loopback, seeded, its ages set back.

``python -m collector.demo.emulator FOLDER`` writes ``FOLDER/expected.json`` and then ``FOLDER/ready.json``
(endpoint and number of resources), and serves until its standard input is closed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"


def main(folder: Path) -> None:
    """Serve until standard input is closed."""
    import boto3
    from moto.iam.models import iam_backends
    from moto.server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    from collector.demo import estate

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")  # noqa: S106
    clients: dict[tuple[str, str], Any] = {}

    def client(service: str, region: str) -> Any:
        if (service, region) not in clients:
            clients[service, region] = session.client(service, region_name=region, endpoint_url=endpoint)
        return clients[service, region]

    seeded = estate.seed(client)
    estate.back_date(iam_backends[estate.ACCOUNT]["aws"])
    (folder / "expected.json").write_text(json.dumps(seeded.expected, indent=1), "utf8")
    ready = folder / "ready.json.part"
    ready.write_text(json.dumps({"endpoint": endpoint, "resources": seeded.resources}), "utf8")
    ready.rename(folder / "ready.json")
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
