"""Check folders are loaded by path, alike, and refused with the file and the next step."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from collector import plan as planning
from collector import plugins, purity
from collector.config import load as load_config
from collector.errors import ConfigError
from collector.suppressions import changes, ruler
from tests.test_rerun import HOUSE

WITH_A_LIMIT = HOUSE.replace("ok, source\n", "ok, source\n\nfrom ._limits import STARTS\n").replace(
    ".startswith(starts)", ".startswith(STARTS)"
)
"""The limit of the check stands in a helper of the folder."""


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
    assert library.code["house/_helpers.py"] == b"raise SystemExit", "sealed like the others, run only when taken from"
    assert "aws.house.named" in plugins.load_checks((tmp_path / "house",))


def test_without_our_own_only_the_named_folders_are_loaded(tmp_path: Path) -> None:
    library = plugins.load((_folder(tmp_path, "house", groups=HOUSE),), own=False)
    assert set(library.checks) == {"aws.house.named"}


def test_an_installed_package_brings_its_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found as Python finds what is installed, and nothing of it runs but what is sealed."""
    _folder(tmp_path, "packaged", groups=WITH_A_LIMIT, _limits="STARTS = '/'", __init__="raise SystemExit")
    _distribution(tmp_path, "packaged")
    monkeypatch.syspath_prepend(str(tmp_path))
    library = plugins.load()
    assert library.checks["aws.house.named"].module == "packaged/groups.py"
    assert {f"packaged/{file}.py" for file in ("__init__", "_limits", "groups")} <= set(library.code)
    assert "packaged" not in sys.modules


def test_an_installed_package_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _distribution(tmp_path, "departed")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="names departed, which is no installed package"):
        plugins.load()


def _distribution(base: Path, package: str) -> None:
    """What an installer writes beside a package, that brings checks."""
    folder = base / f"{package}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[affidavit.checks]\nhouse = {package}\n")


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
    return _plan_of(base, _household(base, text))


def _plan_of(base: Path, library: plugins.Library) -> dict[str, Any]:
    (base / "config.yaml").write_text(
        "version: 1\norganisation: Test Ltd\nstore: {path: store, origin: test.example.org/log}\n"
        "key: {file: k, passphrase: env:P}\nconnections: [{name: one, kind: host}]\n"
    )
    as_of = datetime(2026, 6, 1, tzinfo=UTC)
    plan = planning.make(load_config(base / "config.yaml"), library, as_of)
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
    "imports what is not there": ("import nowhere_at_all", "imports nowhere_at_all, which is not sealed with the run"),
    "takes what is not there": ("from json import nothing", "does not load: ImportError"),
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


def test_a_changed_helper_is_a_changed_ruler(tmp_path: Path) -> None:
    """A limit beside the module cannot turn FAIL into PASS unseen: its bytes are sealed like those of the check."""
    seen, text = [], WITH_A_LIMIT.replace("aws.house", "host.house")
    for name, helper in (("old", "STARTS = '/'"), ("new", "STARTS = ''")):
        root = _folder(tmp_path / name, "house", groups=text, _limits=helper)
        library = plugins.load_folders((root,))
        assert library.code["house/_limits.py"] == helper.encode()
        plan = _plan_of(tmp_path / name, library)
        seen.append((str(library.checks["host.house.named"].function({"logGroupName": "app"}).outcome), plan))
    (before, old), (after, new) = seen
    assert (before, after) == ("FAIL", "PASS")
    assert ruler(old) != ruler(new)
    assert list(changes(old, new)) == ["house/_limits.py changed"]


def test_what_was_sealed_runs_without_the_folder_it_came_from(tmp_path: Path) -> None:
    """Helpers are sealed with what takes from them, so a laptop that has only the seal reaches the same verdict."""
    helpers = {"_limits": "from ._words import FIRST\nSTARTS = FIRST", "_words": "FIRST = '/'"}
    root = _folder(tmp_path / "here", "house", **helpers)
    (root / "cloud").mkdir()
    (root / "cloud" / "groups.py").write_text(WITH_A_LIMIT.replace("._limits", ".._limits"))
    sealed = plugins.load_folders((root,)).code
    assert set(sealed) == {"house/_limits.py", "house/_words.py", "house/cloud/groups.py"}
    for name, content in sealed.items():
        path = tmp_path / "there" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "here").rename(tmp_path / "gone")
    check = plugins.load_folders((tmp_path / "there" / "house",)).checks["aws.house.named"]
    assert (check.module, str(check.function({"logGroupName": "app"}).outcome)) == ("house/cloud/groups.py", "FAIL")


def test_helpers_of_two_folders_are_not_mixed(tmp_path: Path) -> None:
    other = WITH_A_LIMIT.replace("aws.house", "aws.home")
    library = plugins.load_folders(
        (
            _folder(tmp_path, "house", groups=WITH_A_LIMIT, _limits="STARTS = '/'"),
            _folder(tmp_path, "home", groups=other, _limits="STARTS = ''"),
        )
    )
    told = {one.id: str(one.function({"logGroupName": "app"}).outcome) for one in library.checks.values()}
    assert told == {"aws.house.named": "FAIL", "aws.home.named": "PASS"}


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        ("from ._nowhere import DAYS", "._nowhere is no file of"),
        ("from ..._limits import DAYS", "..._limits is no file of"),
        ("from .groups import named", "takes names from .groups, which is no helper of this folder"),
        ("from . import _limits", "takes names from ., which is no helper of this folder"),
        ("from ._limits import *", "imports *"),
        ("from ._limits import json", "json of _limits.py is a module"),
        ("from ._limits import DAYS", "imports os, which is not sealed with the run"),
        ("from ._round import DAYS", "_round.py and _trip.py take from each other"),
        ("import house._limits", "imports house._limits, which is not sealed with the run"),
        ("from _limits import DAYS", "imports _limits, which is not sealed with the run"),
    ],
)
def test_a_helper_is_taken_from_in_one_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str, words: str
) -> None:
    limits = "import os\nDAYS = os.environ" if "imports os" in words else "import json\nDAYS = 30"
    more = {"_round": "from ._trip import DAYS", "_trip": "from ._round import DAYS"}
    root = _folder(tmp_path, "house", a=f"{taken}\n", groups=HOUSE, _limits=limits, **more)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(root))
    with pytest.raises(ConfigError) as error:
        plugins.load_folders((root,))
    assert words in error.value.what
    assert ", line 1: " in error.value.what
    assert error.value.next_step


