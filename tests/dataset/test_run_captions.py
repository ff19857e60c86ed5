"""A trigger is put before captions in the run's own metadata, so that they can be cached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, write_pictures

from sdxl_train_cli.dataset import run_captions, sources, survey, trainer_config
from sdxl_train_cli.dataset.run_captions import RunCaptions
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override

ROWS = [
    (6, "lora", "dim32-fp8-gc", ["--set", "resolution=768,768"]),
    (8, "lora", "dim32-bf16-gc", []),
    (8, "locon", "dim64-conv32-fp8-gc", []),
    (10, "lora", "dim32-gc", []),
    (10, "locon", "dim64-conv32-gc", []),
    (12, "lora", "dim128-gc", []),
    (12, "lora", "dim32-gc", ["--batch-size", 2]),
    (24, "lora", "dim128", []),
    (24, "dreambooth", "gc", ["--set", "fused_backward_pass=true"]),
    (32, "dreambooth", "gc", []),
]
"""The README's table of what fits."""


def recipe(kind: Kind = Kind.LORA, **changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "") for option, value in changes.items()]
    return presets.load(kind, "gc" if kind is Kind.DREAMBOOTH else "dim32-bf16-gc", overrides)


def planned(data: Path, wanted: Recipe, trigger: str | None = "ohwx", reg: Path | None = None) -> RunCaptions:
    found = sources.scan(data, regularisation=reg, repeats=None, trigger=trigger)
    return run_captions.plan(wanted, survey.survey(found))


def entries(plan: RunCaptions, run: Path) -> dict[str, object]:
    """The caption of each picture, by its name, as the metadata in the run's folder gives it."""
    files = trainer_config.metadata(plan.pictures, run)
    return {Path(name).name: entry["tags"] for listed in files.values() for name, entry in listed.items()}  # type: ignore[index]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_trigger_with_captions_of_ones_own_fits_every_card_of_the_readmes_table(
    cli: Cli, pictures: Path, model: Path, row: tuple[int, str, str, list[object]]
) -> None:
    gib, kind, preset, more = row
    typed = [kind, "--preset", preset, "--model", model, "--data", pictures, "--gpu-memory", gib, "--dry-run", *more]

    result = cli(*typed, "--trigger", "ohwx")

    assert result.code == 0, result.stderr
    assert "--cache_text_encoder_outputs " in result.stdout


def test_the_trigger_is_put_first_in_metadata_and_the_files_stay_as_they_are(pictures: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in pictures.iterdir()}

    plan = planned(pictures, recipe())

    assert entries(plan, tmp_path) == dict.fromkeys(("0.png", "1.png", "2.png"), "ohwx, a photo of a cat")
    (subset,) = json.loads(json.dumps(trainer_config.config(plan.pictures, tmp_path)))["datasets"][0]["subsets"]
    assert subset == {"metadata_file": str(tmp_path / "metadata-1.json"), "num_repeats": 1}
    assert plan.recipe == recipe()
    assert {file: file.read_bytes() for file in pictures.iterdir()} == before


def test_each_numbered_folder_keeps_its_repeats(tmp_path: Path) -> None:
    for name, suffix in (("3_cat", ".txt"), ("1_dog", ".caption")):
        for file in write_pictures(tmp_path / "data" / name, 1, "a pet\r\nsecond line").glob("*.txt"):
            file.rename(file.with_suffix(suffix))

    plan = planned(tmp_path / "data", recipe())

    subsets = trainer_config.config(plan.pictures, tmp_path)["datasets"][0]["subsets"]  # type: ignore[index]
    assert [subset["num_repeats"] for subset in subsets] == [1, 3]
    assert entries(plan, tmp_path) == {"0.png": "ohwx, a pet"}


def test_a_trigger_that_stands_in_for_a_caption_is_not_doubled(pictures: Path, tmp_path: Path) -> None:
    (pictures / "2.txt").unlink()

    assert entries(planned(pictures, recipe()), tmp_path)["2.png"] == "ohwx"


