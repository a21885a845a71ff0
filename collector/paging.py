"""How REST APIs hand out a list page by page, without any I/O: what asks for the next page, and what ends the list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from collector.model import GapKind, Unavailable, instant

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[^\s;,="]+\s*=\s*(?:"[^"]*"|[^\s;,"]*))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]*))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """One page, as a pager sees it."""

    body: Any
    """The reply as JSON."""
    headers: Mapping[str, str]
    """Lower-case names."""
    rows: list[Any]
    read: int
    """Records read so far, those of this page included."""
    number: int
    """1 for the first page."""
    total: int | None = None
    """Records there are in all, as the page before said."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What asks for the next page."""

    token: str
    """Proves the chain: it comes once in a list."""
    url: str = ""
    """Address of the next page, where the API gives one."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    """Parameters that ask for the next page, where it does not."""
    total: int | None = None
    """Records there are in all, where the API counts them."""


class Pager(Protocol):
    """A way to turn pages."""

    def opening(self) -> Mapping[str, str | int]:
        """Parameters of the first page."""

    def following(self, page: Page) -> Turn | None:
        """What asks for the next page; ``None`` on the last one.

        Raises:
            Unavailable: the page contradicts itself or the pages before it.
        """


def member(body: Any, path: str) -> Any:
    """The member at ``a/b`` of a JSON document, the document itself at ``""``; ``None`` where there is none."""
    for name in path.split("/") if path else ():
        if not isinstance(body, Mapping) or name not in body:
            return None
        body = body[name]
    return body


@dataclass(frozen=True, slots=True)
class Link:
    """The next page is the ``rel="next"`` of the ``Link`` header (RFC 8288); the last page has none."""

    def opening(self) -> Mapping[str, str | int]:
        """Nothing."""
        return {}

    def following(self, page: Page) -> Turn | None:
        """The address in the header."""
        text = page.headers.get("link", "")
        found = [target for target, params in _LINK.findall(text) if "next" in _relations(params)]
        if len(found) > 1:
            raise Unavailable(GapKind.MALFORMED, "names two next pages")
        if not found and re.search(r"\bnext\b", _LINK.sub("", text)):
            raise Unavailable(GapKind.MALFORMED, "has a Link header that cannot be read")
        return Turn(found[0], url=found[0]) if found else None


def _relations(params: str) -> list[str]:
    return [name for quoted, plain in _REL.findall(params) for name in (quoted or plain).lower().split()]


@dataclass(frozen=True, slots=True)
class Newest:
    """As :class:`Link`, for a list that comes newest first: it ends with the page that reaches back before ``since``.

    A page in any other order proves nothing about the pages after it, and ends the list as a gap.
    """

    path: str
    """Where a record has its RFC 3339 time."""
    since: datetime

    def opening(self) -> Mapping[str, str | int]:
        """Nothing: the source asks for the order, where the API needs to be told."""
        return {}

    def following(self, page: Page) -> Turn | None:
        """The address in the header, while the records are of the period."""
        times = [_time(row, self.path) for row in page.rows]
        if times != sorted(times, reverse=True):
            raise Unavailable(GapKind.MALFORMED, f"is not ordered by {self.path}, newest first")
        return None if times and times[-1] < self.since else Link().following(page)


def _time(row: Any, path: str) -> datetime:
    try:
        return instant(_text(row, path))
    except ValueError:
        raise Unavailable(GapKind.MALFORMED, f"has a record without a time in {path}") from None


@dataclass(frozen=True, slots=True)
class Field:
    """The next page is an address in the body (``@odata.nextLink``, ``_links/next/href``); the last page has none."""

    path: str

    def opening(self) -> Mapping[str, str | int]:
        """Nothing."""
        return {}

    def following(self, page: Page) -> Turn | None:
        """The address in the body."""
        url = _text(page.body, self.path)
        return Turn(url, url=url) if url else None


@dataclass(frozen=True, slots=True)
class Token:
    """The next page is asked with a token from the body (``nextPageToken``); the last page has none."""

    path: str
    """Where the token stands in the body."""
    param: str
    """Parameter that sends it back."""
    last: str = ""
    """Where a body says ``true`` on the last page, if it does."""
    more: str = ""
    """Where a body says ``true`` on every other page, if it does."""

    def opening(self) -> Mapping[str, str | int]:
        """Nothing."""
        return {}

    def following(self, page: Page) -> Turn | None:
        """The token, unless the body says that this page is the last."""
        token = _text(page.body, self.path)
        more = _more(page.body, self.more, self.last)
        if more is False:
            return None
        if more and not token:
            raise Unavailable(GapKind.TRUNCATED, "says there is more but gives no token for it")
        return Turn(token, query={self.param: token}) if token else None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next page starts after the last record of this one (``starting_after=ID``); a body says if there is more."""

    key: str
    """Field of the record."""
    param: str
    more: str
    """Where a body says ``true`` unless the page is the last."""

    def opening(self) -> Mapping[str, str | int]:
        """Nothing."""
        return {}

    def following(self, page: Page) -> Turn | None:
        """The key of the last record."""
        if not _more(page.body, self.more, ""):
            return None
        cursor = _text(page.rows[-1], self.key) if page.rows else ""
        if not cursor:
            raise Unavailable(GapKind.TRUNCATED, "says there is more but ends with no record to go on from")
        return Turn(cursor, query={self.param: cursor})


