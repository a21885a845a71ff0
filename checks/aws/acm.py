"""AWS Certificate Manager: how certificates are read, and what we require of them."""

from collections.abc import Iterator
from datetime import datetime

from collector.api import Aws, Record, Row, Verdict, check, days_between, fail, instant, ok, skip, source

KEY_TYPES = ("RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1")
ORIGINS = ("AWS_MANAGED", "CUSTOMER_PROVIDED", "ACME")
NEVER_ISSUED = ("PENDING_VALIDATION", "FAILED", "VALIDATION_TIMED_OUT")


@source("aws.acm.certificates", key="CertificateArn", per="region", permissions=("acm:ListCertificates",))
def certificates(aws: Aws) -> Iterator[Row]:
    """Every certificate of the region, of any key type, origin and status.

    Key types and origins are named because the API lists only some of them otherwise.
    """
    yield from aws.pages(
        "acm", "list_certificates", rows="CertificateSummaryList",
        Includes={"keyTypes": list(KEY_TYPES)}, CertificateKeyPairOrigins=list(ORIGINS),
    )  # fmt: skip


@check(
    "aws.acm.days-left",
    title="Certificates in use are renewed before they end",
    severity="high",
    each="aws.acm.certificates",
)
def days_left(certificate: Record, *, as_of: datetime, min_days_left: int = 30) -> Verdict:
    """A certificate in use is valid for at least ``min_days_left`` days after collection.

    Source: ListCertificates (``InUse``, ``Status``, ``NotAfter``). Certificates not in use or never issued are skipped.
    Remedy: complete the validation ACM waits for, or import the new certificate.
    """
    not_judged = _not_judged(certificate)
    if not_judged:
        return skip(not_judged)
    if certificate["Status"] == "REVOKED":
        return fail("the certificate is in use and revoked")
    end = instant(certificate["NotAfter"])
    if end <= as_of:
        return fail(f"the certificate ended on {end.date()}")
    days = days_between(as_of, end)
    reason = f"the certificate ends on {end.date()}, {days} days left, minimum {min_days_left}"
    return fail(reason) if days < min_days_left else ok(reason)


@check(
    "aws.acm.key-strength",
    title="Certificates in use have strong keys",
    severity="medium",
    each="aws.acm.certificates",
)
def key_strength(certificate: Record, *, min_rsa_bits: int = 2048, min_ec_bits: int = 256) -> Verdict:
    """A certificate in use has an RSA key of ``min_rsa_bits`` or an elliptic-curve key of ``min_ec_bits``, or more.

    Source: ListCertificates (``InUse``, ``Status``, ``KeyAlgorithm``). Certificates not in use or never issued are
    skipped.
    Remedy: request or import a certificate with a longer key.
    """
    not_judged = _not_judged(certificate)
    if not_judged:
        return skip(not_judged)
    algorithm = certificate["KeyAlgorithm"].replace("-", "_")  # the API is known to write RSA-2048 for RSA_2048
    kind, bits = _key(algorithm)
    minimum = {"RSA": min_rsa_bits, "EC": min_ec_bits}[kind]
    reason = f"the key is {algorithm}, minimum {minimum} bits"
    return fail(reason) if bits < minimum else ok(reason)


def _not_judged(certificate: Record) -> str:
    if not certificate["InUse"]:
        return "the certificate is not in use"
    if certificate["Status"] in NEVER_ISSUED:
        return f"the certificate was never issued: {certificate['Status']}"
    return ""


def _key(algorithm: str) -> tuple[str, int]:
    """Kind and length of a key: ``RSA_2048``, ``EC_prime256v1``, ``EC_secp384r1``."""
    kind, _, name = algorithm.partition("_")
    return kind, int(name if kind == "RSA" else {"prime256v1": 256, "secp384r1": 384, "secp521r1": 521}[name])
