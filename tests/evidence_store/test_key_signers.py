"""Keys in AWS KMS (two emulators, over HTTP on loopback) and on a PKCS#11 token (SoftHSM) sign stores."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from evidence_store import signers
from evidence_store.errors import SignerError, UsageError
from evidence_store.keys import FileSigner, Signer
from evidence_store.signers import open_signer
from evidence_store.store import Store
from evidence_store.verify import verify_store

ORIGIN = "evidence.acme.example/prod"
SOFTHSM = [Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")]
PIN = "an invented pin"


def needed(what: Any, reason: str) -> None:
    """Without it the test fails in CI and is skipped elsewhere."""
    if not what:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(command: list[str], port: int, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """A server in a process of its own, until the end of the block."""
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(url, timeout=1).close()
                    break
                except urllib.error.HTTPError:
                    break
                except OSError:
                    assert process.poll() is None, (folder / "log").read_text()[-2000:]
                    time.sleep(0.05)
            else:
                pytest.fail((folder / "log").read_text()[-2000:])
            yield url
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module", params=["moto", "ministack"])
def kms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Name and address of an emulator; TESTING names what each gets wrong."""
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    if request.param == "moto":
        server = Path(sys.executable).with_name("moto_server")
        command, environment = [str(server), "-H", "127.0.0.1", "-p", str(port)], {}
    else:
        # In an environment of its own: it pins another botocore than ours.
        own = Path(sys.prefix) / "tools" / "bin" / "ministack"
        found = str(own) if own.exists() else shutil.which("ministack")
        needed(found, "ministack is not on this machine: make test installs it into .venv/tools")
        command = [str(found)]
        environment = {
            "AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0", "HOME": str(folder), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }  # fmt: skip
    with served(command, port, environment, folder) as url:
        yield request.param, url


