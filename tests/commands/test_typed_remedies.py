"""Every remedy of options that the product prints, typed as it stands against a run that shows the fault.

SDXL_TRAIN_SLOW_TESTS=1 python -m pytest tests/commands/test_typed_remedies.py -s     prints how many work
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Result, write_pictures, write_safetensors
from rule_cases import FULL, LORA, NAMES, REFUSED, SHAPES, WARNED, Changes

from sdxl_train_cli.failures import known_failures, remedies
from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.run import guards
from sdxl_train_cli.sdscripts import options, shipped

pytestmark = pytest.mark.slow

_FLAG = r"(?:--set\s+(?:'[^']*'|\w+=[^\s;']*[^\s;',.)])|--batch-size\s+\d+)"
_FLAGS = re.compile(rf"{_FLAG}(?:\s+{_FLAG})*")
_TOLD = re.compile(r"^(?:error|warning): (.*)$")
_EXAMPLE = re.compile(r"=[A-Z]+\b")
"""A value in capitals stands for one of the person's own: sample_prompts=FILE."""

# What shows the fault of a signature, where settings do: the row's name and the settings.
FAULTS: Mapping[str, tuple[Kind, Changes]] = {
    "adaptive-noise": (LORA, {"adaptive_noise_scale": "0.01"}),
    "v-pred-scale": (LORA, {"scale_v_pred_loss_like_noise_pred": "true"}),
    "v-pred-like": (LORA, {"v_parameterization": "true", "v_pred_like_loss": "0.5"}),
    "resolution-form": (LORA, {"resolution": "1024,1024,1024"}),
    "face-crop-form": (LORA, {"face_crop_aug_range": "2.0", "cache_latents": "false"}),
    "weighted-captions": (LORA, {"weighted_captions": "true", "cache_text_encoder_outputs_to_disk": "true"}),
    "text-encoder-cached": (FULL, {"train_text_encoder": "true", "cache_text_encoder_outputs_to_disk": "true"}),
    "network-text-cached": (LORA, {"network_train_unet_only": "false", "cache_text_encoder_outputs_to_disk": "true"}),
    "moving-captions": (LORA, {"shuffle_caption": "true", "cache_text_encoder_outputs_to_disk": "true"}),
    "moving-pictures": (LORA, {"random_crop": "true", "cache_latents_to_disk": "true"}),
    "full-precision": (LORA, {"full_bf16": "true", "mixed_precision": "fp16"}),
    "no-optimizer": (LORA, {"optimizer_type": "absent.Prodigy", "learning_rate": "1", "optimizer_args": "d_coef=2"}),
    "bitsandbytes": (LORA, {"optimizer_type": "absent.AdamW8bit", "optimizer_args": "percentile_clipping=5"}),
    "unknown-optimizer": (LORA, {"optimizer_type": "Prodigyy", "learning_rate": "1", "unet_lr": "1"}),
    "in-optimizer": (LORA, {"optimizer_type": "absent.Came", "learning_rate": "1", "lr_scheduler": "adafactor"}),
    "unknown-schedule": (LORA, {"lr_scheduler": "cosinus"}),
    "unknown-network": (LORA, {"network_module": "networks.nope"}),
    "optimizer-arguments": (LORA, {"optimizer_type": "AdamW", "optimizer_args": "d_coef=2"}),
    "fp8-precision": (LORA, {"fp8_base": "true", "mixed_precision": "no"}),
    "fused-optimizer": (FULL, {"fused_backward_pass": "true", "optimizer_type": "AdamW8bit", "optimizer_args": ""}),
    "persistent-workers": (LORA, {"persistent_data_loader_workers": "true", "max_data_loader_n_workers": "0"}),
    "d-rates": (LORA, {"optimizer_type": "Prodigy", "learning_rate": "1", "unet_lr": "1", "text_encoder_lr": "0.5",
                       "network_train_unet_only": "false", "cache_text_encoder_outputs": "false"}),
    "no-xformers": (LORA, {"xformers": "true", "sdpa": "false"}),
    "no-deepspeed": (LORA, {"deepspeed": "true"}),
    "adafactor-schedule": (LORA, {"lr_scheduler": "adafactor", "optimizer_type": "AdamW"}),
    "block-lr": (FULL, {"block_lr": "1e-5,1e-6"}),
    "no-resolution": (LORA, {"resolution": None}),
    "min-bucket": (LORA, {"min_bucket_reso": "2000"}),
    "max-bucket": (LORA, {"max_bucket_reso": "512"}),
    "bucket-steps": (LORA, {"bucket_reso_steps": "48"}),
    "interpolation": (LORA, {"resize_interpolation": "nope"}),
    "fused-accumulation": (FULL, {"fused_backward_pass": "true", "optimizer_type": "Adafactor",
                                  "gradient_accumulation_steps": "4"}),
    "two-optimizers": (LORA, {"use_8bit_adam": "true", "use_lion_optimizer": "true"}),
    "no-network-module": (LORA, {"network_module": None}),
    "nothing-to-train": (LORA, {"network_dim": "0"}),
    "no-logger": (LORA, {"log_with": "wandb"}),
    "schedule-lacks": (LORA, {"lr_scheduler": "cosine_with_min_lr"}),
    "v2": (LORA, {"v2": "true"}),
    "no-prompts": (LORA, {"sample_every_n_steps": "100"}),
    "batch-of-nothing": (LORA, {"train_batch_size": "0"}),
    "full-fp16-scaler": (LORA, {"full_fp16": "true", "mixed_precision": "fp16"}),
    "two-rates": (LORA, {"optimizer_type": "Adafactor", "optimizer_args": "relative_step=True"}),
    "warm-up": (LORA, {"lr_scheduler": "constant", "lr_warmup_steps": "100"}),
    "samples-never": (LORA, {"sample_every_n_steps": "0"}),
    "literal": (LORA, {"optimizer_args": "weight_decay"}),
    "network-arguments": (LORA, {"network_args": "conv_dim=abc"}),
    "block-dims": (LORA, {"network_args": "block_dims=1,2"}),
    "other-network": (LORA, {"network_weights": "lora.safetensors"}),
    "loss-name": (LORA, {"loss_type": "l3"}),
}  # fmt: skip


