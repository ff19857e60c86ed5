"""Lines of sd-scripts' prompts file: what a prompt says itself stays, what it lacks is added."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.sdscripts import sample_prompts
from sdxl_train_cli.sdscripts.sample_prompts import SampleLook

LOOK = SampleLook(832, 1216, 24, 6.0, "blurry")


def test_a_bare_prompt_gets_size_seed_steps_scale_and_negative() -> None:
    assert sample_prompts.line("a cat", LOOK, 7) == "a cat --w 832 --h 1216 --d 7 --s 24 --l 6 --n blurry"


def test_flags_of_the_prompt_are_kept_and_not_repeated() -> None:
    line = sample_prompts.line("a cat --d 3 --N ugly, wet --w 512", LOOK, 7)

    assert line == "a cat --d 3 --N ugly, wet --w 512 --h 1216 --s 24 --l 6"


@pytest.mark.parametrize(
    ("text", "pixels"),
    [
        ("a cat --w 832 --h 1216", 832 * 1216),
        ("a cat", 512 * 512),
        ("# --w 2048 --h 2048\na cat --w 768\n\n", 768 * 512),
        ("a cat --w 99999999999", 512 * 512),
        ("", 0),
    ],
)
def test_the_largest_picture_is_read_as_sd_scripts_reads_it(text: str, pixels: int) -> None:
    assert sample_prompts.largest_pixels(text) == pixels


def test_a_file_in_another_format_says_nothing_of_its_size(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text('[{"prompt": "a cat", "width": 1024}]')
    (tmp_path / "prompts.txt").write_text("a cat --w 640 --h 640\n")

    assert sample_prompts.pixels_of_file(tmp_path / "prompts.json") is None
    assert sample_prompts.pixels_of_file(tmp_path / "prompts.txt") == 640 * 640
    assert sample_prompts.pixels_of_file(tmp_path / "gone.txt") is None
