"""Hostile bundles: whatever they hold, the verifiers say so in bounded time and memory, and nothing else escapes."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from bundle_memory import judged, judged_alone, load, remembered  # noqa: F401
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence_store import verify_one_file
from evidence_store.bundles import format as form
from evidence_store.bundles.run import Bundle
from evidence_store.bundles.source import Files, Limits
from evidence_store.bundles.verify import examine, verify_bundle
from evidence_store.errors import StoreError, TamperedError, UsageError
from evidence_store.pack import zstd
from tests.evidence_store.vectors.tools import FEBRUARY, A, Clock, history, sealed

CASES = int(os.environ.get("FUZZ_CASES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "20261122"))
FEW = settings(
    max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SMALL = Limits(files=200, total=4 << 20, ratio=50, grace=1 << 20, held=1 << 20)
NASTY = [
    b"[" * 5000, b'{"a":' * 3000, b"\xff" * 64, b"\0" * 64, b"9" * 400, b"-0", b"1e999", b'"\\ud800"', b"\xef\xbb\xbf",
    b"\xf0\x9f\x92\xa9", b"null", b"true", b'{"a":1,"a":2}', b"NaN", b"PK\x05\x06", b"PK\x01\x02", b"../../", b"\r\n",
]  # fmt: skip


@pytest.fixture
def zstd_in_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 has the codec in its library, and verify.py reads a ``tar.zst`` there; here it is lent."""
    if sys.version_info < (3, 14):
        library = ModuleType("compression")
        monkeypatch.setattr(library, "zstd", zstd, raising=False)
        monkeypatch.setitem(sys.modules, "compression", library)
        monkeypatch.setitem(sys.modules, "compression.zstd", zstd)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(vector_folder: Path) -> dict[str, bytes]:
    return load(vector_folder / "redacted")


@st.composite
def splices(draw: st.DrawFn, data: bytes) -> bytes:
    """A piece of the bytes is replaced, moved or taken out."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 96)))
    other = draw(st.integers(0, max(len(data) - 1, 0)))
    pieces = st.one_of(st.binary(max_size=48), st.sampled_from(NASTY), st.just(data[other : other + 64]))
    return data[:start] + draw(pieces) + data[end:]


def tried(path: Path, key: str, good: bool, limits: Limits = SMALL) -> None:
    """Both verifiers answer, and the answer is right."""
    try:
        found = verify_bundle(path, key=key, limits=limits)
        assert found.ok == good
    except UsageError:
        assert not good
    try:
        alone = verify_one_file.verify(str(path), key)
        assert alone["ok"] == good
    except verify_one_file.Usage:
        assert not good


@FEW
@given(data=st.data())
def test_spliced_files(plain: dict[str, bytes], data: st.DataObject) -> None:
    names = sorted(name for name in plain if not form.VERIFIERS.fullmatch(name))
    name = data.draw(st.sampled_from(names))
    altered = data.draw(splices(plain[name]))
    files = plain | {name: altered}
    assert judged(files, A.keyid).ok == (altered == plain[name])
    assert judged_alone(files, A.keyid)["ok"] == (altered == plain[name])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.just("ab" * 32),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with one part of it replaced."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 9)) == 0:
            return {key: item for key, item in value.items() if key != name}
        return value | {name: draw(changed(value[name]))}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(changed(value[place])), *value[place + 1 :]]
    return draw(JSON)


@FEW
@given(data=st.data())
def test_changed_json_under_a_seal_that_fits(plain: dict[str, bytes], data: st.DataObject) -> None:
    """The key holder signs nonsense: lists and seal are made anew around every file that is JSON."""
    names = [
        name
        for name in plain
        if name == form.PROOF or name.endswith((".ndjson", "plan.json")) or form.REDACTED.fullmatch(name)
    ]
    name = data.draw(st.sampled_from(sorted(names)))
    lines = plain[name].split(b"\n")
    place = data.draw(st.sampled_from([n for n, line in enumerate(lines) if line] or [0]))
    value = json.loads(lines[place]) if lines[place] else {}
    lines[place] = json.dumps(data.draw(changed(value)), separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
    files = resealed(plain | {name: b"\n".join(lines)})
    package, alone = judged(files, A.keyid), judged_alone(files, A.keyid)
    assert package.ok == (files[name] == plain[name]), package.problems
    assert alone["ok"] == package.ok, (package.problems, alone["problems"])


def resealed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Lists and seal are made anew, as the holder of the key can."""
    import hashlib
    import re

    from evidence_store import sigstore, sshsig
    from evidence_store.dsse import Statement, open_envelope, open_statement, sign_statement

    facts = form.Facts.read(open_statement(open_envelope(files[form.SEAL]).payload).predicate)
    payload = [len(data) for name, data in files.items() if name.startswith("data/")]
    oxum = b"Payload-Oxum: %d.%d" % (sum(payload), len(payload))
    files = files | {form.INFO: re.sub(rb"Payload-Oxum: [0-9.]+", oxum, files[form.INFO])}
    for part in (form.MANIFEST, form.TAGS):
        listed = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if form.part_of(n) == part}
        files[part] = form.spell_list(listed)
    subject = {form.TAGS: hashlib.sha256(files[form.TAGS]).hexdigest()}
    seal = sign_statement(Statement(form.KIND, subject, facts.predicate()), [A])
    files |= {form.SEAL: seal, form.SIGSTORE: sigstore.spell(open_envelope(seal), None)}
    files[form.SSH] = sshsig.sign(files[form.TAGS], form.NAMESPACE, A)
    listed = {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if form.part_of(n) == form.SEAL_LIST}
    return files | {form.SEAL_LIST: form.spell_list(listed)}


