"""TLS endpoints: what their servers present, and what they agree to."""

import re
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from collector.api import (
    GapKind,
    Record,
    Row,
    Tls,
    Unavailable,
    Verdict,
    check,
    days_between,
    fail,
    instant,
    ok,
    skip,
    source,
)

VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
OLD, MODERN = VERSIONS[:2], VERSIONS[2:]


@source(
    "tls.endpoints",
    key="Endpoint",
    per="connection",
    permissions=("tls:endpoints", "tls:roots", "tls:handshake", "tls:hello", "tls:head"),
)
def endpoints(tls: Tls) -> Iterator[Row]:
    """Every configured endpoint, reachable or not, with its handshakes and the headers of ``HEAD /``."""
    for endpoint in dict.fromkeys(tls.endpoints):
        yield {
            "Endpoint": endpoint,
            "Host": _host(endpoint),
            "Handshake": tls.attempt_handshake(endpoint),
            **{version: tls.attempt_handshake(endpoint, version=version) for version in VERSIONS},
            "HEAD": tls.attempt_head(endpoint),
        }


def _leaf(endpoint: Record) -> Any:
    return endpoint["Handshake"]["Chain"][0]


@check(
    "tls.endpoint.certificate-valid",
    title="The certificate is within its dates",
    severity="critical",
    each="tls.endpoints",
)
def certificate_valid(endpoint: Record, *, as_of: datetime) -> Verdict:
    """The time of collection lies between the first and the last second of the server's certificate.

    Source: the certificate the server sent (NotBefore, NotAfter).
    Remedy: renew the certificate, or correct the clock of whoever issued it.
    """
    leaf = _leaf(endpoint)
    if as_of < instant(leaf["NotBefore"]):
        return fail(f"the certificate is not valid before {leaf['NotBefore']}")
    if as_of > instant(leaf["NotAfter"]):
        return fail(f"the certificate expired on {leaf['NotAfter']}")
    return ok(f"the certificate is valid from {leaf['NotBefore']} to {leaf['NotAfter']}")


@check(
    "tls.endpoint.days-left",
    title="The certificate is renewed in time",
    severity="medium",
    each="tls.endpoints",
)
def days_left(endpoint: Record, *, as_of: datetime, min_days_left: int = 14) -> Verdict:
    """The server's certificate is valid for at least ``min_days_left`` more days.

    Source: the certificate the server sent (NotAfter). Certificates that live for days only need a lower limit.
    Remedy: renew the certificate, and see why it was not renewed by itself.
    """
    end = instant(_leaf(endpoint)["NotAfter"])
    if end < as_of:
        return fail(
            f"the certificate expired {days_between(end, as_of)} days ago; the limit is {min_days_left} days left"
        )
    left = days_between(as_of, end)
    return (
        ok(f"{left} days are left")
        if left >= min_days_left
        else fail(f"{left} days are left; the limit is {min_days_left}")
    )


@check(
    "tls.endpoint.chain-trusted",
    title="The certificate leads to a trusted root",
    severity="high",
    each="tls.endpoints",
)
def chain_trusted(endpoint: Record) -> Verdict:
    """OpenSSL accepted the chain the server sent, under the trusted roots of the connection, at the time of collection.

    Source: a handshake that verifies (Code, Message; 0 is "ok"). The chain and the roots are on record, so that
    ``openssl verify -attime`` repeats it. An expired certificate is not trusted either. Names, revocation and the
    strength of keys are not part of it.
    Remedy: send the intermediate certificates, or have the certificate issued under a trusted root.
    """
    verify = endpoint["Handshake"]["Verify"]
    if verify["Code"] == 0:
        return ok(f"the chain of {len(endpoint['Handshake']['Chain'])} certificates leads to a trusted root")
    return fail(f"the chain is not trusted: {verify['Message']} (code {verify['Code']})")


@check(
    "tls.endpoint.name-matches",
    title="The certificate is for this endpoint",
    severity="high",
    each="tls.endpoints",
)
def name_matches(endpoint: Record) -> Verdict:
    """A subject alternative name of the certificate is the host asked; ``*`` stands for one whole leftmost label.

    Source: the certificate the server sent (DNSNames, IPAddresses), compared as RFC 9525 says; the common name does
    not count.
    Remedy: have a certificate issued that carries the name.
    """
    leaf, host = _leaf(endpoint), endpoint["Host"]
    names = leaf["IPAddresses"] if _is_address(host) else leaf["DNSNames"]
    listed = ", ".join(leaf["DNSNames"] + leaf["IPAddresses"]) or "no name"
    matching = [name for name in names if _matches(name, host)]
    return (
        ok(f"the certificate is for {matching[0]}")
        if matching
        else fail(f"the certificate is for {listed}, not for {host}")
    )


@check(
    "tls.endpoint.modern-protocols",
    title="Only TLS 1.2 and later are offered",
    severity="high",
    each="tls.endpoints",
)
def modern_protocols(endpoint: Record) -> Verdict:
    """The server agrees to TLS 1.2 or 1.3 and refuses TLS 1.0 and 1.1.

    Source: one opening of a handshake for each version, offering nothing else; a server that closes the connection
    twice refuses, one that does not answer is unknown. SSL 3.0 is not tried.
    Remedy: ``ssl_protocols TLSv1.2 TLSv1.3`` or what the server calls it.
    """
    old = [version for version in OLD if endpoint[version]["Offered"]]
    if old:
        return fail(f"the server offers {' and '.join(old)}; the limit is TLSv1.2")
    modern = [version for version in MODERN if endpoint[version]["Offered"]]
    if not modern:
        spoken = endpoint["Handshake"]["Version"]  # unknown where there was no handshake at all
        return fail(f"the server offers neither TLSv1.2 nor TLSv1.3; it agreed to {spoken}")
    return ok(f"the server offers {' and '.join(modern)} only")


