"""Backups in Kubernetes: jobs by the clock and Velero, how they are read, and what we require of them."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from collector.api import Kubernetes, Record, Row, Verdict, check, days_between, fail, instant, ok, skip, source
from collector.workloads import APPLIED, SYSTEM, named, pod_redactions, running

VELERO = "velero.io"
WORDS = ("backup", "dump", "restic", "snapshot")


@source(
    "kubernetes.cron-jobs",
    key="Key",
    per="connection",
    permissions=("list batch/cronjobs",),
    redactions=pod_redactions("items[].spec.jobTemplate.spec.template.spec"),
)
def cron_jobs(cluster: Kubernetes) -> Iterator[Row]:
    """Every job by the clock of every namespace."""
    yield from cluster.pages("/apis/batch/v1/cronjobs")


@source(
    "kubernetes.velero-schedules",
    key="Key",
    per="connection",
    permissions=(f"list {VELERO}/schedules", "nonresource /apis"),
    redactions=(APPLIED,),
)
def velero_schedules(cluster: Kubernetes) -> Iterator[Row]:
    """Every backup schedule of Velero; none where it is not installed."""
    yield from cluster.extension(VELERO, "schedules", ("v1",))


@source(
    "kubernetes.velero-backups",
    key="Key",
    per="connection",
    permissions=(f"list {VELERO}/backups", "nonresource /apis"),
    kind="period",
    redactions=(APPLIED,),
)
def velero_backups(cluster: Kubernetes) -> Iterator[Row]:
    """Every backup Velero still keeps, failed ones included; those whose time to live is over are gone."""
    yield from cluster.extension(VELERO, "backups", ("v1",))


@source(
    "kubernetes.velero-restores",
    key="Key",
    per="connection",
    permissions=(f"list {VELERO}/restores", "nonresource /apis"),
    kind="period",
    redactions=(APPLIED,),
)
def velero_restores(cluster: Kubernetes) -> Iterator[Row]:
    """Every restore Velero still knows of; it forgets a restore with the backup it came from."""
    yield from cluster.extension(VELERO, "restores", ("v1",))


def _backs_up(job: Record, words: tuple[str, ...]) -> bool:
    """Whether a job is one of backup, by its name and images."""
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    told = " ".join((job["metadata"]["name"], *(one["image"] for one in pod["containers"]))).lower()
    return any(word in told for word in words)


@check(
    "kubernetes.cron-jobs.backup-succeeds",
    title="Kubernetes backup jobs succeed",
    severity="high",
    each="kubernetes.cron-jobs",
)
def backup_succeeds(
    job: Record, *, as_of: datetime, max_age_h: int = 26, backup_words: tuple[str, ...] = WORDS
) -> Verdict:
    """A job with one of ``backup_words`` in its name or image last succeeded within ``max_age_h`` hours.

    One that is younger than that is skipped until it ran. Source: CronJob (``status.lastSuccessfulTime``, left out
    where none succeeded). That a job succeeded says nothing of what it saved.
    Remedy: see the log of its last pod.
    """
    if not _backs_up(job, backup_words):
        return skip("nothing shows that the job is one of backup")
    last, limit = job["status"].get("lastSuccessfulTime"), timedelta(hours=max_age_h)
    if not last:
        if as_of - instant(job["metadata"]["creationTimestamp"]) <= limit:
            return skip("the job is new")
        return fail(f"never succeeded, limit {max_age_h} hours")
    told = f"last succeeded {(as_of - instant(last)) // timedelta(hours=1)} hours ago, limit {max_age_h}"
    return ok(told) if as_of - instant(last) <= limit else fail(told)


@check(
    "kubernetes.cron-jobs.backup-on",
    title="Kubernetes backup jobs are switched on",
    severity="high",
    each="kubernetes.cron-jobs",
)
def backup_on(job: Record, *, backup_words: tuple[str, ...] = WORDS) -> Verdict:
    """A job with one of ``backup_words`` in its name or image is not suspended.

    Source: CronJob (``spec.suspend``, which the API server fills in).
    Remedy: ``kubectl patch cronjob NAME -p '{"spec": {"suspend": false}}'``.
    """
    if not _backs_up(job, backup_words):
        return skip("nothing shows that the job is one of backup")
    return fail("the job is suspended") if job["spec"].get("suspend") else ok(f"runs at {job['spec']['schedule']}")


def _active(schedule: Record) -> bool:
    return not schedule["spec"].get("paused") and (schedule.get("status") or {}).get("phase") == "Enabled"


def _narrowed(template: Mapping[str, Any]) -> bool:
    """Whether a backup takes only objects with a label, or of some kinds."""
    kinds = template.get("includedResources") or ("*",)
    return bool(template.get("labelSelector") or template.get("orLabelSelectors")) or "*" not in kinds


@check(
    "kubernetes.velero-schedules.active",
    title="Velero backup schedules are in force",
    severity="high",
    each="kubernetes.velero-schedules",
)
def schedules_active(schedule: Record) -> Verdict:
    """A schedule is not paused, and Velero found it valid.

    Source: Schedule (``spec.paused``, left out where not set; ``status.phase``).
    Remedy: ``velero schedule unpause NAME``.
    """
    if schedule["spec"].get("paused"):
        return fail("the schedule is paused")
    phase = (schedule.get("status") or {}).get("phase") or "not told"
    return ok(f"runs at {schedule['spec']['schedule']}") if phase == "Enabled" else fail(f"the phase is {phase}")


@check(
    "kubernetes.velero-schedules.recent",
    title="Velero backup schedules were followed lately",
    severity="high",
    each="kubernetes.velero-schedules",
)
def schedules_recent(schedule: Record, *, as_of: datetime, max_age_h: int = 26) -> Verdict:
    """The last backup of a schedule began within ``max_age_h`` hours.

    Source: Schedule (``status.lastBackup``, left out where there was none). Paused ones are the matter of
    kubernetes.velero-schedules.active.
    Remedy: see the log of Velero.
    """
    if schedule["spec"].get("paused"):
        return skip("the schedule is paused")
    last = (schedule.get("status") or {}).get("lastBackup")
    if not last:
        return fail(f"no backup was begun, limit {max_age_h} hours")
    told = f"the last backup began {(as_of - instant(last)) // timedelta(hours=1)} hours ago, limit {max_age_h}"
    return ok(told) if as_of - instant(last) <= timedelta(hours=max_age_h) else fail(told)


@check(
    "kubernetes.velero-schedules.kept",
    title="Velero keeps backups long enough",
    severity="medium",
    each="kubernetes.velero-schedules",
)
def schedules_kept(schedule: Record, *, min_days: int = 30) -> Verdict:
    """Backups of a schedule are kept for at least ``min_days``.

    Source: Schedule (``spec.template.ttl``; left out or nought: 30 days).
    Remedy: set spec.template.ttl.
    """
    ttl = schedule["spec"]["template"].get("ttl") or "0s"
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|m|s)", ttl)
    seconds = sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    days = seconds / 86400 if seconds else 30
    told = f"kept for {days:g} days, at least {min_days} wanted"
    return ok(told) if days >= min_days else fail(told)


@check(
    "kubernetes.velero-schedules.everywhere",
    title="Velero backs up every Kubernetes namespace with pods",
    severity="high",
    over=("kubernetes.namespaces", "kubernetes.pods", "kubernetes.velero-schedules", "kubernetes.api-groups"),
)
def schedules_everywhere(
    namespaces: Iterator[Record],
    pods: Iterator[Record],
    schedules: Iterator[Record],
    groups: Iterator[Record],
    *,
    exempt_namespaces: tuple[str, ...] = SYSTEM,
) -> Verdict:
    """Every namespace in which pods run is included in an active schedule, where Velero is installed.

    Source: Namespace, Pod, Schedule (``spec.template``), /apis.
    A schedule that is narrowed to labels or to kinds of resource is not counted; kinds that are left out are not looked
    at.
    Remedy: include the namespace in a schedule.
    """
    if VELERO not in {group["name"] for group in groups}:
        return skip("Velero is not installed")
    chosen = [
        (set(one["spec"]["template"].get("includedNamespaces") or ("*",)), one["spec"]["template"]) for one in schedules
        if _active(one) and not _narrowed(one["spec"]["template"])
    ]  # fmt: skip
    used = {pod["metadata"]["namespace"] for pod in running(pods)}
    judged = [one["Key"] for one in namespaces if one["Key"] in used and one["Key"] not in exempt_namespaces]
    left = [
        name
        for name in judged
        if not any(
            {"*", name} & included and name not in (template.get("excludedNamespaces") or ())
            for included, template in chosen
        )
    ]
    if left:
        return fail(f"{len(left)} of {len(judged)} namespaces with pods are in no active schedule: {named(left)}")
    return ok(f"each of {len(judged)} namespaces with pods is in one") if judged else skip("no namespace has pods")


@check(
    "kubernetes.velero-backups.success",
    title="Velero backups succeed",
    severity="high",
    over=("kubernetes.velero-backups",),
)
def backups_success(backups: Iterator[Record], *, min_success_pct: int = 98) -> Verdict:
    """At least ``min_success_pct`` per cent of the backups Velero still knows of were completed; partly is not.

    Source: Backup (``status.phase``). Backups under way, and those being deleted, are not counted.
    Remedy: ``velero backup describe NAME --details``.
    """
    phases = [(one.get("status") or {}).get("phase") for one in backups]
    ended = [phase for phase in phases if phase in ("Completed", "Failed", "FailedValidation", "PartiallyFailed")]
    if not ended:
        return skip("no backup has ended")
    done = ended.count("Completed")
    told = f"{done} of {len(ended)} backups were completed, at least {min_success_pct} per cent wanted"
    return ok(told) if done * 100 >= min_success_pct * len(ended) else fail(told)


@check(
    "kubernetes.velero-restores.tried",
    title="A restore from a Velero backup was tried",
    severity="high",
    over=("kubernetes.velero-restores", "kubernetes.api-groups"),
)
def restores_tried(
    restores: Iterator[Record], groups: Iterator[Record], *, as_of: datetime, max_age_days: int = 180
) -> Verdict:
    """A restore was completed within ``max_age_days``, where Velero is installed.

    Source: Restore (``status.phase``, ``status.completionTimestamp``), /apis. Velero forgets a restore with its backup,
    so one that was tried long ago may be gone.
    Remedy: restore a namespace under another name, compare, and keep the record.
    """
    if VELERO not in {group["name"] for group in groups}:
        return skip("Velero is not installed")
    done = [
        instant(one["status"]["completionTimestamp"])
        for one in restores
        if (one.get("status") or {}).get("phase") == "Completed"
    ]
    if not done:
        return fail(f"no restore was completed, limit {max_age_days} days")
    age = days_between(max(done), as_of)
    told = f"the last of {len(done)} restores was completed {age} days ago, limit {max_age_days}"
    return ok(told) if age <= max_age_days else fail(told)
