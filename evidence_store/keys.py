"""Public keys known by their fingerprint, Ed25519 or P-256; and Ed25519 private keys in files that scrypt protects."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from evidence_store.errors import KeyFileError, UsageError, VerificationError
from evidence_store.fs import Disk
from evidence_store.spelling import HEX256, unb64

SCRYPT_PKCS8 = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x81.)\x30.\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"  # PBES2
    rb"\x30.\x30.\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x04\x0b"  # key derivation: scrypt
    rb"\x30.\x04(?:\x08.{8}|\x10.{16})\x02(.)(.{2,4}?)\x02\x01.\x02\x01.\x30",  # salt, N, r, p
    re.DOTALL,
)
SCRYPT_MIN_N = 16384
KEY_FILE_LIMIT = 16384
ED25519, P256 = "ed25519", "ecdsa-sha2-nistp256"
"""Schemes, in the words of TUF and securesystemslib."""
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Number of points on the curve P-256."""


class PublicKey:
    """An Ed25519 or P-256 public key and the one name it goes by: the hex SHA-256 of its SPKI."""

    __slots__ = ("_key", "fingerprint", "raw", "scheme", "spki")

    def __init__(self, key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self.scheme = ED25519 if isinstance(key, Ed25519PublicKey) else P256
        """How it signs: ``ed25519``, or ``ecdsa-sha2-nistp256`` (ECDSA over SHA-256)."""
        self.spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        """DER bytes, as ``openssl pkey -pubin -outform DER`` gives them."""
        self.raw = self.spki
        """What stands behind the algorithm byte of a verifier key: 32 bytes of Ed25519, or the SPKI of P-256."""
        if isinstance(key, Ed25519PublicKey):
            self.raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.fingerprint = hashlib.sha256(self.spki).hexdigest()
        """What an auditor pins."""

    @classmethod
    def from_spki(cls, spki: bytes) -> PublicKey:
        """Read a public key.

        Raises:
            VerificationError: it is neither an Ed25519 nor a P-256 key in its only DER spelling.
        """
        try:
            key = serialization.load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise VerificationError("a public key cannot be read", "ask the signer for the key again") from error
        curve = key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""
        if not isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey) or curve not in ("", "secp256r1"):
            raise VerificationError(
                "a public key is neither Ed25519 nor P-256", "use a release that knows this kind of key"
            )
        if (public := cls(key)).spki != spki:
            raise VerificationError("a public key is not in its usual spelling", "ask the signer for the key again")
        return public

    @classmethod
    def from_pem(cls, text: str) -> PublicKey:
        """Read what :meth:`pem` wrote, and nothing else.

        Raises:
            VerificationError: it is another kind of key, or another spelling.
        """
        try:
            lines = text.split("\n")
            public = cls.from_spki(unb64("".join(lines[1:-2])))
        except ValueError as error:
            raise VerificationError("a public key is not PEM", "ask the signer for the key again") from error
        if public.pem() != text:
            raise VerificationError("a public key is not in its usual spelling", "ask the signer for the key again")
        return public

    def pem(self) -> str:
        """Text for ``openssl pkeyutl -pubin``."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode("ascii")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key signed exactly these bytes.

        Of the two signatures that ECDSA accepts for one, only that with the lower ``s`` counts, in its only DER
        spelling: without this, anybody could turn a signature into another one that verifies.
        """
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, message)
                return True
            if low_s(signature) != signature:
                return False
            self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """What signs: a file key here, a KMS or HSM key elsewhere."""

    @property
    def public(self) -> PublicKey:
        """The public half."""

    @property
    def keyid(self) -> str:
        """Fingerprint of the public half."""

    def sign(self, message: bytes) -> bytes:
        """Signature over a message of at most 4,096 bytes."""


