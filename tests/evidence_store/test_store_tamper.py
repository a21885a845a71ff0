"""Every altered, missing, added, swapped or cut file of a store is detected and named; nothing else ever escapes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence_store import history, layout, lines, log
from evidence_store.__main__ import in_words
from evidence_store.errors import StoreError, TamperedError
from evidence_store.keys import FileSigner
from evidence_store.store import Store
from evidence_store.verify import Verification, verify_store
from evidence_store.writer import LogWriter

ORIGIN = "evidence.acme.example/prod"


def sealed_files(root: Path) -> list[str]:
    derived = ("lock", "index.sqlite")
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.name not in derived)


def names(found: Verification) -> set[str]:
    return {problem.path for problem in found.problems}


@pytest.fixture
def small(ram: Path, signer: FileSigner) -> Path:
    """A store of one run with two replies."""
    with Store.create(ram / "small", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        for page in (1, 2):
            run.add_reply({"op": "iam:ListUsers", "page": page, "sha256": run.add_object(b"body %d" % page)})
        run.close([{"check": "aws.iam.mfa", "outcome": "PASS"}], {})
    return ram / "small"


def test_every_flipped_byte_of_every_file_is_detected_and_its_file_named(small: Path, signer: FileSigner) -> None:
    flips = 0
    for name in sealed_files(small):
        good = (small / name).read_bytes()
        for place in range(len(good)):
            altered = bytearray(good)
            altered[place] ^= 1 << (place % 8)
            (small / name).write_bytes(altered)
            found = verify_store(small, key=signer.keyid)
            assert not found.ok, f"{name} byte {place}"
            assert name in names(found), f"{name} byte {place}: {found.problems}"
            flips += 1
        (small / name).write_bytes(good)
    assert flips > 5000
    assert verify_store(small, key=signer.keyid).ok


def test_p10_every_deleted_cut_or_lengthened_file_is_named(sealed: Path, signer: FileSigner) -> None:
    def check(name: str) -> None:
        found = verify_store(sealed, key=signer.keyid)
        assert not found.ok, name
        assert name in names(found), (name, found.problems)

    for name in sealed_files(sealed):
        path = sealed / name
        good = path.read_bytes()
        path.unlink()
        check(name)
        path.mkdir()
        check(name)
        path.rmdir()
        os.mkfifo(path)
        check(name)
        path.unlink()
        path.symlink_to("/etc/hostname")
        check(name)
        path.unlink()
        outside = sealed.parent / "outside"
        outside.write_bytes(good)
        path.symlink_to(outside)
        check(name)
        path.unlink()
        for altered in (good + b"\0", good + good, good[:-1], good[: len(good) // 2], b""):
            if altered != good:
                path.write_bytes(altered)
                check(name)
        path.write_bytes(good)
    assert verify_store(sealed, key=signer.keyid).ok


def test_every_pair_of_swapped_files_is_detected(sealed: Path, signer: FileSigner) -> None:
    files = [name for name in sealed_files(sealed) if name.startswith(("runs/", "log/checkpoints"))]
    for first, second in zip(files, files[1:] + files[:1], strict=True):
        one, two = (sealed / first).read_bytes(), (sealed / second).read_bytes()
        if one == two:
            continue
        (sealed / first).write_bytes(two)
        (sealed / second).write_bytes(one)
        found = verify_store(sealed, key=signer.keyid)
        assert not found.ok
        assert {first, second} <= names(found)
        (sealed / first).write_bytes(one)
        (sealed / second).write_bytes(two)
    runs = sealed / "runs"
    (runs / "00000001").rename(runs / "x")
    (runs / "00000002").rename(runs / "00000001")
    (runs / "x").rename(runs / "00000002")
    assert {"runs/00000001/statement.dsse.json", "runs/00000002/statement.dsse.json"} <= names(
        verify_store(sealed, key=signer.keyid)
    )


@pytest.mark.parametrize(
    "name",
    [
        "extra", "runs/extra", "runs/00000001/extra", "runs/00000009/plan.json", "log/extra", "keys/evil.pem",
        "log/checkpoints/000000000099.note", "log/checkpoints/000000000000.note", "log/checkpoints/1.note",
        "spool/extra", "spool/00000009/extra", "runs/00000001/deep/deeper/deepest/file", "new\nline\x1b[31m",
        "index.sqlite-journal",
    ],
)  # fmt: skip
def test_every_added_file_is_named(sealed: Path, signer: FileSigner, name: str) -> None:
    (sealed / name).parent.mkdir(parents=True, exist_ok=True)
    (sealed / name).write_bytes(b"x")
    found = verify_store(sealed, key=signer.keyid)
    assert not found.ok
    shown = name if name.isprintable() else r"new\nline\x1b[31m"
    assert any(shown.startswith(path) for path in names(found)), found.problems


def rewrite_entries(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    entries = path / layout.ENTRIES
    leaves = [leaf for _, leaf in log.frames(entries.read_bytes())]
    entries.write_bytes(b"".join(log.frame(leaf) for leaf in change(leaves)))


@pytest.mark.parametrize(
    "change",
    [
        lambda leaves: leaves[:-1],
        lambda leaves: [*leaves, leaves[-1]],
        lambda leaves: [leaves[0], *leaves],
        lambda leaves: [*leaves[:2], leaves[3], leaves[2], *leaves[4:]],
        lambda leaves: leaves[:2] + leaves[3:],
        lambda leaves: leaves[1:],
        lambda leaves: [*leaves, b"{}"],
        lambda leaves: [],
    ],
    ids=["cut", "repeat", "repeat genesis", "swap", "drop", "no genesis", "junk", "empty"],
)
def test_whole_leaves_cut_repeated_swapped_or_added_are_named(
    sealed: Path, signer: FileSigner, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    rewrite_entries(sealed, change)
    found = verify_store(sealed, key=signer.keyid)
    assert not found.ok
    assert layout.ENTRIES in names(found)
    with pytest.raises((TamperedError, StoreError)):
        Store.open(sealed, signer=signer).close()


def cut_tail(path: Path, leaves: int) -> None:
    """What somebody with write access and no key can do: forget the newest entries."""
    rewrite_entries(path, lambda all_leaves: all_leaves[:leaves])
    for note in (path / layout.CHECKPOINTS).iterdir():
        if int(note.name[:12]) > leaves:
            note.unlink()


def test_p11_a_cut_tail_needs_an_outside_anchor_and_verify_says_so(sealed: Path, signer: FileSigner) -> None:
    head = Store.open(sealed).checkpoint
    cut_tail(sealed, 6)
    found = verify_store(sealed, key=signer.keyid)
    assert names(found) == {"runs/00000003"}, "the folder of a run outlives its leaf"
    with pytest.raises(TamperedError, match="runs/00000003"):
        Store.open(sealed, signer=signer)
    shutil.rmtree(sealed / "runs/00000003")
    found = verify_store(sealed, key=signer.keyid)
    assert found.ok, "no local check can see this"
    assert any("no outside anchor" in warning for warning in found.warnings)
    assert head.decode().split("\n")[1] == "8", "a checkpoint held elsewhere shows it"
    assert found.facts["size"] == 6


def test_a_signed_body_that_no_pack_holds_is_named(sealed: Path, signer: FileSigner) -> None:
    """The first run's pack and its promise are replaced by somebody with the key: run 3 still needs its body."""
    shutil.rmtree(sealed)
    with Store.create(sealed, origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"")
        held = run._held  # the guard of add_reply is by-passed, as a faulty writer would
        held.add("ab" * 32)
        run.add_reply({"sha256": "ab" * 32})
        run.close([], {})
    found = verify_store(sealed, key=signer.keyid)
    assert names(found) == {"runs/00000001/manifest.ndjson.zst"}
    assert "line 0 names body" in found.problems[0].what


