"""Finds wrong names, editions and numbers of the ISO/IEC 27000 standards in a text, each with what to write."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TypedDict

from collector.plugins import content_root

EDITIONS: Mapping[str, tuple[str, ...]] = {
    "27001": ("2005", "2013", "2022"),
    "27002": ("2005", "2013", "2022"),
    "27005": ("2008", "2011", "2018", "2022"),
    "27017": ("2015", "2026"),
    "27018": ("2014", "2019", "2025"),
}
"""Editions of each standard, the one in force last."""
THEMES: Mapping[int, int] = {5: 37, 6: 8, 7: 14, 8: 34}
"""Controls of Annex A of ISO/IEC 27001:2022 by their first number."""
GUIDANCE = ("27000", "27002", "27005")
"""Standards that state no requirement, so that nobody can be certified against them."""
PAST = re.compile(
    r"\b(former|formerly|previous|previously|replaced|replaces|superseded|supersedes|withdrawn|transition|until|history|"
    r"old|older|correspond\w*)\b",
    re.IGNORECASE,
)
"""A line with one of these words speaks of the past, where an old edition or number is right."""

_NUMBER = "|".join(sorted({*EDITIONS, *GUIDANCE}))
_NAME = re.compile(
    rf"\b(?P<who>ISO\s?/\s?IEC|ISO\s?/\s?EIC|IEC\s?/\s?ISO|ISO\\IEC|ISO|IEC)(?P<gap>[\s_-]{{0,3}})(?P<no>{_NUMBER})\b"
)
_EDITION = re.compile(rf"\b(?P<no>{_NUMBER})(?P<mark>[:/-]|\s\(?)(?P<year>(?:19|20)\d\d)\b")
_ADOPTED = re.compile(
    r"(?:^|[^A-Za-z])(?:EN|AS|BS|CSN|DIN|DS|GOST R|JIS|KS|NBR|NEN|NF|NS|NZS|PN|SANS|SIST|SN|SS|STN|UNE|UNI|ÖNORM)"
    r"[ -]{1,2}(?:EN[ -])?(?:ISO\s?/\s?IEC\s|Q )?$"
)
"""What stands before the number of a standard that a country adopted, in a year of its own."""
_AMENDMENT = re.compile(
    r"27001:2022(?P<told>\s*[/+,]?\s*(?:Amd|AMD|Amendment|A)(?:\.?\s*)(?P<no>\d)\b(?:\s*[:/(]\s*(?P<year>\d{4})\)?)?)"
)
_CONTROL = re.compile(r"\bA\.(?P<theme>\d{1,2})\.(?P<second>\d{1,2})(?:\.(?P<third>\d{1,2}))?(?![\d.]*\d)")
_ELSEWHERE = re.compile(r"\b(?:appendix|exhibit|figure|rack|room|schedule|table) $", re.IGNORECASE)
"""What stands before a number that is none of Annex A."""
_CLOUD = re.compile(r"\bCLD[ .]?(?P<no>\d{1,2}(?:\.\d{1,2})+)")
_COUNTS = (
    re.compile(r"\b(?:Annex A|27001)\b[^.;\n]{0,60}?\b(?P<count>\d{2,3}) (?:security )?controls\b", re.IGNORECASE),
    re.compile(r"\b(?P<count>\d{2,3}) (?:security )?controls\b[^.;\n]{0,40}?\b(?:Annex A|27001)\b", re.IGNORECASE),
)
_CERTIFIED = re.compile(
    rf"\b(?:{'|'.join(GUIDANCE)})(?::\d{{4}})?[ -]certifi\w{{1,10}}"
    rf"|\bcertifi\w{{1,10}} (?:\w{{1,20}} ){{0,4}}?(?:to|against|for|under|with|in) (?:[\w/]{{1,10}} ){{0,2}}"
    rf"(?:{'|'.join(GUIDANCE)})\b",
    re.IGNORECASE,
)
_PHRASES = (
    (re.compile(r"\bStatement of Application\b", re.IGNORECASE), "Statement of Applicability"),
    (re.compile(r"\bcertified by ISO\b"), "ISO certifies nobody; name the certification body"),
    (re.compile(r"\b(?:14|fourteen) (?:control )?(?:domains|clauses) (?:of|in) Annex A\b", re.IGNORECASE),
     "Annex A of ISO/IEC 27001:2022 has four themes: A.5 to A.8"),
)  # fmt: skip


class Finding(TypedDict):
    """A wrong term."""

    line: int
    found: str
    write: str


def findings(text: str) -> list[Finding]:
    """Every wrong term of a text, by line; a name that is only incomplete is told once.

    A line that says of itself that it speaks of the past may name old editions and numbers.
    """
    cloud_2026 = "27017:2026" in text and "27017:2015" not in text
    told: list[Finding] = []
    unnamed = True
    for number, line in enumerate(text.split("\n"), 1):
        past = bool(PAST.search(line))
        seen: set[str] = set()
        for found, write in (*_names(line, unnamed), *_wrong(line, past, cloud_2026)):
            unnamed = unnamed and write != f"its name is ISO/IEC {found[-5:]}"
            if found not in seen:
                seen.add(found)
                told.append({"line": number, "found": found, "write": write})
    return told


def _names(line: str, unnamed: bool) -> Iterator[tuple[str, str]]:
    for match in _NAME.finditer(line):
        who, right = re.sub(r"\s", "", match["who"]), f"ISO/IEC {match['no']}"
        if who == "ISO" and match["gap"] == " ":
            if unnamed:
                yield match[0], f"its name is {right}"
                unnamed = False
        elif who != "ISO/IEC" or match["gap"] != " ":
            yield match[0], f"write {right}"


def _wrong(line: str, past: bool, cloud_2026: bool) -> Iterator[tuple[str, str]]:
    yield from _editions(line, past)
    yield from _amendments(line)
    if "27018" not in line:
        yield from _controls(line, past)
    yield from _clouds(line, past, cloud_2026)
    for pattern in _COUNTS:
        for match in pattern.finditer(line):
            if match["count"] != str(sum(THEMES.values())) and not past:
                yield match[0], f"Annex A of ISO/IEC 27001:2022 has {sum(THEMES.values())} controls"
    for match in _CERTIFIED.finditer(line):
        yield match[0], "it is guidance, against which nobody is certified; certificates are of ISO/IEC 27001"
    for phrase, right in _PHRASES:
        for match in phrase.finditer(line):
            yield match[0], right if right.startswith(("ISO", "Annex")) else f"write {right}"


def _editions(line: str, past: bool) -> Iterator[tuple[str, str]]:
    for match in _EDITION.finditer(line):
        if _ADOPTED.search(_before(line, match)):
            continue
        editions = EDITIONS.get(match["no"], ())
        now = f"ISO/IEC {match['no']}:{editions[-1]}" if editions else ""
        if not now or (match["no"] == "27017" and match["year"] == "2015"):  # both editions stand in contracts
            continue
        if match["year"] not in editions:
            also = ", with /Amd 1:2024" if match["no"] == "27001" else ""
            if match["mark"] == ":" or match["no"] == "27001":
                yield match[0], f"there is no edition of {match['year']}; write {now}{also}"
        elif match["mark"] in ("-", "/"):
            yield match[0], f"write ISO/IEC {match['no']}:{match['year']}"
        elif match["year"] != editions[-1] and not past:
            yield match[0], f"that edition was replaced; write {now}"


def _before(line: str, match: re.Match[str]) -> str:
    """As much of the line before a match as tells what its number is of."""
    return line[max(0, match.start() - 40) : match.start()]


def _amendments(line: str) -> Iterator[tuple[str, str]]:
    right = "ISO/IEC 27001:2022/Amd 1:2024"
    for match in _AMENDMENT.finditer(line):
        prose = re.fullmatch(r",? Amendment 1:2024", match["told"])
        if match["told"] != "/Amd 1:2024" and not prose:
            yield match[0], f"write {right}"


def _controls(line: str, past: bool) -> Iterator[tuple[str, str]]:
    for match in _CONTROL.finditer(line):
        if _ELSEWHERE.search(_before(line, match)):
            continue
        theme, second = int(match["theme"]), int(match["second"])
        if match["third"]:
            after = successors()["27001"].get(match[0], ())
            if not after:
                yield match[0], "no edition of Annex A has that number"
            elif not past:
                yield match[0], f"a number of the 2013 edition; in 2022 it is {' and '.join(after)}"
        elif theme not in THEMES:
            if not past:
                yield match[0], "Annex A of ISO/IEC 27001:2022 has A.5 to A.8 only"
        elif not 1 <= second <= THEMES[theme]:
            yield match[0], f"A.{theme} of ISO/IEC 27001:2022 ends with A.{theme}.{THEMES[theme]}"


def _clouds(line: str, past: bool, cloud_2026: bool) -> Iterator[tuple[str, str]]:
    for match in _CLOUD.finditer(line):
        name = f"CLD.{match['no']}"
        after = successors()["27017"].get(name, ())
        if not after:
            yield match[0], f"ISO/IEC 27017:2015 has {', '.join(n for n in successors()['27017'] if n[:3] == 'CLD')}"
        elif match[0] != name:
            yield match[0], f"write {name}"
        elif (cloud_2026 or "27017:2026" in line) and not past:
            yield match[0], f"a number of ISO/IEC 27017:2015; in 2026 it is {' and '.join(after)}"


@cache
def successors() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """What became of each control of an older edition, by standard and number."""
    found: dict[str, dict[str, list[str]]] = {"27001": defaultdict(list), "27017": defaultdict(list)}
    for standard, file in (("27001", "iso-27001-2013-to-2022.csv"), ("27017", "iso-27017-2015-to-2026.csv")):
        path = content_root() / "mappings" / "catalogues" / "correspondence" / file
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                if row["from"] and row["to"]:
                    found[standard][row["from"]].append(row["to"])
    return {name: {old: tuple(new) for old, new in links.items()} for name, links in found.items()}
