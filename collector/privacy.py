"""Finds the personal fields of a reply, byte for byte, so that they can be left out of a bundle later.

Nothing is taken out here: the body is kept as it came, and the sealed line commits to its fields one by one. What
cannot be searched counts as one field from its first byte to its last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from xml.parsers import expat

import orjson

from collector.api import Personal
from collector.connect.redact import MASK, json_scalars
from evidence_store.spans import Cut

Range = tuple[int, int]

DEFAULTS = (
    Personal("s3:ListBuckets", "name", xml="Owner/DisplayName"),
    Personal("s3:GetBucketAcl", "name", xml="DisplayName"),
    Personal("s3:GetBucketAcl", "email", xml="EmailAddress"),
    Personal("organizations:*", "email", json="**.Email"),
    Personal("organizations:*", "email", json="**.MasterAccountEmail"),
    Personal("account:GetContactInformation", "contact", json="ContactInformation"),
    Personal("account:GetAlternateContact", "contact", json="AlternateContact"),
    Personal("sns:ListSubscriptions*", "email", xml="Endpoint"),
    Personal("iam:GetSSHPublicKey", "name", xml="SSHPublicKeyBody"),
    Personal("register:read", "email", regex=r"(?P<personal>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,9})"),
    Personal("register:git-log", "name", json="author"),
    Personal("jira:GET *", "email", json="**.emailAddress"),
    Personal("host:read", "name", regex=r"^(?:[^:\n]*:){4}(?P<personal>[^:\n]+)(?::[^:\n]*){2}$"),
)
"""Fields that are known to hold e-mail addresses, names or telephone numbers of people."""


def find(fields: Iterable[Personal], operation: str, body: bytes) -> Cut | None:
    """Where the personal fields of a reply stand; ``None`` when it has none."""
    wanted = [field for field in fields if field.applies(operation)]
    if not wanted or not body:
        return None
    json = [field.json for field in wanted if field.json]
    xml = [field.xml for field in wanted if field.xml]
    regexes = [field.regex for field in wanted if field.regex]
    looks = body.lstrip()[:1]
    try:
        scalars = list(_json(json, body)) if json and looks in (b"{", b"[") else None
        texts = list(_xml(xml, body)) if xml and looks == b"<" else None
    except ValueError:
        return _whole(body)
    matches = [match.span("personal") for regex in regexes for match in _matches(regex, body)]
    if scalars is None and texts is None and not regexes:
        return _whole(body)
    if scalars and matches:
        return _whole(body)
    ranges = _joined([*(scalars or ()), *(texts or ()), *matches])
    left = tuple((start, end) for start, end in ranges if end > start and body[start:end].strip(b'"') != MASK)
    return Cut("json" if scalars else "text", left) if left else None


def ranges_at(path: str, body: bytes) -> list[Range]:
    """Where the values at a JSON path, or the XML elements of a name, stand in a body; nowhere when it is neither."""
    looks = body.lstrip()[:1]
    try:
        return list(_xml([path], body) if looks == b"<" else _json([path], body))
    except ValueError:
        return []


def _whole(body: bytes) -> Cut:
    return Cut("whole", ((0, len(body)),))


def _joined(ranges: Iterable[Range]) -> list[Range]:
    """The ranges in order, those that overlap as one."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _matches(regex: str, body: bytes) -> Iterator[re.Match[str]]:
    yield from (m for m in re.finditer(regex, body.decode("latin-1"), re.MULTILINE) if m.start("personal") >= 0)


def _json(paths: Sequence[str], body: bytes) -> Iterator[Range]:
    """Every scalar at one of the paths, or under it.

    Raises:
        ValueError: the body is not JSON.
    """
    orjson.loads(body)
    wanted = [steps(path) for path in paths]
    for span in json_scalars(body):
        if any(_under(path, span.path) for path in wanted):
            yield span.start, span.end


def steps(path: str) -> tuple[str, ...]:
    """``Users[].Email`` as ``("Users", "[]", "Email")``; ``**`` stands for any beginning, ``*`` for any one name."""
    return tuple(part for name in path.split(".") for part in re.findall(r"\[\]|[^\[\]]+", name))


def _under(wanted: tuple[str, ...], path: tuple[str, ...]) -> bool:
    anywhere, wanted = wanted[:1] == ("**",), wanted[1:] if wanted[:1] == ("**",) else wanted
    starts = range(len(path) - len(wanted) + 1) if anywhere else range(1 if len(path) >= len(wanted) else 0)
    return any(all(w in ("*", path[at + i]) for i, w in enumerate(wanted)) for at in starts)


def _xml(names: Sequence[str], body: bytes) -> Iterator[Range]:
    """The content of every element whose path ends in one of the names.

    Raises:
        ValueError: the body is not XML, or defines entities.
    """
    finder = _Elements([tuple(name.split("/")) for name in names])
    try:
        finder.parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError("not XML") from error
    yield from finder.found


class _Elements:
    """Byte ranges of element contents, as the parser comes by them."""

    def __init__(self, wanted: Sequence[tuple[str, ...]]) -> None:
        self.found: list[Range] = []
        self.parser = expat.ParserCreate()
        self._wanted = wanted
        self._path: list[str] = []
        self._begins: list[int | None] = []
        """Where the content of each open element begins, once something follows its tag."""
        parser = self.parser
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = parser.CommentHandler = self._other
        parser.ProcessingInstructionHandler = self._other
        parser.StartCdataSectionHandler = self._other
        parser.StartDoctypeDeclHandler = _refuse

    def _other(self, *_: object) -> None:
        if self._begins and self._begins[-1] is None:
            self._begins[-1] = self.parser.CurrentByteIndex

    def _start(self, name: str, _: object) -> None:
        self._other()
        self._path.append(name.rpartition(":")[2])
        self._begins.append(None)

    def _end(self, _: str) -> None:
        self._other()
        begin, end = self._begins.pop(), self.parser.CurrentByteIndex
        wanted = any(tuple(self._path[-len(name) :]) == name for name in self._wanted)
        self._path.pop()
        if wanted and begin is not None and begin < end:
            self.found.append((begin, end))


def _refuse(*_: object) -> None:
    raise ValueError("defines entities")
