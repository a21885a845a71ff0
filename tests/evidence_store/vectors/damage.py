"""Vectors whose redacted replies, attachments or unordered lists the holder of the key tampered with."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from evidence_store.bundles import format as form
from evidence_store.dsse import Statement, open_envelope, open_statement, sign_statement
from evidence_store.redaction import spans_of
from evidence_store.spans import shown_span
from evidence_store.store import Store
from evidence_store.unordered import HEAD
from tests.evidence_store.vectors.tools import (
    NOT_VERIFIED,
    SOME,
    VERIFIED,
    A,
    Vector,
    add_object,
    hide,
    reseal,
    rewrite,
)

RUN = "data/runs/00000001/"
Spans = list[dict[str, str]]


def damaged(folder: Path, work: Path) -> Iterator[Vector]:
    """All of them."""
    yield from fields(folder, work)
    yield from attachments(folder)
    yield from lists(folder, work)
    yield from odd_leaves(folder)


def insider(
    folder: Path, name: str, source: str, change: Callable[[Path], object], result: str, **facts: Any
) -> Vector:
    made = Path(shutil.copytree(folder / source, folder / name))
    change(made)
    reseal(made, **facts)
    return Vector(name, result, by=SOME)


def fields(folder: Path, work: Path) -> Iterator[Vector]:
    """A reply that is shown without its fields."""
    files = sorted((folder / "redacted/data/redacted").rglob("*.json"))
    here, beside = (path.relative_to(folder / "redacted") for path in files)
    with Store.open(work / "personal") as store:
        run = store.run(1)
        seed = run.seed() or b""
        spans = {
            found.root(): found for line in run.replies() if "spans" in line for found in (spans_of(run, seed, line),)
        }
    told = shown_span(spans[here.stem], 1)
    theirs = json.loads(files[1].read_bytes())["spans"][1]

    def respan(change: Callable[[Spans], object], place: Path = here) -> Callable[[Path], object]:
        def changed(made: Path) -> None:
            value = json.loads((made / place).read_bytes())
            change(value["spans"])
            (made / place).write_bytes(spelt(value))

        return changed

    def swap(entries: Spans, place: int, entry: dict[str, str]) -> None:
        entries[place] = entry

    def first(entries: Spans, **changed: str) -> None:
        entries[0] = {**entries[0], **changed}

    def as_data(entries: Spans) -> None:
        swap(entries, 0, {"salt": entries[0]["salt"], "data": base64.b64encode(entries[0]["text"].encode()).decode()})

    def turned(entries: Spans) -> None:
        swap(entries, 0, {"text": entries[0]["text"], "salt": entries[0]["salt"]})

    def merged(entries: Spans) -> None:
        entries[:] = [{**entries[0], "text": entries[0]["text"] + told["text"] + entries[2]["text"]}]

    cases: tuple[tuple[str, Callable[[Spans], object]], ...] = (
        ("redacted-field-shown", lambda entries: swap(entries, 1, told)),
        ("redacted-field-shown-beside-its-leaf", lambda entries: swap(entries, 1, {**entries[1], **told})),
        ("redacted-leaf-of-another", lambda entries: swap(entries, 1, theirs)),
        ("redacted-leaf-of-nothing", lambda entries: swap(entries, 1, {"leaf": "0" * 64})),
        ("redacted-salt-changed", lambda entries: first(entries, salt="A" * 22)),
        ("redacted-salt-respelt", lambda entries: first(entries, salt=respelt(entries[0]["salt"]))),
        ("redacted-text-changed", lambda entries: first(entries, text=entries[0]["text"].upper())),
        ("redacted-text-as-data", as_data),
        ("redacted-entry-in-another-order", turned),
        ("redacted-span-dropped", lambda entries: entries.__delitem__(slice(1, 3))),
        ("redacted-spans-merged", merged),
        ("redacted-span-doubled", lambda entries: entries.extend(entries[1:3])),
        ("redacted-spans-turned-round", lambda entries: entries.reverse()),
        ("redacted-field-last", lambda entries: entries.append(entries[1])),
    )
    for name, change in cases:
        yield insider(folder, name, "redacted", respan(change), NOT_VERIFIED)

    def edit(place: Path | str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
        return lambda made: (made / place).write_bytes(change((made / place).read_bytes()))

    def swapped(made: Path) -> None:
        one, other = (made / here).read_bytes(), (made / beside).read_bytes()
        (made / here).write_bytes(other)
        (made / beside).write_bytes(one)

    def both(made: Path) -> None:
        shutil.copytree(folder / "redacted/data/redacted", made / "data/redacted")
        shutil.copy(folder / "redacted" / RUN / "spans.ndjson", made / RUN / "spans.ndjson")

    hide_first = edit(RUN + "spans.ndjson", lambda data: hide(data, 0))
    root = json.loads((folder / "redacted" / RUN / "spans.ndjson").read_bytes().split(b"\n")[0])["spans"]
    one = form.redacted_name(root)
    body = b'{"name":"person1","id":1}'
    yield insider(folder, "redacted-replies-swapped", "redacted", swapped, NOT_VERIFIED)
    yield insider(folder, "redacted-in-other-words", "redacted", edit(here, lambda data: data + b"\n"), NOT_VERIFIED)
    yield insider(
        folder,
        "redacted-form-changed",
        "redacted",
        edit(here, lambda data: data.replace(b'"json"', b'"xml"')),
        NOT_VERIFIED,
    )
    yield insider(
        folder,
        "redacted-count-changed",
        "redacted",
        edit(RUN + "spans.ndjson", lambda data: data.replace(b'"spanCount":3', b'"spanCount":5')),
        NOT_VERIFIED,
    )
    yield insider(
        folder,
        "redacted-line-moved",
        "redacted",
        edit(RUN + "spans.ndjson", lambda data: data.replace(b'"reply":1', b'"reply":0')),
        NOT_VERIFIED,
    )
    yield insider(folder, "redacted-line-withheld", "redacted", hide_first, NOT_VERIFIED)
    yield insider(
        folder, "redacted-reply-withheld", "redacted", lambda made: (hide_first(made), (made / one).unlink()), VERIFIED
    )
    yield insider(folder, "redacted-body-beside", "redacted", lambda made: add_object(made, body), NOT_VERIFIED)
    yield insider(folder, "redacted-and-shown", "not-redacted", both, NOT_VERIFIED)


def spelt(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def respelt(salt: str) -> str:
    """The same 16 bytes with other bits in the tail that nobody reads."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return salt[:-1] + letters[letters.index(salt[-1]) | 1]