def test_leaves_of_another_store_by_the_same_key_are_refused(sealed: Path, signer: FileSigner, ram: Path) -> None:
    with Store.create(ram / "other", origin=ORIGIN, signer=signer) as store:
        for _ in range(7):
            store.append("waiver", {"id": "W"})
    shutil.copy(ram / "other" / layout.ENTRIES, sealed / layout.ENTRIES)
    assert layout.note_name(8) in names(verify_store(sealed, key=signer.keyid))
    for name in sealed_files(ram / "other"):
        if name.startswith("log/"):
            shutil.copy(ram / "other" / name, sealed / name)
    found = verify_store(sealed, key=signer.keyid)
    assert {"STORE.json", "runs/00000001", "runs/00000002", "runs/00000003"} <= names(found)


@pytest.mark.parametrize(
    ("kind", "facts", "subject", "message"),
    [
        ("run-close", {"run": 1, "openIndex": 1}, {}, "not open"),
        ("run-open", {"run": 9}, {"plan.json": "ab" * 32}, "out of turn"),
        ("run-open", {"run": 4}, {}, "without a plan"),
        ("genesis", {}, {}, "second genesis"),
        ("key-transition", {}, {}, "no transition"),
        ("redaction-of-another-kind", {}, {}, "does not know"),
        ("run-abort", {"run": True}, {}, "not open"),
    ],
)
def test_a_key_holder_cannot_make_the_log_contradict_itself(
    sealed: Path, signer: FileSigner, kind: str, facts: dict[str, object], subject: dict[str, str], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with Store.open(sealed, signer=signer) as store:
        assert store._log is not None
        with pytest.raises(TamperedError, match=message):
            store._log.append(kind, facts, subject)
        assert verify_store(sealed, key=signer.keyid).ok, "our writer does not write it"
        with monkeypatch.context() as patch:
            patch.setattr("evidence_store.writer.tell", lambda runs, leaf: None)
            patch.setattr("evidence_store.history.tell", lambda runs, leaf: None)
            patch.setattr("evidence_store.keychain.KeyChain.take", lambda chain, leaf: None)
            patch.setattr(log, "KINDS", (*log.KINDS, kind))
            store._log.append(kind, facts, subject)
    found = verify_store(sealed, key=signer.keyid)
    assert names(found) >= {layout.ENTRIES}
    assert any(message in problem.what for problem in found.problems)


@pytest.mark.parametrize(
    "anchors",
    [[1], [{"kind": "tsr"}], [{"kind": "tsr", "checkpointSize": "x", "authority": "../..", "sha256": "y"}], 7],
)
def test_an_anchor_leaf_that_names_nothing_possible_is_a_problem(
    sealed: Path, signer: FileSigner, anchors: object
) -> None:
    with Store.open(sealed, signer=signer) as store:
        store.append("anchor", {"anchors": anchors})
    assert layout.ENTRIES in names(verify_store(sealed, key=signer.keyid))


@pytest.mark.parametrize("policy", [{"timestamp": 1}, {"timestamp": {"other": 1}}, {"timestamp": {"maxLagHours": "x"}}])
def test_a_policy_this_release_does_not_know_is_not_passed_over(
    ram: Path, signer: FileSigner, policy: dict[str, object]
) -> None:
    Store.create(ram / "s", origin=ORIGIN, signer=signer, policy=policy).close()
    assert layout.ENTRIES in names(verify_store(ram / "s", key=signer.keyid))


@pytest.fixture
def fuzzed(sealed: Path) -> Path:
    return sealed


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_splice_passes_and_none_escapes_as_another_exception(
    fuzzed: Path, signer: FileSigner, data: st.DataObject
) -> None:
    files = sealed_files(fuzzed)
    name = data.draw(st.sampled_from(files))
    good = (fuzzed / name).read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 64)))
    piece = data.draw(
        st.one_of(
            st.binary(max_size=64),
            st.sampled_from([b"[" * 5000, b'{"a":' * 2000, b"\xff" * 64, b"\0" * 64, good[:200], b"\xf0\x9f\x92\xa9"]),
        )
    )
    altered = good[:start] + piece + good[end:]
    (fuzzed / name).write_bytes(altered)
    try:
        found = verify_store(fuzzed, key=signer.keyid)
        assert found.ok == (altered == good)
        try:
            store = Store.open(fuzzed)
            for run in store.runs():
                sealed_run = store.run(run.number)
                for line in [*sealed_run.replies(), *sealed_run.results()]:
                    if line.get("sha256"):
                        sealed_run.object(line["sha256"])
                sealed_run.plan()
        except StoreError:
            pass
    finally:
        (fuzzed / name).write_bytes(good)


