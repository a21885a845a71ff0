"""A verdict that changes with the ruler is not a change of the world."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import run as running
from collector.config import load as load_config
from collector.demo.story import CONFIG
from collector.diff import Cause, Comparison, compare
from collector.plugins import content_root
from collector.rerun import rerun
from evidence_store.keys import create_key_file, load_key_file
from evidence_store.store import Store
from tests.worlds import AwsWorld

WANTED = "aws.iam.password-policy-length"
VERSIONING = "aws.s3.versioning"


class Estate:
    """A store, a configuration, and an account to read."""

    def __init__(self, folder: Path, world: AwsWorld) -> None:
        self.folder = folder
        self.world = world
        for name, text in (
            ("affidavit.passphrase", "for this test only"),
            ("aws-key-id", "testing"),
            ("aws-secret", "testing"),
        ):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
        create_key_file(folder / "affidavit.key", b"for this test only")
        self.signer = load_key_file(folder / "affidavit.key", b"for this test only")
        self.store = Store.create(folder / "store", origin="test.example.org/diff", signer=self.signer)

    def run(self, **parameters: dict[str, Any]) -> int:
        text = CONFIG.format(endpoint=self.world.endpoint, tls="127.0.0.1:1")
        kept = "".join(f"    {check}: {values}\n" for check, values in parameters.items())
        head, _, tail = text.partition("checks:\n")
        text = head + (f"checks:\n  parameters:\n{kept}" if kept else "") + tail[tail.index("collection:") :]
        (self.folder / "config.yaml").write_text(text)
        bench = running.prepare(load_config(self.folder / "config.yaml"))
        sealed = running.run(
            bench,
            self.store,
            trigger="test",
            stop=threading.Event(),
            wanted=lambda check: check.id in (WANTED, VERSIONING),
            connections=("demo",),
        )
        return sealed.number

    def compare(self, old: int, new: int, **options: Any) -> Comparison:
        return compare(self.store.run(old), self.store.run(new), **options)


@pytest.fixture
def estate(tmp_path: Path, aws_world: AwsWorld) -> Iterator[Estate]:
    aws_world.client("iam").update_account_password_policy(MinimumPasswordLength=12)
    aws_world.client("s3").create_bucket(
        Bucket="ledger", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    made = Estate(tmp_path, aws_world)
    yield made
    made.store.close()


def test_a_softer_limit_is_the_ruler(estate: Estate) -> None:
    old = estate.run()
    new = estate.run(**{WANTED: {"min_length": 10}})
    found = estate.compare(old, new)
    assert [(change.check, str(change.cause), change.old, change.new) for change in found.changes] == [
        (WANTED, "ruler", "FAIL", "PASS")
    ]
    assert found.limits == (f"{WANTED} min_length: 14 -> 10",)
    assert found.same == 2, "versioning, and that the list of buckets is whole"


def test_a_repaired_resource_is_the_world(estate: Estate) -> None:
    old = estate.run()
    estate.world.client("s3").put_bucket_versioning(Bucket="ledger", VersioningConfiguration={"Status": "Enabled"})
    found = estate.compare(old, estate.run())
    assert [(change.check, str(change.cause)) for change in found.changes] == [(VERSIONING, "world")]
    assert found.limits == ()
    assert found.modules == ()


def test_both_at_once_and_what_comes_and_goes(estate: Estate) -> None:
    old = estate.run()
    estate.world.client("iam").update_account_password_policy(MinimumPasswordLength=16)
    estate.world.client("s3").create_bucket(
        Bucket="second", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    new = estate.run(**{WANTED: {"min_length": 10}})
    causes = {(change.check, change.resource): change.cause for change in estate.compare(old, new).changes}
    assert causes == {(WANTED, "password-policy"): Cause.BOTH, (VERSIONING, "second"): Cause.APPEARED}
    back = {(change.check, change.resource): change.cause for change in estate.compare(new, old).changes}
    assert back[VERSIONING, "second"] == Cause.VANISHED


def test_todays_checks_judge_last_years_replies(estate: Estate, tmp_path: Path) -> None:
    number = estate.run()
    folder = tmp_path / "copy" / "checks"
    shutil.copytree(content_root() / "checks", folder)
    module = folder / "aws" / "iam_account.py"
    assert "MinimumPasswordLength" in module.read_text()
    module.write_text(module.read_text().replace("min_length: int = 14", "min_length: int = 8"))
    soft = rerun(estate.store.run(number), folders=(folder,))
    assert soft.changed_code == ("checks/aws/iam_account.py",)
    assert rerun(estate.store.run(number)).equal
    assert rerun(estate.store.run(number), sealed_code=True).equal
