"""How names from outside are written where a person reads them."""

from __future__ import annotations

import re
from datetime import timedelta

from collector.model import instant, stamp

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def visible(value: object) -> str:
    r"""The text with control and direction characters spelt out (``\u{202e}``), so that no name steers what is read."""
    return _UNSEEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", str(value))


def words(term: object) -> str:
    """A term of ours as words: ``not_collected`` reads ``not collected``."""
    return visible(term).replace("_", " ")


def until(moment: str) -> str:
    """The last day before a moment that is a midnight, as people say it; any other moment as it is."""
    if not moment.endswith("T00:00:00.000Z"):
        return moment
    return stamp(instant(moment) - timedelta(days=1)).partition("T")[0]


def day(moment: str) -> str:
    """The day that begins at a moment that is a midnight; any other moment as it is."""
    return moment.removesuffix("T00:00:00.000Z")
