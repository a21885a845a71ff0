"""A bundle is checked by tools that are not ours: coreutils, bagit.py, OpenSSH, OpenSSL, Sigstore's verifier."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from local_authority import Tsa, asking

from evidence_store import sshsig, verify_one_file
from evidence_store.bundles import build as bundle
from evidence_store.bundles import format as form
from evidence_store.bundles.verify import verify_bundle
from evidence_store.keys import Signer
from evidence_store.store import Store
from evidence_store.verify import NO_ANCHOR, OPEN_END, lasting
from tests.evidence_store.test_bundle_vectors import unattested
from tests.evidence_store.test_verify_html import in_node
from tests.evidence_store.vectors.tools import ORIGIN, A, Clock, P, collect

SIGSTORE = Path(__file__).with_name("sigstore")


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    return Tsa(tmp_path_factory.mktemp("tsa") / "one")


def built(folder: Path, signer: Signer, tsa: Tsa) -> Path:
    """A bundle whose checkpoint and seal are stamped."""
    clock = Clock(datetime.now(UTC))
    Store.create(folder / "store", origin=ORIGIN, signer=signer, clock=clock).close()
    with Store.open(folder / "store", signer=signer, clock=clock) as store:
        collect(store, 1)
        store.keep_token(store.size, "local", asking(tsa)(store.checkpoint))
        now = datetime.now(UTC)
        chosen = bundle.choose(store, now.replace(hour=0, minute=0, second=0), datetime(2100, 1, 1, tzinfo=UTC))
        made = bundle.build(store, folder / "bundle", chosen, signer, ask=asking(tsa), tsa_roots=tsa.roots)
    found = verify_bundle(made.path, key=signer.keyid, tsa_roots=tsa.roots)
    assert found.ok, found.problems
    assert [(stamp["checkpointSize"], stamp["authority"]) for stamp in found.stamps] == [(3, "local")]
    return made.path


@pytest.fixture(scope="module", params=["ed25519", "p256"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tsa: Tsa) -> Path:
    return built(tmp_path_factory.mktemp(request.param), A if request.param == "ed25519" else P, tsa)


@pytest.fixture
def altered(made: Path, tmp_path: Path) -> Path:
    """A copy with one reply altered and the lists made to fit, as anybody can."""
    from tests.evidence_store.vectors.tools import relist

    copy = Path(shutil.copytree(made, tmp_path / "altered"))
    lines = copy / "data/runs/00000001/manifest.ndjson"
    lines.write_bytes(lines.read_bytes().replace(b"403", b"200"))
    relist(copy)
    return copy


def run(arguments: Sequence[str | Path], folder: Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(list(map(str, arguments)), cwd=folder, input=given, capture_output=True, check=False)


def test_sha256sum(made: Path) -> None:
    for name in (form.MANIFEST, form.TAGS, form.SEAL_LIST):
        done = run(["sha256sum", "--strict", "-c", name], made)
        assert (done.returncode, done.stderr) == (0, b"")
        assert len(done.stdout.splitlines()) == len(form.read_list((made / name).read_bytes()))


def test_bagit_py(made: Path, tmp_path: Path) -> None:
    assert run([sys.executable, "-m", "bagit", "--validate", made], tmp_path).returncode == 0
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    (copy / "data/extra").write_text("x")
    assert run([sys.executable, "-m", "bagit", "--validate", copy], tmp_path).returncode == 1


def test_ssh_keygen(made: Path, altered: Path) -> None:
    command = [
        "ssh-keygen", "-Y", "verify", "-f", form.ALLOWED, "-I", form.PRINCIPAL, "-n", form.NAMESPACE, "-s", form.SSH,
    ]  # fmt: skip
    done = run(command, made, (made / form.TAGS).read_bytes())
    assert done.returncode == 0, done.stderr
    assert b"Good" in done.stdout
    assert run(command, altered, (altered / form.TAGS).read_bytes()).returncode != 0


def test_our_ssh_signature_is_the_one_that_ssh_keygen_makes(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(private)
    for data in (b"", b"x" * 10_000):
        (tmp_path / "data").write_bytes(data)
        (tmp_path / "data.sig").unlink(missing_ok=True)
        done = run(["ssh-keygen", "-Y", "sign", "-f", "key", "-n", form.NAMESPACE, "data"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert sshsig.sign(data, form.NAMESPACE, A) == (tmp_path / "data.sig").read_bytes()


def test_openssl_pkeyutl(made: Path, tmp_path: Path) -> None:
    for path in (made / form.SEAL, *(made / "log/entries").iterdir()):
        envelope = json.loads(path.read_bytes())
        payload = base64.b64decode(envelope["payload"])
        (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
        command = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            made / form.SIGNER,
            "-rawin",
            "-in",
            "pae",
            "-sigfile",
            "sig",
        ]
        for content, code in ((payload, 0), (payload + b" ", 1)):
            (tmp_path / "pae").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(content), content))
            assert run(command, tmp_path).returncode == code
    subject = json.loads(base64.b64decode(json.loads((made / form.SEAL).read_bytes())["payload"]))["subject"]
    digest = hashlib.sha256((made / form.TAGS).read_bytes()).hexdigest()
    assert subject == [{"name": form.TAGS, "digest": {"sha256": digest}}]


def test_openssl_ts(made: Path, tsa: Tsa, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(tsa.roots)
    stamped = [
        form.SEAL,
        *(path.relative_to(made).as_posix() for path in made.glob("log/checkpoints/000000000003.note")),
    ]
    for name in stamped:
        token = made / (f"{name}.tsr" if name == form.SEAL else f"{name}.local.tsr")
        command = ["openssl", "ts", "-verify", "-in", token, "-CAfile", tmp_path / "roots.pem", "-data"]
        assert run([*command, made / name], tmp_path).returncode == 0
        assert run([*command, made / form.TAGS], tmp_path).returncode != 0


def test_verify_sh_and_verify_py_check_time_stamps(made: Path, altered: Path, tsa: Tsa, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(tsa.roots)
    (tmp_path / "other.pem").write_bytes(Tsa(tmp_path / "other").roots)
    key = hashlib.sha256(
        serialization.load_pem_public_key((made / form.SIGNER).read_bytes()).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).hexdigest()
    for command in (["sh", "verify/verify.sh"], [sys.executable, "verify/verify.py"]):
        options = ["--key", key, "--tsa-roots"]
        done = run([*command, *options, tmp_path / "roots.pem", "."], made)
        assert done.returncode == 0, done.stdout
        assert run([*command, *options, tmp_path / "other.pem", "."], made).returncode == 4
        assert run([*command, *options, tmp_path / "none.pem", "."], made).returncode == 2
        refused = run([*command, *options, tmp_path / "roots.pem", "."], altered)
        assert refused.returncode == 4
        assert b"NOT verified" in refused.stdout


def test_all_verifiers_say_alike_what_nobody_outside_has_seen(tsa: Tsa, tmp_path: Path) -> None:
    """A stamp covers the runs before it, an earlier head what came before it; only a head over the end shows it."""
    clock = Clock(datetime.now(UTC))
    Store.create(tmp_path / "store", origin=ORIGIN, signer=A, clock=clock).close()
    with Store.open(tmp_path / "store", signer=A, clock=clock) as store:
        first = store.checkpoint
        collect(store, 1)
        store.keep_token(store.size, "local", asking(tsa)(store.checkpoint))
        for number in (2, 3):
            collect(store, number)
        newest, today = store.checkpoint, datetime.now(UTC).replace(hour=0, minute=0, second=0)
        chosen = bundle.choose(store, today, datetime(2100, 1, 1, tzinfo=UTC))
        made = bundle.build(store, tmp_path / "bundle", chosen, A, tsa_roots=tsa.roots, since=first.decode()).path
    (tmp_path / "roots.pem").write_bytes(tsa.roots)
    cut_off = "covered by no outside anchor that was checked, and could be cut off unseen; " + OPEN_END
    for roots, since, expected in (
        (True, None, [f"runs 2 to 3 are {cut_off}"]), (False, None, [NO_ANCHOR]),
        (False, first, [f"runs 1 to 3 are {cut_off}"]), (True, first, [f"runs 2 to 3 are {cut_off}"]),
        (False, newest, []), (True, newest, []),
    ):  # fmt: skip
        note = None if since is None else since.decode()
        (tmp_path / "since").write_bytes(since or b"")
        found = verify_bundle(made, key=A.keyid, tsa_roots=tsa.roots if roots else None, since=note)
        assert found.ok, found.problems
        assert unattested(found.warnings) == expected
        options: list[str | Path] = ["--key", A.keyid, *(["--tsa-roots", tmp_path / "roots.pem"] if roots else [])]
        earlier: list[str | Path] = [] if since is None else ["--since", tmp_path / "since"]
        done = run([sys.executable, "verify/verify.py", ".", *options, *earlier], made)
        assert done.returncode == 0
        assert unattested(done.stdout.decode().split("warning: ")) == expected
        if since is None:
            done = run(["sh", "verify/verify.sh", *options, "."], made)
            assert done.returncode == 0
            assert unattested(done.stdout.decode().split("warning: ")) == expected
        if not roots:
            (told,) = in_node([{"path": str(made), "key": A.keyid, "since": note or ""}])
            assert told["result"] == "verified"
            assert unattested(told["warnings"]) == expected


def test_what_people_read_is_in_words(made: Path, tsa: Tsa, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(tsa.roots)
    signer = P if "p256" in str(made) else A
    options = ["--key", signer.keyid, "--tsa-roots", tmp_path / "roots.pem"]
    for command in (["verify/verify.py", "."], ["-m", "evidence_store", "verify", "."]):
        done = run([sys.executable, *command, *options], made)
        said = done.stdout.decode()
        assert done.returncode == 0, said
        assert not set("{}[]'") & set(said), said
        assert re.search(r"^runs {9}1 complete, 0 aborted, 0 open$", said, re.MULTILINE)
        assert re.search(r"^period {7}\S+Z to 2100-01-01T00:00:00.000Z$", said, re.MULTILINE)
        assert re.search(r"^stamps? {7}checkpoint 3 at \S+Z by local$|^stamp: checkpoint 3 at", said, re.MULTILINE)
    for seconds, told in (
        (0, "less than a second"), (1, "1 second"), (61, "1 minute 1 second"), (86400, "1 day"), (172803, "2 days"),
        (90061, "1 day 1 hour"), (7200, "2 hours"), (100_000 * 3600, "4166 days 16 hours"),
    ):  # fmt: skip
        assert lasting(timedelta(seconds=seconds)) == verify_one_file.lasting(timedelta(seconds=seconds)) == told


def test_sigstore(made: Path, vector_folder: Path, tsa: Tsa, tmp_path: Path) -> None:
    if not (SIGSTORE / "node_modules").is_dir():
        assert not os.environ.get("CI"), "run .ci/third-party first"
        pytest.skip("run .ci/third-party to install Sigstore's verifier")
    for name in ("tsa", "ca"):
        shutil.copy(tsa.folder / f"{name}.pem", tmp_path)

    def said(file: Path, *authorities: str) -> tuple[int, str]:
        done = run(["node", SIGSTORE / "check.mjs", file, made / form.SIGNER, *authorities], tmp_path)
        return done.returncode, done.stdout.decode().strip()

    assert said(made / form.SIGSTORE)[0] == 1, "its time stamp is of no authority that was named"
    if "ed25519" in str(made):
        assert said(vector_folder / "plain" / form.SIGSTORE) == (0, "verified"), "made without a time stamp"
    stamped = said(made / form.SIGSTORE, "tsa.pem", "ca.pem")
    assert stamped == (0, "verified with a time stamp")
    whole = json.loads((made / form.SIGSTORE).read_bytes())
    payload = base64.b64decode(whole["dsseEnvelope"]["payload"]).replace(b"complete", b"compleat")
    whole["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (tmp_path / "altered.json").write_text(json.dumps(whole))
    assert said(tmp_path / "altered.json", "tsa.pem", "ca.pem")[0] == 1


def test_a_zip_and_a_tar_unpack_with_ordinary_tools(vector_folder: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(vector_folder / "plain.zip", tmp_path / "zip", "zip")
    packed = vector_folder / "plain.tar.zst"
    assert run(["tar", "--use-compress-program", "zstd -d --long=27", "-xf", packed], tmp_path).returncode == 0
    for folder in (tmp_path / "zip/plain", tmp_path / "plain"):
        assert run(["sha256sum", "--quiet", "-c", form.MANIFEST, form.TAGS, form.SEAL_LIST], folder).returncode == 0
        assert run([sys.executable, "verify/verify.py", ".", "--key", A.keyid], folder).returncode == 0
