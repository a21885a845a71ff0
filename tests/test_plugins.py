"""Check folders are loaded by path, alike, and refused with the file and the next step."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from collector import plan as planning
from collector import plugins
from collector.config import load as load_config
from collector.errors import ConfigError
from collector.suppressions import changes, ruler
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


FAMILY = HOUSE.replace("import Aws,", "import Aws, Check,").replace("aws.house", "host.house") + '''

def _ends(name: str, tail: str, days: int) -> Check:
    def ends(group: Record, *, tails: tuple[str, ...] = (tail,), max_days: int = days) -> Verdict:
        return ok(tail) if group["logGroupName"].endswith(tails) else fail(f"not {tail}, limit {max_days}")

    ends.__doc__ = f"The name ends with {tail}."
    return check(name, title=f"Groups end with {tail}", severity="low", each="host.house.groups")(ends)


ENDS = (
    _ends("host.house.log", "-log", 30),
    _ends("host.house.trail", "-trail", 90),
)
LISTED = [_ends("host.house.note", "-note", 30)]
TOLD_AGAIN = (named,)
'''
"""Checks of one rule, which differ in what a row of a table says."""


def _household(base: Path, text: str) -> plugins.Library:
    return plugins.load_folders((_folder(base, "house", family=text),))


def test_the_members_of_a_family_are_checks_like_others(tmp_path: Path) -> None:
    library = _household(tmp_path, FAMILY)
    assert list(library.checks) == ["host.house.named", "host.house.log", "host.house.trail", "host.house.note"]
    trail = library.checks["host.house.trail"]
    assert (trail.module, trail.dataset_kinds) == ("house/family.py", ("snapshot",))
    assert (trail.title, trail.description) == ("Groups end with -trail", "The name ends with -trail.")
    assert trail.params == {"tails": ("-trail",), "max_days": 90}
    assert library.checks["host.house.log"].params == {"tails": ("-log",), "max_days": 30}
    told = [str(check.function({"logGroupName": "app-trail"}).outcome) for check in library.checks.values()]
    assert told == ["FAIL", "FAIL", "PASS", "FAIL"]


@pytest.mark.parametrize(
    "more",
    ["MORE = (*ENDS,)", "MORE = [*LISTED]", "log = _ends('host.house.log', '-log', 30)", "one = two = ENDS[0]"],
)
def test_what_two_families_or_names_hold_is_declared_twice(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigError, match=r"host\.house\.\w+ is declared twice: house/family\.py and house/family\.py"):
        _household(tmp_path, f"{FAMILY}\n{more}\n")


def _planned(base: Path, text: str) -> dict[str, Any]:
    """What is sealed as the plan of a run that measures with this module."""
    base.mkdir()
    (base / "config.yaml").write_text(
        "version: 1\norganisation: Test Ltd\nstore: {path: store, origin: test.example.org/log}\n"
        "key: {file: k, passphrase: env:P}\nconnections: [{name: one, kind: host}]\n"
    )
    as_of = datetime(2026, 6, 1, tzinfo=UTC)
    plan = planning.make(load_config(base / "config.yaml"), _household(base, text), as_of)
    return dict(orjson.loads(plan.raw))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"-trail", 90', '"-track", 90', ["limit tails of host.house.trail: ['-trail'] -> ['-track']"]),
        ('"-trail", 90', '"-trail", 91', ["limit max_days of host.house.trail: 90 -> 91"]),
        ("house.trail", "house.path", ["check dropped: host.house.trail", "check added: host.house.path"]),
        (".endswith(tails)", ".startswith(tails)", []),
        (
            "= (tail,)",
            '= (tail, "")',
            [f"limit tails of host.house.{one}: ['-{one}'] -> ['-{one}', '']" for one in ("log", "note", "trail")],
        ),
    ],
)
def test_a_changed_row_or_rule_of_a_family_is_a_changed_ruler(
    tmp_path: Path, before: str, after: str, told: list[str]
) -> None:
    """Rows stand in the bytes that are sealed, so none changes unseen; whose limit it is, the leaf says by its id."""
    old = _planned(tmp_path / "old", FAMILY)
    assert FAMILY.count(before) == 1
    new = _planned(tmp_path / "new", FAMILY.replace(before, after))
    assert ruler(old) != ruler(new)
    assert list(changes(old, new)) == [*told, "house/family.py changed"]
    assert ruler(old) == ruler(_planned(tmp_path / "again", FAMILY))


def test_members_of_a_family_are_told_apart_in_the_plan(tmp_path: Path) -> None:
    """Two rows never look alike in what is sealed, though their code stands in one file and their function is one."""
    checks = _planned(tmp_path / "one", FAMILY)["checks"]
    family = [check for check in checks if check["id"] != "host.house.named"]
    for part in ("id", "title", "description"):
        assert len({str(check[part]) for check in family}) == 3
    assert len({str(check["params"]) for check in family}) == 3


def test_no_two_of_our_checks_read_alike() -> None:
    """A row that was copied and left as it was would show: each has a title and a question of its own."""
    checks = plugins.load().checks.values()
    told = Counter(one.title for one in checks) + Counter(
        f"{one.description} {one.datasets} {one.params}" for one in checks
    )
    assert [text for text, count in told.items() if count > 1] == []


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