def attachments(folder: Path) -> Iterator[Vector]:
    """What people stated, and the bytes it rests on."""
    policy = form.object_name(hashlib.sha256(b"the policy").hexdigest())
    other = form.object_name(hashlib.sha256(b"a name that must go").hexdigest())

    def write(content: bytes) -> Callable[[Path], object]:
        return lambda made: (made / policy).write_bytes(content)

    def says(**named: object) -> Callable[[Statement], Statement]:
        return lambda said: replace(said, predicate={**said.predicate, "object": {**said.predicate["object"], **named}})

    for name, content in (
        ("altered", b"the Policy"),
        ("cut", b"the poli"),
        ("grown", b"the policy "),
        ("emptied", b""),
    ):
        yield insider(folder, f"attachment-{name}", "stated", write(content), NOT_VERIFIED)
    yield insider(
        folder, "attachment-swapped", "stated", lambda made: shutil.copy(made / other, made / policy), NOT_VERIFIED
    )
    yield insider(
        folder,
        "attachment-leaf-missing",
        "stated",
        lambda made: next(made.glob("log/entries/*-attachment.*")).unlink(),
        NOT_VERIFIED,
    )
    digest = hashlib.sha256(b"the policy").hexdigest()
    cases: tuple[tuple[str, Callable[[Statement], Statement]], ...] = (
        ("of-another-size", says(size=11)),
        ("of-no-size", says(size=True)),
        ("of-too-much", says(size=65 << 20)),
        ("of-another", says(sha256="0" * 64)),
        ("with-more", says(more=1)),
        ("unsigned", lambda said: replace(said, subject={n: d for n, d in said.subject.items() if "attach" not in n})),
        (
            "of-nothing",
            lambda said: replace(said, predicate={n: v for n, v in said.predicate.items() if n != "object"}),
        ),
        (
            "signed-as-another",
            lambda said: replace(said, subject={n: "0" * 64 if digest in n else d for n, d in said.subject.items()}),
        ),
    )
    for name, change in cases:
        made = Path(shutil.copytree(folder / "stated", folder / f"attachment-{name}"))
        rewrite(made, "attachment", change, A)
        yield Vector(f"attachment-{name}", NOT_VERIFIED, by=SOME)


