"""Leaves that say something else, signed as they must be, in a log and under a seal that fit: all verifiers agree.

The holder of the key can write any leaf. ``FUZZ_CASES=20000`` tries that many; a failure names its case.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_memory import judged, judged_alone, load, remembered  # noqa: F401
from test_verify_html import in_node

from evidence_store import dsse, layout, merkle, sigstore, sshsig
from evidence_store.bundles import format as form
from evidence_store.dsse import Statement, open_envelope, open_statement, sign_statement
from evidence_store.errors import StoreError
from evidence_store.keys import Signer
from evidence_store.note import Checkpoint, sign_note
from tests.evidence_store.vectors.outsiders import GIVEN, W
from tests.evidence_store.vectors.tools import ORIGIN, A, B

CASES = int(os.environ.get("FUZZ_CASES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "20261122"))
SOURCES = ("revoked-twice", "stated", "stated-and-erased", "cosigned", "handed-over", "redacted", "unordered")
IN_NODE = max(40, CASES // 50)
"""Cases of each that are also shown to the core of verify.html."""
ODD = (
    None, True, False, 0, 1, -1, 7, 1.5, 2**53, "", "x", "0" * 64, "A" * 44, [], {}, [[]], "2026-02-01T00:00:05.000Z",
    "2026-02-30T00:00:00.000Z", "run-close", {"sha256": "0" * 64, "size": 1},
)  # fmt: skip


def changed(dice: random.Random, value: Any) -> Any:
    """The value with one part of it replaced, added or left out."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(sorted(value))
        match dice.randrange(8):
            case 0:
                return {key: one for key, one in value.items() if key != name}
            case 1:
                return {**value, "more": dice.choice(ODD)}
            case _:
                return {**value, name: changed(dice, value[name])}
    if isinstance(value, list) and value and dice.random() < 0.8:
        place = dice.randrange(len(value))
        return dice.choice(
            [[*value, value[place]], value[:place] + value[place + 1 :],
             [*value[:place], changed(dice, value[place]), *value[place + 1 :]]]
        )  # fmt: skip
    if type(value) is int and dice.random() < 0.15:
        return float(value)
    if type(value) is int and dice.random() < 0.6:
        return value + dice.choice([-1, 1, 1000])
    if isinstance(value, str) and value and dice.random() < 0.5:
        place = dice.randrange(len(value))
        return value[:place] + dice.choice("0aZ-\n") + value[place + 1 :]
    return dice.choice(ODD)


def refitted(files: dict[str, bytes], signer: Signer) -> dict[str, bytes]:
    """The newest note, the lists and the seal are made anew."""
    leaves = [data for name, data in sorted(files.items()) if form.ENTRY.fullmatch(name)]
    head = Checkpoint(ORIGIN, len(leaves), merkle.tree_root([merkle.leaf_hash(data) for data in leaves]))
    named = ("External-Identifier: " + " ".join(head.text().split("\n")[:3])).encode()
    info = re.sub(rb"External-Identifier: .*", lambda found: named, files[form.INFO])
    files = {**files, layout.note_name(head.size): sign_note(head.text(), ORIGIN, signer), form.INFO: info}
    said = open_statement(open_envelope(files[form.SEAL]).payload).predicate
    for part in (form.MANIFEST, form.TAGS):
        listed = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if form.part_of(n) == part}
        files[part] = form.spell_list(listed)
    subject = {form.TAGS: hashlib.sha256(files[form.TAGS]).hexdigest()}
    facts = replace(form.Facts.read(said), root=head.root.hex()).predicate()
    seal = sign_statement(Statement(form.KIND, subject, facts), [signer])
    files |= {form.SEAL: seal, form.SIGSTORE: sigstore.spell(open_envelope(seal), None)}
    files[form.SSH] = sshsig.sign(files[form.TAGS], form.NAMESPACE, signer)
    listed = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if form.part_of(n) == form.SEAL_LIST}
    return files | {form.SEAL_LIST: form.spell_list(listed)}


