"""The command line with a store in a bucket, against moto: run, verify, re-perform, go on without the folder."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from evidence_store import layout
from evidence_store.store import Store
from tests.small_cloud import ALL, Cloud, Office, affidavit, cloud, two_lines

URI = "s3://example-evidence/prod"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server with a bucket that has Object Lock; the environment's identity may use it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in (
        ("AWS_ENDPOINT_URL_S3", url),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    # The emulator remembers across servers of one process.
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="example-evidence", ObjectLockEnabledForBucket=True)
    yield url
    server.stop()


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def office(aws: Cloud, tmp_path: Path, endpoint: str) -> Office:
    return in_bucket(Office(tmp_path / "office", aws.endpoint), endpoint)


def in_bucket(office: Office, endpoint: str) -> Office:
    text = office.config.read_text()
    store = next(line for line in text.splitlines() if line.startswith("store:"))
    bucket = f"bucket: {{uri: {URI}, retention_days: 30, region: us-east-1, endpoint_url: '{endpoint}'}}"
    office.config.write_text(text.replace(store, store.rstrip("}") + f", {bucket}}}"))
    return office


def objects() -> dict[str, Any]:
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket="example-evidence", Prefix="prod/")["Contents"]
    return {entry["Key"].removeprefix("prod/"): entry for entry in listed}


def test_a_run_is_kept_in_the_bucket_and_an_auditor_reads_it_there(office: Office) -> None:
    assert office.run(*ALL).code == 1
    assert {name for name in objects() if name.startswith("runs/")} == {
        f"runs/00000001/{name}" for name in layout.RUN_FILES
    }
    said = affidavit("verify", URI, "--key", office.fingerprint, "--json")
    assert said.code == 0, said
    assert said.json["runs"] == 1
    said = affidavit("rerun", URI, "--key", office.fingerprint, "--json")
    assert (said.code, said.json["equal"]) == (0, True)
    assert affidavit("store", "check", URI, "--key", office.fingerprint, "--read-data").code == 0
    said = affidavit("store", "stats", URI, "--json")
    assert (said.code, said.json["schema"]) == (0, "affidavit.store-stats/1")
    assert affidavit("report", "--store", URI, "--key", office.fingerprint, "--format", "json").code == 0


def test_when_the_folder_is_lost_the_next_run_goes_on_from_the_bucket(office: Office) -> None:
    assert office.run(*ALL).code == 1
    before = objects()
    shutil.rmtree(office.store)
    assert office.run(*ALL).code == 1
    after = objects()
    assert {name: after[name]["ETag"] for name in before} == {name: entry["ETag"] for name, entry in before.items()}
    assert office.states() == ["complete", "complete"]
    assert office.verify().ok
    said = affidavit("verify", URI, "--key", office.fingerprint, "--json")
    assert (said.code, said.json["runs"]) == (0, 2)
    assert affidavit("rerun", URI, "1").code == affidavit("rerun", URI, "2").code == 0


def test_key_rotation_reaches_the_bucket_too(office: Office, tmp_path: Path) -> None:
    assert office.run(*ALL).code == 1
    secret = f"file:{office.folder / 'passphrase'}"
    assert affidavit("key", "new", str(office.folder / "next.key"), "--secret", secret).code == 0
    said = affidavit(
        *office.command("key", "rotate", "next.key", "--secret", "file:passphrase", "--reason", "yearly")[:1],
        "rotate", str(office.folder / "next.key"), "--secret", secret, "--reason", "yearly",
        "--config", str(office.config),
    )  # fmt: skip
    assert said.code == 0, said
    said = affidavit("verify", URI, "--key", office.fingerprint, "--json")
    assert said.json["problems"] == []
    with Store.open(URI) as store:
        assert store.fingerprint != office.fingerprint
    assert json.loads((office.store / layout.TRUST).read_bytes()) == json.loads(
        boto3.client("s3").get_object(Bucket="example-evidence", Key=f"prod/{layout.TRUST}")["Body"].read()
    )


def test_a_bucket_that_cannot_be_reached_or_written_is_told_in_two_lines(office: Office) -> None:
    text = office.config.read_text()
    office.config.write_text(text.replace("s3://example-evidence/prod", "s3://no-such-bucket-here/prod"))
    said = office.run(*ALL)
    assert said.code == 2
    assert two_lines(said), said
    assert "NoSuchBucket" in said.err
    assert not office.store.exists()
