"""The fifteen-minute tutorial works as it is written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from collector import examples, plugins
from collector.catalogue import load_catalogues, load_mappings
from tests.worlds import AwsWorld

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the content with the tutorial's files in it."""
    for name in ("checks", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    page = (ROOT / "docs" / "tutorial-check.md").read_text("utf8")
    written = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in written] == [
        "checks/aws/sns_tutorial.py",
        "tests/checks/aws/sns_tutorial.yaml",
        "mappings/iso-27001/aws.sns.yaml",
    ]
    for name, text in written:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf8")
    return tmp_path


def test_the_check_its_examples_and_its_row_work(checkout: Path) -> None:
    library = plugins.load_folders((checkout / "checks",))
    check = library.checks["aws.sns.tutorial-encrypted"]
    shown = list(examples.load(checkout / "tests", {check.id: check}))
    assert [example.run(check)[0] for example in shown] == [example.outcome for example in shown]
    assert len(shown) == 3
    catalogues = load_catalogues(checkout / "mappings")
    mappings = load_mappings(checkout / "mappings", None, library.checks, catalogues)
    assert [row.control for row in mappings.rows if row.check == check.id] == ["A.8.24"]


def test_the_source_reads_a_real_api(checkout: Path, aws_world: AwsWorld) -> None:
    library = plugins.load_folders((checkout / "checks",))
    sns = aws_world.client("sns")
    sns.create_topic(Name="orders", Attributes={"KmsMasterKeyId": "alias/aws/sns"})
    sns.create_topic(Name="debug")
    reading = aws_world.read_source(library.sources["aws.sns.tutorial-topics"])
    encrypted = library.checks["aws.sns.tutorial-encrypted"].function
    verdicts = {row["TopicArn"].rpartition(":")[2]: str(encrypted(row).outcome) for row in reading.rows}
    assert verdicts == {"orders": "PASS", "debug": "FAIL"}