def test_a_run_whose_end_is_not_written_is_a_problem_that_names_both_ways_it_can_come_about(
    sealed: Path, signer: FileSigner
) -> None:
    """As after a disk that was full at the last step, or a cut."""
    entries = (sealed / layout.ENTRIES).read_bytes()
    *_, (before, _), (end, _) = log.frames(entries)
    assert end == len(entries)
    (sealed / layout.ENTRIES).write_bytes(entries[:before])
    newest = sorted((sealed / layout.CHECKPOINTS).glob("*.note"))[-1]
    newest.unlink()
    (problem,) = verify_store(sealed, key=signer.keyid).problems
    assert problem.path == "runs/00000003"
    assert "a run that was interrupted while it was sealed is finished by opening the store for writing" in problem.what
    assert problem.what.endswith("or else the log was cut")
    (sealed / "runs/00000009").mkdir()
    found = {problem.path: problem.what for problem in verify_store(sealed, key=signer.keyid).problems}
    assert found.keys() == {"runs/00000003", "runs/00000009"}
    assert found["runs/00000009"] == "is not in the log"
    (sealed / "runs/00000009").rmdir()
    Store.open(sealed, signer=signer).close()
    assert verify_store(sealed, key=signer.keyid).ok


def test_the_chain_alone_shows_every_altered_file_but_the_packs_and_says_what_it_left_out(
    small: Path, signer: FileSigner
) -> None:
    whole = verify_store(small, key=signer.keyid, chain_only=True)
    assert whole.ok
    assert any("no line of a run was read, and no body" in warning for warning in whole.warnings)
    assert any("packs were not looked at, not even whether they are there" in warning for warning in whole.warnings)
    text = in_words(whole)
    assert "in full" not in text
    assert text.endswith("not what stands in them, nor that any body is there.")
    assert in_words(verify_store(small, key=signer.keyid)).endswith("not that the recorded answers were true.")
    missed = set()
    for name in sealed_files(small):
        good = (small / name).read_bytes()
        (small / name).write_bytes(bytes([*good[:-1], good[-1] ^ 1]))
        found = verify_store(small, key=signer.keyid, chain_only=True)
        if found.ok:
            missed.add(name)
        else:
            assert name in names(found)
        (small / name).write_bytes(good)
    assert missed == {"runs/00000001/objects.pack"}


