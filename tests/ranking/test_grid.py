"""The grid of a run: which cells there are, when a drawn picture still counts, and which prompts can be drawn."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ranking import grid
from sdxl_train_cli.ranking.grid import Grid, GridCheckpoint, GridFolder, GridPrompt, PromptLook
from sdxl_train_cli.sdscripts import sample_prompts
from sdxl_train_cli.sdscripts.sample_prompts import SampleLook

LOOK = PromptLook(SampleLook(1024, 768, 24, 7.0, ""), seeds=2)
FILES = tuple(GridCheckpoint(file=f"{name}.safetensors", moment=name, sha256=name * 8) for name in ("step 3", "final"))


def laid_out(*, sampler: str = "euler_a", files: tuple[GridCheckpoint, ...] = FILES, prompt: str = "a boat") -> Grid:
    return grid.lay_out({"sampler": sampler}, files, (0.6, 1.0), grid.read_prompts([prompt], LOOK))


def pixels(side: int) -> bytes:
    packed = io.BytesIO()
    Image.effect_noise((side, side), 80).save(packed, "PNG")
    return packed.getvalue()


def test_every_checkpoint_draws_the_same_prompts_with_the_same_seeds_and_the_base_alone_once() -> None:
    cells = laid_out().cells

    assert [(cell.checkpoint, cell.strength, cell.seed) for cell in cells] == [
        (place, strength, seed)
        for place, strength in ((None, 0.0), (0, 0.6), (0, 1.0), (1, 0.6), (1, 1.0))
        for seed in (1000, 11000)
    ]
    assert len({cell.file for cell in cells}) == len(cells)


def test_a_picture_counts_until_something_that_it_shows_has_changed(tmp_path: Path) -> None:
    folder, first = GridFolder(tmp_path), laid_out()
    folder.write(first)
    for cell in first.cells:
        folder.picture(cell).write_bytes(b"drawn")
    retrained = (FILES[0], FILES[1].model_copy(update={"sha256": "another"}))

    assert folder.load() == first
    assert folder.missing(laid_out()) == []
    assert len(folder.missing(laid_out(sampler="ddim"))) == 10
    assert len(folder.missing(laid_out(prompt="a red boat"))) == 10
    assert [cell.checkpoint for cell in folder.missing(laid_out(files=retrained))] == [1] * 4


def test_files_with_the_same_weights_share_their_pictures(tmp_path: Path) -> None:
    same = (FILES[0], FILES[1].model_copy(update={"sha256": FILES[0].sha256}))

    assert len(GridFolder(tmp_path).missing(laid_out(files=same))) == 6


def test_a_prompt_keeps_what_it_says_and_takes_the_rest() -> None:
    (own, plain) = grid.read_prompts(["a boat --w 832 --h 1216 --d 7 --s 30 --l 5.5 --n blurry", "a hat"], LOOK)

    assert own == GridPrompt(
        words="a boat", negative="blurry", width=832, height=1216, steps=30, scale=5.5, seeds=(7, 10007)
    )
    assert own.line(7) == "a boat --w 832 --h 1216 --d 7 --s 30 --l 5.5 --n blurry"
    assert (plain.width, plain.height, plain.steps, plain.seeds) == (1024, 768, 24, (1001, 11001))


@pytest.mark.parametrize(
    "line",
    ["a boat --w 832 --h 1216 --d 7 --s 30 --l 5.5 --n blurry", "a boat --d 1234567890123 --s 5000 --W 960 --h x",
     "a boat --l 7.5 --s 0 --w 99999999 --ss euler", "a boat -- a hat --d"],
)  # fmt: skip
def test_a_line_is_read_as_the_trainer_reads_it(line: str) -> None:
    (drawn,) = grid.read_prompts([line], LOOK)
    said = sample_prompts.parse(line, usual=LOOK.usual)

    assert (drawn.words, drawn.negative, drawn.steps, drawn.scale) == (
        said.prompt, said.negative, said.steps, said.scale,
    )  # fmt: skip
    assert (drawn.width, drawn.height) == (said.width, said.height)
    assert drawn.seeds[0] == (grid.FIRST_SEED if said.seed is None else said.seed)


def test_what_was_asked_for_goes_before_what_a_prompt_says() -> None:
    (prompt,) = grid.read_prompts(["a boat --w 832 --s 30"], PromptLook(LOOK.usual, (512, 640), 8))

    assert (prompt.width, prompt.height, prompt.steps) == (512, 640, 8)


@pytest.mark.parametrize("prompt", ["", " --w 64", "#a boat", "a {red|blue} boat"])
def test_prompts_that_sd_scripts_skips_or_draws_by_chance_are_refused(prompt: str) -> None:
    with pytest.raises(UsageError):
        grid.read_prompts(["a hat", prompt], LOOK)


def test_a_picture_is_whole_only_with_all_its_bytes_as_they_were_written() -> None:
    whole = pixels(64)
    zeroed = whole[:200] + bytes(len(whole) - 212) + whole[-12:]

    assert grid.is_whole(whole)
    assert not any(grid.is_whole(whole[:cut]) for cut in range(0, len(whole), 97))
    assert not grid.is_whole(zeroed)
    assert not grid.is_whole(b"")


def test_a_broken_grid_file_is_none(tmp_path: Path) -> None:
    folder = GridFolder(tmp_path)
    folder.path.mkdir()
    (folder.path / grid.FILE).write_text("{", encoding="utf-8")

    assert folder.load() is None


@pytest.mark.parametrize("broken", ["\n", "\r\n", "\x0b", "\x85", "\u2028"])
def test_a_prompt_stays_one_line_for_sd_scripts(broken: str) -> None:
    (prompt,) = grid.read_prompts([f"a boat{broken}on a lake --s 5"], LOOK)

    assert prompt.line(1).splitlines() == ["a boat on a lake --w 1024 --h 768 --d 1 --s 5 --l 7"]
