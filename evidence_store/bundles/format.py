"""What a bundle looks like, byte for byte (docs/bundle-format.md): allowed paths, lists, facts of the seal, proof."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evidence_store import layout
from evidence_store.dsse import ENVELOPE_LIMIT
from evidence_store.note import NOTE_LIMIT, Checkpoint
from evidence_store.pack import OBJECT_LIMIT
from evidence_store.spelling import HEX256, dump, load, unstamp
from evidence_store.tokens import TOKEN_LIMIT

FORMAT = "affidavit/bundle/1"
KIND = "bundle"
"""Kind of the statement that seals a bundle; it is never a leaf."""
NAMESPACE = "evidence-bundle@affidavit.example"
PRINCIPAL = "evidence-store"
PLAN_SCHEMA = "affidavit.plan/1"

BAGIT, INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAGS = "manifest-sha256.txt", "tagmanifest-sha256.txt"
PROOF = "log/proof.json"
VKEY, SIGNER, ALLOWED, ROOTS = "keys/log.vkey", "keys/signer.pem", "keys/allowed_signers", "keys/tsa-roots.pem"
SEAL, SIGSTORE = "seal/bundle.dsse.json", "seal/bundle.sigstore.json"
SEAL_TOKEN = SEAL + ".tsr"
SSH = f"seal/{TAGS}.sig"
SEAL_LIST = "seal/sha256.txt"
GUIDE, ONE_FILE, SHELL, PAGE = "verify/VERIFY.md", "verify/verify.py", "verify/verify.sh", "verify/verify.html"
WORDS, QR = "verify/words.txt", "verify/head.svg"
REQUIRED = (
    BAGIT, INFO, MANIFEST, TAGS, PROOF, VKEY, SIGNER, ALLOWED, SEAL, SIGSTORE, SSH, SEAL_LIST,
    GUIDE, ONE_FILE, SHELL, WORDS,
)  # fmt: skip
BAGIT_TEXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

PATH_LIMIT = 180
LIST_LIMIT = 128 << 20
PROOF_LIMIT = 16 << 20
PLAN_LIMIT = 32 << 20
LINES_LIMIT = 64 << 30
REDACTED_LIMIT = 64 << 20
WITHHELD_LIMIT = 10_000_000
"""Most withheld lines of a bundle."""
LARGE, SMALL = 1 << 20, 65536

_SEG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
RUN_FILE = re.compile(r"data/runs/([0-9]{8})/(plan\.json|manifest\.ndjson|results\.ndjson|spans\.ndjson)")
REDACTED = re.compile(r"data/redacted/([0-9a-f]{2})/(\1[0-9a-f]{62})\.json")
OBJECT = re.compile(r"data/objects/([0-9a-f]{2})/(\1[0-9a-f]{62})")
READABLE = re.compile(rf"data/(?:(?:code|mappings|examples)(?:/{_SEG})+|config/{_SEG})")
REPORT = re.compile(rf"data/reports/{_SEG}")
ENTRY = re.compile(r"log/entries/([0-9]{12})-([a-z][a-z-]{0,31})\.dsse\.json")
KEY_LEAF = re.compile(
    r"keys/leaves/([0-9]{12})-(genesis|key-transition|key-revocation|redaction|attachment|waiver)\.dsse\.json"
)
NOTE, TOKEN, COSIGNATURE, CHAIN = layout.NOTE_FILE, layout.TOKEN_FILE, layout.COSIGNATURE_FILE, layout.CHAIN_FILE
"""Checkpoints, and what is said of them, stand in a bundle where they stand in the store."""
VERIFIERS = re.compile("|".join(map(re.escape, (GUIDE, ONE_FILE, SHELL, PAGE, WORDS, QR))))

_ALLOWED = (
    (OBJECT, OBJECT_LIMIT), (REDACTED, REDACTED_LIMIT), (READABLE, OBJECT_LIMIT), (REPORT, OBJECT_LIMIT),
    (ENTRY, ENVELOPE_LIMIT), (KEY_LEAF, ENVELOPE_LIMIT), (NOTE, NOTE_LIMIT), (TOKEN, TOKEN_LIMIT), (COSIGNATURE, SMALL),
    (CHAIN, LARGE), (VERIFIERS, 4 * LARGE),
)  # fmt: skip
_FIXED = {
    BAGIT: 64, INFO: SMALL, MANIFEST: LIST_LIMIT, TAGS: LIST_LIMIT, PROOF: PROOF_LIMIT, VKEY: SMALL, SIGNER: SMALL,
    ALLOWED: SMALL, ROOTS: LARGE, SEAL: ENVELOPE_LIMIT, SEAL_TOKEN: TOKEN_LIMIT, SIGSTORE: 262144,
    SSH: 8192, SEAL_LIST: 8192,
}  # fmt: skip


def limit_of(path: str) -> int | None:
    """Most bytes a file may have; ``None`` when a bundle has no such file."""
    if path in _FIXED:
        return _FIXED[path]
    if len(path) > PATH_LIMIT:
        return None
    if found := RUN_FILE.fullmatch(path):
        return PLAN_LIMIT if found[2] == "plan.json" else LINES_LIMIT
    return next((limit for pattern, limit in _ALLOWED if pattern.fullmatch(path)), None)


def object_name(sha256: str) -> str:
    """Where a body stands."""
    return f"data/objects/{sha256[:2]}/{sha256}"


def redacted_name(root: str) -> str:
    """Where a reply stands whose fields are left out."""
    return f"data/redacted/{root[:2]}/{root}.json"


def run_file(number: int, name: str) -> str:
    """Where a file of a run stands."""
    return f"data/runs/{number:08d}/{name}"


def entry_name(index: int, kind: str) -> str:
    """Where a leaf of the range stands."""
    return f"log/entries/{index:012d}-{kind}.dsse.json"


def key_leaf_name(index: int, kind: str) -> str:
    """Where a leaf about keys stands that is not in the range."""
    return f"keys/leaves/{index:012d}-{kind}.dsse.json"


def spell_list(digests: Mapping[str, str]) -> bytes:
    """Lines that ``sha256sum -c`` reads, in byte order of their paths."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode("ascii")


