"""Leaves of a store that say something else, signed as they must be: the verifier and the reader have an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from evidence_store import history, layout, writer
from evidence_store.errors import StoreError
from evidence_store.fs import Disk
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.evidence_store.conftest import ORIGIN, Clock, fill

SHA = "0" * 64
PART = {"leaves": 1, "root": SHA, "size": 3}
SAID: tuple[tuple[str, dict[str, Any]], ...] = (
    ("redaction", {"objects": [SHA], "basis": "b", "approvedBy": "a", "packs": []}),
    ("attachment", {"object": {"sha256": SHA, "size": 3}, "by": "J. Doe"}),
    ("attachment", {"withdraws": 1}),
    ("waiver", {"withdraws": 1}),
    ("anchor", {"anchors": []}),
    ("export", {"log": {"from": 0, "to": 1, "root": SHA}, "recipient": "x", "period": {}}),
    ("config-change", {"to": "x"}),
    ("run-open", {"run": 4, "ruler": "x", "freshness": {"tsr": SHA}}),
    ("run-close", {"run": 4, "openIndex": 8, "manifest": PART, "results": PART}),
    ("run-close", {"run": 4, "openIndex": 8, "objects": {}, "lists": {}, "spans": PART}),
)
ODD: tuple[Any, ...] = (
    None, True, -1, 1.5, 10**18, "", SHA, [], {}, [[]], [{}], [5], {SHA: 1}, [SHA], {"sha256": [], "size": 1},
    [{"kind": "tsr", "checkpointSize": "1", "authority": 5, "sha256": SHA}], [{"kind": [], "checkpointSize": 1}],
    [{"run": [], "count": 1, "size": 1}], [{"run": 1, "count": [], "size": 1}],
)  # fmt: skip
Says = Callable[[str, dict[str, Any]], Path]
SUBJECT = {layout.PLAN: SHA, layout.PACK: SHA, layout.RESULTS: SHA}


@pytest.fixture
def says(ram: Path, signer: FileSigner, monkeypatch: pytest.MonkeyPatch) -> Says:
    """A store with one more leaf, which no run and no check of ours would have written."""
    root = ram / "store"
    with Store.create(root, origin=ORIGIN, signer=signer, clock=Clock()) as store:
        fill(store)
        store.begin({}, b"{}")
    entries, size = (root / layout.ENTRIES).read_bytes(), len(history.read_history(root).leaves)

    def appended(kind: str, facts: dict[str, Any]) -> Path:
        (root / layout.note_name(size + 1)).unlink(missing_ok=True)
        (root / layout.ENTRIES).write_bytes(entries)
        with monkeypatch.context() as patch:
            read = history.read_history(root)
            patch.setattr(writer, "tell", lambda runs, leaf: None)
            patch.setattr(history, "tell", lambda runs, leaf: None)
            writer.LogWriter(root, read, signer, Disk(), Clock()).append(kind, facts, SUBJECT)
        return root

    return appended


@pytest.mark.parametrize(("kind", "facts"), SAID, ids=lambda one: one if isinstance(one, str) else "-".join(one))
def test_whatever_a_leaf_says_there_is_an_answer(
    says: Says, signer: FileSigner, kind: str, facts: dict[str, Any]
) -> None:
    answers = set()
    for field in facts:
        for odd in ODD:
            root = says(kind, {**facts, field: odd})
            answers.add(bool(verify_store(root, key=signer.keyid).problems))
            verify_store(root, key=signer.keyid, chain_only=True)
            with suppress(StoreError):
                store = Store.open(root)
                store.notes()
                store.attached(SHA)
    assert True in answers or kind in ("export", "config-change"), "nothing else is only a note"
