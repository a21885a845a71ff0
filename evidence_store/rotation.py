"""Hands a log over to another key, and revokes a key that is no longer to be trusted."""

from __future__ import annotations

from evidence_store.errors import UsageError
from evidence_store.keychain import transition_facts
from evidence_store.keys import Signer, fingerprint_of
from evidence_store.log import KEY_REVOCATION, KEY_TRANSITION, Leaf
from evidence_store.writer import LogWriter


def rotate(log: LogWriter, new: Signer, reason: str) -> Leaf:
    """The log is signed by ``new`` from the checkpoint over the returned leaf on.

    A crash on the way leaves a log of the old key, or one of the new key: never both, never neither.

    Raises:
        UsageError: this key has signed the log before.
        StoreError: a signer or the disk refused; close the store and open it again.
    """
    log.check_usable()
    chain = log.history.keys
    if new.keyid in {key.fingerprint for key in chain.keys}:
        raise UsageError(f"{new.keyid} has signed this log before", "make a new key: a key never comes back")
    facts = transition_facts(chain.current, new.public, len(log.history.leaves), reason)
    data = log.make(KEY_TRANSITION, facts, {}, beside=[new])
    log.signer = new
    leaf = log.commit(data)
    log.settle_trust()
    return leaf


def revoke(log: LogWriter, fingerprint: str, last_good: int, reason: str) -> Leaf:
    """Signatures of a retired key no longer count after leaf ``last_good``, nor where nobody outside saw them in time.

    Raises:
        UsageError: the key cannot be revoked from there on.
        StoreError: the signer or the disk refused.
    """
    key = fingerprint_of(fingerprint)
    if wrong := log.history.keys.irrevocable(key, last_good):
        step = "rotate to a new key first" if "signs now" in wrong else "'key show' lists the keys of the log"
        raise UsageError(f"{key} cannot be revoked from leaf {last_good + 1} on: {wrong}", step)
    leaf = log.append(KEY_REVOCATION, {"key": key, "lastGoodIndex": last_good, "reason": reason}, {})
    log.settle_trust()
    return leaf
