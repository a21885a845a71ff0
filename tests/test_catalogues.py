"""The catalogues say what they should, completely, and refuse what they cannot mean."""

import re
from pathlib import Path

import pytest

from collector.catalogue import STRENGTHS, Catalogues, Control, MappingError, load_catalogues, load_correspondence
from collector.plugins import content_root

ROOT = content_root() / "mappings"


@pytest.fixture(scope="module")
def catalogues() -> Catalogues:
    return load_catalogues(ROOT)


def of(catalogues: Catalogues, framework: str, edition: str) -> tuple[Control, ...]:
    return catalogues.all[framework, edition].controls


def test_every_edition_has_its_number_of_controls(catalogues: Catalogues) -> None:
    count = {
        edition: {
            kind: sum(control.kind == kind for control in catalogue.controls)
            for kind in dict.fromkeys(control.kind for control in catalogue.controls)
        }
        for edition, catalogue in catalogues.all.items()
    }
    assert count == {
        ("iso-27001", "2022+amd1"): {"heading": 11, "clause": 30, "control": 93},
        ("iso-27002", "2022"): {"control": 93},
        ("iso-27017", "2015"): {"cloud-specific": 7, "cloud-guidance": 37},
        ("iso-27017", "2026"): {"cloud-guidance": 39, "control": 54, "cloud-specific": 4},
        ("iso-27018", "2019"): {"control": 25},
        ("iso-27018", "2025"): {"pii-guidance": 13, "control": 80},
    }


def test_annex_a_is_numbered_without_a_hole(catalogues: Catalogues) -> None:
    ids = [control.id for control in of(catalogues, "iso-27001", "2022+amd1") if control.kind == "control"]
    expected = [f"A.{theme}.{n}" for theme, last in ((5, 37), (6, 8), (7, 14), (8, 34)) for n in range(1, last + 1)]
    assert ids == expected


def test_the_2026_edition_of_27017_ends_each_theme_with_its_own_controls(catalogues: Catalogues) -> None:
    controls = of(catalogues, "iso-27017", "2026")
    assert [control.id for control in controls if control.kind == "cloud-specific"] == ["5.38", "5.39", "8.35", "8.36"]
    assert len({control.id for control in controls}) == 97


def test_every_control_tells_a_person_what_to_do(catalogues: Catalogues) -> None:
    for control in catalogues.controls.values():
        assert control.method, control.key
        assert set(control.method) <= {"examine", "interview", "observe", "test"}, control.key
        assert control.ask.endswith((".", "?")), control.key
        assert control.confidence, control.key
        assert control.strongest in STRENGTHS


def test_annex_a_and_the_cloud_controls_also_name_documents_sample_cadence_and_the_overclaim(
    catalogues: Catalogues,
) -> None:
    for control in catalogues.controls.values():
        if control.framework in ("iso-27018",) or control.kind in ("heading", "clause"):
            continue
        assert control.documents, control.key
        assert control.sample, control.key
        assert control.cadence, control.key
        assert control.guard, control.key


def test_controls_that_no_system_shows_are_tested_by_people_and_never_claim_more_than_support(
    catalogues: Catalogues,
) -> None:
    annex = [control for control in of(catalogues, "iso-27001", "2022+amd1") if control.kind == "control"]
    none = [control for control in annex if control.api_evidence == "none"]
    assert [control.id for control in none] == [
        "A.5.4", "A.5.20", "A.5.29", "A.5.31", "A.5.35", "A.6.4", "A.7.1", "A.7.3", "A.7.5", "A.7.6", "A.7.8", "A.7.11",
        "A.7.12", "A.7.13",
    ]  # fmt: skip
    assert {control.strongest for control in none} == {"supports"}
    assert sum(control.api_evidence == "full" for control in annex) == 18


def test_attributes_reach_every_control_that_is_like_one_of_27002(catalogues: Catalogues) -> None:
    names = {"type", "properties", "concepts", "capabilities", "domains"}
    for control in catalogues.controls.values():
        wanted = control.framework != "iso-27018" or control.edition == "2025"
        if control.kind in ("heading", "clause", "cloud-specific") or not wanted:
            assert not control.attributes, control.key
        else:
            assert set(control.attributes) == names, control.key
    assert catalogues.controls["iso-27001", "2022+amd1", "A.8.13"].attributes["type"] == ("Corrective",)


def test_a_row_says_itself_what_differs_from_the_row_it_is_like(catalogues: Catalogues) -> None:
    guided = catalogues.controls["iso-27017", "2015", "12.3.1"]
    assert guided.title == "Information backup"
    assert guided.ask == catalogues.controls["iso-27001", "2022+amd1", "A.8.13"].ask
    assert guided.binds == ("customer", "provider")
    assert catalogues.controls["iso-27017", "2015", "15.1.1"].confidence == "from memory only"