UNSEALED = {
    "the environment": "import os\ndef f(row):\n    return os.environ['X']",
    "the environment, late": "def f(row):\n    from os import getenv\n    return getenv('X')",
    "a module of elsewhere": "import requests",
    "a module by its name": "f = __import__('os')",
    "importlib": "import importlib\nf = importlib.import_module('os')",
    "a file": "def f(row):\n    return open('limits').read()",
    "a file, under another name": "read = open",
    "a file through io": "import io\nf = io.open",
    "a file through a parser": "import xml.etree.ElementTree as ET\nf = ET.parse('limits')",
    "a file through a path": "from pathlib import Path",
    "text as code": "f = eval('1')",
    "all names": "f = globals()['x']",
    "an attribute by its name": "import re\nf = getattr(re, 'x')",
    "the names of Python": "f = __builtins__",
    "its own place": "f = __file__",
    "the way through a function": "f = (lambda: 0).__globals__",
    "the way through a class": "f = ().__class__",
    "the way through a pattern": "match ():\n    case object(__class__=f):\n        pass",
    "the way through a module": "import json\nf = json.codecs.open('limits')",
    "a module of a module": "from dataclasses import sys",
    "a module handed on": "import dataclasses\nd = dataclasses\nf = d.sys",
    "a hidden module": "import re\nf = re._compiler",
    "the inside of the collector": "from collector.config import load",
    "what the collector imports": "from collector.terminology import content_root",
    "the whole collector": "import collector",
    "another time zone": "from datetime import datetime\ndef f(row):\n    return datetime.fromtimestamp(row['t'])",
    "the time zone of here": "def f(row, *, as_of):\n    return as_of.astimezone()",
    "a clock": "from datetime import UTC, datetime\ndef f(row):\n    return datetime.now(UTC)",
    "a clock through a module": "import datetime as dt\nf = dt.datetime.utcnow",
    "a clock through what is told": "def f(row, *, as_of):\n    return as_of.now()",
    "the day": "from datetime import date\nf = date.today()",
    "a clock of the system": "import time",
    "lots": "import random",
    "lots through statistics": "from statistics import NormalDist",
    "the order of this process": "def f(row):\n    return hash(row['x'])",
    "a network": "import urllib.request",
    "an address, then a network": "import urllib.parse\nf = urllib.request.urlopen",
    "a program": "import subprocess",
    "any attribute": "from operator import attrgetter",
    "everything": "from json import *",
}
"""What would move a verdict and stand in no seal."""


@pytest.mark.parametrize("what", UNSEALED)
def test_what_no_seal_would_hold_is_refused_with_its_line(tmp_path: Path, what: str) -> None:
    """Refused when the module is loaded, before any of it runs."""
    text = f"raise SystemExit\n{UNSEALED[what]}\n"
    with pytest.raises(ConfigError, match=r"house/a\.py, line [2-5]: ") as error:
        plugins.load_folders((_folder(tmp_path, "house", a=text),))
    assert error.value.next_step
    assert error.value.exit_code == 2


PURE = '''
import collections.abc
import datetime as dt
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from collector import api
from collector.api import Http, source


@dataclass(frozen=True)
class Limit:
    """A limit."""

    days: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "days", self.days)


def _since(acme: Http) -> datetime:
    return acme.now() - timedelta(days=1)


@source("acme.one", key="id", per="connection", permissions=("GET /x",))
def one(acme):
    """All."""
    yield {"since": acme.now(), "again": _since(acme)}


@api.source("acme.two", key="id", per="connection", permissions=("GET /x",))
def two(acme):
    """All."""
    hash = id = type(acme).__name__
    yield {"id": id, "hash": hash, "now": acme.now()}


TOLD = (ET.fromstring("<a/>").tag, json.loads("[]"), urlsplit("https://a").hostname, dt.datetime.fromtimestamp(0, UTC))
WORD = isinstance(TOLD, collections.abc.Sequence) and __name__ and __doc__
'''


def test_what_a_pure_module_needs_is_there(tmp_path: Path) -> None:
    assert set(plugins.load_folders((_folder(tmp_path, "house", a=PURE),)).sources) == {"acme.one", "acme.two"}


def test_the_page_tells_what_may_be_imported() -> None:
    page = (Path(__file__).parent.parent / "docs" / "tutorial-check.md").read_text("utf8")
    told = page.partition("## What a module may import")[2].partition("\n## ")[0]
    missing = [name for name in purity.ALLOWED if f"`{name}`" not in told]
    assert missing == []


def test_our_own_modules_reach_only_what_is_sealed() -> None:
    """They are not held to the rule when they are loaded, so they are held to it here."""
    root = plugins.content_root() / "checks"
    found = {str(path.relative_to(root)): purity.read(ast.parse(path.read_bytes())) for path in root.rglob("*.py")}
    assert len(found) > 150
    assert {name: told for name, told in found.items() if told != ([], [])} == {}
