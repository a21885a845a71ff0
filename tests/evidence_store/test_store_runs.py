"""What a store takes in comes back, once, in order, under the log's promise."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evidence_store import layout, pack
from evidence_store.errors import LockedError, StoreError, TamperedError, UsageError
from evidence_store.fs import Disk
from evidence_store.keys import FileSigner
from evidence_store.log import frames
from evidence_store.store import Store
from evidence_store.verify import LINES_ONLY, verify_store

ORIGIN = "evidence.acme.example/prod"


def kinds(path: Path) -> list[str]:
    """Leaf kinds, read without our parser of envelopes."""
    import base64

    found = []
    for _, leaf in frames((path / "log/entries").read_bytes()):
        statement = json.loads(base64.b64decode(json.loads(leaf)["payload"]))
        found.append(statement["predicateType"].split("/")[-2])
    return found


def test_runs_come_back_as_they_were_written(sealed: Path, signer: FileSigner) -> None:
    with Store.open(sealed, key=signer.keyid) as store:
        assert store.origin == ORIGIN
        assert store.fingerprint == signer.keyid
        assert [(run.number, run.state) for run in store.runs()] == [(1, "complete"), (2, "aborted"), (3, "complete")]
        first, half, last = store.run(1), store.run(2), store.run()
        assert (first.number, first.state, last.number) == (1, "complete", 3)
        assert first.opening["scheduledFor"] == "2026-02-01T02:00:00Z"
        assert first.plan() == b'{"tasks":["a","b"]}'
        replies = list(first.replies())
        assert [(line["i"], line["page"], line["last"]) for line in replies] == [(0, 1, False), (1, 2, True)]
        assert [first.object(line["sha256"]) for line in replies] == [b'{"Users":[1]}', b'{"Users":[2]}']
        assert [line["outcome"] for line in first.results()] == ["PASS"]
        assert half.closing["reason"] == "interrupted"
        assert [half.object(line["sha256"]) for line in half.replies()] == [b"half"]
        assert list(half.results()) == []
        shared, refused = last.replies()
        assert last.object(shared["sha256"]) == b'{"Users":[1]}'
        assert refused["sha256"] is None
        assert (sealed / "runs/00000003/objects.pack").stat().st_size == 0
        with pytest.raises(UsageError, match="digest"):
            last.object("../../etc/passwd")
        with pytest.raises(UsageError, match="not in the log"):
            store.run(4)
        with pytest.raises(UsageError, match="not open for writing"):
            store.begin({}, b"")
    assert kinds(sealed) == [
        "genesis", "run-open", "run-close", "run-open", "run-abort", "gap", "run-open", "run-close",
    ]  # fmt: skip
    salts = [line["salt"] for line in (*replies, shared, refused)]
    assert len(set(salts)) == 4
    assert all(len(salt) == 22 for salt in salts)


def test_a_sealed_store_verifies_and_says_what_it_cannot_show(sealed: Path, signer: FileSigner) -> None:
    found = verify_store(sealed, key=signer.keyid)
    assert found.problems == ()
    assert found.ok
    assert (found.runs, found.replies, found.objects, found.leaves) == (3, 5, 3, 8)
    assert found.facts["runs"] == {"complete": 2, "aborted": 1, "open": 0}
    assert found.facts["gaps"] == 1
    assert found.checkpoint.startswith(f"{ORIGIN}\n8\n")
    assert any("no outside anchor" in warning for warning in found.warnings)
    quick = verify_store(sealed, key=signer.keyid, read_data=False)
    assert quick.ok
    assert LINES_ONLY in quick.warnings
    assert LINES_ONLY not in found.warnings


def test_without_a_pinned_key_nothing_is_authenticated(sealed: Path, other_signer: FileSigner) -> None:
    found = verify_store(sealed, key=None)
    assert not found.ok
    assert not found.authenticated
    assert found.problems == ()
    assert any("signer not authenticated" in warning for warning in found.warnings)
    other = verify_store(sealed, key=other_signer.keyid)
    assert not other.ok
    assert not other.authenticated
    assert [problem.path for problem in other.problems] == ["log/entries"]


def test_an_open_run_is_on_disk_before_the_first_request(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({"config": "ab"}, b"plan")
        assert kinds(ram / "s") == ["genesis", "run-open"]
        assert (ram / "s/log/checkpoints/000000000002.note").read_bytes() == store.checkpoint
        found = verify_store(ram / "s", key=signer.keyid)
        assert found.ok
        assert any("run 1 is open" in warning for warning in found.warnings)
        assert store.runs()[0].state == "open"
        with pytest.raises(UsageError, match="still open"):
            store.begin({}, b"")
        with pytest.raises(UsageError, match="nothing sealed"):
            store.run(1)
        with pytest.raises(UsageError, match="no complete run"):
            store.run()
        run.close([], {})
        with pytest.raises(UsageError, match="over"):
            run.add_object(b"late")
        with pytest.raises(UsageError, match="over"):
            run.close([], {})


def test_p4_an_empty_run_still_seals(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        info = store.begin({}, b"").close([], {"outcome": "complete"})
        assert (info.closing["manifest"]["leaves"], info.closing["results"]["leaves"]) == (0, 0)
        assert list(store.run().replies()) == []
    assert verify_store(ram / "s", key=signer.keyid).ok


def test_p12_nothing_is_overwritten(sealed: Path, signer: FileSigner, ram: Path) -> None:
    own = [path for path in sealed.rglob("*") if path.is_file() and path.name not in ("lock", "index.sqlite")]
    before = {path: path.read_bytes() for path in own}
    with pytest.raises(UsageError, match="exists"):
        Store.create(sealed, origin=ORIGIN, signer=signer)
    with Store.open(sealed, signer=signer) as store:
        run = store.begin({}, b'{"tasks":["a","b"]}')
        run.add_object(b'{"Users":[1]}')
        run.close([], {})
    for path, content in before.items():
        now = path.read_bytes()
        assert now == content or (path.name == "entries" and now.startswith(content)), path
    (ram / "file").write_text("")
    with pytest.raises(UsageError, match="exists"):
        Store.create(ram / "file", origin=ORIGIN, signer=signer)


def test_a_half_made_store_is_replaced_and_an_empty_folder_taken(ram: Path, signer: FileSigner) -> None:
    (ram / ".s.creating/keys").mkdir(parents=True)
    (ram / "s").mkdir()
    Store.create(ram / "s", origin=ORIGIN, signer=signer).close()
    assert verify_store(ram / "s", key=signer.keyid).ok
    assert not (ram / ".s.creating").exists()


def test_one_writer_at_a_time(sealed: Path, signer: FileSigner) -> None:
    with Store.open(sealed, signer=signer):
        with pytest.raises(LockedError, match=f"process {os.getpid()}"):
            Store.open(sealed, signer=signer)
        code = (
            "import sys;from pathlib import Path;from evidence_store.store import Store;Store.open(Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", code, sealed], check=True, cwd=Path(__file__).parents[2])
    Store.open(sealed, signer=signer).close()


def test_another_key_does_not_write(sealed: Path, other_signer: FileSigner, signer: FileSigner) -> None:
    with pytest.raises(TamperedError, match=signer.keyid):
        Store.open(sealed, signer=other_signer)
    with pytest.raises(TamperedError, match=signer.keyid):
        Store.open(sealed, key=other_signer.keyid)
    Store.open(sealed, signer=signer).close()


def test_wrong_use_is_named(ram: Path, sealed: Path, signer: FileSigner) -> None:
    for origin in ("", "two words", "a+b", "é", "x" * 200, "line\n"):
        with pytest.raises(UsageError, match="cannot name a log"):
            Store.create(ram / "n", origin=origin, signer=signer)
    with pytest.raises(UsageError, match="not a store"):
        Store.open(ram / "none")
    with pytest.raises(UsageError, match="not a folder"):
        verify_store(ram / "none", key=None)
    with pytest.raises(UsageError, match="fingerprint"):
        verify_store(sealed, key="abc")
    with pytest.raises(UsageError, match="lag"):
        verify_store(sealed, key=None, max_stamp_lag_h=float("nan"))
    with Store.open(sealed, signer=signer) as store:
        for kind in ("genesis", "run-open", "run-close", "key-transition", "nonsense"):
            with pytest.raises(UsageError, match="not a kind"):
                store.append(kind, {})
        with pytest.raises(UsageError, match="index"):
            store.append("waiver", {"index": 1})
        with pytest.raises(UsageError, match="run"):
            store.begin({"run": 7}, b"")
        with pytest.raises(StoreError, match="4096"):
            store.begin({"long": "x" * 5000}, b"")
        assert store.append("waiver", {"id": "W-1"}, {"waiver.yaml": "ab" * 32}) == 8
        run = store.begin({}, b"")
        with pytest.raises(UsageError, match="not kept"):
            run.add_reply({"sha256": "00" * 32})
        for line in ({"i": 1}, {"salt": ""}, {"x": {1}}, {"x": datetime(2026, 1, 1, tzinfo=UTC)}):
            with pytest.raises(StoreError):
                run.add_reply(line)
        with pytest.raises(UsageError, match="manifest"):
            run.close([], {"manifest": 1})
        with pytest.raises(StoreError, match="4096"):
            run.close([{"check": "a"}], {"long": "x" * 5000})
        assert run.add_reply({"op": "still open"}) == 0
        run.close([{"check": "a"}], {})
    assert verify_store(sealed, key=signer.keyid).ok


def test_many_threads_may_add_at_once(ram: Path, signer: FileSigner) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"")

        def work(worker: int) -> None:
            for n in range(25):
                run.add_reply({"worker": worker, "sha256": run.add_object(b"body %d" % (n % 10))})

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        info = run.close([], {})
        assert info.closing["objects"]["count"] == 10
        assert [line["i"] for line in store.run().replies()] == list(range(200))
    assert verify_store(ram / "s", key=signer.keyid).ok


def test_a_changed_body_is_kept_as_a_difference_to_the_one_before(ram: Path, signer: FileSigner) -> None:
    body = os.urandom(40_000)
    versions = [body]
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        base = None
        for day in range(35):
            run = store.begin({}, b"")
            base = run.add_object(versions[-1], base=base)
            run.add_reply({"sha256": base})
            run.close([], {})
            versions.append(versions[-1].replace(versions[-1][day * 100 : day * 100 + 4], b"day%d" % (day % 10), 1))
        sizes = [store.run(n + 1).closing["objects"]["size"] for n in range(35)]
        assert sizes[0] > 40_000
        assert all(size < 1000 for size in sizes[1:31])
        assert sizes[31] > 40_000, "after 30 differences a key frame"
        run = store.run(30)
        assert run.object(hashlib.sha256(versions[29]).hexdigest()) == versions[29]
        run = store.begin({}, b"")
        run.add_object(b"new", base="00" * 32)
        run.close([], {})
    assert verify_store(ram / "s", key=signer.keyid).ok


def test_a_damaged_earlier_body_is_kept_again_rather_than_trusted(sealed: Path, signer: FileSigner) -> None:
    damaged = sealed / "runs/00000001/objects.pack"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    with Store.open(sealed, signer=signer) as store:
        run = store.begin({}, b"")
        run.add_object(b'{"Users":[2]}')
        assert run.close([], {}).closing["objects"]["count"] == 1


def test_a_body_that_is_too_long_is_refused(ram: Path, signer: FileSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "OBJECT_LIMIT", 1000)
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"")
        with pytest.raises(StoreError, match="more than 1000"):
            run.add_object(b"x" * 1001)


def read_all(path: Path, name: str) -> None:
    """Read what stands in one file of run 1."""
    run = Store.open(path).run(1)
    if name == "plan.json":
        run.plan()
    elif name == "objects.pack":
        run.object(hashlib.sha256(b'{"Users":[2]}').hexdigest())
    else:
        next(run.replies() if name.startswith("manifest") else run.results())


@pytest.mark.parametrize("name", ["manifest.ndjson.zst", "results.ndjson.zst", "plan.json", "objects.pack"])
def test_p9_a_reader_yields_nothing_from_an_altered_file(sealed: Path, name: str) -> None:
    path = sealed / layout.run_name(1) / name
    good = path.read_bytes()
    read_all(sealed, name)
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(TamperedError, match=name):
        read_all(sealed, name)
    path.unlink()
    with pytest.raises(TamperedError):
        read_all(sealed, name)


def test_the_command_line_gives_0_4_and_2(sealed: Path, signer: FileSigner, capsys: pytest.CaptureFixture[str]) -> None:
    from evidence_store.__main__ import main

    store = str(sealed)
    assert main(["verify", store, "--key", signer.keyid]) == 0
    assert "verified: 8 leaves" in capsys.readouterr().out
    assert main(["verify", store, "--key", signer.keyid, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "affidavit/verification/1"
    assert document["ok"] is True
    assert main(["verify", store]) == 4
    assert "not authenticated" in capsys.readouterr().out
    (sealed / "runs/00000001/plan.json").write_bytes(b"x")
    assert main(["verify", store, "--key", signer.keyid, "--no-read-data"]) == 4
    assert "problem: runs/00000001/plan.json" in capsys.readouterr().out
    assert main(["verify", store, "--key", "xyz"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "\nnext:  " in error
    assert main(["verify", store, "--tsa-roots", "/nonexistent"]) == 2
    with pytest.raises(SystemExit) as stopped:
        main(["verify"])
    assert stopped.value.code == 2
    done = subprocess.run(
        [sys.executable, "-m", "evidence_store", "verify", store],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 4


@pytest.mark.parametrize("end", ["closed", "aborted", "left open", "refused"])
def test_what_an_open_run_derives_goes_when_the_run_ends(
    ram: Path, signer: FileSigner, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(ram / "s", origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        folder = run.rows()
        assert run.rows() == folder == ram / "s" / "spool" / "00000001.rows"
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "000000.rows").write_bytes(b"a person")
        busy = verify_store(ram / "s", key=signer.keyid)
        assert busy.ok, busy.problems
        (folder / "odd").write_bytes(b"?")
        assert [p.path for p in verify_store(ram / "s", key=signer.keyid).problems] == ["spool/00000001.rows/odd"]
        if end == "refused":

            def refuse(self: Disk, path: Path) -> None:
                raise StoreError("the disk refuses", "x")

            monkeypatch.setattr(Disk, "remove_folder", refuse)
        if end in ("closed", "refused"):
            run.close([], {})
        if end == "aborted":
            run.abort("x")
        if end != "left open":
            with pytest.raises(UsageError, match="is over"):
                run.rows()
            assert folder.exists() is (end == "refused")
    monkeypatch.undo()
    assert folder.exists() is (end == "refused")
    Store.open(ram / "s", signer=signer).close()
    assert list((ram / "s" / "spool").iterdir()) == []
    assert verify_store(ram / "s", key=signer.keyid).ok
