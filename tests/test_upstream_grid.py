"""The real sdxl_gen_img.py draws a run's grid: each checkpoint as if it were drawn alone, and nothing twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from PIL import Image, ImageChops
from upstream_runs import RealRuns

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking.grid import Grid, GridFolder
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.run import smoke

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(
        upstream_source.find() is None and not os.environ.get("SDXL_TRAIN_UPSTREAM_HOME"),
        reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE",
    ),
]
TRAINED: Mapping[str, Value | None] = {"max_train_steps": 4, "save_every_n_steps": 2, "learning_rate": 0.02}
_BEFORE_THE_KILL = 5
PROMPT = "zkz on a wall"
DRAWN = ("--size", "64", "--steps", "2", "--seeds", "1", "--checkpoints", "2,final")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("drawing"))


def trained(
    real: RealRuns, kind: Kind, tmp_path: Path, changes: Mapping[str, Value | None] | None = None, name: str = ""
) -> Path:
    """A run of four steps, fast enough for every checkpoint to draw differently."""
    pictures = write_pictures(tmp_path / "pictures", 4, "zkz, 1girl, a wall", (64, 64))
    more = {**TRAINED, **(changes or {})}
    if kind is Kind.EMBEDDING:
        more |= {"token_string": "zkz", "init_word": "a", "num_vectors_per_token": 2}
    if kind is Kind.DREAMBOOTH:
        more["learning_rate"] = 0.001
    choices = real.choices(name or kind.value, real.material.model, pictures, more, kind)
    prepared = real.prepare(replace(choices, samples=(), validation=0.0, trigger="zkz"))
    real.train(prepared)
    return prepared.run.folder


def best(run: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", "best", str(run), "--draw", "--no-weights", *arguments]
    variables = {**os.environ, "SDXL_TRAIN_HOME": str(upstream_source.home())}
    done = subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", env=variables)
    assert done.returncode == code, done.stderr
    return done


def grid(run: Path) -> Grid:
    found = GridFolder(run).load()
    assert found is not None
    return found


def picture(run: Path, checkpoint: int | None, strength: float) -> Path:
    (cell,) = [cell for cell in grid(run).cells if (cell.checkpoint, cell.strength) == (checkpoint, strength)]
    return GridFolder(run).picture(cell)


def alone(real: RealRuns, folder: Path, *arguments: str) -> Path:
    """What sd-scripts' script draws by itself, as its own documentation has it."""
    installed = environment.require(Home(real.home))
    argv = [
        str(installed.python), str(INSIDE / "scaled.py"), "sdxl_gen_img.py", "--tokenizer_cache_dir",
        str(real.material.tokenizers), "--outdir", str(folder), "--sampler", "euler_a", "--sdpa", "--no_half_vae",
        "--prompt", f"{PROMPT} --w 64 --h 64 --d 1000 --s 2 --l 7", "--max_embeddings_multiples", "3",
        "--sequential_file_name", *arguments,
    ]  # fmt: skip
    variables = {**environment.training_variables(), "CUDA_VISIBLE_DEVICES": "-1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, check=False, cwd=installed.checkout, env=variables, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder / "im_000001.png"


def pixels(path: Path) -> bytes:
    with Image.open(path) as opened:
        return opened.convert("RGB").tobytes()


def differ(one: Path, other: Path) -> bool:
    with Image.open(one) as first, Image.open(other) as second:
        return ImageChops.difference(first.convert("RGB"), second.convert("RGB")).getbbox() is not None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.is_network])
def test_a_checkpoint_of_a_network_is_drawn_as_if_it_were_drawn_alone(
    real: RealRuns, tmp_path: Path, kind: Kind
) -> None:
    if kind not in smoke.trainable(environment.require(Home(real.home)))[0]:
        pytest.skip("LyCORIS is not installed")
    run = trained(real, kind, tmp_path)

    best(run, "--prompt", PROMPT, "--strength", "0.5,1", *DRAWN)

    settings = json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]
    module = str(settings["network_module"]["value"])
    given = [one for one in settings.get("network_args", {}).get("value", []) if one.startswith("factor=")]
    arguments = ["--network_args", *given] if given and module == "networks.lokr" else []
    base = ("--ckpt", str(real.material.model))
    last = str(run / grid(run).checkpoints[1].file)
    network = ("--network_module", module, "--network_weights", last, "--network_mul", "0.5", *arguments)
    assert pixels(picture(run, 1, 0.5)) == pixels(alone(real, tmp_path / "last", *base, *network))
    assert pixels(picture(run, None, 0.0)) == pixels(alone(real, tmp_path / "base", *base))
    assert differ(picture(run, 0, 1.0), picture(run, 1, 1.0))
    assert differ(picture(run, 1, 0.5), picture(run, 1, 1.0))
    assert differ(picture(run, 0, 0.5), picture(run, None, 0.0))


