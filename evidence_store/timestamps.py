"""RFC 3161 time stamps: asked for over HTTP, checked under pinned roots, by the library or else by ``openssl ts``."""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import rfc3161_client
from cryptography import x509
from rfc3161_client import TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response

from evidence_store import layout
from evidence_store.errors import StampError, UsageError, VerificationError
from evidence_store.fs import read_file
from evidence_store.note import NOTE_LIMIT
from evidence_store.revocation import issued, load_chain, load_crl
from evidence_store.store import Store
from evidence_store.tokens import CHAIN_LIMIT, TOKEN_LIMIT, token_digests

GENERATED = re.compile(r"^Time stamp: (\w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}) GMT$", re.MULTILINE)
UNTRUSTED = "certificate verify error"
"""What OpenSSL says of a signer whose chain it does not accept."""
VERIFY_ERROR = re.compile(r'data: "Verify error: ?([^"]*)"')
REASON = re.compile(r'reason: "([^"]*)"')
CMS_VERSION, SIGNER_VERSION = 3, 1
BACKLOG = 8
"""Checkpoints one authority is asked for at a time: public ones want no bursts."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamp authority."""

    name: str
    """Short name, part of file names: a-z, 0-9 and dashes."""
    url: str
    """Where requests are posted, http or https."""
    roots: bytes
    """PEM certificates its chain must end in, obtained from it beforehand."""
    chain: bytes = b""
    """PEM certificates between it and its root, where its tokens do not carry them."""
    crl_url: str = ""
    """Where the revocation list of its issuer is fetched; empty: none is kept."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time stamp that was checked."""

    time: datetime
    """When the authority says it saw the bytes, aware, UTC."""
    checked_by: str
    """``rfc3161-client``, or ``openssl`` where the library refuses the authority's encoding."""


def stamp(
    store: Store, authorities: Iterable[Authority], *, timeout_s: float = 20, name_them: bool = True
) -> list[StampError]:
    """The newest checkpoint carries a time stamp of each authority that answered; the rest are returned as errors.

    A checkpoint that was missed is covered by the next stamp, so nothing is lost while an authority is down. Those of
    runs are stamped later all the same, newest first, so that each can be shown alone.

    Args:
        store: open for writing.
        authorities: each is asked, and given up at its first failure.
        timeout_s: for each request.
        name_them: write the leaf that names the tokens now; otherwise the next one does.
    """
    errors = []
    for authority in authorities:
        try:
            for size in waiting(store, authority.name):
                reply = ask(authority, note_of(store.root, size), timeout_s=timeout_s)
                if authority.chain:
                    store.keep_chain(authority.chain)
                store.keep_token(size, authority.name, reply, name_it=False)
            if authority.crl_url:
                store.keep_chain(fetch_crl(authority, timeout_s=timeout_s), crl=True)
        except StampError as error:
            errors.append(error)
    if name_them:
        store.anchor()
    return errors


def waiting(store: Store, authority: str) -> list[int]:
    """Sizes of the checkpoints this authority should stamp now: the newest, then runs that ended since its last one.

    The queue is read off the files, so a crash cannot lose it.
    """
    stamped = {size for size, name in token_digests(store.root) if name == authority}
    last = max(stamped, default=0)
    ended = {run.closing["index"] + 1 for run in store.runs() if run.closing}
    queue = {store.size, *(size for size in ended if size > last)} - stamped
    return sorted(queue, reverse=True)[:BACKLOG]


