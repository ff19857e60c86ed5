"""Two processes of the real sd-scripts train as one does: the same where they draw the same noise, near it otherwise.

What is equal between N processes of batch B and one process of batch N x B is the mean of the gradients, the schedule,
and how often each picture is seen. Which pictures meet in a step and what noise they get is drawn differently, and the
loss that is shown is the first process's: these agree in the mean alone.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from upstream_runs import RealRuns

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.records import history, picture_losses
from sdxl_train_cli.run import resuming, several_gpus, training
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts import checkpoint, states
from sdxl_train_cli.sdscripts.processes import EMPTY_CONFIG, Processes

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(
        upstream_source.find() is None and "SDXL_TRAIN_UPSTREAM_HOME" not in os.environ,
        reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE",
    ),
]
CACHED: Mapping[str, Value | None] = {
    "cache_latents": True, "cache_text_encoder_outputs": True, "network_train_unet_only": True,
    "gradient_checkpointing": None, "network_dim": 4,
}  # fmt: skip
SAME_NOISE = """
import itertools, runpy, sys
sys.path.insert(0, {inside!r})
import accelerate, several, torch
from diffusers.models.autoencoders import vae
vae.DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mode()
accelerate.Accelerator.prepare_model = several.leaving_frozen(accelerate.Accelerator.prepare_model)
accumulate, steps = accelerate.Accelerator.accumulate, itertools.count()
def accumulating(self, *models):
    torch.manual_seed(next(steps))
    return accumulate(self, *models)
accelerate.Accelerator.accumulate = accumulating
sys.path[0] = "."
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Has every process draw what a step's number says, and latents that are alike for pictures that are."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("several"))


def prepared(real: RealRuns, choices: Choices, **more: Any) -> Prepared:  # noqa: ANN401 - of Choices
    return real.prepare(replace(choices, **{"samples": (), "validation": 0.0, **more}))


def tell(*figures: object) -> None:
    """To be seen with `pytest -s`."""
    sys.stdout.write("".join(f"{each}\n" for each in figures))


def alike(folder: Path, count: int) -> Path:
    """The same picture and caption many times."""
    write_pictures(folder, 1, "zkz, a wall", (64, 64))
    (picture,), (caption,) = folder.glob("*.png"), folder.glob("*.txt")
    for number in range(1, count):
        shutil.copy(picture, folder / f"more{number}.png")
        shutil.copy(caption, folder / f"more{number}.txt")
    return folder


def with_script(argv: list[str], script: Path, before: Path) -> list[str]:
    place = argv.index(str(before))
    return [*argv[:place], str(script), *argv[place:]]


def rows(prepared: Prepared, name: str) -> list[float]:
    lines = prepared.run.metrics.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[name] for line in lines]


def logged(prepared: Prepared, words: str) -> set[int]:
    text = (prepared.run.folder / "train.log").read_text(encoding="utf-8", errors="replace")
    return {int(found) for found in re.findall(rf"{words}[^\n]*?: (\d+)", text)}


def test_with_the_same_pictures_and_noise_two_processes_train_what_one_does(real: RealRuns, tmp_path: Path) -> None:
    model, pictures = real.material.model, alike(tmp_path / "pictures", 6)
    changes = {**CACHED, "max_train_steps": 4, "lr_warmup_steps": 2, "lr_scheduler": "cosine", "learning_rate": 1e-2}
    one = prepared(real, real.choices("one", model, pictures, changes), validation=0.35)
    two = prepared(real, real.choices("two", model, pictures, changes), validation=0.35, processes=2)
    script = tmp_path / "same_noise.py"
    script.write_text(SAME_NOISE.format(inside=str(INSIDE)), encoding="utf-8")
    one = replace(one, argv=with_script(one.argv, script, before=INSIDE / "scaled.py"))
    two = replace(two, argv=with_script(two.argv, script, before=INSIDE / "scaled.py"))
    two.argv.remove(str(INSIDE / "several.py"))

    losses = real.train(one), real.train(two)

    tell("losses of one and of two processes:", *losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    rates = [[row["unet"] for row in rows(each, "rates")] for each in (one, two)]  # type: ignore[index]
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)
    assert len(set(losses[1])) == 4
    of_one, of_two = (picture_losses.load(each.run.validation)[-1] for each in (one, two))
    assert of_one.step == of_two.step == 4
    assert of_one.held_back.keys() == of_two.held_back.keys()
    assert of_one.loss == pytest.approx(of_two.loss, rel=1e-4)


