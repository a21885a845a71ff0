"""What goes into a bundle, what stops one from being made, and how it is read again."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bundle_memory import load
from local_authority import Tsa, asking

from evidence_store import layout, sigstore, sshsig, words
from evidence_store.bundles import build as bundle
from evidence_store.bundles import format as form
from evidence_store.bundles.run import Bundle
from evidence_store.bundles.source import is_bundle
from evidence_store.bundles.verify import verify_bundle
from evidence_store.dsse import open_envelope
from evidence_store.errors import StampError, StoreError, TamperedError, UsageError, VerificationError
from evidence_store.keys import Signer
from evidence_store.log import EXPORT
from evidence_store.note import Checkpoint
from evidence_store.store import Store
from evidence_store.verify import verify_store
from tests.evidence_store.vectors.tools import FEBRUARY, MARCH, ORIGIN, A, B, Clock, P, collect, history, sealed

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def store(ram: Path, clock: Clock) -> Store:
    """A run in February, an aborted one and a gap; then a run in March."""
    made = Clock(FEBRUARY)
    opened = history(ram / "store", made)
    made.time = MARCH + timedelta(days=1)
    collect(opened, 2)
    return opened


def test_the_range_holds_whole_runs_and_one_leaf_on_either_side(store: Store) -> None:
    assert [leaf.kind for leaf in store.leaves] == [
        "genesis", "run-open", "run-close", "run-open", "run-abort", "gap", "run-open", "run-close",
    ]  # fmt: skip
    february = bundle.choose(store, FEBRUARY, MARCH)
    assert (february.start, february.end, february.runs) == (0, 7, (1, 2))
    march = bundle.choose(store, MARCH, APRIL)
    assert (march.start, march.end, march.runs) == (5, 8, (3,))
    middle = store.leaves[3].recorded_on
    halves = bundle.choose(store, middle, middle + timedelta(milliseconds=1))
    assert (halves.start, halves.end, halves.runs) == (2, 6, (2,)), "a run that begins in the period is there whole"
    ends = store.leaves[4].recorded_on
    assert bundle.choose(store, ends, ends + timedelta(milliseconds=1)).start == 2, "one that ends in it, too"
    with pytest.raises(UsageError, match="nothing was recorded"):
        bundle.choose(store, APRIL, APRIL + timedelta(days=1))
    store.keep_token(store.size, "local", b"token")
    assert bundle.choose(store, MARCH, APRIL).end == 9, "an anchor that follows is taken in"


def test_a_bundle_reads_like_the_store_it_was_made_of(store: Store, ram: Path) -> None:
    out = sealed(store, ram / "bundle")
    with Bundle.open(out, key=A.keyid) as opened:
        assert opened.verification.ok
        assert opened.fingerprint == A.keyid
        assert opened.runs() == [1, 2]
        assert opened.run().number == 1, "the newest complete one"
        for number in (1, 2):
            ours, theirs = opened.run(number), store.run(number)
            assert (ours.number, ours.state, ours.plan()) == (theirs.number, theirs.state, theirs.plan())
            assert (ours.opening, ours.closing) == (theirs.opening, theirs.closing)
            assert list(ours.replies()) == list(theirs.replies())
            assert list(ours.results()) == list(theirs.results())
            assert ours.absent() == {}
            assert ours.hidden_results() == 0
            for line in theirs.replies():
                if line["sha256"]:
                    assert ours.object(line["sha256"]) == theirs.object(line["sha256"])
        for what in ("0" * 64, "nonsense"):
            with pytest.raises(StoreError):
                opened.run(1).object(what)
        with pytest.raises(UsageError, match="holds no run 3"):
            opened.run(3)
    with pytest.raises(TamperedError, match="is signed by"):
        Bundle.open(out, key=B.keyid)
    assert is_bundle(out)
    assert not is_bundle(store.root)


def test_withheld_and_redacted_replies_are_absent_and_counted(vector_folder: Path) -> None:
    with Bundle.open(vector_folder / "withheld", key=A.keyid) as opened:
        run = opened.run(1)
        assert [line["i"] for line in run.replies()] == [0, 2]
        assert set(run.absent()) == {1}
        assert run.hidden_results() == 1
    with Bundle.open(vector_folder / "redacted", key=A.keyid) as opened:
        run = opened.run(1)
        lines = list(run.replies())
        assert [line["i"] for line in lines] == [0, 1, 2]
        assert lines[1]["sha256"] is None
        assert b"person1" not in run.object(lines[1]["redacted"])
        assert set(run.absent()) == {1, 2}
    assert not any(b"person1" in data or b"person2" in data for data in load(vector_folder / "redacted").values())
    with Bundle.open(vector_folder / "erased-later", key=A.keyid) as opened:
        assert opened.verification.ok
        assert any("erased under leaf" in warning for warning in opened.verification.warnings)
        assert "erased" in opened.run(1).absent()[1]


def test_the_log_says_what_was_exported(store: Store, ram: Path) -> None:
    size = store.size
    out = sealed(store, ram / "bundle")
    leaf = store.leaves[size]
    assert leaf.kind == EXPORT
    assert leaf.statement.subject[form.TAGS] == hashlib.sha256((out / form.TAGS).read_bytes()).hexdigest()
    said = leaf.predicate
    assert said["recipient"] == "An Auditor"
    assert said["log"]["to"] == 7
    assert said["period"] == {"from": "2026-02-01T00:00:00.000Z", "to": "2026-03-01T00:00:00.000Z"}
    assert verify_store(store.root, key=A.keyid).ok


def test_the_same_evidence_makes_the_same_bytes(ram: Path) -> None:
    with history(ram / "store", Clock(FEBRUARY)) as store:
        shutil.copytree(store.root, ram / "again")
        for how in bundle.FORMS:
            sealed(store, ram / "one" if how == "folder" else ram / f"one.{how}", how=how)
    with Store.open(ram / "again", signer=A, clock=Clock(FEBRUARY)) as store:
        store._log.clock.time = store.leaves[-1].recorded_on  # type: ignore[union-attr]
        sealed(store, ram / "two")
    assert load(ram / "one") == load(ram / "two")


def test_a_missing_or_altered_body_stops_the_bundle_and_nothing_is_left(store: Store, ram: Path) -> None:
    pack = store.root / "runs/00000001" / layout.PACK
    good = pack.read_bytes()
    size = store.size
    for content in (good[: len(good) // 2], good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]):
        pack.write_bytes(content)
        with Store.open(store.root) as fresh, pytest.raises(TamperedError):
            bundle.build(fresh, ram / "out", bundle.choose(fresh, FEBRUARY, MARCH), A)
        assert sorted(path.name for path in ram.iterdir()) == ["store"]
    assert store.size == size
    pack.write_bytes(good)
    (store.root / "runs/00000001" / (layout.MANIFEST + layout.PACKED)).write_bytes(b"")
    with Store.open(store.root) as fresh, pytest.raises(TamperedError):
        bundle.build(fresh, ram / "out", bundle.choose(fresh, FEBRUARY, MARCH), A)


def test_an_authority_that_is_down_stops_the_bundle(store: Store, ram: Path) -> None:
    def down(_: bytes) -> bytes:
        raise StampError("time-stamp authority did not answer", "try again")

    size = store.size
    with pytest.raises(StampError):
        sealed(store, ram / "out", ask=down)
    assert store.size == size, "no leaf speaks of a bundle that was never made"
    assert sorted(path.name for path in ram.iterdir()) == ["store"]


def test_what_cannot_be_named_or_written_is_refused(store: Store, ram: Path) -> None:
    chosen = bundle.choose(store, FEBRUARY, MARCH)
    for options in (
        {"wish": bundle.Wish("x" * 201)}, {"wish": bundle.Wish("Acme\nPayload-Oxum: 1.1")}, {"how": "rar"},
        {"reports": {"../../x": b""}}, {"reports": {".hidden": b""}}, {"since": " ".join(["abandon"] * 11 + ["about"])},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            bundle.build(store, ram / "out", chosen, A, **options)
    with pytest.raises(UsageError, match="another key"):
        bundle.build(store, ram / "out", chosen, B)
    (ram / "out").mkdir()
    with pytest.raises(UsageError, match="exists"):
        bundle.build(store, ram / "out", chosen, A)
    with Store.open(store.root) as reading, pytest.raises(UsageError, match="not open for writing"):
        bundle.build(reading, ram / "other", chosen, A)
    assert sorted(path.name for path in ram.iterdir()) == ["out", "store"]


def test_names_in_a_plan_that_are_no_paths_get_no_readable_copy(ram: Path) -> None:
    content = b"code"
    sha256 = hashlib.sha256(content).hexdigest()
    files = ["../../etc/x", "a b.py", "/abs.py", ".hidden", "ok.py"]
    plan = {"schema": form.PLAN_SCHEMA, "config": {"sha256": sha256}, "files": [],
            "code": [{"file": name, "sha256": sha256} for name in files]}  # fmt: skip
    clock = Clock(FEBRUARY)
    Store.create(ram / "s", origin=ORIGIN, signer=A, clock=clock).close()
    with Store.open(ram / "s", signer=A, clock=clock) as store:
        run = store.begin({}, json.dumps(plan).encode())
        run.add_object(content)
        run.close([], {})
        out = sealed(store, ram / "out")
    assert {name for name in load(out) if name.startswith(("data/code", "data/config"))} == {
        "data/code/ok.py", "data/config/config.yaml",
    }  # fmt: skip
    assert verify_bundle(out, key=A.keyid).ok


# --------------------------------------------------------------------------------------------------------- the head


def test_words_are_those_of_bip39() -> None:
    assert words.read(" ".join(["abandon"] * 11 + ["about"])) == bytes(16)
    assert words.read("legal winner thank year wave sausage worth useful legal winner thank YELLOW") == b"\x7f" * 16
    assert words.read("lega winn than year wave saus wort usef lega winn than yell") == b"\x7f" * 16
    head = Checkpoint(ORIGIN, 8, hashlib.sha256(b"x").digest())
    assert words.read(words.spell(head)) == words.digest(head)
    assert words.spell(Checkpoint(ORIGIN, 9, head.root)) != words.spell(head)
    for wrong in (
        "",
        "abandon",
        " ".join(["abandon"] * 12),
        " ".join(["xyzzy"] * 12),
        " ".join(["ab"] * 12),
        "ä " * 12,
    ):
        with pytest.raises(UsageError):
            words.read(wrong)


def test_every_copying_error_in_one_word_but_few_is_noticed() -> None:
    right = words.spell(Checkpoint(ORIGIN, 8, hashlib.sha256(b"x").digest())).split()
    unnoticed = 0
    for other in words.word_file().decode().split()[:512]:
        if other != right[0]:
            try:
                words.read(" ".join([other, *right[1:]]))
                unnoticed += 1
            except UsageError:
                pass
    assert unnoticed < 512 / 16 * 2, "four bits of checksum; the rest fails when it is held against the log"


@pytest.mark.parametrize("form_", ["words", "note", "three lines"])
def test_a_later_bundle_extends_the_head_of_an_earlier_one(store: Store, ram: Path, form_: str) -> None:
    first = sealed(store, ram / "first")
    head = verify_bundle(first, key=A.keyid).checkpoint
    note = next(first.glob("log/checkpoints/000000000007.note")).read_text("utf8")
    given = {"words": str(verify_bundle(first, key=A.keyid).facts["words"]), "note": note, "three lines": head}[form_]
    chosen = bundle.choose(store, APRIL - timedelta(days=60), APRIL)
    second = sealed(store, ram / "second", start=MARCH)
    assert chosen.end
    found = verify_bundle(second, key=A.keyid, since=given)
    assert found.ok, found.problems
    assert found.facts["since"] == "extends the head of 7 leaves"


def test_a_head_from_before_the_range_is_proven_by_the_exports_or_on_request(ram: Path) -> None:
    clock = Clock(FEBRUARY)
    with history(ram / "store", clock) as store:
        kept = store.checkpoint.decode()
        first = sealed(store, ram / "first")
        exported = str(verify_bundle(first, key=A.keyid).facts["words"])
        for month in (3, 4, 5):
            clock.time = datetime(2026, month, 2, tzinfo=UTC)
            collect(store, month)
        chosen = bundle.choose(store, datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
        last = bundle.build(store, ram / "last", chosen, A).path
        assert json.loads((last / form.PROOF).read_text())["earlier"][0]["size"] == 6
        assert chosen.start > 6
        assert verify_bundle(last, key=A.keyid, since=exported).ok
        other = Checkpoint(ORIGIN, 5, bytes(32)).text()
        assert not verify_bundle(last, key=A.keyid, since=other).ok
        third = Checkpoint(ORIGIN, 3, hashlib.sha256(b"").digest())
        with pytest.raises(UsageError, match="not in this log"):
            bundle.build(store, ram / "x", chosen, A, since=third.text())
        asked = bundle.build(store, ram / "asked", chosen, A, since=kept).path
        assert verify_bundle(asked, key=A.keyid, since=kept).ok


def test_a_history_that_was_rewritten_does_not_extend_the_head(ram: Path) -> None:
    """P11, attack of the key holder: all local checks pass, the head that the auditor kept does not fit."""
    with history(ram / "honest", Clock(FEBRUARY)) as store:
        kept = str(verify_bundle(sealed(store, ram / "first"), key=A.keyid).facts["words"])
    clock = Clock(FEBRUARY)
    with history(ram / "rewritten", clock) as store:
        clock.time = MARCH + timedelta(days=1)
        collect(store, 2)
        forged = sealed(store, ram / "forged", start=MARCH)
        everything = bundle.build(store, ram / "all", bundle.choose(store, FEBRUARY, APRIL), A).path
    for path in (forged, everything):
        assert verify_bundle(path, key=A.keyid).ok
        found = verify_bundle(path, key=A.keyid, since=kept)
        assert [problem.path for problem in found.problems] == [form.PROOF]
        assert "does not extend the earlier head" in found.problems[0].what


def test_a_cut_tail_does_not_reach_the_head(store: Store, ram: Path) -> None:
    """P11: the newest entries are cut off; the bundle is whole in itself, and shorter than the auditor's head."""
    full = sealed(store, ram / "full", start=MARCH)
    head = verify_bundle(full, key=A.keyid).checkpoint
    february = sealed(store, ram / "february")
    found = verify_bundle(february, key=A.keyid, since=head)
    assert "newer than this bundle" in str(found.problems)


