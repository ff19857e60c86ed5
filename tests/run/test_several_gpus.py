"""Several GPUs: which ones are taken, what a step is there, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sdxl_train_cli import gpu
from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.dataset.dataset_parts import DatasetPart
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.errors import RecipeError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import run_choices, several_gpus
from sdxl_train_cli.sdscripts import shipped

_INPUTS = Inputs(preset="dim32-gc", model="m", data=Path("d"), output=Path("o"))


def recipe(kind: Kind = Kind.LORA, processes: int = 2, **values: Value) -> Recipe:
    """Of a preset; names that end in `_typed` were typed beside --gpus."""
    settings = {
        name.removesuffix("_typed"): Setting(value=value, origin=Origin("--set" if "_typed" in name else "p.yaml"))
        for name, value in values.items()
    }
    return Recipe(kind=kind, name="mine", description="", settings=settings, processes=processes)


def shared(**values: Value) -> dict[str, Value]:
    """What several GPUs make of these settings, without what they always add."""
    found = several_gpus.share(recipe(**values)).recipe
    return {name: setting.value for name, setting in found.settings.items() if name not in {"seed", "ddp_timeout"}}


def test_one_gpu_changes_nothing() -> None:
    alone = recipe(processes=1, max_train_steps=1000)

    assert several_gpus.share(alone) == several_gpus.SharedRun(alone)


def test_a_presets_steps_are_divided_so_that_as_many_pictures_are_seen() -> None:
    assert shared(max_train_steps=1001, save_every_n_steps=250, train_batch_size=4) == {
        "max_train_steps": 501, "save_every_n_steps": 125, "train_batch_size": 4,
    }  # fmt: skip


def test_sd_scripts_own_length_is_divided_too() -> None:
    assert shared() == {"max_train_steps": int(shipped.default_number("max_train_steps")) // 2}


def test_typed_steps_are_kept() -> None:
    assert shared(max_train_steps_typed=1000, save_every_n_steps=250) == {
        "max_train_steps": 1000, "save_every_n_steps": 250,
    }  # fmt: skip


def test_a_length_in_epochs_is_left_to_sd_scripts_and_checkpoints_stay_as_many() -> None:
    assert shared(max_train_epochs=10, save_every_n_steps=100) == {"max_train_epochs": 10, "save_every_n_steps": 50}


def made_of(share: Value, steps: int, processes: int = 2) -> float:
    """Steps of this run that sd-scripts' schedule warms up for (get_scheduler_fix), which accelerate steps so often."""
    ticks = int(share * steps * processes) if isinstance(share, float) else int(str(share))
    return ticks / processes


@pytest.mark.parametrize("warmup", [1, 7, 100, 333])
def test_a_warm_up_lasts_as_many_steps_as_it_was_meant_to(warmup: int) -> None:
    divided = shared(max_train_steps=1000, lr_warmup_steps=warmup)
    typed = shared(max_train_steps_typed=1000, lr_warmup_steps=warmup)
    typed_itself = shared(max_train_steps=1000, lr_warmup_steps_typed=warmup)

    assert made_of(divided["lr_warmup_steps"], 500) == warmup / 2
    assert made_of(typed["lr_warmup_steps"], 1000) == warmup
    assert made_of(typed_itself["lr_warmup_steps"], 500) == warmup


def test_a_warm_up_as_a_share_stays_one() -> None:
    assert shared(max_train_steps=1000, lr_warmup_steps=0.05)["lr_warmup_steps"] == 0.05


def test_a_repeated_run_is_not_divided_again() -> None:
    once = several_gpus.share(recipe(max_train_steps=1000, lr_warmup_steps=100)).recipe

    assert dict(several_gpus.share(once).recipe.settings) == dict(once.settings)


def test_every_process_gets_the_same_seed() -> None:
    assert several_gpus.share(recipe()).recipe.number("seed") is not None
    assert several_gpus.share(recipe(seed=7)).recipe.get("seed") == 7


def test_it_is_said_what_a_step_is() -> None:
    said, rate, *_ = several_gpus.share(recipe(max_train_steps=1000, train_batch_size=4)).notes
    assert said == (
        "2 processes: each step trains 8 pictures (4 on each); 1000 steps become 500, so that as many pictures are "
        "seen as on one GPU"
    )
    assert "learning rate stays" in rate
    typed, *_ = several_gpus.share(recipe(max_train_steps_typed=1000, gradient_accumulation_steps=3)).notes
    assert "6 pictures (1 on each, 3 times); 1000 steps were typed and are kept" in typed
    *_, caches = several_gpus.share(recipe(cache_latents=True)).notes
    assert "2 times as much" in caches
    assert not any("RAM" in note for note in several_gpus.share(
        recipe(cache_latents=True, cache_latents_to_disk=True)).notes)  # fmt: skip


def test_it_is_said_in_russian_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_TRAIN_LANG", "ru")
    notes = several_gpus.share(recipe(max_train_steps=1000, gradient_accumulation_steps=3, cache_latents=True)).notes

    assert notes[0] == (
        "процессов: 2; картинок за шаг: 6 (по 1 на каждом, накопление: 3); шагов вместо 1000 будет 500, чтобы "
        "картинок прошло столько же, сколько на одном GPU"
    )
    assert not [note for note in notes if "each" in note or "the " in note]