def read_list(data: bytes) -> dict[str, str]:
    """Digest by path.

    Raises:
        ValueError: it is not spelt as :func:`spell_list` does.
    """
    digests = {}
    for line in data.decode("ascii").split("\n")[:-1]:
        digests[line[66:]] = line[:64]
    if not all(map(HEX256.fullmatch, digests.values())) or spell_list(digests) != data:
        raise ValueError("is not spelt as a list of digests")
    return digests


def part_of(path: str) -> str:
    """The list that names a file; none names the list of the seal, nor the list of tag files."""
    if path.startswith("data/"):
        return MANIFEST
    if path.startswith("seal/"):
        return SEAL_LIST if path != SEAL_LIST else ""
    return TAGS if path != TAGS else ""


def bag_info(head: Checkpoint, oxum: str, date: str, description: str, organisation: str) -> bytes:
    """Content of ``bag-info.txt``."""
    lines = {
        "Bag-Software-Agent": "affidavit",
        "Bagging-Date": date,
        "External-Description": description,
        "External-Identifier": " ".join(head.text().split("\n")[:3]),
        "Payload-Oxum": oxum,
        "Source-Organization": organisation,
    }
    return "".join(f"{label}: {value}\n" for label, value in lines.items()).encode()


def read_bag_info(data: bytes) -> dict[str, str]:
    """Value by label.

    Raises:
        ValueError: it is not spelt as :func:`bag_info` does.
    """
    lines = [line.partition(": ") for line in data.decode("utf-8").split("\n")]
    found = {label: value for label, _, value in lines[:-1]}
    labels = [
        "Bag-Software-Agent", "Bagging-Date", "External-Description", "External-Identifier", "Payload-Oxum",
        "Source-Organization",
    ]  # fmt: skip
    if [label for label, _, _ in lines] != [*labels, ""] or lines[-1] != ("", "", ""):
        raise ValueError("is not spelt as a bag-info of this format")
    return found


