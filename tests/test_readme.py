"""The README's figures are those of the program: what it says of cards and presets is what a run would be told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Cli, Result, write_pictures, write_safetensors

from sdxl_train_cli.gpu import hypothetical
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import run_choices
from sdxl_train_cli.sdscripts import shipped

README = Path(__file__).parents[1] / "README.md"
HEADROOM_GIB = 0.5
Row = tuple[float, str, float, float]


def rows() -> Iterator[Row]:
    """Each run of the table: the card in GB, what is typed, and the range."""
    for line in README.read_text(encoding="utf-8").splitlines():
        card = re.match(r"\| (\d+) GB \|", line)
        if card is None:
            continue
        _, _, runs, needs, _ = (cell.strip() for cell in line.split("|"))
        ranges = re.findall(r"([\d.]+) to ([\d.]+)", needs)
        typed = [words for words in re.findall(r"`([^`]+)`", runs) if words.split()[0] in set(Kind)]
        presets_named = re.findall(r"\(preset `([^`]+)`\)", runs)
        assert len(presets_named) <= len(typed)
        for words, (low, high) in zip(typed, ranges if len(ranges) > 1 else ranges * len(typed), strict=True):
            yield float(card[1]), words, float(low), float(high)


ROWS = list(rows())


def overrides(words: list[str]) -> Iterator[Override]:
    for flag, text in zip(words[::2], words[1::2], strict=True):
        if flag == "--batch-size":
            yield Override("train_batch_size", int(text), flag)
        elif flag == "--set":
            yield presets.parse_override(text)


def needed(typed: str) -> requirement.MemoryNeed:
    kind, *words = shlex.split(typed)
    name = words[words.index("--preset") + 1] if "--preset" in words else run_choices.DEFAULT_PRESETS[Kind(kind)]
    return requirement.need(rules.require(presets.load(Kind(kind), name, list(overrides(words))), shipped.table()))


def test_the_readme_names_runs_for_cards() -> None:
    assert len({card for card, *_ in ROWS}) >= 5
    assert len(ROWS) >= 9


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]:g} GB: {row[1]}")
def test_a_run_that_the_readme_names_for_a_card_needs_what_it_says_and_fits(row: Row) -> None:
    card, typed, low, high = row
    need = needed(typed)

    if typed != "lora --batch-size 2":  # its row tells the larger one's figure
        assert (round(need.low_gib, 1), round(need.high_gib, 1)) == (low, high)
    assert need.high_gib <= hypothetical(card, HEADROOM_GIB).free_gib


LINES = README.read_text(encoding="utf-8").splitlines()
BLOCKS = [line.partition("#")[0].strip() for line in LINES if line.startswith("sdxl-train ")]
INLINE = [words for line in LINES for words in re.findall(r"`(sdxl-train [^`]+)`", line)]
NOT_HERE = ("--install-completion", "dataset caption", "doctor", "setup", "sdxl-train start")
"""Commands of the blocks that this world can't carry out: no shell of its own, no tagger, no torch and no network.
What `start` writes would change every command after it; tests/commands/test_start.py types it at a terminal."""


def test_the_readme_has_commands() -> None:
    assert len(BLOCKS) >= 15
    assert len(INLINE) >= 10


@pytest.mark.parametrize("line", dict.fromkeys(line for line in (*BLOCKS, *INLINE) if "--install" not in line))
def test_every_command_and_flag_of_the_readme_is_there(main: Callable[..., Result], line: str) -> None:
    """What is asked for help has been read: an unknown flag would be refused before."""
    _, *words = shlex.split(line.replace("...", ""))

    result = main(*words, "-h")

    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: sdxl-train {words[0]}")


def test_the_commands_of_its_blocks_do_what_they_say(cli: Cli, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    for name in ("sd_xl_base_1.0.safetensors", "base.safetensors"):
        write_safetensors(tmp_path / name)
    for name in ("cat", "cat-2"):
        start = ("lora", "-m", "base.safetensors", "-d", "pictures", "-n", name, "--steps", "3", "--no-vram-check")
        assert cli(*start).code == 0

    needed = {"--model": ["--no-vram-check"], "resume": ["--steps", "5"]}  # no GPU, and a run that is done
    ran = {
        line: cli(*shlex.split(line)[1:], *(more for word in needed if word in line for more in needed[word]))
        for line in BLOCKS
        if not any(words in line for words in NOT_HERE)
    }

    assert {line: result.stderr for line, result in ran.items() if result.code} == {}
