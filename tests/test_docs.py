"""The reference pages say what the program says."""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from collector import cli, plugins

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _page(name: str) -> str:
    return (DOCS / name).read_text("utf8")


@pytest.mark.parametrize("name", ["checks", "sources", "coverage", "cli"])
def test_a_page_is_what_make_docs_writes(generate: ModuleType, name: str) -> None:
    assert _page(f"{name}.md") == getattr(generate, f"{name}_page")(), "run make docs"


def test_the_controls_that_systems_can_evidence_are_evidenced() -> None:
    annex_a = _page("coverage.md").split("\n## ")[1]
    rows = [line.split(" | ") for line in annex_a.splitlines() if line.startswith("| A.")]
    most = Counter(row[2] for row in rows)
    assert len(rows) == 93
    assert most["no system shows it"] == 93 - 79
    assert most["design"] + most["implementation"] + most["operation"] >= 60
    assert most["operation"] >= 25
    assert most["nothing yet"] == 0


def test_every_command_and_option_is_documented(generate: ModuleType) -> None:
    sections = re.split(r"^## affidavit ", _page("cli.md"), flags=re.MULTILINE)
    by_command = {section.partition("\n")[0]: section for section in sections[1:]}
    commands = dict(generate.commands(cli.parser()))
    assert {name.split()[0] for name in commands} == set(_choices())
    assert set(by_command) == set(commands)
    for name, command in commands.items():
        for action in command._actions:
            assert action.help, f"{name} {action.dest} says nothing of itself"
            for option in action.option_strings or [str(action.metavar or action.dest)]:
                assert action.help == argparse.SUPPRESS or option in by_command[name], f"{name} {option}"


def _choices() -> list[str]:
    found = next(action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return list(found.choices)


def test_every_exit_code_is_documented() -> None:
    page = _page("cli.md")
    for code, words in (
        ("0", "everything planned was read"), ("1", "at least one FAIL"), ("2", "configuration error"),
        ("3", "incomplete"), ("4", "does not verify"), ("130", "interrupted"),
    ):  # fmt: skip
        assert re.search(rf"\b{code}\s+[^,]*{words}", page), code


def test_every_check_and_source_is_documented() -> None:
    library = plugins.load()
    checks, sources = _page("checks.md"), _page("sources.md")
    for check in library.checks.values():
        assert f"## {check.id}\n" in checks
        for limit in check.params:
            assert f"`{limit}`" in checks
    for source in library.sources.values():
        assert f"| {source.id} |" in sources
        for permission in source.permissions:
            assert permission in sources


def test_no_page_says_that_something_is_compliant() -> None:
    for name in ("checks.md", "cli.md", "sources.md"):
        assert not re.search(r"\b(is|are) compliant\b", _page(name), re.IGNORECASE)


def test_every_link_of_a_page_leads_somewhere() -> None:
    for page in (*DOCS.rglob("*.md"), ROOT / "README.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf8")):
            if "://" not in link and ("/" in link or "." in link):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
