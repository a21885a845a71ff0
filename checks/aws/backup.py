"""AWS Backup plans, jobs, protected resources and vaults: how they are read, and what we require of them."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from collector.api import Aws, Record, Row, Unavailable, Verdict, check, fail, instant, ok, skip, source
from collector.model import GapKind

UNFINISHED = frozenset({"CREATED", "PENDING", "RUNNING", "ABORTING"})


@source(
    "aws.backup.plans",
    key="BackupPlanId",
    per="region",
    permissions=("backup:ListBackupPlans", "backup:GetBackupPlan", "backup:ListBackupSelections"),
)
def plans(aws: Aws) -> Iterator[Row]:
    """Every backup plan of the region, with its rules and the resource selections it applies to."""
    for plan in aws.pages("backup", "list_backup_plans", rows="BackupPlansList"):
        name = plan["BackupPlanId"]
        yield {
            **plan,
            "GetBackupPlan": aws.attempt("backup", "get_backup_plan", BackupPlanId=name),
            "ListBackupSelections": aws.attempt_all(
                "backup", "list_backup_selections", rows="BackupSelectionsList", BackupPlanId=name
            ),
        }


@source(
    "aws.backup.jobs", key="BackupJobId", per="region", permissions=("backup:ListBackupJobs",), kind="period",
    window_days=30,
)  # fmt: skip
def jobs(aws: Aws) -> Iterator[Row]:
    """Every backup job of the region that AWS still lists: those of the last 30 days."""
    yield from aws.pages("backup", "list_backup_jobs", rows="BackupJobs")


@source(
    "aws.backup.protected-resources", key="ResourceArn", per="region", permissions=("backup:ListProtectedResources",)
)
def protected_resources(aws: Aws) -> Iterator[Row]:
    """Every resource of the region of which AWS Backup holds a backup."""
    yield from aws.pages("backup", "list_protected_resources", rows="Results")


@source("aws.backup.vaults", key="BackupVaultName", per="region", permissions=("backup:ListBackupVaults",))
def vaults(aws: Aws) -> Iterator[Row]:
    """Every backup vault of the region."""
    yield from aws.pages("backup", "list_backup_vaults", rows="BackupVaultList")


@check(
    "aws.backup.plan-exists",
    title="A backup plan with rules and resources exists",
    severity="medium",
    over=("aws.backup.plans",),
)
def plan_exists(plans: Iterator[Record]) -> Verdict:
    """At least one backup plan of the account has a rule and a selection of resources.

    Source: GetBackupPlan (``BackupPlan.Rules``), ListBackupSelections. What a selection matches is not asked.
    Remedy: ``aws backup create-backup-plan``, then ``create-backup-selection``.
    """
    empty = []
    for plan in plans:
        rules, selections = plan["GetBackupPlan"]["BackupPlan"]["Rules"], plan["ListBackupSelections"]
        if rules and selections:
            return ok(f"the plan {plan['BackupPlanName']} has {len(rules)} rules and {len(selections)} selections")
        empty.append(f"the plan {plan['BackupPlanName']} has no {'selection of resources' if rules else 'rule'}")
    return fail("; ".join(empty) if empty else "there is no backup plan")


@check(
    "aws.backup.job-success",
    title="Backup jobs succeed",
    severity="high",
    over=("aws.backup.jobs",),
)
def job_success(jobs: Iterator[Record], *, job_success_pct_min: float = 98, min_jobs: int = 1) -> Verdict:
    """Of the jobs that ended, at least ``job_success_pct_min`` percent completed, and at least ``min_jobs`` ended.

    Source: ListBackupJobs (``State``), 30 days back. Jobs under way are not counted; partial, failed, expired and
    aborted ones did not complete. An account without a job that ended is skipped.
    Remedy: read ``StatusMessage`` of the jobs that did not complete.
    """
    ended = Counter(job["State"] for job in jobs if job["State"] not in UNFINISHED)
    total = ended.total()
    if total == 0:
        return skip("no backup job ended in the period")
    if total < min_jobs:
        return fail(f"{total} backup jobs ended in the period, minimum {min_jobs}")
    reason = f"{ended['COMPLETED']} of {total} backup jobs completed, minimum {job_success_pct_min} percent"
    return fail(reason) if ended["COMPLETED"] * 100 < job_success_pct_min * total else ok(reason)


@check(
    "aws.backup.vault-encrypted",
    title="Backup vaults are encrypted with keys of the customer",
    severity="medium",
    over=("aws.backup.vaults", "aws.kms.keys"),
    across="region",
)
def vault_encrypted(vaults: Iterator[Record], keys: Iterator[Record]) -> Verdict:
    """Every vault of the region is encrypted with a KMS key that the customer manages.

    Source: ListBackupVaults (``EncryptionKeyArn``), looked up in DescribeKey (``KeyManager``). A key of another account
    cannot be looked up, and leaves the answer open. A region without a vault is skipped.
    Remedy: create a vault with ``--encryption-key-arn`` and copy the backups; the key of a vault cannot be changed.
    """
    by_arn = {key["KeyArn"]: key for key in keys}
    faults, open_questions, count = [], [], 0
    for vault in vaults:
        count += 1
        name, arn = vault["BackupVaultName"], vault.get("EncryptionKeyArn")  # left out where the key is AWS's own
        if arn is None:
            faults.append(f"{name} names no KMS key")
        elif arn not in by_arn:
            open_questions.append(f"the key {arn} of the vault {name} is not among the keys that were read")
        elif by_arn[arn]["DescribeKey"]["KeyMetadata"]["KeyManager"] == "AWS":
            faults.append(f"{name} uses a key that AWS manages")
    if faults:
        return fail("; ".join(faults))
    if open_questions:
        raise Unavailable(GapKind.UNPROVEN, open_questions[0], "kms:DescribeKey")
    if not count:
        return skip("there is no backup vault")
    return ok(f"all {count} vaults are encrypted with keys of the customer")


@check(
    "aws.backup.databases-protected",
    title="Every database is backed up by AWS Backup",
    severity="high",
    over=("aws.rds.instances", "aws.backup.protected-resources"),
    across="region",
)
def databases_protected(
    instances: Iterator[Record], resources: Iterator[Record], *, as_of: datetime, max_age_days: int = 7
) -> Verdict:
    """Every RDS instance, or the cluster it is a member of, has a backup at most ``max_age_days`` old.

    Source: DescribeDBInstances and DescribeDBClusters (ARNs), ListProtectedResources (``ResourceArn``,
    ``LastBackupTime``). RDS's own automatic backups do not count here. A region without a database is skipped.
    Remedy: add the database to a selection of a backup plan.
    """
    last = {resource["ResourceArn"]: instant(resource["LastBackupTime"]) for resource in resources}
    limit = f"a backup of the last {max_age_days} days"
    count, faults = 0, []
    for instance in instances:
        count += 1
        cluster = instance["DescribeDBClusters"]
        arns = {instance["DBInstanceArn"]} | (set() if cluster is None else {cluster["DBClusterArn"]})
        times = [last[arn] for arn in arns if arn in last]
        if not times:
            faults.append(f"{instance['DBInstanceIdentifier']} has no backup")
        elif as_of - max(times) > timedelta(days=max_age_days):
            faults.append(f"{instance['DBInstanceIdentifier']} was last backed up on {max(times).date()}")
    if faults:
        return fail(f"{len(faults)} of {count} databases without {limit}: {', '.join(faults)}")
    return ok(f"all {count} databases have {limit}") if count else skip("there is no database")