class FileSigner:
    """Signs with a key that was read from a file."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    @property
    def keyid(self) -> str:
        """Fingerprint of the public half."""
        return self.public.fingerprint

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, the same one each time."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"FileSigner({self.keyid})"


def low_s(signature: bytes) -> bytes:
    """The P-256 signature with the lower ``s`` that is valid for the same message; most KMS and HSM give either.

    Raises:
        ValueError: it is not the DER of two numbers below the order of the curve.
    """
    r, s = decode_dss_signature(signature)
    if not (0 < r < P256_ORDER and 0 < s < P256_ORDER):
        raise ValueError("not a signature on P-256")
    return encode_dss_signature(r, min(s, P256_ORDER - s))


def fingerprint_of(text: str) -> str:
    """A fingerprint as this package spells it; a leading ``sha256:`` and capitals are forgiven.

    Raises:
        UsageError: it is not the hex SHA-256 of a public key.
    """
    plain = text.strip().lower().removeprefix("sha256:")
    if not HEX256.fullmatch(plain):
        raise UsageError(f"{text!r} is not a key fingerprint", "give the 64 hex digits that 'key show' prints")
    return plain


def create_key_file(path: Path, passphrase: bytes) -> str:
    """A new Ed25519 key stands in ``path``, mode 0600, encrypted under scrypt; its fingerprint is returned.

    ``cryptography`` would derive the file's key with 2,048 rounds of PBKDF2, so ``openssl`` writes it; the
    passphrase reaches it through a pipe, never through its arguments or environment.

    Raises:
        KeyFileError: the passphrase is empty, the file exists, or openssl did not do it.
    """
    _check_passphrase(passphrase)
    key = Ed25519PrivateKey.generate()
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    sealed = _openssl_scrypt(plain, passphrase)
    if not is_scrypt(sealed):
        raise KeyFileError("openssl did not encrypt the key with scrypt", "install OpenSSL 1.1.1 or newer")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists", "choose another name: a key is never overwritten") from error
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}", "check the folder and its mode") from error
    with os.fdopen(handle, "wb") as file:
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())
    disk = Disk()
    disk.sync_folder(path.absolute().parent)
    return PublicKey(key.public_key()).fingerprint


def load_key_file(path: Path, passphrase: bytes) -> FileSigner:
    """The signer of a key file that only its owner can read and that scrypt protects.

    Raises:
        KeyFileError: the file is missing, readable by others, not encrypted under scrypt, or does not open.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"cannot read key {path}: {error.strerror}", "name the key file, or make one") from error
    status = os.fstat(handle)
    try:
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"key {path} is not a regular file", "name the key file itself")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise KeyFileError(
                f"key {path} can be read by group or others (mode {stat.S_IMODE(status.st_mode):04o})",
                f"run 'chmod 600 {path}', and make a new key if others may have read it",
            )
        data = os.read(handle, KEY_FILE_LIMIT)
    finally:
        os.close(handle)
    if not is_scrypt(data):
        raise KeyFileError(
            f"key {path} is not encrypted under scrypt",
            f"run 'openssl pkcs8 -topk8 -scrypt -in {path} -out NEW' and use NEW",
        )
    _check_passphrase(passphrase)
    try:
        key = serialization.load_pem_private_key(data, passphrase)
    except ValueError as error:
        raise KeyFileError(f"key {path} does not open", "check the passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"key {path} is not Ed25519", "make one with 'key new'")
    return FileSigner(key)


def is_scrypt(pem: bytes) -> bool:
    """Whether a key file is PKCS#8 under scrypt with a cost of at least 16,384."""
    begin, end = "-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----"
    lines = pem.decode("ascii", "replace").split()
    text = " ".join(lines)
    if not text.startswith(begin) or not text.endswith(end):
        return False
    try:
        der = unb64(text[len(begin) : -len(end)].replace(" ", ""))
    except ValueError:
        return False
    found = SCRYPT_PKCS8.match(der)
    if found is None or found[1][0] != len(found[2]):
        return False
    return int.from_bytes(found[2], "big") >= SCRYPT_MIN_N


def _check_passphrase(passphrase: bytes) -> None:
    if not passphrase or b"\n" in passphrase or b"\0" in passphrase or len(passphrase) > 1024:
        raise KeyFileError("the passphrase is empty, too long or spans lines", "give one line of 1 to 1024 bytes")


def _openssl_scrypt(plain: bytes, passphrase: bytes) -> bytes:
    source, sink = os.pipe()
    try:
        os.write(sink, passphrase + b"\n")
        os.close(sink)
        done = subprocess.run(
            ["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", f"fd:{source}"],
            input=plain,
            capture_output=True,
            pass_fds=(source,),
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeyFileError("openssl did not run", "install the openssl command") from error
    finally:
        os.close(source)
    if done.returncode:
        raise KeyFileError("openssl did not encrypt the key", "install OpenSSL 1.1.1 or newer")
    return done.stdout