def test_confidence_is_stated_where_it_is_low(catalogues: Catalogues) -> None:
    assert "third-party" in catalogues.controls["iso-27017", "2026", "8.24"].confidence
    assert "A.11.9 and A.11.10" in catalogues.controls["iso-27018", "2019", "A.11.10"].confidence
    assert "could not be confirmed" in catalogues.all["iso-27018", "2025"].not_listed
    assert "no licensed copy" in catalogues.all["iso-27001", "2022+amd1"].sources


def test_the_files_are_kept_byte_for_byte(catalogues: Catalogues) -> None:
    assert {file.name for file in catalogues.files} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "catalogues").glob("*.yaml")
    }
    for file in catalogues.files:
        assert file.raw == (ROOT / file.name).read_bytes()
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_2013_to_2022_reaches_all_93_controls_from_all_114(catalogues: Catalogues) -> None:
    rows = load_correspondence(ROOT / "catalogues/correspondence/iso-27001-2013-to-2022.csv")
    annex = {control.id for control in of(catalogues, "iso-27001", "2022+amd1") if control.kind == "control"}
    assert {row.new for row in rows} == annex
    assert len({row.old for row in rows if row.old}) == 114
    assert sum(row.relation == "new_in_2022" for row in rows) == 11


def test_2015_to_2026_accounts_for_every_control_of_2015_and_every_cloud_control_of_2026(
    catalogues: Catalogues,
) -> None:
    rows = load_correspondence(ROOT / "catalogues/correspondence/iso-27017-2015-to-2026.csv")
    assert {row.old for row in rows if row.old} == {control.id for control in of(catalogues, "iso-27017", "2015")}
    new = {control.id: control for control in of(catalogues, "iso-27017", "2026")}
    assert {row.new for row in rows} <= set(new)
    assert {row.new for row in rows} >= {control.id for control in new.values() if control.kind != "control"}


HEAD = "framework: house\nedition: '2026'\ntitle: House rules\nsources: ours\nconfidence: certain\n"
ROW = "controls:\n  - id: H.1\n    title: Lock up\n    theme: house\n    kind: control\n"
FACTS = "    method: [observe]\n    ask: The door.\n    api_evidence: none\n    strongest: supports\n"


def house(folder: Path, text: str, name: str = "house.yaml") -> Path:
    (folder / "catalogues").mkdir(exist_ok=True)
    (folder / "catalogues" / name).write_text(text)
    return folder


def test_a_catalogue_of_a_customer_loads(tmp_path: Path) -> None:
    control = load_catalogues(house(tmp_path, HEAD + ROW + FACTS)).controls["house", "2026", "H.1"]
    assert (control.method, control.strongest, control.binds) == (("observe",), "supports", ())


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        (HEAD + ROW, ":7:5: controls[0]", "has no method"),
        (HEAD + ROW + FACTS.replace("    ask: The door.\n", ""), ":7:5: controls[0]", "has no ask"),
        (HEAD + ROW + FACTS.replace("[observe]", "[]"), ":11:5: controls[0].method", ""),
        (HEAD + ROW + FACTS.replace("observe", "guess"), "controls[0].method[0]", "'guess' is not a known word"),
        (HEAD + ROW + FACTS + "    colour: red\n", ":15:5: controls[0].colour", "no such key"),
        (HEAD + ROW + "    like: house 2026 H.9\n", ":11:5: controls[0].like", "there is no house 2026 H.9"),
        (HEAD + ROW + "    like: house 2026 H.1\n", ":7:5: controls[0]", "has no method"),
        (HEAD + ROW + FACTS + ROW.removeprefix("controls:\n") + FACTS, ":15:5: controls[1].id", "stands here twice"),
        (HEAD.replace("confidence: certain\n", "") + ROW + FACTS, ":1:1", "confidence is missing"),
        (HEAD + "title: again\n", ":6:1: title", "a second time"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_its_place(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(MappingError) as caught:
        load_catalogues(house(tmp_path, text))
    assert "house.yaml" in caught.value.what
    assert where in caught.value.what
    assert what in caught.value.what
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_an_edition_is_described_once(tmp_path: Path) -> None:
    house(tmp_path, HEAD + ROW + FACTS, "a.yaml")
    with pytest.raises(MappingError, match=r"b\.yaml:2:1: edition: house 2026 is already described by a\.yaml"):
        load_catalogues(house(tmp_path, HEAD + ROW + FACTS, "b.yaml"))


def test_a_folder_without_catalogues_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="no catalogue there"):
        load_catalogues(tmp_path)


@pytest.mark.parametrize("text", ["old,new\nA,B\n", "from,to,relation,note\n,,x,\n", "from,to,relation,note\nA,B\n"])
def test_a_wrong_correspondence_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(MappingError, match=r"x\.csv:\d"):
        load_correspondence(tmp_path / "x.csv")


def test_a_missing_correspondence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="cannot be read"):
        load_correspondence(tmp_path / "x.csv")
