"""A store that was sealed once and is never made again: if it reads otherwise, old evidence has changed its meaning."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from collector.rerun import rerun
from evidence_store.store import Store
from evidence_store.verify import verify_store

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy, so that nothing is ever written beside the original; git keeps no empty folders."""
    shutil.copytree(GOLDEN / "store", tmp_path / "store")
    (tmp_path / "store" / "spool").mkdir(exist_ok=True)
    return tmp_path / "store"


def test_it_verifies_with_its_fingerprint(store: Path) -> None:
    found = verify_store(store, key=(GOLDEN / "fingerprint").read_text().strip())
    assert found.problems == ()
    assert found.ok


@pytest.mark.parametrize("sealed_code", [False, True], ids=["todays checks", "its own checks"])
def test_it_is_reperformed_to_the_same_findings(store: Path, sealed_code: bool) -> None:
    with Store.open(store) as opened:
        done = rerun(opened.run(1), sealed_code=sealed_code)
    assert [str(difference) for difference in done.differences] == []
    assert done.equal
    assert done.findings > 40
