"""A dataset config's validation of its own, its masks, and messages that name folder and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_pictures
from PIL import Image

from sdxl_train_cli.dataset import bucketing, checking, config_file, config_keys, folders, sources, trainer_config
from sdxl_train_cli.dataset.checking import CheckedDataset, DatasetSource
from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override

OWN_VALIDATION = """[[datasets]]
[[datasets.subsets]]
image_dir = "train"

[[datasets]]
validation_split = 1.0
[[datasets.subsets]]
image_dir = "val"
"""


def config(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "dataset.toml").write_text(text, encoding="utf-8")
    return folder / "dataset.toml"


def pictures(folder: Path, *names: str, count: int = 4) -> None:
    for name in names:
        write_pictures(folder / name, count, size=(1024, 1024))


def recipe_of(data: Path, *typed: Override) -> Recipe:
    return presets.load(Kind.LORA, "dim32", [*sources.overrides(data), *typed])


def check(data: Path, *typed: Override) -> CheckedDataset:
    return checking.check(DatasetSource(data), recipe_of(data, *typed))


def said(checked: CheckedDataset) -> list[str]:
    return [finding.problem.message for finding in checked.errors]


def test_a_dataset_that_is_held_back_whole_is_not_trained_on(tmp_path: Path) -> None:
    pictures(tmp_path, "train", "val")
    data = config(tmp_path, OWN_VALIDATION)

    checked = check(data)
    arranged = bucketing.arrange(recipe_of(data), checked.survey.readable)

    assert checked.errors == []
    assert recipe_of(data).get("validation_split") == 0.5
    assert {picture.path.parent.name for picture in arranged.held_back} == {"val"}
    assert (arranged.batches, arranged.is_exact) == (4, True)
    first, second = trainer_config.config(checked.survey.pictures, tmp_path)["datasets"]  # type: ignore[misc]
    assert (first["validation_split"], second["validation_split"]) == (0.0, 1.0)


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.5, 4)])
def test_a_share_that_is_typed_counts_for_every_dataset(tmp_path: Path, share: float, held: int) -> None:
    pictures(tmp_path, "train", "val")
    data = config(tmp_path, OWN_VALIDATION)
    typed = Override("validation_split", share, Origin("--set"))

    checked = check(data, typed)

    assert len(trainer_config.config(checked.survey.pictures, tmp_path)["datasets"]) == 1  # type: ignore[arg-type]
    assert len(bucketing.arrange(recipe_of(data, typed), checked.survey.readable).held_back) == held


def test_datasets_with_other_shares_each_hold_back_their_own(tmp_path: Path) -> None:
    pictures(tmp_path, "a", "b", "c")
    text = "".join(f"[[datasets]]\n{share}\n[[datasets.subsets]]\nimage_dir = '{name}'\n" for name, share in
                   (("a", ""), ("b", "validation_split = 0.25"), ("c", "validation_split = 0.5")))  # fmt: skip
    data = config(tmp_path, text)

    held = bucketing.arrange(recipe_of(data), check(data).survey.readable).held_back

    assert sorted(picture.path.parent.name for picture in held) == ["b", "c", "c"]
    assert recipe_of(data).get("validation_split") == 0.25


def test_datasets_that_leave_nothing_to_train_on_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "train", "val")
    data = config(tmp_path, OWN_VALIDATION.replace("[[datasets]]\n[[", "[[datasets]]\nvalidation_split = 1\n[[", 1))

    assert any("none is left to train on" in words for words in said(check(data)))


def test_a_key_of_a_dataset_in_a_subset_is_told_with_its_line(tmp_path: Path) -> None:
    data = config(tmp_path, '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\nvalidation_split = 0.5\n')

    with pytest.raises(DatasetError, match=r"dataset\.toml:4: .*is a key of a dataset") as caught:
        config_file.read(data)

    assert "validation_split = 0.5" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize(
    ("inner", "named"), [("10_zkz", "flat/10_zkz"), ("a/b", "flat/a/b"), ("мои [1]", "flat/мои [1]")]
)
def test_an_empty_subset_names_line_and_folder_below(tmp_path: Path, inner: str, named: str) -> None:
    pictures(tmp_path, f"flat/{inner}")
    data = config(tmp_path, '[[datasets]]\n  [[datasets.subsets]]\n  num_repeats = 2\n  image_dir = "flat"\n')

    (finding,) = check(data).errors

    assert finding.problem.message.startswith(f"{data}:4: ")
    assert inner in finding.problem.message
    assert finding.hint == f'write image_dir = "{named}" in this line'
    data.write_text(data.read_text(encoding="utf-8").replace('"flat"', f'"{named}"'), encoding="utf-8")
    assert said(check(data)) == []


def test_a_folder_that_is_empty_but_for_deeper_ones_names_them(tmp_path: Path) -> None:
    pictures(tmp_path, "data/x/y")

    with pytest.raises(DatasetError, match="its folder x/y has") as caught:
        folders.find(tmp_path / "data", regularisation=None, repeats=None, trigger=None)

    assert caught.value.problems[0].hint == f"give --data {tmp_path / 'data' / 'x' / 'y'}"


@pytest.mark.parametrize("name", ["System Volume Information", "$RECYCLE.BIN", "lost+found"])
def test_the_systems_own_folders_at_a_drives_root_are_passed_over(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, f"root/{name}", "root/ImageExport")

    with pytest.raises(DatasetError, match="its folder ImageExport has"):
        folders.find(tmp_path / "root", regularisation=None, repeats=None, trigger=None)


def masked(folder: Path, *, masks: int = 4, size: tuple[int, int] = (1024, 1024), more: str = "") -> Path:
    pictures(folder, "img")
    (folder / "mask").mkdir()
    for number in range(masks):
        Image.new("L", size, 255).save(folder / "mask" / f"{number}.png")
    return config(folder, f"[[datasets]]\n[[datasets.subsets]]\nimage_dir='img'\nconditioning_data_dir='mask'\n{more}")


def test_masks_go_to_sd_scripts_with_masked_loss(tmp_path: Path) -> None:
    data = masked(tmp_path)

    checked = check(data)
    (dataset,) = trainer_config.config(checked.survey.pictures, tmp_path)["datasets"]  # type: ignore[misc]
    (subset,) = dataset["subsets"]

    assert checked.errors == []
    assert recipe_of(data).is_on("masked_loss")
    assert subset["conditioning_data_dir"] == str(tmp_path / "mask")
    assert not {"is_reg", "class_tokens"} & subset.keys()


@pytest.mark.parametrize(
    ("masks", "size", "words"),
    [(3, (1024, 1024), "has no mask in"), (5, (1024, 1024), "mask of no picture"), (4, (512, 512), "other size")],
)
def test_masks_that_sd_scripts_would_stop_at_are_refused(
    tmp_path: Path, masks: int, size: tuple[int, int], words: str
) -> None:
    (told,) = said(check(masked(tmp_path, masks=masks, size=size)))

    assert words.replace("other size", "another size") in told


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("masked_loss", False, "masks are read with masked_loss alone"),
        ("random_crop", True, "no masks with random_crop"),
        ("validation_split", 0.5, "would validate on the training pictures"),
    ],
)
def test_options_that_do_not_go_with_masks_are_refused(
    tmp_path: Path, option: str, value: bool | float, words: str
) -> None:
    found = said(check(masked(tmp_path), Override(option, value, Origin("--set"))))

    assert any(words in told for told in found)


@pytest.mark.parametrize("key", ["is_reg = true", "class_tokens = 'cat'", "alpha_mask = true"])
def test_keys_that_do_not_go_with_masks_are_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(DatasetError, match=f"'{key.split(' ', maxsplit=1)[0]}' does not go with conditioning_data_dir"):
        config_file.read(masked(tmp_path, more=key))


def test_masked_loss_without_masks_is_warned_of(tmp_path: Path) -> None:
    pictures(tmp_path, "img")
    recipe = presets.load(Kind.LORA, "dim32").replaced({"masked_loss": Setting(value=True)})

    checked = checking.check(DatasetSource(tmp_path / "img"), recipe)

    assert any("masked_loss does nothing" in str(problem) for problem in checked.warnings)
    with_alpha = recipe.replaced({"alpha_mask": Setting(value=True)})
    assert not any(
        "masked_loss" in str(one) for one in checking.check(DatasetSource(tmp_path / "img"), with_alpha).warnings
    )


@pytest.mark.parametrize("folder", ["img", "img [x]", "мои"])
def test_metadata_may_name_pictures_without_their_suffix(tmp_path: Path, folder: str) -> None:
    pictures(tmp_path, folder)
    file = tmp_path / "meta.json"
    file.write_text('{"0": {"caption": "a"}, "1": {"tags": "b"}, "2.png": {"caption": "c"}}', encoding="utf-8")
    data = config(tmp_path, f"[[datasets]]\n[[datasets.subsets]]\nimage_dir='{folder}'\nmetadata_file='meta.json'\n")

    checked = check(data)

    assert said(checked) == []
    assert sorted(seen.facts.path.name for seen in checked.survey.seen) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("d.yaml", "write the same keys as TOML"), ("d.yml", "[[datasets.subsets]]"), ("d.zip", "unpack it"),
     ("d.png", "give --data its folder")],
)  # fmt: skip
def test_a_file_that_is_no_dataset_is_told_with_what_to_make_of_it(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(b"datasets:")

    with pytest.raises(DatasetError) as caught:
        sources.find(tmp_path / name, regularisation=None, repeats=None, trigger=None)

    assert hint in str(caught.value.problems[0].hint)


def test_a_hint_about_a_regularisation_picture_names_its_folder(tmp_path: Path) -> None:
    pictures(tmp_path, "cats")
    (tmp_path / "reg").mkdir()
    Image.new("CMYK", (64, 64)).save(tmp_path / "reg" / "a.jpg")

    checked = checking.check(DatasetSource(tmp_path / "cats", tmp_path / "reg"), None)

    (finding,) = [each for each in checked.findings if each.kind == "cmyk"]
    assert str(tmp_path / "reg") in str(finding.hint)
    assert str(tmp_path / "cats") not in str(finding.hint)


@pytest.mark.parametrize(("epoch", "is_refused"), [(1, False), (100, False), (2000, True)])
def test_an_initial_epoch_behind_the_end_is_refused(tmp_path: Path, epoch: int, is_refused: bool) -> None:
    pictures(tmp_path, "cats")
    recipe = presets.load(Kind.LORA, "dim32").replaced({"initial_epoch": Setting(value=epoch)})

    found = said(checking.check(DatasetSource(tmp_path / "cats"), recipe))

    assert any("begins behind the end" in words for words in found) is is_refused


def test_folders_that_are_not_here_are_told_each_with_its_line_and_one_beside_the_file(tmp_path: Path) -> None:
    pictures(tmp_path, "mine")
    data = config(
        tmp_path,
        '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "/mnt/c/mine"\n'
        '[[datasets.subsets]]\nimage_dir = "D:\\\\a\\\\b"\n',
    )

    one, other = check(data).errors

    assert one.problem.message == f"{data}:3: /mnt/c/mine does not exist"
    assert one.hint == 'write image_dir = "mine" in this line'
    assert other.problem.message.startswith(f"{data}:5: ")


@pytest.mark.parametrize("key", ["image_directory", "folder_path", "image_jsonl_file"])
def test_a_key_of_another_trainer_is_answered_with_the_one_of_sd_scripts(tmp_path: Path, key: str) -> None:
    data = config(tmp_path, f'[[datasets]]\n{key} = "a"\n[[datasets.subsets]]\nimage_dir = "a"\n')

    with pytest.raises(DatasetError) as caught:
        config_file.read(data)

    assert caught.value.problems[0].hint == config_keys.of_other_trainers()[key]


def test_cache_info_is_taken_and_judged_as_an_option_of_the_run(tmp_path: Path) -> None:
    pictures(tmp_path, "a")
    data = config(tmp_path, '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\ncache_info = true\n')

    found = config_file.read(data)

    assert [(each.option, each.value) for each in found.overrides] == [("cache_info", True)]
    assert "cache_info" not in dict(found.subsets[0].options)
