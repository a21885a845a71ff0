"""Which key signs which leaf: the chain from the key of leaf 0 to the present one, and what was revoked.

A ``key-transition`` leaf is signed by the key that goes and by the key that comes, in this order. A leaf is signed by
the key in force at its place; so is a checkpoint over ``n`` leaves, by the key in force at place ``n``. The checkpoint
over a transition is therefore the first thing that the new key signs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from evidence_store.errors import TamperedError, VerificationError
from evidence_store.keys import PublicKey
from evidence_store.layout import ENTRIES
from evidence_store.log import KEY_REVOCATION, KEY_TRANSITION, SET_BY_STORE, Leaf
from evidence_store.note import verifier_key
from evidence_store.spelling import HEX256, dump

Attested = Sequence[tuple[int, datetime]]
"""Size of a checkpoint, and a time at which somebody outside had seen it."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A key whose signatures are no longer worth what they were."""

    key: str
    """Fingerprint."""
    last_good: int
    """The last leaf that counts, this one included; -1 when none does."""
    index: int
    """The leaf that says so."""
    recorded_on: datetime
    """When that leaf was written."""


@dataclass(slots=True)
class KeyChain:
    """The keys of a log in the order they were in force."""

    keys: list[PublicKey]
    """The first is that of leaf 0, the last the present one."""
    starts: list[int] = field(default_factory=lambda: [0])
    """The first leaf that each signs alone."""
    revocations: dict[str, Revocation] = field(default_factory=dict)
    """By fingerprint."""

    def copy(self) -> KeyChain:
        """A chain of its own with the same keys."""
        return KeyChain([*self.keys], [*self.starts], dict(self.revocations))

    @property
    def current(self) -> PublicKey:
        """The key that signs now."""
        return self.keys[-1]

    def earlier(self) -> dict[str, list[str]]:
        """The fingerprints that signed before, under their name; nothing when there are none."""
        return {"earlierKeys": [key.fingerprint for key in self.keys[:-1]]} if len(self.keys) > 1 else {}

    def at(self, place: int) -> PublicKey:
        """The key that signs leaf ``place``, and the checkpoint over ``place`` leaves."""
        for key, start in zip(reversed(self.keys), reversed(self.starts), strict=True):
            if place >= start:
                return key
        raise IndexError(place)

    def retired_by(self, fingerprint: str) -> int | None:
        """The transition leaf that ended a key of this chain; ``None`` when it is in force, or unknown."""
        for key, end in zip(self.keys[:-1], self.starts[1:], strict=True):
            if key.fingerprint == fingerprint:
                return end - 1
        return None

    def take(self, leaf: Leaf) -> None:
        """Check who signed the next leaf, and let it change the chain if it is about keys.

        Raises:
            TamperedError: it is not signed as it must be at this place, or contradicts the chain.
        """
        if leaf.kind == KEY_TRANSITION:
            self._hand_over(leaf)
            return
        if not leaf.envelope.signed_by(self.current):
            claimed = leaf.envelope.signatures[0][0] if leaf.envelope.signatures else ""
            retired = self.retired_by(claimed)
            by = "" if retired is None else f" but claims {claimed}, which leaf {retired} retired"
            raise TamperedError(ENTRIES, f"leaf {leaf.index} is not signed by {self.current.fingerprint}{by}")
        if leaf.kind == KEY_REVOCATION:
            self._revoke(leaf)

    def _hand_over(self, leaf: Leaf) -> None:
        try:
            key = PublicKey.from_pem(leaf.predicate["newKey"]["pem"])
            expected = transition_facts(self.current, key, leaf.index, leaf.predicate["reason"])
            if not same_facts(leaf, expected) or type(leaf.predicate["fromIndex"]) is not int:
                raise ValueError("other fields")
        except (KeyError, TypeError, ValueError, AttributeError, VerificationError) as error:
            raise TamperedError(
                ENTRIES, f"leaf {leaf.index} is no transition from {self.current.fingerprint}, the key in force"
            ) from error
        if key.fingerprint in {known.fingerprint for known in self.keys}:
            raise TamperedError(ENTRIES, f"leaf {leaf.index} hands over to {key.fingerprint}, which was used before")
        if not leaf.envelope.signed_by(self.current, key):
            raise TamperedError(
                ENTRIES,
                f"leaf {leaf.index} is not signed by both {self.current.fingerprint} and {key.fingerprint}",
            )
        self.keys.append(key)
        self.starts.append(leaf.index + 1)

    def _revoke(self, leaf: Leaf) -> None:
        found = leaf.predicate
        try:
            fingerprint, last_good, reason = found["key"], found["lastGoodIndex"], found["reason"]
            if not HEX256.fullmatch(fingerprint) or type(last_good) is not int:
                raise ValueError("not a key and a place")
            if not same_facts(leaf, {"key": fingerprint, "lastGoodIndex": last_good, "reason": reason}):
                raise ValueError("other fields")
        except (KeyError, TypeError, ValueError) as error:
            raise TamperedError(ENTRIES, f"leaf {leaf.index} revokes a key in a way that cannot be read") from error
        if wrong := self.irrevocable(fingerprint, last_good):
            raise TamperedError(ENTRIES, f"leaf {leaf.index} revokes {fingerprint}, but {wrong}")
        self.revocations[fingerprint] = Revocation(fingerprint, last_good, leaf.index, leaf.recorded_on)

    def irrevocable(self, fingerprint: str, last_good: int) -> str:
        """Why a key cannot be revoked from this place on; empty when it can."""
        ended = self.retired_by(fingerprint)
        before = self.revocations.get(fingerprint)
        if fingerprint == self.current.fingerprint:
            return "it is the key that signs now"
        if ended is None:
            return "it never signed this log"
        if not -1 <= last_good <= ended:
            return f"its last leaf is {ended}"
        if before is not None and last_good >= before.last_good:
            return f"leaf {before.index} already revokes it, from an earlier leaf on"
        return ""

    def refuses(self, pin: str, attested: Attested | None = None) -> str:
        """Why a reader who trusts only ``pin`` cannot rely on this log; empty when he can.

        Any key of the chain will do: each signs the whole tree before it, and hands over to the next. A revocation
        that reaches back to the leaf by which a key handed over breaks the chain for the pins up to that key.

        Args:
            pin: fingerprint.
            attested: what was seen outside, and when; without it, the second half of a revocation is not looked at.
        """
        known = [key.fingerprint for key in self.keys]
        if pin not in known:
            return f"is signed by {self.current.fingerprint}, not by {pin}"
        for name, end in zip(known[known.index(pin) : -1], self.starts[known.index(pin) + 1 :], strict=True):
            revoked = self.revocations.get(name)
            if revoked is None:
                continue
            why = ""
            if revoked.last_good < end - 1:
                why = f"for everything after leaf {revoked.last_good}"
            elif attested is not None and _covered(revoked, attested) < end:
                why = "and no outside time older than that covers it"
            if why:
                return (
                    f"leaf {end - 1} hands over from {name}, which leaf {revoked.index} revokes {why}: "
                    "ask the signer for the key that came after it"
                )
        return ""

    def discounted(self, attested: Attested) -> Iterator[str]:
        """The leaves whose signature no longer counts, in words, one range after the other.

        A signature by a revoked key counts up to the last good leaf, and only where somebody outside had seen a
        checkpoint over that leaf before the key was revoked: without that, nothing shows it is not newer than it says.
        A leaf by which one key hands over to another is judged by the one that came.
        """
        for key, start, end in zip(self.keys[:-1], self.starts[:-1], self.starts[1:], strict=True):
            revoked = self.revocations.get(key.fingerprint)
            if revoked is None:
                continue
            by = f"signed by {key.fingerprint}, which leaf {revoked.index} revokes"
            first, last = max(start - 1, 0), end - 2
            unseen = max(first, _covered(revoked, attested))
            if unseen <= min(last, revoked.last_good):
                words = _range(unseen, min(last, revoked.last_good))
                yield f"{words} {by}, and no outside time older than that covers them"
            if max(first, revoked.last_good + 1) <= last:
                yield f"{_range(max(first, revoked.last_good + 1), last)} {by} after leaf {revoked.last_good}"

    def trust(self, origin: str) -> bytes:
        """Content of ``keys/trust.json``: a convenience copy, made from what the log says."""
        entries = []
        for key, start in zip(self.keys, self.starts, strict=True):
            revoked = self.revocations.get(key.fingerprint)
            entry: dict[str, Any] = {
                "keyid": key.fingerprint,
                "scheme": key.scheme,
                "fromIndex": start,
                "pem": key.pem(),
                "vkey": verifier_key(origin, key),
            }
            entries.append(entry | ({} if revoked is None else {"lastGoodIndex": revoked.last_good}))
        return dump({"keys": entries})


def transition_facts(old: PublicKey, new: PublicKey, index: int, reason: str) -> dict[str, Any]:
    """What transition leaf ``index`` says."""
    key = {"scheme": new.scheme, "pem": new.pem()}
    return {"oldKey": old.fingerprint, "newKey": key, "fromIndex": index + 1, "reason": reason}


def same_facts(leaf: Leaf, facts: dict[str, Any]) -> bool:
    """Whether a leaf says exactly this beside its place and time, its reason in words."""
    found = {name: value for name, value in leaf.predicate.items() if name not in SET_BY_STORE}
    return found == facts and isinstance(facts["reason"], str)


def _covered(revoked: Revocation, attested: Attested) -> int:
    """How many leaves somebody outside had seen when the key was revoked."""
    return max((size for size, moment in attested if moment <= revoked.recorded_on), default=0)


def _range(first: int, last: int) -> str:
    return f"leaf {first} is" if first == last else f"leaves {first} to {last} are"
