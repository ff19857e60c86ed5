"""What README.md and the guide say is so: every command does what it says, every figure is the program's own."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pages
import pytest
from conftest import Cli, Result, write_pictures, write_safetensors

from sdxl_train_cli import gpu
from sdxl_train_cli.gpu import hypothetical
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import run_choices
from sdxl_train_cli.sdscripts import shipped

MEMORY = pages.ROOT / "docs" / "guide" / "memory.md"
HEADROOM_GIB = 0.5
Row = tuple[float, str, float, float]


def rows() -> Iterator[Row]:
    """Each run of the table: the card in GB, what is typed, and the range."""
    for line in pages.lines(MEMORY):
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


def test_the_guide_names_runs_for_cards() -> None:
    assert len({card for card, *_ in ROWS}) >= 5
    assert len(ROWS) >= 9


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]:g} GB: {row[1]}")
def test_a_run_that_the_guide_names_for_a_card_needs_what_it_says_and_fits(row: Row) -> None:
    card, typed, low, high = row
    need = needed(typed)

    if typed != "lora --batch-size 2":  # its row tells the larger one's figure
        assert (round(need.low_gib, 1), round(need.high_gib, 1)) == (low, high)
    assert need.high_gib <= hypothetical(card, HEADROOM_GIB).free_gib


def test_the_readme_has_the_two_commands_and_a_line_for_each_question() -> None:
    assert {"python scripts/smoke.py", "python scripts/test.py"} <= set(pages.lines(pages.README))
    questions = [row for row in pages.tables(pages.README) if row[-1].startswith("sdxl-train ")]
    assert len(questions) >= 20


@pytest.mark.parametrize("page", pages.ENGLISH, ids=lambda page: page.name)
def test_every_command_and_flag_of_a_page_is_there(main: Callable[..., Result], page: Path) -> None:
    """What is asked for help has been read: an unknown flag would be refused before."""
    lines = [line for line in pages.commands(page) if "--install-completion" not in line]
    assert lines

    refused = {}
    for line in lines:
        _, *words = shlex.split(line)
        result = main(*words, "-h")
        if (result.code, result.stderr) != (0, "") or not result.stdout.startswith(f"Usage: sdxl-train {words[0]}"):
            refused[line] = result.stderr

    assert refused == {}


NOT_HERE = (
    "--install-completion",
    " start",
    "dataset caption",
    "doctor",
    "setup",
    "smoke",
    "fit",
    "presets new",
    "--to hub",
    "queue ",
    "FILE",
    "--draw",
    "runs watch",
    "--on slurm",
    "cluster ",
)
"""Commands that this world can't carry out: no shell of its own, no tagger, no torch, no network and no terminal.

The queue's and the cluster's are carried out by tests/jobs and tests/cluster, as the home here is not a test's own.
"""
MORE = {"resume": ("--steps", "5"), **dict.fromkeys([kind.value for kind in Kind], ("--dry-run",))}
"""What makes a command end here: a run that is done goes on a little, and nothing is trained."""


TRAINS = {"resume", "rerun"}
"""Commands that start the trainer, each as a process of its own."""


def furnish(world: Path, cli: Cli) -> None:
    """All that the pages' commands name: pictures, models, settings and two finished runs."""
    for name in ("pictures", "my pictures", "regs", "concepts/10_cat", "concepts/5_dog"):
        write_pictures(world / name, count=12 if name == "pictures" else 2)  # enough to hold some back
    for name in ("sd_xl_base_1.0", "base"):
        write_safetensors(world / f"{name}.safetensors")
    write_pictures(world / "masks", count=12, caption=None)
    (world / "masked.toml").write_text(toml_block("pictures.md"), encoding="utf-8")
    (world / "mine.yaml").write_text("extends: dim32-gc\nlearning_rate: 5.0e-5\n", encoding="utf-8")
    shutil.copy(pages.ROOT / "tests" / "foreign" / "gui_lora.json", world / "settings.json")
    for name in ("cat", "cat-2", "pictures"):
        start = ("lora", "-m", "base.safetensors", "-d", "pictures", "-n", name, "--steps", "3", "--no-vram-check")
        assert cli(*start).code == 0


def toml_block(guide: str) -> str:
    """The first TOML of a page of the guide."""
    text = (pages.ROOT / "docs" / "guide" / guide).read_text(encoding="utf-8")
    return text.partition("```toml\n")[2].partition("```")[0]


def test_the_commands_of_the_pages_do_what_they_say(
    main: Callable[..., Result], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (hypothetical(24, HEADROOM_GIB), hypothetical(24, HEADROOM_GIB, 1)))
    cli.environ["STANDIN_STEP_SECONDS"] = "0"
    furnish(tmp_path, cli)
    lines = dict.fromkeys(line for page in pages.ENGLISH for line in pages.commands(page))
    able = [line for line in lines if not any(words in line for words in NOT_HERE)]
    able.sort(key=lambda line: (not writes_project(line), len(line)))  # the project file has what others leave out
    assert len(able) >= 40

    failed = {}
    for line in able:
        if writes_project(line):
            (tmp_path / "sdxl-train.yaml").unlink(missing_ok=True)
        _, *words = shlex.split(line)
        more = next((flags for word, flags in MORE.items() if word in words[:2] and flags[0] not in words), ())
        result = (cli if TRAINS & set(words) else main)(*words, *more)
        if result.code and not is_told(result, line):
            failed[line] = f"{result.code}: {result.stderr}"

    assert failed == {}


def writes_project(line: str) -> bool:
    return line.split()[1] == "init"


def is_told(result: Result, line: str) -> bool:
    """Whether a command only lacks what its page says must be installed before."""
    wanted = re.findall(r"`(sdxl-train setup --extra \w+)`", result.stderr)
    beside = [text for text in pages.lines(pages.README) if f"`{line}`" in text]
    return bool(wanted) and any(wanted[0] in text for text in beside)
