"""Lets evidence about evidence bear on what is concluded: agreement strengthens a population, dispute voids it. Pure.

A check that names ``reconciles`` holds datasets against an independent list or count. Where it passes, the basis of
their populations is the one it names, ``count-reconciled`` or ``independent-source``; where it names none, they are
left as they were. Where it fails, nobody knows which reply is right, so nothing that rests on them can pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from collector.api import Check
from collector.judge import Bench, judge
from collector.model import Finding, Gap, GapKind, Outcome, Shard

STRONGEST_FIRST = ("independent-source", "count-reconciled")


def reconcile(checks: Iterable[Check], shards: Sequence[Shard], bench: Bench) -> tuple[list[Shard], list[Finding]]:
    """The shards with what reconciliation made of their populations, and the findings of the checks that did it.

    A list that one check disputes carries no agreement of another, so all are asked once more over what is left. That
    settles it: less proof brings no FAIL.
    """
    witnesses = {check.id: check for check in checks if check.reconciles}
    findings = list(judge(witnesses.values(), shards, bench))
    if any(finding.outcome is Outcome.FAIL for finding in findings):
        left = list(judge(witnesses.values(), _all_marked(shards, findings, witnesses), bench))
        findings = [
            first if first.outcome is Outcome.FAIL else again for first, again in zip(findings, left, strict=True)
        ]
    return _all_marked(shards, findings, witnesses), findings


def _all_marked(
    shards: Sequence[Shard], findings: Iterable[Finding], witnesses: Mapping[str, Check]
) -> list[Shard]:
    told: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        for dataset in witnesses[finding.check].reconciles:
            told.setdefault((dataset, finding.scope), []).append(finding)
    return [_marked(shard, told, witnesses) for shard in shards]


def _marked(
    shard: Shard, told: Mapping[tuple[str, str], Sequence[Finding]], witnesses: Mapping[str, Check]
) -> Shard:
    task, population = shard.task, shard.population
    said = [
        finding
        for scope in dict.fromkeys((task.scope, task.account_scope, "run"))
        for finding in told.get((task.dataset, scope), ())
    ]
    if not population.proven:
        return shard
    disputes = [finding for finding in said if finding.outcome is Outcome.FAIL]
    if disputes:
        reason = f"its records are in dispute ({disputes[0].check}): {disputes[0].reason}"
        gap = Gap(task.dataset, task.scope, GapKind.UNPROVEN, reason)
        return replace(shard, population=replace(population, basis="unproven", gap=gap))
    agreed = {witnesses[finding.check].basis for finding in said if finding.outcome is Outcome.PASS}
    basis = next((basis for basis in STRONGEST_FIRST if basis in agreed), population.basis)
    return replace(shard, population=replace(population, basis=basis))
