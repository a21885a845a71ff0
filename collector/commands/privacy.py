"""What the commands about people's data do: prove one field, check such a proof, erase a body."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from collector.commands.opening import NotVerifiedError, configured, content, write
from collector.console import say
from collector.errors import ConfigError

if TYPE_CHECKING:
    from evidence_store.disclose import Disclosed
    from evidence_store.run import SealedRun

Arguments = argparse.Namespace
AROUND = 60
"""Bytes that are printed on either side of a field that is proven against a bundle."""


def disclose(arguments: Arguments) -> int:
    """The proof of one reply, or of one field of it, in a file."""
    from evidence_store.disclose import disclose as prove
    from evidence_store.store import Store

    if arguments.output.exists():
        raise ConfigError(f"{arguments.output} exists", "name a new file: nothing is overwritten")
    with Store.open(arguments.store) as store:
        run = store.run(arguments.run)
        span = _span_at(run, arguments.reply, arguments.field) if arguments.field else arguments.span
        size = _size(arguments.checkpoint) if arguments.checkpoint else store.size
        proof = prove(run, store.leaves, store.key_chain, store.origin, arguments.reply, span=span, size=size)
    write(arguments.output, proof)
    what = "the whole reply" if span is None else f"span {span}"
    print(f"wrote {arguments.output}: {what} of reply {arguments.reply} of run {arguments.run}, against {size} leaves")
    say("it shows what it proves to whoever reads it: give it to nobody else")
    return 0


def verify_disclosure(arguments: Arguments) -> int:
    """Whether a proof holds against a bundle, or against a checkpoint that was kept."""
    from evidence_store.disclose import check_with_note

    proof = content(arguments.proof)
    around: tuple[bytes, bytes] | None = None
    if arguments.bundle:
        found, around = _against_bundle(proof, arguments.bundle, arguments.key)
    else:
        found = check_with_note(proof, content(arguments.checkpoint), arguments.key)
    document = found.as_row()
    if arguments.json:
        print(json.dumps(document))
        return 0
    for name, value in document.items():
        if name not in ("schema", "content") and value is not None:
            print(f"{name:<12}{ascii(value)[1:-1] if isinstance(value, str) else value}")
    shown = [ascii(part.decode("utf-8", "backslashreplace"))[1:-1] for part in (around or (b"", b""))]
    text = ascii(document["content"])[1:-1]
    print(f"content     {text}" if around is None else f"in its place {shown[0]}>>>{text}<<<{shown[1]}")
    print("proven: this was received and sealed as it stands here; not that the answer was true")
    return 0


def erase(arguments: Arguments) -> int:
    """Bodies are gone from the store; the log keeps their digests and says why."""
    from collector.signing import bucket, signer
    from evidence_store.store import Store

    config = configured(arguments.config)
    with Store.open(
        arguments.store or config.store.path, signer=signer(config), remote=None if arguments.store else bucket(config)
    ) as store:
        index = store.erase(arguments.object, basis=arguments.basis, approved_by=arguments.approved_by)
        print(f"leaf {index} of {store.origin} records that {len(arguments.object)} bodies were erased")
    say("copies elsewhere (backups, bundles, replicas) are not reached: erase them too")
    return 0


def _span_at(run: SealedRun, reply: int, path: str) -> int:
    """The one field of a reply that stands at a path."""
    from collector.privacy import ranges_at
    from evidence_store.spans import Cut

    line = next((line for line in run.replies() if line["i"] == reply), None)
    if line is None or "cut" not in line:
        raise ConfigError(f"reply {reply} has no personal fields", "disclose it without --field")
    cut = Cut.read(run.object(line["cut"]))
    wanted = set(ranges_at(path, run.object(line["sha256"])))
    found = [2 * place + 1 for place, pair in enumerate(cut.ranges) if pair in wanted]
    if len(found) != 1:
        where = f"spans {', '.join(map(str, found[:20]))}" if found else "none of its fields"
        raise ConfigError(f"{path} in reply {reply} is {where}", "name one with --span")
    return found[0]


def _size(path: Path) -> int:
    """The number of leaves under a checkpoint file."""
    lines = content(path).decode("utf-8", "replace").split("\n")
    if len(lines) < 3 or not (lines[1].isascii() and lines[1].isdigit()):
        raise ConfigError(f"{path} is not a checkpoint", "name a .note file, as in log/checkpoints of a bundle")
    return int(lines[1])


def _against_bundle(proof: bytes, path: Path, key: str) -> tuple[Disclosed, tuple[bytes, bytes] | None]:
    from evidence_store.bundles.run import Bundle
    from evidence_store.disclose import check
    from evidence_store.note import Checkpoint
    from evidence_store.spelling import unb64

    with Bundle.open(path, key=key) as bundle:
        if not bundle.verification.ok:
            raise NotVerifiedError("the bundle is not signed by that key", "do not rely on it")
        origin, size, root, _ = bundle.verification.checkpoint.split("\n")
        found = check(proof, Checkpoint(origin, int(size), unb64(root)))
        if found.span is None or found.run not in bundle.runs():
            return found, None
        shown = bundle.run(found.run).redacted(found.spans)
        if shown is None:
            return found, None
        if not found.span < len(shown.leaves) or shown.leaves[found.span] != found.leaf:
            raise NotVerifiedError(
                "the field is not the one that the bundle leaves out", "ask for the disclosure again"
            )
        before, after = shown.pieces[found.span - 1 : found.span + 2 : 2] if found.span % 2 else (b"", b"")
        return found, ((before or b"")[-AROUND:], (after or b"")[:AROUND])