@dataclass(frozen=True, slots=True)
class Offset:
    """The next page starts at a number of records (``startAt=100``).

    With ``total`` the count must add up. Without it the list ends with an empty page: a short one proves nothing,
    since servers hand out fewer records than they are asked for.
    """

    param: str
    """Parameter for the number of records to pass over."""
    limit: str
    """Parameter for the size of a page."""
    size: int = 100
    total: str = ""
    """Where the body counts all records, if it does."""

    def opening(self) -> Mapping[str, str | int]:
        """Size and start, in the open: they are no secret and no token."""
        return {self.limit: self.size, self.param: 0}

    def following(self, page: Page) -> Turn | None:
        """The number of records read so far."""
        total, more = _counted(page, self.total)
        return Turn(str(page.read), query={self.limit: self.size, self.param: page.read}, total=total) if more else None


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages have numbers (``page=2``); the list ends as with :class:`Offset`."""

    param: str
    """Parameter for the number of the page."""
    limit: str
    """Parameter for the size of a page."""
    size: int = 100
    first: int = 1
    total: str = ""
    """Where the body counts all records, if it does."""

    def opening(self) -> Mapping[str, str | int]:
        """Size and number."""
        return {self.limit: self.size, self.param: self.first}

    def following(self, page: Page) -> Turn | None:
        """The next number."""
        total, more = _counted(page, self.total)
        number = self.first + page.number
        return Turn(str(number), query={self.limit: self.size, self.param: number}, total=total) if more else None


def _text(body: Any, path: str) -> str:
    """A token or an address; empty where there is none.

    Raises:
        Unavailable: something else stands there.
    """
    value = member(body, path)
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unavailable(GapKind.MALFORMED, f"has no text in {path}")
    return str(value)


def _more(body: Any, more: str, last: str) -> bool | None:
    """What the body says of further pages; ``None`` where the API does not say.

    Raises:
        Unavailable: it should say and does not.
    """
    path = more or last
    if not path:
        return None
    said = member(body, path)
    if not isinstance(said, bool):
        raise Unavailable(GapKind.MALFORMED, f"does not say {path}, so the end of the list is not known")
    return said if more else not said


def _counted(page: Page, path: str) -> tuple[int | None, bool]:
    """The count of all records, and whether some are still to be read.

    Raises:
        Unavailable: the count is missing, changed, or does not add up.
    """
    if not path:
        return None, bool(page.rows)
    total = member(page.body, path)
    if isinstance(total, bool) or not isinstance(total, int):
        raise Unavailable(GapKind.MALFORMED, f"does not say {path}, so the end of the list is not known")
    if page.total is not None and total != page.total:
        raise Unavailable(GapKind.TRUNCATED, f"counted {page.total} records, then {total}: the list moved under us")
    if page.read > total:
        raise Unavailable(GapKind.TRUNCATED, f"gave {page.read} records and counts {total}")
    if page.read < total and not page.rows:
        raise Unavailable(GapKind.TRUNCATED, f"gave {page.read} of {total} records, then an empty page")
    return total, page.read < total