def ask(authority: Authority, data: bytes, *, timeout_s: float = 20) -> bytes:
    """The reply of an authority to a request for ``data``, exactly as received; it was checked under its roots.

    Raises:
        StampError: the authority did not answer, or not with a token over these bytes.
        UsageError: the address is neither http nor https.
    """
    if not authority.url.startswith(("http://", "https://")):
        raise UsageError(f"{authority.name}: {authority.url!r} is not an http address", "correct the address")
    asked = TimestampRequestBuilder().data(data).hash_algorithm(rfc3161_client.HashAlgorithm.SHA256)
    query = asked.cert_request(cert_request=True).nonce(nonce=True).build()
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        authority.url, query.as_bytes(),
        {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310
            body: bytes = reply.read(TOKEN_LIMIT + 1)
    except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        raise StampError(
            f"time-stamp authority {authority.name} did not answer: {error}",
            "nothing is lost: the next stamp covers this checkpoint too",
        ) from error
    try:
        if len(body) > TOKEN_LIMIT:
            raise VerificationError("the reply is too long", "check the address")
        check_token(body, data, authority.roots, authority.chain)
        if _nonce(body) not in (None, query.nonce):
            raise VerificationError("the reply is to another request", "check the address")
    except VerificationError as error:
        raise StampError(
            f"time-stamp authority {authority.name} gave no usable token: {error}",
            "check the address and the roots of the authority",
        ) from error
    return body


def fetch_crl(authority: Authority, *, timeout_s: float = 20) -> bytes:
    """The revocation list of an authority's issuer, as it is published; who signed it is checked when it is used.

    Raises:
        StampError: it was not given, or is no revocation list.
    """
    try:
        if not authority.crl_url.startswith(("http://", "https://")):
            raise ValueError("not an http address")
        with urllib.request.urlopen(authority.crl_url, timeout=timeout_s) as reply:  # noqa: S310 - the scheme was checked
            body: bytes = reply.read(CHAIN_LIMIT + 1)
        if len(body) > CHAIN_LIMIT:
            raise ValueError("too long to be kept")
        load_crl(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StampError(
            f"the revocation list of time-stamp authority {authority.name} was not given: {error}",
            "nothing is lost: the next run fetches it again; check the address if it does not",
        ) from error
    return body


def check_token(reply: bytes, data: bytes, roots: bytes, chain: bytes = b"") -> Stamp:
    """The reply holds a token over exactly ``data`` whose chain ends in one of ``roots`` at the time of the token.

    Args:
        reply: as the authority sent it.
        data: what it must be about.
        roots: PEM certificates that are trusted.
        chain: PEM certificates that are not, and may help to reach a root.

    Raises:
        VerificationError: neither the library nor ``openssl`` finds that so.
    """
    try:
        certificates = _certificates(roots)
    except ValueError as error:
        raise VerificationError(
            "the roots are not PEM certificates", "give the authority's root certificate"
        ) from error
    try:
        token = decode_timestamp_response(reply)
        # Outside the token's signature: other values would be accepted and mean nothing.
        versions = [token.signed_data.version, *(info.version for info in token.signed_data.signer_infos)]
        if versions != [CMS_VERSION, SIGNER_VERSION]:
            raise ValueError("other versions than RFC 3161 names")
        helpful = _helpful(roots, chain)
        VerifierBuilder(roots=certificates, intermediates=helpful).build().verify_message(token, data)
        return Stamp(token.tst_info.gen_time.astimezone(UTC), "rfc3161-client")
    except (ValueError, rfc3161_client.VerificationError) as error:
        return _openssl(reply, data, roots, chain, error)


@functools.lru_cache(maxsize=8)
def _certificates(roots: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(roots)


@functools.lru_cache(maxsize=8)
def _helpful(roots: bytes, chain: bytes) -> list[x509.Certificate]:
    """What leads to a root; found once for all tokens that are checked with it."""
    return issued(_certificates(roots), load_chain(chain))


def signer_of(reply: bytes) -> tuple[x509.Name, int] | None:
    """Issuer and serial number of the certificate that signed a token; ``None`` when it cannot be read."""
    try:
        info = next(iter(decode_timestamp_response(reply).signed_data.signer_infos))
        return info.issuer, info.serial_number
    except (ValueError, StopIteration):
        return None


def read_imprint(reply: bytes) -> bytes | None:
    """The SHA-256 a token speaks about, without checking who says so; ``None`` when it cannot be read."""
    try:
        imprint: bytes = decode_timestamp_response(reply).tst_info.message_imprint.message
    except ValueError:
        text = _run_openssl(["-reply", "-text"], {"in": reply})
        return None if text is None else _imprint_of(text)
    return imprint


def _nonce(reply: bytes) -> int | None:
    try:
        nonce: int | None = decode_timestamp_response(reply).tst_info.nonce
    except ValueError:
        return None
    return nonce


def _openssl(reply: bytes, data: bytes, roots: bytes, chain: bytes, reason: Exception) -> Stamp:
    """Ask ``openssl``: the library is stricter than some authorities' encoding."""
    refused = VerificationError(f"the time stamp does not verify ({_in_words(reason)})", _next_step(reason))
    text = _run_openssl(["-reply", "-text"], {"in": reply})
    moment = GENERATED.search(text or "")
    if moment is None:
        raise refused from reason
    written = moment[1].partition(".")
    when = datetime.strptime(written[0] if not written[2] else f"{written[0]} {written[2][-4:]}", "%b %d %H:%M:%S %Y")
    when = when.replace(tzinfo=UTC)
    arguments = ["-verify", "-attime", str(int(when.timestamp()))]
    untrusted = {"untrusted": chain} if chain else {}
    if _run_openssl(arguments, {"in": reply, "data": data, "CAfile": roots, **untrusted}) is None:
        raise refused from reason
    return Stamp(when, "openssl")


def _in_words(reason: Exception) -> str:
    """What the library said, without the insides of OpenSSL."""
    text = str(reason)
    if UNTRUSTED in text:
        why = VERIFY_ERROR.search(text)
        return "its chain does not hold under the roots that were given" + (f": {why[1]}" if why else "")
    if "ErrorStack" in text:
        return ", ".join(dict.fromkeys(REASON.findall(text))) or "OpenSSL refuses it"
    if "ParseError" in text:
        return "it is no time-stamp reply that can be read"
    return "it is over other bytes" if text == "Mismatch between messages" else text


def _next_step(reason: Exception) -> str:
    return "give the root of the authority that made it" if UNTRUSTED in str(reason) else "ask the authority again"


def _imprint_of(text: str) -> bytes | None:
    lines = re.findall(r"^ {4}[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -])+)", text, re.MULTILINE)
    imprint = bytes.fromhex("".join(lines).replace(" ", "").replace("-", ""))
    return imprint if len(imprint) == hashlib.sha256().digest_size else None


def _run_openssl(arguments: list[str], files: dict[str, bytes]) -> str | None:
    """Output of ``openssl ts``; ``None`` when it refuses or is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        named = []
        for option, content in files.items():
            path = Path(folder) / option
            path.write_bytes(content)
            named += [f"-{option}", str(path)]
        try:
            done = subprocess.run(
                ["openssl", "ts", *arguments, *named],
                capture_output=True, timeout=60, check=False, env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
    return None if done.returncode else done.stdout.decode("utf-8", "replace")


def note_of(root: Path, size: int) -> bytes:
    """The checkpoint file a token is about."""
    return read_file(root, layout.note_name(size), NOTE_LIMIT)