@dataclass(frozen=True)
class Typed:
    """A remedy as it was typed, and what came of it."""

    fault: str
    flags: str
    works: bool
    said: str


@dataclass(frozen=True)
class World:
    """Starts the command, as someone who types."""

    main: Callable[..., Result]
    data: Path
    model: Path

    def run(self, kind: Kind, changes: Changes, flags: str = "") -> Result:
        told = [word for name, value in changes.items() for word in ("--set", f"{name}={value or 'null'}")]
        base = [kind.value, "--preset", NAMES[kind], "--model", self.model, "--data", self.data, "--dry-run"]
        return self.main(*base, "--gpu-memory", "300", *told, *shlex.split(flags))


@pytest.fixture
def world(main: Callable[..., Result], tmp_path: Path, model: Path) -> World:
    write_safetensors(tmp_path / "lora.safetensors", ["lora_unet_a.lora_down.weight"], dim=8)
    return World(main, write_pictures(tmp_path / "cats", 3, "ohwx cat", (1024, 1024)), model)


def alternatives(remedy: str) -> list[str]:
    """The flags of a remedy that are typed together, for each way that it names."""
    found = (match[0] for match in _FLAGS.finditer(remedy))
    return [flags for flags in found if not _EXAMPLE.search(flags)]


def problems(stderr: str) -> dict[str, list[str]]:
    """What is told to be wrong or odd, with what can be typed for each."""
    found: dict[str, list[str]] = {}
    words = ""
    for line in stderr.splitlines():
        match = _TOLD.match(line)
        if match is not None:
            words = match[1]
            found[words] = []
        elif words and line.startswith(("hint:", "       ")):
            found[words] += alternatives(line[7:].partition("   ")[0])
    return found


def of_rules(world: World) -> Iterator[Typed]:
    """Each remedy of what the rules say of their own cases."""
    for kind, changes, sentence, _ in [*REFUSED, *SHAPES, *WARNED]:
        first = problems(world.run(kind, changes).stderr)
        for words, typed in first.items():
            for flags in typed if sentence in words else ():
                after = world.run(kind, changes, flags)
                works = words not in problems(after.stderr)
                yield Typed(f"{kind.value} {changes}: {words}", flags, works, after.stderr)


def recipe(kind: Kind, changes: Changes) -> Recipe:
    """As a run's record has it: every value that has a type, in it."""
    changed = {name: None if value is None else Setting(value=value) for name, value in changes.items()}
    whole = presets.load(kind, NAMES[kind]).replaced(changed)
    unsound = [option for problem in options.problems(whole, shipped.table()) for option in problem.options]
    return options.convert(whole.replaced(dict.fromkeys(unsound)), shipped.table())


def of_signatures(world: World) -> Iterator[Typed]:
    """Each remedy of the signatures: for a stranger's log, and for a run whose settings show the fault."""
    for row in known_failures.load():
        kind, changes = FAULTS.get(row.name, (LORA, {}))
        for facts in (RunFacts(), RunFacts(recipe(kind, changes), "NVIDIA GeForce RTX 3060")):
            for flags in alternatives(remedies.in_full(row.remedy, facts, row.sample.splitlines())):
                after = world.run(kind, changes, flags)
                yield Typed(f"signature {row.name} {changes}", flags, after.code == 0, after.stderr)


def of_guards(world: World) -> Iterator[Typed]:
    """Each remedy of the alarms of a running training."""
    for card in ("NVIDIA GeForce RTX 3060", "NVIDIA GeForce GTX 1660"):
        for changes in ({}, {"mixed_precision": "fp16"}, {"optimizer_type": "Prodigy", "learning_rate": "1"}):
            told = [remedies.not_a_number(RunFacts(recipe(LORA, changes), card))]
            told += [str(alarm.problem.hint) for alarm in (guards.sample("a.png", 0), guards.disk(0, 1, "x")) if alarm]
            for flags in [flags for hint in told for flags in alternatives(hint)]:
                after = world.run(LORA, changes, flags)
                yield Typed(f"guard {card} {changes}", flags, after.code == 0, after.stderr)


@pytest.mark.parametrize("kind", [of_rules, of_signatures, of_guards])
def test_every_remedy_works_as_it_is_typed(world: World, kind: Callable[[World], Iterator[Typed]]) -> None:
    typed = list(kind(world))
    wrong = [each for each in typed if not each.works]
    sys.stderr.write(f"\n{kind.__name__}: {len(typed) - len(wrong)} of {len(typed)} remedies work\n")

    assert not wrong, "\n\n".join(f"{each.fault}\n  TYPED {each.flags}\n{each.said}" for each in wrong)


def test_each_fault_is_shown_by_its_settings(world: World) -> None:
    names = {row.name for row in known_failures.load()}

    assert set(FAULTS) <= names
    for name, (kind, changes) in FAULTS.items():
        said = world.run(kind, changes)
        assert said.code != 0 or "warning" in said.stderr, name
