"""The roll-up: never more than the weakest part shows, whatever is added or taken away."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.catalogue import STRENGTHS, Control, MappingRow, load_catalogues
from collector.controls import ControlResult, Result, Statement, outside, roll_up, summary
from collector.model import Finding, Gap, GapKind, Outcome
from collector.plugins import content_root
from tests.worlds import PROOF

BACKUP = "A.8.13"
CATALOGUES = load_catalogues(content_root() / "mappings")
ISO = {control.id: control for control in CATALOGUES.all["iso-27001", "2022+amd1"].controls}
BUCKETS, JOBS = "aws.s3.versioning", "aws.backup.job-success"
RAN = {BUCKETS: ("aws.s3.buckets",), JOBS: ("aws.backup.jobs",)}


def row(
    check: str = BUCKETS, strength: str = "demonstrates_implementation", control: str = BACKUP, aspect: str = "it is so"
) -> MappingRow:
    return MappingRow(
        "iso-27001", "2022+amd1", control, check, aspect, strength, "partial", ("the rest",), None, "customer",
        "that it works", "", "", "", "iso-27001/x.yaml", 4,
    )  # fmt: skip


def found(
    outcome: str, check: str = BUCKETS, scope: str = "aws/eu-west-1", resource: str = "r", why: str = "so"
) -> Finding:
    return Finding(check, resource, scope, Outcome(outcome), why, (1,), proof=PROOF)


def gap(dataset: str, scope: str, resources: tuple[str, ...] = ()) -> Gap:
    return Gap(dataset, scope, GapKind.DENIED, "access denied to s3:ListAllMyBuckets", "s3:ListAllMyBuckets", resources)


def roll(
    rows: Sequence[MappingRow], findings: Sequence[Finding], gaps: Sequence[Gap] = (), **more: object
) -> ControlResult:
    arguments = {"ran": RAN} | more
    (result,) = roll_up([ISO[BACKUP]], rows, findings, gaps, **arguments)  # type: ignore[arg-type]
    return result


# Single rules


def test_all_read_and_passed_is_met() -> None:
    result = roll([row()], [found("PASS"), found("PASS", resource="b"), found("SKIP", resource="c")])
    assert (result.result, result.strength, result.incomplete) == ("met", "demonstrates_implementation", False)
    assert result.rows[0].reason == "2 looked at, none fails, the list is complete"
    assert result.rows[0].counts.SKIP == 1


def test_one_failure_is_an_exception_among_many_passes() -> None:
    result = roll([row(), row(JOBS)], [found("PASS"), found("FAIL", JOBS), found("PASS", JOBS)])
    assert (result.result, result.incomplete) == ("exceptions", False)
    assert result.reason == "1 of 2 aspects have exceptions"
    assert result.rows[1].reason == "1 of 2 looked at do not conform"


def test_a_failure_stays_visible_beside_what_was_not_read() -> None:
    result = roll([row()], [found("FAIL"), found("UNKNOWN", why="could not be read: throttled")])
    assert (result.result, result.incomplete) == ("exceptions", True)
    assert "not read to the end" in result.reason
    assert "throttled" in result.rows[0].reason


@pytest.mark.parametrize("outcome", ["UNKNOWN", "ERROR"])
def test_p7_unread_outranks_pass_skip_and_statements(outcome: str) -> None:
    said = Statement(ISO[BACKUP].key, Result.NOT_APPLICABLE, "no data is kept", "SoA 8.13")
    result = roll([row()], [found("PASS"), found("SKIP"), found(outcome)], statements=[said])
    assert (result.result, result.strength, result.incomplete) == ("not_collected", None, True)
    assert "which is not what was read" in result.reason


def test_p3_one_denied_region_is_named_and_keeps_the_control_from_being_met() -> None:
    findings = [found("PASS"), found("UNKNOWN", scope="aws/eu-central-1", resource="(all)")]
    result = roll([row()], findings, [gap("aws.s3.buckets", "aws/eu-central-1")])
    assert result.result == "not_collected"
    assert "aws.s3.buckets in aws/eu-central-1: access denied" in result.reason


def test_p3_a_gap_counts_even_when_no_finding_tells_of_it() -> None:
    result = roll([row()], [found("PASS")], [gap("aws.s3.buckets", "aws/eu-central-1")])
    assert (result.result, result.incomplete) == ("not_collected", True)


def test_a_gap_touches_only_the_checks_that_need_its_dataset() -> None:
    assert roll([row()], [found("PASS")], [gap("aws.backup.jobs", "aws/eu-central-1")]).result == "met"


def test_a_refused_sub_reply_touches_only_the_findings_that_needed_it() -> None:
    partial = gap("aws.s3.buckets", "aws/eu-west-1", resources=("b",))
    assert roll([row()], [found("PASS"), found("PASS", resource="b")], [partial]).result == "met"


def test_p14_a_complete_empty_list_is_told_from_one_that_was_not_read() -> None:
    empty = roll([row()], [found("SKIP", resource="(none)")])
    assert (empty.result, empty.strength) == ("no_occurrence", None)
    assert "the list is complete" in empty.rows[0].reason
    unread = roll([row()], [])
    assert unread.result == "not_collected"
    assert "nothing was asked of aws.s3.buckets" in unread.reason


def test_p14_a_check_that_did_not_run_is_not_read() -> None:
    result = roll([row(), row(JOBS)], [found("PASS")], ran={BUCKETS: RAN[BUCKETS]})
    assert (result.result, result.incomplete) == ("not_collected", True)
    assert "aws.backup.job-success: not read: the check did not run" in result.reason


def test_p14_every_control_appears_with_its_method_whether_checked_or_not() -> None:
    results = roll_up(ISO.values(), [], [], [], ran={})
    assert len(results) == 93 + 30
    assert {result.result for result in results} == {Result.NOT_COLLECTED}
    assert all(result.method and result.ask and "a person asks" in result.reason for result in results)
    assert summary(results) == {
        "met": 0, "exceptions": 0, "no_occurrence": 0, "not_collected": 123, "inherited": 0, "not_applicable": 0,
    }  # fmt: skip


def test_an_empty_list_beside_a_met_aspect_is_no_aspect_that_is_needed() -> None:
    result = roll([row(), row(JOBS, "supports")], [found("PASS"), found("SKIP", JOBS)])
    assert (result.result, result.strength) == ("met", "demonstrates_implementation")
    assert result.reason == "1 of 2 aspects met, 1 have nothing to apply to"


def test_operation_that_nobody_saw_keeps_the_control_from_being_met() -> None:
    result = roll([row(), row(JOBS, "demonstrates_operation")], [found("PASS"), found("SKIP", JOBS)])
    assert (result.result, result.strength) == ("no_occurrence", None)
    assert "nothing happened in the period" in result.reason


def test_the_strength_is_the_weakest_not_the_best() -> None:
    rows = [row(), row(JOBS, "demonstrates_operation")]
    assert roll(rows, [found("PASS"), found("PASS", JOBS)]).strength == "demonstrates_implementation"
    rows = [row(strength="supports"), row(JOBS, "demonstrates_operation")]
    assert roll(rows, [found("PASS"), found("PASS", JOBS)]).strength == "supports"


def test_supporting_evidence_alone_never_makes_a_control_met() -> None:
    only = roll([row(strength="supports"), row(JOBS, "supports")], [found("PASS"), found("PASS", JOBS)])
    assert (only.result, only.strength, only.incomplete) == ("not_collected", None, False)
    assert only.reason == "supporting evidence only, 2 of 2 aspects met: a person asks"
    assert [part.result for part in only.rows] == ["met", "met"]
    idle = roll([row(strength="supports"), row(JOBS)], [found("PASS"), found("SKIP", JOBS)])
    assert idle.result == "not_collected"
    assert roll([row(strength="supports")], [found("FAIL")]).result == "exceptions"


def test_context_is_shown_and_not_counted() -> None:
    alone = roll([row(strength="context")], [found("PASS")])
    assert (alone.result, alone.strength, alone.rows[0].result) == ("not_collected", None, "met")
    beside = roll([row(strength="context"), row(JOBS)], [found("UNKNOWN"), found("PASS", JOBS)])
    assert (beside.result, beside.strength, beside.incomplete) == ("met", "demonstrates_implementation", False)


def test_a_check_no_connection_can_feed_is_shown_and_not_counted() -> None:
    unplanned = outside(RAN | {"host.time.synchronised": ("host.time",)}, {"aws"})
    assert unplanned == {"host.time.synchronised"}
    rows = [row(), row("host.time.synchronised")]
    result = roll(rows, [found("PASS")], unplanned=unplanned)
    assert (result.result, result.rows[1].result, result.rows[1].planned) == ("met", "not_collected", False)
    assert roll(rows[1:], [], unplanned=unplanned).result == "not_collected"


def test_a_finding_counts_even_of_a_check_that_was_called_unplanned() -> None:
    assert roll([row()], [found("FAIL")], unplanned={BUCKETS}).result == "exceptions"


def test_only_some_places_are_named_and_the_rest_counted() -> None:
    reason = roll([row()], [found("UNKNOWN", scope=f"aws/{n}", why="denied") for n in range(5)]).rows[0].reason
    assert reason.count("denied") == 3
    assert reason.endswith("; and 2 more")


@pytest.mark.parametrize("word", [Result.INHERITED, Result.NOT_APPLICABLE])
def test_a_statement_speaks_where_nothing_was_read_and_is_marked_as_such(word: Result) -> None:
    said = Statement(ISO[BACKUP].key, word, "run by the provider", "report 7, 2026")
    for result in (roll([], [], statements=[said]), roll([row()], [found("SKIP")], statements=[said])):
        assert (result.result, result.strength) == (word, None)
        assert result.reason == "stated, not read: run by the provider (report 7, 2026)"


@pytest.mark.parametrize("outcome", ["PASS", "FAIL", "UNKNOWN"])
def test_a_statement_never_replaces_what_was_read(outcome: str) -> None:
    said = Statement(ISO[BACKUP].key, Result.NOT_APPLICABLE, "no data is kept", "SoA 8.13")
    with_it, without = (roll([row()], [found(outcome)], statements=s) for s in ([said], []))
    assert with_it.result == without.result
    assert "stated to be not_applicable (SoA 8.13)" in with_it.reason


@pytest.mark.parametrize(
    ("word", "reason", "reference"), [(Result.MET, "r", "s"), (Result.INHERITED, " ", "s"), (Result.INHERITED, "r", "")]
)
def test_a_statement_cannot_say_met_nor_go_without_reason(word: Result, reason: str, reference: str) -> None:
    with pytest.raises(ValueError, match="a statement"):
        Statement(ISO[BACKUP].key, word, reason, reference)


def test_rows_of_another_edition_do_not_leak_into_a_control() -> None:
    cloud = CATALOGUES.controls["iso-27017", "2026", "8.13"]
    (result,) = roll_up([cloud], [row(control="8.13")], [found("PASS")], [], ran=RAN)
    assert (result.result, result.rows) == ("not_collected", ())


def test_a_heading_has_no_result() -> None:
    assert roll_up([ISO["8"]], [], [], [], ran={}) == ()


def test_the_written_form_carries_everything_a_report_shows() -> None:
    written = roll([row()], [found("FAIL")]).as_row()
    assert {"kind", "framework", "edition", "id", "result", "strength", "incomplete", "rows", "method", "ask"} <= set(
        written
    )
    assert written["rows"][0]["counts"] == {"PASS": 0, "FAIL": 1, "SKIP": 0, "UNKNOWN": 0, "ERROR": 0}
    assert written["rows"][0]["does_not_show"] == "that it works"
    assert written["result"] == "exceptions"


# Properties

CHECKS = tuple(f"aws.test.c{n}" for n in range(4))
ALL_RAN = {check: (f"{check}.data",) for check in CHECKS}
ROWS = st.lists(
    st.builds(row, st.sampled_from(CHECKS), st.sampled_from(STRENGTHS)),
    min_size=1,
    max_size=5,
    unique_by=lambda r: r.check,
)
FINDINGS = st.lists(
    st.builds(found, st.sampled_from(["PASS", "FAIL", "SKIP", "UNKNOWN", "ERROR"]), st.sampled_from(CHECKS))
)
GAPS = st.lists(st.builds(gap, st.sampled_from([f"{check}.data" for check in CHECKS]), st.just("aws/x")), max_size=2)
GOOD_TO_BAD = ("met", "no_occurrence", "not_collected", "exceptions")


def rank(result: ControlResult) -> int:
    return GOOD_TO_BAD.index(result.result)


def judged(rows: Sequence[MappingRow], findings: Sequence[Finding], gaps: Sequence[Gap] = ()) -> ControlResult:
    return roll(rows, findings, gaps, ran=ALL_RAN)


@given(ROWS, FINDINGS, GAPS, st.sampled_from(["UNKNOWN", "ERROR"]), st.sampled_from(CHECKS))
def test_adding_something_unread_never_improves_a_result(
    rows: list[MappingRow], findings: list[Finding], gaps: list[Gap], outcome: str, check: str
) -> None:
    before, after = judged(rows, findings, gaps), judged(rows, [*findings, found(outcome, check)], gaps)
    assert rank(after) >= rank(before)
    assert after.incomplete or not before.incomplete
    if any(part.counted and part.row.check == check for part in after.rows):
        assert after.incomplete
        assert after.result in ("exceptions", "not_collected")


@given(ROWS, FINDINGS, GAPS, st.sampled_from(CHECKS))
def test_a_new_gap_never_improves_a_result(
    rows: list[MappingRow], findings: list[Finding], gaps: list[Gap], check: str
) -> None:
    before = judged(rows, findings, gaps)
    after = judged(rows, findings, [*gaps, gap(f"{check}.data", "aws/y")])
    assert rank(after) >= rank(before)


@given(ROWS, FINDINGS, GAPS)
def test_met_is_only_said_when_everything_needed_was_read_and_something_passed(
    rows: list[MappingRow], findings: list[Finding], gaps: list[Gap]
) -> None:
    result = judged(rows, findings, gaps)
    counted = {r.check for r in rows if r.strength != "context"}
    mine = [f.outcome for f in findings if f.check in counted]
    if result.result == "met":
        assert "PASS" in mine
        assert any(part.result == "met" and part.row.strength.startswith("demonstrates") for part in result.rows)
        assert not {"FAIL", "UNKNOWN", "ERROR"} & set(mine)
        assert not {g.dataset.removesuffix(".data") for g in gaps} & counted
        assert all(any(f.check == check for f in findings) for check in counted)
        assert not result.incomplete
    if "FAIL" in mine:
        assert result.result == "exceptions"


@given(ROWS, FINDINGS, GAPS)
def test_the_strength_is_never_more_than_any_counted_row_that_saw_something(
    rows: list[MappingRow], findings: list[Finding], gaps: list[Gap]
) -> None:
    result = judged(rows, findings, gaps)
    assert (result.strength is None) == (result.result not in ("met", "exceptions"))
    if result.strength:
        for part in result.rows:
            if part.counted and part.result in ("met", "exceptions"):
                assert STRENGTHS.index(result.strength) <= STRENGTHS.index(part.row.strength)


@given(ROWS, FINDINGS, GAPS, st.randoms())
def test_the_order_of_findings_and_gaps_changes_no_result(
    rows: list[MappingRow], findings: list[Finding], gaps: list[Gap], random: object
) -> None:
    before = judged(rows, findings, gaps)
    shuffled = sorted(findings, key=lambda _: random.random())  # type: ignore[attr-defined]
    after = judged(rows, shuffled, gaps[::-1])
    assert (before.result, before.strength, before.incomplete) == (after.result, after.strength, after.incomplete)
    assert [part.counts for part in before.rows] == [part.counts for part in after.rows]


@given(ROWS, FINDINGS, GAPS, st.sampled_from(CHECKS))
def test_losing_a_check_never_makes_a_control_met(
    rows: list[MappingRow], findings: list[Finding], gaps: list[Gap], lost: str
) -> None:
    ran = {check: needed for check, needed in ALL_RAN.items() if check != lost}
    after = roll(rows, [f for f in findings if f.check != lost], gaps, ran=ran)
    if any(r.check == lost and r.strength != "context" for r in rows):
        assert after.result in ("not_collected", "exceptions")
        assert after.incomplete


def test_controls_without_a_result_word_of_their_own_are_not_possible() -> None:
    assert {str(word) for word in Result} == {*GOOD_TO_BAD, "inherited", "not_applicable"}
    assert isinstance(ISO[BACKUP], Control)