def one_changed(dice: random.Random, files: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
    """A leaf says something else, signed by who must."""
    names = sorted(name for name in files if form.ENTRY.fullmatch(name) or form.KEY_LEAF.fullmatch(name))
    handover = next((name for name in names if "key-transition" in name), names[-1] + "~")
    name = dice.choice(names)
    statement = open_statement(open_envelope(files[name]).payload)
    if dice.random() < 0.8:
        predicate = changed(dice, dict(statement.predicate))
        statement = replace(statement, predicate=predicate if isinstance(predicate, dict) else {})
    else:
        subject = changed(dice, dict(statement.subject))
        statement = replace(statement, subject=subject if isinstance(subject, dict) else {})
    signers = [A, B] if name == handover else [A] if name < handover else [B]
    data = sign_statement(statement, signers)
    return name, refitted(files | {name: data}, B if handover in files else A)


@pytest.mark.parametrize("source", SOURCES)
def test_whatever_a_leaf_says_the_verifiers_agree(vector_folder: Path, ram: Path, source: str) -> None:
    files = load(vector_folder / source)
    key, witnesses = (
        (A.keyid if source not in ("revoked-twice", "handed-over") else B.keyid),
        source in ("revoked-twice", "cosigned"),
    )
    verdicts: list[tuple[int, str, bool, str]] = []
    for case in range(max(CASES // len(SOURCES), IN_NODE)):
        dice = random.Random(f"{SEED}/{source}/{case}")
        try:
            name, altered = one_changed(dice, files)
        except (StoreError, ValueError, KeyError):  # it cannot be spelt as a leaf
            continue
        package = judged(altered, key, witnesses=[W] if witnesses else [])
        alone = judged_alone(altered, key, GIVEN if witnesses else ())
        told = open_envelope(altered[name]).payload.decode()
        assert package.ok == alone["ok"], (case, name, told, package.problems, alone["problems"])
        verdicts.append((case, name, package.ok, told))
        if len(verdicts) <= IN_NODE:
            for path, data in altered.items():
                place = ram / str(len(verdicts) - 1) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
    assert {ok for _, _, ok, _ in verdicts} == {True, False}, "some changes mean nothing to a verifier"
    asked = [
        {"path": str(ram / str(number)), "key": key, "witnesses": GIVEN if witnesses else ()}
        for number in range(min(len(verdicts), IN_NODE))
    ]
    for (case, name, ok, told), found in zip(verdicts, in_node(asked), strict=False):
        assert found["ok"] == ok, (case, name, told, json.dumps(found["problems"]))


@pytest.mark.parametrize("depth", [254, 255])
def test_what_is_nested_so_deep_and_no_deeper_is_read_by_all(
    vector_folder: Path, ram: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    """Where one verifier reads on and another stops, they could be told different things."""
    files = load(vector_folder / "plain")
    name = next(name for name in sorted(files) if name.endswith("-gap.dsse.json") and form.ENTRY.fullmatch(name))
    statement = open_statement(open_envelope(files[name]).payload)
    value: Any = {}
    for _ in range(depth - 3):  # the statement, its predicate and the innermost are one each
        value = [value]
    monkeypatch.setattr(dsse, "dump", lambda plain: json.dumps(plain, separators=(",", ":")).encode())
    data = sign_statement(replace(statement, predicate={**statement.predicate, "more": value}), [A])
    altered = refitted(files | {name: data}, A)
    for path, content in altered.items():
        (ram / path).parent.mkdir(parents=True, exist_ok=True)
        (ram / path).write_bytes(content)
    package, alone = judged(altered, A.keyid), judged_alone(altered, A.keyid)
    (page,) = in_node([{"path": str(ram), "key": A.keyid}])
    assert (package.ok, alone["ok"], page["ok"]) == (depth == 254,) * 3, (package.problems, alone, page)
