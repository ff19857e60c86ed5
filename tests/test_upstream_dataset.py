"""Buckets, crops and steps are those of the real sd-scripts, picture by picture."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_source
from PIL import Image

from sdxl_train_cli.commands import train
from sdxl_train_cli.dataset import bucketing, folders, sources, trainer_config
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.environment import environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import preparation, smoke
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.ui import live

SOURCE = upstream_source.find()
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(SOURCE is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone"),
]
SCRIPT = Path(__file__).with_name("upstream_buckets.py")
SETTINGS: dict[str, dict[str, Value | None]] = {
    "no-upscale": {"bucket_no_upscale": True, "train_batch_size": 2},
    "steps-32": {"bucket_reso_steps": 32, "train_batch_size": 3, "gradient_accumulation_steps": 4},
    "max-1024": {"max_bucket_reso": 1024, "min_bucket_reso": None, "max_train_steps": None},
    "max-1536": {"max_bucket_reso": 1536, "train_batch_size": 4, "max_train_epochs": 7},
    "max-2048": {"max_bucket_reso": 2048, "train_batch_size": 5, "gradient_accumulation_steps": 3},
    "no-upscale-32": {"bucket_no_upscale": True, "bucket_reso_steps": 32, "resolution": "768,1152"},
    "uneven-limits": {"min_bucket_reso": 400, "max_bucket_reso": 1500, "bucket_reso_steps": 96},
    "no-buckets": {"enable_bucket": None, "train_batch_size": 7, "max_train_epochs": 3},
    "validation": {"validation_split": 0.13, "validation_seed": 11, "train_batch_size": 3},
}
DATASET_OPTIONS = (
    "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale",
    "train_batch_size", "gradient_accumulation_steps", "max_train_steps", "max_train_epochs", "validation_split",
    "validation_seed",
)  # fmt: skip


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 pictures of random sizes in three folders of other repeats, and 60 for regularisation."""
    root = tmp_path_factory.mktemp("pictures мир [1]")
    sizes = random.Random(5)  # noqa: S311 - sizes are no secret
    shapes = [(1024, 1024), (832, 1216), (1216, 832), (1025, 1023), (4000, 400), (400, 4000)]
    shapes += [(int(200 * 20 ** sizes.random()), int(200 * 20 ** sizes.random())) for _ in range(354)]
    names = [f"data/{name}" for name in ("3_cat", "1_dog [old]", "2_птица")] * 100 + ["reg/2_pet", "reg/1_animal"] * 30
    for number, (shape, folder) in enumerate(zip(shapes, names, strict=True)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        suffix = (".png", ".png", ".PNG", ".jpg", ".webp", ".bmp")[number % 6]
        Image.new("1" if suffix.lower() in {".png", ".bmp"} else "RGB", shape).save(root / folder / f"{number}{suffix}")
    return root


def recipe(changes: dict[str, Value | None]) -> Recipe:
    return presets.load(Kind.LORA, "dim32-gc", [Override(option, value, "") for option, value in changes.items()])


def looked(material: Path, *, with_reg: bool) -> TrainingPictures:
    reg = material / "reg" if with_reg else None
    return sources.scan(material / "data", regularisation=reg, repeats=None, trigger="ohwx")


@pytest.fixture(scope="module")
def real(material: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], dict[str, object]]:
    """What sd-scripts answers for every setting, without and with regularisation pictures."""
    installed = environment.require(Home(upstream_source.home()))
    folder = tmp_path_factory.mktemp("request")
    asked = []
    for with_reg in (False, True):
        config = folder / f"{with_reg}.json"
        config.write_text(
            json.dumps(trainer_config.config(looked(material, with_reg=with_reg), folder)), encoding="utf-8"
        )
        for changes in SETTINGS.values():
            wanted = recipe(changes)
            options = {name: wanted.get(name) for name in DATASET_OPTIONS if wanted.get(name) is not None}
            asked.append((str(config), options))
    (folder / "request.json").write_text(json.dumps({"asked": asked}), encoding="utf-8")
    argv = [str(installed.python), str(SCRIPT), str(installed.checkout), str(folder / "request.json")]
    done = subprocess.run(argv, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return dict(zip(((name, reg) for reg in (False, True) for name in SETTINGS), json.loads(done.stdout), strict=True))


def ours(material: Path, setting: str, *, with_reg: bool) -> BucketPlan:
    return bucketing.arrange(recipe(SETTINGS[setting]), folders.files(looked(material, with_reg=with_reg)))


def told(arranged: BucketPlan) -> dict[str, object]:
    """As the script that asks sd-scripts tells it."""
    lengths = {"batches": arranged.batches, "steps": arranged.steps, "steps_per_epoch": arranged.steps_per_epoch}
    made = [
        {
            "size": [bucket.width, bucket.height],
            "members": sorted(
                [str(one.picture.path), one.repeats, [one.picture.width, one.picture.height], list(one.resized),
                 list(one.box)]
                for one in bucket.placed
            ),
            "batches": bucket.batches,
        }
        for bucket in arranged.buckets
    ]  # fmt: skip
    return {"buckets": made, "lengths": [lengths, lengths]}


@pytest.mark.parametrize("with_reg", [False, True], ids=["", "regularisation"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_buckets_crops_and_steps_are_those_of_sd_scripts(
    real: dict[tuple[str, bool], dict[str, object]], material: Path, setting: str, with_reg: bool
) -> None:
    arranged = ours(material, setting, with_reg=with_reg)

    assert arranged.is_exact
    assert told(arranged) == real[setting, with_reg]
    held_back = 0 if setting != "validation" else 39
    assert (
        len({one.picture.path for bucket in arranged.buckets for one in bucket.placed if not one.picture.is_reg})
        == 300 - held_back
    )


def test_what_is_compared_are_300_pictures_in_many_buckets(
    real: dict[tuple[str, bool], dict[str, object]], material: Path
) -> None:
    counts = {setting: len(ours(material, setting, with_reg=False).buckets) for setting in SETTINGS}

    assert len(folders.files(looked(material, with_reg=False))) == 300
    assert counts["no-buckets"] == 1
    assert all(count > 10 for setting, count in counts.items() if setting != "no-buckets")
    assert len(real) == len(list(itertools.product(SETTINGS, (False, True))))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three runs of the scaled model: the trigger put first by us, written into the files, and in none of them."""
    folder = tmp_path_factory.mktemp("triggers")
    home = Home(upstream_source.home())
    installed = environment.require(home)
    size = smoke.SmokeSize(2, scaled=True, gpu_index=None)
    material = smoke.make_material(installed, folder / "material", size)
    usual = smoke.choices(Kind.LORA, material, folder / "runs", size, eight_bit=installed.lock.eight_bit)
    written = folder / "written"
    shutil.copytree(material.pictures, written)
    for file in written.glob("*.txt"):
        file.write_text(f"ohwx cat, {file.read_text('utf-8')}", encoding="utf-8")
    runs = {
        "ours": replace(usual, name="ours", trigger="ohwx cat"),
        "written": replace(usual, name="written", data=written, trigger="ohwx cat"),
        "without": replace(usual, name="without"),
    }
    for choices in runs.values():
        ready = preparation.prepare(choices, home, folder / "presets")
        train.carry_out(ready, live.view(as_json=True))
    return {name: folder / "runs" / name for name in runs}


@pytest.mark.slow
def test_a_trigger_put_first_is_learned_as_if_it_stood_in_the_caption_files(learned: dict[str, Path]) -> None:
    losses = {
        name: [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
        for name, run in learned.items()
    }

    assert losses["ours"] == losses["written"]
    assert losses["ours"] != losses["without"]


@pytest.mark.slow
def test_captions_with_a_trigger_put_first_are_cached_and_counted_by_sd_scripts(learned: dict[str, Path]) -> None:
    run = learned["ours"]
    metadata = checkpoint.read_header(run / "ours.safetensors").metadata
    (tags,) = json.loads(metadata["ss_tag_frequency"]).values()
    pictures = len(json.loads((run / "metadata-1.json").read_text("utf-8")))

    assert tags["ohwx cat"] == pictures > 1
    assert "caching Text Encoder outputs" in (run / "train.log").read_text("utf-8")