@check(
    "tls.endpoint.strong-key",
    title="Keys and signatures are strong",
    severity="high",
    each="tls.endpoints",
)
def strong_key(endpoint: Record, *, min_rsa_bits: int = 2048, min_ec_bits: int = 256) -> Verdict:
    """Every certificate the server sent has a strong key, and no certificate below a root is signed with MD5 or SHA-1.

    Source: the certificates the server sent (PublicKey, SignatureHash). RSA, elliptic curves, Ed25519 and Ed448 are
    known; another type of key does not conform.
    Remedy: make a new key and have the certificate issued anew.
    """
    chain = endpoint["Handshake"]["Chain"]
    limits = {"RSA": min_rsa_bits, "EC": min_ec_bits, "Ed25519": 0, "Ed448": 0}
    for part in chain:
        kind, bits = part["PublicKey"]["Type"], part["PublicKey"]["Bits"]
        if kind not in limits:
            return fail(f"the key of {part['Subject']} is of type {kind}; the limit is {', '.join(limits)}")
        if bits < limits[kind]:
            return fail(f"the {kind} key of {part['Subject']} has {bits} bits; the limit is {limits[kind]}")
        if part["SignatureHash"] in ("md5", "sha1") and part["Subject"] != part["Issuer"]:
            return fail(f"the certificate of {part['Subject']} is signed with {part['SignatureHash']}")
    key = chain[0]["PublicKey"]
    return ok(f"the key is {key['Type']} with {key['Bits']} bits, in a chain of {len(chain)} certificates")


@check(
    "tls.endpoint.hsts",
    title="Browsers are told to use HTTPS only",
    severity="low",
    each="tls.endpoints",
)
def hsts(endpoint: Record, *, min_max_age_s: int = 31_536_000) -> Verdict:
    """The answer to ``HEAD /`` carries ``Strict-Transport-Security`` with a ``max-age`` of at least ``min_max_age_s``.

    Source: the response headers, redirects not followed. Endpoints that do not speak HTTP are skipped, and addresses,
    for which RFC 6797 has browsers ignore the header.
    Remedy: ``add_header Strict-Transport-Security "max-age=31536000" always``.
    """
    reply = endpoint["HEAD"]
    if reply is None:
        return skip("the endpoint does not speak HTTP")
    if _is_address(endpoint["Host"]):
        return skip("the endpoint is an address, for which browsers ignore the header")
    # left out of an HTTP answer when the server does not set it
    header = reply["Headers"].get("strict-transport-security")
    if header is None:
        return fail("there is no Strict-Transport-Security header")
    found = re.search(r"(?:^|;)\s*max-age\s*=\s*\"?(\d+)", header, re.IGNORECASE)
    if not found:
        return fail(f"Strict-Transport-Security has no max-age: {header[:80]}")
    observed = f"max-age is {found[1]} s"
    return ok(observed) if int(found[1]) >= min_max_age_s else fail(f"{observed}; the limit is {min_max_age_s} s")


@check(
    "tls.endpoint.ocsp-stapled",
    title="The server proves that its certificate is not revoked",
    severity="low",
    each="tls.endpoints",
)
def ocsp_stapled(endpoint: Record, *, as_of: datetime) -> Verdict:
    """The server staples an OCSP answer for its certificate that says "good" and has not run out.

    Source: the opening of a TLS 1.2 handshake that asks for it; in TLS 1.3 alone it is encrypted and not seen here.
    The signature of the answer is not verified. Some servers staple only from the second handshake after a restart.
    Certificates that name no OCSP responder are skipped.
    Remedy: ``ssl_stapling on`` or what the server calls it.
    """
    leaf = _leaf(endpoint)
    if not leaf["OCSP"]:
        return skip("the certificate names no OCSP responder")
    opening = endpoint["TLSv1.2"]
    if not opening["Offered"]:
        raise Unavailable(
            GapKind.UNSUPPORTED, "the server does not offer TLSv1.2, the version in which a staple is seen"
        )
    staple = opening["Staple"]
    if staple is None:
        return fail("no OCSP answer is stapled")
    if staple["Status"] != "successful":
        return fail(f"the stapled OCSP answer is an error: {staple['Status']}")
    if staple["SerialNumber"] != leaf["SerialNumber"]:
        raise Unavailable(GapKind.UNPROVEN, "the stapled OCSP answer is for another certificate than the one compared")
    if staple["CertificateStatus"] != "good":
        return fail(f"the stapled OCSP answer says {staple['CertificateStatus']}")
    if staple["NextUpdate"] is not None and instant(staple["NextUpdate"]) < as_of:
        return fail(f"the stapled OCSP answer ran out on {staple['NextUpdate']}")
    return ok(f"an OCSP answer of {staple['ThisUpdate']} is stapled and says good")


def _host(endpoint: str) -> str:
    """The host of ``host:port`` as it stands in certificates: no brackets, lower case, punycode."""
    host = endpoint.rpartition(":")[0].strip("[]").rstrip(".").lower()
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host  # no such name can be resolved, so there will be no handshake either


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _matches(name: str, host: str) -> bool:
    if _is_address(host):
        return ip_address(name) == ip_address(host)
    name = name.rstrip(".").lower()
    if name.startswith("*."):
        label, _, parent = host.partition(".")
        return bool(label) and parent == name[2:] and "." in parent
    return name == host