# ------------------------------------------------------------------------------------------------------- time stamps


def test_a_policy_that_demands_stamps_is_kept_in_bundles(ram: Path, tmp_path: Path) -> None:
    tsa = Tsa(tmp_path / "tsa")
    now = datetime.now(UTC)
    for name, stamped in (("with", True), ("without", False)):
        policy = {"timestamp": {"required": True}}
        Store.create(ram / name, origin=ORIGIN, signer=A, policy=policy).close()
        with Store.open(ram / name, signer=A) as store:
            collect(store, 1)
            if stamped:
                store.keep_token(store.size, "local", asking(tsa)(store.checkpoint))
            chosen = bundle.choose(store, now - timedelta(days=1), now + timedelta(days=1))
            out = bundle.build(store, ram / f"{name}-out", chosen, A, tsa_roots=tsa.roots).path
        found = verify_bundle(out, key=A.keyid, tsa_roots=tsa.roots)
        assert found.ok == stamped, found.problems
        unchecked = verify_bundle(out, key=A.keyid)
        assert not unchecked.ok, "a demanded stamp that was not checked is not one"
        if stamped:
            (out / "log/checkpoints/000000000003.note.local.tsr").unlink()
            assert "is missing" in str(verify_bundle(out, key=A.keyid, tsa_roots=tsa.roots).problems)


