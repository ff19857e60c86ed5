"""A preset made from five answers fits the card that was named, whatever the answers are."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sdxl_train_cli.errors import VramError
from sdxl_train_cli.memory import preset_drafting, requirement
from sdxl_train_cli.memory.preset_drafting import CUSTOMS, DraftAnswers, Priority, TrainingSubject
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

TABLE = shipped.table()
CARDS = (5.5, 7.5, 11.5, 23.5, 47.0)
GRID = list(itertools.product(TrainingSubject, Priority, CARDS, (1, 8, 25, 400)))


def answers(
    subject: TrainingSubject = TrainingSubject.CHARACTER, priority: Priority = Priority.QUALITY,
    free_gib: float = 11.5, pictures: int = 30, kind: Kind | None = None,
) -> DraftAnswers:  # fmt: skip
    return DraftAnswers(subject, kind or CUSTOMS[subject].kind, free_gib, pictures, priority, "mine")


def read_back(drafted: preset_drafting.PresetDraft, folder: Path) -> Recipe:
    path = folder / drafted.answers.kind.value / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(drafted.text, encoding="utf-8")
    return rules.require(presets.load(drafted.answers.kind, str(path)), TABLE)


@pytest.mark.parametrize(("subject", "priority", "free_gib", "pictures"), GRID)
def test_every_draft_fits_the_card_and_has_no_problem(
    subject: TrainingSubject, priority: Priority, free_gib: float, pictures: int, tmp_path: Path
) -> None:
    try:
        drafted = preset_drafting.draft(answers(subject, priority, free_gib, pictures))
    except VramError:
        assert free_gib < 8
        return
    recipe = read_back(drafted, tmp_path)

    assert requirement.need(recipe) == drafted.need
    assert drafted.need.high_gib <= free_gib
    assert list(rules.warnings(recipe)) == []
    assert int(recipe.number("save_every_n_steps") or 0) < int(recipe.number("max_train_steps") or 0)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_can_be_asked_for(kind: Kind, tmp_path: Path) -> None:
    drafted = preset_drafting.draft(answers(kind=kind, free_gib=47.0))

    assert read_back(drafted, tmp_path).kind is kind


def test_every_line_has_its_reason() -> None:
    text = preset_drafting.draft(answers(pictures=8, free_gib=6)).text
    lines = text.splitlines()
    options = [at for at, line in enumerate(lines) if line and not line.startswith(("#", "extends", "description"))]

    assert len(options) >= 4
    assert all(lines[at - 1].startswith("# ") for at in options)
    assert lines[0].startswith("# Made by `sdxl-train presets new` for a character, 8 pictures, for quality")


def test_few_pictures_get_a_smaller_network() -> None:
    few, many = (preset_drafting.draft(answers(pictures=count)) for count in (8, 80))

    assert "network_dim: 16\n" in few.text
    assert "network_dim" not in many.text


def test_speed_spares_steps_and_checkpointing_where_the_card_is_large_enough(tmp_path: Path) -> None:
    quick = read_back(preset_drafting.draft(answers(priority=Priority.SPEED, free_gib=23.5)), tmp_path)
    good = read_back(preset_drafting.draft(answers(priority=Priority.QUALITY, free_gib=23.5)), tmp_path)

    assert not quick.is_on("gradient_checkpointing")
    assert (quick.number("max_train_steps") or 0) <= (good.number("max_train_steps") or 0)


def test_quality_gives_up_speed_before_precision(tmp_path: Path) -> None:
    good = read_back(preset_drafting.draft(answers(free_gib=11.5)), tmp_path)

    assert not good.is_on("fp8_base")
    assert not good.is_on("full_bf16")
    assert good.is_on("gradient_checkpointing")


def test_where_nothing_fits_it_is_told() -> None:
    with pytest.raises(VramError) as caught:
        preset_drafting.draft(answers(free_gib=2))

    assert "no LoRA fits into 2.0 GB" in str(caught.value)