@pytest.fixture
def client(kms: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", kms[1])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    return boto3.session.Session().client("kms")


def make(client: Any, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> str:
    return str(client.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"])


def sealed_with(signer: Signer, path: Path) -> None:
    """A store that this key makes, writes, and comes back to."""
    with Store.create(path, origin=ORIGIN, signer=signer) as store:
        run = store.begin({}, b"{}")
        run.add_reply({"op": "x", "sha256": run.add_object(b"body")})
        run.close([{"check": "c", "outcome": "PASS"}], {})
    with Store.open(path, signer=signer) as store:
        store.append("waiver", {"id": "W-1"})
    assert verify_store(path, key=signer.keyid).ok


def test_a_key_in_kms_signs_a_store(client: Any, ram: Path) -> None:
    arn = make(client)
    client.create_alias(AliasName=f"alias/affidavit-{ram.name.replace('_', '-')}", TargetKeyId=arn)
    by_arn = open_signer(f"awskms:{arn}")
    by_alias = open_signer(f"awskms:alias/affidavit-{ram.name.replace('_', '-')}")
    assert by_arn.keyid == by_alias.keyid
    assert by_arn.public.scheme == "ecdsa-sha2-nistp256"
    assert arn in repr(by_arn)
    sealed_with(by_alias, ram / "s")
    long = os.urandom(4096)
    assert by_arn.public.verifies(by_arn.sign(long), long), "the longest statement is signed in one piece"


def test_kms_keys_are_rotated_to_and_from(client: Any, ram: Path, signer: FileSigner) -> None:
    kms = open_signer(f"awskms:{make(client)}")
    again = open_signer(f"awskms:{make(client)}")
    Store.create(ram / "s", origin=ORIGIN, signer=signer).close()
    for old, new in ((signer, kms), (kms, again)):
        with Store.open(ram / "s", signer=old) as store:
            store.rotate(new, "into the KMS")
    for key in (signer, kms, again):
        assert verify_store(ram / "s", key=key.keyid).ok


def test_a_kms_key_of_another_kind_is_refused(client: Any) -> None:
    for spec, usage in (
        ("ECC_NIST_P384", "SIGN_VERIFY"),
        ("RSA_2048", "SIGN_VERIFY"),
        ("ECC_SECG_P256K1", "SIGN_VERIFY"),
    ):
        with pytest.raises(SignerError, match="neither an Ed25519 nor a P-256"):
            open_signer(f"awskms:{make(client, spec, usage)}")


def test_ed25519_in_kms_signs_where_there_is_such_a_key(client: Any, ram: Path) -> None:
    try:
        arn = make(client, "ECC_NIST_EDWARDS25519")
    except ClientError as error:
        pytest.skip(f"this emulator makes no such key: {error.response['Error']['Code']}")
    signer = open_signer(f"awskms:{arn}")
    assert signer.public.scheme == "ed25519"
    sealed_with(signer, ram / "s")


def test_a_key_that_is_missing_disabled_or_out_of_reach_is_named(
    kms: tuple[str, str], client: Any, ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SignerError, match=r"refused kms:GetPublicKey .*NotFound") as caught:
        open_signer("awskms:alias/none")
    assert "kms:GetPublicKey and kms:Sign are all it needs" in caught.value.next_step
    arn = make(client)
    signer = open_signer(f"awskms:{arn}")
    Store.create(ram / "s", origin=ORIGIN, signer=signer).close()
    store = Store.open(ram / "s", signer=signer)
    if kms[0] == "ministack":  # moto answers ScheduleKeyDeletion with HTTP 500
        client.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
        with pytest.raises(SignerError, match=r"refused kms:Sign .*KMSInvalidState"):
            store.append("waiver", {"id": "while the key is going"})
        client.cancel_key_deletion(KeyId=arn)
        client.enable_key(KeyId=arn)
    store.append("waiver", {"id": "when it is back"})
    store.close()
    assert verify_store(ram / "s", key=signer.keyid).leaves == 2
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(signers, "TIMEOUT_S", 1)
    with pytest.raises(SignerError, match="did not answer kms:GetPublicKey") as caught:
        open_signer(f"awskms:{arn}")
    assert "test" not in str(caught.value)


def test_a_key_that_may_not_be_used_is_refused_with_the_operation(kms: tuple[str, str], client: Any) -> None:
    """MiniStack enforces IAM: a user who may look at the key but not sign with it."""
    if kms[0] != "ministack":
        pytest.skip("moto enforces no policies here")
    arn = make(client)
    iam = boto3.session.Session().client("iam")
    user = "reader"
    iam.create_user(UserName=user)
    look = '{"Effect":"Allow","Action":"kms:GetPublicKey","Resource":"*"}'
    policy = f'{{"Version":"2012-10-17","Statement":[{look},{{"Effect":"Deny","Action":"kms:Sign","Resource":"*"}}]}}'
    iam.put_user_policy(UserName=user, PolicyName="look", PolicyDocument=policy)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
        signer = open_signer(f"awskms:{arn}")
        with pytest.raises(SignerError, match=r"refused kms:Sign .*AccessDenied") as caught:
            signer.sign(b"x")
    assert made["SecretAccessKey"] not in f"{caught.value} {caught.value.next_step}"


def test_moto_hashes_a_digest_again_which_is_why_raw_mode_is_asked_for(kms: tuple[str, str], client: Any) -> None:
    """If this fails, moto was mended; nothing of ours depends on it, the note in docs/keys.md does."""
    if kms[0] != "moto":
        pytest.skip("about moto")
    import hashlib

    arn = make(client)
    public = open_signer(f"awskms:{arn}").public
    digest = hashlib.sha256(b"m").digest()
    answer = client.sign(KeyId=arn, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
    found = signers.low_s(answer["Signature"])
    assert not public.verifies(found, b"m")
    assert public.verifies(found, digest)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A SoftHSM token ``audit`` with a P-256 key pair 1, and a P-384 key pair 2."""
    library = next((path for path in SOFTHSM if path.exists()), None)
    needed(library and shutil.which("softhsm2-util"), "SoftHSM is not on this machine: apt-get install softhsm2")
    assert library is not None
    pkcs11 = pytest.importorskip("pkcs11")
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        patch.setenv("PYKCS11LIB", str(library))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", "audit", "--pin", PIN, "--so-pin", "another"],
            check=True, capture_output=True,
        )  # fmt: skip
        from pkcs11.util.ec import encode_named_curve_parameters

        opened = pkcs11.lib(str(library)).get_token(token_label="audit").open(rw=True, user_pin=PIN)
        with opened as session:
            for number, curve in ((1, "secp256r1"), (2, "secp384r1")):
                parameters = session.create_domain_parameters(
                    pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}, local=True
                )
                parameters.generate_keypair(store=True, id=bytes([number]), label=f"key {number}")
        yield folder


def test_a_key_on_a_token_signs_a_store(token: Path, ram: Path) -> None:
    asked: list[str] = []
    signer = open_signer("hsm:1?label=audit", lambda: asked.append("pin") or PIN)
    assert signer.public.scheme == "ecdsa-sha2-nistp256"
    sealed_with(signer, ram / "s")
    assert len(asked) > 5, "the PIN is asked for when it is needed and not kept"
    again = open_signer("hsm:1?label=audit", lambda: PIN)
    assert again.keyid == signer.keyid
    with Store.open(ram / "s", signer=again) as store:
        store.append("waiver", {"id": "W-2"})
    assert verify_store(ram / "s", key=signer.keyid).ok


@pytest.mark.parametrize(
    ("uri", "pin", "words"),
    [
        ("hsm:2?label=audit", PIN, "not a P-256 key"),
        ("hsm:9?label=audit", PIN, "could not find"),
        ("hsm:1?label=other", PIN, "No PKCS#11 token found"),
    ],
)
def test_a_token_that_has_no_such_key_is_named(token: Path, uri: str, pin: str, words: str) -> None:
    with pytest.raises(SignerError, match=words):
        open_signer(uri, lambda: pin)


def test_a_wrong_pin_signs_nothing_and_is_not_repeated(token: Path, ram: Path) -> None:
    signer = open_signer("hsm:1?label=audit", lambda: "hunter2")
    with pytest.raises(SignerError, match="PinIncorrect") as caught:
        signer.sign(b"x")
    assert "hunter2" not in f"{caught.value} {caught.value.next_step} {caught.value.__cause__}"
    with pytest.raises(SignerError):
        Store.create(ram / "s", origin=ORIGIN, signer=signer)


@pytest.mark.parametrize(
    "uri",
    ["", "awskms:", "awskms:a b", "hsm:", "hsm:x?label=a", "hsm:1", "gnupg:1", "file:/etc/key", "hsm:1?label=a&b=c"],
)
def test_a_uri_that_names_no_key_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="names no key"):
        open_signer(uri)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    with pytest.raises(UsageError, match="PYKCS11LIB"):
        open_signer("hsm:1?label=audit", lambda: PIN)
    monkeypatch.setenv("PYKCS11LIB", "/none.so")
    with pytest.raises(UsageError, match="needs a PIN"):
        open_signer("hsm:1?label=audit")
    with pytest.raises(SignerError, match="token"):
        open_signer("hsm:1?label=audit", lambda: PIN)
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(UsageError, match="need python-pkcs11") as caught:
        open_signer("hsm:1?label=audit", lambda: PIN)
    assert "affidavit[hsm]" in caught.value.next_step
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError, match="boto3"):
        open_signer("awskms:alias/x")
