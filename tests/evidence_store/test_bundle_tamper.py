"""Every flipped byte, and every file deleted, cut, swapped, added or doubled, is detected by each verifier."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bundle_memory import judged, judged_alone, load, remembered  # noqa: F401
from local_authority import Tsa, asking

import evidence_store
from evidence_store.bundles import build as bundle
from evidence_store.bundles import format as form
from evidence_store.bundles.verify import verify_bundle
from evidence_store.store import Store
from tests.evidence_store.vectors.tools import FEBRUARY, MARCH, ORIGIN, A, Clock

SHELL = Path(evidence_store.__file__).with_name("templates") / "verify.sh"
STEP = int(os.environ.get("FLIP_STEP", "1" if os.environ.get("CI") else "7"))
"""Every so many bytes one is flipped: each of them in CI."""


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, tsa: Tsa) -> Path:
    """The smallest bundle there is, with a time stamp over its seal."""
    folder = tmp_path_factory.mktemp("small")
    clock = Clock(FEBRUARY)
    Store.create(folder / "store", origin=ORIGIN, signer=A, clock=clock).close()
    with Store.open(folder / "store", signer=A, clock=clock) as store:
        run = store.begin({}, b"{}")
        run.add_reply({"op": "x", "sha256": run.add_object(b"body")})
        run.close([{"kind": "finding"}], {})
        chosen = bundle.choose(store, FEBRUARY, MARCH)
        made = bundle.build(
            store, folder / "bundle", chosen, A, ask=asking(tsa), tsa_roots=tsa.roots,
            reports={"index.html": b"<p>"}, clock=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        )  # fmt: skip
    assert verify_bundle(made.path, key=A.keyid, tsa_roots=tsa.roots).ok
    return made.path


def flips(files: dict[str, bytes], step: int) -> Iterator[tuple[str, int, dict[str, bytes]]]:
    for name, data in files.items():
        for place in range(0, len(data), step):
            flipped = bytearray(data)
            flipped[place] ^= 1 << (place % 8)
            yield name, place, files | {name: bytes(flipped)}


def test_every_flipped_byte_is_detected(small: Path) -> None:
    """Of files that are only hashed, such as the verifiers themselves, some bytes stand for all."""
    files = load(small)
    assert judged(files, A.keyid).ok
    hashed = {name: data for name, data in files.items() if form.VERIFIERS.fullmatch(name)}
    light = {name: data[:64] if name in hashed else data for name, data in files.items()}
    count = 0
    for name, place, altered in flips(light, STEP):
        if name in hashed and place % 16:
            continue
        if name in hashed:
            altered = altered | {name: altered[name] + files[name][64:]}
        altered |= {other: files[other] for other in hashed if other != name}
        found = judged(altered, A.keyid)
        assert found.problems, (name, place)
        assert not found.authenticated
        count += 1
    assert count > 10_000 / STEP


def test_verify_py_detects_flipped_bytes_in_every_file(small: Path) -> None:
    files = load(small)
    assert judged_alone(files, A.keyid)["ok"]
    generator = random.Random(7)
    for name, data in files.items():
        for place in {0, len(data) - 1, *(generator.randrange(len(data)) for _ in range(4))} if data else ():
            flipped = bytearray(data)
            flipped[place] ^= 1 << generator.randrange(8)
            assert judged_alone(files | {name: bytes(flipped)}, A.keyid)["problems"], (name, place)


def test_verify_sh_names_every_altered_file(small: Path, tmp_path: Path) -> None:
    lists = (form.MANIFEST, form.TAGS, form.SEAL_LIST)
    for names in ([name for name in load(small) if name not in lists], *([name] for name in lists)):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, data in load(small).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            place = len(data) // 2
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] if name in names else data)
        done = subprocess.run(["sh", SHELL, "--key", A.keyid, folder], capture_output=True, text=True, check=False)
        assert done.returncode == 4
        for name in names:
            if name not in lists:
                assert f"problem: {name}: has other content than listed" in done.stdout


def test_every_file_deleted_cut_grown_swapped_doubled_or_added_is_detected(small: Path) -> None:
    files = load(small)
    order = list(files)
    for number, name in enumerate(order):
        data, after = files[name], order[(number + 1) % len(order)]
        for what, altered in (
            ("deleted", {other: content for other, content in files.items() if other != name}),
            ("emptied", files | {name: b""}),
            ("cut", files | {name: data[:-1]}),
            ("grown", files | {name: data + b"\n"}),
            ("swapped", files | {name: files[after], after: data}),
            ("renamed", {other if other != name else f"{name}x": content for other, content in files.items()}),
        ):
            for found in (judged(altered, A.keyid).problems, judged_alone(altered, A.keyid)["problems"]):
                assert found, (what, name)
        for twice in (name, name.upper()):
            doubled = [*files.items(), (twice, data)]
            assert "occurs twice" in {problem.what for problem in judged(doubled, A.keyid).problems}
            assert judged_alone(doubled, A.keyid)["problems"]
    for added in (
        "x", "data/x", "data/reports/x", "data/objects/00/" + "0" * 64, "log/entries/000000000009-gap.dsse.json",
        "log/checkpoints/000000000001.note", "seal/x", "keys/tsa-roots.pem2", "verify/x", "data/reports/.hidden",
        "data/reports/../../x", "data/reports/a b", "data/reports/\u202egnp.exe", "data/code/" + "a/" * 100 + "b",
    ):  # fmt: skip
        for found in (judged(files | {added: b"x"}, A.keyid), judged_alone(files | {added: b"x"}, A.keyid)):
            problems = found.problems if not isinstance(found, dict) else found["problems"]
            assert problems, added
            assert all(str(problem).isprintable() for problem in problems)


def test_p10_a_deleted_time_stamp_is_missed_and_an_altered_one_named(small: Path, tsa: Tsa, tmp_path: Path) -> None:
    files = load(small)
    without = {name: data for name, data in files.items() if name != form.SEAL_TOKEN}
    without[form.SEAL_LIST] = form.spell_list(
        {name: sha256 for name, sha256 in form.read_list(files[form.SEAL_LIST]).items() if name != form.SEAL_TOKEN}
    )
    found = judged(without, A.keyid)
    assert [str(problem) for problem in found.problems] == [f"{form.SEAL_TOKEN}: is missing"]
    assert [problem["path"] for problem in judged_alone(without, A.keyid)["problems"]] == [form.SEAL_TOKEN]
    for name, data in without.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(["sh", SHELL, "--key", A.keyid, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert f"problem: {form.SEAL_TOKEN}: is missing" in done.stdout
    assert any("no roots were given" in warning for warning in judged(files, A.keyid).warnings)
    other = Tsa(tmp_path / "other")
    assert judged(files, A.keyid, roots=tsa.roots).ok
    refused = judged(files, A.keyid, roots=other.roots)
    assert {problem.path for problem in refused.problems} == {form.SEAL_TOKEN, form.SIGSTORE}


def test_the_seal_cannot_be_taken_from_another_bundle_of_the_same_key(small: Path, vector_folder: Path) -> None:
    files, other = load(small), load(vector_folder / "plain")
    for names in ((form.SEAL,), (form.SSH,), (form.SIGSTORE,), (form.SEAL, form.SSH, form.SIGSTORE, form.SEAL_LIST)):
        assert judged(files | {name: other[name] for name in names}, A.keyid).problems
