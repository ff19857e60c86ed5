"""The real sd-scripts draws the same pictures in little memory, and leaves the text encoders where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from PIL import Image, ImageChops
from upstream_runs import RealRuns

from sdxl_train_cli.environment import environment
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.sdscripts import results

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
PROMPTS = ("zkz on a wall --s 2 --w 256 --h 320 --d 5 --n bad", "zkz --s 2 --d 6")
"""The first has more pixels than a strip."""
SAMPLED = str(environment.INSIDE / "sampled.py")
WATCHING = """
import runpy, sys
from pathlib import Path
from torch import nn
sys.path[0] = str(Path.cwd())
before = nn.Module._apply
def told(self, *given, **named):
    if type(self).__name__.startswith("CLIPTextModel"):
        print("TEXT ENCODER MOVED", flush=True)
    return before(self, *given, **named)
nn.Module._apply = told
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("drawing"))


def prepared(real: RealRuns, folder: Path, name: str, kind: Kind) -> Prepared:
    changes: dict[str, Value | None] = {
        "max_train_steps": 1, "sample_every_n_steps": 1, "cache_latents": True, "cache_text_encoder_outputs": True,
    }  # fmt: skip
    if kind.is_network:
        changes["network_train_unet_only"] = True
    pictures = write_pictures(folder / name, 4, "zkz, 1girl, a wall", (64, 64))
    choices = real.choices(name, real.material.model, pictures, changes, kind)
    return real.prepare(replace(choices, trigger="zkz", samples=PROMPTS, validation=0.0))


@pytest.mark.parametrize("kind", [Kind.LORA, Kind.DREAMBOOTH])
def test_pictures_are_those_of_the_trainer_alone(real: RealRuns, tmp_path: Path, kind: Kind) -> None:
    ours, alone = (prepared(real, tmp_path, f"{kind.value}-{way}", kind) for way in ("ours", "alone"))
    assert SAMPLED in ours.argv
    alone = replace(alone, argv=[word for word in alone.argv if word != SAMPLED])

    for each in (ours, alone):
        done = real.bare(each)
        assert done.returncode == 0, done.stdout

    drawn = [results.samples(each.run.folder, each.run.name) for each in (ours, alone)]
    assert [len(each) for each in drawn] == [4, 4]
    for one, other in zip(*drawn, strict=True):
        with Image.open(one.path) as mine, Image.open(other.path) as theirs:
            apart = ImageChops.difference(mine.convert("RGB"), theirs.convert("RGB"))
        assert max(high for _, high in apart.getextrema()) <= 1, "within one step of 255"


def test_no_text_encoder_moves_while_samples_are_drawn(real: RealRuns, tmp_path: Path) -> None:
    watching = tmp_path / "watching.py"
    watching.write_text(WATCHING, encoding="utf-8")
    run = prepared(real, tmp_path, "watched", Kind.LORA)
    at = run.argv.index(SAMPLED)

    done = real.bare(replace(run, argv=[*run.argv[:at], str(watching), *run.argv[at:]]))

    before, _, since = done.stdout.partition("generating sample images at step")
    assert before.count("TEXT ENCODER MOVED") == 4, "both to cache captions, and back"
    assert since.count("sample_steps: 2") == 4
    assert "TEXT ENCODER MOVED" not in since
