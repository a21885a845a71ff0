"""The command line: options, exit codes, and errors in two lines. Everything else is imported when it is needed."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import collector
from collector.errors import AffidavitError, ConfigError

EPILOG = """\
exit codes: 0 everything planned was read and conforms, 1 at least one FAIL, 2 usage or configuration error,
3 evidence is incomplete (outranks 1), 4 a store does not verify or a rerun disagrees, 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="affidavit", description="Compliance evidence an auditor can re-perform.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"affidavit {collector.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, group: Any = commands) -> argparse.ArgumentParser:  # noqa: A002
        made: argparse.ArgumentParser = group.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False
        )
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return made

    def group(name: str, help: str) -> Any:  # noqa: A002
        made = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
        return made.add_subparsers(dest="action", required=True, metavar="ACTION")

    demo = command("demo", "show the whole story on an embedded estate, without credentials")
    demo.add_argument(
        "--keep", type=Path, metavar="DIR", help="leave configuration, store, fingerprint and report there"
    )

    init = command("init", "write a configuration and make a signing key")
    init.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="where (this folder)")

    doctor = command("doctor", "check key, store, clock, authorities, credentials and rights before a run")
    _with_config(doctor)
    doctor.add_argument("--json", action="store_true", help="one JSON document")

    plan = command("plan", "show what a run would ask")
    _with_config(plan)
    _with_selection(plan)
    plan.add_argument("--permissions", action="store_true", help="the permissions it needs, nothing more")
    plan.add_argument("--json", action="store_true", help="one JSON document")

    run = command("run", "collect, judge, seal and store, once")
    _with_config(run)
    _with_selection(run)
    run.add_argument("--reason", default="", metavar="TEXT", help="why checks, limits or configuration were changed")
    run.add_argument("--json", action="store_true", help="one JSON document on standard output")

    daemon = command("daemon", "run on the schedules of the configuration until SIGTERM")
    _with_config(daemon)
    daemon.add_argument("--reason", default="", metavar="TEXT", help="why checks, limits or configuration were changed")

    verify = command("verify", "check signatures, digests, log and time stamps of a store or a bundle")
    verify.add_argument("path", type=Path, metavar="PATH", help="folder of a store; folder, zip or tar.zst of a bundle")
    verify.add_argument("--key", metavar="FINGERPRINT", help="SHA-256 of the public key, obtained outside the store")
    verify.add_argument(
        "--since", metavar="WORDS_OR_NOTE", help="a head that a bundle must extend: twelve words, or a note file"
    )
    verify.add_argument("--tsa-roots", type=Path, metavar="PEM", help="root certificates of the time-stamp authorities")
    verify.add_argument("--max-stamp-lag-h", type=float, default=24, metavar="HOURS", help="oldest stamp accepted (24)")
    _with_witnesses(verify)
    verify.add_argument(
        "--against", action="append", default=[], type=Path, metavar="NOTE",
        help="a checkpoint held elsewhere, or a folder of them, that the log must extend",
    )  # fmt: skip
    verify.add_argument("--no-read-data", action="store_true", help="log and manifests only, not every body")
    verify.add_argument("--chain-only", action="store_true", help="log, signatures and sealed files; no line, no body")
    verify.add_argument("--json", action="store_true", help="one JSON document")

    rerun = command("rerun", "re-perform a sealed run offline; any difference is an error")
    rerun.add_argument("path", type=Path, metavar="PATH", help="folder of a store; folder, zip or tar.zst of a bundle")
    rerun.add_argument("run", nargs="?", type=int, metavar="RUN", help="its number (the newest complete one)")
    rerun.add_argument("--key", metavar="FINGERPRINT", help="verify the store with this key first")
    rerun.add_argument(
        "--sealed-code", action="store_true", help="execute the check code inside the run: only for runs you trust"
    )
    rerun.add_argument("--json", action="store_true", help="one JSON document")

    rerun.add_argument("--as-of", metavar="DATE", help="the newest complete run not later than this")
    rerun.add_argument(
        "--checks",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="judge with the checks in this folder",
    )

    diff = command("diff", "compare two runs: what changed in the world, what in the ruler")
    diff.add_argument("path", type=Path, metavar="STORE", help="folder of the store")
    diff.add_argument("old", type=int, metavar="A", help="number of the older run")
    diff.add_argument("new", type=int, metavar="B", help="number of the newer run")
    diff.add_argument("--sealed-code", action="store_true", help="execute the check code inside the runs")
    diff.add_argument("--json", action="store_true", help="one JSON document")

    continuity = command("continuity", "show every slot of a period and what became of it")
    _with_config(continuity)
    continuity.add_argument("--from", dest="start", required=True, metavar="DATE", help="first day of the period")
    continuity.add_argument("--to", dest="end", required=True, metavar="DATE", help="last day of the period")
    continuity.add_argument("--json", action="store_true", help="one JSON document")

    pause = command("pause", "record that nothing is to be collected for a time, and why")
    _with_config(pause)
    pause.add_argument("--from", dest="start", required=True, metavar="MOMENT", help="from when")
    pause.add_argument("--to", dest="end", required=True, metavar="MOMENT", help="until when")
    pause.add_argument("--by", required=True, metavar="NAME", help="who decided it")
    pause.add_argument("--reason", required=True, metavar="TEXT", help="why")

    observe = command("observe", "show what an auditor may ask about the evidence of a period")
    _with_config(observe)
    observe.add_argument("--from", dest="start", required=True, metavar="DATE", help="first day of the period")
    observe.add_argument("--to", dest="end", required=True, metavar="DATE", help="last day of the period")
    observe.add_argument("--audit", metavar="DATE", help="day of the audit (the end of the period)")
    observe.add_argument("--json", action="store_true", help="one JSON document")

    attach = command("attach", "seal what a person states as evidence: files, or words")
    _with_config(attach)
    attach.add_argument("files", nargs="*", type=Path, metavar="FILE", help="what is attached, each as its own")
    attach.add_argument("--statement", default="", metavar="TEXT", help="words instead of a file")
    attach.add_argument(
        "--control", action="append", default=[], metavar="ID",
        help="control it is for, A.5.4 or FRAMEWORK:ID or FRAMEWORK/EDITION:ID; repeatable",
    )  # fmt: skip
    attach.add_argument("--from", dest="start", metavar="DATE", help="first day it speaks of (the effective day)")
    attach.add_argument("--to", dest="end", metavar="DATE", help="last day it speaks of (today)")
    attach.add_argument("--effective", metavar="DATE", help="from when it holds, apart from its recording (now)")
    attach.add_argument("--valid-until", metavar="DATE", help="last day on which it is evidence")
    attach.add_argument("--by", default="", metavar="NAME", help="who states it; it stays in the log")
    attach.add_argument("--role", default="", metavar="ROLE", help="as what")
    attach.add_argument("--title", default="", metavar="TEXT", help="what it is (the name of the file)")
    attach.add_argument("--withdraw", type=int, metavar="LEAF", help="take back what was attached under this leaf")
    attach.add_argument("--reason", default="", metavar="TEXT", help="why it is withdrawn")

    attached = command("attachments", "show what people stated, and how it stands")
    _with_config(attached)
    attached.add_argument("--save", type=int, metavar="LEAF", help="write what was attached under this leaf to a file")
    attached.add_argument("--output", "-o", type=Path, metavar="FILE", help="which file: a new name")
    attached.add_argument("--json", action="store_true", help="one JSON document")

    waive = command("waive", "let an exception stand for a time, on record; the finding stays FAIL")
    _with_config(waive)
    waive.add_argument("check", nargs="?", default="", metavar="CHECK", help="id of the check")
    waive.add_argument("--resource", default="", metavar="NAME", help="the resource, as the report names it")
    waive.add_argument("--scope", default="", metavar="SCOPE", help="only there (wherever it is found)")
    waive.add_argument("--until", default="", metavar="DATE", help="last day it holds, at most a year ahead")
    waive.add_argument("--reason", default="", metavar="TEXT", help="why")
    waive.add_argument("--by", default="", metavar="NAME", help="who decided it")
    waive.add_argument("--ticket", default="", metavar="ID", help="where it was decided")
    waive.add_argument("--withdraw", type=int, metavar="LEAF", help="take back the waiver under this leaf")

    status = command("status", "say how the newest run stands now: stale evidence tells nothing of today")
    _with_config(status)
    status.add_argument("--as-of", metavar="MOMENT", help="as of then (now)")
    status.add_argument("--json", action="store_true", help="one JSON document")

    controls = command("controls", "show controls, their older numbers, and the checks that speak to them")
    controls.add_argument("id", nargs="?", default="", metavar="ID", help="one control; an older number will do")
    controls.add_argument(
        "--config", "-c", type=Path, metavar="FILE", help="include the folders this configuration names"
    )
    controls.add_argument("--json", action="store_true", help="one JSON document")

    checks = command("checks", "work with check modules")
    checks.add_argument("what", choices=("test",), help="test: do the checks do what their examples say")
    checks.add_argument(
        "--config", "-c", type=Path, metavar="FILE", help="include the folders this configuration names"
    )
    checks.add_argument("--json", action="store_true", help="one JSON document")

    bundle = command("bundle", "seal the evidence of a period for an auditor")
    bundle.add_argument("--from", dest="start", required=True, metavar="DATE", help="first day of the period, UTC")
    bundle.add_argument("--to", dest="end", required=True, metavar="DATE", help="last day of the period, UTC")
    bundle.add_argument("--output", "-o", type=Path, required=True, metavar="PATH", help="what to write: a new name")
    bundle.add_argument(
        "--form", choices=("folder", "zip", "tar.zst"), default="folder", help="how it is written (folder)"
    )
    bundle.add_argument("--controls", default="", metavar="IDS", help="only what evidences these, A.8.13,A.5.15")
    bundle.add_argument("--scopes", default="", metavar="PATTERNS", help="only these scopes, prod/*,eu/*")
    bundle.add_argument("--recipient", default="", metavar="TEXT", help="for whom it is made")
    bundle.add_argument("--redact", action="store_true", help="leave personal fields out; the proofs still hold")
    bundle.add_argument(
        "--since", metavar="WORDS_OR_NOTE", help="a head it must be shown to extend: twelve words, or a note file"
    )
    bundle.add_argument("--json", action="store_true", help="one JSON document")
    _with_config(bundle)

    report = command("report", "verify a run and show it")
    report.add_argument("run", nargs="?", type=int, metavar="RUN", help="its number (the newest complete one)")
    report.add_argument("--store", type=Path, metavar="STORE", help="folder of the store (from the configuration)")
    report.add_argument("--key", metavar="FINGERPRINT", help="SHA-256 of the public key (from the configuration)")
    report.add_argument(
        "--tsa-roots", type=Path, metavar="PEM", help="roots of the time-stamp authorities (from the configuration)"
    )
    _with_witnesses(report)
    report.add_argument(
        "--format", choices=("table", "json", "html"), default="table", help="how it is written (table)"
    )
    report.add_argument("--output", "-o", type=Path, metavar="FILE", help="write to a file instead of standard output")
    report.add_argument(
        "--as-of", metavar="MOMENT", help="age of evidence, waivers and statements as of then, not as of now"
    )
    report.add_argument("--from", dest="start", metavar="DATE", help="with --to: how far each control was covered from")
    report.add_argument("--to", dest="end", metavar="DATE", help="last day of that period")
    _with_config(report)

    leavers = command("leavers", "verify a run and show who left and can still get in, with the replies that show it")
    leavers.add_argument("run", nargs="?", type=int, metavar="RUN", help="its number (the newest complete one)")
    leavers.add_argument("--store", type=Path, metavar="STORE", help="folder of the store (from the configuration)")
    leavers.add_argument("--key", metavar="FINGERPRINT", help="SHA-256 of the public key (from the configuration)")
    leavers.add_argument("--json", action="store_true", help="one JSON document")
    _with_config(leavers)

    listing = command("list", "show what is installed")
    listing.add_argument(
        "what", choices=("checks", "sources", "controls", "mappings"), help="checks, sources, controls or mappings"
    )
    listing.add_argument(
        "--config", "-c", type=Path, metavar="FILE", help="include the folders this configuration names"
    )
    listing.add_argument("--json", action="store_true", help="one JSON document")

    registers = group("registers", "check the organisation's own registers, or begin them")
    checked = command("check", "show every fault and every wrong term of a folder of registers", registers)
    checked.add_argument("folder", type=Path, metavar="FOLDER", help="folder of a connection of kind register")
    checked.add_argument("--json", action="store_true", help="one JSON document")
    begun = command("init", "write templates of all registers, and a page that explains their columns", registers)
    begun.add_argument("folder", type=Path, metavar="FOLDER", help="where; nothing there is overwritten")

    key = group("key", "make, show, rotate or revoke the key that signs")
    new = command("new", "make an Ed25519 key in a file, encrypted under scrypt", key)
    new.add_argument("file", type=Path, metavar="FILE", help="a file that does not exist yet")
    new.add_argument("--secret", required=True, metavar="REF", help="its passphrase, as env:NAME or file:PATH")
    show = command("show", "show the key that signs, and those the store was signed with", key)
    _with_config(show)
    show.add_argument("--json", action="store_true", help="one JSON document")
    rotate = command("rotate", "hand the store over to another key, by a leaf that both keys sign", key)
    rotate.add_argument("new", metavar="NEW", help="file of the new key, awskms:ALIAS_OR_ARN, or hsm:ID?label=TOKEN")
    rotate.add_argument("--secret", metavar="REF", help="its passphrase or PIN, as env:NAME or file:PATH")
    rotate.add_argument("--reason", required=True, metavar="TEXT", help="why, as it shall stand in the log")
    _with_config(rotate)
    revoke = command("revoke", "record that signatures of a retired key no longer count", key)
    revoke.add_argument("fingerprint", metavar="FINGERPRINT", help="the key, as key show prints it")
    revoke.add_argument(
        "--last-good-index",
        type=int,
        required=True,
        metavar="N",
        help="the last leaf whose signature counts, -1 for none",
    )
    revoke.add_argument("--reason", required=True, metavar="TEXT", help="why, as it shall stand in the log")
    _with_config(revoke)

    stored = group("store", "check what is stored, or say what it takes")
    check = command("check", "check structure, log and lines of a store; bodies too where asked", stored)
    check.add_argument("store", type=Path, metavar="STORE", help="its folder, or s3://BUCKET/PREFIX")
    check.add_argument("--key", metavar="FINGERPRINT", help="SHA-256 of the public key, obtained outside the store")
    check.add_argument("--read-data", action="store_true", help="unpack and hash every body")
    check.add_argument("--subset", metavar="N/T", help="only this part of the bodies: 1/7 today, 2/7 tomorrow")
    check.add_argument("--json", action="store_true", help="one JSON document")
    stats = command("stats", "show what a store holds and what that takes", stored)
    stats.add_argument("store", type=Path, metavar="STORE", help="its folder, or s3://BUCKET/PREFIX")
    stats.add_argument("--json", action="store_true", help="one JSON document")

    stamps = group("timestamp", "have the store attested from outside without a run")
    renew = command("renew", "have the newest checkpoint stamped, witnessed and copied now", stamps)
    _with_config(renew)
    renew.add_argument("--json", action="store_true", help="one JSON document")

    witness = command("witness", "serve as a witness: sign the heads of logs, as long as each extends the last")
    witness.add_argument("--listen", default="127.0.0.1:9465", metavar="ADDRESS", help="where (127.0.0.1:9465)")
    witness.add_argument("--state", type=Path, required=True, metavar="DIR", help="what it remembers")
    witness.add_argument("--init", action="store_true", help="begin with nothing seen, with a new key")
    witness.add_argument("--name", required=True, metavar="NAME", help="such as witness.example.org/w1")
    witness.add_argument("--key", type=Path, required=True, metavar="FILE", help="its own key, made with key new")
    witness.add_argument("--secret", required=True, metavar="REF", help="the passphrase, as env:NAME or file:PATH")
    witness.add_argument(
        "--log", action="append", required=True, metavar="VKEY", help="verifier key of a log it signs for; repeatable"
    )
    disclose = command("disclose", "prove one reply, or one field of it, against a head of the log")
    disclose.add_argument("store", type=Path, metavar="STORE", help="folder of the store")
    disclose.add_argument("--run", type=int, required=True, metavar="N", help="number of the run")
    disclose.add_argument("--reply", type=int, required=True, metavar="I", help="number of the reply in its manifest")
    one = disclose.add_mutually_exclusive_group()
    one.add_argument("--field", metavar="PATH", help="the field at this path: Users[].Email, or an XML element")
    one.add_argument("--span", type=int, metavar="K", help="the span of this number; fields are the odd ones")
    disclose.add_argument("--checkpoint", type=Path, metavar="NOTE", help="the head to prove it against (the newest)")
    disclose.add_argument("--output", "-o", type=Path, required=True, metavar="FILE", help="where the proof is written")

    proven = command("verify-disclosure", "check the proof of one reply or field")
    proven.add_argument("proof", type=Path, metavar="PROOF", help="the file that disclose wrote")
    against = proven.add_mutually_exclusive_group(required=True)
    against.add_argument("--bundle", type=Path, metavar="BUNDLE", help="the bundle the field was left out of")
    against.add_argument("--checkpoint", type=Path, metavar="NOTE", help="a checkpoint file that was kept")
    proven.add_argument("--key", required=True, metavar="FINGERPRINT", help="SHA-256 of the public key")
    proven.add_argument("--json", action="store_true", help="one JSON document")

    erase = command("erase", "remove a body from the store; the log keeps its digest and says why")
    erase.add_argument("store", nargs="?", type=Path, metavar="STORE", help="its folder (from the configuration)")
    erase.add_argument(
        "--object", action="append", required=True, metavar="SHA", help="SHA-256 of the body; may stand several times"
    )
    erase.add_argument("--basis", required=True, metavar="TEXT", help="on which ground; it stays in the log: no names")
    erase.add_argument("--approved-by", required=True, metavar="NAME", help="who decided it")
    _with_config(erase)
    return top


