"""From shards to result lines: findings, gaps, populations, controls. The same in a run and in its re-performance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from collector.apart import apart_everywhere
from collector.catalogue import Catalogues, Mappings
from collector.controls import ControlResult, outside, roll_up
from collector.examples import Example
from collector.falsify import Certificate, certify
from collector.judge import Bench, judge
from collector.model import Finding, Gap, Outcome, Population, Row, Shard
from collector.plan import Plan
from collector.reconcile import reconcile


@dataclass(slots=True)
class Results:
    """What a run concludes."""

    findings: list[Finding]
    gaps: list[Gap]
    shards: Sequence[Shard]
    controls: tuple[ControlResult, ...]
    certificates: tuple[Certificate, ...]
    counts: Mapping[str, int] = field(init=False)
    """Findings by outcome."""

    def __post_init__(self) -> None:
        counted = Counter(str(finding.outcome) for finding in self.findings)
        self.counts = {str(outcome): counted[str(outcome)] for outcome in Outcome}

    @property
    def incomplete(self) -> bool:
        """True when something planned was not read, or a check broke."""
        return bool(self.gaps or self.counts["UNKNOWN"] or self.counts["ERROR"])

    @property
    def exit_code(self) -> int:
        """3 incomplete, 1 exceptions, 0 neither."""
        return 3 if self.incomplete else 1 if self.counts["FAIL"] else 0

    def lines(self) -> Iterator[Row]:
        """Every line of ``results.ndjson``, without number and salt."""
        for finding in self.findings:
            yield finding.as_row()
        for gap in self.gaps:
            yield {
                "kind": "gap",
                "dataset": gap.dataset,
                "scope": gap.scope,
                "gap": str(gap.kind),
                "reason": gap.reason,
                "operation": gap.operation,
                "resources": list(gap.resources),
            }
        for shard in self.shards:
            population = shard.population
            yield {
                "kind": "population",
                "task": population.task.id,
                "dataset": population.task.dataset,
                "scope": population.task.scope,
                "rows": population.rows,
                "basis": population.basis,
                "gap": str(population.gap.kind) if population.gap else None,
                "replies": list(population.replies),
                "counts": _counts(population),
                "root": population.root,
                "operations": list(population.operations),
                **({"leftOut": dict(population.left_out)} if population.left_out else {}),
            }
        for certificate in self.certificates:
            yield certificate.as_row()
        for control in self.controls:
            yield control.as_row()


def _counts(population: Population) -> dict[str, int]:
    """Records listed, read in every part, and with a part refused: the last two add up to the first."""
    refused = {resource for gap in population.partial for resource in gap.resources}
    return {"listed": population.rows, "whole": population.rows - len(refused), "refused": len(refused)}


def conclude(
    plan: Plan, shards: Sequence[Shard], catalogues: Catalogues, mappings: Mappings, examples: Iterable[Example]
) -> Results:
    """Show that the checks can fail, judge the shards of a plan, and roll the findings up to controls. Pure."""
    certificates = certify(plan.checks, examples)
    uncertified = {certificate.check: certificate.flaw for certificate in certificates if certificate.flaw}
    fresh = {item["id"]: (item["fresh"], item["maxAgeH"]) for item in plan.document["sources"] if item.get("fresh")}
    apart = apart_everywhere(shard.population for shard in shards)
    bench = Bench(plan.as_of, plan.parameters, uncertified, apart, fresh)
    shards, about_evidence = reconcile(plan.checks, shards, bench)
    findings = [*judge([check for check in plan.checks if not check.reconciles], shards, bench), *about_evidence]
    gaps = [
        gap
        for shard in shards
        for gap in (*([shard.population.gap] if shard.population.gap else []), *shard.population.partial)
    ]
    editions = {(row.framework, row.edition) for row in mappings.rows}
    controls = [
        control
        for edition, catalogue in catalogues.all.items()
        if edition in editions
        for control in catalogue.controls
    ]
    asked = {check.id: check.datasets for check in plan.checks}
    kinds = {place.kind for place in plan.places}
    unplanned = outside({row.check: (row.check,) for row in mappings.rows if row.check not in asked}, kinds)
    return Results(
        findings,
        gaps,
        shards,
        roll_up(controls, mappings.rows, findings, gaps, ran=asked, unplanned=unplanned),
        certificates,
    )
