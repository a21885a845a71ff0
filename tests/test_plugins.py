"""Check folders are loaded by path, alike, and refused with the file and the next step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from collector import plugins
from collector.errors import ConfigError
from tests.test_rerun import HOUSE


def _folder(base: Path, name: str, **files: str) -> Path:
    folder = base / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / f"{file}.py").write_text(text)
    return folder


def test_our_folder_holds_what_the_issue_asks_for() -> None:
    library = plugins.load()
    kinds = {source.connection for source in library.sources.values()}
    assert {"aws", "host", "tls"} <= kinds
    assert sum(check.id.startswith("aws.") for check in library.checks.values()) >= 55
    assert sum(source.id.startswith("aws.") for source in library.sources.values()) >= 20
    assert sum(check.id.startswith("host.") for check in library.checks.values()) >= 10
    assert sum(check.id.startswith("tls.") for check in library.checks.values()) >= 6
    for check in library.checks.values():
        assert check.module in library.code
        assert len(check.dataset_kinds) == len(check.datasets)
    for source in library.sources.values():
        assert source.module in library.code
        assert source.definition


def test_a_house_folder_is_loaded_beside_ours(tmp_path: Path) -> None:
    library = plugins.load((_folder(tmp_path, "house", groups=HOUSE, _helpers="raise SystemExit"),))
    assert library.checks["aws.house.named"].module == "house/groups.py"
    assert library.checks["aws.house.named"].dataset_kinds == ("snapshot",)
    assert library.code["house/groups.py"] == HOUSE.encode()
    assert "aws.logs.retention" in library.checks
    assert "house/_helpers.py" not in library.code
    assert "aws.house.named" in plugins.load_checks((tmp_path / "house",))


def test_without_our_own_only_the_named_folders_are_loaded(tmp_path: Path) -> None:
    library = plugins.load((_folder(tmp_path, "house", groups=HOUSE),), own=False)
    assert set(library.checks) == {"aws.house.named"}


def test_an_installed_package_brings_its_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = SimpleNamespace(__path__=[str(_folder(tmp_path, "packaged", groups=HOUSE))])
    entry = SimpleNamespace(load=lambda: package)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == "affidavit.checks" else [])
    assert plugins.load().checks["aws.house.named"].module == "packaged/groups.py"


API = "from collector.api import check, source\n"
SOURCE = API + "@source('t.a.b', key='K', per='account', permissions=())\ndef b(aws):\n    "
CHECK = API + "@check('t.a.c', title='t', severity='low', each='t.a.b')\ndef c(row{}):\n    {}"
WRONG = {
    "does not parse": ("def (", "does not load: SyntaxError"),
    "imports what is not there": ("import nowhere_at_all", "does not load: ModuleNotFoundError"),
    "breaks": ("x = undefined", "does not load: NameError"),
    "has a source without a definition": (SOURCE + "yield", "source t.a.b needs a docstring"),
    "has a check without a criterion": (CHECK.format("", "pass"), "check t.a.c needs a docstring"),
    "has a check of nothing": (CHECK.format("", "'C.'").replace(", each='t.a.b'", ""), "names either each= or over="),
    "has a limit without a default": (CHECK.format(", *, days", "'C.'"), "limit days needs a default"),
    "asks for a dataset that is not there": (CHECK.format("", "'C.'"), "asks for t.a.b, which no source gives"),
    "declares our id": (
        HOUSE.replace("aws.house.named", "aws.logs.retention"),
        "is declared twice: checks/aws/logs.py and house/a.py",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_module_that_is_wrong_is_named(tmp_path: Path, kind: str) -> None:
    text, words = WRONG[kind]
    with pytest.raises(ConfigError) as error:
        plugins.load((_folder(tmp_path, "house", a=text),))
    assert words in error.value.what
    assert error.value.exit_code == 2
    assert error.value.next_step


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the check folder .*nowhere does not exist"):
        plugins.load((tmp_path / "nowhere",))


def test_two_folders_of_one_name_cannot_hide_each_others_code(tmp_path: Path) -> None:
    """What is sealed is found by folder and file: two files of one name would be sealed as one."""
    first = _folder(tmp_path / "one", "house", groups=HOUSE)
    other = HOUSE.replace("aws.house.groups", "aws.house.others").replace("aws.house.named", "aws.house.titled")
    second = _folder(tmp_path / "two", "house", groups=other)
    with pytest.raises(ConfigError, match=r"two check folders are called house, and both hold groups\.py"):
        plugins.load((first, second))


def test_loading_registers_nothing_and_writes_nothing(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "house", groups=HOUSE)
    first = plugins.load_folders((folder,))
    assert plugins.load_folders((folder,)) is first
    assert [path.name for path in folder.iterdir()] == ["groups.py"]
    assert "aws.house.named" not in plugins.load().checks
