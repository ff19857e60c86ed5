"""What a dataset config may hold beside folders, in the real sd-scripts: validation of its own, masks, bare names."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from PIL import Image
from upstream_runs import RealRuns

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.environment import environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import scalars

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("config"))


@pytest.fixture
def pictures(real: RealRuns, tmp_path: Path) -> Path:
    return Path(shutil.copytree(real.material.pictures, tmp_path / "pictures [1]"))


def masked(pictures: Path, level: int, name: str) -> Path:
    """A config with a mask for each picture, all of one grey."""
    folder = pictures.parent / f"{name} masks"
    folder.mkdir()
    for picture in pictures.glob("*.png"):
        with Image.open(picture) as opened:
            Image.new("L", opened.size, level).save(folder / picture.name)
    config = pictures.parent / f"{name}.toml"
    config.write_text(
        f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{pictures.name}'\ncaption_extension = '.txt'\n"
        f"conditioning_data_dir = '{folder.name}'\n",
        encoding="utf-8",
    )
    return config


def counted(output: str, what: str) -> int:
    """How many pictures sd-scripts says that it trains or validates on."""
    found = re.search(rf"num {what} images \* repeats / [^:]*: (\d+)", output)
    assert found is not None
    return int(found[1])


@pytest.mark.slow
def test_a_dataset_of_its_own_is_validated_on_and_not_trained_on(real: RealRuns, pictures: Path) -> None:
    held_back = pictures.parent / "val"
    held_back.mkdir()
    names = sorted(path.name for path in pictures.glob("*.png"))
    for name in names[:2]:
        (pictures / name).rename(held_back / name)
        (pictures / name).with_suffix(".txt").rename((held_back / name).with_suffix(".txt"))
    config = pictures.parent / "both.toml"
    config.write_text(
        f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{pictures.name}'\ncaption_extension = '.txt'\n"
        "[[datasets]]\nvalidation_split = 1.0\n[[datasets.subsets]]\nimage_dir = 'val'\n",
        encoding="utf-8",
    )
    changes = {"validate_every_n_steps": 1, "max_validation_steps": 1}
    prepared = real.prepare(real.choices("both", real.material.model, config, changes))
    real.train(prepared)

    output = prepared.run.log.read_text(encoding="utf-8")
    logged = [one.values for one in scalars.EventFileTail(prepared.run.logs).read()]
    assert counted(output, "validation") == 2
    assert counted(output, "train") == len(names) - 2
    assert any("validation" in name and value > 0 for values in logged for name, value in values.items())
    assert prepared.pictures.count == len(names)


@pytest.mark.slow
def test_white_masks_change_nothing_and_black_ones_leave_no_loss(real: RealRuns, pictures: Path) -> None:
    plain = real.prepare(real.choices("plain", real.material.model, pictures, {}))
    white = real.prepare(real.choices("white", real.material.model, masked(pictures, 255, "white"), {}))
    black = real.prepare(real.choices("black", real.material.model, masked(pictures, 0, "black"), {}))

    assert real.train(white) == pytest.approx(real.train(plain), rel=1e-4)
    assert real.bare(black).returncode == 0
    assert upstream_runs.logged_loss(black) == 0


@pytest.mark.slow
def test_names_without_a_suffix_are_found_beside_the_metadata(real: RealRuns, pictures: Path) -> None:
    names = {path.stem: {"caption": "a shape"} for path in pictures.glob("*.png")}
    (pictures / "meta.json").write_text(json.dumps(names), encoding="utf-8")
    prepared = real.prepare(real.choices("stems", real.material.model, pictures / "meta.json", {}))

    assert real.train(prepared) > [0]
    assert counted(prepared.run.log.read_text(encoding="utf-8"), "train") == len(names)


@pytest.mark.slow
def test_sizes_buckets_and_batches_of_each_dataset_are_those_that_were_told(real: RealRuns, pictures: Path) -> None:
    """The same pictures in two datasets of two sizes, one of which may skip small ones, and a third to validate on."""
    shutil.copytree(pictures, pictures.parent / "val")
    subset = "[[datasets.subsets]]\ncaption_extension = '.txt'\nimage_dir ="
    config = pictures.parent / "several.toml"
    skips = "skip_image_resolution" in environment.option_table(Home(real.home)).of(Kind.LORA)
    config.write_text(
        "[general]\nenable_bucket = true\n"
        "[[datasets]]\nresolution = 128\nbatch_size = 2\nmin_bucket_reso = 64\nmax_bucket_reso = 192\n"
        f"{'skip_image_resolution = [96, 103]' if skips else ''}\n"
        f"{subset} '{pictures.name}'\nnum_repeats = 2\n"
        "[[datasets]]\nresolution = [64, 64]\nbatch_size = 3\nbucket_reso_steps = 32\nmin_bucket_reso = 32\n"
        f"{subset} '{pictures.name}'\n"
        f"[[datasets]]\nresolution = 64\nbatch_size = 1\nmin_bucket_reso = 64\nvalidation_split = 1.0\n"
        f"{subset} 'val'\n",
        encoding="utf-8",
    )
    changes = {"max_train_steps": None, "max_train_epochs": 1, "validate_every_n_steps": 4, "max_validation_steps": 1}
    choices = real.choices("several", real.material.model, config, changes)
    untyped = tuple(each for each in choices.overrides if "reso" not in each.option)
    prepared = real.prepare(replace(choices, overrides=untyped))
    arranged = bucketing.arrange(prepared.recipe, prepared.readable)

    losses = real.train(prepared)

    output = prepared.run.log.read_text(encoding="utf-8")
    made = re.findall(r"bucket \d+: resolution \((\d+), (\d+)\), count: (\d+)", output)[: len(arranged.buckets)]
    assert [(str(each.width), str(each.height), str(each.count)) for each in arranged.buckets] == made
    assert {(bucket.part.own("resolution"), bucket.batch_size) for bucket in arranged.buckets} == {
        (128, 2),
        ("64,64", 3),
    }
    assert re.search(rf"num batches per epoch [^:]*: {arranged.batches}$", output, re.MULTILINE)
    assert len(arranged.skipped) == (3 if skips else 0)
    assert (counted(output, "train"), counted(output, "validation")) == (arranged.count, len(arranged.held_back))
    assert len(losses) == arranged.steps == arranged.batches