def test_the_chain_alone_misses_no_file_that_its_leaf_leaves_out(
    small: Path, signer: FileSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing = LogWriter.make
    monkeypatch.setattr(
        LogWriter, "make",
        lambda self, kind, facts, subject, beside=(): sealing(
            self, kind, facts, {name: sha256 for name, sha256 in subject.items() if "results" not in name}, beside
        ),
    )  # fmt: skip
    with Store.open(small, signer=signer) as store:
        store.begin({}, b"{}").close([], {})
    found = verify_store(small, key=signer.keyid, chain_only=True)
    assert [str(problem) for problem in found.problems] == [
        "runs/00000002/results.ndjson.zst: is not named by its leaf"
    ]


def test_a_line_that_is_nested_too_deep_is_a_problem_of_its_place() -> None:
    for depth in (300, 900, 5000):
        line = b'{"i":0,"x":%b%b,"salt":"%b"}' % (b"[" * depth, b"]" * depth, b"A" * lines.SALT_LENGTH)
        with pytest.raises(ValueError, match=r"Recursion limit|depth limit"):
            lines.parse_all(0, [line])


def test_leaves_that_a_writer_adds_while_it_is_read_are_no_problem(
    sealed: Path, signer: FileSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = history.note_sizes
    monkeypatch.setattr(history, "note_sizes", lambda root: listed(root)[:-3])
    assert verify_store(sealed, key=signer.keyid).ok
