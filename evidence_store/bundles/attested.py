"""What outsiders attest in a bundle: time stamps and cosignatures over its notes, and over its seal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from evidence_store import layout, sigstore
from evidence_store.bundles import format as form
from evidence_store.cosignature import Witness
from evidence_store.dsse import open_envelope
from evidence_store.errors import VerificationError
from evidence_store.heads import split_note
from evidence_store.log import Leaf
from evidence_store.spelling import stamp, unstamp
from evidence_store.tokens import anchored, chains_named, cosignatures_named

Report = Callable[[str, str], None]
NOT_CHECKED = "time stamps were not checked: no roots were given to check them with"


@dataclass(slots=True)
class Outsiders:
    """Checks what outsiders attest; what was found good is kept for the checks of time."""

    files: Mapping[str, bytes]
    """Content of everything under ``log/`` and ``seal/``."""
    leaves: Sequence[Leaf]
    """Of the range."""
    report: Report
    noting: Callable[[str], AbstractContextManager[None]]
    """Turns errors into problems of a path."""
    warnings: list[str]
    stamps: list[dict[str, Any]] = field(default_factory=list)
    """Time stamps that were checked: checkpoint size, authority, time, by what."""
    cosignatures: list[dict[str, Any]] = field(default_factory=list)
    """Cosignatures that were checked: checkpoint size, witness, key id, time."""
    _chain: bytes = b""
    _revoked: Mapping[Any, datetime] = field(default_factory=dict)

    @property
    def attested(self) -> list[tuple[int, datetime]]:
        """Size of a checkpoint, and a time at which somebody outside had seen it."""
        return [(one["checkpointSize"], unstamp(one["time"])) for one in (*self.stamps, *self.cosignatures)]

    def check(self, roots: bytes | None, witnesses: Sequence[Witness]) -> None:
        """Everything that is named is there, and everything that is there is over its file."""
        with self.noting("log/entries"):
            self._named()
        self._chains(roots)
        tokens = {name: found for name in sorted(self.files) if (found := form.TOKEN.fullmatch(name))}
        if roots is None and (tokens or form.SEAL_TOKEN in self.files):
            self.warnings.append(NOT_CHECKED)
        for name, found in tokens.items():
            if (note := self.files.get(layout.note_name(int(found[1])))) is None:
                continue
            with self.noting(name):
                if (checked := self._token(self.files[name], note, roots)) is not None:
                    self.stamps.append({"checkpointSize": int(found[1]), "authority": found[2], **checked})
        self._seal(roots)
        self._cosigned(witnesses)

    def _named(self) -> None:
        """Attestations over checkpoints of the range that a leaf names."""
        start, end = self.leaves[0].index, self.leaves[-1].index + 1
        named = {layout.token_name(*token): (token[0], sha256) for token, sha256 in anchored(self.leaves).items()}
        named |= {
            layout.cosignature_name(*one): (one[0], sha256) for one, sha256 in cosignatures_named(self.leaves).items()
        }
        for name, (size, sha256) in named.items():
            if name in self.files:
                if hashlib.sha256(self.files[name]).hexdigest() != sha256:
                    self.report(name, "is not the reply the log names")
            elif start < size <= end:
                self.report(name, "is missing")
        for name in chains_named(self.leaves) - self.files.keys():
            self.report(name, "is missing")

    def _chains(self, roots: bytes | None) -> None:
        lists, chains = {}, []
        for name in sorted(self.files):
            if not form.CHAIN.fullmatch(name):
                continue
            data = self.files[name]
            if hashlib.sha256(data).hexdigest() != PurePosixPath(name).name.partition(".")[0]:
                self.report(name, "is not what its name says")
            elif name.endswith(".crl"):
                lists[name] = data
            else:
                chains.append(data.rstrip(b"\n") + b"\n")
        self._chain = b"".join(chains)
        if roots is None or not lists:
            return
        from evidence_store.revocation import issued, load_chain, revoked

        with self.noting("log/checkpoints"):
            trusted = load_chain(roots)
            trusted += issued(trusted, load_chain(self._chain))
            gone: dict[Any, datetime] = {}
            for name, data in lists.items():
                try:
                    for key, moment in revoked(trusted, [data]).items():
                        gone[key] = min(moment, gone.get(key, moment))
                except VerificationError as error:
                    self.warnings.append(f"{name} {error.what}, and was not used")
            self._revoked = gone

    def _token(self, reply: bytes, data: bytes, roots: bytes | None) -> dict[str, Any] | None:
        """Time of a token over ``data``; ``None`` when without roots only its imprint was looked at.

        Raises:
            VerificationError: it is not one.
        """
        # Imported here: a bundle without time stamps verifies without the library for them.
        from evidence_store.timestamps import check_token, read_imprint, signer_of

        if roots is None:
            if read_imprint(reply) != hashlib.sha256(data).digest():
                raise ValueError("is not a time stamp over its file")
            return None
        found = check_token(reply, data, roots, self._chain)
        signer = signer_of(reply)
        gone = None if signer is None else self._revoked.get(signer)
        if gone is not None and gone <= found.time:
            raise ValueError(f"was signed with a certificate that was revoked on {stamp(gone)}")
        return {"time": stamp(found.time), "by": found.checked_by}

    def _seal(self, roots: bytes | None) -> None:
        """The token over the seal, and the one over its signature in the Sigstore bundle."""
        seal, copy = self.files.get(form.SEAL), self.files.get(form.SIGSTORE)
        if seal is None:
            return
        if form.SEAL_TOKEN in self.files:
            with self.noting(form.SEAL_TOKEN):
                self._token(self.files[form.SEAL_TOKEN], seal, roots)
        try:
            envelope = open_envelope(seal)
            token = sigstore.read(copy, envelope) if copy is not None else None
        except VerificationError:
            return  # said when the seal was looked at
        if token is not None:
            with self.noting(form.SIGSTORE):
                self._token(token, envelope.signatures[0][1], roots)

    def _cosigned(self, witnesses: Sequence[Witness]) -> None:
        pinned = {witness.keyid: witness for witness in witnesses}
        seen, strangers = set(), 0
        for name in sorted(self.files):
            found = form.COSIGNATURE.fullmatch(name)
            note = self.files.get(layout.note_name(int(found[1]))) if found else None
            if found is None or note is None:
                continue
            seen.add(found[2])
            if found[2] not in pinned:
                strangers += 1
                continue
            with self.noting(name):
                text, _ = split_note(note)
                witness = pinned[found[2]]
                moment = stamp(witness.opened(self.files[name], text))
                self.cosignatures.append(
                    {"checkpointSize": int(found[1]), "witness": witness.name, "keyid": found[2], "time": moment}
                )
        if strangers:
            self.warnings.append(f"{strangers} cosignatures were not checked: their witness's key was not given")
        for keyid, witness in pinned.items():
            if keyid not in seen:
                self.report("log/checkpoints", f"holds no cosignature of witness {witness.name}, whose key was given")
