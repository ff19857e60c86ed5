"""Samples by default: how often, how large, and never in the way of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_pictures

from sdxl_train_cli.dataset import sources, survey
from sdxl_train_cli.dataset.file_facts import Survey
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.memory.requirement import MemoryNeed
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import sampling
from sdxl_train_cli.run.sampling import SampleRequest, SamplesChoice


def recipe(**changes: Value | None) -> Recipe:
    loaded = presets.load(Kind.LORA, "dim32-gc", [])
    found = {name: None if value is None else Setting(value=value) for name, value in changes.items()}
    return loaded.replaced(found)


@pytest.fixture
def tagged(tmp_path: Path) -> Survey:
    folder = write_pictures(tmp_path / "tagged", 3, "zkz, 1girl, hat", (832, 1216))
    return survey.survey(sources.scan(folder, regularisation=None, repeats=None, trigger="zkz"))


def of_pixels(wanted: Recipe) -> MemoryNeed:
    """5 GiB, and 10 more for samples of 1024x1024."""
    gib = 5 + 10 * (wanted.sample_pixels or 0) / 2**20
    return MemoryNeed(gib, gib, measured=False)


def chosen(
    tagged: Survey, free_gib: float | None, prompts: tuple[str, ...] | None = None, **changes: Value | None
) -> SamplesChoice:
    return sampling.choose(recipe(**changes), tagged, SampleRequest(prompts, False, free_gib), of_pixels)


@pytest.mark.parametrize(
    ("steps", "saved", "every"),
    [
        (2000, 0, 400),
        (2000, 500, 500),
        (1600, 200, 400),
        (300, 0, 60),
        (60, 0, 12),
        (10000, 0, 500),
        (5, 0, 1),
        (1, 0, 1),
    ],
)
def test_pictures_are_drawn_every_few_hundred_steps_with_checkpoints_and_at_the_end(
    steps: int, saved: int, every: int
) -> None:
    assert sampling.suitable_rhythm(steps, saved) == every


@pytest.mark.parametrize("steps", [30, 100, 250, 777, 1500, 3000])
def test_a_run_of_usual_length_gets_three_to_ten_grids(steps: int) -> None:
    assert 3 <= steps // sampling.suitable_rhythm(steps) <= 10


def test_they_have_the_shape_of_the_commonest_bucket_and_a_seed_each(tagged: Survey) -> None:
    plan = chosen(tagged, 24.0).plan

    assert plan is not None
    assert (plan.width, plan.height) == (832, 1216)
    assert [line.split(" --")[0] for line in plan.lines] == [
        "zkz, 1girl, hat", "zkz, 1girl, outdoors, forest, sunlight", "zkz",
    ]  # fmt: skip
    assert [f"--d {1000 + number} " in line for number, line in enumerate(plan.lines)] == [True] * 3


def test_they_shrink_where_their_own_size_does_not_fit(tagged: Survey) -> None:
    found = chosen(tagged, 9.0)

    assert found.plan is not None
    assert (found.plan.width, found.plan.height) == (448, 640)
    assert "smaller than the training's 832x1216, which needs 14.65 GB" in found.notes[-1]


def test_they_are_left_out_with_a_reason_where_no_size_fits(tagged: Survey) -> None:
    found = chosen(tagged, 6.0)

    assert found.plan is None
    assert found.recipe.get("sample_every_n_steps") is None
    assert found.notes == (
        "no sample pictures: even at 448x640 the run would need 7.734 GB with them, and 6.0 GB are free",
    )


def test_nothing_is_said_of_them_where_the_run_itself_does_not_fit(tagged: Survey) -> None:
    assert chosen(tagged, 4.0).notes == ()


def test_what_was_asked_for_stays_and_is_refused_by_the_check_of_memory(tagged: Survey) -> None:
    found = chosen(tagged, 6.0, ("a cat",))

    assert found.plan is not None
    assert (found.plan.width, found.plan.height) == (448, 640)


def test_a_prompts_own_size_is_never_changed(tagged: Survey) -> None:
    plan = chosen(tagged, 6.0, ("a cat --w 1024 --h 1024",)).plan

    assert plan is not None
    assert "--w 1024 --h 1024" in plan.lines[0]


def test_a_rhythm_of_ones_own_is_kept(tagged: Survey) -> None:
    found = chosen(tagged, 24.0, ("a cat",), sample_every_n_steps=7)

    assert found.recipe.get("sample_every_n_steps") == 7
    assert found.plan is not None
    assert found.plan.every == 7


def test_without_a_gpu_there_are_none_unless_asked_for(tagged: Survey) -> None:
    bare = sampling.choose(recipe(), tagged, SampleRequest(None, True, None), of_pixels)
    asked = sampling.choose(recipe(), tagged, SampleRequest(("a cat",), True, None), of_pixels)

    assert bare.plan is None
    assert "--sample PROMPT draws them anyway" in bare.notes[0]
    assert asked.plan is not None


def test_a_file_of_ones_own_wins(tagged: Survey) -> None:
    own = recipe(sample_prompts="/mine.txt", sample_every_n_steps=5)

    assert sampling.choose(own, tagged, SampleRequest(None, False, 24.0), of_pixels) == SamplesChoice(own)
    with pytest.raises(RecipeError, match="sample_prompts is set, and --sample gives prompts too"):
        sampling.asked(own, ("a cat",), off=False)


def test_no_prompts_take_away_the_rhythm_too() -> None:
    off = sampling.asked(recipe(sample_prompts="/mine.txt", sample_every_n_steps=5), (), off=False)

    assert not any(name.startswith("sample_") for name in off.settings)
    assert sampling.is_off([Override("sample_prompts", "a.txt", Origin()), Override("sample_prompts", None, Origin())])


@pytest.fixture
def line(tmp_path: Path, model: Path) -> list[object]:
    folder = write_pictures(tmp_path / "pictures", 3, "zkz, 1girl, hat", (832, 1216))
    return ["lora", "--model", model, "--data", folder, "--output", tmp_path / "output", "--trigger", "zkz"]


def test_a_dry_run_shows_the_prompts_and_writes_nothing(
    main: Callable[..., Result], line: list[object], tmp_path: Path
) -> None:
    result = main(*line, "--dry-run", "--gpu-memory", 24)

    assert result.code == 0, result.stderr
    assert f"--sample_prompts {tmp_path / 'output' / 'pictures' / 'prompts.txt'} " in result.stdout
    assert "\nsample:   zkz, 1girl, hat --w 832 --h 1216 --d 1000" in result.stderr
    assert not (tmp_path / "output").exists()


def test_default_samples_never_refuse_a_run_and_asked_ones_are_refused_with_a_way_out(
    main: Callable[..., Result], line: list[object]
) -> None:
    huge = "zkz --w 2048 --h 2048"
    small, asked = (
        main(*line, "--dry-run", "--gpu-memory", 8.5),
        main(*line, "--sample", huge, "--dry-run", "--gpu-memory", 8.5),
    )

    assert small.code == 0, small.stderr
    assert "samples are smaller than the training's 832x1216" in small.stderr
    assert asked.code == 6
    assert "--set sample_prompts=null   needs" in asked.stderr
    again = main(*line, "--sample", huge, "--set", "sample_prompts=null", "--dry-run", "--gpu-memory", 8.5)
    assert again.code == 0, again.stderr


def test_a_project_lists_its_prompts(main: Callable[..., Result], line: list[object], tmp_path: Path) -> None:
    (tmp_path / "sdxl-train.yaml").write_text('samples: ["zkz at sea", "zkz asleep"]\n', encoding="utf-8")

    written = main(*line, "--dry-run", "--gpu-memory", 24)
    typed = main(*line, "--dry-run", "--gpu-memory", 24, "--sample", "zkz runs")
    without = main(*line, "--dry-run", "--gpu-memory", 24, "--no-samples")

    assert "\nsample:   zkz at sea --w" in written.stderr
    assert "\nsample:   zkz runs --w" in typed.stderr
    assert "sample" not in without.stdout


def test_a_contradiction_and_a_file_for_a_prompt_are_refused(
    main: Callable[..., Result], line: list[object], tmp_path: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("zkz\n", encoding="utf-8")

    both = main(*line, "--dry-run", "--gpu-memory", 24, "--no-samples", "--sample", "zkz")
    named = main(*line, "--dry-run", "--gpu-memory", 24, "--sample", file)
    way = named.stderr.split("hint:")[1].split()

    assert (both.code, "--no-samples contradict" in both.stderr) == (2, True)
    assert (named.code, main(*line, "--dry-run", "--gpu-memory", 24, *way).code) == (2, 0)


@pytest.mark.parametrize("text", ["samples: 3", "samples: {a: b}", "samples: ['']", "validate: 1.5", "validate: often"])
def test_a_project_is_told_what_these_keys_take(
    main: Callable[..., Result], tmp_path: Path, line: list[object], text: str
) -> None:
    (tmp_path / "sdxl-train.yaml").write_text(text + "\n", encoding="utf-8")

    result = main(*line, "--dry-run", "--gpu-memory", 24)

    assert result.code == 3
    assert "sdxl-train.yaml" in result.stderr


def test_the_run_folder_gets_the_prompts_and_a_repeated_run_its_own(
    main: Callable[..., Result], line: list[object], tmp_path: Path
) -> None:
    first = main(*line, "--sample", "zkz at sea", "--steps", 6, "--no-vram-check")
    again = main("runs", "rerun", tmp_path / "output" / "pictures", "--dry-run")

    assert first.code == 0, first.stderr
    kept = (tmp_path / "output" / "pictures" / "prompts.txt").read_text(encoding="utf-8")
    assert kept.startswith("zkz at sea --w 832 --h 1216 --d 1000 --s 24 --l 6 --n ")
    assert kept.count("\n") == 1
    assert "pictures-2/prompts.txt" in again.stdout
