"""All verifiers judge the same bundles alike: the package, verify.py, and as far as it sees, verify.sh."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bundle_memory import remembered  # noqa: F401

import evidence_store
from evidence_store import verify_one_file
from evidence_store.bundles.verify import verify_bundle
from evidence_store.cosignature import Witness
from evidence_store.store import Store
from evidence_store.verify import NO_ANCHOR, OPEN_END
from tests.evidence_store.vectors.tools import (
    ALL,
    FEBRUARY,
    MARCH,
    NOT_VERIFIED,
    UNKNOWN_SIGNER,
    VERIFIED,
    A,
    B,
    Clock,
    P,
    collect,
    history,
    sealed,
)  # fmt: skip

SHELL = Path(evidence_store.__file__).with_name("templates") / "verify.sh"
SLOW_IN_SHELL = ("withheld", "erased-later", "run-still-open", "not-redacted", "redacted", "from-the-middle")


def unattested(warnings: Iterable[str]) -> list[str]:
    """What a verifier says that nobody outside has shown."""
    return [w.partition("\n")[0] for w in warnings if "no outside anchor" in w or OPEN_END in w]


def result(ok: bool, problems: object) -> str:
    return VERIFIED if ok else NOT_VERIFIED if problems else UNKNOWN_SIGNER


def expected(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "expected.json").read_text()))


def test_the_package_and_verify_py_agree_on_every_vector(vector_folder: Path) -> None:
    vectors = expected(vector_folder)
    assert {vector["result"] for vector in vectors} == {VERIFIED, NOT_VERIFIED, UNKNOWN_SIGNER}
    assert len(vectors) > 200
    for vector in vectors:
        path, key = vector_folder / vector["name"], vector["key"]
        found = verify_bundle(path, key=key, witnesses=[Witness.parse(text) for text in vector["witnesses"]])
        assert result(found.ok, found.problems) == vector["result"], (vector["name"], found.problems)
        if path.name.endswith(".tar.zst") and sys.version_info < (3, 14):
            with pytest.raises(verify_one_file.Usage, match="unpack it"):
                verify_one_file.verify(str(path), key)
            continue
        witnesses = [verify_one_file.Witness(text) for text in vector["witnesses"]]
        alone = verify_one_file.verify(str(path), key, witnesses=witnesses)
        assert result(alone["ok"], alone["problems"]) == vector["result"], (vector["name"], alone["problems"])
        assert {problem["path"] for problem in alone["problems"]} == {problem.path for problem in found.problems}, (
            vector["name"]
        )
        assert unattested(alone["warnings"]) == unattested(found.warnings), vector["name"]
        if not found.problems:
            assert alone["facts"]["words"] == found.facts["words"]
            assert alone["facts"]["replies"] == found.replies
            assert alone["facts"]["objects"] == found.objects
            assert len(alone["facts"]["cosigned"]) == len(found.cosignatures)


def test_verify_sh_agrees_on_what_it_can_see(vector_folder: Path) -> None:
    for vector in expected(vector_folder):
        path = vector_folder / vector["name"]
        if not path.is_dir() or vector["by"] != ALL or vector["name"] in SLOW_IN_SHELL:
            continue
        key = ["--key", vector["key"]] if vector["key"] else []
        done = subprocess.run(["sh", SHELL, *key, path], capture_output=True, text=True, check=False)
        said = VERIFIED if done.returncode == 0 else NOT_VERIFIED if "NOT verified" in done.stdout else UNKNOWN_SIGNER
        assert said == vector["result"], (vector["name"], done.stdout, done.stderr)
        assert done.returncode == (0 if said == VERIFIED else 4)
        assert "fingerprint  " in done.stdout
        assert ("problem: " in done.stdout) == (said == NOT_VERIFIED)
        assert unattested(done.stdout.split("warning: ")) == [NO_ANCHOR], "no roots were given to check a token with"


def in_the_shell(path: Path, key: str) -> tuple[int, str]:
    done = subprocess.run(["sh", SHELL, "--key", key, path], capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_verify_sh_follows_an_older_key_to_the_one_of_the_seal(vector_folder: Path, tmp_path: Path) -> None:
    """Whoever wrote the fingerprint down before a key was handed over needs no other tool, nor another fingerprint."""
    made = [vector_folder / "handed-over"]
    for name, keys in (("twice", (P, B)), ("from-ed25519-to-p256", (P,)), ("later", (P, B))):
        clock, signer = Clock(FEBRUARY), A
        store = history(tmp_path / f"{name}.store", clock)
        for key in keys:
            store.rotate(key, "planned")
            store.close()
            signer, store = key, Store.open(tmp_path / f"{name}.store", signer=key, clock=clock)
        with store:
            if name == "later":
                clock.time = MARCH
                collect(store, 2)
            start = MARCH if name == "later" else FEBRUARY
            sealed(store, tmp_path / f"rotated-{name}", signer, start)
            made.append(tmp_path / f"rotated-{name}")
            before = list((tmp_path / f"rotated-{name}/keys/leaves").glob("*-key-transition.*"))
            assert bool(before) == (name == "later"), "one transition stands before the range"
    for path in made:
        for key in (A.keyid, P.keyid) if path.name in ("rotated-twice", "rotated-later") else (A.keyid,):
            assert verify_bundle(path, key=key).ok
            code, said = in_the_shell(path, key)
            assert (code, "the key you gave handed over to it" in said) == (0, True), (path, said)
        code, said = in_the_shell(path, "0" * 64)
        assert code == 4
        assert f"not by {'0' * 64}\n" in said, "no key of this log is called an older one"


def test_verify_sh_follows_no_transition_that_is_not_signed_by_both_keys(vector_folder: Path) -> None:
    refused = (
        "handed-over-by-the-old-key-alone", "handed-over-by-the-new-key-alone", "handed-over-in-the-other-order",
        "handed-over-with-more", "handed-over-from-another-leaf", "handed-over-to-itself",
        "revoked", "revoked-before-it-handed-over", "revoked-never-seen",
    )  # fmt: skip
    for name in refused:
        code, said = in_the_shell(vector_folder / name, A.keyid)
        assert code == 4, name
        assert f"not by {A.keyid}, an older key of this log" in said, (name, said)
        assert "verify.py says whether it may be relied on" in said


def test_verify_py_runs_alone_on_python_3_9(vector_folder: Path, tmp_path: Path) -> None:
    source = Path(verify_one_file.__file__).read_text("utf8")
    tree = ast.parse(source, feature_version=(3, 9))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [name.name for node in imports if isinstance(node, ast.Import) for name in node.names]
    modules = [*named, *(node.module for node in imports if isinstance(node, ast.ImportFrom))]
    assert {str(module).partition(".")[0] for module in modules} <= {*sys.stdlib_module_names, "compression"}
    good = vector_folder / "plain"
    assert (good / "verify/verify.py").read_text("utf8") == source
    vector = next(vector for vector in expected(vector_folder) if vector["name"] == "plain")
    run = [sys.executable, "-I", "-S", str(good / "verify/verify.py"), str(good)]
    done = subprocess.run([*run, "--key", vector["key"]], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"The fingerprint is {vector['key']}" in done.stdout
    assert subprocess.run(run, capture_output=True, cwd=tmp_path, check=False).returncode == 4
    for wrong in (["--key", "x"], ["--since", "one two"], ["--max-stamp-lag-h", "0"], ["--witness", "x"]):
        done = subprocess.run([*run, *wrong], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stdout) == (2, "")
    assert subprocess.run([*run[:-1], str(tmp_path / "none")], capture_output=True, check=False).returncode == 2


def test_the_arithmetic_of_verify_py_refuses_what_it_must() -> None:
    assert verify_one_file.self_test()
    key = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    assert verify_one_file.ed25519_verifies(key, signature, b"\xaf\x82")
    grown = int.from_bytes(signature[32:], "little") + verify_one_file.L
    assert not verify_one_file.ed25519_verifies(key, signature[:32] + grown.to_bytes(32, "little"), b"\xaf\x82")
    assert not verify_one_file.ed25519_verifies(key, signature[:63], b"\xaf\x82")
    assert not verify_one_file.ed25519_verifies(b"\xff" * 32, signature, b"\xaf\x82")
    for signature in (
        b"",
        b"0\x06\x02\x01\x00\x02\x01\x01",
        b"\x30\x45" + bytes(69),
        b"\x30\x08\x02\x02\x00\x01\x02\x02\x00\x01",
    ):
        assert not verify_one_file.p256_verifies(b"\x04" + bytes(64), signature, b"sample")
