"""What `--help` shows on the narrowest usual terminal."""

from __future__ import annotations

import pytest
from conftest import Cli


@pytest.mark.parametrize("group", [(), ("dataset",), ("presets",), ("runs",)])
def test_no_commands_line_is_cut_at_80_columns(cli: Cli, group: tuple[str, ...]) -> None:
    told = cli(*group, "--help", COLUMNS="80")

    lines = told.stdout.partition("Commands:\n")[2].splitlines()
    assert lines
    assert [line for line in lines if line.endswith("...") or not line.endswith(".")] == []


def test_each_group_stands_once_in_the_help(cli: Cli) -> None:
    names = [line.split()[0] for line in cli("--help").stdout.partition("Commands:\n")[2].splitlines()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("group", [(), ("dataset",), ("presets",), ("runs",)])
def test_a_word_without_a_command_shows_its_help_as_help_does(cli: Cli, group: tuple[str, ...]) -> None:
    asked, left_alone = cli(*group, "--help"), cli(*group)

    assert left_alone.code == 2
    assert left_alone.stderr.rstrip() == asked.stdout.rstrip()