# ------------------------------------------------------------------------------------------ spelling of other seals


@pytest.mark.parametrize("signer", [A, P], ids=["ed25519", "p256"])
def test_an_ssh_signature_has_one_spelling(signer: Signer) -> None:
    good = sshsig.sign(b"data", form.NAMESPACE, signer)
    sshsig.verify(good, b"data", form.NAMESPACE, signer.public)
    for wrong in (
        good[:-1], good + b"\n", good.replace(b"\n", b"\r\n"), b"", b"\xff", good.replace(b"SSH", b"PGP"),
        b"\n".join(good.split(b"\n")[:2]), good[:40] + good[41:],
    ):  # fmt: skip
        with pytest.raises(VerificationError):
            sshsig.verify(wrong, b"data", form.NAMESPACE, signer.public)
    for data, namespace, key in (
        (b"date", form.NAMESPACE, signer.public), (b"data", "git", signer.public), (b"data", form.NAMESPACE, B.public),
    ):  # fmt: skip
        with pytest.raises(VerificationError):
            sshsig.verify(good, data, namespace, key)


def test_a_sigstore_bundle_says_what_the_seal_says(vector_folder: Path) -> None:
    seal = open_envelope((vector_folder / "plain" / form.SEAL).read_bytes())
    data = (vector_folder / "plain" / form.SIGSTORE).read_bytes()
    assert sigstore.read(data, seal) is None
    assert sigstore.read(sigstore.spell(seal, b"token"), seal) == b"token"
    for wrong in (
        data + b" ",
        data.replace(b"v0.3", b"v0.2"),
        b"{}",
        b"[]",
        b"\xff",
        data.replace(b'"tlogEntries":[]', b'"tlogEntries":[1]'),
    ):
        with pytest.raises(VerificationError):
            sigstore.read(wrong, seal)