def test_full_checkpoints_are_drawn_each_as_a_base_model(real: RealRuns, tmp_path: Path) -> None:
    run = trained(real, Kind.DREAMBOOTH, tmp_path)

    told = best(run, "--prompt", PROMPT, *DRAWN).stderr

    assert "3 pictures, the base model loaded 3 times" in told
    other = alone(real, tmp_path / "alone", "--ckpt", str(run / grid(run).checkpoints[0].file))
    assert pixels(picture(run, 0, 1.0)) == pixels(other)
    assert differ(picture(run, 0, 1.0), picture(run, 1, 1.0))


def test_an_embedding_is_drawn_under_the_word_that_it_was_trained_for(real: RealRuns, tmp_path: Path) -> None:
    run = trained(real, Kind.EMBEDDING, tmp_path)

    best(run, "--prompt", PROMPT, *DRAWN)

    assert differ(picture(run, 0, 1.0), picture(run, None, 0.0))
    assert differ(picture(run, 0, 1.0), picture(run, 1, 1.0))


def test_a_model_of_velocities_is_drawn_as_one(real: RealRuns, tmp_path: Path) -> None:
    run = trained(real, Kind.LORA, tmp_path, {"v_parameterization": True, "zero_terminal_snr": True}, "velocity")

    best(run, "--prompt", PROMPT, *DRAWN)

    assert differ(picture(run, None, 0.0), alone(real, tmp_path / "base", "--ckpt", str(real.material.model)))


def test_a_grid_killed_in_the_middle_goes_on_with_nothing_lost_and_nothing_drawn_twice(
    real: RealRuns, tmp_path: Path
) -> None:
    run = trained(real, Kind.LORA, tmp_path, name="killed")
    wanted = ("--prompt", PROMPT, "--prompt", "a boat", "--strength", "0.5,0.8,1", *DRAWN)
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", "best", str(run), "--draw", "--no-weights", *wanted]
    variables = {**os.environ, "SDXL_TRAIN_HOME": str(upstream_source.home())}
    folder = GridFolder(run)
    with subprocess.Popen(argv, env=variables, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        while child.poll() is None and len(list(folder.pictures.glob("*.png"))) < _BEFORE_THE_KILL:
            time.sleep(0.1)
        child.kill()
    assert child.returncode < 0
    before = {path: path.stat().st_mtime_ns for path in folder.pictures.glob("*.png")}

    told = best(run, *wanted).stderr

    assert "the base model loaded once" in told
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert folder.missing(grid(run)) == []
    assert len(list(folder.pictures.glob("*.png"))) == len(grid(run).cells) == 14
    assert "all 14 pictures are there already" in best(run, *wanted).stderr


TINY_MODELS = """
import sys
import time
from transformers import (
    BitImageProcessor, CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer, Dinov2Config, Dinov2Model,
)
clip, dino, tokenizer = sys.argv[1:]
text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 514, "projection_dim": 16, "eos_token_id": 513}
vision = {**{name: text[name] for name in list(text)[:4]}, "image_size": 32, "patch_size": 8, "projection_dim": 16}
CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(clip)
CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(clip)
CLIPTokenizer.from_pretrained(tokenizer).save_pretrained(clip)
Dinov2Model(Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
            ).save_pretrained(dino)
BitImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(dino)
"""


def test_likeness_and_faithfulness_are_told_with_models_from_folders(real: RealRuns, tmp_path: Path) -> None:
    run = trained(real, Kind.LORA, tmp_path, name="scored")
    installed = environment.require(Home(real.home))
    clip, dino = tmp_path / "clip", tmp_path / "dino"
    tokenizer = next(path for path in real.material.tokenizers.iterdir())
    made = [str(installed.python), "-c", TINY_MODELS, str(clip), str(dino), str(tokenizer)]
    subprocess.run(made, check=True, env=environment.training_variables(), capture_output=True)

    told = best(run, "--prompt", PROMPT, *DRAWN, "--clip", str(clip), "--dino", str(dino), "--json")

    facts: dict[str, Any] = json.loads(told.stdout)["pictures"]
    assert facts["left_out"] == {}
    assert all(-1 <= one[name]["value"] <= 1 for one in facts["scores"] for name in ("likeness", "faithfulness"))
    shutil.rmtree(dino)
    left = json.loads(best(run, "--prompt", PROMPT, *DRAWN, "--clip", str(clip), "--dino", str(dino), "--json").stdout)
    assert list(left["pictures"]["left_out"]) == ["dino"]
    assert all(one["likeness"] is None for one in left["pictures"]["scores"])