def _with_witnesses(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="verifier key of a witness that must have signed"
    )


def _with_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", "-c", type=Path, default=Path("config.yaml"), metavar="FILE", help="configuration (config.yaml)"
    )


def _with_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check", action="append", default=[], metavar="PATTERN", help="only checks whose id matches, * is a wild card"
    )
    command.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="ID",
        help="only checks mapped to this control, for instance A.8.13",
    )
    command.add_argument("--connection", action="append", default=[], metavar="NAME", help="only this connection")


def _readable(arguments: argparse.Namespace) -> None:
    """What was typed is text: a leaf, a document and a screen take no other. The name of a file may be any bytes."""
    for value in vars(arguments).values():
        for text in value if isinstance(value, list) else [value]:
            try:
                str(text if isinstance(text, str) else "").encode()
            except UnicodeEncodeError:
                raise ConfigError(f"{text!r} is not UTF-8", "type it again, in a terminal that writes UTF-8") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = parser().parse_args(argv)
    from evidence_store.errors import StoreError

    try:
        from collector.commands import function

        _readable(arguments)
        return function(" ".join([arguments.command, *filter(None, [getattr(arguments, "action", "")])]))(arguments)
    except (AffidavitError, StoreError) as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {error.what}\nnext:  {error.next_step}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted\nnext:  run again when ready", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 3
    except Exception as error:  # noqa: BLE001 - boundary: Python's own exit code would read as FAIL; see docs/adr/0004
        if arguments.debug:
            traceback.print_exc()
        print(
            f"error: the program failed: {type(error).__name__}\n"
            "next:  run again with --debug and report what it prints",
            file=sys.stderr,
        )
        return 3


if __name__ == "__main__":
    sys.exit(main())