def test_captions_that_have_the_trigger_are_read_by_the_trainer_itself(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", caption="ohwx, a cat")

    assert planned(tmp_path / "data", recipe()).pictures.captions is None


def test_captions_that_are_not_cached_get_the_trigger_in_each_step(pictures: Path) -> None:
    plan = planned(pictures, recipe(cache_text_encoder_outputs=None, shuffle_caption=True))

    assert plan.pictures.captions is None
    assert plan.pictures.subsets[0].caption_prefix == "ohwx,"


def test_metadata_of_the_persons_own_gets_the_trigger_too(pictures: Path, tmp_path: Path) -> None:
    listed = {f"{number}.png": {"caption": "a cat", "tags": "small"} for number in range(3)}
    (pictures / "meta.json").write_text(json.dumps(listed), encoding="utf-8")

    assert entries(planned(pictures / "meta.json", recipe()), tmp_path)["1.png"] == "ohwx, a cat, small"


@pytest.mark.parametrize(
    "change",
    [{"validation_split": 0.1}, {"cache_latents": None, "kind": Kind.DREAMBOOTH}, {}],
    ids=["validation", "Dreambooth without cached latents", "regularization"],
)
def test_where_captions_cant_be_given_the_cache_is_switched_off_and_the_cause_is_told(
    pictures: Path, tmp_path: Path, change: dict[str, Value | Kind | None]
) -> None:
    reg = None if change else write_pictures(tmp_path / "reg")

    plan = planned(pictures, recipe(**change), reg=reg)  # type: ignore[arg-type]

    assert plan.recipe.get("cache_text_encoder_outputs") is None
    assert plan.pictures.captions is None
    assert plan.obstacle is not None
    assert plan.obstacle.startswith("the trigger switches off the text-encoder cache, which takes up to 1.5 GB more")


@pytest.mark.parametrize("caption", ["a cat", None])
def test_outputs_that_depend_on_the_trigger_are_not_kept_beside_the_pictures(
    tmp_path: Path, caption: str | None
) -> None:
    write_pictures(tmp_path / "data", caption=caption)

    plan = planned(tmp_path / "data", recipe(cache_text_encoder_outputs_to_disk=True))

    assert plan.recipe.get("cache_text_encoder_outputs_to_disk") is None
    assert plan.recipe.is_on("cache_text_encoder_outputs")
    assert any("in memory" in note for note in plan.notes)


def test_without_a_trigger_the_cache_on_disk_is_used(pictures: Path) -> None:
    wanted = recipe(cache_text_encoder_outputs_to_disk=True)

    assert planned(pictures, wanted, trigger=None).recipe == wanted


def test_a_run_is_written_with_its_captions_and_trains(cli: Cli, pictures: Path, model: Path) -> None:
    result = cli("lora", "--model", model, "--data", pictures, "--trigger", "ohwx", "--steps", 2, "--no-vram-check")

    assert result.code == 0, result.stderr
    assert "the run gets captions with it in front, and your files stay as they are" in result.stderr
    listed = json.loads((result.path.parent / "metadata-1.json").read_text("utf-8"))
    assert listed[str(pictures / "0.png")] == {"tags": "ohwx, a photo of a cat", "image_size": [64, 48]}


@pytest.mark.parametrize(
    ("trigger", "changes", "way"),
    [
        ("mychar, red hat", {"shuffle_caption": True, "keep_tokens": 1}, "--set keep_tokens=2"),
        ("mychar, red hat, blue", {"caption_tag_dropout_rate": 0.1, "keep_tokens": 2}, "--set keep_tokens=3"),
        ("mychar; hat", {"shuffle_caption": True, "keep_tokens": 1, "caption_separator": ";"}, "--set keep_tokens=2"),
    ],
)
def test_a_trigger_of_several_tags_has_to_be_kept_whole(trigger: str, changes: dict[str, Value], way: str) -> None:
    (problem,) = run_captions.split_trigger(recipe(**changes), trigger)
    assert problem.hint_lines == [way]


@pytest.mark.parametrize(
    ("trigger", "changes"),
    [
        (None, {"shuffle_caption": True, "keep_tokens": 1}),
        ("ohwx woman", {"shuffle_caption": True, "keep_tokens": 1}),
        ("mychar, red hat", {"shuffle_caption": True, "keep_tokens": 2}),
        ("mychar, red hat", {"shuffle_caption": True}),
        ("mychar, red hat", {"keep_tokens": 1}),
        ("mychar, red hat", {"shuffle_caption": True, "keep_tokens": 1, "keep_tokens_separator": "|||"}),
    ],
)
def test_a_trigger_that_stays_whole_is_not_warned_of(trigger: str | None, changes: dict[str, Value]) -> None:
    assert list(run_captions.split_trigger(recipe(**changes), trigger)) == []