DRAWING = """
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
set_seed(7)
accelerator = Accelerator()
accelerator.prepare(torch.nn.Linear(2, 2))
print("drawn", accelerator.process_index, torch.randn(1).item(), flush=True)
"""


def test_unaided_all_processes_draw_the_same_noise_and_here_their_own(real: RealRuns, tmp_path: Path) -> None:
    script, processes = tmp_path / "drawing.py", Processes(on_processor=2, port=several_gpus.free_port())
    script.write_text(DRAWING, encoding="utf-8")
    python = environment.require(Home(real.home)).python
    launch = [str(python), "-m", "accelerate.commands.launch", f"--config_file={EMPTY_CONFIG}", "--num_processes=2",
              "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", *processes.flags()]  # fmt: skip

    def drawn(*shim: str) -> dict[str, float]:
        done = subprocess.run([*launch, *shim, str(script)], check=True, capture_output=True, text=True,
                              env={**os.environ, **processes.variables()})  # fmt: skip
        said = (line.split() for line in done.stdout.splitlines() if line.startswith("drawn"))
        return {process: float(number) for _, process, number in said}

    unaided, apart = drawn(), drawn(str(INSIDE / "several.py"))
    assert unaided["0"] == unaided["1"] == apart["0"]
    assert apart["1"] != apart["0"]


def test_at_the_same_effective_batch_the_losses_are_near_each_other(real: RealRuns, tmp_path: Path) -> None:
    model, pictures = real.material.model, write_pictures(tmp_path / "pictures", 9, "zkz, 1girl, a wall", (64, 64))
    changes = {**CACHED, "max_train_epochs": 4, "max_train_steps": None, "save_every_n_epochs": 2, "save_state": True}
    one = prepared(real, real.choices("batch-2", model, pictures, {**changes, "train_batch_size": 2}))
    two = prepared(real, real.choices("two-of-1", model, pictures, {**changes, "train_batch_size": 1}), processes=2)
    losses = real.train(one), real.train(two)

    arranged = bucketing.arrange(two.recipe, two.readable)
    assert (arranged.steps_per_epoch, arranged.steps) == (5, 20)
    assert logged(two, "num batches per epoch") == {5}
    assert logged(two, "num epochs") == {4}
    assert logged(two, "total optimization steps") == {20}
    assert rows(two, "step") == list(range(1, 21)) == rows(one, "step")
    (state, *_), (first, second) = states.complete(two.run.folder), (0, 1)
    kept = [(state.folder / f"random_states_{number}.pkl").read_bytes() for number in (first, second)]
    assert kept[first] != kept[second]
    means = [statistics.fmean(each) for each in losses]
    doubt = math.hypot(*(statistics.stdev(each) / math.sqrt(len(each)) for each in losses))
    tell("losses of one process at batch 2, and of two at batch 1:", *losses)
    tell("means, and their difference in standard errors:", means, abs(means[0] - means[1]) / doubt)
    assert abs(means[0] - means[1]) < 4 * doubt
    assert checkpoint.read_header(two.run.result).shapes == checkpoint.read_header(one.run.result).shapes


@pytest.mark.parametrize("kind", [Kind.LORA, Kind.DREAMBOOTH])
def test_a_resumed_run_counts_on_in_each_process(real: RealRuns, tmp_path: Path, kind: Kind) -> None:
    model, pictures = real.material.model, write_pictures(tmp_path / "pictures", 4, "zkz, a wall", (64, 64))
    changes = {**(CACHED if kind is Kind.LORA else {}), "max_train_steps": 2, "save_state": True,
               "save_every_n_steps": 2}  # fmt: skip
    begun = prepared(real, real.choices(f"begun-{kind.value}", model, pictures, changes, kind), processes=2)
    real.train(begun)

    entry = history.require(str(begun.run.folder), begun.run.folder.parent)
    resumed = resuming.prepare(entry, Home(real.home), steps=4, check_vram=False)
    training.watch(
        resumed.run, resumed.argv, cwd=resumed.environment.checkout, env=resumed.variables,
        on_event=lambda _event: None, conditions=resumed.conditions(), begin=lambda: resuming.begin(resumed),
    )  # fmt: skip

    assert "--num_processes=2" in resumed.argv
    assert rows(begun, "step") == [1, 2, 3, 4]
    assert (states.complete(begun.run.folder)[-1].folder / "random_states_1.pkl").is_file()
