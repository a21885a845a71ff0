"""The mapping rows agree with the checks there are, and claim what a lead auditor would accept."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from collector.api import Check
from collector.catalogue import Catalogues, MappingError, Mappings, load_catalogues, load_mappings
from collector.plugins import content_root, load_checks

ROOT = content_root() / "mappings"
SETS = ("iso-27001", "iso-27017-2015", "iso-27017-2026", "iso-27018-2019")


@dataclass(frozen=True)
class Facts:
    """What a mapping needs to know of a check."""

    id: str
    dataset_kinds: tuple[str, ...] = ("snapshot",)
    params: Mapping[str, object] = field(default_factory=dict)
    each: bool = True


@pytest.fixture(scope="module")
def catalogues() -> Catalogues:
    return load_catalogues(ROOT)


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    return load_checks()


@pytest.fixture(scope="module")
def mappings(checks: dict[str, Check], catalogues: Catalogues) -> Mappings:
    """Every set, against the checks there really are: an unknown check is an error here."""
    return load_mappings(ROOT, None, checks, catalogues)


@cache
def written() -> tuple[tuple[str, str, str, str], ...]:
    """Set, file name without suffix, control and check of every row, as the files say it."""
    files = [path for path in sorted(ROOT.rglob("*.yaml")) if path.parent.name != "catalogues"]
    return tuple(
        (path.parent.name, path.stem, row["control"], row["check"])
        for path in files
        for row in yaml.safe_load(path.read_text())["evidence"]
    )


# The shipped rows


def test_no_row_names_an_unknown_check_and_every_set_is_there(mappings: Mappings) -> None:
    assert {row.file.partition("/")[0] for row in mappings.rows} == set(SETS)


def test_every_check_is_evidence_for_a_control_of_27001(checks: dict[str, Check], mappings: Mappings) -> None:
    mapped = {row.check for row in mappings.rows if row.framework == "iso-27001"}
    assert {check.id for check in checks.values() if not check.retired} - mapped == set()


def test_every_limit_of_a_check_points_to_a_rule_of_the_organisation(
    checks: dict[str, Check], mappings: Mappings
) -> None:
    loose = [f"{row.file}:{row.line}" for row in mappings.rows if checks[row.check].params and not row.criterion]
    assert loose == []
    named = {(row.check, row.criterion.param) for row in mappings.rows if row.criterion}
    assert [
        check.id
        for check in checks.values()
        if check.params and not any((check.id, name) in named for name in check.params)
    ] == []


def test_operation_is_claimed_for_events_of_a_period_only(checks: dict[str, Check], mappings: Mappings) -> None:
    operating = {row.check for row in mappings.rows if row.strength == "demonstrates_operation"}
    assert "aws.backup.job-success" in operating
    for name in operating:
        check = checks[name]
        assert set(check.dataset_kinds[:1] if check.each else check.dataset_kinds) == {"period"}, name


def test_a_row_stands_in_the_file_named_like_its_check() -> None:
    for name, stem, _, check in written():
        assert check.startswith(f"{stem}."), (name, stem, check)


def test_a_check_speaks_of_three_controls_at_most() -> None:
    controls = defaultdict(set)
    for name, _, control, check in written():
        controls[name, check].add(control)
    assert {key: found for key, found in controls.items() if len(found) > 3} == {}


def test_no_block_of_checks_is_pasted_to_several_controls() -> None:
    by_control = defaultdict(set)
    for name, _, control, check in written():
        by_control[name, control].add(check)
    for (one, mine), (other, theirs) in combinations(by_control.items(), 2):
        if one[0] == other[0] and min(len(mine), len(theirs)) >= 3:
            assert len(mine & theirs) < len(mine | theirs) / 2, (one, other)


ENCRYPTION = ("*encrypt*", "aws.kms.*", "*tls*", "aws.acm.*")
EXPOSURE = ("*not-public", "*public-access*", "aws.ec2.*security-group*", "*instance-without-public-address")
NOT_EVIDENCE = (
    # Each pair is a mapping found in another tool that a lead auditor would reject.
    (("aws.guardduty.*",), ("A.5.1", "A.5.19", "A.5.21", "A.5.25", "A.5.28", "A.5.29", "A.8.7", "A.8.9")),
    (("aws.config.*",), ("A.5.16", "A.5.22", "A.5.28")),
    (("aws.s3.versioning", "*retention*", "*deletion*"), ("A.8.10", "A.8.3", "A.8.14")),
    (("aws.logs.*", "host.logging.*"), ("A.8.10", "A.8.13")),
    (ENCRYPTION, ("A.5.1", "A.5.2", "A.5.16", "A.8.5", "A.8.11", "A.8.12", "A.8.15")),
    (EXPOSURE, ("A.8.1", "A.8.14", "A.8.23", "A.5.1")),
    (("aws.backup.*", "*multi-az"), ("A.5.30", "A.8.10")),
    (("host.updates.*", "aws.ecr.*", "*runtime-supported"), ("A.8.27", "A.8.25", "A.8.28")),
    (("aws.iam.*", "host.sshd.*"), ("A.5.1", "A.5.3", "A.5.24", "A.7.4")),
    (("aws.organizations.*",), ("A.5.5", "A.5.6", "A.5.22")),
    (("*",), ("A.5.1", "A.5.4", "A.5.5", "A.5.6", "A.5.29", "A.5.35", "A.6.*", "A.7.*", "A.8.27", "A.8.30", "A.8.34")),
    (("*",), ("5.1", "5.4", "5.5", "5.6", "5.29", "5.35", "6.*", "7.*", "8.1", "8.10", "8.11", "8.23", "CLD.6.3.1")),
)

PAPER = ("register.", "jira.", "joins.")
"""Registers and tickets: the one kind of evidence of people, papers and premises that there is."""
BY_PEOPLE_ONLY = (
    "A.5.4", "A.5.20", "A.5.29", "A.5.31", "A.5.35", "A.6.4", "A.7.1", "A.7.3", "A.7.5", "A.7.6", "A.7.8", "A.7.11",
    "A.7.12", "A.7.13",
)  # fmt: skip


def test_what_no_system_can_evidence_is_left_to_people() -> None:
    assert [(control, check) for _, _, control, check in written() if control in BY_PEOPLE_ONLY] == []


def test_the_mappings_a_lead_auditor_would_reject_are_not_made() -> None:
    made = []
    for name, _, control, check in written():
        for checks, controls in NOT_EVIDENCE if not check.startswith(PAPER) else ():
            hit = any(fnmatchcase(check, p) for p in checks) and any(fnmatchcase(control, p) for p in controls)
            if hit and not (name == "iso-27017-2015" and not control.startswith("CLD")):
                made.append((check, control))
    assert made == []


def test_the_restraint_test_would_notice_a_bad_mapping() -> None:
    patterns, controls = NOT_EVIDENCE[4]
    assert any(fnmatchcase("aws.ec2.volume-encrypted", pattern) for pattern in patterns)
    assert "A.8.11" in controls


def test_no_row_promises_an_opinion(mappings: Mappings) -> None:
    for row in mappings.rows:
        text = " ".join((row.aspect, *row.remainder, row.does_not_show, row.rationale)).lower()
        for word in ("complian", "certif" if "certificate" not in text else "certified", "guarantee", "ensure", "best"):
            assert word not in text, (row.file, row.line, word)
        assert row.coverage == "partial", "no single setting is a whole control"


def test_the_limit_of_27017_to_the_party_it_addresses_holds(mappings: Mappings, catalogues: Catalogues) -> None:
    for row in mappings.rows:
        binds = catalogues.controls[row.key].binds
        assert not binds or row.party in binds


def test_only_the_named_sets_are_read(checks: dict[str, Check], catalogues: Catalogues) -> None:
    found = load_mappings(ROOT, ["iso-27018-2019"], checks, catalogues)
    assert {file.name.partition("/")[0] for file in found.files} == {"iso-27018-2019"}
    for file in found.files:
        assert file.raw == (ROOT / file.name).read_bytes()


# What is refused

CHECKS = {
    "aws.s3.versioning": Facts("aws.s3.versioning"),
    "aws.backup.job-success": Facts("aws.backup.job-success", ("period",), {"min_success_pct": 98}),
    "aws.backup.mixed": Facts("aws.backup.mixed", ("period", "snapshot"), each=False),
}
GOOD = """\
framework: iso-27001
edition: "2022+amd1"
evidence:
  - control: A.8.13
    check: aws.backup.job-success
    aspect: jobs succeed at the set frequency
    strength: demonstrates_operation
    coverage: partial
    remainder: [restore tested]
    criterion: {ref: POL-BCK-01, param: min_success_pct, default: 98}
    party: customer
    does_not_show: that data can be restored
