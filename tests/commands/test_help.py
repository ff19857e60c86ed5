"""What `--help` shows on the narrowest usual terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from conftest import Cli, Result

from sdxl_train_cli import cli as command_line


@pytest.mark.parametrize("group", [(), ("dataset",), ("presets",), ("runs",), ("queue",), ("queue", "add"), ("sweep",)])
def test_no_commands_line_is_cut_at_80_columns(cli: Cli, group: tuple[str, ...]) -> None:
    told = cli(*group, "--help", COLUMNS="80")

    lines = told.stdout.partition("Commands:\n")[2].splitlines()
    assert lines
    assert [line for line in lines if line.endswith("...") or not line.endswith(".")] == []


def test_each_group_stands_once_in_the_help(cli: Cli) -> None:
    names = [line.split()[0] for line in cli("--help").stdout.partition("Commands:\n")[2].splitlines()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("group", [(), ("dataset",), ("presets",), ("runs",), ("queue",), ("queue", "add"), ("sweep",)])
def test_a_word_without_a_command_shows_its_help_as_help_does(cli: Cli, group: tuple[str, ...]) -> None:
    asked, left_alone = cli(*group, "--help"), cli(*group)

    assert left_alone.code == 2
    assert left_alone.stderr.rstrip() == asked.stdout.rstrip()


COMMANDS = [words for words, _ in command_line.each_command() if words[:2] != ("queue", "add")]


@pytest.fixture
def helped(main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines of a command's help on a terminal of so many columns."""

    def run(*words: str, columns: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        return main(*words, "-h").stdout.splitlines()

    return run


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_80_columns_and_names_values_in_words(
    helped: Callable[..., list[str]], words: tuple[str, ...]
) -> None:
    lines = helped(*words)

    assert lines[0].startswith(f"Usage: sdxl-train {' '.join(words)} ")
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if re.search(r"<\w|\[x>=", line)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_kind_and_output_have_the_same_letters_everywhere(
    helped: Callable[..., list[str]], words: tuple[str, ...]
) -> None:
    for line in helped(*words):
        for flag, letter in (("--kind", "-k"), ("--output", "-o"), ("--preset", "-p"), ("--data", "-d")):
            if re.match(rf"  (-\w, )?{flag}\b", line):
                assert line.strip().startswith(f"{letter}, {flag}")


def test_long_help_is_in_groups_and_as_wide_as_the_terminal(helped: Callable[..., list[str]]) -> None:
    narrow, wide = helped("lora"), helped("lora", columns=120)

    headings = ["What to train:", "How it learns:", "Checkpoints:", "GPU and memory:", "Start and watch:"]
    assert [line for line in narrow if line in headings] == headings
    assert 100 < max(map(len, wide)) <= 120
    assert len(wide) < len(narrow)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sdxl-train lora --preset dim32-b", ["dim32-bf16", "dim32-bf16-gc"]),
        ("sdxl-train plan --kind lo", ["lora", "locon", "loha", "lokr"]),
        ("sdxl-train runs show por", ["portrait"]),
        ("sdxl-train runs explain por", ["portrait"]),
        ("sdxl-train lora --set network_a", ["network_alpha=", "network_args="]),
        ("sdxl-train lora --on-oom st", ["stop", "step-down"]),
        ("sdxl-train runs re", ["resume", "rerun", "report"]),
        ("sdxl-train lora --learn", ["--learning-rate"]),
    ],
)
def test_the_shell_offers_names(cli: Cli, line: str, offered: list[str]) -> None:
    (cli.folder / "output" / "portrait").mkdir(parents=True)
    (cli.folder / "output" / "portrait" / "run.json").write_text("{}", encoding="utf-8")

    told = cli(COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1), _SDXL_TRAIN_COMPLETE="complete_bash")

    assert told.stdout.split() == offered
