"""Checks the seal of a bundle: the tag manifest is signed, three times over, and what the seal says is so."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from evidence_store import sigstore, sshsig
from evidence_store.bundles import format as form
from evidence_store.bundles.check import Check
from evidence_store.dsse import Envelope, open_envelope, open_statement


def check_seal(check: Check) -> None:
    """The tag manifest is signed by the newest key, three times over, and the facts beside it are so."""
    tags, data = check.content(form.TAGS), check.content(form.SEAL)
    if data is None:
        return
    envelope: Envelope | None = None
    with check.noting(form.SEAL):
        envelope = open_envelope(data)
        statement = open_statement(envelope.payload)
        if statement.kind != form.KIND or list(statement.subject) != [form.TAGS] or len(envelope.signatures) != 1:
            raise ValueError("is not the seal of a bundle")
        facts = check.found.facts = form.Facts.read(statement.predicate)
        if tags is not None and statement.subject[form.TAGS] != hashlib.sha256(tags).hexdigest():
            check.report(form.TAGS, "is not what was sealed")
        if check.chain is not None and not envelope.signed_by(check.chain.current):
            raise ValueError("has a signature that does not verify")
        _sealed_facts(check, facts)
        if facts.stamped != (form.SEAL_TOKEN in check.files):
            check.report(form.SEAL_TOKEN, "is missing" if facts.stamped else "is not part of this bundle")
    if (signature := check.content(form.SSH)) is not None and tags is not None and check.chain is not None:
        with check.noting(form.SSH):
            sshsig.verify(signature, tags, form.NAMESPACE, check.chain.current)
    if (copy := check.content(form.SIGSTORE)) is not None and envelope is not None:
        with check.noting(form.SIGSTORE):
            token = sigstore.read(copy, envelope)
            if _stamped(check) not in (None, token is not None):
                raise ValueError("holds a time stamp against what is sealed, or lacks it")


def _stamped(check: Check) -> bool | None:
    return None if check.found.facts is None else check.found.facts.stamped


def _sealed_facts(check: Check, facts: form.Facts) -> None:
    head = check.found.head
    if head is None:
        return
    if (facts.origin, facts.end, facts.root) != (head.origin, head.size, head.root.hex()):
        check.report(form.SEAL, "speaks of another head than the log")
    if check.found.leaves and facts.start != check.found.leaves[0].index:
        check.report(form.SEAL, "speaks of another range than the log")
    identity = " ".join(head.text().split("\n")[:3])
    with suppress(ValueError):
        if form.read_bag_info(check.content(form.INFO) or b"")["External-Identifier"] != identity:
            check.report(form.INFO, "names another head than the log")