"""


def house(folder: Path, text: str, name: str = "rows.yaml") -> Path:
    (folder / "house").mkdir(exist_ok=True)
    (folder / "house" / name).write_text(text)
    return folder


def test_a_mapping_of_a_customer_loads_the_same_way(tmp_path: Path, catalogues: Catalogues) -> None:
    (row,) = load_mappings(house(tmp_path, GOOD), None, CHECKS, catalogues).rows
    assert row.key == ("iso-27001", "2022+amd1", "A.8.13")
    assert row.criterion is not None
    assert (row.criterion.ref, row.criterion.param, row.criterion.default) == ("POL-BCK-01", "min_success_pct", 98)
    assert (row.remainder, row.file, row.line) == (("restore tested",), "house/rows.yaml", 4)


def test_a_customer_may_bring_catalogues_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "catalogues").mkdir()
    for path in (ROOT / "catalogues").glob("*.yaml"):
        (tmp_path / "catalogues" / path.name).write_bytes(path.read_bytes())
    assert len(load_mappings(house(tmp_path, GOOD), ["house"], CHECKS).rows) == 1


SNAPSHOT = GOOD.replace("aws.backup.job-success", "aws.s3.versioning").replace(
    "    criterion: {ref: POL-BCK-01, param: min_success_pct, default: 98}\n", ""
)


@pytest.mark.parametrize(
    ("text", "where", "what", "next_step"),
    [
        (SNAPSHOT, ":7:5: evidence[0].strength", "state at one moment", "demonstrates_implementation at most"),
        (SNAPSHOT.replace("aws.s3.versioning", "aws.backup.mixed"), ":7:5", "state at one moment", "at most"),
        (GOOD.replace("A.8.13", "A.8.99"), ":4:5: evidence[0].control", "has no A.8.99", "write A."),
        (GOOD.replace("A.8.13", "'8'"), ":4:5: evidence[0].control", "is a heading", "sub-clauses"),
        (GOOD.replace("A.8.13", "A.8.24"), ":7:5: evidence[0].strength", "more than systems can show", "at most"),
        (
            GOOD.replace("job-success", "job-succes"),
            ":5:5: evidence[0].check",
            "no check",
            "write aws.backup.job-success",
        ),
        (GOOD.replace("2022+amd1", "2013"), ":2:1: edition", "no catalogue of iso-27001 2013", "2022+amd1"),
        (GOOD.replace("iso-27001", "iso-9001"), ":1:1: framework", "no catalogue of iso-9001", "iso-27001"),
        (GOOD.replace("param: min", "param: max"), ":10:5: evidence[0].criterion", "no limit max", "min_success_pct"),
        (GOOD.replace("default: 98", "default: 90"), ":10:5: evidence[0].criterion", "=98 as its default", "default"),
        (GOOD.replace("param: min_success_pct, ", ""), "criterion.default", "without param", "add param"),
        (GOOD.replace("operation", "design").replace("criterion", "rationale"), ":4:5: evidence[0]", "", ""),
        (SNAPSHOT.replace("operation", "design"), ":4:5: evidence[0]", "criterion is missing", "add criterion"),
        (GOOD.replace("    remainder: [restore tested]\n", ""), ":4:5", "remainder is missing", "add remainder"),
        (GOOD.replace("partial", "full"), ":9:5: evidence[0].remainder", "must not stand here", "remove it"),
        (GOOD.replace("demonstrates_operation", "proves"), ":7:5: evidence[0].strength", "'proves'", "supports"),
        (
            GOOD.replace("    aspect: jobs succeed at the set frequency\n", ""),
            ":4:5",
            "aspect is missing",
            "add aspect",
        ),
        (GOOD.replace("    does_not_show: that data can be restored\n", ""), ":4:5", "does_not_show is missing", "add"),
        (GOOD.replace("does_not_show: that", "does_not_show: ''  # that"), ":12:5", "", "README"),
        (GOOD.replace("coverage", "covrage"), "evidence[0]", "", "coverage"),
        (GOOD + "    strength: context\n", ":13:5: evidence[0].strength", "a second time, first in line 7", "one"),
        (
            GOOD.replace("party: customer", "party: nobody"),
            ":11:5: evidence[0].party",
            "'nobody'",
            "customer, provider",
        ),
        (GOOD.replace("[restore tested]", "restore tested"), ":9:5: evidence[0].remainder", "not of type", "README"),
        (GOOD + "  - control: [\n", ":14:1", "not well-formed", "correct the line"),
        ("", ":1:1", "", "README"),
    ],
)
def test_a_wrong_row_is_refused_with_file_line_key_and_next_step(
    tmp_path: Path, catalogues: Catalogues, text: str, where: str, what: str, next_step: str
) -> None:
    with pytest.raises(MappingError) as caught:
        load_mappings(house(tmp_path, text), None, CHECKS, catalogues)
    assert where in caught.value.what
    assert "rows.yaml:" in caught.value.what
    assert what in caught.value.what
    assert next_step in caught.value.next_step
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_the_same_row_in_two_files_is_refused(tmp_path: Path, catalogues: Catalogues) -> None:
    house(tmp_path, GOOD, "a.yaml")
    with pytest.raises(MappingError, match=r"b\.yaml:4: .* the same row stands in house/a\.yaml:4"):
        load_mappings(house(tmp_path, GOOD, "b.yaml"), None, CHECKS, catalogues)


def test_a_party_the_control_does_not_address_is_refused(tmp_path: Path, catalogues: Catalogues) -> None:
    text = SNAPSHOT.replace("iso-27001", "iso-27017").replace("2022+amd1", "2015").replace("A.8.13", "9.2.1")
    with pytest.raises(MappingError, match="does not address the customer"):
        load_mappings(house(tmp_path, text.replace("demonstrates_operation", "supports")), None, CHECKS, catalogues)


def test_an_unknown_set_is_refused_with_the_nearest_name(checks: dict[str, Check], catalogues: Catalogues) -> None:
    with pytest.raises(MappingError, match="no mapping set iso-27002") as caught:
        load_mappings(ROOT, ["iso-27002"], checks, catalogues)
    assert "iso-27001" in caught.value.next_step


@pytest.mark.parametrize("names", [None, ["house"]])
def test_a_missing_folder_is_refused(tmp_path: Path, catalogues: Catalogues, names: list[str] | None) -> None:
    with pytest.raises(MappingError, match="no such folder"):
        load_mappings(tmp_path / "gone", names, CHECKS, catalogues)


def test_an_empty_set_is_refused(tmp_path: Path, catalogues: Catalogues) -> None:
    (tmp_path / "house").mkdir()
    with pytest.raises(MappingError, match=r"no \.yaml file"):
        load_mappings(tmp_path, None, CHECKS, catalogues)
