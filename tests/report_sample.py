"""A sealed run as dictionaries, made up but whole: real catalogues, invented estate, gaps, hostile names."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collector.catalogue import Catalogues, Criterion, MappingRow, load_catalogues
from collector.controls import roll_up
from collector.model import Finding, Gap, GapKind, Outcome
from collector.report import ReportData, build
from tests.worlds import PROOF

ROOT = Path(__file__).parent.parent
AS_OF = "2026-02-01T02:00:00.000Z"
CALLER = "arn:aws:sts::123456789012:assumed-role/evidence-reader/affidavit"
FINGERPRINT = hashlib.sha256(b"sample key").hexdigest()

HOSTILE = (
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<!-- <script>",
    "a\u2028b\u202eexe.gpj\x1b[2J\x07",
    "'\"><svg/onload=window.pwned=1>",
    "$data $title [bold red]x[/]",
)

CHECKS = {
    "aws.s3.default-encryption": ("S3 buckets encrypt new objects by default", "aws.s3.buckets", {}),
    "aws.s3.public-access-blocked": ("S3 buckets block public access", "aws.s3.buckets", {}),
    "aws.s3.versioning": ("S3 buckets keep versions of objects", "aws.s3.buckets", {}),
    "aws.iam.key-rotated": (
        "Active access keys are younger than the limit",
        "aws.iam.access-keys",
        {"max_age_days": 90},
    ),
    "aws.iam.root-unused": ("The root user was not used lately", "aws.iam.credential-report", {"max_age_days": 30}),
    "aws.ec2.no-open-ssh": ("No security group opens SSH to the world", "aws.ec2.security-groups", {}),
    "aws.rds.encrypted": ("RDS instances encrypt their storage", "aws.rds.instances", {}),
    "aws.cloudtrail.multi-region": ("A trail records every region", "aws.cloudtrail.trails", {}),
    "aws.backup.plan-exists": ("A backup plan exists", "aws.backup.plans", {}),
    "host.sshd.no-root-login": ("sshd refuses root", "host.sshd.settings", {}),
    "tls.endpoints.certificate-valid": (
        "The certificate is within its dates",
        "tls.endpoints.handshakes",
        {"min_days_left": 21},
    ),
}
MAPPED = (
    ("A.8.24", "aws.s3.default-encryption", "new objects are encrypted at rest", "demonstrates_implementation"),
    ("A.8.24", "aws.rds.encrypted", "database storage is encrypted at rest", "demonstrates_implementation"),
    ("A.8.24", "tls.endpoints.certificate-valid", "public endpoints present a valid certificate", "supports"),
    ("A.8.3", "aws.s3.public-access-blocked", "buckets are closed to the public", "demonstrates_implementation"),
    ("A.8.13", "aws.s3.versioning", "earlier versions of objects can be brought back", "supports"),
    ("A.8.13", "aws.backup.plan-exists", "a backup plan is set", "demonstrates_design"),
    ("A.5.17", "aws.iam.key-rotated", "keys are replaced in time", "demonstrates_implementation"),
    ("A.8.2", "aws.iam.root-unused", "the root user lies idle", "demonstrates_implementation"),
    ("A.8.20", "aws.ec2.no-open-ssh", "administration ports are closed to the world", "demonstrates_implementation"),
    ("A.8.15", "aws.cloudtrail.multi-region", "calls are recorded in every region", "demonstrates_implementation"),
    ("A.8.9", "host.sshd.no-root-login", "the remote shell is hardened", "supports"),
)


@dataclass(frozen=True)
class Problem:
    path: str
    what: str


@dataclass(frozen=True)
class Verification:
    ok: bool = True
    authenticated: bool = True
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    stamps: tuple[dict[str, Any], ...] = ()
    cosignatures: tuple[dict[str, Any], ...] = ()


LATER = datetime(2026, 3, 1, tzinfo=UTC)
"""A month after the run."""
OLDER = {"edition": "2013", "id": "A.9.2.3", "relation": "merged", "note": ""}
FORMERLY = {("iso-27001", "2022+amd1", "A.8.2"): [OLDER]}


def attached(index: int, control: str, **changes: Any) -> dict[str, Any]:
    """An attachment leaf, as a store tells of it."""
    return {
        "kind": "attachment", "index": index, "recordedOn": "2026-02-10T08:00:00.000Z", "form": "file",
        "name": "policy.pdf", "title": HOSTILE[0], "object": {"sha256": body(900 + index), "size": 12},
        "controls": [{"framework": "iso-27001", "edition": "2022+amd1", "id": control}],
        "from": "2025-07-25T08:00:00.000Z", "to": "2026-02-10T08:00:00.000Z", "effective": "2025-07-25T08:00:00.000Z",
        "validUntil": "2026-12-31T00:00:00.000Z", "by": "J. Doe", "role": "head of IT", **changes,
    }  # fmt: skip


def waiver_of(finding: Mapping[str, Any], index: int = 52, **changes: Any) -> dict[str, Any]:
    """A waiver leaf about a finding."""
    return {
        "kind": "waiver", "index": index, "recordedOn": "2026-02-10T09:00:00.000Z", "check": finding["check"],
        "resource": finding["resource"], "scope": "", "until": "2026-06-01T00:00:00.000Z", "reason": "being moved",
        "by": "J. Doe", "ticket": "CHG-7", **changes,
    }  # fmt: skip


NO_ANCHOR = "no outside anchor: nothing outside this store shows that its newest entries were not cut off"


@dataclass
class Sample:
    """What ``evidence_store`` would read back from a sealed run."""

    number: int = 12
    state: str = "complete"
    buckets: int = 40
    organisation: str = "Example Widgets Ltd"
    lines: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    opening: Mapping[str, Any] = field(
        default_factory=lambda: {"run": 12, "index": 41, "scheduledFor": AS_OF, "trigger": "schedule nightly"}
    )
    closing: Mapping[str, Any] = field(
        default_factory=lambda: {"run": 12, "index": 42, "finishedOn": "2026-02-01T02:03:11.500Z"}
    )

    def reply(self, task: str, op: str, **fields: Any) -> int:
        number = len(self.asked)
        self.asked.append(
            {
                "i": number,
                "salt": "s" * 22,
                "task": task,
                "caller": CALLER if task.startswith("aws.") else "",
                "op": op,
                "params": {},
                "region": task.rpartition("/")[2],
                "endpoint": "https://s3.eu-central-1.amazonaws.com",
                "method": "GET",
                "page": 1,
                "tokenIn": None,
                "tokenOut": None,
                "attempt": 1,
                "last": True,
                "t": f"2026-02-01T02:00:{number % 60:02}.120Z",
                "received": f"2026-02-01T02:00:{number % 60:02}.181Z",
                "ms": 61.25,
                "date": "Sun, 01 Feb 2026 02:00:01 GMT",
                "status": 200,
                "requestId": f"REQ{number:06}",
                "media": "application/xml",
                "headers": {"server": "AmazonS3"},
                "sha256": body(number),
                "size": 512 + number,
                "redactions": [],
                **fields,
            }
        )
        return number

    def populate(self, dataset: str, scope: str, rows: int, replies: list[int], gap: str | None = None) -> None:
        self.lines.append(
            {
                "kind": "population",
                "task": f"{dataset}@{scope}",
                "dataset": dataset,
                "scope": scope,
                "rows": rows,
                "basis": "unproven" if gap else "terminal-page",
                "replies": replies,
                "gap": gap,
            }
        )

    def plan_document(self) -> dict[str, Any]:
        tasks = [(line["dataset"], line["scope"]) for line in self.lines if line["kind"] == "population"]
        return {
            "schema": "affidavit.plan/1",
            "organisation": self.organisation,
            "asOf": AS_OF,
            "collector": {"name": "affidavit", "version": "1.0.0"},
            "config": {"sha256": body(-1)},
            "selection": "",
            "limits": {},
            "places": [
                {"name": "prod", "kind": "aws", "home": "eu-central-1", "endpoints": [], "accounts": ["123456789012"]},
                {"name": "bastion", "kind": "host", "home": "", "endpoints": [], "accounts": []},
            ],
            "tasks": [
                {
                    "id": f"{dataset}@{scope}",
                    "dataset": dataset,
                    "connection": scope.partition("/")[0],
                    "account": "",
                    "region": "",
                }
                for dataset, scope in tasks
            ],
            "checks": [
                {
                    "id": id_,
                    "title": title,
                    "severity": "high",
                    "datasets": [dataset],
                    "each": True,
                    "module": f"checks/{id_.split('.')[0]}/{id_.split('.')[1]}.py",
                    "description": f"{title}, on the day of collection.\n\nRemedy: see the vendor's guide.",
                    "params": params,
                }
                for id_, (title, dataset, params) in CHECKS.items()
            ],
            "disabled": [
                {"id": "aws.kms.rotation", "reason": "keys are held by the provider", "by": "j.doe, 2026-01-12"}
            ],
            "sources": [
                {
                    "id": dataset,
                    "definition": f"Every record of {dataset}.",
                    "filters": "none",
                    "permissions": ["s3:ListAllMyBuckets"],
                    "key": "Name",
                    "per": "account",
                    "kind": "snapshot",
                    "module": "checks/aws/s3.py",
                    "redactions": [],
                }
                for dataset in sorted({dataset for _, dataset, _ in CHECKS.values()})
            ],
            "code": [{"file": "checks/aws/s3.py", "sha256": body(-2)}],
            "files": [],
        }

    def report(
        self,
        verification: Any = Verification(warnings=(NO_ANCHOR,)),
        plan: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> ReportData:
        return build(
            plan or self.plan_document(),
            self.opening,
            self.closing,
            iter(self.asked),
            iter(self.lines),
            verification,
            run=self.number,
            state=self.state,
            key=FINGERPRINT,
            **more,
        )


def body(number: int) -> str:
    """SHA-256 of an invented body."""
    return hashlib.sha256(f"body {number}".encode()).hexdigest()


STATED = (
    attached(50, "A.7.1"),
    attached(51, "A.7.2", title="an old policy", validUntil="2026-02-15T00:00:00.000Z"),
)


def sample(**changes: Any) -> Sample:
    """A night's run over a small estate: most was read, some was refused, some does not conform."""
    made = replace(Sample(), lines=[], asked=[], **changes)
    s3 = "prod/123456789012"
    listed = made.reply(f"aws.s3.buckets@{s3}", "s3:ListBuckets")
    findings: list[Finding] = []
    gaps: list[Gap] = []
    refs = [listed]
    refused = []
    for number in range(made.buckets):
        bucket = HOSTILE[number] if number < len(HOSTILE) else f"widgets-{number:04}"
        ref = made.reply(f"aws.s3.buckets@{s3}", "s3:GetBucketEncryption", params={"Bucket": bucket})
        refs.append(ref)
        denied = number % 10 == 7
        outcomes = {
            "aws.s3.default-encryption": (Outcome.PASS, "new objects are encrypted with aws:kms"),
            "aws.s3.public-access-blocked": (Outcome.FAIL, "BlockPublicPolicy is false")
            if number % 9 == 0
            else (Outcome.PASS, "all four blocks are on"),
            "aws.s3.versioning": (Outcome.UNKNOWN, "could not be read: AccessDenied on s3:GetBucketVersioning")
            if denied
            else (Outcome.PASS, "versioning is on"),
        }
        if denied:
            refused.append(bucket)
            refs.append(
                made.reply(
                    f"aws.s3.buckets@{s3}",
                    "s3:GetBucketVersioning",
                    status=403,
                    error={"kind": "denied", "code": "AccessDenied"},
                )
            )
        findings += [
            Finding(id_, bucket, s3, *said, (listed, ref), CHECKS[id_][2], PROOF) for id_, said in outcomes.items()
        ]
    gaps.append(
        Gap(
            "aws.s3.buckets",
            s3,
            GapKind.DENIED,
            "AccessDenied: not authorised to perform s3:GetBucketVersioning",
            "s3:GetBucketVersioning",
            tuple(refused),
        )
    )
    made.populate("aws.s3.buckets", s3, made.buckets, refs)
    for region, denied in (("eu-central-1", False), ("eu-west-1", True)):
        scope = f"{s3}/{region}"
        status = {"status": 403, "error": {"kind": "denied", "code": "UnauthorizedOperation"}} if denied else {}
        ref = made.reply(f"aws.ec2.security-groups@{scope}", "ec2:DescribeSecurityGroups", **status)
        made.populate("aws.ec2.security-groups", scope, 0 if denied else 3, [ref], "denied" if denied else None)
        if denied:
            gaps.append(
                Gap(
                    "aws.ec2.security-groups",
                    scope,
                    GapKind.DENIED,
                    "UnauthorizedOperation: not authorised to perform ec2:DescribeSecurityGroups",
                    "ec2:DescribeSecurityGroups",
                )
            )
            findings.append(
                Finding(
                    "aws.ec2.no-open-ssh",
                    "(all)",
                    scope,
                    Outcome.UNKNOWN,
                    "the list could not be read: UnauthorizedOperation",
                    (ref,),
                )
            )
        else:
            findings += [
                Finding(
                    "aws.ec2.no-open-ssh",
                    f"sg-0{number}",
                    scope,
                    Outcome.PASS,
                    "no rule opens port 22 to the world",
                    (ref,),
                    proof=PROOF,
                )
                for number in range(3)
            ]
        ref = made.reply(f"aws.rds.instances@{scope}", "rds:DescribeDBInstances")
        made.populate("aws.rds.instances", scope, 0, [ref])
        findings.append(
            Finding(
                "aws.rds.encrypted",
                "(none)",
                scope,
                Outcome.SKIP,
                "no records in aws.rds.instances; the list is complete",
                (ref,),
            )
        )
    simple = {
        "aws.iam.access-keys": (
            "iam:ListAccessKeys",
            "aws.iam.key-rotated",
            "AKIAEXAMPLE1",
            Outcome.FAIL,
            "the key is 412 days old, the limit is 90",
        ),
        "aws.iam.credential-report": (
            "iam:GetCredentialReport",
            "aws.iam.root-unused",
            "<root_account>",
            Outcome.PASS,
            "root was last used 301 days ago, the limit is 30",
        ),
        "aws.cloudtrail.trails": (
            "cloudtrail:DescribeTrails",
            "aws.cloudtrail.multi-region",
            s3,
            Outcome.PASS,
            "trail main records every region",
        ),
        "tls.endpoints.handshakes": (
            "tls:Handshake",
            "tls.endpoints.certificate-valid",
            "www.example.com:443",
            Outcome.FAIL,
            "expired 3 days ago, the limit is 21 days left",
        ),
        "host.sshd.settings": (
            "host:sshd -T",
            "host.sshd.no-root-login",
            "sshd",
            Outcome.ERROR,
            "the check broke: KeyError at sshd.py:31: 'permitrootlogin'",
        ),
    }
    for dataset, (op, check, resource, outcome, reason) in simple.items():
        scope = s3 if dataset.startswith("aws") else dataset.partition(".")[0]
        ref = made.reply(f"{dataset}@{scope}", op)
        made.populate(dataset, scope, 1, [ref])
        findings.append(Finding(check, resource, scope, outcome, reason, (ref,), CHECKS[check][2], PROOF))
    made.lines += [finding.as_row() for finding in findings]
    made.lines += [
        {
            "kind": "gap",
            "dataset": gap.dataset,
            "scope": gap.scope,
            "gap": str(gap.kind),
            "reason": gap.reason,
            "operation": gap.operation,
            "resources": list(gap.resources),
        }
        for gap in gaps
    ]
    made.lines += _controls(findings, gaps)
    for number, line in enumerate(made.lines):
        line |= {"i": number, "salt": "s" * 22}
    return made