def little(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what is only hashed and large, so that the container is most of the bytes."""
    return {name: data for name, data in files.items() if len(data) < 9000}


@pytest.fixture(scope="module")
def archives(plain: dict[str, bytes]) -> dict[str, bytes]:
    stored, deflated, tarred = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for out, method in ((stored, zipfile.ZIP_STORED), (deflated, zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in list(little(plain).items())[:12]:
                archive.writestr(zipfile.ZipInfo(f"a/{name}"), data, method)
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in list(little(plain).items())[:12]:
            entry = tarfile.TarInfo(f"a/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return {"stored": stored.getvalue(), "deflated": deflated.getvalue(), "tar": tarred.getvalue()}


@FEW
@given(data=st.data())
def test_spliced_archives(archives: dict[str, bytes], ram: Path, data: st.DataObject) -> None:
    """A container that is broken is a problem of the bundle; one that reads gives exactly the sizes it states."""
    kind = data.draw(st.sampled_from(sorted(archives)))
    whole = archives[kind]
    tail = len(whole) - 1600 if data.draw(st.booleans()) and kind != "tar" else 0
    altered = whole[:tail] + data.draw(splices(whole[tail:]))
    path = ram / "fuzzed"
    path.write_bytes(zstd.compress(altered) if kind == "tar" and data.draw(st.booleans()) else altered)
    tried(path, A.keyid, good=False)
    with suppress(StoreError):
        Files(path, SMALL).close()


@FEW
@given(data=st.data())
def test_spliced_compressed_tars(archives: dict[str, bytes], ram: Path, data: st.DataObject) -> None:
    path = ram / "fuzzed"
    path.write_bytes(data.draw(splices(zstd.compress(archives["tar"]))))
    tried(path, A.keyid, good=False)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A sealed bundle of several MB that do not compress, in every container: it is read in several pieces."""
    folder = tmp_path_factory.mktemp("large")
    random = Random(3)
    with history(folder / "store", Clock(FEBRUARY)) as store:
        run = store.begin({}, b"{}")
        for _ in range(12):
            run.add_reply({"op": "x:Get", "sha256": run.add_object(random.randbytes(300_000))})
        run.close([{"outcome": "PASS"}], {})
        for how in ("zip", "tar.zst"):
            sealed(store, folder / f"large.{how}", how=how)
    made = {how: (folder / f"large.{how}").read_bytes() for how in ("zip", "tar.zst")}
    for how, data in made.items():
        assert len(data) > 3 << 20, "several blocks, and more than is read at once"
        with Bundle.open(folder / f"large.{how}", key=A.keyid) as bundle:
            assert bundle.verification.ok
            performed(bundle)
    return made


def performed(bundle: Bundle) -> None:
    """Reads as a re-performance does: the plan, then each reply and the body it names."""
    for number in bundle.runs():
        run = bundle.run(number)
        run.plan()
        for line in run.replies():
            if line["sha256"] is not None:
                run.object(line["sha256"])
        list(run.results())


def damaged(whole: bytes, random: Random) -> bytes:
    """Cut short, or with a few or many of its bytes replaced."""
    place, count = random.randrange(len(whole)), random.choice((1, 4, 40, 4000, 1 << 20))
    if random.random() < 0.3:
        return whole[:place]
    damage = random.choice((random.randbytes(count), bytes(count), whole[:count]))
    return whole[:place] + damage + whole[place + count :]


@pytest.mark.parametrize("how", ["zip", "tar.zst"])
def test_damaged_large_archives(large: dict[str, bytes], ram: Path, zstd_in_the_library: None, how: str) -> None:
    """Every reader answers, also who reads on in an archive that was found good before it was damaged."""
    path, random = ram / "fuzzed", Random(SEED)
    path.write_bytes(large[how])
    verification, contents = examine(path, key=A.keyid)
    for _ in range(max(12, CASES // 12)):
        altered = damaged(large[how], random)
        if altered == large[how]:
            continue
        path.write_bytes(altered)
        for read in (
            lambda: Bundle.open(path, key=A.keyid).close(),
            lambda: performed(Bundle(Files(path), contents, verification)),
        ):
            with suppress(TamperedError, UsageError):
                read()
        tried(path, A.keyid, good=False, limits=Limits())


def test_an_archive_damaged_within_an_entry_is_a_problem_and_no_other_exception(
    large: dict[str, bytes], ram: Path, zstd_in_the_library: None
) -> None:
    """Half of all damages of a large ``tar.zst`` once ended in an exception of the codec."""
    path = ram / "damaged.tar.zst"
    for place in range(200_000, 3 << 20, 200_000):
        damaged = bytearray(large["tar.zst"])
        damaged[place : place + 40] = b"\xff\xee\x12\x77" * 10
        path.write_bytes(damaged)
        found = verify_bundle(path, key=A.keyid)
        assert not found.ok
        assert not verify_one_file.verify(str(path), A.keyid)["ok"]
        with pytest.raises(TamperedError):
            Bundle.open(path, key=A.keyid)
    path.write_bytes(large["tar.zst"][: 2 << 20])
    assert "is not a whole tar.zst (cut short)" in str(verify_bundle(path, key=A.keyid).problems)
    for read in (lambda: Files(path), lambda: Bundle.open(path, key=A.keyid)):
        with pytest.raises(TamperedError, match=r"is not a whole tar\.zst|is missing"):
            read()
    alone = verify_one_file.verify(str(path), A.keyid)["problems"]
    assert any("is not a whole tar.zst" in problem["what"] for problem in alone)


BOMB = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]) << 20,) * 2)
from pathlib import Path
if sys.argv[1] == "package":
    from evidence_store.bundles.verify import verify_bundle
    found = verify_bundle(Path(sys.argv[2]), key=None)
    problems = [str(problem) for problem in found.problems]
