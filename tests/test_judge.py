"""No PASS without a population read to its end; nothing planned disappears."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.api import Check, Record, Table, Verdict, check, fail, ok, skip
from collector.judge import ALL, NONE, Bench, judge
from collector.model import Gap, GapKind, Outcome, Population, Refused, Shard, Task, Unavailable, record

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
BENCH = Bench(AS_OF, {})
DENIED = {"$gap": {"kind": "denied", "reason": "x:Get was refused", "operation": "x:Get"}}


@check("t.a.good", title="t", severity="low", each="t.a.things")
def good(thing: Record, *, at_least: int = 1) -> Verdict:
    """A thing has enough."""
    if thing["Size"] == 0:
        return skip("the thing is empty")
    return ok(f"size {thing['Size']}") if thing["Size"] >= at_least else fail(f"size {thing['Size']}, limit {at_least}")


@check("t.a.any", title="t", severity="low", over=("t.a.things",))
def any_big(things: Iterable[Record]) -> Verdict:
    """At least one thing is big."""
    return ok("one is big") if any(thing["Size"] > 5 for thing in things) else fail("none is big")


def shard(
    tmp: Path, rows: list[dict[str, Any]], gap: Gap | None = None, region: str = "", dataset: str = "t.a.things"
) -> Shard:
    task = Task(dataset, "c", region=region)
    path = tmp / f"{dataset}{region}.rows"
    path.write_bytes(
        b"".join(
            orjson.dumps({"key": row["Id"], "refs": [n], "parts": {}, "row": row}) + b"\n" for n, row in enumerate(rows)
        )
    )
    return Shard(
        Population(task, len(rows), "unproven" if gap else "terminal-page", gap, (), tuple(range(len(rows)))), path
    )


def said(shards: list[Shard], *checks: Check, bench: Bench = BENCH) -> list[tuple[str, str, str]]:
    return [(f.resource, str(f.outcome), f.reason) for f in judge(checks, shards, bench)]


def test_each_record_is_judged_with_its_limits(tmp_path: Path) -> None:
    rows = [{"Id": "a", "Size": 3}, {"Id": "b", "Size": 0}, {"Id": "c", "Size": 1}]
    bench = Bench(AS_OF, {"t.a.good": {"at_least": 2}})
    findings = list(judge([good], [shard(tmp_path, rows)], bench))
    assert [(f.resource, str(f.outcome)) for f in findings] == [("a", "PASS"), ("b", "SKIP"), ("c", "FAIL")]
    assert all(f.params == {"at_least": 2} for f in findings)
    assert findings[2].evidence == (2,)


def test_p14_an_empty_list_says_so(tmp_path: Path) -> None:
    assert said([shard(tmp_path, [])], good) == [(NONE, "SKIP", "no records in t.a.things; the list is complete")]


def test_p2_an_unread_list_is_unknown(tmp_path: Path) -> None:
    gap = Gap("t.a.things", "c", GapKind.DENIED, "x:List was refused")
    assert said([shard(tmp_path, [], gap)], good, any_big) == [
        (ALL, "UNKNOWN", "the list could not be read: x:List was refused"),
        ("c", "UNKNOWN", "the list is incomplete: x:List was refused; seen here: FAIL (none is big)"),
    ]


def test_p2_what_breaks_on_a_part_of_a_list_tells_only_why_it_is_a_part(tmp_path: Path) -> None:
    @check("t.a.one", title="t", severity="low", over=("t.a.things",))
    def one(things: Iterable[Record]) -> Verdict:
        """There is one thing."""
        (only,) = things
        return ok(f"size {only['size']}")

    gap = Gap("t.a.things", "c", GapKind.DENIED, "x:List was refused")
    told = ("c", "UNKNOWN", "the list is incomplete: x:List was refused")
    assert said([shard(tmp_path, [], gap)], one) == [told]


def test_a_broken_list_stops_every_conclusion_and_keeps_what_was_seen(tmp_path: Path) -> None:
    gap = Gap("t.a.things", "c", GapKind.TRUNCATED, "no last page")
    outcomes = said([shard(tmp_path, [{"Id": "a", "Size": 3}], gap)], good)
    assert outcomes[0] == ("a", "UNKNOWN", "the list is incomplete: no last page; seen here: PASS (size 3)")
    assert outcomes[1][0] == ALL


def test_p1_a_refused_part_is_unknown_for_exactly_its_record(tmp_path: Path) -> None:
    rows = [{"Id": "a", "Size": DENIED}, {"Id": "b", "Size": 3}]
    assert said([shard(tmp_path, rows)], good) == [
        ("a", "UNKNOWN", "could not be read: x:Get was refused"), ("b", "PASS", "size 3"),
    ]  # fmt: skip
    assert said([shard(tmp_path, rows)], any_big)[0][1] == "UNKNOWN"


def test_p3_one_unread_region_makes_the_whole_question_unknown(tmp_path: Path) -> None:
    gap = Gap("t.a.things", "c/away", GapKind.DENIED, "x:List was refused in away")
    shards = [shard(tmp_path, [{"Id": "a", "Size": 9}], region="home"), shard(tmp_path, [], gap, region="away")]
    finding = said(shards, any_big)[0]
    assert finding[1] == "UNKNOWN"
    assert "away" in finding[2]


def test_p18_a_check_that_breaks_is_an_error(tmp_path: Path) -> None:
    @check("t.a.breaks", title="t", severity="low", each="t.a.things")
    def breaks(thing: Record) -> Verdict:
        """It breaks when it finds something."""
        return ok("fine") if thing["Size"] < 5 else fail(thing["Owner"])

    @check("t.a.wrong", title="t", severity="low", each="t.a.things")
    def wrong(thing: Record) -> Verdict:
        """It answers with a boolean."""
        return thing["Size"] < 5  # type: ignore[no-any-return]

    rows = [{"Id": "a", "Size": 1}, {"Id": "b", "Size": 9}]
    outcomes = said([shard(tmp_path, rows)], breaks, wrong)
    assert [outcome for _, outcome, _ in outcomes] == ["PASS", "ERROR", "ERROR", "ERROR"]
    assert "KeyError" in outcomes[2][2]
    assert "gave bool" in outcomes[1][2]


def test_p14_a_dataset_that_was_not_read_here_is_named(tmp_path: Path) -> None:
    @check("t.a.both", title="t", severity="low", over=("t.a.things", "t.b.others"))
    def both(things: Iterable[Record], others: Iterable[Record]) -> Verdict:
        """Both are there."""
        return ok("both")

    assert said([shard(tmp_path, [])], both) == [("c", "UNKNOWN", "not read here: t.b.others")]


def test_questions_are_answered_once_per_region_account_or_run(tmp_path: Path) -> None:
    shards = [
        shard(tmp_path, [{"Id": "a", "Size": 9}], region="home"),
        shard(tmp_path, [{"Id": "b", "Size": 1}], region="away"),
    ]

    def asked(across: Any) -> list[tuple[str, str]]:
        @check("t.a.any", title="t", severity="low", over=("t.a.things",), across=across)
        def one(things: Iterable[Record]) -> Verdict:
            """At least one is big."""
            return ok("one") if any(thing["Size"] > 5 for thing in things) else fail("none")

        return [(resource, outcome) for resource, outcome, _ in said(shards, one)]

    assert asked("region") == [("c/home", "PASS"), ("c/away", "FAIL")]
    assert asked("account") == [("c", "PASS")]
    assert asked("run") == [("run", "PASS")]


@given(st.lists(st.sampled_from(["ok", "bad", "denied"]), max_size=6), st.booleans())
def test_findings_account_for_every_record_and_no_pass_survives_a_gap(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], broken: bool
) -> None:
    sizes: dict[str, Any] = {"ok": 3, "bad": -1, "denied": DENIED}
    rows = [{"Id": str(n), "Size": sizes[kind]} for n, kind in enumerate(kinds)]
    gap = Gap("t.a.things", "c", GapKind.TRUNCATED, "cut") if broken else None
    findings = list(judge([good, any_big], [shard(tmp_path_factory.mktemp("j"), rows, gap)], BENCH))
    about = {f.resource for f in findings if f.check == "t.a.good"}
    assert {row["Id"] for row in rows} <= about
    if broken:
        assert {f.outcome for f in findings} == {Outcome.UNKNOWN}
    for f, kind in zip((f for f in findings if f.check == "t.a.good"), kinds, strict=False):
        assert f.outcome == ("UNKNOWN" if broken or kind == "denied" else "PASS" if kind == "ok" else "FAIL")


def test_a_refused_value_raises_whatever_is_done_with_it() -> None:
    refused = Refused(GapKind.DENIED, "no", "x:Y")
    row = record({"a": {"b": DENIED}, "c": [DENIED]})
    for use in (
        lambda: row["a"]["b"],
        lambda: row["a"].get("b"),
        lambda: list(row["a"].values()),
        lambda: dict(row["a"].items()),
        lambda: bool(refused),
        lambda: refused == 1,
        lambda: refused["x"],
        lambda: list(refused),
        lambda: len(refused),
        lambda: "x" in refused,
        lambda: str(refused),
        lambda: row["c"][0]["x"],
    ):
        with pytest.raises(Unavailable):
            use()


def test_a_verdict_is_ok_fail_or_skip_with_a_reason() -> None:
    with pytest.raises(ValueError, match="happen by themselves"):
        Verdict(Outcome.UNKNOWN, "no")
    with pytest.raises(ValueError, match="needs a reason"):
        ok(" ")


def test_p19_stale_facts_conclude_nothing(tmp_path: Path) -> None:
    rows = [
        {"Id": "fresh", "Size": 9, "Of": "2026-05-31T12:00:00Z"},
        {"Id": "old", "Size": 9, "Of": "2026-05-30T12:00:00Z"},
        {"Id": "silent", "Size": 9},
    ]
    bench = Bench(AS_OF, {}, fresh={"t.a.things": ("Of", 24)})
    outcomes = {
        resource: (outcome, reason)
        for resource, outcome, reason in said([shard(tmp_path, rows)], good, any_big, bench=bench)
    }
    assert outcomes["fresh"] == ("PASS", "size 9")
    assert outcomes["old"][0] == "UNKNOWN"
    assert outcomes["old"][1].startswith("stale: the facts are of 2026-05-30T12:00:00.000Z, more than 24 hours")
    assert "does not say when it was true" in outcomes["silent"][1]
    assert outcomes["c"][0] == "PASS"
    assert said([shard(tmp_path, rows[1:])], any_big, bench=bench)[0][1] == "UNKNOWN"


@check("t.a.owned", title="t", severity="low", each="t.a.things", beside=("t.a.owners",))
def owned(thing: Record, owners: Table) -> Verdict:
    """A thing has an owner."""
    found = owners.where("has/things", thing["Name"])
    return ok(f"owned by {', '.join(owner['Id'] for owner in found)}") if found else fail("nobody owns it")


def owners(tmp: Path, rows: list[dict[str, Any]], gap: Gap | None = None) -> Shard:
    return shard(tmp, rows, gap, dataset="t.a.owners")


def test_whole_datasets_stand_beside_a_record_and_only_what_was_found_is_cited(tmp_path: Path) -> None:
    things = shard(tmp_path, [{"Id": "a", "Name": "Cup"}, {"Id": "b", "Name": "Pan"}])
    who = owners(tmp_path, [{"Id": "x"}, {"Id": "y", "has": {"things": ["cup", "jug"]}}, {"Id": "z", "has": None}])
    findings = list(judge([owned], [things, who], BENCH))
    assert [(f.resource, str(f.outcome), f.reason) for f in findings] == [
        ("a", "PASS", "owned by y"), ("b", "FAIL", "nobody owns it"),
    ]  # fmt: skip
    assert [f.evidence for f in findings] == [(0, 1), (0, 1, 2)]
    assert findings[0].proof
    assert {p.task.dataset for p in findings[0].proof.populations} == {"t.a.things", "t.a.owners"}


def test_p2_nothing_passes_beside_a_list_that_was_not_read_whole(tmp_path: Path) -> None:
    things = shard(tmp_path, [{"Id": "a", "Name": "cup"}])
    gap = Gap("t.a.owners", "c", GapKind.TRUNCATED, "no last page")
    who = owners(tmp_path, [{"Id": "y", "has": {"things": ["cup"]}}], gap)
    told = "the list is incomplete: no last page; seen here: PASS (owned by y)"
    assert said([things, who], owned) == [("a", "UNKNOWN", told)]
    assert said([things], owned) == [("a", "UNKNOWN", "not read in this run: t.a.owners")]


def test_p2_a_refused_field_beside_a_record_leaves_the_answer_open(tmp_path: Path) -> None:
    things = shard(tmp_path, [{"Id": "a", "Name": "cup"}])
    who = owners(tmp_path, [{"Id": "y", "has": {"things": ["cup"]}}, {"Id": "z", "has": DENIED}])
    assert said([things, who], owned) == [("a", "UNKNOWN", "could not be read: x:Get was refused")]


def test_stale_facts_beside_a_record_conclude_nothing(tmp_path: Path) -> None:
    things = shard(tmp_path, [{"Id": "a", "Name": "cup"}])
    who = owners(tmp_path, [{"Id": "y", "has": {"things": ["cup"]}, "of": "2026-05-01T00:00:00Z"}])
    bench = Bench(AS_OF, {}, fresh={"t.a.owners": ("of", 24)})
    ((_, outcome, reason),) = said([things, who], owned, bench=bench)
    assert outcome == "UNKNOWN"
    assert "stale" in reason


def test_beside_needs_each() -> None:
    with pytest.raises(TypeError, match="beside= without each="):
        check("t.a.x", title="t", severity="low", over=("t.a.things",), beside=("t.a.owners",))(any_big.function)
