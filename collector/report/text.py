"""How names from outside are written where a person reads them."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def visible(value: object) -> str:
    r"""The text with control and direction characters spelt out (``\u{202e}``), so that no name steers what is read."""
    return _UNSEEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", str(value))


def words(term: object) -> str:
    """A term of ours as words: ``not_collected`` reads ``not collected``."""
    return visible(term).replace("_", " ")
