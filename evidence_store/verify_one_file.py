#!/usr/bin/env python3
"""Checks a bundle of sealed evidence with nothing but Python 3.9 and its standard library. Read it before you trust it.

    python3 verify.py BUNDLE --key FINGERPRINT [--tsa-roots PEM] [--witness VKEY] [--since WORDS_OR_NOTE_FILE] [--json]

BUNDLE is a folder or a zip (a tar.zst from Python 3.14 on; unpack it otherwise). It is written from the description of
the format alone (docs/bundle-format.md of the project), apart from the package, and shares no code with it. Exit code:
0 verified, 4 not verified, 2 wrong usage. Nothing is written, nothing is sent. Time stamps are checked by the openssl
command, where there is one and --tsa-roots is given.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import stat
import struct
import subprocess
import sys
import tempfile
import zlib
from datetime import datetime, timedelta, timezone

FORMAT = "affidavit/bundle/1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREFIX = "https://affidavit.example/evidence/"
NAMESPACE, PRINCIPAL = "evidence-bundle@affidavit.example", "evidence-store"
WORDS_SHA256 = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
KINDS = {
    "genesis", "run-open", "run-close", "run-abort", "gap", "anchor", "waiver", "config-change", "schedule", "pause",
    "export", "attachment", "redaction", "key-transition", "key-revocation",
}  # fmt: skip
COPY_KINDS = ("folder", "git", "s3", "objectlock")
LINE_LIMIT, CHUNK, ATTACHMENT_LIMIT = 16 << 20, 1 << 20, 64 << 20
FILES_LIMIT, TOTAL_LIMIT, HELD_LIMIT, WITHHELD_LIMIT = 500_000, 64 << 30, 256 << 20, 10_000_000
DEPTH_LIMIT = 254
SKEW = timedelta(minutes=5)
NO_ANCHOR = (
    "no outside anchor: nothing here shows that the log was not cut short or rewritten whole by the holder of its key; "
    "compare with a checkpoint held elsewhere; time stamps bound a rewriting, and show no cut"
)
OPEN_END = (
    "nothing shown here says what came after the last leaf: what attests the rest still holds when a tail is cut off; "
    "compare with a newer checkpoint held elsewhere"
)


class Fault(Exception):
    """Something is not as it was sealed."""


class Usage(Exception):
    """The caller asked for what cannot be done."""


# ------------------------------------------------------------------------------------------------------------- Ed25519

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


def _point(data):
    y = int.from_bytes(data, "little")
    x = _recover_x(y & ((1 << 255) - 1), y >> 255)
    y &= (1 << 255) - 1
    return None if x is None else (x, y, 1, x * y % P)


def _add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    i, j, k, m = f - e, h - g, h + g, f + e
    return (i * j % P, k * m % P, j * k % P, i * m % P)


def _times(scalar, point):
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = _recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def ed25519_verifies(key, signature, message):
    """RFC 8032, 5.1.7, without cofactor; only a reduced scalar is accepted."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if public is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = _times(s, BASE), _add(r, _times(h, public))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --------------------------------------------------------------------------------------------------------- ECDSA P-256

Q = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)


def _double(a):
    x, y, z = a
    if not z:
        return a
    s, m = 4 * x * y * y % Q, 3 * (x - z * z) * (x + z * z) % Q
    nx = (m * m - 2 * s) % Q
    return (nx, (m * (s - nx) - 8 * y**4) % Q, 2 * y * z % Q)


def _sum(a, b):
    if not a[2]:
        return b
    if not b[2]:
        return a
    za, zb = a[2] * a[2] % Q, b[2] * b[2] % Q
    u, v, s, t = a[0] * zb % Q, b[0] * za % Q, a[1] * zb * b[2] % Q, b[1] * za * a[2] % Q
    if u == v:
        return _double(a) if s == t else (1, 1, 0)
    h, r = v - u, t - s
    h2, h3 = h * h % Q, h * h * h % Q
    x = (r * r - h3 - 2 * u * h2) % Q
    return (x, (r * (u * h2 - x) - s * h3) % Q, h * a[2] * b[2] % Q)


