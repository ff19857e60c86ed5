"""The verdict's page with drawn pictures, in a real browser: sliders, keys, and the training picture beside a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect
from web_browser import EVIL, needs_browser, opened

from sdxl_train_cli.inspection.strengths import Strength
from sdxl_train_cli.ranking.evidence import Candidate, Evidence
from sdxl_train_cli.ranking.picture_scores import (
    DrawnPicture,
    DrawnPictures,
    MeasuredScore,
    PictureFindings,
    PictureScore,
    SuspectedCopy,
)
from sdxl_train_cli.ranking.verdict import Basis, Course, PictureChoice, RankedCheckpoint, Standing, Verdict
from sdxl_train_cli.ui import best_page, drawn_grid

STRENGTHS = (0.6, 1.0)
PROMPTS = ("a boat on a lake", EVIL)


def picture(path: Path, seed: int) -> Path:
    """A boat that differs a little from one seed to the next."""
    image = Image.new("RGB", (256, 256), (120, 170 + seed * 3 % 60, 220))
    drawing = ImageDraw.Draw(image)
    drawing.rectangle((0, 160, 256, 256), fill=(30, 80, 140))
    x = 40 + seed * 17 % 120
    drawing.polygon(((x, 150), (x + 90, 150), (x + 70, 185), (x + 20, 185)), fill=(150, 70, 30))
    drawing.polygon(((x + 45, 50 + seed % 30), (x + 45, 145), (x + 88, 145)), fill=(240, 240, 230))
    path.parent.mkdir(exist_ok=True)
    image.save(path)
    return path


def shown(folder: Path) -> tuple[Verdict, DrawnPictures, PictureFindings]:
    """Three checkpoints at two strengths, of which one at full strength has a suspected copy."""
    candidates = tuple(Candidate(folder / f"{step}.safetensors", f"step {step}", step, 1) for step in (100, 200, 300))
    drawing = [(one.path, strength) for one in candidates for strength in STRENGTHS]
    places: list[tuple[Path | None, float]] = [(None, 0.0), *drawing]
    drawn = DrawnPictures(
        tuple(
            DrawnPicture(
                picture(folder / "grid" / f"{at}-{prompt}-{seed}.png", at * 7 + prompt * 3 + seed), *place, prompt, seed
            )
            for at, place in enumerate(places)
            for prompt in range(2)
            for seed in (1000, 1001)
        ),
        PROMPTS,
    )  # fmt: skip
    score = PictureScore(MeasuredScore(value=0.61, low=0.55, high=0.66), None, MeasuredScore(value=0.3), 0, 4)
    scores = dict.fromkeys(drawing, score)
    scores[candidates[2].path, 1.0] = PictureScore(score.likeness, None, score.variety, 1, 4)
    suspect = next(one for one in drawn.pictures if one.checkpoint == candidates[2].path and one.strength == 1.0)
    copy = SuspectedCopy(suspect, picture(folder / "train" / "boat.png", 43), 0.03, 0.4, "pixels")
    ranked = tuple(RankedCheckpoint(one, Standing.TIED) for one in candidates)
    choice = PictureChoice(
        candidates[1], Strength.exactly(1.0), ((candidates[2], 1.0),), False, False, frozenset(), score
    )
    evidence = Evidence("boats", folder, candidates, pictures=scores)
    found = Verdict(
        evidence=evidence, basis=Basis.FILES, course=Course.UNKNOWN, checkpoints=ranked, best=ranked[2],
        strength=Strength.exactly(1.0),
        is_sure=False, gap_begins=None, improvements=(), pictured=choice,
    )  # fmt: skip
    return found, drawn, PictureFindings(scores, score, (copy,), {"clip": ""}, 0)


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    found, drawn, findings = shown(tmp_path)
    target = tmp_path / "best.html"
    best_page.write(found, target, drawn_grid.content(found, drawn, findings, target))
    return target


@needs_browser
def test_sliders_and_keys_move_through_the_grid_and_a_copy_stands_beside_its_training_picture(page_file: Path) -> None:
    with opened(page_file) as (page, said):
        outputs = page.locator(".controls output")
        expect(outputs).to_have_text(["step 200", "1"])
        expect(page.locator(".prompt").first.locator("figure")).to_have_count(2)
        expect(page.locator(".suspect")).to_have_count(0)

        page.keyboard.press("ArrowRight")
        expect(outputs).to_have_text(["step 300", "1"])
        expect(page.locator(".suspect figcaption")).to_contain_text("suspected copy of boat.png (right): distance 0.03")
        expect(page.locator(".suspect img")).to_have_count(2)
        page.keyboard.press("ArrowDown")
        expect(outputs).to_have_text(["step 300", "0.6"])
        expect(page.locator(".suspect")).to_have_count(0)
        page.keyboard.press("ArrowDown")
        expect(outputs).to_have_text(["step 300", "0.6"])
        page.keyboard.press("b")
        expect(outputs).to_have_text(["base model", "-"])
        page.get_by_label("checkpoint", exact=True).fill("1")
        expect(outputs).to_have_text(["base model", "-"])
        page.get_by_role("button", name="show the checkpoint").click()
        expect(outputs).to_have_text(["step 100", "0.6"])

        page.locator("figure button").first.click()
        expect(page.locator("dialog[open] p")).to_contain_text("grid/1-0-1000.png")
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        page.get_by_role("button", name="step 200 at 1").click()
        expect(outputs).to_have_text(["step 200", "1"])
        assert page.title() == "best of boats - sdxl-train"
        assert said == []


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_stands_out_of_the_page(page_file: Path, width: int) -> None:
    with opened(page_file) as (page, said):
        page.set_viewport_size({"width": width, "height": 844})
        page.keyboard.press("ArrowRight")

        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert said == []


def test_the_page_without_pictures_is_as_it_was(tmp_path: Path) -> None:
    found, _drawn, _findings = shown(tmp_path)

    assert '"pictures":null' in best_page.html(found)
