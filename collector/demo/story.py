"""The demo's story: collect, seal, name who left, verify, re-perform; an altered byte, and a denied permission."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from collector import run as running
from collector.attachments import facts
from collector.config import load as load_config
from collector.console import Progress
from collector.demo import registers
from collector.errors import AffidavitError, ConfigError
from collector.leavers import leavers, screen
from collector.model import Finding
from collector.permissions import policy
from collector.rerun import rerun
from evidence_store.keys import create_key_file, load_key_file
from evidence_store.store import Store
from evidence_store.verify import verify_store

CONFIG = """\
# The configuration of the demo: an emulated AWS account, this host, a TLS server with a bad certificate, and registers.
version: 1
organisation: Example Ltd (demo)
store: {{path: store, origin: demo.example.org/affidavit}}
key: {{file: affidavit.key, passphrase: file:affidavit.passphrase}}
connections:
  - name: demo
    kind: aws
    regions: [eu-central-1, eu-west-1]
    endpoint_url: {endpoint}
    access_key_id: file:aws-key-id
    secret_access_key: file:aws-secret
  - {{name: this-host, kind: host}}
  - {{name: demo-tls, kind: tls, endpoints: ["{tls}"], timeout_s: 5}}
  - {{name: registers, kind: register, folder: registers}}
checks:
  parameters:
    joins.aws.owned: {{service_accounts: ["*-bot"]}}
    aws.iam.role-trust-known-accounts: {{known_accounts: ["210987654321"]}}
collection: {{attempts: 2, timeout_s: 30}}
daemon:
  schedules: [{{name: nightly, cron: 15 2 * * *}}]
