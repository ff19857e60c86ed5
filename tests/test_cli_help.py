"""Help is read at 80 columns: no command is told with half a sentence."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sdxl_train_cli.cli import app

GROUPS = ("", *(name for name, command in get_command(app).commands.items() if hasattr(command, "commands")))  # type: ignore[attr-defined]


@pytest.mark.parametrize("group", GROUPS)
def test_no_command_of_a_group_is_cut_at_80_columns(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    told = CliRunner().invoke(app, [*group.split(), "--help"]).stdout.splitlines()

    listed = told[told.index("Commands:") + 1 :]
    assert listed
    assert [line for line in listed if line.endswith("...") or len(line) > 80] == []


def test_no_name_stands_for_two_groups() -> None:
    names = [group.name for group in app.registered_groups]

    assert sorted(names, key=str) == sorted(set(names), key=str)