def _p256_times(scalar, point):
    total = (1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _sum(total, point)
        point = _double(point)
        scalar >>= 1
    return total


def _der_integers(data):
    if len(data) < 8 or data[0] != 0x30 or data[1] != len(data) - 2 or len(data) > 129:
        return None
    numbers, place = [], 2
    while place < len(data):
        if place + 2 > len(data) or data[place] != 2:
            return None
        body = data[place + 2 : place + 2 + data[place + 1]]
        if (
            not body
            or len(body) != data[place + 1]
            or body[0] & 0x80
            or (body[0] == 0 and len(body) > 1 and body[1] < 0x80)
        ):
            return None
        numbers.append(int.from_bytes(body, "big"))
        place += 2 + len(body)
    return numbers if len(numbers) == 2 else None


def p256_verifies(point, signature, message):
    """ECDSA over SHA-256; the signature in DER, with the lower of the two possible s."""
    numbers = _der_integers(signature)
    if numbers is None or len(point) != 65 or point[0] != 4:
        return False
    r, s = numbers
    x, y = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    if not (0 < r < N and 0 < s <= N // 2) or x >= Q or y >= Q or (y * y - x**3 + 3 * x - B) % Q:
        return False
    e, w = int.from_bytes(hashlib.sha256(message).digest(), "big"), pow(s, N - 2, N)
    px, _, pz = _sum(_p256_times(e * w % N, G), _p256_times(r * w % N, (x, y, 1)))
    return bool(pz) and px * pow(pz * pz, Q - 2, Q) % Q % N == r


def self_test():
    """The arithmetic gives what RFC 8032 (7.1, test 3) and RFC 6979 (A.2.5, "sample") say."""
    key = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
    signature = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    point = bytes.fromhex(
        "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    )
    r = bytes.fromhex("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716")
    s = N - 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    der = b"\x30\x45\x02\x21\x00" + r + b"\x02\x20" + s.to_bytes(32, "big")
    good = ed25519_verifies(key, signature, b"\xaf\x82") and p256_verifies(point, der, b"sample")
    bad = ed25519_verifies(key, signature, b"\xaf\x83") or p256_verifies(point, der, b"simple")
    return good and not bad


class Key:
    """A public key and its fingerprint."""

    ED = bytes.fromhex("302a300506032b6570032100")
    P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")

    def __init__(self, spki):
        self.spki = spki
        if spki[:12] == self.ED and len(spki) == 44:
            self.scheme, self.raw = "ed25519", spki[12:]
        elif spki[:26] == self.P256 and len(spki) == 91:
            self.scheme, self.raw = "ecdsa-sha2-nistp256", spki[26:]
        else:
            raise ValueError("a public key is neither Ed25519 nor P-256")
        self.fingerprint = hashlib.sha256(spki).hexdigest()
        self._known = {}

    @classmethod
    def from_pem(cls, text):
        key = cls(unb64("".join(text.split("\n")[1:-2])))
        if key.pem() != text:
            raise ValueError("a public key is not in its usual spelling")
        return key

    def pem(self):
        text = b64(self.spki)
        lines = "".join(text[i : i + 64] + "\n" for i in range(0, len(text), 64))
        return "-----BEGIN PUBLIC KEY-----\n" + lines + "-----END PUBLIC KEY-----\n"

    def verifies(self, signature, message):
        case = (signature, message)
        if case not in self._known:
            check = ed25519_verifies if self.scheme == "ed25519" else p256_verifies
            self._known[case] = check(self.raw, signature, message)
        return self._known[case]

    def note_id(self, origin):
        if self.scheme == "ed25519":
            return hashlib.sha256(origin.encode() + b"\n\x01" + self.raw).digest()[:4]
        return hashlib.sha256(self.spki).digest()[:4]

    def vkey(self, origin):
        coded = b"\x01" + self.raw if self.scheme == "ed25519" else b"\x02" + self.spki
        return "%s+%s+%s" % (origin, self.note_id(origin).hex(), b64(coded))

    def ssh(self):
        if self.scheme == "ed25519":
            return "ssh-ed25519", strings(b"ssh-ed25519", self.raw)
        return "ecdsa-sha2-nistp256", strings(b"ecdsa-sha2-nistp256", b"nistp256", self.raw)


# ------------------------------------------------------------------------------------------------------------ spelling


def b64(data):
    return base64.b64encode(data).decode("ascii")


def unb64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("not base64") from None
    if b64(data) != text:
        raise ValueError("not canonical base64")
    return data


def strings(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _no_constant(name):
    raise ValueError("not JSON: " + name)


def _unique(pairs):
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return names


def load(data):
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if data.count(b"{") + data.count(b"[") > DEPTH_LIMIT and depth(value) > DEPTH_LIMIT:
        raise ValueError("nested too deeply")
    return value


def depth(value):
    """How many objects and lists stand inside one another."""
    found, level = 0, [value]
    while level:
        inner = (one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer))
        found, level = found + 1, [one for one in inner if isinstance(one, (dict, list))]
    return found


def dump(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def is_hex(text, length=64):
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{%d}" % length, text) is not None


def when(text):
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text, re.ASCII):
        raise ValueError("not a time in UTC")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


def lasting(span):
    """A length of time for people, in its largest unit and the next: 2 days 3 hours."""
    left = int(span.total_seconds())
    counts = [(left // 86400, "day"), (left // 3600 % 24, "hour"), (left // 60 % 60, "minute"), (left % 60, "second")]
    first = next((place for place, (count, _) in enumerate(counts) if count), 3)
    told = ["%d %s%s" % (count, unit, "" if count == 1 else "s") for count, unit in counts[first : first + 2] if count]
    return " ".join(told) or "less than a second"


def is_utf8(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def printable(name):
    return name if name.isascii() and name.isprintable() else name.encode("unicode_escape", "replace").decode("ascii")


# ----------------------------------------------------------------------------------------------------------- hash tree


def leaf_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    def __init__(self, size=0, hashes=()):
        self.size, self.hashes = size, list(hashes)

    def add(self, hashed):
        size = self.size
        while size & 1:
            hashed = node_hash(self.hashes.pop(), hashed)
            size >>= 1
        self.hashes.append(hashed)
        self.size += 1

    def root(self):
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def included(index, size, hashed, proof, root):
    if not 0 <= index < size:
        return False
    fn, sn = index, size - 1
    for step in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            hashed = node_hash(step, hashed)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hashed = node_hash(hashed, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and hashed == root


def consistent(old, new, old_root, new_root, proof):
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for step in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root


# ------------------------------------------------------------------------------------------- envelopes, leaves, notes


class Envelope:
    def __init__(self, data):
        try:
            value = load(data)
            self.payload = unb64(value["payload"])
            self.signatures = [(entry["keyid"], unb64(entry["sig"])) for entry in value["signatures"]]
            spelt = ",".join('{"keyid":"%s","sig":"%s"}' % (keyid, b64(sig)) for keyid, sig in self.signatures)
            text = '{"payloadType":"%s","payload":"%s","signatures":[%s]}' % (PAYLOAD_TYPE, b64(self.payload), spelt)
            good = text.encode("ascii") == data and len(self.signatures) <= 8
            if not good or not all(is_hex(keyid) for keyid, _ in self.signatures):
                raise ValueError("other spelling")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Fault("is not spelt as a DSSE envelope") from None

    def signed_by(self, *keys):
        message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(self.payload), self.payload)
        return [keyid for keyid, _ in self.signatures] == [key.fingerprint for key in keys] and all(
            key.verifies(sig, message) for key, (_, sig) in zip(keys, self.signatures)
        )

    def statement(self):
        """Kind, subject and predicate."""
        try:
            value = load(self.payload)
            if list(value) != ["_type", "subject", "predicateType", "predicate"]:
                raise ValueError("other fields")
            kind = value["predicateType"][len(PREFIX) : -len("/v1")]
            subject = {entry["name"]: entry["digest"]["sha256"] for entry in value["subject"]}
            again = [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subject.items()]
            if value["_type"] != "https://in-toto.io/Statement/v1" or value["predicateType"] != PREFIX + kind + "/v1":
                raise ValueError("another type")
            if value["subject"] != again or not all(isinstance(n, str) and is_hex(s) for n, s in subject.items()):
                raise ValueError("another subject")
            if not isinstance(value["predicate"], dict):
                raise ValueError("no predicate")
            return kind, subject, value["predicate"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Fault("holds no statement of this format") from None


class Leaf:
    def __init__(self, index, data):
        self.index, self.data = index, data
        self.envelope = Envelope(data)
        self.kind, self.subject, self.predicate = self.envelope.statement()
        try:
            self.recorded_on = when(self.predicate.get("recordedOn"))
        except ValueError as error:
            raise Fault(str(error)) from None
        place = self.predicate.get("index")
        if type(place) is not int or place != index:
            raise Fault("was signed for another place in the log")
        if self.kind not in KINDS:
            raise Fault("is of a kind this verifier does not know")


def head_text(origin, size, root):
    return "%s\n%d\n%s\n" % (origin, size, b64(root))


def open_note(data, origin, key):
    """Size and root of a checkpoint signed by this key."""
    try:
        text, _, line = data.decode("utf-8").rpartition("\n\n")
        text += "\n"
        start = "\u2014 %s " % origin
        signature = unb64(line[len(start) : -1])
        lines = text.split("\n")
        good = text + "\n" + start + b64(signature) + "\n" == data.decode("utf-8")
        if not good or len(lines) != 4 or not re.fullmatch("[0-9]{1,12}", lines[1], re.ASCII):
            raise ValueError("other spelling")
        size, root = int(lines[1]), unb64(lines[2])
        if head_text(origin, size, root) != text or len(root) != 32:
            raise ValueError("other spelling")
    except (ValueError, IndexError):
        raise Fault("is not spelt as a checkpoint of this log") from None
    if signature[:4] != key.note_id(origin):
        raise Fault("is signed by another key")
    if not key.verifies(signature[4:], text.encode()):
        raise Fault("has a signature that does not verify")
    return size, root


class Witness:
    """Somebody who signs heads: known by the verifier key that an auditor gives, name+keyid+base64."""

    def __init__(self, text):
        self.name, _, rest = text.strip().partition("+")
        keyid, _, coded = rest.partition("+")
        try:
            raw = unb64(coded)
            if raw[:1] != b"\x04" or len(raw) != 33 or not re.fullmatch("[!-*,-~]{1,128}", self.name):
                raise ValueError("another kind of key")
        except ValueError:
            raise Usage("%r is not the key of a witness" % text[:80]) from None
        self.raw, self.id = raw[1:], hashlib.sha256(self.name.encode() + b"\n" + raw).digest()[:4]
        if self.id.hex() != keyid:
            raise Usage("the key of witness %s does not belong to its key id" % self.name)

    def opened(self, line, note):
        """When it signed exactly the text of this note."""
        text = note.decode("utf-8").rpartition("\n\n")[0] + "\n"
        start = "\u2014 %s " % self.name
        body = unb64(line.decode("utf-8")[len(start) : -1])
        if len(body) != 76 or (start + b64(body) + "\n").encode("utf-8") != line or body[:4] != self.id:
            raise Fault("is not a cosignature of %s" % self.name)
        seconds = int.from_bytes(body[4:12], "big")
        if not 0 < seconds < 1 << 40:
            raise Fault("is not a cosignature of %s" % self.name)
        if not ed25519_verifies(self.raw, body[12:], ("cosignature/v1\ntime %d\n" % seconds + text).encode("utf-8")):
            raise Fault("does not verify as a cosignature of %s" % self.name)
        return datetime.fromtimestamp(seconds, timezone.utc)


class Keys:
    """The keys of the log in the order they were in force."""

    def __init__(self, first):
        self.keys, self.starts, self.revoked = [first], [0], {}

    def at(self, place):
        return max((start, number) for number, start in enumerate(self.starts) if start <= place)[1]

    def take(self, leaf):
        current = self.keys[-1]
        said = {name: value for name, value in leaf.predicate.items() if name not in ("index", "recordedOn")}
        if leaf.kind == "key-transition":
            try:
                new = Key.from_pem(said["newKey"]["pem"])
                facts = {
                    "oldKey": current.fingerprint, "newKey": {"scheme": new.scheme, "pem": new.pem()},
                    "fromIndex": leaf.index + 1, "reason": said["reason"],
                }  # fmt: skip
                if said != facts or not isinstance(said["reason"], str) or type(said["fromIndex"]) is not int:
                    raise ValueError("other fields")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise Fault("is no transition from %s" % current.fingerprint) from None
            if new.fingerprint in [key.fingerprint for key in self.keys]:
                raise Fault("hands over to %s, which was used before" % new.fingerprint)
            if not leaf.envelope.signed_by(current, new):
                raise Fault("is not signed by both %s and %s" % (current.fingerprint, new.fingerprint))
            self.keys.append(new)
            self.starts.append(leaf.index + 1)
            return
        if not leaf.envelope.signed_by(current):
            raise Fault("is not signed by %s" % current.fingerprint)
        if leaf.kind == "key-revocation":
            key, last = said.get("key"), said.get("lastGoodIndex")
            names = [known.fingerprint for known in self.keys]
            if (
                set(said) != {"key", "lastGoodIndex", "reason"}
                or not isinstance(said["reason"], str)
                or type(last) is not int
            ):
                raise Fault("revokes a key in a way that cannot be read")
            if key not in names[:-1] or not -1 <= last <= self.starts[names.index(key) + 1] - 1:
                raise Fault("revokes a key that it cannot")
            if key in self.revoked and last >= self.revoked[key][0]:
                raise Fault("revokes a key that is revoked already")
            self.revoked[key] = (last, leaf.index, leaf.recorded_on)

    def problems(self, attested):
        """Ranges of leaves whose signature does not count any more."""
        for key, start, end in zip(self.keys[:-1], self.starts[:-1], self.starts[1:]):
            if key.fingerprint not in self.revoked:
                continue
            last_good, index, moment = self.revoked[key.fingerprint]
            covered = max([size for size, seen in attested if seen <= moment] or [0])
            first, last = max(start - 1, 0), end - 2
            bad = [place for place in range(first, last + 1) if place >= covered or place > last_good]
            if bad:
                yield "leaves %d to %d are signed by %s, which leaf %d revokes" % (
                    bad[0],
                    bad[-1],
                    key.fingerprint,
                    index,
                )

    def refuses(self, pin, attested):
        names = [key.fingerprint for key in self.keys]
        if pin not in names:
            return "is signed by %s, not by %s" % (names[-1], pin)
        for place in range(names.index(pin), len(names) - 1):
            if names[place] in self.revoked:
                last_good, index, moment = self.revoked[names[place]]
                end = self.starts[place + 1]
                covered = max([size for size, seen in attested if seen <= moment] or [0])
                if last_good < end - 1 or covered < end:
                    return "leaf %d hands over from %s, which leaf %d revokes" % (end - 1, names[place], index)
        return ""


# ---------------------------------------------------------------------------------------------------------- containers


class Entry:
    def __init__(self, name, size, chunks):
        self.name, self.size, self.chunks = name, size, chunks


def folder_entries(root, report):
    waiting, count, total = [""], 0, 0
    while waiting:
        folder = waiting.pop()
        try:
            names = sorted(os.listdir(os.path.join(root, folder)))
        except OSError as error:
            report(printable(folder) or ".", "cannot be read (%s)" % error.strerror)
            continue
        if not names:
            report(printable(folder) or ".", "is not part of a bundle")
        for one in reversed(names):
            name = folder + "/" + one if folder else one
            status = os.lstat(os.path.join(root, name))
            if stat.S_ISDIR(status.st_mode):
                if name.count("/") < 12:
                    waiting.append(name)
                else:
                    report(printable(name), "is not part of a bundle")
            elif not stat.S_ISREG(status.st_mode):
                report(printable(name), "is neither a file nor a folder")
            else:
                count, total = count + 1, total + status.st_size
                if count > FILES_LIMIT or total > TOTAL_LIMIT:
                    raise Fault("is too large")
                yield Entry(name, status.st_size, lambda path=os.path.join(root, name): file_chunks(path))


def file_chunks(path):
    with open(path, "rb") as file:
        while True:
            data = file.read(CHUNK)
            if not data:
                return
            yield data


def _zip64(extra, *numbers):
    place, fields = 0, b""
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, place)
        if kind == 1:
            fields = extra[place + 4 : place + 4 + length]
        place += 4 + length
    out = []
    for number in numbers:
        if number == 0xFFFFFFFF:
            number, fields = struct.unpack("<Q", fields[:8])[0], fields[8:]
        out.append(number)
    return out


class Zip:
    """A zip read by its central directory; local headers must say the same, and nothing may overlap."""

    def __init__(self, file):
        self.file = file
        self.size = file.seek(0, os.SEEK_END)

    def read(self, place, size):
        if place < 0 or size < 0 or place + size > self.size:
            raise ValueError("a place outside the file")
        self.file.seek(place)
        return self.file.read(size)

    def entries(self, report):
        try:
            members = self.members(report)
        except (struct.error, ValueError) as error:
            raise Fault("is not a whole zip (%s)" % error) from None
        top = None
        for name, method, crc, packed, size, place in members:
            if name.endswith("/") and not size:
                continue
            first, slash, rest = name.partition("/")
            top = first if top is None else top
            if not slash or not rest or first != top or first in ("", ".", ".."):
                raise Fault("has more than one top folder")
            yield Entry(rest, size, lambda m=method, c=crc, k=packed, s=size, p=place: self.chunks(m, c, k, s, p))

    def members(self, report):
        tail = self.read(self.size - min(self.size, 65557), min(self.size, 65557))
        at = len(tail)
        while True:
            at = tail.rfind(b"PK\x05\x06", 0, at)
            if at < 0:
                raise ValueError("no end record")
            if at + 22 <= len(tail) and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
                break
        place = self.size - len(tail) + at
        _, disk, disk2, here, count, size, offset, _ = struct.unpack_from("<IHHHHIIH", tail, at)
        if 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
            magic, one, end64, disks = struct.unpack("<IIQI", self.read(place - 20, 20))
            if magic != 0x07064B50 or one or disks != 1 or end64 + 56 != place - 20:
                raise ValueError("a wrong zip64 locator")
            magic, length, _, _, disk, disk2, here, count, size, offset = struct.unpack(
                "<IQHHIIQQQQ", self.read(end64, 56)
            )
            if magic != 0x06064B50 or length != 44:
                raise ValueError("a wrong zip64 record")
            place = end64
        if disk or disk2 or here != count or count > FILES_LIMIT or size > 128 << 20 or offset + size != place:
            raise ValueError("several disks, too many files, or a gap")
        data, at, found = self.read(offset, size), 0, []
        for _ in range(count):
            fields = struct.unpack_from("<IHHHHHHIIIHHHHHII", data, at)
            magic, made, _, flags, method, _, _, crc, packed, full, n, x, c, disk, _, outer, start = fields
            at += 46
            name, extra = data[at : at + n], data[at + n : at + n + x]
            at += n + x + c
            if magic != 0x02014B50 or disk or at > len(data) or flags & 0x2041 or method not in (0, 8):
                raise ValueError("an entry of another kind")
            full, packed, start = _zip64(extra, full, packed, start)
            text = name.decode("ascii")
            kind = stat.S_IFMT(outer >> 16) if made >> 8 == 3 else 0
            if kind not in (0, stat.S_IFREG) and not (text.endswith("/") and kind == stat.S_IFDIR):
                report(printable(text), "is neither a file nor a folder")
            if "\\" in text or "\0" in text or text.startswith("/") or (not method and full != packed):
                raise ValueError("an entry of another kind")
            found.append((text, method, crc, packed, full, flags, start))
        if at != len(data):
            raise ValueError("bytes after its last entry")
        places, end = {}, 0
        # In order of place, so that no byte is looked at for two entries.
        for text, method, crc, packed, full, flags, start in sorted(found, key=lambda member: member[6]):
            if start < end:
                raise ValueError("entries that overlap")
            local = struct.unpack("<IHHHHHIIIHH", self.read(start, 30))
            other = self.read(start + 30, local[9] + local[10])
            lsize, lpacked = _zip64(other[local[9] :], local[8], local[7])
            same = (local[6], lpacked, lsize) == (crc, packed, full)
            later = flags & 8 and (local[6], lpacked, lsize) in ((0, 0, 0), (crc, 0, 0))
            if local[0] != 0x04034B50 or other[: local[9]] != text.encode() or (local[2], local[3]) != (flags, method):
                raise ValueError("two headers that differ")
            if not same and not later:
                raise ValueError("two headers that differ")
            places[start] = start + 30 + len(other)
            end = places[start] + packed
        if end > offset:
            raise ValueError("entries that overlap")
        if sum(one[4] for one in found) > min(TOTAL_LIMIT, (64 << 20) + 2000 * self.size):
            raise ValueError("unpacks to too much")
        return [(*one[:5], places[one[6]]) for one in found]

    def chunks(self, method, crc, packed, size, place):
        unpack, left, sum32 = (zlib.decompressobj(-15) if method else None), size, 0
        self.file.seek(place)
        rest = b""
        try:
            while True:
                if not rest and packed:
                    rest = self.file.read(min(CHUNK, packed))
                    packed -= len(rest)
                if unpack is None:
                    data, rest = rest, b""
                else:
                    data = unpack.decompress(rest, CHUNK)
                    rest = unpack.unconsumed_tail
                    if unpack.unused_data or (unpack.eof and packed):
                        raise ValueError("bytes after its end")
                left, sum32 = left - len(data), zlib.crc32(data, sum32)
                if left < 0:
                    raise ValueError("longer than stated")
                if not data and not rest and not packed:
                    break
                if data:
                    yield data
            if left or sum32 != crc or (unpack is not None and not unpack.eof):
                raise ValueError("other content than stated")
        except (zlib.error, ValueError) as error:
            raise Fault("does not unpack (%s)" % error) from None


def tar_entries(path, report):
    try:
        from compression import zstd
    except ImportError:
        raise Usage("this Python does not read zstd: unpack it with 'zstd -d --long=27 -c FILE | tar -x'") from None
    import tarfile

    def guarded(iterator):
        """Every way in which reading the archive can fail is a fault, for the loop and for who reads an entry."""
        try:
            yield from iterator
        except (tarfile.TarError, zstd.ZstdError, EOFError, ValueError) as error:
            raise Fault("is not a whole tar.zst (%s)" % error) from None

    def members():
        top, count, total = None, 0, 0
        most = min(TOTAL_LIMIT, (64 << 20) + 2000 * os.path.getsize(path))
        with zstd.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                if not member.isreg() or member.pax_headers or member.issparse():
                    report(printable(member.name), "is neither a file nor a folder")
                    continue
                first, slash, rest = member.name.partition("/")
                top = first if top is None else top
                if not slash or not rest or first != top or first in ("", ".", ".."):
                    raise Fault("has more than one top folder")
                count, total = count + 1, total + member.size
                if count > FILES_LIMIT or total > most:
                    raise Fault("is too large")
                file = archive.extractfile(member)
                yield Entry(rest, member.size, lambda file=file: guarded(iter(lambda: file.read(CHUNK), b"")))

    yield from guarded(members())


# -------------------------------------------------------------------------------------------------------- the format

SEG = "[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
OBJECT = re.compile(r"data/objects/([0-9a-f]{2})/(\1[0-9a-f]{62})", re.ASCII)
REDACTED = re.compile(r"data/redacted/([0-9a-f]{2})/(\1[0-9a-f]{62})\.json", re.ASCII)
RUN_FILE = re.compile(r"data/runs/([0-9]{8})/(plan\.json|manifest\.ndjson|results\.ndjson|spans\.ndjson)", re.ASCII)
READABLE = re.compile("data/(?:(?:code|mappings|examples)(?:/%s)+|config/%s)" % (SEG, SEG))
ENTRY = re.compile(r"log/entries/([0-9]{12})-([a-z][a-z-]{0,31})\.dsse\.json", re.ASCII)
KEY_LEAF = re.compile(
    r"keys/leaves/([0-9]{12})-(genesis|key-transition|key-revocation|redaction|attachment|waiver)\.dsse\.json", re.ASCII
)
NOTE = re.compile(r"log/checkpoints/([0-9]{12})\.note", re.ASCII)
TOKEN = re.compile(r"log/checkpoints/([0-9]{12})\.note\.([a-z0-9][a-z0-9-]{0,31})\.tsr", re.ASCII)
COSIGNATURE = re.compile(r"log/checkpoints/([0-9]{12})\.note\.([0-9a-f]{8})\.cosig", re.ASCII)
CHAIN = re.compile(r"log/checkpoints/([0-9a-f]{64})\.(chain\.pem|crl)")
WITHHELD = re.compile(rb'\{"i":(0|[1-9][0-9]{0,11}),"withheld":"([0-9a-f]{64})"\}')
PATTERNS = (
    (OBJECT, 256 << 20), (REDACTED, 64 << 20), (READABLE, 256 << 20), (re.compile("data/reports/" + SEG), 256 << 20),
    (ENTRY, 65536), (KEY_LEAF, 65536), (NOTE, 4096), (TOKEN, 65536), (COSIGNATURE, 65536), (CHAIN, 1 << 20),
    (re.compile(r"verify/(VERIFY\.md|verify\.py|verify\.sh|verify\.html|words\.txt|head\.svg)"), 4 << 20),
)  # fmt: skip
FIXED = {
    "bagit.txt": 64, "bag-info.txt": 65536, "manifest-sha256.txt": 128 << 20, "tagmanifest-sha256.txt": 128 << 20,
    "log/proof.json": 16 << 20, "keys/log.vkey": 65536, "keys/signer.pem": 65536, "keys/allowed_signers": 65536,
    "keys/tsa-roots.pem": 1 << 20, "seal/bundle.dsse.json": 65536, "seal/bundle.dsse.json.tsr": 65536,
    "seal/bundle.sigstore.json": 262144, "seal/tagmanifest-sha256.txt.sig": 8192, "seal/sha256.txt": 8192,
}  # fmt: skip
REQUIRED = [name for name in FIXED if name not in ("keys/tsa-roots.pem", "seal/bundle.dsse.json.tsr")]
REQUIRED += ["verify/VERIFY.md", "verify/verify.py", "verify/verify.sh", "verify/words.txt"]
STREAMS = ("manifest.ndjson", "results.ndjson", "spans.ndjson")
SEAL, TAGS = "seal/bundle.dsse.json", "tagmanifest-sha256.txt"


def limit_of(path):
    if path in FIXED:
        return FIXED[path]
    if len(path) > 180:
        return None
    found = RUN_FILE.fullmatch(path)
    if found:
        return 32 << 20 if found[2] == "plan.json" else TOTAL_LIMIT
    return next((limit for pattern, limit in PATTERNS if pattern.fullmatch(path)), None)


def list_of(path):
    """The list that names a file."""
    if path.startswith("data/"):
        return "manifest-sha256.txt"
    if path.startswith("seal/"):
        return "" if path == "seal/sha256.txt" else "seal/sha256.txt"
    return "" if path == TAGS else TAGS


def read_list(data):
    lines = data.decode("ascii").split("\n")[:-1]
    listed = {line[66:]: line[:64] for line in lines}
    spelt = "".join("%s  %s\n" % (listed[path], path) for path in sorted(listed)).encode("ascii")
    if spelt != data or not all(map(is_hex, listed.values())):
        raise ValueError("is not spelt as a list of digests")
    return listed


class Stream:
    """A stream of lines, summed up as its bytes come."""

    def __init__(self, check, name, kind):
        self.check, self.name, self.kind = check, name, kind
        self.tree, self.withheld, self.replies, self.problem = Tree(), [], [], ""
        self.rest, self.length = [], 0

    def take(self, chunk):
        if self.problem:
            return
        parts = chunk.split(b"\n")
        try:
            for part in parts[:-1]:
                self.line(b"".join(self.rest) + part)
                self.rest, self.length = [], 0
            self.rest.append(parts[-1])
            self.length += len(parts[-1])
            if self.length > LINE_LIMIT:
                raise ValueError("a line is too long")
        except ValueError as error:
            self.problem = "line %d: %s" % (self.tree.size, error)

    def line(self, line):
        number = self.tree.size
        if len(line) > LINE_LIMIT:
            raise ValueError("a line is too long")
        hidden = WITHHELD.fullmatch(line)
        if hidden:
            if int(hidden[1]) != number:
                raise ValueError("does not bear its number")
            self.check.withheld += 1
            if self.check.withheld > WITHHELD_LIMIT:
                raise ValueError("too many lines are withheld")
            self.withheld.append(number)
            self.tree.add(bytes.fromhex(hidden[2].decode()))
            return
        value = load(line)
        if type(value.get("i")) is not int or value["i"] != number:
            raise ValueError("does not bear its number")
        if not isinstance(value.get("salt"), str) or len(value["salt"]) != 22:
            raise ValueError("has no salt")
        if self.kind == "manifest.ndjson" and value.get("sha256") is not None:
            self.check.name_body(value["sha256"], self.name)
        if self.kind == "spans.ndjson":
            if (
                type(value.get("reply")) is not int
                or not is_hex(value.get("spans"))
                or type(value.get("spanCount")) is not int
            ):
                raise ValueError("names spans in a way that cannot be read")
            self.replies.append(value["reply"])
            if self.check.redacted.setdefault(value["spans"], value["spanCount"]) != value["spanCount"]:
                raise ValueError("names spans otherwise than a line before")
        self.tree.add(leaf_hash(line))

    def end(self):
        if any(self.rest) and not self.problem:
            self.problem = "does not end in a whole line"


def plan_objects(plan):
    """Name of the readable copy and digest of each object a plan names; None when its schema is another."""
    try:
        value = load(plan)
    except ValueError:
        return None
    if value.get("schema") != "affidavit.plan/1":
        return None
    try:
        found = [("data/config/config.yaml", value["config"]["sha256"])]
        found += [("data/code/%s" % one["file"], one["sha256"]) for one in value["code"]]
        found += [("data/%s" % one["file"], one["sha256"]) for one in value["files"]]
        found += [("data/examples/%s" % one["file"], one["sha256"]) for one in value.get("examples", [])]
    except (KeyError, TypeError):
        raise ValueError("does not name its objects as its schema says") from None
    if not all(is_hex(sha256) for _, sha256 in found):
        raise ValueError("does not name its objects as its schema says")
    return found


def redacted_spans(data, root):
    """The number of spans in a reply without its fields."""
    value = load(data)
    spans = value.get("spans")
    if list(value) != ["form", "spans"] or value["form"] not in ("json", "text", "whole") or dump(value) != data:
        raise ValueError("is not spelt as a reply with fields left out")
    if not isinstance(spans, list) or len(spans) < 3 or len(spans) % 2 == 0:
        raise ValueError("is not spelt as a reply with fields left out")
    tree = Tree()
    for place, entry in enumerate(spans):
        names = list(entry) if isinstance(entry, dict) else None
        if place % 2:
            if names != ["leaf"] or not is_hex(entry["leaf"]):
                raise ValueError("is not spelt as a reply with fields left out")
            tree.add(bytes.fromhex(entry["leaf"]))
            continue
        if names not in (["salt", "text"], ["salt", "data"]) or not all(isinstance(v, str) for v in entry.values()):
            raise ValueError("is not spelt as a reply with fields left out")
        if not re.fullmatch("[A-Za-z0-9_-]{22}", entry["salt"]):
            raise ValueError("is not spelt as a reply with fields left out")
        salt = base64.urlsafe_b64decode(entry["salt"] + "==")
        if base64.urlsafe_b64encode(salt).decode().rstrip("=") != entry["salt"]:
            raise ValueError("is not spelt as a reply with fields left out")
        span = entry["text"].encode("utf-8") if "text" in entry else unb64(entry["data"])
        if "data" in entry and is_utf8(span):
            raise ValueError("is not spelt as a reply with fields left out")
        tree.add(leaf_hash(salt + span))
    if tree.root().hex() != root:
        raise ValueError("is not the root over the leaves")
    return len(spans)


class File:
    def __init__(self, size, sha256):
        self.size, self.sha256 = size, sha256
        self.content = self.stream = self.copies = None
        self.spans = 0


class Check:
    """One verification."""

    def __init__(self, roots, lag, since, witnesses=()):
        self.witnesses = {witness.id.hex(): witness for witness in witnesses}
        self.cosigned = []
        self.problems, self.warnings, self.files, self.facts = {}, [], {}, {}
        self.bodies, self.redacted, self.withheld, self.erased, self.attached = {}, {}, 0, {}, {}
        self.roots, self.lag, self.since = roots, lag, since
        self.keys = self.origin = self.head = self.seal = self.policy = None
        self.leaves, self.heads, self.runs, self.attested, self.stamped = [], {}, {}, [], []

    def report(self, path, what):
        if len(self.problems) < 1000:
            self.problems[(path, what)] = None

    def guard(self, path, action, *arguments):
        """Do it; whatever is wrong becomes a problem."""
        try:
            return action(*arguments)
        except (
            Fault,
            ValueError,
            KeyError,
            TypeError,
            OSError,
            OverflowError,
            RecursionError,
            AttributeError,
        ) as error:
            self.report(path, str(error) or type(error).__name__)
            return None

    def content(self, name):
        return self.files[name].content if name in self.files else None

    def name_body(self, sha256, where):
        if not is_hex(sha256):
            raise ValueError("names a body by what is no digest")
        self.bodies.setdefault(sha256, where)
        if len(self.bodies) > FILES_LIMIT:
            raise ValueError("too many bodies are named")

    # 1. names and content
    def read(self, entries):
        seen, held = set(), 0
        for entry in entries:
            name = entry.name
            if name.lower() in seen:
                self.report(printable(name), "occurs twice")
                continue
            seen.add(name.lower())
            limit = limit_of(name)
            if limit is None or entry.size > limit:
                self.report(printable(name), "is longer than %d bytes" % limit if limit else "is not part of a bundle")
                continue
            hold = not name.startswith(("data/", "verify/"))
            held += entry.size if hold else 0
            if held > HELD_LIMIT:
                raise Fault("holds too much of lists, log and keys")
            self.guard(name, self.read_one, name, entry, hold or name == "verify/words.txt")

    def read_one(self, name, entry, hold):
        digest, kept, length = hashlib.sha256(), [], 0
        run_file, redacted = RUN_FILE.fullmatch(name), REDACTED.fullmatch(name)
        kind = run_file[2] if run_file else ""
        stream = Stream(self, name, kind) if kind in STREAMS else None
        for chunk in entry.chunks():
            digest.update(chunk)
            length += len(chunk)
            if stream:
                stream.take(chunk)
            if hold or redacted or kind == "plan.json":
                kept.append(chunk)
        if length != entry.size:
            raise Fault("changed while it was read")
        file = self.files[name] = File(length, digest.hexdigest())
        content = b"".join(kept)
        if stream:
            stream.end()
            file.stream = stream
        if hold:
            file.content = content
        if kind == "plan.json":
            found = plan_objects(content)
            if found is not None:
                file.copies = {path: sha256 for path, sha256 in found if READABLE.fullmatch(path) and limit_of(path)}
                for _, sha256 in found:
                    self.name_body(sha256, name)
        if redacted:
            file.spans = redacted_spans(content, redacted[2])
        found = OBJECT.fullmatch(name)
        if found and file.sha256 != found[2]:
            raise Fault("has other content than its name")

    # 2. the bag
    def bag(self):
        for name in REQUIRED:
            if name not in self.files:
                self.report(name, "is missing")
        bagit = self.content("bagit.txt")
        if bagit is not None and bagit != b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n":
            self.report("bagit.txt", "is not spelt as BagIt 1.0")
        for name in ("manifest-sha256.txt", TAGS, "seal/sha256.txt"):
            data = self.content(name)
            if data is None:
                continue
            listed = self.guard(name, read_list, data) or {}
            for path, sha256 in listed.items():
                if list_of(path) != name or limit_of(path) is None:
                    self.report(name, "lists %s, which is not part of it" % printable(path)[:200])
                elif path not in self.files:
                    self.report(path, "is missing")
                elif self.files[path].sha256 != sha256:
                    self.report(path, "has other content than listed")
            for path in self.files:
                if list_of(path) == name and path not in listed:
                    self.report(path, "is not listed")
        info = self.content("bag-info.txt")
        if info is not None:
            self.guard("bag-info.txt", self.bag_info, info)

    def bag_info(self, data):
        payload = [file.size for name, file in self.files.items() if name.startswith("data/")]
        if self.info(data)["Payload-Oxum"] != "%d.%d" % (sum(payload), len(payload)):
            raise Fault("states another Payload-Oxum than was counted")

    @staticmethod
    def info(data):
        labels = ["Bag-Software-Agent", "Bagging-Date", "External-Description", "External-Identifier", "Payload-Oxum"]
        lines = [line.partition(": ") for line in data.decode("utf-8").split("\n")]
        if [line[0] for line in lines] != [*labels, "Source-Organization", ""] or lines[-1][1]:
            raise ValueError("is not spelt as a bag-info of this format")
        return {label: value for label, _, value in lines}

    # 3. the log
    def log(self):
        data = self.content("log/proof.json")
        if data is not None:
            self.guard("log/proof.json", self.read_log, data)

    def read_log(self, data):
        names = ["format", "origin", "from", "to", "frontier", "consistency", "inclusion", "earlier"]
        proof = load(data[:-1])
        hexes = [proof["frontier"], proof["consistency"], *proof["inclusion"].values()]
        hexes += [one["consistency"] for one in proof["earlier"]] + [[one["root"]] for one in proof["earlier"]]
        good = isinstance(proof["earlier"], list) and isinstance(proof["inclusion"], dict)
        good = good and list(proof) == names and proof["format"] == FORMAT and dump(proof) + b"\n" == data
        good = good and all(isinstance(path, list) and all(map(is_hex, path)) for path in hexes)
        good = good and all(list(one) == ["size", "root", "consistency"] for one in proof["earlier"])
        numbers = [proof["from"], proof["to"], *(one["size"] for one in proof["earlier"])]
        good = good and all(type(number) is int and number >= 0 for number in numbers)
        good = good and all(re.fullmatch("0|[1-9][0-9]{0,11}", index) for index in proof["inclusion"])
        if not good or not isinstance(proof["origin"], str):
            raise Fault("is not spelt as a proof of this format")
        start, end = proof["from"], proof["to"]
        if start >= end or len(proof["frontier"]) != bin(start).count("1"):
            raise Fault("is a proof of nothing")
        self.origin = proof["origin"]
        found, apart = {}, {}
        for name in sorted(self.files):
            entry, key_leaf = ENTRY.fullmatch(name), KEY_LEAF.fullmatch(name)
            if entry or key_leaf:
                self.guard(name, self.leaf, name, entry or key_leaf, entry is not None, start, end, found, apart)
        if len(found) != end - start:
            hole = next(index for index in range(start, end) if index not in found)
            self.report("log/entries", "leaf %d is missing" % hole)
        named = sorted([*found.values(), *apart.values()], key=lambda pair: pair[1].index)
        for name, leaf in named:
            self.guard(name, self.take, name, leaf)
        if self.keys is None:
            self.report("keys/leaves", "leaf 0 is missing")
            return
        self.key_files()
        if len(found) != end - start:
            return
        self.leaves = [found[index][1] for index in sorted(found)]
        self.tree(proof)
        self.apart(proof, apart)

    def leaf(self, name, match, in_range, start, end, found, apart):
        index = int(match[1])
        leaf = Leaf(index, self.content(name))
        if leaf.kind != match[2]:
            raise Fault("is a %s leaf" % leaf.kind)
        if (start <= index < end) != in_range:
            raise Fault("is not in the range" if in_range else "is in the range")
        if in_range and index in found:
            raise Fault("is a second leaf of this number")
        if in_range:
            found[index] = (name, leaf)
        else:
            apart[name] = (name, leaf)

    def take(self, name, leaf):
        if leaf.index == 0:
            try:
                said = leaf.predicate
                key = Key(unb64(said["key"]["spki"]))
                facts = {"origin": self.origin, "key": {"scheme": key.scheme, "spki": said["key"]["spki"]}}
                if leaf.kind != "genesis" or any(said[name] != value for name, value in facts.items()):
                    raise ValueError("other fields")
                if not isinstance(said["policy"], dict):
                    raise ValueError("no policy")
                self.policy = said["policy"]
            except (ValueError, KeyError, TypeError):
                raise Fault("is not the genesis statement of this log") from None
            self.keys = Keys(key)
        elif leaf.kind == "genesis":
            raise Fault("is a second genesis statement")
        if self.keys is None:
            return
        self.keys.take(leaf)
        if leaf.kind == "redaction":
            named = leaf.predicate.get("objects")
            if not isinstance(named, list) or not named or not all(map(is_hex, named)):
                raise Fault("does not say what was erased")
            for sha256 in named:
                self.erased[sha256] = leaf.index
        if leaf.kind == "attachment" and "withdraws" not in leaf.predicate:
            one = leaf.predicate.get("object")
            good = isinstance(one, dict) and set(one) == {"sha256", "size"} and type(one["size"]) is int
            if not good or not is_hex(one["sha256"]) or not 0 < one["size"] <= ATTACHMENT_LIMIT:
                raise Fault("does not say what was attached")
            if leaf.subject.get("attachments/" + one["sha256"]) != one["sha256"]:
                raise Fault("does not sign what was attached")
            self.attached[one["sha256"]] = (name, one["size"])

    def key_files(self):
        current = self.keys.keys[-1]
        kind, blob = current.ssh()
        expected = {
            "keys/log.vkey": "".join(key.vkey(self.origin) + "\n" for key in self.keys.keys),
            "keys/signer.pem": current.pem(),
            "keys/allowed_signers": '%s namespaces="%s" %s %s\n' % (PRINCIPAL, NAMESPACE, kind, b64(blob)),
        }
        for name, text in expected.items():
            if self.content(name) is not None and self.content(name) != text.encode():
                self.report(name, "is not what the leaves say")

    def tree(self, proof):
        start, end = proof["from"], proof["to"]
        notes = {int(found[1]): name for name, found in self.matching(NOTE)}
        marked = {int(found[1]) for pattern in (TOKEN, COSIGNATURE) for _, found in self.matching(pattern)}
        for size, name in notes.items():
            if not start <= size <= end or not size or size not in {start, end} | marked:
                self.report(name, "is not part of a bundle")
        for size in ({start, end} | marked) - set(notes) - {0}:
            self.report("log/checkpoints/%012d.note" % size, "is missing")
        tree = Tree(start, map(bytes.fromhex, proof["frontier"]))
        for leaf in [None, *self.leaves]:
            if leaf is not None:
                name = "log/checkpoints/%012d.note" % leaf.index
                named = leaf.subject.get(name)
                if leaf.index and (named is None or (name in self.files and named != self.files[name].sha256)):
                    entry = "log/entries/%012d-%s.dsse.json" % (leaf.index, leaf.kind)
                    self.report(entry, "does not name the checkpoint it was written after")
                tree.add(leaf_hash(leaf.data))
            self.heads[tree.size] = tree.root()
            if tree.size in notes:
                self.guard(notes[tree.size], self.note, notes[tree.size], tree, end)
        path = list(map(bytes.fromhex, proof["consistency"]))
        if not (consistent(start, end, self.heads[start], self.heads[end], path) if start else not path):
            self.report("log/proof.json", "has a consistency proof that does not hold")

    def matching(self, pattern):
        return [(name, pattern.fullmatch(name)) for name in sorted(self.files) if pattern.fullmatch(name)]

    def note(self, name, tree, end):
        size, root = open_note(self.content(name), self.origin, self.keys.keys[self.keys.at(tree.size)])
        if (size, root) != (tree.size, tree.root()):
            raise Fault("is not the root over the leaves")
        if size == end:
            self.head = (self.origin, size, root)

    def apart(self, proof, apart):
        start, end = proof["from"], proof["to"]
        before = {leaf.index for _, leaf in apart.values() if leaf.index < start}
        if {int(index) for index in proof["inclusion"]} != before:
            self.report("log/proof.json", "has inclusion proofs of other leaves than stand under keys/")
        for name, leaf in apart.values():
            path = list(map(bytes.fromhex, proof["inclusion"].get(str(leaf.index), [])))
            if leaf.index in before and not included(leaf.index, end, leaf_hash(leaf.data), path, self.heads[end]):
                self.report(name, "is not in the log")
        for one in proof["earlier"]:
            root, path = bytes.fromhex(one["root"]), list(map(bytes.fromhex, one["consistency"]))
            if not one["size"] < start or not consistent(one["size"], end, root, self.heads[end], path):
                self.report("log/proof.json", "has a proof from %d leaves that does not hold" % one["size"])
            else:
                self.heads[one["size"]] = root

    # 4. the seal
    def check_seal(self):
        data, tags = self.content(SEAL), self.content(TAGS)
        if data is None:
            return
        envelope = self.guard(SEAL, Envelope, data)
        if envelope is not None:
            self.guard(SEAL, self.sealed, envelope, tags)
        signature = self.content("seal/tagmanifest-sha256.txt.sig")
        if signature is not None and tags is not None and self.keys is not None:
            self.guard("seal/tagmanifest-sha256.txt.sig", self.ssh, signature, tags)
        copy = self.content("seal/bundle.sigstore.json")
        if copy is not None and envelope is not None:
            self.guard("seal/bundle.sigstore.json", self.sigstore, copy, envelope)

    def sealed(self, envelope, tags):
        kind, subject, said = envelope.statement()
        if kind != "bundle" or list(subject) != [TAGS] or len(envelope.signatures) != 1:
            raise Fault("is not the seal of a bundle")
        shape = {
            "format": str, "origin": str, "organisation": str, "recipient": str, "createdOn": str,
            "period": {"from": str, "to": str}, "log": {"from": int, "to": int, "root": str},
            "runs": {"complete": int, "aborted": int, "open": int}, "withheld": {"replies": int, "results": int},
            "selection": {"controls": list, "scopes": list}, "timestamp": {"required": bool},
        }  # fmt: skip

        def fits(value, form):
            if isinstance(form, dict):
                return (
                    isinstance(value, dict) and list(value) == list(form) and all(fits(value[n], form[n]) for n in form)
                )
            if form is list:
                return isinstance(value, list) and all(isinstance(one, str) for one in value)
            return type(value) is form and (form is not int or value >= 0)

        # Attachments that are left out are counted only where there are any: one spelling for each bundle.
        if isinstance(said.get("withheld"), dict) and said["withheld"].get("attachments", 0) != 0:
            shape["withheld"]["attachments"] = int
        if not fits(said, shape) or said["format"] != FORMAT or not is_hex(said["log"]["root"]):
            raise Fault("does not state the facts of a bundle of this format")
        when(said["createdOn"])
        if when(said["period"]["from"]) >= when(said["period"]["to"]) or said["log"]["from"] >= said["log"]["to"]:
            raise Fault("states an impossible period or range")
        self.seal = said
        if tags is not None and subject[TAGS] != hashlib.sha256(tags).hexdigest():
            self.report(TAGS, "is not what was sealed")
        if self.keys is not None and not envelope.signed_by(self.keys.keys[-1]):
            raise Fault("has a signature that does not verify")
        if self.head is not None:
            if (said["origin"], said["log"]["to"], said["log"]["root"]) != (*self.head[:2], self.head[2].hex()):
                self.report(SEAL, "speaks of another head than the log")
            if self.leaves and said["log"]["from"] != self.leaves[0].index:
                self.report(SEAL, "speaks of another range than the log")
            identity = " ".join(head_text(*self.head).split("\n")[:3])
            info = self.content("bag-info.txt")
            try:
                if info is not None and self.info(info)["External-Identifier"] != identity:
                    self.report("bag-info.txt", "names another head than the log")
            except ValueError:
                pass
        required = said["timestamp"]["required"]
        if required != (SEAL + ".tsr" in self.files):
            self.report(SEAL + ".tsr", "is missing" if required else "is not part of this bundle")

    def ssh(self, file, tags):
        key = self.keys.keys[-1]
        kind, blob = key.ssh()
        begin, end = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
        text = file.decode("ascii")
        data = unb64(text[len(begin) : -len(end)].replace("\n", ""))
        front = b"SSHSIG" + struct.pack(">I", 1) + strings(blob, NAMESPACE.encode(), b"", b"sha512")
        lines = "".join(b64(data)[i : i + 70] + "\n" for i in range(0, len(b64(data)), 70))
        if begin + lines + end != text or data[: len(front)] != front:
            raise Fault("is not spelt as an SSH signature by this key for this namespace")
        parts, rest = [], data[len(front) + 4 :]
        if len(rest) != int.from_bytes(data[len(front) : len(front) + 4], "big"):
            raise Fault("is not spelt as an SSH signature")
        while rest:
            length = int.from_bytes(rest[:4], "big")
            parts.append(rest[4 : 4 + length])
            if len(rest) < 4 + length:
                raise Fault("is not spelt as an SSH signature")
            rest = rest[4 + length :]
        if len(parts) != 2 or parts[0] != kind.encode():
            raise Fault("is not spelt as an SSH signature")
        signature = parts[1]
        if kind != "ssh-ed25519":
            signature = self.to_der(parts[1])
        signed = b"SSHSIG" + strings(NAMESPACE.encode(), b"", b"sha512", hashlib.sha512(tags).digest())
        if not key.verifies(signature, signed):
            raise Fault("has a signature that does not verify")

    @staticmethod
    def to_der(blob):
        """Two SSH integers as DER: both are spelt the same way, in two's complement without needless bytes."""
        out, count = b"", 0
        while blob:
            length = int.from_bytes(blob[:4], "big")
            if len(blob) < 4 + length or length > 127:
                raise Fault("is not spelt as an SSH signature")
            out += b"\x02" + bytes([length]) + blob[4 : 4 + length]
            blob, count = blob[4 + length :], count + 1
        return b"\x30" + bytes([len(out)]) + out if count == 2 and len(out) < 128 else b""

    def sigstore(self, data, envelope):
        try:
            stamps = load(data)["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
            token = unb64(stamps[0]["signedTimestamp"]) if stamps else None
            ((keyid, signature),) = envelope.signatures
            expected = {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "publicKey": {"hint": keyid},
                    "tlogEntries": [],
                    "timestampVerificationData": {
                        "rfc3161Timestamps": [] if token is None else [{"signedTimestamp": b64(token)}]
                    },
                },
                "dsseEnvelope": {
                    "payload": b64(envelope.payload),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"sig": b64(signature), "keyid": keyid}],
                },
            }
            if dump(expected) != data:
                raise ValueError("other content")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise Fault("is not spelt as the Sigstore bundle of the seal") from None
        if self.seal is not None and (token is not None) != self.seal["timestamp"]["required"]:
            raise Fault("holds a time stamp against what is sealed, or lacks it")
        if token is not None:
            self.stamp("seal/bundle.sigstore.json", token, signature)

    # 5. runs and objects
    def check_runs(self):
        last = None
        for leaf in self.leaves:
            name = "log/entries/%012d-%s.dsse.json" % (leaf.index, leaf.kind)
            try:
                last = self.tell(leaf, last)
            except (Fault, ValueError, KeyError, TypeError) as error:
                self.report(name, str(error))
        kept = {number for number, (_, ending) in self.runs.items() if ending and "objects.pack" in ending.subject}
        for name, found in self.matching(RUN_FILE):
            if self.leaves and int(found[1]) not in kept:
                self.report(name, "belongs to no run of the bundle")
        hidden = {"manifest.ndjson": 0, "results.ndjson": 0}
        for number in sorted(kept):
            self.run(number, hidden)
        if self.leaves:
            self.objects(kept)
        if self.seal is not None and self.leaves:
            counts = {"complete": 0, "aborted": 0, "open": 0}
            for _, ending in self.runs.values():
                counts["open" if ending is None else "complete" if ending.kind == "run-close" else "aborted"] += 1
            if counts != self.seal["runs"]:
                self.report(SEAL, "speaks of other runs than the log")
            if [self.seal["withheld"][name] for name in ("replies", "results")] != list(hidden.values()):
                self.report(SEAL, "speaks of another number of withheld lines")
            begin, end = when(self.seal["period"]["from"]), when(self.seal["period"]["to"])
            if not any(begin <= leaf.recorded_on < end for leaf in self.leaves):
                self.report(SEAL, "speaks of a period in which nothing of the range was recorded")
            if self.leaves[-1].recorded_on < end:
                self.warnings.append(
                    "the last leaf was recorded before the period ends: nothing here shows what was recorded after it"
                )
            first = self.leaves[0]
            if first.index and first.recorded_on >= when(self.seal["period"]["from"]):
                self.report(
                    "log/entries/%012d-%s.dsse.json" % (first.index, first.kind), "begins after the period does"
                )
        for before, after in zip(self.leaves, self.leaves[1:]):
            if after.recorded_on < before.recorded_on:
                self.warnings.append("the clock went back between leaf %d and leaf %d" % (before.index, after.index))

    def tell(self, leaf, last):
        if leaf.kind not in ("run-open", "run-close", "run-abort"):
            return last
        number = leaf.predicate.get("run")
        if type(number) is not int or not 0 < number < 10**8:
            raise Fault("names no run")
        opening, ending = self.runs.get(last, (None, None))
        if leaf.kind == "run-open":
            expected = last + 1 if last is not None else number if self.leaves[0].index else 1
            if number != expected or (opening is not None and ending is None):
                raise Fault("opens a run out of turn")
            if "plan.json" not in leaf.subject:
                raise Fault("opens a run without a plan")
            inside = self.seal is None or leaf.recorded_on < when(self.seal["period"]["to"])
            if inside or leaf is not self.leaves[-1]:
                self.runs[number] = (leaf, None)
            return number
        if opening is None and leaf is self.leaves[0]:
            return number
        if opening is None or ending is not None or number != last:
            raise Fault("ends a run that is not open")
        self.runs[number] = (opening, leaf)
        place = leaf.predicate.get("openIndex")
        if type(place) is not int or place != opening.index:
            raise Fault("ends a run opened by another leaf")
        plan = opening.subject["plan.json"]
        if (
            leaf.kind == "run-close"
            and "objects.pack" not in leaf.subject
            or leaf.subject.get("plan.json", plan) != plan
        ):
            raise Fault("ends a run without its files, or with another plan")
        return number

    def run(self, number, hidden):
        opening, ending = self.runs[number]
        folder = "data/runs/%08d/" % number
        if folder + "plan.json" not in self.files:
            self.report(folder + "plan.json", "is missing")
        elif any(one.subject.get("plan.json") != self.files[folder + "plan.json"].sha256 for one in (opening, ending)):
            self.report(folder + "plan.json", "is not what was sealed")
        fields_left_out = any(REDACTED.fullmatch(name) or name.endswith("/spans.ndjson") for name in self.files)
        for kind in STREAMS:
            name, facts = folder + kind, ending.predicate.get(kind[: -len(".ndjson")])
            if name not in self.files or self.files[name].stream is None:
                if kind != "spans.ndjson" or (facts is not None and fields_left_out):
                    self.report(name, "is missing")
                continue
            stream = self.files[name].stream
            if kind in hidden:
                hidden[kind] += len(stream.withheld)
            self.guard(name, self.lines, name, stream, kind, facts, ending)

    def lines(self, name, stream, kind, facts, ending):
        if stream.problem:
            raise Fault(stream.problem)
        if not isinstance(facts, dict):
            raise Fault("is not described by its leaf")
        if type(facts.get("leaves")) is not int or isinstance(facts.get("size"), bool):
            raise Fault("is not described by its leaf")
        if (stream.tree.root().hex(), stream.tree.size) != (facts.get("root"), facts["leaves"]):
            raise Fault("is not the root over the leaves")
        file = self.files[name]
        if kind == "spans.ndjson":
            if not stream.withheld and file.size != facts.get("size"):
                raise Fault("is not what was sealed")
            beside = self.files.get(name.replace("spans.", "manifest."))
            shown = set(beside.stream.withheld) if beside is not None and beside.stream is not None else set()
            if len(set(stream.replies)) != len(stream.replies) or not shown.issuperset(stream.replies):
                raise Fault("stands for a reply that is shown, or twice for one")
        elif not stream.withheld and (file.sha256, file.size) != (ending.subject.get(kind), facts.get("size")):
            raise Fault("is not what was sealed")

    def attachments(self, present):
        """What people attached is there, was erased, or is left out and counted in the seal."""
        stated = self.seal["withheld"].get("attachments", 0) if self.seal is not None else 0
        left_out = 0
        for sha256, (where, size) in self.attached.items():
            name = "data/objects/%s/%s" % (sha256[:2], sha256)
            if sha256 in present:
                if self.files[name].size != size:
                    self.report(name, "has another size than %s says" % where)
            elif sha256 not in self.erased:
                left_out += 1
                if not stated:
                    self.report(name, "is missing, though %s names it" % where)
        if stated and stated != left_out:
            self.report(SEAL, "speaks of another number of attachments that are left out")

    def objects(self, kept):
        present = {found[2] for _, found in self.matching(OBJECT)}
        gone = {}
        for sha256, where in self.bodies.items():
            if sha256 in present:
                continue
            if sha256 in self.erased:
                gone[self.erased[sha256]] = gone.get(self.erased[sha256], 0) + 1
            else:
                self.report("data/objects/%s/%s" % (sha256[:2], sha256), "is missing, though %s names it" % where)
        for sha256 in self.attached:
            if sha256 in self.erased and sha256 not in present and sha256 not in self.bodies:
                gone[self.erased[sha256]] = gone.get(self.erased[sha256], 0) + 1
        for leaf, count in sorted(gone.items()):
            text = "%d bodies were erased under leaf %d: what rests on them cannot be re-performed"
            self.warnings.append(text % (count, leaf))
        self.attachments(present)
        for sha256 in present - set(self.bodies) - set(self.attached):
            self.report("data/objects/%s/%s" % (sha256[:2], sha256), "is named by nothing")
        for root, count in self.redacted.items():
            name = "data/redacted/%s/%s.json" % (root[:2], root)
            if name not in self.files:
                self.report(name, "is missing")
            elif self.files[name].spans != count:
                self.report(name, "has another number of spans than its line says")
        for name, found in self.matching(REDACTED):
            if found[2] not in self.redacted:
                self.report(name, "is named by nothing")
        copies = {}
        for number in sorted(kept):
            file = self.files.get("data/runs/%08d/plan.json" % number)
            if file is not None and file.copies is not None:
                copies = file.copies
        for name, _ in self.matching(READABLE):
            if copies.get(name) != self.files[name].sha256:
                self.report(name, "is not what the newest plan names")

    # 6. time stamps
    def check_stamps(self):
        tokens = {(int(found[1]), found[2]): name for name, found in self.matching(TOKEN)}
        if self.leaves:
            for leaf in self.leaves:
                if leaf.kind == "anchor":
                    self.guard("log/entries", self.anchored, leaf)
            for (size, authority), name in sorted(tokens.items()):
                note = self.content("log/checkpoints/%012d.note" % size)
                if note is None:
                    continue
                moment = self.guard(name, self.stamp, name, self.content(name), note)
                if moment is not None:
                    self.attested.append((size, moment))
                    self.stamped.append((size, authority, moment))
            if self.content(SEAL + ".tsr") is not None and self.content(SEAL) is not None:
                self.guard(SEAL + ".tsr", self.stamp, SEAL + ".tsr", self.content(SEAL + ".tsr"), self.content(SEAL))
        if (tokens or SEAL + ".tsr" in self.files) and self.roots is None:
            self.warnings.append("time stamps were not checked: no roots were given to check them with")
        if self.leaves:
            self.check_cosignatures()
        for name, found in self.matching(CHAIN):
            if self.files[name].sha256 != found[1]:
                self.report(name, "is not what its name says")
        self.guard("log/entries", self.in_time)
        if self.keys is not None:
            for what in self.keys.problems(self.attested):
                self.report("log/entries", what)

    def unattested(self, kept):
        """What nobody outside has shown, in one line; kept is the size of the earlier head that was given and found."""
        covered = max([kept] + [size for size, _ in self.attested])
        bare = [number for number, (_, end) in sorted(self.runs.items()) if end is not None and end.index >= covered]
        if not covered:
            self.warnings.append(NO_ANCHOR)
        elif kept <= max([leaf.index for leaf in self.leaves if leaf.kind != "anchor"] or [0]):
            text = ""
            if bare:
                text = "run %d is" % bare[0] if len(bare) == 1 else "runs %d to %d are" % (bare[0], bare[-1])
                text += " covered by no outside anchor that was checked, and could be cut off unseen; "
            self.warnings.append(text + OPEN_END)

    def check_cosignatures(self):
        seen, strangers = set(), 0
        for name, found in self.matching(COSIGNATURE):
            note = self.content("log/checkpoints/%s.note" % found[1])
            if note is None:
                continue
            seen.add(found[2])
            if found[2] not in self.witnesses:
                strangers += 1
                continue
            moment = self.guard(name, self.witnesses[found[2]].opened, self.content(name), note)
            if moment is not None:
                self.attested.append((int(found[1]), moment))
                self.cosigned.append((int(found[1]), self.witnesses[found[2]].name, moment))
        if strangers:
            self.warnings.append("%d cosignatures were not checked: their witness's key was not given" % strangers)
        for keyid, witness in self.witnesses.items():
            if keyid not in seen:
                self.report(
                    "log/checkpoints", "holds no cosignature of witness %s, whose key was given" % witness.name
                )

    def anchored(self, leaf):
        anchors = leaf.predicate.get("anchors", [])
        if not isinstance(anchors, list):
            raise Fault("leaf %d names an anchor that cannot be one" % leaf.index)
        for entry in anchors:
            if entry["kind"] not in ("tsr", "cosig", "chain", "crl", *COPY_KINDS):
                continue
            if type(entry["checkpointSize"]) is not int or not is_hex(entry["sha256"]):
                raise Fault("leaf %d names an anchor that cannot be one" % leaf.index)
            if entry["kind"] in COPY_KINDS:
                if not re.fullmatch("[ -~]{1,256}", entry["where"]):
                    raise Fault("leaf %d names an anchor that cannot be one" % leaf.index)
                continue
            if entry["kind"] in ("chain", "crl"):
                kind = "chain.pem" if entry["kind"] == "chain" else "crl"
                name = "log/checkpoints/%s.%s" % (entry["sha256"], kind)
                if name not in self.files:
                    self.report(name, "is missing")
                continue
            name = "log/checkpoints/%012d.note." % entry["checkpointSize"]
            if entry["kind"] == "tsr":
                name += entry["authority"] + ".tsr"
            else:
                name += entry["keyid"] + ".cosig"
            if not (TOKEN.fullmatch(name) or COSIGNATURE.fullmatch(name)):
                raise Fault("leaf %d names an anchor that cannot be one" % leaf.index)
            inside = self.leaves[0].index < entry["checkpointSize"] <= self.leaves[-1].index + 1
            if name in self.files and self.files[name].sha256 != entry["sha256"]:
                self.report(name, "is not the reply the log names")
            elif inside and name not in self.files:
                self.report(name, "is missing")

    def stamp(self, name, reply, data):
        """The time of a token over data; None when only its imprint was looked at."""
        if hashlib.sha256(data).digest() not in reply:
            raise Fault("is not a time stamp over its file")
        if self.roots is None:
            return None
        chain = b"".join(
            self.content(path).rstrip(b"\n") + b"\n" for path, found in self.matching(CHAIN) if "chain" in found[2]
        )
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for option, content in (("in", reply), ("data", data), ("CAfile", self.roots), ("untrusted", chain)):
                if content:
                    paths[option] = os.path.join(folder, option)
                    with open(paths[option], "wb") as file:
                        file.write(content)
            text = self.openssl("-reply", "-text", "-in", paths["in"])
            found = re.search(
                r"^Time stamp: (\w{3}) ([ \d]\d) (\d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", text or "", re.M
            )
            if not found:
                raise Fault("the time stamp does not verify (openssl does not read it, or is not there)")
            moment = datetime.strptime("%s %s %s %s" % found.groups(), "%b %d %H:%M:%S %Y").replace(tzinfo=timezone.utc)
            arguments = ["-verify", "-attime", str(int(moment.timestamp()))]
            for option, path in paths.items():
                arguments += ["-" + option, path]
            if self.openssl(*arguments) is None:
                raise Fault("the time stamp does not verify")
        return moment

    @staticmethod
    def openssl(*arguments):
        try:
            environment = dict(os.environ, LC_ALL="C")
            done = subprocess.run(["openssl", "ts", *arguments], capture_output=True, timeout=60, env=environment)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

    def in_time(self):
        demanded = (self.policy or {}).get("timestamp", {})
        if not isinstance(demanded, dict) or not set(demanded) <= {"required", "maxLagHours"}:
            raise Fault("leaf 0 demands of time stamps what this verifier does not know")
        hours = demanded.get("maxLagHours", 24)
        if isinstance(hours, bool) or not isinstance(hours, (int, float)) or not 0 < hours <= 100_000:
            raise Fault("leaf 0 has an impossible maxLagHours")
        limit = min(self.lag, timedelta(hours=hours)) if "maxLagHours" in demanded else self.lag
        for number, (_, ending) in self.runs.items():
            if ending is None:
                continue
            times = [moment for size, _, moment in self.stamped if size > ending.index]
            where = "runs/%08d" % number
            if not times and demanded.get("required") is True:
                self.report(where, "no time stamp that was checked covers it, and the log's policy demands one")
            if times and min(times) - ending.recorded_on > limit:
                self.report(where, "was stamped %s after the time it claims" % lasting(min(times) - ending.recorded_on))
            if times and ending.recorded_on - min(times) > SKEW:
                late = lasting(ending.recorded_on - min(times))
                self.report(where, "claims a time %s after the stamp that covers it" % late)

    # 7. earlier heads
    def words(self):
        data = self.content("verify/words.txt")
        if data is None or hashlib.sha256(data).hexdigest() != WORDS_SHA256:
            self.report("verify/words.txt", "is not the list of this format")
            return None
        return data.decode("ascii").split()

    def extends(self, words):
        """The size of the earlier head that was given, where this log extends it; else 0, and a problem."""
        wanted = self.since
        if isinstance(wanted, list):
            places = {word[:4]: (number, word) for number, word in enumerate(words or [])}
            number = 0
            for short in wanted:
                place, word = places.get(short[:4], (0, ""))
                if not word.startswith(short) or not word:
                    raise Usage("%r is not in the list of words" % short)
                number = number << 11 | place
            wanted = (number >> 4).to_bytes(16, "big")
            if hashlib.sha256(wanted).digest()[0] >> 4 != number & 15:
                raise Usage("the twelve words do not fit together: compare each with the report")
        for size, root in self.heads.items():
            if self.head is None or not size:
                continue
            text = head_text(self.origin, size, root)
            if wanted == text or wanted == head_digest(text):
                self.facts["since"] = "extends the head of %d leaves" % size
                return size
        self.report(
            "log/proof.json",
            "does not extend the earlier head: the log was rewritten, or the bundle has no proof from it",
        )
        return 0


def head_digest(text):
    return hashlib.sha256(b"affidavit head 1\n" + text.encode()).digest()[:16]


def spell(text, words):
    data = head_digest(text)
    number = int.from_bytes(data, "big") << 4 | hashlib.sha256(data).digest()[0] >> 4
    return " ".join(words[number >> shift & 2047] for shift in range(121, -1, -11))


def verify(path, pin=None, roots=None, lag=24.0, since=None, witnesses=()):
    """Check a bundle; gives a dict with ok, authenticated, problems, warnings and facts."""
    if not self_test():
        raise Usage("the arithmetic of this Python is wrong: nothing can be verified with it")
    check = Check(roots, timedelta(hours=lag), since, witnesses)
    try:
        if os.path.isdir(path):
            check.read(folder_entries(path, check.report))
        else:
            with open(path, "rb") as file:
                magic = file.read(4)
                if magic == b"PK\x03\x04":
                    check.read(Zip(file).entries(check.report))
                elif magic == b"\x28\xb5\x2f\xfd":
                    check.read(tar_entries(path, check.report))
                else:
                    raise Usage("%s is neither a folder, a zip nor a tar.zst" % path)
    except OSError as error:
        raise Usage("cannot read %s: %s" % (path, error.strerror)) from None
    except Fault as error:
        check.report(".", str(error))
    for step in (check.bag, check.log, check.check_seal, check.check_runs, check.check_stamps):
        step()
    words = check.words()
    check.unattested(0 if since is None else check.extends(words))
    trusted = False
    if pin is None:
        check.warnings.append("consistent, signer not authenticated: no key was given to verify with")
    elif check.keys is not None:
        why = check.keys.refuses(pin, check.attested)
        trusted = not why
        if why:
            check.report("keys/signer.pem", why)
    facts = check.facts
    if check.keys is not None:
        facts["key"] = check.keys.keys[-1].fingerprint
    if check.head is not None:
        facts.update(origin=check.head[0], size=check.head[1], root=check.head[2].hex())
        if words:
            facts["words"] = spell(head_text(*check.head), words)
    if check.seal is not None:
        facts.update(
            {
                name: check.seal[name]
                for name in ("organisation", "recipient", "period", "runs", "withheld", "selection")
            }
        )
    streams = [file.stream for name, file in check.files.items() if name.endswith("/manifest.ndjson") and file.stream]
    facts["replies"] = sum(stream.tree.size - len(stream.withheld) for stream in streams)
    facts["objects"] = len(check.matching(OBJECT))
    facts["leaves"] = len(check.leaves)
    facts["stamps"] = [
        "checkpoint %d at %s by %s" % (s, m.strftime("%Y-%m-%dT%H:%M:%SZ"), a) for s, a, m in check.stamped
    ]
    facts["cosigned"] = [
        "checkpoint %d at %s by %s" % (s, m.strftime("%Y-%m-%dT%H:%M:%SZ"), w) for s, w, m in check.cosigned
    ]
    problems = sorted(check.problems)
    return {
        "ok": trusted and not problems,
        "authenticated": trusted and not problems,
        "problems": [{"path": path, "what": what} for path, what in problems],
        "warnings": check.warnings,
        "facts": facts,
    }


def read_since(text):
    """Twelve words as a list, or the three lines of a note."""
    if os.path.isfile(text):
        with open(text, encoding="utf-8") as file:
            lines = file.read(8192).replace("\r\n", "\n").split("\n")
        if len(lines) < 3 or not re.fullmatch("[0-9]{1,12}", lines[1], re.ASCII):
            raise Usage("%s is not the head of a log" % text)
        return "\n".join(lines[:3]) + "\n"
    words = text.lower().split()
    if len(words) != 12:
        raise Usage("%d words are given, a head has 12" % len(words))
    return words


def in_words(name, value):
    """The lines that tell a fact to people."""
    if name == "period":
        return ["%(from)s to %(to)s" % value]
    if name == "selection":
        return ["%s %s" % (kind, ", ".join(map(str, value[kind]))) for kind in ("controls", "scopes") if value[kind]]
    if isinstance(value, dict):
        return [", ".join("%s %s" % (count, what) for what, count in value.items())]
    return value if isinstance(value, list) else [value]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="verify.py", description="Check a bundle of sealed evidence.")
    parser.add_argument("bundle", metavar="BUNDLE")
    parser.add_argument(
        "--key", metavar="FINGERPRINT", help="hex SHA-256 of the signer's public key, from outside the bundle"
    )
    parser.add_argument("--tsa-roots", metavar="PEM", help="root certificates of the time-stamp authorities")
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="key of a witness; it must have cosigned"
    )
    parser.add_argument("--max-stamp-lag-h", type=float, default=24.0, metavar="HOURS")
    parser.add_argument("--since", metavar="WORDS_OR_FILE", help="an earlier head that this bundle must extend")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    try:
        pin = given.key and given.key.strip().lower()
        pin = pin[7:] if pin and pin.startswith("sha256:") else pin
        if pin is not None and not is_hex(pin):
            raise Usage("%r is not a key fingerprint" % given.key)
        if not 0 < given.max_stamp_lag_h <= 100_000:
            raise Usage("a lag of %s hours is impossible" % given.max_stamp_lag_h)
        roots = None
        if given.tsa_roots:
            with open(given.tsa_roots, "rb") as file:
                roots = file.read(1 << 20)
        since = read_since(given.since) if given.since else None
        witnesses = [Witness(text) for text in given.witness]
        found = verify(given.bundle, pin, roots, given.max_stamp_lag_h, since, witnesses)
    except (Usage, OSError) as error:
        print("error: %s" % error, file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(found, indent=2))
        return 0 if found["ok"] else 4
    for name, value in found["facts"].items():
        for line in in_words(name, value):
            print("%-12s %s" % (name, line))
    for problem in found["problems"]:
        print("problem: %(path)s: %(what)s" % problem)
    for warning in found["warnings"]:
        print("warning: %s" % warning)
    if found["ok"]:
        print("verified")
        print("This shows what the collector recorded, in full and in order; not that the recorded answers were true.")
    elif found["problems"]:
        print("NOT verified (%d problems)" % len(found["problems"]))
    else:
        print("consistent, signer not authenticated")
    print(
        "The fingerprint is %s: compare it with the one you were given outside this bundle." % found["facts"].get("key")
    )
    return 0 if found["ok"] else 4


if __name__ == "__main__":
    sys.exit(main())
