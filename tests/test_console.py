"""A bar on a terminal, otherwise one plain line for each source; nothing of it reaches standard output."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from collector.console import Progress, say
from collector.model import Gap, GapKind, Population, Shard, Task

TASKS = [Task("aws.logs.groups", "cloud", region="home"), Task("aws.logs.groups", "cloud", region="away")]
PLAN = SimpleNamespace(tasks=TASKS)
READ = Shard(Population(TASKS[0], 3, "terminal-page"), None)
GAP = Gap("aws.logs.groups", "cloud/away", GapKind.DENIED, "logs:DescribeLogGroups was refused [red]")
REFUSED = Shard(Population(TASKS[1], 0, "unproven", GAP), None)


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _tell() -> None:
    with Progress() as progress:
        progress.planned(PLAN)  # type: ignore[arg-type]
        progress.finished(READ)
        progress.finished(REFUSED)


def test_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    _tell()
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "[1/2] aws.logs.groups@cloud/home: 3 rows",
        "[2/2] aws.logs.groups@cloud/away: GAP, logs:DescribeLogGroups was refused [red]",
    ]


def test_a_bar_on_a_terminal_keeps_the_gaps_as_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "stderr", screen)
    _tell()
    text = screen.getvalue()
    assert "aws.logs.groups@cloud/away: GAP, logs:DescribeLogGroups was refused [red]" in text
    assert "aws.logs.groups@cloud/home: 3 rows" not in text
    assert "2/2" in text
    assert capsys.readouterr().out == ""


def test_the_bar_is_taken_away_when_the_run_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = Progress()
    progress.planned(PLAN)  # type: ignore[arg-type]
    assert progress._bar.live.is_started
    progress.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert not progress._bar.live.is_started


def test_say_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    assert capsys.readouterr() == ("", "hello\n")