def lists(folder: Path, work: Path) -> Iterator[Vector]:
    """Lists in another order each time: the records that the store keeps beside the pages are no part of a bundle."""
    top = folder / "unordered"
    pages = sorted(path.relative_to(top) for path in (top / "data/objects").rglob("*") if path.is_file())
    page = pages[0]
    with Store.open(work / "unordered") as store:
        (sha256,) = store.run(2).info.lists.values()
        records = store._objects.body(sha256)
    other = top / pages[-1]
    assert len(pages) == 2
    assert records.startswith(HEAD)
    yield insider(
        folder,
        "unordered-page-altered",
        "unordered",
        lambda made: (made / page).write_bytes((made / page).read_bytes().replace(b"t", b"u", 1)),
        NOT_VERIFIED,
    )
    yield insider(folder, "unordered-page-missing", "unordered", lambda made: (made / page).unlink(), NOT_VERIFIED)
    yield insider(
        folder,
        "unordered-page-of-the-other-day",
        "unordered",
        lambda made: shutil.copy(other, made / page),
        NOT_VERIFIED,
    )
    yield insider(folder, "unordered-records-beside", "unordered", lambda made: add_object(made, records), NOT_VERIFIED)


def odd_leaves(folder: Path) -> Iterator[Vector]:
    """Leaves that are signed as they must be and say what no writer of ours says."""

    def says(**facts: object) -> Callable[[Statement], Statement]:
        return lambda said: replace(said, predicate={**said.predicate, **facts})

    def unnamed(part: str) -> Callable[[Statement], Statement]:
        return lambda said: replace(said, subject={n: d for n, d in said.subject.items() if part not in n})

    cases: tuple[tuple[str, str, str, Callable[[Statement], Statement]], ...] = (
        ("policy-that-is-a-list", "plain", "genesis", says(policy=[])),
        ("policy-of-another-release", "plain", "genesis", says(policy={"timestamp": {"must": True}})),
        ("gap-on-a-30th-of-february", "plain", "gap", says(recordedOn="2026-02-30T00:00:00.000Z")),
        ("gap-after-no-checkpoint", "plain", "gap", unnamed("log/checkpoints")),
        ("run-ended-without-its-plan", "plain", "run-close", unnamed("plan.json")),
        ("anchors-that-are-words", "cosigned", "anchor", says(anchors=["run-close"])),
        ("anchors-that-are-no-list", "cosigned", "anchor", says(anchors={})),
        (
            "anchor-nowhere",
            "cosigned",
            "anchor",
            says(anchors=[{"checkpointSize": 6, "kind": "folder", "where": "", "sha256": "0" * 64}]),
        ),
    )
    for name, source, kind, change in cases:
        made = Path(shutil.copytree(folder / source, folder / name))
        rewrite(made, kind, change, A)
        yield Vector(name, NOT_VERIFIED, by=SOME)
    for name, objects in (("erasure-of-nothing", []), ("erasure-of-words", ["all"]), ("erasure-without-list", None)):
        made = Path(shutil.copytree(folder / "erased-later", folder / name))
        (leaf,) = made.glob("keys/leaves/*-redaction.*")
        said = open_statement(open_envelope(leaf.read_bytes()).payload)
        kept = {field: value for field, value in said.predicate.items() if field != "objects"}
        told = kept if objects is None else {**kept, "objects": objects}
        leaf.write_bytes(sign_statement(replace(said, predicate=told), [A]))
        reseal(made)
        yield Vector(name, NOT_VERIFIED, by=SOME)
