"""`sdxl-train best --draw`: what is refused, each time with what can be typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_safetensors
from kept_runs import keep

Main = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A finished run with three checkpoints."""
    monkeypatch.chdir(tmp_path)
    folder = keep(tmp_path / "output" / "cat", name="cat", inputs={
        "preset": "dim32-gc", "model": str(tmp_path / "base.safetensors"), "data": "pictures", "output": "output",
    })  # fmt: skip
    for name in ("cat-step00000002", "cat-step00000004", "cat"):
        write_safetensors(folder / f"{name}.safetensors")
    return "cat"


@pytest.mark.parametrize(
    ("typed", "words", "hint"),
    [
        (("--size", "1000"), "--size takes multiples of 64", "--size 1024x1024"),
        (("--size", "wide"), "--size takes pixels, not 'wide'", "--size 832x1216"),
        (("--strength", "0,1"), "--strength takes numbers above 0", "--strength 0.6,0.8,1"),
        (("--strength", "strong"), "--strength takes numbers above 0", "--strength 0.6,0.8,1"),
        (("--seeds", "0"), "--seeds takes 1 or more", "--seeds 1"),
        (("--checkpoints", "7"), "--checkpoints: no checkpoint '7'", "there are: 2, 4, final"),
        (("--checkpoints", "step 5"), "no checkpoint 'step 5'", "did you mean"),
        (("--prompt", "#boat"), "sd-scripts skips a prompt that begins with #", "begin it with a word"),
        (("--prompt", "a {red|blue} boat"), "at random: a {red|blue} boat", "a --prompt of its own"),
        ((), "cat has no sample prompts of its own", "--prompt"),
    ],
)
def test_what_cant_be_drawn_is_refused_with_what_can(
    main: Main, run: str, typed: tuple[str, ...], words: str, hint: str
) -> None:
    asked = ("--prompt", "a boat") if typed and "--prompt" not in typed else ()

    told = main("best", run, "--draw", "--no-weights", *typed, *asked)

    assert told.code == 2
    assert words in told.stderr
    assert hint in told.stderr.partition("hint:")[2]
    assert not (Path("output") / run / "grid").exists()


def test_an_sd_scripts_that_cant_draw_is_told(main: Main, run: str) -> None:
    told = main("best", run, "--draw", "--no-weights", "--prompt", "a boat")

    assert told.code == 5
    assert "has no sdxl_gen_img.py" in told.stderr
    assert "run `sdxl-train setup --update`" in told.stderr


def test_a_folder_that_is_no_run_is_ranked_but_not_drawn(main: Main, run: str, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    for path in (tmp_path / "output" / run).glob("*.safetensors"):
        (folder / path.name).write_bytes(path.read_bytes())

    told = main("best", str(folder), "--draw", "--no-weights", "--prompt", "a boat")

    assert told.code == 2
    assert "only a run of sdxl-train can be drawn" in told.stderr


def test_json_has_no_pictures_where_there_are_none(main: Main, run: str) -> None:
    assert json.loads(main("best", run, "--no-weights", "--json").stdout)["pictures"] is None
