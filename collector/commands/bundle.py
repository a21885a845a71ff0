"""What the command about bundles does, and how a run is taken out of one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from collector.commands.opening import NotVerifiedError, configured
from collector.console import say
from collector.errors import ConfigError

if TYPE_CHECKING:
    from evidence_store.bundles.run import BundleRun

Arguments = argparse.Namespace


def bundle(arguments: Arguments) -> int:
    """A bundle for an auditor; its fingerprint and its head are printed."""
    from collector.bundling import Selection, make
    from collector.commands.period import period
    from collector.signing import bucket, signer
    from evidence_store.__main__ import since_text
    from evidence_store.bundles.build import qr_terminal
    from evidence_store.store import Store

    config = configured(arguments.config)
    selection = Selection.of(config, _listed(arguments.controls), _listed(arguments.scopes))
    covered = period(arguments.start, arguments.end)
    signing = signer(config)
    with Store.open(config.store.path, signer=signing, remote=bucket(config)) as store:
        built = make(
            config, store, signing, arguments.output, covered,
            selection=selection, recipient=arguments.recipient, how=arguments.form, redact=arguments.redact,
            since=since_text(arguments.since), say=say,
        )  # fmt: skip
    facts = built.facts
    if arguments.json:
        document = {
            "schema": "affidavit.bundle/1", "path": str(built.path), "tagmanifest": built.sha256,
            "fingerprint": built.fingerprint, "words": built.words, "head": built.head.text(), **facts.predicate(),
        }  # fmt: skip
        print(json.dumps(document))
        return 0
    runs = ", ".join(f"{count} {state}" for state, count in facts.runs.items() if count)
    print(f"{built.path}: {runs or 'no'} runs, leaves {facts.start} to {facts.end - 1} of {facts.origin}")
    if facts.withheld_replies or facts.withheld_results:
        print(f"withheld and counted: {facts.withheld_replies} replies, {facts.withheld_results} results")
    if facts.withheld_attachments:
        print(f"attachments whose bytes are left out, and counted: {facts.withheld_attachments}")
    print(f"fingerprint: {built.fingerprint}\nhead, for the auditor's own report:\n  {built.words}")
    print(qr_terminal(built.head), end="")
    print(f"next: affidavit verify {built.path} --key {built.fingerprint}")
    return 0


@contextmanager
def run_in_bundle(arguments: Arguments) -> Iterator[BundleRun]:
    """The run a command names, of a bundle that was verified.

    Raises:
        TamperedError: the bundle is not what was sealed.
        NotVerifiedError: it is not signed by the key that was given.
    """
    from evidence_store.bundles.run import Bundle

    with Bundle.open(arguments.path, key=arguments.key) as opened:
        if arguments.key and not opened.verification.ok:
            raise NotVerifiedError("the bundle is not signed by that key", "do not rely on it")
        if not arguments.key:
            say(f"note: nobody has authenticated the signer {opened.fingerprint}; give the fingerprint with --key")
        number = arguments.run
        if arguments.as_of is not None:
            from collector.commands.period import moment

            until = moment(arguments.as_of, end_of_day=True)
            older = [n for n in opened.runs() if (r := opened.run(n)).state == "complete" and r.opened_on <= until]
            if not older:
                raise ConfigError(f"no complete run of the bundle is as old as {arguments.as_of}", "name a later date")
            number = older[-1]
        yield opened.run(number)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
