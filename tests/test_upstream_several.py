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
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from upstream_runs import RealRuns

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.records import history, picture_losses
from sdxl_train_cli.run import resuming, training
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.sdscripts import states

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
import runpy, sys
sys.path.insert(0, {inside!r})
import accelerate, several
accelerate.Accelerator.prepare_model = several.leaving_frozen(accelerate.Accelerator.prepare_model)
sys.path[0] = "."
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Starts processes that all draw what the first one draws, as sd-scripts alone does."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("several"))


def prepared(
    real: RealRuns, name: str, pictures: Path, changes: Mapping[str, Value | None], processes: int,
    validation: float = 0.0, kind: Kind = Kind.LORA,
) -> Prepared:  # fmt: skip
    choices = real.choices(name, real.material.model, pictures, changes, kind)
    return real.prepare(replace(choices, samples=(), validation=validation, processes=processes))


def alike(folder: Path, count: int) -> Path:
    """The same picture and caption many times."""
    write_pictures(folder, 1, "zkz, a wall", (64, 64))
    (picture,), (caption,) = folder.glob("*.png"), folder.glob("*.txt")
    for number in range(1, count):
        shutil.copy(picture, folder / f"more{number}.png")
        shutil.copy(caption, folder / f"more{number}.txt")
    return folder


def rows(prepared: Prepared, name: str) -> list[float]:
    lines = prepared.run.metrics.read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[name] for line in lines]


def logged(prepared: Prepared, words: str) -> set[int]:
    text = (prepared.run.folder / "train.log").read_text(encoding="utf-8", errors="replace")
    return {int(found) for found in re.findall(rf"{words}[^\n]*?: (\d+)", text)}


def test_with_the_same_pictures_and_noise_two_processes_train_what_one_does(real: RealRuns, tmp_path: Path) -> None:
    pictures = alike(tmp_path / "pictures", 12)
    changes = {**CACHED, "max_train_steps": 6, "lr_warmup_steps": 3, "lr_scheduler": "cosine", "learning_rate": 1e-2}
    one = prepared(real, "one", pictures, changes, 1, validation=0.35)
    two = prepared(real, "two", pictures, changes, 2, validation=0.35)
    script = tmp_path / "same_noise.py"
    script.write_text(SAME_NOISE.format(inside=str(INSIDE)), encoding="utf-8")
    two = replace(two, argv=[str(script) if word == str(INSIDE / "several.py") else word for word in two.argv])

    losses = real.train(one), real.train(two)

    print("losses of one and of two processes:", *losses, sep="\n")
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    rates = [[row["unet"] for row in rows(each, "rates")] for each in (one, two)]  # type: ignore[index]
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)
    assert len(set(losses[1])) == 6
    looks = [picture_losses.load(each.run.validation) for each in (one, two)]
    assert [look.step for look in looks[1]] == [look.step for look in looks[0]]
    for each, other in zip(*looks, strict=True):
        assert {Path(name).name for name in each.held_back} == {Path(name).name for name in other.held_back}
        assert each.loss == pytest.approx(other.loss, rel=1e-4)


def test_at_the_same_effective_batch_the_losses_are_near_each_other(real: RealRuns, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 9, "zkz, 1girl, a wall", (64, 64))
    changes = {**CACHED, "max_train_epochs": 4, "max_train_steps": None, "save_every_n_epochs": 2, "save_state": True}
    one = prepared(real, "batch-2", pictures, {**changes, "train_batch_size": 2}, 1)
    two = prepared(real, "two-of-1", pictures, {**changes, "train_batch_size": 1}, 2)
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
    print(f"mean loss {means[0]:.4f} and {means[1]:.4f}, a difference of {abs(means[0] - means[1]) / doubt:.2f} sigma")
    assert abs(means[0] - means[1]) < 4 * doubt
    assert two.run.result.stat().st_size == one.run.result.stat().st_size


@pytest.mark.parametrize("kind", [Kind.LORA, Kind.DREAMBOOTH])
def test_a_resumed_run_counts_on_in_each_process(real: RealRuns, tmp_path: Path, kind: Kind) -> None:
    pictures = write_pictures(tmp_path / "pictures", 4, "zkz, a wall", (64, 64))
    changes = {**(CACHED if kind is Kind.LORA else {}), "max_train_steps": 3, "save_state": True,
               "save_every_n_steps": 3}  # fmt: skip
    begun = prepared(real, f"begun-{kind.value}", pictures, changes, 2, kind=kind)
    real.train(begun)

    entry = history.require(str(begun.run.folder), begun.run.folder.parent)
    resumed = resuming.prepare(entry, Home(real.home), steps=5, check_vram=False)
    training.watch(
        resumed.run, resumed.argv, cwd=resumed.environment.checkout, env=resumed.variables,
        on_event=lambda _event: None, conditions=resumed.conditions(), begin=lambda: resuming.begin(resumed),
    )  # fmt: skip

    assert "--num_processes=2" in resumed.argv
    assert rows(begun, "step") == [1, 2, 3, 4, 5]
    text = (begun.run.folder / "train.log").read_text(encoding="utf-8", errors="replace")
    assert "Could not load random states" not in text
