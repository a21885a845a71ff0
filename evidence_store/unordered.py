"""Lists that come in another order each time: their pages are kept as differences to the records of the last run.

Between two runs such a list has nearly the same records on other pages, so no page is like the page before it. A run
therefore also keeps the records themselves, sorted, as one body: an ordinary object that no reply names, itself a small
difference to that of the run before. The closing leaf names it under ``lists``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LISTS_LIMIT = 64
"""Most lists of a run that are kept in this way: the leaf that names them is signed in one piece."""
LIST_KEY = re.compile(r"[0-9a-f]{32}")
"""How a closing leaf names a list: what its request has in common on every day, hashed."""
HEAD = b"affidavit/unordered-list/1"
"""First line of what is kept, so that it is never the same as a page."""
TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[][{}]', re.DOTALL)
"""Strings, and what opens and closes a record; a string that never ends goes to the end, and is looked at once."""
ELEMENTS = re.compile(rb"</?(?:item|member)>")


class Lists:
    """The records of the unordered lists of one run, as far as they were read."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: dict[bytes, dict[bytes, None]] = {}
        self._sizes: dict[bytes, int] = {}

    def add(self, key: bytes, page: bytes) -> None:
        """Take in a page of the list ``key``; a list that grows too large is given up."""
        if key not in self._sizes and len(self._sizes) == LISTS_LIMIT:
            return
        self._sizes[key] = self._sizes.get(key, 0) + len(page)
        if self._sizes[key] > self._limit:
            self._records.pop(key, None)
            return
        self._records.setdefault(key, {}).update(dict.fromkeys(records(page)))

    def bodies(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and content of each list."""
        for key in sorted(self._records):
            yield key, b"\n".join((HEAD, *sorted(self._records[key])))


def records(page: bytes) -> list[bytes]:
    """The outermost records of a list, as they are spelt: objects in arrays of JSON, ``item`` or ``member`` of XML.

    Of anything else, the whole page.
    """
    xml = page.lstrip()[:1] == b"<"
    found: list[bytes] = []
    open_: list[bytes] = []
    start, depth = -1, 0
    for token in (ELEMENTS if xml else TOKENS).finditer(page):
        sign = token[0]
        if (xml and sign[1:2] != b"/") or sign in (b"{", b"["):
            if start < 0 and (xml or (sign == b"{" and open_ and open_[-1] == b"[")):
                start, depth = token.start(), len(open_)
            open_.append(sign)
        elif xml or sign in (b"}", b"]"):
            if not open_:
                return [page]
            open_.pop()
            if start >= 0 and len(open_) == depth:
                found.append(page[start : token.end()])
                start = -1
    return found if found and not open_ else [page]
