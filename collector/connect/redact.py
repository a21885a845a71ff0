"""Takes declared secrets out of a reply, byte for byte, before anything else sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from collector.api import Redaction
from collector.model import GapKind, Unavailable

MASK = b"REDACTED"

_TOKEN = re.compile(rb'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Span:
    """A JSON scalar in a body: where it stands and what it is called."""

    path: tuple[str, ...]
    """Member names from the top; ``[]`` for an element of an array."""
    start: int
    end: int


def json_scalars(body: bytes) -> Iterator[Span]:
    """Yield every scalar of a JSON document with its place in the bytes.

    The document is expected to be well formed; one that is not gives spans for what could be read,
    and the caller's parser refuses it afterwards.
    """
    path: list[str] = []
    containers: list[bytes] = []
    name_next = False
    for match in _TOKEN.finditer(body):
        token = match.group()
        if token == b"{":
            containers.append(token)
            path.append("")
            name_next = True
        elif token == b"[":
            containers.append(token)
            path.append("[]")
            name_next = False
        elif token in (b"}", b"]"):
            if containers:
                containers.pop()
                path.pop()
            name_next = False
        elif token == b",":
            name_next = bool(containers) and containers[-1] == b"{"
        elif token == b":":
            name_next = False
        elif name_next and path:
            path[-1] = token.strip(b'"').decode("utf-8", "replace")
        else:
            yield Span(tuple(path), match.start(), match.end())


def apply(redactions: Sequence[Redaction], operation: str, body: bytes) -> tuple[bytes, list[dict[str, object]]]:
    """The body without its declared secrets, and a record of each redaction that took something out.

    Raises:
        Unavailable: a redaction is declared for JSON and the body is not JSON (kind ``malformed``):
            what cannot be searched for a secret is not stored.
    """
    wanted = [redaction for redaction in redactions if redaction.applies(operation)] if body else []
    if not wanted:
        return body, []
    found = _json_spans([redaction for redaction in wanted if redaction.json], operation, body)
    patterns = [redaction for redaction in wanted if not redaction.json]
    text = body.decode("latin-1") if patterns else ""
    found |= {redaction: _matches(redaction.regex, text) for redaction in patterns}
    applied: list[dict[str, object]] = [
        {"path": redaction.json or redaction.regex, "reason": redaction.reason, "count": len(found[redaction])}
        for redaction in wanted
        if found[redaction]
    ]
    pieces, place = [], 0
    for start, end, mask in _apart((*span, redaction.json) for redaction in found for span in found[redaction]):
        pieces += [body[place:start], mask]
        place = end
    return b"".join((*pieces, body[place:])), applied


def _json_spans(
    redactions: Sequence[Redaction], operation: str, body: bytes
) -> dict[Redaction, list[tuple[int, int]]]:
    """Where the scalars of each redaction stand, found in one pass over the body."""
    found: dict[Redaction, list[tuple[int, int]]] = {redaction: [] for redaction in redactions}
    if not redactions:
        return found
    if body[:1] not in (b"{", b"["):
        raise Unavailable(GapKind.MALFORMED, "the reply is not JSON, so its secrets cannot be found", operation)
    paths = {
        redaction: tuple(part for name in redaction.json.split(".") for part in _parts(name))
        for redaction in redactions
    }
    known: dict[tuple[str, ...], list[list[tuple[int, int]]]] = {}
    for span in json_scalars(body):
        lists = known.get(span.path)
        if lists is None:
            lists = known[span.path] = [found[one] for one in redactions if _is_at(paths[one], span.path)]
        for spans in lists:
            spans.append((span.start, span.end))
    return found


def _is_at(wanted: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return len(path) == len(wanted) and all(w in ("*", p) for w, p in zip(wanted, path, strict=True))


def _matches(regex: str, text: str) -> list[tuple[int, int]]:
    found = re.finditer(regex, text, re.MULTILINE)
    return [match.span("secret") for match in found if match.end("secret") > match.start("secret")]


def _apart(spans: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, bytes]]:
    """The spans in order with what stands for each, those that overlap as one; a whole scalar of JSON stays one."""
    joined: list[tuple[int, int, bool]] = []
    for start, end, json in sorted(spans, key=lambda span: (span[0], -span[1])):
        if joined and start < joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(end, before[1]), before[2] and end <= before[1])
        else:
            joined.append((start, end, bool(json)))
    for start, end, scalar in joined:
        yield start, end, b'"%s"' % MASK if scalar else MASK


def _parts(name: str) -> Iterator[str]:
    head, *indexes = name.split("[]")
    if head or not indexes:
        yield head
    yield from ("[]" for _ in indexes)
