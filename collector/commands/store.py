"""What ``affidavit store`` does: check what is stored, and say what it takes."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from collector.errors import ConfigError

if TYPE_CHECKING:
    from evidence_store.bodies import Subset

Arguments = argparse.Namespace
NOT_VERIFIED = 4


def store_check(arguments: Arguments) -> int:
    """Check structure, log and lines of a store; with ``--read-data`` every body, or a part of them, too."""
    from evidence_store.__main__ import in_words
    from evidence_store.bundles.source import is_bundle
    from evidence_store.verify import verify_store

    if is_bundle(arguments.store) and (arguments.store.is_dir() or arguments.store.suffix in (".zip", ".zst")):
        raise ConfigError(
            f"{arguments.store} is a bundle, not a store", f"affidavit verify {arguments.store} --key FINGERPRINT"
        )
    subset = _subset(arguments.subset) if arguments.subset else None
    found = verify_store(
        arguments.store, key=arguments.key, read_data=arguments.read_data or subset is not None, subset=subset
    )
    if arguments.json:
        print(json.dumps({"schema": "affidavit/verification/1", "ok": found.ok, **asdict(found)}, indent=2))
    else:
        print(in_words(found))
    return 0 if found.ok else NOT_VERIFIED


def store_stats(arguments: Arguments) -> int:
    """What a store holds, per dataset and per run, and what that takes."""
    from evidence_store.stats import in_words, measure

    sizes = measure(arguments.store)
    if arguments.json:
        ratios = {"ratio": round(sizes.ratio, 2), "deltaRatio": round(sizes.delta_ratio, 2)}
        print(json.dumps({"schema": "affidavit.store-stats/1", **ratios, **asdict(sizes)}))
    else:
        print(in_words(sizes))
    return 0


def _subset(text: str) -> Subset:
    from evidence_store.bodies import Subset

    part, _, of = text.partition("/")
    if not (part.isascii() and part.isdigit() and of.isascii() and of.isdigit()) or not 1 <= int(part) <= int(of):
        raise ConfigError(f"{text!r} is not a part of the bodies", "write N/T with N from 1 to T, such as 1/7")
    return Subset(int(part), int(of))
