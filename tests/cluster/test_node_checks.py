"""What is checked of a training before a cluster gets it, and what a node is asked for. No Slurm is needed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_train_cli import gpu
from sdxl_train_cli.cluster import settings
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.cluster.submission import Engine
from sdxl_train_cli.errors import RecipeError, UsageError, VramError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import entering
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.run import preparation, run_choices
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices

BUSY = Gpu(0, "Tesla P4 of the login node", 8.0, 0.1, (6, 1), "")


@pytest.fixture
def choices(model: Path, pictures: Path, tmp_path: Path) -> Choices:
    texts = {"preset": None, "model": str(model), "data": str(pictures), "output": str(tmp_path / "output"),
             "vae": None, "reg": None, "name": "cat", "trigger": None}  # fmt: skip
    return run_choices.choose(Kind.LORA, texts, (presets.parse_override("mixed_precision=fp16"),), repeats=None,
                              gpu_memory_gib=None, check_vram=True)  # fmt: skip


def checked(home: Path, choices: Choices, **known: str) -> Prepared:
    """The run as a login node checks it."""
    engine = SlurmEngine(Home(home), ClusterSettings(home=str(home), **known))
    return preparation.prepare(submission.checked_as(choices, engine), Home(home), home / "presets")


@pytest.mark.parametrize("local", [(), (BUSY,)])
def test_a_gpu_that_nobody_knows_is_left_to_the_node(
    home: Path, choices: Choices, local: tuple[Gpu, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not taken for the login node's own: fp16 is fine, whatever that has."""
    monkeypatch.setattr(gpu, "devices", lambda: local)

    found = checked(home, choices)

    assert (found.device, found.memory) == (None, None)
    assert "checked on the node alone" in found.notes[-1]
    assert not [problem for problem in found.warnings if "P4" in problem.message]


def test_a_gpu_that_was_asked_is_checked_against_with_its_name(home: Path, choices: Choices) -> None:
    known = {"gpu": "Tesla T4", "gpu_memory": "15.8", "gpu_capability": "7.5"}
    half = [presets.parse_override("mixed_precision=bf16")]

    with pytest.raises(VramError, match=r"Tesla T4 has 3\.5 GB free of 4\.0"):
        checked(home, choices, **{**known, "gpu_memory": "4"})
    found = checked(home, replace(choices, overrides=tuple(half)), **known)

    assert "Tesla T4 has no native bf16, which makes it slow" in [problem.message for problem in found.warnings]
    assert found.memory is not None
    assert not [note for note in found.notes if "on the node alone" in note]


def test_a_cluster_without_gpus_is_told_before_it_is_submitted_to(home: Path, choices: Choices) -> None:
    with pytest.raises(UsageError, match="ask for no GPU"):
        checked(home, choices, gpus="0")

    dared = replace(choices, check_vram=False)
    with pytest.raises(RecipeError, match="fp16 needs a GPU"):
        checked(home, dared, gpus="0")
    assert checked(home, dared, gpus="0", gpu_memory="24").device is not None  # its nodes give one unasked


@pytest.mark.parametrize(
    ("gpus", "line"),
    [("8", "gpu:1"), ("gpu:a100:4", "gpu:a100:1"), ("gpu:a100", "gpu:a100:1"), ("gpu:1,shard:2", "gpu:1,shard:2")],
)
def test_a_run_on_one_gpu_asks_for_one_of_the_nodes(gpus: str, line: str) -> None:
    assert ClusterSettings(home="/h", gpus=gpus).with_gpus(1).gres == line


def test_a_run_is_submitted_with_the_gpus_that_it_uses(
    home: Path, choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDXL_TRAIN_CONFIG", str(tmp_path / "config"))
    settings.write(ClusterSettings(home=str(home), gpus="8", lines=("--exclusive",)), os.environ)

    engine = submission.engine(Engine.SLURM, None, choices, None)

    assert engine is not None
    waiting = entering.waiting(preparation.prepare(submission.checked_as(choices, engine), engine.home, home))
    asked = [
        words for words in engine.scripts([waiting], None)[0].splitlines() if "gres" in words or "exclusive" in words
    ]
    assert asked == ["#SBATCH --gres=gpu:1", "#SBATCH --exclusive"]
