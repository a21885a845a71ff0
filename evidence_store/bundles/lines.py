"""What is kept of a run's lines and plan when a bundle is read in one pass: root, counts, and the bodies they name."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping

from evidence_store import layout, lines, merkle
from evidence_store.bundles import format as form
from evidence_store.redaction import withheld_line
from evidence_store.spelling import HEX256, load

WITHHELD = re.compile(rb'\{"i":(0|[1-9][0-9]{0,11}),"withheld":"([0-9a-f]{64})"\}')
SPANS = "spans.ndjson"
STREAMS = (layout.MANIFEST, layout.RESULTS, SPANS)

withheld = withheld_line


def is_withheld(line: bytes) -> bool:
    """Whether a line only stands for one that is not shown."""
    return WITHHELD.fullmatch(line) is not None


def hash_of(number: int, line: bytes) -> bytes:
    """The leaf hash of a line, shown or withheld.

    Raises:
        ValueError: it is withheld under another number.
    """
    found = WITHHELD.fullmatch(line)
    if found is None:
        return merkle.leaf_hash(line)
    if int(found[1]) != number:
        raise ValueError(f"line {number} does not bear its number")
    return bytes.fromhex(found[2].decode())


class Named:
    """What the lines and plans of a bundle name, bounded."""

    def __init__(self, most: int) -> None:
        self.bodies: dict[bytes, str] = {}
        """File that first names it, by digest."""
        self.redacted: dict[bytes, int] = {}
        """Number of spans, by their root, of replies whose fields are left out."""
        self.withheld = 0
        """Withheld lines."""
        self._most = most

    def body(self, sha256: object, where: str) -> None:
        """A line or a plan names a body.

        Raises:
            ValueError: by what is no digest, or too many are named.
        """
        if not isinstance(sha256, str) or not HEX256.fullmatch(sha256):
            raise ValueError("names a body by what is no digest")
        self.bodies.setdefault(bytes.fromhex(sha256), where)
        if len(self.bodies) > self._most:
            raise ValueError(f"more than {self._most} bodies are named")

    def spans(self, root: object, count: object) -> None:
        """A line names a reply whose fields are left out.

        Raises:
            ValueError: in a way that cannot be read, or otherwise than a line before.
        """
        if not isinstance(root, str) or not HEX256.fullmatch(root) or type(count) is not int:
            raise ValueError("names spans in a way that cannot be read")
        if self.redacted.setdefault(bytes.fromhex(root), count) != count or len(self.redacted) > self._most:
            raise ValueError("names spans otherwise than a line before, or too many of them")

    def hide(self) -> None:
        """A line is withheld.

        Raises:
            ValueError: too many are.
        """
        self.withheld += 1
        if self.withheld > form.WITHHELD_LIMIT:
            raise ValueError(f"more than {form.WITHHELD_LIMIT} lines are withheld")


class LineSummary:
    """One stream of lines, summed up as its bytes come; the first fault is kept in words."""

    def __init__(self, name: str, stream: str, named: Named) -> None:
        self.root = ""
        """RFC 6962 root over the lines, in hex."""
        self.count = 0
        """Number of lines."""
        self.withheld = array("Q")
        """Numbers of those that are withheld."""
        self.replies = array("Q")
        """Of ``spans.ndjson``: the numbers of the replies its lines are about."""
        self.problem = ""
        """What is wrong, if anything."""
        self._name = name
        self._stream = stream
        self._named = named
        self._rest: list[bytes] = []
        self._length = 0
        self._tree = merkle.Frontier()

    def take(self, chunk: bytes) -> None:
        """The next bytes."""
        if self.problem:
            return
        *whole, rest = chunk.split(b"\n")
        try:
            for part in whole:
                self._line(b"".join((*self._rest, part)))
                self._rest, self._length = [], 0
            self._rest.append(rest)
            self._length += len(rest)
            if self._length > lines.LINE_LIMIT:
                raise ValueError("a line is too long")
        except ValueError as error:
            self.problem = f"line {self.count}: {error}"
            self._rest = []

    def end(self) -> None:
        """No bytes follow."""
        if any(self._rest) and not self.problem:
            self.problem = "does not end in a whole line"
        self.root = self._tree.root().hex()
        self._rest = []

    def _line(self, line: bytes) -> None:
        if len(line) > lines.LINE_LIMIT:
            raise ValueError("a line is too long")
        self._tree.add(hash_of(self.count, line))
        if is_withheld(line):
            self._named.hide()
            self.withheld.append(self.count)
        else:
            self._shown(lines.parse(self.count, line))
        self.count += 1

    def _shown(self, value: Mapping[str, object]) -> None:
        if self._stream == layout.MANIFEST and value.get("sha256") is not None:
            self._named.body(value["sha256"], self._name)
        if self._stream == SPANS:
            reply = value.get("reply")
            if type(reply) is not int or not 0 <= reply < 1 << 63:
                raise ValueError("names no reply")
            self.replies.append(reply)
            self._named.spans(value.get("spans"), value.get("spanCount"))


def objects_of(plan: bytes) -> Iterator[str]:
    """Digests of the objects a plan names; none when it is of a schema this format does not know.

    Raises:
        ValueError: it is of the schema, and does not name them as the schema says.
    """
    yield from (sha256 for _, sha256 in _named(plan) or ())


def readable(plan: bytes) -> dict[str, str] | None:
    """Digest by path of a plan's readable copies; ``None`` when it is of a schema this format does not know.

    Raises:
        ValueError: see :func:`objects_of`.
    """
    found = _named(plan)
    if found is None:
        return None
    return {path: sha256 for path, sha256 in found if form.READABLE.fullmatch(path) and form.limit_of(path)}


def _named(plan: bytes) -> list[tuple[str, str]] | None:
    try:
        document = load(plan)
    except ValueError:
        return None
    if document.get("schema") != form.PLAN_SCHEMA:
        return None
    try:
        found = [("data/config/config.yaml", document["config"]["sha256"])]
        found += [(f"data/code/{one['file']}", one["sha256"]) for one in document["code"]]
        found += [(f"data/{one['file']}", one["sha256"]) for one in document["files"]]
        found += [(f"data/examples/{one['file']}", one["sha256"]) for one in document.get("examples", ())]
    except (KeyError, TypeError) as error:
        raise ValueError("does not name its objects as its schema says") from error
    if not all(isinstance(sha256, str) and HEX256.fullmatch(sha256) for _, sha256 in found):
        raise ValueError("does not name its objects as its schema says")
    return found