"""

STATED = ("iso-27001", "2022+amd1", "A.5.4")
"""What the minutes speak of."""
DENIED = "s3:GetBucketPolicy"
WATCHED = "aws.s3.policy-not-public"


class StoryError(AffidavitError):
    """The demo did not show what it promises."""

    exit_code = 4


def tell(keep: Path | None) -> int:
    """Tell the story; with ``keep``, leave configuration, store, fingerprint and report there.

    Raises:
        ConfigError: the emulator is not installed, or ``keep`` holds something already.
        StoryError: a part of the story did not hold.
    """
    if find_spec("moto") is None:
        raise ConfigError(
            "the demo needs the emulator, which is not installed", "install it with: pip install 'affidavit[demo]'"
        )
    with ExitStack() as stack:
        if keep is None:
            folder = Path(tempfile.mkdtemp(prefix="affidavit-demo-"))
        else:
            folder = keep.absolute()
            try:
                folder.mkdir(parents=True, exist_ok=True)
                full = any(folder.iterdir())
            except OSError as error:
                raise ConfigError(f"{folder} cannot be written: {error.strerror}", "name a new folder") from error
            if full:
                raise ConfigError(f"{folder} is not empty", "name a new folder")
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affidavit-demo-")))
        started = time.monotonic()
        ready = stack.enter_context(_emulator(scratch))
        tls = stack.enter_context(_tls())
        kept = registers.write(folder / "registers")
        expected = json.loads((scratch / "expected.json").read_text("utf8")) + kept.expected
        (folder / "expected.json").write_text(json.dumps(expected, indent=1), "utf8")
        _step(
            1,
            f"An AWS account of {ready['resources']} resources in two regions, this host, a TLS server, and registers "
            f"of {kept.resources} rows stand ready.",
        )
        fingerprint = _configure(folder, ready["endpoint"], tls)
        findings = _collect(folder)
        _check_expectations(folder, findings)
        _leavers(folder)
        _seal_holds(folder, fingerprint)
        _altered_byte(folder, scratch, fingerprint)
        _denied_permission(folder, scratch, ready["endpoint"], findings)
        page = _page(folder, fingerprint)
        print(f"\nThe story held, in {time.monotonic() - started:.0f} s. Read it: {page}")
        print(
            f"The evidence is in {folder / 'store'}; check it with:\n"
            f"  affidavit verify {folder / 'store'} --key {fingerprint}"
        )
    return 0


def _step(number: int, text: str) -> None:
    print(f"\n{number}. {text}", flush=True)


@contextmanager
def _emulator(scratch: Path) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen([sys.executable, "-m", "collector.demo.emulator", str(scratch)], stdin=subprocess.PIPE)
    try:
        ready = scratch / "ready.json"
        deadline = time.monotonic() + 120
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StoryError(
                    "the emulator did not start", "run python -m collector.demo.emulator FOLDER and read what it prints"
                )
            time.sleep(0.05)
        yield json.loads(ready.read_text("utf8"))
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def _tls() -> Iterator[str]:
    from collector.demo.tls_server import serve

    with serve() as address:
        yield address


def _configure(folder: Path, endpoint: str, tls: str) -> str:
    """Configuration, credentials of the emulator, key and fingerprint."""
    for name, text in (
        ("aws-key-id", "testing"),
        ("aws-secret", "testing"),
        ("affidavit.passphrase", "a passphrase for the demo only"),
    ):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, "utf8")
    (folder / "config.yaml").write_text(CONFIG.format(endpoint=endpoint, tls=tls), "utf8")
    fingerprint = create_key_file(folder / "affidavit.key", (folder / "affidavit.passphrase").read_bytes())
    (folder / "fingerprint").write_text(fingerprint + "\n", "utf8")
    return fingerprint


def _store(folder: Path, path: Path) -> Store:
    signer = load_key_file(folder / "affidavit.key", (folder / "affidavit.passphrase").read_bytes())
    if path.exists():
        return Store.open(path, signer=signer)
    return Store.create(path, origin="demo.example.org/affidavit", signer=signer)


def _collect(folder: Path) -> list[Finding]:
    bench = running.prepare(load_config(folder / "config.yaml"))
    with _store(folder, folder / "store") as store, Progress() as progress:
        leaf = _state_minutes(store)
        sealed = running.run(
            bench, store, trigger="demo", stop=threading.Event(), progress=progress.finished, planned=progress.planned
        )
    results = sealed.results
    counts = ", ".join(f"{count} {outcome}" for outcome, count in results.counts.items() if count)
    words = Counter(
        str(control.result)
        for control in results.controls
        if control.framework == "iso-27001" and control.id.startswith("A.")
    )
    _step(2, f"Collected, judged and sealed: {counts}; {len(results.gaps)} gaps.")
    print(f"   ISO/IEC 27001 Annex A: {', '.join(f'{count} {word}' for word, count in words.most_common())}.")
    print(f"   Beside it stands what a person states: minutes of the management review, for {STATED[2]} (leaf {leaf}).")
    return results.findings


def _state_minutes(store: Store) -> int:
    """What ``affidavit attach minutes.md --control A.5.4 --by ...`` does."""
    now = datetime.now(UTC)
    held = now - timedelta(days=90)
    told = facts(
        form="file", name="minutes.md", title="Minutes of the management review", controls=[STATED], start=held,
        end=now, effective=now, valid_until=now + timedelta(days=275), by="p-2",
        role="information security officer", now=now,
    )  # fmt: skip
    return store.attach(told, registers.MINUTES.encode())


def _check_expectations(folder: Path, findings: list[Finding]) -> None:
    """Every fault the seeder planted was found, every virtue passes."""
    said: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        said.setdefault((finding.check, finding.resource), set()).add(str(finding.outcome))
    expected = json.loads((folder / "expected.json").read_text("utf8"))
    wrong = [item for item in expected if item["outcome"] not in said.get((item["check"], item["resource"]), set())]
    for item in wrong[:20]:
        print(f"   {item['check']} {item['resource']}: expected {item['outcome']}, said {_said(said, item)}")
    if wrong:
        raise StoryError(
            f"{len(wrong)} of {len(expected)} expectations of the seeder were not met", "the lines above name them"
        )
    faults = sum(item["outcome"] == "FAIL" for item in expected)
    _step(3, f"All {faults} planted faults were found, and all {len(expected) - faults} planted virtues hold.")


def _said(said: dict[tuple[str, str], set[str]], item: dict[str, str]) -> str:
    return ", ".join(sorted(said.get((item["check"], item["resource"]), ()))) or "nothing"


def _leavers(folder: Path) -> None:
    """The screen of ``affidavit leavers``."""
    with Store.open(folder / "store") as store:
        run = store.run()
        shown = leavers(run)
    if [len(one.access) for one in shown.people] != [2] or shown.unknown:
        raise StoryError(f"not one person with two ways in, but {shown.people}, {shown.unknown}", "report this")
    _step(4, "Who left and can still get in (affidavit leavers):")
    print(screen(shown))


def _seal_holds(folder: Path, fingerprint: str) -> None:
    verification = verify_store(folder / "store", key=fingerprint)
    if not verification.ok:
        raise StoryError(f"the fresh store does not verify: {verification.problems}", "report this")
    _step(5, f"Verified: {verification.leaves} leaves, {verification.replies} replies, signed by {fingerprint[:16]}...")
    for warning in verification.warnings:
        print(f"   warning: {warning}")
    with Store.open(folder / "store") as store:
        outcome = rerun(store.run())
    if not outcome.equal:
        raise StoryError(
            f"{len(outcome.differences)} lines differ: {outcome.differences[0] if outcome.differences else 'unused'}",
            "report this",
        )
    _step(6, f"Re-performed offline: {outcome.findings} findings from {outcome.replies} recorded replies, all equal.")


def _altered_byte(folder: Path, scratch: Path, fingerprint: str) -> None:
    copy = scratch / "altered"
    shutil.copytree(folder / "store", copy)
    pack = next(copy.glob("runs/*/objects.pack"))
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    verification = verify_store(copy, key=fingerprint)
    named = [problem for problem in verification.problems if str(pack.relative_to(copy)) in str(problem)]
    if verification.ok or not named:
        raise StoryError("an altered byte was not caught", "report this")
    _step(7, "One bit of one sealed reply is flipped in a copy; verify says:")
    print(f"   {named[0]}")


def _denied_permission(folder: Path, scratch: Path, endpoint: str, before: list[Finding]) -> None:
    """A second collection with the least privilege there is, less one permission; the emulator enforces it."""
    bench = running.prepare(load_config(folder / "config.yaml"))
    _as_restricted_user(folder, scratch, endpoint, bench)
    denied = running.prepare(load_config(scratch / "config.yaml"))
    with _store(folder, scratch / "denied") as store:
        sealed = running.run(
            denied,
            store,
            trigger="demo",
            stop=threading.Event(),
            wanted=lambda check: check.id == WATCHED,
            connections=("demo",),
        )
    passed = {finding.resource for finding in before if finding.check == WATCHED and finding.outcome == "PASS"}
    after = [finding for finding in sealed.results.findings if finding.check == WATCHED]
    if {finding.resource for finding in after} < passed or any(str(finding.outcome) != "UNKNOWN" for finding in after):
        raise StoryError(
            f"with {DENIED} denied, {WATCHED} said {Counter(str(f.outcome) for f in after)}", "report this"
        )
    _step(
        8,
        f"Read again without permission {DENIED}: {len(passed)} buckets that passed are now UNKNOWN, none vanished.",
    )
    print(f"   {after[0].resource}: {after[0].reason}")


def _as_restricted_user(folder: Path, scratch: Path, endpoint: str, bench: running.Workbench) -> None:
    import boto3
    import requests

    from collector import plan as planning
    from collector.model import instant

    plan = planning.make(
        bench.config, bench.library, instant("2026-01-01T00:00:00Z"), wanted=lambda check: check.id == WATCHED
    )
    document = policy(plan, bench.library)["aws"]
    document["Statement"][0]["Action"].remove(DENIED)
    iam = boto3.client(
        "iam",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    iam.create_user(UserName="affidavit")
    iam.put_user_policy(UserName="affidavit", PolicyName="read", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="affidavit")["AccessKey"]
    for name in ("config.yaml", "affidavit.key", "affidavit.passphrase"):
        shutil.copy(folder / name, scratch / name)
    for name, text in (("aws-key-id", key["AccessKeyId"]), ("aws-secret", key["SecretAccessKey"])):
        (scratch / name).touch(mode=0o600)
        (scratch / name).write_text(text, "utf8")
    requests.post(
        f"{endpoint}/moto-api/reset-auth", data="0", headers={"Content-Type": "text/plain"}, timeout=10
    ).raise_for_status()


def _page(folder: Path, fingerprint: str) -> Path:
    from collector.report import from_run, page

    verification = verify_store(folder / "store", key=fingerprint)
    with Store.open(folder / "store") as store:
        data = from_run(store.run(), verification, key=fingerprint, notes=store.notes())
    target = folder / "report.html"
    target.write_text(page.render(data), "utf8")
    return target
