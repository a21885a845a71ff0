"""What a store holds and what that takes: per run, per dataset, and how much differences save."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from evidence_store import layout, pack
from evidence_store.fs import open_file
from evidence_store.store import Store

UNNAMED = "(content and configuration)"
"""Bodies no reply names: the configuration, mappings and check code of a run."""


@dataclass(slots=True)
class Share:
    """Bodies of one run or one dataset."""

    bodies: int = 0
    """Bodies first kept there."""
    replies: int = 0
    """Reply lines, also those whose body was kept before."""
    raw: int = 0
    """Length of these bodies, in bytes."""
    stored: int = 0
    """Length of their frames as stored, without headers."""
    asked: int = 0
    """Length of all replies, in bytes: what keeping every copy would take."""


@dataclass(slots=True)
class Sizes:
    """What a store holds."""

    files: int = 0
    disk: int = 0
    """Length of all files, in bytes, without the derived index."""
    raw: int = 0
    """Length of all bodies, each once."""
    stored: int = 0
    """Length of their frames."""
    bodies: int = 0
    deltas: int = 0
    """Bodies kept as a difference to an earlier one."""
    delta_raw: int = 0
    """Length of those bodies."""
    delta_stored: int = 0
    """Length of their frames."""
    runs: dict[int, Share] = field(default_factory=dict)
    datasets: dict[str, Share] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times smaller the bodies are stored; 1 for an empty store."""
        return self.raw / self.stored if self.stored else 1.0

    @property
    def delta_ratio(self) -> float:
        """The same of those kept as a difference."""
        return self.delta_raw / self.delta_stored if self.delta_stored else 1.0


def measure(path: Path) -> Sizes:
    """The sizes of a store; what is measured is not verified.

    Raises:
        StoreError: there is no store, or its log or a manifest is not what was sealed.
    """
    sizes, datasets = Sizes(), defaultdict[str, Share](Share)
    with Store.open(path) as store:
        for file in store.root.rglob("*"):
            if file.is_file() and not file.is_symlink() and file.name != layout.INDEX:
                sizes.files += 1
                sizes.disk += file.stat().st_size
        for info in store.runs():
            if not info.kept:
                continue
            share = sizes.runs.setdefault(info.number, Share())
            fresh: dict[str, tuple[int, int]] = {}
            with open_file(store.root, f"{layout.run_name(info.number)}/{layout.PACK}") as pack_file:
                for frame in pack.scan(pack_file, os.fstat(pack_file.fileno()).st_size):
                    fresh[frame.sha256] = frame.size, frame.length
                    sizes.bodies += 1
                    sizes.raw += frame.size
                    sizes.stored += frame.length
                    if frame.base is not None:
                        sizes.deltas += 1
                        sizes.delta_raw += frame.size
                        sizes.delta_stored += frame.length
            for raw, stored in fresh.values():
                share.bodies, share.raw, share.stored = share.bodies + 1, share.raw + raw, share.stored + stored
            for line in store.run(info.number).replies():
                dataset = datasets[str(line.get("task") or line.get("op") or UNNAMED).partition("@")[0]]
                size = line.get("size", 0)
                for one in (share, dataset):
                    one.replies += 1
                    one.asked += size if isinstance(size, int) else 0
                if own := fresh.pop(line.get("sha256") or "", None):
                    dataset.bodies, dataset.raw = dataset.bodies + 1, dataset.raw + own[0]
                    dataset.stored += own[1]
            for raw, stored in fresh.values():
                rest = datasets[UNNAMED]
                rest.bodies, rest.raw, rest.stored = rest.bodies + 1, rest.raw + raw, rest.stored + stored
    sizes.datasets = dict(sorted(datasets.items()))
    return sizes


def in_words(sizes: Sizes) -> str:
    """Sizes for a person to read."""
    text = [
        f"{sizes.disk:>14,} bytes in {sizes.files} files",
        f"{sizes.raw:>14,} bytes in {sizes.bodies} bodies, stored in {sizes.stored:,}: {sizes.ratio:.1f} times smaller",
        f"{sizes.delta_raw:>14,} of them in {sizes.deltas} differences, stored in {sizes.delta_stored:,}: "
        f"{sizes.delta_ratio:.1f} times smaller",
        "",
        f"{'dataset':<34} {'replies':>8} {'bodies':>8} {'asked':>14} {'raw':>14} {'stored':>12}",
    ]
    text += [_row(name, share) for name, share in sizes.datasets.items()]
    text += ["", f"{'run':<34} {'replies':>8} {'bodies':>8} {'asked':>14} {'raw':>14} {'stored':>12}"]
    text += [_row(str(number), share) for number, share in sizes.runs.items()]
    return "\n".join(text)


def _row(name: str, share: Share) -> str:
    return f"{name:<34} {share.replies:>8} {share.bodies:>8} {share.asked:>14,} {share.raw:>14,} {share.stored:>12,}"
