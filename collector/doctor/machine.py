"""What the user this program runs as may do on its own machine: as root too much, in a folder of registers perhaps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from collector.doctor.rights import Rights, named


def host(needed: Sequence[str]) -> Rights:
    """Whether this is root; for anybody else, which files may not be read."""
    if os.geteuid() == 0:
        return Rights(changes=("everything on this machine, for it runs as root",))
    asked = [need.partition(" ") for need in needed]
    closed = [
        f"{what} {path}"
        for what, _, path in asked
        if what in ("host:read", "host:list") and "*" not in path and _may(path, os.F_OK) and not _may(path, os.R_OK)
    ]
    programs = sorted({path.split()[0] for what, _, path in asked if what == "host:run" and path})
    untold = (f"no program tells before it runs whether it needs root: {named(programs)}",) if programs else ()
    return Rights(
        missing=tuple(closed),
        untold=untold,
        fine="does not run as root, and may read the files it needs",
    )


def folder(path: Path, needed: Sequence[str]) -> Rights:
    """Whether the folder of registers, and what is read in it, may be read, and may not be changed."""
    if not _may(path, os.R_OK | os.X_OK):
        return Rights(missing=(f"read {path}",))
    files = [path / need.removeprefix("read ").partition("/**")[0] for need in needed]
    there = [file for file in files if _may(file, os.F_OK)]
    return Rights(
        missing=tuple(f"read {file}" for file in there if not _may(file, os.R_OK)),
        changes=tuple(f"write to {place}" for place in (path, *there) if _may(place, os.W_OK)),
        fine=f"reads {path}, and may change nothing in it",
    )


def _may(path: Path | str, how: int) -> bool:
    return os.access(path, how, effective_ids=True)