@functools.cache
def _catalogues() -> Catalogues:
    return load_catalogues(ROOT / "mappings")


def _controls(findings: list[Finding], gaps: list[Gap]) -> Iterator[dict[str, Any]]:
    rows = [
        MappingRow(
            "iso-27001",
            "2022+amd1",
            control,
            check,
            aspect,
            strength,
            "partial",
            ("that the rule covers every kind of data", "that someone reviews it"),
            Criterion("rule:access-keys", "max_age_days", 90) if check == "aws.iam.key-rotated" else None,
            "customer",
            "that the organisation's own rule asks for this",
            "",
            "",
            "",
            "iso-27001/sample.yaml",
            1,
        )
        for control, check, aspect, strength in MAPPED
    ]
    ran = {id_: (dataset,) for id_, (_, dataset, _) in CHECKS.items()}
    shown = ("iso-27001", "iso-27017")
    controls = [control for control in _catalogues().controls.values() if control.framework in shown]
    for result in roll_up(controls, rows, findings, gaps, ran=ran):
        yield result.as_row()


def aborted() -> Sample:
    """A run that was killed after its first requests: replies are kept, nothing was concluded."""
    whole = sample()
    return replace(
        whole,
        state="aborted",
        lines=[],
        asked=whole.asked[:3],
        closing={"run": 12, "index": 42, "reason": "the process was killed"},
    )
