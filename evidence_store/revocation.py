"""Certificates of time-stamp authorities that help to reach a root, and the lists that revoke some."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from evidence_store.errors import UsageError, VerificationError

Revoked = dict[tuple[x509.Name, int], datetime]
"""When a certificate was revoked, by issuer and serial number."""


def load_chain(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a chain file; none in an empty one.

    Raises:
        ValueError: it holds something else.
    """
    return x509.load_pem_x509_certificates(pem) if pem else []


def checked_roots(pem: bytes, name: object) -> bytes:
    """The content of a file that was given for the roots of authorities, as it is.

    Raises:
        UsageError: it holds no certificate.
    """
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise UsageError(
            f"{name} holds no PEM certificate", "name the file with the root certificates of the authorities"
        ) from error
    return pem


def load_crl(data: bytes) -> x509.CertificateRevocationList:
    """A revocation list, DER or PEM.

    Raises:
        ValueError: it is not one.
    """
    if data.startswith(b"-----BEGIN"):
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)


def issued(roots: Sequence[x509.Certificate], candidates: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """The candidates that a root issued, directly or through others of them.

    Verifiers may trust whatever intermediate they are given; a chain file comes from the store, so nothing in it is
    passed on that does not lead to a root.
    """
    accepted: list[x509.Certificate] = []
    # Each once: a chain can repeat a certificate without end.
    left = [one for one in dict.fromkeys(candidates) if one not in roots and _may_issue(one)]
    grown = True
    while grown:
        grown = False
        for certificate in list(left):
            if any(_issued_by(certificate, issuer) for issuer in (*roots, *accepted)):
                accepted.append(certificate)
                left.remove(certificate)
                grown = True
    return accepted


def revoked(issuers: Sequence[x509.Certificate], lists: Iterable[bytes]) -> Revoked:
    """What the revocation lists revoke; each must be signed by one of ``issuers``.

    Raises:
        VerificationError: a list is none, or is signed by nobody who is trusted.
    """
    found: Revoked = {}
    for data in lists:
        try:
            crl = load_crl(data)
        except ValueError as error:
            raise VerificationError("is not a revocation list", "fetch it again") from error
        if not any(issuer.subject == crl.issuer and _signed(crl, issuer) for issuer in issuers):
            raise VerificationError("is not signed by a root, nor by what a root issued", "give the chain as well")
        for entry in crl:
            key = (crl.issuer, entry.serial_number)
            found[key] = min(entry.revocation_date_utc, found.get(key, entry.revocation_date_utc))
    return found


def _may_issue(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False
