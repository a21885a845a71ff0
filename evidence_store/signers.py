"""Signers whose private key stays in AWS KMS or in a hardware security module.

A key is named by a URI, in the spelling of securesystemslib: ``awskms:KEY``, where KEY is an id, alias or ARN, and
``hsm:ID?label=TOKEN``, where ID is the decimal ``CKA_ID`` of a key pair on the PKCS#11 token TOKEN. This module alone
may import a cloud's SDK, and does so only when such a key is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from evidence_store.errors import SignerError, StoreError, UsageError, VerificationError
from evidence_store.keys import ED25519, P256, PublicKey, Signer, low_s

KMS_URI = re.compile(r"awskms:([A-Za-z0-9:/_-]{1,256})")
HSM_URI = re.compile(r"hsm:([0-9]{1,9})\?label=([A-Za-z0-9._%+-]{1,96})")
KMS_ALGORITHMS = {P256: "ECDSA_SHA_256", ED25519: "ED25519_SHA_512"}
TIMEOUT_S = 10


class RemoteSigner:
    """Signs with a key that never leaves where it is kept."""

    __slots__ = ("_sign", "public", "uri")

    def __init__(self, uri: str, public: PublicKey, sign: Callable[[bytes], bytes]) -> None:
        self.uri = uri
        """Where the key is kept."""
        self.public = public
        self._sign = sign

    @property
    def keyid(self) -> str:
        """Fingerprint of the public half."""
        return self.public.fingerprint

    def sign(self, message: bytes) -> bytes:
        """A signature that verifies; for P-256 another one each time, always in its lower form.

        Raises:
            SignerError: the key was refused or not reached, or what came back is no signature of this key.
        """
        signature = self._sign(message)
        try:
            signature = low_s(signature) if self.public.scheme == P256 else signature
        except ValueError as error:
            raise SignerError(f"{self.uri} answered with something that is no signature", "check the key") from error
        if not self.public.verifies(signature, message):
            raise SignerError(f"{self.uri} gave a signature that does not verify", "check the key and its mode")
        return signature

    def __repr__(self) -> str:
        return f"RemoteSigner({self.uri}, {self.keyid})"


def open_signer(uri: str, pin: Callable[[], str] | None = None) -> Signer:
    """The signer a URI names; its public key is fetched, nothing is signed.

    Args:
        uri: ``awskms:KEY`` or ``hsm:ID?label=TOKEN``.
        pin: gives the PIN of the token, asked for at each signature and never kept.

    Raises:
        UsageError: the URI cannot be read, or what it needs is not installed.
        SignerError: the key is refused, not reached, or of a kind that does not sign logs.
    """
    if found := KMS_URI.fullmatch(uri):
        return _kms(uri, found[1])
    if found := HSM_URI.fullmatch(uri):
        return _hsm(uri, pin)
    raise UsageError(f"{uri[:80]!r} names no key", "write awskms:ALIAS_OR_ARN, or hsm:ID?label=TOKEN")


def _kms(uri: str, name: str) -> Signer:
    """A key of AWS KMS, asked in RAW mode: KMS hashes, and an emulator that hashes a digest again cannot go unseen."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise UsageError("keys in AWS KMS need boto3", "install affidavit, or boto3") from error

    def asked(operation: str, call: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
        try:
            return call(KeyId=name, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "no code"))
            raise SignerError(
                f"AWS KMS refused kms:{operation} for {name}: {code}",
                "check the key's state and policy; kms:GetPublicKey and kms:Sign are all it needs",
            ) from error
        except BotoCoreError as error:
            raise SignerError(
                f"AWS KMS did not answer kms:{operation} for {name}: {type(error).__name__}",
                "check credentials, region and network; what was sealed before is whole",
            ) from error

    settings = Config(
        connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"mode": "standard", "total_max_attempts": 4}
    )
    region = name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 5 else None
    try:
        client = boto3.Session().client("kms", region_name=region, config=settings)
    except BotoCoreError as error:
        raise SignerError(f"AWS KMS cannot be asked: {type(error).__name__}: {error}", "set AWS_REGION") from error
    described = asked("GetPublicKey", client.get_public_key)
    public = _public(uri, described["PublicKey"])
    algorithm = KMS_ALGORITHMS[public.scheme]
    if described.get("KeyUsage") != "SIGN_VERIFY" or algorithm not in described.get("SigningAlgorithms", ()):
        raise SignerError(f"{uri} does not sign with {algorithm}", "make a key of spec ECC_NIST_P256 for SIGN_VERIFY")

    def sign(message: bytes) -> bytes:
        found = asked("Sign", client.sign, Message=message, MessageType="RAW", SigningAlgorithm=algorithm)
        return bytes(found["Signature"])

    return RemoteSigner(uri, public, sign)


def _hsm(uri: str, pin: Callable[[], str] | None) -> Signer:
    """A P-256 key on a PKCS#11 token, through securesystemslib; the module's path stands in ``PYKCS11LIB``."""
    try:
        import pkcs11
        from securesystemslib.signer._hsm_signer import HSMSigner
    except ImportError as error:
        raise UsageError("keys in an HSM need python-pkcs11 and securesystemslib", "install affidavit[hsm]") from error
    if not os.environ.get("PYKCS11LIB"):
        raise UsageError("PYKCS11LIB is not set", "set it to the path of the token's PKCS#11 library")
    if pin is None:
        raise UsageError(f"{uri} needs a PIN", "give one")
    ask = pin
    number, label = _parsed(uri)

    def failed(error: Exception) -> StoreError:
        # The text of the library's own errors is empty or a label; the PIN is in none of them.
        return SignerError(
            f"the token of {uri} did not do it: {type(error).__name__} {error}".rstrip(),
            "check that the token is there, its label, the key's id and the PIN",
        )

    try:
        _, key = HSMSigner.import_(number, label, lambda _: ask())
        public = PublicKey.from_pem(key.keyval["public"])
        signer = HSMSigner.from_priv_key_uri(uri, key, lambda _: ask())
    except VerificationError as error:
        raise SignerError(f"{uri} is not a P-256 key", "make a key pair on the curve secp256r1") from error
    except (pkcs11.PKCS11Error, ValueError, RuntimeError) as error:
        raise failed(error) from error

    def sign(message: bytes) -> bytes:
        try:
            return bytes.fromhex(signer.sign(message).signature)
        except (pkcs11.PKCS11Error, ValueError, RuntimeError) as error:
            raise failed(error) from error

    return RemoteSigner(uri, public, sign)


def _parsed(uri: str) -> tuple[int, str]:
    from urllib.parse import parse_qs, urlparse

    parts = urlparse(uri)
    return int(parts.path), parse_qs(parts.query)["label"][0]


def _public(uri: str, spki: bytes) -> PublicKey:
    try:
        return PublicKey.from_spki(spki)
    except VerificationError as error:
        raise SignerError(f"{uri} is neither an Ed25519 nor a P-256 key", "make a key of spec ECC_NIST_P256") from error
