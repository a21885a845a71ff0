"""What a run does around its seal: checkpoints are stamped, witnessed and copied, as the configuration says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from collector.config import Config, CopyConfig
from collector.console import say
from collector.errors import ConfigError
from evidence_store import anchors, timestamps
from evidence_store.cosignature import Witness
from evidence_store.cosigner import Cosigner, cosign
from evidence_store.errors import AnchorError, ForkError, StoreError
from evidence_store.store import Store
from evidence_store.timestamps import Authority

TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Outside:
    """Everybody outside who attests."""

    authorities: tuple[Authority, ...]
    cosigners: tuple[Cosigner, ...]
    places: tuple[anchors.Place, ...]

    @property
    def roots(self) -> bytes | None:
        """Roots of all time-stamp authorities; ``None`` when there is none."""
        return b"\n".join(authority.roots for authority in self.authorities) or None

    @property
    def witnesses(self) -> list[str]:
        """Verifier keys of all witnesses."""
        return [cosigner.witness.verifier_key() for cosigner in self.cosigners]


@dataclass(slots=True)
class Attested:
    """What came of asking."""

    failures: list[StoreError] = field(default_factory=list)
    """Who did not answer: nothing is lost, the next run asks again."""
    forks: list[ForkError] = field(default_factory=list)
    """Who holds a history that this store does not extend."""

    def tell(self) -> None:
        """A line on standard error for each."""
        for failure in self.failures:
            say(f"warning: {failure.what}; {failure.next_step}")
        for fork in self.forks:
            say(f"error: {fork.what}\nnext:  {fork.next_step}")


def outside(config: Config) -> Outside:
    """Those the configuration names, with their certificates and keys read.

    Raises:
        ConfigError: a file it names is missing or is not what it should be.
    """
    return Outside(
        tuple(_authorities(config)),
        tuple(Cosigner(witness.url, Witness.parse(witness.key)) for witness in config.anchors.witnesses),
        tuple(_place(copy) for copy in config.anchors.copies),
    )


def opened(store: Store, who: Outside) -> Attested:
    """The checkpoint over a run's opening is stamped; the leaf that names the tokens follows when the run is closed."""
    failures = timestamps.stamp(store, who.authorities, timeout_s=TIMEOUT_S, name_them=False)
    return Attested([*failures])


def closed(store: Store, who: Outside) -> Attested:
    """The newest checkpoint is stamped, witnessed and copied, and one leaf says so."""
    found = Attested([*timestamps.stamp(store, who.authorities, timeout_s=TIMEOUT_S, name_them=False)])
    copies = []
    for cosigner in who.cosigners:
        try:
            cosign(store, cosigner, timeout_s=TIMEOUT_S)
        except AnchorError as failure:
            found.failures.append(failure)
        except ForkError as fork:
            found.forks.append(fork)
    for place in who.places:
        try:
            copies.append(anchors.copy(store, place))
        except AnchorError as failure:
            found.failures.append(failure)
        except ForkError as fork:
            found.forks.append(fork)
    store.anchor(copies)
    return found


def _authorities(config: Config) -> Iterator[Authority]:
    taken: set[str] = set()
    for entry in config.timestamps.authorities:
        host = re.sub("[^a-z0-9]+", "-", (urlsplit(entry.url).hostname or "").lower()).strip("-")[:23] or "tsa"
        # A second authority on the same host is told apart by its address, which does not change with the order.
        name = f"{host}-{hashlib.sha256(entry.url.encode()).hexdigest()[:8]}" if host in taken else host
        taken.add(host)
        roots = _certificates(entry.roots, "timestamps.authorities.roots")
        chain = _certificates(entry.chain, "timestamps.authorities.chain") if entry.chain else b""
        yield Authority(name, entry.url, roots, chain, entry.crl or "")


def _certificates(path: Path, key: str) -> bytes:
    from evidence_store.revocation import load_chain

    try:
        data = path.read_bytes()
        if not load_chain(data):
            raise ValueError("empty")
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path}: {error.strerror}", "name a file of PEM certificates") from error
    except ValueError as error:
        raise ConfigError(f"{key}: {path} holds no PEM certificates", "name a file of PEM certificates") from error
    return data


def _place(copy: CopyConfig) -> anchors.Place:
    if copy.folder is not None:
        return anchors.Folder(copy.folder)
    if copy.git is not None:
        return anchors.Git(copy.git, copy.branch)
    from collector.connect.bucket import Bucket  # the SDK is loaded only where a bucket is named

    assert copy.s3 is not None, "the configuration was checked"
    return Bucket(copy.s3, copy.endpoint_url, copy.profile, copy.retention_days)
