"""What the controls of an edition were called in the edition before: for readers who know the older numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.catalogue import Catalogues, ControlKey, load_correspondence
from collector.model import Row

TABLE = re.compile(r"(?P<framework>[a-z0-9-]+)-(?P<old>\d{4})-to-(?P<new>\d{4})\.csv")


@dataclass(frozen=True, slots=True)
class Predecessors:
    """Both directions of the tables in ``catalogues/correspondence``."""

    of: Mapping[ControlKey, tuple[Row, ...]]
    """``{edition, id, relation, note}`` of older controls, by the key of the present one."""
    became: Mapping[tuple[str, str], tuple[Row, ...]]
    """``{framework, edition, id, relation, note, from}`` of present controls, by framework and older id."""


def predecessors(root: Path, catalogues: Catalogues) -> Predecessors:
    """The tables below ``root``, for the editions of the catalogues.

    Raises:
        MappingError: a table is malformed.
    """
    of: dict[ControlKey, list[Row]] = {}
    became: dict[tuple[str, str], list[Row]] = {}
    for path in sorted((root / "catalogues" / "correspondence").glob("*.csv")):
        if not (named := TABLE.fullmatch(path.name)):
            continue
        edition = next(_editions(catalogues, named["framework"], named["new"]), named["new"])
        for row in load_correspondence(path):
            shared = {"relation": row.relation, "note": row.note}
            if row.old and row.new:
                of.setdefault((named["framework"], edition, row.new), []).append(
                    {"edition": named["old"], "id": row.old, **shared}
                )
            if row.old:
                now = {"framework": named["framework"], "edition": edition, "id": row.new, "from": named["old"]}
                became.setdefault((named["framework"], row.old), []).append(now | shared)
    return Predecessors(
        {key: tuple(rows) for key, rows in of.items()}, {key: tuple(rows) for key, rows in became.items()}
    )


def _editions(catalogues: Catalogues, framework: str, year: str) -> Iterator[str]:
    """The edition that begins with a year: ``2022`` is ``2022+amd1``."""
    return (edition for name, edition in catalogues.all if name == framework and edition.startswith(year))