def pictures(count: int) -> list[PictureFile]:
    part = DatasetPart()
    return [PictureFile(Path(f"{number}.png"), 64, 64, 1, part=part) for number in range(count)]


@pytest.mark.parametrize(("count", "batch", "accumulated", "processes", "steps"), [
    (6, 1, 1, 2, 3), (7, 1, 1, 2, 4), (7, 2, 1, 2, 2), (9, 1, 2, 2, 3), (9, 1, 1, 4, 3),
])  # fmt: skip
def test_an_epochs_batches_are_dealt_out(count: int, batch: int, accumulated: int, processes: int, steps: int) -> None:
    settings = {"resolution": "64,64", "train_batch_size": batch, "gradient_accumulation_steps": accumulated,
                "max_train_epochs": 10}  # fmt: skip
    arranged = bucketing.arrange(recipe(processes=processes, **settings), pictures(count))

    assert arranged.steps_per_epoch == steps
    assert arranged.steps == 10 * steps


def card(index: int, free_gib: float, name: str = "NVIDIA L4") -> Gpu:
    return Gpu(index, name, 24.0, free_gib, (8, 9), "550")


def chosen(monkeypatch: pytest.MonkeyPatch, inputs: Inputs, *cards: Gpu) -> list[int]:
    monkeypatch.setattr(gpu, "devices", lambda: cards)
    return [device.index for device in several_gpus.choose(inputs)]


def of(**fields: object) -> Inputs:
    return Inputs(**{**vars(_INPUTS), **fields})


def test_the_freest_gpus_are_taken_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert chosen(monkeypatch, of(processes=2), card(0, 20.0), card(1, 3.0), card(2, 22.0)) == [0, 2]


def test_named_gpus_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = of(processes=2, gpu_indices=(1, 2))

    assert chosen(monkeypatch, inputs, card(0, 20.0), card(1, 3.0), card(2, 22.0)) == [1, 2]


def test_hidden_gpus_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")

    assert chosen(monkeypatch, of(processes=2), card(0, 24.0), card(1, 3.0), card(2, 22.0)) == [1, 2]


def test_too_few_gpus_are_refused_by_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    with pytest.raises(UsageError, match="--gpus 2 needs 2 GPUs") as few:
        chosen(monkeypatch, of(processes=2), card(0, 20.0))
    assert few.value.problems[0].hint == "the GPUs: 0: NVIDIA L4"
    with pytest.raises(UsageError, match="no GPUs 0,7"):
        chosen(monkeypatch, of(processes=2, gpu_indices=(0, 7)), card(0, 20.0), card(1, 20.0))


def test_the_gpu_with_least_memory_decides() -> None:
    assert several_gpus.weakest([card(0, 20.0), card(1, 3.0)]) == card(1, 3.0)
    assert several_gpus.weakest([]) is None


def test_windows_an_embedding_and_fast_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    several_gpus.require_possible(of(processes=2), Kind.LORA)
    with pytest.raises(UsageError, match="embedding on several GPUs"):
        several_gpus.require_possible(of(processes=2), Kind.EMBEDDING)
    with pytest.raises(UsageError, match="--fast"):
        several_gpus.require_possible(of(processes=2, fast=True), Kind.LORA)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="no NCCL"):
        several_gpus.require_possible(of(processes=2), Kind.LORA)
    several_gpus.require_possible(of(processes=1), Kind.LORA)


@pytest.mark.parametrize(("kind", "settings", "words"), [
    (Kind.DREAMBOOTH, {"fused_backward_pass": True, "optimizer_type": "Adafactor"}, "fused_backward_pass"),
    (Kind.DREAMBOOTH, {"fused_optimizer_groups": 4}, "fused_optimizer_groups"),
    (Kind.LORA, {"lr_scheduler_type": "CosineAnnealingLR"}, "lr_scheduler_type"),
])  # fmt: skip
def test_what_steps_on_its_own_is_refused_on_several_gpus(kind: Kind, settings: dict[str, Value], words: str) -> None:
    def refused(processes: int) -> list[str]:
        try:
            rules.require(recipe(kind, processes, **settings), shipped.table())
        except RecipeError as error:
            return [problem.message for problem in error.problems if "GPU" in problem.message]
        return []

    assert [words in message for message in refused(2)] == [True]
    assert refused(1) == []


def test_gpu_and_gpus_must_agree(tmp_path: Path) -> None:
    texts = dict.fromkeys(("preset", "model", "vae", "reg", "output", "name", "trigger", "prediction"))

    def choose(**given: object) -> Inputs:
        return run_choices.choose(Kind.LORA, {**texts, "data": str(tmp_path)}, (), repeats=None, gpu_memory_gib=None,
                                  check_vram=True, **given)  # fmt: skip

    assert (choose(gpu_indices=(3,)).gpu_index, choose(gpu_indices=(3,)).processes) == (3, 1)
    assert (choose(gpu_indices=(1, 2)).gpu_indices, choose(gpu_indices=(1, 2)).processes) == ((1, 2), 2)
    assert choose(processes=2).processes == 2
    with pytest.raises(UsageError, match="contradict"):
        choose(processes=3, gpu_indices=(1, 2))
