"""P16: a key never stands unencrypted or readable by others, and weak protection is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evidence_store import keys
from evidence_store.errors import KeyFileError, UsageError, VerificationError


def test_a_new_key_is_private_encrypted_and_known_to_openssl(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    fingerprint = keys.create_key_file(path, b"correct horse")
    assert path.stat().st_mode & 0o777 == 0o600
    listing = subprocess.run(["openssl", "asn1parse", "-in", path], capture_output=True, text=True, check=True).stdout
    assert ":scrypt" in listing
    signer = keys.load_key_file(path, b"correct horse")
    assert signer.keyid == fingerprint
    assert signer.public.verifies(signer.sign(b"m"), b"m")
    assert not signer.public.verifies(signer.sign(b"m"), b"n")
    assert fingerprint in repr(signer)
    spki = subprocess.run(
        ["openssl", "pkey", "-in", path, "-passin", "stdin", "-pubout", "-outform", "DER"],
        input=b"correct horse\n", capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert keys.PublicKey.from_spki(spki).fingerprint == fingerprint
    with pytest.raises(KeyFileError, match="exists"):
        keys.create_key_file(path, b"another")
    with pytest.raises(KeyFileError, match="does not open"):
        keys.load_key_file(path, b"wrong")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_p16_a_key_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    keys.create_key_file(path, b"secret")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="group or others") as caught:
        keys.load_key_file(path, b"secret")
    assert "chmod 600" in caught.value.next_step


def private(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "k.pem"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_p16_an_unencrypted_or_weakly_encrypted_key_is_refused(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    plain = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    pbkdf2 = key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret"))
    weak = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-scrypt_N", "1024", "-passout", "pass:secret"],
        input=plain, capture_output=True, check=True,
    ).stdout  # fmt: skip
    bad = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n!!\n-----END ENCRYPTED PRIVATE KEY-----\n"
    for data in (plain, pbkdf2, weak, bad, b""):
        with pytest.raises(KeyFileError, match="scrypt"):
            keys.load_key_file(private(tmp_path, data), b"secret")


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    sealed = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", "pass:secret"],
        input=plain,
        capture_output=True,
        check=True,
    ).stdout
    with pytest.raises(KeyFileError, match="not Ed25519"):
        keys.load_key_file(private(tmp_path, sealed), b"secret")
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    spki = other.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for data in (spki, b"", b"\x30\x00"):
        with pytest.raises(VerificationError):
            keys.PublicKey.from_spki(data)


def test_missing_keys_odd_files_and_passphrases_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match="cannot read"):
        keys.load_key_file(tmp_path / "none", b"x")
    with pytest.raises(KeyFileError, match="regular"):
        keys.load_key_file(tmp_path, b"x")
    with pytest.raises(KeyFileError, match="cannot write"):
        keys.create_key_file(tmp_path / "none" / "key", b"x")
    for passphrase in (b"", b"two\nlines", b"\0", b"x" * 2000):
        with pytest.raises(KeyFileError, match="passphrase"):
            keys.create_key_file(tmp_path / "key", passphrase)
    assert not (tmp_path / "key").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KeyFileError, match="openssl"):
        keys.create_key_file(tmp_path / "key", b"x")
    (tmp_path / "openssl").write_text("#!/bin/sh\nexec /bin/cat\n")
    (tmp_path / "openssl").chmod(0o700)
    with pytest.raises(KeyFileError, match="scrypt"):
        keys.create_key_file(tmp_path / "key", b"x")
    (tmp_path / "openssl").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(KeyFileError, match="did not encrypt"):
        keys.create_key_file(tmp_path / "key", b"x")
    assert not (tmp_path / "key").exists()


def test_a_fingerprint_is_64_hex_digits() -> None:
    assert keys.fingerprint_of(" SHA256:" + "AB" * 32) == "ab" * 32
    for text in ("", "ab", "zz" * 32, "ab:" * 32):
        with pytest.raises(UsageError):
            keys.fingerprint_of(text)
