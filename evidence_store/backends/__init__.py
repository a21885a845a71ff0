"""Where sealed files are final when that is not the folder itself; the folder is then a working copy.

The writer knows only :class:`Remote`. A leaf counts as written when its remote took it, before the folder has it, and a
remote takes each name once: that is what keeps two collectors from writing two histories.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from evidence_store.errors import StoreError
from evidence_store.log import Leaf


class Remote(Protocol):
    """A place that takes each sealed file once and never gives it up."""

    @property
    def uri(self) -> str:
        """Its name for people."""

    def created(self) -> bytes | None:
        """``STORE.json``, if a store was begun there."""

    def exists(self) -> bool:
        """Whether a store with at least its genesis leaf stands there."""

    def begin(self, identity: Mapping[str, bytes]) -> None:
        """Keep the files that name a store, before its first leaf.

        Raises:
            ConflictError: another store was begun there.
            StoreError: it refused.
        """

    def sync(self, root: Path) -> None:
        """The folder holds everything sealed there; what is missing is fetched, nothing else is changed.

        Raises:
            TamperedError: the folder and the remote do not tell the same history.
            StoreError: it cannot be read.
        """

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file beside the log; the same content may be given again.

        Raises:
            ConflictError: it has this name with other content.
            StoreError: it refused.
        """

    def commit(self, root: Path, leaf: Leaf) -> None:
        """Keep the files of the run the leaf ends, then the leaf.

        Raises:
            ConflictError: another collector wrote a leaf at this place.
            StoreError: it refused.
        """


class ConflictError(StoreError):
    """Another collector was faster; nothing of it was overwritten, and nothing here counts as sealed."""