else:
    from evidence_store import verify_one_file
    problems = [str(problem) for problem in verify_one_file.verify(sys.argv[2])["problems"]]
assert problems
print(problems[0], file=sys.stderr)
# Not ru_maxrss: that begins with the parent's.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


def zip_bomb(path: Path) -> None:
    """Ten entries that share one deflated gigabyte, as far as the directory goes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a/data/reports/x", bytes(200 << 20))
    data = bytearray(path.read_bytes())
    entry = data[data.index(b"PK\x01\x02") : data.index(b"PK\x05\x06")]
    start = data.index(b"PK\x05\x06")
    end = bytearray(data[start:])
    struct.pack_into("<HH", end, 8, 10, 10)
    struct.pack_into("<I", end, 12, 10 * len(entry))
    path.write_bytes(bytes(data[:start]) + bytes(entry) * 9 + bytes(end))


def tar_bomb(path: Path) -> None:
    """A tar of one huge file of zeros: 20 kB packed."""
    header = tarfile.TarInfo("a/data/reports/x")
    header.size = 200 << 20
    packer = zstd.ZstdCompressor(19)
    with path.open("wb") as file:
        file.write(packer.compress(header.tobuf(tarfile.USTAR_FORMAT)))
        for _ in range(200):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())


def long_line(path: Path) -> None:
    """A zip whose one line of replies never ends."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/runs/00000001/manifest.ndjson", b"{" * (60 << 20))


