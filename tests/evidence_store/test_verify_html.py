"""verify.html: its core under node, as strict as the package on good and bad bundles; the page in a real browser."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Browser, Page, expect, sync_playwright

import evidence_store
from evidence_store import timestamps
from evidence_store.bundles import build as bundle
from evidence_store.bundles.verify import verify_bundle
from evidence_store.cosignature import Witness
from evidence_store.dsse import open_envelope, open_statement, sign_statement
from evidence_store.errors import StoreError
from evidence_store.keys import FileSigner, PublicKey
from evidence_store.signers import RemoteSigner
from evidence_store.spans import Cut
from evidence_store.store import Store
from tests.evidence_store.conftest import ORIGIN, Clock, fill
from tests.evidence_store.test_bundle_vectors import unattested
from tests.evidence_store.vectors.outsiders import W
from tests.evidence_store.vectors.tools import A, relist, reseal
from tests.local_tsa import Tsa, serving

PAGE = Path(evidence_store.__file__).with_name("templates") / "verify.html"
JS = Path(__file__).with_name("js")
CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>.exe"
NODE = shutil.which("node")


def needs(there: object, what: str) -> None:
    """CI has everything; elsewhere a missing tool skips."""
    if not there:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def p256() -> RemoteSigner:
    """A key as a KMS has it."""
    key = ec.derive_private_key(7, ec.SECP256R1())
    sign = lambda message: key.sign(message, ec.ECDSA(hashes.SHA256()))  # noqa: E731
    return RemoteSigner("awskms:7", PublicKey(key.public_key()), sign)


class Bundles:
    """Bundles of one log: three times the same runs, a month apart."""

    def __init__(self, folder: Path, signer: FileSigner) -> None:
        self.folder = folder
        self.key = signer.keyid
        self.words: dict[str, str] = {}
        clock = Clock()
        periods = {
            "february": ("2026-02-01", "2026-03-01"),
            "march": ("2026-03-01", "2026-04-01"),
            "some": ("2026-03-01", "2026-04-01"),
        }
        with Store.create(folder / "store", origin=ORIGIN, signer=signer, clock=clock) as store:
            for month in ("2026-02-01T02:00:00", "2026-03-01T02:00:00", "2026-04-01T02:00:00"):
                clock.time = moment(month)
                fill(store)
            for name, (start, end) in periods.items():
                for how in ("folder", "zip"):
                    built = bundle.build(
                        store,
                        folder / (name if how == "folder" else f"{name}.zip"),
                        bundle.choose(store, moment(start), moment(end)),
                        signer,
                        wish=bundle.Wish("Acme", "An auditor"),
                        reports={"index.html": b"<p>report</p>"},
                        keep=lambda run, stream, line, name=name: name != "some" or line["i"] > 0,  # type: ignore[misc]
                        since=self.words.get("february"),
                        how=how,
                        clock=clock,
                    )
                    self.words[name] = built.words

    def copy(self, name: str, change: Callable[[Path], object]) -> Path:
        """A bundle that was changed; the good one stays."""
        place = self.folder / f"changed-{len(list(self.folder.iterdir()))}" / name
        shutil.copytree(self.folder / name, place)
        change(place)
        return place


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, signer: FileSigner) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("bundles"), signer)


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def rezipped(source: Path, target: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            for other, data in change(name, old.read(name)):
                new.writestr(other, data)
    return target


# ---------------------------------------------------------------------------------------------------- the core, in node


def test_the_core_passes_its_vectors_under_node():
    needs(NODE, "node is absent: apt-get install nodejs (18 or newer)")
    done = subprocess.run(
        [str(NODE), "--test", str(JS / "core.test.mjs")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1] >= "17"  # type: ignore[index]
    assert "# skipped 0" in done.stdout


def in_node(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    needs(NODE, "node is absent: apt-get install nodejs (18 or newer)")
    text = "\n".join(json.dumps(one) for one in asked)
    done = subprocess.run(
        [str(NODE), str(JS / "verify.mjs")], input=text, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def in_python(path: Path, key: str | None, since: str | None = None) -> tuple[str, set[str]]:
    """Result and paths of the problems, as the package finds them."""
    try:
        found = verify_bundle(path, key=key, since=since)
    except StoreError:
        return "NOT verified", {"."}
    paths = {problem.path for problem in found.problems}
    return "NOT verified" if paths else "verified" if found.ok else "consistent, signer not authenticated", paths


@pytest.mark.parametrize("name", ["february", "february.zip", "march", "march.zip", "some", "some.zip"])
def test_a_good_bundle_is_verified_with_the_facts_the_package_finds(bundles: Bundles, name: str):
    (found,) = in_node([{"path": str(bundles.folder / name), "key": bundles.key}])
    package = verify_bundle(bundles.folder / name, key=bundles.key)
    assert (found["problems"], found["result"], package.ok) == ([], "verified", True)
    assert found["head"] == package.checkpoint
    assert " ".join(found["words"]) == package.facts["words"]
    assert found["fingerprint"] == package.facts["key"]
    counts = found["counts"]
    assert (counts["shown"]["manifest"], counts["objects"], counts["leaves"]) == (
        package.replies,
        package.objects,
        package.leaves,
    )
    assert found["facts"]["withheld"] == package.facts["withheld"]
    assert (counts["withheld"]["manifest"] > 0) is name.startswith("some")


def test_a_bundle_verifies_without_a_key_only_as_consistent_and_not_with_another(bundles: Bundles):
    good = str(bundles.folder / "march")
    none, other = in_node([{"path": good}, {"path": good, "key": "0" * 64}])
    assert (none["result"], none["ok"]) == ("consistent, signer not authenticated", False)
    assert (other["result"], [one["path"] for one in other["problems"]]) == ("NOT verified", ["keys/signer.pem"])
    assert other["problems"][0]["what"] == f"is signed by {bundles.key}, not by {'0' * 64}"


def test_an_earlier_head_is_found_in_words_in_lines_and_by_proof_and_a_foreign_one_is_not(bundles: Bundles):
    path, key = str(bundles.folder / "march"), bundles.key
    note = first(bundles.folder / "february", "log/checkpoints/*.note").read_text("utf8")
    lines = "\n".join(note.split("\n")[:3])
    given = [
        bundles.words["february"],
        bundles.words["march"],
        " ".join(word[:4] for word in bundles.words["february"].split()),
        note,
        lines,
    ]
    wrong = [
        " ".join(reversed(bundles.words["february"].split())),
        lines.replace(ORIGIN, "other"),
        "abandon",
        lines.split("\n")[0],
    ]
    found = in_node([{"path": path, "key": key, "since": since} for since in given + wrong])
    assert [one["result"] for one in found] == ["verified"] * len(given) + ["NOT verified"] * len(wrong), found
    assert all(type(one["continued"]) is int for one in found[: len(given)])


EVERYWHERE = (
    "bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", "log/proof.json", "log/entries/*",
    "log/checkpoints/*.note", "keys/log.vkey", "keys/signer.pem", "keys/allowed_signers", "keys/leaves/*",
    "seal/bundle.dsse.json", "seal/bundle.sigstore.json", "seal/tagmanifest-sha256.txt.sig", "seal/sha256.txt",
    "verify/words.txt", "verify/verify.html", "data/objects/*/*", "data/runs/*/manifest.ndjson",
    "data/runs/*/results.ndjson", "data/runs/*/plan.json", "data/reports/*",
)  # fmt: skip


def test_every_kind_of_file_changed_missing_cut_grown_or_copied_is_found_as_the_package_finds_it(bundles: Bundles):
    changed: dict[str, Path] = {}
    for pattern in EVERYWHERE:
        where = first(bundles.folder / "march", pattern).relative_to(bundles.folder / "march")
        ways: dict[str, Callable[[Path], object]] = {
            "flip": flipped,
            "missing": Path.unlink,
            "copied": lambda file: shutil.copy(file, file.with_name("copy-of-it")),
        }
        if where.parts[0] != "data":
            ways["cut"] = lambda file: file.write_bytes(file.read_bytes()[:-1])
            ways["grown"] = lambda file: file.write_bytes(file.read_bytes() + b"\n")
        for way, change in ways.items():
            place = bundles.copy("march", lambda top: None)
            change(place / where)
            changed[f"{way} {where}"] = place
    found = in_node([{"path": str(path), "key": bundles.key} for path in changed.values()])
    for (what, path), told in zip(changed.items(), found, strict=True):
        result, paths = in_python(path, bundles.key)
        assert (told["result"], result) == ("NOT verified", "NOT verified"), (what, told)
        named = {problem["path"] for problem in told["problems"]}
        assert named & paths, (what, named, paths)
        way, file = what.split()
        touched = str(Path(file).with_name("copy-of-it")) if way == "copied" else file
        assert file.endswith("sha256.txt") or touched in named, (what, named)


def test_a_flipped_bit_is_found_wherever_it_is(bundles: Bundles):
    """One byte in 193 of what is small, three of what is large; all of what is small with ``EVERY_FLIP=1``."""
    step = 1 if os.environ.get("EVERY_FLIP") else 193
    top = bundles.folder / "march"
    asked = []
    for file in sorted(path for path in top.rglob("*") if path.is_file() and path.stat().st_size):
        size = file.stat().st_size
        places = {0, size // 2, size - 1} | (set(range(0, size, step)) if size < 4096 else set())
        name = str(file.relative_to(top))
        asked += [{"path": str(top), "key": bundles.key, "flip": [name, place]} for place in sorted(places)]
    assert len(asked) > 200
    for told, one in zip(in_node(asked), asked, strict=True):
        assert told["result"] == "NOT verified", one["flip"]


def vectors(folder: Path) -> list[dict[str, Any]]:
    """Those that a browser can open."""
    return [one for one in json.loads((folder / "expected.json").read_text()) if not one["name"].endswith(".tar.zst")]


def test_the_core_judges_every_vector_as_all_verifiers_must(vector_folder: Path):
    wanted = vectors(vector_folder)
    asked = [{**one, "path": str(vector_folder / one["name"])} for one in wanted]
    told = {one["name"]: told for one, told in zip(wanted, in_node(asked), strict=True)}
    assert {name: one["result"] for name, one in told.items()} == {one["name"]: one["result"] for one in wanted}
    for one in wanted:
        package = verify_bundle(
            vector_folder / one["name"], key=one["key"], witnesses=[Witness.parse(key) for key in one["witnesses"]]
        )
        if not package.problems:
            assert unattested(told[one["name"]]["warnings"]) == unattested(package.warnings), one["name"]


def test_cosignatures_are_shown_and_the_keys_of_witnesses_have_one_spelling(vector_folder: Path):
    (vector,) = (one for one in vectors(vector_folder) if one["name"] == "cosigned")
    path, (key,) = str(vector_folder / "cosigned"), vector["witnesses"]
    given, none = in_node([{"path": path, "key": vector["key"], "witnesses": one} for one in ([key], [])])
    (package,) = verify_bundle(Path(path), key=vector["key"], witnesses=[Witness.parse(key)]).cosignatures
    (told,) = given["cosigned"]
    assert (told["size"], told["witness"], told["time"]) == (
        package["checkpointSize"], package["witness"], package["time"],
    )  # fmt: skip
    assert not any("no outside anchor" in warning for warning in given["warnings"])
    assert none["cosigned"] == []
    assert any("no outside anchor" in warning for warning in none["warnings"])
    assert any("1 cosignatures were not checked" in warning for warning in none["warnings"])
    for wrong in ("x", key[:-1], key.replace("+", " +", 1), key.replace("w1+", "w2+"), "+" + key):
        told = in_node([{"path": path, "key": vector["key"], "witnesses": [wrong]}])[0]
        assert "witness" in told["problems"][0]["what"]
        assert told["result"] == "NOT verified"


# -------------------------------------------------------------------------- rotation, redaction, erasure, time stamps


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory, signer: FileSigner) -> Path:
    """Bundles ``plain``, ``redacted`` and ``stamped`` of a log that was handed over to a P-256 key, and lost a body."""
    folder, clock = tmp_path_factory.mktemp("rich"), Clock()
    after = p256()
    with Store.create(folder / "store", origin=ORIGIN, signer=signer, clock=clock) as store:
        bodies = [b'{"n":%d,"email":"person%d@acme.example"}' % (number, number) for number in range(6)]
        run = store.begin({}, b"{}")
        for number, body in enumerate(bodies):
            start = body.index(b'"person')
            spans = run.add_spans(body, Cut("text", ((start, len(body) - 1),))) if number % 2 else {}
            run.add_reply({"op": "x:Get", "sha256": run.add_object(body), **spans})
        run.close([{"check": "x", "outcome": "PASS"}], {})
        store.erase([hashlib.sha256(bodies[4]).hexdigest()], basis="request", approved_by="somebody")
        store.rotate(after, "planned")
        fill(store)
        chosen = bundle.choose(store, moment("2026-01-01"), moment("2027-01-01"))
        tsa = Tsa(folder / "tsa")
        with serving(tsa) as url:
            ask = partial(timestamps.ask, timestamps.Authority("local", url, tsa.roots))
            bundle.build(store, folder / "plain", chosen, after, clock=clock)
            redacted = bundle.views(store, chosen, redact=True)
            bundle.build(store, folder / "redacted", chosen, after, clock=clock, shown=redacted)
            bundle.build(store, folder / "stamped", chosen, after, clock=clock, ask=ask)
    return folder


def test_rotated_redacted_erased_and_stamped_bundles_verify_under_either_key(rich: Path, signer: FileSigner):
    names, keys = ("plain", "redacted", "stamped"), (signer.keyid, p256().keyid)
    found = in_node([{"path": str(rich / name), "key": key} for name in names for key in keys])
    for told in found:
        assert (told["result"], told["problems"]) == ("verified", [])
        assert told["keys"] == list(keys)
        assert told["fingerprint"] == keys[1]
        assert any("1 bodies were erased under leaf" in warning for warning in told["warnings"])
    assert found[2]["counts"]["shown"]["spans"] > 0
    assert found[2]["facts"]["withheld"]["replies"] >= found[2]["counts"]["shown"]["spans"]
    assert len(found[4]["stamps"]) == 1
    assert any("time stamps were not checked" in warning for warning in found[4]["warnings"])


@pytest.mark.parametrize(
    ("where", "change", "what"),
    [
        ("stamped/seal/bundle.dsse.json.tsr", Path.unlink, "is missing"),
        ("stamped/seal/bundle.dsse.json.tsr", lambda file: file.write_bytes(b"0\0"), "is not a time-stamp reply"),
        ("redacted/data/redacted/*/*.json", Path.unlink, "is missing"),
        (
            "redacted/data/redacted/*/*.json",
            lambda file: file.write_bytes(file.read_bytes().replace(b'\\"n\\":', b'\\"m\\":')),
            "is not the root over the leaves",
        ),
        ("redacted/data/runs/00000001/spans.ndjson", Path.unlink, "is missing"),
        ("plain/log/entries/*-key-transition.dsse.json", Path.unlink, "is missing"),
        ("plain/log/entries/*-redaction.dsse.json", Path.unlink, "is missing"),
    ],
)
def test_what_else_can_be_taken_from_them_is_missed(
    rich: Path, tmp_path: Path, where: str, change: Callable[[Path], object], what: str
):
    name, _, file = where.partition("/")
    place = tmp_path / name
    shutil.copytree(rich / name, place)
    path = first(place, file)
    change(path)
    (told,) = in_node([{"path": str(place), "key": p256().keyid}])
    assert told["result"] == in_python(place, p256().keyid)[0] == "NOT verified"
    assert {"path": str(path.relative_to(place)), "what": what} in told["problems"]


def resealed_but_for(top: Path, *kept: str) -> None:
    """A report is changed and everything sealed again by the holder of the key, but these files stay as they were."""
    old = {name: (top / name).read_bytes() for name in kept}
    (top / "data/reports/index.html").write_text("another")
    reseal(top)
    for name, content in old.items():
        (top / name).write_bytes(content)
    relist(top)


def forged_line(top: Path) -> None:
    manifest = top / "data/runs/00000006/manifest.ndjson"
    first_line, _, rest = manifest.read_bytes().partition(b"\n")
    assert b'"sha256":null' in rest
    manifest.write_bytes(first_line + b'\n{"i":1,"withheld":"%s"}\n' % (b"0" * 64))
    reseal(top, withheld_replies=1)


def forged_genesis(top: Path, signer: FileSigner) -> None:
    leaf = first(top, "keys/leaves/*-genesis*")
    said = open_statement(open_envelope(leaf.read_bytes()).payload)
    policy = {"timestamp": {"required": False}}
    leaf.write_bytes(sign_statement(replace(said, predicate={**said.predicate, "policy": policy}), [signer]))
    reseal(top)


def test_where_one_check_alone_stands_in_the_way_it_does(
    bundles: Bundles, rich: Path, tmp_path: Path, signer: FileSigner
):
    stamped = tmp_path / "stamped"
    shutil.copytree(rich / "stamped", stamped)
    (stamped / "seal/bundle.dsse.json.tsr").unlink()
    relist(stamped)
    ssh = "seal/tagmanifest-sha256.txt.sig"
    seals = ("seal/bundle.dsse.json", "seal/bundle.sigstore.json")
    cases = [
        (stamped, p256().keyid, seals[0] + ".tsr", "is missing"),
        (
            bundles.copy("march", lambda top: resealed_but_for(top, *seals)),
            bundles.key,
            "tagmanifest-sha256.txt",
            "has other content than sealed",
        ),
        (
            bundles.copy("march", lambda top: resealed_but_for(top, ssh)),
            bundles.key,
            ssh,
            "has a signature that does not verify",
        ),
        (
            bundles.copy("march", forged_line),
            bundles.key,
            "data/runs/00000006/manifest.ndjson",
            "is not the root over the leaves",
        ),
        (
            bundles.copy("march", lambda top: forged_genesis(top, signer)),
            bundles.key,
            "keys/leaves/000000000000-genesis.dsse.json",
            "is not shown to be in the log",
        ),
    ]
    found = in_node([{"path": str(path), "key": key} for path, key, _, _ in cases])
    for (path, key, where, what), told in zip(cases, found, strict=True):
        assert told["problems"] == [{"path": where, "what": what}]
        assert in_python(path, key)[0] == told["result"] == "NOT verified"


def test_a_demanded_time_stamp_or_a_revoked_key_is_never_more_than_the_page_can_show(
    ram: Path, signer: FileSigner, clock: Clock
):
    for policy, revoke in (({"timestamp": {"required": True}}, False), ({}, True)):
        with Store.create(ram / f"store{revoke}", origin=ORIGIN, signer=signer, clock=clock, policy=policy) as store:
            fill(store)
            store.rotate(p256(), "planned")
            if revoke:
                store.revoke(signer.keyid, store.size - 2, "lost")
            chosen = bundle.choose(store, moment("2026-01-01"), moment("2027-01-01"))
            # The builder would refuse to hand out a bundle that does not verify: this is what is behind it.
            bag = bundle._Bag(store, ram / f"bundle{revoke}", chosen, p256(), clock(), bundle.views(store, chosen))
            bag.fill(bundle.Wish(), lambda run, stream, line: True, {}, None, None, None)
    asked = (("bundleFalse", p256().keyid), ("bundleTrue", signer.keyid), ("bundleTrue", p256().keyid))
    demanded, old, new = in_node([{"path": str(ram / name), "key": key} for name, key in asked])
    assert (demanded["result"], demanded["ok"], demanded["problems"]) == (
        "consistent, time stamps not checked",
        False,
        [],
    )
    assert old["result"] == new["result"] == "NOT verified"
    assert any(problem["path"] == "keys/signer.pem" for problem in old["problems"])
    assert all("revoked" in problem["what"] for problem in new["problems"])


# --------------------------------------------------------------------------------------------- the page, in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs(CHROMIUM.exists(), f"{CHROMIUM} is absent: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield running
        running.close()


class Reader:
    """A person with the page open: enters, chooses, reads; what the browser said and asked is kept."""

    def __init__(self, browser: Browser) -> None:
        self.tab: Page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.tab.set_default_timeout(10_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(PAGE.as_uri())

    def check(self, path: Path, key: str = "", since: str = "", witnesses: str = "") -> str:
        """The result, in the words of the page."""
        self.tab.locator("#pin").fill(key)
        self.tab.locator("#since").fill(since)
        self.tab.locator("#witnesses").fill(witnesses)
        self.tab.locator("#folder" if path.is_dir() else "#zip").set_input_files(path)
        self.tab.locator("#verdict").wait_for()
        return self.tab.locator("#verdict strong").inner_text()

    @property
    def problems(self) -> str:
        return self.tab.locator("#problems").inner_text()


@pytest.fixture
def reader(browser: Browser) -> Iterator[Reader]:
    opened = Reader(browser)
    yield opened
    opened.tab.close()
    assert opened.said == []
    assert opened.asked == [PAGE.as_uri()]


@pytest.mark.parametrize("name", ["march", "march.zip"])
def test_a_good_bundle_is_shown_as_verified(reader: Reader, bundles: Bundles, name: str):
    assert reader.check(bundles.folder / name, f"SHA256:{bundles.key.upper()}", bundles.words["february"]) == "verified"
    expect(reader.tab.locator("#verdict")).to_have_class(re.compile(r"\bgood\b"))
    assert reader.tab.locator("#finger").inner_text().replace("\n", "") == bundles.key
    assert reader.tab.locator("#words").inner_text().split() == bundles.words["march"].split()
    told = reader.tab.locator("#outcome").inner_text()
    period, runs = "2026-03-01 00:00:00 UTC up to 2026-04-01 00:00:00 UTC", "2 complete, 1 aborted, 0 open"
    for fact in ("Acme", "An auditor", ORIGIN, period, runs, "5 replies", "is continued"):
        assert fact in told
    assert reader.tab.locator("#problems").count() == 0


def test_a_redacted_bundle_is_verified_and_a_field_that_is_shown_refused(reader: Reader, vector_folder: Path):
    assert reader.check(vector_folder / "redacted", A.keyid) == "verified"
    told = reader.tab.locator("#outcome").inner_text()
    assert "2 of these replies are here without personal fields" in told
    assert "person1" not in told
    assert reader.check(vector_folder / "redacted-field-shown", A.keyid) == "NOT verified"
    assert "does not leave out every second span: 1" in reader.problems


@pytest.mark.parametrize("name", ["cosigned", "cosigned.zip"])
def test_a_cosigned_bundle_names_its_witness_and_a_forged_cosignature_is_refused(
    reader: Reader, vector_folder: Path, name: str
):
    witness = W.verifier_key()
    assert reader.check(vector_folder / name, A.keyid, witnesses=witness) == "verified"
    assert f"{W.name} signed the head over 6 leaves on 2026-02-01" in reader.tab.locator("#outcome").inner_text()
    assert reader.check(vector_folder / "cosignature-forged", A.keyid, witnesses=witness) == "NOT verified"
    assert f"does not verify as a cosignature of {W.name}" in reader.problems
    reader.tab.locator("#witnesses").fill("nobody")
    reader.tab.get_by_role("button", name="Check again").click()
    expect(reader.tab.locator("#witnesses-fault")).to_contain_text("is not the key of a witness")
    assert reader.tab.locator("#outcome").is_hidden()


def test_without_a_fingerprint_nothing_is_green(reader: Reader, bundles: Bundles):
    assert reader.check(bundles.folder / "march") == "consistent, signer not authenticated"
    expect(reader.tab.locator("#verdict")).to_have_class(re.compile(r"\bwarn\b"))
    assert reader.tab.locator(".good").count() == 0
    reader.tab.locator("#pin").fill(bundles.key)
    reader.tab.get_by_role("button", name="Check again").click()
    expect(reader.tab.locator("#verdict strong")).to_have_text("verified")


def test_a_wrong_key_is_named_beside_the_right_one(reader: Reader, bundles: Bundles, other_signer: FileSigner):
    assert reader.check(bundles.folder / "march.zip", other_signer.keyid) == "NOT verified"
    expect(reader.tab.locator("#verdict")).to_have_class(re.compile(r"\bbad\b"))
    assert f"is signed by {bundles.key}, not by {other_signer.keyid}" in reader.problems


def test_an_older_key_is_not_called_the_one_that_signed(reader: Reader, rich: Path, signer: FileSigner):
    assert reader.check(rich / "plain", signer.keyid) == "verified"
    said = reader.tab.locator("#verdict").inner_text()
    assert "The key you gave is an older one of this log: it handed over to the key that signed the seal" in said
    assert "signed by the key you gave" not in said
    reader.tab.locator("#pin").fill(p256().keyid)
    reader.tab.get_by_role("button", name="Check again").click()
    expect(reader.tab.locator("#verdict")).to_contain_text("all of it is signed by the key you gave")


def test_a_folder_that_is_no_bundle_is_called_so_and_nothing_else(reader: Reader, bundles: Bundles):
    wrong = bundles.folder / "march/data"
    assert reader.check(wrong, bundles.key) == "NOT verified"
    assert "What was chosen is no bundle, so nothing was checked." in reader.tab.locator("#verdict").inner_text()
    assert "there is no bagit.txt in it and no folder seal" in reader.problems
    assert reader.tab.locator("#problems li").count() == 1
    assert "ask the sender" not in reader.tab.locator("#outcome").inner_text()


def test_what_is_no_fingerprint_is_said_before_anything_is_read(reader: Reader, bundles: Bundles):
    reader.tab.locator("#pin").fill("abc")
    reader.tab.locator("#folder").set_input_files(bundles.folder / "march")
    expect(reader.tab.locator("#pin-fault")).to_contain_text("64 hex digits")
    assert reader.tab.locator("#outcome").is_hidden()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda top: flipped(first(top, "data/objects/*/*")), "has other content than listed"),
        (lambda top: first(top, "data/objects/*/*").unlink(), "is missing"),
        (lambda top: first(top, "log/entries/*run-close*").unlink(), "is missing"),
        (lambda top: (top / "data/reports/extra.html").write_text("more"), "data/reports/extra.html: is not listed"),
        (lambda top: (top / HOSTILE).write_text("more"), f"{HOSTILE}: is not part of a bundle"),
        (lambda top: shutil.rmtree(top / "seal"), "seal/bundle.dsse.json: is missing"),
    ],
    ids=["changed", "missing", "missing leaf", "extra", "hostile name", "no seal"],
)
def test_a_bundle_that_was_touched_is_refused_by_name(
    reader: Reader, bundles: Bundles, change: Callable[[Path], object], named: str
):
    assert reader.check(bundles.copy("march", change), bundles.key) == "NOT verified"
    assert named in reader.problems
    assert reader.tab.locator("#outcome img").count() == 0


def test_a_zip_that_is_cut_short_or_holds_an_entry_twice_is_refused(reader: Reader, bundles: Bundles, tmp_path: Path):
    whole = bundles.folder / "march.zip"
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole.read_bytes()[:-1])
    assert reader.check(cut, bundles.key) == "NOT verified"
    assert "it is cut short, or is no zip" in reader.problems
    again = lambda name, data: [(name, data)] * (2 if name.endswith("bagit.txt") else 1)  # noqa: E731
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = rezipped(whole, tmp_path / "twice.zip", again)
    assert reader.check(twice, bundles.key) == "NOT verified"
    assert "bagit.txt: occurs twice" in reader.problems


def test_the_page_says_what_it_cannot_check_forbids_itself_the_network_and_prints(reader: Reader, bundles: Bundles):
    source = PAGE.read_text("utf8")
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    assert f"content=\"{policy}; base-uri 'none'; form-action 'none'\"" in source
    assert not re.search(r"https?://(?!affidavit\.example|in-toto\.io)", source)
    limits = reader.tab.locator("main").inner_text()
    for limit in (
        "Itself.",
        "That the recorded answers were true.",
        "Time stamps",
        "The holder of the key.",
        "Verdicts.",
    ):
        assert limit in limits
    assert reader.tab.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"
    assert "Content Security Policy" in reader.said.pop(0)
    reader.said.clear()
    reader.check(bundles.folder / "march", bundles.key)
    reader.tab.emulate_media(media="print")
    assert reader.tab.locator(".choices").is_hidden()
    assert reader.tab.locator("#finger").is_visible()
    assert len(reader.tab.pdf()) > 10_000


def test_the_page_can_be_used_with_the_keyboard_and_hears_what_is_going_on(reader: Reader, bundles: Bundles):
    for control in ("pin", "since", "witnesses", "folder", "zip"):
        reader.tab.keyboard.press("Tab")
        assert reader.tab.evaluate("document.activeElement.id") == control
    assert reader.tab.locator("#doing").get_attribute("role") == "status"
    reader.check(bundles.folder / "march", bundles.key)
    assert reader.tab.evaluate("document.activeElement.id") == "outcome"
    for control in ("#pin", "#since", "#witnesses", "#folder", "#zip"):
        assert reader.tab.evaluate("(id) => document.querySelector(id).labels.length", control) == 1
