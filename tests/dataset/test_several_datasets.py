"""Datasets of one run that differ in size, buckets and batch size: from a dataset config, or by `--resolution`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import write_pictures

from sdxl_train_cli.dataset import bucketing, checking, fix_request, sources, stale_caches, trainer_config
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.dataset.checking import CheckedDataset, DatasetSource
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

LARGE = "resolution = 1024\nbatch_size = 2\n"
SMALL = "resolution = [512, 512]\nbatch_size = 8\nmin_bucket_reso = 256\nmax_bucket_reso = 1024\n"


def config(folder: Path, *datasets: str, pictures: str = "cats") -> Path:
    """Datasets of the same pictures: five of `cats`, or three small ones of `val`."""
    write_pictures(folder / "cats", 5, size=(1024, 1024))
    write_pictures(folder / "val", 3, size=(640, 640))
    subset = f"[[datasets.subsets]]\nimage_dir = '{pictures}'\n"
    text = "".join(f"[[datasets]]\n{keys}{subset}" for keys in datasets)
    (folder / "several.toml").write_text(text, encoding="utf-8")
    return folder / "several.toml"


def set_(**values: Value | None) -> list[Override]:
    return [Override(option, value, Origin("--set")) for option, value in values.items()]


def recipe_of(data: Path, *typed: Override) -> Recipe:
    return presets.load(Kind.LORA, "dim32-gc", [*sources.overrides(data), *typed])


def check(data: Path, recipe: Recipe) -> CheckedDataset:
    return checking.check(DatasetSource(data), recipe)


def arranged(data: Path, *typed: Override) -> BucketPlan:
    recipe = recipe_of(data, *typed)
    return bucketing.arrange(recipe, check(data, recipe).survey.readable)


def made(plan: BucketPlan) -> list[tuple[int, int, int, int]]:
    """Width, pictures, batch size and batches of each bucket."""
    return [(bucket.width, bucket.count, bucket.batch_size, bucket.batches) for bucket in plan.buckets]


def written(data: Path, *typed: Override) -> list[dict[str, object]]:
    """The keys of each dataset that sd-scripts gets."""
    pictures = check(data, recipe_of(data, *typed)).survey.pictures
    found = json.loads(json.dumps(trainer_config.config(pictures, data.parent)))["datasets"]
    return [{key: value for key, value in dataset.items() if key != "subsets"} for dataset in found]


def test_each_dataset_has_buckets_and_batches_of_its_own(tmp_path: Path) -> None:
    plan = arranged(config(tmp_path, LARGE, SMALL))

    assert made(plan) == [(1024, 5, 2, 3), (512, 5, 8, 1)]
    assert (plan.batches, plan.count, plan.batch_words) == (4, 10, "2 and 8")


def test_a_dataset_without_a_key_is_left_to_the_preset(tmp_path: Path) -> None:
    data = config(tmp_path, "batch_size = 4\n", "")

    assert made(arranged(data)) == [(1024, 5, 4, 2), (1024, 5, 1, 5)]
    assert written(data) == [{"batch_size": 4}, {}]
    assert recipe_of(data).get("train_batch_size") == 1


def test_what_all_datasets_set_is_told_of_the_one_with_the_largest_batches(tmp_path: Path) -> None:
    recipe = recipe_of(config(tmp_path, LARGE, SMALL.replace("= 8", "= 16")))

    assert (recipe.get("resolution"), recipe.get("train_batch_size")) == ("512,512", 16)
    assert recipe.get("max_bucket_reso") == 2048  # the preset's, as one dataset leaves it to the run


def test_sizes_reach_sd_scripts_as_whole_numbers(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, SMALL)

    first, second = written(data)

    assert first == {"resolution": 1024, "batch_size": 2}
    assert second == {"resolution": [512, 512], "batch_size": 8, "min_bucket_reso": 256, "max_bucket_reso": 1024}


def test_what_is_typed_counts_for_every_dataset(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, SMALL)

    plan = arranged(data, Override("train_batch_size", 3, Origin("--batch-size")), *presets.with_sizes(768))

    assert [(width, batch) for width, _, batch, _ in made(plan)] == [(768, 3)]
    assert written(data, *set_(train_batch_size=3))[0] == {"resolution": 1024}


def test_the_project_file_counts_for_every_dataset_and_a_preset_for_none(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, SMALL)
    project = [Override("train_batch_size", 3, Origin("sdxl-train.yaml", 4))]
    preset = recipe_of(data).replaced({"train_batch_size": Setting(value=3, origin=Origin("mine.yaml", 4))})

    assert arranged(data, *project).batch_sizes == (3,)
    assert bucketing.arrange(preset, check(data, preset).survey.readable).batch_sizes == (2, 8)


def test_a_rule_that_one_dataset_breaks_refuses_the_run_and_names_the_file(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, "resolution = 256\nmin_bucket_reso = 512\n")
    recipe = recipe_of(data)

    with pytest.raises(RecipeError, match="min_bucket_reso is larger than the shorter side") as caught:
        rules.require(recipe, shipped.table(), sources.recipes(data, recipe))

    assert [str(problem.where) for problem in caught.value.problems] == [str(data)]


def test_memory_is_that_of_the_dataset_that_takes_the_most(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, SMALL.replace("= 8", "= 1"))
    recipe = rules.require(recipe_of(data), shipped.table(), sources.recipes(data, recipe_of(data)))
    recipes = check(data, recipe).survey.pictures.recipes(recipe)

    heaviest = requirement.heaviest(recipes)

    assert (heaviest.get("resolution"), heaviest.get("train_batch_size")) == (1024, 2)
    assert requirement.need(heaviest).high_gib == max(requirement.need(each).high_gib for each in recipes)


def test_a_dataset_for_validation_alone_counts_for_neither_memory_nor_steps(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, "resolution = 1024\nbatch_size = 16\nvalidation_split = 1.0\n")
    recipe = recipe_of(data)
    checked = check(data, recipe)

    plan = bucketing.arrange(recipe, checked.survey.readable)

    assert (made(plan), len(plan.held_back), plan.is_exact) == ([(1024, 5, 2, 3)], 5, True)
    assert [each.get("train_batch_size") for each in checked.survey.pictures.recipes(recipe)] == [2]
    assert recipe.get("train_batch_size") == 2


def test_several_sizes_train_each_picture_at_each(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "cats", 5, size=(1024, 1024))
    recipe = recipe_of(data, *presets.with_sizes(768, 1024))
    checked = check(data, recipe)

    plan = bucketing.arrange(recipe, checked.survey.readable)

    assert made(plan) == [(768, 5, 1, 5), (1024, 5, 1, 5)]
    assert recipe.get("resolution") == "1024,1024"
    assert [each["resolution"] for each in written(data, *presets.with_sizes(768, 1024))] == [[768, 768], [1024, 1024]]
    assert checked.errors == []
    assert not {"duplicate", "near-duplicate", "same-stem"} & {finding.kind for finding in checked.findings}
    assert (len(checked.survey.distinct), checked.survey.pictures.count) == (5, 5)


def test_several_sizes_take_the_place_of_those_of_a_config(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, SMALL)

    plan = arranged(data, *presets.with_sizes(640, 896))

    assert [(width, batch) for width, _, batch, _ in made(plan)] == [(640, 2), (640, 8), (896, 2), (896, 8)]


def test_one_size_that_is_typed_later_takes_the_place_of_several(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "cats", 5, size=(1024, 1024))

    assert made(arranged(data, *presets.with_sizes(768, 1024), *presets.with_sizes(512))) == [(512, 5, 1, 5)]


def test_a_record_keeps_several_sizes_and_one_size_takes_no_room(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, *presets.with_sizes(768, 1024))

    again = Recipe.model_validate_json(recipe.model_dump_json())

    assert again.sizes == (768, 1024)
    assert "sizes" not in recipe_of(tmp_path, *presets.with_sizes(1024)).model_dump_json()


@pytest.mark.parametrize(("least", "skipped"), [("640", 3), ("[639, 640]", 0), ("[640, 641]", 3)])
def test_pictures_that_are_no_larger_than_skip_image_resolution_are_left_out(
    tmp_path: Path, least: str, skipped: int
) -> None:
    data = config(tmp_path, f"skip_image_resolution = {least}\n", pictures="val")

    plan = arranged(data)

    assert (len(plan.skipped), plan.count) == (skipped, 3 - skipped)


def test_small_pictures_may_be_skipped_at_the_large_size_alone(tmp_path: Path) -> None:
    data = config(tmp_path, f"{LARGE}skip_image_resolution = 768\n", SMALL, pictures="val")

    assert made(arranged(data)) == [(512, 3, 8, 1)]
    assert written(data)[0]["skip_image_resolution"] == 768


def test_where_all_pictures_are_skipped_the_run_is_refused(tmp_path: Path) -> None:
    data = config(tmp_path, "skip_image_resolution = 1024\n", pictures="val")

    assert [finding.kind for finding in check(data, recipe_of(data)).errors] == ["all-skipped"]


@pytest.mark.parametrize("datasets", [("skip_image_resolution = 512\n",), ("skip_image_resolution = 512\n", SMALL)])
def test_a_release_that_skips_no_pictures_refuses_the_option(tmp_path: Path, datasets: tuple[str, ...]) -> None:
    data = config(tmp_path, *datasets)
    recipe = recipe_of(data)

    with pytest.raises(RecipeError, match=r"no option 'skip_image_resolution' in v0\.10\.1"):
        rules.require(recipe, shipped.table("v0.10.1"), sources.recipes(data, recipe))
    rules.require(recipe, shipped.table("v0.11.1"), sources.recipes(data, recipe))


def test_the_command_that_removes_caches_leaves_each_dataset_its_size(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, SMALL)
    recipe = recipe_of(data, *set_(cache_latents_to_disk=True))
    sized = recipe_of(tmp_path / "cats", *presets.with_sizes(768, 1024))

    of_config = stale_caches.command(data, None, recipe, check(data, recipe).survey.pictures)
    of_sizes = stale_caches.command(tmp_path / "cats", None, sized, check(tmp_path / "cats", sized).survey.pictures)

    assert of_config == f"sdxl-train dataset fix {data} --stale-caches --set cache_latents_to_disk=true"
    assert of_sizes == f"sdxl-train dataset fix {tmp_path / 'cats'} --stale-caches --resolution 768,1024"


@pytest.mark.parametrize(
    ("keys", "told"),
    [("validation_split = 0.4\n", True), ("validation_split = 0.4\nvalidation_seed = 7\n", False), ("", False)],
)
def test_pictures_that_two_datasets_hold_back_each_at_random_are_warned_of(
    tmp_path: Path, keys: str, told: bool
) -> None:
    data = config(tmp_path, keys + LARGE, keys + SMALL)

    found = {finding.kind for finding in check(data, recipe_of(data)).findings}

    assert ("trained-and-validated" in found) is told


def test_pictures_that_are_trained_on_and_validated_on_are_warned_of(tmp_path: Path) -> None:
    data = config(tmp_path, LARGE, "validation_split = 1.0\n")

    (found,) = [each for each in check(data, recipe_of(data)).findings if each.kind == "trained-and-validated"]

    assert len(found.files) == 5


@pytest.mark.parametrize(("datasets", "side"), [((LARGE, SMALL), 1024), ((SMALL,), 512), (("",), 1024)])
def test_a_repaired_copy_is_made_for_the_largest_size(tmp_path: Path, datasets: tuple[str, ...], side: int) -> None:
    assert fix_request.trained_side(config(tmp_path, *datasets)) == side