@dataclass(frozen=True, slots=True)
class Facts:
    """What the seal of a bundle says beside the digest of the tag manifest."""

    origin: str
    """Name of the log."""
    organisation: str
    """Whose evidence it is, as configured."""
    recipient: str
    """For whom it was made."""
    created_on: str
    """When, by the clock of the machine."""
    period: tuple[str, str]
    """First moment of the period, and first moment after it."""
    start: int
    """First leaf of the range."""
    end: int
    """First leaf after the range."""
    root: str
    """Root over the leaves before ``end``, in hex."""
    runs: Mapping[str, int]
    """Number of runs by state."""
    withheld_replies: int
    withheld_results: int
    controls: tuple[str, ...] = ()
    """Controls it was restricted to; empty for all."""
    scopes: tuple[str, ...] = ()
    """Scopes it was restricted to; empty for all."""
    stamped: bool = False
    """Whether a time stamp over the seal must be there."""
    withheld_attachments: int = 0
    """Attachments whose leaf is there and whose bytes are left out."""

    def predicate(self) -> dict[str, Any]:
        """As it is signed."""
        return {
            "format": FORMAT,
            "origin": self.origin,
            "organisation": self.organisation,
            "recipient": self.recipient,
            "createdOn": self.created_on,
            "period": {"from": self.period[0], "to": self.period[1]},
            "log": {"from": self.start, "to": self.end, "root": self.root},
            "runs": {state: self.runs[state] for state in ("complete", "aborted", "open")},
            "withheld": {"replies": self.withheld_replies, "results": self.withheld_results}
            | ({"attachments": self.withheld_attachments} if self.withheld_attachments else {}),
            "selection": {"controls": list(self.controls), "scopes": list(self.scopes)},
            "timestamp": {"required": self.stamped},
        }

    @classmethod
    def read(cls, predicate: Mapping[str, Any]) -> Facts:
        """The facts in a predicate.

        Raises:
            ValueError: it is not one that :meth:`predicate` writes.
        """
        try:
            period, log, withheld = predicate["period"], predicate["log"], predicate["withheld"]
            selection = predicate["selection"]
            facts = cls(
                predicate["origin"], predicate["organisation"], predicate["recipient"], predicate["createdOn"],
                (period["from"], period["to"]), log["from"], log["to"], log["root"], predicate["runs"],
                withheld["replies"], withheld["results"], tuple(selection["controls"]), tuple(selection["scopes"]),
                predicate["timestamp"]["required"], withheld.get("attachments", 0),
            )  # fmt: skip
            counts = (facts.start, facts.end, facts.withheld_replies, facts.withheld_results, *facts.runs.values())
            counts += (facts.withheld_attachments,)
            texts = (facts.origin, facts.organisation, facts.recipient, *facts.controls, *facts.scopes)
            good = all(type(count) is int and count >= 0 for count in counts) and type(facts.stamped) is bool
            good = good and all(type(text) is str for text in texts) and HEX256.fullmatch(facts.root) is not None
            if not good or dump(facts.predicate()) != dump(dict(predicate)) or len(facts.runs) != 3:
                raise ValueError("other fields")
            first, last = unstamp(facts.period[0]), unstamp(facts.period[1])
            unstamp(facts.created_on)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError("does not state the facts of a bundle of this format") from error
        if first >= last or facts.start >= facts.end:
            raise ValueError("states an impossible period or range")
        return facts


@dataclass(frozen=True, slots=True)
class Proof:
    """What binds the leaves of the range to the signed heads."""

    origin: str
    start: int
    end: int
    frontier: tuple[bytes, ...]
    """Roots of the perfect subtrees over the leaves before ``start``, largest first."""
    consistency: tuple[bytes, ...]
    """From ``start`` to ``end``."""
    inclusion: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    """Audit path in the tree over ``end`` leaves, of each leaf about keys before it that is not in the range."""
    earlier: tuple[tuple[int, bytes, tuple[bytes, ...]], ...] = ()
    """Size, root and consistency proof of earlier bundles' heads."""

    def file(self) -> bytes:
        """Content of ``log/proof.json``."""
        value = {
            "format": FORMAT,
            "origin": self.origin,
            "from": self.start,
            "to": self.end,
            "frontier": _hexes(self.frontier),
            "consistency": _hexes(self.consistency),
            "inclusion": {str(index): _hexes(path) for index, path in self.inclusion.items()},
            "earlier": [
                {"size": size, "root": root.hex(), "consistency": _hexes(path)} for size, root, path in self.earlier
            ],
        }
        return dump(value) + b"\n"

    @classmethod
    def read(cls, data: bytes) -> Proof:
        """The proof in a file.

        Raises:
            ValueError: it is not one that :meth:`file` writes.
        """
        try:
            value = load(data.removesuffix(b"\n"))
            proof = cls(
                value["origin"], value["from"], value["to"], _bytes(value["frontier"]), _bytes(value["consistency"]),
                {int(index): _bytes(path) for index, path in value["inclusion"].items()},
                tuple((o["size"], bytes.fromhex(o["root"]), _bytes(o["consistency"])) for o in value["earlier"]),
            )  # fmt: skip
            numbers = (proof.start, proof.end, *(size for size, _, _ in proof.earlier))
            if not all(type(number) is int and number >= 0 for number in numbers) or proof.file() != data:
                raise ValueError("other spelling")
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError("is not spelt as a proof of this format") from error
        if proof.start >= proof.end or len(proof.frontier) != proof.start.bit_count() or type(proof.origin) is not str:
            raise ValueError("is a proof of nothing")
        return proof


def _hexes(hashes: tuple[bytes, ...]) -> list[str]:
    return [one.hex() for one in hashes]


def _bytes(hexes: list[str]) -> tuple[bytes, ...]:
    hashes = tuple(bytes.fromhex(one) for one in hexes)
    if any(len(one) != 32 for one in hashes):
        raise ValueError("not hashes")
    return hashes
