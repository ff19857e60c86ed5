"""What inside/score_pictures.py finds in pictures whose truth is known, without any model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from sdxl_train_cli.environment.environment import INSIDE

Found = Callable[..., Any]
SIZE = (192, 240)
COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "exact": lambda picture: picture,
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cropped": lambda picture: picture.crop((25, 30, 170, 215)).resize(SIZE),
    "cropped to a square": lambda picture: picture.crop((0, 24, 192, 216)),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.55),
    "paler": lambda picture: ImageEnhance.Contrast(picture).enhance(0.5),
    "without colour": lambda picture: picture.convert("L"),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    "mirrored, cropped and brighter": lambda picture: ImageEnhance.Brightness(
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((15, 15, 165, 205)).resize((512, 640))
    ).enhance(1.3),
}


def portrait(seed: int) -> Image.Image:
    """A face before a room: each has the same parts in about the same places, as pictures of one subject have."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", SIZE, tuple(int(value) for value in random.integers(60, 255, 3)))
    drawing = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, wide = (int(random.integers(0, most)) for most in (SIZE[0], SIZE[1], 60))
        drawing.rectangle(
            (x, y, x + wide + 8, y + wide // 2 + 4), fill=tuple(int(v) for v in random.integers(0, 255, 3))
        )
    x, y, radius = 96 + int(random.integers(-22, 22)), 120 + int(random.integers(-22, 22)), int(random.integers(45, 68))
    drawing.ellipse((x - radius, y - radius * 1.2, x + radius, y + radius * 1.2), fill=(230, 190, 160))
    for side in (-1, 1):
        eye = x + side * radius * 0.4
        drawing.ellipse((eye - 7, y - 20, eye + 7, y - 10), fill=(20, 40, 80))
    drawing.arc((x - 22, y + 8, x + 22, y + 38), 0, 180, fill=(150, 30, 40), width=4)
    return picture.filter(ImageFilter.GaussianBlur(1))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("score_pictures", INSIDE / "score_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("training")
    return [save(portrait(seed), folder / f"{seed}.png") for seed in range(8)]


@pytest.fixture
def found(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Found:
    def ask(pictures: Sequence[tuple[int, int, int, Path]], training: Sequence[Path]) -> Any:  # noqa: ANN401 - JSON
        request = {
            "pictures": [
                {"place": place, "prompt": prompt, "seed": seed, "file": str(file)}
                for place, prompt, seed, file in pictures
            ],
            "prompts": ["a face", "a boat"], "training": [str(path) for path in training], "clip": "no/clip",
            "dino": "no/dino", "named": [],
        }  # fmt: skip
        file = tmp_path / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        script.is_cached = lambda _model: False
        assert script.main([str(file)]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


def save(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def test_copies_are_found_however_they_were_changed_and_new_pictures_of_the_same_kind_are_none(
    tmp_path: Path, training: list[Path], found: Found
) -> None:
    copies = [save(change(portrait(3)), tmp_path / f"{name}.png") for name, change in COPIES.items()]
    new = [save(portrait(seed), tmp_path / f"new {seed}.png") for seed in range(100, 108)]
    base = [save(portrait(seed).rotate(5), tmp_path / f"base {seed}.png") for seed in (200, 201)]
    pictures = [(0, 0, seed, file) for seed, file in enumerate([*copies, *new])]

    answer = found([*pictures, *((-1, 0, seed, file) for seed, file in enumerate(base))], training)

    assert {Path(one["file"]).stem for one in answer["copies"]} == set(COPIES)
    assert {Path(one["training"]).name for one in answer["copies"]} == {"3.png"}
    assert all(one["distance"] < one["usual"] / 2 for one in answer["copies"])


def test_a_picture_twice_in_the_training_does_not_hide_its_copy(
    tmp_path: Path, training: list[Path], found: Found
) -> None:
    twice = [save(portrait(seed), tmp_path / f"again {seed}.png") for seed in range(4)]
    copy = save(portrait(6), tmp_path / "copy.png")

    answer = found([(0, 0, 0, copy)], [*training, *twice])

    assert [Path(one["training"]).name for one in answer["copies"]] == ["6.png"]


def test_pictures_that_the_base_draws_as_near_are_no_copies(tmp_path: Path, training: list[Path], found: Found) -> None:
    drawn = save(portrait(3).filter(ImageFilter.GaussianBlur(3)), tmp_path / "drawn.png")
    base = save(portrait(3).filter(ImageFilter.GaussianBlur(2)), tmp_path / "base.png")

    assert found([(0, 0, 0, drawn), (-1, 0, 0, base)], training)["copies"] == []


def test_a_picture_that_two_files_share_is_a_copy_of_both(tmp_path: Path, training: list[Path], found: Found) -> None:
    copy = save(portrait(5), tmp_path / "copy.png")

    assert [one["place"] for one in found([(0, 0, 0, copy), (1, 0, 0, copy)], training)["copies"]] == [0, 1]


def test_an_empty_picture_is_no_copy_of_an_empty_one(tmp_path: Path, found: Found) -> None:
    white = [save(Image.new("RGB", SIZE, "white"), tmp_path / f"{name}.png") for name in "ab"]

    assert found([(0, 0, 0, white[0])], [white[1], save(portrait(1), tmp_path / "1.png")])["copies"] == []


def test_variety_is_nothing_where_the_seed_changes_nothing(tmp_path: Path, found: Found) -> None:
    same = [save(portrait(1), tmp_path / f"same {number}.png") for number in range(2)]
    apart = [save(portrait(seed), tmp_path / f"apart {seed}.png") for seed in (1, 2)]
    pictures = [(place, 0, seed, file) for place, files in ((0, same), (1, apart)) for seed, file in enumerate(files)]

    places = {one["place"]: one["variety"] for one in found(pictures, [])["places"]}

    assert places[0]["value"] == pytest.approx(0, abs=1e-3)
    assert places[1]["value"] > 0.3


def test_one_picture_gives_no_range_and_no_variety(script: ModuleType, tmp_path: Path, found: Found) -> None:
    (place,) = found([(0, 0, 0, save(portrait(1), tmp_path / "1.png"))], [])["places"]

    assert place["variety"] is None
    assert script.mean_of({(0, 0): 0.5}) == {"value": 0.5, "low": None, "high": None}


def test_the_range_is_wide_where_prompts_differ_and_narrow_where_they_agree(script: ModuleType) -> None:
    differ = script.mean_of({(prompt, seed): float(prompt) for prompt in range(4) for seed in range(3)})
    agree = script.mean_of({(prompt, seed): 1.5 + 0.01 * seed for prompt in range(4) for seed in range(3)})

    assert differ["value"] == pytest.approx(1.5)
    assert differ["high"] - differ["low"] > 1
    assert agree["high"] - agree["low"] < 0.02


def test_places_that_differ_by_chance_alone_are_level_and_a_worse_one_is_not(script: ModuleType) -> None:
    random = np.random.default_rng(1)
    keys = [(prompt, seed) for prompt in range(5) for seed in range(4)]
    usual = {key: float(random.normal(0.5, 0.1)) for key in keys}  # what a prompt and seed do to every place alike
    values = {
        (place, *key): usual[key] - worse + float(random.normal(0, 0.02))
        for place, worse in ((-1, -1.0), (0, 0.0), (1, 0.0), (2, 0.1))
        for key in keys
    }

    assert script.level(values) == [0, 1]


def test_what_is_left_out_and_what_cant_be_read_is_said(tmp_path: Path, training: list[Path], found: Found) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no more")

    answer = found([(0, 0, 0, save(portrait(1), tmp_path / "1.png")), (0, 0, 1, broken)], training)

    assert answer["left_out"] == {"clip": "", "dino": ""}
    assert answer["unread"] == [str(broken)]
    assert [(one["place"], one["likeness"], one["faithfulness"]) for one in answer["places"]] == [(0, None, None)]
