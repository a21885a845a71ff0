"""Takes declared secrets out of a reply, byte for byte, before anything else sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    applied: list[dict[str, object]] = []
    for redaction in redactions if body else ():
        if not redaction.applies(operation):
            continue
        spans = list(_spans(redaction, operation, body))
        for start, end in reversed(spans):
            mask = b'"%s"' % MASK if redaction.json else MASK
            body = body[:start] + mask + body[end:]
        if spans:
            where = redaction.json or redaction.regex
            applied.append({"path": where, "reason": redaction.reason, "count": len(spans)})
    return body, applied


def _spans(redaction: Redaction, operation: str, body: bytes) -> Iterator[tuple[int, int]]:
    if redaction.json:
        wanted = tuple(part for name in redaction.json.split(".") for part in _parts(name))
        if body[:1] not in (b"{", b"["):
            raise Unavailable(GapKind.MALFORMED, "the reply is not JSON, so its secrets cannot be found", operation)
        for span in json_scalars(body):
            if len(span.path) == len(wanted) and all(w in ("*", p) for w, p in zip(wanted, span.path, strict=True)):
                yield span.start, span.end
    else:
        text = body.decode("latin-1")
        for match in re.finditer(redaction.regex, text, re.MULTILINE):
            if match.end("secret") > match.start("secret"):
                yield match.span("secret")


def _parts(name: str) -> Iterator[str]:
    head, *indexes = name.split("[]")
    if head or not indexes:
        yield head
    yield from ("[]" for _ in indexes)