def deep(path: Path) -> None:
    """A proof that is nested a million times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"a/{form.PROOF}", b'{"a":' * 1_000_000)
        archive.writestr(f"a/{form.SEAL}", b"[" * 60_000)
        archive.writestr("a/data/runs/00000001/plan.json", b"[" * 1_000_000)


def many(path: Path) -> None:
    """A directory that says it has more entries than may be."""
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 65535, 65535, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 50, 4)
    path.write_bytes(b"PK\x03\x04" + end64 + struct.pack("<IIQI", 0x07064B50, 0, 4, 1) + end)


def shared_header(path: Path) -> None:
    """Sixty thousand entries that stand in one place, behind the longest header: four thousand million looks in all."""
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("a/x")
        archive.writestr(entry, b"")
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    entry_bytes = data[start : data.index(b"PK\x05\x06")]
    local = bytearray(data[:start])
    struct.pack_into("<H", local, 28, 65532)
    local += bytes(65532)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 60_000, 60_000, 60_000 * len(entry_bytes), len(local), 0)
    path.write_bytes(bytes(local) + entry_bytes * 60_000 + end)


BOMBS = [zip_bomb, tar_bomb, long_line, deep, many, shared_header]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_bombs_cost_little(ram: Path, bomb: Any) -> None:
    path = ram / "bomb"
    bomb(path)
    for who in ("package", "alone"):
        if who == "alone" and bomb is tar_bomb:
            continue
        run = [sys.executable, "-c", BOMB, who, str(path), "1500"]
        done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 250, f"{who} used {done.stdout.strip()} MB"


def test_a_bundle_that_changes_while_it_is_read_is_no_bundle(vector_folder: Path, ram: Path, monkeypatch: Any) -> None:
    from evidence_store.bundles import source as bundle_source

    real = bundle_source._Folder._chunks

    def shrinking(self: Any, name: str, size: int) -> Any:
        return real(self, name, size + 1) if name == form.INFO else real(self, name, size)

    monkeypatch.setattr(bundle_source._Folder, "_chunks", shrinking)
    found = verify_bundle(vector_folder / "plain", key=A.keyid)
    assert "changed while it was read" in str(found.problems)
    with pytest.raises(TamperedError):
        Files(vector_folder / "cut.zip")


def test_two_files_of_a_zip_can_be_read_in_turns(ram: Path) -> None:
    """As a re-performance does: a line of the replies, the body it names, the next line."""
    lines = [os.urandom(500).hex().encode() for _ in range(8000)]
    with zipfile.ZipFile(ram / "two.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/lines", b"\n".join([*lines, b""]))
        archive.writestr("a/body", b"a body")
    assert (ram / "two.zip").stat().st_size > 3 << 20, "more than is read at once"
    files = Files(ram / "two.zip")
    for expected, line in zip(lines, files.lines("lines"), strict=True):
        assert line == expected
        assert files.read("body") == b"a body"
    files.close()


def test_limits_are_kept(vector_folder: Path) -> None:
    for limits, what in (
        (Limits(files=3), "more than 3 files"), (Limits(total=1000), "is longer than 1000 bytes"),
        (Limits(held=2000), "longer than 2000"),
    ):  # fmt: skip
        found = verify_bundle(vector_folder / "plain", key=A.keyid, limits=limits)
        assert any(what in str(problem) for problem in found.problems), found.problems
    for name in ("plain.zip", "plain.tar.zst"):
        for limits in (Limits(files=3), Limits(ratio=1, grace=0), Limits(total=5000)):
            assert not verify_bundle(vector_folder / name, key=A.keyid, limits=limits).ok
