"""What a certificate and an OCSP answer say, in plain words; derived from the recorded bytes and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID


def certificate(der: bytes) -> dict[str, Any]:
    """The facts of a certificate; times are RFC 3339.

    Raises:
        ValueError: it is not a certificate, or one that breaks the rules of its encoding.
    """
    found = x509.load_der_x509_certificate(der)
    names = _extension(found, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    access = _extension(found, ExtensionOID.AUTHORITY_INFORMATION_ACCESS) or ()
    try:
        digest = found.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    return {
        "Subject": found.subject.rfc4514_string(),
        "Issuer": found.issuer.rfc4514_string(),
        "SerialNumber": f"{found.serial_number:x}",
        "NotBefore": _rfc3339(found.not_valid_before_utc),
        "NotAfter": _rfc3339(found.not_valid_after_utc),
        "DNSNames": names.get_values_for_type(x509.DNSName) if names else [],
        "IPAddresses": [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] if names else [],
        "PublicKey": _key(found),
        "SignatureAlgorithm": found.signature_algorithm_oid.dotted_string,
        "SignatureHash": digest.name if digest else None,
        "OCSP": [
            str(part.access_location.value)
            for part in access
            if part.access_method == AuthorityInformationAccessOID.OCSP
        ],
        "SHA256": found.fingerprint(SHA256()).hex(),
    }


def staple(der: bytes) -> dict[str, Any]:
    """The facts of an OCSP answer; ``Status`` is that of the answer, ``CertificateStatus`` that of the certificate.

    Raises:
        ValueError: it is not an OCSP answer.
    """
    found = ocsp.load_der_ocsp_response(der)
    if found.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
        return {"Status": found.response_status.name.lower()}
    single = next(iter(found.responses))
    return {
        "Status": "successful",
        "CertificateStatus": single.certificate_status.name.lower(),
        "SerialNumber": f"{single.serial_number:x}",
        "ThisUpdate": _rfc3339(single.this_update_utc),
        "NextUpdate": _rfc3339(single.next_update_utc) if single.next_update_utc else None,
    }


def _extension(found: x509.Certificate, oid: x509.ObjectIdentifier) -> Any:
    try:
        return found.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None


def _key(found: x509.Certificate) -> dict[str, Any]:
    try:
        key = found.public_key()
    except UnsupportedAlgorithm:
        return {"Type": found.public_key_algorithm_oid.dotted_string, "Bits": None}
    match key:
        case rsa.RSAPublicKey():
            return {"Type": "RSA", "Bits": key.key_size}
        case ec.EllipticCurvePublicKey():
            return {"Type": "EC", "Bits": key.key_size}
        case dsa.DSAPublicKey():
            return {"Type": "DSA", "Bits": key.key_size}
        case ed25519.Ed25519PublicKey():
            return {"Type": "Ed25519", "Bits": 256}
        case ed448.Ed448PublicKey():
            return {"Type": "Ed448", "Bits": 456}
    return {"Type": found.public_key_algorithm_oid.dotted_string, "Bits": None}


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
