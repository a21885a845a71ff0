"""Reads every file of a bundle once, and holds what is there against the three lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from evidence_store import layout
from evidence_store.bundles import format as form
from evidence_store.bundles.check import Check, File
from evidence_store.bundles.lines import STREAMS, LineSummary, objects_of, readable
from evidence_store.bundles.source import Entry, printable
from evidence_store.errors import TamperedError
from evidence_store.spans import open_redacted


def read_files(check: Check, entries: Iterator[Entry]) -> None:
    """The one pass: every file is hashed, what is needed is kept or summed up."""
    seen: set[str] = set()
    held = 0
    for entry in entries:
        name = entry.name
        if name.lower() in seen:
            check.report(printable(name), "occurs twice")
            continue
        seen.add(name.lower())
        limit = form.limit_of(name)
        if limit is None or entry.size > limit:
            check.report(printable(name), f"is longer than {limit} bytes" if limit else "is not part of a bundle")
            continue
        hold = not name.startswith(("data/", "verify/"))
        held += entry.size if hold else 0
        if held > check.limits.held:
            raise TamperedError(name, f"and what was read before it are longer than {check.limits.held} bytes")
        with check.noting(name):
            check.files[name] = _file(check, name, entry, hold)


def _file(check: Check, name: str, entry: Entry, hold: bool) -> File:
    digest, kept = hashlib.sha256(), []
    run_file, redacted = form.RUN_FILE.fullmatch(name), form.REDACTED.fullmatch(name)
    stream = run_file[2] if run_file else ""
    summary = LineSummary(name, stream, check.named) if stream in STREAMS else None
    # Plans and redacted replies may be large: what is needed of them is noted now, and they are let go.
    brief = stream == layout.PLAN or redacted is not None
    for chunk in entry.chunks():
        digest.update(chunk)
        if summary is not None:
            summary.take(chunk)
        if hold or brief:
            kept.append(chunk)
    content = b"".join(kept)
    file = File(entry.size, digest.hexdigest(), content if hold else None, summary)
    if summary is not None:
        summary.end()
    with check.noting(name):
        if stream == layout.PLAN:
            file.copies = readable(content)
            for sha256 in objects_of(content):
                check.named.body(sha256, name)
        if redacted is not None:
            file.spans = len(open_redacted(content, redacted[2]).pieces)
        if (found := form.OBJECT.fullmatch(name)) and file.sha256 != found[2]:
            raise ValueError("has other content than its name")
    return file


def check_lists(check: Check) -> None:
    """The three lists name every file, with its digest, and no other."""
    for name in form.REQUIRED:
        if name not in check.files:
            check.report(name, "is missing")
    if (bagit := check.content(form.BAGIT)) is not None and bagit != form.BAGIT_TEXT:
        check.report(form.BAGIT, "is not spelt as BagIt 1.0")
    lists: dict[str, dict[str, str]] = {form.MANIFEST: {}, form.TAGS: {}, form.SEAL_LIST: {}}
    for name in lists:
        if (data := check.content(name)) is None:
            continue
        with check.noting(name):
            lists[name] = form.read_list(data)
    for name, listed in lists.items():
        if name not in check.files:
            continue
        for path, sha256 in listed.items():
            if form.part_of(path) != name or form.limit_of(path) is None:
                check.report(name, f"lists {printable(path)[:200]}, which is not part of it")
            elif path not in check.files:
                check.report(path, "is missing")
            elif check.files[path].sha256 != sha256:
                check.report(path, "has other content than listed")
        for path in check.files:
            if form.part_of(path) == name and path not in listed:
                check.report(path, "is not listed")
    payload = [file.size for name, file in check.files.items() if name.startswith("data/")]
    if (data := check.content(form.INFO)) is not None:
        with check.noting(form.INFO):
            if form.read_bag_info(data)["Payload-Oxum"] != f"{sum(payload)}.{len(payload)}":
                raise ValueError("states another Payload-Oxum than was counted")
