"""RFC 3161 time stamps: asked for over HTTP, checked under pinned roots, by the library or else by ``openssl ts``."""

from __future__ import annotations

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
from evidence_store.store import Store
from evidence_store.tokens import TOKEN_LIMIT, token_digests

GENERATED = re.compile(r"^Time stamp: (\w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}) GMT$", re.MULTILINE)
CMS_VERSION, SIGNER_VERSION = 3, 1


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamp authority."""

    name: str
    """Short name, part of file names: a-z, 0-9 and dashes."""
    url: str
    """Where requests are posted, http or https."""
    roots: bytes
    """PEM certificates its chain must end in, obtained from it beforehand."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time stamp that was checked."""

    time: datetime
    """When the authority says it saw the bytes, aware, UTC."""
    checked_by: str
    """``rfc3161-client``, or ``openssl`` where the library refuses the authority's encoding."""


def stamp(store: Store, authorities: Iterable[Authority], *, timeout_s: float = 20) -> list[StampError]:
    """The newest checkpoint carries a time stamp of each authority that answered; the rest are returned as errors.

    A checkpoint that was missed needs no stamp of its own: the next one covers it.
    """
    size, note, errors = store.size, store.checkpoint, []
    present = token_digests(store.root)
    for authority in authorities:
        if (size, authority.name) in present:
            continue
        try:
            store.keep_token(size, authority.name, ask(authority, note, timeout_s=timeout_s))
        except StampError as error:
            errors.append(error)
    return errors


def ask(authority: Authority, data: bytes, *, timeout_s: float = 20) -> bytes:
    """The reply of an authority to a request for ``data``, exactly as received; it was checked under its roots.

    Raises:
        StampError: the authority did not answer, or not with a token over these bytes.
        UsageError: the address is neither http nor https.
    """
    if not authority.url.startswith(("http://", "https://")):
        raise UsageError(f"{authority.name}: {authority.url!r} is not an http address", "correct the address")
    asked = TimestampRequestBuilder().data(data).hash_algorithm(rfc3161_client.HashAlgorithm.SHA256)
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        authority.url, asked.cert_request(cert_request=True).build().as_bytes(),
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
        check_token(body, data, authority.roots)
    except VerificationError as error:
        raise StampError(
            f"time-stamp authority {authority.name} gave no usable token: {error}",
            "check the address and the roots of the authority",
        ) from error
    return body


def check_token(reply: bytes, data: bytes, roots: bytes) -> Stamp:
    """The reply holds a token over exactly ``data`` whose chain ends in one of ``roots`` at the time of the token.

    Raises:
        VerificationError: neither the library nor ``openssl`` finds that so.
    """
    try:
        certificates = x509.load_pem_x509_certificates(roots)
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
        VerifierBuilder(roots=certificates).build().verify_message(token, data)
        return Stamp(token.tst_info.gen_time.astimezone(UTC), "rfc3161-client")
    except (ValueError, rfc3161_client.VerificationError) as error:
        return _openssl(reply, data, roots, error)


def read_imprint(reply: bytes) -> bytes | None:
    """The SHA-256 a token speaks about, without checking who says so; ``None`` when it cannot be read."""
    try:
        imprint: bytes = decode_timestamp_response(reply).tst_info.message_imprint.message
    except ValueError:
        text = _run_openssl(["-reply", "-text"], {"in": reply})
        return None if text is None else _imprint_of(text)
    return imprint


def _openssl(reply: bytes, data: bytes, roots: bytes, reason: Exception) -> Stamp:
    """Ask ``openssl``: the library is stricter than some authorities' encoding."""
    refused = VerificationError(f"the time stamp does not verify ({reason})", "ask the authority again")
    text = _run_openssl(["-reply", "-text"], {"in": reply})
    moment = GENERATED.search(text or "")
    if moment is None:
        raise refused from reason
    written = moment[1].partition(".")
    when = datetime.strptime(written[0] if not written[2] else f"{written[0]} {written[2][-4:]}", "%b %d %H:%M:%S %Y")
    when = when.replace(tzinfo=UTC)
    arguments = ["-verify", "-attime", str(int(when.timestamp()))]
    if _run_openssl(arguments, {"in": reply, "data": data, "CAfile": roots}) is None:
        raise refused from reason
    return Stamp(when, "openssl")


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
