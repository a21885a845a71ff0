"""A verdict that changes with the ruler is not a change of the world."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collector import run as running
from collector.config import load as load_config
from collector.demo.story import CONFIG
from collector.diff import Cause, Comparison, compare
from collector.plugins import Library, content_root, load_folders
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
        self.library: Library | None = None
        """Checks to judge with; without any, those that are installed."""
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
        if self.library:
            bench = replace(bench, library=self.library)
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


def edited(folder: Path, old: str, new: str) -> Library:
    """Our checks, one of them rewritten, and its examples."""
    shutil.copytree(content_root() / "checks", folder / "checks")
    shutil.copytree(content_root() / "tests" / "checks", folder / "checks" / "examples", ignore=_not_examples)
    module = folder / "checks" / "aws" / "iam_account.py"
    assert module.read_text().count(old) == 1
    module.write_text(module.read_text().replace(old, new))
    return load_folders((folder / "checks",))


def _not_examples(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_file() and not name.endswith(".yaml")]


def test_code_that_changed_is_the_ruler_even_where_the_installed_checks_judge_both_alike(
    estate: Estate, tmp_path: Path
) -> None:
    old = estate.run()
    limit = "if length >= min_length else"
    estate.library = edited(tmp_path / "gentle", limit, "if length >= min_length or length == 12 else")
    new = estate.run()
    found = estate.compare(old, new)
    (change,) = found.changes
    assert (change.check, change.cause, change.old, change.new) == (WANTED, Cause.RULER, "FAIL", "PASS")
    assert "--sealed-code" in change.hint
    assert change.hint in str(change)
    assert found.modules == ("checks/aws/iam_account.py",)
    assert found.same == 2
    (shown,) = estate.compare(old, new, sealed_code=True).changes
    assert (shown.cause, shown.hint) == (Cause.RULER, "")
    estate.world.client("iam").update_account_password_policy(MinimumPasswordLength=13)
    (back,) = estate.compare(new, estate.run()).changes
    assert (back.cause, back.old, back.new) == (Cause.WORLD, "PASS", "FAIL"), "one ruler, which is not the installed"
    assert "--sealed-code" in back.hint


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
