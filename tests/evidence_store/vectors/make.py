"""Makes bundles, good and bad, that every verifier must judge alike.

``python -m tests.evidence_store.vectors.make FOLDER`` writes them.

Nothing binary is checked in: keys and clocks are fixed, so only salts differ from one making to the next. Each vector
is a folder or an archive; ``expected.json`` says how each is to be judged, with which fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from evidence_store.bundles import format as form
from evidence_store.bundles.archive import pack_tar
from evidence_store.spans import Cut
from evidence_store.store import Store
from tests.evidence_store.vectors.damage import damaged
from tests.evidence_store.vectors.outsiders import outsiders
from tests.evidence_store.vectors.tools import (
    FEBRUARY,
    MARCH,
    NOT_VERIFIED,
    ORIGIN,
    SOME,
    UNKNOWN_SIGNER,
    VERIFIED,
    A,
    B,
    Clock,
    P,
    Vector,
    add_object,
    behead,
    collect,
    hide,
    history,
    relist,
    renumber,
    reseal,
    sealed,
    swap_hash,
)  # fmt: skip


def good(folder: Path, work: Path) -> Iterator[Vector]:
    """Bundles that are as they were sealed."""
    clock = Clock(FEBRUARY)
    with history(work / "plain", clock) as store:
        sealed(store, folder / "plain")
        sealed(store, folder / "plain.zip", how="zip")
        sealed(store, folder / "plain.tar.zst", how="tar.zst")
        sealed(store, folder / "withheld", keep=lambda run, stream, line: line["i"] != 1)
        clock.time = MARCH + timedelta(days=3)
        collect(store, 2)
        sealed(store, folder / "from-the-middle", start=MARCH)
        shared = hashlib.sha256(b'{"Users":[]}').hexdigest()
        store.erase([shared], basis="request", approved_by="officer")
        sealed(store, folder / "erased-later")
        run = store.begin({}, b"{}")
        sealed(store, folder / "run-still-open", start=MARCH)
        run.abort("enough")
    clock = Clock(FEBRUARY)
    with history(work / "rotated", clock) as store:
        clock.time = MARCH + timedelta(days=1)
        store.rotate(P, "yearly")
    with Store.open(work / "rotated", signer=P, clock=clock) as store:
        collect(store, 3)
        store.rotate(B, "no more P-256")
    with Store.open(work / "rotated", signer=B, clock=clock) as store:
        collect(store, 4)
        sealed(store, folder / "rotated", B, start=MARCH)
        sealed(store, folder / "rotated-afterwards", B)
    clock = Clock(FEBRUARY)
    with history(work / "p256", clock, P) as store:
        sealed(store, folder / "p256", P)
    with personal(work / "personal", (0, 1, 2)) as store:
        sealed(store, folder / "redacted", redact=True)
        sealed(store, folder / "not-redacted")
    with personal(work / "twice", (0, 1, 2, 1)) as store:
        sealed(store, folder / "redacted-twice", redact=True)
    yield from stated(folder, work)
    with in_another_order(work / "unordered") as store:
        sealed(store, folder / "unordered")
        sealed(store, folder / "unordered.zip", how="zip")
    for name in (
        "plain", "plain.zip", "plain.tar.zst", "withheld", "from-the-middle", "erased-later", "run-still-open",
        "redacted", "redacted-twice", "not-redacted", "unordered", "unordered.zip",
    ):  # fmt: skip
        yield Vector(name, VERIFIED)
    for name in ("rotated", "rotated-afterwards"):
        yield Vector(name, VERIFIED, by=SOME)  # verify.sh knows the key that sealed, and no other
    yield Vector("p256", VERIFIED, P.keyid)
    for name, key in (("plain", None), ("plain.zip", None)):
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copy
        yield Vector(Path(copy(folder / name, folder / f"no-pin-{name}")).name, UNKNOWN_SIGNER, key)


def personal(path: Path, numbers: tuple[int, ...]) -> Store:
    """A store with a run of replies about people, all but one of them with fields; an answer may come twice."""
    clock = Clock(FEBRUARY)
    Store.create(path, origin=ORIGIN, signer=A, clock=clock).close()
    store = Store.open(path, signer=A, clock=clock)
    run = store.begin({}, b"{}")
    for number in numbers:
        body = b'{"name":"person%d","id":%d}' % (number, number)
        spans = run.add_spans(body, Cut("json", ((8, 17),))) if number else {}
        run.add_reply({"op": "x:Get", "task": "t@p", "sha256": run.add_object(body), **spans})
    run.close([{"kind": "finding", "check": "c", "resource": "person1", "outcome": "PASS"}], {})
    return store


def in_another_order(path: Path) -> Store:
    """A store with two runs of a list that comes in another order each time."""
    clock = Clock(FEBRUARY)
    Store.create(path, origin=ORIGIN, signer=A, clock=clock).close()
    store = Store.open(path, signer=A, clock=clock)
    for order in ((1, 2, 3), (3, 1, 2)):
        run = store.begin({}, b"{}")
        line = {"op": "ec2:DescribeInstances", "task": "t@p", "params": {}, "unordered": True}
        page = b'{"Rows":[%s]}' % b",".join(b'{"Id":%d,"Tag":"%s"}' % (one, b"t" * 300) for one in order)
        run.add_reply({**line, "sha256": run.add_object(page, request=line)})
        run.close([], {})
    assert store.run(2).info.lists
    return store


def stated(folder: Path, work: Path) -> Iterator[Vector]:
    """Bundles with what people stated: in the range, before it, left out, erased; and a timetable with a pause."""
    clock = Clock(FEBRUARY)
    said = {"name": "policy.pdf", "controls": ["A.5.1"], "by": "J. Doe"}
    with history(work / "stated", clock) as store:
        store.append("schedule", {"zone": "UTC", "schedules": []})
        store.append("pause", {"from": "2026-02-03", "to": "2026-02-04", "by": "J. Doe", "reason": "move"})
        store.append("waiver", {"check": "x", "resource": "y", "until": "2026-05-01", "by": "J. Doe"})
        policy = store.attach(said, b"the policy")
        store.attach({**said, "name": "shared.json"}, b'{"Users":[]}')
        store.attach({**said, "name": "to-be-erased.txt"}, b"a name that must go")
        sealed(store, folder / "stated")
        sealed(store, folder / "stated.zip", how="zip")
        sealed(store, folder / "stated-left-out", keep_attached=lambda leaf: leaf["name"] == "shared.json")
        clock.time = MARCH + timedelta(days=3)
        collect(store, 2)
        store.withdraw(policy, {"by": "J. Doe", "reason": "replaced"})
        sealed(store, folder / "stated-before", start=MARCH)
        erased = hashlib.sha256(b"a name that must go").hexdigest()
        store.erase([erased], basis="request", approved_by="officer")
        sealed(store, folder / "stated-and-erased")
    for name in ("stated", "stated.zip", "stated-left-out", "stated-before", "stated-and-erased"):
        yield Vector(name, VERIFIED)


def bad(folder: Path, work: Path) -> Iterator[Vector]:
    """Bundles that are not: some altered by whoever carried them, some made so by the holder of the key."""
    plain = folder / "plain"

    def copy(name: str, source: str = "plain") -> Path:
        return Path(shutil.copytree(folder / source, folder / name))

    def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(path.read_bytes()))

    def outsider(name: str, change: Callable[[Path], object], key: str | None = A.keyid) -> Vector:
        change(copy(name))
        return Vector(name, NOT_VERIFIED, key)

    def insider(name: str, change: Callable[[Path], object], source: str = "plain", **facts: Any) -> Vector:
        made = copy(name, source)
        change(made)
        reseal(made, **facts)
        return Vector(name, NOT_VERIFIED, by=SOME)

    first = "data/runs/00000001/"
    body = next(iter(sorted(path for path in (plain / "data/objects").rglob("*") if path.is_file())))
    inside = body.relative_to(plain)
    yield outsider("wrong-key", lambda made: None, B.keyid)
    yield outsider("body-altered", lambda made: edit(made / inside, lambda data: b"X" + data[1:]))
    yield outsider("body-missing", lambda made: (made / inside).unlink())
    yield outsider(
        "line-altered", lambda made: edit(made / first / "manifest.ndjson", lambda data: data.replace(b"403", b"200"))
    )
    yield outsider(
        "result-altered",
        lambda made: edit(made / first / "results.ndjson", lambda data: data.replace(b"PASS", b"FAIL")),
    )
    yield outsider("extra-file", lambda made: (made / "data/reports/extra.html").parent.mkdir(exist_ok=True)
                   or (made / "data/reports/extra.html").write_text("x"))  # fmt: skip
    yield outsider("extra-file-in-seal", lambda made: (made / "seal/other").write_text("x"))
    yield outsider("seal-missing", lambda made: (made / form.SEAL).unlink())
    yield outsider("ssh-signature-missing", lambda made: (made / form.SSH).unlink())
    yield outsider("list-missing", lambda made: (made / form.MANIFEST).unlink())
    yield outsider("list-of-seal-missing", lambda made: (made / form.SEAL_LIST).unlink())
    yield outsider("link", lambda made: ((made / form.GUIDE).unlink(), (made / form.GUIDE).symlink_to("verify.py")))
    yield outsider("seal-of-another", lambda made: shutil.copy(folder / "withheld" / form.SEAL, made / form.SEAL))
    stranger = next((folder / "from-the-middle").glob("log/checkpoints/*.note"))
    yield outsider("note-of-another", lambda made: shutil.copy(stranger, next(made.glob("log/checkpoints/*.note"))))
    yield outsider("seal-respelt", lambda made: edit(made / form.SEAL, lambda data: data + b"\n"))
    yield outsider("lists-made-anew", lambda made: (edit(made / inside, lambda data: data + b" "), relist(made)))
    yield outsider("signed-by-another", lambda made: reseal(made, B))

    yield insider("leaf-missing", lambda made: next(made.glob("log/entries/*-gap.*")).unlink())
    yield insider("leaves-renumbered", lambda made: renumber(made))
    yield insider("run-missing", lambda made: shutil.rmtree(made / first))
    yield insider(
        "lines-shortened",
        lambda made: edit(made / first / "manifest.ndjson", lambda data: data[: data.index(b"\n") + 1]),
    )
    yield insider("line-of-another-salt", lambda made: edit(
        made / first / "results.ndjson", lambda data: data[:-6] + b'A"}\n'))  # fmt: skip
    yield insider("plan-altered", lambda made: edit(made / first / "plan.json", lambda data: data + b" "))
    yield insider("object-named-by-nothing", lambda made: add_object(made, b"nobody asked for this"))
    yield insider("object-under-another-name", lambda made: add_object(made, b"x", hashlib.sha256(b"y").hexdigest()))
    yield insider("object-dropped", lambda made: (made / inside).unlink())
    yield insider(
        "other-code-shown", lambda made: edit(made / "data/code/checks/aws/x.py", lambda data: data + b"# friendly\n")
    )
    yield insider("code-nobody-named", lambda made: (made / "data/code/checks/aws/y.py").write_bytes(b""))
    yield insider(
        "withheld-and-not-counted", lambda made: edit(made / first / "manifest.ndjson", lambda data: hide(data, 0))
    )
    yield insider("counted-and-not-withheld", lambda made: None, withheld_replies=3)
    misnumbered = lambda data: hide(data, 0).replace(b'"i":0,"w', b'"i":9,"w')  # noqa: E731
    yield insider("withheld-under-another-number", lambda made: edit(made / first / "manifest.ndjson", misnumbered),
                  withheld_replies=1)  # fmt: skip
    yield insider("runs-miscounted", lambda made: None, runs={"complete": 7, "aborted": 1, "open": 0})
    yield insider("another-range", lambda made: None, start=1)
    yield insider("a-later-period", lambda made: None, period=("2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"))
    yield insider("stamp-promised", lambda made: None, stamped=True)
    yield insider("head-of-fewer-leaves", behead)
    yield insider(
        "proof-of-another-origin", lambda made: edit(made / form.PROOF, lambda data: data.replace(b"acme", b"evil"))
    )
    yield insider("frontier-forged", lambda made: edit(
        made / form.PROOF, lambda data: swap_hash(data, "frontier")), "from-the-middle")  # fmt: skip
    yield insider("consistency-forged", lambda made: edit(
        made / form.PROOF, lambda data: swap_hash(data, "consistency")), "from-the-middle")  # fmt: skip
    yield insider("key-leaf-missing", lambda made: next(made.glob("keys/leaves/*")).unlink(), "from-the-middle")
    yield insider("begins-after-its-period", lambda made: None, "from-the-middle",
                  period=("2026-02-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z"))  # fmt: skip
    yield insider("vkey-of-another", lambda made: (made / form.VKEY).write_text("evidence+00000000+AAAA\n"))
    yield insider("unknown-path", lambda made: (made / "log/notes.txt").write_text("x"))
    yield insider("oxum-wrong", lambda made: edit(made / form.INFO, lambda data: data.replace(b"Oxum: ", b"Oxum: +")))
    yield insider(
        "info-respelt", lambda made: edit(made / form.INFO, lambda data: data.replace(b"Bagging-Date", b"Bagging-date"))
    )
    yield insider(
        "bagit-of-another-version", lambda made: edit(made / form.BAGIT, lambda data: data.replace(b"1.0", b"0.97"))
    )
    redacted = next((folder / "redacted/data/redacted").rglob("*.json")).relative_to(folder / "redacted")
    yield insider(
        "redacted-reply-altered",
        lambda made: edit(made / redacted, lambda data: data.replace(b'"id', b'"ID')),
        "redacted",
    )
    yield insider("redacted-reply-missing", lambda made: (made / redacted).unlink(), "redacted")
    yield insider("redacted-stream-missing", lambda made: next(made.rglob("spans.ndjson")).unlink(), "redacted")
    policy = form.object_name(hashlib.sha256(b"the policy").hexdigest())
    yield insider("attachment-missing", lambda made: (made / policy).unlink(), "stated")
    yield insider(
        "attachment-missing-and-others-counted", lambda made: (made / policy).unlink(), "stated", withheld_attachments=2
    )
    yield insider("attachments-counted-and-there", lambda made: None, "stated", withheld_attachments=1)
    yield insider("attachments-not-counted", lambda made: None, "stated-left-out", withheld_attachments=0)
    yield insider("waiver-from-before-missing",
                  lambda made: next(made.glob("keys/leaves/*-waiver.*")).unlink(), "stated-before")  # fmt: skip
    yield from archives(folder)


def archives(folder: Path) -> Iterator[Vector]:
    """Containers that are broken, or lie."""
    plain, whole = folder / "plain", (folder / "plain.zip").read_bytes()
    files = {
        path.relative_to(plain).as_posix(): path.read_bytes() for path in sorted(plain.rglob("*")) if path.is_file()
    }

    def zipped(name: str, change: Callable[[zipfile.ZipFile], object], skip: tuple[str, ...] = ()) -> Vector:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, data in files.items():
                if inside not in skip:
                    archive.writestr(f"acme/{inside}", data)
            change(archive)
        return Vector(name, NOT_VERIFIED)

    def linked(archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(f"acme/{form.GUIDE}")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "verify.py")

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that occurs twice
        yield zipped("twice.zip", lambda archive: archive.writestr(f"acme/{form.BAGIT}", form.BAGIT_TEXT))
    yield zipped("twice-but-for-case.zip", lambda archive: archive.writestr("acme/BAGIT.txt", form.BAGIT_TEXT))
    yield zipped("another-top.zip", lambda archive: archive.writestr("evil/x", b"x"))
    yield zipped("upwards.zip", lambda archive: archive.writestr("acme/../x", b"x"))
    yield zipped("absolute.zip", lambda archive: archive.writestr("/etc/x", b"x"))
    yield zipped("link.zip", linked, (form.GUIDE,))
    yield zipped("bomb.zip", lambda archive: archive.writestr("acme/data/reports/bomb", bytes(300 << 20)))
    for name, data in (
        ("cut.zip", whole[:-1]), ("cut-early.zip", whole[: len(whole) // 2]), ("longer.zip", whole + b"x"),
        ("before.zip", b"PK\x03\x04" + whole),
        ("altered.zip", whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]),
    ):  # fmt: skip
        (folder / name).write_bytes(data)
        yield Vector(name, NOT_VERIFIED)
    packed = (folder / "plain.tar.zst").read_bytes()
    for name, data in (
        ("cut.tar.zst", packed[:-7]),
        ("longer.tar.zst", packed + b"x"),
        ("twice.tar.zst", packed + packed),
    ):
        (folder / name).write_bytes(data)
        yield Vector(name, NOT_VERIFIED)
    order = [path for path in files if path != form.GUIDE]
    (folder / "missing.tar.zst").unlink(missing_ok=True)
    pack_tar(plain, folder / "missing.tar.zst", "acme", order)
    yield Vector("missing.tar.zst", NOT_VERIFIED)
    for name, kind in (
        ("link.tar.zst", tarfile.SYMTYPE),
        ("hard-link.tar.zst", tarfile.LNKTYPE),
        ("device.tar.zst", tarfile.CHRTYPE),
    ):
        (folder / name).write_bytes(odd_tar(files, kind))
        yield Vector(name, NOT_VERIFIED)


def odd_tar(files: Mapping[str, bytes], kind: bytes) -> bytes:
    """A bundle with one entry that is no file."""
    from evidence_store.pack import zstd

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"acme/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("acme/verify/extra")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    return zstd.compress(out.getvalue())


def make(folder: Path) -> list[Vector]:
    """All vectors stand in ``folder``, with ``expected.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / ".work"
    work.mkdir()
    vectors = [*good(folder, work), *bad(folder, work), *outsiders(folder, work), *damaged(folder, work)]
    shutil.rmtree(work)
    (folder / "expected.json").write_text(json.dumps([asdict(vector) for vector in vectors], indent=1))
    return vectors


if __name__ == "__main__":
    print(f"{len(make(Path(sys.argv[1])))} vectors in {sys.argv[1]}")
